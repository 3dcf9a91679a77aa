//! Reads runs of series from samples files, page by page, without an Arrow batch in between.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{DataType, DoubleType, Int32Type, Int64Type};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::{ReaderProperties, ReaderPropertiesPtr};
use parquet::file::reader::RowGroupReader;
use parquet::file::serialized_reader::SerializedRowGroupReader;

use crate::blob::{Blob, BlobReader};
use crate::error::StorageError;
use crate::table::FileMeta;

use super::decimal::{EXPONENT_MAX, extend_values};
use super::run_index::{KEY, Run, RunIndex};
use super::samples::Samples;

/// Rows decoded at a time where wanted runs follow one another.
const BLOCK_ROWS: u64 = 32_768;

/// Unwanted rows between two wanted runs that are decoded along rather than skipped.
const GAP_ROWS: u64 = 1_024;

/// A blob that counts what is read from it.
#[derive(Debug)]
struct Counted {
    blob: Arc<dyn Blob>,
    bytes: Arc<AtomicU64>,
}

impl Blob for Counted {
    fn len(&self) -> u64 {
        self.blob.len()
    }

    fn read(&self, offset: u64, length: usize) -> Result<Bytes, StorageError> {
        self.bytes.fetch_add(length as u64, Ordering::Relaxed);
        self.blob.read(offset, length)
    }
}

/// An open samples file.
pub(super) struct SamplesFile {
    pub(super) meta: Arc<FileMeta>,
    pub(super) index: Arc<RunIndex>,
    footer: Arc<ParquetMetaData>,
    reader: Arc<BlobReader>,
    properties: ReaderPropertiesPtr,
    /// First row of each row group, and the number of rows at the end.
    group_rows: Vec<u64>,
    bytes: Arc<AtomicU64>,
}

impl std::fmt::Debug for SamplesFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SamplesFile").field("path", &self.meta.file.path).finish_non_exhaustive()
    }
}

fn damaged(meta: &FileMeta, reason: impl Into<String>) -> StorageError {
    StorageError::Damaged { path: meta.file.path.clone(), reason: reason.into() }
}

/// The footer of a file, kept with its entry once read.
fn footer(meta: &FileMeta, reader: &BlobReader) -> Result<Arc<ParquetMetaData>, StorageError> {
    if let Some(known) = meta.footer.get() {
        return Ok(Arc::clone(known));
    }
    let parsed =
        catch_unwind(AssertUnwindSafe(|| ParquetMetaDataReader::new().with_offset_index_policy(PageIndexPolicy::Optional).parse_and_finish(reader)));
    let parsed = match parsed {
        Ok(Ok(parsed)) => Arc::new(parsed),
        Ok(Err(e)) => return Err(damaged(meta, format!("footer: {e}"))),
        Err(_) => return Err(damaged(meta, "footer: the reader panicked")),
    };
    Ok(Arc::clone(meta.footer.get_or_init(|| parsed)))
}

impl SamplesFile {
    /// Opens a file; `index` when it was read before.
    pub(super) fn open(meta: &Arc<FileMeta>, blob: Arc<dyn Blob>, index: Option<Arc<RunIndex>>) -> Result<Self, StorageError> {
        let bytes = Arc::new(AtomicU64::new(0));
        let reader = BlobReader(Arc::new(Counted { blob, bytes: Arc::clone(&bytes) }));
        let footer = footer(meta, &reader)?;
        if footer.num_row_groups() > 0 && footer.row_group(0).num_columns() != 6 {
            return Err(damaged(meta, "not the six columns of a samples file"));
        }
        let mut group_rows = vec![0];
        for group in footer.row_groups() {
            let rows = u64::try_from(group.num_rows()).map_err(|_| damaged(meta, "a row group of negative length"))?;
            group_rows.push(group_rows.last().copied().unwrap_or(0) + rows);
        }
        let index = match index {
            Some(index) => index,
            None => Arc::new(read_index(meta, &footer, &reader, group_rows.last().copied().unwrap_or(0))?),
        };
        let properties = Arc::new(ReaderProperties::builder().set_read_bloom_filter(false).build());
        Ok(Self { meta: Arc::clone(meta), index, footer, reader: Arc::new(reader), properties, group_rows, bytes })
    }

