//! Limits on active series: of all, of each metric, of each source. Only new series are refused; those that are known
//! go on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};

use parking_lot::Mutex;
use skopos_model::Labels;
use skopos_model::labels::METRIC_NAME;

use super::floods::{Flood, FloodKey, Floods};
use super::registry::Registry;

/// From this share of a limit on, the log warns.
const WARN_SHARE: f64 = 0.8;

/// Labels that say who sends a series, the first that is there.
pub(super) const SOURCES: [&str; 2] = ["service_name", "job"];

/// A limit on series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Limit {
    /// On all active series.
    All,
    /// On those of one metric.
    Metric,
    /// On those of one source.
    Source,
    /// On the numbers there are.
    Numbers,
}

impl Limit {
    /// Its name in the configuration.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "active_series_max",
            Self::Metric => "active_series_per_metric_max",
            Self::Source => "active_series_per_source_max",
            Self::Numbers => "series_numbers",
        }
    }
}

/// Most active series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SeriesLimits {
    /// Of all.
    pub(super) all: usize,
    /// Of one metric.
    pub(super) metric: usize,
    /// Of one source.
    pub(super) source: usize,
}

impl SeriesLimits {
    /// The value of one of them.
    pub(super) fn of(&self, limit: Limit) -> usize {
        match limit {
            Limit::All => self.all,
            Limit::Metric => self.metric,
            Limit::Source => self.source,
            Limit::Numbers => super::registry::SERIES_MAX as usize,
        }
    }
}

/// Series of one metric, or of one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// With a sample in the open head.
    active: u32,
    /// The same when the head before was sealed: a head that has just been opened must not let a flood in.
    before: u32,
    warned: bool,
}

impl Use {
    /// Active series.
    pub(super) fn active(&self) -> u32 {
        self.active.max(self.before)
    }

    /// Whether the log should warn now.
    fn warns(&mut self, limit: usize) -> bool {
        let warns = !self.warned && f64::from(self.active()) >= WARN_SHARE * limit as f64;
        self.warned |= warns;
        warns
    }

    fn sealed(&mut self) {
        (self.before, self.active, self.warned) = (self.active, 0, false);
    }
}

/// Metric and source of a series, by the codes of their values; 0 stands for a value never seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    metric: u32,
    source: SourceKey,
}

/// Which of [`SOURCES`] it is, and the code of its value.
type SourceKey = (u8, u32);

/// A source no label tells.
const NOBODY: SourceKey = (u8::MAX, 0);

/// The source of a series in words, "" where no label tells it.
pub(super) fn source_of(labels: &Labels) -> &str {
    SOURCES.iter().find_map(|label| labels.get(label)).unwrap_or("")
}

impl Origin {
    /// Of labels that need not be known.
    pub(super) fn of_labels(labels: &Labels, registry: &Registry) -> Self {
        let source = SOURCES.iter().zip(0..).find_map(|(label, at)| Some((at, registry.value_code(label, labels.get(label)?))));
        Self { metric: registry.value_code(METRIC_NAME, labels.get(METRIC_NAME).unwrap_or("")), source: source.unwrap_or(NOBODY) }
    }

    /// Of a known series.
    pub(super) fn of_series(series: u32, registry: &Registry) -> Self {
        let source = SOURCES.iter().zip(0..).find_map(|(label, at)| match registry.code_of(label, series).0 {
            0 => None,
            code => Some((at, code)),
        });
        Self { metric: registry.code_of(METRIC_NAME, series).0, source: source.unwrap_or(NOBODY) }
    }

    /// Whether no series of this source is known.
    fn is_new_source(&self) -> bool {
        self.source != NOBODY && self.source.1 == 0
    }
}

/// Series in use, by what they belong to.
#[derive(Debug, Default)]
struct Uses {
    /// By the code of the metric's name.
    metrics: Vec<Use>,
    sources: HashMap<SourceKey, Use>,
}

