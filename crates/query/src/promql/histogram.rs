//! Native histograms: bounds of buckets, sums, counter resets, quantiles and trimming. Nothing here knows of series
//! or steps.

mod bounds;
mod bucket;
mod quantile;
mod reset;
mod text;
mod total;
mod trim;

pub(crate) use bucket::buckets;
pub(crate) use quantile::{Doubt, fraction, has_nan, quantile, variance};
pub(crate) use reset::is_reset;
pub(crate) use text::text;
pub(crate) use total::{Mean, Remarks, Total};
pub(crate) use trim::trim;

use skopos_model::{Buckets, CounterReset, NativeHistogram};

pub(crate) use skopos_model::histogram::CUSTOM_SCHEMA;

fn each(buckets: &Buckets, f: impl Fn(f64) -> f64) -> Buckets {
    let mut out = Buckets::default();
    buckets.iter().for_each(|(index, count)| out.push(index, f(count)));
    out
}

fn map(h: &NativeHistogram, f: impl Fn(f64) -> f64) -> NativeHistogram {
    NativeHistogram {
        schema: h.schema,
        counter_reset: h.counter_reset,
        zero_threshold: h.zero_threshold,
        zero_count: f(h.zero_count),
        count: f(h.count),
        sum: f(h.sum),
        positive: each(&h.positive, &f),
        negative: each(&h.negative, &f),
        custom_bounds: h.custom_bounds.clone(),
    }
}

/// `h * factor`. What is turned negative counts nothing any more: a gauge.
pub(crate) fn multiplied(h: &NativeHistogram, factor: f64) -> NativeHistogram {
    let mut out = map(h, |v| v * factor);
    if factor < 0.0 {
        out.counter_reset = CounterReset::Gauge;
    }
    out
}

/// `h / divisor`. Division by zero leaves no buckets.
pub(crate) fn divided(h: &NativeHistogram, divisor: f64) -> NativeHistogram {
    let mut out = map(h, |v| v / divisor);
    if divisor == 0.0 {
        (out.positive, out.negative) = (Buckets::default(), Buckets::default());
    }
    if divisor < 0.0 {
        out.counter_reset = CounterReset::Gauge;
    }
    out
}

/// Whether two histograms are the same, bit by bit; what is known about resets before them is no part of that.
pub(crate) fn same(a: &NativeHistogram, b: &NativeHistogram) -> bool {
    let bits = |a: f64, b: f64| a.to_bits() == b.to_bits();
    let counts = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| bits(*a, *b));
    a.schema == b.schema
        && bits(a.count, b.count)
        && bits(a.sum, b.sum)
        && a.zero_threshold == b.zero_threshold
        && bits(a.zero_count, b.zero_count)
        && a.positive.indexes == b.positive.indexes
        && a.negative.indexes == b.negative.indexes
        && counts(&a.positive.counts, &b.positive.counts)
        && counts(&a.negative.counts, &b.negative.counts)
        && counts(&a.custom_bounds, &b.custom_bounds)
}

#[cfg(test)]
mod tests;
