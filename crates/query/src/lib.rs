//! Query languages over traits this crate defines: PromQL, TraceQL, and the filter grammar for logs and traces.
//!
//! Parsing, planning and evaluation live here; reading rows is the business of whoever implements
//! [`metrics::Queryable`], [`logs::LogStore`] and [`traces::TraceStore`]. No IO, no DataFusion, no wall clock.

pub mod cardinality;
pub mod context;
pub mod critical_path;
pub mod error;
pub mod filter;
pub mod logql;
pub mod logs;
pub mod metrics;
pub mod promql;
pub mod time_range;
pub mod traceql;
pub mod traces;
pub mod windows;

pub use context::{QueryContext, QueryLimits, QueryStats};
pub use error::{QueryError, Span};
pub use time_range::TimeRange;
