//! Spans in the shape of OpenTelemetry's protocol: `ResourceSpans`, as JSON in two dialects and as protobuf.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use skopos_ingest::otlp::traces_to_protobuf;
use skopos_model::{SpanId, SpanKind, StatusCode, TraceId};
use skopos_query::traces::SpanRow;

use crate::http::{ApiError, ApiResult};

/// How ids and enumerations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Protobuf's own JSON mapping, as Tempo's clients read it: ids in base64, enumerations by name.
    Tempo,
    /// OTLP/JSON: ids in hexadecimal, enumerations by number.
    Otlp,
}

impl Dialect {
    fn trace(self, id: TraceId) -> String {
        match self {
            Self::Tempo => STANDARD.encode(id.0),
            Self::Otlp => id.to_hex(),
        }
    }

    fn span(self, id: SpanId) -> String {
        match self {
            Self::Tempo => STANDARD.encode(id.0),
            Self::Otlp => id.to_hex(),
        }
    }

    fn kind(self, kind: SpanKind) -> Value {
        if self == Self::Otlp {
            return json!(kind as u8);
        }
        json!(match kind {
            SpanKind::Unspecified => "SPAN_KIND_UNSPECIFIED",
            SpanKind::Internal => "SPAN_KIND_INTERNAL",
            SpanKind::Server => "SPAN_KIND_SERVER",
            SpanKind::Client => "SPAN_KIND_CLIENT",
            SpanKind::Producer => "SPAN_KIND_PRODUCER",
            SpanKind::Consumer => "SPAN_KIND_CONSUMER",
        })
    }

    fn status(self, code: StatusCode, message: &str) -> Value {
        let mut status = Map::new();
        let named = match code {
            StatusCode::Unset => None,
            StatusCode::Ok => Some("STATUS_CODE_OK"),
            StatusCode::Error => Some("STATUS_CODE_ERROR"),
        };
        if let Some(named) = named {
            status.insert("code".to_owned(), if self == Self::Otlp { json!(code as u8) } else { json!(named) });
        }
        if !message.is_empty() {
            status.insert("message".to_owned(), json!(message));
        }
        Value::Object(status)
    }
}

/// Spans by the name of their scope.
type Scopes<'a> = Vec<(&'a str, Vec<Value>)>;