    /// Bytes read since it was opened.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn read_index(meta: &FileMeta, footer: &ParquetMetaData, reader: &BlobReader, rows: u64) -> Result<RunIndex, StorageError> {
    let pairs = footer.file_metadata().key_value_metadata();
    let place = pairs.and_then(|all| all.iter().find(|kv| kv.key == KEY)).and_then(|kv| kv.value.as_deref());
    let place = place.ok_or_else(|| damaged(meta, format!("footer has no {KEY}")))?;
    let mut numbers = place.split(' ').map(|n| n.parse::<u64>().ok());
    let (Some(Some(offset)), Some(Some(length)), Some(Some(crc))) = (numbers.next(), numbers.next(), numbers.next()) else {
        return Err(damaged(meta, format!("{KEY} is {place:?}, expected offset, length and checksum")));
    };
    if offset.checked_add(length).is_none_or(|end| end > reader.0.len()) {
        return Err(damaged(meta, format!("{KEY} is {place:?}, behind the end of the file")));
    }
    let bytes = reader.0.read(offset, length as usize)?;
    if u64::from(crc32c::crc32c(&bytes)) != crc {
        return Err(damaged(meta, "checksum of the run index does not hold"));
    }
    RunIndex::from_bytes(&bytes, rows).ok_or_else(|| damaged(meta, "the run index does not fit the rows"))
}

/// One column of a row group and the row it stands at.
struct Column<T: DataType> {
    reader: ColumnReaderImpl<T>,
    row: u64,
}

impl<T: DataType> Column<T> {
    fn open(group: &SerializedRowGroupReader<'_, BlobReader>, leaf: usize, row: u64) -> parquet::errors::Result<Self> {
        Ok(Self { reader: get_typed_column_reader::<T>(group.get_column_reader(leaf)?), row })
    }

    /// Appends the values of rows `from..to`.
    fn read(&mut self, from: u64, to: u64, levels: Option<&mut Vec<i16>>, out: &mut Vec<T::T>) -> parquet::errors::Result<()> {
        let short = || parquet::errors::ParquetError::General("a column ends before its row group".to_owned());
        let skip = (from - self.row) as usize;
        if skip > 0 && self.reader.skip_records(skip)? != skip {
            return Err(short());
        }
        let count = (to - from) as usize;
        let (read, ..) = self.reader.read_records(count, levels, None, out)?;
        if read != count {
            return Err(short());
        }
        self.row = to;
        Ok(())
    }
}

/// Readers of one row group.
struct Group {
    number: usize,
    time: Column<Int64Type>,
    base: Column<Int64Type>,
    d: Column<Int64Type>,
    e: Column<Int32Type>,
    value: Column<DoubleType>,
}

/// Decoded rows `start..start + times.len()`.
#[derive(Default)]
struct Block {
    start: u64,
    times: Vec<i64>,
    values: Vec<f64>,
    base: Vec<i64>,
    d: Vec<i64>,
    e: Vec<i32>,
    defined: Vec<i16>,
    floats: Vec<f64>,
}

/// Visits runs of one file in the order given; in order of rows it reads each page once.
pub(super) struct RunCursor {
    file: Arc<SamplesFile>,
    /// Positions in the file's index, to be visited in this order.
    wanted: Vec<u32>,
    at: usize,
    group: Option<Group>,
    block: Block,
}

impl std::fmt::Debug for RunCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunCursor").field("file", &self.file.meta.file.path).field("at", &self.at).finish_non_exhaustive()
    }
}

impl RunCursor {
    pub(super) fn new(file: Arc<SamplesFile>, wanted: Vec<u32>) -> Self {
        Self { file, wanted, at: 0, group: None, block: Block::default() }
    }

    /// The file being read.
    pub(super) fn file(&self) -> &SamplesFile {
        &self.file
    }

    /// The run that the next [`Self::read`] gives.
    pub(super) fn peek(&self) -> Option<&Run> {
        self.wanted.get(self.at).map(|i| &self.file.index.runs[*i as usize])
    }

