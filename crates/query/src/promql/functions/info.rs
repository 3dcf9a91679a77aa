//! `info`: labels of info metrics, such as `target_info`, added to other series of the same target.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::METRIC_NAME;

use super::super::ast::{Call, Expr, Kind, Sampling, Selector, Shift};
use super::super::eval::{Evaluator, Val};
use super::super::latest::Wanted;
use super::super::vector::{Grid, HistogramRow, Key, Steps, Vector, is_absent};
use crate::error::QueryError;
use crate::metrics::{MatchOp, Matcher};

/// The info metric unless the selector names others.
const TARGET_INFO: &str = "target_info";

/// Names of info metrics, where the selector only says which it does not want.
const ANY_INFO: &str = ".+_info";

/// Labels that say which target a series is of.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// The moments that the first selector below `expr` looks at, by step: those at which info series are looked up.
fn reference(ev: &Evaluator<'_>, expr: &Expr, moments: &[i64]) -> Result<Option<Vec<i64>>, QueryError> {
    let shifted = |shift: &Shift| -> Result<Vec<i64>, QueryError> { moments.iter().map(|t| Ok(ev.moments(shift, Steps::one(*t))?[0])).collect() };
    Ok(match &expr.kind {
        Kind::Selector(s) => Some(shifted(&s.shift)?),
        Kind::Range(r) => Some(shifted(&r.selector.shift)?),
        Kind::Subquery(s) => reference(ev, &s.expr, &shifted(&s.shift)?)?,
        Kind::Number(_) | Kind::Text(_) => None,
        Kind::Unary(_, e) | Kind::Paren(e) => reference(ev, e, moments)?,
        Kind::Binary(b) => match reference(ev, &b.left, moments)? {
            None => reference(ev, &b.right, moments)?,
            found => found,
        },
        Kind::Aggregate(a) => reference(ev, &a.expr, moments)?,
        Kind::Call(c) => {
            for arg in &c.args {
                if let Some(found) = reference(ev, arg, moments)? {
                    return Ok(Some(found));
                }
            }
            None
        }
    })
}

/// Info series found, and which of them holds at each step.
struct Infos {
    /// Times of their samples.
    grid: Grid,
    /// By target and name: rows.
    rows: HashMap<[String; 2], BTreeMap<String, Vec<usize>>>,
}

fn target(key: &Key) -> [String; 2] {
    IDENTIFYING.map(|l| key.get(l).to_owned())
}

impl Infos {
    fn new(grid: Grid) -> Self {
        let mut rows: HashMap<_, BTreeMap<String, Vec<usize>>> = HashMap::new();
        for (i, key) in grid.keys.iter().enumerate() {
            rows.entry(target(key)).or_default().entry(key.get(METRIC_NAME).to_owned()).or_default().push(i);
        }
        Self { grid, rows }
    }

    /// The most recent series of each info metric of a target at a step.
    fn current(&self, target: &[String; 2], k: usize) -> Result<Vec<usize>, QueryError> {
        let mut out = Vec::new();
        for rows in self.rows.get(target).into_iter().flat_map(BTreeMap::values) {
            let time = |i: usize| self.grid.row(i)[k];
            let mut found: Option<usize> = None;
            for i in rows.iter().copied().filter(|i| !is_absent(time(*i))) {
                match found {
                    Some(other) if time(other) > time(i) => {}
                    Some(other) if time(other) == time(i) => {
                        let (a, b) = (self.grid.keys[other].visible(), self.grid.keys[i].visible());
                        let at = time(i);
                        return Err(QueryError::Execution(format!("found duplicate series for info metric: existing {a} @ {at}, new {b} @ {at}")));
                    }
                    _ => found = Some(i),
                }
            }
            out.extend(found);
        }
        Ok(out)
    }
}

/// `key` with the labels of these info series: all of them, or those the selector speaks of.
fn enriched(key: &Key, infos: &Infos, rows: &[usize], data: &[&Matcher]) -> Result<Key, QueryError> {
    let mut added: BTreeMap<&str, &str> = BTreeMap::new();
    for i in rows {
        for (name, value) in infos.grid.keys[*i].pairs() {
            if name == METRIC_NAME || !(data.is_empty() || data.iter().any(|m| m.name == name)) {
                continue;
            }
            if added.get(name).is_some_and(|other| *other != value) {
                return Err(QueryError::Execution(format!("conflicting label: {name}")));
            }
            if key.labels.get(name).is_none() {
                added.insert(name, value);
            }
        }
    }
    if added.is_empty() {
        return Ok(key.clone());
    }
    let labels = key.labels.iter().chain(added).collect();
    Ok(Key { labels: Arc::new(labels), name: key.name })
}

