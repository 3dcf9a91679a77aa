//! Which files of a table to merge next.
//!
//! Only neighbours in WAL order are merged, so that the sequence ranges of files never interleave and "the lowest
//! sequence wins" stays decidable file by file.

use std::ops::Range;

/// Files of about one size that are merged into one of the next size.
const FAN: usize = 8;

/// Most files of one merge: each costs a megabyte of buffers while it runs.
const INPUTS_MAX: usize = 64;

/// Files below this many rows are of the lowest tier (a minute of a hundred series or so); each tier above is
/// eight times larger.
const TIER_ROWS: u64 = 512;

/// Longest time a file with many rows spans: a query of an hour should not decode a day.
const SPAN_MAX: i64 = 8 * 3600 * 1_000_000_000;

/// Files up to this many rows may span any time: small files cost more than long runs.
const ROWS_ANY_SPAN: u64 = 2 << 20;

/// Most rows of a file.
const ROWS_MAX: u64 = 1 << 31;

/// What a plan looks at in a file. Times are Unix nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: u64,
    pub(super) time_min: i64,
    pub(super) time_max: i64,
}

impl Size {
    fn with(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, time_min: self.time_min.min(other.time_min), time_max: self.time_max.max(other.time_max) }
    }

    fn fits(self) -> bool {
        self.rows <= ROWS_ANY_SPAN || (self.rows <= ROWS_MAX && self.time_max.saturating_sub(self.time_min) <= SPAN_MAX)
    }

    fn tier(self) -> u32 {
        (self.rows / TIER_ROWS).checked_ilog(FAN as u64).map_or(0, |tier| tier + 1)
    }
}

/// Splits `files` into neighbours that fit in one file, greedily from the oldest. `true`: the next file did not fit.
fn groups(files: &[Size], range: Range<usize>) -> Vec<(Range<usize>, bool)> {
    let mut out = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let mut size = files[start];
        let mut end = start + 1;
        while end < range.end && end - start < INPUTS_MAX && size.with(files[end]).fits() {
            size = size.with(files[end]);
            end += 1;
        }
        out.push((start..end, end < range.end && end - start < INPUTS_MAX));
        start = end;
    }
    out
}

/// The files (in WAL order) to merge next. `full`: all that fit together, however few.
pub(super) fn plan(files: &[Size], full: bool) -> Option<Range<usize>> {
    if full {
        return groups(files, 0..files.len()).into_iter().map(|(group, _)| group).find(|group| group.len() > 1);
    }
    let tiers = files.iter().map(|f| f.tier()).max()?;
    for tier in 0..=tiers {
        let mut start = 0;
        while start < files.len() {
            let end = files[start..].iter().position(|f| f.tier() > tier).map_or(files.len(), |n| start + n);
            for (group, full) in groups(files, start..end) {
                let rows: u64 = files[group.clone()].iter().map(|f| f.rows).sum();
                let largest = files[group.clone()].iter().map(|f| f.rows).max().unwrap_or(0);
                // A large file is not written anew for a few small ones.
                let worth = rows >= largest.saturating_mul(2);
                if group.len() > 1 && worth && (group.len() >= FAN || full) {
                    return Some(group);
                }
            }
            start = end.max(start + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000_000;

    /// Flushes every minute for `minutes`, merging whenever a plan says so; returns files and rows written.
    fn run(minutes: i64, rows: u64) -> (Vec<Size>, u64) {
        let (mut files, mut written) = (Vec::new(), 0);
        for minute in 0..minutes {
            files.push(Size { rows, time_min: minute * MINUTE, time_max: (minute + 1) * MINUTE });
            merge(&mut files, false, &mut written);
        }
        (files, written)
    }

    fn merge(files: &mut Vec<Size>, full: bool, written: &mut u64) {
        while let Some(range) = plan(files, full) {
            assert!(range.len() > 1, "a merge makes files fewer");
            let merged = files[range.clone()].iter().copied().reduce(Size::with).expect("files");
            assert!(merged.fits());
            *written += merged.rows;
            files.splice(range, [merged]);
        }
    }

    #[test]
    fn files_stay_few_and_rewrites_bounded() {
        // Rows a minute; files after a day at most; times each row is written anew at most.
        for (rows, files_max, rewrites_max) in [(100, 16, 4.5), (2_000, 16, 4.5), (80_000, 16, 4.0), (4_000_000, 16, 4.0)] {
            let (mut files, mut written) = run(24 * 60, rows);
            let rewrites = written as f64 / (rows * 24 * 60) as f64;
            assert!(files.len() <= files_max && rewrites <= rewrites_max, "{rows}: {} files, {rewrites} rewrites", files.len());
            merge(&mut files, true, &mut written);
            let span = |f: &Size| f.time_max - f.time_min;
            assert!(files.len() <= 4, "{rows}: {files:?}");
            assert!(files[..files.len() - 1].iter().all(|f| span(f) >= 2 * 60 * MINUTE), "{rows}: {files:?}");
        }
    }

    #[test]
    fn nothing_to_do() {
        let one = Size { rows: 5, time_min: 0, time_max: 9 };
        assert_eq!(plan(&[], true), None);
        assert_eq!(plan(&[one], true), None);
        assert_eq!(plan(&[one; 7], false), None);
        assert_eq!(plan(&[one; 8], false), Some(0..8));
        assert_eq!(plan(&[one; 3], true), Some(0..3));
        let far = Size { rows: 3 << 20, time_min: 0, time_max: SPAN_MAX };
        assert_eq!(plan(&[far, Size { time_min: SPAN_MAX, time_max: 2 * SPAN_MAX, ..far }], true), None);
    }
}
