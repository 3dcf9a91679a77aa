//! Spans filled row by row, for protocols that are no OTLP.

use std::fmt::Write as _;
use std::sync::Arc;

use skopos_model::{Decoded, Rejected, Scope, SpanBatch, SpanId, SpanKind, StatusCode, TraceId};

use crate::context::Context;
use crate::otlp::traces::EVENTS_BYTES_MAX;
use crate::otlp::value::{RecordState, cut, json_double, json_string};
use crate::rows::{ResourceTable, RowAttributes};

/// A value of an attribute, an event or a link.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Text(std::borrow::Cow<'a, str>),
    Int(i64),
    Double(f64),
    Bool(bool),
}

impl Value<'_> {
    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn push(&self, key: &str, attributes: &mut RowAttributes<'_>) {
        match self {
            Self::Text(text) => attributes.text(key, text),
            Self::Int(number) => attributes.int(key, *number),
            Self::Double(number) => attributes.double(key, *number),
            Self::Bool(truth) => attributes.bool(key, *truth),
        }
    }

    fn json(&self, out: &mut String, max: usize) {
        match self {
            Self::Text(text) => json_string(cut(text, max), out),
            Self::Int(number) => write!(out, "{number}").expect("writing to a string does not fail"),
            Self::Double(number) => json_double(*number, out),
            Self::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        }
    }
}

/// What is known of a span besides attributes, events and links.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanFields<'a> {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) parent: SpanId,
    pub(crate) trace_state: &'a str,
    pub(crate) name: &'a str,
    pub(crate) kind: SpanKind,
    /// Unix nanoseconds.
    pub(crate) start: i64,
    /// Nanoseconds.
    pub(crate) duration: i64,
    pub(crate) status: StatusCode,
    pub(crate) status_message: &'a str,
    pub(crate) resource: u32,
    /// Scope's name and version.
    pub(crate) scope: (&'a str, &'a str),
}

/// A span batch being filled.
pub(crate) struct SpanRows<'c> {
    ctx: &'c Context<'c>,
    batch: SpanBatch,
    state: RecordState,
    events: String,
    links: String,
    pub(crate) resources: ResourceTable,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) changed: Vec<Rejected>,
}

impl<'c> SpanRows<'c> {
    pub(crate) fn new(ctx: &'c Context<'c>) -> Self {
        Self {
            ctx,
            batch: SpanBatch::default(),
            state: RecordState::default(),
            events: String::new(),
            links: String::new(),
            resources: ResourceTable::default(),
            rejected: Vec::new(),
            changed: Vec::new(),
        }
    }

    /// Begins a row; attributes, events and links come before [`Self::end`].
    pub(crate) fn begin(&mut self) {
        self.batch.attributes.begin_row();
        self.state = RecordState::default();
        self.events.clear();
        self.links.clear();
    }

