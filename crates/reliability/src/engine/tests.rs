//! The engine under virtual time, against the figures of the specification.

use super::*;
use crate::notify::{NotifyConfig, ReceiverConfig, RouteConfig, WebhookConfig};
use crate::rules::{RunbookFacts, parse_rules};
use crate::simulation::{HOUR, MINUTE, World};
use crate::slo::{SloOptions, parse_slos, standard_windows};

fn notify() -> NotifyConfig {
    NotifyConfig {
        route: Some(RouteConfig { receiver: Some("team".into()), ..RouteConfig::default() }),
        receivers: vec![ReceiverConfig {
            name: "team".into(),
            webhook_configs: vec![WebhookConfig { url: "http://hook".into(), ..WebhookConfig::default() }],
            ..ReceiverConfig::default()
        }],
        inhibit_rules: None,
    }
}

fn routing() -> Routing {
    let (routing, findings) = notify().compile("f");
    assert!(findings.is_empty(), "{findings:?}");
    routing
}

fn slo(windows: &str) -> Slo {
    let text = format!(
        r#"
apiVersion: openslo/v1
kind: SLO
metadata:
  name: orders
  displayName: Orders API
  annotations: {{skopos.dev/owner: o, skopos.dev/impact: i, skopos.dev/runbook: r{windows}}}
spec:
  service: orders-api
  indicator:
    spec:
      ratioMetric:
        bad: {{metricSource: {{type: Prometheus, spec: {{query: 'http_requests_total{{job="orders",status=~"5.."}}'}}}}}}
        total: {{metricSource: {{type: Prometheus, spec: {{query: 'http_requests_total{{job="orders"}}'}}}}}}
  timeWindow: [{{duration: 30d, isRolling: true}}]
  objectives: [{{target: 0.999}}]
"#
    );
    let runbooks = vec![RunbookFacts { id: "r".into(), ..RunbookFacts::default() }];
    let (mut slos, findings) = parse_slos("slo.yaml", &text, &SloOptions { runbooks, ..SloOptions::default() });
    assert!(findings.is_empty(), "{findings:?}");
    slos.remove(0)
}

fn options(interval: i64) -> EngineOptions {
    EngineOptions { evaluation_interval_ms: interval, external_url: "http://skopos".into(), ..EngineOptions::default() }
}

/// Errors at `ratio` from `start` to `end`, 100 requests a second.
fn burst(ratio: f64, start: i64, end: i64) -> Box<dyn Fn(i64) -> (f64, f64)> {
    Box::new(move |at| (if at > start && at <= end { ratio } else { 0.0 }, 100.0))
}

/// Minutes until the page of the standard windows fires after errors begin, and until it resolves after they stop.
fn page_times(ratio: f64, length: i64, scrape_offset: i64) -> (Option<f64>, Option<f64>) {
    let (start, end) = (8 * HOUR, 8 * HOUR + length);
    let mut world = World::new(options(15_000), scrape_offset, burst(ratio, start, end));
    world.history(start - 10 * MINUTE);
    // The 1h window by itself: the 6h one would keep the page up long after its own short window is clean.
    world.load(EngineConfig { slos: vec![slo(", skopos.dev/windows: page 1h/5m 2%")], ..EngineConfig::default() });
    world.run(end + 20 * MINUTE);
    let minutes = |at: Option<i64>, from: i64| at.map(|at| (at - from) as f64 / MINUTE as f64);
    let pages: Vec<String> = ["1h", "6h"].iter().map(|w| page_fingerprint(w)).collect();
    let page = |kind: &str, from: i64| world.journal.iter().find(|e| e.kind == kind && e.at >= from && pages.contains(&e.reference)).map(|e| e.at);
    if page("firing", start).is_none() {
        panic!("fires: {}", world.journal_text());
    }
    (minutes(page("firing", start), start), minutes(page("resolved", end), end))
}

