//! Alerting and recording rules: Prometheus' format, for imported files, for our own, and for what SLOs generate.

mod contract;
mod parse;

use std::collections::BTreeMap;

use serde::Serialize;
use skopos_model::Labels;
use xxhash_rust::xxh3::xxh3_64;

use crate::template::Template;

pub use contract::{PAGE_SEVERITIES, PageFacts, RunbookFacts, is_page, link_runbook, page_facts};
pub use parse::{RuleOptions, parse_rules, parse_rules_with};

/// Where a rule comes from: it decides whether the page contract refuses or flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleSource {
    /// A Prometheus rule file, taken as it is.
    Prometheus,
    /// A rule file of our own configuration.
    Native,
    /// Generated from an SLO.
    Slo,
}

/// Rules evaluated one after the other at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct RuleGroup {
    /// Name, unique within its file.
    pub name: String,
    /// File it stands in.
    pub file: String,
    /// Where it comes from.
    pub source: RuleSource,
    /// Time between evaluations, milliseconds; none for the default.
    pub interval_ms: Option<i64>,
    /// How far back queries are evaluated, milliseconds; none for the default.
    pub query_offset_ms: Option<i64>,
    /// Most series or alerts a rule may produce; 0 for no limit.
    pub limit: usize,
    /// In order of evaluation.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, Serialize)]
pub struct Rule {
    /// What it does.
    pub kind: RuleKind,
    /// Name of the alert, or of the recorded series.
    pub name: String,
    /// PromQL.
    pub expr: String,
    /// Labels added, the group's among them. Alerting rules expand them as templates.
    pub labels: BTreeMap<String, Template>,
    /// Line of the rule in its file, from 1; 0 when it was generated.
    pub line: u32,
}

/// What a rule does.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RuleKind {
    /// Writes the result as series.
    Recording,
    /// Raises alerts.
    Alerting(Box<AlertingRule>),
}

/// The part of a rule that only alerts have.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AlertingRule {
    /// How long the condition has to hold, milliseconds.
    pub for_ms: i64,
    /// How long an alert stays after the condition went, milliseconds.
    pub keep_firing_for_ms: i64,
    /// Texts for people, templates.
    pub annotations: BTreeMap<String, Template>,
    /// Labels that do not tell alerts of this rule apart (an SLO's `long_window`): the alert keeps those it began
    /// with instead of ending and beginning anew when another window takes over.
    pub detail_labels: Vec<String>,
    /// Holds pages back while there is little traffic; generated for SLOs.
    pub gate: Option<TrafficGate>,
    /// Owner, impact, service, runbook, and what the page contract misses.
    pub page: PageFacts,
    /// SLO it was generated from.
    pub slo: Option<String>,
}

/// When few events were seen, a page needs a burn that is significant, not only large.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrafficGate {
    /// One entry a long window.
    pub windows: Vec<GateWindow>,
    /// Above this many events the gate is open without a test.
    pub events_min: f64,
}

/// One long window of a gate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateWindow {
    /// Value of `long_window`.
    pub long_window: String,
    /// PromQL of the number of bad events in the window.
    pub bad: String,
    /// PromQL of the number of all events in the window.
    pub total: String,
    /// Error ratio that has to be exceeded (k·B).
    pub threshold: f64,
}

/// Rules that stand several times with the same name and labels, and how often: one overwrites the series of the other.
pub fn duplicates<'a>(groups: impl Iterator<Item = &'a RuleGroup>) -> Vec<(String, usize)> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for rule in groups.flat_map(|g| &g.rules) {
        let labels: Vec<String> = rule.labels.iter().map(|(k, v)| format!("{k}={:?}", v.source())).collect();
        *times.entry(format!("{}{{{}}}", rule.name, labels.join(", "))).or_default() += 1;
    }
    times.into_iter().filter(|(_, n)| *n > 1).collect()
}

impl Rule {
    /// The alerting part, if it is an alerting rule.
    pub fn alerting(&self) -> Option<&AlertingRule> {
        match &self.kind {
            RuleKind::Alerting(rule) => Some(rule),
            RuleKind::Recording => None,
        }
    }

    /// The severity label as written, empty when there is none.
    pub fn severity(&self) -> &str {
        self.labels.get("severity").map_or("", Template::source)
    }

    /// Labels as written.
    pub fn label_sources(&self) -> BTreeMap<String, String> {
        self.labels.iter().map(|(k, v)| (k.clone(), v.source().to_owned())).collect()
    }
}

impl RuleGroup {
    /// Identifies the group over reloads.
    pub fn key(&self) -> String {
        format!("{};{}", self.file, self.name)
    }

    /// Interval in force, milliseconds, never below 100.
    pub fn interval_ms(&self, default_ms: i64) -> i64 {
        self.interval_ms.filter(|ms| *ms > 0).unwrap_or(default_ms).max(100)
    }

    /// The latest moment not after `now` at which this group is due. Groups of the same interval are spread over it
    /// by a stable hash, so that they do not all query at once.
    pub fn slot(&self, now: i64, default_interval_ms: i64) -> i64 {
        let interval = self.interval_ms(default_interval_ms);
        let offset = (xxh3_64(self.key().as_bytes()) % interval.unsigned_abs()).cast_signed();
        (now - offset).div_euclid(interval) * interval + offset
    }

    /// Identifies a rule over reloads: name and labels, as Prometheus carries state over; rules alike are told
    /// apart by their order.
    pub fn rule_keys(&self) -> Vec<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        self.rules
            .iter()
            .map(|rule| {
                let labels: Labels = rule.labels.iter().map(|(k, v)| (k.as_str(), v.source())).collect();
                let base = format!("{};{};{:016x}", self.key(), rule.name, labels.stable_hash());
                let n = seen.entry(base.clone()).or_insert(0);
                *n += 1;
                if *n == 1 { base } else { format!("{base};{n}") }
            })
            .collect()
    }
}
