//! The walkers against generated structs: the same rows, whatever the request.

mod generate;
mod reference;

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, Sum, metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use prost::Message;
use skopos_model::{AttrValue, Batch, Decoded, IngestLimits, LogBatch, SampleBatch, SpanBatch};

use crate::context::{Cache, Context};
use crate::decoder::{Protocol, decode};
use crate::error::IngestError;
use crate::test_util::{TableResolver, shared};
use generate::Random;

const RECEIVED: i64 = 1_700_000_000_000_000_000;

fn logs(body: &[u8]) -> Result<Decoded<LogBatch>, IngestError> {
    let (limits, cache) = (IngestLimits::default(), Cache::default());
    super::logs::decode(body, &Context::new(&limits, RECEIVED, &cache))
}

fn spans(body: &[u8]) -> Result<Decoded<SpanBatch>, IngestError> {
    let (limits, cache) = (IngestLimits::default(), Cache::default());
    super::traces::decode(body, &Context::new(&limits, RECEIVED, &cache))
}

fn metrics(body: &[u8], resolver: &mut TableResolver) -> Result<Decoded<SampleBatch>, IngestError> {
    let (limits, cache) = (IngestLimits::default(), Cache::default());
    super::metrics::decode(body, &Context::new(&limits, RECEIVED, &cache), resolver)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn logs_are_those_of_the_oracle(seed: u64) {
        let request = Random::new(seed).logs_request();
        let got = logs(&request.encode_to_vec()).expect("well formed");
        prop_assert_eq!(reference::of_log_batch(&got.batch), reference::of_log_request(&request));
        prop_assert!(got.is_clean());
        let json = serde_json::to_vec(&request).expect("serialises");
        let protobuf = super::logs_to_protobuf(&json).expect("well formed JSON");
        prop_assert_eq!(reference::of_log_batch(&logs(&protobuf).expect("well formed").batch), reference::of_log_batch(&got.batch));
    }

    #[test]
    fn spans_are_those_of_the_oracle(seed: u64) {
        let request = Random::new(seed).trace_request();
        let got = spans(&request.encode_to_vec()).expect("well formed");
        let (rows, rejected) = reference::of_trace_request(&request);
        prop_assert_eq!(reference::of_span_batch(&got.batch), rows);
        prop_assert_eq!(got.rejected_count(), rejected);
        let json = serde_json::to_vec(&request).expect("serialises");
        let protobuf = super::traces_to_protobuf(&json).expect("well formed JSON");
        prop_assert_eq!(reference::of_span_batch(&spans(&protobuf).expect("well formed").batch), reference::of_span_batch(&got.batch));
    }

    #[test]
    fn samples_are_those_of_the_oracle(seed: u64) {
        let request = Random::new(seed).metrics_request();
        let mut resolver = TableResolver::default();
        let body = request.encode_to_vec();
        let got = metrics(&body, &mut resolver).expect("well formed");
        let (samples, rejected) = reference::of_metrics_request(&request);
        prop_assert_eq!(reference::of_samples(&got.batch, &resolver), samples);
        prop_assert_eq!(got.rejected_count(), rejected);
        let parsed = resolver.parsed;
        let again = metrics(&body, &mut resolver).expect("well formed");
        prop_assert_eq!(&again.batch.series, &got.batch.series, "decoding again gives the same rows");
        prop_assert!(rejected > 0 || resolver.parsed == parsed, "known series are not parsed again");
        let json = serde_json::to_vec(&request).expect("serialises");
        let protobuf = super::metrics_to_protobuf(&json).expect("well formed JSON");
        let from_json = metrics(&protobuf, &mut resolver).expect("well formed");
        prop_assert_eq!(reference::of_samples(&from_json.batch, &resolver), reference::of_samples(&got.batch, &resolver));
        prop_assert_eq!(from_json.batch.exemplars, got.batch.exemplars);
    }

    #[test]
    fn a_mutated_body_is_refused_or_read(seed: u64, at: usize, byte: u8, cut: usize) {
        let mut random = Random::new(seed);
        for protocol in [Protocol::OtlpLogs, Protocol::OtlpTraces, Protocol::OtlpMetrics] {
            let mut body = match protocol {
                Protocol::OtlpLogs => random.logs_request().encode_to_vec(),
                Protocol::OtlpTraces => random.trace_request().encode_to_vec(),
                _ => random.metrics_request().encode_to_vec(),
            };
            if body.is_empty() {
                continue;
            }
            let length = body.len();
            body[at % length] = byte;
            if cut % 4 == 0 {
                body.truncate(cut % length);
            }
            let (limits, cache) = (IngestLimits::default(), Cache::default());
            let ctx = Context::new(&limits, RECEIVED, &cache);
            let first = decode(protocol, &body, "", &ctx, &mut TableResolver::default());
            let again = decode(protocol, &body, "", &ctx, &mut TableResolver::default());
            match (first, again) {
                (Ok(first), Ok(again)) => {
                    prop_assert_eq!(bits(&first.batch), bits(&again.batch));
                    prop_assert_eq!(first.rejected, again.rejected);
                }
                (first, again) => prop_assert_eq!(first.err(), again.err()),
            }
        }
    }

    #[test]
    fn bytes_are_refused_or_read(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (limits, cache) = (IngestLimits::default(), Cache::default());
        let ctx = Context::new(&limits, RECEIVED, &cache);
        for protocol in [
            Protocol::OtlpLogs, Protocol::OtlpTraces, Protocol::OtlpMetrics, Protocol::RemoteWrite, Protocol::JsonLines,
            Protocol::OtlpLogsJson, Protocol::OtlpTracesJson, Protocol::OtlpMetricsJson,
        ] {
            let _ = decode(protocol, &body, "service=x", &ctx, &mut TableResolver::default());
        }
    }
}

