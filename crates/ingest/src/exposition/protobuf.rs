//! Prometheus' protobuf exposition: messages `io.prometheus.client.MetricFamily`, each behind its length as a varint.

use skopos_model::{CounterReset, Decoded, Exemplar, MetricKind};

use super::{Builder, Sampled, Value, open_metrics_float};
use crate::histogram::WireHistogram;
use crate::proto::{Message, ProtoError, Reader, bytes, fixed64, varint, zigzag};
use crate::remote_write::exemplar_of_labels;

const FAMILY: Message = Message { name: "MetricFamily", tags: &[bytes(1), bytes(2), varint(3), bytes(4), bytes(5)] };
const METRIC: Message = Message { name: "Metric", tags: &[bytes(1), bytes(2), bytes(3), bytes(4), bytes(5), varint(6), bytes(7)] };
const LABEL: Message = Message { name: "LabelPair", tags: &[bytes(1), bytes(2)] };
const NUMBER: Message = Message { name: "Counter", tags: &[fixed64(1), bytes(2), bytes(3)] };
const SUMMARY: Message = Message { name: "Summary", tags: &[varint(1), fixed64(2), bytes(3), bytes(4)] };
const QUANTILE: Message = Message { name: "Quantile", tags: &[fixed64(1), fixed64(2)] };
const BUCKET: Message = Message { name: "Bucket", tags: &[varint(1), fixed64(2), bytes(3), fixed64(4)] };
const EXEMPLAR: Message = Message { name: "Exemplar", tags: &[bytes(1), fixed64(2), bytes(3)] };
const TIMESTAMP: Message = Message { name: "Timestamp", tags: &[varint(1), varint(2)] };
const HISTOGRAM: Message = Message {
    name: "Histogram",
    tags: &[
        varint(1),
        fixed64(2),
        bytes(3),
        fixed64(4),
        varint(5),
        fixed64(6),
        varint(7),
        fixed64(8),
        bytes(9),
        bytes(10),
        varint(10),
        bytes(11),
        fixed64(11),
        bytes(12),
        bytes(13),
        varint(13),
        bytes(14),
        fixed64(14),
        bytes(15),
        bytes(16),
    ],
};

const NAME: u32 = bytes(1);
const LABELS: u32 = bytes(1);

pub(super) fn read(body: &[u8], builder: &mut Builder<'_>) -> Result<(), ProtoError> {
    let mut all = Reader::new(body);
    while !all.at_end() {
        let family = all.message()?;
        read_family(family, builder)?;
    }
    Ok(())
}

fn read_family(mut reader: Reader<'_>, builder: &mut Builder<'_>) -> Result<(), ProtoError> {
    const HELP: u32 = bytes(2);
    const KIND: u32 = varint(3);
    const METRICS: u32 = bytes(4);
    const UNIT: u32 = bytes(5);
    let whole = reader;
    let (mut name, mut help, mut unit, mut kind) = ("", "", "", 0);
    while let Some(tag) = reader.tag()? {
        match tag {
            NAME => name = reader.string()?,
            HELP => help = reader.string()?,
            UNIT => unit = reader.string()?,
            KIND => kind = reader.varint()?,
            _ => reader.skip(tag, &FAMILY)?,
        }
    }
    let kind = match kind {
        0 => MetricKind::Counter,
        1 => MetricKind::Gauge,
        2 => MetricKind::Summary,
        4 => MetricKind::Histogram,
        5 => MetricKind::GaugeHistogram,
        _ => MetricKind::Unknown,
    };
    let metadata = builder.family(name);
    (metadata.kind, metadata.help, metadata.unit) = (kind, help.into(), unit.into());
    let mut reader = whole;
    while let Some(tag) = reader.tag()? {
        if tag == METRICS {
            Metric::read(reader.message()?, builder.options.scrape_time)?.add(name, kind, builder)?;
        } else {
            reader.skip(tag, &FAMILY)?;
        }
    }
    Ok(())
}

/// One metric of a family, its value still to be read.
struct Metric<'a> {
    at: usize,
    labels: Vec<(&'a str, &'a str)>,
    /// Field number and message of its value.
    value: Option<(u32, Reader<'a>)>,
    /// Unix milliseconds.
    timestamp: Option<i64>,
    scrape_time: i64,
}

