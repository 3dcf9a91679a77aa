//! Loki's push API: what Promtail, Alloy, Fluent Bit and the client libraries of many languages send.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, State};
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use skopos_ingest::loki::refusal;
use skopos_ingest::protocols::find;
use skopos_ingest::{Encoding, Protocol};
use skopos_model::Signal;

use super::accept::{AcceptError, Request, accept, read_body};
use super::receive::{text, with_retry_after};
use super::sources::Source;
use crate::app::App;

/// Its paths.
pub fn routes() -> Router<Arc<App>> {
    super::paths(Protocol::Loki).fold(Router::new(), |routes, path| routes.route(path, post(push)))
}

/// `POST /loki/api/v1/push`: 204 when all is stored; 400 with the reasons when some entries were not taken (the good
/// ones are stored: clients do not repeat a 400); 429 and 503 with `Retry-After` to be sent again; 413 over a size limit.
pub async fn push(State(app): State<Arc<App>>, OriginalUri(uri): OriginalUri, extensions: Extensions, headers: HeaderMap, body: Body) -> Response {
    let refuse = |error: AcceptError| {
        app.telemetry.ingest.refused(Signal::Logs, error.reason());
        answer(&error)
    };
    let protocol = match find(uri.path(), Some(text(&headers, header::CONTENT_TYPE))) {
        Ok(row) => row.map_or(Protocol::Loki, |row| row.protocol),
        Err(error) => return refuse(AcceptError::Malformed(error)),
    };
    // A snappy block is part of the protobuf push, whether it is stated or not; the decoder takes it off.
    let encoding = match text(&headers, header::CONTENT_ENCODING) {
        stated if protocol == Protocol::Loki && stated.eq_ignore_ascii_case("snappy") => Encoding::Identity,
        stated => match Encoding::from_header(Some(stated)) {
            Ok(encoding) => encoding,
            Err(error) => return refuse(AcceptError::Malformed(error)),
        },
    };
    let body = match read_body(body, app.ingest_limits.body_bytes_max).await {
        Ok(body) => body,
        Err(error) => return refuse(error),
    };
    let request = Request { protocol, encoding, context: String::new(), source: Source::of(&extensions), body };
    match accept(&app, request).await {
        Ok(accepted) if accepted.rejected.is_empty() => StatusCode::NO_CONTENT.into_response(),
        Ok(accepted) => (StatusCode::BAD_REQUEST, format!("{}\n", refusal(&accepted.rejected))).into_response(),
        Err(error) => answer(&error),
    }
}

fn answer(error: &AcceptError) -> Response {
    with_retry_after((error.status(), format!("{error}\n")).into_response(), error)
}
