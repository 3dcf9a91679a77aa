//! Rule files to groups. A rule with an error is left out, the others stay.

use std::collections::BTreeMap;

use super::{AlertingRule, Rule, RuleGroup, RuleKind, RuleSource, RunbookFacts, contract};
use crate::config_error::{At, Finding, FindingSeverity, Findings};
use crate::promql::check_expr;
use crate::template::Template;
use crate::yaml::{Fields, Node, documents};

const GROUP_KEYS: &[&str] = &["name", "interval", "query_offset", "limit", "labels", "rules", "partial_response_strategy"];
const RULE_KEYS: &[&str] = &["record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"];

/// Reads a Prometheus rule file (or one of our own, which has the same format).
///
/// For a native file a paging rule that breaks the page contract is an error and left out; for an imported one the
/// contract is only noted on the rule.
pub fn parse_rules(file: &str, text: &str, source: RuleSource, runbooks: &[RunbookFacts]) -> (Vec<RuleGroup>, Vec<Finding>) {
    parse_rules_with(file, text, &RuleOptions { source, runbooks, strict_templates: source != RuleSource::Prometheus, ignore_unknown: false })
}

/// How rule files are read.
#[derive(Debug, Clone, Copy)]
pub struct RuleOptions<'a> {
    /// Where the rules come from.
    pub source: RuleSource,
    /// Runbooks they may name.
    pub runbooks: &'a [RunbookFacts],
    /// Whether a template that does not parse refuses its rule, as promtool does; else the rule says so when it fires.
    pub strict_templates: bool,
    /// Whether unknown keys are passed over.
    pub ignore_unknown: bool,
}

impl RuleOptions<'_> {
    fn fields<'n>(&self, node: &'n Node, path: &str, known: &[&str], out: &mut Findings) -> Option<Fields<'n>> {
        if self.ignore_unknown { Fields::open(node, path, out) } else { Fields::new(node, path, known, out) }
    }
}

/// [`parse_rules`] with all that can be chosen.
pub fn parse_rules_with(file: &str, text: &str, options: &RuleOptions<'_>) -> (Vec<RuleGroup>, Vec<Finding>) {
    let mut out = Findings::new(file);
    let mut groups: Vec<RuleGroup> = Vec::new();
    for document in documents(text, &mut out) {
        if document.is_null() {
            continue;
        }
        let Some(top) = options.fields(&document, "", &["groups"], &mut out) else { continue };
        if top.get("groups").is_none() && top.entries().next().is_none() {
            continue;
        }
        for (i, node) in top.list("groups", &mut out).iter().enumerate() {
            if let Some(group) = group(node, &format!("groups[{i}]"), options, &mut out) {
                if groups.iter().any(|g| g.name == group.name) {
                    out.error(node.at, &format!("groups[{i}].name"), format!("group name `{}` stands twice in this file", group.name));
                } else {
                    groups.push(group);
                }
            }
        }
    }
    (groups, out.into_list())
}

fn group(node: &Node, path: &str, options: &RuleOptions<'_>, out: &mut Findings) -> Option<RuleGroup> {
    let fields = options.fields(node, path, GROUP_KEYS, out)?;
    let name = fields.required_text("name", out)?.to_owned();
    let interval_ms = fields.duration_ms("interval", out);
    let query_offset_ms = fields.duration_ms("query_offset", out);
    let limit = match fields.number("limit", out) {
        Some(n) if n < 0.0 || n.fract() != 0.0 => {
            out.error(fields.at("limit"), &fields.child("limit"), "expected a whole number, 0 for no limit");
            0
        }
        Some(n) => n as usize,
        None => 0,
    };
    let group_labels = fields.text_map("labels", out);
    let mut rules = Vec::new();
    for (i, node) in fields.list("rules", out).iter().enumerate() {
        let before = out.errors();
        let parsed = rule(node, &format!("{path}.rules[{i}]"), &group_labels, options, out);
        if out.errors() == before {
            rules.extend(parsed);
        }
    }
    Some(RuleGroup { name, file: out.file().to_owned(), source: options.source, interval_ms, query_offset_ms, limit, rules })
}

