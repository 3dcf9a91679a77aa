//! Prometheus remote write 1.0.

use prost::Message;
use tempfile::TempDir;

use crate::process::Server;
use crate::telemetry::PROTOBUF;

/// `prometheus.WriteRequest`, as far as remote write 1.0 goes.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

fn series(labels: &[(&str, &str)], samples: &[(f64, i64)]) -> TimeSeries {
    TimeSeries {
        labels: labels.iter().map(|(name, value)| Label { name: (*name).to_owned(), value: (*value).to_owned() }).collect(),
        samples: samples.iter().map(|&(value, timestamp)| Sample { value, timestamp }).collect(),
    }
}

const SNAPPY: (&str, &str) = ("content-encoding", "snappy");
const VERSION: (&str, &str) = ("x-prometheus-remote-write-version", "0.1.0");

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
    let plain = WriteRequest { timeseries: vec![series(&[("__name__", "up")], &[(1.0, 1)])] }.encode_to_vec();
    let snappy = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    for (headers, body, status) in [
        (&[PROTOBUF, ("content-encoding", "gzip")], &snappy[..], 415),
        (&[PROTOBUF, ("content-encoding", "zstd")], &snappy[..], 415),
        (&[("content-type", "application/json"), SNAPPY], &snappy[..], 415),
        (&[("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"), SNAPPY], &snappy[..], 415),
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
