//! Which samples belong to which step: worked out once for each distinct vector of timestamps, by index.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::cost::Tally;
use super::mixed::{Native, SpanFn};
use super::notes::{Notes, Place, Spot};
use super::vector::{ABSENT, HistogramRow, Matrix, RowSource, Steps, is_absent};
use crate::metrics::Series;
use crate::windows::{Digest, Need};

/// Steps of all plans kept at once, of about 60 bytes each. Targets scraped at their own moments have a vector of
/// timestamps each.
const PLANNED_STEPS_MAX: usize = 1 << 19;

/// Plans kept at once whatever their steps, and at most.
const PLANS: std::ops::RangeInclusive<usize> = 16..=1 << 14;

/// Sample windows of one vector of timestamps.
#[derive(Debug)]
pub(crate) struct Plan {
    /// First sample and the one after the last, by step.
    pub(crate) spans: Vec<(u32, u32)>,
    /// What extrapolation needs, worked out when first asked for.
    edges: OnceCell<Edges>,
    /// Samples of all windows together, worked out when first asked for.
    samples: OnceCell<u64>,
    /// Samples by step where some stand for others; else empty.
    counts: Vec<u64>,
}

/// Times around the samples of each window, seconds: column by column, so that wide registers are filled. Windows of
/// fewer than two samples have zeros.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    /// From the first sample to the last; zero when there are fewer than two.
    pub(crate) sampled: Vec<f64>,
    /// From the window's start to the first sample, shortened when no sample was due there.
    pub(crate) to_start: Vec<f64>,
    /// From the last sample to the window's end, likewise.
    pub(crate) to_end: Vec<f64>,
    /// By how much the difference of the samples grows when it is extrapolated to both borders.
    pub(crate) factor: Vec<f64>,
    /// The same, for a difference per second.
    pub(crate) factor_per_second: Vec<f64>,
    /// `to_start / sampled`: with how much of its increase a counter would have been below zero at the window's start.
    pub(crate) reach: Vec<f64>,
    /// Windows of two samples and more, where one follows the other evenly.
    pub(crate) runs: Vec<Run>,
}

/// Steps whose windows move on by the same number of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// First step.
    pub(crate) step: usize,
    /// Number of steps.
    pub(crate) count: usize,
    /// First sample of the first window.
    pub(crate) first: usize,
    /// Last sample of the first window.
    pub(crate) last: usize,
    /// Samples from one window to the next; zero where that is not known, in runs of one.
    pub(crate) stride: usize,
}

/// See [`Edges::runs`].
fn runs(spans: &[(u32, u32)]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (step, (lo, hi)) in spans.iter().enumerate() {
        let (first, end) = (*lo as usize, *hi as usize);
        if end < first + 2 {
            continue;
        }
        let last = end - 1;
        if let Some(run) = runs.last_mut().filter(|run| run.step + run.count == step) {
            let (before_first, before_last) = (run.first + (run.count - 1) * run.stride, run.last + (run.count - 1) * run.stride);
            let stride = first.wrapping_sub(before_first);
            let is_even = stride == last.wrapping_sub(before_last) && stride <= last;
            if is_even && (run.count == 1 || run.stride == stride) {
                run.stride = stride;
                run.count += 1;
                continue;
            }
        }
        runs.push(Run { step, count: 1, first, last, stride: 0 });
    }
    runs
}

