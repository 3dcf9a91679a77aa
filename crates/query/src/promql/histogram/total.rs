//! Sums and means of histograms whose resolution, zero bucket or custom bounds may differ.

use skopos_model::{Buckets, CounterReset, NativeHistogram};

use super::bounds::{coarser, common, regrouped, upper};
use crate::promql::sum::Sum;

/// One has custom bounds, the other an exponential schema: there is no common ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Incompatible;

/// What is to be said about a sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Remarks {
    /// One side says the counter was restarted, the other that it was not.
    pub(crate) collision: bool,
    /// Custom bounds differed: only those of both were kept.
    pub(crate) reconciled: bool,
}

impl Remarks {
    /// Both.
    pub(crate) fn and(&mut self, other: Self) {
        self.collision |= other.collision;
        self.reconciled |= other.reconciled;
    }
}

/// Smallest threshold from `wanted` on that lies inside none of the buckets.
pub(super) fn clear_of(schema: i8, indexes: impl Iterator<Item = i32>, wanted: f64) -> f64 {
    // Negative buckets mirror the positive ones, so at most one index has the threshold inside, and its bound is
    // inside no other.
    let mut indexes = indexes;
    let hit = indexes.find(|i| upper(*i - 1, schema) < wanted && wanted < upper(*i, schema));
    hit.map_or(wanted, |i| upper(i, schema))
}

/// A sum of histograms; every figure carries its rounding error along.
#[derive(Debug, Clone)]
pub(crate) struct Total {
    schema: i8,
    counter_reset: CounterReset,
    zero_threshold: f64,
    zero_count: Sum,
    count: Sum,
    sum: Sum,
    positive: Vec<(i32, Sum)>,
    negative: Vec<(i32, Sum)>,
    bounds: Vec<f64>,
}

fn exact(v: f64) -> Sum {
    Sum::of(v, 0.0)
}

/// Adds buckets in ascending order to such a list.
fn merge(into: &mut Vec<(i32, Sum)>, items: impl Iterator<Item = (i32, f64)>) {
    let mut at = 0;
    let mut missing: Vec<(i32, Sum)> = Vec::new();
    for (index, count) in items {
        while at < into.len() && into[at].0 < index {
            at += 1;
        }
        match (into.get_mut(at), missing.last_mut()) {
            (Some((i, sum)), _) if *i == index => sum.add(count),
            (_, Some((i, sum))) if *i == index => sum.add(count),
            _ => missing.push((index, exact(count))),
        }
    }
    if !missing.is_empty() {
        into.append(&mut missing);
        into.sort_by_key(|(i, _)| *i);
    }
}

/// Gives buckets other indexes, in the same order; those that fall together are added up.
fn renumber(buckets: &mut Vec<(i32, Sum)>, to: impl Fn(i32) -> i32) {
    let mut out: Vec<(i32, Sum)> = Vec::with_capacity(buckets.len());
    for (index, sum) in buckets.drain(..) {
        let index = to(index);
        match out.last_mut() {
            Some((i, total)) if *i == index => *total = total.and(sum),
            _ => out.push((index, sum)),
        }
    }
    *buckets = out;
}

impl Total {
    /// Of one histogram.
    pub(crate) fn of(h: &NativeHistogram) -> Self {
        let sums = |b: &Buckets| b.iter().map(|(i, count)| (i, exact(count))).collect();
        Self {
            schema: h.schema,
            counter_reset: h.counter_reset,
            zero_threshold: h.zero_threshold,
            zero_count: exact(h.zero_count),
            count: exact(h.count),
            sum: exact(h.sum),
            positive: sums(&h.positive),
            negative: sums(&h.negative),
            bounds: h.custom_bounds.clone(),
        }
    }

    /// Adds a histogram.
    pub(crate) fn add(&mut self, h: &NativeHistogram) -> Result<Remarks, Incompatible> {
        self.combine(h, 1.0)
    }

    /// Subtracts a histogram. A difference is a gauge.
    pub(crate) fn subtract(&mut self, h: &NativeHistogram) -> Result<Remarks, Incompatible> {
        let remarks = self.combine(h, -1.0)?;
        self.counter_reset = CounterReset::Gauge;
        Ok(remarks)
    }

    fn is_custom(&self) -> bool {
        self.schema == super::CUSTOM_SCHEMA
    }

    fn combine(&mut self, h: &NativeHistogram, sign: f64) -> Result<Remarks, Incompatible> {
        if self.is_custom() != h.is_custom() {
            return Err(Incompatible);
        }
        let mut remarks = Remarks { collision: self.merge_hint(h.counter_reset), reconciled: false };
        let signed = |(i, count): (i32, f64)| (i, sign * count);
        if self.is_custom() {
            if self.bounds == h.custom_bounds {
                merge(&mut self.positive, h.positive.iter().map(signed));
            } else {
                remarks.reconciled = true;
                let kept = common(&self.bounds, &h.custom_bounds);
                renumber(&mut self.positive, |i| regrouped(i, &self.bounds, &kept));
                merge(&mut self.positive, h.positive.iter().map(|(i, count)| (regrouped(i, &h.custom_bounds, &kept), sign * count)));
                self.bounds = kept;
            }
        } else {
            let threshold = self.align_zero(h);
            let widened = threshold > h.zero_threshold;
            let inside = |index: i32| widened && upper(index, h.schema) <= threshold;
            self.zero_count.add(sign * h.zero_count);
            for (_, count) in h.positive.iter().chain(h.negative.iter()).filter(|(i, _)| inside(*i)) {
                self.zero_count.add(sign * count);
            }
            self.reduce(h.schema);
            let steps = u32::try_from(h.schema - self.schema).unwrap_or(0);
            let outside =
                |b: &'_ Buckets| b.iter().filter(|(i, _)| !inside(*i)).map(|(i, count)| (coarser(i, steps), sign * count)).collect::<Vec<_>>();
            merge(&mut self.positive, outside(&h.positive).into_iter());
            merge(&mut self.negative, outside(&h.negative).into_iter());
        }
        self.count.add(sign * h.count);
        self.sum.add(sign * h.sum);
        Ok(remarks)
    }

