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
    /// Most active series of one source; new ones beyond are refused.
    pub active_series_per_source_max: u64,
    /// What counts as new lately has come since then, Unix nanoseconds.
    pub recent_since: i64,
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
    /// Series that are new lately.
    pub recent_series: u64,
    /// Different series that were refused since the start, about.
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
    /// Those that are new lately.
    pub recent_values: u64,
    /// Newest values, a few.
    pub examples: Vec<String>,
}

/// A metric of one source whose new series were refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Flood {
    /// Name of the metric.
    pub metric: String,
    /// Who sends it: the label `service_name`, else `job`; empty where there is neither.
    pub source: String,
    /// Name of the limit that refused last.
    pub limit: String,
    /// Its value.
    pub limit_value: u64,
    /// First and last refusal, Unix nanoseconds.
    pub refused_between: (i64, i64),
    /// Different series that were refused, about.
    pub refused_series: u64,
    /// Samples that were refused with them.
    pub refused_samples: u64,
    /// Known series of the metric, of all sources.
    pub series: u64,
    /// Those with a sample in memory.
    pub active_series: u64,
    /// Labels, those that grow most first: the first is the one that explodes.
    pub labels: Vec<FloodLabel>,
}

/// A label of a metric whose new series were refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FloodLabel {
    /// Name.
    pub label: String,
    /// Distinct values over the known series of the metric.
    pub values: u64,
    /// Those of them that are new lately.
    pub recent_values: u64,
    /// Distinct values over the refused series, about.
    pub refused_values: u64,
    /// Newest values, a few.
    pub examples: Vec<String>,
}

/// What is refused by a limit on series.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Floods {
    /// Metrics by source, those that lost most samples first.
    pub floods: Vec<Flood>,
    /// Series with a sample in memory.
    pub active_series: u64,
    /// Most of them, of all.
    pub active_series_max: u64,
    /// Most of them of one metric.
    pub active_series_per_metric_max: u64,
    /// Most of them of one source.
    pub active_series_per_source_max: u64,
    /// What counts as new lately has come since then, Unix nanoseconds.
    pub recent_since: i64,
}
