//! What all of Jaeger's APIs ask for: services, operations, traces.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use skopos_model::{SpanKind, StatusCode, TraceId};
use skopos_query::filter::Filter;
use skopos_query::traceql::{Field, FieldExpr, Intrinsic, Op, Scope, Search, SpansetExpr, Stage, Static, search};
use skopos_query::traces::SpanRow;
use skopos_query::{QueryContext, QueryError, TimeRange};

use crate::app::App;
use crate::http::{ApiError, ApiResult};
use crate::time_arg::parse_duration;

/// Traces of an answer where no number is asked for, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1_500;
/// Most spans of one answer: later traces are left out.
const SPANS_MAX: usize = 200_000;
/// Most services and operations listed.
const NAMES_MAX: usize = 10_000;
/// How far back a search goes that says nothing, as in Jaeger's UI.
const LOOKBACK: i64 = 48 * 3_600_000_000_000;

/// Parameters by name.
#[derive(Debug)]
pub(super) struct Params(pub(super) Vec<(String, String)>);

impl Params {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// All of one name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

/// A search for traces: one of their spans has all of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Find {
    pub(super) service: String,
    pub(super) operation: String,
    pub(super) tags: Vec<(String, String)>,
    /// Start of the span, Unix nanoseconds, the end exclusive.
    pub(super) start: i64,
    pub(super) end: i64,
    /// Nanoseconds, inclusive.
    pub(super) duration_min: Option<i64>,
    pub(super) duration_max: Option<i64>,
    pub(super) limit: usize,
}

impl Find {
    /// From the parameters of version 1: times in microseconds, tags as `key:value` or a JSON object.
    pub(super) fn v1(params: &Params, now: i64) -> ApiResult<Self> {
        let time = |name: &str| match params.get(name).map(str::parse::<i64>) {
            None => Ok(None),
            Some(Ok(us)) => Ok(Some(us.saturating_mul(1_000))),
            Some(Err(_)) => Err(ApiError::bad_request(format!("unable to parse param '{name}': expected microseconds since 1970"))),
        };
        let end = time("end")?.unwrap_or(now);
        let lookback = params.get("lookback").filter(|l| *l != "custom").map(parse_duration).transpose();
        let lookback = lookback.map_err(|e| ApiError::bad_request(format!("unable to parse param 'lookback': {e}")))?;
        let start = time("start")?.unwrap_or_else(|| end.saturating_sub(lookback.unwrap_or(LOOKBACK)));
        let duration = |name: &str| {
            let read = params.get(name).map(parse_duration).transpose();
            read.map_err(|e| ApiError::bad_request(format!("unable to parse param '{name}': {e}")))
        };
        let mut tags = Vec::new();
        for pair in params.all("tag") {
            let (key, value) = pair
                .split_once(':')
                .ok_or_else(|| ApiError::bad_request(format!("malformed 'tag' parameter, expecting key:value, received: {pair}")))?;
            tags.push((key.to_owned(), value.to_owned()));
        }
        for json in params.all("tags") {
            tags.extend(json_tags(json, "tags")?);
        }
        let limit = match params.get("limit").map(str::parse::<usize>) {
            None => LIMIT,
            Some(Ok(limit)) => limit,
            Some(Err(_)) => return Err(ApiError::bad_request("unable to parse param 'limit': expected a whole number")),
        };
        Ok(Self {
            service: params.get("service").ok_or_else(|| ApiError::bad_request("parameter 'service' is required"))?.to_owned(),
            operation: params.get("operation").filter(|o| *o != "all").unwrap_or("").to_owned(),
            tags,
            start,
            // The last microsecond is inside.
            end: end.saturating_add(1_000),
            duration_min: duration("minDuration")?,
            duration_max: duration("maxDuration")?,
            limit,
        })
    }

    /// The search in TraceQL's terms.
    fn stages(&self) -> Vec<Stage> {
        let mut condition = FieldExpr::TRUE;
        let mut and = |expr: FieldExpr| {
            let known = std::mem::replace(&mut condition, FieldExpr::TRUE);
            condition = if known == FieldExpr::TRUE { expr } else { FieldExpr::Binary(Op::And, Box::new(known), Box::new(expr)) };
        };
        if !self.service.is_empty() {
            and(compare(Field::attribute(Scope::Resource, "service.name"), Op::Equal, text(&self.service)));
        }
        if !self.operation.is_empty() {
            and(compare(Field::Intrinsic(Intrinsic::Name), Op::Equal, text(&self.operation)));
        }
        for (op, bound) in [(Op::GreaterEqual, self.duration_min), (Op::LessEqual, self.duration_max)] {
            if let Some(nanos) = bound.filter(|n| *n > 0) {
                and(compare(Field::Intrinsic(Intrinsic::Duration), op, Static::Duration(nanos)));
            }
        }
        for (key, value) in &self.tags {
            and(tag(key, value));
        }
        vec![Stage::Spansets(SpansetExpr::Filter(condition))]
    }
}

