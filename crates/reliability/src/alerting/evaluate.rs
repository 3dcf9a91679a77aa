//! One evaluation of a rule.

use std::collections::BTreeMap;

use skopos_model::Labels;
use skopos_model::labels::METRIC_NAME;

use super::fingerprint::fingerprint;
use super::state::{
    ActiveAlert, AlertPhase, AlertUpdate, EvalSample, RESOLVED_RETENTION_MS, RuleHealth, RuleState, STALE_NAN, SeriesSample, Transition,
};
use crate::rules::{AlertingRule, Rule};
use crate::slo::SEVERITY_OVERRIDE;
use crate::template::TemplateData;

/// What an evaluation needs besides rule, state and result.
#[derive(Debug, Clone, Copy)]
pub struct EvalContext<'a> {
    /// Moment of the evaluation, Unix milliseconds.
    pub at: i64,
    /// How far back the query was evaluated, milliseconds.
    pub query_offset_ms: i64,
    /// Interval of the group, milliseconds.
    pub interval_ms: i64,
    /// Shortest time between two messages about the same alert, milliseconds.
    pub resend_delay_ms: i64,
    /// Most series or alerts; 0 for no limit.
    pub limit: usize,
    /// Labels that tell this installation from others.
    pub external_labels: &'a Labels,
    /// Where people reach this installation.
    pub external_url: &'a str,
}

/// What came of an evaluation.
#[derive(Debug, Clone, Default)]
pub struct Evaluation {
    /// Samples to write.
    pub series: Vec<SeriesSample>,
    /// Changes of phase.
    pub transitions: Vec<Transition>,
    /// What the notifier has to be told.
    pub updates: Vec<AlertUpdate>,
}

/// Evaluates an alerting rule.
///
/// # Errors
/// When two elements end up with the same labels (nothing is changed then) or there are more alerts than the limit
/// allows (all are dropped then, as Prometheus does). The state's health tells either.
pub fn evaluate_alerts(
    rule: &Rule,
    alerting: &AlertingRule,
    state: &mut RuleState,
    result: &[EvalSample],
    ctx: &EvalContext<'_>,
) -> Result<Evaluation, String> {
    let mut present: BTreeMap<u64, ActiveAlert> = BTreeMap::new();
    for sample in result {
        let data = TemplateData { labels: &sample.labels, value: sample.value, external_labels: ctx.external_labels, external_url: ctx.external_url };
        let override_severity = sample.labels.get(SEVERITY_OVERRIDE);
        let own = sample.labels.iter().filter(|(n, _)| *n != METRIC_NAME && *n != SEVERITY_OVERRIDE).map(|(n, v)| (n.to_owned(), v.to_owned()));
        let added = rule.labels.iter().map(|(n, t)| (n.clone(), t.expand(&data)));
        let name = std::iter::once(("alertname".to_owned(), rule.name.clone()));
        let severity = override_severity.map(|s| ("severity".to_owned(), s.to_owned()));
        let labels = Labels::new(own.chain(added).chain(severity).chain(name));
        let annotations = alerting.annotations.iter().map(|(n, t)| (n.clone(), t.expand(&data))).collect();
        let id = identity(&labels, alerting);
        let alert = ActiveAlert {
            labels,
            annotations,
            value: sample.value,
            phase: AlertPhase::Pending,
            active_at: ctx.at,
            fired_at: None,
            resolved_at: None,
            last_sent_at: None,
            keep_firing_since: None,
            drill: None,
        };
        if !alerting.detail_labels.is_empty()
            && let Some(known) = present.get_mut(&id)
        {
            // Several windows of one SLO hold: the one that burns fastest tells the story.
            if alert.value > known.value {
                *known = alert;
            }
            continue;
        }
        if let Some(other) = present.insert(id, alert) {
            let message = format!("two elements have the same labels after the rule's are applied: {}", other.labels);
            return Err(fail(state, message));
        }
    }

    let mut out = Evaluation::default();
    for (id, new) in &present {
        match state.alerts.get_mut(id) {
            Some(known) if known.phase != AlertPhase::Inactive => {
                known.value = new.value;
                known.annotations.clone_from(&new.annotations);
            }
            _ => {
                out.transitions.push(transition(*id, new, None, AlertPhase::Pending, ctx.at));
                state.alerts.insert(*id, new.clone());
            }
        }
    }

    let mut live = 0;
    let mut gone = Vec::new();
    for (id, alert) in &mut state.alerts {
        if present.contains_key(id) {
            alert.keep_firing_since = None;
        } else {
            let mut kept = false;
            if alert.phase == AlertPhase::Firing && alerting.keep_firing_for_ms > 0 {
                let since = *alert.keep_firing_since.get_or_insert(ctx.at);
                kept = ctx.at - since < alerting.keep_firing_for_ms;
            }
            let expired = alert.resolved_at.is_some_and(|at| ctx.at - at > RESOLVED_RETENTION_MS);
            if alert.phase == AlertPhase::Pending || expired {
                gone.push(*id);
            }
            if alert.phase != AlertPhase::Inactive && !kept {
                out.transitions.push(transition(*id, alert, Some(alert.phase), AlertPhase::Inactive, ctx.at));
                alert.phase = AlertPhase::Inactive;
                alert.resolved_at = Some(ctx.at);
            }
            if !kept {
                continue;
            }
        }
        live += 1;
        if alert.phase == AlertPhase::Pending && ctx.at - alert.active_at >= alerting.for_ms {
            out.transitions.push(transition(*id, alert, Some(AlertPhase::Pending), AlertPhase::Firing, ctx.at));
            alert.phase = AlertPhase::Firing;
            alert.fired_at = Some(ctx.at);
        }
        let at = ctx.at - ctx.query_offset_ms;
        let named = alert.labels.with(METRIC_NAME, "ALERTS").with("alertstate", alert.phase.as_str());
        out.series.push(SeriesSample::number(named, at, 1.0));
        let named = alert.labels.with(METRIC_NAME, "ALERTS_FOR_STATE");
        out.series.push(SeriesSample::number(named, at, alert.active_at as f64 / 1000.0));
    }
    for id in gone {
        state.alerts.remove(&id);
    }
    if ctx.limit > 0 && live > ctx.limit {
        state.alerts.clear();
        end_missing_series(state, &mut Vec::new(), ctx);
        return Err(fail(state, format!("exceeded limit of {} with {live} alerts", ctx.limit)));
    }
    end_missing_series(state, &mut out.series, ctx);
    for alert in state.alerts.values_mut() {
        if alert.needs_sending(ctx.at, ctx.resend_delay_ms) {
            alert.last_sent_at = Some(ctx.at);
            let ends_at = alert.resolved_at.unwrap_or(ctx.at + 4 * ctx.interval_ms.max(ctx.resend_delay_ms));
            out.updates.push(AlertUpdate {
                labels: alert.labels.clone(),
                annotations: alert.annotations.clone(),
                starts_at: alert.fired_at.unwrap_or(alert.active_at),
                ends_at,
                resolved: alert.resolved_at.is_some(),
                generator_url: generator_url(ctx.external_url, &rule.expr),
            });
        }
    }
    state.health = RuleHealth::Ok;
    state.error = None;
    state.evaluated_at = Some(ctx.at);
    Ok(out)
}

