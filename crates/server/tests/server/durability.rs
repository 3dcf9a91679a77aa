//! What a client was told is stored is found exactly once, whatever happened to the process.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use prost::Message as _;
use tempfile::TempDir;

use crate::http::request;
use crate::process::{Server, refused};
use crate::telemetry::{PROTOBUF, counter, hex, logs, send, spans};

const ROUNDS: usize = 10;
const WRITERS: usize = 3;
const RECORDS_A_REQUEST: usize = 4;

/// How often each body is stored.
#[track_caller]
fn stored(server: &Server) -> HashMap<String, u64> {
    let answer = server.sql("select body, count(*) from logs group by body").expect(200).json();
    assert_eq!(answer["truncated"], false);
    answer["rows"].as_array().unwrap().iter().map(|row| (row[0].as_str().unwrap().to_owned(), row[1].as_u64().unwrap())).collect()
}

/// Writes until the server is gone; the ids of acknowledged requests go to `acknowledged`.
fn write(server: &Server, name: &str, time: u64, count: &AtomicUsize, acknowledged: &Mutex<Vec<String>>) {
    for number in 0.. {
        let bodies: Vec<String> = (0..RECORDS_A_REQUEST).map(|i| format!("{name}-{number}-{i}")).collect();
        let body = logs("orders", &bodies, time + number * 1_000_000, &[]).encode_to_vec();
        match request(&server.http, "POST", "/v1/logs", &[PROTOBUF], &body) {
            Ok(answer) if answer.status == 200 => {
                acknowledged.lock().unwrap().extend(bodies);
                count.fetch_add(1, Ordering::SeqCst);
            }
            Ok(answer) => panic!("{}: {}", answer.status, answer.text()),
            // Killed under way: this request may or may not be stored.
            Err(_) => return,
        }
    }
}

#[test]
fn kill_9_loses_and_doubles_nothing() {
    let seed = std::env::var("SKOPOS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed_0003);
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let acknowledged = Mutex::new(Vec::new());
    let mut server = Server::start(&data);
    for round in 0..ROUNDS {
        let (requests, time) = (random.usize(1..40), server.now());
        // Some rounds end in the midst of a flush, some after one: rows then stand in files and in the log.
        let flush_at = random.bool().then(|| random.usize(0..requests));
        let count = AtomicUsize::new(0);
        let end = Instant::now() + Duration::from_secs(60);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (server, count, acknowledged) = (&server, &count, &acknowledged);
                scope.spawn(move || write(server, &format!("r{round}-w{writer}"), time, count, acknowledged));
            }
            if let Some(at) = flush_at {
                let (http, key, count) = (&server.http, server.key(), &count);
                scope.spawn(move || {
                    while count.load(Ordering::SeqCst) < at && Instant::now() < end {
                        std::thread::yield_now();
                    }
                    // Its answer does not matter: the process may be killed before.
                    let _ = request(http, "POST", "/v1/admin/flush", &[("x-skopos-key", &key)], b"");
                });
            }
            while count.load(Ordering::SeqCst) < requests && Instant::now() < end {
                std::thread::yield_now();
            }
            signal_kill(&server);
        });
        server.kill();
        server = Server::start(&data);
        let found = stored(&server);
        let acknowledged = acknowledged.lock().unwrap();
        assert!(acknowledged.len() >= (round + 1) * RECORDS_A_REQUEST, "seed {seed}: the writers did not get through");
        for body in acknowledged.iter() {
            assert_eq!(found.get(body), Some(&1), "seed {seed}, round {round}: {body} was acknowledged\n{}", server.log());
        }
        for (body, times) in &found {
            assert_eq!(*times, 1, "seed {seed}, round {round}: {body} is doubled");
        }
        // A request is stored whole or not at all.
        assert_eq!(found.len() % RECORDS_A_REQUEST, 0, "seed {seed}, round {round}");
    }
}

/// SIGKILL from beside: the threads that write hold the server as well.
fn signal_kill(server: &Server) {
    let sent = std::process::Command::new("sh").args(["-c", &format!("kill -9 {}", server.id())]).status().unwrap();
    assert!(sent.success());
}

fn folder_bytes(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn sigterm_flushes_everything() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start(&data);
    let now = server.now();
    let bodies: Vec<String> = (0..2000).map(|i| format!("order {i} placed by somebody")).collect();
    send(&server, "/v1/logs", &logs("orders", &bodies, now, &[])).expect(200);
    send(&server, "/v1/traces", &spans("orders", &[&[3; 16]], now)).expect(200);
    send(&server, "/v1/metrics", &counter("orders", "orders.placed", "1", 2000, now)).expect(200);
    assert!(folder_bytes(&data.join("wal")) > 2000, "acknowledged rows are in the log");
    let status = server.terminate();
    assert!(status.success(), "{status}\n{}", server.log());
    assert!(folder_bytes(&data.join("wal")) < 4096, "what is in files is no longer in the log");
    request(&server.http, "GET", "/healthz", &[], b"").err().expect("nobody listens");

    let server = Server::start(&data);
    let status = server.get("/v1/status").expect(200).json();
    assert_eq!(status["signals"]["logs"]["file_rows"], 2000, "{status}");
    let found = stored(&server);
    assert_eq!(found.len(), 2000);
    assert!(found.values().all(|n| *n == 1));
    assert_eq!(server.get(&format!("/v1/traces/{}", hex(&[3; 16]))).expect(200).json()["spans"].as_array().unwrap().len(), 1);
    assert_eq!(server.promql("orders_placed_total")[0]["value"][1], "2000");
}

#[test]
fn a_second_process_on_the_folder_is_refused() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let name = data.display().to_string();
    let (code, said) = refused(&["--data", &name, "--listen", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"]);
    assert_ne!(code, 0);
    assert!(said.contains(&name) && said.contains("in use") && said.contains(&server.id().to_string()), "{said}");
    // The first one is not disturbed.
    send(&server, "/v1/logs", &logs("orders", &["after".to_owned()], server.now(), &[])).expect(200);
    assert_eq!(server.logs("after").len(), 1);
}
