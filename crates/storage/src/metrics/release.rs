//! Series that have ended, and of which nothing is stored any more, leave memory.
//!
//! Labels are kept as long as a sample, a histogram or an exemplar of their series is. That takes two looks: at the first
//! the series that no file and no head has are marked and the cache of wire bytes is let go, so that whoever sends one
//! of them again is met by the registry, which takes the mark off; at the second, when all that was being decoded or
//! queried at the first has long ended, those still marked and still nowhere leave.

use std::collections::HashSet;
use std::sync::Arc;

use super::order::{By, Order};
use super::{EXEMPLARS, HISTOGRAMS, MetricsTable, SAMPLES, small};
use crate::error::StorageError;
use crate::table::FileMeta;

/// Time between two looks, nanoseconds. Reading where the series of all files are costs something.
const LOOK_EVERY: i64 = 3_600_000_000_000;
/// Least time between mark and leave, nanoseconds: longer than any request or query takes.
const GRACE: i64 = 900_000_000_000;
/// Pause before a look is tried again that met a change of files, nanoseconds.
const AGAIN: i64 = 60_000_000_000;

/// When to look next, and what was found at the last look.
#[derive(Debug, Default)]
pub(super) struct Release {
    /// Unix nanoseconds.
    next: i64,
    /// When the marks were set.
    marked: Option<i64>,
}

/// Which numbers are in use.
#[derive(Debug, Default)]
pub(super) struct Numbers(Vec<u64>);

impl Numbers {
    pub(super) fn insert(&mut self, number: u32) {
        let word = number as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

impl MetricsTable {
    /// Lets go of the labels of series of which nothing is stored; how many left. To be called now and then; most calls
    /// do nothing. `now`: Unix nanoseconds.
    pub(super) fn release_ended(&self, now: i64) -> Result<usize, StorageError> {
        let mut release = self.release.lock();
        if now < release.next {
            return Ok(0);
        }
        release.next = now.saturating_add(AGAIN);
        let files: Vec<Arc<FileMeta>> = self.state.read().files.iter().filter(|f| has_series(f)).map(Arc::clone).collect();
        if files.iter().any(|file| file.is_damaged()) {
            // Somebody may bring it back, and wants to know its series then.
            return Ok(0);
        }
        let mut used = Numbers::default();
        for meta in &files {
            if let Err(error) = self.series_of(meta, &mut used) {
                meta.set_aside(error)?;
                return Ok(0);
            }
        }
        // In this order: a request that is decoded holds the cache and takes the registry.
        let mut raw = self.raw.lock();
        let state = self.settled();
        let known: HashSet<i64> = files.iter().map(|file| file.id).collect();
        if state.files.iter().any(|file| has_series(file) && !known.contains(&file.id)) {
            return Ok(0);
        }
        for head in state.sealed.iter().map(Arc::as_ref).chain([&state.open]) {
            head.buffers().iter().for_each(|buffer| used.insert(buffer.series));
            head.histograms.ids().for_each(|series| used.insert(series));
            head.exemplars.iter().for_each(|(series, _)| used.insert(series.0));
            head.starts.iter().for_each(|row| used.insert(row.0.0));
        }
        let mut registry = self.registry.write();
        let mut left = 0;
        match release.marked {
            Some(marked) if now.saturating_sub(marked) < GRACE => {}
            Some(_) => {
                left = registry.release(&used);
                release.marked = None;
                release.next = now.saturating_add(LOOK_EVERY);
                if left > 0 {
                    self.starts.write().retain(|series| registry.contains(series));
                    for (order, by) in [(&self.file_order, By::File), (&self.label_order, By::Labels)] {
                        *order.lock() = Order::new(by);
                    }
                    tracing::info!(series = left, known = registry.len(), "ended series left memory: nothing of them is stored any more");
                }
            }
            None if registry.mark(&used) > 0 => {
                *raw = super::resolver::RawCache::default();
                release.marked = Some(now);
            }
            None => release.next = now.saturating_add(LOOK_EVERY),
        }
        Ok(left)
    }
}

impl MetricsTable {
    /// Adds the numbers of the series a file has.
    fn series_of(&self, meta: &Arc<FileMeta>, used: &mut Numbers) -> Result<(), StorageError> {
        match meta.file.table {
            SAMPLES => self.open_samples(meta)?.index.runs.iter().for_each(|run| used.insert(run.series)),
            HISTOGRAMS => self.open_histograms(meta)?.series().for_each(|series| used.insert(series)),
            _ => small::exemplars::read(meta, &*self.blobs)?.iter().for_each(|(series, _)| used.insert(series.0)),
        }
        Ok(())
    }
}

fn has_series(file: &FileMeta) -> bool {
    [SAMPLES, HISTOGRAMS, EXEMPLARS].contains(&file.file.table)
}
