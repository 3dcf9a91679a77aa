//! The table of protocols that bring rows: routes and the reference in the docs are made of it.

use skopos_model::Signal;

use crate::decoder::Protocol;
use crate::error::IngestError;

/// One way in.
#[derive(Debug, Clone, Copy)]
pub struct ProtocolRow {
    /// Which decoder.
    pub protocol: Protocol,
    /// What it is called.
    pub name: &'static str,
    /// Paths a client posts to; `{name}` stands for one part.
    pub paths: &'static [&'static str],
    /// Content types, without parameters (but `proto`, which tells versions of one type apart). The first of a path's
    /// rows also stands for requests that state none.
    pub content_types: &'static [&'static str],
    /// Content encodings besides identity.
    pub encodings: &'static [&'static str],
    /// One sentence for the reference.
    pub summary: &'static str,
}

impl ProtocolRow {
    /// The signal it brings.
    pub fn signal(&self) -> Signal {
        self.protocol.signal()
    }
}

/// The message of remote write 1.0, which a content type may name or leave out.
const REMOTE_WRITE_1: &str = "prometheus.WriteRequest";
const COMPRESSED: &[&str] = &["gzip", "zstd"];
const PROTOBUF: &[&str] = &["application/x-protobuf", "application/protobuf"];
const JSON: &[&str] = &["application/json"];

/// All protocols over HTTP. OTLP/gRPC carries the protobuf bodies of the same messages.
pub const PROTOCOLS: &[ProtocolRow] = &[
    ProtocolRow {
        protocol: Protocol::OtlpLogs,
        name: "OTLP logs",
        paths: &["/v1/logs"],
        content_types: PROTOBUF,
        encodings: COMPRESSED,
        summary: "OpenTelemetry log records: `ExportLogsServiceRequest` in protobuf.",
    },
    ProtocolRow {
        protocol: Protocol::OtlpLogsJson,
        name: "OTLP logs, JSON",
        paths: &["/v1/logs"],
        content_types: JSON,
        encodings: COMPRESSED,
        summary: "OpenTelemetry log records in protobuf's JSON mapping.",
    },
    ProtocolRow {
        protocol: Protocol::OtlpTraces,
        name: "OTLP traces",
        paths: &["/v1/traces"],
        content_types: PROTOBUF,
        encodings: COMPRESSED,
        summary: "OpenTelemetry spans: `ExportTraceServiceRequest` in protobuf.",
    },
    ProtocolRow {
        protocol: Protocol::OtlpTracesJson,
        name: "OTLP traces, JSON",
        paths: &["/v1/traces"],
        content_types: JSON,
        encodings: COMPRESSED,
        summary: "OpenTelemetry spans in protobuf's JSON mapping.",
    },
    ProtocolRow {
        protocol: Protocol::OtlpMetrics,
        name: "OTLP metrics",
        paths: &["/v1/metrics"],
        content_types: PROTOBUF,
        encodings: COMPRESSED,
        summary: "OpenTelemetry metrics: `ExportMetricsServiceRequest` in protobuf, stored as Prometheus series.",
    },
    ProtocolRow {
        protocol: Protocol::OtlpMetricsJson,
        name: "OTLP metrics, JSON",
        paths: &["/v1/metrics"],
        content_types: JSON,
        encodings: COMPRESSED,
        summary: "OpenTelemetry metrics in protobuf's JSON mapping, stored as Prometheus series.",
    },
    ProtocolRow {
        protocol: Protocol::RemoteWrite,
        name: "Prometheus remote write 1.0",
        paths: &["/api/v1/write"],
        content_types: &["application/x-protobuf"],
        encodings: &["snappy"],
        summary: "Samples, native histograms, exemplars and metadata: `prometheus.WriteRequest` in a snappy block.",
    },
    ProtocolRow {
        protocol: Protocol::RemoteWrite2,
        name: "Prometheus remote write 2.0",
        paths: &["/api/v1/write"],
        content_types: &["application/x-protobuf;proto=io.prometheus.write.v2.Request"],
        encodings: &["snappy"],
        summary: "The same with start timestamps and metadata of each series: `io.prometheus.write.v2.Request` in a snappy block.",
    },
    ProtocolRow {
        protocol: Protocol::JsonLines,
        name: "JSON lines",
        paths: &["/v1/logs/json"],
        content_types: &["application/x-ndjson", "application/json", "application/jsonl", "text/plain", "application/stream+json"],
        encodings: COMPRESSED,
        summary: "Logs as one JSON object a line; `service`, `env` and `resource.<key>` in the query hold for lines that state none.",
    },
    ProtocolRow {
        protocol: Protocol::Loki,
        name: "Loki push",
        paths: &["/loki/api/v1/push", "/api/prom/push"],
        content_types: &["application/x-protobuf"],
        encodings: &["snappy"],
        summary: "Streams of lines with labels and structured metadata: Loki's `PushRequest` in a snappy block.",
    },
    ProtocolRow {
        protocol: Protocol::LokiJson,
        name: "Loki push, JSON",
        paths: &["/loki/api/v1/push", "/api/prom/push"],
        content_types: JSON,
        encodings: COMPRESSED,
        summary: "The same in JSON.",
    },
    ProtocolRow {
        protocol: Protocol::ElasticBulk,
        name: "Elasticsearch bulk",
        paths: &["/_bulk", "/{index}/_bulk", "/elasticsearch/_bulk", "/elasticsearch/{index}/_bulk"],
        content_types: &["application/x-ndjson", "application/json"],
        encodings: COMPRESSED,
        summary: "Documents as log records: `index` and `create`; `update` and `delete` are refused one by one.",
    },
    ProtocolRow {
        protocol: Protocol::SplunkEvents,
        name: "Splunk HTTP event collector",
        paths: &["/services/collector", "/services/collector/event", "/services/collector/event/1.0"],
        content_types: JSON,
        encodings: COMPRESSED,
        summary: "Events as JSON objects one after another.",
    },
    ProtocolRow {
        protocol: Protocol::SplunkRaw,
        name: "Splunk HTTP event collector, raw",
        paths: &["/services/collector/raw", "/services/collector/raw/1.0"],
        content_types: &["text/plain"],
        encodings: COMPRESSED,
        summary: "Lines; `host`, `source`, `sourcetype` and `index` in the query hold for all of them.",
    },
    ProtocolRow {
        protocol: Protocol::ZipkinJson,
        name: "Zipkin v2, JSON",
        paths: &["/api/v2/spans"],
        content_types: JSON,
        encodings: COMPRESSED,
        summary: "Spans as a JSON list.",
    },
    ProtocolRow {
        protocol: Protocol::ZipkinProtobuf,
        name: "Zipkin v2, protobuf",
        paths: &["/api/v2/spans"],
        content_types: PROTOBUF,
        encodings: COMPRESSED,
        summary: "Spans as `zipkin.proto3.ListOfSpans`.",
    },
    ProtocolRow {
        protocol: Protocol::JaegerThrift,
        name: "Jaeger Thrift",
        paths: &["/api/traces"],
        content_types: &["application/x-thrift", "application/vnd.apache.thrift.binary", "application/vnd.apache.thrift.compact"],
        encodings: COMPRESSED,
        summary: "Spans as a `Batch` of `jaeger.thrift`, in Thrift's binary or compact protocol.",
    },
    ProtocolRow {
        protocol: Protocol::JaegerGrpc,
        name: "Jaeger gRPC",
        paths: &["/jaeger.api_v2.CollectorService/PostSpans"],
        content_types: &["application/grpc", "application/grpc+proto"],
        encodings: COMPRESSED,
        summary: "Spans as `PostSpansRequest`, over gRPC.",
    },
];

