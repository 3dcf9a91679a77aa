//! SLOs, alerting, notification, runbooks and drills: a pure step from state and event to state and effects.
//!
//! This crate deliberately knows no clock, no file, no socket and no task. Whoever calls it reads the files, runs the
//! queries, keeps the documents and sends the messages it asks for, and says what time it is. That is why paging and
//! burn rates can be simulated over months of virtual time.
//!
//! Times are Unix milliseconds (`i64`) throughout; names that end in `_ms` are durations in milliseconds.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

pub mod alerting;
pub mod backfill;
pub mod backtest;
pub mod check;
pub mod config_error;
pub mod drill;
pub mod duration;
pub mod effect;
pub mod engine;
pub mod memory;
pub mod notify;
mod overlay;
pub mod promql;
pub mod rules;
pub mod runbooks;
#[cfg(test)]
mod simulation;
pub mod slo;
pub mod template;
pub mod unit_test;
pub mod view;
pub mod yaml;
