//! From a query's result to what rules are evaluated on.

use skopos_model::Labels;
use skopos_query::promql::Value;

use super::EvalSample;

/// A query's elements; a scalar is one without labels.
///
/// # Errors
/// When the result is a string or a range vector.
pub fn elements(value: Value) -> Result<Vec<EvalSample>, String> {
    match value {
        Value::Scalar { value, .. } => Ok(vec![EvalSample::number(Labels::default(), value)]),
        Value::Vector(samples) => {
            Ok(samples.into_iter().map(|s| EvalSample { labels: (*s.labels).clone(), value: s.value, histogram: s.histogram }).collect())
        }
        Value::Text { .. } => Err("the query gives a string; an instant vector or a scalar is needed".to_owned()),
        Value::Matrix(_) => Err("the query gives a range vector; an instant vector or a scalar is needed".to_owned()),
    }
}
