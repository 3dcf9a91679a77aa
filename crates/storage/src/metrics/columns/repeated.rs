//! Numbers that repeat for as long as a run of a series: a dictionary and run-length encoded codes.
//!
//! Source: the Apache Parquet format, Encodings.md, "Dictionary Encoding" and "Run Length Encoding / Bit-Packing Hybrid".

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::errors::Result;

use super::pages::DataPage;
use super::{Decoder, malformed, unknown, unsigned};

/// A physical type that repeats.
pub(in super::super) trait Number: Copy + Default + PartialEq + std::fmt::Debug {
    /// Bytes it takes in a page.
    const SIZE: usize;
    /// From that many bytes, the least significant first.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl Number for i64 {
    const SIZE: usize = 8;
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().map(|b| Self::from_le_bytes(*b))
    }
}

impl Number for i32 {
    const SIZE: usize = 4;
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().map(|b| Self::from_le_bytes(*b))
    }
}

#[derive(Debug, Default)]
enum State<T> {
    /// The same value so many times again.
    Same(T, usize),
    /// Codes of some bits from a bit on, and how many.
    Packed { bit: usize, left: usize },
    /// Values as they are: the writer gave the dictionary up.
    Plain,
    #[default]
    Between,
}

/// Values of a page as (value, how often).
#[derive(Debug, Default)]
pub(in super::super) struct Repeated<T> {
    dictionary: Vec<T>,
    bytes: Bytes,
    at: usize,
    /// Bits of a code.
    width: usize,
    state: State<T>,
}

impl<T: Number> Repeated<T> {
    /// Gives the next `count` values: each with how often it comes.
    pub(in super::super) fn read(&mut self, mut count: usize, mut take: impl FnMut(T, usize)) -> Result<()> {
        while count > 0 {
            let (value, n) = self.next(count)?;
            take(value, n);
            count -= n;
        }
        Ok(())
    }

    fn next(&mut self, count: usize) -> Result<(T, usize)> {
        loop {
            match &mut self.state {
                State::Same(value, left) if *left > 0 => {
                    let n = count.min(*left);
                    *left -= n;
                    return Ok((*value, n));
                }
                State::Packed { bit, left } if *left > 0 => {
                    let code = bits(&self.bytes, *bit, self.width).ok_or_else(cut)?;
                    *bit += self.width;
                    *left -= 1;
                    return self.value(code).map(|value| (value, 1));
                }
                State::Plain => {
                    let value = self.bytes.get(self.at..self.at + T::SIZE).and_then(T::from_bytes).ok_or_else(cut)?;
                    self.at += T::SIZE;
                    return Ok((value, 1));
                }
                State::Same(..) | State::Packed { .. } | State::Between => self.state = self.run()?,
            }
        }
    }

    /// Reads the head of the next run.
    fn run(&mut self) -> Result<State<T>> {
        let head = unsigned(&self.bytes, &mut self.at)?;
        let count = usize::try_from(head >> 1).map_err(|_| cut())?;
        if head & 1 == 1 {
            let bytes = count.checked_mul(self.width).filter(|b| *b <= self.bytes.len() - self.at).ok_or_else(cut)?;
            let bit = self.at * 8;
            self.at += bytes;
            return Ok(State::Packed { bit, left: count.checked_mul(8).ok_or_else(cut)? });
        }
        let bytes = self.width.div_ceil(8);
        let code = self.bytes.get(self.at..self.at + bytes).ok_or_else(cut)?;
        let code = code.iter().rev().fold(0u64, |code, byte| code << 8 | u64::from(*byte));
        self.at += bytes;
        Ok(State::Same(self.value(code)?, count))
    }

    fn value(&self, code: u64) -> Result<T> {
        let found = usize::try_from(code).ok().and_then(|i| self.dictionary.get(i));
        found.copied().ok_or_else(|| malformed(format!("code {code} of a dictionary of {} values", self.dictionary.len())))
    }
}

fn cut() -> parquet::errors::ParquetError {
    malformed("a page of codes is cut")
}

/// `width` (32 at most) bits from a bit on.
fn bits(bytes: &[u8], bit: usize, width: usize) -> Option<u64> {
    if width == 0 {
        return Some(0);
    }
    let last = (bit + width - 1) >> 3;
    let word = bytes.get(bit >> 3..=last)?.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    Some(word >> (bit & 7) & ((1 << width) - 1))
}

