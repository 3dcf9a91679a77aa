//! The points of the five kinds of metric, and their exemplars.

use skopos_model::{Exemplar, Labels, SpanId, TraceId};

use crate::context::Context;
use crate::histogram::coarser;
use crate::otlp::metrics::labels::{SeriesKey, attribute_tag, attribute_texts};
use crate::proto::{Message, ProtoError, Reader, bytes, fixed64, varint, zigzag};
use crate::series::Invalid;

const NUMBER: Message = Message { name: "NumberDataPoint", tags: &[bytes(7), fixed64(2), fixed64(3), fixed64(4), fixed64(6), bytes(5), varint(8)] };
const HISTOGRAM: Message = Message {
    name: "HistogramDataPoint",
    tags: &[
        bytes(9),
        fixed64(2),
        fixed64(3),
        fixed64(4),
        fixed64(5),
        bytes(6),
        bytes(7),
        bytes(8),
        varint(10),
        fixed64(11),
        fixed64(12),
        fixed64(6),
        fixed64(7),
    ],
};
const EXPONENTIAL: Message = Message {
    name: "ExponentialHistogramDataPoint",
    tags: &[
        bytes(1),
        fixed64(2),
        fixed64(3),
        fixed64(4),
        fixed64(5),
        varint(6),
        fixed64(7),
        bytes(8),
        bytes(9),
        varint(10),
        bytes(11),
        fixed64(12),
        fixed64(13),
        fixed64(14),
    ],
};
const BUCKETS: Message = Message { name: "Buckets", tags: &[varint(1), bytes(2), varint(2)] };
const SUMMARY: Message = Message { name: "SummaryDataPoint", tags: &[bytes(7), fixed64(2), fixed64(3), fixed64(4), fixed64(5), bytes(6), varint(8)] };
const QUANTILE: Message = Message { name: "ValueAtQuantile", tags: &[fixed64(1), fixed64(2)] };
const EXEMPLAR: Message = Message { name: "Exemplar", tags: &[bytes(7), fixed64(2), fixed64(3), fixed64(6), bytes(4), bytes(5)] };

/// Gathers runs of attribute fields, which mostly lie side by side, into the key.
struct AttributeRun {
    start: usize,
    end: usize,
}

impl AttributeRun {
    fn new() -> Self {
        Self { start: 0, end: 0 }
    }

    #[inline]
    fn add(&mut self, from: usize, reader: &Reader<'_>, key: &mut SeriesKey) {
        if from != self.end {
            self.flush(reader, key);
            self.start = from;
        }
        self.end = reader.position();
    }

    #[inline]
    fn flush(&mut self, reader: &Reader<'_>, key: &mut SeriesKey) {
        key.attributes(&reader.all()[self.start..self.end]);
        self.start = self.end;
    }
}

/// Reads a point: runs of attribute fields go into the key, the rest to `field`.
#[inline(always)]
fn fields<'a>(
    reader: &mut Reader<'a>,
    attribute: u32,
    key: &mut SeriesKey,
    mut field: impl FnMut(&mut Reader<'a>, u32) -> Result<(), ProtoError>,
) -> Result<(), ProtoError> {
    let mut run = AttributeRun::new();
    loop {
        let from = reader.position();
        let Some(tag) = reader.tag()? else { break };
        if tag == attribute {
            reader.bytes()?;
            reader.skip_run(attribute as u8);
            run.add(from, reader, key);
        } else {
            field(reader, tag)?;
        }
    }
    run.flush(reader, key);
    Ok(())
}

#[derive(Debug, Default)]
pub(crate) struct NumberPoint {
    pub(crate) start: u64,
    pub(crate) time: u64,
    pub(crate) value: Option<f64>,
    pub(crate) flags: u64,
    pub(crate) exemplars: bool,
}

