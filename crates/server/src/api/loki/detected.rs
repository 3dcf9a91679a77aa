//! Labels and fields there are, found by looking at streams and at a few lines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use skopos_query::logql::{self, LineRequest, LogExpr, Stage};
use skopos_query::logs::Direction;

use super::labels::{selection, streams};
use super::{LINES_MAX, LokiError, LokiResult, Params};
use crate::app::App;

/// Lines looked at when none are asked for.
const SAMPLE_LINES: usize = 1_000;
/// Distinct values of a field that are told apart.
const VALUES_MAX: usize = 1_000;

/// `GET|POST /loki/api/v1/detected_labels`
pub(super) async fn labels(State(app): State<Arc<App>>, params: Params) -> LokiResult {
    let range = params.time_range(app.clock.now_nanos())?;
    let (found, _) = streams(&app, selection(&params)?, range).await?;
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in found.iter().flat_map(|(labels, _)| labels.iter()) {
        values.entry(name).or_default().insert(value);
    }
    let list: Vec<Value> = values.iter().map(|(name, values)| json!({"label": name, "cardinality": values.len()})).collect();
    Ok(Json(json!({"detectedLabels": list})).into_response())
}

/// A field as it is found in lines.
#[derive(Default)]
struct Field {
    values: BTreeSet<String>,
    parsers: BTreeSet<&'static str>,
}

/// What kind of values there are.
fn kind(values: &BTreeSet<String>) -> &'static str {
    type Test = fn(&str) -> bool;
    let tests: [(&str, Test); 5] = [
        ("int", |v| v.parse::<i64>().is_ok()),
        ("float", |v| v.parse::<f64>().is_ok()),
        ("boolean", |v| matches!(v, "true" | "false")),
        ("duration", |v| v.ends_with(|c: char| c.is_ascii_alphabetic()) && skopos_reliability::duration::parse_duration(v).is_ok()),
        ("bytes", |v| v.ends_with('B') && v.starts_with(|c: char| c.is_ascii_digit()) && !v.contains(' ')),
    ];
    tests.iter().find(|(_, test)| values.iter().all(|v| test(v))).map_or("string", |(name, _)| name)
}

async fn found(app: &Arc<App>, params: &Params) -> Result<BTreeMap<String, Field>, LokiError> {
    let now = app.clock.now_nanos();
    let range = params.time_range(now)?;
    let logs = params.logs()?;
    let limit = params.number("line_limit", SAMPLE_LINES)?.clamp(1, LINES_MAX);
    // Each line is read as JSON or logfmt, by how it begins, unless the query says how.
    let parses =
        logs.stages.iter().any(|s| matches!(s, Stage::Json(_) | Stage::Logfmt { .. } | Stage::Regexp(_) | Stage::Pattern(_) | Stage::Unpack));
    let with = |stage: Stage| {
        let mut logs: LogExpr = logs.clone();
        logs.stages.push(stage);
        logs
    };
    let json = with(Stage::Json(Vec::new()));
    let logfmt = with(Stage::Logfmt { strict: false, keep_empty: false, fields: Vec::new() });
    let work = move |app: &Arc<App>, ctx: &skopos_query::QueryContext| {
        let request = LineRequest { range, limit, direction: Direction::Backward, now };
        let store = app.store.logs();
        if parses {
            return Ok((logql::lines(&*store, &logs, request, ctx)?, Vec::new()));
        }
        Ok((logql::lines(&*store, &json, request, ctx)?, logql::lines(&*store, &logfmt, request, ctx)?))
    };
    let (lines, _) = app.try_query(app.query_limits, work).await?;
    let (json_lines, logfmt_lines) = lines?;
    let mut fields: BTreeMap<String, Field> = BTreeMap::new();
    let mut add = |name: &str, value: &str, parser: Option<&'static str>| {
        let field = fields.entry(name.to_owned()).or_default();
        if field.values.len() < VALUES_MAX {
            field.values.insert(value.to_owned());
        }
        field.parsers.extend(parser);
    };
    for (lines, parser) in [(&json_lines, "json"), (&logfmt_lines, "logfmt")] {
        for line in lines {
            if parser == "json" {
                line.metadata.iter().for_each(|(name, value)| add(name, value, None));
            }
            let is_json = line.text.trim_start().starts_with('{');
            if parses || is_json == (parser == "json") {
                let sent = line.parsed.iter().filter(|(name, value)| !name.starts_with("__error") && !value.is_empty());
                sent.for_each(|(name, value)| add(name, value, if parses { None } else { Some(parser) }));
            }
        }
    }
    Ok(fields)
}

/// `GET|POST /loki/api/v1/detected_fields`
pub(super) async fn fields(State(app): State<Arc<App>>, params: Params) -> LokiResult {
    let limit = params.number("limit", VALUES_MAX)?;
    let fields = found(&app, &params).await?;
    let shown = |(name, field): (&String, &Field)| {
        let parsers = if field.parsers.is_empty() { Value::Null } else { json!(field.parsers) };
        let mut out = json!({"label": name, "type": kind(&field.values), "cardinality": field.values.len(), "parsers": parsers});
        if field.parsers.contains("json") {
            out["jsonPath"] = json!([name]);
        }
        out
    };
    let list: Vec<Value> = fields.iter().take(limit).map(shown).collect();
    Ok(Json(json!({"fields": list, "limit": limit})).into_response())
}

/// `GET|POST /loki/api/v1/detected_field/{name}/values`
pub(super) async fn values(State(app): State<Arc<App>>, Path(name): Path<String>, params: Params) -> LokiResult {
    let limit = params.number("limit", VALUES_MAX)?;
    let fields = found(&app, &params).await?;
    let values: Vec<&String> = fields.get(&name).map(|field| field.values.iter().take(limit).collect()).unwrap_or_default();
    Ok(Json(json!({"values": values, "limit": limit})).into_response())
}
