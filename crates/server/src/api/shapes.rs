//! What answers look like, for the OpenAPI document.
//!
//! Most answers are put together from several crates' figures, so their form is written down here once. A test
//! compares these with what a running server answers: a key too many, one too few or another type fails it.

mod common;
mod dashboards;
mod metrics;
mod reliability;
mod server;
mod services;
mod signals;

pub use common::*;
pub use dashboards::*;
pub use metrics::*;
pub use reliability::*;
pub use server::*;
pub use services::*;
pub use signals::*;
