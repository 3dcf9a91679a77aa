//! The server: configuration, HTTP and gRPC, background tasks, and the command line.
//!
//! Everything meets here and nothing is computed here: rows are decoded by `ingest`, kept and found by `storage`,
//! asked by `query`, judged by `reliability`. This crate reads files and clocks, runs tasks, persists what
//! `reliability` decides before it does it, and speaks the wire formats.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

pub mod agent;
pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod dashboards;
pub mod drill;
pub mod frame;
pub mod http;
pub mod ingest;
pub mod probes;
#[cfg(test)]
mod reference;
pub mod reliability;
pub mod router;
pub mod scrape;
pub mod serve;
pub mod telemetry;
pub mod time_arg;
