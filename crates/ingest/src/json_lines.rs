//! Newline-delimited JSON logs: one object a line, with the keys loggers usually write.
//!
//! No line is lost: what is no JSON object becomes a record with the line as its message. A line's time, level,
//! message, service, environment and ids are recognised under their usual names; all else stays an attribute
//! under its own name, nested objects with dots between the names.

mod parameters;
mod record;
mod time;

use std::collections::HashMap;
use std::sync::Arc;

use serde::de::{DeserializeSeed as _, IgnoredAny};
use skopos_model::{AttrValue, Decoded, LogBatch, Rejected, Resource, Scope, SpanId, TraceId};

use crate::context::Context;
use crate::derive::severity;
use crate::otlp::value::{RecordState, cut};
use crate::rows::text;
pub use parameters::Parameters;
pub(crate) use parameters::query_pairs;
pub(crate) use record::{Fields, Record};
pub(crate) use time::from_float;
pub use time::parse_timestamp;

/// Objects are flattened this deep (`a.b.c.d`), deeper ones become JSON text.
pub const FLATTEN_DEPTH_MAX: usize = 4;

/// Decodes newline-delimited JSON (also a JSON array of objects, or one object over several lines).
///
/// Nothing in such a body is an error: see the module's description. Lines over
/// [`skopos_model::IngestLimits::log_body_bytes_max`] are cut and marked.
pub fn decode(body: &[u8], parameters: &Parameters, ctx: &Context<'_>) -> Decoded<LogBatch> {
    let mut builder = Builder::new(ctx);
    builder.set_origin(parameters);
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    match shape(body) {
        Shape::Lines => {
            let mut rest = body;
            while !rest.is_empty() {
                let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                let line = rest[..end].trim_ascii();
                if !line.is_empty() {
                    builder.line(line);
                }
                rest = rest.get(end + 1..).unwrap_or(&[]);
            }
        }
        Shape::Object => builder.line(body.trim_ascii()),
        Shape::Array => builder.array(body),
    }
    builder.finish()
}

enum Shape {
    Lines,
    Object,
    Array,
}

/// Only a body whose first line does not stand on its own is looked at as a whole.
fn shape(body: &[u8]) -> Shape {
    let body = body.trim_ascii();
    let is_json = |text: &[u8]| serde_json::from_slice::<IgnoredAny>(text).is_ok();
    let first_line = &body[..memchr::memchr(b'\n', body).unwrap_or(body.len())];
    match body.first() {
        Some(b'[') if is_json(body) && body[1..].trim_ascii_start().starts_with(b"{") => Shape::Array,
        Some(b'{') if first_line.len() < body.len() && !is_json(first_line) && is_json(body) => Shape::Object,
        _ => Shape::Lines,
    }
}

/// What becomes one row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Input<'l> {
    /// A JSON object, or else the message.
    pub(crate) line: &'l [u8],
    /// One more JSON object of the row; what the line says comes first.
    pub(crate) more: &'l [u8],
    /// Unix nanoseconds, where they are told beside the line; the line's own come first.
    pub(crate) time: Option<i64>,
}

/// Columns being filled, from protocols whose records are JSON objects or lines.
pub(crate) struct Builder<'c> {
    ctx: &'c Context<'c>,
    /// What holds for the rows of now that state nothing else.
    origins: Vec<Parameters>,
    origin: u32,
    known_origins: HashMap<Parameters, u32>,
    pub(crate) batch: LogBatch,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) changed: Vec<Rejected>,
    /// Origin, service and environment as the line states them, to the index of their resource.
    resources: HashMap<(u32, String, String), u32>,
    last: Option<((u32, String, String), u32)>,
    fields: Fields,
}

impl<'c> Builder<'c> {
    pub(crate) fn new(ctx: &'c Context<'c>) -> Self {
        let batch = LogBatch { scopes: vec![Arc::new(Scope::default())], ..LogBatch::default() };
        Self {
            ctx,
            origins: Vec::new(),
            origin: 0,
            known_origins: HashMap::new(),
            batch,
            rejected: Vec::new(),
            changed: Vec::new(),
            resources: HashMap::new(),
            last: None,
            fields: Fields::default(),
        }
    }

    /// Sets what holds for the rows to come.
    pub(crate) fn set_origin(&mut self, parameters: &Parameters) {
        if self.origins.get(self.origin as usize) == Some(parameters) {
            return;
        }
        self.origin = match self.known_origins.get(parameters) {
            Some(known) => *known,
            None => {
                let next = self.origins.len() as u32;
                self.origins.push(parameters.clone());
                self.known_origins.insert(parameters.clone(), next);
                next
            }
        };
    }

