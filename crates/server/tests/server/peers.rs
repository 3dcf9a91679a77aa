//! Programs that others have written, as they are installed: a Prometheus to compare with and to be sent from, exporters
//! to be scraped, SDKs that send. Each test starts its own on free ports and in folders of its own.

#[path = "peers/client_golang.rs"]
mod client_golang;
#[path = "peers/differential.rs"]
mod differential;
#[path = "peers/exporters.rs"]
mod exporters;
#[path = "peers/expositions.rs"]
mod expositions;
#[path = "peers/grafana.rs"]
mod grafana;
#[path = "peers/jaeger.rs"]
mod jaeger;
#[path = "peers/opentelemetry.rs"]
mod opentelemetry;
#[path = "peers/prometheus.rs"]
mod prometheus;
#[path = "peers/receiver.rs"]
mod receiver;
#[path = "peers/rule_files.rs"]
mod rule_files;
#[path = "peers/sender.rs"]
mod sender;
#[path = "peers/senders.rs"]
mod senders;
#[path = "peers/tempo.rs"]
mod tempo;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::http::{encode, request};
use crate::process::Server;

/// A file beside these tests.
fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/peers").join(name)
}

/// Where a process listens, as the kernel lists it: a program that takes any free port need not say which one it got.
fn listening(process: u32) -> Option<String> {
    let open = fs::read_dir(format!("/proc/{process}/fd")).ok()?.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    let sockets: Vec<String> = open.filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Local address, state (0A is LISTEN) and socket.
        let (local, state, socket) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (*state == "0A" && sockets.iter().any(|s| s == socket)).then(|| format!("127.0.0.1:{port}"))
    })
}

/// `data` of an answer of Prometheus' API.
#[track_caller]
fn data(address: &str, path: &str) -> Value {
    let answer = request(address, "GET", path, &[], b"").unwrap_or_else(|e| panic!("GET {address}{path}: {e}")).expect(200).json();
    assert_eq!(answer["status"], "success", "{answer}");
    answer["data"].clone()
}

/// Labels of a series, sorted, as text: what two servers are compared by.
fn name_of(metric: &Value) -> String {
    let labels: BTreeMap<&str, &str> =
        metric.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or(""))).collect();
    format!("{labels:?}")
}

/// The one value of an instant query; `None` while there is none.
fn one(server: &Server, query: &str) -> Option<f64> {
    match server.promql(query).as_slice() {
        [only] => only["value"][1].as_str()?.parse().ok(),
        _ => None,
    }
}

/// Samples as they were stored, of every series that matches, over the seconds before a moment: (Unix milliseconds,
/// value) by series. Both servers give them for a range selector.
#[track_caller]
fn stored(address: &str, selector: &str, seconds: u64, until_ms: i64) -> BTreeMap<String, Vec<(i64, u64)>> {
    let query = encode(&format!("{selector}[{seconds}s]"));
    let at = format!("{}.{:03}", until_ms / 1_000, until_ms % 1_000);
    let found = data(address, &format!("/api/v1/query?query={query}&time={at}"));
    let sample = |pair: &Value| {
        let millis = (pair[0].as_f64().expect("a time") * 1_000.0).round() as i64;
        let value: f64 = pair[1].as_str().expect("a value").parse().expect("a number");
        (millis, value.to_bits())
    };
    let series = found["result"].as_array().expect("a matrix");
    series.iter().map(|one| (name_of(&one["metric"]), one["values"].as_array().into_iter().flatten().map(sample).collect())).collect()
}