fn index(i: usize) -> u32 {
    u32::try_from(i).unwrap_or(u32::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of a window are far below 2^53")]
pub(crate) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

impl Plan {
    /// Windows `(end - range, end]`.
    pub(crate) fn new(times: &[i64], ends: &[i64], range: i64) -> Self {
        let (mut lo, mut hi) = (0, 0);
        let mut last_end = i64::MIN;
        let spans = ends
            .iter()
            .map(|end| {
                if *end < last_end {
                    (lo, hi) = (0, 0);
                }
                last_end = *end;
                let start = end.saturating_sub(range);
                hi += times[hi..].iter().take_while(|t| **t <= *end).count();
                lo += times[lo..hi.max(lo)].iter().take_while(|t| **t <= start).count();
                (index(lo.min(hi)), index(hi))
            })
            .collect();
        Self { spans, edges: OnceCell::new(), samples: OnceCell::new(), counts: Vec::new() }
    }

    /// The same of samples that stand for so many each.
    pub(crate) fn counted(mut self, counts: &[u32]) -> Self {
        let mut total = 0;
        let before: Vec<u64> = std::iter::once(0)
            .chain(counts.iter().map(|n| {
                total += u64::from(*n);
                total
            }))
            .collect();
        self.counts = self.spans.iter().map(|(lo, hi)| before[*hi as usize] - before[*lo as usize]).collect();
        self
    }

    /// Samples of a step's window.
    pub(crate) fn samples_at(&self, k: usize) -> u64 {
        self.counts.get(k).copied().unwrap_or_else(|| {
            let (lo, hi) = self.spans[k];
            u64::from(hi - lo)
        })
    }

    /// Samples of all windows together.
    pub(crate) fn samples(&self) -> u64 {
        *self.samples.get_or_init(|| (0..self.spans.len()).map(|k| self.samples_at(k)).sum())
    }

    /// See [`Edges`].
    pub(crate) fn edges(&self, times: &[i64], ends: &[i64], range: i64) -> &Edges {
        self.edges.get_or_init(|| {
            let zeros = || vec![0.0; self.spans.len()];
            let mut edges = Edges {
                sampled: zeros(),
                to_start: zeros(),
                to_end: zeros(),
                factor: zeros(),
                factor_per_second: zeros(),
                reach: zeros(),
                runs: runs(&self.spans),
            };
            for (k, (span, end)) in self.spans.iter().zip(ends).enumerate() {
                let (lo, hi) = (span.0 as usize, span.1 as usize);
                if hi < lo + 2 {
                    continue;
                }
                let (first, last) = (times[lo], times[hi - 1]);
                let sampled = seconds(last - first);
                #[allow(clippy::cast_precision_loss, reason = "sample counts are far below 2^53")]
                let average = sampled / (self.samples_at(k) - 1) as f64;
                let (mut to_start, mut to_end) = (seconds(first.saturating_sub(end.saturating_sub(range))), seconds(end.saturating_sub(last)));
                // A sample further from the edge than one and a tenth intervals means the series begins or ends
                // inside the window: reach out half an interval only.
                if to_start >= average * 1.1 {
                    to_start = average / 2.0;
                }
                if to_end >= average * 1.1 {
                    to_end = average / 2.0;
                }
                let factor = (sampled + to_start + to_end) / sampled;
                (edges.sampled[k], edges.to_start[k], edges.to_end[k]) = (sampled, to_start, to_end);
                (edges.factor[k], edges.factor_per_second[k]) = (factor, factor / seconds(range));
                edges.reach[k] = to_start / sampled;
            }
            edges
        })
    }
}

/// Plans by vector of timestamps, which its address identifies: it is kept alive with its plan. A clone is the same.
pub(crate) struct Plans<P>(Rc<RefCell<Known<P>>>);

struct Known<P> {
    plans_max: usize,
    by_address: HashMap<usize, (Arc<[i64]>, Rc<P>)>,
    last: Option<(usize, Rc<P>)>,
}

impl<P> Clone for Plans<P> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<P> Plans<P> {
    /// For plans of so many steps each.
    pub(crate) fn new(steps: usize) -> Self {
        let plans_max = (PLANNED_STEPS_MAX / steps.max(1)).clamp(*PLANS.start(), *PLANS.end());
        Self(Rc::new(RefCell::new(Known { plans_max, by_address: HashMap::new(), last: None })))
    }

    pub(crate) fn get(&self, times: &Arc<[i64]>, make: impl FnOnce(&[i64]) -> P) -> Rc<P> {
        let mut known = self.0.borrow_mut();
        let Known { plans_max, by_address, last } = &mut *known;
        let address = times.as_ptr().addr();
        if let Some((last, plan)) = last
            && *last == address
        {
            return Rc::clone(plan);
        }
        if by_address.len() >= *plans_max && !by_address.contains_key(&address) {
            by_address.clear();
        }
        let (_, plan) = by_address.entry(address).or_insert_with(|| (Arc::clone(times), Rc::new(make(times))));
        let plan = Rc::clone(plan);
        *last = Some((address, Rc::clone(&plan)));
        plan
    }
}

/// One series' samples with its windows: what a function over a range sees.
pub(crate) struct Windows<'a> {
    pub(crate) times: &'a [i64],
    pub(crate) values: &'a [f64],
    /// When the counter of each sample was started (zero: not known), Unix milliseconds; empty when nothing is known.
    pub(crate) starts: &'a [i64],
    pub(crate) plan: &'a Plan,
    /// End of each window, Unix milliseconds.
    pub(crate) ends: &'a [i64],
    /// Length of the windows, milliseconds.
    pub(crate) range: i64,
    /// How far outside the window a sample may be that is taken for its border, milliseconds.
    pub(crate) lookback: i64,
    /// The step's own time (windows may be shifted from it), Unix milliseconds.
    pub(crate) steps: Steps,
    /// Scalar arguments, a cell a step each.
    pub(crate) scalars: &'a [Vec<f64>],
    /// What the samples stand for, when they are not all.
    pub(crate) digest: Option<&'a Digest>,
    /// What notes are about.
    pub(crate) spot: Spot<'a>,
}

/// A function over a range: fills one row.
pub(crate) type WindowFn = fn(&Windows<'_>, &mut [f64]);

impl Windows<'_> {
    /// Fills each cell from its window's times and values; windows without samples stay absent.
    #[inline(always)]
    pub(crate) fn each(&self, out: &mut [f64], mut f: impl FnMut(usize, &[i64], &[f64]) -> f64) {
        for (k, (cell, (lo, hi))) in out.iter_mut().zip(&self.plan.spans).enumerate() {
            let (lo, hi) = (*lo as usize, *hi as usize);
            *cell = if lo < hi { f(k, &self.times[lo..hi], &self.values[lo..hi]) } else { ABSENT };
        }
    }

    pub(crate) fn edges(&self) -> &Edges {
        self.plan.edges(self.times, self.ends, self.range)
    }
}

/// Rows of a function over a range.
pub(crate) struct WindowRows {
    matrix: Matrix,
    steps: Steps,
    scalars: Vec<Vec<f64>>,
    function: WindowFn,
    /// What takes windows with histograms; without it they are passed over.
    mixed: Option<SpanFn>,
    /// What takes floats that say when their counter was started.
    started: Option<WindowFn>,
    /// What was asked of the samples.
    need: Option<Need>,
    notes: Notes,
    place: Place,
    tally: Option<Tally>,
    plans: Plans<Plan>,
}

impl WindowRows {
    pub(crate) fn new(matrix: Matrix, steps: Steps, scalars: Vec<Vec<f64>>, function: WindowFn, notes: Notes, place: impl Into<Place>) -> Self {
        let plans = Plans::new(steps.count);
        Self { matrix, steps, scalars, function, mixed: None, started: None, need: None, notes, place: place.into(), tally: None, plans }
    }

    /// With what takes windows with histograms.
    pub(crate) fn mixed(mut self, function: Option<SpanFn>) -> Self {
        self.mixed = function;
        self
    }

    /// With what takes floats that say when their counter was started.
    pub(crate) fn started(mut self, function: Option<WindowFn>) -> Self {
        self.started = function;
        self
    }

    /// With plans that others made and will use.
    pub(crate) fn planned(mut self, plans: Option<Plans<Plan>>) -> Self {
        self.plans = plans.unwrap_or(self.plans);
        self
    }

    /// With what was asked of the samples: where they are not all, they are read accordingly.
    pub(crate) fn needing(mut self, need: Option<Need>) -> Self {
        self.need = need;
        self
    }

    /// Counting the samples looked at.
    pub(crate) fn counted(mut self, tally: &Tally) -> Self {
        self.tally = Some(tally.clone());
        self
    }

    fn compute(&self, index: usize, (times, values): (&[i64], &[f64]), plan: &Plan, out: &mut [f64], histograms: &mut HistogramRow) {
        let m = &self.matrix;
        let series = &m.series[index];
        let known = m.starts && !series.starts.is_empty();
        let starts: Vec<i64> = if known { times.iter().map(|t| start_of(&series.starts, *t)).collect() } else { Vec::new() };
        let windows = Windows {
            times,
            values,
            starts: &starts,
            plan,
            ends: &m.ends,
            range: m.range,
            lookback: m.lookback,
            steps: self.steps,
            scalars: &self.scalars,
            digest: series.digest.as_deref(),
            spot: if m.is_named(index) { self.notes.about_series(&series.labels, self.place) } else { self.notes.about("", self.place) },
        };
        if let Some(tally) = &self.tally {
            tally.look_at(plan.samples(), self.steps, |k| plan.samples_at(k));
        }
        let digested = self.need.filter(|_| series.digest.is_some()).and_then(super::digest::function);
        let function = self.started.filter(|_| known).or(digested).unwrap_or(self.function);
        function(&windows, out);
        if !series.histograms.is_empty() {
            let native = Native { series, function: self.mixed, sampling: m.sampling, starts: known };
            super::mixed::compute(&windows, &native, out, histograms);
            if let Some(tally) = &self.tally {
                let weights: Vec<u64> = m.ends.iter().map(|end| weight_of_window(series, end.saturating_sub(m.range), *end)).collect();
                tally.look_at(weights.iter().sum(), self.steps, |k| weights[k]);
            }
        }
    }
}

impl RowSource for WindowRows {
    fn row(&mut self, index: usize, out: &mut [f64], histograms: &mut HistogramRow) {
        let m = &self.matrix;
        let series = &m.series[index];
        // Stale markers are no samples of a window.
        if may_have_nan(&series.values) && series.values.iter().any(|v| is_absent(*v)) {
            let (times, values) = without_stale(series);
            let plan = Plan::new(&times, &m.ends, m.range);
            self.compute(index, (&times, &values), &plan, out, histograms);
            return;
        }
        if let Some(digest) = series.digest.as_deref().filter(|digest| !digest.counts.is_empty()) {
            let plan = Plan::new(&series.timestamps, &m.ends, m.range).counted(&digest.counts);
            self.compute(index, (&series.timestamps, &series.values), &plan, out, histograms);
            return;
        }
        let plan = self.plans.get(&series.timestamps, |times| Plan::new(times, &m.ends, m.range));
        let series = &self.matrix.series[index];
        self.compute(index, (&series.timestamps, &series.values), &plan, out, histograms);
    }
}

/// As how many samples the histograms of a window count.
fn weight_of_window(series: &Series, start: i64, end: i64) -> u64 {
    let from = series.histograms.partition_point(|(t, _)| *t <= start);
    let inside = series.histograms[from..].iter().take_while(|(t, _)| *t <= end);
    inside.map(|(_, h)| super::cost::weight(h)).sum()
}

/// When the counter of the sample at `time` was started; zero when that is not known.
pub(crate) fn start_of(starts: &[(i64, i64)], time: i64) -> i64 {
    let at = starts.partition_point(|(from, _)| *from <= time);
    at.checked_sub(1).map_or(0, |i| starts[i].1)
}

/// False only when no value is NaN: a sum with one is NaN. Most series have none, and four sums side by side tell so
/// faster than any comparison.
fn may_have_nan(values: &[f64]) -> bool {
    let mut sums = [0.0; 4];
    let (blocks, rest) = values.as_chunks::<4>();
    for block in blocks {
        for (sum, v) in sums.iter_mut().zip(block) {
            *sum += v;
        }
    }
    sums.iter().chain(rest).fold(0.0, |a, v| a + v).is_nan()
}

/// Samples that are no stale markers.
pub(crate) fn without_stale(series: &Series) -> (Vec<i64>, Vec<f64>) {
    series.timestamps.iter().zip(&series.values).filter(|(_, v)| !is_absent(**v)).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_noticed() {
        let mut values: Vec<f64> = (0..11).map(f64::from).collect();
        assert!(!may_have_nan(&values));
        for i in 0..values.len() {
            let before = std::mem::replace(&mut values[i], ABSENT);
            assert!(may_have_nan(&values), "{i}");
            values[i] = before;
        }
    }

    #[test]
    fn windows_are_open_on_the_left() {
        let plan = Plan::new(&[0, 10, 20, 30], &[10, 20, 25, 100], 10);
        assert_eq!(plan.spans, [(1, 2), (2, 3), (2, 3), (4, 4)]);
        assert_eq!(Plan::new(&[], &[5], 10).spans, [(0, 0)]);
    }

    #[test]
    fn windows_that_move_evenly_are_runs() {
        let run = |step, count, first, last, stride| Run { step, count, first, last, stride };
        assert_eq!(
            runs(&[(0, 0), (0, 1), (0, 2), (0, 3), (1, 4), (2, 5), (4, 7), (6, 9), (8, 10), (9, 10)]),
            [run(2, 1, 0, 1, 0), run(3, 3, 0, 2, 1), run(6, 2, 4, 6, 2), run(8, 1, 8, 9, 0),]
        );
        // A step back in time, as `@` and negative offsets may ask for, and standing still.
        assert_eq!(runs(&[(5, 8), (3, 6), (3, 6), (3, 6)]), [run(0, 1, 5, 7, 0), run(1, 3, 3, 5, 0)]);
        assert!(runs(&[]).is_empty());
    }
}