/// A way in that is no HTTP: it listens where the configuration says.
#[derive(Debug, Clone, Copy)]
pub struct ListenerRow {
    /// Which decoder.
    pub protocol: Protocol,
    /// What it is called.
    pub name: &'static str,
    /// Its section in the configuration.
    pub section: &'static str,
    /// One sentence for the reference.
    pub summary: &'static str,
}

/// All of them, besides StatsD.
pub const LISTENERS: &[ListenerRow] = &[
    ListenerRow {
        protocol: Protocol::Syslog,
        name: "Syslog",
        section: "syslog",
        summary: "RFC 5424 and RFC 3164 over UDP, TCP and TLS; octet counting and newlines.",
    },
    ListenerRow {
        protocol: Protocol::FluentForward,
        name: "Fluent Forward",
        section: "fluent",
        summary: "What Fluentd, Fluent Bit and their loggers send over TCP, acknowledged once it is stored.",
    },
    ListenerRow {
        protocol: Protocol::JaegerAgent,
        name: "Jaeger agent",
        section: "jaeger",
        summary: "`emitBatch` in datagrams, Thrift's compact and binary protocol.",
    },
];

/// Whether a path is of this form: `{name}` stands for one part.
pub fn is_of_form(path: &str, form: &str) -> bool {
    let mut parts = path.split('/');
    form.split('/').all(|expected| parts.next().is_some_and(|part| part == expected || (expected.starts_with('{') && !part.is_empty())))
        && parts.next().is_none()
}

/// Whether some protocol is posted to this path.
pub fn is_taken(path: &str) -> bool {
    PROTOCOLS.iter().flat_map(|row| row.paths).any(|form| is_of_form(path, form))
}

