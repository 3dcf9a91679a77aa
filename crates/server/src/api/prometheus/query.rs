//! `query` and `query_range`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use skopos_query::QueryContext;
use skopos_query::promql::{self, QueryOutput, Value};

use super::{Params, PromError, PromResult, TRUNCATED};
use crate::app::{App, Cost};

/// `GET|POST /api/v1/query`
pub(crate) async fn query(State(app): State<Arc<App>>, params: Params) -> PromResult {
    let started = now();
    let limit = params.limit()?;
    let time = params.time("time", Some(app.clock.now_millis()))?;
    let expr = params.expression()?;
    let (limits, lookback) = (params.limits(app.query_limits)?, params.duration("lookback_delta")?);
    let prepared = started.elapsed();
    let detailed = params.get("stats") == Some("all");
    let work = move |app: &Arc<App>, ctx: &QueryContext| engine(app, lookback).instant(&*app.store.metrics(), &expr, time, &in_detail(ctx, detailed));
    let (output, cost) = app.try_query(limits, work).await?;
    let output = output?;
    let stats = params.get("stats").map(|_| stats(prepared, started.elapsed(), &output.cost, &cost));
    Ok(respond(output, limit, stats))
}

/// `GET|POST /api/v1/query_range`
pub(crate) async fn query_range(State(app): State<Arc<App>>, params: Params) -> PromResult {
    let started = now();
    let limit = params.limit()?;
    let (start, end) = (params.time("start", None)?, params.time("end", None)?);
    if end < start {
        return Err(PromError::parameter("end", "end timestamp must not be before start time"));
    }
    let step = params.duration("step")?.ok_or_else(|| PromError::parameter("step", "cannot parse \"\" to a valid duration"))?;
    if step <= 0 {
        return Err(PromError::parameter("step", "zero or negative query resolution step widths are not accepted. Try a positive integer"));
    }
    let points = end.saturating_sub(start) / step;
    if points > i64::try_from(app.query_limits.points_max).unwrap_or(i64::MAX) {
        return Err(PromError::bad_data(format!(
            "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
            app.query_limits.points_max
        )));
    }
    let expr = params.expression()?;
    let (limits, lookback) = (params.limits(app.query_limits)?, params.duration("lookback_delta")?);
    let prepared = started.elapsed();
    let detailed = params.get("stats") == Some("all");
    let work = move |app: &Arc<App>, ctx: &QueryContext| {
        engine(app, lookback).range(&*app.store.metrics(), &expr, start, end, step, &in_detail(ctx, detailed))
    };
    let (output, cost) = app.try_query(limits, work).await?;
    let output = output?;
    let stats = params.get("stats").map(|_| stats(prepared, started.elapsed(), &output.cost, &cost));
    Ok(respond(output, limit, stats))
}

fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "how long a request waited and ran is told to its client")]
    Instant::now()
}

fn engine(app: &App, lookback_ms: Option<i64>) -> promql::Engine {
    match lookback_ms {
        Some(ms) => {
            let lookback = Duration::from_millis(ms.max(1).unsigned_abs());
            promql::Engine::new(promql::EngineOptions { lookback, ..app.promql.options().clone() })
        }
        None => app.promql.clone(),
    }
}

/// The same context, with the cost of each step if that is wanted.
fn in_detail(ctx: &QueryContext, detailed: bool) -> QueryContext {
    let mut ctx = ctx.clone();
    ctx.detailed = detailed;
    ctx
}

/// What the query has cost, in Prometheus' shape and, under `cost`, in ours. Reading series is part of the preparation,
/// as Prometheus has it; results are sorted as they come.
fn stats(prepared: Duration, total: Duration, evaluated: &promql::Cost, cost: &Cost) -> serde_json::Value {
    let seconds = |d: Duration| d.as_secs_f64();
    let queued = (seconds(total) - seconds(prepared) - cost.elapsed_ms / 1e3).max(0.0);
    let mut samples = json!({"totalQueryableSamples": evaluated.samples, "peakSamples": evaluated.peak_samples});
    if !evaluated.samples_by_step.is_empty() {
        let by_step = evaluated.samples_by_step.iter().map(|(time, samples)| json!([*time as f64 / 1e3, samples]));
        samples["totalQueryableSamplesPerStep"] = by_step.collect();
    }
    json!({
        "timings": {
            "evalTotalTime": seconds(evaluated.total), "resultSortTime": 0.0,
            "queryPreparationTime": seconds(prepared + evaluated.reading),
            "innerEvalTime": seconds(evaluated.total.saturating_sub(evaluated.reading)),
            "execQueueTime": queued, "execTotalTime": seconds(total),
        },
        "samples": samples,
        "cost": cost,
    })
}

/// The answer, written straight into text: large matrices are not built as JSON trees first.
fn respond(mut output: QueryOutput, limit: usize, stats: Option<serde_json::Value>) -> Response {
    let cut = match &mut output.value {
        Value::Vector(samples) => cut_to(samples, limit),
        Value::Matrix(series) => cut_to(series, limit),
        Value::Scalar { .. } | Value::Text { .. } => false,
    };
    if cut {
        output.warnings.push(TRUNCATED.to_owned());
    }
    let mut body = String::with_capacity(4096);
    body.push_str("{\"status\":\"success\",\"data\":");
    promql::json::write_value(&mut body, &output.value);
    // Writing to a text cannot fail.
    if let Some(stats) = stats {
        // Before the closing brace of `data`.
        body.pop();
        let _ = write!(body, ",\"stats\":{stats}}}");
    }
    for (name, list) in [("warnings", &output.warnings), ("infos", &output.infos)] {
        if !list.is_empty() {
            let _ = write!(body, ",\"{name}\":{}", json!(list));
        }
    }
    body.push('}');
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn cut_to<T>(list: &mut Vec<T>, limit: usize) -> bool {
    let cut = list.len() > limit;
    list.truncate(limit);
    cut
}
