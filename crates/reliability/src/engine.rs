//! Ties it together: events in, effects out. The server calls [`Engine::step`] from one place and performs the
//! effects in order; that is all the concurrency there is to reason about.

pub(crate) mod drills;
mod runs;

use std::collections::BTreeMap;

use skopos_model::Labels;

use crate::alerting::{
    AlertPhase, AlertUpdate, EvalContext, EvalSample, Evaluation, RuleHealth, RuleState, Transition, evaluate_alerts, evaluate_recording,
    fingerprint, first_float, restore_alerts,
};
use crate::drill::{DrillScope, DrillSpan};
use crate::effect::{Document, DocumentKind, Effect, Evaluate, JournalEntry, QueryId};
use crate::notify::DRILL_LABEL;
use crate::notify::{Dispatcher, Routing};
use crate::rules::{Rule, RuleGroup, RuleKind, RuleSource};
use crate::runbooks::{Actions, Run, Runbook, StepOutcome};
use crate::slo::{BUCKET_MS, EventCount, Slo, SloCounts, apply_gate, burn_rules};

/// Settings of the engine. Durations in milliseconds.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Interval of groups that state none.
    pub evaluation_interval_ms: i64,
    /// Shortest time between two messages to the notifier about the same alert.
    pub resend_delay_ms: i64,
    /// How far back rules look when their group does not say.
    pub query_offset_ms: i64,
    /// Labels that tell this installation from others, for templates.
    pub external_labels: Labels,
    /// Where people reach this installation.
    pub external_url: String,
    /// Spreads repeated attempts.
    pub seed: u64,
    /// How often SLO events are counted.
    pub slo_count_interval_ms: i64,
    /// How long to wait for an answer to a query before it counts as failed.
    pub query_timeout_ms: i64,
    /// Whether verify steps of an alert's runbook run by themselves when it fires.
    pub auto_verify: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            evaluation_interval_ms: 60_000,
            resend_delay_ms: 60_000,
            query_offset_ms: 0,
            external_labels: Labels::default(),
            external_url: String::new(),
            seed: 0,
            slo_count_interval_ms: 60_000,
            query_timeout_ms: 150_000,
            auto_verify: true,
        }
    }
}

/// Rules, SLOs and routes in force.
#[derive(Debug, Clone, Default)]
pub struct EngineConfig {
    /// Groups of rule files, imported and native.
    pub groups: Vec<RuleGroup>,
    /// SLOs: their alerts are generated here.
    pub slos: Vec<Slo>,
    /// Routes.
    pub routing: Routing,
    /// Runbooks.
    pub runbooks: Vec<Runbook>,
    /// Actions runbooks may call.
    pub actions: Actions,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// New configuration.
    Loaded(Box<EngineConfig>),
    /// Time went on. To be sent at [`Engine::next_wakeup`] or, simpler, every 100 ms or so.
    Tick,
    /// A query asked for by [`Effect::Evaluate`] was run.
    Evaluated {
        /// As asked.
        id: QueryId,
        /// Elements, a scalar being one without labels; or why it failed.
        result: Result<Vec<EvalSample>, String>,
    },
    /// A message was taken (HTTP 2xx).
    Delivered {
        /// As asked.
        delivery: String,
    },
    /// A message was not taken.
    DeliveryFailed {
        /// As asked.
        delivery: String,
        /// What happened.
        error: String,
        /// Whether another attempt may help: no answer, 429, 5xx.
        retry: bool,
        /// `Retry-After`, milliseconds.
        retry_after_ms: Option<i64>,
    },
    /// A runbook step was performed.
    StepFinished {
        /// Run.
        run: String,
        /// Step.
        step: String,
        /// What came of it.
        outcome: StepOutcome,
    },
    /// A drill is about to put its fault in place.
    DrillBegan {
        /// Drill.
        id: String,
        /// What it breaks.
        scope: DrillScope,
    },
    /// A drill took its fault back.
    DrillEnded {
        /// Drill.
        id: String,
    },
}

