//! Traces by id and by what their spans are like.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use parquet::arrow::arrow_reader::{ArrowPredicateFn, RowFilter, RowSelection};
use skopos_model::{SpanBatch, SpanId, StatusCode, TraceId};
use skopos_query::filter::Field;
use skopos_query::traces::{SpanRow, TraceSearch, TraceSummary};
use skopos_query::{QueryContext, QueryError};

use super::access::{Access, Block};
use super::columns::{START, TRACE_ID};
use super::file::union;
use super::filter::SpanFilter;
use super::read::{OpenFiles, columns_of, read_group, stream};
use super::rows::{file_rows, head_row};
use crate::error::StorageError;
use crate::head::Snapshot;

/// Spans of a trace named as matches of a search.
const MATCHED_SPANS_MAX: usize = 3;

/// Calls `emit` with the spans of the traces: rows of head batches, and batches of files with the given columns
/// (all of them when there are none).
fn fetch(
    snapshot: &Snapshot<SpanBatch>,
    files: &OpenFiles,
    ids: &HashSet<TraceId>,
    columns: Option<(&[Field], bool)>,
    ctx: &QueryContext,
    emit: &mut dyn FnMut(Block<'_>, &[u32]) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    // Files first: of a span that is in both, the one that came first counts.
    for meta in &snapshot.files {
        ctx.check()?;
        let Some(file) = files.get(meta) else { continue };
        let touched = files.guard(&file, || {
            let mut touched = false;
            for group in 0..file.groups() {
                let mut ranges = Vec::new();
                for id in ids {
                    if file.group_may_have(group, id)? {
                        ranges.extend(file.trace_pages(group, id));
                    }
                }
                if ranges.is_empty() {
                    continue;
                }
                touched = true;
                let selection = RowSelection::from_consecutive_ranges(union(ranges).into_iter(), file.rows(group));
                let wanted = ids.clone();
                let predicate = ArrowPredicateFn::new(file.mask(&[TRACE_ID.to_owned()]), move |batch: RecordBatch| {
                    let found = Block::File(&batch).trace_ids();
                    let taken: Vec<bool> = match wanted.iter().next() {
                        Some(one) if wanted.len() == 1 => (0..batch.num_rows()).map(|row| found.bytes(row) == one.0).collect(),
                        _ => (0..batch.num_rows()).map(|row| wanted.contains(&found.trace(row))).collect(),
                    };
                    Ok(BooleanArray::from(taken))
                });
                let output = match columns {
                    Some((fields, text)) => {
                        let mut names = columns_of(&file, fields, text);
                        names.push(START.to_owned());
                        names
                    }
                    None => file.schema().fields().iter().map(|f| f.name().clone()).collect(),
                };
                let filter = RowFilter::new(vec![Box::new(predicate)]);
                stream(&file, group, Some(selection), &output, Some(filter), ctx, &mut |batch| {
                    let rows: Vec<u32> = (0..batch.num_rows() as u32).collect();
                    emit(Block::File(batch), &rows)?;
                    Ok(true)
                })?;
            }
            Ok(touched)
        })?;
        ctx.stats.add_files(u64::from(touched), u64::from(!touched));
    }
    for batch in &snapshot.batches {
        ctx.check()?;
        let spans = &batch.batch;
        let rows: Vec<u32> = match ids.iter().next() {
            Some(one) if ids.len() == 1 => (0..spans.len()).filter(|row| spans.trace_id[*row] == *one).map(|r| r as u32).collect(),
            _ => (0..spans.len()).filter(|row| ids.contains(&spans.trace_id[*row])).map(|r| r as u32).collect(),
        };
        ctx.stats.add_rows(rows.len() as u64);
        if !rows.is_empty() {
            emit(Block::Head(spans), &rows)?;
        }
    }
    Ok(())
}

/// All spans of a trace, by start.
pub(super) fn trace(snapshot: &Snapshot<SpanBatch>, files: &OpenFiles, id: TraceId, ctx: &QueryContext) -> Result<Vec<SpanRow>, StorageError> {
    let mut spans: Vec<SpanRow> = Vec::new();
    let mut seen: HashSet<SpanId> = HashSet::new();
    fetch(snapshot, files, &HashSet::from([id]), None, ctx, &mut |block, rows| {
        let found = match block {
            Block::Head(batch) => rows.iter().map(|row| head_row(batch, *row as usize)).collect(),
            Block::File(batch) => file_rows(batch),
        };
        spans.extend(found.into_iter().filter(|span| seen.insert(span.span_id)));
        if spans.len() as u64 > ctx.limits.rows_max {
            let message = format!("trace {id} has more than {} spans", ctx.limits.rows_max);
            return Err(QueryError::Limit { limit: "rows_max", message }.into());
        }
        Ok(())
    })?;
    spans.sort_by_key(|s| (s.start, s.span_id));
    Ok(spans)
}

/// All spans of several traces, each once.
pub(super) fn traces(
    snapshot: &Snapshot<SpanBatch>,
    files: &OpenFiles,
    ids: &HashSet<TraceId>,
    ctx: &QueryContext,
) -> Result<Vec<SpanRow>, StorageError> {
    let mut spans: Vec<SpanRow> = Vec::new();
    let mut seen: HashSet<(TraceId, SpanId)> = HashSet::new();
    if ids.is_empty() {
        return Ok(spans);
    }
    fetch(snapshot, files, ids, None, ctx, &mut |block, rows| {
        let found = match block {
            Block::Head(batch) => rows.iter().map(|row| head_row(batch, *row as usize)).collect(),
            Block::File(batch) => file_rows(batch),
        };
        spans.extend(found.into_iter().filter(|span| seen.insert((span.trace_id, span.span_id))));
        if spans.len() as u64 > ctx.limits.rows_max {
            let message = format!("{} traces have more than {} spans", ids.len(), ctx.limits.rows_max);
            return Err(QueryError::Limit { limit: "rows_max", message }.into());
        }
        Ok(())
    })?;
    Ok(spans)
}

/// The traces with the newest matching spans found so far.
struct Newest {
    limit: usize,
    found: HashMap<TraceId, i64>,
    /// A trace whose newest match is older than this cannot get in any more.
    floor: i64,
}

impl Newest {
    fn add(&mut self, id: TraceId, start: i64) {
        if start >= self.floor {
            let newest = self.found.entry(id).or_insert(start);
            *newest = (*newest).max(start);
        }
    }

    /// Drops what cannot be among the newest any more.
    fn settle(&mut self) {
        if self.found.len() >= self.limit {
            let mut starts: Vec<i64> = self.found.values().copied().collect();
            let (_, last, _) = starts.select_nth_unstable_by(self.limit - 1, |a, b| b.cmp(a));
            self.floor = *last;
            let floor = self.floor;
            self.found.retain(|_, start| *start >= floor);
        }
    }

    fn add_block(&mut self, block: Block<'_>, taken: Option<&[bool]>) {
        let (ids, starts) = (block.trace_ids(), block.starts());
        for (row, start) in starts.iter().enumerate().filter(|(row, _)| taken.is_none_or(|t| t[*row])) {
            if *start >= self.floor {
                self.add(ids.trace(row), *start);
            }
        }
        self.settle();
    }
}

/// Which traces a search finds: those with the newest matching spans.
fn find(
    snapshot: &Snapshot<SpanBatch>,
    files: &OpenFiles,
    filter: &Arc<SpanFilter>,
    limit: usize,
    ctx: &QueryContext,
) -> Result<HashSet<TraceId>, StorageError> {
    let mut newest = Newest { limit, found: HashMap::new(), floor: i64::MIN };
    for batch in &snapshot.batches {
        ctx.check()?;
        ctx.stats.add_rows(batch.rows as u64);
        newest.add_block(Block::Head(&batch.batch), filter.select(Block::Head(&batch.batch)).as_deref());
    }
    let mut by_end: Vec<_> = snapshot.files.iter().collect();
    by_end.sort_by_key(|f| std::cmp::Reverse(f.file.time_max));
    let output = [TRACE_ID.to_owned(), START.to_owned()];
    for meta in by_end {
        ctx.check()?;
        let (first, last) = (meta.file.time_min, meta.file.time_max);
        if !filter.range.overlaps(first, last) || last < newest.floor {
            ctx.stats.add_files(0, 1);
            continue;
        }
        let Some(file) = files.get(meta) else { continue };
        ctx.stats.add_files(1, 0);
        files.guard(&file, || {
            let mut groups: Vec<(usize, i64)> = (0..file.groups()).map(|g| (g, file.starts(g).1)).collect();
            groups.sort_by_key(|(_, last)| std::cmp::Reverse(*last));
            for (group, last) in groups {
                if last < newest.floor {
                    break;
                }
                read_group(&file, group, filter, &output, ctx, &mut |batch| {
                    newest.add_block(Block::File(batch), None);
                    Ok(true)
                })?;
            }
            Ok(())
        })?;
    }
    let mut found: Vec<(TraceId, i64)> = newest.found.into_iter().collect();
    found.sort_by_key(|(id, start)| (std::cmp::Reverse(*start), *id));
    found.truncate(limit);
    Ok(found.into_iter().map(|(id, _)| id).collect())
}

#[derive(Default)]
struct Summing {
    seen: HashSet<SpanId>,
    start: i64,
    end: i64,
    errors: u64,
    services: BTreeMap<String, u64>,
    /// Start, service and name of the earliest span without a parent.
    root: Option<(i64, String, String)>,
    matched: Vec<(i64, SpanId)>,
}

impl Summing {
    fn done(mut self, trace_id: TraceId) -> TraceSummary {
        self.matched.sort_unstable();
        let (_, root_service, root_name) = self.root.unwrap_or_default();
        TraceSummary {
            trace_id,
            root_service,
            root_name,
            start: self.start,
            duration: self.end - self.start,
            spans: self.seen.len() as u64,
            errors: self.errors,
            services: self.services,
            matched: self.matched.len() as u64,
            matched_spans: self.matched.iter().take(MATCHED_SPANS_MAX).map(|(_, id)| *id).collect(),
        }
    }
}

/// Traces with a matching span: those whose newest match is newest, in the order of their starts, newest first.
pub(super) fn search(
    snapshot: &Snapshot<SpanBatch>,
    files: &OpenFiles,
    search: &TraceSearch,
    ctx: &QueryContext,
) -> Result<Vec<TraceSummary>, StorageError> {
    let limit = search.limit.min(usize::try_from(ctx.limits.rows_max).unwrap_or(usize::MAX));
    if limit == 0 || search.range.start >= search.range.end {
        return Ok(Vec::new());
    }
    let filter = Arc::new(SpanFilter::new(&search.filter, search.range)?);
    let ids = find(snapshot, files, &filter, limit, ctx)?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let (mut fields, text) = filter.needs();
    for field in [Field::TraceId, Field::SpanId, Field::Root, Field::Service, Field::Name, Field::Duration, Field::Status] {
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    let mut traces: HashMap<TraceId, Summing> = HashMap::new();
    fetch(snapshot, files, &ids, Some((&fields, text)), ctx, &mut |block, rows| {
        let taken = filter.select(block);
        let (trace_ids, span_ids, parents) = (block.trace_ids(), block.span_ids(), block.parents());
        let (starts, durations, statuses) = (block.starts(), block.durations(), block.statuses());
        let (service, name) = (Access::new(block, &Field::Service), Access::new(block, &Field::Name));
        let text = |access: &Access<'_>, row: usize| access.get(row).map_or_else(String::new, |v| v.to_text().into_owned());
        for row in rows.iter().map(|row| *row as usize) {
            let (start, id) = (starts[row], span_ids.span(row));
            let end = start.saturating_add(durations[row]);
            let trace = traces.entry(trace_ids.trace(row)).or_insert_with(|| Summing { start, end, ..Summing::default() });
            if !trace.seen.insert(id) {
                continue;
            }
            trace.start = trace.start.min(start);
            trace.end = trace.end.max(end);
            trace.errors += u64::from(statuses[row] == StatusCode::Error as u8);
            let service = text(&service, row);
            if parents.span(row).is_none() && trace.root.as_ref().is_none_or(|(known, ..)| start < *known) {
                trace.root = Some((start, service.clone(), text(&name, row)));
            }
            *trace.services.entry(service).or_default() += 1;
            if taken.as_ref().is_none_or(|t| t[row]) {
                trace.matched.push((start, id));
            }
        }
        Ok(())
    })?;
    let mut found: Vec<TraceSummary> = traces.into_iter().map(|(id, trace)| trace.done(id)).collect();
    found.sort_by_key(|t| (std::cmp::Reverse(t.start), t.trace_id));
    Ok(found)
}
