//! Histograms, deltas, starts and options; the plain kinds are in the tests of all signals.

use serde_json::{Value, json};
use skopos_model::histogram::CUSTOM_SCHEMA;
use skopos_model::{Decoded, IngestLimits, Labels, NativeHistogram, SampleBatch};

use super::decode;
use super::delta::{DeltaLimits, Deltas};
use crate::context::{Cache, Context};
use crate::otlp::metrics_to_protobuf;
use crate::otlp::names::NameTranslation;
use crate::otlp::options::OtlpOptions;
use crate::test_util::{TableResolver, shared_lines};

/// A request with one resource and these metrics, as JSON.
fn request(metrics: Value) -> Value {
    json!({"resourceMetrics": [{
        "resource": {"attributes": [
            {"key": "service.name", "value": {"stringValue": "orders"}},
            {"key": "host.name", "value": {"stringValue": "a1"}},
            {"key": "k8s.pod", "value": {"stringValue": "p"}}]},
        "scopeMetrics": [{"metrics": metrics}]}]})
}

struct Table {
    resolver: TableResolver,
    cache: Cache,
    options: OtlpOptions,
    deltas: Option<Deltas>,
}

impl Table {
    fn new(options: OtlpOptions) -> Self {
        Self { resolver: TableResolver::default(), cache: Cache::default(), options, deltas: None }
    }

    fn decode(&mut self, body: &Value) -> Decoded<SampleBatch> {
        let body = metrics_to_protobuf(body.to_string().as_bytes()).expect("OTLP JSON");
        let limits = IngestLimits::default();
        let pass = self.deltas.as_ref().map(Deltas::pass);
        let mut ctx = Context { otlp: &self.options, ..Context::new(&limits, 99_000_000, &self.cache) };
        ctx.deltas = pass.as_ref();
        let decoded = decode(&body, &ctx, &mut self.resolver).expect("well formed");
        let changes = pass.map(super::delta::DeltaPass::into_changes);
        if let Some((deltas, changes)) = self.deltas.as_mut().zip(changes) {
            deltas.commit(changes, 99_000_000);
        }
        decoded
    }

    /// Series and value of each sample, `target_info` left out.
    fn spelled(&self, batch: &SampleBatch) -> Vec<(String, f64)> {
        let all = batch.runs().flat_map(|(id, _, values)| values.iter().map(move |v| (self.resolver.labels(id).to_string(), *v)));
        all.filter(|(name, _)| !name.starts_with("target_info")).collect()
    }
}

fn exponential(point: &Value) -> Value {
    let side = |side: &Value| match side {
        Value::Null => Value::Null,
        side => json!({"offset": side["offset"], "bucketCounts": side["counts"]}),
    };
    json!({"timeUnixNano": "1000000", "count": point["count"], "sum": point["sum"], "scale": point["scale"], "zeroCount": point["zerocount"],
        "positive": side(&point["positive"]), "negative": side(&point["negative"])})
}

/// Buckets of spans and deltas.
fn listed(spans: &Value, deltas: &Value) -> Vec<(i32, f64)> {
    let (mut index, mut count, mut out) = (0, 0, Vec::new());
    let mut deltas = deltas.as_array().into_iter().flatten().map(|d| d.as_i64().expect("a number"));
    for span in spans.as_array().into_iter().flatten() {
        index += span[0].as_i64().expect("a number");
        for _ in 0..span[1].as_i64().expect("a number") {
            count += deltas.next().expect("one for each bucket");
            if count != 0 {
                out.push((index as i32, count as f64));
            }
            index += 1;
        }
    }
    out
}

fn buckets(histogram: &skopos_model::Buckets) -> Vec<(i32, f64)> {
    histogram.iter().collect()
}

