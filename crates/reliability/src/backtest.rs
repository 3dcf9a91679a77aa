//! When rules would have been pending, fired and paged over stored history.
//!
//! The engine that runs live is stepped through virtual time; the stored samples answer its queries, and what it would
//! have sent is written down. An expression that reads nothing the rules write is evaluated for many moments at once:
//! each moment of a range query is what an instant query there gives.

mod report;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use skopos_query::metrics::Queryable;
use skopos_query::promql::{self, Expr, Value};
use skopos_query::{QueryContext, QueryError};

pub use report::{BacktestReport, Episode, ForChoice, Message, RuleOutcome};

use crate::alerting::{EvalSample, elements};
use crate::duration::format_duration;
use crate::effect::{Effect, Evaluate, QueryId};
use crate::engine::{Engine, EngineConfig, EngineOptions, Event};
use crate::memory::Memory;
use crate::notify::{NotifyConfig, ReceiverConfig, RouteConfig, Routing, WebhookConfig};
use crate::overlay::{Overlay, Produced, is_alert_series};
use report::Recorder;

/// Moments an expression is evaluated for at once.
const CHUNK_STEPS: i64 = 500;
/// Most evaluations of rules in one backtest: thirty days of a hundred rules at one minute.
const EVALUATIONS_MAX: i64 = 5_000_000;
/// A time that never comes.
const NEVER: i64 = i64::MAX / 4;

/// What to look back over.
#[derive(Debug, Clone)]
pub struct BacktestOptions {
    /// First moment, Unix milliseconds.
    pub from: i64,
    /// Last moment, Unix milliseconds.
    pub to: i64,
    /// Settings of the engine.
    pub engine: EngineOptions,
}

/// Routes that send everything to one receiver, where none are configured.
fn default_routing() -> Routing {
    let config = NotifyConfig {
        route: Some(RouteConfig { receiver: Some("default".to_owned()), ..RouteConfig::default() }),
        receivers: vec![ReceiverConfig {
            name: "default".to_owned(),
            webhook_configs: vec![WebhookConfig { url: "http://backtest.invalid".to_owned(), ..WebhookConfig::default() }],
            ..ReceiverConfig::default()
        }],
        inhibit_rules: None,
    };
    config.compile("").0
}

/// Steps rules over history. Nothing is sent and nothing is stored.
///
/// # Errors
/// When the range has too many evaluations, or the context's time or limits are up. A rule whose expression fails is
/// told in the report.
pub fn backtest(
    config: EngineConfig,
    options: &BacktestOptions,
    source: &dyn Queryable,
    promql: &promql::Engine,
    ctx: &QueryContext,
) -> Result<BacktestReport, QueryError> {
    if options.from >= options.to {
        return Err(QueryError::Execution("the range is upside down: its start has to be before its end".to_owned()));
    }
    let settings = EngineOptions { auto_verify: false, slo_count_interval_ms: NEVER, ..options.engine.clone() };
    let has_routes = config.routing.route.is_some();
    let config = if has_routes { config } else { EngineConfig { routing: default_routing(), ..config } };
    let mut engine = Engine::new(settings);
    // A condition that held before the range is pending at its start for as long as it did.
    let wait = |g: &crate::rules::RuleGroup| g.rules.iter().filter_map(|r| r.alerting()).map(|a| a.for_ms + a.keep_firing_for_ms).max();
    let mut now = options.from - config.groups.iter().filter_map(wait).max().unwrap_or(0);
    let first = engine.step(Event::Loaded(Box::new(config)), now);
    let interval = engine.options().evaluation_interval_ms;
    let evaluations: i64 = engine.groups().map(|g| (options.to - now) / g.interval_ms(interval) * g.rules.len() as i64).sum();
    if evaluations > EVALUATIONS_MAX {
        return Err(QueryError::Limit {
            limit: "backtest_evaluations_max",
            message: format!(
                "{evaluations} evaluations of rules, {EVALUATIONS_MAX} are the most; choose a shorter range than {}, or fewer rules",
                format_duration(options.to - options.from)
            ),
        });
    }
    let produced = Produced::by(engine.groups());
    let mut run = Run::new(&engine, source, promql, ctx, produced, options.to);
    let mut recorder = Recorder::new(&engine, options.from, options.to);
    run.perform(&mut engine, &mut recorder, first, now)?;
    recorder.observe(&engine);
    loop {
        let next = engine.next_wakeup(now).max(now + 1);
        if next > options.to {
            break;
        }
        now = next;
        ctx.check()?;
        let effects = engine.step(Event::Tick, now);
        run.perform(&mut engine, &mut recorder, effects, now)?;
        recorder.observe(&engine);
    }
    Ok(recorder.finish(&engine))
}

/// Answers of one expression on a grid.
struct Prefetched {
    start: i64,
    step: i64,
    moments: Vec<Vec<EvalSample>>,
}

struct Run<'a> {
    source: &'a dyn Queryable,
    promql: &'a promql::Engine,
    ctx: &'a QueryContext,
    produced: Produced,
    memory: Memory,
    /// Whether rules read alerts' own series: else they are not kept.
    alerts_read: bool,
    expressions: BTreeMap<String, Result<Parsed, String>>,
    intervals: BTreeMap<String, i64>,
    ready: BTreeMap<(String, String), Prefetched>,
    end: i64,
}

struct Parsed {
    expr: Expr,
    /// Whether it may read what the rules write: then it is evaluated moment by moment.
    reads_rules: bool,
}

