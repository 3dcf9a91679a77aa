//! The small tables beside the samples: series, exemplars and metadata, as Arrow batches in Parquet files.

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

const WHAT: &str = "cannot encode a metrics table";

/// Rows of one Arrow batch while reading and writing.
const BATCH_ROWS: usize = 16_384;

fn field(id: i32, name: &str, ty: DataType, nullable: bool) -> Field {
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

/// The series table: number, name, other labels.
pub(super) mod series {
    use super::*;

    /// The given series (ascending) as rows: all that the registry is needed for, so that nobody waits for it while
    /// a disk syncs.
    pub(in super::super) fn rows(registry: &Registry, ids: &[u32]) -> Result<Vec<RecordBatch>, StorageError> {
        let map = map_field(3, "labels");
        let schema =
            Arc::new(Schema::new(vec![field(1, "series_id", DataType::Int32, false), field(2, "metric_name", DataType::Utf8, false), map.clone()]));
        let mut batches = Vec::new();
        for part in ids.chunks(BATCH_ROWS) {
            let mut names = StringBuilder::new();
            let mut labels = MapRows::default();
            for id in part {
                names.append_value(registry.code_of(METRIC_NAME, *id).1);
                labels.push(registry.pairs(*id).filter(|(name, _)| *name != METRIC_NAME));
            }
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int32Array::from_iter_values(part.iter().map(|id| *id as i32))),
                Arc::new(names.finish()),
                Arc::new(labels.finish(map.data_type())?),
            ];
            batches.push(RecordBatch::try_new(Arc::clone(&schema), columns).map_err(arrow_error(WHAT))?);
        }
        Ok(batches)
    }

    /// Writes the rows of the given series as a file.
    pub(in super::super) fn write(blobs: &dyn Blobs, origin: Origin, ids: &[u32], batches: &[RecordBatch]) -> Result<NewFile, StorageError> {
        let (sink, sizes) = write_small(blobs, origin, batches)?;
        let rows = ids.len();
        let columns = vec![series_stats(1, ids.iter().map(|id| SeriesId(*id)), sizes[0]), plain(2, rows, 0, sizes[1]), plain(3, rows, 0, sizes[2])];
        let extra = serde_json::json!({ "series_max": ids.last() });
        sink.finish(rows as u64, ALWAYS, columns, extra)
    }

    /// Reads all series of a file.
    pub(in super::super) fn read(meta: &FileMeta, blobs: &dyn Blobs, mut each: impl FnMut(u32, Labels)) -> Result<(), StorageError> {
        for batch in read_batches(meta, blobs)? {
            let columns = Columns { path: &meta.file.path, batch: &batch };
            let (ids, names, labels) = (columns.series()?, columns.text("metric_name")?, columns.labels()?);
            for row in 0..batch.num_rows() {
                let Ok(id) = u32::try_from(ids.value(row)) else { continue };
                let mut pairs = map_row(labels, row);
                pairs.push((METRIC_NAME.to_owned(), names.value(row).to_owned()));
                each(id, Labels::new(pairs));
            }
        }
        Ok(())
    }
}

/// The exemplars table.
pub(super) mod exemplars {
    use super::*;

