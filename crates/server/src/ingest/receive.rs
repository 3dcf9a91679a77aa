//! What the doors over HTTP have in common: encoding, body, answer to what was refused.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use skopos_ingest::{Encoding, Protocol};

use super::accept::{AcceptError, Accepted, Request, accept, read_body};
use super::sources::Source;
use crate::app::App;

/// A header's text, empty when it is not there.
pub(super) fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
}

/// Reads a request's body up to the limit; what cannot be read is counted.
///
/// # Errors
/// With what the answer needs.
pub(super) async fn body(app: &Arc<App>, protocol: Protocol, headers: &HeaderMap, body: Body) -> Result<(Encoding, Bytes), AcceptError> {
    let read = async {
        let encoding = Encoding::from_header(Some(text(headers, header::CONTENT_ENCODING))).map_err(AcceptError::Malformed)?;
        Ok::<_, AcceptError>((encoding, read_body(body, app.ingest_limits.body_bytes_max).await?))
    };
    let read = read.await;
    if let Err(error) = &read {
        app.telemetry.ingest.refused(protocol.signal(), error.reason());
    }
    read
}

/// Reads, decodes and stores a request; on `Ok` it is durable.
///
/// # Errors
/// With what the answer needs; nothing of the request is stored then.
pub(super) async fn receive(
    app: &Arc<App>,
    protocol: Protocol,
    context: String,
    extensions: &Extensions,
    headers: &HeaderMap,
    of_request: Body,
) -> Result<Accepted, AcceptError> {
    let (encoding, body) = body(app, protocol, headers, of_request).await?;
    accept(app, Request { protocol, encoding, context, source: Source::of(extensions), body }).await
}

/// Adds `Retry-After` where the error passes by itself.
pub(super) fn with_retry_after(mut response: Response, error: &AcceptError) -> Response {
    if let Some(after) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}
