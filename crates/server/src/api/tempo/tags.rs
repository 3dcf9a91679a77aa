//! Names of fields and their values, for query builders.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde_json::{Value as Answer, json};
use skopos_model::SpanKind;
use skopos_query::traceql::{
    Body, Field, FieldExpr, INTRINSICS, Intrinsic, Op, Scope, SpansetExpr, Stage, Static, Value, parse, parse_field, values as run,
};
use skopos_query::{QueryError, TimeRange};

use super::error::TempoResult;
use super::params::Params;
use crate::app::App;
use crate::http::ApiError;

/// Newest spans whose keys are listed.
const TAG_SPANS_MAX: usize = 100_000;
/// Most names of a scope, and values of a field.
const NAMES_MAX: usize = 5_000;
const VALUES_DEFAULT: usize = 1_000;

const SCOPES: &[&str] = &["span", "resource", "event", "link", "instrumentation", "intrinsic"];

/// `GET /api/search/tags`: names without their scopes.
pub(super) async fn tags(State(app): State<Arc<App>>, Query(params): Query<Vec<(String, String)>>) -> TempoResult<Json<Answer>> {
    let scopes = names(&app, Params(params)).await?;
    let names: BTreeSet<&String> = scopes.iter().filter(|(scope, _)| **scope != "intrinsic").flat_map(|(_, names)| names).collect();
    Ok(Json(json!({ "tagNames": names, "metrics": {} })))
}

/// `GET /api/v2/search/tags`: names by scope.
pub(super) async fn tags_v2(State(app): State<Arc<App>>, Query(params): Query<Vec<(String, String)>>) -> TempoResult<Json<Answer>> {
    let scopes = names(&app, Params(params)).await?;
    let scopes: Vec<Answer> =
        SCOPES.iter().filter_map(|scope| Some(json!({ "name": scope, "tags": scopes.get(scope).filter(|names| !names.is_empty())? }))).collect();
    Ok(Json(json!({ "scopes": scopes, "metrics": {} })))
}

async fn names(app: &Arc<App>, params: Params) -> TempoResult<BTreeMap<&'static str, BTreeSet<String>>> {
    let wanted: Vec<&'static str> = match params.get("scope") {
        None | Some("none" | "all") => SCOPES.to_vec(),
        Some(scope) => match SCOPES.iter().find(|s| **s == scope) {
            Some(scope) => vec![scope],
            None => return Err(ApiError::bad_request(format!("invalid scope: {scope}; expected one of {}", SCOPES.join(", "))).into()),
        },
    };
    let range = params.range(app)?;
    let limit = match params.number("limit", NAMES_MAX, NAMES_MAX)? {
        0 => NAMES_MAX,
        some => some,
    };
    let mut out: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    if wanted.contains(&"intrinsic") {
        let shown = INTRINSICS.iter().filter(|row| row.intrinsic != Intrinsic::Parent);
        out.insert("intrinsic", shown.flat_map(|row| std::iter::once(row.name).chain(row.alias)).map(str::to_owned).collect());
    }
    if wanted != ["intrinsic"] {
        let (found, _) = app.query(move |app, ctx| keys(app, range, ctx)).await?;
        for (scope, names) in found {
            if wanted.contains(&scope) {
                out.insert(scope, names.into_iter().take(limit).collect());
            }
        }
    }
    Ok(out)
}

fn keys(app: &Arc<App>, range: TimeRange, ctx: &skopos_query::QueryContext) -> Result<BTreeMap<&'static str, BTreeSet<String>>, QueryError> {
    let mut found: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    let mut left = TAG_SPANS_MAX;
    app.store.traces().rows(range, &skopos_query::filter::Filter::all(), ctx, &mut |spans| {
        let mut add = |scope: &'static str, key: &String| {
            let names = found.entry(scope).or_default();
            if !names.contains(key) && names.len() < NAMES_MAX {
                names.insert(key.clone());
            }
        };
        for span in &spans {
            span.attributes.keys().for_each(|key| add("span", key));
            span.resource.keys().for_each(|key| add("resource", key));
            for (scope, list) in [("event", &span.events), ("link", &span.links)] {
                list.iter().filter_map(|one| one["attributes"].as_object()).flat_map(serde_json::Map::keys).for_each(|key| add(scope, key));
            }
        }
        left = left.saturating_sub(spans.len());
        Ok(left > 0)
    })?;
    Ok(found)
}

