//! Dashboards: from files, through the API with their versions, by themselves, from Grafana; worked out and drawn.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Response, request};
use crate::process::{Server, root, skopos};
use crate::telemetry::{counter, send, spans};

const CHECKOUT: &str = include_str!("../../src/dashboards/testdata/checkout.yaml");
const GRAFANA: &str = include_str!("../../src/dashboards/testdata/grafana.json");

#[track_caller]
fn change(server: &Server, method: &str, path: &str, body: &[u8]) -> Response {
    let key = format!("Bearer {}", server.key());
    let headers = [("authorization", key.as_str()), ("content-type", "application/json"), ("x-skopos-actor", "ada")];
    request(&server.http, method, path, &headers, body).unwrap()
}

/// A dashboard with one panel, its title and query given.
fn small(name: &str, title: &str, query: &str) -> Value {
    json!({
        "kind": "Dashboard", "metadata": {"name": name},
        "spec": {
            "display": {"name": title},
            "variables": [{"kind": "ListVariable", "spec": {"name": "route", "allowMultiple": true, "allowAllValue": true, "plugin": {"kind": "PrometheusLabelValuesVariable", "spec": {"labelName": "http_route", "matchers": ["http_requests_total"]}}}}],
            "panels": {
                "rate": {"kind": "Panel", "spec": {"display": {"name": "Rate of $route"}, "plugin": {"kind": "TimeSeriesChart", "spec": {"yAxis": {"format": {"unit": "requests/sec"}}}}, "queries": [{"kind": "TimeSeriesQuery", "spec": {"plugin": {"kind": "PrometheusTimeSeriesQuery", "spec": {"query": query}}}}]}},
                "now": {"kind": "Panel", "spec": {"display": {"name": "Now"}, "plugin": {"kind": "Table", "spec": {}}, "queries": [{"kind": "TimeSeriesQuery", "spec": {"plugin": {"kind": "PrometheusTimeSeriesQuery", "spec": {"query": "http_requests_total{http_route=~\"$route\"}"}}}}]}}
            },
            "layouts": [{"kind": "Grid", "spec": {"repeatVariable": "route", "display": {"title": "Route $route"}, "items": [
                {"x": 0, "y": 0, "width": 12, "height": 8, "content": {"$ref": "#/spec/panels/rate"}},
                {"x": 12, "y": 0, "width": 12, "height": 8, "content": {"$ref": "#/spec/panels/now"}}
            ]}}]
        }
    })
}

const RATE: &str = "sum by (http_route) (rate(http_requests_total{http_route=~\"$route\"}[1m]))";

#[test]
fn versions_are_kept_compared_and_restored() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let put = |title: &str, more: &str| {
        change(&server, "PUT", &format!("/v1/dashboards/shop?message=because{more}"), small("shop", title, RATE).to_string().as_bytes())
    };
    // Without the key nothing changes.
    request(&server.http, "PUT", "/v1/dashboards/shop", &[], small("shop", "One", RATE).to_string().as_bytes()).unwrap().expect(401);
    assert_eq!(put("One", "&dry_run=true").expect(200).json()["version"], Value::Null);
    server.get("/v1/dashboards/shop").expect(404);
    assert_eq!(put("One", "&expected=0").expect(200).json()["version"], 1);
    assert_eq!(put("Two", "&expected=1").expect(200).json()["version"], 2);
    // Somebody who has seen version 1 does not overwrite version 2.
    assert!(put("Three", "&expected=1").expect(409).text().contains("is at version 2"));
    let detail = server.get("/v1/dashboards/shop").expect(200).json();
    assert_eq!((&detail["title"], &detail["source"], &detail["version"]), (&json!("Two"), &json!("stored"), &json!(2)));
    assert_eq!(server.get("/v1/dashboards/shop?version=1").expect(200).json()["title"], "One");
    let diff = server.get("/v1/dashboards/shop/diff?before=1&after=2").expect(200).json();
    let changed: Vec<String> = diff["lines"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|l| l["op"] != " ")
        .map(|l| format!("{}{}", l["op"].as_str().unwrap(), l["text"].as_str().unwrap().trim()))
        .collect();
    assert_eq!(changed, ["-\"name\": \"One\"", "+\"name\": \"Two\""]);
    assert_eq!(change(&server, "POST", "/v1/dashboards/shop/restore", b"{\"version\": 1}").expect(200).json()["version"], 3);
    assert_eq!(change(&server, "DELETE", "/v1/dashboards/shop", b"").expect(200).json()["version"], 4);
    server.get("/v1/dashboards/shop").expect(404);
    let versions = server.get("/v1/dashboards/shop/versions").expect(200).json()["versions"].as_array().unwrap().clone();
    let shown: Vec<String> = versions
        .iter()
        .map(|v| format!("{} {} {} {}", v["version"], v["actor"].as_str().unwrap(), v["message"].as_str().unwrap(), v["deleted"]))
        .collect();
    assert_eq!(shown, ["4 ada  true", "3 ada version 1 restored false", "2 ada because false", "1 ada because false"]);
    // What was removed comes back, and the numbers go on.
    assert_eq!(change(&server, "POST", "/v1/dashboards/shop/restore", b"{\"version\": 2}").expect(200).json()["version"], 5);
    assert_eq!(server.get("/v1/dashboards/shop").expect(200).json()["title"], "Two");
    server.get("/v1/dashboards/shop/diff?before=1&after=9").expect(404);
}

