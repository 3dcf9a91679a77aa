//! A file opened for reading: footer, directory, and its rows block by block.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Int32Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::file::metadata::PageIndexPolicy;
use skopos_query::QueryContext;

use super::bloom::{BLOCK_BYTES, block_has, block_of};
use super::schema::{BLOCK_ROWS, FileColumn, Kind};
use super::sections::{DIRECTORY_KEY, Directory, FilterAt, FilterSet};
use crate::blob::{Blob, BlobReader, Blobs};
use crate::error::StorageError;
use crate::table::{FileMeta, Schema};

/// A block of rows: a page of each column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockAt {
    pub(super) group: usize,
    /// First row in the file.
    pub(super) start: usize,
    pub(super) rows: usize,
}

/// A file with its footer and directory in memory.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) meta: Arc<FileMeta>,
    blob: Arc<dyn Blob>,
    arrow: ArrowReaderMetadata,
    pub(super) columns: Vec<FileColumn>,
    /// Place of each of `columns` in the file.
    roots: Vec<usize>,
    pub(super) directory: Directory,
    pub(super) blocks: Vec<BlockAt>,
    /// First row of each row group.
    group_starts: Vec<usize>,
}

fn format_error(path: &str, error: impl std::fmt::Display) -> StorageError {
    StorageError::Damaged { path: path.to_owned(), reason: error.to_string() }
}

