//! Evaluation: every node over all steps at once.

use std::rc::Rc;
use std::sync::Arc;

use skopos_model::{CounterReset, NativeHistogram};

use super::ast::{At, Call, Expr, Kind, RangeSelector, Sampling, Selector, Shift, Subquery};
use super::cost::{Stage, Tally};
use super::duration::{Duration, QueryTimes};
use super::engine::EngineOptions;
use super::functions::Body;
use super::histogram::multiplied;
use super::latest::{Latest, LatestRows, SmoothedRows, Wanted};
use super::notes::Notes;
use super::vector::{Grid, HistogramRow, Key, Matrix, Name, Rows, Steps, Vector, is_absent, step_index};
use super::window::{Plan, Plans, WindowFn, WindowRows};
use crate::context::QueryContext;
use crate::error::QueryError;
use crate::metrics::{Matcher, Queryable, Select, Series};
use crate::windows::{Need, WindowHint};

/// Result of a node.
pub(crate) enum Val {
    /// One number a step.
    Scalar(Vec<f64>),
    /// Text.
    Text(String),
    /// Series with one cell a step.
    Vector(Vector),
    /// Series with a window of samples a step.
    Matrix(Matrix),
}

struct Fetched {
    matchers: Vec<Matcher>,
    start: i64,
    end: i64,
    /// The windows it is for, when samples were left out: what is needed, length, ends.
    windows: Option<(Need, i64, Vec<i64>)>,
    series: Rc<Vec<Series>>,
}

impl Fetched {
    fn serves(&self, need: Option<Need>, range: i64, ends: &[i64]) -> bool {
        self.windows.as_ref().is_none_or(|(n, r, e)| need == Some(*n) && range == *r && ends == *e)
    }
}

/// State of one query's evaluation.
pub(crate) struct Evaluator<'a> {
    pub(crate) source: &'a dyn Queryable,
    pub(crate) ctx: &'a QueryContext,
    pub(crate) options: &'a EngineOptions,
    /// The query's own first and last time, for `@ start()` and `@ end()`.
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) range_query: bool,
    pub(crate) times: QueryTimes,
    pub(crate) notes: Notes,
    pub(crate) tally: Tally,
    /// What was evaluated so far on this level, when that is to be explained.
    pub(crate) trace: Option<Vec<Stage>>,
    fetched: Vec<Fetched>,
    /// Matchers that stand in the query more than once: their series are read once and kept.
    repeated: Vec<Vec<Matcher>>,
    /// Some of the series of a selector, in place of all: see [`super::aggregate`].
    batch: Option<Batch>,
    /// What the call being evaluated needs of the range vector that is its argument.
    need: Option<Need>,
}

/// Some of the series of a selector, and the plans that hold for all batches of them.
struct Batch {
    series: Rc<Vec<Series>>,
    windows: Plans<Plan>,
    latest: Plans<Latest>,
}

type Evaluated<T> = Result<T, QueryError>;

impl<'a> Evaluator<'a> {
    pub(crate) fn new(
        source: &'a dyn Queryable,
        expr: &Expr,
        ctx: &'a QueryContext,
        options: &'a EngineOptions,
        steps: Steps,
        range_query: bool,
    ) -> Self {
        let selectors = expr.selectors();
        let again = |(i, s): &(usize, &&Selector)| selectors[..*i].iter().any(|before| before.matchers == s.matchers);
        let repeated = selectors.iter().enumerate().filter(again).map(|(_, s)| s.matchers.clone()).collect();
        let (start, end) = (steps.start, steps.end());
        let times =
            QueryTimes { step: if range_query { super::window::seconds(steps.step) } else { 0.0 }, range: super::window::seconds(end - start) };
        Self {
            source,
            ctx,
            options,
            start,
            end,
            range_query,
            times,
            notes: Notes::default(),
            tally: Tally::new(steps, ctx.detailed),
            trace: None,
            fetched: Vec::new(),
            repeated,
            batch: None,
            need: None,
        }
    }

