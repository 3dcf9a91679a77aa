//! Backtests over samples in memory, against the engine running live over the same samples.

use std::time::Instant;

use skopos_model::Labels;
use skopos_query::QueryLimits;

use super::*;
use crate::rules::{RuleSource, parse_rules};
use crate::simulation::{HOUR, MINUTE, World};

fn context() -> QueryContext {
    #[allow(clippy::disallowed_methods, reason = "a query context wants a start; nothing here times out")]
    QueryContext::new(QueryLimits { samples_max: u64::MAX, ..QueryLimits::default() }, Instant::now())
}

fn config(rules: &str) -> EngineConfig {
    let (groups, findings) = parse_rules("r.yml", rules, RuleSource::Prometheus, &[]);
    assert!(findings.iter().all(|f| f.severity == crate::config_error::FindingSeverity::Warning), "{findings:?}");
    EngineConfig { groups, ..EngineConfig::default() }
}

fn options(from: i64, to: i64) -> BacktestOptions {
    BacktestOptions { from, to, engine: EngineOptions { evaluation_interval_ms: MINUTE, ..EngineOptions::default() } }
}

const ERRORS: &str = r#"
groups:
- name: errors
  rules:
  - {record: "job:errors:ratio", expr: 'sum by (job) (rate(http_requests_total{status="500"}[2m])) / sum by (job) (rate(http_requests_total[2m]))'}
  - alert: Errors
    expr: job:errors:ratio > 0.05
    for: 5m
    labels: {severity: page}
    annotations: {summary: "{{ $value | humanizePercentage }} fail"}
  - {alert: AnyTraffic, expr: 'sum(rate(http_requests_total[5m])) > 1', labels: {severity: ticket}}
  - {alert: Twice, expr: 'ALERTS{alertname="Errors", alertstate="firing"} == 1', labels: {severity: info}}
  - {alert: Broken, expr: 'http_requests_total * on (job) http_requests_total'}
"#;

/// Two bursts of errors, one of them shorter than `for`.
fn traffic(start: i64) -> crate::simulation::Traffic {
    Box::new(move |at| {
        let long = at > start && at <= start + 20 * MINUTE;
        let short = at > start + HOUR && at <= start + HOUR + 2 * MINUTE;
        (if long || short { 0.1 } else { 0.0 }, 50.0)
    })
}

#[test]
fn it_tells_what_the_live_engine_did() {
    let start = 3 * HOUR;
    let mut live = World::new(options(0, 1).engine, 0, traffic(start));
    live.load(config(ERRORS));
    live.run(start + 3 * HOUR);
    // Looking back over the same samples, the live rules' own series among them.
    let report =
        backtest(config(ERRORS), &options(start - HOUR, start + 3 * HOUR), &live.memory, &promql::Engine::default(), &context()).expect("runs");
    let of = |report: &BacktestReport, name: &str| report.rules.iter().find(|r| r.name == name).expect("a rule").clone();
    let errors = of(&report, "Errors");
    let seen: Vec<(&str, i64)> = live
        .journal
        .iter()
        .filter(|e| e.at >= start - HOUR && e.text.starts_with("Errors ") && e.source == "alerting")
        .map(|e| (e.kind.as_str(), e.at))
        .collect();
    let mut told: Vec<(&str, i64)> = Vec::new();
    for episode in &errors.episodes {
        let [pending, fired, ended] = episode.times;
        told.push(("pending", pending.expect("began")));
        told.extend(fired.map(|at| ("firing", at)));
        told.extend(ended.map(|at| (if fired.is_some() { "resolved" } else { "inactive" }, at)));
    }
    assert_eq!(told, seen, "the same moments as live");
    assert_eq!((errors.episodes.len(), errors.episodes[1].fired_at.clone()), (2, None), "the short burst only pends");
    assert_eq!((report.pages, errors.episodes[0].page), (1, true));
    let first = &errors.episodes[0];
    assert_eq!(first.annotations["summary"], "10% fail");
    assert_eq!(first.labels["job"], "orders");
    let statuses: Vec<&str> = first.messages.iter().map(|m| m.status).collect();
    assert_eq!(statuses, ["firing", "resolved"], "paged once, resolved once: {first:?}");
    assert_eq!(first.messages[0].receiver, "default");
    assert!((errors.firing_seconds - 1_000.0).abs() < 240.0, "{}", errors.firing_seconds);
    assert_eq!(of(&report, "Twice").episodes.len(), 1, "a rule may read what another one writes");
    assert_eq!(of(&report, "AnyTraffic").episodes[0].ended_at, None, "it went on at the end");
    assert!(of(&report, "Broken").error.is_some_and(|e| e.contains("many-to-many")));
    let text = report.to_string();
    assert!(text.contains("Errors (errors): 1 of 2 alerts fired") && text.contains("fails: ") && text.contains("1 of them pages"), "{text}");
    assert!(first.peak.is_some_and(|peak| (peak - 0.1).abs() < 1e-9), "the worst value: {first:?}");
    let held: i64 = first.held_until.parse().expect("a time");
    assert_eq!(first.times[2].map(|end| end - held / 1_000_000), Some(MINUTE), "it held until the evaluation before it was over");
    let choices: Vec<(f64, u64, u64)> = errors.for_choices.iter().map(|c| (c.for_seconds, c.fired, c.pages)).collect();
    let expected = [(0.0, 2, 2), (60.0, 2, 2), (120.0, 1, 1), (300.0, 1, 1), (600.0, 1, 1), (900.0, 1, 1), (1_800.0, 0, 0), (3_600.0, 0, 0)];
    assert_eq!(choices, expected, "other values of `for`");
    assert!(report.rules[0].for_choices.is_empty(), "a recording rule has no `for`");
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["rules"][1]["episodes"][0]["messages"][0]["status"], "firing");
}

