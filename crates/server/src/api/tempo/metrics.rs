//! `GET /api/metrics/query_range` and `/api/metrics/query`: series out of spans.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde_json::{Value as Answer, json};
use skopos_query::TimeRange;
use skopos_query::traceql::{Body, MetricsExpr, Series, Steps, metrics, parse};

use super::error::TempoResult;
use super::params::{Params, key_values, parse_step, search_metrics};
use crate::app::{App, Cost};
use crate::http::ApiError;

/// Steps of an answer where no step is asked for.
const STEPS_DEFAULT: i64 = 120;
const SECOND: i64 = 1_000_000_000;

/// `GET /api/metrics/query_range`
pub(super) async fn range(State(app): State<Arc<App>>, Query(params): Query<Vec<(String, String)>>) -> TempoResult<Json<Answer>> {
    let params = Params(params);
    let expr = expression(&params)?;
    let range = params.range(&app)?;
    let step = match params.get("step") {
        Some(text) => parse_step(text)?,
        None => ((range.end - range.start) / STEPS_DEFAULT / SECOND).max(1) * SECOND,
    };
    let steps = Steps::covering(range, step, app.query_limits.points_max)?;
    let (series, cost) = run(&app, expr, range, steps).await?;
    let series: Vec<Answer> = series
        .iter()
        .map(|one| {
            let points = one.values.iter().enumerate().filter(|(_, value)| value.is_finite());
            let samples: Vec<Answer> =
                points.map(|(at, value)| json!({ "timestampMs": (steps.time(at) / 1_000_000).to_string(), "value": value })).collect();
            json!({ "labels": key_values(&one.labels), "samples": samples })
        })
        .collect();
    Ok(Json(json!({ "series": series, "metrics": search_metrics(&cost, 0) })))
}

/// `GET /api/metrics/query`: one value for the whole range.
pub(super) async fn instant(State(app): State<Arc<App>>, Query(params): Query<Vec<(String, String)>>) -> TempoResult<Json<Answer>> {
    let params = Params(params);
    let expr = expression(&params)?;
    let range = params.range(&app)?;
    let steps = Steps { start: range.start, step: range.end - range.start, count: 1 };
    let (series, cost) = run(&app, expr, range, steps).await?;
    let values = series.iter().filter_map(|one| Some((one, *one.values.first().filter(|v| v.is_finite())?)));
    let series: Vec<Answer> = values.map(|(one, value)| json!({ "labels": key_values(&one.labels), "value": value })).collect();
    Ok(Json(json!({ "series": series, "metrics": search_metrics(&cost, 0) })))
}

fn expression(params: &Params) -> TempoResult<MetricsExpr> {
    let text = params.get("q").or_else(|| params.get("query")).ok_or_else(|| ApiError::bad_request("q: expected a TraceQL metrics query"))?;
    match parse(text)?.body {
        Body::Metrics(expr) => Ok(expr),
        Body::Search(_) => Err(ApiError::bad_request("this query finds spans; expected a metrics function behind it, for example `| rate()`").into()),
    }
}

async fn run(app: &Arc<App>, expr: MetricsExpr, range: TimeRange, steps: Steps) -> TempoResult<(Vec<Series>, Cost)> {
    Ok(app.query(move |app, ctx| metrics(&*app.store.traces(), &expr, range, steps, ctx)).await?)
}
