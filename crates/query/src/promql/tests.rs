//! Tests of parsing and evaluation.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![allow(clippy::print_stderr, reason = "tests say what they left out, and the figures they are about")]

mod conformance;
mod engine;
mod memory;
mod nhcb;
mod points;
mod properties;
mod script;
mod syntax;
