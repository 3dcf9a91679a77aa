//! Rules by group, with the health of each.

use std::collections::BTreeMap;

use serde::Serialize;

use super::nanos;
use crate::alerting::{AlertPhase, RuleHealth};
use crate::engine::{Engine, GroupRun, source_name};
use crate::rules::{Rule, RuleGroup};

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
    /// `keep_firing_for`.
    pub keep_firing_for_seconds: f64,
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

impl Engine {
    /// Groups of rules with their state.
    pub fn rule_views(&self) -> Vec<RuleGroupView> {
        let default = self.options().evaluation_interval_ms;
        self.groups
            .iter()
            .map(|run| RuleGroupView {
                name: run.group.name.clone(),
                file: run.group.file.clone(),
                interval_seconds: run.group.interval_ms(default) as f64 / 1_000.0,
                last_evaluation: self.last_evaluation(run).map(nanos),
                evaluation_seconds: run.duration_ms as f64 / 1_000.0,
                rules: run.group.rules.iter().zip(&run.keys).map(|(rule, key)| self.rule_view(&run.group, rule, key)).collect(),
            })
            .collect()
    }

    /// When any rule of a group was last evaluated; known from the rules' states after a restart.
    pub(super) fn last_evaluation(&self, run: &GroupRun) -> Option<i64> {
        let of_rules = run.keys.iter().filter_map(|key| self.states.get(key)?.evaluated_at).max();
        of_rules.max(run.evaluated_at)
    }

    fn rule_view(&self, group: &RuleGroup, rule: &Rule, key: &str) -> RuleView {
        let state = self.states.get(key);
        let alerting = rule.alerting();
        RuleView {
            name: rule.name.clone(),
            kind: if alerting.is_some() { "alerting" } else { "recording" },
            expr: rule.expr.trim().to_owned(),
            for_seconds: alerting.map_or(0.0, |a| a.for_ms as f64 / 1_000.0),
            keep_firing_for_seconds: alerting.map_or(0.0, |a| a.keep_firing_for_ms as f64 / 1_000.0),
            labels: rule.label_sources(),
            annotations: alerting.map(|a| a.annotations.iter().map(|(k, v)| (k.clone(), v.source().to_owned())).collect()).unwrap_or_default(),
            health: state.map_or(RuleHealth::Unknown, |s| s.health),
            error: state.and_then(|s| s.error.clone()),
            state: alerting.map(|_| state.map_or(AlertPhase::Inactive, |s| s.phase())),
            contract: alerting.map(|a| a.page.missing.clone()).unwrap_or_default(),
            source: source_name(group.source),
        }
    }
}
