//! The checks of a process, run in the background, and the three answers made of them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use super::check::{CheckFailure, CheckOptions, CheckState};
use crate::metrics::{CounterFamily, DURATION_SECONDS, GaugeFamily, HistogramFamily, MetricOptions};
use crate::telemetry::Telemetry;

/// How often the process shows that it makes progress.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// A heartbeat that is this late means that the process hangs.
const HEARTBEAT_LATE: Duration = Duration::from_secs(10);

/// The health of a process; cheap to clone. Its tasks end with the last clone.
#[derive(Debug, Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    checks: Mutex<Vec<Arc<Check>>>,
    started: AtomicBool,
    draining: AtomicBool,
    fatal: Mutex<Option<String>>,
    heartbeat: Mutex<Instant>,
    status: GaugeFamily,
    duration: HistogramFamily,
    transitions: CounterFamily,
}

#[derive(Debug)]
struct Check {
    name: String,
    options: CheckOptions,
    state: Mutex<CheckState>,
}

/// The word of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    Pass,
    /// Something optional fails.
    Warn,
    /// Not alive, not ready or not started.
    Fail,
}

/// An answer to a probe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether the answer is yes (HTTP 200) or no (503).
    pub ready: bool,
    /// The same, with a shade for what is degraded.
    pub status: Status,
    /// The checks behind it.
    pub checks: std::collections::BTreeMap<String, CheckReport>,
}

/// One check of a [`Report`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    /// Whether it passes.
    pub status: Status,
    /// Whether its failure makes the process not ready.
    pub critical: bool,
    /// How long the last run took.
    pub latency_ms: f64,
    /// How long ago the last run ended; `None` before the first.
    pub age_ms: Option<f64>,
    /// What kind of error the last failed run had.
    pub last_error_class: Option<&'static str>,
}

impl Health {
    /// Starts with no checks; call [`Self::set_started`] when the process is ready for its first request. Needs a
    /// tokio runtime.
    pub fn start(telemetry: &Telemetry) -> Self {
        let health = Self::new(telemetry);
        let weak = Arc::downgrade(&health.inner);
        tokio::spawn(async move {
            while let Some(inner) = weak.upgrade() {
                *inner.heartbeat.lock() = Instant::now();
                drop(inner);
                tokio::time::sleep(HEARTBEAT_EVERY).await;
            }
        });
        health
    }

    fn new(telemetry: &Telemetry) -> Self {
        let metrics = telemetry.metrics();
        let options = |help, unit, labels| MetricOptions { help, unit, labels, scrape_only: false };
        Self {
            inner: Arc::new(Inner {
                checks: Mutex::default(),
                started: AtomicBool::new(false),
                draining: AtomicBool::new(false),
                fatal: Mutex::default(),
                heartbeat: Mutex::new(Instant::now()),
                status: metrics
                    .gauge("health.check.status", options("1 passes, 0.5 an optional check fails, 0 a critical one fails.", "", &["check"])),
                duration: metrics.histogram("health.check.duration", options("Time of one run.", "s", &["check"]), DURATION_SECONDS),
                transitions: metrics.counter("health.check.transitions", options("Changes between passing and failing.", "", &["check", "to"])),
            }),
        }
    }

