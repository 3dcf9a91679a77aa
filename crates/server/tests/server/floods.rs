//! A flood of series is limited, and what floods is named.

use serde_json::{Value, json};
use skopos_ingest::remote_write::encode;
use skopos_model::{Labels, TimeSeries};
use tempfile::TempDir;

use crate::process::{Server, eventually};
use crate::telemetry::PROTOBUF;
use crate::write_request::{SNAPPY, VERSION};

/// A server with these limits.
fn with_limits(folder: &TempDir, limits: &str) -> Server {
    let config = folder.path().join("skopos.yaml");
    std::fs::write(&config, format!("limits: {limits}\n")).unwrap();
    Server::start_with(&folder.path().join("data"), &["--config", config.to_str().unwrap()])
}

/// A remote-write body: `name` of a job, one series a number.
fn written(name: &str, job: &str, users: std::ops::Range<u32>, time: i64) -> Vec<u8> {
    let series = |user: u32| {
        let user = format!("u{user}");
        let labels = Labels::new([("__name__", name), ("job", job), ("user", user.as_str()), ("zone", "a")]);
        TimeSeries { labels, samples: vec![(time, 1.0)], ..TimeSeries::default() }
    };
    encode(&users.map(series).collect::<Vec<_>>(), &[])
}

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
    let server = with_limits(&folder, "{active_series_per_metric_max: 50}");
    let answer = gauges(&server, "carts", 0..80);
    assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], "30", "{answer}");
    assert_eq!(gauges(&server, "carts", 0..50)["partialSuccess"], Value::Null, "series that are known go on");
    assert_eq!(gauges(&server, "payments", 0..20)["partialSuccess"], Value::Null, "another metric has room");

    let found = server.get("/v1/cardinality?top=5").expect(200).json();
    let flood = &found["metrics"][0];
    assert_eq!(flood["metric"], "carts", "{found}");
    assert_eq!((&flood["series"], &flood["active_series"], &flood["active_series_max"]), (&json!(50), &json!(50), &json!(50)));
    assert_eq!(flood["refused"], 30, "{flood}");
    let since: u64 = flood["refused_since"].as_str().unwrap().parse().unwrap();
    assert!(since <= server.now(), "{flood}");
    assert_eq!((&flood["labels"][0]["label"], &flood["labels"][0]["values"]), (&json!("user"), &json!(50)));
    assert_eq!(flood["labels"][0]["examples"][0], "u49", "the newest value first");
    assert_eq!(flood["sources"], json!([{"name": "shop", "count": 50}]));
    let log = server.log();
    assert!(log.contains("new series are refused") && log.contains("carts"), "{log}");
    server.get("/v1/cardinality?top=0").expect(400);

    let found = server.get("/v1/floods").expect(200).json();
    let flood = &found["floods"][0];
    let part = |name: &str| flood[name].clone();
    assert_eq!([part("metric"), part("source"), part("service"), part("label")], ["carts", "shop", "shop", "user"].map(Value::from), "{found}");
    assert_eq!((part("limit"), part("limit_value"), part("ongoing")), (json!("active_series_per_metric_max"), json!(50), json!(true)));
    // Counted once, although a request that has refused series is read twice.
    assert_eq!((part("refused_series"), part("refused_samples")), (json!(30), json!(30)));
    let label = &flood["labels"][0];
    assert_eq!((&label["values"], &label["refused_values"], &label["examples"][0]), (&json!(50), &json!(30), &json!("u79")), "{flood}");
    assert_eq!(flood["since"], json!(since.to_string()));
    assert_eq!(found["rejected"][0]["reason"], "series_limit", "{found}");
    assert!(
        found["rejected"][0]["example"].as_str().unwrap().contains("active_series_per_metric_max of 50 is reached by the metric \"carts\""),
        "{found}"
    );
    let figures = server.get("/metrics").expect(200).text();
    for line in [
        "skopos_flood_refused_samples_total{metric=\"carts\",source=\"shop\",label=\"user\",limit=\"active_series_per_metric_max\"} 30",
        "skopos_series_refused_samples_total{limit=\"active_series_per_metric_max\"} 30",
        "skopos_series_active_max 3000000",
    ] {
        assert!(figures.contains(line), "{line} is not in\n{figures}");
    }
    server.get("/v1/floods?top=501").expect(400);
}

