//! What makes series many.

use std::collections::HashMap;

use skopos_model::labels::METRIC_NAME;
use skopos_query::cardinality::{Cardinality, LabelCardinality, MetricCardinality};

use super::MetricsTable;
use super::registry::Registry;

/// Values shown of a label.
const EXAMPLES: usize = 3;

/// Labels that say who sends a series, the first that is there.
const SOURCES: [&str; 2] = ["service_name", "job"];

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

/// Distinct values by label over some series.
fn labels(registry: &Registry, series: &[u32], top: usize) -> Vec<LabelCardinality> {
    let found = registry.names_of(series).into_iter().filter(|name| name != METRIC_NAME).map(|label| {
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
        LabelCardinality { values: seen.len() as u64, examples, label }
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

impl MetricsTable {
    /// See [`skopos_query::metrics::Queryable::cardinality`].
    pub(super) fn count_series(&self, top: usize) -> Cardinality {
        let registry = self.registry.read();
        let (active_max, metric_max) = self.admission.limits();
        let mut out = Cardinality {
            series: registry.len() as u64,
            active_series: self.admission.active(registry.next()) as u64,
            active_series_max: active_max as u64,
            ..Cardinality::default()
        };
        let mut metrics = Vec::new();
        let mut pairs = Vec::new();
        for (label, values) in registry.label_postings() {
            out.label_names += 1;
            let mut count = 0;
            for (code, (value, postings)) in (1..).zip(values) {
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
        let refused = |code: u32| self.admission.metric(code).refused;
        metrics.sort_by(|(a, ac, ap), (b, bc, bp)| refused(*bc).cmp(&refused(*ac)).then(bp.len().cmp(&ap.len())).then_with(|| a.cmp(b)));
        metrics.truncate(top);
        let of_metric = |(name, code, postings): (&str, u32, &[u32])| {
            let used = self.admission.metric(code);
            MetricCardinality {
                metric: name.to_owned(),
                series: postings.len() as u64,
                active_series: u64::from(used.active()),
                active_series_max: metric_max as u64,
                refused: used.refused,
                refused_between: used.refused_between,
                labels: labels(&registry, postings, top),
                sources: sources(&registry, postings, top),
            }
        };
        out.metrics = metrics.into_iter().map(of_metric).collect();
        out.values_by_label = counted(out.values_by_label, top);
        out.bytes_by_label = counted(registry.label_memory().map(|(label, bytes)| (label.to_owned(), bytes as u64)).collect(), top);
        let pairs = largest(pairs, top, |(_, value, count)| (*count, value));
        out.series_by_pair = pairs.into_iter().map(|(label, value, count)| (format!("{label}={value}"), count)).collect();
        out
    }
}