/// A batch as bytes, which also tell one NaN from another.
fn bits(batch: &Batch) -> Vec<u8> {
    match batch {
        Batch::Samples(samples) => {
            let values: Vec<u64> = samples.values.iter().map(|v| v.to_bits()).collect();
            format!("{samples:?} {values:?}").into_bytes()
        }
        other => other.to_bytes().expect("no numbered series"),
    }
}

#[test]
fn the_specifications_examples() {
    for (file, protocol, rows) in [
        ("logs.json", Protocol::OtlpLogsJson, 1),
        ("events.json", Protocol::OtlpLogsJson, 1),
        ("trace.json", Protocol::OtlpTracesJson, 1),
        // The gauge; the others are deltas, which need a memory.
        ("metrics.json", Protocol::OtlpMetricsJson, 1),
    ] {
        let Some(path) = shared(&format!("conformance/otlp/examples/{file}")) else { return };
        let body = std::fs::read(path).expect("conformance data is readable");
        let (limits, cache) = (IngestLimits::default(), Cache::default());
        let ctx = Context::new(&limits, RECEIVED, &cache);
        let got = decode(protocol, &body, "", &ctx, &mut TableResolver::default()).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(got.batch.rows() >= rows, "{file}: {} rows, {:?}", got.batch.rows(), got.rejected);
        let refused: Vec<(&str, u64)> = got.rejected.iter().map(|r| (r.reason, r.count)).collect();
        let expected: &[(&str, u64)] = if file == "metrics.json" { &[("delta_temporality", 3)] } else { &[] };
        assert_eq!(refused, expected, "{file}");
    }
}

fn text(value: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) })
}

fn one_log(record: LogRecord) -> ExportLogsServiceRequest {
    let mut request = ExportLogsServiceRequest { resource_logs: vec![Default::default()] };
    request.resource_logs[0].scope_logs = vec![Default::default()];
    request.resource_logs[0].scope_logs[0].log_records = vec![record];
    request
}

