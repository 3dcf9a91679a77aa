//! Series out of spans: one pass over columns where single spans answer, whole spans or whole traces where not.

use std::collections::{BTreeMap, HashMap, HashSet};

use skopos_model::TraceId;

use super::ast::{Field, FieldExpr, MetricsExpr, MetricsFunction, MetricsPipeline, Stage};
use super::eval::{Compiled, ScannedSpan, Slot, Slots, SpanView, WholeSpan};
use super::fields::Intrinsic;
use super::plan::{Level, candidates, columns, level, level_of, pushdown, scan_field, single};
use super::search::{TRACES_AT_ONCE_MAX, whole_traces};
use super::series::{self, Series, SeriesSet};
use super::sketch::Sketch;
use super::spanset::Pipeline;
use super::trace::Trace;
use super::value::Value;
use crate::context::QueryContext;
use crate::error::QueryError;
use crate::time_range::TimeRange;
use crate::traces::{ScanField, SpanRow, SpanScan, TraceStore};

/// Most series of one metrics query.
pub const SERIES_MAX: usize = 5_000;
/// Most numbers (series × steps × buckets) held while a metrics query runs.
pub const CELLS_MAX: usize = 4_000_000;
/// Most traces a metrics query looks at whole.
pub const METRICS_TRACES_MAX: usize = 1_000_000;
/// Values of an attribute that `compare()` shows when it is not told.
const COMPARE_TOP: u32 = 10;

/// Steps of a range: `[start + i·step, start + (i + 1)·step)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// Start of the first, Unix nanoseconds.
    pub start: i64,
    /// Length of each, nanoseconds; more than 0.
    pub step: i64,
    /// How many.
    pub count: usize,
}

impl Steps {
    /// The steps that cover a range; they start at multiples of the step, as Tempo's do.
    ///
    /// # Errors
    /// When there are more than `points_max`.
    pub fn covering(range: TimeRange, step: i64, points_max: u64) -> Result<Self, QueryError> {
        let step = step.max(1);
        let start = range.start.div_euclid(step).saturating_mul(step);
        let count = u64::try_from(range.end.saturating_sub(start).saturating_add(step - 1) / step).unwrap_or(0);
        if count > points_max {
            let message = format!("{count} steps, {points_max} are the most: a longer step or a shorter range");
            return Err(QueryError::Limit { limit: "points_max", message });
        }
        Ok(Self { start, step, count: usize::try_from(count).unwrap_or(0) })
    }

    fn of(&self, time: i64) -> Option<usize> {
        let at = usize::try_from(time.checked_sub(self.start)?.div_euclid(self.step)).ok()?;
        (at < self.count).then_some(at)
    }

    /// Start of a step, Unix nanoseconds.
    #[allow(clippy::cast_possible_wrap, reason = "points_max is small")]
    pub fn time(&self, at: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(at as i64))
    }
}

/// Evaluates a metrics query.
///
/// # Errors
/// A limit, the store's, time-out, cancellation.
pub fn metrics(store: &dyn TraceStore, expr: &MetricsExpr, range: TimeRange, steps: Steps, ctx: &QueryContext) -> Result<Vec<Series>, QueryError> {
    let set = evaluate(store, expr, range, steps, ctx)?;
    Ok(series::finish(set))
}

fn evaluate(store: &dyn TraceStore, expr: &MetricsExpr, range: TimeRange, steps: Steps, ctx: &QueryContext) -> Result<SeriesSet, QueryError> {
    match expr {
        MetricsExpr::Pipeline(pipeline) => Ok(SeriesSet::Series(run(store, pipeline, range, steps, ctx)?)),
        MetricsExpr::Number(number) => Ok(SeriesSet::Number(number.number().unwrap_or(f64::NAN))),
        MetricsExpr::Binary(op, left, right) => {
            let left = evaluate(store, left, range, steps, ctx)?;
            Ok(series::arithmetic(*op, left, evaluate(store, right, range, steps, ctx)?))
        }
        MetricsExpr::Staged(inner, stages) => {
            let set = evaluate(store, inner, range, steps, ctx)?;
            Ok(stages.iter().fold(set, |set, stage| series::staged(stage, set, steps.count)))
        }
    }
}

