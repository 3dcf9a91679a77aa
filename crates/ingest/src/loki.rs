//! Loki's push API: streams of lines, in protobuf (a snappy block) or JSON.
//!
//! How streams are kept is told in [`skopos_model::stream`]. Laxer than Loki, so that nothing is lost: streams without
//! labels are taken, lines over a limit are cut and marked, times may lie anywhere.

mod json;
mod labels;

use skopos_model::{Decoded, LogBatch, Rejected, Severity, SpanId, TraceId, stream};

use crate::compression::snappy_block;
use crate::context::Context;
use crate::derive::severity;
use crate::error::IngestError;
use crate::proto::{Message, ProtoError, Reader, bytes, varint};
use crate::rows::{LogFields, LogRows, text};

pub use json::decode as decode_json;
pub use labels::parse_labels;

/// Most labels of a stream; a stream with more is refused. Loki's own default is 15.
pub const STREAM_LABELS_MAX: usize = 128;

const STREAM: u32 = bytes(1);
const PUSH: Message = Message { name: "PushRequest", tags: &[STREAM] };
const LABELS: u32 = bytes(1);
const ENTRY: u32 = bytes(2);
const STREAM_FIELDS: Message = Message { name: "StreamAdapter", tags: &[LABELS, ENTRY, varint(3)] };
const TIMESTAMP: u32 = bytes(1);
const LINE: u32 = bytes(2);
const METADATA: u32 = bytes(3);
const ENTRY_FIELDS: Message = Message { name: "EntryAdapter", tags: &[TIMESTAMP, LINE, METADATA] };
const NAME: u32 = bytes(1);
const VALUE: u32 = bytes(2);
const PAIR: Message = Message { name: "LabelPairAdapter", tags: &[NAME, VALUE] };
const SECONDS: u32 = varint(1);
const NANOS: u32 = varint(2);
const TIME: Message = Message { name: "Timestamp", tags: &[SECONDS, NANOS] };

/// Decodes the protobuf body of a push, with its snappy block.
///
/// Streams whose labels cannot be read are refused; the others are taken.
///
/// # Errors
/// When the body is no snappy block or no such message: nothing of it is taken.
pub fn decode(body: &[u8], ctx: &Context<'_>) -> Result<Decoded<LogBatch>, IngestError> {
    let mut plain = Vec::new();
    let plain = snappy_block(body, ctx.limits.decompressed_bytes_max, &mut plain)?;
    let mut push = Push::new(ctx);
    protobuf(plain, &mut push).map_err(IngestError::protobuf("PushRequest"))?;
    Ok(push.rows.finish())
}

fn protobuf(body: &[u8], push: &mut Push<'_>) -> Result<(), ProtoError> {
    let mut reader = Reader::new(body);
    while let Some(tag) = reader.tag()? {
        if tag == STREAM { protobuf_stream(reader.message()?, push)? } else { reader.skip(tag, &PUSH)? }
    }
    Ok(())
}

fn protobuf_stream(message: Reader<'_>, push: &mut Push<'_>) -> Result<(), ProtoError> {
    let mut labels: &[u8] = &[];
    let mut entries = 0;
    let mut reader = message;
    while let Some(tag) = reader.tag()? {
        match tag {
            LABELS => labels = reader.bytes()?,
            ENTRY => {
                reader.bytes()?;
                entries += 1;
            }
            _ => reader.skip(tag, &STREAM_FIELDS)?,
        }
    }
    let labels = text(labels, &mut push.rows.changed);
    let parsed = match parse_labels(&labels) {
        Ok(parsed) => parsed,
        Err(reason) => {
            push.refuse(entries, || format!("error parsing labels `{}`: {reason}", crate::otlp::value::cut(&labels, 256)));
            return Ok(());
        }
    };
    if !push.stream(parsed.iter().map(|(name, value)| (&**name, &**value)), entries) {
        return Ok(());
    }
    let mut reader = message;
    while let Some(tag) = reader.tag()? {
        if tag == ENTRY { protobuf_entry(reader.message()?, push)? } else { reader.skip(tag, &STREAM_FIELDS)? }
    }
    Ok(())
}

