//! Bad and odd metrics by each way in: the good is stored, the bad counted by reason and shown.

use prost::Message as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Response, encode};
use crate::process::Server;
use crate::remote_write::{V2, VERSION_2, series, written};
use crate::telemetry::{JSON, PROTOBUF};
use crate::write_request::{Request2, SNAPPY, TimeSeries, VERSION, WriteRequest};

/// 2100-01-01 and 9999-12-31, Unix milliseconds.
const YEAR_2100: i64 = 4_102_444_800_000;
const LAST_DAY: i64 = 253_402_214_400_000;

fn snappy(plain: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(plain).unwrap()
}

/// Sends the series by both versions of remote write; `check` is called with each answer.
fn both(server: &Server, all: &[TimeSeries], mut check: impl FnMut(&str, &Response)) {
    let request = WriteRequest { timeseries: all.to_vec(), metadata: Vec::new() };
    let first = server.post("/api/v1/write", &[PROTOBUF, SNAPPY, VERSION], &snappy(&request.encode_to_vec()));
    check("1.0", &first);
    let second = server.post("/api/v1/write", &[V2, SNAPPY, VERSION_2], &snappy(&Request2::from(&request).encode_to_vec()));
    check("2.0", &second);
}

/// An OTLP request with gauges of a service.
fn otlp(server: &Server, metrics: &Value) -> Value {
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]});
    let body = json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": metrics}]}]});
    server.post("/v1/metrics", &[JSON], body.to_string().as_bytes()).expect(200).json()
}

fn point(nanos: &str, value: f64, attributes: &[(&str, &str)]) -> Value {
    let attributes: Vec<Value> = attributes.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect();
    json!({"timeUnixNano": nanos, "asDouble": value, "attributes": attributes})
}

fn gauge(name: &str, points: &[Value]) -> Value {
    json!({"name": name, "gauge": {"dataPoints": points}})
}

/// Values of a query at a time, Unix milliseconds.
#[track_caller]
fn at(server: &Server, query: &str, millis: i64) -> Vec<String> {
    let path = format!("/api/v1/query?query={}&time={}", encode(query), millis as f64 / 1e3);
    let answer = server.get(&path).expect(200).json();
    let result = answer["data"]["result"].as_array().unwrap();
    result.iter().map(|one| one["value"][1].as_str().unwrap().to_owned()).collect()
}

/// Samples refused for a reason, as the API shows it, and the latest example.
fn refused(server: &Server, reason: &str) -> Option<(u64, String)> {
    let found = server.get("/v1/floods").expect(200).json();
    let one = found["rejected"].as_array().unwrap().iter().find(|one| one["reason"] == reason)?.clone();
    Some((one["samples"].as_u64().unwrap(), one["example"].as_str().unwrap().to_owned()))
}

/// What the headers say was written: version 1.0 has no such headers.
fn stated(version: &str, counts: [&str; 3]) -> [String; 3] {
    if version == "1.0" { Default::default() } else { counts.map(str::to_owned) }
}