/// What one step of one series holds.
#[derive(Debug, Clone)]
enum Cells {
    /// Sum (or count, least, greatest).
    Numbers(Vec<f64>),
    /// Sum and count.
    Means(Vec<(f64, f64)>),
    Sketches(Vec<Sketch>),
}

/// Collects observations of one pipeline.
struct Collector<'q> {
    function: &'q MetricsFunction,
    range: TimeRange,
    steps: Steps,
    by: Vec<usize>,
    labels: Vec<String>,
    /// Place of the function's field, and of the selection for compare.
    argument: Option<usize>,
    selection: Option<Compiled>,
    series: HashMap<String, usize>,
    found: Vec<(Vec<(String, Value<'static>)>, Cells)>,
    cells: usize,
    key: String,
}

impl<'q> Collector<'q> {
    fn new(pipeline: &'q MetricsPipeline, slots: &mut Slots, range: TimeRange, steps: Steps) -> Self {
        let argument = match &pipeline.function {
            MetricsFunction::Min(field)
            | MetricsFunction::Max(field)
            | MetricsFunction::Avg(field)
            | MetricsFunction::Sum(field)
            | MetricsFunction::Quantile(field, _)
            | MetricsFunction::Histogram(field) => Some(slots.of(Slot::Field(field.clone()))),
            _ => None,
        };
        let selection = match &pipeline.function {
            MetricsFunction::Compare { selection, .. } => Some(slots.compile(selection)),
            _ => None,
        };
        Self {
            function: &pipeline.function,
            range,
            steps,
            by: pipeline.by.iter().map(|field| slots.of(Slot::Field(field.clone()))).collect(),
            labels: pipeline.by.iter().map(ToString::to_string).collect(),
            argument,
            selection,
            series: HashMap::new(),
            found: Vec::new(),
            cells: 0,
            key: String::new(),
        }
    }

    /// A new series of these labels, under the key that was made for it.
    fn insert(&mut self, labels: Vec<(String, Value<'static>)>) -> Result<usize, QueryError> {
        if self.found.len() >= SERIES_MAX {
            let message = format!("more than {SERIES_MAX} series: filter more or group by less");
            return Err(QueryError::Limit { limit: "traceql_series_max", message });
        }
        let count = self.steps.count;
        self.add_cells(count)?;
        let cells = match self.function {
            MetricsFunction::Quantile(..) => Cells::Sketches(vec![Sketch::default(); count]),
            MetricsFunction::Avg(_) => Cells::Means(vec![(0.0, 0.0); count]),
            MetricsFunction::Min(_) | MetricsFunction::Max(_) | MetricsFunction::Sum(_) => Cells::Numbers(vec![f64::NAN; count]),
            _ => Cells::Numbers(vec![0.0; count]),
        };
        self.series.insert(self.key.clone(), self.found.len());
        self.found.push((labels, cells));
        Ok(self.found.len() - 1)
    }

    fn add_cells(&mut self, count: usize) -> Result<(), QueryError> {
        self.cells += count;
        if self.cells > CELLS_MAX {
            let message = format!("more than {CELLS_MAX} numbers in series and steps: a longer step, a shorter range or fewer groups");
            return Err(QueryError::Limit { limit: "traceql_cells_max", message });
        }
        Ok(())
    }

    /// Takes a span in.
    fn observe(&mut self, start: i64, view: &dyn SpanView) -> Result<(), QueryError> {
        if !self.range.contains(start) {
            return Ok(());
        }
        let Some(step) = self.steps.of(start) else { return Ok(()) };
        match self.argument.map(|slot| view.value(slot)) {
            None => self.add(step, &Value::Int(1), view),
            // Of events, links and arrays every value counts.
            Some(Value::Many(values)) => values.iter().try_for_each(|value| self.add(step, value, view)),
            Some(value) => self.add(step, &value, view),
        }
    }

    /// Takes a value of a span in.
    fn add(&mut self, step: usize, observed: &Value<'_>, view: &dyn SpanView) -> Result<(), QueryError> {
        let value = match (observed, observed.number()) {
            // Histograms go by powers of two of nanoseconds.
            (Value::Duration(n), _) if *n >= 0 && !matches!(self.function, MetricsFunction::Histogram(_)) => seconds(*n),
            (_, Some(number)) => number,
            _ => return Ok(()),
        };
        let mut bucket = None;
        if matches!(self.function, MetricsFunction::Histogram(_)) {
            if value < 2.0 {
                return Ok(());
            }
            let bound = value.log2().ceil().exp2();
            bucket = Some(if matches!(observed, Value::Duration(_)) { bound / 1e9 } else { bound });
        }
        self.key.clear();
        for slot in &self.by {
            use std::fmt::Write as _;
            let value = view.value(*slot);
            // Writing to a string cannot fail.
            let _ = match &value {
                Value::Text(text) => write!(self.key, "s{}:{text}", text.len()),
                other => write!(self.key, "{other:?};"),
            };
        }
        if let Some(bucket) = bucket {
            self.key.push_str(&bucket.to_string());
        }
        let at = match self.series.get(&self.key) {
            Some(at) => *at,
            None => {
                let by = self.by.iter().map(|slot| view.value(*slot).into_owned());
                let mut labels: Vec<_> = self.labels.iter().cloned().zip(by).collect();
                labels.extend(bucket.map(|b| ("__bucket".to_owned(), Value::Float(b))));
                self.insert(labels)?
            }
        };
        let mut grown = 0;
        match (&mut self.found[at].1, self.function) {
            (Cells::Numbers(numbers), MetricsFunction::Min(_)) => numbers[step] = numbers[step].min(value),
            (Cells::Numbers(numbers), MetricsFunction::Max(_)) => numbers[step] = numbers[step].max(value),
            (Cells::Numbers(numbers), MetricsFunction::Sum(_)) => numbers[step] = if numbers[step].is_nan() { value } else { numbers[step] + value },
            (Cells::Numbers(numbers), _) => numbers[step] += 1.0,
            (Cells::Means(means), _) => means[step] = (means[step].0 + value, means[step].1 + 1.0),
            (Cells::Sketches(sketches), _) => {
                let before = sketches[step].size();
                sketches[step].add(value);
                grown = sketches[step].size() - before;
            }
        }
        self.add_cells(grown)
    }

    /// Takes a whole span in for compare: a count for each of its values.
    fn compare(&mut self, span: &SpanRow, view: &dyn SpanView, trace: Option<&Trace<'_>>) -> Result<(), QueryError> {
        let MetricsFunction::Compare { range, .. } = self.function else { return Ok(()) };
        if !self.range.contains(span.start) {
            return Ok(());
        }
        let Some(step) = self.steps.of(span.start) else { return Ok(()) };
        let inside = range.is_none_or(|(start, end)| start <= span.start && span.start < end);
        let selected = inside && self.selection.as_ref().is_some_and(|selection| selection.matches(view));
        let side = if selected { "selection" } else { "baseline" };
        let root = trace.and_then(|t| t.root.map(|root| &t.spans[root]));
        let mut all: Vec<(String, Value<'_>)> = vec![
            ("name".to_owned(), Value::Text((&*span.name).into())),
            ("kind".to_owned(), Value::Kind(span.kind)),
            ("status".to_owned(), Value::Status(span.status_code)),
        ];
        if !span.status_message.is_empty() {
            all.push(("statusMessage".to_owned(), Value::Text((&*span.status_message).into())));
        }
        if let Some(root) = root {
            all.push((Intrinsic::RootName.name().to_owned(), Value::Text((&*root.name).into())));
            all.push((Intrinsic::RootService.name().to_owned(), Value::Text((&*root.service_name).into())));
        }
        all.extend(span.attributes.iter().map(|(key, value)| (Field::attribute(super::Scope::Span, key).to_string(), Value::of_json(value))));
        all.extend(span.resource.iter().map(|(key, value)| (Field::attribute(super::Scope::Resource, key).to_string(), Value::of_json(value))));
        for (name, value) in all {
            for (meta, value) in [(side.to_owned(), value), (format!("{side}_total"), Value::Nil)] {
                self.key = format!("{meta}\0{name}\0{value:?}");
                // Values beyond what can be held are in the totals alone.
                if self.found.len() >= SERIES_MAX * 4 && !self.series.contains_key(&self.key) {
                    continue;
                }
                if !self.series.contains_key(&self.key) {
                    self.add_cells(self.steps.count)?;
                    self.series.insert(self.key.clone(), self.found.len());
                    let labels = vec![("__meta_type".to_owned(), Value::Text(meta.into())), (name.clone(), value.into_owned())];
                    self.found.push((labels, Cells::Numbers(vec![0.0; self.steps.count])));
                }
                if let Cells::Numbers(numbers) = &mut self.found[self.series[&self.key]].1 {
                    numbers[step] += 1.0;
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Vec<Series> {
        let seconds_a_step = seconds(self.steps.step);
        let mut out = Vec::new();
        let name = self.function.to_string().split('(').next().unwrap_or("").to_owned();
        for (mut labels, cells) in self.found {
            let mut push = |labels: Vec<(String, Value<'static>)>, values: Vec<f64>| {
                let labels = if labels.is_empty() { vec![("__name__".to_owned(), Value::Text(name.clone().into()))] } else { labels };
                out.push(Series { labels, values });
            };
            match (cells, self.function) {
                (Cells::Numbers(numbers), MetricsFunction::Rate) => push(labels, numbers.into_iter().map(|n| n / seconds_a_step).collect()),
                (Cells::Numbers(numbers), _) => push(labels, numbers),
                (Cells::Means(means), _) => push(labels, means.into_iter().map(|(sum, count)| sum / count).collect()),
                (Cells::Sketches(sketches), MetricsFunction::Quantile(_, quantiles)) => {
                    for q in quantiles {
                        let mut labels = labels.clone();
                        labels.push(("p".to_owned(), Value::Float(*q)));
                        push(labels, sketches.iter().map(|s| s.quantile(*q).unwrap_or(f64::NAN)).collect());
                    }
                }
                (Cells::Sketches(_), _) => labels.clear(),
            }
        }
        match self.function {
            MetricsFunction::Compare { top, .. } => compare_top(out, top.unwrap_or(COMPARE_TOP) as usize),
            _ => out,
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "durations in seconds")]
fn seconds(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

/// The most frequent values of each attribute on each side, and the totals.
fn compare_top(series: Vec<Series>, top: usize) -> Vec<Series> {
    let mut groups: BTreeMap<(String, String), Vec<Series>> = BTreeMap::new();
    for one in series {
        let key = (one.labels[0].1.to_text().into_owned(), one.labels[1].0.clone());
        groups.entry(key).or_default().push(one);
    }
    let total = |s: &Series| s.values.iter().sum::<f64>();
    let mut out = Vec::new();
    for mut group in groups.into_values() {
        group.sort_by(|a, b| total(b).total_cmp(&total(a)).then_with(|| a.labels[1].1.to_text().cmp(&b.labels[1].1.to_text())));
        group.truncate(top);
        out.extend(group);
    }
    out
}

fn run(store: &dyn TraceStore, pipeline: &MetricsPipeline, range: TimeRange, steps: Steps, ctx: &QueryContext) -> Result<Vec<Series>, QueryError> {
    let mut slots = Slots::default();
    let mut collector = Collector::new(pipeline, &mut slots, range, steps);
    let compares = collector.selection.is_some();
    let mut needed = Level::Column;
    for slot in &slots.0 {
        if let Slot::Field(field) = slot {
            needed = needed.max(level(field));
        }
    }
    let condition = single(&pipeline.spans);
    match &condition {
        Some(condition) => needed = needed.max(level_of(condition)),
        None => needed = Level::Trace,
    }
    if compares {
        needed = needed.max(Level::Span);
    }
    match (needed, condition) {
        (Level::Column, Some(condition)) => {
            let compiled = slots.compile(&condition);
            let all = condition == FieldExpr::TRUE;
            let fields: Vec<ScanField> = slots.0.iter().filter_map(scan_field).collect();
            let scan = SpanScan { range, filter: pushdown(&condition), fields };
            store.scan(&scan, ctx, &mut |block| {
                for row in block.rows() {
                    let span = ScannedSpan { slots: &slots.0, block, row: *row };
                    if all || compiled.matches(&span) {
                        collector.observe(block.start(*row), &span)?;
                    }
                }
                Ok(i64::MIN)
            })?;
        }
        (Level::Span, Some(condition)) => {
            let compiled = slots.compile(&condition);
            store.rows(range, &pushdown(&columns(&condition)), ctx, &mut |spans| {
                ctx.check()?;
                for span in &spans {
                    let view = WholeSpan { slots: &slots.0, span, trace: None };
                    if compiled.matches(&view) {
                        if compares {
                            collector.compare(span, &view, None)?;
                        } else {
                            collector.observe(span.start, &view)?;
                        }
                    }
                }
                Ok(true)
            })?;
        }
        _ => whole(store, pipeline, range, &slots, &mut collector, ctx)?,
    }
    Ok(collector.finish())
}

/// Evaluates the stages on whole traces and takes in the spans they find.
fn whole(
    store: &dyn TraceStore,
    pipeline: &MetricsPipeline,
    range: TimeRange,
    slots: &Slots,
    collector: &mut Collector<'_>,
    ctx: &QueryContext,
) -> Result<(), QueryError> {
    let stages: Vec<Stage> = pipeline.spans.clone();
    let ready = Pipeline::new(&stages);
    let ids = traces_in(store, &candidates(&stages), range, ctx)?;
    for ids in ids.chunks(TRACES_AT_ONCE_MAX) {
        ctx.check()?;
        let spans = whole_traces(store, ids, ctx)?;
        for spans in spans.values() {
            let trace = Trace::new(spans);
            let mut found: Vec<u32> = ready.run(&trace).into_iter().flat_map(|set| set.spans).collect();
            found.sort_unstable();
            found.dedup();
            for at in found {
                let span = &trace.spans[at as usize];
                let view = WholeSpan { slots: &slots.0, span, trace: Some((&trace, at as usize)) };
                if collector.selection.is_some() {
                    collector.compare(span, &view, Some(&trace))?;
                } else {
                    collector.observe(span.start, &view)?;
                }
            }
        }
    }
    Ok(())
}

/// The traces with a span in the range that fulfils a condition over columns.
fn traces_in(store: &dyn TraceStore, condition: &FieldExpr, range: TimeRange, ctx: &QueryContext) -> Result<Vec<TraceId>, QueryError> {
    let mut slots = Slots::default();
    let compiled = slots.compile(condition);
    let mut fields: Vec<ScanField> = slots.0.iter().filter_map(scan_field).collect();
    fields.push(ScanField::Field(crate::filter::Field::TraceId));
    let scan = SpanScan { range, filter: pushdown(condition), fields };
    let mut ids: HashSet<TraceId> = HashSet::new();
    store.scan(&scan, ctx, &mut |block| {
        for row in block.rows() {
            if compiled.matches(&ScannedSpan { slots: &slots.0, block, row: *row }) {
                ids.insert(block.trace_id(*row));
            }
        }
        if ids.len() > METRICS_TRACES_MAX {
            let message = format!("more than {METRICS_TRACES_MAX} traces to look at whole: filter more or ask for a shorter range");
            return Err(QueryError::Limit { limit: "traceql_traces_max", message });
        }
        Ok(i64::MIN)
    })?;
    let mut ids: Vec<TraceId> = ids.into_iter().collect();
    ids.sort_unstable();
    Ok(ids)
}
