//! Writes samples files: runs of series, times descending inside, values as decimals where they are some.

use std::sync::Arc;

use parquet::basic::{Encoding, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{DataType, DoubleType, Int32Type, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use crate::blob::Blobs;
use crate::error::StorageError;
use crate::table::{ColumnStats, NewFile};

use super::decimal::Decimals;
use super::files::{Origin, Sink, column_bytes, format_error, nanos, time_text, zstd};
use super::run_index::{KEY, Run, RunIndex};

/// Rows after which a row group is closed (with the run that is being written).
pub(super) const GROUP_ROWS: usize = 1 << 19;

/// Rows of a page.
const PAGE_ROWS: usize = 20_000;

const WHAT: &str = "cannot encode samples";

/// Names and types of the columns; their numbers are their places, from 1.
fn schema() -> Result<TypePtr, StorageError> {
    let column = |id: i32, name: &str, ty: Physical, repetition: Repetition, logical: Option<LogicalType>| {
        Type::primitive_type_builder(name, ty)
            .with_repetition(repetition)
            .with_logical_type(logical)
            .with_id(Some(id))
            .build()
            .map(Arc::new)
            .map_err(format_error(WHAT))
    };
    let millis = LogicalType::timestamp(false, TimeUnit::MILLIS);
    let fields = vec![
        column(1, "series_id", Physical::INT32, Repetition::REQUIRED, None)?,
        column(2, "time", Physical::INT64, Repetition::REQUIRED, Some(millis))?,
        column(3, "base", Physical::INT64, Repetition::REQUIRED, None)?,
        column(4, "d", Physical::INT64, Repetition::REQUIRED, None)?,
        column(5, "e", Physical::INT32, Repetition::REQUIRED, None)?,
        column(6, "value", Physical::DOUBLE, Repetition::OPTIONAL, None)?,
    ];
    Type::group_type_builder("schema").with_fields(fields).build().map(Arc::new).map_err(format_error(WHAT))
}

fn properties() -> WriterPropertiesPtr {
    let path = |name: &str| ColumnPath::new(vec![name.to_owned()]);
    let mut builder = WriterProperties::builder()
        .set_created_by("skopos".to_owned())
        .set_compression(zstd(3))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(4096)
        .set_data_page_size_limit(4 << 20)
        .set_dictionary_enabled(false)
        .set_dictionary_page_size_limit(16 << 20)
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::None);
    for name in ["series_id", "time", "d"] {
        builder = builder.set_column_encoding(path(name), Encoding::DELTA_BINARY_PACKED);
    }
    for name in ["base", "e"] {
        builder = builder.set_column_dictionary_enabled(path(name), true);
    }
    for name in ["series_id", "time"] {
        builder = builder.set_column_statistics_enabled(path(name), EnabledStatistics::Page);
    }
    // Says how many nulls there are, which readers use to leave the column alone.
    builder = builder.set_column_statistics_enabled(path("value"), EnabledStatistics::Chunk);
    Arc::new(builder.set_column_encoding(path("value"), Encoding::BYTE_STREAM_SPLIT).build())
}

/// Columns of the row group being filled.
#[derive(Debug, Default)]
struct Group {
    series: Vec<i32>,
    time: Vec<i64>,
    base: Vec<i64>,
    d: Vec<i64>,
    e: Vec<i32>,
    /// Definition levels of `value`: 1 where it has one.
    defined: Vec<i16>,
    value: Vec<f64>,
}

impl Group {
    fn clear(&mut self) {
        let Self { series, time, base, d, e, defined, value } = self;
        series.clear();
        time.clear();
        base.clear();
        d.clear();
        e.clear();
        defined.clear();
        value.clear();
    }
}

/// A samples file being written. Memory stays within a row group and one run.
#[derive(Debug)]
pub(super) struct SamplesWriter {
    file: SerializedFileWriter<Sink>,
    group: Group,
    decimals: Decimals,
    runs: Vec<Run>,
    rows: u64,
    floats: u64,
    nan: bool,
    time_min: i64,
    time_max: i64,
    series_min: u32,
    series_max: u32,
}

impl SamplesWriter {
    pub(super) fn create(blobs: &dyn Blobs, origin: Origin) -> Result<Self, StorageError> {
        let sink = Sink::create(blobs, origin)?;
        Ok(Self {
            file: SerializedFileWriter::new(sink, schema()?, properties()).map_err(format_error(WHAT))?,
            group: Group::default(),
            decimals: Decimals::default(),
            runs: Vec::new(),
            rows: 0,
            floats: 0,
            nan: false,
            time_min: i64::MAX,
            time_max: i64::MIN,
            series_min: u32::MAX,
            series_max: 0,
        })
    }

    /// Rows written.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends all samples of a series; times ascend strictly. Each series once, in the order of files.
    pub(super) fn push(&mut self, series: u32, times: &[i64], values: &[f64]) -> Result<(), StorageError> {
        let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return Ok(()) };
        let count = times.len();
        let group = &mut self.group;
        let rows = group.time.len();
        // Numbers stay below 2^31: the registry gives no others.
        group.series.resize(rows + count, series as i32);
        group.time.extend(times.iter().rev());
        let d = &mut self.decimals;
        d.set(values);
        let floats = if d.is_poor() {
            group.base.resize(rows + count, 0);
            group.d.resize(rows + count, 0);
            group.e.resize(rows + count, 0);
            group.defined.resize(rows + count, 1);
            group.value.extend(values.iter().rev());
            count
        } else {
            let base = d.mantissas.last().copied().unwrap_or(0);
            group.base.resize(rows + count, base);
            group.d.extend(d.mantissas.iter().rev().map(|m| m - base));
            group.e.resize(rows + count, i32::from(d.exponent));
            group.defined.resize(rows + count, 0);
            for &at in d.exceptions.iter().rev() {
                group.defined[rows + count - 1 - at as usize] = 1;
                group.value.push(values[at as usize]);
            }
            d.exceptions.len()
        };
        if floats > 0 {
            self.nan |= group.value[group.value.len() - floats..].iter().any(|v| v.is_nan());
        }
        self.floats += floats as u64;
        let count32 = u32::try_from(count)
            .map_err(|_| StorageError::Format { what: WHAT, reason: format!("series {series} has {count} samples in one file, at most 2^32 fit") })?;
        self.runs.push(Run { series, row: self.rows, count: count32, first, last, floats: floats > 0 });
        self.rows += count as u64;
        self.time_min = self.time_min.min(first);
        self.time_max = self.time_max.max(last);
        self.series_min = self.series_min.min(series);
        self.series_max = self.series_max.max(series);
        if self.group.time.len() >= GROUP_ROWS {
            self.write_group()?;
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), StorageError> {
        fn column<T: DataType>(
            out: &mut SerializedRowGroupWriter<'_, Sink>,
            values: &[T::T],
            defined: Option<&[i16]>,
        ) -> parquet::errors::Result<()> {
            if let Some(mut writer) = out.next_column()? {
                writer.typed::<T>().write_batch(values, defined, None)?;
                writer.close()?;
            }
            Ok(())
        }
        let mut write = || -> parquet::errors::Result<()> {
            let group = &self.group;
            let mut out = self.file.next_row_group()?;
            column::<Int32Type>(&mut out, &group.series, None)?;
            column::<Int64Type>(&mut out, &group.time, None)?;
            column::<Int64Type>(&mut out, &group.base, None)?;
            column::<Int64Type>(&mut out, &group.d, None)?;
            column::<Int32Type>(&mut out, &group.e, None)?;
            column::<DoubleType>(&mut out, &group.value, Some(&group.defined))?;
            out.close()?;
            Ok(())
        };
        write().map_err(format_error(WHAT))?;
        self.group.clear();
        Ok(())
    }

    /// Writes the last row group, the run index and the footer, and makes the file durable.
    pub(super) fn finish(mut self) -> Result<NewFile, StorageError> {
        if !self.group.time.is_empty() {
            self.write_group()?;
        }
        let sizes: Vec<u64> = (0..6).map(|leaf| column_bytes(self.file.flushed_row_groups(), leaf..leaf + 1)).collect();
        let series = self.runs.len();
        let index = RunIndex::new(std::mem::take(&mut self.runs));
        let (bulk_min, bulk_max) = index.bulk();
        let index = index.to_bytes();
        let place = format!("{} {} {}", self.file.bytes_written(), index.len(), crc32c::crc32c(&index));
        self.file.write_all(&index).map_err(|e| StorageError::Format { what: WHAT, reason: e.to_string() })?;
        self.file.append_key_value_metadata(KeyValue::new(KEY.to_owned(), place));
        let sink = self.file.into_inner().map_err(format_error(WHAT))?;
        let columns = sizes
            .into_iter()
            .enumerate()
            .map(|(leaf, size_bytes)| {
                let nulls = if leaf == 5 { self.rows - self.floats } else { 0 };
                let (min, max) = match leaf {
                    0 => (Some(self.series_min.to_string()), Some(self.series_max.to_string())),
                    1 => (time_text(self.time_min), time_text(self.time_max)),
                    _ => (None, None),
                };
                ColumnStats {
                    column_id: leaf as i32 + 1,
                    size_bytes,
                    value_count: self.rows - nulls,
                    null_count: nulls,
                    min,
                    max,
                    contains_nan: (leaf == 5).then_some(self.nan),
                }
            })
            .collect();
        let extra = serde_json::json!({ "series": series, "series_max": self.series_max, "bulk": [bulk_min, bulk_max] });
        sink.finish(self.rows, (nanos(self.time_min), nanos(self.time_max)), columns, extra)
    }
}
