//! What clients of other systems send, as bytes: answers, limits, and the same rows after a crash.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;

use serde_json::{Value, json};
use skopos_testkit::shared;
use tempfile::TempDir;

use crate::http::request;
use crate::process::{Server, eventually};

const JSON: (&str, &str) = ("content-type", "application/json");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// A server that takes syslog, Fluent and Jaeger on free ports.
struct Doors {
    server: Server,
    syslog: String,
    fluent: String,
    jaeger: String,
}

fn free_port() -> String {
    eventually("a free port", || {
        let tcp = TcpListener::bind("127.0.0.1:0").ok()?;
        let address = tcp.local_addr().ok()?;
        UdpSocket::bind(address).ok().map(|_| address.to_string())
    })
}

fn start(folder: &Path, more: &str) -> Doors {
    let (syslog, fluent, jaeger) = (free_port(), free_port(), free_port());
    let config = folder.join("skopos.yaml");
    let text = format!("syslog: {{tcp: '{syslog}', udp: '{syslog}'}}\nfluent: {{listen: '{fluent}'}}\njaeger: {{compact: '{jaeger}'}}\n{more}");
    fs::write(&config, text).unwrap();
    let server = Server::start_with(&folder.join("data"), &["--config", config.to_str().unwrap()]);
    eventually("the listeners", || (server.log().matches("is taken over").count() >= 4).then_some(()));
    Doors { server, syslog, fluent, jaeger }
}

/// Sends bytes over TCP; reads the answer up to `answer` bytes.
fn tcp(address: &str, bytes: &[u8], answer: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(bytes).unwrap();
    let mut out = vec![0; answer];
    stream.read_exact(&mut out).unwrap();
    out
}