#[test]
fn odd_log_records() {
    let nested = (0..200).fold(text("deep"), |inner, _| {
        Some(AnyValue { value: Some(any_value::Value::ArrayValue(ArrayValue { values: inner.into_iter().collect() })) })
    });
    let got = logs(&one_log(LogRecord { body: nested, ..Default::default() }).encode_to_vec()).expect("well formed");
    assert_eq!((got.batch.len(), got.rejected[0].reason), (0, "value_too_deep"));

    let record = LogRecord { trace_id: vec![7; 5], span_id: b"tr-448".to_vec(), severity_text: "warn".into(), ..Default::default() };
    let got = logs(&one_log(record).encode_to_vec()).expect("well formed");
    assert_eq!((got.batch.time[0], got.batch.observed[0], got.batch.severity_number[0]), (RECEIVED, RECEIVED, 13));
    let expected = [("trace_id", AttrValue::Str("0707070707".into())), ("span_id", AttrValue::Str("tr-448".into()))];
    assert_eq!(got.batch.attributes.row(0), expected);

    let got = logs(&one_log(LogRecord { time_unix_nano: u64::MAX, ..Default::default() }).encode_to_vec()).expect("well formed");
    assert_eq!((got.batch.len(), got.rejected[0].reason), (0, "time_out_of_range"));
}

#[test]
fn limits_cut_and_mark() {
    let attributes = (0..5).map(|i| KeyValue { key: format!("k{i}"), value: text("äöü"), ..Default::default() }).collect();
    let request = one_log(LogRecord { body: text("0123456789"), attributes, ..Default::default() });
    let limits = IngestLimits { log_body_bytes_max: 4, attribute_value_bytes_max: 3, attributes_max: 2, ..Default::default() };
    let cache = Cache::default();
    let got = super::logs::decode(&request.encode_to_vec(), &Context::new(&limits, RECEIVED, &cache)).expect("well formed");
    assert_eq!(got.batch.body.get(0), "0123");
    let expected = [
        ("k0", AttrValue::Str("ä".into())),
        ("k1", AttrValue::Str("ä".into())),
        ("skopos.truncated", AttrValue::Bool(true)),
        ("skopos.dropped_attributes", AttrValue::Int(3)),
    ];
    assert_eq!(got.batch.attributes.row(0), expected);
    assert_eq!(got.changed.iter().map(|c| c.reason).collect::<Vec<_>>(), ["truncated", "attributes_dropped"]);
    assert!(!got.is_clean());
}

#[test]
fn text_that_is_none_is_found() {
    let mut body = one_log(LogRecord { body: text("plain~text"), severity_text: "x".into(), ..Default::default() }).encode_to_vec();
    let at = body.iter().position(|b| *b == b'~').expect("it is there");
    body[at] = 0xff;
    let error = logs(&body).expect_err("no UTF-8").to_string();
    assert_eq!(error, format!("malformed ExportLogsServiceRequest: at byte {at}: expected UTF-8 text"));
}

