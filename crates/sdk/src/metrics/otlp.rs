//! Metrics as OTLP: cumulative, with exemplars.

use super::histogram::{Exemplar, Snapshot};
use super::name::Kind;
use super::registry::{Metric, Registry, Source};
use crate::value::Value;
use crate::wire;

const CUMULATIVE: u64 = 2;
/// `metrics` of ScopeMetrics.
const METRIC: u32 = 2;

impl Registry {
    /// Appends every metric as a field of `ScopeMetrics`; says how many data points there were.
    pub(crate) fn encode_otlp(&self, out: &mut Vec<u8>, now_ns: u64) -> u64 {
        let mut points = 0;
        for metric in self.metrics().iter().filter(|metric| !metric.scrape_only) {
            points += encode(out, metric, self.start_ns(), now_ns);
        }
        points
    }
}

fn encode(out: &mut Vec<u8>, metric: &Metric, start_ns: u64, now_ns: u64) -> u64 {
    let mut points = 0;
    let mut data = Vec::new();
    let mut number = |data: &mut Vec<u8>, values: Option<&[&str]>, value: f64| {
        points += 1;
        wire::message(data, 1, |out| {
            wire::fixed64(out, 2, start_ns);
            wire::fixed64(out, 3, now_ns);
            wire::double(out, 4, value);
            attributes(out, 7, &metric.labels, values);
        });
    };
    match &metric.source {
        Source::Counter(series) | Source::Gauge(series) => {
            for series in series.all() {
                number(&mut data, borrowed(series.labels.as_deref()).as_deref(), series.value.get());
            }
        }
        Source::Observed(read) => read(&mut |values, value| number(&mut data, Some(values), value)),
        Source::Histogram(series) => {
            for series in series.all() {
                points += 1;
                let values = borrowed(series.labels.as_deref());
                let snapshot = series.value.snapshot();
                wire::message(&mut data, 1, |out| histogram(out, &metric.labels, values.as_deref(), &snapshot, start_ns, now_ns));
            }
        }
    }
    if points == 0 {
        return 0;
    }
    wire::message(out, METRIC, |out| {
        wire::string(out, 1, &metric.name);
        wire::string(out, 2, &metric.help);
        wire::string(out, 3, &metric.unit);
        match metric.kind {
            Kind::Gauge => wire::bytes(out, 5, &data),
            Kind::Counter => {
                wire::uint(&mut data, 2, CUMULATIVE);
                wire::uint(&mut data, 3, 1);
                wire::bytes(out, 7, &data);
            }
            Kind::Histogram => {
                wire::uint(&mut data, 2, CUMULATIVE);
                wire::bytes(out, 9, &data);
            }
        }
    });
    points
}

fn histogram(out: &mut Vec<u8>, labels: &[String], values: Option<&[&str]>, snapshot: &Snapshot, start_ns: u64, now_ns: u64) {
    wire::fixed64(out, 2, start_ns);
    wire::fixed64(out, 3, now_ns);
    wire::fixed64(out, 4, snapshot.counts.iter().sum());
    wire::double(out, 5, snapshot.sum);
    wire::packed_fixed64(out, 6, snapshot.counts.iter().copied());
    wire::packed_fixed64(out, 7, snapshot.bounds.iter().map(|bound| bound.to_bits()));
    for exemplar in snapshot.exemplars.iter().flatten() {
        wire::message(out, 8, |out| write_exemplar(out, exemplar));
    }
    attributes(out, 9, labels, values);
}

fn write_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    wire::fixed64(out, 2, exemplar.time_ns);
    wire::double(out, 3, exemplar.value);
    wire::bytes(out, 4, &exemplar.span_id.to_bytes());
    wire::bytes(out, 5, &exemplar.trace_id.to_bytes());
}

fn attributes(out: &mut Vec<u8>, field: u32, labels: &[String], values: Option<&[&str]>) {
    match values {
        Some(values) => {
            for (label, value) in labels.iter().zip(values) {
                wire::key_value(out, field, label, &Value::from(*value));
            }
        }
        None => wire::key_value(out, field, "otel.metric.overflow", &Value::from(true)),
    }
}

fn borrowed(labels: Option<&[Box<str>]>) -> Option<Vec<&str>> {
    labels.map(|labels| labels.iter().map(AsRef::as_ref).collect())
}
