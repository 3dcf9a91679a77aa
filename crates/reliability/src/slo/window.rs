//! Periods of budgets, and the windows burn is looked at over.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;

use super::round_12;
use crate::duration::{format_duration, parse_duration};

const DAY_MS: i64 = 86_400_000;

/// A calendar period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CalendarUnit {
    /// Civil day.
    Day,
    /// Week from Monday.
    Week,
    /// Month.
    Month,
    /// Three months from January, April, July, October.
    Quarter,
    /// Year.
    Year,
}

/// The period a budget is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum TimeWindow {
    /// The last so many milliseconds.
    Rolling {
        /// Length.
        ms: i64,
    },
    /// A period of the calendar in a time zone.
    Calendar {
        /// Which.
        unit: CalendarUnit,
        /// IANA name.
        zone: String,
    },
}

impl TimeWindow {
    /// The period around `now`: start and end, Unix milliseconds. A rolling one ends at `now`.
    ///
    /// # Errors
    /// When the time zone is unknown or the time is out of the calendar.
    pub fn bounds(&self, now: i64) -> Result<(i64, i64), String> {
        match self {
            Self::Rolling { ms } => Ok((now - ms, now)),
            Self::Calendar { unit, zone } => calendar(*unit, zone, now).map_err(|e| e.to_string()),
        }
    }

    /// Length for budget and burn mathematics, milliseconds: a calendar period's civil length around `now`.
    pub fn length_ms(&self, now: i64) -> i64 {
        match self {
            Self::Rolling { ms } => *ms,
            Self::Calendar { unit, .. } => self.bounds(now).map_or(unit.nominal_ms(), |(start, end)| end - start),
        }
    }

    /// `30d`, or `month`.
    pub fn name(&self) -> String {
        match self {
            Self::Rolling { ms } if ms % DAY_MS == 0 => format!("{}d", ms / DAY_MS),
            Self::Rolling { ms } => format_duration(*ms),
            Self::Calendar { unit, .. } => unit.name().to_owned(),
        }
    }
}

impl CalendarUnit {
    fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    fn nominal_ms(self) -> i64 {
        DAY_MS
            * match self {
                Self::Day => 1,
                Self::Week => 7,
                Self::Month => 30,
                Self::Quarter => 91,
                Self::Year => 365,
            }
    }
}

fn calendar(unit: CalendarUnit, zone: &str, now: i64) -> Result<(i64, i64), jiff::Error> {
    let zone = if zone == "UTC" { TimeZone::UTC } else { TimeZone::get(zone)? };
    let today = Timestamp::from_millisecond(now)?.to_zoned(zone.clone()).date();
    let first: Date = match unit {
        CalendarUnit::Day => today,
        CalendarUnit::Week => today.checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days())?,
        CalendarUnit::Month => today.first_of_month(),
        CalendarUnit::Quarter => Date::new(today.year(), (today.month() - 1) / 3 * 3 + 1, 1)?,
        CalendarUnit::Year => today.first_of_year(),
    };
    let after = match unit {
        CalendarUnit::Day => first.checked_add(1.day())?,
        CalendarUnit::Week => first.checked_add(7.days())?,
        CalendarUnit::Month => first.checked_add(1.month())?,
        CalendarUnit::Quarter => first.checked_add(3.months())?,
        CalendarUnit::Year => first.checked_add(1.year())?,
    };
    let at = |date: Date| Ok::<i64, jiff::Error>(date.to_zoned(zone.clone())?.timestamp().as_millisecond());
    Ok((at(first)?, at(after)?))
}

/// A pair of windows over which burn is looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BurnWindow {
    /// Severity of the alert.
    pub severity: String,
    /// Long window, milliseconds.
    pub long_ms: i64,
    /// Short window, milliseconds: it lets the alert end soon after the errors do.
    pub short_ms: i64,
    /// Burn rate that has to be exceeded over both.
    pub factor: f64,
}

/// The SRE Workbook's windows (with Sloth's third row) for a period, each with its share of the budget.
const STANDARD: [(&str, i64, i64, f64); 4] =
    [("page", 60, 5, 0.02), ("page", 360, 30, 0.05), ("ticket", 1_440, 120, 0.10), ("ticket", 4_320, 360, 0.10)];

/// Standard windows for a period, by constant budget: k = b·P/w. None below 28 days, where that rule would alert
/// inside the budget: there a table of its own has to be given.
pub fn standard_windows(period_ms: i64) -> Option<Vec<BurnWindow>> {
    if period_ms < 28 * DAY_MS {
        return None;
    }
    let window = |&(severity, long, short, budget): &(&str, i64, i64, f64)| {
        let long_ms = long * 60_000;
        BurnWindow { severity: severity.to_owned(), long_ms, short_ms: short * 60_000, factor: factor(budget, period_ms, long_ms) }
    };
    Some(STANDARD.iter().map(window).collect())
}

