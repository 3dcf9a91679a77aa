//! Reads all files together and says what is wrong: the logic of `skopos check`, and of loading at start and reload.

use std::collections::BTreeMap;

use crate::config_error::{Finding, FindingSeverity};
use crate::rules::{RuleGroup, RuleKind, RuleSource, RunbookFacts, is_page, parse_rules};
use crate::runbooks::{Actions, Runbook, parse_runbook};
use crate::slo::{Slo, SloOptions, parse_slos};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Prometheus rules, taken as they are.
    PrometheusRules,
    /// Rules of our own configuration: the page contract refuses.
    NativeRules,
    /// OpenSLO objects.
    Slos,
    /// A runbook.
    Runbook,
}

/// A file that was read.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// Name for findings.
    pub path: String,
    /// Content.
    pub text: String,
    /// What it holds.
    pub kind: FileKind,
}

/// How files are checked.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// Whether the page contract refuses imported rules too (`page_contract: strict`).
    pub strict: bool,
    /// How long samples are kept, milliseconds, when known.
    pub retention_ms: Option<i64>,
    /// Registered actions; none when they are not known here.
    pub actions: Option<Actions>,
}

/// What is sound, and what is wrong with the rest.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// Rule groups.
    pub groups: Vec<RuleGroup>,
    /// SLOs.
    pub slos: Vec<Slo>,
    /// Runbooks.
    pub runbooks: Vec<Runbook>,
    /// In the order of the files.
    pub findings: Vec<Finding>,
}

impl Checked {
    /// Whether anything was refused.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|f| f.severity == FindingSeverity::Error)
    }
}

/// Guesses what a file holds by its name and content. Rules count as Prometheus'.
pub fn detect_kind(path: &str, text: &str) -> Option<FileKind> {
    if path.ends_with(".md") || path.ends_with(".markdown") {
        return Some(FileKind::Runbook);
    }
    let has = |start: &str| text.lines().any(|l| l.trim_start_matches(['-', ' ']).starts_with(start));
    if has("apiVersion: openslo") || has("apiVersion: \"openslo") || has("apiVersion: 'openslo") {
        Some(FileKind::Slos)
    } else if text.lines().any(|l| l.starts_with("groups:")) {
        Some(FileKind::PrometheusRules)
    } else {
        None
    }
}

/// Checks files against each other.
pub fn check(files: &[InputFile], options: &CheckOptions) -> Checked {
    let mut by_file: BTreeMap<usize, Vec<Finding>> = BTreeMap::new();
    let mut out = Checked::default();
    for (i, file) in files.iter().enumerate().filter(|(_, f)| f.kind == FileKind::Runbook) {
        let (runbook, mut findings) = parse_runbook(&file.path, &file.text, options.actions.as_ref());
        if let Some(runbook) = runbook {
            match out.runbooks.iter().find(|r| r.id == runbook.id) {
                Some(other) => findings.push(finding(
                    &file.path,
                    Some(2),
                    "id",
                    format!("runbook `{}` stands in {} already", runbook.id, other.file),
                    FindingSeverity::Error,
                )),
                None => out.runbooks.push(runbook),
            }
        }
        by_file.insert(i, findings);
    }
    let facts: Vec<RunbookFacts> = out.runbooks.iter().map(Runbook::facts).collect();
    let slo_options = SloOptions { imported: false, retention_ms: options.retention_ms, runbooks: facts.clone() };
    for (i, file) in files.iter().enumerate() {
        let findings = match file.kind {
            FileKind::Runbook => continue,
            FileKind::Slos => {
                let (slos, mut findings) = parse_slos(&file.path, &file.text, &slo_options);
                for slo in slos {
                    match out.slos.iter().find(|s| s.id == slo.id) {
                        Some(other) => findings.push(finding(
                            &file.path,
                            Some(slo.line),
                            "metadata.name",
                            format!("SLO `{}` stands in {} already", slo.id, other.file),
                            FindingSeverity::Error,
                        )),
                        None => out.slos.push(slo),
                    }
                }
                findings
            }
            FileKind::PrometheusRules | FileKind::NativeRules => {
                let source = if file.kind == FileKind::NativeRules { RuleSource::Native } else { RuleSource::Prometheus };
                let (mut groups, mut findings) = parse_rules(&file.path, &file.text, source, &facts);
                if options.strict && source == RuleSource::Prometheus {
                    refuse_incomplete(&mut groups, &mut findings);
                }
                findings.extend(unnamed_in_runbook(&groups, &facts));
                out.groups.extend(groups);
                findings
            }
        };
        by_file.insert(i, findings);
    }
    let known: Vec<&str> = out
        .groups
        .iter()
        .flat_map(|g| &g.rules)
        .filter(|r| r.alerting().is_some())
        .map(|r| r.name.as_str())
        .chain(out.slos.iter().map(|s| s.alert_name.as_str()))
        .collect();
    // Where no rules are at hand (one runbook checked by itself) nothing can be said about its alerts.
    if !known.is_empty() {
        for (i, file) in files.iter().enumerate().filter(|(_, f)| f.kind == FileKind::Runbook) {
            let Some(runbook) = out.runbooks.iter().find(|r| r.file == file.path) else { continue };
            for alert in runbook.alerts.iter().filter(|a| !known.contains(&a.as_str())) {
                let mut found = finding(&file.path, None, "alerts", format!("no rule raises the alert `{alert}`"), FindingSeverity::Warning);
                found.nearest = crate::config_error::nearest_name(alert, known.iter().copied());
                by_file.entry(i).or_default().push(found);
            }
        }
    }
    out.findings = by_file.into_values().flatten().collect();
    out
}

