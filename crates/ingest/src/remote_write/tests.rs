use proptest::prelude::*;

use skopos_model::histogram::CUSTOM_SCHEMA;
use skopos_model::{Buckets, CounterReset, NativeHistogram, TimeSeries};

use super::encode::encode_labels;
use super::*;
use crate::context::Cache;
use crate::proto::{Writer, to_zigzag};
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
fn bad_histograms_and_full_stores_are_reported() {
    let mut out = Writer::default();
    out.message(1, |out| {
        encode_labels(out, [("__name__", "up")].into_iter());
        out.message(2, |out| out.double(1, 4.0));
        // A count of 4 and no bucket that holds them.
        out.message(4, |out| out.varint(1, 4));
    });
    let request = out.into_bytes();
    let (limits, cache) = (IngestLimits::default(), Cache::default());
    let ctx = Context::new(&limits, 0, &cache);
    let got = decode_protobuf(&request, &ctx, &mut TableResolver::default()).expect("well formed");
    assert_eq!((got.batch.len(), got.rejected[0].reason, got.rejected_count()), (1, "invalid_histogram", 1));
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

/// One of each kind of native histogram.
fn histograms() -> Vec<(i64, NativeHistogram)> {
    let buckets = |pairs: &[(i32, f64)]| Buckets { indexes: pairs.iter().map(|p| p.0).collect(), counts: pairs.iter().map(|p| p.1).collect() };
    let full = NativeHistogram {
        schema: 3,
        counter_reset: CounterReset::NotReset,
        zero_threshold: 0.001,
        zero_count: 2.0,
        count: 12.5,
        sum: -7.25,
        positive: buckets(&[(-3, 1.0), (-2, 2.5), (40, 1.0)]),
        negative: buckets(&[(0, 6.0)]),
        custom_bounds: Vec::new(),
    };
    let custom = NativeHistogram {
        schema: CUSTOM_SCHEMA,
        count: 3.0,
        sum: 9.0,
        positive: buckets(&[(0, 1.0), (2, 2.0)]),
        custom_bounds: vec![0.5, 10.0],
        ..NativeHistogram::default()
    };
    vec![(1000, full), (2000, custom), (3000, NativeHistogram { counter_reset: CounterReset::Gauge, ..NativeHistogram::default() })]
}

#[test]
fn native_histograms_of_both_versions_are_decoded() {
    let one = TimeSeries {
        labels: Labels::new([("__name__", "latency"), ("job", "orders")]),
        histograms: histograms(),
        starts: vec![(1000, 500)],
        exemplars: vec![exemplar_of_labels(1, 2.0, [("trace_id", "04f92f3577b34da6a3ce929d0e0e4736"), ("k", "v")])],
        ..TimeSeries::default()
    };
    let meta = MetricMetadata { family: "latency".into(), kind: MetricKind::Histogram, help: "how long".into(), unit: "seconds".into() };
    let (limits, cache) = (IngestLimits::default(), Cache::default());
    let ctx = Context::new(&limits, 0, &cache);
    for (version, body) in [
        (1, encode(std::slice::from_ref(&one), std::slice::from_ref(&meta))),
        (2, encode_v2(std::slice::from_ref(&one), std::slice::from_ref(&meta))),
    ] {
        let mut resolver = TableResolver::default();
        let got = if version == 1 { decode(&body, &ctx, &mut resolver) } else { v2::decode(&body, &ctx, &mut resolver) }.expect("well formed");
        assert!(got.is_clean(), "{:?} {:?}", got.rejected, got.changed);
        let batch = got.batch;
        assert_eq!(batch.histograms.iter().map(|(_, t, h)| (*t, h.clone())).collect::<Vec<_>>(), histograms(), "version {version}");
        assert_eq!(batch.exemplars, [(SeriesId(0), one.exemplars[0].clone())]);
        assert_eq!(batch.metadata, std::slice::from_ref(&meta));
        assert_eq!(batch.starts, if version == 1 { vec![] } else { vec![(SeriesId(0), 1000, 500)] });
        assert_eq!(batch.len(), 3);
    }
}

/// An integer histogram as client libraries send it: 3 in the bucket that ends at 1, 1 in the one that ends at 4, 2 zeros.
fn integer_histogram(out: &mut Writer, count: u64, packed: bool) {
    out.varint(1, count);
    out.double(3, 6.5);
    out.varint(4, to_zigzag(0));
    out.double(5, 1e-128);
    out.varint(6, 2);
    for (offset, length) in [(0i64, 1), (1, 1)] {
        out.message(11, |out| {
            out.varint(1, to_zigzag(offset));
            out.varint(2, length);
        });
    }
    if packed {
        let mut deltas = Writer::default();
        [3, -2].iter().for_each(|delta| deltas.bare_varint(to_zigzag(*delta)));
        out.bytes(12, &deltas.into_bytes());
    } else {
        [3, -2].iter().for_each(|delta| out.varint(12, to_zigzag(*delta)));
    }
    out.varint(15, 1000);
}

#[test]
fn integer_histograms_packed_or_not() {
    for packed in [true, false] {
        let mut out = Writer::default();
        out.message(1, |out| {
            encode_labels(out, [("__name__", "latency")].into_iter());
            out.message(4, |out| integer_histogram(out, 6, packed));
            out.message(4, |out| integer_histogram(out, 7, packed));
        });
        let (limits, cache) = (IngestLimits::default(), Cache::default());
        let got = decode_protobuf(&out.into_bytes(), &Context::new(&limits, 0, &cache), &mut TableResolver::default()).expect("well formed");
        let [(_, 1000, histogram)] = &got.batch.histograms[..] else { panic!("{:?}", got.batch.histograms) };
        assert_eq!(histogram.positive.iter().collect::<Vec<_>>(), [(0, 3.0), (2, 1.0)]);
        assert_eq!((histogram.count, histogram.zero_count, histogram.sum), (6.0, 2.0, 6.5));
        assert_eq!((got.rejected[0].reason, got.rejected[0].count), ("invalid_histogram", 1));
        assert!(got.rejected[0].example.ends_with("the buckets hold 6 observations, the count says 7"), "{:?}", got.rejected);
    }
}

fn decoded_v2(request: &[u8], resolver: &mut TableResolver) -> Result<Decoded<SampleBatch>, IngestError> {
    let (limits, cache) = (IngestLimits::default(), Cache::default());
    v2::decode_protobuf(request, &Context::new(&limits, 0, &cache), resolver)
}

#[test]
fn what_is_encoded_as_2_0_is_decoded() {
    let mut one = series(&[("__name__", "up"), ("job", "orders")], &[(1000, 1.0), (2000, f64::from_bits(skopos_model::metric::STALE_NAN_BITS))]);
    one.starts = vec![(1000, 10)];
    one.exemplars =
        vec![Exemplar { timestamp: 7, value: 0.25, trace_id: TraceId([9; 16]), span_id: SpanId([3; 8]), labels: Labels::new([("region", "eu")]) }];
    let two = series(&[("__name__", "requests_total"), ("code", "NaN"), ("job", "orders")], &[(0, 3.0)]);
    let meta = MetricMetadata { family: "up".into(), kind: MetricKind::Gauge, help: "alive".into(), unit: "".into() };
    let all = [one.clone(), two];
    let mut resolver = TableResolver::default();
    let got = decoded_v2(&encode_v2_protobuf(&all, std::slice::from_ref(&meta)), &mut resolver).expect("well formed");
    assert!(got.is_clean());
    let expected = [
        (r#"up{job="orders"}"#.to_owned(), vec![(1000, 1f64.to_bits()), (2000, skopos_model::metric::STALE_NAN_BITS)]),
        (r#"requests_total{code="NaN", job="orders"}"#.to_owned(), vec![(0, 3f64.to_bits())]),
    ];
    assert_eq!(spelled(&got.batch, &resolver), expected);
    assert_eq!(got.batch.starts, [(SeriesId(0), 1000, 10)], "said once for samples that share it");
    assert_eq!(got.batch.exemplars, [(SeriesId(0), one.exemplars[0].clone())]);
    assert_eq!(got.batch.metadata, [meta]);
    // The same series by 1.0 has the same bytes: its labels are not built again.
    decoded(&encode(&all, &[]), &mut resolver).expect("well formed");
    assert_eq!((resolver.parsed, resolver.len()), (2, 2));
}

/// A 2.0 request of these symbols and series, written by hand.
fn raw_v2(symbols: &[&str], series: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::default();
    series(&mut out);
    // The table after the series: nothing in protobuf promises an order.
    symbols.iter().for_each(|text| out.bytes(4, text.as_bytes()));
    out.into_bytes()
}

#[test]
fn bad_series_of_2_0_are_refused_and_the_good_stored() {
    const SYMBOLS: [&str; 5] = ["", "__name__", "up", "a", "b"];
    let sample = |out: &mut Writer| out.message(2, |out| out.double(1, 4.0));
    for (refs, samples, reason, count) in [
        (&[1u64, 2, 3][..], 2, "invalid_symbol", 2),
        (&[1, 2, 3, 9], 1, "invalid_symbol", 1),
        (&[1, u64::MAX], 1, "invalid_symbol", 1),
        (&[1, 2, 3, 4], 0, "no_samples", 1),
        (&[3, 4], 1, "no_metric_name", 1),
        (&[1, 2, 3, 4, 3, 4], 1, "duplicate_label", 1),
        (&[1, 2, 0, 4], 1, "invalid_label_name", 1),
        (&[], 3, "no_metric_name", 3),
    ] {
        let request = raw_v2(&SYMBOLS, |out| {
            out.message(5, |out| {
                refs.iter().for_each(|place| out.varint(1, *place));
                (0..samples).for_each(|_| sample(out));
            });
            out.message(5, |out| {
                [1, 2].iter().for_each(|place| out.varint(1, *place));
                sample(out);
            });
        });
        let mut resolver = TableResolver::default();
        let got = decoded_v2(&request, &mut resolver).expect("well formed");
        assert_eq!(got.rejected.iter().map(|r| (r.reason, r.count)).collect::<Vec<_>>(), [(reason, count)], "{refs:?}");
        assert_eq!(spelled(&got.batch, &resolver), [("up".to_owned(), vec![(0, 4f64.to_bits())])]);
    }
}

#[test]
fn parts_of_a_2_0_series_are_refused_one_by_one() {
    let request = raw_v2(&["", "__name__", "up", "trace_id", "x"], |out| {
        out.message(5, |out| {
            [1, 2].iter().for_each(|place| out.varint(1, *place));
            out.message(2, |out| {
                out.double(1, 1.0);
                out.varint(2, 10);
                out.varint(3, 20);
            });
            out.message(4, |out| out.bytes(1, &[3, 4, 3]));
            out.message(4, |out| out.bytes(1, &[3, 77]));
            out.message(4, |out| out.bytes(1, &[3, 4]));
            out.message(5, |out| out.varint(3, 99));
        });
    });
    let got = decoded_v2(&request, &mut TableResolver::default()).expect("well formed");
    assert_eq!(got.rejected.iter().map(|r| (r.reason, r.count)).collect::<Vec<_>>(), [("invalid_symbol", 2)]);
    assert_eq!(got.changed.iter().map(|r| (r.reason, r.count)).collect::<Vec<_>>(), [("start_after_sample", 1), ("invalid_symbol", 1)]);
    assert_eq!((got.batch.len(), got.batch.exemplars.len(), got.batch.starts.len(), got.batch.metadata.len()), (1, 1, 0, 0));
}

#[test]
fn times_of_1970_and_2100_and_long_labels() {
    let limits = IngestLimits::default();
    let just = "x".repeat(limits.label_value_bytes_max);
    let all = [series(&[("__name__", "up"), ("a", &just)], &[(0, 1.0), (4_102_444_800_000, 2.0), (i64::MIN, 3.0)])];
    for body in [encode_protobuf(&all, &[]), encode_v2_protobuf(&all, &[])] {
        let mut resolver = TableResolver::default();
        let cache = Cache::default();
        let ctx = Context::new(&limits, 0, &cache);
        let got = decode_protobuf(&body, &ctx, &mut resolver).ok().filter(|d| !d.batch.is_empty()).or_else(|| decoded_v2(&body, &mut resolver).ok());
        assert_eq!(got.expect("one of them").batch.timestamps, [0, 4_102_444_800_000, i64::MIN]);
    }
}

#[test]
fn too_many_symbols_are_too_large() {
    let mut body = Vec::new();
    (0..=v2::SYMBOLS_MAX).for_each(|_| body.extend_from_slice(&[0x22, 0]));
    assert!(decoded_v2(&body, &mut TableResolver::default()).expect_err("over the limit").is_too_large());
}

proptest! {
    #[test]
    fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (limits, cache) = (IngestLimits::default(), Cache::default());
        let _ = decode_protobuf(&body, &Context::new(&limits, 0, &cache), &mut TableResolver::default());
        let _ = decoded(&body, &mut TableResolver::default());
        let _ = decoded_v2(&body, &mut TableResolver::default());
    }

    #[test]
    fn never_panics_on_mutations(cut in 0usize..1000, at in 0usize..1000, byte: u8) {
        let mut one = series(&[("__name__", "up"), ("job", "orders")], &[(1000, 1.0), (2000, 2.0)]);
        one.exemplars = vec![exemplar_of_labels(1, 2.0, [("trace_id", "x")])];
        one.histograms = histograms();
        let all = [one.clone(), one];
        for mut body in [encode_protobuf(&all, &[]), encode_v2_protobuf(&all, &[])] {
            let at = at % body.len();
            body[at] = byte;
            body.truncate(cut % body.len() + 1);
            let (limits, cache) = (IngestLimits::default(), Cache::default());
            let _ = decode_protobuf(&body, &Context::new(&limits, 0, &cache), &mut TableResolver::default());
            let _ = decoded_v2(&body, &mut TableResolver::default());
        }
    }
}
