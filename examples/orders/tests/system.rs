//! The system as real processes: what one order leaves behind, and what a locked database does.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use parking_lot::Mutex;
use prost::Message as _;
use serde_json::json;
use sqlx::Connection as _;

/// Longest wait for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct Received {
    /// Service and span.
    spans: Vec<(String, opentelemetry_proto::tonic::trace::v1::Span)>,
    logs: Vec<opentelemetry_proto::tonic::logs::v1::LogRecord>,
}

type Shared = Arc<Mutex<Received>>;

fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone()?.value);
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        _ => String::new(),
    }
}

/// A receiver that keeps spans and logs.
async fn sink() -> (String, Shared) {
    let received = Shared::default();
    let traces = async |State(received): State<Shared>, body: Bytes| {
        for resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
            let service = attribute(&resource.resource.unwrap().attributes, "service.name");
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            received.lock().spans.extend(spans.map(|span| (service.clone(), span)));
        }
    };
    let logs = async |State(received): State<Shared>, body: Bytes| {
        for resource in ExportLogsServiceRequest::decode(body).unwrap().resource_logs {
            received.lock().logs.extend(resource.scope_logs.into_iter().flat_map(|scope| scope.log_records));
        }
    };
    let app = Router::new().route("/v1/traces", post(traces)).route("/v1/logs", post(logs)).with_state(Arc::clone(&received));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (endpoint, received)
}

/// `orders system`, told to stop when dropped.
struct System(Child);

impl Drop for System {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn start(folder: &Path, endpoint: &str) -> (System, BTreeMap<String, String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
    command.args(["system", "--listen", "127.0.0.1:0", "--data"]).arg(folder).stdout(Stdio::null());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_METRICS_EXPORTER", "none").env("ORDERS_ADMIN_KEY", "secret");
    let system = System(command.spawn().unwrap());
    let file = folder.join("addresses.json");
    let addresses = until("the addresses", async || serde_json::from_str(&std::fs::read_to_string(&file).ok()?).ok()).await;
    (system, addresses)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_one_trace_and_a_locked_database_ends_readiness() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let (endpoint, received) = sink().await;
    let (system, addresses) = start(folder.path(), &endpoint).await;
    let api = &addresses["api"];
    let client = reqwest::Client::new();

    // One order, from the request to its shipment by another process.
    let request = client
        .post(format!("{api}/orders"))
        .header("x-user-id", "ada")
        .header("x-request-id", "req-42")
        .json(&json!({"sku": "tea-green", "quantity": 2}));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["x-request-id"], "req-42");
    let shipped = until("the shipment", async || {
        let received = received.lock();
        received.spans.iter().find(|(_, span)| span.name == "process shipments").map(|(_, span)| span.clone())
    })
    .await;
    let root = until("the root span", async || {
        let received = received.lock();
        received.spans.iter().find(|(_, span)| span.name == "POST /orders").map(|(_, span)| span.clone())
    })
    .await;
    assert_eq!(shipped.trace_id, root.trace_id, "one trace crosses the queue");
    assert_eq!(attribute(&shipped.attributes, "request_id"), "req-42");
    for (service, name) in [
        ("orders-api", "GET"),
        ("inventory", "GET /stock/{sku}"),
        ("payments", "POST /charges"),
        ("orders-api", "INSERT orders"),
        ("orders-api", "send shipments"),
        ("orders-api", "cache.delete orders"),
    ] {
        // Each process exports when it likes.
        until(&format!("{service} {name}"), async || {
            let received = received.lock();
            received.spans.iter().find(|(s, span)| s == service && span.name == name && span.trace_id == root.trace_id).map(|_| ())
        })
        .await;
    }
    // The user stays within the API and its queue; the request id goes everywhere.
    for user in ["ada", ""] {
        until(&format!("a log record of the trace with user {user:?}"), async || {
            let received = received.lock();
            let mut logs = received.logs.iter().filter(|log| log.trace_id == root.trace_id && attribute(&log.attributes, "request_id") == "req-42");
            logs.any(|log| attribute(&log.attributes, "user_id") == user).then_some(())
        })
        .await;
    }

    // A slow database is the widest span of its trace.
    let key = |request: reqwest::RequestBuilder| request.header("authorization", "Bearer secret");
    let fault = json!({"route": "GET /orders", "kind": "slow_db", "percent": 100, "latency_ms": 120});
    assert_eq!(key(client.put(format!("{api}/admin/faults/drill"))).json(&fault).send().await.unwrap().status(), 201);
    client.get(format!("{api}/orders")).header("x-user-id", "slow").send().await.unwrap();
    let select = until("the slow statement", async || {
        let received = received.lock();
        received.spans.iter().find(|(_, span)| span.name == "SELECT orders").map(|(_, span)| span.clone())
    })
    .await;
    assert!(select.end_time_unix_nano - select.start_time_unix_nano >= 120_000_000);

    // An exclusive lock makes the API not ready, but not dead.
    let status = async |path: &str| client.get(format!("{api}{path}")).send().await.unwrap().status().as_u16();
    until("readiness", async || (status("/readyz").await == 200).then_some(())).await;
    let mut lock = sqlx::SqliteConnection::connect(&format!("sqlite://{}", folder.path().join("orders.db").display())).await.unwrap();
    until("the lock", async || sqlx::query("BEGIN EXCLUSIVE").execute(&mut lock).await.ok()).await;
    let locked = Instant::now();
    until("the end of readiness", async || (status("/readyz").await == 503).then_some(())).await;
    // 5.4 s by the specification; the rest is for a machine that does other things as well.
    assert!(locked.elapsed() < Duration::from_secs(10), "{:?}", locked.elapsed());
    assert_eq!(status("/healthz").await, 200);
    sqlx::query("ROLLBACK").execute(&mut lock).await.unwrap();
    until("readiness again", async || (status("/readyz").await == 200).then_some(())).await;
    drop(system);
}