/// Burn rate at which `budget` (a share of 1) of the period's budget goes in the window.
fn factor(budget: f64, period_ms: i64, long_ms: i64) -> f64 {
    round_12(budget * period_ms as f64 / long_ms as f64)
}

/// Parses a window table: one entry a line or between semicolons, `severity long/short factor`, where the factor is
/// a burn rate (`14.4x`) or a share of the budget (`2%`). Example: `page 1h/5m 2%; ticket 3d/6h 1x`.
///
/// # Errors
/// With the entry and what was expected.
pub fn parse_windows(text: &str, period_ms: i64) -> Result<Vec<BurnWindow>, String> {
    let mut all = Vec::new();
    for entry in text.split([';', '\n']).map(str::trim).filter(|e| !e.is_empty()) {
        let fail = |why: String| format!("`{entry}`: {why}; expected `severity long/short factor`, as `page 1h/5m 14.4x` or `page 1h/5m 2%`");
        let words: Vec<&str> = entry.split_whitespace().collect();
        let [severity, windows, limit] = words.as_slice() else { return Err(fail(format!("{} words", words.len()))) };
        let (long, short) = windows.split_once('/').ok_or_else(|| fail("no `/` between the windows".to_owned()))?;
        let (long_ms, short_ms) = (parse_duration(long).map_err(fail)?, parse_duration(short).map_err(fail)?);
        if short_ms <= 0 || long_ms < short_ms {
            return Err(fail("the short window has to be above 0 and not longer than the long one".to_owned()));
        }
        let (number, percent) = match (limit.strip_suffix('%'), limit.strip_suffix('x')) {
            (Some(n), _) => (n, true),
            (None, Some(n)) => (n, false),
            (None, None) => (*limit, false),
        };
        let number: f64 = number.parse().ok().filter(|n: &f64| n.is_finite() && *n > 0.0).ok_or_else(|| fail(format!("`{limit}` is no factor")))?;
        let factor = if percent { factor(number / 100.0, period_ms, long_ms) } else { number };
        all.push(BurnWindow { severity: (*severity).to_owned(), long_ms, short_ms, factor });
    }
    if all.is_empty() { Err("the table of windows is empty".to_owned()) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn standard_factors() {
        let factors =
            |days: i64| standard_windows(days * DAY_MS).map(|w| w.iter().map(|w| (w.factor * 10_000.0).round() / 10_000.0).collect::<Vec<_>>());
        assert_eq!(factors(30), Some(vec![14.4, 6.0, 3.0, 1.0]));
        assert_eq!(factors(28), Some(vec![13.44, 5.6, 2.8, 0.9333]));
        assert_eq!(factors(7), None);
    }

    #[test]
    fn tables_of_ones_own() {
        // Sloth's 7-day example.
        let table = "page 1h/5m 8%; page 6h/30m 12.5%\nticket 1d/2h 20%; ticket 3d/6h 42%";
        let factors: Vec<f64> = parse_windows(table, 7 * DAY_MS).unwrap().iter().map(|w| w.factor).collect();
        assert_eq!(factors, [13.44, 3.5, 1.4, 0.98]);
        assert_eq!(parse_windows("page 2m/30s 10x", DAY_MS).unwrap()[0].factor, 10.0);
        for bad in ["", "page 1h 2%", "page 1h/5m", "page 5m/1h 2%", "page 1h/5m much", "page 1h/5m -1x", "page 1h/x 2%"] {
            assert!(parse_windows(bad, DAY_MS).is_err(), "{bad}");
        }
    }

    #[test]
    fn calendar_periods_have_their_civil_length() {
        let window = |unit| TimeWindow::Calendar { unit, zone: "Europe/Berlin".to_owned() };
        let (start, end) = window(CalendarUnit::Month).bounds(ms("2026-03-15T12:00:00Z")).unwrap();
        assert_eq!((start, end), (ms("2026-02-28T23:00:00Z"), ms("2026-03-31T22:00:00Z")));
        let (start, end) = window(CalendarUnit::Week).bounds(ms("2026-03-25T12:00:00Z")).unwrap();
        assert_eq!((end - start) / 3_600_000, 167);
        let quarter = window(CalendarUnit::Quarter).bounds(ms("2026-05-01T12:00:00Z")).unwrap();
        assert_eq!(quarter, (ms("2026-03-31T22:00:00Z"), ms("2026-06-30T22:00:00Z")));
        assert!(TimeWindow::Calendar { unit: CalendarUnit::Day, zone: "Mars/Base".to_owned() }.bounds(0).is_err());
    }
}