/// `{"key": "value"}`; values that are no texts count as their JSON.
pub(super) fn json_tags(json: &str, name: &str) -> ApiResult<Vec<(String, String)>> {
    let map: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json)
        .map_err(|e| ApiError::bad_request(format!("malformed '{name}' parameter, cannot unmarshal JSON: {e}; expected an object of texts")))?;
    Ok(map.into_iter().map(|(key, value)| (key, value.as_str().map_or_else(|| value.to_string(), str::to_owned))).collect())
}

fn text(text: &str) -> Static {
    Static::Text(text.to_owned())
}

fn compare(field: Field, op: Op, value: Static) -> FieldExpr {
    FieldExpr::Binary(op, Box::new(FieldExpr::Field(field)), Box::new(FieldExpr::Static(value)))
}

fn any(all: impl IntoIterator<Item = FieldExpr>) -> FieldExpr {
    let or = |left, right| FieldExpr::Binary(Op::Or, Box::new(left), Box::new(right));
    all.into_iter().reduce(or).unwrap_or(FieldExpr::Static(Static::Bool(false)))
}

/// A tag of the span, its process, its scope, or one of its logs or links equals the text. Tags that Jaeger makes of a span's own fields are
/// looked for there too.
fn tag(key: &str, value: &str) -> FieldExpr {
    let mut spellings = vec![text(value)];
    spellings.extend(value.parse().ok().map(Static::Int));
    spellings.extend(value.parse().ok().filter(|n: &f64| n.is_finite()).map(Static::Float));
    spellings.extend(value.parse().ok().map(Static::Bool));
    let scopes = [Scope::Span, Scope::Resource, Scope::Event, Scope::Link, Scope::Instrumentation];
    let mut conditions: Vec<FieldExpr> =
        scopes.iter().flat_map(|scope| spellings.iter().map(|v| compare(Field::attribute(*scope, key), Op::Equal, v.clone()))).collect();
    let status = Field::Intrinsic(Intrinsic::Status);
    match (key, value) {
        ("error", "true") => conditions.push(compare(status, Op::Equal, Static::Status(StatusCode::Error))),
        ("otel.status_code", _) => {
            let code = [StatusCode::Ok, StatusCode::Error, StatusCode::Unset].into_iter().find(|s| s.as_str().eq_ignore_ascii_case(value));
            conditions.extend(code.map(|code| compare(status, Op::Equal, Static::Status(code))));
        }
        ("otel.status_description", _) => conditions.push(compare(Field::Intrinsic(Intrinsic::StatusMessage), Op::Equal, text(value))),
        ("span.kind", _) => {
            let kind = (0..=5).map(SpanKind::from_number).find(|k| k.as_str() == value);
            conditions.extend(kind.map(|kind| compare(Field::Intrinsic(Intrinsic::Kind), Op::Equal, Static::Kind(kind))));
        }
        ("otel.scope.name" | "otel.library.name", _) => {
            conditions.push(compare(Field::Intrinsic(Intrinsic::InstrumentationName), Op::Equal, text(value)));
        }
        ("event", _) => conditions.push(compare(Field::Intrinsic(Intrinsic::EventName), Op::Equal, text(value))),
        _ => {}
    }
    any(conditions)
}

/// Whole traces, each by start; as many as fit an answer.
fn whole(app: &App, ids: &[TraceId], ctx: &QueryContext) -> Result<Vec<Vec<SpanRow>>, QueryError> {
    let mut out = Vec::new();
    let mut held = 0;
    for ids in ids.chunks(32) {
        let mut by_id: HashMap<TraceId, Vec<SpanRow>> = HashMap::new();
        match app.store.traces().traces(&ids.iter().copied().collect(), ctx) {
            Ok(spans) => spans.into_iter().for_each(|span| by_id.entry(span.trace_id).or_default().push(span)),
            // Large ones are read one by one.
            Err(QueryError::Limit { .. }) => {
                for id in ids {
                    by_id.insert(*id, app.store.traces().trace(*id, ctx)?);
                }
            }
            Err(other) => return Err(other),
        }
        for id in ids {
            let Some(mut spans) = by_id.remove(id).filter(|spans| !spans.is_empty()) else { continue };
            held += spans.len();
            if held > SPANS_MAX && !out.is_empty() {
                return Ok(out);
            }
            spans.sort_by_key(|span| (span.start, span.span_id));
            out.push(spans);
        }
    }
    Ok(out)
}

