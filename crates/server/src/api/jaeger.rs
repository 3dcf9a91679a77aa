//! Jaeger's query APIs: version 1 over HTTP (what its UI and Grafana call) under `/jaeger/api`, version 3 over HTTP under
//! `/api/v3` and `/jaeger/api/v3`, and both gRPC services.
//!
//! Version 1 has the prefix because `/api/traces/{id}` without it is Tempo's: a client is given the address with
//! `/jaeger` at its end, as Jaeger itself is often set up (`--query.base-path`).

mod find;
mod grpc;
mod model;
mod v3;

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::traces::parse_id;
use crate::app::App;
use crate::http::ApiError;
use find::{Find, Params};

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/jaeger/api/services", get(services))
        .route("/jaeger/api/services/{service}/operations", get(operations_of))
        .route("/jaeger/api/operations", get(operations))
        .route("/jaeger/api/traces", get(traces))
        .route("/jaeger/api/traces/{id}", get(trace))
        .route("/jaeger/api/dependencies", get(dependencies))
        .nest("/api/v3", v3::routes())
        .nest("/jaeger/api/v3", v3::routes())
        .merge(grpc::routes())
}

/// An error in the shape of version 1.
#[derive(Debug)]
struct JaegerError(ApiError);

impl From<ApiError> for JaegerError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for JaegerError {
    fn into_response(self) -> Response {
        let ApiError { status, message, .. } = self.0;
        let error = json!({ "code": status.as_u16(), "msg": message });
        (status, Json(json!({ "data": null, "total": 0, "limit": 0, "offset": 0, "errors": [error] }))).into_response()
    }
}

/// An answer in the shape of version 1.
fn answer(data: Vec<Value>) -> Json<Value> {
    Json(json!({ "total": data.len(), "data": data, "limit": 0, "offset": 0, "errors": null }))
}

async fn services(State(app): State<Arc<App>>) -> Result<Json<Value>, JaegerError> {
    Ok(answer(find::services(&app).await?.into_iter().map(Value::from).collect()))
}

async fn operations_of(State(app): State<Arc<App>>, Path(service): Path<String>) -> Result<Json<Value>, JaegerError> {
    let mut names: Vec<String> = find::operations(&app, &service, "").await?.into_iter().map(|(name, _)| name).collect();
    names.dedup();
    Ok(answer(names.into_iter().map(Value::from).collect()))
}

async fn operations(State(app): State<Arc<App>>, Query(params): Query<Vec<(String, String)>>) -> Result<Json<Value>, JaegerError> {
    let params = Params(params);
    let service = params.get("service").ok_or_else(|| ApiError::bad_request("parameter 'service' is required"))?;
    let found = find::operations(&app, service, params.get("spanKind").unwrap_or("")).await?;
    Ok(answer(found.into_iter().map(|(name, kind)| json!({ "name": name, "spanKind": kind })).collect()))
}

async fn traces(State(app): State<Arc<App>>, Query(params): Query<Vec<(String, String)>>) -> Result<Json<Value>, JaegerError> {
    let params = Params(params);
    let ids: Vec<&str> = params.all("traceID").collect();
    let found = if ids.is_empty() {
        find::traces(&app, Find::v1(&params, app.clock.now_nanos())?).await?
    } else {
        let ids = ids.into_iter().map(parse_id).collect::<Result<Vec<_>, _>>()?;
        find::by_ids(&app, ids).await?
    };
    Ok(answer(found.iter().map(|spans| model::trace(spans)).collect()))
}

async fn trace(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Value>, JaegerError> {
    let spans = find::by_ids(&app, vec![parse_id(&id)?]).await?;
    if spans.is_empty() {
        return Err(JaegerError(ApiError::new(StatusCode::NOT_FOUND, "not_found", "trace not found")));
    }
    Ok(answer(spans.iter().map(|spans| model::trace(spans)).collect()))
}

async fn dependencies(State(app): State<Arc<App>>, Query(params): Query<Vec<(String, String)>>) -> Result<Json<Value>, JaegerError> {
    let params = Params(params);
    let milliseconds = |name: &str| match params.get(name).map(str::parse::<i64>) {
        None => Ok(None),
        Some(Ok(ms)) => Ok(Some(ms.saturating_mul(1_000_000))),
        Some(Err(_)) => Err(ApiError::bad_request(format!("unable to parse param '{name}': expected milliseconds"))),
    };
    let end = milliseconds("endTs")?.unwrap_or_else(|| app.clock.now_nanos()).saturating_add(1);
    let start = end.saturating_sub(milliseconds("lookback")?.unwrap_or(86_400_000_000_000));
    let links = find::dependencies(&app, start, end).await?;
    Ok(answer(links.into_iter().map(|(parent, child, calls)| json!({ "parent": parent, "child": child, "callCount": calls })).collect()))
}
