//! Series of which some hours have to be read from samples: because samples of two files are mixed there, as late ones are,
//! or because a row does not say what is needed. Their other hours still come from rollups.

use std::ops::Range;

use skopos_query::QueryContext;

use super::entries::{Ask, Entries};
use super::file::RollupFile;
use super::read::{Part, read_runs};
use crate::error::StorageError;
use crate::metrics::MetricsTable;
use crate::metrics::gather::Wanted;
use crate::metrics::generation::{Generation, ReadScratch};
use crate::metrics::samples::Samples;
use crate::metrics::select::count_samples;

/// Series at a time: each row of theirs is remembered by itself.
const SERIES_AT_ONCE: usize = 2_048;

/// A row of a rollup.
#[derive(Debug)]
struct Known {
    /// Which of the parts it is of.
    part: usize,
    /// Times of its first and last sample, markers among them.
    first: i64,
    last: i64,
    /// Its entries.
    entries: Range<usize>,
    /// Its samples have to be read.
    is_dirty: bool,
}

/// What was found of one series.
#[derive(Debug, Default)]
struct Knot {
    rows: Vec<Known>,
    entries: Entries,
    /// Samples by part; those of heads come last.
    pieces: Vec<(usize, Samples)>,
}

impl Knot {
    /// Finds out which rows have samples of others between theirs. `false`: so many that the rest is not worth it.
    fn judge(&mut self) -> bool {
        self.rows.sort_by_key(|row| (row.first, row.last));
        // Of the rows before, the one that ends last: whichever of them another row touches, it has been marked.
        let mut furthest: Option<usize> = None;
        for at in 0..self.rows.len() {
            let (first, last) = (self.rows[at].first, self.rows[at].last);
            let before = furthest.filter(|f| self.rows[*f].last >= first);
            if let Some(before) = before {
                self.rows[at].is_dirty = true;
                self.rows[before].is_dirty = true;
            }
            if furthest.is_none_or(|f| self.rows[f].last < last) {
                furthest = Some(at);
            }
        }
        for (_, samples) in &self.pieces {
            for row in &mut self.rows {
                let next = samples.times.partition_point(|t| *t < row.first);
                row.is_dirty |= samples.times.get(next).is_some_and(|t| *t <= row.last);
            }
        }
        self.rows.iter().filter(|row| row.is_dirty).count() * 2 <= self.rows.len()
    }

    fn dirty(&self, part: usize) -> impl Iterator<Item = &Known> {
        self.rows.iter().filter(move |row| row.part == part && row.is_dirty)
    }

    /// Puts rows and samples together; `None` when they do not go together.
    fn assemble(mut self, ask: &Ask) -> Option<Entries> {
        let mut entries = Entries::default();
        for row in self.rows.iter().filter(|row| !row.is_dirty) {
            row.entries.clone().for_each(|at| entries.take_from(&self.entries, at));
        }
        entries.trim(ask.start);
        self.pieces.sort_by_key(|(part, _)| *part);
        let mut samples = Samples::default();
        self.pieces.iter().for_each(|(_, piece)| samples.add(&piece.times, &piece.values));
        entries.weave(ask, &samples.times, &samples.values).then_some(entries)
    }
}

/// Where series are read from: parts in order of their WAL sequence, then heads.
#[derive(Debug)]
pub(super) struct Places<'a> {
    pub(super) table: &'a MetricsTable,
    pub(super) parts: &'a [Part],
    pub(super) heads: [Option<&'a Generation>; 2],
    pub(super) ctx: &'a QueryContext,
}