/// All bodies of log records, and names of spans.
fn stored(server: &Server) -> Vec<String> {
    let answer = server.sql("select body from logs union all select name from spans order by 1").expect(200).json();
    answer["rows"].as_array().unwrap().iter().map(|row| row[0].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_door_stores_before_it_answers_and_replays_after_kill_9() {
    let folder = TempDir::new().unwrap();
    let Doors { mut server, syslog, fluent, jaeger } = start(folder.path(), "");
    let now = server.now();
    let push = json!({"streams": [{"stream": {"app": "shop"}, "values": [[now.to_string(), "by loki", {"user": "7"}]]}]}).to_string();
    server.post("/loki/api/v1/push", &[JSON], push.as_bytes()).expect(204);
    server.post("/shop/_bulk", &[NDJSON], b"{\"create\":{}}\n{\"message\":\"by elastic\"}\n").expect(200);
    server.post("/services/collector", &[JSON], b"{\"event\":\"by splunk\"}").expect(200);
    server.post("/services/collector/raw?sourcetype=x", &[], b"by splunk raw\n").expect(200);
    let micros = now / 1_000;
    let spans =
        json!([{"traceId": "9", "id": "9", "name": "by zipkin", "timestamp": micros, "duration": 5, "localEndpoint": {"serviceName": "shop"}}]);
    server.post("/api/v2/spans", &[JSON], spans.to_string().as_bytes()).expect(202);
    // Thrift's compact protocol: a process `api` and a span `by jaeger`.
    let mut batch = b"\x1c\x18\x03api\x00\x19\x1c\x16\x02\x16\x00\x16\x04\x16\x00\x18\x09by jaeger\x25\x02\x16".to_vec();
    let mut zigzag = micros << 1;
    while zigzag >= 0x80 {
        batch.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    batch.extend_from_slice(&[zigzag as u8, 0x16, 0x0a, 0x00, 0x00]);
    server.post("/api/traces?format=jaeger.thrift", &[("content-type", "application/x-thrift")], &batch).expect(202);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let datagram = [&b"\x82\x81\x00\x09emitBatch\x1c"[..], &batch, b"\x00"].concat();
    udp.send_to(b"\x82\x81\x00", &jaeger).unwrap();
    let mut other = datagram;
    let at = other.windows(9).position(|w| w == b"by jaeger").unwrap();
    other[at..at + 9].copy_from_slice(b"by agents");
    // A span of its own.
    let id = other.windows(8).position(|w| w == b"\x16\x02\x16\x00\x16\x04\x16\x00").unwrap();
    other[id + 5] = 0x06;
    udp.send_to(&other, &jaeger).unwrap();
    udp.send_to(b"<11>1 - h shop - - - by syslog udp", &syslog).unwrap();
    let mut stream = TcpStream::connect(&syslog).unwrap();
    stream.write_all(b"34 <11>1 - h shop - - - by\ncounted ok<11>by syslog line\n").unwrap();
    drop(stream);
    // Acknowledged: stored.
    let message = b"\x93\xa1t\x91\x92\x05\x81\xa3log\xa9by fluent\x81\xa5chunk\xa2c1";
    assert_eq!(tcp(&fluent, message, 12), b"\x81\xa3ack\xdb\x00\x00\x00\x02c1");
    let expected = [
        "by\ncounted ok",
        "by agents",
        "by elastic",
        "by fluent",
        "by jaeger",
        "by loki",
        "by splunk",
        "by splunk raw",
        "by syslog line",
        "by syslog udp",
        "by zipkin",
    ];
    eventually("all rows", || (stored(&server) == expected).then_some(()));
    assert_eq!(stored_of(&server, "malformed_datagram"), 1);
    let before = server.sql("select * from logs order by body").expect(200).json()["rows"].clone();
    server.kill();
    let server = Server::start(&folder.path().join("data"));
    assert_eq!(stored(&server), expected);
    assert_eq!(server.sql("select * from logs order by body").expect(200).json()["rows"], before, "recovery reads the same");
    let figures = server.get("/metrics").expect(200).text();
    assert!(!figures.contains("skopos_ingest_rejected_rows_total{signal=\"logs\""), "{figures}");
}

#[test]
fn loki_answers_as_loki_does() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let push = |kind: (&str, &str), body: &[u8]| server.post("/loki/api/v1/push", &[kind], body);
    let bad = push(JSON, b"{\"streams\":[{\"values\":[[\"soon\",\"x\"]]}]}").expect(400).text();
    assert!(bad.contains("\"soon\" is no time in Unix nanoseconds"), "{bad}");
    push(("content-type", "application/x-protobuf"), b"no snappy").expect(400);
    push(("content-type", "text/csv"), b"a,b").expect(415);
    // One stream cannot be read: the other is stored, and the answer says so.
    let stream = |labels: &[u8], line: &[u8]| {
        let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat();
        field(1, &[field(1, labels), field(2, &field(2, line))].concat())
    };
    let body = [stream(b"{broken", b"lost"), stream(b"{app=\"shop\"}", b"kept")].concat();
    let body = snap::raw::Encoder::new().compress_vec(&body).unwrap();
    let answer = push(("content-type", "application/x-protobuf"), &body).expect(400).text();
    assert!(answer.contains("error parsing labels `{broken`"), "{answer}");
    assert_eq!(stored(&server), ["kept"]);
    let row = &server.logs("service:shop")[0];
    assert_eq!((&row["resource"]["app"], &row["resource"]["skopos.stream"]), (&"shop".into(), &"loki".into()));
    assert_eq!((stored_of(&server, "invalid_labels"), server.logs("kept").len()), (1, 1));
}

fn stored_of(server: &Server, reason: &str) -> u64 {
    let figures = server.get("/metrics").expect(200).text();
    let wanted = format!("reason=\"{reason}\"}} ");
    figures.lines().find_map(|line| line.split_once(&wanted)).map_or(0, |(_, count)| count.parse().unwrap())
}

#[test]
fn elasticsearch_is_asked_before_it_is_sent_to() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    for prefix in ["", "/elasticsearch"] {
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/_license"),
            ("GET", "/_cluster/health"),
            ("GET", "/_nodes/http"),
            ("GET", "/_ilm/policy/shop"),
            ("PUT", "/_ilm/policy/shop"),
            ("GET", "/_index_template/shop"),
            ("PUT", "/_index_template/shop"),
            ("PUT", "/_ingest/pipeline/shop"),
        ] {
            let answer = request(&server.http, method, &format!("{prefix}{path}"), &[("accept", "application/json")], b"").unwrap().expect(200);
            assert_eq!(answer.header("x-elastic-product"), "Elasticsearch", "{method} {prefix}{path}");
        }
    }
    // A browser gets the page.
    let page = request(&server.http, "GET", "/", &[("accept", "text/html,*/*")], b"").unwrap().expect(200);
    assert!(page.text().contains("<!doctype html>") || page.text().contains("<!DOCTYPE html>"), "{}", page.text());
    let bulk = |body: &str| server.post("/_bulk", &[NDJSON], body.as_bytes());
    let answer = bulk(
        "{\"index\":{\"_index\":\"a\",\"_id\":\"1\"}}\n{\"message\":\"x\"}\n{\"delete\":{\"_index\":\"a\",\"_id\":\"1\"}}\n{\"create\":{}}\n[]\n",
    )
    .expect(200)
    .json();
    let statuses: Vec<&Value> =
        answer["items"].as_array().unwrap().iter().map(|item| &item.as_object().unwrap().values().next().unwrap()["status"]).collect();
    assert_eq!((answer["errors"].as_bool(), statuses), (Some(true), vec![&json!(201), &json!(400), &json!(400)]), "{answer}");
    let refused = bulk("{\"creat\":{}}\n{}\n").expect(400).json();
    assert_eq!(refused["error"]["reason"], "Malformed action/metadata line [1], expected one of [create, delete, index, update] but found [creat]");
    let one = server.post("/a/_doc", &[JSON], b"{\n\"message\":\n\"alone\"}").expect(201).json();
    assert_eq!((&one["result"], &one["_index"]), (&"created".into(), &"a".into()));
    assert_eq!(stored(&server), ["alone", "x"]);
}