#[test]
fn wrong_documents_are_refused_with_line_key_and_nearest_name() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let text = CHECKOUT.replace("kind: StatChart", "kind: StatChrt");
    let line = text.lines().position(|l| l.contains("StatChrt")).unwrap() + 1;
    let refused = change(&server, "PUT", "/v1/dashboards/checkout", text.as_bytes()).expect(400).json();
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("checkout:{line}:")) && message.contains("did you mean `StatChart`"), "{message}");
    assert!(change(&server, "PUT", "/v1/dashboards/other", CHECKOUT.as_bytes()).expect(400).text().contains("metadata.name"));
    // YAML is taken as well as JSON.
    change(&server, "PUT", "/v1/dashboards/checkout", CHECKOUT.as_bytes()).expect(200);
    let path = folder.path().join("d.yaml");
    fs::write(&path, &text).unwrap();
    let output = skopos(&["check", path.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && said.contains(&format!("d.yaml:{line}:")) && said.contains("0 dashboards"), "{said}");
}

#[test]
fn files_are_shown_and_only_change_in_their_place() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("checkout.yaml"), CHECKOUT).unwrap();
    fs::write(folder.path().join("skopos.yml"), "dashboard_files: ['*.yaml']\n").unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--config", folder.path().join("skopos.yml").to_str().unwrap()]);
    let list = server.get("/v1/dashboards").expect(200).json();
    let line = &list["dashboards"][0];
    assert_eq!((&line["name"], &line["source"], &line["panels"]), (&json!("checkout"), &json!("file"), &json!(9)));
    assert!(change(&server, "PUT", "/v1/dashboards/checkout", CHECKOUT.as_bytes()).expect(409).text().contains("checkout.yaml"));
    // A reload takes what changed, and keeps what is there when the new one is wrong.
    fs::write(folder.path().join("checkout.yaml"), CHECKOUT.replace("name: Checkout", "name: Till")).unwrap();
    server.change("/v1/admin/reload").expect(200);
    assert_eq!(server.get("/v1/dashboards/checkout").expect(200).json()["title"], "Till");
    fs::write(folder.path().join("checkout.yaml"), "kind: Dashboard\n").unwrap();
    server.change("/v1/admin/reload").expect(400);
    assert_eq!(server.get("/v1/dashboards/checkout").expect(200).json()["title"], "Till");
}

#[test]
fn panels_are_worked_out_and_drawn() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let now = server.now();
    for ten_seconds in 0..18 {
        send(&server, "/v1/metrics", &counter("shop", "http_requests", "1", ten_seconds * 5, now - (18 - ten_seconds as u64) * 10_000_000_000))
            .expect(200);
    }
    change(&server, "PUT", "/v1/dashboards/shop", small("shop", "Shop", RATE).to_string().as_bytes()).expect(200);
    let view = server.get("/v1/dashboards/shop/view?from=-5m").expect(200).json();
    assert_eq!(view["variables"][0]["options"], json!([{"value": "/orders", "label": "/orders"}]));
    assert_eq!(view["variables"][0]["selected"], json!(["$__all"]));
    assert_eq!((&view["sections"][0]["title"], &view["sections"][0]["values"]), (&json!("Route /orders"), &json!({"route": "/orders"})));
    let panel = server.get("/v1/dashboards/shop/panels/rate?from=-5m&var.route=%2Forders").expect(200).json();
    assert_eq!(panel["title"], "Rate of /orders");
    assert_eq!(panel["queries"][0], "sum by (http_route) (rate(http_requests_total{http_route=~\"/orders\"}[1m]))");
    let values: Vec<f64> = panel["frame"]["series"][0]["values"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    // Five every ten seconds.
    assert!(values.last().is_some_and(|v| (v - 0.5).abs() < 0.01), "{values:?}");
    // Nothing has this route: the answer is empty, not another's.
    let other = server.get("/v1/dashboards/shop/panels/rate?from=-5m&var.route=%2Fnone").expect(200).json();
    assert_eq!(other["frame"]["series"], json!([]));
    let table = server.get("/v1/dashboards/shop/panels/now?from=-5m").expect(200).json();
    assert_eq!(table["table"]["rows"].as_array().map(Vec::len), Some(1));
    let picture = server.get("/v1/dashboards/shop/panels/rate.svg?from=-5m&theme=dark&width=600&height=240").expect(200);
    assert_eq!(picture.header("content-type"), "image/svg+xml; charset=utf-8");
    let text = picture.text();
    assert!(text.starts_with("<svg ") && text.contains("Rate of All") && text.contains("<path d=\"M") && text.contains("width=\"600\""), "{text}");
    let png = server.get("/v1/dashboards/shop/panels/rate.png?from=-5m&theme=dark&width=600&height=240&scale=1.5").expect(200);
    let side = |at: usize| u32::from_be_bytes(png.body[at..at + 4].try_into().unwrap());
    assert_eq!((png.header("content-type"), side(16), side(20)), ("image/png", 900, 360));
    assert!(png.header("cache-control").starts_with("private, max-age=") && png.header("content-security-policy").contains("default-src 'none'"));
    // A range that is over is always the same picture: whoever has it needs it not again.
    let settled = "/v1/dashboards/shop/panels/rate.png?from=2020-01-01T00:00:00Z&to=2020-01-01T01:00:00Z";
    let first = server.get(settled).expect(200);
    assert_eq!(first.header("cache-control"), "private, max-age=3600");
    let again = crate::http::request(&server.http, "GET", settled, &[("if-none-match", first.header("etag"))], b"").unwrap().expect(304);
    assert!(again.body.is_empty());
    server.get("/v1/dashboards/shop/panels/rate.png?width=4000&height=3000&scale=2").expect(422);
    server.get("/v1/dashboards/shop/panels/rate.png?scale=0").expect(400);
    server.get("/v1/dashboards/shop/panels/now.png").expect(422);
    server.get("/v1/dashboards/shop/panels/now.svg").expect(422);
    assert!(server.get("/v1/dashboards/shop/panels/none").expect(404).text().contains("it has rate, now"));
    server.get("/v1/dashboards/shop/panels/rate.svg?theme=pink").expect(400);
}

