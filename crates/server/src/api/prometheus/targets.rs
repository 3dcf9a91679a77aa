//! Targets that are scraped.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use skopos_query::metrics::{MatchOp, Matcher};
use skopos_query::promql;

use super::{Params, PromError, PromResult, success};
use crate::app::App;

/// Suffixes of series whose metadata stands under the family's name.
const SUFFIXES: [&str; 8] = ["_bucket", "_sum", "_count", "_total", "_created", "_info", "_gcount", "_gsum"];
/// How far back the metrics of a target are looked for, milliseconds.
const METADATA_WINDOW_MS: i64 = 900_000;

fn discovery(app: &App) -> Value {
    app.telemetry.targets.to_json()
}

fn of_pool(target: &Value, pool: Option<&str>) -> bool {
    pool.is_none_or(|p| target["scrapePool"] == p)
}

/// `GET /api/v1/targets`
pub(crate) async fn targets(State(app): State<Arc<App>>, params: Params) -> PromResult {
    let (active, dropped) = match params.get("state").map(str::to_lowercase).as_deref() {
        None | Some("any") => (true, true),
        Some("active") => (true, false),
        Some("dropped") => (false, true),
        Some(_) => (false, false),
    };
    let mut data = discovery(&app);
    for (name, wanted) in [("activeTargets", active), ("droppedTargets", dropped)] {
        if let Some(list) = data[name].as_array_mut() {
            list.retain(|t| wanted && of_pool(t, params.get("scrapePool")));
        }
    }
    Ok(success(data))
}

fn pools(app: &App) -> BTreeSet<String> {
    let data = discovery(app);
    let all = data["activeTargets"].as_array().into_iter().flatten().chain(data["droppedTargets"].as_array().into_iter().flatten());
    let configured = app.config.get().jobs.iter().map(|job| job.name.clone()).collect::<Vec<_>>();
    all.filter_map(|t| t["scrapePool"].as_str().map(str::to_owned)).chain(configured).collect()
}

/// `GET /api/v1/scrape_pools`
pub(crate) async fn scrape_pools(State(app): State<Arc<App>>) -> Response {
    success(json!({"scrapePools": pools(&app)}))
}

/// `GET /api/v1/scrape_pools/config`
pub(crate) async fn scrape_pool_config(State(app): State<Arc<App>>, params: Params) -> PromResult {
    let pool = params.required("scrapePool")?;
    let config = app.config.get();
    let job = config.jobs.iter().find(|job| job.name == pool);
    let job = job.ok_or_else(|| PromError::not_found(format!("scrape pool {pool:?} not found")))?;
    Ok(success(json!({"yaml": job.yaml})))
}

/// `GET /api/v1/targets/metadata`: of each target, what its metrics are.
pub(crate) async fn metadata(State(app): State<Arc<App>>, params: Params) -> PromResult {
    let limit = match params.get("limit").map(|text| text.parse::<i64>()) {
        None => usize::MAX,
        Some(Ok(n)) => usize::try_from(n).unwrap_or(usize::MAX),
        Some(Err(_)) => return Err(PromError::bad_data("limit must be a number")),
    };
    let matchers = match params.get("match_target") {
        Some(text) => promql::parse_matchers(text).map_err(|e| PromError::parameter("match_target", e))?,
        None => Vec::new(),
    };
    let family = params.get("metric").map(str::to_owned);
    let targets: Vec<Value> = discovery(&app)["activeTargets"].as_array().cloned().unwrap_or_default();
    let targets: Vec<Value> = targets
        .into_iter()
        .map(|mut t| t["labels"].take())
        .filter(|labels| matchers.iter().all(|m| m.matches(labels[&m.name].as_str().unwrap_or(""))))
        .collect();
    let now = app.clock.now_millis();
    let (found, _) = app
        .try_query(app.query_limits, move |app, ctx| {
            let metrics = app.store.metrics();
            let all = metrics.metadata(family.as_deref());
            let mut out = Vec::new();
            for labels in targets {
                let own: Result<Vec<Matcher>, String> = ["job", "instance"]
                    .into_iter()
                    .filter_map(|name| labels[name].as_str().map(|value| Matcher::new(name, MatchOp::Equal, value)))
                    .collect();
                let own = own.map_err(skopos_query::QueryError::Execution)?;
                let names = metrics.label_values("__name__", &[own], now - METADATA_WINDOW_MS, now, ctx)?;
                let families: BTreeSet<&str> =
                    names.iter().flat_map(|n| std::iter::once(n.as_str()).chain(SUFFIXES.iter().filter_map(|s| n.strip_suffix(s)))).collect();
                for m in all.iter().filter(|m| families.contains(m.family.as_ref())) {
                    if out.len() >= limit {
                        return Ok(out);
                    }
                    let mut entry = json!({"target": labels, "type": m.kind, "help": m.help, "unit": m.unit});
                    if family.is_none() {
                        entry["metric"] = json!(m.family);
                    }
                    out.push(entry);
                }
            }
            Ok(out)
        })
        .await?;
    Ok(success(json!(found?)))
}
