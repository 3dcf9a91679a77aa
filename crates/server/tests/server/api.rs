//! What our own API answers has the form that its OpenAPI document describes.

#[path = "prometheus_api.rs"]
mod prometheus_api;

use std::fs;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::process::{Server, eventually, root};
use crate::telemetry::{JSON, counter, hex, logs, send, spans};

/// A schema with its references followed and its `allOf` joined.
fn resolved(document: &Value, schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let pointer = name.trim_start_matches('#');
        return resolved(document, document.pointer(pointer).unwrap_or_else(|| panic!("{name} is not in the document")));
    }
    let Some(parts) = schema["allOf"].as_array() else { return schema.clone() };
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for part in parts {
        let part = resolved(document, part);
        properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
        required.extend(part["required"].as_array().cloned().unwrap_or_default());
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// Everything in which a value departs from a schema.
fn faults(document: &Value, schema: &Value, value: &Value, at: &str, out: &mut Vec<String>) {
    let schema = resolved(document, schema);
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = choices.iter().any(|choice| {
            let mut found = Vec::new();
            faults(document, choice, value, at, &mut found);
            found.is_empty()
        });
        if !fits {
            // The last choice is the one that is not null: say what is wrong with it.
            faults(document, choices.last().unwrap(), value, at, out);
        }
        return;
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return,
    };
    let fits = kinds.iter().any(|kind| match *kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{at}: the document has the type {other}"),
    });
    if !fits {
        out.push(format!("{at}: {kinds:?} is described, found {value}"));
        return;
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        faults(document, &schema["items"], item, &format!("{at}[{i}]"), out);
    }
    let Some(object) = value.as_object() else { return };
    let properties = schema["properties"].as_object();
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !object.contains_key(name) {
            out.push(format!("{at}.{name} is described and not there"));
        }
    }
    for (name, member) in object {
        match (properties.and_then(|p| p.get(name)), schema.get("additionalProperties")) {
            (Some(property), _) => faults(document, property, member, &format!("{at}.{name}"), out),
            (None, Some(of)) if of.is_object() => faults(document, of, member, &format!("{at}.{name}"), out),
            (None, None) if properties.is_some() => out.push(format!("{at}.{name} is there and not described")),
            (None, _) => {}
        }
    }
}

/// A server that has something of everything.
struct Full {
    _folder: TempDir,
    server: Server,
    document: Value,
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Full {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("skopos");
        copy(&root().join("examples/orders/skopos"), &config);
        fs::write(config.join("orders-admin.key"), "key").unwrap();
        let rules = "groups:\n- name: own\n  interval: 1s\n  rules:\n  - record: one\n    expr: vector(1)\n  - alert: Always\n    expr: vector(1)\n    labels: {severity: ticket, service: shop}\n    annotations: {summary: always}\n";
        fs::write(config.join("rules/always.yml"), rules).unwrap();
        let file = fs::read_to_string(config.join("skopos.yaml")).unwrap();
        let probe = "probes: [{service: shop, liveness: {url: 'http://127.0.0.1:1/healthz', interval_seconds: 1}}]\n";
        fs::write(config.join("skopos.yaml"), file + probe).unwrap();
        let server = Server::start_with(&folder.path().join("data"), &["--config", config.join("skopos.yaml").to_str().unwrap()]);
        let document = server.get("/v1/openapi.json").expect(200).json();
        let now = server.now();
        let trace = [0xab; 16];
        send(&server, "/v1/logs", &logs("shop", &["one".to_owned(), "two".to_owned()], now - 1_000_000_000, &trace)).expect(200);
        send(&server, "/v1/traces", &spans("shop", &[&trace], now - 1_000_000_000)).expect(200);
        // Three minutes, so that a rate over one can be asked for at any step of them.
        for ten_seconds in 0..18 {
            let time = now - (18 - ten_seconds) * 10_000_000_000;
            send(&server, "/v1/metrics", &counter("shop", "http_requests", "1", ten_seconds as i64 * 5, time)).expect(200);
        }
        eventually("an alert", || server.get("/v1/alerts").expect(200).json()["alerts"].as_array().filter(|a| !a.is_empty()).map(drop));
        Self { _folder: folder, server, document }
    }

    fn schema(&self, path: &str, method: &str, status: u16) -> Value {
        let operation = &self.document["paths"][path][method];
        let responses = &operation["responses"];
        let response =
            responses.get(status.to_string()).or_else(|| responses.get("default")).unwrap_or_else(|| panic!("{method} {path} is not described"));
        response["content"]["application/json"]["schema"].clone()
    }

