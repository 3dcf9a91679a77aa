//! SLOs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Serialize;
use serde_json::{Value, json};
use skopos_query::{QueryContext, QueryError, TimeRange, promql};
use skopos_reliability::view::{AlertView, SloView};

use super::events::{Marker, markers};
use super::params::RangeParams;
use crate::app::App;
use crate::frame::{FrameSeries, SeriesFrame, run_range};
use crate::http::{ApiError, ApiResult};

/// Points of a chart, about.
const POINTS: i64 = 120;
/// Shortest window an error ratio is charted over, milliseconds: with less there may be no two scrapes in it.
const WINDOW_MIN_MS: i64 = 60_000;

/// `GET /v1/slos`
#[utoipa::path(get, path = "/v1/slos", tag = "slos", responses((status = 200, description = "Objectives with their budgets", body = crate::api::shapes::SloList)))]
pub async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({"slos": app.reliability.slos_of(None)}))
}

/// An SLO with its charts.
#[derive(Debug, Serialize)]
pub struct SloDetail {
    #[serde(flatten)]
    slo: SloView,
    #[serde(flatten)]
    charts: Charts,
    alerts: Vec<AlertView>,
    markers: Vec<Marker>,
}

#[derive(Debug, Serialize)]
struct Charts {
    /// What was left of the budget, from the first event counted.
    budget: SeriesFrame,
    /// Burn rate by window.
    burn: SeriesFrame,
    error_ratio: SeriesFrame,
}

/// `GET /v1/slos/{id}`
#[utoipa::path(get, path = "/v1/slos/{id}", tag = "slos", params(("id" = String, Path), RangeParams), responses((status = 200, description = "Objective, budget, burn by window", body = crate::api::shapes::SloDetail), (status = 404, description = "No such SLO")))]
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>, Query(params): Query<RangeParams>) -> ApiResult<Json<SloDetail>> {
    let range = params.range(&app)?;
    let wanted = id.clone();
    let (found, _) = app.query(move |app, ctx| read(app, &wanted, range, ctx)).await?;
    let (slo, charts) = found.ok_or_else(|| ApiError::not_found(format!("there is no SLO {id:?}")))?;
    let mut alerts = app.reliability.alerts_of(None);
    alerts.retain(|a| a.slo.as_deref() == Some(&id));
    let markers = markers(&app, range, Some(&slo.summary.service)).await?;
    Ok(Json(SloDetail { slo, charts, alerts, markers }))
}

fn read(app: &Arc<App>, id: &str, range: TimeRange, ctx: &QueryContext) -> Result<Option<(SloView, Charts)>, QueryError> {
    let now = app.clock.now_millis();
    let step = super::logs::bucket_width(range.end - range.start, POINTS) / 1_000_000;
    let found = app.reliability.with_engine(|engine| {
        let slo = engine.slos().find(|s| s.id == id)?;
        let error_ratio = slo.indicator.error_ratio(step.max(WINDOW_MIN_MS), slo.budgeting);
        let (start, end) = (range.start.div_euclid(1_000_000), range.end.div_euclid(1_000_000));
        Some((engine.slo_view(id, now)?, error_ratio, engine.budget_course(id, start, end, step, now)))
    });
    let Some((mut slo, error_ratio, course)) = found else { return Ok(None) };
    let instant = |query: &str| -> Result<Option<f64>, QueryError> {
        let output = app.promql.instant(&*app.store.metrics(), &promql::parse(query)?, now, ctx)?;
        let value = match output.value {
            promql::Value::Vector(samples) => samples.first().map(promql::Sample::float).transpose()?,
            promql::Value::Scalar { value, .. } => Some(value),
            promql::Value::Text { .. } | promql::Value::Matrix(_) => None,
        };
        Ok(value.filter(|v| v.is_finite()))
    };
    for window in &mut slo.windows {
        let (long, short) = (instant(&window.long_query)?, instant(&window.short_query)?);
        window.burns(long, short);
    }
    let names: Vec<String> = slo.windows.iter().map(|w| format!("{} {}", w.severity, w.long)).collect();
    let queries: Vec<(&str, &str)> = names.iter().zip(&slo.windows).map(|(name, w)| (name.as_str(), w.long_query.as_str())).collect();
    let (first, left) = course.unwrap_or((range.end.div_euclid(1_000_000), Vec::new()));
    let left = FrameSeries { name: "budget left".to_owned(), labels: Default::default(), values: left };
    let charts = Charts {
        budget: SeriesFrame { start: first * 1_000_000, step: step * 1_000_000, series: vec![left] },
        burn: run_range(app, &queries, range, step, ctx)?,
        error_ratio: run_range(app, &[("bad events", &error_ratio)], range, step, ctx)?,
    };
    Ok(Some((slo, charts)))
}
