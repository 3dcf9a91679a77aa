//! Elasticsearch's `_bulk`, and what its clients ask before they send.
//!
//! Documents become log records. Templates, policies and pipelines are told apart from nothing: putting one up is
//! acknowledged and changes nothing, since records need no mapping.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Path, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use bytes::Bytes;
use serde_json::{Value, json};
use skopos_ingest::elastic::{Item, items};
use skopos_ingest::protocols::is_of_form;
use skopos_ingest::{Encoding, IngestError, Protocol};

use super::accept::{AcceptError, Request, accept};
use super::receive::{self, with_retry_after};
use super::sources::Source;
use crate::app::App;

/// Version that is told to clients: they check that it is one they know.
const VERSION: &str = "8.17.0";
/// Clients refuse answers without it.
const PRODUCT: (&str, &str) = ("x-elastic-product", "Elasticsearch");

/// Forms of paths that clients ask and put things to before they send; nothing is kept of it.
const TOLD: [&str; 14] = [
    "/_license",
    "/_xpack",
    "/_ilm/policy",
    "/_ilm/policy/{name}",
    "/_index_template",
    "/_index_template/{name}",
    "/_component_template/{name}",
    "/_template/{name}",
    "/_ingest/pipeline/{name}",
    "/_data_stream/{name}",
    "/_cluster/health",
    "/_cluster/settings",
    "/_nodes",
    "/_nodes/{what}",
];
/// The same below this prefix.
const PREFIX: &str = "/elasticsearch";

/// Whether a client may put up something at this path without a key: nothing is kept of it, or one document is stored.
pub(crate) fn is_told(path: &str) -> bool {
    let path = path.strip_prefix(PREFIX).unwrap_or(path);
    TOLD.iter().chain(&DOCUMENT).any(|form| is_of_form(path, form))
}

/// Paths that take one document.
const DOCUMENT: [&str; 3] = ["/{index}/_doc", "/{index}/_doc/{id}", "/{index}/_create/{id}"];

/// Its paths, at the root and below `/elasticsearch`.
pub fn routes() -> Router<Arc<App>> {
    let mut routes = super::paths(Protocol::ElasticBulk).fold(Router::new(), |routes, path| routes.route(path, post(bulk).put(bulk)));
    for prefix in ["", PREFIX] {
        for form in TOLD {
            routes = routes.route(&format!("{prefix}{form}"), any(told));
        }
        for form in DOCUMENT {
            routes = routes.route(&format!("{prefix}{form}"), post(document).put(document));
        }
    }
    routes = routes.route(PREFIX, get(handshake)).route(&format!("{PREFIX}/"), get(handshake));
    routes.layer(middleware::map_response(with_product))
}

async fn with_product(mut response: Response) -> Response {
    response.headers_mut().insert(HeaderName::from_static(PRODUCT.0), HeaderValue::from_static(PRODUCT.1));
    response
}

async fn handshake() -> Response {
    banner()
}

/// Whether `GET /` comes from a client and not from a browser.
pub(crate) fn asks_what_this_is(headers: &HeaderMap) -> bool {
    let accept = receive::text(headers, header::ACCEPT);
    !accept.contains("text/html")
}

/// The answer to `GET /`: that bulk requests are taken here, in the words clients check.
pub(crate) fn banner() -> Response {
    let body = json!({
        "name": "skopos",
        "cluster_name": "skopos",
        "cluster_uuid": "skopos-takes-bulk-00000",
        "version": {
            "number": VERSION,
            "build_flavor": "default",
            "build_type": "docker",
            "build_hash": "0000000000000000000000000000000000000000",
            "build_date": "2024-12-11T12:08:05.663969764Z",
            "build_snapshot": false,
            "lucene_version": "9.12.0",
            "minimum_wire_compatibility_version": "7.17.0",
            "minimum_index_compatibility_version": "7.0.0",
        },
        "tagline": "You Know, for Search",
    });
    ([PRODUCT], axum::Json(body)).into_response()
}

