//! OTLP over HTTP in every form, found again by queries.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use serde_json::json;
use tempfile::TempDir;

use crate::http::request;
use crate::process::Server;
use crate::telemetry::{GZIP, JSON, PROTOBUF, counter, gzip, hex, logs, spans};

/// The three ways a body comes.
enum Form {
    Protobuf,
    Gzip,
    Json,
}

/// Sends to OTLP's own port and to the main port in turn.
fn export(server: &Server, form: &Form, path: &str, protobuf: &[u8], json: &serde_json::Value) {
    let (headers, body) = match form {
        Form::Protobuf => (vec![PROTOBUF], protobuf.to_vec()),
        Form::Gzip => (vec![PROTOBUF, GZIP], gzip(protobuf)),
        Form::Json => (vec![JSON], json.to_string().into_bytes()),
    };
    let address = if matches!(form, Form::Gzip) { &server.http } else { &server.otlp_http };
    let answer = request(address, "POST", path, &headers, &body).unwrap().expect(200);
    assert_eq!(answer.header("content-type"), headers[0].1, "the answer comes in the request's form");
    assert!(answer.body.is_empty() || answer.text().trim() == "{}" || answer.json()["partialSuccess"] == json!({}), "{path}: {}", answer.text());
}

#[test]
fn logs_in_every_form_are_found() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let now = server.now();
    for (index, form) in [Form::Protobuf, Form::Gzip, Form::Json].iter().enumerate() {
        let (body, trace) = (format!("payment refused {index}"), [index as u8 + 1; 16]);
        let json = json!({"resourceLogs": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "orders"}}]},
            "scopeLogs": [{"logRecords": [{
                "timeUnixNano": now.to_string(), "severityNumber": 17, "severityText": "ERROR", "body": {"stringValue": body},
                "attributes": [{"key": "order.id", "value": {"stringValue": body}}], "traceId": hex(&trace),
            }]}],
        }]});
        export(&server, form, "/v1/logs", &logs("orders", std::slice::from_ref(&body), now, &trace).encode_to_vec(), &json);
        for filter in [format!("{body:?}"), format!("trace_id:{}", hex(&trace)), format!("order.id:{body:?}")] {
            let rows = server.logs(&format!("service:orders level:error {filter}"));
            assert_eq!(rows.len(), 1, "{filter}: {rows:?}");
            assert_eq!(rows[0]["body"], body);
            assert_eq!(rows[0]["time"], now.to_string());
            assert_eq!(rows[0]["severity_text"], "ERROR");
            assert_eq!(rows[0]["attributes"]["order.id"], body);
        }
    }
    assert_eq!(server.logs("service:orders").len(), 3);
    assert_eq!(server.logs("level:info").len(), 0);
}

#[test]
fn traces_in_every_form_are_found() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let now = server.now();
    for (index, form) in [Form::Protobuf, Form::Gzip, Form::Json].iter().enumerate() {
        let trace = [index as u8 + 1; 16];
        let json = json!({"resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "orders"}}]},
            "scopeSpans": [{"spans": [{
                "traceId": hex(&trace), "spanId": hex(&[7; 8]), "name": "GET /orders", "kind": 2,
                "startTimeUnixNano": now.to_string(), "endTimeUnixNano": (now + 5_000_000).to_string(),
            }]}],
        }]});
        export(&server, form, "/v1/traces", &spans("orders", &[&trace], now).encode_to_vec(), &json);
        let found = server.get(&format!("/v1/traces/{}", hex(&trace))).expect(200).json();
        assert_eq!(found["trace_id"], hex(&trace));
        assert_eq!(found["state"], "complete");
        let list = found["spans"].as_array().unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!((&list[0]["name"], &list[0]["service_name"]), (&json!("GET /orders"), &json!("orders")));
        assert_eq!((&list[0]["start"], &list[0]["duration"]), (&json!(now.to_string()), &json!(5_000_000)));
    }
    let listed = server.get("/v1/traces?q=service:orders&from=now-1h&to=now%2B1m").expect(200).json();
    assert_eq!(listed["traces"].as_array().unwrap().len(), 3);
    server.get(&format!("/v1/traces/{}", "9".repeat(32))).expect(404);
}

