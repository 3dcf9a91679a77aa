use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use skopos_model::TraceId;

use super::*;
use crate::proto::{Writer, to_zigzag};
use crate::test_util::shared;

const NOW: i64 = 1_700_000_000_000;

fn parsed(body: &[u8], format: Format) -> Result<Decoded<Scrape>, IngestError> {
    let limits = IngestLimits::default();
    parse(
        body,
        format,
        &ScrapeOptions { scrape_time: NOW, honor_timestamps: true, native_histograms: true, classic_histograms: false, limits: &limits },
    )
}

fn check(body: &str, format: Format, expected: Expect) {
    let mut out = String::new();
    match parsed(body.as_bytes(), format) {
        Ok(decoded) => {
            for one in &decoded.batch.series {
                let (time, value) = one.samples[0];
                let time = if time == NOW { String::new() } else { format!(" @{time}") };
                out += &format!("{} = {value:?}{time}\n", one.labels);
                for exemplar in &one.exemplars {
                    out += &format!("  exemplar {exemplar:?}\n");
                }
            }
            for m in &decoded.batch.metadata {
                out += &format!("# {} {:?} {:?} {:?}\n", m.family, m.kind, m.help, m.unit);
            }
            for r in &decoded.rejected {
                out += &format!("! {} {}: {}\n", r.reason, r.count, r.example);
            }
        }
        Err(error) => out = format!("{error}\n"),
    }
    expected.assert_eq(&out);
}

