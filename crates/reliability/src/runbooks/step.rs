//! A step as a runbook states it, and as it is handed to whoever performs it: there variables are filled in and
//! nothing is left to interpret.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::expect::Expect;

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

/// What a step does, variables not yet filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StepKind {
    /// PromQL instant query.
    Promql {
        /// Query.
        query: String,
    },
    /// Log search.
    Logs {
        /// Filter.
        query: String,
    },
    /// Trace search.
    TraceSearch {
        /// Filter.
        query: String,
    },
    /// Request to an allowed host.
    HttpCheck {
        /// `GET` or `HEAD`.
        method: String,
        /// Address.
        url: String,
    },
    /// Registered action that sets a feature flag.
    FlagSet {
        /// Name of the action.
        action: String,
        /// Its parameters.
        parameters: Map<String, Value>,
    },
    /// Registered action that calls a webhook.
    Webhook {
        /// Name of the action.
        action: String,
        /// Its parameters.
        parameters: Map<String, Value>,
    },
    /// Something a person does and confirms.
    Manual,
}

impl StepKind {
    /// Name in runbooks.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Promql { .. } => "promql",
            Self::Logs { .. } => "logs",
            Self::TraceSearch { .. } => "trace_search",
            Self::HttpCheck { .. } => "http_check",
            Self::FlagSet { .. } => "flag_set",
            Self::Webhook { .. } => "webhook",
            Self::Manual => "manual",
        }
    }

    /// Name of the registered action, if it is one.
    pub fn action(&self) -> Option<&str> {
        match self {
            Self::FlagSet { action, .. } | Self::Webhook { action, .. } => Some(action),
            _ => None,
        }
    }
}

/// How a mitigation is undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rollback {
    /// By this step.
    Step(String),
    /// It cannot be; the reason.
    None(String),
}

/// A step of a runbook.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Unique in its runbook.
    pub id: String,
    /// Name for people; the id when none is given.
    pub title: String,
    /// Phase.
    pub phase: StepPhase,
    /// What it does.
    #[serde(flatten)]
    pub kind: StepKind,
    /// When it counts as true.
    pub expect: Option<Expect>,
    /// Longest time it may take, milliseconds.
    pub timeout_ms: i64,
    /// Step suggested after `true` (or `done`).
    pub on_true: Option<String>,
    /// Step suggested after `false`.
    pub on_false: Option<String>,
    /// How a mitigation is undone.
    pub rollback: Option<Rollback>,
}
