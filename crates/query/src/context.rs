//! What accompanies a running query: limits, cancellation, and what it has cost so far.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::QueryError;

/// Named limits of one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// Most samples a PromQL query may load.
    pub samples_max: u64,
    /// Most series a PromQL selector may touch.
    pub series_max: u64,
    /// Most points a series of a range query may have (Prometheus: 11,000).
    pub points_max: u64,
    /// Most rows (log records, spans) a search may return.
    pub rows_max: u64,
    /// Longest a query may run.
    pub timeout: Duration,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self { samples_max: 200_000_000, series_max: 2_000_000, points_max: 11_000, rows_max: 100_000, timeout: Duration::from_secs(120) }
    }
}

/// What a query has cost, counted while it runs.
#[derive(Debug, Default)]
pub struct QueryStats {
    rows: AtomicU64,
    bytes: AtomicU64,
    samples: AtomicU64,
    series: AtomicU64,
    files: AtomicU64,
    files_pruned: AtomicU64,
    rollup_rows: AtomicU64,
}

/// The numbers of [`QueryStats`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct StatsSnapshot {
    /// Rows looked at.
    pub rows_scanned: u64,
    /// Bytes read from files (compressed) and memory.
    pub bytes_scanned: u64,
    /// Samples loaded.
    pub samples: u64,
    /// Series touched.
    pub series: u64,
    /// Files opened.
    pub files: u64,
    /// Files skipped by statistics or filters.
    pub files_pruned: u64,
    /// Rows that were figures of an hour in place of its samples.
    pub rollup_rows: u64,
}

impl QueryStats {
    /// Counts rows looked at.
    pub fn add_rows(&self, n: u64) {
        self.rows.fetch_add(n, Ordering::Relaxed);
    }
    /// Counts bytes read.
    pub fn add_bytes(&self, n: u64) {
        self.bytes.fetch_add(n, Ordering::Relaxed);
    }
    /// Counts samples loaded; returns the new total.
    pub fn add_samples(&self, n: u64) -> u64 {
        self.samples.fetch_add(n, Ordering::Relaxed) + n
    }
    /// Counts series touched; returns the new total.
    pub fn add_series(&self, n: u64) -> u64 {
        self.series.fetch_add(n, Ordering::Relaxed) + n
    }
    /// Counts files opened and files skipped.
    pub fn add_files(&self, opened: u64, pruned: u64) {
        self.files.fetch_add(opened, Ordering::Relaxed);
        self.files_pruned.fetch_add(pruned, Ordering::Relaxed);
    }
    /// Counts rows of rollups; they count as rows too.
    pub fn add_rollup_rows(&self, n: u64) {
        self.rollup_rows.fetch_add(n, Ordering::Relaxed);
        self.add_rows(n);
    }
    /// The numbers so far.
    pub fn snapshot(&self) -> StatsSnapshot {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        StatsSnapshot {
            rows_scanned: load(&self.rows),
            bytes_scanned: load(&self.bytes),
            samples: load(&self.samples),
            series: load(&self.series),
            files: load(&self.files),
            files_pruned: load(&self.files_pruned),
            rollup_rows: load(&self.rollup_rows),
        }
    }
}

/// Passed down through a query. Cloning shares the same cancellation and the same counters.
#[derive(Debug, Clone)]
pub struct QueryContext {
    /// Limits in force.
    pub limits: QueryLimits,
    /// What it has cost so far.
    pub stats: Arc<QueryStats>,
    /// Whether its cost is wanted in detail, which takes a little longer.
    pub detailed: bool,
    cancelled: Arc<AtomicBool>,
    started: Instant,
}

impl QueryContext {
    /// A context whose time-out starts to run at `started`.
    pub fn new(limits: QueryLimits, started: Instant) -> Self {
        Self { limits, stats: Arc::default(), detailed: false, cancelled: Arc::default(), started }
    }

    /// Time since the query's start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Stops the query at its next check.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Cancels the query when dropped: hold it in the request's future, so that a client that goes away stops
    /// the work.
    pub fn cancel_on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(Arc::clone(&self.cancelled))
    }

    /// To be called in every loop over blocks of rows, series or steps; cheap enough for each few thousand rows.
    ///
    /// # Errors
    /// When the query was cancelled or its time is up.
    pub fn check(&self) -> Result<(), QueryError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(QueryError::Cancelled);
        }
        if self.started.elapsed() > self.limits.timeout {
            return Err(QueryError::Timeout { seconds: self.limits.timeout.as_secs_f64() });
        }
        Ok(())
    }
}

/// See [`QueryContext::cancel_on_drop`].
#[derive(Debug)]
pub struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
