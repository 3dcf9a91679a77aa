//! LogQL, as of Loki 3: lines of streams, and numbers made of them.
//!
//! [`parse()`] makes a [`Query`] of a text; [`lines()`] and [`evaluate()`] answer it from a [`crate::logs::LogStore`].
//! A *stream* is what came with the same resource; its labels are the resource's attributes. *Structured metadata* are
//! the attributes of a record. What a query asks of streams, lines, trace and severity is handed to the store, which
//! can tell it from its indexes; the rest runs over the rows the store streams.

mod ast;
mod binary;
mod display;
mod engine;
mod entry;
mod extract;
mod ip;
mod labels;
mod matrix;
mod parse;
mod pattern;
mod pipeline;
mod push_down;
mod range;
mod streams;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod text_test;
mod token;
mod units;

pub use ast::*;
pub use engine::{Answer, Line, LineRequest, LineRun, evaluate, lines};
pub use labels::{LabelSet, Text, label_name};
pub use matrix::Series;
pub use parse::{QUERY_BYTES_MAX, QUERY_DEPTH_MAX, QUERY_OPERATORS_MAX, QUERY_TERMS_MAX, parse, parse_matchers};
pub use range::{Steps, VALUES_MAX, WINDOWS_MAX};
pub use streams::{Selector, matching_streams, stream_labels};
pub use table::{RANGE_OPS, RangeOp, RangeRow, VECTOR_OPS, VectorOp, VectorRow, Works};
pub use template::{FUNCTIONS as TEMPLATE_FUNCTIONS, TEMPLATE_OUTPUT_MAX, TemplateFunction};
