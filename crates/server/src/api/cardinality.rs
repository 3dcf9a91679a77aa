//! How many series there are, and what makes them many.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use skopos_query::cardinality::{self, LabelCardinality};

use crate::app::App;
use crate::http::{ApiError, ApiResult};

/// Entries of each list when the request does not say.
const TOP_DEFAULT: usize = 20;
/// Most entries of each list.
const TOP_MAX: usize = 1_000;

/// Series by metric and label. Lists have the largest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Cardinality {
    /// Series known.
    series: u64,
    /// Series with a sample in memory.
    active_series: u64,
    /// Limit on active series; new ones beyond are refused.
    active_series_max: u64,
    /// Limit on those of one source; new ones beyond are refused.
    active_series_per_source_max: u64,
    /// Values and series that have come since then count as new, Unix nanoseconds.
    recent_since: String,
    /// Distinct label names.
    label_names: u64,
    /// Distinct pairs of label name and value.
    label_pairs: u64,
    /// Series by metric; metrics whose new series were refused stand first.
    metrics: Vec<Metric>,
    /// Distinct values by label name.
    values_by_label: Vec<Count>,
    /// Memory by label name, bytes.
    bytes_by_label: Vec<Count>,
    /// Series by `name=value`.
    series_by_pair: Vec<Count>,
}

/// Series of one metric.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Metric {
    metric: String,
    series: u64,
    active_series: u64,
    active_series_max: u64,
    /// Series that have come since `recent_since`.
    recent_series: u64,
    /// Different series that were refused since the start, about; `GET /v1/floods` says more.
    refused: u64,
    /// First refusal, Unix nanoseconds.
    refused_since: Option<String>,
    /// Last refusal, Unix nanoseconds.
    refused_last: Option<String>,
    /// Labels by their number of values: the first is the one that explodes.
    labels: Vec<Label>,
    /// Series by who sends them: `service_name`, else `job`.
    sources: Vec<Count>,
}

/// Values of a label of a metric.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Label {
    label: String,
    values: u64,
    /// Those that have come since `recent_since`.
    recent_values: u64,
    /// Newest values, a few.
    examples: Vec<String>,
}

/// A name and its number.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Count {
    name: String,
    count: u64,
}

fn counts(all: Vec<(String, u64)>) -> Vec<Count> {
    all.into_iter().map(|(name, count)| Count { name, count }).collect()
}

impl From<cardinality::MetricCardinality> for Metric {
    fn from(m: cardinality::MetricCardinality) -> Self {
        let label = |LabelCardinality { label, values, recent_values, examples }| Label { label, values, recent_values, examples };
        Self {
            metric: m.metric,
            series: m.series,
            active_series: m.active_series,
            active_series_max: m.active_series_max,
            recent_series: m.recent_series,
            refused: m.refused,
            refused_since: m.refused_between.map(|(first, _)| first.to_string()),
            refused_last: m.refused_between.map(|(_, last)| last.to_string()),
            labels: m.labels.into_iter().map(label).collect(),
            sources: counts(m.sources),
        }
    }
}

/// Parameters of `GET /v1/cardinality`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
pub struct CardinalityParams {
    /// Entries of each list, 1 to 1000; 20 when absent.
    top: Option<usize>,
}

/// `GET /v1/cardinality`
#[utoipa::path(get, path = "/v1/cardinality", tag = "metrics", params(CardinalityParams), responses((status = 200, description = "Series by metric and label, and what was refused", body = Cardinality), (status = 400, description = "`top` is out of range")))]
pub async fn cardinality(State(app): State<Arc<App>>, Query(params): Query<CardinalityParams>) -> ApiResult<Json<Cardinality>> {
    let top = params.top.unwrap_or(TOP_DEFAULT);
    if !(1..=TOP_MAX).contains(&top) {
        return Err(ApiError::bad_request(format!("top is {top}, expected 1 to {TOP_MAX}")));
    }
    let (found, _) = app.query(move |app, _| Ok(app.store.metrics().cardinality(top))).await?;
    Ok(Json(Cardinality {
        series: found.series,
        active_series: found.active_series,
        active_series_max: found.active_series_max,
        active_series_per_source_max: found.active_series_per_source_max,
        recent_since: found.recent_since.to_string(),
        label_names: found.label_names,
        label_pairs: found.label_pairs,
        metrics: found.metrics.into_iter().map(Metric::from).collect(),
        values_by_label: counts(found.values_by_label),
        bytes_by_label: counts(found.bytes_by_label),
        series_by_pair: counts(found.series_by_pair),
    }))
}
