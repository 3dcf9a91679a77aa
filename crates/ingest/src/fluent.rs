//! Fluent's Forward protocol, version 1: what Fluentd, Fluent Bit and their loggers send over TCP.
//!
//! A message is a MessagePack array: tag and one record, tag and entries, or tag and packed (maybe compressed) entries.
//! Records are read as JSON lines are; the tag becomes the resource attribute `fluent.tag`, and its first part the
//! service of records that name none.

use std::borrow::Cow;

use skopos_model::{Decoded, LogBatch};

use crate::compression::Encoding;
use crate::context::Context;
use crate::error::IngestError;
use crate::json_lines::{Builder, Input, Parameters, from_float};
use crate::msgpack::{DEPTH_MAX, Head, Problem, Reader, event_time};
use crate::otlp::value::cut;
use crate::rows::text;

/// What a message asks for besides being stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// To be sent back once the message is stored.
    pub chunk: Option<String>,
}

/// Length of the message `bytes` begin with and its options; `None` when it goes on after them.
///
/// # Errors
/// When they begin with none: the connection cannot be read any further.
pub fn frame(bytes: &[u8]) -> Result<Option<(usize, Options)>, IngestError> {
    let mut reader = Reader::new(bytes);
    match message(&mut reader) {
        Ok(message) => Ok(Some((reader.at, message.options))),
        Err(Problem::Incomplete) => Ok(None),
        Err(Problem::Malformed(at, expected)) => Err(malformed(at, expected)),
    }
}

fn malformed(at: usize, expected: &str) -> IngestError {
    IngestError::Text { format: "Forward message", line: 1, reason: format!("at byte {at}: expected {expected}") }
}

/// A message, its records unread.
struct Message<'a> {
    tag: &'a [u8],
    records: Records<'a>,
    options: Options,
    compressed: bool,
}

enum Records<'a> {
    /// Position of the time, which the record follows.
    One(usize),
    /// Position of the first entry, and how many there are.
    Entries(usize, usize),
    Packed(&'a [u8]),
    /// A message without any: `nil`, a heartbeat.
    None,
}

fn message<'a>(reader: &mut Reader<'a>) -> Result<Message<'a>, Problem> {
    let at = reader.at;
    let parts = match reader.head()? {
        Head::Nil => return Ok(Message { tag: &[], records: Records::None, options: Options::default(), compressed: false }),
        Head::Array(parts @ 2..=4) => parts,
        _ => return Err(Problem::Malformed(at, "an array of tag, entries and options")),
    };
    let at = reader.at;
    let Head::Bytes(tag, _) = reader.head()? else { return Err(Problem::Malformed(at, "a text as tag")) };
    let at = reader.at;
    let (records, used) = match reader.head()? {
        Head::Array(count) => {
            let first = reader.at;
            for _ in 0..count {
                reader.skip()?;
            }
            (Records::Entries(first, count), 2)
        }
        Head::Bytes(packed, _) => (Records::Packed(packed), 2),
        Head::Unsigned(_) | Head::Signed(_) | Head::Double(_) | Head::Extension(..) | Head::Nil if parts >= 3 => {
            reader.skip()?;
            (Records::One(at), 3)
        }
        _ => return Err(Problem::Malformed(at, "entries, or a time and a record")),
    };
    let mut options = Options::default();
    let mut compressed = false;
    for _ in used..parts {
        let at = reader.at;
        match reader.head()? {
            Head::Map(count) => {
                for _ in 0..count {
                    let at = reader.at;
                    let Head::Bytes(key, _) = reader.head()? else { return Err(Problem::Malformed(at, "a text as option")) };
                    let at = reader.at;
                    let value = reader.head()?;
                    match (key, value) {
                        (b"chunk", Head::Bytes(chunk, _)) => options.chunk = Some(String::from_utf8_lossy(chunk).into_owned()),
                        (b"compressed", Head::Bytes(name, _)) => compressed = name == b"gzip",
                        _ => {
                            reader.at = at;
                            reader.skip()?;
                        }
                    }
                }
            }
            Head::Nil => {}
            _ => return Err(Problem::Malformed(at, "options")),
        }
    }
    Ok(Message { tag, records, options, compressed })
}

