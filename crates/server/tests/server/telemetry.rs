//! What clients send: OTLP requests and their ways over the wire.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use crate::http::Response;
use crate::process::Server;

pub(crate) const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const GZIP: (&str, &str) = ("content-encoding", "gzip");

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(text(value)), ..KeyValue::default() }
}

fn resource(service: &str) -> Option<Resource> {
    Some(Resource { attributes: vec![attribute("service.name", service), attribute("deployment.environment.name", "test")], ..Resource::default() })
}

/// One record a body, a microsecond apart.
pub(crate) fn logs(service: &str, bodies: &[String], time: u64, trace: &[u8]) -> ExportLogsServiceRequest {
    let log_records = (time..)
        .step_by(1000)
        .zip(bodies)
        .map(|(time, body)| LogRecord {
            time_unix_nano: time,
            observed_time_unix_nano: time,
            severity_number: 17,
            severity_text: "ERROR".to_owned(),
            body: Some(text(body)),
            attributes: vec![attribute("order.id", body)],
            trace_id: trace.to_vec(),
            ..LogRecord::default()
        })
        .collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { resource: resource(service), scope_logs, ..ResourceLogs::default() }] }
}

/// One root span a trace id, 5 ms long.
pub(crate) fn spans(service: &str, traces: &[&[u8]], start: u64) -> ExportTraceServiceRequest {
    let spans = traces
        .iter()
        .map(|trace| Span {
            trace_id: trace.to_vec(),
            span_id: vec![7; 8],
            name: "GET /orders".to_owned(),
            kind: 2,
            start_time_unix_nano: start,
            end_time_unix_nano: start + 5_000_000,
            ..Span::default()
        })
        .collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { resource: resource(service), scope_spans, ..ResourceSpans::default() }] }
}

/// A cumulative counter with one point.
pub(crate) fn counter(service: &str, name: &str, unit: &str, value: i64, time: u64) -> ExportMetricsServiceRequest {
    let point = NumberDataPoint {
        start_time_unix_nano: time - 1_000_000_000,
        time_unix_nano: time,
        attributes: vec![attribute("http.route", "/orders")],
        value: Some(number_data_point::Value::AsInt(value)),
        ..NumberDataPoint::default()
    };
    let sum = Sum { data_points: vec![point], aggregation_temporality: AggregationTemporality::Cumulative as i32, is_monotonic: true };
    let metric = Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(metric::Data::Sum(sum)), ..Metric::default() };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource: resource(service), scope_metrics, ..ResourceMetrics::default() }],
    }
}

/// Sends a request as protobuf to the main port.
#[track_caller]
pub(crate) fn send(server: &Server, path: &str, message: &impl prost::Message) -> Response {
    server.post(path, &[PROTOBUF], &message.encode_to_vec())
}
