//! The time a drill takes, and whom it concerns: what the error budget leaves out.

use serde::{Deserialize, Serialize};
use skopos_model::Labels;

use crate::slo::Slo;

/// What a drill breaks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillScope {
    /// Alert that has to fire.
    pub alert: String,
    /// Its severity.
    pub severity: String,
    /// Services whose objectives suffer.
    #[serde(default)]
    pub services: Vec<String>,
    /// Objectives that suffer besides.
    #[serde(default)]
    pub slos: Vec<String>,
}

impl DrillScope {
    /// Whether an objective suffers from it.
    pub fn concerns(&self, slo: &Slo) -> bool {
        slo.alert_name == self.alert || self.services.contains(&slo.service) || self.slos.contains(&slo.id)
    }

    /// Whether an alert is the one that has to fire.
    pub fn is_alert(&self, labels: &Labels) -> bool {
        labels.get("alertname") == Some(&self.alert) && labels.get("severity").unwrap_or("") == self.severity
    }
}

/// A drill's time, Unix milliseconds. Kept longer than the drill: budgets look back a month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillSpan {
    /// Drill.
    pub id: String,
    /// What it breaks.
    #[serde(flatten)]
    pub scope: DrillScope,
    /// When the fault was about to be put in place.
    pub from: i64,
    /// When the fault was gone; none while the drill runs.
    pub ended: Option<i64>,
    /// When its alert was over too; none before.
    pub until: Option<i64>,
}

impl DrillSpan {
    /// Its end as far as is known at `now`.
    pub fn end(&self, now: i64) -> i64 {
        self.until.unwrap_or(now)
    }
}
