//! Traces: search, look-up, critical path, their logs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use skopos_model::{SpanId, TraceId};
use skopos_query::filter::{Field, Filter};
use skopos_query::logs::{Direction, LogSearch};
use skopos_query::traces::{SpanRow, TraceSearch, TraceSummary};
use skopos_query::{QueryError, TimeRange};

use super::logs::{LogsResponse, run_search};
use super::params::{RangeParams, equal};
use crate::app::{App, Cost};
use crate::http::{ApiError, ApiResult};

/// Parameters of a trace search.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct SearchParams {
    /// Most traces, 50 when absent, at most 1,000.
    pub limit: Option<usize>,
}

/// Traces in a list.
#[derive(Debug, Serialize)]
pub struct TracesResponse {
    traces: Vec<TraceSummary>,
    stats: Cost,
}

/// `GET /v1/traces`
#[utoipa::path(get, path = "/v1/traces", tag = "traces", params(RangeParams, SearchParams), responses((status = 200, description = "Traces with a matching span, newest first", body = crate::api::shapes::TracePage)))]
pub async fn search(
    State(app): State<Arc<App>>,
    Query(range): Query<RangeParams>,
    Query(params): Query<SearchParams>,
) -> ApiResult<Json<TracesResponse>> {
    let search = TraceSearch { range: range.range(&app)?, filter: range.filter()?, limit: params.limit.unwrap_or(50).clamp(1, 1000) };
    let (traces, stats) = app.query(move |app, ctx| app.store.traces().search(&search, ctx)).await?;
    Ok(Json(TracesResponse { traces, stats }))
}

/// One trace with its critical path.
#[derive(Debug, Serialize)]
pub struct TraceDetail {
    trace_id: TraceId,
    spans: Vec<SpanRow>,
    critical_path: Vec<Section>,
    state: &'static str,
    log_count: u64,
    stats: Cost,
}

/// A stretch of the critical path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Whose time it is.
    pub span_id: SpanId,
    /// Unix nanoseconds.
    #[serde(with = "skopos_query::logs::nanos_text")]
    pub start: i64,
    /// Nanoseconds.
    pub duration: i64,
}

pub(super) fn parse_id(text: &str) -> ApiResult<TraceId> {
    // Jaeger and others leave leading zeros away.
    format!("{text:0>32}").parse().map_err(|_| ApiError::bad_request(format!("{text:?} is no trace id: expected up to 32 hexadecimal digits")))
}

/// `GET /v1/traces/{id}`
#[utoipa::path(get, path = "/v1/traces/{id}", tag = "traces", params(("id" = String, Path)), responses((status = 200, description = "All spans and the critical path", body = crate::api::shapes::Trace), (status = 404, description = "No such trace")))]
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<TraceDetail>> {
    let trace_id = parse_id(&id)?;
    let ((spans, log_count), stats) = app
        .query(move |app, ctx| {
            let spans = app.store.traces().trace(trace_id, ctx)?;
            let range = around(&spans);
            let histogram = app.store.logs().histogram(range, &equal(Field::TraceId, &trace_id.to_hex()), 3_600_000_000_000, ctx)?;
            let log_count = histogram.series.iter().flat_map(|(_, counts)| counts).sum();
            Ok::<_, QueryError>((spans, log_count))
        })
        .await?;
    if spans.is_empty() {
        return Err(ApiError::not_found(format!(
            "there is no trace {trace_id}: it was not sampled, has passed its retention, or has not arrived yet"
        )));
    }
    let known: HashSet<SpanId> = spans.iter().map(|s| s.span_id).collect();
    let complete =
        spans.iter().any(|s| s.parent_span_id.is_none()) && spans.iter().all(|s| s.parent_span_id.is_none() || known.contains(&s.parent_span_id));
    Ok(Json(TraceDetail {
        trace_id,
        critical_path: critical_path(&spans),
        spans,
        state: if complete { "complete" } else { "partial" },
        log_count,
        stats,
    }))
}

/// An hour to either side: a log line may come from a clock that is off, or from a retry after the trace.
fn around(spans: &[SpanRow]) -> TimeRange {
    let hour = 3_600_000_000_000;
    match (spans.iter().map(|s| s.start).min(), spans.iter().map(|s| s.start + s.duration).max()) {
        (Some(start), Some(end)) => TimeRange { start: start - hour, end: end + hour },
        _ => TimeRange::ALL,
    }
}

