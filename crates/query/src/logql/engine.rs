//! Answers queries from a store.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use super::ast::{Expr, Grouping, LogExpr, MatchOp, RangeAggregation, Stage};
use super::binary;
use super::entry::{Entry, Names};
use super::labels::LabelSet;
use super::matrix::{self, Matrix, Series, group_labels};
use super::parse::needs_instant;
use super::pipeline::Pipeline;
use super::push_down::push_down;
use super::range::{Steps, Windows};
use super::streams::{SERVICE, Streams, labels_of, select, with_service};
use super::table::{RangeOp, VectorOp};
use crate::context::QueryContext;
use crate::error::QueryError;
use crate::logs::{AttributeChoice, Direction, LogColumns, LogRecord, LogRow, LogScan, LogSearch, LogStore, LogTimes};
use crate::promql::vector::{ABSENT, is_absent};
use crate::time_range::TimeRange;

/// Rows of the first page that is looked through for lines; later ones are larger.
const PAGE_ROWS: usize = 1_000;
/// Rows of the largest page.
const PAGE_ROWS_MAX: usize = 20_000;

/// Labels that the record itself holds, not its attributes.
const OF_RECORD: &[&str] = &["trace_id", "span_id", "severity_text", "severity_number", "detected_level", "scope_name", "event_name"];

/// Whether an attribute is a note of ours, not sent.
fn is_ours(key: &str) -> bool {
    key.starts_with("skopos.")
}

/// A question for lines.
#[derive(Debug, Clone, Copy)]
pub struct LineRequest {
    /// Event time.
    pub range: TimeRange,
    /// Most lines.
    pub limit: usize,
    /// Order.
    pub direction: Direction,
    /// The query's time, Unix nanoseconds.
    pub now: i64,
}

/// A line of the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Event time, Unix nanoseconds.
    pub time: i64,
    /// The line, as stages left it.
    pub text: String,
    /// Labels of the stream.
    pub stream: LabelSet,
    /// Structured metadata.
    pub metadata: LabelSet,
    /// Labels extracted or formatted.
    pub parsed: LabelSet,
}

impl Line {
    /// All labels together.
    pub fn labels(&self) -> LabelSet {
        let all = self.parsed.iter().chain(self.metadata.iter()).chain(self.stream.iter());
        LabelSet::new(all.map(|(n, v)| (std::sync::Arc::clone(n), std::sync::Arc::clone(v))).collect())
    }
}

/// Numbers of the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// One number, the same at every step.
    Scalar(f64),
    /// Series; for one step in an order that counts.
    Series(Vec<Series>),
}

/// The lines a query takes.
///
/// # Errors
/// When the store fails or a limit is reached.
pub fn lines(store: &dyn LogStore, logs: &LogExpr, request: LineRequest, ctx: &QueryContext) -> Result<Vec<Line>, QueryError> {
    let streams = select(store, &logs.matchers, true, request.range, ctx)?;
    let mut out = Vec::new();
    if streams.labels.is_empty() || request.limit == 0 {
        return Ok(out);
    }
    let pushed = push_down(logs, |name| streams.has_label(name));
    let mut run = LineRun::new(Pipeline::new(pushed.stages)?, request.now);
    let mut search = LogSearch {
        range: request.range,
        filter: pushed.filter,
        limit: if run.pipeline.is_empty() { request.limit } else { request.limit.max(PAGE_ROWS) },
        direction: request.direction,
        after: None,
        streams: streams.ids.clone(),
    };
    loop {
        ctx.check()?;
        let page = store.search(&search, ctx)?;
        for row in &page.rows {
            out.extend(run.line(row));
            if out.len() == request.limit {
                return Ok(out);
            }
        }
        let Some(next) = page.next else { return Ok(out) };
        search.after = Some(next);
        search.limit = (search.limit * 4).min(PAGE_ROWS_MAX);
    }
}

/// Runs a pipeline over rows as they are shown.
#[derive(Debug)]
pub struct LineRun {
    pipeline: Pipeline,
    now: i64,
    names: Names,
}

impl LineRun {
    fn new(pipeline: Pipeline, now: i64) -> Self {
        Self { pipeline, now, names: Names::default() }
    }

    /// All of a query's stages.
    ///
    /// # Errors
    /// When a stage is broken (a parsed query has been checked already).
    pub fn of(logs: &LogExpr, now: i64) -> Result<Self, QueryError> {
        Ok(Self::new(Pipeline::new(&logs.stages)?, now))
    }

