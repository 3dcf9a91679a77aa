//! Calls of the Tempo data source as Grafana 11 and 12 make them, from the test button over the query builder to search,
//! metrics and the trace view; and Tempo's examples of what is a query.

use std::fs;

use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use serde_json::{Value, json};
use skopos_testkit::shared;
use tempfile::TempDir;

use crate::http::{Response, encode, request};
use crate::process::Server;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A server with two traces: one that fails in the database, one that is fine.
fn start(folder: &TempDir) -> (Server, u64) {
    let server = Server::start(&folder.path().join("data"));
    let now = server.now();
    let span = |trace: &str, id: u8, parent: u8, name: &str, kind: u8, ms: u64, more: Value| {
        let start = now - 60_000_000_000 + u64::from(id) * 1_000_000;
        let mut span = json!({
            "traceId": trace, "spanId": format!("{id:016x}"), "name": name, "kind": kind,
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + ms * 1_000_000).to_string(),
        });
        if parent > 0 {
            span["parentSpanId"] = json!(format!("{parent:016x}"));
        }
        span.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        span
    };
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let failed = json!({
        "status": {"code": 2, "message": "deadlock"},
        "attributes": [text("db.system.name", "postgresql"), {"key": "rows", "value": {"intValue": "7"}}],
        "events": [{"timeUnixNano": now.to_string(), "name": "exception", "attributes": [text("exception.type", "Deadlock")]}],
    });
    let other = "1af7651916cd43dd8448eb211c80319c";
    let resource = |service: &str, spans: Value| json!({"resource": {"attributes": [text("service.name", service)]}, "scopeSpans": [{"scope": {"name": "lib"}, "spans": spans}]});
    let body = json!({"resourceSpans": [
        resource("gateway", json!([
            span(TRACE, 1, 0, "GET /orders", 2, 500, json!({"attributes": [text("http.route", "/orders")]})),
            span(other, 2, 0, "GET /health", 2, 5, json!({})),
        ])),
        resource("orders", json!([span(TRACE, 3, 1, "place", 2, 400, json!({})), span(TRACE, 4, 3, "SELECT", 3, 50, failed)])),
    ]});
    let answer = request(&server.otlp_http, "POST", "/v1/traces", &[("content-type", "application/json")], body.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    (server, now / 1_000_000_000)
}

/// What Grafana's backend adds to each request.
const GRAFANA: [(&str, &str); 3] = [("user-agent", "Grafana/12.1.0"), ("x-grafana-org-id", "1"), ("accept-encoding", "identity")];

#[track_caller]
fn get(server: &Server, path: &str) -> Value {
    let answer = request(&server.http, "GET", path, &GRAFANA, b"").unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert!(answer.header("content-type").starts_with("application/json"), "{path}: {}", answer.header("content-type"));
    answer.json()
}

#[test]
fn the_data_source() {
    let folder = TempDir::new().unwrap();
    let (server, now) = start(&folder);
    // From memory, then from files.
    calls_are_answered(&server, now);
    server.change("/v1/admin/flush").expect(200);
    calls_are_answered(&server, now);
}

