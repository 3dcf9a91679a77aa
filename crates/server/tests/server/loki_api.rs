//! Loki's HTTP API: calls as Grafana's Loki data source makes them, from the test button over the query builder, lines
//! with their histogram and panels to the log exploration; and live tails.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Response, encode, request};
use crate::process::Server;

const GRAFANA: [(&str, &str); 5] = [
    ("user-agent", "Grafana/12.1.0"),
    ("x-grafana-org-id", "1"),
    ("x-query-tags", "Source=grafana-lokiexplore-app"),
    ("x-loki-response-encoding-flags", "categorize-labels"),
    ("accept-encoding", "identity"),
];

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const MINUTE: i64 = 60_000_000_000;

/// Ten minutes of two services, six lines a minute each; the end of it, Unix nanoseconds.
fn fill(server: &Server) -> i64 {
    let end = i64::try_from(server.now()).unwrap() / MINUTE * MINUTE;
    let line = |k: i64, service: &str| {
        let level = if k % 6 == 0 { "error" } else { "info" };
        let message = if service == "shop" {
            format!("GET /orders/{k} took={k}ms status={}", 200 + k % 2 * 300)
        } else {
            format!("{{\"user\":{{\"id\":{k}}},\"ok\":true}}")
        };
        let mut line = json!({
            "time": (end - 10 * MINUTE + k * MINUTE / 6 + 1_000_000).to_string(), "level": level, "msg": message, "service": service, "env": "prod",
            "http.route": "/orders", "took_ms": k,
        });
        if k == 7 {
            line["trace_id"] = json!(TRACE);
        }
        line.to_string()
    };
    let lines: Vec<String> = (0..60).flat_map(|k| [line(k, "shop"), line(k, "mail")]).collect();
    let answer = server.post("/v1/logs/json", &[("content-type", "application/x-ndjson")], lines.join("\n").as_bytes()).expect(200);
    assert_eq!(answer.json()["rejected"], json!([]));
    end
}

struct Loki<'s> {
    server: &'s Server,
    end: i64,
}

impl Loki<'_> {
    fn call(&self, path: &str, parameters: &[(&str, &str)]) -> Response {
        let query: Vec<String> = parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        request(&self.server.http, "GET", &format!("/loki/api/v1/{path}?{}", query.join("&")), &GRAFANA, b"").unwrap()
    }

    /// With the range of ten minutes.
    #[track_caller]
    fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let (start, end) = ((self.end - 10 * MINUTE).to_string(), self.end.to_string());
        let all = [parameters, &[("start", start.as_str()), ("end", end.as_str())]].concat();
        self.call(path, &all).expect(200).json()
    }

    #[track_caller]
    fn vector(&self, query: &str) -> Value {
        let answer = self.call("query", &[("query", query), ("time", &self.end.to_string())]).expect(200).json();
        assert_eq!(answer["data"]["resultType"], "vector", "{answer}");
        let series = answer["data"]["result"].as_array().unwrap().iter().map(|s| (s["metric"].clone(), s["value"][1].clone()));
        let mut series: Vec<Value> = series.map(|(metric, value)| json!([metric, value])).collect();
        series.sort_by_key(Value::to_string);
        json!(series)
    }
}

