//! The catalog: DuckLake 1.0 in SQLite, and our own tables (`skopos_…`) beside DuckLake's in the same database, so
//! that files, positions in the log and operational documents change in one transaction.
//!
//! Any DuckDB may attach it read-only while the server runs. One connection writes, one reads.

mod commit;
mod ddl;
mod documents;
mod expire;
mod load;
mod schema;
mod time;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, Row, Sqlite, Transaction};
use tokio::sync::{Mutex, MutexGuard};

pub(crate) use commit::{Commit, CommitError};

use crate::error::StorageError;

/// Version of the DuckLake format that is written; no other is accepted.
const DUCKLAKE_VERSION: &str = "1.0";

/// How long a statement waits for another process' lock (a DuckDB that checkpoints).
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether commits wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// `synchronous=FULL`.
    Full,
    /// For tests that model durability themselves: a commit is atomic, and lasts while the process does.
    #[cfg(test)]
    Process,
}

/// The catalog's database.
#[derive(Debug)]
pub(crate) struct Database {
    writer: Mutex<Option<SqliteConnection>>,
    reader: Mutex<Option<SqliteConnection>>,
    /// What DuckLake's tables hold of our schemas.
    known: parking_lot::Mutex<schema::Known>,
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.to_string())
    }
}

/// A connection in use; never empty before [`Database::close`].
struct Connected<'a>(MutexGuard<'a, Option<SqliteConnection>>);

impl Connected<'_> {
    fn get(&mut self) -> Result<&mut SqliteConnection, StorageError> {
        self.0.as_mut().ok_or_else(|| StorageError::Database("the catalog is closed".to_owned()))
    }
}

impl Database {
    /// Opens the catalog, creating it when it is not there. `tables`: folder of the data files. `now`: Unix
    /// nanoseconds.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] when it is of another version than this program writes.
    pub(crate) async fn open(path: &Path, tables: &Path, durability: Durability, now: i64) -> Result<Self, StorageError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(BUSY_TIMEOUT)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match durability {
                Durability::Full => SqliteSynchronous::Full,
                #[cfg(test)]
                Durability::Process => SqliteSynchronous::Off,
            });
        let mut writer = SqliteConnection::connect_with(&options).await?;
        ddl::create(&mut writer, path, tables, now).await?;
        let reader = SqliteConnection::connect_with(&options.create_if_missing(false)).await?;
        Ok(Self { writer: Mutex::new(Some(writer)), reader: Mutex::new(Some(reader)), known: parking_lot::Mutex::default() })
    }

    async fn writer(&self) -> Connected<'_> {
        Connected(self.writer.lock().await)
    }

    async fn reader(&self) -> Connected<'_> {
        Connected(self.reader.lock().await)
    }

    /// Moves what the write-ahead log of SQLite holds into the database and empties it.
    pub(crate) async fn checkpoint(&self) -> Result<(), StorageError> {
        let mut writer = self.writer().await;
        // A reader elsewhere may prevent it; then it happens later.
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(writer.get()?).await?;
        Ok(())
    }

    /// Checkpoints and leaves WAL mode, so that even a read-only folder can be attached. Ends all use.
    pub(crate) async fn close(&self) -> Result<(), StorageError> {
        if let Some(reader) = self.reader.lock().await.take() {
            reader.close().await?;
        }
        if let Some(mut writer) = self.writer.lock().await.take() {
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut writer).await?;
            // Fails while another process has it open: then it stays in WAL mode, which is no harm.
            if let Err(error) = sqlx::query("PRAGMA journal_mode=DELETE").execute(&mut writer).await {
                tracing::info!(%error, "the catalog stays in WAL mode: another process reads it");
            }
            writer.close().await?;
        }
        Ok(())
    }
}

async fn begin(connection: &mut SqliteConnection) -> Result<Transaction<'_, Sqlite>, StorageError> {
    Ok(connection.begin_with("BEGIN IMMEDIATE").await?)
}

/// The newest snapshot and the numbers that come next.
#[derive(Debug, Clone, Copy)]
struct SnapshotState {
    id: i64,
    schema_version: i64,
    next_catalog_id: i64,
    next_file_id: i64,
}

async fn latest_snapshot(connection: &mut SqliteConnection) -> Result<SnapshotState, StorageError> {
    let row =
        sqlx::query("SELECT snapshot_id, schema_version, next_catalog_id, next_file_id FROM ducklake_snapshot ORDER BY snapshot_id DESC LIMIT 1")
            .fetch_one(connection)
            .await?;
    Ok(SnapshotState { id: row.get(0), schema_version: row.get(1), next_catalog_id: row.get(2), next_file_id: row.get(3) })
}

/// Writes a snapshot and what it changed.
async fn insert_snapshot(connection: &mut SqliteConnection, state: SnapshotState, changes: &[String], now: i64) -> Result<(), StorageError> {
    sqlx::query("INSERT INTO ducklake_snapshot (snapshot_id, snapshot_time, schema_version, next_catalog_id, next_file_id) VALUES (?, ?, ?, ?, ?)")
        .bind(state.id)
        .bind(time::snapshot_time(now))
        .bind(state.schema_version)
        .bind(state.next_catalog_id)
        .bind(state.next_file_id)
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO ducklake_snapshot_changes (snapshot_id, changes_made, author) VALUES (?, ?, 'skopos')")
        .bind(state.id)
        .bind(changes.join(","))
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
