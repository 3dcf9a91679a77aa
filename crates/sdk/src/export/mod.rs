//! The way out: bounded queues that never block, and one thread that empties them over OTLP/HTTP.

pub(crate) mod client;
pub(crate) mod drops;
pub(crate) mod lines;
pub(crate) mod otlp;
pub(crate) mod queue;
pub(crate) mod worker;