fn page_fingerprint(long_window: &str) -> String {
    let labels =
        [("alertname", "Orders API SLO burn"), ("severity", "page"), ("slo", "orders"), ("service", "orders-api"), ("long_window", long_window)];
    format!("{:016x}", fingerprint(&Labels::new(labels)))
}

/// Two scrapes and one tick: what a measured time may differ from the formula's.
const TOLERANCE: f64 = 0.8;

#[test]
fn standard_windows_detect_and_reset_when_the_formula_says() {
    for (ratio, length, detect, reset, offset) in
        [(1.0, 3 * MINUTE, 0.864, None, 0), (1.0, 10 * MINUTE, 0.864, Some(4.928), 7_000), (0.1, 12 * MINUTE, 8.64, Some(4.28), 3_000)]
    {
        let (fired, resolved) = page_times(ratio, length, offset);
        let fired = fired.unwrap_or_else(|| panic!("e={ratio} fires"));
        assert!((fired - detect).abs() < TOLERANCE && fired >= detect - 0.3, "e={ratio}: fired after {fired:.2} min, expected {detect}");
        if let Some(reset) = reset {
            let resolved = resolved.unwrap_or_else(|| panic!("e={ratio} resolves"));
            assert!((resolved - reset).abs() < TOLERANCE, "e={ratio}: resolved after {resolved:.2} min, expected {reset}");
        }
    }
}

/// The conditions of each window by themselves, for the slow ones.
#[test]
fn each_window_crosses_when_the_formula_says() {
    let slo = slo("");
    for (ratio, long_hours, minutes) in [(0.1, 6, Some(21.6)), (0.02, 1, Some(43.2)), (0.01, 1, None), (0.01, 6, Some(216.0)), (0.1, 24, Some(43.2))]
    {
        let start = 25 * HOUR;
        let mut world = World::new(options(MINUTE), 0, burst(ratio, start, i64::MAX));
        world.history(start + 5 * HOUR);
        let window = slo.burn_windows.iter().find(|w| w.long_ms == long_hours * HOUR).expect("window");
        let ratio_of = |window_ms: i64, at: i64| {
            world.query(&slo.indicator.error_ratio(window_ms, slo.budgeting), at).expect("evaluates").first().map_or(0.0, |s| s.value)
        };
        let limit = window.factor * slo.budget_ratio();
        let crossed =
            (0..5 * 60).map(|m| start + m * MINUTE).find(|at| ratio_of(window.long_ms, *at) > limit && ratio_of(window.short_ms, *at) > limit);
        let crossed = crossed.map(|at| (at - start) as f64 / MINUTE as f64);
        match (crossed, minutes) {
            (Some(found), Some(expected)) => assert!((found - expected).abs() <= 1.3, "e={ratio} {long_hours}h: {found}, expected {expected}"),
            (found, expected) => assert_eq!(found, expected, "e={ratio} {long_hours}h"),
        }
    }
    assert_eq!(standard_windows(30 * 24 * HOUR).map(|w| w.len()), Some(4));
}