/// A group of rules and where its evaluation stands.
#[derive(Debug)]
pub(crate) struct GroupRun {
    pub(crate) group: RuleGroup,
    /// The group's key, made once: it is compared for every answer.
    key: String,
    pub(crate) keys: Vec<String>,
    /// Moment of the evaluation last begun.
    slot: Option<i64>,
    running: Option<Running>,
    pub(crate) evaluated_at: Option<i64>,
    pub(crate) duration_ms: i64,
    pub(crate) missed: u64,
}

/// An evaluation under way.
#[derive(Debug)]
struct Running {
    at: i64,
    rule: usize,
    gate: Option<Gate>,
    started: i64,
    asked: i64,
}

/// The elements of a page rule wait while its traffic is counted.
#[derive(Debug)]
struct Gate {
    result: Vec<EvalSample>,
    /// Bad and total of each window in turn.
    answers: Vec<Option<f64>>,
}

/// An SLO and its counts.
#[derive(Debug)]
pub(crate) struct SloRun {
    pub(crate) slo: Slo,
    pub(crate) counts: SloCounts,
    pub(crate) invalid: Option<String>,
    counted_at: Option<i64>,
    bad: Option<(i64, f64)>,
}

/// Alerting, SLOs and notification. See the module.
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
    pub(crate) groups: Vec<GroupRun>,
    pub(crate) states: BTreeMap<String, RuleState>,
    pub(crate) slos: Vec<SloRun>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) runbooks: Vec<Runbook>,
    pub(crate) actions: Actions,
    pub(crate) runs: BTreeMap<String, Run>,
    drills: BTreeMap<String, DrillSpan>,
    orphan_counts: BTreeMap<String, SloCounts>,
    restored_at: Option<i64>,
}

impl Engine {
    /// An engine without rules.
    pub fn new(options: EngineOptions) -> Self {
        let dispatcher = Dispatcher::new(options.external_url.clone(), options.seed);
        Self {
            options,
            groups: Vec::new(),
            states: BTreeMap::new(),
            slos: Vec::new(),
            dispatcher,
            runbooks: Vec::new(),
            actions: Actions::default(),
            runs: BTreeMap::new(),
            drills: BTreeMap::new(),
            orphan_counts: BTreeMap::new(),
            restored_at: None,
        }
    }

    /// An engine that continues from the documents of a former life. Send [`Event::Loaded`] next. Returns what could
    /// not be read besides.
    pub fn restore(options: EngineOptions, documents: impl IntoIterator<Item = Document>, now: i64) -> (Self, Vec<String>) {
        let mut engine = Self::new(options);
        let mut faults = Vec::new();
        for document in documents {
            if let Err(error) = engine.restore_one(&document, now) {
                faults.push(format!("{} `{}`: {error}", document.kind.as_str(), document.key));
            }
        }
        engine.restored_at = Some(now);
        (engine, faults)
    }

    fn restore_one(&mut self, document: &Document, now: i64) -> Result<(), serde_json::Error> {
        match document.kind {
            DocumentKind::RuleState => {
                self.states.insert(document.key.clone(), serde_json::from_value(document.json.clone())?);
            }
            DocumentKind::SloCount => {
                if let Some((slo, bucket)) = document.key.rsplit_once('/')
                    && let Ok(bucket) = bucket.parse()
                {
                    let count: EventCount = serde_json::from_value(document.json.clone())?;
                    self.orphan_counts.entry(slo.to_owned()).or_default().set(bucket, count);
                }
            }
            DocumentKind::NotifyGroup | DocumentKind::NotifyLog | DocumentKind::Delivery => self.dispatcher.restore(document, now)?,
            DocumentKind::Run => {
                let run: Run = serde_json::from_value(document.json.clone())?;
                self.runs.insert(run.id.clone(), run);
            }
            DocumentKind::DrillSpan => {
                self.drills.insert(document.key.clone(), serde_json::from_value(document.json.clone())?);
            }
            // The server's, who plays them.
            DocumentKind::Drill => {}
        }
        Ok(())
    }