    /// What becomes of the name of a series that no longer is what its name says.
    pub(crate) fn dropped(&self) -> Name {
        if self.options.delayed_name_removal { Name::ToDrop } else { Name::Dropped }
    }

    /// Stops results that would not fit in memory.
    pub(crate) fn check_cells(&self, series: usize, steps: usize) -> Evaluated<()> {
        let cells = (series as u64).saturating_mul(steps as u64);
        self.tally.hold(cells);
        if cells > self.ctx.limits.samples_max {
            return Err(QueryError::Limit {
                limit: "samples_max",
                message: format!(
                    "an intermediate result of {series} series at {steps} steps is more than {} samples; aggregate earlier, or ask for fewer series or a larger step",
                    self.ctx.limits.samples_max
                ),
            });
        }
        Ok(())
    }

    pub(crate) fn eval(&mut self, expr: &Expr, steps: Steps) -> Evaluated<Val> {
        if self.trace.is_none() || matches!(expr.kind, Kind::Paren(_)) {
            return self.eval_any(expr, steps);
        }
        let (begun, samples) = (self.ctx.elapsed(), self.tally.samples());
        let above = self.trace.replace(Vec::new());
        // Rows are computed at once, so that each stage has its own time.
        let val = self.eval_any(expr, steps).and_then(|val| match val {
            Val::Vector(v) => Ok(Val::Vector(v.computed(self)?)),
            other => Ok(other),
        });
        let children = std::mem::replace(&mut self.trace, above).unwrap_or_default();
        let val = val?;
        let series = match &val {
            Val::Scalar(_) | Val::Text(_) => 1,
            Val::Vector(v) => v.keys.len(),
            Val::Matrix(m) => m.series.len(),
        };
        let stage = Stage {
            expression: expr.to_string(),
            span: expr.span,
            series: series as u64,
            samples: self.tally.samples() - samples,
            time: self.ctx.elapsed().saturating_sub(begun),
            children,
        };
        self.trace.get_or_insert_default().push(stage);
        Ok(val)
    }

    fn eval_any(&mut self, expr: &Expr, steps: Steps) -> Evaluated<Val> {
        match &expr.kind {
            Kind::Number(n) => return Ok(Val::Scalar(vec![n.value; steps.count])),
            Kind::Text(t) => return Ok(Val::Text(t.clone())),
            Kind::Paren(e) => return self.eval(e, steps),
            Kind::Range(r) => return self.range(r, steps),
            Kind::Subquery(s) => return self.subquery(s, steps),
            _ => {}
        }
        self.ctx.check()?;
        if steps.count > 1 && is_invariant(expr) {
            let once = self.eval_node(expr, Steps::one(steps.start))?;
            return self.broadcast(once, steps.count);
        }
        self.eval_node(expr, steps)
    }

    fn eval_node(&mut self, expr: &Expr, steps: Steps) -> Evaluated<Val> {
        match &expr.kind {
            Kind::Selector(s) => Ok(Val::Vector(self.latest(expr, s, steps, Wanted::Value)?)),
            Kind::Unary(negative, e) => self.unary(*negative, e, steps),
            Kind::Binary(b) => super::binary::eval(self, expr, b, steps),
            Kind::Aggregate(a) => super::aggregate::eval(self, expr, a, steps).map(Val::Vector),
            Kind::Call(c) => self.call(expr, c, steps),
            Kind::Number(_) | Kind::Text(_) | Kind::Paren(_) | Kind::Range(_) | Kind::Subquery(_) => self.eval(expr, steps),
        }
    }

