//! Rates of counters, differences and trends of gauges.

use super::super::sum::Sum;
use super::super::vector::ABSENT;
use super::super::window::{Run, Windows, seconds};

/// Samples looked at together for whether the counter went down among them.
const RESET_BLOCK: usize = 16;

/// Where a counter went down.
fn find_resets(values: &[f64]) -> Vec<u32> {
    let mut resets = Vec::new();
    let later = values.get(1..).unwrap_or_default();
    let (blocks, rest) = later.as_chunks::<RESET_BLOCK>();
    let mut from = 0;
    for block in blocks {
        // Most blocks have none, which is told without branches.
        let before = &values[from..from + RESET_BLOCK];
        let fell = block.iter().zip(before).fold(0u8, |fell, (b, a)| fell | u8::from(b < a));
        if fell != 0 {
            add_resets(block, before, from + 1, &mut resets);
        }
        from += RESET_BLOCK;
    }
    add_resets(rest, &values[from.min(values.len())..], from + 1, &mut resets);
    resets
}

/// Adds the places of those of `values`, the first of which is at `first`, that are less than the one before.
fn add_resets(values: &[f64], before: &[f64], first: usize, resets: &mut Vec<u32>) {
    let at = |i: usize| u32::try_from(first + i).unwrap_or(u32::MAX);
    resets.extend(values.iter().zip(before).enumerate().filter(|(_, (b, a))| b < a).map(|(i, _)| at(i)));
}

/// Differences of the samples of windows, each times its factor. For a counter: true unless any of them was extrapolated
/// to where the counter would have been negative; then none of them counts.
#[inline(always)]
fn differences(ends: impl Iterator<Item = (f64, f64)>, reach: &[f64], factors: &[f64], counter: bool, out: &mut [f64]) -> bool {
    let mut is_right = true;
    for ((((first, last), reach), factor), out) in ends.zip(reach).zip(factors).zip(out) {
        let increase = last - first;
        if counter {
            is_right &= !((first >= 0.0) & (first < increase * reach));
        }
        *out = increase * factor;
    }
    is_right
}

/// [`differences`] of the windows of a run, with the distance from one to the next known when it is compiled.
#[inline(always)]
fn evenly<const STRIDE: usize>(run: &Run, values: &[f64], reach: &[f64], factors: &[f64], counter: bool, out: &mut [f64]) -> bool {
    // The last window has no whole stride behind it.
    let whole = run.count - 1;
    let of = |first: usize| values[first..first + whole * STRIDE].as_chunks::<STRIDE>().0.iter().map(|samples| samples[0]);
    let last = (values[run.first + whole * STRIDE], values[run.last + whole * STRIDE]);
    let is_right = differences(of(run.first).zip(of(run.last)), reach, factors, counter, &mut out[..whole]);
    is_right & differences(std::iter::once(last), &reach[whole..], &factors[whole..], counter, &mut out[whole..])
}

/// `rate`, `increase` and `delta`: the difference between the ends of the window, extrapolated to its borders.
#[inline(always)]
fn extrapolated(w: &Windows<'_>, out: &mut [f64], counter: bool, per_second: bool) {
    let resets = if counter { find_resets(w.values) } else { Vec::new() };
    let divisor = if per_second { seconds(w.range) } else { 1.0 };
    let edges = w.edges();
    let factors = if per_second { &edges.factor_per_second } else { &edges.factor };
    let values = w.values;
    let cell = |increase: f64, first: f64, k: usize| {
        // A counter begins at zero: do not reach out to where it would have been negative.
        if counter && first >= 0.0 && first < increase * edges.reach[k] {
            let sampled = edges.sampled[k];
            let to_start = sampled * (first / increase);
            return increase * ((sampled + to_start + edges.to_end[k]) / sampled / divisor);
        }
        increase * factors[k]
    };
    out.fill(ABSENT);
    for run in &edges.runs {
        let steps = run.step..run.step + run.count;
        let last_of_all = run.last + (run.count - 1) * run.stride;
        let mut reset_at = resets.partition_point(|r| *r as usize <= run.first);
        let has_resets = resets.get(reset_at).is_some_and(|r| *r as usize <= last_of_all);
        if !has_resets {
            let (reach, factors, out) = (&edges.reach[steps.clone()], &factors[steps.clone()], &mut out[steps.clone()]);
            let is_right = match run.stride {
                // One window alone, or the same again and again.
                0 => false,
                1 => evenly::<1>(run, values, reach, factors, counter, out),
                2 => evenly::<2>(run, values, reach, factors, counter, out),
                4 => evenly::<4>(run, values, reach, factors, counter, out),
                stride => {
                    let of = |first: usize| values[first..].iter().copied().step_by(stride);
                    differences(of(run.first).zip(of(run.last)), reach, factors, counter, out)
                }
            };
            if is_right {
                continue;
            }
        }
        for (i, k) in steps.enumerate() {
            let (lo, hi) = (run.first + i * run.stride, run.last + i * run.stride);
            while resets.get(reset_at).is_some_and(|r| *r as usize <= lo) {
                reset_at += 1;
            }
            let first = values[lo];
            let mut increase = values[hi] - first;
            for r in resets[reset_at..].iter().take_while(|r| **r as usize <= hi) {
                increase += values[*r as usize - 1];
            }
            out[k] = cell(increase, first, k);
        }
    }
}

