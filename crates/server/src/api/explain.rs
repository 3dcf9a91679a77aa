//! Where a PromQL query's time goes: parsing, and each expression with what is below it.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use skopos_query::promql::{self, Stage, Value};
use skopos_query::{QueryContext, QueryError};

use super::params::RangeParams;
use crate::app::{App, Cost};
use crate::http::ApiResult;

/// One expression of the query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedStage {
    /// In its common form.
    expression: String,
    /// How deep it is in the query: the whole is at 0, and what it is made from follows it.
    depth: u32,
    series: u64,
    samples: u64,
    /// With what is below it.
    milliseconds: f64,
    /// Without.
    own_milliseconds: f64,
}

/// Where a query's time went.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The query in its common form.
    query: String,
    parse_milliseconds: f64,
    stages: Vec<ExplainedStage>,
    total_milliseconds: f64,
    /// Series of the result.
    series: usize,
    stats: Cost,
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// A tree as a list, each stage before those below it.
fn flatten(stages: &[Stage], depth: u32, out: &mut Vec<ExplainedStage>) {
    for stage in stages {
        let below: std::time::Duration = stage.children.iter().map(|child| child.time).sum();
        out.push(ExplainedStage {
            expression: stage.expression.clone(),
            depth,
            series: stage.series,
            samples: stage.samples,
            milliseconds: stage.time.as_secs_f64() * 1e3,
            own_milliseconds: stage.time.saturating_sub(below).as_secs_f64() * 1e3,
        });
        flatten(&stage.children, depth + 1, out);
    }
}

/// What to explain.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
pub struct ExplainParams {
    /// PromQL.
    pub query: String,
    /// Seconds between evaluations; 240 points when absent.
    pub step: Option<f64>,
}

fn explain_query(app: &App, text: &str, (start, end, step): (i64, i64, i64), ctx: &QueryContext) -> Result<Explanation, QueryError> {
    let began = Instant::now();
    let expr = promql::parse(text)?;
    let parse_milliseconds = milliseconds(began);
    let (output, tree) = app.promql.explain(&*app.store.metrics(), &expr, start, end, step, ctx)?;
    let mut stages = Vec::new();
    flatten(&tree, 0, &mut stages);
    let series = match &output.value {
        Value::Matrix(matrix) => matrix.len(),
        Value::Vector(vector) => vector.len(),
        _ => 1,
    };
    Ok(Explanation {
        query: expr.to_string(),
        parse_milliseconds,
        stages,
        total_milliseconds: parse_milliseconds + output.cost.total.as_secs_f64() * 1e3,
        series,
        stats: Cost::default(),
    })
}

/// `GET /v1/promql/explain`: runs a range query and says what each stage cost.
#[utoipa::path(get, path = "/v1/promql/explain", tag = "metrics", params(RangeParams, ExplainParams), responses((status = 200, description = "Series, samples and milliseconds by stage", body = crate::api::shapes::Explanation), (status = 400, description = "No PromQL; `error.at` says where")))]
pub async fn explain(
    State(app): State<Arc<App>>,
    Query(range): Query<RangeParams>,
    Query(params): Query<ExplainParams>,
) -> ApiResult<Json<Explanation>> {
    let range = range.range(&app)?;
    let (start, end) = (range.start.div_euclid(1_000_000), range.end.div_euclid(1_000_000));
    let points = i64::try_from(app.query_limits.points_max).unwrap_or(i64::MAX);
    let step = params.step.filter(|s| s.is_finite() && *s > 0.0).map_or((end - start) / 240, |s| (s * 1000.0) as i64);
    let step = step.max((end - start) / points + 1);
    let (mut explained, stats) = app.query(move |app, ctx| explain_query(app, &params.query, (start, end, step), ctx)).await?;
    explained.stats = stats;
    Ok(Json(explained))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_tree_becomes_a_list_with_what_each_took_itself() {
        let stage = |expression: &str, time, children| Stage {
            expression: expression.to_owned(),
            span: promql::parse("up").expect("a query").span,
            series: 2,
            samples: 7,
            time: Duration::from_millis(time),
            children,
        };
        let tree = [stage("sum(a) / b", 10, vec![stage("sum(a)", 6, vec![stage("a", 5, vec![])]), stage("b", 3, vec![])])];
        let mut list = Vec::new();
        flatten(&tree, 0, &mut list);
        let short: Vec<(&str, u32, f64, f64)> = list.iter().map(|s| (&*s.expression, s.depth, s.milliseconds, s.own_milliseconds)).collect();
        assert_eq!(short, [("sum(a) / b", 0, 10.0, 1.0), ("sum(a)", 1, 6.0, 1.0), ("a", 2, 5.0, 5.0), ("b", 1, 3.0, 3.0)]);
    }
}
