//! Runbooks and their runs.

use serde::Serialize;
use serde_json::{Map, Value};

use super::nanos;
use crate::engine::Engine;
use crate::rules::is_page;
use crate::runbooks::{Rollback, Run, RunState, Runbook, Section, Step, StepKind, StepPhase, StepResult, Verdict, search};

/// Most runs of a runbook that are listed.
const RUNS_LISTED_MAX: usize = 50;

/// `RunbookSummary` of the API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunbookSummaryView {
    /// Slug.
    pub id: String,
    /// Title.
    pub title: String,
    /// Service.
    pub service: Option<String>,
    /// Owner.
    pub owner: Option<String>,
    /// Severity.
    pub severity: Option<String>,
    /// Alerts it is for.
    pub alerts: Vec<String>,
    /// Day of its last review.
    pub reviewed: String,
    /// Whether that is long ago.
    pub stale: bool,
}

impl RunbookSummaryView {
    /// A runbook's; `now` in Unix milliseconds.
    pub fn new(runbook: &Runbook, now: i64) -> Self {
        Self {
            id: runbook.id.clone(),
            title: runbook.title.clone(),
            service: runbook.service.clone(),
            owner: runbook.owner.clone(),
            severity: runbook.severity.clone(),
            alerts: runbook.alerts.clone(),
            reviewed: runbook.reviewed.clone(),
            stale: runbook.is_stale(now),
        }
    }
}

/// A paging rule without a stored runbook.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MissingRunbook {
    /// Its name.
    pub alert: String,
    /// Its severity.
    pub severity: String,
}

/// `RunbookDetail` of the API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunbookDetailView {
    /// The summary.
    #[serde(flatten)]
    pub summary: RunbookSummaryView,
    /// Tags.
    pub tags: Vec<String>,
    /// SLO.
    pub slo: Option<String>,
    /// Sections in order.
    pub sections: Vec<Section>,
    /// Steps in order.
    pub steps: Vec<StepView>,
    /// Runs, the latest first.
    pub runs: Vec<RunSummaryView>,
}

/// `RunbookStep` of the API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepView {
    /// Unique in its runbook.
    pub id: String,
    /// Phase.
    pub phase: StepPhase,
    /// Kind.
    pub kind: &'static str,
    /// For people.
    pub title: String,
    /// What is asked: PromQL, a filter, `GET url`.
    pub query: Option<String>,
    /// When it counts as true.
    pub expect: Option<String>,
    /// Registered action.
    pub action: Option<String>,
    /// Its parameters.
    pub parameters: Map<String, Value>,
    /// Step that undoes it.
    pub rollback: Option<String>,
    /// Longest time.
    pub timeout_seconds: f64,
    /// Step suggested after `true`.
    pub on_true: Option<String>,
    /// Step suggested after `false`.
    pub on_false: Option<String>,
}

/// `RunSummary` of the API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSummaryView {
    /// Unique.
    pub id: String,
    /// Runbook.
    pub runbook: String,
    /// Fingerprint of the alert it answers.
    pub alert: Option<String>,
    /// When it was opened.
    pub started: String,
    /// Who opened it.
    pub actor: String,
    /// `open` or `done`.
    pub state: &'static str,
    /// Whether a failed step stopped it.
    pub stopped: bool,
    /// Steps that were run; dry runs do not count.
    pub steps_done: usize,
}

/// `Run` of the API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunView {
    /// The summary.
    #[serde(flatten)]
    pub summary: RunSummaryView,
    /// Results, oldest first.
    pub results: Vec<StepResultView>,
    /// Step to look at next.
    pub suggested: Option<String>,
}

/// `StepResult` of the API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepResultView {
    /// Step.
    pub step: String,
    /// Phase.
    pub phase: StepPhase,
    /// When, nanoseconds.
    pub at: String,
    /// Who.
    pub actor: String,
    /// What came of it.
    pub verdict: Verdict,
    /// What was seen.
    pub value: Option<String>,
    /// How long it took.
    pub duration_ms: i64,
    /// A sentence.
    pub message: String,
    /// Whether it ran by itself.
    pub auto: bool,
}

