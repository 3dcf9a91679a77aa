//! Aggregations. Those that need one value at a time read rows as they are computed and never hold them all.

mod batched;
mod native;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::METRIC_NAME;

use super::ast::{Aggregate, AggregateOp, Expr};
use super::display::number;
use super::eval::Evaluator;
use super::group::{Pick, group};
use super::sum::Sum;
use super::vector::{ABSENT, Grid, HistogramCell, Key, Name, Scratch, Steps, Vector, is_absent};
use crate::error::QueryError;

type Evaluated<T> = Result<T, QueryError>;

pub(crate) fn eval(ev: &mut Evaluator<'_>, expr: &Expr, a: &Aggregate, steps: Steps) -> Evaluated<Vector> {
    if a.op.experimental() && !ev.options.experimental {
        return Err(QueryError::Parse {
            message: format!("{}() is experimental and experimental functions are not switched on", a.op.name()),
            at: expr.span,
        });
    }
    let mut labels: Vec<&str> = a.labels.iter().map(String::as_str).collect();
    labels.sort_unstable();
    labels.dedup();
    let pick = if a.without { Pick::Without(&labels) } else { Pick::By(&labels) };
    match (a.op, &a.parameter) {
        (AggregateOp::CountValues, Some(p)) => {
            let label = ev.text(p)?;
            if label.is_empty() {
                return Err(QueryError::Execution("invalid label name \"\" in count_values".to_owned()));
            }
            let grid = ev.grid(&a.expr, steps)?;
            count_values(&grid, label, &pick).map(Vector::dense)
        }
        (op, Some(p)) => {
            let parameter = ev.scalar(p, steps)?;
            let grid = ev.grid(&a.expr, steps)?;
            if grid.has_histograms() && matches!(op, AggregateOp::Quantile | AggregateOp::Topk | AggregateOp::Bottomk) {
                ev.notes.about("", &a.expr).histograms_ignored_in(op.name());
            }
            match op {
                AggregateOp::Quantile => {
                    let nan = parameter.iter().any(|q| q.is_nan()).then_some(f64::NAN);
                    for bad in nan.into_iter().chain(extremes(&parameter, 0.0, 1.0)) {
                        ev.notes.warn(&format!("quantile value should be between 0 and 1, got {}", number(bad)), p);
                    }
                    Ok(Vector::dense(quantile(&grid, &parameter, &pick)))
                }
                AggregateOp::LimitRatio => {
                    if parameter.iter().any(|r| r.is_nan()) {
                        return Err(QueryError::Execution("Ratio value is NaN".to_owned()));
                    }
                    for r in extremes(&parameter, -1.0, 1.0) {
                        let message = format!("ratio value should be between -1 and 1, got {}, capping to {}", number(r), number(r.signum()));
                        ev.notes.warn(&message, p);
                    }
                    Ok(Vector::dense(limit_ratio(grid, &parameter)))
                }
                _ => {
                    let limits = limits(&parameter)?;
                    Ok(Vector::dense(select(grid, &limits, op, &pick)))
                }
            }
        }
        (op, None) => {
            if let Some(done) = batched::eval(ev, a, &pick, steps)? {
                return Ok(done);
            }
            let vector = ev.vector(&a.expr, steps)?;
            stream(ev, vector, op, &pick, &a.expr)
        }
    }
}

/// The largest and the smallest of the values, where they are outside of `least` to `most`.
fn extremes(values: &[f64], least: f64, most: f64) -> impl Iterator<Item = f64> {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    [largest, smallest].into_iter().enumerate().filter(move |(i, v)| if *i == 0 { *v > most } else { *v < least }).map(|(_, v)| v)
}

/// The name of a group goes at the end when that of any member does.
fn drop_name_with(group: &mut Key, member: &Key) {
    if member.name == Name::ToDrop && group.name == Name::Kept && group.labels.get(METRIC_NAME).is_some() {
        group.name = Name::ToDrop;
    }
}