/// Traces with a span that has all of it, the newest first.
pub(super) async fn traces(app: &Arc<App>, find: Find) -> ApiResult<Vec<Vec<SpanRow>>> {
    if find.start >= find.end {
        return Err(ApiError::bad_request("the start of the search is not before its end"));
    }
    let run = move |app: &Arc<App>, ctx: &QueryContext| {
        let stages = find.stages();
        let range = TimeRange { start: find.start, end: find.end };
        let limit = if find.limit == 0 { LIMIT } else { find.limit.min(LIMIT_MAX) };
        let found = search(&*app.store.traces(), &Search { range, stages: &stages, limit, spans_per_set: 0 }, ctx)?;
        let ids: Vec<TraceId> = found.traces.iter().map(|t| t.trace_id).collect();
        whole(app, &ids, ctx)
    };
    Ok(app.query(run).await?.0)
}

/// Traces by id; those that are not there are left out.
pub(super) async fn by_ids(app: &Arc<App>, mut ids: Vec<TraceId>) -> ApiResult<Vec<Vec<SpanRow>>> {
    ids.truncate(LIMIT_MAX);
    Ok(app.query(move |app, ctx| whole(app, &ids, ctx)).await?.0)
}

/// All services with spans.
pub(super) async fn services(app: &Arc<App>) -> ApiResult<Vec<String>> {
    let groups = ["service".to_owned()];
    let (rows, _) = app.query(move |app, ctx| app.store.traces().red(TimeRange::ALL, &Filter::all(), &groups, ctx)).await?;
    let mut names: Vec<String> = rows.into_iter().filter_map(|row| row.group.into_iter().next()).filter(|name| !name.is_empty()).collect();
    names.sort();
    names.truncate(NAMES_MAX);
    Ok(names)
}

/// Operations of a service with their kinds; of all kinds when none is given.
pub(super) async fn operations(app: &Arc<App>, service: &str, kind: &str) -> ApiResult<Vec<(String, String)>> {
    let mut filter = vec![super::super::params::equal(skopos_query::filter::Field::Service, service)];
    if !kind.is_empty() {
        filter.push(super::super::params::equal(skopos_query::filter::Field::Kind, kind));
    }
    let groups = ["name".to_owned(), "kind".to_owned()];
    let (rows, _) = app.query(move |app, ctx| app.store.traces().red(TimeRange::ALL, &Filter::And(filter), &groups, ctx)).await?;
    let mut found: Vec<(String, String)> = rows
        .into_iter()
        .map(|row| {
            let mut group = row.group.into_iter();
            let (name, kind) = (group.next().unwrap_or_default(), group.next().unwrap_or_default());
            (name, if kind == "unspecified" { String::new() } else { kind })
        })
        .collect();
    found.sort();
    found.truncate(NAMES_MAX);
    Ok(found)
}

/// Calls between services: caller, called, how often.
pub(super) async fn dependencies(app: &Arc<App>, start: i64, end: i64) -> ApiResult<Vec<(String, String, u64)>> {
    let (edges, _) = app.query(move |app, ctx| app.store.traces().edges(TimeRange { start, end }, None, ctx)).await?;
    let mut calls: BTreeMap<(String, String), u64> = BTreeMap::new();
    for edge in edges.into_iter().filter(|edge| edge.kind == "service") {
        *calls.entry((edge.client, edge.server)).or_default() += edge.count;
    }
    Ok(calls.into_iter().map(|((parent, child), count)| (parent, child, count)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_version_1() {
        let params = |text: &[(&str, &str)]| Params(text.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        let find = Find::v1(
            &params(&[
                ("service", "a"),
                ("tags", r#"{"n":"5"}"#),
                ("tag", "b:c:d"),
                ("minDuration", "5ms"),
                ("lookback", "1h"),
                ("end", "3600000000"),
            ]),
            0,
        )
        .unwrap();
        assert_eq!((find.start, find.end, find.limit, find.duration_min), (0, 3_600_000_001_000, LIMIT, Some(5_000_000)));
        assert_eq!(find.tags, [("b".to_owned(), "c:d".to_owned()), ("n".to_owned(), "5".to_owned())]);
        for bad in [&[("limit", "5")][..], &[("service", "a"), ("tags", "x")], &[("service", "a"), ("tag", "x")], &[("service", "a"), ("end", "x")]] {
            assert!(Find::v1(&params(bad), 0).is_err(), "{bad:?}");
        }
    }
}
