//! `skopos rules`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use skopos_reliability::duration::format_duration;
use skopos_reliability::rules::{RuleSource, parse_rules};
use skopos_reliability::slo::{SloOptions, burn_rules, parse_slos};

use super::{FINDINGS, say};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skopos rules lint rules/*.yml
  skopos rules generate slos/orders-api.yaml > rules/orders-api-burn.yml
  skopos rules list rules/*.yml

`skopos check` checks rules together with the SLOs and runbooks they belong to.")]
pub(crate) struct RulesArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check rule files: syntax, PromQL, templates, the page contract. Exit code 1 on findings.
    Lint {
        /// Prometheus rule files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the burn-rate rules an SLO file stands for, as a Prometheus rule file.
    Generate {
        /// OpenSLO file.
        slo: PathBuf,
    },
    /// List the rules of files, one a line.
    List {
        /// Prometheus rule files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

fn read(path: &PathBuf) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

pub(crate) fn run(args: RulesArgs) -> anyhow::Result<ExitCode> {
    let mut errors = 0;
    match args.what {
        What::Lint { files } => {
            for path in &files {
                let (groups, findings) = parse_rules(&path.display().to_string(), &read(path)?, RuleSource::Prometheus, &[]);
                errors += findings.len();
                for finding in &findings {
                    say(finding);
                }
                say(format!(
                    "{}: {} groups, {} rules, {} findings",
                    path.display(),
                    groups.len(),
                    groups.iter().map(|g| g.rules.len()).sum::<usize>(),
                    findings.len()
                ));
            }
        }
        What::List { files } => {
            for path in &files {
                let (groups, findings) = parse_rules(&path.display().to_string(), &read(path)?, RuleSource::Prometheus, &[]);
                errors += findings.iter().filter(|f| f.severity == skopos_reliability::config_error::FindingSeverity::Error).count();
                for (group, rule) in groups.iter().flat_map(|g| g.rules.iter().map(move |r| (g, r))) {
                    let wait = rule.alerting().map(|a| format!(" for {}", format_duration(a.for_ms))).unwrap_or_default();
                    say(format!(
                        "{}\t{}\t{}{wait}\t{}",
                        group.name,
                        if rule.alerting().is_some() { "alert" } else { "record" },
                        rule.name,
                        rule.expr.split_whitespace().collect::<Vec<_>>().join(" ")
                    ));
                }
            }
        }
        What::Generate { slo } => {
            let (slos, findings) =
                parse_slos(&slo.display().to_string(), &read(&slo)?, &SloOptions { imported: true, retention_ms: None, runbooks: Vec::new() });
            for finding in &findings {
                #[allow(clippy::print_stderr, reason = "findings beside the generated file")]
                {
                    eprintln!("{finding}");
                }
            }
            errors += findings.iter().filter(|f| f.severity == skopos_reliability::config_error::FindingSeverity::Error).count();
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
                        let annotations: std::collections::BTreeMap<&String, &str> =
                            alerting.annotations.iter().map(|(k, t)| (k, t.source())).collect();
                        say(format!("    annotations: {}", serde_json::to_string(&annotations)?));
                    }
                }
            }
        }
    }
    Ok(if errors > 0 { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
}