impl<'a> Metric<'a> {
    fn read(mut reader: Reader<'a>, scrape_time: i64) -> Result<Self, ProtoError> {
        const TIME: u32 = varint(6);
        let mut metric = Self { at: reader.offset(), labels: Vec::new(), value: None, timestamp: None, scrape_time };
        while let Some(tag) = reader.tag()? {
            match tag {
                LABELS => metric.labels.push(label(reader.message()?)?),
                TIME => metric.timestamp = Some(reader.varint()? as i64),
                _ if tag & 7 == 2 && matches!(tag >> 3, 2..=5 | 7) => metric.value = Some((tag >> 3, reader.message()?)),
                _ => reader.skip(tag, &METRIC)?,
            }
        }
        Ok(metric)
    }

    fn add(&self, name: &str, kind: MetricKind, builder: &mut Builder<'_>) -> Result<(), ProtoError> {
        match self.value {
            Some((4, summary)) => self.summary(summary, name, builder),
            Some((7, histogram)) => self.histogram(histogram, name, kind, builder),
            Some((_, number)) => self.number(number, name, builder),
            None => Ok(()),
        }
    }

    fn time(&self, builder: &Builder<'_>) -> i64 {
        self.timestamp.filter(|_| builder.options.honor_timestamps).unwrap_or(self.scrape_time)
    }

    /// Adds one float of this metric: the name with an ending, and perhaps one more label.
    fn push(
        &self,
        builder: &mut Builder<'_>,
        name: (&str, &str),
        extra: Option<(&str, f64)>,
        value: f64,
        start: Option<i64>,
        exemplars: Vec<Exemplar>,
    ) {
        let extra = extra.map(|(label, bound)| (label, open_metrics_float(bound)));
        let full = format!("{}{}", name.0, name.1);
        let labels = self.labels.iter().copied().chain(extra.iter().map(|(label, bound)| (*label, bound.as_str())));
        let sampled = Sampled { timestamp: self.time(builder), value: Value::Float(value), start, exemplars };
        builder.add(&full, labels, self.at, sampled);
    }

    /// A counter, gauge or untyped value: they share their fields.
    fn number(&self, mut reader: Reader<'_>, name: &str, builder: &mut Builder<'_>) -> Result<(), ProtoError> {
        const VALUE: u32 = fixed64(1);
        const ONE_EXEMPLAR: u32 = bytes(2);
        const START: u32 = bytes(3);
        let (mut value, mut start, mut exemplars) = (0.0, None, Vec::new());
        while let Some(tag) = reader.tag()? {
            match tag {
                VALUE => value = reader.double()?,
                ONE_EXEMPLAR => exemplars.push(exemplar(reader.message()?, self.time(builder))?),
                START => start = Some(timestamp(reader.message()?)?),
                _ => reader.skip(tag, &NUMBER)?,
            }
        }
        self.push(builder, (name, ""), None, value, start, exemplars);
        Ok(())
    }

    fn summary(&self, mut reader: Reader<'_>, name: &str, builder: &mut Builder<'_>) -> Result<(), ProtoError> {
        const COUNT: u32 = varint(1);
        const SUM: u32 = fixed64(2);
        const QUANTILES: u32 = bytes(3);
        const START: u32 = bytes(4);
        let (mut count, mut sum, mut start, mut quantiles) = (0, 0.0, None, Vec::new());
        while let Some(tag) = reader.tag()? {
            match tag {
                COUNT => count = reader.varint()?,
                SUM => sum = reader.double()?,
                QUANTILES => quantiles.push(quantile(reader.message()?)?),
                START => start = Some(timestamp(reader.message()?)?),
                _ => reader.skip(tag, &SUMMARY)?,
            }
        }
        for (quantile, value) in quantiles {
            self.push(builder, (name, ""), Some(("quantile", quantile)), value, None, Vec::new());
        }
        self.push(builder, (name, "_sum"), None, sum, start, Vec::new());
        self.push(builder, (name, "_count"), None, count as f64, start, Vec::new());
        Ok(())
    }

