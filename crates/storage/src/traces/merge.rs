//! Several files as fewer and larger ones: which, and how, in bounded memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{cast, interleave};
use arrow::datatypes::{DataType, SchemaRef};

use super::access::Block;
use super::columns::arrow_schema;
use super::encode::is_dictionary;
use super::file::SpanFile;
use super::order::{self, GROUP_ROWS, Key, Trace};
use super::write::{Origin, SpanWriter, format_error};
use crate::blob::Blobs;
use crate::error::StorageError;
use crate::table::{Column, FileMeta, NewFile, Schema};

/// Files are merged with others of the same span of time, aligned to it: nanoseconds of six hours.
const WINDOW: i64 = 6 * 3_600 * 1_000_000_000;
/// Flushed files of a window are merged when there are so many, for each costs a look-up a probe …
const FLUSHED_MAX: usize = 16;
/// … or when the window ended this long ago, nanoseconds.
const SETTLED: i64 = 600 * 1_000_000_000;
/// A file of this many rows is large enough to stay as it is.
const LARGE_ROWS: u64 = 2_000_000;
/// A merged file is ended at this many rows.
const FILE_ROWS_MAX: u64 = 4 * 1_048_576;
/// Most rows in memory during a merge: besides the group being written, those of traces not known to be complete.
const POOL_ROWS_MAX: usize = 4 * GROUP_ROWS;

/// Files that should become fewer; those that were set aside stay as they are.
pub(super) fn plan(files: &[Arc<FileMeta>], now: i64, full: bool) -> Option<Vec<Arc<FileMeta>>> {
    let mut windows: BTreeMap<i64, Vec<Arc<FileMeta>>> = BTreeMap::new();
    for file in files.iter().filter(|f| f.file.rows < LARGE_ROWS && !f.is_damaged()) {
        windows.entry(file.file.time_min.div_euclid(WINDOW)).or_default().push(Arc::clone(file));
    }
    windows.into_iter().find_map(|(window, small)| {
        let ended = (window + 1).saturating_mul(WINDOW).saturating_add(SETTLED) < now;
        if full || ended {
            return (small.len() > 1).then_some(small);
        }
        let flushed: Vec<_> = small.into_iter().filter(|f| f.file.level == 0).collect();
        let rows: u64 = flushed.iter().map(|f| f.file.rows).sum();
        (flushed.len() >= FLUSHED_MAX || flushed.len() > 1 && rows >= LARGE_ROWS).then_some(flushed)
    })
}

/// Rows read and not written yet.
#[derive(Default)]
struct Pool {
    batches: Vec<Option<RecordBatch>>,
    /// Rows of each batch that are not written yet.
    live: Vec<usize>,
    keys: Vec<Key>,
}

impl Pool {
    fn add(&mut self, batch: RecordBatch, cutoff: i64) {
        let at = self.batches.len() as u32;
        let before = self.keys.len();
        {
            let block = Block::File(&batch);
            let (traces, spans, starts) = (block.trace_ids(), block.span_ids(), block.starts());
            self.keys.extend((0..batch.num_rows()).filter(|row| starts[*row] >= cutoff).map(|row| Key {
                trace: u128::from_be_bytes(traces.trace(row).0),
                start: starts[row],
                span: u64::from_be_bytes(spans.span(row).0),
                batch: at,
                row: row as u32,
            }));
        }
        self.live.push(self.keys.len() - before);
        self.batches.push(Some(batch));
    }

    /// The rows as one batch, in this order.
    fn take(&self, rows: &[Key], schema: &SchemaRef) -> Result<RecordBatch, StorageError> {
        // Only batches in use take part, so renumber them.
        let mut used: Vec<usize> = rows.iter().map(|k| k.batch as usize).collect();
        used.sort_unstable();
        used.dedup();
        let batches: Vec<&RecordBatch> = used.iter().filter_map(|at| self.batches[*at].as_ref()).collect();
        let mut number = vec![0; self.batches.len()];
        for (nth, at) in used.iter().enumerate() {
            number[*at] = nth;
        }
        let places: Vec<(usize, usize)> = rows.iter().map(|k| (number[k.batch as usize], k.row as usize)).collect();
        let columns: Result<Vec<ArrayRef>, _> = (0..schema.fields().len())
            .map(|column| {
                let arrays: Vec<_> = batches.iter().map(|b| &**b.column(column)).collect();
                interleave(&arrays, &places)
            })
            .collect();
        columns.and_then(|columns| RecordBatch::try_new(SchemaRef::clone(schema), columns)).map_err(format_error("cannot merge spans"))
    }

    /// Forgets the rows of these traces.
    fn drop_traces(&mut self, traces: &[Trace]) {
        let mut written = vec![false; self.keys.len()];
        for row in traces.iter().flat_map(|t| t.rows.clone()) {
            written[row] = true;
            let batch = self.keys[row].batch as usize;
            self.live[batch] -= 1;
        }
        let mut written = written.into_iter();
        self.keys.retain(|_| !written.next().unwrap_or(false));
        for (batch, live) in self.batches.iter_mut().zip(&self.live) {
            if *live == 0 {
                *batch = None;
            }
        }
    }
}

