//! Histograms with explicit buckets and one exemplar per bucket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::series::{Family, Number, Series};
use crate::clock;
use crate::trace::context::Context;
use crate::trace::id::{SpanId, TraceId};

/// A measurement and the span it was made in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) value: f64,
    pub(crate) time_ns: u64,
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
}

#[derive(Debug)]
pub(crate) struct Buckets {
    bounds: Arc<[f64]>,
    /// One more than bounds: the last is everything above.
    cells: Box<[Cell]>,
    sum: Number,
}

#[derive(Debug, Default)]
struct Cell {
    count: AtomicU64,
    exemplar: Mutex<Option<Exemplar>>,
}

/// A consistent reading.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) bounds: Arc<[f64]>,
    pub(crate) counts: Vec<u64>,
    pub(crate) exemplars: Vec<Option<Exemplar>>,
    pub(crate) sum: f64,
}

impl Buckets {
    pub(crate) fn new(bounds: Arc<[f64]>) -> Self {
        let cells = (0..=bounds.len()).map(|_| Cell::default()).collect();
        Self { bounds, cells, sum: Number::default() }
    }

    fn observe(&self, value: f64) {
        if value.is_nan() {
            return;
        }
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        let cell = &self.cells[bucket];
        cell.count.fetch_add(1, Ordering::Relaxed);
        self.sum.add(value);
        Context::with_current(|context| {
            let span = context.span_context();
            // Another thread writing its exemplar into this bucket is as good as ours.
            if span.sampled
                && let Some(mut slot) = cell.exemplar.try_lock()
            {
                *slot = Some(Exemplar { value, time_ns: clock::now_ns(), trace_id: span.trace_id, span_id: span.span_id });
            }
        });
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            bounds: Arc::clone(&self.bounds),
            counts: self.cells.iter().map(|cell| cell.count.load(Ordering::Relaxed)).collect(),
            exemplars: self.cells.iter().map(|cell| *cell.exemplar.lock()).collect(),
            sum: self.sum.get(),
        }
    }
}

/// Bounds in rising order without what cannot be one.
pub(crate) fn clean_bounds(bounds: &[f64]) -> Arc<[f64]> {
    let mut bounds: Vec<f64> = bounds.iter().copied().filter(|bound| bound.is_finite()).collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    bounds.into()
}

/// A distribution of measurements.
#[derive(Debug, Clone)]
pub struct Histogram(pub(crate) Arc<Series<Buckets>>);

impl Histogram {
    /// Counts `value`; inside a sampled span, with that span as the bucket's exemplar. NaN is ignored.
    pub fn observe(&self, value: f64) {
        self.0.value.observe(value);
    }

    /// Counts a duration in seconds.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    /// How many measurements there are.
    pub fn count(&self) -> u64 {
        self.0.value.snapshot().counts.iter().sum()
    }
}

/// A histogram with labels.
#[derive(Debug, Clone)]
pub struct HistogramFamily(pub(crate) Arc<Family<Buckets>>);

impl HistogramFamily {
    /// The histogram with these label values, in the order of the label names.
    pub fn with(&self, values: &[&str]) -> Histogram {
        Histogram(self.0.get(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_nothing_is_lost() {
        let buckets = Buckets::new(clean_bounds(&[1.0, 0.5, 1.0, f64::INFINITY]));
        for value in [0.5, 0.50001, 1.0, 7.0, f64::NAN] {
            buckets.observe(value);
        }
        let snapshot = buckets.snapshot();
        assert_eq!(*snapshot.bounds, [0.5, 1.0]);
        assert_eq!(snapshot.counts, [1, 2, 1]);
        assert!((snapshot.sum - 9.00001).abs() < 1e-9);
    }
}
