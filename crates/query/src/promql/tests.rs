//! Tests of parsing and evaluation.

mod conformance;
mod memory;
mod properties;
mod script;
mod syntax;
