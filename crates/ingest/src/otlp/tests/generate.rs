//! Requests from a seed.

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    metric, number_data_point, summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};

/// xorshift64*: the same values on every machine.
pub(super) struct Random(u64);

const NOW: u64 = 1_795_000_000_000_000_000;

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn several<T>(&mut self, max: u64, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(max + 1)).map(|_| make(self)).collect()
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }

    fn text(&mut self) -> String {
        let long = "x".repeat(self.below(400) as usize);
        match self.below(8) {
            0 => String::new(),
            1 => "quote\" slash\\ line\n tab\t bell\u{7} nul\0".into(),
            2 => "ünïcode 字符 🦀".into(),
            3 => long,
            _ => format!("text {}", self.below(1000)),
        }
    }

    fn double(&mut self) -> f64 {
        match self.below(6) {
            0 => 0.0,
            1 => -12345.5,
            2 => 0.001,
            3 => self.below(1_000_000) as f64,
            _ => self.below(1_000_000) as f64 / 1000.0,
        }
    }

    fn int(&mut self) -> i64 {
        match self.below(5) {
            0 => i64::MIN,
            1 => -1,
            2 => self.below(200) as i64,
            _ => self.next() as i64,
        }
    }

    fn value(&mut self, depth: u32) -> Option<AnyValue> {
        use any_value::Value;
        let value = match self.below(if depth == 0 { 6 } else { 9 }) {
            0 => Value::BoolValue(self.one_in(2)),
            1 => Value::IntValue(self.int()),
            2 => Value::DoubleValue(self.double()),
            3 => Value::BytesValue(self.text().into_bytes()),
            4 | 5 => Value::StringValue(self.text()),
            6 => Value::ArrayValue(ArrayValue { values: self.several(3, |r| r.value(depth - 1).unwrap_or_default()) }),
            7 => {
                let mut values = self.several(3, |r| r.key_value(depth - 1));
                // JSON objects have each key once; what of doubled ones holds is not what is tested here.
                let mut seen = std::collections::HashSet::new();
                values.retain(|pair| seen.insert(pair.key.clone()));
                Value::KvlistValue(KeyValueList { values })
            }
            _ => return None,
        };
        Some(AnyValue { value: Some(value) })
    }

    fn key_value(&mut self, depth: u32) -> KeyValue {
        let keys = ["http.route", "http.status", "user", "a.b", "ä", "", "_private", "k8s.pod.name", "code"];
        let key = if self.one_in(20) { format!("k{}", self.below(300)) } else { self.pick(&keys).to_owned() };
        KeyValue { key, value: self.value(depth), ..Default::default() }
    }

    fn attributes(&mut self) -> Vec<KeyValue> {
        self.several(6, |r| r.key_value(2))
    }

    fn resource(&mut self) -> Option<Resource> {
        if self.one_in(5) {
            return None;
        }
        let mut attributes = self.attributes();
        if !self.one_in(4) {
            let name = self.pick(&["orders", "payments"]).to_owned();
            let value = Some(AnyValue { value: Some(any_value::Value::StringValue(name)) });
            attributes.push(KeyValue { key: "service.name".into(), value, ..Default::default() });
        }
        Some(Resource { attributes, ..Default::default() })
    }

    fn scope(&mut self) -> Option<InstrumentationScope> {
        let name = self.pick(&["", "lib", "other"]).to_owned();
        (!self.one_in(3)).then(|| InstrumentationScope {
            name,
            version: self.pick(&["", "1.0"]).into(),
            attributes: self.attributes(),
            ..Default::default()
        })
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8 | 1).collect()
    }

    fn id(&mut self, len: usize) -> Vec<u8> {
        if self.one_in(3) { Vec::new() } else { self.bytes(len) }
    }

    pub(super) fn logs_request(&mut self) -> ExportLogsServiceRequest {
        let resource_logs = self.several(3, |r| ResourceLogs {
            resource: r.resource(),
            scope_logs: r.several(3, |r| ScopeLogs { scope: r.scope(), log_records: r.several(8, Self::log), schema_url: r.text() }),
            schema_url: r.text(),
        });
        ExportLogsServiceRequest { resource_logs }
    }

    fn log(&mut self) -> LogRecord {
        LogRecord {
            time_unix_nano: if self.one_in(4) { 0 } else { NOW + self.below(1_000_000) },
            observed_time_unix_nano: if self.one_in(4) { 0 } else { NOW + self.below(1_000_000) },
            severity_number: self.below(25) as i32,
            severity_text: self.pick(&["", "INFO", "warning", "ünusual"]).into(),
            body: self.value(3),
            attributes: self.attributes(),
            dropped_attributes_count: self.below(3) as u32,
            flags: self.below(300) as u32,
            trace_id: self.id(16),
            span_id: self.id(8),
            event_name: self.pick(&["", "started"]).into(),
        }
    }

    pub(super) fn trace_request(&mut self) -> ExportTraceServiceRequest {
        let resource_spans = self.several(3, |r| ResourceSpans {
            resource: r.resource(),
            scope_spans: r.several(3, |r| ScopeSpans { scope: r.scope(), spans: r.several(8, Self::span), schema_url: r.text() }),
            schema_url: r.text(),
        });
        ExportTraceServiceRequest { resource_spans }
    }

    fn span(&mut self) -> Span {
        Span {
            trace_id: if self.one_in(10) { self.bytes(7) } else { self.bytes(16) },
            span_id: if self.one_in(10) { vec![0; 8] } else { self.bytes(8) },
            trace_state: self.pick(&["", "a=b"]).into(),
            parent_span_id: self.id(8),
            flags: self.below(1000) as u32,
            name: self.text(),
            kind: self.below(6) as i32,
            start_time_unix_nano: NOW + self.below(1_000_000),
            end_time_unix_nano: NOW + self.below(1_000_000),
            attributes: self.attributes(),
            dropped_attributes_count: 0,
            events: self.several(2, |r| span::Event {
                time_unix_nano: NOW,
                name: r.text(),
                attributes: Self::once(r.attributes()),
                dropped_attributes_count: 0,
            }),
            dropped_events_count: 0,
            links: self.several(2, |r| span::Link {
                trace_id: r.bytes(16),
                span_id: r.bytes(8),
                trace_state: r.pick(&["", "c=d"]).into(),
                attributes: Self::once(r.attributes()),
                dropped_attributes_count: 0,
                flags: 1,
            }),
            dropped_links_count: 0,
            status: (!self.one_in(3)).then(|| Status { message: self.pick(&["", "no"]).into(), code: self.below(3) as i32 }),
        }
    }

    fn once(mut attributes: Vec<KeyValue>) -> Vec<KeyValue> {
        let mut seen = std::collections::HashSet::new();
        attributes.retain(|pair| seen.insert(pair.key.clone()));
        attributes
    }

    pub(super) fn metrics_request(&mut self) -> ExportMetricsServiceRequest {
        let resource_metrics = self.several(3, |r| ResourceMetrics {
            resource: r.resource(),
            scope_metrics: r.several(2, |r| ScopeMetrics { scope: r.scope(), metrics: r.several(4, Self::metric), schema_url: String::new() }),
            schema_url: String::new(),
        });
        ExportMetricsServiceRequest { resource_metrics }
    }

    fn point_attributes(&mut self) -> Vec<KeyValue> {
        let mut attributes = self.several(3, |r| r.key_value(1));
        // Empty keys refuse the point, which has a test of its own.
        attributes.retain(|pair| !pair.key.is_empty() && pair.key != "ä");
        attributes
    }

    fn number(&mut self) -> NumberDataPoint {
        let value = if self.one_in(2) { number_data_point::Value::AsInt(self.int()) } else { number_data_point::Value::AsDouble(self.double()) };
        NumberDataPoint {
            attributes: self.point_attributes(),
            start_time_unix_nano: NOW,
            time_unix_nano: if self.one_in(5) { 0 } else { NOW + self.below(1 << 40) },
            value: (!self.one_in(10)).then_some(value),
            exemplars: self.several(1, Self::exemplar),
            flags: u32::from(self.one_in(6)),
        }
    }

    fn exemplar(&mut self) -> Exemplar {
        Exemplar {
            filtered_attributes: self.point_attributes(),
            time_unix_nano: NOW,
            value: Some(exemplar::Value::AsDouble(self.double())),
            span_id: self.bytes(8),
            trace_id: self.bytes(16),
        }
    }

    fn metric(&mut self) -> Metric {
        let data = match self.below(6) {
            0 => metric::Data::Gauge(Gauge { data_points: self.several(3, Self::number) }),
            1 | 2 => metric::Data::Sum(Sum {
                data_points: self.several(3, Self::number),
                aggregation_temporality: 1 + i32::from(!self.one_in(4)),
                is_monotonic: self.one_in(2),
            }),
            3 | 4 => metric::Data::Histogram(Histogram {
                data_points: self.several(2, |r| HistogramDataPoint {
                    attributes: r.point_attributes(),
                    start_time_unix_nano: NOW,
                    time_unix_nano: NOW + r.below(1 << 40),
                    count: r.below(1000),
                    sum: (!r.one_in(3)).then(|| r.double()),
                    bucket_counts: vec![r.below(10), r.below(10), r.below(10)],
                    explicit_bounds: vec![0.005, if r.one_in(8) { 0.001 } else { 2.5 }],
                    exemplars: r.several(1, Self::exemplar),
                    flags: u32::from(r.one_in(6)),
                    min: None,
                    max: None,
                }),
                aggregation_temporality: 1 + i32::from(!self.one_in(4)),
            }),
            _ => metric::Data::Summary(Summary {
                data_points: self.several(2, |r| SummaryDataPoint {
                    attributes: r.point_attributes(),
                    start_time_unix_nano: NOW,
                    time_unix_nano: NOW + r.below(1 << 40),
                    count: r.below(1000),
                    sum: r.double(),
                    quantile_values: vec![ValueAtQuantile { quantile: 0.5, value: r.double() }, ValueAtQuantile { quantile: 1.0, value: r.double() }],
                    flags: u32::from(r.one_in(6)),
                }),
            }),
        };
        Metric {
            name: self.pick(&["http.server.requests", "queue.size", "latency", "9lives"]).into(),
            description: self.text(),
            unit: self.pick(&["", "s", "By", "1", "{request}"]).into(),
            metadata: vec![],
            data: (!self.one_in(10)).then_some(data),
        }
    }
}
