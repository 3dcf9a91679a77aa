//! Decoders: request bytes to batches of columns, and a report on what was not taken.
//!
//! Pure functions without IO, clock or randomness: the same body with the same [`Context`] gives the same rows,
//! so that recovery can decode the write-ahead log again. What a decoder cannot take of a readable body is
//! reported row by row in [`skopos_model::Decoded`]; an unreadable body is an [`IngestError`] naming the place and
//! what was expected there. The crate knows neither HTTP nor storage nor Arrow: it fills the plain columns of
//! [`skopos_model`], and numbers series through a [`skopos_model::SeriesResolver`] it is given.
//!
//! Protobuf is walked by hand, field by field, straight into columns; the generated structs of the OTLP crates
//! serve as the oracle in tests only.
#![warn(missing_docs)]

pub mod compression;
pub mod context;
pub mod decoder;
pub mod derive;
pub mod elastic;
pub mod error;
pub mod exposition;
pub mod fluent;
pub mod jaeger;
pub mod json_lines;
pub mod loki;
pub mod msgpack;
pub mod otlp;
pub mod proto;
pub mod protocols;
pub mod relabel;
pub mod remote_write;
pub mod splunk;
pub mod statsd;
pub mod syslog;
pub mod zipkin;

mod histogram;
mod rows;
mod series;
mod span_rows;

#[cfg(test)]
mod test_util;

pub use compression::Encoding;
pub use context::{Cache, Context};
pub use decoder::{Protocol, decode};
pub use error::IngestError;
pub use otlp::names::NameTranslation;