/// What clients ask or put up before they send.
async fn told(State(app): State<Arc<App>>, method: Method, OriginalUri(uri): OriginalUri) -> Response {
    if matches!(method, Method::PUT | Method::POST | Method::DELETE) {
        return axum::Json(json!({"acknowledged": true})).into_response();
    }
    let path = uri.path().strip_prefix(PREFIX).unwrap_or(uri.path());
    let (first, name) = (path.split('/').nth(1).unwrap_or(""), path.rsplit('/').next().unwrap_or(""));
    let answer = match first {
        "_license" => json!({"license": {
            "status": "active", "uid": "00000000-0000-0000-0000-000000000000", "type": "basic", "issue_date": "2024-01-01T00:00:00.000Z",
            "issue_date_in_millis": 1_704_067_200_000_u64, "max_nodes": 1000, "issued_to": "skopos", "issuer": "elasticsearch", "start_date_in_millis": -1,
        }}),
        "_xpack" => {
            json!({"build": {}, "license": {"type": "basic", "mode": "basic", "status": "active"}, "features": {"ilm": {"available": true, "enabled": true}}})
        }
        "_cluster" if name == "health" => json!({
            "cluster_name": "skopos", "status": "green", "timed_out": false, "number_of_nodes": 1, "number_of_data_nodes": 1, "active_primary_shards": 1,
            "active_shards": 1, "relocating_shards": 0, "initializing_shards": 0, "unassigned_shards": 0, "delayed_unassigned_shards": 0,
            "number_of_pending_tasks": 0, "number_of_in_flight_fetch": 0, "task_max_waiting_in_queue_millis": 0, "active_shards_percent_as_number": 100.0,
        }),
        "_cluster" => json!({"persistent": {}, "transient": {}}),
        "_nodes" => {
            // Clients that look for nodes find the one they asked.
            let address = app.addresses.get().map(|addresses| addresses.http.clone()).unwrap_or_default();
            let node = json!({
                "name": "skopos", "version": VERSION, "roles": ["data", "ingest", "master"], "host": "127.0.0.1", "ip": "127.0.0.1",
                "http": {"bound_address": [address], "publish_address": address, "max_content_length_in_bytes": app.ingest_limits.body_bytes_max},
            });
            json!({"_nodes": {"total": 1, "successful": 1, "failed": 0}, "cluster_name": "skopos", "nodes": {"skopos": node}})
        }
        // What is asked for is there: a client has no need to put it up.
        "_index_template" => {
            json!({"index_templates": [{"name": name, "index_template": {"index_patterns": ["*"], "data_stream": {}, "composed_of": []}}]})
        }
        "_data_stream" => {
            json!({"data_streams": [{"name": name, "timestamp_field": {"name": "@timestamp"}, "indices": [], "generation": 1, "status": "GREEN"}]})
        }
        "_ilm" => json!({name: {"version": 1, "policy": {"phases": {}}}}),
        _ => json!({name: {}}),
    };
    axum::Json(answer).into_response()
}

fn error(status: StatusCode, kind: &str, reason: &str) -> Response {
    let cause = json!({"type": kind, "reason": reason});
    let body = json!({"error": {"root_cause": [cause], "type": kind, "reason": reason}, "status": status.as_u16()});
    (status, axum::Json(body)).into_response()
}

fn refuse(problem: &AcceptError) -> Response {
    let status = problem.status();
    let kind = match status {
        StatusCode::TOO_MANY_REQUESTS => "circuit_breaking_exception",
        StatusCode::SERVICE_UNAVAILABLE => "cluster_block_exception",
        StatusCode::PAYLOAD_TOO_LARGE => "content_too_long_exception",
        _ => "illegal_argument_exception",
    };
    let reason = match problem {
        // Elasticsearch's own words stand without ours around them.
        AcceptError::Malformed(IngestError::Text { reason, .. }) => reason.clone(),
        other => other.to_string(),
    };
    with_retry_after(error(status, kind, &reason), problem)
}

