//! Tempo's trace look-up: `GET /api/traces/{id}` and `/api/v2/traces/{id}`, as JSON.
//!
//! The shape is that of protobuf's JSON mapping as Tempo's clients read it: ids and bytes in base64, 64-bit numbers as
//! text, kinds and statuses by name.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use skopos_model::{SpanId, SpanKind, StatusCode, TraceId};
use skopos_query::traces::SpanRow;

use super::traces::parse_id;
use crate::app::App;
use crate::http::{ApiError, ApiResult};

/// `GET /api/traces/{id}`: the first version wraps the resources in `batches`.
pub async fn trace(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<TraceV1>> {
    Ok(Json(TraceV1 { batches: spans_of(&app, &id).await? }))
}

/// `GET /api/v2/traces/{id}`
pub async fn trace_v2(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<TraceV2>> {
    Ok(Json(TraceV2 { trace: ResourceSpansList { resource_spans: spans_of(&app, &id).await? } }))
}

/// `GET /api/echo`: what Grafana asks to see whether Tempo is there.
pub async fn echo() -> &'static str {
    "echo"
}

async fn spans_of(app: &Arc<App>, id: &str) -> ApiResult<Vec<ResourceSpans>> {
    let id = parse_id(id)?;
    let (spans, _) = app.query(move |app, ctx| app.store.traces().trace(id, ctx)).await?;
    if spans.is_empty() {
        return Err(ApiError::not_found(format!("there is no trace {id}")));
    }
    Ok(batches(spans))
}

/// Answer of the first version.
#[derive(Debug, Serialize)]
pub struct TraceV1 {
    batches: Vec<ResourceSpans>,
}

/// Answer of the second version.
#[derive(Debug, Serialize)]
pub struct TraceV2 {
    trace: ResourceSpansList,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpansList {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    resource: Attributes,
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Debug, Serialize)]
struct Attributes {
    attributes: Vec<KeyValue>,
}

#[derive(Debug, Serialize)]
struct ScopeSpans {
    scope: Scope,
    spans: Vec<Span>,
}

#[derive(Debug, Serialize)]
struct Scope {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    #[serde(serialize_with = "trace_id")]
    trace_id: TraceId,
    #[serde(serialize_with = "span_id")]
    span_id: SpanId,
    #[serde(serialize_with = "span_id", skip_serializing_if = "SpanId::is_none")]
    parent_span_id: SpanId,
    name: String,
    kind: &'static str,
    #[serde(with = "skopos_query::logs::nanos_text")]
    start_time_unix_nano: i64,
    #[serde(with = "skopos_query::logs::nanos_text")]
    end_time_unix_nano: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<KeyValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Value>,
    status: Status,
}

#[derive(Debug, Serialize)]
struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

#[derive(Debug, Serialize)]
struct KeyValue {
    key: String,
    value: Value,
}

fn trace_id<S: Serializer>(id: &TraceId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(id.0))
}

fn span_id<S: Serializer>(id: &SpanId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(id.0))
}

/// Spans by resource, then scope, each group in the order of its first span.
fn batches(spans: Vec<SpanRow>) -> Vec<ResourceSpans> {
    // A trace has few resources: comparing beats hashing maps.
    let mut resources: Vec<Map<String, Value>> = Vec::new();
    let mut out: Vec<ResourceSpans> = Vec::new();
    for row in spans {
        let SpanRow { resource, scope_name, .. } = &row;
        let at = resources.iter().position(|known| known == resource).unwrap_or_else(|| {
            resources.push(resource.clone());
            out.push(ResourceSpans { resource: Attributes { attributes: attributes(resource) }, scope_spans: Vec::new() });
            out.len() - 1
        });
        let scopes = &mut out[at].scope_spans;
        let scope = scopes.iter().position(|s| s.scope.name == *scope_name).unwrap_or_else(|| {
            scopes.push(ScopeSpans { scope: Scope { name: scope_name.clone() }, spans: Vec::new() });
            scopes.len() - 1
        });
        scopes[scope].spans.push(span(row));
    }
    out
}

fn span(row: SpanRow) -> Span {
    let kind = match row.kind {
        SpanKind::Unspecified => "SPAN_KIND_UNSPECIFIED",
        SpanKind::Internal => "SPAN_KIND_INTERNAL",
        SpanKind::Server => "SPAN_KIND_SERVER",
        SpanKind::Client => "SPAN_KIND_CLIENT",
        SpanKind::Producer => "SPAN_KIND_PRODUCER",
        SpanKind::Consumer => "SPAN_KIND_CONSUMER",
    };
    let code = match row.status_code {
        StatusCode::Unset => None,
        StatusCode::Ok => Some("STATUS_CODE_OK"),
        StatusCode::Error => Some("STATUS_CODE_ERROR"),
    };
    Span {
        trace_id: row.trace_id,
        span_id: row.span_id,
        parent_span_id: row.parent_span_id,
        kind,
        start_time_unix_nano: row.start,
        end_time_unix_nano: row.start.saturating_add(row.duration),
        attributes: attributes(&row.attributes),
        events: row.events.iter().map(event).collect(),
        links: row.links.iter().map(link).collect(),
        status: Status { code, message: row.status_message },
        name: row.name,
    }
}

fn attributes(map: &Map<String, Value>) -> Vec<KeyValue> {
    map.iter().map(|(key, value)| KeyValue { key: key.clone(), value: any_value(value) }).collect()
}

/// A value in OTLP's JSON form.
fn any_value(value: &Value) -> Value {
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
    let mut out = json!({ "timeUnixNano": event["time_unix_nano"], "name": event["name"] });
    if let Some(map) = event["attributes"].as_object() {
        out["attributes"] = json!(attributes(map));
    }
    out
}

fn link(link: &Value) -> Value {
    let trace = link["trace_id"].as_str().and_then(|id| id.parse::<TraceId>().ok());
    let span = link["span_id"].as_str().and_then(|id| id.parse::<SpanId>().ok());
    let mut out = json!({ "traceId": trace.map(|id| STANDARD.encode(id.0)), "spanId": span.map(|id| STANDARD.encode(id.0)) });
    if let Some(map) = link["attributes"].as_object() {
        out["attributes"] = json!(attributes(map));
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
        let got = batches(vec![row("a", "x", 1), row("b", "x", 2), row("a", "y", 3), row("a", "x", 4)]);
        let shape: Vec<Vec<usize>> = got.iter().map(|r| r.scope_spans.iter().map(|s| s.spans.len()).collect()).collect();
        assert_eq!(shape, [vec![2, 1], vec![1]]);
    }

    #[test]
    fn a_span_as_tempos_clients_read_it() {
        let got = serde_json::to_value(&batches(vec![row("a", "x", 1)])[0].scope_spans[0].spans[0]).expect("serializes");
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
        assert_eq!(got, expected);
    }
}
