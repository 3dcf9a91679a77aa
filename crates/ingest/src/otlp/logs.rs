//! OTLP logs: `ExportLogsServiceRequest` into a [`LogBatch`].

use skopos_model::ids::write_hex;
use skopos_model::{Decoded, LogBatch, Rejected, Severity, SpanId, StrColumn, TraceId};

use crate::context::Context;
use crate::derive::message;
use crate::error::IngestError;
use crate::otlp::records::{self, Place};
use crate::otlp::resource::Envelope;
use crate::otlp::value::{RecordError, Value, any_value, cut, json_value, push_attribute, text_bytes};
use crate::proto::{Message, Reader, bytes, fixed32, fixed64, varint};

const TIME: u32 = fixed64(1);
const SEVERITY_NUMBER: u32 = varint(2);
const SEVERITY_TEXT: u32 = bytes(3);
const BODY: u32 = bytes(5);
const ATTRIBUTE: u32 = bytes(6);
const FLAGS: u32 = fixed32(8);
const TRACE_ID: u32 = bytes(9);
const SPAN_ID: u32 = bytes(10);
const OBSERVED: u32 = fixed64(11);
const EVENT_NAME: u32 = bytes(12);

const LOG_RECORD: Message = Message {
    name: "LogRecord",
    tags: &[TIME, SEVERITY_NUMBER, SEVERITY_TEXT, BODY, ATTRIBUTE, varint(7), FLAGS, TRACE_ID, SPAN_ID, OBSERVED, EVENT_NAME],
};

/// Decodes the protobuf body of an OTLP logs request.
///
/// A record whose id has a wrong length is kept without the id, which stays as text in the attribute `trace_id`
/// or `span_id`. Values nested too deep and times past the year 2262 are refused.
///
/// # Errors
/// When the body is no such message: nothing of it is taken.
pub fn decode(body: &[u8], ctx: &Context<'_>) -> Result<Decoded<LogBatch>, IngestError> {
    let mut scratch = String::new();
    records::read(
        body,
        ctx,
        &Envelope::LOGS,
        || with_capacity(body.len()),
        |reader, place, batch, changed| record(reader, place, batch, ctx, &mut scratch, changed),
    )
}

/// Columns with room for as many records as a body of `bytes` bytes mostly has; counting them first would cost a
/// look at each.
fn with_capacity(bytes: usize) -> LogBatch {
    let rows = bytes / 300 + 1;
    LogBatch {
        time: Vec::with_capacity(rows),
        observed: Vec::with_capacity(rows),
        severity_number: Vec::with_capacity(rows),
        severity_text: StrColumn::with_capacity(rows, rows * 5),
        body: StrColumn::with_capacity(rows, bytes / 2),
        trace_id: Vec::with_capacity(rows),
        span_id: Vec::with_capacity(rows),
        flags: Vec::with_capacity(rows),
        event_name: StrColumn::with_capacity(rows, 0),
        resource: Vec::with_capacity(rows),
        scope: Vec::with_capacity(rows),
        ..LogBatch::default()
    }
}

