//! A flood of series is limited, and what floods is named.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Server;

/// Gauges `name`, one a user.
fn gauges(server: &Server, name: &str, users: std::ops::Range<u32>) -> Value {
    let point = |user: u32| json!({"asInt": "1", "timeUnixNano": server.now().to_string(), "attributes": [{"key": "user", "value": {"stringValue": format!("u{user}")}}]});
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]});
    let metric = json!({"name": name, "gauge": {"dataPoints": users.map(point).collect::<Vec<_>>()}});
    let body = json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}]});
    server.post("/v1/metrics", &[("content-type", "application/json")], body.to_string().as_bytes()).expect(200).json()
}

#[test]
fn one_metric_cannot_take_all_the_room() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("skopos.yaml");
    std::fs::write(&config, "limits: {active_series_per_metric_max: 50}\n").unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--config", config.to_str().unwrap()]);
    let answer = gauges(&server, "carts", 0..80);
    assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], "30", "{answer}");
    assert_eq!(gauges(&server, "carts", 0..50)["partialSuccess"], Value::Null, "series that are known go on");
    assert_eq!(gauges(&server, "payments", 0..20)["partialSuccess"], Value::Null, "another metric has room");

    let found = server.get("/v1/cardinality?top=5").expect(200).json();
    let flood = &found["metrics"][0];
    assert_eq!(flood["metric"], "carts", "{found}");
    assert_eq!((&flood["series"], &flood["active_series"], &flood["active_series_max"]), (&json!(50), &json!(50), &json!(50)));
    // Attempts, not samples: a request is looked at again where part of it is refused.
    assert!(flood["refused"].as_u64().unwrap() >= 30, "{flood}");
    let since: u64 = flood["refused_since"].as_str().unwrap().parse().unwrap();
    assert!(since <= server.now(), "{flood}");
    assert_eq!((&flood["labels"][0]["label"], &flood["labels"][0]["values"]), (&json!("user"), &json!(50)));
    assert_eq!(flood["labels"][0]["examples"][0], "u49", "the newest value first");
    assert_eq!(flood["sources"], json!([{"name": "shop", "count": 50}]));
    let log = server.log();
    assert!(log.contains("new series are refused") && log.contains("carts"), "{log}");
    server.get("/v1/cardinality?top=0").expect(400);
}
