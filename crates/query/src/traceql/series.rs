//! Series, arithmetic between them, and what follows them.

use std::collections::HashMap;

use super::ast::{Op, SecondStage, Static};
use super::value::Value;

/// A series of a metrics query.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels, typed.
    pub labels: Vec<(String, Value<'static>)>,
    /// A value a step; NaN where there is none.
    pub values: Vec<f64>,
}

/// Series, or a number beside them.
#[derive(Debug)]
pub(super) enum SeriesSet {
    Series(Vec<Series>),
    Number(f64),
}

impl Series {
    /// What the series is told by: its labels without the function's name.
    fn key(&self) -> String {
        let mut labels: Vec<String> =
            self.labels.iter().filter(|(name, _)| name != "__name__").map(|(name, value)| format!("{name}\0{value:?}")).collect();
        labels.sort();
        labels.join("\u{1}")
    }
}

/// The series of an answer, in the order of their labels.
pub(super) fn finish(set: SeriesSet) -> Vec<Series> {
    match set {
        SeriesSet::Series(mut series) => {
            series.retain(|s| s.values.iter().any(|v| !v.is_nan()));
            series.sort_by_cached_key(Series::key);
            series
        }
        SeriesSet::Number(_) => Vec::new(),
    }
}

/// No value counts as 0, as in Tempo; what is divided by 0 has none.
fn apply(op: Op, left: f64, right: f64) -> f64 {
    let (left, right) = (if left.is_nan() { 0.0 } else { left }, if right.is_nan() { 0.0 } else { right });
    match op {
        Op::Add => left + right,
        Op::Sub => left - right,
        Op::Mul => left * right,
        Op::Div if right != 0.0 => left / right,
        _ => f64::NAN,
    }
}

/// Series with the same labels are computed with one another; one without labels with all of the other side.
pub(super) fn arithmetic(op: Op, left: SeriesSet, right: SeriesSet) -> SeriesSet {
    let (left, right) = match (left, right) {
        (SeriesSet::Number(a), SeriesSet::Number(b)) => return SeriesSet::Number(apply(op, a, b)),
        (SeriesSet::Series(mut series), SeriesSet::Number(b)) => {
            series.iter_mut().flat_map(|s| &mut s.values).for_each(|v| *v = apply(op, *v, b));
            return SeriesSet::Series(series);
        }
        (SeriesSet::Number(a), SeriesSet::Series(mut series)) => {
            series.iter_mut().flat_map(|s| &mut s.values).for_each(|v| *v = apply(op, a, *v));
            return SeriesSet::Series(series);
        }
        (SeriesSet::Series(left), SeriesSet::Series(right)) => (left, right),
    };
    let index = |series: Vec<Series>| series.into_iter().map(|s| (s.key(), s)).collect::<HashMap<String, Series>>();
    let (left, right) = (index(left), index(right));
    // The side whose series keep their labels is the one that has no series without.
    let target = if right.contains_key("") { &left } else { &right };
    let find = |set: &'_ HashMap<String, Series>, key: &str| set.get(key).or_else(|| set.get("")).cloned();
    let pairs = target.keys().filter_map(|key| Some((find(&left, key)?, find(&right, key)?)));
    let combined = pairs.map(|(l, r)| {
        let labelled = |s: &Series| s.labels.iter().any(|(name, _)| name != "__name__");
        let name = |s: &Series| s.labels.iter().find(|(name, _)| name == "__name__").map(|(_, value)| value.to_text().into_owned());
        let labels = match (name(&l), name(&r)) {
            (Some(a), Some(b)) => vec![("__name__".to_owned(), Value::Text(format!("({a} {op} {b})").into()))],
            _ if labelled(&l) => l.labels.clone(),
            _ => r.labels.clone(),
        };
        Series { labels, values: l.values.iter().zip(&r.values).map(|(a, b)| apply(op, *a, *b)).collect() }
    });
    SeriesSet::Series(combined.collect())
}

/// A second stage.
pub(super) fn staged(stage: &SecondStage, set: SeriesSet, steps: usize) -> SeriesSet {
    let SeriesSet::Series(mut series) = set else { return set };
    match stage {
        SecondStage::Filter(op, bound) => {
            let bound = match bound {
                #[allow(clippy::cast_precision_loss, reason = "durations in seconds")]
                Static::Duration(nanos) => *nanos as f64 / 1e9,
                other => other.number().unwrap_or(f64::NAN),
            };
            let fits = |value: f64| match op {
                Op::Equal => value == bound,
                Op::NotEqual => value != bound,
                Op::Greater => value > bound,
                Op::GreaterEqual => value >= bound,
                Op::Less => value < bound,
                _ => value <= bound,
            };
            series.iter_mut().flat_map(|s| &mut s.values).for_each(|v| *v = if fits(*v) { *v } else { f64::NAN });
        }
        SecondStage::TopK(k) | SecondStage::BottomK(k) => {
            let keys: Vec<String> = series.iter().map(Series::key).collect();
            for step in 0..steps {
                let mut order: Vec<usize> = (0..series.len()).filter(|at| !series[*at].values[step].is_nan()).collect();
                order.sort_by(|a, b| {
                    let by_value = series[*a].values[step].total_cmp(&series[*b].values[step]);
                    let by_value = if matches!(stage, SecondStage::TopK(_)) { by_value.reverse() } else { by_value };
                    by_value.then_with(|| keys[*a].cmp(&keys[*b]))
                });
                for at in order.into_iter().skip(*k as usize) {
                    series[at].values[step] = f64::NAN;
                }
            }
        }
    }
    series.retain(|s| s.values.iter().any(|v| !v.is_nan()));
    SeriesSet::Series(series)
}
