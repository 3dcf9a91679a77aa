//! Binary operators.

mod native;

use std::sync::Arc;

use skopos_model::Labels;

use super::METRIC_NAME;

use super::ast::{Binary, BinaryOp, Expr, Grouping, Matching};
use super::eval::{Evaluator, Val};
use super::group::{Groups, Pick};
use super::vector::{ABSENT, Grid, HistogramRow, Key, Name, Steps, Vector, is_absent, step_index};
use crate::error::QueryError;
use native::{Operand, Outcome, Undefined, combine};

type Evaluated<T> = Result<T, QueryError>;

/// The value of `a op b`, and for comparisons whether it holds.
#[inline(always)]
fn apply(op: BinaryOp, a: f64, b: f64) -> (f64, bool) {
    match op {
        BinaryOp::Add => (a + b, true),
        BinaryOp::Sub => (a - b, true),
        BinaryOp::Mul => (a * b, true),
        BinaryOp::Div => (a / b, true),
        BinaryOp::Mod => (a % b, true),
        BinaryOp::Pow => (a.powf(b), true),
        BinaryOp::Atan2 => (a.atan2(b), true),
        BinaryOp::Equal => (a, a == b),
        BinaryOp::NotEqual => (a, a != b),
        BinaryOp::Less => (a, a < b),
        BinaryOp::LessEqual => (a, a <= b),
        BinaryOp::Greater => (a, a > b),
        BinaryOp::GreaterEqual => (a, a >= b),
        // Trimming is for histograms, and floats are none; set operators do not come here.
        BinaryOp::TrimUpper | BinaryOp::TrimLower | BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => (a, false),
    }
}

fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

pub(crate) fn eval(ev: &mut Evaluator<'_>, expr: &Expr, b: &Binary, steps: Steps) -> Evaluated<Val> {
    let left = ev.eval(&b.left, steps)?;
    let right = ev.eval(&b.right, steps)?;
    match (left, right) {
        (Val::Scalar(mut l), Val::Scalar(r)) => {
            for (l, r) in l.iter_mut().zip(r) {
                let (value, holds) = apply(b.op, *l, r);
                *l = if b.op.is_comparison() { truth(holds) } else { value };
            }
            Ok(Val::Scalar(l))
        }
        (Val::Vector(v), Val::Scalar(s)) => {
            let mut grid = v.into_grid(ev)?;
            let histograms = native::with_scalar(ev, expr, b, &mut grid, &s, false);
            with_scalar(ev, expr, grid, histograms, b, |k, v| (v, s[k])).map(Val::Vector)
        }
        (Val::Scalar(s), Val::Vector(v)) => {
            let mut grid = v.into_grid(ev)?;
            let histograms = native::with_scalar(ev, expr, b, &mut grid, &s, true);
            with_scalar(ev, expr, grid, histograms, b, |k, v| (s[k], v)).map(Val::Vector)
        }
        (Val::Vector(l), Val::Vector(r)) => {
            let (l, r) = (l.into_grid(ev)?, r.into_grid(ev)?);
            let mut labels: Vec<&str> = b.matching.labels.iter().map(String::as_str).collect();
            labels.sort_unstable();
            labels.dedup();
            let pick = if b.matching.on { Pick::By(&labels) } else { Pick::Without(&labels) };
            let grid = match b.op {
                BinaryOp::And | BinaryOp::Unless => intersect(l, &r, &pick, b.op == BinaryOp::And),
                BinaryOp::Or => union(l, r, &pick)?,
                _ => Pairing { ev, expr, b, pick: &pick, labels: &labels }.eval(&l, &r)?,
            };
            Ok(Val::Vector(Vector::dense(grid)))
        }
        _ => Err(QueryError::Execution(format!(
            "binary expression must contain only scalar and instant vector types, at {}:{}",
            expr.line, expr.column
        ))),
    }
}

/// Vector and scalar: `order` puts the vector's value and the scalar's in the order they were written; `histograms`
/// are the results where the vector has histograms.
fn with_scalar(
    ev: &Evaluator<'_>,
    expr: &Expr,
    mut grid: Grid,
    histograms: Vec<HistogramRow>,
    b: &Binary,
    order: impl Fn(usize, f64) -> (f64, f64),
) -> Evaluated<Vector> {
    let comparison = b.op.is_comparison();
    let trims = is_trim(b.op);
    for row in grid.data.chunks_mut(grid.width) {
        for (k, v) in row.iter_mut().enumerate() {
            if is_absent(*v) {
                continue;
            }
            let (l, r) = order(k, *v);
            let (value, holds) = apply(b.op, l, r);
            if trims {
                ev.notes.about("", expr).incompatible_types("float", b.op.symbol(), "float");
            }
            *v = if !comparison && !trims {
                value
            } else if b.bool {
                truth(holds)
            } else if holds {
                *v
            } else {
                ABSENT
            };
        }
    }
    histograms.into_iter().enumerate().for_each(|(i, row)| grid.set_histograms(i, row));
    if trims || (comparison && !b.bool) {
        grid.prune();
        return Ok(Vector::dense(grid));
    }
    ev.unnamed(grid)
}