    /// Adds the samples of the next run in the closed range of milliseconds to `out`, and returns the rows decoded.
    pub(super) fn read(&mut self, start: i64, end: i64, out: &mut Samples) -> Result<u64, StorageError> {
        let Some(run) = self.peek().copied() else { return Ok(0) };
        let (from, to) = (run.row, run.row + u64::from(run.count));
        let mut decoded = 0;
        if from < self.block.start || to > self.block.start + self.block.times.len() as u64 {
            decoded = self.load(from)?;
        }
        self.at += 1;
        let range = (from - self.block.start) as usize..(to - self.block.start) as usize;
        let (times, values) = (&mut self.block.times[range.clone()], &mut self.block.values[range]);
        // Descending in the file; each run is read once.
        times.reverse();
        values.reverse();
        out.add_in_range(times, values, start, end);
        Ok(decoded)
    }

    /// Decodes a block that begins with the next wanted run.
    fn load(&mut self, from: u64) -> Result<u64, StorageError> {
        let rows = &self.file.group_rows;
        let number = rows.partition_point(|first| *first <= from).saturating_sub(1);
        let group_end = rows.get(number + 1).copied().unwrap_or(from);
        let mut to = from;
        let mut floats = false;
        for position in &self.wanted[self.at..] {
            let run = &self.file.index.runs[*position as usize];
            let end = run.row + u64::from(run.count);
            if run.row < to || run.row > to + GAP_ROWS || end > group_end || (to > from && end - from > BLOCK_ROWS) {
                break;
            }
            to = end;
            floats |= run.floats;
        }
        if to == from {
            return Err(damaged(&self.file.meta, "a run crosses the end of its row group"));
        }
        // A damaged page can make the library panic; that must not take the server along.
        let result = catch_unwind(AssertUnwindSafe(|| self.decode(number, from, to, floats)));
        match result {
            Ok(Ok(())) => Ok(to - from),
            Ok(Err(e)) => Err(damaged(&self.file.meta, e.to_string())),
            Err(_) => Err(damaged(&self.file.meta, "the Parquet reader panicked")),
        }
    }

    fn open_group(&self, number: usize) -> parquet::errors::Result<Group> {
        let file = &self.file;
        let offsets = file.footer.offset_index().map(|all| all[number].as_slice()).filter(|o| !o.is_empty());
        let group = file.footer.row_group(number);
        let reader = SerializedRowGroupReader::new(Arc::clone(&file.reader), group, offsets, Arc::clone(&file.properties))?;
        let row = file.group_rows[number];
        Ok(Group {
            number,
            time: Column::open(&reader, 1, row)?,
            base: Column::open(&reader, 2, row)?,
            d: Column::open(&reader, 3, row)?,
            e: Column::open(&reader, 4, row)?,
            value: Column::open(&reader, 5, row)?,
        })
    }

    fn decode(&mut self, number: usize, from: u64, to: u64, floats: bool) -> parquet::errors::Result<()> {
        let mut group = match self.group.take() {
            Some(group) if group.number == number && group.time.row <= from => group,
            _ => self.open_group(number)?,
        };
        let Block { start, times, values, base, d, e, defined, floats: float_values } = &mut self.block;
        *start = from;
        for buffer in [&mut *times, base, d] {
            buffer.clear();
        }
        values.clear();
        e.clear();
        group.time.read(from, to, None, times)?;
        group.base.read(from, to, None, base)?;
        group.d.read(from, to, None, d)?;
        group.e.read(from, to, None, e)?;
        for (d, base) in d.iter_mut().zip(base.iter()) {
            *d = d.wrapping_add(*base);
        }
        let mut at = 0;
        for same in e.chunk_by(|a, b| a == b) {
            let exponent = u8::try_from(same[0])
                .ok()
                .filter(|e| *e <= EXPONENT_MAX)
                .ok_or_else(|| parquet::errors::ParquetError::General(format!("exponent {} is not one of 0 to {EXPONENT_MAX}", same[0])))?;
            extend_values(&d[at..at + same.len()], exponent, values);
            at += same.len();
        }
        if floats {
            defined.clear();
            float_values.clear();
            group.value.read(from, to, Some(defined), float_values)?;
            let rows = values.iter_mut().zip(defined.iter()).filter(|(_, level)| **level == 1);
            for ((value, _), float) in rows.zip(float_values.iter()) {
                *value = *float;
            }
        }
        self.group = Some(group);
        Ok(())
    }
}
