//! The worked examples of services as users write them, each as it stands, with its real libraries.
//!
//! `structured_logging.py` is tested beside the JSON lines it writes, `slo.rules.yml` beside the configuration.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use skopos_testkit::{Need, python, shared, skipped};
use tempfile::TempDir;

use crate::http::{encode, request};
use crate::process::{Server, eventually};
use crate::programs::{Network, Program};

/// A Python that leaves nothing beside the examples.
fn quiet(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
    command
}

#[test]
fn tracing_fastapi_is_one_trace_with_server_and_client_span() {
    let Some(example) = shared("mission-examples/run_tracing.py") else { return };
    let Some(python) = python() else { return };
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let run = quiet(&python)
        .arg(&example)
        .arg("5")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", server.otlp_http))
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    let traces: Vec<&str> = said.lines().filter_map(|l| l.strip_prefix("trace_id ")).collect();
    assert_eq!(traces.len(), 5, "{said}");
    for trace in &traces {
        let found = server.get(&format!("/v1/traces/{trace}")).expect(200).json();
        let spans = found["spans"].as_array().unwrap();
        let of_kind = |kind: &str| spans.iter().filter(|s| s["kind"] == kind).collect::<Vec<_>>();
        let (served, called) = (of_kind("server"), of_kind("client"));
        assert_eq!(served.len(), 1, "{found}");
        assert_eq!(served[0]["name"], "GET /orders");
        assert!(spans.iter().all(|s| s["trace_id"] == **trace && s["service_name"] == "orders-api"), "{found}");
        // The outbound call hangs below the request it was made for.
        let outbound: Vec<_> = called.iter().filter(|s| s["parent_span_id"] == served[0]["span_id"]).collect();
        assert_eq!(outbound.len(), 1, "{found}");
        assert!(outbound[0].to_string().contains("http://inventory:8080/stock"), "{found}");
    }
    let searched = server.get(&format!("/v1/traces?q={}", encode("service:orders-api name:\"GET /orders\" kind:server"))).expect(200).json();
    let ids: BTreeSet<&str> = searched["traces"].as_array().unwrap().iter().map(|t| t["trace_id"].as_str().unwrap()).collect();
    assert_eq!(ids, traces.iter().copied().collect(), "{searched}");

    let services = server.get("/v1/services").expect(200).json();
    let names: Vec<&str> = services["services"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["orders-api"]);
    let service = server.get("/v1/services/orders-api").expect(200).json();
    assert!(service["routes"].as_array().unwrap().iter().any(|r| r["name"] == "GET /orders" && r["kind"] == "server"), "{service}");
    let edges: Vec<&Value> = service["dependencies"].as_array().unwrap().iter().filter(|d| d["direction"] == "downstream").collect();
    assert!(edges.iter().any(|d| d["name"] == "inventory:8080" && d["kind"] == "external"), "{service}");
}

/// Starts `health_fastapi.py` on a free port; its address and the running program.
fn health_fastapi(python: &Path, example: &Path, folder: &Path) -> (String, Program) {
    let mut command = quiet(python);
    command.args(["-m", "uvicorn", "health_fastapi:app", "--host", "127.0.0.1", "--port", "0", "--app-dir"]).arg(example.parent().unwrap());
    let mut program = Program::start(&mut command, folder.join("uvicorn.log"));
    let address = program.wait_for("uvicorn's address", |said| {
        let rest = said.split_once("Uvicorn running on http://")?.1;
        Some(rest.split_once(' ')?.0.to_owned())
    });
    (address, program)
}