/// Evaluates a recording rule.
///
/// # Errors
/// As [`evaluate_alerts`].
pub fn evaluate_recording(rule: &Rule, state: &mut RuleState, result: &[EvalSample], ctx: &EvalContext<'_>) -> Result<Evaluation, String> {
    let at = ctx.at - ctx.query_offset_ms;
    let mut series: Vec<SeriesSample> = result
        .iter()
        .map(|sample| {
            let own = sample.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned()));
            let added = rule.labels.iter().map(|(n, t)| (n.clone(), t.source().to_owned()));
            let name = std::iter::once((METRIC_NAME.to_owned(), rule.name.clone()));
            SeriesSample { labels: Labels::new(own.chain(added).chain(name)), at, value: sample.value, histogram: sample.histogram.clone() }
        })
        .collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    if let Some(pair) = series.windows(2).find(|pair| pair[0].labels == pair[1].labels) {
        let message = format!("two elements have the same labels after the rule's are applied: {}", pair[0].labels);
        return Err(fail(state, message));
    }
    if ctx.limit > 0 && series.len() > ctx.limit {
        let message = format!("exceeded limit of {} with {} series", ctx.limit, series.len());
        return Err(fail(state, message));
    }
    end_missing_series(state, &mut series, ctx);
    state.health = RuleHealth::Ok;
    state.error = None;
    state.evaluated_at = Some(ctx.at);
    Ok(Evaluation { series, ..Evaluation::default() })
}

/// Notes a failed evaluation; alerts stay as they were.
pub(crate) fn fail(state: &mut RuleState, message: String) -> String {
    state.health = RuleHealth::Err;
    state.error = Some(message.clone());
    message
}

/// Adds stale markers for series of the last evaluation that are not among `series`.
fn end_missing_series(state: &mut RuleState, series: &mut Vec<SeriesSample>, ctx: &EvalContext<'_>) {
    let now: Vec<Labels> = series.iter().map(|s| s.labels.clone()).collect();
    let before = std::mem::replace(&mut state.written, now);
    if before.is_empty() {
        return;
    }
    let current: std::collections::HashSet<&Labels> = state.written.iter().collect();
    let at = ctx.at - ctx.query_offset_ms;
    series.extend(before.into_iter().filter(|l| !current.contains(l)).map(|labels| SeriesSample::number(labels, at, STALE_NAN)));
}

