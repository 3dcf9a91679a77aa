//! How many series there are, and what makes them many.

use serde::Serialize;

/// Series by metric and label. Lists have the largest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cardinality {
    /// Series known.
    pub series: u64,
    /// Series with a sample in memory.
    pub active_series: u64,
    /// Most active series there may be; new ones beyond are refused.
    pub active_series_max: u64,
    /// Distinct label names.
    pub label_names: u64,
    /// Distinct pairs of label name and value.
    pub label_pairs: u64,
    /// Series by metric.
    pub metrics: Vec<MetricCardinality>,
    /// Distinct values by label name.
    pub values_by_label: Vec<(String, u64)>,
    /// Memory of the values by label name, bytes.
    pub bytes_by_label: Vec<(String, u64)>,
    /// Series by pair, as `name=value`.
    pub series_by_pair: Vec<(String, u64)>,
}

/// Series of one metric.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MetricCardinality {
    /// Name.
    pub metric: String,
    /// Series known.
    pub series: u64,
    /// Series with a sample in memory.
    pub active_series: u64,
    /// Most active series of one metric; new ones beyond are refused.
    pub active_series_max: u64,
    /// Attempts to add a series that were refused since the start.
    pub refused: u64,
    /// When one was refused first and last, Unix nanoseconds; none when none was.
    pub refused_between: Option<(i64, i64)>,
    /// Labels by their number of values: the first is the one that explodes.
    pub labels: Vec<LabelCardinality>,
    /// Series by who sends them: the label `service_name`, else `job`.
    pub sources: Vec<(String, u64)>,
}

/// Values of a label over the series of one metric.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LabelCardinality {
    /// Name.
    pub label: String,
    /// Distinct values.
    pub values: u64,
    /// Newest values, a few.
    pub examples: Vec<String>,
}
