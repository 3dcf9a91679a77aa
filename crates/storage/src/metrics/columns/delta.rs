//! `DELTA_BINARY_PACKED`: blocks of differences, each miniblock with a bit width of its own.
//!
//! Source: the Apache Parquet format, Encodings.md, "Delta Encoding".

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::errors::Result;

use super::pages::DataPage;
use super::{Decoder, malformed, unknown, unsigned};
use crate::metrics::pack::{SLACK, accumulate, unzigzag};

/// Most values of a miniblock that is taken; writers use 32 to 128.
const MINIBLOCK_MAX: usize = 1024;

/// Values of a page of differences.
#[derive(Debug, Default)]
pub(in super::super) struct Deltas {
    bytes: Bytes,
    at: usize,
    /// Values that are not in `ready` yet, the first value of the page included.
    left: usize,
    is_first: bool,
    last: i64,
    miniblock: usize,
    min: i64,
    /// Where the widths of the block's miniblocks begin, the next of them, and how many there are.
    widths: usize,
    next: usize,
    miniblocks: usize,
    /// Decoded values, and those of them that were taken.
    ready: Vec<i64>,
    taken: usize,
    padded: Vec<u8>,
}

impl Deltas {
    /// Appends the next `count` values.
    pub(in super::super) fn read(&mut self, mut count: usize, out: &mut Vec<i64>) -> Result<()> {
        while count > 0 {
            if self.taken == self.ready.len() {
                self.fill()?;
            }
            let take = count.min(self.ready.len() - self.taken);
            out.extend_from_slice(&self.ready[self.taken..self.taken + take]);
            self.taken += take;
            count -= take;
        }
        Ok(())
    }

    /// Decodes the next miniblock.
    fn fill(&mut self) -> Result<()> {
        self.ready.clear();
        self.taken = 0;
        if self.left == 0 {
            return Err(malformed("a page of differences has fewer values than its header says"));
        }
        if self.is_first {
            self.is_first = false;
            self.left -= 1;
            self.ready.push(self.last);
            return Ok(());
        }
        if self.next == self.miniblocks {
            self.min = unzigzag(unsigned(&self.bytes, &mut self.at)?);
            self.widths = self.at;
            self.at += self.miniblocks;
            self.next = 0;
        }
        let width = usize::from(*self.bytes.get(self.widths + self.next).ok_or_else(|| malformed("a block of differences has no widths"))?);
        self.next += 1;
        let count = self.left.min(self.miniblock);
        self.left -= count;
        let (mut value, min) = (self.last, self.min);
        if width == 0 {
            self.ready.extend((0..count).map(|_| {
                value = value.wrapping_add(min);
                value
            }));
        } else {
            let length = (self.miniblock * width).div_ceil(8);
            let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len() && width <= 64);
            let end = end.ok_or_else(|| malformed("a miniblock of differences is cut"))?;
            // Where the page ends soon after, its bytes are copied in front of some zeros.
            let bits = match self.bytes.get(self.at..end + SLACK) {
                Some(bits) => bits,
                None => {
                    self.padded.clear();
                    self.padded.extend_from_slice(&self.bytes[self.at..end]);
                    self.padded.resize(length + SLACK, 0);
                    &self.padded
                }
            };
            self.ready.resize(count, 0);
            value = accumulate(bits, width, min, value, &mut self.ready);
            self.at = end;
        }
        self.last = value;
        Ok(())
    }
}

impl Decoder for Deltas {
    fn start(&mut self, page: &DataPage, _: Option<&[u8]>) -> Result<()> {
        if page.encoding != Encoding::DELTA_BINARY_PACKED {
            return Err(unknown(page.encoding, "DELTA_BINARY_PACKED"));
        }
        self.bytes = page.bytes.clone();
        let mut at = 0;
        let block = unsigned(&self.bytes, &mut at)? as usize;
        self.miniblocks = unsigned(&self.bytes, &mut at)? as usize;
        self.miniblock = block.checked_div(self.miniblocks).unwrap_or(0);
        if self.miniblock == 0 || self.miniblock > MINIBLOCK_MAX || self.miniblocks > block {
            return Err(malformed(format!("blocks of {block} differences in {} miniblocks", self.miniblocks)));
        }
        self.left = unsigned(&self.bytes, &mut at)? as usize;
        if self.left != page.values {
            return Err(malformed(format!("a page of {} values says it has {}", page.values, self.left)));
        }
        self.last = unzigzag(unsigned(&self.bytes, &mut at)?);
        self.at = at;
        self.is_first = true;
        self.next = self.miniblocks;
        self.ready.clear();
        self.taken = 0;
        Ok(())
    }