/// `GET /api/search/tag/{tag}/values`: a name without its scope.
pub(super) async fn values(
    State(app): State<Arc<App>>,
    Path(tag): Path<String>,
    Query(params): Query<Vec<(String, String)>>,
) -> TempoResult<Json<Answer>> {
    let field = parse_field(&tag).unwrap_or_else(|_| Field::attribute(Scope::Any, &tag));
    let found = found(&app, field, Params(params)).await?;
    let values: Vec<String> = found.iter().map(|value| value.to_text().into_owned()).collect();
    Ok(Json(json!({ "tagValues": values, "metrics": {} })))
}

/// `GET /api/v2/search/tag/{tag}/values`: a field as TraceQL writes it; values with their types.
pub(super) async fn values_v2(
    State(app): State<Arc<App>>,
    Path(tag): Path<String>,
    Query(params): Query<Vec<(String, String)>>,
) -> TempoResult<Json<Answer>> {
    let field = parse_field(&tag).unwrap_or_else(|_| Field::attribute(Scope::Any, &tag));
    let found = found(&app, field, Params(params)).await?;
    let word = |value: &Value<'_>| match value {
        Value::Int(_) => "int",
        Value::Float(_) => "float",
        Value::Bool(_) => "bool",
        Value::Duration(_) => "duration",
        Value::Status(_) | Value::Kind(_) => "keyword",
        _ => "string",
    };
    let values: Vec<Answer> = found.iter().map(|value| json!({ "type": word(value), "value": value.to_text() })).collect();
    Ok(Json(json!({ "tagValues": values, "metrics": {} })))
}

async fn found(app: &Arc<App>, field: Field, params: Params) -> TempoResult<Vec<Value<'static>>> {
    let range = params.range(app)?;
    let limit = match params.number("limit", VALUES_DEFAULT, NAMES_MAX)? {
        0 => NAMES_MAX,
        some => some,
    };
    // A builder sends what is written so far: what does not parse restricts nothing.
    let mut stages = match params.get("q").map(parse) {
        Some(Ok(query)) => match query.body {
            Body::Search(stages) => stages,
            Body::Metrics(_) => Vec::new(),
        },
        _ => Vec::new(),
    };
    let field = match field {
        Field::Intrinsic(Intrinsic::Status) => {
            let all = [skopos_model::StatusCode::Error, skopos_model::StatusCode::Ok, skopos_model::StatusCode::Unset];
            return Ok(all.into_iter().map(Value::Status).collect());
        }
        Field::Intrinsic(Intrinsic::Kind) => return Ok((0..=5).map(SpanKind::from_number).map(Value::Kind).collect()),
        // The root's own name and service.
        Field::Intrinsic(Intrinsic::RootName) => of_roots(&mut stages, Field::Intrinsic(Intrinsic::Name)),
        Field::Intrinsic(Intrinsic::RootService) => of_roots(&mut stages, Field::attribute(Scope::Resource, "service.name")),
        Field::Intrinsic(
            Intrinsic::Name | Intrinsic::StatusMessage | Intrinsic::EventName | Intrinsic::InstrumentationName | Intrinsic::InstrumentationVersion,
        )
        | Field::Attribute { .. } => field,
        // Ids, durations and numbers of the tree are all different.
        Field::Intrinsic(_) => return Ok(Vec::new()),
    };
    let (values, _) = app.query(move |app, ctx| run(&*app.store.traces(), &field, &stages, range, limit, ctx)).await?;
    Ok(values.into_iter().map(|(value, _)| value).collect())
}

/// Restricts to roots where there is no other condition.
fn of_roots(stages: &mut Vec<Stage>, field: Field) -> Field {
    let root = FieldExpr::Binary(
        Op::Less,
        Box::new(FieldExpr::Field(Field::Intrinsic(Intrinsic::NestedSetParent))),
        Box::new(FieldExpr::Static(Static::Int(0))),
    );
    *stages = vec![Stage::Spansets(SpansetExpr::Filter(root))];
    field
}