    /// Adds a check and runs it in the background from now on, never twice at a time.
    pub fn check<F, Fut, E>(&self, name: &str, options: CheckOptions, run: F)
    where
        F: Fn() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send,
        E: Into<CheckFailure>,
    {
        let check = self.add(name, options);
        let weak = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            while weak.strong_count() > 0 {
                let started = Instant::now();
                let result = match tokio::time::timeout(check.options.timeout, run()).await {
                    Ok(result) => result.map_err(Into::into),
                    Err(_) => Err(CheckFailure::new("timeout", format!("no answer within {} ms", check.options.timeout.as_millis()))),
                };
                let Some(inner) = weak.upgrade() else { return };
                inner.finish(&check, Instant::now(), started.elapsed(), result);
                drop(inner);
                tokio::time::sleep(check.options.pause(fastrand::f64())).await;
            }
        });
    }

    fn add(&self, name: &str, options: CheckOptions) -> Arc<Check> {
        let check = Arc::new(Check { name: name.to_owned(), options, state: Mutex::new(CheckState::new()) });
        let mut checks = self.inner.checks.lock();
        checks.retain(|known| known.name != name);
        checks.push(Arc::clone(&check));
        check
    }

    /// Migrations and warm-up are done. Cannot be taken back.
    pub fn set_started(&self) {
        self.inner.started.store(true, Ordering::Relaxed);
    }

    /// The process is about to stop: not ready any more, so that traffic goes elsewhere while it still serves.
    pub fn set_draining(&self) {
        self.inner.draining.store(true, Ordering::Relaxed);
    }

    /// The process cannot recover by itself: not alive any more, so that it is restarted.
    pub fn set_fatal(&self, reason: impl Into<String>) {
        let reason = reason.into();
        tracing::error!(reason, "the process reports itself dead and asks to be restarted");
        *self.inner.fatal.lock() = Some(reason);
    }

    /// Can the process make progress? Never asks about dependencies: a restart would not bring those back.
    pub fn liveness(&self, now: Instant) -> Report {
        let late = now.saturating_duration_since(*self.inner.heartbeat.lock()) > HEARTBEAT_LATE + HEARTBEAT_EVERY;
        let alive = !late && self.inner.fatal.lock().is_none();
        Report { ready: alive, status: if alive { Status::Pass } else { Status::Fail }, checks: Default::default() }
    }

    /// May the process receive traffic?
    pub fn readiness(&self, now: Instant) -> Report {
        let mut status = Status::Pass;
        let mut checks = std::collections::BTreeMap::new();
        for check in self.inner.checks.lock().iter() {
            let state = check.state.lock();
            let passes = state.passes(now, &check.options);
            let own = match (passes, check.options.critical) {
                (true, _) => Status::Pass,
                (false, true) => Status::Fail,
                (false, false) => Status::Warn,
            };
            status = match (status, own) {
                (Status::Fail, _) | (_, Status::Fail) => Status::Fail,
                (Status::Warn, _) | (_, Status::Warn) => Status::Warn,
                _ => Status::Pass,
            };
            let milliseconds = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
            checks.insert(
                check.name.clone(),
                CheckReport {
                    status: own,
                    critical: check.options.critical,
                    latency_ms: milliseconds(state.latency),
                    age_ms: state.age(now).map(milliseconds),
                    last_error_class: state.last_error_class,
                },
            );
        }
        if self.inner.draining.load(Ordering::Relaxed) || !self.inner.started.load(Ordering::Relaxed) {
            status = Status::Fail;
        }
        Report { ready: status != Status::Fail, status, checks }
    }

    /// Has the process started? Once yes, always yes.
    pub fn startup(&self) -> Report {
        let started = self.inner.started.load(Ordering::Relaxed);
        Report { ready: started, status: if started { Status::Pass } else { Status::Fail }, checks: Default::default() }
    }
}

impl Inner {
    fn finish(&self, check: &Check, now: Instant, latency: Duration, result: Result<(), CheckFailure>) {
        let class = result.as_ref().err().map(|failure| failure.class);
        let mut state = check.state.lock();
        let changed = state.finish(now, latency, &check.options, class);
        let passes = state.passes(now, &check.options);
        drop(state);
        let value = match (passes, check.options.critical) {
            (true, _) => 1.0,
            (false, false) => 0.5,
            (false, true) => 0.0,
        };
        self.status.with(&[&check.name]).set(value);
        self.duration.with(&[&check.name]).observe_duration(latency);
        if changed {
            self.transitions.increment(&[&check.name, if passes { "pass" } else { "fail" }]);
            match result {
                Ok(()) => tracing::info!(check = check.name, "health check passes"),
                Err(failure) => {
                    tracing::error!(
                        check = check.name,
                        critical = check.options.critical,
                        class = failure.class,
                        error = failure.detail,
                        "health check fails"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(health: &Health, check: &Check, now: Instant, error: Option<&'static str>) {
        health.inner.finish(check, now, Duration::ZERO, error.map_or(Ok(()), |class| Err(CheckFailure::new(class, "test"))));
    }

    #[test]
    fn a_dead_dependency_ends_readiness_but_not_life() {
        let telemetry = Telemetry::global();
        let health = Health::new(&telemetry);
        let now = Instant::now();
        let database = health.add("database", CheckOptions::critical());
        let search = health.add("search", CheckOptions::optional());
        finish(&health, &database, now, None);
        finish(&health, &search, now, None);
        assert!(!health.readiness(now).ready, "not started yet");
        assert!(!health.startup().ready);
        health.set_started();
        assert_eq!(health.readiness(now).status, Status::Pass);
        for _ in 0..2 {
            finish(&health, &search, now, Some("refused"));
        }
        let report = health.readiness(now);
        assert!(report.ready);
        assert_eq!((report.status, report.checks["search"].last_error_class), (Status::Warn, Some("refused")));
        for _ in 0..2 {
            finish(&health, &database, now, Some("timeout"));
        }
        assert_eq!(health.readiness(now).status, Status::Fail);
        assert!(health.liveness(now).ready && health.startup().ready);
        finish(&health, &database, now, None);
        assert_eq!(health.readiness(now).status, Status::Warn);
        health.set_draining();
        assert!(!health.readiness(now).ready);
        assert!(health.liveness(now).ready);
    }

    #[test]
    fn a_late_heartbeat_or_a_fatal_error_ends_life() {
        let health = Health::new(&Telemetry::global());
        let now = Instant::now();
        assert!(health.liveness(now + Duration::from_secs(10)).ready);
        assert!(!health.liveness(now + Duration::from_secs(12)).ready);
        health.set_fatal("out of file descriptors");
        assert!(!health.liveness(now).ready);
    }
}
