//! OTLP traces: `ExportTraceServiceRequest` into a [`SpanBatch`].

use std::fmt::Write as _;

use skopos_model::ids::write_hex;
use skopos_model::{Decoded, IngestLimits, Rejected, SpanBatch, SpanId, SpanKind, StatusCode, StrColumn, TraceId};

use crate::context::Context;
use crate::error::IngestError;
use crate::otlp::records::{self, Place};
use crate::otlp::resource::Envelope;
use crate::otlp::value::{RecordError, RecordState, cut, json_map, json_string, push_attribute, push_scope_attribute, text_bytes};
use crate::proto::{Message, ProtoError, Reader, bytes, fixed32, fixed64, varint};

const TRACE_ID: u32 = bytes(1);
const SPAN_ID: u32 = bytes(2);
const TRACE_STATE: u32 = bytes(3);
const PARENT: u32 = bytes(4);
const NAME: u32 = bytes(5);
const KIND: u32 = varint(6);
const START: u32 = fixed64(7);
const END: u32 = fixed64(8);
const ATTRIBUTE: u32 = bytes(9);
const EVENT: u32 = bytes(11);
const LINK: u32 = bytes(13);
const STATUS: u32 = bytes(15);
const FLAGS: u32 = fixed32(16);

const SPAN: Message = Message {
    name: "Span",
    tags: &[
        TRACE_ID,
        SPAN_ID,
        TRACE_STATE,
        PARENT,
        NAME,
        KIND,
        START,
        END,
        ATTRIBUTE,
        varint(10),
        EVENT,
        varint(12),
        LINK,
        varint(14),
        STATUS,
        FLAGS,
    ],
};
const EVENT_FIELDS: Message = Message { name: "Span.Event", tags: &[fixed64(1), bytes(2), bytes(3), varint(4)] };
const LINK_FIELDS: Message = Message { name: "Span.Link", tags: &[bytes(1), bytes(2), bytes(3), bytes(4), varint(5), fixed32(6)] };
const STATUS_FIELDS: Message = Message { name: "Status", tags: &[bytes(2), varint(3)] };

/// Longest JSON text of a span's events or links, bytes; later ones are left out and the span is marked.
pub const EVENTS_BYTES_MAX: usize = 256 << 10;

/// Decodes the protobuf body of an OTLP traces request.
///
/// Spans without a valid trace or span id are refused, as are values nested too deep. A parent id of a wrong
/// length reads as none.
///
/// # Errors
/// When the body is no such message: nothing of it is taken.
pub fn decode(body: &[u8], ctx: &Context<'_>) -> Result<Decoded<SpanBatch>, IngestError> {
    let mut scratch = Scratch::default();
    records::read(
        body,
        ctx,
        &Envelope::TRACES,
        || with_capacity(body.len() / 300 + 1),
        |reader, place, batch, changed| span(reader, place, batch, ctx.limits, &mut scratch, changed),
    )
}

/// Columns with room for as many spans as a body of this size mostly has.
fn with_capacity(rows: usize) -> SpanBatch {
    SpanBatch {
        trace_id: Vec::with_capacity(rows),
        span_id: Vec::with_capacity(rows),
        parent_span_id: Vec::with_capacity(rows),
        trace_state: StrColumn::with_capacity(rows, 0),
        flags: Vec::with_capacity(rows),
        name: StrColumn::with_capacity(rows, rows * 20),
        kind: Vec::with_capacity(rows),
        start: Vec::with_capacity(rows),
        duration: Vec::with_capacity(rows),
        status_code: Vec::with_capacity(rows),
        status_message: StrColumn::with_capacity(rows, 0),
        events: StrColumn::with_capacity(rows, 0),
        links: StrColumn::with_capacity(rows, 0),
        resource: Vec::with_capacity(rows),
        scope: Vec::with_capacity(rows),
        ..SpanBatch::default()
    }
}

