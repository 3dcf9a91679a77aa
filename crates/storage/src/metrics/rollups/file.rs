//! Reads rollup files.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{ArrowPrimitiveType, Float64Type, Int32Type, TimestampMillisecondType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};

use super::writer::COLUMNS;
use crate::blob::BlobReader;
use crate::error::StorageError;
use crate::metrics::MetricsTable;
use crate::metrics::reader::{Counted, footer, read_index};
use crate::metrics::run_index::{Run, RunIndex};
use crate::table::FileMeta;

/// Rows of an Arrow batch.
const BATCH_ROWS: usize = 8_192;

fn damaged(meta: &FileMeta, reason: impl Into<String>) -> StorageError {
    StorageError::Damaged { path: meta.file.path.clone(), reason: reason.into() }
}

/// An open rollup file.
pub(super) struct RollupFile {
    meta: Arc<FileMeta>,
    pub(super) index: Arc<RunIndex>,
    reader: BlobReader,
    metadata: ArrowReaderMetadata,
    bytes: Arc<AtomicU64>,
}

impl RollupFile {
    /// Opens a file; its footer and run index are kept for the next time.
    pub(super) fn open(table: &MetricsTable, meta: &Arc<FileMeta>) -> Result<Self, StorageError> {
        let bytes = Arc::new(AtomicU64::new(0));
        let blob = table.blobs.open(&meta.file.path)?;
        let reader = BlobReader(Arc::new(Counted { blob, bytes: Arc::clone(&bytes) }));
        let footer = footer(meta, &reader)?;
        if footer.file_metadata().schema_descr().num_columns() != COLUMNS.len() {
            return Err(damaged(meta, format!("not the {} columns of a rollup", COLUMNS.len())));
        }
        let known = table.indexes.lock().get(meta.id);
        let index = match known {
            Some(index) => index,
            None => {
                let index = Arc::new(read_index(meta, &footer, &reader, meta.file.rows)?);
                table.indexes.lock().put(meta.id, Arc::clone(&index));
                index
            }
        };
        let metadata = ArrowReaderMetadata::try_new(footer, ArrowReaderOptions::new()).map_err(|e| damaged(meta, e.to_string()))?;
        Ok(Self { meta: Arc::clone(meta), index, reader, metadata, bytes })
    }

    /// Bytes read since it was opened.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Reads runs, given by ascending positions in the index, and calls `each` with the rows of each, more than once where
    /// they are in several batches. Returns how many rows were read.
    pub(super) fn read(&self, runs: &[u32], names: &[&str], mut each: impl FnMut(&Run, &Columns<'_>, Range<usize>)) -> Result<u64, StorageError> {
        // A damaged page can make the library panic; that must not take the server along.
        match catch_unwind(AssertUnwindSafe(|| self.read_runs(runs, names, &mut each))) {
            Ok(read) => read.map_err(|reason| damaged(&self.meta, reason)),
            Err(_) => Err(damaged(&self.meta, "the Parquet reader panicked")),
        }
    }

    fn read_runs(&self, runs: &[u32], names: &[&str], each: &mut impl FnMut(&Run, &Columns<'_>, Range<usize>)) -> Result<u64, String> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(BlobReader(Arc::clone(&self.reader.0)), self.metadata.clone());
        let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
        let mut builder = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
        if runs.len() < self.index.runs.len() {
            builder = builder.with_row_selection(self.selection(runs));
        }
        let mut runs = runs.iter().map(|position| &self.index.runs[*position as usize]);
        let mut open: Option<(&Run, usize)> = None;
        let mut read = 0;
        for batch in builder.build().map_err(|e| e.to_string())? {
            let batch = batch.map_err(|e| e.to_string())?;
            let columns = Columns::of(&batch)?;
            let mut at = 0;
            while at < batch.num_rows() {
                let (run, left) = open.take().or_else(|| runs.next().map(|run| (run, run.count as usize))).ok_or("more rows than its index has")?;
                let to = batch.num_rows().min(at + left);
                each(run, &columns, at..to);
                open = (to - at < left).then_some((run, left - (to - at)));
                at = to;
            }
            read += batch.num_rows() as u64;
        }
        if open.is_some() || runs.next().is_some() {
            return Err("fewer rows than its index has".to_owned());
        }
        Ok(read)
    }

    fn selection(&self, runs: &[u32]) -> RowSelection {
        let mut selectors = Vec::with_capacity(runs.len() * 2 + 1);
        let mut at = 0;
        for run in runs.iter().map(|position| &self.index.runs[*position as usize]) {
            selectors.push(RowSelector::skip((run.row - at) as usize));
            selectors.push(RowSelector::select(run.count as usize));
            at = run.row + u64::from(run.count);
        }
        selectors.push(RowSelector::skip(self.meta.file.rows.saturating_sub(at) as usize));
        RowSelection::from(selectors)
    }
}

/// A column that may be empty.
#[derive(Debug, Default)]
pub(super) struct Sparse<'a, T> {
    values: &'a [T],
    nulls: Option<&'a NullBuffer>,
}

impl<T: Copy> Sparse<'_, T> {
    pub(super) fn get(&self, row: usize) -> Option<T> {
        self.nulls.is_none_or(|nulls| nulls.is_valid(row)).then(|| self.values[row])
    }
}