/// The protocol of a request. `None` when no protocol has the path.
///
/// # Errors
/// When the path takes other content types, with their list.
pub fn find(path: &str, content_type: Option<&str>) -> Result<Option<&'static ProtocolRow>, IngestError> {
    let of_path = || PROTOCOLS.iter().filter(|row| row.paths.contains(&path));
    let Some(first) = of_path().next() else { return Ok(None) };
    let mut parts = content_type.unwrap_or("").split(';').map(str::trim);
    let media = parts.next().unwrap_or("");
    // Versions of one type differ by this parameter alone; where a path has one version it says nothing.
    let proto =
        parts.find_map(|part| part.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("proto"))).map(|(_, value)| value.trim());
    // Shippers of plain lines state all sorts of types, curl the type of a form: the body tells what it is.
    if media.is_empty() || first.protocol == Protocol::JsonLines {
        return Ok(Some(first));
    }
    let versions = of_path().any(|row| row.content_types.iter().any(|known| known.contains(';')));
    let matches = |known: &str| match (known.split_once(";proto="), proto.filter(|_| versions)) {
        (Some((media_known, version)), Some(proto)) => media_known.eq_ignore_ascii_case(media) && version == proto.trim_matches('"'),
        (Some(_), None) => false,
        (None, Some(proto)) => known.eq_ignore_ascii_case(media) && proto.trim_matches('"') == REMOTE_WRITE_1,
        (None, None) => known.eq_ignore_ascii_case(media),
    };
    match of_path().find(|row| row.content_types.iter().any(|known| matches(known))) {
        Some(row) => Ok(Some(row)),
        None => {
            let known: Vec<&str> = of_path().flat_map(|row| row.content_types).copied().collect();
            let name = if versions { content_type.unwrap_or("").trim() } else { media };
            Err(IngestError::UnknownContentType { name: name.chars().take(128).collect(), known: known.join(", ") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_find_their_protocol() {
        for (path, content_type, expected) in [
            ("/v1/logs", Some("application/x-protobuf"), Some(Protocol::OtlpLogs)),
            ("/v1/logs", Some("Application/JSON; charset=utf-8"), Some(Protocol::OtlpLogsJson)),
            ("/v1/traces", None, Some(Protocol::OtlpTraces)),
            ("/v1/metrics", Some("application/json"), Some(Protocol::OtlpMetricsJson)),
            ("/api/v1/write", Some("application/x-protobuf;proto=prometheus.WriteRequest"), Some(Protocol::RemoteWrite)),
            ("/api/v1/write", Some("application/x-protobuf"), Some(Protocol::RemoteWrite)),
            ("/api/v1/write", Some("application/x-protobuf; proto=io.prometheus.write.v2.Request"), Some(Protocol::RemoteWrite2)),
            ("/v1/logs/json", Some("application/x-www-form-urlencoded"), Some(Protocol::JsonLines)),
            ("/v1/nothing", Some("application/json"), None),
            ("/loki/api/v1/push", Some("application/json"), Some(Protocol::LokiJson)),
            ("/api/v2/spans", Some("application/x-protobuf"), Some(Protocol::ZipkinProtobuf)),
        ] {
            let got = find(path, content_type).expect("a known type");
            assert_eq!(got.map(|row| row.protocol), expected, "{path} {content_type:?}");
        }
        let error = find("/v1/logs", Some("text/html")).expect_err("no such type").to_string();
        assert_eq!(error, "unsupported content type \"text/html\": expected one of application/x-protobuf, application/protobuf, application/json");
        for content_type in ["application/x-protobuf;proto=io.prometheus.write.v3.Request", "application/x-protobuf;proto=", "application/json"] {
            let error = find("/api/v1/write", Some(content_type)).expect_err("no such version").to_string();
            assert!(error.starts_with(&format!("unsupported content type {content_type:?}")), "{error}");
        }
    }

    #[test]
    fn forms_of_paths() {
        for (path, expected) in [
            ("/_bulk", true),
            ("/shop/_bulk", true),
            ("/elasticsearch/shop/_bulk", true),
            ("//_bulk", false),
            ("/a/b/_bulk", false),
            ("/shop/_bulk/", false),
            ("/v1/logs", true),
            ("/v1/admin/flush", false),
        ] {
            assert_eq!(is_taken(path), expected, "{path}");
        }
    }

    #[test]
    fn each_way_in_is_named_once() {
        for (i, row) in PROTOCOLS.iter().enumerate() {
            assert!(PROTOCOLS[i + 1..].iter().all(|other| other.name != row.name && other.protocol != row.protocol));
            assert!(row.summary.ends_with('.') && row.paths.iter().all(|path| path.starts_with('/')));
        }
    }
}
