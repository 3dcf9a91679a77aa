//! Probes: services that are asked whether they live, are ready, have started, as Kubernetes asks its containers.
//!
//! What is asked stands in the configuration (`probes:`), as URLs or as the very snippet of a pod's manifest. Each
//! result is stored under the names of the Blackbox exporter; a service's page shows what the thresholds make of it.
//! A first, small part of synthetic monitoring: one location, this server.

mod check;
mod config;
mod state;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use check::Outcome;
pub(crate) use config::PROBES_MAX;
pub use config::{Check, NativeProbe, Probe, ProbeConfig, ProbeKind, Snippet};
pub use state::{ProbeState, Verdict};

use crate::app::App;

/// Longest a stop waits for probes that are under way.
const STOP_MAX: Duration = Duration::from_secs(3);

/// Service, question, instance.
type ProbeKey = (String, ProbeKind, String);

#[derive(Debug, Default)]
struct Running {
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The probes of the configuration in force, and what they found.
#[derive(Debug, Default)]
pub struct Probes {
    states: Mutex<BTreeMap<ProbeKey, (Probe, ProbeState)>>,
    running: Mutex<Running>,
}

/// A probe as `GET /v1/services/{name}` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct ProbeView {
    /// Which question it answers.
    pub probe: ProbeKind,
    /// `host:port` that is asked.
    pub instance: String,
    /// What is asked.
    pub target: String,
    /// What the thresholds make of the results.
    pub state: Verdict,
    /// Since when, Unix nanoseconds; `None` while nothing is known.
    pub since: Option<String>,
    /// Failures in a row up to now.
    pub failures: u32,
    /// Failures in a row that make it `down`.
    pub failure_threshold: u32,
    /// Seconds between two questions.
    pub interval_seconds: u64,
    /// The last result.
    pub last: Option<LastResult>,
}

/// A probe's last result.
#[derive(Debug, Clone, Serialize)]
pub struct LastResult {
    /// Unix nanoseconds.
    pub time: String,
    /// Whether it counts as success.
    pub success: bool,
    /// Seconds it took.
    pub seconds: f64,
    /// HTTP status, when one came.
    pub status_code: Option<u16>,
    /// Why it counts as it does.
    pub message: String,
}

impl Probes {
    /// Ends the probes of the former configuration and begins those of the one in force. A probe that stays keeps
    /// what it has found.
    pub fn restart(app: &Arc<App>) {
        let wanted = app.config.get().probes.clone();
        let mut running = app.probes.running.lock();
        running.stop.cancel();
        *running = Running::default();
        let mut states = app.probes.states.lock();
        let mut before = std::mem::take(&mut *states);
        for probe in wanted {
            let kept = before.remove(&probe.key()).filter(|(former, _)| *former == probe).map(|(_, state)| state);
            // What was asked before has started long ago.
            let delay = if kept.is_some() { Duration::ZERO } else { probe.initial_delay };
            states.insert(probe.key(), (probe.clone(), kept.unwrap_or_default()));
            running.tasks.spawn(task::run(Arc::clone(app), probe, delay, running.stop.clone()));
        }
    }

    /// Ends all probes; each writes the end of its series.
    pub async fn stop(&self) {
        let tasks = {
            let running = self.running.lock();
            running.stop.cancel();
            running.tasks.close();
            running.tasks.clone()
        };
        // What has not ended by then is cut off with the process.
        let _ = tokio::time::timeout(STOP_MAX, tasks.wait()).await;
    }

    /// Notes a result; gives what the thresholds make of it now, `None` when the probe is configured no longer.
    fn observe(&self, probe: &Probe, outcome: Outcome, at: i64) -> Option<Verdict> {
        let mut states = self.states.lock();
        let (known, state) = states.get_mut(&probe.key())?;
        if known != probe {
            return None;
        }
        let before = state.verdict();
        let after = state.observe(probe, outcome, at);
        let message = state.last().map_or("", |(_, o)| o.message.as_str());
        if before != after && after == Verdict::Down {
            tracing::warn!(service = probe.service, probe = probe.kind.as_str(), target = probe.check.to_string(), message, "a probe fails");
        } else if before == Verdict::Down && after == Verdict::Up {
            tracing::info!(service = probe.service, probe = probe.kind.as_str(), target = probe.check.to_string(), "a probe passes again");
        }
        Some(after)
    }

    /// Services that are probed.
    pub fn services(&self) -> BTreeSet<String> {
        self.states.lock().values().map(|(p, _)| p.service.clone()).collect()
    }

    /// The probes of a service: startup, liveness, readiness, each by instance.
    pub fn of(&self, service: &str) -> Vec<ProbeView> {
        let states = self.states.lock();
        let mut views: Vec<ProbeView> = states.values().filter(|(p, _)| p.service == service).map(|(p, s)| view(p, s)).collect();
        views.sort_by(|a, b| a.probe.cmp(&b.probe).then_with(|| a.target.cmp(&b.target)));
        views
    }
}

fn view(probe: &Probe, state: &ProbeState) -> ProbeView {
    ProbeView {
        probe: probe.kind,
        instance: probe.instance.clone(),
        target: probe.check.to_string(),
        state: state.verdict(),
        since: state.since().map(|at| at.to_string()),
        failures: state.failures(),
        failure_threshold: probe.failure_threshold,
        interval_seconds: probe.interval.as_secs(),
        last: state.last().map(|(at, outcome)| LastResult {
            time: at.to_string(),
            success: outcome.success,
            seconds: outcome.took.as_secs_f64(),
            status_code: outcome.status_code,
            message: outcome.message.clone(),
        }),
    }
}
