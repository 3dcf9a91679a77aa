//! Alerts and rules.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use skopos_model::{StatusCode as SpanStatus, TraceId};
use skopos_query::filter::Field;
use skopos_query::traces::TraceSearch;
use skopos_query::{QueryContext, QueryError, TimeRange, promql};
use skopos_reliability::view::AlertView;
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
    if let Some(states) = params.state.filter(|s| !s.is_empty()) {
        alerts.retain(|a| states.split(',').any(|w| w.trim() == a.state));
    }
    let status = app.reliability.evaluation_status(app.clock.now_nanos());
    Json(json!({"alerts": alerts, "last_evaluation": status["last"], "lag_seconds": status["lag_seconds"]}))
}

/// Most entries of an alert's history.
const HISTORY_MAX: u32 = 200;

/// `GET /v1/alerts/{fingerprint}`
#[utoipa::path(get, path = "/v1/alerts/{fingerprint}", tag = "alerts", params(("fingerprint" = String, Path)), responses((status = 200, description = "Condition, value, history, notifications", body = crate::api::shapes::AlertDetail), (status = 404, description = "No such alert now")))]
pub async fn one(State(app): State<Arc<App>>, Path(fingerprint): Path<String>) -> ApiResult<Json<AlertDetail>> {
    let alert = app.reliability.alerts_of(None).into_iter().find(|a| a.fingerprint == fingerprint).ok_or_else(|| {
        ApiError::not_found(format!("there is no alert {fingerprint}: resolved alerts are shown for 15 minutes, their history stays in the journal"))
    })?;
    let query = JournalQuery { reference: Some(fingerprint), limit: HISTORY_MAX, backward: true, ..JournalQuery::default() };
    let journal = app.store.state().journal(query).await?;
    let history: Vec<Value> =
        journal.iter().map(|e| json!({"time": e.at.to_string(), "state": e.kind, "value": null, "text": e.body["text"]})).collect();
    let exemplar_trace = exemplar_trace(&app, &alert).await?;
    Ok(Json(AlertDetail { alert, history, exemplar_trace }))
}

/// An alert with what happened to it.
#[derive(Debug, Serialize)]
pub struct AlertDetail {
    #[serde(flatten)]
    alert: AlertView,
    history: Vec<Value>,
    /// A trace that shows what the alert is about.
    exemplar_trace: Option<String>,
}

/// Telemetry this much before an alert became active may have caused it (5 minutes, nanoseconds).
const BEFORE: i64 = 300_000_000_000;

/// A trace that shows what the alert is about: of a condition on a histogram the slowest exemplar, else the newest
/// failing trace of its service, else the newest.
async fn exemplar_trace(app: &Arc<App>, alert: &AlertView) -> ApiResult<Option<String>> {
    let start = alert.active_ms * 1_000_000 - BEFORE;
    let end = alert.resolved_ms.map_or_else(|| app.clock.now_nanos(), |ms| ms * 1_000_000);
    let range = TimeRange { start, end };
    let (expr, service) = (alert.expr.clone(), alert.service.clone());
    let (found, _) = app
        .query(move |app, ctx| {
            if let Some(slow) = slowest(app, &expr, range, ctx)? {
                return Ok(Some(slow.to_hex()));
            }
            let Some(service) = service else { return Ok(None) };
            let failing = and([equal(Field::Service, &service), equal(Field::Status, SpanStatus::Error.as_str())]);
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

/// The trace of the greatest exemplar of the histograms a condition reads.
fn slowest(app: &Arc<App>, expr: &str, range: TimeRange, ctx: &QueryContext) -> Result<Option<TraceId>, QueryError> {
    let expr = promql::parse(expr)?;
    let histograms: Vec<_> = expr.selectors().into_iter().filter(|s| s.name.as_deref().is_some_and(|n| n.ends_with("_bucket"))).collect();
    let matchers: Vec<_> = histograms.into_iter().map(|s| s.matchers.clone()).collect();
    if matchers.is_empty() {
        return Ok(None);
    }
    let found = app.store.metrics().exemplars(&matchers, range.start / 1_000_000, range.end / 1_000_000, ctx)?;
    let all = found.iter().flat_map(|(_, list)| list).filter(|e| !e.trace_id.is_none() && e.value.is_finite());
    Ok(all.max_by(|a, b| a.value.total_cmp(&b.value)).map(|e| e.trace_id))
}

/// `GET /v1/rules`
#[utoipa::path(get, path = "/v1/rules", tag = "alerts", responses((status = 200, description = "Rules by group with health and state", body = crate::api::shapes::RuleList)))]
pub async fn rules(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({"groups": app.reliability.with_engine(skopos_reliability::engine::Engine::rule_views)}))
}
