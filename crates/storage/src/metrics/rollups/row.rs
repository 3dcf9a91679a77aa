//! What a rollup knows of the samples of one series in one hour.

use skopos_model::metric::STALE_NAN_BITS;
use skopos_query::promql::Sum;

/// Length of a bucket, milliseconds. A bucket holds the samples after its begin up to its end, as windows do.
pub(in crate::metrics) const BUCKET: i64 = 3_600_000;

/// An hour in which a value went down this often at most has a row for each stretch between: counters are restarted
/// seldom. With more it is a gauge, and has one row.
const DROPS_MAX: usize = 3;

/// Sums are given for samples up to this magnitude. Hours of larger ones might overflow together where their samples,
/// added in another order, do not.
pub(super) const SUMMED_MAX: f64 = 1e300;

/// End of the bucket that a time is in.
pub(in crate::metrics) fn bucket_end(time: i64) -> i64 {
    time.saturating_sub(1).div_euclid(BUCKET).saturating_add(1).saturating_mul(BUCKET)
}

pub(super) fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// A stretch of samples of one series in one bucket. Stretches of one file follow one another: none begins before the
/// one before has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row {
    /// End of the bucket, Unix milliseconds.
    pub(super) end: i64,
    /// Samples that are no staleness markers. Without any, `first` and `last` are the first marker.
    pub(super) count: u32,
    /// NaN among them.
    pub(super) nans: u32,
    /// How often the value went down, and how often it changed, from one sample to the next.
    pub(super) resets: u32,
    pub(super) changes: u32,
    pub(super) first: (i64, f64),
    pub(super) last: (i64, f64),
    /// The sample before the last.
    pub(super) before: Option<(i64, f64)>,
    /// The last staleness marker, when no sample of this row comes after it.
    pub(super) stale: Option<i64>,
    /// Of equal values the last; NaN only when all are.
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) sum: f64,
    /// What the sum has lost; NaN when a sample is too large to be summed by the hour, or not finite.
    pub(super) compensation: f64,
}

/// A row being filled.
#[derive(Debug, Clone, Copy)]
struct Open {
    row: Row,
    sum: Sum,
    wild: bool,
}

impl Open {
    fn new(end: i64, time: i64, value: f64) -> Self {
        let first = (time, value);
        let row = Row {
            end,
            count: 1,
            nans: u32::from(value.is_nan()),
            resets: 0,
            changes: 0,
            first,
            last: first,
            before: None,
            stale: None,
            min: value,
            max: value,
            sum: 0.0,
            compensation: 0.0,
        };
        let mut open = Self { row, sum: Sum::default(), wild: false };
        open.total(value);
        open
    }

    fn total(&mut self, value: f64) {
        self.sum.add(value);
        self.wild |= value.is_nan() || value.abs() > SUMMED_MAX;
    }

    fn add(&mut self, time: i64, value: f64) {
        let row = &mut self.row;
        let before = row.last.1;
        row.count += 1;
        row.nans += u32::from(value.is_nan());
        row.resets += u32::from(value < before);
        row.changes += u32::from(value != before && !(value.is_nan() && before.is_nan()));
        row.before = Some(row.last);
        row.last = (time, value);
        row.stale = None;
        if row.min.is_nan() || value <= row.min {
            row.min = value;
        }
        if row.max.is_nan() || value >= row.max {
            row.max = value;
        }
        self.total(value);
    }

    fn finish(self) -> Row {
        let (sum, compensation) = self.sum.parts();
        Row { sum, compensation: if self.wild { f64::NAN } else { compensation }, ..self.row }
    }
}

/// A row of markers only.
fn markers(end: i64, time: i64) -> Row {
    let marker = f64::from_bits(STALE_NAN_BITS);
    let first = (time, marker);
    Row {
        end,
        count: 0,
        nans: 0,
        resets: 0,
        changes: 0,
        first,
        last: first,
        before: None,
        stale: Some(time),
        min: marker,
        max: marker,
        sum: 0.0,
        compensation: 0.0,
    }
}

/// Gives the rows of samples, whose times ascend strictly, in order.
pub(super) fn rows(times: &[i64], values: &[f64], mut each: impl FnMut(Row)) {
    let mut at = 0;
    while at < times.len() {
        let end = bucket_end(times[at]);
        let next = at + times[at..].partition_point(|t| *t <= end);
        bucket(end, &times[at..next], &values[at..next], &mut each);
        at = next;
    }
}