    /// One step's result, at every step.
    fn broadcast(&self, val: Val, count: usize) -> Evaluated<Val> {
        Ok(match val {
            Val::Scalar(v) => Val::Scalar(vec![v[0]; count]),
            Val::Vector(v) => {
                let mut grid = v.into_grid(self)?;
                self.check_cells(grid.keys.len(), count)?;
                let every = |row: HistogramRow| -> HistogramRow {
                    row.first().map_or_else(Vec::new, |(_, h)| (0..count).map(|k| (step_index(k), Arc::clone(h))).collect())
                };
                let histograms = grid.take_histograms().into_iter().map(every).collect();
                let data = grid.data.iter().flat_map(|v| std::iter::repeat_n(*v, count)).collect();
                Val::Vector(Vector { keys: grid.keys, rows: Rows::Dense(data, histograms), width: count, unique: true })
            }
            other => other,
        })
    }

    pub(crate) fn scalar(&mut self, expr: &Expr, steps: Steps) -> Evaluated<Vec<f64>> {
        match self.eval(expr, steps)? {
            Val::Scalar(v) => Ok(v),
            _ => Err(QueryError::Execution(format!("expected a scalar, got {}", expr.value_type().name()))),
        }
    }

    pub(crate) fn vector(&mut self, expr: &Expr, steps: Steps) -> Evaluated<Vector> {
        match self.eval(expr, steps)? {
            Val::Vector(v) => Ok(v),
            _ => Err(QueryError::Execution(format!("expected an instant vector, got {}", expr.value_type().name()))),
        }
    }

    pub(crate) fn grid(&mut self, expr: &Expr, steps: Steps) -> Evaluated<Grid> {
        self.vector(expr, steps)?.into_grid(self)
    }

    pub(crate) fn matrix(&mut self, expr: &Expr, steps: Steps) -> Evaluated<Matrix> {
        match self.eval(expr, steps)? {
            Val::Matrix(m) => Ok(m),
            _ => Err(QueryError::Execution(format!("expected a range vector, got {}", expr.value_type().name()))),
        }
    }

    /// The argument of a function over windows, and what was asked of it: a range selector is told what the function
    /// looks at.
    pub(crate) fn windows(&mut self, function: &str, expr: &Expr, steps: Steps) -> Evaluated<(Matrix, Option<Need>)> {
        let is_selector = matches!(expr.without_parens().kind, Kind::Range(_));
        let need = self.function_need(function).filter(|_| is_selector);
        self.need = need;
        Ok((self.matrix(expr, steps)?, need))
    }

    fn function_need(&self, function: &str) -> Option<Need> {
        // When a counter was started has to be looked up for each of its samples.
        let by_starts = self.options.start_timestamps && super::functions::started(function).is_some();
        super::digest::need(function).filter(|_| !by_starts)
    }

    /// What a selector or a function over a range selector needs.
    fn need_of(&self, expr: &Expr) -> Option<Need> {
        match &expr.without_parens().kind {
            Kind::Selector(_) => Some(Need::Last),
            Kind::Call(c) => self.function_need(c.function.name),
            _ => None,
        }
    }

