//! What the server is and how it fares.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use skopos_model::Signal;
use skopos_query::TimeRange;
use skopos_query::filter::Filter;

use crate::app::App;
use crate::http::ApiResult;
use crate::telemetry::signal_stats;

/// `GET /v1/status`
#[utoipa::path(get, path = "/v1/status", tag = "status", responses((status = 200, description = "Version, addresses, ingest, log, evaluation, configuration", body = crate::api::shapes::ServerStatus)))]
pub async fn status(State(app): State<Arc<App>>) -> ApiResult<Json<Value>> {
    let now = app.clock.now_nanos();
    let stats = app.store.stats();
    let signal = |signal: Signal| {
        let counters = app.telemetry.ingest.signal(signal);
        let store = signal_stats(&stats, signal);
        let last = counters.last_received.load(Ordering::Relaxed);
        json!({
            "rows_total": counters.accepted.load(Ordering::Relaxed),
            "rows_per_second": counters.rate(now),
            "rejected_total": counters.rejected.load(Ordering::Relaxed),
            "last_received": (last != 0).then(|| last.to_string()),
            "head_rows": store.head_rows, "head_bytes": store.head_bytes,
            "files": store.files, "file_bytes": store.file_bytes, "file_rows": store.file_rows,
        })
    };
    let evaluation = app.reliability.evaluation_status(now);
    let config = app.config.get();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started": app.started.to_string(),
        "now": now.to_string(),
        "addresses": app.addresses.get(),
        "auth_required": app.auth.required(),
        "signals": {"logs": signal(Signal::Logs), "traces": signal(Signal::Traces), "metrics": signal(Signal::Metrics)},
        "wal": {"bytes": stats.wal.bytes, "segments": stats.wal.segments, "oldest": null, "writable": stats.wal.writable, "error": (!stats.wal.writable).then_some(&stats.wal.error)},
        "damaged_files": stats.damaged,
        "recovery": stats.recovery,
        "evaluation": evaluation,
        "environments": environments(&app, now).await?,
        "config": {
            "file": config.path.as_ref().map(|p| p.display().to_string()),
            "prometheus_file": config.prometheus_path.as_ref().map(|p| p.display().to_string()),
            "version": config.version, "loaded": config.loaded.to_string(), "problems": config.problems,
        },
    })))
}

/// Environments seen in the last day.
async fn environments(app: &Arc<App>, now: i64) -> ApiResult<BTreeSet<String>> {
    let range = TimeRange { start: now - 86_400_000_000_000, end: now };
    let (names, _) = app
        .query(move |app, ctx| {
            let by = ["env".to_owned()];
            let mut names: BTreeSet<String> =
                app.store.traces().red(range, &Filter::all(), &by, ctx)?.into_iter().map(|r| r.group[0].clone()).collect();
            for facet in app.store.logs().facets(range, &Filter::all(), &by, 50, ctx)? {
                names.extend(facet.values.into_iter().map(|v| v.0));
            }
            names.remove("");
            Ok(names)
        })
        .await?;
    Ok(names)
}
