//! Drills and their reports.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use skopos_reliability::drill::SCENARIOS;

use crate::app::App;
use crate::drill::{self, DrillView};
use crate::http::{ApiError, ApiResult};

/// `GET /v1/drills`
#[utoipa::path(get, path = "/v1/drills", tag = "drills", responses((status = 200, description = "Drills, newest first, and the scenarios there are", body = crate::api::shapes::DrillList)))]
pub async fn list(State(app): State<Arc<App>>) -> ApiResult<Json<Value>> {
    let drills = drill::list(&app).await?;
    let scenarios: Vec<Value> = SCENARIOS.iter().map(|s| json!({"name": s.name, "summary": s.summary})).collect();
    Ok(Json(json!({"drills": drills, "scenarios": scenarios})))
}

/// `GET /v1/drills/{id}`
#[utoipa::path(get, path = "/v1/drills/{id}", tag = "drills", params(("id" = String, Path)), responses((status = 200, description = "Report, as far as it is", body = crate::api::shapes::DrillReport), (status = 404, description = "No such drill")))]
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<DrillView>> {
    drill::one(&app, &id).await?.map(Json).ok_or_else(|| ApiError::not_found(format!("there is no drill {id:?}")))
}

/// Body of `POST /v1/drills`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDrill {
    /// Scenario.
    scenario: String,
}

/// `POST /v1/drills`
#[utoipa::path(post, path = "/v1/drills", tag = "drills", request_body = NewDrill, responses((status = 201, description = "Started", body = crate::api::shapes::DrillReport), (status = 400, description = "No such drill, or it cannot be run here")))]
pub async fn start(State(app): State<Arc<App>>, Json(new): Json<NewDrill>) -> ApiResult<(StatusCode, Json<DrillView>)> {
    let view = drill::start(&app, &new.scenario).await.map_err(ApiError::bad_request)?;
    Ok((StatusCode::CREATED, Json(view)))
}