#[test]
fn the_test_button_and_the_query_builder() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let end = fill(&server);
    let loki = Loki { server: &server, end };
    // The test button, as of version 10 and later.
    let sum =
        loki.call("query", &[("query", "vector(1)+vector(1)"), ("time", "4000000000"), ("limit", "1"), ("direction", "backward")]).expect(200).json();
    assert_eq!(sum["data"]["resultType"], "vector");
    assert_eq!(sum["data"]["result"], json!([{"metric": {}, "value": [4_000_000_000u64, "2"]}]));
    assert_eq!(server.get("/ready").expect(200).text(), "ready\n");
    let version = loki.get("status/buildinfo", &[])["version"].as_str().unwrap().to_owned();
    assert!(version.starts_with("3."), "{version}");
    let labels = loki.get("labels", &[]);
    for name in ["service_name", "deployment_environment_name"] {
        assert!(labels["data"].as_array().unwrap().contains(&json!(name)), "{labels}");
    }
    assert_eq!(loki.get("label/service_name/values", &[])["data"], json!(["mail", "shop"]));
    assert_eq!(loki.get("label/service_name/values", &[("query", "{service_name=~\"s.*\"}")])["data"], json!(["shop"]));
    let series = loki.get("series", &[("match[]", "{service_name=\"shop\"}")]);
    assert_eq!(series["data"].as_array().unwrap().len(), 1, "{series}");
    assert_eq!(series["data"][0]["service_name"], "shop");
    let stats = loki.get("index/stats", &[("query", "{service_name=\"shop\"}")]);
    assert_eq!((stats["streams"].as_u64(), stats["entries"].as_u64()), (Some(1), Some(60)), "{stats}");
    let formatted = loki.get("format_query", &[("query", "sum(rate({service_name=\"shop\"}[5m]))by(x)")]);
    assert_eq!(formatted["data"], "sum by (x) (rate({service_name=\"shop\"} [5m]))");
}

#[test]
fn lines_with_their_histogram() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let end = fill(&server);
    let loki = Loki { server: &server, end };
    for flushed in [false, true] {
        if flushed {
            server.post("/v1/admin/flush", &[("authorization", &format!("Bearer {}", server.key()))], b"").expect(200);
        }
        let query = "{service_name=\"shop\"} |= \"GET\" | pattern `<method> <path> <_>` | method=\"GET\"";
        let answer = loki.get("query_range", &[("query", query), ("limit", "5"), ("direction", "backward"), ("step", "2000ms")]);
        let data = &answer["data"];
        assert_eq!((data["resultType"].as_str(), &data["encodingFlags"]), (Some("streams"), &json!(["categorize-labels"])));
        assert_eq!(data["result"].as_array().unwrap().len(), 1, "{data}");
        assert_eq!(data["result"][0]["stream"]["service_name"], "shop");
        let values = data["result"][0]["values"].as_array().unwrap();
        assert_eq!(values.len(), 5);
        assert_eq!(values[0][0], (end - MINUTE / 6 + 1_000_000).to_string());
        assert_eq!(values[0][1], "GET /orders/59 took=59ms status=500");
        assert_eq!(values[0][2]["parsed"], json!({"method": "GET", "path": "/orders/59"}));
        assert_eq!(values[0][2]["structuredMetadata"]["detected_level"], "info", "{}", values[0]);
        assert_eq!(values[0][2]["structuredMetadata"]["http_route"], "/orders", "{}", values[0]);
        assert!(data["stats"]["summary"]["totalLinesProcessed"].as_u64().unwrap() > 0, "{data}");
        // Oldest first, without the flag: all labels make the stream.
        let query = encode(&format!("{{service_name=\"shop\"}} | trace_id=\"{TRACE}\""));
        let plain =
            server.get(&format!("/loki/api/v1/query_range?query={query}&start={}&end={end}&direction=FORWARD", end - 10 * MINUTE)).expect(200).json();
        let result = plain["data"]["result"].as_array().unwrap();
        assert_eq!((result.len(), &result[0]["stream"]["trace_id"]), (1, &json!(TRACE)), "{plain}");
        assert_eq!(result[0]["values"][0][1], "GET /orders/7 took=7ms status=500");
        // The histogram above the lines.
        let volume = "sum by (level, detected_level) (count_over_time({service_name=\"shop\"} | drop __error__ [1m]))";
        let answer = loki.get("query_range", &[("query", volume), ("step", "60000ms")]);
        let series = answer["data"]["result"].as_array().unwrap();
        let levels: Vec<&Value> = series.iter().map(|s| &s["metric"]["detected_level"]).collect();
        assert_eq!(levels, ["error", "info"], "{answer}");
        let errors = series[0]["values"].as_array().unwrap();
        assert_eq!((errors.len(), &errors[0]), (10, &json!([(end / MINUTE - 9) * 60, "1"])), "{errors:?}");
        // Panels.
        assert_eq!(
            loki.vector("sum by (service_name) (count_over_time({service_name=~\".+\"}[10m]))"),
            json!([[{"service_name": "mail"}, "60"], [{"service_name": "shop"}, "60"]])
        );
        assert_eq!(
            loki.vector("sum by (severity_text) (count_over_time({service_name=\"mail\"}[10m]))"),
            json!([[{"severity_text": "ERROR"}, "10"], [{"severity_text": "INFO"}, "50"]])
        );
        assert_eq!(loki.vector("sum(count_over_time({service_name=\"shop\"} |~ \"orders/5[0-9] \" [10m]))"), json!([[{}, "10"]]));
        assert_eq!(
            loki.vector("max by (http_route) (max_over_time({service_name=\"shop\"} | took_ms!=\"\" | unwrap took_ms [10m]))"),
            json!([[{"http_route": "/orders"}, "59"]])
        );
        assert_eq!(
            loki.vector("sum by (status) (count_over_time({service_name=\"shop\"} | logfmt | __error__=\"\" [10m]))"),
            json!([[{"status": "200"}, "30"], [{"status": "500"}, "30"]])
        );
        assert_eq!(loki.vector("sum(count_over_time({service_name=\"mail\"} | json | user_id < 10 [10m]))"), json!([[{}, "10"]]));
        assert_eq!(
            loki.vector("quantile_over_time(0.5, {service_name=\"shop\"} | logfmt | unwrap duration(took) [10m]) by (service_name)"),
            json!([[{"service_name": "shop"}, "0.0295"]])
        );
    }
}

