//! PromQL: text to tree, tree to values over any [`crate::metrics::Queryable`].
//!
//! [`parse`] turns text into an [`Expr`]; [`Engine`] evaluates it. Every node is computed for all steps of a range
//! query at once: selectors are read once, windows are planned once for each distinct vector of timestamps, and
//! aggregations take rows as they are computed. The functions are a table, [`FUNCTIONS`]. This module knows neither
//! storage nor HTTP; [`json`] writes results in the shape of Prometheus' API.

pub(crate) mod aggregate;
mod ast;
mod binary;
mod check;
mod cost;
mod digest;
mod display;
mod duration;
mod engine;
mod eval;
mod features;
mod functions;
mod group;
mod histogram;
pub mod json;
mod latest;
mod mixed;
mod notes;
mod output;
mod parse;
pub mod series_notation;
pub(crate) mod sum;
mod syntax_tree;
#[cfg(test)]
mod tests;
mod token;
pub(crate) mod vector;
mod window;

/// Label that holds the metric's name.
pub(crate) const METRIC_NAME: &str = "__name__";

pub use ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Expr, Grouping, Kind, Matching, Number, RangeSelector, Sampling, Selector, Shift, Subquery,
    Type,
};
pub use cost::{Cost, Stage};
pub use duration::{Duration, DurationOp};
pub use engine::{Engine, EngineOptions};
pub use features::Feature;
pub use functions::{FUNCTIONS, Function, by_name as function_by_name};
pub use output::{NOT_A_NUMBER, Points, QueryOutput, Sample, Value};
pub use parse::{parse, parse_matchers};
pub use sum::Sum;
pub use syntax_tree::syntax_tree;