    /// Settings in force.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Sets where people reach this installation, once the server knows its address.
    pub fn set_external_url(&mut self, url: impl Into<String>) {
        let url = url.into();
        self.dispatcher.set_external_url(url.clone());
        self.options.external_url = url;
    }

    /// The notifier's part.
    pub fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// Takes an event; returns what has to be done for it, in order.
    pub fn step(&mut self, event: Event, now: i64) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Loaded(config) => self.load(*config, now, &mut effects),
            Event::Tick => {}
            Event::Evaluated { id, result } => self.evaluated(id, result, now, &mut effects),
            Event::Delivered { delivery } => self.dispatcher.delivered(&delivery, now, &mut effects),
            Event::DeliveryFailed { delivery, error, retry, retry_after_ms } => {
                self.dispatcher.failed(&delivery, &error, retry, retry_after_ms, now, &mut effects)
            }
            Event::StepFinished { run, step, outcome } => self.step_finished(&run, &step, outcome, now, &mut effects),
            Event::DrillBegan { id, scope } => self.drill_began(&id, scope, now, &mut effects),
            Event::DrillEnded { id } => self.drill_ended(&id, now, &mut effects),
        }
        self.expire_steps(now, &mut effects);
        self.begin_due(now, &mut effects);
        self.count_due(now, &mut effects);
        self.dispatcher.tick(now, &mut effects);
        self.settle_drills(now, &mut effects);
        self.mark_journal(&mut effects);
        effects
    }

    /// When [`Event::Tick`] is due next.
    pub fn next_wakeup(&self, now: i64) -> i64 {
        let interval = self.options.evaluation_interval_ms;
        let groups = self.groups.iter().map(|g| match &g.running {
            Some(running) => running.asked + self.options.query_timeout_ms,
            None => g.slot.map_or(now, |slot| slot + g.group.interval_ms(interval)),
        });
        let counts = self.slos.iter().map(|s| s.counted_at.map_or(now, |at| at + self.options.slo_count_interval_ms));
        let steps = self.runs.values().filter_map(Run::next_deadline);
        groups
            .chain(counts)
            .chain(steps)
            .chain(self.drills_wakeup().filter(|at| *at > now))
            .chain(self.dispatcher.next_wakeup())
            .min()
            .unwrap_or(now + interval)
    }

    fn load(&mut self, config: EngineConfig, now: i64, effects: &mut Vec<Effect>) {
        self.runbooks = config.runbooks;
        self.actions = config.actions;
        if self.restored_at.is_some() {
            self.interrupt_steps(now, effects);
        }
        let mut groups = config.groups;
        groups.extend(config.slos.iter().map(burn_rules));
        let mut before: BTreeMap<String, GroupRun> = std::mem::take(&mut self.groups).into_iter().map(|g| (g.group.key(), g)).collect();
        let mut former_rules: BTreeMap<String, Rule> = BTreeMap::new();
        for run in before.values() {
            former_rules.extend(run.keys.iter().cloned().zip(run.group.rules.iter().cloned()));
        }
        self.groups = groups
            .into_iter()
            .map(|group| {
                let keys = group.rule_keys();
                let former = before.remove(&group.key());
                // A slot that has begun is not begun again; an evaluation under way is dropped, its answer ignored.
                let slot = former.as_ref().and_then(|f| f.slot).filter(|slot| *slot >= group.slot(now, self.options.evaluation_interval_ms));
                GroupRun {
                    key: group.key(),
                    keys,
                    slot,
                    running: None,
                    evaluated_at: former.as_ref().and_then(|f| f.evaluated_at),
                    duration_ms: former.map_or(0, |f| f.duration_ms),
                    missed: 0,
                    group,
                }
            })
            .collect();
        self.dispatcher.set_routing(config.routing, now, effects);
        let mut known: BTreeMap<&str, &Rule> = BTreeMap::new();
        for run in &self.groups {
            known.extend(run.keys.iter().map(String::as_str).zip(&run.group.rules));
        }
        let restored = self.restored_at.take();
        let mut gone = Vec::new();
        for (key, state) in &mut self.states {
            match known.get(key.as_str()) {
                Some(rule) => {
                    if let (Some(restored), Some(alerting)) = (restored, rule.alerting()) {
                        restore_alerts(alerting, state, restored);
                    }
                }
                None => gone.push(key.clone()),
            }
        }
        for key in gone {
            let Some(state) = self.states.remove(&key) else { continue };
            self.end_rule(&key, &state, former_rules.get(&key), now, effects);
        }
        let mut counts: BTreeMap<String, SloCounts> = std::mem::take(&mut self.orphan_counts);
        counts.extend(std::mem::take(&mut self.slos).into_iter().map(|s| (s.slo.id, s.counts)));
        self.slos = config
            .slos
            .into_iter()
            .map(|slo| SloRun { counts: counts.remove(&slo.id).unwrap_or_default(), slo, invalid: None, counted_at: None, bad: None })
            .collect();
    }

    /// A rule is gone: its alerts are over, its series end.
    fn end_rule(&mut self, key: &str, state: &RuleState, rule: Option<&Rule>, now: i64, effects: &mut Vec<Effect>) {
        let series = state
            .written
            .iter()
            .map(|labels| crate::alerting::SeriesSample::number(labels.clone(), now, crate::alerting::STALE_NAN))
            .collect::<Vec<_>>();
        if !series.is_empty() {
            effects.push(Effect::WriteSeries(series));
        }
        for alert in state.alerts.values().filter(|a| a.phase == AlertPhase::Firing) {
            let mut annotations = alert.annotations.clone();
            annotations.extend(alert.drill.clone().map(|id| (DRILL_LABEL.to_owned(), id)));
            let update = AlertUpdate {
                labels: alert.labels.clone(),
                annotations,
                starts_at: alert.fired_at.unwrap_or(alert.active_at),
                ends_at: now,
                resolved: true,
                generator_url: rule.map(|r| crate::alerting::generator_url(&self.options.external_url, &r.expr)).unwrap_or_default(),
            };
            self.dispatcher.ingest(&update, now, effects);
            effects.push(journal(alert.labels.get("alertname").unwrap_or(""), &alert.labels, "resolved", "its rule was removed", now));
        }
        effects.push(Effect::Forget { kind: DocumentKind::RuleState, key: key.to_owned() });
    }

    /// Begins the evaluation of groups that are due.
    fn begin_due(&mut self, now: i64, effects: &mut Vec<Effect>) {
        let options = self.options.clone();
        for index in 0..self.groups.len() {
            let run = &mut self.groups[index];
            let slot = run.group.slot(now, options.evaluation_interval_ms);
            if let Some(running) = &run.running {
                if now - running.asked >= options.query_timeout_ms {
                    let id = QueryId::Rule {
                        group: run.key.clone(),
                        rule: running.rule,
                        at: running.at,
                        gate: running.gate.as_ref().map(|g| g.answers.len()),
                    };
                    self.evaluated(id, Err(format!("no answer within {} ms", options.query_timeout_ms)), now, effects);
                } else if run.slot.is_some_and(|s| slot > s) {
                    run.slot = Some(slot);
                    run.missed += 1;
                }
                continue;
            }
            if run.slot.is_some_and(|s| slot <= s) {
                continue;
            }
            run.slot = Some(slot);
            if run.group.rules.is_empty() {
                run.evaluated_at = Some(slot);
                continue;
            }
            run.running = Some(Running { at: slot, rule: 0, gate: None, started: now, asked: now });
            self.ask(index, now, effects);
        }
    }

    /// Asks for the query the running evaluation of a group needs next.
    fn ask(&mut self, index: usize, now: i64, effects: &mut Vec<Effect>) {
        let run = &mut self.groups[index];
        let Some(running) = &mut run.running else { return };
        running.asked = now;
        let rule = &run.group.rules[running.rule];
        let (expr, gate) = match (&running.gate, rule.alerting().and_then(|a| a.gate.as_ref())) {
            (Some(waiting), Some(gate)) => {
                let n = waiting.answers.len();
                let window = &gate.windows[n / 2];
                (if n % 2 == 0 { &window.bad } else { &window.total }, Some(n))
            }
            _ => (&rule.expr, None),
        };
        let offset = run.group.query_offset_ms.unwrap_or(self.options.query_offset_ms);
        let id = QueryId::Rule { group: run.key.clone(), rule: running.rule, at: running.at, gate };
        effects.push(Effect::Evaluate(Evaluate { id, expr: expr.clone(), at: running.at - offset }));
    }

    fn evaluated(&mut self, id: QueryId, result: Result<Vec<EvalSample>, String>, now: i64, effects: &mut Vec<Effect>) {
        match id {
            QueryId::Rule { group, rule, at, gate } => {
                let Some(index) = self.groups.iter().position(|g| g.key == group) else { return };
                let expected = self.groups[index].running.as_ref().map(|r| (r.at, r.rule, r.gate.as_ref().map(|g| g.answers.len())));
                if expected != Some((at, rule, gate)) {
                    return;
                }
                self.rule_evaluated(index, result, now, effects);
            }
            QueryId::SloCount { slo, bucket, total } => self.counted(&slo, bucket, total, result, effects),
        }
    }

    fn rule_evaluated(&mut self, index: usize, result: Result<Vec<EvalSample>, String>, now: i64, effects: &mut Vec<Effect>) {
        let run = &mut self.groups[index];
        let Some(running) = &mut run.running else { return };
        let rule = &run.group.rules[running.rule];
        let gate = rule.alerting().and_then(|a| a.gate.as_ref());
        let result = match (&mut running.gate, gate, result) {
            (Some(waiting), Some(gate), answer) => {
                // A count that cannot be had opens the gate: an alert too many is the lesser evil.
                waiting.answers.push(answer.and_then(|samples| first_float(&samples)).ok().flatten());
                if waiting.answers.len() < 2 * gate.windows.len() {
                    self.ask(index, now, effects);
                    return;
                }
                let counts: Vec<Option<EventCount>> = waiting
                    .answers
                    .chunks(2)
                    .map(|pair| Some(EventCount { bad: *pair.first()?.as_ref()?, total: *pair.get(1)?.as_ref()? }))
                    .collect();
                let elements = std::mem::take(&mut waiting.result);
                Ok(apply_gate(gate, elements, &counts))
            }
            (None, Some(_), Ok(samples)) if !samples.is_empty() => {
                running.gate = Some(Gate { result: samples, answers: Vec::new() });
                self.ask(index, now, effects);
                return;
            }
            (_, _, result) => result,
        };
        let took = now - running.asked;
        self.apply(index, result, effects, now);
        let run = &self.groups[index];
        if let Some(state) = run.running.as_ref().and_then(|r| run.keys.get(r.rule)).and_then(|key| self.states.get_mut(key)) {
            state.duration_ms = took;
        }
        let run = &mut self.groups[index];
        let Some(running) = &mut run.running else { return };
        running.gate = None;
        running.rule += 1;
        if running.rule < run.group.rules.len() {
            self.ask(index, now, effects);
            return;
        }
        run.evaluated_at = Some(running.at);
        run.duration_ms = now - running.started;
        run.running = None;
    }

    /// Takes a rule's result into its state.
    fn apply(&mut self, index: usize, result: Result<Vec<EvalSample>, String>, effects: &mut Vec<Effect>, now: i64) {
        let run = &self.groups[index];
        let Some(running) = &run.running else { return };
        let (rule, key) = (&run.group.rules[running.rule], &run.keys[running.rule]);
        let state = self.states.entry(key.clone()).or_default();
        let ctx = EvalContext {
            at: running.at,
            query_offset_ms: run.group.query_offset_ms.unwrap_or(self.options.query_offset_ms),
            interval_ms: run.group.interval_ms(self.options.evaluation_interval_ms),
            resend_delay_ms: self.options.resend_delay_ms,
            limit: run.group.limit,
            external_labels: &self.options.external_labels,
            external_url: &self.options.external_url,
        };
        let had_alerts = !state.alerts.is_empty();
        let former: Vec<Labels> = state.alerts.values().filter(|a| a.phase == AlertPhase::Firing).map(|a| a.labels.clone()).collect();
        let outcome = match result {
            Err(error) => {
                let changed = state.error.as_deref() != Some(error.as_str());
                state.health = RuleHealth::Err;
                state.error = Some(error.clone());
                if changed {
                    effects.push(rule_failed(rule, key, &error, now));
                }
                return;
            }
            Ok(samples) => match &rule.kind {
                RuleKind::Alerting(alerting) => evaluate_alerts(rule, alerting, state, &samples, &ctx),
                RuleKind::Recording => evaluate_recording(rule, state, &samples, &ctx),
            },
        };
        let evaluation = match outcome {
            Ok(evaluation) => evaluation,
            Err(error) => {
                effects.push(rule_failed(rule, key, &error, now));
                if state.alerts.is_empty() {
                    // The limit dropped them all: who was told has to be told that they are over.
                    for labels in former {
                        let update = AlertUpdate {
                            labels,
                            annotations: BTreeMap::new(),
                            starts_at: running.at,
                            ends_at: running.at,
                            resolved: true,
                            generator_url: String::new(),
                        };
                        self.dispatcher.ingest(&update, now, effects);
                    }
                }
                return;
            }
        };
        let Evaluation { series, mut transitions, updates } = evaluation;
        if !self.drills.is_empty() {
            for t in transitions.iter_mut().filter(|t| t.drill.is_none()) {
                t.drill = self.states.get(key).and_then(|s| s.alerts.get(&t.fingerprint)).and_then(|a| a.drill.clone());
                if t.from.is_none() {
                    t.drill = self.drill_of(rule, &t.labels).map(str::to_owned);
                }
            }
        }
        let Some(state) = self.states.get_mut(key) else { return };
        for t in transitions.iter().filter(|t| t.from.is_none()) {
            if let Some(alert) = state.alerts.get_mut(&t.fingerprint) {
                alert.drill.clone_from(&t.drill);
            }
        }
        if !series.is_empty() {
            effects.push(Effect::WriteSeries(series));
        }
        if had_alerts || !state.alerts.is_empty() {
            effects.push(Effect::Persist(Document::new(DocumentKind::RuleState, key.as_str(), state)));
        }
        for t in &transitions {
            effects.push(transition_entry(rule, t, &state.alerts));
        }
        let page = rule.alerting().map(|a| &a.page);
        let runbook = page.and_then(|p| p.runbook.clone()).filter(|_| self.options.auto_verify);
        let fired: Vec<Labels> = transitions.into_iter().filter(|t| t.to == AlertPhase::Firing && runbook.is_some()).map(|t| t.labels).collect();
        for mut update in updates {
            if let Some(drill) = state.alerts.values().find(|a| a.labels == update.labels).and_then(|a| a.drill.clone()) {
                update.annotations.insert(DRILL_LABEL.to_owned(), drill);
            }
            if let Some(id) = page.and_then(|p| p.runbook.as_deref()) {
                update.annotations.insert("runbook_url".to_owned(), format!("{}/runbooks/{id}", self.options.external_url.trim_end_matches('/')));
            }
            for (name, value) in [("owner", page.and_then(|p| p.owner.as_ref())), ("impact", page.and_then(|p| p.impact.as_ref()))] {
                if let Some(value) = value {
                    update.annotations.entry(name.to_owned()).or_insert_with(|| value.clone());
                }
            }
            self.dispatcher.ingest(&update, now, effects);
        }
        for labels in fired {
            self.verify_by_itself(runbook.as_deref().unwrap_or(""), &labels, now, effects);
        }
    }

    /// Asks for the events of each SLO's present bucket, and once more of the one before when it has ended.
    fn count_due(&mut self, now: i64, effects: &mut Vec<Effect>) {
        let interval = self.options.slo_count_interval_ms.max(1_000);
        for run in &mut self.slos {
            if run.counted_at.is_some_and(|at| now < at + interval) {
                continue;
            }
            let bucket = SloCounts::bucket(now);
            let ended = run.counted_at.map(SloCounts::bucket).filter(|b| *b < bucket);
            run.counted_at = Some(now);
            for start in ended.into_iter().chain([bucket]) {
                // Whole seconds, and never an empty range.
                let end = (start + BUCKET_MS).min(now);
                let length = ((end - start) / 1_000).max(1) * 1_000;
                let (bad, total) = run.slo.indicator.counts(length, run.slo.budgeting);
                for (expr, is_total) in [(bad, false), (total, true)] {
                    let id = QueryId::SloCount { slo: run.slo.id.clone(), bucket: start, total: is_total };
                    effects.push(Effect::Evaluate(Evaluate { id, expr, at: start + length }));
                }
            }
        }
    }

    fn counted(&mut self, slo: &str, bucket: i64, is_total: bool, result: Result<Vec<EvalSample>, String>, effects: &mut Vec<Effect>) {
        let Some(run) = self.slos.iter_mut().find(|s| s.slo.id == slo) else { return };
        let one = |samples: Vec<EvalSample>| match samples.len() {
            0 | 1 => first_float(&samples),
            many => Err(format!("the indicator gives {many} elements; one was expected")),
        };
        let value = match result.and_then(one) {
            Ok(value) => value.unwrap_or(0.0),
            Err(error) => {
                run.invalid = Some(error);
                return;
            }
        };
        if !is_total {
            run.bad = Some((bucket, value));
            return;
        }
        let Some((_, bad)) = run.bad.take().filter(|(b, _)| *b == bucket) else { return };
        if value <= 0.0 || value.is_nan() {
            return;
        }
        // Extrapolation lets either be off by a few events; a ratio far out of range means a wrong query.
        if bad < -0.5 * value || bad > 1.5 * value {
            run.invalid = Some(format!("the indicator gives a ratio of {}: outside of 0 to 1", bad / value));
            return;
        }
        run.invalid = None;
        let count = EventCount { bad: bad.clamp(0.0, value), total: value };
        run.counts.set(bucket, count);
        effects.push(Effect::Persist(Document::new(DocumentKind::SloCount, format!("{slo}/{bucket}"), &count)));
        // The longest look back: the period, and the windows above it.
        let longest = run.slo.burn_windows.iter().map(|w| w.long_ms).fold(run.slo.window.length_ms(bucket), i64::max);
        for old in run.counts.forget_before(bucket - longest - BUCKET_MS) {
            effects.push(Effect::Forget { kind: DocumentKind::SloCount, key: format!("{slo}/{old}") });
        }
    }

    /// Counts of an SLO.
    pub fn slo_counts(&self, id: &str) -> Option<&SloCounts> {
        self.slos.iter().find(|s| s.slo.id == id).map(|s| &s.counts)
    }

    /// SLOs in force.
    pub fn slos(&self) -> impl Iterator<Item = &Slo> + '_ {
        self.slos.iter().map(|s| &s.slo)
    }

    /// Groups in force, generated ones included.
    pub fn groups(&self) -> impl Iterator<Item = &RuleGroup> + '_ {
        self.groups.iter().map(|g| &g.group)
    }

    /// State of the rule at a place of a group.
    pub fn rule_state(&self, group: &str, rule: usize) -> Option<&RuleState> {
        let run = self.groups.iter().find(|g| g.key == group)?;
        self.states.get(run.keys.get(rule)?)
    }

    /// States of all rules, in the order of the groups; none for one that was never evaluated.
    pub(crate) fn rule_states(&self) -> impl Iterator<Item = Option<&RuleState>> + '_ {
        self.groups.iter().flat_map(|g| &g.keys).map(|key| self.states.get(key))
    }

    /// How long the last evaluation of a group took, milliseconds.
    pub fn group_duration_ms(&self, group: &str) -> Option<i64> {
        self.groups.iter().find(|g| g.key == group).filter(|g| g.evaluated_at.is_some()).map(|g| g.duration_ms)
    }

    /// Why an SLO's indicator cannot be taken, if so.
    pub fn slo_invalid(&self, id: &str) -> Option<&str> {
        self.slos.iter().find(|s| s.slo.id == id)?.invalid.as_deref()
    }

    /// Alerts with their rules, pending and firing first to last known.
    pub(crate) fn alerts(&self) -> impl Iterator<Item = (&RuleGroup, &Rule, &crate::alerting::ActiveAlert)> + '_ {
        self.groups.iter().flat_map(move |run| {
            run.group.rules.iter().zip(&run.keys).flat_map(move |(rule, key)| {
                self.states.get(key).into_iter().flat_map(|s| s.alerts.values()).map(move |alert| (&run.group, rule, alert))
            })
        })
    }

    /// Latest moment at which every group had been evaluated, and how many rules fail.
    pub fn evaluation(&self) -> EvaluationStatus {
        let rules = self.groups.iter().map(|g| g.group.rules.len()).sum();
        let failing = self.groups.iter().flat_map(|g| &g.keys).filter(|k| self.states.get(*k).is_some_and(|s| s.health == RuleHealth::Err)).count();
        EvaluationStatus {
            last: self.groups.iter().filter_map(|g| g.evaluated_at).max(),
            oldest: self.groups.iter().map(|g| g.evaluated_at).min().flatten(),
            rules,
            failing,
            missed: self.groups.iter().map(|g| g.missed).sum(),
        }
    }
}