/// TV of the fire drill: clean hour, 1 m evaluation, 10 % errors: fires at 9 m, delivered at 9 m 30 s, ± one tick.
#[test]
fn ten_percent_errors_are_paged_after_nine_and_a_half_minutes() {
    // Enough clean history for the 6h window not to be the first.
    let start = 8 * HOUR;
    let mut world = World::new(options(MINUTE), 0, burst(0.1, start, start + 30 * MINUTE));
    world.history(start - 10 * MINUTE);
    let by_severity = NotifyConfig {
        route: Some(RouteConfig { receiver: Some("team".into()), group_by: Some(vec!["severity".into()]), ..RouteConfig::default() }),
        ..notify()
    };
    world.load(EngineConfig { slos: vec![slo("")], routing: by_severity.compile("f").0, ..EngineConfig::default() });
    world.run(start + HOUR);
    let page = page_fingerprint("1h");
    let fired =
        world.journal.iter().find(|e| e.kind == "firing" && e.reference == page).unwrap_or_else(|| panic!("fires: {}", world.journal_text())).at
            - start;
    assert!((fired - 9 * MINUTE).abs() <= MINUTE, "fires after {fired} ms");
    let has_page = |body: &serde_json::Value| body["alerts"].as_array().is_some_and(|all| all.iter().any(|a| a["labels"]["severity"] == "page"));
    let (at, _, body) = world.sent.iter().find(|(_, _, body)| has_page(body)).expect("delivered");
    assert!((at - start - (9 * MINUTE + 30_000)).abs() <= MINUTE, "delivered after {} ms", at - start);
    assert_eq!(body["alerts"][0]["annotations"]["runbook_url"], "http://skopos/runbooks/r");
    let resolved: Vec<&serde_json::Value> = world.sent.iter().map(|(_, _, b)| b).filter(|b| b["status"] == "resolved").collect();
    assert!(!resolved.is_empty(), "the resolution is delivered");
    let counts = world.engine.slo_counts("orders").expect("counted").window(start - HOUR, start + HOUR);
    let expected = 30.0 * 60.0 * 10.0;
    assert!((counts.bad - expected).abs() < 0.02 * expected, "{} bad events, expected {expected}", counts.bad);
    let total = world.documents.keys().filter(|(k, _)| *k == DocumentKind::SloCount).count();
    assert!(total >= 12, "counts are kept: {total}");
}

/// The mission's rule file: with an hour of clean history the 1h condition is true at 12 min and fires at 22 min;
/// without history the ratio over 1h is 10 % at once.
#[test]
fn mission_rules_pend_and_fire() {
    let Some(file) = skopos_testkit::shared("mission-examples/slo.rules.yml") else { return };
    let text = std::fs::read_to_string(file).expect("readable");
    let runbook = RunbookFacts {
        id: "orders-api-slo-burn".into(),
        owner: Some("team-orders".into()),
        service: Some("orders-api".into()),
        impact: Some("No orders.".into()),
        alerts: Vec::new(),
    };
    let (groups, findings) = parse_rules("slo.rules.yml", &text, RuleSource::Prometheus, &[runbook]);
    assert!(findings.is_empty(), "{findings:?}");
    let page = &groups[0].rules[0].alerting().expect("an alert").page;
    assert_eq!((page.runbook.as_deref(), page.owner.as_deref(), page.missing.len()), (Some("orders-api-slo-burn"), Some("team-orders"), 0));
    for (start, pending, firing) in [(3 * HOUR, 12, 22), (0, 1, 11)] {
        let mut world = World::new(options(MINUTE), 0, burst(0.1, start, i64::MAX));
        world.load(EngineConfig { groups: groups.clone(), routing: routing(), ..EngineConfig::default() });
        world.run(start + 30 * MINUTE);
        let minutes = |kind: &str| (world.when(kind, start).expect("happens") - start) as f64 / MINUTE as f64;
        assert!((minutes("pending") - f64::from(pending)).abs() <= 1.3, "pending after {} min", minutes("pending"));
        assert!((minutes("firing") - f64::from(firing)).abs() <= 1.3, "firing after {} min", minutes("firing"));
        let alert = &world.sent[0].2["alerts"][0];
        assert_eq!(alert["labels"]["alertname"], "APIHighSLOBurnRate");
        assert_eq!(alert["annotations"]["runbook"], "See runbook: orders-api-slo-burn");
        assert_eq!(alert["annotations"]["runbook_url"], "http://skopos/runbooks/orders-api-slo-burn");
    }
}