    /// The attributes of the row that has been begun.
    pub(crate) fn attributes(&mut self) -> RowAttributes<'_> {
        RowAttributes::new(self.batch.len() as u32, &mut self.batch.attributes, &mut self.state, self.ctx.limits)
    }

    /// Adds an event; `time` in Unix nanoseconds.
    pub(crate) fn event(&mut self, time: i64, name: &str, attributes: &[(&str, &Value<'_>)]) {
        let max = self.ctx.limits.attribute_value_bytes_max;
        let out = &mut self.events;
        let before = out.len();
        out.push(if before == 0 { '[' } else { ',' });
        write!(out, "{{\"time_unix_nano\":{time},\"name\":").expect("writing to a string does not fail");
        json_string(cut(name, max), out);
        out.push_str(",\"attributes\":");
        object(attributes, max, out);
        out.push('}');
        Self::bounded(out, before, &mut self.state);
    }

    /// Adds a link.
    pub(crate) fn link(&mut self, trace_id: TraceId, span_id: SpanId, attributes: &[(&str, &Value<'_>)]) {
        let out = &mut self.links;
        let before = out.len();
        out.push(if before == 0 { '[' } else { ',' });
        write!(out, "{{\"trace_id\":\"{trace_id}\",\"span_id\":\"{span_id}\",\"attributes\":").expect("writing to a string does not fail");
        object(attributes, self.ctx.limits.attribute_value_bytes_max, out);
        out.push('}');
        Self::bounded(out, before, &mut self.state);
    }

    /// As with OTLP, later events and links are left out of a list that gets too long, and the span is marked.
    fn bounded(out: &mut String, before: usize, state: &mut RecordState) {
        if before > 0 && out.len() > EVENTS_BYTES_MAX {
            out.truncate(before);
            state.truncated = true;
        }
    }

    /// Counts a span that is not taken; [`Self::begin`] has not been called for it.
    pub(crate) fn reject(&mut self, reason: &'static str, example: impl FnOnce() -> String) {
        Decoded::<()>::reject(&mut self.rejected, reason, 1, example);
    }

    /// Ends the row that has been begun.
    pub(crate) fn end(&mut self, fields: &SpanFields<'_>) {
        let row = self.batch.len() as u32;
        let max = self.ctx.limits.attribute_value_bytes_max;
        for list in [&mut self.events, &mut self.links] {
            if !list.is_empty() {
                list.push(']');
            }
        }
        let batch = &mut self.batch;
        let state = &mut self.state;
        let mut kept = |text: &'_ str| {
            let kept = cut(text, max).len();
            state.truncated |= kept < text.len();
            kept
        };
        batch.trace_id.push(fields.trace_id);
        batch.span_id.push(fields.span_id);
        batch.parent_span_id.push(fields.parent);
        batch.trace_state.push(&fields.trace_state[..kept(fields.trace_state)]);
        batch.flags.push(0);
        batch.name.push(&fields.name[..kept(fields.name)]);
        batch.kind.push(fields.kind as u8);
        batch.start.push(fields.start);
        batch.duration.push(fields.duration.max(0));
        batch.status_code.push(fields.status as u8);
        batch.status_message.push(&fields.status_message[..kept(fields.status_message)]);
        batch.events.push(&self.events);
        batch.links.push(&self.links);
        batch.resource.push(fields.resource);
        batch.scope.push(scope(&mut batch.scopes, fields.scope));
        state.finish(row, &mut batch.attributes, &mut self.changed);
    }

    pub(crate) fn finish(mut self) -> Decoded<SpanBatch> {
        self.batch.resources = self.resources.all;
        Decoded { batch: self.batch, rejected: self.rejected, changed: self.changed }
    }
}

fn object(attributes: &[(&str, &Value<'_>)], max: usize, out: &mut String) {
    out.push('{');
    for (i, (key, value)) in attributes.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        json_string(cut(key, max), out);
        out.push(':');
        value.json(out, max);
    }
    out.push('}');
}

/// Most scopes of a batch; spans of further ones have none.
const SCOPES_MAX: usize = 64;

fn scope(scopes: &mut Vec<Arc<Scope>>, (name, version): (&str, &str)) -> u32 {
    if scopes.is_empty() {
        scopes.push(Arc::new(Scope::default()));
    }
    if let Some(known) = scopes.iter().position(|scope| *scope.name == *name && *scope.version == *version) {
        return known as u32;
    }
    if scopes.len() >= SCOPES_MAX {
        return 0;
    }
    scopes.push(Arc::new(Scope { name: cut(name, 256).into(), version: cut(version, 256).into() }));
    scopes.len() as u32 - 1
}

/// The status tags state, as OpenTelemetry's exporters write them, or an `error` tag alone does.
pub(crate) fn status<'a>(code: Option<&str>, description: Option<&'a str>, error: Option<&'a Value<'_>>) -> (StatusCode, &'a str) {
    let stated = match code {
        Some(code) if code.eq_ignore_ascii_case("error") => Some(StatusCode::Error),
        Some(code) if code.eq_ignore_ascii_case("ok") => Some(StatusCode::Ok),
        Some(code) if code.eq_ignore_ascii_case("unset") => Some(StatusCode::Unset),
        _ => None,
    };
    let (failed, said) = match error {
        Some(Value::Bool(failed)) => (*failed, ""),
        Some(Value::Text(text)) if text.eq_ignore_ascii_case("false") => (false, ""),
        Some(Value::Text(text)) if text.eq_ignore_ascii_case("true") || text.is_empty() => (true, ""),
        Some(Value::Text(text)) => (true, text.as_ref()),
        Some(Value::Int(number)) => (*number != 0, ""),
        Some(Value::Double(_)) | None => (false, ""),
    };
    let status = stated.unwrap_or(if failed { StatusCode::Error } else { StatusCode::Unset });
    (status, description.unwrap_or(if status == StatusCode::Error { said } else { "" }))
}

/// The kind a tag `span.kind` or Zipkin's `kind` states.
pub(crate) fn kind(text: &str) -> Option<SpanKind> {
    let all = [SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer];
    all.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text))
}
