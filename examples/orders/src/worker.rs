//! Ships paid orders: takes messages from the queue, one span each, in the trace of the request that ordered.

use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use skopos_sdk::health::{CheckOptions, Health};
use skopos_sdk::messaging::{Delivery, process};
use skopos_sdk::metrics::MetricOptions;
use skopos_sdk::{Telemetry, Value};
use thiserror::Error;

use crate::order::now_ms;
use crate::queue::{self, Message};
use crate::serve::{ServeOptions, finish, serve, telemetry};
use crate::store::Store;

/// Pause when the queue is empty.
const IDLE_PAUSE: Duration = Duration::from_millis(100);
/// How often the queue is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// Options of `orders worker`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WorkerOptions {
    #[command(flatten)]
    serve: ServeOptions,
    /// The database file the API writes to.
    #[arg(long, default_value = "orders.db")]
    database: PathBuf,
    /// Time a shipment takes, in milliseconds.
    #[arg(long, default_value_t = 3)]
    work_ms: u64,
}

#[derive(Debug, Error)]
enum ShipError {
    #[error("order {0} does not exist")]
    Unknown(String),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

pub(crate) async fn run(options: WorkerOptions) -> anyhow::Result<()> {
    let guard = telemetry("orders-worker")?;
    let store = Store::open(&options.database).await?;
    let health = Health::start(guard.telemetry());
    let pinged = store.clone();
    health.check("database", CheckOptions::critical(), move || {
        let store = pinged.clone();
        async move { store.ping().await }
    });
    let shipping = tokio::spawn(ship_all(guard.telemetry().clone(), store.clone(), Duration::from_millis(options.work_ms)));
    let measuring = tokio::spawn(measure(guard.telemetry().clone(), store));
    serve(&options.serve, guard.telemetry(), &health, Router::new()).await?;
    // A shipment that is cut off here is delivered again when its lease ends.
    shipping.abort();
    measuring.abort();
    finish(guard).await;
    Ok(())
}

async fn ship_all(telemetry: Telemetry, store: Store, work: Duration) {
    loop {
        match queue::lease(&store.pool, now_ms()).await {
            Ok(Some(message)) => handle(&telemetry, &store, &message, work).await,
            Ok(None) => tokio::time::sleep(IDLE_PAUSE).await,
            Err(error) => {
                tracing::error!(error = %error, "cannot read the shipment queue");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn handle(telemetry: &Telemetry, store: &Store, message: &Message, work: Duration) {
    let id = message.id.to_string();
    let delivery =
        Delivery { system: queue::SYSTEM, destination: queue::SHIPMENTS, message_id: &id, attempt: message.attempt, headers: &message.headers };
    // A failure is on the span, in the log, and in the queue; there is nobody to return it to.
    let _ = process(telemetry, delivery, async {
        let shipped = ship(store, message, work).await;
        match &shipped {
            Ok(()) => queue::acknowledge(&store.pool, message).await?,
            Err(error) => {
                let dead = queue::fail(&store.pool, message, &error.to_string(), now_ms()).await?;
                tracing::error!(order_id = message.order_id, attempt = message.attempt, dead, error = %error, "shipment of order {} failed", message.order_id);
            }
        }
        shipped
    })
    .await;
}

async fn ship(store: &Store, message: &Message, work: Duration) -> Result<(), ShipError> {
    tokio::time::sleep(work).await;
    skopos_sdk::set_attribute("order.id", Value::from(&message.order_id));
    let shipped = store.change_status(&message.order_id, "paid", "shipped").await?;
    if shipped {
        tracing::info!(order_id = message.order_id, "order {} shipped", message.order_id);
        return Ok(());
    }
    // Cancelled meanwhile, or shipped by an attempt whose acknowledgement got lost: both are fine.
    match store.get(&message.order_id).await? {
        Some(order) => {
            tracing::info!(order_id = message.order_id, status = order.status, "order {} needs no shipment", message.order_id);
            Ok(())
        }
        None => Err(ShipError::Unknown(message.order_id.clone())),
    }
}

/// Depth and age of the queue: the signals that say whether the worker keeps up.
async fn measure(telemetry: Telemetry, store: Store) {
    let metrics = telemetry.metrics();
    let depth = metrics.gauge(
        "queue.depth",
        MetricOptions { help: "Messages in the queue.", unit: "{message}", labels: &["queue", "state"], ..MetricOptions::default() },
    );
    let age = metrics
        .gauge("queue.oldest.age", MetricOptions { help: "Age of the oldest message.", unit: "s", labels: &["queue"], ..MetricOptions::default() });
    loop {
        match queue::stats(&store.pool, now_ms()).await {
            Ok(stats) => {
                depth.with(&[queue::SHIPMENTS, "ready"]).set(stats.ready as f64);
                depth.with(&[queue::SHIPMENTS, "dead"]).set(stats.dead as f64);
                age.with(&[queue::SHIPMENTS]).set(stats.oldest_ms as f64 / 1e3);
            }
            Err(error) => tracing::warn!(error = %error, "cannot measure the shipment queue"),
        }
        tokio::time::sleep(MEASURE_EVERY).await;
    }
}
