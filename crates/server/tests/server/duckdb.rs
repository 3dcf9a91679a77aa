//! The tables are open: a DuckDB in a process of its own reads what the server has written.

use std::process::Command;

use skopos_testkit::{Need, skipped};
use tempfile::TempDir;

use crate::process::{Server, root};
use crate::telemetry::{logs, send};

#[test]
fn duckdb_counts_the_same_logs() {
    let Some(python) = skopos_testkit::python() else { return };
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

    let reader = root().join("crates/storage/tests/duckdb_reader.py");
    let output =
        Command::new(&python).arg(reader).arg(data.join("catalog.sqlite")).arg(query.replace("from logs", "from lake.logs")).output().unwrap();
    if output.status.code() == Some(77) {
        return skipped(Need::Tools, &format!("no duckdb ({})", String::from_utf8_lossy(&output.stderr).trim()));
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "orders|700|700\npayments|300|300\n");
}
