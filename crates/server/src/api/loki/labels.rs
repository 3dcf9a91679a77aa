//! Labels, their values, and streams.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::json;
use skopos_query::TimeRange;
use skopos_query::logql::{self, LabelSet, Matcher, Selector};
use skopos_query::logs::LogStream;

use super::{LokiError, LokiResult, Params, success};
use crate::app::{App, Cost};

/// Most names, values or streams of an answer.
const ITEMS_MAX: usize = 100_000;

/// Streams that any of the selections takes; all when there is none.
pub(super) async fn streams(
    app: &Arc<App>,
    selections: Vec<Vec<Matcher>>,
    range: TimeRange,
) -> Result<(Vec<(LabelSet, LogStream)>, Cost), LokiError> {
    let selectors: Vec<Selector> = selections.iter().map(|m| Selector::new(m)).collect::<Result<_, _>>()?;
    let work = move |app: &Arc<App>, ctx: &skopos_query::QueryContext| {
        let all = logql::matching_streams(&*app.store.logs(), &Selector::new(&[])?, range, ctx)?;
        Ok(all.into_iter().filter(|(labels, _)| selectors.is_empty() || selectors.iter().any(|s| s.takes(labels))).take(ITEMS_MAX).collect())
    };
    let (found, cost) = app.try_query(app.query_limits, work).await?;
    Ok((found?, cost))
}

/// The selection of the parameter `query`.
pub(super) fn selection(params: &Params) -> Result<Vec<Vec<Matcher>>, LokiError> {
    let matchers = params.matchers()?;
    Ok(if matchers.is_empty() { Vec::new() } else { vec![matchers] })
}

/// `GET|POST /loki/api/v1/labels`
pub(super) async fn labels(State(app): State<Arc<App>>, params: Params) -> LokiResult {
    let range = params.time_range(app.clock.now_nanos())?;
    let (found, _) = streams(&app, selection(&params)?, range).await?;
    let names: BTreeSet<&str> = found.iter().flat_map(|(labels, _)| labels.iter().map(|(name, _)| &**name)).collect();
    Ok(success(json!(names)))
}

/// `GET /loki/api/v1/label/{name}/values`
pub(super) async fn values(State(app): State<Arc<App>>, Path(name): Path<String>, params: Params) -> LokiResult {
    let range = params.time_range(app.clock.now_nanos())?;
    let (found, _) = streams(&app, selection(&params)?, range).await?;
    let values: BTreeSet<&str> = found.iter().filter_map(|(labels, _)| labels.get(&name).map(|v| &**v)).collect();
    Ok(success(json!(values)))
}

/// `GET|POST /loki/api/v1/series`
pub(super) async fn series(State(app): State<Arc<App>>, params: Params) -> LokiResult {
    let range = params.time_range(app.clock.now_nanos())?;
    let mut selections = Vec::new();
    for text in params.all(&["match[]", "match", "query"]) {
        selections.push(logql::parse_matchers(text).map_err(|e| LokiError::of(e, text))?);
    }
    let (found, _) = streams(&app, selections, range).await?;
    let distinct: BTreeSet<&LabelSet> = found.iter().map(|(labels, _)| labels).collect();
    let list: Vec<_> =
        distinct.into_iter().map(|labels| labels.iter().map(|(n, v)| (n.to_string(), json!(&**v))).collect::<serde_json::Map<_, _>>()).collect();
    Ok(success(json!(list)))
}
