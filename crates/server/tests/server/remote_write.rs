//! Prometheus remote write 1.0 and 2.0.

use prost::Message as _;
use skopos_ingest::remote_write::{encode, encode_v2};
use skopos_model::{Buckets, Labels, MetricKind, MetricMetadata, NativeHistogram};
use tempfile::TempDir;

use crate::process::Server;
use crate::telemetry::PROTOBUF;
use crate::write_request::{SNAPPY, Sample, TimeSeries, VERSION, WriteRequest, labels};

pub(crate) fn series(names: &[(&str, &str)], samples: &[(f64, i64)]) -> TimeSeries {
    let samples = samples.iter().map(|&(value, timestamp)| Sample { value, timestamp }).collect();
    TimeSeries { labels: labels(names), samples, exemplars: Vec::new() }
}

#[test]
fn samples_are_stored_and_queried() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(&folder.path().join("data"));
    let now = (server.now() / 1_000_000) as i64;
    let message = WriteRequest {
        timeseries: vec![
            series(&[("__name__", "http_requests_total"), ("job", "orders"), ("status", "200")], &[(10.0, now - 60_000), (70.0, now)]),
            series(&[("__name__", "http_requests_total"), ("job", "orders"), ("status", "500")], &[(0.0, now - 60_000), (6.0, now)]),
        ],
        metadata: Vec::new(),
    };
    let body = snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap();
    server.post("/api/v1/write", &[PROTOBUF, SNAPPY, VERSION], &body).expect(204);
    let check = |server: &Server| {
        let sum = server.promql("sum(http_requests_total{job=\"orders\"})");
        assert_eq!(sum[0]["value"][1], "76");
        let failed = server.promql("http_requests_total{status=~\"5..\"}");
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0]["metric"]["status"], "500");
        let values = server.get("/api/v1/label/status/values").expect(200).json();
        assert_eq!(values["data"], serde_json::json!(["200", "500"]));
        let range = format!("/api/v1/query_range?query=http_requests_total&start={}&end={}&step=60", (now - 60_000) as f64 / 1e3, now as f64 / 1e3);
        let range = server.get(&range).expect(200).json();
        for series in range["data"]["result"].as_array().unwrap() {
            assert_eq!(series["values"].as_array().unwrap().len(), 2, "{series}");
        }
    };
    check(&server);
    // Sent again, as senders do after a lost answer: the same samples, not twice.
    server.post("/api/v1/write", &[PROTOBUF, SNAPPY, VERSION], &body).expect(204);
    check(&server);
    server.kill();
    check(&Server::start(&folder.path().join("data")));
}

#[test]
fn other_encodings_and_broken_bodies_are_refused() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let plain = WriteRequest { timeseries: vec![series(&[("__name__", "up")], &[(1.0, 1)])], metadata: Vec::new() }.encode_to_vec();
    let snappy = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    for (headers, body, status) in [
        (&[PROTOBUF, ("content-encoding", "gzip")], &snappy[..], 415),
        (&[PROTOBUF, ("content-encoding", "zstd")], &snappy[..], 415),
        (&[("content-type", "application/json"), SNAPPY], &snappy[..], 415),
        (&[("content-type", "application/x-protobuf;proto=io.prometheus.write.v3.Request"), SNAPPY], &snappy[..], 415),
        (&[V2, SNAPPY], &snappy[..snappy.len() - 3], 400),
        (&[PROTOBUF, SNAPPY], b"\xff\xff\xff\xff\xff no snappy", 400),
        (&[PROTOBUF, SNAPPY], &snappy[..snappy.len() - 3], 400),
    ] {
        let answer = server.post("/api/v1/write", headers, body);
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text());
        assert!(!answer.text().trim().is_empty(), "{headers:?} without a reason");
    }
    // A length of 4 GiB in front of nothing must not cost 4 GiB.
    server.post("/api/v1/write", &[PROTOBUF, SNAPPY], b"\xff\xff\xff\xff\x0f\0").expect(413);
    assert_eq!(server.get("/healthz").status, 200);
}

pub(crate) const V2: (&str, &str) = ("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request");
pub(crate) const VERSION_2: (&str, &str) = ("x-prometheus-remote-write-version", "2.0.0");

