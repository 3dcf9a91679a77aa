//! Why a query failed: what was wrong, where in its text, what was expected.

use serde::Serialize;

/// A range of bytes in the query's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

/// Why a query failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The text is no query; HTTP 400.
    #[error("{message}")]
    Parse {
        /// What was wrong and what was expected.
        message: String,
        /// Where.
        at: Span,
    },
    /// The query is well formed but cannot be evaluated (many-to-many matching, …); HTTP 422.
    #[error("{0}")]
    Execution(String),
    /// A named limit was reached; HTTP 422.
    #[error("{limit} reached: {message}")]
    Limit {
        /// Name of the limit as the configuration spells it.
        limit: &'static str,
        /// What was counted and what to do.
        message: String,
    },
    /// It took longer than allowed; HTTP 503.
    #[error("query timed out after {seconds:.1} s")]
    Timeout {
        /// Seconds it was allowed.
        seconds: f64,
    },
    /// The client went away or cancelled; HTTP 499.
    #[error("query was cancelled")]
    Cancelled,
    /// Rows could not be read; HTTP 500.
    #[error("storage: {0}")]
    Storage(String),
}
