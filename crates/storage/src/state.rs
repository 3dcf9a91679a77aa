//! Operational documents and the journal: rules, alert states, silences, incidents, runbook runs.
//!
//! Documents are JSON under `(kind, key)` with a version; the journal is append-only. One [`StateStore::commit`]
//! is one transaction, synced before it returns: a transition is persisted before its effect.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::BoxFuture;
use crate::catalog::Database;
use crate::error::StorageError;

/// A document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// What it is (`silence`, `alert`, …).
    pub kind: String,
    /// Its name among its kind.
    pub key: String,
    /// Counts its changes, from 1.
    pub version: u64,
    /// When it was last written, Unix nanoseconds.
    pub updated: i64,
    /// Content.
    pub body: Value,
}

/// What a write expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expect {
    /// Whatever is there.
    #[default]
    Any,
    /// Nothing.
    Absent,
    /// This version.
    Version(u64),
}

/// One write of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum StateWrite {
    /// Writes a document.
    Put {
        /// Kind.
        kind: String,
        /// Key.
        key: String,
        /// Content.
        body: Value,
        /// What has to be there, or the whole transaction is refused.
        expect: Expect,
    },
    /// Removes a document; one that is not there is no error unless a version is expected.
    Delete {
        /// Kind.
        kind: String,
        /// Key.
        key: String,
        /// What has to be there, or the whole transaction is refused.
        expect: Expect,
    },
    /// Appends to the journal.
    Journal {
        /// Kind of entry.
        kind: String,
        /// What it is about (an incident's id, an alert's fingerprint).
        reference: String,
        /// When it happened, Unix nanoseconds.
        at: i64,
        /// Content.
        body: Value,
    },
}

/// An entry of the journal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JournalEntry {
    /// Place in the journal; ascending, never reused.
    pub seq: u64,
    /// Kind of entry.
    pub kind: String,
    /// What it is about.
    #[serde(rename = "ref")]
    pub reference: String,
    /// When it happened, Unix nanoseconds.
    pub at: i64,
    /// Content.
    pub body: Value,
}

/// Which entries of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalQuery {
    /// Of this kind only.
    pub kind: Option<String>,
    /// About this only.
    pub reference: Option<String>,
    /// After this place in the journal (0: from the start).
    pub after: u64,
    /// First time, Unix nanoseconds, inclusive.
    pub from: i64,
    /// Last time, Unix nanoseconds, exclusive.
    pub until: i64,
    /// Most entries.
    pub limit: u32,
    /// Newest first.
    pub backward: bool,
}

impl Default for JournalQuery {
    fn default() -> Self {
        Self { kind: None, reference: None, after: 0, from: i64::MIN, until: i64::MAX, limit: 1000, backward: false }
    }
}

/// Why a transaction was not taken. Nothing of it happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another writer was first.
    #[error("{kind} {key:?} is at version {found}, {expected:?} was expected")]
    Conflict {
        /// Kind.
        kind: String,
        /// Key.
        key: String,
        /// What the write expected.
        expected: Expect,
        /// What is there, 0 when nothing.
        found: u64,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Documents and journal in the catalog's database.
#[derive(Debug, Clone)]
pub struct StateStore {
    database: Arc<Database>,
}

impl StateStore {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// A document, `None` when there is none.
    pub fn get(&self, kind: &str, key: &str) -> BoxFuture<'static, Result<Option<Document>, StorageError>> {
        let (database, kind, key) = (Arc::clone(&self.database), kind.to_owned(), key.to_owned());
        Box::pin(async move { database.document(&kind, &key).await })
    }

    /// All documents of a kind, by key.
    pub fn list(&self, kind: &str) -> BoxFuture<'static, Result<Vec<Document>, StorageError>> {
        let (database, kind) = (Arc::clone(&self.database), kind.to_owned());
        Box::pin(async move { database.documents(&kind).await })
    }

    /// Writes all or nothing. Returns, in the order of the writes, the document's new version (0 for a removal) or
    /// the entry's place in the journal. `now`: Unix nanoseconds.
    ///
    /// # Errors
    /// [`StateError::Conflict`] when an expectation does not hold.
    pub fn commit(&self, writes: Vec<StateWrite>, now: i64) -> BoxFuture<'static, Result<Vec<u64>, StateError>> {
        let database = Arc::clone(&self.database);
        Box::pin(async move { database.write_state(writes, now).await })
    }

    /// Writes one document. Returns its new version.
    ///
    /// # Errors
    /// [`StateError::Conflict`] when the expectation does not hold.
    pub fn put(&self, kind: &str, key: &str, body: Value, expect: Expect, now: i64) -> BoxFuture<'static, Result<u64, StateError>> {
        let write = StateWrite::Put { kind: kind.to_owned(), key: key.to_owned(), body, expect };
        let committed = self.commit(vec![write], now);
        Box::pin(async move { Ok(committed.await?[0]) })
    }

    /// Removes one document.
    ///
    /// # Errors
    /// [`StateError::Conflict`] when the expectation does not hold.
    pub fn delete(&self, kind: &str, key: &str, expect: Expect, now: i64) -> BoxFuture<'static, Result<(), StateError>> {
        let committed = self.commit(vec![StateWrite::Delete { kind: kind.to_owned(), key: key.to_owned(), expect }], now);
        Box::pin(async move { committed.await.map(|_| ()) })
    }

    /// Entries of the journal, oldest first unless asked otherwise.
    pub fn journal(&self, query: JournalQuery) -> BoxFuture<'static, Result<Vec<JournalEntry>, StorageError>> {
        let database = Arc::clone(&self.database);
        Box::pin(async move { database.journal(&query).await })
    }
}
