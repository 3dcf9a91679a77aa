//! The store: write-ahead log, DuckLake catalog, Parquet tables, merge, retention, SQL.
//!
//! The only crate that knows DataFusion, Arrow, Parquet and object stores. It does not know wire formats: the
//! write-ahead log keeps request bodies as they came, and a [`WalDecoder`] given at start turns them into batches
//! again. Its async interface is boxed, so that no consumer instantiates DataFusion's futures anew.
//!
//! A record's way: [`Store::append`] → WAL, fsync → head (queryable at once) → flush (one sort, one encode) →
//! files and WAL position in one catalog transaction → merge → retention.

pub mod error;
pub mod options;
pub mod record;
pub mod report;
pub mod state;
pub mod stats;

mod blob;
mod catalog;
mod dedup;
mod disk;
#[cfg(test)]
mod duckdb_reader;
mod engine;
mod head;
mod scan;
mod sql;
mod table;
mod wal;

mod logs;
mod metrics;
mod traces;

pub mod store;

pub use error::{AppendError, StorageError};
pub use options::StoreOptions;
pub use record::{Encoding, Protocol, WalDecoder, WalPayload};
pub use report::AppendReport;
pub use sql::{SqlColumn, SqlResult};
pub use state::{Document, Expect, JournalEntry, JournalQuery, StateError, StateStore, StateWrite};
pub use stats::{DamagedFile, RecoveryStats, RefusedSeries, SeriesStats, SignalStats, StoreStats, WalStats};
pub use store::Store;

use std::future::Future;
use std::pin::Pin;

/// A boxed future: so that no consumer instantiates the store's own futures anew.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