#[test]
fn splunk_says_which_event_is_wrong() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let events = |body: &[u8]| server.post("/services/collector/event", &[JSON], body);
    assert_eq!(server.get("/services/collector/health").expect(200).json(), json!({"text": "HEC is healthy", "code": 17}));
    let answer = events(b"{\"event\":\"a\"}{\"host\":\"x\"}{\"event\":\"b\"}").expect(400).json();
    assert_eq!((&answer["code"], &answer["text"], &answer["invalid-event-number"]), (&json!(12), &"Event field is required".into(), &json!(1)));
    assert_eq!(events(b"").expect(400).json(), json!({"text": "No data", "code": 5}));
    assert_eq!(events(b"{\"event\":").expect(400).json()["code"], 6);
    assert_eq!(server.post("/services/collector/ack", &[JSON], b"{\"acks\":[0]}").expect(400).json()["code"], 14);
    assert_eq!(stored(&server), ["a", "b"]);
}

#[test]
fn a_fluent_sender_has_to_know_the_key() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("key"), "secret of ours\n").unwrap();
    let fluent = free_port();
    let config = folder.path().join("skopos.yaml");
    fs::write(&config, format!("fluent: {{listen: '{fluent}', shared_key_file: key}}")).unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--config", config.to_str().unwrap()]);
    eventually("the listener", || server.log().contains("Fluent Forward is taken over TCP").then_some(()));
    let mut stream = TcpStream::connect(&fluent).unwrap();
    let mut helo = [0; 6];
    stream.read_exact(&mut helo).unwrap();
    assert_eq!(&helo, b"\x92\xdb\x00\x00\x00\x04");
    // Without the key nothing is taken.
    stream.write_all(b"\x96\xa4PING\xa1h\xa1s\xa1d\xa0\xa0\x93\xa1t\x05\x81\xa3log\xa2no").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap_or(0);
    assert!(String::from_utf8_lossy(&rest).contains("shared_key mismatch"));
    eventually("the refusal", || server.log().contains("its shared key is another").then_some(()));
    assert_eq!(stored(&server), [""; 0]);
}