/// `GET /v1/traces/{id}/logs`
#[utoipa::path(get, path = "/v1/traces/{id}/logs", tag = "traces", params(("id" = String, Path)), responses((status = 200, description = "Records that carry the trace id, oldest first", body = crate::api::shapes::LogPage)))]
pub async fn logs(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<LogsResponse>> {
    let trace_id = parse_id(&id)?;
    let (range, _) = app.query(move |app, ctx| app.store.traces().trace(trace_id, ctx).map(|spans| around(&spans))).await?;
    let filter: Filter = equal(Field::TraceId, &trace_id.to_hex());
    let search = LogSearch { range, filter, limit: 5_000, direction: Direction::Forward, after: None };
    Ok(Json(run_search(&app, search).await?))
}

/// The critical path of a trace, in order of time: walking back from the root's end, the child that finishes last
/// before the cursor takes over; gaps are the parent's own time. Consumers run on their own and are left out.
///
/// Source: Jaeger's critical path and CRISP (USENIX ATC 2022), with `<=` so that back-to-back siblings both count.
pub fn critical_path(spans: &[SpanRow]) -> Vec<Section> {
    let mut children: HashMap<SpanId, Vec<usize>> = HashMap::new();
    let known: HashSet<SpanId> = spans.iter().map(|s| s.span_id).collect();
    let mut root: Option<usize> = None;
    for (index, span) in spans.iter().enumerate() {
        if span.parent_span_id.is_none() || !known.contains(&span.parent_span_id) {
            // Of several roots the longest: the others have lost their parent.
            if root.is_none_or(|r| spans[r].duration < span.duration) {
                root = Some(index);
            }
        } else {
            children.entry(span.parent_span_id).or_default().push(index);
        }
    }
    let Some(root) = root else { return Vec::new() };
    for list in children.values_mut() {
        list.sort_by_key(|i| std::cmp::Reverse(spans[*i].start + spans[*i].duration));
    }
    let mut sections = Vec::new();
    let mut visited = HashSet::new();
    // (span, cursor, lower bound, next child to look at); an explicit stack, for traces may be deep.
    let mut stack = vec![(root, spans[root].start + spans[root].duration, spans[root].start, 0usize)];
    while let Some((index, cursor, low, next)) = stack.pop() {
        let span = &spans[index];
        let list = children.get(&span.span_id).map_or(&[][..], Vec::as_slice);
        let found = list[next.min(list.len())..].iter().enumerate().find(|(_, child)| {
            let c = &spans[**child];
            let end = c.start + c.duration;
            c.duration > 0 && end <= cursor && end > low && c.kind != skopos_model::SpanKind::Consumer && !visited.contains(*child)
        });
        match found {
            Some((skipped, child)) => {
                let c = &spans[*child];
                let end = c.start + c.duration;
                push(&mut sections, span.span_id, end, cursor);
                let child_low = c.start.max(low);
                visited.insert(*child);
                stack.push((index, child_low, low, next + skipped + 1));
                stack.push((*child, end, child_low, 0));
            }
            None => push(&mut sections, span.span_id, low, cursor),
        }
    }
    sections.reverse();
    sections
}

fn push(sections: &mut Vec<Section>, span_id: SpanId, start: i64, end: i64) {
    if end > start {
        sections.push(Section { span_id, start, duration: end - start });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skopos_model::{SpanKind, StatusCode};

    fn span(id: u8, parent: u8, start: i64, end: i64) -> SpanRow {
        SpanRow {
            trace_id: TraceId([1; 16]),
            span_id: SpanId([id; 8]),
            parent_span_id: SpanId([parent; 8]),
            name: String::new(),
            kind: SpanKind::Internal,
            service_name: String::new(),
            start,
            duration: end - start,
            status_code: StatusCode::Unset,
            status_message: String::new(),
            scope_name: String::new(),
            attributes: Default::default(),
            resource: Default::default(),
            events: Vec::new(),
            links: Vec::new(),
        }
    }

    /// specs/J: A[0,100]; B[10,40], C[50,90] in A; D[60,80] in C; E[20,85] in A changes nothing.
    #[test]
    fn critical_path_vector() {
        let mut spans = vec![span(b'A', 0, 0, 100), span(b'B', b'A', 10, 40), span(b'C', b'A', 50, 90), span(b'D', b'C', 60, 80)];
        let expected = [(b'A', 0, 10), (b'B', 10, 40), (b'A', 40, 50), (b'C', 50, 60), (b'D', 60, 80), (b'C', 80, 90), (b'A', 90, 100)];
        for extra in [None, Some(span(b'E', b'A', 20, 85))] {
            spans.extend(extra);
            let got: Vec<_> = critical_path(&spans).into_iter().map(|s| (s.span_id.0[0], s.start, s.start + s.duration)).collect();
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn back_to_back_siblings_both_count_and_cycles_end() {
        let spans = [span(1, 0, 0, 20), span(2, 1, 0, 10), span(3, 1, 10, 20)];
        let got: Vec<_> = critical_path(&spans).into_iter().map(|s| (s.span_id.0[0], s.duration)).collect();
        assert_eq!(got, [(2, 10), (3, 10)]);
        let cycle = [span(1, 2, 0, 10), span(2, 1, 0, 10)];
        assert!(critical_path(&cycle).len() <= 2);
    }
}
