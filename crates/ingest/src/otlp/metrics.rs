//! OTLP metrics: `ExportMetricsServiceRequest` into Prometheus series.
//!
//! A point's series is looked up by bytes that stand for its labels (name, unit, kind, job, instance, the
//! attributes as they came), so that names are translated and labels sorted once in a series' life.

pub mod delta;
mod histogram;
mod labels;
mod point;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::MutexGuard;

use skopos_model::metric::STALE_NAN_BITS;
use skopos_model::{Decoded, Labels, MetricKind, MetricMetadata, Rejected, SampleBatch, SeriesId, SeriesResolver};
use xxhash_rust::xxh3::xxh3_64;

use crate::context::{Context, Starts};
use crate::error::IngestError;
use crate::otlp::names::NameKind;
use crate::otlp::resource::{CachedResource, Envelope, Resources, Scopes};
use crate::proto::{Message, ProtoError, Reader, bytes, varint};
use crate::series::{Refusal, SERIES_LIMIT, resolve, shown};

pub(crate) use labels::ResourceLabels;
use labels::{Part, SeriesKey};
use point::{NumberPoint, PointExemplar, SummaryPoint};

const METRIC: Message =
    Message { name: "Metric", tags: &[bytes(1), bytes(2), bytes(3), bytes(5), bytes(7), bytes(9), bytes(10), bytes(11), bytes(12)] };
const DATA: Message = Message { name: "Sum", tags: &[bytes(1), varint(2), varint(3)] };
const POINTS: u32 = bytes(1);

/// Value of `aggregation_temporality` for cumulative points.
const CUMULATIVE: u64 = 2;
/// And for delta points.
const DELTA: u64 = 1;
/// Bit of a point's `flags` that says the series has ended.
const NO_RECORDED_VALUE: u64 = 1;

/// Reason of delta points that are refused because there is no memory of their streams: the one kind of refusal that
/// a second reading, with [`Context::deltas`], mends.
pub const DELTA_TEMPORALITY: &str = "delta_temporality";
/// Most buckets of a histogram: each is a series, found by bytes that repeat the point's attributes.
pub const BUCKETS_MAX: usize = 512;
/// Most bytes of a point's attributes, as they are on the wire.
pub const POINT_ATTRIBUTE_BYTES_MAX: usize = 16 << 10;

/// Decodes the protobuf body of an OTLP metrics request into samples of series that `resolver` numbers.
///
/// Gauges, sums, histograms, exponential histograms (as native ones) and summaries are taken; delta points become sums
/// of their streams where [`Context::deltas`] remembers them, and are refused otherwise. Each resource with more
/// attributes than those of `job` and `instance` gives a `target_info` series.
///
/// # Errors
/// When the body is no such message. Series may have been numbered by then, samples are not given.
pub fn decode(body: &[u8], ctx: &Context<'_>, resolver: &mut dyn SeriesResolver) -> Result<Decoded<SampleBatch>, IngestError> {
    let mut resources = Resources::default();
    let mut scopes = Scopes::default();
    let mut decoder = Decoder {
        ctx,
        resolver,
        key: SeriesKey::default(),
        batch: SampleBatch::default(),
        rejected: Vec::new(),
        latest: Vec::new(),
        families: HashSet::new(),
        options: ctx.otlp.fingerprint(),
        starts: ctx.cache.starts(),
    };
    let mut changed = Vec::new();
    // The walk hands out resource indexes before the metrics of the resource; the list is read in between.
    let seen = std::cell::RefCell::new(&mut resources);
    Envelope::METRICS
        .walk::<ProtoError>(
            body,
            |reader| seen.borrow_mut().index(reader, ctx, &mut changed),
            |reader| scopes.index(reader),
            |reader, resource, _| {
                let resources = seen.borrow();
                decoder.metric(reader, resource, &resources.all[resource as usize])
            },
        )
        .map_err(IngestError::protobuf(Envelope::METRICS.request))?;
    decoder.target_info(&resources);
    Ok(Decoded { batch: decoder.batch, rejected: decoder.rejected, changed })
}

struct Decoder<'c, 'r> {
    ctx: &'c Context<'c>,
    resolver: &'r mut dyn SeriesResolver,
    key: SeriesKey,
    batch: SampleBatch,
    rejected: Vec<Rejected>,
    /// Latest timestamp of each resource's points.
    latest: Vec<i64>,
    /// Families whose metadata has been noted.
    families: HashSet<u64>,
    /// Fingerprint of the options in force.
    options: u32,
    /// What is known of the starts of counters.
    starts: MutexGuard<'c, Starts>,
}

/// A metric's parts, in whatever order they came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MetricHead<'a> {
    pub(crate) name: &'a str,
    pub(crate) description: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) kind: NameKind,
}

