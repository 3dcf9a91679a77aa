//! Aggregations over the samples of a window.

use super::super::aggregate::quantile_of;
use super::super::sum::{Sum, mean};
use super::super::vector::ABSENT;
use super::super::window::{Windows, seconds};

#[allow(clippy::cast_precision_loss, reason = "sample counts are far below 2^53")]
fn float(n: usize) -> f64 {
    n as f64
}

/// How many times each sample may be added before sums of overlapping windows are shared.
const OVERLAP: usize = 8;

/// Fills each cell from the sum and the samples of its window. Windows that overlap much share their sums: those of
/// `values[i..middle]` for each `i`, and of `values[middle..hi]` so far. Nothing is ever subtracted, so no digits are
/// lost, and an infinity leaves with its window.
fn sums(w: &Windows<'_>, out: &mut [f64], finish: impl Fn(Sum, &[f64]) -> f64) {
    let spans = &w.plan.spans;
    let additions: usize = spans.iter().map(|(lo, hi)| (hi - lo) as usize).sum();
    let forward = spans.windows(2).all(|p| p[0].0 <= p[1].0 && p[0].1 <= p[1].1);
    if !forward || additions < OVERLAP * (w.values.len() + spans.len()) {
        return w.each(out, |_, _, values| {
            let mut sum = Sum::default();
            values.iter().for_each(|v| sum.add(*v));
            finish(sum, values)
        });
    }
    let (mut base, mut middle, mut to) = (0, 0, 0);
    let mut tails: Vec<Sum> = Vec::new();
    let mut after = Sum::default();
    for (cell, (lo, hi)) in out.iter_mut().zip(spans) {
        let (lo, hi) = (*lo as usize, *hi as usize);
        if lo >= hi {
            *cell = ABSENT;
            continue;
        }
        if lo >= middle {
            (base, middle, to) = (lo, hi, hi);
            tails.clear();
            let mut tail = Sum::default();
            tails.extend(w.values[lo..hi].iter().rev().map(|v| {
                tail.add(*v);
                tail
            }));
            tails.reverse();
            after = Sum::default();
        }
        w.values[to..hi].iter().for_each(|v| after.add(*v));
        to = hi;
        *cell = finish(tails[lo - base].and(after), &w.values[lo..hi]);
    }
}

pub(super) fn sum(w: &Windows<'_>, out: &mut [f64]) {
    sums(w, out, |sum, _| sum.value());
}

pub(super) fn avg(w: &Windows<'_>, out: &mut [f64]) {
    sums(w, out, |sum, values| {
        let plain = sum.value() / float(values.len());
        // A sum may be too large for a float where the mean is not.
        if plain.is_infinite() { mean(values) } else { plain }
    });
}

pub(super) fn count(w: &Windows<'_>, out: &mut [f64]) {
    w.each(out, |_, _, values| float(values.len()));
}

pub(super) fn present(w: &Windows<'_>, out: &mut [f64]) {
    w.each(out, |_, _, _| 1.0);
}

pub(super) fn first(w: &Windows<'_>, out: &mut [f64]) {
    w.each(out, |_, _, values| values[0]);
}

pub(super) fn last(w: &Windows<'_>, out: &mut [f64]) {
    w.each(out, |_, _, values| values[values.len() - 1]);
}

pub(super) fn time_of_first(w: &Windows<'_>, out: &mut [f64]) {
    w.each(out, |_, times, _| seconds(times[0]));
}

pub(super) fn time_of_last(w: &Windows<'_>, out: &mut [f64]) {
    w.each(out, |_, times, _| seconds(times[times.len() - 1]));
}

/// The most extreme value of each window by a queue of candidates: every sample enters and leaves it once, however
/// much the windows overlap. `better` says whether the second value replaces the first; NaN never does, and is
/// always replaced. Of equal values the last wins.
fn extreme(w: &Windows<'_>, out: &mut [f64], better: impl Fn(f64, f64) -> bool, result: impl Fn(usize) -> f64) {
    let replaces = |old: f64, new: f64| old.is_nan() || (!new.is_nan() && better(old, new));
    let mut queue: std::collections::VecDeque<usize> = std::collections::VecDeque::new();
    let (mut from, mut to) = (0, 0);
    for (cell, (lo, hi)) in out.iter_mut().zip(&w.plan.spans) {
        let (lo, hi) = (*lo as usize, *hi as usize);
        if lo < from || hi < to {
            // Windows do not move on (all at one moment, or backwards): begin anew.
            queue.clear();
            to = lo;
        }
        if lo > to {
            to = lo;
        }
        while to < hi {
            let v = w.values[to];
            while queue.back().is_some_and(|b| replaces(w.values[*b], v)) {
                queue.pop_back();
            }
            queue.push_back(to);
            to += 1;
        }
        while queue.front().is_some_and(|f| *f < lo) {
            queue.pop_front();
        }
        from = lo;
        *cell = match queue.front() {
            Some(i) if lo < hi => result(*i),
            _ => ABSENT,
        };
    }
}