impl OpenFile {
    pub(super) fn open(blobs: &dyn Blobs, meta: Arc<FileMeta>, schema: &Schema) -> Result<Self, StorageError> {
        let path = meta.file.path.clone();
        let blob = blobs.open(&path)?;
        let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Required).with_column_index_policy(PageIndexPolicy::Skip);
        let arrow = ArrowReaderMetadata::load(&BlobReader(Arc::clone(&blob)), options).map_err(|e| format_error(&path, e))?;
        let place = arrow
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .and_then(|all| all.iter().find(|kv| kv.key == DIRECTORY_KEY)?.value.as_deref())
            .and_then(|text| text.split_once(','))
            .and_then(|(offset, length)| Some((offset.parse::<u64>().ok()?, length.parse::<usize>().ok()?)))
            .filter(|(offset, length)| offset.checked_add(*length as u64).is_some_and(|end| end <= blob.len()))
            .ok_or_else(|| format_error(&path, "its footer does not say where the directory is"))?;
        let directory = Directory::from_bytes(&blob.read(place.0, place.1)?, &path)?;
        let known = schema.columns();
        let (mut columns, mut roots) = (Vec::new(), Vec::new());
        let fields = arrow.parquet_schema().root_schema().get_fields();
        for (root, (field, arrow_field)) in fields.iter().zip(arrow.schema().fields()).enumerate() {
            let info = field.get_basic_info();
            let Some(column) = known.iter().find(|c| info.has_id() && c.id == info.id()) else { continue };
            let repeats = matches!(arrow_field.data_type(), DataType::Dictionary(..));
            if let Some(mut column) = FileColumn::new(column.clone(), repeats) {
                column.field = Arc::clone(arrow_field);
                columns.push(column);
                roots.push(root);
            }
        }
        let (mut blocks, mut group_starts, mut start) = (Vec::new(), Vec::new(), 0);
        for (group, rows) in directory.groups.iter().enumerate() {
            group_starts.push(start);
            let end = start + rows;
            while start < end {
                let rows = BLOCK_ROWS.min(end - start);
                blocks.push(BlockAt { group, start, rows });
                start += rows;
            }
        }
        let footer_rows = usize::try_from(arrow.metadata().file_metadata().num_rows()).unwrap_or(usize::MAX);
        if start != footer_rows || blocks.len() != directory.blocks.len() {
            return Err(format_error(&path, format!("directory says {start} rows, footer {footer_rows}")));
        }
        Ok(Self { meta, blob, arrow, columns, roots, directory, blocks, group_starts })
    }

    pub(super) fn rows(&self) -> usize {
        self.directory.groups.iter().sum()
    }

    pub(super) fn column(&self, kind: Kind) -> Option<&FileColumn> {
        self.columns.iter().find(|c| c.kind == kind)
    }

    /// Uncompressed bytes of the message columns a row, to cut row groups by.
    pub(super) fn row_bytes(&self) -> usize {
        let bytes: i64 = self.arrow.metadata().row_groups().iter().map(|g| g.total_byte_size()).sum();
        usize::try_from(bytes).unwrap_or(0) / self.rows().max(1)
    }

    /// Reads columns of ranges of rows of one row group; ranges ascend and do not touch the next group.
    fn read(
        &self,
        kinds: &[Kind],
        group: usize,
        ranges: impl Iterator<Item = Range<usize>>,
        batch_rows: usize,
        ctx: Option<&QueryContext>,
    ) -> Result<Vec<Vec<(Kind, ArrayRef)>>, StorageError> {
        let error = |e: &dyn std::fmt::Display| format_error(&self.meta.file.path, e);
        let places: Vec<usize> = (0..self.columns.len()).filter(|at| kinds.contains(&self.columns[*at].kind)).collect();
        let mask = ProjectionMask::roots(self.arrow.parquet_schema(), places.iter().map(|at| self.roots[*at]));
        let start = self.group_starts[group];
        let selection = RowSelection::from_consecutive_ranges(ranges.map(|r| r.start - start..r.end - start), self.directory.groups[group]);
        if let Some(ctx) = ctx {
            ctx.stats.add_rows(selection.row_count() as u64);
            ctx.stats.add_bytes(self.selected_bytes(group, &places, &selection));
        }
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(BlobReader(Arc::clone(&self.blob)), self.arrow.clone())
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_row_selection(selection)
            .with_batch_size(batch_rows)
            .build()
            .map_err(|e| error(&e))?;
        reader
            .map(|batch| {
                let batch = batch.map_err(|e| error(&e))?;
                Ok(places.iter().zip(batch.columns()).map(|(at, array)| (self.columns[*at].kind, Arc::clone(array))).collect())
            })
            .collect()
    }

    /// Compressed bytes a selection reads, by its share of the row group.
    fn selected_bytes(&self, group: usize, places: &[usize], selection: &RowSelection) -> u64 {
        let group_meta = self.arrow.metadata().row_group(group);
        let descriptor = self.arrow.parquet_schema();
        let roots: Vec<usize> = places.iter().map(|at| self.roots[*at]).collect();
        let bytes: i64 = (0..group_meta.num_columns())
            .filter(|leaf| roots.contains(&descriptor.get_column_root_idx(*leaf)))
            .map(|leaf| group_meta.column(leaf).compressed_size())
            .sum();
        let rows = self.directory.groups[group].max(1);
        u64::try_from(bytes).unwrap_or(0) * selection.row_count() as u64 / rows as u64
    }

    /// Reads columns of blocks (by number, ascending) of one row group: a block each.
    pub(super) fn read_blocks(self: &Arc<Self>, kinds: &[Kind], numbers: &[usize], ctx: &QueryContext) -> Result<Vec<Block>, StorageError> {
        let Some(first) = numbers.first() else { return Ok(Vec::new()) };
        let group = self.blocks[*first].group;
        let ranges = numbers.iter().map(|n| self.blocks[*n].start..self.blocks[*n].start + self.blocks[*n].rows);
        let block = |number: &usize, columns| Block { file: Arc::clone(self), number: *number, start: self.blocks[*number].start, columns };
        if kinds.is_empty() {
            return Ok(numbers.iter().map(|n| block(n, Vec::new())).collect());
        }
        let batches = self.read(kinds, group, ranges, BLOCK_ROWS, Some(ctx))?;
        if batches.len() != numbers.len() {
            return Err(format_error(&self.meta.file.path, format!("{} blocks were read where {} were asked for", batches.len(), numbers.len())));
        }
        Ok(numbers.iter().zip(batches).map(|(n, columns)| block(n, columns)).collect())
    }

    /// Reads columns of single rows (ascending, in the file) that lie in one row group.
    pub(super) fn read_rows(self: &Arc<Self>, kinds: &[Kind], rows: &[usize], ctx: &QueryContext) -> Result<Block, StorageError> {
        let group = self.group_starts.partition_point(|start| *start <= rows[0]) - 1;
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for &row in rows {
            match ranges.last_mut() {
                Some(last) if last.end == row => last.end += 1,
                _ => ranges.push(row..row + 1),
            }
        }
        let mut batches = self.read(kinds, group, ranges.into_iter(), rows.len(), Some(ctx))?;
        let columns = batches.pop().filter(|_| batches.is_empty()).ok_or_else(|| format_error(&self.meta.file.path, "rows are missing"))?;
        Ok(Block { file: Arc::clone(self), number: 0, start: rows[0], columns })
    }

    /// The row group a row is in.
    pub(super) fn group_of(&self, row: usize) -> usize {
        self.group_starts.partition_point(|start| *start <= row) - 1
    }

    /// Reads one column of a range of rows that may span row groups, in pieces.
    pub(super) fn read_range(&self, kind: Kind, rows: Range<usize>) -> Result<Vec<ArrayRef>, StorageError> {
        let mut pieces = Vec::new();
        let mut start = rows.start;
        while start < rows.end {
            let group = self.group_of(start);
            let end = rows.end.min(self.group_starts[group] + self.directory.groups[group]);
            for batch in self.read(&[kind], group, std::iter::once(start..end), end - start, None)? {
                pieces.extend(batch.into_iter().map(|(_, array)| array));
            }
            start = end;
        }
        Ok(pieces)
    }

    fn probe(&self, filter: FilterAt, token: u64) -> Result<bool, StorageError> {
        let Some((offset, blocks)) = filter else { return Ok(true) };
        let at = offset + block_of(token, blocks) * BLOCK_BYTES as u64;
        Ok(block_has(&self.blob.read(at, BLOCK_BYTES)?, token))
    }

    /// Whether the file may hold all of the tokens.
    pub(super) fn may_hold(&self, set: &FilterSet, tokens: &[u64]) -> Result<bool, StorageError> {
        for token in tokens {
            if !self.probe(set.file, *token)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a block may hold all of the tokens.
    pub(super) fn block_may_hold(&self, set: &FilterSet, block: usize, tokens: &[u64]) -> Result<bool, StorageError> {
        for token in tokens {
            if !self.probe(set.pages[block], *token)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Some columns of a block of rows.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) file: Arc<OpenFile>,
    /// Which block of the file.
    pub(super) number: usize,
    /// First row in the file.
    pub(super) start: usize,
    columns: Vec<(Kind, ArrayRef)>,
}

impl Block {
    pub(super) fn get(&self, kind: Kind) -> Option<&ArrayRef> {
        self.columns.iter().find(|(k, _)| *k == kind).map(|(_, array)| array)
    }

    /// Text of a row, of either text type.
    pub(super) fn text(&self, kind: Kind, row: usize) -> Option<&str> {
        text_at(self.get(kind)?, row)
    }

    pub(super) fn bytes(&self, kind: Kind, row: usize) -> Option<&[u8]> {
        let array = self.get(kind)?;
        if !array.is_valid(row) {
            return None;
        }
        match array.data_type() {
            DataType::FixedSizeBinary(_) => Some(array.as_fixed_size_binary().value(row)),
            _ => Some(array.as_binary::<i32>().value(row)),
        }
    }
}

/// Keys and values of repeating text.
pub(super) fn dictionary(array: &ArrayRef) -> Option<(&[i32], &StringArray, &ArrayRef)> {
    let array = array.as_dictionary_opt::<Int32Type>()?;
    Some((array.keys().values(), array.values().as_string_opt::<i32>()?, array.values()))
}

fn text_at(array: &ArrayRef, row: usize) -> Option<&str> {
    if !array.is_valid(row) {
        return None;
    }
    match dictionary(array) {
        Some((keys, values, _)) => Some(values.value(keys[row] as usize)),
        None => Some(array.as_string_opt::<i32>()?.value(row)),
    }
}
