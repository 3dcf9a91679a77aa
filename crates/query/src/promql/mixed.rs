//! Windows of series that have native histograms, alone or beside floats.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use skopos_model::NativeHistogram;

use super::ast::Sampling;
use super::functions::is_start_reset;
use super::histogram::is_reset;
use super::notes::Spot;
use super::vector::{ABSENT, HistogramRow, step_index};
use super::window::{Windows, start_of};
use crate::metrics::Series;

/// One window: its samples, those outside of it included that its modifier lets count.
#[derive(Debug)]
pub(crate) struct Span<'a> {
    /// Times of the floats, Unix milliseconds.
    pub(crate) times: &'a [i64],
    pub(crate) values: &'a [f64],
    /// When the counter of each float was started (zero: not known); empty when nothing is known.
    pub(crate) starts: &'a [i64],
    /// At least one.
    pub(crate) histograms: &'a [(i64, Arc<NativeHistogram>)],
    /// As `starts`, for the histograms.
    pub(crate) histogram_starts: &'a [i64],
    /// The whole series, and where in it `histograms` begin.
    restarts: &'a Restarts<'a>,
    first: usize,
    /// The window proper begins after this.
    pub(crate) start: i64,
    /// And ends here.
    pub(crate) end: i64,
    /// Whether samples after its end are there for interpolation.
    pub(crate) smoothed: bool,
    pub(crate) spot: Spot<'a>,
}

impl Span<'_> {
    /// Whether the counter was restarted between histogram `i` and the one before it.
    pub(crate) fn is_restart(&self, i: usize) -> bool {
        self.restarts.get()[self.first + i]
    }
}

/// Where the histograms of a series say or show that their counter was restarted. Windows overlap, so that is found
/// out once, when it is first asked for.
#[derive(Debug)]
struct Restarts<'a> {
    list: &'a [(i64, Arc<NativeHistogram>)],
    starts: &'a [i64],
    known: OnceCell<Vec<bool>>,
}

impl Restarts<'_> {
    fn get(&self) -> &[bool] {
        self.known.get_or_init(|| {
            let start = |i: usize| self.starts.get(i).copied().unwrap_or(0);
            let restart = |i: usize| {
                let (before, now) = (&self.list[i - 1], &self.list[i]);
                is_start_reset((start(i - 1), before.0), (start(i), now.0)) || is_reset(&now.1, &before.1)
            };
            (0..self.list.len()).map(|i| i > 0 && restart(i)).collect()
        })
    }
}

/// Value of a window.
#[derive(Debug)]
pub(crate) enum Cell {
    Absent,
    Float(f64),
    Histogram(Arc<NativeHistogram>),
}

impl From<NativeHistogram> for Cell {
    fn from(h: NativeHistogram) -> Self {
        Self::Histogram(Arc::new(h))
    }
}

/// A function of a window with at least one histogram.
pub(crate) type SpanFn = fn(&Span<'_>) -> Cell;

fn part<T>(list: &[T], from: usize, to: usize) -> &[T] {
    if list.is_empty() { list } else { &list[from..to] }
}

/// A series with histograms, and what takes its windows.
#[derive(Debug)]
pub(crate) struct Native<'a> {
    pub(crate) series: &'a Series,
    /// Without one, histograms are passed over, and that is said.
    pub(crate) function: Option<SpanFn>,
    pub(crate) sampling: Sampling,
    /// Whether start timestamps count.
    pub(crate) starts: bool,
}

/// Puts right what the function of floats made of windows with histograms.
pub(crate) fn compute(w: &Windows<'_>, native: &Native<'_>, out: &mut [f64], histograms: &mut HistogramRow) {
    let series = native.series;
    let list: Cow<'_, [(i64, Arc<NativeHistogram>)]> = if series.histograms.iter().any(|(_, h)| h.is_stale()) {
        Cow::Owned(series.histograms.iter().filter(|(_, h)| !h.is_stale()).cloned().collect())
    } else {
        Cow::Borrowed(&series.histograms[..])
    };
    let histogram_starts: Vec<i64> = if native.starts { list.iter().map(|(t, _)| start_of(&series.starts, *t)).collect() } else { Vec::new() };
    let restarts = Restarts { list: &list, starts: &histogram_starts, known: OnceCell::new() };
    let (before, after) = match native.sampling {
        Sampling::Plain => (0, 0),
        Sampling::Anchored => (w.lookback, 0),
        Sampling::Smoothed => (w.lookback, w.lookback),
    };
    for (k, (cell, end)) in out.iter_mut().zip(w.ends).enumerate() {
        let start = end.saturating_sub(w.range);
        let (first, last) = (start.saturating_sub(before), end.saturating_add(after));
        let (lo, hi) = (list.partition_point(|(t, _)| *t <= first), list.partition_point(|(t, _)| *t <= last));
        if lo >= hi {
            continue;
        }
        let (from, to) = (w.times.partition_point(|t| *t <= first), w.times.partition_point(|t| *t <= last));
        let Some(function) = native.function else {
            if from < to {
                w.spot.histograms_ignored_in_range();
            }
            continue;
        };
        let span = Span {
            times: &w.times[from..to],
            values: &w.values[from..to],
            starts: part(w.starts, from, to),
            histograms: &list[lo..hi],
            histogram_starts: part(&histogram_starts, lo, hi),
            restarts: &restarts,
            first: lo,
            start,
            end: *end,
            smoothed: native.sampling == Sampling::Smoothed,
            spot: w.spot,
        };
        *cell = ABSENT;
        match function(&span) {
            Cell::Absent => {}
            Cell::Float(v) => *cell = v,
            Cell::Histogram(h) => histograms.push((step_index(k), h)),
        }
    }
}
