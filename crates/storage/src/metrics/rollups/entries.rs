//! From rows of rollups to the samples that a function needs.

use std::ops::Range;

use skopos_model::metric::STALE_NAN_BITS;
use skopos_query::windows::{COMPARE, Digest, Need};

use super::file::Columns;
use super::row::{BUCKET, SUMMED_MAX, is_stale};

/// What is asked of rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) need: Need,
    /// First and last time wanted, Unix milliseconds.
    pub(super) start: i64,
    pub(super) end: i64,
    /// How long before the end of a bucket windows begin in it; zero: they begin where buckets do.
    pub(super) reach: i64,
}

impl Ask {
    /// Columns to read.
    pub(super) fn columns(&self) -> Vec<&'static str> {
        let mut names = vec!["time"];
        names.extend_from_slice(match self.need {
            Need::Last => &["last_ms", "last_value", "stale_ms"][..],
            Need::LastTwo => &["last_ms", "last_value", "before_ms", "before_value"],
            Need::First => &["first_ms", "first_value"],
            Need::Min => &["last_ms", "min_value", "first_value"],
            Need::Max => &["last_ms", "max_value", "last_value"],
            Need::Count => &["last_ms", "count"],
            Need::Sum | Need::Mean => &["last_ms", "count", "sum", "compensation"],
            Need::Difference => &["count", "first_ms", "first_value", "last_ms", "last_value"],
            Need::Counter => &["count", "first_ms", "first_value", "last_ms", "last_value", "resets", "nans"],
            Need::Changes => &["count", "first_ms", "first_value", "last_ms", "last_value", "changes"],
            Need::Resets => &["count", "first_ms", "first_value", "last_ms", "last_value", "resets"],
        });
        if self.reach > 0 {
            names.push("before_ms");
        }
        names
    }

    /// Whether a bucket with this end is in the range.
    pub(super) fn wants(&self, end: i64) -> bool {
        end >= self.start && end - BUCKET < self.end
    }

    fn has_counts(&self) -> bool {
        matches!(self.need, Need::Count | Need::Sum | Need::Mean | Need::Difference | Need::Counter)
    }

    fn has_compensations(&self) -> bool {
        matches!(self.need, Need::Sum | Need::Mean)
    }

    fn has_events(&self) -> bool {
        matches!(self.need, Need::Changes | Need::Resets)
    }
}

/// Samples of one series, and what they stand for. Times ascend strictly.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) times: Vec<i64>,
    pub(super) values: Vec<f64>,
    pub(super) digest: Digest,
}

impl Entries {
    fn push(&mut self, time: i64, value: f64) {
        self.times.push(time);
        self.values.push(value);
    }

    fn push_counted(&mut self, time: i64, value: f64, count: i32) {
        self.push(time, value);
        self.digest.counts.push(count.unsigned_abs());
    }

    fn push_event(&mut self, time: i64, value: f64, events: u32) {
        self.push(time, value);
        self.digest.events.push(events);
    }

    /// Adds what rows of a rollup say. `false`: a row does not say what is needed, its samples have to be read.
    pub(super) fn push_rows(&mut self, ask: &Ask, columns: &Columns<'_>, mut rows: Range<usize>) -> bool {
        rows.all(|row| {
            let end = columns.time[row];
            !ask.wants(end) || self.push_row(ask, columns, row, end)
        })
    }