fn rule(node: &Node, path: &str, group_labels: &BTreeMap<String, String>, options: &RuleOptions<'_>, out: &mut Findings) -> Option<Rule> {
    let fields = options.fields(node, path, RULE_KEYS, out)?;
    let name = match (fields.get("alert"), fields.get("record")) {
        (Some(_), Some(_)) => {
            out.error(fields.at, path, "a rule has either `alert` or `record`, not both");
            return None;
        }
        (None, None) => {
            out.error(fields.at, path, "a rule needs `alert` or `record`");
            return None;
        }
        (Some(_), None) => fields.required_text("alert", out)?,
        (None, Some(_)) => fields.required_text("record", out)?,
    }
    .to_owned();
    let alerts = fields.get("alert").is_some();
    let expr = fields.required_text("expr", out)?.to_owned();
    if let Err((message, at)) = check_expr(&expr) {
        let start = fields.at("expr");
        let lines = u32::try_from(expr[..at.min(expr.len())].matches('\n').count()).unwrap_or(0);
        out.error(At { line: start.line + lines, column: start.column }, &fields.child("expr"), format!("not PromQL: {message} (byte {at})"));
    }
    let mut labels = group_labels.clone();
    labels.extend(fields.text_map("labels", out));
    for (label, value) in &labels {
        if !valid_label(label) || label == "__name__" {
            out.error(fields.at("labels"), &fields.child("labels"), format!("`{label}` is no label name that may be set"));
        }
        if value.is_empty() && alerts {
            out.warning(fields.at("labels"), &fields.child("labels"), format!("label `{label}` is empty: it removes the label"));
        }
    }
    if !alerts {
        for key in ["for", "keep_firing_for", "annotations"] {
            if fields.get(key).is_some() {
                out.error(fields.at(key), &fields.child(key), format!("a recording rule cannot have `{key}`"));
            }
        }
        if !valid_metric(&name) {
            out.error(fields.at("record"), &fields.child("record"), format!("`{name}` is no metric name"));
        }
        let labels = labels.into_iter().map(|(k, v)| (k, Template::new(v))).collect();
        return Some(Rule { kind: RuleKind::Recording, name, expr, labels, line: fields.at.line });
    }
    let for_ms = fields.duration_ms("for", out).unwrap_or(0);
    let keep_firing_for_ms = fields.duration_ms("keep_firing_for", out).unwrap_or(0);
    let annotations = fields.text_map("annotations", out);
    let templates = |map: BTreeMap<String, String>| map.into_iter().map(|(k, v)| (k, Template::new(v))).collect::<BTreeMap<_, _>>();
    let (labels, annotations) = (templates(labels), templates(annotations));
    for (section, map) in [("labels", &labels), ("annotations", &annotations)] {
        for (key, template) in map {
            if let Some(error) = template.error() {
                // Imported rules load all the same: what Prometheus would do at run time, we do.
                // A function of Prometheus' that we have not is no fault of the file.
                let refused = options.strict_templates && (options.source != RuleSource::Prometheus || !error.unsupported);
                let severity = if refused { FindingSeverity::Error } else { FindingSeverity::Warning };
                out.push(
                    severity,
                    Some(fields.at(section)),
                    &format!("{path}.{section}.{key}"),
                    format!("template: {error} (byte {})", error.at),
                    None,
                );
            }
        }
    }
    let mut rule = Rule { kind: RuleKind::Recording, name, expr, labels, line: fields.at.line };
    let mut alerting = AlertingRule { for_ms, keep_firing_for_ms, annotations, ..AlertingRule::default() };
    alerting.page = contract::page_facts(&rule, &alerting, options.runbooks);
    for missing in &alerting.page.missing {
        let severity = if options.source == RuleSource::Prometheus { FindingSeverity::Warning } else { FindingSeverity::Error };
        out.push(severity, Some(fields.at), path, format!("page contract of `{}`: {missing}", rule.name), None);
    }
    rule.kind = RuleKind::Alerting(Box::new(alerting));
    Some(rule)
}

