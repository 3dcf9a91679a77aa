//! Thrift, compact and binary: a `Batch` over HTTP, and the agent's datagrams.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use skopos_model::{Decoded, Rejected, SpanBatch, SpanId, TraceId};

use super::{Process, Reference, Span, Tags, decoded, push_batch};
use crate::context::Context;
use crate::error::IngestError;
use crate::rows::text;
use crate::span_rows::{SpanRows, Value};
use crate::syslog::read_frame;

/// Deepest nesting of structures that are skipped.
const DEPTH_MAX: usize = 32;

/// Decodes a `jaeger.thrift` `Batch` in the binary protocol, or the compact one: the body of `POST /api/traces`.
///
/// Spans whose ids cannot be read are refused; the others are taken.
///
/// # Errors
/// When the body is no such structure.
pub fn decode_batch(body: &[u8], ctx: &Context<'_>) -> Result<Decoded<SpanBatch>, IngestError> {
    let mut rows = SpanRows::new(ctx);
    // A batch begins with field 1, a structure: `0c 00 01` in the binary protocol, `1c` in the compact one.
    let mut reader = Reader { bytes: body, at: 0, compact: body.first() == Some(&0x1c) };
    batch(&mut reader, ctx, &mut rows)?;
    Ok(decoded(rows))
}

/// Decodes datagrams of the agent's protocol (`emitBatch`), each after its length as [`crate::syslog::write_frame`]
/// writes it. Which of Thrift's protocols a datagram is written in is told by its first byte. A datagram that cannot be
/// read is refused; the others are taken.
///
/// # Errors
/// When the body is not made of such frames.
pub fn decode_agent(body: &[u8], ctx: &Context<'_>) -> Result<Decoded<SpanBatch>, IngestError> {
    let mut rows = SpanRows::new(ctx);
    let mut rest = body;
    while !rest.is_empty() {
        let Some((message, after)) = read_frame(rest) else {
            return Err(IngestError::Text { format: "agent frames", line: 1, reason: "expected a length, a blank and so many bytes".to_owned() });
        };
        if let Err(error) = datagram(message, ctx, &mut rows) {
            rows.reject("malformed_datagram", || error.to_string());
        }
        rest = after;
    }
    Ok(decoded(rows))
}

