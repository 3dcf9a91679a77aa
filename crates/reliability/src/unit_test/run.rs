//! Running one test.

use std::collections::BTreeMap;
use std::sync::Arc;

use skopos_model::Labels;
use skopos_query::QueryContext;
use skopos_query::promql;
use skopos_query::promql::series_notation::{Point, parse_points, parse_series};

use super::compare::{Alert, alerts_text, indented, samples_equal, samples_text};
use super::file::{AlertTest, ExpectedSample, ExpressionTest, TestGroup, UnitTestFile};
use crate::alerting::{AlertPhase, EvalContext, EvalSample, RuleState, STALE_NAN, elements, evaluate_alerts, evaluate_recording};
use crate::duration::format_duration;
use crate::memory::Memory;
use crate::rules::{Rule, RuleGroup, RuleKind};

/// Runs a test over the rules of its file; returns what failed, in promtool's words.
///
/// `engine` should have the file's evaluation interval as the step of subqueries.
pub fn run_test(test: &TestGroup, file: &UnitTestFile, groups: &[RuleGroup], engine: &promql::Engine, ctx: &QueryContext) -> Vec<String> {
    match Run::new(test, file, groups, engine, ctx) {
        Ok(mut run) => {
            if !run.rules() {
                return run.failures;
            }
            for expression in &test.expressions {
                if let Err(why) = run.expression(expression) {
                    run.failures.push(format!("    expr: {:?}, time: {}, {why}", expression.expr, format_duration(expression.eval_time)));
                }
            }
            run.failures
        }
        Err(why) => vec![why],
    }
}

struct Run<'a> {
    test: &'a TestGroup,
    file: &'a UnitTestFile,
    groups: Vec<&'a RuleGroup>,
    states: BTreeMap<(usize, usize), RuleState>,
    external: Labels,
    memory: Memory,
    engine: &'a promql::Engine,
    ctx: &'a QueryContext,
    failures: Vec<String>,
}

impl<'a> Run<'a> {
    fn new(
        test: &'a TestGroup,
        file: &'a UnitTestFile,
        groups: &'a [RuleGroup],
        engine: &'a promql::Engine,
        ctx: &'a QueryContext,
    ) -> Result<Self, String> {
        let mut memory = Memory::default();
        for input in &test.input_series {
            let labels = parse_series(&input.series).map_err(|e| format!("    series: {e}"))?;
            let points = parse_points(&input.values).map_err(|e| format!("    series: {}: {e}", input.series))?;
            let times = (0..).map(|i: i64| test.start.saturating_add(i.saturating_mul(test.interval_ms)));
            for (at, point) in times.zip(points) {
                match point {
                    Point::Absent => {}
                    Point::Stale => memory.append(&labels, at, STALE_NAN),
                    Point::Float(value) => memory.append(&labels, at, value),
                    Point::Histogram(histogram) => memory.append_histogram(&labels, at, *histogram),
                }
            }
        }
        let mut groups: Vec<&RuleGroup> = groups.iter().collect();
        groups.sort_by_key(|g| file.group_eval_order.iter().position(|name| *name == g.name).unwrap_or(0));
        let external = test.external_labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        Ok(Self { test, file, groups, states: BTreeMap::new(), external, memory, engine, ctx, failures: Vec::new() })
    }

    /// Evaluates the rules over the test's time and compares alerts meanwhile. False when a rule failed.
    fn rules(&mut self) -> bool {
        let (test, interval) = (self.test, self.file.evaluation_interval_ms);
        let last = test.alerts.iter().map(|a| a.eval_time).chain(test.expressions.iter().map(|e| e.eval_time)).max().unwrap_or(0);
        let mut waiting: Vec<&AlertTest> = test.alerts.iter().collect();
        waiting.sort_by_key(|a| a.eval_time);
        let mut waiting = waiting.into_iter().peekable();
        for after in (0..=last).step_by(usize::try_from(interval).unwrap_or(1).max(1)) {
            let at = test.start + after;
            self.memory.horizon = at;
            let failed = self.evaluate(at);
            if !failed.is_empty() {
                self.failures.extend(failed);
                return false;
            }
            while let Some(alerts) = waiting.next_if(|a| a.eval_time < after + interval) {
                self.alerts(alerts);
            }
        }
        true
    }

