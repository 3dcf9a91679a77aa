//! What many answers share.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// An error of this API, with the status of the response.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

/// What was wrong, where, and what was expected.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorDetail {
    /// Short fixed word, as `bad_query`.
    pub code: String,
    /// For a person.
    pub message: String,
    /// Where in the query's text.
    #[schema(nullable = false)]
    pub at: Option<Position>,
    /// The same id stands in the server's log.
    pub request_id: String,
}

/// Bytes of a query's text.
#[derive(Debug, Serialize, ToSchema)]
pub struct Position {
    pub start: u64,
    /// Exclusive.
    pub end: u64,
}

/// What a query has cost.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    pub elapsed_ms: f64,
    pub rows_scanned: u64,
    /// Read from files (compressed) and memory.
    pub bytes_scanned: u64,
    pub samples: u64,
    pub series: u64,
    pub files: u64,
    /// Left out by statistics or filters.
    pub files_pruned: u64,
    /// Of the rows, those that are figures of an hour in place of its samples.
    pub rollup_rows: u64,
    /// The answer was cut at a limit.
    #[schema(nullable = false)]
    pub truncated: Option<bool>,
}

/// Columnar series: value `i` is at `start + i * step`; null is a gap.
#[derive(Debug, Serialize, ToSchema)]
pub struct Frame {
    /// Unix nanoseconds.
    pub start: String,
    /// Nanoseconds.
    pub step: String,
    pub series: Vec<FrameLine>,
}

/// One series of a frame.
#[derive(Debug, Serialize, ToSchema)]
pub struct FrameLine {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub values: Vec<Option<f64>>,
}