    fn push_row(&mut self, ask: &Ask, c: &Columns<'_>, row: usize, end: i64) -> bool {
        let before_end = |ms: i32| end - i64::from(ms);
        match ask.need {
            Need::Last => {
                self.push(before_end(c.last_ms[row]), c.last_value[row]);
                // The only marker of a row of markers is its last sample too.
                if let Some(ms) = c.stale_ms.get(row).filter(|ms| *ms < c.last_ms[row]) {
                    self.push(before_end(ms), f64::from_bits(STALE_NAN_BITS));
                }
            }
            Need::LastTwo => {
                if let Some((ms, value)) = c.before_ms.get(row).zip(c.before_value.get(row)) {
                    self.push(before_end(ms), value);
                }
                self.push(before_end(c.last_ms[row]), c.last_value[row]);
            }
            Need::First => self.push(before_end(c.first_ms[row]), c.first_value[row]),
            Need::Min => self.push(before_end(c.last_ms[row]), c.min_value.get(row).unwrap_or(c.first_value[row])),
            Need::Max => self.push(before_end(c.last_ms[row]), c.max_value.get(row).unwrap_or(c.last_value[row])),
            // What follows is about samples: a row of markers says nothing.
            _ if c.count[row] == 0 => {}
            Need::Count => self.push_counted(before_end(c.last_ms[row]), 0.0, c.count[row]),
            Need::Sum | Need::Mean => {
                let compensation = c.compensation.get(row).unwrap_or(0.0);
                if compensation.is_nan() {
                    return false;
                }
                self.push_counted(before_end(c.last_ms[row]), c.sum[row], c.count[row]);
                self.digest.compensations.push(compensation);
            }
            Need::Difference | Need::Counter => return self.push_ends(ask, c, row, end),
            Need::Changes | Need::Resets => {
                let events = if ask.need == Need::Changes { c.changes[row] } else { c.resets[row] };
                self.push_event(before_end(c.first_ms[row]), c.first_value[row], COMPARE);
                if c.count[row] > 1 {
                    self.push_event(before_end(c.last_ms[row]), c.last_value[row], events.unsigned_abs());
                }
            }
        }
        true
    }

    fn push_ends(&mut self, ask: &Ask, c: &Columns<'_>, row: usize, end: i64) -> bool {
        let count = c.count[row];
        if ask.need == Need::Counter && (c.resets[row] > 0 || c.nans[row] > 0) {
            return false;
        }
        // Where a window begins inside the bucket, it must be plain which samples are in it: all, or of three and more
        // the last at most.
        let is_cut = ask.reach > 0 && count > 2 && i64::from(c.first_ms[row]) >= ask.reach;
        if is_cut && c.before_ms.get(row).is_none_or(|ms| i64::from(ms) < ask.reach) {
            return false;
        }
        let last = (end - i64::from(c.last_ms[row]), c.last_value[row]);
        if count > 1 {
            self.push_counted(end - i64::from(c.first_ms[row]), c.first_value[row], count - 1);
        }
        self.push_counted(last.0, last.1, 1);
        true
    }

    /// Leaves out what is before `start`: of a row that reaches into the range the last sample may be.
    pub(super) fn trim(&mut self, start: i64) {
        let from = self.times.partition_point(|t| *t < start);
        if from > 0 {
            self.times.drain(..from);
            self.values.drain(..from);
            self.digest.counts.drain(..from.min(self.digest.counts.len()));
            self.digest.compensations.drain(..from.min(self.digest.compensations.len()));
            self.digest.events.drain(..from.min(self.digest.events.len()));
        }
    }

    /// Weaves in samples, none of which is of the time of another. `false`: they have to be read without rollups.
    pub(super) fn weave(&mut self, ask: &Ask, times: &[i64], values: &[f64]) -> bool {
        if ask.has_compensations() && values.iter().any(|v| !is_stale(*v) && (v.is_nan() || v.abs() > SUMMED_MAX)) {
            return false;
        }
        let old = std::mem::take(self);
        let mut at = 0;
        for (&time, &value) in times.iter().zip(values) {
            while old.times.get(at).is_some_and(|t| *t < time) {
                self.take_from(&old, at);
                at += 1;
            }
            // Without the lists markers may stay: windows leave them out themselves, instant selectors need them.
            let is_listed = ask.has_counts() || ask.has_events();
            if is_listed && is_stale(value) {
                continue;
            }
            self.push(time, value);
            if ask.has_counts() {
                self.digest.counts.push(1);
            }
            if ask.has_compensations() {
                self.digest.compensations.push(0.0);
            }
            if ask.has_events() {
                self.digest.events.push(COMPARE);
            }
        }
        (at..old.times.len()).for_each(|at| self.take_from(&old, at));
        true
    }

    /// Adds an entry of another list.
    pub(super) fn take_from(&mut self, old: &Self, at: usize) {
        self.push(old.times[at], old.values[at]);
        self.digest.counts.extend(old.digest.counts.get(at));
        self.digest.compensations.extend(old.digest.compensations.get(at));
        self.digest.events.extend(old.digest.events.get(at));
    }
}