fn protobuf_entry(mut reader: Reader<'_>, push: &mut Push<'_>) -> Result<(), ProtoError> {
    let (mut time, mut line): (Option<i64>, &[u8]) = (None, &[]);
    push.begin();
    while let Some(tag) = reader.tag()? {
        match tag {
            TIMESTAMP => time = timestamp(reader.message()?)?,
            LINE => line = reader.bytes()?,
            METADATA => {
                let (mut pair, mut name, mut value): (_, &[u8], &[u8]) = (reader.message()?, &[], &[]);
                while let Some(tag) = pair.tag()? {
                    match tag {
                        NAME => name = pair.bytes()?,
                        VALUE => value = pair.bytes()?,
                        _ => pair.skip(tag, &PAIR)?,
                    }
                }
                let (name, value) = (text(name, &mut push.rows.changed), text(value, &mut push.rows.changed));
                push.metadata(&name, &value);
            }
            _ => reader.skip(tag, &ENTRY_FIELDS)?,
        }
    }
    let line = text(line, &mut push.rows.changed);
    push.entry(time, &line);
    Ok(())
}

fn timestamp(mut reader: Reader<'_>) -> Result<Option<i64>, ProtoError> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    while let Some(tag) = reader.tag()? {
        match tag {
            SECONDS => seconds = reader.varint()? as i64,
            NANOS => nanos = i64::from(reader.varint()? as i32),
            _ => reader.skip(tag, &TIME)?,
        }
    }
    Ok(seconds.checked_mul(1_000_000_000).and_then(|whole| whole.checked_add(nanos)))
}

/// A push being read, from either encoding.
struct Push<'c> {
    rows: LogRows<'c>,
    /// Index of the current stream's resource.
    resource: u32,
    /// The current stream's level, from a label.
    stream_level: Option<(Severity, String)>,
    level: Option<(Severity, String)>,
    trace_id: TraceId,
    span_id: SpanId,
}

impl<'c> Push<'c> {
    fn new(ctx: &'c Context<'c>) -> Self {
        let rows = LogRows::new(ctx);
        Self { rows, resource: 0, stream_level: None, level: None, trace_id: TraceId::NONE, span_id: SpanId::NONE }
    }

    fn refuse(&mut self, entries: u64, example: impl FnOnce() -> String) {
        Decoded::<()>::reject(&mut self.rows.rejected, "invalid_labels", entries, example);
    }

    /// Begins a stream; `false` when it is refused, with its entries.
    fn stream<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)> + Clone, entries: u64) -> bool {
        let count = labels.clone().count();
        if count > STREAM_LABELS_MAX {
            self.refuse(entries, || format!("a stream has {count} label names; the limit is {STREAM_LABELS_MAX}"));
            return false;
        }
        self.stream_level = labels.clone().find_map(|(name, value)| level(name, value));
        self.resource = self.rows.resources.index(stream::resource(labels));
        true
    }

    fn begin(&mut self) {
        self.rows.begin();
        (self.level, self.trace_id, self.span_id) = (None, TraceId::NONE, SpanId::NONE);
    }

    fn metadata(&mut self, name: &str, value: &str) {
        // In OpenTelemetry's own notation the columns say it all; every other notation is kept beside them.
        let as_written = value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let taken = match name {
            "trace_id" | "traceID" | "traceId" | "traceid" if self.trace_id.is_none() => {
                self.trace_id = TraceId::from_hex(value.as_bytes()).unwrap_or_default();
                name == "trace_id" && as_written && !self.trace_id.is_none()
            }
            "span_id" | "spanID" | "spanId" | "spanid" if self.span_id.is_none() => {
                self.span_id = SpanId::from_hex(value.as_bytes()).unwrap_or_default();
                name == "span_id" && as_written && !self.span_id.is_none()
            }
            _ => false,
        };
        if self.level.is_none() {
            self.level = level(name, value);
        }
        if !taken {
            self.rows.attributes().text(name, value);
        }
    }

    fn entry(&mut self, time: Option<i64>, line: &str) {
        let stated = self.level.as_ref().or(self.stream_level.as_ref()).map(|(severity, word)| (*severity, word.as_str()));
        let (severity_number, severity_text) =
            stated.or_else(|| severity::of_line(line)).map_or((0, ""), |(severity, word)| (severity.number(), word));
        let fields =
            LogFields { time, severity_number, severity_text, body: line, trace_id: self.trace_id, span_id: self.span_id, resource: self.resource };
        self.rows.end(&fields);
    }
}

/// The level a label or an entry of metadata states.
fn level(name: &str, value: &str) -> Option<(Severity, String)> {
    if !severity::is_level_key(name) {
        return None;
    }
    Some((Severity::from_text(value)?, value.to_owned()))
}

/// Entries that were refused, as Loki words them: one line a reason.
pub fn refusal(rejected: &[Rejected]) -> String {
    let lines: Vec<String> = rejected.iter().map(|r| format!("{} ({} entries: {})", r.example, r.count, r.reason)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests;