/// Decodes messages one after another.
///
/// # Errors
/// When something is no message.
pub fn decode(body: &[u8], ctx: &Context<'_>) -> Result<Decoded<LogBatch>, IngestError> {
    let mut builder = Builder::new(ctx);
    let mut reader = Reader::new(body);
    let mut json = String::new();
    while !reader.at_end() {
        let message = message(&mut reader).map_err(problem)?;
        let mut changed = std::mem::take(&mut builder.changed);
        let tag = text(message.tag, &mut changed);
        builder.changed = changed;
        let tag = cut(&tag, ctx.limits.attribute_value_bytes_max);
        builder.set_origin(&Parameters::of([("fluent.tag", tag), ("service.name", tag.split('.').next().unwrap_or(""))]));
        match message.records {
            Records::None => {}
            Records::One(at) => entry(&mut reader.from(at), &mut json, &mut builder)?,
            Records::Entries(first, count) => {
                let mut entries = reader.from(first);
                for _ in 0..count {
                    pair(&mut entries, &mut json, &mut builder)?;
                }
            }
            Records::Packed(packed) => {
                let encoding = if message.compressed { Encoding::Gzip } else { Encoding::Identity };
                let plain: Cow<'_, [u8]> = encoding.decompress(packed, ctx.limits.decompressed_bytes_max)?;
                let mut entries = Reader::new(&plain);
                while !entries.at_end() {
                    pair(&mut entries, &mut json, &mut builder)?;
                }
            }
        }
    }
    Ok(builder.finish())
}

fn problem(problem: Problem) -> IngestError {
    match problem {
        Problem::Incomplete => IngestError::Text { format: "Forward message", line: 1, reason: "it ends early".to_owned() },
        Problem::Malformed(at, expected) => malformed(at, expected),
    }
}

/// An array of time and record.
fn pair(reader: &mut Reader<'_>, json: &mut String, builder: &mut Builder<'_>) -> Result<(), IngestError> {
    let start = reader.at;
    match reader.head().map_err(problem)? {
        Head::Array(2) => entry(reader, json, builder),
        _ => {
            reader.at = start;
            reader.skip().map_err(problem)?;
            Decoded::<()>::reject(&mut builder.rejected, "malformed_entry", 1, || format!("at byte {start}: expected an array of time and record"));
            Ok(())
        }
    }
}

