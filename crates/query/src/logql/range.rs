//! Lines of moving windows to series.
//!
//! Rows come in no order of time. What can be counted is counted where windows begin and end; what can be folded is
//! folded into each window a row falls into; only quantiles and counters need all their values.

use std::collections::HashMap;

use super::ast::RangeAggregation;
use super::labels::LabelSet;
use super::matrix::{Matrix, Series};
use super::table::RangeOp;
use crate::error::QueryError;
use crate::promql::aggregate::quantile_of;
use crate::promql::sum::Sum;
use crate::promql::vector::ABSENT;

/// Most windows (series × steps) of one aggregation.
pub const WINDOWS_MAX: usize = 4_000_000;
/// Most values kept for quantiles and counters.
pub const VALUES_MAX: usize = 20_000_000;

/// The moments a query is evaluated at, Unix nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// First.
    pub start: i64,
    /// Distance; anything positive when there is one.
    pub step: i64,
    /// How many, at least one.
    pub count: usize,
}

impl Steps {
    /// One moment.
    pub fn one(time: i64) -> Self {
        Self { start: time, step: 1, count: 1 }
    }

    /// The time of a step.
    pub fn time(&self, k: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(i64::try_from(k).unwrap_or(i64::MAX)))
    }

    /// The last.
    pub fn end(&self) -> i64 {
        self.time(self.count - 1)
    }
}

/// Running figures of one window.
#[derive(Debug, Clone, Copy)]
struct Fold {
    count: u64,
    sum: Sum,
    /// Mean and sum of squares, or the extreme, or the first or last value.
    a: f64,
    b: f64,
    time: i64,
}

const EMPTY: Fold = Fold { count: 0, sum: Sum::ZERO, a: 0.0, b: 0.0, time: 0 };

#[derive(Debug)]
enum State {
    /// Differences of lines and bytes from step to step.
    Counts(Vec<(i64, i64)>),
    Folds(Vec<Fold>),
    Values(Vec<(i64, f64)>),
}

/// Collects rows.
#[derive(Debug)]
pub(crate) struct Windows<'q> {
    range: &'q RangeAggregation,
    steps: Steps,
    by_labels: HashMap<LabelSet, usize>,
    series: Vec<(LabelSet, State)>,
    values: usize,
    series_max: usize,
}

fn limit(limit: &'static str, message: String) -> QueryError {
    QueryError::Limit { limit, message }
}

impl<'q> Windows<'q> {
    pub(crate) fn new(range: &'q RangeAggregation, steps: Steps, series_max: usize) -> Self {
        Self { range, steps, by_labels: HashMap::new(), series: Vec::new(), values: 0, series_max }
    }

    /// The first and last step whose window would hold a time if steps had no end; both grow with the time. In a gap
    /// between windows the last is before the first.
    fn bounds(&self, time: i64) -> (i64, i64) {
        // Windows are open at the start: (T - range, T].
        let ceil = |n: i64, d: i64| n.div_euclid(d) + i64::from(n.rem_euclid(d) != 0);
        let since = time.saturating_add(self.range.offset).saturating_sub(self.steps.start);
        (ceil(since, self.steps.step), ceil(since.saturating_add(self.range.range), self.steps.step) - 1)
    }

    /// The first and last step whose window holds a time.
    pub(crate) fn steps_of(&self, time: i64) -> Option<(usize, usize)> {
        let (first, last) = self.bounds(time);
        let (first, last) = (first.max(0), last.min(i64::try_from(self.steps.count).unwrap_or(0) - 1));
        if first > last { None } else { Some((usize::try_from(first).ok()?, usize::try_from(last).ok()?)) }
    }

    /// Whether all times from one to another fall into the same windows.
    pub(crate) fn alike(&self, first: i64, last: i64) -> bool {
        self.bounds(first) == self.bounds(last)
    }

    /// Adds lines of which only the times (ascending) are known, or how many there are at one.
    pub(crate) fn add_times(&mut self, at: usize, count: u64, times: &[i64]) -> Result<(), QueryError> {
        let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        if let ([time], true) = (times, count > 1) {
            let Some(steps) = self.steps_of(*time) else { return Ok(()) };
            return self.add(at, steps, *time, i64::try_from(count).unwrap_or(i64::MAX), 0, None);
        }
        let mut rest = times;
        while let Some(time) = rest.first() {
            let bounds = self.bounds(*time);
            let same = rest.partition_point(|t| self.bounds(*t) <= bounds);
            let (now, later) = rest.split_at(same.max(1));
            rest = later;
            if let Some(steps) = self.steps_of(*time) {
                self.add(at, steps, *time, whole(now.len()), 0, None)?;
            }
        }
        Ok(())
    }

