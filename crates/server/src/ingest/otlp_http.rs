//! OTLP over HTTP, protobuf and JSON, after the OTLP specification.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use skopos_ingest::otlp::response::{Code, export_json, export_protobuf, status_json, status_protobuf};
use skopos_ingest::{Encoding, IngestError, Protocol};
use skopos_model::Signal;

use super::accept::{AcceptError, Request, accept, read_body};
use crate::app::App;

/// The three paths.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/logs", post(logs)).route("/v1/traces", post(traces)).route("/v1/metrics", post(metrics))
}

/// `POST /v1/logs`: OTLP over HTTP; protobuf or, with `application/json`, JSON; identity, gzip or zstd.
#[utoipa::path(post, path = "/v1/logs", tag = "otlp", request_body(content = String, content_type = "application/x-protobuf", description = "`ExportLogsServiceRequest`"), responses((status = 200, description = "Stored; `partial_success` tells what was not"), (status = 400, description = "Cannot be read; not to be sent again"), (status = 413, description = "Over a limit; send smaller batches"), (status = 415, description = "Unknown content type or encoding"), (status = 429, description = "At a limit, to be sent again after Retry-After"), (status = 503, description = "Cannot write now, to be sent again after Retry-After")))]
pub(crate) async fn logs(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    export(&app, Signal::Logs, &headers, body).await
}

/// `POST /v1/traces`: OTLP over HTTP; protobuf or, with `application/json`, JSON; identity, gzip or zstd.
#[utoipa::path(post, path = "/v1/traces", tag = "otlp", request_body(content = String, content_type = "application/x-protobuf", description = "`ExportTraceServiceRequest`"), responses((status = 200, description = "Stored; `partial_success` tells what was not"), (status = 400, description = "Cannot be read; not to be sent again"), (status = 413, description = "Over a limit; send smaller batches"), (status = 415, description = "Unknown content type or encoding"), (status = 429, description = "At a limit, to be sent again after Retry-After"), (status = 503, description = "Cannot write now, to be sent again after Retry-After")))]
pub(crate) async fn traces(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    export(&app, Signal::Traces, &headers, body).await
}

/// `POST /v1/metrics`: OTLP over HTTP; protobuf or, with `application/json`, JSON; identity, gzip or zstd.
#[utoipa::path(post, path = "/v1/metrics", tag = "otlp", request_body(content = String, content_type = "application/x-protobuf", description = "`ExportMetricsServiceRequest`"), responses((status = 200, description = "Stored; `partial_success` tells what was not"), (status = 400, description = "Cannot be read; not to be sent again"), (status = 413, description = "Over a limit; send smaller batches"), (status = 415, description = "Unknown content type or encoding"), (status = 429, description = "At a limit, to be sent again after Retry-After"), (status = 503, description = "Cannot write now, to be sent again after Retry-After")))]
pub(crate) async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    export(&app, Signal::Metrics, &headers, body).await
}

/// The protocol of a content type: protobuf or JSON; parameters such as `charset` are allowed.
fn protocol(signal: Signal, content_type: &str) -> Option<Protocol> {
    let kind = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    Some(match (signal, kind.as_str()) {
        (Signal::Logs, "application/x-protobuf") => Protocol::OtlpLogs,
        (Signal::Traces, "application/x-protobuf") => Protocol::OtlpTraces,
        (Signal::Metrics, "application/x-protobuf") => Protocol::OtlpMetrics,
        (Signal::Logs, "application/json") => Protocol::OtlpLogsJson,
        (Signal::Traces, "application/json") => Protocol::OtlpTracesJson,
        (Signal::Metrics, "application/json") => Protocol::OtlpMetricsJson,
        _ => return None,
    })
}

async fn export(app: &Arc<App>, signal: Signal, headers: &HeaderMap, body: Body) -> Response {
    let header = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    let content_type = header(header::CONTENT_TYPE);
    let Some(protocol) = protocol(signal, content_type) else {
        let name = content_type.chars().take(128).collect();
        let error = IngestError::UnknownContentType { name, known: "application/x-protobuf, application/json".to_owned() };
        app.telemetry.ingest.refused(signal, "unsupported");
        return refuse(&AcceptError::Malformed(error), false);
    };
    let json = matches!(protocol, Protocol::OtlpLogsJson | Protocol::OtlpTracesJson | Protocol::OtlpMetricsJson);
    let stored = async {
        let encoding = Encoding::from_header(Some(header(header::CONTENT_ENCODING))).map_err(AcceptError::Malformed)?;
        let body = read_body(body, app.ingest_limits.body_bytes_max).await?;
        accept(app, Request { protocol, encoding, context: String::new(), body }).await
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
