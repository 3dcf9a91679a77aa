//! OTLP over HTTP, protobuf and JSON, after the OTLP specification.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use skopos_ingest::otlp::response::{Code, export_json, export_protobuf, status_json, status_protobuf};
use skopos_ingest::protocols::find;
use skopos_ingest::{Encoding, Protocol};
use skopos_model::Signal;

use super::accept::{AcceptError, Request, accept, read_body};
use super::sources::Source;
use crate::app::App;

/// Paths of the three signals.
pub fn routes() -> Router<Arc<App>> {
    let signals = [(Protocol::OtlpLogs, post(logs)), (Protocol::OtlpTraces, post(traces)), (Protocol::OtlpMetrics, post(metrics))];
    signals
        .into_iter()
        .fold(Router::new(), |routes, (protocol, handler)| super::paths(protocol).fold(routes, |routes, path| routes.route(path, handler.clone())))
}

/// `POST /v1/logs`: OTLP over HTTP; protobuf or, with `application/json`, JSON; identity, gzip or zstd.
#[utoipa::path(post, path = "/v1/logs", tag = "otlp", request_body(content = String, content_type = "application/x-protobuf", description = "`ExportLogsServiceRequest`"), responses((status = 200, description = "Stored; `partial_success` tells what was not"), (status = 400, description = "Cannot be read; not to be sent again"), (status = 413, description = "Over a limit; send smaller batches"), (status = 415, description = "Unknown content type or encoding"), (status = 429, description = "At a limit, to be sent again after Retry-After"), (status = 503, description = "Cannot write now, to be sent again after Retry-After")))]
pub(crate) async fn logs(State(app): State<Arc<App>>, uri: Uri, extensions: Extensions, headers: HeaderMap, body: Body) -> Response {
    export(&app, uri.path(), Signal::Logs, Source::of(&extensions), &headers, body).await
}

/// `POST /v1/traces`: OTLP over HTTP; protobuf or, with `application/json`, JSON; identity, gzip or zstd.
#[utoipa::path(post, path = "/v1/traces", tag = "otlp", request_body(content = String, content_type = "application/x-protobuf", description = "`ExportTraceServiceRequest`"), responses((status = 200, description = "Stored; `partial_success` tells what was not"), (status = 400, description = "Cannot be read; not to be sent again"), (status = 413, description = "Over a limit; send smaller batches"), (status = 415, description = "Unknown content type or encoding"), (status = 429, description = "At a limit, to be sent again after Retry-After"), (status = 503, description = "Cannot write now, to be sent again after Retry-After")))]
pub(crate) async fn traces(State(app): State<Arc<App>>, uri: Uri, extensions: Extensions, headers: HeaderMap, body: Body) -> Response {
    export(&app, uri.path(), Signal::Traces, Source::of(&extensions), &headers, body).await
}

/// `POST /v1/metrics`: OTLP over HTTP; protobuf or, with `application/json`, JSON; identity, gzip or zstd.
#[utoipa::path(post, path = "/v1/metrics", tag = "otlp", request_body(content = String, content_type = "application/x-protobuf", description = "`ExportMetricsServiceRequest`"), responses((status = 200, description = "Stored; `partial_success` tells what was not"), (status = 400, description = "Cannot be read; not to be sent again"), (status = 413, description = "Over a limit; send smaller batches"), (status = 415, description = "Unknown content type or encoding"), (status = 429, description = "At a limit, to be sent again after Retry-After"), (status = 503, description = "Cannot write now, to be sent again after Retry-After")))]
pub(crate) async fn metrics(State(app): State<Arc<App>>, uri: Uri, extensions: Extensions, headers: HeaderMap, body: Body) -> Response {
    export(&app, uri.path(), Signal::Metrics, Source::of(&extensions), &headers, body).await
}

async fn export(app: &Arc<App>, path: &str, signal: Signal, source: Source, headers: &HeaderMap, body: Body) -> Response {
    let header = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    // The specification has every sender state it: what comes without one is not guessed at.
    let content_type = header(header::CONTENT_TYPE).filter(|kind| !kind.is_empty()).unwrap_or("none");
    let protocol = match find(path, Some(content_type)) {
        Ok(Some(row)) => row.protocol,
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            app.telemetry.ingest.refused(signal, "unsupported");
            return refuse(&AcceptError::Malformed(error), false);
        }
    };
    let json = matches!(protocol, Protocol::OtlpLogsJson | Protocol::OtlpTracesJson | Protocol::OtlpMetricsJson);
    let stored = async {
        let encoding = Encoding::from_header(header(header::CONTENT_ENCODING)).map_err(AcceptError::Malformed)?;
        let body = read_body(body, app.ingest_limits.body_bytes_max).await?;
        accept(app, Request { protocol, encoding, context: String::new(), source, body }).await
    };
    match stored.await {
        Ok(accepted) => {
            let body = if json {
                export_json(signal, &accepted.rejected, &accepted.changed).into_bytes()
            } else {
                export_protobuf(&accepted.rejected, &accepted.changed)
            };
            (StatusCode::OK, [(header::CONTENT_TYPE, kind(json))], body).into_response()
        }
        Err(error) => refuse(&error, json),
    }
}

fn kind(json: bool) -> &'static str {
    if json { "application/json" } else { "application/x-protobuf" }
}

/// The `google.rpc.Status` codes that go with the statuses the specification names.
fn code(status: StatusCode) -> Code {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => Code::InvalidArgument,
    }
}

fn refuse(error: &AcceptError, json: bool) -> Response {
    let (status, message, after) = (error.status(), error.to_string(), error.retry_after());
    let body = if json { status_json(code(status), &message, after).into_bytes() } else { status_protobuf(code(status), &message, after) };
    let mut response = (status, [(header::CONTENT_TYPE, kind(json))], body).into_response();
    if let Some(after) = after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}
