//! Instrumentation of what services are made of: HTTP in and out, SQL, caches, queues, batch jobs.

pub mod axum;
pub mod cache;
pub mod http;
pub(crate) mod job;
pub mod messaging;
pub(crate) mod sql;