fn group_keys(keys: &[Key], codes: &[u32], first: &[u32], pick: &Pick<'_>) -> Vec<Key> {
    let mut out: Vec<Key> = first.iter().map(|i| Key::new(pick.labels(&keys[*i as usize]))).collect();
    for (key, code) in keys.iter().zip(codes) {
        drop_name_with(&mut out[*code as usize], key);
    }
    out
}

/// Cells of all groups while rows come in.
struct Cells {
    op: AggregateOp,
    width: usize,
    /// Sum, minimum, mean, …; absent until the first value.
    value: Vec<f64>,
    /// Compensation of sums, or the sum of squared deviations.
    second: Vec<f64>,
    /// Values seen, where the operator needs it.
    count: Vec<f64>,
}

impl Cells {
    fn new(op: AggregateOp, groups: usize, width: usize) -> Self {
        let mut cells = Self { op, width, value: Vec::new(), second: Vec::new(), count: Vec::new() };
        cells.grow(groups);
        cells
    }

    /// Makes room for so many groups.
    fn grow(&mut self, groups: usize) {
        use AggregateOp::{Avg, Stddev, Stdvar, Sum};
        let n = groups * self.width;
        self.value.resize(n, ABSENT);
        if matches!(self.op, Sum | Avg | Stddev | Stdvar) {
            self.second.resize(n, 0.0);
        }
        if matches!(self.op, Avg | Stddev | Stdvar) {
            self.count.resize(n, 0.0);
        }
    }

    fn add(&mut self, group: usize, row: &[f64]) {
        let cells = group * self.width..(group + 1) * self.width;
        let value = &mut self.value[cells.clone()];
        match self.op {
            AggregateOp::Sum => add_row(value, &mut self.second[cells], row),
            AggregateOp::Avg => {
                add_row(value, &mut self.second[cells.clone()], row);
                for (n, v) in self.count[cells].iter_mut().zip(row) {
                    *n += if is_absent(*v) { 0.0 } else { 1.0 };
                }
            }
            AggregateOp::Min => fold(value, row, |a, v| if v < a || a.is_nan() { v } else { a }),
            AggregateOp::Max => fold(value, row, |a, v| if v > a || a.is_nan() { v } else { a }),
            AggregateOp::Count => {
                for (a, v) in value.iter_mut().zip(row) {
                    if !is_absent(*v) {
                        *a = if is_absent(*a) { 1.0 } else { *a + 1.0 };
                    }
                }
            }
            AggregateOp::Stddev | AggregateOp::Stdvar => {
                let (second, count) = (&mut self.second[cells.clone()], &mut self.count[cells]);
                for k in 0..row.len() {
                    let v = row[k];
                    if is_absent(v) {
                        continue;
                    }
                    count[k] += 1.0;
                    let mean = if is_absent(value[k]) { 0.0 } else { value[k] };
                    let delta = v - mean;
                    value[k] = mean + delta / count[k];
                    second[k] += delta * (v - value[k]);
                }
            }
            _ => {
                for (a, v) in value.iter_mut().zip(row) {
                    if !is_absent(*v) {
                        *a = 1.0;
                    }
                }
            }
        }
    }

    /// Histograms of a row, for operators that count values without looking at them.
    fn add_histograms(&mut self, group: usize, row: &[HistogramCell]) {
        for (k, _) in row {
            let cell = &mut self.value[group * self.width + *k as usize];
            *cell = if self.op == AggregateOp::Group || is_absent(*cell) { 1.0 } else { *cell + 1.0 };
        }
    }

    fn finish(mut self) -> Vec<f64> {
        let (second, count) = (&self.second, &self.count);
        for (i, v) in self.value.iter_mut().enumerate().filter(|(_, v)| !is_absent(**v)) {
            match self.op {
                AggregateOp::Sum => *v += second[i],
                AggregateOp::Avg => *v = (*v + second[i]) / count[i],
                AggregateOp::Stdvar => *v = second[i] / count[i],
                AggregateOp::Stddev => *v = (second[i] / count[i]).sqrt(),
                _ => {}
            }
        }
        self.value
    }
}

/// Cells that are added together: as many as fit the registers.
const SUM_BLOCK: usize = 8;

