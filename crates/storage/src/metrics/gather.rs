//! Puts together what files and heads hold of a set of series.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLockReadGuard;
use skopos_query::QueryContext;

use crate::error::StorageError;
use crate::table::FileMeta;

use super::files::nanos;
use super::generation::{Generation, ReadScratch};
use super::order::{By, sort_by_rank};
use super::reader::{RunCursor, SamplesFile};
use super::run_index::RunIndex;
use super::samples::Samples;
use super::{MetricsTable, SAMPLES, State};

/// Series between two checks for cancellation.
const CHECK_EVERY: usize = 64;

/// With fewer series than a file has runs divided by this, runs are looked up one by one.
const LOOKUP_FACTOR: usize = 16;

/// Series a query asks for, for quick membership tests.
pub(super) struct Wanted<'a> {
    ids: &'a [u32],
    set: Vec<bool>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(ids: &'a [u32]) -> Self {
        let mut set = vec![false; ids.iter().max().map_or(0, |max| *max as usize + 1)];
        ids.iter().for_each(|id| set[*id as usize] = true);
        Self { ids, set }
    }

    /// Positions of runs of these series with a sample in the closed range of milliseconds.
    pub(super) fn runs(&self, index: &RunIndex, start: i64, end: i64) -> Vec<u32> {
        let in_range = |position: &u32| {
            let run = &index.runs[*position as usize];
            run.first <= end && start <= run.last
        };
        if self.ids.len() * LOOKUP_FACTOR < index.runs.len() {
            let mut found: Vec<u32> = self.ids.iter().filter_map(|id| index.find(*id)).filter(in_range).collect();
            found.sort_unstable();
            return found;
        }
        let is_wanted = |i: &u32| self.set.get(index.runs[*i as usize].series as usize).copied().unwrap_or(false);
        (0..index.runs.len() as u32).filter(is_wanted).filter(in_range).collect()
    }
}

pub(super) fn in_range(file: &FileMeta, start: i64, end: i64) -> bool {
    file.file.time_min <= nanos(end) && nanos(start) <= file.file.time_max
}

impl MetricsTable {
    /// Opens a samples file; its footer and run index are kept for the next time.
    pub(super) fn open_samples(&self, meta: &Arc<FileMeta>) -> Result<Arc<SamplesFile>, StorageError> {
        let known = self.indexes.lock().get(meta.id);
        let is_known = known.is_some();
        let file = SamplesFile::open(meta, self.blobs.open(&meta.file.path)?, known)?;
        if !is_known {
            self.indexes.lock().put(meta.id, Arc::clone(&file.index));
        }
        Ok(Arc::new(file))
    }

    /// Samples files with rows in the closed range of milliseconds, and what is in memory: every sample in one place.
    fn places(&self, start: i64, end: i64) -> (RwLockReadGuard<'_, State>, Vec<Arc<FileMeta>>, usize) {
        let state = self.settled();
        let all = state.files.iter().filter(|f| f.file.table == SAMPLES && !f.is_damaged());
        let (hit, missed): (Vec<_>, Vec<_>) = all.map(Arc::clone).partition(|f| in_range(f, start, end));
        (state, hit, missed.len())
    }

    /// Calls `each` with the samples in the closed range of milliseconds of those of `ids` that have some, in the
    /// order of files, until it returns false. Times ascend strictly; of equal ones the lowest WAL sequence won.
    pub(super) fn gather(
        &self,
        mut ids: Vec<u32>,
        (start, end): (i64, i64),
        ctx: &QueryContext,
        mut each: impl FnMut(u32, &mut Samples) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        if ids.is_empty() {
            return Ok(());
        }
        let ranks = self.ranks(By::File);
        sort_by_rank(&mut ids, &ranks);
        let (state, files, pruned) = self.places(start, end);
        let sealed = state.sealed.clone();
        let open = state.open.extract(&ids, start, end);
        drop(state);
        let mut cursors = self.cursors(&files, pruned, &ids, &ranks, (start, end), ctx)?;
        let mut scratch = ReadScratch::default();
        let mut samples = Samples::default();
        let mut rows = 0;
        for (i, id) in ids.into_iter().enumerate() {
            if i % CHECK_EVERY == 0 {
                ctx.check()?;
            }
            samples.clear();
            for cursor in &mut cursors {
                if cursor.as_ref().and_then(RunCursor::peek).is_some_and(|run| run.series == id) {
                    rows += self.read_run(cursor, start, end, &mut samples)?;
                }
            }
            for generation in sealed.as_deref().into_iter().chain([&open]) {
                if let Some(buffer) = generation.buffer(id).filter(|b| b.overlaps(start, end)) {
                    buffer.read(start, end, &mut scratch, &mut samples);
                }
            }
            if !samples.times.is_empty() && !each(id, &mut samples)? {
                break;
            }
        }
        ctx.stats.add_rows(rows);
        ctx.stats.add_bytes(cursors.iter().flatten().map(|c| c.file().bytes_read()).sum());
        Ok(())
    }

