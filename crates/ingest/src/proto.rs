//! Reading and writing protobuf without generated code: fields are handed out as slices of the body.
//!
//! A reader knows its offset in the whole body, so that an error names the byte. Unknown fields are skipped;
//! a known field with another wire type than its own is an error, because it means that the sender and we
//! disagree about the schema.

use std::fmt;

/// What is wrong with a message, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtoError {
    /// Byte of the (decompressed) body.
    pub offset: usize,
    /// What was expected there or what was wrong.
    pub problem: Problem,
}

/// What is wrong at a byte of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The message ends inside a field.
    Truncated {
        /// Bytes the field needs.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// A varint of more than ten bytes.
    VarintTooLong,
    /// A tag of field number 0, or above 2^29.
    BadTag,
    /// Wire types 6 and 7 do not exist.
    BadWireType(u8),
    /// A known field with a wire type that is not its own.
    WireType {
        /// Message the field is in.
        message: &'static str,
        /// Field number.
        field: u32,
        /// Wire type met.
        found: u8,
        /// Wire type of this field.
        expected: u8,
    },
    /// A string that is no UTF-8.
    Utf8,
    /// Groups nested deeper than [`GROUP_DEPTH_MAX`], or the end of one that was not begun.
    Group,
    /// A packed field whose length is no multiple of its elements'.
    Packed,
}

/// Deepest nesting of (obsolete) groups that is skipped.
pub const GROUP_DEPTH_MAX: u32 = 32;

fn wire_name(wire: u8) -> &'static str {
    match wire {
        0 => "varint",
        1 => "fixed64",
        2 => "length-delimited",
        3 => "group start",
        4 => "group end",
        5 => "fixed32",
        _ => "none",
    }
}

impl fmt::Display for ProtoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: ", self.offset)?;
        match self.problem {
            Problem::Truncated { needed, left } => write!(f, "the field needs {needed} bytes, the message has {left} left"),
            Problem::VarintTooLong => f.write_str("expected a varint of at most 10 bytes"),
            Problem::BadTag => f.write_str("expected a field number between 1 and 536870911"),
            Problem::BadWireType(found) => write!(f, "wire type {found} does not exist"),
            Problem::WireType { message, field, found, expected } => {
                write!(f, "field {field} of {message} has wire type {}, expected {}", wire_name(found), wire_name(expected))
            }
            Problem::Utf8 => f.write_str("expected UTF-8 text"),
            Problem::Group => f.write_str("a group is not closed, was not begun, or is nested too deep"),
            Problem::Packed => f.write_str("length of a packed field is no multiple of its elements' length"),
        }
    }
}

impl std::error::Error for ProtoError {}

/// Tag of a varint field.
pub const fn varint(field: u32) -> u32 {
    field << 3
}
/// Tag of a fixed64, sfixed64 or double field.
pub const fn fixed64(field: u32) -> u32 {
    field << 3 | 1
}
/// Tag of a string, bytes, message or packed field.
pub const fn bytes(field: u32) -> u32 {
    field << 3 | 2
}
/// Tag of a fixed32, sfixed32 or float field.
pub const fn fixed32(field: u32) -> u32 {
    field << 3 | 5
}

/// The number a `sint32` or `sint64` field holds.
pub const fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The number written for a `sint32` or `sint64` field.
pub const fn to_zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Name and tags of a message's known fields, for errors.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// Name in the `.proto` file.
    pub name: &'static str,
    /// Tags of the known fields.
    pub tags: &'static [u32],
}

/// Reads the fields of one message.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    buf: &'a [u8],
    pos: usize,
    base: usize,
}

impl<'a> Reader<'a> {
    /// Over a whole body.
    #[inline]
    pub fn new(body: &'a [u8]) -> Self {
        Self { buf: body, pos: 0, base: 0 }
    }

    /// Offset in the body of the next byte.
    #[inline]
    pub fn offset(&self) -> usize {
        self.base + self.pos
    }

    /// Whether the message has been read to its end.
    #[inline]
    pub fn at_end(&self) -> bool {
        self.pos >= self.buf.len()
    }

