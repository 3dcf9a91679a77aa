//! Version 3 over HTTP: OpenTelemetry's `TracesData` in an envelope, `{"result": …}`.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use skopos_query::traces::SpanRow;

use super::find::{self, Find, Params, json_tags};
use crate::api::otlp_trace::{Dialect, resource_spans};
use crate::api::traces::parse_id;
use crate::app::App;
use crate::http::{ApiError, ApiResult};
use crate::time_arg::{parse_duration, parse_time};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/services", get(services))
        .route("/operations", get(operations))
        .route("/traces", get(traces))
        .route("/traces/{id}", get(trace))
        .route("/dependencies", get(dependencies))
}

/// An error in the shape of version 3.
struct V3Error(ApiError);

impl From<ApiError> for V3Error {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for V3Error {
    fn into_response(self) -> Response {
        let ApiError { status, message, .. } = self.0;
        (status, Json(json!({ "error": { "httpCode": status.as_u16(), "message": message } }))).into_response()
    }
}

/// A parameter, which comes with the prefix `query.` or without.
fn param<'p>(params: &'p Params, name: &str) -> Option<&'p str> {
    params.0.iter().find(|(key, value)| !value.is_empty() && key.strip_prefix("query.").unwrap_or(key) == name).map(|(_, value)| value.as_str())
}

fn query(params: &Params, now: i64) -> ApiResult<Find> {
    let wrong = |name: &str, what: String| ApiError::bad_request(format!("malformed parameter query.{name}: {what}"));
    let time = |name: &str| {
        let text = param(params, name).ok_or_else(|| wrong(name, "it is required, in the form of RFC 3339".to_owned()))?;
        parse_time(text, now).map_err(|e| wrong(name, e))
    };
    let duration = |name: &str| param(params, name).map(parse_duration).transpose().map_err(|e| wrong(name, e));
    if param(params, "filter").is_some() {
        return Err(wrong("filter", "structured filters are experimental in Jaeger and not supported".to_owned()));
    }
    let limit = match param(params, "search_depth").or_else(|| param(params, "num_traces")) {
        None => 0,
        Some(text) => text.parse().map_err(|_| wrong("search_depth", format!("{text:?} is no whole number")))?,
    };
    Ok(Find {
        service: param(params, "service_name").unwrap_or("").to_owned(),
        operation: param(params, "operation_name").unwrap_or("").to_owned(),
        tags: param(params, "attributes").map(|json| json_tags(json, "query.attributes")).transpose()?.unwrap_or_default(),
        start: time("start_time_min")?,
        end: time("start_time_max")?,
        duration_min: duration("duration_min")?,
        duration_max: duration("duration_max")?,
        limit,
    })
}

fn envelope(traces: &[Vec<SpanRow>]) -> Result<Json<Value>, V3Error> {
    if traces.is_empty() {
        return Err(V3Error(ApiError::new(StatusCode::NOT_FOUND, "not_found", "No traces found")));
    }
    let all: Vec<Value> = traces.iter().flat_map(|spans| resource_spans(spans, Dialect::Otlp)).collect();
    Ok(Json(json!({ "result": { "resourceSpans": all } })))
}

async fn traces(State(app): State<Arc<App>>, Query(params): Query<Vec<(String, String)>>) -> Result<Json<Value>, V3Error> {
    let find = query(&Params(params), app.clock.now_nanos())?;
    envelope(&find::traces(&app, find).await?)
}

async fn trace(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Value>, V3Error> {
    envelope(&find::by_ids(&app, vec![parse_id(&id)?]).await?)
}

async fn services(State(app): State<Arc<App>>) -> Result<Json<Value>, V3Error> {
    Ok(Json(json!({ "services": find::services(&app).await? })))
}

async fn operations(State(app): State<Arc<App>>, Query(params): Query<Vec<(String, String)>>) -> Result<Json<Value>, V3Error> {
    let params = Params(params);
    let service = params.get("service").ok_or_else(|| ApiError::bad_request("malformed parameter service: it is required"))?;
    let found = find::operations(&app, service, params.get("span_kind").unwrap_or("")).await?;
    let operations: Vec<Value> = found.into_iter().map(|(name, kind)| json!({ "name": name, "spanKind": kind })).collect();
    Ok(Json(json!({ "operations": operations })))
}

async fn dependencies(State(app): State<Arc<App>>, Query(params): Query<Vec<(String, String)>>) -> Result<Json<Value>, V3Error> {
    let params = Params(params);
    let now = app.clock.now_nanos();
    let time = |name: &str| {
        let text = param(&params, name)
            .ok_or_else(|| ApiError::bad_request(format!("malformed parameter {name}: it is required, in the form of RFC 3339")))?;
        parse_time(text, now).map_err(|e| ApiError::bad_request(format!("malformed parameter {name}: {e}")))
    };
    let links = find::dependencies(&app, time("start_time")?, time("end_time")?).await?;
    let links: Vec<Value> =
        links.into_iter().map(|(parent, child, calls)| json!({ "parent": parent, "child": child, "callCount": calls.to_string() })).collect();
    Ok(Json(json!({ "dependencies": links })))
}
