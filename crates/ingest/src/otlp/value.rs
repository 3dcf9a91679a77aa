//! OTLP's `AnyValue` and `KeyValue`: into attribute columns, or as JSON text.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use skopos_model::{AttrColumns, AttrType, AttrValue, AttrValues, Decoded, IngestLimits, Rejected, Slot};

use crate::proto::{Message, ProtoError, Reader, bytes, fixed64, varint};

/// Attribute set on rows of which a text was cut.
pub(crate) const TRUNCATED: &str = "skopos.truncated";
/// Attribute set on rows of which attributes were left out, with their number.
pub(crate) const DROPPED: &str = "skopos.dropped_attributes";

const ANY_VALUE: Message = Message { name: "AnyValue", tags: &[bytes(1), varint(2), varint(3), fixed64(4), bytes(5), bytes(6), bytes(7)] };
const KEY_VALUE: Message = Message { name: "KeyValue", tags: &[bytes(1), bytes(2)] };
const LIST: Message = Message { name: "ArrayValue", tags: &[bytes(1)] };

/// One value, its text unchecked and its nested parts unread.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    /// No value was set.
    Empty,
    /// Text; UTF-8 is checked when it is used.
    Str(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(&'a [u8]),
    Array(Reader<'a>),
    Map(Reader<'a>),
}

/// Why a record is not taken.
#[derive(Debug)]
pub(crate) enum RecordError {
    /// The whole body is malformed.
    Proto(ProtoError),
    /// This record only.
    Refused(&'static str, String),
}

impl From<ProtoError> for RecordError {
    fn from(error: ProtoError) -> Self {
        Self::Proto(error)
    }
}

#[inline]
pub(crate) fn any_value<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, ProtoError> {
    const STR: u32 = bytes(1);
    const BOOL: u32 = varint(2);
    const INT: u32 = varint(3);
    const DOUBLE: u32 = fixed64(4);
    const ARRAY: u32 = bytes(5);
    const MAP: u32 = bytes(6);
    const BYTES: u32 = bytes(7);
    let mut value = Value::Empty;
    while let Some(tag) = reader.tag()? {
        match tag {
            STR => value = Value::Str(reader.bytes()?),
            BOOL => value = Value::Bool(reader.varint()? != 0),
            INT => value = Value::Int(reader.varint()? as i64),
            DOUBLE => value = Value::Double(reader.double()?),
            ARRAY => value = Value::Array(reader.message()?),
            MAP => value = Value::Map(reader.message()?),
            BYTES => value = Value::Bytes(reader.bytes()?),
            _ => reader.skip(tag, &ANY_VALUE)?,
        }
    }
    Ok(value)
}

/// Key (unchecked) and value.
#[inline(always)]
pub(crate) fn key_value<'a>(reader: Reader<'a>) -> Result<(&'a [u8], Value<'a>), ProtoError> {
    match usual_key_value(reader.all()) {
        Some(pair) => Ok(pair),
        None => any_key_value(reader),
    }
}

/// What nearly all senders write: key, then value, each shorter than 128 bytes, the value a text or a number.
#[inline(always)]
fn usual_key_value(raw: &[u8]) -> Option<(&[u8], Value<'_>)> {
    let [0x0a, key_len @ 0..0x80, rest @ ..] = raw else { return None };
    let (key, rest) = rest.split_at_checked(usize::from(*key_len))?;
    let [0x12, value_len @ 0..0x80, value @ ..] = rest else { return None };
    if value.len() != usize::from(*value_len) {
        return None;
    }
    let value = match value {
        [0x0a, len @ 0..0x80, text @ ..] if text.len() == usize::from(*len) => Value::Str(text),
        [0x10, flag @ 0..0x80] => Value::Bool(*flag != 0),
        [0x18, low @ 0..0x80] => Value::Int(i64::from(*low)),
        [0x18, low, high @ 0..0x80] => Value::Int(i64::from(low & 0x7f) | i64::from(*high) << 7),
        [0x21, bits @ ..] => Value::Double(f64::from_le_bytes(bits.try_into().ok()?)),
        _ => return None,
    };
    Some((key, value))
}

#[inline(never)]
fn any_key_value<'a>(mut reader: Reader<'a>) -> Result<(&'a [u8], Value<'a>), ProtoError> {
    const KEY: u32 = bytes(1);
    const VALUE: u32 = bytes(2);
    let mut key: &[u8] = &[];
    let mut value = Value::Empty;
    while let Some(tag) = reader.tag()? {
        match tag {
            KEY => key = reader.bytes()?,
            VALUE => value = any_value(&mut reader.message()?)?,
            _ => reader.skip(tag, &KEY_VALUE)?,
        }
    }
    Ok((key, value))
}

/// The longest beginning of `text` of at most `max` bytes.
#[inline]
pub(crate) fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max { text } else { &text[..text.floor_char_boundary(max)] }
}

/// Writes JSON's notation of a string.
pub(crate) fn json_string(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        plain = at + 1;
        if escape.is_empty() {
            write!(out, "\\u{byte:04x}").expect("writing to a string does not fail");
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

/// Writes JSON's notation of a number; what JSON has no number for becomes text, as protobuf's JSON mapping does.
pub(crate) fn json_double(value: f64, out: &mut String) {
    let text = if value.is_nan() {
        "\"NaN\""
    } else if value == f64::INFINITY {
        "\"Infinity\""
    } else if value == f64::NEG_INFINITY {
        "\"-Infinity\""
    } else {
        write!(out, "{value:?}").expect("writing to a string does not fail");
        return;
    };
    out.push_str(text);
}

/// Writes a value as JSON. `depth` is how many levels of arrays and maps may still be opened.
pub(crate) fn json_value(value: Value<'_>, at: &Reader<'_>, depth: usize, out: &mut String) -> Result<(), RecordError> {
    match value {
        Value::Empty => out.push_str("null"),
        Value::Str(text) => json_string(text_of(text, at)?, out),
        Value::Bool(b) => out.push_str(if b { "true" } else { "false" }),
        Value::Int(i) => write!(out, "{i}").expect("writing to a string does not fail"),
        Value::Double(d) => json_double(d, out),
        Value::Bytes(raw) => {
            out.push('"');
            BASE64.encode_string(raw, out);
            out.push('"');
        }
        Value::Array(_) | Value::Map(_) if depth == 0 => {
            return Err(RecordError::Refused("value_too_deep", format!("a value at byte {} is nested deeper than value_depth_max", at.offset())));
        }
        Value::Array(mut list) => {
            const ITEM: u32 = bytes(1);
            out.push('[');
            let mut first = true;
            while let Some(tag) = list.tag()? {
                if tag != ITEM {
                    list.skip(tag, &LIST)?;
                    continue;
                }
                let mut item = list.message()?;
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                json_value(any_value(&mut item)?, &item, depth - 1, out)?;
            }
            out.push(']');
        }
        Value::Map(list) => json_map(list, 1, depth - 1, out)?,
    }
    Ok(())
}

/// Writes the `KeyValue`s in field `field` of a message as a JSON object; other fields are left alone.
pub(crate) fn json_map(mut list: Reader<'_>, field: u32, depth: usize, out: &mut String) -> Result<(), RecordError> {
    out.push('{');
    let mut first = true;
    while let Some(tag) = list.tag()? {
        if tag != bytes(field) {
            list.skip(tag, &Message { name: "KeyValueList", tags: &[] })?;
            continue;
        }
        let item = list.message()?;
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        let (key, value) = key_value(item)?;
        json_string(text_of(key, &item)?, out);
        out.push(':');
        json_value(value, &item, depth, out)?;
    }
    out.push('}');
    Ok(())
}

#[inline]
fn text_of<'a>(text: &'a [u8], at: &Reader<'_>) -> Result<&'a str, ProtoError> {
    std::str::from_utf8(text).map_err(|_| at.not_utf8())
}

/// A text for [`skopos_model::StrColumn::push_bytes`], cut to `max`. It is checked here only on the second
/// reading of a body, when the columns of the first turned out to hold something that is no text.
#[inline(always)]
pub(crate) fn text_bytes<'a>(raw: &'a [u8], at: &Reader<'a>, max: usize, state: &mut RecordState) -> Result<&'a [u8], ProtoError> {
    if raw.len() <= max && !state.check_text {
        return Ok(raw);
    }
    checked_text(raw, at, max, state)
}

#[cold]
#[inline(never)]
fn checked_text<'a>(raw: &'a [u8], at: &Reader<'a>, max: usize, state: &mut RecordState) -> Result<&'a [u8], ProtoError> {
    let text = at.utf8(raw)?;
    let kept = cut(text, max);
    state.truncated |= kept.len() < text.len();
    Ok(kept.as_bytes())
}

/// What was left out of or cut from the record being read.
#[derive(Debug, Default)]
pub(crate) struct RecordState {
    attributes: usize,
    pub(crate) truncated: bool,
    dropped: i64,
    check_text: bool,
}

impl RecordState {
    /// For a reading that checks each text by itself, or leaves it to a check of the columns.
    pub(crate) fn new(check_text: bool) -> Self {
        Self { check_text, ..Self::default() }
    }

    /// Counts one attribute; `false` when it is over the limit and left out.
    #[inline]
    pub(crate) fn count(&mut self, limits: &IngestLimits) -> bool {
        self.attributes += 1;
        let fits = self.attributes <= limits.attributes_max;
        self.dropped += i64::from(!fits);
        fits
    }

    /// Counts one attribute that was left out.
    pub(crate) fn drop_one(&mut self) {
        self.dropped += 1;
    }

    /// Marks the row and counts it.
    #[inline]
    pub(crate) fn finish(&self, row: u32, columns: &mut AttrColumns, changed: &mut Vec<Rejected>) {
        if self.truncated || self.dropped > 0 {
            self.mark(row, columns, changed);
        }
    }

    #[cold]
    fn mark(&self, row: u32, columns: &mut AttrColumns, changed: &mut Vec<Rejected>) {
        if self.truncated {
            columns.push_bool(row, TRUNCATED, true);
            Decoded::<()>::reject(changed, "truncated", 1, || {
                format!("row {row}: text longer than log_body_bytes_max or attribute_value_bytes_max was cut")
            });
        }
        if self.dropped > 0 {
            columns.push_int(row, DROPPED, self.dropped);
            Decoded::<()>::reject(changed, "attributes_dropped", 1, || {
                format!("row {row}: {} attributes over attributes_max were left out", self.dropped)
            });
        }
    }
}

/// What the key of an instrumentation scope's attribute begins with among a span's, as OpenTelemetry's exporters name the
/// scope's other parts.
pub(crate) const SCOPE_PREFIX: &str = "otel.scope.";

/// Puts one `KeyValue` into the columns.
#[inline]
pub(crate) fn push_attribute<'a>(
    reader: Reader<'a>,
    row: u32,
    columns: &mut AttrColumns,
    state: &mut RecordState,
    limits: &IngestLimits,
    scratch: &mut String,
) -> Result<(), RecordError> {
    let (key, value) = key_value(reader)?;
    push_value(reader, key, value, row, columns, state, limits, scratch)
}

/// Puts one `KeyValue` of a scope into the columns of its spans.
#[cold]
pub(crate) fn push_scope_attribute(
    reader: Reader<'_>,
    row: u32,
    columns: &mut AttrColumns,
    state: &mut RecordState,
    limits: &IngestLimits,
    scratch: &mut String,
) -> Result<(), RecordError> {
    let (key, value) = key_value(reader)?;
    let key = [SCOPE_PREFIX.as_bytes(), key].concat();
    push_value(reader, &key, value, row, columns, state, limits, scratch)
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "what each attribute of each span needs, in registers")]
fn push_value<'a>(
    reader: Reader<'a>,
    key: &[u8],
    value: Value<'a>,
    row: u32,
    columns: &mut AttrColumns,
    state: &mut RecordState,
    limits: &IngestLimits,
    scratch: &mut String,
) -> Result<(), RecordError> {
    if state.check_text {
        reader.utf8(key).map_err(|_| reader.not_utf8())?;
    }
    if !state.count(limits) {
        return Ok(());
    }
    let ty = match value {
        Value::Empty => return Ok(()),
        Value::Str(_) | Value::Bytes(_) => AttrType::Str,
        Value::Bool(_) => AttrType::Bool,
        Value::Int(_) => AttrType::Int,
        Value::Double(_) => AttrType::Double,
        Value::Array(_) | Value::Map(_) => AttrType::Json,
    };
    // Everything that can fail comes before a place is taken in the column.
    let text = match value {
        Value::Str(raw) => text_bytes(raw, &reader, limits.attribute_value_bytes_max, state)?,
        Value::Bytes(_) | Value::Array(_) | Value::Map(_) => long_text(value, &reader, state, limits, scratch)?.as_bytes(),
        _ => &[],
    };
    match columns.slot(row, key, ty).map_err(|_| reader.not_utf8())? {
        Slot::Fill(values) => match (values, value) {
            (AttrValues::Str(column) | AttrValues::Json(column), _) => column.push_bytes(text),
            (AttrValues::Int(column), Value::Int(i)) => column.push(i),
            (AttrValues::Double(column), Value::Double(d)) => column.push(d),
            (AttrValues::Bool(column), Value::Bool(b)) => column.push(b),
            _ => unreachable!("the slot has the type that was asked for"),
        },
        Slot::Taken => {}
        Slot::Full => state.dropped += 1,
    }
    Ok(())
}