/// Spans by resource, then scope, each group in the order of its first span.
pub fn resource_spans(spans: &[SpanRow], dialect: Dialect) -> Vec<Value> {
    // A trace has few resources: comparing beats hashing maps.
    let mut groups: Vec<(&Map<String, Value>, Scopes<'_>)> = Vec::new();
    for row in spans {
        let at = groups.iter().position(|(known, _)| **known == row.resource).unwrap_or_else(|| {
            groups.push((&row.resource, Vec::new()));
            groups.len() - 1
        });
        let scopes = &mut groups[at].1;
        let scope = scopes.iter().position(|(name, _)| *name == row.scope_name).unwrap_or_else(|| {
            scopes.push((row.scope_name.as_str(), Vec::new()));
            scopes.len() - 1
        });
        scopes[scope].1.push(span(row, dialect));
    }
    let scope =
        |(name, spans): (&str, Vec<Value>)| json!({ "scope": if name.is_empty() { json!({}) } else { json!({ "name": name }) }, "spans": spans });
    groups
        .into_iter()
        .map(|(resource, scopes)| {
            json!({ "resource": { "attributes": attributes(resource) }, "scopeSpans": scopes.into_iter().map(scope).collect::<Vec<_>>() })
        })
        .collect()
}

/// The message `TracesData`, which is Tempo's `Trace` as well.
///
/// # Errors
/// 500 when the spans cannot be written so, which would be a defect.
pub fn traces_data(spans: &[SpanRow]) -> ApiResult<Vec<u8>> {
    let json = json!({ "resourceSpans": resource_spans(spans, Dialect::Otlp) }).to_string();
    traces_to_protobuf(json.as_bytes()).map_err(|e| ApiError::internal(format!("the spans could not be written as protobuf: {e}")))
}

fn span(row: &SpanRow, dialect: Dialect) -> Value {
    let mut out = json!({
        "traceId": dialect.trace(row.trace_id),
        "spanId": dialect.span(row.span_id),
        "name": row.name,
        "kind": dialect.kind(row.kind),
        "startTimeUnixNano": row.start.to_string(),
        "endTimeUnixNano": row.start.saturating_add(row.duration).to_string(),
        "status": dialect.status(row.status_code, &row.status_message),
    });
    if !row.parent_span_id.is_none() {
        out["parentSpanId"] = json!(dialect.span(row.parent_span_id));
    }
    if !row.attributes.is_empty() {
        out["attributes"] = attributes(&row.attributes);
    }
    if !row.events.is_empty() {
        out["events"] = row.events.iter().map(event).collect();
    }
    if !row.links.is_empty() {
        out["links"] = row.links.iter().map(|one| link(one, dialect)).collect();
    }
    out
}

/// Attributes as a list of keys and typed values.
pub fn attributes(map: &Map<String, Value>) -> Value {
    map.iter().map(|(key, value)| json!({ "key": key, "value": any_value(value) })).collect()
}

/// A value in OTLP's JSON form.
pub fn any_value(value: &Value) -> Value {
    match value {
        Value::String(s) => json!({ "stringValue": s }),
        Value::Bool(b) => json!({ "boolValue": b }),
        Value::Number(n) => match n.as_i64() {
            Some(i) => json!({ "intValue": i.to_string() }),
            None => json!({ "doubleValue": n }),
        },
        Value::Array(values) => json!({ "arrayValue": { "values": values.iter().map(any_value).collect::<Vec<_>>() } }),
        Value::Object(map) => json!({ "kvlistValue": { "values": attributes(map) } }),
        Value::Null => json!({}),
    }
}

fn event(event: &Value) -> Value {
    let time = &event["time_unix_nano"];
    let time = time.as_str().map_or_else(|| time.to_string(), str::to_owned);
    let mut out = json!({ "timeUnixNano": time, "name": event["name"] });
    if let Some(map) = event["attributes"].as_object() {
        out["attributes"] = attributes(map);
    }
    out
}

fn link(link: &Value, dialect: Dialect) -> Value {
    let trace = link["trace_id"].as_str().and_then(|id| id.parse::<TraceId>().ok());
    let span = link["span_id"].as_str().and_then(|id| id.parse::<SpanId>().ok());
    let mut out = json!({ "traceId": trace.map(|id| dialect.trace(id)), "spanId": span.map(|id| dialect.span(id)) });
    if let Some(map) = link["attributes"].as_object() {
        out["attributes"] = attributes(map);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(service: &str, scope: &str, id: u8) -> SpanRow {
        SpanRow {
            trace_id: TraceId([1; 16]),
            span_id: SpanId([id; 8]),
            parent_span_id: SpanId([0; 8]),
            name: "GET /orders".into(),
            kind: SpanKind::Server,
            service_name: service.into(),
            start: 1_700_000_000_000_000_000,
            duration: 5,
            status_code: StatusCode::Error,
            status_message: "broken".into(),
            scope_name: scope.into(),
            attributes: [("n".to_owned(), json!(5)), ("list".to_owned(), json!([true, 0.5]))].into_iter().collect(),
            resource: [("service.name".to_owned(), json!(service))].into_iter().collect(),
            events: vec![json!({"time_unix_nano": "7", "name": "exception", "attributes": {"a": "b"}})],
            links: vec![json!({"trace_id": "02020202020202020202020202020202", "span_id": "0303030303030303"})],
        }
    }

    #[test]
    fn grouped_by_resource_and_scope() {
        let got = resource_spans(&[row("a", "x", 1), row("b", "x", 2), row("a", "y", 3), row("a", "x", 4)], Dialect::Otlp);
        let spans = |scope: &Value| scope["spans"].as_array().map_or(0, Vec::len);
        let shape: Vec<Vec<usize>> = got.iter().map(|r| r["scopeSpans"].as_array().into_iter().flatten().map(spans).collect()).collect();
        assert_eq!(shape, [vec![2, 1], vec![1]]);
        assert!(!traces_data(&[row("a", "x", 1)]).expect("protobuf").is_empty());
    }

    #[test]
    fn a_span_as_tempos_clients_read_it() {
        let got = &resource_spans(&[row("a", "x", 1)], Dialect::Tempo)[0]["scopeSpans"][0]["spans"][0];
        let expected = json!({
            "traceId": "AQEBAQEBAQEBAQEBAQEBAQ==", "spanId": "AQEBAQEBAQE=", "name": "GET /orders", "kind": "SPAN_KIND_SERVER",
            "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000000000005",
            "attributes": [
                {"key": "n", "value": {"intValue": "5"}},
                {"key": "list", "value": {"arrayValue": {"values": [{"boolValue": true}, {"doubleValue": 0.5}]}}},
            ],
            "events": [{"timeUnixNano": "7", "name": "exception", "attributes": [{"key": "a", "value": {"stringValue": "b"}}]}],
            "links": [{"traceId": "AgICAgICAgICAgICAgICAg==", "spanId": "AwMDAwMDAwM="}],
            "status": {"code": "STATUS_CODE_ERROR", "message": "broken"},
        });
        assert_eq!(*got, expected);
    }
}
