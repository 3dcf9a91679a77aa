//! Series for windows: rows of rollups where they tell enough, samples elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use skopos_query::metrics::{Select, Series};
use skopos_query::windows::{Need, WindowHint};
use skopos_query::{QueryContext, QueryError};

use super::entries::{Ask, Entries};
use super::file::RollupFile;
use super::row::{BUCKET, bucket_end};
use super::untangle::Places;
use super::{ROLLUPS, origin_of};
use crate::error::StorageError;
use crate::metrics::gather::{Wanted, in_range};
use crate::metrics::generation::{Generation, ReadScratch};
use crate::metrics::order::By;
use crate::metrics::reader::RunCursor;
use crate::metrics::samples::Samples;
use crate::metrics::select::{Ranked, Times, count, count_samples, storage_error};
use crate::metrics::{MetricsTable, SAMPLES};
use crate::table::FileMeta;

const NONE: u32 = u32::MAX;

/// Times inside buckets at which windows begin or end.
#[derive(Debug, PartialEq)]
struct Cuts {
    /// Ascending, Unix milliseconds.
    times: Vec<i64>,
    /// See [`Ask::reach`].
    reach: i64,
}

impl Cuts {
    fn of(windows: &WindowHint<'_>) -> Self {
        let is_inside = |time: &i64| time.rem_euclid(BUCKET) != 0;
        let mut times: Vec<i64> = windows.ends.iter().copied().filter(is_inside).collect();
        let mut reach = 0;
        if windows.need.of_whole_window() {
            let rest = windows.range.rem_euclid(BUCKET);
            // Dashboards ask for an hour and a scrape's interval, to have the increase from one hour to the next: of the
            // samples before the hour that is the last one.
            let is_reaching = matches!(windows.need, Need::Counter | Need::Difference) && times.is_empty() && windows.range > BUCKET;
            if is_reaching {
                reach = rest;
            } else {
                times.extend(windows.ends.iter().map(|end| end.saturating_sub(windows.range)).filter(is_inside));
            }
        }
        times.sort_unstable();
        times.dedup();
        Self { times, reach }
    }

    /// Whether one is inside the buckets of a file with these first and last times.
    fn cut(&self, (first, last): (i64, i64)) -> bool {
        let (from, to) = (bucket_end(first).saturating_sub(BUCKET), bucket_end(last));
        let next = self.times.partition_point(|time| *time <= from);
        self.times.get(next).is_some_and(|time| *time < to)
    }
}

fn millis(file: &FileMeta) -> (i64, i64) {
    (file.file.time_min.div_euclid(1_000_000), file.file.time_max.div_euclid(1_000_000))
}

/// One samples file, and its rollup where that is to be read.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) samples: Arc<FileMeta>,
    pub(super) rollup: Option<Arc<FileMeta>>,
}

/// Calls `each` with the samples of each wanted series in a file.
pub(super) fn read_runs(
    table: &MetricsTable,
    meta: &Arc<FileMeta>,
    wanted: &Wanted<'_>,
    ask: &Ask,
    ctx: &QueryContext,
    mut each: impl FnMut(u32, &mut Samples),
) -> Result<(), StorageError> {
    let file = table.open_samples(meta)?;
    let mut cursor = RunCursor::new(Arc::clone(&file), wanted.runs(&file.index, ask.start, ask.end));
    let (mut rows, mut samples) = (0, Samples::default());
    while let Some(series) = cursor.peek().map(|run| run.series) {
        samples.clear();
        rows += cursor.read(ask.start, ask.end, &mut samples)?;
        count_samples(samples.times.len(), ctx)?;
        each(series, &mut samples);
    }
    ctx.stats.add_rows(rows);
    ctx.stats.add_bytes(file.bytes_read());
    ctx.stats.add_files(1, 0);
    Ok(())
}

/// Why a series cannot be taken from rollups as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Some of its hours.
    Hours,
    /// All of it: windows with histograms are another thing.
    Whole,
}

/// What was read: series, and those to be read whole.
#[derive(Debug, Default)]
struct Thinned {
    found: Ranked,
    whole: Vec<u32>,
}

/// What was found of one series.
#[derive(Default)]
struct Slot {
    entries: Entries,
    /// First and last times of its samples in each file of which the rollup was read.
    spans: Vec<(i64, i64)>,
    /// Samples from elsewhere.
    samples: Samples,
    /// Rollups alone do not do for it.
    rest: Option<Rest>,
}

