//! Times: of the step, of samples, and their parts in UTC.

use super::super::ast::{Call, Expr, Kind};
use super::super::eval::{Evaluator, Val};
use super::super::latest::Wanted;
use super::super::vector::{Grid, Steps, is_absent};
use super::super::window::seconds;
use crate::error::QueryError;

const DAY: i64 = 86_400;

/// Whole Unix seconds; values that are no time become the farthest one there is.
#[allow(clippy::cast_possible_truncation, reason = "saturates, which is what is wanted")]
fn whole(v: f64) -> i64 {
    // Years beyond this have no meaning, and calendar arithmetic stays far from overflow.
    (v as i64).clamp(-1_000_000_000_000_000, 1_000_000_000_000_000)
}

#[allow(clippy::cast_precision_loss, reason = "parts of dates are small")]
fn float(n: i64) -> f64 {
    n as f64
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
fn civil(day: i64) -> (i64, i64, i64) {
    // Count from 0000-03-01, so that the leap day ends a year, in cycles of 400 years.
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn date(v: f64) -> (i64, i64, i64) {
    civil(whole(v).div_euclid(DAY))
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

const BEFORE_MONTH: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

fn nan_or(v: f64, f: impl Fn(f64) -> i64) -> f64 {
    if v.is_nan() { f64::NAN } else { float(f(v)) }
}

pub(super) fn year(v: f64) -> f64 {
    nan_or(v, |v| date(v).0)
}

pub(super) fn month(v: f64) -> f64 {
    nan_or(v, |v| date(v).1)
}

pub(super) fn day_of_month(v: f64) -> f64 {
    nan_or(v, |v| date(v).2)
}

pub(super) fn day_of_year(v: f64) -> f64 {
    nan_or(v, |v| {
        let (year, month, day) = date(v);
        let leap = i64::from(month > 2 && is_leap(year));
        BEFORE_MONTH[usize::try_from(month - 1).unwrap_or(0)] + day + leap
    })
}

pub(super) fn day_of_week(v: f64) -> f64 {
    nan_or(v, |v| (whole(v).div_euclid(DAY) + 4).rem_euclid(7))
}

pub(super) fn days_in_month(v: f64) -> f64 {
    nan_or(v, |v| {
        let (year, month, _) = date(v);
        match month {
            2 => 28 + i64::from(is_leap(year)),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    })
}

pub(super) fn hour(v: f64) -> f64 {
    nan_or(v, |v| whole(v).rem_euclid(DAY) / 3600)
}

pub(super) fn minute(v: f64) -> f64 {
    nan_or(v, |v| whole(v).rem_euclid(3600) / 60)
}

pub(super) fn time(_: &mut Evaluator<'_>, _: &Expr, _: &Call, steps: Steps) -> Result<Val, QueryError> {
    Ok(Val::Scalar(steps.times().map(seconds).collect()))
}

pub(super) fn start(ev: &mut Evaluator<'_>, _: &Expr, _: &Call, steps: Steps) -> Result<Val, QueryError> {
    Ok(Val::Scalar(vec![seconds(ev.start); steps.count]))
}

pub(super) fn end(ev: &mut Evaluator<'_>, _: &Expr, _: &Call, steps: Steps) -> Result<Val, QueryError> {
    Ok(Val::Scalar(vec![seconds(ev.end); steps.count]))
}

pub(super) fn step(ev: &mut Evaluator<'_>, _: &Expr, _: &Call, steps: Steps) -> Result<Val, QueryError> {
    Ok(Val::Scalar(vec![ev.times.step; steps.count]))
}

pub(super) fn range(ev: &mut Evaluator<'_>, _: &Expr, _: &Call, steps: Steps) -> Result<Val, QueryError> {
    Ok(Val::Scalar(vec![ev.times.range; steps.count]))
}

/// The samples' own times for a selector; of any other vector, values are computed at the step's time.
pub(super) fn timestamp(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Result<Val, QueryError> {
    let arg = &c.args[0];
    if let Kind::Selector(s) = &arg.without_parens().kind {
        let grid = ev.latest(arg, s, steps, Wanted::Time)?.into_grid(ev)?;
        return ev.unnamed(grid).map(Val::Vector);
    }
    let mut grid = ev.grid(arg, steps)?;
    for row in grid.data.chunks_mut(steps.count) {
        for (v, t) in row.iter_mut().zip(steps.times()).filter(|(v, _)| !is_absent(**v)) {
            *v = seconds(t);
        }
    }
    for (i, row) in grid.take_histograms().into_iter().enumerate() {
        let cells = grid.row_mut(i);
        row.iter().for_each(|(k, _)| cells[*k as usize] = seconds(steps.time(*k as usize)));
    }
    ev.unnamed(grid).map(Val::Vector)
}

/// When the counters of a selector's samples were started; nothing for what was computed, and while start timestamps
/// are not switched on.
pub(super) fn start_timestamp(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Result<Val, QueryError> {
    let arg = &c.args[0];
    let grid = match &arg.without_parens().kind {
        Kind::Selector(s) if ev.options.start_timestamps => ev.latest(arg, s, steps, Wanted::Start)?.into_grid(ev)?,
        _ => Grid::empty(steps.count),
    };
    ev.unnamed(grid).map(Val::Vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_dates() {
        // 2024-02-29T13:07:59Z, a Thursday.
        let t = 1_709_212_079.0;
        assert_eq!([year(t), month(t), day_of_month(t), hour(t), minute(t)], [2024.0, 2.0, 29.0, 13.0, 7.0]);
        assert_eq!([day_of_week(t), day_of_year(t), days_in_month(t)], [4.0, 60.0, 29.0]);
        assert_eq!([year(-1.0), month(-1.0), day_of_month(-1.0), hour(-1.0)], [1969.0, 12.0, 31.0, 23.0]);
        assert_eq!(days_in_month(4_106_332_800.0), 28.0, "2100 is no leap year");
        assert!(year(f64::NAN).is_nan());
    }
}
