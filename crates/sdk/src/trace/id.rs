//! Trace and span ids, and what of them crosses a process border.

use std::fmt;
use std::sync::Arc;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $int:ty, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// A random id; never the invalid one.
            pub fn random() -> Self {
                loop {
                    let id = Self((fastrand::u128(1..) as $int).to_be_bytes());
                    if id.is_valid() {
                        return id;
                    }
                }
            }

            /// The id with these bytes.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// The bytes as they go on the wire.
            pub const fn to_bytes(self) -> [u8; $bytes] {
                self.0
            }

            /// Whether any bit is set; the all-zero id means "none".
            pub fn is_valid(self) -> bool {
                self.0 != [0; $bytes]
            }

            /// Reads lower-case hexadecimal text of full length, as W3C Trace Context demands.
            pub fn from_hex(text: &str) -> Option<Self> {
                let text = text.as_bytes();
                if text.len() != $bytes * 2 {
                    return None;
                }
                let mut bytes = [0; $bytes];
                for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
                    *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
                }
                Some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; $bytes * 2];
                for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
                    pair[0] = HEX[usize::from(byte >> 4)];
                    pair[1] = HEX[usize::from(byte & 15)];
                }
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

id!(
    /// Identifies a trace: 16 bytes, written as 32 hexadecimal digits.
    TraceId, u128, 16
);
id!(
    /// Identifies a span within its trace: 8 bytes, written as 16 hexadecimal digits.
    SpanId, u64, 8
);

/// The part of a span that is propagated to its children, in this process or another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpanContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that children name as their parent.
    pub span_id: SpanId,
    /// Whether the trace is recorded.
    pub sampled: bool,
    /// Whether the span belongs to another process.
    pub remote: bool,
    /// Vendor data of W3C `tracestate`, carried on unchanged.
    pub trace_state: Option<Arc<str>>,
}

impl SpanContext {
    /// Whether both ids are set.
    pub fn is_valid(&self) -> bool {
        self.trace_id.is_valid() && self.span_id.is_valid()
    }

    /// The OTLP flags word: W3C flags, and whether the parent is remote.
    pub(crate) fn flags(&self) -> u32 {
        const HAS_IS_REMOTE: u32 = 0x100;
        const IS_REMOTE: u32 = 0x200;
        u32::from(self.sampled) | HAS_IS_REMOTE | if self.remote { IS_REMOTE } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_refuses_what_is_not_an_id() {
        let id = TraceId::random();
        assert_eq!(TraceId::from_hex(&id.to_string()), Some(id));
        let id = SpanId::random();
        assert_eq!(SpanId::from_hex(&id.to_string()), Some(id));
        for bad in ["", "00f067aa0ba902b", "00f067aa0ba902b70", "00F067AA0BA902B7", "00f067aa0ba902bg"] {
            assert_eq!(SpanId::from_hex(bad), None, "{bad:?}");
        }
    }
}
