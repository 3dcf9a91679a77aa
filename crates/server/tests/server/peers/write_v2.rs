//! The body of a remote write 2.0 request, free to say what no sender would.

use std::collections::BTreeMap;

use prost::Message;

pub(super) const CONTENT_TYPE: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// `io.prometheus.write.v2.Request`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(uint32, repeated, tag = "1")]
    labels: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<Histogram>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<Exemplar>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    #[prost(int64, tag = "3")]
    start: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar {
    #[prost(uint32, repeated, tag = "1")]
    labels: Vec<u32>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint32, tag = "3")]
    help: u32,
    #[prost(uint32, tag = "4")]
    unit: u32,
}

/// A native histogram with integer counts.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Histogram {
    #[prost(uint64, tag = "1")]
    pub(super) count: u64,
    #[prost(double, tag = "3")]
    pub(super) sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(double, tag = "5")]
    zero_threshold: f64,
    #[prost(uint64, tag = "6")]
    zero_count: u64,
    #[prost(message, repeated, tag = "8")]
    negative_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "9")]
    negative_deltas: Vec<i64>,
    #[prost(message, repeated, tag = "11")]
    positive_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "12")]
    positive_deltas: Vec<i64>,
    #[prost(int64, tag = "15")]
    timestamp: i64,
    #[prost(double, repeated, tag = "16")]
    custom_values: Vec<f64>,
    #[prost(int64, tag = "17")]
    start: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

/// Which buckets a histogram has.
#[derive(Clone, Copy, Default)]
pub(super) struct Buckets {
    pub(super) positive: bool,
    pub(super) negative: bool,
    pub(super) zero: bool,
    pub(super) custom: bool,
}

impl Histogram {
    /// Its count is what its buckets hold.
    pub(super) fn new(sum: f64, buckets: Buckets) -> Self {
        let mut histogram = Self { sum, ..Self::default() };
        if buckets.positive || buckets.custom {
            // Buckets of 2, 3, none, none, 5, 1.
            histogram.positive_spans = vec![Span { offset: 0, length: 2 }, Span { offset: 2, length: 2 }];
            histogram.positive_deltas = vec![2, 1, 2, -4];
            histogram.count += 11;
        }
        if buckets.custom {
            histogram.schema = -53;
            histogram.custom_values = vec![0.1, 0.5, 1.0, 2.5, 5.0];
        }
        if buckets.negative {
            histogram.negative_spans = vec![Span { offset: 1, length: 1 }];
            histogram.negative_deltas = vec![4];
            histogram.count += 4;
        }
        if buckets.zero {
            (histogram.zero_count, histogram.zero_threshold) = (1, 0.001);
            histogram.count += 1;
        }
        histogram
    }
}

/// A series in the making.
#[derive(Clone, Default)]
pub(super) struct Series {
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: Option<f64>,
    pub(super) histogram: Option<Histogram>,
    pub(super) exemplars: Vec<(Vec<(String, String)>, f64)>,
    pub(super) metadata: Option<(i32, String, String)>,
    /// How long before now its sample is, milliseconds.
    pub(super) ago: i64,
    /// How long before its sample it began, milliseconds.
    since: i64,
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl Series {
    /// With these labels, in this order: nothing in the protocol promises a sorted one.
    pub(super) fn of(labels: &[(&str, &str)]) -> Self {
        Self { labels: owned(labels), ..Self::default() }
    }

    pub(super) fn named(name: &str) -> Self {
        Self::of(&[("job", "test"), ("__name__", name)])
    }

    pub(super) fn value(mut self, value: f64) -> Self {
        self.value = Some(value);
        self
    }

    pub(super) fn histogram(mut self, sum: f64, buckets: Buckets) -> Self {
        self.histogram = Some(Histogram::new(sum, buckets));
        self
    }

    pub(super) fn exemplar(mut self, labels: &[(&str, &str)], value: f64) -> Self {
        self.exemplars.push((owned(labels), value));
        self
    }

    pub(super) fn metadata(mut self, kind: i32, help: &str, unit: &str) -> Self {
        self.metadata = Some((kind, help.to_owned(), unit.to_owned()));
        self
    }

    pub(super) fn ago(mut self, millis: i64) -> Self {
        self.ago = millis;
        self
    }

    pub(super) fn since(mut self, millis: i64) -> Self {
        self.since = millis;
        self
    }

    pub(super) fn name(&self) -> &str {
        self.labels.iter().find(|(name, _)| name == "__name__").map_or("", |(_, value)| value)
    }
}

/// A request of these series, its samples at `now` (Unix milliseconds) or before.
pub(super) fn request(series: &[Series], now: i64) -> Request {
    let mut symbols = vec![String::new()];
    let mut known: BTreeMap<String, u32> = BTreeMap::from([(String::new(), 0)]);
    let mut symbol = |text: &str| {
        *known.entry(text.to_owned()).or_insert_with(|| {
            symbols.push(text.to_owned());
            symbols.len() as u32 - 1
        })
    };
    let mut timeseries = Vec::new();
    for one in series {
        let timestamp = now - one.ago;
        let start = if one.since > 0 { timestamp - one.since } else { 0 };
        let mut refs = |labels: &[(String, String)]| -> Vec<u32> { labels.iter().flat_map(|(name, value)| [symbol(name), symbol(value)]).collect() };
        let message = TimeSeries {
            labels: refs(&one.labels),
            samples: one.value.into_iter().map(|value| Sample { value, timestamp, start }).collect(),
            histograms: one.histogram.iter().map(|h| Histogram { timestamp, start, ..h.clone() }).collect(),
            exemplars: one.exemplars.iter().map(|(labels, value)| Exemplar { labels: refs(labels), value: *value, timestamp }).collect(),
            metadata: one.metadata.as_ref().map(|(kind, help, unit)| Metadata { kind: *kind, help: symbol(help), unit: symbol(unit) }),
        };
        timeseries.push(message);
    }
    Request { symbols, timeseries }
}
