//! Prometheus remote write: a snappy block holding a `prometheus.WriteRequest` (1.0, here) or an
//! `io.prometheus.write.v2.Request` (2.0, [`v2`]).
//!
//! A series' label bytes go to the resolver as they are on the wire; labels are only built, checked and sorted
//! for a series the store has not seen.

mod encode;
mod histogram;
pub mod v2;

use std::cell::RefCell;

use skopos_model::{
    Decoded, Exemplar, IngestLimits, Labels, MetricKind, MetricMetadata, Rejected, SampleBatch, SeriesId, SeriesResolver, SpanId, TraceId,
};

pub use encode::{encode, encode_protobuf, encode_v2, encode_v2_protobuf};

use crate::compression::snappy_block;
use crate::context::Context;
use crate::error::IngestError;
use crate::histogram::WireHistogram;
use crate::proto::{Message, ProtoError, Reader, bytes, fixed64, varint};
use crate::series::{Invalid, Refusal, SERIES_LIMIT, check_labels, resolve};

const REQUEST: Message = Message { name: "WriteRequest", tags: &[bytes(1), bytes(3)] };
const TIME_SERIES: Message = Message { name: "TimeSeries", tags: &[bytes(1), bytes(2), bytes(3), bytes(4)] };
const LABEL: Message = Message { name: "Label", tags: &[bytes(1), bytes(2)] };
const SAMPLE: Message = Message { name: "Sample", tags: &[fixed64(1), varint(2)] };
const EXEMPLAR: Message = Message { name: "Exemplar", tags: &[bytes(1), fixed64(2), varint(3)] };
const METADATA: Message = Message { name: "MetricMetadata", tags: &[varint(1), bytes(2), bytes(4), bytes(5)] };

const LABELS: u32 = bytes(1);
const SAMPLES: u32 = bytes(2);
const EXEMPLARS: u32 = bytes(3);
const HISTOGRAMS: u32 = bytes(4);

/// A decompression buffer is kept for the next request up to this size, bytes.
const SCRATCH_BYTES_MAX: usize = 4 << 20;

/// Reason of native histograms that are refused.
const INVALID_HISTOGRAM: &str = "invalid_histogram";

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Decodes a remote-write body (snappy block format) into samples of series that `resolver` numbers.
///
/// Series with invalid labels are refused with all their samples, invalid native histograms one by one.
///
/// # Errors
/// When the body does not decompress or is no `WriteRequest`. Series may have been numbered by then, samples are
/// not given.
pub fn decode(body: &[u8], ctx: &Context<'_>, resolver: &mut dyn SeriesResolver) -> Result<Decoded<SampleBatch>, IngestError> {
    decompressed(body, ctx, |request| decode_protobuf(request, ctx, resolver))
}

/// Takes off the snappy block, in a buffer that is kept for the next request.
fn decompressed<T>(body: &[u8], ctx: &Context<'_>, decode: impl FnOnce(&[u8]) -> Result<T, IngestError>) -> Result<T, IngestError> {
    SCRATCH.with_borrow_mut(|scratch| {
        let request = snappy_block(body, ctx.limits.decompressed_bytes_max, scratch)?;
        let decoded = decode(request);
        if scratch.len() > SCRATCH_BYTES_MAX {
            *scratch = Vec::new();
        }
        decoded
    })
}

/// Decodes a `WriteRequest` that is not compressed.
///
/// # Errors
/// As [`decode`].
pub fn decode_protobuf(request: &[u8], ctx: &Context<'_>, resolver: &mut dyn SeriesResolver) -> Result<Decoded<SampleBatch>, IngestError> {
    let mut decoder =
        Decoder { ctx, resolver, batch: SampleBatch::default(), rejected: Vec::new(), gathered: Vec::new(), wire: WireHistogram::default() };
    decoder.request(request).map_err(IngestError::protobuf("prometheus.WriteRequest"))?;
    Ok(Decoded { batch: decoder.batch, rejected: decoder.rejected, changed: Vec::new() })
}

struct Decoder<'c, 'r> {
    ctx: &'c Context<'c>,
    resolver: &'r mut dyn SeriesResolver,
    batch: SampleBatch,
    rejected: Vec<Rejected>,
    /// Label fields of a series that do not lie side by side.
    gathered: Vec<u8>,
    wire: WireHistogram,
}

impl Decoder<'_, '_> {
    fn request(&mut self, request: &[u8]) -> Result<(), ProtoError> {
        const SERIES: u32 = bytes(1);
        const META: u32 = bytes(3);
        // A series of one sample takes about 150 bytes.
        let samples = request.len() / 150;
        self.batch.timestamps.reserve(samples);
        self.batch.values.reserve(samples);
        self.batch.series.reserve(samples);
        self.batch.ends.reserve(samples);
        let mut reader = Reader::new(request);
        while let Some(tag) = reader.tag()? {
            match tag {
                SERIES => self.series(reader.message()?)?,
                META => self.batch.metadata.push(metadata(reader.message()?)?),
                _ => reader.skip(tag, &REQUEST)?,
            }
        }
        Ok(())
    }