#[test]
fn exponential_histograms_of_the_conformance_table() {
    let Some(cases) = shared_lines("conformance/otlp-exponential-histograms/to_native.jsonl") else { return };
    for case in cases {
        let mut table = Table::new(OtlpOptions::default());
        let metric = json!([{"name": "h", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [exponential(&case["point"])]}}]);
        let got = table.decode(&request(metric));
        let want = &case["want"];
        if want.is_null() {
            assert_eq!((got.batch.histograms.len(), got.rejected[0].reason), (0, "invalid_histogram"), "{case}");
            continue;
        }
        let [(_, 1, histogram)] = &got.batch.histograms[..] else { panic!("{case}: {got:?}") };
        assert_eq!(buckets(&histogram.positive), listed(&want["positive_spans"], &want["positive_deltas"]), "{case}");
        assert_eq!(buckets(&histogram.negative), listed(&want["negative_spans"], &want["negative_deltas"]), "{case}");
        assert_eq!((f64::from(histogram.schema), histogram.count), (want["schema"].as_f64().unwrap(), want["count"].as_f64().unwrap()), "{case}");
        assert_eq!((histogram.sum, histogram.zero_count), (want["sum"].as_f64().unwrap(), want["zerocount"].as_f64().unwrap()), "{case}");
        assert_eq!(histogram.zero_threshold, 1e-128);
    }
}

#[test]
fn bucket_layouts_of_the_conformance_table() {
    let Some(cases) = shared_lines("conformance/otlp-exponential-histograms/bucket_layout.jsonl") else { return };
    for case in cases {
        for (down, want) in case["by_scale_down"].as_object().expect("an object") {
            // Scale 8 is the finest that is stored: so many above it are merged down.
            let scale = 8 + down.parse::<i64>().expect("a number");
            let total: i64 = case["counts"].as_array().expect("counts").iter().map(|c| c.as_i64().unwrap()).sum();
            let point =
                json!({"count": total, "sum": 1.0, "scale": scale, "zerocount": 0, "positive": {"offset": case["offset"], "counts": case["counts"]}});
            let metric = json!([{"name": "h", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [exponential(&point)]}}]);
            let got = Table::new(OtlpOptions::default()).decode(&request(metric));
            let histogram = &got.batch.histograms[0].2;
            assert_eq!(buckets(&histogram.positive), listed(&want["spans"], &want["deltas"]), "{case} down {down}");
        }
    }
}

#[test]
fn custom_buckets_of_the_conformance_table() {
    let Some(cases) = shared_lines("conformance/otlp-exponential-histograms/nhcb_layout.jsonl") else { return };
    for case in cases {
        let counts = case["counts"].as_array().expect("counts");
        let bounds: Vec<f64> = (1..counts.len()).map(|i| i as f64).collect();
        let total: i64 = counts.iter().map(|c| c.as_i64().unwrap()).sum();
        let point = json!({"timeUnixNano": "1000000", "startTimeUnixNano": "500000", "count": total, "sum": 2.5, "bucketCounts": counts, "explicitBounds": bounds});
        let metric = json!([{"name": "h", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [point]}}]);
        let mut table = Table::new(OtlpOptions { convert_histograms_to_nhcb: true, ..OtlpOptions::default() });
        let got = table.decode(&request(metric));
        let [(id, 1, histogram)] = &got.batch.histograms[..] else { panic!("{case}: {got:?}") };
        assert_eq!(buckets(&histogram.positive), listed(&case["spans"], &case["deltas"]), "{case}");
        assert_eq!((histogram.schema, &histogram.custom_bounds, histogram.sum), (CUSTOM_SCHEMA, &bounds, 2.5));
        assert_eq!(table.resolver.labels(*id), &Labels::new([("__name__", "h_seconds"), ("job", "orders")]));
    }
}

#[test]
fn ends_of_series_and_zero_thresholds() {
    let point = |flags: u32, threshold: f64| {
        json!({"timeUnixNano": "1000000", "count": 1, "scale": 0, "zeroCount": 1, "zeroThreshold": threshold, "flags": flags,
        "exemplars": [{"timeUnixNano": "1000000", "asDouble": 0.1, "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"}]})
    };
    let metric =
        json!([{"name": "h", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [point(0, 0.25), point(1, 0.0), point(0, -1.0)]}}]);
    let got = Table::new(OtlpOptions::default()).decode(&request(metric));
    let all: Vec<&NativeHistogram> = got.batch.histograms.iter().map(|(.., h)| h).collect();
    assert_eq!((all.len(), all[0].zero_threshold, all[1].is_stale()), (2, 0.25, true));
    assert_eq!(got.rejected[0].reason, "invalid_histogram");
    assert_eq!(got.batch.exemplars.len(), 2);
    assert!(!got.batch.exemplars[0].1.trace_id.is_none());
}

