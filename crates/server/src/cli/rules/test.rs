//! `skopos rules test`: promtool's unit tests.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use regex::Regex;
use skopos_query::promql::{Engine, EngineOptions, Feature};
use skopos_query::{QueryContext, QueryLimits};
use skopos_reliability::unit_test::{TestGroup, parse_unit_tests, run_test};

use crate::cli::files::{RuleFile, expand, without_promtools_word};
use crate::cli::{FINDINGS, say};

/// Longest one test file may take.
const TIMEOUT: Duration = Duration::from_secs(3_600);

#[derive(Debug, Args)]
#[command(after_help = "\
The files are those of `promtool test rules`: rule_files, tests with input_series, alert_rule_test and
promql_expr_test. Exit code: 0 all pass, 1 one fails, 2 wrong usage.

Examples:
  skopos rules test tests/*.yml
  skopos rules test --run 'orders.*' --junit report.xml tests/orders.yml

`skopos rules test rules FILE…`, promtool's spelling, does the same.")]
pub(crate) struct TestArgs {
    /// Files of unit tests.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Run only tests whose name matches this regular expression; may be given several times.
    #[arg(long)]
    run: Vec<String>,
    /// Pass over keys that are not known.
    #[arg(long)]
    ignore_unknown_fields: bool,
    /// Write the results as JUnit XML.
    #[arg(long)]
    junit: Option<PathBuf>,
    /// Switch on experimental PromQL, by the names `skopos serve` takes.
    #[arg(long, value_delimiter = ',')]
    enable_feature: Vec<String>,
}

/// A test and what failed in it.
struct Case {
    name: String,
    failures: Vec<String>,
}

/// A test file and its cases; or why none was run.
struct Suite {
    name: String,
    cases: Vec<Case>,
    broken: Vec<String>,
}

impl Suite {
    fn failures(&self) -> impl Iterator<Item = &String> {
        self.broken.iter().chain(self.cases.iter().flat_map(|c| &c.failures))
    }
}

pub(super) fn run(args: TestArgs) -> anyhow::Result<ExitCode> {
    let mut options = EngineOptions::default();
    for feature in &args.enable_feature {
        if !matches!(options.enable(feature), Feature::Enabled | Feature::Always) {
            anyhow::bail!("unknown feature {feature:?}: expected one of {}", EngineOptions::features().collect::<Vec<_>>().join(", "));
        }
    }
    let only = if args.run.is_empty() { None } else { Some(Regex::new(&args.run.join("|")).context("--run is no regular expression")?) };
    let wanted = |test: &TestGroup| only.as_ref().is_none_or(|r| r.is_match(&test.name));
    let mut suites = Vec::new();
    for path in without_promtools_word(args.files) {
        say(format!("Unit Testing:  {}", path.display()));
        let suite = suite(&path, &options, args.ignore_unknown_fields, &wanted);
        if suite.failures().next().is_some() {
            complain("  FAILED:");
            suite.failures().for_each(|failure| complain(&format!("{failure}\n")));
        } else {
            say("  SUCCESS");
        }
        say("");
        suites.push(suite);
    }
    if let Some(path) = &args.junit {
        std::fs::write(path, junit(&suites)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let failed = suites.iter().any(|s| s.failures().next().is_some());
    Ok(if failed { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
}

/// Says what failed where promtool says it: beside the results.
fn complain(text: &str) {
    #[allow(clippy::print_stderr, reason = "failures beside the results, as promtool prints them")]
    {
        eprintln!("{text}");
    }
}

fn suite(path: &Path, options: &EngineOptions, ignore_unknown: bool, wanted: &dyn Fn(&TestGroup) -> bool) -> Suite {
    let name = path.display().to_string();
    let broken = |broken: Vec<String>| Suite { name: name.clone(), cases: Vec::new(), broken };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return broken(vec![format!("{name} cannot be read: {error}")]),
    };
    let file = match parse_unit_tests(&name, &text, ignore_unknown) {
        Ok(file) => file,
        Err(findings) => return broken(findings.iter().map(ToString::to_string).collect()),
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut rule_files: Vec<PathBuf> = Vec::new();
    for pattern in &file.rule_files {
        match expand(pattern, folder) {
            Ok(found) if found.is_empty() => complain(&format!("  WARNING: no file match pattern {}", folder.join(pattern).display())),
            Ok(found) => rule_files.extend(found),
            Err(why) => return broken(vec![why]),
        }
    }
    let rules = RuleFile::read_all(&rule_files, ignore_unknown);
    let errors: Vec<String> = rules.iter().flat_map(RuleFile::errors).map(ToString::to_string).collect();
    if !errors.is_empty() {
        return broken(errors);
    }
    let groups: Vec<_> = rules.into_iter().flat_map(|f| f.groups).collect();
    let step = Duration::from_millis(file.evaluation_interval_ms.unsigned_abs());
    let engine = Engine::new(EngineOptions { subquery_step: step, ..options.clone() });
    let cases = file.tests.iter().enumerate().filter(|(_, test)| wanted(test)).map(|(i, test)| {
        // What a test loads is bounded by what it writes down.
        let limits = QueryLimits { samples_max: u64::MAX, series_max: u64::MAX, timeout: TIMEOUT, ..QueryLimits::default() };
        #[allow(clippy::disallowed_methods, reason = "the command line is where time is asked for")]
        let ctx = QueryContext::new(limits, Instant::now());
        let name = if test.name.is_empty() { format!("unnamed#{i}") } else { test.name.clone() };
        Case { name, failures: run_test(test, &file, &groups, &engine, &ctx) }
    });
    Suite { cases: cases.collect(), name, broken: Vec::new() }
}

fn junit(suites: &[Suite]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for suite in suites {
        let failed = suite.cases.iter().filter(|c| !c.failures.is_empty()).count();
        let (tests, errors) = (suite.cases.len(), suite.broken.len());
        // Writing to a text cannot fail.
        let _ = writeln!(out, "  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failed}\" errors=\"{errors}\">", escape(&suite.name));
        for error in &suite.broken {
            let _ = writeln!(out, "    <testcase name=\"load\"><error>{}</error></testcase>", escape(error));
        }
        for case in &suite.cases {
            let _ = writeln!(out, "    <testcase name=\"{}\">", escape(&case.name));
            for failure in &case.failures {
                let _ = writeln!(out, "      <failure>{}</failure>", escape(failure));
            }
            let _ = writeln!(out, "    </testcase>");
        }
        let _ = writeln!(out, "  </testsuite>");
    }
    out + "</testsuites>\n"
}

/// Text between tags or quotes of XML.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
