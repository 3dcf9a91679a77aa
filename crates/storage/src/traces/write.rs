//! Writing a file of spans, row group by row group, with what the catalog wants to know about it.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType, UInt8Type};
use arrow::temporal_conversions::timestamp_ns_to_datetime;
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{BloomFilterPosition, EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use xxhash_rust::xxh3::xxh3_64;

use super::access::{MapAccess, Texts};
use super::columns::{DURATION, PARENT, SERVICE, SPAN_ID, START, STATUS, TABLE, TRACE_ID};
use super::order::GROUP_ROWS;
use crate::blob::{BlobWriter, Blobs};
use crate::error::StorageError;
use crate::table::{Column, ColumnStats, ColumnType, NewFile};

/// Rows of a page: what a look-up by id decompresses at least.
const PAGE_ROWS: usize = 4_096;
/// Share of absent ids a bloom filter lets through.
const BLOOM_FALSE: f64 = 0.001;
/// Values looked at to see whether a column's repeat.
const SAMPLE_VALUES: usize = 2_048;
/// A value has to come this often on average.
const REPEATS_MIN: usize = 8;
/// Largest dictionary of a column whose values hardly repeat, bytes.
const DICTIONARY_BYTES_MAX: usize = 32 << 10;
/// Most distinct keys of the attribute map noted per file; with more, every query on an attribute reads the map.
const MAP_KEYS_MAX: usize = 256;
/// Most tries to find a file name that is free.
const NAMES_MAX: usize = 10_000;

pub(super) fn format_error<E: ToString>(what: &'static str) -> impl Fn(E) -> StorageError {
    move |e| StorageError::Format { what, reason: e.to_string() }
}

/// Whether values repeat so often that a dictionary holds them, in a sample of the column.
fn repeats(array: &dyn Array) -> bool {
    let valid = array.len() - array.null_count();
    let stride = (valid / SAMPLE_VALUES).max(1);
    let rows = (0..array.len()).filter(|row| array.is_valid(*row)).step_by(stride);
    let seen: HashSet<u64> = if let Some(texts) = array.as_string_opt::<i32>() {
        rows.map(|row| xxh3_64(texts.value(row).as_bytes())).collect()
    } else if let Some(numbers) = array.as_primitive_opt::<Int64Type>() {
        rows.map(|row| numbers.value(row) as u64).collect()
    } else if let Some(numbers) = array.as_primitive_opt::<Float64Type>() {
        rows.map(|row| numbers.value(row).to_bits()).collect()
    } else {
        // Codes, flags and columns that are dictionaries already.
        return true;
    };
    seen.len() * REPEATS_MIN <= (valid / stride).max(REPEATS_MIN)
}

/// How the columns are encoded; `sample` is the first row group. Random ids, and numbers packed already, are not
/// compressed: it would cost time and gain nothing. Dictionaries of few values are lz4: a look-up of one trace reads
/// a page of every column, and starting zstd would cost more than the page.
fn properties(columns: &[Column], sample: &RecordBatch) -> Result<WriterProperties, StorageError> {
    let column = |name: &str| ColumnPath::from(name);
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).map_err(format_error("zstd level"))?);
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(zstd)
        .set_bloom_filter_position(BloomFilterPosition::End)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(1_024)
        // A trace is never split by us; only one larger than a group is, here.
        .set_max_row_group_row_count(Some(2 * GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_dictionary_enabled(column(TRACE_ID), false)
        .set_column_encoding(column(TRACE_ID), Encoding::DELTA_BYTE_ARRAY)
        .set_column_bloom_filter_enabled(column(TRACE_ID), true)
        .set_column_bloom_filter_fpp(column(TRACE_ID), BLOOM_FALSE)
        .set_column_bloom_filter_max_ndv(column(TRACE_ID), GROUP_ROWS as u64);
    for id in [SPAN_ID, PARENT] {
        builder = builder.set_column_dictionary_enabled(column(id), false);
    }
    for number in [START, DURATION] {
        builder = builder
            .set_column_dictionary_enabled(column(number), false)
            .set_column_encoding(column(number), Encoding::DELTA_BINARY_PACKED)
            .set_column_compression(column(number), Compression::UNCOMPRESSED);
    }
    builder = builder.set_column_compression(column(SPAN_ID), Compression::UNCOMPRESSED);
    for (known, array) in columns.iter().zip(sample.columns()) {
        if [TRACE_ID, SPAN_ID, PARENT, START, DURATION].contains(&&*known.name) || known.ty == ColumnType::MapVarchar {
            continue;
        }
        let path = ColumnPath::new(vec![known.name.clone()]);
        builder = if repeats(array) {
            builder.set_column_compression(path, Compression::LZ4_RAW)
        } else {
            // A look-up would decode the whole dictionary for a handful of values.
            builder.set_column_dictionary_page_size_limit(path, DICTIONARY_BYTES_MAX)
        };
    }
    for name in [TRACE_ID, START, DURATION, SERVICE, STATUS] {
        builder = builder.set_column_statistics_enabled(column(name), EnabledStatistics::Page);
    }
    Ok(builder.build())
}

#[derive(Debug, Default)]
struct Counted {
    nulls: u64,
    /// As the catalog's text.
    numbers: Option<(i64, i64)>,
    texts: Option<(String, String)>,
}

/// The blob behind the Parquet writer, which gives its writer back only by ending the file a second time.
#[derive(Clone)]
struct SharedBlob(Arc<Mutex<Option<Box<dyn BlobWriter>>>>);

impl SharedBlob {
    fn closed() -> std::io::Error {
        std::io::Error::other("the file has been ended")
    }
}

impl Write for SharedBlob {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().as_mut().ok_or_else(Self::closed)?.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.lock().as_mut().ok_or_else(Self::closed)?.flush()
    }
}