    /// Evaluates all rules at a moment; returns those that failed.
    fn evaluate(&mut self, at: i64) -> Vec<String> {
        let mut failed = Vec::new();
        for (g, group) in self.groups.clone().into_iter().enumerate() {
            let ctx = EvalContext {
                at,
                query_offset_ms: group.query_offset_ms.unwrap_or(0),
                interval_ms: group.interval_ms(self.test.interval_ms),
                resend_delay_ms: 60_000,
                limit: group.limit,
                external_labels: &self.external,
                external_url: &self.test.external_url,
            };
            for (r, rule) in group.rules.iter().enumerate() {
                let evaluated = self.query(&rule.expr, at - ctx.query_offset_ms).and_then(|elements| {
                    let state = self.states.entry((g, r)).or_default();
                    match &rule.kind {
                        RuleKind::Alerting(alerting) => evaluate_alerts(rule, alerting, state, &elements, &ctx),
                        RuleKind::Recording => evaluate_recording(rule, state, &elements, &ctx),
                    }
                });
                match evaluated {
                    Ok(evaluation) => evaluation.series.iter().for_each(|s| self.memory.write(s)),
                    Err(why) => failed.push(format!("    rule: {}, time: {}, err: {why}", rule.name, format_duration(at))),
                }
            }
        }
        failed
    }

    fn alerts(&mut self, expected: &AlertTest) {
        let of_name = |rule: &&Rule| rule.alerting().is_some() && rule.name == expected.alertname;
        let mut got: Vec<Alert> = Vec::new();
        for (g, group) in self.groups.iter().enumerate() {
            for (r, _) in group.rules.iter().enumerate().filter(|(_, rule)| of_name(rule)) {
                let firing = self.states.get(&(g, r)).into_iter().flat_map(|s| s.alerts.values()).filter(|a| a.phase == AlertPhase::Firing);
                got.extend(firing.map(|a| Alert { labels: a.labels.clone(), annotations: a.annotations.clone() }));
            }
        }
        let mut wanted: Vec<Alert> = expected
            .expected
            .iter()
            .map(|e| {
                let own = e.labels.iter().map(|(k, v)| (k.as_str(), v.as_str()));
                let labels = own.filter(|(k, _)| *k != "alertname").chain([("alertname", expected.alertname.as_str())]).collect();
                Alert { labels, annotations: e.annotations.clone() }
            })
            .collect();
        got.sort();
        wanted.sort();
        if got != wanted {
            let name = if self.test.name.is_empty() { String::new() } else { format!("    name: {},\n", self.test.name) };
            let time = format_duration(expected.eval_time);
            let (exp, got) = (indented(&alerts_text(&wanted), "            "), indented(&alerts_text(&got), "            "));
            self.failures.push(format!("{name}    alertname: {}, time: {time}, \n        exp:{exp}, \n        got:{got}", expected.alertname));
        }
    }

    fn expression(&mut self, test: &ExpressionTest) -> Result<(), String> {
        let mut got = self.query(&test.expr, self.test.start + test.eval_time).map_err(|e| format!("err: {e}"))?;
        let mut wanted = test.expected.iter().map(expected_sample).collect::<Result<Vec<_>, _>>()?;
        got.sort_by(|a, b| a.labels.cmp(&b.labels));
        wanted.sort_by(|a, b| a.labels.cmp(&b.labels));
        if samples_equal(&wanted, &got, self.file.fuzzy_compare) {
            return Ok(());
        }
        Err(format!("\n        exp: {}\n        got: {}", samples_text(&wanted), samples_text(&got)))
    }

    fn query(&self, expr: &str, at: i64) -> Result<Vec<EvalSample>, String> {
        let expr = promql::parse(expr).map_err(|e| e.to_string())?;
        let output = self.engine.instant(&self.memory, &expr, at, self.ctx).map_err(|e| e.to_string())?;
        elements(output.value)
    }
}

fn expected_sample(sample: &ExpectedSample) -> Result<EvalSample, String> {
    let fail = |e: String| format!("err: labels {:?}: {e}", sample.labels);
    let labels = parse_series(&sample.labels).map_err(fail)?;
    let histogram = match sample.histogram.as_str() {
        "" => None,
        text => match parse_points(text).map_err(fail)?.as_slice() {
            [Point::Histogram(h)] => Some(Arc::new((**h).clone())),
            other => return Err(fail(format!("expected one histogram, got {other:?}"))),
        },
    };
    Ok(EvalSample { labels, value: sample.value, histogram })
}
