//! What the API shows of this crate's state, in the shape of `ui/src/api/types.ts`. The server adds what only it
//! knows (series over a range, markers, traces).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::alerting::{ActiveAlert, AlertPhase, RuleHealth, fingerprint, json_float_opt};
use crate::engine::{Engine, source_name};
use crate::notify::{DRILL_LABEL, DeliveryStatus};
use crate::rules::{Rule, RuleGroup, is_page};
use crate::runbooks::{Rollback, Run, RunState, Runbook, Step, StepResult};
use crate::slo::{Budget, BudgetState, Indicator, IndicatorKind, Slo, budget};

const HOUR_MS: i64 = 3_600_000;

/// Unix milliseconds as Unix nanoseconds in decimal text.
pub fn nanos(ms: i64) -> String {
    (i128::from(ms) * 1_000_000).to_string()
}

/// A message about an alert.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NotificationView {
    /// Receiver.
    pub receiver: String,
    /// Channel.
    pub channel: String,
    /// When it was decided, nanoseconds; once it is done, when that was.
    pub at: String,
    /// Status.
    pub status: DeliveryStatus,
    /// Attempts made.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleRef {
    /// Group.
    pub group: String,
    /// Name.
    pub name: String,
    /// File.
    pub file: String,
}

/// `Alert` of the API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertView {
    /// 16 hex digits.
    pub fingerprint: String,
    /// Name.
    pub name: String,
    /// `pending`, `firing` or `resolved`.
    pub state: &'static str,
    /// Severity.
    pub severity: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Value; none when it is no number.
    #[serde(serialize_with = "json_float_opt")]
    pub value: Option<f64>,
    /// Condition.
    pub expr: String,
    /// Since when the condition holds.
    pub active_at: String,
    /// When it was raised.
    pub fired_at: Option<String>,
    /// When it was over.
    pub resolved_at: Option<String>,
    /// Service.
    pub service: Option<String>,
    /// Owner.
    pub owner: Option<String>,
    /// Impact.
    pub impact: Option<String>,
    /// SLO.
    pub slo: Option<String>,
    /// Runbook.
    pub runbook: Option<RunbookSummaryView>,
    /// `slo`, `native` or `prometheus`.
    pub source: &'static str,
    /// Rule.
    pub rule: RuleRef,
    /// What the page contract misses.
    pub contract: Vec<String>,
    /// Drill it belongs to.
    pub drill: Option<String>,
    /// Messages about it, newest first.
    pub notifications: Vec<NotificationView>,
}

/// `RulesResponse.groups[]` of the API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleGroupView {
    /// Name.
    pub name: String,
    /// File.
    pub file: String,
    /// Interval.
    pub interval_seconds: f64,
    /// Last evaluation, nanoseconds.
    pub last_evaluation: Option<String>,
    /// How long it took.
    pub evaluation_seconds: f64,
    /// Rules.
    pub rules: Vec<RuleView>,
}

/// A rule in [`RuleGroupView`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleView {
    /// Name.
    pub name: String,
    /// `alerting` or `recording`.
    pub kind: &'static str,
    /// PromQL.
    pub expr: String,
    /// `for`.
    pub for_seconds: f64,
    /// Labels as written.
    pub labels: BTreeMap<String, String>,
    /// Annotations as written.
    pub annotations: BTreeMap<String, String>,
    /// Health.
    pub health: RuleHealth,
    /// Why the last evaluation failed.
    pub error: Option<String>,
    /// Gravest state of its alerts.
    pub state: Option<AlertPhase>,
    /// What the page contract misses.
    pub contract: Vec<String>,
    /// `slo`, `native` or `prometheus`.
    pub source: &'static str,
}

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

/// `SloSummary` of the API, and the numbers of `SloDetail` that derive from counts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SloView {
    /// Id.
    pub id: String,
    /// Title.
    pub title: String,
    /// Description.
    pub description: String,
    /// Service.
    pub service: String,
    /// Owner.
    pub owner: Option<String>,
    /// Impact.
    pub impact: Option<String>,
    /// Objective, 0 to 1.
    pub objective: f64,
    /// Period, as `30d` or `month`.
    pub window: String,
    /// Share of good events in the period.
    pub sli: Option<f64>,
    /// Share of the budget that is left.
    pub budget_remaining: Option<f64>,
    /// Burn rate over the last hour.
    pub burn_rate_1h: Option<f64>,
    /// State.
    pub state: BudgetState,
    /// Why it is invalid.
    pub invalid: Option<String>,
    /// Runbook.
    pub runbook: Option<String>,
    /// What is measured.
    pub indicator: IndicatorView,
    /// Good events in the period.
    pub good: f64,
    /// All events in the period.
    pub total: f64,
    /// Burn-rate windows.
    pub windows: Vec<WindowView>,
    /// Estimated seconds until the budget is gone.
    pub exhaustion_seconds: Option<f64>,
}

