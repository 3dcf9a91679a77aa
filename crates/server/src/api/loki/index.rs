//! How much there is: streams, lines and bytes, from what the store knows without reading lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use skopos_query::TimeRange;
use skopos_query::logql::{LabelSet, MatchOp, Matcher};
use skopos_query::logs::LogStream;

use super::labels::{selection, streams};
use super::{LokiError, LokiResult, Params, stats, write};
use crate::app::App;

/// Most steps of a volume over time.
const STEPS_MAX: i64 = 1_000;

/// `GET|POST /loki/api/v1/index/stats`
pub(super) async fn stats(State(app): State<Arc<App>>, params: Params) -> LokiResult {
    let range = params.time_range(app.clock.now_nanos())?;
    let (found, _) = streams(&app, selection(&params)?, range).await?;
    let sum = |of: fn(&LogStream) -> u64| found.iter().map(|(_, stream)| of(stream)).sum::<u64>();
    // A file's part of a stream is what comes nearest to a chunk.
    Ok(Json(json!({"streams": found.len(), "chunks": found.len(), "entries": sum(|s| s.rows), "bytes": sum(|s| s.bytes)})).into_response())
}

/// What volumes are summed by.
struct Volumes {
    targets: Vec<String>,
    by_label: bool,
    limit: usize,
    matchers: Vec<Matcher>,
}

impl Volumes {
    fn new(params: &Params) -> Result<Self, LokiError> {
        let matchers = params.matchers()?;
        let mut targets: Vec<String> = params.get("targetLabels").map(|t| t.split(',').map(|n| n.trim().to_owned()).collect()).unwrap_or_default();
        if targets.is_empty() {
            targets = matchers.iter().filter(|m| m.op != MatchOp::NotEqual).map(|m| m.name.clone()).collect();
            targets.dedup();
        }
        let by_label = match params.get("aggregateBy") {
            None | Some("series") => false,
            Some("labels") => true,
            Some(other) => return Err(LokiError::bad_request(format!("invalid aggregateBy option {other:?}: expecting series or labels"))),
        };
        Ok(Self { targets, by_label, limit: params.number("limit", 100)?, matchers })
    }

    /// Bytes by labels, most first.
    fn of(&self, found: &[(LabelSet, LogStream)]) -> Vec<(LabelSet, u64)> {
        let mut sums: BTreeMap<LabelSet, u64> = BTreeMap::new();
        for (labels, stream) in found {
            if self.by_label {
                let named = labels.iter().filter(|(name, _)| self.targets.is_empty() || self.targets.iter().any(|t| **t == ***name));
                named.for_each(|(name, _)| *sums.entry(LabelSet::from_pairs([(&**name, "")])).or_default() += stream.bytes);
            } else {
                let key = if self.targets.is_empty() { labels.clone() } else { labels.filtered(&self.targets, true) };
                *sums.entry(key).or_default() += stream.bytes;
            }
        }
        let mut all: Vec<_> = sums.into_iter().collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(self.limit);
        all
    }
}

fn metric(labels: &LabelSet) -> Value {
    let mut out = String::new();
    write::labels(&mut out, labels);
    serde_json::from_str(&out).unwrap_or_default()
}

/// `GET|POST /loki/api/v1/index/volume`
pub(super) async fn volume(State(app): State<Arc<App>>, params: Params) -> LokiResult {
    let range = params.time_range(app.clock.now_nanos())?;
    let volumes = Volumes::new(&params)?;
    let (found, cost) = streams(&app, vec![volumes.matchers.clone()], range).await?;
    let seconds = range.end as f64 / 1e9;
    let sums = volumes.of(&found);
    let result: Vec<Value> = sums.iter().map(|(labels, bytes)| json!({"metric": metric(labels), "value": [seconds, bytes.to_string()]})).collect();
    let returned = result.len();
    Ok(super::success(json!({"resultType": "vector", "result": result, "stats": stats::stats(&cost, returned)})))
}

/// `GET|POST /loki/api/v1/index/volume_range`
pub(super) async fn volume_range(State(app): State<Arc<App>>, params: Params) -> LokiResult {
    let range = params.time_range(app.clock.now_nanos())?;
    let volumes = Volumes::new(&params)?;
    let step = params.step(range.start, range.end)?;
    let count = (range.end - range.start) / step;
    if count > STEPS_MAX {
        return Err(LokiError::bad_request(format!("{count} steps asked for, at most {STEPS_MAX} are given: take a longer step or a shorter range")));
    }
    let mut sums: BTreeMap<LabelSet, Vec<Value>> = BTreeMap::new();
    let mut last_cost = None;
    for k in 0..=count {
        let start = range.start + k * step;
        let part = TimeRange { start, end: (start + step).min(range.end) };
        if part.start >= part.end {
            break;
        }
        let (found, cost) = streams(&app, vec![volumes.matchers.clone()], part).await?;
        last_cost = Some(cost);
        for (labels, bytes) in volumes.of(&found).into_iter().filter(|(_, bytes)| *bytes > 0) {
            sums.entry(labels).or_default().push(json!([start as f64 / 1e9, bytes.to_string()]));
        }
    }
    let result: Vec<Value> = sums.iter().map(|(labels, values)| json!({"metric": metric(labels), "values": values})).collect();
    let returned = result.len();
    let stats = last_cost.map_or(Value::Null, |cost| stats::stats(&cost, returned));
    Ok(super::success(json!({"resultType": "matrix", "result": result, "stats": stats})))
}
