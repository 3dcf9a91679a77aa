//! The protobuf messages of remote read, and the frames of its stream.

use std::ops::Range;

use skopos_ingest::proto::{self, Message, ProtoError, Reader, bytes, varint};
use skopos_model::{Buckets, CounterReset, Labels, NativeHistogram};
use skopos_query::metrics::{MatchOp, Matcher, Series};

use super::chunk;

const READ_REQUEST: Message = Message { name: "ReadRequest", tags: &[bytes(1), bytes(2)] };
const QUERY: Message = Message { name: "Query", tags: &[varint(1), varint(2), bytes(3), bytes(4)] };
const MATCHER: Message = Message { name: "LabelMatcher", tags: &[varint(1), bytes(2), bytes(3)] };

/// `SAMPLES` and `STREAMED_XOR_CHUNKS` of the request.
const SAMPLES: u64 = 0;
const STREAMED_XOR_CHUNKS: u64 = 1;
/// XOR encoding of a chunk.
const CHUNK_XOR: u64 = 1;

/// How the answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    /// One message of samples.
    Samples,
    /// A stream of chunks; whether one message would do as well.
    Chunks { or_samples: bool },
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct ReadRequest {
    pub(super) queries: Vec<Query>,
    pub(super) accepted: Accepted,
}

/// Samples of matching series in a range, Unix milliseconds, both ends included.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) matchers: Vec<Matcher>,
}

impl ReadRequest {
    pub(super) fn decode(body: &[u8]) -> Result<Self, String> {
        let text = |e: ProtoError| e.to_string();
        let mut reader = Reader::new(body);
        let (mut queries, mut accepted) = (Vec::new(), Vec::new());
        while let Some(tag) = reader.tag().map_err(text)? {
            match tag {
                t if t == bytes(1) => queries.push(query(reader.message().map_err(text)?)?),
                // Enumerations come packed or one by one.
                t if t == varint(2) => accepted.push(reader.varint().map_err(text)?),
                t if t == bytes(2) => {
                    let mut packed = reader.message().map_err(text)?;
                    while !packed.at_end() {
                        accepted.push(packed.varint().map_err(text)?);
                    }
                }
                other => reader.skip(other, &READ_REQUEST).map_err(text)?,
            }
        }
        // The first one that is known, as Prometheus chooses.
        let accepted = match accepted.iter().find(|kind| matches!(**kind, SAMPLES | STREAMED_XOR_CHUNKS)) {
            Some(&STREAMED_XOR_CHUNKS) => Accepted::Chunks { or_samples: accepted.contains(&SAMPLES) },
            Some(_) => Accepted::Samples,
            None if accepted.is_empty() => Accepted::Samples,
            None => return Err(format!("none of the accepted response types {accepted:?} is known: SAMPLES (0) and STREAMED_XOR_CHUNKS (1) are")),
        };
        Ok(Self { queries, accepted })
    }
}

fn query(mut reader: Reader<'_>) -> Result<Query, String> {
    let text = |e: ProtoError| e.to_string();
    let mut query = Query { start: 0, end: 0, matchers: Vec::new() };
    while let Some(tag) = reader.tag().map_err(text)? {
        match tag {
            t if t == varint(1) => query.start = reader.varint().map_err(text)?.cast_signed(),
            t if t == varint(2) => query.end = reader.varint().map_err(text)?.cast_signed(),
            t if t == bytes(3) => query.matchers.push(matcher(reader.message().map_err(text)?)?),
            other => reader.skip(other, &QUERY).map_err(text)?,
        }
    }
    Ok(query)
}

fn matcher(mut reader: Reader<'_>) -> Result<Matcher, String> {
    let text = |e: ProtoError| e.to_string();
    let (mut kind, mut name, mut value) = (0, "", "");
    while let Some(tag) = reader.tag().map_err(text)? {
        match tag {
            t if t == varint(1) => kind = reader.varint().map_err(text)?,
            t if t == bytes(2) => name = reader.string().map_err(text)?,
            t if t == bytes(3) => value = reader.string().map_err(text)?,
            other => reader.skip(other, &MATCHER).map_err(text)?,
        }
    }
    let op = match kind {
        0 => MatchOp::Equal,
        1 => MatchOp::NotEqual,
        2 => MatchOp::Regex,
        3 => MatchOp::NotRegex,
        other => return Err(format!("matcher of type {other}: expected 0 to 3")),
    };
    Matcher::new(name, op, value)
}