#[test]
fn bad_series_are_refused_one_by_one() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let now = (server.now() / 1_000_000) as i64;
    let (long_value, long_name) = ("v".repeat(8 * 1024 + 1), "n".repeat(1025));
    let many: Vec<String> = (0..128).map(|i| format!("label_{i:03}")).collect();
    let mut too_many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "x")).collect();
    too_many.insert(0, ("__name__", "bad"));
    let bad: [(&[(&str, &str)], &str, &str); 7] = [
        (&[("__name__", "bad"), ("a", &long_value)], "label_too_long", "the value of label \"a\" has 8193 bytes"),
        (&[("__name__", "bad"), (&long_name, "x")], "label_name_too_long", "has 1025 bytes, label_name_bytes_max is 1024"),
        (&too_many, "too_many_labels", "129 labels, labels_max is 128"),
        (&[("__name__", "bad"), ("a", "1"), ("a", "2")], "duplicate_label", "label \"a\" is given twice"),
        (&[("", "x"), ("__name__", "bad")], "invalid_label_name", "has no name"),
        (&[("job", "nameless")], "no_metric_name", "no label __name__"),
        (&[("__name__", ""), ("job", "nameless")], "no_metric_name", "no label __name__"),
    ];
    for (number, (labels, reason, said)) in bad.iter().enumerate() {
        let good = format!("good_{number}");
        let all = [series(labels, &[(1.0, now), (2.0, now + 1)]), series(&[("__name__", &good), ("le", "NaN"), ("unit", "NaN")], &[(f64::NAN, now)])];
        both(&server, &all, |version, answer| {
            assert_eq!((answer.status, written(answer)), (400, stated(version, ["1", "0", "0"])), "{version} {reason}: {}", answer.text());
            assert!(answer.text().contains(&format!("2 not taken ({reason})")) && answer.text().contains(said), "{version}: {}", answer.text());
        });
        // NaN is a value of a label like any other, and of a sample.
        assert_eq!(at(&server, &format!("{good}{{le=\"NaN\"}}"), now), ["NaN"], "{reason}");
    }
    assert!(at(&server, "bad", now).is_empty());
    for (reason, samples) in [("label_too_long", 4), ("duplicate_label", 4), ("no_metric_name", 8)] {
        assert_eq!(refused(&server, reason).unwrap().0, samples, "{reason}");
        let figures = server.get("/metrics").expect(200).text();
        assert!(figures.contains(&format!("skopos_ingest_rejected_rows_total{{signal=\"metrics\",reason=\"{reason}\"}} {samples}")), "{figures}");
    }
}

#[test]
fn references_outside_of_the_table_are_refused_with_their_series() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let now = (server.now() / 1_000_000) as i64;
    let good = series(&[("__name__", "good")], &[(1.0, now)]);
    let mut request = Request2::from(&WriteRequest { timeseries: vec![good.clone(), good.clone(), good.clone(), good], metadata: Vec::new() });
    request.timeseries[1].labels_refs = vec![1, 99];
    request.timeseries[2].labels_refs = vec![1, 2, 1];
    // A series without samples breaks the specification as well.
    request.timeseries[3].samples.clear();
    let answer = server.post("/api/v1/write", &[V2, SNAPPY, VERSION_2], &snappy(&request.encode_to_vec()));
    assert_eq!((answer.status, written(&answer)), (400, ["1", "0", "0"].map(str::to_owned)), "{}", answer.text());
    assert!(answer.text().contains("2 not taken (invalid_symbol)") && answer.text().contains("1 not taken (no_samples)"), "{}", answer.text());
    assert_eq!(at(&server, "good", now), ["1"]);
}

#[test]
fn times_of_1970_and_2100_are_times_like_others() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(&folder.path().join("data"));
    let samples = [(70.0, 1), (21.0, YEAR_2100), (99.0, LAST_DAY)];
    both(&server, &[series(&[("__name__", "ages")], &samples)], |version, answer| {
        assert_eq!((answer.status, written(answer)), (204, stated(version, ["3", "0", "0"])), "{version}: {}", answer.text());
    });
    let beyond = [(1.0, i64::MIN), (2.0, i64::MAX), (3.0, LAST_DAY + 86_400_000), (4.0, 60_000)];
    both(&server, &[series(&[("__name__", "ages")], &beyond)], |version, answer| {
        assert_eq!((answer.status, written(answer)), (400, stated(version, ["1", "0", "0"])), "{version}: {}", answer.text());
        assert!(answer.text().contains("3 not taken (time_out_of_range)"), "{version}: {}", answer.text());
    });
    assert_eq!(otlp(&server, &json!([gauge("epochs", &[point("1000000", 7.0, &[]), point("4102444800000000000", 8.0, &[])])])), json!({}));
    let check = |server: &Server| {
        for (millis, expected) in [(1_000, "70"), (60_000, "4"), (YEAR_2100, "21"), (LAST_DAY, "99")] {
            assert_eq!(at(server, "ages", millis), [expected], "{millis}");
        }
        assert_eq!((at(server, "epochs", 1_000), at(server, "epochs", YEAR_2100)), (vec!["7".to_owned()], vec!["8".to_owned()]));
    };
    check(&server);
    server.kill();
    let server = Server::start(&folder.path().join("data"));
    check(&server);
    server.change("/v1/admin/flush").expect(200);
    check(&server);
    assert_eq!(refused(&server, "time_out_of_range"), None, "counted since the start");
}

