//! Traces that a query finds, the newest first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use skopos_model::{SpanId, StatusCode, TraceId};

use super::ast::{Field, FieldExpr, Stage};
use super::eval::{ScannedSpan, Slot, Slots, field_value};
use super::fields::Intrinsic;
use super::plan::{Level, candidates, level_of, pushdown, scan_field, single};
use super::spanset::{Pipeline, Spanset};
use super::trace::Trace;
use super::value::Value;
use crate::context::QueryContext;
use crate::error::QueryError;
use crate::time_range::TimeRange;
use crate::traces::{ScanField, SpanRow, SpanScan, TraceStore};

/// Most traces that are looked at whole before a search gives up looking for more.
pub const CANDIDATES_MAX: usize = 65_536;
/// Traces read at once, and at most when the first ones were not what is looked for: each read goes over what is in memory,
/// and all of them are held together.
const TRACES_AT_ONCE: usize = 64;
pub(super) const TRACES_AT_ONCE_MAX: usize = 4_096;

/// What to search for.
#[derive(Debug, Clone)]
pub struct Search<'q> {
    /// Start of a span that matches.
    pub range: TimeRange,
    /// The query's stages.
    pub stages: &'q [Stage],
    /// Most traces.
    pub limit: usize,
    /// Most spans shown of each spanset.
    pub spans_per_set: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Traces, the latest start first.
    pub traces: Vec<FoundTrace>,
    /// Traces looked at whole.
    pub inspected: usize,
    /// Whether the search gave up at [`CANDIDATES_MAX`].
    pub gave_up: bool,
}

/// A trace that was found.
#[derive(Debug)]
pub struct FoundTrace {
    /// Trace id.
    pub trace_id: TraceId,
    /// Service of the root span; empty when the root has not arrived.
    pub root_service: String,
    /// Name of the root span.
    pub root_name: String,
    /// Earliest start, Unix nanoseconds.
    pub start: i64,
    /// From the earliest start to the latest end, nanoseconds.
    pub duration: i64,
    /// Spans and failed spans by service.
    pub services: BTreeMap<String, (u64, u64)>,
    /// What matched in it.
    pub spansets: Vec<FoundSpanset>,
}