/// Columns of a batch; those that were not asked for have no rows.
#[derive(Debug, Default)]
pub(super) struct Columns<'a> {
    pub(super) time: &'a [i64],
    pub(super) count: &'a [i32],
    pub(super) nans: &'a [i32],
    pub(super) resets: &'a [i32],
    pub(super) changes: &'a [i32],
    pub(super) first_ms: &'a [i32],
    pub(super) first_value: &'a [f64],
    pub(super) last_ms: &'a [i32],
    pub(super) last_value: &'a [f64],
    pub(super) before_ms: Sparse<'a, i32>,
    pub(super) before_value: Sparse<'a, f64>,
    pub(super) stale_ms: Sparse<'a, i32>,
    pub(super) min_value: Sparse<'a, f64>,
    pub(super) max_value: Sparse<'a, f64>,
    pub(super) sum: &'a [f64],
    pub(super) compensation: Sparse<'a, f64>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, String> {
        fn primitive<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<Option<&'a PrimitiveArray<T>>, String> {
            let Some(column) = batch.column_by_name(name) else { return Ok(None) };
            column.as_primitive_opt::<T>().map(Some).ok_or_else(|| format!("column {name:?} is of type {}", column.data_type()))
        }
        fn dense<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a [T::Native], String> {
            Ok(primitive::<T>(batch, name)?.map_or(&[][..], |column| &column.values()[..]))
        }
        fn sparse<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<Sparse<'a, T::Native>, String> {
            Ok(primitive::<T>(batch, name)?.map_or(Sparse { values: &[], nulls: None }, |c| Sparse { values: &c.values()[..], nulls: c.nulls() }))
        }
        Ok(Self {
            time: dense::<TimestampMillisecondType>(batch, "time")?,
            count: dense::<Int32Type>(batch, "count")?,
            nans: dense::<Int32Type>(batch, "nans")?,
            resets: dense::<Int32Type>(batch, "resets")?,
            changes: dense::<Int32Type>(batch, "changes")?,
            first_ms: dense::<Int32Type>(batch, "first_ms")?,
            first_value: dense::<Float64Type>(batch, "first_value")?,
            last_ms: dense::<Int32Type>(batch, "last_ms")?,
            last_value: dense::<Float64Type>(batch, "last_value")?,
            before_ms: sparse::<Int32Type>(batch, "before_ms")?,
            before_value: sparse::<Float64Type>(batch, "before_value")?,
            stale_ms: sparse::<Int32Type>(batch, "stale_ms")?,
            min_value: sparse::<Float64Type>(batch, "min_value")?,
            max_value: sparse::<Float64Type>(batch, "max_value")?,
            sum: dense::<Float64Type>(batch, "sum")?,
            compensation: sparse::<Float64Type>(batch, "compensation")?,
        })
    }
}
