//! `GET /api/search`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde_json::{Value as Answer, json};
use skopos_query::traceql::{
    Body, Field, FieldExpr, FoundSpanset, FoundTrace, Intrinsic, Op, Scope, Search, SpansetExpr, Stage, Static, parse, search as run,
};

use super::error::TempoResult;
use super::params::{Params, key_values, search_metrics};
use crate::app::App;
use crate::http::ApiError;
use crate::time_arg::parse_duration;

/// Traces of an answer where none are asked for, and at most.
const LIMIT: usize = 20;
const LIMIT_MAX: usize = 5_000;
/// Spans of each spanset where none are asked for, and at most.
const SPANS_PER_SET: usize = 3;
const SPANS_PER_SET_MAX: usize = 10_000;

/// `GET /api/search`: by TraceQL (`q`), or by `tags`, `minDuration` and `maxDuration`.
pub(super) async fn search(State(app): State<Arc<App>>, Query(params): Query<Vec<(String, String)>>) -> TempoResult<Json<Answer>> {
    let params = Params(params);
    let stages = stages(&params)?;
    let range = params.range(&app)?;
    let limit = params.number("limit", LIMIT, LIMIT_MAX)?;
    let spans_per_set = match params.number("spss", SPANS_PER_SET, SPANS_PER_SET_MAX)? {
        // Tempo's way to say all of them.
        0 => SPANS_PER_SET_MAX,
        some => some,
    };
    let limit = if limit == 0 { LIMIT } else { limit };
    let (found, cost) = app.query(move |app, ctx| run(&*app.store.traces(), &Search { range, stages: &stages, limit, spans_per_set }, ctx)).await?;
    let traces: Vec<Answer> = found.traces.iter().map(trace).collect();
    let mut answer = json!({ "traces": traces, "metrics": search_metrics(&cost, found.inspected) });
    if found.gave_up {
        answer["message"] =
            json!(format!("looked at the newest {} traces with spans that could match: ask for a shorter range to see others", found.inspected));
    }
    Ok(Json(answer))
}

fn stages(params: &Params) -> TempoResult<Vec<Stage>> {
    if let Some(text) = params.get("q") {
        return match parse(text)?.body {
            Body::Search(stages) => Ok(stages),
            Body::Metrics(_) => Err(ApiError::bad_request("this is a metrics query: /api/metrics/query_range answers it").into()),
        };
    }
    let mut condition = FieldExpr::TRUE;
    for (key, value) in logfmt(params.get("tags").unwrap_or(""))? {
        condition = and(condition, tag(&key, &value));
    }
    for (name, op) in [("minDuration", Op::GreaterEqual), ("maxDuration", Op::LessEqual)] {
        if let Some(text) = params.get(name) {
            let nanos = parse_duration(text).map_err(|e| ApiError::bad_request(format!("invalid {name}: {e}")))?;
            condition = and(condition, compare(Field::Intrinsic(Intrinsic::TraceDuration), op, Static::Duration(nanos)));
        }
    }
    Ok(vec![Stage::Spansets(SpansetExpr::Filter(condition))])
}

fn and(left: FieldExpr, right: FieldExpr) -> FieldExpr {
    if left == FieldExpr::TRUE { right } else { FieldExpr::Binary(Op::And, Box::new(left), Box::new(right)) }
}

fn compare(field: Field, op: Op, value: Static) -> FieldExpr {
    FieldExpr::Binary(op, Box::new(FieldExpr::Field(field)), Box::new(FieldExpr::Static(value)))
}

/// A tag equals a text, whatever its type.
fn tag(key: &str, value: &str) -> FieldExpr {
    let field = match key {
        "name" => Field::Intrinsic(Intrinsic::Name),
        "root.name" => Field::Intrinsic(Intrinsic::RootName),
        "root.service.name" => Field::Intrinsic(Intrinsic::RootService),
        "status.code" | "status" => {
            let status = [skopos_model::StatusCode::Ok, skopos_model::StatusCode::Error, skopos_model::StatusCode::Unset];
            let known = status.into_iter().find(|s| s.as_str() == value);
            return compare(Field::Intrinsic(Intrinsic::Status), Op::Equal, known.map_or(Static::Nil, Static::Status));
        }
        "error" if value == "true" => {
            return compare(Field::Intrinsic(Intrinsic::Status), Op::Equal, Static::Status(skopos_model::StatusCode::Error));
        }
        key => Field::attribute(Scope::Any, key),
    };
    let mut any = compare(field.clone(), Op::Equal, Static::Text(value.to_owned()));
    let typed = [
        value.parse().ok().map(Static::Int),
        value.parse().ok().filter(|n: &f64| n.is_finite()).map(Static::Float),
        value.parse().ok().map(Static::Bool),
    ];
    for value in typed.into_iter().flatten() {
        any = FieldExpr::Binary(Op::Or, Box::new(any), Box::new(compare(field.clone(), Op::Equal, value)));
    }
    any
}

