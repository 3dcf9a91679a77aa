//! Who may do what.

use tempfile::TempDir;

use crate::process::{Server, refused};
use crate::telemetry::{JSON, logs, send};

#[test]
fn changes_need_the_key() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let key = server.key();
    assert!(key.len() >= 32 && server.log().contains(&key), "a new key is shown once");
    let (bearer, wrong) = (format!("Bearer {key}"), format!("Bearer {}", "x".repeat(key.len())));
    for path in ["/v1/admin/flush", "/v1/admin/reload", "/v1/events", "/v1/drills", "/v1/runbooks/any/runs", "/v1/runs/any/steps/any"] {
        let error = server.post(path, &[JSON], b"{}").expect(401).json();
        assert_eq!(error["error"]["code"], "key_required", "{path}: {error}");
        server.post(path, &[JSON, ("authorization", &wrong)], b"{}").expect(401);
        assert_ne!(server.post(path, &[JSON, ("authorization", &bearer)], b"{}").status, 401, "{path}");
    }
    server.post("/v1/admin/flush", &[("authorization", &bearer)], b"").expect(200);
    server.post("/v1/admin/flush", &[("x-skopos-key", &key)], b"").expect(200);
    // A browser signs in with it.
    server.post("/v1/login", &[JSON], br#"{"key": "not the key, but long"}"#).expect(401);
    let session = server.post("/v1/login", &[JSON], format!("{{\"key\": {key:?}}}").as_bytes()).expect(204);
    let cookie = session.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(!cookie.contains(&key) && session.header("set-cookie").contains("HttpOnly"));
    server.post("/v1/admin/flush", &[("cookie", &cookie)], b"").expect(200);
    // Telemetry and reading are free on loopback.
    send(&server, "/v1/logs", &logs("orders", &["free".to_owned()], server.now(), &[])).expect(200);
    assert_eq!(server.logs("free").len(), 1);
}

#[test]
fn the_key_stays_over_restarts() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start(&data);
    let key = server.key();
    assert!(server.terminate().success());
    let server = Server::start(&data);
    assert_eq!(server.key(), key);
    assert_eq!(server.log().matches(&key).count(), 1, "shown at the first start only");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(data.join("api-key")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn pages_from_elsewhere_are_not_served() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let own = format!("http://{}", server.http);
    for path in ["/v1/sql", "/v1/logs/json"] {
        let check = |headers: &[(&str, &str)], code: &str| {
            let mut all = vec![JSON];
            all.extend(headers);
            let answer = server.post(path, &all, br#"{"query": "select 1"}"#);
            assert_eq!(answer.status, if code.is_empty() { 200 } else { 403 }, "{path} {headers:?}: {}", answer.text());
            assert!(code.is_empty() || answer.json()["error"]["code"] == code, "{path} {headers:?}: {}", answer.text());
        };
        check(&[("host", "evil.example")], "foreign_host");
        check(&[("host", "127.0.0.1.evil.example:4000")], "foreign_host");
        check(&[("origin", "http://evil.example")], "foreign_origin");
        check(&[("origin", "null")], "foreign_origin");
        check(&[("origin", &own)], "");
        check(&[("host", "localhost:4000")], "");
    }
}

#[test]
fn other_addresses_than_loopback_demand_a_key() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data").display().to_string();
    let ports = ["--otlp-http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"];
    let (code, said) = refused(&[&["--data", &data, "--listen", "0.0.0.0:0"][..], &ports].concat());
    assert_ne!(code, 0);
    assert!(said.contains("--api-key-file"), "{said}");
    let (code, _) = refused(&["--data", &data, "--listen", "127.0.0.1:0", "--otlp-http", "0.0.0.0:0", "--otlp-grpc", "127.0.0.1:0"]);
    assert_ne!(code, 0);
}