/// Info series of the targets in `grid`.
fn fetch(ev: &mut Evaluator<'_>, c: &Call, steps: Steps, matchers: &[Matcher], grid: &Grid, ignored: &[bool]) -> Result<Infos, QueryError> {
    let mut wanted = matchers.to_vec();
    let mut any = false;
    for label in IDENTIFYING {
        let keys = grid.keys.iter().zip(ignored).filter(|(_, ignored)| !**ignored);
        let mut values: Vec<&str> = keys.map(|(key, _)| key.get(label)).filter(|v| !v.is_empty()).collect();
        values.sort_unstable();
        values.dedup();
        if values.is_empty() {
            continue;
        }
        any = true;
        let pattern = values.iter().map(|v| regex::escape(v)).collect::<Vec<_>>().join("|");
        wanted.push(Matcher::new(label, MatchOp::Regex, pattern).map_err(QueryError::Execution)?);
    }
    if !any {
        return Ok(Infos::new(Grid::empty(steps.count)));
    }
    if !matchers.iter().any(|m| m.name == METRIC_NAME) {
        wanted.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
    }
    let times: Vec<i64> = steps.times().collect();
    let moments = reference(ev, &c.args[0], &times)?.unwrap_or(times);
    let selector = Selector { name: None, matchers: wanted, shift: Shift::default(), sampling: Sampling::Plain };
    let found = ev.latest_at(&c.args[0], &selector, steps, moments, Wanted::Time)?.into_grid(ev)?;
    Ok(Infos::new(found))
}

pub(super) fn info(ev: &mut Evaluator<'_>, _: &Expr, c: &Call, steps: Steps) -> Result<Val, QueryError> {
    let grid = ev.grid(&c.args[0], steps)?;
    let mut matchers: Vec<Matcher> = match c.args.get(1).map(|a| &a.kind) {
        Some(Kind::Selector(s)) => s.matchers.clone(),
        _ => Vec::new(),
    };
    let mut ops = matchers.iter().filter(|m| m.name == METRIC_NAME).map(|m| m.op).peekable();
    if ops.peek().is_some() && ops.all(|op| matches!(op, MatchOp::NotEqual | MatchOp::NotRegex)) {
        matchers.push(Matcher::new(METRIC_NAME, MatchOp::Regex, ANY_INFO).map_err(QueryError::Execution)?);
    }
    let names: Vec<&Matcher> = matchers.iter().filter(|m| m.name == METRIC_NAME).collect();
    let data: Vec<&Matcher> = matchers.iter().filter(|m| m.name != METRIC_NAME).collect();
    // Info series themselves stay as they are.
    let is_info = |key: &Key| {
        let name = key.get(METRIC_NAME);
        if c.args.len() == 1 { name == TARGET_INFO } else { !names.is_empty() && names.iter().all(|m| m.matches(name)) }
    };
    let ignored: Vec<bool> = grid.keys.iter().map(is_info).collect();
    let infos = fetch(ev, c, steps, &matchers, &grid, &ignored)?;
    let needs_info = data.iter().any(|m| !m.matches(""));
    let mut out = Grid::empty(steps.count);
    for (i, key) in grid.keys.iter().enumerate() {
        ev.ctx.check()?;
        if ignored[i] {
            out.push_row(key.clone(), grid.row(i), grid.histograms(i).to_vec());
            continue;
        }
        let target = target(key);
        // Which info series hold may change from step to step, and with them the labels.
        let mut rows: Vec<(Vec<usize>, usize, HistogramRow)> = Vec::new();
        for k in (0..steps.count).filter(|k| grid.is_present(i, *k)) {
            let current = infos.current(&target, k)?;
            if current.is_empty() && needs_info {
                continue;
            }
            let at = match rows.iter().position(|(infos, ..)| *infos == current) {
                Some(at) => at,
                None => {
                    out.push_absent(enriched(key, &infos, &current, &data)?);
                    rows.push((current, out.keys.len() - 1, Vec::new()));
                    rows.len() - 1
                }
            };
            let (_, row, histograms) = &mut rows[at];
            out.row_mut(*row)[k] = grid.row(i)[k];
            histograms.extend(grid.histogram(i, k).map(|h| (super::super::vector::step_index(k), Arc::clone(h))));
        }
        rows.into_iter().for_each(|(_, row, histograms)| out.set_histograms(row, histograms));
    }
    Ok(Val::Vector(Vector::dense(out.merge_same()?)))
}
