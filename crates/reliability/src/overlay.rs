//! What rules have written in simulated time, laid over stored history.

use std::collections::BTreeSet;
use std::sync::Arc;

use skopos_model::labels::METRIC_NAME;
use skopos_model::{Labels, MetricMetadata};
use skopos_query::metrics::{MatchOp, Matcher, Queryable, Select, Series, SeriesExemplars};
use skopos_query::promql::Expr;
use skopos_query::windows::WindowHint;
use skopos_query::{QueryContext, QueryError};

use crate::alerting::SeriesSample;
use crate::memory::Memory;
use crate::rules::RuleGroup;

/// Series that alerts are written as.
const ALERT_SERIES: [&str; 2] = ["ALERTS", "ALERTS_FOR_STATE"];

/// Names of series that rules write: history's own of these names do not count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Produced {
    recorded: BTreeSet<String>,
    alerts: BTreeSet<String>,
}

impl Produced {
    pub(crate) fn by<'a>(groups: impl IntoIterator<Item = &'a RuleGroup>) -> Self {
        let mut all = Self::default();
        for rule in groups.into_iter().flat_map(|g| &g.rules) {
            if rule.alerting().is_some() {
                all.alerts.insert(rule.name.clone())
            } else {
                all.recorded.insert(rule.name.clone())
            };
        }
        all
    }

    fn has(&self, labels: &Labels) -> bool {
        let name = labels.name();
        self.recorded.contains(name) || (ALERT_SERIES.contains(&name) && labels.get("alertname").is_some_and(|a| self.alerts.contains(a)))
    }

    /// Whether an expression may read what the rules write. One whose selector names no metric may read anything.
    pub(crate) fn read_by(&self, expr: &Expr) -> bool {
        let names = self.recorded.iter().map(String::as_str).chain(ALERT_SERIES.into_iter().filter(|_| !self.alerts.is_empty()));
        let names: Vec<&str> = names.collect();
        expr.selectors().into_iter().any(|s| {
            let of_name: Vec<&Matcher> = s.matchers.iter().filter(|m| m.name == METRIC_NAME).collect();
            names.iter().any(|name| of_name.iter().all(|m| m.matches(name)))
        })
    }

    /// Whether an expression reads series of exactly this name or of none in particular.
    pub(crate) fn names_read(expr: &Expr, name: &str) -> bool {
        expr.selectors().into_iter().any(|s| {
            let of_name = s.matchers.iter().filter(|m| m.name == METRIC_NAME);
            of_name.clone().all(|m| m.matches(name)) && (of_name.clone().any(|m| m.op == MatchOp::Equal) || of_name.count() == 0 || s.name.is_none())
        })
    }
}

/// History below, what was written above.
#[derive(Clone, Copy)]
pub(crate) struct Overlay<'a> {
    pub(crate) below: &'a dyn Queryable,
    pub(crate) above: &'a Memory,
    pub(crate) produced: &'a Produced,
}

impl Overlay<'_> {
    fn with_written(&self, mut all: Vec<Series>, select: &Select<'_>, ctx: &QueryContext) -> Result<Vec<Series>, QueryError> {
        all.retain(|s| !self.produced.has(&s.labels));
        let written = self.above.select(select, ctx)?;
        if !written.is_empty() {
            all.extend(written);
            all.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        Ok(all)
    }
}

impl Queryable for Overlay<'_> {
    fn select(&self, select: &Select<'_>, ctx: &QueryContext) -> Result<Vec<Series>, QueryError> {
        self.with_written(self.below.select(select, ctx)?, select, ctx)
    }

    fn select_windows(&self, select: &Select<'_>, windows: &WindowHint<'_>, ctx: &QueryContext) -> Result<Vec<Series>, QueryError> {
        self.with_written(self.below.select_windows(select, windows, ctx)?, select, ctx)
    }

    fn has_rollups(&self, select: &Select<'_>, windows: &WindowHint<'_>) -> bool {
        self.below.has_rollups(select, windows)
    }

    fn series(&self, matchers: &[Vec<Matcher>], start: i64, end: i64, limit: usize, ctx: &QueryContext) -> Result<Vec<Arc<Labels>>, QueryError> {
        self.below.series(matchers, start, end, limit, ctx)
    }

    fn label_names(&self, matchers: &[Vec<Matcher>], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<String>, QueryError> {
        self.below.label_names(matchers, start, end, ctx)
    }

    fn label_values(&self, label: &str, matchers: &[Vec<Matcher>], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<String>, QueryError> {
        self.below.label_values(label, matchers, start, end, ctx)
    }

    fn exemplars(&self, matchers: &[Vec<Matcher>], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<SeriesExemplars>, QueryError> {
        self.below.exemplars(matchers, start, end, ctx)
    }

    fn metadata(&self, family: Option<&str>) -> Vec<MetricMetadata> {
        self.below.metadata(family)
    }
}

/// Whether a sample is one that alerts are written as.
pub(crate) fn is_alert_series(sample: &SeriesSample) -> bool {
    ALERT_SERIES.contains(&sample.labels.name())
}
