//! Histogram points: explicit ones as classic series or as native histograms with custom buckets, exponential ones as
//! native histograms.

use skopos_model::histogram::{CUSTOM_SCHEMA, SCHEMA_MAX, SCHEMA_MIN};
use skopos_model::metric::STALE_NAN_BITS;
use skopos_model::{Buckets, NativeHistogram};

use super::labels::{Part, ResourceLabels};
use super::point::{ExponentialPoint, HistogramPoint, PointExemplar};
use super::{BUCKETS_MAX, Decoder, MetricHead, NO_RECORDED_VALUE};
use crate::proto::{ProtoError, Reader};
use crate::series::Refusal;

/// Breadth of the zero bucket of points that state none, as Prometheus has it.
const ZERO_THRESHOLD: f64 = 1e-128;
/// Most buckets with a count of an exponential histogram.
pub(crate) const EXPONENTIAL_BUCKETS_MAX: usize = 16_384;

impl Decoder<'_, '_> {
    pub(super) fn histogram(
        &mut self,
        reader: Reader<'_>,
        head: &MetricHead<'_>,
        labels: &ResourceLabels,
        delta: bool,
    ) -> Result<Result<i64, Refusal>, ProtoError> {
        self.key.begin_point();
        let mut point = HistogramPoint::read(reader, &mut self.key)?;
        // The last bucket, which reaches to infinity, may be left out, as Prometheus takes it.
        if !point.counts.is_empty() && point.counts.len() == point.bounds.len() {
            point.counts.push(0);
        }
        if !point.counts.is_empty() && point.counts.len() != point.bounds.len() + 1 {
            return Ok(Err((
                "invalid_buckets",
                format!("{} bucket counts with {} bounds: expected one count more than bounds", point.counts.len(), point.bounds.len()),
            )));
        }
        if point.bounds.len() > BUCKETS_MAX {
            return Ok(Err(("too_many_buckets", format!("{} buckets, at most {BUCKETS_MAX} are taken", point.bounds.len()))));
        }
        if !point.bounds.is_sorted_by(|a, b| a < b) {
            return Ok(Err(("invalid_buckets", "explicit_bounds do not ascend".to_owned())));
        }
        // Some senders leave the count to be added up.
        if point.count == 0 {
            point.count = point.counts.iter().fold(0, |all, count| all.saturating_add(*count));
        }
        if delta
            && point.flags & NO_RECORDED_VALUE == 0
            && let Some(deltas) = self.ctx.deltas
            && let Err(refusal) = deltas.explicit(self.key.stream(2), &mut point, self.ctx.received)
        {
            return Ok(Err(refusal));
        }
        if self.ctx.otlp.convert_histograms_to_nhcb {
            let histogram = custom(&point);
            return self.native(reader, head, labels, histogram, (point.time, point.start), point.exemplars.then_some(8));
        }
        self.classic(reader, head, labels, &point)
    }

    fn classic(
        &mut self,
        reader: Reader<'_>,
        head: &MetricHead<'_>,
        labels: &ResourceLabels,
        point: &HistogramPoint,
    ) -> Result<Result<i64, Refusal>, ProtoError> {
        let ended = point.flags & NO_RECORDED_VALUE != 0;
        let value_or_end = |value: f64| if ended { f64::from_bits(STALE_NAN_BITS) } else { value };
        let timestamp = self.millis(point.time);
        let mut below = 0u64;
        let buckets = point.bounds.len().min(point.counts.len());
        let mut bucket_ids = Vec::new();
        for i in 0..=buckets {
            let bound = if i < buckets { point.bounds[i] } else { f64::INFINITY };
            let count = if i < buckets { below.saturating_add(point.counts[i]) } else { point.count };
            below = count;
            match self.resolve(head, labels, Part::Bucket(bound))? {
                Err(refusal) => return Ok(Err(refusal)),
                Ok(id) => {
                    self.batch.push(id, timestamp, value_or_end(count as f64));
                    self.start(id, timestamp, point.start);
                    if point.exemplars {
                        bucket_ids.push((bound, id));
                    }
                }
            }
        }
        let sum = point.sum.or(if ended { Some(0.0) } else { None });
        for (part, value) in [(Part::Sum, sum), (Part::Count, Some(point.count as f64))] {
            let Some(value) = value else { continue };
            match self.resolve(head, labels, part)? {
                Err(refusal) => return Ok(Err(refusal)),
                Ok(id) => {
                    self.batch.push(id, timestamp, value_or_end(value));
                    self.start(id, timestamp, point.start);
                }
            }
        }
        if point.exemplars {
            for exemplar in PointExemplar::all(reader, 8) {
                let exemplar = exemplar?.into_exemplar(self.ctx)?;
                // The bucket it fell into, and not the larger ones that count it as well.
                if let Some((_, id)) = bucket_ids.iter().find(|(bound, _)| exemplar.value <= *bound) {
                    self.batch.exemplars.push((*id, exemplar));
                }
            }
        }
        Ok(Ok(timestamp))
    }

