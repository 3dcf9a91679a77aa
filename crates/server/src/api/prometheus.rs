//! Prometheus' HTTP API, in its own shapes: a client changes the URL and nothing else.

mod admin;
mod error;
mod expression;
mod gzip;
mod params;
mod query;
mod read;
mod rules;
mod series;
mod status;
mod targets;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Router, middleware};
use serde_json::{Value, json};

pub(crate) use error::PromError;
use params::Params;

use super::health;
use crate::app::App;

/// What a handler answers.
type PromResult = Result<Response, PromError>;

/// Said where an answer has not all there is.
const TRUNCATED: &str = "results truncated due to limit";
/// Largest body of a form or a remote-read request, bytes.
const BODY_BYTES_MAX: usize = 16 << 20;

/// All routes below `/api/v1` that Prometheus has, but remote write.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/query", get(query::query).post(query::query))
        .route("/api/v1/query_range", get(query::query_range).post(query::query_range))
        .route("/api/v1/query_exemplars", get(series::query_exemplars).post(series::query_exemplars))
        .route("/api/v1/format_query", get(expression::format_query).post(expression::format_query))
        .route("/api/v1/parse_query", get(expression::parse_query).post(expression::parse_query))
        .route("/api/v1/labels", get(series::labels).post(series::labels))
        .route("/api/v1/label/{name}/values", get(series::label_values))
        .route("/api/v1/series", get(series::series).post(series::series))
        .route("/api/v1/metadata", get(series::metadata))
        .route("/api/v1/rules", get(rules::rules))
        .route("/api/v1/alerts", get(rules::alerts))
        .route("/api/v1/alertmanagers", get(rules::alertmanagers))
        .route("/api/v1/targets", get(targets::targets))
        .route("/api/v1/targets/metadata", get(targets::metadata))
        .route("/api/v1/scrape_pools", get(targets::scrape_pools))
        .route("/api/v1/scrape_pools/config", get(targets::scrape_pool_config))
        .route("/api/v1/status/config", get(status::config))
        .route("/api/v1/status/flags", get(status::flags))
        .route("/api/v1/status/runtimeinfo", get(status::runtimeinfo))
        .route("/api/v1/status/buildinfo", get(status::buildinfo))
        .route("/api/v1/status/tsdb", get(status::tsdb))
        .route("/api/v1/status/tsdb/blocks", get(status::tsdb_blocks))
        .route("/api/v1/status/walreplay", get(status::walreplay))
        .route("/api/v1/notifications", get(status::notifications))
        .route("/api/v1/features", get(status::features))
        .route("/api/v1/admin/tsdb/delete_series", post(admin::disabled).put(admin::disabled))
        .route("/api/v1/admin/tsdb/clean_tombstones", post(admin::disabled).put(admin::disabled))
        .route("/api/v1/admin/tsdb/snapshot", put(admin::disabled).post(admin::disabled))
        .route("/api/v1/read", post(read::read))
        .route("/-/healthy", get(health::healthz))
        .route("/-/ready", get(health::readyz))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(gzip::layer))
}

fn success(data: Value) -> Response {
    success_with(data, &[])
}

fn success_with(data: Value, warnings: &[String]) -> Response {
    let mut body = json!({"status": "success", "data": data});
    if !warnings.is_empty() {
        body["warnings"] = json!(warnings);
    }
    axum::Json(body).into_response()
}