#[test]
fn text_format() {
    check(
        concat!(
            "# A comment\n# HELP http_requests_total Requests,\\nby \\\\ code.\n# TYPE http_requests_total counter\n",
            "http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n  http_requests_total { code = \"40\\\"0\" , } 3e2\n",
            "# TYPE rpc summary\nrpc{quantile=\"1\"} NaN\nrpc_sum +Inf\n",
            "# TYPE lat histogram\nlat_bucket{le=\"1000000\"} 5\nlat_bucket{le=\".5\"} 4\nlat_bucket{le=\"+Inf\"} 7\n",
            "{\"a.b\",\"c.d\"=\"e\"} 1\nlast -1"
        ),
        Format::Text,
        expect![[r##"
            http_requests_total{code="200", method="post"} = 1027.0 @1395066363000
            http_requests_total{code="40\"0"} = 300.0
            rpc{quantile="1.0"} = NaN
            rpc_sum = inf
            lat_bucket{le="1e+06"} = 5.0
            lat_bucket{le="0.5"} = 4.0
            lat_bucket{le="+Inf"} = 7.0
            a.b{c.d="e"} = 1.0
            last = -1.0
            # http_requests_total Counter "Requests,\nby \\ code." ""
            # rpc Summary "" ""
            # lat Histogram "" ""
        "##]],
    );
}

#[test]
fn openmetrics_format() {
    check(
        concat!(
            "# TYPE lat_seconds histogram\n# UNIT lat_seconds seconds\n# HELP lat_seconds How \\\"long\\\".\n",
            "lat_seconds_bucket{le=\"1\"} 5 # {trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\",k=\"v\"} 0.7 1.5\n",
            "lat_seconds_bucket{le=\"+Inf\"} 6 1700.25 # {} 3\n",
            "# TYPE jobs counter\njobs_total 17.0\n# EOF\n"
        ),
        Format::OpenMetrics,
        expect![[r##"
            lat_seconds_bucket{le="1.0"} = 5.0
              exemplar Exemplar { timestamp: 1500, value: 0.7, trace_id: 4bf92f3577b34da6a3ce929d0e0e4736, span_id: 0000000000000000, labels: {k="v"} }
            lat_seconds_bucket{le="+Inf"} = 6.0 @1700250
              exemplar Exemplar { timestamp: 1700250, value: 3.0, trace_id: 00000000000000000000000000000000, span_id: 0000000000000000, labels: {} }
            jobs_total = 17.0
            # lat_seconds Histogram "How \"long\"." "seconds"
            # jobs Counter "" ""
        "##]],
    );
    assert_eq!(TraceId::NONE.to_hex().len(), 32);
}

#[test]
fn refused_series_do_not_fail_the_scrape() {
    check(
        "a{x=\"1\",x=\"2\"} 1\na{__name__=\"b\"} 1\nc 1\nc 2\nc 3 77\n",
        Format::Text,
        expect![[r#"
            c = 1.0
            c = 3.0 @77
            ! duplicate_label 2: series "a" at byte 0: label "x" is given twice
            ! duplicate_sample 1: c at byte 39 has a sample of this time already: the first one counts
        "#]],
    );
}

#[test]
fn errors_name_the_line() {
    for (body, format, expected) in [
        ("a 1\nb blubb\n", Format::Text, "line 2: expected a value, found \"blubb\""),
        ("a{b=1} 1\n", Format::Text, "line 1: expected a string in double quotes, found \"1} 1\""),
        ("\n\na{b=\"1} 1\n", Format::Text, "line 3: the string is not closed: expected a second '\"'"),
        ("a 1 2.5\n", Format::Text, "line 1: expected a timestamp in milliseconds or the end of the line, found \"2.5\""),
        ("a 1 2 3\n", Format::Text, "line 1: expected the end of the line, found \"3\""),
        ("# TYPE a bla\n", Format::Text, "line 1: expected a metric type (counter, gauge, histogram, summary or untyped), found \"bla\""),
        ("a 1\n", Format::OpenMetrics, "line 2: expected \"# EOF\" as the last line"),
        ("a{b=\"1\",b=\"2\"} 1\n# EOF\n", Format::OpenMetrics, "line 1: label \"b\" of a is given twice"),
        ("# HELP a\n# EOF\n", Format::OpenMetrics, "line 1: expected one blank after the name, found the end of the line"),
        ("a 1\n\n# EOF\n", Format::OpenMetrics, "line 2: expected a metric name, found the end of the line"),
        ("# EOF\na 1\n", Format::OpenMetrics, "line 2: expected nothing after \"# EOF\""),
    ] {
        let error = parsed(body.as_bytes(), format).expect_err(body).to_string();
        assert!(error.ends_with(expected), "{body:?}: {error}");
    }
    let error = parsed(b"a 1\nb{c=\"\xff\"} 1\n", Format::Text).expect_err("no UTF-8").to_string();
    assert_eq!(error, "malformed Prometheus text in line 2: expected UTF-8 text");
}

#[test]
fn timestamps_may_be_ignored() {
    let limits = IngestLimits::default();
    let options = ScrapeOptions { scrape_time: 5, honor_timestamps: false, native_histograms: true, classic_histograms: false, limits: &limits };
    let scrape = parse(b"a 1 77\n", Format::Text, &options).expect("well formed").batch;
    assert_eq!(scrape.series[0].samples, [(5, 1.0)]);
}

#[test]
fn bounds_have_one_notation() {
    for (value, text) in [
        (0.0, "0.0"),
        (1.0, "1.0"),
        (0.005, "0.005"),
        (0.00001, "1e-05"),
        (100_000.0, "100000.0"),
        (1e6, "1e+06"),
        (1_234_567.0, "1.234567e+06"),
        (2.5e-7, "2.5e-07"),
        (f64::INFINITY, "+Inf"),
    ] {
        assert_eq!(open_metrics_float(value), text);
    }
}

#[test]
fn real_expositions() {
    for (file, format, at_least) in [
        ("alltypes.237mfs.prom.txt", Format::Text, 200),
        ("alltypes.237mfs.nometa.prom.txt", Format::Text, 200),
        ("alltypes.5mfs.om.txt", Format::OpenMetrics, 10),
        ("1histogram.om.txt", Format::OpenMetrics, 10),
    ] {
        let Some(path) = shared(&format!("conformance/prometheus-textparse/{file}")) else { return };
        let body = std::fs::read(path).expect("conformance data is readable");
        // The files are fragments that benches repeat: those of OpenMetrics have no end mark.
        let body = if format == Format::OpenMetrics && !body.trim_ascii_end().ends_with(b"# EOF") { [&body[..], b"# EOF\n"].concat() } else { body };
        let got = parsed(&body, format).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(got.batch.series.len() > at_least, "{file}: {} series", got.batch.series.len());
        let samples = body.split(|b| *b == b'\n').filter(|l| !l.is_empty() && l[0] != b'#').count();
        assert_eq!(got.batch.series.len() as u64 + got.rejected_count(), samples as u64, "{file}");
    }
}

/// What Prometheus' server takes although the Go library `expfmt` does not.
const LAX: [&str; 9] = ["error_0", "error_1", "error_12", "error_13", "error_14", "error_19", "error_2", "error_4", "error_7"];

#[test]
fn expfmt_corpus() {
    let Some(folder) = shared("conformance/prometheus-expfmt/fuzz/corpus") else { return };
    for entry in std::fs::read_dir(folder).expect("conformance data is readable") {
        let entry = entry.expect("conformance data is readable");
        let name = entry.file_name().into_string().expect("plain names");
        let result = parsed(&std::fs::read(entry.path()).expect("readable"), Format::Text);
        let lax = LAX.iter().any(|suffix| name == format!("from_test_parse_{suffix}"));
        assert_eq!(result.is_ok(), lax || !name.contains("error"), "{name}: {result:?}");
    }
}

/// One server's metrics in both formats are the same series.
#[test]
fn expfmt_bodies_in_text_and_protobuf() {
    let read = |file: &str, format: Format| {
        let body = std::fs::read(shared(&format!("conformance/prometheus-expfmt/testdata/{file}"))?).expect("conformance data is readable");
        let got = parsed(&body, format).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(got.is_clean(), "{file}: {:?}", got.rejected);
        Some(got.batch)
    };
    let (Some(text), Some(protobuf), Some(many)) =
        (read("text", Format::Text), read("protobuf", Format::Protobuf), read("protobuf-multimessage", Format::Protobuf))
    else {
        return;
    };
    let names = |scrape: &Scrape| scrape.series.iter().map(|s| s.labels.to_string()).collect::<BTreeSet<String>>();
    let families = |scrape: &Scrape| scrape.metadata.iter().map(|m| (m.family.to_string(), format!("{:?}", m.kind))).collect::<BTreeSet<_>>();
    assert_eq!((names(&text), families(&text)), (names(&protobuf), families(&protobuf)));
    assert!(text.series.len() > 100 && !many.series.is_empty(), "{} and {} series", text.series.len(), many.series.len());
}

/// What OpenMetrics forbids and Prometheus takes, by the reason: so do we, for a target that Prometheus scrapes has to be
/// scraped. Everything else that the standard forbids is refused.
const TAKEN: &[(&str, &[&str])] = &[
    (
        "what type a metric has says nothing of its values",
        &[
            "bad_counter_values_0",
            "bad_counter_values_1",
            "bad_counter_values_3",
            "bad_counter_values_5",
            "bad_counter_values_7",
            "bad_counter_values_8",
            "bad_counter_values_10",
            "bad_counter_values_11",
            "bad_counter_values_12",
            "bad_counter_values_13",
            "bad_counter_values_14",
            "bad_counter_values_16",
            "bad_counter_values_17",
            "bad_counter_values_18",
            "bad_stateset_info_values_0",
            "bad_stateset_info_values_1",
        ],
    ),
    (
        "nor which samples and labels it has",
        &[
            "bad_histograms_0",
            "bad_histograms_1",
            "bad_histograms_2",
            "bad_histograms_3",
            "bad_histograms_7",
            "bad_histograms_9",
            "bad_histograms_12",
            "bad_histograms_13",
            "bad_histograms_14",
            "bad_missing_or_invalid_labels_for_a_type_0",
            "bad_missing_or_invalid_labels_for_a_type_1",
            "bad_missing_or_invalid_labels_for_a_type_2",
            "bad_missing_or_invalid_labels_for_a_type_3",
            "bad_missing_or_invalid_labels_for_a_type_5",
            "bad_missing_or_invalid_labels_for_a_type_6",
            "bad_missing_or_invalid_labels_for_a_type_7",
            "bad_unit_6",
        ],
    ),
    (
        "series come in any order",
        &[
            "bad_grouping_or_ordering_0",
            "bad_grouping_or_ordering_2",
            "bad_grouping_or_ordering_4",
            "bad_grouping_or_ordering_5",
            "bad_grouping_or_ordering_7",
            "bad_grouping_or_ordering_9",
            "bad_grouping_or_ordering_10",
        ],
    ),
    (
        "metadata comes at any place, and the last one counts",
        &[
            "bad_clashing_names_0",
            "bad_clashing_names_1",
            "bad_metadata_in_wrong_place_1",
            "bad_repeated_metadata_0",
            "bad_repeated_metadata_1",
            "bad_repeated_metadata_3",
        ],
    ),
    ("an exemplar that is too long is left out, its sample taken", &["bad_exemplar_complex_chars", "bad_exemplars_6"]),
    (
        "exemplars stand on any metric (since Prometheus 3)",
        &[
            "bad_exemplars_on_unallowed_metric_types_1",
            "bad_exemplars_on_unallowed_metric_types_2",
            "bad_exemplars_on_unallowed_samples_0",
            "bad_exemplars_on_unallowed_samples_2",
            "bad_exemplars_on_unallowed_samples_3",
        ],
    ),
    ("a comma may follow the last label (since Prometheus 3)", &["bad_missing_or_extra_commas_2"]),
];

#[test]
fn openmetrics_conformance() {
    let Some(folder) = shared("conformance/openmetrics-parsers") else { return };
    let known: BTreeSet<String> = TAKEN.iter().flat_map(|(_, cases)| cases.iter().map(|case| (*case).to_owned())).collect();
    let (mut taken, mut refused_good, mut all) = (BTreeSet::new(), Vec::new(), 0);
    for entry in std::fs::read_dir(folder).expect("conformance data is readable") {
        let path = entry.expect("conformance data is readable").path();
        let Ok(case) = std::fs::read_to_string(path.join("test.json")) else { continue };
        let case: serde_json::Value = serde_json::from_str(&case).expect("JSON");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        all += 1;
        match (case["shouldParse"] == true, parsed(&std::fs::read(path.join("metrics")).expect("readable"), Format::OpenMetrics)) {
            (true, Err(error)) => refused_good.push(format!("{name}: {error}")),
            (false, Ok(_)) => {
                taken.insert(name);
            }
            _ => {}
        }
    }
    // A target that keeps to the standard never fails.
    assert!(refused_good.is_empty() && all > 100, "{all} cases\n{}", refused_good.join("\n"));
    assert_eq!(taken, known, "what is taken although the standard forbids it");
}

#[test]
fn an_exemplar_too_long_leaves_its_sample() {
    let long = "x".repeat(130);
    let got = parsed(format!("a_total 1 # {{id=\"{long}\"}} 1\n# EOF\n").as_bytes(), Format::OpenMetrics).expect("readable");
    assert_eq!((got.batch.series.len(), got.batch.series[0].exemplars.len(), got.rejected_count()), (1, 0, 1));
    assert_eq!(got.rejected[0].reason, EXEMPLAR_TOO_LONG);
}

/// `MetricFamily` messages as a client library writes them.
fn families(write: impl FnOnce(&mut dyn FnMut(&dyn Fn(&mut Writer)))) -> Vec<u8> {
    let mut body = Vec::new();
    write(&mut |fields| {
        let mut family = Writer::default();
        fields(&mut family);
        let family = family.into_bytes();
        let mut length = Writer::default();
        length.bare_varint(family.len() as u64);
        body.extend(length.into_bytes());
        body.extend(family);
    });
    body
}

fn label(out: &mut Writer, name: &str, value: &str) {
    out.message(1, |out| {
        out.bytes(1, name.as_bytes());
        out.bytes(2, value.as_bytes());
    });
}

/// A counter with exemplar and start, a summary, a histogram with classic and native buckets, a gauge at its own time.
fn all_kinds() -> Vec<u8> {
    families(|family| {
        family(&|out| {
            out.bytes(1, b"requests_total");
            out.bytes(2, b"Requests.");
            out.message(4, |out| {
                label(out, "code", "200");
                out.message(3, |out| {
                    out.double(1, 7.0);
                    out.message(2, |out| {
                        label(out, "trace_id", "4bf92f3577b34da6a3ce929d0e0e4736");
                        out.double(2, 0.5);
                        out.message(3, |out| out.varint(1, 1_600_000_000));
                    });
                    out.message(3, |out| {
                        out.varint(1, 1_500_000_000);
                        out.varint(2, 250_000_000);
                    });
                });
            });
        });
        family(&|out| {
            out.bytes(1, b"rpc_seconds");
            out.varint(3, 2);
            out.message(4, |out| {
                out.message(4, |out| {
                    out.varint(1, 3);
                    out.double(2, 4.5);
                    out.message(3, |out| {
                        out.double(1, 0.99);
                        out.double(2, 2.0);
                    });
                });
            });
        });
        family(&|out| {
            out.bytes(1, b"latency_seconds");
            out.varint(3, 4);
            out.bytes(5, b"seconds");
            out.message(4, |out| {
                out.message(7, |out| {
                    out.varint(1, 6);
                    out.double(2, 6.5);
                    for (bound, count) in [(1.0, 4), (2.5, 5)] {
                        out.message(3, |out| {
                            out.varint(1, count);
                            out.double(2, bound);
                        });
                    }
                    out.varint(5, to_zigzag(0));
                    out.double(6, 0.001);
                    out.varint(7, 2);
                    out.message(12, |out| out.varint(2, 2));
                    for delta in [3, -2] {
                        out.varint(13, to_zigzag(delta));
                    }
                });
            });
        });
        family(&|out| {
            out.bytes(1, b"temperature");
            out.varint(3, 1);
            out.message(4, |out| {
                out.message(2, |out| out.double(1, -3.0));
                out.varint(6, 77);
            });
        });
    })
}

#[test]
fn protobuf_format() {
    let limits = IngestLimits::default();
    let read = |native_histograms, classic_histograms| {
        let options = ScrapeOptions { scrape_time: NOW, honor_timestamps: true, native_histograms, classic_histograms, limits: &limits };
        let got = parse(&all_kinds(), Format::Protobuf, &options).expect("well formed");
        assert!(got.is_clean(), "{:?}", got.rejected);
        got.batch
    };
    let got = read(true, false);
    let lines: Vec<String> = got.series.iter().flat_map(|s| s.samples.iter().map(|(t, v)| format!("{} {v} {}", s.labels, *t - NOW))).collect();
    let own_time = format!("temperature -3 {}", 77 - NOW);
    assert_eq!(
        lines,
        [
            r#"requests_total{code="200"} 7 0"#,
            r#"rpc_seconds{quantile="0.99"} 2 0"#,
            "rpc_seconds_sum 4.5 0",
            "rpc_seconds_count 3 0",
            own_time.as_str()
        ]
    );
    let requests = &got.series[0];
    assert_eq!(
        (requests.starts[0], requests.exemplars[0].timestamp, requests.exemplars[0].value),
        ((NOW, 1_500_000_000_250), 1_600_000_000_000, 0.5)
    );
    let histogram = got.series.iter().find_map(|s| s.histograms.first().map(|(_, h)| (s.labels.to_string(), h.clone()))).expect("one");
    assert_eq!(histogram.0, "latency_seconds");
    assert_eq!(
        (histogram.1.count, histogram.1.zero_count, histogram.1.positive.indexes, histogram.1.positive.counts),
        (6.0, 2.0, vec![0, 1], vec![3.0, 1.0])
    );
    assert_eq!(
        got.metadata.iter().map(|m| (&*m.family, m.kind, &*m.help, &*m.unit)).collect::<Vec<_>>()[2],
        ("latency_seconds", MetricKind::Histogram, "", "seconds")
    );
    let classic = |scrape: &Scrape| {
        scrape
            .series
            .iter()
            .filter(|s| s.labels.name().starts_with("latency_seconds_"))
            .map(|s| (s.labels.to_string(), s.samples[0].1))
            .collect::<Vec<_>>()
    };
    let expected = [
        (r#"latency_seconds_bucket{le="1.0"}"#.to_owned(), 4.0),
        (r#"latency_seconds_bucket{le="2.5"}"#.to_owned(), 5.0),
        (r#"latency_seconds_bucket{le="+Inf"}"#.to_owned(), 6.0),
        ("latency_seconds_sum".to_owned(), 6.5),
        ("latency_seconds_count".to_owned(), 6.0),
    ];
    assert_eq!((classic(&got), classic(&read(true, true)), classic(&read(false, false))), (vec![], expected.to_vec(), expected.to_vec()));
    assert!(read(false, true).series.iter().all(|s| s.histograms.is_empty()));
    let cut = &all_kinds()[..40];
    assert!(parsed(cut, Format::Protobuf).expect_err("cut").to_string().starts_with("malformed io.prometheus.client.MetricFamily: at byte"));
}

#[test]
fn content_types() {
    for (header, format) in [
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", Some(Format::OpenMetrics)),
        ("text/plain; version=0.0.4", Some(Format::Text)),
        ("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", Some(Format::Protobuf)),
        ("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=text", None),
        ("text/html", None),
        ("", None),
    ] {
        assert_eq!(Format::from_content_type(Some(header)), format, "{header}");
    }
}

proptest::proptest! {
    #[test]
    fn never_panics_on_protobuf(at in 0usize..400, byte: u8, cut in 0usize..400) {
        let mut body = all_kinds();
        let length = body.len();
        body[at % length] = byte;
        body.truncate(cut % length + 1);
        let _ = parsed(&body, Format::Protobuf);
    }


    #[test]
    fn never_panics(body in "[ -~\n\t{}\"#=,ä]{0,120}") {
        let _ = parsed(body.as_bytes(), Format::Text);
        let _ = parsed(format!("{body}\n# EOF\n").as_bytes(), Format::OpenMetrics);
    }

    #[test]
    fn never_panics_near_valid(cut in 0usize..200, at in 0usize..200, byte: u8) {
        let mut body = b"# TYPE a histogram\n# HELP a b\\n\na_bucket{le=\"1\",c=\"d\\\"\"} 5 1700 # {trace_id=\"x\"} 0.7 1.5\n# EOF\n".to_vec();
        let length = body.len();
        body[at % length] = byte;
        body.truncate(cut % length + 1);
        for format in [Format::Text, Format::OpenMetrics] {
            let _ = parsed(&body, format);
        }
    }
}
