//! Trimming: leaving out the observations above or below a value.

use skopos_model::{Buckets, NativeHistogram};

use super::bucket::{Bucket, buckets, one_sided};
use super::quantile::share_below;
use crate::promql::sum::Sum;

/// What is left of a bucket: its count, and where those observations are taken to be on average.
struct Rest {
    count: f64,
    middle: f64,
}

/// The middle of what is left of a bucket: geometric in exponential ones.
fn middle(h: &NativeHistogram, b: &Bucket, lower: f64, upper: f64) -> f64 {
    if h.is_custom() || (b.lower <= 0.0 && b.upper >= 0.0) {
        return f64::midpoint(lower, upper);
    }
    (lower * upper).sqrt().copysign(upper)
}

fn rest(h: &NativeHistogram, b: Bucket, at: f64, keep_lower: bool) -> Rest {
    let nothing = Rest { count: 0.0, middle: 0.0 };
    if at.is_nan() {
        return nothing;
    }
    let mut b = one_sided(h, b);
    let (mut lower, mut upper) = (b.lower, b.upper);
    if b.lower == f64::NEG_INFINITY && b.upper == f64::INFINITY {
        // The only bucket says nothing about where its observations are.
        let all = (keep_lower && at == f64::INFINITY) || (!keep_lower && at == f64::NEG_INFINITY);
        return if all { Rest { count: b.count, middle: 0.0 } } else { nothing };
    }
    if b.lower == f64::NEG_INFINITY {
        if b.upper > 0.0 && (keep_lower || at >= 0.0) {
            // As everywhere, such a bucket is taken to begin at zero.
            (b.lower, lower) = (0.0, 0.0);
        } else {
            // It cannot be divided. Its observations are as high as they can be.
            let kept = if keep_lower { at != f64::NEG_INFINITY } else { at == f64::NEG_INFINITY };
            let middle = if keep_lower { b.upper.min(at) } else { b.upper };
            return if kept { Rest { count: b.count, middle } } else { nothing };
        }
    }
    if b.upper == f64::INFINITY {
        // Nor can the last one be divided; its observations are as low as they can be.
        let kept = if keep_lower { at == f64::INFINITY } else { at != f64::INFINITY };
        let middle = if keep_lower { b.lower } else { b.lower.max(at) };
        return if kept { Rest { count: b.count, middle } } else { nothing };
    }
    let below = if at <= b.lower {
        0.0
    } else if at >= b.upper {
        1.0
    } else {
        share_below(h, &b, at)
    };
    let share = if keep_lower { below } else { 1.0 - below };
    if share <= 0.0 {
        return nothing;
    }
    if keep_lower {
        upper = upper.min(at);
    } else {
        lower = lower.max(at);
    }
    Rest { count: b.count * share, middle: middle(h, &b, lower, upper) }
}

/// The observations below `at` (`keep_lower`) or above it. Their sum is estimated from the buckets unless nothing was
/// taken off.
pub(crate) fn trim(h: &NativeHistogram, at: f64, keep_lower: bool) -> NativeHistogram {
    let all = buckets(h);
    let rests: Vec<Rest> = all.iter().map(|b| rest(h, *b, at, keep_lower)).collect();
    if all.iter().zip(&rests).all(|(b, rest)| rest.count == b.count) {
        return h.clone();
    }
    let (mut count, mut sum) = (Sum::default(), Sum::default());
    for rest in rests.iter().filter(|r| r.count != 0.0) {
        count.add(rest.count);
        sum.add(rest.count * rest.middle);
    }
    let mut counts = rests.iter().map(|r| r.count);
    let mut negative = Buckets::default();
    // `buckets` goes from the lowest values on: negative ones from the highest index.
    let mut mirrored: Vec<(i32, f64)> = h.negative.indexes.iter().rev().copied().zip(counts.by_ref()).collect();
    mirrored.reverse();
    mirrored.into_iter().for_each(|(i, count)| negative.push(i, count));
    let zero_count = if !h.is_custom() && h.zero_count != 0.0 { counts.next().unwrap_or(0.0) } else { 0.0 };
    let mut positive = Buckets::default();
    h.positive.indexes.iter().zip(counts).for_each(|(i, count)| positive.push(*i, count));
    NativeHistogram {
        schema: h.schema,
        counter_reset: h.counter_reset,
        zero_threshold: h.zero_threshold,
        zero_count,
        count: count.value(),
        sum: sum.value(),
        positive,
        negative,
        custom_bounds: h.custom_bounds.clone(),
    }
}
