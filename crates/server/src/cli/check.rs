//! `skopos check`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use skopos_reliability::rules::{RuleSource, RunbookFacts, parse_rules};
use skopos_reliability::runbooks::{Runbook, parse_runbook};
use skopos_reliability::slo::{SloOptions, parse_slos};

use super::{FINDINGS, USAGE, say};
use crate::config::{self, Problem};

#[derive(Debug, Args)]
#[command(after_help = "\
Files are told apart by their content: Markdown is a runbook, `apiVersion: openslo/…` an SLO, `groups:`
a rule file, anything else a configuration (whose globs are followed). Give runbooks together with the
rules that name them.

Exit code: 0 fine (warnings allowed unless --strict), 1 findings, 2 a file cannot be read.

Examples:
  skopos check skopos.yaml
  skopos check rules/*.yml slos/*.yaml runbooks/*.md
  skopos check --native alerts.yml     (owner, impact, runbook are demanded of paging rules)")]
pub(crate) struct CheckArgs {
    /// Rule files, SLOs, runbooks, configurations.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Rule files are our own, not imported: a paging rule without owner, impact or runbook is an error.
    #[arg(long)]
    native: bool,
    /// Warnings are findings too.
    #[arg(long)]
    strict: bool,
    /// Print findings as JSON.
    #[arg(long)]
    json: bool,
}

enum Kind {
    Runbook,
    Slo,
    Rules,
    Config,
}

fn kind(path: &Path, text: &str) -> Kind {
    if path.extension().is_some_and(|e| e == "md") {
        return Kind::Runbook;
    }
    for line in text.lines() {
        if line.trim_start().trim_start_matches("- ").starts_with("apiVersion:") && line.contains("openslo") {
            return Kind::Slo;
        }
        if line.starts_with("groups:") {
            return Kind::Rules;
        }
    }
    Kind::Config
}

pub(crate) fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let mut texts = Vec::new();
    let mut unreadable = false;
    let mut problems: Vec<Problem> = Vec::new();
    for path in &args.files {
        match std::fs::read_to_string(path) {
            Ok(text) => texts.push((path, text)),
            Err(error) => {
                unreadable = true;
                problems.push(Problem::whole(&path.display().to_string(), format!("cannot be read: {error}")));
            }
        }
    }
    // Runbooks first: rules and SLOs refer to them.
    let mut runbooks: Vec<RunbookFacts> = Vec::new();
    let mut count = [0usize; 4];
    for (path, text) in texts.iter().filter(|(p, t)| matches!(kind(p, t), Kind::Runbook)) {
        let (runbook, findings) = parse_runbook(&path.display().to_string(), text, None);
        runbooks.extend(runbook.iter().map(Runbook::facts));
        problems.extend(findings.into_iter().map(Problem::from));
        count[0] += 1;
    }
    for (path, text) in &texts {
        let name = path.display().to_string();
        match kind(path, text) {
            Kind::Runbook => {}
            Kind::Slo => {
                let options = SloOptions { imported: false, retention_ms: None, runbooks: runbooks.clone() };
                let (slos, findings) = parse_slos(&name, text, &options);
                count[1] += slos.len();
                problems.extend(findings.into_iter().map(Problem::from));
            }
            Kind::Rules => {
                let source = if args.native { RuleSource::Native } else { RuleSource::Prometheus };
                let (groups, findings) = parse_rules(&name, text, source, &runbooks);
                count[2] += groups.iter().map(|g| g.rules.len()).sum::<usize>();
                problems.extend(findings.into_iter().map(Problem::from));
            }
            Kind::Config => {
                count[3] += 1;
                match config::load(Some(path), 0, 1) {
                    Ok(loaded) => {
                        count[0] += loaded.engine.runbooks.len();
                        count[1] += loaded.engine.slos.len();
                        count[2] += loaded.engine.groups.iter().map(|g| g.rules.len()).sum::<usize>();
                        problems.extend(loaded.problems);
                    }
                    Err(more) => problems.extend(more),
                }
            }
        }
    }
    let errors = problems.iter().filter(|p| p.is_error()).count();
    if args.json {
        say(serde_json::to_string_pretty(&json!({"problems": problems, "errors": errors}))?);
    } else {
        for problem in &problems {
            say(problem);
        }
        say(format!(
            "{} runbooks, {} SLOs, {} rules, {} configurations: {errors} errors, {} warnings",
            count[0],
            count[1],
            count[2],
            count[3],
            problems.len() - errors
        ));
    }
    Ok(if unreadable {
        ExitCode::from(USAGE)
    } else if errors > 0 || (args.strict && !problems.is_empty()) {
        ExitCode::from(FINDINGS)
    } else {
        ExitCode::SUCCESS
    })
}
