//! Rates of counters whose samples say when the counter was started.

use super::super::vector::ABSENT;
use super::super::window::{WindowFn, Windows, seconds};

/// What computes `function` where starts are known; `None` when they do not matter to it.
pub(crate) fn started(function: &str) -> Option<WindowFn> {
    Some(match function {
        "rate" => |w, out| extrapolated(w, out, true),
        "increase" => |w, out| extrapolated(w, out, false),
        "irate" => instant,
        "resets" => resets,
        _ => return None,
    })
}

/// Whether a counter was restarted between two samples, each given as (start, time), by what their starts say.
///
/// A start where the sample before was taken is a restart for deltas, which start anew each time, but not where the
/// start of a cumulative counter is not known: then that sample's own start is unknown or its own time.
pub(crate) fn is_reset(before: (i64, i64), now: (i64, i64)) -> bool {
    let ((before_start, before_time), (start, time)) = (before, now);
    if start == 0 || start >= time || start < before_time {
        return false;
    }
    if start > before_time {
        return true;
    }
    before_start != 0 && before_start < before_time
}

/// Whether a sample claims to have counted from before the last one, without having been counting then.
pub(crate) fn overlaps(before: (i64, i64), start: i64) -> bool {
    start != 0 && start < before.1 && start != before.0
}

/// Whether a start lies inside the window, before its first sample: the counter was zero there.
pub(super) fn begins_inside(start: i64, window_start: i64, first: i64) -> bool {
    start != 0 && start > window_start && start < first
}

/// `rate` and `increase`.
fn extrapolated(w: &Windows<'_>, out: &mut [f64], per_second: bool) {
    let (times, values) = (w.times, w.values);
    let sample = |i: usize| (w.starts[i], times[i]);
    // By sample: restarts before it, and the first sample from it on that overlaps the one before.
    let restart = |i: usize| values[i] < values[i - 1] || is_reset(sample(i - 1), sample(i));
    let resets: Vec<usize> = (1..values.len()).filter(|i| restart(*i)).collect();
    let overlap: Vec<usize> = (1..values.len()).filter(|i| overlaps(sample(i - 1), w.starts[*i])).collect();
    let inside = |list: &[usize], lo: usize, hi: usize| list.partition_point(|i| *i <= lo)..list.partition_point(|i| *i < hi);
    let edges = w.edges();
    for (k, ((cell, (lo, hi)), end)) in out.iter_mut().zip(&w.plan.spans).zip(w.ends).enumerate() {
        let (lo, hi) = (*lo as usize, *hi as usize);
        *cell = ABSENT;
        if lo >= hi {
            continue;
        }
        if !inside(&overlap, lo, hi).is_empty() {
            w.spot.start_overlap();
        }
        let (first, last) = (values[lo], hi - 1);
        let mut increase = values[last] - first;
        for i in &resets[inside(&resets, lo, hi)] {
            increase += values[i - 1];
        }
        let window_start = end.saturating_sub(w.range);
        let (mut sampled, mut to_start, to_end) = (edges.sampled[k], edges.to_start[k], edges.to_end[k]);
        if begins_inside(w.starts[lo], window_start, times[lo]) {
            to_start = 0.0;
            sampled = seconds(times[last] - w.starts[lo]);
            increase += first;
        } else if last == lo {
            continue;
        } else if increase > 0.0 && first >= 0.0 {
            to_start = to_start.min(sampled * (first / increase));
        }
        let factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
        *cell = increase * if per_second { factor / seconds(w.range) } else { factor };
    }
}

/// `irate`.
fn instant(w: &Windows<'_>, out: &mut [f64]) {
    for (cell, (lo, hi)) in out.iter_mut().zip(&w.plan.spans) {
        let (lo, hi) = (*lo as usize, *hi as usize);
        *cell = ABSENT;
        if hi < lo + 2 {
            continue;
        }
        let (a, b) = (hi - 2, hi - 1);
        let restarted = w.values[b] < w.values[a] || is_reset((w.starts[a], w.times[a]), (w.starts[b], w.times[b]));
        let increase = if restarted { w.values[b] } else { w.values[b] - w.values[a] };
        *cell = increase / seconds(w.times[b] - w.times[a]);
    }
}

/// `resets`.
#[allow(clippy::cast_precision_loss, reason = "sample counts are far below 2^53")]
fn resets(w: &Windows<'_>, out: &mut [f64]) {
    let sample = |i: usize| (w.starts[i], w.times[i]);
    let restart = |i: usize| w.values[i] < w.values[i - 1] || is_reset(sample(i - 1), sample(i));
    let all: Vec<usize> = (1..w.values.len()).filter(|i| restart(*i)).collect();
    for (cell, (lo, hi)) in out.iter_mut().zip(&w.plan.spans) {
        let (lo, hi) = (*lo as usize, *hi as usize);
        let count = all.partition_point(|i| *i < hi) - all.partition_point(|i| *i <= lo).min(all.partition_point(|i| *i < hi));
        *cell = if lo < hi { count as f64 } else { ABSENT };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_by_start() {
        for (before, now, reset) in [
            ((0, 100), (0, 200), false),
            ((50, 100), (50, 200), false),
            ((50, 100), (150, 200), true),
            ((50, 100), (100, 200), true),
            ((0, 100), (100, 200), false),
            ((100, 100), (100, 200), false),
            ((150, 100), (100, 200), false),
            ((50, 100), (200, 200), false),
            ((50, 100), (300, 200), false),
        ] {
            assert_eq!(is_reset(before, now), reset, "{before:?} {now:?}");
        }
        assert!(overlaps((50, 100), 60));
        assert!(!overlaps((50, 100), 50));
        assert!(!overlaps((50, 100), 100));
        assert!(!overlaps((50, 100), 0));
    }
}
