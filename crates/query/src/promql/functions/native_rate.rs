//! `rate`, `increase` and `delta` of native histograms.

use std::sync::Arc;

use skopos_model::{CounterReset, NativeHistogram};

use super::super::histogram::{Total, divided, is_reset, multiplied};
use super::super::latest::between;
use super::super::mixed::{Cell, Span};
use super::super::notes::{Combining, Spot};
use super::super::window::seconds;
use super::mixed::only_histograms;
use super::starts;

type Point = (i64, Arc<NativeHistogram>);

/// Adds or subtracts, and says what there is to say; false when that is not possible.
fn combine(total: &mut Total, h: &NativeHistogram, combining: Combining, spot: Spot<'_>) -> bool {
    let done = if combining == Combining::Subtraction { total.subtract(h) } else { total.add(h) };
    match done {
        Ok(remarks) => {
            if remarks.reconciled {
                spot.bounds_reconciled(combining);
            }
            true
        }
        Err(_) => {
            spot.mixed_schemas();
            false
        }
    }
}

/// From the first to the last of at least two histograms, counted on over resets for counters.
fn difference(s: &Span<'_>, counter: bool) -> Option<Total> {
    let points = s.histograms;
    let (_, last) = points.last()?;
    let spot = s.spot;
    let is_gauge = |h: &NativeHistogram| h.counter_reset == CounterReset::Gauge;
    if counter && points.iter().any(|(_, h)| is_gauge(h)) {
        spot.no_counter();
    }
    let start = |i: usize| s.histogram_starts.get(i).copied().unwrap_or(0);
    // A first histogram that a reset follows does not matter, and neither does its layout.
    let second = &points[1].1;
    let empty = (counter && s.is_restart(1)).then(|| NativeHistogram {
        schema: second.schema,
        custom_bounds: second.custom_bounds.clone(),
        ..NativeHistogram::default()
    });
    let first = empty.as_ref().unwrap_or(&points[0].1);
    if last.is_custom() != first.is_custom() {
        spot.mixed_schemas();
        return None;
    }
    let mut total = Total::of(last);
    total.reduce(first.schema);
    if counter {
        for (_, h) in &points[1..points.len() - 1] {
            if h.is_custom() != first.is_custom() {
                spot.mixed_schemas();
                return None;
            }
            total.reduce(h.schema);
        }
    }
    if !combine(&mut total, first, Combining::Subtraction, spot) {
        return None;
    }
    if counter {
        if (1..points.len()).any(|i| starts::overlaps((start(i - 1), points[i - 1].0), start(i))) {
            spot.start_overlap();
        }
        // What came before the first restart was left out when that follows the first histogram.
        for i in (1..points.len()).filter(|i| (*i > 1 || empty.is_none()) && s.is_restart(*i)) {
            if !combine(&mut total, &points[i - 1].1, Combining::Addition, spot) {
                return None;
            }
        }
    } else if !is_gauge(&points[0].1) || !is_gauge(last) {
        spot.no_gauge();
    }
    Some(total)
}

/// The difference between the ends of the window, extrapolated to its borders as for floats.
fn extrapolated(s: &Span<'_>, counter: bool, per_second: bool) -> Cell {
    if !only_histograms(s) {
        return Cell::Absent;
    }
    let points = s.histograms;
    let (Some((first_time, first)), Some((last_time, _))) = (points.first(), points.last()) else { return Cell::Absent };
    let mut total = None;
    if points.len() > 1 {
        total = difference(s, counter);
        if total.is_none() {
            return Cell::Absent;
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "sample counts are far below 2^53")]
    let intervals = (points.len() - 1) as f64;
    let mut sampled = seconds(last_time - first_time);
    let average = if intervals > 0.0 { sampled / intervals } else { 0.0 };
    let (mut to_start, mut to_end) = (seconds(first_time - s.start), seconds(s.end - last_time));
    let start = s.histogram_starts.first().copied().unwrap_or(0);
    let mut out = if counter && starts::begins_inside(start, s.start, *first_time) {
        to_start = 0.0;
        sampled = seconds(last_time - start);
        let total = match total {
            None => Total::of(first),
            Some(mut total) => {
                if !combine(&mut total, first, Combining::Addition, s.spot) {
                    return Cell::Absent;
                }
                total
            }
        };
        total.finish()
    } else {
        let Some(total) = total else { return Cell::Absent };
        let out = total.finish();
        if to_start >= average * 1.1 {
            to_start = average / 2.0;
        }
        if counter && out.count > 0.0 && first.count >= 0.0 {
            to_start = to_start.min(sampled * (first.count / out.count));
        }
        out
    };
    if to_end >= average * 1.1 {
        to_end = average / 2.0;
    }
    out.counter_reset = CounterReset::Gauge;
    let factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
    multiplied(&out, if per_second { factor / seconds(s.end - s.start) } else { factor }).into()
}

