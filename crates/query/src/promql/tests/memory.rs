//! Series in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use skopos_model::{CounterReset, Exemplar, Labels, MetricMetadata, NativeHistogram};

use super::super::histogram::is_reset;
use crate::context::{QueryContext, QueryLimits};
use crate::error::QueryError;
use crate::metrics::{Matcher, Queryable, Select, Series};

#[derive(Debug, Clone)]
enum Stored {
    Float(f64),
    Histogram(Arc<NativeHistogram>),
}

#[derive(Debug, Default, Clone)]
struct Samples {
    samples: BTreeMap<i64, Stored>,
    starts: BTreeMap<i64, i64>,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Memory {
    series: BTreeMap<Arc<Labels>, Samples>,
}

pub(crate) fn context() -> QueryContext {
    QueryContext::new(QueryLimits::default(), Instant::now())
}

impl Memory {
    pub(crate) fn add(&mut self, labels: &Arc<Labels>, time: i64, value: f64) {
        self.series.entry(Arc::clone(labels)).or_default().samples.insert(time, Stored::Float(value));
    }

    pub(crate) fn add_histogram(&mut self, labels: &Arc<Labels>, time: i64, h: Arc<NativeHistogram>) {
        self.series.entry(Arc::clone(labels)).or_default().samples.insert(time, Stored::Histogram(h));
    }

    pub(crate) fn add_start(&mut self, labels: &Arc<Labels>, time: i64, start: i64) {
        self.series.entry(Arc::clone(labels)).or_default().starts.insert(time, start);
    }
}

/// What Prometheus' storage knows of a reset before `h` when it gives it back.
fn hint(before: Option<&NativeHistogram>, h: &NativeHistogram) -> CounterReset {
    let Some(before) = before else {
        return if h.counter_reset == CounterReset::NotReset { CounterReset::Unknown } else { h.counter_reset };
    };
    let unknown = NativeHistogram { counter_reset: CounterReset::Unknown, ..h.clone() };
    match h.counter_reset {
        CounterReset::Gauge | CounterReset::Reset => h.counter_reset,
        _ if h.count < before.count => CounterReset::Reset,
        _ if h.schema != before.schema || h.zero_threshold != before.zero_threshold || h.custom_bounds != before.custom_bounds => {
            CounterReset::Unknown
        }
        _ if is_reset(&unknown, before) => CounterReset::Reset,
        _ => CounterReset::NotReset,
    }
}

impl Samples {
    fn histograms(&self, start: i64, end: i64) -> Vec<(i64, Arc<NativeHistogram>)> {
        let mut before: Option<&NativeHistogram> = None;
        let mut out = Vec::new();
        for (time, stored) in self.samples.range(..=end.max(start)) {
            let Stored::Histogram(h) = stored else {
                before = None;
                continue;
            };
            let hint = hint(before, h);
            before = Some(&**h).filter(|_| hint != CounterReset::Gauge);
            if *time >= start {
                out.push((*time, Arc::new(NativeHistogram { counter_reset: hint, ..(**h).clone() })));
            }
        }
        out
    }
}

fn takes(labels: &Labels, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")))
}

impl Queryable for Memory {
    fn select(&self, select: &Select<'_>, ctx: &QueryContext) -> Result<Vec<Series>, QueryError> {
        let found = self.series.iter().filter(|(labels, _)| takes(labels, select.matchers));
        let mut out = Vec::new();
        for (labels, samples) in found {
            let range = select.start..=select.end.max(select.start);
            let floats = samples.samples.range(range).filter_map(|(t, s)| match s {
                Stored::Float(v) => Some((*t, *v)),
                Stored::Histogram(_) => None,
            });
            let (timestamps, values): (Vec<i64>, Vec<f64>) = floats.unzip();
            let histograms = samples.histograms(select.start, select.end);
            if values.is_empty() && histograms.is_empty() {
                continue;
            }
            let limit = |limit| QueryError::Limit { limit, message: String::new() };
            if ctx.stats.add_series(1) > ctx.limits.series_max {
                return Err(limit("series_max"));
            }
            if ctx.stats.add_samples((values.len() + histograms.len()) as u64) > ctx.limits.samples_max {
                return Err(limit("samples_max"));
            }
            let starts = samples.starts.iter().map(|(t, s)| (*t, *s)).collect();
            out.push(Series { labels: Arc::clone(labels), timestamps: timestamps.into(), values, histograms, starts, digest: None });
        }
        Ok(out)
    }

    fn select_batches(
        &self,
        select: &Select<'_>,
        ctx: &QueryContext,
        each: &mut dyn FnMut(Vec<Series>) -> Result<(), QueryError>,
    ) -> Result<Option<Vec<Series>>, QueryError> {
        let mut all = self.select(select, ctx)?;
        if all.iter().any(|s| !s.histograms.is_empty()) {
            return Ok(Some(all));
        }
        // From the end, so that nothing relies on the order of labels.
        while !all.is_empty() {
            each(all.split_off(all.len().saturating_sub(3)))?;
        }
        Ok(None)
    }

    fn series(&self, _: &[Vec<Matcher>], _: i64, _: i64, _: usize, _: &QueryContext) -> Result<Vec<Arc<Labels>>, QueryError> {
        Ok(self.series.keys().cloned().collect())
    }

    fn label_names(&self, _: &[Vec<Matcher>], _: i64, _: i64, _: &QueryContext) -> Result<Vec<String>, QueryError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &[Vec<Matcher>], _: i64, _: i64, _: &QueryContext) -> Result<Vec<String>, QueryError> {
        Ok(Vec::new())
    }

    fn exemplars(&self, _: &[Vec<Matcher>], _: i64, _: i64, _: &QueryContext) -> Result<Vec<(Arc<Labels>, Vec<Exemplar>)>, QueryError> {
        Ok(Vec::new())
    }

    fn metadata(&self, _: Option<&str>) -> Vec<MetricMetadata> {
        Vec::new()
    }
}