/// The index of a path, if it names one.
fn index(path: &str) -> &str {
    let path = path.strip_prefix(PREFIX).unwrap_or(path);
    path.trim_start_matches('/').strip_suffix("/_bulk").unwrap_or("")
}

/// `POST /_bulk`, `POST /{index}/_bulk`: each action is answered for itself.
pub async fn bulk(State(app): State<Arc<App>>, OriginalUri(uri): OriginalUri, extensions: Extensions, headers: HeaderMap, body: Body) -> Response {
    let started = Instant::now();
    let (encoding, body) = match receive::body(&app, Protocol::ElasticBulk, &headers, body).await {
        Ok(read) => read,
        Err(error) => return refuse(&error),
    };
    store(&app, index(uri.path()), &extensions, encoding, body, |all| {
        let errors = all.iter().any(|item| item.document.is_err());
        let shown: Vec<Value> = all.iter().enumerate().map(|(number, item)| json!({item.action.as_str(): answer(number, item)})).collect();
        axum::Json(json!({"took": started.elapsed().as_millis() as u64, "errors": errors, "items": shown})).into_response()
    })
    .await
}

/// Stores a request; `answered` makes the answer of its items.
async fn store(
    app: &Arc<App>,
    index: &str,
    extensions: &Extensions,
    encoding: Encoding,
    body: Bytes,
    answered: impl FnOnce(&[Item<'_>]) -> Response,
) -> Response {
    let request =
        Request { protocol: Protocol::ElasticBulk, encoding, context: index.to_owned(), source: Source::of(extensions), body: body.clone() };
    if let Err(error) = accept(app, request).await {
        return refuse(&error);
    }
    // It has been read once: neither of these fails now.
    let plain = match encoding.decompress(&body, app.ingest_limits.decompressed_bytes_max) {
        Ok(plain) => plain,
        Err(error) => return refuse(&AcceptError::Malformed(error)),
    };
    match items(&plain, index) {
        Ok(all) => answered(&all),
        Err(error) => refuse(&AcceptError::Malformed(error)),
    }
}

fn answer(number: usize, item: &Item<'_>) -> Value {
    // Records have no ids; clients that look at one find one that is different for each.
    let id = item.id.clone().unwrap_or_else(|| format!("{number:020}"));
    match &item.document {
        Ok(_) => json!({
            "_index": item.index, "_id": id, "_version": 1, "result": "created", "_shards": {"total": 1, "successful": 1, "failed": 0},
            "_seq_no": number, "_primary_term": 1, "status": 201,
        }),
        Err(error) => json!({"_index": item.index, "_id": id, "status": error.status, "error": {"type": error.kind, "reason": error.reason}}),
    }
}

/// `POST /{index}/_doc`: one document.
pub async fn document(
    State(app): State<Arc<App>>,
    Path(parts): Path<Vec<(String, String)>>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let (encoding, body) = match receive::body(&app, Protocol::ElasticBulk, &headers, body).await {
        Ok(read) => read,
        Err(error) => return refuse(&error),
    };
    let part = |name: &str| parts.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let plain = match encoding.decompress(&body, app.ingest_limits.decompressed_bytes_max) {
        Ok(plain) => plain,
        Err(error) => return refuse(&AcceptError::Malformed(error)),
    };
    // As a bulk request of one action; a document may stand on several lines.
    let meta = json!({"create": {"_id": part("id")}});
    let mut request = format!("{meta}\n").into_bytes();
    request.extend(plain.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
    request.push(b'\n');
    store(&app, part("index").unwrap_or(""), &extensions, Encoding::Identity, request.into(), |all| match all.first() {
        Some(item) => {
            let status =
                item.document.as_ref().err().map_or(StatusCode::CREATED, |e| StatusCode::from_u16(e.status).unwrap_or(StatusCode::BAD_REQUEST));
            match &item.document {
                Ok(_) => (status, axum::Json(answer(0, item))).into_response(),
                Err(problem) => error(status, problem.kind, &problem.reason),
            }
        }
        None => error(StatusCode::BAD_REQUEST, "parse_exception", "request body is required"),
    })
    .await
}
