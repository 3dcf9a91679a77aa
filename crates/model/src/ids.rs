//! Trace and span ids, as W3C Trace Context defines them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is no id: what was read and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id of {expected} hexadecimal digits")]
pub struct IdError {
    /// The text as it came, cut to 64 bytes.
    pub text: String,
    /// Number of hexadecimal digits an id of this kind has.
    pub expected: usize,
}

fn nibble(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        b'A'..=b'F' => Some(c - b'A' + 10),
        _ => None,
    }
}

fn decode_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let mut out = [0u8; N];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(out)
}

/// Writes `bytes` as lower-case hexadecimal digits.
pub fn write_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2);
    for b in bytes {
        out.push(DIGITS[usize::from(b >> 4)] as char);
        out.push(DIGITS[usize::from(b & 15)] as char);
    }
}

macro_rules! id {
    ($name:ident, $len:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The all-zero id, which the specification calls invalid and which stands here for "none".
            pub const NONE: Self = Self([0; $len]);

            /// Whether this is [`Self::NONE`].
            pub fn is_none(&self) -> bool {
                self.0 == [0; $len]
            }

            /// Reads exactly the right number of hexadecimal digits, of either case.
            pub fn from_hex(text: &[u8]) -> Option<Self> {
                decode_hex(text).map(Self)
            }

            /// Reads raw bytes of exactly the right length.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Lower-case hexadecimal digits.
            pub fn to_hex(self) -> String {
                let mut out = String::new();
                write_hex(&self.0, &mut out);
                out
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::from_hex(text.as_bytes()).ok_or_else(|| IdError { text: text.chars().take(64).collect(), expected: $len * 2 })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.serialize_str(&self.to_hex()) } else { self.0.serialize(s) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    let text = String::deserialize(d)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; $len]>::deserialize(d).map(Self)
                }
            }
        }
    };
}

id!(TraceId, 16, "A trace id: 16 bytes, shown as 32 lower-case hexadecimal digits.");
id!(SpanId, 8, "A span id: 8 bytes, shown as 16 lower-case hexadecimal digits.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_both_ways() {
        let text = "4bf92f3577b34da6a3ce929d0e0e4736";
        let id: TraceId = text.parse().expect("a trace id");
        assert_eq!(id.to_string(), text);
        assert_eq!(text.to_uppercase().parse::<TraceId>().expect("upper case is accepted"), id);
        assert_eq!(serde_json_like(&id), text);
    }

    fn serde_json_like(id: &TraceId) -> String {
        id.to_hex()
    }

    #[test]
    fn bad_ids_are_named() {
        for bad in ["", "4bf9", "4bf92f3577b34da6a3ce929d0e0e473g", "4bf92f3577b34da6a3ce929d0e0e47360"] {
            let error = bad.parse::<TraceId>().expect_err(bad);
            assert_eq!(error.expected, 32);
        }
    }
}
