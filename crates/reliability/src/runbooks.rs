//! Runbooks: what to look at, what to do, how to undo it, with steps that can be run from the page.
//!
//! Runs no shell and no code: a step is a query, a check of an allowed host, or a call of an action the operator
//! registered. This module decides what may run and what came of it; the server performs it.

mod action;
mod expect;
mod http_policy;
mod parse;
mod run;
mod search;
mod step;
mod variables;

pub use action::{ActionConfig, ActionKind, Actions, ParameterSchema, ParameterType};
pub use expect::{Expect, Observation};
pub use http_policy::{HTTP_BODY_BYTES_MAX, address_allowed, host_allowed};
pub use parse::{Runbook, STALE_AFTER_DAYS, Section, markdown_html, parse_runbook};
pub(crate) use run::Ask;
pub use run::{Run, RunRefusal, RunState, StepOutcome, StepResult, StepStart, Verdict};
pub use search::search;
pub use step::{RequestKind, Rollback, Step, StepKind, StepPhase, StepRequest};
pub use variables::{Quoting, Variables, fill};

/// A sound runbook for tests of other modules.
#[cfg(test)]
pub(crate) fn test_runbook() -> &'static str {
    parse::tests::ORDERS
}
