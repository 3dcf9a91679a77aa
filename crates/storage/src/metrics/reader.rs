//! Reads runs of series from samples files, run by run, without an Arrow batch in between.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::DoubleType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::{ReaderProperties, ReaderPropertiesPtr};
use parquet::file::reader::RowGroupReader;
use parquet::file::serialized_reader::SerializedRowGroupReader;

use crate::blob::{Blob, BlobReader};
use crate::error::StorageError;
use crate::table::FileMeta;

use super::columns::Column;
use super::columns::delta::Deltas;
use super::columns::pages::Pages;
use super::columns::repeated::Repeated;
use super::decimal::{EXPONENT_MAX, extend_reversed};
use super::run_index::{KEY, Run, RunIndex};
use super::samples::Samples;

/// A blob that counts what is read from it.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) blob: Arc<dyn Blob>,
    pub(super) bytes: Arc<AtomicU64>,
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
pub(super) fn footer(meta: &FileMeta, reader: &BlobReader) -> Result<Arc<ParquetMetaData>, StorageError> {
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

pub(super) fn read_index(meta: &FileMeta, footer: &ParquetMetaData, reader: &BlobReader, rows: u64) -> Result<RunIndex, StorageError> {
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

/// Floats of a row group, where there are some.
struct Floats {
    reader: ColumnReaderImpl<DoubleType>,
    row: u64,
    /// Definition levels, and the values of those that are defined.
    defined: Vec<i16>,
    values: Vec<f64>,
}

impl Floats {
    /// Replaces those of `out` (rows `from` on, the last row first) that have a float.
    fn read(&mut self, from: u64, out: &mut [f64]) -> parquet::errors::Result<()> {
        let short = || parquet::errors::ParquetError::General("a column ends before its row group".to_owned());
        let skip = (from - self.row) as usize;
        if skip > 0 && self.reader.skip_records(skip)? != skip {
            return Err(short());
        }
        self.defined.clear();
        self.values.clear();
        let (read, ..) = self.reader.read_records(out.len(), Some(&mut self.defined), None, &mut self.values)?;
        if read != out.len() {
            return Err(short());
        }
        self.row = from + out.len() as u64;
        let rows = out.iter_mut().rev().zip(&self.defined).filter(|(_, level)| **level == 1);
        for ((out, _), value) in rows.zip(&self.values) {
            *out = *value;
        }
        Ok(())
    }
}

/// Readers of one row group.
struct Group {
    number: usize,
    time: Column<Deltas>,
    base: Column<Repeated<i64>>,
    d: Column<Deltas>,
    e: Column<Repeated<i32>>,
    floats: Floats,
}

/// What one run is decoded by way of.
#[derive(Default)]
struct Decoded {
    /// As in the file: the last sample first.
    d: Vec<i64>,
    /// How many values have the same base, and the same exponent.
    bases: Vec<(i64, usize)>,
    exponents: Vec<(i32, usize)>,
}

/// Visits runs of one file in the order given; in order of rows it reads each page once.
pub(super) struct RunCursor {
    file: Arc<SamplesFile>,
    /// Positions in the file's index, to be visited in this order.
    wanted: Vec<u32>,
    at: usize,
    group: Option<Group>,
    decoded: Decoded,
    /// A run of which only a part is wanted; its buffers are used again.
    apart: Samples,
}

impl std::fmt::Debug for RunCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunCursor").field("file", &self.file.meta.file.path).field("at", &self.at).finish_non_exhaustive()
    }
}

impl RunCursor {
    pub(super) fn new(file: Arc<SamplesFile>, wanted: Vec<u32>) -> Self {
        Self { file, wanted, at: 0, group: None, decoded: Decoded::default(), apart: Samples::default() }
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
        self.at += 1;
        if start <= run.first && run.last <= end && out.times.last().is_none_or(|last| *last < run.first) {
            out.append(|times, values| self.decode_safely(run, times, values))?;
        } else {
            let mut apart = std::mem::take(&mut self.apart);
            apart.clear();
            apart.append(|times, values| self.decode_safely(run, times, values))?;
            out.add_in_range(&apart.times, &apart.values, start, end);
            self.apart = apart;
        }
        Ok(u64::from(run.count))
    }

