//! StatsD over UDP.

use std::net::UdpSocket;

use tempfile::TempDir;

use crate::process::{Server, eventually};

#[test]
fn lines_are_added_up_and_stored() {
    let folder = TempDir::new().unwrap();
    // A port that is free now; nobody else here listens for UDP.
    let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let config = folder.path().join("skopos.yaml");
    std::fs::write(&config, format!("statsd: {{listen: '{address}', flush_seconds: 1}}")).unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--config", config.to_str().unwrap()]);
    eventually("the listener", || server.log().contains("StatsD is taken over UDP").then_some(()));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in ["jobs.done:2|c|#env:test\njobs.done:3|c|@0.5|#env:test", "depth:7|g", "took:200|ms|@0.5\nnonsense", "depth:-2|g"] {
        socket.send_to(datagram.as_bytes(), &address).unwrap();
    }
    let value = |query: &str, expected: &str| {
        eventually(query, || server.promql(query).first().filter(|one| one["value"][1] == expected).map(|_| ()));
    };
    value("jobs_done{env=\"test\"}", "8");
    value("depth", "5");
    value("histogram_count(took)", "2");
    value("histogram_sum(took)", "0.4");
    let figures = server.get("/metrics").expect(200).text();
    assert!(figures.contains("skopos_ingest_rejected_rows_total{signal=\"metrics\",reason=\"statsd_line\"} 1"), "{figures}");
}
