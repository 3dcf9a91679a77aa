//! The real process, from outside: every test starts `skopos` on free ports and folders of its own, and speaks to it
//! as clients do. None of the server's code is linked here.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise; its line says where")]

#[path = "server/access.rs"]
mod access;
#[path = "server/api.rs"]
mod api;
#[path = "server/bad_input.rs"]
mod bad_input;
#[path = "server/config.rs"]
mod config;
#[path = "server/dashboards.rs"]
mod dashboards;
#[path = "server/documents.rs"]
mod documents;
#[path = "server/doors.rs"]
mod doors;
#[path = "server/duckdb.rs"]
mod duckdb;
#[path = "server/durability.rs"]
mod durability;
#[path = "server/faults.rs"]
mod faults;
#[path = "server/floods.rs"]
mod floods;
#[path = "server/grpc.rs"]
mod grpc;
#[path = "server/help.rs"]
mod help;
#[path = "server/http.rs"]
mod http;
#[path = "server/import.rs"]
mod import;
#[path = "server/json_lines.rs"]
mod json_lines;
#[path = "server/loki_api.rs"]
mod loki_api;
#[path = "server/metric_input.rs"]
mod metric_input;
#[path = "server/mission.rs"]
mod mission;
#[path = "server/otlp.rs"]
mod otlp;
#[path = "server/peers.rs"]
mod peers;
#[path = "server/probes.rs"]
mod probes;
#[path = "server/process.rs"]
mod process;
#[path = "server/programs.rs"]
mod programs;
#[path = "server/reference.rs"]
mod reference;
#[path = "server/remote_write.rs"]
mod remote_write;
#[path = "server/scrape.rs"]
mod scrape;
#[path = "server/statsd.rs"]
mod statsd;
#[path = "server/telemetry.rs"]
mod telemetry;
#[path = "server/write_request.rs"]
mod write_request;
