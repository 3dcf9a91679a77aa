//! The page contract: whoever is paged has to know whose it is, what it does to users, and what to do.

use serde::{Deserialize, Serialize};

use super::{AlertingRule, Rule};

/// Severities that wake people.
pub const PAGE_SEVERITIES: [&str; 2] = ["page", "critical"];

/// Whether a severity wakes people.
pub fn is_page(severity: &str) -> bool {
    PAGE_SEVERITIES.contains(&severity)
}

/// What is known for whoever gets the page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageFacts {
    /// Team or person that owns it.
    pub owner: Option<String>,
    /// What users notice.
    pub impact: Option<String>,
    /// Service it concerns.
    pub service: Option<String>,
    /// Id of the stored runbook.
    pub runbook: Option<String>,
    /// What the page contract misses, in sentences; empty when all is there or no page is meant.
    pub missing: Vec<String>,
}

/// What the contract needs to know of a stored runbook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunbookFacts {
    /// Slug.
    pub id: String,
    /// Owner in its front matter.
    pub owner: Option<String>,
    /// Service in its front matter.
    pub service: Option<String>,
    /// First paragraph of its Impact section.
    pub impact: Option<String>,
    /// Alerts it names.
    pub alerts: Vec<String>,
}

/// Finds the stored runbook an alert means: the slug, a URL or path that ends in it, or a sentence that contains it
/// (`See runbook: orders-api-slo-burn`); failing that, the runbook that names the alert.
pub fn link_runbook<'r>(reference: Option<&str>, alert: &str, runbooks: &'r [RunbookFacts]) -> Option<&'r RunbookFacts> {
    if let Some(text) = reference {
        let tokens = || {
            text.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_' || c == '.'))
                .map(|t| t.trim_matches('.').trim_end_matches(".md").trim_end_matches(".html"))
                .filter(|t| !t.is_empty())
        };
        // The last one counts: in a URL the slug stands at the end, in a sentence after the colon.
        let found = tokens().filter_map(|t| runbooks.iter().find(|r| r.id.eq_ignore_ascii_case(t))).next_back();
        if found.is_some() {
            return found;
        }
    }
    runbooks.iter().find(|r| r.alerts.iter().any(|a| a == alert))
}

/// Gathers what is known about an alerting rule, and for pages what is missing.
pub fn page_facts(rule: &Rule, alerting: &AlertingRule, runbooks: &[RunbookFacts]) -> PageFacts {
    let text = |names: &[&str]| {
        names.iter().find_map(|name| {
            let template = alerting.annotations.get(*name).or_else(|| rule.labels.get(*name))?;
            Some(template.source().trim()).filter(|t| !t.is_empty()).map(str::to_owned)
        })
    };
    let reference = text(&["runbook", "runbook_url"]);
    let runbook = link_runbook(reference.as_deref(), &rule.name, runbooks);
    let owner = text(&["owner", "team"]).or_else(|| runbook.and_then(|r| r.owner.clone()));
    let impact = text(&["impact"]).or_else(|| runbook.and_then(|r| r.impact.clone()));
    let service = text(&["service", "service_name"]).or_else(|| runbook.and_then(|r| r.service.clone()));
    let mut missing = Vec::new();
    if is_page(rule.severity()) {
        match (&reference, runbook) {
            (_, Some(_)) => {}
            (Some(text), None) => missing.push(format!("no stored runbook matches `{text}`")),
            (None, None) => missing.push("no runbook: neither an annotation `runbook` nor a runbook that names this alert".to_owned()),
        }
        for (name, value) in [("owner", &owner), ("impact", &impact), ("service", &service)] {
            if value.is_none() {
                missing.push(format!("no {name}: neither an annotation or label `{name}` nor the runbook says it"));
            }
        }
        if text(&["summary"]).is_none() {
            missing.push("no annotation `summary`".to_owned());
        }
    }
    PageFacts { owner, impact, service, runbook: runbook.map(|r| r.id.clone()), missing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_by_slug_url_sentence_and_alert_name() {
        let runbooks = [
            RunbookFacts { id: "orders-api-slo-burn".into(), alerts: vec!["Burn".into()], ..RunbookFacts::default() },
            RunbookFacts { id: "db-slow".into(), ..RunbookFacts::default() },
        ];
        for (reference, alert, found) in [
            (Some("See runbook: orders-api-slo-burn"), "X", Some("orders-api-slo-burn")),
            (Some("orders-api-slo-burn."), "X", Some("orders-api-slo-burn")),
            (Some("https://wiki/runbooks/db-slow.md#verify"), "X", Some("db-slow")),
            (Some("/runbooks/db-slow?x=1"), "X", Some("db-slow")),
            (Some("https://elsewhere/page"), "X", None),
            (None, "Burn", Some("orders-api-slo-burn")),
            (Some("unknown-one"), "Burn", Some("orders-api-slo-burn")),
            (None, "X", None),
        ] {
            assert_eq!(link_runbook(reference, alert, &runbooks).map(|r| r.id.as_str()), found, "{reference:?} {alert}");
        }
    }
}
