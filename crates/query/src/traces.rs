//! Traces: look-up by id, search, and the figures of services; what is asked and what a store answers.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::{Map, Value};
use skopos_model::{SpanId, SpanKind, StatusCode, TraceId};

use crate::context::QueryContext;
use crate::error::QueryError;
use crate::filter::{Field, FieldValue, Filter};
use crate::logs::nanos_text;
use crate::time_range::TimeRange;

/// One span as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpanRow {
    /// Trace id.
    pub trace_id: TraceId,
    /// Span id.
    pub span_id: SpanId,
    /// Parent span id, absent for a root.
    #[serde(skip_serializing_if = "SpanId::is_none")]
    pub parent_span_id: SpanId,
    /// Operation name.
    pub name: String,
    /// Kind.
    pub kind: SpanKind,
    /// `service.name`.
    pub service_name: String,
    /// Start, Unix nanoseconds.
    #[serde(with = "nanos_text")]
    pub start: i64,
    /// Duration, nanoseconds.
    pub duration: i64,
    /// Status.
    pub status_code: StatusCode,
    /// Status message.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status_message: String,
    /// Scope (tracer) name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope_name: String,
    /// Span attributes, typed.
    pub attributes: Map<String, Value>,
    /// Resource attributes, typed.
    pub resource: Map<String, Value>,
    /// Events: objects with `time_unix_nano` (text), `name`, `attributes`.
    pub events: Vec<Value>,
    /// Links: objects with `trace_id`, `span_id`, `attributes`.
    pub links: Vec<Value>,
}

/// A search for traces: a trace is found when one of its spans matches.
#[derive(Debug, Clone)]
pub struct TraceSearch {
    /// Span start time.
    pub range: TimeRange,
    /// Which spans.
    pub filter: Filter,
    /// Most traces to return, newest first.
    pub limit: usize,
}

/// A trace in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TraceSummary {
    /// Trace id.
    pub trace_id: TraceId,
    /// Service of the root span; empty when the root has not arrived.
    pub root_service: String,
    /// Name of the root span; empty when the root has not arrived.
    pub root_name: String,
    /// Earliest span start, Unix nanoseconds.
    #[serde(with = "nanos_text")]
    pub start: i64,
    /// From the earliest start to the latest end, nanoseconds.
    pub duration: i64,
    /// Number of spans.
    pub spans: u64,
    /// Number of spans with status error.
    pub errors: u64,
    /// Spans by service.
    pub services: BTreeMap<String, u64>,
    /// Number of spans that matched the search.
    pub matched: u64,
    /// The first spans that matched (at most three).
    pub matched_spans: Vec<SpanId>,
}

/// Requests, errors and durations of one group of spans over a range.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RedRow {
    /// Values of the grouping fields, in the order asked for.
    pub group: Vec<String>,
    /// Number of spans.
    pub count: u64,
    /// Spans with status error.
    pub errors: u64,
    /// Sum of durations, nanoseconds.
    pub duration_sum: u64,
    /// Quantiles 0.5, 0.95 and 0.99 of the duration, nanoseconds (exact, or within 1 %).
    pub quantiles: [u64; 3],
}

/// Calls between two services, or from a service to something outside (database, queue, external host).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EdgeRow {
    /// Calling service.
    pub client: String,
    /// Called service or virtual node.
    pub server: String,
    /// `service`, `database`, `messaging`, `cache` or `external`.
    pub kind: &'static str,
    /// Number of calls.
    pub count: u64,
    /// Calls whose status is error.
    pub errors: u64,
    /// Quantiles 0.5, 0.95, 0.99 of the client-side duration, nanoseconds.
    pub quantiles: [u64; 3],
}

/// A version of a service and when its first and last spans began, Unix nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceVersion {
    /// `service.name`.
    pub service: String,
    /// `service.version`.
    pub version: String,
    /// First.
    pub first: i64,
    /// Last.
    pub last: i64,
}

/// A field that a scan gives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ScanField {
    /// As a filter sees it; [`Field::Attribute`] means exactly this key, the span's own, else its resource's.
    Field(Field),
    /// An attribute of the span itself.
    Span(String),
    /// An attribute of its resource.
    Resource(String),
}

/// What to read of which spans.
#[derive(Debug, Clone)]
pub struct SpanScan {
    /// Span start time.
    pub range: TimeRange,
    /// Which spans.
    pub filter: Filter,
    /// What of them.
    pub fields: Vec<ScanField>,
}

/// Spans that a scan found, in columns. Rows are numbers of the block's own.
pub trait SpanBlock {
    /// The rows that were found.
    fn rows(&self) -> &[u32];
    /// Start of a row, Unix nanoseconds.
    fn start(&self, row: u32) -> i64;
    /// Trace of a row; only where the scan's fields have [`Field::TraceId`].
    fn trace_id(&self, row: u32) -> TraceId;
    /// A row's value of the field at this place in the scan's list; arrays as JSON text.
    fn get(&self, field: usize, row: u32) -> Option<FieldValue<'_>>;
}

/// Reads spans. Calls block: run them on a thread that may.
pub trait TraceStore: Send + Sync {
    /// All spans of a trace, by start; empty when there is none.
    fn trace(&self, id: TraceId, ctx: &QueryContext) -> Result<Vec<SpanRow>, QueryError>;

    /// Traces with a matching span, newest first.
    fn search(&self, search: &TraceSearch, ctx: &QueryContext) -> Result<Vec<TraceSummary>, QueryError>;

    /// Requests, errors, durations of the matching spans by the given filter-grammar fields.
    fn red(&self, range: TimeRange, filter: &Filter, group_by: &[String], ctx: &QueryContext) -> Result<Vec<RedRow>, QueryError>;

    /// Who calls whom in the range, restricted to edges that touch `service` when it is given.
    fn edges(&self, range: TimeRange, service: Option<&str>, ctx: &QueryContext) -> Result<Vec<EdgeRow>, QueryError>;

    /// Versions (`service.version`) of a service, or of all, those first seen first. Spans without one are left out.
    fn versions(&self, range: TimeRange, service: Option<&str>, ctx: &QueryContext) -> Result<Vec<ServiceVersion>, QueryError>;

    /// Spans that match, the newest files first. `emit` gets a block at a time and says before which start (Unix
    /// nanoseconds) it needs no more; the store may leave out older spans from then on.
    fn scan(&self, scan: &SpanScan, ctx: &QueryContext, emit: &mut dyn FnMut(&dyn SpanBlock) -> Result<i64, QueryError>) -> Result<(), QueryError>;

    /// Whole spans that match, the newest files first, in batches, until `emit` returns false.
    fn rows(
        &self,
        range: TimeRange,
        filter: &Filter,
        ctx: &QueryContext,
        emit: &mut dyn FnMut(Vec<SpanRow>) -> Result<bool, QueryError>,
    ) -> Result<(), QueryError>;

    /// All spans of these traces, each once, in no order. An error when they are more than `rows_max`.
    fn traces(&self, ids: &HashSet<TraceId>, ctx: &QueryContext) -> Result<Vec<SpanRow>, QueryError>;
}
