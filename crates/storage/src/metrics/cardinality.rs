//! What makes series many, and which of them are refused.

use std::collections::HashMap;

use skopos_model::labels::METRIC_NAME;
use skopos_query::cardinality::{Cardinality, FloodLabel, Floods, LabelCardinality, MetricCardinality};

use super::MetricsTable;
use super::admission::SOURCES;
use super::floods::Flood;
use super::registry::Registry;
use crate::stats::RefusedSeries;

/// Values shown of a label.
const EXAMPLES: usize = 3;

/// The largest first, of equal ones by name; at most `top`.
fn largest<T>(mut all: Vec<T>, top: usize, key: impl Fn(&T) -> (u64, &str)) -> Vec<T> {
    all.sort_by(|a, b| {
        let ((n, a), (m, b)) = (key(a), key(b));
        m.cmp(&n).then_with(|| a.cmp(b))
    });
    all.truncate(top);
    all
}

fn counted(all: Vec<(String, u64)>, top: usize) -> Vec<(String, u64)> {
    largest(all, top, |(name, count)| (*count, name))
}

/// Distinct values by label over some series, ascending; those of series from `recent` on alone count as new.
fn labels(registry: &Registry, series: &[u32], recent: u32, top: usize) -> Vec<LabelCardinality> {
    let found = registry.names_of(series).into_iter().filter(|name| name != METRIC_NAME).map(|label| {
        // The first series of each value.
        let mut seen: HashMap<u32, u32> = HashMap::new();
        for id in series {
            seen.entry(registry.code_of(&label, *id).0).or_insert(*id);
        }
        seen.remove(&0);
        // Codes are given in the order values come: the highest are the newest.
        let mut newest: Vec<(u32, u32)> = seen.iter().map(|(code, id)| (*code, *id)).collect();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        newest.truncate(EXAMPLES);
        let examples = newest.into_iter().map(|(_, id)| registry.code_of(&label, id).1.to_owned()).collect();
        let recent_values = seen.values().filter(|id| **id >= recent).count() as u64;
        LabelCardinality { values: seen.len() as u64, recent_values, examples, label }
    });
    largest(found.collect(), top, |l| (l.values, &l.label))
}

/// Series by who sends them.
fn sources(registry: &Registry, series: &[u32], top: usize) -> Vec<(String, u64)> {
    let mut found: HashMap<&str, u64> = HashMap::new();
    for id in series {
        let source = SOURCES.iter().map(|label| registry.code_of(label, *id).1).find(|value| !value.is_empty());
        *found.entry(source.unwrap_or("")).or_default() += 1;
    }
    counted(found.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(), top)
}

/// Labels of a flood, those that grow most first: by what was refused and what is new of what is known.
fn flooding(flood: &Flood, known: &[LabelCardinality]) -> Vec<FloodLabel> {
    let mut all: Vec<FloodLabel> = flood
        .labels
        .iter()
        .map(|label| FloodLabel {
            label: label.name.to_string(),
            refused_values: label.values.count(),
            examples: label.examples.iter().rev().map(|value| value.to_string()).collect(),
            ..FloodLabel::default()
        })
        .collect();
    for label in known {
        match all.iter_mut().find(|one| one.label == label.label) {
            Some(one) => (one.values, one.recent_values) = (label.values, label.recent_values),
            None => all.push(FloodLabel {
                label: label.label.clone(),
                values: label.values,
                recent_values: label.recent_values,
                refused_values: 0,
                examples: label.examples.clone(),
            }),
        }
    }
    let growth = |label: &FloodLabel| (label.refused_values + label.recent_values, label.values);
    all.sort_by(|a, b| growth(b).cmp(&growth(a)).then_with(|| a.label.cmp(&b.label)));
    all
}