fn finding(file: &str, line: Option<u32>, key: &str, message: String, severity: FindingSeverity) -> Finding {
    Finding { file: file.to_owned(), line, column: line.map(|_| 1), key: key.to_owned(), message, nearest: None, severity }
}

/// Strict contract: what was flagged is refused.
fn refuse_incomplete(groups: &mut [RuleGroup], findings: &mut [Finding]) {
    for group in groups {
        group.rules.retain(|rule| rule.alerting().is_none_or(|a| a.page.missing.is_empty()));
    }
    for finding in findings.iter_mut().filter(|f| f.message.starts_with("page contract")) {
        finding.severity = FindingSeverity::Error;
    }
}

/// Pages whose runbook does not name them: whoever opens the runbook cannot see what it is for.
fn unnamed_in_runbook(groups: &[RuleGroup], facts: &[RunbookFacts]) -> Vec<Finding> {
    let mut all = Vec::new();
    for group in groups {
        for rule in group.rules.iter().filter(|r| is_page(r.severity())) {
            let RuleKind::Alerting(alerting) = &rule.kind else { continue };
            let runbook = alerting.page.runbook.as_ref().and_then(|id| facts.iter().find(|f| f.id == *id));
            if let Some(runbook) = runbook.filter(|r| !r.alerts.contains(&rule.name)) {
                let message = format!("runbook `{}` does not name the alert `{}` in its `alerts`", runbook.id, rule.name);
                all.push(finding(&group.file, Some(rule.line), "", message, FindingSeverity::Warning));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbooks::test_runbook;

    fn rules(alert: &str) -> String {
        format!(
            "groups:\n- name: g\n  rules:\n  - alert: {alert}\n    expr: up == 0\n    labels: {{severity: page}}\n    annotations: {{summary: s, runbook: 'See runbook: orders-api-slo-burn'}}\n"
        )
    }

    fn run(files: &[(&str, String, FileKind)], options: &CheckOptions) -> (Checked, Vec<String>) {
        let files: Vec<InputFile> =
            files.iter().map(|(path, text, kind)| InputFile { path: (*path).into(), text: text.clone(), kind: *kind }).collect();
        let checked = check(&files, options);
        let findings = checked.findings.iter().map(ToString::to_string).collect();
        (checked, findings)
    }

    #[test]
    fn files_are_checked_against_each_other() {
        let book = ("r.md", test_runbook().to_owned(), FileKind::Runbook);
        let (checked, findings) = run(&[("r.yml", rules("APIHighSLOBurnRate"), FileKind::NativeRules), book.clone()], &CheckOptions::default());
        assert_eq!(checked.groups[0].rules.len(), 1);
        assert_eq!(findings, ["r.md: warning: alerts: no rule raises the alert `Orders API SLO burn`"]);
        let (_, findings) = run(&[("r.yml", rules("Other"), FileKind::NativeRules), book.clone()], &CheckOptions::default());
        assert_eq!(findings[0], "r.yml:4:1: warning: runbook `orders-api-slo-burn` does not name the alert `Other` in its `alerts`");
        let (checked, findings) = run(&[book.clone(), ("again.md", book.1.clone(), FileKind::Runbook)], &CheckOptions::default());
        assert!(checked.has_errors());
        assert_eq!(findings, ["again.md:2:1: error: id: runbook `orders-api-slo-burn` stands in r.md already"]);
    }

    #[test]
    fn strict_refuses_imported_rules_too() {
        let file = [("r.yml", rules("A"), FileKind::PrometheusRules)];
        let (lenient, findings) = run(&file, &CheckOptions::default());
        assert_eq!((lenient.groups[0].rules.len(), lenient.has_errors()), (1, false));
        assert!(!findings.is_empty());
        let (strict, _) = run(&file, &CheckOptions { strict: true, ..CheckOptions::default() });
        assert_eq!((strict.groups[0].rules.len(), strict.has_errors()), (0, true));
    }

    #[test]
    fn kinds_are_detected() {
        assert_eq!(detect_kind("a.md", ""), Some(FileKind::Runbook));
        assert_eq!(detect_kind("a.yaml", "- apiVersion: openslo/v1\n"), Some(FileKind::Slos));
        assert_eq!(detect_kind("a.yaml", "# x\ngroups:\n"), Some(FileKind::PrometheusRules));
        assert_eq!(detect_kind("a.yaml", "x: 1"), None);
    }

    /// Rule files of the conformance data load whole, whatever their pages miss.
    #[test]
    fn public_rule_files_load() {
        let Some(dir) = skopos_testkit::shared("conformance/awesome-alert-rules") else { return };
        let mut stack = vec![dir];
        let (mut rules, mut faults) = (0, Vec::new());
        while let Some(path) = stack.pop() {
            if path.is_dir() {
                stack.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            } else if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
                let text = std::fs::read_to_string(&path).unwrap();
                let (groups, findings) = parse_rules(&path.display().to_string(), &text, RuleSource::Prometheus, &[]);
                rules += groups.iter().map(|g| g.rules.len()).sum::<usize>();
                faults.extend(
                    findings.into_iter().filter(|f| f.severity == FindingSeverity::Error || f.message.starts_with("template")).map(|f| f.to_string()),
                );
            }
        }
        assert!(rules > 500, "{rules} rules");
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}