impl Slot {
    /// Whether a sample from elsewhere is between those that a rollup tells of.
    fn is_tangled(&self) -> bool {
        let times = &self.samples.times;
        self.spans.iter().any(|(first, last)| {
            let next = times.partition_point(|t| t < first);
            times.get(next).is_some_and(|t| t <= last)
        })
    }

    /// Puts both together; `false` when they do not go together.
    fn assemble(&mut self, ask: &Ask) -> bool {
        if self.rest.is_some() || self.is_tangled() {
            return false;
        }
        if self.spans.is_empty() {
            (self.entries.times, self.entries.values) = (std::mem::take(&mut self.samples.times), std::mem::take(&mut self.samples.values));
            return true;
        }
        self.entries.trim(ask.start);
        self.samples.times.is_empty() || self.entries.weave(ask, &self.samples.times, &self.samples.values)
    }
}

/// Series being read, each in its slot.
struct Reading<'a> {
    table: &'a MetricsTable,
    ask: Ask,
    ctx: &'a QueryContext,
    ids: &'a [u32],
    slot_of: Vec<u32>,
    slots: Vec<Slot>,
    /// Series of which a row did not say enough.
    unclear: usize,
}

impl<'a> Reading<'a> {
    fn new(table: &'a MetricsTable, ask: Ask, ids: &'a [u32], ctx: &'a QueryContext) -> Self {
        let mut slot_of = vec![NONE; ids.iter().max().map_or(0, |max| *max as usize + 1)];
        (0..).zip(ids).for_each(|(slot, id)| slot_of[*id as usize] = slot);
        let mut slots = Vec::with_capacity(ids.len());
        slots.resize_with(ids.len(), Slot::default);
        Self { table, ask, ctx, ids, slot_of, slots, unclear: 0 }
    }

    fn rollup(&mut self, wanted: &Wanted<'_>, meta: &Arc<FileMeta>) -> Result<(), StorageError> {
        let file = RollupFile::open(self.table, meta)?;
        let runs = wanted.runs(&file.index, self.ask.start, self.ask.end);
        for run in runs.iter().map(|position| &file.index.runs[*position as usize]) {
            let slot = &mut self.slots[self.slot_of[run.series as usize] as usize];
            if slot.spans.last().is_some_and(|(_, last)| run.first <= *last) {
                slot.rest = slot.rest.or(Some(Rest::Hours));
            }
            slot.spans.push((run.first, run.last));
        }
        if runs.is_empty() {
            return Ok(());
        }
        let Self { ask, slot_of, slots, unclear, .. } = self;
        let mut samples = 0;
        let rows = file.read(&runs, &ask.columns(), |run, columns, rows| {
            let slot = &mut slots[slot_of[run.series as usize] as usize];
            if slot.rest.is_some() {
                return;
            }
            let before = slot.entries.times.len();
            if !slot.entries.push_rows(ask, columns, rows) {
                slot.rest = Some(Rest::Hours);
                slot.entries = Entries::default();
                *unclear += 1;
            }
            samples += slot.entries.times.len().saturating_sub(before);
        })?;
        self.ctx.stats.add_rollup_rows(rows);
        self.ctx.stats.add_bytes(file.bytes_read());
        self.ctx.stats.add_files(1, 0);
        Ok(count_samples(samples, self.ctx)?)
    }

    fn samples(&mut self, wanted: &Wanted<'_>, meta: &Arc<FileMeta>) -> Result<(), StorageError> {
        let Self { slot_of, slots, .. } = self;
        read_runs(self.table, meta, wanted, &self.ask, self.ctx, |series, samples| {
            slots[slot_of[series as usize] as usize].samples.add(&samples.times, &samples.values);
        })
    }

    fn heads(&mut self, heads: [Option<&Generation>; 2]) {
        let mut scratch = ReadScratch::default();
        for (id, slot) in self.ids.iter().zip(&mut self.slots) {
            for buffer in heads.into_iter().flatten().filter_map(|head| head.buffer(*id)) {
                if buffer.overlaps(self.ask.start, self.ask.end) {
                    buffer.read(self.ask.start, self.ask.end, &mut scratch, &mut slot.samples);
                }
            }
        }
    }