impl Places<'_> {
    /// Calls `each` with the entries of each series, `None` for those that have to be read as a whole.
    pub(super) fn untangle(&self, ask: &Ask, ids: &[u32], mut each: impl FnMut(u32, Option<Entries>)) -> Result<(), StorageError> {
        for ids in ids.chunks(SERIES_AT_ONCE) {
            let mut knots: Vec<Knot> = Vec::with_capacity(ids.len());
            knots.resize_with(ids.len(), Knot::default);
            self.rows(ask, ids, &mut knots)?;
            let is_worth: Vec<bool> = knots.iter_mut().map(Knot::judge).collect();
            self.dirty_samples(ask, ids, &mut knots, &is_worth)?;
            for ((id, knot), is_worth) in ids.iter().zip(knots).zip(is_worth) {
                let entries = if is_worth { knot.assemble(ask) } else { None };
                each(*id, entries);
            }
        }
        Ok(())
    }

    /// Rows of rollups, and samples where there are none.
    fn rows(&self, ask: &Ask, ids: &[u32], knots: &mut [Knot]) -> Result<(), StorageError> {
        let wanted = Wanted::new(ids);
        let place = |series: u32| ids.binary_search(&series).ok();
        let mut columns = ask.columns();
        columns.extend(["first_ms", "last_ms", "stale_ms"]);
        for (part, meta) in self.parts.iter().enumerate() {
            self.ctx.check()?;
            let Some(rollup) = &meta.rollup else {
                read_runs(self.table, &meta.samples, &wanted, ask, self.ctx, |series, samples| {
                    if let Some(at) = place(series) {
                        knots[at].pieces.push((part, std::mem::take(samples)));
                    }
                })?;
                continue;
            };
            let file = RollupFile::open(self.table, rollup)?;
            let runs = wanted.runs(&file.index, ask.start, ask.end);
            if runs.is_empty() {
                continue;
            }
            let mut kept = 0;
            let rows = file.read(&runs, &columns, |run, c, rows| {
                let Some(Knot { rows: known, entries, .. }) = place(run.series).map(|at| &mut knots[at]) else { return };
                for row in rows.filter(|row| ask.wants(c.time[*row])) {
                    let before = entries.times.len();
                    let says_enough = entries.push_rows(ask, c, row..row + 1);
                    let end = c.time[row];
                    let first = end - i64::from(c.first_ms[row]);
                    let last = end - i64::from(c.stale_ms.get(row).unwrap_or(c.last_ms[row]));
                    known.push(Known { part, first, last, entries: before..entries.times.len(), is_dirty: !says_enough });
                    kept += entries.times.len() - before;
                }
            })?;
            self.ctx.stats.add_rollup_rows(rows);
            self.ctx.stats.add_bytes(file.bytes_read());
            count_samples(kept, self.ctx)?;
        }
        let mut scratch = ReadScratch::default();
        for (id, knot) in ids.iter().zip(knots) {
            let mut samples = Samples::default();
            for buffer in self.heads.into_iter().flatten().filter_map(|head| head.buffer(*id)) {
                if buffer.overlaps(ask.start, ask.end) {
                    buffer.read(ask.start, ask.end, &mut scratch, &mut samples);
                }
            }
            if !samples.times.is_empty() {
                knot.pieces.push((usize::MAX, samples));
            }
        }
        Ok(())
    }

    /// The samples of dirty rows.
    fn dirty_samples(&self, ask: &Ask, ids: &[u32], knots: &mut [Knot], is_worth: &[bool]) -> Result<(), StorageError> {
        for (part, meta) in self.parts.iter().enumerate() {
            self.ctx.check()?;
            let has_dirty = |(knot, is_worth): (&Knot, &bool)| *is_worth && knot.dirty(part).next().is_some();
            let touched: Vec<u32> = ids.iter().zip(knots.iter().zip(is_worth)).filter(|(_, both)| has_dirty(*both)).map(|(id, _)| *id).collect();
            if touched.is_empty() {
                continue;
            }
            read_runs(self.table, &meta.samples, &Wanted::new(&touched), ask, self.ctx, |series, samples| {
                let Some(knot) = ids.binary_search(&series).ok().map(|at| &mut knots[at]) else { return };
                let mut piece = Samples::default();
                for row in knot.dirty(part) {
                    piece.add_in_range(&samples.times, &samples.values, row.first, row.last);
                }
                knot.pieces.push((part, piece));
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirty(rows: &[(i64, i64)], samples: &[i64]) -> Vec<(i64, i64)> {
        let known = |(part, (first, last)): (usize, &(i64, i64))| Known { part, first: *first, last: *last, entries: 0..0, is_dirty: false };
        let mut knot = Knot { rows: rows.iter().enumerate().map(known).collect(), ..Knot::default() };
        knot.pieces.push((9, Samples::default()));
        knot.pieces[0].1.add(samples, &vec![0.0; samples.len()]);
        knot.judge();
        knot.rows.iter().filter(|row| row.is_dirty).map(|row| (row.first, row.last)).collect()
    }

    #[test]
    fn rows_with_samples_of_others_between_theirs() {
        assert_eq!(dirty(&[(0, 9), (10, 19), (20, 29)], &[]), []);
        assert_eq!(dirty(&[(0, 10), (10, 19), (20, 29)], &[]), [(0, 10), (10, 19)]);
        assert_eq!(dirty(&[(20, 29), (0, 25), (1, 2), (30, 31)], &[]), [(0, 25), (1, 2), (20, 29)]);
        assert_eq!(dirty(&[(0, 5), (3, 10), (4, 6), (11, 12)], &[]), [(0, 5), (3, 10), (4, 6)]);
        assert_eq!(dirty(&[(0, 9), (10, 19), (20, 29)], &[-1, 15, 20, 30]), [(10, 19), (20, 29)]);
    }
}