#[test]
fn the_log_exploration() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let end = fill(&server);
    let loki = Loki { server: &server, end };
    let volume = loki.get("index/volume", &[("query", "{service_name=~\".+\"}"), ("targetLabels", "service_name"), ("limit", "10")]);
    assert_eq!(volume["data"]["result"].as_array().unwrap().len(), 2, "{volume}");
    assert_eq!(volume["data"]["result"][0]["metric"], json!({"service_name": "shop"}));
    let range = loki.get("index/volume_range", &[("query", "{service_name=\"shop\"}"), ("step", "60")]);
    assert_eq!(range["data"]["result"][0]["values"].as_array().unwrap().len(), 10, "{range}");
    let fields = loki.get("detected_fields", &[("query", "{service_name=~\"mail|shop\"}"), ("line_limit", "200")]);
    let field = |name: &str| {
        fields["fields"].as_array().unwrap().iter().find(|f| f["label"] == name).unwrap_or_else(|| panic!("{name} is not in {fields}")).clone()
    };
    assert_eq!((&field("user_id")["type"], &field("user_id")["parsers"]), (&json!("int"), &json!(["json"])));
    assert_eq!((&field("took")["type"], &field("took")["parsers"]), (&json!("duration"), &json!(["logfmt"])));
    assert_eq!(field("http_route")["parsers"], json!(null));
    let values = loki.get("detected_field/status/values", &[("query", "{service_name=\"shop\"}")]);
    assert_eq!(values["values"], json!(["200", "500"]));
    let labels = loki.get("detected_labels", &[]);
    assert!(labels["detectedLabels"].as_array().unwrap().contains(&json!({"label": "service_name", "cardinality": 2})), "{labels}");
    let patterns = loki.get("patterns", &[("query", "{service_name=\"shop\"}"), ("step", "60")]);
    assert_eq!(patterns["data"][0]["pattern"], "GET <_> took=<_> status=<_>", "{patterns}");
    let counted: u64 =
        patterns["data"].as_array().unwrap().iter().flat_map(|p| p["samples"].as_array().unwrap()).map(|s| s[1].as_u64().unwrap()).sum();
    assert_eq!(counted, 60, "{patterns}");
}

