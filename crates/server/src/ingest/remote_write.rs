//! Prometheus remote write 1.0.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use skopos_ingest::protocols::find;
use skopos_ingest::{Encoding, Protocol};

use super::accept::{AcceptError, Request, accept, read_body};
use crate::app::App;

/// Its path.
pub fn routes() -> Router<Arc<App>> {
    super::paths(Protocol::RemoteWrite).fold(Router::new(), |routes, path| routes.route(path, post(write)))
}

/// `POST /api/v1/write`
///
/// 204 when all is stored; 400 with the reason when some samples were not taken (the good ones are stored: senders
/// do not repeat a 400); 429 and 503 with `Retry-After` to be sent again; 415 for remote write 2.0 and other encodings.
pub async fn write(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_ascii_lowercase();
    let (kind, encoding) = (text(header::CONTENT_TYPE), text(header::CONTENT_ENCODING));
    if let Some(Err(error)) = super::paths(Protocol::RemoteWrite).next().map(|path| find(path, Some(&kind))) {
        return answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, &error.to_string());
    }
    if kind.contains("proto=") && !kind.contains("prometheus.writerequest") {
        return answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, "only remote write 1.0 (proto=prometheus.WriteRequest) is taken");
    }
    if !encoding.is_empty() && encoding != "snappy" {
        return answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, &format!("content encoding {encoding:?}: expected snappy"));
    }
    let body = match read_body(body, app.ingest_limits.body_bytes_max).await {
        Ok(body) => body,
        Err(error) => return refuse(&error),
    };
    // Snappy is part of the protocol here; the decoder takes it off.
    let request = Request { protocol: Protocol::RemoteWrite, encoding: Encoding::Identity, context: String::new(), body };
    match accept(&app, request).await {
        Ok(accepted) if accepted.rejected.is_empty() => StatusCode::NO_CONTENT.into_response(),
        Ok(accepted) => {
            let lines: Vec<String> =
                accepted.rejected.iter().map(|r| format!("{} samples not taken ({}): {}", r.count, r.reason, r.example)).collect();
            answer(StatusCode::BAD_REQUEST, &lines.join("\n"))
        }
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &AcceptError) -> Response {
    let mut response = answer(error.status(), &error.to_string());
    if let Some(after) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}

fn answer(status: StatusCode, message: &str) -> Response {
    (status, format!("{message}\n")).into_response()
}
