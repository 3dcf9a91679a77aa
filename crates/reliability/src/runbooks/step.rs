//! A step as it is handed to whoever performs it: variables filled in, nothing left to interpret.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a step is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepPhase {
    /// Looks, changes nothing; may run by itself.
    Verify,
    /// Makes it better; a named action.
    Mitigate,
    /// Undoes a mitigation; a named action.
    Rollback,
}

impl StepPhase {
    /// `verify`, `mitigate`, `rollback`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Mitigate => "mitigate",
            Self::Rollback => "rollback",
        }
    }
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RequestKind {
    /// Evaluate a PromQL instant query.
    Promql {
        /// Query.
        query: String,
    },
    /// Search logs.
    Logs {
        /// Filter.
        query: String,
    },
    /// Search traces.
    TraceSearch {
        /// Filter.
        query: String,
    },
    /// Make a request to an allowed host.
    HttpCheck {
        /// `GET` or `HEAD`.
        method: String,
        /// Address.
        url: String,
    },
    /// Call a registered action.
    Action {
        /// Name of the action.
        action: String,
        /// Checked against the action's schema.
        parameters: Map<String, Value>,
    },
}

/// A step to be performed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRequest {
    /// Run.
    pub run: String,
    /// Step.
    pub step: String,
    /// Phase.
    pub phase: StepPhase,
    /// What has to be done.
    pub request: RequestKind,
    /// Longest time it may take, milliseconds; after it the verdict is `unknown`.
    pub timeout_ms: i64,
    /// The same in every attempt: run and step.
    pub idempotency_key: String,
    /// Who asked for it.
    pub actor: String,
}