impl<'a> Run<'a> {
    fn new(engine: &Engine, source: &'a dyn Queryable, promql: &'a promql::Engine, ctx: &'a QueryContext, produced: Produced, end: i64) -> Self {
        let interval = engine.options().evaluation_interval_ms;
        let parsed: Vec<Expr> = engine.groups().flat_map(|g| &g.rules).filter_map(|r| promql::parse(&r.expr).ok()).collect();
        let alerts_read = parsed.iter().any(|e| Produced::names_read(e, "ALERTS") || Produced::names_read(e, "ALERTS_FOR_STATE"));
        Self {
            source,
            promql,
            ctx,
            produced,
            memory: Memory::default(),
            alerts_read,
            expressions: BTreeMap::new(),
            intervals: engine.groups().map(|g| (g.key(), g.interval_ms(interval))).collect(),
            ready: BTreeMap::new(),
            end,
        }
    }

    /// Performs effects and those that follow from them, as the server would, at once.
    fn perform(&mut self, engine: &mut Engine, recorder: &mut Recorder, effects: Vec<Effect>, now: i64) -> Result<(), QueryError> {
        let mut queue: VecDeque<Vec<Effect>> = VecDeque::from([effects]);
        while let Some(effects) = queue.pop_front() {
            for effect in effects {
                match effect {
                    Effect::Evaluate(Evaluate { id, expr, at }) => {
                        let result = self.evaluate(&id, &expr, at)?;
                        queue.push_back(engine.step(Event::Evaluated { id, result }, now));
                    }
                    Effect::WriteSeries(samples) => {
                        samples.iter().filter(|s| self.alerts_read || !is_alert_series(s)).for_each(|s| self.memory.write(s));
                    }
                    Effect::Journal(entry) => recorder.journal(engine, &entry),
                    Effect::Send { delivery, .. } => {
                        recorder.message(engine, &delivery, now);
                        queue.push_back(engine.step(Event::Delivered { delivery }, now));
                    }
                    Effect::Persist(_) | Effect::Forget { .. } | Effect::RunStep(_) => {}
                }
            }
        }
        Ok(())
    }

    /// A rule's query at a moment. An error that ends the backtest is one of the context's; the rest is the rule's.
    fn evaluate(&mut self, id: &QueryId, expr: &str, at: i64) -> Result<Result<Vec<EvalSample>, String>, QueryError> {
        let QueryId::Rule { group, gate, .. } = id else { return Ok(Err("events are not counted in a backtest".to_owned())) };
        if !self.expressions.contains_key(expr) {
            let parsed = promql::parse(expr).map(|e| Parsed { reads_rules: self.produced.read_by(&e), expr: e }).map_err(|e| e.to_string());
            self.expressions.insert(expr.to_owned(), parsed);
        }
        let parsed = match &self.expressions[expr] {
            Ok(parsed) => parsed,
            Err(why) => return Ok(Err(why.clone())),
        };
        let over = Overlay { below: self.source, above: &self.memory, produced: &self.produced };
        if parsed.reads_rules || gate.is_some() {
            return told(self.promql.instant(&over, &parsed.expr, at, self.ctx)).map(|answer| answer.and_then(|o| elements(o.value)));
        }
        let key = (group.clone(), expr.to_owned());
        let found = self.ready.get_mut(&key).and_then(|p| p.take(at));
        if let Some(samples) = found {
            return Ok(Ok(samples));
        }
        let step = self.intervals.get(group).copied().unwrap_or(60_000);
        let last = (at + (CHUNK_STEPS - 1) * step).min(self.end.max(at));
        let Ok(output) = told(self.promql.range(&over, &parsed.expr, at, last, step, self.ctx))? else {
            // One moment of many may be at fault: ask for this one alone.
            return told(self.promql.instant(&over, &parsed.expr, at, self.ctx)).map(|answer| answer.and_then(|o| elements(o.value)));
        };
        let mut fetched = Prefetched { start: at, step, moments: vec![Vec::new(); usize::try_from((last - at) / step + 1).unwrap_or(1)] };
        if let Value::Matrix(series) = output.value {
            for points in series {
                let numbers = points.times.iter().zip(&points.values).map(|(t, v)| (*t, *v, None));
                let histograms = points.histograms.iter().map(|(t, h)| (*t, 0.0, Some(Arc::clone(h))));
                for (time, value, histogram) in numbers.chain(histograms) {
                    if let Some(moment) = usize::try_from((time - at) / step).ok().and_then(|i| fetched.moments.get_mut(i)) {
                        moment.push(EvalSample { labels: (*points.labels).clone(), value, histogram });
                    }
                }
            }
        }
        let samples = fetched.take(at).unwrap_or_default();
        self.ready.insert(key, fetched);
        Ok(Ok(samples))
    }
}

impl Prefetched {
    /// The answer at a moment, once.
    fn take(&mut self, at: i64) -> Option<Vec<EvalSample>> {
        let after = at - self.start;
        if after < 0 || after % self.step != 0 {
            return None;
        }
        self.moments.get_mut(usize::try_from(after / self.step).ok()?).map(std::mem::take)
    }
}

/// What ends the whole, and what is one rule's own fault.
fn told<T>(result: Result<T, QueryError>) -> Result<Result<T, String>, QueryError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error @ (QueryError::Cancelled | QueryError::Timeout { .. } | QueryError::Limit { .. } | QueryError::Storage(_))) => Err(error),
        Err(error) => Ok(Err(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