/// Whether the operator leaves out a part of histograms.
fn is_trim(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower)
}

/// At which steps a group of the right side has a value.
struct Presence<'a> {
    groups: Groups<'a>,
    present: Vec<bool>,
    width: usize,
}

impl<'a> Presence<'a> {
    fn new(grid: &'a Grid, pick: &Pick<'_>) -> Self {
        let mut out = Self { groups: Groups::default(), present: Vec::new(), width: grid.width };
        for (i, key) in grid.keys.iter().enumerate() {
            let code = out.groups.code(key, pick) as usize;
            out.present.resize(out.groups.len() * grid.width, false);
            let cells = &mut out.present[code * grid.width..(code + 1) * grid.width];
            for (p, v) in cells.iter_mut().zip(grid.row(i)) {
                *p |= !is_absent(*v);
            }
            grid.histograms(i).iter().for_each(|(k, _)| cells[*k as usize] = true);
        }
        out
    }

    fn of(&self, key: &Key, pick: &Pick<'_>) -> Option<&[bool]> {
        let code = self.groups.find(key, pick)? as usize;
        Some(&self.present[code * self.width..(code + 1) * self.width])
    }
}

/// `and`, or `unless`.
fn intersect(mut left: Grid, right: &Grid, pick: &Pick<'_>, and: bool) -> Grid {
    let presence = Presence::new(right, pick);
    for i in 0..left.keys.len() {
        let there = presence.of(&left.keys[i], pick);
        let row = left.row_mut(i);
        for (k, v) in row.iter_mut().enumerate() {
            if there.is_some_and(|p| p[k]) != and {
                *v = ABSENT;
            }
        }
    }
    if left.has_histograms() {
        let there: Vec<_> = left.keys.iter().map(|key| presence.of(key, pick)).collect();
        let keep: Vec<Vec<bool>> = there.iter().map(|p| (0..left.width).map(|k| p.is_some_and(|p| p[k]) == and).collect()).collect();
        left.retain_histograms(|i, k| keep[i][k]);
    }
    left.prune();
    left
}

fn union(mut left: Grid, mut right: Grid, pick: &Pick<'_>) -> Evaluated<Grid> {
    let presence = Presence::new(&left, pick);
    for i in 0..right.keys.len() {
        if let Some(p) = presence.of(&right.keys[i], pick) {
            let row = &mut right.data[i * right.width..(i + 1) * right.width];
            for (v, there) in row.iter_mut().zip(p) {
                if *there {
                    *v = ABSENT;
                }
            }
        }
    }
    if right.has_histograms() {
        let there: Vec<Option<Vec<bool>>> = right.keys.iter().map(|key| presence.of(key, pick).map(<[bool]>::to_vec)).collect();
        right.retain_histograms(|i, k| !there[i].as_ref().is_some_and(|p| p[k]));
    }
    drop(presence);
    right.prune();
    left.append(right);
    left.merge_same()
}

/// The value of a series at a step.
fn operand(grid: &Grid, i: usize, k: usize) -> Operand<'_> {
    let v = grid.row(i)[k];
    match if is_absent(v) { grid.histogram(i, k) } else { None } {
        Some(h) => Operand::Histogram(h),
        None => Operand::Float(v),
    }
}

/// Sets a value; steps ascend.
fn set(grid: &mut Grid, row: usize, k: usize, value: Outcome) {
    match value {
        Outcome::Float(v) => grid.row_mut(row)[k] = v,
        Outcome::Histogram(h) => grid.push_histogram(row, step_index(k), h),
    }
}

fn not_unique() -> QueryError {
    QueryError::Execution("multiple matches for labels: grouping labels must ensure unique matches".to_owned())
}

/// Results that a comparison left out: their labels are taken nevertheless, so that whether a query is valid does not
/// depend on values.
#[derive(Default)]
struct Claims(Vec<(Key, Vec<usize>)>);

impl Claims {
    /// Results with these labels.
    fn add(&mut self, key: Key, mut steps: Vec<usize>) {
        match self.0.iter_mut().find(|(other, _)| other.same(&key)) {
            Some((_, taken)) => taken.append(&mut steps),
            None => self.0.push((key, steps)),
        }
    }