impl NumberPoint {
    #[inline]
    pub(crate) fn read(mut reader: Reader<'_>, key: &mut SeriesKey) -> Result<Self, ProtoError> {
        const ATTRIBUTE: u32 = attribute_tag(7);
        const START: u32 = fixed64(2);
        const TIME: u32 = fixed64(3);
        const DOUBLE: u32 = fixed64(4);
        const INT: u32 = fixed64(6);
        const EXEMPLAR: u32 = bytes(5);
        const FLAGS: u32 = varint(8);
        let mut point = Self::default();
        fields(&mut reader, ATTRIBUTE, key, |reader, tag| {
            match tag {
                START => point.start = reader.fixed64()?,
                TIME => point.time = reader.fixed64()?,
                DOUBLE => point.value = Some(reader.double()?),
                INT => point.value = Some(reader.fixed64()? as i64 as f64),
                FLAGS => point.flags = reader.varint()?,
                EXEMPLAR => {
                    reader.bytes()?;
                    point.exemplars = true;
                }
                _ => reader.skip(tag, &NUMBER)?,
            }
            Ok(())
        })?;
        Ok(point)
    }
}

#[derive(Debug, Default)]
pub(crate) struct HistogramPoint {
    pub(crate) start: u64,
    pub(crate) time: u64,
    pub(crate) count: u64,
    pub(crate) sum: Option<f64>,
    pub(crate) counts: Vec<u64>,
    pub(crate) bounds: Vec<f64>,
    pub(crate) flags: u64,
    pub(crate) exemplars: bool,
}

impl HistogramPoint {
    pub(crate) fn read(mut reader: Reader<'_>, key: &mut SeriesKey) -> Result<Self, ProtoError> {
        const ATTRIBUTE: u32 = attribute_tag(9);
        const START: u32 = fixed64(2);
        const TIME: u32 = fixed64(3);
        const COUNT: u32 = fixed64(4);
        const SUM: u32 = fixed64(5);
        const COUNTS: u32 = bytes(6);
        const ONE_COUNT: u32 = fixed64(6);
        const BOUNDS: u32 = bytes(7);
        const ONE_BOUND: u32 = fixed64(7);
        const EXEMPLAR: u32 = bytes(8);
        const FLAGS: u32 = varint(10);
        let mut point = Self::default();
        fields(&mut reader, ATTRIBUTE, key, |reader, tag| {
            match tag {
                START => point.start = reader.fixed64()?,
                TIME => point.time = reader.fixed64()?,
                COUNT => point.count = reader.fixed64()?,
                SUM => point.sum = Some(reader.double()?),
                COUNTS => point.counts.extend(reader.packed64()?),
                ONE_COUNT => point.counts.push(reader.fixed64()?),
                BOUNDS => point.bounds.extend(reader.packed64()?.map(f64::from_bits)),
                ONE_BOUND => point.bounds.push(reader.double()?),
                FLAGS => point.flags = reader.varint()?,
                EXEMPLAR => {
                    reader.bytes()?;
                    point.exemplars = true;
                }
                _ => reader.skip(tag, &HISTOGRAM)?,
            }
            Ok(())
        })?;
        Ok(point)
    }
}

/// An exponential histogram; its buckets have the indexes Prometheus gives them, those without a count left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ExponentialPoint {
    pub(crate) start: u64,
    pub(crate) time: u64,
    pub(crate) count: u64,
    pub(crate) sum: Option<f64>,
    pub(crate) scale: i32,
    pub(crate) zero_count: u64,
    pub(crate) zero_threshold: f64,
    pub(crate) positive: Vec<(i32, u64)>,
    pub(crate) negative: Vec<(i32, u64)>,
    pub(crate) flags: u64,
    pub(crate) exemplars: bool,
}

