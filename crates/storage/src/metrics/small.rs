//! The small tables beside the samples: series, exemplars, metadata and start timestamps, as Arrow batches in Parquet files.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int32Array, MapArray, RecordBatch, StringArray, StringBuilder, StructArray,
    TimestampMillisecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Int32Type, Schema, TimeUnit, TimestampMillisecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use skopos_model::labels::METRIC_NAME;
use skopos_model::{Exemplar, Labels, MetricKind, MetricMetadata, SeriesId, SpanId, TraceId};

use crate::blob::{BlobReader, Blobs};
use crate::error::StorageError;
use crate::table::{ColumnStats, FileMeta, NewFile};

use super::files::{Origin, arrow_error, nanos, series_stats, time_text, write_small};
use super::registry::Registry;

pub(super) mod exemplars;
pub(super) mod metadata;
pub(super) mod series;
pub(super) mod starts;

const WHAT: &str = "cannot encode a metrics table";

/// Rows of one Arrow batch while reading and writing.
const BATCH_ROWS: usize = 16_384;

pub(super) fn field(id: i32, name: &str, ty: DataType, nullable: bool) -> Field {
    let metadata = HashMap::from([("PARQUET:field_id".to_owned(), id.to_string())]);
    Field::new(name, ty, nullable).with_metadata(metadata)
}

/// Key and value of a map whose own column number is `id`.
fn entry_fields(id: i32) -> Fields {
    Fields::from(vec![field(id + 1, "key", DataType::Utf8, false), field(id + 2, "value", DataType::Utf8, true)])
}

fn map_field(id: i32, name: &str) -> Field {
    let entries = Field::new("key_value", DataType::Struct(entry_fields(id)), false);
    field(id, name, DataType::Map(Arc::new(entries), false), false)
}

/// Builds a map of text to text row by row.
#[derive(Debug, Default)]
pub(super) struct MapRows {
    keys: StringBuilder,
    values: StringBuilder,
    ends: Vec<usize>,
}

impl MapRows {
    /// Adds a row.
    pub(super) fn push<'a>(&mut self, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut count = 0;
        for (key, value) in pairs {
            self.keys.append_value(key);
            self.values.append_value(value);
            count += 1;
        }
        self.ends.push(count);
    }

    /// The rows as an array of the type of `field`.
    pub(super) fn finish(mut self, ty: &DataType) -> Result<MapArray, StorageError> {
        let DataType::Map(entries, sorted) = ty else {
            return Err(StorageError::Format { what: WHAT, reason: format!("{ty} is no map type") });
        };
        let DataType::Struct(fields) = entries.data_type() else {
            return Err(StorageError::Format { what: WHAT, reason: format!("{ty} has no pairs") });
        };
        let columns: Vec<ArrayRef> = vec![Arc::new(self.keys.finish()), Arc::new(self.values.finish())];
        let pairs = StructArray::try_new(fields.clone(), columns, None).map_err(arrow_error(WHAT))?;
        let offsets = OffsetBuffer::from_lengths(self.ends.iter().copied());
        MapArray::try_new(Arc::clone(entries), offsets, pairs, None, *sorted).map_err(arrow_error(WHAT))
    }
}

fn read_batches(meta: &FileMeta, blobs: &dyn Blobs) -> Result<Vec<RecordBatch>, StorageError> {
    let damaged = |reason: String| StorageError::Damaged { path: meta.file.path.clone(), reason };
    let reader = BlobReader(blobs.open(&meta.file.path)?);
    // A damaged page can make the library panic; that must not take the server along.
    let read = catch_unwind(AssertUnwindSafe(move || -> Result<Vec<RecordBatch>, String> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(reader).map_err(|e| e.to_string())?;
        let batches = builder.with_batch_size(BATCH_ROWS).build().map_err(|e| e.to_string())?;
        batches.collect::<Result<_, _>>().map_err(|e| e.to_string())
    }));
    match read {
        Ok(read) => read.map_err(damaged),
        Err(_) => Err(damaged("the Parquet reader panicked".to_owned())),
    }
}

/// Columns of a batch by name and type; a file that lacks one is damaged.
struct Columns<'a> {
    path: &'a str,
    batch: &'a RecordBatch,
}

impl<'a> Columns<'a> {
    fn get<T: 'a>(&self, name: &str, cast: impl Fn(&'a dyn Array) -> Option<&'a T>) -> Result<&'a T, StorageError> {
        let column = self.batch.column_by_name(name).and_then(|c| cast(c.as_ref()));
        column.ok_or_else(|| StorageError::Damaged { path: self.path.to_owned(), reason: format!("no column {name:?} of the expected type") })
    }

    fn series(&self) -> Result<&'a Int32Array, StorageError> {
        self.get("series_id", |c| c.as_primitive_opt::<Int32Type>())
    }

    fn text(&self, name: &str) -> Result<&'a StringArray, StorageError> {
        self.get(name, |c| c.as_string_opt::<i32>())
    }

    fn labels(&self) -> Result<&'a MapArray, StorageError> {
        self.get("labels", |c| c.as_map_opt())
    }
}

/// Pairs of one row of a map.
fn map_row(map: &MapArray, row: usize) -> Vec<(String, String)> {
    let pairs = map.value(row);
    let (Some(keys), Some(values)) = (pairs.column(0).as_string_opt::<i32>(), pairs.column(1).as_string_opt::<i32>()) else {
        return Vec::new();
    };
    let text = |a: &StringArray, i: usize| if a.is_null(i) { String::new() } else { a.value(i).to_owned() };
    (0..keys.len()).map(|i| (text(keys, i), text(values, i))).collect()
}

fn plain(column_id: i32, rows: usize, nulls: usize, size_bytes: u64) -> ColumnStats {
    let (value_count, null_count) = ((rows - nulls) as u64, nulls as u64);
    ColumnStats { column_id, size_bytes, value_count, null_count, ..ColumnStats::default() }
}

/// Files of series and metadata hold for all times: retention by time must not take them.
const ALWAYS: (i64, i64) = (0, i64::MAX);
