//! What there is: labels, their values, series, exemplars, metadata.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};
use skopos_model::Labels;
use skopos_query::metrics::Matcher;

use super::{Params, PromError, PromResult, TRUNCATED, success, success_with};
use crate::app::App;

fn truncate<T>(mut list: Vec<T>, limit: usize) -> (Vec<T>, Vec<String>) {
    let warnings = if list.len() > limit { vec![TRUNCATED.to_owned()] } else { Vec::new() };
    list.truncate(limit);
    (list, warnings)
}

/// `GET|POST /api/v1/labels`
pub(crate) async fn labels(State(app): State<Arc<App>>, params: Params) -> PromResult {
    let ((start, end), matchers, limit) = (params.bounds()?, params.matchers()?, params.limit()?);
    let (names, _) = app.try_query(app.query_limits, move |app, ctx| app.store.metrics().label_names(&matchers, start, end, ctx)).await?;
    let (names, warnings) = truncate(names?, limit);
    Ok(success_with(json!(names), &warnings))
}

/// `GET /api/v1/label/{name}/values`
pub(crate) async fn label_values(State(app): State<Arc<App>>, Path(name): Path<String>, params: Params) -> PromResult {
    let name = name.strip_prefix("U__").map_or_else(|| name.clone(), unescape_name);
    if name.is_empty() {
        return Err(PromError::bad_data("invalid label name: \"\""));
    }
    let ((start, end), matchers, limit) = (params.bounds()?, params.matchers()?, params.limit()?);
    let (values, _) = app.try_query(app.query_limits, move |app, ctx| app.store.metrics().label_values(&name, &matchers, start, end, ctx)).await?;
    let (values, warnings) = truncate(values?, limit);
    Ok(success_with(json!(values), &warnings))
}

/// Prometheus' escaping of UTF-8 names in paths: `U__` was cut; `_2e_` is a dot, `__` an underscore.
fn unescape_name(escaped: &str) -> String {
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('_') {
            out.push('_');
            rest = after;
        } else if let Some(end) = rest.find('_')
            && let Some(c) = u32::from_str_radix(&rest[..end], 16).ok().and_then(char::from_u32)
        {
            out.push(c);
            rest = &rest[end + 1..];
        } else {
            out.push('_');
        }
    }
    out.push_str(rest);
    out
}

/// `GET|POST /api/v1/series`
pub(crate) async fn series(State(app): State<Arc<App>>, params: Params) -> PromResult {
    let ((start, end), matchers, limit) = (params.bounds()?, params.matchers()?, params.limit()?);
    if matchers.is_empty() {
        return Err(PromError::bad_data("no match[] parameter provided"));
    }
    let fetch = limit.saturating_add(1);
    let (found, _) = app.try_query(app.query_limits, move |app, ctx| app.store.metrics().series(&matchers, start, end, fetch, ctx)).await?;
    let (found, warnings) = truncate(found?, limit);
    let data: Vec<Value> = found.iter().map(|labels| labels_json(labels)).collect();
    Ok(success_with(Value::Array(data), &warnings))
}

pub(super) fn labels_json(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|(n, v)| (n.to_owned(), Value::from(v))).collect())
}

/// `GET /api/v1/metadata`
pub(crate) async fn metadata(State(app): State<Arc<App>>, params: Params) -> PromResult {
    // Here zero is zero: none at all.
    let number = |name: &str| match params.get(name).map(|text| (text, text.parse::<i64>())) {
        None => Ok(usize::MAX),
        Some((_, Ok(n))) => Ok(usize::try_from(n).unwrap_or(usize::MAX)),
        Some((_, Err(_))) => Err(PromError::bad_data(format!("{name} must be a number"))),
    };
    let (families_max, each_max) = (number("limit")?, number("limit_per_metric")?);
    let mut families: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for m in app.store.metrics().metadata(params.get("metric")) {
        let entry = families.entry(m.family.to_string()).or_default();
        if entry.len() < each_max {
            entry.push(json!({"type": m.kind, "help": m.help, "unit": m.unit}));
        }
    }
    Ok(success(Value::Object(families.into_iter().take(families_max).map(|(k, v)| (k, Value::Array(v))).collect())))
}

/// `GET|POST /api/v1/query_exemplars`
pub(crate) async fn query_exemplars(State(app): State<Arc<App>>, params: Params) -> PromResult {
    let (start, end) = params.bounds()?;
    let expr = params.expression()?;
    let matchers: Vec<Vec<Matcher>> = expr.selectors().into_iter().map(|s| s.matchers.clone()).collect();
    if matchers.is_empty() {
        return Ok(success(json!([])));
    }
    let (found, _) = app.try_query(app.query_limits, move |app, ctx| app.store.metrics().exemplars(&matchers, start, end, ctx)).await?;
    let data: Vec<Value> = found?
        .into_iter()
        .map(|(labels, exemplars)| {
            let list: Vec<Value> = exemplars
                .iter()
                .map(|e| {
                    let mut labels = labels_json(&e.labels);
                    if !e.trace_id.is_none() {
                        labels["trace_id"] = json!(e.trace_id);
                    }
                    if !e.span_id.is_none() {
                        labels["span_id"] = json!(e.span_id);
                    }
                    let mut value = String::new();
                    skopos_query::promql::json::write_float(&mut value, e.value);
                    json!({"labels": labels, "value": value, "timestamp": e.timestamp as f64 / 1000.0})
                })
                .collect();
            json!({"seriesLabels": labels_json(&labels), "exemplars": list})
        })
        .collect();
    Ok(success(Value::Array(data)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_names_in_paths() {
        for (escaped, name) in [("http_2e_status", "http.status"), ("a__b", "a_b"), ("plain", "plain"), ("odd_", "odd_")] {
            assert_eq!(unescape_name(escaped), name);
        }
    }
}
