//! Aggregations over many series that are never in memory all at once.
//!
//! `sum by (job) (rate(requests_total[5m]))` needs each series once: it is read, its row computed while the samples
//! are still in the processor's cache, added to its group and forgotten. What needs to look at series twice, or at
//! several together, is evaluated as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use skopos_model::Labels;

use super::super::ast::{Aggregate, AggregateOp, Expr, Kind, Selector};
use super::super::duration::Duration;
use super::super::eval::Evaluator;
use super::super::functions::Body;
use super::super::group::{Pick, group};
use super::super::vector::{Grid, Key, Name, Scratch, Steps, Vector};
use super::{Cells, Evaluated, drop_name_with};

/// The selector of an expression that computes a row from each of its series alone, and its range.
fn selector_of(expr: &Expr) -> Option<(&Selector, Option<&Duration>)> {
    match &expr.without_parens().kind {
        Kind::Selector(s) => Some((s, None)),
        Kind::Call(c) => {
            let Body::Window { matrix_at, .. } = c.function.body else { return None };
            let is_number = |e: &Expr| matches!(e.without_parens().kind, Kind::Number(_));
            let plain = c.args.iter().enumerate().all(|(i, a)| i == matrix_at || is_number(a));
            match &c.args.get(matrix_at)?.without_parens().kind {
                Kind::Range(r) if plain => Some((&r.selector, Some(&r.range))),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Groups over all batches.
struct Groups<'a> {
    pick: &'a Pick<'a>,
    codes: HashMap<Arc<Labels>, usize>,
    keys: Vec<Key>,
}

impl Groups<'_> {
    /// The group of a series, a new one when it is the first of its kind.
    fn code(&mut self, key: &Key) -> usize {
        let labels = Arc::new(self.pick.labels(key));
        let (keys, next) = (&mut self.keys, self.codes.len());
        *self.codes.entry(labels).or_insert_with_key(|labels| {
            keys.push(Key { labels: Arc::clone(labels), name: Name::Kept });
            next
        })
    }
}

/// The aggregation, unless it has to be computed as a whole.
pub(super) fn eval(ev: &mut Evaluator<'_>, a: &Aggregate, pick: &Pick<'_>, steps: Steps) -> Evaluated<Option<Vector>> {
    let Some((selector, range)) = selector_of(&a.expr) else { return Ok(None) };
    let mut groups = Groups { pick, codes: HashMap::new(), keys: Vec::new() };
    let mut cells = Cells::new(a.op, 0, steps.count);
    let mut scratch = Scratch::new(steps.count);
    let is_done = ev.batches((&a.expr, selector, range), steps, &mut |ev, mut vector| {
        let (codes, first) = group(&vector.keys, pick);
        let codes_here: Vec<usize> = first.iter().map(|i| groups.code(&vector.keys[*i as usize])).collect();
        ev.check_cells(groups.keys.len(), steps.count)?;
        cells.grow(groups.keys.len());
        for (i, code) in codes.iter().enumerate() {
            let code = codes_here[*code as usize];
            drop_name_with(&mut groups.keys[code], &vector.keys[i]);
            let (row, _) = vector.row(i, &mut scratch);
            cells.add(code, row);
        }
        ev.ctx.check()
    })?;
    if !is_done {
        return Ok(None);
    }
    let data = cells.finish();
    if a.op == AggregateOp::Avg && data.iter().any(|v| v.is_infinite()) {
        // A sum may overflow where the mean does not: that takes a second look at the series.
        return Ok(None);
    }
    // Batches come in any order.
    let mut order: Vec<usize> = (0..groups.keys.len()).collect();
    order.sort_unstable_by(|a, b| groups.keys[*a].labels.cmp(&groups.keys[*b].labels));
    let mut grid = Grid::empty(steps.count);
    for i in order {
        grid.push_row(groups.keys[i].clone(), &data[i * steps.count..(i + 1) * steps.count], Vec::new());
    }
    grid.prune();
    Ok(Some(Vector::dense(grid)))
}