/// Writes protobuf.
#[derive(Debug, Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn raw(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f | 0x80) as u8);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.raw(u64::from(varint(field)));
            self.raw(value);
        }
    }

    fn signed(&mut self, field: u32, value: i64) {
        self.number(field, ((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    fn double(&mut self, field: u32, value: f64) {
        if value.to_bits() != 0 {
            self.raw(u64::from(proto::fixed64(field)));
            self.0.extend(value.to_le_bytes());
        }
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.raw(u64::from(bytes(field)));
        self.raw(value.len() as u64);
        self.0.extend(value);
    }

    fn doubles(&mut self, field: u32, values: &[f64]) {
        if !values.is_empty() {
            self.raw(u64::from(bytes(field)));
            self.raw(values.len() as u64 * 8);
            values.iter().for_each(|v| self.0.extend(v.to_le_bytes()));
        }
    }

    fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn labels(&mut self, labels: &Labels) {
        for (name, value) in labels.iter() {
            self.message(1, |label| {
                label.bytes(1, name.as_bytes());
                label.bytes(2, value.as_bytes());
            });
        }
    }
}

/// A `ReadResponse`.
pub(super) fn samples(results: &[Vec<Series>]) -> Vec<u8> {
    let mut out = Writer::default();
    for series in results {
        out.message(1, |result| {
            for one in series {
                result.message(1, |time_series| {
                    time_series.labels(&one.labels);
                    for (time, value) in one.timestamps.iter().zip(&one.values) {
                        time_series.message(2, |sample| {
                            sample.double(1, *value);
                            sample.number(2, time.cast_unsigned());
                        });
                    }
                    for (time, histogram) in &one.histograms {
                        time_series.message(4, |message| write_histogram(message, *time, histogram));
                    }
                });
            }
        });
    }
    out.0
}

fn write_histogram(out: &mut Writer, time: i64, h: &NativeHistogram) {
    // Counts are floats here; a zero is written too, as it says which of the two kinds this is.
    for (field, value) in [(2, h.count), (7, h.zero_count)] {
        out.raw(u64::from(proto::fixed64(field)));
        out.0.extend(value.to_le_bytes());
    }
    out.double(3, h.sum);
    out.signed(4, i64::from(h.schema));
    out.double(5, h.zero_threshold);
    for (spans, counts, buckets) in [(8, 10, &h.negative), (11, 13, &h.positive)] {
        write_spans(out, spans, buckets);
        out.doubles(counts, &buckets.counts);
    }
    out.number(
        14,
        match h.counter_reset {
            CounterReset::Unknown => 0,
            CounterReset::Reset => 1,
            CounterReset::NotReset => 2,
            CounterReset::Gauge => 3,
        },
    );
    out.number(15, time.cast_unsigned());
    out.doubles(16, &h.custom_bounds);
}

/// Runs of neighbouring buckets, each with its distance from the one before.
fn write_spans(out: &mut Writer, field: u32, buckets: &Buckets) {
    let mut runs: Vec<(i32, u64)> = Vec::new();
    let mut next = 0;
    for index in &buckets.indexes {
        match runs.last_mut() {
            Some((_, length)) if *index == next => *length += 1,
            _ => runs.push((index - next, 1)),
        }
        next = index + 1;
    }
    for (offset, length) in runs {
        out.message(field, |span| {
            span.signed(1, i64::from(offset));
            span.number(2, length);
        });
    }
}

/// Frames of `ChunkedReadResponse`: of each its length, its checksum and itself.
pub(super) fn stream(results: &[Vec<Series>], frame_bytes_max: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, series) in results.iter().enumerate() {
        for one in series {
            let mut labels = Writer::default();
            labels.labels(&one.labels);
            let mut chunks = Writer::default();
            for range in ranges(one.timestamps.len()) {
                let times = &one.timestamps[range.clone()];
                let (Some(first), Some(last)) = (times.first(), times.last()) else { continue };
                let data = chunk::encode(times, &one.values[range]);
                if !chunks.0.is_empty() && labels.0.len() + chunks.0.len() + data.len() > frame_bytes_max {
                    frame(&mut out, &labels.0, &std::mem::take(&mut chunks.0), index);
                }
                chunks.message(2, |message| {
                    message.number(1, first.cast_unsigned());
                    message.number(2, last.cast_unsigned());
                    message.number(3, CHUNK_XOR);
                    message.bytes(4, &data);
                });
            }
            if !chunks.0.is_empty() {
                frame(&mut out, &labels.0, &chunks.0, index);
            }
        }
    }
    out
}

fn ranges(samples: usize) -> impl Iterator<Item = Range<usize>> {
    (0..samples).step_by(chunk::SAMPLES_MAX).map(move |from| from..(from + chunk::SAMPLES_MAX).min(samples))
}

fn frame(out: &mut Vec<u8>, labels: &[u8], chunks: &[u8], query: usize) {
    let mut series = Vec::with_capacity(labels.len() + chunks.len());
    series.extend(labels);
    series.extend(chunks);
    let mut message = Writer::default();
    message.bytes(1, &series);
    message.number(2, query as u64);
    let mut length = Writer::default();
    length.raw(message.0.len() as u64);
    out.extend(length.0);
    out.extend(crc32c(&message.0).to_be_bytes());
    out.extend(message.0);
}

/// CRC-32 with Castagnoli's polynomial.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0_u32; 256];
        let mut i = 0;
        while i < 256 {
            let mut value = i as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ 0x82f6_3b78 } else { value >> 1 };
                bit += 1;
            }
            table[i] = value;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc: u32, byte| crc >> 8 ^ TABLE[usize::from((crc as u8) ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn request(accepted: &[u8]) -> Vec<u8> {
        let mut out = Writer::default();
        out.message(1, |query| {
            query.number(1, 1_000);
            query.number(2, 2_000);
            for (kind, name, value) in [(0, "__name__", "up"), (3, "job", "a|b")] {
                query.message(3, |m| {
                    m.number(1, kind);
                    m.bytes(2, name.as_bytes());
                    m.bytes(3, value.as_bytes());
                });
            }
            query.message(4, |hints| hints.number(1, 15_000));
        });
        out.0.extend(accepted);
        out.0
    }

    #[test]
    fn requests() {
        let read = ReadRequest::decode(&request(&[])).unwrap();
        assert_eq!((read.accepted, read.queries.len()), (Accepted::Samples, 1));
        let query = &read.queries[0];
        assert_eq!((query.start, query.end), (1_000, 2_000));
        let matchers: Vec<_> = query.matchers.iter().map(|m| (m.name.as_str(), m.op, m.value.as_str())).collect();
        assert_eq!(matchers, [("__name__", MatchOp::Equal, "up"), ("job", MatchOp::NotRegex, "a|b")]);
        for (tail, expected) in [
            (&[0x12, 2, 1, 0][..], Accepted::Chunks { or_samples: true }),
            (&[0x10, 1], Accepted::Chunks { or_samples: false }),
            (&[0x10, 0, 0x10, 1], Accepted::Samples),
            (&[0x10, 9, 0x10, 1], Accepted::Chunks { or_samples: false }),
        ] {
            assert_eq!(ReadRequest::decode(&request(tail)).unwrap().accepted, expected, "{tail:?}");
        }
        assert!(ReadRequest::decode(&request(&[0x10, 9])).is_err());
        assert!(ReadRequest::decode(&[0x0a, 0xff]).is_err());
        // Cut or changed anywhere it is refused or read, never more.
        let whole = request(&[0x12, 2, 1, 0]);
        for place in 0..whole.len() {
            let _ = ReadRequest::decode(&whole[..place]);
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[place] = value;
                let _ = ReadRequest::decode(&changed);
            }
        }
    }

    #[test]
    fn frames_are_cut_and_checked() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283, "the checksum's own test value");
        let times: Vec<i64> = (0..500).map(|i| i * 15_000).collect();
        let values: Vec<f64> = (0..500).map(|i| f64::from(i) * 0.1).collect();
        let series = Series { labels: Arc::new(Labels::new([("__name__", "up")])), timestamps: times.into(), values, ..Series::default() };
        let stream = stream(&[Vec::new(), vec![series]], 2_000);
        let (mut rest, mut frames, mut chunks) = (stream.as_slice(), 0, 0);
        while !rest.is_empty() {
            let mut reader = Reader::new(rest);
            let length = usize::try_from(reader.varint().unwrap()).unwrap();
            let (checksum, more) = rest[reader.offset()..].split_at(4);
            let (message, more) = more.split_at(length);
            assert_eq!(checksum, crc32c(message).to_be_bytes());
            let mut reader = Reader::new(message);
            assert_eq!(reader.tag().unwrap(), Some(bytes(1)));
            let mut series = reader.message().unwrap();
            while let Some(tag) = series.tag().unwrap() {
                series.bytes().unwrap();
                chunks += usize::from(tag == bytes(2));
            }
            assert_eq!((reader.tag().unwrap(), reader.varint().unwrap()), (Some(varint(2)), 1), "the second query");
            frames += 1;
            rest = more;
        }
        assert!(frames > 1 && chunks == 5, "{frames} frames, {chunks} chunks");
    }

    #[test]
    fn spans_have_gaps() {
        let mut out = Writer::default();
        write_spans(&mut out, 11, &Buckets { indexes: vec![-3, -2, 4], counts: vec![1.0; 3] });
        // Offset -3, two buckets; five empty ones, then one.
        assert_eq!(out.0, [0x5a, 4, 0x08, 5, 0x10, 2, 0x5a, 4, 0x08, 10, 0x10, 1]);
    }
}
