//! The checklist for receivers of `prometheus/compliance`: every test it names is answered here with requests of our own,
//! and what was said to be written is found.

#[path = "write_v2.rs"]
mod write_v2;

use std::collections::BTreeSet;

use prost::Message;
use serde_json::Value;
use skopos_testkit::shared;
use tempfile::TempDir;

use super::data;
use crate::http::{Response, encode};
use crate::process::Server;
use crate::telemetry::PROTOBUF;
use crate::write_request::{self, SNAPPY, WriteRequest, labels};
use write_v2::{Buckets, CONTENT_TYPE, Series};

const ALL: Buckets = Buckets { positive: true, negative: true, zero: true, custom: false };
const UPWARDS: Buckets = Buckets { positive: true, negative: false, zero: true, custom: false };
const DOWNWARDS: Buckets = Buckets { positive: false, negative: true, zero: false, custom: false };
const ZERO: Buckets = Buckets { positive: false, negative: false, zero: true, custom: false };
const CUSTOM: Buckets = Buckets { positive: false, negative: false, zero: false, custom: true };
const NONE: Buckets = Buckets { positive: false, negative: false, zero: false, custom: false };

const COUNTER: i32 = 1;
const GAUGE: i32 = 2;
const HISTOGRAM: i32 = 3;
const HOUR: i64 = 3_600_000;
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);
/// Values that are not numbers among them.
const VALUES: [f64; 5] = [1.0, STALE, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

/// One request of a test of the checklist.
struct Case {
    subtest: &'static str,
    series: Vec<Series>,
    /// How many of the series are good; all of them, or the answer is a 400.
    good: usize,
}

fn taken(subtest: &'static str, series: Vec<Series>) -> Case {
    Case { subtest, good: series.len(), series }
}

fn refused(subtest: &'static str, series: Vec<Series>, good: usize) -> Case {
    Case { subtest, series, good }
}

fn trace(series: Series, id: &str) -> Series {
    let value = series.value.unwrap_or(1.0);
    series.exemplar(&[("trace_id", id), ("user", "x y")], value)
}

/// The requests of a test, by its name in the checklist; `None` for one that is not known here.
fn cases(test: &str) -> Option<Vec<Case>> {
    let counter = |name: &str| Series::named(name).value(150.0).metadata(COUNTER, "Requests.", "requests");
    let latency = |name: &str| trace(Series::named(name).histogram(0.456, ALL).metadata(HISTOGRAM, "Latency.", "seconds"), "slow");
    Some(match test {
        "TestSingleMetric" => VALUES
            .into_iter()
            .flat_map(|value| {
                [
                    taken("simple metric", vec![Series::of(&[("__name__", "single")]).value(value)]),
                    taken(
                        "simple metric with multiple labels",
                        vec![Series::of(&[("job", "j"), ("__name__", "single"), ("instance", "i:1")]).value(value)],
                    ),
                    taken("simple metric with newlines", vec![Series::of(&[("__name__", "single"), ("job", "a\nb\n")]).value(value)]),
                    taken("simple metric with dots", vec![Series::of(&[("job.name", "j"), ("__name__", "cpu.usage")]).value(value)]),
                    taken("simple metric with spaces", vec![Series::of(&[("job name", "j"), ("__name__", "cpu usage")]).value(value)]),
                    refused("simple metric without name label", vec![Series::of(&[("job", "j")]).value(value)], 0),
                    refused("empty metric", vec![Series::of(&[]).value(value)], 0),
                ]
            })
            .collect(),
        "TestMultipleMetrics" => VALUES
            .into_iter()
            .flat_map(|value| {
                let good = |i: &str| Series::of(&[("__name__", "multiple"), ("instance", i)]).value(value);
                let nameless = |i: &str| Series::of(&[("instance", i)]).value(value);
                [
                    taken("multiple metrics", vec![good("0"), good("1"), good("2"), good("3")]),
                    refused("multiple metrics, without name label", vec![nameless("0"), nameless("1"), nameless("2"), nameless("3")], 0),
                    refused("multiple metrics, 1 without name label", vec![nameless("4"), good("5"), good("6"), good("7")], 3),
                ]
            })
            .collect(),
        "TestCounterWithCreatedTimestamp" => vec![taken("", vec![Series::named("counted_since_total").value(100.0).since(HOUR)])],
        "TestCounterMetadataWithCreatedTimestamp" => vec![taken("", vec![counter("described_since_total").since(HOUR)])],
        "TestExemplarWithCreatedTimestamp" => vec![taken("", vec![trace(counter("traced_since_total").since(2 * HOUR), "abc123")])],
        "TestHistogramWithCreatedTimestamp" => vec![taken("", vec![Series::named("observed_since").histogram(1.5, ALL).since(HOUR / 2)])],
        "TestExemplars" => {
            let with = |name: &str, labels: &[(&str, &str)]| vec![Series::named(name).value(1.0).exemplar(labels, 0.125)];
            vec![
                taken("basic_exemplar", with("e_basic", &[("trace_id", "abc123def456")])),
                taken("exemplar_with_span_id", with("e_span", &[("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"), ("span_id", "00f067aa0ba902b7")])),
                taken("exemplar_without_trace_id", with("e_user", &[("user_id", "user123")])),
                taken("exemplar_with_multiple_labels", with("e_more", &[("user", "admin"), ("trace_id", "t456"), ("endpoint", "/login")])),
                taken("exemplar_no_labels", with("e_none", &[])),
                taken("exemplar_with_special_chars", with("e_special", &[("trace_id", "with-dashes_and_underscores.123")])),
                taken("exemplar_with_unicode", with("e_unicode", &[("trace_id", "spur_痕跡_🌍")])),
            ]
        }
        "TestMultipleExemplars" => {
            let of = |method: &str| trace(Series::of(&[("method", method), ("__name__", "e_many")]).value(0.1), method);
            vec![taken("", vec![of("GET"), of("POST"), trace(Series::named("e_other").value(1.0), "other")])]
        }
        "TestExemplarTimestamps" => {
            let of = |ago: i64| trace(Series::named("e_times").value(0.05).ago(ago), &format!("ago_{ago}"));
            vec![taken("", vec![of(HOUR), of(60_000), of(0)])]
        }
        "TestExemplarValidation" => vec![
            refused("exemplar_without_name_label", vec![trace(Series::of(&[("job", "test")]).value(1.0), "x")], 0),
            refused("exemplar_with_empty_name", vec![trace(Series::of(&[("__name__", "")]).value(1.0), "x")], 0),
            taken("exemplar_with_valid_name", vec![trace(Series::of(&[("__name__", "e_valid")]).value(1.0), "x")]),
        ],
        "TestExemplarSpecialValues" => [0.0, -123.456, 1e10, 1e-10, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]
            .into_iter()
            .enumerate()
            .map(|(i, value)| taken("", vec![trace(Series::named(&format!("e_value_{i}")).value(value), "special")]))
            .collect(),
        "TestHistograms" => {
            let mut wrong = Series::named("h_wrong").histogram(1.0, UPWARDS);
            if let Some(histogram) = &mut wrong.histogram {
                histogram.count = 99;
            }
            vec![
                taken("basic_histogram", vec![Series::named("h_basic").histogram(1.0, ALL)]),
                taken("custom_buckets_histogram", vec![Series::named("h_custom").histogram(1.0, CUSTOM)]),
                taken("positive_only_histogram", vec![Series::named("h_up").histogram(1.0, UPWARDS)]),
                taken("negative_only_histogram", vec![Series::named("h_down").histogram(1.0, DOWNWARDS)]),
                taken("minimal_histogram", vec![Series::named("h_zero").histogram(1.0, ZERO)]),
                refused("bad_count_histogram", vec![wrong], 0),
            ]
        }
        "TestMultipleHistograms" => {
            vec![taken("", vec![Series::named("h_one").histogram(10.5, UPWARDS), Series::named("h_two").histogram(5.2, DOWNWARDS)])]
        }
        "TestEmptyHistogram" => vec![taken("", vec![Series::named("h_empty").histogram(0.0, NONE)])],
        "TestHistogramWithMetadata" => {
            vec![taken("", vec![Series::named("h_described").histogram(2.5, ALL).metadata(HISTOGRAM, "Latency.", "seconds")])]
        }
        "TestHistogramWithExemplar" => vec![taken("", vec![trace(Series::named("h_traced").histogram(1.23, UPWARDS), "abc123")])],
        "TestHistogramWithMetadataAndExemplar" => vec![taken("", vec![latency("h_both")])],
        "TestMultipleHistogramsWithMetadata" => vec![taken(
            "",
            vec![
                Series::named("h_cpu").histogram(0.75, UPWARDS).metadata(HISTOGRAM, "CPU.", "ratio"),
                Series::named("h_memory").histogram(8e9, ALL).metadata(HISTOGRAM, "Memory.", "bytes"),
            ],
        )],
        "TestMetadata" => vec![
            taken("counter_metadata", vec![counter("m_requests_total")]),
            taken("gauge_metadata", vec![Series::named("m_percent").value(1.0).metadata(GAUGE, "Use.", "percent")]),
            taken("histogram_metadata", vec![Series::named("m_seconds").histogram(1.0, ALL).metadata(HISTOGRAM, "Latency.", "seconds")]),
            taken("metadata_no_help_no_unit", vec![Series::named("m_bare").value(1.0).metadata(COUNTER, "", "")]),
            taken(
                "metadata_with_special_chars",
                vec![Series::named("m_special").value(1.0).metadata(GAUGE, "with\nlines, \"quotes\" and ä", "bytes/sec")],
            ),
            taken("unspecified_metadata_type", vec![Series::named("m_unknown").value(1.0).metadata(0, "Unknown.", "")]),
            taken("gauge_histogram_metadata_type", vec![Series::named("m_gaugehistogram").value(1.0).metadata(4, "Spread.", "celsius")]),
            taken("summary_metadata_type", vec![Series::named("m_summary").value(1.0).metadata(5, "Latency.", "seconds")]),
            taken("info_metadata_type", vec![Series::named("m_info").value(1.0).metadata(6, "Build.", "")]),
            taken("stateset_metadata_type", vec![Series::named("m_states").value(1.0).metadata(7, "States.", "")]),
        ],
        "TestMetadataWithSamples" => vec![taken("", vec![counter("m_samples_total")])],
        "TestMultipleMetadata" => {
            let of = |name: &str, unit: &str| Series::named(name).value(85.5).metadata(GAUGE, "Use.", unit);
            vec![taken("", vec![of("m_cpu", "percent"), of("m_memory", "bytes"), of("m_disk", "percent")])]
        }
        "TestMetadataWithComplexLabels" => {
            let labels = [("status", "200"), ("job", "api"), ("__name__", "m_complex"), ("endpoint", "/api/v1/users"), ("method", "GET")];
            vec![taken("", vec![Series::of(&labels).histogram(0.25, ALL).metadata(HISTOGRAM, "Latency.", "seconds")])]
        }
        "TestMetadataValidation" => vec![
            refused("metadata_without_name_label", vec![Series::of(&[("job", "test")]).value(1.0).metadata(COUNTER, "Help.", "unit")], 0),
            refused("metadata_with_empty_name", vec![Series::of(&[("__name__", "")]).value(1.0).metadata(GAUGE, "Help.", "unit")], 0),
            taken("metadata_with_valid_name", vec![Series::named("m_valid").value(1.0).metadata(COUNTER, "Help.", "unit")]),
        ],
        "TestSamplesWithMetadataAndExemplars" => vec![taken("", vec![trace(counter("c_requests_total"), "request")])],
        "TestHistogramsWithMetadataAndExemplars" => vec![taken("", vec![latency("c_seconds")])],
        "TestComplexSamplesRequest" => vec![taken("", vec![trace(counter("c_cpu_total"), "high"), counter("c_memory_total")])],
        "TestComplexHistogramsRequest" => {
            vec![taken("", vec![latency("c_times"), Series::named("c_sizes").histogram(1_024.0, ALL).metadata(HISTOGRAM, "Sizes.", "bytes")])]
        }
        "TestMultipleMetricFamiliesSamples" => {
            vec![taken("", vec![trace(counter("c_family_total"), "ok"), Series::named("c_celsius").value(23.5).metadata(GAUGE, "Heat.", "celsius")])]
        }
        "TestMultipleMetricFamiliesHistograms" => vec![taken("", vec![latency("c_family_seconds")])],
        "TestEdgeCaseCombinations" => vec![
            // A series without samples and histograms is none, says the protocol.
            refused("metadata_without_data", vec![Series::of(&[("__name__", "c_orphan")]).metadata(COUNTER, "Orphaned.", "count")], 0),
            refused("exemplars_without_data", vec![trace(Series::of(&[("__name__", "c_traces_alone")]), "orphan")], 0),
            taken("mixed_timestamp_data", vec![trace(Series::named("c_old").value(1.0).ago(HOUR), "old"), Series::named("c_new").value(2.0)]),
        ],
        "TestManySamples" => vec![taken("", (0..50).map(|i| trace(counter(&format!("many_{i}_total")), "many")).collect())],
        "TestManyHistograms" => vec![taken("", (0..50).map(|i| latency(&format!("many_{i}_seconds"))).collect())],
        "TestSpecialCharactersCombined" => {
            let labels = [("environment", "test🚀"), ("__name__", "c_special"), ("job", "a-b_c.d@e")];
            let series = Series::of(&labels).value(42.0).metadata(GAUGE, "äöü, lines\nand \"quotes\"", "special/units");
            vec![taken("", vec![series.exemplar(&[("trace_id", "spur_äöü-123"), ("span_id", "with.dots-and_underscores")], 42.0)])]
        }
        "TestCustomBucketsHistogramWithExemplar" => vec![taken("", vec![trace(Series::named("c_custom").histogram(0.05, CUSTOM), "bucket")])],
        _ => return None,
    })
}

/// Tests of the checklist about what is no request at all.
fn no_request(server: &Server, test: &str, now: i64) -> bool {
    let good = || snap::raw::Encoder::new().compress_vec(&write_v2::request(&[Series::named("no_request").value(1.0)], now).encode_to_vec()).unwrap();
    let broken = |mut body: Vec<u8>, byte: u8| {
        body[0] = byte;
        body
    };
    let send = |kind: &str, encoding: &str, body: &[u8]| {
        server.post("/api/v1/write", &[("content-type", kind), ("content-encoding", encoding), VERSION_2], body)
    };
    let first = || {
        let one = write_request::TimeSeries {
            labels: labels(&[("__name__", "first_version"), ("job", "test")]),
            samples: vec![write_request::Sample { value: 7.0, timestamp: now }],
            exemplars: Vec::new(),
        };
        snap::raw::Encoder::new().compress_vec(&WriteRequest { timeseries: vec![one], metadata: Vec::new() }.encode_to_vec()).unwrap()
    };
    match test {
        "TestBadContentTypes" => {
            ["application/json", "image/png"].into_iter().for_each(|kind| drop(send(kind, "snappy", &broken(good(), b'0')).expect(415)))
        }
        "TestBadContentEncodings" => ["gzip", "deflate"].into_iter().for_each(|e| drop(send(CONTENT_TYPE, e, &broken(good(), b'0')).expect(415))),
        "TestCorruptRequestBody" => assert_eq!(written(&send(CONTENT_TYPE, "snappy", &broken(good(), b'0')).expect(400)), [0, 0, 0]),
        "TestRW1BasicCompatibility" => {
            // A sender of 1.0 says nothing of versions, and is told nothing of counts.
            let answer = server.post("/api/v1/write", &[PROTOBUF, SNAPPY], &first()).expect(204);
            assert_eq!(answer.header("x-prometheus-remote-write-samples-written"), "");
            let found = data(&server.http, &format!("/api/v1/query?query=first_version&time={}", now / 1_000 + 1));
            assert_eq!(found["result"][0]["value"][1], "7");
        }
        "TestRW1ErrorHandling" => drop(server.post("/api/v1/write", &[PROTOBUF, SNAPPY], &broken(first(), 0xff)).expect(400)),
        _ => return false,
    }
    true
}

const VERSION_2: (&str, &str) = ("x-prometheus-remote-write-version", "2.0.0");

/// Samples, histograms and exemplars that were written, as the answer has it; none where it says nothing.
fn written(answer: &Response) -> [usize; 3] {
    ["samples", "histograms", "exemplars"].map(|what| answer.header(&format!("x-prometheus-remote-write-{what}-written")).parse().unwrap_or(0))
}

#[test]
fn the_checklist_of_receivers_is_kept() {
    let Some(file) = shared("conformance/prometheus-rw-compliance/checklist.jsonl") else { return };
    let text = std::fs::read_to_string(file).unwrap();
    let rows: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).filter(|row: &Value| row["side"] == "receiver").collect();
    assert!(rows.len() >= 37, "{} tests", rows.len());
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    // A second between requests, so that the same series twice is not the same sample twice.
    let mut now = i64::try_from(server.now() / 1_000_000).unwrap() - 600_000;
    for row in &rows {
        let test = row["test"].as_str().unwrap();
        if no_request(&server, test, now) {
            continue;
        }
        let all = cases(test).unwrap_or_else(|| panic!("{test} of the checklist has no request here"));
        let listed: BTreeSet<&str> = row["subtests"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
        let covered: BTreeSet<&str> = all.iter().map(|case| case.subtest).filter(|s| !s.is_empty()).collect();
        assert_eq!(covered, listed, "{test}");
        for case in &all {
            now += 1_000;
            let body = snap::raw::Encoder::new().compress_vec(&write_v2::request(&case.series, now).encode_to_vec()).unwrap();
            let answer = server.post("/api/v1/write", &[("content-type", CONTENT_TYPE), SNAPPY, VERSION_2], &body);
            let good = &case.series[case.series.len() - case.good..];
            let status = if case.good == case.series.len() { 204 } else { 400 };
            let expected = [
                good.iter().filter(|s| s.value.is_some()).count(),
                good.iter().filter(|s| s.histogram.is_some()).count(),
                good.iter().map(|s| s.exemplars.len()).sum(),
            ];
            let what = format!("{test} {}", case.subtest);
            assert_eq!((answer.status, written(&answer)), (status, expected), "{what}: {}", answer.text());
            good.iter().for_each(|series| is_there(&server, series, now, &what));
        }
    }
}

/// What was written of a series is found.
#[track_caller]
fn is_there(server: &Server, series: &Series, now: i64, what: &str) {
    let at = now - series.ago;
    let matchers: Vec<String> = series.labels.iter().map(|(name, value)| format!("{name:?}={}", Value::from(value.as_str()))).collect();
    let selector = format!("{{{}}}", matchers.join(","));
    let ask = |query: &str| data(&server.http, &format!("/api/v1/query?query={}&time={}.{:03}", encode(query), at / 1_000, at % 1_000));
    if let Some(value) = series.value {
        // The selector fits series with more labels, too.
        let mut found = ask(&selector)["result"].take();
        let found = found.as_array_mut().unwrap();
        found.retain(|one| one["metric"].as_object().is_some_and(|all| all.len() == series.labels.len()));
        if value.to_bits() == STALE.to_bits() {
            assert!(found.is_empty(), "{what}: an ended series is still there: {found:?}");
        } else {
            let read: f64 = found[0]["value"][1].as_str().unwrap().parse().unwrap();
            assert!(read == value || (read.is_nan() && value.is_nan()), "{what}: {value} was written, {read} is read");
        }
    }
    if let Some(histogram) = &series.histogram {
        for (function, expected) in [("histogram_count", histogram.count as f64), ("histogram_sum", histogram.sum)] {
            let found = ask(&format!("{function}({selector})"));
            let read: f64 = found["result"][0]["value"][1].as_str().unwrap_or_else(|| panic!("{what}: {found}")).parse().unwrap();
            assert_eq!(read, expected, "{what}: {function}");
        }
    }
    if !series.exemplars.is_empty() {
        let (from, to) = (at / 1_000 - 1, at / 1_000 + 1);
        let found = data(&server.http, &format!("/api/v1/query_exemplars?query={}&start={from}&end={to}", encode(&selector)));
        let stored: Vec<&Value> = found[0]["exemplars"].as_array().unwrap_or_else(|| panic!("{what}: no exemplar")).iter().collect();
        for (labels, value) in &series.exemplars {
            let same = stored.iter().any(|e| {
                let read: f64 = e["value"].as_str().unwrap().parse().unwrap();
                let all = e["labels"].as_object().unwrap();
                all.len() == labels.len() && labels.iter().all(|(n, v)| all[n] == **v) && (read == *value || (read.is_nan() && value.is_nan()))
            });
            assert!(same, "{what}: {labels:?} {value} is not among {stored:?}");
        }
    }
    if let Some((kind, help, unit)) = &series.metadata {
        let name = series.name();
        let found = data(&server.http, &format!("/api/v1/metadata?metric={}", encode(name)));
        let kinds = ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];
        let kind = kinds[usize::try_from(*kind).unwrap()];
        assert_eq!(found[name], serde_json::json!([{"type": kind, "help": help, "unit": unit}]), "{what}");
    }
}
