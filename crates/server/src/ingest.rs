//! The doors: OTLP over HTTP and gRPC, Prometheus remote write, JSON lines, StatsD.
//!
//! Every door does the same: limit, decompress, decode, log and store, count, answer in the protocol's own words.

pub mod accept;
pub mod grpc;
pub mod json_lines;
mod labelled;
pub mod otlp_http;
pub mod remote_write;
pub mod replay;
pub mod sources;
pub mod statsd;

use skopos_ingest::Protocol;
use skopos_ingest::protocols::PROTOCOLS;

/// Paths a protocol is posted to.
pub(crate) fn paths(protocol: Protocol) -> impl Iterator<Item = &'static str> {
    PROTOCOLS.iter().filter(move |row| row.protocol == protocol).flat_map(|row| row.paths.iter().copied())
}