impl Uses {
    fn metric(&mut self, code: u32) -> &mut Use {
        if self.metrics.len() <= code as usize {
            self.metrics.resize(code as usize + 1, Use::default());
        }
        &mut self.metrics[code as usize]
    }

    fn add(&mut self, origin: Origin) {
        self.metric(origin.metric).active += 1;
        self.sources.entry(origin.source).or_default().active += 1;
    }
}

/// A series that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Refused {
    pub(super) flood: FloodKey,
    pub(super) limit: Limit,
}

/// Counts series that have a sample in the open head: those that were known before it was opened and came back,
/// and those created since (each has a sample on its way).
#[derive(Debug)]
pub(super) struct Admission {
    limits: SeriesLimits,
    /// First number of a series created since the head was opened, and since the head before was.
    first_new: AtomicU32,
    first_recent: AtomicU32,
    /// When those were, Unix nanoseconds.
    opened: AtomicI64,
    opened_recent: AtomicI64,
    /// Older series with a sample in the open head.
    returned: AtomicUsize,
    /// Active series when the head before was sealed.
    before: AtomicUsize,
    uses: Mutex<Uses>,
    floods: Mutex<Floods>,
    /// What was acknowledged once is taken again, whatever the limits are now.
    recovering: AtomicBool,
    /// Time of the last request, Unix nanoseconds.
    now: AtomicI64,
}

impl Admission {
    /// With these limits.
    pub(super) fn new(limits: SeriesLimits) -> Self {
        Self {
            limits,
            first_new: AtomicU32::new(0),
            first_recent: AtomicU32::new(0),
            opened: AtomicI64::new(0),
            opened_recent: AtomicI64::new(0),
            returned: AtomicUsize::new(0),
            before: AtomicUsize::new(0),
            uses: Mutex::default(),
            floods: Mutex::default(),
            recovering: AtomicBool::new(false),
            now: AtomicI64::new(0),
        }
    }

    /// The limits.
    pub(super) fn limits(&self) -> SeriesLimits {
        self.limits
    }

    /// To be told the time, Unix nanoseconds.
    pub(super) fn at(&self, now: i64) {
        self.now.store(now, Ordering::Relaxed);
    }

    /// The log is read again: nothing is refused until [`Self::recovered`].
    pub(super) fn recovering(&self) {
        self.recovering.store(true, Ordering::Relaxed);
    }

    /// The log has been read: `active` are the series with a sample in the open head, the next new one gets `next`.
    pub(super) fn recovered(&self, next: u32, active: impl Iterator<Item = Origin>, now: i64) {
        let mut uses = Uses::default();
        let mut count = 0;
        active.for_each(|origin| {
            uses.add(origin);
            count += 1;
        });
        *self.uses.lock() = uses;
        for first in [&self.first_new, &self.first_recent] {
            first.store(next, Ordering::Relaxed);
        }
        for opened in [&self.opened, &self.opened_recent] {
            opened.store(now, Ordering::Relaxed);
        }
        self.returned.store(count, Ordering::Relaxed);
        self.recovering.store(false, Ordering::Relaxed);
    }

    /// Whether one more new series may come, which would get the number `next`; else the limit that is reached.
    pub(super) fn admits(&self, next: u32, origin: Origin, labels: &Labels) -> Result<(), Limit> {
        if self.recovering.load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.active(next) >= self.limits.all {
            return Err(Limit::All);
        }
        let mut uses = self.uses.lock();
        // Code 0 is a metric or a source never seen: it has no series yet.
        if origin.metric != 0 {
            let used = uses.metric(origin.metric);
            if used.active() as usize >= self.limits.metric {
                return Err(Limit::Metric);
            }
            if used.warns(self.limits.metric) {
                let (metric, active) = (labels.name(), used.active());
                tracing::warn!(metric, active, limit = self.limits.metric, "a metric has many series; at the limit new ones are refused");
            }
        }
        if !origin.is_new_source() {
            let used = uses.sources.entry(origin.source).or_default();
            if used.active() as usize >= self.limits.source {
                return Err(Limit::Source);
            }
            if used.warns(self.limits.source) {
                let (source, active) = (source_of(labels), used.active());
                tracing::warn!(source, active, limit = self.limits.source, "a source has many series; at the limit new ones are refused");
            }
        }
        Ok(())
    }

