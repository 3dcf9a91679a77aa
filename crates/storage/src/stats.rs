//! What the store tells about itself.

use serde::Serialize;

/// Figures of a store at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StoreStats {
    /// Log records.
    pub logs: SignalStats,
    /// Spans.
    pub traces: SignalStats,
    /// Samples.
    pub metrics: SignalStats,
    /// Series of samples.
    pub series: SeriesStats,
    /// Samples of new series that were refused since the start, by the limit's name.
    pub refused_by_limit: Vec<(&'static str, u64)>,
    /// The write-ahead log.
    pub wal: WalStats,
    /// Merges done since the start.
    pub merges: u64,
    /// Files that could not be read; they are set aside and the rest is served.
    pub damaged: Vec<DamagedFile>,
    /// What recovery found at the start.
    pub recovery: RecoveryStats,
    /// Why the last flush, merge or expiry failed; empty when the last one went well.
    pub background_error: String,
}

/// Figures of one signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SignalStats {
    /// Rows acknowledged since the start.
    pub rows_appended: u64,
    /// Requests whose body had been stored already and that were acknowledged without storing it again.
    pub duplicates: u64,
    /// Rows in the open head.
    pub head_rows: u64,
    /// Memory of the heads, bytes.
    pub head_bytes: u64,
    /// Files that are in force.
    pub files: u64,
    /// Rows in them.
    pub file_rows: u64,
    /// Their size, bytes.
    pub file_bytes: u64,
    /// Flushes since the start.
    pub flushes: u64,
}

/// Figures of series and of samples that were not taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SeriesStats {
    /// Series known.
    pub series: u64,
    /// Series with a sample in the open head.
    pub active_series: u64,
    /// Most of them there may be.
    pub active_series_max: u64,
    /// Memory of labels and caches, bytes.
    pub index_bytes: u64,
    /// Samples older than the out-of-order window allows, since the start.
    pub samples_too_old: u64,
    /// Samples with impossible times, since the start.
    pub samples_out_of_range: u64,
    /// Samples that were there already (those noticed at once), since the start.
    pub samples_duplicate: u64,
    /// Samples of a time at which their series has another value (those noticed at once), since the start.
    pub samples_conflicting: u64,
}

/// A metric of one source whose new series are refused, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedSeries {
    /// Name of the metric.
    pub metric: String,
    /// Who sends it; empty where no label tells.
    pub source: String,
    /// The label with most values over the refused series.
    pub label: String,
    /// Name of the limit that refused last.
    pub limit: &'static str,
    /// Samples refused with them since the start.
    pub samples: u64,
}

/// Figures of the write-ahead log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WalStats {
    /// Bytes in segments.
    pub bytes: u64,
    /// Number of segments.
    pub segments: u64,
    /// Highest sequence number written.
    pub sequence: u64,
    /// Group commits (one fsync each) since the start.
    pub commits: u64,
    /// Time spent in them, nanoseconds: `commit_nanos / commits` is what a group waits for the disk.
    pub commit_nanos: u64,
    /// Whether appends are accepted.
    pub writable: bool,
    /// Why not; empty when writable.
    pub error: String,
}

/// A file that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamagedFile {
    /// Where it is, relative to the data folder.
    pub path: String,
    /// What did not hold.
    pub reason: String,
}

/// What recovery found in the write-ahead log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RecoveryStats {
    /// Records read.
    pub records: u64,
    /// Rows put back into the heads.
    pub rows: u64,
    /// Records whose rows were in files already.
    pub skipped: u64,
    /// Bytes of torn tails that were cut: written, but never acknowledged.
    pub torn_bytes: u64,
    /// Records that could not be read or decoded, with the reason.
    pub damaged: Vec<String>,
}
