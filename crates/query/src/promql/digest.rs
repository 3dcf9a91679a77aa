//! Functions over windows of series that hold figures in place of some of their samples (see [`crate::windows`]).

use super::sum::Sum;
use super::vector::ABSENT;
use super::window::{WindowFn, Windows};
use crate::windows::{COMPARE, Need};

/// What a function needs of its windows; `None`: every sample.
pub(crate) fn need(function: &str) -> Option<Need> {
    Some(match function {
        "last_over_time" | "present_over_time" | "absent_over_time" | "ts_of_last_over_time" => Need::Last,
        "irate" | "idelta" => Need::LastTwo,
        "first_over_time" | "ts_of_first_over_time" => Need::First,
        "min_over_time" => Need::Min,
        "max_over_time" => Need::Max,
        "count_over_time" => Need::Count,
        "sum_over_time" => Need::Sum,
        "avg_over_time" => Need::Mean,
        "delta" => Need::Difference,
        "rate" | "increase" => Need::Counter,
        "changes" => Need::Changes,
        "resets" => Need::Resets,
        _ => return None,
    })
}

/// What computes a function from a digest; `None` where the samples that are there give the same result as all of them.
pub(crate) fn function(need: Need) -> Option<WindowFn> {
    Some(match need {
        Need::Count => count,
        Need::Sum => sum,
        Need::Mean => mean,
        Need::Changes => changes,
        Need::Resets => resets,
        Need::Last | Need::LastTwo | Need::First | Need::Min | Need::Max | Need::Difference | Need::Counter => return None,
    })
}

#[allow(clippy::cast_precision_loss, reason = "sample counts are far below 2^53")]
fn float(n: u64) -> f64 {
    n as f64
}

fn count(w: &Windows<'_>, out: &mut [f64]) {
    w.each(out, |k, _, _| float(w.plan.samples_at(k)));
}

/// Fills each cell from the sum of its window and the number of samples.
fn sums(w: &Windows<'_>, out: &mut [f64], finish: impl Fn(f64, u64) -> f64) {
    let Some(digest) = w.digest else { return };
    for (k, (cell, (lo, hi))) in out.iter_mut().zip(&w.plan.spans).enumerate() {
        let (lo, hi) = (*lo as usize, *hi as usize);
        if lo >= hi {
            *cell = ABSENT;
            continue;
        }
        let mut total = Sum::default();
        for i in lo..hi {
            let (value, compensation) = (w.values[i], digest.compensations[i]);
            if digest.counts[i] == 1 {
                total.add(value);
            } else if i == lo {
                total = Sum::of(value, compensation);
            } else {
                total = total.and(Sum::of(value, compensation));
            }
        }
        *cell = finish(total.value(), w.plan.samples_at(k));
    }
}

fn sum(w: &Windows<'_>, out: &mut [f64]) {
    sums(w, out, |sum, _| sum);
}

fn mean(w: &Windows<'_>, out: &mut [f64]) {
    sums(w, out, |sum, count| sum / float(count));
}

/// Counts events between neighbours: those known, and those that a comparison shows.
fn events(w: &Windows<'_>, out: &mut [f64], event: impl Fn(f64, f64) -> bool) {
    let Some(digest) = w.digest else { return };
    let mut total = 0u32;
    let mut before = Vec::with_capacity(w.values.len());
    before.extend(w.values.first().map(|_| 0));
    before.extend(w.values.windows(2).zip(&digest.events[1.min(digest.events.len())..]).map(|(pair, known)| {
        total += if *known == COMPARE { u32::from(event(pair[0], pair[1])) } else { *known };
        total
    }));
    for (cell, (lo, hi)) in out.iter_mut().zip(&w.plan.spans) {
        *cell = if lo < hi { f64::from(before[*hi as usize - 1] - before[*lo as usize]) } else { ABSENT };
    }
}

fn changes(w: &Windows<'_>, out: &mut [f64]) {
    events(w, out, |a, b| a != b && !(a.is_nan() && b.is_nan()));
}

fn resets(w: &Windows<'_>, out: &mut [f64]) {
    events(w, out, |a, b| b < a);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::FUNCTIONS;
    use crate::promql::functions::Body;

    #[test]
    fn only_functions_that_there_are_have_a_need() {
        let served: Vec<&str> = FUNCTIONS.iter().map(|f| f.name).filter(|name| need(name).is_some()).collect();
        assert_eq!(served.len(), 18, "{served:?}");
        for f in FUNCTIONS.iter().filter(|f| need(f.name).is_some() && f.name != "absent_over_time") {
            assert!(matches!(f.body, Body::Window { matrix_at: 0, .. }), "{}", f.name);
        }
    }
}
