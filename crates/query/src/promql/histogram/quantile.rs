//! Quantiles, shares and spread of the observations in a native histogram.

use skopos_model::NativeHistogram;

use super::bucket::{Bucket, buckets, one_sided};
use crate::promql::sum::Sum;

/// How observations that are no numbers, which count but are in no bucket, touch a quantile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Not at all.
    None,
    /// It is among them.
    Undefined,
    /// It is higher than without them.
    Skewed,
}

/// The value below which the share `q` of the observations lies.
///
/// Within an exponential bucket observations are taken to be spread evenly over the logarithm, in the zero bucket and
/// between custom bounds over the values.
pub(crate) fn quantile(q: f64, h: &NativeHistogram) -> (f64, Doubt) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, Doubt::None);
    }
    if q > 1.0 {
        return (f64::INFINITY, Doubt::None);
    }
    if h.count == 0.0 || q.is_nan() {
        return (f64::NAN, Doubt::None);
    }
    // From the nearer end, which loses fewer digits. What is no number counts as highest, so then from the lower.
    let upwards = h.sum.is_nan() || q < 0.5;
    let rank = if upwards { q * h.count } else { (1.0 - q) * h.count };
    let all = buckets(h);
    let mut counted = 0.0;
    let mut found: Option<Bucket> = None;
    let mut reach = |b: &Bucket| {
        counted += b.count;
        found = Some(*b);
        counted >= rank
    };
    if upwards {
        all.iter().any(&mut reach);
    } else {
        all.iter().rev().any(&mut reach);
    }
    let Some(bucket) = found else { return (f64::NAN, Doubt::None) };
    let mut bucket = one_sided(h, bucket);
    if h.is_custom() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, Doubt::None);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, Doubt::None);
        }
    }
    // Rounding may bring the buckets' sum above the count.
    let counted = counted.min(h.count);
    if counted < rank {
        return if h.sum.is_nan() { (f64::NAN, Doubt::Undefined) } else { (bucket.upper, Doubt::None) };
    }
    let within = if upwards { rank - (counted - bucket.count) } else { counted - rank };
    let share = within / bucket.count;
    let doubt = if has_nan(h) { Doubt::Skewed } else { Doubt::None };
    if h.is_custom() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return (bucket.lower + (bucket.upper - bucket.lower) * share, doubt);
    }
    let (low, high) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    let value = if bucket.lower > 0.0 { (low + (high - low) * share).exp2() } else { -(high + (low - high) * (1.0 - share)).exp2() };
    (value, doubt)
}

/// Whether there are observations that are no numbers. Infinite ones may make the sum NaN too, but they are in buckets.
pub(crate) fn has_nan(h: &NativeHistogram) -> bool {
    h.sum.is_nan() && buckets(h).iter().map(|b| b.count).sum::<f64>() < h.count
}

/// How much of a bucket lies below `v`, which is inside it; the same assumptions as for [`quantile`].
pub(super) fn share_below(h: &NativeHistogram, b: &Bucket, v: f64) -> f64 {
    if h.is_custom() || (b.lower <= 0.0 && b.upper >= 0.0) {
        return (v - b.lower) / (b.upper - b.lower);
    }
    let (low, high, at) = (b.lower.abs().log2(), b.upper.abs().log2(), v.abs().log2());
    if v > 0.0 { (at - low) / (high - low) } else { 1.0 - (at - high) / (low - high) }
}

/// The share of observations between two values. Those that are no numbers are in no such share.
pub(crate) fn fraction(lower: f64, upper: f64, h: &NativeHistogram) -> f64 {
    if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let all = buckets(h);
    let observed = if h.sum.is_nan() { all.iter().map(|b| b.count).sum() } else { h.count };
    let rank = |v: f64| {
        let mut below = 0.0;
        for b in &all {
            let mut b = one_sided(h, *b);
            if h.is_custom() && b.lower <= 0.0 && b.upper >= 0.0 {
                // Custom bounds are of positive values nearly always; Prometheus takes them to be.
                b.lower = 0.0;
            }
            if b.lower >= v {
                return below;
            }
            if b.upper > v {
                // A bucket that reaches to infinity has no inside.
                return if b.lower == f64::NEG_INFINITY {
                    below + b.count
                } else if b.upper == f64::INFINITY {
                    below
                } else {
                    below + b.count * share_below(h, &b, v)
                };
            }
            below += b.count;
        }
        observed
    };
    (rank(upper).min(observed) - rank(lower).min(observed)) / h.count
}

/// Variance of the observations, each taken to be in the middle of its bucket.
pub(crate) fn variance(h: &NativeHistogram) -> f64 {
    let mean = h.sum / h.count;
    let mut total = Sum::default();
    for b in buckets(h) {
        let value = if h.is_custom() {
            f64::midpoint(b.upper, b.lower)
        } else if b.lower <= 0.0 && b.upper >= 0.0 {
            0.0
        } else {
            (b.upper * b.lower).sqrt().copysign(b.upper)
        };
        let distance = value - mean;
        total.add(b.count * distance * distance);
    }
    total.value() / h.count
}
