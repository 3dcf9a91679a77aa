//! Zipkin v2 spans, JSON and protobuf.
//!
//! The local endpoint becomes the resource (`service.name`), the remote one `peer.service` and `network.peer.…`, tags
//! attributes, annotations events. A server's span that shares its id with the client's gets an id of its own, with the
//! client's span as its parent: here an id stands for one span.

mod json;
mod protobuf;

use std::borrow::Cow;
use std::collections::HashSet;

use skopos_model::{Decoded, SpanBatch, SpanId, SpanKind, TraceId};
use xxhash_rust::xxh3::xxh3_64;

use crate::context::Context;
use crate::span_rows::{SpanFields, SpanRows, Value, status};

pub use json::decode as decode_json;
pub use protobuf::decode as decode_protobuf;

/// Where a span was recorded, or whom it talked to.
#[derive(Debug, Clone, Default)]
struct Endpoint<'a> {
    service: Cow<'a, str>,
    ip: String,
    port: i64,
}

/// A span as either encoding says it.
#[derive(Debug, Clone, Default)]
struct Span<'a> {
    trace_id: TraceId,
    id: SpanId,
    parent: SpanId,
    /// Why an id could not be read.
    bad_id: Option<(&'static str, String)>,
    kind: SpanKindOrNone,
    name: Cow<'a, str>,
    /// Unix microseconds, 0 when not given.
    timestamp: u64,
    /// Microseconds.
    duration: u64,
    local: Endpoint<'a>,
    remote: Option<Endpoint<'a>>,
    annotations: Vec<(u64, Cow<'a, str>)>,
    tags: Vec<(Cow<'a, str>, Value<'a>)>,
    debug: bool,
    shared: bool,
}

/// [`SpanKind`] with a default: a span without kind is local.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SpanKindOrNone(SpanKind);

impl Default for SpanKindOrNone {
    fn default() -> Self {
        Self(SpanKind::Internal)
    }
}

/// Tags that are read into columns, as OpenTelemetry's exporter writes them.
const COLUMNS: [&str; 6] =
    ["otel.status_code", "otel.status_description", "otel.scope.name", "otel.scope.version", "otel.library.name", "otel.library.version"];

fn rows(spans: &[Span<'_>], ctx: &Context<'_>) -> Decoded<SpanBatch> {
    let mut rows = SpanRows::new(ctx);
    let clients: HashSet<(TraceId, SpanId)> =
        spans.iter().filter(|span| span.kind.0 == SpanKind::Client).map(|span| (span.trace_id, span.id)).collect();
    for span in spans {
        let shares = span.shared || clients.contains(&(span.trace_id, span.id));
        push(span, span.kind.0 == SpanKind::Server && shares, ctx, &mut rows);
    }
    rows.finish()
}

fn push(span: &Span<'_>, shares: bool, ctx: &Context<'_>, rows: &mut SpanRows<'_>) {
    if let Some((reason, example)) = &span.bad_id {
        rows.reject(reason, || format!("span {:?}: {example}", span.name));
        return;
    }
    let nanos = |micros: u64| i64::try_from(micros).ok().and_then(|micros| micros.checked_mul(1_000));
    let (Some(stated), Some(duration)) = (nanos(span.timestamp), nanos(span.duration)) else {
        rows.reject("time_out_of_range", || format!("span {}: a time is past 2262-04-11, the last that can be stored", span.id));
        return;
    };
    // Without a start, the first annotation's time is the best there is.
    let first = span.annotations.iter().filter_map(|(time, _)| nanos(*time)).min();
    let start = if stated != 0 { stated } else { first.unwrap_or(ctx.received) };
    let resource = rows.resources.of_texts(&[("service.name", &span.local.service), ("host.ip", &span.local.ip)]);
    let tag = |key: &str| span.tags.iter().find(|(known, _)| known == key).map(|(_, value)| value);
    let text = |keys: [&str; 2]| keys.into_iter().find_map(|key| tag(key)?.text()).unwrap_or("");
    let (code, message) = status(tag("otel.status_code").and_then(Value::text), tag("otel.status_description").and_then(Value::text), tag("error"));
    rows.begin();
    for (time, value) in &span.annotations {
        rows.event(nanos(*time).unwrap_or(start), value, &[]);
    }
    let mut attributes = rows.attributes();
    for (key, value) in span.tags.iter().filter(|(key, _)| !COLUMNS.contains(&&**key)) {
        value.push(key, &mut attributes);
    }
    if let Some(remote) = &span.remote {
        for (key, value) in [("peer.service", remote.service.as_ref()), ("network.peer.address", &remote.ip)] {
            if !value.is_empty() {
                attributes.text(key, value);
            }
        }
        if remote.port != 0 {
            attributes.int("network.peer.port", remote.port);
        }
    }
    if span.debug {
        attributes.bool("zipkin.debug", true);
    }
    let (mut span_id, mut parent) = (span.id, span.parent);
    if shares {
        attributes.text("zipkin.shared_span_id", &span.id.to_hex());
        (span_id, parent) = (of_server(span), span.id);
    }
    rows.end(&SpanFields {
        trace_id: span.trace_id,
        span_id,
        parent,
        trace_state: "",
        name: &span.name,
        kind: span.kind.0,
        start,
        duration,
        status: code,
        status_message: message,
        resource,
        scope: (text(["otel.scope.name", "otel.library.name"]), text(["otel.scope.version", "otel.library.version"])),
    });
}

/// The id of a server's span that shares its client's: the same each time it is sent, another for each of several
/// servers a message came to.
fn of_server(span: &Span<'_>) -> SpanId {
    let service = span.local.service.as_bytes();
    let bytes = [&span.trace_id.0[..], &span.id.0, &span.timestamp.to_be_bytes(), service].concat();
    SpanId((xxh3_64(&bytes) | 1).to_be_bytes())
}

#[cfg(test)]
mod tests;