pub(super) fn rate(s: &Span<'_>) -> Cell {
    extrapolated(s, true, true)
}

pub(super) fn increase(s: &Span<'_>) -> Cell {
    extrapolated(s, true, false)
}

pub(super) fn delta(s: &Span<'_>) -> Cell {
    extrapolated(s, false, false)
}

/// The histogram at `at`, on the way between two neighbours; a counter that was restarted between them grew from
/// nothing.
fn interpolated(a: &Point, b: &Point, at: i64, counter: bool, spot: Spot<'_>) -> Option<NativeHistogram> {
    if at == a.0 {
        return Some((*a.1).clone());
    }
    if at == b.0 {
        return Some((*b.1).clone());
    }
    let share = seconds(at - a.0) / seconds(b.0 - a.0);
    if counter && is_reset(&b.1, &a.1) { Some(multiplied(&b.1, share)) } else { between(&a.1, &b.1, share, spot) }
}

/// What was lost to resets between the window's borders, whose histograms are `left` and `right`.
fn lost(points: &[Point], left: &NativeHistogram, right: &NativeHistogram, across: bool, spot: Spot<'_>) -> Option<Option<Total>> {
    // The first point is `left`, or lies before it; the last one is `right`, or lies after it.
    let mut inner = points.get(1..points.len() - 1).unwrap_or_default();
    let mut before = left;
    if across {
        // The border lies across a reset, which is accounted for: go on from what follows it.
        let Some(next) = points.get(1) else { return Some(None) };
        if points.len() < 3 {
            return Some(None);
        }
        before = &next.1;
        inner = &inner[1..];
    } else if points.len() < 2 {
        return Some(None);
    }
    let mut total: Option<Total> = None;
    for h in inner.iter().map(|(_, h)| &**h).chain([right]) {
        if is_reset(h, before) {
            match &mut total {
                None => total = Some(Total::of(before)),
                Some(total) => {
                    if !combine(total, before, Combining::Addition, spot) {
                        return None;
                    }
                }
            }
        }
        before = h;
    }
    Some(total)
}

/// The difference between the window's borders for `anchored` and `smoothed`, without extrapolation.
fn extended(s: &Span<'_>, counter: bool) -> Option<NativeHistogram> {
    if !only_histograms(s) {
        return None;
    }
    let all = s.histograms;
    let end = all.len() - 1;
    let first = all[..end].partition_point(|(t, _)| *t <= s.start).saturating_sub(1);
    // Samples after the window are only there when its borders are to be interpolated.
    let last = all[..end].partition_point(|(t, _)| *t < s.end);
    let smoothed = s.smoothed;
    let last = if smoothed { last } else { end };
    if all[last].0 <= s.start || (smoothed && all[first].0 > s.end) {
        return None;
    }
    let (points, spot) = (&all[first..=last], s.spot);
    for (_, h) in points {
        if h.is_custom() != points[0].1.is_custom() {
            spot.mixed_schemas();
            return None;
        }
        if counter && h.counter_reset == CounterReset::Gauge {
            spot.no_counter();
        }
    }
    let before_start = smoothed && all[first].0 < s.start;
    let left = if before_start { interpolated(&all[first], &all[first + 1], s.start, counter, spot)? } else { (*all[first].1).clone() };
    let after_end = smoothed && last > 0 && all[last].0 > s.end;
    let right = if after_end { interpolated(&all[last - 1], &all[last], s.end, counter, spot)? } else { (*all[last].1).clone() };
    if !counter && (left.counter_reset != CounterReset::Gauge || right.counter_reset != CounterReset::Gauge) {
        spot.no_gauge();
    }
    let mut total = Total::of(&right);
    if !combine(&mut total, &left, Combining::Subtraction, spot) {
        return None;
    }
    if counter {
        let across = before_start && is_reset(&all[first + 1].1, &all[first].1);
        if let Some(lost) = lost(points, &left, &right, across, spot)?
            && !combine(&mut total, &lost.finish(), Combining::Addition, spot)
        {
            return None;
        }
    }
    let mut out = total.finish();
    out.counter_reset = CounterReset::Gauge;
    Some(out)
}

pub(super) fn extended_rate(s: &Span<'_>) -> Cell {
    extended(s, true).map_or(Cell::Absent, |h| divided(&h, seconds(s.end - s.start)).into())
}

pub(super) fn extended_increase(s: &Span<'_>) -> Cell {
    extended(s, true).map_or(Cell::Absent, Cell::from)
}

pub(super) fn extended_delta(s: &Span<'_>) -> Cell {
    extended(s, false).map_or(Cell::Absent, Cell::from)
}
