//! The host of the reliability engine: feeds it events, performs its effects, and answers what pages ask of it.
//!
//! One task steps the engine, so there is no concurrency to reason about: events come over a bounded channel,
//! effects are performed in order, and what has to survive is durable before anything is sent.

pub(crate) mod actions;
pub(crate) mod lookback;
mod perform;
mod runs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use skopos_model::Clock;
use skopos_reliability::effect::{Document, DocumentKind};
use skopos_reliability::engine::{Engine, EngineOptions, Event};
use skopos_reliability::rules::is_page;
use skopos_reliability::view::{AlertView, RunbookSummaryView, SloSummaryView};
use skopos_storage::{StateStore, StorageError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::Loaded;

/// Most events that wait for the engine; who brings one waits when it is full.
const EVENTS_MAX: usize = 4_096;
/// Longest the engine is left alone.
const TICK_MAX: Duration = Duration::from_millis(500);

/// The engine and its door.
pub struct Reliability {
    engine: Mutex<Engine>,
    events: mpsc::Sender<Letter>,
    inbox: Mutex<Option<mpsc::Receiver<Letter>>>,
    clock: Arc<dyn Clock>,
}

/// An event for the engine, and who waits until its effects are performed.
#[derive(Debug)]
struct Letter {
    event: Event,
    done: Option<oneshot::Sender<()>>,
}

impl std::fmt::Debug for Reliability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reliability")
    }
}

/// What a service's page wants to know.
#[derive(Debug, Clone, Default)]
pub struct ServiceFacts {
    /// Who owns it, as its SLOs, rules or runbooks say.
    pub owner: Option<String>,
    /// Worst remaining budget of its SLOs, as a share.
    pub budget_remaining: Option<f64>,
    /// Alerts firing now, pages first.
    pub firing: Vec<FiringAlert>,
}

/// A firing alert in brief.
#[derive(Debug, Clone)]
pub struct FiringAlert {
    /// Name.
    pub name: String,
    /// Severity label.
    pub severity: String,
    /// When it fired, Unix milliseconds.
    pub since_ms: i64,
}

impl Reliability {
    /// Continues from what a former life has persisted.
    ///
    /// # Errors
    /// When the documents cannot be read.
    pub async fn restore(state: &StateStore, config: &Loaded, clock: Arc<dyn Clock>) -> Result<Self, StorageError> {
        let mut documents = Vec::new();
        for kind in DocumentKind::ALL {
            for d in state.list(kind.as_str()).await? {
                documents.push(Document { kind, key: d.key, json: d.body });
            }
        }
        let (engine, faults) = Engine::restore(options(config), documents, clock.now_millis());
        for fault in faults {
            tracing::warn!(fault, "a persisted document could not be read and is left out");
        }
        let (events, inbox) = mpsc::channel(EVENTS_MAX);
        Ok(Self { engine: Mutex::new(engine), events, inbox: Mutex::new(Some(inbox)), clock })
    }

    /// Steps the engine until told to stop. [`Reliability::configure`] gives it its rules.
    pub async fn run(app: Arc<App>, stop: CancellationToken) {
        let Some(mut inbox) = app.reliability.inbox.lock().take() else { return };
        app.reliability.engine.lock().set_external_url(app.base_url());
        loop {
            let now = app.clock.now_millis();
            let wait = app.reliability.engine.lock().next_wakeup(now) - now;
            let wait = Duration::from_millis(wait.clamp(1, 500).unsigned_abs()).min(TICK_MAX);
            let tick = Letter { event: Event::Tick, done: None };
            let Letter { event, done } = tokio::select! {
                letter = inbox.recv() => letter.unwrap_or(tick),
                () = tokio::time::sleep(wait) => tick,
                () = stop.cancelled() => return,
            };
            let effects = app.reliability.engine.lock().step(event, app.clock.now_millis());
            perform::all(&app, effects).await;
            if let Some(done) = done {
                // Who asked may have gone away.
                let _ = done.send(());
            }
        }
    }