    /// Puts the series together.
    fn finish(mut self, parts: &[Part], heads: [Option<&Generation>; 2]) -> Result<Thinned, StorageError> {
        let mut out = Thinned::default();
        let mut series = Assembly::new(self.table, &self.ask);
        let mut tangled = Vec::new();
        for (i, (id, slot)) in self.ids.iter().zip(&mut self.slots).enumerate() {
            if i % 256 == 0 {
                self.ctx.check()?;
            }
            let mut slot = std::mem::take(slot);
            if slot.assemble(&self.ask) {
                out.found.extend(series.of(*id, slot.entries, !slot.spans.is_empty()));
            } else if slot.rest == Some(Rest::Whole) {
                out.whole.push(*id);
            } else {
                tangled.push(*id);
            }
        }
        let places = Places { table: self.table, parts, heads, ctx: self.ctx };
        places.untangle(&self.ask, &tangled, |id, entries| match entries {
            Some(entries) => out.found.extend(series.of(id, entries, true)),
            None => out.whole.push(id),
        })?;
        for _ in &out.found {
            count(0, self.ctx)?;
        }
        Ok(out)
    }
}

/// Makes series of entries.
struct Assembly<'a> {
    table: &'a MetricsTable,
    ask: Ask,
    ranks: Arc<Vec<u32>>,
    has_starts: bool,
    times: Times,
}

impl<'a> Assembly<'a> {
    fn new(table: &'a MetricsTable, ask: &Ask) -> Self {
        let has_starts = !table.starts.read().is_empty();
        Self { table, ask: *ask, ranks: table.ranks(By::Labels), has_starts, times: Times::default() }
    }

    /// A series with its rank; `is_thinned`: its entries may stand for more samples than they are.
    fn of(&mut self, id: u32, entries: Entries, is_thinned: bool) -> Option<(u32, Series)> {
        let Entries { times, values, digest } = entries;
        if times.is_empty() {
            return None;
        }
        let labels = self.table.registry.read().labels(id);
        let starts = if self.has_starts { self.table.starts.read().of(id, self.ask.start, self.ask.end) } else { Vec::new() };
        let timestamps = self.times.share(&times);
        let digest = is_thinned.then(|| Box::new(digest));
        let rank = self.ranks.get(id as usize).copied().unwrap_or(u32::MAX);
        Some((rank, Series { labels, timestamps, values, starts, digest, ..Series::default() }))
    }
}

impl MetricsTable {
    /// Series for windows, with rollups where these do.
    pub(in crate::metrics) fn select_rollups(
        &self,
        ids: Vec<u32>,
        select: &Select<'_>,
        windows: &WindowHint<'_>,
        ctx: &QueryContext,
    ) -> Result<Ranked, QueryError> {
        let Some(Thinned { mut found, whole }) = self.thinned(&ids, select, windows, ctx)? else { return self.select_ids(ids, select, ctx) };
        if !whole.is_empty() {
            found.extend(self.select_ids(whole, select, ctx)?);
        }
        Ok(found)
    }

    /// Whether rollups are of use for these windows.
    pub(in crate::metrics) fn rollups_serve(&self, select: &Select<'_>, windows: &WindowHint<'_>) -> bool {
        self.parts(&self.state.read().files, select, &Cuts::of(windows)).is_some()
    }

    /// Samples files in the range with their rollups; `None` when none of these is of use.
    fn parts(&self, all: &[Arc<FileMeta>], select: &Select<'_>, cuts: &Cuts) -> Option<Vec<Part>> {
        if !self.rollups || select.end.saturating_sub(select.start) < BUCKET {
            return None;
        }
        let is_samples = |f: &&Arc<FileMeta>| f.file.table == SAMPLES && !f.is_damaged() && in_range(f, select.start, select.end);
        let files: Vec<&Arc<FileMeta>> = all.iter().filter(is_samples).collect();
        if files.iter().all(|f| cuts.cut(millis(f))) {
            return None;
        }
        let rollups = all.iter().filter(|f| f.file.table == ROLLUPS && !f.is_damaged());
        let rollups: HashMap<&str, &Arc<FileMeta>> = rollups.filter_map(|f| origin_of(f).map(|of| (of, f))).collect();
        let part = |samples: &Arc<FileMeta>| {
            let rollup = rollups.get(&samples.file.path[..]).filter(|_| !cuts.cut(millis(samples))).map(|r| Arc::clone(r));
            Part { samples: Arc::clone(samples), rollup }
        };
        let parts: Vec<Part> = files.into_iter().map(part).collect();
        parts.iter().any(|part| part.rollup.is_some()).then_some(parts)
    }