impl Decoder<'_, '_> {
    fn metric(&mut self, mut reader: Reader<'_>, resource: u32, cached: &CachedResource) -> Result<(), ProtoError> {
        const NAME: u32 = bytes(1);
        const DESCRIPTION: u32 = bytes(2);
        const UNIT: u32 = bytes(3);
        const GAUGE: u32 = bytes(5);
        const SUM: u32 = bytes(7);
        const HISTOGRAM: u32 = bytes(9);
        const EXPONENTIAL: u32 = bytes(10);
        const SUMMARY: u32 = bytes(11);
        let (mut name, mut description, mut unit, mut data) = ("", "", "", None);
        while let Some(tag) = reader.tag()? {
            match tag {
                NAME => name = reader.string()?,
                DESCRIPTION => description = reader.string()?,
                UNIT => unit = reader.string()?,
                GAUGE | SUM | HISTOGRAM | EXPONENTIAL | SUMMARY => data = Some((tag, reader.message()?)),
                _ => reader.skip(tag, &METRIC)?,
            }
        }
        let Some((data_tag, data)) = data else { return Ok(()) };
        let (temporality, monotonic) = temporality(data)?;
        let (kind, metric_kind) = match data_tag {
            GAUGE => (NameKind::Gauge, MetricKind::Gauge),
            SUM if monotonic => (NameKind::Counter, MetricKind::Counter),
            SUM => (NameKind::Other, MetricKind::Gauge),
            SUMMARY => (NameKind::Other, MetricKind::Summary),
            _ => (NameKind::Other, MetricKind::Histogram),
        };
        let head = MetricHead { name, description, unit, kind };
        let cumulates = matches!(data_tag, SUM | HISTOGRAM | EXPONENTIAL);
        let delta = cumulates && temporality == DELTA;
        let refused = match temporality {
            DELTA if delta && self.ctx.deltas.is_none() => {
                Some((DELTA_TEMPORALITY, "delta points are not taken here: set the exporter's temporality preference to cumulative"))
            }
            CUMULATIVE | DELTA => None,
            _ if cumulates => Some(("unspecified_temporality", "aggregation_temporality is not set: expected cumulative or delta")),
            _ => None,
        };
        let refused = match refused {
            Some(refused) => Some(refused),
            _ if name.len() + unit.len() > self.ctx.limits.label_value_bytes_max => {
                Some(("invalid_metric_name", "name and unit are longer than label_value_bytes_max"))
            }
            _ => None,
        };
        if let Some((reason, text)) = refused {
            let points = count_points(data)?;
            if points > 0 {
                Decoded::<()>::reject(&mut self.rejected, reason, points, || format!("metric {:?}: {text}", shown(name)));
            }
            return Ok(());
        }
        let labels = cached.labels.get_or_init(|| ResourceLabels::new(&cached.resource, self.ctx.otlp));
        self.key.begin_metric(&head, labels, self.options);
        self.note_metadata(&head, metric_kind);
        let mut points = data;
        while let Some(tag) = points.tag()? {
            if tag != POINTS {
                points.skip(tag, &DATA)?;
                continue;
            }
            let point = points.message()?;
            let at = point.offset();
            let taken = match data_tag {
                HISTOGRAM => self.histogram(point, &head, labels, delta)?,
                EXPONENTIAL => self.exponential(point, &head, labels, delta)?,
                SUMMARY => self.summary(point, &head, labels)?,
                _ => self.number(point, &head, labels, delta)?,
            };
            match taken {
                Ok(timestamp) => {
                    let resource = resource as usize;
                    if self.latest.len() <= resource {
                        self.latest.resize(resource + 1, i64::MIN);
                    }
                    self.latest[resource] = self.latest[resource].max(timestamp);
                }
                Err((reason, text)) => {
                    Decoded::<()>::reject(&mut self.rejected, reason, 1, || format!("metric {:?}, point at byte {at}: {text}", shown(name)));
                }
            }
        }
        Ok(())
    }

    fn millis(&self, nanos: u64) -> i64 {
        if nanos == 0 { self.ctx.received.div_euclid(1_000_000) } else { (nanos / 1_000_000) as i64 }
    }

    /// The number of the series whose key is in the buffer. A malformed attribute is an error of the body.
    fn resolve(&mut self, head: &MetricHead<'_>, labels: &ResourceLabels, part: Part) -> Result<Result<SeriesId, Refusal>, ProtoError> {
        let ctx = self.ctx;
        let key = &mut self.key;
        let attributes = key.attribute_bytes();
        if attributes > POINT_ATTRIBUTE_BYTES_MAX {
            let text = format!("the point's attributes take {attributes} bytes, at most {POINT_ATTRIBUTE_BYTES_MAX} are taken");
            return Ok(Err(("label_too_long", text)));
        }
        let whole = key.with_part(part);
        let found = resolve(&mut *self.resolver, whole.bytes(), || whole.labels(head, labels, part, ctx))?;
        if matches!(found, Err((SERIES_LIMIT, _))) {
            self.resolver.lost(1);
        }
        Ok(found)
    }

    /// Notes when a series' counter was started, unless that is known.
    #[inline]
    fn start(&mut self, id: SeriesId, timestamp: i64, start_nanos: u64) {
        let start = (start_nanos / 1_000_000) as i64;
        if start != 0 && start <= timestamp && self.starts.is_news(id, timestamp, start) {
            self.batch.starts.push((id, timestamp, start));
        }
    }

