//! Adding and replacing files: one transaction, one snapshot.

use std::sync::Arc;

use skopos_model::Signal;
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::schema::{Known, write_schemas};
use super::{Database, SnapshotState, begin, insert_snapshot, latest_snapshot};
use crate::error::StorageError;
use crate::table::{FileMeta, NewFile, Schema, View};

/// Rows of statistics in one statement: SQLite takes 32,766 parameters.
const STATS_ROWS: usize = 500;

/// A change of the catalog, taken as a whole or not at all.
#[derive(Debug, Default)]
pub(crate) struct Commit<'a> {
    /// Files that join.
    pub(crate) add: &'a [NewFile],
    /// When the newest of their rows arrived, Unix nanoseconds: what retention goes by.
    pub(crate) created: i64,
    /// Files (by id) that leave; they stay readable for snapshots that have them.
    pub(crate) remove: &'a [Arc<FileMeta>],
    /// How far in the log each of these signals is in files now.
    pub(crate) positions: &'a [(Signal, u64)],
    /// Schemas of the tables: columns that are new are written.
    pub(crate) schemas: &'a [Arc<Schema>],
    /// Views over them: those whose SQL has changed are written anew.
    pub(crate) views: &'a [View],
}

/// Why a commit did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    /// Nothing of it is in the catalog.
    #[error(transparent)]
    Refused(#[from] StorageError),
    /// The database failed so that nobody can say whether it is in the catalog.
    #[error("outcome unknown: {0}")]
    Unknown(StorageError),
}

impl From<CommitError> for StorageError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Refused(error) | CommitError::Unknown(error) => error,
        }
    }
}

impl Database {
    /// Commits. `now`: Unix nanoseconds.
    pub(crate) async fn commit(&self, commit: &Commit<'_>, now: i64) -> Result<Vec<Arc<FileMeta>>, CommitError> {
        let mut connected = self.writer().await;
        let connection = connected.get()?;
        let mut known = self.known.lock().clone();
        let mut tx = begin(connection).await?;
        let mut state = latest_snapshot(&mut tx).await?;
        state.id += 1;
        let metas = write(&mut tx, commit, &mut known, &mut state, now).await?;
        if let Err(error) = tx.commit().await {
            // The disk may have failed after the commit had been written: only the database knows.
            match landed(connection, state.id, &metas).await {
                Ok(true) => {}
                Ok(false) => return Err(CommitError::Refused(error.into())),
                Err(_) => return Err(CommitError::Unknown(error.into())),
            }
        }
        *self.known.lock() = known;
        Ok(metas)
    }
}

