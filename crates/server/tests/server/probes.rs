//! Probes by URL: liveness and readiness apart, thresholds, and what is stored.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Server, eventually};

/// What the service does next.
const READY: u8 = 0;
const NOT_READY: u8 = 1;
const DEAD: u8 = 2;

/// A service that answers 200 always, and says in its body whether it is ready; a dead one hangs up.
fn service() -> (String, Arc<AtomicU8>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let state = Arc::new(AtomicU8::new(READY));
    let inner = Arc::clone(&state);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap_or(0);
            let state = inner.load(Ordering::SeqCst);
            if state == DEAD {
                continue;
            }
            let body = if head[..length].starts_with(b"GET /readyz") { format!("{{\"ready\": {}}}", state == READY) } else { "fine".to_owned() };
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        }
    });
    (address, state)
}

#[test]
fn liveness_and_readiness_are_told_apart() {
    let folder = TempDir::new().unwrap();
    let (address, state) = service();
    let config = folder.path().join("skopos.yaml");
    let probe = |path: &str| format!("{{url: 'http://{address}/{path}', interval_seconds: 1, failure_threshold: 2}}");
    fs::write(&config, format!("probes:\n- service: payments\n  liveness: {}\n  readiness: {}\n", probe("healthz"), probe("readyz"))).unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--config", config.to_str().unwrap()]);
    let shown = || server.get("/v1/services/payments").expect(200).json();
    let become_ = |what: &str, liveness: &str, readiness: &str, health: &str| -> Value {
        let service = eventually(what, || Some(shown()).filter(|s| s["probes"][0]["state"] == liveness && s["probes"][1]["state"] == readiness));
        assert_eq!(service["health"], health, "{what}: {service}");
        let listed = server.get("/v1/services").expect(200).json();
        assert_eq!((&listed["services"][0]["name"], &listed["services"][0]["health"]), (&"payments".into(), &health.into()), "{what}: {listed}");
        service
    };
    become_("all is well", "up", "up", "ok");

    state.store(NOT_READY, Ordering::SeqCst);
    let service = become_("not ready, and alive", "up", "down", "warning");
    assert_eq!(service["probes"][1]["last"]["message"], "answered 200 OK with `ready: false`");
    assert!(service["verdict"][0].as_str().unwrap().contains("readiness probe"), "{service}");
    // Samples are stored a moment after the state is shown.
    let becomes = |query: &str, value: &str| {
        eventually(query, || server.promql(query).first().filter(|sample| sample["value"][1] == value).map(drop));
    };
    becomes("skopos_probe_up{service=\"payments\",probe=\"liveness\"}", "1");
    becomes("skopos_probe_up{service=\"payments\",probe=\"readiness\"}", "0");
    // The status alone does not tell.
    becomes("probe_http_status_code{probe=\"readiness\"}", "200");

    state.store(DEAD, Ordering::SeqCst);
    let service = become_("dead", "down", "down", "critical");
    assert!(service["probes"][0]["last"]["message"].as_str().unwrap().starts_with("cannot reach it"), "{service}");
    assert!(service["probes"][0]["failures"].as_u64().unwrap() >= 2, "{service}");
    becomes("probe_http_status_code{probe=\"liveness\"}", "0");

    state.store(READY, Ordering::SeqCst);
    become_("well again", "up", "up", "ok");

    // Without its probes nothing is known of it, and its series end.
    fs::write(&config, "probes: []\n").unwrap();
    server.change("/v1/admin/reload").expect(200);
    eventually("the end of its series", || server.promql("skopos_probe_up or probe_success").is_empty().then_some(()));
    server.get("/v1/services/payments").expect(404);
}

#[test]
fn mistakes_in_probes_are_named() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("skopos.yaml");
    let refused = |text: &str, wanted: &str| {
        fs::write(&config, text).unwrap();
        let output = crate::process::skopos(&["check", config.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(wanted), "{wanted:?} is not in {said}");
    };
    refused("probes:\n- {service: a, livenes: {url: 'http://h/'}}\n", "did you mean `liveness`");
    refused("probes:\n- {service: a, liveness: {url: 'h:80'}}\n", "tcp://host:port");
    refused("probes:\n- {service: a, kubernetes: gone.yaml, targets: [h]}\n", "gone.yaml");
    fs::write(folder.path().join("exec.yaml"), "livenessProbe: {exec: {command: [ls]}}\n").unwrap();
    refused("probes:\n- {service: a, kubernetes: exec.yaml, targets: [h]}\n", "inside the container");
}
