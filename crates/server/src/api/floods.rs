//! Floods of metrics: what is refused, which label makes it many, whose it is, and since when.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use skopos_model::Signal;
use skopos_query::cardinality;

use crate::app::App;
use crate::http::{ApiError, ApiResult};
use crate::ingest::sources::SourceFigures;
use crate::reliability::ServiceFacts;

/// Entries of each list when the request does not say.
const TOP_DEFAULT: usize = 50;
/// Most entries of each list.
const TOP_MAX: usize = 500;
/// What was refused within so long goes on, nanoseconds.
const ONGOING_NANOS: i64 = 300_000_000_000;

/// What of the metrics is refused. Times are Unix nanoseconds as text.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FloodsResponse {
    limits: SeriesLimits,
    /// Metrics whose new series are refused, by source; those that lost most samples first.
    floods: Vec<Flood>,
    /// Senders of metrics: those refused most for a rate first, then those that send most.
    sources: Vec<MetricSource>,
    /// Samples that were not taken, by reason.
    rejected: Vec<RejectedSamples>,
    /// Values and series that have come since then count as new.
    recent_since: String,
}

/// Limits on series, and how much of them is in use.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SeriesLimits {
    /// Series with a sample in memory.
    active_series: u64,
    active_series_max: u64,
    active_series_per_metric_max: u64,
    active_series_per_source_max: u64,
}

/// A metric of one source whose new series are refused; known ones go on.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Flood {
    metric: String,
    /// Who sends it: the label `service_name`, else `job`; empty where there is neither.
    source: String,
    /// The service that stands for, without its namespace.
    service: String,
    /// Who answers for the service, where a rule or an objective says so.
    owner: Option<String>,
    /// Name of the limit that refused last: a key of the section `limits`.
    limit: String,
    limit_value: u64,
    /// First refusal.
    since: String,
    /// Last refusal.
    last: String,
    /// Whether the last one was within five minutes.
    ongoing: bool,
    /// Different series that were refused, about.
    refused_series: u64,
    refused_samples: u64,
    /// Known series of the metric, of all sources.
    series: u64,
    /// Those with a sample in memory.
    active_series: u64,
    /// The label whose values grow most.
    label: Option<String>,
    /// All labels, those that grow most first.
    labels: Vec<FloodLabel>,
}

/// A label of a metric whose new series are refused.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct FloodLabel {
    label: String,
    /// Distinct values over the known series of the metric.
    values: u64,
    /// Those of them that have come since `recent_since`.
    recent_values: u64,
    /// Distinct values over the refused series, about.
    refused_values: u64,
    /// Newest values, a few.
    examples: Vec<String>,
}

/// A sender of metrics, since the start.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct MetricSource {
    /// `tenant:NAME`, `client:ADDRESS` or `job:NAME`.
    source: String,
    /// The program that sent last, in its own words.
    agent: String,
    samples: u64,
    bytes: u64,
    requests: u64,
    last: String,
    /// Requests and scrapes refused for a rate.
    refused_requests: u64,
    refused_bytes: u64,
    /// Name of the rate that refused last, a key of the section `limits.rates`; none when none did.
    limit: Option<String>,
    /// Its value, a second.
    limit_value: Option<u64>,
    refused_since: Option<String>,
    refused_last: Option<String>,
    /// Whether it was refused within five minutes.
    ongoing: bool,
}

/// Samples that were not taken for one reason, since the start.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct RejectedSamples {
    reason: String,
    samples: u64,
    /// The latest: what was wrong and where.
    example: String,
    since: String,
    last: String,
}

/// Parameters of `GET /v1/floods`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
pub struct FloodsParams {
    /// Entries of each list, 1 to 500; 50 when absent.
    top: Option<usize>,
}

fn ongoing(last: i64, now: i64) -> bool {
    now.saturating_sub(last) <= ONGOING_NANOS
}

