//! MessagePack, as far as Fluent's protocol needs it: a reader over bytes, and any value as JSON text.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::otlp::value::{json_double, json_string};

/// Deepest nesting of a value.
pub const DEPTH_MAX: usize = 64;

/// What is wrong, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The value goes on after the bytes there are: more of them may make it whole.
    Incomplete,
    /// No value of the expected kind, with the place and what was expected.
    Malformed(usize, &'static str),
}

/// The head of a value: scalars whole, texts borrowed, of lists and maps the number of their elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Head<'a> {
    /// `nil`.
    Nil,
    /// A truth value.
    Bool(bool),
    /// A number without sign.
    Unsigned(u64),
    /// A number below 0.
    Signed(i64),
    /// A floating-point number.
    Double(f64),
    /// Text, unchecked, and whether it is of the type for text.
    Bytes(&'a [u8], bool),
    /// An array of so many values.
    Array(usize),
    /// A map of so many pairs.
    Map(usize),
    /// An extension: type and bytes.
    Extension(i8, &'a [u8]),
}

/// Reads values one after another.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// Position of the next value.
    pub at: usize,
}

impl<'a> Reader<'a> {
    /// Over bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The same bytes from another position.
    pub fn from(self, at: usize) -> Self {
        Self { at, ..self }
    }

    /// Whether all has been read.
    pub fn at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The bytes from a position to here.
    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let end = self.at.checked_add(length).ok_or(Problem::Malformed(self.at, "a shorter value"))?;
        let taken = self.bytes.get(self.at..end).ok_or(Problem::Incomplete)?;
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<u64, Problem> {
        Ok(self.take(bytes)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn sized(&mut self, bytes: usize) -> Result<&'a [u8], Problem> {
        let length = self.number(bytes)? as usize;
        self.take(length)
    }

    /// The head of the next value.
    pub fn head(&mut self) -> Result<Head<'a>, Problem> {
        let at = self.at;
        let kind = self.take(1)?[0];
        Ok(match kind {
            0x00..=0x7f => Head::Unsigned(u64::from(kind)),
            0x80..=0x8f => Head::Map(usize::from(kind & 0x0f)),
            0x90..=0x9f => Head::Array(usize::from(kind & 0x0f)),
            0xa0..=0xbf => Head::Bytes(self.take(usize::from(kind & 0x1f))?, true),
            0xc0 => Head::Nil,
            0xc1 => return Err(Problem::Malformed(at, "a value (0xc1 is none)")),
            0xc2 | 0xc3 => Head::Bool(kind == 0xc3),
            0xc4..=0xc6 => Head::Bytes(self.sized(1 << (kind - 0xc4))?, false),
            0xc7..=0xc9 => {
                let length = self.number(1 << (kind - 0xc7))? as usize;
                let ty = self.take(1)?[0] as i8;
                Head::Extension(ty, self.take(length)?)
            }
            0xca => Head::Double(f64::from(f32::from_bits(self.number(4)? as u32))),
            0xcb => Head::Double(f64::from_bits(self.number(8)?)),
            0xcc..=0xcf => Head::Unsigned(self.number(1 << (kind - 0xcc))?),
            0xd0..=0xd3 => {
                let bytes = 1 << (kind - 0xd0);
                let shift = 64 - 8 * bytes as u32;
                // The sign bit of the narrow number is carried up.
                match ((self.number(bytes)? << shift) as i64) >> shift {
                    number @ 0.. => Head::Unsigned(number as u64),
                    number => Head::Signed(number),
                }
            }
            0xd4..=0xd8 => {
                let ty = self.take(1)?[0] as i8;
                Head::Extension(ty, self.take(1 << (kind - 0xd4))?)
            }
            0xd9..=0xdb => Head::Bytes(self.sized(1 << (kind - 0xd9))?, true),
            0xdc => Head::Array(self.number(2)? as usize),
            0xdd => Head::Array(self.number(4)? as usize),
            0xde => Head::Map(self.number(2)? as usize),
            0xdf => Head::Map(self.number(4)? as usize),
            0xe0..=0xff => Head::Signed(i64::from(kind as i8)),
        })
    }

    /// Skips a value; an iteration for each part, so that depth costs nothing.
    pub fn skip(&mut self) -> Result<(), Problem> {
        let mut left = 1u64;
        while left > 0 {
            left -= 1;
            left = left.saturating_add(match self.head()? {
                Head::Array(count) => count as u64,
                Head::Map(count) => count as u64 * 2,
                _ => 0,
            });
        }
        Ok(())
    }

