//! A file of spans opened for reading: footer, page index and bloom filters, kept while the file lives.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowFilter, RowSelection,
};
use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;
use skopos_model::TraceId;

use super::columns::{DURATION, ENVIRONMENT, RESOURCE, SCOPE, SCOPE_VERSION, SERVICE, START, STATUS, TRACE_ID, dictionary_type};
use super::filter::Prune;
use crate::blob::{BlobReader, Blobs};
use crate::error::StorageError;
use crate::table::FileMeta;

/// Rows of a batch read at once: large enough that the work per batch does not count, small enough for caches.
pub(super) const READ_ROWS: usize = 16_384;

/// Columns read as dictionaries whatever their encoding: code works on their codes.
const ALWAYS_CODES: &[&str] = &[SERVICE, SCOPE, SCOPE_VERSION, ENVIRONMENT, RESOURCE];

/// An open file.
#[derive(Debug)]
pub(super) struct SpanFile {
    pub(super) meta: Arc<FileMeta>,
    blob: BlobReader,
    reader: ArrowReaderMetadata,
    /// By row group; `None` where a group has none.
    blooms: OnceLock<Vec<Option<Sbbf>>>,
    /// Keys that occur in the attribute map, when they were few enough to be noted.
    map_keys: Option<Vec<String>>,
}

pub(super) fn damaged(path: &str) -> impl Fn(parquet::errors::ParquetError) -> StorageError + '_ {
    move |e| StorageError::Damaged { path: path.to_owned(), reason: e.to_string() }
}