#[test]
fn metrics_in_every_form_are_found_under_prometheus_names() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let now = server.now();
    for (index, form) in [Form::Protobuf, Form::Gzip, Form::Json].iter().enumerate() {
        let (service, value) = (format!("orders-{index}"), 40 + index as i64);
        let json = json!({"resourceMetrics": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
            "scopeMetrics": [{"metrics": [{"name": "http.server.duration", "unit": "s", "sum": {
                "aggregationTemporality": 2, "isMonotonic": true,
                "dataPoints": [{"timeUnixNano": now.to_string(), "asInt": value.to_string(), "attributes": [{"key": "http.route", "value": {"stringValue": "/orders"}}]}],
            }}]}],
        }]});
        let message = counter(&service, "http.server.duration", "s", value, now);
        export(&server, form, "/v1/metrics", &message.encode_to_vec(), &json);
        // The unit and `_total` are added, dots become underscores, service.name becomes `job`.
        let result = server.promql(&format!("http_server_duration_seconds_total{{job={service:?}}}"));
        assert_eq!(result.len(), 1, "{result:?}");
        assert_eq!(result[0]["metric"]["http_route"], "/orders");
        assert_eq!(result[0]["value"][1], value.to_string());
    }
    assert_eq!(server.promql("sum(http_server_duration_seconds_total)")[0]["value"][1], "123");
    assert_eq!(server.promql("http_server_duration").len(), 0);
}

#[test]
fn the_good_part_of_a_mixed_request_is_stored_and_the_rest_reported() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let (good, cut, zero): ([u8; 16], [u8; 3], [u8; 16]) = ([5; 16], [5; 3], [0; 16]);
    let message = spans("orders", &[&good, &cut, &zero], server.now());
    let answer = server.post("/v1/traces", &[PROTOBUF], &message.encode_to_vec()).expect(200);
    let partial = ExportTraceServiceResponse::decode(&answer.body[..]).unwrap().partial_success.expect("a partial success");
    assert_eq!(partial.rejected_spans, 2);
    assert!(partial.error_message.contains("trace"), "{}", partial.error_message);
    assert_eq!(server.get(&format!("/v1/traces/{}", hex(&good))).expect(200).json()["spans"].as_array().unwrap().len(), 1);
    assert_eq!(server.sql("select count(*) from spans").expect(200).json()["rows"][0][0], 1);
}

#[test]
fn delta_points_add_up_over_a_crash_of_the_log() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(&folder.path().join("data"));
    let now = server.now();
    let send = |server: &Server, seconds_ago: u64, value: u64| {
        let time = now - seconds_ago * 1_000_000_000;
        let body = json!({"resourceMetrics": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "orders"}}]},
            "scopeMetrics": [{"metrics": [{"name": "jobs", "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [
                {"startTimeUnixNano": (time - 1_000_000_000).to_string(), "timeUnixNano": time.to_string(), "asInt": value.to_string()}]}}]}]}]});
        server.post("/v1/metrics", &[JSON], body.to_string().as_bytes()).expect(200)
    };
    for (seconds_ago, value) in [(30, 2), (20, 3), (10, 4)] {
        assert_eq!(send(&server, seconds_ago, value).text().trim(), "{}");
    }
    let late = send(&server, 20, 3).json();
    assert_eq!(late["partialSuccess"]["rejectedDataPoints"], "1", "sent again, it is not counted again: {late}");
    assert!(server.get("/metrics").expect(200).text().contains("skopos_delta_streams 1"));
    let sum = |server: &Server| server.promql("jobs_total{job=\"orders\"}")[0]["value"][1].clone();
    assert_eq!(sum(&server), "9");
    // What was computed is in the log, not the deltas: reading it again does not need the memory.
    server.kill();
    let server = Server::start(&folder.path().join("data"));
    assert_eq!(sum(&server), "9");
    // The memory is gone, though: the counter starts anew, as after a restart of its sender.
    assert_eq!(send(&server, 0, 1).text().trim(), "{}");
    assert_eq!(sum(&server), "1");
}

#[test]
fn names_and_promoted_attributes_are_configured() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("skopos.yaml");
    std::fs::write(
        &config,
        "otlp: {translation_strategy: NoTranslation, promote_resource_attributes: [host.name], convert_histograms_to_nhcb: true}",
    )
    .unwrap();
    let args = ["--config", config.to_str().unwrap()];
    let mut server = Server::start_with(&folder.path().join("data"), &args);
    let now = server.now();
    let body = json!({"resourceMetrics": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "orders"}}, {"key": "host.name", "value": {"stringValue": "a1"}}]},
        "scopeMetrics": [{"metrics": [{"name": "jobs.done", "unit": "s", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
            {"timeUnixNano": now.to_string(), "asInt": "7"}]}}]}]}]});
    server.post("/v1/metrics", &[JSON], body.to_string().as_bytes()).expect(200);
    let check = |server: &Server| {
        let found = server.promql("{\"jobs.done\"}");
        assert_eq!(found[0]["metric"]["host.name"], "a1", "{found:?}");
    };
    check(&server);
    // The log remembers what the body was read with.
    server.kill();
    std::fs::write(&config, "").unwrap();
    check(&Server::start_with(&folder.path().join("data"), &args));
}
