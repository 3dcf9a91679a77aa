//! Jaeger's spans: Thrift from its agents and clients, protobuf over gRPC.
//!
//! The process becomes the resource, tags attributes, logs events; the first reference that is a child's becomes the
//! parent, the others links. Tags that OpenTelemetry's exporter writes for what Jaeger has no field for are read back.

mod protobuf;
mod thrift;

use std::borrow::Cow;

use skopos_model::{AttrValue, Decoded, Resource, SpanBatch, SpanId, SpanKind, TraceId};

use crate::context::Context;
use crate::otlp::value::cut;
use crate::span_rows::{SpanFields, SpanRows, Value, kind, status};

pub use protobuf::decode as decode_grpc;
pub use thrift::{decode_agent, decode_batch};

type Tags<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

#[derive(Debug, Clone, Default)]
struct Process<'a> {
    service: Cow<'a, str>,
    tags: Tags<'a>,
}

#[derive(Debug, Clone)]
struct Reference {
    follows_from: bool,
    trace_id: TraceId,
    span_id: SpanId,
}

#[derive(Debug, Clone, Default)]
struct Span<'a> {
    trace_id: TraceId,
    span_id: SpanId,
    /// From Thrift's field of its own.
    parent: SpanId,
    name: Cow<'a, str>,
    references: Vec<Reference>,
    flags: i64,
    /// Unix nanoseconds, `None` past what can be stored.
    start: Option<i64>,
    /// Nanoseconds.
    duration: i64,
    tags: Tags<'a>,
    /// Time in Unix nanoseconds and fields.
    logs: Vec<(i64, Tags<'a>)>,
    warnings: Vec<Cow<'a, str>>,
    /// Its own process, in the place of the batch's.
    process: Option<Process<'a>>,
}

/// Tags that are read into columns.
const COLUMNS: [&str; 8] = [
    "span.kind",
    "otel.status_code",
    "otel.status_description",
    "otel.scope.name",
    "otel.scope.version",
    "otel.library.name",
    "otel.library.version",
    "w3c.tracestate",
];

fn resource(process: &Process<'_>, ctx: &Context<'_>) -> Resource {
    let max = ctx.limits.attribute_value_bytes_max;
    let mut attributes: Vec<(Box<str>, AttrValue)> = Vec::new();
    if !process.service.is_empty() {
        attributes.push(("service.name".into(), AttrValue::Str(cut(&process.service, max).to_owned())));
    }
    for (key, value) in process.tags.iter().take(ctx.limits.attributes_max) {
        let key = if key == "hostname" { "host.name" } else { key.as_ref() };
        let value = match value {
            Value::Text(text) => AttrValue::Str(cut(text, max).to_owned()),
            Value::Int(number) => AttrValue::Int(*number),
            Value::Double(number) => AttrValue::Double(*number),
            Value::Bool(truth) => AttrValue::Bool(*truth),
        };
        attributes.push((key.into(), value));
    }
    Resource::new(attributes)
}

fn push(span: &Span<'_>, resource: u32, rows: &mut SpanRows<'_>) {
    if span.trace_id.is_none() || span.span_id.is_none() {
        let (reason, what) = if span.trace_id.is_none() { ("invalid_trace_id", "trace") } else { ("invalid_span_id", "span") };
        rows.reject(reason, || format!("span {:?}: {what} id is all zeros or of a wrong length", cut(&span.name, 128)));
        return;
    }
    let Some(start) = span.start else {
        rows.reject("time_out_of_range", || format!("span {}: its start is past 2262-04-11, the last that can be stored", span.span_id));
        return;
    };
    let tag = |key: &str| span.tags.iter().find(|(known, _)| known == key).map(|(_, value)| value);
    let text = |keys: [&str; 2]| keys.into_iter().find_map(|key| tag(key)?.text()).unwrap_or("");
    let of_trace = |reference: &&Reference| reference.trace_id == span.trace_id;
    // As Jaeger does it: without a child's reference, the first one into the same trace is the parent.
    let references = || span.references.iter().filter(of_trace);
    let parent = if span.parent.is_none() {
        let found = references().find(|reference| !reference.follows_from).or_else(|| references().next());
        found.map_or(SpanId::NONE, |reference| reference.span_id)
    } else {
        span.parent
    };
    let (code, message) = status(text_of_code(tag("otel.status_code")), tag("otel.status_description").and_then(Value::text), tag("error"));
    rows.begin();
    for reference in &span.references {
        if reference.trace_id == span.trace_id && reference.span_id == parent {
            continue;
        }
        let kind = Value::Text(Cow::Borrowed(if reference.follows_from { "follows_from" } else { "child_of" }));
        rows.link(reference.trace_id, reference.span_id, &[("opentracing.ref_type", &kind)]);
    }
    for (time, fields) in &span.logs {
        let field = |key: &str| fields.iter().find(|(known, _)| known == key).and_then(|(_, value)| value.text());
        let name = field("event").or_else(|| field("message")).unwrap_or("log");
        let rest: Vec<(&str, &Value<'_>)> =
            fields.iter().filter(|(key, value)| !(key == "event" && value.text() == Some(name))).map(|(key, value)| (key.as_ref(), value)).collect();
        rows.event(*time, name, &rest);
    }
    let mut attributes = rows.attributes();
    for (key, value) in span.tags.iter().filter(|(key, _)| !COLUMNS.contains(&&**key)) {
        value.push(key, &mut attributes);
    }
    if let Some(unknown) = tag("span.kind").and_then(Value::text).filter(|text| kind(text).is_none()) {
        attributes.text("span.kind", unknown);
    }
    if span.flags & 2 != 0 {
        attributes.bool("jaeger.debug", true);
    }
    if !span.warnings.is_empty() {
        attributes.text("jaeger.warnings", &span.warnings.join("\n"));
    }
    rows.end(&SpanFields {
        trace_id: span.trace_id,
        span_id: span.span_id,
        parent,
        trace_state: text(["w3c.tracestate", "w3c.tracestate"]),
        name: &span.name,
        kind: tag("span.kind").and_then(Value::text).and_then(kind).unwrap_or(SpanKind::Internal),
        start,
        duration: span.duration,
        status: code,
        status_message: message,
        resource,
        scope: (text(["otel.scope.name", "otel.library.name"]), text(["otel.scope.version", "otel.library.version"])),
    });
}

/// Status codes come as words, from older exporters as numbers.
fn text_of_code<'a>(value: Option<&'a Value<'_>>) -> Option<&'a str> {
    match value? {
        Value::Text(text) => Some(text),
        Value::Int(1) => Some("OK"),
        Value::Int(2) => Some("ERROR"),
        _ => None,
    }
}

fn push_batch(process: &Process<'_>, spans: &[Span<'_>], ctx: &Context<'_>, rows: &mut SpanRows<'_>) {
    let of_batch = rows.resources.index(resource(process, ctx));
    for span in spans {
        let index = match &span.process {
            Some(own) => {
                let own = resource(own, ctx);
                rows.resources.index(own)
            }
            None => of_batch,
        };
        push(span, index, rows);
    }
}

fn decoded(rows: SpanRows<'_>) -> Decoded<SpanBatch> {
    rows.finish()
}

#[cfg(test)]
mod tests;