    /// The labels of a row's stream.
    pub fn stream_of(row: &LogRow) -> LabelSet {
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let attributes: Vec<(&str, String)> = row.resource.iter().map(|(key, value)| (key.as_str(), text(value))).collect();
        with_service(labels_of(attributes.iter().map(|(key, value)| (*key, Cow::Borrowed(value.as_str())))), &row.service_name)
    }

    /// The row as line, when it stays.
    pub fn line(&mut self, row: &LogRow) -> Option<Line> {
        let mut entry = Entry::new(self.now);
        entry.reset(row.time, Cow::Borrowed(&row.body), &Self::stream_of(row));
        let mut add = |key: &str, value: &str| {
            if !value.is_empty() {
                entry.add_metadata(key, value, &mut self.names);
            }
        };
        if !row.trace_id.is_none() {
            add("trace_id", &row.trace_id.to_hex());
        }
        if !row.span_id.is_none() {
            add("span_id", &row.span_id.to_hex());
        }
        add("severity_text", &row.severity_text);
        add("detected_level", &row.severity_text.to_ascii_lowercase());
        add("scope_name", &row.scope_name);
        add("event_name", &row.event_name);
        for (key, value) in row.attributes.iter().filter(|(key, _)| !is_ours(key)) {
            match value.as_str() {
                Some(text) => entry.add_metadata(key, text, &mut self.names),
                None => entry.add_metadata(key, &value.to_string(), &mut self.names),
            }
        }
        if !self.pipeline.process(&mut entry) {
            return None;
        }
        let [stream, metadata, parsed] = entry.by_origin();
        Some(Line { time: row.time, text: entry.line.into_owned(), stream, metadata, parsed })
    }
}

/// The numbers a query asks for.
///
/// # Errors
/// When the store fails, a limit is reached, a line fails in the pipeline, or series do not match.
pub fn evaluate(store: &dyn LogStore, expr: &Expr, steps: Steps, instant: bool, now: i64, ctx: &QueryContext) -> Result<Answer, QueryError> {
    if let (false, Some(op)) = (instant, needs_instant(expr)) {
        return Err(QueryError::Execution(format!("{} is only supported on instant queries", op.row().name)));
    }
    if u64::try_from(steps.count).unwrap_or(u64::MAX) > ctx.limits.points_max {
        let message = "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter".to_owned();
        return Err(QueryError::Limit { limit: "points_max", message });
    }
    let mut named = BTreeSet::new();
    collect_names(expr, &mut named);
    Evaluation { store, steps, now, ctx, named }.eval(expr, None)
}

/// Labels a query names outside of its pipelines.
fn collect_names(expr: &Expr, out: &mut BTreeSet<String>) {
    match expr {
        Expr::Range(range) => out.extend(range.grouping.iter().flat_map(|g| g.labels.iter().cloned())),
        Expr::Aggregate(a) => {
            out.extend(a.grouping.iter().flat_map(|g| g.labels.iter().cloned()));
            collect_names(&a.expr, out);
        }
        Expr::Binary(b) => {
            out.extend(b.matching.iter().flat_map(|m| m.labels.iter().cloned()));
            collect_names(&b.left, out);
            collect_names(&b.right, out);
        }
        Expr::LabelReplace(r) => {
            out.insert(r.source.clone());
            collect_names(&r.expr, out);
        }
        Expr::Vector(_) | Expr::Number(_) => {}
    }
}

/// Whether aggregating lines by labels gives what aggregating their series gives.
fn composes(outer: VectorOp, inner: RangeOp) -> bool {
    match outer {
        VectorOp::Sum => matches!(inner, RangeOp::Count | RangeOp::Rate | RangeOp::Bytes | RangeOp::BytesRate | RangeOp::Sum),
        VectorOp::Min => inner == RangeOp::Min,
        VectorOp::Max => inner == RangeOp::Max,
        _ => false,
    }
}

struct Evaluation<'a> {
    store: &'a dyn LogStore,
    steps: Steps,
    now: i64,
    ctx: &'a QueryContext,
    named: BTreeSet<String>,
}

/// No labels at all.
const NO_GROUPING: Grouping = Grouping { without: false, labels: Vec::new() };

