//! Writes one file: row groups column by column, filters, directory, footer.

use std::io::Write;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::Schema as ArrowSchema;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;
use serde_json::json;
use std::sync::Arc;

use super::index::IndexBuilder;
use super::schema::{FileColumn, Kind, TABLE, properties};
use super::sections::{DIRECTORY_KEY, LEVELS};
use crate::blob::{BlobWriter, Blobs};
use crate::error::StorageError;
use crate::table::{ColumnStats, NewFile};

/// Messages of a row group are cut at this many bytes: offsets stay far below 2 GiB and memory stays bounded.
pub(super) const GROUP_BYTES_MAX: usize = 192 << 20;
/// Most tries for a file name that is free.
const NAMES_MAX: u32 = 10_000;

/// Rows of a row group in table order, given column by column.
pub(super) trait GroupSource {
    fn rows(&self) -> usize;
    /// A column, of its file column's type. Each is asked for once, in order of the columns.
    fn array(&mut self, column: &FileColumn) -> Result<ArrayRef, StorageError>;
}

/// What kind of rows a file has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) seq_min: u64,
    pub(super) seq_max: u64,
    pub(super) level: u8,
}

/// Remembers the end of what it passes on: the footer's length stands there.
struct Sink {
    inner: Box<dyn BlobWriter>,
    end: [u8; 8],
}

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(buf)?;
        let done = &buf[..written];
        let keep = done.len().min(8);
        self.end.rotate_left(keep);
        self.end[8 - keep..].copy_from_slice(&done[done.len() - keep..]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[derive(Debug, Clone, Default)]
struct ColumnTotals {
    nulls: u64,
    bytes: u64,
    min: Option<String>,
    max: Option<String>,
}

/// A file that is being written.
pub(super) struct FileEncoder {
    path: String,
    columns: Vec<FileColumn>,
    writer: SerializedFileWriter<Sink>,
    factory: ArrowRowGroupWriterFactory,
    index: IndexBuilder,
    totals: Vec<ColumnTotals>,
    rows: usize,
}

fn format_error(error: ParquetError) -> StorageError {
    match error {
        ParquetError::External(inner) => StorageError::Format { what: "cannot write log file", reason: inner.to_string() },
        other => StorageError::Format { what: "cannot write log file", reason: other.to_string() },
    }
}

/// Starts a file under a name that is not taken, also not by a failed earlier try.
fn create(blobs: &dyn Blobs, origin: Origin) -> Result<(String, Box<dyn BlobWriter>), StorageError> {
    let mut last = None;
    for attempt in 0..NAMES_MAX {
        let path = format!("{TABLE}/{:012x}-{:012x}-{}-{attempt}.parquet", origin.seq_min, origin.seq_max, origin.level);
        match blobs.create(&path) {
            Ok(writer) => return Ok((path, writer)),
            Err(StorageError::Io { source, what, path }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                last = Some(StorageError::Io { what, path, source });
            }
            Err(other) => return Err(other),
        }
    }
    Err(last.unwrap_or_else(|| StorageError::Format { what: "cannot name log file", reason: "no free name".to_owned() }))
}

impl FileEncoder {
    pub(super) fn new(blobs: &dyn Blobs, origin: Origin, columns: Vec<FileColumn>) -> Result<Self, StorageError> {
        let (path, inner) = create(blobs, origin)?;
        let schema = Arc::new(ArrowSchema::new(columns.iter().map(|c| Arc::clone(&c.field)).collect::<Vec<_>>()));
        let writer = ArrowWriter::try_new(Sink { inner, end: [0; 8] }, schema, Some(properties(&columns))).map_err(format_error)?;
        let (writer, factory) = writer.into_serialized_writer().map_err(format_error)?;
        let totals = vec![ColumnTotals::default(); columns.len()];
        Ok(Self { path, columns, writer, factory, index: IndexBuilder::default(), totals, rows: 0 })
    }

    /// Writes a row group.
    pub(super) fn group(&mut self, source: &mut dyn GroupSource) -> Result<(), StorageError> {
        let number = self.writer.flushed_row_groups().len();
        let mut writers = self.factory.create_column_writers(number).map_err(format_error)?.into_iter();
        let mut group = self.writer.next_row_group().map_err(format_error)?;
        self.index.begin_group(source.rows());
        for (column, totals) in self.columns.iter().zip(&mut self.totals) {
            let array = source.array(column)?;
            totals.nulls += array.null_count() as u64;
            if column.kind == Kind::Service {
                service_range(&array, totals);
            }
            self.index.column(column.kind, &array);
            for leaf in compute_leaves(&column.field, &array).map_err(format_error)? {
                let mut writer = writers.next().ok_or_else(|| StorageError::Format {
                    what: "cannot write log file",
                    reason: format!("no writer for column {}", column.column.name),
                })?;
                writer.write(&leaf).map_err(format_error)?;
                let chunk = writer.close().map_err(format_error)?;
                totals.bytes += chunk.close().bytes_written;
                chunk.append_to_row_group(&mut group).map_err(format_error)?;
            }
        }
        group.close().map_err(format_error)?;
        self.index.end_group();
        self.rows += source.rows();
        Ok(())
    }

    /// Writes filters, directory and footer and makes the file durable.
    pub(super) fn finish(mut self, origin: Origin) -> Result<NewFile, StorageError> {
        let writer = &mut self.writer;
        let put = |bytes: &[u8]| {
            let at = writer.bytes_written() as u64;
            writer.write_all(bytes)?;
            Ok(at)
        };
        let (directory, offset, length, latest) = self.index.finish(put).map_err(format_error)?;
        self.writer.append_key_value_metadata(KeyValue::new(DIRECTORY_KEY.to_owned(), format!("{offset},{length}")));
        let sink = self.writer.into_inner().map_err(format_error)?;
        let footer = u32::from_le_bytes([sink.end[0], sink.end[1], sink.end[2], sink.end[3]]);
        let bytes = sink.inner.finish()?;
        let time_min = directory.blocks.iter().map(|b| b.0).min().unwrap_or(0);
        let time_max = directory.blocks.iter().map(|b| b.1).max().unwrap_or(0);
        let services: serde_json::Map<_, _> = directory
            .services
            .iter()
            .zip(&directory.counts)
            .map(|(name, counts)| {
                let mut levels = [0u64; LEVELS];
                counts.values().for_each(|minute| levels.iter_mut().zip(minute).for_each(|(sum, n)| *sum += u64::from(*n)));
                (name.clone(), json!(levels))
            })
            .collect();
        let columns = self.columns.iter().zip(&self.totals).filter(|(column, _)| column.kind != Kind::Attributes).map(|(column, totals)| {
            let (min, max) = match column.kind {
                Kind::Time => (Some(iso_time(time_min)), Some(iso_time(time_max))),
                _ => (totals.min.clone(), totals.max.clone()),
            };
            ColumnStats {
                column_id: column.column.id,
                size_bytes: totals.bytes,
                value_count: self.rows as u64 - totals.nulls,
                null_count: totals.nulls,
                min,
                max,
                contains_nan: None,
            }
        });
        Ok(NewFile {
            table: TABLE,
            path: self.path,
            bytes,
            footer_bytes: u64::from(footer),
            rows: self.rows as u64,
            time_min,
            time_max,
            seq_min: origin.seq_min,
            seq_max: origin.seq_max,
            level: origin.level,
            columns: columns.collect(),
            extra: json!({ "latest": latest, "services": services }),
        })
    }
}

fn service_range(array: &ArrayRef, totals: &mut ColumnTotals) {
    use arrow::array::AsArray;
    let names = array.as_dictionary::<arrow::datatypes::Int32Type>();
    let texts = names.values().as_string::<i32>();
    // Rows are in order of the service: the ends are the range.
    for row in [0, names.len().saturating_sub(1)] {
        if row < names.len() {
            let name = texts.value(names.keys().value(row) as usize);
            if totals.min.as_deref().is_none_or(|min| name < min) {
                totals.min = Some(name.to_owned());
            }
            if totals.max.as_deref().is_none_or(|max| name > max) {
                totals.max = Some(name.to_owned());
            }
        }
    }
}

/// `2026-11-20 00:00:00.123456789`, as DuckDB writes a `TIMESTAMP_NS`; compares as text like the time does.
pub(super) fn iso_time(nanos: i64) -> String {
    let seconds = nanos.div_euclid(1_000_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to civil date, after Howard Hinnant.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:09}", second / 3600, second / 60 % 60, second % 60, nanos.rem_euclid(1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::iso_time;

    #[test]
    fn times_as_text() {
        assert_eq!(iso_time(0), "1970-01-01 00:00:00.000000000");
        assert_eq!(iso_time(1_795_046_400_123_456_789), "2026-11-19 00:00:00.123456789");
        assert_eq!(iso_time(-1), "1969-12-31 23:59:59.999999999");
        assert_eq!(iso_time(951_782_400_000_000_000), "2000-02-29 00:00:00.000000000");
    }
}