/// Adds a row to compensated sums.
fn add_row(sums: &mut [f64], compensations: &mut [f64], row: &[f64]) {
    let (sum_blocks, sums_left) = sums.as_chunks_mut::<SUM_BLOCK>();
    let (blocks, left) = row.as_chunks::<SUM_BLOCK>();
    let (compensation_blocks, compensations_left) = compensations.as_chunks_mut::<SUM_BLOCK>();
    for ((sums, compensations), row) in sum_blocks.iter_mut().zip(compensation_blocks).zip(blocks) {
        let (mut totals, mut errors) = ([0.0; SUM_BLOCK], [0.0; SUM_BLOCK]);
        for i in 0..SUM_BLOCK {
            let (s, v) = (sums[i], row[i]);
            let t = s + v;
            // The exact rounding error of s + v (Knuth's two-sum), which needs no comparison of magnitudes.
            let back = t - s;
            totals[i] = t;
            errors[i] = (s - (t - back)) + (v - back);
        }
        // A cell that is absent or infinite makes its total so.
        if totals.iter().fold(true, |all, t| all & t.is_finite()) {
            *sums = totals;
            compensations.iter_mut().zip(errors).for_each(|(c, e)| *c += e);
        } else {
            add_cells(sums, compensations, row);
        }
    }
    add_cells(sums_left, compensations_left, left);
}

/// The same for cells that may be absent or infinite.
fn add_cells(sums: &mut [f64], compensations: &mut [f64], row: &[f64]) {
    for ((sum, c), v) in sums.iter_mut().zip(compensations.iter_mut()).zip(row) {
        if is_absent(*v) {
            continue;
        }
        let start = if is_absent(*sum) { Sum::default() } else { Sum::of(*sum, *c) };
        (*sum, *c) = start.plus(*v).parts();
    }
}

fn fold(cells: &mut [f64], row: &[f64], f: impl Fn(f64, f64) -> f64) {
    for (a, v) in cells.iter_mut().zip(row) {
        let (first, missing) = (is_absent(*a), is_absent(*v));
        let folded = if missing { *a } else { f(*a, *v) };
        *a = if first { *v } else { folded };
    }
}

fn stream(ev: &Evaluator<'_>, mut vector: Vector, op: AggregateOp, pick: &Pick<'_>, at: &Expr) -> Evaluated<Vector> {
    let (codes, first) = group(&vector.keys, pick);
    let width = vector.width;
    ev.check_cells(first.len(), width)?;
    let mut cells = Cells::new(op, first.len(), width);
    let mut scratch = Scratch::new(width);
    let (mut totals, mut ignored) = (native::Totals::default(), false);
    for (i, code) in codes.iter().enumerate() {
        if i % 256 == 0 {
            ev.ctx.check()?;
        }
        let (row, histograms) = vector.row(i, &mut scratch);
        cells.add(*code as usize, row);
        if !histograms.is_empty() {
            match op {
                AggregateOp::Sum | AggregateOp::Avg => totals.add(*code as usize, histograms, i),
                AggregateOp::Count | AggregateOp::Group => cells.add_histograms(*code as usize, histograms),
                _ => ignored = true,
            }
        }
    }
    if ignored {
        ev.notes.about("", at).histograms_ignored_in(op.name());
    }
    let keys = group_keys(&vector.keys, &codes, &first, pick);
    let mut data = cells.finish();
    if op == AggregateOp::Avg && data.iter().any(|v| v.is_infinite()) {
        // A sum may overflow where the mean does not: those groups again, as a running mean.
        let again: Vec<bool> = data.chunks(width).map(|row| row.iter().any(|v| v.is_infinite())).collect();
        let mut means = vec![super::sum::Mean::default(); data.len()];
        for (i, code) in codes.iter().enumerate().filter(|(_, c)| again[**c as usize]) {
            let (row, _) = vector.row(i, &mut scratch);
            for (mean, v) in means[*code as usize * width..].iter_mut().zip(row) {
                if !is_absent(*v) {
                    mean.add(*v);
                }
            }
        }
        for (v, mean) in data.iter_mut().zip(&means).filter(|(v, _)| v.is_infinite()) {
            *v = mean.value();
        }
    }
    let histograms = if totals.is_empty() { Vec::new() } else { totals.finish(ev, &mut vector, &codes, op, at, &mut data) };
    let mut grid = Grid::new(keys, data, width);
    histograms.into_iter().enumerate().for_each(|(i, row)| grid.set_histograms(i, row));
    grid.prune();
    Ok(Vector::dense(grid))
}