#[derive(Debug, Default)]
struct Scratch {
    value: String,
    events: String,
    links: String,
}

#[inline]
fn span(
    mut reader: Reader<'_>,
    Place { resource, scope, scope_attributes, mut state }: Place<'_>,
    batch: &mut SpanBatch,
    limits: &IngestLimits,
    scratch: &mut Scratch,
    changed: &mut Vec<Rejected>,
) -> Result<(), RecordError> {
    let row = batch.len() as u32;
    let at = reader.offset();
    let (mut trace_id, mut span_id, mut parent): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    let (mut trace_state, mut name, mut status_message): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    let (mut kind, mut start, mut end, mut status_code, mut flags) = (0u64, 0u64, 0u64, 0u64, 0u32);
    scratch.events.clear();
    scratch.links.clear();
    batch.attributes.begin_row();
    while let Some(tag) = reader.tag()? {
        match tag {
            TRACE_ID => trace_id = reader.bytes()?,
            SPAN_ID => span_id = reader.bytes()?,
            PARENT => parent = reader.bytes()?,
            NAME => name = reader.bytes()?,
            KIND => kind = reader.varint()?,
            START => start = reader.fixed64()?,
            END => end = reader.fixed64()?,
            ATTRIBUTE => {
                push_attribute(reader.message()?, row, &mut batch.attributes, &mut state, limits, &mut scratch.value)?;
            }
            EVENT => {
                let event = reader.message()?;
                list_item(&mut scratch.events, &mut state, |out| write_event(event, limits, out))?;
            }
            LINK => {
                let link = reader.message()?;
                list_item(&mut scratch.links, &mut state, |out| write_link(link, limits, out))?;
            }
            STATUS => (status_code, status_message) = status(reader.message()?)?,
            TRACE_STATE => trace_state = reader.bytes()?,
            FLAGS => flags = reader.fixed32()?,
            _ => reader.skip(tag, &SPAN)?,
        }
    }
    // After the span's own: of those there is room for, they come first.
    for attribute in scope_attributes {
        push_scope_attribute(attribute, row, &mut batch.attributes, &mut state, limits, &mut scratch.value)?;
    }
    let trace_id = match TraceId::from_bytes(trace_id) {
        Some(id) if !id.is_none() => id,
        _ => return Err(invalid_id("invalid_trace_id", "trace", trace_id, 16, at, name)),
    };
    let span_id = match SpanId::from_bytes(span_id) {
        Some(id) if !id.is_none() => id,
        _ => return Err(invalid_id("invalid_span_id", "span", span_id, 8, at, name)),
    };
    let (Ok(start), Ok(end)) = (i64::try_from(start), i64::try_from(end)) else {
        return Err(RecordError::Refused(
            "time_out_of_range",
            format!("span {span_id} at byte {at}: a time is past 2262-04-11, the last that can be stored"),
        ));
    };
    let max = limits.attribute_value_bytes_max;
    let name = text_bytes(name, &reader, max, &mut state)?;
    let trace_state = text_bytes(trace_state, &reader, max, &mut state)?;
    let status_message = text_bytes(status_message, &reader, max, &mut state)?;
    for list in [&mut scratch.events, &mut scratch.links] {
        if !list.is_empty() {
            list.push(']');
        }
    }
    batch.trace_id.push(trace_id);
    batch.span_id.push(span_id);
    batch.parent_span_id.push(SpanId::from_bytes(parent).unwrap_or_default());
    batch.name.push_bytes(name);
    batch.trace_state.push_bytes(trace_state);
    batch.flags.push(flags);
    batch.kind.push(SpanKind::from_number(u8::try_from(kind).unwrap_or(0)) as u8);
    batch.start.push(start);
    batch.duration.push(end.saturating_sub(start).max(0));
    batch.status_code.push(StatusCode::from_number(u8::try_from(status_code).unwrap_or(0)) as u8);
    batch.status_message.push_bytes(status_message);
    batch.events.push(&scratch.events);
    batch.links.push(&scratch.links);
    batch.resource.push(resource);
    batch.scope.push(scope);
    state.finish(row, &mut batch.attributes, changed);
    Ok(())
}

