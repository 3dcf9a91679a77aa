//! Prometheus' HTTP API: every answer has the form that Prometheus' own description states, and every call of
//! Grafana's data source is answered as Prometheus answers it.

#[path = "schema.rs"]
mod schema;

use std::collections::BTreeSet;
use std::fs;

use prost::Message;
use serde_json::json;
use tempfile::TempDir;

use crate::http::{Response, encode, request};
use crate::process::{Server, eventually, skopos};
use crate::telemetry::PROTOBUF;
use crate::write_request::{Exemplar, Label, Metadata, SNAPPY, Sample, TimeSeries, VERSION, WriteRequest, labels};
use schema::Document;

fn push(server: &Server, message: &WriteRequest) {
    let body = snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap();
    server.post("/api/v1/write", &[PROTOBUF, SNAPPY, VERSION], &body).expect(204);
}

/// An hour of requests of four instances, with an exemplar each; the moment of the last sample, Unix seconds.
fn fill(server: &Server) -> i64 {
    let now = i64::try_from(server.now() / 1_000_000_000).unwrap();
    let timeseries = (0..4)
        .map(|i| {
            let instance = format!("10.0.0.{i}:8080");
            TimeSeries {
                labels: labels(&[("__name__", "http_requests_total"), ("instance", &instance), ("job", "orders"), ("status", "200")]),
                samples: (0..=240).map(|k| Sample { value: f64::from(k * (i + 1)), timestamp: (now - 3_600 + i64::from(k) * 15) * 1_000 }).collect(),
                exemplars: vec![Exemplar {
                    labels: labels(&[("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736")]),
                    value: 1.0,
                    timestamp: (now - 60) * 1_000,
                }],
            }
        })
        .collect();
    let metadata = vec![Metadata { kind: 1, family: "http_requests_total".into(), help: "Requests answered.".into() }];
    push(server, &WriteRequest { timeseries, metadata });
    now
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

const RULES: &str = "
groups:
- name: alerts
  interval: 1s
  rules:
  - {alert: Always, expr: vector(1), labels: {severity: ticket}, annotations: {summary: always}}
  - {alert: Never, expr: vector(1) > 2, for: 5m, keep_firing_for: 1m, labels: {severity: page}}
- name: recorded
  interval: 1s
  rules:
  - {record: 'job:http_requests:rate5m', expr: 'sum by (job) (rate(http_requests_total[5m]))', labels: {kind: rate}}
";

/// A server with rules and a target of its own.
fn start(folder: &TempDir) -> Server {
    let config = folder.path().join("skopos.yaml");
    fs::write(folder.path().join("rules.yml"), RULES).unwrap();
    let text = "rule_files: [rules.yml]\nscrape:\n- {job: closed, targets: ['127.0.0.1:1'], interval_seconds: 1, labels: {team: x}}\n";
    fs::write(&config, text).unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--config", config.to_str().unwrap()]);
    eventually("rules are evaluated and a target was asked", || {
        let alerts = server.get("/api/v1/alerts").expect(200).json();
        let targets = server.get("/api/v1/targets").expect(200).json();
        (alerts["data"]["alerts"] != json!([]) && targets["data"]["activeTargets"] != json!([])).then_some(())
    });
    server
}

fn call(server: &Server, method: &str, path: &str, query: &str) -> Response {
    match method {
        "get" => server.get(&format!("/api/v1{path}?{query}")),
        "post" => server.post(&format!("/api/v1{path}"), &[FORM], query.as_bytes()),
        _ => request(&server.http, "PUT", &format!("/api/v1{path}?{query}"), &[("authorization", &format!("Bearer {}", server.key()))], b"").unwrap(),
    }
}

/// Parts of the description that this server has not: search is an experiment that Prometheus has switched off, and the
/// other two describe what only Prometheus has. Writing is tested where it is at home.
const LEFT_OUT: [&str; 8] = [
    "/search/metric_names",
    "/search/label_names",
    "/search/label_values",
    "/targets/relabel_steps",
    "/status/self_metrics",
    "/read",
    "/write",
    "/otlp/v1/metrics",
];

#[test]
fn every_answer_has_the_form_prometheus_describes() {
    let Some(file) = skopos_testkit::shared("conformance/prometheus-api-openapi/openapi_3.1_golden.yaml") else { return };
    let document = Document::read(&file);
    let folder = TempDir::new().unwrap();
    let server = start(&folder);
    let now = fill(&server);
    let range = format!("start={}&end={now}", now - 3_600);
    let total = encode("http_requests_total");
    let rate = encode("sum by (job) (rate(http_requests_total[5m]))");
    // Good calls of each operation: path as described, path as called, parameters.
    let calls: Vec<(&str, &str, String)> = vec![
        ("/query", "/query", format!("query={total}&time={now}")),
        ("/query", "/query", format!("query={}&time={now}&stats=all&timeout=10s&lookback_delta=1m&limit=2", encode("http_requests_total[1m]"))),
        ("/query", "/query", "query=1".to_owned()),
        ("/query", "/query", "query=absent(nothing)%20and%20vector(NaN)".to_owned()),
        ("/query_range", "/query_range", format!("query={rate}&{range}&step=60&stats=1&limit=1")),
        ("/query_range", "/query_range", format!("query=1&{range}&step=1m")),
        ("/query_exemplars", "/query_exemplars", format!("query={rate}&{range}")),
        ("/format_query", "/format_query", format!("query={rate}")),
        ("/parse_query", "/parse_query", format!("query={rate}")),
        ("/labels", "/labels", format!("{range}&match[]={total}&limit=2")),
        ("/labels", "/labels", String::new()),
        ("/label/{name}/values", "/label/job/values", format!("{range}&match[]={total}&limit=1")),
        ("/label/{name}/values", "/label/__name__/values", String::new()),
        ("/series", "/series", format!("{range}&match[]={total}&limit=2")),
        ("/metadata", "/metadata", "limit=10&limit_per_metric=1".to_owned()),
        ("/metadata", "/metadata", "metric=http_requests_total".to_owned()),
        ("/scrape_pools", "/scrape_pools", String::new()),
        ("/scrape_pools/config", "/scrape_pools/config", "scrapePool=closed".to_owned()),
        ("/targets", "/targets", "state=active&scrapePool=closed".to_owned()),
        ("/targets/metadata", "/targets/metadata", format!("match_target={}&limit=5", encode("{job=\"closed\"}"))),
        ("/rules", "/rules", "type=alert&rule_name[]=Always&exclude_alerts=true".to_owned()),
        ("/rules", "/rules", "group_limit=1".to_owned()),
        ("/rules", "/rules", String::new()),
        ("/alerts", "/alerts", String::new()),
        ("/alertmanagers", "/alertmanagers", String::new()),
        ("/status/config", "/status/config", String::new()),
        ("/status/runtimeinfo", "/status/runtimeinfo", String::new()),
        ("/status/buildinfo", "/status/buildinfo", String::new()),
        ("/status/flags", "/status/flags", String::new()),
        ("/status/tsdb", "/status/tsdb", "limit=3".to_owned()),
        ("/status/tsdb/blocks", "/status/tsdb/blocks", String::new()),
        ("/status/walreplay", "/status/walreplay", String::new()),
        ("/notifications", "/notifications", String::new()),
        ("/features", "/features", String::new()),
    ];
    let admin = ["/admin/tsdb/delete_series", "/admin/tsdb/clean_tombstones", "/admin/tsdb/snapshot"];
    let mut open: BTreeSet<(String, String)> = document.operations().into_iter().filter(|(path, _)| !LEFT_OUT.contains(&path.as_str())).collect();
    let mut faults = Vec::new();
    for (described, path, query) in &calls {
        for method in ["get", "post"] {
            let Some(operation) = document.operation(described, method) else { continue };
            open.remove(&((*described).to_owned(), method.to_owned()));
            let answer = call(&server, method, path, query).expect(200).json();
            faults.extend(document.faults(&operation["responses"]["200"], &answer).into_iter().map(|f| format!("{method} {path}?{query}: {f}")));
        }
    }
    for path in admin {
        for method in ["put", "post"] {
            open.remove(&(path.to_owned(), method.to_owned()));
            let key = format!("Bearer {}", server.key());
            let answer = request(&server.http, &method.to_uppercase(), &format!("/api/v1{path}"), &[("authorization", &key)], b"").unwrap();
            let error = answer.expect(503).json();
            assert_eq!((&error["errorType"], &error["error"]), (&json!("unavailable"), &json!("admin APIs disabled")), "{path}");
        }
    }
    assert!(open.is_empty(), "not called: {open:?}");
    // Errors: what is wrong, the status, the kind of error, a word of the message.
    let upside_down = format!("start={now}&end={}", now - 60);
    for (path, query, status, kind, word) in [
        ("/query", "query=up%20%2B", 400, "bad_data", "parse error"),
        ("/query", "", 400, "bad_data", "no expression found"),
        ("/query", "query=up&time=soon", 400, "bad_data", "cannot parse \"soon\" to a valid timestamp"),
        ("/query", "query=up&timeout=soon", 400, "bad_data", "cannot parse \"soon\" to a valid duration"),
        ("/query", "query=up&limit=-1", 400, "bad_data", "limit must be non-negative"),
        ("/query", "query=http_requests_total%20*%20on(job)%20http_requests_total", 422, "execution", "many-to-many"),
        ("/query_range", &format!("query=up&{range}&step=0"), 400, "bad_data", "zero or negative query resolution step"),
        ("/query_range", &format!("query=up&{range}&step=0.1"), 400, "bad_data", "exceeded maximum resolution of 11,000 points"),
        ("/query_range", &format!("query=up&{upside_down}&step=15"), 400, "bad_data", "end timestamp must not be before start time"),
        ("/query_range", "query=up&end=5&step=1", 400, "bad_data", "start"),
        ("/query_exemplars", &format!("query=up&{upside_down}"), 400, "bad_data", "end timestamp"),
        ("/series", "", 400, "bad_data", "no match[] parameter provided"),
        ("/series", "match[]=%7Bjob%3D~%22.*%22%7D", 400, "bad_data", "at least one non-empty matcher"),
        ("/labels", "match[]=%7B", 400, "bad_data", "match[]"),
        ("/metadata", "limit=many", 400, "bad_data", "limit must be a number"),
        ("/rules", "type=other", 400, "bad_data", "not supported value"),
        ("/rules", "group_next_token=x", 400, "bad_data", "group_limit needs to be present"),
        ("/rules", "group_limit=1&group_next_token=x", 400, "bad_data", "were rule groups changed"),
        ("/rules", "group_limit=0", 400, "bad_data", "greater than 0"),
        ("/status/tsdb", "limit=0", 400, "bad_data", "positive"),
        ("/scrape_pools/config", "scrapePool=none", 404, "not_found", "none"),
    ] {
        let operation = document.operation(path, "get").unwrap_or_else(|| panic!("{path} is described"));
        let answer = call(&server, "get", path, query);
        let (got, error) = (answer.status, answer.json());
        let word = word.replace("11,000", "11000");
        assert!(
            got == status && error["errorType"] == kind && error["error"].as_str().is_some_and(|m| m.contains(&word)),
            "{path}?{query}: {got} {error}"
        );
        faults.extend(document.faults(&operation["responses"]["default"], &error).into_iter().map(|f| format!("{path}?{query}: {f}")));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// What Grafana's Prometheus data source sends, from the test button to an alert list.
#[test]
fn grafana_is_answered() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder);
    let now = fill(&server);
    let range = format!("start={}&end={now}", now - 3_600);
    let data = |answer: Response| {
        let json = answer.expect(200).json();
        assert_eq!(json["status"], "success");
        json["data"].clone()
    };
    // The test button: which Prometheus, and whether it computes.
    let build = data(server.get("/api/v1/status/buildinfo"));
    assert!(build["version"].as_str().unwrap().starts_with("3.") && build.get("application").is_none() && build.get("features").is_none(), "{build}");
    let sum = data(server.post("/api/v1/query", &[FORM], format!("query=1%2B1&time={now}").as_bytes()));
    assert_eq!((&sum["resultType"], &sum["result"]), (&json!("scalar"), &json!([now, "2"])));
    for path in ["/-/healthy", "/-/ready"] {
        server.get(path).expect(200);
    }
    // Metric names, labels and values of the query builder.
    let names = data(server.get(&format!("/api/v1/label/__name__/values?{range}&limit=40000")));
    assert!(names.as_array().unwrap().contains(&json!("http_requests_total")), "{names}");
    let labels = data(server.post("/api/v1/labels", &[FORM], format!("{range}&match%5B%5D=http_requests_total&limit=40000").as_bytes()));
    assert_eq!(labels, json!(["__name__", "instance", "job", "status"]));
    let matched = encode("{__name__=\"http_requests_total\",job=\"orders\"}");
    let values = data(server.get(&format!("/api/v1/label/instance/values?{range}&match%5B%5D={matched}")));
    assert_eq!(values.as_array().map(Vec::len), Some(4));
    let series = data(server.post("/api/v1/series", &[FORM], format!("{range}&match%5B%5D={matched}").as_bytes()));
    assert_eq!(series[0]["__name__"], "http_requests_total");
    let cut = server.get(&format!("/api/v1/series?{range}&match%5B%5D={matched}&limit=2")).expect(200).json();
    assert_eq!((cut["data"].as_array().map(Vec::len), &cut["warnings"]), (Some(2), &json!(["results truncated due to limit"])));
    let metadata = data(server.get("/api/v1/metadata?limit=5000"));
    assert_eq!(metadata["http_requests_total"], json!([{"type": "counter", "help": "Requests answered.", "unit": ""}]));
    // A panel: range query as a form, compressed; an instant one; exemplars.
    let query = encode("sum by (instance) (rate(http_requests_total[5m]))");
    let form = format!("query={query}&{range}&step=15");
    let plain = server.post("/api/v1/query_range", &[FORM], form.as_bytes()).expect(200);
    let packed = server.post("/api/v1/query_range", &[FORM, ("accept-encoding", "gzip, deflate")], form.as_bytes()).expect(200);
    assert_eq!((packed.header("content-encoding"), packed.header("content-type")), ("gzip", "application/json"));
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed.body.as_slice()), &mut unpacked).unwrap();
    assert!(unpacked == plain.body && packed.body.len() < plain.body.len() / 2);
    assert_eq!(plain.json()["data"]["result"].as_array().map(Vec::len), Some(4));
    let exemplars = data(server.post("/api/v1/query_exemplars", &[FORM], form.as_bytes()));
    assert_eq!(exemplars[0]["exemplars"][0]["labels"]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    // The query editor.
    let tree = data(server.post("/api/v1/parse_query", &[FORM], format!("query={query}").as_bytes()));
    assert_eq!((&tree["type"], &tree["expr"]["func"]["name"]), (&json!("aggregation"), &json!("rate")));
    let wrong = server.get("/api/v1/query?query=sum(up").expect(400);
    assert!(wrong.json()["error"].as_str().unwrap().contains("1:7: parse error"), "{}", wrong.text());
    assert_eq!(wrong.header("x-skopos-position"), "6-6");
    // Alert lists: Prometheus' rules, group by group.
    let rules = data(server.get("/api/v1/rules"));
    let group = &rules["groups"][0];
    assert_eq!((&group["name"], &group["rules"][0]["state"]), (&json!("alerts"), &json!("firing")), "{rules}");
    assert_eq!((&group["rules"][0]["alerts"][0]["value"], &group["rules"][1]["keepFiringFor"]), (&json!("1e+00"), &json!(60.0)));
    let page = data(server.get("/api/v1/rules?group_limit=1"));
    assert_eq!(page["groups"].as_array().map(Vec::len), Some(1));
    let rest = data(server.get(&format!("/api/v1/rules?group_limit=1&group_next_token={}", page["groupNextToken"].as_str().unwrap())));
    assert_eq!((&rest["groups"][0]["name"], rest.get("groupNextToken")), (&json!("recorded"), None));
    let of = |query: &str| -> Vec<String> {
        let data = data(server.get(&format!("/api/v1/rules?{query}")));
        let rules = data["groups"].as_array().unwrap().iter().flat_map(|g| g["rules"].as_array().unwrap().clone());
        rules.map(|r| r["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of("type=record"), ["job:http_requests:rate5m"]);
    assert_eq!(of("rule_name[]=Never&rule_name[]=Other"), ["Never"]);
    assert_eq!(of("rule_group[]=recorded"), ["job:http_requests:rate5m"]);
    assert_eq!(of(&format!("match[]={}", encode("{severity=\"ticket\"}"))), ["Always"]);
    assert_eq!(of("file[]=/none"), [""; 0]);
    let alerts = data(server.get("/api/v1/alerts"));
    assert_eq!(alerts["alerts"][0]["labels"]["alertname"], "Always");
}

/// A recorded series is what its rule says, and is there for the next question.
#[test]
fn recording_rules_write_their_series() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder);
    fill(&server);
    let recorded = eventually("a recorded value", || server.promql("job:http_requests:rate5m").first().cloned());
    assert_eq!(recorded["metric"], json!({"__name__": "job:http_requests:rate5m", "job": "orders", "kind": "rate"}));
    // 1 + 2 + 3 + 4 requests in 15 s.
    let value: f64 = recorded["value"][1].as_str().unwrap().parse().unwrap();
    assert!((value - 10.0 / 15.0).abs() < 0.05, "{value}");
}

#[test]
fn queries_say_what_they_cost_and_stop_at_their_limits() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder);
    let now = fill(&server);
    let query = format!("/api/v1/query?query={}&time={now}", encode("count_over_time(http_requests_total[10m])"));
    let without = server.get(&query).expect(200).json();
    assert_eq!(without["data"].get("stats"), None);
    let stats = server.get(&format!("{query}&stats=all")).expect(200).json()["data"]["stats"].clone();
    let samples = stats["samples"]["totalQueryableSamples"].as_u64().unwrap();
    assert!((160..=164).contains(&samples), "40 samples of each of four series: {stats}");
    assert_eq!((&stats["cost"]["series"], &stats["cost"]["samples"]), (&json!(4), &json!(samples)));
    assert!(stats["timings"]["execTotalTime"].as_f64().unwrap() >= stats["timings"]["evalTotalTime"].as_f64().unwrap(), "{stats}");
    // The description has two strings here; Prometheus itself writes the time as a number, as everywhere.
    let text = server.get("/api/v1/query?query=%22text%22&time=5").expect(200).json();
    assert_eq!(text["data"], json!({"resultType": "string", "result": [5, "text"]}));
    let cut = server.get(&format!("/api/v1/query?query=http_requests_total&time={now}&limit=3")).expect(200).json();
    assert_eq!((cut["data"]["result"].as_array().map(Vec::len), &cut["warnings"]), (Some(3), &json!(["results truncated due to limit"])));
    // Five minutes of look-back by default, one second when asked for.
    let at = now + 60;
    let found = |more: &str| {
        let answer = server.get(&format!("/api/v1/query?query=http_requests_total&time={at}{more}")).expect(200).json();
        answer["data"]["result"].as_array().unwrap().len()
    };
    assert_eq!((found(""), found("&lookback_delta=1s")), (4, 0));
    // A query of minutes ends at its time limit.
    let endless = format!("{}&timeout=20ms", endless(now));
    let late = server.post("/api/v1/query_range", &[FORM], endless.as_bytes()).expect(503).json();
    assert_eq!((&late["status"], &late["errorType"]), (&json!("error"), &json!("timeout")), "{late}");
}