#[track_caller]
fn calls_are_answered(server: &Server, now: u64) {
    let range = format!("start={}&end={now}", now - 3_600);
    // The test button, and which version it is.
    assert_eq!(server.get("/api/echo").expect(200).text(), "echo");
    assert!(get(server, "/api/status/buildinfo")["version"].as_str().unwrap() >= "2.6.0");
    // The query builder.
    let tags = get(server, &format!("/api/v2/search/tags?{range}&limit=5000"));
    let scope = |name: &str| {
        let scopes = tags["scopes"].as_array().unwrap();
        scopes.iter().find(|s| s["name"] == name).unwrap_or_else(|| panic!("{name} in {tags}"))["tags"].clone()
    };
    assert_eq!(scope("resource"), json!(["service.name"]));
    assert_eq!(scope("span"), json!(["db.system.name", "http.route", "rows"]));
    assert_eq!(scope("event"), json!(["exception.type"]));
    assert!(scope("intrinsic").as_array().unwrap().contains(&json!("duration")));
    assert!(get(server, "/api/search/tags")["tagNames"].as_array().unwrap().contains(&json!("http.route")));
    let values = |tag: &str, q: &str| get(server, &format!("/api/v2/search/tag/{}/values?{range}&q={}", encode(tag), encode(q)))["tagValues"].clone();
    assert_eq!(values("resource.service.name", "{}"), json!([{"type": "string", "value": "gateway"}, {"type": "string", "value": "orders"}]));
    assert_eq!(values(".rows", "{ resource.service.name = \"orders\" && }"), json!([{"type": "int", "value": "7"}]));
    assert_eq!(
        values("name", "{ resource.service.name = \"gateway\" && span.http.route != nil }"),
        json!([{"type": "string", "value": "GET /orders"}])
    );
    assert_eq!(values("status", "{}")[0], json!({"type": "keyword", "value": "error"}));
    assert_eq!(values("rootServiceName", "{}"), json!([{"type": "string", "value": "gateway"}]));
    assert_eq!(get(server, "/api/search/tag/service.name/values")["tagValues"], json!(["gateway", "orders"]));
    // A search as the table shows it.
    let query = "{ nestedSetParent < 0 } >> { status = error && span.rows > 5 } | select(resource.service.name, event.exception.type)";
    let found = get(server, &format!("/api/search?q={}&limit=20&spss=3&{range}", encode(query)));
    let trace = &found["traces"][0];
    assert_eq!(found["traces"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!((&trace["traceID"], &trace["rootServiceName"], &trace["rootTraceName"]), (&json!(TRACE), &json!("gateway"), &json!("GET /orders")));
    assert_eq!(trace["durationMs"], 500);
    assert_eq!(trace["serviceStats"]["orders"], json!({"spanCount": 2, "errorCount": 1}));
    let span = &trace["spanSets"][0]["spans"][0];
    assert_eq!((&span["spanID"], &span["name"], &span["durationNanos"]), (&json!("0000000000000004"), &json!("SELECT"), &json!("50000000")));
    let attributes = span["attributes"].as_array().unwrap();
    for wanted in [
        json!({"key": "status", "value": {"stringValue": "error"}}),
        json!({"key": "rows", "value": {"intValue": "7"}}),
        json!({"key": "service.name", "value": {"stringValue": "orders"}}),
        json!({"key": "exception.type", "value": {"stringValue": "Deadlock"}}),
    ] {
        assert!(attributes.contains(&wanted), "{wanted} in {span}");
    }
    // The older search form.
    let old = get(server, &format!("/api/search?tags={}&minDuration=100ms&limit=5&{range}", encode("service.name=orders rows=7")));
    assert_eq!(old["traces"][0]["traceID"], TRACE);
    assert_eq!(get(server, &format!("/api/search?tags=rows%3D8&{range}"))["traces"], json!([]));
    // Series.
    let query = encode("{ nestedSetParent < 0 && true } | rate() by (resource.service.name) with (sample=true)");
    let series = get(server, &format!("/api/metrics/query_range?q={query}&step=60s&exemplars=100&{range}"));
    assert_eq!(series["series"][0]["labels"], json!([{"key": "resource.service.name", "value": {"stringValue": "gateway"}}]));
    let sum: f64 = series["series"][0]["samples"].as_array().unwrap().iter().map(|s| s["value"].as_f64().unwrap()).sum();
    assert!((sum * 60.0 - 2.0).abs() < 1e-9, "{series}");
    assert_eq!(series["series"][0]["samples"][1]["timestampMs"].as_str().unwrap().parse::<u64>().unwrap() % 60_000, 0);
    let query = encode("{ } | quantile_over_time(duration, 1) by (name)");
    let instant = get(server, &format!("/api/metrics/query?q={query}&{range}"));
    assert_eq!(instant["series"].as_array().unwrap().len(), 4, "{instant}");
    assert!(instant["series"].as_array().unwrap().iter().all(|s| s["value"].as_f64().unwrap() > 0.0));
    let query = encode("{ } | compare({ status = error }, 10)");
    let compared = get(server, &format!("/api/metrics/query_range?q={query}&step=3600s&{range}"));
    let selection = |s: &&Value| s["labels"][0]["value"]["stringValue"] == "selection" && s["labels"][1]["key"] == "span.db.system.name";
    assert!(compared["series"].as_array().unwrap().iter().any(|s| selection(&s)), "{compared}");
}

#[test]
fn a_trace_by_id() {
    let folder = TempDir::new().unwrap();
    let (server, _) = start(&folder);
    let protobuf = |path: &str| -> Response {
        let answer = request(&server.http, "GET", path, &[&GRAFANA[..], &[("accept", "application/protobuf")]].concat(), b"").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), "application/protobuf");
        answer
    };
    let first = TracesData::decode(&protobuf(&format!("/api/traces/{TRACE}")).body[..]).unwrap();
    let spans: Vec<_> = first.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans).collect();
    assert_eq!(spans.len(), 3);
    assert_eq!(spans.iter().find(|s| s.name == "SELECT").unwrap().events[0].name, "exception");
    /// `TraceByIDResponse`
    #[derive(Clone, PartialEq, Message)]
    struct ByIdResponse {
        #[prost(message, optional, tag = "1")]
        trace: Option<TracesData>,
    }
    let second = ByIdResponse::decode(&protobuf(&format!("/api/v2/traces/{TRACE}?start=0&end=9999999999")).body[..]).unwrap();
    assert_eq!(second.trace, Some(first));
    assert_eq!(get(&server, &format!("/api/traces/{TRACE}"))["batches"].as_array().unwrap().len(), 2);
    assert_eq!(get(&server, &format!("/api/v2/traces/{TRACE}"))["trace"]["resourceSpans"].as_array().unwrap().len(), 2);
    let missing = server.get("/api/v2/traces/ffffffffffffffffffffffffffffffff");
    assert_eq!((missing.status, missing.header("content-type").starts_with("text/plain")), (404, true));
    assert_eq!(server.get("/api/traces/nothex").status, 400);
}

