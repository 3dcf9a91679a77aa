//! What a query answers.

use std::sync::Arc;

use super::cost::Cost;
use crate::error::QueryError;
use skopos_model::{Labels, NativeHistogram};

/// A value at the time asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The series' labels.
    pub labels: Arc<Labels>,
    /// Unix milliseconds.
    pub time: i64,
    /// Value; zero where it is a histogram.
    pub value: f64,
    /// The native histogram that is the value.
    pub histogram: Option<Arc<NativeHistogram>>,
}

/// What a query is told to do whose native histograms meet somebody who needs numbers.
pub const NOT_A_NUMBER: &str = "the query gives a native histogram; a number was expected: use histogram_count, histogram_sum, histogram_avg, histogram_fraction or histogram_quantile";

impl Sample {
    /// The value as a number.
    ///
    /// # Errors
    /// When it is a native histogram.
    pub fn float(&self) -> Result<f64, QueryError> {
        if self.histogram.is_some() { Err(QueryError::Execution(NOT_A_NUMBER.to_owned())) } else { Ok(self.value) }
    }
}

/// A series with its points.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// The series' labels.
    pub labels: Arc<Labels>,
    /// Unix milliseconds, ascending.
    pub times: Vec<i64>,
    /// One value a time.
    pub values: Vec<f64>,
    /// Native histograms by time, ascending; at none of `times`.
    pub histograms: Vec<(i64, Arc<NativeHistogram>)>,
}

/// Result of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// One number.
    Scalar {
        /// Unix milliseconds.
        time: i64,
        /// Value.
        value: f64,
    },
    /// A text.
    Text {
        /// Unix milliseconds.
        time: i64,
        /// Text.
        text: String,
    },
    /// A value a series.
    Vector(Vec<Sample>),
    /// Points a series.
    Matrix(Vec<Points>),
}

/// Result and what is to be said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryOutput {
    /// Result.
    pub value: Value,
    /// Results that are likely not what was meant, with their position in the query.
    pub warnings: Vec<String>,
    /// Things worth knowing, with their position in the query.
    pub infos: Vec<String>,
    /// What it has cost.
    pub cost: Cost,
}