pub(super) fn max(w: &Windows<'_>, out: &mut [f64]) {
    extreme(w, out, |old, new| new >= old, |i| w.values[i]);
}

pub(super) fn min(w: &Windows<'_>, out: &mut [f64]) {
    extreme(w, out, |old, new| new <= old, |i| w.values[i]);
}

pub(super) fn time_of_max(w: &Windows<'_>, out: &mut [f64]) {
    extreme(w, out, |old, new| new >= old, |i| seconds(w.times[i]));
}

pub(super) fn time_of_min(w: &Windows<'_>, out: &mut [f64]) {
    extreme(w, out, |old, new| new <= old, |i| seconds(w.times[i]));
}

/// Variance by Welford's method, both running figures compensated.
fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (Sum::default(), Sum::default());
    let mut count = 0.0;
    for v in values {
        count += 1.0;
        let delta = v - mean.value();
        mean.add(delta / count);
        squares.add(delta * (v - mean.value()));
    }
    squares.value() / count
}

pub(super) fn stdvar(w: &Windows<'_>, out: &mut [f64]) {
    w.each(out, |_, _, values| variance(values));
}

pub(super) fn stddev(w: &Windows<'_>, out: &mut [f64]) {
    w.each(out, |_, _, values| variance(values).sqrt());
}

pub(super) fn quantile(w: &Windows<'_>, out: &mut [f64]) {
    let mut sorted = Vec::new();
    w.each(out, |k, _, values| {
        sorted.clear();
        sorted.extend_from_slice(values);
        quantile_of(w.scalars[0][k], &mut sorted)
    });
}

pub(super) fn mad(w: &Windows<'_>, out: &mut [f64]) {
    let mut sorted = Vec::new();
    w.each(out, |_, _, values| {
        sorted.clear();
        sorted.extend_from_slice(values);
        let median = quantile_of(0.5, &mut sorted);
        // NaN sorts to one end and would go unnoticed in the middle.
        if sorted[0].is_nan() {
            return f64::NAN;
        }
        sorted.iter_mut().for_each(|v| *v = (*v - median).abs());
        quantile_of(0.5, &mut sorted)
    });
}

/// Counts neighbours that satisfy `event`, by how many did up to each sample.
fn events(w: &Windows<'_>, out: &mut [f64], event: impl Fn(f64, f64) -> bool) {
    let mut total = 0u32;
    let mut before = Vec::with_capacity(w.values.len());
    before.extend(w.values.first().map(|_| 0));
    before.extend(w.values.windows(2).map(|p| {
        total += u32::from(event(p[0], p[1]));
        total
    }));
    for (cell, (lo, hi)) in out.iter_mut().zip(&w.plan.spans) {
        *cell = if lo < hi { f64::from(before[*hi as usize - 1] - before[*lo as usize]) } else { ABSENT };
    }
}

pub(super) fn changes(w: &Windows<'_>, out: &mut [f64]) {
    events(w, out, |a, b| a != b && !(a.is_nan() && b.is_nan()));
}

pub(super) fn resets(w: &Windows<'_>, out: &mut [f64]) {
    events(w, out, |a, b| b < a);
}

#[cfg(test)]
mod tests {
    use super::super::super::notes::{Notes, Place};
    use super::super::super::vector::Steps;
    use super::super::super::window::Plan;
    use super::*;

    #[test]
    fn shared_sums_are_those_of_each_window() {
        let times: Vec<i64> = (0..500).map(|i| i * 10).collect();
        let values: Vec<f64> = (0..500u32)
            .map(|i| match i % 97 {
                13 => f64::INFINITY,
                50 => 1e100,
                51 => -1e100,
                _ => f64::from(i % 17) - 8.3,
            })
            .collect();
        let ends: Vec<i64> = (0..600).map(|i| i * 9).collect();
        for range in [5, 100, 700, 3000] {
            let plan = Plan::new(&times, &ends, range);
            let notes = Notes::default();
            let w = Windows {
                times: &times,
                values: &values,
                starts: &[],
                plan: &plan,
                ends: &ends,
                range,
                lookback: 0,
                steps: Steps::one(0),
                scalars: &[],
                digest: None,
                spot: notes.about("", Place::default()),
            };
            let (mut got, mut wanted) = (vec![0.0; 600], vec![0.0; 600]);
            sum(&w, &mut got);
            w.each(&mut wanted, |_, _, values| {
                let mut sum = Sum::default();
                values.iter().for_each(|v| sum.add(*v));
                sum.value()
            });
            for (k, (a, b)) in got.iter().zip(&wanted).enumerate() {
                assert!(a.to_bits() == b.to_bits() || (a - b).abs() <= 1e-9 * b.abs().max(1.0), "range {range} step {k}: {a} {b}");
            }
        }
    }
}
