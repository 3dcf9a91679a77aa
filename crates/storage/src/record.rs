//! A record of the write-ahead log, and who can read one.

use serde::{Deserialize, Serialize};
use skopos_model::{Batch, SeriesResolver, Signal};

/// What the bytes of a record are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Protocol {
    /// [`Batch::to_bytes`]: what was redacted, partly refused, scraped or derived.
    Batch = 0,
    /// OTLP logs, protobuf.
    OtlpLogs = 1,
    /// OTLP traces, protobuf.
    OtlpTraces = 2,
    /// OTLP metrics, protobuf.
    OtlpMetrics = 3,
    /// Prometheus remote write 1.0 (protobuf inside snappy block format; encoding stays `Identity`).
    RemoteWrite = 4,
    /// OTLP logs, JSON.
    OtlpLogsJson = 5,
    /// OTLP traces, JSON.
    OtlpTracesJson = 6,
    /// OTLP metrics, JSON.
    OtlpMetricsJson = 7,
    /// Newline-delimited JSON logs.
    JsonLines = 8,
    /// Loki's push, protobuf inside snappy block format (encoding stays `Identity`).
    Loki = 9,
    /// Loki's push, JSON.
    LokiJson = 10,
    /// Elasticsearch's `_bulk`.
    ElasticBulk = 11,
    /// Events of Splunk's HTTP event collector.
    SplunkEvents = 12,
    /// Raw lines of Splunk's HTTP event collector.
    SplunkRaw = 13,
    /// Syslog messages, each after its length.
    Syslog = 14,
    /// Messages of the Fluent Forward protocol.
    FluentForward = 15,
    /// Zipkin v2 spans, JSON.
    ZipkinJson = 16,
    /// Zipkin v2 spans, protobuf.
    ZipkinProtobuf = 17,
    /// A Jaeger batch, Thrift.
    JaegerThrift = 18,
    /// Datagrams of Jaeger's agent protocol, each after its length.
    JaegerAgent = 19,
    /// Jaeger's `PostSpansRequest`, protobuf.
    JaegerGrpc = 20,
}

impl Protocol {
    /// From its number in a record.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Batch,
            1 => Self::OtlpLogs,
            2 => Self::OtlpTraces,
            3 => Self::OtlpMetrics,
            4 => Self::RemoteWrite,
            5 => Self::OtlpLogsJson,
            6 => Self::OtlpTracesJson,
            7 => Self::OtlpMetricsJson,
            8 => Self::JsonLines,
            9 => Self::Loki,
            10 => Self::LokiJson,
            11 => Self::ElasticBulk,
            12 => Self::SplunkEvents,
            13 => Self::SplunkRaw,
            14 => Self::Syslog,
            15 => Self::FluentForward,
            16 => Self::ZipkinJson,
            17 => Self::ZipkinProtobuf,
            18 => Self::JaegerThrift,
            19 => Self::JaegerAgent,
            20 => Self::JaegerGrpc,
            _ => return None,
        })
    }
}

/// How the bytes of a record are compressed (as the client sent them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Encoding {
    /// Not at all.
    Identity = 0,
    /// gzip.
    Gzip = 1,
    /// zstd.
    Zstd = 2,
}

/// What is logged before an append is acknowledged.
#[derive(Debug, Clone)]
pub struct WalPayload {
    /// What the bytes are.
    pub protocol: Protocol,
    /// How they are compressed.
    pub encoding: Encoding,
    /// Which signal, so that recovery can skip what a table has already.
    pub signal: Signal,
    /// When the request came, Unix nanoseconds: decoding again has to give the same rows.
    pub received: i64,
    /// Tenant, 0 when there is only one.
    pub tenant: u32,
    /// Version of the ingest configuration in force.
    pub config_version: u32,
    /// Extra text the decoder needs (query parameters of a JSON-lines request), mostly empty.
    pub context: String,
    /// The body as it came, or [`Batch::to_bytes`].
    pub body: bytes::Bytes,
}

/// Turns logged bytes into the rows they were, at recovery. Must give the same rows as at first.
pub trait WalDecoder: Send + Sync {
    /// Decodes one record.
    ///
    /// # Errors
    /// With the reason; recovery reports the record and goes on.
    fn decode(&self, payload: &WalPayload, series: &mut dyn SeriesResolver) -> Result<Batch, String>;
}
