//! Health: is the process alive, may it receive traffic, has it started. Checks run in the background; the endpoints
//! only read what was found last, so that a probe costs nothing and a slow dependency never makes a probe slow.

pub mod check;
pub mod registry;

pub use check::{CheckFailure, CheckOptions};
pub use registry::{CheckReport, Health, Report, Status};