/// Columns of the merged files and their types.
fn target(inputs: &[Arc<SpanFile>], schema: &Schema) -> (Vec<Column>, SchemaRef) {
    let types = |name: &str| inputs.iter().filter_map(|f| Some(f.schema().field_with_name(name).ok()?.data_type().clone())).collect::<Vec<_>>();
    let columns: Vec<Column> = schema.columns().into_iter().filter(|c| c.attribute.is_none() || !types(&c.name).is_empty()).collect();
    let arrow = arrow_schema(&columns, |c| {
        is_dictionary(c) || {
            let found = types(&c.name);
            !found.is_empty() && found.iter().all(|t| matches!(t, DataType::Dictionary(..)))
        }
    });
    (columns, arrow)
}

/// A batch with the columns and types of the target.
fn adapt(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, StorageError> {
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
        Some(column) => cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    columns
        .collect::<Result<Vec<_>, _>>()
        .and_then(|columns| RecordBatch::try_new(SchemaRef::clone(schema), columns))
        .map_err(format_error("cannot merge spans"))
}

struct Output<'a> {
    blobs: &'a dyn Blobs,
    origin: Origin,
    columns: Vec<Column>,
    schema: SchemaRef,
    writer: Option<SpanWriter>,
    done: Vec<NewFile>,
}

impl Output<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), StorageError> {
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => SpanWriter::new(self.blobs, self.origin, self.columns.clone(), batch)?,
        };
        writer.write_group(batch)?;
        if writer.rows() >= FILE_ROWS_MAX {
            self.done.push(writer.finish(self.origin)?);
        } else {
            self.writer = Some(writer);
        }
        Ok(())
    }
}

/// Merges files. Rows of a trace come together, of spans stored twice one is kept, rows that started before
/// `cutoff` are left out.
pub(super) fn merge(inputs: &[Arc<SpanFile>], cutoff: i64, schema: &Schema, blobs: &dyn Blobs) -> Result<Vec<NewFile>, StorageError> {
    let (columns, arrow) = target(inputs, schema);
    let origin = Origin {
        seq_min: inputs.iter().map(|f| f.meta.file.seq_min).min().unwrap_or(0),
        seq_max: inputs.iter().map(|f| f.meta.file.seq_max).max().unwrap_or(0),
        level: inputs.iter().map(|f| f.meta.file.level).max().unwrap_or(0).saturating_add(1),
    };
    let mut output = Output { blobs, origin, columns, schema: arrow, writer: None, done: Vec::new() };
    let written = run(inputs, cutoff, &mut output).and_then(|()| match output.writer.take() {
        Some(writer) => writer.finish(origin).map(|file| output.done.push(file)),
        None => Ok(()),
    });
    if let Err(error) = written {
        for file in &output.done {
            // What is left behind is no part of the table; the reason of the failure matters more than this one.
            let _ = blobs.delete(&file.path);
        }
        return Err(error);
    }
    Ok(output.done)
}

fn run(inputs: &[Arc<SpanFile>], cutoff: i64, output: &mut Output<'_>) -> Result<(), StorageError> {
    let mut unread: Vec<(i64, usize, usize)> = inputs
        .iter()
        .enumerate()
        .flat_map(|(at, file)| (0..file.groups()).map(move |group| (file.starts(group).0, at, group)))
        .filter(|(_, at, group)| inputs[*at].starts(*group).1 >= cutoff)
        .collect();
    unread.sort_unstable();
    let mut unread = unread.into_iter().peekable();
    let mut pool = Pool::default();
    loop {
        if pool.keys.len() < GROUP_ROWS
            && let Some((_, at, group)) = unread.next()
        {
            load(&inputs[at], group, cutoff, &output.schema, &mut pool)?;
            continue;
        }
        if pool.keys.is_empty() {
            return Ok(());
        }
        // Repeated spans leave the keys here; their rows stay in the batches until these go.
        let before = pool.keys.len();
        let traces = order::traces(&mut pool.keys);
        if pool.keys.len() < before {
            recount(&mut pool);
        }
        // A trace that starts before all that is unread has no rows there (rows are in order of trace starts).
        let horizon = unread.peek().map(|(start, ..)| *start);
        let complete = horizon.map_or(traces.len(), |horizon| traces.partition_point(|t| t.start < horizon));
        let mut groups = order::cut(&traces[..complete]);
        if horizon.is_some() {
            // The last group is not full yet.
            groups.pop();
        }
        if groups.is_empty() {
            if pool.keys.len() < POOL_ROWS_MAX
                && let Some((_, at, group)) = unread.next()
            {
                load(&inputs[at], group, cutoff, &output.schema, &mut pool)?;
                continue;
            }
            // Very long traces, or spans of all times in every file: write the oldest, complete or not.
            groups = order::cut(&traces);
            groups.truncate(1);
        }
        let mut written = 0;
        for group in groups {
            let rows = order::group(&pool.keys, group);
            output.write(&pool.take(&rows, &output.schema)?)?;
            written += group.len();
        }
        pool.drop_traces(&traces[..written]);
    }
}

fn load(file: &SpanFile, group: usize, cutoff: i64, schema: &SchemaRef, pool: &mut Pool) -> Result<(), StorageError> {
    let all: Vec<String> = file.schema().fields().iter().map(|f| f.name().clone()).collect();
    for batch in file.read(group, None, file.mask(&all), None)? {
        pool.add(adapt(&file.batch(batch)?, schema)?, cutoff);
    }
    Ok(())
}

fn recount(pool: &mut Pool) {
    pool.live.fill(0);
    for key in &pool.keys {
        pool.live[key.batch as usize] += 1;
    }
}
