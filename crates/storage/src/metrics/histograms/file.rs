//! Files of histograms.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float64Builder, Int32Builder, ListArray, ListBuilder, PrimitiveArray, RecordBatch, StringBuilder, TimestampMillisecondBuilder,
};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Float64Type, Int32Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use skopos_model::{Buckets, CounterReset, NativeHistogram, SeriesId};

use super::HistogramHead;
use crate::blob::{BlobReader, Blobs};
use crate::error::StorageError;
use crate::metrics::files::{Origin, Sink, arrow_error, column_bytes, format_error, nanos, series_stats, time_text, zstd};
use crate::metrics::run_index::{Run, RunIndex};
use crate::metrics::small::field;
use crate::table::{ColumnStats, FileMeta, NewFile};

pub(super) const WHAT: &str = "cannot encode native histograms";
/// Rows of an Arrow batch while reading and writing.
const BATCH_ROWS: usize = 4_096;
/// Rows of a row group.
const GROUP_ROWS: usize = 65_536;
/// Rows of a page: what reading one series decodes at least.
const PAGE_ROWS: usize = 1_024;

/// Names of [`CounterReset`] in files.
const RESETS: [(CounterReset, &str); 4] =
    [(CounterReset::Unknown, "unknown"), (CounterReset::Reset, "reset"), (CounterReset::NotReset, "not_reset"), (CounterReset::Gauge, "gauge")];

fn reset_name(reset: CounterReset) -> &'static str {
    RESETS.iter().find(|(known, _)| *known == reset).map_or("unknown", |(_, name)| name)
}

fn reset_of(name: &str) -> CounterReset {
    RESETS.iter().find(|(_, known)| *known == name).map_or(CounterReset::Unknown, |(reset, _)| *reset)
}

fn element(id: i32, ty: DataType) -> Arc<Field> {
    Arc::new(field(id + 1, "element", ty, false))
}

fn list(id: i32, name: &str, ty: DataType) -> Field {
    field(id, name, DataType::List(element(id, ty)), false)
}

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        field(1, "series_id", DataType::Int32, false),
        field(2, "time", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        field(3, "schema", DataType::Int32, false),
        field(4, "counter_reset", DataType::Utf8, false),
        field(5, "zero_threshold", DataType::Float64, false),
        field(6, "zero_count", DataType::Float64, false),
        field(7, "count", DataType::Float64, false),
        field(8, "sum", DataType::Float64, false),
        list(9, "positive_indexes", DataType::Int32),
        list(11, "positive_counts", DataType::Float64),
        list(13, "negative_indexes", DataType::Int32),
        list(15, "negative_counts", DataType::Float64),
        list(17, "custom_bounds", DataType::Float64),
    ]))
}

/// Rows of a batch being filled.
pub(super) struct Builders {
    series: Int32Builder,
    times: TimestampMillisecondBuilder,
    schemas: Int32Builder,
    resets: StringBuilder,
    /// Zero threshold, zero count, count, sum.
    numbers: [Float64Builder; 4],
    /// Positive, negative.
    indexes: [ListBuilder<Int32Builder>; 2],
    /// Positive, negative, and the custom bounds.
    floats: [ListBuilder<Float64Builder>; 3],
}

impl Builders {
    pub(super) fn new() -> Self {
        Self {
            series: Int32Builder::new(),
            times: TimestampMillisecondBuilder::new(),
            schemas: Int32Builder::new(),
            resets: StringBuilder::new(),
            numbers: std::array::from_fn(|_| Float64Builder::new()),
            indexes: [9, 13].map(|id| ListBuilder::new(Int32Builder::new()).with_field(element(id, DataType::Int32))),
            floats: [11, 15, 17].map(|id| ListBuilder::new(Float64Builder::new()).with_field(element(id, DataType::Float64))),
        }
    }

    pub(super) fn push(&mut self, series: u32, time: i64, h: &NativeHistogram) {
        self.series.append_value(series as i32);
        self.times.append_value(time);
        self.schemas.append_value(i32::from(h.schema));
        self.resets.append_value(reset_name(h.counter_reset));
        for (builder, value) in self.numbers.iter_mut().zip([h.zero_threshold, h.zero_count, h.count, h.sum]) {
            builder.append_value(value);
        }
        for (builder, buckets) in self.indexes.iter_mut().zip([&h.positive, &h.negative]) {
            builder.values().append_slice(&buckets.indexes);
            builder.append(true);
        }
        for (builder, values) in self.floats.iter_mut().zip([&h.positive.counts, &h.negative.counts, &h.custom_bounds]) {
            builder.values().append_slice(values);
            builder.append(true);
        }
    }

