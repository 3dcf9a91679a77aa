//! Series with one value a step, and aggregations over them.

use std::cmp::Ordering;
use std::collections::HashMap;

use regex::Regex;

use super::ast::{Grouping, LabelReplace, MatchOp};
use super::labels::LabelSet;
use super::table::VectorOp;
use super::text_test::TextTest;
use crate::error::QueryError;
use crate::promql::sum::{Sum, mean};
use crate::promql::vector::{ABSENT, is_absent};

/// A series: its labels, and a value for each step ([`Series::is_absent`] where it has none).
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Labels.
    pub labels: LabelSet,
    /// Values by step.
    pub values: Vec<f64>,
}

impl Series {
    /// Whether a value stands for none.
    pub fn is_absent(value: f64) -> bool {
        is_absent(value)
    }

    pub(super) fn has_any(&self) -> bool {
        self.values.iter().any(|v| !is_absent(*v))
    }
}

/// Series, in an order that matters for instant queries that sort.
pub(crate) type Matrix = Vec<Series>;

/// The labels of the group a series belongs to.
pub(crate) fn group_labels(labels: &LabelSet, grouping: Option<&Grouping>) -> LabelSet {
    match grouping {
        Some(grouping) => labels.filtered(&grouping.labels, !grouping.without),
        None => LabelSet::default(),
    }
}

/// Groups of series, in order of appearance.
fn groups(matrix: &Matrix, grouping: Option<&Grouping>) -> Vec<(LabelSet, Vec<usize>)> {
    let mut by_labels: HashMap<LabelSet, usize> = HashMap::new();
    let mut out: Vec<(LabelSet, Vec<usize>)> = Vec::new();
    for (i, series) in matrix.iter().enumerate() {
        let labels = group_labels(&series.labels, grouping);
        let at = *by_labels.entry(labels).or_insert_with_key(|labels| {
            out.push((labels.clone(), Vec::new()));
            out.len() - 1
        });
        out[at].1.push(i);
    }
    out
}

#[allow(clippy::cast_precision_loss, reason = "counts of series are far below 2^53")]
fn float(n: usize) -> f64 {
    n as f64
}

/// Population variance (Welford's method, as Loki).
pub(crate) fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (0.0, 0.0);
    for (i, v) in values.iter().enumerate() {
        let delta = v - mean;
        mean += delta / float(i + 1);
        squares += delta * (v - mean);
    }
    squares / float(values.len())
}

/// The least or greatest, NaN only where there is nothing else.
pub(crate) fn extreme(values: &[f64], greatest: bool) -> f64 {
    let better = |old: f64, new: f64| old.is_nan() || (if greatest { new > old } else { new < old });
    values.iter().copied().reduce(|old, new| if better(old, new) { new } else { old }).unwrap_or(f64::NAN)
}

/// One value of several.
fn fold(op: VectorOp, values: &[f64]) -> f64 {
    match op {
        VectorOp::Sum => {
            let mut sum = Sum::default();
            values.iter().for_each(|v| sum.add(*v));
            let (sum, compensation) = sum.parts();
            sum + compensation
        }
        VectorOp::Avg => mean(values),
        VectorOp::Min => extreme(values, false),
        VectorOp::Max => extreme(values, true),
        VectorOp::Count => float(values.len()),
        VectorOp::Stddev => variance(values).sqrt(),
        VectorOp::Stdvar => variance(values),
        VectorOp::Topk | VectorOp::Bottomk | VectorOp::ApproxTopk | VectorOp::Sort | VectorOp::SortDesc => f64::NAN,
    }
}