#[test]
fn the_first_of_two_values_at_one_time_stays() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(&folder.path().join("data"));
    let now = (server.now() / 1_000_000) as i64;
    let one = |value: f64| series(&[("__name__", "twice"), ("job", "a")], &[(value, now)]);
    // The same series twice in a request, with the same sample: no error.
    both(&server, &[one(1.0), one(1.0)], |version, answer| assert_eq!(answer.status, 204, "{version}: {}", answer.text()));
    // With another value one of them is refused.
    let other = |value: f64| series(&[("__name__", "thrice"), ("job", "a")], &[(value, now), (value, now + 1)]);
    let mut first = true;
    both(&server, &[other(5.0), other(6.0)], |version, answer| {
        assert_eq!((answer.status, written(answer)), (400, stated(version, ["2", "0", "0"])), "{version}: {}", answer.text());
        let said = format!("2 not taken (duplicate_timestamp): thrice{{job=\"a\"}}: sample of {now} ms");
        assert!(answer.text().contains(&said), "{version}: {}", answer.text());
        if std::mem::take(&mut first) {
            assert_eq!(at(&server, "thrice", now + 1), ["5"]);
        }
    });
    let answer = otlp(&server, &json!([gauge("fourfold", &[point(&format!("{now}000000"), 1.0, &[]), point(&format!("{now}000000"), 2.0, &[])])]));
    assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], "1", "{answer}");
    assert!(answer["partialSuccess"]["errorMessage"].as_str().unwrap().contains("duplicate_timestamp"), "{answer}");
    assert_eq!(refused(&server, "duplicate_timestamp").unwrap().0, 5);
    server.kill();
    let server = Server::start(&folder.path().join("data"));
    let values = |server: &Server| ["twice", "thrice", "fourfold"].map(|name| at(server, name, now + 1)).concat();
    assert_eq!(values(&server), ["1", "5", "1"], "the lowest sequence of the log wins");
    server.change("/v1/admin/flush").expect(200);
    // What is in files is not looked up: the second value is left out when it is read.
    both(&server, &[other(7.0)], |version, answer| assert!(matches!(answer.status, 204 | 400), "{version}: {}", answer.text()));
    server.change("/v1/admin/flush").expect(200);
    assert_eq!(values(&server), ["1", "5", "1"]);
}

#[test]
fn samples_older_than_the_window_are_refused() {
    let folder = TempDir::new().unwrap();
    let prometheus = folder.path().join("prometheus.yml");
    std::fs::write(&prometheus, "storage: {tsdb: {out_of_order_time_window: 1m}}\n").unwrap();
    let server = Server::start_with(&folder.path().join("data"), &["--prometheus-config", prometheus.to_str().unwrap()]);
    let now = (server.now() / 1_000_000) as i64;
    both(&server, &[series(&[("__name__", "late")], &[(3.0, now), (2.0, now - 60_000), (1.0, now - 60_001)])], |version, answer| {
        assert_eq!((answer.status, written(answer)), (400, stated(version, ["2", "0", "0"])), "{version}: {}", answer.text());
        assert!(answer.text().contains("1 not taken (too_old)"), "{version}: {}", answer.text());
    });
    let nanos = |millis: i64| format!("{millis}000000");
    let points = [point(&nanos(now), 3.0, &[]), point(&nanos(now - 60_001), 1.0, &[])];
    assert_eq!(otlp(&server, &json!([gauge("late_too", &points)]))["partialSuccess"]["rejectedDataPoints"], "1");
    assert_eq!(at(&server, "count_over_time(late[1h])", now), ["2"]);
    assert_eq!(refused(&server, "too_old").unwrap().0, 3);
}