#[test]
fn few_requests_make_a_ticket_of_a_page() {
    // Ten requests an hour; one of them fails: burn 100, but one in ten may be chance.
    let start = 3 * HOUR;
    let traffic = Box::new(move |at: i64| (if at > start && at <= start + 6 * MINUTE { 1.0 } else { 0.0 }, 10.0 / 3600.0));
    let mut world = World::new(options(MINUTE), 0, traffic);
    world.load(EngineConfig { slos: vec![slo("")], routing: routing(), ..EngineConfig::default() });
    world.run(start + 10 * MINUTE);
    let severities: Vec<String> =
        world.engine.alerts().map(|(_, rule, a)| format!("{}→{}", rule.severity(), a.labels.get("severity").unwrap_or(""))).collect();
    assert!(severities.contains(&"page→ticket".to_owned()), "{severities:?}");
    assert!(!severities.contains(&"page→page".to_owned()), "{severities:?}");
    let mut world =
        World::new(options(MINUTE), 0, Box::new(move |at: i64| (if at > start && at <= start + 6 * MINUTE { 1.0 } else { 0.0 }, 10.0 / 3600.0)));
    world.load(EngineConfig { slos: vec![slo(", skopos.dev/traffic-gate: off")], ..EngineConfig::default() });
    world.run(start + 10 * MINUTE);
    assert!(world.engine.alerts().any(|(_, _, a)| a.labels.get("severity") == Some("page")), "without the gate it is a page");
}

#[test]
fn a_restart_while_firing_neither_pages_again_nor_forgets() {
    let start = 2 * HOUR;
    let config = || EngineConfig { slos: vec![slo("")], routing: routing(), ..EngineConfig::default() };
    let mut world = World::new(options(MINUTE), 0, burst(0.5, start, start + 20 * MINUTE));
    world.load(config());
    world.run(start + 10 * MINUTE);
    let before = world.sent.len();
    assert!(before >= 1);
    world.restart(options(MINUTE), config());
    world.run(start + 15 * MINUTE);
    assert!(world.sent[before..].iter().all(|(_, _, b)| b["alerts"].as_array().is_some_and(|a| a.len() > 1)), "only news: the ticket joined");
    let known = world.sent.len();
    world.run(start + 60 * MINUTE);
    assert!(world.sent[known..].iter().any(|(_, _, b)| b["alerts"].as_array().is_some_and(|a| a.iter().any(|a| a["status"] == "resolved"))));
}

#[test]
fn receiver_down_then_up() {
    let start = 2 * HOUR;
    let mut world = World::new(options(MINUTE), 0, burst(0.5, start, i64::MAX));
    world.load(EngineConfig { slos: vec![slo("")], routing: routing(), ..EngineConfig::default() });
    world.receiver_up = false;
    world.run(start + 12 * MINUTE);
    assert!(world.sent.is_empty());
    world.receiver_up = true;
    world.run(start + 25 * MINUTE);
    assert!(!world.sent.is_empty());
    assert!(world.journal.iter().any(|e| e.source == "notify" && e.kind == "failed"));
}

#[test]
fn removed_rules_resolve_and_failures_are_told_once() {
    let rules = |text: &str| {
        let (groups, findings) = parse_rules("r.yml", text, RuleSource::Prometheus, &[]);
        assert!(findings.is_empty(), "{findings:?}");
        groups
    };
    let text = "groups:\n- name: g\n  rules:\n  - {record: 'job:all', expr: 'sum(http_requests_total)'}\n  - {alert: Many, expr: 'job:all > 0'}\n  - {alert: Broken, expr: 'http_requests_total * on(job) http_requests_total'}\n";
    let mut world = World::new(options(MINUTE), 0, burst(0.0, 0, 0));
    world.load(EngineConfig { groups: rules(text), routing: routing(), ..EngineConfig::default() });
    world.run(10 * MINUTE);
    assert_eq!(world.sent.len(), 1, "the recorded series is seen by the next rule");
    assert_eq!(world.journal.iter().filter(|e| e.kind == "rule_failed").count(), 1);
    assert_eq!(world.engine.evaluation().failing, 1);
    world.load(EngineConfig { routing: routing(), ..EngineConfig::default() });
    world.run(30 * MINUTE);
    assert_eq!(world.sent.last().map(|(_, _, b)| b["status"].clone()), Some("resolved".into()));
    assert!(world.documents.keys().all(|(k, _)| *k != DocumentKind::RuleState), "forgotten");
}