impl From<&StepResult> for StepResultView {
    fn from(result: &StepResult) -> Self {
        Self {
            step: result.step.clone(),
            phase: result.phase,
            at: nanos(result.at),
            actor: result.actor.clone(),
            verdict: result.verdict,
            value: result.value.clone(),
            duration_ms: result.duration_ms,
            message: result.message.clone(),
            auto: result.auto,
        }
    }
}

impl From<&Run> for RunSummaryView {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id.clone(),
            runbook: run.runbook.clone(),
            alert: run.alert.clone(),
            started: nanos(run.started),
            actor: run.actor.clone(),
            state: if run.state == RunState::Done { "done" } else { "open" },
            stopped: run.state == RunState::Stopped,
            steps_done: run.results.iter().filter(|r| r.verdict != Verdict::DryRun).count(),
        }
    }
}

impl From<&Run> for RunView {
    fn from(run: &Run) -> Self {
        Self { summary: run.into(), results: run.results.iter().map(StepResultView::from).collect(), suggested: run.suggested.clone() }
    }
}

impl From<&Step> for StepView {
    fn from(step: &Step) -> Self {
        let (query, action, parameters) = match &step.kind {
            StepKind::Promql { query } | StepKind::Logs { query } | StepKind::TraceSearch { query } => (Some(query.clone()), None, None),
            StepKind::HttpCheck { method, url } => (Some(format!("{method} {url}")), None, None),
            StepKind::FlagSet { action, parameters } | StepKind::Webhook { action, parameters } => {
                (None, Some(action.clone()), Some(parameters.clone()))
            }
            StepKind::Manual => (None, None, None),
        };
        Self {
            id: step.id.clone(),
            phase: step.phase,
            kind: step.kind.name(),
            title: step.title.clone(),
            query,
            expect: step.expect.as_ref().map(ToString::to_string),
            action,
            parameters: parameters.unwrap_or_default(),
            rollback: match &step.rollback {
                Some(Rollback::Step(id)) => Some(id.clone()),
                Some(Rollback::None(_)) | None => None,
            },
            timeout_seconds: step.timeout_ms as f64 / 1_000.0,
            on_true: step.on_true.clone(),
            on_false: step.on_false.clone(),
        }
    }
}

impl Engine {
    /// Runbooks that match words, best first; all of them without words.
    pub fn runbook_views(&self, words: &str, now: i64) -> Vec<RunbookSummaryView> {
        let view = |r: &Runbook| RunbookSummaryView::new(r, now);
        if words.trim().is_empty() { self.runbooks.iter().map(view).collect() } else { search(&self.runbooks, words).into_iter().map(view).collect() }
    }

    /// Paging rules without a stored runbook.
    pub fn alerts_without_runbook(&self) -> Vec<MissingRunbook> {
        let rules = self.groups().flat_map(|g| &g.rules);
        rules
            .filter(|r| is_page(r.severity()) && r.alerting().is_some_and(|a| a.page.runbook.is_none()))
            .map(|r| MissingRunbook { alert: r.name.clone(), severity: r.severity().to_owned() })
            .collect()
    }

    /// One runbook with its steps and its latest runs.
    pub fn runbook_detail(&self, id: &str, now: i64) -> Option<RunbookDetailView> {
        let runbook = self.runbook(id)?;
        let mut runs: Vec<&Run> = self.runs.values().filter(|r| r.runbook == id).collect();
        runs.sort_by_key(|r| std::cmp::Reverse(r.started));
        Some(RunbookDetailView {
            summary: RunbookSummaryView::new(runbook, now),
            tags: runbook.tags.clone(),
            slo: runbook.slo.clone(),
            sections: runbook.sections.clone(),
            steps: runbook.steps.iter().map(StepView::from).collect(),
            runs: runs.into_iter().take(RUNS_LISTED_MAX).map(RunSummaryView::from).collect(),
        })
    }

    /// A run with its results.
    pub fn run_view(&self, id: &str) -> Option<RunView> {
        self.run(id).map(RunView::from)
    }
}
