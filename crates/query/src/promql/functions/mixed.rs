//! Functions over windows with native histograms, alone or beside floats.

use std::sync::Arc;

use skopos_model::{CounterReset, NativeHistogram};

use super::super::ast::Sampling;
use super::super::histogram::{Mean, Remarks, Total, divided, is_reset, same};
use super::super::mixed::{Cell, Span, SpanFn};
use super::super::notes::{Combining, Spot};
use super::super::window::seconds;
use super::{native_rate, starts};

/// What computes `function` for windows with histograms; `None` when it passes them over.
pub(crate) fn mixed(function: &str, sampling: Sampling) -> Option<SpanFn> {
    use Sampling::{Anchored, Plain};
    Some(match (sampling, function) {
        (Plain, "rate") => native_rate::rate,
        (Plain, "increase") => native_rate::increase,
        (Plain, "delta") => native_rate::delta,
        (_, "rate") => native_rate::extended_rate,
        (_, "increase") => native_rate::extended_increase,
        (_, "delta") => native_rate::extended_delta,
        (Plain, "changes") => changes,
        (Plain, "resets") => resets,
        (Anchored, "changes") => anchored_changes,
        (Anchored, "resets") => anchored_resets,
        (_, "irate") => |s| instant(s, true),
        (_, "idelta") => |s| instant(s, false),
        (_, "sum_over_time") => sum,
        (_, "avg_over_time") => avg,
        (_, "count_over_time") => count,
        (_, "present_over_time" | "absent_over_time") => |_| Cell::Float(1.0),
        (_, "first_over_time") => first,
        (_, "last_over_time") => last,
        (_, "ts_of_first_over_time") => time_of_first,
        (_, "ts_of_last_over_time") => time_of_last,
        _ => return None,
    })
}

#[allow(clippy::cast_precision_loss, reason = "sample counts are far below 2^53")]
fn float(n: usize) -> f64 {
    n as f64
}

fn count(s: &Span<'_>) -> Cell {
    Cell::Float(float(s.times.len() + s.histograms.len()))
}

fn first(s: &Span<'_>) -> Cell {
    match (s.times.first(), s.histograms.first()) {
        (Some(t), Some((at, _))) if t < at => Cell::Float(s.values[0]),
        (_, Some((_, h))) => Cell::Histogram(Arc::clone(h)),
        _ => Cell::Absent,
    }
}

fn last(s: &Span<'_>) -> Cell {
    match (s.times.last(), s.histograms.last()) {
        (Some(t), Some((at, _))) if at < t => Cell::Float(s.values[s.values.len() - 1]),
        (_, Some((_, h))) => Cell::Histogram(Arc::clone(h)),
        _ => Cell::Absent,
    }
}

fn time_of_first(s: &Span<'_>) -> Cell {
    let native = s.histograms.first().map(|(t, _)| *t);
    s.times.first().copied().into_iter().chain(native).min().map_or(Cell::Absent, |t| Cell::Float(seconds(t)))
}

fn time_of_last(s: &Span<'_>) -> Cell {
    let native = s.histograms.last().map(|(t, _)| *t);
    s.times.last().copied().into_iter().chain(native).max().map_or(Cell::Absent, |t| Cell::Float(seconds(t)))
}

/// Whether all samples are histograms; says so when not.
pub(super) fn only_histograms(s: &Span<'_>) -> bool {
    if !s.times.is_empty() {
        s.spot.floats_and_histograms();
    }
    s.times.is_empty()
}

/// Says what there is to say about an aggregation of such histograms.
fn note(histograms: &[(i64, Arc<NativeHistogram>)], remarks: Remarks, spot: Spot<'_>) {
    let any = |hint| histograms.iter().any(|(_, h)| h.counter_reset == hint);
    if any(CounterReset::Reset) && any(CounterReset::NotReset) {
        spot.reset_collision(Combining::Aggregation);
    }
    if remarks.reconciled {
        spot.bounds_reconciled(Combining::Aggregation);
    }
}

fn total(s: &Span<'_>) -> Option<(Total, Remarks)> {
    let (_, first) = s.histograms.first()?;
    let (mut total, mut remarks) = (Total::of(first), Remarks::default());
    for (_, h) in &s.histograms[1..] {
        match total.add(h) {
            Ok(more) => remarks.and(more),
            Err(_) => {
                s.spot.mixed_schemas();
                return None;
            }
        }
    }
    Some((total, remarks))
}

fn sum(s: &Span<'_>) -> Cell {
    if !only_histograms(s) {
        return Cell::Absent;
    }
    let Some((total, remarks)) = total(s) else { return Cell::Absent };
    note(s.histograms, remarks, s.spot);
    total.finish().into()
}

