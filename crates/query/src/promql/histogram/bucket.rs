//! The buckets of a histogram with their bounds.

use skopos_model::NativeHistogram;

use super::bounds::upper;

/// A bucket with a count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) lower_inclusive: bool,
    pub(crate) upper_inclusive: bool,
    pub(crate) count: f64,
}

/// Custom bounds of bucket `index`.
fn custom(bounds: &[f64], index: i32) -> (f64, f64) {
    let at = |i: i32| usize::try_from(i).ok().and_then(|i| bounds.get(i)).copied();
    let lower = if index > 0 { at(index - 1).unwrap_or(f64::INFINITY) } else { f64::NEG_INFINITY };
    (lower, at(index).unwrap_or(f64::INFINITY))
}

/// Buckets with a count, from the lowest values to the highest, the zero bucket among them.
pub(crate) fn buckets(h: &NativeHistogram) -> Vec<Bucket> {
    if h.is_custom() {
        let bucket = |(index, count)| {
            let (lower, upper) = custom(&h.custom_bounds, index);
            Bucket { lower, upper, lower_inclusive: index == 0, upper_inclusive: true, count }
        };
        return h.positive.iter().map(bucket).collect();
    }
    let mut out = Vec::with_capacity(h.positive.len() + h.negative.len() + 1);
    let zero = h.zero_threshold;
    for (index, count) in h.negative.iter().rev() {
        let (low, mut high) = (-upper(index, h.schema), -upper(index - 1, h.schema));
        // What reaches into the zero bucket ends where that begins.
        if high > -zero && high < 0.0 {
            high = -zero;
        }
        out.push(Bucket { lower: low, upper: high, lower_inclusive: true, upper_inclusive: false, count });
    }
    if h.zero_count != 0.0 {
        out.push(Bucket { lower: -zero, upper: zero, lower_inclusive: true, upper_inclusive: true, count: h.zero_count });
    }
    for (index, count) in h.positive.iter() {
        let (mut low, high) = (upper(index - 1, h.schema), upper(index, h.schema));
        if low < zero && low > 0.0 {
            low = zero;
        }
        out.push(Bucket { lower: low, upper: high, lower_inclusive: false, upper_inclusive: true, count });
    }
    out
}

/// The bucket where its observations are taken to be: a zero bucket of a histogram that has only positive (negative)
/// values begins (ends) at zero.
pub(super) fn one_sided(h: &NativeHistogram, mut b: Bucket) -> Bucket {
    if !h.is_custom() && b.lower < 0.0 && b.upper > 0.0 {
        match (h.negative.is_empty(), h.positive.is_empty()) {
            (true, false) => b.lower = 0.0,
            (false, true) => b.upper = 0.0,
            _ => {}
        }
    }
    b
}