#[test]
fn a_condition_that_held_before_the_range_is_there_at_its_start() {
    let mut world = World::new(options(0, 1).engine, 0, Box::new(|_| (0.5, 50.0)));
    world.history(3 * HOUR);
    let report = backtest(config(ERRORS), &options(2 * HOUR, 3 * HOUR), &world.memory, &promql::Engine::default(), &context()).expect("runs");
    let errors = report.rules.iter().find(|r| r.name == "Errors").expect("a rule");
    let [pending, fired, ended] = errors.episodes[0].times;
    assert!(pending.is_some_and(|at| at < 2 * HOUR) && fired.is_some_and(|at| at <= 2 * HOUR + MINUTE) && ended.is_none(), "{errors:?}");
    assert!((errors.firing_seconds - 3_600.0).abs() <= 60.0, "only the range counts: {}", errors.firing_seconds);
}

/// Each choice of `for` tells what a backtest with that `for` finds, and low values are the worst where they are asked for.
#[test]
fn choices_of_for_are_what_such_a_rule_does() {
    let mut memory = Memory::default();
    let labels = Labels::new([("__name__", "free_ratio"), ("job", "a")]);
    let mut until = 0;
    let mut low = 0.0;
    for k in 0..2_000_i64 {
        if k >= until {
            let hash = xxhash_rust::xxh3::xxh3_64_with_seed(&k.to_le_bytes(), 7);
            until = k + 1 + i64::try_from(hash % 40).expect("small");
            low = if hash.is_multiple_of(3) { 0.05 } else { 0.5 };
        }
        memory.append(&labels, k * MINUTE, low - (k % 10) as f64 * 1e-3);
    }
    let run = |wait: &str| {
        let rules = format!("groups:\n- name: g\n  rules:\n  - {{alert: Low, expr: (free_ratio < 0.1), for: {wait}, labels: {{severity: page}}}}\n");
        backtest(config(&rules), &options(HOUR, 33 * HOUR), &memory, &promql::Engine::default(), &context()).expect("runs")
    };
    let told = run("2m").rules.remove(0).for_choices;
    for (wait, seconds) in [("0s", 0.0), ("1m", 60.0), ("2m", 120.0), ("10m", 600.0), ("15m", 900.0), ("30m", 1_800.0)] {
        let report = run(wait);
        let choice = told.iter().find(|c| c.for_seconds == seconds).expect("a choice");
        assert_eq!((choice.fired, choice.pages), (report.fired, report.pages), "for: {wait}");
    }
    let first = &run("0s").rules[0].episodes[0];
    assert!(first.peak.is_some_and(|peak| peak < 0.05), "{first:?}");
}

#[test]
fn ranges_and_limits_are_checked() {
    let memory = Memory::default();
    let run = |from: i64, to: i64| backtest(config(ERRORS), &options(from, to), &memory, &promql::Engine::default(), &context());
    assert!(matches!(run(5, 5), Err(QueryError::Execution(_))));
    assert!(matches!(run(0, 100_000 * 24 * HOUR), Err(QueryError::Limit { limit: "backtest_evaluations_max", .. })));
    let stopped = context();
    stopped.cancel();
    let cancelled = backtest(config(ERRORS), &options(0, HOUR), &memory, &promql::Engine::default(), &stopped);
    assert_eq!(cancelled, Err(QueryError::Cancelled));
}

/// Prefetched answers are those of single moments: a week at seeded steps, histograms of labels coming and going.
#[test]
fn many_moments_at_once_are_as_one_by_one() {
    let mut memory = Memory::default();
    for (i, job) in ["a", "b", "c"].into_iter().enumerate() {
        let labels = Labels::new([("__name__", "up"), ("job", job)]);
        for k in 0..2_000_i64 {
            let hash = xxhash_rust::xxh3::xxh3_64_with_seed(&(k / 20).to_le_bytes(), i as u64);
            if !hash.is_multiple_of(7) {
                memory.append(&labels, k * 15_000, f64::from(u8::from(hash.is_multiple_of(3))));
            }
        }
    }
    let at_once = "groups:\n- name: g\n  interval: 30s\n  rules:\n  - {alert: Down, expr: up == 0, for: 1m}\n";
    // The same condition in words that may read what rules write, so that it is evaluated moment by moment.
    let one_by_one = at_once.replace("up == 0", "'{__name__=~\"up|ALERTS_NOT\", job!=\"\"} == 0 unless on () ALERTS{alertname=\"None\"}'");
    let run = |rules: &str| {
        let mut report = backtest(config(rules), &options(MINUTE, 8 * HOUR), &memory, &promql::Engine::default(), &context()).expect("runs");
        report.rules[0].expr.clear();
        report
    };
    let report = run(at_once);
    assert!(report.fired > 5, "{report}");
    assert_eq!(report, run(&one_by_one));
}
