//! What is appended to the store in one go.

use serde::{Deserialize, Serialize};

use crate::log::LogBatch;
use crate::metric::{MetricMetadata, SampleBatch, TimeSeries};
use crate::span::SpanBatch;

/// The three signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Log records.
    Logs,
    /// Spans.
    Traces,
    /// Samples.
    Metrics,
}

impl Signal {
    /// Lower-case name as OTLP's paths write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }
}

/// Decoded rows of one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Batch {
    /// Log records.
    Logs(LogBatch),
    /// Spans.
    Spans(SpanBatch),
    /// Samples of series the store has numbered.
    Samples(SampleBatch),
    /// Samples with their labels spelled out, and metadata; the store numbers the series itself.
    Series(Vec<TimeSeries>, Vec<MetricMetadata>),
}

impl Batch {
    /// Which signal the rows belong to.
    pub fn signal(&self) -> Signal {
        match self {
            Self::Logs(_) => Signal::Logs,
            Self::Spans(_) => Signal::Traces,
            Self::Samples(_) | Self::Series(..) => Signal::Metrics,
        }
    }

    /// Number of records, spans or samples.
    pub fn rows(&self) -> usize {
        match self {
            Self::Logs(b) => b.len(),
            Self::Spans(b) => b.len(),
            Self::Samples(b) => b.len(),
            Self::Series(all, _) => all.iter().map(|s| s.samples.len() + s.histograms.len()).sum(),
        }
    }

    /// The batch as bytes for the write-ahead log, where no request body stands for it.
    ///
    /// # Errors
    /// For [`Batch::Samples`]: its series numbers mean nothing to a later process; log the request body.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BatchError> {
        let stored = match self {
            Self::Logs(b) => StoredRef::Logs(b),
            Self::Spans(b) => StoredRef::Spans(b),
            Self::Series(s, m) => StoredRef::Series(s, m),
            Self::Samples(_) => return Err(BatchError::NumberedSeries),
        };
        Ok(postcard::to_stdvec(&stored)?)
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BatchError> {
        Ok(match postcard::from_bytes(bytes)? {
            Stored::Logs(b) => Self::Logs(b),
            Stored::Spans(b) => Self::Spans(b),
            Stored::Series(s, m) => Self::Series(s, m),
        })
    }
}

#[derive(Serialize)]
enum StoredRef<'a> {
    Logs(&'a LogBatch),
    Spans(&'a SpanBatch),
    Series(&'a [TimeSeries], &'a [MetricMetadata]),
}

#[derive(Deserialize)]
enum Stored {
    Logs(LogBatch),
    Spans(SpanBatch),
    Series(Vec<TimeSeries>, Vec<MetricMetadata>),
}

/// Why a batch could not be turned into bytes or back.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// Only request bodies and labelled series are logged.
    #[error("samples of numbered series cannot be logged without their labels")]
    NumberedSeries,
    /// The bytes are no batch of this version.
    #[error("stored batch does not decode: {0}")]
    Format(#[from] postcard::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Labels, TraceId};

    #[test]
    fn bytes_and_back() {
        let mut logs = LogBatch::default();
        logs.time.push(7);
        logs.body.push("hello");
        logs.trace_id.push(TraceId([3; 16]));
        logs.attributes.push_int(0, "n", -1);
        let series = TimeSeries { labels: Labels::new([("__name__", "up")]), samples: vec![(1, 0.5)], ..TimeSeries::default() };
        for batch in [Batch::Logs(logs), Batch::Series(vec![series], vec![])] {
            let bytes = batch.to_bytes().expect("can be logged");
            assert_eq!(Batch::from_bytes(&bytes).expect("reads back"), batch);
        }
    }
}
