//! Samples, exemplars and metadata.

use serde::{Deserialize, Serialize};

use crate::histogram::NativeHistogram;
use crate::ids::{SpanId, TraceId};
use crate::labels::Labels;

/// A series' number, given by the store and stable for its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesId(pub u32);

/// The NaN bit pattern with which Prometheus marks the end of a series.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Whether a value is Prometheus' staleness marker (not just any NaN).
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// Turns a series as it came over the wire into its number.
///
/// The hot path of metric ingest: senders repeat the same series in the same order, so an implementation
/// predicts the successor of the last series, compares raw bytes, and calls `parse` only for a series it has
/// never seen.
pub trait SeriesResolver {
    /// `raw` are the wire bytes of the label set; equal bytes mean equal labels (the reverse need not hold).
    /// `None` when the series is refused (a limit on active series); the caller counts its samples as rejected.
    ///
    /// `parse` gives an empty label set when the labels are invalid (no name, doubled names, over a limit): an
    /// implementation answers `None` to it and remembers nothing. The decoder that gave it knows the reason.
    fn resolve(&mut self, raw: &[u8], parse: &mut dyn FnMut() -> Labels) -> Option<SeriesId>;

    /// Why the series asked for last was refused, when it was: the limit, and what has reached it.
    fn refusal(&self) -> String {
        "the store takes no more series".to_owned()
    }

    /// The series refused last had this many samples.
    fn lost(&mut self, _samples: u64) {}

    /// The same request is read once more: what was refused so far of it is not to be counted twice.
    fn again(&mut self) {}
}

/// An exemplar: one observed value and the trace it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exemplar {
    /// Unix milliseconds.
    pub timestamp: i64,
    /// Observed value.
    pub value: f64,
    /// Trace it came from, [`TraceId::NONE`] when not given.
    pub trace_id: TraceId,
    /// Span it came from, [`SpanId::NONE`] when not given.
    pub span_id: SpanId,
    /// The exemplar's other labels.
    pub labels: Labels,
}

/// Metric type as Prometheus' metadata names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricKind {
    /// Type not stated.
    Unknown,
    /// Only goes up, or restarts from zero.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
    /// Histogram of a current state.
    GaugeHistogram,
    /// Quantiles computed by the client.
    Summary,
    /// Always 1, its labels carry facts.
    Info,
    /// A set of named states.
    StateSet,
}

/// Type, help and unit of a metric family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricMetadata {
    /// Family name, without `_total`, `_bucket`, `_sum`, `_count` for classic types.
    pub family: Box<str>,
    /// Type.
    pub kind: MetricKind,
    /// Help text.
    pub help: Box<str>,
    /// Unit, empty when not given.
    pub unit: Box<str>,
}

/// Samples whose series are known to the store: runs of samples, one run a series.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SampleBatch {
    /// Series of each run.
    pub series: Vec<SeriesId>,
    /// End of each run in `timestamps` and `values` (the first starts at 0).
    pub ends: Vec<u32>,
    /// Unix milliseconds.
    pub timestamps: Vec<i64>,
    /// Values; NaN payloads are kept bit for bit.
    pub values: Vec<f64>,
    /// Native histograms: series, Unix milliseconds, histogram.
    pub histograms: Vec<(SeriesId, i64, NativeHistogram)>,
    /// When counters were started: series, from which sample on (Unix milliseconds), start (Unix milliseconds). Only
    /// where a sender says so, and only where it differs from the sample before.
    pub starts: Vec<(SeriesId, i64, i64)>,
    /// Exemplars with their series.
    pub exemplars: Vec<(SeriesId, Exemplar)>,
    /// Metadata that came along.
    pub metadata: Vec<MetricMetadata>,
}

impl SampleBatch {
    /// Number of samples, native histograms among them.
    pub fn len(&self) -> usize {
        self.values.len() + self.histograms.len()
    }

    /// Whether there is nothing in it, exemplars and metadata included.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.starts.is_empty() && self.exemplars.is_empty() && self.metadata.is_empty()
    }

    /// Appends one sample, opening a run when the series changes.
    #[inline]
    pub fn push(&mut self, series: SeriesId, timestamp: i64, value: f64) {
        self.timestamps.push(timestamp);
        self.values.push(value);
        let end = u32::try_from(self.values.len()).expect("a batch has fewer than 2^32 samples: bodies are limited");
        match self.ends.last_mut() {
            Some(last) if self.series.last() == Some(&series) => *last = end,
            _ => {
                self.series.push(series);
                self.ends.push(end);
            }
        }
    }

    /// The runs of floats: series, timestamps, values.
    pub fn runs(&self) -> impl Iterator<Item = (SeriesId, &[i64], &[f64])> + '_ {
        let mut start = 0;
        self.series.iter().zip(&self.ends).map(move |(series, end)| {
            let range = start..*end as usize;
            start = *end as usize;
            (*series, &self.timestamps[range.clone()], &self.values[range])
        })
    }
}

/// A series with its labels spelled out: what scrapes, rules and derived metrics produce.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TimeSeries {
    /// Labels, `__name__` among them.
    pub labels: Labels,
    /// (Unix milliseconds, value).
    pub samples: Vec<(i64, f64)>,
    /// (Unix milliseconds, native histogram).
    pub histograms: Vec<(i64, NativeHistogram)>,
    /// When the counter was started: (from which sample on, start), Unix milliseconds.
    pub starts: Vec<(i64, i64)>,
    /// Exemplars.
    pub exemplars: Vec<Exemplar>,
}