    /// Number of a series; a new one when there is none with these labels.
    pub(crate) fn series(&mut self, labels: &LabelSet) -> Result<usize, QueryError> {
        if let Some(known) = self.by_labels.get(labels) {
            return Ok(*known);
        }
        let at = self.series.len();
        if at >= self.series_max {
            return Err(limit(
                "series_max",
                format!("maximum of series ({}) reached for a single query: aggregate by fewer labels", self.series_max),
            ));
        }
        if (at + 1).saturating_mul(self.steps.count) > WINDOWS_MAX {
            return Err(limit("logql_windows_max", format!("more than {WINDOWS_MAX} windows: take a longer step or aggregate by fewer labels")));
        }
        let state = match self.range.op {
            RangeOp::Quantile | RangeOp::RateCounter => State::Values(Vec::new()),
            RangeOp::Count | RangeOp::Bytes | RangeOp::BytesRate | RangeOp::Absent => State::Counts(vec![(0, 0); self.steps.count + 1]),
            RangeOp::Rate if !self.has_values() => State::Counts(vec![(0, 0); self.steps.count + 1]),
            _ => State::Folds(vec![EMPTY; self.steps.count]),
        };
        self.by_labels.insert(labels.clone(), at);
        self.series.push((labels.clone(), state));
        Ok(at)
    }

    fn has_values(&self) -> bool {
        self.range.logs.stages.iter().any(|stage| matches!(stage, super::ast::Stage::Unwrap(..)))
    }

    /// Adds `lines` lines of `bytes` bytes, or a value.
    pub(crate) fn add(
        &mut self,
        at: usize,
        (first, last): (usize, usize),
        time: i64,
        lines: i64,
        bytes: i64,
        value: Option<f64>,
    ) -> Result<(), QueryError> {
        match &mut self.series[at].1 {
            State::Counts(cells) => {
                for (cell, sign) in [(first, 1), (last + 1, -1)] {
                    cells[cell].0 += sign * lines;
                    cells[cell].1 += sign * bytes;
                }
            }
            State::Folds(cells) => {
                let value = value.unwrap_or(0.0);
                cells[first..=last].iter_mut().for_each(|cell| cell.add(self.range.op, time, value));
            }
            State::Values(values) => {
                self.values += 1;
                if self.values > VALUES_MAX {
                    return Err(limit("logql_values_max", format!("more than {VALUES_MAX} values: take a shorter range, or filter")));
                }
                values.push((time, value.unwrap_or(0.0)));
            }
        }
        Ok(())
    }