    /// Writes the next value as JSON. Bytes that are no UTF-8 are replaced; bytes that are no text at all become base64.
    pub fn json(&mut self, depth: usize, out: &mut String) -> Result<(), Problem> {
        let at = self.at;
        match self.head()? {
            Head::Nil => out.push_str("null"),
            Head::Bool(b) => out.push_str(if b { "true" } else { "false" }),
            Head::Unsigned(n) => write!(out, "{n}").expect("writing to a string does not fail"),
            Head::Signed(n) => write!(out, "{n}").expect("writing to a string does not fail"),
            Head::Double(d) => json_double(d, out),
            Head::Bytes(bytes, true) => json_string(&String::from_utf8_lossy(bytes), out),
            Head::Bytes(bytes, false) => match std::str::from_utf8(bytes) {
                // Older Fluentd writes text as bytes.
                Ok(text) => json_string(text, out),
                Err(_) => json_string(&BASE64.encode(bytes), out),
            },
            Head::Extension(0, bytes) if bytes.len() == 8 => {
                let (seconds, nanos) = event_time(bytes);
                write!(out, "{seconds}.{nanos:09}").expect("writing to a string does not fail");
            }
            Head::Extension(_, bytes) => json_string(&BASE64.encode(bytes), out),
            Head::Array(_) | Head::Map(_) if depth == 0 => return Err(Problem::Malformed(at, "a value nested less deep")),
            Head::Array(count) => {
                out.push('[');
                for i in 0..count {
                    if i > 0 {
                        out.push(',');
                    }
                    self.json(depth - 1, out)?;
                }
                out.push(']');
            }
            Head::Map(count) => {
                out.push('{');
                for i in 0..count {
                    if i > 0 {
                        out.push(',');
                    }
                    self.key(out)?;
                    out.push(':');
                    self.json(depth - 1, out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }

    /// A map's key as a JSON string, whatever it is.
    fn key(&mut self, out: &mut String) -> Result<(), Problem> {
        let at = self.at;
        match self.head()? {
            Head::Bytes(bytes, _) => json_string(&String::from_utf8_lossy(bytes), out),
            Head::Array(_) | Head::Map(_) => return Err(Problem::Malformed(at, "a text as key")),
            _ => {
                let mut text = String::new();
                Reader { bytes: self.bytes, at }.json(1, &mut text)?;
                json_string(&text, out);
            }
        }
        Ok(())
    }
}

/// Seconds and nanoseconds of Fluent's time extension.
pub fn event_time(bytes: &[u8]) -> (u32, u32) {
    let number = |from: usize| bytes.iter().skip(from).take(4).fold(0u32, |value, byte| value << 8 | u32::from(*byte));
    (number(0), number(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Result<&str, Problem>) {
        let mut out = String::new();
        let mut reader = Reader::new(bytes);
        let got = reader.json(DEPTH_MAX, &mut out).map(|()| out.as_str());
        assert_eq!(got, expected, "{bytes:x?}");
        if expected.is_ok() {
            assert!(reader.at_end());
            let mut skipping = Reader::new(bytes);
            assert_eq!((skipping.skip(), skipping.at), (Ok(()), bytes.len()));
            for short in 0..bytes.len() {
                assert_eq!(Reader::new(&bytes[..short]).skip(), Err(Problem::Incomplete), "{:x?}", &bytes[..short]);
            }
        }
    }

    #[test]
    fn values_as_json() {
        check(&[0xc0], Ok("null"));
        check(&[0x93, 0xc2, 0xc3, 0x7f], Ok("[false,true,127]"));
        check(&[0x82, 0xa1, b'a', 0xcd, 1, 0, 0xd9, 1, b'"', 0xff], Ok("{\"a\":256,\"\\\"\":-1}"));
        check(
            &[0x94, 0xd0, 0x80, 0xd1, 0xff, 0xfe, 0xd2, 0, 0, 0, 5, 0xcf, 255, 255, 255, 255, 255, 255, 255, 255],
            Ok("[-128,-2,5,18446744073709551615]"),
        );
        check(&[0x92, 0xca, 0x3f, 0xc0, 0, 0, 0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], Ok("[1.5,1.5]"));
        check(&[0xd7, 0, 0, 0, 0, 1, 0, 0, 0, 2], Ok("1.000000002"));
        check(&[0x93, 0xc4, 1, b'x', 0xc4, 1, 0xff, 0xa1, 0xff], Ok("[\"x\",\"/w==\",\"\u{fffd}\"]"));
        check(&[0x81, 0x01, 0x02], Ok("{\"1\":2}"));
        check(&[0xc1], Err(Problem::Malformed(0, "a value (0xc1 is none)")));
        check(&[0xdd, 255, 255, 255, 255], Err(Problem::Incomplete));
        check(&[0xdb, 255, 255, 255, 255], Err(Problem::Incomplete));
        check(&[0x91; 100], Err(Problem::Malformed(64, "a value nested less deep")));
        check(&[0x81, 0x90, 0x01], Err(Problem::Malformed(1, "a text as key")));
    }
}