impl Flood {
    fn new(found: cardinality::Flood, facts: &BTreeMap<String, ServiceFacts>, now: i64) -> Self {
        let service = found.source.rsplit('/').next().unwrap_or_default().to_owned();
        let (since, last) = found.refused_between;
        let labels: Vec<FloodLabel> = found.labels.into_iter().map(FloodLabel::from).collect();
        Self {
            owner: facts.get(&service).and_then(|facts| facts.owner.clone()),
            service,
            metric: found.metric,
            source: found.source,
            limit: found.limit,
            limit_value: found.limit_value,
            since: since.to_string(),
            last: last.to_string(),
            ongoing: ongoing(last, now),
            refused_series: found.refused_series,
            refused_samples: found.refused_samples,
            series: found.series,
            active_series: found.active_series,
            label: labels.first().map(|label| label.label.clone()),
            labels,
        }
    }
}

impl From<cardinality::FloodLabel> for FloodLabel {
    fn from(label: cardinality::FloodLabel) -> Self {
        let cardinality::FloodLabel { label, values, recent_values, refused_values, examples } = label;
        Self { label, values, recent_values, refused_values, examples }
    }
}

impl MetricSource {
    fn new(figures: SourceFigures, now: i64) -> Self {
        let between = figures.refused_between;
        Self {
            source: figures.name.to_string(),
            agent: figures.agent.to_string(),
            samples: figures.samples,
            bytes: figures.bytes,
            requests: figures.requests,
            last: figures.last.to_string(),
            refused_requests: figures.refused_requests,
            refused_bytes: figures.refused_bytes,
            limit: figures.limit.map(|(name, _)| name.to_owned()),
            limit_value: figures.limit.map(|(_, value)| value),
            refused_since: between.map(|(since, _)| since.to_string()),
            refused_last: between.map(|(_, last)| last.to_string()),
            ongoing: between.is_some_and(|(_, last)| ongoing(last, now)),
        }
    }
}

/// `GET /v1/floods`
#[utoipa::path(get, path = "/v1/floods", tag = "metrics", params(FloodsParams), responses((status = 200, description = "Metrics whose new series are refused, sources over their rate, samples not taken", body = FloodsResponse), (status = 400, description = "`top` is out of range")))]
pub async fn floods(State(app): State<Arc<App>>, Query(params): Query<FloodsParams>) -> ApiResult<Json<FloodsResponse>> {
    let top = params.top.unwrap_or(TOP_DEFAULT);
    if !(1..=TOP_MAX).contains(&top) {
        return Err(ApiError::bad_request(format!("top is {top}, expected 1 to {TOP_MAX}")));
    }
    let now = app.clock.now_nanos();
    let (found, _) = app.query(move |app, _| Ok(app.store.metrics().floods(top))).await?;
    let facts = app.reliability.service_facts();
    let metrics = app.telemetry.ingest.rejections().into_iter().filter(|(signal, ..)| *signal == Signal::Metrics);
    let mut rejected: Vec<RejectedSamples> = metrics
        .map(|(_, reason, found)| RejectedSamples {
            reason: reason.to_owned(),
            samples: found.count,
            example: found.example,
            since: found.since.to_string(),
            last: found.last.to_string(),
        })
        .collect();
    rejected.sort_by(|a, b| b.samples.cmp(&a.samples).then_with(|| a.reason.cmp(&b.reason)));
    Ok(Json(FloodsResponse {
        limits: SeriesLimits {
            active_series: found.active_series,
            active_series_max: found.active_series_max,
            active_series_per_metric_max: found.active_series_per_metric_max,
            active_series_per_source_max: found.active_series_per_source_max,
        },
        floods: found.floods.into_iter().map(|flood| Flood::new(flood, &facts, now)).collect(),
        sources: app.sources.list(top).into_iter().map(|figures| MetricSource::new(figures, now)).collect(),
        rejected,
        recent_since: found.recent_since.to_string(),
    }))
}
