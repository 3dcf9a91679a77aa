//! Heads become files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skopos_model::Signal;

use super::{Engine, Slot, blocking, held_bytes, nanos};
use crate::blob::Blobs;
use crate::catalog::{Commit, CommitError};
use crate::error::StorageError;
use crate::table::{FileMeta, FileSwap, NewFile, Sealed};

/// What was cut off the head and is not in files yet: kept when a flush fails, for the next try.
#[derive(Debug, Default)]
pub(super) struct FlushState {
    sealed: Option<Sealed>,
}

/// Whether a head has enough rows for a file of good size. Samples are flushed by age and memory alone.
pub(super) fn is_large(slot: &Slot, rows_max: usize) -> bool {
    match slot.signal {
        Signal::Logs => slot.table.head().rows >= rows_max,
        // Of spans, half as many fill a row group, and take as much memory.
        Signal::Traces => slot.table.head().rows >= rows_max / 2,
        Signal::Metrics => false,
    }
}

impl Engine {
    /// Flushes heads that are large or old, and the largest when memory gets short.
    pub(super) async fn flush_due(&self) -> Result<(), StorageError> {
        let now = self.clock.now_nanos();
        let short = held_bytes(&self.slots) >= self.options.head_bytes_max / 2;
        let largest = self.slots.iter().max_by_key(|s| s.head_bytes.load(Ordering::Relaxed)).map(|s| s.signal);
        let mut result = Ok(());
        for slot in self.slots.iter() {
            let head = slot.table.head();
            let age = if slot.signal == Signal::Metrics { self.options.flush_age_metrics } else { self.options.flush_age };
            let is_old = head.since != 0 && now.saturating_sub(head.since) >= nanos(age);
            if is_old || is_large(slot, self.options.flush_rows) || (short && largest == Some(slot.signal)) {
                // One signal's trouble must not keep the others in memory.
                result = self.flush_slot(slot).await.map(|_| ()).and(result);
            }
        }
        result
    }

    /// Flushes all that is in the heads now.
    pub(crate) async fn flush_all(&self) -> Result<(), StorageError> {
        let mut result = Ok(());
        for slot in self.slots.iter() {
            // What an earlier flush has left goes first, then what has come since.
            for _ in 0..2 {
                match self.flush_slot(slot).await {
                    Ok(true) if slot.table.head().rows > 0 => {}
                    Ok(_) => break,
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                }
            }
        }
        self.wal.rotate();
        result.and(self.free_log().await)
    }

    /// Flushes one head. `false`: there was nothing in it.
    pub(super) async fn flush_slot(&self, slot: &Slot) -> Result<bool, StorageError> {
        let mut state = slot.flushing.lock().await;
        if slot.stopped.load(Ordering::SeqCst) {
            return Err(uncertain(slot));
        }
        if state.sealed.is_none() {
            state.sealed = slot.table.seal();
        }
        let Some(sealed) = state.sealed else { return Ok(false) };
        let (table, blobs) = (Arc::clone(&slot.table), Arc::clone(&self.blobs));
        let files = self.encoder.run(move || table.encode_sealed(&*blobs)).await?;
        let now = self.clock.now_nanos();
        let views = slot.table.views();
        let added = self
            .commit(
                slot,
                &Commit {
                    add: &files,
                    created: now,
                    remove: &[],
                    positions: &[(slot.signal, sealed.seq_max)],
                    schemas: &slot.schemas,
                    views: &views,
                },
            )
            .await?;
        slot.table.swap(FileSwap { add: added, remove: Vec::new(), drop_sealed: true });
        state.sealed = None;
        slot.position.fetch_max(sealed.seq_max, Ordering::SeqCst);
        slot.flushes.fetch_add(1, Ordering::Relaxed);
        slot.measure();
        self.room.notify_waiters();
        drop(state);
        self.free_log().await?;
        tracing::debug!(signal = slot.signal.as_str(), rows = sealed.rows, files = files.len(), "flushed");
        Ok(true)
    }

    /// Commits a change of one table's files. When it fails, files that were to join are removed.
    pub(super) async fn commit(&self, slot: &Slot, commit: &Commit<'_>) -> Result<Vec<Arc<FileMeta>>, StorageError> {
        match self.database.commit(commit, self.clock.now_nanos()).await {
            Ok(added) => Ok(added),
            Err(CommitError::Refused(error)) => {
                self.delete_new(commit.add).await;
                Err(error)
            }
            Err(CommitError::Unknown(error)) => {
                // Trying again could store the rows twice; the next start reads what is true.
                tracing::error!(%error, signal = slot.signal.as_str(), "outcome of a commit is unknown; flushing and merging stop until a restart");
                slot.stopped.store(true, Ordering::SeqCst);
                Err(error)
            }
        }
    }

    /// Removes files that did not get into the catalog; what cannot be removed now is at the next start.
    async fn delete_new(&self, files: &[NewFile]) {
        let (files, blobs) = (files.to_vec(), Arc::clone(&self.blobs));
        let deleted = blocking(move || files.iter().try_for_each(|file| blobs.delete(&file.path))).await;
        if let Err(error) = deleted {
            tracing::warn!(%error, "a file that is not in the catalog stays until the next start");
        }
    }
}

pub(super) fn uncertain(slot: &Slot) -> StorageError {
    StorageError::Database(format!("the outcome of a commit of {} is unknown; restart to find out", slot.signal.as_str()))
}