impl MetricsTable {
    /// See [`skopos_query::metrics::Queryable::cardinality`].
    pub(super) fn count_series(&self, top: usize) -> Cardinality {
        let mut refused: HashMap<Box<str>, (u64, i64, i64)> = HashMap::new();
        for flood in self.admission.floods() {
            let known = refused.entry(flood.metric).or_insert((0, flood.since, flood.last));
            *known = (known.0 + flood.series.count(), known.1.min(flood.since), known.2.max(flood.last));
        }
        let registry = self.registry.read();
        let limits = self.admission.limits();
        let (recent, recent_since) = self.admission.recent();
        let mut out = Cardinality {
            series: registry.len() as u64,
            active_series: self.admission.active(registry.next()) as u64,
            active_series_max: limits.all as u64,
            active_series_per_source_max: limits.source as u64,
            recent_since,
            ..Cardinality::default()
        };
        let mut metrics = Vec::new();
        let mut pairs = Vec::new();
        for (label, values) in registry.label_postings() {
            out.label_names += 1;
            let mut count = 0;
            for (code, (value, postings)) in (1..).zip(values) {
                if postings.is_empty() {
                    // All its series have left.
                    continue;
                }
                count += 1;
                if label == METRIC_NAME {
                    metrics.push((value, code, postings));
                }
                pairs.push((label, value, postings.len() as u64));
            }
            out.label_pairs += count;
            out.values_by_label.push((label.to_owned(), count));
        }
        // Metrics that were refused series stand in front, however few they have.
        let lost = |name: &str| refused.get(name).map_or(0, |(series, ..)| *series);
        metrics.sort_by(|(a, _, ap), (b, _, bp)| lost(b).cmp(&lost(a)).then(bp.len().cmp(&ap.len())).then_with(|| a.cmp(b)));
        metrics.truncate(top);
        let of_metric = |(name, code, postings): (&str, u32, &[u32])| MetricCardinality {
            metric: name.to_owned(),
            series: postings.len() as u64,
            active_series: u64::from(self.admission.of_metric(code)),
            active_series_max: limits.metric as u64,
            recent_series: (postings.len() - postings.partition_point(|id| *id < recent)) as u64,
            refused: lost(name),
            refused_between: refused.get(name).map(|(_, first, last)| (*first, *last)),
            labels: labels(&registry, postings, recent, top),
            sources: sources(&registry, postings, top),
        };
        out.metrics = metrics.into_iter().map(of_metric).collect();
        out.values_by_label = counted(out.values_by_label, top);
        out.bytes_by_label = counted(registry.label_memory().map(|(label, bytes)| (label.to_owned(), bytes as u64)).collect(), top);
        let pairs = largest(pairs, top, |(_, value, count)| (*count, value));
        out.series_by_pair = pairs.into_iter().map(|(label, value, count)| (format!("{label}={value}"), count)).collect();
        out
    }

    /// See [`skopos_query::metrics::Queryable::floods`].
    pub(super) fn list_floods(&self, top: usize) -> Floods {
        let mut all = self.admission.floods();
        all.truncate(top);
        let (recent, recent_since) = self.admission.recent();
        let registry = self.registry.read();
        // Sources of one metric share what is known of it.
        let mut of_metrics: HashMap<Box<str>, Vec<LabelCardinality>> = HashMap::new();
        let floods = all.into_iter().map(|flood| {
            let code = registry.value_code(METRIC_NAME, &flood.metric);
            let known = registry.series_of(METRIC_NAME, &flood.metric);
            let of_metric = of_metrics.entry(flood.metric.clone()).or_insert_with(|| labels(&registry, known, recent, usize::MAX));
            skopos_query::cardinality::Flood {
                limit: flood.limit.name().to_owned(),
                limit_value: self.admission.limits().of(flood.limit) as u64,
                refused_between: (flood.since, flood.last),
                refused_series: flood.series.count(),
                refused_samples: flood.samples,
                series: known.len() as u64,
                // Code 0 is no metric: none of its series is known.
                active_series: if code == 0 { 0 } else { u64::from(self.admission.of_metric(code)) },
                labels: flooding(&flood, of_metric),
                metric: flood.metric.into(),
                source: flood.source.into(),
            }
        });
        let limits = self.admission.limits();
        Floods {
            floods: floods.collect(),
            active_series: self.admission.active(registry.next()) as u64,
            active_series_max: limits.all as u64,
            active_series_per_metric_max: limits.metric as u64,
            active_series_per_source_max: limits.source as u64,
            recent_since,
        }
    }

    /// Floods in short, at most `top` of them: what costs next to nothing to tell.
    pub(crate) fn refused_series(&self, top: usize) -> Vec<RefusedSeries> {
        let all = self.admission.floods().into_iter().take(top);
        all.map(|flood| RefusedSeries {
            label: flood.label().to_owned(),
            limit: flood.limit.name(),
            samples: flood.samples,
            metric: flood.metric.into(),
            source: flood.source.into(),
        })
        .collect()
    }
}