#[test]
fn malformed_bodies_name_the_place() {
    let body = one_log(LogRecord { body: text("x"), ..Default::default() }).encode_to_vec();
    let error = logs(&body[..body.len() - 1]).expect_err("cut").to_string();
    assert_eq!(error, "malformed ExportLogsServiceRequest: at byte 2: the field needs 9 bytes, the message has 8 left");
    for (json, expected) in [
        (
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"soon"}]}]}]}"#,
            "an integer, as a number or a string for field timeUnixNano",
        ),
        (r#"{"resourceLogs":{}}"#, "expected an array of: an object for field resourceLogs"),
        (r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityNumber":"LOUD"}]}]}]}"#, "an enum's number or name"),
        (r#"{"resourceLogs":["#, "EOF while parsing a list"),
        (r#"[]"#, "a JSON object (ExportLogsServiceRequest)"),
    ] {
        let error = super::logs_to_protobuf(json.as_bytes()).expect_err(json).to_string();
        assert!(error.contains(expected) && error.contains("at line 1 column "), "{error}");
    }
}

#[test]
fn json_in_its_many_spellings() {
    let camel = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},"scopeLogs":[{"logRecords":[
        {"timeUnixNano":"1700000000000000001","severityNumber":"SEVERITY_NUMBER_ERROR","traceId":"4BF92F3577B34DA6A3CE929D0E0E4736","body":{"bytesValue":"-_8"},
         "attributes":[{"key":"n","value":{"intValue":"-3"}},{"key":"d","value":{"doubleValue":"NaN"}}],"somethingNew":{"a":[1]}}]}]}]}"#;
    let snake = r#"{"resource_logs":[{"resource":{"attributes":[{"key":"service.name","value":{"string_value":"s"}}]},"scope_logs":[{"log_records":[
        {"time_unix_nano":1700000000000000001,"severity_number":17,"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","body":{"bytes_value":"+/8="},
         "attributes":[{"key":"n","value":{"int_value":-3}},{"key":"d","value":{"double_value":"NaN"}}],"span_id":null}]}]}]}"#;
    let camel = logs(&super::logs_to_protobuf(camel.as_bytes()).expect("JSON")).expect("well formed").batch;
    let snake = logs(&super::logs_to_protobuf(snake.as_bytes()).expect("JSON")).expect("well formed").batch;
    assert_eq!(format!("{camel:?}"), format!("{snake:?}"));
    assert_eq!((camel.severity_number[0], camel.time[0] % 10, camel.body.get(0)), (17, 1, "+/8="));
    assert_eq!(camel.trace_id[0].to_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[test]
fn a_bad_json_id_refuses_its_row_only() {
    let json = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz","spanId":"00f067aa0ba902b7","name":"bad"},
        {"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"good"},
        {"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"0000000000000000"}]}]}]}"#;
    let got = spans(&super::traces_to_protobuf(json.as_bytes()).expect("JSON")).expect("well formed");
    assert_eq!(got.batch.name.iter().collect::<Vec<_>>(), ["good"]);
    assert_eq!(got.rejected.iter().map(|r| r.reason).collect::<Vec<_>>(), ["invalid_trace_id", "invalid_span_id"]);
    assert!(got.rejected[0].example.contains("span \"bad\""), "{}", got.rejected[0].example);
}

#[test]
fn delta_points_without_a_memory_are_refused() {
    let point = NumberDataPoint { value: Some(number_data_point::Value::AsInt(1)), ..Default::default() };
    let sum = |temporality| Metric {
        name: "requests".into(),
        data: Some(metric::Data::Sum(Sum { data_points: vec![point.clone(); 3], aggregation_temporality: temporality, is_monotonic: true })),
        ..Default::default()
    };
    for (temporality, reason) in [(1, "delta_temporality"), (0, "unspecified_temporality"), (7, "unspecified_temporality")] {
        let mut request = ExportMetricsServiceRequest { resource_metrics: vec![Default::default()] };
        request.resource_metrics[0].scope_metrics = vec![Default::default()];
        request.resource_metrics[0].scope_metrics[0].metrics = vec![sum(temporality), sum(2)];
        let got = metrics(&request.encode_to_vec(), &mut TableResolver::default()).expect("well formed");
        assert_eq!((got.batch.len(), got.rejected[0].reason, got.rejected[0].count), (3, reason, 3));
        assert!(got.rejected[0].example.contains("metric \"requests\""));
    }
}

#[test]
fn resources_are_remembered_without_changing_rows() {
    let body = Random::new(11).logs_request().encode_to_vec();
    let (limits, cache) = (IngestLimits::default(), Cache::default());
    let ctx = Context::new(&limits, RECEIVED, &cache);
    let first = super::logs::decode(&body, &ctx).expect("well formed");
    assert!(!cache.is_empty());
    let again = super::logs::decode(&body, &ctx).expect("well formed");
    assert_eq!(first, again);
    assert!(std::sync::Arc::ptr_eq(&first.batch.resources[0], &again.batch.resources[0]), "built once");
}

#[test]
fn a_resource_may_come_last() {
    let request = Random::new(3).trace_request();
    let in_order = spans(&request.encode_to_vec()).expect("well formed").batch;
    let mut body = Vec::new();
    for of_resource in &request.resource_spans {
        let mut inner = Vec::new();
        for of_scope in &of_resource.scope_spans {
            prost::encoding::message::encode(2, of_scope, &mut inner);
        }
        if let Some(resource) = &of_resource.resource {
            prost::encoding::message::encode(1, resource, &mut inner);
        }
        prost::encoding::bytes::encode(1, &inner, &mut body);
    }
    assert_eq!(spans(&body).expect("well formed").batch, in_order);
    assert_eq!(ExportTraceServiceRequest::decode(&body[..]).expect("prost reads it").resource_spans.len(), request.resource_spans.len());
    let _ = Span::default();
}