    /// The bytes of this message from its beginning, read or not.
    #[inline]
    pub fn all(&self) -> &'a [u8] {
        self.buf
    }

    /// Position in [`Self::all`] of the next byte.
    #[inline]
    pub fn position(&self) -> usize {
        self.pos
    }

    /// A reader over a part of this message.
    #[inline]
    pub fn part(&self, range: std::ops::Range<usize>) -> Reader<'a> {
        let base = self.base + range.start;
        Reader { buf: self.buf.get(range).unwrap_or(&[]), pos: 0, base }
    }

    #[cold]
    #[inline(never)]
    fn error(&self, problem: Problem) -> ProtoError {
        ProtoError { offset: self.offset(), problem }
    }

    /// The next field's tag (number and wire type), or `None` at the end.
    #[inline(always)]
    pub fn tag(&mut self) -> Result<Option<u32>, ProtoError> {
        let Some(&first) = self.buf.get(self.pos) else { return Ok(None) };
        if (8..0x80).contains(&first) {
            self.pos += 1;
            return Ok(Some(u32::from(first)));
        }
        self.long_tag().map(Some)
    }

    #[inline(never)]
    fn long_tag(&mut self) -> Result<u32, ProtoError> {
        let before = *self;
        let tag = self.varint()?;
        match u32::try_from(tag) {
            Ok(tag) if tag >= 8 => Ok(tag),
            _ => Err(before.error(Problem::BadTag)),
        }
    }

    /// A varint.
    #[inline(always)]
    pub fn varint(&mut self) -> Result<u64, ProtoError> {
        match self.buf.get(self.pos..) {
            Some([byte, ..]) if *byte < 0x80 => {
                self.pos += 1;
                Ok(u64::from(*byte))
            }
            // Lengths of records have two bytes.
            Some([low, high, ..]) if *high < 0x80 => {
                self.pos += 2;
                Ok(u64::from(low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, ProtoError> {
        let rest = &self.buf[self.pos.min(self.buf.len())..];
        let mut value = 0u64;
        for (i, &byte) in rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.pos += i + 1;
                return Ok(value);
            }
        }
        Err(self.error(if rest.len() >= 10 { Problem::VarintTooLong } else { Problem::Truncated { needed: rest.len() + 1, left: rest.len() } }))
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtoError> {
        match self.buf.get(self.pos..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(chunk) => {
                self.pos += N;
                Ok(*chunk)
            }
            None => Err(self.error(Problem::Truncated { needed: N, left: self.buf.len() - self.pos })),
        }
    }

    /// Eight bytes, little endian.
    #[inline(always)]
    pub fn fixed64(&mut self) -> Result<u64, ProtoError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Four bytes, little endian.
    #[inline]
    pub fn fixed32(&mut self) -> Result<u32, ProtoError> {
        self.array().map(u32::from_le_bytes)
    }

    /// A double.
    #[inline]
    pub fn double(&mut self) -> Result<f64, ProtoError> {
        self.fixed64().map(f64::from_bits)
    }

    /// A length-delimited field's bytes.
    #[inline(always)]
    pub fn bytes(&mut self) -> Result<&'a [u8], ProtoError> {
        let len = self.varint()?;
        let left = self.buf.len() - self.pos;
        if len > left as u64 {
            return Err(self.error(Problem::Truncated { needed: usize::try_from(len).unwrap_or(usize::MAX), left }));
        }
        let start = self.pos;
        self.pos += len as usize;
        Ok(&self.buf[start..self.pos])
    }

    /// Skips fields of one tag that lie side by side, as long as tag and length have one byte each.
    #[inline(always)]
    pub fn skip_run(&mut self, tag: u8) {
        while let Some([next, len @ 0..0x80, rest @ ..]) = self.buf.get(self.pos..)
            && *next == tag
            && rest.len() >= usize::from(*len)
        {
            self.pos += 2 + usize::from(*len);
        }
    }

    /// A nested message.
    #[inline(always)]
    pub fn message(&mut self) -> Result<Reader<'a>, ProtoError> {
        let buf = self.bytes()?;
        Ok(Reader { buf, pos: 0, base: self.base + self.pos - buf.len() })
    }

    /// A string.
    #[inline(always)]
    pub fn string(&mut self) -> Result<&'a str, ProtoError> {
        let bytes = self.bytes()?;
        self.utf8(bytes)
    }

    /// Checks that bytes of this message are UTF-8.
    #[inline(always)]
    pub fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str, ProtoError> {
        std::str::from_utf8(bytes).map_err(|error| self.no_text(bytes, error.valid_up_to()))
    }

    #[cold]
    #[inline(never)]
    fn no_text(&self, bytes: &[u8], valid: usize) -> ProtoError {
        // The slice is a part of this reader's: its place follows from the addresses.
        let start = (bytes.as_ptr() as usize).saturating_sub(self.buf.as_ptr() as usize);
        ProtoError { offset: self.base + start + valid, problem: Problem::Utf8 }
    }

    /// An error about text of this message that is no UTF-8.
    pub(crate) fn not_utf8(&self) -> ProtoError {
        ProtoError { offset: self.base, problem: Problem::Utf8 }
    }

    /// Skips the value of a field that is not looked at.
    ///
    /// # Errors
    /// When it is a field `message` knows by another wire type: sender and receiver disagree about it.
    #[inline(never)]
    pub fn skip(&mut self, tag: u32, message: &Message) -> Result<(), ProtoError> {
        // Fields that may be packed are known by two tags.
        if !message.tags.contains(&tag)
            && let Some(known) = message.tags.iter().find(|known| **known >> 3 == tag >> 3)
        {
            return Err(self.error(Problem::WireType {
                message: message.name,
                field: tag >> 3,
                found: (tag & 7) as u8,
                expected: (known & 7) as u8,
            }));
        }
        self.skip_value(tag, 0)
    }

    fn skip_value(&mut self, tag: u32, depth: u32) -> Result<(), ProtoError> {
        match tag & 7 {
            0 => self.varint().map(drop),
            1 => self.fixed64().map(drop),
            2 => self.bytes().map(drop),
            5 => self.fixed32().map(drop),
            3 if depth < GROUP_DEPTH_MAX => loop {
                match self.tag()? {
                    Some(inner) if inner & 7 == 4 => {
                        return if inner >> 3 == tag >> 3 { Ok(()) } else { Err(self.error(Problem::Group)) };
                    }
                    Some(inner) => self.skip_value(inner, depth + 1)?,
                    None => return Err(self.error(Problem::Group)),
                }
            },
            3 | 4 => Err(self.error(Problem::Group)),
            wire => Err(self.error(Problem::BadWireType(wire as u8))),
        }
    }

    /// A field of varints: packed into one field, or one by one (`tag` says which).
    #[inline]
    pub fn varints(&mut self, tag: u32, mut each: impl FnMut(u64)) -> Result<(), ProtoError> {
        if tag & 7 == 0 {
            each(self.varint()?);
            return Ok(());
        }
        let mut packed = self.message()?;
        while !packed.at_end() {
            each(packed.varint()?);
        }
        Ok(())
    }

    /// A field of doubles: packed into one field, or one by one (`tag` says which).
    pub fn doubles(&mut self, tag: u32, out: &mut Vec<f64>) -> Result<(), ProtoError> {
        if tag & 7 == 1 {
            out.push(self.double()?);
        } else {
            out.extend(self.packed64()?.map(f64::from_bits));
        }
        Ok(())
    }

    /// Elements of a packed field of eight-byte numbers.
    pub fn packed64(&mut self) -> Result<impl ExactSizeIterator<Item = u64> + use<'a>, ProtoError> {
        let bytes = self.bytes()?;
        if bytes.len() % 8 != 0 {
            return Err(self.error(Problem::Packed));
        }
        Ok(bytes.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().expect("chunks of eight"))))
    }
}