    pub(super) fn finish(&mut self, schema: &SchemaRef) -> Result<RecordBatch, StorageError> {
        let [threshold, zero, count, sum] = &mut self.numbers;
        let [positive, negative] = &mut self.indexes;
        let [positive_counts, negative_counts, bounds] = &mut self.floats;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.series.finish()),
            Arc::new(self.times.finish()),
            Arc::new(self.schemas.finish()),
            Arc::new(self.resets.finish()),
            Arc::new(threshold.finish()),
            Arc::new(zero.finish()),
            Arc::new(count.finish()),
            Arc::new(sum.finish()),
            Arc::new(positive.finish()),
            Arc::new(positive_counts.finish()),
            Arc::new(negative.finish()),
            Arc::new(negative_counts.finish()),
            Arc::new(bounds.finish()),
        ];
        RecordBatch::try_new(SchemaRef::clone(schema), columns).map_err(arrow_error(WHAT))
    }
}

/// A file of histograms being written, row by row in order of series and time.
pub(super) struct HistogramsWriter {
    writer: ArrowWriter<Sink>,
    schema: SchemaRef,
    builders: Builders,
    waiting: usize,
    rows: u64,
    series: Vec<SeriesId>,
    times: (i64, i64),
}

impl HistogramsWriter {
    /// Starts a file.
    pub(super) fn create(blobs: &dyn Blobs, origin: Origin) -> Result<Self, StorageError> {
        let schema = schema();
        let properties = WriterProperties::builder()
            .set_compression(zstd(3))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_data_page_row_count_limit(PAGE_ROWS)
            .set_write_batch_size(PAGE_ROWS)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by("skopos".to_owned())
            .build();
        let sink = Sink::create(blobs, origin)?;
        let writer = ArrowWriter::try_new(sink, SchemaRef::clone(&schema), Some(properties)).map_err(format_error(WHAT))?;
        Ok(Self { writer, schema, builders: Builders::new(), waiting: 0, rows: 0, series: Vec::new(), times: (i64::MAX, i64::MIN) })
    }

    /// Adds a row.
    pub(super) fn push(&mut self, series: u32, time: i64, histogram: &NativeHistogram) -> Result<(), StorageError> {
        self.builders.push(series, time, histogram);
        self.rows += 1;
        self.waiting += 1;
        if self.series.last() != Some(&SeriesId(series)) {
            self.series.push(SeriesId(series));
        }
        self.times = (self.times.0.min(time), self.times.1.max(time));
        if self.waiting == BATCH_ROWS { self.write_batch() } else { Ok(()) }
    }

    fn write_batch(&mut self) -> Result<(), StorageError> {
        self.waiting = 0;
        let batch = self.builders.finish(&self.schema)?;
        self.writer.write(&batch).map_err(format_error(WHAT))
    }

    /// Ends the file and makes it durable; nothing when it has no rows.
    pub(super) fn finish(mut self) -> Result<Option<NewFile>, StorageError> {
        if self.rows == 0 {
            return Ok(None);
        }
        self.write_batch()?;
        self.writer.flush().map_err(format_error(WHAT))?;
        let groups = self.writer.flushed_row_groups();
        let sizes: Vec<u64> = (0..self.schema.fields().len()).map(|leaf| column_bytes(groups, leaf..leaf + 1)).collect();
        let mut columns: Vec<ColumnStats> = Vec::with_capacity(sizes.len());
        let mut id = 1;
        for (field, size_bytes) in self.schema.fields().iter().zip(&sizes) {
            // A list's statistics are those of its element.
            let is_list = matches!(field.data_type(), DataType::List(_));
            let contains_nan = matches!(field.data_type(), DataType::Float64).then_some(field.name() == "sum");
            columns.push(ColumnStats {
                column_id: id + i32::from(is_list),
                size_bytes: *size_bytes,
                value_count: self.rows,
                contains_nan,
                ..ColumnStats::default()
            });
            id += 1 + i32::from(is_list);
        }
        columns[0] = ColumnStats { value_count: self.rows, ..series_stats(1, self.series.iter().copied(), sizes[0]) };
        columns[1] = ColumnStats { min: time_text(self.times.0), max: time_text(self.times.1), ..columns[1].clone() };
        let series_max = self.series.iter().map(|id| id.0).max();
        let sink = self.writer.into_inner().map_err(format_error(WHAT))?;
        let extra = serde_json::json!({ "series_max": series_max });
        sink.finish(self.rows, (nanos(self.times.0), nanos(self.times.1)), columns, extra).map(Some)
    }
}

