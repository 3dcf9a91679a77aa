//! Functions of labels and of presence, and sorting.

use std::cmp::Ordering;
use std::sync::Arc;

use super::super::METRIC_NAME;

use super::super::ast::{Call, Expr};
use super::super::eval::{Evaluator, Val};
use super::super::vector::{Grid, Key, Name, Steps, Vector, is_absent};
use super::super::window::WindowRows;
use crate::error::QueryError;

type Evaluated = Result<Val, QueryError>;

/// A series of ones at the steps where `grid` has nothing.
fn absence(grid: &Grid, stated: skopos_model::Labels) -> Val {
    let mut row = vec![1.0; grid.width];
    for values in grid.data.chunks(grid.width) {
        for (cell, v) in row.iter_mut().zip(values) {
            if !is_absent(*v) {
                *cell = super::super::vector::ABSENT;
            }
        }
    }
    for i in 0..grid.keys.len() {
        grid.histograms(i).iter().for_each(|(k, _)| row[*k as usize] = super::super::vector::ABSENT);
    }
    let mut out = Grid::new(vec![Key::new(stated)], row, grid.width);
    out.prune();
    Val::Vector(Vector::dense(out))
}

pub(super) fn absent(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Evaluated {
    let grid = ev.grid(&c.args[0], steps)?;
    Ok(absence(&grid, super::stated_labels(&c.args[0])))
}

pub(super) fn absent_over_time(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Evaluated {
    let (matrix, need) = ev.windows(c.function.name, &c.args[0], steps)?;
    let keys = matrix.keys();
    let mixed = super::mixed(c.function.name, matrix.sampling);
    let rows = WindowRows::new(matrix, steps, Vec::new(), super::over_time::present, ev.notes.clone(), &c.args[0]).mixed(mixed).needing(need);
    let rows = super::super::vector::Rows::Lazy(Box::new(rows));
    let grid = Vector { keys, rows, width: steps.count, unique: true }.into_grid(ev)?;
    Ok(absence(&grid, super::stated_labels(&c.args[0])))
}

/// Whether a text can name a label: any but the empty one, and none that was no UTF-8 before it was read.
fn is_valid(label: &str) -> bool {
    !label.is_empty() && !label.contains(char::REPLACEMENT_CHARACTER)
}

/// `key` with a label set; a written name is there to stay.
fn with_label(key: &Key, label: &str, value: &str) -> Key {
    let labels = key.visible().with(label, value);
    let name = if label == METRIC_NAME || key.name == Name::Dropped { Name::Kept } else { key.name };
    Key { labels: Arc::new(labels), name }
}

pub(super) fn replace(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Evaluated {
    let (dst, replacement) = (ev.text(&c.args[1])?, ev.text(&c.args[2])?);
    let (src, pattern) = (ev.text(&c.args[3])?, ev.text(&c.args[4])?);
    if !is_valid(dst) {
        return Err(QueryError::Execution(format!("invalid destination label name in label_replace(): {dst}")));
    }
    let regex = regex::Regex::new(&format!("^(?s:{pattern})$"))
        .map_err(|e| QueryError::Execution(format!("invalid regular expression in label_replace(): {pattern}: {e}")))?;
    let mut grid = ev.grid(&c.args[0], steps)?;
    for key in &mut grid.keys {
        let mut value = String::new();
        let Some(found) = regex.captures(key.get(src)) else { continue };
        found.expand(replacement, &mut value);
        *key = with_label(key, dst, &value);
    }
    Ok(Val::Vector(Vector::dense(grid.merge_same()?)))
}

pub(super) fn join(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Evaluated {
    let (dst, separator) = (ev.text(&c.args[1])?, ev.text(&c.args[2])?);
    let sources = c.args[3..].iter().map(|a| ev.text(a)).collect::<Result<Vec<_>, _>>()?;
    if !is_valid(dst) {
        return Err(QueryError::Execution(format!("invalid destination label name in label_join(): {dst}")));
    }
    if let Some(bad) = sources.iter().find(|s| !is_valid(s)) {
        return Err(QueryError::Execution(format!("invalid source label name in label_join(): {bad}")));
    }
    let mut grid = ev.grid(&c.args[0], steps)?;
    for key in &mut grid.keys {
        let value = sources.iter().map(|s| key.get(s)).collect::<Vec<_>>().join(separator);
        *key = with_label(key, dst, &value);
    }
    Ok(Val::Vector(Vector::dense(grid.merge_same()?)))
}

/// Orders the series of an instant query; says so where it has no effect.
fn sorted(ev: &mut Evaluator<'_>, expr: &Expr, grid: Grid, order: impl Fn(&Grid, usize, usize) -> Ordering) -> Evaluated {
    if ev.range_query {
        ev.notes.warn("sort is ineffective for range queries since results are always ordered by labels", expr);
        return Ok(Val::Vector(Vector::dense(grid)));
    }
    let mut indexes: Vec<usize> = (0..grid.keys.len()).collect();
    indexes.sort_by(|a, b| order(&grid, *a, *b));
    let mut out = Grid::empty(grid.width);
    for i in indexes {
        out.push_row(grid.keys[i].clone(), grid.row(i), grid.histograms(i).to_vec());
    }
    Ok(Val::Vector(Vector::dense(out)))
}

/// The argument's numbers: histograms have no order.
fn numbers(ev: &mut Evaluator<'_>, c: &Call, steps: Steps) -> Result<Grid, QueryError> {
    let mut grid = ev.grid(&c.args[0], steps)?;
    grid.take_histograms();
    grid.prune();
    Ok(grid)
}

/// By value, NaN last; `reverse` turns only the numbers around.
fn by_value(grid: &Grid, a: usize, b: usize, reverse: bool) -> Ordering {
    let (x, y) = (grid.row(a)[0], grid.row(b)[0]);
    let numbers = x.partial_cmp(&y).unwrap_or(Ordering::Equal);
    x.is_nan().cmp(&y.is_nan()).then(if reverse { numbers.reverse() } else { numbers })
}

pub(super) fn sort(ev: &mut Evaluator<'_>, expr: &Expr, c: &Call, steps: Steps) -> Evaluated {
    let grid = numbers(ev, c, steps)?;
    sorted(ev, expr, grid, |g, a, b| by_value(g, a, b, false))
}

pub(super) fn sort_desc(ev: &mut Evaluator<'_>, expr: &Expr, c: &Call, steps: Steps) -> Evaluated {
    let grid = numbers(ev, c, steps)?;
    sorted(ev, expr, grid, |g, a, b| by_value(g, a, b, true))
}

fn by_labels(ev: &mut Evaluator<'_>, expr: &Expr, c: &Call, steps: Steps, reverse: bool) -> Evaluated {
    let labels = c.args[1..].iter().map(|a| ev.text(a)).collect::<Result<Vec<_>, _>>()?;
    let grid = ev.grid(&c.args[0], steps)?;
    sorted(ev, expr, grid, |g, a, b| {
        let (x, y) = (&g.keys[a], &g.keys[b]);
        let by_given = labels.iter().map(|l| natural(x.get(l), y.get(l))).find(|o| *o != Ordering::Equal);
        let order = by_given.unwrap_or_else(|| x.labels.cmp(&y.labels));
        if reverse { order.reverse() } else { order }
    })
}

pub(super) fn sort_by_label(ev: &mut Evaluator<'_>, expr: &Expr, c: &Call, steps: Steps) -> Evaluated {
    by_labels(ev, expr, c, steps, false)
}

pub(super) fn sort_by_label_desc(ev: &mut Evaluator<'_>, expr: &Expr, c: &Call, steps: Steps) -> Evaluated {
    by_labels(ev, expr, c, steps, true)
}

/// Natural order: runs of digits compare by their number, so that `cpu2` comes before `cpu10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (Some(x), Some(y)) = (a.first(), b.first()) else { return a.len().cmp(&b.len()) };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let run = |t: &[u8]| t.iter().take_while(|c| c.is_ascii_digit()).count();
            let (n, m) = (run(a), run(b));
            let (left, right) = (trim_zeros(&a[..n]), trim_zeros(&b[..m]));
            let order = left.len().cmp(&right.len()).then_with(|| left.cmp(right)).then(n.cmp(&m));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[n..], &b[m..]);
            continue;
        }
        if x != y {
            return x.cmp(y);
        }
        (a, b) = (&a[1..], &b[1..]);
    }
}

fn trim_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|d| **d == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn natural_order() {
        let mut names = ["cpu10", "cpu2", "cpu", "cpu02", "a", "cpu2x"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["a", "cpu", "cpu2", "cpu2x", "cpu02", "cpu10"]);
        assert_eq!(natural("1", "a"), Ordering::Less);
    }
}
