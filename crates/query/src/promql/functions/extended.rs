//! Functions over windows with `anchored` or `smoothed`: what happened between the window's borders, without
//! extrapolation.

use super::super::ast::Sampling;
use super::super::vector::ABSENT;
use super::super::window::{WindowFn, Windows, seconds};

/// What computes `function` for such a window; `None` when it is not defined for it.
pub(crate) fn extended(function: &str, sampling: Sampling) -> Option<WindowFn> {
    Some(match (sampling, function) {
        (Sampling::Anchored, "rate") => anchored_rate,
        (Sampling::Anchored, "increase") => anchored_increase,
        (Sampling::Anchored, "delta") => anchored_delta,
        (Sampling::Anchored, "changes") => anchored_changes,
        (Sampling::Anchored, "resets") => anchored_resets,
        (Sampling::Smoothed, "rate") => smoothed_rate,
        (Sampling::Smoothed, "increase") => smoothed_increase,
        (Sampling::Smoothed, "delta") => smoothed_delta,
        _ => return None,
    })
}

/// The functions that [`extended`] knows, for error messages.
pub(crate) fn names(sampling: Sampling) -> &'static str {
    if sampling == Sampling::Anchored { "changes, delta, increase, rate, resets" } else { "delta, increase, rate" }
}

/// Fills each cell from the window's samples and the one before its start, if that is not too old.
fn anchored(w: &Windows<'_>, out: &mut [f64], f: impl Fn(&[f64]) -> f64) {
    for ((cell, (lo, hi)), end) in out.iter_mut().zip(&w.plan.spans).zip(w.ends) {
        let (mut lo, hi) = (*lo as usize, *hi as usize);
        if lo >= hi {
            *cell = ABSENT;
            continue;
        }
        let oldest = end.saturating_sub(w.range).saturating_sub(w.lookback);
        if lo > 0 && w.times[lo - 1] > oldest {
            lo -= 1;
        }
        *cell = f(&w.values[lo..hi]);
    }
}

/// From the first value to the last, counted on over resets for counters.
fn difference(values: &[f64], counter: bool) -> f64 {
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return ABSENT };
    let lost = |p: &[f64]| if counter && p[1] < p[0] { p[0] } else { 0.0 };
    last - first + values.windows(2).map(lost).sum::<f64>()
}

fn anchored_rate(w: &Windows<'_>, out: &mut [f64]) {
    anchored(w, out, |v| difference(v, true) / seconds(w.range));
}

fn anchored_increase(w: &Windows<'_>, out: &mut [f64]) {
    anchored(w, out, |v| difference(v, true));
}

fn anchored_delta(w: &Windows<'_>, out: &mut [f64]) {
    anchored(w, out, |v| difference(v, false));
}

#[allow(clippy::cast_precision_loss, reason = "sample counts are far below 2^53")]
fn count(values: &[f64], event: impl Fn(f64, f64) -> bool) -> f64 {
    values.windows(2).filter(|p| event(p[0], p[1])).count() as f64
}

fn anchored_changes(w: &Windows<'_>, out: &mut [f64]) {
    anchored(w, out, |v| count(v, |a, b| a != b && !(a.is_nan() && b.is_nan())));
}

fn anchored_resets(w: &Windows<'_>, out: &mut [f64]) {
    anchored(w, out, |v| count(v, |a, b| b < a));
}

/// A point on the line between two samples.
pub(crate) fn between(before: (i64, f64), after: (i64, f64), at: i64) -> f64 {
    let share = seconds(at - before.0) / seconds(after.0 - before.0);
    before.1 + (after.1 - before.1) * share
}

/// The difference between the values at both borders, each on the line between the samples around it.
fn smoothed(w: &Windows<'_>, out: &mut [f64], counter: bool) {
    let mut points = Vec::new();
    for ((cell, (lo, hi)), end) in out.iter_mut().zip(&w.plan.spans).zip(w.ends) {
        let (lo, hi) = (*lo as usize, *hi as usize);
        let start = end.saturating_sub(w.range);
        let sample = |i: usize| (w.times[i], w.values[i]);
        let before = lo.checked_sub(1).filter(|i| w.times[*i] > start.saturating_sub(w.lookback)).map(sample);
        let after = (hi < w.times.len() && w.times[hi] <= end.saturating_add(w.lookback)).then(|| sample(hi));
        // The sample that follows the start, inside the window or beyond it.
        let following = if lo < hi { Some(sample(lo)) } else { after };
        let left = match (before, following) {
            (Some(b), Some(_)) if b.0 == start => b.1,
            // Across a reset the counter has grown from zero up to the sample that follows.
            (Some(b), Some(f)) => between(if counter && f.1 < b.1 { (b.0, 0.0) } else { b }, f, start),
            (None, Some(f)) if lo < hi => f.1,
            _ => {
                *cell = ABSENT;
                continue;
            }
        };
        let preceding = if lo < hi { Some(sample(hi - 1)) } else { before };
        let right = match (preceding, after) {
            (Some(p), _) if p.0 == *end => p.1,
            // Across a reset the growth after it counts on top.
            (Some(p), Some(a)) => between(p, if counter && a.1 < p.1 { (a.0, a.1 + p.1) } else { a }, *end),
            (Some(p), None) => p.1,
            (None, _) => left,
        };
        points.clear();
        points.push(left);
        points.extend_from_slice(&w.values[lo..hi]);
        points.push(right);
        *cell = difference(&points, counter);
    }
}

fn smoothed_rate(w: &Windows<'_>, out: &mut [f64]) {
    smoothed(w, out, true);
    let range = seconds(w.range);
    out.iter_mut().filter(|v| !super::super::vector::is_absent(**v)).for_each(|v| *v /= range);
}

fn smoothed_increase(w: &Windows<'_>, out: &mut [f64]) {
    smoothed(w, out, true);
}

fn smoothed_delta(w: &Windows<'_>, out: &mut [f64]) {
    smoothed(w, out, false);
}
