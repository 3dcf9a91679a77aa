//! promtool's own files, and the words failures are told in.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use skopos_query::promql::{Engine, EngineOptions};
use skopos_query::{QueryContext, QueryLimits};

use super::{parse_unit_tests, run_test};
use crate::config_error::FindingSeverity;
use crate::rules::{RuleGroup, RuleOptions, RuleSource, parse_rules_with};

fn options() -> RuleOptions<'static> {
    RuleOptions { source: RuleSource::Prometheus, runbooks: &[], strict_templates: true, ignore_unknown: false }
}

fn context() -> QueryContext {
    #[allow(clippy::disallowed_methods, reason = "a query context wants a start; nothing here times out")]
    QueryContext::new(QueryLimits { samples_max: u64::MAX, timeout: Duration::from_secs(3_600), ..QueryLimits::default() }, Instant::now())
}

/// Groups of a rule file, or what is wrong with it.
fn rules(file: &str, text: &str) -> Result<Vec<RuleGroup>, Vec<String>> {
    let (groups, findings) = parse_rules_with(file, text, &options());
    let errors: Vec<String> = findings.iter().filter(|f| f.severity == FindingSeverity::Error).map(ToString::to_string).collect();
    if errors.is_empty() { Ok(groups) } else { Err(errors) }
}

/// What fails in a test file, whose rules stand beside it or in `more`.
fn failures(file: &str, text: &str, folder: &Path) -> Vec<String> {
    let file = match parse_unit_tests(file, text, false) {
        Ok(file) => file,
        Err(findings) => return findings.iter().map(ToString::to_string).collect(),
    };
    let mut groups = Vec::new();
    for name in &file.rule_files {
        match rules(name, &std::fs::read_to_string(folder.join(name)).expect("a rule file")) {
            Ok(more) => groups.extend(more),
            Err(errors) => return errors,
        }
    }
    let step = Duration::from_millis(file.evaluation_interval_ms.unsigned_abs());
    let engine = Engine::new(EngineOptions { subquery_step: step, ..EngineOptions::default() });
    file.tests.iter().flat_map(|test| run_test(test, &file, &groups, &engine, &context())).collect()
}

#[test]
fn promtools_test_files() {
    let Some(root) = skopos_testkit::shared("conformance/prometheus-promtool-tests/promtool") else { return };
    // Exit codes as promtool's own tests state them.
    let expected = [
        ("unittest.yml", true),
        ("long-period.yml", true),
        ("at-modifier-test.yml", true),
        ("negative-offset-test.yml", true),
        ("no-test-group-interval.yml", true),
        ("start-time-test.yml", true),
        ("bad-input-series.yml", false),
        ("bad-promql.yml", false),
        ("bad-rules-syntax-test.yml", false),
        ("bad-rules-error-test.yml", false),
        ("failing.yml", false),
        ("rules_run.yml", false),
        ("rules_run_no_fuzzy.yml", false),
    ];
    for (name, passes) in expected {
        let text = std::fs::read_to_string(root.join(name)).expect("a test file");
        let failed = failures(name, &text, &root);
        assert_eq!(failed.is_empty(), passes, "{name}: {failed:#?}");
    }
    // By its name the first test of this file passes and the second fails.
    let text = std::fs::read_to_string(root.join("rules_run_fuzzy.yml")).expect("a test file");
    let file = parse_unit_tests("f", &text, false).expect("sound");
    let failed: Vec<usize> = file.tests.iter().map(|t| run_test(t, &file, &[], &Engine::default(), &context()).len()).collect();
    assert_eq!(failed, [0, 2]);
}

/// Rule files: good ones are read without an error, bad ones are refused.
#[test]
fn rule_files_good_and_bad() {
    let Some(root) = skopos_testkit::shared("conformance/prometheus-promtool-tests") else { return };
    let mut files: Vec<(PathBuf, bool)> = Vec::new();
    for entry in std::fs::read_dir(root.join("model/rulefmt/testdata")).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // The others are about the name scheme of Prometheus 2.
        if !name.starts_with("legacy_") {
            files.push((entry.path(), !name.contains(".bad.")));
        }
    }
    for entry in std::fs::read_dir(root.join("rules/fixtures")).expect("a folder").flatten() {
        files.push((entry.path(), entry.file_name() != "invalid_rules.yaml"));
    }
    for (name, good) in [
        ("rules.yml", true),
        ("rules-bad.yml", false),
        ("at-modifier.yml", true),
        ("negative-offset.yml", true),
        ("bad-rules-syntax.yml", false),
        ("bad-rules-error.yml", true),
        ("rules_extrafields.yml", false),
        ("rules_duplicates.yml", true),
    ] {
        files.push((root.join("promtool").join(name), good));
    }
    assert!(files.len() > 30, "{}", files.len());
    for (path, good) in files {
        let text = std::fs::read_to_string(&path).expect("a rule file");
        let read = rules(&path.display().to_string(), &text);
        assert_eq!(read.is_ok(), good, "{}: {read:?}", path.display());
    }
    let text = std::fs::read_to_string(root.join("promtool/rules_extrafields.yml")).expect("a rule file");
    let (groups, findings) = parse_rules_with("r", &text, &RuleOptions { ignore_unknown: true, ..options() });
    assert!(groups.len() == 2 && findings.iter().all(|f| f.severity == FindingSeverity::Warning), "{findings:?}");
}

