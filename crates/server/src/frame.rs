//! Range queries as columns, the shape the charts read.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use skopos_query::{QueryContext, QueryError, TimeRange, promql};

use crate::app::App;

/// Value `i` of a series is at `start + i * step`; null is a gap.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SeriesFrame {
    /// Unix nanoseconds.
    #[serde(with = "skopos_query::logs::nanos_text")]
    pub start: i64,
    /// Nanoseconds.
    #[serde(with = "skopos_query::logs::nanos_text")]
    pub step: i64,
    /// Series in the order of the queries.
    pub series: Vec<FrameSeries>,
}

/// One series of a frame.
#[derive(Debug, Clone, Serialize)]
pub struct FrameSeries {
    /// What it is called in the legend.
    pub name: String,
    /// Labels of the result.
    pub labels: BTreeMap<String, String>,
    /// Values by step.
    pub values: Vec<Option<f64>>,
}

/// Runs PromQL range queries on one grid: `(name, query)`, `step` in milliseconds.
///
/// # Errors
/// The first query's that fails.
pub fn run_range(app: &Arc<App>, queries: &[(&str, &str)], range: TimeRange, step: i64, ctx: &QueryContext) -> Result<SeriesFrame, QueryError> {
    let end = range.end.div_euclid(1_000_000).div_euclid(step) * step;
    let start = (range.start.div_euclid(1_000_000).div_euclid(step) + 1) * step;
    let points = usize::try_from((end - start) / step + 1).unwrap_or(0);
    let mut frame = SeriesFrame { start: start * 1_000_000, step: step * 1_000_000, series: Vec::new() };
    if end < start {
        return Ok(frame);
    }
    for (name, query) in queries {
        let expr = promql::parse(query)?;
        let output = app.promql.range(&*app.store.metrics(), &expr, start, end, step, ctx)?;
        let promql::Value::Matrix(matrix) = output.value else { continue };
        for series in matrix {
            if !series.histograms.is_empty() {
                return Err(QueryError::Execution(format!("{query}: {}", promql::NOT_A_NUMBER)));
            }
            let mut values = vec![None; points];
            for (time, value) in series.times.iter().zip(&series.values) {
                let at = usize::try_from((time - start) / step).unwrap_or(usize::MAX);
                if let Some(slot) = values.get_mut(at) {
                    *slot = value.is_finite().then_some(*value);
                }
            }
            let labels = series.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            frame.series.push(FrameSeries { name: (*name).to_owned(), labels, values });
        }
    }
    Ok(frame)
}
