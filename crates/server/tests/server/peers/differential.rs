//! The same remote-written bytes in a real Prometheus and in this server, and the same questions to both.
//!
//! Debian's Prometheus is 2.42 of February 2023. In what it answers otherwise for its age stands in `differences.yml`,
//! each with its reason; that list has to be exactly what is found.

#[path = "demo.rs"]
mod demo;
#[path = "templates.rs"]
mod templates;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use prost::Message;
use serde_json::Value;
use skopos_testkit::{Need, shared, skipped};
use tempfile::TempDir;

use super::prometheus::Prometheus;
use super::{beside, data, name_of};
use crate::http::{Response, encode, request};
use crate::process::Server;
use crate::telemetry::PROTOBUF;
use crate::write_request::{SNAPPY, VERSION};
use demo::START_MS;

/// What the list of differences is for.
const COMPARED_WITH: &str = "2.42";
/// Range queries: ten minutes near the end of the data, as the compliance tester asks.
const RANGE_END: i64 = START_MS / 1_000 + 6_700;
const RANGE_SECONDS: i64 = 600;
const STEP_SECONDS: i64 = 10;
/// Instant queries.
const INSTANT: i64 = RANGE_END - 140;
/// What sums in another order may differ by.
const TOLERANCE: f64 = 1e-9;

/// Two servers with the same data.
struct Pair {
    prometheus: Prometheus,
    skopos: Server,
    // After what uses it.
    _folder: TempDir,
}

impl Pair {
    fn start() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let prometheus = Prometheus::start(&folder.path().join("prometheus"), "scrape_configs: []\n", &["--web.enable-remote-write-receiver"])?;
        if !prometheus.version.starts_with(COMPARED_WITH) {
            let version = &prometheus.version;
            skipped(Need::Tools, &format!("Prometheus here is {version}, the list of differences is of {COMPARED_WITH}"));
            return None;
        }
        let skopos = Server::start(&folder.path().join("skopos"));
        for message in demo::requests() {
            let body = snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap();
            skopos.post("/api/v1/write", &[PROTOBUF, SNAPPY, VERSION], &body).expect(204);
            prometheus.request("POST", "/api/v1/write", &[PROTOBUF, SNAPPY, VERSION], &body).expect(204);
        }
        Some(Self { prometheus, skopos, _folder: folder })
    }

    /// Both answers to one question.
    fn ask(&self, path: &str) -> [Response; 2] {
        [&self.prometheus.address, &self.skopos.http]
            .map(|address| request(address, "GET", path, &[], b"").unwrap_or_else(|e| panic!("GET {address}{path}: {e}")))
    }
}

#[test]
fn compliance_queries_are_answered_as_prometheus_answers_them() {
    let Some(file) = shared("conformance/prometheus-compliance/promql/promql-test-queries.yml") else { return };
    let queries = templates::expanded(&file);
    assert!(queries.len() > 500, "{} queries from the templates", queries.len());
    let Some(pair) = Pair::start() else { return };
    let mut found = BTreeMap::new();
    let mut answered = 0;
    for query in &queries {
        let text = encode(query);
        let start = RANGE_END - RANGE_SECONDS;
        for (kind, path) in [
            ("range", format!("/api/v1/query_range?query={text}&start={start}&end={RANGE_END}&step={STEP_SECONDS}")),
            ("instant", format!("/api/v1/query?query={text}&time={INSTANT}")),
        ] {
            let [theirs, ours] = pair.ask(&path);
            answered += usize::from(theirs.status == 200 && !theirs.json()["data"]["result"].as_array().is_some_and(Vec::is_empty));
            if let Some(difference) = difference(&theirs, &ours) {
                found.insert(format!("{kind} {query}"), difference);
            }
        }
    }
    // A comparison of nothing with nothing would always hold.
    assert!(answered > queries.len(), "{answered} of {} queries have a result", queries.len() * 2);
    let explained = explained();
    let news: Vec<String> = found.iter().filter(|(query, _)| !explained.contains(*query)).map(|(query, how)| format!("{query}\n    {how}")).collect();
    let gone: Vec<&String> = explained.iter().filter(|query| !found.contains_key(*query)).collect();
    assert!(
        news.is_empty() && gone.is_empty(),
        "{} of {} answers differ; not explained in differences.yml:\n{}\nexplained there but not found:\n{gone:#?}",
        found.len(),
        queries.len() * 2,
        news.join("\n")
    );
}

