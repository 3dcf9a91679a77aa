//! Alerts and rules as pages and Prometheus' API show them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use skopos_reliability::alerting::{ActiveAlert, AlertPhase, RuleHealth, fingerprint};
use skopos_reliability::engine::Engine;
use skopos_reliability::notify::{DRILL_LABEL, DeliveryStatus};
use skopos_reliability::rules::{AlertingRule, Rule, RuleGroup, RuleKind, RuleSource};

use super::Reliability;

/// Unix milliseconds as the API's nanoseconds in text.
pub(super) fn nanos(ms: i64) -> String {
    (i128::from(ms) * 1_000_000).to_string()
}

/// An alert with the rule it comes from.
pub(super) struct Found<'a> {
    group: &'a RuleGroup,
    rule: &'a Rule,
    alerting: &'a AlertingRule,
    alert: &'a ActiveAlert,
}

/// All alerts the engine remembers.
pub(super) fn all(engine: &Engine) -> Vec<Found<'_>> {
    let mut out = Vec::new();
    for group in engine.groups() {
        let key = group.key();
        for (index, rule) in group.rules.iter().enumerate() {
            let (Some(alerting), Some(state)) = (rule.alerting(), engine.rule_state(&key, index)) else { continue };
            out.extend(state.alerts.values().map(|alert| Found { group, rule, alerting, alert }));
        }
    }
    out
}

#[derive(Debug, Serialize)]
struct NotificationView {
    receiver: String,
    channel: String,
    at: String,
    status: DeliveryStatus,
    attempts: u32,
    error: Option<String>,
}

impl Found<'_> {
    fn label(&self, name: &str) -> Option<String> {
        self.alert.labels.get(name).map(str::to_owned)
    }

    pub(super) fn name(&self) -> String {
        self.label("alertname").unwrap_or_else(|| self.rule.name.clone())
    }

    pub(super) fn severity(&self) -> String {
        self.label("severity").unwrap_or_default()
    }

    pub(super) fn service(&self) -> Option<String> {
        self.alerting.page.service.clone().or_else(|| self.label("service")).or_else(|| self.label("job"))
    }

    pub(super) fn owner(&self) -> Option<String> {
        self.alerting.page.owner.clone()
    }

    pub(super) fn slo(&self) -> Option<&str> {
        self.alerting.slo.as_deref()
    }

    pub(super) fn is_firing(&self) -> bool {
        self.alert.phase == AlertPhase::Firing
    }

    pub(super) fn since_ms(&self) -> i64 {
        self.alert.fired_at.unwrap_or(self.alert.active_at)
    }

    fn fingerprint(&self) -> String {
        format!("{:016x}", fingerprint(&self.alert.labels))
    }

    fn state(&self) -> &'static str {
        match self.alert.phase {
            AlertPhase::Pending => "pending",
            AlertPhase::Firing => "firing",
            AlertPhase::Inactive => "resolved",
        }
    }

    fn notifications(&self, engine: &Engine) -> Vec<NotificationView> {
        let id = fingerprint(&self.alert.labels);
        let state = engine.dispatcher().state();
        let since = self.alert.active_at;
        let mut out: Vec<(i64, NotificationView)> = state
            .finished
            .iter()
            .chain(state.queue.values())
            .filter(|d| d.created_at >= since && (d.firing.contains(&id) || d.resolved.contains(&id)))
            .map(|d| {
                let at = d.finished_at.unwrap_or(d.created_at);
                let view = NotificationView {
                    receiver: d.notification.receiver.clone(),
                    channel: d.channel.clone(),
                    at: nanos(at),
                    status: d.status,
                    attempts: d.attempts,
                    error: d.error.clone(),
                };
                (at, view)
            })
            .collect();
        out.sort_by_key(|(at, _)| *at);
        out.into_iter().map(|(_, v)| v).collect()
    }

    fn json(&self, engine: &Engine, runbook: &dyn Fn(&str) -> Option<Value>) -> Value {
        let page = &self.alerting.page;
        let labels: BTreeMap<&str, &str> = self.alert.labels.iter().collect();
        json!({
            "fingerprint": self.fingerprint(),
            "name": self.name(),
            "state": self.state(),
            "severity": self.severity(),
            "labels": labels,
            "annotations": self.alert.annotations,
            "value": self.alert.value.is_finite().then_some(self.alert.value),
            "expr": self.rule.expr.trim(),
            "active_at": nanos(self.alert.active_at),
            "fired_at": self.alert.fired_at.map(nanos),
            "resolved_at": self.alert.resolved_at.map(nanos),
            "service": self.service(),
            "owner": page.owner,
            "impact": page.impact,
            "slo": self.alerting.slo,
            "runbook": page.runbook.as_deref().and_then(runbook),
            "source": match self.group.source { RuleSource::Slo => "slo", RuleSource::Native => "native", RuleSource::Prometheus => "prometheus" },
            "rule": {"group": self.group.name, "name": self.rule.name, "file": self.group.file},
            "contract": page.missing,
            "drill": self.label(DRILL_LABEL),
            "notifications": self.notifications(engine),
        })
    }
}