/// Every file of the collection loads, and every expression is one.
#[test]
fn well_known_alert_rules_load() {
    let Some(root) = skopos_testkit::shared("conformance/awesome-alert-rules") else { return };
    let (mut rules_count, mut files) = (0, 0);
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("a folder").flatten().map(|e| e.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "yml") {
                let text = std::fs::read_to_string(&path).expect("a rule file");
                match rules(&path.display().to_string(), &text) {
                    Ok(groups) => rules_count += groups.iter().map(|g| g.rules.len()).sum::<usize>(),
                    Err(errors) => panic!("{errors:#?}"),
                }
                files += 1;
            }
        }
    }
    assert!(files >= 75 && rules_count > 500, "{files} files, {rules_count} rules");
}

#[test]
fn failures_are_told_as_promtool_tells_them() {
    let rules_text = r#"
groups:
- name: g
  rules:
  - {alert: Down, expr: up == 0, for: 1m, labels: {severity: page}, annotations: {summary: "{{ $labels.job }} down"}}
  - {record: "job:up:sum", expr: sum by (job) (up)}
"#;
    let text = r#"
evaluation_interval: 1m
tests:
- name: first
  interval: 1m
  input_series:
  - {series: 'up{job="a"}', values: "0x5"}
  alert_rule_test:
  - {eval_time: 3m, alertname: Down, exp_alerts: [{exp_labels: {severity: ticket, job: a}}]}
  - {eval_time: 30s, alertname: Down, exp_alerts: []}
  promql_expr_test:
  - {expr: 'job:up:sum', eval_time: 2m, exp_samples: [{labels: 'job:up:sum{job="a"}', value: 1.5}]}
  - {expr: 'absent(up)', eval_time: 2m, exp_samples: [{value: 1}]}
  - {expr: 'up +', eval_time: 2m}
"#;
    let file = parse_unit_tests("t.yml", text, false).expect("sound");
    let groups = rules("r.yml", rules_text).expect("sound");
    let failed = run_test(&file.tests[0], &file, &groups, &Engine::default(), &context()).join("\n");
    let expected = [
        "    name: first,",
        "    alertname: Down, time: 3m, ",
        "        exp:[",
        "            0:",
        "              Labels:{alertname=\"Down\", job=\"a\", severity=\"ticket\"}",
        "              Annotations:{}",
        "            ], ",
        "        got:[",
        "            0:",
        "              Labels:{alertname=\"Down\", job=\"a\", severity=\"page\"}",
        "              Annotations:{summary=\"a down\"}",
        "            ]",
        "    expr: \"job:up:sum\", time: 2m, ",
        "        exp: {__name__=\"job:up:sum\", job=\"a\"} 1.5E+00",
        "        got: {__name__=\"job:up:sum\", job=\"a\"} 0E+00",
        "    expr: \"absent(up)\", time: 2m, ",
        "        exp: {} 1E+00",
        "        got: nil",
        "    expr: \"up +\", time: 2m, err: unexpected end of input, expected an expression",
    ];
    assert_eq!(failed.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_no_test_file_is_refused() {
    let check = |text: &str, expected: &str| {
        let findings = parse_unit_tests("t.yml", text, false).expect_err(text);
        assert!(findings[0].to_string().contains(expected), "{text}: {findings:?}");
    };
    check("tests: [{inputs: []}]", "unknown key `inputs`");
    check("group_eval_order: [a, b, a]", "group name repeated in evaluation order: a");
    check("tests: [{name: x, alert_rule_test: [{eval_time: 5m}]}]", "misses required attribute alertname at eval_time 5m (in TestGroup x)");
    check("tests: [{start_timestamp: yesterday}]", "is no time");
    check("tests: [{promql_expr_test: [{expr: up, exp_samples: [{value: many}]}]}]", "expected a number");
    check("evaluation_interval: often", "is no duration");
    assert!(parse_unit_tests("t.yml", "tests: [{inputs: []}]", true).is_ok());
    assert_eq!(parse_unit_tests("t.yml", "", false).map(|f| f.tests.len()), Ok(0));
}

/// A rule that records native histograms: they are there for the next rule, and end when their condition does.
#[test]
fn recorded_histograms_stay_histograms() {
    let rules_text = r#"
groups:
- name: g
  rules:
  - {record: "job:latency:sum", expr: sum by (job) (latency)}
  - {record: "job:latency:count", expr: histogram_count(job:latency:sum)}
"#;
    let text = r#"
tests:
- interval: 1m
  input_series:
  - {series: 'latency{job="a", instance="1"}', values: '{{schema:0 count:3 sum:5 buckets:[1 2]}}x3 stale'}
  - {series: 'latency{job="a", instance="2"}', values: '{{schema:0 count:2 sum:1 offset:1 buckets:[2]}}x3 stale'}
  promql_expr_test:
  - expr: job:latency:sum
    eval_time: 1m
    exp_samples: [{labels: 'job:latency:sum{job="a"}', histogram: '{{count:5 sum:6 counter_reset_hint:not_reset buckets:[1 4]}}'}]
  - expr: job:latency:count
    eval_time: 2m
    exp_samples: [{labels: 'job:latency:count{job="a"}', value: 5}]
  - expr: job:latency:sum or job:latency:count
    eval_time: 4m
    exp_samples: []
"#;
    let file = parse_unit_tests("t.yml", text, false).expect("sound");
    let groups = rules("r.yml", rules_text).expect("sound");
    assert_eq!(run_test(&file.tests[0], &file, &groups, &Engine::default(), &context()), [""; 0]);
}