fn avg(s: &Span<'_>) -> Cell {
    if !only_histograms(s) {
        return Cell::Absent;
    }
    let Some((mut total, remarks)) = total(s) else { return Cell::Absent };
    note(s.histograms, remarks, s.spot);
    if !total.overflows() {
        total.divide(float(s.histograms.len()));
        return total.finish().into();
    }
    let mut mean = Mean::of(&s.histograms[0].1);
    // They could be added, so a mean of them exists.
    if s.histograms[1..].iter().all(|(_, h)| mean.add(h).is_ok()) { mean.finish().into() } else { Cell::Absent }
}

/// A sample of either kind.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Float(f64),
    Histogram(&'a NativeHistogram),
}

#[derive(Debug, Clone, Copy)]
struct Sample<'a> {
    time: i64,
    start: i64,
    value: Value<'a>,
}

/// Samples of both kinds in order of time.
fn samples<'a>(s: &Span<'a>) -> Vec<Sample<'a>> {
    let start = |starts: &[i64], i: usize| starts.get(i).copied().unwrap_or(0);
    let floats = s.times.iter().zip(s.values).enumerate();
    let natives = s.histograms.iter().enumerate();
    let mut out: Vec<Sample<'a>> = floats.map(|(i, (t, v))| Sample { time: *t, start: start(s.starts, i), value: Value::Float(*v) }).collect();
    out.extend(natives.map(|(i, (t, h))| Sample { time: *t, start: start(s.histogram_starts, i), value: Value::Histogram(h) }));
    out.sort_by_key(|sample| sample.time);
    out
}

/// The samples inside the window and the one before it.
fn anchored<'a>(s: &Span<'a>) -> Vec<Sample<'a>> {
    let mut out = samples(s);
    let inside = out.partition_point(|sample| sample.time <= s.start);
    if inside == out.len() {
        return Vec::new();
    }
    out.drain(..inside.saturating_sub(1));
    out
}

fn events(samples: &[Sample<'_>], event: impl Fn(&Sample<'_>, &Sample<'_>) -> bool) -> Cell {
    if samples.is_empty() {
        return Cell::Absent;
    }
    Cell::Float(float(samples.windows(2).filter(|p| event(&p[0], &p[1])).count()))
}

fn is_change(a: &Sample<'_>, b: &Sample<'_>) -> bool {
    match (a.value, b.value) {
        (Value::Float(a), Value::Float(b)) => a != b && !(a.is_nan() && b.is_nan()),
        (Value::Histogram(a), Value::Histogram(b)) => !same(a, b),
        _ => true,
    }
}

fn is_restart(a: &Sample<'_>, b: &Sample<'_>) -> bool {
    let restarted = || starts::is_reset((a.start, a.time), (b.start, b.time));
    match (a.value, b.value) {
        (Value::Float(x), Value::Float(y)) => y < x || restarted(),
        (Value::Histogram(x), Value::Histogram(y)) => restarted() || is_reset(y, x),
        _ => true,
    }
}

fn changes(s: &Span<'_>) -> Cell {
    events(&samples(s), is_change)
}

fn resets(s: &Span<'_>) -> Cell {
    events(&samples(s), is_restart)
}

fn anchored_changes(s: &Span<'_>) -> Cell {
    events(&anchored(s), is_change)
}

fn anchored_resets(s: &Span<'_>) -> Cell {
    events(&anchored(s), is_restart)
}

/// `irate` and `idelta`: from the last two samples.
fn instant(s: &Span<'_>, counter: bool) -> Cell {
    let all = samples(s);
    let [.., before, last] = &all[..] else { return Cell::Absent };
    let (x, y) = match (before.value, last.value) {
        (Value::Histogram(x), Value::Histogram(y)) => (x, y),
        (Value::Float(x), Value::Float(y)) => {
            let change = if counter && is_restart(before, last) { y } else { y - x };
            return Cell::Float(if counter { change / seconds(last.time - before.time) } else { change });
        }
        _ => {
            s.spot.floats_and_histograms();
            return Cell::Absent;
        }
    };
    let gauges = [x, y].map(|h| h.counter_reset == CounterReset::Gauge);
    if counter && gauges.contains(&true) {
        s.spot.no_counter();
    }
    if !counter && gauges.contains(&false) {
        s.spot.no_gauge();
    }
    let mut total = Total::of(y);
    if !(counter && is_restart(before, last)) {
        match total.subtract(x) {
            Ok(remarks) if remarks.reconciled => s.spot.bounds_reconciled(Combining::Subtraction),
            Ok(_) => {}
            Err(_) => {
                s.spot.mixed_schemas();
                return Cell::Absent;
            }
        }
    }
    let mut out = total.finish();
    out.counter_reset = CounterReset::Gauge;
    if counter { divided(&out, seconds(last.time - before.time)).into() } else { out.into() }
}