pub(super) fn rate(w: &Windows<'_>, out: &mut [f64]) {
    extrapolated(w, out, true, true);
}

pub(super) fn increase(w: &Windows<'_>, out: &mut [f64]) {
    extrapolated(w, out, true, false);
}

pub(super) fn delta(w: &Windows<'_>, out: &mut [f64]) {
    extrapolated(w, out, false, false);
}

pub(super) fn irate(w: &Windows<'_>, out: &mut [f64]) {
    w.each(out, |_, times, values| {
        let n = values.len();
        if n < 2 {
            return ABSENT;
        }
        let (before, last) = (values[n - 2], values[n - 1]);
        // After a reset the counter has counted from zero.
        let increase = if last < before { last } else { last - before };
        let interval = seconds(times[n - 1] - times[n - 2]);
        if interval == 0.0 { ABSENT } else { increase / interval }
    });
}

pub(super) fn idelta(w: &Windows<'_>, out: &mut [f64]) {
    w.each(out, |_, _, values| {
        let n = values.len();
        if n < 2 { ABSENT } else { values[n - 1] - values[n - 2] }
    });
}

/// Slope per second and value at `origin` of the line through the samples.
fn regression(times: &[i64], values: &[f64], origin: i64) -> (f64, f64) {
    if values.iter().all(|v| *v == values[0]) {
        return if values[0].is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, values[0]) };
    }
    let (mut x, mut y, mut xy, mut x2) = (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    let mut n = 0.0;
    for (t, v) in times.iter().zip(values) {
        let at = seconds(t - origin);
        n += 1.0;
        x.add(at);
        y.add(*v);
        xy.add(at * v);
        x2.add(at * at);
    }
    let covariance = xy.value() - x.value() * y.value() / n;
    let variance = x2.value() - x.value() * x.value() / n;
    let slope = covariance / variance;
    (slope, y.value() / n - slope * x.value() / n)
}

pub(super) fn deriv(w: &Windows<'_>, out: &mut [f64]) {
    w.each(out, |_, times, values| {
        // Times relative to the first sample keep their digits.
        if values.len() < 2 { ABSENT } else { regression(times, values, times[0]).0 }
    });
}

pub(super) fn predict_linear(w: &Windows<'_>, out: &mut [f64]) {
    w.each(out, |k, times, values| {
        if values.len() < 2 {
            return ABSENT;
        }
        let (slope, intercept) = regression(times, values, w.steps.time(k));
        slope * w.scalars[0][k] + intercept
    });
}

/// Holt's linear method.
pub(super) fn smooth(w: &Windows<'_>, out: &mut [f64]) {
    w.each(out, |k, _, values| {
        if values.len() < 2 {
            return ABSENT;
        }
        let (level_factor, trend_factor) = (w.scalars[0][k], w.scalars[1][k]);
        let (mut before, mut level, mut trend) = (0.0, values[0], values[1] - values[0]);
        for (i, v) in values.iter().enumerate().skip(1) {
            if i > 1 {
                trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
            }
            (before, level) = (level, level_factor * v + (1.0 - level_factor) * (level + trend));
        }
        level
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_found() {
        let rising: Vec<f64> = (0..41).map(f64::from).collect();
        assert!(find_resets(&rising).is_empty());
        for i in 1..rising.len() {
            let mut values = rising.clone();
            values[i] = f64::from_bits(values[i - 1].to_bits().wrapping_sub(1)).min(values[i - 1]);
            let wanted = if values[i] < values[i - 1] { vec![u32::try_from(i).unwrap_or(0)] } else { Vec::new() };
            assert_eq!(find_resets(&values), wanted, "{i}");
        }
        assert_eq!(find_resets(&[f64::NAN, 1.0, f64::NAN, 0.5, f64::INFINITY, f64::INFINITY, 0.5]), [6]);
        assert!(find_resets(&[]).is_empty() && find_resets(&[1.0]).is_empty());
    }
}
