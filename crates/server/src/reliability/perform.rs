//! Performing effects, in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use skopos_model::{Batch, TimeSeries};
use skopos_query::promql;
use skopos_reliability::alerting::{SeriesSample, elements};
use skopos_reliability::effect::{Effect, Evaluate};
use skopos_reliability::engine::Event;
use skopos_reliability::notify::Outbound;
use skopos_storage::{Expect, StateWrite};

use crate::app::App;
use crate::ingest::accept::store_own;

/// How often a write of the state is tried before the effects after it are performed all the same.
const WRITE_ATTEMPTS: u32 = 5;

/// Performs effects in order. Writes of the state are gathered and durable before anything is sent.
pub(super) async fn all(app: &Arc<App>, effects: Vec<Effect>) {
    let mut writes: Vec<StateWrite> = Vec::new();
    for effect in effects {
        match effect {
            Effect::Persist(document) => {
                writes.push(StateWrite::Put { kind: document.kind.as_str().to_owned(), key: document.key, body: document.json, expect: Expect::Any })
            }
            Effect::Forget { kind, key } => writes.push(StateWrite::Delete { kind: kind.as_str().to_owned(), key, expect: Expect::Any }),
            Effect::Journal(entry) => {
                tracing::info!(source = entry.source, kind = entry.kind, service = entry.service, "{}", entry.text);
                let mut body = serde_json::json!({"source": entry.source, "service": entry.service, "text": entry.text});
                if let Some(drill) = &entry.drill {
                    body["drill"] = serde_json::json!(drill);
                }
                writes.push(StateWrite::Journal { kind: entry.kind, reference: entry.reference, at: entry.at * 1_000_000, body });
            }
            Effect::WriteSeries(samples) => write_series(app, samples).await,
            Effect::Evaluate(evaluate) => spawn_evaluation(app, evaluate),
            Effect::Send { delivery, request, timeout_ms } => {
                commit(app, std::mem::take(&mut writes)).await;
                spawn_delivery(app, delivery, request, timeout_ms);
            }
            Effect::RunStep(request) => {
                commit(app, std::mem::take(&mut writes)).await;
                super::actions::spawn_step(app, request);
            }
        }
    }
    commit(app, writes).await;
}

/// Writes the state; tries again, because an alert that is not persisted is better sent than lost.
async fn commit(app: &Arc<App>, writes: Vec<StateWrite>) {
    if writes.is_empty() {
        return;
    }
    for attempt in 1..=WRITE_ATTEMPTS {
        match app.store.state().commit(writes.clone(), app.clock.now_nanos()).await {
            Ok(_) => return,
            Err(error) => tracing::error!(%error, attempt, "the state could not be written"),
        }
        tokio::time::sleep(Duration::from_millis(u64::from(attempt) * 100)).await;
    }
}

async fn write_series(app: &Arc<App>, samples: Vec<SeriesSample>) {
    let series = samples.into_iter().map(time_series).collect();
    if let Err(error) = store_own(app, Batch::Series(series, Vec::new())).await {
        tracing::warn!(%error, "series of rules not stored");
    }
}

/// What a rule writes, as it is stored.
pub(crate) fn time_series(sample: SeriesSample) -> TimeSeries {
    let SeriesSample { labels, at, value, histogram } = sample;
    match histogram {
        Some(histogram) => TimeSeries { labels, histograms: vec![(at, (*histogram).clone())], ..TimeSeries::default() },
        None => TimeSeries { labels, samples: vec![(at, value)], ..TimeSeries::default() },
    }
}

fn spawn_evaluation(app: &Arc<App>, evaluate: Evaluate) {
    let app = Arc::clone(app);
    tokio::spawn(async move {
        let Evaluate { id, expr, at } = evaluate;
        let answer = app
            .query(move |app, ctx| {
                let expr = promql::parse(&expr)?;
                app.promql.instant(&*app.store.metrics(), &expr, at, ctx)
            })
            .await;
        let result = match answer {
            Ok((output, _)) => elements(output.value),
            Err(error) => {
                app.telemetry.evaluation_failures.fetch_add(1, Ordering::Relaxed);
                Err(error.message)
            }
        };
        app.reliability.send(Event::Evaluated { id, result }).await;
    });
}

fn spawn_delivery(app: &Arc<App>, delivery: String, request: Outbound, timeout_ms: i64) {
    let app = Arc::clone(app);
    tokio::spawn(async move {
        let mut builder = app.http_client.post(&request.url).timeout(Duration::from_millis(timeout_ms.max(1).unsigned_abs())).body(request.body);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let event = match builder.send().await {
            Ok(response) if response.status().is_success() => {
                app.telemetry.notifications_delivered.fetch_add(1, Ordering::Relaxed);
                Event::Delivered { delivery }
            }
            Ok(response) => {
                let status = response.status();
                let seconds = response.headers().get("retry-after").and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<i64>().ok());
                app.telemetry.notifications_failed.fetch_add(1, Ordering::Relaxed);
                Event::DeliveryFailed {
                    delivery,
                    error: format!("{} answered {status}", request.url),
                    retry: status.is_server_error() || matches!(status.as_u16(), 408 | 429),
                    retry_after_ms: seconds.map(|s| s * 1000),
                }
            }
            Err(error) => {
                app.telemetry.notifications_failed.fetch_add(1, Ordering::Relaxed);
                Event::DeliveryFailed { delivery, error: format!("{error}"), retry: true, retry_after_ms: None }
            }
        };
        app.reliability.send(event).await;
    });
}