#[cold]
fn invalid_id(reason: &'static str, what: &str, id: &[u8], expected: usize, at: usize, name: &[u8]) -> RecordError {
    let name = String::from_utf8_lossy(name);
    let found = if id.len() == expected { "all zeros".to_owned() } else { format!("{} bytes", id.len()) };
    RecordError::Refused(
        reason,
        format!("span {:?} at byte {at}: {what} id is {found}, expected {expected} bytes that are not all zero", cut(&name, 128)),
    )
}

fn status(mut reader: Reader<'_>) -> Result<(u64, &[u8]), ProtoError> {
    const MESSAGE: u32 = bytes(2);
    const CODE: u32 = varint(3);
    let (mut code, mut message): (u64, &[u8]) = (0, &[]);
    while let Some(tag) = reader.tag()? {
        match tag {
            MESSAGE => message = reader.bytes()?,
            CODE => code = reader.varint()?,
            _ => reader.skip(tag, &STATUS_FIELDS)?,
        }
    }
    Ok((code, message))
}

/// Appends one element to a list being written, unless the list would become too long.
fn list_item(out: &mut String, state: &mut RecordState, write: impl FnOnce(&mut String) -> Result<(), RecordError>) -> Result<(), RecordError> {
    let before = out.len();
    out.push(if before == 0 { '[' } else { ',' });
    write(out)?;
    // The first stands even when it is long: its parts are bounded by the value limits.
    if before > 0 && out.len() > EVENTS_BYTES_MAX {
        out.truncate(before);
        state.truncated = true;
    }
    Ok(())
}

fn write_event(mut reader: Reader<'_>, limits: &IngestLimits, out: &mut String) -> Result<(), RecordError> {
    const TIME: u32 = fixed64(1);
    const NAME: u32 = bytes(2);
    let whole = reader;
    let (mut time, mut name) = (0, "");
    while let Some(tag) = reader.tag()? {
        match tag {
            TIME => time = reader.fixed64()?,
            NAME => name = reader.string()?,
            _ => reader.skip(tag, &EVENT_FIELDS)?,
        }
    }
    write!(out, "{{\"time_unix_nano\":{time},\"name\":").expect("writing to a string does not fail");
    json_string(name, out);
    out.push_str(",\"attributes\":");
    json_map(whole, 3, limits.value_depth_max, out)?;
    out.push('}');
    Ok(())
}

fn write_link(mut reader: Reader<'_>, limits: &IngestLimits, out: &mut String) -> Result<(), RecordError> {
    const TRACE_ID: u32 = bytes(1);
    const SPAN_ID: u32 = bytes(2);
    const TRACE_STATE: u32 = bytes(3);
    let whole = reader;
    let (mut trace_id, mut span_id, mut trace_state): (&[u8], &[u8], &str) = (&[], &[], "");
    while let Some(tag) = reader.tag()? {
        match tag {
            TRACE_ID => trace_id = reader.bytes()?,
            SPAN_ID => span_id = reader.bytes()?,
            TRACE_STATE => trace_state = reader.string()?,
            _ => reader.skip(tag, &LINK_FIELDS)?,
        }
    }
    out.push_str("{\"trace_id\":\"");
    write_hex(&trace_id[..trace_id.len().min(64)], out);
    out.push_str("\",\"span_id\":\"");
    write_hex(&span_id[..span_id.len().min(64)], out);
    out.push('"');
    if !trace_state.is_empty() {
        out.push_str(",\"trace_state\":");
        json_string(trace_state, out);
    }
    out.push_str(",\"attributes\":");
    json_map(whole, 4, limits.value_depth_max, out)?;
    out.push('}');
    Ok(())
}