/// The form of a query that runs for long: the medians of ten minutes, each second of three hours, of two hundred series.
fn endless(now: i64) -> String {
    let one = |i: usize| format!("label_replace(vector(time()), \"i\", \"{i}\", \"\", \"\")");
    let all: Vec<String> = (0..200).map(one).collect();
    let query = format!("sum(quantile_over_time(0.5, ({})[10m:1s]))", all.join(" or "));
    format!("query={}&start={}&end={now}&step=1", encode(&query), now - 10_800)
}

/// A client that goes away stops its query: the thread is free again long before the query would have ended.
#[test]
fn a_client_that_goes_away_stops_its_query() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let form = endless(i64::try_from(server.now() / 1_000_000_000).unwrap());
    let shows = |line: &str| server.get("/metrics").expect(200).text().lines().any(|l| l == line).then_some(());
    let mut stream = std::net::TcpStream::connect(&server.http).unwrap();
    let head = format!("POST /api/v1/query_range HTTP/1.1\r\nhost: {}\r\n{}: {}\r\n", server.http, FORM.0, FORM.1);
    std::io::Write::write_all(&mut stream, format!("{head}content-length: {}\r\n\r\n{form}", form.len()).as_bytes()).unwrap();
    eventually("the query runs", || shows("skopos_queries_running 1"));
    drop(stream);
    eventually("the query is stopped", || shows("skopos_queries_cancelled_total 1"));
    eventually("its thread is free", || shows("skopos_queries_running 0"));
}

