//! Burn-rate alerts as ordinary rules, so that one engine evaluates them all.

use std::collections::BTreeMap;

use super::gate::GATE_EVENTS_MIN;
use super::{BurnWindow, Slo, TimeWindow};
use crate::duration::format_duration;
use crate::rules::{AlertingRule, GateWindow, PageFacts, Rule, RuleGroup, RuleKind, RuleSource, TrafficGate, is_page};
use crate::template::{Template, format_g};

/// Label that says which window raised the alert. It is a detail, not part of the alert's identity: when the longer
/// window takes over from the shorter one it is the same alert.
const LONG_WINDOW: &str = "long_window";

/// The rule group of an SLO: one alert a severity, its windows joined by `or`. The value is the burn rate.
pub fn burn_rules(slo: &Slo) -> RuleGroup {
    let mut severities: Vec<&str> = Vec::new();
    for window in &slo.burn_windows {
        if !severities.contains(&window.severity.as_str()) {
            severities.push(&window.severity);
        }
    }
    RuleGroup {
        name: format!("slo:{}", slo.id),
        file: slo.file.clone(),
        source: RuleSource::Slo,
        interval_ms: slo.interval_ms,
        query_offset_ms: None,
        limit: 0,
        rules: severities.iter().map(|severity| rule(slo, severity)).collect(),
    }
}

fn rule(slo: &Slo, severity: &str) -> Rule {
    let budget = slo.budget_ratio();
    let windows: Vec<&BurnWindow> = slo.burn_windows.iter().filter(|w| w.severity == severity).collect();
    let burn = |window_ms| format!("({}) / {}", slo.indicator.error_ratio(window_ms, slo.budgeting), number(budget));
    let pair = |w: &&BurnWindow| {
        let k = number(w.factor);
        let long = format_duration(w.long_ms);
        // A line for each part: people read it on the alert's page.
        format!(
            "label_replace(\n  ({} > {k})\n  and\n  ({} > {k}),\n  \"{LONG_WINDOW}\", \"{long}\", \"\", \"\"\n)",
            burn(w.long_ms),
            burn(w.short_ms)
        )
    };
    let expr = windows.iter().map(pair).collect::<Vec<_>>().join("\nor\n");
    let mut labels: BTreeMap<String, Template> = BTreeMap::new();
    for (name, value) in [("severity", severity), ("slo", &slo.id), ("service", &slo.service)] {
        labels.insert(name.to_owned(), Template::new(value));
    }
    let mut annotations: BTreeMap<String, Template> = BTreeMap::new();
    let objective = number(super::round_12(slo.objective * 100.0));
    let texts = [
        ("summary", Some(format!("{}: the error budget burns {{{{ $value | printf \"%.1f\" }}}} times too fast", slo.title))),
        (
            "description",
            Some(format!(
                "Over the last {{{{ $labels.{LONG_WINDOW} }}}} the error budget of {objective} % over {} burned {{{{ $value | humanize }}}} times as fast as it may.",
                slo.window.name()
            )),
        ),
        ("owner", slo.owner.clone()),
        ("impact", slo.impact.clone()),
        ("runbook", slo.runbook.clone()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            annotations.insert(name.to_owned(), Template::new(text));
        }
    }
    let gate = (slo.traffic_gate && is_page(severity)).then(|| TrafficGate {
        events_min: GATE_EVENTS_MIN,
        windows: windows
            .iter()
            .map(|w| {
                let (bad, total) = slo.indicator.counts(w.long_ms, slo.budgeting);
                GateWindow { long_window: format_duration(w.long_ms), bad, total, threshold: w.factor * budget }
            })
            .collect(),
    });
    let page = PageFacts {
        owner: slo.owner.clone(),
        impact: slo.impact.clone(),
        service: Some(slo.service.clone()),
        runbook: slo.runbook.clone(),
        missing: if is_page(severity) { slo.missing.clone() } else { Vec::new() },
    };
    let alerting =
        AlertingRule { annotations, detail_labels: vec![LONG_WINDOW.to_owned()], gate, page, slo: Some(slo.id.clone()), ..AlertingRule::default() };
    Rule { kind: RuleKind::Alerting(Box::new(alerting)), name: slo.alert_name.clone(), expr, labels, line: slo.line }
}

fn number(value: f64) -> String {
    let text = format_g(value, Some(12));
    if text.contains('e') { format!("{value}") } else { text }
}

/// What is doubtful about a table of windows.
pub fn lint_windows(windows: &[BurnWindow], objective: f64, period: &TimeWindow, retention_ms: Option<i64>) -> Vec<String> {
    let budget = super::round_12(1.0 - objective);
    let period_ms = period.length_ms(0);
    let mut all = Vec::new();
    for w in windows {
        let name = format!("{} {}/{}", w.severity, format_duration(w.long_ms), format_duration(w.short_ms));
        let k = number(w.factor);
        if w.factor * budget >= 1.0 {
            let objective_max = number(super::round_12((1.0 - 1.0 / w.factor) * 100.0));
            all.push(format!("window `{name}` can never alert: burn {k} needs an error ratio of 1 or more; with this factor the objective has to be above {objective_max} %"));
        }
        if w.factor < 0.9 {
            all.push(format!("window `{name}` alerts while the budget lasts: burn {k} is below 0.9"));
        }
        if w.long_ms > period_ms {
            all.push(format!("window `{name}` is longer than the period {}", period.name()));
        }
        if let Some(retention) = retention_ms.filter(|r| w.long_ms > *r) {
            all.push(format!("window `{name}` is longer than samples are kept ({})", format_duration(retention)));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::standard_windows;

    #[test]
    fn lints() {
        let period = TimeWindow::Rolling { ms: 30 * 86_400_000 };
        let windows = standard_windows(30 * 86_400_000).unwrap();
        assert!(lint_windows(&windows, 0.999, &period, None).is_empty());
        // k = 14.4 cannot be exceeded at objectives up to 93.06 %.
        assert!(lint_windows(&windows, 0.9305, &period, None)[0].contains("can never alert"));
        assert!(lint_windows(&windows, 0.9306, &period, None).is_empty());
        assert_eq!(lint_windows(&windows, 0.999, &period, Some(86_400_000)).len(), 1);
        let own = [BurnWindow { severity: "page".into(), long_ms: 40 * 86_400_000, short_ms: 60_000, factor: 0.5 }];
        assert_eq!(lint_windows(&own, 0.999, &period, None).len(), 2);
    }
}
