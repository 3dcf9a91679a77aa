//! Binary operators.
//!
//! Kept apart from PromQL's: here a label with an empty value counts, division by zero is NaN, and there are neither
//! metric names nor histograms.

use std::collections::HashMap;

use super::ast::{Binary, BinaryOp, Many, Matching};
use super::labels::LabelSet;
use super::matrix::{Matrix, Series};
use crate::error::QueryError;
use crate::promql::vector::{ABSENT, is_absent};

/// The value of `a op b`, and for comparisons whether it holds.
fn apply(op: BinaryOp, a: f64, b: f64) -> (f64, bool) {
    match op {
        BinaryOp::Add => (a + b, true),
        BinaryOp::Sub => (a - b, true),
        BinaryOp::Mul => (a * b, true),
        BinaryOp::Div => (if b == 0.0 { f64::NAN } else { a / b }, true),
        BinaryOp::Mod => (if b == 0.0 { f64::NAN } else { a % b }, true),
        BinaryOp::Pow => (a.powf(b), true),
        BinaryOp::Equal => (a, a == b),
        BinaryOp::NotEqual => (a, a != b),
        BinaryOp::Greater => (a, a > b),
        BinaryOp::GreaterEqual => (a, a >= b),
        BinaryOp::Less => (a, a < b),
        BinaryOp::LessEqual => (a, a <= b),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => (a, true),
    }
}

fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// Two numbers.
pub(crate) fn scalars(op: BinaryOp, a: f64, b: f64) -> f64 {
    let (value, holds) = apply(op, a, b);
    if op.is_comparison() { truth(holds) } else { value }
}

/// Series and a number; `swapped` when the number was on the left.
pub(crate) fn with_scalar(binary: &Binary, mut matrix: Matrix, scalar: f64, swapped: bool) -> Matrix {
    for v in matrix.iter_mut().flat_map(|series| &mut series.values).filter(|v| !is_absent(**v)) {
        let (value, holds) = if swapped { apply(binary.op, scalar, *v) } else { apply(binary.op, *v, scalar) };
        *v = match (binary.op.is_comparison(), binary.bool) {
            (false, _) => value,
            (true, true) => truth(holds),
            (true, false) if holds => *v,
            (true, false) => ABSENT,
        };
    }
    matrix.retain(Series::has_any);
    matrix
}

/// The labels series are matched by.
fn signature(labels: &LabelSet, matching: Option<&Matching>) -> LabelSet {
    match matching {
        Some(matching) => labels.filtered(&matching.labels, matching.on),
        None => labels.clone(),
    }
}

fn by_signature(matrix: &Matrix, matching: Option<&Matching>) -> HashMap<LabelSet, Vec<usize>> {
    let mut out: HashMap<LabelSet, Vec<usize>> = HashMap::new();
    for (i, series) in matrix.iter().enumerate() {
        out.entry(signature(&series.labels, matching)).or_default().push(i);
    }
    out
}

/// Series on both sides.
pub(crate) fn vectors(binary: &Binary, left: Matrix, right: Matrix, steps: usize) -> Result<Matrix, QueryError> {
    let matching = binary.matching.as_ref();
    match binary.op {
        BinaryOp::And | BinaryOp::Unless => Ok(intersect(left, &right, matching, binary.op == BinaryOp::And)),
        BinaryOp::Or => Ok(union(left, right, matching)),
        _ => pair(binary, &left, &right, steps),
    }
}

fn present(matrix: &Matrix, members: Option<&Vec<usize>>, step: usize) -> bool {
    members.is_some_and(|members| members.iter().any(|i| !is_absent(matrix[*i].values[step])))
}

fn intersect(mut left: Matrix, right: &Matrix, matching: Option<&Matching>, and: bool) -> Matrix {
    let there = by_signature(right, matching);
    for series in &mut left {
        let members = there.get(&signature(&series.labels, matching));
        for (step, v) in series.values.iter_mut().enumerate() {
            if present(right, members, step) != and {
                *v = ABSENT;
            }
        }
    }
    left.retain(Series::has_any);
    left
}

fn union(mut left: Matrix, mut right: Matrix, matching: Option<&Matching>) -> Matrix {
    let there = by_signature(&left, matching);
    for series in &mut right {
        let members = there.get(&signature(&series.labels, matching));
        for (step, v) in series.values.iter_mut().enumerate() {
            if present(&left, members, step) {
                *v = ABSENT;
            }
        }
    }
    right.retain(Series::has_any);
    for series in right {
        match left.iter_mut().find(|known| known.labels == series.labels) {
            Some(known) => {
                for (cell, v) in known.values.iter_mut().zip(series.values).filter(|(_, v)| !is_absent(*v)) {
                    *cell = v;
                }
            }
            None => left.push(series),
        }
    }
    left
}

fn pair(binary: &Binary, left: &Matrix, right: &Matrix, steps: usize) -> Result<Matrix, QueryError> {
    let matching = binary.matching.as_ref();
    let group = matching.and_then(|m| m.many.as_ref());
    let swapped = matches!(group, Some(Many::Right(_)));
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let ones = by_signature(one, matching);
    for members in ones.values().filter(|members| members.len() > 1) {
        let crowded = (0..steps).any(|step| members.iter().filter(|i| !is_absent(one[**i].values[step])).count() > 1);
        if crowded {
            let side = if swapped { "left" } else { "right" };
            let message = format!(
                "found duplicate series on the {side} hand-side;many-to-many matching not allowed: matching labels must be unique on one side"
            );
            return Err(QueryError::Execution(message));
        }
    }
    let mut out: Vec<Series> = Vec::new();
    let mut by_labels: HashMap<LabelSet, usize> = HashMap::new();
    for series in many {
        let Some(members) = ones.get(&signature(&series.labels, matching)) else { continue };
        for partner in members.iter().map(|i| &one[*i]) {
            let labels = result_labels(&series.labels, &partner.labels, matching);
            let mut values = vec![ABSENT; steps];
            for (step, cell) in values.iter_mut().enumerate() {
                let (m, o) = (series.values[step], partner.values[step]);
                if is_absent(m) || is_absent(o) {
                    continue;
                }
                let (l, r) = if swapped { (o, m) } else { (m, o) };
                let (value, holds) = apply(binary.op, l, r);
                if binary.op.is_comparison() && binary.bool {
                    *cell = truth(holds);
                } else if holds {
                    *cell = value;
                }
            }
            let at = *by_labels.entry(labels).or_insert_with_key(|labels| {
                out.push(Series { labels: labels.clone(), values: vec![ABSENT; steps] });
                out.len() - 1
            });
            for (cell, v) in out[at].values.iter_mut().zip(values).filter(|(_, v)| !is_absent(*v)) {
                if !is_absent(*cell) {
                    let message = if group.is_some() {
                        "multiple matches for labels: grouping labels must ensure unique matches"
                    } else {
                        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                    };
                    return Err(QueryError::Execution(message.to_owned()));
                }
                *cell = v;
            }
        }
    }
    out.retain(Series::has_any);
    Ok(out)
}

fn result_labels(many: &LabelSet, one: &LabelSet, matching: Option<&Matching>) -> LabelSet {
    let Some(matching) = matching else { return many.clone() };
    match &matching.many {
        None => signature(many, Some(matching)),
        Some(Many::Left(include) | Many::Right(include)) => {
            include.iter().fold(many.clone(), |labels, name| labels.with(name, one.get(name).map_or("", |v| v)))
        }
    }
}