/// `SloDetail.indicator`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IndicatorView {
    /// What kind of promise it is.
    pub kind: IndicatorKind,
    /// Query of good events.
    pub good: Option<String>,
    /// Query of bad events.
    pub bad: Option<String>,
    /// Query of all events, or of the ratio.
    pub total: String,
}

/// `SloDetail.windows[]`. The burn rates are queries: the server evaluates them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowView {
    /// Severity.
    pub severity: String,
    /// Long window.
    pub long: String,
    /// Short window.
    pub short: String,
    /// Burn rate that has to be exceeded.
    pub factor: f64,
    /// Burn over the long window; filled in by the server.
    pub burn_long: Option<f64>,
    /// Burn over the short window; filled in by the server.
    pub burn_short: Option<f64>,
    /// Whether its alert fires.
    pub firing: bool,
    /// PromQL of the burn over the long window.
    #[serde(skip)]
    pub long_query: String,
    /// PromQL of the burn over the short window.
    #[serde(skip)]
    pub short_query: String,
}

impl Engine {
    /// Alerts: firing first, then pending, then resolved, the latest first.
    pub fn alert_views(&self, now: i64) -> Vec<AlertView> {
        let mut all: Vec<(&RuleGroup, &Rule, &ActiveAlert)> = self.alerts().collect();
        let rank = |phase: AlertPhase| match phase {
            AlertPhase::Firing => 0,
            AlertPhase::Pending => 1,
            AlertPhase::Inactive => 2,
        };
        all.sort_by_key(|(_, _, a)| (rank(a.phase), -a.resolved_at.or(a.fired_at).unwrap_or(a.active_at)));
        all.into_iter().map(|(group, rule, alert)| self.alert_view(group, rule, alert, now)).collect()
    }

    fn alert_view(&self, group: &RuleGroup, rule: &Rule, alert: &ActiveAlert, now: i64) -> AlertView {
        let id = fingerprint(&alert.labels);
        let page = rule.alerting().map(|a| a.page.clone()).unwrap_or_default();
        let label = |name: &str| alert.labels.get(name).map(str::to_owned);
        AlertView {
            fingerprint: format!("{id:016x}"),
            name: rule.name.clone(),
            state: match alert.phase {
                AlertPhase::Pending => "pending",
                AlertPhase::Firing => "firing",
                AlertPhase::Inactive => "resolved",
            },
            severity: label("severity").unwrap_or_default(),
            labels: alert.labels.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            annotations: alert.annotations.clone(),
            value: Some(alert.value),
            expr: rule.expr.clone(),
            active_at: nanos(alert.active_at),
            fired_at: alert.fired_at.map(nanos),
            resolved_at: alert.resolved_at.map(nanos),
            service: label("service").or(page.service),
            owner: page.owner,
            impact: page.impact,
            slo: rule.alerting().and_then(|a| a.slo.clone()),
            runbook: page.runbook.as_deref().and_then(|id| self.runbook(id)).map(|r| runbook_summary(r, now)),
            source: source_name(group.source),
            rule: RuleRef { group: group.name.clone(), name: rule.name.clone(), file: group.file.clone() },
            contract: page.missing,
            drill: label(DRILL_LABEL),
            notifications: self.notifications(id),
        }
    }

    fn notifications(&self, id: u64) -> Vec<NotificationView> {
        let state = self.dispatcher.state();
        let mut all: Vec<_> = state.queue.values().chain(&state.finished).filter(|d| d.firing.contains(&id) || d.resolved.contains(&id)).collect();
        all.sort_by_key(|d| std::cmp::Reverse(d.created_at));
        let view = |d: &&crate::notify::Delivery| NotificationView {
            receiver: d.notification.receiver.clone(),
            channel: d.channel.clone(),
            at: nanos(d.finished_at.unwrap_or(d.created_at)),
            status: d.status,
            attempts: d.attempts,
            error: d.error.clone(),
        };
        all.iter().take(50).map(view).collect()
    }