#[test]
fn an_unanswered_query_counts_as_failed_and_misses_are_counted() {
    let (groups, _) = parse_rules("r.yml", "groups:\n- name: g\n  rules:\n  - {alert: A, expr: up}\n", RuleSource::Prometheus, &[]);
    let mut engine = Engine::new(options(MINUTE));
    engine.step(Event::Loaded(Box::new(EngineConfig { groups, ..EngineConfig::default() })), 0);
    for minute in 1..=2 {
        engine.step(Event::Tick, minute * MINUTE);
    }
    assert_eq!(engine.evaluation().missed, 2);
    engine.step(Event::Tick, 150_000);
    assert_eq!(engine.evaluation().failing, 1);
}

/// The loop: errors, page, verify by itself, mitigation by a named action, errors stop, resolution, rollback.
#[test]
fn the_loop_closes_through_the_runbook() {
    use crate::runbooks::{ActionConfig, Actions, StepStart, Verdict, parse_runbook, test_runbook};
    use std::rc::Rc;
    let start = 2 * HOUR;
    let rules = "groups:\n- name: g\n  rules:\n  - alert: APIHighSLOBurnRate\n    expr: 'sum by (job) (rate(http_requests_total{status=~\"5..\"}[2m])) / sum by (job) (rate(http_requests_total[2m])) > 0.05'\n    for: 1m\n    labels: {severity: page}\n    annotations: {summary: 'Errors: {{ $value | humanizePercentage }}', runbook: 'See runbook: orders-api-slo-burn'}\n";
    let configs: Vec<ActionConfig> =
        serde_saphyr::from_str("[{name: orders-flag, url: 'http://orders/flags', parameters: {flag: {}, enabled: {type: boolean}}}]").expect("YAML");
    let actions = Actions::new(configs, "f").0;
    let runbook = parse_runbook("r.md", test_runbook(), Some(&actions)).0.expect("sound");
    let (groups, findings) = parse_rules("r.yml", rules, RuleSource::Native, &[runbook.facts()]);
    assert!(findings.is_empty(), "{findings:?}");
    let mut world = World::new(options(15_000), 0, Box::new(|_| (0.0, 0.0)));
    let called = Rc::clone(&world.actions);
    world.set_traffic(Box::new(move |at| {
        let mitigated = called.borrow().first().map_or(i64::MAX, |(at, _)| *at);
        (if at > start && at <= mitigated { 0.1 } else { 0.0 }, 50.0)
    }));
    world.load(EngineConfig { groups, routing: routing(), runbooks: vec![runbook], actions, ..EngineConfig::default() });
    world.run(start + 5 * MINUTE);
    let alert = world.engine.alert_views(world.now).remove(0);
    assert_eq!((alert.state, alert.owner.as_deref(), alert.contract.len()), ("firing", Some("team-orders"), 0));
    assert_eq!(alert.notifications[0].status, crate::notify::DeliveryStatus::Delivered);
    assert_eq!(world.sent[0].2["alerts"][0]["annotations"]["impact"], "Customers cannot place orders. More words.");
    let run = world.engine.runs().next().expect("opened by the alert").clone();
    assert_eq!((run.alert.as_deref(), run.results[0].verdict, run.results[0].auto), (Some(alert.fingerprint.as_str()), Verdict::True, true));
    assert_eq!(run.suggested.as_deref(), Some("disable-flag"));
    let (_, effects) = world.engine.run_step(&run.id, "disable-flag", "alice", Some("disable-flag"), false, world.now).expect("may run");
    world.perform(effects);
    world.run(start + 15 * MINUTE);
    assert_eq!(world.sent.last().map(|(_, _, b)| b["status"].clone()), Some("resolved".into()));
    assert_eq!(world.engine.alert_views(world.now)[0].state, "resolved");
    let (preview, effects) = world.engine.run_step(&run.id, "enable-flag", "alice", None, true, world.now).expect("may be previewed");
    world.perform(effects);
    assert!(matches!(preview, StepStart::Result(r) if r.verdict == Verdict::DryRun));
    let detail = world.engine.runbook_detail("orders-api-slo-burn", world.now).expect("known");
    assert_eq!(detail.steps[0].on_true.as_deref(), Some("disable-flag"));
    assert_eq!((detail.runs[0].steps_done, detail.runs[0].state, detail.runs[0].stopped), (2, "open", false));
    assert_eq!(world.engine.run_view(&run.id).expect("known").results[1].verdict, Verdict::Done);
    assert!(world.documents.contains_key(&(DocumentKind::Run, run.id.clone())));
    let kinds: Vec<&str> = world.journal.iter().map(|e| e.kind.as_str()).collect();
    for kind in ["pending", "firing", "run_opened", "step", "delivered", "resolved"] {
        assert!(kinds.contains(&kind), "{kind} is on the timeline: {kinds:?}");
    }
    assert_eq!(world.engine.rule_views()[0].rules[0].health, RuleHealth::Ok);
    let rules = world.engine.prometheus_rules();
    assert_eq!((&rules["groups"][0]["rules"][0]["health"], &rules["groups"][0]["rules"][0]["duration"]), (&"ok".into(), &60.0.into()));
    assert_eq!(world.engine.prometheus_alerts()["alerts"].as_array().map(Vec::len), Some(0), "resolved ones are Prometheus' no longer");
}