/// What is known to differ: `kind query`.
fn explained() -> BTreeSet<String> {
    let text = fs::read_to_string(beside("differences.yml")).unwrap();
    let listed: BTreeMap<String, Vec<String>> = serde_saphyr::from_str(&text).expect("reasons, each with its queries");
    let all: Vec<String> = listed.into_values().flatten().collect();
    let unique: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(all.len(), unique.len(), "a query is listed twice");
    unique
}

/// In what two answers differ; `None` when they do not.
fn difference(theirs: &Response, ours: &Response) -> Option<String> {
    if theirs.status != ours.status {
        let said = |r: &Response| r.text().chars().take(160).collect::<String>();
        return Some(format!("theirs {}: {}; ours {}: {}", theirs.status, said(theirs), ours.status, said(ours)));
    }
    let (theirs, ours) = (theirs.json(), ours.json());
    if theirs["status"] == "error" {
        return (theirs["errorType"] != ours["errorType"]).then(|| format!("theirs {}; ours {}", theirs["errorType"], ours["errorType"]));
    }
    let (theirs, ours) = (&theirs["data"], &ours["data"]);
    if theirs["resultType"] != ours["resultType"] {
        return Some(format!("theirs is a {}, ours a {}", theirs["resultType"], ours["resultType"]));
    }
    let (theirs, ours) = (series(theirs), series(ours));
    if let Some(name) = theirs.keys().find(|name| !ours.contains_key(*name)) {
        return Some(format!("only theirs has {name} ({} to {} series)", theirs.len(), ours.len()));
    }
    if let Some(name) = ours.keys().find(|name| !theirs.contains_key(*name)) {
        return Some(format!("only ours has {name} ({} to {} series)", theirs.len(), ours.len()));
    }
    theirs.iter().find_map(|(name, points)| {
        let own = &ours[name];
        if points.len() != own.len() {
            return Some(format!("{name}: theirs has {} points, ours {}", points.len(), own.len()));
        }
        let wrong = points.iter().zip(own).find(|((t, v), (own_t, own_v))| t != own_t || !close(*v, *own_v));
        wrong.map(|((t, v), (own_t, own_v))| format!("{name}: theirs {v:?} at {t}, ours {own_v:?} at {own_t}"))
    })
}