fn datagram(message: &[u8], ctx: &Context<'_>, rows: &mut SpanRows<'_>) -> Result<(), IngestError> {
    let mut reader = Reader { bytes: message, at: 0, compact: message.first() == Some(&0x82) };
    let name = reader.message_name()?;
    if name != b"emitBatch" {
        return Err(reader.expected(&format!("emitBatch, not {:?}", String::from_utf8_lossy(&name[..name.len().min(32)]))));
    }
    // The arguments: field 1 is the batch.
    let mut last = 0;
    while let Some((id, kind)) = reader.field(&mut last)? {
        if (id, kind) == (1, Kind::Struct) { batch(&mut reader, ctx, rows)? } else { reader.skip(kind, 0)? }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    True,
    False,
    Bool,
    I8,
    I16,
    I32,
    I64,
    Double,
    Binary,
    Struct,
    Map,
    List,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    compact: bool,
}

impl<'a> Reader<'a> {
    fn expected(&self, what: &str) -> IngestError {
        IngestError::Text { format: "Thrift", line: 1, reason: format!("at byte {}: expected {what}", self.at) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], IngestError> {
        let taken = self.at.checked_add(length).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.expected(&format!("{length} more bytes")))?;
        self.at += length;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, IngestError> {
        Ok(self.take(1)?[0])
    }

    /// Big endian, with its sign.
    fn fixed(&mut self, length: usize) -> Result<i64, IngestError> {
        let bytes = self.take(length)?;
        let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        Ok(bytes.iter().fold(if negative { -1 } else { 0 }, |value, byte| value << 8 | i64::from(*byte)))
    }

    fn varint(&mut self) -> Result<u64, IngestError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.expected("a varint of at most 10 bytes"))
    }

    fn integer(&mut self, length: usize) -> Result<i64, IngestError> {
        if self.compact { self.varint().map(crate::proto::zigzag) } else { self.fixed(length) }
    }

    fn double(&mut self) -> Result<f64, IngestError> {
        let bytes: [u8; 8] = self.take(8)?.try_into().unwrap_or_default();
        Ok(if self.compact { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) })
    }

    fn binary(&mut self) -> Result<&'a [u8], IngestError> {
        let length = if self.compact { self.varint()? } else { self.fixed(4)? as u32 as u64 };
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn bool(&mut self, kind: Kind) -> Result<bool, IngestError> {
        Ok(match kind {
            Kind::True => true,
            Kind::False => false,
            // In lists of the compact protocol 1 is true and 2 false.
            _ => self.byte()? == 1,
        })
    }

    fn kind(&self, code: u8, in_list: bool) -> Result<Kind, IngestError> {
        Ok(match (self.compact, code) {
            (true, 1 | 2) if in_list => Kind::Bool,
            (true, 1) => Kind::True,
            (true, 2) | (false, 2) => {
                if self.compact {
                    Kind::False
                } else {
                    Kind::Bool
                }
            }
            (_, 3) => Kind::I8,
            (true, 4) | (false, 6) => Kind::I16,
            (true, 5) | (false, 8) => Kind::I32,
            (true, 6) | (false, 10) => Kind::I64,
            (true, 7) | (false, 4) => Kind::Double,
            (true, 8) | (false, 11) => Kind::Binary,
            (true, 9 | 10) | (false, 14 | 15) => Kind::List,
            (true, 11) | (false, 13) => Kind::Map,
            (_, 12) => Kind::Struct,
            _ => return Err(self.expected(&format!("a field's type, not {code}"))),
        })
    }

    /// Number and type of the next field; `None` at the structure's end.
    fn field(&mut self, last: &mut i64) -> Result<Option<(i64, Kind)>, IngestError> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        let id = match (self.compact, head >> 4) {
            (false, _) => self.fixed(2)?,
            (true, 0) => self.varint().map(crate::proto::zigzag)?,
            (true, delta) => last.saturating_add(i64::from(delta)),
        };
        *last = id;
        Ok(Some((id, self.kind(if self.compact { head & 0x0f } else { head }, false)?)))
    }

    /// Number and type of a list's elements.
    fn list(&mut self) -> Result<(usize, Kind), IngestError> {
        let head = self.byte()?;
        let (count, code) = match (self.compact, head >> 4) {
            (false, _) => (self.fixed(4)? as u32 as u64, head),
            (true, 15) => (self.varint()?, head & 0x0f),
            (true, count) => (u64::from(count), head & 0x0f),
        };
        // Each element has a byte at least, so that a count is no more than what there is.
        match usize::try_from(count).ok().filter(|count| *count <= self.bytes.len() - self.at) {
            Some(count) => Ok((count, self.kind(code, true)?)),
            None => Err(self.expected(&format!("a list shorter than {count} elements"))),
        }
    }

    fn skip(&mut self, kind: Kind, depth: usize) -> Result<(), IngestError> {
        if depth > DEPTH_MAX {
            return Err(self.expected("structures nested less deep"));
        }
        match kind {
            Kind::True | Kind::False => {}
            Kind::Bool | Kind::I8 => drop(self.byte()?),
            Kind::I16 => drop(self.integer(2)?),
            Kind::I32 => drop(self.integer(4)?),
            Kind::I64 => drop(self.integer(8)?),
            Kind::Double => drop(self.take(8)?),
            Kind::Binary => drop(self.binary()?),
            Kind::Struct => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, depth + 1)?;
                }
            }
            Kind::List => {
                let (count, kind) = self.list()?;
                for _ in 0..count {
                    self.skip(kind, depth + 1)?;
                }
            }
            Kind::Map => {
                let (count, key, value) = if self.compact {
                    match self.varint()? {
                        0 => return Ok(()),
                        count => {
                            let kinds = self.byte()?;
                            (count, kinds >> 4, kinds & 0x0f)
                        }
                    }
                } else {
                    let (key, value) = (self.byte()?, self.byte()?);
                    (self.fixed(4)? as u32 as u64, key, value)
                };
                if count > (self.bytes.len() - self.at) as u64 {
                    return Err(self.expected("a shorter map"));
                }
                if count > 0 {
                    let (key, value) = (self.kind(key, true)?, self.kind(value, true)?);
                    for _ in 0..count {
                        self.skip(key, depth + 1)?;
                        self.skip(value, depth + 1)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The head of a call: its name.
    fn message_name(&mut self) -> Result<&'a [u8], IngestError> {
        if self.compact {
            self.take(2)?;
            self.varint()?;
            return self.binary();
        }
        let version = self.fixed(4)?;
        if (version as u32) & 0xffff_0000 == 0x8001_0000 {
            let name = self.binary()?;
            self.fixed(4)?;
            return Ok(name);
        }
        // Older clients write the name first.
        let name = self.take(usize::try_from(version).unwrap_or(usize::MAX))?;
        self.take(5)?;
        Ok(name)
    }

    /// The elements of a list of structures.
    fn structs(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), IngestError>) -> Result<(), IngestError> {
        let (count, kind) = self.list()?;
        for _ in 0..count {
            if kind == Kind::Struct { each(self)? } else { self.skip(kind, 0)? }
        }
        Ok(())
    }
}

fn batch(reader: &mut Reader<'_>, ctx: &Context<'_>, rows: &mut SpanRows<'_>) -> Result<(), IngestError> {
    let (mut of_batch, mut spans) = (Process::default(), Vec::new());
    let mut last = 0;
    while let Some((id, kind)) = reader.field(&mut last)? {
        match (id, kind) {
            (1, Kind::Struct) => of_batch = process(reader, &mut rows.changed)?,
            (2, Kind::List) => reader.structs(|reader| {
                spans.push(span(reader, &mut rows.changed)?);
                Ok(())
            })?,
            _ => reader.skip(kind, 0)?,
        }
    }
    push_batch(&of_batch, &spans, ctx, rows);
    Ok(())
}