    /// Groups of rules with their state.
    pub fn rule_views(&self) -> Vec<RuleGroupView> {
        let default = self.options().evaluation_interval_ms;
        self.groups
            .iter()
            .map(|run| RuleGroupView {
                name: run.group.name.clone(),
                file: run.group.file.clone(),
                interval_seconds: run.group.interval_ms(default) as f64 / 1_000.0,
                last_evaluation: run.evaluated_at.map(nanos),
                evaluation_seconds: run.duration_ms as f64 / 1_000.0,
                rules: run.group.rules.iter().zip(&run.keys).map(|(rule, key)| self.rule_view(&run.group, rule, key)).collect(),
            })
            .collect()
    }

    fn rule_view(&self, group: &RuleGroup, rule: &Rule, key: &str) -> RuleView {
        let state = self.states.get(key);
        let alerting = rule.alerting();
        RuleView {
            name: rule.name.clone(),
            kind: if alerting.is_some() { "alerting" } else { "recording" },
            expr: rule.expr.clone(),
            for_seconds: alerting.map_or(0.0, |a| a.for_ms as f64 / 1_000.0),
            labels: rule.label_sources(),
            annotations: alerting.map(|a| a.annotations.iter().map(|(k, v)| (k.clone(), v.source().to_owned())).collect()).unwrap_or_default(),
            health: state.map_or(RuleHealth::Unknown, |s| s.health),
            error: state.and_then(|s| s.error.clone()),
            state: alerting.map(|_| state.map_or(AlertPhase::Inactive, |s| s.phase())),
            contract: alerting.map(|a| a.page.missing.clone()).unwrap_or_default(),
            source: source_name(group.source),
        }
    }

    /// SLOs with their budgets at `now`.
    pub fn slo_views(&self, now: i64) -> Vec<SloView> {
        self.slos.iter().map(|run| self.slo_view(&run.slo, &run.counts, run.invalid.as_deref(), now)).collect()
    }

    fn slo_view(&self, slo: &Slo, counts: &crate::slo::SloCounts, invalid: Option<&str>, now: i64) -> SloView {
        let allowed = slo.budget_ratio();
        let period = slo.window.length_ms(now);
        let (start, end) = slo.window.bounds(now).unwrap_or((now - period, now));
        let seen = counts.window(start, end.min(now + 1));
        let spent: Option<Budget> = budget(seen.bad, seen.total, allowed);
        let burn = counts.window(now - HOUR_MS, now + 1).ratio().map(|e| e / allowed);
        let firing: Vec<(&str, &str)> = self
            .alerts()
            .filter(|(_, rule, a)| rule.alerting().is_some_and(|r| r.slo.as_deref() == Some(&slo.id)) && a.phase == AlertPhase::Firing)
            .map(|(_, rule, a)| (rule.severity(), a.labels.get("long_window").unwrap_or("")))
            .collect();
        let state = match &spent {
            _ if invalid.is_some() => BudgetState::Invalid,
            None => BudgetState::NoData,
            Some(b) if b.remaining <= 0.0 => BudgetState::Exhausted,
            Some(_) if !firing.is_empty() => BudgetState::Burning,
            // Less than an hour of counts says little about a period of days.
            Some(_) if counts.first().is_none_or(|first| now - first < HOUR_MS) => BudgetState::Provisional,
            Some(_) => BudgetState::Ok,
        };
        let burn_query = |ms| format!("({}) / {allowed}", slo.indicator.error_ratio(ms, slo.budgeting));
        SloView {
            id: slo.id.clone(),
            title: slo.title.clone(),
            description: slo.description.clone(),
            service: slo.service.clone(),
            owner: slo.owner.clone(),
            impact: slo.impact.clone(),
            objective: slo.objective,
            window: slo.window.name(),
            sli: spent.map(|b| b.sli),
            budget_remaining: spent.map(|b| b.remaining),
            burn_rate_1h: burn,
            state,
            invalid: invalid.map(str::to_owned),
            runbook: slo.runbook.clone(),
            indicator: indicator_view(&slo.indicator),
            good: seen.total - seen.bad,
            total: seen.total,
            windows: slo
                .burn_windows
                .iter()
                .map(|w| {
                    let long = crate::duration::format_duration(w.long_ms);
                    WindowView {
                        firing: firing.contains(&(w.severity.as_str(), long.as_str())),
                        severity: w.severity.clone(),
                        long,
                        short: crate::duration::format_duration(w.short_ms),
                        factor: w.factor,
                        burn_long: None,
                        burn_short: None,
                        long_query: burn_query(w.long_ms),
                        short_query: burn_query(w.short_ms),
                    }
                })
                .collect(),
            exhaustion_seconds: spent.zip(burn).and_then(|(b, burn)| b.exhaustion_ms(burn, period)).map(|ms| ms as f64 / 1_000.0),
        }
    }