    /// The series' number, or why it is refused.
    #[inline]
    fn resolve(&mut self, raw: Reader<'_>) -> Result<Result<SeriesId, Refusal>, ProtoError> {
        resolve(self.resolver, raw.all(), || labels(raw, self.ctx.limits))
    }

    #[inline]
    fn series(&mut self, whole: Reader<'_>) -> Result<(), ProtoError> {
        // Labels come first and side by side from every sender we know, then mostly one sample.
        let mut reader = whole;
        reader.skip_run(LABELS as u8);
        let labels_end = reader.position();
        if let [tag, len @ 0..0x80, sample @ ..] = &whole.all()[labels_end..]
            && u32::from(*tag) == SAMPLES
            && sample.len() == usize::from(*len)
            && let Ok(id) = self.resolve(whole.part(0..labels_end))?
        {
            let (timestamp, value) = read_sample(whole.part(labels_end + 2..whole.all().len()))?;
            self.batch.push(id, timestamp, value);
            return Ok(());
        }
        self.any_series(whole)
    }

    /// A series with its fields in any order. Nothing in protobuf promises the usual one.
    #[inline(never)]
    fn any_series(&mut self, whole: Reader<'_>) -> Result<(), ProtoError> {
        // Once over the fields, from length to length, to find where the labels are.
        let mut reader = whole;
        let (mut labels_start, mut labels_end, mut side_by_side) = (0, 0, true);
        let mut samples_start = whole.all().len();
        let (mut samples, mut others) = (0u64, false);
        loop {
            let from = reader.position();
            let Some(tag) = reader.tag()? else { break };
            match tag {
                LABELS => {
                    if labels_end == 0 {
                        labels_start = from;
                    } else {
                        side_by_side &= from == labels_end;
                    }
                    reader.bytes()?;
                    labels_end = reader.position();
                }
                SAMPLES => {
                    samples_start = samples_start.min(from);
                    reader.bytes()?;
                    samples += 1;
                }
                EXEMPLARS | HISTOGRAMS => {
                    others = true;
                    samples_start = samples_start.min(from);
                    reader.bytes()?;
                }
                _ => reader.skip(tag, &TIME_SERIES)?,
            }
        }
        let id = if side_by_side {
            let raw = whole.part(labels_start..labels_end);
            self.resolve(raw)?
        } else {
            self.gather(whole)?;
            resolve(self.resolver, &self.gathered, || labels(Reader::new(&self.gathered), self.ctx.limits))?
        };
        let id = match id {
            Ok(id) => id,
            Err((reason, text)) => {
                let count = samples + if others { histograms(whole)? } else { 0 };
                if reason == SERIES_LIMIT {
                    self.resolver.lost(count);
                }
                if count > 0 {
                    Decoded::<()>::reject(&mut self.rejected, reason, count, || format!("series at byte {}: {text}", whole.offset()));
                }
                return Ok(());
            }
        };
        let mut reader = whole.part(samples_start..whole.all().len());
        while let Some(tag) = reader.tag()? {
            match tag {
                SAMPLES => {
                    let (timestamp, value) = read_sample(reader.message()?)?;
                    self.batch.push(id, timestamp, value);
                }
                EXEMPLARS => {
                    let exemplar = exemplar(reader.message()?)?;
                    self.batch.exemplars.push((id, exemplar));
                }
                HISTOGRAMS => {
                    let histogram = reader.message()?;
                    histogram::read(histogram, &mut self.wire)?;
                    match self.wire.build() {
                        Ok(built) => self.batch.histograms.push((id, self.wire.timestamp, built)),
                        Err(reason) => {
                            Decoded::<()>::reject(&mut self.rejected, INVALID_HISTOGRAM, 1, || {
                                format!("series at byte {}: native histogram at byte {}: {reason}", whole.offset(), histogram.offset())
                            });
                        }
                    }
                }
                _ => reader.skip(tag, &TIME_SERIES)?,
            }
        }
        Ok(())
    }

    #[cold]
    fn gather(&mut self, mut reader: Reader<'_>) -> Result<(), ProtoError> {
        self.gathered.clear();
        loop {
            let from = reader.position();
            let Some(tag) = reader.tag()? else { return Ok(()) };
            reader.skip(tag, &TIME_SERIES)?;
            if tag == LABELS {
                self.gathered.extend_from_slice(&reader.all()[from..reader.position()]);
            }
        }
    }
}