    fn histogram(&self, reader: Reader<'_>, name: &str, kind: MetricKind, builder: &mut Builder<'_>) -> Result<(), ProtoError> {
        let mut parts = HistogramParts::read(reader, self.time(builder))?;
        let native = parts.is_native() && builder.options.native_histograms;
        if !native || builder.options.classic_histograms {
            let count = if parts.wire.float { parts.wire.count } else { parts.wire.count_int as f64 };
            let mut infinite = false;
            for bucket in &mut parts.buckets {
                infinite |= bucket.bound == f64::INFINITY;
                let exemplars = bucket.exemplar.take().into_iter().collect();
                self.push(builder, (name, "_bucket"), Some(("le", bucket.bound)), bucket.count, parts.start, exemplars);
            }
            // The last bucket is the count, and may be left out.
            if !infinite {
                self.push(builder, (name, "_bucket"), Some(("le", f64::INFINITY)), count, parts.start, Vec::new());
            }
            self.push(builder, (name, "_sum"), None, parts.wire.sum, parts.start, Vec::new());
            self.push(builder, (name, "_count"), None, count, parts.start, Vec::new());
        }
        if native {
            if kind == MetricKind::GaugeHistogram {
                parts.wire.reset = CounterReset::Gauge;
            }
            match parts.wire.build() {
                Ok(built) => {
                    let mut exemplars = parts.exemplars;
                    if exemplars.is_empty() {
                        exemplars.extend(parts.buckets.into_iter().filter_map(|bucket| bucket.exemplar));
                    }
                    let sampled = Sampled { timestamp: self.time(builder), value: Value::Histogram(built), start: parts.start, exemplars };
                    builder.add(name, self.labels.iter().copied(), self.at, sampled);
                }
                Err(reason) => Decoded::<()>::reject(&mut builder.rejected, "invalid_histogram", 1, || {
                    format!("native histogram {name:?} at byte {}: {reason}", self.at)
                }),
            }
        }
        Ok(())
    }
}

struct ClassicBucket {
    bound: f64,
    count: f64,
    exemplar: Option<Exemplar>,
}

/// A histogram's fields: both kinds of buckets.
#[derive(Default)]
struct HistogramParts {
    wire: WireHistogram,
    buckets: Vec<ClassicBucket>,
    exemplars: Vec<Exemplar>,
    start: Option<i64>,
}

impl HistogramParts {
    fn read(mut reader: Reader<'_>, time: i64) -> Result<Self, ProtoError> {
        const COUNT: u32 = varint(1);
        const SUM: u32 = fixed64(2);
        const BUCKETS: u32 = bytes(3);
        const COUNT_FLOAT: u32 = fixed64(4);
        const SCHEMA: u32 = varint(5);
        const ZERO_THRESHOLD: u32 = fixed64(6);
        const ZERO_COUNT: u32 = varint(7);
        const ZERO_COUNT_FLOAT: u32 = fixed64(8);
        const NEGATIVE_SPANS: u32 = bytes(9);
        const POSITIVE_SPANS: u32 = bytes(12);
        const START: u32 = bytes(15);
        const EXEMPLARS: u32 = bytes(16);
        let mut parts = Self::default();
        while let Some(tag) = reader.tag()? {
            let wire = &mut parts.wire;
            match tag {
                COUNT => wire.count_int = reader.varint()?,
                COUNT_FLOAT => {
                    wire.count = reader.double()?;
                    wire.float |= wire.count > 0.0;
                }
                SUM => wire.sum = reader.double()?,
                BUCKETS => parts.buckets.push(bucket(reader.message()?, time)?),
                SCHEMA => wire.schema = zigzag(reader.varint()?) as i32,
                ZERO_THRESHOLD => wire.zero_threshold = reader.double()?,
                ZERO_COUNT => wire.zero_count_int = reader.varint()?,
                ZERO_COUNT_FLOAT => wire.zero_count = reader.double()?,
                NEGATIVE_SPANS => wire.negative.read_span(reader.message()?)?,
                POSITIVE_SPANS => wire.positive.read_span(reader.message()?)?,
                _ if matches!(tag >> 3, 10 | 13) && matches!(tag & 7, 0 | 2) => {
                    let side = if tag >> 3 == 10 { &mut wire.negative } else { &mut wire.positive };
                    reader.varints(tag, |delta| side.deltas.push(zigzag(delta)))?;
                }
                _ if matches!(tag >> 3, 11 | 14) && matches!(tag & 7, 1 | 2) => {
                    let side = if tag >> 3 == 11 { &mut wire.negative } else { &mut wire.positive };
                    reader.doubles(tag, &mut side.counts)?;
                }
                START => parts.start = Some(timestamp(reader.message()?)?),
                EXEMPLARS => parts.exemplars.push(exemplar(reader.message()?, time)?),
                _ => reader.skip(tag, &HISTOGRAM)?,
            }
        }
        Ok(parts)
    }

