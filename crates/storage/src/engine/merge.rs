//! Small files become large ones.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Engine, Slot, blocking, nanos};
use crate::catalog::Commit;
use crate::error::StorageError;
use crate::table::{FileMeta, FileSwap};

/// Most merges of a table in one go: a plan that never ends is a defect, not work.
const MERGES_MAX: usize = 10_000;

impl Engine {
    /// Merges until the tables see nothing more to do; `full` asks for the final form.
    pub(super) async fn merge_all(&self, full: bool) -> Result<(), StorageError> {
        let mut result = Ok(());
        for slot in self.slots.iter() {
            result = self.merge_slot(slot, full).await.and(result);
        }
        result
    }

    async fn merge_slot(&self, slot: &Slot, full: bool) -> Result<(), StorageError> {
        let _one = slot.merging.lock().await;
        // With data coming in there is always one more file: the final form is that of what is there now.
        let most = if full { slot.table.files().len() + 2 } else { MERGES_MAX };
        for _ in 0..most {
            if slot.stopped.load(Ordering::SeqCst) {
                return Err(super::flush::uncertain(slot));
            }
            let now = self.clock.now_nanos();
            let Some(inputs) = slot.table.plan_merge(now, full).filter(|inputs| !inputs.is_empty()) else { return Ok(()) };
            if let Err(error) = self.merge_files(slot, inputs.clone(), now).await {
                // A damaged input would stop merging for ever: it is set aside, then the plan is another.
                if !self.set_aside_damaged(inputs).await? {
                    return Err(error);
                }
            }
        }
        if full {
            return Ok(());
        }
        Err(StorageError::Format { what: "cannot merge", reason: format!("files of {} do not settle", slot.signal.as_str()) })
    }

    async fn merge_files(&self, slot: &Slot, inputs: Vec<Arc<FileMeta>>, now: i64) -> Result<(), StorageError> {
        // Retention goes by the later of event and arrival time.
        let created = inputs.iter().map(|f| f.created).max().unwrap_or(now);
        let oldest = now.saturating_sub(nanos(slot.retention));
        let cutoff = if created < oldest { oldest } else { i64::MIN };
        let (table, blobs, files) = (Arc::clone(&slot.table), Arc::clone(&self.blobs), inputs.clone());
        let merged = self.encoder.run(move || table.merge(&files, cutoff, &*blobs)).await?;
        let views = slot.table.views();
        let commit = Commit { add: &merged, created, remove: &inputs, positions: &[], schemas: &slot.schemas, views: &views };
        self.replace(slot, &commit).await?;
        self.merges.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Commits a change that takes files away, and makes it visible. Queries that run on keep what they hold: from
    /// before the commit on, a file that anybody still has in hand is not deleted.
    pub(super) async fn replace(&self, slot: &Slot, commit: &Commit<'_>) -> Result<(), StorageError> {
        self.retired.lock().extend(commit.remove.iter().map(|file| (file.id, Arc::downgrade(file))));
        let add = self.commit(slot, commit).await?;
        slot.table.swap(FileSwap { add, remove: commit.remove.iter().map(|f| f.id).collect(), drop_sealed: false });
        Ok(())
    }

    /// Takes files whose footer does not parse out of sight. `false`: there was none among them.
    async fn set_aside_damaged(&self, files: Vec<Arc<FileMeta>>) -> Result<bool, StorageError> {
        let blobs = Arc::clone(&self.blobs);
        let damaged = blocking(move || {
            Ok(files.into_iter().filter_map(|f| super::recovery::check_file(&*blobs, &f.file).err().map(|e| (f, e))).collect::<Vec<_>>())
        })
        .await?;
        let found = !damaged.is_empty();
        for (file, error) in damaged {
            file.set_aside(error.into_damaged(&file.file.path))?;
        }
        Ok(found)
    }
}
