//! The tables are open: a DuckDB in a process of its own reads what the server has written.

use std::path::Path;
use std::process::Command;

use skopos_testkit::{Need, skipped};
use tempfile::TempDir;

use crate::http::encode;
use crate::process::{Server, root};
use crate::telemetry::{counter, logs, send};

/// Asks a DuckDB with the tables attached as `lake`; `None` when there is none.
fn ask(data: &Path, queries: &[&str]) -> Option<String> {
    let python = skopos_testkit::python()?;
    let reader = root().join("crates/storage/tests/duckdb_reader.py");
    let output = Command::new(&python).arg(reader).arg(data.join("catalog.sqlite")).args(queries).output().unwrap();
    if output.status.code() == Some(77) {
        skipped(Need::Tools, &format!("no duckdb ({})", String::from_utf8_lossy(&output.stderr).trim()));
        return None;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn duckdb_counts_the_same_logs() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start(&data);
    let now = server.now();
    for (service, count) in [("orders", 700), ("payments", 300)] {
        let bodies: Vec<String> = (0..count).map(|i| format!("{service} {i}")).collect();
        send(&server, "/v1/logs", &logs(service, &bodies, now, &[])).expect(200);
    }
    server.change("/v1/admin/flush").expect(200);
    let query = "select service_name, count(*), count(distinct body) from logs group by 1 order by 1";
    let ours = server.sql(query).expect(200).json();
    assert_eq!(ours["rows"], serde_json::json!([["orders", 700, 700], ["payments", 300, 300]]));
    assert!(server.terminate().success());

    let Some(read) = ask(&data, &[&query.replace("from logs", "from lake.logs")]) else { return };
    assert_eq!(read, "orders|700|700\npayments|300|300\n");
}

#[test]
fn duckdb_computes_the_same_rate() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start(&data);
    let now = server.now() / 1_000_000_000 * 1_000_000_000;
    // Steps of unequal length, a gap, and a restart.
    let mut value = 40;
    for step in (0..40).filter(|step| !(11..15).contains(step)) {
        value = if step == 25 { 3 } else { value + 7 + step % 5 };
        let time = now - 600_000_000_000 + step as u64 * 15_000_000_000 + step as u64 % 3 * 170_000_000;
        send(&server, "/v1/metrics", &counter("shop", "requests", "1", value, time)).expect(200);
    }
    server.change("/v1/admin/flush").expect(200);
    let moments: Vec<u64> = [400, 130, 30, 0].iter().map(|ago| now / 1_000_000_000 - ago).collect();
    let ours: Vec<f64> = moments
        .iter()
        .map(|at| {
            let answer = server.get(&format!("/api/v1/query?time={at}&query={}", encode("rate(requests_total[3m])"))).expect(200).json();
            answer["data"]["result"][0]["value"][1].as_str().unwrap().parse().unwrap()
        })
        .collect();
    assert!(server.terminate().success());
    let macro_text = std::fs::read_to_string(root().join("docs/guides/sql/rate.sql")).unwrap();
    let rates: Vec<String> =
        moments.iter().map(|at| format!("SELECT rate FROM rate_at('requests_total', make_timestamp({at}000000), INTERVAL 3 MINUTE)")).collect();
    let queries: Vec<&str> = std::iter::once(macro_text.as_str()).chain(rates.iter().map(String::as_str)).collect();
    let Some(read) = ask(&data, &queries) else { return };
    let theirs: Vec<f64> = read.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(theirs.len(), ours.len(), "{read}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((ours - theirs).abs() <= 1e-9 * ours.abs(), "{ours} {theirs}");
    }
}