    /// `None` when rollups are of no use for these windows.
    fn thinned(&self, ids: &[u32], select: &Select<'_>, windows: &WindowHint<'_>, ctx: &QueryContext) -> Result<Option<Thinned>, QueryError> {
        let (start, end) = (select.start, select.end);
        if ids.is_empty() {
            return Ok(None);
        }
        let cuts = Cuts::of(windows);
        let state = self.settled();
        let Some(parts) = self.parts(&state.files, select, &cuts) else { return Ok(None) };
        let sealed = state.sealed.clone();
        let open = state.open.extract(ids, start, end);
        drop(state);
        let ask = Ask { need: windows.need, start, end, reach: cuts.reach };
        let mut reading = Reading::new(self, ask, ids, ctx);
        for id in self.present_histograms(ids, start, end, ctx).map_err(storage_error)? {
            if let Some(slot) = reading.slot_of.get(id as usize).and_then(|at| reading.slots.get_mut(*at as usize)) {
                slot.rest = Some(Rest::Whole);
            }
        }
        let wanted = Wanted::new(ids);
        for part in &parts {
            ctx.check()?;
            let read = match &part.rollup {
                Some(rollup) => reading.rollup(&wanted, rollup),
                None => reading.samples(&wanted, &part.samples),
            };
            if let Err(error) = read {
                set_aside(&parts, error)?;
                // What was read of it is among the rest: from the beginning, without it.
                return self.thinned(ids, select, windows, ctx);
            }
            // Gauges asked for their rate: samples are needed of every hour.
            if reading.unclear * 2 > ids.len() {
                return Ok(None);
            }
        }
        let heads = [sealed.as_deref(), Some(&open)];
        reading.heads(heads);
        match reading.finish(&parts, heads) {
            Ok(thinned) => Ok(Some(thinned)),
            Err(error) => {
                set_aside(&parts, error)?;
                self.thinned(ids, select, windows, ctx)
            }
        }
    }
}

/// Takes the file that an error is about out of all further reading; other errors are given back.
fn set_aside(parts: &[Part], error: StorageError) -> Result<(), QueryError> {
    let mut files = parts.iter().flat_map(|part| [Some(&part.samples), part.rollup.as_ref()]).flatten();
    let is_about = |file: &&Arc<FileMeta>| matches!(&error, StorageError::Damaged { path, .. } if *path == file.file.path);
    match files.find(is_about) {
        Some(file) => file.set_aside(error).map_err(storage_error),
        None => Err(storage_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_cut_through_buckets() {
        let cuts = |need, ends: &[i64], range| Cuts::of(&WindowHint { need, ends, range });
        let (hour, quarter) = (BUCKET, BUCKET / 4);
        assert_eq!(cuts(Need::Sum, &[2 * hour, 3 * hour], hour), Cuts { times: vec![], reach: 0 });
        assert_eq!(cuts(Need::Last, &[2 * hour], quarter), Cuts { times: vec![], reach: 0 });
        assert_eq!(cuts(Need::Sum, &[2 * hour], quarter), Cuts { times: vec![2 * hour - quarter], reach: 0 });
        assert_eq!(cuts(Need::Counter, &[2 * hour], hour + 15_000), Cuts { times: vec![], reach: 15_000 });
        assert_eq!(cuts(Need::Counter, &[2 * hour], quarter), Cuts { times: vec![2 * hour - quarter], reach: 0 });
        let unaligned = cuts(Need::Counter, &[9 * hour + 5], 4 * hour + 2);
        assert_eq!(unaligned, Cuts { times: vec![5 * hour + 3, 9 * hour + 5], reach: 0 });
        for (file, cut) in [
            ((hour + 1, 5 * hour), false),
            ((hour + 1, 5 * hour + 1), true),
            ((6 * hour + 1, 9 * hour), false),
            ((6 * hour, 6 * hour), true),
            ((9 * hour, 9 * hour + 1), true),
            ((10 * hour + 1, 11 * hour), false),
        ] {
            assert_eq!(unaligned.cut(file), cut, "{file:?}");
        }
    }
}
