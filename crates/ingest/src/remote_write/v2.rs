//! Prometheus remote write 2.0: `io.prometheus.write.v2.Request` in a snappy block.
//!
//! Texts are sent once, in a table of symbols that is the request's own. A series' bytes for the resolver are its
//! labels written as 1.0 writes them: the table's numbers mean nothing to the next request, and a series that comes
//! by both versions is the same one.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::MutexGuard;

use skopos_model::labels::METRIC_NAME;
use skopos_model::{Decoded, MetricKind, MetricMetadata, Rejected, SampleBatch, SeriesId, SeriesResolver};

use super::{INVALID_HISTOGRAM, decompressed, exemplar_of_labels, histogram, kind_from_number, labels};
use crate::context::{Context, Starts};
use crate::error::IngestError;
use crate::histogram::WireHistogram;
use crate::proto::{Message, ProtoError, Reader, bytes, fixed64, varint};
use crate::series::{Refusal, SERIES_LIMIT, resolve};

const REQUEST: Message = Message { name: "Request", tags: &[bytes(4), bytes(5)] };
const TIME_SERIES: Message = Message { name: "TimeSeries", tags: &[bytes(1), varint(1), bytes(2), bytes(3), bytes(4), bytes(5)] };
const SAMPLE: Message = Message { name: "Sample", tags: &[fixed64(1), varint(2), varint(3)] };
const EXEMPLAR: Message = Message { name: "Exemplar", tags: &[bytes(1), varint(1), fixed64(2), varint(3)] };
const METADATA: Message = Message { name: "Metadata", tags: &[varint(1), varint(3), varint(4)] };

const SYMBOLS: u32 = bytes(4);
const SERIES: u32 = bytes(5);
const REFS: u32 = bytes(1);
const ONE_REF: u32 = varint(1);
const SAMPLES: u32 = bytes(2);
const HISTOGRAMS: u32 = bytes(3);
const EXEMPLARS: u32 = bytes(4);
const META: u32 = bytes(5);

/// Most texts in a request's table.
pub const SYMBOLS_MAX: usize = 1 << 20;

/// Decodes a remote-write 2.0 body (snappy block format) into samples of series that `resolver` numbers.
///
/// Refused are, with their count: series whose labels are invalid, point outside of the table, or that have neither
/// samples nor histograms; histograms and exemplars one by one.
///
/// # Errors
/// When the body does not decompress or is no such message. Series may have been numbered by then, samples are not
/// given.
pub fn decode(body: &[u8], ctx: &Context<'_>, resolver: &mut dyn SeriesResolver) -> Result<Decoded<SampleBatch>, IngestError> {
    decompressed(body, ctx, |request| decode_protobuf(request, ctx, resolver))
}

/// Decodes a request that is not compressed.
///
/// # Errors
/// As [`decode`].
pub fn decode_protobuf(request: &[u8], ctx: &Context<'_>, resolver: &mut dyn SeriesResolver) -> Result<Decoded<SampleBatch>, IngestError> {
    let malformed = IngestError::protobuf("io.prometheus.write.v2.Request");
    // The table comes first from every sender we know; nothing promises it.
    let mut symbols = Vec::new();
    let mut reader = Reader::new(request);
    while let Some(tag) = reader.tag().map_err(&malformed)? {
        if tag == SYMBOLS {
            if symbols.len() >= SYMBOLS_MAX {
                return Err(IngestError::TooMany { what: "symbols", limit: "SYMBOLS_MAX", max: SYMBOLS_MAX });
            }
            symbols.push(reader.string().map_err(&malformed)?);
        } else {
            reader.skip(tag, &REQUEST).map_err(&malformed)?;
        }
    }
    let mut decoder = Decoder {
        ctx,
        resolver,
        symbols,
        batch: SampleBatch::default(),
        rejected: Vec::new(),
        changed: Vec::new(),
        key: Vec::new(),
        wire: WireHistogram::default(),
        families: HashSet::new(),
        starts: ctx.cache.starts(),
    };
    decoder.request(request).map_err(&malformed)?;
    Ok(Decoded { batch: decoder.batch, rejected: decoder.rejected, changed: decoder.changed })
}

struct Decoder<'c, 'r, 'b> {
    ctx: &'c Context<'c>,
    resolver: &'r mut dyn SeriesResolver,
    symbols: Vec<&'b str>,
    batch: SampleBatch,
    rejected: Vec<Rejected>,
    changed: Vec<Rejected>,
    /// Labels of the series being read, as remote write 1.0 writes them.
    key: Vec<u8>,
    wire: WireHistogram,
    /// Families whose metadata has been noted: name, type, help and unit by their places in the table.
    families: HashSet<(u64, u64, u64, u64)>,
    /// What is known of the starts of counters.
    starts: MutexGuard<'c, Starts>,
}