    /// Notes that a series is refused.
    pub(super) fn refuse(&self, labels: &Labels, limit: Limit) -> Refused {
        let source = source_of(labels);
        let (flood, begins) = self.floods.lock().refuse(labels, source, limit, self.now.load(Ordering::Relaxed));
        if begins {
            let (metric, value) = (labels.name(), self.limits.of(limit));
            tracing::warn!(metric, source, limit = limit.name(), value, "new series are refused; /v1/floods says which label makes them many");
        }
        Refused { flood, limit }
    }

    /// Counts samples of refused series.
    pub(super) fn lost(&self, refused: Refused, samples: u64) {
        self.floods.lock().lost(refused.flood, refused.limit, samples);
    }

    /// A new series was added.
    pub(super) fn added(&self, origin: Origin) {
        self.uses.lock().add(origin);
    }

    /// Active series when the next new one gets the number `next`.
    pub(super) fn active(&self, next: u32) -> usize {
        let created = next.saturating_sub(self.first_new.load(Ordering::Relaxed)) as usize;
        (created + self.returned.load(Ordering::Relaxed)).max(self.before.load(Ordering::Relaxed))
    }

    /// A series got its first sample in the open head.
    pub(super) fn appeared(&self, series: u32, origin: impl FnOnce() -> Origin) {
        if series < self.first_new.load(Ordering::Relaxed) {
            self.returned.fetch_add(1, Ordering::Relaxed);
            self.uses.lock().add(origin());
        }
    }

