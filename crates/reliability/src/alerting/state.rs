//! What is remembered of a rule between evaluations, and persisted.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skopos_model::{Labels, NativeHistogram};
use skopos_query::promql::NOT_A_NUMBER;

/// How long a resolved alert is kept so that its resolution is sent again, milliseconds.
pub const RESOLVED_RETENTION_MS: i64 = 15 * 60_000;

/// The NaN that marks the end of a series in Prometheus.
pub const STALE_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// One element of a query's result.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalSample {
    /// Labels, the name among them if it has one.
    pub labels: Labels,
    /// Value; zero where it is a histogram.
    pub value: f64,
    /// The native histogram that is the value.
    pub histogram: Option<Arc<NativeHistogram>>,
}

impl EvalSample {
    /// An element whose value is a number.
    pub fn number(labels: Labels, value: f64) -> Self {
        Self { labels, value, histogram: None }
    }

    /// The value as a number.
    ///
    /// # Errors
    /// When it is a native histogram.
    pub fn float(&self) -> Result<f64, String> {
        if self.histogram.is_some() { Err(NOT_A_NUMBER.to_owned()) } else { Ok(self.value) }
    }
}

/// A sample to be written.
#[derive(Debug, Clone)]
pub struct SeriesSample {
    /// Labels with the name.
    pub labels: Labels,
    /// Unix milliseconds.
    pub at: i64,
    /// Value; [`STALE_NAN`] ends the series.
    pub value: f64,
    /// The native histogram that is written in place of the value.
    pub histogram: Option<Arc<NativeHistogram>>,
}

impl SeriesSample {
    /// A sample that is a number.
    pub fn number(labels: Labels, at: i64, value: f64) -> Self {
        Self { labels, at, value, histogram: None }
    }
}

/// Phase of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertPhase {
    /// The condition holds, not yet for long enough.
    Pending,
    /// It is raised.
    Firing,
    /// It was raised and is over.
    Inactive,
}

impl AlertPhase {
    /// `pending`, `firing` or `inactive`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Inactive => "inactive",
        }
    }
}

/// An alert and its history in this rule. All times in Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActiveAlert {
    /// Final labels, `alertname` among them.
    pub labels: Labels,
    /// Expanded annotations.
    pub annotations: BTreeMap<String, String>,
    /// Latest value of the element.
    #[serde(with = "json_float")]
    pub value: f64,
    /// Phase.
    pub phase: AlertPhase,
    /// When the condition began to hold.
    pub active_at: i64,
    /// When it was raised.
    pub fired_at: Option<i64>,
    /// When it was over.
    pub resolved_at: Option<i64>,
    /// When the notifier was last told.
    pub last_sent_at: Option<i64>,
    /// Since when it is only kept by `keep_firing_for`.
    pub keep_firing_since: Option<i64>,
    /// Drill that raised it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<String>,
}

impl ActiveAlert {
    /// Whether the notifier has to be told at `at` (strictly later than the delay, as Prometheus compares).
    pub fn needs_sending(&self, at: i64, resend_delay_ms: i64) -> bool {
        if self.phase == AlertPhase::Pending {
            return false;
        }
        match (self.resolved_at, self.last_sent_at) {
            (_, None) => true,
            (Some(resolved), Some(sent)) if resolved > sent => true,
            (_, Some(sent)) => sent.saturating_add(resend_delay_ms) < at,
        }
    }
}

/// What the notifier is told of an alert. Times in Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertUpdate {
    /// Final labels.
    pub labels: Labels,
    /// Expanded annotations.
    pub annotations: BTreeMap<String, String>,
    /// When it was raised.
    pub starts_at: i64,
    /// When it was over; for one that is firing, until when it counts as firing without further news.
    pub ends_at: i64,
    /// Whether it is over.
    pub resolved: bool,
    /// Link to the condition.
    pub generator_url: String,
}

/// Whether the last evaluation of a rule succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleHealth {
    /// Not evaluated yet.
    #[default]
    Unknown,
    /// It succeeded.
    Ok,
    /// It failed.
    Err,
}

/// What is remembered of a rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleState {
    /// Alerts by identity.
    #[serde(default)]
    pub alerts: BTreeMap<u64, ActiveAlert>,
    /// Moment of the last successful evaluation, Unix milliseconds.
    #[serde(default)]
    pub evaluated_at: Option<i64>,
    /// Health.
    #[serde(default)]
    pub health: RuleHealth,
    /// Why the last evaluation failed.
    #[serde(default)]
    pub error: Option<String>,
    /// How long the last evaluation took, milliseconds.
    #[serde(skip)]
    pub duration_ms: i64,
    /// Series written last time: those that are missing next time are ended.
    #[serde(skip)]
    pub(crate) written: Vec<Labels>,
}

impl RuleState {
    /// The gravest phase of its alerts.
    pub fn phase(&self) -> AlertPhase {
        let has = |phase| self.alerts.values().any(|a| a.phase == phase);
        if has(AlertPhase::Firing) {
            AlertPhase::Firing
        } else if has(AlertPhase::Pending) {
            AlertPhase::Pending
        } else {
            AlertPhase::Inactive
        }
    }
}

/// A change of phase.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// Identity of the alert.
    pub fingerprint: u64,
    /// Its labels.
    pub labels: Labels,
    /// Before; none when it is new.
    pub from: Option<AlertPhase>,
    /// After; a pending alert whose condition went is inactive too.
    pub to: AlertPhase,
    /// Value at the change.
    pub value: f64,
    /// Unix milliseconds.
    pub at: i64,
    /// Drill that raised it.
    pub drill: Option<String>,
}

/// JSON has no NaN and no infinity; PromQL results do.
pub(crate) mod json_float {
    use serde::{Deserialize, Deserializer, Serializer, de};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(f64),
        Text(String),
    }

    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { serializer.serialize_f64(*value) } else { serializer.serialize_str(&value.to_string()) }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Either::deserialize(deserializer)? {
            Either::Number(n) => Ok(n),
            Either::Text(t) => t.parse().map_err(|_| de::Error::custom(format!("`{t}` is no number"))),
        }
    }
}

/// For views: numbers JSON has not become null.
pub(crate) fn json_float_opt<S: serde::Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value.filter(|v| v.is_finite()) {
        Some(number) => serializer.serialize_some(&number),
        None => serializer.serialize_none(),
    }
}