impl<'b> Decoder<'_, '_, 'b> {
    fn request(&mut self, request: &'b [u8]) -> Result<(), ProtoError> {
        let mut reader = Reader::new(request);
        while let Some(tag) = reader.tag()? {
            match tag {
                SERIES => self.series(reader.message()?)?,
                SYMBOLS => drop(reader.bytes()?),
                _ => reader.skip(tag, &REQUEST)?,
            }
        }
        Ok(())
    }

    fn symbol(&self, place: u64) -> Result<&'b str, String> {
        let found = usize::try_from(place).ok().and_then(|place| self.symbols.get(place));
        found.copied().ok_or_else(|| format!("symbol {place} is outside of the table of {}", self.symbols.len()))
    }

    /// Appends one label to the key.
    fn push_label(&mut self, name: u64, value: u64) -> Result<(), String> {
        let (name, value) = (self.symbol(name)?, self.symbol(value)?);
        let length = |text: &str| 1 + varint_bytes(text.len()) + text.len();
        self.key.push(bytes(1) as u8);
        push_varint(&mut self.key, length(name) + length(value));
        for (tag, text) in [(bytes(1), name), (bytes(2), value)] {
            self.key.push(tag as u8);
            push_varint(&mut self.key, text.len());
            self.key.extend_from_slice(text.as_bytes());
        }
        Ok(())
    }

    fn series(&mut self, whole: Reader<'b>) -> Result<(), ProtoError> {
        self.key.clear();
        let mut name = 0;
        let mut problem = None;
        // Half a label, when a field of references ends after a name.
        let mut half = None;
        let (mut samples, mut histograms) = (0u64, 0u64);
        let mut metadata = None;
        let mut reader = whole;
        while let Some(tag) = reader.tag()? {
            match tag {
                REFS | ONE_REF => reader.varints(tag, |place| match half.take() {
                    None => half = Some(place),
                    Some(label) => {
                        if self.symbol(label) == Ok(METRIC_NAME) {
                            name = place;
                        }
                        if let Err(text) = self.push_label(label, place) {
                            problem.get_or_insert(text);
                        }
                    }
                })?,
                SAMPLES => {
                    reader.bytes()?;
                    samples += 1;
                }
                HISTOGRAMS => {
                    reader.bytes()?;
                    histograms += 1;
                }
                EXEMPLARS => drop(reader.bytes()?),
                META => metadata = Some(reader.message()?),
                _ => reader.skip(tag, &TIME_SERIES)?,
            }
        }
        if half.is_some() {
            problem.get_or_insert_with(|| "labels_refs has an odd number of references: expected pairs".to_owned());
        }
        let rows = samples + histograms;
        let refused = match problem {
            Some(text) => Err(("invalid_symbol", text)),
            None if rows == 0 => Err(("no_samples", "the series has neither samples nor histograms".to_owned())),
            None => resolve(self.resolver, &self.key, || labels(Reader::new(&self.key), self.ctx.limits))
                // The key is ours: what is wrong with it has no place in the body.
                .map_err(|error| ProtoError { offset: whole.offset(), ..error })?,
        };
        let id = match refused {
            Ok(id) => id,
            Err((reason, text)) => {
                if reason == SERIES_LIMIT {
                    self.resolver.lost(rows);
                }
                Decoded::<()>::reject(&mut self.rejected, reason, rows.max(1), || format!("series at byte {}: {text}", whole.offset()));
                return Ok(());
            }
        };
        self.values(whole, id)?;
        if let Some(metadata) = metadata {
            self.metadata(metadata, name)?;
        }
        Ok(())
    }

    fn values(&mut self, mut reader: Reader<'b>, id: SeriesId) -> Result<(), ProtoError> {
        let mut started = None;
        while let Some(tag) = reader.tag()? {
            match tag {
                SAMPLES => {
                    let (timestamp, value, start) = read_sample(reader.message()?)?;
                    self.batch.push(id, timestamp, value);
                    self.start(id, timestamp, start, &mut started);
                }
                HISTOGRAMS => {
                    let message = reader.message()?;
                    histogram::read(message, &mut self.wire)?;
                    match self.wire.build() {
                        Ok(built) => {
                            self.batch.histograms.push((id, self.wire.timestamp, built));
                            self.start(id, self.wire.timestamp, self.wire.start, &mut started);
                        }
                        Err(reason) => Decoded::<()>::reject(&mut self.rejected, INVALID_HISTOGRAM, 1, || {
                            format!("native histogram at byte {}: {reason}", message.offset())
                        }),
                    }
                }
                EXEMPLARS => {
                    let message = reader.message()?;
                    match self.exemplar(message)? {
                        Ok(exemplar) => self.batch.exemplars.push((id, exemplar)),
                        Err((reason, text)) => {
                            Decoded::<()>::reject(&mut self.rejected, reason, 1, || format!("exemplar at byte {}: {text}", message.offset()))
                        }
                    }
                }
                _ => reader.skip(tag, &TIME_SERIES)?,
            }
        }
        Ok(())
    }

    /// Notes when a counter was started, once for samples that say the same.
    fn start(&mut self, id: SeriesId, timestamp: i64, start: i64, started: &mut Option<i64>) {
        if start == 0 || *started == Some(start) {
            return;
        }
        if start > timestamp {
            Decoded::<()>::reject(&mut self.changed, "start_after_sample", 1, || {
                format!("sample of {timestamp} says that it was started later, at {start}: the start is left out")
            });
            return;
        }
        *started = Some(start);
        if self.starts.known(id, start) {
            return;
        }
        self.batch.starts.push((id, timestamp, start));
    }

    fn exemplar(&self, mut reader: Reader<'_>) -> Result<Result<skopos_model::Exemplar, Refusal>, ProtoError> {
        const VALUE: u32 = fixed64(2);
        const TIME: u32 = varint(3);
        let (mut value, mut timestamp, mut refs) = (0.0, 0, Vec::new());
        while let Some(tag) = reader.tag()? {
            match tag {
                REFS | ONE_REF => reader.varints(tag, |place| refs.push(place))?,
                VALUE => value = reader.double()?,
                TIME => timestamp = reader.varint()? as i64,
                _ => reader.skip(tag, &EXEMPLAR)?,
            }
        }
        if refs.len() % 2 != 0 {
            return Ok(Err(("invalid_symbol", "labels_refs has an odd number of references: expected pairs".to_owned())));
        }
        let pairs: Result<Vec<(&str, &str)>, String> = refs.chunks_exact(2).map(|pair| Ok((self.symbol(pair[0])?, self.symbol(pair[1])?))).collect();
        Ok(match pairs {
            Ok(pairs) => Ok(exemplar_of_labels(timestamp, value, pairs)),
            Err(text) => Err(("invalid_symbol", text)),
        })
    }

    fn metadata(&mut self, mut reader: Reader<'_>, name: u64) -> Result<(), ProtoError> {
        const KIND: u32 = varint(1);
        const HELP: u32 = varint(3);
        const UNIT: u32 = varint(4);
        let (mut kind, mut help, mut unit) = (0, 0, 0);
        while let Some(tag) = reader.tag()? {
            match tag {
                KIND => kind = reader.varint()?,
                HELP => help = reader.varint()?,
                UNIT => unit = reader.varint()?,
                _ => reader.skip(tag, &METADATA)?,
            }
        }
        if (kind, help, unit) == (0, 0, 0) || !self.families.insert((name, kind, help, unit)) {
            return Ok(());
        }
        let kind = kind_from_number(kind);
        match (self.symbol(name), self.symbol(help), self.symbol(unit)) {
            (Ok(name), Ok(help), Ok(unit)) => {
                let metadata = MetricMetadata { family: family(name, kind).into(), kind, help: help.into(), unit: unit.into() };
                // The series of a histogram say the same of their family one after another.
                if self.batch.metadata.last() != Some(&metadata) {
                    self.batch.metadata.push(metadata);
                }
            }
            (name, help, unit) => {
                let text = [name.err(), help.err(), unit.err()].into_iter().flatten().next().unwrap_or_default();
                Decoded::<()>::reject(&mut self.changed, "invalid_symbol", 1, || format!("metadata at byte {}: {text}", reader.offset()));
            }
        }
        Ok(())
    }
}

