//! Spans, the context they live in, and how it travels.

pub mod context;
pub mod id;
pub mod layer;
pub mod propagation;
pub mod request;
pub mod span;
