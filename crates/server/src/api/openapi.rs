//! The OpenAPI document of our own API.
//!
//! Paths, parameters and answers come from the handlers' annotations; what holds for all of them is added here, so
//! that it cannot be forgotten at one: errors, the key, ids of operations.

use std::sync::LazyLock;

use axum::Json;
use axum::http::Method;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::http::auth;

/// Collected from the handlers' annotations.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Skopos",
        description = "Skopos' own API. Times are Unix nanoseconds as text, durations nanoseconds as numbers unless the name says otherwise. Prometheus' API under /api/v1 is described by Prometheus."
    ),
    paths(
        crate::ingest::otlp_http::logs,
        crate::ingest::otlp_http::traces,
        crate::ingest::otlp_http::metrics,
        crate::ingest::json_lines::write,
        super::logs::search,
        super::logs_tail::tail,
        super::logs::histogram,
        super::logs::facets,
        super::logs::one,
        super::traces::search,
        super::traces::one,
        super::traces::logs,
        super::metrics::list,
        super::metrics::one,
        super::explain::explain,
        super::services::list,
        super::services::one,
        super::services::golden,
        super::capacity::note,
        super::cardinality::cardinality,
        super::floods::floods,
        super::correlate::correlate,
        super::palette::search,
        super::dashboards::list,
        super::dashboards::import,
        super::dashboards::one,
        super::dashboards::put,
        super::dashboards::delete,
        super::dashboards::versions,
        super::dashboards::difference,
        super::dashboards::restore,
        super::dashboards_panels::view,
        super::dashboards_panels::panel,
        super::events::list,
        super::events::post,
        super::alerts::list,
        super::alerts::one,
        super::alerts::rules,
        super::rules::lint,
        super::rules::backtest,
        super::rules::backfill,
        super::slos::list,
        super::slos::one,
        super::runbooks::list,
        super::runbooks::one,
        super::runbooks::start,
        super::runbooks::run,
        super::runbooks::step,
        super::drills::list,
        super::drills::start,
        super::drills::one,
        super::sql::sql,
        super::status::status,
        super::admin::flush,
        super::admin::reload,
        auth::login,
        document,
    ),
    components(schemas(super::shapes::ErrorBody))
)]
struct Annotated;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| complete(serde_json::to_value(Annotated::openapi()).unwrap_or_default()));

/// `GET /v1/openapi.json`: this document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "status", responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub async fn document() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

/// What is served; for the generated reference.
pub fn describe() -> &'static Value {
    &DOCUMENT
}

/// Adds what holds for all operations.
fn complete(mut document: Value) -> Value {
    let error = json!({"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}});
    let mut bodies = Vec::new();
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let tag = operation["tags"][0].as_str().unwrap_or_default().to_owned();
            operation["operationId"] = json!(format!("{tag}_{}", operation["operationId"].as_str().unwrap_or_default()));
            if let Some(summary) = summary(operation) {
                operation["summary"] = json!(summary);
            }
            bodies.extend(operation.pointer("/requestBody/content/application~1json/schema/$ref").cloned());
            // OTLP answers with its own statuses.
            if tag == "otlp" {
                continue;
            }
            let Some(responses) = operation["responses"].as_object_mut() else { continue };
            let verb = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap_or(Method::GET);
            let needs_key = !auth::changes_nothing(&verb, path);
            if needs_key {
                responses.insert("401".to_owned(), json!({"description": "No key, or the wrong one"}));
            }
            responses.insert(
                "default".to_owned(),
                json!({"description": "400 wrong request, 422 over a limit, 503 with Retry-After to be tried again; `error.code` and `error.message` say more"}),
            );
            for (status, response) in responses.iter_mut().filter(|(status, _)| !status.starts_with('2')) {
                if response.get("content").is_none() && status != "204" {
                    response["content"] = error.clone();
                }
            }
            if needs_key {
                operation["security"] = json!([{"key": []}]);
            }
        }
    }
    document["components"]["securitySchemes"] = json!({"key": {
        "type": "http", "scheme": "bearer",
        "description": "The API key of the server (DIR/api-key). On loopback only what changes something needs it; on other addresses everything does.",
    }});
    for (name, schema) in document["components"]["schemas"].as_object_mut().into_iter().flatten() {
        if !bodies.iter().any(|b| b.as_str().is_some_and(|b| b.ends_with(&format!("/{name}")))) {
            require_nullable(schema);
        }
    }
    document
}

