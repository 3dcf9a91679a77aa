//! Series in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use skopos_model::{Exemplar, Labels, MetricMetadata};

use crate::context::{QueryContext, QueryLimits};
use crate::error::QueryError;
use crate::metrics::{Matcher, Queryable, Select, Series};

#[derive(Debug, Default, Clone)]
pub(crate) struct Memory {
    series: BTreeMap<Arc<Labels>, BTreeMap<i64, f64>>,
}

pub(crate) fn context() -> QueryContext {
    QueryContext::new(QueryLimits::default(), Instant::now())
}

impl Memory {
    pub(crate) fn add(&mut self, labels: &Arc<Labels>, time: i64, value: f64) {
        self.series.entry(Arc::clone(labels)).or_default().insert(time, value);
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
            let (timestamps, values): (Vec<i64>, Vec<f64>) =
                samples.range(select.start..=select.end.max(select.start)).map(|(t, v)| (*t, *v)).unzip();
            if values.is_empty() {
                continue;
            }
            let limit = |limit| QueryError::Limit { limit, message: String::new() };
            if ctx.stats.add_series(1) > ctx.limits.series_max {
                return Err(limit("series_max"));
            }
            if ctx.stats.add_samples(values.len() as u64) > ctx.limits.samples_max {
                return Err(limit("samples_max"));
            }
            out.push(Series { labels: Arc::clone(labels), timestamps: timestamps.into(), values, ..Series::default() });
        }
        Ok(out)
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