    fn skip(&mut self, mut count: usize) -> Result<()> {
        while count > 0 {
            if self.taken == self.ready.len() {
                self.fill()?;
            }
            let take = count.min(self.ready.len() - self.taken);
            self.taken += take;
            count -= take;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::data_type::Int64Type;
    use parquet::file::properties::WriterProperties;
    use proptest::prelude::*;

    /// What the library's writer makes of the values: an uncompressed page.
    fn page(values: &[i64]) -> DataPage {
        use parquet::column::page::{CompressedPage, PageWriteSpec, PageWriter};
        use parquet::column::writer::{get_column_writer, get_typed_column_writer};
        use std::sync::{Arc, Mutex};

        #[derive(Default)]
        struct Kept(Arc<Mutex<Option<Bytes>>>);
        impl PageWriter for Kept {
            fn write_page(&mut self, page: CompressedPage) -> Result<PageWriteSpec> {
                *self.0.lock().expect("one thread") = Some(page.compressed_page().buffer().clone());
                Ok(PageWriteSpec::new())
            }
            fn close(&mut self) -> Result<()> {
                Ok(())
            }
        }
        let kept = Kept::default();
        let out = Arc::clone(&kept.0);
        let schema = parquet::schema::parser::parse_message_type("message m { required int64 v; }").expect("schema");
        let descriptor = parquet::schema::types::SchemaDescriptor::new(Arc::new(schema)).column(0);
        let properties = WriterProperties::builder().set_dictionary_enabled(false).set_encoding(Encoding::DELTA_BINARY_PACKED).build();
        let mut writer = get_typed_column_writer::<Int64Type>(get_column_writer(descriptor, Arc::new(properties), Box::new(kept)));
        writer.write_batch(values, None, None).expect("written");
        writer.close().expect("closed");
        let bytes = out.lock().expect("one thread").take().expect("a page");
        DataPage { bytes, encoding: Encoding::DELTA_BINARY_PACKED, values: values.len(), first: 0 }
    }

    fn check(values: &[i64], pieces: &[usize]) {
        let page = page(values);
        let mut decoder = Deltas::default();
        decoder.start(&page, None).expect("starts");
        let (mut out, mut wanted, mut at) = (Vec::new(), Vec::new(), 0);
        // Read and passed over in turns.
        for (i, piece) in pieces.iter().cycle().take(values.len() * 2 + 2).enumerate() {
            let count = (*piece).min(values.len() - at);
            if i % 2 == 0 {
                decoder.read(count, &mut out).expect("reads");
                wanted.extend_from_slice(&values[at..at + count]);
            } else {
                decoder.skip(count).expect("skips");
            }
            at += count;
        }
        assert_eq!(out, wanted);
        assert_eq!(at < values.len(), decoder.read(1, &mut out).is_ok());
    }

    #[test]
    fn corner_values() {
        check(&[7], &[1]);
        check(&[i64::MIN, i64::MAX, 0, -1, i64::MAX, i64::MIN], &[2, 1]);
        check(&(0..2000).map(|i| i * 15_000).collect::<Vec<_>>(), &[480, 33]);
        check(&(0..2000).map(|i| (i % 480) * -15_000).collect::<Vec<_>>(), &[480]);
    }

    #[test]
    fn all_widths() {
        for width in 0..64 {
            let values: Vec<i64> = (0..700u64).map(|i| ((i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1) as i64) >> (62 - width.min(62))).collect();
            check(&values, &[64, 7, 129]);
        }
    }

    #[test]
    fn damage_is_an_error() {
        let values: Vec<i64> = (0..300).map(|i| i * i).collect();
        let good = page(&values);
        for cut in 0..good.bytes.len() {
            let mut decoder = Deltas::default();
            let page = DataPage { bytes: good.bytes.slice(..cut), ..page(&values) };
            let mut out = Vec::new();
            assert!(decoder.start(&page, None).and_then(|()| decoder.read(values.len(), &mut out)).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_values(values in prop::collection::vec(prop_oneof![any::<i64>(), -1000i64..1000, Just(5)], 1..900), pieces in prop::collection::vec(1usize..200, 2..6)) {
            check(&values, &pieces);
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), values in 0usize..500) {
            let mut decoder = Deltas::default();
            let page = DataPage { bytes: bytes.into(), encoding: Encoding::DELTA_BINARY_PACKED, values, first: 0 };
            let mut out = Vec::new();
            let _ = decoder.start(&page, None).and_then(|()| decoder.read(values, &mut out));
            prop_assert!(out.len() <= values);
        }
    }
}