/// A file that is being written.
pub(super) struct SpanWriter {
    writer: ArrowWriter<SharedBlob>,
    blob: SharedBlob,
    path: String,
    columns: Vec<Column>,
    counted: Vec<Counted>,
    rows: u64,
    map_keys: Option<BTreeSet<String>>,
}

/// Where a file's rows come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// WAL sequence numbers, inclusive.
    pub(super) seq_min: u64,
    pub(super) seq_max: u64,
    pub(super) level: u8,
}

fn create(blobs: &dyn Blobs, origin: Origin) -> Result<(String, Box<dyn BlobWriter>), StorageError> {
    let Origin { seq_min, seq_max, level } = origin;
    for n in 0..NAMES_MAX {
        // The name says where the rows come from; what an interrupted attempt left behind keeps its own.
        let path = format!("{TABLE}/{level}-{seq_min:012}-{seq_max:012}-{n}.parquet");
        match blobs.create(&path) {
            Err(StorageError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => return other.map(|writer| (path, writer)),
        }
    }
    Err(StorageError::Format { what: "cannot name a file of spans", reason: format!("{NAMES_MAX} names are taken") })
}

impl SpanWriter {
    /// Starts a file with these columns; `first` is its first row group, which is still to be written.
    pub(super) fn new(blobs: &dyn Blobs, origin: Origin, columns: Vec<Column>, first: &RecordBatch) -> Result<Self, StorageError> {
        let (path, blob) = create(blobs, origin)?;
        let options = ArrowWriterOptions::new().with_properties(properties(&columns, first)?).with_skip_arrow_metadata(true);
        let blob = SharedBlob(Arc::new(Mutex::new(Some(blob))));
        let writer =
            ArrowWriter::try_new_with_options(blob.clone(), first.schema(), options).map_err(format_error("cannot start a file of spans"))?;
        let counted = columns.iter().map(|_| Counted::default()).collect();
        Ok(Self { writer, blob, path, columns, counted, rows: 0, map_keys: Some(BTreeSet::new()) })
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes one row group.
    pub(super) fn write_group(&mut self, batch: &RecordBatch) -> Result<(), StorageError> {
        self.count(batch);
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).and_then(|()| self.writer.flush()).map_err(format_error("cannot write spans"))
    }

    fn count(&mut self, batch: &RecordBatch) {
        for ((column, counted), array) in self.columns.iter().zip(&mut self.counted).zip(batch.columns()) {
            counted.nulls += array.logical_null_count() as u64;
            let bounds = match column.name.as_str() {
                START => bounds(array.as_primitive::<TimestampNanosecondType>().values()),
                DURATION => bounds(array.as_primitive::<Int64Type>().values()),
                STATUS => bounds(array.as_primitive::<UInt8Type>().values()),
                _ => None,
            };
            if let Some((min, max)) = bounds {
                let known = counted.numbers.unwrap_or((min, max));
                counted.numbers = Some((known.0.min(min), known.1.max(max)));
            }
            if column.name == SERVICE {
                // Only values in use: a dictionary may have more.
                let all: BTreeSet<&str> = match Texts::of(array) {
                    Some(texts) => (0..array.len()).filter_map(|row| texts.get(row)).collect(),
                    None => BTreeSet::new(),
                };
                if let (Some(min), Some(max)) = (all.first(), all.last()) {
                    let known = counted.texts.take().unwrap_or_else(|| ((*min).to_owned(), (*max).to_owned()));
                    counted.texts = Some((known.0.min((*min).to_owned()), known.1.max((*max).to_owned())));
                }
            }
        }
        if let (Some(keys), Some(map)) = (&mut self.map_keys, MapAccess::of(batch)) {
            for key in (0..batch.num_rows()).flat_map(|row| map.entries(row)).map(|(key, ..)| key) {
                if !keys.contains(key) {
                    keys.insert(key.to_owned());
                }
                if keys.len() > MAP_KEYS_MAX {
                    self.map_keys = None;
                    break;
                }
            }
        }
    }

    /// Ends the file and makes it durable.
    pub(super) fn finish(mut self, origin: Origin) -> Result<NewFile, StorageError> {
        let metadata = self.writer.finish().map_err(format_error("cannot end a file of spans"))?;
        let blob = self.blob.0.lock().take();
        let bytes = blob.ok_or_else(|| format_error("cannot end a file of spans")(SharedBlob::closed()))?.finish()?;
        let descriptor = metadata.file_metadata().schema_descr_ptr();
        let mut columns = Vec::new();
        for (root, (column, counted)) in self.columns.iter().zip(&self.counted).enumerate() {
            let leaves: Vec<usize> = (0..descriptor.num_columns()).filter(|leaf| descriptor.get_column_root_idx(*leaf) == root).collect();
            for (nth, leaf) in leaves.iter().enumerate() {
                let sum = |f: fn(&parquet::file::metadata::ColumnChunkMetaData) -> i64| {
                    metadata.row_groups().iter().map(|g| u64::try_from(f(g.column(*leaf))).unwrap_or(0)).sum::<u64>()
                };
                let is_map = column.ty == ColumnType::MapVarchar;
                columns.push(ColumnStats {
                    // A map's statistics are those of its key and value.
                    column_id: column.id + if is_map { i32::try_from(nth).unwrap_or(0) + 1 } else { 0 },
                    size_bytes: sum(|c| c.compressed_size()),
                    value_count: if is_map { sum(|c| c.num_values()) } else { self.rows },
                    null_count: counted.nulls,
                    min: counted.min(&column.name),
                    max: counted.max(&column.name),
                    contains_nan: None,
                });
            }
        }
        let (time_min, time_max) = self.columns.iter().position(|c| c.name == START).and_then(|at| self.counted[at].numbers).unwrap_or((0, 0));
        let footer_bytes = footer_length(&metadata, bytes);
        Ok(NewFile {
            table: TABLE,
            path: self.path,
            bytes,
            footer_bytes,
            rows: self.rows,
            time_min,
            time_max,
            seq_min: origin.seq_min,
            seq_max: origin.seq_max,
            level: origin.level,
            columns,
            extra: serde_json::json!({ "map_keys": self.map_keys }),
        })
    }
}

fn bounds<T: Copy + Ord + Into<i64>>(values: &[T]) -> Option<(i64, i64)> {
    Some(((*values.iter().min()?).into(), (*values.iter().max()?).into()))
}

impl Counted {
    fn text(&self, name: &str, number: fn((i64, i64)) -> i64) -> Option<String> {
        let value = number(self.numbers?);
        if name == START { timestamp_ns_to_datetime(value).map(|t| t.to_string()) } else { Some(value.to_string()) }
    }

    fn min(&self, name: &str) -> Option<String> {
        self.texts.as_ref().map(|(min, _)| min.clone()).or_else(|| self.text(name, |(min, _)| min))
    }

    fn max(&self, name: &str) -> Option<String> {
        self.texts.as_ref().map(|(_, max)| max.clone()).or_else(|| self.text(name, |(_, max)| max))
    }
}

/// Bytes of the footer proper (the thrift text before its length and the magic number).
fn footer_length(metadata: &parquet::file::metadata::ParquetMetaData, bytes: u64) -> u64 {
    // Data, then blooms, then page indexes, then the footer: it begins where the last of these ends.
    let end =
        |offset: Option<i64>, length: Option<i32>| u64::try_from(offset.unwrap_or(0)).unwrap_or(0) + u64::try_from(length.unwrap_or(0)).unwrap_or(0);
    let ends = metadata.row_groups().iter().flat_map(|g| g.columns()).map(|c| {
        let (start, length) = c.byte_range();
        (start + length)
            .max(end(c.bloom_filter_offset(), c.bloom_filter_length()))
            .max(end(c.column_index_offset(), c.column_index_length()))
            .max(end(c.offset_index_offset(), c.offset_index_length()))
    });
    bytes.saturating_sub(ends.max().unwrap_or(4)).saturating_sub(8)
}
