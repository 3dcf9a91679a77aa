//! Spans in Jaeger's model: tags, logs, references, processes.
//!
//! Made as Jaeger itself makes them of OpenTelemetry's (`opentelemetry.io/docs/specs/otel/trace/sdk_exporters/jaeger`):
//! kind, status and scope become tags, events logs, links references.

use serde_json::{Map, Value, json};
use skopos_model::{SpanId, SpanKind, StatusCode, TraceId};
use skopos_query::traces::SpanRow;

/// A span in Jaeger's terms, independent of how it is written.
pub(super) struct Span {
    pub(super) references: Vec<Reference>,
    pub(super) tags: Vec<(String, Value)>,
    pub(super) logs: Vec<Log>,
}

/// Another span that this one refers to.
pub(super) struct Reference {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) follows: bool,
}

/// An event.
pub(super) struct Log {
    /// Unix nanoseconds.
    pub(super) time: i64,
    pub(super) fields: Vec<(String, Value)>,
}

fn pairs(map: &Map<String, Value>) -> impl Iterator<Item = (String, Value)> + '_ {
    map.iter().map(|(key, value)| (key.clone(), value.clone()))
}

impl Span {
    pub(super) fn new(row: &SpanRow) -> Self {
        let mut references = Vec::new();
        if !row.parent_span_id.is_none() {
            references.push(Reference { trace: row.trace_id, span: row.parent_span_id, follows: false });
        }
        for link in &row.links {
            let trace = link["trace_id"].as_str().and_then(|id| id.parse().ok());
            let span = link["span_id"].as_str().and_then(|id| id.parse().ok());
            if let (Some(trace), Some(span)) = (trace, span) {
                // A span that came from Jaeger says what its link was.
                let child = link["attributes"]["opentracing.ref_type"] == "child_of";
                references.push(Reference { trace, span, follows: !child });
            }
        }
        let mut tags: Vec<(String, Value)> = pairs(&row.attributes).collect();
        let mut add = |key: &str, value: Value| {
            if !row.attributes.contains_key(key) {
                tags.push((key.to_owned(), value));
            }
        };
        if !row.scope_name.is_empty() {
            add("otel.scope.name", json!(row.scope_name));
        }
        if row.kind != SpanKind::Unspecified {
            add("span.kind", json!(row.kind.as_str()));
        }
        match row.status_code {
            StatusCode::Unset => {}
            StatusCode::Ok => add("otel.status_code", json!("OK")),
            StatusCode::Error => {
                add("otel.status_code", json!("ERROR"));
                add("error", json!(true));
            }
        }
        if !row.status_message.is_empty() {
            add("otel.status_description", json!(row.status_message));
        }
        let log = |event: &Value| {
            let time = &event["time_unix_nano"];
            let mut fields = Vec::new();
            if let Some(name) = event["name"].as_str().filter(|name| !name.is_empty() && event["attributes"].get("event").is_none()) {
                fields.push(("event".to_owned(), json!(name)));
            }
            fields.extend(event["attributes"].as_object().into_iter().flat_map(pairs));
            Log { time: time.as_i64().or_else(|| time.as_str()?.parse().ok()).unwrap_or(row.start), fields }
        };
        Self { references, tags, logs: row.events.iter().map(log).collect() }
    }
}

/// A process's tags: those of the resource, its name apart.
pub(super) fn process_tags(resource: &Map<String, Value>) -> Vec<(String, Value)> {
    pairs(resource).filter(|(key, _)| key != "service.name").collect()
}

/// What is wrong with the trace, for its first span.
fn warnings(spans: &[SpanRow]) -> Value {
    let known: std::collections::HashSet<SpanId> = spans.iter().map(|s| s.span_id).collect();
    let orphans = spans.iter().filter(|s| !s.parent_span_id.is_none() && !known.contains(&s.parent_span_id)).count();
    match orphans {
        0 => Value::Null,
        n => json!([format!("{n} spans name a parent that is not here: it was not sampled, has not arrived, or has passed its retention")]),
    }
}

/// A key, the value's type, the value.
fn tag((key, value): (String, Value)) -> Value {
    let (ty, value) = match value {
        Value::Bool(b) => ("bool", json!(b)),
        Value::Number(n) if n.is_i64() || n.is_u64() => ("int64", json!(n)),
        Value::Number(n) => ("float64", json!(n)),
        Value::String(text) => ("string", json!(text)),
        other => ("string", json!(other.to_string())),
    };
    json!({ "key": key, "type": ty, "value": value })
}