#[test]
fn bodies_that_cannot_be_read_bring_nothing() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let now = (server.now() / 1_000_000) as i64;
    let request = WriteRequest { timeseries: vec![series(&[("__name__", "whole")], &[(1.0, now)])], metadata: Vec::new() };
    for (version, headers, plain) in
        [("1.0", [PROTOBUF, SNAPPY, VERSION], request.encode_to_vec()), ("2.0", [V2, SNAPPY, VERSION_2], Request2::from(&request).encode_to_vec())]
    {
        let sound = snappy(&plain);
        let with_length = |length: u8| [&[length], &sound[1..]].concat();
        assert!(plain.len() < 0x7f, "the length is one byte");
        let broken = [&plain[..], b"\x0a\xff\xff\xff\xff\x0f"].concat();
        for (what, body) in [
            ("a length that is too short", with_length(plain.len() as u8 - 1)),
            ("a length that is too long", with_length(plain.len() as u8 + 1)),
            ("a body that is cut", sound[..sound.len() - 2].to_vec()),
            ("no body", Vec::new()),
            ("a message that breaks off after a good series", snappy(&broken)),
            ("text", b"up 1\n".to_vec()),
        ] {
            let answer = server.post("/api/v1/write", &headers, &body);
            assert_eq!((answer.status, written(&answer)), (400, stated(version, ["0", "0", "0"])), "{what}: {}", answer.text());
            assert!(!answer.text().trim().is_empty(), "{what} without a reason");
        }
    }
    assert!(at(&server, "whole", now).is_empty());
    let figures = server.get("/metrics").expect(200).text();
    assert!(figures.contains("skopos_ingest_refused_requests_total{signal=\"metrics\",reason=\"malformed\"} 12"), "{figures}");
    // An empty message is a valid request with nothing in it.
    let answer = server.post("/api/v1/write", &[PROTOBUF, SNAPPY, VERSION], &snappy(b""));
    assert_eq!((answer.status, written(&answer)), (204, stated("1.0", ["0", "0", "0"])));
}

#[test]
fn otlp_points_are_refused_one_by_one() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let now = server.now();
    let nanos = now.to_string();
    let (long_value, long_name) = ("v".repeat(8 * 1024 + 1), "n".repeat(1025));
    let mut valueless = point(&nanos, 1.0, &[("a", "none")]);
    valueless.as_object_mut().unwrap().remove("asDouble");
    for (name, bad, reason) in [
        ("m", point(&nanos, 1.0, &[("a", &long_value)]), "label_too_long"),
        ("m", point(&nanos, 1.0, &[(&long_name, "x")]), "label_name_too_long"),
        ("m", valueless, "no_value"),
        ("", point(&nanos, 1.0, &[]), "invalid_metric_name"),
    ] {
        let good = gauge("sound", &[point(&nanos, 1.0, &[("of", reason), ("le", "NaN")])]);
        let answer = otlp(&server, &json!([gauge(name, &[bad]), good]));
        assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], "1", "{reason}: {answer}");
        assert!(answer["partialSuccess"]["errorMessage"].as_str().unwrap().contains(reason), "{reason}: {answer}");
        assert_eq!(at(&server, &format!("sound{{of=\"{reason}\",le=\"NaN\"}}"), (now / 1_000_000) as i64), ["1"], "{reason}");
        assert_eq!(refused(&server, reason).unwrap().0, 1, "{reason}");
    }
    assert!(at(&server, "m", (now / 1_000_000) as i64).is_empty());
}
