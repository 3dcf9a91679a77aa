//! Writes rollup files: rows of a series after one another, in order of time.

use std::sync::Arc;

use parquet::basic::{Encoding, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{DataType, DoubleType, Int32Type, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::row::{Row, rows};
use crate::blob::Blobs;
use crate::error::StorageError;
use crate::metrics::files::{Origin, Sink, column_bytes, format_error, time_text, zstd};
use crate::metrics::run_index::{KEY, Run, RunIndex};
use crate::table::{ColumnStats, ColumnType, NewFile};

const WHAT: &str = "cannot encode rollups";

/// Rows of a row group: it is in memory while it is filled.
const GROUP_ROWS: usize = 1 << 16;

/// Rows of a page: what reading one series decodes at least.
const PAGE_ROWS: usize = 4_096;

/// Columns, and whether they may be empty. Times are milliseconds before `time`, the end of the hour: they hardly differ
/// from one hour to the next.
pub(in crate::metrics) const COLUMNS: [(&str, ColumnType, bool); 17] = [
    ("series_id", ColumnType::Int32, false),
    ("time", ColumnType::TimestampMs, false),
    ("count", ColumnType::Int32, false),
    ("nans", ColumnType::Int32, false),
    ("resets", ColumnType::Int32, false),
    ("changes", ColumnType::Int32, false),
    ("first_ms", ColumnType::Int32, false),
    ("first_value", ColumnType::Double, false),
    ("last_ms", ColumnType::Int32, false),
    ("last_value", ColumnType::Double, false),
    ("before_ms", ColumnType::Int32, true),
    ("before_value", ColumnType::Double, true),
    ("stale_ms", ColumnType::Int32, true),
    // Empty: the first value, as with counters.
    ("min_value", ColumnType::Double, true),
    // Empty: the last value.
    ("max_value", ColumnType::Double, true),
    ("sum", ColumnType::Double, false),
    // Empty: zero.
    ("compensation", ColumnType::Double, true),
];

fn schema() -> Result<TypePtr, StorageError> {
    let column = |(id, (name, ty, nullable)): (i32, &(&str, ColumnType, bool))| {
        let (physical, logical) = match ty {
            ColumnType::Int32 => (Physical::INT32, None),
            ColumnType::TimestampMs => (Physical::INT64, Some(LogicalType::timestamp(false, TimeUnit::MILLIS))),
            _ => (Physical::DOUBLE, None),
        };
        Type::primitive_type_builder(name, physical)
            .with_repetition(if *nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED })
            .with_logical_type(logical)
            .with_id(Some(id))
            .build()
            .map(Arc::new)
            .map_err(format_error(WHAT))
    };
    let fields = (1..).zip(&COLUMNS).map(column).collect::<Result<_, _>>()?;
    Type::group_type_builder("schema").with_fields(fields).build().map(Arc::new).map_err(format_error(WHAT))
}

fn properties() -> WriterPropertiesPtr {
    let mut builder = WriterProperties::builder()
        .set_created_by("skopos".to_owned())
        .set_compression(zstd(3))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(1024)
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::None);
    for (name, ty, _) in COLUMNS {
        let path = ColumnPath::new(vec![name.to_owned()]);
        builder = match (name, ty) {
            // A handful of values each.
            ("time" | "nans" | "resets", _) => builder.set_column_dictionary_enabled(path, true),
            (_, ColumnType::Double) => builder.set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT),
            _ => builder.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
        };
    }
    for name in ["series_id", "time"] {
        builder = builder.set_column_statistics_enabled(ColumnPath::new(vec![name.to_owned()]), EnabledStatistics::Chunk);
    }
    Arc::new(builder.build())
}

/// A column that may be empty: what is there, and where.
#[derive(Debug)]
struct Sparse<T> {
    defined: Vec<i16>,
    values: Vec<T>,
}

impl<T> Default for Sparse<T> {
    fn default() -> Self {
        Self { defined: Vec::new(), values: Vec::new() }
    }
}

