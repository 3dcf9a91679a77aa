//! A list of spans in JSON.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};
use skopos_model::{Decoded, SpanBatch, SpanId, TraceId};

use super::{Endpoint, Span, SpanKindOrNone, rows};
use crate::context::Context;
use crate::error::IngestError;
use crate::rows::text;
use crate::span_rows::{Value, kind};

/// Decodes `POST /api/v2/spans` in JSON: a list of spans.
///
/// Spans whose ids cannot be read are refused; the others are taken.
///
/// # Errors
/// When the body is no JSON list of objects.
pub fn decode(body: &[u8], ctx: &Context<'_>) -> Result<Decoded<SpanBatch>, IngestError> {
    let mut changed = Vec::new();
    let body = text(body, &mut changed);
    let bad = IngestError::json("list of Zipkin v2 spans");
    // One span by itself is taken as a list of one.
    let list: Vec<Map<String, Json>> = if body.trim_start().starts_with('{') {
        vec![serde_json::from_str(&body).map_err(bad)?]
    } else {
        serde_json::from_str(&body).map_err(bad)?
    };
    let spans: Vec<Span<'_>> = list.iter().map(span).collect();
    let mut decoded = rows(&spans, ctx);
    decoded.changed.append(&mut changed);
    Ok(decoded)
}

fn span(object: &Map<String, Json>) -> Span<'_> {
    let string = |key: &str| object.get(key).and_then(Json::as_str).unwrap_or("");
    let mut span = Span {
        name: Cow::Borrowed(string("name")),
        kind: kind(string("kind")).map_or_else(SpanKindOrNone::default, SpanKindOrNone),
        timestamp: object.get("timestamp").map_or(0, micros),
        duration: object.get("duration").map_or(0, micros),
        local: object.get("localEndpoint").map(endpoint).unwrap_or_default(),
        remote: object.get("remoteEndpoint").filter(|value| value.is_object()).map(endpoint),
        debug: object.get("debug") == Some(&Json::Bool(true)),
        shared: object.get("shared") == Some(&Json::Bool(true)),
        ..Span::default()
    };
    match trace_id(string("traceId")) {
        Some(id) => span.trace_id = id,
        None => {
            span.bad_id = Some((
                "invalid_trace_id",
                format!("traceId is {:?}, expected up to 32 hexadecimal digits, not all zero", shown(object.get("traceId"))),
            ))
        }
    }
    match span_id(string("id")) {
        Some(id) => span.id = id,
        None => {
            span.bad_id =
                Some(("invalid_span_id", format!("id is {:?}, expected up to 16 hexadecimal digits, not all zero", shown(object.get("id")))))
        }
    }
    span.parent = span_id(string("parentId")).unwrap_or_default();
    for annotation in object.get("annotations").and_then(Json::as_array).into_iter().flatten() {
        let value = annotation.get("value").and_then(Json::as_str).unwrap_or("");
        span.annotations.push((annotation.get("timestamp").map_or(0, micros), Cow::Borrowed(value)));
    }
    for (key, value) in object.get("tags").and_then(Json::as_object).into_iter().flatten() {
        span.tags.push((Cow::Borrowed(key), tag(value)));
    }
    span
}

fn shown(value: Option<&Json>) -> String {
    value.map_or_else(String::new, |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned).chars().take(64).collect())
}

/// Tags are texts; what some senders write there instead is taken as it is.
fn tag(value: &Json) -> Value<'_> {
    match value {
        Json::String(text) => Value::Text(Cow::Borrowed(text)),
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::Double(number.as_f64().unwrap_or(0.0)), Value::Int),
        other => Value::Text(Cow::Owned(other.to_string())),
    }
}

fn micros(value: &Json) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).or_else(|| value.as_f64().map(|v| v as u64)).unwrap_or(0)
}

fn endpoint(value: &Json) -> Endpoint<'_> {
    let string = |key: &str| value.get(key).and_then(Json::as_str).unwrap_or("");
    let ip = if string("ipv6").is_empty() { string("ipv4") } else { string("ipv6") };
    Endpoint { service: Cow::Borrowed(string("serviceName")), ip: ip.to_owned(), port: value.get("port").and_then(Json::as_i64).unwrap_or(0) }
}

/// Up to 32 digits, shorter ones filled with zeros on the left.
fn trace_id(text: &str) -> Option<TraceId> {
    TraceId::from_hex(padded(text, 32)?.as_bytes()).filter(|id| !id.is_none())
}

fn span_id(text: &str) -> Option<SpanId> {
    SpanId::from_hex(padded(text, 16)?.as_bytes()).filter(|id| !id.is_none())
}

fn padded(text: &str, length: usize) -> Option<String> {
    (text.len() <= length).then(|| format!("{text:0>length$}"))
}
