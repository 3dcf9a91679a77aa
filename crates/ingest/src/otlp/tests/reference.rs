//! Rows from generated structs and from batches, in a plain form that can be compared.

use std::collections::BTreeMap;

use base64::Engine as _;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use serde_json::{Value as Json, json};
use skopos_model::metric::STALE_NAN_BITS;
use skopos_model::{AttrColumns, AttrValue, LogBatch, Resource, SampleBatch, Scope, Severity, SpanBatch};

use super::RECEIVED;
use crate::otlp::names::{NameKind, NameTranslation};
use crate::test_util::TableResolver;

/// A row by column name.
pub(super) type Row = BTreeMap<String, Json>;

fn json_of(value: &Option<AnyValue>) -> Json {
    use any_value::Value;
    match value.as_ref().and_then(|v| v.value.as_ref()) {
        None => Json::Null,
        Some(Value::StringValue(s)) => json!(s),
        Some(Value::BoolValue(b)) => json!(b),
        Some(Value::IntValue(i)) => json!(i),
        Some(Value::DoubleValue(d)) => json!(d),
        Some(Value::BytesValue(raw)) => json!(base64::engine::general_purpose::STANDARD.encode(raw)),
        Some(Value::ArrayValue(list)) => list.values.iter().map(|v| json_of(&Some(v.clone()))).collect(),
        Some(Value::KvlistValue(list)) => object_of(&list.values),
        Some(Value::StringValueStrindex(_)) => unreachable!("not generated"),
    }
}

fn object_of(pairs: &[KeyValue]) -> Json {
    Json::Object(pairs.iter().map(|pair| (pair.key.clone(), json_of(&pair.value))).collect())
}

/// Type and value: of equal keys and types the first wins, no value is no attribute.
fn typed(pairs: &[KeyValue]) -> BTreeMap<String, Json> {
    let mut all = BTreeMap::new();
    for pair in pairs {
        let json = json_of(&pair.value);
        let ty = match &json {
            Json::Null => continue,
            Json::String(_) => "str",
            Json::Bool(_) => "bool",
            Json::Number(n) if n.is_f64() => "double",
            Json::Number(_) => "int",
            Json::Array(_) | Json::Object(_) => "json",
        };
        all.entry(format!("{}/{ty}", pair.key)).or_insert(json);
    }
    all
}

fn typed_value(value: &AttrValue) -> (&'static str, Json) {
    match value {
        AttrValue::Str(s) => ("str", json!(s)),
        AttrValue::Int(i) => ("int", json!(i)),
        AttrValue::Double(d) => ("double", json!(d)),
        AttrValue::Bool(b) => ("bool", json!(b)),
        AttrValue::Json(text) => ("json", serde_json::from_str(text).expect("JSON text")),
    }
}

fn typed_row(columns: &AttrColumns, row: usize) -> BTreeMap<String, Json> {
    let values = columns.row(row as u32);
    values.iter().map(|(key, value)| (format!("{key}/{}", typed_value(value).0), typed_value(value).1)).collect()
}

/// Resource attributes have each key once, whatever its type.
fn resource_of(resource: &Option<ProtoResource>) -> BTreeMap<String, Json> {
    let pairs = resource.as_ref().map_or(&[][..], |r| &r.attributes);
    let mut all = BTreeMap::new();
    for pair in pairs {
        let json = json_of(&pair.value);
        if !json.is_null() {
            all.entry(pair.key.clone()).or_insert(json);
        }
    }
    all
}

fn resource_row(resource: &Resource) -> BTreeMap<String, Json> {
    resource.attributes.iter().map(|(key, value)| (key.to_string(), typed_value(value).1)).collect()
}

fn scope_of(scope: &Option<InstrumentationScope>) -> Json {
    scope.as_ref().map_or(json!(["", ""]), |s| json!([s.name, s.version]))
}

fn scope_row(scope: &Scope) -> Json {
    json!([&*scope.name, &*scope.version])
}

