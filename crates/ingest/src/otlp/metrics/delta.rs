//! Delta points into cumulative ones.
//!
//! Prometheus series only know sums since a start; a sender that reports what happened since its last report needs a
//! memory of what it said before. It is bounded: [`DeltaLimits`] says how many streams are remembered and for how long.
//! What is computed with it cannot be computed again from the body, so that the rows and not the body have to be
//! logged. Nothing is remembered before the rows are stored: a request works on a [`DeltaPass`], whose changes are
//! handed back to [`Deltas::commit`] afterwards.
//!
//! As the OpenTelemetry collector does: a gap is accepted, a point that is not newer than the last one or that begins
//! before its stream is refused, other bucket bounds begin anew, and exponential buckets go to the coarser scale.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;

use crate::otlp::metrics::point::{ExponentialPoint, HistogramPoint, NumberPoint};
use crate::series::Refusal;

/// Bounds of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaLimits {
    /// Most streams; points of further ones are refused with the reason `delta_streams_max`.
    pub streams_max: usize,
    /// A stream without a point for so long is forgotten, nanoseconds; its next point starts anew.
    pub idle_nanos: i64,
}

impl Default for DeltaLimits {
    /// 100,000 streams (a histogram of twelve buckets takes about 250 bytes) and an hour, so that a reporter with a
    /// long interval keeps its stream.
    fn default() -> Self {
        Self { streams_max: 100_000, idle_nanos: 3_600_000_000_000 }
    }
}

/// Sums of delta streams so far.
#[derive(Default)]
pub struct Deltas {
    limits: DeltaLimits,
    streams: HashMap<u128, Stream>,
    /// When idle streams were looked for, Unix nanoseconds.
    swept: i64,
}

impl fmt::Debug for Deltas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deltas").field("limits", &self.limits).field("streams", &self.streams.len()).finish()
    }
}

#[derive(Debug, Clone)]
struct Stream {
    /// Of the first point, Unix nanoseconds.
    start: u64,
    /// Of the last point.
    last: u64,
    /// When the last point came.
    seen: i64,
    sum: Sum,
}

#[derive(Debug, Clone)]
enum Sum {
    Number(f64),
    Explicit { bounds: Vec<f64>, counts: Vec<u64>, count: u64, sum: Option<f64> },
    Exponential(ExponentialPoint),
}

/// What a request has added, to be kept once it is stored.
#[derive(Debug)]
pub struct DeltaChanges(HashMap<u128, Stream>);

impl Deltas {
    /// Without streams.
    pub fn new(limits: DeltaLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Number of streams remembered.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// For one request.
    pub fn pass(&self) -> DeltaPass<'_> {
        DeltaPass { deltas: self, changes: RefCell::new(HashMap::new()), new: Cell::new(0) }
    }

    /// Keeps what a request that has been stored added; forgets idle streams now and then. `now` in Unix nanoseconds.
    pub fn commit(&mut self, changes: DeltaChanges, now: i64) {
        self.streams.extend(changes.0);
        if now.saturating_sub(self.swept) >= self.limits.idle_nanos / 16 {
            self.swept = now;
            let oldest = now.saturating_sub(self.limits.idle_nanos);
            self.streams.retain(|_, stream| stream.seen >= oldest);
        }
    }
}

/// One request's view of the streams.
#[derive(Debug)]
pub struct DeltaPass<'a> {
    deltas: &'a Deltas,
    changes: RefCell<HashMap<u128, Stream>>,
    /// How many of the changes are streams that were not known before.
    new: Cell<usize>,
}

/// When a point's stream began and its sum is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) time: u64,
}

