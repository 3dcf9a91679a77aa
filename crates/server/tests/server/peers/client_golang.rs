//! Prometheus' Go client, scraped over protobuf, where native histograms are, and over text, where they are not.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::{beside, data, listening, one};
use crate::http::{encode, request};
use crate::mission::go_program;
use crate::process::{Server, eventually};
use crate::programs::Program;

#[test]
fn native_histograms_of_the_go_client() {
    let folder = TempDir::new().unwrap();
    let Some(program) = go_program(&beside("native_histograms.go"), folder.path()) else { return };
    let mut program = Program::start(&mut Command::new(program), folder.path().join("go.log"));
    let id = program.id();
    let address = program.wait_for("the Go service", |_| listening(id));
    let target = format!("static_configs: [{{targets: ['{address}']}}]");
    let configuration = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n\
         - {{job_name: native, metrics_path: /metrics, scrape_native_histograms: true, {target}}}\n\
         - {{job_name: all, metrics_path: /metrics, scrape_native_histograms: true, always_scrape_classic_histograms: true, {target}}}\n\
         - {{job_name: text, metrics_path: /metrics, scrape_protocols: [OpenMetricsText1.0.0, OpenMetricsText0.0.1], {target}}}\n\
         - {{job_name: old, metrics_path: /metrics, scrape_protocols: [PrometheusText0.0.4], {target}}}\n"
    );
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, configuration).unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--prometheus-config", file.to_str().unwrap()]);
    for job in ["native", "all", "text", "old"] {
        eventually(job, || one(&server, &format!("up{{job={job:?}}}")).filter(|up| *up == 1.0));
    }
    for (query, value) in [
        // 0, 0.5, 1, 1, 2, 4, −3: seven observations in buckets of 2^(1/8).
        ("histogram_count(native_seconds{job=\"native\",route=\"/orders\"})", 7.0),
        ("histogram_sum(native_seconds{job=\"native\"})", 5.5),
        ("histogram_avg(native_seconds{job=\"native\"})", 5.5 / 7.0),
        ("histogram_fraction(-Inf, 0, native_seconds{job=\"native\"})", 1.5 / 7.0),
        ("histogram_count(both_seconds{job=\"native\"})", 3.0),
        ("histogram_count(both_seconds{job=\"all\"})", 3.0),
        // Classic buckets of a histogram that has both are taken where the job says so.
        ("both_seconds_bucket{job=\"all\",le=\"10.0\"}", 2.0),
        ("both_seconds_bucket{job=\"text\",le=\"10.0\"}", 2.0),
        ("both_seconds_bucket{job=\"old\",le=\"10.0\"}", 2.0),
        ("count(both_seconds_bucket{job=\"native\"}) or vector(0)", 0.0),
        ("count(native_seconds_bucket{job=\"text\"})", 1.0),
        ("classic_seconds_sum{job=\"native\"}", 55.5),
        ("classic_seconds_bucket{job=\"native\",le=\"1.0\"}", 1.0),
        ("orders_placed_total{job=\"native\"}", 7.0),
        ("orders_placed_total{job=\"old\"}", 7.0),
        ("orders_waiting{job=\"native\"}", -2.5),
        ("sizes_bytes{job=\"native\",quantile=\"0.5\"}", 5.0),
        ("sizes_bytes_count{job=\"text\"}", 3.0),
    ] {
        assert_eq!(one(&server, query), Some(value), "{query}");
    }
    let median = one(&server, "histogram_quantile(0.5, native_seconds{job=\"native\"})").expect("a median");
    assert!((0.9..=1.0).contains(&median), "{median}");
    // Schema 3 and its buckets, as the client made them.
    let found = data(&server.http, &format!("/api/v1/query?query={}", encode("native_seconds{job=\"native\"}")));
    let buckets = found["result"][0]["histogram"][1]["buckets"].as_array().unwrap().clone();
    let counts: Vec<(f64, &str)> = buckets.iter().map(|b| (b[2].as_str().unwrap().parse::<f64>().unwrap(), b[3].as_str().unwrap())).collect();
    let near = |a: f64, b: f64| (a - b).abs() < 1e-12 * b.abs().max(1.0);
    let uppers: Vec<f64> = counts.iter().map(|(upper, _)| *upper).filter(|upper| *upper > 0.1).collect();
    assert!(uppers.iter().zip([0.5, 1.0, 2.0, 4.0]).all(|(a, b)| near(*a, b)) && uppers.len() == 4, "{buckets:?}");
    assert_eq!(counts.iter().map(|(_, count)| *count).collect::<Vec<_>>(), ["1", "1", "1", "2", "1", "1"], "{buckets:?}");
    // Exemplars come over protobuf and OpenMetrics, and not over the old text.
    let now = server.now() / 1_000_000_000;
    for (job, metric, expected) in [
        ("native", "orders_placed_total", 1),
        ("native", "classic_seconds_bucket", 3),
        ("text", "orders_placed_total", 1),
        ("text", "classic_seconds_bucket", 3),
        ("old", "orders_placed_total", 0),
    ] {
        let query = encode(&format!("{metric}{{job={job:?}}}"));
        let found = data(&server.http, &format!("/api/v1/query_exemplars?query={query}&start={}&end={}", now - 300, now + 60));
        let all: Vec<&str> = found
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|s| s["exemplars"].as_array().unwrap())
            .map(|e| e["labels"]["trace_id"].as_str().unwrap_or(""))
            .collect();
        assert_eq!(all, vec!["4bf92f3577b34da6a3ce929d0e0e4736"; expected], "{job} {metric}");
    }
    // It goes on: what is done is counted.
    for _ in 0..3 {
        request(&address, "GET", "/order", &[], b"").unwrap().expect(200);
    }
    eventually("the orders", || one(&server, "orders_placed_total{job=\"native\"}").filter(|n| *n == 10.0));
    eventually("their latency", || one(&server, "histogram_count(native_seconds{job=\"native\"})").filter(|n| *n == 10.0));
    assert_eq!(one(&server, "histogram_count(increase(native_seconds{job=\"native\"}[5m])) > bool 0"), Some(1.0));
    let known = data(&server.http, "/api/v1/targets/metadata?metric=native_seconds");
    assert!(known.as_array().unwrap().iter().all(|m| m["type"] == "histogram" && m["help"] == "Native buckets alone."), "{known}");
}
