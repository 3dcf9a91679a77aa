//! Log search.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use skopos_query::logs::{Direction, Facet, Histogram, LogRow, LogSearch};

use super::params::RangeParams;
use crate::app::{App, Cost};
use crate::http::{ApiError, ApiResult};

/// Longest body in a list: the page freezes on long lines, not on many.
const LIST_BODY_BYTES_MAX: usize = 2048;
/// Most rows a page asks for at once.
const ROWS_MAX: usize = 10_000;

/// Parameters of a log search.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct SearchParams {
    /// Most rows, 200 when absent, at most 10,000.
    pub limit: Option<usize>,
    /// Continue after: `next` of the page before.
    pub after: Option<String>,
    /// `backward` (newest first, default) or `forward`.
    pub direction: Option<String>,
}

/// A record in a list, its body cut.
#[derive(Debug, Serialize)]
pub struct ListRow {
    #[serde(flatten)]
    row: LogRow,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    body_truncated: bool,
}

impl ListRow {
    fn new(mut row: LogRow) -> Self {
        let body_truncated = row.body.len() > LIST_BODY_BYTES_MAX;
        if body_truncated {
            row.body.truncate(row.body.floor_char_boundary(LIST_BODY_BYTES_MAX));
        }
        Self { row, body_truncated }
    }
}

/// A page of records.
#[derive(Debug, Serialize)]
pub struct LogsResponse {
    rows: Vec<ListRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    stats: Cost,
}

/// Runs a search and cuts bodies for a list.
///
/// # Errors
/// The query's.
pub async fn run_search(app: &Arc<App>, search: LogSearch) -> ApiResult<LogsResponse> {
    let (page, stats) = app.query(move |app, ctx| app.store.logs().search(&search, ctx)).await?;
    Ok(LogsResponse { rows: page.rows.into_iter().map(ListRow::new).collect(), next: page.next, stats })
}

/// `GET /v1/logs`
#[utoipa::path(get, path = "/v1/logs", tag = "logs", params(RangeParams, SearchParams), responses((status = 200, description = "Matching records, newest first", body = crate::api::shapes::LogPage), (status = 400, description = "Filter or range is wrong; `error.at` is the position")))]
pub async fn search(
    State(app): State<Arc<App>>,
    Query(range): Query<RangeParams>,
    Query(params): Query<SearchParams>,
) -> ApiResult<Json<LogsResponse>> {
    let direction = match params.direction.as_deref() {
        None | Some("" | "backward") => Direction::Backward,
        Some("forward") => Direction::Forward,
        Some(other) => return Err(ApiError::bad_request(format!("direction: {other:?} is neither backward nor forward"))),
    };
    let search = LogSearch {
        range: range.range(&app)?,
        filter: range.filter()?,
        limit: params.limit.unwrap_or(200).clamp(1, ROWS_MAX),
        direction,
        after: params.after,
        streams: None,
    };
    Ok(Json(run_search(&app, search).await?))
}

/// Parameters of a histogram.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct HistogramParams {
    /// About how many buckets, 60 when absent, at most 1,000.
    pub buckets: Option<i64>,
}

/// Counts over time by severity.
#[derive(Debug, Serialize)]
pub struct HistogramResponse {
    #[serde(flatten)]
    histogram: Histogram,
    stats: Cost,
}

/// Widths people can read off an axis, in seconds.
const BUCKET_SECONDS: [i64; 16] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400];

/// A readable bucket width (nanoseconds) that gives about `buckets` over `span` nanoseconds.
pub fn bucket_width(span: i64, buckets: i64) -> i64 {
    let wanted = span / buckets.max(1) / 1_000_000_000;
    let seconds = BUCKET_SECONDS.into_iter().find(|s| *s >= wanted).unwrap_or_else(|| wanted.div_euclid(86_400).max(1) * 86_400);
    seconds * 1_000_000_000
}

/// `GET /v1/logs/histogram`
#[utoipa::path(get, path = "/v1/logs/histogram", tag = "logs", params(RangeParams, HistogramParams), responses((status = 200, description = "Counts by time and severity", body = crate::api::shapes::LogHistogram)))]
pub async fn histogram(
    State(app): State<Arc<App>>,
    Query(range): Query<RangeParams>,
    Query(params): Query<HistogramParams>,
) -> ApiResult<Json<HistogramResponse>> {
    let (time, filter) = (range.range(&app)?, range.filter()?);
    let step = bucket_width(time.end.saturating_sub(time.start), params.buckets.unwrap_or(60).clamp(1, 1000));
    let (histogram, stats) = app.query(move |app, ctx| app.store.logs().histogram(time, &filter, step, ctx)).await?;
    Ok(Json(HistogramResponse { histogram, stats }))
}

/// Parameters of facets.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct FacetParams {
    /// Fields separated by commas; those that tell most when absent.
    pub fields: Option<String>,
    /// Most values a field, 10 when absent, at most 200.
    pub limit: Option<usize>,
}

/// Values with their counts.
#[derive(Debug, Serialize)]
pub struct FacetsResponse {
    facets: Vec<Facet>,
    stats: Cost,
}

/// `GET /v1/logs/facets`
#[utoipa::path(get, path = "/v1/logs/facets", tag = "logs", params(RangeParams, FacetParams), responses((status = 200, description = "Values and counts of fields", body = crate::api::shapes::LogFacets)))]
pub async fn facets(
    State(app): State<Arc<App>>,
    Query(range): Query<RangeParams>,
    Query(params): Query<FacetParams>,
) -> ApiResult<Json<FacetsResponse>> {
    let (time, filter) = (range.range(&app)?, range.filter()?);
    let fields: Vec<String> = params.fields.unwrap_or_default().split(',').map(str::trim).filter(|f| !f.is_empty()).map(str::to_owned).collect();
    let limit = params.limit.unwrap_or(10).clamp(1, 200);
    let (facets, stats) = app.query(move |app, ctx| app.store.logs().facets(time, &filter, &fields, limit, ctx)).await?;
    Ok(Json(FacetsResponse { facets, stats }))
}

/// Parameters of a look-up with neighbours.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct ContextParams {
    /// Records of the same stream before it, 0 when absent, at most 500.
    pub before: Option<usize>,
    /// Records of the same stream after it.
    pub after: Option<usize>,
}

/// A record and its neighbours.
#[derive(Debug, Serialize)]
pub struct LogContext {
    row: LogRow,
    before: Vec<LogRow>,
    after: Vec<LogRow>,
    stats: Cost,
}

/// `GET /v1/logs/{id}`
#[utoipa::path(get, path = "/v1/logs/{id}", tag = "logs", params(("id" = String, Path), ContextParams), responses((status = 200, description = "The record in full", body = crate::api::shapes::LogNeighbours), (status = 404, description = "No such record")))]
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>, Query(params): Query<ContextParams>) -> ApiResult<Json<LogContext>> {
    let (before, after) = (params.before.unwrap_or(0).min(500), params.after.unwrap_or(0).min(500));
    let wanted = id.clone();
    let (mut rows, stats) = app.query(move |app, ctx| app.store.logs().context(&wanted, before, after, ctx)).await?;
    let Some(at) = rows.iter().position(|r| r.id == id) else {
        return Err(ApiError::not_found(format!("there is no log record {id}: it may have passed its retention")));
    };
    let after = rows.split_off(at + 1);
    let Some(row) = rows.pop() else { return Err(ApiError::internal("the record vanished while it was read")) };
    Ok(Json(LogContext { row, before: rows, after, stats }))
}
