//! Quantiles and shares, from native histograms and from classic ones: series told apart by their `le` label.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use skopos_model::{Labels, NativeHistogram};

use super::super::ast::{Call, Expr};
use super::super::display::number;
use super::super::eval::{Evaluator, Val};
use super::super::group::{Groups, Pick};
use super::super::histogram as native;
use super::super::notes::{Decreases, Spot};
use super::super::vector::{Grid, Key, Steps, is_absent};
use crate::error::QueryError;

/// Label that holds a bucket's upper bound.
const UPPER_BOUND: &str = "le";

/// Relative difference of neighbouring counts that rounding explains.
const TOLERANCE: f64 = 1e-12;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// One classic histogram: its labels without `le`, and its bucket rows by upper bound.
struct Classic {
    key: Key,
    name: String,
    /// Upper bound and row of the grid, ascending.
    rows: Vec<(f64, usize)>,
    /// Steps at which a native histogram of the same name and labels contradicts it.
    hidden: HashSet<usize>,
}

/// The native histograms of one series.
struct Native {
    key: Key,
    name: String,
    cells: Vec<(usize, Arc<NativeHistogram>)>,
}

/// The name of what a note is about; without delayed removal it is gone by then.
fn note_name(ev: &Evaluator<'_>, key: &Key) -> String {
    if ev.options.delayed_name_removal { key.get("__name__").to_owned() } else { String::new() }
}

/// Groups bucket series into histograms; what is no bucket is reported and left out, and so is what is there both as
/// a classic and as a native histogram.
fn histograms(ev: &Evaluator<'_>, grid: &Grid, at: &Expr) -> (Vec<Classic>, Vec<Native>) {
    let mut keys = Vec::with_capacity(grid.keys.len());
    let mut bounds = Vec::with_capacity(grid.keys.len());
    for (i, key) in grid.keys.iter().enumerate() {
        if grid.has_histograms() && grid.row(i).iter().all(|v| is_absent(*v)) {
            continue;
        }
        let le = key.get(UPPER_BOUND);
        match le.parse::<f64>() {
            Ok(bound) => {
                let labels = Labels::new(key.pairs().filter(|(n, _)| *n != UPPER_BOUND));
                keys.push(Key { labels: Arc::new(labels), name: key.name });
                bounds.push((bound, i));
            }
            Err(_) => {
                ev.notes.about(key.get("__name__"), at).bad_bucket_label(le);
            }
        }
    }
    let mut groups = Groups::default();
    let mut classic: Vec<Classic> = Vec::new();
    for (key, bound) in keys.iter().zip(bounds) {
        let code = groups.code(key, &Pick::All) as usize;
        if code == classic.len() {
            classic.push(Classic { key: key.clone(), name: note_name(ev, key), rows: Vec::new(), hidden: HashSet::new() });
        }
        classic[code].rows.push(bound);
    }
    classic.iter_mut().for_each(|h| h.rows.sort_by(|a, b| a.0.total_cmp(&b.0)));
    let mut natives = Vec::new();
    for (i, key) in grid.keys.iter().enumerate().filter(|(i, _)| !grid.histograms(*i).is_empty()) {
        let rival = groups.find(key, &Pick::All).map(|code| code as usize);
        let mut cells = Vec::new();
        for (k, h) in grid.histograms(i) {
            let k = *k as usize;
            match rival.map(|code| &mut classic[code]) {
                Some(c) if c.rows.iter().any(|(_, row)| !is_absent(grid.row(*row)[k])) => {
                    ev.notes.about(key.get("__name__"), at).classic_and_native();
                    c.hidden.insert(k);
                }
                _ => cells.push((k, Arc::clone(h))),
            }
        }
        natives.push(Native { key: key.clone(), name: note_name(ev, key), cells });
    }
    (classic, natives)
}

/// The buckets of a step, those with the same bound added up.
fn buckets(grid: &Grid, h: &Classic, k: usize, out: &mut Vec<Bucket>) {
    out.clear();
    if h.hidden.contains(&k) {
        return;
    }
    for (upper, row) in &h.rows {
        let count = grid.data[row * grid.width + k];
        if is_absent(count) {
            continue;
        }
        match out.last_mut() {
            Some(last) if last.upper == *upper => last.count += count,
            _ => out.push(Bucket { upper: *upper, count }),
        }
    }
}

/// The quantile of a native histogram, with what there is to say about it.
fn native_quantile(q: f64, h: &NativeHistogram, spot: Spot<'_>) -> f64 {
    let (value, doubt) = native::quantile(q, h);
    match doubt {
        native::Doubt::None => {}
        native::Doubt::Undefined => spot.quantile_undefined(),
        native::Doubt::Skewed => spot.quantile_skewed(),
    }
    value
}

