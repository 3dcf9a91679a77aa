//! What is old goes: rows, snapshots, files.

use std::sync::Arc;

use super::{Engine, blocking, nanos};
use crate::blob::Blobs;
use crate::catalog::Commit;
use crate::error::StorageError;
use crate::table::FileMeta;

impl Engine {
    /// Drops files all of whose rows are past their time.
    pub(super) async fn drop_old(&self) -> Result<(), StorageError> {
        let now = self.clock.now_nanos();
        for slot in self.slots.iter() {
            let _one = slot.merging.lock().await;
            let oldest = now.saturating_sub(nanos(slot.retention));
            let is_old = |f: &Arc<FileMeta>| f.created.max(f.file.time_max) < oldest && slot.table.expires(f);
            let old: Vec<_> = slot.table.files().into_iter().filter(is_old).collect();
            let table = Arc::clone(&slot.table);
            blocking(move || table.release(now)).await?;
            if old.is_empty() || slot.stopped.load(std::sync::atomic::Ordering::SeqCst) {
                continue;
            }
            self.replace(slot, &Commit { remove: &old, ..Commit::default() }).await?;
            tracing::info!(signal = slot.signal.as_str(), files = old.len(), "files past their retention were dropped");
        }
        Ok(())
    }

    /// Forgets snapshots that were replaced before `before` (Unix nanoseconds) and deletes the files only they had,
    /// except those a query still reads.
    pub(super) async fn expire(&self, before: i64) -> Result<(), StorageError> {
        self.database.expire(before, self.clock.now_nanos()).await?;
        self.delete_scheduled().await
    }

    async fn delete_scheduled(&self) -> Result<(), StorageError> {
        let mut scheduled = self.database.scheduled_deletions().await?;
        {
            let mut retired = self.retired.lock();
            retired.retain(|_, file| file.strong_count() > 0);
            scheduled.retain(|(id, _)| !retired.contains_key(id));
        }
        if scheduled.is_empty() {
            return Ok(());
        }
        let blobs = Arc::clone(&self.blobs);
        let deleted = blocking(move || {
            for (_, path) in &scheduled {
                blobs.delete(path)?;
            }
            Ok(scheduled.into_iter().map(|(id, _)| id).collect::<Vec<_>>())
        })
        .await?;
        self.database.deleted(&deleted).await
    }
}
