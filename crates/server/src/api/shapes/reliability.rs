//! Alerts, rules, objectives, runbooks, drills.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{ChangeMarker, Frame};

/// Alerts, the gravest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertList {
    pub alerts: Vec<Alert>,
    /// Unix nanoseconds.
    pub last_evaluation: Option<String>,
    pub lag_seconds: f64,
}

/// An alert.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alert {
    pub fingerprint: String,
    pub name: String,
    /// `pending`, `firing`, `resolved`.
    pub state: String,
    pub severity: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub value: Option<f64>,
    /// Its condition.
    pub expr: String,
    /// Unix nanoseconds.
    pub active_at: String,
    pub fired_at: Option<String>,
    pub resolved_at: Option<String>,
    pub service: Option<String>,
    pub owner: Option<String>,
    pub impact: Option<String>,
    pub slo: Option<String>,
    pub runbook: Option<RunbookLine>,
    /// `slo`, `native`, `prometheus`.
    pub source: String,
    pub rule: RuleReference,
    /// What it misses of the page contract.
    pub contract: Vec<String>,
    /// The drill that raised it.
    pub drill: Option<String>,
    pub notifications: Vec<NotificationOut>,
}

/// Where an alert's rule stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct RuleReference {
    pub group: String,
    pub name: String,
    pub file: String,
}

/// A message about an alert.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationOut {
    pub receiver: String,
    pub channel: String,
    /// Unix nanoseconds.
    pub at: String,
    /// `queued`, `delivered`, `failed`.
    pub status: String,
    pub attempts: u32,
    pub error: Option<String>,
}

/// An alert with its history.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertDetail {
    #[serde(flatten)]
    pub alert: Alert,
    pub history: Vec<AlertChange>,
    /// A trace that shows what it is about: of a condition on a histogram the slowest exemplar, else the newest failing
    /// trace of its service.
    pub exemplar_trace: Option<String>,
}

/// What became of an alert.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertChange {
    /// Unix nanoseconds.
    pub time: String,
    pub state: String,
    pub value: Option<f64>,
    pub text: Option<String>,
}

/// Rules by group.
#[derive(Debug, Serialize, ToSchema)]
pub struct RuleList {
    pub groups: Vec<RuleGroupOut>,
}

/// Rules evaluated together.
#[derive(Debug, Serialize, ToSchema)]
pub struct RuleGroupOut {
    pub name: String,
    pub file: String,
    pub interval_seconds: f64,
    /// Unix nanoseconds.
    pub last_evaluation: Option<String>,
    pub evaluation_seconds: f64,
    pub rules: Vec<RuleOut>,
}

/// A rule.
#[derive(Debug, Serialize, ToSchema)]
pub struct RuleOut {
    pub name: String,
    /// `alerting` or `recording`.
    pub kind: String,
    pub expr: String,
    pub for_seconds: f64,
    pub keep_firing_for_seconds: f64,
    pub labels: BTreeMap<String, String>,
    /// As written; empty for recording rules.
    pub annotations: BTreeMap<String, String>,
    /// `ok`, `err`, `unknown`.
    pub health: String,
    pub error: Option<String>,
    /// `inactive`, `pending`, `firing`; null for recording rules.
    pub state: Option<String>,
    /// What it misses of the page contract.
    pub contract: Vec<String>,
    /// `slo`, `native`, `prometheus`.
    pub source: String,
}

/// Objectives.
#[derive(Debug, Serialize, ToSchema)]
pub struct SloList {
    pub slos: Vec<Slo>,
}

/// An objective.
#[derive(Debug, Serialize, ToSchema)]
pub struct Slo {
    pub id: String,
    pub title: String,
    pub service: String,
    pub owner: Option<String>,
    /// As 0.999.
    pub objective: f64,
    /// As `28d`.
    pub window: String,
    /// Share of good events in the window.
    pub sli: Option<f64>,
    /// Share of 1; negative when overspent.
    pub budget_remaining: Option<f64>,
    /// 1 spends the budget in exactly its window.
    pub burn_rate_1h: Option<f64>,
    /// `ok`, `burning`, `exhausted`, `no_data`, `provisional`, `invalid`.
    pub state: String,
    /// Why its indicator cannot be taken.
    pub invalid: Option<String>,
    pub runbook: Option<String>,
}

/// An objective with its charts.
#[derive(Debug, Serialize, ToSchema)]
pub struct SloDetail {
    #[serde(flatten)]
    pub summary: Slo,
    pub description: String,
    pub impact: Option<String>,
    pub indicator: IndicatorOut,
    pub good: f64,
    pub total: f64,
    pub windows: Vec<BurnWindowOut>,
    pub budget: Frame,
    pub burn: Frame,
    pub error_ratio: Frame,
    pub alerts: Vec<Alert>,
    /// Until the budget is gone at the present burn.
    pub exhaustion_seconds: Option<f64>,
    /// Drills of the window, which the budget leaves out.
    pub left_out: Vec<LeftOut>,
    pub markers: Vec<ChangeMarker>,
}

