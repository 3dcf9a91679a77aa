//! Runs a query: options, limits, and the result's final form.

use std::sync::Arc;
use std::time::Duration;

use super::ast::{Expr, Type};
use super::cost::Stage;
use super::eval::{Evaluator, Val};
use super::output::{Points, QueryOutput, Sample, Value};
use super::vector::{Grid, Matrix, Steps, is_absent, same_labelset};
use super::window::Plan;
use crate::context::QueryContext;
use crate::error::QueryError;
use crate::metrics::Queryable;

/// How queries are evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// How old a sample may be to count as the present value (Prometheus: 5 minutes).
    pub lookback: Duration,
    /// Resolution of subqueries that state none (Prometheus: the global evaluation interval, 1 minute).
    pub subquery_step: Duration,
    /// Whether experimental functions and aggregations may be used.
    pub experimental: bool,
    /// Whether `fill`, `fill_left` and `fill_right` may be used.
    pub fill_modifiers: bool,
    /// Whether rates take into account when a counter was started, where its samples say so.
    pub start_timestamps: bool,
    /// Whether names are taken off at the end of a query instead of at each function.
    pub delayed_name_removal: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback: Duration::from_secs(300),
            subquery_step: Duration::from_secs(60),
            experimental: false,
            fill_modifiers: false,
            start_timestamps: false,
            delayed_name_removal: false,
        }
    }
}

fn ms(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX).max(1)
}

impl EngineOptions {
    pub(crate) fn lookback_ms(&self) -> i64 {
        ms(self.lookback)
    }

    pub(crate) fn subquery_step_ms(&self) -> i64 {
        ms(self.subquery_step)
    }
}

/// Evaluates queries.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    options: EngineOptions,
}

impl Engine {
    /// An engine with these options.
    pub fn new(options: EngineOptions) -> Self {
        Self { options }
    }

    /// The options in force.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// The value at one moment, Unix milliseconds.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn instant(&self, source: &dyn Queryable, expr: &Expr, time_ms: i64, ctx: &QueryContext) -> Result<QueryOutput, QueryError> {
        let steps = Steps::one(time_ms);
        let mut ev = Evaluator::new(source, expr, ctx, &self.options, steps, false);
        let value = match ev.eval(expr, steps)? {
            Val::Scalar(v) => Value::Scalar { time: time_ms, value: v[0] },
            Val::Text(text) => Value::Text { time: time_ms, text },
            Val::Vector(v) => {
                let grid = finish(v.into_grid(&ev)?)?;
                let samples = grid.keys.iter().zip(&grid.data).enumerate().map(|(i, (key, v))| {
                    let histogram = grid.histogram(i, 0).map(Arc::clone);
                    Sample { labels: key.finished(), time: time_ms, value: if histogram.is_some() { 0.0 } else { *v }, histogram }
                });
                Value::Vector(samples.collect())
            }
            Val::Matrix(m) => Value::Matrix(raw_samples(&m)),
        };
        Ok(output(&ev, value))
    }

    /// The values from `start_ms` to `end_ms` (inclusive) every `step_ms`.
    ///
    /// # Errors
    /// When the range is upside down, has too many points or the query is not of scalar or vector type; else see
    /// [`QueryError`].
    pub fn range(
        &self,
        source: &dyn Queryable,
        expr: &Expr,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        ctx: &QueryContext,
    ) -> Result<QueryOutput, QueryError> {
        let steps = range_steps(expr, start_ms, end_ms, step_ms, ctx)?;
        let mut ev = Evaluator::new(source, expr, ctx, &self.options, steps, true);
        run(&mut ev, expr, steps)
    }

    /// The values as [`Self::range`] gives them, and what each expression took and gave. Intermediate results are
    /// computed as a whole for it, so the whole takes longer.
    ///
    /// # Errors
    /// See [`Self::range`].
    pub fn explain(
        &self,
        source: &dyn Queryable,
        expr: &Expr,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        ctx: &QueryContext,
    ) -> Result<(QueryOutput, Vec<Stage>), QueryError> {
        let steps = range_steps(expr, start_ms, end_ms, step_ms, ctx)?;
        let mut ev = Evaluator::new(source, expr, ctx, &self.options, steps, true);
        ev.trace = Some(Vec::new());
        let output = run(&mut ev, expr, steps)?;
        Ok((output, ev.trace.unwrap_or_default()))
    }
}