/// The budget's course begins with the first event and has a point for every step, however coarse the counts are kept.
#[test]
fn the_budgets_course_begins_with_the_first_event() {
    let start = 2 * HOUR;
    let mut world = World::new(options(15_000), 0, burst(0.1, start + 10 * MINUTE, start + 20 * MINUTE));
    world.now = start;
    world.history(start - MINUTE);
    world.load(EngineConfig { slos: vec![slo("")], ..EngineConfig::default() });
    world.run(start + 30 * MINUTE);
    let first = world.engine.slo_counts("orders").and_then(crate::slo::SloCounts::first).expect("counted");
    let (from, left) = world.engine.budget_course("orders", 0, world.now, 30_000, world.now).expect("counted");
    assert!(from > first && from - first <= 30_000, "{from} after {first}");
    assert_eq!(left.len() as i64, (world.now - from) / 30_000 + 1);
    assert_eq!(left[0], Some(1.0), "nothing was spent yet");
    let changes = left.windows(2).filter(|w| w[0] != w[1]).count();
    assert!(changes >= 30, "a slope and no stairs of five minutes: {left:?}");
    let view = world.engine.slo_view("orders", world.now).expect("known");
    let last = left.last().copied().flatten().expect("a number");
    assert!((last - view.summary.budget_remaining.expect("counted")).abs() < 1e-9, "{last} and {view:?}");
    assert_eq!(view.windows.iter().filter(|w| w.severity == "page").count(), 2);
}

/// Restarts and an absent receiver at seeded moments: one page, one resolution, nothing lost, nothing twice.
#[test]
fn one_page_and_one_resolution_whatever_happens() {
    for seed in 0..25_u64 {
        let mut state = seed;
        let mut random = |below: i64| {
            state = xxhash_rust::xxh3::xxh3_64_with_seed(&state.to_le_bytes(), seed);
            (state % below.unsigned_abs()).cast_signed()
        };
        let start = 2 * HOUR;
        let config = || EngineConfig { slos: vec![slo(", skopos.dev/windows: page 1h/5m 2%")], routing: routing(), ..EngineConfig::default() };
        let options = EngineOptions { seed, ..options(MINUTE) };
        let mut world = World::new(options.clone(), random(15_000), burst(0.3, start, start + 40 * MINUTE));
        world.history(start - 20 * MINUTE);
        world.load(config());
        let down = start + random(20 * MINUTE);
        let up = down + random(10 * MINUTE);
        let mut moments: Vec<(i64, u8)> = (0..3).map(|_| (start + random(60 * MINUTE), 0)).collect();
        moments.extend([(down, 1), (up, 2)]);
        moments.sort_unstable();
        for (at, what) in moments {
            world.run(at);
            match what {
                0 => world.restart(options.clone(), config()),
                1 => world.receiver_up = false,
                _ => world.receiver_up = true,
            }
        }
        world.run(start + 2 * HOUR);
        let told: Vec<&str> = world.sent.iter().filter_map(|(_, _, b)| b["status"].as_str()).collect();
        assert_eq!(told, ["firing", "resolved"], "seed {seed}:\n{}", world.journal_text());
        assert!(world.engine.dispatcher().state().groups.is_empty(), "seed {seed}");
    }
}