/// Aggregates series.
pub(crate) fn aggregate(op: VectorOp, parameter: Option<u64>, matrix: Matrix, grouping: Option<&Grouping>, steps: usize) -> Matrix {
    match op {
        VectorOp::Topk | VectorOp::Bottomk | VectorOp::ApproxTopk => {
            let k = usize::try_from(parameter.unwrap_or(0)).unwrap_or(usize::MAX);
            return select(matrix, op == VectorOp::Bottomk, k, grouping, steps);
        }
        VectorOp::Sort | VectorOp::SortDesc => {
            let mut matrix = matrix;
            if steps == 1 {
                matrix.sort_by(|a, b| by_value(a.values[0], b.values[0], op == VectorOp::Sort));
            }
            return matrix;
        }
        _ => {}
    }
    let mut present = Vec::new();
    groups(&matrix, grouping)
        .into_iter()
        .map(|(labels, members)| {
            let cell = |k: usize| {
                present.clear();
                present.extend(members.iter().map(|i| matrix[*i].values[k]).filter(|v| !is_absent(*v)));
                if present.is_empty() { ABSENT } else { fold(op, &present) }
            };
            Series { labels, values: (0..steps).map(cell).collect() }
        })
        .filter(Series::has_any)
        .collect()
}

/// Order of values, NaN last.
fn by_value(a: f64, b: f64, ascending: bool) -> Ordering {
    let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
    a.is_nan().cmp(&b.is_nan()).then(if ascending { order } else { order.reverse() })
}

/// The `k` series with the greatest (least) values of each group at each step.
fn select(mut matrix: Matrix, least: bool, k: usize, grouping: Option<&Grouping>, steps: usize) -> Matrix {
    let mut kept = vec![vec![ABSENT; steps]; matrix.len()];
    let mut order: Vec<usize> = Vec::new();
    for (_, members) in groups(&matrix, grouping) {
        #[allow(clippy::needless_range_loop, reason = "the step is an index into each series")]
        for step in 0..steps {
            let mut candidates: Vec<usize> = members.iter().copied().filter(|i| !is_absent(matrix[*i].values[step])).collect();
            candidates.sort_by(|a, b| {
                by_value(matrix[*a].values[step], matrix[*b].values[step], least).then_with(|| matrix[*a].labels.cmp(&matrix[*b].labels))
            });
            candidates.truncate(k);
            for i in candidates {
                kept[i][step] = matrix[i].values[step];
                order.push(i);
            }
        }
    }
    if steps > 1 {
        for (series, values) in matrix.iter_mut().zip(kept) {
            series.values = values;
        }
        matrix.retain(Series::has_any);
        return matrix;
    }
    order.into_iter().map(|i| Series { labels: matrix[i].labels.clone(), values: kept[i].clone() }).collect()
}

/// `label_replace`
pub(crate) fn label_replace(replace: &LabelReplace, mut matrix: Matrix) -> Result<Matrix, QueryError> {
    let fail = |e: String| QueryError::Execution(format!("invalid regex in label_replace: {e}"));
    TextTest::new(MatchOp::Regex, &replace.regex).map_err(fail)?;
    let regex = Regex::new(&format!("^(?s:{})$", replace.regex)).map_err(|e| fail(e.to_string()))?;
    let mut seen = std::collections::HashSet::new();
    for series in &mut matrix {
        let source = series.labels.get(&replace.source).cloned().unwrap_or_else(|| "".into());
        if let Some(captures) = regex.captures(&source) {
            let mut value = String::new();
            captures.expand(&replace.replacement, &mut value);
            series.labels = series.labels.with(&replace.target, &value);
        }
        if !seen.insert(series.labels.clone()) {
            return Err(QueryError::Execution("vector cannot contain metrics with the same labelset: label_replace made two alike".to_owned()));
        }
    }
    Ok(matrix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fold() {
        let nan = f64::NAN;
        for (op, values, wanted) in [
            (VectorOp::Min, &[nan, 2.0, 1.0][..], 1.0),
            (VectorOp::Max, &[nan, 2.0, f64::INFINITY], f64::INFINITY),
            (VectorOp::Stdvar, &[2.0, 6.0], 4.0),
            (VectorOp::Stddev, &[5.0], 0.0),
            (VectorOp::Avg, &[1.0, 2.0, 6.0], 3.0),
            (VectorOp::Count, &[nan, nan], 2.0),
        ] {
            assert_eq!(fold(op, values), wanted, "{op:?} {values:?}");
        }
        assert!(fold(VectorOp::Sum, &[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }
}
