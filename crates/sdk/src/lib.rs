//! Makes a service observable in a few lines: logs, traces and metrics over OTLP/HTTP, JSON log lines with stable keys,
//! `/metrics`, `/healthz` and `/readyz`.
//!
//! ```no_run
//! use skopos_sdk::health::{CheckOptions, Health};
//!
//! # async fn ping() -> Result<(), std::io::Error> { Ok(()) }
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let guard = skopos_sdk::init(skopos_sdk::Config::from_env("orders-api").version("1.4.0"))?;
//!     let health = Health::start(guard.telemetry());
//!     health.check("database", CheckOptions::critical(), ping);
//!
//!     let app = axum::Router::new()
//!         .route("/orders/{id}", axum::routing::get(|| async { "an order" }))
//!         .layer(skopos_sdk::axum::layer())
//!         .merge(skopos_sdk::axum::operations(guard.telemetry(), &health));
//!
//!     health.set_started();
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     axum::serve(listener, app).await?;
//!     Ok(())
//! }
//! ```
//!
//! How it works: what is recorded is encoded at once into bounded queues of bytes; one thread sends them. Recording
//! never waits: when a queue is full, or the receiver is away for too long, records are dropped, counted by signal and
//! reason (`skopos_sdk_dropped_total`) and warned about once a minute. Every bound is in [`limits`].
//!
//! What it does not know: any other crate of this project, and any telemetry type of other crates in its interface. It
//! speaks OTLP to whoever listens, and takes log events and spans from the `tracing` ecosystem.

#![warn(missing_docs)]

pub mod limits;

mod clock;
mod config;
mod export;
pub mod health;
mod instrument;
mod logs;
pub mod metrics;
mod telemetry;
pub mod trace;
mod value;
mod wire;

pub use config::{Config, LogOutput};
pub use export::drops::{Counts, DropReason, Signal};
pub use instrument::job::job;
pub use instrument::sql::sql_span;
pub use instrument::{axum, cache, http, messaging};
pub use logs::{LogLayer, STABLE_KEYS};
pub use telemetry::{Guard, InitError, Telemetry, init};
pub use trace::context::{Context, FutureExt, breadcrumb, feature_flag, record_error, set_attribute, set_user_id};
pub use trace::id::{SpanContext, SpanId, TraceId};
pub use trace::layer::SpanLayer;
pub use trace::span::{Span, SpanBuilder, SpanKind};
pub use value::Value;

/// The guide's examples are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/instrument-a-rust-service.md")]
struct Guide;
