//! Splunk's HTTP event collector.
//!
//! A token is asked for where a key is: `Authorization: Splunk KEY`. Acknowledgements by id are not offered: the answer
//! itself says that the events are on disk.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde_json::json;
use skopos_ingest::splunk::REFUSALS;
use skopos_ingest::{IngestError, Protocol};

use super::accept::AcceptError;
use super::receive::{receive, with_retry_after};
use crate::app::App;

/// Its paths.
pub fn routes() -> Router<Arc<App>> {
    let routes = super::paths(Protocol::SplunkEvents).fold(Router::new(), |routes, path| routes.route(path, post(events)));
    let routes = super::paths(Protocol::SplunkRaw).fold(routes, |routes, path| routes.route(path, post(raw)));
    routes
        .route("/services/collector/health", get(health))
        .route("/services/collector/health/1.0", get(health))
        .route("/services/collector/ack", any(ack))
        .route("/services/collector/ack/1.0", any(ack))
}

/// `POST /services/collector/event`: events as JSON objects one after another.
pub async fn events(State(app): State<Arc<App>>, RawQuery(query): RawQuery, extensions: Extensions, headers: HeaderMap, body: Body) -> Response {
    store(&app, Protocol::SplunkEvents, query, &extensions, &headers, body).await
}

/// `POST /services/collector/raw`: lines.
pub async fn raw(State(app): State<Arc<App>>, RawQuery(query): RawQuery, extensions: Extensions, headers: HeaderMap, body: Body) -> Response {
    store(&app, Protocol::SplunkRaw, query, &extensions, &headers, body).await
}

async fn store(app: &Arc<App>, protocol: Protocol, query: Option<String>, extensions: &Extensions, headers: &HeaderMap, body: Body) -> Response {
    match receive(app, protocol, query.unwrap_or_default(), extensions, headers, body).await {
        Ok(accepted) => match accepted.rejected.first() {
            None => axum::Json(json!({"text": "Success", "code": 0})).into_response(),
            // The good ones are stored: a client does not repeat a 400.
            Some(first) => {
                let (code, text) =
                    REFUSALS.iter().find(|(reason, _, _)| *reason == first.reason).map_or((6, first.reason), |(_, code, text)| (*code, *text));
                let number = first.example.split([' ', ':']).nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
                let body = json!({"text": text, "code": code, "invalid-event-number": number, "rejected": accepted.rejected});
                (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
            }
        },
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &AcceptError) -> Response {
    let (status, code, text) = match error {
        AcceptError::Malformed(IngestError::Text { reason, .. }) if reason == "No data" => (error.status(), 5, "No data".to_owned()),
        // Clients wait and send again after these.
        _ if error.retry_after().is_some() => (StatusCode::SERVICE_UNAVAILABLE, 9, format!("Server is busy: {error}")),
        _ => (error.status(), 6, format!("Invalid data format: {error}")),
    };
    with_retry_after((status, axum::Json(json!({"text": text, "code": code}))).into_response(), error)
}

/// `GET /services/collector/health`
async fn health() -> Response {
    axum::Json(json!({"text": "HEC is healthy", "code": 17})).into_response()
}

/// `POST /services/collector/ack`: an answer of 200 to events already means that they are stored.
async fn ack() -> Response {
    (StatusCode::BAD_REQUEST, axum::Json(json!({"text": "ACK is disabled", "code": 14}))).into_response()
}