/// Members of each group.
fn members(grid: &Grid, pick: &Pick<'_>) -> (Vec<Vec<usize>>, Vec<Key>) {
    let (codes, first) = group(&grid.keys, pick);
    let mut out = vec![Vec::new(); first.len()];
    for (i, code) in codes.iter().enumerate() {
        out[*code as usize].push(i);
    }
    (out, group_keys(&grid.keys, &codes, &first, pick))
}

fn quantile(grid: &Grid, q: &[f64], pick: &Pick<'_>) -> Grid {
    let (members, keys) = members(grid, pick);
    let mut out = Grid::empty(grid.width);
    let mut values = Vec::new();
    for (list, key) in members.iter().zip(keys) {
        let row = out.push_absent(key);
        for (k, cell) in row.iter_mut().enumerate() {
            values.clear();
            values.extend(list.iter().map(|i| grid.row(*i)[k]).filter(|v| !is_absent(*v)));
            if !values.is_empty() {
                *cell = quantile_of(q[k], &mut values);
            }
        }
    }
    out
}

/// The `q` quantile by linear interpolation between ranks; sorts `values`.
pub(crate) fn quantile_of(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    // NaN sorts first, as Prometheus has it.
    values.sort_unstable_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
    #[allow(clippy::cast_precision_loss, reason = "sample counts are far below 2^53")]
    let rank = q * (values.len() - 1) as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the count")]
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// The numbers of series that `topk` and its like may keep, by step.
fn limits(parameter: &[f64]) -> Evaluated<Vec<usize>> {
    parameter
        .iter()
        .map(|k| {
            if k.is_nan() {
                return Err(QueryError::Execution("Parameter value is NaN".to_owned()));
            }
            if *k >= 9.223_372_036_854_776e18 {
                return Err(QueryError::Execution(format!("Scalar value {} overflows int64", number(*k))));
            }
            if *k <= -9.223_372_036_854_776e18 {
                return Err(QueryError::Execution(format!("Scalar value {} underflows int64", number(*k))));
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative after max")]
            Ok(k.max(0.0) as usize)
        })
        .collect()
}

/// `topk`, `bottomk`, `limitk`: the chosen series with their values where they were chosen.
fn select(mut grid: Grid, limits: &[usize], op: AggregateOp, pick: &Pick<'_>) -> Grid {
    if op != AggregateOp::Limitk {
        // Histograms have no order.
        grid.take_histograms();
    }
    let (members, _) = members(&grid, pick);
    let width = grid.width;
    let mut kept = vec![ABSENT; grid.data.len()];
    let mut chosen = Vec::new();
    // Where histograms were chosen: series and step.
    let mut native: HashSet<(usize, usize)> = HashSet::new();
    for list in &members {
        for k in 0..width {
            let mut candidates: Vec<(f64, usize)> = list.iter().filter(|i| grid.is_present(**i, k)).map(|i| (grid.row(*i)[k], *i)).collect();
            // NaN comes last either way. Of equal values the first by labels stays, so that the choice does not
            // depend on which other steps are computed along.
            let by_labels = |a: usize, b: usize| grid.keys[a].labels.cmp(&grid.keys[b].labels).then(a.cmp(&b));
            let order = |a: &(f64, usize), b: &(f64, usize)| {
                let by_value = match op {
                    AggregateOp::Topk => b.0.partial_cmp(&a.0),
                    AggregateOp::Bottomk => a.0.partial_cmp(&b.0),
                    _ => return by_labels(a.1, b.1),
                };
                a.0.is_nan().cmp(&b.0.is_nan()).then(by_value.unwrap_or(std::cmp::Ordering::Equal)).then_with(|| by_labels(a.1, b.1))
            };
            if let Some(last) = limits[k].checked_sub(1).filter(|last| *last < candidates.len()) {
                candidates.select_nth_unstable_by(last, order);
            }
            candidates.truncate(limits[k]);
            if width == 1 {
                candidates.sort_unstable_by(order);
            }
            for (v, i) in candidates {
                if is_absent(v) {
                    native.insert((i, k));
                }
                kept[i * width + k] = v;
                chosen.push(i);
            }
        }
    }
    grid.retain_histograms(|i, k| native.contains(&(i, k)));
    if width > 1 {
        grid.data = kept;
        grid.prune();
        return grid;
    }
    // An instant query shows them by value.
    let mut out = Grid::empty(1);
    for i in chosen {
        out.push_row(grid.keys[i].clone(), &kept[i..=i], grid.histograms(i).to_vec());
    }
    out
}

/// Keeps a share of the series, chosen by their labels' hash: a negative ratio keeps the complement.
fn limit_ratio(mut grid: Grid, ratios: &[f64]) -> Grid {
    let width = grid.width;
    #[allow(clippy::cast_precision_loss, reason = "a share needs no more digits")]
    let shares: Vec<f64> = grid.keys.iter().map(|key| key.visible().stable_hash() as f64 / u64::MAX as f64).collect();
    let keep = |i: usize, k: usize| {
        let ratio = ratios[k.min(width - 1)].clamp(-1.0, 1.0);
        if ratio >= 0.0 { shares[i] < ratio } else { shares[i] >= 1.0 + ratio }
    };
    for i in 0..grid.keys.len() {
        for (k, cell) in grid.row_mut(i).iter_mut().enumerate() {
            if !keep(i, k) {
                *cell = ABSENT;
            }
        }
    }
    grid.retain_histograms(keep);
    grid.prune();
    grid
}

fn count_values(grid: &Grid, label: &str, pick: &Pick<'_>) -> Evaluated<Grid> {
    let (members, keys) = members(grid, pick);
    let mut out = Grid::empty(grid.width);
    for (list, key) in members.iter().zip(keys) {
        let mut rows: HashMap<String, usize> = HashMap::new();
        let mut count = |text: String, k: usize| {
            let row = *rows.entry(text).or_insert_with_key(|text| {
                let labels = key.labels.with(label, text);
                out.push_absent(Key { labels: Arc::new(labels), name: key.name });
                out.keys.len() - 1
            });
            let cell = &mut out.row_mut(row)[k];
            *cell = if is_absent(*cell) { 1.0 } else { *cell + 1.0 };
        };
        for i in list {
            for (k, v) in grid.row(*i).iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                count(if v.is_finite() { v.to_string() } else { number(*v) }, k);
            }
            for (k, h) in grid.histograms(*i) {
                count(native::label_value(h), *k as usize);
            }
        }
    }
    out.merge_same()
}

/// Sum of present values, for use outside of rows.
#[cfg(test)]
fn total(values: &[f64]) -> f64 {
    let mut sum = Sum::default();
    values.iter().for_each(|v| sum.add(*v));
    sum.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_sum_as_single_values_do() {
        let rows = [[1e100, 1.0, ABSENT, f64::INFINITY], [1.0, ABSENT, ABSENT, 1.0], [-1e100, 0.1, 5.0, 2.0]];
        let (mut sums, mut comps) = (vec![ABSENT; 4], vec![0.0; 4]);
        rows.iter().for_each(|r| add_row(&mut sums, &mut comps, r));
        for k in 0..4 {
            let column: Vec<f64> = rows.iter().map(|r| r[k]).filter(|v| !is_absent(*v)).collect();
            assert_eq!(sums[k] + comps[k], total(&column), "column {k}");
        }
    }

    #[test]
    fn quantiles_between_ranks() {
        assert_eq!(quantile_of(0.5, &mut [3.0, 1.0, 2.0, 4.0]), 2.5);
        assert_eq!(quantile_of(1.0, &mut [1.0]), 1.0);
        assert!(quantile_of(0.0, &mut [1.0, f64::NAN]).is_nan());
        assert_eq!(quantile_of(-0.1, &mut [1.0]), f64::NEG_INFINITY);
    }
}