impl<T> Sparse<T> {
    fn push(&mut self, value: Option<T>) {
        self.defined.push(i16::from(value.is_some()));
        self.values.extend(value);
    }
}

/// Columns of the row group being filled, in the order of [`COLUMNS`].
#[derive(Debug, Default)]
struct Group {
    series: Vec<i32>,
    time: Vec<i64>,
    count: Vec<i32>,
    nans: Vec<i32>,
    resets: Vec<i32>,
    changes: Vec<i32>,
    first_ms: Vec<i32>,
    first_value: Vec<f64>,
    last_ms: Vec<i32>,
    last_value: Vec<f64>,
    before_ms: Sparse<i32>,
    before_value: Sparse<f64>,
    stale_ms: Sparse<i32>,
    min_value: Sparse<f64>,
    max_value: Sparse<f64>,
    sum: Vec<f64>,
    compensation: Sparse<f64>,
}

impl Group {
    fn push(&mut self, series: u32, row: &Row) {
        // Less than an hour.
        let ms = |time: i64| (row.end - time) as i32;
        let other = |value: f64, known: f64| (value.to_bits() != known.to_bits()).then_some(value);
        self.series.push(series as i32);
        self.time.push(row.end);
        self.count.push(row.count as i32);
        self.nans.push(row.nans as i32);
        self.resets.push(row.resets as i32);
        self.changes.push(row.changes as i32);
        self.first_ms.push(ms(row.first.0));
        self.first_value.push(row.first.1);
        self.last_ms.push(ms(row.last.0));
        self.last_value.push(row.last.1);
        self.before_ms.push(row.before.map(|(time, _)| ms(time)));
        self.before_value.push(row.before.map(|(_, value)| value));
        self.stale_ms.push(row.stale.map(ms));
        self.min_value.push(other(row.min, row.first.1));
        self.max_value.push(other(row.max, row.last.1));
        self.sum.push(row.sum);
        self.compensation.push(other(row.compensation, 0.0));
    }
}

fn column<T: DataType>(out: &mut SerializedRowGroupWriter<'_, Sink>, values: &[T::T], defined: Option<&[i16]>) -> parquet::errors::Result<()> {
    if let Some(mut writer) = out.next_column()? {
        writer.typed::<T>().write_batch(values, defined, None)?;
        writer.close()?;
    }
    Ok(())
}

fn sparse<T: DataType>(out: &mut SerializedRowGroupWriter<'_, Sink>, column_of: &Sparse<T::T>) -> parquet::errors::Result<()> {
    column::<T>(out, &column_of.values, Some(&column_of.defined))
}

/// A rollup file being written, beside the samples file it is derived from.
#[derive(Debug)]
pub(in crate::metrics) struct RollupWriter {
    file: SerializedFileWriter<Sink>,
    group: Group,
    runs: Vec<Run>,
    rows: u64,
    buckets: (i64, i64),
    series: (u32, u32),
    nulls: [u64; COLUMNS.len()],
}

impl RollupWriter {
    /// Starts a file.
    pub(in crate::metrics) fn create(blobs: &dyn Blobs, origin: Origin) -> Result<Self, StorageError> {
        let sink = Sink::create(blobs, origin)?;
        Ok(Self {
            file: SerializedFileWriter::new(sink, schema()?, properties()).map_err(format_error(WHAT))?,
            group: Group::default(),
            runs: Vec::new(),
            rows: 0,
            buckets: (i64::MAX, i64::MIN),
            series: (u32::MAX, 0),
            nulls: [0; COLUMNS.len()],
        })
    }