impl ExponentialPoint {
    pub(crate) fn read(mut reader: Reader<'_>, key: &mut SeriesKey) -> Result<Self, ProtoError> {
        const ATTRIBUTE: u32 = attribute_tag(1);
        const START: u32 = fixed64(2);
        const TIME: u32 = fixed64(3);
        const COUNT: u32 = fixed64(4);
        const SUM: u32 = fixed64(5);
        const SCALE: u32 = varint(6);
        const ZERO_COUNT: u32 = fixed64(7);
        const POSITIVE: u32 = bytes(8);
        const NEGATIVE: u32 = bytes(9);
        const FLAGS: u32 = varint(10);
        const EXEMPLAR: u32 = bytes(11);
        const ZERO_THRESHOLD: u32 = fixed64(14);
        let mut point = Self::default();
        fields(&mut reader, ATTRIBUTE, key, |reader, tag| {
            match tag {
                START => point.start = reader.fixed64()?,
                TIME => point.time = reader.fixed64()?,
                COUNT => point.count = reader.fixed64()?,
                SUM => point.sum = Some(reader.double()?),
                SCALE => point.scale = zigzag(reader.varint()?) as i32,
                ZERO_COUNT => point.zero_count = reader.fixed64()?,
                POSITIVE => point.positive = buckets(reader.message()?)?,
                NEGATIVE => point.negative = buckets(reader.message()?)?,
                FLAGS => point.flags = reader.varint()?,
                ZERO_THRESHOLD => point.zero_threshold = reader.double()?,
                EXEMPLAR => {
                    reader.bytes()?;
                    point.exemplars = true;
                }
                _ => reader.skip(tag, &EXPONENTIAL)?,
            }
            Ok(())
        })?;
        Ok(point)
    }
}

impl ExponentialPoint {
    /// Puts neighbouring buckets together until the scale is `scale`.
    pub(crate) fn lower_to(&mut self, scale: i32) {
        if scale >= self.scale {
            return;
        }
        let merge = self.scale.abs_diff(scale);
        for buckets in [&mut self.positive, &mut self.negative] {
            let mut merged: Vec<(i32, u64)> = Vec::with_capacity(buckets.len());
            for (index, count) in buckets.drain(..) {
                let index = coarser(index, merge);
                match merged.last_mut() {
                    Some((last, all)) if *last == index => *all = all.saturating_add(count),
                    _ => merged.push((index, count)),
                }
            }
            *buckets = merged;
        }
        self.scale = scale;
    }
}

/// Buckets with a count. OTLP's bucket i reaches from base^i, Prometheus' up to it: indexes differ by one.
fn buckets(mut reader: Reader<'_>) -> Result<Vec<(i32, u64)>, ProtoError> {
    const OFFSET: u32 = varint(1);
    const COUNTS: u32 = bytes(2);
    const ONE_COUNT: u32 = varint(2);
    let (mut offset, mut place) = (0i64, 0i64);
    let mut out = Vec::new();
    while let Some(tag) = reader.tag()? {
        match tag {
            OFFSET => offset = i64::from(zigzag(reader.varint()?) as i32),
            COUNTS | ONE_COUNT => reader.varints(tag, |count| {
                if count > 0 {
                    out.push((place, count));
                }
                place += 1;
            })?,
            _ => reader.skip(tag, &BUCKETS)?,
        }
    }
    // Indexes beyond 2^31 stand for no number; they end at it, in order still.
    Ok(out.into_iter().map(|(place, count)| ((offset + place + 1).min(i64::from(i32::MAX)) as i32, count)).collect())
}

#[derive(Debug, Default)]
pub(crate) struct SummaryPoint {
    pub(crate) start: u64,
    pub(crate) time: u64,
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) quantiles: Vec<(f64, f64)>,
    pub(crate) flags: u64,
}

impl SummaryPoint {
    pub(crate) fn read(mut reader: Reader<'_>, key: &mut SeriesKey) -> Result<Self, ProtoError> {
        const ATTRIBUTE: u32 = attribute_tag(7);
        const START: u32 = fixed64(2);
        const TIME: u32 = fixed64(3);
        const COUNT: u32 = fixed64(4);
        const SUM: u32 = fixed64(5);
        const AT_QUANTILE: u32 = bytes(6);
        const FLAGS: u32 = varint(8);
        let mut point = Self::default();
        fields(&mut reader, ATTRIBUTE, key, |reader, tag| {
            match tag {
                START => point.start = reader.fixed64()?,
                TIME => point.time = reader.fixed64()?,
                COUNT => point.count = reader.fixed64()?,
                SUM => point.sum = reader.double()?,
                AT_QUANTILE => point.quantiles.push(at_quantile(reader.message()?)?),
                FLAGS => point.flags = reader.varint()?,
                _ => reader.skip(tag, &SUMMARY)?,
            }
            Ok(())
        })?;
        Ok(point)
    }
}