/// The time of a drill: its events are in no number of the budget, only in the burn windows that alert.
#[derive(Debug, Serialize, ToSchema)]
pub struct LeftOut {
    pub drill: String,
    /// Unix nanoseconds.
    pub from: String,
    /// When its alert was over; none while it goes on.
    pub until: Option<String>,
    /// Bad events in the five-minute buckets it overlaps.
    pub bad: f64,
    pub total: f64,
}

/// How good and bad are told apart.
#[derive(Debug, Serialize, ToSchema)]
pub struct IndicatorOut {
    /// `availability`, `latency`, `custom`.
    pub kind: String,
    pub good: Option<String>,
    pub bad: Option<String>,
    pub total: String,
}

/// A pair of windows that alerts together.
#[derive(Debug, Serialize, ToSchema)]
pub struct BurnWindowOut {
    pub severity: String,
    pub long: String,
    pub short: String,
    pub factor: f64,
    pub burn_long: Option<f64>,
    pub burn_short: Option<f64>,
    /// Whether both are above the factor.
    pub firing: bool,
}

/// Runbooks, best match first.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunbookList {
    pub runbooks: Vec<RunbookLine>,
    /// Paging rules that have none.
    pub missing: Vec<MissingRunbook>,
}

/// A paging rule without a runbook.
#[derive(Debug, Serialize, ToSchema)]
pub struct MissingRunbook {
    pub alert: String,
    pub severity: String,
}

/// A runbook in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunbookLine {
    pub id: String,
    pub title: String,
    pub service: Option<String>,
    pub owner: Option<String>,
    pub severity: Option<String>,
    pub alerts: Vec<String>,
    /// Date of the last review.
    pub reviewed: String,
    /// Its review is overdue.
    pub stale: bool,
}

/// A runbook.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunbookDetail {
    #[serde(flatten)]
    pub summary: RunbookLine,
    pub tags: Vec<String>,
    pub slo: Option<String>,
    pub sections: Vec<RunbookSection>,
    pub steps: Vec<RunbookStep>,
    pub runs: Vec<RunLine>,
}

/// A section of a runbook's text.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunbookSection {
    pub title: String,
    /// Sanitised.
    pub html: String,
    /// Ids of the steps in it.
    pub steps: Vec<String>,
}

/// A step.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunbookStep {
    pub id: String,
    /// `verify`, `mitigate`, `rollback`.
    pub phase: String,
    pub kind: String,
    pub title: String,
    pub query: Option<String>,
    pub expect: Option<String>,
    pub action: Option<String>,
    pub parameters: BTreeMap<String, Value>,
    /// The step that undoes it.
    pub rollback: Option<String>,
    pub timeout_seconds: f64,
    pub on_true: Option<String>,
    pub on_false: Option<String>,
}

/// A run in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunLine {
    pub id: String,
    pub runbook: String,
    /// Fingerprint.
    pub alert: Option<String>,
    /// Unix nanoseconds.
    pub started: String,
    pub actor: String,
    /// `open` or `done`.
    pub state: String,
    /// A step has failed; it goes no further.
    pub stopped: bool,
    pub steps_done: u64,
}

/// A run.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunDetail {
    #[serde(flatten)]
    pub summary: RunLine,
    pub results: Vec<StepOutcome>,
    /// The step to do next.
    pub suggested: Option<String>,
}

/// What came of a step.
#[derive(Debug, Serialize, ToSchema)]
pub struct StepOutcome {
    pub step: String,
    pub phase: String,
    /// Unix nanoseconds.
    pub at: String,
    pub actor: String,
    /// `true`, `false`, `unknown`, `done`, `failed`, `dry_run`.
    pub verdict: String,
    pub value: Option<String>,
    pub duration_ms: i64,
    pub message: String,
    /// It was run by Skopos itself.
    pub auto: bool,
}

/// Drills, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct DrillList {
    pub drills: Vec<DrillReport>,
    pub scenarios: Vec<DrillScenario>,
}

/// A drill that can be run.
#[derive(Debug, Serialize, ToSchema)]
pub struct DrillScenario {
    pub name: String,
    pub summary: String,
}

/// A drill's report, as far as it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct DrillReport {
    pub id: String,
    pub scenario: String,
    /// Unix nanoseconds.
    pub started: String,
    pub finished: Option<String>,
    /// `running`, `passed`, `failed`.
    pub outcome: String,
    pub time_to_detect_seconds: Option<f64>,
    pub time_to_page_seconds: Option<f64>,
    pub time_to_mitigate_seconds: Option<f64>,
    pub time_to_resolve_seconds: Option<f64>,
    pub hops: Vec<DrillHop>,
    pub alert: Option<String>,
    pub runbook: Option<String>,
    pub trace_id: Option<String>,
    /// Why it failed.
    pub failure: Option<String>,
    /// The report for a terminal.
    pub text: String,
}

