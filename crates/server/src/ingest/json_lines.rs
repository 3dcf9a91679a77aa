//! Newline-delimited JSON logs over HTTP: what the agent sends, and anything that can POST lines.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::json;
use skopos_ingest::{Encoding, Protocol};

use super::accept::{AcceptError, Request, accept, read_body};
use super::sources::Source;
use crate::app::App;
use crate::http::ApiError;

/// Its path.
pub fn routes() -> Router<Arc<App>> {
    super::paths(Protocol::JsonLines).fold(Router::new(), |routes, path| routes.route(path, post(write)))
}

/// `POST /v1/logs/json`: one JSON object a line. Lines that are no JSON become plain messages.
#[utoipa::path(post, path = "/v1/logs/json", tag = "ingest", params(("service" = Option<String>, Query, description = "Service of lines that state none"), ("env" = Option<String>, Query, description = "Environment of lines that state none"), ("version" = Option<String>, Query, description = "Version of lines that state none"), ("host" = Option<String>, Query, description = "Host of lines that state none")), request_body(content = String, content_type = "application/x-ndjson", description = "Lines; identity, gzip or zstd"), responses((status = 200, description = "Stored; `rejected` lists what was not", body = crate::api::shapes::LinesStored), (status = 429, description = "At a limit, try again after Retry-After"), (status = 503, description = "Cannot write now, try again after Retry-After")))]
pub async fn write(State(app): State<Arc<App>>, RawQuery(query): RawQuery, extensions: Extensions, headers: HeaderMap, body: Body) -> Response {
    let header = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let encoding = match Encoding::from_header(header(header::CONTENT_ENCODING)) {
        Ok(encoding) => encoding,
        Err(error) => return refuse(&AcceptError::Malformed(error)),
    };
    let body = match read_body(body, app.ingest_limits.body_bytes_max).await {
        Ok(body) => body,
        Err(error) => return refuse(&error),
    };
    let source = Source::of(&extensions);
    let request = Request { protocol: Protocol::JsonLines, encoding, context: query.unwrap_or_default(), source, body };
    match accept(&app, request).await {
        Ok(accepted) => (StatusCode::OK, axum::Json(json!({"rejected": accepted.rejected}))).into_response(),
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &AcceptError) -> Response {
    let mut answer = ApiError::new(error.status(), error.reason(), error.to_string()).into_response();
    if let Some(after) = error.retry_after() {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    answer
}