    /// A native histogram without observations has a span or a zero threshold to say that it is one.
    fn is_native(&self) -> bool {
        let wire = &self.wire;
        !wire.positive.spans.is_empty()
            || !wire.negative.spans.is_empty()
            || wire.zero_threshold > 0.0
            || wire.zero_count_int > 0
            || wire.zero_count > 0.0
    }
}

fn label<'a>(mut reader: Reader<'a>) -> Result<(&'a str, &'a str), ProtoError> {
    const VALUE: u32 = bytes(2);
    let (mut name, mut value) = ("", "");
    while let Some(tag) = reader.tag()? {
        match tag {
            NAME => name = reader.string()?,
            VALUE => value = reader.string()?,
            _ => reader.skip(tag, &LABEL)?,
        }
    }
    Ok((name, value))
}

fn quantile(mut reader: Reader<'_>) -> Result<(f64, f64), ProtoError> {
    const AT: u32 = fixed64(1);
    const VALUE: u32 = fixed64(2);
    let (mut at, mut value) = (0.0, 0.0);
    while let Some(tag) = reader.tag()? {
        match tag {
            AT => at = reader.double()?,
            VALUE => value = reader.double()?,
            _ => reader.skip(tag, &QUANTILE)?,
        }
    }
    Ok((at, value))
}

fn bucket(mut reader: Reader<'_>, time: i64) -> Result<ClassicBucket, ProtoError> {
    const COUNT: u32 = varint(1);
    const BOUND: u32 = fixed64(2);
    const ONE_EXEMPLAR: u32 = bytes(3);
    const COUNT_FLOAT: u32 = fixed64(4);
    let mut bucket = ClassicBucket { bound: 0.0, count: 0.0, exemplar: None };
    while let Some(tag) = reader.tag()? {
        match tag {
            COUNT => bucket.count = reader.varint()? as f64,
            COUNT_FLOAT => bucket.count = reader.double()?,
            BOUND => bucket.bound = reader.double()?,
            ONE_EXEMPLAR => bucket.exemplar = Some(exemplar(reader.message()?, time)?),
            _ => reader.skip(tag, &BUCKET)?,
        }
    }
    Ok(bucket)
}

/// An exemplar; `time` is that of one that states none.
fn exemplar(mut reader: Reader<'_>, time: i64) -> Result<Exemplar, ProtoError> {
    const VALUE: u32 = fixed64(2);
    const TIME: u32 = bytes(3);
    let (mut labels, mut value, mut at) = (Vec::new(), 0.0, time);
    while let Some(tag) = reader.tag()? {
        match tag {
            LABELS => labels.push(label(reader.message()?)?),
            VALUE => value = reader.double()?,
            TIME => at = timestamp(reader.message()?)?,
            _ => reader.skip(tag, &EXEMPLAR)?,
        }
    }
    Ok(exemplar_of_labels(at, value, labels))
}

/// `google.protobuf.Timestamp` as Unix milliseconds.
fn timestamp(mut reader: Reader<'_>) -> Result<i64, ProtoError> {
    const SECONDS: u32 = varint(1);
    const NANOS: u32 = varint(2);
    let (mut seconds, mut nanos) = (0i64, 0i64);
    while let Some(tag) = reader.tag()? {
        match tag {
            SECONDS => seconds = reader.varint()? as i64,
            NANOS => nanos = i64::from(reader.varint()? as i32),
            _ => reader.skip(tag, &TIMESTAMP)?,
        }
    }
    Ok(seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000))
}