    /// What is known about resets of the sum; true when the two contradict each other.
    fn merge_hint(&mut self, other: CounterReset) -> bool {
        use CounterReset::{Gauge, Unknown};
        let (ours, mut collision) = (self.counter_reset, false);
        self.counter_reset = match (ours, other) {
            _ if ours == other => ours,
            (Gauge, _) | (_, Gauge) => Gauge,
            (Unknown, _) | (_, Unknown) => Unknown,
            _ => {
                collision = true;
                Unknown
            }
        };
        collision
    }

    /// Makes the zero bucket as wide as the sum with `h` needs it, and says how wide that is.
    fn align_zero(&mut self, h: &NativeHistogram) -> f64 {
        use std::cmp::Ordering::{Greater, Less};
        let (mut ours, mut theirs) = (self.zero_threshold, h.zero_threshold);
        // Bounds of the coarser schema are bounds of the finer one too, so this ends.
        loop {
            match ours.partial_cmp(&theirs) {
                Some(Greater) => theirs = clear_of(h.schema, h.positive.indexes.iter().chain(&h.negative.indexes).copied(), ours),
                Some(Less) => ours = clear_of(self.schema, self.positive.iter().chain(&self.negative).map(|(i, _)| *i), theirs),
                _ => break,
            }
        }
        if ours > self.zero_threshold {
            let schema = self.schema;
            for buckets in [&mut self.positive, &mut self.negative] {
                let hidden = buckets.partition_point(|(i, _)| upper(*i, schema) <= ours);
                for (_, sum) in buckets.drain(..hidden) {
                    self.zero_count = self.zero_count.and(sum);
                }
            }
            self.zero_threshold = ours;
        }
        ours
    }

    /// Lowers the resolution to `schema` when it is finer.
    pub(crate) fn reduce(&mut self, schema: i8) {
        if schema >= self.schema || self.is_custom() {
            return;
        }
        let steps = u32::try_from(self.schema - schema).unwrap_or(0);
        renumber(&mut self.positive, |i| coarser(i, steps));
        renumber(&mut self.negative, |i| coarser(i, steps));
        self.schema = schema;
    }

    fn each(&mut self, f: impl Fn(f64) -> f64) {
        let counts = self.positive.iter_mut().chain(&mut self.negative).map(|(_, sum)| sum);
        for sum in counts.chain([&mut self.zero_count, &mut self.count, &mut self.sum]) {
            let (value, compensation) = sum.parts();
            *sum = Sum::of(f(value), f(compensation));
        }
    }

    /// Multiplies every figure by a positive factor.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.each(|v| v * factor);
    }

    /// Divides every figure by a positive number.
    pub(crate) fn divide(&mut self, divisor: f64) {
        self.each(|v| v / divisor);
    }

    /// Whether a figure became too large for a float.
    pub(crate) fn overflows(&self) -> bool {
        let counts = self.positive.iter().chain(&self.negative).map(|(_, sum)| *sum);
        counts.chain([self.zero_count, self.count, self.sum]).any(|sum| sum.parts().0.is_infinite())
    }

    /// The histogram.
    pub(crate) fn finish(&self) -> NativeHistogram {
        let buckets = |list: &[(i32, Sum)]| {
            let mut out = Buckets::default();
            list.iter().for_each(|(i, sum)| out.push(*i, sum.value()));
            out
        };
        NativeHistogram {
            schema: self.schema,
            counter_reset: self.counter_reset,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count.value(),
            count: self.count.value(),
            sum: self.sum.value(),
            positive: buckets(&self.positive),
            negative: buckets(&self.negative),
            custom_bounds: self.bounds.clone(),
        }
    }
}

/// A mean of histograms: of their sum, or as a running mean from where the sum becomes too large for a float.
#[derive(Debug, Clone)]
pub(crate) struct Mean {
    total: Total,
    count: f64,
    running: bool,
}

impl Mean {
    /// Of one histogram.
    pub(crate) fn of(h: &NativeHistogram) -> Self {
        Self { total: Total::of(h), count: 1.0, running: false }
    }

    /// With one more.
    pub(crate) fn add(&mut self, h: &NativeHistogram) -> Result<Remarks, Incompatible> {
        self.count += 1.0;
        if !self.running {
            let mut next = self.total.clone();
            let remarks = next.add(h)?;
            if !next.overflows() {
                self.total = next;
                return Ok(remarks);
            }
            self.running = true;
            self.total.divide(self.count - 1.0);
        }
        self.total.scale((self.count - 1.0) / self.count);
        self.total.add(&super::divided(h, self.count))
    }

    /// The mean.
    pub(crate) fn finish(mut self) -> NativeHistogram {
        if !self.running {
            self.total.divide(self.count);
        }
        self.total.finish()
    }
}
