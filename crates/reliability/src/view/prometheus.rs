//! Rules and alerts in the shape of Prometheus' `/api/v1/rules` and `/api/v1/alerts`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::alerting::{ActiveAlert, AlertPhase, RuleHealth};
use crate::engine::{Engine, GroupRun};
use crate::rules::{Rule, RuleKind};

/// What Prometheus says for "never": Go's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Engine {
    /// `data` of `/api/v1/rules`.
    pub fn prometheus_rules(&self) -> Value {
        let groups: Vec<Value> = self.groups.iter().map(|run| self.prometheus_group(run)).collect();
        json!({"groups": groups})
    }

    fn prometheus_group(&self, run: &GroupRun) -> Value {
        let interval = run.group.interval_ms(self.options().evaluation_interval_ms);
        let rules: Vec<Value> = run.group.rules.iter().zip(&run.keys).map(|(rule, key)| self.prometheus_rule(rule, key)).collect();
        json!({
            "name": run.group.name, "file": run.group.file, "interval": interval as f64 / 1000.0, "limit": run.group.limit, "rules": rules,
            "evaluationTime": run.duration_ms as f64 / 1000.0, "lastEvaluation": rfc3339(self.last_evaluation(run)),
        })
    }

    fn prometheus_rule(&self, rule: &Rule, key: &str) -> Value {
        let state = self.states.get(key);
        let mut out = json!({
            "name": rule.name, "query": rule.expr.trim(), "labels": rule.label_sources(),
            "health": state.map_or(RuleHealth::Unknown, |s| s.health), "lastEvaluation": rfc3339(state.and_then(|s| s.evaluated_at)),
            "evaluationTime": state.map_or(0.0, |s| s.duration_ms as f64 / 1000.0), "type": if rule.alerting().is_some() { "alerting" } else { "recording" },
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
            out["alerts"] = alerts.map(prometheus_alert).collect();
        }
        out
    }

    /// `data` of `/api/v1/alerts`: those pending and firing.
    pub fn prometheus_alerts(&self) -> Value {
        let alerts: Vec<Value> = self.alerts().filter(|(_, _, a)| a.phase != AlertPhase::Inactive).map(|(_, _, a)| prometheus_alert(a)).collect();
        json!({"alerts": alerts})
    }
}

fn prometheus_alert(alert: &ActiveAlert) -> Value {
    let labels: BTreeMap<&str, &str> = alert.labels.iter().collect();
    let mut out = json!({
        "labels": labels, "annotations": alert.annotations, "state": alert.phase.as_str(), "activeAt": rfc3339(Some(alert.active_at)),
        "value": exponent(alert.value, 'e'),
    });
    if alert.keep_firing_since.is_some() {
        out["keepFiringSince"] = json!(rfc3339(alert.keep_firing_since));
    }
    out
}

/// A float as Go's formats `'e'` and `'E'` have it: `1e+00`.
pub(crate) fn exponent(value: f64, e: char) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{value:E}");
    let (digits, power) = text.split_once('E').unwrap_or((&text, "0"));
    let (sign, power) = power.strip_prefix('-').map_or(('+', power), |p| ('-', p));
    format!("{digits}{e}{sign}{power:0>2}")
}

fn rfc3339(ms: Option<i64>) -> String {
    ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).map_or_else(|| NEVER.to_owned(), |t| t.to_string())
}
