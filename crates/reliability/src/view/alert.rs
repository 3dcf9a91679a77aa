//! Alerts, each with its rule, its page and the messages about it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::nanos;
use super::runbook::RunbookSummaryView;
use crate::alerting::{ActiveAlert, AlertPhase, fingerprint, json_float_opt};
use crate::engine::{Engine, source_name};
use crate::notify::{DRILL_LABEL, Delivery, DeliveryStatus};
use crate::rules::{Rule, RuleGroup, is_page};

/// Most messages shown about an alert: the latest.
const NOTIFICATIONS_MAX: usize = 50;

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
    /// Messages about it since it became active, oldest first.
    pub notifications: Vec<NotificationView>,
    /// [`AlertView::active_at`] in milliseconds.
    #[serde(skip)]
    pub active_ms: i64,
    /// [`AlertView::fired_at`] in milliseconds.
    #[serde(skip)]
    pub fired_ms: Option<i64>,
    /// [`AlertView::resolved_at`] in milliseconds.
    #[serde(skip)]
    pub resolved_ms: Option<i64>,
}

impl AlertView {
    /// Whether it is raised now.
    pub fn is_firing(&self) -> bool {
        self.state == "firing"
    }

    /// Whether it wakes people.
    pub fn is_page(&self) -> bool {
        is_page(&self.severity)
    }

    /// Since when it stands as it does: raised, or pending.
    pub fn since_ms(&self) -> i64 {
        self.fired_ms.unwrap_or(self.active_ms)
    }
}

impl Engine {
    /// Alerts, the gravest first: firing pages, what else fires, pending, resolved; of each the latest first.
    pub fn alert_views(&self, now: i64) -> Vec<AlertView> {
        let mut all: Vec<(&RuleGroup, &Rule, &ActiveAlert)> = self.alerts().collect();
        let rank = |alert: &ActiveAlert| match alert.phase {
            AlertPhase::Firing if alert.labels.get("severity").is_some_and(is_page) => 0,
            AlertPhase::Firing => 1,
            AlertPhase::Pending => 2,
            AlertPhase::Inactive => 3,
        };
        all.sort_by_key(|(_, _, a)| (rank(a), Reverse(a.resolved_at.or(a.fired_at).unwrap_or(a.active_at))));
        all.into_iter().map(|(group, rule, alert)| self.alert_view(group, rule, alert, now)).collect()
    }

    fn alert_view(&self, group: &RuleGroup, rule: &Rule, alert: &ActiveAlert, now: i64) -> AlertView {
        let id = fingerprint(&alert.labels);
        let page = rule.alerting().map(|a| a.page.clone()).unwrap_or_default();
        let label = |name: &str| alert.labels.get(name).map(str::to_owned);
        AlertView {
            fingerprint: format!("{id:016x}"),
            name: label("alertname").unwrap_or_else(|| rule.name.clone()),
            state: match alert.phase {
                AlertPhase::Pending => "pending",
                AlertPhase::Firing => "firing",
                AlertPhase::Inactive => "resolved",
            },
            severity: label("severity").unwrap_or_default(),
            labels: alert.labels.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            annotations: alert.annotations.clone(),
            value: Some(alert.value),
            expr: rule.expr.trim().to_owned(),
            active_at: nanos(alert.active_at),
            fired_at: alert.fired_at.map(nanos),
            resolved_at: alert.resolved_at.map(nanos),
            service: page.service.or_else(|| label("service")).or_else(|| label("job")),
            owner: page.owner,
            impact: page.impact,
            slo: rule.alerting().and_then(|a| a.slo.clone()),
            runbook: page.runbook.as_deref().and_then(|id| self.runbook(id)).map(|r| RunbookSummaryView::new(r, now)),
            source: source_name(group.source),
            rule: RuleRef { group: group.name.clone(), name: rule.name.clone(), file: group.file.clone() },
            contract: page.missing,
            drill: alert.drill.clone().or_else(|| label(DRILL_LABEL)),
            notifications: self.notifications(id, alert.active_at),
            active_ms: alert.active_at,
            fired_ms: alert.fired_at,
            resolved_ms: alert.resolved_at,
        }
    }

    fn notifications(&self, id: u64, since: i64) -> Vec<NotificationView> {
        let state = self.dispatcher.state();
        let about = |d: &&Delivery| d.created_at >= since && (d.firing.contains(&id) || d.resolved.contains(&id));
        let at = |d: &Delivery| d.finished_at.unwrap_or(d.created_at);
        let mut all: Vec<&Delivery> = state.queue.values().chain(&state.finished).filter(about).collect();
        all.sort_by_key(|d| at(d));
        let view = |d: &&Delivery| NotificationView {
            receiver: d.notification.receiver.clone(),
            channel: d.channel.clone(),
            at: nanos(at(d)),
            status: d.status,
            attempts: d.attempts,
            error: d.error.clone(),
        };
        all[all.len().saturating_sub(NOTIFICATIONS_MAX)..].iter().map(view).collect()
    }
}