impl DeltaPass<'_> {
    /// What is to be committed.
    pub fn into_changes(self) -> DeltaChanges {
        DeltaChanges(self.changes.into_inner())
    }

    /// Adds a point to its stream; `add` puts the point to the sum so far, or gives `false` where they do not fit and
    /// the stream begins anew. Gives back the sum.
    fn add(&self, key: u128, point: Span, received: i64, fresh: Sum, add: impl FnOnce(&mut Sum) -> bool) -> Result<Stream, Refusal> {
        let mut changes = self.changes.borrow_mut();
        let known = changes.get(&key).or_else(|| self.deltas.streams.get(&key)).cloned();
        let begun = |start: u64| Stream { start, last: point.time, seen: received, sum: fresh.clone() };
        let stream = match known {
            None => {
                if self.deltas.streams.len() + self.new.get() >= self.deltas.limits.streams_max {
                    let max = self.deltas.limits.streams_max;
                    return Err(("delta_streams_max", format!("{max} delta streams are remembered, the most: its sum cannot be kept")));
                }
                self.new.set(self.new.get() + 1);
                begun(point.start)
            }
            Some(known) if point.time <= known.last => {
                return Err(("delta_out_of_order", format!("the point of {} ns is not after the stream's last, of {} ns", point.time, known.last)));
            }
            Some(known) if point.start != 0 && point.start < known.start => {
                return Err(("delta_out_of_order", format!("the point begins at {} ns, before its stream at {} ns", point.start, known.start)));
            }
            Some(mut known) => {
                if add(&mut known.sum) {
                    Stream { last: point.time, seen: received, ..known }
                } else {
                    begun(if point.start == 0 { known.last } else { point.start })
                }
            }
        };
        changes.insert(key, stream.clone());
        Ok(stream)
    }

    /// Turns a delta number into the sum of its stream.
    pub(crate) fn number(&self, key: u128, point: &mut NumberPoint, received: i64) -> Result<(), Refusal> {
        let Some(value) = point.value else { return Ok(()) };
        let span = Span { start: point.start, time: time_or(point.time, received) };
        let stream = self.add(key, span, received, Sum::Number(value), |sum| match sum {
            Sum::Number(number) => {
                *number += value;
                true
            }
            _ => false,
        })?;
        if let Sum::Number(sum) = stream.sum {
            (point.start, point.value) = (stream.start, Some(sum));
        }
        Ok(())
    }

    /// Turns a delta histogram into the sum of its stream.
    pub(crate) fn explicit(&self, key: u128, point: &mut HistogramPoint, received: i64) -> Result<(), Refusal> {
        let span = Span { start: point.start, time: time_or(point.time, received) };
        let fresh = Sum::Explicit { bounds: point.bounds.clone(), counts: point.counts.clone(), count: point.count, sum: point.sum };
        let stream = self.add(key, span, received, fresh, |sum| match sum {
            Sum::Explicit { bounds, counts, count, sum } if *bounds == point.bounds && counts.len() == point.counts.len() => {
                counts.iter_mut().zip(&point.counts).for_each(|(all, more)| *all = all.saturating_add(*more));
                *count = count.saturating_add(point.count);
                *sum = sum.zip(point.sum).map(|(all, more)| all + more);
                true
            }
            _ => false,
        })?;
        if let Sum::Explicit { counts, count, sum, .. } = stream.sum {
            (point.start, point.counts, point.count, point.sum) = (stream.start, counts, count, sum);
        }
        Ok(())
    }

    /// Turns a delta exponential histogram into the sum of its stream.
    pub(crate) fn exponential(&self, key: u128, point: &mut ExponentialPoint, received: i64) -> Result<(), Refusal> {
        let span = Span { start: point.start, time: time_or(point.time, received) };
        let fresh = Sum::Exponential(point.clone());
        let stream = self.add(key, span, received, fresh, |sum| match sum {
            Sum::Exponential(all) => {
                all.add(point);
                true
            }
            _ => false,
        })?;
        if let Sum::Exponential(sum) = stream.sum {
            *point = ExponentialPoint { start: stream.start, time: point.time, flags: point.flags, exemplars: point.exemplars, ..sum };
        }
        Ok(())
    }
}

fn time_or(time: u64, received: i64) -> u64 {
    if time == 0 { u64::try_from(received).unwrap_or(0) } else { time }
}

/// Most buckets of a sum: beyond, neighbours are put together.
const SUM_BUCKETS_MAX: usize = 1024;

impl ExponentialPoint {
    /// Widens the zero bucket: buckets that begin inside of it are emptied into it, the last of them as a whole.
    fn widen_zero(&mut self, threshold: f64) {
        if threshold <= self.zero_threshold {
            return;
        }
        let base_log = 2f64.powi(-self.scale);
        let bound = |index: i32| (f64::from(index) * base_log).exp2();
        let mut reached = threshold;
        for buckets in [&mut self.positive, &mut self.negative] {
            let inside = buckets.partition_point(|(index, _)| bound(index.saturating_sub(1)) < threshold);
            for (index, count) in buckets.drain(..inside) {
                self.zero_count = self.zero_count.saturating_add(count);
                reached = reached.max(bound(index));
            }
        }
        self.zero_threshold = reached;
    }