impl Reliability {
    fn alert_values(&self, keep: impl Fn(&Found<'_>) -> bool, runbook: &dyn Fn(&str) -> Option<Value>) -> Vec<Value> {
        self.with_engine(|engine| {
            let mut found: Vec<Found<'_>> = all(engine).into_iter().filter(|f| keep(f)).collect();
            let rank = |f: &Found<'_>| match f.alert.phase {
                AlertPhase::Firing if matches!(f.severity().as_str(), "page" | "critical") => 0,
                AlertPhase::Firing => 1,
                AlertPhase::Pending => 2,
                AlertPhase::Inactive => 3,
            };
            found.sort_by_key(|f| (rank(f), std::cmp::Reverse(f.since_ms())));
            found.iter().map(|f| f.json(engine, runbook)).collect()
        })
    }

    /// Alerts of a service, or all, the gravest first.
    pub fn alerts_of(&self, service: Option<&str>) -> Value {
        let runbook = self.runbook_lookup(self.clock.now_millis());
        Value::Array(self.alert_values(|f| service.is_none_or(|s| f.service().as_deref() == Some(s)), &runbook))
    }

    /// Alerts of an SLO.
    pub fn alerts_of_slo(&self, slo: &str) -> Value {
        let runbook = self.runbook_lookup(self.clock.now_millis());
        Value::Array(self.alert_values(|f| f.alerting.slo.as_deref() == Some(slo), &runbook))
    }

    /// One alert by its fingerprint.
    pub fn alert(&self, fingerprint: &str) -> Option<Value> {
        let runbook = self.runbook_lookup(self.clock.now_millis());
        self.alert_values(|f| f.fingerprint() == fingerprint, &runbook).into_iter().next()
    }

    /// Rules by group, as the rules tab shows them.
    pub fn rule_groups(&self) -> Value {
        self.with_engine(|engine| {
            let default = engine.options().evaluation_interval_ms;
            let groups: Vec<Value> = engine
                .groups()
                .map(|group| {
                    let key = group.key();
                    let rules: Vec<Value> = group.rules.iter().enumerate().map(|(i, rule)| rule_json(engine, &key, i, rule)).collect();
                    let last = (0..group.rules.len()).filter_map(|i| engine.rule_state(&key, i)?.evaluated_at).max();
                    json!({
                        "name": group.name, "file": group.file, "interval_seconds": group.interval_ms(default) as f64 / 1000.0,
                        "last_evaluation": last.map(nanos), "evaluation_seconds": engine.group_duration_ms(&key).unwrap_or(0) as f64 / 1000.0, "rules": rules,
                    })
                })
                .collect();
            json!({"groups": groups})
        })
    }

