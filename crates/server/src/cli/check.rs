//! `skopos check`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use skopos_reliability::check::{CheckOptions, FileKind, InputFile, check, detect_kind};
use skopos_reliability::rules::RuleGroup;
use skopos_reliability::runbooks::Runbook;
use skopos_reliability::slo::Slo;

use super::files::read_all;
use super::{FINDINGS, USAGE, say};
use crate::config::{self, Problem};
use crate::dashboards;

#[derive(Debug, Args)]
#[command(after_help = "\
Files are told apart by their content: Markdown is a runbook, `apiVersion: openslo/…` an SLO, `groups:`
a rule file, `kind: Dashboard` a dashboard, `scrape_configs:`, `global:` and other sections of Prometheus a prometheus.yml (what is not served
of it is a warning), anything else a configuration. Globs of both are followed. Give runbooks together with the rules that name them.

Exit code: 0 fine (warnings allowed unless --strict), 1 findings, 2 a file cannot be read.

Examples:
  skopos check skopos.yaml
  skopos check rules/*.yml slos/*.yaml runbooks/*.md
  skopos check --prometheus-config prometheus.yml
  skopos check --native alerts.yml     (owner, impact, runbook are demanded of paging rules)")]
pub(crate) struct CheckArgs {
    /// Rule files, SLOs, runbooks, dashboards, configurations.
    #[arg(required_unless_present = "prometheus_config")]
    files: Vec<PathBuf>,
    /// A prometheus.yml, checked together with the configuration it is served with, if that is the one file given.
    #[arg(long)]
    prometheus_config: Option<PathBuf>,
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

pub(crate) fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let mut texts = Vec::new();
    let mut unreadable = false;
    let mut problems: Vec<Problem> = Vec::new();
    for (path, file) in args.files.iter().zip(read_all(&args.files)) {
        match file.text {
            Ok(text) => texts.push((path, text)),
            Err(why) => {
                unreadable = true;
                problems.push(Problem::whole(&file.name, why));
            }
        }
    }
    let mut count = [0usize; 5];
    let mut inputs: Vec<InputFile> = Vec::new();
    let mut prometheus = args.prometheus_config.as_deref();
    for (path, text) in texts {
        let name = path.display().to_string();
        if !name.ends_with(".md") && dashboards::is_dashboard(&text) {
            let (dashboard, findings) = dashboards::parse(&name, &text);
            count[4] += usize::from(dashboard.is_some());
            problems.extend(findings.into_iter().map(Problem::from));
            continue;
        }
        match detect_kind(&name, &text) {
            Some(FileKind::PrometheusRules) if args.native => inputs.push(InputFile { path: name, text, kind: FileKind::NativeRules }),
            Some(kind) => inputs.push(InputFile { path: name, text, kind }),
            None if config::is_prometheus(&text) => configuration(None, Some(path), &mut count, &mut problems),
            None => configuration(Some(path), prometheus.take(), &mut count, &mut problems),
        }
    }
    if prometheus.is_some() {
        configuration(None, prometheus, &mut count, &mut problems);
    }
    let checked = check(&inputs, &CheckOptions::default());
    add(&mut count, &checked.runbooks, &checked.slos, &checked.groups);
    problems.extend(checked.findings.into_iter().map(Problem::from));
    let errors = problems.iter().filter(|p| p.is_error()).count();
    if args.json {
        say(serde_json::to_string_pretty(&json!({"problems": problems, "errors": errors}))?);
    } else {
        for problem in &problems {
            say(problem);
        }
        say(format!(
            "{} runbooks, {} SLOs, {} rules, {} dashboards, {} configurations: {errors} errors, {} warnings",
            count[0],
            count[1],
            count[2],
            count[4],
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

/// Checks a configuration of ours, a `prometheus.yml`, or both as they are served together.
fn configuration(own: Option<&Path>, prometheus: Option<&Path>, count: &mut [usize; 5], problems: &mut Vec<Problem>) {
    count[3] += usize::from(own.is_some()) + usize::from(prometheus.is_some());
    match config::load_with(own, prometheus, 0, 1) {
        Ok(loaded) => {
            add(count, &loaded.engine.runbooks, &loaded.engine.slos, &loaded.engine.groups);
            count[4] += loaded.dashboards.len();
            problems.extend(loaded.problems);
        }
        Err(more) => problems.extend(more),
    }
}

/// Counts what is sound: runbooks, SLOs, rules.
fn add(count: &mut [usize; 5], runbooks: &[Runbook], slos: &[Slo], groups: &[RuleGroup]) {
    count[0] += runbooks.len();
    count[1] += slos.len();
    count[2] += groups.iter().map(|g| g.rules.len()).sum::<usize>();
}
