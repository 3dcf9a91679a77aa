//! Runbooks: what to look at, what to do, how to undo it, with steps that can be run from the page.

mod step;

pub use step::{RequestKind, StepPhase, StepRequest};
