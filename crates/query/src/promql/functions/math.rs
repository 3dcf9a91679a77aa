//! Arithmetic on values.

use super::super::ast::{Call, Expr};
use super::super::eval::{Evaluator, Val, single};
use super::super::vector::{ABSENT, Grid, Steps, Vector, is_absent};
use crate::error::QueryError;

/// Inverse hyperbolic sine; the standard one loses small negative arguments to rounding.
pub(super) fn asinh(v: f64) -> f64 {
    if v.is_finite() { v.abs().asinh().copysign(v) } else { v }
}

pub(super) fn sgn(v: f64) -> f64 {
    if v > 0.0 {
        1.0
    } else if v < 0.0 {
        -1.0
    } else {
        v
    }
}

/// Rounds to a multiple of the first argument. Dividing by its inverse keeps 0.1 and its like exact.
pub(super) fn round(v: f64, args: &[f64]) -> f64 {
    let inverse = 1.0 / args.first().copied().unwrap_or(1.0);
    (v * inverse + 0.5).floor() / inverse
}

pub(super) fn clamp_min(v: f64, args: &[f64]) -> f64 {
    if v.is_nan() || args[0].is_nan() { f64::NAN } else { v.max(args[0]) }
}

pub(super) fn clamp_max(v: f64, args: &[f64]) -> f64 {
    if v.is_nan() || args[0].is_nan() { f64::NAN } else { v.min(args[0]) }
}

/// `clamp(v, min, max)`: nothing where the minimum is above the maximum.
pub(super) fn clamp(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Result<Val, QueryError> {
    let mut grid = ev.grid(&c.args[0], steps)?;
    grid.take_histograms();
    let (min, max) = (ev.scalar(&c.args[1], steps)?, ev.scalar(&c.args[2], steps)?);
    for row in grid.data.chunks_mut(steps.count) {
        for ((v, min), max) in row.iter_mut().zip(&min).zip(&max) {
            if is_absent(*v) {
                continue;
            }
            *v = if max < min { ABSENT } else { clamp_max(clamp_min(*v, &[*min]), &[*max]) };
        }
    }
    grid.prune();
    ev.unnamed(grid).map(Val::Vector)
}

pub(super) fn pi(_: &mut Evaluator<'_>, _: &Expr, _: &Call, steps: Steps) -> Result<Val, QueryError> {
    Ok(Val::Scalar(vec![std::f64::consts::PI; steps.count]))
}

/// Step by step the larger (smaller) of two scalars; what is no number wins.
fn pick(ev: &mut Evaluator<'_>, c: &Call, steps: Steps, better: fn(f64, f64) -> f64) -> Result<Val, QueryError> {
    let (a, b) = (ev.scalar(&c.args[0], steps)?, ev.scalar(&c.args[1], steps)?);
    let of = |(a, b): (f64, f64)| if a.is_nan() || b.is_nan() { f64::NAN } else { better(a, b) };
    Ok(Val::Scalar(a.into_iter().zip(b).map(of).collect()))
}

pub(super) fn max_of(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Result<Val, QueryError> {
    pick(ev, c, steps, f64::max)
}

pub(super) fn min_of(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Result<Val, QueryError> {
    pick(ev, c, steps, f64::min)
}

pub(super) fn vector(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Result<Val, QueryError> {
    Ok(Val::Vector(single(ev.scalar(&c.args[0], steps)?)))
}

pub(super) fn scalar(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Result<Val, QueryError> {
    let grid: Grid = Vector::into_grid(ev.vector(&c.args[0], steps)?, ev)?;
    let mut out = vec![ABSENT; steps.count];
    for row in grid.data.chunks(steps.count) {
        for (cell, v) in out.iter_mut().zip(row).filter(|(_, v)| !is_absent(**v)) {
            *cell = if is_absent(*cell) { *v } else { f64::NAN };
        }
    }
    out.iter_mut().filter(|v| is_absent(**v)).for_each(|v| *v = f64::NAN);
    Ok(Val::Scalar(out))
}
