//! Figures of native histograms; floats have nothing to give them.

use skopos_model::NativeHistogram;

use super::super::ast::{Call, Expr};
use super::super::eval::{Evaluator, Val};
use super::super::histogram::variance;
use super::super::vector::{ABSENT, Steps};
use crate::error::QueryError;

type Evaluated = Result<Val, QueryError>;

fn figure(ev: &mut Evaluator<'_>, c: &Call, steps: Steps, f: impl Fn(&NativeHistogram) -> f64) -> Evaluated {
    let mut grid = ev.grid(&c.args[0], steps)?;
    grid.data.fill(ABSENT);
    for (i, row) in grid.take_histograms().into_iter().enumerate() {
        let cells = grid.row_mut(i);
        row.iter().for_each(|(k, h)| cells[*k as usize] = f(h));
    }
    grid.prune();
    ev.unnamed(grid).map(Val::Vector)
}

pub(super) fn count(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Evaluated {
    figure(ev, c, steps, |h| h.count)
}

pub(super) fn sum(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Evaluated {
    figure(ev, c, steps, |h| h.sum)
}

pub(super) fn avg(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Evaluated {
    figure(ev, c, steps, |h| h.sum / h.count)
}

pub(super) fn stdvar(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Evaluated {
    figure(ev, c, steps, variance)
}

pub(super) fn stddev(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Evaluated {
    figure(ev, c, steps, |h| variance(h).sqrt())
}
