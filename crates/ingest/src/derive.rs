//! What is told of rows on their way into the store: counted from spans, read out of lines.

pub mod message;
pub mod severity;
pub mod span_metrics;
pub mod stable_keys;

pub use span_metrics::SpanMetrics;
