//! One door to all protocols that put rows into the store: for the server's routes and for recovery.

use skopos_model::{Batch, Decoded, SeriesResolver, Signal};

use crate::context::Context;
use crate::derive::stable_keys;
use crate::error::IngestError;
use crate::{elastic, fluent, jaeger, json_lines, loki, otlp, remote_write, splunk, syslog, zipkin};

/// What a request body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// OTLP logs, protobuf.
    OtlpLogs,
    /// OTLP traces, protobuf.
    OtlpTraces,
    /// OTLP metrics, protobuf.
    OtlpMetrics,
    /// OTLP logs, JSON.
    OtlpLogsJson,
    /// OTLP traces, JSON.
    OtlpTracesJson,
    /// OTLP metrics, JSON.
    OtlpMetricsJson,
    /// Prometheus remote write 1.0, protobuf in a snappy block.
    RemoteWrite,
    /// Prometheus remote write 2.0, protobuf in a snappy block.
    RemoteWrite2,
    /// Newline-delimited JSON logs.
    JsonLines,
    /// Loki's push, protobuf in a snappy block.
    Loki,
    /// Loki's push, JSON.
    LokiJson,
    /// Elasticsearch's `_bulk`; the index of the path, if it names one, is the parameter.
    ElasticBulk,
    /// Events of Splunk's HTTP event collector; the parameters are the query's.
    SplunkEvents,
    /// Raw lines of Splunk's HTTP event collector; the parameters are the query's.
    SplunkRaw,
    /// Syslog messages, each after its length; the sender's address is the parameter.
    Syslog,
    /// Messages of the Fluent Forward protocol.
    FluentForward,
    /// Zipkin v2 spans, JSON.
    ZipkinJson,
    /// Zipkin v2 spans, protobuf.
    ZipkinProtobuf,
    /// A Jaeger batch, Thrift.
    JaegerThrift,
    /// Datagrams of Jaeger's agent protocol, each after its length.
    JaegerAgent,
    /// Jaeger's `PostSpansRequest`, protobuf.
    JaegerGrpc,
}

impl Protocol {
    /// Which signal it brings.
    pub fn signal(self) -> Signal {
        match self {
            Self::OtlpLogs
            | Self::OtlpLogsJson
            | Self::JsonLines
            | Self::Loki
            | Self::LokiJson
            | Self::ElasticBulk
            | Self::SplunkEvents
            | Self::SplunkRaw
            | Self::Syslog
            | Self::FluentForward => Signal::Logs,
            Self::OtlpTraces
            | Self::OtlpTracesJson
            | Self::ZipkinJson
            | Self::ZipkinProtobuf
            | Self::JaegerThrift
            | Self::JaegerAgent
            | Self::JaegerGrpc => Signal::Traces,
            Self::OtlpMetrics | Self::OtlpMetricsJson | Self::RemoteWrite | Self::RemoteWrite2 => Signal::Metrics,
        }
    }
}

/// Decodes a body whose content encoding has been undone (the snappy block of remote write is undone here).
///
/// The same body with the same limits, time and parameters gives the same rows, so that recovery can decode what
/// was logged. `parameters` is what a protocol says beside the body (see [`Protocol`]), the query string of a JSON-lines
/// request for one (see [`json_lines::Parameters`]); mostly empty.
///
/// # Errors
/// When the body is malformed: nothing of it is taken.
pub fn decode(
    protocol: Protocol,
    body: &[u8],
    parameters: &str,
    ctx: &Context<'_>,
    resolver: &mut dyn SeriesResolver,
) -> Result<Decoded<Batch>, IngestError> {
    let mut decoded = match protocol {
        Protocol::OtlpLogs => otlp::logs::decode(body, ctx)?.map(Batch::Logs),
        Protocol::OtlpTraces => otlp::traces::decode(body, ctx)?.map(Batch::Spans),
        Protocol::OtlpMetrics => otlp::metrics::decode(body, ctx, resolver)?.map(Batch::Samples),
        Protocol::OtlpLogsJson => otlp::logs::decode(&otlp::logs_to_protobuf(body)?, ctx)?.map(Batch::Logs),
        Protocol::OtlpTracesJson => otlp::traces::decode(&otlp::traces_to_protobuf(body)?, ctx)?.map(Batch::Spans),
        Protocol::OtlpMetricsJson => otlp::metrics::decode(&otlp::metrics_to_protobuf(body)?, ctx, resolver)?.map(Batch::Samples),
        Protocol::RemoteWrite => remote_write::decode(body, ctx, resolver)?.map(Batch::Samples),
        Protocol::RemoteWrite2 => remote_write::v2::decode(body, ctx, resolver)?.map(Batch::Samples),
        Protocol::JsonLines => json_lines::decode(body, &json_lines::Parameters::from_query(parameters), ctx).map(Batch::Logs),
        Protocol::Loki => loki::decode(body, ctx)?.map(Batch::Logs),
        Protocol::LokiJson => loki::decode_json(body, ctx)?.map(Batch::Logs),
        Protocol::ElasticBulk => elastic::decode(body, parameters, ctx)?.map(Batch::Logs),
        Protocol::SplunkEvents => splunk::decode_events(body, parameters, ctx)?.map(Batch::Logs),
        Protocol::SplunkRaw => splunk::decode_raw(body, parameters, ctx)?.map(Batch::Logs),
        Protocol::Syslog => syslog::decode(body, parameters, ctx)?.map(Batch::Logs),
        Protocol::FluentForward => fluent::decode(body, ctx)?.map(Batch::Logs),
        Protocol::ZipkinJson => zipkin::decode_json(body, ctx)?.map(Batch::Spans),
        Protocol::ZipkinProtobuf => zipkin::decode_protobuf(body, ctx)?.map(Batch::Spans),
        Protocol::JaegerThrift => jaeger::decode_batch(body, ctx)?.map(Batch::Spans),
        Protocol::JaegerAgent => jaeger::decode_agent(body, ctx)?.map(Batch::Spans),
        Protocol::JaegerGrpc => jaeger::decode_grpc(body, ctx)?.map(Batch::Spans),
    };
    // Structured metadata comes back as it was sent: nothing is added to it.
    if let Batch::Logs(batch) = &mut decoded.batch
        && !matches!(protocol, Protocol::Loki | Protocol::LokiJson)
    {
        stable_keys::normalise(&mut batch.attributes);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests;
