//! Asking again and again, and storing what was found.

use std::sync::Arc;
use std::time::Duration;

use skopos_model::labels::METRIC_NAME;
use skopos_model::metric::STALE_NAN_BITS;
use skopos_model::{Batch, Labels, TimeSeries};
use tokio_util::sync::CancellationToken;

use super::check::{Outcome, ask};
use super::config::{Check, Probe};
use super::state::Verdict;
use crate::app::App;
use crate::ingest::accept::store_own;

/// Probes of one interval are spread over at most this much, so that they are not all asked at once.
const SPREAD_MAX: Duration = Duration::from_secs(1);

/// Asks until it is told to stop.
pub(super) async fn run(app: Arc<App>, probe: Probe, delay: Duration, stop: CancellationToken) {
    let spread = probe.interval.min(SPREAD_MAX).mul_f64((own_labels(&probe, "").stable_hash() % 1000) as f64 / 1000.0);
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + delay + spread, probe.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => break,
        }
        let outcome = tokio::select! {
            outcome = ask(&app.http_client, &probe) => outcome,
            () = stop.cancelled() => break,
        };
        let (nanos, millis) = (app.clock.now_nanos(), app.clock.now_millis());
        let Some(verdict) = app.probes.observe(&probe, outcome.clone(), nanos) else { break };
        let series = found(&probe, &outcome, verdict).map(|(name, value)| one(&probe, name, value, millis)).collect();
        if let Err(error) = store_own(&app, Batch::Series(series, Vec::new())).await {
            tracing::warn!(service = probe.service, probe = probe.kind.as_str(), %error, "result of a probe not stored");
        }
    }
    // The series end here: say so, or they would seem to go on for the look-back.
    let now = app.clock.now_millis();
    let series = NAMES.iter().map(|name| one(&probe, name, f64::from_bits(STALE_NAN_BITS), now)).collect();
    if let Err(error) = store_own(&app, Batch::Series(series, Vec::new())).await {
        tracing::warn!(service = probe.service, probe = probe.kind.as_str(), %error, "end of a probe's series not stored");
    }
}

/// Those of the Blackbox exporter, so that its dashboards and rules work; the last is what the thresholds make of it.
const NAMES: [&str; 4] = ["probe_success", "probe_duration_seconds", "probe_http_status_code", "skopos_probe_up"];

fn found(probe: &Probe, outcome: &Outcome, verdict: Verdict) -> impl Iterator<Item = (&'static str, f64)> {
    let http = matches!(probe.check, Check::Http { .. });
    let values = [
        Some(f64::from(u8::from(outcome.success))),
        Some(outcome.took.as_secs_f64()),
        http.then(|| f64::from(outcome.status_code.unwrap_or(0))),
        match verdict {
            Verdict::Unknown => None,
            Verdict::Up => Some(1.0),
            Verdict::Down => Some(0.0),
        },
    ];
    NAMES.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?)))
}

fn own_labels(probe: &Probe, name: &str) -> Labels {
    Labels::new([
        (METRIC_NAME, name),
        ("job", probe.service.as_str()),
        ("service", probe.service.as_str()),
        ("instance", probe.instance.as_str()),
        ("probe", probe.kind.as_str()),
    ])
}

fn one(probe: &Probe, name: &str, value: f64, millis: i64) -> TimeSeries {
    TimeSeries { labels: own_labels(probe, name), samples: vec![(millis, value)], ..TimeSeries::default() }
}