    fn number(
        &mut self,
        reader: Reader<'_>,
        head: &MetricHead<'_>,
        labels: &ResourceLabels,
        delta: bool,
    ) -> Result<Result<i64, Refusal>, ProtoError> {
        self.key.begin_point();
        let mut point = NumberPoint::read(reader, &mut self.key)?;
        if delta
            && point.flags & NO_RECORDED_VALUE == 0
            && let Some(deltas) = self.ctx.deltas
            && let Err(refusal) = deltas.number(self.key.stream(1), &mut point, self.ctx.received)
        {
            return Ok(Err(refusal));
        }
        let value = match point.value {
            _ if point.flags & NO_RECORDED_VALUE != 0 => f64::from_bits(STALE_NAN_BITS),
            Some(value) => value,
            None => return Ok(Err(("no_value", "the point has neither as_double nor as_int".to_owned()))),
        };
        let timestamp = self.millis(point.time);
        match self.resolve(head, labels, Part::Value)? {
            Err(refusal) => return Ok(Err(refusal)),
            Ok(id) => {
                self.batch.push(id, timestamp, value);
                if head.kind != NameKind::Gauge {
                    self.start(id, timestamp, point.start);
                }
                if point.exemplars {
                    for exemplar in PointExemplar::all(reader, 5) {
                        let exemplar = exemplar?.into_exemplar(self.ctx)?;
                        self.batch.exemplars.push((id, exemplar));
                    }
                }
            }
        }
        Ok(Ok(timestamp))
    }

    fn summary(&mut self, reader: Reader<'_>, head: &MetricHead<'_>, labels: &ResourceLabels) -> Result<Result<i64, Refusal>, ProtoError> {
        self.key.begin_point();
        let point = SummaryPoint::read(reader, &mut self.key)?;
        let ended = point.flags & NO_RECORDED_VALUE != 0;
        let value_or_end = |value: f64| if ended { f64::from_bits(STALE_NAN_BITS) } else { value };
        let timestamp = self.millis(point.time);
        let quantiles = point.quantiles.iter().map(|(quantile, value)| (Part::Quantile(*quantile), *value));
        for (part, value) in quantiles.chain([(Part::Sum, point.sum), (Part::Count, point.count as f64)]) {
            match self.resolve(head, labels, part)? {
                Err(refusal) => return Ok(Err(refusal)),
                Ok(id) => {
                    self.batch.push(id, timestamp, value_or_end(value));
                    if !matches!(part, Part::Quantile(_)) {
                        self.start(id, timestamp, point.start);
                    }
                }
            }
        }
        Ok(Ok(timestamp))
    }

    /// Type, help and unit, once a request.
    fn note_metadata(&mut self, head: &MetricHead<'_>, kind: MetricKind) {
        let hash = xxh3_64(self.key.metric_identity()) ^ kind as u64;
        if !self.families.insert(hash) {
            return;
        }
        // A name that cannot be translated is reported with its points.
        if let Ok(family) = self.ctx.otlp.translation_strategy.metric_name("", head.name, head.unit, head.kind) {
            self.batch.metadata.push(MetricMetadata {
                family: family.into(),
                kind,
                help: head.description.into(),
                unit: self.ctx.otlp.translation_strategy.unit(head.unit).into(),
            });
        }
    }

    /// `target_info` of each resource that sent points: its attributes for joins.
    fn target_info(&mut self, resources: &Resources<'_>) {
        for (index, &latest) in self.latest.iter().enumerate() {
            let cached = &resources.all[index];
            let labels = cached.labels.get_or_init(|| ResourceLabels::new(&cached.resource, self.ctx.otlp));
            if latest == i64::MIN || !labels.has_target_info() {
                continue;
            }
            let key = self.key.target_info(resources.raw[index], self.options);
            let mut invalid = None;
            let options = self.ctx.otlp;
            let limits = self.ctx.limits;
            let id = self.resolver.resolve(key, &mut || match labels.target_info(&cached.resource, options, limits) {
                Ok(built) => built,
                Err(text) => {
                    invalid = Some(text);
                    Labels::default()
                }
            });
            // It is ours, no point of the sender: one that cannot be made is not counted as refused.
            if let (Some(id), None) = (id, invalid) {
                self.batch.push(id, latest, 1.0);
            }
        }
    }
}

/// `aggregation_temporality` and `is_monotonic` (fields 2 and 3 of all data messages that have them).
fn temporality(mut data: Reader<'_>) -> Result<(u64, bool), ProtoError> {
    const TEMPORALITY: u32 = varint(2);
    const MONOTONIC: u32 = varint(3);
    let (mut temporality, mut monotonic) = (0, false);
    while let Some(tag) = data.tag()? {
        match tag {
            TEMPORALITY => temporality = data.varint()?,
            MONOTONIC => monotonic = data.varint()? != 0,
            _ => data.skip(tag, &DATA)?,
        }
    }
    Ok((temporality, monotonic))
}

fn count_points(mut data: Reader<'_>) -> Result<u64, ProtoError> {
    let mut points = 0;
    while let Some(tag) = data.tag()? {
        points += u64::from(tag == POINTS);
        data.skip(tag, &DATA)?;
    }
    Ok(points)
}