/// Writes what a head holds as a file.
pub(in crate::metrics) fn write(blobs: &dyn Blobs, origin: Origin, head: &HistogramHead) -> Result<Option<NewFile>, StorageError> {
    let mut writer = HistogramsWriter::create(blobs, origin)?;
    for (series, time, histogram) in head.sorted() {
        writer.push(series, time, &histogram)?;
    }
    writer.finish()
}

/// A file and where its series are.
pub(in crate::metrics) struct HistogramsFile {
    meta: Arc<FileMeta>,
    blob: BlobReader,
    pub(super) index: Arc<RunIndex>,
}

fn damaged(meta: &FileMeta, reason: impl Into<String>) -> StorageError {
    StorageError::Damaged { path: meta.file.path.clone(), reason: reason.into() }
}

/// Runs what may panic on a damaged page.
fn guarded<T>(meta: &FileMeta, read: impl FnOnce() -> Result<T, String>) -> Result<T, StorageError> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|reason| damaged(meta, reason)),
        Err(_) => Err(damaged(meta, "the Parquet reader panicked")),
    }
}

fn primitive<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<T>, String> {
    batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<T>()).ok_or_else(|| format!("no column {name:?} of the expected type"))
}

impl HistogramsFile {
    /// Opens a file; `index` when it was made before.
    pub(super) fn open(meta: &Arc<FileMeta>, blobs: &dyn Blobs, index: Option<Arc<RunIndex>>) -> Result<Self, StorageError> {
        let blob = BlobReader(blobs.open(&meta.file.path)?);
        let mut file = Self { meta: Arc::clone(meta), blob, index: index.unwrap_or_default() };
        if file.index.runs.is_empty() {
            file.index = Arc::new(guarded(meta, || file.scan())?);
        }
        Ok(file)
    }

    fn reader(&self, columns: Option<&[&str]>, rows: Option<RowSelection>) -> Result<ParquetRecordBatchReader, String> {
        let mut builder = ParquetRecordBatchReaderBuilder::try_new(BlobReader(Arc::clone(&self.blob.0))).map_err(|e| e.to_string())?;
        if let Some(columns) = columns {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder = builder.with_projection(mask);
        }
        if let Some(rows) = rows {
            builder = builder.with_row_selection(rows);
        }
        builder.with_batch_size(BATCH_ROWS).build().map_err(|e| e.to_string())
    }

    /// Where each series' rows are.
    fn scan(&self) -> Result<RunIndex, String> {
        let mut runs: Vec<Run> = Vec::new();
        let mut row = 0;
        for batch in self.reader(Some(&["series_id", "time"]), None)? {
            let batch = batch.map_err(|e| e.to_string())?;
            let (ids, times) = (primitive::<Int32Type>(&batch, "series_id")?, primitive::<TimestampMillisecondType>(&batch, "time")?);
            for (id, time) in ids.values().iter().zip(times.values()) {
                let series = u32::try_from(*id).map_err(|_| format!("series number {id}"))?;
                match runs.last_mut().filter(|run| run.series == series) {
                    Some(run) => {
                        run.count += 1;
                        run.last = run.last.max(*time);
                        run.first = run.first.min(*time);
                    }
                    None => runs.push(Run { series, row, count: 1, first: *time, last: *time, floats: false }),
                }
                row += 1;
            }
        }
        Ok(RunIndex::new(runs))
    }

    /// The runs of these series that may have rows in the closed range of milliseconds, in order of rows.
    /// Numbers of the series it has.
    pub(in crate::metrics) fn series(&self) -> impl Iterator<Item = u32> + '_ {
        self.index.runs.iter().map(|run| run.series)
    }

    pub(super) fn runs(&self, ids: &[u32], start: i64, end: i64) -> Vec<Run> {
        let mut found: Vec<Run> = ids
            .iter()
            .filter_map(|id| self.index.find(*id))
            .map(|at| self.index.runs[at as usize])
            .filter(|run| run.first <= end && start <= run.last)
            .collect();
        found.sort_unstable_by_key(|run| run.row);
        found
    }

    /// Reads the rows of runs, which are in order.
    pub(super) fn read(&self, runs: &[Run], mut each: impl FnMut(u32, i64, NativeHistogram)) -> Result<(), StorageError> {
        if runs.is_empty() {
            return Ok(());
        }
        let mut selectors = Vec::with_capacity(runs.len() * 2 + 1);
        let mut at = 0;
        for run in runs {
            selectors.push(RowSelector::skip((run.row - at) as usize));
            selectors.push(RowSelector::select(run.count as usize));
            at = run.row + u64::from(run.count);
        }
        selectors.push(RowSelector::skip(self.meta.file.rows.saturating_sub(at) as usize));
        guarded(&self.meta, || {
            for batch in self.reader(None, Some(RowSelection::from(selectors)))? {
                let decoded = Decoded::of(&batch.map_err(|e| e.to_string())?)?;
                (0..decoded.len()).for_each(|row| each(decoded.series(row), decoded.time(row), decoded.histogram(row)));
            }
            Ok(())
        })
    }

    /// All rows in order, a few thousand in memory at a time.
    pub(super) fn stream(&self) -> Result<Stream<'_>, StorageError> {
        let reader = guarded(&self.meta, || self.reader(None, None))?;
        Ok(Stream { meta: &self.meta, reader, batch: None, row: 0 })
    }
}

