//! Snapshots that no reader needs any more, and the files only they had.

use sqlx::Row;

use super::{Database, begin, time};
use crate::error::StorageError;

impl Database {
    /// Forgets snapshots that were replaced by a newer one at `before` (Unix nanoseconds) or earlier, and schedules for
    /// deletion the files that no remaining snapshot has.
    pub(crate) async fn expire(&self, before: i64, now: i64) -> Result<(), StorageError> {
        let mut connected = self.writer().await;
        let mut tx = begin(connected.get()?).await?;
        // The first one to keep: the newest that was already there at `before`. Times are of one form and zone,
        // so they compare as text.
        let keep: i64 = sqlx::query(
            "SELECT coalesce((SELECT max(snapshot_id) FROM ducklake_snapshot WHERE snapshot_time <= ?), (SELECT min(snapshot_id) FROM ducklake_snapshot))",
        )
        .bind(time::snapshot_time(before))
        .fetch_one(&mut *tx)
        .await?
        .get(0);
        let gone = sqlx::query("DELETE FROM ducklake_snapshot WHERE snapshot_id < ?").bind(keep).execute(&mut *tx).await?.rows_affected();
        if gone == 0 {
            return Ok(());
        }
        sqlx::query("DELETE FROM ducklake_snapshot_changes WHERE snapshot_id < ?").bind(keep).execute(&mut *tx).await?;
        sqlx::query(
            "INSERT INTO ducklake_files_scheduled_for_deletion (data_file_id, path, path_is_relative, schedule_start) \
             SELECT data_file_id, path, path_is_relative, ? FROM ducklake_data_file WHERE end_snapshot <= ?",
        )
        .bind(time::snapshot_time(now))
        .bind(keep)
        .execute(&mut *tx)
        .await?;
        for sql in [
            "DELETE FROM ducklake_file_column_stats WHERE data_file_id IN (SELECT data_file_id FROM ducklake_data_file WHERE end_snapshot <= ?)",
            "DELETE FROM skopos_file WHERE data_file_id IN (SELECT data_file_id FROM ducklake_data_file WHERE end_snapshot <= ?)",
            "DELETE FROM ducklake_data_file WHERE end_snapshot <= ?",
            "DELETE FROM ducklake_view WHERE end_snapshot <= ?",
        ] {
            sqlx::query(sql).bind(keep).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Files that are to be deleted: id and path.
    pub(crate) async fn scheduled_deletions(&self) -> Result<Vec<(i64, String)>, StorageError> {
        let mut connected = self.writer().await;
        let rows = sqlx::query("SELECT data_file_id, path FROM ducklake_files_scheduled_for_deletion").fetch_all(connected.get()?).await?;
        Ok(rows.into_iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Notes that files are gone.
    pub(crate) async fn deleted(&self, ids: &[i64]) -> Result<(), StorageError> {
        let mut connected = self.writer().await;
        let mut tx = begin(connected.get()?).await?;
        for id in ids {
            sqlx::query("DELETE FROM ducklake_files_scheduled_for_deletion WHERE data_file_id = ?").bind(id).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
