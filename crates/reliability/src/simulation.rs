//! Virtual time for tests: a traffic model, the real PromQL engine over samples in memory, the engine of this crate,
//! and a store and receiver that remember. Event driven: time jumps to whatever is due next.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use skopos_model::Labels;
use skopos_query::context::{QueryContext, QueryLimits};
use skopos_query::promql;

use crate::alerting::{EvalSample, elements, first_float};
use crate::effect::{Document, DocumentKind, Effect, Evaluate, JournalEntry};
use crate::engine::{Engine, EngineConfig, EngineOptions, Event};
use crate::memory::Memory;
use crate::runbooks::{Observation, RequestKind, StepOutcome};

pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// Error ratio and requests a second of Orders over time.
pub(crate) type Traffic = Box<dyn Fn(i64) -> (f64, f64)>;

pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) memory: Memory,
    pub(crate) engine: Engine,
    pub(crate) documents: BTreeMap<(DocumentKind, String), Document>,
    pub(crate) journal: Vec<JournalEntry>,
    /// When what body was sent where.
    pub(crate) sent: Vec<(i64, String, serde_json::Value)>,
    pub(crate) receiver_up: bool,
    /// When what action was called: traffic models look at it.
    pub(crate) actions: Rc<RefCell<Vec<(i64, String)>>>,
    traffic: Traffic,
    scrape_ms: i64,
    next_scrape: i64,
    good: f64,
    bad: f64,
}

impl World {
    pub(crate) fn new(options: EngineOptions, scrape_offset: i64, traffic: Traffic) -> Self {
        Self {
            now: 0,
            memory: Memory::default(),
            engine: Engine::new(options),
            documents: BTreeMap::new(),
            journal: Vec::new(),
            sent: Vec::new(),
            receiver_up: true,
            actions: Rc::default(),
            traffic,
            scrape_ms: 15_000,
            next_scrape: scrape_offset,
            good: 0.0,
            bad: 0.0,
        }
    }

    pub(crate) fn set_traffic(&mut self, traffic: Traffic) {
        self.traffic = traffic;
    }

    pub(crate) fn load(&mut self, config: EngineConfig) {
        self.event(Event::Loaded(Box::new(config)));
    }

    fn scrape(&mut self) {
        let at = self.next_scrape;
        let (errors, rate) = (self.traffic)(at);
        let requests = rate * self.scrape_ms as f64 / 1000.0;
        self.bad += requests * errors;
        self.good += requests * (1.0 - errors);
        for (status, value) in [("200", self.good), ("500", self.bad)] {
            let labels = Labels::new([("__name__", "http_requests_total"), ("job", "orders"), ("status", status)]);
            self.memory.append(&labels, at, value);
        }
        self.next_scrape += self.scrape_ms;
    }

    pub(crate) fn query(&self, expr: &str, at: i64) -> Result<Vec<EvalSample>, String> {
        let expr = promql::parse(expr).map_err(|e| e.to_string())?;
        #[allow(clippy::disallowed_methods, reason = "a query context wants a start; nothing in the simulation times out")]
        let ctx = QueryContext::new(QueryLimits::default(), Instant::now());
        let output = promql::Engine::default().instant(&self.memory, &expr, at, &ctx).map_err(|e| e.to_string())?;
        elements(output.value)
    }

    pub(crate) fn event(&mut self, event: Event) {
        let effects = self.engine.step(event, self.now);
        self.perform(effects);
    }

    pub(crate) fn perform(&mut self, effects: Vec<Effect>) {
        let mut queue = std::collections::VecDeque::new();
        let mut effects = Some(effects);
        while let Some(now_due) = effects.take() {
            for effect in now_due {
                match effect {
                    Effect::Evaluate(Evaluate { id, expr, at }) => {
                        let result = self.query(&expr, at);
                        queue.push_back(Event::Evaluated { id, result });
                    }
                    Effect::WriteSeries(samples) => {
                        samples.iter().for_each(|s| self.memory.write(s));
                    }
                    Effect::Persist(d) => {
                        self.documents.insert((d.kind, d.key.clone()), d);
                    }
                    Effect::Forget { kind, key } => {
                        self.documents.remove(&(kind, key));
                    }
                    Effect::Journal(entry) => self.journal.push(entry),
                    Effect::Send { delivery, request, .. } => {
                        if self.receiver_up {
                            let body = serde_json::from_str(&request.body).expect("JSON");
                            self.sent.push((self.now, request.url, body));
                            queue.push_back(Event::Delivered { delivery });
                        } else {
                            queue.push_back(Event::DeliveryFailed {
                                delivery,
                                error: "connection refused".into(),
                                retry: true,
                                retry_after_ms: None,
                            });
                        }
                    }
                    Effect::RunStep(request) => {
                        let result = match &request.request {
                            RequestKind::Promql { query } => self.query(query, self.now).and_then(|all| {
                                Ok(Observation { value: first_float(&all)?, count: Some(all.len() as u64), ..Observation::default() })
                            }),
                            RequestKind::Action { action, .. } => {
                                self.actions.borrow_mut().push((self.now, action.clone()));
                                Ok(Observation { status: Some(200), ..Observation::default() })
                            }
                            other => Err(format!("not simulated: {other:?}")),
                        };
                        let outcome = StepOutcome { duration_ms: 20, result };
                        queue.push_back(Event::StepFinished { run: request.run, step: request.step, outcome });
                    }
                }
            }
            effects = queue.pop_front().map(|event| self.engine.step(event, self.now));
        }
    }

    /// Runs until `end`.
    pub(crate) fn run(&mut self, end: i64) {
        loop {
            let due = self.engine.next_wakeup(self.now).max(self.now);
            let next = due.min(self.next_scrape);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            if self.next_scrape <= self.now {
                self.scrape();
            }
            if due <= self.now {
                self.event(Event::Tick);
            }
        }
    }

    /// Fills history without evaluating.
    pub(crate) fn history(&mut self, end: i64) {
        while self.next_scrape <= end {
            self.scrape();
        }
        self.now = end;
    }

    /// A new process over the same store and samples.
    pub(crate) fn restart(&mut self, options: EngineOptions, config: EngineConfig) {
        let (engine, faults) = Engine::restore(options, self.documents.values().cloned(), self.now);
        assert!(faults.is_empty(), "{faults:?}");
        self.engine = engine;
        self.load(config);
    }

    /// The timeline, for messages of failing tests.
    pub(crate) fn journal_text(&self) -> String {
        self.journal.iter().map(|e| format!("{} {} {} {}\n", e.at, e.kind, e.reference, e.text)).collect()
    }

    /// When an alert first had a journal entry of this kind at or after `from`.
    pub(crate) fn when(&self, kind: &str, from: i64) -> Option<i64> {
        self.journal.iter().find(|e| e.source == "alerting" && e.kind == kind && e.at >= from).map(|e| e.at)
    }
}
