//! Protocol buffers as far as OTLP needs them: a writer of fields, and a reader for the small export responses.

use crate::limits::{MAX_VALUE_BYTES, cut};
use crate::value::Value;

pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn tag(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, u64::from(field << 3 | wire_type));
}

pub(crate) fn uint(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, 0);
    varint(out, value);
}

pub(crate) fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    fixed64(out, field, value.to_bits());
}

pub(crate) fn fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    tag(out, field, 5);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    tag(out, field, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

pub(crate) fn string(out: &mut Vec<u8>, field: u32, value: &str) {
    bytes(out, field, value.as_bytes());
}

/// Tag and length of a length-delimited field whose content follows.
pub(crate) fn header(out: &mut Vec<u8>, field: u32, len: usize) {
    tag(out, field, 2);
    varint(out, len as u64);
}

/// Bytes that [`header`] writes.
pub(crate) fn header_len(field: u32, len: usize) -> usize {
    varint_len(u64::from(field << 3 | 2)) + varint_len(len as u64)
}

/// A nested message: one byte is kept for the length and widened only when the content needs more.
pub(crate) fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, 2);
    let at = out.len();
    out.push(0);
    write(out);
    let len = out.len() - at - 1;
    if len < 0x80 {
        out[at] = len as u8;
    } else {
        let mut prefix = Vec::with_capacity(5);
        varint(&mut prefix, len as u64);
        out.splice(at..=at, prefix);
    }
}

pub(crate) fn packed_fixed64(out: &mut Vec<u8>, field: u32, values: impl ExactSizeIterator<Item = u64>) {
    header(out, field, values.len() * 8);
    for value in values {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// An `AnyValue` message as field `field`.
pub(crate) fn any_value(out: &mut Vec<u8>, field: u32, value: &Value<'_>) {
    message(out, field, |out| match value {
        Value::Str(text) => string(out, 1, cut(text, MAX_VALUE_BYTES)),
        Value::Bool(flag) => uint(out, 2, u64::from(*flag)),
        Value::Int(number) => uint(out, 3, *number as u64),
        Value::Float(number) => double(out, 4, *number),
    });
}

/// A `KeyValue` message as field `field`.
pub(crate) fn key_value(out: &mut Vec<u8>, field: u32, key: &str, value: &Value<'_>) {
    message(out, field, |out| {
        string(out, 1, cut(key, MAX_VALUE_BYTES));
        any_value(out, 2, value);
    });
}

/// One field of a message that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    Uint(u64),
    Fixed,
    Bytes(&'a [u8]),
}

/// Reads the next field, or `None` at the end or at malformed bytes.
pub(crate) fn next_field<'a>(input: &mut &'a [u8]) -> Option<(u32, Field<'a>)> {
    let key = read_varint(input)?;
    let field = u32::try_from(key >> 3).ok()?;
    let value = match key & 7 {
        0 => Field::Uint(read_varint(input)?),
        1 => {
            *input = input.get(8..)?;
            Field::Fixed
        }
        2 => {
            let len = usize::try_from(read_varint(input)?).ok()?;
            let content = input.get(..len)?;
            *input = &input[len..];
            Field::Bytes(content)
        }
        5 => {
            *input = input.get(4..)?;
            Field::Fixed
        }
        _ => return None,
    };
    Some((field, value))
}

fn read_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Removes every `KeyValue` with `key` among the fields `field` of an encoded message; says how many there were.
pub(crate) fn remove_key(out: &mut Vec<u8>, field: u32, key: &str) -> u32 {
    let mut removed = 0;
    let mut start = 0;
    while start < out.len() {
        let mut rest = &out[start..];
        let before = rest.len();
        let Some((number, value)) = next_field(&mut rest) else {
            break;
        };
        let end = start + (before - rest.len());
        let same = match value {
            Field::Bytes(mut pair) if number == field => {
                matches!(next_field(&mut pair), Some((1, Field::Bytes(found))) if found == key.as_bytes())
            }
            _ => false,
        };
        if same {
            out.drain(start..end);
            removed += 1;
        } else {
            start = end;
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn long_messages_get_a_wider_length() {
        for size in [0usize, 1, 100, 127, 128, 300, 20_000] {
            let text = "x".repeat(size.min(MAX_VALUE_BYTES));
            let mut out = Vec::new();
            key_value(&mut out, 1, "key", &Value::from(text.as_str()));
            let resource = opentelemetry_proto::tonic::resource::v1::Resource::decode(&out[..]).unwrap();
            let value = resource.attributes[0].value.clone().unwrap().value.unwrap();
            assert_eq!(value, opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(text), "size {size}");
        }
    }

    #[test]
    fn header_length_is_what_header_writes() {
        for field in [1, 15, 16, 2047] {
            for len in [0usize, 127, 128, 16_383, 16_384, 3_000_000] {
                let mut out = Vec::new();
                header(&mut out, field, len);
                assert_eq!(out.len(), header_len(field, len), "field {field} len {len}");
            }
        }
    }

    #[test]
    fn keys_are_removed_wherever_they_stand() {
        let mut out = Vec::new();
        key_value(&mut out, 9, "a", &Value::from(1i64));
        message(&mut out, 11, |out| string(out, 2, "event"));
        key_value(&mut out, 9, "b", &Value::from(2i64));
        assert_eq!(remove_key(&mut out, 9, "a"), 1);
        assert_eq!(remove_key(&mut out, 9, "a"), 0);
        assert_eq!(remove_key(&mut out, 9, "b"), 1);
        let mut rest = &out[..];
        assert!(matches!(next_field(&mut rest), Some((11, Field::Bytes(_)))));
        assert!(rest.is_empty());
    }

    #[test]
    fn malformed_input_ends_the_reading() {
        for input in [&b"\xff"[..], b"\x0a\x05ab", b"\x0b", b"\x09\x00", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert_eq!(next_field(&mut &*input), None, "{input:?}");
        }
    }
}