#[test]
fn one_source_cannot_take_the_room_of_others_even_after_a_crash() {
    let folder = TempDir::new().unwrap();
    let mut server = with_limits(&folder, "{active_series_per_source_max: 20}");
    let now = (server.now() / 1_000_000) as i64;
    let send = |server: &Server, job: &str, users: std::ops::Range<u32>, later: i64| {
        server.post("/api/v1/write", &[PROTOBUF, SNAPPY, VERSION], &written("m", job, users, now + later))
    };
    send(&server, "noisy", 0..20, 0).expect(204);
    let refused = send(&server, "noisy", 10..25, 0);
    assert_eq!((refused.status, refused.text().contains("5 not taken (series_limit)")), (400, true), "{}", refused.text());
    assert!(refused.text().contains("active_series_per_source_max of 20 is reached by the source \"noisy\""), "{}", refused.text());
    send(&server, "quiet", 0..5, 0).expect(204);
    server.kill();
    // What was acknowledged comes back whole under lower limits, on labels as on series.
    let mut server = with_limits(&folder, "{ingest: {labels_max: 3}}");
    assert_eq!(server.promql("count(m)")[0]["value"][1], "25");
    let more_labels = send(&server, "other", 0..1, 1);
    assert!(more_labels.text().contains("too_many_labels"), "{}", more_labels.text());
    server.kill();
    let server = with_limits(&folder, "{active_series_per_source_max: 3}");
    assert_eq!(server.promql("count(m)")[0]["value"][1], "25");
    send(&server, "noisy", 0..20, 2).expect(204);
    send(&server, "noisy", 20..21, 3).expect(400);
}

#[test]
fn a_source_over_its_rate_waits() {
    let folder = TempDir::new().unwrap();
    let limits =
        "{rates: {samples_per_second: 2, burst_seconds: 1}, sources: {'tenant:big': {samples_per_second: 1000000, label_value_bytes_max: 3}}}";
    let server = with_limits(&folder, limits);
    let now = (server.now() / 1_000_000) as i64;
    let body = written("m", "a", 0..40, now);
    let send = |headers: &[(&str, &str)], body: &[u8]| server.post("/api/v1/write", &[&[PROTOBUF, SNAPPY, VERSION][..], headers].concat(), body);
    send(&[("user-agent", "Prometheus/3.1.0")], &body).expect(204);
    let over = send(&[], &body).expect(429);
    let wait: u64 = over.header("retry-after").parse().unwrap();
    assert!((15..=20).contains(&wait), "{wait}");
    assert!(over.text().contains("client:127.0.0.1: over the limit samples_per_second of 2"), "{}", over.text());
    // OTLP says the same in its own words, and the tenant has a rate of its own.
    let otlp = server.post("/v1/metrics", &[("content-type", "application/json")], br#"{"resourceMetrics":[]}"#).expect(429);
    assert_eq!((otlp.json()["code"].clone(), otlp.header("retry-after").is_empty()), (json!(8), false), "{}", otlp.text());
    send(&[("x-scope-orgid", "big")], &written("m", "a", 0..9, now)).expect(204);
    send(&[("x-scope-orgid", "big")], &body).expect(204);
    let own = send(&[("x-scope-orgid", "big")], &written("m", "a", 100..101, now));
    assert!(own.text().contains("label_too_long"), "{}", own.text());
    // Logs have no such limit.
    server.post("/v1/logs/json?service=x", &[], b"hello\n").expect(200);

    let found = server.get("/v1/floods").expect(200).json();
    let source = &found["sources"][0];
    assert_eq!(
        (&source["source"], &source["limit"], &source["limit_value"]),
        (&json!("client:127.0.0.1"), &json!("samples_per_second"), &json!(2)),
        "{found}"
    );
    assert_eq!((&source["refused_requests"], &source["samples"], &source["ongoing"]), (&json!(2), &json!(40), &json!(true)));
    let figures = server.get("/metrics").expect(200).text();
    for line in [
        "skopos_source_refused_requests_total{source=\"client:127.0.0.1\",limit=\"samples_per_second\"} 2",
        "skopos_ingest_refused_requests_total{signal=\"metrics\",reason=\"over_rate\"} 2",
    ] {
        assert!(figures.contains(line), "{line} is not in\n{figures}");
    }
    // A reload puts other rates in force.
    std::fs::write(folder.path().join("skopos.yaml"), "limits: {rates: {}}\n").unwrap();
    server.change("/v1/admin/reload").expect(200);
    send(&[], &body).expect(204);
}

#[test]
fn a_scrape_over_its_jobs_rate_is_left_out() {
    let folder = TempDir::new().unwrap();
    let (config, data) = (folder.path().join("skopos.yaml"), folder.path().join("data"));
    let target = Server::start(&folder.path().join("target"));
    let text = format!(
        "scrape: [{{job: busy, targets: ['{}'], interval_seconds: 1}}]\nlimits: {{sources: {{'job:busy': {{samples_per_second: 1}}}}}}\n",
        target.http
    );
    std::fs::write(&config, text).unwrap();
    let server = Server::start_with(&data, &["--config", config.to_str().unwrap()]);
    eventually("a scrape that is left out", || {
        let targets = server.get("/api/v1/targets").expect(200).json();
        let error = targets["data"]["activeTargets"][0]["lastError"].as_str()?.to_owned();
        error.contains("job:busy: over the limit samples_per_second of 1").then_some(())
    });
    // The first one was taken, and that the target was left out is told.
    assert!(!server.promql("last_over_time(skopos_wal_writable{job=\"busy\"}[5m])").is_empty());
    eventually("up is 0", || (server.promql("up{job=\"busy\"}")[0]["value"][1] == "0").then_some(()));
}
