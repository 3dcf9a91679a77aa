//! What is in force, read at start.

use std::collections::HashMap;

use skopos_model::Signal;
use sqlx::Row;

use super::Database;
use crate::error::StorageError;
use crate::table::{ColumnStats, NewFile};

/// A file in force.
#[derive(Debug)]
pub(crate) struct StoredFile {
    pub(crate) id: i64,
    pub(crate) created: i64,
    pub(crate) file: NewFile,
}

impl Database {
    /// How far in the log each signal is in files.
    pub(crate) async fn positions(&self) -> Result<HashMap<Signal, u64>, StorageError> {
        let mut connected = self.reader().await;
        let rows = sqlx::query("SELECT signal, seq FROM skopos_wal_position").fetch_all(connected.get()?).await?;
        let signals = [Signal::Logs, Signal::Traces, Signal::Metrics];
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let name: String = row.get(0);
                Some((signals.into_iter().find(|s| s.as_str() == name)?, row.get::<i64, _>(1) as u64))
            })
            .collect())
    }

    /// Files of a base table that are in force, with their statistics.
    pub(crate) async fn files(&self, table: &'static str) -> Result<Vec<StoredFile>, StorageError> {
        let mut connected = self.reader().await;
        let connection = connected.get()?;
        let mut columns: HashMap<i64, Vec<ColumnStats>> = HashMap::new();
        let stats = sqlx::query(
            "SELECT s.data_file_id, s.column_id, s.column_size_bytes, s.value_count, s.null_count, s.min_value, s.max_value, s.contains_nan \
             FROM ducklake_data_file f JOIN ducklake_table t ON t.table_id = f.table_id AND t.end_snapshot IS NULL \
             JOIN ducklake_file_column_stats s ON s.data_file_id = f.data_file_id \
             WHERE t.table_name = ? AND f.end_snapshot IS NULL ORDER BY s.data_file_id, s.column_id",
        )
        .bind(table)
        .fetch_all(&mut *connection)
        .await?;
        for row in stats {
            columns.entry(row.get(0)).or_default().push(ColumnStats {
                column_id: row.get::<i64, _>(1) as i32,
                size_bytes: row.get::<i64, _>(2) as u64,
                value_count: row.get::<i64, _>(3) as u64,
                null_count: row.get::<i64, _>(4) as u64,
                min: row.get(5),
                max: row.get(6),
                contains_nan: row.get(7),
            });
        }
        let rows = sqlx::query(
            "SELECT f.data_file_id, f.path, f.file_size_bytes, f.footer_size, f.record_count, \
             s.created, s.level, s.time_min, s.time_max, s.seq_min, s.seq_max, s.extra \
             FROM ducklake_data_file f JOIN ducklake_table t ON t.table_id = f.table_id AND t.end_snapshot IS NULL \
             JOIN skopos_file s ON s.data_file_id = f.data_file_id \
             WHERE t.table_name = ? AND f.end_snapshot IS NULL ORDER BY f.data_file_id",
        )
        .bind(table)
        .fetch_all(connection)
        .await?;
        rows.into_iter()
            .map(|row| {
                let id: i64 = row.get(0);
                let path: String = row.get(1);
                let extra = serde_json::from_str(row.get(11))
                    .map_err(|e| StorageError::Catalog { path: path.clone(), reason: format!("its facts are no JSON: {e}") })?;
                let unsigned = |at: usize| row.get::<i64, _>(at) as u64;
                let file = NewFile {
                    table,
                    bytes: unsigned(2),
                    footer_bytes: unsigned(3),
                    rows: unsigned(4),
                    level: row.get::<i64, _>(6) as u8,
                    time_min: row.get(7),
                    time_max: row.get(8),
                    seq_min: unsigned(9),
                    seq_max: unsigned(10),
                    columns: columns.remove(&id).unwrap_or_default(),
                    extra,
                    path,
                };
                Ok(StoredFile { id, created: row.get(5), file })
            })
            .collect()
    }

    /// Paths of all files that any snapshot has.
    pub(crate) async fn all_paths(&self) -> Result<std::collections::HashSet<String>, StorageError> {
        let mut connected = self.reader().await;
        let rows = sqlx::query("SELECT path FROM ducklake_data_file").fetch_all(connected.get()?).await?;
        Ok(rows.into_iter().map(|row| row.get(0)).collect())
    }
}