impl<T: Number> Decoder for Repeated<T> {
    fn start(&mut self, page: &DataPage, dictionary: Option<&[u8]>) -> Result<()> {
        self.bytes = page.bytes.clone();
        self.at = 0;
        #[allow(deprecated, reason = "the older name of the same encoding; the library writes it in pages of version 1")]
        let is_coded = matches!(page.encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
        if !is_coded {
            self.state = State::Plain;
            return if page.encoding == Encoding::PLAIN { Ok(()) } else { Err(unknown(page.encoding, "PLAIN or RLE_DICTIONARY")) };
        }
        if self.dictionary.is_empty() {
            let bytes = dictionary.ok_or_else(|| malformed("a page of codes without a dictionary"))?;
            self.dictionary = bytes.chunks_exact(T::SIZE).filter_map(T::from_bytes).collect();
        }
        self.width = usize::from(*self.bytes.first().ok_or_else(cut)?);
        if self.width > 32 {
            return Err(malformed(format!("codes of {} bits", self.width)));
        }
        self.at = 1;
        self.state = State::Between;
        Ok(())
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        self.read(count, |_, _| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(bytes: Vec<u8>, encoding: Encoding) -> DataPage {
        DataPage { values: 1000, bytes: bytes.into(), encoding, first: 0 }
    }

    fn all(decoder: &mut Repeated<i64>, count: usize) -> Result<Vec<(i64, usize)>> {
        let mut out = Vec::new();
        decoder.read(count, |value, n| out.push((value, n)))?;
        Ok(out)
    }

    fn dictionary(values: &[i64]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn runs_and_packed_codes() {
        let dictionary = dictionary(&[10, 20, 30]);
        // Two bits: five times code 2, then eight packed codes 0 1 2 0 1 2 0 1, then 300 times code 1.
        let bytes = vec![2, 5 << 1, 2, 1 << 1 | 1, 0b0010_0100, 0b0100_1001, 0xd8, 0x04, 1];
        let mut decoder = Repeated::<i64>::default();
        decoder.start(&page(bytes.clone(), Encoding::RLE_DICTIONARY), Some(&dictionary)).expect("starts");
        assert_eq!(all(&mut decoder, 3).expect("reads"), [(30, 3)]);
        decoder.skip(3).expect("skips");
        let packed = [20, 30, 10, 20, 30, 10, 20].map(|v| (v, 1));
        assert_eq!(all(&mut decoder, 7).expect("reads"), packed);
        assert_eq!(all(&mut decoder, 300).expect("reads"), [(20, 300)]);
        assert!(all(&mut decoder, 1).is_err(), "there are no more");
        // Another page of the same column keeps the dictionary.
        decoder.start(&page(bytes, Encoding::RLE_DICTIONARY), Some(&dictionary)).expect("starts");
        assert_eq!(all(&mut decoder, 5).expect("reads"), [(30, 5)]);
    }

    #[test]
    fn plain_values_and_no_width() {
        let mut decoder = Repeated::<i64>::default();
        decoder.start(&page(dictionary(&[1, -1, i64::MAX]), Encoding::PLAIN), None).expect("starts");
        decoder.skip(1).expect("skips");
        assert_eq!(all(&mut decoder, 2).expect("reads"), [(-1, 1), (i64::MAX, 1)]);
        assert!(all(&mut decoder, 1).is_err());
        // A dictionary of one value needs no bits.
        decoder.start(&page(vec![0, 9 << 1], Encoding::RLE_DICTIONARY), Some(&dictionary(&[7]))).expect("starts");
        assert_eq!(all(&mut decoder, 9).expect("reads"), [(7, 9)]);
    }

    #[test]
    fn damage_is_an_error() {
        let two = dictionary(&[1, 2]);
        for bytes in [vec![], vec![33, 2, 0], vec![2, 2 << 1, 3], vec![2, 2 << 1], vec![2, 9 << 1 | 1, 0]] {
            let mut decoder = Repeated::<i64>::default();
            let read = decoder.start(&page(bytes.clone(), Encoding::RLE_DICTIONARY), Some(&two)).and_then(|()| all(&mut decoder, 2));
            assert!(read.is_err(), "{bytes:?}: {read:?}");
        }
        let mut decoder = Repeated::<i64>::default();
        assert!(decoder.start(&page(vec![], Encoding::DELTA_BINARY_PACKED), None).is_err());
        assert!(decoder.start(&page(vec![0, 2], Encoding::RLE_DICTIONARY), None).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100), count in 0usize..500) {
            let mut decoder = Repeated::<i64>::default();
            let mut seen = 0;
            let _ = decoder
                .start(&page(bytes, Encoding::RLE_DICTIONARY), Some(&dictionary(&[1, 2, 3])))
                .and_then(|()| decoder.read(count, |_, n| seen += n));
            prop_assert!(seen <= count);
        }
    }
}
