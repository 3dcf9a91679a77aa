//! Probes and the server's own metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::app::App;

/// `GET /healthz`: the process answers. Never depends on anything else.
pub async fn healthz() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

/// `GET /readyz`: it may receive traffic: the log can be written.
pub async fn readyz(State(app): State<Arc<App>>) -> Response {
    let wal = app.store.stats().wal;
    let (status, word) = if wal.writable { (StatusCode::OK, "pass") } else { (StatusCode::SERVICE_UNAVAILABLE, "fail") };
    let body = json!({"ready": wal.writable, "status": word, "checks": {"wal": {"status": word, "critical": true, "last_error": wal.error}}});
    (status, Json(body)).into_response()
}

/// `GET /metrics`
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.telemetry.exposition(&app)).into_response()
}
