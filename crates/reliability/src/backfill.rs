//! Recording rules over stored history: the series they would have written, had they been there.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use skopos_query::metrics::Queryable;
use skopos_query::promql::{self, Expr, Value};
use skopos_query::{QueryContext, QueryError};

use crate::alerting::{EvalContext, EvalSample, RuleState, SeriesSample, evaluate_recording};
use crate::memory::Memory;
use crate::overlay::{Overlay, Produced};
use crate::rules::RuleGroup;

/// Moments a rule is evaluated for at once.
const CHUNK_STEPS: i64 = 250;

/// What to fill in.
#[derive(Debug, Clone, Copy)]
pub struct BackfillOptions {
    /// First moment, Unix milliseconds.
    pub from: i64,
    /// Last moment, Unix milliseconds.
    pub to: i64,
    /// Interval of groups that state none, milliseconds.
    pub evaluation_interval_ms: i64,
}

/// What one rule has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackfilledRule {
    /// Group.
    pub group: String,
    /// Name of its series.
    pub name: String,
    /// Moments it was evaluated at.
    pub evaluations: u64,
    /// Samples written.
    pub samples: u64,
    /// Series written.
    pub series: u64,
}

/// A rule, ready to be evaluated.
struct Prepared<'a> {
    place: usize,
    rule: &'a crate::rules::Rule,
    expr: Expr,
    state: RuleState,
    outcome: BackfilledRule,
    names: BTreeSet<u64>,
}

/// Evaluates the recording rules of `groups` at the moments they would have been evaluated at, and hands what they give
/// to `sink`, in order of time within a chunk. Alerting rules are passed over.
///
/// A rule sees what the rules before it in its group wrote, as it does live; stored series of a rule's own name are not
/// read.
///
/// # Errors
/// When a rule fails, with its name, or `sink` does.
pub fn backfill(
    groups: &[RuleGroup],
    options: &BackfillOptions,
    source: &dyn Queryable,
    promql: &promql::Engine,
    ctx: &QueryContext,
    sink: &mut dyn FnMut(Vec<SeriesSample>) -> Result<(), QueryError>,
) -> Result<Vec<BackfilledRule>, QueryError> {
    if options.from >= options.to {
        return Err(QueryError::Execution("the range is upside down: its start has to be before its end".to_owned()));
    }
    let mut outcomes = Vec::new();
    for group in groups {
        outcomes.extend(one_group(group, options, source, promql, ctx, sink)?);
    }
    Ok(outcomes)
}

