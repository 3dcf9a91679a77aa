//! Runbooks and their runs as pages show them, and what people do with them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use skopos_reliability::engine::Engine;
use skopos_reliability::rules::is_page;
use skopos_reliability::runbooks::{Rollback, Run, RunRefusal, RunState, Runbook, Step, StepKind, StepResult, StepStart, search};

use super::alert_view::nanos;
use super::{Reliability, perform};
use crate::app::App;

/// How often the result of a step is looked for.
const POLL: Duration = Duration::from_millis(40);
/// Longest it is waited for in one request; the result is in the run all the same.
const RESULT_WAIT_MAX: Duration = Duration::from_secs(60);
/// Most runs of a runbook that are listed.
const RUNS_LISTED_MAX: usize = 50;

fn summary(runbook: &Runbook, now: i64) -> Value {
    json!({
        "id": runbook.id, "title": runbook.title, "service": runbook.service, "owner": runbook.owner, "severity": runbook.severity,
        "alerts": runbook.alerts, "reviewed": runbook.reviewed, "stale": runbook.is_stale(now),
    })
}

fn run_summary(run: &Run) -> Value {
    json!({
        "id": run.id, "runbook": run.runbook, "alert": run.alert, "started": nanos(run.started), "actor": run.actor,
        "state": if run.state == RunState::Done { "done" } else { "open" }, "stopped": run.state == RunState::Stopped, "steps_done": run.results.len(),
    })
}

pub(super) fn result_json(result: &StepResult) -> Value {
    json!({
        "step": result.step, "phase": result.phase.as_str(), "at": nanos(result.at), "actor": result.actor, "verdict": result.verdict,
        "value": result.value, "duration_ms": result.duration_ms, "message": result.message, "auto": result.auto,
    })
}

fn run_json(run: &Run) -> Value {
    let mut out = run_summary(run);
    out["results"] = run.results.iter().map(result_json).collect();
    out["suggested"] = json!(run.suggested);
    out
}

fn step_json(step: &Step) -> Value {
    let (query, action, parameters) = match &step.kind {
        StepKind::Promql { query } | StepKind::Logs { query } | StepKind::TraceSearch { query } => (Some(query.clone()), None, None),
        StepKind::HttpCheck { method, url } => (Some(format!("{method} {url}")), None, None),
        StepKind::FlagSet { action, parameters } | StepKind::Webhook { action, parameters } => (None, Some(action.clone()), Some(parameters.clone())),
        StepKind::Manual => (None, None, None),
    };
    json!({
        "id": step.id, "phase": step.phase.as_str(), "kind": step.kind.name(), "title": step.title, "query": query,
        "expect": step.expect.as_ref().map(ToString::to_string), "action": action, "parameters": parameters.unwrap_or_default(),
        "rollback": match &step.rollback { Some(Rollback::Step(id)) => Some(id.clone()), _ => None }, "timeout_seconds": step.timeout_ms as f64 / 1000.0,
        "on_true": step.on_true, "on_false": step.on_false,
    })
}

impl Reliability {
    /// Finds a runbook's summary; resolved once for a list of alerts.
    pub(super) fn runbook_lookup(&self, now: i64) -> impl Fn(&str) -> Option<Value> + use<> {
        let all: Vec<(String, Value)> = self.with_engine(|e| e.runbooks().iter().map(|r| (r.id.clone(), summary(r, now))).collect());
        move |id| all.iter().find(|(known, _)| known == id).map(|(_, v)| v.clone())
    }

    /// Runbooks of a service, or all. `now`: Unix milliseconds.
    pub fn runbooks_of(&self, service: Option<&str>, now: i64) -> Value {
        self.with_engine(|e| {
            let mine = e.runbooks().iter().filter(|r| service.is_none_or(|s| r.service.as_deref() == Some(s)));
            mine.map(|r| summary(r, now)).collect()
        })
    }

    /// Runbooks that match words, best first, and the paging rules that have none. `now`: Unix milliseconds.
    pub fn runbook_list(&self, words: &str, now: i64) -> Value {
        self.with_engine(|e| {
            let found: Vec<Value> = if words.trim().is_empty() {
                e.runbooks().iter().map(|r| summary(r, now)).collect()
            } else {
                search(e.runbooks(), words).into_iter().map(|r| summary(r, now)).collect()
            };
            let missing: Vec<Value> = e
                .groups()
                .flat_map(|g| &g.rules)
                .filter(|rule| is_page(rule.severity()) && rule.alerting().is_some_and(|a| a.page.runbook.is_none()))
                .map(|rule| json!({"alert": rule.name, "severity": rule.severity()}))
                .collect();
            json!({"runbooks": found, "missing": missing})
        })
    }

    /// One runbook with steps and runs. `now`: Unix milliseconds.
    pub fn runbook_detail(&self, id: &str, now: i64) -> Option<Value> {
        self.with_engine(|e| {
            let runbook = e.runbook(id)?;
            let mut runs: Vec<&Run> = e.runs().filter(|r| r.runbook == id).collect();
            runs.sort_by_key(|r| std::cmp::Reverse(r.started));
            let mut out = summary(runbook, now);
            out["tags"] = json!(runbook.tags);
            out["slo"] = json!(runbook.slo);
            out["sections"] = runbook.sections.iter().map(|s| json!({"title": s.title, "html": s.html, "steps": s.steps})).collect();
            out["steps"] = runbook.steps.iter().map(step_json).collect();
            out["runs"] = runs.iter().take(RUNS_LISTED_MAX).map(|r| run_summary(r)).collect();
            Some(out)
        })
    }

    /// A run with its results.
    pub fn run_detail(&self, id: &str) -> Option<Value> {
        self.with_engine(|e: &Engine| e.run(id).map(run_json))
    }

    /// Opens a run.
    ///
    /// # Errors
    /// When there is no such runbook or alert.
    pub async fn open_run(app: &Arc<App>, runbook: &str, alert: Option<&str>, actor: &str) -> Result<Value, RunRefusal> {
        let (run, effects) = app.reliability.engine.lock().open_run(runbook, alert, actor, app.clock.now_millis())?;
        perform::all(app, effects).await;
        Ok(run_json(&run))
    }

    /// Runs a step and waits for its result.
    ///
    /// # Errors
    /// When it may not be run, with the reason.
    pub async fn run_step(app: &Arc<App>, run: &str, step: &str, actor: &str, confirm: Option<&str>, dry_run: bool) -> Result<Value, RunRefusal> {
        let before = app.reliability.with_engine(|e| e.run(run).map_or(0, |r| r.results.len()));
        let (start, effects) = app.reliability.engine.lock().run_step(run, step, actor, confirm, dry_run, app.clock.now_millis())?;
        perform::all(app, effects).await;
        if let StepStart::Result(result) = start {
            return Ok(result_json(&result));
        }
        let waited = async {
            loop {
                let done = app
                    .reliability
                    .with_engine(|e| e.run(run).and_then(|r| r.results.iter().skip(before).rev().find(|r| r.step == step).map(result_json)));
                if let Some(done) = done {
                    return done;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(RESULT_WAIT_MAX, waited).await.map_err(|_| RunRefusal::Busy(format!("step `{step}`")))
    }
}
