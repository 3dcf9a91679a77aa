//! SQL over all tables.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use skopos_query::QueryContext;
use skopos_query::context::StatsSnapshot;
use skopos_storage::SqlResult;

use crate::app::App;
use crate::http::ApiResult;

/// Body of `POST /v1/sql`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlRequest {
    /// One SELECT, EXPLAIN, SHOW or DESCRIBE.
    query: String,
}

/// Columns, rows, cost.
#[derive(Debug, Serialize)]
pub struct SqlResponse {
    #[serde(flatten)]
    result: SqlResult,
    stats: SqlCost,
}

#[derive(Debug, Serialize)]
struct SqlCost {
    elapsed_ms: f64,
    #[serde(flatten)]
    counts: StatsSnapshot,
}

/// `POST /v1/sql`
#[utoipa::path(post, path = "/v1/sql", tag = "sql", request_body = SqlRequest, responses((status = 200, description = "Columns and rows", body = crate::api::shapes::SqlTable), (status = 400, description = "The query is wrong or not read-only")))]
pub async fn sql(State(app): State<Arc<App>>, Json(request): Json<SqlRequest>) -> ApiResult<Json<SqlResponse>> {
    let started = Instant::now();
    let ctx = QueryContext::new(app.query_limits, started);
    let _stop_when_gone = ctx.cancel_on_drop();
    let result = app.store.sql(request.query, &ctx).await?;
    let stats = SqlCost { elapsed_ms: started.elapsed().as_secs_f64() * 1e3, counts: ctx.stats.snapshot() };
    Ok(Json(SqlResponse { result, stats }))
}