#[test]
fn health_fastapi_is_probed_as_its_manifest_says() {
    let (Some(example), Some(manifest)) = (shared("mission-examples/health_fastapi.py"), shared("mission-examples/probes.yaml")) else { return };
    let Some(python) = python() else { return };
    let folder = TempDir::new().unwrap();
    let (address, program) = health_fastapi(&python, &example, folder.path());
    let config = folder.path().join("skopos.yaml");
    let manifest = manifest.canonicalize().unwrap().display().to_string();
    fs::write(&config, format!("probes:\n- {{service: orders-api, kubernetes: {manifest:?}, targets: [{address:?}]}}\n")).unwrap();
    let started = Instant::now();
    let server = Server::start_with(&folder.path().join("data"), &["--config", config.to_str().unwrap()]);
    // It sends no telemetry: that it is there is known from its probes alone.
    let shown = || server.get("/v1/services/orders-api").expect(200).json()["probes"].clone();
    let before = shown();
    let kinds: Vec<&str> = before.as_array().unwrap().iter().map(|p| p["probe"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["liveness", "readiness"]);
    assert_eq!(before[0]["target"], format!("http://{address}/healthz"));
    assert_eq!(before[1]["target"], format!("http://{address}/readyz"));
    assert_eq!((&before[0]["interval_seconds"], &before[1]["interval_seconds"]), (&10.into(), &5.into()));
    // The manifest's delays are 10 and 5 s.
    let after = eventually("both probes pass", || Some(shown()).filter(|p| p[0]["state"] == "up" && p[1]["state"] == "up"));
    for probe in [&after[0], &after[1]] {
        assert_eq!((&probe["last"]["success"], &probe["last"]["status_code"]), (&true.into(), &200.into()), "{probe}");
    }
    let service = server.get("/v1/services/orders-api").expect(200).json();
    assert_eq!(service["health"], "ok", "{service}");
    for probe in ["liveness", "readiness"] {
        // Samples are stored a moment after the state is shown.
        let query = format!("skopos_probe_up{{service=\"orders-api\",probe={probe:?}}}");
        let found = eventually("its samples", || Some(server.promql(&query)).filter(|found| !found.is_empty()));
        assert_eq!((found.len(), &found[0]["value"][1], &found[0]["metric"]["instance"]), (1, &"1".into(), &address.clone().into()), "{found:?}");
        let query = format!("probe_success{{probe={probe:?}}} == 1 and probe_http_status_code == 200");
        eventually("its status", || (server.promql(&query).len() == 1).then_some(()));
    }
    // Asked as often as the manifest says, and not more: /readyz every 5 s, /healthz every 10 s.
    let asked = |path: &str| program.said().matches(&format!("GET {path} HTTP/1.1\" 200")).count();
    let most = usize::try_from(started.elapsed().as_secs()).unwrap() / 10 + 1;
    assert!((1..=most).contains(&asked("/healthz")) && asked("/readyz") >= asked("/healthz"), "{}", program.said());
}

/// The Go program, built with the packages of the distribution; `None` (and said) when there is no Go.
pub(crate) fn go_program(source: &Path, folder: &Path) -> Option<PathBuf> {
    let program = folder.join("latency_histogram");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(source);
    build.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOFLAGS", "");
    // Kept between runs: the standard library is compiled once.
    build.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-build"));
    let output = match build.output() {
        Ok(output) => output,
        Err(error) => {
            skipped(Need::Tools, &format!("no go ({error}); cargo xtask test installs golang-go and golang-github-prometheus-client-golang-dev"));
            return None;
        }
    };
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said.contains("cannot find package") {
        skipped(Need::Tools, "no client_golang for Go; cargo xtask test installs golang-github-prometheus-client-golang-dev");
        return None;
    }
    assert!(output.status.success(), "{said}");
    Some(program)
}

#[test]
fn latency_histogram_is_scraped_and_charted() {
    let Some(source) = shared("mission-examples/latency_histogram/main.go") else { return };
    let folder = TempDir::new().unwrap();
    let Some(program) = go_program(&source, folder.path()) else { return };
    // Its port is in its source: it gets a network where that one is free.
    let Some(network) = Network::make() else { return };
    let mut program = Program::start(&mut network.command(&program), folder.path().join("go.log"));
    let address = format!("{}:8080", network.address);
    program.wait_for("the Go service", |_| request(&address, "GET", "/metrics", &[], b"").ok());
    let config = folder.path().join("skopos.yaml");
    fs::write(&config, format!("scrape:\n- {{job: orders, targets: [{address:?}], interval_seconds: 1}}\n")).unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--config", config.to_str().unwrap()]);
    let name = "orders_api_http_request_duration_seconds";
    let count = || server.promql(&format!("sum({name}_count{{route=\"/orders\",job=\"orders\"}})")).first().map(|s| number(&s["value"][1]));
    let orders = |count: usize| (0..count).for_each(|_| drop(request(&address, "GET", "/orders", &[], b"").unwrap().expect(200)));
    orders(20);
    eventually("the first scrape", || count().filter(|n| *n == 20.0));
    orders(180);
    eventually("the second scrape", || count().filter(|n| *n == 200.0));

    let quantile = |q: f64| format!("histogram_quantile({q}, sum by (le, route) (rate({name}_bucket[1m])))");
    let values: Vec<f64> = [0.5, 0.95, 0.99]
        .into_iter()
        .map(|q| {
            let found = server.promql(&quantile(q));
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0]["metric"], serde_json::json!({"route": "/orders"}));
            number(&found[0]["value"][1])
        })
        .collect();
    // Its handler does nothing: nearly all requests are in the first bucket, up to 5 ms.
    assert!(0.0 < values[0] && values[0] <= 0.005 && values[0] < values[1] && values[1] < values[2] && values[2] < 10.0, "{values:?}");
    // What the metrics page asks for: names, types, labels, a chart.
    let names = server.get("/api/v1/label/__name__/values").expect(200).json();
    let names: Vec<&str> = names["data"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    for suffix in ["_bucket", "_sum", "_count"] {
        assert!(names.contains(&&*format!("{name}{suffix}")), "{names:?}");
    }
    let metadata = server.get("/api/v1/metadata").expect(200).json();
    assert_eq!((&metadata["data"][name][0]["type"], &metadata["data"][name][0]["help"]), (&"histogram".into(), &"Request latency".into()));
    let labels = server.get(&format!("/api/v1/labels?{}={}", encode("match[]"), encode(&format!("{name}_bucket")))).expect(200).json();
    assert_eq!(labels["data"], serde_json::json!(["__name__", "instance", "job", "le", "method", "route", "status"]));
    let now = server.now() / 1_000_000_000 + 1;
    let chart = server.get(&format!("/api/v1/query_range?query={}&start={}&end={now}&step=1", encode(&quantile(0.99)), now - 30)).expect(200).json();
    assert_eq!(chart["data"]["result"][0]["metric"]["route"], "/orders", "{chart}");
    let targets = server.get("/api/v1/targets").expect(200).json();
    assert_eq!((&targets["data"]["activeTargets"][0]["health"], &targets["data"]["activeTargets"][0]["lastError"]), (&"up".into(), &"".into()));
}

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}