/// The pairs in label fields, in their order on the wire.
fn pairs<'a>(mut fields: Reader<'a>) -> Result<Vec<(&'a str, &'a str)>, ProtoError> {
    const NAME: u32 = bytes(1);
    const VALUE: u32 = bytes(2);
    let mut pairs = Vec::new();
    while let Some(tag) = fields.tag()? {
        if tag != LABELS {
            fields.skip(tag, &TIME_SERIES)?;
            continue;
        }
        let mut label = fields.message()?;
        let (mut name, mut value) = ("", "");
        while let Some(tag) = label.tag()? {
            match tag {
                NAME => name = label.string()?,
                VALUE => value = label.string()?,
                _ => label.skip(tag, &LABEL)?,
            }
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn labels(fields: Reader<'_>, limits: &IngestLimits) -> Result<Labels, Invalid> {
    let mut all = pairs(fields).map_err(Invalid::Malformed)?;
    // Senders must sort; those that do not are understood all the same, as Prometheus does.
    all.sort_unstable();
    check_labels(all.iter().copied(), limits)?;
    Ok(Labels::new(all))
}

#[inline]
fn read_sample(mut reader: Reader<'_>) -> Result<(i64, f64), ProtoError> {
    const VALUE: u32 = fixed64(1);
    const TIME: u32 = varint(2);
    let (mut timestamp, mut value) = (0, 0.0);
    while let Some(tag) = reader.tag()? {
        match tag {
            VALUE => value = reader.double()?,
            TIME => timestamp = reader.varint()? as i64,
            _ => reader.skip(tag, &SAMPLE)?,
        }
    }
    Ok((timestamp, value))
}

fn exemplar(mut reader: Reader<'_>) -> Result<Exemplar, ProtoError> {
    const VALUE: u32 = fixed64(2);
    const TIME: u32 = varint(3);
    let whole = reader;
    let (mut timestamp, mut value) = (0, 0.0);
    while let Some(tag) = reader.tag()? {
        match tag {
            VALUE => value = reader.double()?,
            TIME => timestamp = reader.varint()? as i64,
            LABELS => drop(reader.bytes()?),
            _ => reader.skip(tag, &EXEMPLAR)?,
        }
    }
    let mut fields = Vec::new();
    let mut reader = whole;
    loop {
        let from = reader.position();
        let Some(tag) = reader.tag()? else { break };
        reader.skip(tag, &EXEMPLAR)?;
        if tag == LABELS {
            fields.extend_from_slice(&reader.all()[from..reader.position()]);
        }
    }
    // Offsets inside the copy would mislead: an error is placed at the exemplar.
    let pairs = pairs(Reader::new(&fields)).map_err(|error| ProtoError { offset: whole.offset(), ..error })?;
    Ok(exemplar_of_labels(timestamp, value, pairs))
}

/// An exemplar; the labels `trace_id` and `span_id` become ids where they are ids.
pub(crate) fn exemplar_of_labels<'a>(timestamp: i64, value: f64, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Exemplar {
    let (mut trace_id, mut span_id) = (TraceId::NONE, SpanId::NONE);
    let rest = labels.into_iter().filter(|(name, value)| match *name {
        "trace_id" | "traceID" | "traceId" => TraceId::from_hex(value.as_bytes()).map(|id| trace_id = id).is_none(),
        "span_id" | "spanID" | "spanId" => SpanId::from_hex(value.as_bytes()).map(|id| span_id = id).is_none(),
        _ => true,
    });
    let labels = Labels::new(rest);
    Exemplar { timestamp, value, trace_id, span_id, labels }
}

fn metadata(mut reader: Reader<'_>) -> Result<MetricMetadata, ProtoError> {
    const KIND: u32 = varint(1);
    const FAMILY: u32 = bytes(2);
    const HELP: u32 = bytes(4);
    const UNIT: u32 = bytes(5);
    let mut metadata = MetricMetadata { family: "".into(), kind: MetricKind::Unknown, help: "".into(), unit: "".into() };
    while let Some(tag) = reader.tag()? {
        match tag {
            KIND => metadata.kind = kind_from_number(reader.varint()?),
            FAMILY => metadata.family = reader.string()?.into(),
            HELP => metadata.help = reader.string()?.into(),
            UNIT => metadata.unit = reader.string()?.into(),
            _ => reader.skip(tag, &METADATA)?,
        }
    }
    Ok(metadata)
}

const KINDS: [MetricKind; 8] = [
    MetricKind::Unknown,
    MetricKind::Counter,
    MetricKind::Gauge,
    MetricKind::Histogram,
    MetricKind::GaugeHistogram,
    MetricKind::Summary,
    MetricKind::Info,
    MetricKind::StateSet,
];

fn kind_from_number(number: u64) -> MetricKind {
    usize::try_from(number).ok().and_then(|n| KINDS.get(n)).copied().unwrap_or(MetricKind::Unknown)
}

fn histograms(mut reader: Reader<'_>) -> Result<u64, ProtoError> {
    let mut count = 0;
    while let Some(tag) = reader.tag()? {
        count += u64::from(tag == HISTOGRAMS);
        reader.skip(tag, &TIME_SERIES)?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