    #[track_caller]
    fn compare(&self, path: &str, method: &str, status: u16, value: &Value) {
        let mut found = Vec::new();
        faults(&self.document, &self.schema(path, method, status), value, "answer", &mut found);
        assert!(found.is_empty(), "{method} {path}: {found:#?}");
    }

    /// Asks, and compares the answer with what is described at `path`.
    #[track_caller]
    fn get(&self, path: &str, asked: &str) -> Value {
        let answer = self.server.get(asked).expect(200).json();
        self.compare(path, "get", 200, &answer);
        answer
    }

    #[track_caller]
    fn post(&self, path: &str, asked: &str, body: &Value, status: u16) -> Value {
        let key = format!("Bearer {}", self.server.key());
        let answer = self.server.post(asked, &[JSON, ("authorization", &key)], body.to_string().as_bytes()).expect(status).json();
        self.compare(path, "post", status, &answer);
        answer
    }
}

#[test]
fn answers_have_the_form_that_is_described() {
    let full = Full::start();
    let trace = hex(&[0xab; 16]);
    eventually("a probe's result", || full.server.get("/v1/services/shop").expect(200).json()["probes"][0]["last"].as_object().map(drop));
    let event = json!({"kind": "deploy", "service": "shop", "version": "2"});
    full.post("/v1/events", "/v1/events", &event, 201);
    let run = full.post("/v1/runbooks/{id}/runs", "/v1/runbooks/orders-error-rate/runs", &json!({}), 200);
    let run = run["id"].as_str().unwrap().to_owned();
    let book = full.get("/v1/runbooks/{id}", "/v1/runbooks/orders-error-rate");
    let step = book["steps"].as_array().unwrap().iter().find(|s| s["phase"] == "verify").unwrap()["id"].as_str().unwrap().to_owned();
    full.post("/v1/runs/{run}/steps/{step}", &format!("/v1/runs/{run}/steps/{step}"), &json!({}), 200);
    full.get("/v1/runs/{run}", &format!("/v1/runs/{run}"));

    let records = full.get("/v1/logs", "/v1/logs?q=service:shop");
    let id = records["rows"][0]["id"].as_str().expect("a record").to_owned();
    full.get("/v1/logs/{id}", &format!("/v1/logs/{id}?before=1&after=1"));
    let found = full.get("/v1/traces", "/v1/traces?q=service:shop");
    assert_eq!(found["traces"].as_array().map(Vec::len), Some(1));
    full.get("/v1/traces/{id}", &format!("/v1/traces/{trace}"));
    full.get("/v1/traces/{id}/logs", &format!("/v1/traces/{trace}/logs"));
    full.get("/v1/correlate", &format!("/v1/correlate?trace_id={trace}"));
    let alerts = full.get("/v1/alerts", "/v1/alerts");
    let fingerprint = alerts["alerts"][0]["fingerprint"].as_str().unwrap().to_owned();
    full.get("/v1/alerts/{fingerprint}", &format!("/v1/alerts/{fingerprint}"));
    full.get("/v1/slos/{id}", "/v1/slos/orders-api-availability");
    full.get("/v1/services/{name}", "/v1/services/shop");
    full.get("/v1/services/{name}/golden", "/v1/services/shop/golden");
    full.get("/v1/capacity/{service}", "/v1/capacity/shop");
    let metrics = full.get("/v1/metrics", "/v1/metrics?service=shop&sort=series");
    assert!(
        metrics["metrics"].as_array().is_some_and(|m| m.iter().any(|m| m["name"] == "http_requests_total" && m["type"] == "counter")),
        "{metrics}"
    );
    let metric = full.get("/v1/metrics/{name}", "/v1/metrics/http_requests_total");
    assert_eq!(
        metric["labels"].as_array().and_then(|l| l.iter().find(|l| l["name"] == "http_route")).map(|l| l["values"][0].clone()),
        Some(json!(["/orders", 1]))
    );
    let explained = full.get("/v1/promql/explain", "/v1/promql/explain?query=sum(rate(http_requests_total%5B1m%5D))&from=-5m");
    let stages = explained["stages"].as_array().unwrap();
    let expressions: Vec<(&Value, &Value)> = stages.iter().map(|s| (&s["depth"], &s["expression"])).collect();
    let expected = [(0, "sum(rate(http_requests_total[1m]))"), (1, "rate(http_requests_total[1m])"), (2, "http_requests_total[1m]")];
    assert_eq!(expressions, expected.map(|(depth, text)| (json!(depth), json!(text))).each_ref().map(|(d, t)| (d, t)), "{explained}");
    assert!(stages[0]["samples"].as_u64().is_some_and(|n| n > 18), "each sample once a step: {explained}");
    eventually("the counters of spans", || (full.server.get("/v1/dashboards/golden-signals").status == 200).then_some(()));
    full.get("/v1/dashboards/{name}", "/v1/dashboards/golden-signals");
    full.get("/v1/dashboards/{name}/view", "/v1/dashboards/golden-signals/view");
    for panel in ["traffic", "traffic-by-service", "slowest-operations-p99", "latency-all-requests", "errors-in-logs"] {
        full.get("/v1/dashboards/{name}/panels/{panel}", &format!("/v1/dashboards/golden-signals/panels/{panel}"));
    }
    let key = format!("Bearer {}", full.server.key());
    let document = full.server.get("/v1/dashboards/golden-signals").expect(200).json()["document"].to_string();
    for _ in 0..2 {
        let stored = crate::http::request(&full.server.http, "PUT", "/v1/dashboards/golden-signals", &[("authorization", &key)], document.as_bytes());
        full.compare("/v1/dashboards/{name}", "put", 200, &stored.unwrap().expect(200).json());
    }
    full.get("/v1/dashboards/{name}/versions", "/v1/dashboards/golden-signals/versions");
    full.get("/v1/dashboards/{name}/diff", "/v1/dashboards/golden-signals/diff?before=1&after=2");
    full.post("/v1/dashboards/{name}/restore", "/v1/dashboards/golden-signals/restore", &json!({"version": 1}), 200);
    full.post(
        "/v1/dashboards/import",
        "/v1/dashboards/import",
        &json!({"title": "a", "panels": [{"type": "text", "title": "t"}, {"type": "news"}]}),
        200,
    );
    let rules = "groups:\n- name: g\n  rules:\n  - {record: 'job:up', expr: up}\n  - {alert: A, expr: 'http_requests_total >= 0', for: 1m, labels: {severity: page}, annotations: {summary: '{{ $value }}'}}\n";
    let linted = full.post("/v1/rules/lint", "/v1/rules/lint", &json!({"rules": rules}), 200);
    assert_eq!(
        (&linted["rules"], &linted["errors"], &linted["groups"][0]["rules"][1]["for_seconds"]),
        (&json!(2), &json!(0), &json!(60.0)),
        "{linted}"
    );
    let linted = full.post("/v1/rules/lint", "/v1/rules/lint", &json!({"rules": rules.replace("up}", "'up +'}")}), 200);
    assert_eq!(
        (&linted["errors"], &linted["findings"][0]["line"], &linted["findings"][0]["key"]),
        (&json!(1), &json!(4), &json!("groups[0].rules[0].expr"))
    );
    let past = full.post("/v1/rules/backtest", "/v1/rules/backtest", &json!({"rules": rules, "from": "-10m"}), 200);
    assert_eq!(past["rules"][1]["for_choices"].as_array().map(Vec::len), Some(8), "{past}");
    full.post("/v1/sql", "/v1/sql", &json!({"query": "SELECT body, time FROM logs"}), 200);
    full.post("/v1/admin/flush", "/v1/admin/flush", &json!({}), 200);
    full.post("/v1/admin/reload", "/v1/admin/reload", &json!({}), 200);
    let lines = full.server.post("/v1/logs/json?service=shop", &[], b"{\"msg\":\"a\"}\nplain\n").expect(200).json();
    full.compare("/v1/logs/json", "post", 200, &lines);
    // All the rest that needs nothing to be asked for and comes to an end.
    for (path, item) in full.document["paths"].as_object().unwrap() {
        let is_stream = item.pointer("/get/responses/200/content/text~1event-stream").is_some();
        if item.get("get").is_some()
            && !is_stream
            && !path.contains('{')
            && !matches!(path.as_str(), "/v1/openapi.json" | "/v1/correlate" | "/v1/promql/explain")
        {
            full.get(path, path);
        }
    }
}

#[test]
fn errors_have_the_form_that_is_described() {
    let full = Full::start();
    let refused = |path: &str, asked: &str, status: u16| {
        let answer = full.server.get(asked).expect(status).json();
        full.compare(path, "get", status, &answer);
    };
    refused("/v1/logs", "/v1/logs?q=level%3A%28", 400);
    refused("/v1/logs/{id}", "/v1/logs/none", 422);
    refused("/v1/traces/{id}", &format!("/v1/traces/{}", "0".repeat(31) + "1"), 404);
    refused("/v1/slos/{id}", "/v1/slos/none", 404);
    refused("/v1/correlate", "/v1/correlate", 400);
    refused("/v1/metrics/{name}", "/v1/metrics/none", 404);
    refused("/v1/metrics", "/v1/metrics?sort=colour", 400);
    refused("/v1/promql/explain", "/v1/promql/explain?query=sum(", 400);
    let answer = full.server.post("/v1/events", &[JSON], b"{}").expect(401).json();
    full.compare("/v1/events", "post", 401, &answer);
}
