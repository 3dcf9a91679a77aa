//! All metrics of a pipeline.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;

use super::histogram::{Buckets, HistogramFamily, clean_bounds};
use super::name::{self, Kind};
use super::series::{CounterFamily, Family, GaugeFamily, Number};
use crate::clock;
use crate::limits::MAX_METRICS;

/// How a metric is described.
#[derive(Debug, Clone, Copy, Default)]
pub struct MetricOptions<'a> {
    /// One sentence on what is counted or measured.
    pub help: &'a str,
    /// Unit in UCUM: `s`, `By`, `1`, `{order}`; empty if it has none.
    pub unit: &'a str,
    /// Names of the labels.
    pub labels: &'a [&'a str],
    /// Only offered at `/metrics`, not exported over OTLP: for a name that exists for scrapers' sake beside another.
    pub scrape_only: bool,
}

/// Tells a callback's values with their label values, in the order of the label names.
pub type Emit<'a> = dyn FnMut(&[&str], f64) + 'a;
type Callback = Box<dyn Fn(&mut Emit<'_>) + Send + Sync>;

pub(crate) enum Source {
    Counter(Arc<Family<Number>>),
    Gauge(Arc<Family<Number>>),
    Histogram(Arc<Family<Buckets>>),
    Observed(Callback),
}

pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) prometheus_name: String,
    pub(crate) help: String,
    pub(crate) unit: String,
    pub(crate) kind: Kind,
    pub(crate) labels: Vec<String>,
    pub(crate) scrape_only: bool,
    pub(crate) source: Source,
}

/// The metrics of a pipeline; cheap to clone. Asking for a metric that exists returns it.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    metrics: RwLock<Vec<Arc<Metric>>>,
    start_ns: u64,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self { inner: Arc::new(Inner { metrics: RwLock::default(), start_ns: clock::now_ns() }) }
    }

    /// A counter. If the name is taken by another kind or other labels, a counter that nobody reads, with a warning.
    pub fn counter(&self, name: &str, options: MetricOptions<'_>) -> CounterFamily {
        let family = self.get_or_add(
            name,
            Kind::Counter,
            options,
            |source| match source {
                Source::Counter(family) => Some(Arc::clone(family)),
                _ => None,
            },
            || Arc::new(Family::new(options.labels, Number::default)),
            Source::Counter,
        );
        CounterFamily(family)
    }

    /// A gauge. If the name is taken by another kind or other labels, a gauge that nobody reads, with a warning.
    pub fn gauge(&self, name: &str, options: MetricOptions<'_>) -> GaugeFamily {
        let family = self.get_or_add(
            name,
            Kind::Gauge,
            options,
            |source| match source {
                Source::Gauge(family) => Some(Arc::clone(family)),
                _ => None,
            },
            || Arc::new(Family::new(options.labels, Number::default)),
            Source::Gauge,
        );
        GaugeFamily(family)
    }

    /// A histogram with these upper bounds ([`super::DURATION_SECONDS`] suits durations). If the name is taken by
    /// another kind or other labels, a histogram that nobody reads, with a warning.
    pub fn histogram(&self, name: &str, options: MetricOptions<'_>, bounds: &[f64]) -> HistogramFamily {
        let family = self.get_or_add(
            name,
            Kind::Histogram,
            options,
            |source| match source {
                Source::Histogram(family) => Some(Arc::clone(family)),
                _ => None,
            },
            || {
                let bounds = clean_bounds(bounds);
                Arc::new(Family::new(options.labels, move || Buckets::new(Arc::clone(&bounds))))
            },
            Source::Histogram,
        );
        HistogramFamily(family)
    }

    /// A counter whose value is read when it is asked for.
    pub fn observe_counter(&self, name: &str, help: &str, labels: &[&str], read: impl Fn(&mut Emit<'_>) + Send + Sync + 'static) {
        self.observe(name, Kind::Counter, help, labels, Box::new(read));
    }

    /// A gauge whose value is read when it is asked for.
    pub fn observe_gauge(&self, name: &str, help: &str, labels: &[&str], read: impl Fn(&mut Emit<'_>) + Send + Sync + 'static) {
        self.observe(name, Kind::Gauge, help, labels, Box::new(read));
    }

    fn observe(&self, name: &str, kind: Kind, help: &str, labels: &[&str], read: Callback) {
        let metric = metric(name, kind, MetricOptions { help, labels, ..MetricOptions::default() }, Source::Observed(read));
        let mut metrics = self.inner.metrics.write();
        let taken = metrics.iter().any(|known| known.prometheus_name == metric.prometheus_name);
        if taken || metrics.len() == MAX_METRICS {
            drop(metrics);
            tracing::warn!(metric = name, "metric is not registered: its name is taken, or there are too many metrics");
        } else {
            metrics.push(Arc::new(metric));
        }
    }

    fn get_or_add<T>(
        &self,
        name: &str,
        kind: Kind,
        options: MetricOptions<'_>,
        matching: impl Fn(&Source) -> Option<Arc<Family<T>>>,
        make: impl FnOnce() -> Arc<Family<T>>,
        wrap: impl FnOnce(Arc<Family<T>>) -> Source,
    ) -> Arc<Family<T>> {
        let prometheus_name = name::prometheus(name, options.unit, kind);
        let mut metrics = self.inner.metrics.write();
        if let Some(known) = metrics.iter().find(|known| known.prometheus_name == prometheus_name) {
            if known.labels == options.labels
                && let Some(family) = matching(&known.source)
            {
                return family;
            }
            drop(metrics);
            tracing::warn!(metric = name, "metric is not registered: its name is taken by another kind or other labels");
            return make();
        }
        let family = make();
        if metrics.len() == MAX_METRICS {
            drop(metrics);
            tracing::warn!(metric = name, limit = MAX_METRICS, "metric is not registered: there are too many metrics");
            return family;
        }
        metrics.push(Arc::new(metric(name, kind, options, wrap(Arc::clone(&family)))));
        family
    }

    /// All metrics, ordered by Prometheus name.
    pub(crate) fn metrics(&self) -> Vec<Arc<Metric>> {
        let mut metrics = self.inner.metrics.read().clone();
        metrics.sort_by(|a, b| a.prometheus_name.cmp(&b.prometheus_name));
        metrics
    }

    /// Since when cumulative values count, in nanoseconds since 1970.
    pub(crate) fn start_ns(&self) -> u64 {
        self.inner.start_ns
    }
}

fn metric(name: &str, kind: Kind, options: MetricOptions<'_>, source: Source) -> Metric {
    Metric {
        name: name.to_owned(),
        prometheus_name: name::prometheus(name, options.unit, kind),
        help: options.help.to_owned(),
        unit: options.unit.to_owned(),
        kind,
        labels: options.labels.iter().map(|label| (*label).to_owned()).collect(),
        scrape_only: options.scrape_only,
        source,
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("metrics", &self.inner.metrics.read().len()).finish()
    }
}
