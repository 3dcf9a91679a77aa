//! Operators between native histograms, and between them and numbers.

use std::sync::Arc;

use skopos_model::{CounterReset, NativeHistogram};

use super::super::ast::{Binary, BinaryOp, Expr};
use super::super::eval::Evaluator;
use super::super::histogram::{Total, divided, multiplied, same, trim};
use super::super::notes::{Combining, Spot};
use super::super::vector::{Grid, HistogramRow};

/// A sample on one side.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operand<'a> {
    Float(f64),
    Histogram(&'a Arc<NativeHistogram>),
}

impl Operand<'_> {
    fn type_name(&self) -> &'static str {
        if matches!(self, Self::Float(_)) { "float" } else { "histogram" }
    }
}

/// A result.
#[derive(Debug)]
pub(super) enum Outcome {
    Float(f64),
    Histogram(Arc<NativeHistogram>),
}

impl From<NativeHistogram> for Outcome {
    fn from(h: NativeHistogram) -> Self {
        Self::Histogram(Arc::new(h))
    }
}

/// The operator is not defined for such samples, which has been said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Undefined;

/// `l op r` where at least one of them is a histogram; nothing where the comparison does not hold.
pub(super) fn combine(op: BinaryOp, bool: bool, l: Operand<'_>, r: Operand<'_>, spot: Spot<'_>) -> Result<Option<Outcome>, Undefined> {
    Ok(match (op, l, r) {
        (BinaryOp::Mul, Operand::Histogram(h), Operand::Float(v)) | (BinaryOp::Mul, Operand::Float(v), Operand::Histogram(h)) => {
            Some(multiplied(h, v).into())
        }
        (BinaryOp::Div, Operand::Histogram(h), Operand::Float(v)) => Some(divided(h, v).into()),
        (BinaryOp::TrimUpper, Operand::Histogram(h), Operand::Float(v)) => Some(trim(h, v, true).into()),
        (BinaryOp::TrimLower, Operand::Histogram(h), Operand::Float(v)) => Some(trim(h, v, false).into()),
        (BinaryOp::Equal | BinaryOp::NotEqual, Operand::Histogram(a), Operand::Histogram(b)) => {
            let holds = same(a, b) == (op == BinaryOp::Equal);
            if bool { Some(Outcome::Float(super::truth(holds))) } else { holds.then(|| Outcome::Histogram(Arc::clone(a))) }
        }
        (BinaryOp::Add | BinaryOp::Sub, Operand::Histogram(a), Operand::Histogram(b)) => Some(sum(op, a, b, spot)?.into()),
        _ => {
            spot.incompatible_types(l.type_name(), op.symbol(), r.type_name());
            return Err(Undefined);
        }
    })
}

fn sum(op: BinaryOp, a: &NativeHistogram, b: &NativeHistogram, spot: Spot<'_>) -> Result<NativeHistogram, Undefined> {
    let mut total = Total::of(a);
    let (done, combining) = if op == BinaryOp::Add { (total.add(b), Combining::Addition) } else { (total.subtract(b), Combining::Subtraction) };
    let Ok(remarks) = done else {
        spot.incompatible_layout(op.symbol());
        return Err(Undefined);
    };
    if remarks.collision {
        spot.reset_collision(combining);
    }
    if remarks.reconciled {
        spot.bounds_reconciled(combining);
    }
    let mut out = total.finish();
    if op == BinaryOp::Sub {
        out.counter_reset = CounterReset::Gauge;
    }
    Ok(out)
}

/// Takes the histograms off a vector that is combined with a scalar, and gives the results, by series.
pub(super) fn with_scalar(ev: &Evaluator<'_>, expr: &Expr, b: &Binary, grid: &mut Grid, scalar: &[f64], scalar_first: bool) -> Vec<HistogramRow> {
    let spot = ev.notes.about("", expr);
    let rows = grid.take_histograms().into_iter();
    let result = |(k, h): &(u32, Arc<NativeHistogram>)| {
        let (vector, number) = (Operand::Histogram(h), Operand::Float(scalar[*k as usize]));
        let (l, r) = if scalar_first { (number, vector) } else { (vector, number) };
        // A histogram and a number make a histogram or nothing.
        match combine(b.op, b.bool, l, r, spot) {
            Ok(Some(Outcome::Histogram(h))) => Some((*k, h)),
            _ => None,
        }
    };
    rows.map(|row| row.iter().filter_map(result).collect()).collect()
}