/// UTF-8 label names are allowed since Prometheus 3; only the empty one is not.
fn valid_label(name: &str) -> bool {
    !name.is_empty() && !name.contains('\0')
}

fn valid_metric(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | '"'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, source: RuleSource, expected: Expect) {
        let (groups, findings) = parse_rules("r.yml", text, source, &[]);
        let mut printed = String::new();
        for group in &groups {
            printed += &format!("group {} every {:?} limit {}\n", group.name, group.interval_ms, group.limit);
            for rule in &group.rules {
                printed += &format!("  {} {:?}\n", rule.name, rule.label_sources());
            }
        }
        for finding in findings {
            printed += &format!("{finding}\n");
        }
        expected.assert_eq(&printed);
    }

    #[test]
    fn good_and_bad_side_by_side() {
        check(
            r#"groups:
- name: a
  interval: 30s
  limit: 10
  labels: {team: x, severity: info}
  rules:
  - record: job:rate
    expr: sum(rate(x[5m])) by (job)
  - alert: Fine
    expr: up == 0
    for: 5m
    labels: {severity: ticket}
    annotations: {summary: "{{ $labels.job }}"}
  - alert: Typo
    expr: up == 0
    anotations: {}
  - alert: BadExpr
    expr: |
      sum(up
  - alert: BadFor
    expr: up
    for: 5 minutes
  - record: with:for
    expr: up
    for: 5m
  - expr: up
- name: a
  rules: []
"#,
            RuleSource::Prometheus,
            expect![[r#"
                group a every Some(30000) limit 10
                  job:rate {"severity": "info", "team": "x"}
                  Fine {"severity": "ticket", "team": "x"}
                r.yml:16:5: error: groups[0].rules[2].anotations: unknown key `anotations`; known here: record, alert, expr, for, keep_firing_for, labels, annotations (did you mean `annotations`?)
                r.yml:20:7: error: groups[0].rules[3].expr: not PromQL: unexpected end of input in aggregation, expected "," or ")" (byte 7)
                r.yml:22:10: error: groups[0].rules[4].for: `5 minutes` is no duration: expected numbers with the units y, w, d, h, m, s, ms in this order, as `1h30m`
                r.yml:25:10: error: groups[0].rules[5].for: a recording rule cannot have `for`
                r.yml:26:5: error: groups[0].rules[6]: a rule needs `alert` or `record`
                r.yml:27:3: error: groups[1].name: group name `a` stands twice in this file
            "#]],
        );
    }

    #[test]
    fn contract_refuses_native_and_flags_imported() {
        let text = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up == 0\n    labels: {severity: page}\n    annotations: {summary: s, owner: o, runbook: r}\n";
        let (imported, findings) = parse_rules("r.yml", text, RuleSource::Prometheus, &[]);
        assert_eq!(imported[0].rules.len(), 1);
        assert!(findings.iter().all(|f| f.severity == FindingSeverity::Warning));
        assert_eq!(imported[0].rules[0].alerting().map(|a| a.page.missing.len()), Some(3));
        let (native, findings) = parse_rules("r.yml", text, RuleSource::Native, &[]);
        assert!(native[0].rules.is_empty());
        assert!(findings.iter().all(|f| f.severity == FindingSeverity::Error));
        let runbook = RunbookFacts { id: "r".into(), service: Some("orders".into()), impact: Some("users".into()), ..RunbookFacts::default() };
        let (native, findings) = parse_rules("r.yml", text, RuleSource::Native, &[runbook]);
        assert_eq!((native[0].rules.len(), findings.len()), (1, 0));
    }
}