/// Writes messages: small ones (responses, tests), and JSON turned into protobuf.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// With a buffer to append to.
    pub fn new(out: Vec<u8>) -> Self {
        Self { out }
    }

    /// The bytes written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Number of bytes so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    /// A varint without a tag: an element of a packed field.
    pub fn bare_varint(&mut self, value: u64) {
        self.raw_varint(value);
    }

    /// A varint field.
    pub fn varint(&mut self, field: u32, value: u64) {
        self.raw_varint(u64::from(varint(field)));
        self.raw_varint(value);
    }

    /// A fixed64 field.
    pub fn fixed64(&mut self, field: u32, value: u64) {
        self.raw_varint(u64::from(fixed64(field)));
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// A fixed32 field.
    pub fn fixed32(&mut self, field: u32, value: u32) {
        self.raw_varint(u64::from(fixed32(field)));
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// A double field.
    pub fn double(&mut self, field: u32, value: f64) {
        self.fixed64(field, value.to_bits());
    }

    /// A string or bytes field.
    pub fn bytes(&mut self, field: u32, value: &[u8]) {
        self.raw_varint(u64::from(bytes(field)));
        self.raw_varint(value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// A nested message whose length is not known yet: write its fields, then [`Self::end`].
    pub fn begin(&mut self, field: u32) -> Open {
        self.raw_varint(u64::from(bytes(field)));
        let at = self.out.len();
        self.out.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0x00]);
        Open(at)
    }

    /// Closes a nested message: its length is written as a varint padded to five bytes.
    pub fn end(&mut self, open: Open) {
        let len = self.out.len() - open.0 - 5;
        for i in 0..5 {
            let more = if i < 4 { 0x80 } else { 0 };
            self.out[open.0 + i] = ((len >> (7 * i)) & 0x7f) as u8 | more;
        }
    }

    /// Takes back a nested message.
    pub fn cancel(&mut self, len_before: usize) {
        self.out.truncate(len_before);
    }

    /// A nested message written by `fields`, with its length as short as it can be.
    pub fn message(&mut self, field: u32, fields: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fields(&mut inner);
        self.bytes(field, &inner.out);
    }
}

/// A nested message that has been begun.
#[derive(Debug)]
#[must_use = "a message that is begun has to be ended"]
pub struct Open(usize);

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Message = Message { name: "Test", tags: &[varint(1)] };

    fn walk(body: &[u8]) -> Result<usize, ProtoError> {
        let mut reader = Reader::new(body);
        let mut fields = 0;
        while let Some(tag) = reader.tag()? {
            if tag == varint(1) {
                reader.varint().map(drop)?
            } else {
                reader.skip(tag, &NONE)?
            }
            fields += 1;
        }
        Ok(fields)
    }

    #[test]
    fn errors_name_the_byte_and_what_was_expected() {
        for (body, expected) in [
            (&[0x08][..], "at byte 1: the field needs 1 bytes, the message has 0 left"),
            (&[0x08, 0x80], "at byte 1: the field needs 2 bytes, the message has 1 left"),
            (&[0x08, 0x01, 0x12, 0x05, 0x00], "at byte 4: the field needs 5 bytes, the message has 1 left"),
            (&[0x00, 0x01], "at byte 0: expected a field number between 1 and 536870911"),
            (&[0x17], "at byte 1: wire type 7 does not exist"),
            (&[0x09, 1, 2, 3, 4, 5, 6, 7, 8], "at byte 1: field 1 of Test has wire type fixed64, expected varint"),
            (&[0x13], "at byte 1: a group is not closed, was not begun, or is nested too deep"),
            (&[0x14], "at byte 1: a group is not closed, was not begun, or is nested too deep"),
            (&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], "at byte 1: expected a varint of at most 10 bytes"),
        ] {
            assert_eq!(walk(body).expect_err("malformed").to_string(), expected);
        }
    }

    #[test]
    fn unknown_fields_and_groups_are_skipped() {
        let mut writer = Writer::default();
        writer.fixed64(2, 7);
        writer.fixed32(3, 7);
        writer.bytes(4, b"abc");
        let mut body = writer.into_bytes();
        body.extend_from_slice(&[0x2b, 0x33, 0x08, 0x01, 0x34, 0x2c]);
        assert_eq!(walk(&body), Ok(4));
        assert!(walk(&[0x2b; 100]).is_err(), "groups are bounded");
    }

    #[test]
    fn padded_lengths_read_back() {
        let mut writer = Writer::default();
        let open = writer.begin(9);
        writer.varint(1, u64::MAX);
        writer.end(open);
        let body = writer.into_bytes();
        let mut reader = Reader::new(&body);
        assert_eq!(reader.tag(), Ok(Some(bytes(9))));
        let mut inner = reader.message().expect("a message");
        assert_eq!((inner.tag(), inner.varint()), (Ok(Some(varint(1))), Ok(u64::MAX)));
        assert!(inner.at_end() && reader.at_end());
    }
}
