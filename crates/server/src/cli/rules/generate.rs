//! `skopos rules generate` and `list`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use skopos_reliability::config_error::FindingSeverity;
use skopos_reliability::duration::format_duration;
use skopos_reliability::slo::{SloOptions, burn_rules, parse_slos};

use crate::cli::files::RuleFile;
use crate::cli::{FINDINGS, say};

pub(super) fn list(files: &[PathBuf]) -> ExitCode {
    let mut failed = false;
    for file in RuleFile::read_all(files, false) {
        for error in file.errors() {
            failed = true;
            #[allow(clippy::print_stderr, reason = "findings beside the list")]
            {
                eprintln!("{error}");
            }
        }
        for (group, rule) in file.groups.iter().flat_map(|g| g.rules.iter().map(move |r| (g, r))) {
            let wait = rule.alerting().map(|a| format!(" for {}", format_duration(a.for_ms))).unwrap_or_default();
            let kind = if rule.alerting().is_some() { "alert" } else { "record" };
            let expr = rule.expr.split_whitespace().collect::<Vec<_>>().join(" ");
            say(format!("{}\t{kind}\t{}{wait}\t{expr}", group.name, rule.name));
        }
    }
    if failed { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS }
}

pub(super) fn generate(slo: &PathBuf) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(slo).with_context(|| format!("cannot read {}", slo.display()))?;
    let options = SloOptions { imported: true, retention_ms: None, runbooks: Vec::new() };
    let (slos, findings) = parse_slos(&slo.display().to_string(), &text, &options);
    for finding in &findings {
        #[allow(clippy::print_stderr, reason = "findings beside the generated file")]
        {
            eprintln!("{finding}");
        }
    }
    say("groups:");
    for slo in &slos {
        let group = burn_rules(slo);
        say(format!("- name: {}", serde_json::to_string(&group.name)?));
        if let Some(interval) = group.interval_ms {
            say(format!("  interval: {}", format_duration(interval)));
        }
        say("  rules:");
        for rule in &group.rules {
            let key = if rule.alerting().is_some() { "alert" } else { "record" };
            say(format!("  - {key}: {}\n    expr: {}", serde_json::to_string(&rule.name)?, serde_json::to_string(&rule.expr)?));
            say(format!("    labels: {}", serde_json::to_string(&rule.label_sources())?));
            if let Some(alerting) = rule.alerting() {
                let annotations: std::collections::BTreeMap<&String, &str> = alerting.annotations.iter().map(|(k, t)| (k, t.source())).collect();
                say(format!("    annotations: {}", serde_json::to_string(&annotations)?));
            }
        }
    }
    let failed = findings.iter().any(|f| f.severity == FindingSeverity::Error);
    Ok(if failed { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
}