impl Evaluation<'_> {
    /// `reduce`: the labels that alone matter to what is computed next.
    fn eval(&self, expr: &Expr, reduce: Option<&Grouping>) -> Result<Answer, QueryError> {
        self.ctx.check()?;
        Ok(match expr {
            Expr::Number(value) => Answer::Scalar(*value),
            Expr::Vector(value) => Answer::Series(vec![Series { labels: LabelSet::default(), values: vec![*value; self.steps.count] }]),
            Expr::Range(range) => Answer::Series(self.range(range, reduce)?),
            Expr::Aggregate(a) => {
                let none = NO_GROUPING;
                let grouping = a.grouping.as_ref().unwrap_or(&none);
                let reduce = match &*a.expr {
                    Expr::Range(range) if range.grouping.is_none() && composes(a.op, range.op) => Some(grouping),
                    _ => None,
                };
                let matrix = self.series(self.eval(&a.expr, reduce)?);
                Answer::Series(matrix::aggregate(a.op, a.parameter, matrix, a.grouping.as_ref(), self.steps.count))
            }
            Expr::LabelReplace(replace) => {
                let matrix = self.series(self.eval(&replace.expr, None)?);
                Answer::Series(matrix::label_replace(replace, matrix)?)
            }
            Expr::Binary(b) => match (self.eval(&b.left, None)?, self.eval(&b.right, None)?) {
                (Answer::Scalar(l), Answer::Scalar(r)) => Answer::Scalar(binary::scalars(b.op, l, r)),
                (Answer::Series(l), Answer::Scalar(r)) => Answer::Series(binary::with_scalar(b, l, r, false)),
                (Answer::Scalar(l), Answer::Series(r)) => Answer::Series(binary::with_scalar(b, r, l, true)),
                (Answer::Series(l), Answer::Series(r)) => Answer::Series(binary::vectors(b, l, r, self.steps.count)?),
            },
        })
    }

    fn series(&self, answer: Answer) -> Matrix {
        match answer {
            Answer::Series(matrix) => matrix,
            Answer::Scalar(value) => vec![Series { labels: LabelSet::default(), values: vec![value; self.steps.count] }],
        }
    }

    /// The times whose lines an aggregation looks at.
    fn time_range(&self, range: &RangeAggregation) -> TimeRange {
        let start = self.steps.start.saturating_sub(range.offset).saturating_sub(range.range).saturating_add(1);
        TimeRange { start, end: self.steps.end().saturating_sub(range.offset).saturating_add(1) }
    }

    fn range(&self, range: &RangeAggregation, reduce: Option<&Grouping>) -> Result<Matrix, QueryError> {
        let time_range = self.time_range(range);
        let needs = Pipeline::new(&range.logs.stages)?.needs();
        let service = self.named.contains(SERVICE) || needs.names.contains(SERVICE);
        let streams = select(self.store, &range.logs.matchers, service, time_range, self.ctx)?;
        let absent = range.op == RangeOp::Absent;
        let grouping = if absent { Some(&NO_GROUPING) } else { range.grouping.as_ref().or(reduce) };
        let series_max = usize::try_from(self.ctx.limits.series_max).unwrap_or(usize::MAX);
        let mut windows = Windows::new(range, self.steps, series_max);
        if !streams.labels.is_empty() {
            self.collect(range, grouping, time_range, &streams, &mut windows)?;
        }
        if !absent {
            return Ok(windows.finish());
        }
        let there = windows.finish();
        let missing = |k: usize| if there.iter().all(|series| is_absent(series.values[k])) { 1.0 } else { ABSENT };
        let series = Series { labels: absent_labels(&range.logs), values: (0..self.steps.count).map(missing).collect() };
        Ok(Some(series).filter(Series::has_any).into_iter().collect())
    }

    fn collect(
        &self,
        range: &RangeAggregation,
        grouping: Option<&Grouping>,
        time_range: TimeRange,
        streams: &Streams,
        windows: &mut Windows<'_>,
    ) -> Result<(), QueryError> {
        let pushed = push_down(&range.logs, |name| streams.has_label(name));
        let mut pipeline = Pipeline::new(pushed.stages)?;
        let unwrapped = range.logs.stages.iter().find_map(|stage| if let Stage::Unwrap(label, _) = stage { Some(label.as_str()) } else { None });
        let (columns, wanted) = self.columns(range, grouping, &pipeline, streams);
        let scan = LogScan { range: time_range, filter: &pushed.filter, streams: streams.ids.as_ref(), columns: &columns };
        let counts = matches!(range.op, RangeOp::Count | RangeOp::Rate | RangeOp::Absent) && unwrapped.is_none();
        let only_severity = wanted.iter().all(|name| matches!(name.as_str(), "severity_text" | "detected_level"));
        if counts && pipeline.is_empty() && !columns.body && columns.attributes == AttributeChoice::None && only_severity {
            return self.count(&scan, grouping, &wanted, streams, windows);
        }
        let mut failed = None;
        // The series of each stream, as long as labels are the stream's own.
        let mut plain: HashMap<u64, usize> = HashMap::new();
        let mut entry_of = EntryMaker { wanted, attributes: columns.attributes != AttributeChoice::None, names: Names::default() };
        let bytes = matches!(range.op, RangeOp::Bytes | RangeOp::BytesRate);
        let mut entry = Entry::new(self.now);
        let mut visit = |record: &dyn LogRecord| -> Result<(), QueryError> {
            let time = record.time();
            let Some(steps) = windows.steps_of(time) else { return Ok(()) };
            let stream = record.stream();
            let Some(labels) = streams.labels.get(&stream) else { return Ok(()) };
            entry.reset(time, if columns.body { record.body().into_owned().into() } else { "".into() }, labels);
            entry_of.add_metadata(record, &mut entry);
            if !pipeline.process(&mut entry) {
                return Ok(());
            }
            if let Some((kind, details)) = &entry.error {
                return Err(pipeline_error(kind, details, &entry.labels()));
            }
            let length = if bytes { i64::try_from(entry.line.len()).unwrap_or(i64::MAX) } else { 0 };
            let at = if entry.is_plain() {
                match plain.get(&stream) {
                    Some(known) => *known,
                    None => {
                        let at = windows.series(&result_labels(&entry, grouping, unwrapped))?;
                        plain.insert(stream, at);
                        at
                    }
                }
            } else {
                windows.series(&result_labels(&entry, grouping, unwrapped))?
            };
            windows.add(at, steps, time, 1, length, entry.value)
        };
        self.store.scan(&scan, self.ctx, &mut |record| match visit(record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// Counts lines by labels of their streams and by severity, without looking at any.
    fn count(
        &self,
        scan: &LogScan<'_>,
        grouping: Option<&Grouping>,
        wanted: &BTreeSet<String>,
        streams: &Streams,
        windows: &mut Windows<'_>,
    ) -> Result<(), QueryError> {
        let by_severity = !wanted.is_empty();
        let mut known: HashMap<(u64, String), usize> = HashMap::new();
        let mut names = Names::default();
        let windows = std::cell::RefCell::new(windows);
        let mut failed = None;
        let mut add = |slice: LogTimes<'_>| -> Result<(), QueryError> {
            let Some(labels) = streams.labels.get(&slice.stream) else { return Ok(()) };
            let mut windows = windows.borrow_mut();
            let key = (slice.stream, slice.severity_text.to_owned());
            let at = match known.get(&key) {
                Some(known) => *known,
                None => {
                    let mut entry = Entry::new(self.now);
                    entry.reset(0, "".into(), labels);
                    for name in wanted.iter().filter(|_| !slice.severity_text.is_empty()) {
                        let lower = slice.severity_text.to_ascii_lowercase();
                        entry.add_metadata(name, if name == "severity_text" { slice.severity_text } else { &lower }, &mut names);
                    }
                    let at = windows.series(&result_labels(&entry, grouping, None))?;
                    known.insert(key, at);
                    at
                }
            };
            windows.add_times(at, slice.count, slice.times)
        };
        let alike = |first: i64, last: i64| windows.borrow().alike(first, last);
        self.store.scan_times(scan, by_severity, &alike, self.ctx, &mut |slice| match add(slice) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// What has to be read of each record, and which of its own labels are asked for.
    fn columns(
        &self,
        range: &RangeAggregation,
        grouping: Option<&Grouping>,
        pipeline: &Pipeline,
        streams: &Streams,
    ) -> (LogColumns, BTreeSet<String>) {
        let needs = pipeline.needs();
        let needs_line = needs.line;
        let mut names = needs.names;
        names.extend(self.named.iter().cloned());
        // What a parser extracts is named by whether structured metadata has the name already.
        let bases: Vec<String> = names.iter().filter_map(|name| name.strip_suffix("_extracted").map(str::to_owned)).collect();
        names.extend(bases);
        let attributes = match grouping {
            Some(grouping) if !grouping.without => {
                let named: Vec<String> = names.iter().cloned().collect();
                if named.is_empty() { AttributeChoice::None } else { AttributeChoice::Named(named) }
            }
            _ => AttributeChoice::All,
        };
        let any = |of: &[&str]| of.iter().any(|name| names.contains(*name));
        let attributes = match attributes {
            // What the record itself or its stream holds need not be looked for among its attributes.
            AttributeChoice::Named(mut named) => {
                named.retain(|name| !OF_RECORD.contains(&name.as_str()) && (needs_line || !streams.all_have(name)));
                if named.is_empty() { AttributeChoice::None } else { AttributeChoice::Named(named) }
            }
            other => other,
        };
        let columns = LogColumns {
            body: needs.line || matches!(range.op, RangeOp::Bytes | RangeOp::BytesRate),
            severity: any(&["severity_text", "severity_number", "detected_level"]),
            ids: any(&["trace_id", "span_id"]),
            names: any(&["scope_name", "event_name"]),
            attributes,
        };
        names.retain(|name| OF_RECORD.contains(&name.as_str()));
        (columns, names)
    }
}

/// Puts a record's metadata on its line.
struct EntryMaker {
    /// Which of [`OF_RECORD`].
    wanted: BTreeSet<String>,
    attributes: bool,
    names: Names,
}

impl EntryMaker {
    fn add_metadata(&mut self, record: &dyn LogRecord, entry: &mut Entry<'_>) {
        for name in &self.wanted {
            let value: Cow<'_, str> = match name.as_str() {
                "trace_id" if !record.trace_id().is_none() => record.trace_id().to_hex().into(),
                "span_id" if !record.span_id().is_none() => record.span_id().to_hex().into(),
                "severity_text" => record.severity_text().into(),
                "severity_number" if record.severity_number() > 0 => record.severity_number().to_string().into(),
                "detected_level" => record.severity_text().to_ascii_lowercase().into(),
                "scope_name" => record.scope_name().into(),
                "event_name" => record.event_name().into(),
                _ => continue,
            };
            if !value.is_empty() {
                entry.add_metadata(name, &value, &mut self.names);
            }
        }
        if self.attributes {
            record.each_attribute(&mut |key, value| {
                if !is_ours(key) {
                    entry.add_metadata(key, &value, &mut self.names);
                }
            });
        }
    }
}

/// The labels of the series a line belongs to.
fn result_labels(entry: &Entry<'_>, grouping: Option<&Grouping>, unwrapped: Option<&str>) -> LabelSet {
    if let Some(by) = grouping.filter(|g| !g.without) {
        let pairs = by.labels.iter().filter_map(|name| entry.get(name).map(|value| (name.as_str().into(), value.into())));
        return LabelSet::new(pairs.collect());
    }
    let labels = entry.labels();
    let labels = match unwrapped {
        Some(label) => labels.filtered(&[label.to_owned()], false),
        None => labels,
    };
    match grouping {
        Some(_) => group_labels(&labels, grouping),
        None => labels,
    }
}

/// What matchers say for certain about streams that are not there.
fn absent_labels(logs: &LogExpr) -> LabelSet {
    let certain = |name: &str| logs.matchers.iter().filter(|m| m.name == name).count() == 1;
    let equal = logs.matchers.iter().filter(|m| m.op == MatchOp::Equal && certain(&m.name));
    LabelSet::from_pairs(equal.map(|m| (m.name.as_str(), m.value.as_str())))
}

fn pipeline_error(kind: &str, details: &str, labels: &LabelSet) -> QueryError {
    let all = labels.with(super::entry::ERROR, kind).with(super::entry::ERROR_DETAILS, details);
    QueryError::Execution(format!(
        "pipeline error: '{kind}' for series: '{all}'.\nUse a label filter to intentionally skip this error. (e.g | __error__!=\"{kind}\").\n\
         To skip all potential errors you can match empty errors.(e.g __error__=\"\")\n\
         The label filter can also be specified after unwrap. (e.g | unwrap latency | __error__=\"\" )\n"
    ))
}