/// Values that are stored as a text other than their bytes.
#[cold]
fn long_text<'s>(
    value: Value<'_>,
    reader: &Reader<'_>,
    state: &mut RecordState,
    limits: &IngestLimits,
    scratch: &'s mut String,
) -> Result<&'s str, RecordError> {
    scratch.clear();
    if let Value::Bytes(raw) = value {
        BASE64.encode_string(raw, scratch);
    } else {
        json_value(value, reader, limits.value_depth_max, scratch)?;
    }
    let kept = cut(scratch, limits.attribute_value_bytes_max);
    state.truncated |= kept.len() < scratch.len();
    Ok(kept)
}

/// A value on its own, for resources. `None` for one that was not set.
pub(crate) fn to_attr_value(value: Value<'_>, reader: &Reader<'_>, limits: &IngestLimits) -> Result<Option<AttrValue>, RecordError> {
    let max = limits.attribute_value_bytes_max;
    Ok(Some(match value {
        Value::Empty => return Ok(None),
        Value::Str(raw) => AttrValue::Str(cut(text_of(raw, reader)?, max).to_owned()),
        Value::Bool(b) => AttrValue::Bool(b),
        Value::Int(i) => AttrValue::Int(i),
        Value::Double(d) => AttrValue::Double(d),
        Value::Bytes(raw) => AttrValue::Str(cut(&BASE64.encode(raw), max).to_owned()),
        Value::Array(_) | Value::Map(_) => {
            let mut json = String::new();
            json_value(value, reader, limits.value_depth_max, &mut json)?;
            AttrValue::Json(cut(&json, max).to_owned())
        }
    }))
}
