//! HTTP: the router, who may do what, errors, and the embedded pages.

pub mod auth;
pub mod error;
pub mod rejection;
pub mod request_log;
pub mod ui;

pub use error::{ApiError, ApiResult};