#[test]
fn what_is_wrong_is_said_in_plain_text() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    for (path, said) in [
        ("/api/search?q={", "at 1..1"),
        ("/api/search?q={name=1}", "same type"),
        ("/api/search?q={}|rate()", "/api/metrics/query_range"),
        ("/api/search?q={}&start=20&end=10", "start must be before end"),
        ("/api/search?q={}&limit=x", "limit"),
        ("/api/search?tags=x", "key=value"),
        ("/api/v2/search/tags?scope=x", "invalid scope"),
        ("/api/metrics/query_range", "expected a TraceQL metrics query"),
        ("/api/metrics/query_range?q={}", "rate()"),
        ("/api/metrics/query_range?q={}|rate()&step=x", "step"),
    ] {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query: Vec<String> = query.split('&').filter_map(|p| p.split_once('=')).map(|(k, v)| format!("{k}={}", encode(v))).collect();
        let answer = server.get(&format!("{path}?{}", query.join("&")));
        assert_eq!(answer.status, 400, "{path} {query:?}: {}", answer.text());
        assert!(answer.header("content-type").starts_with("text/plain") && answer.text().contains(said), "{path} {query:?}: {}", answer.text());
    }
    let steps = server.get(&format!("/api/metrics/query_range?q={}&step=1ms&start=0&end=1000000", encode("{}|rate()")));
    assert_eq!(steps.status, 422, "{}", steps.text());
}

/// Tempo's examples over HTTP: what it takes is answered, what it refuses is refused. None is known to fail.
#[test]
fn conformance_tempo_traceql() {
    let Some(folder) = shared("conformance/agpl-tempo-traceql") else { return };
    let examples = fs::read_to_string(folder.join("test_examples.yaml")).unwrap();
    let data = TempDir::new().unwrap();
    let server = Server::start(&data.path().join("data"));
    let (mut valid, mut cases, mut failed) = (false, 0, Vec::new());
    for line in examples.lines() {
        let Some(entry) = line.strip_prefix("- ") else {
            valid = line == "valid:" || valid && !line.ends_with(':');
            continue;
        };
        // Quotes of YAML; the one entry over several lines and those with escapes are left to the parser's own test.
        let query = match entry.strip_prefix('\'') {
            Some(quoted) => match quoted.strip_suffix('\'') {
                Some(inner) => inner.replace("''", "'"),
                None => continue,
            },
            None if entry.starts_with('"') => continue,
            None => entry.to_owned(),
        };
        cases += 1;
        let metrics = ["rate(", "_over_time(", "compare("].iter().any(|f| query.contains(f));
        let path = if metrics { "/api/metrics/query_range" } else { "/api/search" };
        let status = server.get(&format!("{path}?q={}&step=60s", encode(&query))).status;
        if (status == 200) != valid || !matches!(status, 200 | 400) {
            failed.push(format!("{query}: {status}"));
        }
    }
    assert!(failed.is_empty() && cases > 300, "{cases} cases, failed:\n{}", failed.join("\n"));
}
