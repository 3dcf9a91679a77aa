//! The payment provider. A charge with an idempotency key it has seen is answered as before, not made again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::Deserialize;
use skopos_sdk::health::Health;

use crate::inventory::Flaky;
use crate::serve::{ServeOptions, finish, serve, telemetry};

/// Idempotency keys that are remembered; the oldest goes first.
const MAX_KEYS: usize = 10_000;
/// Largest charge.
const MAX_CENTS: i64 = 100_000_000;

/// Options of `orders payments`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PaymentsOptions {
    #[command(flatten)]
    serve: ServeOptions,
    #[command(flatten)]
    flaky: Flaky,
}

#[derive(Debug, Clone)]
struct Payments {
    flaky: Flaky,
    charges: Arc<Mutex<Charges>>,
}

#[derive(Debug, Default)]
struct Charges {
    by_key: HashMap<String, String>,
    order: VecDeque<String>,
}

#[derive(Debug, Deserialize)]
struct Charge {
    amount_cents: i64,
}

pub(crate) async fn run(options: PaymentsOptions) -> anyhow::Result<()> {
    let guard = telemetry("payments")?;
    let health = Health::start(guard.telemetry());
    serve(&options.serve, guard.telemetry(), &health, routes(options.flaky)).await?;
    finish(guard).await;
    Ok(())
}

fn routes(flaky: Flaky) -> Router {
    Router::new().route("/charges", post(charge)).with_state(Payments { flaky, charges: Arc::default() })
}

async fn charge(State(payments): State<Payments>, headers: HeaderMap, Json(charge): Json<Charge>) -> Response {
    if !payments.flaky.behave().await {
        tracing::error!(amount_cents = charge.amount_cents, "card network did not answer");
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if !(1..=MAX_CENTS).contains(&charge.amount_cents) {
        return (StatusCode::UNPROCESSABLE_ENTITY, format!("amount_cents: {} is not between 1 and {MAX_CENTS}", charge.amount_cents)).into_response();
    }
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let id = payments.charges.lock().make(key);
    Json(serde_json::json!({"charge_id": id, "amount_cents": charge.amount_cents})).into_response()
}

impl Charges {
    fn make(&mut self, key: &str) -> String {
        if let Some(id) = self.by_key.get(key) {
            return id.clone();
        }
        let id = format!("ch_{:016x}", fastrand::u64(..));
        if !key.is_empty() {
            if self.order.len() == MAX_KEYS
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_key.remove(&oldest);
            }
            self.order.push_back(key.to_owned());
            self.by_key.insert(key.to_owned(), id.clone());
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_made_once_per_key() {
        let mut charges = Charges::default();
        let first = charges.make("a");
        assert_eq!(charges.make("a"), first);
        assert_ne!(charges.make("b"), first);
        assert_ne!(charges.make(""), charges.make(""));
        for number in 0..MAX_KEYS {
            charges.make(&number.to_string());
        }
        assert_ne!(charges.make("a"), first, "forgotten by now");
        assert_eq!(charges.by_key.len(), MAX_KEYS);
    }
}