fn hex(id: &[u8], len: usize) -> String {
    if id.is_empty() { "00".repeat(len) } else { id.iter().map(|b| format!("{b:02x}")).collect() }
}

/// Empty where a text is empty, as JSON where the value is a list or object.
fn body_json(text: &str, is_text: bool) -> Json {
    if is_text { json!(text) } else { serde_json::from_str(text).expect("JSON text") }
}

pub(super) fn of_log_request(request: &ExportLogsServiceRequest) -> Vec<Row> {
    let mut rows = Vec::new();
    for of_resource in &request.resource_logs {
        for of_scope in &of_resource.scope_logs {
            for record in &of_scope.log_records {
                let observed = if record.observed_time_unix_nano == 0 { RECEIVED } else { record.observed_time_unix_nano as i64 };
                let time = if record.time_unix_nano == 0 { observed } else { record.time_unix_nano as i64 };
                let severity = match record.severity_number {
                    0 => Severity::from_text(&record.severity_text).map_or(0, |s| s.number()),
                    n => n as u8,
                };
                let body = match json_of(&record.body) {
                    Json::Null => json!(""),
                    other => other,
                };
                rows.push(Row::from([
                    ("time".into(), json!([time, observed])),
                    ("severity".into(), json!([severity, record.severity_text])),
                    ("body".into(), body),
                    ("ids".into(), json!([hex(&record.trace_id, 16), hex(&record.span_id, 8)])),
                    ("rest".into(), json!([record.flags as u8, record.event_name])),
                    ("attributes".into(), json!(typed(&record.attributes))),
                    ("resource".into(), json!(resource_of(&of_resource.resource))),
                    ("scope".into(), scope_of(&of_scope.scope)),
                ]));
            }
        }
    }
    rows
}

pub(super) fn of_log_batch(batch: &LogBatch) -> Vec<Row> {
    let row = |i: usize| {
        let text = batch.body.get(i);
        // Lists and objects are told by being JSON; a generated text never is.
        let structured = serde_json::from_str::<Json>(text).is_ok();
        Row::from([
            ("time".into(), json!([batch.time[i], batch.observed[i]])),
            ("severity".into(), json!([batch.severity_number[i], batch.severity_text.get(i)])),
            ("body".into(), body_json(text, !structured)),
            ("ids".into(), json!([batch.trace_id[i].to_hex(), batch.span_id[i].to_hex()])),
            ("rest".into(), json!([batch.flags[i], batch.event_name.get(i)])),
            ("attributes".into(), json!(typed_row(&batch.attributes, i))),
            ("resource".into(), json!(resource_row(&batch.resources[batch.resource[i] as usize]))),
            ("scope".into(), scope_row(&batch.scopes[batch.scope[i] as usize])),
        ])
    };
    (0..batch.len()).map(row).collect()
}

/// Rows, and how many spans have no valid id.
/// A span's attributes, and behind them its scope's.
fn with_scope(own: &[KeyValue], scope: &Option<InstrumentationScope>) -> Vec<KeyValue> {
    let of_scope = scope.iter().flat_map(|s| &s.attributes).cloned();
    own.iter().cloned().chain(of_scope.map(|pair| KeyValue { key: format!("otel.scope.{}", pair.key), ..pair })).collect()
}

