use proptest::prelude::*;

use super::*;
use crate::context::Cache;
use crate::test_util::TableResolver;

fn decoded(body: &[u8], resolver: &mut TableResolver) -> Result<Decoded<SampleBatch>, IngestError> {
    let (limits, cache) = (IngestLimits::default(), Cache::default());
    decode(body, &Context::new(&limits, 0, &cache), resolver)
}

fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
    TimeSeries { labels: labels.iter().copied().collect(), samples: samples.to_vec(), ..TimeSeries::default() }
}

/// What a batch says, with labels spelled out again.
fn spelled(batch: &SampleBatch, resolver: &TableResolver) -> Vec<(String, Vec<(i64, u64)>)> {
    batch
        .runs()
        .map(|(id, times, values)| {
            let samples = times.iter().copied().zip(values.iter().map(|v| v.to_bits())).collect();
            (resolver.labels(id).to_string(), samples)
        })
        .collect()
}

#[test]
fn what_is_encoded_is_decoded() {
    let mut one = series(&[("__name__", "up"), ("job", "orders")], &[(1000, 1.0), (-5, f64::from_bits(skopos_model::metric::STALE_NAN_BITS))]);
    one.exemplars =
        vec![Exemplar { timestamp: 7, value: 0.25, trace_id: TraceId([9; 16]), span_id: SpanId([3; 8]), labels: Labels::new([("region", "eu")]) }];
    let two = series(&[("__name__", "requests_total"), ("code", "500")], &[(1000, 3.0)]);
    let meta = MetricMetadata { family: "up".into(), kind: MetricKind::Gauge, help: "alive".into(), unit: "".into() };
    let body = encode(&[one.clone(), two], std::slice::from_ref(&meta));
    let mut resolver = TableResolver::default();
    let got = decoded(&body, &mut resolver).expect("well formed");
    assert!(got.is_clean());
    assert_eq!(
        spelled(&got.batch, &resolver),
        [
            (r#"up{job="orders"}"#.to_owned(), vec![(1000, 1f64.to_bits()), (-5, skopos_model::metric::STALE_NAN_BITS)]),
            (r#"requests_total{code="500"}"#.to_owned(), vec![(1000, 3f64.to_bits())]),
        ]
    );
    assert_eq!(got.batch.exemplars, [(SeriesId(0), one.exemplars[0].clone())]);
    assert_eq!(got.batch.metadata, [meta]);
    decoded(&body, &mut resolver).expect("well formed");
    assert_eq!(resolver.parsed, 2, "labels of known series are not built again");
}

/// A request with one series of these pairs as they are, for what `Labels` would not hold.
fn raw_series(pairs: &[(&str, &str)], samples: usize) -> Vec<u8> {
    let mut out = Writer::default();
    out.message(1, |out| {
        encode_labels(out, pairs.iter().copied());
        for i in 0..samples {
            out.message(2, |out| out.varint(2, i as u64));
        }
    });
    snap::raw::Encoder::new().compress_vec(&out.into_bytes()).expect("to memory")
}

#[test]
fn invalid_label_sets_are_refused_with_their_samples() {
    let long = "x".repeat(9000);
    let many: Vec<String> = (0..200).map(|i| format!("l{i:03}")).collect();
    let mut too_many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "v")).collect();
    too_many.insert(0, ("__name__", "up"));
    for (pairs, reason) in [
        (&[("job", "a")][..], "no_metric_name"),
        (&[("__name__", "")], "no_metric_name"),
        (&[], "no_metric_name"),
        (&[("__name__", "up"), ("a", "1"), ("a", "2")], "duplicate_label"),
        (&[("__name__", "up"), ("", "2")], "invalid_label_name"),
        (&[("__name__", "up"), ("a", &long)], "label_too_long"),
        (&too_many, "too_many_labels"),
    ] {
        let mut resolver = TableResolver::default();
        for _ in 0..2 {
            let got = decoded(&raw_series(pairs, 3), &mut resolver).expect("the request is well formed");
            assert_eq!(got.rejected.iter().map(|r| (r.reason, r.count)).collect::<Vec<_>>(), [(reason, 3)]);
            assert_eq!(got.batch.len(), 0);
        }
        assert_eq!(resolver.len(), 0, "nothing is remembered of a refused series");
    }
}