/// Whether the snapshot is in the catalog, with the files under the ids they were to get. (A commit without files
/// that changes nothing but a position may be repeated: it counts as not landed.)
async fn landed(connection: &mut SqliteConnection, snapshot: i64, metas: &[Arc<FileMeta>]) -> Result<bool, StorageError> {
    let row = sqlx::query("SELECT count(*) FROM ducklake_snapshot WHERE snapshot_id = ?").bind(snapshot).fetch_one(&mut *connection).await?;
    if row.get::<i64, _>(0) == 0 {
        return Ok(false);
    }
    for meta in metas {
        let row = sqlx::query("SELECT count(*) FROM ducklake_data_file WHERE data_file_id = ? AND path = ?")
            .bind(meta.id)
            .bind(&meta.file.path)
            .fetch_one(&mut *connection)
            .await?;
        if row.get::<i64, _>(0) == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn write(
    connection: &mut SqliteConnection,
    commit: &Commit<'_>,
    known: &mut Known,
    state: &mut SnapshotState,
    now: i64,
) -> Result<Vec<Arc<FileMeta>>, StorageError> {
    for (signal, seq) in commit.positions {
        sqlx::query(
            "INSERT INTO skopos_wal_position (signal, seq) VALUES (?, ?) \
             ON CONFLICT (signal) DO UPDATE SET seq = max(seq, excluded.seq)",
        )
        .bind(signal.as_str())
        .bind(*seq as i64)
        .execute(&mut *connection)
        .await?;
    }
    let mut changes = Vec::new();
    if !commit.add.is_empty() {
        write_schemas(connection, known, commit.schemas, commit.views, state, &mut changes, now).await?;
    }
    let mut metas = Vec::with_capacity(commit.add.len());
    for file in commit.add {
        let table_id = known
            .tables
            .get(file.table)
            .map(|t| t.id)
            .ok_or_else(|| StorageError::Catalog { path: file.path.clone(), reason: format!("its table {} is not in the catalog", file.table) })?;
        let id = state.next_file_id;
        state.next_file_id += 1;
        insert_file(connection, file, id, table_id, state.id, commit.created).await?;
        note(&mut changes, format!("inserted_into_table:{table_id}"));
        metas.push(Arc::new(FileMeta::new(id, file.clone(), commit.created)));
    }
    for meta in commit.remove {
        let ended = sqlx::query("UPDATE ducklake_data_file SET end_snapshot = ? WHERE data_file_id = ? AND end_snapshot IS NULL RETURNING table_id")
            .bind(state.id)
            .bind(meta.id)
            .fetch_optional(&mut *connection)
            .await?;
        let Some(ended) = ended else {
            // Another tool has removed it: merging it would bring its rows back.
            return Err(StorageError::Catalog {
                path: meta.file.path.clone(),
                reason: "the file to be replaced is not in force any more".to_owned(),
            });
        };
        let table_id: i64 = ended.get(0);
        sqlx::query("UPDATE ducklake_table_stats SET record_count = record_count - ?, file_size_bytes = file_size_bytes - ? WHERE table_id = ?")
            .bind(meta.file.rows as i64)
            .bind(meta.file.bytes as i64)
            .bind(table_id)
            .execute(&mut *connection)
            .await?;
        note(&mut changes, format!("deleted_from_table:{table_id}"));
    }
    if !changes.is_empty() {
        insert_snapshot(connection, *state, &changes, now).await?;
    }
    Ok(metas)
}

fn note(changes: &mut Vec<String>, change: String) {
    if !changes.contains(&change) {
        changes.push(change);
    }
}

async fn insert_file(
    connection: &mut SqliteConnection,
    file: &NewFile,
    id: i64,
    table_id: i64,
    snapshot: i64,
    created: i64,
) -> Result<(), StorageError> {
    let first_row = sqlx::query(
        "UPDATE ducklake_table_stats SET record_count = record_count + ?1, next_row_id = next_row_id + ?1, \
         file_size_bytes = file_size_bytes + ?2 WHERE table_id = ?3 RETURNING next_row_id - ?1",
    )
    .bind(file.rows as i64)
    .bind(file.bytes as i64)
    .bind(table_id)
    .fetch_one(&mut *connection)
    .await?
    .get::<i64, _>(0);
    sqlx::query(
        "INSERT INTO ducklake_data_file (data_file_id, table_id, begin_snapshot, path, path_is_relative, file_format, record_count, \
         file_size_bytes, footer_size, row_id_start) VALUES (?, ?, ?, ?, 1, 'parquet', ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(table_id)
    .bind(snapshot)
    .bind(&file.path)
    .bind(file.rows as i64)
    .bind(file.bytes as i64)
    .bind(file.footer_bytes as i64)
    .bind(first_row)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO skopos_file (data_file_id, created, level, time_min, time_max, seq_min, seq_max, extra) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(created)
    .bind(i64::from(file.level))
    .bind(file.time_min)
    .bind(file.time_max)
    .bind(file.seq_min as i64)
    .bind(file.seq_max as i64)
    .bind(file.extra.to_string())
    .execute(&mut *connection)
    .await?;
    for some in file.columns.chunks(STATS_ROWS) {
        let mut insert: QueryBuilder<Sqlite> = QueryBuilder::new(
            "INSERT INTO ducklake_file_column_stats (data_file_id, table_id, column_id, column_size_bytes, value_count, null_count, \
             min_value, max_value, contains_nan) ",
        );
        insert.push_values(some, |mut row, column| {
            row.push_bind(id)
                .push_bind(table_id)
                .push_bind(column.column_id)
                .push_bind(column.size_bytes as i64)
                .push_bind(column.value_count as i64)
                .push_bind(column.null_count as i64)
                .push_bind(column.min.as_deref())
                .push_bind(column.max.as_deref())
                .push_bind(column.contains_nan);
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}