/// The family of a series: without the endings of a classic histogram's or a summary's series.
pub(super) fn family(name: &str, kind: MetricKind) -> Cow<'_, str> {
    let endings: &[&str] = match kind {
        MetricKind::Histogram => &["_bucket", "_sum", "_count"],
        MetricKind::GaugeHistogram => &["_bucket", "_gsum", "_gcount"],
        MetricKind::Summary => &["_sum", "_count"],
        _ => &[],
    };
    Cow::Borrowed(endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name))
}

#[inline]
fn read_sample(mut reader: Reader<'_>) -> Result<(i64, f64, i64), ProtoError> {
    const VALUE: u32 = fixed64(1);
    const TIME: u32 = varint(2);
    const START: u32 = varint(3);
    let (mut timestamp, mut value, mut start) = (0, 0.0, 0);
    while let Some(tag) = reader.tag()? {
        match tag {
            VALUE => value = reader.double()?,
            TIME => timestamp = reader.varint()? as i64,
            START => start = reader.varint()? as i64,
            _ => reader.skip(tag, &SAMPLE)?,
        }
    }
    Ok((timestamp, value, start))
}

fn varint_bytes(mut value: usize) -> usize {
    let mut bytes = 1;
    while value >= 0x80 {
        value >>= 7;
        bytes += 1;
    }
    bytes
}

#[inline]
fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
