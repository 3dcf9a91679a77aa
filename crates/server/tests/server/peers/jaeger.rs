//! Jaeger's query APIs as its UI, Grafana and gRPC clients call them, and Jaeger's own storage integration queries.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use serde_json::{Value, json};
use skopos_testkit::{Need, shared, skipped};
use tempfile::TempDir;

use crate::http::{encode, request};
use crate::process::Server;

/// The fixtures are of this day; they are moved to yesterday.
const DAY_2017_01_26: i64 = 1_485_388_800_000_000_000;
const DAY: i64 = 86_400_000_000_000;

fn post(server: &Server, body: &Value) {
    let answer = request(&server.otlp_http, "POST", "/v1/traces", &[("content-type", "application/json")], body.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A server with one trace of three spans in two services.
fn start(folder: &TempDir) -> (Server, u64) {
    let server = Server::start(&folder.path().join("data"));
    let now = server.now();
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let span = |id: u8, parent: &str, name: &str, kind: u8, more: Value| {
        let start = now - 1_000_000_000;
        let mut span = json!({
            "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": format!("{id:016x}"), "parentSpanId": parent, "name": name, "kind": kind,
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 5_000_000).to_string(),
        });
        span.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        span
    };
    let failed = json!({
        "status": {"code": 2}, "attributes": [{"key": "http.status_code", "value": {"intValue": "500"}}],
        "events": [{"timeUnixNano": now.to_string(), "name": "retry", "attributes": [text("why", "lock")]}],
        "links": [{"traceId": "1af7651916cd43dd8448eb211c80319c", "spanId": "00000000000000aa"}],
    });
    let resource = |service: &str, spans: Value| json!({"resource": {"attributes": [text("service.name", service), text("host", "h1")]}, "scopeSpans": [{"spans": spans}]});
    post(
        &server,
        &json!({"resourceSpans": [
            resource("gateway", json!([span(1, "", "GET /orders", 2, json!({})), span(2, "0000000000000001", "call", 3, json!({}))])),
            resource("orders", json!([span(3, "0000000000000002", "place", 2, failed)])),
        ]}),
    );
    (server, now)
}

#[test]
fn the_ui() {
    let folder = TempDir::new().unwrap();
    let (server, now) = start(&folder);
    let data = |path: &str| {
        let answer = server.get(&format!("/jaeger/api{path}")).expect(200).json();
        assert_eq!(answer["errors"], Value::Null, "{path}: {answer}");
        answer["data"].clone()
    };
    assert_eq!(data("/services"), json!(["gateway", "orders"]));
    assert_eq!(data("/services/gateway/operations"), json!(["GET /orders", "call"]));
    assert_eq!(data("/operations?service=gateway&spanKind=client"), json!([{"name": "call", "spanKind": "client"}]));
    let (start, end) = (now / 1_000 - 3_600_000_000, now / 1_000);
    let tags = encode(r#"{"http.status_code":"500","error":"true","why":"lock","host":"h1"}"#);
    let search =
        format!("/traces?end={end}&limit=20&lookback=1h&maxDuration=10ms&minDuration=1ms&operation=place&service=orders&start={start}&tags={tags}");
    let found = data(&search);
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    let trace = &found[0];
    assert_eq!(trace["spans"].as_array().unwrap().len(), 3, "the whole trace");
    let span = trace["spans"].as_array().unwrap().iter().find(|s| s["operationName"] == "place").unwrap();
    assert_eq!((&span["spanID"], &span["duration"]), (&json!("0000000000000003"), &json!(5_000)));
    assert_eq!(
        span["references"],
        json!([
            {"refType": "CHILD_OF", "traceID": "0af7651916cd43dd8448eb211c80319c", "spanID": "0000000000000002"},
            {"refType": "FOLLOWS_FROM", "traceID": "1af7651916cd43dd8448eb211c80319c", "spanID": "00000000000000aa"},
        ])
    );
    assert!(span["tags"].as_array().unwrap().contains(&json!({"key": "http.status_code", "type": "int64", "value": 500})), "{span}");
    assert_eq!(span["logs"][0]["fields"][0], json!({"key": "event", "type": "string", "value": "retry"}));
    assert_eq!(trace["processes"][span["processID"].as_str().unwrap()]["serviceName"], "orders");
    assert_eq!(data("/traces?service=orders&tag=http.status_code:404"), json!([]));
    assert_eq!(data("/traces/af7651916cd43dd8448eb211c80319c")[0]["traceID"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(data("/traces?traceID=0af7651916cd43dd8448eb211c80319c").as_array().unwrap().len(), 1);
    let links = data(&format!("/dependencies?endTs={}&lookback=3600000", now / 1_000_000 + 1));
    assert_eq!(links, json!([{"parent": "gateway", "child": "orders", "callCount": 1}]));
    for (path, status) in
        [("/traces/ffff", 404), ("/traces", 400), ("/traces?service=a&limit=x", 400), ("/traces?service=a&tags=x", 400), ("/operations", 400)]
    {
        let answer = server.get(&format!("/jaeger/api{path}")).expect(status).json();
        assert_eq!(answer["errors"][0]["code"], status, "{answer}");
    }
    let third = server.get("/api/v3/traces/0af7651916cd43dd8448eb211c80319c").expect(200).json();
    assert_eq!(third["result"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(server.get("/api/v3/services").expect(200).json(), json!({"services": ["gateway", "orders"]}));
    assert_eq!(server.get("/jaeger/api/v3/operations?service=orders").expect(200).json()["operations"][0]["name"], "place");
}

/// Calls a method with curl and gives the messages of the answer and what curl says of headers and trailers.
fn call(server: &Server, folder: &Path, method: &str, message: &[u8]) -> (Vec<Vec<u8>>, String) {
    let (request, answer) = (folder.join("request"), folder.join("answer"));
    let length = u32::try_from(message.len()).unwrap();
    fs::write(&request, [&[0][..], &length.to_be_bytes(), message].concat()).unwrap();
    let output = Command::new("curl")
        .args(["--silent", "--verbose", "--max-time", "30", "--http2-prior-knowledge", "--header", "content-type: application/grpc"])
        .args(["--header", "te: trailers", "--output", answer.to_str().unwrap(), "--data-binary", &format!("@{}", request.display())])
        .arg(format!("http://{}/{method}", server.http))
        .output()
        .unwrap();
    let body = fs::read(&answer).unwrap_or_default();
    let _ = fs::remove_file(&answer);
    let (mut rest, mut messages) = (&body[..], Vec::new());
    while let Some((prefix, after)) = rest.split_first_chunk::<5>() {
        let (message, after) = after.split_at(u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize);
        messages.push(message.to_vec());
        rest = after;
    }
    (messages, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[derive(Clone, PartialEq, Message)]
struct Strings {
    #[prost(string, repeated, tag = "1")]
    values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Query {
    #[prost(string, tag = "1")]
    service: String,
    #[prost(map = "string, string", tag = "3")]
    tags: std::collections::HashMap<String, String>,
    #[prost(message, optional, tag = "4")]
    start: Option<Time>,
    #[prost(message, optional, tag = "5")]
    end: Option<Time>,
    #[prost(int32, tag = "8")]
    depth: i32,
}

#[derive(Clone, PartialEq, Message)]
struct FindTraces {
    #[prost(message, optional, tag = "1")]
    query: Option<Query>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(int32, tag = "2")]
    kind: i32,
    #[prost(int64, tag = "5")]
    number: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Process {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace: Vec<u8>,
    #[prost(string, tag = "3")]
    operation: String,
    #[prost(message, optional, tag = "6")]
    start: Option<Time>,
    #[prost(message, repeated, tag = "8")]
    tags: Vec<KeyValue>,
    #[prost(message, optional, tag = "10")]
    process: Option<Process>,
}

#[derive(Clone, PartialEq, Message)]
struct Chunk {
    #[prost(message, repeated, tag = "1")]
    spans: Vec<Span>,
}

#[test]
fn the_grpc_services() {
    let version = Command::new("curl").arg("--version").output();
    if !version.is_ok_and(|v| String::from_utf8_lossy(&v.stdout).contains("HTTP2")) {
        return skipped(Need::Tools, "no curl with HTTP/2");
    }
    let folder = TempDir::new().unwrap();
    let (server, now) = start(&folder);
    let services = |version: u8| {
        let (messages, said) = call(&server, folder.path(), &format!("jaeger.api_v{version}.QueryService/GetServices"), b"");
        assert!(said.contains("grpc-status: 0"), "{said}");
        Strings::decode(&messages[0][..]).unwrap().values
    };
    assert_eq!((services(2), services(3)), (vec!["gateway".to_owned(), "orders".to_owned()], vec!["gateway".to_owned(), "orders".to_owned()]));
    let seconds = i64::try_from(now / 1_000_000_000).unwrap();
    let query = Query {
        service: "orders".to_owned(),
        tags: [("http.status_code".to_owned(), "500".to_owned())].into(),
        start: Some(Time { seconds: seconds - 60 }),
        end: Some(Time { seconds: seconds + 60 }),
        depth: 10,
    };
    let find = FindTraces { query: Some(query) }.encode_to_vec();
    let (messages, said) = call(&server, folder.path(), "jaeger.api_v2.QueryService/FindTraces", &find);
    assert!(said.contains("grpc-status: 0"), "{said}");
    let spans: Vec<Span> = messages.iter().flat_map(|m| Chunk::decode(&m[..]).unwrap().spans).collect();
    assert_eq!(spans.len(), 3);
    let place = spans.iter().find(|s| s.operation == "place").unwrap();
    assert_eq!(place.process, Some(Process { service: "orders".to_owned() }));
    assert!(place.tags.contains(&KeyValue { key: "http.status_code".to_owned(), kind: 2, number: 500 }), "{place:?}");
    let (messages, _) = call(&server, folder.path(), "jaeger.api_v3.QueryService/FindTraces", &find);
    assert_eq!(TracesData::decode(&messages[0][..]).unwrap().resource_spans.len(), 2);
    let (messages, _) = call(&server, folder.path(), "jaeger.api_v2.QueryService/GetTrace", &Strings { values: Vec::new() }.encode_to_vec());
    assert!(messages.is_empty());
    let id = [&[0x0a, 16][..], &place.trace].concat();
    let (messages, _) = call(&server, folder.path(), "jaeger.api_v2.QueryService/GetTrace", &id);
    assert_eq!(Chunk::decode(&messages[0][..]).unwrap().spans.len(), 3);
    let missing = Strings { values: vec!["ffff".to_owned()] }.encode_to_vec();
    let (messages, said) = call(&server, folder.path(), "jaeger.api_v3.QueryService/GetTrace", &missing);
    assert!(messages.is_empty() && said.contains("grpc-status: 5"), "{said}");
}

fn shift(value: &mut Value, by: i64) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if matches!(key.as_str(), "startTimeUnixNano" | "endTimeUnixNano" | "timeUnixNano") {
                    let time: i64 = value.as_str().unwrap().parse().unwrap();
                    *value = json!((time + by).to_string());
                } else {
                    shift(value, by);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|v| shift(v, by)),
        _ => {}
    }
}

/// Spans by trace, as numbers: fixtures and answers differ in leading zeros.
type Traces = BTreeMap<u128, BTreeSet<u64>>;

fn fixture_traces(body: &Value) -> Traces {
    let mut out = Traces::new();
    let list = |v: &Value, key: &str| v[key].as_array().cloned().unwrap_or_default();
    for span in list(body, "resourceSpans").iter().flat_map(|r| list(r, "scopeSpans")).flat_map(|s| list(&s, "spans")) {
        let id = |key: &str| span[key].as_str().unwrap().to_owned();
        out.entry(u128::from_str_radix(&id("traceId"), 16).unwrap()).or_default().insert(u64::from_str_radix(&id("spanId"), 16).unwrap());
    }
    out
}

/// Jaeger's own queries find exactly the traces they expect, through version 1 and version 3. None is known to fail.
#[test]
fn conformance_jaeger_integration() {
    let Some(folder) = shared("conformance/jaeger-integration") else { return };
    let data = TempDir::new().unwrap();
    let server = Server::start(&data.path().join("data"));
    let now = i64::try_from(server.now()).unwrap();
    let by = (now / DAY - 1) * DAY - DAY_2017_01_26;
    let mut fixtures: BTreeMap<String, Value> = BTreeMap::new();
    for file in fs::read_dir(folder.join("traces")).unwrap().flatten() {
        let mut body: Value = serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap();
        shift(&mut body, by);
        fixtures.insert(file.path().file_stem().unwrap().to_str().unwrap().to_owned(), body);
    }
    let queries: Vec<Value> = serde_json::from_slice(&fs::read(folder.join("queries.json")).unwrap()).unwrap();
    let named: BTreeSet<&str> = queries.iter().flat_map(|q| q["ExpectedFixtures"].as_array().unwrap()).filter_map(Value::as_str).collect();
    // Others use ids of these again; those are left out.
    let mut known: BTreeSet<u128> = BTreeSet::new();
    for (_, body) in fixtures.iter().filter(|(name, _)| named.contains(name.as_str())) {
        known.extend(fixture_traces(body).keys());
        post(&server, body);
    }
    for (_, body) in fixtures.iter().filter(|(name, _)| !named.contains(name.as_str())) {
        if fixture_traces(body).keys().all(|id| known.insert(*id)) {
            post(&server, body);
        }
    }
    server.change("/v1/admin/flush").expect(200);
    let mut failed = Vec::new();
    for query in &queries {
        let mut expected = Traces::new();
        for name in query["ExpectedFixtures"].as_array().unwrap() {
            for (trace, spans) in fixture_traces(&fixtures[name.as_str().unwrap()]) {
                expected.entry(trace).or_default().extend(spans);
            }
        }
        let q = &query["Query"];
        let time = |key: &str| i64::try_from(q[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_nanosecond()).unwrap() + by;
        let (start, end) = (time("StartTimeMin"), time("StartTimeMax"));
        let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        let tags: serde_json::Map<String, Value> =
            q["Tags"].as_object().into_iter().flatten().map(|(key, value)| (key.clone(), json!(text(value)))).collect();
        let some = |key: &str| q[key].as_i64().filter(|n| *n > 0).map(|n| format!("{n}ns"));
        let (service, operation) = (q["ServiceName"].as_str().unwrap(), q["OperationName"].as_str().unwrap());
        let stamp = |nanos: i64| jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap().to_string();
        let first = [
            ("service", Some(service.to_owned())),
            ("operation", Some(operation.to_owned())),
            ("start", Some((start / 1_000).to_string())),
            ("end", Some((end / 1_000).to_string())),
            ("limit", Some(text(&q["NumTraces"]))),
            ("tags", (!tags.is_empty()).then(|| json!(tags).to_string())),
            ("minDuration", some("DurationMin")),
            ("maxDuration", some("DurationMax")),
        ];
        let third = [
            ("query.service_name", Some(service.to_owned())),
            ("query.operation_name", Some(operation.to_owned())),
            ("query.start_time_min", Some(stamp(start))),
            ("query.start_time_max", Some(stamp(end))),
            ("query.search_depth", Some(text(&q["NumTraces"]))),
            ("query.attributes", (!tags.is_empty()).then(|| json!(tags).to_string())),
            ("query.duration_min", some("DurationMin")),
            ("query.duration_max", some("DurationMax")),
        ];
        let url = |path: &str, params: &[(&str, Option<String>)]| {
            let given: Vec<String> =
                params.iter().filter_map(|(k, v)| Some(format!("{k}={}", encode(v.as_ref().filter(|v| !v.is_empty())?)))).collect();
            format!("{path}?{}", given.join("&"))
        };
        let mut answers = vec![Traces::new(), Traces::new()];
        for trace in server.get(&url("/jaeger/api/traces", &first)).expect(200).json()["data"].as_array().unwrap() {
            for span in trace["spans"].as_array().unwrap() {
                let id = |key: &str| span[key].as_str().unwrap().to_owned();
                let spans = answers[0].entry(u128::from_str_radix(&id("traceID"), 16).unwrap()).or_default();
                spans.insert(u64::from_str_radix(&id("spanID"), 16).unwrap());
            }
        }
        let answer = server.get(&url("/api/v3/traces", &third));
        if answer.status != 404 {
            answers[1] = fixture_traces(&answer.expect(200).json()["result"]);
        }
        for (version, got) in ["v1", "v3"].into_iter().zip(answers) {
            if got != expected {
                failed.push(format!("{version} {}: {:?} instead of {:?}", query["Caption"], got.keys(), expected.keys()));
            }
        }
    }
    assert!(failed.is_empty() && queries.len() > 10, "{} queries, failed:\n{}", queries.len(), failed.join("\n"));
}