fn at_quantile(mut reader: Reader<'_>) -> Result<(f64, f64), ProtoError> {
    const AT: u32 = fixed64(1);
    const VALUE: u32 = fixed64(2);
    let (mut quantile, mut value) = (0.0, 0.0);
    while let Some(tag) = reader.tag()? {
        match tag {
            AT => quantile = reader.double()?,
            VALUE => value = reader.double()?,
            _ => reader.skip(tag, &QUANTILE)?,
        }
    }
    Ok((quantile, value))
}

/// An exemplar, its attributes still to be read.
#[derive(Debug)]
pub(crate) struct PointExemplar<'a> {
    time: u64,
    value: f64,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    attributes: Vec<u8>,
}

impl<'a> PointExemplar<'a> {
    /// The exemplars in field `field` of a point that has been read to its end before.
    pub(crate) fn all(mut point: Reader<'a>, field: u32) -> impl Iterator<Item = Result<Self, ProtoError>> {
        std::iter::from_fn(move || {
            while let Ok(Some(tag)) = point.tag() {
                if tag == bytes(field) {
                    return Some(point.message().and_then(Self::read));
                }
                if let Err(error) = point.skip(tag, &Message { name: "data point", tags: &[] }) {
                    return Some(Err(error));
                }
            }
            None
        })
    }

    fn read(mut reader: Reader<'a>) -> Result<Self, ProtoError> {
        const ATTRIBUTE: u32 = attribute_tag(7);
        const TIME: u32 = fixed64(2);
        const DOUBLE: u32 = fixed64(3);
        const INT: u32 = fixed64(6);
        const SPAN_ID: u32 = bytes(4);
        const TRACE_ID: u32 = bytes(5);
        let mut exemplar = Self { time: 0, value: 0.0, trace_id: &[], span_id: &[], attributes: Vec::new() };
        loop {
            let from = reader.position();
            let Some(tag) = reader.tag()? else { break };
            match tag {
                ATTRIBUTE => {
                    reader.bytes()?;
                    exemplar.attributes.extend_from_slice(&reader.all()[from..reader.position()]);
                }
                TIME => exemplar.time = reader.fixed64()?,
                DOUBLE => exemplar.value = reader.double()?,
                INT => exemplar.value = reader.fixed64()? as i64 as f64,
                SPAN_ID => exemplar.span_id = reader.bytes()?,
                TRACE_ID => exemplar.trace_id = reader.bytes()?,
                _ => reader.skip(tag, &EXEMPLAR)?,
            }
        }
        Ok(exemplar)
    }

    /// Attributes that can be no label are left out.
    pub(crate) fn into_exemplar(self, ctx: &Context<'_>) -> Result<Exemplar, ProtoError> {
        let texts = match attribute_texts(Reader::new(&self.attributes), ctx) {
            Ok(texts) => texts,
            Err(Invalid::Malformed(error)) => return Err(error),
            Err(Invalid::Refused(..)) => Vec::new(),
        };
        let labels = texts.into_iter().filter_map(|(key, value)| Some((ctx.otlp.translation_strategy.label_name(&key).ok()?.into_owned(), value)));
        Ok(Exemplar {
            timestamp: if self.time == 0 { ctx.received.div_euclid(1_000_000) } else { (self.time / 1_000_000) as i64 },
            value: self.value,
            trace_id: TraceId::from_bytes(self.trace_id).unwrap_or_default(),
            span_id: SpanId::from_bytes(self.span_id).unwrap_or_default(),
            labels: Labels::new(labels),
        })
    }
}
