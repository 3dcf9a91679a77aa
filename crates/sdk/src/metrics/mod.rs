//! Counters, gauges and histograms: by handle for hot places, by labels elsewhere; read by `/metrics` and exported
//! over OTLP, both with exemplars.
//!
//! Names are OpenTelemetry's or Prometheus's, as one likes: `http.server.request.duration` with unit `s` is exported
//! under that name and offered at `/metrics` as `http_server_request_duration_seconds`; a name that has its suffix
//! already keeps it.

pub(crate) mod exposition;
pub(crate) mod histogram;
pub(crate) mod name;
pub(crate) mod otlp;
pub mod process;
pub(crate) mod registry;
pub(crate) mod series;

pub use exposition::Exposition;
pub use histogram::{Histogram, HistogramFamily};
pub use registry::{Emit, MetricOptions, Registry};
pub use series::{Counter, CounterFamily, Gauge, GaugeFamily};

/// Upper bounds in seconds for durations of requests: OpenTelemetry's advice for `http.server.request.duration`, with
/// 0.3 added, the target of latency objectives, and finer steps at the fast end.
pub const DURATION_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