fn almost_equal(a: f64, b: f64) -> bool {
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// Makes counts ascend: rounding differences silently, real decreases (buckets scraped at different moments) with a
/// note. Returns the bounds and the size of the largest decrease when there was one.
fn repair(buckets: &mut [Bucket]) -> Option<(f64, f64, f64)> {
    let mut highest = buckets.first()?.count;
    let mut worst: Option<(f64, f64, f64)> = None;
    for bucket in buckets.iter_mut().skip(1) {
        let count = bucket.count;
        if count == highest {
            continue;
        }
        if almost_equal(highest, count) {
            bucket.count = highest;
        } else if count < highest {
            bucket.count = highest;
            let drop = highest - count;
            let (least, most, largest) = worst.unwrap_or((bucket.upper, bucket.upper, 0.0));
            worst = Some((least, most.max(bucket.upper), largest.max(drop)));
        } else {
            highest = count;
        }
    }
    worst
}

/// The `q` quantile, linear within a bucket; `buckets` ascend in bound and count.
fn bucket_quantile(q: f64, buckets: &[Bucket]) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let [.., before_last, last] = buckets else { return f64::NAN };
    if last.upper != f64::INFINITY || last.count == 0.0 || last.count.is_nan() {
        return f64::NAN;
    }
    let rank = q * last.count;
    let at = buckets[..buckets.len() - 1].partition_point(|b| b.count < rank);
    if at == buckets.len() - 1 {
        return before_last.upper;
    }
    let bucket = buckets[at];
    if at == 0 {
        if bucket.upper <= 0.0 {
            return bucket.upper;
        }
        return bucket.upper * (rank / bucket.count);
    }
    let below = buckets[at - 1];
    below.upper + (bucket.upper - below.upper) * ((rank - below.count) / (bucket.count - below.count))
}

/// Share of observations between two bounds, linear within a bucket.
fn bucket_fraction(lower: f64, upper: f64, buckets: &[Bucket]) -> f64 {
    let Some(last) = buckets.last() else { return f64::NAN };
    if last.upper != f64::INFINITY || last.count == 0.0 || last.count.is_nan() || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets) - rank_of(lower, buckets)) / last.count
}

/// Number of observations up to a value.
fn rank_of(value: f64, buckets: &[Bucket]) -> f64 {
    let mut below = Bucket { upper: f64::NEG_INFINITY, count: 0.0 };
    for (i, bucket) in buckets.iter().enumerate() {
        // The first bucket is taken to begin at zero when it reaches above it.
        let start = if i == 0 && bucket.upper > 0.0 { 0.0 } else { below.upper };
        if start >= value {
            return below.count;
        }
        if bucket.upper > value {
            if start == f64::NEG_INFINITY {
                return bucket.count;
            }
            if bucket.upper == f64::INFINITY {
                return below.count;
            }
            return below.count + (bucket.count - below.count) * (value - start) / (bucket.upper - start);
        }
        below = *bucket;
    }
    below.count
}

fn warn_quantile(ev: &Evaluator<'_>, q: &[f64], at: &Expr) {
    for bad in q.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
        ev.notes.warn(&format!("quantile value should be between 0 and 1, got {}", number(*bad)), at);
    }
}

/// What [`repair`] found, by name.
#[derive(Default)]
struct Repairs(BTreeMap<String, Decreases>);

impl Repairs {
    /// Makes the counts of a step ascend.
    fn apply(&mut self, h: &Classic, buckets: &mut [Bucket], time: i64) {
        let Some((least, most, largest)) = repair(buckets) else { return };
        let found = Decreases { bounds: (least, most), largest, times: (time, time), samples: 1 };
        self.0.entry(h.name.clone()).and_modify(|d| *d = d.and(found)).or_insert(found);
    }

    fn note(&self, ev: &Evaluator<'_>, at: &Expr) {
        self.0.iter().for_each(|(name, d)| ev.notes.about(name, at).forced_to_ascend(d));
    }
}

/// `histogram_quantile(q, buckets)`.
pub(super) fn quantile(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Result<Val, QueryError> {
    let q = ev.scalar(&c.args[0], steps)?;
    let grid = ev.grid(&c.args[1], steps)?;
    warn_quantile(ev, &q, &c.args[0]);
    let mut out = Grid::empty(steps.count);
    let mut scratch = Vec::new();
    let (classic, natives) = histograms(ev, &grid, &c.args[1]);
    for n in natives {
        let spot = ev.notes.about(&n.name, &c.args[0]);
        let row = out.push_absent(n.key);
        n.cells.iter().for_each(|(k, h)| row[*k] = native_quantile(q[*k], h, spot));
    }
    let mut repairs = Repairs::default();
    for h in classic {
        ev.ctx.check()?;
        let row = out.push_absent(h.key.clone());
        for (k, cell) in row.iter_mut().enumerate() {
            buckets(&grid, &h, k, &mut scratch);
            if !scratch.is_empty() {
                repairs.apply(&h, &mut scratch, steps.time(k));
                *cell = bucket_quantile(q[k], &scratch);
            }
        }
    }
    repairs.note(ev, &c.args[1]);
    out.prune();
    ev.unnamed(out).map(Val::Vector)
}

/// Rows of one histogram's quantiles: a quantile may change from step to step, and with it the label.
struct Quantiles<'a> {
    key: &'a Key,
    label: &'a str,
    rows: HashMap<u64, usize>,
}