/// See [`HistogramsFile::stream`].
pub(super) struct Stream<'a> {
    meta: &'a FileMeta,
    reader: ParquetRecordBatchReader,
    batch: Option<Decoded>,
    row: usize,
}

impl Stream<'_> {
    /// The next row.
    pub(super) fn next(&mut self) -> Result<Option<(u32, i64, NativeHistogram)>, StorageError> {
        while self.batch.as_ref().is_none_or(|batch| self.row >= batch.len()) {
            let Self { meta, reader, .. } = self;
            let next = guarded(meta, || reader.next().transpose().map_err(|e| e.to_string())?.map(|batch| Decoded::of(&batch)).transpose())?;
            let Some(next) = next else { return Ok(None) };
            (self.batch, self.row) = (Some(next), 0);
        }
        let Some(batch) = &self.batch else { return Ok(None) };
        let row = self.row;
        self.row += 1;
        Ok(Some((batch.series(row), batch.time(row), batch.histogram(row))))
    }
}

/// The columns of a batch.
struct Decoded {
    series: PrimitiveArray<Int32Type>,
    times: PrimitiveArray<TimestampMillisecondType>,
    schemas: PrimitiveArray<Int32Type>,
    resets: arrow::array::StringArray,
    numbers: [PrimitiveArray<Float64Type>; 4],
    indexes: [ListArray; 2],
    floats: [ListArray; 3],
}

impl Decoded {
    fn of(batch: &RecordBatch) -> Result<Self, String> {
        let list = |name: &str| {
            let found = batch.column_by_name(name).and_then(|c| c.as_list_opt::<i32>()).cloned();
            found.ok_or_else(|| format!("no column {name:?} of lists"))
        };
        let floats = |name: &str| primitive::<Float64Type>(batch, name).cloned();
        let resets = batch.column_by_name("counter_reset").and_then(|c| c.as_string_opt::<i32>()).cloned();
        let decoded = Self {
            series: primitive::<Int32Type>(batch, "series_id")?.clone(),
            times: primitive::<TimestampMillisecondType>(batch, "time")?.clone(),
            schemas: primitive::<Int32Type>(batch, "schema")?.clone(),
            resets: resets.ok_or("no column \"counter_reset\" of texts")?,
            numbers: [floats("zero_threshold")?, floats("zero_count")?, floats("count")?, floats("sum")?],
            indexes: [list("positive_indexes")?, list("negative_indexes")?],
            floats: [list("positive_counts")?, list("negative_counts")?, list("custom_bounds")?],
        };
        let ints = decoded.indexes.iter().all(|list| list.values().as_primitive_opt::<Int32Type>().is_some());
        let doubles = decoded.floats.iter().all(|list| list.values().as_primitive_opt::<Float64Type>().is_some());
        if ints && doubles { Ok(decoded) } else { Err("lists of other types than expected".to_owned()) }
    }

    fn len(&self) -> usize {
        self.series.len()
    }

    fn series(&self, row: usize) -> u32 {
        self.series.value(row) as u32
    }

    fn time(&self, row: usize) -> i64 {
        self.times.value(row)
    }

    fn histogram(&self, row: usize) -> NativeHistogram {
        let ints = |at: usize| self.indexes[at].value(row).as_primitive::<Int32Type>().values().to_vec();
        let doubles = |at: usize| self.floats[at].value(row).as_primitive::<Float64Type>().values().to_vec();
        let [zero_threshold, zero_count, count, sum] = std::array::from_fn(|at| self.numbers[at].value(row));
        NativeHistogram {
            schema: i8::try_from(self.schemas.value(row)).unwrap_or(i8::MAX),
            counter_reset: reset_of(self.resets.value(row)),
            zero_threshold,
            zero_count,
            count,
            sum,
            positive: Buckets { indexes: ints(0), counts: doubles(0) },
            negative: Buckets { indexes: ints(1), counts: doubles(1) },
            custom_bounds: doubles(2),
        }
    }
}