    /// Reads a cursor's next run; a damaged file is set aside and its cursor goes.
    fn read_run(&self, cursor: &mut Option<RunCursor>, start: i64, end: i64, samples: &mut Samples) -> Result<u64, StorageError> {
        let Some(open) = cursor else { return Ok(0) };
        match open.read(start, end, samples) {
            Ok(rows) => Ok(rows),
            Err(error) => {
                open.file().meta.set_aside(error)?;
                *cursor = None;
                Ok(0)
            }
        }
    }

    fn cursors(
        &self,
        files: &[Arc<FileMeta>],
        mut pruned: usize,
        ids: &[u32],
        ranks: &[u32],
        (start, end): (i64, i64),
        ctx: &QueryContext,
    ) -> Result<Vec<Option<RunCursor>>, StorageError> {
        let wanted = Wanted::new(ids);
        let mut cursors = Vec::with_capacity(files.len());
        for meta in files {
            ctx.check()?;
            let file = match self.open_samples(meta) {
                Ok(file) => file,
                Err(error) => {
                    meta.set_aside(error)?;
                    continue;
                }
            };
            let mut runs = wanted.runs(&file.index, start, end);
            if runs.is_empty() {
                pruned += 1;
                continue;
            }
            // Files have this order already; a file that does not is still read rightly.
            runs.sort_by_key(|i| {
                let series = file.index.runs[*i as usize].series;
                (ranks.get(series as usize).copied().unwrap_or(u32::MAX), series)
            });
            cursors.push(Some(RunCursor::new(file, runs)));
        }
        ctx.stats.add_files(cursors.len() as u64, pruned as u64);
        Ok(cursors)
    }

    /// Those of `ids` with a sample in the closed range of milliseconds, as far as runs and buffers tell by their first
    /// and last times (a series with a gap over the whole range counts).
    pub(super) fn present(&self, ids: Vec<u32>, start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<u32>, StorageError> {
        if ids.is_empty() {
            return Ok(ids);
        }
        let (state, files, pruned) = self.places(start, end);
        let in_generation = |g: &Generation, id: u32| g.buffer(id).is_some_and(|b| b.overlaps(start, end));
        let mut missing = Vec::new();
        let mut found = Vec::new();
        for id in ids {
            let is_there = in_generation(&state.open, id) || state.sealed.as_deref().is_some_and(|s| in_generation(s, id));
            if is_there { found.push(id) } else { missing.push(id) }
        }
        drop(state);
        let mut opened = 0;
        // Newest first: most series are in the latest file.
        for meta in files.iter().rev() {
            if missing.is_empty() {
                break;
            }
            ctx.check()?;
            opened += 1;
            let file = match self.open_samples(meta) {
                Ok(file) => file,
                Err(error) => {
                    meta.set_aside(error)?;
                    continue;
                }
            };
            let runs = Wanted::new(&missing).runs(&file.index, start, end);
            let here: HashMap<u32, ()> = runs.iter().map(|i| (file.index.runs[*i as usize].series, ())).collect();
            missing.retain(|id| {
                let is_here = here.contains_key(id);
                if is_here {
                    found.push(*id);
                }
                !is_here
            });
        }
        ctx.stats.add_files(opened, pruned as u64 + files.len() as u64 - opened);
        found.sort_unstable();
        Ok(found)
    }
}
