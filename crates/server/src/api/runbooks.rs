//! Runbooks and their runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use skopos_reliability::runbooks::RunRefusal;
use skopos_reliability::view::{RunView, RunbookDetailView, StepResultView};

use crate::app::App;
use crate::http::{ApiError, ApiResult};
use crate::reliability::Reliability;

impl From<RunRefusal> for ApiError {
    fn from(refusal: RunRefusal) -> Self {
        let (status, code) = match &refusal {
            RunRefusal::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            RunRefusal::Unconfirmed(_) => (StatusCode::PRECONDITION_REQUIRED, "unconfirmed"),
            RunRefusal::Closed(_) => (StatusCode::CONFLICT, "closed"),
            RunRefusal::Busy(_) => (StatusCode::CONFLICT, "busy"),
            _ => (StatusCode::BAD_REQUEST, "invalid"),
        };
        Self::new(status, code, refusal.to_string())
    }
}

/// Who acts, for the timeline: the header `X-Skopos-Actor`, else `operator`.
fn actor(headers: &HeaderMap) -> String {
    let given = headers.get("x-skopos-actor").and_then(|v| v.to_str().ok()).map(str::trim).filter(|a| !a.is_empty());
    given.unwrap_or("operator").chars().take(64).collect()
}

/// Search words.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct RunbookParams {
    /// Words; an alert's name finds its runbook first.
    pub q: String,
}

/// `GET /v1/runbooks`
#[utoipa::path(get, path = "/v1/runbooks", tag = "runbooks", params(RunbookParams), responses((status = 200, description = "Runbooks, best match first, and paging alerts without one", body = crate::api::shapes::RunbookList)))]
pub async fn list(State(app): State<Arc<App>>, Query(params): Query<RunbookParams>) -> Json<Value> {
    let now = app.clock.now_millis();
    let (runbooks, missing) = app.reliability.with_engine(|e| (e.runbook_views(&params.q, now), e.alerts_without_runbook()));
    Json(json!({"runbooks": runbooks, "missing": missing}))
}

/// `GET /v1/runbooks/{id}`
#[utoipa::path(get, path = "/v1/runbooks/{id}", tag = "runbooks", params(("id" = String, Path)), responses((status = 200, description = "Sections, steps, runs", body = crate::api::shapes::RunbookDetail), (status = 404, description = "No such runbook")))]
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<RunbookDetailView>> {
    let now = app.clock.now_millis();
    app.reliability.with_engine(|e| e.runbook_detail(&id, now)).map(Json).ok_or_else(|| ApiError::not_found(format!("there is no runbook {id:?}")))
}

/// Body of `POST /v1/runbooks/{id}/runs`.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewRun {
    /// Fingerprint of the alert it answers.
    alert: Option<String>,
}

/// `POST /v1/runbooks/{id}/runs`
#[utoipa::path(post, path = "/v1/runbooks/{id}/runs", tag = "runbooks", params(("id" = String, Path)), request_body = NewRun, responses((status = 200, description = "The run", body = crate::api::shapes::RunDetail), (status = 404, description = "No such runbook or alert")))]
pub async fn start(State(app): State<Arc<App>>, Path(id): Path<String>, headers: HeaderMap, Json(new): Json<NewRun>) -> ApiResult<Json<RunView>> {
    Ok(Json(Reliability::open_run(&app, &id, new.alert.as_deref(), &actor(&headers)).await?))
}

/// `GET /v1/runs/{run}`
#[utoipa::path(get, path = "/v1/runs/{run}", tag = "runbooks", params(("run" = String, Path)), responses((status = 200, description = "Results so far and what is suggested next", body = crate::api::shapes::RunDetail), (status = 404, description = "No such run")))]
pub async fn run(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<RunView>> {
    app.reliability.with_engine(|e| e.run_view(&id)).map(Json).ok_or_else(|| ApiError::not_found(format!("there is no run {id:?}")))
}

/// Body of `POST /v1/runs/{run}/steps/{step}`.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StepBody {
    /// The step's id once more, for anything that changes something.
    confirm: Option<String>,
    /// Only say what would be done.
    dry_run: bool,
}

/// `POST /v1/runs/{run}/steps/{step}`
#[utoipa::path(post, path = "/v1/runs/{run}/steps/{step}", tag = "runbooks", params(("run" = String, Path), ("step" = String, Path)), request_body = StepBody, responses((status = 200, description = "What came of it", body = crate::api::shapes::StepOutcome), (status = 409, description = "Under way, or the run is stopped"), (status = 428, description = "The step's id has to be typed")))]
pub async fn step(
    State(app): State<Arc<App>>,
    Path((run, step)): Path<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<StepBody>,
) -> ApiResult<Json<StepResultView>> {
    Ok(Json(Reliability::run_step(&app, &run, &step, &actor(&headers), body.confirm.as_deref(), body.dry_run).await?))
}