/// Spans that matched.
#[derive(Debug)]
pub struct FoundSpanset {
    /// The earliest of them, at most as many as asked for.
    pub spans: Vec<FoundSpan>,
    /// How many there are.
    pub matched: usize,
    /// What the stages found out of them.
    pub attributes: Vec<(String, Value<'static>)>,
}

/// A span that matched.
#[derive(Debug)]
pub struct FoundSpan {
    /// Span id.
    pub span_id: SpanId,
    /// Operation.
    pub name: String,
    /// Start, Unix nanoseconds.
    pub start: i64,
    /// Nanoseconds.
    pub duration: i64,
    /// The fields the query names, where the span has them.
    pub attributes: Vec<(String, Value<'static>)>,
}

/// Runs a search.
///
/// # Errors
/// The store's, time-out, cancellation.
pub fn search(store: &dyn TraceStore, search: &Search<'_>, ctx: &QueryContext) -> Result<Found, QueryError> {
    let mut found = Found::default();
    if search.limit == 0 || search.range.start >= search.range.end {
        return Ok(found);
    }
    let condition = candidates(search.stages);
    let pipeline = Pipeline::new(search.stages);
    // Where columns answer the whole query, each candidate is a find.
    let exact = single(search.stages).is_some_and(|all| level_of(&all) == Level::Column);
    let mut wanted = if exact { search.limit } else { (search.limit * 8).max(512) };
    let mut seen = HashSet::new();
    let mut at_once = TRACES_AT_ONCE;
    loop {
        let newest = newest_traces(store, &condition, search.range, wanted, ctx)?;
        let all = newest.len() < wanted;
        let fresh: Vec<TraceId> = newest.into_iter().filter(|id| seen.insert(*id)).collect();
        let mut rest = &fresh[..];
        while !rest.is_empty() {
            ctx.check()?;
            let (ids, after) = rest.split_at(at_once.min(rest.len()));
            rest = after;
            at_once = (at_once * 4).min(TRACES_AT_ONCE_MAX);
            let mut spans = whole_traces(store, ids, ctx)?;
            for id in ids {
                let Some(spans) = spans.remove(id) else { continue };
                found.inspected += 1;
                let trace = Trace::new(&spans);
                let sets = pipeline.run(&trace);
                if !sets.is_empty() {
                    found.traces.push(found_trace(*id, &trace, sets, &pipeline, search.spans_per_set));
                    if found.traces.len() == search.limit {
                        return Ok(sorted(found));
                    }
                }
            }
        }
        if all || exact {
            return Ok(sorted(found));
        }
        if wanted >= CANDIDATES_MAX {
            found.gave_up = true;
            return Ok(sorted(found));
        }
        wanted = (wanted * 8).min(CANDIDATES_MAX);
    }
}

fn sorted(mut found: Found) -> Found {
    found.traces.sort_by_key(|t| (std::cmp::Reverse(t.start), t.trace_id));
    found
}

/// The traces with the newest spans that fulfil a condition over columns, newest first.
fn newest_traces(
    store: &dyn TraceStore,
    condition: &FieldExpr,
    range: TimeRange,
    limit: usize,
    ctx: &QueryContext,
) -> Result<Vec<TraceId>, QueryError> {
    let mut slots = Slots::default();
    let compiled = slots.compile(condition);
    let all = *condition == FieldExpr::TRUE;
    let mut fields: Vec<ScanField> = slots.0.iter().filter_map(scan_field).collect();
    fields.push(ScanField::Field(crate::filter::Field::TraceId));
    let scan = SpanScan { range, filter: pushdown(condition), fields };
    let mut newest: HashMap<TraceId, i64> = HashMap::new();
    let mut floor = i64::MIN;
    store.scan(&scan, ctx, &mut |block| {
        for row in block.rows() {
            let start = block.start(*row);
            if start < floor || !all && !compiled.matches(&ScannedSpan { slots: &slots.0, block, row: *row }) {
                continue;
            }
            let latest = newest.entry(block.trace_id(*row)).or_insert(start);
            *latest = (*latest).max(start);
        }
        if newest.len() >= limit * 2 || newest.len() >= limit && floor == i64::MIN {
            let mut starts: Vec<i64> = newest.values().copied().collect();
            let (_, last, _) = starts.select_nth_unstable_by(limit - 1, |a, b| b.cmp(a));
            floor = *last;
            let floor = floor;
            newest.retain(|_, start| *start >= floor);
        }
        Ok(floor)
    })?;
    let mut newest: Vec<(TraceId, i64)> = newest.into_iter().collect();
    newest.sort_by_key(|(id, start)| (std::cmp::Reverse(*start), *id));
    newest.truncate(limit);
    Ok(newest.into_iter().map(|(id, _)| id).collect())
}

/// Whole traces, in as many reads as their size needs.
pub(super) fn whole_traces(store: &dyn TraceStore, ids: &[TraceId], ctx: &QueryContext) -> Result<HashMap<TraceId, Vec<SpanRow>>, QueryError> {
    let spans = match store.traces(&ids.iter().copied().collect(), ctx) {
        Err(QueryError::Limit { limit: "rows_max", .. }) if ids.len() > 1 => {
            let (first, second) = ids.split_at(ids.len() / 2);
            let mut out = whole_traces(store, first, ctx)?;
            out.extend(whole_traces(store, second, ctx)?);
            return Ok(out);
        }
        spans => spans?,
    };
    let mut out: HashMap<TraceId, Vec<SpanRow>> = HashMap::new();
    for span in spans {
        out.entry(span.trace_id).or_default().push(span);
    }
    Ok(out)
}

fn found_trace(trace_id: TraceId, trace: &Trace<'_>, sets: Vec<Spanset>, pipeline: &Pipeline, spans_max: usize) -> FoundTrace {
    let root = trace.root.map(|root| &trace.spans[root]);
    let mut services: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for span in trace.spans {
        let (count, errors) = services.entry(span.service_name.clone()).or_default();
        *count += 1;
        *errors += u64::from(span.status_code == StatusCode::Error);
    }
    FoundTrace {
        trace_id,
        root_service: root.map_or_else(String::new, |r| r.service_name.clone()),
        root_name: root.map_or_else(String::new, |r| r.name.clone()),
        start: trace.start,
        duration: trace.duration(),
        services,
        spansets: sets.into_iter().map(|set| found_spanset(set, trace, &pipeline.shown, spans_max)).collect(),
    }
}

fn found_spanset(mut set: Spanset, trace: &Trace<'_>, shown: &[Field], spans_max: usize) -> FoundSpanset {
    let matched = set.spans.len();
    set.spans.sort_by_key(|at| (trace.spans[*at as usize].start, trace.spans[*at as usize].span_id));
    let spans = set.spans.iter().take(spans_max).map(|at| {
        let span = &trace.spans[*at as usize];
        let attributes = shown.iter().filter_map(|field| {
            let value = field_value(field, span, Some((trace, *at as usize)));
            (value != Value::Nil && !matches!(field, Field::Intrinsic(Intrinsic::Name | Intrinsic::Duration)))
                .then(|| (short_name(field), value.into_owned()))
        });
        FoundSpan { span_id: span.span_id, name: span.name.clone(), start: span.start, duration: span.duration, attributes: attributes.collect() }
    });
    FoundSpanset { spans: spans.collect(), matched, attributes: set.attributes }
}

/// A field's name as span attributes carry it: without its scope.
fn short_name(field: &Field) -> String {
    match field {
        Field::Attribute { name, .. } => name.clone(),
        Field::Intrinsic(intrinsic) => intrinsic.name().to_owned(),
    }
}

/// Values of a field over the spans that fulfil a condition, the most frequent first, at most `limit`. Parts of the
/// condition and fields that columns do not answer: the field gives nothing, the part is left out.
///
/// # Errors
/// The store's, time-out, cancellation.
pub fn values(
    store: &dyn TraceStore,
    field: &Field,
    stages: &[Stage],
    range: TimeRange,
    limit: usize,
    ctx: &QueryContext,
) -> Result<Vec<(Value<'static>, u64)>, QueryError> {
    let condition = candidates(stages);
    let mut slots = Slots::default();
    let wanted = slots.of(Slot::Field(field.clone()));
    let compiled = slots.compile(&condition);
    let fields: Option<Vec<ScanField>> = slots.0.iter().map(scan_field).collect();
    let mut counts: HashMap<String, (Value<'static>, u64)> = HashMap::new();
    let mut key = String::new();
    let mut add = |value: Value<'_>| {
        let many = match value {
            Value::Many(many) => many,
            one => vec![one],
        };
        for value in many.into_iter().filter(|v| *v != Value::Nil) {
            key.clear();
            // Writing to a string cannot fail.
            let _ = match &value {
                Value::Text(text) => write!(key, "t{text}"),
                other => write!(key, "{other:?}"),
            };
            if let Some((_, count)) = counts.get_mut(&key) {
                *count += 1;
            } else if counts.len() < VALUES_MAX {
                counts.insert(key.clone(), (value.into_owned(), 1));
            }
        }
    };
    match fields {
        Some(fields) => {
            let scan = SpanScan { range, filter: pushdown(&condition), fields };
            store.scan(&scan, ctx, &mut |block| {
                for row in block.rows() {
                    let span = ScannedSpan { slots: &slots.0, block, row: *row };
                    if compiled.matches(&span) {
                        add(super::eval::SpanView::value(&span, wanted));
                    }
                }
                Ok(i64::MIN)
            })?;
        }
        None => {
            let mut left = VALUE_SPANS_MAX;
            store.rows(range, &pushdown(&condition), ctx, &mut |spans| {
                for span in &spans {
                    let view = super::eval::WholeSpan { slots: &slots.0, span, trace: None };
                    if compiled.matches(&view) {
                        add(field_value(field, span, None));
                    }
                }
                left = left.saturating_sub(spans.len());
                Ok(left > 0)
            })?;
        }
    }
    let mut values: Vec<(Value<'static>, u64)> = counts.into_values().collect();
    values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.to_text().cmp(&b.0.to_text())));
    values.truncate(limit);
    Ok(values)
}

/// Most distinct values counted at once; those that come later are not listed.
pub const VALUES_MAX: usize = 10_000;
/// Most whole spans looked at for values that are in no column: those of events and links.
pub const VALUE_SPANS_MAX: usize = 100_000;