/// How evaluation goes. Times in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvaluationStatus {
    /// Latest evaluation of any group.
    pub last: Option<i64>,
    /// The group longest not evaluated; none while one never was.
    pub oldest: Option<i64>,
    /// Rules in force.
    pub rules: usize,
    /// Rules whose last evaluation failed.
    pub failing: usize,
    /// Evaluations skipped because the one before was still running.
    pub missed: u64,
}

fn rule_failed(rule: &Rule, key: &str, error: &str, at: i64) -> Effect {
    Effect::Journal(JournalEntry {
        at,
        source: "alerting".to_owned(),
        kind: "rule_failed".to_owned(),
        reference: key.to_owned(),
        service: None,
        text: format!("rule {} failed: {error}", rule.name),
        drill: None,
    })
}

fn transition_entry(rule: &Rule, t: &Transition, alerts: &BTreeMap<u64, crate::alerting::ActiveAlert>) -> Effect {
    let value = crate::template::format_g(t.value, Some(4));
    let summary = alerts.get(&t.fingerprint).and_then(|a| a.annotations.get("summary")).map(|s| format!(": {s}")).unwrap_or_default();
    let (kind, text) = match (t.from, t.to) {
        (_, AlertPhase::Pending) => ("pending", format!("{} is pending (value {value})", rule.name)),
        (_, AlertPhase::Firing) => ("firing", format!("{} fires (value {value}){summary}", rule.name)),
        (Some(AlertPhase::Firing), AlertPhase::Inactive) => ("resolved", format!("{} is resolved", rule.name)),
        (_, AlertPhase::Inactive) => ("inactive", format!("{} is no longer pending", rule.name)),
    };
    let text = if t.drill.is_some() { format!("{}{text}", drills::PREFIX) } else { text };
    let mut effect = journal_text(&t.labels, kind, text, t.at);
    if let Effect::Journal(entry) = &mut effect {
        entry.drill.clone_from(&t.drill);
    }
    effect
}

fn journal(name: &str, labels: &Labels, kind: &str, why: &str, at: i64) -> Effect {
    journal_text(labels, kind, format!("{name} is {kind}: {why}"), at)
}

fn journal_text(labels: &Labels, kind: &str, text: String, at: i64) -> Effect {
    Effect::Journal(JournalEntry {
        at,
        source: "alerting".to_owned(),
        kind: kind.to_owned(),
        reference: format!("{:016x}", fingerprint(labels)),
        service: labels.get("service").map(str::to_owned),
        text,
        drill: None,
    })
}

/// Whether a rule comes from an SLO, our own files, or Prometheus'.
pub(crate) fn source_name(source: RuleSource) -> &'static str {
    match source {
        RuleSource::Slo => "slo",
        RuleSource::Native => "native",
        RuleSource::Prometheus => "prometheus",
    }
}

#[cfg(test)]
mod tests;