#[inline]
fn record(
    mut reader: Reader<'_>,
    Place { resource, scope, mut state, .. }: Place<'_>,
    batch: &mut LogBatch,
    ctx: &Context<'_>,
    scratch: &mut String,
    changed: &mut Vec<Rejected>,
) -> Result<(), RecordError> {
    let row = batch.len() as u32;
    let (mut time, mut observed, mut severity, mut flags) = (0u64, 0u64, 0u64, 0u32);
    let (mut severity_text, mut event_name): (&[u8], &[u8]) = (&[], &[]);
    let (mut trace_id, mut span_id): (&[u8], &[u8]) = (&[], &[]);
    let mut body = Value::Empty;
    batch.attributes.begin_row();
    while let Some(tag) = reader.tag()? {
        match tag {
            TIME => time = reader.fixed64()?,
            OBSERVED => observed = reader.fixed64()?,
            SEVERITY_NUMBER => severity = reader.varint()?,
            SEVERITY_TEXT => severity_text = reader.bytes()?,
            BODY => body = any_value(&mut reader.message()?)?,
            ATTRIBUTE => push_attribute(reader.message()?, row, &mut batch.attributes, &mut state, ctx.limits, scratch)?,
            FLAGS => flags = reader.fixed32()?,
            TRACE_ID => trace_id = reader.bytes()?,
            SPAN_ID => span_id = reader.bytes()?,
            EVENT_NAME => event_name = reader.bytes()?,
            _ => reader.skip(tag, &LOG_RECORD)?,
        }
    }
    let observed = if observed == 0 { ctx.received } else { nanos(observed, row)? };
    let time = if time == 0 { observed } else { nanos(time, row)? };
    let max = ctx.limits.log_body_bytes_max;
    let text = match body {
        Value::Empty => &[],
        Value::Str(raw) => text_bytes(raw, &reader, max, &mut state)?,
        _ => {
            scratch.clear();
            json_value(body, &reader, ctx.limits.value_depth_max, scratch)?;
            // Bytes are base64 text, not a JSON string.
            let text = if matches!(body, Value::Bytes(_)) { scratch.trim_matches('"') } else { scratch.as_str() };
            let kept = cut(text, max);
            state.truncated |= kept.len() < text.len();
            kept.as_bytes()
        }
    };
    let max = ctx.limits.attribute_value_bytes_max;
    let severity_text = text_bytes(severity_text, &reader, max, &mut state)?;
    let event_name = text_bytes(event_name, &reader, max, &mut state)?;

    let (mut known_trace, mut known_span) = (TraceId::from_bytes(trace_id), SpanId::from_bytes(span_id));
    let mut severity_number = severity_number(severity, severity_text);
    let said;
    let mut severity_text = severity_text;
    if text.first() == Some(&b'{') && matches!(body, Value::Str(_)) {
        said = message::fields(text, row, &mut batch.attributes, &mut state, ctx.limits).unwrap_or_default();
        if severity_number == 0 && severity_text.is_empty() {
            (severity_number, severity_text) = (said.severity_number, said.severity_text.as_bytes());
        }
        if trace_id.is_empty() && !said.trace_id.is_none() {
            (known_trace, known_span) = (Some(said.trace_id), Some(said.span_id));
        }
    }
    if known_trace.is_none() && !trace_id.is_empty() {
        keep_odd_id("trace_id", trace_id, row, batch);
    }
    if known_span.is_none() && !span_id.is_empty() {
        keep_odd_id("span_id", span_id, row, batch);
    }
    batch.trace_id.push(known_trace.unwrap_or_default());
    batch.span_id.push(known_span.unwrap_or_default());
    batch.body.push_bytes(text);
    batch.time.push(time);
    batch.observed.push(observed);
    batch.severity_number.push(severity_number);
    batch.severity_text.push_bytes(severity_text);
    batch.flags.push(flags as u8);
    batch.event_name.push_bytes(event_name);
    batch.resource.push(resource);
    batch.scope.push(scope);
    state.finish(row, &mut batch.attributes, changed);
    Ok(())
}

/// Times from 2262 on do not fit the columns.
#[inline]
fn nanos(time: u64, row: u32) -> Result<i64, RecordError> {
    i64::try_from(time)
        .map_err(|_| RecordError::Refused("time_out_of_range", format!("row {row}: time {time} ns is past 2262-04-11, the last that can be stored")))
}

/// The number as sent; where there is none, the one the text stands for.
#[inline]
fn severity_number(sent: u64, text: &[u8]) -> u8 {
    match sent as i32 {
        0 if text.is_empty() => 0,
        0 => std::str::from_utf8(text).ok().and_then(Severity::from_text).map_or(0, Severity::number),
        1..=255 => sent as u8,
        256.. => 255,
        _ => 0,
    }
}

/// An id of the wrong length is no id, but it is what the sender said: kept as text where it is text.
#[cold]
fn keep_odd_id(key: &str, id: &[u8], row: u32, batch: &mut LogBatch) {
    let id = &id[..id.len().min(128)];
    match std::str::from_utf8(id).map(str::trim_end) {
        Ok(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) => batch.attributes.push_str(row, key, text),
        _ => {
            let mut hex = String::new();
            write_hex(id, &mut hex);
            batch.attributes.push_str(row, key, &hex);
        }
    }
}