/// Points of a result by series; a scalar is one without a name.
fn series(data: &Value) -> BTreeMap<String, Vec<(f64, f64)>> {
    let point = |pair: &Value| (pair[0].as_f64().expect("a time"), pair[1].as_str().expect("a value").parse().expect("a number"));
    let result = data["result"].as_array().expect("a result");
    match data["resultType"].as_str() {
        Some("scalar" | "string") => BTreeMap::from([(String::new(), vec![point(&data["result"])])]),
        Some("vector") => result.iter().map(|one| (name_of(&one["metric"]), vec![point(&one["value"])])).collect(),
        _ => result.iter().map(|one| (name_of(&one["metric"]), one["values"].as_array().into_iter().flatten().map(point).collect())).collect(),
    }
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

/// What is asked beside queries: names, labels and their values, series, metadata, and the wording of wrong questions.
#[test]
fn the_rest_of_the_api_answers_as_prometheus_does() {
    let Some(pair) = Pair::start() else { return };
    let (start, end) = (RANGE_END - RANGE_SECONDS, RANGE_END);
    let range = format!("start={start}&end={end}");
    let memory = encode("demo_memory_usage_bytes{type=~\"f.*|used\"}");
    for path in [
        format!("/api/v1/labels?{range}"),
        format!("/api/v1/labels?{range}&match[]={memory}"),
        format!("/api/v1/labels?{range}&match[]={memory}&match[]=demo_num_cpus"),
        format!("/api/v1/labels?{range}&match[]=nothing"),
        format!("/api/v1/labels?start={}&end={}", start - 1_000_000, start - 900_000),
        format!("/api/v1/label/__name__/values?{range}"),
        format!("/api/v1/label/type/values?{range}&match[]={memory}"),
        format!("/api/v1/label/le/values?{range}"),
        format!("/api/v1/label/nothing/values?{range}"),
        format!("/api/v1/series?{range}&match[]={memory}&match[]=demo_num_cpus"),
        format!("/api/v1/series?{range}&match[]={}", encode("{__name__=~\"demo_(disk|batch).*\",instance!~\".*1\"}")),
        format!("/api/v1/series?start=2023-11-14T23:55:00Z&end=2023-11-15T00:05:00.5Z&match[]={memory}"),
        format!("/api/v1/query_exemplars?{range}&query={memory}"),
        format!("/api/v1/format_query?query={}", encode("sum by(a,b) (rate(x{c=\"d\"}[5m])) / ignoring (e) group_left() y > bool 1")),
        format!("/api/v1/format_query?query={}", encode("label_replace(up, 'a', '$1', 'b', '(.*)') or vector(1) unless -x offset 5m @ 10")),
    ] {
        let [theirs, ours] = pair.ask(&path);
        assert_eq!((theirs.status, ours.status), (200, 200), "{path}: {}\n{}", theirs.text(), ours.text());
        let [theirs, ours] = [theirs, ours].map(|answer| sorted(answer.json()["data"].take()));
        assert_eq!(theirs, ours, "{path}");
    }
    // Prometheus keeps metadata for the targets it scrapes; what it was sent is not in its answer.
    assert_eq!(data(&pair.skopos.http, "/api/v1/metadata")["demo_memory_usage_bytes"][0]["help"], "Memory by its use.");
    for path in [
        "/api/v1/query",
        "/api/v1/query?query=up%20%2B",
        "/api/v1/query?query=sum(up",
        "/api/v1/query?query=up&time=soon",
        "/api/v1/query?query=up&timeout=soon",
        "/api/v1/query?query=up%7Ba%3D%22b%22&time=5",
        "/api/v1/query?query=rate(up)",
        "/api/v1/query?query=nothing(up)",
        "/api/v1/query?query=demo_num_cpus%20*%20on(job)%20demo_num_cpus&time=1700006000",
        "/api/v1/query_range?query=up&start=10&end=5&step=1",
        "/api/v1/query_range?query=up&start=0&end=50&step=0",
        "/api/v1/query_range?query=up&start=0&end=50000&step=1",
        "/api/v1/query_range?query=up&end=50&step=1",
        "/api/v1/query_range?query=up[5m]&start=0&end=50&step=1",
        "/api/v1/series",
        "/api/v1/series?match[]=%7B",
        "/api/v1/series?match[]=%7Ba%3D~%22.*%22%7D",
        "/api/v1/labels?match[]=%7B%7D",
        "/api/v1/labels?start=soon",
        "/api/v1/metadata?limit=many",
        "/api/v1/query_exemplars?query=up&start=5&end=1",
        "/api/v1/rules?type=other",
        "/api/v1/format_query?query=sum(",
        "/api/v1/nothing",
    ] {
        let [theirs, ours] = pair.ask(path);
        assert_eq!(theirs.status, ours.status, "{path}: {}\n{}", theirs.text(), ours.text());
        if theirs.header("content-type").starts_with("application/json") {
            let [theirs, ours] = [theirs.json(), ours.json()];
            assert_eq!((&theirs["status"], &theirs["errorType"]), (&ours["status"], &ours["errorType"]), "{path}: {theirs}\n{ours}");
        }
    }
}

/// Lists of series in one order, whichever a server gives them in.
fn sorted(mut data: Value) -> Value {
    if let Some(list) = data.as_array_mut() {
        list.sort_by_key(Value::to_string);
    }
    data
}