/// `key=value key="two words"`.
fn logfmt(text: &str) -> Result<Vec<(String, String)>, ApiError> {
    let wrong = |what: &str| ApiError::bad_request(format!("invalid tags: {what}; expected key=value pairs with spaces between them"));
    let mut rest = text.trim_start();
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(|| wrong(&format!("{rest:?} has no value")))?;
        let value;
        if let Some(quoted) = after.strip_prefix('"') {
            let mut text = String::new();
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next() {
                    Some((at, '"')) => break at,
                    Some((_, '\\')) => text.extend(chars.next().map(|(_, c)| c)),
                    Some((_, c)) => text.push(c),
                    None => return Err(wrong("a quote is not closed")),
                }
            };
            value = text;
            rest = quoted[end + 1..].trim_start();
        } else {
            let end = after.find(char::is_whitespace).unwrap_or(after.len());
            value = after[..end].to_owned();
            rest = after[end..].trim_start();
        }
        out.push((key.trim().to_owned(), value));
    }
    Ok(out)
}

fn trace(found: &FoundTrace) -> Answer {
    let services: serde_json::Map<String, Answer> = found
        .services
        .iter()
        .map(|(name, (spans, errors))| {
            let mut counts = json!({ "spanCount": spans });
            if *errors > 0 {
                counts["errorCount"] = json!(errors);
            }
            (name.clone(), counts)
        })
        .collect();
    let sets: Vec<Answer> = found.spansets.iter().map(spanset).collect();
    let root_service = if found.root_service.is_empty() { "<root span not yet received>" } else { &found.root_service };
    let mut out = json!({
        "traceID": found.trace_id.to_hex(),
        "rootServiceName": root_service,
        "startTimeUnixNano": found.start.to_string(),
        "durationMs": found.duration / 1_000_000,
        "spanSet": sets.first(),
        "spanSets": sets,
        "serviceStats": services,
    });
    if !found.root_name.is_empty() {
        out["rootTraceName"] = json!(found.root_name);
    }
    out
}

fn spanset(set: &FoundSpanset) -> Answer {
    let spans: Vec<Answer> = set
        .spans
        .iter()
        .map(|span| {
            let mut out = json!({
                "spanID": span.span_id.to_hex(),
                "name": span.name,
                "startTimeUnixNano": span.start.to_string(),
                "durationNanos": span.duration.to_string(),
            });
            if !span.attributes.is_empty() {
                out["attributes"] = key_values(&span.attributes);
            }
            out
        })
        .collect();
    let mut out = json!({ "spans": spans, "matched": set.matched });
    if !set.attributes.is_empty() {
        out["attributes"] = key_values(&set.attributes);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_as_conditions() {
        let params = |pairs: &[(&str, &str)]| Params(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        let text = |pairs: &[(&str, &str)]| match &stages(&params(pairs)).unwrap()[..] {
            [Stage::Spansets(expr)] => expr.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(text(&[]), "{ }");
        assert_eq!(
            text(&[("tags", "service.name=\"a b\" name=x"), ("minDuration", "5ms")]),
            "{ ((.service.name = \"a b\") && (name = \"x\")) && (traceDuration >= 5ms) }"
        );
        assert_eq!(text(&[("tags", "n=true")]), "{ (.n = \"true\") || (.n = true) }");
        assert!(stages(&params(&[("tags", "novalue")])).is_err() && stages(&params(&[("tags", "a=\"b")])).is_err());
        assert!(stages(&params(&[("q", "{} | rate()")])).is_err());
    }
}