fn bucket(end: i64, times: &[i64], values: &[f64], each: &mut impl FnMut(Row)) {
    let split = drops(values) <= DROPS_MAX;
    let mut leading: Option<Row> = None;
    let mut open: Option<Open> = None;
    for (&time, &value) in times.iter().zip(values) {
        if is_stale(value) {
            match (&mut open, &mut leading) {
                (Some(open), _) => open.row.stale = Some(time),
                (None, Some(row)) => row.stale = Some(time),
                (None, None) => leading = Some(markers(end, time)),
            }
            continue;
        }
        if let Some(row) = leading.take() {
            each(row);
        }
        match &mut open {
            Some(open) if !(split && value < open.row.last.1) => open.add(time, value),
            _ => {
                if let Some(done) = open.replace(Open::new(end, time, value)) {
                    each(done.finish());
                }
            }
        }
    }
    leading.into_iter().chain(open.map(Open::finish)).for_each(each);
}

/// How often a value is less than the one before, markers left out.
fn drops(values: &[f64]) -> usize {
    let mut before = f64::NAN;
    let mut drops = 0;
    for value in values.iter().copied().filter(|v| !is_stale(*v)) {
        drops += usize::from(value < before);
        before = value;
    }
    drops
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: &[(i64, f64)]) -> Vec<Row> {
        let (times, values): (Vec<i64>, Vec<f64>) = samples.iter().copied().unzip();
        let mut out = Vec::new();
        rows(&times, &values, |row| out.push(row));
        out
    }

    #[test]
    fn a_bucket_ends_with_its_hour() {
        for (time, end) in [(1, BUCKET), (BUCKET, BUCKET), (BUCKET + 1, 2 * BUCKET), (0, 0), (-1, 0), (-BUCKET, -BUCKET), (1 - BUCKET, 0)] {
            assert_eq!(bucket_end(time), end, "{time}");
        }
    }

    #[test]
    fn a_counter_has_a_row_for_each_stretch_between_restarts() {
        let rows = of(&[(10, 5.0), (20, 7.0), (30, 2.0), (40, 2.0), (50, 9.0), (BUCKET + 1, 1.0)]);
        let facts: Vec<_> = rows.iter().map(|r| (r.end, r.count, r.first, r.last, r.resets, r.changes, r.sum)).collect();
        assert_eq!(
            facts,
            [
                (BUCKET, 2, (10, 5.0), (20, 7.0), 0, 1, 12.0),
                (BUCKET, 3, (30, 2.0), (50, 9.0), 0, 1, 13.0),
                (2 * BUCKET, 1, (BUCKET + 1, 1.0), (BUCKET + 1, 1.0), 0, 0, 1.0)
            ]
        );
        assert_eq!(rows[1].before, Some((40, 2.0)));
    }

    #[test]
    fn a_gauge_has_one_row() {
        let samples: Vec<(i64, f64)> = (1..=20).map(|i| (i, f64::from(i as i32 % 3) - 1.0)).collect();
        let rows = of(&samples);
        assert_eq!(rows.len(), 1);
        let row = rows[0];
        assert_eq!((row.count, row.resets, row.changes, row.min, row.max), (20, 6, 19, -1.0, 1.0));
    }

    #[test]
    fn markers_and_values_that_are_no_numbers() {
        let stale = f64::from_bits(STALE_NAN_BITS);
        let rows = of(&[(1, stale), (2, stale), (3, 4.0), (4, stale), (5, 5.0), (6, stale)]);
        assert_eq!(rows.iter().map(|r| (r.count, r.first.0, r.last.0, r.stale)).collect::<Vec<_>>(), [(0, 1, 1, Some(2)), (2, 3, 5, Some(6))]);
        let rows = of(&[(1, f64::NAN), (2, 3.0), (3, f64::NAN), (4, 1.0)]);
        assert_eq!((rows.len(), rows[0].nans, rows[0].resets, rows[0].min, rows[0].max), (1, 2, 0, 1.0, 3.0));
        assert!(rows[0].compensation.is_nan());
        let rows = of(&[(1, f64::NAN)]);
        assert!(rows[0].min.is_nan() && rows[0].max.is_nan() && rows[0].compensation.is_nan());
        assert!(of(&[(1, 1e301)])[0].compensation.is_nan());
        assert!(!of(&[(1, 1e299)])[0].compensation.is_nan());
    }
}
