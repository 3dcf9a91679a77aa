//! Fire drills: a fault is injected on purpose, and every hop of the loop has to happen within its deadline.
//!
//! A drill is a state machine over observations. It injects nothing and looks at nothing itself: it says what is due
//! next ([`DrillAction`]), takes what was seen ([`DrillObservation`]), and keeps the evidence.

mod report;
mod scenario;
mod span;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use report::{DrillHop, DrillOutcome, DrillReport};
pub use scenario::{Hop, HopKind, SCENARIOS, Scenario, scenario};
pub use span::{DrillScope, DrillSpan};

/// What has to be done for a drill to go on. Repeated at every tick until its hop is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrillAction {
    /// See whether the service is healthy; answer with [`DrillObservation::Baseline`].
    CheckBaseline,
    /// Inject the fault; answer with [`DrillObservation::Injected`].
    Inject,
    /// Look at alert and messages; answer with [`DrillObservation::Alert`] and [`DrillObservation::Delivered`].
    Watch,
    /// Look for a trace that shows the cause; answer with [`DrillObservation::Trace`].
    FindTrace,
    /// Look at the run the alert opened; answer with [`DrillObservation::Verified`].
    WatchRun,
    /// Run the scenario's mitigation in this run; answer with [`DrillObservation::Mitigated`].
    Mitigate {
        /// Run the alert opened.
        run: String,
    },
    /// See whether the fault's effect is gone; answer with [`DrillObservation::Stopped`].
    CheckEffect,
    /// See whether the mitigation could be undone (a dry run of its rollback); answer with
    /// [`DrillObservation::RollbackPossible`].
    CheckRollback {
        /// Run the alert opened.
        run: String,
    },
    /// Take the fault back, whatever came before. Once, at the end; has to be done before the end is kept, so that a
    /// restart in between repeats it.
    CleanUp,
}

/// Something a drill saw. Times in Unix milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub enum DrillObservation {
    /// State of the service before.
    Baseline {
        /// Whether it is healthy: no alert, no errors to speak of.
        clean: bool,
        /// What was seen.
        evidence: String,
    },
    /// The fault is in place.
    Injected {
        /// What was done.
        evidence: String,
    },
    /// The alert.
    Alert {
        /// Fingerprint, hex.
        fingerprint: String,
        /// When its condition began to hold.
        active_at: i64,
        /// When it was raised.
        fired_at: Option<i64>,
        /// When it was over.
        resolved_at: Option<i64>,
        /// What was seen.
        evidence: String,
    },
    /// A message about the alert was taken by its receiver.
    Delivered {
        /// Whether it said that the alert is over.
        resolved: bool,
        /// When.
        at: i64,
        /// Link to the runbook in it.
        runbook_url: Option<String>,
        /// What was seen.
        evidence: String,
    },
    /// A trace that shows the cause.
    Trace {
        /// Trace.
        trace_id: String,
        /// What was seen.
        evidence: String,
    },
    /// The verify step that ran by itself.
    Verified {
        /// Whether it is true.
        holds: bool,
        /// When.
        at: i64,
        /// Run it belongs to.
        run: String,
        /// What was seen.
        evidence: String,
    },
    /// The mitigation was run.
    Mitigated {
        /// When.
        at: i64,
        /// What was done.
        evidence: String,
    },
    /// The fault's effect is gone.
    Stopped {
        /// What was seen.
        evidence: String,
    },
    /// The mitigation can be undone.
    RollbackPossible {
        /// What was seen.
        evidence: String,
    },
    /// Something that cannot be helped.
    Failed {
        /// What.
        message: String,
    },
}

/// How a hop was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Reached {
    at: i64,
    evidence: String,
    /// Page that shows it.
    link: Option<String>,
}

/// A drill under way or done. Serialisable: it survives a restart. Times in Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drill {
    /// Unique.
    pub id: String,
    scenario: String,
    started: i64,
    finished: Option<i64>,
    failure: Option<String>,
    reached: BTreeMap<HopKind, Reached>,
    alert: Option<String>,
    run: Option<String>,
    trace_id: Option<String>,
}

impl Drill {
    /// Begins a drill of a scenario.
    pub fn start(id: impl Into<String>, scenario: &Scenario, now: i64) -> Self {
        Self {
            id: id.into(),
            scenario: scenario.name.to_owned(),
            started: now,
            finished: None,
            failure: None,
            reached: BTreeMap::new(),
            alert: None,
            run: None,
            trace_id: None,
        }
    }

