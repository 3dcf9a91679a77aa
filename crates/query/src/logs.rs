//! Log search: what is asked and what a store answers.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use skopos_model::{Resource, SpanId, TraceId};

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
    /// Only records of these streams (ids of resources).
    pub streams: Option<Arc<HashSet<u64>>>,
}

/// A stream: what came with the same resource.
#[derive(Debug, Clone)]
pub struct LogStream {
    /// The resource; its id is the stream's.
    pub resource: Arc<Resource>,
    /// Records in the range asked for. At its ends, records next to it may be counted along.
    pub rows: u64,
    /// Bytes of their messages, estimated.
    pub bytes: u64,
}

/// Which attributes of a record are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeChoice {
    /// None.
    None,
    /// Those whose key, made a label's name (`http.route` → `http_route`), is one of these.
    Named(Vec<String>),
    /// All.
    All,
}

impl AttributeChoice {
    /// Whether a key is wanted.
    pub fn wants(&self, key: &str) -> bool {
        match self {
            Self::None => false,
            Self::Named(names) => {
                let name = crate::logql::label_name(key);
                names.iter().any(|n| *n == name)
            }
            Self::All => true,
        }
    }
}

/// What of a record is read; the rest may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogColumns {
    /// Message.
    pub body: bool,
    /// Severity.
    pub severity: bool,
    /// Trace and span id.
    pub ids: bool,
    /// Scope's and event's name.
    pub names: bool,
    /// Attributes.
    pub attributes: AttributeChoice,
}

/// A read of many records that are looked at one by one.
#[derive(Debug, Clone, Copy)]
pub struct LogScan<'a> {
    /// Event time.
    pub range: TimeRange,
    /// Which records.
    pub filter: &'a Filter,
    /// Only records of these streams (ids of resources).
    pub streams: Option<&'a Arc<HashSet<u64>>>,
    /// What of them is needed.
    pub columns: &'a LogColumns,
}

/// A record as a scan shows it: only what [`LogScan::columns`] asked for is there.
pub trait LogRecord {
    /// Event time, Unix nanoseconds.
    fn time(&self) -> i64;
    /// Id of its resource.
    fn stream(&self) -> u64;
    /// Message.
    fn body(&self) -> Cow<'_, str>;
    /// OpenTelemetry severity number, 0 when not given.
    fn severity_number(&self) -> u8;
    /// Short severity name, upper case, or the sender's own word where it fits none.
    fn severity_text(&self) -> &str;
    /// Trace id.
    fn trace_id(&self) -> TraceId;
    /// Span id.
    fn span_id(&self) -> SpanId;
    /// Scope name.
    fn scope_name(&self) -> &str;
    /// Event name.
    fn event_name(&self) -> &str;
    /// Calls `each` with the wanted attributes, values as text.
    fn each_attribute(&self, each: &mut dyn FnMut(&str, Cow<'_, str>));
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

/// Records of one stream of which only the times matter.
#[derive(Debug, Clone, Copy)]
pub struct LogTimes<'a> {
    /// Id of the resource.
    pub stream: u64,
    /// Severity as [`LogRecord::severity_text`] gives it, where it was asked for.
    pub severity_text: &'a str,
    /// How many.
    pub count: u64,
    /// Event time of each, ascending; or of one of them where all of them count alike.
    pub times: &'a [i64],
}

/// Records that arrived since the last look.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Followed {
    /// In the order they arrived.
    pub rows: Vec<LogRow>,
    /// Records that were left out because nobody looked in time, whether they match or not.
    pub skipped: u64,
}

/// Sees records as they arrive. Dropping it ends that.
pub trait LogFollower: Send + Sync {
    /// At most `rows_max` of the matching records that wait. Does not block.
    fn drain(&self, rows_max: usize) -> Followed;
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

    /// The streams that have records in the range.
    fn streams(&self, range: TimeRange, ctx: &QueryContext) -> Result<Vec<LogStream>, QueryError>;

    /// Calls `visit` with every matching record, in no particular order, until it breaks off. Holds a bounded number
    /// of records at a time.
    fn scan(&self, scan: &LogScan<'_>, ctx: &QueryContext, visit: &mut dyn FnMut(&dyn LogRecord) -> ControlFlow<()>) -> Result<(), QueryError>;

    /// As [`LogStore::scan`] where only times and, with `by_severity`, severities matter. `alike` says whether all
    /// times from the first to the second count alike, so that they need not be read.
    fn scan_times(
        &self,
        scan: &LogScan<'_>,
        by_severity: bool,
        alike: &dyn Fn(i64, i64) -> bool,
        ctx: &QueryContext,
        visit: &mut dyn FnMut(LogTimes<'_>) -> ControlFlow<()>,
    ) -> Result<(), QueryError>;

    /// Watches for matching records from now on; what waits is bounded.
    fn follow(&self, filter: &Filter) -> Result<Arc<dyn LogFollower>, QueryError>;

    /// The record with this id, and `before`/`after` records of the same stream around it, oldest first.
    fn context(&self, id: &str, before: usize, after: usize, ctx: &QueryContext) -> Result<Vec<LogRow>, QueryError>;
}
