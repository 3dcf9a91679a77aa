//! The nouns all of Skopos shares: ids, labels, resources, column batches, limits, clock.
//!
//! Decoders fill the plain-`Vec` column batches here and the store wraps them as Arrow buffers without a copy,
//! so this crate knows neither a wire format nor Arrow. It has no IO and asks no clock.
#![warn(missing_docs)]

pub mod attributes;
pub mod batch;
pub mod clock;
pub mod column;
pub mod histogram;
pub mod ids;
pub mod labels;
pub mod limits;
pub mod log;
pub mod metric;
pub mod rejected;
pub mod resource;
pub mod severity;
pub mod span;
pub mod stream;

pub use attributes::{AttrColumn, AttrColumns, AttrType, AttrValue, AttrValues, Slot};
pub use batch::{Batch, Signal};
pub use clock::{Clock, ManualClock, SystemClock};
pub use column::StrColumn;
pub use histogram::{Buckets, CounterReset, NativeHistogram};
pub use ids::{SpanId, TraceId};
pub use labels::Labels;
pub use limits::IngestLimits;
pub use log::LogBatch;
pub use metric::{Exemplar, MetricKind, MetricMetadata, SampleBatch, SeriesId, SeriesResolver, TimeSeries};
pub use rejected::{Decoded, Rejected};
pub use resource::{Resource, Scope};
pub use severity::Severity;
pub use span::{SpanBatch, SpanKind, StatusCode};