    /// Adds what there is to know of a series' samples, whose times ascend strictly.
    pub(in crate::metrics) fn push(&mut self, series: u32, times: &[i64], values: &[f64]) -> Result<(), StorageError> {
        let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return Ok(()) };
        let (group, buckets) = (&mut self.group, &mut self.buckets);
        let before = group.series.len();
        rows(times, values, |row| {
            *buckets = (buckets.0.min(row.end), buckets.1.max(row.end));
            group.push(series, &row);
        });
        let count = group.series.len() - before;
        let count32 = u32::try_from(count)
            .map_err(|_| StorageError::Format { what: WHAT, reason: format!("series {series} has {count} hours in one file, at most 2^32 fit") })?;
        self.runs.push(Run { series, row: self.rows, count: count32, first, last, floats: false });
        self.rows += count as u64;
        self.series = (self.series.0.min(series), self.series.1.max(series));
        if self.group.series.len() >= GROUP_ROWS { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), StorageError> {
        let group = std::mem::take(&mut self.group);
        let mut write = || -> parquet::errors::Result<()> {
            let mut row_group = self.file.next_row_group()?;
            let out = &mut row_group;
            column::<Int32Type>(out, &group.series, None)?;
            column::<Int64Type>(out, &group.time, None)?;
            for ints in [&group.count, &group.nans, &group.resets, &group.changes] {
                column::<Int32Type>(out, ints, None)?;
            }
            for (ms, values) in [(&group.first_ms, &group.first_value), (&group.last_ms, &group.last_value)] {
                column::<Int32Type>(out, ms, None)?;
                column::<DoubleType>(out, values, None)?;
            }
            sparse::<Int32Type>(out, &group.before_ms)?;
            sparse::<DoubleType>(out, &group.before_value)?;
            sparse::<Int32Type>(out, &group.stale_ms)?;
            sparse::<DoubleType>(out, &group.min_value)?;
            sparse::<DoubleType>(out, &group.max_value)?;
            column::<DoubleType>(out, &group.sum, None)?;
            sparse::<DoubleType>(out, &group.compensation)?;
            row_group.close().map(|_| ())
        };
        write().map_err(format_error(WHAT))?;
        let rows = group.series.len();
        let there = [
            (10, group.before_ms.values.len()),
            (11, group.before_value.values.len()),
            (12, group.stale_ms.values.len()),
            (13, group.min_value.values.len()),
            (14, group.max_value.values.len()),
            (16, group.compensation.values.len()),
        ];
        for (leaf, values) in there {
            self.nulls[leaf] += (rows - values) as u64;
        }
        Ok(())
    }

    /// Writes what is left, the run index and the footer, and makes the file durable. `of`: the samples it is derived from.
    pub(in crate::metrics) fn finish(mut self, of: &NewFile) -> Result<NewFile, StorageError> {
        if !self.group.series.is_empty() {
            self.write_group()?;
        }
        let groups = self.file.flushed_row_groups();
        let sizes: Vec<u64> = (0..COLUMNS.len()).map(|leaf| column_bytes(groups, leaf..leaf + 1)).collect();
        let index = RunIndex::new(std::mem::take(&mut self.runs)).to_bytes();
        let place = format!("{} {} {}", self.file.bytes_written(), index.len(), crc32c::crc32c(&index));
        self.file.write_all(&index).map_err(|e| StorageError::Format { what: WHAT, reason: e.to_string() })?;
        self.file.append_key_value_metadata(KeyValue::new(KEY.to_owned(), place));
        let sink = self.file.into_inner().map_err(format_error(WHAT))?;
        let stats = |leaf: usize| {
            let (min, max) = match leaf {
                0 => (Some(self.series.0.to_string()), Some(self.series.1.to_string())),
                1 => (time_text(self.buckets.0), time_text(self.buckets.1)),
                _ => (None, None),
            };
            ColumnStats {
                column_id: leaf as i32 + 1,
                size_bytes: sizes[leaf],
                value_count: self.rows - self.nulls[leaf],
                null_count: self.nulls[leaf],
                min,
                max,
                // Values may be; readers of SQL must not think otherwise.
                contains_nan: (COLUMNS[leaf].1 == ColumnType::Double).then_some(true),
            }
        };
        let columns = (0..COLUMNS.len()).map(stats).collect();
        let extra = serde_json::json!({ (super::OF): of.path, "series_max": self.series.1 });
        // It has the times of its samples: retention takes both at once.
        sink.finish(self.rows, (of.time_min, of.time_max), columns, extra)
    }
}
