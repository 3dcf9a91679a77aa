//! What came of a drill: JSON as the pages read it, and text for the terminal.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Drill, HopKind};
use crate::view::nanos;

/// Outcome of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrillOutcome {
    /// Under way.
    Running,
    /// Every hop was reached in time.
    Passed,
    /// One was not.
    Failed,
}

/// A hop in a report. Times are Unix nanoseconds as decimal text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrillHop {
    /// Name.
    pub name: String,
    /// For people.
    pub title: String,
    /// When it was reached.
    pub at: Option<String>,
    /// Seconds after the injection (hops before it: after the start).
    pub seconds: Option<f64>,
    /// Longest time after the hop before, seconds.
    pub deadline_seconds: f64,
    /// Whether it was reached in time.
    pub ok: bool,
    /// What was seen.
    pub evidence: String,
    /// Page that shows it.
    pub link: Option<String>,
}

/// Report of a drill, as `DrillReport` of the API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrillReport {
    /// Unique.
    pub id: String,
    /// Scenario.
    pub scenario: String,
    /// Start.
    pub started: String,
    /// End.
    pub finished: Option<String>,
    /// Outcome.
    pub outcome: DrillOutcome,
    /// Injection to firing.
    pub time_to_detect_seconds: Option<f64>,
    /// Injection to the delivered page.
    pub time_to_page_seconds: Option<f64>,
    /// Injection to the mitigation.
    pub time_to_mitigate_seconds: Option<f64>,
    /// Injection to the alert's end.
    pub time_to_resolve_seconds: Option<f64>,
    /// Hops in order.
    pub hops: Vec<DrillHop>,
    /// Fingerprint of the alert.
    pub alert: Option<String>,
    /// Runbook.
    pub runbook: Option<String>,
    /// Trace that shows the cause.
    pub trace_id: Option<String>,
    /// Why it failed.
    pub failure: Option<String>,
}

pub(super) fn build(drill: &Drill) -> DrillReport {
    let injected = drill.injected();
    let seconds = |from: i64, to: i64| (to - from) as f64 / 1_000.0;
    let after = |kind: HopKind| Some(seconds(injected?, drill.at(kind)?));
    let mut hops = Vec::new();
    let mut last = drill.started;
    // Why it failed belongs to the hop that was waited for.
    let mut failure = drill.failure.clone();
    for hop in drill.hops() {
        let reached = drill.reached.get(&hop.kind);
        let at = reached.map(|r| r.at);
        // A hop seen late may have happened before its predecessor (a step that runs as the alert fires).
        let ok = at.is_some_and(|at| at - last <= hop.deadline_ms);
        last = at.map_or(last, |at| at.max(last));
        let origin = injected.filter(|_| !matches!(hop.kind, HopKind::Baseline | HopKind::Inject)).unwrap_or(drill.started);
        hops.push(DrillHop {
            name: hop.kind.name().to_owned(),
            title: hop.title.to_owned(),
            at: at.map(nanos),
            seconds: at.map(|at| seconds(origin, at)),
            deadline_seconds: hop.deadline_ms as f64 / 1_000.0,
            ok,
            evidence: reached.map_or_else(|| failure.take().unwrap_or_default(), |r| r.evidence.clone()),
            link: reached.and_then(|r| r.link.clone()),
        });
    }
    let outcome = match (drill.finished, &drill.failure) {
        (None, _) => DrillOutcome::Running,
        (Some(_), None) if hops.iter().all(|h| h.ok) => DrillOutcome::Passed,
        (Some(_), _) => DrillOutcome::Failed,
    };
    DrillReport {
        id: drill.id.clone(),
        scenario: drill.scenario.clone(),
        started: nanos(drill.started),
        finished: drill.finished.map(nanos),
        outcome,
        time_to_detect_seconds: after(HopKind::Firing),
        time_to_page_seconds: after(HopKind::Delivered),
        time_to_mitigate_seconds: after(HopKind::Mitigated),
        time_to_resolve_seconds: after(HopKind::Resolved),
        hops,
        alert: drill.alert.clone(),
        runbook: drill.scenario().map(|s| s.runbook.to_owned()),
        trace_id: drill.trace_id.clone(),
        failure: drill.failure.clone(),
    }
}

/// A table for the terminal.
impl fmt::Display for DrillReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            DrillOutcome::Running => "running",
            DrillOutcome::Passed => "PASSED",
            DrillOutcome::Failed => "FAILED",
        };
        writeln!(f, "Drill {} ({}): {outcome}", self.scenario, self.id)?;
        for hop in &self.hops {
            let mark = match (&hop.at, hop.ok) {
                (Some(_), true) => "ok  ",
                (Some(_), false) => "late",
                (None, _) => "-   ",
            };
            let seconds = hop.seconds.map_or_else(|| "       ".to_owned(), |s| format!("{s:6.1}s"));
            writeln!(f, "  {mark} {seconds}  {:<38} {}", hop.title, hop.evidence)?;
        }
        for (name, value) in [
            ("detect", self.time_to_detect_seconds),
            ("page", self.time_to_page_seconds),
            ("mitigate", self.time_to_mitigate_seconds),
            ("resolve", self.time_to_resolve_seconds),
        ] {
            if let Some(seconds) = value {
                writeln!(f, "  time to {name:<9} {seconds:6.1}s")?;
            }
        }
        if let Some(failure) = &self.failure {
            writeln!(f, "  failed: {failure}")?;
        }
        Ok(())
    }
}