/// A hop of a drill.
#[derive(Debug, Serialize, ToSchema)]
pub struct DrillHop {
    pub name: String,
    pub title: String,
    /// Unix nanoseconds; null while it is waited for.
    pub at: Option<String>,
    /// Since the injection.
    pub seconds: Option<f64>,
    pub deadline_seconds: f64,
    pub ok: bool,
    pub evidence: String,
    /// Page that shows it.
    pub link: Option<String>,
}

/// What is odd about a rule file, and the rules as they were read.
#[derive(Debug, Serialize, ToSchema)]
pub struct RuleLint {
    /// Sound rules by group.
    pub groups: Vec<LintedGroup>,
    /// `file`, `line`, `column`, `key`, `message`, `nearest`, `severity`.
    #[schema(value_type = Vec<Object>)]
    pub findings: Vec<Value>,
    /// Rules of the same name and labels.
    pub duplicates: Vec<LintedTwice>,
    /// Sound rules.
    pub rules: u64,
    /// Findings for which something is refused.
    pub errors: u64,
    /// The rest, duplicates among them.
    pub warnings: u64,
}

/// A group of rules as it was read.
#[derive(Debug, Serialize, ToSchema)]
pub struct LintedGroup {
    pub name: String,
    /// None for the server's own.
    pub interval_seconds: Option<f64>,
    pub rules: Vec<LintedRule>,
}

/// A rule as it was read.
#[derive(Debug, Serialize, ToSchema)]
pub struct LintedRule {
    pub name: String,
    /// `alerting`, `recording`.
    pub kind: String,
    pub expr: String,
    pub for_seconds: f64,
    pub keep_firing_for_seconds: f64,
    /// As written, the group's among them.
    pub labels: BTreeMap<String, String>,
    /// As written; empty for recording rules.
    pub annotations: BTreeMap<String, String>,
    /// Line in the text, from 1.
    pub line: u32,
}

/// A rule that stands several times.
#[derive(Debug, Serialize, ToSchema)]
pub struct LintedTwice {
    pub rule: String,
    pub times: u64,
}

/// When rules would have been pending, fired and paged.
#[derive(Debug, Serialize, ToSchema)]
pub struct Backtest {
    /// Unix nanoseconds.
    pub from: String,
    pub to: String,
    pub rules: Vec<BacktestRule>,
    /// Alerts that began to hold.
    pub pending: u64,
    /// Alerts that were raised.
    pub fired: u64,
    /// Raised alerts that wake people.
    pub pages: u64,
    /// Messages sent, repetitions and resolutions among them.
    pub messages: u64,
    /// Whether there were more episodes than are told.
    pub truncated: bool,
    /// The same for a terminal.
    pub text: String,
    /// What is odd about the rules.
    #[schema(value_type = Vec<Object>)]
    pub findings: Vec<Value>,
    pub stats: super::Stats,
}

/// One rule of a backtest.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacktestRule {
    pub group: String,
    pub name: String,
    /// `alerting`, `recording`.
    pub kind: String,
    pub expr: String,
    pub for_seconds: f64,
    /// Why its last evaluation failed.
    pub error: Option<String>,
    /// Alerts at the same time count one by one.
    pub firing_seconds: f64,
    /// What other values of `for` would have done; empty for recording rules.
    pub for_choices: Vec<BacktestForChoice>,
    pub episodes: Vec<BacktestEpisode>,
}

/// A rule with another `for`: where `keep_firing_for` bridges gaps, a shorter one would have joined some alerts.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacktestForChoice {
    pub for_seconds: f64,
    /// Alerts that would have been raised.
    pub fired: u64,
    /// Those of them that wake people.
    pub pages: u64,
}

/// An alert from its first moment to its last.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacktestEpisode {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Whether it wakes people.
    pub page: bool,
    /// Unix nanoseconds.
    pub pending_at: String,
    /// When it was raised.
    pub fired_at: Option<String>,
    /// None when it went on at the end.
    pub ended_at: Option<String>,
    /// When its condition held last.
    pub held_until: String,
    /// When it was raised, or first held.
    pub value: Option<f64>,
    /// The worst.
    pub peak: Option<f64>,
    pub messages: Vec<BacktestMessage>,
}

/// A message of a backtest.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacktestMessage {
    pub at: String,
    pub receiver: String,
    /// `firing`, `resolved`.
    pub status: String,
}

/// What a backfill wrote.
#[derive(Debug, Serialize, ToSchema)]
pub struct Backfill {
    pub rules: Vec<BackfilledRuleOut>,
    pub stats: super::Stats,
}

/// One recording rule of a backfill.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackfilledRuleOut {
    pub group: String,
    pub name: String,
    pub evaluations: u64,
    pub samples: u64,
    pub series: u64,
}