/// A run of an earlier time has its mitigation behind it: the next time needs a run of its own, or the mitigation
/// would count as done and nothing would be done.
#[test]
fn an_alert_that_fires_again_gets_a_new_run() {
    // Enough clean history that the same window is the first to fire both times.
    let start = 8 * HOUR;
    let twice = move |at: i64| {
        (if (at > start && at <= start + 10 * MINUTE) || (at > start + 7 * HOUR && at <= start + 7 * HOUR + 10 * MINUTE) { 1.0 } else { 0.0 }, 100.0)
    };
    let mut world = World::new(options(15_000), 0, Box::new(twice));
    world.history(start - 10 * MINUTE);
    let (book, findings) = crate::runbooks::parse_runbook("r.md", crate::runbooks::test_runbook(), None);
    let book = book.unwrap_or_else(|| panic!("{findings:?}"));
    let mut slo = slo("");
    slo.runbook = Some(book.id.clone());
    world.load(EngineConfig { slos: vec![slo], runbooks: vec![book], ..EngineConfig::default() });
    world.run(start + 7 * HOUR + 20 * MINUTE);
    let mut runs: Vec<(i64, crate::runbooks::RunState)> =
        world.engine.runs().filter(|r| r.alert.as_deref() == Some(page_fingerprint("1h").as_str())).map(|r| (r.started, r.state)).collect();
    runs.sort_by_key(|r| r.0);
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert_eq!(runs[0].1, crate::runbooks::RunState::Done);
    assert_eq!(runs[1].1, crate::runbooks::RunState::Open);
}