#[test]
fn dashboards_make_themselves_where_their_data_is() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let names = || -> Vec<String> {
        let list = server.get("/v1/dashboards").expect(200).json();
        list["dashboards"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap().to_owned()).collect()
    };
    assert!(names().is_empty());
    server.get("/v1/dashboards/golden-signals").expect(404);
    let now = server.now();
    send(&server, "/v1/metrics", &counter("shop", "signups", "1", 5, now - 20_000_000_000)).expect(200);
    assert_eq!(names(), ["business"]);
    send(&server, "/v1/traces", &spans("shop", &[&[0xcd; 16]], now - 1_000_000_000)).expect(200);
    crate::process::eventually("the counters of spans", || names().contains(&"golden-signals".to_owned()).then_some(()));
    let event = json!({"kind": "flag", "service": "shop", "attributes": {"title": "new cart on"}});
    change(&server, "POST", "/v1/events", event.to_string().as_bytes()).expect(201);
    assert!(names().contains(&"release".to_owned()), "{:?}", names());
    let view = server.get("/v1/dashboards/release/view").expect(200).json();
    assert!(view["variables"][1]["options"][0]["label"].as_str().is_some_and(|l| l.starts_with("new cart on of shop")), "{view}");
    // Each panel of each of them answers.
    for name in names() {
        let detail = server.get(&format!("/v1/dashboards/{name}")).expect(200).json();
        for panel in detail["document"]["spec"]["panels"].as_object().unwrap().keys() {
            server.get(&format!("/v1/dashboards/{name}/panels/{panel}")).expect(200);
        }
    }
}

#[test]
fn grafanas_dashboards_are_taken_over() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let reported = change(&server, "POST", "/v1/dashboards/import", GRAFANA.as_bytes()).expect(200).json();
    assert_eq!((&reported["name"], &reported["version"]), (&json!("shop-all-of-it-v2"), &Value::Null));
    let count = |key: &str| reported["report"][key].as_u64().unwrap();
    assert_eq!(count("converted") + count("approximated") + count("unsupported"), 13);
    server.get("/v1/dashboards/shop-all-of-it-v2").expect(404);
    assert_eq!(change(&server, "POST", "/v1/dashboards/import?save=true&name=mine", GRAFANA.as_bytes()).expect(200).json()["version"], 1);
    let detail = server.get("/v1/dashboards/mine").expect(200).json();
    for panel in detail["document"]["spec"]["panels"].as_object().unwrap().keys() {
        server.get(&format!("/v1/dashboards/mine/panels/{panel}")).expect(200);
    }
    change(&server, "POST", "/v1/dashboards/import", b"{}").expect(400);
    let out = folder.path().join("out");
    let source = root().join("crates/server/src/dashboards/testdata/grafana.json");
    let output = skopos(&["dashboards", "import", source.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // Unsupported panels are findings.
    assert!(output.status.code() == Some(1) && said.contains("unsupported  panel \"Map\"") && said.contains("13 panels"), "{said}");
    let file = out.join("shop-all-of-it-v2.json");
    let output = skopos(&["check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}
