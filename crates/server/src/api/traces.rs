//! Traces: search, look-up, critical path, their logs.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use skopos_model::{SpanId, TraceId};
use skopos_query::critical_path::{Section, critical_path};
use skopos_query::filter::{Field, Filter};
use skopos_query::logs::{Direction, LogSearch};
use skopos_query::traces::{SpanRow, TraceSearch, TraceSummary};
use skopos_query::{QueryError, TimeRange};

use super::logs::{LogsResponse, run_search};
use super::params::{RangeParams, equal};
use crate::app::{App, Cost};
use crate::http::{ApiError, ApiResult};

/// Parameters of a trace search.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct SearchParams {
    /// Most traces, 50 when absent, at most 1,000.
    pub limit: Option<usize>,
}

/// Traces in a list.
#[derive(Debug, Serialize)]
pub struct TracesResponse {
    traces: Vec<TraceSummary>,
    stats: Cost,
}

/// `GET /v1/traces`
#[utoipa::path(get, path = "/v1/traces", tag = "traces", params(RangeParams, SearchParams), responses((status = 200, description = "Traces with a matching span, newest first", body = crate::api::shapes::TracePage)))]
pub async fn search(
    State(app): State<Arc<App>>,
    Query(range): Query<RangeParams>,
    Query(params): Query<SearchParams>,
) -> ApiResult<Json<TracesResponse>> {
    let search = TraceSearch { range: range.range(&app)?, filter: range.filter()?, limit: params.limit.unwrap_or(50).clamp(1, 1000) };
    let (traces, stats) = app.query(move |app, ctx| app.store.traces().search(&search, ctx)).await?;
    Ok(Json(TracesResponse { traces, stats }))
}

/// One trace with its critical path.
#[derive(Debug, Serialize)]
pub struct TraceDetail {
    trace_id: TraceId,
    spans: Vec<SpanRow>,
    critical_path: Vec<Section>,
    state: &'static str,
    log_count: u64,
    stats: Cost,
}

pub(super) fn parse_id(text: &str) -> ApiResult<TraceId> {
    // Jaeger and others leave leading zeros away.
    format!("{text:0>32}").parse().map_err(|_| ApiError::bad_request(format!("{text:?} is no trace id: expected up to 32 hexadecimal digits")))
}

/// `GET /v1/traces/{id}`
#[utoipa::path(get, path = "/v1/traces/{id}", tag = "traces", params(("id" = String, Path)), responses((status = 200, description = "All spans and the critical path", body = crate::api::shapes::Trace), (status = 404, description = "No such trace")))]
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<TraceDetail>> {
    let trace_id = parse_id(&id)?;
    let ((spans, log_count), stats) = app
        .query(move |app, ctx| {
            let spans = app.store.traces().trace(trace_id, ctx)?;
            let range = around(&spans);
            let histogram = app.store.logs().histogram(range, &equal(Field::TraceId, &trace_id.to_hex()), 3_600_000_000_000, ctx)?;
            let log_count = histogram.series.iter().flat_map(|(_, counts)| counts).sum();
            Ok::<_, QueryError>((spans, log_count))
        })
        .await?;
    if spans.is_empty() {
        return Err(ApiError::not_found(format!(
            "there is no trace {trace_id}: it was not sampled, has passed its retention, or has not arrived yet"
        )));
    }
    let known: HashSet<SpanId> = spans.iter().map(|s| s.span_id).collect();
    let complete =
        spans.iter().any(|s| s.parent_span_id.is_none()) && spans.iter().all(|s| s.parent_span_id.is_none() || known.contains(&s.parent_span_id));
    Ok(Json(TraceDetail {
        trace_id,
        critical_path: critical_path(&spans).sections,
        spans,
        state: if complete { "complete" } else { "partial" },
        log_count,
        stats,
    }))
}

/// An hour to either side: a log line may come from a clock that is off, or from a retry after the trace.
fn around(spans: &[SpanRow]) -> TimeRange {
    let hour = 3_600_000_000_000;
    match (spans.iter().map(|s| s.start).min(), spans.iter().map(|s| s.start + s.duration).max()) {
        (Some(start), Some(end)) => TimeRange { start: start - hour, end: end + hour },
        _ => TimeRange::ALL,
    }
}

/// `GET /v1/traces/{id}/logs`
#[utoipa::path(get, path = "/v1/traces/{id}/logs", tag = "traces", params(("id" = String, Path)), responses((status = 200, description = "Records that carry the trace id, oldest first", body = crate::api::shapes::LogPage)))]
pub async fn logs(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<LogsResponse>> {
    let trace_id = parse_id(&id)?;
    let (range, _) = app.query(move |app, ctx| app.store.traces().trace(trace_id, ctx).map(|spans| around(&spans))).await?;
    let filter: Filter = equal(Field::TraceId, &trace_id.to_hex());
    let search = LogSearch { range, filter, limit: 5_000, direction: Direction::Forward, after: None, streams: None };
    Ok(Json(run_search(&app, search).await?))
}
