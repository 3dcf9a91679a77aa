//! A sealed piece of a series in memory: 120 samples as shared times and packed decimals.

use std::sync::Arc;

use super::decimal::{Decimals, extend_values};
use super::pack::{get_varint, pack, put_varint, unpack};

/// Samples of a full chunk.
pub(super) const CHUNK_SAMPLES: usize = 120;

/// Marks values kept as their eight bytes.
const RAW: u8 = 0xff;

/// Times of a chunk. Series that are scraped together share one.
#[derive(Debug)]
pub(super) struct TimeBlock {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) count: u32,
    packed: Box<[u8]>,
}

impl TimeBlock {
    /// Packs times, which ascend strictly and are not empty.
    pub(super) fn new(times: &[i64]) -> Self {
        let mut packed = Vec::with_capacity(24);
        pack(times, &mut packed);
        Self {
            first: times.first().copied().unwrap_or(0),
            last: times.last().copied().unwrap_or(0),
            count: times.len() as u32,
            packed: packed.into(),
        }
    }

    /// Appends the times.
    pub(super) fn extend(&self, out: &mut Vec<i64>) {
        // Packed by `new` and never changed: it unpacks.
        unpack(&self.packed, self.count as usize, out);
    }

    /// Whether these are its times, told from the packed form.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.count == other.count && self.first == other.first && self.packed == other.packed
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        64 + self.packed.len()
    }

    /// The packed bytes: equal blocks have equal bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.packed
    }
}

/// Values of a chunk with their times.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) times: Arc<TimeBlock>,
    /// `[exponent or RAW][mantissas packed][number of exceptions][position, bits]…`, or eight bytes a value.
    values: Arc<[u8]>,
}

/// Buffers used again from chunk to chunk.
#[derive(Debug, Default)]
pub(super) struct ChunkScratch {
    decimals: Decimals,
    bytes: Vec<u8>,
    mantissas: Vec<i64>,
}

impl Chunk {
    /// Packs the values of `times`.
    pub(super) fn new(times: Arc<TimeBlock>, values: &[f64], scratch: &mut ChunkScratch) -> Self {
        let ChunkScratch { decimals, bytes, .. } = scratch;
        bytes.clear();
        decimals.set(values);
        if decimals.is_poor() {
            bytes.push(RAW);
            for value in values {
                bytes.extend_from_slice(&value.to_bits().to_le_bytes());
            }
        } else {
            bytes.push(decimals.exponent);
            pack(&decimals.mantissas, bytes);
            put_varint(decimals.exceptions.len() as u64, bytes);
            for &at in &decimals.exceptions {
                put_varint(u64::from(at), bytes);
                bytes.extend_from_slice(&values[at as usize].to_bits().to_le_bytes());
            }
        }
        Self { times, values: Arc::from(bytes.as_slice()) }
    }

    /// Appends the values.
    pub(super) fn extend_values(&self, scratch: &mut ChunkScratch, out: &mut Vec<f64>) {
        let count = self.times.count as usize;
        let start = out.len();
        // Written by `new` and never changed: it reads back.
        self.read(count, &mut scratch.mantissas, out).expect("a chunk holds what was packed into it");
        debug_assert_eq!(out.len() - start, count);
    }

    fn read(&self, count: usize, mantissas: &mut Vec<i64>, out: &mut Vec<f64>) -> Option<()> {
        let (&exponent, body) = self.values.split_first()?;
        if exponent == RAW {
            let words = body.chunks_exact(8).filter_map(|w| w.first_chunk::<8>());
            out.extend(words.map(|w| f64::from_bits(u64::from_le_bytes(*w))));
            return Some(());
        }
        mantissas.clear();
        let start = out.len();
        let mut at = unpack(body, count, mantissas)?;
        extend_values(mantissas, exponent, out);
        for _ in 0..get_varint(body, &mut at)? {
            let position = start + get_varint(body, &mut at)? as usize;
            let bits = body.get(at..)?.first_chunk::<8>()?;
            *out.get_mut(position)? = f64::from_bits(u64::from_le_bytes(*bits));
            at += 8;
        }
        Some(())
    }

    /// Bytes of memory held, the shared times left out.
    pub(super) fn memory(&self) -> usize {
        // Two pointers in the list, the counts before the bytes and the allocator's rounding.
        size_of::<Self>() + 24 + self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use skopos_model::metric::STALE_NAN_BITS;

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-100_000i64..100_000).prop_map(|m| m as f64),
            4 => (-100_000i64..100_000).prop_map(|m| m as f64 / 100.0),
            1 => any::<u64>().prop_map(f64::from_bits),
            1 => Just(f64::from_bits(STALE_NAN_BITS)),
        ]
    }

    proptest! {
        #[test]
        fn bit_for_bit(values in prop::collection::vec(any_value(), 1..=CHUNK_SAMPLES)) {
            let times: Vec<i64> = (0..values.len() as i64).map(|i| i * i * 7 - 1000).collect();
            let mut scratch = ChunkScratch::default();
            let chunk = Chunk::new(Arc::new(TimeBlock::new(&times)), &values, &mut scratch);
            let (mut t, mut v) = (vec![], vec![]);
            chunk.times.extend(&mut t);
            chunk.extend_values(&mut scratch, &mut v);
            prop_assert_eq!(t, times);
            let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&v), bits(&values));
        }
    }
}