    /// The text of a string argument.
    pub(crate) fn text<'e>(&self, expr: &'e Expr) -> Evaluated<&'e str> {
        match &expr.without_parens().kind {
            Kind::Text(t) => Ok(t),
            _ => Err(QueryError::Execution(format!("expected a string, got {}", expr.value_type().name()))),
        }
    }

    pub(crate) fn duration_ms(&self, duration: &Duration) -> Evaluated<i64> {
        duration.resolve_ms(self.times).map_err(|reason| QueryError::Execution(format!("{reason} in duration {duration}")))
    }

    /// The moments that a selector looks at, by step.
    pub(crate) fn moments(&self, shift: &Shift, steps: Steps) -> Evaluated<Vec<i64>> {
        let offset = shift.offset.as_ref().map_or(Ok(0), |d| self.duration_ms(d))?;
        let at = match shift.at {
            Some(At::Time(t)) => Some(t),
            Some(At::Start) => Some(self.start),
            Some(At::End) => Some(self.end),
            None => None,
        };
        Ok(steps.times().map(|t| at.unwrap_or(t).saturating_sub(offset)).collect())
    }

    fn positive_ms(&self, duration: &Duration) -> Evaluated<i64> {
        let ms = self.duration_ms(duration)?;
        if ms <= 0 {
            return Err(QueryError::Execution(format!("duration must be greater than 0: {duration}")));
        }
        Ok(ms)
    }

    /// First and last time of the samples that a selector needs at these moments, reaching `back` milliseconds.
    fn reach(&self, selector: &Selector, moments: &[i64], back: i64) -> (i64, i64) {
        // Beyond its window an extended selector looks as far as any other looks back.
        let lookback = self.options.lookback_ms();
        let (back, ahead) = match selector.sampling {
            Sampling::Plain => (back, 0),
            Sampling::Anchored => (back.saturating_add(lookback), 0),
            Sampling::Smoothed => (back.saturating_add(lookback), lookback),
        };
        let first = moments.iter().copied().min().unwrap_or(0);
        let last = moments.iter().copied().max().unwrap_or(0);
        (first.saturating_sub(back).saturating_add(1), last.saturating_add(ahead))
    }

    /// Samples of `(first - back, last]`, read once for each selector of the query.
    fn fetch(&mut self, selector: &Selector, moments: &[i64], back: i64, need: Option<Need>) -> Evaluated<Rc<Vec<Series>>> {
        let need = need.filter(|_| selector.sampling == Sampling::Plain);
        if let Some(batch) = &self.batch {
            return Ok(Rc::clone(&batch.series));
        }
        let (start, end) = self.reach(selector, moments, back);
        let covers = |f: &&Fetched| f.start <= start && f.end >= end && f.matchers == selector.matchers && f.serves(need, back, moments);
        if let Some(hit) = self.fetched.iter().find(covers) {
            return Ok(Rc::clone(&hit.series));
        }
        let select = Select { matchers: &selector.matchers, start, end, grouping: None };
        let begun = self.ctx.elapsed();
        let series = match need {
            Some(need) => self.source.select_windows(&select, &WindowHint { need, ends: moments, range: back }, self.ctx)?,
            None => self.source.select(&select, self.ctx)?,
        };
        let is_thinned = series.iter().any(|s| s.digest.is_some());
        let windows = need.filter(|_| is_thinned).map(|need| (need, back, moments.to_vec()));
        self.tally.read(samples_of(&series), self.ctx.elapsed().saturating_sub(begun));
        self.ctx.check()?;
        Ok(self.keep(&select, windows, series))
    }

    /// Keeps what was read for the query's other selectors of the same matchers.
    fn keep(&mut self, select: &Select<'_>, windows: Option<(Need, i64, Vec<i64>)>, series: Vec<Series>) -> Rc<Vec<Series>> {
        let series = Rc::new(series);
        let (matchers, start, end) = (select.matchers.to_vec(), select.start, select.end);
        self.fetched.push(Fetched { matchers, start, end, windows, series: Rc::clone(&series) });
        series
    }

    /// Evaluates `expr`, which looks at the series of `selector` one by one, batch by batch of them. `false`: it has
    /// to be evaluated as a whole, and nothing was lost by asking.
    pub(crate) fn batches(
        &mut self,
        (expr, selector, range): (&Expr, &Selector, Option<&Duration>),
        steps: Steps,
        each: &mut dyn FnMut(&mut Self, Vector) -> Evaluated<()>,
    ) -> Evaluated<bool> {
        // Stages are explained one after the other.
        if self.trace.is_some() || self.batch.is_some() || self.repeated.contains(&selector.matchers) {
            return Ok(false);
        }
        let moments = self.moments(&selector.shift, steps)?;
        let back = range.map_or(Ok(self.options.lookback_ms()), |r| self.positive_ms(r))?;
        let (start, end) = self.reach(selector, &moments, back);
        let select = Select { matchers: &selector.matchers, start, end, grouping: None };
        let (source, ctx) = (self.source, self.ctx);
        let hint = |need| WindowHint { need, ends: &moments, range: back };
        if self.need_of(expr).is_some_and(|need| selector.sampling == Sampling::Plain && source.has_rollups(&select, &hint(need))) {
            return Ok(false);
        }
        let begun = ctx.elapsed();
        let mut evaluating = std::time::Duration::ZERO;
        let (windows, latest) = (Plans::new(steps.count), Plans::new(steps.count));
        let mut most = 0;
        let whole = source.select_batches(&select, ctx, &mut |series| {
            let from = ctx.elapsed();
            most = most.max(samples_of(&series));
            self.batch = Some(Batch { series: Rc::new(series), windows: windows.clone(), latest: latest.clone() });
            let done = self.vector(expr, steps).and_then(|vector| each(self, vector));
            self.batch = None;
            evaluating += ctx.elapsed().saturating_sub(from);
            done
        })?;
        let samples = whole.as_deref().map_or(most, samples_of);
        self.tally.read(samples, ctx.elapsed().saturating_sub(begun).saturating_sub(evaluating));
        ctx.check()?;
        let is_done = whole.is_none();
        if let Some(series) = whole {
            self.keep(&select, None, series);
        }
        Ok(is_done)
    }

    /// An instant vector selector: what is wanted of its samples.
    pub(crate) fn latest(&mut self, expr: &Expr, selector: &Selector, steps: Steps, wanted: Wanted) -> Evaluated<Vector> {
        let moments = self.moments(&selector.shift, steps)?;
        self.latest_at(expr, selector, steps, moments, wanted)
    }

    /// The same at these moments, one a step.
    pub(crate) fn latest_at(&mut self, expr: &Expr, selector: &Selector, steps: Steps, moments: Vec<i64>, wanted: Wanted) -> Evaluated<Vector> {
        let (lookback, width) = (self.options.lookback_ms(), moments.len());
        let series = self.fetch(selector, &moments, lookback, Some(Need::Last))?;
        let keys = series.iter().map(|s| Key { labels: Arc::clone(&s.labels), name: Name::Kept }).collect();
        if selector.sampling == Sampling::Smoothed && wanted == Wanted::Value {
            let rows = SmoothedRows::new(series, moments, lookback, self.notes.clone(), expr.into());
            return Ok(Vector { keys, rows: Rows::Lazy(Box::new(rows)), width, unique: true });
        }
        let plans = self.batch.as_ref().map(|b| b.latest.clone());
        let rows = LatestRows::new(series, moments, lookback, wanted, steps, self.tally.clone()).planned(plans);
        Ok(Vector { keys, rows: Rows::Lazy(Box::new(rows)), width, unique: true })
    }

    fn range(&mut self, r: &RangeSelector, steps: Steps) -> Evaluated<Val> {
        let need = self.need.take();
        let range = self.positive_ms(&r.range)?;
        let ends = self.moments(&r.selector.shift, steps)?;
        let series = self.fetch(&r.selector, &ends, range, need)?;
        let (sampling, lookback) = (r.selector.sampling, self.options.lookback_ms());
        Ok(Val::Matrix(Matrix { series, names: None, range, ends, sampling, lookback, starts: self.options.start_timestamps }))
    }

    fn subquery(&mut self, s: &Subquery, steps: Steps) -> Evaluated<Val> {
        let range = self.positive_ms(&s.range)?;
        let step = match &s.step {
            Some(d) => self.positive_ms(d)?,
            None => self.options.subquery_step_ms(),
        };
        let ends = self.moments(&s.shift, steps)?;
        let first = ends.iter().copied().min().unwrap_or(0).saturating_sub(range);
        let last = ends.iter().copied().max().unwrap_or(0);
        // Aligned to multiples of the resolution, independent of the query's own times; the window is open on the
        // left. Division truncates, also before 1970, as Prometheus does.
        let mut start = (first / step).saturating_mul(step);
        if start <= first {
            start = start.saturating_add(step);
        }
        if start > last {
            return Ok(Val::Matrix(Matrix {
                series: Rc::default(),
                names: None,
                range,
                ends,
                sampling: Sampling::Plain,
                lookback: 0,
                starts: false,
            }));
        }
        let count = usize::try_from((last - start) / step + 1).unwrap_or(usize::MAX);
        self.check_cells(1, count)?;
        let inner = Steps { start, step, count };
        let grid = self.grid(&s.expr, inner)?;
        let all: Arc<[i64]> = inner.times().collect();
        let series = grid.keys.iter().enumerate().map(|(i, key)| {
            let row = grid.row(i);
            let (timestamps, values) = if row.iter().any(|v| is_absent(*v)) {
                let (times, values): (Vec<i64>, Vec<f64>) = all.iter().zip(row).filter(|(_, v)| !is_absent(**v)).unzip();
                (times.into(), values)
            } else {
                (Arc::clone(&all), row.to_vec())
            };
            // Samples between the steps were passed over, so what a histogram knows of a reset before it is void.
            let histograms = grid.histograms(i).iter().map(|(k, h)| (all[*k as usize], without_hint(h))).collect();
            Series { labels: Arc::clone(&key.labels), timestamps, values, histograms, ..Series::default() }
        });
        let series = Rc::new(series.collect());
        let names = Some(grid.keys.iter().map(|k| k.name).collect());
        Ok(Val::Matrix(Matrix { series, names, range, ends, sampling: Sampling::Plain, lookback: 0, starts: false }))
    }

    fn unary(&mut self, negative: bool, e: &Expr, steps: Steps) -> Evaluated<Val> {
        match self.eval(e, steps)? {
            Val::Scalar(mut v) => {
                if negative {
                    v.iter_mut().for_each(|v| *v = -*v);
                }
                Ok(Val::Scalar(v))
            }
            Val::Vector(v) if negative => {
                let mut grid = v.into_grid(self)?;
                grid.data.iter_mut().filter(|v| !is_absent(**v)).for_each(|v| *v = -*v);
                grid.map_histograms(|h| multiplied(h, -1.0));
                Ok(Val::Vector(self.unnamed(grid)?))
            }
            other => Ok(other),
        }
    }

    /// Applies `f` to every number and takes off the names; histograms go.
    pub(crate) fn map(&self, mut grid: Grid, f: impl Fn(f64) -> f64) -> Evaluated<Vector> {
        grid.take_histograms();
        for v in &mut grid.data {
            if !is_absent(*v) {
                *v = f(*v);
            }
        }
        self.unnamed(grid)
    }

    /// Takes off the names.
    pub(crate) fn unnamed(&self, mut grid: Grid) -> Evaluated<Vector> {
        let name = self.dropped();
        grid.keys.iter_mut().for_each(|k| k.name = name);
        Ok(Vector::dense(grid.merge_same()?))
    }

    fn call(&mut self, expr: &Expr, c: &Call, steps: Steps) -> Evaluated<Val> {
        let f = c.function;
        if f.experimental && !self.options.experimental {
            return Err(QueryError::Parse {
                message: format!("function {:?} is experimental and experimental functions are not switched on", f.name),
                at: expr.span,
            });
        }
        match f.body {
            Body::Map(map) => {
                let grid = self.grid(&c.args[0], steps)?;
                self.map(grid, map).map(Val::Vector)
            }
            Body::MapWith(map) => {
                let mut grid = self.grid(&c.args[0], steps)?;
                grid.take_histograms();
                let scalars = c.args[1..].iter().map(|a| self.scalar(a, steps)).collect::<Evaluated<Vec<_>>>()?;
                let mut args = vec![0.0; scalars.len()];
                for k in 0..steps.count {
                    args.iter_mut().zip(&scalars).for_each(|(a, row)| *a = row[k]);
                    for v in grid.data.iter_mut().skip(k).step_by(steps.count) {
                        if !is_absent(*v) {
                            *v = map(*v, &args);
                        }
                    }
                }
                self.unnamed(grid).map(Val::Vector)
            }
            Body::Date(map) => {
                let Some(arg) = c.args.first() else {
                    let now = steps.times().map(super::window::seconds);
                    return Ok(Val::Vector(single(now.map(map).collect())));
                };
                let grid = self.grid(arg, steps)?;
                self.map(grid, map).map(Val::Vector)
            }
            Body::Window { function, keeps_name, matrix_at } => {
                let (matrix, need) = self.windows(f.name, &c.args[matrix_at], steps)?;
                let others = c.args.iter().enumerate().filter(|(i, _)| *i != matrix_at);
                let scalars = others.map(|(_, a)| self.scalar(a, steps)).collect::<Evaluated<Vec<_>>>()?;
                super::functions::note(self, c, &matrix, &scalars)?;
                let function = extended_function(f.name, function, matrix.sampling)?;
                let mixed = super::functions::mixed(f.name, matrix.sampling);
                // Between a window's borders nothing is extrapolated, and starts are not looked at.
                let started = super::functions::started(f.name).filter(|_| matrix.sampling == Sampling::Plain);
                let mut keys = matrix.keys();
                if !keeps_name {
                    let name = self.dropped();
                    keys.iter_mut().for_each(|k| k.name = name);
                }
                let rows = WindowRows::new(matrix, steps, scalars, function, self.notes.clone(), &c.args[0])
                    .mixed(mixed)
                    .started(started)
                    .planned(self.batch.as_ref().map(|b| b.windows.clone()))
                    .needing(need)
                    .counted(&self.tally);
                let rows = Rows::Lazy(Box::new(rows));
                Ok(Val::Vector(Vector { keys, rows, width: steps.count, unique: keeps_name }))
            }
            Body::Special(eval) => eval(self, expr, c, steps),
        }
    }
}