fn own(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> skopos_model::TimeSeries {
    skopos_model::TimeSeries { labels: Labels::new(labels.iter().copied()), samples: samples.to_vec(), ..Default::default() }
}

pub(crate) fn written(answer: &crate::http::Response) -> [String; 3] {
    ["samples", "histograms", "exemplars"].map(|what| answer.header(&format!("x-prometheus-remote-write-{what}-written")).to_owned())
}

#[test]
fn version_2_is_stored_and_counted() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(&folder.path().join("data"));
    let now = (server.now() / 1_000_000) as i64;
    let mut requests = own(&[("__name__", "http_requests_total"), ("job", "orders")], &[(now - 60_000, 10.0), (now, 70.0)]);
    requests.starts = vec![(now - 60_000, now - 90_000)];
    let mut latency = own(&[("__name__", "latency_seconds"), ("job", "orders")], &[]);
    let histogram = NativeHistogram { count: 3.0, sum: 4.5, positive: Buckets { indexes: vec![0, 1], counts: vec![1.0, 2.0] }, ..Default::default() };
    latency.histograms = vec![(now, histogram)];
    latency.exemplars = vec![skopos_model::Exemplar {
        timestamp: now,
        value: 1.5,
        trace_id: skopos_model::TraceId([7; 16]),
        span_id: skopos_model::SpanId([3; 8]),
        labels: Labels::default(),
    }];
    let meta = MetricMetadata { family: "http_requests_total".into(), kind: MetricKind::Counter, help: "Requests.".into(), unit: "".into() };
    let all = [requests, latency];
    let answer = server.post("/api/v1/write", &[V2, SNAPPY, VERSION_2], &encode_v2(&all, std::slice::from_ref(&meta)));
    assert_eq!((answer.status, written(&answer)), (204, ["2", "1", "1"].map(str::to_owned)), "{}", answer.text());
    let check = |server: &Server| {
        assert_eq!(server.promql("http_requests_total{job=\"orders\"}")[0]["value"][1], "70");
        let known = server.get("/api/v1/metadata?metric=http_requests_total").expect(200).json();
        assert_eq!(known["data"]["http_requests_total"][0]["help"], "Requests.");
        let exemplars = format!("/api/v1/query_exemplars?query=latency_seconds&start={}&end={}", now / 1000 - 60, now / 1000 + 60);
        let exemplars = server.get(&exemplars).expect(200).json();
        assert_eq!(exemplars["data"][0]["exemplars"][0]["labels"]["trace_id"], "07".repeat(16), "{exemplars}");
    };
    check(&server);
    server.kill();
    check(&Server::start(&folder.path().join("data")));
}

#[test]
fn bad_samples_are_named_and_the_good_stored() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let now = (server.now() / 1_000_000) as i64;
    let long = "x".repeat(10_000);
    let mut histogram = own(&[("__name__", "h")], &[]);
    histogram.histograms = vec![(now, NativeHistogram { count: -1.0, ..Default::default() })];
    let all = [
        own(&[("__name__", "good"), ("le", "NaN")], &[(now, 1.0)]),
        own(&[("job", "nameless")], &[(now, 1.0), (now - 1, 1.0)]),
        own(&[("__name__", "long"), ("a", &long)], &[(now, 1.0)]),
        histogram,
    ];
    for (headers, body) in [([PROTOBUF, SNAPPY, VERSION], encode(&all, &[])), ([V2, SNAPPY, VERSION_2], encode_v2(&all, &[]))] {
        let answer = server.post("/api/v1/write", &headers, &body);
        // Only senders of 2.0 know headers that say how much was taken.
        let told = if headers[2] == VERSION_2 { ["1", "0", "0"] } else { ["", "", ""] };
        assert_eq!((answer.status, written(&answer)), (400, told.map(str::to_owned)), "{}", answer.text());
        for reason in ["2 not taken (no_metric_name)", "1 not taken (label_too_long)", "1 not taken (invalid_histogram)"] {
            assert!(answer.text().contains(reason), "{}", answer.text());
        }
    }
    assert_eq!(server.promql("good{le=\"NaN\"}").len(), 1);
    let figures = server.get("/metrics").expect(200).text();
    assert!(figures.contains("skopos_ingest_rejected_rows_total{signal=\"metrics\",reason=\"no_metric_name\"} 4"), "{figures}");
    let refused = server.post("/api/v1/write", &[V2, SNAPPY], b"\xff\xff\xff\xff\xff no snappy");
    assert_eq!((refused.status, written(&refused)), (400, ["0", "0", "0"].map(str::to_owned)));
}
