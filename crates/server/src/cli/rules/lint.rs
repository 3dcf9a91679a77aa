//! `skopos rules lint`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use skopos_reliability::rules::duplicates;

use crate::cli::files::{RuleFile, without_promtools_word};
use crate::cli::{FINDINGS, say};

#[derive(Debug, Args)]
#[command(after_help = "\
Checked are syntax, PromQL, templates, names, and the page contract (owner, impact, runbook of what
wakes people; a warning). Exit code: 0 fine, 1 findings, 2 wrong usage.

Examples:
  skopos rules lint rules/*.yml
  skopos rules lint --strict --json rules/*.yml

`skopos rules check rules FILE…`, promtool's spelling, does the same.")]
pub(crate) struct LintArgs {
    /// Prometheus rule files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Warnings are findings too.
    #[arg(long, alias = "lint-fatal")]
    strict: bool,
    /// Pass over keys that are not known.
    #[arg(long)]
    ignore_unknown_fields: bool,
    /// Print findings as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: LintArgs) -> anyhow::Result<ExitCode> {
    let files = RuleFile::read_all(&without_promtools_word(args.files), args.ignore_unknown_fields);
    let errors: usize = files.iter().map(|f| f.errors().count()).sum();
    let duplicates = duplicates(files.iter().flat_map(|f| &f.groups));
    let warnings = files.iter().map(|f| f.findings.len()).sum::<usize>() - errors + duplicates.len();
    if args.json {
        let findings: Vec<_> = files.iter().flat_map(|f| &f.findings).collect();
        let rules: usize = files.iter().map(RuleFile::rules).sum();
        let twice: Vec<_> = duplicates.iter().map(|(rule, times)| json!({"rule": rule, "times": times})).collect();
        say(serde_json::to_string_pretty(
            &json!({"findings": findings, "duplicates": twice, "rules": rules, "errors": errors, "warnings": warnings}),
        )?);
    } else {
        for file in &files {
            say(format!("Checking {}", file.name));
            let failed = file.errors().next().is_some();
            say(if failed { "  FAILED:".to_owned() } else { format!("  SUCCESS: {} rules found", file.rules()) });
            for finding in &file.findings {
                say(finding);
            }
            say("");
        }
        if !duplicates.is_empty() {
            say(format!("{} duplicate rule(s) found.", duplicates.len()));
            for (rule, times) in &duplicates {
                say(format!("  {rule} stands {times} times"));
            }
            say("Might cause inconsistency while recording expressions.");
        }
    }
    let found = errors > 0 || (args.strict && warnings > 0);
    Ok(if found { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
}
