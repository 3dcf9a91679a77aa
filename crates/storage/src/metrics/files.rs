//! What the files of the metrics tables have in common: names, ends, text forms of statistics.

use std::io::Write;

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use skopos_model::SeriesId;

use crate::blob::{BlobWriter, Blobs};
use crate::error::StorageError;
use crate::table::{ColumnStats, NewFile};

/// Names tried before giving up: a crash may have left a file of a name behind.
const NAMES_MAX: u32 = 1000;

/// Turns a library's error into ours.
pub(super) fn format_error(what: &'static str) -> impl Fn(parquet::errors::ParquetError) -> StorageError {
    move |e| StorageError::Format { what, reason: e.to_string() }
}

/// As [`format_error`], for Arrow's errors.
pub(super) fn arrow_error(what: &'static str) -> impl Fn(arrow::error::ArrowError) -> StorageError {
    move |e| StorageError::Format { what, reason: e.to_string() }
}

/// Where a file's rows come from: part of its name, and of its entry in the catalog.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) table: &'static str,
    pub(super) level: u8,
    pub(super) seq_min: u64,
    pub(super) seq_max: u64,
}

/// A file being written, which remembers its last bytes: they say how long its footer is.
pub(super) struct Sink {
    writer: Box<dyn BlobWriter>,
    tail: Vec<u8>,
    path: String,
    origin: Origin,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.writer.write(bytes)?;
        let bytes = &bytes[..written];
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(8)..]);
        let excess = self.tail.len().saturating_sub(8);
        self.tail.drain(..excess);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

impl Sink {
    /// Starts a file under a name that is free.
    pub(super) fn create(blobs: &dyn Blobs, origin: Origin) -> Result<Self, StorageError> {
        let mut number = 0;
        loop {
            let Origin { table, level, seq_min, seq_max } = origin;
            let path = format!("{table}/l{level}-{seq_min:x}-{seq_max:x}-{number}.parquet");
            match blobs.create(&path) {
                Ok(writer) => return Ok(Self { writer, tail: Vec::with_capacity(16), path, origin }),
                Err(StorageError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists && number < NAMES_MAX => {
                    number += 1;
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Makes the file durable. Times are Unix nanoseconds.
    pub(super) fn finish(self, rows: u64, times: (i64, i64), columns: Vec<ColumnStats>, extra: serde_json::Value) -> Result<NewFile, StorageError> {
        let footer = self.tail.first_chunk::<4>().map_or(0, |length| u64::from(u32::from_le_bytes(*length)));
        let bytes = self.writer.finish()?;
        Ok(NewFile {
            table: self.origin.table,
            path: self.path,
            bytes,
            footer_bytes: footer,
            rows,
            time_min: times.0,
            time_max: times.1,
            seq_min: self.origin.seq_min,
            seq_max: self.origin.seq_max,
            level: self.origin.level,
            columns,
            extra,
        })
    }
}

/// Milliseconds as nanoseconds, at the ends of the range where they do not fit.
pub(super) fn nanos(millis: i64) -> i64 {
    millis.saturating_mul(1_000_000)
}

/// Milliseconds as ISO text of fixed width, which compares as the time does; `None` outside the years 0 to 9999.
pub(super) fn time_text(millis: i64) -> Option<String> {
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    // Civil date from days since 1970, in eras of 400 years that begin on a first of March.
    let shifted = days.checked_add(719_468)?;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if !(0..=9999).contains(&year) {
        return None;
    }
    let (hour, minute, second, milli) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000);
    Some(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{milli:03}"))
}

/// Sizes of a column (all its leaves) over the row groups of a file.
pub(super) fn column_bytes(groups: &[RowGroupMetaData], leaves: std::ops::Range<usize>) -> u64 {
    let of = |g: &RowGroupMetaData| g.columns()[leaves.clone()].iter().map(|c| c.compressed_size()).sum::<i64>();
    groups.iter().map(of).sum::<i64>().unsigned_abs()
}

/// Properties of the small tables (series, exemplars, metadata).
pub(super) fn small_properties() -> WriterProperties {
    WriterProperties::builder().set_compression(zstd(3)).set_statistics_enabled(EnabledStatistics::Chunk).set_created_by("skopos".to_owned()).build()
}

/// zstd at a level the format knows.
pub(super) fn zstd(level: i32) -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(level).unwrap_or_default())
}

/// Least and greatest series of rows, as statistics; `column_id` is the column's number.
pub(super) fn series_stats(column_id: i32, rows: impl Iterator<Item = SeriesId>, sizes: u64) -> ColumnStats {
    let (mut min, mut max, mut count) = (u32::MAX, 0, 0);
    for SeriesId(id) in rows {
        min = min.min(id);
        max = max.max(id);
        count += 1;
    }
    let text = |id: u32| (count > 0).then(|| id.to_string());
    ColumnStats { column_id, size_bytes: sizes, value_count: count, min: text(min), max: text(max), ..ColumnStats::default() }
}

/// Writes Arrow batches of a small table as a file and returns the sink and the size of each top-level column.
pub(super) fn write_small(blobs: &dyn Blobs, origin: Origin, batches: &[arrow::array::RecordBatch]) -> Result<(Sink, Vec<u64>), StorageError> {
    let what = "cannot encode a metrics table";
    let sink = Sink::create(blobs, origin)?;
    let schema = batches
        .first()
        .map(arrow::array::RecordBatch::schema)
        .ok_or_else(|| StorageError::Format { what, reason: format!("no rows for {}", origin.table) })?;
    let mut writer = ArrowWriter::try_new(sink, std::sync::Arc::clone(&schema), Some(small_properties())).map_err(format_error(what))?;
    for batch in batches {
        writer.write(batch).map_err(format_error(what))?;
    }
    writer.flush().map_err(format_error(what))?;
    let mut leaf = 0;
    let mut sizes = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let leaves = if matches!(field.data_type(), arrow::datatypes::DataType::Map(..)) { 2 } else { 1 };
        sizes.push(column_bytes(writer.flushed_row_groups(), leaf..leaf + leaves));
        leaf += leaves;
    }
    Ok((writer.into_inner().map_err(format_error(what))?, sizes))
}

#[cfg(test)]
mod tests {
    use super::time_text;

    #[test]
    fn times_as_text() {
        for (millis, text) in [
            (0, Some("1970-01-01 00:00:00.000")),
            (-1, Some("1969-12-31 23:59:59.999")),
            (1_795_125_600_123, Some("2026-11-19 22:00:00.123")),
            (951_782_400_000, Some("2000-02-29 00:00:00.000")),
            (super::super::generation::TIME_MIN, Some("0000-01-01 00:00:00.000")),
            (super::super::generation::TIME_MAX, Some("9999-12-31 23:59:59.999")),
            (i64::MAX, None),
            (i64::MIN, None),
        ] {
            assert_eq!(time_text(millis).as_deref(), text, "{millis}");
        }
    }
}