    pub(crate) fn finish(self) -> Decoded<LogBatch> {
        Decoded { batch: self.batch, rejected: self.rejected, changed: self.changed }
    }

    fn line(&mut self, line: &[u8]) {
        self.row(&Input { line, ..Input::default() });
    }

    /// Adds one row.
    pub(crate) fn row(&mut self, input: &Input<'_>) {
        let row = self.batch.len() as u32;
        let mut state = RecordState::default();
        self.batch.attributes.begin_row();
        self.fields.clear();
        if input.line.first() == Some(&b'{') && !self.object(row, input.line, &mut state) {
            self.batch.attributes.discard_row(row);
            self.batch.attributes.begin_row();
            self.fields.clear();
            state = RecordState::default();
        }
        if !input.more.is_empty() {
            self.object(row, input.more, &mut state);
        }
        self.fields.time = self.fields.time.or(input.time);
        self.push(row, input.line, state);
    }

    /// Reads a JSON object into the row; `false` when it is none.
    fn object(&mut self, row: u32, text: &[u8], state: &mut RecordState) -> bool {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let record = Record::new(row, &mut self.fields, &mut self.batch.attributes, state, self.ctx.limits);
        record.deserialize(&mut deserializer).and_then(|()| deserializer.end()).is_ok()
    }

    /// The elements of a JSON array, one row each.
    fn array(&mut self, body: &[u8]) {
        let mut rest = body.trim_ascii_start().strip_prefix(b"[").unwrap_or(body);
        loop {
            rest = rest.trim_ascii_start();
            rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
            if rest.is_empty() || rest.first() == Some(&b']') {
                return;
            }
            let mut elements = serde_json::Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
            let end = match elements.next() {
                Some(Ok(_)) => elements.byte_offset(),
                // An element that is no object ends the array's reading: what is left is one row, not none.
                _ => rest.len(),
            };
            self.line(&rest[..end]);
            rest = &rest[end..];
        }
    }

    /// Ends a row with what has been gathered of it.
    fn push(&mut self, row: u32, line: &[u8], mut state: RecordState) {
        let resource = self.resource();
        let fields = &self.fields;
        let batch = &mut self.batch;
        let observed = self.ctx.received;
        batch.time.push(fields.time.unwrap_or(observed));
        batch.observed.push(observed);
        let whole;
        let body = match &fields.body {
            Some(body) => body.as_str(),
            None => {
                whole = text(line, &mut self.changed);
                &whole
            }
        };
        let kept = cut(body, self.ctx.limits.log_body_bytes_max);
        state.truncated |= kept.len() < body.len();
        if fields.severity_number == 0 && fields.severity_text.is_empty() {
            let (number, word) = severity::of_line(kept).map_or((0, ""), |(severity, word)| (severity.number(), word));
            batch.severity_number.push(number);
            batch.severity_text.push(word);
        } else {
            batch.severity_number.push(fields.severity_number);
            batch.severity_text.push(&fields.severity_text);
        }
        batch.body.push(kept);
        batch.trace_id.push(fields.trace_id.unwrap_or(TraceId::NONE));
        batch.span_id.push(fields.span_id.unwrap_or(SpanId::NONE));
        batch.flags.push(0);
        batch.event_name.push("");
        batch.resource.push(resource);
        batch.scope.push(0);
        state.finish(row, &mut batch.attributes, &mut self.changed);
    }

    /// Index of the resource the row's service and environment belong to.
    fn resource(&mut self) -> u32 {
        let (service, environment) = (self.fields.service.as_str(), self.fields.environment.as_str());
        if let Some(((known_origin, known_service, known_environment), index)) = &self.last
            && *known_origin == self.origin
            && known_service == service
            && known_environment == environment
        {
            return *index;
        }
        let key = (self.origin, service.to_owned(), environment.to_owned());
        let index = match self.resources.get(&key) {
            Some(index) => *index,
            None => {
                let stated = [("service.name", service), ("deployment.environment.name", environment)];
                let stated = stated.into_iter().filter(|(_, value)| !value.is_empty());
                // Of equal keys the first wins: the line's own before the request's.
                let all = stated.chain(self.origins.get(self.origin as usize).into_iter().flat_map(Parameters::attributes));
                let attributes = all.map(|(key, value)| (key.into(), AttrValue::Str(value.to_owned()))).collect();
                self.batch.resources.push(Arc::new(Resource::new(attributes)));
                let index = self.batch.resources.len() as u32 - 1;
                self.resources.insert(key.clone(), index);
                index
            }
        };
        self.last = Some((key, index));
        index
    }
}

#[cfg(test)]
mod tests;