/// A drill fires and says so; the budget is what it was before. What fails after it counts again.
#[test]
fn a_drill_fires_and_leaves_the_budget_as_it_was() {
    let start = 8 * HOUR;
    let scope = || crate::drill::DrillScope {
        alert: "Orders API SLO burn".into(),
        severity: "page".into(),
        services: vec!["orders-api".into()],
        slos: Vec::new(),
    };
    // A little was spent before; the drill breaks one request in ten for 15 minutes; two hours later something is really wrong.
    let later = start + 3 * HOUR;
    let traffic = move |at: i64| {
        let errors = match at {
            _ if at > start - 30 * MINUTE && at <= start - 28 * MINUTE => 0.01,
            _ if at > start && at <= start + 15 * MINUTE => 0.1,
            _ if at > later && at <= later + 10 * MINUTE => 0.1,
            _ => 0.0,
        };
        (errors, 100.0)
    };
    let config = || EngineConfig { slos: vec![slo(", skopos.dev/windows: page 1h/5m 2%")], routing: routing(), ..EngineConfig::default() };
    let mut world = World::new(options(15_000), 0, Box::new(traffic));
    world.history(start - HOUR);
    world.load(config());
    world.run(start);
    let bad_before = world.engine.slo_view("orders", world.now).map(|v| v.total - v.good).expect("counted");
    assert!((bad_before - 120.0).abs() < 10.0, "{bad_before}");
    world.event(Event::DrillBegan { id: "d1".into(), scope: scope() });
    world.run(start + 12 * MINUTE);
    // The process ends in the middle of it.
    world.restart(options(15_000), config());
    world.event(Event::DrillBegan { id: "d1".into(), scope: scope() });
    assert_eq!(world.engine.drill_spans().map(|s| s.from).collect::<Vec<_>>(), [start], "it began once");
    let running = world.engine.slo_view("orders", world.now).expect("known");
    assert_eq!((running.left_out.len(), running.left_out[0].until.as_deref()), (1, None));
    world.run(start + 15 * MINUTE);
    world.event(Event::DrillEnded { id: "d1".into() });
    world.run(start + HOUR);
    let resolved = world.when("resolved", start).expect("resolved");
    assert!(world.when("firing", start).is_some_and(|at| at < start + 12 * MINUTE), "it fires:\n{}", world.journal_text());
    let summaries: Vec<&str> = world.sent.iter().filter_map(|(_, _, b)| b["alerts"][0]["annotations"]["obs_drill"].as_str()).collect();
    assert_eq!(summaries, ["d1", "d1"], "page and resolution are marked");
    assert!(world.sent.iter().all(|(_, _, b)| b["alerts"][0]["annotations"]["summary"].as_str().is_some_and(|s| s.starts_with("[DRILL] "))));
    let texts: Vec<(&str, &str)> = world.journal.iter().filter(|e| e.at >= start).map(|e| (e.kind.as_str(), e.text.as_str())).collect();
    assert!(texts.iter().all(|(_, t)| t.starts_with("[DRILL] ")), "{texts:?}");
    for kind in ["drill_began", "pending", "firing", "delivered", "drill_ended", "resolved", "drill_over"] {
        assert!(texts.iter().any(|(k, _)| *k == kind), "{kind}: {texts:?}");
    }
    assert_eq!(world.engine.alert_views(world.now).first().and_then(|a| a.drill.as_deref()), None, "forgotten with the alert");
    let span = world.engine.drill_spans().next().expect("remembered").clone();
    assert!(span.until.is_some_and(|at| at >= resolved && at < resolved + 2 * MINUTE), "{span:?}, resolved at {resolved}");
    let after = world.engine.slo_view("orders", world.now).expect("known");
    let bad = after.total - after.good;
    assert!((bad - bad_before).abs() < 1e-6, "{bad} bad events, {bad_before} before the drill");
    let expected = 15.0 * 60.0 * 10.0;
    assert!((after.left_out[0].bad - expected).abs() < 0.02 * expected, "{:?}", after.left_out);
    let (_, course) = world.engine.budget_course("orders", start - MINUTE, world.now, MINUTE, world.now).expect("counted");
    let least = course.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let spent_before = bad_before / (0.001 * (bad_before + (HOUR / 1000 * 100) as f64));
    assert!((1.0 - least) < 1.1 * spent_before, "the course never shows the drill: {least}");
    // Afterwards the budget counts, and the same alert is a real one.
    let sent = world.sent.len();
    world.run(later + HOUR);
    let real = world.engine.slo_view("orders", world.now).map(|v| v.total - v.good).expect("counted");
    assert!((real - bad - 6_000.0).abs() < 200.0, "{real}");
    assert!(world.sent.len() > sent && world.sent[sent..].iter().all(|(_, _, b)| b["alerts"][0]["annotations"].get("obs_drill").is_none()));
}

/// An alert that was up before the drill is no drill's; one that stays up for long after it is no drill's any more.
#[test]
fn what_was_up_before_a_drill_is_real() {
    let start = 8 * HOUR;
    let mut world = World::new(options(15_000), 0, burst(0.5, start, i64::MAX));
    world.history(start - 10 * MINUTE);
    world.load(EngineConfig { slos: vec![slo("")], routing: routing(), ..EngineConfig::default() });
    world.run(start + 10 * MINUTE);
    let scope = crate::drill::DrillScope { alert: "Orders API SLO burn".into(), severity: "page".into(), ..Default::default() };
    world.event(Event::DrillBegan { id: "d1".into(), scope });
    world.run(start + 20 * MINUTE);
    world.event(Event::DrillEnded { id: "d1".into() });
    world.run(start + 30 * MINUTE);
    assert!(world.engine.alert_views(world.now).iter().filter(|a| a.is_page()).all(|a| a.drill.is_none()), "the page was up before");
    let span = world.engine.drill_spans().next().expect("known").clone();
    assert_eq!(span.until, Some(start + 21 * MINUTE), "no alert of its own holds it open");
}
