//! Columns of samples files, decoded run by run.
//!
//! The library reads footers, finds pages and decompresses them. What is in the pages is decoded here: a query reads
//! millions of values that mostly repeat or differ by little, straight to where it wants them.

pub(super) mod delta;
pub(super) mod pages;
pub(super) mod repeated;

use parquet::basic::Encoding;
use parquet::errors::{ParquetError, Result};

use pages::{DataPage, Pages};

/// Decodes the values of a page from front to back.
pub(super) trait Decoder: Default {
    /// Begins a page; `dictionary` is the column's, if it has one.
    fn start(&mut self, page: &DataPage, dictionary: Option<&[u8]>) -> Result<()>;

    /// Passes over `count` values.
    fn skip(&mut self, count: usize) -> Result<()>;
}

/// One column of a row group and the row it stands at.
pub(super) struct Column<D> {
    pages: Pages,
    decoder: D,
    /// Next row of the page, and the row after the page's last.
    row: u64,
    end: u64,
}

impl<D: Decoder> Column<D> {
    pub(super) fn new(pages: Pages) -> Self {
        let row = pages.row();
        Self { pages, decoder: D::default(), row, end: row }
    }

    /// The row that comes next.
    pub(super) fn row(&self) -> u64 {
        self.row
    }

    /// Lets `take` read rows `from..from + count` piece by piece; a piece ends with its page. Rows only ever ascend.
    pub(super) fn read(&mut self, from: u64, count: usize, mut take: impl FnMut(&mut D, usize) -> Result<()>) -> Result<()> {
        let (mut row, to) = (from, from + count as u64);
        while row < to {
            if row >= self.end {
                let page = self.pages.holding(row)?;
                self.decoder.start(&page, self.pages.dictionary())?;
                (self.row, self.end) = (page.first, page.first + page.values as u64);
            }
            if row > self.row {
                self.decoder.skip((row - self.row) as usize)?;
            }
            let piece = (to.min(self.end) - row) as usize;
            take(&mut self.decoder, piece)?;
            row += piece as u64;
            self.row = row;
        }
        Ok(())
    }
}

fn malformed(reason: impl Into<String>) -> ParquetError {
    ParquetError::General(reason.into())
}

fn unknown(encoding: Encoding, expected: &str) -> ParquetError {
    malformed(format!("a page is encoded as {encoding}, expected {expected}"))
}

/// Reads an unsigned LEB128 number.
fn unsigned(bytes: &[u8], at: &mut usize) -> Result<u64> {
    super::pack::get_varint(bytes, at).ok_or_else(|| malformed("a page ends inside a number"))
}