    pub(super) fn exponential(
        &mut self,
        reader: Reader<'_>,
        head: &MetricHead<'_>,
        labels: &ResourceLabels,
        delta: bool,
    ) -> Result<Result<i64, Refusal>, ProtoError> {
        self.key.begin_point();
        let mut point = ExponentialPoint::read(reader, &mut self.key)?;
        let ended = point.flags & NO_RECORDED_VALUE != 0;
        if !ended && let Err(refusal) = check_exponential(&mut point) {
            return Ok(Err(refusal));
        }
        if delta
            && !ended
            && let Some(deltas) = self.ctx.deltas
            && let Err(refusal) = deltas.exponential(self.key.stream(3), &mut point, self.ctx.received)
        {
            return Ok(Err(refusal));
        }
        let histogram = if ended { NativeHistogram::stale() } else { exponential(&point) };
        self.native(reader, head, labels, histogram, (point.time, point.start), point.exemplars.then_some(11))
    }

    /// Stores a native histogram; `times` are the point's own and its start's, `exemplars` the field of its exemplars.
    fn native(
        &mut self,
        reader: Reader<'_>,
        head: &MetricHead<'_>,
        labels: &ResourceLabels,
        histogram: NativeHistogram,
        times: (u64, u64),
        exemplars: Option<u32>,
    ) -> Result<Result<i64, Refusal>, ProtoError> {
        if let Err(reason) = histogram.check() {
            return Ok(Err(("invalid_histogram", reason)));
        }
        let timestamp = self.millis(times.0);
        let id = match self.resolve(head, labels, Part::Value)? {
            Ok(id) => id,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.batch.histograms.push((id, timestamp, histogram));
        self.start(id, timestamp, times.1);
        if let Some(field) = exemplars {
            for exemplar in PointExemplar::all(reader, field) {
                let exemplar = exemplar?.into_exemplar(self.ctx)?;
                self.batch.exemplars.push((id, exemplar));
            }
        }
        Ok(Ok(timestamp))
    }
}

/// A native histogram with the point's own bounds.
fn custom(point: &HistogramPoint) -> NativeHistogram {
    if point.flags & NO_RECORDED_VALUE != 0 {
        return NativeHistogram::stale();
    }
    let mut positive = Buckets::default();
    if point.counts.is_empty() {
        positive.push(point.bounds.len() as i32, point.count as f64);
    }
    point.counts.iter().enumerate().for_each(|(i, count)| positive.push(i as i32, *count as f64));
    // The last bound may be infinity as it is; then nothing lies beyond it.
    let mut custom_bounds = point.bounds.clone();
    if custom_bounds.last() == Some(&f64::INFINITY) {
        custom_bounds.pop();
        let last = custom_bounds.len() as i32;
        positive = positive.iter().fold(Buckets::default(), |mut all, (index, count)| {
            match all.indexes.last() {
                Some(known) if *known == index.min(last) => {
                    if let Some(sum) = all.counts.last_mut() {
                        *sum += count;
                    }
                }
                _ => all.push(index.min(last), count),
            }
            all
        });
    }
    NativeHistogram {
        schema: CUSTOM_SCHEMA,
        count: point.count as f64,
        sum: point.sum.unwrap_or(0.0),
        positive,
        custom_bounds,
        ..NativeHistogram::default()
    }
}

/// What makes a point no histogram; a scale that is too fine is lowered, a count that was left out added up.
fn check_exponential(point: &mut ExponentialPoint) -> Result<(), Refusal> {
    if point.scale < i32::from(SCHEMA_MIN) {
        return Err(("invalid_histogram", format!("scale {} is below {SCHEMA_MIN}, the coarsest there is", point.scale)));
    }
    if !(0.0..f64::INFINITY).contains(&point.zero_threshold) {
        return Err(("invalid_histogram", format!("zero_threshold {} is not a finite number from 0 on", point.zero_threshold)));
    }
    let buckets = point.positive.len() + point.negative.len();
    if buckets > EXPONENTIAL_BUCKETS_MAX {
        return Err(("too_many_buckets", format!("{buckets} buckets with a count, at most {EXPONENTIAL_BUCKETS_MAX} are taken")));
    }
    // Some senders leave the count to be added up. One that says another than its buckets is taken at its word.
    if point.count == 0 {
        let all = point.positive.iter().chain(&point.negative);
        point.count = all.fold(point.zero_count, |total, (_, count)| total.saturating_add(*count));
    }
    point.lower_to(i32::from(SCHEMA_MAX));
    Ok(())
}

/// The native histogram of a point that has been checked.
fn exponential(point: &ExponentialPoint) -> NativeHistogram {
    let buckets = |from: &[(i32, u64)]| Buckets {
        indexes: from.iter().map(|(index, _)| *index).collect(),
        counts: from.iter().map(|(_, count)| *count as f64).collect(),
    };
    NativeHistogram {
        schema: point.scale as i8,
        zero_threshold: if point.zero_threshold == 0.0 { ZERO_THRESHOLD } else { point.zero_threshold },
        zero_count: point.zero_count as f64,
        count: point.count as f64,
        sum: point.sum.unwrap_or(0.0),
        positive: buckets(&point.positive),
        negative: buckets(&point.negative),
        ..NativeHistogram::default()
    }
}
