//! Calls of the Prometheus data source as Grafana 11 and 12 make them: method, form, headers and parameters of each, from
//! the test button over the query builder and panels to alert lists.

use std::fs;

use prost::Message;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Response, encode, request};
use crate::process::{Server, eventually};
use crate::telemetry::PROTOBUF;
use crate::write_request::{Exemplar, Metadata, SNAPPY, Sample, TimeSeries, VERSION, WriteRequest, labels};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// What Grafana's backend adds to each request of a panel.
const GRAFANA: [(&str, &str); 9] = [
    ("user-agent", "Grafana/12.1.0"),
    ("x-grafana-org-id", "1"),
    ("x-grafana-user", "admin"),
    ("x-datasource-uid", "be1x2y3"),
    ("x-dashboard-uid", "d1"),
    ("x-panel-id", "2"),
    ("x-query-group-id", "0b1c2d3e"),
    ("fromalert", "false"),
    ("accept-encoding", "identity"),
];

const RULES: &str = "
groups:
- name: orders
  interval: 1s
  rules:
  - {alert: OrdersFail, expr: 'http_requests_total{status=\"500\"} > 0', labels: {severity: page}, annotations: {summary: 'orders fail'}}
  - {record: 'job:http_requests:sum', expr: 'sum by (job) (http_requests_total)'}
- name: other
  interval: 1s
  rules:
  - {alert: Quiet, expr: 'vector(0) > 1', labels: {severity: ticket}}
";

/// A server with an hour of three series, rules, and the moment of the last sample, Unix seconds.
fn start(folder: &TempDir) -> (Server, i64) {
    let config = folder.path().join("skopos.yaml");
    fs::write(folder.path().join("rules.yml"), RULES).unwrap();
    fs::write(&config, "rule_files: [rules.yml]\n").unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--config", config.to_str().unwrap()]);
    let now = i64::try_from(server.now() / 1_000_000_000).unwrap();
    let series = |pairs: &[(&str, &str)], each: f64| TimeSeries {
        labels: labels(pairs),
        samples: (0..=240).map(|k| Sample { value: f64::from(k) * each, timestamp: (now - 3_600 + i64::from(k) * 15) * 1_000 }).collect(),
        exemplars: vec![Exemplar { labels: labels(&[("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736")]), value: 1.0, timestamp: (now - 90) * 1_000 }],
    };
    let timeseries = vec![
        series(&[("__name__", "http_requests_total"), ("instance", "a:1"), ("job", "orders"), ("status", "200")], 3.0),
        series(&[("__name__", "http_requests_total"), ("instance", "a:1"), ("job", "orders"), ("status", "500")], 1.0),
        series(&[("__name__", "jvm.memory.used"), ("job", "orders"), ("memory.type", "heap")], 2.0),
    ];
    let metadata = vec![Metadata { kind: 1, family: "http_requests_total".into(), help: "Requests.".into() }];
    let body = snap::raw::Encoder::new().compress_vec(&WriteRequest { timeseries, metadata }.encode_to_vec()).unwrap();
    server.post("/api/v1/write", &[PROTOBUF, SNAPPY, VERSION], &body).expect(204);
    eventually("a recorded value", || (!server.promql("job:http_requests:sum").is_empty()).then_some(()));
    eventually("an alert", || (server.get("/api/v1/alerts").expect(200).json()["data"]["alerts"] != json!([])).then_some(()));
    (server, now)
}

/// What Grafana reads of an answer.
#[track_caller]
fn data(answer: Response) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("content-type").starts_with("application/json"), "{}", answer.header("content-type"));
    let json = answer.json();
    assert_eq!(json["status"], "success", "{json}");
    json["data"].clone()
}

struct Grafana<'s> {
    server: &'s Server,
}

impl Grafana<'_> {
    #[track_caller]
    fn get(&self, path: &str) -> Value {
        data(request(&self.server.http, "GET", path, &GRAFANA, b"").unwrap())
    }

    /// A form, as its setting *HTTP method* has it by default.
    #[track_caller]
    fn post(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let body: Vec<String> = form.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let headers = [&GRAFANA[..], &[FORM]].concat();
        data(request(&self.server.http, "POST", path, &headers, body.join("&").as_bytes()).unwrap())
    }
}

