//! What is wrong is refused with the status and the shape its protocol names, and hurts nothing.

use std::fs;

use tempfile::TempDir;

use crate::http::encode;
use crate::process::Server;
use crate::telemetry::{GZIP, JSON, PROTOBUF, gzip, logs, send};

const PATHS: [&str; 3] = ["/v1/logs", "/v1/traces", "/v1/metrics"];

#[test]
fn bodies_that_cannot_be_read_are_refused() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    for path in PATHS {
        let check = |headers: &[(&str, &str)], body: &[u8], status: u16, said: &str| {
            let answer = server.post(path, headers, body);
            assert_eq!(answer.status, status, "{path} {headers:?}: {}", answer.text());
            assert!(answer.text().contains(said), "{path} {headers:?}: {}", answer.text());
        };
        check(&[PROTOBUF], b"\x0a\xff\xff\xff\xff\x0f no such length", 400, "");
        check(&[JSON], b"{x", 400, "line 1");
        check(&[JSON], b"", 400, "");
        check(&[PROTOBUF, GZIP], b"no gzip at all", 400, "gzip");
        check(&[("content-type", "text/plain")], b"hello", 415, "application/x-protobuf");
        check(&[], b"hello", 415, "application/json");
        check(&[PROTOBUF, ("content-encoding", "br")], b"", 415, "gzip");
    }
    // An empty protobuf message is a valid request with nothing in it.
    server.post("/v1/logs", &[PROTOBUF], b"").expect(200);
    server.get("/v1/nonsense").expect(404);
    server.get("/v1/logs/json").expect(405);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn bodies_over_a_limit_are_refused() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("skopos.yaml");
    fs::write(&config, "limits:\n  ingest:\n    body_bytes_max: 100000\n    decompressed_bytes_max: 1000000\n").unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--config", config.to_str().unwrap()]);
    for path in PATHS {
        let too_long = server.post(path, &[JSON], &vec![b' '; 100_001]).expect(413);
        assert!(too_long.text().contains("body_bytes_max"), "{}", too_long.text());
        let bomb = gzip(&vec![b' '; 50_000_000]);
        assert!(bomb.len() < 100_000);
        let refused = server.post(path, &[JSON, GZIP], &bomb).expect(413);
        assert!(refused.text().contains("decompressed_bytes_max"), "{}", refused.text());
    }
    send(&server, "/v1/logs", &logs("orders", &["still taken".to_owned()], server.now(), &[])).expect(200);
    assert_eq!(server.logs("service:orders").len(), 1);
}

#[test]
fn wrong_queries_say_where() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    for path in ["/v1/logs", "/v1/logs/histogram", "/v1/logs/facets", "/v1/traces"] {
        let error = server.get(&format!("{path}?q={}", encode("service:orders level:"))).expect(400).json();
        assert_eq!(error["error"]["code"], "bad_query", "{path}: {error}");
        assert_eq!(error["error"]["at"]["start"], 21, "{path}: {error}");
        let error = server.get(&format!("{path}?from=now&to=now-1h")).expect(400).json();
        assert!(error["error"]["message"].as_str().unwrap().contains("upside down"), "{path}: {error}");
        let error = server.get(&format!("{path}?from=yesterday")).expect(400).json();
        assert!(error["error"]["message"].as_str().unwrap().contains("yesterday"), "{path}: {error}");
    }
    server.get("/v1/traces/no-hex").expect(400);
    for (path, wanted) in [
        (format!("/api/v1/query?query={}", encode("sum(rate(up[5m])")), "parse error"),
        ("/api/v1/query".to_owned(), "query"),
        ("/api/v1/query_range?query=up&start=20&end=10&step=1".to_owned(), "end"),
        ("/api/v1/query_range?query=up&start=10&end=20&step=0".to_owned(), "step"),
        (format!("/api/v1/series?{}", "match[]={"), "match[]"),
    ] {
        let error = server.get(&path).expect(400).json();
        assert_eq!((error["status"].as_str(), error["errorType"].as_str()), (Some("error"), Some("bad_data")), "{path}: {error}");
        assert!(error["error"].as_str().unwrap().contains(wanted), "{path}: {error}");
    }
}

#[test]
fn sql_only_reads() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    send(&server, "/v1/logs", &logs("orders", &["kept".to_owned()], server.now(), &[])).expect(200);
    let file = folder.path().join("out.csv");
    for query in [
        "delete from logs",
        "drop table logs",
        "insert into logs select * from logs",
        "update logs set body = ''",
        "create table t as select 1",
        "create view v as select 1",
        "set datafusion.execution.batch_size = 1",
        "select 1; drop table logs",
        &format!("copy logs to '{}'", file.display()),
        &format!("create external table t (a int) stored as csv location '{}'", file.display()),
        "select * from '/etc/passwd'",
        "select bodi from logs",
        "",
    ] {
        let error = server.sql(query).expect(400).json();
        assert!(!error["error"]["message"].as_str().unwrap().is_empty(), "{query}: {error}");
    }
    assert!(!file.exists());
    let answer = server.sql("select service_name, count(*) as n from logs group by 1").expect(200).json();
    assert_eq!(answer["columns"][0]["name"], "service_name");
    assert_eq!(answer["rows"], serde_json::json!([["orders", 1]]));
    server.post("/v1/sql", &[JSON], br#"{"query": "select 1", "limit": 5}"#).expect(400);
}
