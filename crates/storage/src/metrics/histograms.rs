//! Native histograms: in memory between two flushes, and in a table of their own.
//!
//! A row holds one histogram; its buckets are two lists, indexes and counts, of the buckets that have a count. Rows are
//! in order of series and time, so that those of a series are one range.

mod file;
mod head;
mod merge;
mod scan;

pub(super) use file::{HistogramsFile, write};
pub(super) use head::HistogramHead;
pub(super) use merge::merge;
pub(crate) use scan::HistogramsScan;

use std::collections::HashMap;
use std::sync::Arc;

use skopos_model::NativeHistogram;
use skopos_query::QueryContext;

use super::files::nanos;
use super::{HISTOGRAMS, MetricsTable};
use crate::error::StorageError;
use crate::table::FileMeta;

/// Histograms of one series by time, strictly ascending.
pub(super) type Rows = Vec<(i64, Arc<NativeHistogram>)>;

/// Sorts by time; of equal times the first stays.
fn settle(rows: &mut Rows) {
    rows.sort_by_key(|(time, _)| *time);
    rows.dedup_by_key(|(time, _)| *time);
}

impl MetricsTable {
    /// Opens a file of histograms; where its series are is kept for the next time.
    pub(super) fn open_histograms(&self, meta: &Arc<FileMeta>) -> Result<HistogramsFile, StorageError> {
        let known = self.indexes.lock().get(meta.id);
        let is_known = known.is_some();
        let file = HistogramsFile::open(meta, &*self.blobs, known)?;
        if !is_known {
            self.indexes.lock().put(meta.id, Arc::clone(&file.index));
        }
        Ok(file)
    }

    /// Files of histograms with rows in the closed range of milliseconds, and what the heads hold of these series.
    fn histogram_places(&self, ids: &[u32], start: i64, end: i64) -> (Vec<Arc<FileMeta>>, HashMap<u32, Rows>) {
        let state = self.state.read();
        let in_range = |f: &&Arc<FileMeta>| f.file.time_min <= nanos(end) && nanos(start) <= f.file.time_max;
        let files = state.files.iter().filter(|f| f.file.table == HISTOGRAMS && !f.is_damaged()).filter(in_range).map(Arc::clone).collect();
        let mut found: HashMap<u32, Rows> = HashMap::new();
        for head in state.sealed.iter().map(|s| &s.histograms).chain([&state.open.histograms]).filter(|h| !h.is_empty()) {
            for id in ids {
                head.read(*id, start, end, |row| found.entry(*id).or_default().push(row));
            }
        }
        (files, found)
    }

    /// Histograms of those of `ids` (ascending) that have some in the closed range of milliseconds. Of equal times the
    /// lowest WAL sequence wins.
    pub(super) fn gather_histograms(&self, ids: &[u32], start: i64, end: i64, ctx: &QueryContext) -> Result<HashMap<u32, Rows>, StorageError> {
        let (files, heads) = self.histogram_places(ids, start, end);
        let mut found: HashMap<u32, Rows> = HashMap::new();
        for meta in files {
            ctx.check()?;
            let read = self.open_histograms(&meta).and_then(|file| {
                let runs = file.runs(ids, start, end);
                file.read(&runs, |id, time, histogram| {
                    if start <= time && time <= end {
                        found.entry(id).or_default().push((time, Arc::new(histogram)));
                    }
                })
            });
            if let Err(error) = read {
                meta.set_aside(error)?;
            }
        }
        for (id, rows) in heads {
            found.entry(id).or_default().extend(rows);
        }
        found.values_mut().for_each(settle);
        Ok(found)
    }

    /// Those of `ids` (ascending) with a histogram in the closed range, as far as first and last times tell.
    pub(super) fn present_histograms(&self, ids: &[u32], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<u32>, StorageError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (files, heads) = self.histogram_places(ids, start, end);
        let mut found: Vec<u32> = heads.into_keys().collect();
        for meta in files {
            ctx.check()?;
            match self.open_histograms(&meta) {
                Ok(file) => found.extend(file.runs(ids, start, end).into_iter().map(|run| run.series)),
                Err(error) => meta.set_aside(error)?,
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}
