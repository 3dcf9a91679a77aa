//! Documents and journal; see [`crate::state`].

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{Database, begin};
use crate::error::StorageError;
use crate::state::{Document, Expect, JournalEntry, JournalQuery, StateError, StateWrite};

fn json(text: &str, what: &str) -> Result<serde_json::Value, StorageError> {
    serde_json::from_str(text).map_err(|e| StorageError::Database(format!("{what} is no JSON: {e}")))
}

fn document(row: &SqliteRow) -> Result<Document, StorageError> {
    let (kind, key): (String, String) = (row.get(0), row.get(1));
    let body = json(row.get(4), &format!("{kind} {key:?}"))?;
    Ok(Document { kind, key, version: row.get::<i64, _>(2) as u64, updated: row.get(3), body })
}

impl Database {
    pub(crate) async fn document(&self, kind: &str, key: &str) -> Result<Option<Document>, StorageError> {
        let mut connected = self.reader().await;
        let row = sqlx::query("SELECT kind, key, version, updated, body FROM skopos_document WHERE kind = ? AND key = ?")
            .bind(kind)
            .bind(key)
            .fetch_optional(connected.get()?)
            .await?;
        row.as_ref().map(document).transpose()
    }

    pub(crate) async fn documents(&self, kind: &str) -> Result<Vec<Document>, StorageError> {
        let mut connected = self.reader().await;
        let rows = sqlx::query("SELECT kind, key, version, updated, body FROM skopos_document WHERE kind = ? ORDER BY key")
            .bind(kind)
            .fetch_all(connected.get()?)
            .await?;
        rows.iter().map(document).collect()
    }

    pub(crate) async fn journal(&self, query: &JournalQuery) -> Result<Vec<JournalEntry>, StorageError> {
        let mut sql: QueryBuilder<Sqlite> = QueryBuilder::new("SELECT seq, kind, ref, at, body FROM skopos_journal WHERE seq > ");
        sql.push_bind(i64::try_from(query.after).unwrap_or(i64::MAX));
        if let Some(kind) = &query.kind {
            sql.push(" AND kind = ").push_bind(kind);
        }
        if let Some(reference) = &query.reference {
            sql.push(" AND ref = ").push_bind(reference);
        }
        sql.push(" AND at >= ").push_bind(query.from).push(" AND at < ").push_bind(query.until);
        sql.push(if query.backward { " ORDER BY seq DESC LIMIT " } else { " ORDER BY seq LIMIT " }).push_bind(query.limit);
        let mut connected = self.reader().await;
        let rows = sql.build().fetch_all(connected.get()?).await?;
        rows.iter()
            .map(|row| {
                let seq = row.get::<i64, _>(0) as u64;
                let body = json(row.get(4), &format!("journal entry {seq}"))?;
                Ok(JournalEntry { seq, kind: row.get(1), reference: row.get(2), at: row.get(3), body })
            })
            .collect()
    }

    pub(crate) async fn write_state(&self, writes: Vec<StateWrite>, now: i64) -> Result<Vec<u64>, StateError> {
        let mut connected = self.writer().await;
        let mut tx = begin(connected.get()?).await?;
        let mut results = Vec::with_capacity(writes.len());
        for write in writes {
            results.push(write_one(&mut tx, write, now).await?);
        }
        tx.commit().await.map_err(StorageError::from)?;
        Ok(results)
    }
}

async fn write_one(connection: &mut SqliteConnection, write: StateWrite, now: i64) -> Result<u64, StateError> {
    let db = StorageError::from;
    match write {
        StateWrite::Put { kind, key, body, expect } => {
            let version = 1 + expected(connection, &kind, &key, expect).await?;
            sqlx::query(
                "INSERT INTO skopos_document (kind, key, version, updated, body) VALUES (?, ?, ?, ?, ?) \
                 ON CONFLICT (kind, key) DO UPDATE SET version = excluded.version, updated = excluded.updated, body = excluded.body",
            )
            .bind(kind)
            .bind(key)
            .bind(version as i64)
            .bind(now)
            .bind(body.to_string())
            .execute(connection)
            .await
            .map_err(db)?;
            Ok(version)
        }
        StateWrite::Delete { kind, key, expect } => {
            expected(connection, &kind, &key, expect).await?;
            sqlx::query("DELETE FROM skopos_document WHERE kind = ? AND key = ?").bind(kind).bind(key).execute(connection).await.map_err(db)?;
            Ok(0)
        }
        StateWrite::Journal { kind, reference, at, body } => {
            let row = sqlx::query("INSERT INTO skopos_journal (kind, ref, at, body) VALUES (?, ?, ?, ?) RETURNING seq")
                .bind(kind)
                .bind(reference)
                .bind(at)
                .bind(body.to_string())
                .fetch_one(connection)
                .await
                .map_err(db)?;
            Ok(row.get::<i64, _>(0) as u64)
        }
    }
}

/// The version that is there (0: none), if it is what was expected.
async fn expected(connection: &mut SqliteConnection, kind: &str, key: &str, expect: Expect) -> Result<u64, StateError> {
    let row = sqlx::query("SELECT version FROM skopos_document WHERE kind = ? AND key = ?")
        .bind(kind)
        .bind(key)
        .fetch_optional(connection)
        .await
        .map_err(StorageError::from)?;
    let found = row.map_or(0, |row| row.get::<i64, _>(0) as u64);
    let holds = match expect {
        Expect::Any => true,
        Expect::Absent => found == 0,
        Expect::Version(version) => found == version,
    };
    if !holds {
        return Err(StateError::Conflict { kind: kind.to_owned(), key: key.to_owned(), expected: expect, found });
    }
    Ok(found)
}