    fn decode_safely(&mut self, run: Run, times: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), StorageError> {
        // A damaged page can make the library panic; that must not take the server along.
        match catch_unwind(AssertUnwindSafe(|| self.decode(run, times, values))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(damaged(&self.file.meta, e.to_string())),
            Err(_) => Err(damaged(&self.file.meta, "the Parquet reader panicked")),
        }
    }

    fn open_group(&self, number: usize) -> parquet::errors::Result<Group> {
        let file = &self.file;
        let offsets = file.footer.offset_index().map(|all| all[number].as_slice()).filter(|o| !o.is_empty());
        let group = file.footer.row_group(number);
        let row = file.group_rows[number];
        let pages = |leaf: usize| {
            Pages::open(&file.reader, group.column(leaf), group.num_rows() as usize, offsets.and_then(|o| o.get(leaf)), &file.properties, row)
        };
        let library = SerializedRowGroupReader::new(Arc::clone(&file.reader), group, offsets, Arc::clone(&file.properties))?;
        let floats = get_typed_column_reader::<DoubleType>(library.get_column_reader(5)?);
        Ok(Group {
            number,
            time: Column::new(pages(1)?),
            base: Column::new(pages(2)?),
            d: Column::new(pages(3)?),
            e: Column::new(pages(4)?),
            floats: Floats { reader: floats, row, defined: Vec::new(), values: Vec::new() },
        })
    }

    /// Appends the samples of a run.
    fn decode(&mut self, run: Run, times: &mut Vec<i64>, values: &mut Vec<f64>) -> parquet::errors::Result<()> {
        let rows = &self.file.group_rows;
        let number = rows.partition_point(|first| *first <= run.row).saturating_sub(1);
        if rows.get(number + 1).is_none_or(|end| run.row + u64::from(run.count) > *end) {
            return Err(ParquetError::General("a run crosses the end of its row group".to_owned()));
        }
        let mut group = match self.group.take() {
            Some(group) if group.number == number && group.time.row() <= run.row => group,
            _ => self.open_group(number)?,
        };
        let (from, count) = (run.row, run.count as usize);
        let Decoded { d, bases, exponents } = &mut self.decoded;
        let (times_before, values_before) = (times.len(), values.len());
        times.reserve(count);
        values.reserve(count);
        d.clear();
        bases.clear();
        exponents.clear();
        group.time.read(from, count, |decoder, n| decoder.read(n, times))?;
        group.d.read(from, count, |decoder, n| decoder.read(n, d))?;
        group.base.read(from, count, |decoder, n| decoder.read(n, |base, n| add_run(bases, base, n)))?;
        group.e.read(from, count, |decoder, n| decoder.read(n, |e, n| add_run(exponents, e, n)))?;
        times[times_before..].reverse();
        // From the end of the run in the file, which is its beginning in time.
        let mut end = count;
        let mut last_exponents = exponents.iter().rev().copied();
        let mut exponent = (0, 0);
        for (base, mut left) in bases.iter().rev().copied() {
            while left > 0 {
                if exponent.1 == 0 {
                    exponent = last_exponents.next().ok_or_else(|| ParquetError::General("fewer exponents than bases".to_owned()))?;
                }
                let n = left.min(exponent.1);
                let e = u8::try_from(exponent.0)
                    .ok()
                    .filter(|e| *e <= EXPONENT_MAX)
                    .ok_or_else(|| ParquetError::General(format!("exponent {} is not one of 0 to {EXPONENT_MAX}", exponent.0)))?;
                extend_reversed(&d[end - n..end], base, e, values);
                end -= n;
                left -= n;
                exponent.1 -= n;
            }
        }
        if run.floats {
            group.floats.read(from, &mut values[values_before..])?;
        }
        self.group = Some(group);
        Ok(())
    }
}

/// Adds so many of a value to the list of what repeats.
fn add_run<T: PartialEq>(list: &mut Vec<(T, usize)>, value: T, count: usize) {
    match list.last_mut() {
        Some((last, n)) if *last == value => *n += count,
        _ => list.push((value, count)),
    }
}
