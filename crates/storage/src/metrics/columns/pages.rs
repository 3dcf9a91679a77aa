//! Data pages of a column in order of their rows.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::errors::Result;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::properties::ReaderPropertiesPtr;
use parquet::file::serialized_reader::SerializedPageReader;

use super::malformed;
use crate::blob::BlobReader;

/// A decompressed page of a column without levels.
#[derive(Debug)]
pub(in super::super) struct DataPage {
    pub(super) bytes: Bytes,
    pub(super) encoding: Encoding,
    /// Number of values.
    pub(super) values: usize,
    /// Row of the first value.
    pub(super) first: u64,
}

/// Pages that are still to come.
pub(in super::super) struct Pages {
    reader: SerializedPageReader<BlobReader>,
    dictionary: Option<Bytes>,
    row: u64,
}

impl Pages {
    /// The pages of a required column of a row group that begins with row `row`.
    pub(in super::super) fn open(
        reader: &Arc<BlobReader>,
        column: &ColumnChunkMetaData,
        rows: usize,
        offsets: Option<&OffsetIndexMetaData>,
        properties: &ReaderPropertiesPtr,
        row: u64,
    ) -> Result<Self> {
        let locations = offsets.map(|o| o.page_locations.clone());
        let reader = SerializedPageReader::new_with_properties(Arc::clone(reader), column, rows, locations, Arc::clone(properties))?;
        Ok(Self { reader, dictionary: None, row })
    }

    /// First row of the next page.
    pub(in super::super) fn row(&self) -> u64 {
        self.row
    }

    /// The values of the column's dictionary one after another.
    pub(super) fn dictionary(&self) -> Option<&[u8]> {
        self.dictionary.as_deref()
    }

    /// The page that holds a row; those before it are passed over without being decompressed.
    pub(super) fn holding(&mut self, row: u64) -> Result<DataPage> {
        let short = || malformed("a column ends before its row group");
        loop {
            let next = self.reader.peek_next_page()?.ok_or_else(short)?;
            if let (false, Some(rows)) = (next.is_dict, next.num_rows)
                && self.row + rows as u64 <= row
            {
                self.reader.skip_next_page()?;
                self.row += rows as u64;
                continue;
            }
            let (bytes, encoding, values) = match self.reader.get_next_page()?.ok_or_else(short)? {
                Page::DictionaryPage { buf, .. } => {
                    self.dictionary = Some(buf);
                    continue;
                }
                Page::DataPage { buf, num_values, encoding, .. } => (buf, encoding, num_values as usize),
                // A required column has no levels, so nothing stands before the values.
                Page::DataPageV2 { buf, num_values, encoding, .. } => (buf, encoding, num_values as usize),
            };
            let first = self.row;
            self.row += values as u64;
            if row < self.row {
                return Ok(DataPage { bytes, encoding, values, first });
            }
        }
    }
}