    /// A new head was opened; the next new series gets the number `next`.
    pub(super) fn sealed(&self, next: u32) {
        let first = self.first_new.swap(next, Ordering::Relaxed);
        let created = next.saturating_sub(first) as usize;
        self.first_recent.store(first, Ordering::Relaxed);
        self.opened_recent.store(self.opened.swap(self.now.load(Ordering::Relaxed), Ordering::Relaxed), Ordering::Relaxed);
        self.before.store(created + self.returned.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        let mut uses = self.uses.lock();
        uses.metrics.iter_mut().for_each(Use::sealed);
        uses.sources.values_mut().for_each(Use::sealed);
        // Sources that are gone take no room.
        uses.sources.retain(|_, used| used.before > 0);
    }

    /// Active series of a metric, by the code of its name.
    pub(super) fn of_metric(&self, code: u32) -> u32 {
        self.uses.lock().metrics.get(code as usize).map_or(0, Use::active)
    }

    /// First number of a series created lately, and since when that is, Unix nanoseconds.
    pub(super) fn recent(&self) -> (u32, i64) {
        (self.first_recent.load(Ordering::Relaxed), self.opened_recent.load(Ordering::Relaxed))
    }

    /// Metrics whose new series are refused, those that lost most first.
    pub(super) fn floods(&self) -> Vec<Flood> {
        self.floods.lock().list()
    }

    /// Samples of refused series since the start, by the limit's name.
    pub(super) fn lost_by_limit(&self) -> Vec<(&'static str, u64)> {
        let mut all: Vec<_> = self.floods.lock().lost_by_limit().map(|(limit, samples)| (limit.name(), samples)).collect();
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds series to a registry as far as they are admitted.
    struct Bench {
        registry: Registry,
        admission: Admission,
    }

    impl Bench {
        fn new(all: usize, metric: usize, source: usize) -> Self {
            Self { registry: Registry::default(), admission: Admission::new(SeriesLimits { all, metric, source }) }
        }

        fn add(&mut self, metric: &str, job: &str, user: u32) -> Result<(), Limit> {
            let user = user.to_string();
            let labels = Labels::new([("__name__", metric), ("job", job), ("user", user.as_str())]);
            self.admission.admits(self.registry.next(), Origin::of_labels(&labels, &self.registry), &labels).inspect_err(|limit| {
                let refused = self.admission.refuse(&labels, *limit);
                self.admission.lost(refused, 1);
            })?;
            let added = self.registry.add(&labels).expect("room");
            self.admission.added(Origin::of_series(added.0, &self.registry));
            Ok(())
        }

        fn seal(&mut self) {
            self.admission.sealed(self.registry.next());
        }

        fn appear(&self, series: u32) {
            self.admission.appeared(series, || Origin::of_series(series, &self.registry));
        }
    }

    #[test]
    fn a_flood_of_one_metric_is_refused_and_named() {
        let mut bench = Bench::new(100, 3, 100);
        for user in 0..3 {
            assert_eq!(bench.add("requests_total", "shop", user), Ok(()));
        }
        bench.admission.at(7);
        assert_eq!(bench.add("requests_total", "shop", 3), Err(Limit::Metric));
        assert_eq!(bench.add("up", "shop", 0), Ok(()), "another metric has room");
        bench.seal();
        bench.admission.at(9);
        assert_eq!(bench.add("requests_total", "shop", 4), Err(Limit::Metric), "a new head does not let it in");
        let floods = bench.admission.floods();
        let flood = &floods[0];
        assert_eq!((&*flood.metric, &*flood.source, flood.limit.name()), ("requests_total", "shop", "active_series_per_metric_max"));
        assert_eq!((flood.since, flood.last, flood.samples, flood.series.count()), (7, 9, 2, 2));
        bench.appear(0);
        assert_eq!(bench.admission.of_metric(1), 3);
        bench.seal();
        assert_eq!(bench.add("requests_total", "shop", 4), Ok(()), "it had one series in the head before");
        assert_eq!(floods.len(), 1);
        assert_eq!(bench.admission.lost_by_limit(), [("active_series_per_metric_max", 2)]);
    }

    #[test]
    fn a_source_cannot_take_the_room_of_others() {
        let mut bench = Bench::new(100, 100, 4);
        for user in 0..4 {
            assert_eq!(bench.add(&format!("m{user}"), "noisy", user), Ok(()));
        }
        assert_eq!(bench.add("m9", "noisy", 9), Err(Limit::Source));
        assert_eq!(bench.add("m9", "quiet", 9), Ok(()));
        bench.seal();
        assert_eq!(bench.add("m9", "noisy", 9), Err(Limit::Source), "a new head does not let it in");
        bench.seal();
        assert_eq!(bench.add("m9", "noisy", 9), Ok(()), "it was silent for a whole head");
    }

    #[test]
    fn all_together_have_a_limit_over_two_heads() {
        let mut bench = Bench::new(3, 100, 100);
        for user in 0..3 {
            assert_eq!(bench.add("m", "a", user), Ok(()));
        }
        assert_eq!(bench.add("never_seen", "b", 3), Err(Limit::All));
        bench.seal();
        assert_eq!(bench.add("never_seen", "b", 3), Err(Limit::All), "the three may come back");
        bench.appear(0);
        bench.seal();
        assert_eq!(bench.add("never_seen", "b", 3), Ok(()));
        assert_eq!(&*bench.admission.floods()[0].metric, "never_seen");
    }

    #[test]
    fn what_was_acknowledged_is_taken_again() {
        let mut bench = Bench::new(2, 2, 2);
        bench.admission.recovering();
        for user in 0..5 {
            assert_eq!(bench.add("m", "a", user), Ok(()));
        }
        let active = [0, 4].map(|series| Origin::of_series(series, &bench.registry));
        bench.admission.recovered(bench.registry.next(), active.into_iter(), 1);
        assert_eq!((bench.admission.active(bench.registry.next()), bench.admission.of_metric(1)), (2, 2));
        assert_eq!(bench.add("m", "a", 9), Err(Limit::All));
        bench.appear(1);
        assert_eq!(bench.admission.active(bench.registry.next()), 3, "known series go on");
    }
}