#[test]
fn what_is_wrong_is_told_as_loki_tells_it() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let end = fill(&server);
    let loki = Loki { server: &server, end };
    for (path, query, wanted) in [
        ("query_range", "{a=}", "parse error at line 1, col 4: syntax error: unexpected }, expecting STRING"),
        ("query", "{a=\"b\"}", "log queries are not supported as an instant query type"),
        ("query", "sum_over_time({a=\"b\"}[1m])", "invalid aggregation sum_over_time without unwrap"),
        ("query", "count_over_time({service_name=\"shop\"} | json [10m])", "pipeline error: 'JSONParserErr'"),
        ("tail", "rate({a=\"b\"}[1m])", ""),
    ] {
        let answer = loki.call(path, &[("query", query), ("time", &end.to_string())]).expect(400);
        assert!(answer.text().contains(wanted), "{}", answer.text());
        assert!(answer.header("content-type").starts_with("text/plain"));
    }
    let many = loki.call("query_range", &[("query", "{a=\"b\"}"), ("limit", "5001")]).expect(400);
    assert!(many.text().contains("max entries limit per query exceeded"), "{}", many.text());
    // A form, as for a query too long for a URL; and nothing but what is there is served below the prefix.
    let form = format!("query={}&start={}&end={end}", encode("{service_name=\"shop\"}"), end - MINUTE);
    let answer = server.post("/loki/api/v1/query_range", &[("content-type", "application/x-www-form-urlencoded")], form.as_bytes()).expect(200);
    assert_eq!(answer.json()["data"]["result"][0]["stream"]["service_name"], "shop");
    server.get("/loki/api/v1/nothing").expect(404);
}

/// A WebSocket, as much of it as a reader needs.
struct Socket(TcpStream);

impl Socket {
    fn open(server: &Server, path: &str) -> Self {
        let mut stream = TcpStream::connect(&server.http).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.http
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        Self(stream)
    }

    /// The next message of text.
    fn next(&mut self) -> Value {
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).unwrap();
            let mut length = u64::from(head[1] & 0x7f);
            if length >= 126 {
                let mut more = vec![0; if length == 126 { 2 } else { 8 }];
                self.0.read_exact(&mut more).unwrap();
                length = more.iter().fold(0, |n, b| n << 8 | u64::from(*b));
            }
            let mut body = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut body).unwrap();
            if head[0] & 0x0f == 1 {
                return serde_json::from_slice(&body).unwrap();
            }
        }
    }
}

fn say(server: &Server, service: &str, message: &str) {
    let line = json!({"msg": message, "level": "error", "service": service}).to_string();
    server.post("/v1/logs/json", &[("content-type", "application/x-ndjson")], line.as_bytes()).expect(200);
}

#[test]
fn a_tail_shows_lines_within_a_second() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    say(&server, "shop", "before");
    let mut socket = Socket::open(&server, &format!("/loki/api/v1/tail?query={}&limit=10", encode("{service_name=\"shop\"} |= \"e\"")));
    assert_eq!(socket.next()["streams"][0]["values"][0][1], "before");
    say(&server, "mail", "else");
    #[allow(clippy::disallowed_methods, reason = "how late a line is, is what is tested")]
    let started = Instant::now();
    say(&server, "shop", "here");
    let message = socket.next();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(message["streams"][0]["values"][0][1], "here", "{message}");
    assert_eq!(message["streams"].as_array().unwrap().len(), 1, "{message}");
    assert!(message.get("dropped_entries").is_none());
}

#[test]
fn a_slow_reader_is_told_what_was_skipped() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let mut stream = TcpStream::connect(&server.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(format!("GET /v1/logs/tail?q=level:error HTTP/1.1\r\nhost: {}\r\n\r\n", server.http).as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut next = |wanted: &str| loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream ended");
        if line.trim() == format!("event: {wanted}") {
            let mut data = String::new();
            reader.read_line(&mut data).unwrap();
            return serde_json::from_str::<Value>(data.trim().trim_start_matches("data: ")).unwrap();
        }
    };
    // Its head tells that it watches.
    say(&server, "shop", "first");
    assert_eq!(next("rows")[0]["body"], "first");
    // Nobody reads while far more comes than waits for a reader: what the socket's buffers and the queue hold is seen,
    // the rest is counted.
    let line = json!({"level": "error", "service": "shop", "msg": "x".repeat(64 << 10)}).to_string();
    let body = vec![line; 64].join("\n");
    for _ in 0..16 {
        server.post("/v1/logs/json", &[("content-type", "application/x-ndjson")], body.as_bytes()).expect(200);
    }
    assert!(next("skipped")["rows"].as_u64().unwrap() > 0);
}
