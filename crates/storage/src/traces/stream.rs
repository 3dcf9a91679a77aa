//! Spans that match, block by block, the newest first.

use std::sync::Arc;

use skopos_model::{SpanBatch, TraceId};
use skopos_query::filter::{Field, FieldValue, Filter};
use skopos_query::traces::{ScanField, SpanBlock, SpanRow, SpanScan};
use skopos_query::{QueryContext, QueryError, TimeRange};

use super::access::{Access, Block, Ids};
use super::columns::START;
use super::filter::SpanFilter;
use super::read::{OpenFiles, columns_of, read_group};
use super::rows::{file_rows, head_row};
use crate::error::StorageError;
use crate::head::Snapshot;
use crate::table::FileMeta;

/// Rows of one block and the ways to their fields.
struct Columns<'a> {
    rows: Vec<u32>,
    starts: &'a [i64],
    traces: Option<Ids<'a>>,
    fields: Vec<Access<'a>>,
}

impl<'a> Columns<'a> {
    fn new(block: Block<'a>, rows: Vec<u32>, fields: &[ScanField]) -> Self {
        let with_trace = fields.contains(&ScanField::Field(Field::TraceId));
        let access = |field: &ScanField| match field {
            ScanField::Field(field) => Access::new(block, field),
            ScanField::Span(key) => Access::scoped(block, key, true, false),
            ScanField::Resource(key) => Access::scoped(block, key, false, true),
        };
        Self { rows, starts: block.starts(), traces: with_trace.then(|| block.trace_ids()), fields: fields.iter().map(access).collect() }
    }
}

impl SpanBlock for Columns<'_> {
    fn rows(&self) -> &[u32] {
        &self.rows
    }

    fn start(&self, row: u32) -> i64 {
        self.starts[row as usize]
    }

    fn trace_id(&self, row: u32) -> TraceId {
        self.traces.as_ref().map_or(TraceId([0; 16]), |ids| ids.trace(row as usize))
    }

    fn get(&self, field: usize, row: u32) -> Option<FieldValue<'_>> {
        self.fields[field].get(row as usize)
    }
}

/// Rows of a head batch that a filter takes.
fn taken(filter: &SpanFilter, batch: &SpanBatch) -> Vec<u32> {
    let all = 0..u32::try_from(batch.len()).unwrap_or(u32::MAX);
    match filter.select(Block::Head(batch)) {
        Some(taken) => all.filter(|row| taken[*row as usize]).collect(),
        None => all.collect(),
    }
}

/// Files that overlap a range, those with the latest spans first.
fn newest_first<'s>(snapshot: &'s Snapshot<SpanBatch>, range: TimeRange, ctx: &QueryContext) -> Vec<&'s Arc<FileMeta>> {
    let mut files: Vec<_> = snapshot.files.iter().filter(|meta| range.overlaps(meta.file.time_min, meta.file.time_max)).collect();
    ctx.stats.add_files(0, (snapshot.files.len() - files.len()) as u64);
    files.sort_by_key(|meta| std::cmp::Reverse(meta.file.time_max));
    files
}

/// See [`skopos_query::traces::TraceStore::scan`].
pub(super) fn scan(
    snapshot: &Snapshot<SpanBatch>,
    files: &OpenFiles,
    scan: &SpanScan,
    ctx: &QueryContext,
    emit: &mut dyn FnMut(&dyn SpanBlock) -> Result<i64, QueryError>,
) -> Result<(), StorageError> {
    if scan.range.start >= scan.range.end {
        return Ok(());
    }
    let filter = Arc::new(SpanFilter::new(&scan.filter, scan.range)?);
    let mut floor = i64::MIN;
    for batch in &snapshot.batches {
        ctx.check()?;
        ctx.stats.add_rows(batch.rows as u64);
        let rows = taken(&filter, &batch.batch);
        if !rows.is_empty() {
            floor = emit(&Columns::new(Block::Head(&batch.batch), rows, &scan.fields))?;
        }
    }
    let read: Vec<Field> = scan
        .fields
        .iter()
        .map(|field| match field {
            ScanField::Field(field) => field.clone(),
            ScanField::Span(key) | ScanField::Resource(key) => Field::Attribute(key.clone()),
        })
        .collect();
    for meta in newest_first(snapshot, scan.range, ctx) {
        ctx.check()?;
        if meta.file.time_max < floor {
            ctx.stats.add_files(0, 1);
            continue;
        }
        let Some(file) = files.get(meta) else { continue };
        ctx.stats.add_files(1, 0);
        files.guard(&file, || {
            let mut output = columns_of(&file, &read, false);
            output.push(START.to_owned());
            let mut groups: Vec<(usize, i64)> = (0..file.groups()).map(|group| (group, file.starts(group).1)).collect();
            groups.sort_by_key(|(_, last)| std::cmp::Reverse(*last));
            for (group, last) in groups {
                if last < floor {
                    break;
                }
                read_group(&file, group, &filter, &output, ctx, &mut |batch| {
                    let rows = (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).collect();
                    floor = emit(&Columns::new(Block::File(batch), rows, &scan.fields))?;
                    Ok(true)
                })?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// See [`skopos_query::traces::TraceStore::rows`].
pub(super) fn rows(
    snapshot: &Snapshot<SpanBatch>,
    files: &OpenFiles,
    range: TimeRange,
    filter: &Filter,
    ctx: &QueryContext,
    emit: &mut dyn FnMut(Vec<SpanRow>) -> Result<bool, QueryError>,
) -> Result<(), StorageError> {
    if range.start >= range.end {
        return Ok(());
    }
    let filter = Arc::new(SpanFilter::new(filter, range)?);
    for batch in snapshot.batches.iter().rev() {
        ctx.check()?;
        ctx.stats.add_rows(batch.rows as u64);
        let spans: Vec<SpanRow> = taken(&filter, &batch.batch).into_iter().map(|row| head_row(&batch.batch, row as usize)).collect();
        if !spans.is_empty() && !emit(spans)? {
            return Ok(());
        }
    }
    for meta in newest_first(snapshot, range, ctx) {
        ctx.check()?;
        let Some(file) = files.get(meta) else { continue };
        ctx.stats.add_files(1, 0);
        let more = files.guard(&file, || {
            let output: Vec<String> = file.schema().fields().iter().map(|field| field.name().clone()).collect();
            for group in 0..file.groups() {
                if !read_group(&file, group, &filter, &output, ctx, &mut |batch| Ok(emit(file_rows(batch))?))? {
                    return Ok(Some(false));
                }
            }
            Ok(None)
        })?;
        if more == Some(false) {
            return Ok(());
        }
    }
    Ok(())
}
