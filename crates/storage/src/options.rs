//! What the store is told at start.

use std::path::PathBuf;
use std::time::Duration;

/// Options of a store, with reasons for the defaults.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Folder that holds everything: `catalog.sqlite`, `tables/`, `wal/`, `lock`.
    pub data: PathBuf,
    /// Most bytes the heads of all signals may hold; then appends are refused until a flush.
    pub head_bytes_max: usize,
    /// Logs and spans this old (since the first row in the head) are flushed however few they are.
    pub flush_age: Duration,
    /// The same for samples. They come at the same pace all day: a file of ten minutes is merged half as often as
    /// one of one minute, and packed in memory they are small.
    pub flush_age_metrics: Duration,
    /// Logs and spans are flushed at this many rows: small files cost a millisecond each to write and to read.
    pub flush_rows: usize,
    /// Longest a group commit waits for company.
    pub group_commit_delay: Duration,
    /// A segment of the log is closed at this size, bytes.
    pub wal_segment_bytes: u64,
    /// Rows older than this (by the later of event and arrival time) are dropped, per signal.
    pub retention_logs: Duration,
    /// See `retention_logs`.
    pub retention_traces: Duration,
    /// See `retention_logs`.
    pub retention_metrics: Duration,
    /// Snapshots are kept this long for readers that hold an older one.
    pub snapshot_age: Duration,
    /// Samples older than the newest of their series by more than this are refused.
    pub out_of_order_window: Duration,
    /// Most series with a sample in the head.
    pub active_series_max: usize,
    /// Most series of one metric with a sample in the head: one label that explodes must not take all the room.
    pub active_series_per_metric_max: usize,
    /// Most series of one source (label `service_name`, else `job`) with a sample in the head.
    pub active_series_per_source_max: usize,
    /// Whether merges write rollups of samples by the hour, and queries over days read them.
    pub rollups: bool,
}

impl StoreOptions {
    /// Defaults for a folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self {
            data: data.into(),
            head_bytes_max: 128 << 20,
            flush_age: Duration::from_secs(60),
            flush_age_metrics: Duration::from_secs(600),
            flush_rows: 250_000,
            group_commit_delay: Duration::from_millis(2),
            wal_segment_bytes: 64 << 20,
            retention_logs: 30 * day,
            retention_traces: 15 * day,
            retention_metrics: 90 * day,
            snapshot_age: Duration::from_secs(3600),
            out_of_order_window: 3_652_500 * day,
            active_series_max: 3_000_000,
            active_series_per_metric_max: 1_500_000,
            active_series_per_source_max: 2_000_000,
            rollups: true,
        }
    }
}
