//! Loki's HTTP API, in its own shapes: a client changes the URL and nothing else.
//!
//! What Loki's API calls chunks, ingesters and shards does not exist here; the fields are there and say so with zeros.

mod detected;
mod error;
mod index;
mod labels;
mod params;
mod patterns;
mod query;
mod stats;
mod tail;
mod write;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use serde_json::{Value, json};

pub(crate) use error::LokiError;
use params::Params;

use super::health;
use crate::app::App;

/// What a handler answers.
type LokiResult = Result<Response, LokiError>;

/// Largest body of a form, bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Most lines a query returns: Loki's `max_entries_limit_per_query`.
const LINES_MAX: usize = 5_000;
/// The version clients are told, for whose API they are to ask.
const LOKI_VERSION: &str = "3.5.0";

/// By URL or by form.
fn both<H, T>(handler: H) -> MethodRouter<Arc<App>>
where
    H: axum::handler::Handler<T, Arc<App>> + Clone,
    T: 'static,
{
    get(handler.clone()).post(handler)
}

/// All routes below `/loki` but the push, and `/ready`.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/loki/api/v1/query", both(query::query))
        .route("/loki/api/v1/query_range", both(query::query_range))
        .route("/loki/api/v1/format_query", both(query::format_query))
        .route("/loki/api/v1/labels", both(labels::labels))
        .route("/loki/api/v1/label", both(labels::labels))
        .route("/loki/api/v1/label/{name}/values", get(labels::values))
        .route("/loki/api/v1/series", both(labels::series))
        .route("/loki/api/v1/index/stats", both(index::stats))
        .route("/loki/api/v1/index/volume", both(index::volume))
        .route("/loki/api/v1/index/volume_range", both(index::volume_range))
        .route("/loki/api/v1/patterns", both(patterns::patterns))
        .route("/loki/api/v1/detected_labels", both(detected::labels))
        .route("/loki/api/v1/detected_fields", both(detected::fields))
        .route("/loki/api/v1/detected_field/{name}/values", both(detected::values))
        .route("/loki/api/v1/tail", get(tail::tail))
        .route("/loki/api/v1/status/buildinfo", get(buildinfo))
        .route("/loki/api/v1/rules", get(no_rules))
        .route("/loki/api/v1/drilldown-limits", get(drilldown_limits))
        .route("/ready", get(ready))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

fn success(data: Value) -> Response {
    Json(json!({"status": "success", "data": data})).into_response()
}

/// `GET /loki/api/v1/status/buildinfo`
async fn buildinfo() -> Json<Value> {
    Json(json!({
        "version": LOKI_VERSION, "revision": env!("CARGO_PKG_VERSION"), "branch": "skopos", "buildUser": "", "buildDate": "", "goVersion": "",
    }))
}

/// `GET /loki/api/v1/rules`: rules live elsewhere; Grafana asks whether there are any here.
async fn no_rules() -> Response {
    ([(axum::http::header::CONTENT_TYPE, "application/yaml")], "{}\n").into_response()
}

/// `GET /loki/api/v1/drilldown-limits`: what Grafana's log exploration may ask for.
async fn drilldown_limits() -> Json<Value> {
    Json(json!({
        "limits": {
            "discover_log_levels": true, "discover_service_name": [], "log_level_fields": [], "max_entries_limit_per_query": LINES_MAX,
            "max_line_size_truncate": false, "max_query_bytes_read": "0B", "max_query_length": "0s", "max_query_lookback": "0s",
            "max_query_range": "0s", "max_query_series": 2_000_000, "metric_aggregation_enabled": false, "otlp_config": null,
            "pattern_persistence_enabled": false, "query_timeout": "2m0s", "retention_period": "0s", "retention_stream": [],
            "volume_enabled": true, "volume_max_series": 1_000,
        },
        "pattern_ingester_enabled": true, "version": LOKI_VERSION,
    }))
}

/// `GET /ready`
async fn ready(app: axum::extract::State<Arc<App>>) -> Response {
    let response = health::readyz(app).await;
    if response.status().is_success() { "ready\n".into_response() } else { response }
}
