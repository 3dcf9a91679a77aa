//! What the server has to do for this crate, in this order: an effect may rely on those before it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alerting::SeriesSample;
use crate::notify::Outbound;
use crate::runbooks::StepRequest;

/// Something the server has to do.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Run an instant query and answer with [`crate::engine::Event::Evaluated`].
    Evaluate(Evaluate),
    /// Append samples.
    WriteSeries(Vec<SeriesSample>),
    /// Keep a document, replacing one of the same kind and key. Has to be durable before later effects are performed.
    Persist(Document),
    /// Remove a document.
    Forget {
        /// Kind.
        kind: DocumentKind,
        /// Key.
        key: String,
    },
    /// Append to the timeline.
    Journal(JournalEntry),
    /// Make an HTTP request and answer with [`crate::engine::Event::Delivered`] or
    /// [`crate::engine::Event::DeliveryFailed`].
    Send {
        /// Delivery it belongs to.
        delivery: String,
        /// The request.
        request: Outbound,
        /// Longest time it may take, milliseconds.
        timeout_ms: i64,
    },
    /// Perform a runbook step and answer with [`crate::engine::Event::StepFinished`].
    RunStep(StepRequest),
}

/// An instant query to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluate {
    /// What it is for.
    pub id: QueryId,
    /// PromQL.
    pub expr: String,
    /// Moment to evaluate at, Unix milliseconds.
    pub at: i64,
}

/// What a query is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QueryId {
    /// A rule of a group, at the group's evaluation moment.
    Rule {
        /// Key of the group.
        group: String,
        /// Place in the group.
        rule: usize,
        /// Moment of the evaluation.
        at: i64,
        /// None for the rule's expression; else the number of a gate's query (bad and total in turn).
        gate: Option<usize>,
    },
    /// Bad or all events of an SLO in one bucket.
    SloCount {
        /// SLO.
        slo: String,
        /// Start of the bucket.
        bucket: i64,
        /// Whether all events are counted (else bad ones).
        total: bool,
    },
}

/// Kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    /// State of a rule and its alerts.
    RuleState,
    /// A group of alerts that share messages.
    NotifyGroup,
    /// What was last sent about a group.
    NotifyLog,
    /// A message in the queue, or done.
    Delivery,
    /// Event counts of an SLO in one bucket.
    SloCount,
    /// A run of a runbook.
    Run,
    /// Report of a drill.
    Drill,
    /// Time of a drill, which the error budget leaves out.
    DrillSpan,
}

impl DocumentKind {
    /// All kinds.
    pub const ALL: [Self; 8] =
        [Self::RuleState, Self::NotifyGroup, Self::NotifyLog, Self::Delivery, Self::SloCount, Self::Run, Self::Drill, Self::DrillSpan];

    /// Name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RuleState => "rule_state",
            Self::NotifyGroup => "notify_group",
            Self::NotifyLog => "notify_log",
            Self::Delivery => "delivery",
            Self::SloCount => "slo_count",
            Self::Run => "run",
            Self::Drill => "drill",
            Self::DrillSpan => "drill_span",
        }
    }

    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == name)
    }
}

/// A document to keep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Kind.
    pub kind: DocumentKind,
    /// Key, unique in its kind.
    pub key: String,
    /// Content.
    pub json: Value,
}

impl Document {
    /// Serialises a state of ours.
    pub(crate) fn new(kind: DocumentKind, key: impl Into<String>, content: &impl Serialize) -> Self {
        let json = serde_json::to_value(content).expect("our states have text keys and no failing serialisers");
        Self { kind, key: key.into(), json }
    }
}

/// An entry of the timeline; never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Unix milliseconds.
    pub at: i64,
    /// `alerting`, `notify`, `runbook`, `drill`.
    pub source: String,
    /// What happened: `pending`, `firing`, `resolved`, `delivered`, `failed`, `step`, …
    pub kind: String,
    /// What it concerns: an alert's fingerprint, a delivery, a run.
    pub reference: String,
    /// Service, when one is known.
    pub service: Option<String>,
    /// A sentence for people.
    pub text: String,
    /// Drill it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<String>,
}