fn identity(labels: &Labels, alerting: &AlertingRule) -> u64 {
    if alerting.detail_labels.is_empty() {
        return fingerprint(labels);
    }
    let names: Vec<&str> = alerting.detail_labels.iter().map(String::as_str).collect();
    fingerprint(&labels.without(&names))
}

fn transition(fingerprint: u64, alert: &ActiveAlert, from: Option<AlertPhase>, to: AlertPhase, at: i64) -> Transition {
    Transition { fingerprint, labels: alert.labels.clone(), from, to, value: alert.value, at, drill: alert.drill.clone() }
}

/// The page that draws the condition.
pub(crate) fn generator_url(external_url: &str, expr: &str) -> String {
    format!("{}/explore/metrics?q={}", external_url.trim_end_matches('/'), crate::template::url_encode(expr.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::RuleKind;

    const MINUTE: i64 = 60_000;

    fn alert_rule(for_ms: i64, keep_ms: i64) -> Rule {
        let alerting = AlertingRule {
            for_ms,
            keep_firing_for_ms: keep_ms,
            annotations: [("summary".to_owned(), "{{ $labels.job }} is {{ $value }}".into())].into(),
            ..AlertingRule::default()
        };
        Rule {
            kind: RuleKind::Alerting(Box::new(alerting)),
            name: "A".into(),
            expr: "up == 0".into(),
            labels: [("severity".to_owned(), "page".into())].into(),
            line: 1,
        }
    }

    fn context(at: i64, external: &Labels) -> EvalContext<'_> {
        EvalContext {
            at,
            query_offset_ms: 0,
            interval_ms: MINUTE,
            resend_delay_ms: MINUTE,
            limit: 0,
            external_labels: external,
            external_url: "http://skopos",
        }
    }

    fn sample(job: &str) -> EvalSample {
        EvalSample::number(Labels::new([("__name__", "up"), ("job", job)]), 1.0)
    }

    fn step(rule: &Rule, state: &mut RuleState, at: i64, result: &[EvalSample], limit: usize) -> Result<Evaluation, String> {
        let external = Labels::default();
        evaluate_alerts(rule, rule.alerting().expect("alerting"), state, result, &EvalContext { limit, ..context(at, &external) })
    }

    /// TV: interval 1m, for 5m, keep 3m, true from 0 to 6m, false from 7m.
    #[test]
    fn pending_firing_kept_resolved() {
        let rule = alert_rule(5 * MINUTE, 3 * MINUTE);
        let mut state = RuleState::default();
        let mut phases = Vec::new();
        let mut sends = Vec::new();
        for minute in 0..=12 {
            let result = if minute <= 6 { vec![sample("orders")] } else { Vec::new() };
            let out = step(&rule, &mut state, minute * MINUTE, &result, 0).expect("evaluates");
            phases.push(state.alerts.values().next().map_or("-", |a| a.phase.as_str()));
            sends.extend(out.updates.iter().map(|u| (minute, u.resolved)));
        }
        assert_eq!(
            phases,
            [
                "pending", "pending", "pending", "pending", "pending", "firing", "firing", "firing", "firing", "firing", "inactive", "inactive",
                "inactive"
            ]
        );
        // Exact ticks and a strict comparison: every second minute.
        assert_eq!(sends, [(5, false), (7, false), (9, false), (10, true), (12, true)]);
    }

    #[test]
    fn for_zero_fires_in_the_same_tick_and_series_end() {
        let rule = alert_rule(0, 0);
        let mut state = RuleState::default();
        let out = step(&rule, &mut state, 1_000, &[sample("orders")], 0).expect("evaluates");
        let printed: Vec<String> = out.series.iter().map(|s| format!("{} {}", s.labels, s.value)).collect();
        assert_eq!(
            printed,
            [
                r#"ALERTS{alertname="A", alertstate="firing", job="orders", severity="page"} 1"#,
                r#"ALERTS_FOR_STATE{alertname="A", job="orders", severity="page"} 1"#
            ]
        );
        assert_eq!(out.transitions.iter().map(|t| t.to).collect::<Vec<_>>(), [AlertPhase::Pending, AlertPhase::Firing]);
        assert_eq!(out.updates[0].annotations["summary"], "orders is 1");
        assert_eq!((out.updates[0].starts_at, out.updates[0].ends_at), (1_000, 1_000 + 4 * MINUTE));
        let out = step(&rule, &mut state, 61_000, &[], 0).expect("evaluates");
        assert_eq!(out.series.len(), 2);
        assert!(out.series.iter().all(|s| s.value.to_bits() == STALE_NAN.to_bits()));
        assert!(out.updates[0].resolved);
        assert_eq!(out.updates[0].ends_at, 61_000);
    }

    #[test]
    fn resolved_is_kept_fifteen_minutes() {
        let rule = alert_rule(0, 0);
        let mut state = RuleState::default();
        step(&rule, &mut state, 0, &[sample("x")], 0).expect("evaluates");
        for minute in 1..=16 {
            step(&rule, &mut state, minute * MINUTE, &[], 0).expect("evaluates");
            assert_eq!(state.alerts.len(), 1, "minute {minute}");
        }
        step(&rule, &mut state, 17 * MINUTE, &[], 0).expect("evaluates");
        assert!(state.alerts.is_empty());
    }

    #[test]
    fn comes_back_as_a_new_alert() {
        let rule = alert_rule(MINUTE, 0);
        let mut state = RuleState::default();
        step(&rule, &mut state, 0, &[sample("x")], 0).expect("evaluates");
        step(&rule, &mut state, MINUTE, &[sample("x")], 0).expect("evaluates");
        step(&rule, &mut state, 2 * MINUTE, &[], 0).expect("evaluates");
        step(&rule, &mut state, 3 * MINUTE, &[sample("x")], 0).expect("evaluates");
        let alert = state.alerts.values().next().expect("alert");
        assert_eq!((alert.phase, alert.active_at, alert.resolved_at), (AlertPhase::Pending, 3 * MINUTE, None));
    }

    #[test]
    fn limit_and_equal_labels_fail_the_rule() {
        let rule = alert_rule(0, 0);
        let mut state = RuleState::default();
        assert!(step(&rule, &mut state, 0, &[sample("a"), sample("b")], 2).is_ok());
        let error = step(&rule, &mut state, MINUTE, &[sample("a"), sample("b"), sample("c")], 2).expect_err("limit");
        assert_eq!(error, "exceeded limit of 2 with 3 alerts");
        assert!(state.alerts.is_empty());
        assert_eq!(state.health, RuleHealth::Err);
        step(&rule, &mut state, 2 * MINUTE, &[sample("a")], 2).expect("recovers");
        let error = step(&rule, &mut state, 3 * MINUTE, &[sample("a"), EvalSample::number(Labels::new([("job", "a")]), 2.0)], 0).expect_err("equal");
        assert!(error.contains("same labels"), "{error}");
        assert_eq!(state.alerts.len(), 1, "a failed evaluation leaves alerts untouched");
    }

    #[test]
    fn detail_labels_do_not_split_an_alert() {
        let mut rule = alert_rule(0, 0);
        if let RuleKind::Alerting(alerting) = &mut rule.kind {
            alerting.detail_labels = vec!["long_window".into()];
        }
        let mut state = RuleState::default();
        let with = |w: &str| EvalSample::number(Labels::new([("long_window", w)]), 1.0);
        step(&rule, &mut state, 0, &[with("1h")], 0).expect("evaluates");
        let out = step(&rule, &mut state, MINUTE, &[with("6h")], 0).expect("evaluates");
        assert!(out.transitions.is_empty());
        assert_eq!(state.alerts.values().next().and_then(|a| a.labels.get("long_window").map(str::to_owned)).as_deref(), Some("1h"));
    }

    #[test]
    fn recording_writes_and_ends_series() {
        let rule =
            Rule { kind: RuleKind::Recording, name: "job:up".into(), expr: "up".into(), labels: [("team".to_owned(), "x".into())].into(), line: 1 };
        let external = Labels::default();
        let mut state = RuleState::default();
        let out = evaluate_recording(&rule, &mut state, &[sample("a")], &EvalContext { query_offset_ms: 500, ..context(1_000, &external) })
            .expect("evaluates");
        assert_eq!(format!("{} {} {}", out.series[0].labels, out.series[0].value, out.series[0].at), r#"job:up{job="a", team="x"} 1 500"#);
        let out = evaluate_recording(&rule, &mut state, &[], &context(2_000, &external)).expect("evaluates");
        assert_eq!(out.series[0].value.to_bits(), STALE_NAN.to_bits());
    }

    #[test]
    fn state_survives_json_with_odd_floats() {
        let rule = alert_rule(0, 0);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.1] {
            let mut state = RuleState::default();
            step(&rule, &mut state, 0, &[EvalSample::number(Labels::new([("job", "x")]), value)], 0).expect("evaluates");
            let text = serde_json::to_string(&state).expect("serialises");
            let back: RuleState = serde_json::from_str(&text).expect("deserialises");
            let (a, b) = (back.alerts.values().next().expect("alert").value, value);
            assert!(a == b || (a.is_nan() && b.is_nan()));
        }
    }
}