/// A trace as version 1 writes it; times in microseconds.
pub(super) fn trace(rows: &[SpanRow]) -> Value {
    let mut processes: Vec<(&str, &Map<String, Value>)> = Vec::new();
    let trace_id = rows.first().map_or_else(String::new, |row| row.trace_id.to_hex());
    let spans: Vec<Value> = rows
        .iter()
        .map(|row| {
            let process = processes.iter().position(|(_, known)| **known == row.resource).unwrap_or_else(|| {
                processes.push((row.service_name.as_str(), &row.resource));
                processes.len() - 1
            });
            let span = Span::new(row);
            let reference = |r: &Reference| {
                let ty = if r.follows { "FOLLOWS_FROM" } else { "CHILD_OF" };
                json!({ "refType": ty, "traceID": r.trace.to_hex(), "spanID": r.span.to_hex() })
            };
            let log = |log: Log| json!({ "timestamp": log.time / 1_000, "fields": log.fields.into_iter().map(tag).collect::<Vec<_>>() });
            json!({
                "traceID": row.trace_id.to_hex(),
                "spanID": row.span_id.to_hex(),
                "operationName": row.name,
                "references": span.references.iter().map(reference).collect::<Vec<_>>(),
                "startTime": row.start / 1_000,
                "duration": row.duration / 1_000,
                "tags": span.tags.into_iter().map(tag).collect::<Vec<_>>(),
                "logs": span.logs.into_iter().map(log).collect::<Vec<_>>(),
                "processID": format!("p{}", process + 1),
                "warnings": null,
            })
        })
        .collect();
    let processes: Map<String, Value> = processes
        .into_iter()
        .enumerate()
        .map(|(at, (service, resource))| {
            let tags: Vec<Value> = process_tags(resource).into_iter().map(tag).collect();
            (format!("p{}", at + 1), json!({ "serviceName": service, "tags": tags }))
        })
        .collect();
    json!({ "traceID": trace_id, "spans": spans, "processes": processes, "warnings": warnings(rows) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_as_jaegers_ui_reads_it() {
        let row = SpanRow {
            trace_id: TraceId([1; 16]),
            span_id: SpanId([2; 8]),
            parent_span_id: SpanId([3; 8]),
            name: "GET /orders".into(),
            kind: SpanKind::Server,
            service_name: "a".into(),
            start: 1_700_000_000_000_000_000,
            duration: 5_000,
            status_code: StatusCode::Error,
            status_message: "broken".into(),
            scope_name: "lib".into(),
            attributes: [("n".to_owned(), json!(5))].into_iter().collect(),
            resource: [("service.name".to_owned(), json!("a")), ("host".to_owned(), json!("h"))].into_iter().collect(),
            events: vec![json!({"time_unix_nano": "1700000000000001000", "name": "exception", "attributes": {"a": 0.5}})],
            links: vec![json!({"trace_id": "02020202020202020202020202020202", "span_id": "0303030303030303"})],
        };
        let expected = json!({
            "traceID": "01010101010101010101010101010101",
            "spans": [{
                "traceID": "01010101010101010101010101010101", "spanID": "0202020202020202", "operationName": "GET /orders",
                "references": [
                    {"refType": "CHILD_OF", "traceID": "01010101010101010101010101010101", "spanID": "0303030303030303"},
                    {"refType": "FOLLOWS_FROM", "traceID": "02020202020202020202020202020202", "spanID": "0303030303030303"},
                ],
                "startTime": 1_700_000_000_000_000i64, "duration": 5,
                "tags": [
                    {"key": "n", "type": "int64", "value": 5},
                    {"key": "otel.scope.name", "type": "string", "value": "lib"},
                    {"key": "span.kind", "type": "string", "value": "server"},
                    {"key": "otel.status_code", "type": "string", "value": "ERROR"},
                    {"key": "error", "type": "bool", "value": true},
                    {"key": "otel.status_description", "type": "string", "value": "broken"},
                ],
                "logs": [{"timestamp": 1_700_000_000_000_001i64, "fields": [
                    {"key": "event", "type": "string", "value": "exception"},
                    {"key": "a", "type": "float64", "value": 0.5},
                ]}],
                "processID": "p1", "warnings": null,
            }],
            "processes": {"p1": {"serviceName": "a", "tags": [{"key": "host", "type": "string", "value": "h"}]}},
            "warnings": ["1 spans name a parent that is not here: it was not sampled, has not arrived, or has passed its retention"],
        });
        assert_eq!(trace(&[row]), expected);
    }
}
