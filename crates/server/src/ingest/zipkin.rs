//! Zipkin v2 spans over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use skopos_ingest::Protocol;
use skopos_ingest::protocols::find;
use skopos_model::Rejected;

use super::accept::AcceptError;
use super::receive::{receive, text, with_retry_after};
use crate::app::App;

/// Its path.
pub fn routes() -> Router<Arc<App>> {
    super::paths(Protocol::ZipkinJson).fold(Router::new(), |routes, path| routes.route(path, post(spans)))
}

/// `POST /api/v2/spans`: 202 when all is stored; 400 with the reasons when some spans were not taken (the good ones are
/// stored); 429 and 503 with `Retry-After` to be sent again.
pub async fn spans(State(app): State<Arc<App>>, extensions: Extensions, headers: HeaderMap, body: Body) -> Response {
    let path = super::paths(Protocol::ZipkinJson).next().unwrap_or_default();
    let protocol = match find(path, Some(text(&headers, header::CONTENT_TYPE))) {
        Ok(row) => row.map_or(Protocol::ZipkinJson, |row| row.protocol),
        Err(error) => {
            let error = AcceptError::Malformed(error);
            app.telemetry.ingest.refused(Protocol::ZipkinJson.signal(), error.reason());
            return refuse(&error);
        }
    };
    match receive(&app, protocol, String::new(), &extensions, &headers, body).await {
        Ok(accepted) => answer(&accepted.rejected),
        Err(error) => refuse(&error),
    }
}

/// 202, or what was not taken.
pub(super) fn answer(rejected: &[Rejected]) -> Response {
    if rejected.is_empty() {
        return StatusCode::ACCEPTED.into_response();
    }
    let lines: Vec<String> = rejected.iter().map(|r| format!("{} not taken ({}): {}", r.count, r.reason, r.example)).collect();
    (StatusCode::BAD_REQUEST, format!("{}\n", lines.join("\n"))).into_response()
}

pub(super) fn refuse(error: &AcceptError) -> Response {
    with_retry_after((error.status(), format!("{error}\n")).into_response(), error)
}
