//! Why storing or reading failed.

use std::time::Duration;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The operating system refused.
    #[error("{what}: {path}: {source}")]
    Io {
        /// What was being done ("cannot write segment").
        what: &'static str,
        /// To which file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another process has the data folder open.
    #[error("data folder {path} is in use by process {pid}: stop it, or start with another --data")]
    Locked {
        /// The folder.
        path: String,
        /// Who holds it, 0 when unknown.
        pid: u32,
    },
    /// The catalog is not one this version can write.
    #[error("catalog {path}: {reason}")]
    Catalog {
        /// The catalog.
        path: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The catalog's database failed.
    #[error("catalog database: {0}")]
    Database(String),
    /// A file's content is damaged; it was set aside.
    #[error("damaged file {path}: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// What did not hold.
        reason: String,
    },
    /// Encoding or decoding Parquet or Arrow failed.
    #[error("{what}: {reason}")]
    Format {
        /// What was being done.
        what: &'static str,
        /// The library's reason.
        reason: String,
    },
    /// The query failed.
    #[error(transparent)]
    Query(#[from] skopos_query::QueryError),
}

/// Why an append was not taken. Nothing of it is acknowledged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The head is full and flushing does not keep up, or too many wait: HTTP 429 with Retry-After.
    #[error("the store is at its limit {limit}; retry in {retry_after:?}")]
    Overloaded {
        /// Name of the limit.
        limit: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// The log cannot be written (disk full, failed fsync): HTTP 503 with Retry-After. Reads go on.
    #[error("the store cannot write: {reason}")]
    ReadOnly {
        /// Why.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
}

impl StorageError {
    /// Whether there was no room: it passes by itself when there is some again.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::StorageFull,
            // The libraries between the system and us hand on its text alone.
            Self::Format { reason, .. } | Self::Database(reason) => {
                reason.contains("No space left on device") || reason.contains("database or disk is full")
            }
            _ => false,
        }
    }

    /// The error as one of a file's content.
    pub(crate) fn into_damaged(self, path: &str) -> Self {
        match self {
            Self::Damaged { .. } => self,
            other => Self::Damaged { path: path.to_owned(), reason: other.to_string() },
        }
    }
}
