//! TraceQL: text to tree, tree to spansets and series over any [`crate::traces::TraceStore`].
//!
//! [`parse`] turns text into a [`Query`] and refuses what Tempo refuses. Names of fields and functions are tables,
//! [`INTRINSICS`] and [`FUNCTIONS`]. [`search()`] finds traces: the store is asked for candidates by the part of the query that columns answer,
//! and the query is evaluated on each whole trace. [`metrics()`] computes series in one pass over columns where no other span
//! has to be known.

mod ast;
mod check;
mod display;
mod eval;
mod fields;
mod metrics;
mod parse;
mod parse_field;
mod parse_metrics;
mod plan;
mod search;
mod series;
mod sketch;
mod spanset;
#[cfg(test)]
mod tests;
mod token;
mod trace;
mod value;

pub use ast::{
    AggregateOp, Body, Field, FieldExpr, MetricsExpr, MetricsFunction, MetricsPipeline, Op, Query, Relation, ScalarExpr, Scope, SecondStage,
    SpansetExpr, SpansetOp, Stage, Static, Take, UnaryOp,
};
pub use check::GROUP_BY_MAX;
pub use fields::{FUNCTIONS, Function, INTRINSICS, Intrinsic, IntrinsicName, Type};
pub use metrics::{CELLS_MAX, METRICS_TRACES_MAX, SERIES_MAX, Steps, metrics};
pub use parse::{QUERY_DEPTH_MAX, QUERY_OPERATORS_MAX, parse, parse_field};
pub use search::{CANDIDATES_MAX, Found, FoundSpan, FoundSpanset, FoundTrace, Search, VALUE_SPANS_MAX, VALUES_MAX, search, values};
pub use series::Series;
pub use spanset::{Pipeline, Spanset};
pub use token::QUERY_BYTES_MAX;
pub use trace::Trace;
pub use value::{Value, go_duration};