#[test]
fn the_test_button_and_what_it_finds_out() {
    let folder = TempDir::new().unwrap();
    let (server, now) = start(&folder);
    let grafana = Grafana { server: &server };
    let sum = grafana.post("/api/v1/query", &[("query", "1+1"), ("time", &format!("{now}.123"))]);
    assert_eq!(sum, json!({"resultType": "scalar", "result": [now as f64 + 0.123, "2"]}));
    // Which make and version: other makes say so in fields that must not be here.
    let build = grafana.get("/api/v1/status/buildinfo");
    let version: Vec<u32> = build["version"].as_str().unwrap().split('.').map(|part| part.parse().unwrap()).collect();
    assert!(version >= vec![2, 37, 0] && build.get("application").is_none() && build.get("features").is_none(), "{build}");
    assert!(grafana.get("/api/v1/status/config")["yaml"].as_str().unwrap().contains("rule_files"));
    assert!(grafana.get("/api/v1/status/flags").is_object() && grafana.get("/api/v1/status/tsdb")["seriesCountByMetricName"].is_array());
}

#[test]
fn panels_with_every_form_of_time_and_step() {
    let folder = TempDir::new().unwrap();
    let (server, now) = start(&folder);
    let grafana = Grafana { server: &server };
    let query = "sum by (status) (rate(http_requests_total{job=~\"orders\"}[1m]))";
    let (start, end) = ((now - 600).to_string(), now.to_string());
    let reference = grafana.post("/api/v1/query_range", &[("query", query), ("start", &start), ("end", &end), ("step", "15")]);
    let series = reference["result"].as_array().unwrap();
    assert_eq!((reference["resultType"].as_str(), series.len(), series[0]["values"].as_array().unwrap().len()), (Some("matrix"), 2, 41));
    assert_eq!(series[0]["values"][0][0], json!(now - 600));
    let stamp = |seconds: i64| jiff::Timestamp::from_second(seconds).unwrap().to_string();
    let as_floats = [format!("{start}.0"), format!("{end}.000")];
    let as_stamps = [stamp(now - 600), stamp(now)];
    for ([start, end], step) in [(&as_floats, "15.0"), (&as_stamps, "15s"), (&as_stamps, "15000ms")] {
        let same = grafana.post("/api/v1/query_range", &[("query", query), ("start", start), ("end", end), ("step", step)]);
        assert_eq!(same, reference, "{start} {step}");
        let form = format!("query={}&start={}&end={}&step={step}", encode(query), encode(start), encode(end));
        assert_eq!(grafana.get(&format!("/api/v1/query_range?{form}")), reference, "{start} {step}");
    }
    // Custom parameters of the data source's settings go along; those that mean nothing here are passed over.
    let more = [
        ("query", query),
        ("start", &start),
        ("end", &end),
        ("step", "15"),
        ("max_source_resolution", "5m"),
        ("partial_response", "true"),
        ("timeout", "30s"),
    ];
    assert_eq!(grafana.post("/api/v1/query_range", &more), reference);
    // The table and the stat panel.
    let instant = grafana.post("/api/v1/query", &[("query", query), ("time", &format!("{now}.5"))]);
    assert_eq!((&instant["resultType"], instant["result"][0]["value"][0].as_f64()), (&json!("vector"), Some(now as f64 + 0.5)));
    // Exemplars of a panel's expression, aggregated as it is.
    for (start, end) in [(start.clone(), end.clone()), (format!("{start}.25"), stamp(now))] {
        let found = grafana.post("/api/v1/query_exemplars", &[("query", query), ("start", &start), ("end", &end)]);
        assert_eq!(found.as_array().unwrap().len(), 2, "{found}");
        let exemplar = &found[0]["exemplars"][0];
        assert_eq!(exemplar["labels"], json!({"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}));
        assert_eq!((&exemplar["value"], exemplar["timestamp"].as_f64()), (&json!("1"), Some((now - 90) as f64)));
        assert_eq!(found[0]["seriesLabels"]["__name__"], "http_requests_total");
    }
    // A wrong expression is told with the words Grafana shows.
    let headers = [&GRAFANA[..], &[FORM]].concat();
    let wrong = request(&server.http, "POST", "/api/v1/query_range", &headers, b"query=sum(rate(&start=1&end=2&step=1").unwrap().expect(400).json();
    assert_eq!((&wrong["status"], &wrong["errorType"]), (&json!("error"), &json!("bad_data")));
    assert!(wrong["error"].as_str().unwrap().contains("parse error"), "{wrong}");
}

#[test]
fn the_query_builder() {
    let folder = TempDir::new().unwrap();
    let (server, now) = start(&folder);
    let grafana = Grafana { server: &server };
    // Times of the builder are rounded to whole minutes, which may lie ahead.
    let (start, end) = ((now - 3_600) / 60 * 60, (now + 180) / 60 * 60);
    let range = format!("start={start}&end={end}");
    let times = [("start", &*start.to_string()), ("end", &*end.to_string())];
    let values = |label: &str, selectors: &[&str], more: &str| {
        let matches: String = selectors.iter().map(|s| format!("&match[]={}", encode(s))).collect();
        grafana.get(&format!("/api/v1/label/{label}/values?{range}{matches}{more}"))
    };
    let names = values("__name__", &[], "&limit=40000");
    for name in ["http_requests_total", "jvm.memory.used", "job:http_requests:sum", "ALERTS"] {
        assert!(names.as_array().unwrap().contains(&json!(name)), "{name}: {names}");
    }
    // Typing in the metric's field.
    assert_eq!(values("__name__", &["{__name__=~\".*requests_t.*\"}"], "&limit=1000"), json!(["http_requests_total"]));
    assert_eq!(values("__name__", &["{job=\"orders\",status=\"500\",alertname=\"\"}"], ""), json!(["http_requests_total"]));
    assert_eq!(values("status", &["http_requests_total{job=\"orders\"}"], ""), json!(["200", "500"]));
    assert_eq!(values("status", &["{__name__=\"http_requests_total\",instance=~\"a.*|b\"}", "{__name__=\"nothing\"}"], ""), json!(["200", "500"]));
    assert_eq!(values("nothing", &[], ""), json!([]));
    let cut = server.get(&format!("/api/v1/label/status/values?{range}&limit=1")).expect(200).json();
    assert_eq!((&cut["data"], &cut["warnings"]), (&json!(["200"]), &json!(["results truncated due to limit"])));
    // Names with dots: quoted in selectors, escaped in paths.
    assert_eq!(values("U__memory_2e_type", &["{\"jvm.memory.used\"}"], ""), json!(["heap"]));
    assert_eq!(values("memory.type", &["{\"jvm.memory.used\",\"memory.type\"!=\"\"}"], ""), json!(["heap"]));
    // Label names of what is selected so far; as a form, and as GET where POST is switched off.
    let selector = "{__name__=\"http_requests_total\"}";
    let expected = json!(["__name__", "instance", "job", "status"]);
    let form = [&times[..], &[("match[]", selector), ("limit", "40000")]].concat();
    assert_eq!(grafana.post("/api/v1/labels", &form), expected);
    assert_eq!(grafana.get(&format!("/api/v1/labels?{range}&match[]={}", encode(selector))), expected);
    assert!(grafana.post("/api/v1/labels", &times).as_array().unwrap().contains(&json!("memory.type")));
    let series =
        grafana.post("/api/v1/series", &[&times[..], &[("match[]", selector), ("match[]", "{\"jvm.memory.used\"}"), ("limit", "40000")]].concat());
    assert_eq!(series.as_array().unwrap().len(), 3, "{series}");
    assert_eq!(series[2], json!({"__name__": "jvm.memory.used", "job": "orders", "memory.type": "heap"}));
    // The editor: help and types, formatted and parsed expressions.
    assert_eq!(grafana.get("/api/v1/metadata?limit=40000")["http_requests_total"][0], json!({"type": "counter", "help": "Requests.", "unit": ""}));
    assert_eq!(grafana.get("/api/v1/metadata?metric=http_requests_total").as_object().unwrap().len(), 1);
    assert_eq!(grafana.post("/api/v1/format_query", &[("query", "sum(rate(x[5m]))by(a)")]), json!("sum by (a) (rate(x[5m]))"));
    let tree = grafana.post("/api/v1/parse_query", &[("query", "sum by (a) (rate({\"jvm.memory.used\"}[5m]))")]);
    assert_eq!((&tree["type"], &tree["op"], &tree["grouping"]), (&json!("aggregation"), &json!("sum"), &json!(["a"])), "{tree}");
    assert_eq!((&tree["expr"]["type"], &tree["expr"]["args"][0]["type"]), (&json!("call"), &json!("matrixSelector")), "{tree}");
    // Variables of a dashboard: label_values, metrics, query_result.
    let of = grafana.post("/api/v1/query", &[("query", "count by (status) (http_requests_total)"), ("time", &now.to_string())]);
    assert_eq!(of["result"].as_array().unwrap().len(), 2);
}

#[test]
fn rules_and_alerts_of_the_data_source() {
    let folder = TempDir::new().unwrap();
    let (server, _) = start(&folder);
    let grafana = Grafana { server: &server };
    let rules = grafana.get("/api/v1/rules");
    let groups = rules["groups"].as_array().unwrap();
    let names: Vec<&str> = groups.iter().map(|g| g["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["orders", "other"]);
    for group in groups {
        for name in ["name", "file", "rules", "interval", "evaluationTime", "lastEvaluation"] {
            assert!(!group[name].is_null(), "{name}: {group}");
        }
    }
    let rule = &groups[0]["rules"][0];
    for name in ["type", "name", "query", "duration", "labels", "annotations", "alerts", "health", "state", "evaluationTime", "lastEvaluation"] {
        assert!(!rule[name].is_null(), "{name}: {rule}");
    }
    assert_eq!(
        (&rule["type"], &rule["state"], &rule["health"], &rule["labels"]["severity"]),
        (&json!("alerting"), &json!("firing"), &json!("ok"), &json!("page"))
    );
    let alert = &rule["alerts"][0];
    assert_eq!(
        (&alert["state"], &alert["annotations"]["summary"], &alert["labels"]["alertname"]),
        (&json!("firing"), &json!("orders fail"), &json!("OrdersFail"))
    );
    assert!(alert["activeAt"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok() && alert["value"] == "2.4e+02", "{alert}");
    // Its newer lists ask page by page, without alerts, and for one rule.
    let page = grafana.get("/api/v1/rules?group_limit=1&exclude_alerts=true");
    assert_eq!((page["groups"].as_array().map(Vec::len), &page["groups"][0]["rules"][0]["alerts"]), (Some(1), &json!([])), "{page}");
    let token = encode(page["groupNextToken"].as_str().unwrap());
    let next = grafana.get(&format!("/api/v1/rules?group_limit=1&group_next_token={token}"));
    assert_eq!((&next["groups"][0]["name"], next.get("groupNextToken")), (&json!("other"), None));
    let one = grafana.get("/api/v1/rules?type=record&rule_name[]=job:http_requests:sum&rule_group[]=orders");
    assert_eq!(one["groups"][0]["rules"][0]["type"], "recording", "{one}");
    let alerts = grafana.get("/api/v1/alerts");
    assert_eq!((alerts["alerts"].as_array().map(Vec::len), &alerts["alerts"][0]["labels"]["status"]), (Some(1), &json!("500")));
}

/// Grafana asks from its server. A page of another origin that asks from a browser, as a data source with *Browser*
/// access did before Grafana 11, is refused on purpose: it could be any page.
#[test]
fn browsers_on_other_pages_are_refused() {
    let folder = TempDir::new().unwrap();
    let (server, _) = start(&folder);
    let preflight =
        [("origin", "http://grafana.example"), ("access-control-request-method", "POST"), ("access-control-request-headers", "content-type")];
    let answer = request(&server.http, "OPTIONS", "/api/v1/query_range", &preflight, b"").unwrap();
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, ""), "{}", answer.text());
    let answer = request(&server.http, "POST", "/api/v1/query", &[("origin", "http://grafana.example"), FORM], b"query=1").unwrap();
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, ""), "{}", answer.text());
}