fn one_group(
    group: &RuleGroup,
    options: &BackfillOptions,
    source: &dyn Queryable,
    promql: &promql::Engine,
    ctx: &QueryContext,
    sink: &mut dyn FnMut(Vec<SeriesSample>) -> Result<(), QueryError>,
) -> Result<Vec<BackfilledRule>, QueryError> {
    let failed = |rule: &str, error: QueryError| match error {
        QueryError::Execution(why) => QueryError::Execution(format!("rule {rule} of group {}: {why}", group.name)),
        other => other,
    };
    let recording = group.rules.iter().enumerate().filter(|(_, rule)| rule.alerting().is_none());
    let mut rules = Vec::new();
    for (place, rule) in recording {
        let expr = promql::parse(&rule.expr).map_err(|e| failed(&rule.name, QueryError::Execution(e.to_string())))?;
        let outcome = BackfilledRule { group: group.name.clone(), name: rule.name.clone(), evaluations: 0, samples: 0, series: 0 };
        rules.push(Prepared { place, rule, expr, state: RuleState::default(), outcome, names: BTreeSet::new() });
    }
    let step = group.interval_ms(options.evaluation_interval_ms);
    let offset = group.query_offset_ms.unwrap_or(0);
    // The moments of the live engine: its own of this group, spread by its name.
    let mut at = group.slot(options.from + step - 1, options.evaluation_interval_ms);
    let produced = Produced::by([group]);
    // A rule that reads what itself or a later one writes needs the moments one by one.
    let looks_ahead = rules.iter().any(|r| group.rules[r.place..].iter().any(|later| Produced::names_read(&r.expr, &later.name)));
    let chunk = if looks_ahead { 1 } else { CHUNK_STEPS };
    let mut memory = Memory::default();
    while at <= options.to {
        ctx.check()?;
        let steps = chunk.min((options.to - at) / step + 1);
        let last = at + (steps - 1) * step;
        let mut written: Vec<SeriesSample> = Vec::new();
        for rule in &mut rules {
            let over = Overlay { below: source, above: &memory, produced: &produced };
            let output = promql.range(&over, &rule.expr, at - offset, last - offset, step, ctx).map_err(|e| failed(&rule.rule.name, e))?;
            let mut moments: Vec<Vec<EvalSample>> = vec![Vec::new(); usize::try_from(steps).unwrap_or(1)];
            if let Value::Matrix(series) = output.value {
                for points in series {
                    let numbers = points.times.iter().zip(&points.values).map(|(t, v)| (*t, *v, None));
                    let histograms = points.histograms.iter().map(|(t, h)| (*t, 0.0, Some(Arc::clone(h))));
                    for (time, value, histogram) in numbers.chain(histograms) {
                        if let Some(moment) = usize::try_from((time + offset - at) / step).ok().and_then(|i| moments.get_mut(i)) {
                            moment.push(EvalSample { labels: (*points.labels).clone(), value, histogram });
                        }
                    }
                }
            }
            for (moment, elements) in (0..).zip(&moments) {
                let external = skopos_model::Labels::default();
                let context = EvalContext {
                    at: at + moment * step,
                    query_offset_ms: offset,
                    interval_ms: step,
                    resend_delay_ms: 0,
                    limit: group.limit,
                    external_labels: &external,
                    external_url: "",
                };
                let evaluation = evaluate_recording(rule.rule, &mut rule.state, elements, &context)
                    .map_err(|why| failed(&rule.rule.name, QueryError::Execution(why)))?;
                rule.outcome.evaluations += 1;
                rule.outcome.samples += elements.len() as u64;
                rule.names.extend(evaluation.series.iter().map(|s| s.labels.stable_hash()));
                evaluation.series.iter().for_each(|s| memory.write(s));
                written.extend(evaluation.series);
            }
        }
        if !written.is_empty() {
            sink(written)?;
        }
        at = last + step;
    }
    Ok(rules.into_iter().map(|r| BackfilledRule { series: r.names.len() as u64, ..r.outcome }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{RuleSource, parse_rules};
    use crate::simulation::{HOUR, MINUTE, World};
    use skopos_query::QueryLimits;
    use std::collections::BTreeMap;
    use std::time::Instant;

    const RULES: &str = r#"
groups:
- name: recorded
  rules:
  - {record: "job:requests:rate2m", expr: 'sum by (job) (rate(http_requests_total[2m]))', labels: {kind: rate}}
  - {record: "job:errors:ratio", expr: 'sum by (job) (rate(http_requests_total{status="500"}[2m])) / on (job) job:requests:rate2m > 0'}
  - {alert: Errors, expr: 'job:errors:ratio > 0.5'}
"#;

    fn context() -> QueryContext {
        #[allow(clippy::disallowed_methods, reason = "a query context wants a start; nothing here times out")]
        QueryContext::new(QueryLimits::default(), Instant::now())
    }

    fn run(rules: &str, memory: &Memory, from: i64, to: i64) -> Result<(Vec<BackfilledRule>, Memory), QueryError> {
        let (groups, findings) = parse_rules("r.yml", rules, RuleSource::Prometheus, &[]);
        assert!(findings.is_empty(), "{findings:?}");
        let mut out = Memory::default();
        let options = BackfillOptions { from, to, evaluation_interval_ms: MINUTE };
        let outcomes = backfill(&groups, &options, memory, &promql::Engine::default(), &context(), &mut |written| {
            written.iter().for_each(|s| out.write(s));
            Ok(())
        })?;
        Ok((outcomes, out))
    }

    /// Every sample of the recorded series in a range.
    fn samples(memory: &Memory, name: &str, from: i64, to: i64) -> BTreeMap<String, Vec<(i64, u64)>> {
        let matchers = [skopos_query::metrics::Matcher::equal("__name__", name)];
        let select = skopos_query::metrics::Select { matchers: &matchers, start: from, end: to, grouping: None };
        let series = memory.select(&select, &context()).expect("selects");
        let all = |s: skopos_query::metrics::Series| s.timestamps.iter().zip(&s.values).map(|(t, v)| (*t, v.to_bits())).collect();
        series.into_iter().map(|s| (s.labels.to_string(), all(s))).collect()
    }

    #[test]
    fn it_writes_what_the_live_engine_wrote() {
        // Errors now and then: the ratio's series ends and comes again.
        let traffic = |at: i64| (if (at / (20 * MINUTE)) % 2 == 0 { 0.1 } else { 0.0 }, 50.0);
        let (from, to) = (2 * HOUR, 9 * HOUR);
        let (groups, _) = parse_rules("r.yml", RULES, RuleSource::Prometheus, &[]);
        let options = crate::engine::EngineOptions { evaluation_interval_ms: MINUTE, ..Default::default() };
        let mut live = World::new(options, 0, Box::new(traffic));
        live.history(from - 1);
        live.load(crate::engine::EngineConfig { groups, ..Default::default() });
        live.run(to);
        // The same samples without the rules.
        let mut plain = World::new(Default::default(), 0, Box::new(traffic));
        plain.history(to);
        let (outcomes, filled) = run(RULES, &plain.memory, from, to).expect("runs");
        for name in ["job:requests:rate2m", "job:errors:ratio"] {
            // The live engine's first evaluation is that of the moment just before its start.
            let expected = samples(&live.memory, name, from, to);
            assert!(expected.values().all(|s| s.len() > 100), "{name}: {expected:?}");
            assert_eq!(samples(&filled, name, from, to), expected, "{name}");
        }
        assert_eq!(outcomes.len(), 2, "an alert records nothing");
        assert_eq!((outcomes[0].evaluations, outcomes[0].series), (outcomes[1].evaluations, 1));
        assert!(outcomes[1].samples < outcomes[0].samples && outcomes[0].samples >= 419, "{outcomes:?}");
        // Again over what it has written itself: the same.
        for (labels, points) in samples(&filled, "job:requests:rate2m", from, to) {
            for (at, bits) in points {
                let labels = promql::series_notation::parse_series(&labels).expect("a series");
                plain.memory.append(&labels, at, f64::from_bits(bits) + 1.0);
            }
        }
        let (_, again) = run(RULES, &plain.memory, from, to).expect("runs");
        assert_eq!(samples(&again, "job:errors:ratio", from, to), samples(&filled, "job:errors:ratio", from, to));
    }

    #[test]
    fn rules_that_read_themselves_and_failures() {
        let mut world = World::new(Default::default(), 0, Box::new(|_| (0.0, 50.0)));
        world.history(2 * HOUR);
        let count = "groups:\n- name: g\n  rules:\n  - {record: steps, expr: 'steps offset 1m + 1 or vector(1)'}\n";
        let (_, filled) = run(count, &world.memory, HOUR, HOUR + 10 * MINUTE).expect("runs");
        let values: Vec<f64> = samples(&filled, "steps", 0, 2 * HOUR).into_values().flatten().map(|(_, v)| f64::from_bits(v)).collect();
        assert_eq!(values, (1..=values.len()).map(|n| n as f64).collect::<Vec<_>>(), "each step sees the one before");
        let broken = "groups:\n- name: g\n  rules:\n  - {record: x, expr: 'http_requests_total * on (job) http_requests_total'}\n";
        let error = run(broken, &world.memory, 0, HOUR).map(|_| ()).expect_err("fails").to_string();
        assert!(error.contains("rule x of group g") && error.contains("many-to-many"), "{error}");
        assert!(run(count, &world.memory, 5, 5).is_err());
    }
}
