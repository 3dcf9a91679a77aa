//! Feature flags, and the faults behind them: a flag is what the team can switch off at three in the morning, a fault
//! what a game day injects. A fault that names a flag acts only while the flag is on.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use skopos_sdk::{FutureExt as _, Span};

use super::Api;
use super::routes::{ApiError, ROUTES};
use crate::store::SLOW_DATABASE;

/// Faults at a time.
const MAX_FAULTS: usize = 64;
/// Longest delay a fault may add.
const MAX_LATENCY_MS: u64 = 30_000;

/// What a fault does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultKind {
    /// Answers 500.
    Error,
    /// Waits before the handler runs.
    Latency,
    /// Makes every statement of the request slow.
    SlowDb,
}

/// A fault as it is asked for.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// `GET /orders`, or `*` for all.
    pub(crate) route: String,
    pub(crate) kind: FaultKind,
    /// Share of the route's requests it meets.
    pub(crate) percent: f64,
    /// Delay; needed for `latency` and `slow_db`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latency_ms: Option<u64>,
    /// Acts only while this flag is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) flag: Option<String>,
}

/// The flags and faults in force.
#[derive(Debug)]
pub(crate) struct Faults {
    state: RwLock<FaultState>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct FaultState {
    pub(crate) flags: BTreeMap<String, bool>,
    pub(crate) faults: BTreeMap<String, Fault>,
}

/// What meets one request.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) error: bool,
    pub(crate) latency: Option<Duration>,
    pub(crate) slow_database: Option<Duration>,
}

impl Faults {
    /// The flags of this service, all off, each with the bug that waits behind it: `new-pricing` fails one request in
    /// ten, `order-history` reads the history by a slow query.
    pub(crate) fn with_built_in() -> Self {
        let flags = ["new-pricing", "order-history"].map(|key| (key.to_owned(), false)).into();
        let new_pricing =
            Fault { route: "*".to_owned(), kind: FaultKind::Error, percent: 10.0, latency_ms: None, flag: Some("new-pricing".to_owned()) };
        let order_history = Fault {
            route: "GET /orders".to_owned(),
            kind: FaultKind::SlowDb,
            percent: 100.0,
            latency_ms: Some(600),
            flag: Some("order-history".to_owned()),
        };
        let faults = [("new-pricing-bug".to_owned(), new_pricing), ("order-history-bug".to_owned(), order_history)].into();
        Self { state: RwLock::new(FaultState { flags, faults }) }
    }

    pub(crate) fn state(&self) -> FaultState {
        self.state.read().clone()
    }

    /// Sets a flag; `false` if there is none of that name.
    pub(crate) fn set_flag(&self, key: &str, enabled: bool) -> bool {
        let mut state = self.state.write();
        let Some(flag) = state.flags.get_mut(key) else { return false };
        *flag = enabled;
        true
    }

    /// Adds or, with an id that is taken, replaces a fault.
    pub(crate) fn add(&self, id: Option<String>, fault: Fault) -> Result<String, String> {
        let mut state = self.state.write();
        if fault.route != "*" && !ROUTES.contains(&fault.route.as_str()) {
            return Err(format!("route: {:?} is none of *, {}", fault.route, ROUTES.join(", ")));
        }
        if !(0.0..=100.0).contains(&fault.percent) {
            return Err(format!("percent: {} is not between 0 and 100", fault.percent));
        }
        if fault.kind != FaultKind::Error && !fault.latency_ms.is_some_and(|ms| (1..=MAX_LATENCY_MS).contains(&ms)) {
            return Err(format!("latency_ms: expected 1 to {MAX_LATENCY_MS} for a fault of this kind"));
        }
        if let Some(flag) = &fault.flag
            && !state.flags.contains_key(flag)
        {
            let known: Vec<_> = state.flags.keys().map(String::as_str).collect();
            return Err(format!("flag: {flag:?} is none of {}", known.join(", ")));
        }
        let id = id.unwrap_or_else(|| format!("fault-{:08x}", fastrand::u32(..)));
        if state.faults.len() >= MAX_FAULTS && !state.faults.contains_key(&id) {
            return Err(format!("there are {MAX_FAULTS} faults already; remove one first"));
        }
        state.faults.insert(id.clone(), fault);
        Ok(id)
    }

    /// Removes a fault; `false` if there is none of that id.
    pub(crate) fn remove(&self, id: &str) -> bool {
        self.state.write().faults.remove(id).is_some()
    }

    /// Decides what meets a request to `route`, and tells the telemetry which flags it met. `random` is uniform in 0..1.
    fn decide(&self, route: &str, mut random: impl FnMut() -> f64) -> Verdict {
        let state = self.state.read();
        let mut verdict = Verdict::default();
        for fault in state.faults.values() {
            if fault.route != "*" && fault.route != route {
                continue;
            }
            if let Some(flag) = &fault.flag {
                let on = state.flags.get(flag).copied().unwrap_or(false);
                skopos_sdk::feature_flag(flag, variant(on));
                if !on {
                    continue;
                }
            }
            if random() * 100.0 >= fault.percent {
                continue;
            }
            let delay = fault.latency_ms.map(Duration::from_millis);
            match fault.kind {
                FaultKind::Error => verdict.error = true,
                FaultKind::Latency => verdict.latency = verdict.latency.max(delay),
                FaultKind::SlowDb => verdict.slow_database = verdict.slow_database.max(delay),
            }
        }
        verdict
    }
}

pub(crate) fn variant(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// Applies the faults to the routes below.
pub(crate) async fn inject(State(api): State<Api>, request: Request, next: Next) -> Result<Response, ApiError> {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let route = format!("{} {path}", request.method());
    let verdict = api.faults.decide(&route, fastrand::f64);
    if verdict.error || verdict.latency.is_some() {
        // As the code behind the flag would: a step of the request that goes wrong, seen in its trace.
        let span = Span::builder("pricing.quote").attr("pricing.engine", "v2").start();
        price(verdict.latency, verdict.error).in_span(&span).await.inspect_err(|error| span.record_error(error))?;
    }
    match verdict.slow_database {
        Some(delay) => Ok(SLOW_DATABASE.scope(delay, next.run(request)).await),
        None => Ok(next.run(request).await),
    }
}

async fn price(latency: Option<Duration>, fails: bool) -> Result<(), ApiError> {
    if let Some(latency) = latency {
        tokio::time::sleep(latency).await;
    }
    if fails {
        let error = ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "pricing engine v2 returned no price: tier table has no row for this customer");
        tracing::error!(engine = "v2", error = %error, "pricing of the request failed");
        return Err(error);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_act_by_route_share_and_flag() {
        let faults = Faults::with_built_in();
        assert_eq!(faults.decide("GET /orders", || 0.0), Verdict::default(), "all flags are off");
        assert!(faults.set_flag("new-pricing", true) && faults.set_flag("order-history", true));
        let verdict = faults.decide("GET /orders", || 0.05);
        assert_eq!(verdict, Verdict { error: true, latency: None, slow_database: Some(Duration::from_millis(600)) });
        assert!(!faults.decide("GET /orders", || 0.1).error, "10 % means below 0.1");
        assert_eq!(faults.decide("POST /orders", || 0.05).slow_database, None);
        assert!(!faults.set_flag("typo", true));
    }
}