impl Quantiles<'_> {
    fn set(&mut self, out: &mut Grid, q: f64, k: usize, value: f64) {
        let row = *self.rows.entry(q.to_bits()).or_insert_with(|| {
            let labels = self.key.labels.with(self.label, &label_number(q));
            out.push_absent(Key { labels: Arc::new(labels), name: self.key.name });
            out.keys.len() - 1
        });
        out.row_mut(row)[k] = value;
    }
}

/// `histogram_quantiles(buckets, label, q…)`: a series for each quantile.
pub(super) fn quantiles(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Result<Val, QueryError> {
    let grid = ev.grid(&c.args[0], steps)?;
    let label = ev.text(&c.args[1])?;
    if label.is_empty() {
        return Err(QueryError::Execution("invalid label name \"\" in histogram_quantiles".to_owned()));
    }
    let mut qs = Vec::new();
    for arg in &c.args[2..] {
        let q = ev.scalar(arg, steps)?;
        warn_quantile(ev, &q, arg);
        qs.push(q);
    }
    let mut out = Grid::empty(steps.count);
    let mut scratch = Vec::new();
    let (classic, natives) = histograms(ev, &grid, &c.args[0]);
    for n in &natives {
        let spot = ev.notes.about(&n.name, &c.args[0]);
        let mut rows = Quantiles { key: &n.key, label, rows: HashMap::new() };
        for (k, h) in &n.cells {
            qs.iter().for_each(|q| rows.set(&mut out, q[*k], *k, native_quantile(q[*k], h, spot)));
        }
    }
    let mut repairs = Repairs::default();
    for h in classic {
        ev.ctx.check()?;
        let mut rows = Quantiles { key: &h.key, label, rows: HashMap::new() };
        for k in 0..steps.count {
            buckets(&grid, &h, k, &mut scratch);
            if scratch.is_empty() {
                continue;
            }
            repairs.apply(&h, &mut scratch, steps.time(k));
            qs.iter().for_each(|q| rows.set(&mut out, q[k], k, bucket_quantile(q[k], &scratch)));
        }
    }
    repairs.note(ev, &c.args[0]);
    ev.unnamed(out).map(Val::Vector)
}

/// A number as OpenMetrics writes label values such as `quantile`: always with a point or an exponent.
fn label_number(n: f64) -> String {
    let text = number(n);
    if n.is_finite() && !text.contains(['.', 'e']) { text + ".0" } else { text }
}

/// `histogram_fraction(lower, upper, buckets)`.
pub(super) fn fraction(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Result<Val, QueryError> {
    let (lower, upper) = (ev.scalar(&c.args[0], steps)?, ev.scalar(&c.args[1], steps)?);
    let grid = ev.grid(&c.args[2], steps)?;
    let mut out = Grid::empty(steps.count);
    let mut scratch = Vec::new();
    let (classic, natives) = histograms(ev, &grid, &c.args[2]);
    for n in natives {
        let spot = ev.notes.about(&n.name, &c.args[0]);
        let row = out.push_absent(n.key);
        for (k, h) in &n.cells {
            if native::has_nan(h) {
                spot.not_in_fractions();
            }
            row[*k] = native::fraction(lower[*k], upper[*k], h);
        }
    }
    for h in classic {
        let row = out.push_absent(h.key.clone());
        for (k, cell) in row.iter_mut().enumerate() {
            buckets(&grid, &h, k, &mut scratch);
            if !scratch.is_empty() {
                *cell = bucket_fraction(lower[k], upper[k], &scratch);
            }
        }
    }
    out.prune();
    ev.unnamed(out).map(Val::Vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs.iter().map(|(upper, count)| Bucket { upper: *upper, count: *count }).collect()
    }

    #[test]
    fn quantiles_and_shares() {
        let b = of(&[(0.1, 10.0), (0.2, 30.0), (1.0, 30.0), (f64::INFINITY, 40.0)]);
        assert_eq!(bucket_quantile(0.5, &b), 0.15000000000000002);
        assert_eq!(bucket_quantile(0.9, &b), 1.0, "beyond the last finite bound");
        assert_eq!(bucket_quantile(0.1, &b), 0.04000000000000001);
        assert!(bucket_quantile(0.5, &b[..3]).is_nan(), "no +Inf bucket");
        assert_eq!(bucket_fraction(0.0, 0.2, &b), 0.75);
        assert_eq!(bucket_fraction(0.1, f64::INFINITY, &b), 0.75);
        assert_eq!(bucket_fraction(0.2, 0.1, &b), 0.0);
    }

    #[test]
    fn decreases_are_repaired() {
        let mut b = of(&[(0.1, 10.0), (0.2, 9.0), (1.0, 12.0), (f64::INFINITY, 12.000_000_000_000_002)]);
        assert_eq!(repair(&mut b), Some((0.2, 0.2, 1.0)));
        assert_eq!(b.iter().map(|b| b.count).collect::<Vec<_>>(), [10.0, 10.0, 12.0, 12.0]);
    }
}
