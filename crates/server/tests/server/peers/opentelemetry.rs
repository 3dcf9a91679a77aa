//! Metrics of OpenTelemetry's Python SDK, as it sends them: both temporalities, over HTTP and gRPC.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use skopos_testkit::{python, shared};
use tempfile::TempDir;

use super::{beside, data, one};
use crate::http::encode;
use crate::process::Server;

#[test]
fn metrics_of_the_python_sdk() {
    let Some(python) = python() else { return };
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let runs = [("cumulative", "http", &server.otlp_http), ("delta", "http", &server.otlp_http), ("delta", "grpc", &server.otlp_grpc)];
    for (temporality, protocol, address) in runs {
        let mut command = Command::new(&python);
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(beside("otel_metrics.py"));
        let run = command.args([&format!("http://{address}"), temporality, protocol]).output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success() && !said.contains("Failed to export"), "{temporality} {protocol}: {said}");
        let out = String::from_utf8_lossy(&run.stdout).into_owned();
        let traces: Vec<&str> = out.lines().filter_map(|l| l.strip_prefix("trace_id ")).collect();
        assert_eq!(traces.len(), 3, "{out}");
        check(&server, &format!("otel-{temporality}-{protocol}"), &traces);
    }
    // Types, help and units, once for all senders.
    let known = data(&server.http, "/api/v1/metadata");
    for (family, kind, help, unit) in [
        ("orders_placed_total", "counter", "Orders placed.", ""),
        ("queue_length", "gauge", "Messages that wait.", ""),
        ("request_duration_seconds", "histogram", "Latency.", "seconds"),
        ("payload_bytes", "histogram", "Sizes.", "bytes"),
        ("rounds_done_total", "counter", "", ""),
        ("temperature_celsius", "gauge", "", "celsius"),
    ] {
        assert_eq!(known[family], serde_json::json!([{"type": kind, "help": help, "unit": unit}]), "{family}");
    }
}

/// What the program has recorded in three rounds, whichever way it came.
#[track_caller]
fn check(server: &Server, job: &str, traces: &[&str]) {
    let of = |query: &str| {
        one(server, &query.replace("JOB", &format!("job={job:?},instance=\"one\""))).unwrap_or_else(|| panic!("{job}: {query} has no single value"))
    };
    for (query, value) in [
        ("orders_placed_total{JOB,route=\"/orders\"}", 15.0),
        ("queue_length{JOB}", -3.0),
        ("rounds_done_total{JOB,k=\"v\"}", 30.0),
        ("temperature_celsius{JOB}", -3.5),
        ("request_duration_seconds_bucket{JOB,le=\"0.1\"}", 3.0),
        ("request_duration_seconds_bucket{JOB,le=\"1\"}", 6.0),
        ("request_duration_seconds_bucket{JOB,le=\"+Inf\"}", 9.0),
        ("request_duration_seconds_count{JOB}", 9.0),
        ("histogram_count(payload_bytes{JOB})", 12.0),
        ("histogram_sum(payload_bytes{JOB})", 45.0),
        // One, two, four and eight bytes, three times each: half of them are up to two.
        ("histogram_fraction(0, 2, payload_bytes{JOB})", 0.5),
        ("target_info{JOB,region=\"eu\"}", 1.0),
        // Three exports: three samples, each more than the one before.
        ("count_over_time(orders_placed_total{JOB}[5m])", 3.0),
        ("max_over_time(orders_placed_total{JOB}[5m]) - min_over_time(orders_placed_total{JOB}[5m])", 10.0),
    ] {
        assert_eq!(of(query), value, "{job}: {query}");
    }
    assert!((of("request_duration_seconds_sum{JOB}") - 16.65).abs() < 1e-9);
    // Every order, every latency and every size was recorded in a span: the last of each bucket is kept by the SDK.
    let now = server.now() / 1_000_000_000;
    for (metric, most) in [("orders_placed_total", 3), ("request_duration_seconds_bucket", 9), ("payload_bytes", 12)] {
        let query = encode(&format!("{metric}{{job={job:?}}}"));
        let found = data(&server.http, &format!("/api/v1/query_exemplars?query={query}&start={}&end={}", now - 300, now + 60));
        let all: Vec<&Value> = found.as_array().unwrap().iter().flat_map(|s| s["exemplars"].as_array().unwrap()).collect();
        assert!((1..=most).contains(&all.len()), "{job} {metric}: {} exemplars", all.len());
        for exemplar in all {
            let trace = exemplar["labels"]["trace_id"].as_str().unwrap_or("");
            assert!(traces.contains(&trace) && exemplar["labels"]["span_id"].as_str().is_some_and(|s| s.len() == 16), "{job} {metric}: {exemplar}");
        }
    }
}