#[test]
fn unsorted_and_scattered_labels_are_understood() {
    let mut out = Writer::default();
    out.message(1, |out| {
        encode_labels(out, [("job", "a")].into_iter());
        out.message(2, |out| out.double(1, 4.0));
        encode_labels(out, [("__name__", "up")].into_iter());
    });
    let body = snap::raw::Encoder::new().compress_vec(&out.into_bytes()).expect("to memory");
    let mut resolver = TableResolver::default();
    let got = decoded(&body, &mut resolver).expect("well formed");
    assert_eq!(spelled(&got.batch, &resolver), [(r#"up{job="a"}"#.to_owned(), vec![(0, 4f64.to_bits())])]);
}

#[test]
fn native_histograms_and_full_stores_are_reported() {
    let mut out = Writer::default();
    out.message(1, |out| {
        encode_labels(out, [("__name__", "up")].into_iter());
        out.message(2, |out| out.double(1, 4.0));
        out.message(4, |out| out.varint(1, 4));
    });
    let request = out.into_bytes();
    let (limits, cache) = (IngestLimits::default(), Cache::default());
    let ctx = Context::new(&limits, 0, &cache);
    let got = decode_protobuf(&request, &ctx, &mut TableResolver::default()).expect("well formed");
    assert_eq!((got.batch.len(), got.rejected[0].reason, got.rejected_count()), (1, "native_histogram", 1));
    let mut full = TableResolver::default();
    full.max = Some(0);
    let got = decode_protobuf(&request, &ctx, &mut full).expect("well formed");
    assert_eq!((got.batch.len(), got.rejected[0].reason, got.rejected_count()), (0, "series_limit", 2));
}

#[test]
fn malformed_bodies_name_the_place() {
    let mut resolver = TableResolver::default();
    let error = decoded(b"\xff\xff\xff\xff\xff\xff", &mut resolver).expect_err("no snappy");
    assert!(error.to_string().starts_with("body does not decompress as snappy block format"), "{error}");
    let mut out = Writer::default();
    out.message(1, |out| out.message(1, |out| out.bytes(1, b"\xff\xfe")));
    let (limits, cache) = (IngestLimits::default(), Cache::default());
    let error = decode_protobuf(&out.into_bytes(), &Context::new(&limits, 0, &cache), &mut resolver).expect_err("no UTF-8");
    assert_eq!(error.to_string(), "malformed prometheus.WriteRequest: at byte 6: expected UTF-8 text");
}

proptest! {
    #[test]
    fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (limits, cache) = (IngestLimits::default(), Cache::default());
        let _ = decode_protobuf(&body, &Context::new(&limits, 0, &cache), &mut TableResolver::default());
        let _ = decoded(&body, &mut TableResolver::default());
    }

    #[test]
    fn never_panics_on_mutations(cut in 0usize..1000, at in 0usize..1000, byte: u8) {
        let mut one = series(&[("__name__", "up"), ("job", "orders")], &[(1000, 1.0), (2000, 2.0)]);
        one.exemplars = vec![exemplar_of_labels(1, 2.0, [("trace_id", "x")])];
        let mut body = encode_protobuf(&[one.clone(), one], &[]);
        let at = at % body.len();
        body[at] = byte;
        body.truncate(cut % body.len() + 1);
        let (limits, cache) = (IngestLimits::default(), Cache::default());
        let _ = decode_protobuf(&body, &Context::new(&limits, 0, &cache), &mut TableResolver::default());
    }
}