/// How many samples these are.
fn samples_of(series: &[Series]) -> u64 {
    let histograms = series.iter().flat_map(|s| &s.histograms).map(|(_, h)| super::cost::weight(h));
    series.iter().map(|s| s.values.len() as u64).chain(histograms).sum()
}

/// What computes a function, given what its windows may take from outside.
fn extended_function(name: &str, plain: WindowFn, sampling: Sampling) -> Evaluated<WindowFn> {
    use super::functions::extended::{extended, names};
    if sampling == Sampling::Plain {
        return Ok(plain);
    }
    extended(name, sampling).ok_or_else(|| {
        let modifier = if sampling == Sampling::Anchored { "anchored" } else { "smoothed" };
        QueryError::Execution(format!("{modifier} modifier can only be used with: {} - not with {name}", names(sampling)))
    })
}

/// Whether the value is the same at every step.
fn is_invariant(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) => true,
        Kind::Selector(s) => s.shift.at.is_some(),
        Kind::Range(r) => r.selector.shift.at.is_some(),
        Kind::Subquery(s) => s.shift.at.is_some(),
        Kind::Unary(_, e) | Kind::Paren(e) => is_invariant(e),
        Kind::Binary(b) => is_invariant(&b.left) && is_invariant(&b.right),
        Kind::Aggregate(a) => is_invariant(&a.expr) && a.parameter.as_ref().is_none_or(is_invariant),
        Kind::Call(c) => !c.function.per_step && c.args.iter().all(is_invariant),
    }
}

/// A vector of one series without labels.
pub(crate) fn single(row: Vec<f64>) -> Vector {
    let width = row.len();
    Vector::dense(Grid::new(vec![Key::new(std::iter::empty::<(&str, &str)>().collect())], row, width))
}

/// A histogram of which it is not known whether a reset came before it.
fn without_hint(h: &Arc<NativeHistogram>) -> Arc<NativeHistogram> {
    match h.counter_reset {
        CounterReset::Gauge | CounterReset::Unknown => Arc::clone(h),
        CounterReset::Reset | CounterReset::NotReset => Arc::new(NativeHistogram { counter_reset: CounterReset::Unknown, ..(**h).clone() }),
    }
}
