//! OTLP: walkers over the protobuf bodies of logs, traces and metrics, and JSON bodies turned into protobuf.
//!
//! There is one reading of each signal: a JSON body is first written as the protobuf body that says the same, so
//! that the two cannot come apart.

pub mod logs;
pub mod metrics;
pub mod names;
pub mod options;
pub mod response;
pub mod traces;

pub mod json;

pub(crate) mod records;
pub(crate) mod resource;
pub(crate) mod value;

pub use json::{logs_to_protobuf, metrics_to_protobuf, traces_to_protobuf};

#[cfg(test)]
mod tests;
