//! What OTLP clients are answered: `Export…ServiceResponse` with its partial success, and `google.rpc.Status`.

use std::time::Duration;

use skopos_model::{Rejected, Signal};

use crate::otlp::value::json_string;
use crate::proto::Writer;

/// Content type of protobuf bodies.
pub const PROTOBUF: &str = "application/x-protobuf";
/// Content type of JSON bodies.
pub const JSON: &str = "application/json";

/// How many rows were refused and why, as text for the client; `None` when there is nothing to tell.
pub fn message(rejected: &[Rejected], changed: &[Rejected]) -> Option<String> {
    let mut parts = Vec::new();
    for (list, what) in [(rejected, "rejected"), (changed, "accepted with changes")] {
        parts.extend(list.iter().map(|r| format!("{} {what} ({}), first: {}", r.count, r.reason, r.example)));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// `Export{Logs,Trace,Metrics}ServiceResponse` in protobuf. Empty when all was taken as it came.
pub fn export_protobuf(rejected: &[Rejected], changed: &[Rejected]) -> Vec<u8> {
    let mut out = Writer::default();
    if let Some(text) = message(rejected, changed) {
        out.message(1, |partial| {
            let count: u64 = rejected.iter().map(|r| r.count).sum();
            if count > 0 {
                partial.varint(1, count);
            }
            partial.bytes(2, text.as_bytes());
        });
    }
    out.into_bytes()
}

/// The same in JSON.
pub fn export_json(signal: Signal, rejected: &[Rejected], changed: &[Rejected]) -> String {
    let Some(text) = message(rejected, changed) else { return "{}".to_owned() };
    let name = match signal {
        Signal::Logs => "rejectedLogRecords",
        Signal::Traces => "rejectedSpans",
        Signal::Metrics => "rejectedDataPoints",
    };
    let count: u64 = rejected.iter().map(|r| r.count).sum();
    // 64-bit integers are strings in protobuf's JSON mapping.
    let mut out = format!("{{\"partialSuccess\":{{\"{name}\":\"{count}\",\"errorMessage\":");
    json_string(&text, &mut out);
    out.push_str("}}");
    out
}

/// Codes of `google.rpc.Code` that answers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// The request is malformed: not to be sent again.
    InvalidArgument = 3,
    /// What was asked for is not here.
    NotFound = 5,
    /// A key is needed and the one given does not do.
    PermissionDenied = 7,
    /// A limit was met: later it may do.
    ResourceExhausted = 8,
    /// The way of asking is not offered.
    Unimplemented = 12,
    /// Our fault.
    Internal = 13,
    /// Not now: later it will do.
    Unavailable = 14,
    /// No key was given.
    Unauthenticated = 16,
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// `google.rpc.Status` in protobuf, with `RetryInfo` when the client shall send the same again.
pub fn status_protobuf(code: Code, message: &str, retry_after: Option<Duration>) -> Vec<u8> {
    let mut out = Writer::default();
    out.varint(1, code as u64);
    out.bytes(2, message.as_bytes());
    if let Some(delay) = retry_after {
        out.message(3, |any| {
            any.bytes(1, RETRY_INFO.as_bytes());
            any.message(2, |info| {
                info.message(1, |duration| {
                    duration.varint(1, delay.as_secs());
                    duration.varint(2, delay.subsec_nanos().into());
                });
            });
        });
    }
    out.into_bytes()
}

/// The same in JSON.
pub fn status_json(code: Code, message: &str, retry_after: Option<Duration>) -> String {
    let mut out = format!("{{\"code\":{},\"message\":", code as u8);
    json_string(message, &mut out);
    if let Some(delay) = retry_after {
        let seconds = format!("{}.{:09}", delay.as_secs(), delay.subsec_nanos());
        out.push_str(&format!(",\"details\":[{{\"@type\":\"{RETRY_INFO}\",\"retryDelay\":\"{seconds}s\"}}]"));
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
    use prost::Message as _;

    fn some() -> Vec<Rejected> {
        vec![
            Rejected { reason: "invalid_trace_id", count: 3, example: "span \"a\" at byte 7".into() },
            Rejected { reason: "time_out_of_range", count: 1, example: "row 2".into() },
        ]
    }

    #[test]
    fn partial_success_reads_back() {
        assert!(export_protobuf(&[], &[]).is_empty());
        assert_eq!(export_json(Signal::Logs, &[], &[]), "{}");
        let decoded = ExportLogsServiceResponse::decode(&export_protobuf(&some(), &[])[..]).expect("protobuf");
        let partial = decoded.partial_success.expect("a partial success");
        assert_eq!(partial.rejected_log_records, 4);
        assert!(partial.error_message.contains("3 rejected (invalid_trace_id), first: span \"a\" at byte 7"));
        let json: serde_json::Value = serde_json::from_str(&export_json(Signal::Traces, &some(), &[])).expect("JSON");
        assert_eq!(json["partialSuccess"]["rejectedSpans"], "4");
        assert_eq!(json["partialSuccess"]["errorMessage"], partial.error_message);
        let warning = ExportLogsServiceResponse::decode(&export_protobuf(&[], &some())[..]).expect("protobuf");
        assert_eq!(warning.partial_success.expect("a warning").rejected_log_records, 0);
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Status {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
        #[prost(message, repeated, tag = "3")]
        details: Vec<Any>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(message, optional, tag = "2")]
        value: Option<RetryInfo>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        delay: Option<DurationMessage>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct DurationMessage {
        #[prost(int64, tag = "1")]
        seconds: i64,
        #[prost(int32, tag = "2")]
        nanos: i32,
    }

    #[test]
    fn status_carries_the_delay() {
        let delay = Some(Duration::from_millis(2500));
        let status = Status::decode(&status_protobuf(Code::Unavailable, "no \"room\"", delay)[..]).expect("protobuf");
        assert_eq!((status.code, status.message.as_str()), (14, "no \"room\""));
        assert_eq!(status.details[0].type_url, RETRY_INFO);
        let retry = status.details[0].value.clone().and_then(|v| v.delay).expect("a delay");
        assert_eq!((retry.seconds, retry.nanos), (2, 500_000_000));
        let json: serde_json::Value = serde_json::from_str(&status_json(Code::Unavailable, "no \"room\"", delay)).expect("JSON");
        assert_eq!(json["details"][0]["retryDelay"], "2.500000000s");
        assert_eq!(json["message"], "no \"room\"");
    }
}
