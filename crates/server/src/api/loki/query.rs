//! `query`, `query_range`, `format_query`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use skopos_query::TimeRange;
use skopos_query::logql::{self, Answer, LabelSet, Line, LineRequest, Query, Series, Steps};
use skopos_query::logs::Direction;

use super::{LokiError, LokiResult, Params, stats, success, write};
use crate::app::{App, Cost};

/// Header by which a client asks for labels by their origin.
const ENCODING_FLAGS: &str = "x-loki-response-encoding-flags";
/// Its value.
pub(super) const CATEGORIZE: &str = "categorize-labels";

/// Whether a client wants labels by their origin.
pub(super) fn categorized(headers: &HeaderMap) -> bool {
    let flags = headers.get_all(ENCODING_FLAGS).iter().filter_map(|v| v.to_str().ok());
    flags.flat_map(|all| all.split(',')).any(|flag| flag.trim() == CATEGORIZE)
}

/// `GET|POST /loki/api/v1/query`
pub(super) async fn query(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> LokiResult {
    let now = app.clock.now_nanos();
    let time = params.time("time")?.unwrap_or(now);
    let _ = params.limit()?;
    let text = params.query_text().to_owned();
    let Query::Metric(expr) = params.query()? else {
        return Err(LokiError::bad_request("log queries are not supported as an instant query type, please change your query to a range query type"));
    };
    let work = move |app: &Arc<App>, ctx: &skopos_query::QueryContext| logql::evaluate(&*app.store.logs(), &expr, Steps::one(time), true, now, ctx);
    let (answer, cost) = app.try_query(app.query_limits, work).await?;
    let answer = answer.map_err(|e| LokiError::of(e, &text))?;
    let mut body = begin(matches!(answer, Answer::Scalar(_)).then_some("scalar").unwrap_or("vector"));
    let returned = match answer {
        Answer::Scalar(value) => {
            write::scalar(&mut body, value, time);
            1
        }
        Answer::Series(series) => {
            write::vector(&mut body, &series, time);
            series.len()
        }
    };
    Ok(end(body, &cost, returned, categorized(&headers)))
}

/// `GET|POST /loki/api/v1/query_range`
pub(super) async fn query_range(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> LokiResult {
    let now = app.clock.now_nanos();
    let (start, end_time) = params.range(now)?;
    let text = params.query_text().to_owned();
    let flags = categorized(&headers);
    match params.query()? {
        Query::Logs(logs) => {
            let (limit, direction) = (params.limit()?, params.direction()?);
            let interval = params.duration("interval")?.unwrap_or(0);
            let request = LineRequest { range: TimeRange { start, end: end_time }, limit, direction, now };
            let work = move |app: &Arc<App>, ctx: &skopos_query::QueryContext| logql::lines(&*app.store.logs(), &logs, request, ctx);
            let (lines, cost) = app.try_query(app.query_limits, work).await?;
            let mut lines = lines.map_err(|e| LokiError::of(e, &text))?;
            thin(&mut lines, interval, direction);
            let mut body = begin("streams");
            write::streams(&mut body, &lines, flags);
            Ok(end(body, &cost, lines.len(), flags))
        }
        Query::Metric(expr) => {
            let step = params.step(start, end_time)?;
            let count = usize::try_from((end_time - start) / step).unwrap_or(usize::MAX).saturating_add(1);
            let steps = Steps { start, step, count };
            let work = move |app: &Arc<App>, ctx: &skopos_query::QueryContext| logql::evaluate(&*app.store.logs(), &expr, steps, false, now, ctx);
            let (answer, cost) = app.try_query(app.query_limits, work).await?;
            let mut series = match answer.map_err(|e| LokiError::of(e, &text))? {
                Answer::Series(series) => series,
                Answer::Scalar(value) => vec![Series { labels: LabelSet::default(), values: vec![value; steps.count] }],
            };
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
            let mut body = begin("matrix");
            write::matrix(&mut body, &series, steps);
            Ok(end(body, &cost, series.len(), flags))
        }
    }
}

/// At most one line of each stream in `interval` nanoseconds.
fn thin(lines: &mut Vec<Line>, interval: i64, direction: Direction) {
    if interval <= 0 {
        return;
    }
    let mut last: HashMap<LabelSet, i64> = HashMap::new();
    lines.retain(|line| {
        let far = |last: i64| match direction {
            Direction::Backward => last - line.time >= interval,
            Direction::Forward => line.time - last >= interval,
        };
        let keep = last.get(&line.stream).is_none_or(|last| far(*last));
        if keep {
            last.insert(line.stream.clone(), line.time);
        }
        keep
    });
}

fn begin(kind: &str) -> String {
    let mut body = String::with_capacity(4096);
    // Writing to a text cannot fail.
    let _ = write!(body, "{{\"status\":\"success\",\"data\":{{\"resultType\":\"{kind}\",\"result\":");
    body
}

fn end(mut body: String, cost: &Cost, returned: usize, categorized: bool) -> Response {
    if categorized {
        let _ = write!(body, ",\"encodingFlags\":[\"{CATEGORIZE}\"]");
    }
    let _ = write!(body, ",\"stats\":{}}}}}", stats::stats(cost, returned));
    ([(header::CONTENT_TYPE, "application/json; charset=UTF-8")], body).into_response()
}

/// `GET|POST /loki/api/v1/format_query`
pub(super) async fn format_query(params: Params) -> LokiResult {
    match params.query() {
        Ok(query) => Ok(success(json!(query.to_string()))),
        Err(error) => {
            let body = json!({"status": "invalid-query", "error": error.message()});
            Ok((axum::http::StatusCode::BAD_REQUEST, axum::Json(body)).into_response())
        }
    }
}
