//! Metrics and PromQL.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Stats;

/// Metrics of a range.
#[derive(Debug, Serialize, ToSchema)]
pub struct MetricList {
    pub metrics: Vec<MetricLine>,
    /// Of the metrics listed.
    pub series: u64,
    /// What the list can be narrowed by: services,
    pub services: Vec<String>,
    /// units,
    pub units: Vec<String>,
    /// owners.
    pub owners: Vec<String>,
    pub stats: Stats,
}

/// A metric; a classic histogram or summary is one.
#[derive(Debug, Serialize, ToSchema)]
pub struct MetricLine {
    pub name: String,
    /// `counter`, `gauge`, `histogram`, `gaugehistogram`, `summary`, `info`, `stateset`, `unknown`.
    pub r#type: String,
    pub unit: String,
    pub help: String,
    /// Names of its series.
    pub parts: Vec<String>,
    pub series: u64,
    pub services: Vec<String>,
    pub owners: Vec<String>,
}

/// One metric and its labels.
#[derive(Debug, Serialize, ToSchema)]
pub struct MetricDetail {
    #[serde(flatten)]
    pub metric: MetricLine,
    /// Its histograms are native ones.
    pub native: bool,
    pub labels: Vec<MetricLabel>,
    pub stats: Stats,
}

/// A label of a metric.
#[derive(Debug, Serialize, ToSchema)]
pub struct MetricLabel {
    pub name: String,
    /// How many values there are.
    pub distinct: u64,
    /// Pairs of value and series, most series first.
    pub values: Vec<Vec<Value>>,
}

/// Where a query's time went.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    /// In its common form.
    pub query: String,
    pub parse_milliseconds: f64,
    /// Each expression, before those it is made from.
    pub stages: Vec<ExplainedStage>,
    pub total_milliseconds: f64,
    /// Of the result.
    pub series: u64,
    pub stats: Stats,
}

/// What one expression of a query cost.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedStage {
    /// In its common form.
    pub expression: String,
    /// How deep it is in the query; the whole is at 0.
    pub depth: u32,
    pub series: u64,
    /// Samples looked at, a sample once for each step.
    pub samples: u64,
    /// With what is below it.
    pub milliseconds: f64,
    /// Without.
    pub own_milliseconds: f64,
}
