//! Rules over stored history: backtests and backfills.

use std::sync::Arc;
use std::time::Duration;

use skopos_model::Batch;
use skopos_query::{QueryError, QueryLimits};
use skopos_reliability::alerting::SeriesSample;
use skopos_reliability::backfill::{BackfillOptions, BackfilledRule, backfill};
use skopos_reliability::backtest::{BacktestOptions, BacktestReport, backtest};
use skopos_reliability::engine::EngineConfig;
use skopos_reliability::rules::RuleGroup;
use tokio::sync::mpsc;

use super::{options, perform};
use crate::app::{App, Cost};
use crate::http::{ApiError, ApiResult};
use crate::ingest::accept::store_own;

/// Longest a look back may take: it reads days and not moments.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Most samples one look back may load, all its queries together.
const SAMPLES_MAX: u64 = 5_000_000_000;
/// Batches of samples that wait to be stored; the evaluation waits when there are more.
const BATCHES_MAX: usize = 4;

fn limits(app: &App) -> QueryLimits {
    QueryLimits { timeout: TIMEOUT, samples_max: SAMPLES_MAX, series_max: u64::MAX, ..app.query_limits }
}

/// Steps rules over stored history with the routes in force; nothing is sent.
///
/// # Errors
/// When the range or the rules are too much, or too many queries run.
pub(crate) async fn run_backtest(app: &Arc<App>, groups: Vec<RuleGroup>, from: i64, to: i64) -> ApiResult<(BacktestReport, Cost)> {
    let config = app.config.get();
    let routing = config.engine.routing.clone();
    let options = BacktestOptions { from, to, engine: options(&config) };
    let (report, cost) = app
        .try_query(limits(app), move |app, ctx| {
            let config = EngineConfig { groups, routing, ..EngineConfig::default() };
            backtest(config, &options, &*app.store.metrics(), &app.promql, ctx)
        })
        .await?;
    Ok((report?, cost))
}

/// Evaluates recording rules over stored history and stores what they give.
///
/// # Errors
/// When a rule fails, the range or the rules are too much, or samples cannot be stored.
pub(crate) async fn run_backfill(app: &Arc<App>, groups: Vec<RuleGroup>, from: i64, to: i64) -> ApiResult<(Vec<BackfilledRule>, Cost)> {
    let evaluation_interval_ms = options(&app.config.get()).evaluation_interval_ms;
    let (batches, mut written) = mpsc::channel::<Vec<SeriesSample>>(BATCHES_MAX);
    let evaluation = app.try_query(limits(app), move |app, ctx| {
        let options = BackfillOptions { from, to, evaluation_interval_ms };
        backfill(&groups, &options, &*app.store.metrics(), &app.promql, ctx, &mut |samples| {
            // Nobody takes them any more when one could not be stored.
            batches.blocking_send(samples).map_err(|_| QueryError::Storage("the samples could not be stored".to_owned()))
        })
    });
    let storing = async {
        while let Some(samples) = written.recv().await {
            let series = samples.into_iter().map(perform::time_series).collect();
            store_own(app, Batch::Series(series, Vec::new()))
                .await
                .map_err(|e| ApiError::internal(format!("the samples could not be stored: {e}")))?;
        }
        // Dropped here when storing failed, so that the evaluation ends.
        drop(written);
        Ok::<(), ApiError>(())
    };
    let (evaluated, stored) = tokio::join!(evaluation, storing);
    stored?;
    let (outcomes, cost) = evaluated?;
    Ok((outcomes?, cost))
}