/// The steps of a range query.
fn range_steps(expr: &Expr, start_ms: i64, end_ms: i64, step_ms: i64, ctx: &QueryContext) -> Result<Steps, QueryError> {
    let parse = |message: String| QueryError::Parse { message, at: expr.span };
    let returned = expr.value_type();
    if !matches!(returned, Type::Scalar | Type::Vector) {
        return Err(parse(format!("invalid expression type {:?} for range query, must be Scalar or instant Vector", returned.name())));
    }
    if step_ms <= 0 {
        return Err(parse("zero or negative query resolution step widths are not accepted; try a positive number".to_owned()));
    }
    if end_ms < start_ms {
        return Err(parse("end timestamp must not be before start time".to_owned()));
    }
    let points = (end_ms.saturating_sub(start_ms) / step_ms).saturating_add(1);
    let count = usize::try_from(points).unwrap_or(usize::MAX);
    if count as u64 > ctx.limits.points_max {
        return Err(QueryError::Limit {
            limit: "points_max",
            message: format!(
                "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
                ctx.limits.points_max
            ),
        });
    }
    Ok(Steps { start: start_ms, step: step_ms, count })
}

/// Evaluates a range query.
fn run(ev: &mut Evaluator<'_>, expr: &Expr, steps: Steps) -> Result<QueryOutput, QueryError> {
    let mut out = match ev.eval(expr, steps)? {
        Val::Scalar(values) => {
            vec![Points { labels: Arc::default(), times: steps.times().collect(), values, histograms: Vec::new() }]
        }
        Val::Vector(v) => points_of(&finish(v.into_grid(ev)?)?, steps),
        Val::Text(_) | Val::Matrix(_) => Vec::new(),
    };
    out.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(output(ev, Value::Matrix(out)))
}

/// A result with what is to be said about it.
fn output(ev: &Evaluator<'_>, value: Value) -> QueryOutput {
    let (warnings, infos) = ev.notes.finish();
    QueryOutput { value, warnings, infos, cost: ev.tally.finish(ev.ctx.elapsed()) }
}

/// Takes off the names that were to be dropped at the end.
fn finish(mut grid: Grid) -> Result<Grid, QueryError> {
    use super::vector::Name;
    if grid.keys.iter().any(|k| k.name == Name::ToDrop) {
        grid.keys.iter_mut().filter(|k| k.name == Name::ToDrop).for_each(|k| k.name = Name::Dropped);
        grid = grid.merge_same().map_err(|_| same_labelset())?;
    }
    Ok(grid)
}

fn points_of(grid: &Grid, steps: Steps) -> Vec<Points> {
    let all: Vec<i64> = steps.times().collect();
    let series = grid.keys.iter().enumerate().map(|(i, key)| {
        let row = grid.row(i);
        let (times, values) = if row.iter().any(|v| is_absent(*v)) {
            all.iter().zip(row).filter(|(_, v)| !is_absent(**v)).unzip()
        } else {
            (all.clone(), row.to_vec())
        };
        let histograms = grid.histograms(i).iter().map(|(k, h)| (all[*k as usize], Arc::clone(h))).collect();
        Points { labels: key.finished(), times, values, histograms }
    });
    series.collect()
}

/// The samples of a range vector at the only step.
fn raw_samples(m: &Matrix) -> Vec<Points> {
    let keys = m.keys();
    let mut out = Vec::new();
    for (series, key) in m.series.iter().zip(keys) {
        let (times, values) = super::window::without_stale(series);
        let (lo, hi) = Plan::new(&times, &m.ends, m.range).spans[0];
        let window = lo as usize..hi as usize;
        let (start, end) = (m.ends[0].saturating_sub(m.range), m.ends[0]);
        let histograms: Vec<_> = series.histograms.iter().filter(|(t, h)| *t > start && *t <= end && !h.is_stale()).cloned().collect();
        if !window.is_empty() || !histograms.is_empty() {
            let (times, values) = (times[window.clone()].to_vec(), values[window].to_vec());
            out.push(Points { labels: key.finished(), times, values, histograms });
        }
    }
    out.sort_by(|a, b| a.labels.cmp(&b.labels));
    out
}
