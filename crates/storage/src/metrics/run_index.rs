//! Where each series' rows are in a samples file.
//!
//! Series numbers follow arrival, files follow labels: page statistics on the number say little. Each file holds
//! an index of its runs (series, first row, count, times) as a block before its footer; the footer's key
//! `skopos.runs` says where. Other readers of Parquet pass over both.

use std::sync::OnceLock;

use super::pack::{get_varint, put_varint, unzigzag, zigzag};

/// Key in the footer: `<offset> <length> <CRC32C>` of the index.
pub(super) const KEY: &str = "skopos.runs";

/// Version of the index's form.
const VERSION: u8 = 1;

/// Rows of one series in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) series: u32,
    /// First row in the file.
    pub(super) row: u64,
    pub(super) count: u32,
    /// Oldest and newest time, Unix milliseconds.
    pub(super) first: i64,
    pub(super) last: i64,
    /// Whether some of its values are in the column of floats.
    pub(super) floats: bool,
}

/// The runs of a file, in order of their rows.
#[derive(Debug, Default)]
pub(super) struct RunIndex {
    pub(super) runs: Vec<Run>,
    /// Positions in `runs`, by series; made when first asked for.
    by_series: OnceLock<Vec<u32>>,
}

impl RunIndex {
    pub(super) fn new(runs: Vec<Run>) -> Self {
        Self { runs, by_series: OnceLock::new() }
    }

    fn by_series(&self) -> &[u32] {
        self.by_series.get_or_init(|| {
            // Series and position in one number: nothing else is touched while they are sorted.
            let mut keys: Vec<u64> = self.runs.iter().zip(0u64..).map(|(run, at)| u64::from(run.series) << 32 | at).collect();
            keys.sort_unstable();
            keys.into_iter().map(|key| key as u32).collect()
        })
    }

    /// Position of a series' run.
    pub(super) fn find(&self, series: u32) -> Option<u32> {
        let by_series = self.by_series();
        let at = by_series.binary_search_by_key(&series, |i| self.runs[*i as usize].series).ok()?;
        Some(by_series[at])
    }

    /// Oldest and newest time of most rows, Unix milliseconds: runs that reach out on either side are left out as
    /// long as they hold less than a sixty-fourth of the rows. A few late samples must not make a file look old.
    pub(super) fn bulk(&self) -> (i64, i64) {
        let spare = self.runs.iter().map(|r| u64::from(r.count)).sum::<u64>() / 64;
        let bound = |key: &dyn Fn(&Run) -> i64| {
            let mut ends: Vec<(i64, u32)> = self.runs.iter().map(|r| (key(r), r.count)).collect();
            ends.sort_unstable();
            let mut passed = 0;
            ends.iter()
                .find(|(_, count)| {
                    passed += u64::from(*count);
                    passed > spare
                })
                .map_or(0, |(end, _)| *end)
        };
        // Negated, the newest comes first.
        (bound(&|r| r.first), -bound(&|r| -r.last))
    }

    /// As bytes: each field as its difference from the run before.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_varint(self.runs.len() as u64, &mut out);
        let (mut series, mut count, mut last, mut span) = (0i64, 0i64, 0i64, 0i64);
        for run in &self.runs {
            put_varint(zigzag(i64::from(run.series) - series), &mut out);
            put_varint(zigzag((i64::from(run.count) - count) * 2 + i64::from(run.floats)), &mut out);
            put_varint(zigzag(run.last.wrapping_sub(last)), &mut out);
            let own = run.last.wrapping_sub(run.first);
            put_varint(zigzag(own.wrapping_sub(span)), &mut out);
            (series, count, last, span) = (i64::from(run.series), i64::from(run.count), run.last, own);
        }
        out
    }

    /// Reads what [`Self::to_bytes`] wrote for a file of `rows` rows; `None` when it does not fit.
    pub(super) fn from_bytes(bytes: &[u8], rows: u64) -> Option<Self> {
        let (&version, body) = bytes.split_first()?;
        if version != VERSION {
            return None;
        }
        let mut at = 0;
        let number = usize::try_from(get_varint(body, &mut at)?).ok()?;
        // A run takes four bytes at least: a damaged number cannot make us ask for more memory than the file has.
        let mut runs = Vec::with_capacity(number.min(body.len() / 4));
        let (mut series, mut count, mut last, mut span, mut row) = (0i64, 0i64, 0i64, 0i64, 0u64);
        for _ in 0..number {
            series = series.checked_add(unzigzag(get_varint(body, &mut at)?))?;
            let packed = unzigzag(get_varint(body, &mut at)?);
            count = count.checked_add(packed >> 1)?;
            last = last.wrapping_add(unzigzag(get_varint(body, &mut at)?));
            span = span.wrapping_add(unzigzag(get_varint(body, &mut at)?));
            let run = Run {
                series: u32::try_from(series).ok()?,
                row,
                count: u32::try_from(count).ok()?,
                first: last.wrapping_sub(span),
                last,
                floats: packed & 1 == 1,
            };
            row = row.checked_add(u64::from(run.count))?;
            runs.push(run);
        }
        (row == rows && at == body.len()).then(|| Self::new(runs))
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        self.runs.len() * (size_of::<Run>() + 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn few_late_rows_do_not_make_a_file_old() {
        let run = |series, count, first, last| Run { series, row: 0, count, first, last, floats: false };
        let index = |odd: u32| RunIndex::new(vec![run(0, odd, 5, 99_000), run(1, 500, 10_000, 20_000), run(2, 500, 11_000, 21_000)]);
        assert_eq!(index(3).bulk(), (10_000, 21_000));
        assert_eq!(index(100).bulk(), (5, 99_000));
        assert_eq!(RunIndex::default().bulk(), (0, 0));
    }

    proptest! {
        #[test]
        fn bytes_and_back(parts in prop::collection::vec((0u32..1000, 1u32..500, -1_000_000i64..1_000_000, 0i64..100_000, any::<bool>()), 0..50), flip in any::<prop::sample::Index>()) {
            let mut row = 0;
            let runs: Vec<Run> = parts.iter().map(|&(series, count, first, span, floats)| {
                let run = Run { series, row, count, first, last: first + span, floats };
                row += u64::from(count);
                run
            }).collect();
            let index = RunIndex::new(runs);
            let mut bytes = index.to_bytes();
            prop_assert!(RunIndex::from_bytes(&bytes, row).is_some_and(|read| read.runs == index.runs));
            prop_assert!(RunIndex::from_bytes(&bytes, row + 1).is_none());
            for run in &index.runs {
                prop_assert_eq!(index.find(run.series).map(|i| index.runs[i as usize].series), Some(run.series));
            }
            // Damaged bytes never panic.
            let at = flip.index(bytes.len());
            bytes[at] ^= 0xff;
            let _ = RunIndex::from_bytes(&bytes, row);
            let _ = RunIndex::from_bytes(&bytes[..at], row);
        }
    }
}
