//! Where a PromQL query's time goes: parsing, each read, the rest.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Query, State};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use skopos_model::{Labels, MetricMetadata};
use skopos_query::metrics::{MatchOp, Matcher, Queryable, Select, Series, SeriesExemplars};
use skopos_query::promql::{self, Value};
use skopos_query::{QueryContext, QueryError};

use super::params::RangeParams;
use super::services::quoted;
use crate::app::{App, Cost};
use crate::http::ApiResult;

/// What reading one selector cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Read {
    selector: String,
    /// How far the samples read reach, milliseconds.
    range_milliseconds: i64,
    series: usize,
    samples: usize,
    milliseconds: f64,
}

/// Where a query's time went.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The query in its common form.
    query: String,
    parse_milliseconds: f64,
    reads: Vec<Read>,
    /// Everything but parsing and reading: functions, operators, aggregation.
    evaluate_milliseconds: f64,
    total_milliseconds: f64,
    /// Series of the result.
    series: usize,
    stats: Cost,
}

/// Passes every read on and notes what it cost.
struct Observed<'a> {
    source: &'a dyn Queryable,
    reads: Mutex<Vec<Read>>,
}

fn selector(matchers: &[Matcher]) -> String {
    let name = matchers.iter().find(|m| m.name == "__name__" && m.op == MatchOp::Equal);
    let mut text = name.map(|m| m.value.clone()).unwrap_or_default();
    let rest: Vec<String> = matchers
        .iter()
        .filter(|m| name.is_none_or(|n| *m != n))
        .map(|m| {
            let op = match m.op {
                MatchOp::Equal => "=",
                MatchOp::NotEqual => "!=",
                MatchOp::Regex => "=~",
                MatchOp::NotRegex => "!~",
            };
            format!("{}{op}{}", m.name, quoted(&m.value))
        })
        .collect();
    if !rest.is_empty() {
        let _ = write!(text, "{{{}}}", rest.join(","));
    }
    text
}

impl Queryable for Observed<'_> {
    fn select(&self, select: &Select<'_>, ctx: &QueryContext) -> Result<Vec<Series>, QueryError> {
        let began = Instant::now();
        let found = self.source.select(select, ctx)?;
        self.reads.lock().push(Read {
            selector: selector(select.matchers),
            range_milliseconds: select.end - select.start,
            series: found.len(),
            samples: found.iter().map(|s| s.values.len() + s.histograms.len()).sum(),
            milliseconds: milliseconds(began),
        });
        Ok(found)
    }

    fn series(&self, matchers: &[Vec<Matcher>], start: i64, end: i64, limit: usize, ctx: &QueryContext) -> Result<Vec<Arc<Labels>>, QueryError> {
        self.source.series(matchers, start, end, limit, ctx)
    }

    fn label_names(&self, matchers: &[Vec<Matcher>], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<String>, QueryError> {
        self.source.label_names(matchers, start, end, ctx)
    }

    fn label_values(&self, label: &str, matchers: &[Vec<Matcher>], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<String>, QueryError> {
        self.source.label_values(label, matchers, start, end, ctx)
    }

    fn exemplars(&self, matchers: &[Vec<Matcher>], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<SeriesExemplars>, QueryError> {
        self.source.exemplars(matchers, start, end, ctx)
    }

    fn metadata(&self, family: Option<&str>) -> Vec<MetricMetadata> {
        self.source.metadata(family)
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
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
    let source = app.store.metrics();
    let observed = Observed { source: &*source, reads: Mutex::default() };
    let began = Instant::now();
    let output = app.promql.range(&observed, &expr, start, end, step, ctx)?;
    let total = milliseconds(began);
    let reads = observed.reads.into_inner();
    let reading: f64 = reads.iter().map(|r| r.milliseconds).sum();
    let series = match &output.value {
        Value::Matrix(matrix) => matrix.len(),
        Value::Vector(vector) => vector.len(),
        _ => 1,
    };
    Ok(Explanation {
        query: expr.to_string(),
        parse_milliseconds,
        reads,
        evaluate_milliseconds: (total - reading).max(0.0),
        total_milliseconds: parse_milliseconds + total,
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
    use super::*;

    #[test]
    fn selectors_are_written_as_queries_have_them() {
        let check = |query: &str, expected: &str| {
            let expr = promql::parse(query).expect("a query");
            assert_eq!(selector(&expr.selectors()[0].matchers), expected, "{query}");
        };
        check("rate(up{job=\"a\",env!~\"t.*\"}[5m])", "up{job=\"a\",env!~\"t.*\"}");
        check("up", "up");
        check("{__name__=~\"a.*\"}", "{__name__=~\"a.*\"}");
    }
}
