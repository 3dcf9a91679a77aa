//! Alerts and rules.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use skopos_model::StatusCode as SpanStatus;
use skopos_query::TimeRange;
use skopos_query::filter::Field;
use skopos_query::traces::TraceSearch;
use skopos_storage::JournalQuery;

use super::params::{and, equal};
use crate::app::App;
use crate::http::{ApiError, ApiResult};

/// Which alerts.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct AlertParams {
    /// `pending`, `firing`, `resolved`, several separated by commas; all when absent.
    pub state: Option<String>,
}

/// `GET /v1/alerts`
#[utoipa::path(get, path = "/v1/alerts", tag = "alerts", params(AlertParams), responses((status = 200, description = "Alerts, the gravest first", body = crate::api::shapes::AlertList)))]
pub async fn list(State(app): State<Arc<App>>, Query(params): Query<AlertParams>) -> Json<Value> {
    let mut alerts = app.reliability.alerts_of(None);
    if let (Some(states), Value::Array(list)) = (params.state.filter(|s| !s.is_empty()), &mut alerts) {
        list.retain(|a| a["state"].as_str().is_some_and(|s| states.split(',').any(|w| w.trim() == s)));
    }
    let status = app.reliability.evaluation_status(app.clock.now_nanos());
    Json(json!({"alerts": alerts, "last_evaluation": status["last"], "lag_seconds": status["lag_seconds"]}))
}

/// Most entries of an alert's history.
const HISTORY_MAX: u32 = 200;

/// `GET /v1/alerts/{fingerprint}`
#[utoipa::path(get, path = "/v1/alerts/{fingerprint}", tag = "alerts", params(("fingerprint" = String, Path)), responses((status = 200, description = "Condition, value, history, notifications", body = crate::api::shapes::AlertDetail), (status = 404, description = "No such alert now")))]
pub async fn one(State(app): State<Arc<App>>, Path(fingerprint): Path<String>) -> ApiResult<Json<Value>> {
    let mut alert = app.reliability.alert(&fingerprint).ok_or_else(|| {
        ApiError::not_found(format!("there is no alert {fingerprint}: resolved alerts are shown for 15 minutes, their history stays in the journal"))
    })?;
    let query = JournalQuery { reference: Some(fingerprint), limit: HISTORY_MAX, backward: true, ..JournalQuery::default() };
    let journal = app.store.state().journal(query).await?;
    let history: Vec<Value> =
        journal.iter().map(|e| json!({"time": e.at.to_string(), "state": e.kind, "value": null, "text": e.body["text"]})).collect();
    alert["history"] = Value::Array(history);
    alert["exemplar_trace"] = json!(failing_trace(&app, &alert).await?);
    Ok(Json(alert))
}

/// The newest failing trace of the alert's service while it was active.
async fn failing_trace(app: &Arc<App>, alert: &Value) -> ApiResult<Option<String>> {
    let Some(service) = alert["service"].as_str().map(str::to_owned) else { return Ok(None) };
    let nanos = |key: &str| alert[key].as_str().and_then(|s| s.parse::<i64>().ok());
    let start = nanos("active_at").unwrap_or(0) - 300_000_000_000;
    let end = nanos("resolved_at").unwrap_or_else(|| app.clock.now_nanos());
    let (found, _) = app
        .query(move |app, ctx| {
            let failing = and([equal(Field::Service, &service), equal(Field::Status, SpanStatus::Error.as_str())]);
            let range = TimeRange { start, end };
            let search = |filter| TraceSearch { range, filter, limit: 1 };
            let traces = app.store.traces();
            let mut found = traces.search(&search(failing), ctx)?;
            if found.is_empty() {
                found = traces.search(&search(equal(Field::Service, &service)), ctx)?;
            }
            Ok(found.into_iter().next().map(|t| t.trace_id.to_hex()))
        })
        .await?;
    Ok(found)
}

/// `GET /v1/rules`
#[utoipa::path(get, path = "/v1/rules", tag = "alerts", responses((status = 200, description = "Rules by group with health and state", body = crate::api::shapes::RuleList)))]
pub async fn rules(State(app): State<Arc<App>>) -> Json<Value> {
    Json(app.reliability.rule_groups())
}