    /// Prometheus' `/api/v1/rules`.
    pub fn prometheus_rules(&self) -> Value {
        self.with_engine(|engine| {
            let default = engine.options().evaluation_interval_ms;
            let groups: Vec<Value> = engine
                .groups()
                .map(|group| {
                    let key = group.key();
                    let rules: Vec<Value> = group
                        .rules
                        .iter()
                        .enumerate()
                        .map(|(i, rule)| {
                            let state = engine.rule_state(&key, i);
                            let mut out = json!({
                                "name": rule.name, "query": rule.expr.trim(), "labels": rule.label_sources(),
                                "health": health(state.map(|s| s.health)), "lastEvaluation": rfc3339(state.and_then(|s| s.evaluated_at)), "evaluationTime": 0.0,
                                "type": if rule.alerting().is_some() { "alerting" } else { "recording" },
                            });
                            if let Some(error) = state.and_then(|s| s.error.as_ref()) {
                                out["lastError"] = json!(error);
                            }
                            if let RuleKind::Alerting(alerting) = &rule.kind {
                                let annotations: BTreeMap<&String, &str> = alerting.annotations.iter().map(|(k, t)| (k, t.source())).collect();
                                out["duration"] = json!(alerting.for_ms as f64 / 1000.0);
                                out["keepFiringFor"] = json!(alerting.keep_firing_for_ms as f64 / 1000.0);
                                out["annotations"] = json!(annotations);
                                out["state"] = json!(state.map_or("inactive", |s| s.phase().as_str()));
                                let alerts = state.into_iter().flat_map(|s| s.alerts.values()).filter(|a| a.phase != AlertPhase::Inactive);
                                out["alerts"] = Value::Array(alerts.map(prometheus_alert).collect());
                            }
                            out
                        })
                        .collect();
                    json!({
                        "name": group.name, "file": group.file, "interval": group.interval_ms(default) as f64 / 1000.0, "limit": group.limit,
                        "rules": rules, "evaluationTime": 0.0, "lastEvaluation": rfc3339((0..group.rules.len()).filter_map(|i| engine.rule_state(&key, i)?.evaluated_at).max()),
                    })
                })
                .collect();
            json!({"groups": groups})
        })
    }

    /// Prometheus' `/api/v1/alerts`.
    pub fn prometheus_alerts(&self) -> Value {
        self.with_engine(|engine| {
            let alerts: Vec<Value> =
                all(engine).iter().filter(|f| f.alert.phase != AlertPhase::Inactive).map(|f| prometheus_alert(f.alert)).collect();
            json!({"alerts": alerts})
        })
    }
}

fn prometheus_alert(alert: &ActiveAlert) -> Value {
    let labels: BTreeMap<&str, &str> = alert.labels.iter().collect();
    json!({
        "labels": labels, "annotations": alert.annotations, "state": alert.phase.as_str(), "activeAt": rfc3339(Some(alert.active_at)),
        "value": format!("{:e}", alert.value),
    })
}

fn rfc3339(ms: Option<i64>) -> String {
    ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |t| t.to_string())
}

fn health(health: Option<RuleHealth>) -> &'static str {
    match health {
        Some(RuleHealth::Ok) => "ok",
        Some(RuleHealth::Err) => "err",
        Some(RuleHealth::Unknown) | None => "unknown",
    }
}

fn rule_json(engine: &Engine, group: &str, index: usize, rule: &Rule) -> Value {
    let state = engine.rule_state(group, index);
    let alerting = rule.alerting();
    json!({
        "name": rule.name,
        "kind": if alerting.is_some() { "alerting" } else { "recording" },
        "expr": rule.expr.trim(),
        "for_seconds": alerting.map_or(0.0, |a| a.for_ms as f64 / 1000.0),
        "labels": rule.label_sources(),
        "health": health(state.map(|s| s.health)),
        "error": state.and_then(|s| s.error.clone()),
        "state": alerting.map(|_| state.map_or("inactive", |s| s.phase().as_str())),
        "contract": alerting.map(|a| a.page.missing.clone()).unwrap_or_default(),
    })
}
