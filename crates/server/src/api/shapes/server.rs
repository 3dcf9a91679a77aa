//! The server itself.

use serde::Serialize;
use utoipa::ToSchema;

/// What the server is and how it fares.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerStatus {
    pub version: String,
    /// Unix nanoseconds.
    pub started: String,
    pub now: String,
    pub addresses: Addresses,
    /// Whether changes need a key.
    pub auth_required: bool,
    pub signals: SignalsStatus,
    pub wal: WalStatus,
    /// Files that cannot be read; the rest is served.
    pub damaged_files: Vec<DamagedFileOut>,
    /// What the last start found in the write-ahead log.
    pub recovery: Recovery,
    pub evaluation: EvaluationStatus,
    /// Seen in the last day.
    pub environments: Vec<String>,
    pub config: ConfigStatus,
}

/// Addresses in use.
#[derive(Debug, Serialize, ToSchema)]
pub struct Addresses {
    pub http: String,
    pub otlp_http: Option<String>,
    pub otlp_grpc: Option<String>,
}

/// Ingest and store by signal.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignalsStatus {
    pub logs: SignalStatus,
    pub traces: SignalStatus,
    pub metrics: SignalStatus,
}

/// Ingest and store of one signal.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignalStatus {
    /// Since the start.
    pub rows_total: u64,
    pub rows_per_second: f64,
    pub rejected_total: u64,
    /// Unix nanoseconds.
    pub last_received: Option<String>,
    /// Not in files yet.
    pub head_rows: u64,
    pub head_bytes: u64,
    pub files: u64,
    pub file_bytes: u64,
    pub file_rows: u64,
}

/// The write-ahead log.
#[derive(Debug, Serialize, ToSchema)]
pub struct WalStatus {
    pub bytes: u64,
    pub segments: u64,
    pub oldest: Option<String>,
    pub writable: bool,
    pub error: Option<String>,
}

/// A file that was set aside.
#[derive(Debug, Serialize, ToSchema)]
pub struct DamagedFileOut {
    pub path: String,
    pub reason: String,
}

/// What a start found in the write-ahead log.
#[derive(Debug, Serialize, ToSchema)]
pub struct Recovery {
    pub records: u64,
    /// Put back into memory.
    pub rows: u64,
    /// Records whose rows were in files already.
    pub skipped: u64,
    /// Cut from the log's end: never acknowledged.
    pub torn_bytes: u64,
    /// Records that could not be read, with the reason.
    pub damaged: Vec<String>,
}

/// Evaluation of rules.
#[derive(Debug, Serialize, ToSchema)]
pub struct EvaluationStatus {
    /// Unix nanoseconds.
    pub last: Option<String>,
    pub lag_seconds: f64,
    pub rules: u64,
    pub failing: u64,
    pub missed: u64,
}

/// The configuration in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfigStatus {
    pub file: Option<String>,
    /// The `prometheus.yml` in force besides; what is not served of it is among the problems.
    pub prometheus_file: Option<String>,
    /// Counts reloads.
    pub version: u64,
    /// Unix nanoseconds.
    pub loaded: String,
    pub problems: Vec<ConfigProblem>,
}

/// Something wrong in a configuration file.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfigProblem {
    pub file: String,
    pub line: Option<u32>,
    /// `error` or `warning`.
    pub severity: String,
    pub message: String,
}

/// All that was acknowledged is in compacted tables.
#[derive(Debug, Serialize, ToSchema)]
pub struct Flushed {
    pub elapsed_ms: f64,
}

/// The new configuration is in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reloaded {
    pub loaded: bool,
    /// Warnings.
    pub problems: Vec<ConfigProblem>,
}