#[test]
fn bad_input_is_kept_cut_or_told() {
    let folder = TempDir::new().unwrap();
    let Doors { server, syslog, fluent, .. } = start(folder.path(), "limits: {ingest: {log_body_bytes_max: 1000}}\n");
    // A line of ten megabytes, without an end: its beginning is kept, and the next message is whole.
    let mut stream = TcpStream::connect(&syslog).unwrap();
    stream.write_all(b"<11>shop: ").unwrap();
    stream.write_all(&vec![b'x'; 10 << 20]).unwrap();
    stream.write_all(b"\n<11>shop: after <script>\x01\xff\n").unwrap();
    drop(stream);
    let row = eventually("the next message", || server.logs("after").pop());
    assert_eq!(row["body"], "after <script>\u{1}\u{fffd}");
    let cut = server.logs("service:shop -after").pop().unwrap();
    assert_eq!((cut["body"].as_str().unwrap().len(), &cut["attributes"]["skopos.truncated"]), (1000, &true.into()));
    // What is no Forward message ends the connection, not the server.
    let mut stream = TcpStream::connect(&fluent).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap_or(0), 0);
    // Nested deeper than anybody reads, in each of the formats that nest.
    let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
    server.post("/_bulk", &[NDJSON], format!("{{\"create\":{{}}}}\n{deep}\n").as_bytes()).expect(200);
    server.post("/services/collector", &[JSON], format!("{{\"event\":{deep}}}").as_bytes()).expect(200);
    assert_eq!(server.logs("service:unknown_service").len(), 2);
    // Times far off are kept.
    let push = json!({"streams": [{"stream": {"app": "old"}, "values": [["1", "of 1970"], ["9000000000000000000", "of 2255"]]}]}).to_string();
    server.post("/loki/api/v1/push", &[JSON], push.as_bytes()).expect(204);
    let far = server.sql("select body from logs where service_name = 'old' order by body").expect(200).json();
    assert_eq!(far["rows"], json!([["of 1970"], ["of 2255"]]));
}

#[test]
fn bodies_of_others_are_judged_as_others_do() {
    let Some(file) = shared("conformance/log-ingest-bodies/bodies.jsonl") else { return };
    let lines: Vec<Value> = fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let mut judged = 0;
    for line in &lines {
        let path = match line["kind"].as_str().unwrap() {
            "elasticsearch_bulk" => "/_bulk",
            "loki_push_json" => "/loki/api/v1/push",
            _ => continue,
        };
        let body = line["args"][0].as_str().unwrap();
        let answer = server.post(path, &[JSON], body.as_bytes());
        let expected = line["ok"] == true;
        assert_eq!((200..300).contains(&answer.status), expected, "{path} {body:?}: {} {}", answer.status, answer.text());
        judged += 1;
    }
    assert!(judged >= 20, "{judged}");
}

#[test]
fn bulk_requests_of_the_specification_are_answered_in_its_form() {
    let Some(folder_of_others) = shared("conformance/elasticsearch-bulk-examples/request") else { return };
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let mut files: Vec<_> = fs::read_dir(folder_of_others).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        // A YAML document whose `value` is the request's text in quotes over several lines.
        let python = "import sys, yaml; print(yaml.safe_load(open(sys.argv[1]))['value'])";
        let Some(run) = skopos_testkit::python().and_then(|p| std::process::Command::new(p).args(["-c", python]).arg(&file).output().ok()) else {
            return;
        };
        if !run.status.success() {
            return skopos_testkit::skipped(skopos_testkit::Need::Tools, "no yaml for Python");
        }
        let answer = server.post("/_bulk", &[NDJSON], &run.stdout).expect(200).json();
        assert!(answer["took"].is_u64() && answer["errors"].is_boolean(), "{}: {answer} {text}", file.display());
        for item in answer["items"].as_array().unwrap() {
            let (action, result) = item.as_object().unwrap().iter().next().unwrap();
            assert!(["index", "create", "update", "delete"].contains(&action.as_str()), "{item}");
            assert!(result["status"].is_u64() && (result["result"] == "created" || result["error"]["type"].is_string()), "{item}");
        }
    }
}