pub(super) fn of_trace_request(request: &ExportTraceServiceRequest) -> (Vec<Row>, u64) {
    let (mut rows, mut rejected) = (Vec::new(), 0);
    for of_resource in &request.resource_spans {
        for of_scope in &of_resource.scope_spans {
            for span in &of_scope.spans {
                if span.trace_id.len() != 16 || span.span_id.iter().all(|b| *b == 0) {
                    rejected += 1;
                    continue;
                }
                let status = span.status.clone().unwrap_or_default();
                let events: Vec<Json> = span
                    .events
                    .iter()
                    .map(|e| json!({"time_unix_nano": e.time_unix_nano, "name": e.name, "attributes": object_of(&e.attributes)}))
                    .collect();
                let links: Vec<Json> = span
                    .links
                    .iter()
                    .map(|l| {
                        let mut link =
                            json!({"trace_id": hex(&l.trace_id, 16), "span_id": hex(&l.span_id, 8), "attributes": object_of(&l.attributes)});
                        if !l.trace_state.is_empty() {
                            link["trace_state"] = json!(l.trace_state);
                        }
                        link
                    })
                    .collect();
                let duration = (span.end_time_unix_nano as i64 - span.start_time_unix_nano as i64).max(0);
                rows.push(Row::from([
                    ("ids".into(), json!([hex(&span.trace_id, 16), hex(&span.span_id, 8), hex(&span.parent_span_id, 8)])),
                    ("times".into(), json!([span.start_time_unix_nano, duration])),
                    ("names".into(), json!([span.name, span.trace_state, status.message])),
                    ("numbers".into(), json!([span.kind, status.code, span.flags])),
                    ("events".into(), json!(events)),
                    ("links".into(), json!(links)),
                    ("attributes".into(), json!(typed(&with_scope(&span.attributes, &of_scope.scope)))),
                    ("resource".into(), json!(resource_of(&of_resource.resource))),
                    ("scope".into(), scope_of(&of_scope.scope)),
                ]));
            }
        }
    }
    (rows, rejected)
}

pub(super) fn of_span_batch(batch: &SpanBatch) -> Vec<Row> {
    let list = |text: &str| -> Json { if text.is_empty() { json!([]) } else { serde_json::from_str(text).expect("JSON text") } };
    let row = |i: usize| {
        Row::from([
            ("ids".into(), json!([batch.trace_id[i].to_hex(), batch.span_id[i].to_hex(), batch.parent_span_id[i].to_hex()])),
            ("times".into(), json!([batch.start[i], batch.duration[i]])),
            ("names".into(), json!([batch.name.get(i), batch.trace_state.get(i), batch.status_message.get(i)])),
            ("numbers".into(), json!([batch.kind[i], batch.status_code[i], batch.flags[i]])),
            ("events".into(), list(batch.events.get(i))),
            ("links".into(), list(batch.links.get(i))),
            ("attributes".into(), json!(typed_row(&batch.attributes, i))),
            ("resource".into(), json!(resource_row(&batch.resources[batch.resource[i] as usize]))),
            ("scope".into(), scope_row(&batch.scopes[batch.scope[i] as usize])),
        ])
    };
    (0..batch.len()).map(row).collect()
}

/// Labels as text, timestamp, bits of the value.
pub(super) type Sample = (String, i64, u64);

/// Samples of a batch in a fixed order, `target_info` left out.
pub(super) fn of_samples(batch: &SampleBatch, resolver: &TableResolver) -> Vec<Sample> {
    let mut all = Vec::new();
    for (id, times, values) in batch.runs() {
        let labels = resolver.labels(id);
        if labels.name() != "target_info" {
            all.extend(times.iter().zip(values).map(|(time, value)| (labels.to_string(), *time, value.to_bits())));
        }
    }
    all.sort();
    all
}

fn label_text(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(s) => s.clone(),
        Json::Number(n) if n.is_f64() => n.as_f64().expect("a double").to_string(),
        other => other.to_string(),
    }
}