/// A delta sum, a classic and an exponential histogram as one request for each time; the cumulative rows of all.
#[test]
fn deltas_become_sums() {
    let at = |time: u64, value: f64, counts: [u64; 3]| {
        let point = |more: Value| {
            let mut point = json!({"startTimeUnixNano": ((time - 1) * 1_000_000).to_string(), "timeUnixNano": (time * 1_000_000).to_string(),
                "attributes": [{"key": "a", "value": {"stringValue": "1"}}, {"key": "b", "value": {"intValue": "2"}}]});
            point.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            if time.is_multiple_of(2) {
                point["attributes"].as_array_mut().unwrap().reverse();
            }
            point
        };
        request(json!([
            {"name": "n", "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [point(json!({"asDouble": value}))]}},
            {"name": "c", "histogram": {"aggregationTemporality": 1, "dataPoints": [
                point(json!({"count": counts.iter().sum::<u64>(), "sum": value, "bucketCounts": counts, "explicitBounds": [1.0, 2.0]}))]}},
            {"name": "e", "exponentialHistogram": {"aggregationTemporality": 1, "dataPoints": [
                point(json!({"count": counts.iter().sum::<u64>(), "sum": value, "scale": 0, "positive": {"offset": 0, "bucketCounts": counts}}))]}}]))
    };
    let mut table = Table::new(OtlpOptions::default());
    assert_eq!(table.decode(&at(10, 2.0, [1, 2, 3])).rejected[0].reason, super::DELTA_TEMPORALITY);
    table.deltas = Some(Deltas::new(DeltaLimits::default()));
    let first = table.decode(&at(10, 2.0, [1, 2, 3]));
    assert!(first.is_clean(), "{:?}", first.rejected);
    let second = table.decode(&at(11, 0.5, [4, 0, 1]));
    assert!(second.is_clean(), "{:?}", second.rejected);
    let values: Vec<f64> = table.spelled(&second.batch).into_iter().map(|(_, v)| v).collect();
    // n; c ≤ 1, ≤ 2, ≤ +Inf, sum, count: attributes in another order are the same stream.
    assert_eq!(values, [2.5, 5.0, 7.0, 11.0, 2.5, 11.0]);
    let (_, 11, exponential) = &second.batch.histograms[0] else { panic!("{second:?}") };
    assert_eq!((buckets(&exponential.positive), exponential.count, exponential.sum), (vec![(1, 5.0), (2, 2.0), (3, 4.0)], 11.0, 2.5));
    assert!(second.batch.starts.iter().all(|(_, from, start)| (*from, *start) == (11, 9)), "{:?}", second.batch.starts);
    let late = table.decode(&at(11, 7.0, [1, 1, 1]));
    assert_eq!(late.rejected.iter().map(|r| (r.reason, r.count)).collect::<Vec<_>>(), [("delta_out_of_order", 3)]);
    assert_eq!(late.batch.len(), 0);
}

#[test]
fn other_bounds_begin_anew() {
    let at = |time: u64, counts: Value, bounds: Value| {
        let point = json!({"timeUnixNano": (time * 1_000_000).to_string(), "bucketCounts": counts, "explicitBounds": bounds});
        request(json!([{"name": "c", "histogram": {"aggregationTemporality": 1, "dataPoints": [point]}}]))
    };
    let mut table = Table::new(OtlpOptions::default());
    table.deltas = Some(Deltas::new(DeltaLimits::default()));
    let mut last = Vec::new();
    // The collector's own test: counts are left to be added up.
    for (time, counts, bounds) in [
        (10, json!([1, 2, 3, 4, 5, 0]), json!([0.01, 0.1, 1, 10, 100])),
        (20, json!([1, 0, 1, 0, 1, 0]), json!([0.01, 0.1, 1, 10, 100])),
        (30, json!([1, 2, 3, 4, 0]), json!([0.1, 1, 10, 100])),
    ] {
        let got = table.decode(&at(time, counts, bounds));
        assert!(got.is_clean(), "{:?}", got.rejected);
        last.push(table.spelled(&got.batch).into_iter().filter(|(name, _)| name.starts_with("c_bucket")).map(|(_, v)| v).collect::<Vec<f64>>());
    }
    assert_eq!(last[1], [2.0, 4.0, 8.0, 12.0, 18.0, 18.0]);
    assert_eq!(last[2], [1.0, 3.0, 6.0, 10.0, 10.0]);
}

#[test]
fn starts_are_said_once() {
    let body = request(json!([
        {"name": "n", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [{"startTimeUnixNano": "5000000", "timeUnixNano": "9000000", "asInt": "3"}]}},
        {"name": "g", "gauge": {"dataPoints": [{"startTimeUnixNano": "5000000", "timeUnixNano": "9000000", "asInt": "3"}]}},
        {"name": "q", "summary": {"dataPoints": [{"startTimeUnixNano": "5000000", "timeUnixNano": "9000000", "count": "1", "sum": 1, "quantileValues": [{"quantile": 0.5, "value": 1}]}]}}]));
    let mut table = Table::new(OtlpOptions::default());
    let first = table.decode(&body);
    let starts: Vec<String> = first.batch.starts.iter().map(|(id, ..)| table.resolver.labels(*id).name().to_owned()).collect();
    assert_eq!(starts, ["n_total", "q_sum", "q_count"]);
    assert!(first.batch.starts.iter().all(|(_, from, start)| (*from, *start) == (9, 5)));
    assert_eq!(table.decode(&body).batch.starts.len(), 3, "what was not stored is said again");
    table.cache.stored(&first.batch.starts);
    assert_eq!(table.decode(&body).batch.starts, []);
    // One that slides along with the samples is no restart; one after the sample before is.
    let id = first.batch.starts[0].0;
    let mut known = table.cache.starts();
    assert!(!known.is_news(id, 20, 8) && !known.is_news(id, 30, 19) && known.is_news(id, 40, 31));
}

