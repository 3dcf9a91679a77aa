//! `jaeger.api_v2.PostSpansRequest`, what Jaeger's collectors take over gRPC.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use skopos_model::{Decoded, Rejected, SpanBatch, SpanId, TraceId};

use super::{Process, Reference, Span, Tags, decoded, push_batch};
use crate::context::Context;
use crate::error::IngestError;
use crate::proto::{Message, ProtoError, Reader, bytes, fixed64, varint};
use crate::rows::text;
use crate::span_rows::{SpanRows, Value};

const REQUEST: Message = Message { name: "PostSpansRequest", tags: &[bytes(1)] };
const BATCH: Message = Message { name: "Batch", tags: &[bytes(1), bytes(2)] };
const PROCESS: Message = Message { name: "Process", tags: &[bytes(1), bytes(2)] };
const SPAN: Message = Message {
    name: "Span",
    tags: &[bytes(1), bytes(2), bytes(3), bytes(4), varint(5), bytes(6), bytes(7), bytes(8), bytes(9), bytes(10), bytes(11), bytes(12)],
};
const REFERENCE: Message = Message { name: "SpanRef", tags: &[bytes(1), bytes(2), varint(3)] };
const LOG: Message = Message { name: "Log", tags: &[bytes(1), bytes(2)] };
const KEY_VALUE: Message = Message { name: "KeyValue", tags: &[bytes(1), varint(2), bytes(3), varint(4), varint(5), fixed64(6), bytes(7)] };
const TIME: Message = Message { name: "Timestamp", tags: &[varint(1), varint(2)] };

/// Decodes the message of `CollectorService/PostSpans`.
///
/// Spans whose ids cannot be read are refused; the others are taken.
///
/// # Errors
/// When the body is no such message.
pub fn decode(body: &[u8], ctx: &Context<'_>) -> Result<Decoded<SpanBatch>, IngestError> {
    let mut rows = SpanRows::new(ctx);
    request(body, ctx, &mut rows).map_err(IngestError::protobuf("PostSpansRequest"))?;
    Ok(decoded(rows))
}

fn request(body: &[u8], ctx: &Context<'_>, rows: &mut SpanRows<'_>) -> Result<(), ProtoError> {
    let mut reader = Reader::new(body);
    while let Some(tag) = reader.tag()? {
        if tag == bytes(1) { batch(reader.message()?, ctx, rows)? } else { reader.skip(tag, &REQUEST)? }
    }
    Ok(())
}

fn batch(mut reader: Reader<'_>, ctx: &Context<'_>, rows: &mut SpanRows<'_>) -> Result<(), ProtoError> {
    let (mut of_batch, mut spans) = (Process::default(), Vec::new());
    while let Some(tag) = reader.tag()? {
        match tag {
            t if t == bytes(1) => spans.push(span(reader.message()?, &mut rows.changed)?),
            t if t == bytes(2) => of_batch = process(reader.message()?, &mut rows.changed)?,
            _ => reader.skip(tag, &BATCH)?,
        }
    }
    push_batch(&of_batch, &spans, ctx, rows);
    Ok(())
}

fn process<'a>(mut reader: Reader<'a>, changed: &mut Vec<Rejected>) -> Result<Process<'a>, ProtoError> {
    let mut process = Process::default();
    while let Some(tag) = reader.tag()? {
        match tag {
            t if t == bytes(1) => process.service = text(reader.bytes()?, changed),
            t if t == bytes(2) => key_value(reader.message()?, &mut process.tags, changed)?,
            _ => reader.skip(tag, &PROCESS)?,
        }
    }
    Ok(process)
}