    /// The scenario; none when it was renamed since.
    pub fn scenario(&self) -> Option<&'static Scenario> {
        scenario(&self.scenario)
    }

    /// When it began.
    pub fn started(&self) -> i64 {
        self.started
    }

    /// When the fault was in place: what happened before it does not count.
    pub fn injected(&self) -> Option<i64> {
        self.at(HopKind::Inject)
    }

    /// Fingerprint of the alert that answered.
    pub fn alert(&self) -> Option<&str> {
        self.alert.as_deref()
    }

    /// Whether it is over.
    pub fn is_finished(&self) -> bool {
        self.finished.is_some()
    }

    fn hops(&self) -> &'static [Hop] {
        self.scenario().map_or(&[], |s| s.hops)
    }

    /// Place of the hop that is waited for.
    fn next(&self) -> Option<usize> {
        self.hops().iter().position(|h| !self.reached.contains_key(&h.kind))
    }

    /// What is due now. Ends the drill when a deadline has passed.
    pub fn tick(&mut self, now: i64) -> Vec<DrillAction> {
        if self.is_finished() {
            return Vec::new();
        }
        if self.scenario().is_none() {
            return self.finish(now, Some(format!("there is no scenario `{}`", self.scenario)));
        }
        let Some(next) = self.next() else { return self.finish(now, None) };
        let hop = &self.hops()[next];
        if now - self.since(next) > hop.deadline_ms {
            return self.finish(now, Some(format!("did not happen within {} s", hop.deadline_ms / 1000)));
        }
        let run = || self.run.clone().unwrap_or_default();
        vec![match hop.kind {
            HopKind::Baseline => DrillAction::CheckBaseline,
            HopKind::Inject => DrillAction::Inject,
            HopKind::Pending | HopKind::Firing | HopKind::Delivered | HopKind::Resolved | HopKind::ResolvedDelivered => DrillAction::Watch,
            HopKind::Trace => DrillAction::FindTrace,
            HopKind::Verified => DrillAction::WatchRun,
            HopKind::Mitigated => DrillAction::Mitigate { run: run() },
            HopKind::Stopped => DrillAction::CheckEffect,
            HopKind::Rollback => DrillAction::CheckRollback { run: run() },
        }]
    }

    /// When the hops before were reached: from there a hop's deadline runs.
    fn since(&self, hop: usize) -> i64 {
        self.hops()[..hop].iter().filter_map(|h| self.at(h.kind)).max().unwrap_or(self.started)
    }

    fn at(&self, kind: HopKind) -> Option<i64> {
        self.reached.get(&kind).map(|r| r.at)
    }

    /// Notes a hop, when those before it were reached; a hop counts once.
    fn reach(&mut self, kind: HopKind, at: i64, evidence: &str, link: Option<String>) {
        let Some(place) = self.hops().iter().position(|h| h.kind == kind) else { return };
        if self.next() == Some(place) {
            self.reached.insert(kind, Reached { at, evidence: evidence.to_owned(), link });
        }
    }

    fn alert_link(&self) -> Option<String> {
        self.alert.as_ref().map(|id| format!("/alerts/{id}"))
    }

    fn runbook_link(&self) -> Option<String> {
        let alert = self.alert.as_ref().map(|id| format!("?alert={id}")).unwrap_or_default();
        self.scenario().map(|s| format!("/runbooks/{}{alert}", s.runbook))
    }

    /// Takes what was seen; returns what is due then.
    pub fn observe(&mut self, observation: DrillObservation, now: i64) -> Vec<DrillAction> {
        if self.is_finished() {
            return Vec::new();
        }
        match observation {
            DrillObservation::Baseline { clean: true, evidence } => self.reach(HopKind::Baseline, now, &evidence, None),
            // Not clean yet: what an earlier drill left may still be ebbing away.
            DrillObservation::Baseline { clean: false, .. } => {}
            DrillObservation::Injected { evidence } => self.reach(HopKind::Inject, now, &evidence, None),
            DrillObservation::Alert { fingerprint, active_at, fired_at, resolved_at, evidence } => {
                let Some(injected) = self.injected().filter(|at| fired_at.unwrap_or(active_at) >= *at) else { return self.tick(now) };
                self.alert = Some(fingerprint);
                self.reach(HopKind::Pending, active_at.max(injected), &evidence, self.alert_link());
                if let Some(at) = fired_at {
                    self.reach(HopKind::Firing, at, &evidence, self.alert_link());
                }
                if let Some(at) = resolved_at {
                    self.reach(HopKind::Resolved, at, "the condition has ended", self.alert_link());
                }
            }
            DrillObservation::Delivered { resolved: false, at, runbook_url, evidence } => match runbook_url {
                Some(url) => self.reach(HopKind::Delivered, at, &format!("{evidence} with {url}"), self.alert_link()),
                None => return self.finish(now, Some("the message has no link to a runbook".to_owned())),
            },
            DrillObservation::Delivered { resolved: true, at, evidence, .. } => {
                self.reach(HopKind::ResolvedDelivered, at, &evidence, self.alert_link());
            }
            DrillObservation::Trace { trace_id, evidence } => {
                self.reach(HopKind::Trace, now, &evidence, Some(format!("/traces/{trace_id}")));
                self.trace_id = Some(trace_id);
            }
            DrillObservation::Verified { holds: true, at, run, evidence } => {
                self.reach(HopKind::Verified, at, &evidence, self.runbook_link());
                self.run = Some(run);
            }
            DrillObservation::Verified { holds: false, evidence, .. } => {
                return self.finish(now, Some(format!("the verify step is not true: {evidence}")));
            }
            DrillObservation::Mitigated { at, evidence } => self.reach(HopKind::Mitigated, at, &evidence, self.runbook_link()),
            DrillObservation::Stopped { evidence } => self.reach(HopKind::Stopped, now, &evidence, None),
            DrillObservation::RollbackPossible { evidence } => self.reach(HopKind::Rollback, now, &evidence, self.runbook_link()),
            DrillObservation::Failed { message } => return self.finish(now, Some(message)),
        }
        self.tick(now)
    }

    fn finish(&mut self, now: i64, failure: Option<String>) -> Vec<DrillAction> {
        self.finished = Some(now);
        self.failure = failure;
        vec![DrillAction::CleanUp]
    }

    /// The report so far.
    pub fn report(&self) -> DrillReport {
        report::build(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const SECOND: i64 = 1_000;

    fn seen(text: &str) -> String {
        text.to_owned()
    }

    fn alert(fired_at: Option<i64>, resolved_at: Option<i64>) -> DrillObservation {
        DrillObservation::Alert { fingerprint: "00ff".into(), active_at: 40 * SECOND, fired_at, resolved_at, evidence: seen("burn 100") }
    }

    #[test]
    fn the_loop_closes() {
        let scenario = scenario("orders-error-10pct").unwrap();
        let mut drill = Drill::start("d1", scenario, 0);
        assert_eq!(drill.tick(0), [DrillAction::CheckBaseline]);
        assert_eq!(drill.observe(DrillObservation::Baseline { clean: false, evidence: seen("") }, SECOND), [DrillAction::CheckBaseline]);
        assert_eq!(drill.observe(DrillObservation::Baseline { clean: true, evidence: seen("0 errors") }, 10 * SECOND), [DrillAction::Inject]);
        assert_eq!(drill.observe(DrillObservation::Injected { evidence: seen("10 % on all routes") }, 11 * SECOND), [DrillAction::Watch]);
        let early = DrillObservation::Alert {
            fingerprint: "00ff".into(),
            active_at: 0,
            fired_at: Some(0),
            resolved_at: Some(5_000),
            evidence: seen("an older alert"),
        };
        assert_eq!(drill.observe(early, 12 * SECOND), [DrillAction::Watch]);
        assert_eq!(drill.observe(alert(None, None), 41 * SECOND), [DrillAction::Watch]);
        drill.observe(alert(Some(45 * SECOND), None), 46 * SECOND);
        let delivered = |resolved, at| DrillObservation::Delivered {
            resolved,
            at,
            runbook_url: Some("http://s/runbooks/r".into()),
            evidence: seen("ops took it"),
        };
        assert_eq!(drill.observe(delivered(false, 50 * SECOND), 50 * SECOND), [DrillAction::WatchRun]);
        let verified = DrillObservation::Verified { holds: true, at: 46 * SECOND, run: "run-1".into(), evidence: seen("value > 0.01: true") };
        assert_eq!(drill.observe(verified, 51 * SECOND), [DrillAction::FindTrace]);
        let trace = DrillObservation::Trace { trace_id: "4bf9".into(), evidence: seen("a failing request's trace") };
        assert_eq!(drill.observe(trace, 52 * SECOND), [DrillAction::Mitigate { run: "run-1".into() }]);
        assert_eq!(
            drill.observe(DrillObservation::Mitigated { at: 55 * SECOND, evidence: seen("flag off") }, 55 * SECOND),
            [DrillAction::CheckEffect]
        );
        assert_eq!(drill.observe(DrillObservation::Stopped { evidence: seen("0 errors") }, 60 * SECOND), [DrillAction::Watch]);
        drill.observe(alert(Some(45 * SECOND), Some(90 * SECOND)), 91 * SECOND);
        assert_eq!(drill.observe(delivered(true, 95 * SECOND), 95 * SECOND), [DrillAction::CheckRollback { run: "run-1".into() }]);
        assert_eq!(
            drill.observe(DrillObservation::RollbackPossible { evidence: seen("would call orders-flag") }, 96 * SECOND),
            [DrillAction::CleanUp]
        );
        assert!(drill.is_finished());
        assert!(drill.tick(1_000 * SECOND).is_empty());
        let report = drill.report();
        assert_eq!(report.outcome, DrillOutcome::Passed);
        assert_eq!(
            (report.time_to_detect_seconds, report.time_to_page_seconds, report.time_to_mitigate_seconds, report.time_to_resolve_seconds),
            (Some(34.0), Some(39.0), Some(44.0), Some(79.0))
        );
        expect![[r#"
            Drill orders-error-10pct (d1): PASSED
              ok     10.0s  Clean baseline                         0 errors
              ok     11.0s  Failure injected                       10 % on all routes
              ok     29.0s  Alert is pending or firing             burn 100
              ok     34.0s  Alert fires                            burn 100
              ok     39.0s  Page delivered with its runbook        ops took it with http://s/runbooks/r
              ok     35.0s  Verify step is true by itself          value > 0.01: true
              ok     41.0s  A trace shows the cause                a failing request's trace
              ok     44.0s  Mitigation run from the runbook        flag off
              ok     49.0s  Errors stop                            0 errors
              ok     79.0s  Alert resolved                         the condition has ended
              ok     84.0s  Resolution delivered                   ops took it
              ok     85.0s  Rollback of the mitigation possible    would call orders-flag
              time to detect      34.0s
              time to page        39.0s
              time to mitigate    44.0s
              time to resolve     79.0s
        "#]]
        .assert_eq(&report.to_string());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["hops"][3]["link"], "/alerts/00ff");
        assert_eq!(json["hops"][5]["link"], "/runbooks/orders-api-slo-burn?alert=00ff");
        assert_eq!((&json["runbook"], &json["trace_id"]), (&"orders-api-slo-burn".into(), &"4bf9".into()));
        assert_eq!(json["started"], "0");
        let back: Drill = serde_json::from_str(&serde_json::to_string(&drill).unwrap()).unwrap();
        assert_eq!(back, drill);
    }

    #[test]
    fn deadlines_and_missing_links_fail_it() {
        let scenario = scenario("orders-slow-db").unwrap();
        let mut drill = Drill::start("d2", scenario, 0);
        drill.observe(DrillObservation::Baseline { clean: true, evidence: seen("") }, 0);
        drill.observe(DrillObservation::Injected { evidence: seen("") }, 0);
        assert_eq!(drill.tick(scenario.hops[2].deadline_ms), [DrillAction::Watch]);
        assert_eq!(drill.tick(scenario.hops[2].deadline_ms + 1), [DrillAction::CleanUp]);
        let report = drill.report();
        assert_eq!(report.outcome, DrillOutcome::Failed);
        assert_eq!((report.hops[2].ok, report.hops[2].evidence.as_str()), (false, "did not happen within 180 s"));
        assert!(report.to_string().contains("did not happen within"), "{report}");
        let mut drill = Drill::start("d3", scenario, 0);
        drill.observe(DrillObservation::Baseline { clean: true, evidence: seen("") }, 0);
        drill.observe(DrillObservation::Injected { evidence: seen("") }, 0);
        drill.observe(alert(Some(45 * SECOND), None), 46 * SECOND);
        let unlinked = DrillObservation::Delivered { resolved: false, at: 50 * SECOND, runbook_url: None, evidence: seen("") };
        assert_eq!(drill.observe(unlinked, 50 * SECOND), [DrillAction::CleanUp]);
    }

    #[test]
    fn scenarios_are_sound() {
        for scenario in SCENARIOS {
            let mut kinds: Vec<HopKind> = scenario.hops.iter().map(|h| h.kind).collect();
            assert_eq!(kinds.first(), Some(&HopKind::Baseline));
            kinds.sort();
            let before = kinds.len();
            kinds.dedup();
            assert_eq!(kinds.len(), before, "{}: each hop once", scenario.name);
            assert!(scenario.hops.iter().all(|h| h.deadline_ms > 0));
        }
    }
}
