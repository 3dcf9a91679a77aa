//! Logs, traces, rows.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Stats;

/// A log record.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogRecord {
    /// Opens it again: `GET /v1/logs/{id}`.
    pub id: String,
    /// Unix nanoseconds.
    pub time: String,
    /// When it was collected, Unix nanoseconds.
    pub observed_time: String,
    /// 1 to 24, after OpenTelemetry.
    pub severity_number: i32,
    pub severity_text: String,
    pub service_name: String,
    /// In lists at most 2 KiB.
    pub body: String,
    /// The body was cut for the list.
    #[schema(nullable = false)]
    pub body_truncated: Option<bool>,
    #[schema(nullable = false)]
    pub trace_id: Option<String>,
    #[schema(nullable = false)]
    pub span_id: Option<String>,
    #[schema(nullable = false)]
    pub event_name: Option<String>,
    #[schema(nullable = false)]
    pub scope_name: Option<String>,
    pub attributes: BTreeMap<String, Value>,
    pub resource: BTreeMap<String, Value>,
}

/// A page of records.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogPage {
    pub rows: Vec<LogRecord>,
    /// Give it as `after` for the next page.
    #[schema(nullable = false)]
    pub next: Option<String>,
    pub stats: Stats,
}

/// Counts over time by severity.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogHistogram {
    /// Unix nanoseconds.
    pub start: String,
    /// Nanoseconds.
    pub step: String,
    /// Pairs of severity and counts.
    pub series: Vec<Vec<Value>>,
    pub stats: Stats,
}

/// Values of fields with their counts.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogFacets {
    pub facets: Vec<LogFacet>,
    pub stats: Stats,
}

/// Values of one field.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogFacet {
    pub field: String,
    /// Pairs of value and count, the most frequent first.
    pub values: Vec<Vec<Value>>,
    /// How many values there are.
    pub distinct: u64,
}

/// A record and its neighbours.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogNeighbours {
    pub row: LogRecord,
    pub before: Vec<LogRecord>,
    pub after: Vec<LogRecord>,
    pub stats: Stats,
}

/// Traces with a matching span.
#[derive(Debug, Serialize, ToSchema)]
pub struct TracePage {
    pub traces: Vec<TraceLine>,
    pub stats: Stats,
}

/// A trace in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct TraceLine {
    pub trace_id: String,
    pub root_service: String,
    pub root_name: String,
    /// Unix nanoseconds.
    pub start: String,
    /// Nanoseconds.
    pub duration: i64,
    pub spans: u64,
    pub errors: u64,
    /// Spans by service.
    pub services: BTreeMap<String, u64>,
    /// How many of its spans match.
    pub matched: u64,
    /// The first of them.
    pub matched_spans: Vec<String>,
}

/// A trace.
#[derive(Debug, Serialize, ToSchema)]
pub struct Trace {
    pub trace_id: String,
    pub spans: Vec<SpanOut>,
    /// Where its time went, in order.
    pub critical_path: Vec<PathSection>,
    /// `complete`: a root is there and every parent is known; else `partial`.
    pub state: String,
    /// Log records that carry its id.
    pub log_count: u64,
    pub stats: Stats,
}

/// A stretch of the critical path.
#[derive(Debug, Serialize, ToSchema)]
pub struct PathSection {
    pub span_id: String,
    /// Unix nanoseconds.
    pub start: String,
    /// Nanoseconds.
    pub duration: i64,
}

/// A span.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpanOut {
    pub trace_id: String,
    pub span_id: String,
    #[schema(nullable = false)]
    pub parent_span_id: Option<String>,
    pub name: String,
    /// `unspecified`, `internal`, `server`, `client`, `producer`, `consumer`.
    pub kind: String,
    pub service_name: String,
    /// Unix nanoseconds.
    pub start: String,
    /// Nanoseconds.
    pub duration: i64,
    /// `unset`, `ok`, `error`.
    pub status_code: String,
    #[schema(nullable = false)]
    pub status_message: Option<String>,
    #[schema(nullable = false)]
    pub scope_name: Option<String>,
    pub attributes: BTreeMap<String, Value>,
    pub resource: BTreeMap<String, Value>,
    pub events: Vec<SpanEventOut>,
    pub links: Vec<SpanLinkOut>,
}

/// Something that happened in a span.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpanEventOut {
    /// Unix nanoseconds.
    pub time_unix_nano: String,
    pub name: String,
    pub attributes: BTreeMap<String, Value>,
}

/// Another span it refers to.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpanLinkOut {
    pub trace_id: String,
    pub span_id: String,
    pub attributes: BTreeMap<String, Value>,
}

/// Columns and rows.
#[derive(Debug, Serialize, ToSchema)]
pub struct SqlTable {
    pub columns: Vec<SqlColumn>,
    pub rows: Vec<Vec<Value>>,
    /// Rows were cut at the limit.
    pub truncated: bool,
    pub stats: Stats,
}

/// A column.
#[derive(Debug, Serialize, ToSchema)]
pub struct SqlColumn {
    pub name: String,
    pub r#type: String,
}

/// What was stored of a request of JSON lines.
#[derive(Debug, Serialize, ToSchema)]
pub struct LinesStored {
    pub rejected: Vec<LinesRejected>,
}

/// Lines that were not taken, by reason.
#[derive(Debug, Serialize, ToSchema)]
pub struct LinesRejected {
    pub reason: String,
    pub count: u64,
    pub example: String,
}
