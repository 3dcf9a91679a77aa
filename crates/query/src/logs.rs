//! Log search: what is asked and what a store answers.

use serde::Serialize;
use serde_json::{Map, Value};
use skopos_model::{SpanId, TraceId};

use crate::context::QueryContext;
use crate::error::QueryError;
use crate::filter::Filter;
use crate::time_range::TimeRange;

/// Which end of the range comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Newest first.
    #[default]
    Backward,
    /// Oldest first.
    Forward,
}

/// A search for records.
#[derive(Debug, Clone)]
pub struct LogSearch {
    /// Event time.
    pub range: TimeRange,
    /// Which records.
    pub filter: Filter,
    /// Most records to return.
    pub limit: usize,
    /// Order by event time.
    pub direction: Direction,
    /// Continue after this record, as [`LogPage::next`] gave it.
    pub after: Option<String>,
}

/// One record as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogRow {
    /// Stays the same while the record exists (over flush and merge): what a link to a line holds.
    pub id: String,
    /// Event time, Unix nanoseconds.
    #[serde(with = "crate::logs::nanos_text")]
    pub time: i64,
    /// Observed time, Unix nanoseconds.
    #[serde(with = "crate::logs::nanos_text")]
    pub observed_time: i64,
    /// OpenTelemetry severity number.
    pub severity_number: u8,
    /// Short severity name, upper case (`ERROR`), or the sender's own word where it fits none.
    pub severity_text: String,
    /// `service.name`.
    pub service_name: String,
    /// Message.
    pub body: String,
    /// Trace id, absent when none.
    #[serde(skip_serializing_if = "TraceId::is_none")]
    pub trace_id: TraceId,
    /// Span id, absent when none.
    #[serde(skip_serializing_if = "SpanId::is_none")]
    pub span_id: SpanId,
    /// OpenTelemetry event name, absent for plain records.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub event_name: String,
    /// Scope (logger) name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope_name: String,
    /// Record attributes, typed.
    pub attributes: Map<String, Value>,
    /// Resource attributes, typed.
    pub resource: Map<String, Value>,
}

/// Nanoseconds as decimal text: JSON numbers lose digits in a browser.
pub mod nanos_text {
    /// Writes decimal digits.
    pub fn serialize<S: serde::Serializer>(nanos: &i64, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(nanos)
    }
}

/// A page of records.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LogPage {
    /// Records in the order asked for.
    pub rows: Vec<LogRow>,
    /// Pass as [`LogSearch::after`] for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Counts per time bucket and group.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Histogram {
    /// Start of the first bucket, Unix nanoseconds.
    #[serde(with = "crate::logs::nanos_text")]
    pub start: i64,
    /// Width of a bucket, nanoseconds.
    #[serde(with = "crate::logs::nanos_text")]
    pub step: i64,
    /// One series a group (severity name, service, …), counts by bucket.
    pub series: Vec<(String, Vec<u64>)>,
}

/// Values of one field with their counts, most frequent first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facet {
    /// Field as the filter grammar writes it.
    pub field: String,
    /// (value, count).
    pub values: Vec<(String, u64)>,
    /// Number of distinct values seen (a lower bound when the limit was reached).
    pub distinct: u64,
}

/// Reads log records. Calls block: run them on a thread that may.
pub trait LogStore: Send + Sync {
    /// A page of matching records.
    fn search(&self, search: &LogSearch, ctx: &QueryContext) -> Result<LogPage, QueryError>;

    /// Counts of matching records over time by severity; buckets of `step` nanoseconds aligned to multiples of it.
    fn histogram(&self, range: TimeRange, filter: &Filter, step: i64, ctx: &QueryContext) -> Result<Histogram, QueryError>;

    /// Counts by value for each of `fields` (filter-grammar names); with no fields, the store picks those that
    /// tell most. At most `values_max` values a field.
    fn facets(&self, range: TimeRange, filter: &Filter, fields: &[String], values_max: usize, ctx: &QueryContext) -> Result<Vec<Facet>, QueryError>;

    /// The record with this id, and `before`/`after` records of the same stream around it, oldest first.
    fn context(&self, id: &str, before: usize, after: usize, ctx: &QueryContext) -> Result<Vec<LogRow>, QueryError>;
}
