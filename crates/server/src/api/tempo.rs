//! Tempo's query API: look-up by id, TraceQL search and metrics, tags.
//!
//! `GET /api/traces/{id}` is Tempo's; Jaeger's API has the prefix `/jaeger`, because both claim that path.

mod error;
mod metrics;
mod params;
mod search;
mod tags;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use skopos_ingest::proto::Writer;
use skopos_query::traces::SpanRow;

use super::otlp_trace::{Dialect, resource_spans, traces_data};
use super::traces::parse_id;
use crate::app::App;
use crate::http::ApiError;
use error::{TempoError, TempoResult};

/// The version of Tempo whose API this is, as its clients ask.
const VERSION: &str = "2.9.0";

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/echo", get(echo))
        .route("/api/status/buildinfo", get(build))
        .route("/api/traces/{id}", get(trace))
        .route("/api/v2/traces/{id}", get(trace_v2))
        .route("/api/search", get(search::search))
        .route("/api/search/tags", get(tags::tags))
        .route("/api/v2/search/tags", get(tags::tags_v2))
        .route("/api/search/tag/{tag}/values", get(tags::values))
        .route("/api/v2/search/tag/{tag}/values", get(tags::values_v2))
        .route("/api/metrics/query_range", get(metrics::range))
        .route("/api/metrics/query", get(metrics::instant))
}

/// `GET /api/traces/{id}`: the first version wraps the resources in `batches`; protobuf is the message `Trace`.
async fn trace(State(app): State<Arc<App>>, Path(id): Path<String>, headers: HeaderMap) -> TempoResult<Response> {
    let spans = spans_of(&app, &id).await?;
    if wants_protobuf(&headers) {
        return Ok(protobuf(traces_data(&spans)?));
    }
    Ok(Json(json!({ "batches": resource_spans(&spans, Dialect::Tempo) })).into_response())
}

/// `GET /api/v2/traces/{id}`: the message `TraceByIDResponse`.
async fn trace_v2(State(app): State<Arc<App>>, Path(id): Path<String>, headers: HeaderMap) -> TempoResult<Response> {
    let spans = spans_of(&app, &id).await?;
    if wants_protobuf(&headers) {
        let mut message = Writer::default();
        message.bytes(1, &traces_data(&spans)?);
        return Ok(protobuf(message.into_bytes()));
    }
    Ok(Json(json!({ "trace": { "resourceSpans": resource_spans(&spans, Dialect::Tempo) }, "metrics": {} })).into_response())
}

/// `GET /api/echo`: what Grafana asks to see whether Tempo is there.
async fn echo() -> &'static str {
    "echo"
}

/// `GET /api/status/buildinfo`
async fn build() -> Json<serde_json::Value> {
    Json(json!({
        "version": VERSION, "revision": env!("CARGO_PKG_VERSION"), "branch": "skopos", "buildUser": "", "buildDate": "", "goVersion": "",
    }))
}

fn wants_protobuf(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    accept.split(',').any(|kind| matches!(kind.split(';').next().unwrap_or("").trim(), "application/protobuf" | "application/x-protobuf"))
}

fn protobuf(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/protobuf")], body).into_response()
}

async fn spans_of(app: &Arc<App>, id: &str) -> TempoResult<Vec<SpanRow>> {
    let id = parse_id(id)?;
    let (spans, _) = app.query(move |app, ctx| app.store.traces().trace(id, ctx)).await?;
    if spans.is_empty() {
        return Err(TempoError(ApiError::not_found(format!("there is no trace {id}"))));
    }
    Ok(spans)
}
