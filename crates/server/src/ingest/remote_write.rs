//! Prometheus remote write 1.0 and 2.0.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use skopos_ingest::protocols::find;
use skopos_ingest::{Encoding, Protocol};
use skopos_model::Signal;

use super::accept::{AcceptError, Request, accept, read_body};
use super::replay::REMOTE_WRITE_2;
use super::sources::Source;
use crate::app::App;

/// Headers of the answer that say how much was stored: samples, native histograms, exemplars.
const WRITTEN: [&str; 3] =
    ["x-prometheus-remote-write-samples-written", "x-prometheus-remote-write-histograms-written", "x-prometheus-remote-write-exemplars-written"];

/// Its path.
pub fn routes() -> Router<Arc<App>> {
    super::paths(Protocol::RemoteWrite).fold(Router::new(), |routes, path| routes.route(path, post(write)))
}

/// `POST /api/v1/write`
///
/// The content type says which version: `application/x-protobuf` alone or with `proto=prometheus.WriteRequest` is 1.0,
/// with `proto=io.prometheus.write.v2.Request` it is 2.0. 204 when all is stored; 400 with the reasons when some
/// samples were not taken (the good ones are stored: senders do not repeat a 400); 429 and 503 with `Retry-After` to be
/// sent again; 413 over a size limit; 415 for other types and encodings. Every answer to 2.0 says how many samples, native
/// histograms and exemplars were stored; 1.0 knows no such headers.
pub async fn write(State(app): State<Arc<App>>, extensions: Extensions, headers: HeaderMap, body: Body) -> Response {
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    let unsupported = |message: &str| {
        app.telemetry.ingest.refused(Signal::Metrics, "unsupported");
        answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, message, None)
    };
    let path = super::paths(Protocol::RemoteWrite).next().unwrap_or_default();
    let protocol = match find(path, Some(text(header::CONTENT_TYPE))) {
        Ok(row) => row.map_or(Protocol::RemoteWrite, |row| row.protocol),
        Err(error) => return unsupported(&error.to_string()),
    };
    let counted = |written: [usize; 3]| (protocol == Protocol::RemoteWrite2).then_some(written);
    let encoding = text(header::CONTENT_ENCODING);
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("snappy") {
        return unsupported(&format!("content encoding {encoding:?}: expected snappy"));
    }
    let body = match read_body(body, app.ingest_limits.body_bytes_max).await {
        Ok(body) => body,
        Err(error) => {
            app.telemetry.ingest.refused(Signal::Metrics, error.reason());
            return refuse(&error, counted([0; 3]));
        }
    };
    let context = if protocol == Protocol::RemoteWrite2 { REMOTE_WRITE_2.to_owned() } else { String::new() };
    // Snappy is part of the protocol here; the decoder takes it off.
    let source = Source::of(&extensions);
    match accept(&app, Request { protocol, encoding: Encoding::Identity, context, source, body }).await {
        Ok(accepted) => {
            let written = counted([accepted.rows, accepted.histograms, accepted.exemplars]);
            if accepted.rejected.is_empty() {
                return answer(StatusCode::NO_CONTENT, "", written);
            }
            let lines: Vec<String> = accepted.rejected.iter().map(|r| format!("{} not taken ({}): {}", r.count, r.reason, r.example)).collect();
            answer(StatusCode::BAD_REQUEST, &lines.join("\n"), written)
        }
        Err(error) => refuse(&error, counted([0; 3])),
    }
}

fn refuse(error: &AcceptError, written: Option<[usize; 3]>) -> Response {
    let mut response = answer(error.status(), &error.to_string(), written);
    if let Some(after) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}

fn answer(status: StatusCode, message: &str, written: Option<[usize; 3]>) -> Response {
    let mut response = if message.is_empty() { status.into_response() } else { (status, format!("{message}\n")).into_response() };
    for (name, count) in WRITTEN.into_iter().zip(written.into_iter().flatten()) {
        response.headers_mut().insert(name, HeaderValue::from(count));
    }
    response
}