    /// The series, by labels.
    pub(crate) fn finish(self) -> Matrix {
        let (range, steps) = (self.range, self.steps);
        let mut out: Matrix = self.series.into_iter().map(|(labels, state)| Series { labels, values: state.finish(range, steps) }).collect();
        out.retain(Series::has_any);
        out.sort_by(|a, b| a.labels.cmp(&b.labels));
        out
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts and nanoseconds need no more digits")]
fn float(n: i64) -> f64 {
    n as f64
}

impl Fold {
    fn add(&mut self, op: RangeOp, time: i64, value: f64) {
        self.count += 1;
        let first = self.count == 1;
        match op {
            RangeOp::Min => self.a = if first || self.a.is_nan() || value < self.a { value } else { self.a },
            RangeOp::Max => self.a = if first || self.a.is_nan() || value > self.a { value } else { self.a },
            RangeOp::First if first || time < self.time => (self.a, self.time) = (value, time),
            RangeOp::Last if first || time >= self.time => (self.a, self.time) = (value, time),
            RangeOp::Stddev | RangeOp::Stdvar => {
                let delta = value - self.a;
                self.a += delta / float(i64::try_from(self.count).unwrap_or(i64::MAX));
                self.b += delta * (value - self.a);
            }
            _ => self.sum.add(value),
        }
    }

    fn finish(self, op: RangeOp, seconds: f64) -> f64 {
        let count = float(i64::try_from(self.count).unwrap_or(i64::MAX));
        let (sum, compensation) = self.sum.parts();
        match op {
            _ if self.count == 0 => ABSENT,
            RangeOp::Avg => (sum + compensation) / count,
            RangeOp::Rate => (sum + compensation) / seconds,
            RangeOp::Stdvar => self.b / count,
            RangeOp::Stddev => (self.b / count).sqrt(),
            RangeOp::Min | RangeOp::Max | RangeOp::First | RangeOp::Last => self.a,
            _ => sum + compensation,
        }
    }
}

impl State {
    fn finish(self, range: &RangeAggregation, steps: Steps) -> Vec<f64> {
        let seconds = float(range.range) / 1e9;
        match self {
            Self::Folds(cells) => cells.into_iter().map(|cell| cell.finish(range.op, seconds)).collect(),
            Self::Counts(cells) => {
                let (mut lines, mut bytes) = (0, 0);
                let cell = |(more_lines, more_bytes): (i64, i64)| {
                    lines += more_lines;
                    bytes += more_bytes;
                    match range.op {
                        _ if lines == 0 => ABSENT,
                        RangeOp::Bytes => float(bytes),
                        RangeOp::BytesRate => float(bytes) / seconds,
                        RangeOp::Rate => float(lines) / seconds,
                        _ => float(lines),
                    }
                };
                cells.into_iter().take(steps.count).map(cell).collect()
            }
            Self::Values(mut values) => {
                values.sort_by_key(|(time, _)| *time);
                let mut scratch = Vec::new();
                let cell = |k: usize| {
                    let end = steps.time(k).saturating_sub(range.offset);
                    let start = end.saturating_sub(range.range);
                    let (lo, hi) = (values.partition_point(|(t, _)| *t <= start), values.partition_point(|(t, _)| *t <= end));
                    let window = &values[lo..hi];
                    if window.is_empty() {
                        return ABSENT;
                    }
                    if range.op == RangeOp::RateCounter {
                        return rate_counter(window, start, end);
                    }
                    scratch.clear();
                    scratch.extend(window.iter().map(|(_, v)| *v));
                    quantile_of(range.parameter.unwrap_or(0.0), &mut scratch)
                };
                (0..steps.count).map(cell).collect()
            }
        }
    }
}

/// Increase per second, resets added back, extrapolated to the window's borders as Prometheus does.
fn rate_counter(window: &[(i64, f64)], start: i64, end: i64) -> f64 {
    let (Some((first_time, first)), Some((last_time, last))) = (window.first(), window.last()) else { return 0.0 };
    let seconds = |from: i64, to: i64| float(to.saturating_sub(from)) / 1e9;
    let sampled = seconds(*first_time, *last_time);
    if window.len() < 2 || sampled <= 0.0 {
        return 0.0;
    }
    let resets: f64 = window.windows(2).filter(|pair| pair[1].1 < pair[0].1).map(|pair| pair[0].1).sum();
    let increase = last - first + resets;
    let average = sampled / float(i64::try_from(window.len() - 1).unwrap_or(i64::MAX));
    let (mut to_start, to_end) = (seconds(start, *first_time), seconds(*last_time, end));
    if increase > 0.0 && *first >= 0.0 {
        // A counter begins at zero: do not reach out to where it would have been negative.
        to_start = to_start.min(sampled * (first / increase));
    }
    let reach = |distance: f64| if distance < average * 1.1 { distance } else { average / 2.0 };
    increase * ((sampled + reach(to_start) + reach(to_end)) / sampled) / seconds(start, end)
}

#[cfg(test)]
mod tests {
    use super::super::{Expr, Query, parse};
    use super::*;

    /// Times given together count as times given one by one, also where windows leave gaps or overlap.
    #[test]
    fn times_count_together_as_one_by_one() {
        let Ok(Query::Metric(Expr::Range(range))) = parse("count_over_time({a=\"b\"}[10s])") else { panic!("parses") };
        let times: Vec<i64> = (0..400).map(|k| k * 777_000_000).collect();
        for step in [3, 10, 70] {
            let steps = Steps { start: 50_000_000_000, step: step * 1_000_000_000, count: 4 };
            let (mut together, mut single) = (Windows::new(&range, steps, 1), Windows::new(&range, steps, 1));
            let at = together.series(&LabelSet::default()).unwrap();
            together.add_times(at, 400, &times).unwrap();
            single.series(&LabelSet::default()).unwrap();
            for time in &times {
                if let Some(steps) = single.steps_of(*time) {
                    single.add(at, steps, *time, 1, 0, None).unwrap();
                }
            }
            assert!(!together.alike(times[0], times[399]));
            assert_eq!(together.finish(), single.finish(), "step {step}");
        }
    }
}
