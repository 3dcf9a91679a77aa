//! How a record looks on disk.
//!
//! ```text
//! 0  u32  length of what follows the checksum
//! 4  u32  CRC32C of what follows
//! 8  u8   kind: 1 record, 2 padding
//! 9  u8   signal      10 u8 protocol      11 u8 encoding
//! 12 u32  tenant      16 u32 configuration version
//! 20 u64  sequence    28 i64 received, Unix nanoseconds
//! 36 u32  length of context
//! 40      context, body
//! ```
//! All numbers are little-endian.

use bytes::Bytes;
use skopos_model::Signal;

use crate::record::{Encoding, Protocol, WalPayload};

/// Bytes before the context.
pub(crate) const HEADER_BYTES: usize = 40;

/// Longest record that is believed: request bodies are limited far below. Longer lengths are damage.
pub(crate) const RECORD_BYTES_MAX: usize = 512 << 20;

const KIND_RECORD: u8 = 1;
const KIND_PADDING: u8 = 2;

/// A signal's number in a record and in arrays by signal.
pub(crate) fn signal_index(signal: Signal) -> usize {
    match signal {
        Signal::Logs => 0,
        Signal::Traces => 1,
        Signal::Metrics => 2,
    }
}

/// All signals, in order of their numbers.
pub(crate) const SIGNALS: [Signal; 3] = [Signal::Logs, Signal::Traces, Signal::Metrics];

/// The header of a record; context and body follow it as they are, so that a body is never copied.
pub(crate) fn header(payload: &WalPayload, sequence: u64) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    let length = HEADER_BYTES - 8 + payload.context.len() + payload.body.len();
    out[0..4].copy_from_slice(&(length as u32).to_le_bytes());
    out[8] = KIND_RECORD;
    out[9] = signal_index(payload.signal) as u8;
    out[10] = payload.protocol as u8;
    out[11] = payload.encoding as u8;
    out[12..16].copy_from_slice(&payload.tenant.to_le_bytes());
    out[16..20].copy_from_slice(&payload.config_version.to_le_bytes());
    out[20..28].copy_from_slice(&sequence.to_le_bytes());
    out[28..36].copy_from_slice(&payload.received.to_le_bytes());
    out[36..40].copy_from_slice(&(payload.context.len() as u32).to_le_bytes());
    let checksum = crc32c::crc32c(&out[8..]);
    let checksum = crc32c::crc32c_append(checksum, payload.context.as_bytes());
    let checksum = crc32c::crc32c_append(checksum, &payload.body);
    out[4..8].copy_from_slice(&checksum.to_le_bytes());
    out
}

/// Bytes a record takes on disk.
pub(crate) fn size(payload: &WalPayload) -> usize {
    HEADER_BYTES + payload.context.len() + payload.body.len()
}

/// A record that carries nothing: shows that the disk takes `bytes` more.
pub(crate) fn padding(bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes.max(HEADER_BYTES)];
    let length = (out.len() - 8) as u32;
    out[0..4].copy_from_slice(&length.to_le_bytes());
    out[8] = KIND_PADDING;
    let checksum = crc32c::crc32c(&out[8..]);
    out[4..8].copy_from_slice(&checksum.to_le_bytes());
    out
}

/// What stands at a place of a segment.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A record.
    Record { sequence: u64, payload: WalPayload, size: usize },
    /// Nothing, `size` bytes long.
    Padding { size: usize },
    /// Bytes that are no record; `size` is what their length field claims, if that can be.
    Bad { reason: String, size: Option<usize> },
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Reads what begins at the start of `bytes`.
pub(crate) fn parse(bytes: &Bytes) -> Parsed {
    let bad = |reason: String, size| Parsed::Bad { reason, size };
    if bytes.len() < HEADER_BYTES {
        return bad(format!("{} bytes are less than a record's header", bytes.len()), None);
    }
    let length = u32_at(bytes, 0) as usize;
    let size = length + 8;
    if !(HEADER_BYTES..=RECORD_BYTES_MAX).contains(&size) {
        return bad(format!("a length of {length} cannot be"), None);
    }
    if size > bytes.len() {
        return bad(format!("{size} bytes were announced, {} are there", bytes.len()), None);
    }
    if crc32c::crc32c(&bytes[8..size]) != u32_at(bytes, 4) {
        return bad("checksum does not hold".to_owned(), Some(size));
    }
    if bytes[8] == KIND_PADDING {
        return Parsed::Padding { size };
    }
    let context_end = HEADER_BYTES + u32_at(bytes, 36) as usize;
    let signal = SIGNALS.get(usize::from(bytes[9])).copied();
    let encoding = match bytes[11] {
        0 => Some(Encoding::Identity),
        1 => Some(Encoding::Gzip),
        2 => Some(Encoding::Zstd),
        _ => None,
    };
    let (KIND_RECORD, Some(signal), Some(protocol), Some(encoding), true) =
        (bytes[8], signal, Protocol::from_number(bytes[10]), encoding, context_end <= size)
    else {
        return bad(format!("header {:?} is of no kind this version knows", &bytes[8..12]), Some(size));
    };
    let Ok(context) = std::str::from_utf8(&bytes[HEADER_BYTES..context_end]) else {
        return bad("context is not UTF-8".to_owned(), Some(size));
    };
    let payload = WalPayload {
        protocol,
        encoding,
        signal,
        received: u64_at(bytes, 28) as i64,
        tenant: u32_at(bytes, 12),
        config_version: u32_at(bytes, 16),
        context: context.to_owned(),
        body: bytes.slice(context_end..size),
    };
    Parsed::Record { sequence: u64_at(bytes, 20), payload, size }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payload(signal: usize, context: String, body: Vec<u8>, numbers: (i64, u32, u32)) -> WalPayload {
        WalPayload {
            protocol: Protocol::JsonLines,
            encoding: Encoding::Zstd,
            signal: SIGNALS[signal],
            received: numbers.0,
            tenant: numbers.1,
            config_version: numbers.2,
            context,
            body: body.into(),
        }
    }

    fn written(payload: &WalPayload, sequence: u64) -> Vec<u8> {
        let mut out = header(payload, sequence).to_vec();
        out.extend_from_slice(payload.context.as_bytes());
        out.extend_from_slice(&payload.body);
        out
    }

    proptest! {
        #[test]
        fn reads_what_was_written(signal in 0usize..3, context in ".{0,9}", body: Vec<u8>, numbers: (i64, u32, u32), sequence: u64) {
            let before = payload(signal, context, body, numbers);
            let mut bytes = written(&before, sequence);
            prop_assert_eq!(bytes.len(), size(&before));
            bytes.extend_from_slice(b"what follows");
            match parse(&bytes.into()) {
                Parsed::Record { sequence: s, payload: after, size: n } => {
                    prop_assert_eq!((s, n), (sequence, size(&before)));
                    prop_assert_eq!(format!("{before:?}"), format!("{after:?}"));
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn any_flipped_byte_is_noticed(body: Vec<u8>, at: prop::sample::Index, flip in 1u8..) {
            let mut bytes = written(&payload(1, "c".to_owned(), body, (1, 2, 3)), 4);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let is_bad = matches!(parse(&bytes.into()), Parsed::Bad { .. });
            prop_assert!(is_bad);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            parse(&bytes.into());
        }
    }

    #[test]
    fn padding_is_skipped() {
        assert!(matches!(parse(&padding(100).into()), Parsed::Padding { size: 100 }));
    }
}
