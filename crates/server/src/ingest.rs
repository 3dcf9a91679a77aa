//! The doors: OTLP over HTTP and gRPC, Prometheus remote write, JSON lines, scrapes.
//!
//! Every door does the same: limit, decompress, decode, log and store, count, answer in the protocol's own words.

pub mod accept;
pub mod grpc;
pub mod json_lines;
pub mod otlp_http;
pub mod remote_write;
pub mod replay;
pub mod scrape;