#[test]
fn names_and_promoted_attributes_follow_the_options() {
    let body = request(json!([{"name": "http.requests", "unit": "s", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
        {"timeUnixNano": "9000000", "asInt": "3", "attributes": [{"key": "http.method", "value": {"stringValue": "GET"}}, {"key": "k8s.pod", "value": {"stringValue": "own"}}]}]}}]));
    let promote = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    for (options, expected) in [
        (OtlpOptions::default(), r#"http_requests_seconds_total{http_method="GET", job="orders", k8s_pod="own"}"#),
        (
            OtlpOptions { translation_strategy: NameTranslation::UnderscoreEscapingWithoutSuffixes, ..OtlpOptions::default() },
            r#"http_requests{http_method="GET", job="orders", k8s_pod="own"}"#,
        ),
        (
            OtlpOptions { translation_strategy: NameTranslation::NoUtf8EscapingWithSuffixes, ..OtlpOptions::default() },
            r#"http.requests_seconds_total{http.method="GET", job="orders", k8s.pod="own"}"#,
        ),
        (
            OtlpOptions {
                translation_strategy: NameTranslation::NoTranslation,
                promote_resource_attributes: promote(&["host.name", "k8s.pod"]),
                ..OtlpOptions::default()
            },
            r#"http.requests{host.name="a1", http.method="GET", job="orders", k8s.pod="own"}"#,
        ),
        (
            OtlpOptions { promote_all_resource_attributes: true, ignore_resource_attributes: promote(&["service.name"]), ..OtlpOptions::default() },
            r#"http_requests_seconds_total{host_name="a1", http_method="GET", job="orders", k8s_pod="own"}"#,
        ),
    ] {
        let mut table = Table::new(options);
        let got = table.decode(&body);
        assert_eq!(table.spelled(&got.batch), [(expected.to_owned(), 3.0)]);
    }
    let mut table = Table::new(OtlpOptions { keep_identifying_resource_attributes: true, ..OtlpOptions::default() });
    let got = table.decode(&body);
    let info = got.batch.series.iter().map(|id| table.resolver.labels(*id)).find(|l| l.name() == "target_info").expect("there is one");
    assert_eq!(info.to_string(), r#"target_info{host_name="a1", job="orders", k8s_pod="p", service_name="orders"}"#);
}
