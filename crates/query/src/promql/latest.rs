//! The value of a series at each step: its most recent sample.

use std::rc::Rc;
use std::sync::Arc;

use super::cost::{Tally, weight};
use super::histogram::{Total, multiplied};
use super::notes::{Combining, Notes, Place, Spot};
use super::vector::{ABSENT, HistogramRow, RowSource, Steps, is_absent, step_index};
use super::window::{Plan, Plans, seconds, start_of, without_stale};
use crate::metrics::Series;

/// What is asked of the most recent sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Its value.
    Value,
    /// Its time, Unix seconds.
    Time,
    /// When its counter was started, Unix seconds; zero when that is not known.
    Start,
}

/// The most recent sample of each step, not older than the lookback.
pub(crate) struct LatestRows {
    series: Rc<Vec<Series>>,
    /// Moments looked at, by step.
    ends: Vec<i64>,
    lookback: i64,
    wanted: Wanted,
    steps: Steps,
    tally: Tally,
    plans: Plans<Latest>,
}

/// Index of each step's most recent sample ([`u32::MAX`]: none), and how many there are.
pub(crate) struct Latest {
    indexes: Vec<u32>,
    found: u64,
}

impl LatestRows {
    pub(crate) fn new(series: Rc<Vec<Series>>, ends: Vec<i64>, lookback: i64, wanted: Wanted, steps: Steps, tally: Tally) -> Self {
        let plans = Plans::new(ends.len());
        Self { series, ends, lookback, wanted, steps, tally, plans }
    }

    /// With plans that others made and will use.
    pub(crate) fn planned(mut self, plans: Option<Plans<Latest>>) -> Self {
        self.plans = plans.unwrap_or(self.plans);
        self
    }

    fn floats(&mut self, index: usize, out: &mut [f64]) {
        let series = &self.series[index];
        if self.ends.len() == 1 {
            // One step: a search is cheaper than a plan.
            let end = self.ends[0];
            let at = series.timestamps.partition_point(|t| *t <= end);
            out[0] = match at.checked_sub(1) {
                Some(i) if series.timestamps[i] > end.saturating_sub(self.lookback) => {
                    self.tally.look_at(1, self.steps, |_| 1);
                    self.cell(series, i)
                }
                _ => ABSENT,
            };
            return;
        }
        let (ends, lookback) = (&self.ends, self.lookback);
        let plan = self.plans.get(&series.timestamps, |times| {
            let latest = |(lo, hi): &(u32, u32)| if hi > lo { hi - 1 } else { u32::MAX };
            let indexes: Vec<u32> = Plan::new(times, ends, lookback).spans.iter().map(latest).collect();
            let found = indexes.iter().filter(|i| **i != u32::MAX).count() as u64;
            Latest { indexes, found }
        });
        self.tally.look_at(plan.found, self.steps, |k| u64::from(plan.indexes[k] != u32::MAX));
        let plan = &plan.indexes;
        if self.wanted != Wanted::Value {
            for (cell, i) in out.iter_mut().zip(plan.iter()) {
                *cell = if *i == u32::MAX { ABSENT } else { self.cell(series, *i as usize) };
            }
            return;
        }
        let values = &series.values[..];
        for (cell, i) in out.iter_mut().zip(plan.iter()) {
            // Out of range stands for "no sample"; a stale marker is the absent cell itself.
            *cell = values.get(*i as usize).copied().unwrap_or(ABSENT);
        }
    }

    fn cell(&self, series: &Series, i: usize) -> f64 {
        let (value, time) = (series.values[i], series.timestamps[i]);
        match self.wanted {
            Wanted::Value => value,
            _ if is_absent(value) => ABSENT,
            Wanted::Time => seconds(time),
            Wanted::Start => seconds(start_of(&series.starts, time)),
        }
    }
}

