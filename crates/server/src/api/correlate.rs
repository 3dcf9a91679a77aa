//! From one signal to the others: by trace id, or by service and time.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use skopos_model::TraceId;
use skopos_query::filter::Field;
use skopos_query::traces::TraceSearch;
use skopos_query::{QueryError, TimeRange};

use super::events::markers;
use super::params::equal;
use crate::app::App;
use crate::http::{ApiError, ApiResult};
use crate::time_arg::parse_time;

/// Around a moment, and after the end of a trace (15 minutes, nanoseconds).
const AROUND: i64 = 900_000_000_000;
/// Most exemplars looked at for a trace.
const EXEMPLARS_MAX: usize = 20;

/// Parameters: a trace, or a service and a moment.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct CorrelateParams {
    /// Trace id.
    pub trace_id: Option<String>,
    /// Service name.
    pub service: Option<String>,
    /// Moment: Unix nanoseconds, RFC 3339, `-10m`; now when absent.
    pub at: Option<String>,
}

/// `GET /v1/correlate`
#[utoipa::path(get, path = "/v1/correlate", tag = "correlate", params(CorrelateParams), responses((status = 200, description = "What belongs together: trace, logs, exemplars, services, deploys, alerts, runbooks", body = crate::api::shapes::Correlation), (status = 400, description = "Neither trace_id nor service")))]
pub async fn correlate(State(app): State<Arc<App>>, Query(params): Query<CorrelateParams>) -> ApiResult<Json<Value>> {
    let now = app.clock.now_nanos();
    let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    let at = given(&params.at).map(|t| parse_time(&t, now).map_err(|e| ApiError::bad_request(format!("at: {e}")))).transpose()?.unwrap_or(now);
    let (mut range, mut trace, mut services, mut exemplars) =
        (TimeRange { start: at - AROUND, end: at + AROUND }, Value::Null, Vec::new(), Vec::new());
    let logs_filter;
    let logs_query;
    if let Some(text) = given(&params.trace_id) {
        let id: TraceId = text.parse().map_err(|e: skopos_model::ids::IdError| ApiError::bad_request(format!("trace_id: {e}")))?;
        logs_filter = equal(Field::TraceId, &id.to_hex());
        logs_query = format!("trace_id:{id}");
        let ((summary, found), _) = app.query(move |app, ctx| by_trace(app, id, ctx)).await?;
        if let Some(summary) = summary {
            range = TimeRange { start: summary.start - AROUND, end: summary.start + summary.duration + AROUND };
            services = summary.services.keys().cloned().collect();
            trace = serde_json::to_value(&summary).map_err(|e| ApiError::internal(e.to_string()))?;
        }
        exemplars = found;
    } else if let Some(service) = given(&params.service) {
        logs_filter = equal(Field::Service, &service);
        logs_query = format!("service:{service}");
        services.push(service);
    } else {
        return Err(ApiError::bad_request("give trace_id, or service (and at)"));
    }
    let (log_count, _) = app
        .query(move |app, ctx| {
            let histogram = app.store.logs().histogram(range, &logs_filter, 3_600_000_000_000, ctx)?;
            Ok(histogram.series.iter().flat_map(|(_, counts)| counts).sum::<u64>())
        })
        .await?;
    let (mut deploys, mut alerts, mut runbooks) = (Vec::new(), Vec::new(), Vec::new());
    for service in &services {
        deploys.extend(markers(&app, range, Some(service)).await?);
        alerts.extend(app.reliability.alerts_of(Some(service)));
        runbooks.extend(app.reliability.runbooks_of(Some(service)));
    }
    Ok(Json(json!({
        "trace": trace, "log_count": log_count, "logs_query": logs_query, "services": services, "exemplar_metrics": exemplars,
        "deploys": deploys, "alerts": alerts, "runbooks": runbooks,
    })))
}

type ByTrace = (Option<skopos_query::traces::TraceSummary>, Vec<Value>);

fn by_trace(app: &Arc<App>, id: TraceId, ctx: &skopos_query::QueryContext) -> Result<ByTrace, QueryError> {
    let search = TraceSearch { range: TimeRange::ALL, filter: equal(Field::TraceId, &id.to_hex()), limit: 1 };
    let Some(summary) = app.store.traces().search(&search, ctx)?.into_iter().next() else { return Ok((None, Vec::new())) };
    let (start, end) = ((summary.start - AROUND) / 1_000_000, (summary.start + summary.duration + AROUND) / 1_000_000);
    let mut out = Vec::new();
    for (labels, list) in app.store.metrics().exemplars(&[], start, end, ctx)? {
        for e in list.iter().filter(|e| e.trace_id == id) {
            if out.len() < EXEMPLARS_MAX {
                let pairs: serde_json::Map<String, Value> = labels.iter().map(|(n, v)| (n.to_owned(), Value::from(v))).collect();
                out.push(json!({"metric": labels.name(), "labels": pairs, "value": e.value, "time": (e.timestamp * 1_000_000).to_string()}));
            }
        }
    }
    Ok((Some(summary), out))
}