/// The collector's own cases of its `deltatocumulative` processor: what it makes of deltas is what is stored of them
/// here. The deltas and the collector's sums are sent under two names, and read alike.
#[test]
fn deltas_become_the_sums_the_collector_makes() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let now = server.now() / 1_000_000_000 * 1_000_000_000;
    for set in ["histograms", "exponential"] {
        let Some(file) = shared(&format!("conformance/otelcol-delta-to-cumulative/{set}/1.test")) else { return };
        let text = std::fs::read_to_string(file).unwrap();
        let part = |from: &str, to: &str| text.split_once(from).and_then(|(_, rest)| rest.split_once(to)).expect("a part").0.to_owned();
        let mut times = BTreeSet::new();
        for (job, yaml) in [("deltas", part("-- in --", "-- out --")), ("sums", part("-- out --", "-- telemetry --"))] {
            let mut body: Value = serde_saphyr::from_str(&yaml).expect("metrics as YAML");
            body["resourceMetrics"][0]["resource"] = serde_json::json!({"attributes": [{"key": "service.name", "value": {"stringValue": job}}]});
            for metric in body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array_mut().unwrap() {
                if let Some(snake) = metric.as_object_mut().unwrap().remove("exponential_histogram") {
                    metric["exponentialHistogram"] = snake;
                }
                let kind = if metric["histogram"].is_null() { "exponentialHistogram" } else { "histogram" };
                for point in metric[kind]["dataPoints"].as_array_mut().unwrap() {
                    times.insert(complete(point, now));
                }
            }
            let answer = server.post("/v1/metrics", &[("content-type", "application/json")], body.to_string().as_bytes()).expect(200);
            assert!(answer.json()["partialSuccess"]["rejectedDataPoints"].is_null(), "{set} {job}: {}", answer.text());
        }
        assert!(times.len() >= 2, "{times:?}");
        for time in times {
            let of = |job: &str| {
                let query = encode(&format!("sum without (job) ({{job={job:?},__name__!=\"target_info\"}})"));
                let mut found = data(&server.http, &format!("/api/v1/query?query={query}&time={time}"))["result"].take();
                found.as_array_mut().unwrap().sort_by_key(Value::to_string);
                found
            };
            let (deltas, sums) = (of("deltas"), of("sums"));
            assert!(deltas == sums && deltas.as_array().is_some_and(|a| !a.is_empty()), "{set} at {time}:\n{deltas}\n{sums}");
        }
    }
}

/// Adds what the cases leave out of a point, its count, and moves its time to the minutes before now; that time, Unix
/// seconds.
fn complete(point: &mut Value, now: u64) -> u64 {
    let listed = |list: &Value| list.as_array().into_iter().flatten().map(|n| n.as_u64().expect("a count")).sum::<u64>();
    let count = listed(&point["bucketCounts"])
        + listed(&point["positive"]["bucketCounts"])
        + listed(&point["negative"]["bucketCounts"])
        + point["zeroCount"].as_u64().unwrap_or(0);
    point["count"] = count.into();
    // 10, 20, 30 nanoseconds of the case are so many seconds here.
    let time = now / 1_000_000_000 - 100 + point["timeUnixNano"].as_u64().expect("a time");
    point["timeUnixNano"] = (time * 1_000_000_000).to_string().into();
    time
}