/// Samples of a request in a fixed order, and how many points are refused.
pub(super) fn of_metrics_request(request: &ExportMetricsServiceRequest) -> (Vec<Sample>, u64) {
    let (mut all, mut rejected) = (Vec::new(), 0);
    for of_resource in &request.resource_metrics {
        let job = resource_of(&of_resource.resource).get("service.name").map(label_text).unwrap_or_default();
        let base = |name: String, attributes: &[KeyValue]| {
            let mut texts: Vec<(String, String)> = attributes.iter().map(|a| (a.key.clone(), label_text(&json_of(&a.value)))).collect();
            texts.sort();
            let mut labels: BTreeMap<String, String> = BTreeMap::new();
            for (key, value) in texts {
                let key = NameTranslation::default().label_name(&key).expect("a label").into_owned();
                labels.entry(key).and_modify(|known| *known = format!("{known};{value}")).or_insert(value);
            }
            if !job.is_empty() {
                labels.insert("job".into(), job.clone());
            }
            labels.insert("__name__".into(), name);
            labels
        };
        let shown = |labels: BTreeMap<String, String>| skopos_model::Labels::new(labels).to_string();
        let millis = |nanos: u64| if nanos == 0 { RECEIVED / 1_000_000 } else { (nanos / 1_000_000) as i64 };
        let stale = |flags: u32, value: f64| if flags & 1 == 1 { STALE_NAN_BITS } else { value.to_bits() };
        for metric in of_resource.scope_metrics.iter().flat_map(|s| &s.metrics) {
            let name = |kind| NameTranslation::default().metric_name("", &metric.name, &metric.unit, kind).expect("a name");
            let (points, kind) = match &metric.data {
                None => continue,
                Some(metric::Data::Gauge(gauge)) => (&gauge.data_points, NameKind::Gauge),
                Some(metric::Data::Sum(sum)) if sum.aggregation_temporality != 2 => {
                    rejected += sum.data_points.len() as u64;
                    continue;
                }
                Some(metric::Data::Sum(sum)) => (&sum.data_points, if sum.is_monotonic { NameKind::Counter } else { NameKind::Other }),
                Some(metric::Data::Histogram(histogram)) => {
                    for point in &histogram.data_points {
                        if histogram.aggregation_temporality != 2 || point.explicit_bounds[0] >= point.explicit_bounds[1] {
                            rejected += 1;
                            continue;
                        }
                        let mut push = |suffix: &str, le: Option<&str>, value: f64| {
                            let mut labels = base(format!("{}{suffix}", name(NameKind::Other)), &point.attributes);
                            if let Some(le) = le {
                                labels.insert("le".into(), le.into());
                            }
                            all.push((shown(labels), millis(point.time_unix_nano), stale(point.flags, value)));
                        };
                        push("_bucket", Some("0.005"), point.bucket_counts[0] as f64);
                        push("_bucket", Some("2.5"), (point.bucket_counts[0] + point.bucket_counts[1]) as f64);
                        push("_bucket", Some("+Inf"), point.count as f64);
                        push("_count", None, point.count as f64);
                        if point.sum.is_some() || point.flags & 1 == 1 {
                            push("_sum", None, point.sum.unwrap_or(0.0));
                        }
                    }
                    continue;
                }
                Some(metric::Data::Summary(summary)) => {
                    for point in &summary.data_points {
                        let mut push = |suffix: &str, quantile: Option<&str>, value: f64| {
                            let mut labels = base(format!("{}{suffix}", name(NameKind::Other)), &point.attributes);
                            if let Some(quantile) = quantile {
                                labels.insert("quantile".into(), quantile.into());
                            }
                            all.push((shown(labels), millis(point.time_unix_nano), stale(point.flags, value)));
                        };
                        push("", Some("0.5"), point.quantile_values[0].value);
                        push("", Some("1"), point.quantile_values[1].value);
                        push("_sum", None, point.sum);
                        push("_count", None, point.count as f64);
                    }
                    continue;
                }
                Some(metric::Data::ExponentialHistogram(_)) => unreachable!("not generated"),
            };
            for point in points {
                let value = match point.value {
                    Some(number_data_point::Value::AsInt(i)) => i as f64,
                    Some(number_data_point::Value::AsDouble(d)) => d,
                    None if point.flags & 1 == 1 => 0.0,
                    None => {
                        rejected += 1;
                        continue;
                    }
                };
                all.push((shown(base(name(kind), &point.attributes)), millis(point.time_unix_nano), stale(point.flags, value)));
            }
        }
    }
    all.sort();
    (all, rejected)
}