fn process<'a>(reader: &mut Reader<'a>, changed: &mut Vec<Rejected>) -> Result<Process<'a>, IngestError> {
    let mut process = Process::default();
    let mut last = 0;
    while let Some((id, kind)) = reader.field(&mut last)? {
        match (id, kind) {
            (1, Kind::Binary) => process.service = text(reader.binary()?, changed),
            (2, Kind::List) => process.tags = tags(reader, changed)?,
            _ => reader.skip(kind, 0)?,
        }
    }
    Ok(process)
}

fn trace_id(low: i64, high: i64) -> TraceId {
    let mut id = [0u8; 16];
    id[..8].copy_from_slice(&high.to_be_bytes());
    id[8..].copy_from_slice(&low.to_be_bytes());
    TraceId(id)
}

fn span<'a>(reader: &mut Reader<'a>, changed: &mut Vec<Rejected>) -> Result<Span<'a>, IngestError> {
    let mut span = Span::default();
    let (mut low, mut high, mut start, mut duration) = (0, 0, 0i64, 0i64);
    let mut last = 0;
    while let Some((id, kind)) = reader.field(&mut last)? {
        match (id, kind) {
            (1, Kind::I64) => low = reader.integer(8)?,
            (2, Kind::I64) => high = reader.integer(8)?,
            (3, Kind::I64) => span.span_id = SpanId(reader.integer(8)?.to_be_bytes()),
            (4, Kind::I64) => span.parent = SpanId(reader.integer(8)?.to_be_bytes()),
            (5, Kind::Binary) => span.name = text(reader.binary()?, changed),
            (6, Kind::List) => reader.structs(|reader| {
                span.references.push(reference(reader)?);
                Ok(())
            })?,
            (7, Kind::I32) => span.flags = reader.integer(4)?,
            (8, Kind::I64) => start = reader.integer(8)?,
            (9, Kind::I64) => duration = reader.integer(8)?,
            (10, Kind::List) => span.tags = tags(reader, changed)?,
            (11, Kind::List) => reader.structs(|reader| {
                let (mut time, mut fields) = (0i64, Tags::new());
                let mut last = 0;
                while let Some((id, kind)) = reader.field(&mut last)? {
                    match (id, kind) {
                        (1, Kind::I64) => time = reader.integer(8)?,
                        (2, Kind::List) => fields = tags(reader, changed)?,
                        _ => reader.skip(kind, 0)?,
                    }
                }
                span.logs.push((time.saturating_mul(1_000), fields));
                Ok(())
            })?,
            _ => reader.skip(kind, 0)?,
        }
    }
    span.trace_id = trace_id(low, high);
    // Microseconds.
    span.start = start.checked_mul(1_000);
    span.duration = duration.saturating_mul(1_000);
    Ok(span)
}

fn reference(reader: &mut Reader<'_>) -> Result<Reference, IngestError> {
    let (mut follows_from, mut low, mut high, mut span_id) = (false, 0, 0, 0);
    let mut last = 0;
    while let Some((id, kind)) = reader.field(&mut last)? {
        match (id, kind) {
            (1, Kind::I32) => follows_from = reader.integer(4)? == 1,
            (2, Kind::I64) => low = reader.integer(8)?,
            (3, Kind::I64) => high = reader.integer(8)?,
            (4, Kind::I64) => span_id = reader.integer(8)?,
            _ => reader.skip(kind, 0)?,
        }
    }
    Ok(Reference { follows_from, trace_id: trace_id(low, high), span_id: SpanId(span_id.to_be_bytes()) })
}

fn tags<'a>(reader: &mut Reader<'a>, changed: &mut Vec<Rejected>) -> Result<Tags<'a>, IngestError> {
    let mut tags = Tags::new();
    reader.structs(|reader| {
        let (mut key, mut value) = (Cow::Borrowed(""), Value::Text(Cow::Borrowed("")));
        let mut last = 0;
        while let Some((id, kind)) = reader.field(&mut last)? {
            match (id, kind) {
                (1, Kind::Binary) => key = text(reader.binary()?, changed),
                (3, Kind::Binary) => value = Value::Text(text(reader.binary()?, changed)),
                (4, Kind::Double) => value = Value::Double(reader.double()?),
                (5, Kind::Bool | Kind::True | Kind::False) => value = Value::Bool(reader.bool(kind)?),
                (6, Kind::I64) => value = Value::Int(reader.integer(8)?),
                (7, Kind::Binary) => value = Value::Text(Cow::Owned(BASE64.encode(reader.binary()?))),
                _ => reader.skip(kind, 0)?,
            }
        }
        tags.push((key, value));
        Ok(())
    })?;
    Ok(tags)
}