impl RowSource for LatestRows {
    fn row(&mut self, index: usize, out: &mut [f64], histograms: &mut HistogramRow) {
        self.floats(index, out);
        let series = &self.series[index];
        if series.histograms.is_empty() {
            return;
        }
        let mut weights = vec![0; out.len()];
        for (k, (cell, end)) in out.iter_mut().zip(&self.ends).enumerate() {
            let at = series.histograms.partition_point(|(t, _)| t <= end);
            let latest = at.checked_sub(1).map(|i| &series.histograms[i]).filter(|(t, _)| *t > end.saturating_sub(self.lookback));
            let Some((time, h)) = latest else { continue };
            let float = series.timestamps.partition_point(|t| t <= end).checked_sub(1);
            if float.is_some_and(|i| series.timestamps[i] > *time) {
                continue;
            }
            *cell = ABSENT;
            if h.is_stale() {
                continue;
            }
            weights[k] = weight(h);
            match self.wanted {
                Wanted::Value => histograms.push((step_index(k), Arc::clone(h))),
                Wanted::Time => *cell = seconds(*time),
                Wanted::Start => *cell = seconds(start_of(&series.starts, *time)),
            }
        }
        self.tally.look_at(weights.iter().sum(), self.steps, |k| weights[k]);
    }
}

/// The value of each step on the line between the samples around it; after the last sample, that one's.
pub(crate) struct SmoothedRows {
    series: Rc<Vec<Series>>,
    ends: Vec<i64>,
    lookback: i64,
    notes: Notes,
    place: Place,
}

impl SmoothedRows {
    pub(crate) fn new(series: Rc<Vec<Series>>, ends: Vec<i64>, lookback: i64, notes: Notes, place: Place) -> Self {
        Self { series, ends, lookback, notes, place }
    }
}

/// What of `times` lies around `at`, not further than `lookback`: the last up to it, and the first after it.
fn around<T>(samples: &[T], time: impl Fn(&T) -> i64, at: i64, lookback: i64) -> (Option<usize>, Option<usize>) {
    let after = samples.partition_point(|s| time(s) <= at);
    let before = after.checked_sub(1).filter(|i| time(&samples[*i]) > at.saturating_sub(lookback));
    (before, (after < samples.len() && time(&samples[after]) <= at.saturating_add(lookback)).then_some(after))
}

impl RowSource for SmoothedRows {
    fn row(&mut self, index: usize, out: &mut [f64], histograms: &mut HistogramRow) {
        let series = &self.series[index];
        let (times, values) = without_stale(series);
        let spot = self.notes.about_series(&series.labels, self.place);
        for (k, (cell, end)) in out.iter_mut().zip(&self.ends).enumerate() {
            let floats = around(&times, |t| *t, *end, self.lookback);
            let natives = around(&series.histograms, |(t, _)| *t, *end, self.lookback);
            *cell = ABSENT;
            if natives != (None, None) {
                if floats != (None, None) {
                    spot.floats_and_histograms();
                } else if let Some(h) = smoothed_histogram(series, natives, *end, spot) {
                    histograms.push((step_index(k), h));
                }
                continue;
            }
            *cell = match floats {
                (Some(b), _) if times[b] == *end => values[b],
                (Some(b), Some(a)) => super::functions::extended::between((times[b], values[b]), (times[a], values[a]), *end),
                (Some(b), None) => values[b],
                (None, _) => ABSENT,
            };
        }
    }
}

fn smoothed_histogram(
    series: &Series,
    (before, after): (Option<usize>, Option<usize>),
    at: i64,
    spot: Spot<'_>,
) -> Option<Arc<skopos_model::NativeHistogram>> {
    let (t, h) = &series.histograms[before?];
    match after.map(|a| &series.histograms[a]) {
        _ if h.is_stale() => None,
        Some((next_t, next)) if *t != at && !next.is_stale() => {
            let share = seconds(at - t) / seconds(next_t - t);
            between(h, next, share, spot).map(Arc::new)
        }
        _ => Some(Arc::clone(h)),
    }
}

/// A histogram on the way from one to another.
pub(crate) fn between(
    from: &skopos_model::NativeHistogram,
    to: &skopos_model::NativeHistogram,
    share: f64,
    spot: Spot<'_>,
) -> Option<skopos_model::NativeHistogram> {
    let mut difference = Total::of(to);
    let combine = |total: &mut Total, combining| {
        let done = if combining == Combining::Subtraction { total.subtract(from) } else { total.add(from) };
        match done {
            Ok(remarks) => {
                if remarks.reconciled {
                    spot.bounds_reconciled(combining);
                }
                true
            }
            Err(_) => {
                spot.mixed_schemas();
                false
            }
        }
    };
    if !combine(&mut difference, Combining::Subtraction) {
        return None;
    }
    let mut total = Total::of(&multiplied(&difference.finish(), share));
    combine(&mut total, Combining::Addition).then(|| total.finish())
}