/// The handler's first sentence without the route it repeats; the answer's description when there is no more.
fn summary(operation: &Value) -> Option<String> {
    let text = operation.get("summary").and_then(Value::as_str)?;
    let rest = match text.strip_prefix('`') {
        Some(quoted) => quoted.split_once('`').map_or("", |(_, rest)| rest.trim_start_matches(':').trim()),
        None => text,
    };
    if !rest.is_empty() {
        let mut letters = rest.chars();
        return letters.next().map(|first| first.to_uppercase().chain(letters).collect());
    }
    let responses = operation["responses"].as_object()?;
    let answer = responses.iter().find(|(status, _)| status.starts_with('2'))?.1;
    answer["description"].as_str().map(str::to_owned)
}

/// In answers a value that may be null is there all the same: null says "none".
fn require_nullable(schema: &mut Value) {
    for part in schema.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten() {
        require_nullable(part);
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let mut required: Vec<Value> = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    for name in nullable(properties) {
        if !required.contains(&name) {
            required.push(name);
        }
    }
    if !required.is_empty() {
        schema["required"] = Value::Array(required);
    }
}

fn nullable(properties: &Map<String, Value>) -> Vec<Value> {
    let is_null = |v: &Value| v == "null" || v["type"] == "null";
    let any = |v: &Value, key: &str| v.get(key).and_then(Value::as_array).is_some_and(|list| list.iter().any(is_null));
    properties.iter().filter(|(_, p)| any(p, "type") || any(p, "oneOf")).map(|(name, _)| json!(name)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `(path, method)` of every route under /v1: those of the router's own text, and of the table of protocols.
    fn registered() -> BTreeSet<(String, String)> {
        let ingest = skopos_ingest::protocols::PROTOCOLS.iter().flat_map(|row| row.paths).filter(|path| path.starts_with("/v1/"));
        let mut found: BTreeSet<(String, String)> = ingest.map(|path| ((*path).to_owned(), "post".to_owned())).collect();
        for route in include_str!("../router.rs").split(".route(\"").skip(1) {
            let (path, rest) = route.split_once('"').expect("a closing quote");
            for method in ["get", "post", "put", "delete", "patch"] {
                let called = [format!(" {method}("), format!(").{method}(")];
                if path.starts_with("/v1/") && called.iter().any(|call| rest.contains(call)) {
                    found.insert((path.to_owned(), method.to_owned()));
                }
            }
        }
        found
    }

    #[test]
    fn every_route_of_our_own_is_described_and_nothing_else() {
        let mut described = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for (path, item) in describe()["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                described.insert((path.clone(), method.clone()));
                let id = operation["operationId"].as_str().expect("an id").to_owned();
                assert!(ids.insert(id.clone()), "{id} stands twice");
                assert!(operation["summary"].as_str().is_some_and(|s| !s.is_empty()), "{method} {path} has no summary");
                for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                    let parameters = operation["parameters"].as_array().into_iter().flatten();
                    assert!(parameters.clone().any(|p| p["name"] == name && p["in"] == "path"), "{method} {path}: {name} is not described");
                }
            }
        }
        let registered = registered();
        assert!(registered.len() > 30, "the router's text is read: {registered:?}");
        assert_eq!(described, registered);
    }

    #[test]
    fn answers_and_errors_have_a_form() {
        for (path, item) in describe()["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                let otlp = operation["tags"][0] == "otlp";
                for (status, response) in operation["responses"].as_object().expect("responses") {
                    let empty = status == "204" || otlp || path == "/v1/openapi.json";
                    // JSON, but for streams.
                    let kinds = ["/content/application~1json/schema", "/content/text~1event-stream/schema"];
                    assert!(kinds.iter().any(|kind| response.pointer(kind).is_some()) || empty, "{method} {path} {status} has no form");
                }
            }
        }
        assert_eq!(describe()["openapi"], "3.1.0");
    }
}