fn read_schema(metadata: &ParquetMetaData, plain: &SchemaRef) -> SchemaRef {
    // Leaves of the root columns: only the attribute map has two, and text stands before and after it.
    let descriptor = metadata.file_metadata().schema_descr();
    let fields = plain.fields().iter().enumerate().map(|(root, field)| {
        let leaf = (0..descriptor.num_columns()).find(|leaf| descriptor.get_column_root_idx(*leaf) == root);
        let all_codes = |leaf: usize| {
            metadata.row_groups().iter().all(|g| g.column(leaf).page_encoding_stats_mask().is_some_and(|m| m.is_only(Encoding::RLE_DICTIONARY)))
        };
        let codes = *field.data_type() == DataType::Utf8 && (ALWAYS_CODES.contains(&field.name().as_str()) || leaf.is_some_and(all_codes));
        if codes { Arc::new(Field::clone(field).with_data_type(dictionary_type())) } else { Arc::clone(field) }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

impl SpanFile {
    /// Opens a file and reads its footer and page index.
    pub(super) fn open(blobs: &dyn Blobs, meta: Arc<FileMeta>) -> Result<Self, StorageError> {
        let path = meta.file.path.clone();
        let blob = BlobReader(blobs.open(&path)?);
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let loaded = ArrowReaderMetadata::load(&blob, options).map_err(damaged(&path))?;
        let schema = read_schema(loaded.metadata(), loaded.schema());
        let reader =
            ArrowReaderMetadata::try_new(Arc::clone(loaded.metadata()), ArrowReaderOptions::new().with_schema(schema)).map_err(damaged(&path))?;
        let map_keys = meta.file.extra.get("map_keys").and_then(|keys| serde_json::from_value(keys.clone()).ok());
        // Where another part of the store has loaded it already, that one stays.
        let _ = meta.footer.set(Arc::clone(reader.metadata()));
        Ok(Self { meta, blob, reader, blooms: OnceLock::new(), map_keys })
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.reader.metadata()
    }

    /// Columns with the types they are read with.
    pub(super) fn schema(&self) -> &SchemaRef {
        self.reader.schema()
    }

    pub(super) fn path(&self) -> &str {
        &self.meta.file.path
    }

    /// Whether the attribute map may hold the key.
    pub(super) fn map_may_have(&self, key: &str) -> bool {
        self.map_keys.as_ref().is_none_or(|keys| keys.iter().any(|k| k == key))
    }

    /// Number of row groups.
    pub(super) fn groups(&self) -> usize {
        self.metadata().num_row_groups()
    }

    /// Rows of a row group.
    pub(super) fn rows(&self, group: usize) -> usize {
        usize::try_from(self.metadata().row_group(group).num_rows()).unwrap_or(0)
    }

    /// Position of a column with statistics: these stand before the map, where roots and leaves are the same.
    fn column(&self, name: &str) -> Option<usize> {
        self.reader.schema().index_of(name).ok()
    }

    /// Bounds of a number column in a row group.
    fn bounds(&self, group: usize, name: &str) -> Option<(i64, i64)> {
        match self.metadata().row_group(group).column(self.column(name)?).statistics()? {
            Statistics::Int64(s) => Some((*s.min_opt()?, *s.max_opt()?)),
            Statistics::Int32(s) => Some((i64::from(*s.min_opt()?), i64::from(*s.max_opt()?))),
            _ => None,
        }
    }

    /// Earliest and latest start in a row group.
    pub(super) fn starts(&self, group: usize) -> (i64, i64) {
        self.bounds(group, START).unwrap_or((self.meta.file.time_min, self.meta.file.time_max))
    }

    /// Whether a row group may have a wanted row, by its statistics alone.
    pub(super) fn group_may_match(&self, group: usize, prune: &Prune) -> bool {
        let (first, last) = self.starts(group);
        if !prune.range.overlaps(first, last) {
            return false;
        }
        if let Some((min, max)) = self.bounds(group, DURATION)
            && (max < prune.duration.0 || min > prune.duration.1)
        {
            return false;
        }
        if let (Some(statuses), Some((min, max))) = (&prune.statuses, self.bounds(group, STATUS))
            && !statuses.iter().any(|s| (min..=max).contains(&i64::from(*s)))
        {
            return false;
        }
        if let Some(services) = &prune.services
            && let Some(column) = self.column(SERVICE)
            && let Some(Statistics::ByteArray(s)) = self.metadata().row_group(group).column(column).statistics()
            && let (Some(min), Some(max)) = (s.min_opt(), s.max_opt())
        {
            // Bounds may be cut short: a cut upper bound is rounded up by the writer.
            return services.iter().any(|w| min.data() <= w.as_bytes() && w.as_bytes() <= max.data());
        }
        true
    }

    /// Row ranges of the pages of a column for which `wanted` holds; all rows where there is no index.
    fn pages(&self, group: usize, name: &str, wanted: impl Fn(&ColumnIndexMetaData, usize) -> bool) -> Vec<Range<usize>> {
        let rows = self.rows(group);
        let whole = || std::iter::once(0..rows).collect();
        let (Some(column), Some(indexes), Some(offsets)) = (self.column(name), self.metadata().column_index(), self.metadata().offset_index()) else {
            return whole();
        };
        let index = &indexes[group][column];
        let locations = offsets[group][column].page_locations();
        if matches!(index, ColumnIndexMetaData::NONE) {
            return whole();
        }
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for page in 0..locations.len() {
            if !wanted(index, page) {
                continue;
            }
            let first = |at: usize| usize::try_from(locations[at].first_row_index).unwrap_or(0);
            let (start, end) = (first(page), if page + 1 < locations.len() { first(page + 1) } else { rows });
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        ranges
    }

    /// The pages of a row group that may have a wanted row, or `None` for all of it.
    pub(super) fn select_pages(&self, group: usize, prune: &Prune) -> Option<RowSelection> {
        let mut ranges: Option<Vec<Range<usize>>> = None;
        let mut meet = |other: Vec<Range<usize>>| ranges = Some(ranges.take().map_or(other.clone(), |r| intersect(&r, &other)));
        if prune.duration.0 > i64::MIN || prune.duration.1 < i64::MAX {
            meet(self.pages(group, DURATION, |index, page| match index {
                ColumnIndexMetaData::INT64(i) => match (i.min_value(page), i.max_value(page)) {
                    (Some(min), Some(max)) => *max >= prune.duration.0 && *min <= prune.duration.1,
                    _ => true,
                },
                _ => true,
            }));
        }
        if let Some(statuses) = &prune.statuses {
            meet(self.pages(group, STATUS, |index, page| match index {
                ColumnIndexMetaData::INT32(i) => match (i.min_value(page), i.max_value(page)) {
                    (Some(min), Some(max)) => statuses.iter().any(|s| (*min..=*max).contains(&i32::from(*s))),
                    _ => true,
                },
                _ => true,
            }));
        }
        let (first, last) = self.starts(group);
        if !(prune.range.contains(first) && prune.range.contains(last)) {
            meet(self.pages(group, START, |index, page| match index {
                ColumnIndexMetaData::INT64(i) => match (i.min_value(page), i.max_value(page)) {
                    (Some(min), Some(max)) => prune.range.overlaps(*min, *max),
                    _ => true,
                },
                _ => true,
            }));
        }
        if let Some(traces) = &prune.traces {
            let mut any = Vec::new();
            for id in traces {
                any.extend(self.trace_pages(group, id));
            }
            meet(union(any));
        }
        let rows = self.rows(group);
        let ranges = ranges?;
        if ranges.len() == 1 && ranges[0] == (0..rows) {
            return None;
        }
        Some(RowSelection::from_consecutive_ranges(ranges.into_iter(), rows))
    }

    fn blooms(&self) -> Result<&[Option<Sbbf>], StorageError> {
        if let Some(loaded) = self.blooms.get() {
            return Ok(loaded);
        }
        let column = self.column(TRACE_ID).unwrap_or(0);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.blob.clone(), self.reader.clone());
        let loaded: Result<Vec<_>, _> = (0..self.groups()).map(|group| builder.get_row_group_column_bloom_filter(group, column)).collect();
        Ok(self.blooms.get_or_init(|| loaded.unwrap_or_default()))
    }

    /// Whether a row group may have spans of a trace.
    pub(super) fn group_may_have(&self, group: usize, id: &TraceId) -> Result<bool, StorageError> {
        let bloom = self.blooms()?.get(group).and_then(Option::as_ref);
        Ok(bloom.is_none_or(|b| b.check(&id.0[..])))
    }

    /// Row ranges of the pages that may have spans of a trace: rows of a group are in order of trace ids.
    pub(super) fn trace_pages(&self, group: usize, id: &TraceId) -> Vec<Range<usize>> {
        self.pages(group, TRACE_ID, |index, page| match index {
            ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(i) => match (i.min_value(page), i.max_value(page)) {
                (Some(min), Some(max)) => min <= &id.0[..] && &id.0[..] <= max,
                _ => true,
            },
            _ => true,
        })
    }

    /// The named columns that this file has.
    pub(super) fn mask(&self, columns: &[String]) -> ProjectionMask {
        let roots = columns.iter().filter_map(|name| self.column(name));
        ProjectionMask::roots(self.reader.parquet_schema(), roots)
    }

    /// Compressed bytes of the named columns in a row group.
    pub(super) fn bytes(&self, group: usize, mask: &ProjectionMask) -> u64 {
        let columns = self.metadata().row_group(group).columns().iter().enumerate();
        columns.filter(|(leaf, _)| mask.leaf_included(*leaf)).map(|(_, c)| u64::try_from(c.compressed_size()).unwrap_or(0)).sum()
    }

    /// Starts reading a row group.
    pub(super) fn read(
        &self,
        group: usize,
        selection: Option<RowSelection>,
        mask: ProjectionMask,
        filter: Option<RowFilter>,
    ) -> Result<ParquetRecordBatchReader, StorageError> {
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.blob.clone(), self.reader.clone())
            .with_row_groups(vec![group])
            .with_batch_size(READ_ROWS)
            .with_projection(mask);
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        if let Some(filter) = filter {
            builder = builder.with_row_filter(filter);
        }
        builder.build().map_err(damaged(self.path()))
    }

    /// A batch of a reader, with the file named in its error.
    pub(super) fn batch(&self, batch: Result<RecordBatch, arrow::error::ArrowError>) -> Result<RecordBatch, StorageError> {
        batch.map_err(|e| StorageError::Damaged { path: self.path().to_owned(), reason: e.to_string() })
    }
}

/// Sorted ranges that overlap or touch become one.
pub(super) fn union(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|r| r.start);
    let mut out: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}

fn intersect(a: &[Range<usize>], b: &[Range<usize>]) -> Vec<Range<usize>> {
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while i < a.len() && j < b.len() {
        let (start, end) = (a[i].start.max(b[j].start), a[i].end.min(b[j].end));
        if start < end {
            out.push(start..end);
        }
        if a[i].end < b[j].end { i += 1 } else { j += 1 }
    }
    out
}
