//! Samples in memory, for time that is simulated: unit tests of rules, backtests, and this crate's own tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skopos_model::{CounterReset, Labels, MetricMetadata, NativeHistogram};
use skopos_query::metrics::{Matcher, Queryable, Select, Series, SeriesExemplars};
use skopos_query::{QueryContext, QueryError};

use crate::alerting::SeriesSample;

/// Series in memory, and until when they can be seen.
#[derive(Debug, Clone)]
pub struct Memory {
    series: BTreeMap<Labels, Samples>,
    /// Samples after this moment do not exist yet, Unix milliseconds.
    pub horizon: i64,
}

#[derive(Debug, Clone, Default)]
struct Samples {
    timestamps: Vec<i64>,
    values: Vec<f64>,
    histograms: Vec<(i64, Arc<NativeHistogram>)>,
}

impl Samples {
    fn last(&self) -> Option<i64> {
        self.timestamps.last().copied().max(self.histograms.last().map(|(at, _)| *at))
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { series: BTreeMap::new(), horizon: i64::MAX }
    }
}

impl Memory {
    /// Appends a sample; one that is not after the last of its series is dropped.
    pub fn append(&mut self, labels: &Labels, at: i64, value: f64) {
        let series = self.of(labels);
        if series.last().is_none_or(|last| last < at) {
            series.timestamps.push(at);
            series.values.push(value);
        }
    }

    /// Appends what a rule writes.
    pub fn write(&mut self, sample: &SeriesSample) {
        match &sample.histogram {
            Some(histogram) => self.append_histogram(&sample.labels, sample.at, (**histogram).clone()),
            None => self.append(&sample.labels, sample.at, sample.value),
        }
    }

    /// Appends a histogram, as [`Memory::append`]. What is known about a reset before it is found as a store finds it,
    /// when it is not said.
    pub fn append_histogram(&mut self, labels: &Labels, at: i64, mut histogram: NativeHistogram) {
        let series = self.of(labels);
        if series.last().is_none_or(|last| last < at) {
            if histogram.counter_reset == CounterReset::Unknown
                && let Some((_, before)) = series.histograms.last()
            {
                let shrank = histogram.count < before.count || histogram.positive.sum() < before.positive.sum();
                histogram.counter_reset = if shrank { CounterReset::Reset } else { CounterReset::NotReset };
            }
            series.histograms.push((at, Arc::new(histogram)));
        }
    }

    fn of(&mut self, labels: &Labels) -> &mut Samples {
        if !self.series.contains_key(labels) {
            self.series.insert(labels.clone(), Samples::default());
        }
        self.series.get_mut(labels).expect("inserted above")
    }

    fn matching<'a, 'm>(&'a self, matchers: &'m [Matcher]) -> impl Iterator<Item = (&'a Labels, &'a Samples)> + use<'a, 'm> {
        self.series.iter().filter(|(labels, _)| matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or(""))))
    }

    fn any(&self, matchers: &[Vec<Matcher>]) -> BTreeSet<&Labels> {
        if matchers.is_empty() {
            return self.series.keys().collect();
        }
        matchers.iter().flat_map(|all| self.matching(all).map(|(labels, _)| labels)).collect()
    }
}

impl Queryable for Memory {
    fn select(&self, select: &Select<'_>, ctx: &QueryContext) -> Result<Vec<Series>, QueryError> {
        let end = select.end.min(self.horizon);
        let mut all = Vec::new();
        for (labels, samples) in self.matching(select.matchers) {
            let times = &samples.timestamps;
            let (from, to) = (times.partition_point(|t| *t < select.start), times.partition_point(|t| *t <= end));
            let histograms: Vec<_> = samples.histograms.iter().filter(|(at, _)| *at >= select.start && *at <= end).cloned().collect();
            if from < to || !histograms.is_empty() {
                let (timestamps, values) = if from < to { (times[from..to].into(), samples.values[from..to].to_vec()) } else { Default::default() };
                ctx.stats.add_samples((to.saturating_sub(from) + histograms.len()) as u64);
                all.push(Series { labels: Arc::new(labels.clone()), timestamps, values, histograms, ..Series::default() });
            }
        }
        ctx.check()?;
        Ok(all)
    }

    fn series(&self, matchers: &[Vec<Matcher>], _: i64, _: i64, limit: usize, _: &QueryContext) -> Result<Vec<Arc<Labels>>, QueryError> {
        Ok(self.any(matchers).into_iter().take(limit).map(|l| Arc::new(l.clone())).collect())
    }

    fn label_names(&self, matchers: &[Vec<Matcher>], _: i64, _: i64, _: &QueryContext) -> Result<Vec<String>, QueryError> {
        let names: BTreeSet<&str> = self.any(matchers).into_iter().flat_map(|l| l.iter().map(|(name, _)| name)).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    fn label_values(&self, label: &str, matchers: &[Vec<Matcher>], _: i64, _: i64, _: &QueryContext) -> Result<Vec<String>, QueryError> {
        let values: BTreeSet<&str> = self.any(matchers).into_iter().filter_map(|l| l.get(label)).collect();
        Ok(values.into_iter().map(str::to_owned).collect())
    }

    fn exemplars(&self, _: &[Vec<Matcher>], _: i64, _: i64, _: &QueryContext) -> Result<Vec<SeriesExemplars>, QueryError> {
        Ok(Vec::new())
    }

    fn metadata(&self, _: Option<&str>) -> Vec<MetricMetadata> {
        Vec::new()
    }
}