    /// Adds the observations of another point.
    fn add(&mut self, other: &Self) {
        let mut other = other.clone();
        let scale = self.scale.min(other.scale);
        self.lower_to(scale);
        other.lower_to(scale);
        // Widening one may reach further than the other's threshold: at most a few rounds until both agree.
        while self.zero_threshold != other.zero_threshold {
            let threshold = self.zero_threshold.max(other.zero_threshold);
            self.widen_zero(threshold);
            other.widen_zero(threshold);
        }
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.zip(other.sum).map(|(all, more)| all + more);
        for (all, more) in [(&mut self.positive, &other.positive), (&mut self.negative, &other.negative)] {
            *all = both(all, more);
        }
        while self.positive.len().max(self.negative.len()) > SUM_BUCKETS_MAX && self.scale > i32::from(skopos_model::histogram::SCHEMA_MIN) {
            self.lower_to(self.scale - 1);
        }
    }
}

/// Two lists in ascending order as one.
fn both(a: &[(i32, u64)], b: &[(i32, u64)]) -> Vec<(i32, u64)> {
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    let mut out = Vec::with_capacity(a.len() + b.len());
    loop {
        match (a.peek().copied(), b.peek().copied()) {
            (Some((i, x)), Some((j, y))) if i == j => {
                out.push((i, x.saturating_add(y)));
                a.next();
                b.next();
            }
            (Some(one), Some((j, _))) if one.0 < j => {
                out.push(one);
                a.next();
            }
            (_, Some(one)) => {
                out.push(one);
                b.next();
            }
            (Some(one), None) => {
                out.push(one);
                a.next();
            }
            (None, None) => return out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(start: u64, time: u64, value: f64) -> NumberPoint {
        NumberPoint { start, time, value: Some(value), ..NumberPoint::default() }
    }

    #[test]
    fn numbers_add_up_and_only_stored_ones_count() {
        let mut deltas = Deltas::default();
        for (time, value, sum) in [(10, 2.0, 2.0), (20, 3.0, 5.0), (40, 1.5, 6.5)] {
            let lost = deltas.pass();
            lost.number(1, &mut point(5, time, 99.0), 0).expect("taken");
            drop(lost);
            let pass = deltas.pass();
            let mut one = point(5, time, value);
            pass.number(1, &mut one, 0).expect("taken");
            assert_eq!((one.value, one.start), (Some(sum), 5));
            let changes = pass.into_changes();
            deltas.commit(changes, 0);
        }
        let pass = deltas.pass();
        for (start, time) in [(5, 40), (5, 30), (4, 50)] {
            assert_eq!(pass.number(1, &mut point(start, time, 1.0), 0).expect_err("late").0, "delta_out_of_order");
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut deltas = Deltas::new(DeltaLimits { streams_max: 2, idle_nanos: 160 });
        let pass = deltas.pass();
        pass.number(1, &mut point(0, 1, 1.0), 100).expect("taken");
        pass.number(2, &mut point(0, 1, 1.0), 200).expect("taken");
        assert_eq!(pass.number(3, &mut point(0, 1, 1.0), 200).expect_err("full").0, "delta_streams_max");
        pass.number(1, &mut point(0, 2, 1.0), 100).expect("known streams go on");
        let changes = pass.into_changes();
        deltas.commit(changes, 200);
        assert_eq!(deltas.len(), 2);
        deltas.commit(DeltaChanges(HashMap::new()), 300);
        assert_eq!(deltas.len(), 1, "the idle one is forgotten");
    }

    #[test]
    fn exponential_sums_agree_on_scale_and_zero_bucket() {
        let mut all = ExponentialPoint {
            scale: 2,
            count: 15,
            zero_count: 1,
            sum: Some(1.0),
            positive: vec![(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)],
            ..Default::default()
        };
        all.add(&ExponentialPoint { scale: 1, count: 0, sum: Some(2.0), ..Default::default() });
        assert_eq!((all.scale, &all.positive[..], all.zero_count, all.sum), (1, &[(1, 3), (2, 7), (3, 5)][..], 1, Some(3.0)));
        let wide = ExponentialPoint { scale: 1, zero_threshold: 1.5, zero_count: 4, count: 4, ..Default::default() };
        all.add(&wide);
        // Bucket 2 of scale 1 is (√2, 2]: it begins inside of 1.5 and goes to the zero bucket as a whole.
        assert_eq!((all.zero_threshold, all.zero_count, &all.positive[..]), (2.0, 15, &[(3, 5)][..]));
        assert_eq!(all.count, 19);
    }
}
