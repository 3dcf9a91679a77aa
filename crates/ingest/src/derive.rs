//! What is counted at the door, from rows on their way into the store.

pub mod span_metrics;

pub use span_metrics::SpanMetrics;