    /// Whether two results of a group, the rows of `out` from `first` on among them, have the same labels at a step.
    fn are_taken(&mut self, out: &Grid, first: usize) -> bool {
        self.0.iter_mut().any(|(key, steps)| {
            steps.sort_unstable();
            let mut rows = (first..out.keys.len()).filter(|i| out.keys[*i].same(key));
            steps.windows(2).any(|pair| pair[0] == pair[1]) || rows.any(|i| steps.iter().any(|k| out.is_present(i, *k)))
        })
    }
}

/// Arithmetic and comparison between two vectors.
struct Pairing<'a, 'e> {
    ev: &'a Evaluator<'e>,
    expr: &'a Expr,
    b: &'a Binary,
    pick: &'a Pick<'a>,
    labels: &'a [&'a str],
}

impl Pairing<'_, '_> {
    fn matching(&self) -> &Matching {
        &self.b.matching
    }

    fn eval(&self, left: &Grid, right: &Grid) -> Evaluated<Grid> {
        let swapped = self.matching().grouping == Grouping::Right;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let m = self.matching();
        // With group_right Prometheus exchanges the sides but not their fill values: `fill_left` is then for the
        // "many" side on the right. Rules written for it rely on that.
        let (fill_many, fill_one) = (m.fill_left, m.fill_right);
        if (fill_many.is_some() || fill_one.is_some()) && !self.ev.options.fill_modifiers {
            let message = "the fill modifiers are experimental: the feature promql-binop-fill-modifiers is not switched on".to_owned();
            return Err(QueryError::Parse { message, at: self.expr.span });
        }
        let width = many.width;
        let mut groups = Groups::default();
        let one_codes: Vec<u32> = one.keys.iter().map(|k| groups.code(k, self.pick)).collect();
        let many_codes: Vec<u32> = many.keys.iter().map(|k| groups.code(k, self.pick)).collect();
        let mut ones = vec![Vec::new(); groups.len()];
        let mut manys = vec![Vec::new(); groups.len()];
        one_codes.iter().enumerate().for_each(|(i, c)| ones[*c as usize].push(i));
        many_codes.iter().enumerate().for_each(|(i, c)| manys[*c as usize].push(i));
        // A duplicate on the "one" side only matters at steps where the other side has anything at all.
        let mut any_many = vec![fill_many.is_some(); width];
        for row in many.data.chunks(width) {
            any_many.iter_mut().zip(row).for_each(|(a, v)| *a |= !is_absent(*v));
        }
        for i in 0..many.keys.len() {
            many.histograms(i).iter().for_each(|(k, _)| any_many[*k as usize] = true);
        }
        let mut out = Grid::empty(width);
        let mut one_at = vec![usize::MAX; width];
        let mut taken = vec![false; width];
        for (ones, manys) in ones.iter().zip(&manys) {
            self.ctx_check()?;
            one_at.fill(usize::MAX);
            taken.fill(false);
            for i in ones {
                for k in (0..width).filter(|k| one.is_present(*i, *k)) {
                    if one_at[k] != usize::MAX && any_many[k] {
                        return Err(self.duplicate(&one.keys[one_at[k]], &one.keys[*i], swapped));
                    }
                    one_at[k] = *i;
                }
            }
            let mut matched = vec![false; width];
            let first_of_group = out.keys.len();
            let mut claims = Claims::default();
            for i in manys {
                let row = many.row(*i);
                let mut rows: Vec<(usize, usize)> = Vec::new();
                let mut left_out: Vec<(usize, Vec<usize>)> = Vec::new();
                for k in 0..width {
                    let v = row[k];
                    if is_absent(v) && !many.is_present(*i, k) {
                        continue;
                    }
                    matched[k] = true;
                    let other = one_at[k];
                    let w = match (other, fill_one) {
                        (usize::MAX, Some(n)) => Operand::Float(n.value),
                        (usize::MAX, None) => continue,
                        (i, _) => operand(one, i, k),
                    };
                    let value = match w {
                        Operand::Float(w) if !is_absent(v) => self.value(v, w, swapped).map(Outcome::Float),
                        w => match self.mixed(operand(many, *i, k), w, swapped) {
                            // What is not defined for two samples is no match.
                            Err(_) => continue,
                            Ok(value) => value,
                        },
                    };
                    // Also where the comparison does not hold: whether a query is valid must not depend on values.
                    if self.matching().grouping == Grouping::OneToOne && std::mem::replace(&mut taken[k], true) {
                        return Err(QueryError::Execution(
                            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)".to_owned(),
                        ));
                    }
                    let Some(value) = value else {
                        if !self.matching().include.is_empty() {
                            match left_out.iter_mut().find(|(o, _)| *o == other) {
                                Some((_, steps)) => steps.push(k),
                                None => left_out.push((other, vec![k])),
                            }
                        }
                        continue;
                    };
                    let found = rows.iter().find(|(o, _)| *o == other).map(|(_, r)| *r);
                    let target = found.unwrap_or_else(|| {
                        let one_key = (other != usize::MAX).then(|| &one.keys[other]);
                        out.push_absent(self.key(&many.keys[*i], one_key));
                        rows.push((other, out.keys.len() - 1));
                        out.keys.len() - 1
                    });
                    set(&mut out, target, k, value);
                }
                for (other, steps) in left_out {
                    claims.add(self.key(&many.keys[*i], one.keys.get(other)), steps);
                }
            }
            if claims.are_taken(&out, first_of_group) {
                return Err(not_unique());
            }
            if let Some(fill) = fill_many {
                let mut rows: Vec<(usize, usize)> = Vec::new();
                for k in (0..width).filter(|k| !matched[*k] && one_at[*k] != usize::MAX) {
                    let other = one_at[k];
                    let value = match operand(one, other, k) {
                        Operand::Float(w) => self.value(fill.value, w, swapped).map(Outcome::Float),
                        w => self.mixed(Operand::Float(fill.value), w, swapped).unwrap_or(None),
                    };
                    let Some(value) = value else { continue };
                    let found = rows.iter().find(|(o, _)| *o == other).map(|(_, r)| *r);
                    let target = found.unwrap_or_else(|| {
                        // Only the labels both sides agree on are known of a series that is not there.
                        let stand_in = Key::new(self.pick.labels(&one.keys[other]));
                        out.push_absent(self.key(&stand_in, Some(&one.keys[other])));
                        rows.push((other, out.keys.len() - 1));
                        out.keys.len() - 1
                    });
                    set(&mut out, target, k, value);
                }
            }
        }
        out.merge_same().map_err(|e| match (e, self.matching().grouping) {
            (QueryError::Execution(_), Grouping::Left | Grouping::Right) => not_unique(),
            (e, _) => e,
        })
    }

    fn ctx_check(&self) -> Evaluated<()> {
        self.ev.ctx.check()
    }

    /// The result for a sample of the "many" and one of the "one" side.
    fn value(&self, many: f64, one: f64, swapped: bool) -> Option<f64> {
        let (l, r) = if swapped { (one, many) } else { (many, one) };
        let (value, holds) = apply(self.b.op, l, r);
        if is_trim(self.b.op) {
            self.ev.notes.about("", self.expr).incompatible_types("float", self.b.op.symbol(), "float");
        }
        if self.b.bool {
            return Some(truth(holds));
        }
        holds.then_some(value)
    }

    /// The same where at least one of them is a histogram.
    fn mixed(&self, many: Operand<'_>, one: Operand<'_>, swapped: bool) -> Result<Option<Outcome>, Undefined> {
        let (l, r) = if swapped { (one, many) } else { (many, one) };
        combine(self.b.op, self.b.bool, l, r, self.ev.notes.about("", self.expr))
    }

    /// Labels of a result.
    fn key(&self, many: &Key, one: Option<&Key>) -> Key {
        let m = self.matching();
        let unnamed = self.b.bool || !(self.b.op.is_comparison() || is_trim(self.b.op));
        let mut name = if unnamed { self.ev.dropped() } else { many.name };
        if many.name == Name::Dropped {
            name = Name::Dropped;
        } else if many.name == Name::ToDrop && name == Name::Kept {
            name = Name::ToDrop;
        }
        let one_to_one = m.grouping == Grouping::OneToOne;
        if !(one_to_one && (m.on || !self.labels.is_empty())) && m.include.is_empty() {
            return Key { labels: Arc::clone(&many.labels), name };
        }
        let shown = Key { labels: Arc::clone(&many.labels), name };
        let keep = |label: &str| !one_to_one || self.labels.binary_search(&label).is_ok() == m.on;
        let mut pairs: Vec<(&str, &str)> = shown.pairs().filter(|(n, _)| keep(n)).collect();
        for label in &m.include {
            pairs.retain(|(n, _)| n != label);
            let value = one.map_or("", |o| o.get(label));
            pairs.push((label, value));
        }
        let labels = Labels::new(pairs);
        let named = labels.get(METRIC_NAME).is_some();
        let copied = m.include.iter().any(|l| l == METRIC_NAME);
        let name = if !named || copied || name == Name::Dropped { Name::Kept } else { name };
        Key { labels: Arc::new(labels), name }
    }

    fn duplicate(&self, a: &Key, b: &Key, swapped: bool) -> QueryError {
        let side = if swapped { "left" } else { "right" };
        QueryError::Execution(format!(
            "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
            self.pick.labels(a),
            b.visible(),
            a.visible(),
        ))
    }
}
