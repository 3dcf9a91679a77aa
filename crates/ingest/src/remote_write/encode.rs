//! Writing requests: for tests, generators and tools that speak to a receiver.

use std::collections::HashMap;

use skopos_model::{Buckets, CounterReset, Exemplar, Labels, MetricMetadata, NativeHistogram, TimeSeries};

use super::KINDS;
use crate::proto::{Writer, to_zigzag};

/// A 1.0 request body for these series: [`encode_protobuf`] in a snappy block.
pub fn encode(series: &[TimeSeries], metadata: &[MetricMetadata]) -> Vec<u8> {
    snappy(&encode_protobuf(series, metadata))
}

/// A 2.0 request body for these series: [`encode_v2_protobuf`] in a snappy block.
pub fn encode_v2(series: &[TimeSeries], metadata: &[MetricMetadata]) -> Vec<u8> {
    snappy(&encode_v2_protobuf(series, metadata))
}

fn snappy(request: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(request).expect("snappy takes up to 4 GiB")
}

/// A `prometheus.WriteRequest`, not compressed. Start timestamps have no place in it.
pub fn encode_protobuf(series: &[TimeSeries], metadata: &[MetricMetadata]) -> Vec<u8> {
    let mut out = Writer::default();
    for one in series {
        out.message(1, |out| {
            encode_labels(out, one.labels.iter());
            for (timestamp, value) in &one.samples {
                out.message(2, |out| {
                    out.double(1, *value);
                    out.varint(2, *timestamp as u64);
                });
            }
            for exemplar in &one.exemplars {
                out.message(3, |out| {
                    encode_labels(out, exemplar_labels(exemplar).iter());
                    out.double(2, exemplar.value);
                    out.varint(3, exemplar.timestamp as u64);
                });
            }
            for (timestamp, histogram) in &one.histograms {
                out.message(4, |out| encode_histogram(out, histogram, *timestamp, None));
            }
        });
    }
    for one in metadata {
        out.message(3, |out| {
            out.varint(1, kind_number(one));
            out.bytes(2, one.family.as_bytes());
            out.bytes(4, one.help.as_bytes());
            out.bytes(5, one.unit.as_bytes());
        });
    }
    out.into_bytes()
}

fn kind_number(metadata: &MetricMetadata) -> u64 {
    KINDS.iter().position(|kind| *kind == metadata.kind).unwrap_or(0) as u64
}

/// The exemplar's labels, its ids among them.
fn exemplar_labels(exemplar: &Exemplar) -> Labels {
    let ids =
        [("span_id", exemplar.span_id.to_hex(), exemplar.span_id.is_none()), ("trace_id", exemplar.trace_id.to_hex(), exemplar.trace_id.is_none())];
    let ids = ids.iter().filter(|(.., none)| !none).map(|(name, id, _)| (*name, id.as_str()));
    Labels::new(exemplar.labels.iter().chain(ids))
}

pub(super) fn encode_labels<'a>(out: &mut Writer, labels: impl Iterator<Item = (&'a str, &'a str)>) {
    for (name, value) in labels {
        out.message(1, |out| {
            out.bytes(1, name.as_bytes());
            out.bytes(2, value.as_bytes());
        });
    }
}

/// A float histogram: its counts need not be whole.
fn encode_histogram(out: &mut Writer, histogram: &NativeHistogram, timestamp: i64, start: Option<i64>) {
    out.double(2, histogram.count);
    out.double(3, histogram.sum);
    out.varint(4, to_zigzag(i64::from(histogram.schema)));
    out.double(5, histogram.zero_threshold);
    out.double(7, histogram.zero_count);
    encode_buckets(out, &histogram.negative, 8);
    encode_buckets(out, &histogram.positive, 11);
    out.varint(
        14,
        match histogram.counter_reset {
            CounterReset::Unknown => 0,
            CounterReset::Reset => 1,
            CounterReset::NotReset => 2,
            CounterReset::Gauge => 3,
        },
    );
    out.varint(15, timestamp as u64);
    if !histogram.custom_bounds.is_empty() {
        out.bytes(16, &histogram.custom_bounds.iter().flat_map(|bound| bound.to_le_bytes()).collect::<Vec<u8>>());
    }
    if let Some(start) = start {
        out.varint(17, start as u64);
    }
}

/// Spans in field `field`, counts two fields on.
fn encode_buckets(out: &mut Writer, buckets: &Buckets, field: u32) {
    let mut spans: Vec<(i32, u32)> = Vec::new();
    let mut next = 0;
    for &index in &buckets.indexes {
        match spans.last_mut() {
            Some((_, length)) if index == next => *length += 1,
            _ => spans.push((index - next, 1)),
        }
        next = index + 1;
    }
    for (offset, length) in spans {
        out.message(field, |out| {
            out.varint(1, to_zigzag(i64::from(offset)));
            out.varint(2, u64::from(length));
        });
    }
    if !buckets.is_empty() {
        out.bytes(field + 2, &buckets.counts.iter().flat_map(|count| count.to_le_bytes()).collect::<Vec<u8>>());
    }
}

/// The texts of a 2.0 request, each once.
#[derive(Default)]
struct Symbols {
    places: HashMap<String, u64>,
    all: Vec<String>,
}

impl Symbols {
    fn place(&mut self, text: &str) -> u64 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = self.all.len() as u64;
        self.places.insert(text.to_owned(), place);
        self.all.push(text.to_owned());
        place
    }

    fn labels(&mut self, labels: &Labels) -> Vec<u8> {
        let mut refs = Writer::default();
        for (name, value) in labels.iter() {
            refs.bare_varint(self.place(name));
            refs.bare_varint(self.place(value));
        }
        refs.into_bytes()
    }
}

/// An `io.prometheus.write.v2.Request`, not compressed. Metadata goes with each series of its family.
pub fn encode_v2_protobuf(series: &[TimeSeries], metadata: &[MetricMetadata]) -> Vec<u8> {
    let mut symbols = Symbols::default();
    symbols.place("");
    let mut all = Writer::default();
    for one in series {
        let start = |timestamp: i64| one.starts.iter().rev().find(|(from, _)| *from <= timestamp).map(|(_, start)| *start);
        all.message(5, |out| {
            out.bytes(1, &symbols.labels(&one.labels));
            for (timestamp, value) in &one.samples {
                out.message(2, |out| {
                    out.double(1, *value);
                    out.varint(2, *timestamp as u64);
                    if let Some(start) = start(*timestamp) {
                        out.varint(3, start as u64);
                    }
                });
            }
            for (timestamp, histogram) in &one.histograms {
                out.message(3, |out| encode_histogram(out, histogram, *timestamp, start(*timestamp)));
            }
            for exemplar in &one.exemplars {
                let refs = symbols.labels(&exemplar_labels(exemplar));
                out.message(4, |out| {
                    out.bytes(1, &refs);
                    out.double(2, exemplar.value);
                    out.varint(3, exemplar.timestamp as u64);
                });
            }
            let name = one.labels.name();
            if let Some(metadata) = metadata.iter().find(|m| *m.family == *super::v2::family(name, m.kind)) {
                let (help, unit) = (symbols.place(&metadata.help), symbols.place(&metadata.unit));
                out.message(5, |out| {
                    out.varint(1, kind_number(metadata));
                    out.varint(3, help);
                    out.varint(4, unit);
                });
            }
        });
    }
    let mut out = Writer::default();
    symbols.all.iter().for_each(|text| out.bytes(4, text.as_bytes()));
    let mut request = out.into_bytes();
    request.extend(all.into_bytes());
    request
}
