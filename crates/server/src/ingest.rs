//! The doors: OTLP over HTTP and gRPC, Prometheus remote write, and what others' clients send: Loki, Elasticsearch,
//! Splunk, Zipkin, Jaeger; StatsD, syslog, Fluent.
//!
//! Every door does the same: limit, decompress, decode, log and store, count, answer in the protocol's own words.

pub mod accept;
pub mod elastic;
mod fluent;
pub mod grpc;
pub mod jaeger;
pub mod json_lines;
mod labelled;
pub mod listeners;
pub mod loki;
pub mod otlp_http;
mod receive;
pub mod remote_write;
pub mod replay;
pub mod sources;
pub mod splunk;
pub mod statsd;
mod syslog;
mod udp;
pub mod zipkin;

use skopos_ingest::Protocol;
use skopos_ingest::protocols::PROTOCOLS;

/// Paths a protocol is posted to.
pub(crate) fn paths(protocol: Protocol) -> impl Iterator<Item = &'static str> {
    PROTOCOLS.iter().filter(move |row| row.protocol == protocol).flat_map(|row| row.paths.iter().copied())
}
