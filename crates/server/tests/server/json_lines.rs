//! Newline-delimited JSON, over HTTP and through `skopos agent`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use skopos_testkit::{Need, skipped};
use tempfile::TempDir;

use crate::process::{Server, binary};

/// Pipes `input` through `skopos agent -`; gives what it reported.
#[track_caller]
fn agent(server: &Server, folder: &Path, input: &[u8]) -> String {
    let mut child = Command::new(binary())
        .args(["agent", "--service", "fallback", "--server", &format!("http://{}", server.http), "-"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn keys_are_mapped() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let lines = [
        format!(
            r#"{{"time":"{}","severity":"warn","service":"orders","env":"prod","msg":"slow","trace_id":"{trace}","span_id":"00f067aa0ba902b7","order":7}}"#,
            server.now()
        ),
        r#"{"level":"error","message":"refused","user_id":"u-1"}"#.to_owned(),
        "no JSON at all".to_owned(),
    ];
    let body = lines.join("\n");
    let answer = server.post("/v1/logs/json?service=worker&env=staging", &[("content-type", "application/x-ndjson")], body.as_bytes()).expect(200);
    assert_eq!(answer.json()["rejected"], serde_json::json!([]));
    let rows = server.logs(&format!("service:orders env:prod level:warn trace_id:{trace}"));
    assert_eq!(rows.len(), 1, "{:?}", server.logs(""));
    assert_eq!((rows[0]["body"].as_str(), rows[0]["span_id"].as_str()), (Some("slow"), Some("00f067aa0ba902b7")));
    assert_eq!(rows[0]["attributes"]["order"], 7);
    let rows = server.logs("service:worker env:staging level:error user_id:u-1");
    assert_eq!(rows.len(), 1, "{:?}", server.logs(""));
    assert_eq!(rows[0]["body"], "refused");
    let rows = server.logs("service:worker \"no JSON at all\"");
    assert_eq!(rows.len(), 1, "{:?}", server.logs(""));
    assert_eq!(server.logs("").len(), 3);
}

#[test]
fn the_agent_sends_standard_input_to_its_end() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let mut input: String = (0..500).map(|i| format!("{{\"msg\":\"line {i}\",\"request_id\":\"req-{i}\"}}\n")).collect();
    input.push_str("last, without a newline");
    let report = agent(&server, folder.path(), input.as_bytes());
    assert!(report.starts_with("501 lines acknowledged, 0 refused"), "{report}");
    assert_eq!(server.logs("service:fallback").len(), 501);
    assert_eq!(server.logs("request_id:req-77")[0]["body"], "line 77");
    assert_eq!(server.logs("\"without a newline\"").len(), 1);
}

#[test]
fn the_missions_structured_logging_is_found_by_any_id() {
    let Some(example) = skopos_testkit::shared("mission-examples/structured_logging.py") else { return };
    let output = match Command::new("python3").arg(example).output() {
        Ok(output) => output,
        Err(error) => return skipped(Need::Tools, &format!("no python3 ({error})")),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    agent(&server, folder.path(), &output.stdout);
    for filter in ["request_id:req-9f1", "user_id:u-123", "trace_id:tr-448", "service:orders-api env:prod level:info", "order_placed"] {
        let rows = server.logs(filter);
        assert_eq!(rows.len(), 1, "{filter}");
        assert_eq!(rows[0]["body"], "order_placed");
        assert_eq!(rows[0]["service_name"], "orders-api");
        assert_eq!(rows[0]["resource"]["deployment.environment.name"], "prod");
    }
}
