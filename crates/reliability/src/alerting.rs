//! From the result of a rule's query to the states of its alerts: Prometheus' state machine, step by step.
//!
//! Knows nothing of queries, receivers or time: result and moment are arguments.

mod elements;
mod evaluate;
mod fingerprint;
mod restore;
mod state;

pub use elements::{elements, first_float};
pub(crate) use evaluate::generator_url;
pub use evaluate::{EvalContext, Evaluation, evaluate_alerts, evaluate_recording};
pub use fingerprint::fingerprint;
pub use restore::{FOR_GRACE_MS, OUTAGE_TOLERANCE_MS, restore_alerts};
pub(crate) use state::json_float_opt;
pub use state::{
    ActiveAlert, AlertPhase, AlertUpdate, EvalSample, RESOLVED_RETENTION_MS, RuleHealth, RuleState, STALE_NAN, SeriesSample, Transition,
};
