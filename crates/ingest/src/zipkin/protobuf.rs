//! `zipkin.proto3.ListOfSpans`.

use std::net::{Ipv4Addr, Ipv6Addr};

use skopos_model::{Decoded, Rejected, SpanBatch, SpanId, SpanKind, TraceId};

use super::{Endpoint, Span, SpanKindOrNone, rows};
use crate::context::Context;
use crate::error::IngestError;
use crate::proto::{Message, ProtoError, Reader, bytes, fixed64, varint};
use crate::rows::text;
use crate::span_rows::Value;

const LIST: Message = Message { name: "ListOfSpans", tags: &[bytes(1)] };
const SPAN: Message = Message {
    name: "Span",
    tags: &[
        bytes(1),
        bytes(2),
        bytes(3),
        varint(4),
        bytes(5),
        fixed64(6),
        varint(7),
        bytes(8),
        bytes(9),
        bytes(10),
        bytes(11),
        varint(12),
        varint(13),
    ],
};
const ENDPOINT: Message = Message { name: "Endpoint", tags: &[bytes(1), bytes(2), bytes(3), varint(4)] };
const ANNOTATION: Message = Message { name: "Annotation", tags: &[fixed64(1), bytes(2)] };
const TAG: Message = Message { name: "TagsEntry", tags: &[bytes(1), bytes(2)] };

/// Decodes `POST /api/v2/spans` in protobuf.
///
/// Spans whose ids cannot be read are refused; the others are taken.
///
/// # Errors
/// When the body is no such message.
pub fn decode(body: &[u8], ctx: &Context<'_>) -> Result<Decoded<SpanBatch>, IngestError> {
    let mut changed = Vec::new();
    let spans = list(body, &mut changed).map_err(IngestError::protobuf("ListOfSpans"))?;
    let mut decoded = rows(&spans, ctx);
    decoded.changed.append(&mut changed);
    Ok(decoded)
}

fn list<'a>(body: &'a [u8], changed: &mut Vec<Rejected>) -> Result<Vec<Span<'a>>, ProtoError> {
    let mut spans = Vec::new();
    let mut reader = Reader::new(body);
    while let Some(tag) = reader.tag()? {
        if tag == bytes(1) { spans.push(span(reader.message()?, changed)?) } else { reader.skip(tag, &LIST)? }
    }
    Ok(spans)
}

fn span<'a>(mut reader: Reader<'a>, changed: &mut Vec<Rejected>) -> Result<Span<'a>, ProtoError> {
    let mut span = Span::default();
    let (mut trace_id, mut id): (&[u8], &[u8]) = (&[], &[]);
    while let Some(tag) = reader.tag()? {
        match tag {
            t if t == bytes(1) => trace_id = reader.bytes()?,
            t if t == bytes(2) => span.parent = SpanId::from_bytes(reader.bytes()?).unwrap_or_default(),
            t if t == bytes(3) => id = reader.bytes()?,
            t if t == varint(4) => {
                span.kind = match reader.varint()? {
                    1 => SpanKindOrNone(SpanKind::Client),
                    2 => SpanKindOrNone(SpanKind::Server),
                    3 => SpanKindOrNone(SpanKind::Producer),
                    4 => SpanKindOrNone(SpanKind::Consumer),
                    _ => SpanKindOrNone::default(),
                }
            }
            t if t == bytes(5) => span.name = text(reader.bytes()?, changed),
            t if t == fixed64(6) => span.timestamp = reader.fixed64()?,
            t if t == varint(7) => span.duration = reader.varint()?,
            t if t == bytes(8) => span.local = endpoint(reader.message()?, changed)?,
            t if t == bytes(9) => span.remote = Some(endpoint(reader.message()?, changed)?),
            t if t == bytes(10) => {
                let (mut annotation, mut time, mut value): (_, _, &[u8]) = (reader.message()?, 0, &[]);
                while let Some(tag) = annotation.tag()? {
                    match tag {
                        t if t == fixed64(1) => time = annotation.fixed64()?,
                        t if t == bytes(2) => value = annotation.bytes()?,
                        _ => annotation.skip(tag, &ANNOTATION)?,
                    }
                }
                span.annotations.push((time, text(value, changed)));
            }
            t if t == bytes(11) => {
                let (mut entry, mut key, mut value): (_, &[u8], &[u8]) = (reader.message()?, &[], &[]);
                while let Some(tag) = entry.tag()? {
                    match tag {
                        t if t == bytes(1) => key = entry.bytes()?,
                        t if t == bytes(2) => value = entry.bytes()?,
                        _ => entry.skip(tag, &TAG)?,
                    }
                }
                span.tags.push((text(key, changed), Value::Text(text(value, changed))));
            }
            t if t == varint(12) => span.debug = reader.varint()? != 0,
            t if t == varint(13) => span.shared = reader.varint()? != 0,
            _ => reader.skip(tag, &SPAN)?,
        }
    }
    // Eight bytes are a trace id of 64 bits.
    let mut padded = [0u8; 16];
    if let 8 | 16 = trace_id.len() {
        padded[16 - trace_id.len()..].copy_from_slice(trace_id);
    }
    span.trace_id = TraceId(padded);
    span.id = SpanId::from_bytes(id).unwrap_or_default();
    if span.trace_id.is_none() {
        span.bad_id = Some(("invalid_trace_id", format!("trace_id has {} bytes, expected 8 or 16 that are not all zero", trace_id.len())));
    } else if span.id.is_none() {
        span.bad_id = Some(("invalid_span_id", format!("id has {} bytes, expected 8 that are not all zero", id.len())));
    }
    Ok(span)
}

fn endpoint<'a>(mut reader: Reader<'a>, changed: &mut Vec<Rejected>) -> Result<Endpoint<'a>, ProtoError> {
    let mut endpoint = Endpoint::default();
    while let Some(tag) = reader.tag()? {
        match tag {
            t if t == bytes(1) => endpoint.service = text(reader.bytes()?, changed),
            t if t == bytes(2) => {
                if let Ok(ip) = <[u8; 4]>::try_from(reader.bytes()?) {
                    endpoint.ip = Ipv4Addr::from(ip).to_string();
                }
            }
            t if t == bytes(3) => {
                if let Ok(ip) = <[u8; 16]>::try_from(reader.bytes()?) {
                    endpoint.ip = Ipv6Addr::from(ip).to_string();
                }
            }
            t if t == varint(4) => endpoint.port = i64::from(reader.varint()? as i32),
            _ => reader.skip(tag, &ENDPOINT)?,
        }
    }
    Ok(endpoint)
}
