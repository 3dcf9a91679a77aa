//! The stock keeper. Stock never runs out for known goods; what runs out, if asked to, is its reliability.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use skopos_sdk::health::Health;

use crate::serve::{ServeOptions, finish, serve, telemetry};

/// Options of `orders inventory`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct InventoryOptions {
    #[command(flatten)]
    serve: ServeOptions,
    #[command(flatten)]
    flaky: Flaky,
}

/// How unreliable a service is.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Flaky {
    /// Share of requests that fail with 503, in percent.
    #[arg(long, default_value_t = 0.5, value_parser = percent)]
    pub(crate) error_percent: f64,
    /// Time an answer takes, in milliseconds, give or take half of it.
    #[arg(long, default_value_t = 4)]
    pub(crate) latency_ms: u64,
}

fn percent(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if (0.0..=100.0).contains(&value) { Ok(value) } else { Err(format!("{value} is not between 0 and 100")) }
}

impl Flaky {
    /// Takes its time, then says whether this request may succeed.
    pub(crate) async fn behave(&self) -> bool {
        let latency = Duration::from_millis(self.latency_ms).mul_f64(0.5 + fastrand::f64());
        tokio::time::sleep(latency).await;
        fastrand::f64() * 100.0 >= self.error_percent
    }
}

pub(crate) async fn run(options: InventoryOptions) -> anyhow::Result<()> {
    let guard = telemetry("inventory")?;
    let health = Health::start(guard.telemetry());
    serve(&options.serve, guard.telemetry(), &health, routes(options.flaky)).await?;
    finish(guard).await;
    Ok(())
}

fn routes(flaky: Flaky) -> Router {
    Router::new().route("/stock/{sku}", get(stock)).with_state(flaky)
}

async fn stock(State(flaky): State<Flaky>, Path(sku): Path<String>) -> Response {
    if !flaky.behave().await {
        tracing::error!(sku, "stock database did not answer");
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    // The price follows from the name, so that the same goods cost the same everywhere.
    let price_cents = 100 + sku.bytes().fold(0i64, |sum, byte| (sum * 31 + i64::from(byte)) % 4_900);
    Json(serde_json::json!({"sku": sku, "available": 1_000, "price_cents": price_cents})).into_response()
}
