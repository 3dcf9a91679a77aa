//! The aggregations and functions, in tables that parser, evaluator, documentation and completion read.

/// An aggregation over the lines of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in the language; the table describes each")]
pub enum RangeOp {
    Count,
    Rate,
    RateCounter,
    Bytes,
    BytesRate,
    Sum,
    Avg,
    Min,
    Max,
    First,
    Last,
    Stddev,
    Stdvar,
    Quantile,
    Absent,
}

/// An aggregation over series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in the language; the table describes each")]
pub enum VectorOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    ApproxTopk,
    Sort,
    SortDesc,
}

/// What a range aggregation works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Works {
    /// Lines: an `unwrap` is an error.
    OnLines,
    /// Values of an `unwrap`.
    OnValues,
    /// Either.
    OnBoth,
}

/// A row of [`RANGE_OPS`].
#[derive(Debug)]
pub struct RangeRow {
    /// Which.
    pub op: RangeOp,
    /// As written.
    pub name: &'static str,
    /// On what.
    pub works: Works,
    /// Whether `by` and `without` may follow.
    pub grouping: bool,
    /// One sentence.
    pub summary: &'static str,
}

/// A row of [`VECTOR_OPS`].
#[derive(Debug)]
pub struct VectorRow {
    /// Which.
    pub op: VectorOp,
    /// As written.
    pub name: &'static str,
    /// Whether a number comes first.
    pub parameter: bool,
    /// Whether `by` and `without` may follow.
    pub grouping: bool,
    /// One sentence.
    pub summary: &'static str,
}

use Works::{OnBoth, OnLines, OnValues};

/// Every aggregation over a window.
#[rustfmt::skip]
pub const RANGE_OPS: &[RangeRow] = &[
    RangeRow { op: RangeOp::Count, name: "count_over_time", works: OnLines, grouping: false, summary: "Number of lines." },
    RangeRow { op: RangeOp::Rate, name: "rate", works: OnBoth, grouping: false, summary: "Lines per second; with unwrap, the sum of the values per second." },
    RangeRow { op: RangeOp::RateCounter, name: "rate_counter", works: OnValues, grouping: false, summary: "Increase per second of a counter, resets added back." },
    RangeRow { op: RangeOp::Bytes, name: "bytes_over_time", works: OnLines, grouping: false, summary: "Bytes of the lines." },
    RangeRow { op: RangeOp::BytesRate, name: "bytes_rate", works: OnLines, grouping: false, summary: "Bytes of the lines per second." },
    RangeRow { op: RangeOp::Sum, name: "sum_over_time", works: OnValues, grouping: false, summary: "Sum of the values." },
    RangeRow { op: RangeOp::Avg, name: "avg_over_time", works: OnValues, grouping: true, summary: "Mean of the values." },
    RangeRow { op: RangeOp::Min, name: "min_over_time", works: OnValues, grouping: true, summary: "Least value." },
    RangeRow { op: RangeOp::Max, name: "max_over_time", works: OnValues, grouping: true, summary: "Greatest value." },
    RangeRow { op: RangeOp::First, name: "first_over_time", works: OnValues, grouping: true, summary: "First value." },
    RangeRow { op: RangeOp::Last, name: "last_over_time", works: OnValues, grouping: true, summary: "Last value." },
    RangeRow { op: RangeOp::Stddev, name: "stddev_over_time", works: OnValues, grouping: true, summary: "Population standard deviation of the values." },
    RangeRow { op: RangeOp::Stdvar, name: "stdvar_over_time", works: OnValues, grouping: true, summary: "Population variance of the values." },
    RangeRow { op: RangeOp::Quantile, name: "quantile_over_time", works: OnValues, grouping: true, summary: "Quantile of the values, between 0 and 1." },
    RangeRow { op: RangeOp::Absent, name: "absent_over_time", works: OnBoth, grouping: false, summary: "1 where there is no line." },
];

/// Every aggregation over series.
#[rustfmt::skip]
pub const VECTOR_OPS: &[VectorRow] = &[
    VectorRow { op: VectorOp::Sum, name: "sum", parameter: false, grouping: true, summary: "Sum." },
    VectorRow { op: VectorOp::Avg, name: "avg", parameter: false, grouping: true, summary: "Mean." },
    VectorRow { op: VectorOp::Min, name: "min", parameter: false, grouping: true, summary: "Least value." },
    VectorRow { op: VectorOp::Max, name: "max", parameter: false, grouping: true, summary: "Greatest value." },
    VectorRow { op: VectorOp::Count, name: "count", parameter: false, grouping: true, summary: "Number of series." },
    VectorRow { op: VectorOp::Stddev, name: "stddev", parameter: false, grouping: true, summary: "Population standard deviation." },
    VectorRow { op: VectorOp::Stdvar, name: "stdvar", parameter: false, grouping: true, summary: "Population variance." },
    VectorRow { op: VectorOp::Topk, name: "topk", parameter: true, grouping: true, summary: "The k series with the greatest values." },
    VectorRow { op: VectorOp::Bottomk, name: "bottomk", parameter: true, grouping: true, summary: "The k series with the least values." },
    VectorRow { op: VectorOp::ApproxTopk, name: "approx_topk", parameter: true, grouping: false, summary: "As topk, in instant queries only; exact here." },
    VectorRow { op: VectorOp::Sort, name: "sort", parameter: false, grouping: false, summary: "Series by value, least first." },
    VectorRow { op: VectorOp::SortDesc, name: "sort_desc", parameter: false, grouping: false, summary: "Series by value, greatest first." },
];

impl RangeOp {
    /// Its row.
    pub fn row(self) -> &'static RangeRow {
        RANGE_OPS.iter().find(|row| row.op == self).unwrap_or(&RANGE_OPS[0])
    }
}

impl VectorOp {
    /// Its row.
    pub fn row(self) -> &'static VectorRow {
        VECTOR_OPS.iter().find(|row| row.op == self).unwrap_or(&VECTOR_OPS[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found() {
        assert!(RANGE_OPS.iter().all(|row| row.op.row().name == row.name));
        assert!(VECTOR_OPS.iter().all(|row| row.op.row().name == row.name));
    }
}
