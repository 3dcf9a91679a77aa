//! Whether a counter was restarted between two histograms.

use skopos_model::{Buckets, CounterReset, NativeHistogram};

use super::bounds::{coarser, common, regrouped, upper};
use super::total::clear_of;

/// Whether any of the counts `before` is larger than that of the same bucket `now`; indexes ascend, and may repeat.
fn any_decrease(now: impl Iterator<Item = (i32, f64)>, before: impl Iterator<Item = (i32, f64)>) -> bool {
    let (mut now, mut before) = (now.peekable(), before.peekable());
    while let Some((index, mut counted)) = before.next() {
        while let Some((_, more)) = before.next_if(|(i, _)| *i == index) {
            counted += more;
        }
        while now.next_if(|(i, _)| *i < index).is_some() {}
        let mut count = 0.0;
        while let Some((_, more)) = now.next_if(|(i, _)| *i == index) {
            count += more;
        }
        if count < counted {
            return true;
        }
    }
    false
}

/// Whether the counter was restarted between `before` and `now`: said so, or seen in a count that went down or a
/// resolution that went up.
pub(crate) fn is_reset(now: &NativeHistogram, before: &NativeHistogram) -> bool {
    match now.counter_reset {
        CounterReset::Reset => return true,
        CounterReset::NotReset => return false,
        // A gauge is no counter, but the caller asks.
        CounterReset::Unknown | CounterReset::Gauge => {}
    }
    if now.count < before.count || now.is_custom() != before.is_custom() {
        return true;
    }
    if now.is_custom() {
        if now.custom_bounds == before.custom_bounds {
            return any_decrease(now.positive.iter(), before.positive.iter());
        }
        let bounds = common(&now.custom_bounds, &before.custom_bounds);
        let to = |h: &NativeHistogram| {
            let grouped = h.positive.iter().map(|(i, count)| (regrouped(i, &h.custom_bounds, &bounds), count));
            grouped.collect::<Vec<_>>().into_iter()
        };
        return any_decrease(to(now), to(before));
    }
    if now.schema > before.schema || now.zero_threshold < before.zero_threshold {
        return true;
    }
    let threshold = now.zero_threshold;
    let widened = threshold > before.zero_threshold;
    let indexes = before.positive.indexes.iter().chain(&before.negative.indexes).copied();
    if widened && clear_of(before.schema, indexes, threshold) != threshold {
        // The zero bucket now ends inside a populated bucket: those counts cannot be compared.
        return true;
    }
    let inside = |index: i32| widened && upper(index, before.schema) <= threshold;
    let hidden = |b: &Buckets| b.iter().filter(|(i, _)| inside(*i)).map(|(_, count)| count).sum::<f64>();
    if now.zero_count < before.zero_count + hidden(&before.positive) + hidden(&before.negative) {
        return true;
    }
    let steps = u32::try_from(before.schema - now.schema).unwrap_or(0);
    let decrease = |now: &Buckets, before: &Buckets| {
        any_decrease(now.iter(), before.iter().filter(|(i, _)| !inside(*i)).map(|(i, count)| (coarser(i, steps), count)))
    };
    decrease(&now.positive, &before.positive) || decrease(&now.negative, &before.negative)
}
