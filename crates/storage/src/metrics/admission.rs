//! Limits on active series: of all, and of each metric. Only new series are refused; those that are known go on.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// From this share of a metric's limit on, the log warns.
const WARN_SHARE: f64 = 0.8;

/// Series of one metric.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MetricUse {
    /// With a sample in the open head.
    active: u32,
    /// The same when the head before was sealed: a head that has just been opened must not let a flood in.
    before: u32,
    /// How often a new series was refused.
    pub(super) refused: u64,
    /// First and last refusal, Unix nanoseconds.
    pub(super) refused_between: Option<(i64, i64)>,
    warned: bool,
}

impl MetricUse {
    /// Active series.
    pub(super) fn active(&self) -> u32 {
        self.active.max(self.before)
    }
}

/// Counts series that have a sample in the open head: those that were known before it was opened and came back,
/// and those created since (each has a sample on its way).
#[derive(Debug)]
pub(super) struct Admission {
    active_max: usize,
    metric_max: usize,
    /// First number of a series created since the head was opened.
    first_new: AtomicU32,
    /// Older series with a sample in the open head.
    returned: AtomicUsize,
    /// By the code of the metric's name.
    metrics: Mutex<Vec<MetricUse>>,
    /// Time of the last append, Unix nanoseconds.
    now: AtomicI64,
}

impl Admission {
    /// At most `active_max` active series, and `metric_max` of each metric.
    pub(super) fn new(active_max: usize, metric_max: usize) -> Self {
        Self {
            active_max,
            metric_max,
            first_new: AtomicU32::new(0),
            returned: AtomicUsize::new(0),
            metrics: Mutex::default(),
            now: AtomicI64::new(0),
        }
    }

    /// Most active series, and most of one metric.
    pub(super) fn limits(&self) -> (usize, usize) {
        (self.active_max, self.metric_max)
    }

    /// To be told the time, Unix nanoseconds.
    pub(super) fn at(&self, now: i64) {
        self.now.store(now, Ordering::Relaxed);
    }

    /// Whether one more new series may come, which would get the number `next`; `metric` is the code of its metric's
    /// name, 0 for a metric never seen. A refusal is noted.
    pub(super) fn admits(&self, next: u32, (metric, name): (u32, &str)) -> bool {
        let all = self.active(next) < self.active_max;
        let mut metrics = self.metrics.lock();
        let used = slot(&mut metrics, metric);
        let active = used.active() as usize;
        if all && (metric == 0 || active < self.metric_max) {
            if !used.warned && metric != 0 && active as f64 >= WARN_SHARE * self.metric_max as f64 {
                used.warned = true;
                tracing::warn!(metric = name, active, limit = self.metric_max, "a metric has many series; at the limit new ones are refused");
            }
            return true;
        }
        let now = self.now.load(Ordering::Relaxed);
        if used.refused_between.is_none() {
            let limit = if all { self.metric_max } else { self.active_max };
            tracing::warn!(metric = name, active, limit, "new series are refused; /v1/cardinality says which label makes them many");
        }
        used.refused += 1;
        used.refused_between = Some((used.refused_between.map_or(now, |(first, _)| first), now));
        false
    }

    /// A new series was added.
    pub(super) fn added(&self, metric: u32) {
        slot(&mut self.metrics.lock(), metric).active += 1;
    }

    /// Active series when the next new one gets the number `next`.
    pub(super) fn active(&self, next: u32) -> usize {
        let created = next.saturating_sub(self.first_new.load(Ordering::Relaxed)) as usize;
        created + self.returned.load(Ordering::Relaxed)
    }

    /// A series got its first sample in the open head; `metric` gives the code of its metric's name.
    pub(super) fn appeared(&self, series: u32, metric: impl FnOnce() -> u32) {
        if series < self.first_new.load(Ordering::Relaxed) {
            self.returned.fetch_add(1, Ordering::Relaxed);
            slot(&mut self.metrics.lock(), metric()).active += 1;
        }
    }

    /// A new head was opened; the next new series gets the number `next`.
    pub(super) fn sealed(&self, next: u32) {
        self.first_new.store(next, Ordering::Relaxed);
        self.returned.store(0, Ordering::Relaxed);
        for used in &mut *self.metrics.lock() {
            (used.before, used.active, used.warned) = (used.active, 0, false);
        }
    }

    /// What is known of a metric, by the code of its name.
    pub(super) fn metric(&self, code: u32) -> MetricUse {
        self.metrics.lock().get(code as usize).copied().unwrap_or_default()
    }
}

/// The entry of a metric, made when it is not there.
fn slot(metrics: &mut Vec<MetricUse>, code: u32) -> &mut MetricUse {
    if metrics.len() <= code as usize {
        metrics.resize(code as usize + 1, MetricUse::default());
    }
    &mut metrics[code as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_metric_is_refused_and_named() {
        let admission = Admission::new(100, 3);
        let flood = (1, "requests_total");
        for next in 0..3 {
            assert!(admission.admits(next, flood));
            admission.added(1);
        }
        admission.at(7);
        assert!(!admission.admits(3, flood));
        assert!(admission.admits(3, (2, "up")), "another metric has room");
        admission.added(2);
        admission.sealed(4);
        admission.at(9);
        assert!(!admission.admits(4, flood), "a new head does not let it in");
        assert_eq!((admission.metric(1).refused, admission.metric(1).refused_between), (2, Some((7, 9))));
        admission.appeared(0, || 1);
        assert_eq!(admission.metric(1).active(), 3);
        admission.sealed(4);
        assert!(admission.admits(4, flood), "it had one series in the head before");
        assert_eq!(admission.metric(2).refused, 0);
    }
}