fn span<'a>(mut reader: Reader<'a>, changed: &mut Vec<Rejected>) -> Result<Span<'a>, ProtoError> {
    let mut span = Span { start: Some(0), ..Span::default() };
    while let Some(tag) = reader.tag()? {
        match tag {
            t if t == bytes(1) => span.trace_id = trace_id(reader.bytes()?),
            t if t == bytes(2) => span.span_id = SpanId::from_bytes(reader.bytes()?).unwrap_or_default(),
            t if t == bytes(3) => span.name = text(reader.bytes()?, changed),
            t if t == bytes(4) => {
                let mut inner = reader.message()?;
                let mut reference = Reference { follows_from: false, trace_id: TraceId::NONE, span_id: SpanId::NONE };
                while let Some(tag) = inner.tag()? {
                    match tag {
                        t if t == bytes(1) => reference.trace_id = trace_id(inner.bytes()?),
                        t if t == bytes(2) => reference.span_id = SpanId::from_bytes(inner.bytes()?).unwrap_or_default(),
                        t if t == varint(3) => reference.follows_from = inner.varint()? == 1,
                        _ => inner.skip(tag, &REFERENCE)?,
                    }
                }
                span.references.push(reference);
            }
            t if t == varint(5) => span.flags = reader.varint()? as i64,
            t if t == bytes(6) => span.start = nanos(reader.message()?)?,
            t if t == bytes(7) => span.duration = nanos(reader.message()?)?.unwrap_or(i64::MAX),
            t if t == bytes(8) => key_value(reader.message()?, &mut span.tags, changed)?,
            t if t == bytes(9) => {
                let mut inner = reader.message()?;
                let (mut time, mut fields) = (0, Tags::new());
                while let Some(tag) = inner.tag()? {
                    match tag {
                        t if t == bytes(1) => time = nanos(inner.message()?)?.unwrap_or(0),
                        t if t == bytes(2) => key_value(inner.message()?, &mut fields, changed)?,
                        _ => inner.skip(tag, &LOG)?,
                    }
                }
                span.logs.push((time, fields));
            }
            t if t == bytes(10) => span.process = Some(process(reader.message()?, changed)?),
            t if t == bytes(12) => span.warnings.push(text(reader.bytes()?, changed)),
            _ => reader.skip(tag, &SPAN)?,
        }
    }
    Ok(span)
}

/// Sixteen bytes, or eight of an id of 64 bits.
fn trace_id(raw: &[u8]) -> TraceId {
    let mut padded = [0u8; 16];
    if let 8 | 16 = raw.len() {
        padded[16 - raw.len()..].copy_from_slice(raw);
    }
    TraceId(padded)
}

/// `Timestamp` or `Duration` in nanoseconds; `None` when they do not fit.
fn nanos(mut reader: Reader<'_>) -> Result<Option<i64>, ProtoError> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    while let Some(tag) = reader.tag()? {
        match tag {
            t if t == varint(1) => seconds = reader.varint()? as i64,
            t if t == varint(2) => nanos = i64::from(reader.varint()? as i32),
            _ => reader.skip(tag, &TIME)?,
        }
    }
    Ok(seconds.checked_mul(1_000_000_000).and_then(|whole| whole.checked_add(nanos)))
}

fn key_value<'a>(mut reader: Reader<'a>, tags: &mut Tags<'a>, changed: &mut Vec<Rejected>) -> Result<(), ProtoError> {
    let (mut key, mut kind, mut string, mut binary): (&[u8], u64, &[u8], &[u8]) = (&[], 0, &[], &[]);
    let (mut truth, mut int, mut double) = (false, 0i64, 0f64);
    while let Some(tag) = reader.tag()? {
        match tag {
            t if t == bytes(1) => key = reader.bytes()?,
            t if t == varint(2) => kind = reader.varint()?,
            t if t == bytes(3) => string = reader.bytes()?,
            t if t == varint(4) => truth = reader.varint()? != 0,
            t if t == varint(5) => int = reader.varint()? as i64,
            t if t == fixed64(6) => double = reader.double()?,
            t if t == bytes(7) => binary = reader.bytes()?,
            _ => reader.skip(tag, &KEY_VALUE)?,
        }
    }
    let value = match kind {
        1 => Value::Bool(truth),
        2 => Value::Int(int),
        3 => Value::Double(double),
        4 => Value::Text(Cow::Owned(BASE64.encode(binary))),
        _ => Value::Text(text(string, changed)),
    };
    tags.push((text(key, changed), value));
    Ok(())
}
