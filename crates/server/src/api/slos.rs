//! SLOs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde_json::{Value, json};

use super::events::markers;
use super::params::RangeParams;
use crate::app::App;
use crate::http::{ApiError, ApiResult};

/// `GET /v1/slos`
#[utoipa::path(get, path = "/v1/slos", tag = "slos", responses((status = 200, description = "Objectives with their budgets", body = crate::api::shapes::SloList)))]
pub async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({"slos": app.reliability.slos_of(None)}))
}

/// `GET /v1/slos/{id}`
#[utoipa::path(get, path = "/v1/slos/{id}", tag = "slos", params(("id" = String, Path), RangeParams), responses((status = 200, description = "Objective, budget, burn by window", body = crate::api::shapes::SloDetail), (status = 404, description = "No such SLO")))]
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>, Query(params): Query<RangeParams>) -> ApiResult<Json<Value>> {
    let range = params.range(&app)?;
    let wanted = id.clone();
    let (found, _) = app.query(move |app, ctx| app.reliability.slo_detail(app, &wanted, range, ctx)).await?;
    let mut slo = found.ok_or_else(|| ApiError::not_found(format!("there is no SLO {id:?}")))?;
    let service = slo["service"].as_str().unwrap_or("").to_owned();
    slo["markers"] = json!(markers(&app, range, Some(&service)).await?);
    Ok(Json(slo))
}