    /// Puts the configuration in force; returns when it is.
    pub async fn configure(&self, app: &Arc<App>) {
        self.send_and_wait(Event::Loaded(Box::new(app.config.get().engine.clone()))).await;
    }

    /// Hands an event to the engine; returns when its effects are performed and what it persists is durable.
    pub async fn send_and_wait(&self, event: Event) {
        let (done, performed) = oneshot::channel();
        if self.events.send(Letter { event, done: Some(done) }).await.is_ok() {
            // An error says that the server stops: then no rule matters any more.
            let _ = performed.await;
        }
    }

    /// Hands an event to the engine; waits while too many wait.
    pub async fn send(&self, event: Event) {
        // The receiver lives as long as the server; afterwards nobody needs the event.
        let _ = self.events.send(Letter { event, done: None }).await;
    }

    /// Runs `f` on the engine as it is now.
    pub fn with_engine<R>(&self, f: impl FnOnce(&Engine) -> R) -> R {
        f(&self.engine.lock())
    }

    /// Alerts of a service, or all, the gravest first.
    pub fn alerts_of(&self, service: Option<&str>) -> Vec<AlertView> {
        let mut all = self.with_engine(|e| e.alert_views(self.clock.now_millis()));
        all.retain(|a| service.is_none_or(|s| a.service.as_deref() == Some(s)));
        all
    }

    /// SLOs of a service, or all.
    pub fn slos_of(&self, service: Option<&str>) -> Vec<SloSummaryView> {
        let mut all = self.with_engine(|e| e.slo_views(self.clock.now_millis()));
        all.retain(|slo| service.is_none_or(|s| slo.service == s));
        all
    }

    /// Runbooks of a service, or all.
    pub fn runbooks_of(&self, service: Option<&str>) -> Vec<RunbookSummaryView> {
        let mut all = self.with_engine(|e| e.runbook_views("", self.clock.now_millis()));
        all.retain(|r| service.is_none_or(|s| r.service.as_deref() == Some(s)));
        all
    }

    /// What the pages of services want to know, by service; one without SLO and alert is not in it.
    pub fn service_facts(&self) -> BTreeMap<String, ServiceFacts> {
        let mut facts: BTreeMap<String, ServiceFacts> = BTreeMap::new();
        for slo in self.slos_of(None) {
            let of = facts.entry(slo.service).or_default();
            of.owner = of.owner.take().or(slo.owner);
            of.budget_remaining = match (of.budget_remaining, slo.budget_remaining) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        for alert in self.alerts_of(None) {
            let (firing, since_ms) = (alert.is_firing(), alert.since_ms());
            let Some(service) = alert.service else { continue };
            let of = facts.entry(service).or_default();
            of.owner = of.owner.take().or(alert.owner);
            if firing {
                of.firing.push(FiringAlert { name: alert.name, severity: alert.severity, since_ms });
            }
        }
        for of in facts.values_mut() {
            of.firing.sort_by_key(|a| (!is_page(&a.severity), a.since_ms));
        }
        facts
    }

    /// How evaluation goes, for the status page. `now`: Unix nanoseconds.
    pub fn evaluation_status(&self, now: i64) -> Value {
        let status = self.with_engine(Engine::evaluation);
        let lag = status.oldest.map_or(0.0, |at| (now / 1_000_000 - at).max(0) as f64 / 1000.0);
        json!({
            "last": status.last.map(|at| (at * 1_000_000).to_string()),
            "lag_seconds": lag, "rules": status.rules, "failing": status.failing, "missed": status.missed,
        })
    }
}

/// The engine's settings from the configuration.
fn options(config: &Loaded) -> EngineOptions {
    EngineOptions {
        evaluation_interval_ms: i64::try_from(config.file.evaluation_interval_seconds.max(1)).unwrap_or(15) * 1000,
        slo_count_interval_ms: 10_000,
        external_url: config.file.external_url.clone().unwrap_or_default(),
        // Spreads retries of several installations; repeatable within one.
        seed: config.path.as_ref().map_or(0, |p| skopos_model::Labels::new([("path", p.to_string_lossy())]).stable_hash()),
        ..EngineOptions::default()
    }
}