const PAST: &str = "
groups:
- name: past
  interval: 30s
  rules:
  - {record: 'job:past:rate2m', expr: 'sum by (job) (rate(http_requests_total[2m]))'}
  - {alert: Busy, expr: 'job:past:rate2m > 0.5', for: 5m, labels: {severity: page}, annotations: {summary: '{{ $labels.job }} is busy'}}
";

#[test]
fn rules_are_tried_on_the_past_and_filled_in() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder);
    let now = fill(&server);
    let file = folder.path().join("past.yml");
    fs::write(&file, PAST).unwrap();
    let (file, url) = (file.display().to_string(), format!("http://{}", server.http));
    let key_file = folder.path().join("data/api-key").display().to_string();
    let (from, to) = ((now - 3_500).to_string(), (now - 60).to_string());
    let run = |what: &str, more: &[&str]| {
        let output = skopos(&[&["rules", what, &file, "--from", &from, "--to", &to, "--server", &url], more].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    let report: serde_json::Value = serde_json::from_str(&run("backtest", &["--json"])).unwrap();
    assert_eq!((&report["fired"], &report["pages"], &report["truncated"]), (&json!(1), &json!(1), &json!(false)), "{report}");
    let episode = &report["rules"][1]["episodes"][0];
    assert_eq!((&episode["labels"]["job"], &episode["annotations"]["summary"]), (&json!("orders"), &json!("orders is busy")));
    let at = |name: &str| episode[name].as_str().unwrap().parse::<i64>().unwrap() / 1_000_000_000;
    let waited = at("fired_at") - at("pending_at");
    assert!((300..=330).contains(&waited) && episode["ended_at"].is_null(), "{episode}");
    assert_eq!(episode["messages"][0]["status"], "firing");
    assert!(report["stats"]["samples"].as_u64().unwrap() > 0);
    let text = run("backtest", &[]);
    assert!(text.contains("Busy (past): 1 of 1 alerts fired") && text.contains("1 pending, 1 fired, 1 of them pages"), "{text}");
    // Nothing was stored by it; a backfill stores, and needs the key.
    let recorded = format!("/api/v1/query?query={}&time={}", encode("job:past:rate2m"), now - 600);
    assert_eq!(server.get(&recorded).expect(200).json()["data"]["result"], json!([]));
    let body = json!({"rules": PAST, "from": from, "to": to}).to_string();
    server.post("/v1/rules/backfill", &[("content-type", "application/json")], body.as_bytes()).expect(401);
    let text = run("backfill", &["--key-file", &key_file]);
    assert!(text.starts_with("past\tjob:past:rate2m\t11") && text.contains(" of 1 series"), "{text}");
    let found = server.get(&recorded).expect(200).json()["data"]["result"][0].clone();
    assert_eq!(found["metric"], json!({"__name__": "job:past:rate2m", "job": "orders"}));
    let value: f64 = found["value"][1].as_str().unwrap().parse().unwrap();
    assert!((value - 10.0 / 15.0).abs() < 0.01, "{value}");
    for (wrong, word) in [
        (json!({"rules": "groups: [{name: x, rules: [{alert: A, expr: 'up +'}]}]", "from": "-1h"}), "not PromQL"),
        (json!({"rules": PAST, "from": "now", "to": "-1h"}), "upside down"),
        (json!({"rules": PAST, "from": "soon"}), "from: "),
        (json!({"rules": "groups: []", "from": "-1h"}), "no rule"),
    ] {
        let answer = server.post("/v1/rules/backtest", &[("content-type", "application/json")], wrong.to_string().as_bytes()).expect(400).json();
        assert!(answer["error"]["message"].as_str().unwrap().contains(word), "{answer}");
    }
}

/// `prometheus.ReadResponse`, as far as it is looked at.
#[derive(Clone, PartialEq, Message)]
struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    results: Vec<QueryResult>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryResult {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadRequest {
    #[prost(message, repeated, tag = "1")]
    queries: Vec<ReadQuery>,
    #[prost(int32, repeated, tag = "2")]
    accepted: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadQuery {
    #[prost(int64, tag = "1")]
    start: i64,
    #[prost(int64, tag = "2")]
    end: i64,
    #[prost(message, repeated, tag = "3")]
    matchers: Vec<ReadMatcher>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadMatcher {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    value: String,
}

#[test]
fn remote_read_gives_samples_and_chunks() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder);
    let now = fill(&server);
    let ask = |accepted: Vec<i32>| {
        let matchers = vec![
            ReadMatcher { kind: 0, name: "__name__".into(), value: "http_requests_total".into() },
            ReadMatcher { kind: 2, name: "instance".into(), value: "10.0.0.[01]:.*".into() },
        ];
        let query = ReadQuery { start: (now - 600) * 1_000, end: now * 1_000, matchers };
        let message = ReadRequest { queries: vec![query], accepted }.encode_to_vec();
        let body = snap::raw::Encoder::new().compress_vec(&message).unwrap();
        server.post("/api/v1/read", &[PROTOBUF, ("content-encoding", "snappy")], &body).expect(200)
    };
    let answer = ask(vec![0]);
    assert_eq!((answer.header("content-type"), answer.header("content-encoding")), ("application/x-protobuf", "snappy"));
    let plain = snap::raw::Decoder::new().decompress_vec(&answer.body).unwrap();
    let read = ReadResponse::decode(plain.as_slice()).unwrap();
    let series = &read.results[0].timeseries;
    assert_eq!((read.results.len(), series.len(), series[0].samples.len()), (1, 2, 41));
    assert_eq!(series[1].labels[1], Label { name: "instance".into(), value: "10.0.0.1:8080".into() });
    assert_eq!(series[1].samples[40], Sample { value: 480.0, timestamp: now * 1_000 });
    let answer = ask(vec![1, 0]);
    assert_eq!(answer.header("content-type"), "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse");
    // Length and checksum of the first frame, then a message whose first field is a series.
    assert!(answer.body.len() > 50 && answer.body[5..].contains(&0x0a), "{} bytes", answer.body.len());
    let refused = |headers: &[(&str, &str)], body: &[u8]| server.post("/api/v1/read", headers, body).expect(400).json()["error"].to_string();
    assert!(refused(&[("content-encoding", "gzip")], b"x").contains("expected snappy"));
    assert!(refused(&[("content-encoding", "snappy")], b"no snappy").contains("no snappy block"));
    let garbage = snap::raw::Encoder::new().compress_vec(b"\xff\xff\xff").unwrap();
    assert!(refused(&[("content-encoding", "snappy")], &garbage).contains("ReadRequest"));
}