/// A time and the record after it.
fn entry(reader: &mut Reader<'_>, json: &mut String, builder: &mut Builder<'_>) -> Result<(), IngestError> {
    let at = reader.at;
    let time = match reader.head().map_err(problem)? {
        Head::Unsigned(seconds) => i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1_000_000_000)),
        Head::Double(seconds) => from_float(seconds),
        Head::Extension(0, bytes) if bytes.len() == 8 => {
            let (seconds, nanos) = event_time(bytes);
            Some(i64::from(seconds) * 1_000_000_000 + i64::from(nanos))
        }
        // Fluent Bit: the time, and metadata beside it.
        Head::Array(2) => {
            let time = match reader.head().map_err(problem)? {
                Head::Extension(0, bytes) if bytes.len() == 8 => {
                    let (seconds, nanos) = event_time(bytes);
                    Some(i64::from(seconds) * 1_000_000_000 + i64::from(nanos))
                }
                Head::Unsigned(seconds) => i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1_000_000_000)),
                Head::Array(_) | Head::Map(_) => return Err(malformed(at, "a time")),
                _ => None,
            };
            reader.skip().map_err(problem)?;
            time
        }
        Head::Array(_) | Head::Map(_) => return Err(malformed(at, "a time")),
        _ => None,
    };
    json.clear();
    let start = reader.at;
    match reader.json(DEPTH_MAX, json) {
        Ok(()) => builder.row(&Input { line: json.as_bytes(), more: b"", time }),
        Err(Problem::Incomplete) => return Err(problem(Problem::Incomplete)),
        Err(Problem::Malformed(at, expected)) => {
            reader.at = start;
            reader.skip().map_err(problem)?;
            Decoded::<()>::reject(&mut builder.rejected, "malformed_entry", 1, || format!("at byte {at}: expected {expected}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Cache;
    use skopos_model::IngestLimits;
    use std::io::Write as _;

    const RECORD: &[u8] = &[0x82, 0xa3, b'l', b'o', b'g', 0xa2, b'h', b'i', 0xa1, b'n', 0x07];

    fn check(body: &[u8], expected: &[(&str, &str, i64)]) -> Decoded<LogBatch> {
        let decoded = decode(body, &Context::new(&IngestLimits::default(), 5, &Cache::default())).expect("a message");
        let batch = &decoded.batch;
        let got: Vec<(&str, &str, i64)> =
            (0..batch.len()).map(|i| (&*batch.resources[batch.resource[i] as usize].service_name, batch.body.get(i), batch.time[i])).collect();
        assert_eq!(got, expected);
        decoded
    }

    #[test]
    fn the_modes() {
        let seconds = 1_000_000_000;
        let one = [&[0x93, 0xa5][..], b"app.x", &[0x05], RECORD].concat();
        check(&one, &[("app", "hi", 5 * seconds)]);
        let entry = [&[0x92, 0xd7, 0, 0, 0, 0, 6, 0, 0, 0, 1][..], RECORD].concat();
        let forward = [&[0x92, 0xa1, b't', 0x92][..], &entry, &entry].concat();
        check(&forward, &[("t", "hi", 6 * seconds + 1), ("t", "hi", 6 * seconds + 1)]);
        let packed = [&[0x92, 0xa1, b't', 0xc4, entry.len() as u8][..], &entry].concat();
        check(&packed, &[("t", "hi", 6 * seconds + 1)]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&entry.repeat(3)).expect("to memory");
        let gzip = gzip.finish().expect("to memory");
        let options = [&[0x82, 0xaa][..], b"compressed", &[0xa4], b"gzip", &[0xa5], b"chunk", &[0xa2], b"c1"].concat();
        let compressed = [&[0x93, 0xa1, b't', 0xc4, gzip.len() as u8][..], &gzip, &options].concat();
        check(&compressed, &[("t", "hi", 6 * seconds + 1); 3]);
        assert_eq!(frame(&compressed), Ok(Some((compressed.len(), Options { chunk: Some("c1".to_owned()) }))));
        // Fluent Bit 2 puts metadata beside the time.
        let with_metadata = [&[0x92, 0xa1, b't', 0x91, 0x92, 0x92, 0xd7, 0, 0, 0, 0, 6, 0, 0, 0, 1, 0x80][..], RECORD].concat();
        check(&with_metadata, &[("t", "hi", 6 * seconds + 1)]);
        let all = [one, forward, vec![0xc0], packed].concat();
        assert_eq!(decode(&all, &Context::new(&IngestLimits::default(), 5, &Cache::default())).expect("messages").batch.len(), 4);
        for short in 0..compressed.len() {
            assert_eq!(frame(&compressed[..short]), Ok(None));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        assert!(frame(b"GET / HTTP/1.1").is_err());
        assert!(frame(&[0x92, 0x01, 0x01]).is_err());
        // An entry that is no record does not take the others with it.
        let odd = [&[0x92, 0xa1, b't', 0x92, 0x07, 0x92, 0x05][..], RECORD].concat();
        let decoded = check(&odd, &[("t", "hi", 5_000_000_000)]);
        assert_eq!((decoded.rejected[0].reason, decoded.rejected[0].count), ("malformed_entry", 1));
    }
}
