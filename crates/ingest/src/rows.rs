//! Batches filled row by row, for protocols that are no OTLP: limits, resources and ids are handled here once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use skopos_model::{AttrColumns, AttrType, AttrValue, AttrValues, Decoded, IngestLimits, LogBatch, Rejected, Resource, Scope, Slot, SpanId, TraceId};

use crate::context::Context;
use crate::derive::message::{self, Said};
use crate::otlp::value::{RecordState, cut};

/// Reason counted where bytes that are no UTF-8 were replaced.
pub(crate) const INVALID_UTF8: &str = "invalid_utf8";

/// Text of bytes; what is no UTF-8 becomes U+FFFD and is counted.
pub(crate) fn text<'a>(bytes: &'a [u8], changed: &mut Vec<Rejected>) -> Cow<'a, str> {
    let text = String::from_utf8_lossy(bytes);
    if let Cow::Owned(_) = &text {
        Decoded::<()>::reject(changed, INVALID_UTF8, 1, || format!("text that is no UTF-8, replaced where it is not: {:?}", cut(&text, 128)));
    }
    text
}

/// The attributes of the row being filled.
pub(crate) struct RowAttributes<'b> {
    row: u32,
    columns: &'b mut AttrColumns,
    state: &'b mut RecordState,
    limits: &'b IngestLimits,
}

impl<'b> RowAttributes<'b> {
    pub(crate) fn new(row: u32, columns: &'b mut AttrColumns, state: &'b mut RecordState, limits: &'b IngestLimits) -> Self {
        Self { row, columns, state, limits }
    }

    fn slot(&mut self, key: &str, ty: AttrType) -> Option<&mut AttrValues> {
        if !self.state.count(self.limits) {
            return None;
        }
        match self.columns.slot(self.row, cut(key, self.limits.label_name_bytes_max).as_bytes(), ty) {
            Ok(Slot::Fill(values)) => Some(values),
            Ok(Slot::Full) => {
                self.state.drop_one();
                None
            }
            Ok(Slot::Taken) | Err(_) => None,
        }
    }

    /// A text; the first of a key wins.
    pub(crate) fn text(&mut self, key: &str, value: &str) {
        let kept = cut(value, self.limits.attribute_value_bytes_max);
        self.state.truncated |= kept.len() < value.len();
        if let Some(AttrValues::Str(column)) = self.slot(key, AttrType::Str) {
            column.push(kept);
        }
    }

    pub(crate) fn int(&mut self, key: &str, value: i64) {
        if let Some(AttrValues::Int(column)) = self.slot(key, AttrType::Int) {
            column.push(value);
        }
    }

    pub(crate) fn double(&mut self, key: &str, value: f64) {
        if let Some(AttrValues::Double(column)) = self.slot(key, AttrType::Double) {
            column.push(value);
        }
    }

    pub(crate) fn bool(&mut self, key: &str, value: bool) {
        if let Some(AttrValues::Bool(column)) = self.slot(key, AttrType::Bool) {
            column.push(value);
        }
    }
}

/// Distinct resources of a batch.
#[derive(Debug, Default)]
pub(crate) struct ResourceTable {
    by_id: HashMap<u64, u32>,
    pub(crate) all: Vec<Arc<Resource>>,
}

impl ResourceTable {
    /// Index of a resource.
    pub(crate) fn index(&mut self, resource: Resource) -> u32 {
        let next = self.all.len() as u32;
        let index = *self.by_id.entry(resource.id).or_insert(next);
        if index == next {
            self.all.push(Arc::new(resource));
        }
        index
    }

    /// Index of a resource with these texts, those that are empty left out.
    pub(crate) fn of_texts(&mut self, texts: &[(&str, &str)]) -> u32 {
        let stated = texts.iter().filter(|(_, value)| !value.is_empty());
        self.index(Resource::new(stated.map(|(key, value)| ((*key).into(), AttrValue::Str((*value).to_owned()))).collect()))
    }
}

/// What is known of a log record besides its attributes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogFields<'a> {
    /// Unix nanoseconds; the time of arrival where the sender gave none.
    pub(crate) time: Option<i64>,
    pub(crate) severity_number: u8,
    pub(crate) severity_text: &'a str,
    pub(crate) body: &'a str,
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    /// Index of the resource.
    pub(crate) resource: u32,
}

/// A log batch being filled.
pub(crate) struct LogRows<'c> {
    ctx: &'c Context<'c>,
    batch: LogBatch,
    state: RecordState,
    pub(crate) resources: ResourceTable,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) changed: Vec<Rejected>,
}

impl<'c> LogRows<'c> {
    pub(crate) fn new(ctx: &'c Context<'c>) -> Self {
        let batch = LogBatch { scopes: vec![Arc::new(Scope::default())], ..LogBatch::default() };
        Self { ctx, batch, state: RecordState::default(), resources: ResourceTable::default(), rejected: Vec::new(), changed: Vec::new() }
    }

    /// Begins a row; attributes come before [`Self::end`].
    pub(crate) fn begin(&mut self) {
        self.batch.attributes.begin_row();
        self.state = RecordState::default();
    }

    /// The attributes of the row that has been begun.
    pub(crate) fn attributes(&mut self) -> RowAttributes<'_> {
        RowAttributes::new(self.batch.len() as u32, &mut self.batch.attributes, &mut self.state, self.ctx.limits)
    }

    /// Reads the fields of a message that is a JSON object into the row that has been begun.
    pub(crate) fn fields_of(&mut self, message: &str) -> Option<Said> {
        let row = self.batch.len() as u32;
        message::fields(message.as_bytes(), row, &mut self.batch.attributes, &mut self.state, self.ctx.limits)
    }

    /// Ends the row that has been begun.
    pub(crate) fn end(&mut self, fields: &LogFields<'_>) {
        let row = self.batch.len() as u32;
        let batch = &mut self.batch;
        let body = cut(fields.body, self.ctx.limits.log_body_bytes_max);
        self.state.truncated |= body.len() < fields.body.len();
        batch.time.push(fields.time.unwrap_or(self.ctx.received));
        batch.observed.push(self.ctx.received);
        batch.severity_number.push(fields.severity_number);
        batch.severity_text.push(cut(fields.severity_text, 64));
        batch.body.push(body);
        batch.trace_id.push(fields.trace_id);
        batch.span_id.push(fields.span_id);
        batch.flags.push(0);
        batch.event_name.push("");
        batch.resource.push(fields.resource);
        batch.scope.push(0);
        self.state.finish(row, &mut batch.attributes, &mut self.changed);
    }

    pub(crate) fn finish(mut self) -> Decoded<LogBatch> {
        self.batch.resources = self.resources.all;
        Decoded { batch: self.batch, rejected: self.rejected, changed: self.changed }
    }
}