    /// Paging alerts without a stored runbook: name and severity.
    pub fn alerts_without_runbook(&self) -> Vec<(String, String)> {
        let rules = self.groups().flat_map(|g| &g.rules);
        rules
            .filter(|r| is_page(r.severity()) && r.alerting().is_some_and(|a| a.page.runbook.is_none()))
            .map(|r| (r.name.clone(), r.severity().to_owned()))
            .collect()
    }

    /// `RunbookDetail` of the API.
    pub fn runbook_detail(&self, id: &str, now: i64) -> Option<Value> {
        let runbook = self.runbook(id)?;
        let mut detail = to_map(&runbook_summary(runbook, now));
        detail.insert("tags".into(), json!(runbook.tags));
        detail.insert("slo".into(), json!(runbook.slo));
        detail.insert("sections".into(), json!(runbook.sections));
        detail.insert("steps".into(), runbook.steps.iter().map(step_view).collect());
        let mut runs: Vec<&Run> = self.runs.values().filter(|r| r.runbook == id).collect();
        runs.sort_by_key(|r| std::cmp::Reverse(r.started));
        detail.insert("runs".into(), runs.into_iter().map(|r| Value::Object(run_summary(r))).collect());
        Some(Value::Object(detail))
    }

    /// `Run` of the API.
    pub fn run_view(&self, id: &str) -> Option<Value> {
        let run = self.run(id)?;
        let mut view = run_summary(run);
        view.insert("results".into(), run.results.iter().map(result_view).collect());
        view.insert("suggested".into(), json!(run.suggested));
        Some(Value::Object(view))
    }
}

/// `RunbookSummary` of the API.
pub fn runbook_summary(runbook: &Runbook, now: i64) -> RunbookSummaryView {
    RunbookSummaryView {
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

/// `StepResult` of the API.
pub fn result_view(result: &StepResult) -> Value {
    let mut view = to_map(result);
    view.insert("at".into(), nanos(result.at).into());
    Value::Object(view)
}

fn to_map(content: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(content) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn run_summary(run: &Run) -> Map<String, Value> {
    let done = run.results.iter().filter(|r| r.verdict != crate::runbooks::Verdict::DryRun).count();
    to_map(&json!({
        "id": run.id,
        "runbook": run.runbook,
        "alert": run.alert,
        "started": nanos(run.started),
        "actor": run.actor,
        "state": if run.state == RunState::Done { "done" } else { "open" },
        "steps_done": done,
    }))
}

fn step_view(step: &Step) -> Value {
    let kind = to_map(&step.kind);
    let text = |key: &str| kind.get(key).cloned().unwrap_or(Value::Null);
    json!({
        "id": step.id,
        "phase": step.phase,
        "kind": step.kind.name(),
        "title": step.title,
        "query": if text("query").is_null() { text("url") } else { text("query") },
        "expect": step.expect,
        "action": step.kind.action(),
        "parameters": kind.get("parameters").cloned().unwrap_or_else(|| json!({})),
        "rollback": match &step.rollback {
            Some(Rollback::Step(id)) => Some(id.clone()),
            Some(Rollback::None(reason)) => Some(format!("none: {reason}")),
            None => None,
        },
        "timeout_seconds": step.timeout_ms as f64 / 1_000.0,
        "on_true": step.on_true,
        "on_false": step.on_false,
    })
}

fn indicator_view(indicator: &Indicator) -> IndicatorView {
    let kind = indicator.kind();
    match indicator {
        Indicator::Ratio { good, bad, total, .. } => IndicatorView {
            kind,
            good: good.as_ref().map(|q| q.text().to_owned()),
            bad: bad.as_ref().map(|q| q.text().to_owned()),
            total: total.text().to_owned(),
        },
        Indicator::Raw { query, .. } => IndicatorView { kind, good: None, bad: None, total: query.clone() },
        Indicator::Threshold { query, op, value, .. } => {
            IndicatorView { kind, good: Some(format!("{query} {op} {value}")), bad: None, total: query.clone() }
        }
    }
}
