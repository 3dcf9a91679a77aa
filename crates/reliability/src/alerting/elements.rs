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

/// The value of the first element, if there is one.
///
/// # Errors
/// When it is a native histogram, which is no number.
pub fn first_float(samples: &[EvalSample]) -> Result<Option<f64>, String> {
    samples.first().map(EvalSample::float).transpose()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use skopos_model::NativeHistogram;

    use super::*;

    #[test]
    fn a_histogram_is_no_number() {
        let number = EvalSample::number(Labels::default(), 7.0);
        let histogram = EvalSample { histogram: Some(Arc::new(NativeHistogram::default())), ..EvalSample::number(Labels::default(), 0.0) };
        assert_eq!(first_float(&[]), Ok(None));
        assert_eq!(first_float(&[number, histogram.clone()]), Ok(Some(7.0)));
        assert!(first_float(&[histogram]).is_err_and(|reason| reason.contains("native histogram") && reason.contains("histogram_count")));
    }
}