    /// Writes exemplars, which are in order of series and time, as a file.
    pub(in super::super) fn write(blobs: &dyn Blobs, origin: Origin, rows: &[(SeriesId, Exemplar)]) -> Result<NewFile, StorageError> {
        let map = map_field(6, "labels");
        let schema = Arc::new(Schema::new(vec![
            field(1, "series_id", DataType::Int32, false),
            field(2, "time", DataType::Timestamp(TimeUnit::Millisecond, None), false),
            field(3, "value", DataType::Float64, false),
            field(4, "trace_id", DataType::Binary, true),
            field(5, "span_id", DataType::Binary, true),
            map.clone(),
        ]));
        let mut batches = Vec::new();
        for part in rows.chunks(BATCH_ROWS) {
            let mut labels = MapRows::default();
            part.iter().for_each(|(_, e)| labels.push(e.labels.iter()));
            let trace = |e: &Exemplar| (!e.trace_id.is_none()).then_some(e.trace_id.0);
            let span = |e: &Exemplar| (!e.span_id.is_none()).then_some(e.span_id.0);
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int32Array::from_iter_values(part.iter().map(|(id, _)| id.0 as i32))),
                Arc::new(TimestampMillisecondArray::from_iter_values(part.iter().map(|(_, e)| e.timestamp))),
                Arc::new(Float64Array::from_iter_values(part.iter().map(|(_, e)| e.value))),
                Arc::new(BinaryArray::from_iter(part.iter().map(|(_, e)| trace(e)))),
                Arc::new(BinaryArray::from_iter(part.iter().map(|(_, e)| span(e)))),
                Arc::new(labels.finish(map.data_type())?),
            ];
            batches.push(RecordBatch::try_new(Arc::clone(&schema), columns).map_err(arrow_error(WHAT))?);
        }
        let (sink, sizes) = write_small(blobs, origin, &batches)?;
        let times = || rows.iter().map(|(_, e)| e.timestamp);
        let (min, max) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        let count = rows.len();
        let no_trace = rows.iter().filter(|(_, e)| e.trace_id.is_none()).count();
        let no_span = rows.iter().filter(|(_, e)| e.span_id.is_none()).count();
        let columns = vec![
            series_stats(1, rows.iter().map(|(id, _)| *id), sizes[0]),
            ColumnStats { min: time_text(min), max: time_text(max), ..plain(2, count, 0, sizes[1]) },
            ColumnStats { contains_nan: Some(rows.iter().any(|(_, e)| e.value.is_nan())), ..plain(3, count, 0, sizes[2]) },
            plain(4, count, no_trace, sizes[3]),
            plain(5, count, no_span, sizes[4]),
            plain(6, count, 0, sizes[5]),
        ];
        let extra = serde_json::json!({ "series_max": rows.iter().map(|(id, _)| id.0).max() });
        sink.finish(count as u64, (nanos(min), nanos(max)), columns, extra)
    }

    /// Reads all exemplars of a file.
    pub(in super::super) fn read(meta: &FileMeta, blobs: &dyn Blobs) -> Result<Vec<(SeriesId, Exemplar)>, StorageError> {
        let mut out = Vec::with_capacity(meta.file.rows as usize);
        for batch in read_batches(meta, blobs)? {
            let columns = Columns { path: &meta.file.path, batch: &batch };
            let (ids, labels) = (columns.series()?, columns.labels()?);
            let times = columns.get("time", |c| c.as_primitive_opt::<TimestampMillisecondType>())?;
            let values = columns.get("value", |c| c.as_primitive_opt::<Float64Type>())?;
            let traces = columns.get("trace_id", |c| c.as_binary_opt::<i32>())?;
            let spans = columns.get("span_id", |c| c.as_binary_opt::<i32>())?;
            for row in 0..batch.num_rows() {
                let Ok(id) = u32::try_from(ids.value(row)) else { continue };
                let id_bytes = |a: &'_ BinaryArray| if a.is_null(row) { Vec::new() } else { a.value(row).to_vec() };
                out.push((
                    SeriesId(id),
                    Exemplar {
                        timestamp: times.value(row),
                        value: values.value(row),
                        trace_id: TraceId::from_bytes(&id_bytes(traces)).unwrap_or(TraceId::NONE),
                        span_id: SpanId::from_bytes(&id_bytes(spans)).unwrap_or(SpanId::NONE),
                        labels: Labels::new(map_row(labels, row)),
                    },
                ));
            }
        }
        Ok(out)
    }
}

/// The metadata table: the newest row of a family holds.
pub(super) mod metadata {
    use super::*;

    /// Kinds and their names.
    const KINDS: [(MetricKind, &str); 8] = [
        (MetricKind::Unknown, "unknown"),
        (MetricKind::Counter, "counter"),
        (MetricKind::Gauge, "gauge"),
        (MetricKind::Histogram, "histogram"),
        (MetricKind::GaugeHistogram, "gaugehistogram"),
        (MetricKind::Summary, "summary"),
        (MetricKind::Info, "info"),
        (MetricKind::StateSet, "stateset"),
    ];

    fn kind_name(kind: MetricKind) -> &'static str {
        KINDS.iter().find(|(k, _)| *k == kind).map_or("unknown", |(_, name)| name)
    }

    fn kind_of(name: &str) -> MetricKind {
        KINDS.iter().find(|(_, n)| *n == name).map_or(MetricKind::Unknown, |(kind, _)| *kind)
    }

    /// Writes metadata as a file.
    pub(in super::super) fn write(blobs: &dyn Blobs, origin: Origin, rows: &[MetricMetadata]) -> Result<NewFile, StorageError> {
        let schema = Arc::new(Schema::new(vec![
            field(1, "family", DataType::Utf8, false),
            field(2, "kind", DataType::Utf8, false),
            field(3, "help", DataType::Utf8, false),
            field(4, "unit", DataType::Utf8, false),
        ]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|m| &m.family))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|m| kind_name(m.kind)))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|m| &m.help))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|m| &m.unit))),
        ];
        let batch = RecordBatch::try_new(schema, columns).map_err(arrow_error(WHAT))?;
        let (sink, sizes) = write_small(blobs, origin, &[batch])?;
        let columns = (1..).zip(&sizes).map(|(id, size)| plain(id, rows.len(), 0, *size)).collect();
        sink.finish(rows.len() as u64, ALWAYS, columns, serde_json::Value::Null)
    }

    /// Reads all metadata of a file.
    pub(in super::super) fn read(meta: &FileMeta, blobs: &dyn Blobs) -> Result<Vec<MetricMetadata>, StorageError> {
        let mut out = Vec::new();
        for batch in read_batches(meta, blobs)? {
            let columns = Columns { path: &meta.file.path, batch: &batch };
            let (family, kind) = (columns.text("family")?, columns.text("kind")?);
            let (help, unit) = (columns.text("help")?, columns.text("unit")?);
            out.extend((0..batch.num_rows()).map(|row| MetricMetadata {
                family: family.value(row).into(),
                kind: kind_of(kind.value(row)),
                help: help.value(row).into(),
                unit: unit.value(row).into(),
            }));
        }
        Ok(out)
    }
}
