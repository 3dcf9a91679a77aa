//! Native histograms as senders write them (spans of buckets, deltas or absolute counts) into the model's lists.

use skopos_model::histogram::{CUSTOM_SCHEMA, SCHEMA_MAX};
use skopos_model::{Buckets, CounterReset, NativeHistogram};

use crate::proto::{Message, ProtoError, Reader, varint, zigzag};

const SPAN: Message = Message { name: "BucketSpan", tags: &[varint(1), varint(2)] };

/// Finest schema a sender may use: above [`SCHEMA_MAX`] buckets are merged down to it, as Prometheus does.
pub(crate) const SCHEMA_WIRE_MAX: i32 = 52;

/// Buckets on the wire: runs of neighbours, and one number for each.
#[derive(Debug, Default)]
pub(crate) struct WireBuckets {
    /// Gap to the run before (for the first: its first index), and length.
    pub(crate) spans: Vec<(i32, u32)>,
    /// Difference of each count to the one before it: integer histograms.
    pub(crate) deltas: Vec<i64>,
    /// Counts: float histograms.
    pub(crate) counts: Vec<f64>,
}

impl WireBuckets {
    pub(crate) fn clear(&mut self) {
        self.spans.clear();
        self.deltas.clear();
        self.counts.clear();
    }

    /// Adds a `BucketSpan`, which remote write and the exposition have in common.
    pub(crate) fn read_span(&mut self, mut reader: Reader<'_>) -> Result<(), ProtoError> {
        const OFFSET: u32 = varint(1);
        const LENGTH: u32 = varint(2);
        let (mut offset, mut length) = (0, 0);
        while let Some(tag) = reader.tag()? {
            match tag {
                OFFSET => offset = zigzag(reader.varint()?) as i32,
                LENGTH => length = reader.varint()? as u32,
                _ => reader.skip(tag, &SPAN)?,
            }
        }
        self.spans.push((offset, length));
        Ok(())
    }

    /// The model's buckets, those without a count left out; `merge` is by how many schemas they are made coarser.
    fn buckets(&self, float: bool, merge: u32) -> Result<Buckets, String> {
        let given = if float { self.counts.len() } else { self.deltas.len() };
        let spanned: u64 = self.spans.iter().map(|(_, length)| u64::from(*length)).sum();
        if spanned != given as u64 {
            return Err(format!("spans of {spanned} buckets have {given} counts"));
        }
        let mut merged = Merging { out: Buckets::default(), merge };
        let (mut index, mut at, mut count) = (0i64, 0usize, 0i64);
        for (run, (offset, length)) in self.spans.iter().enumerate() {
            if run > 0 && *offset < 0 {
                return Err(format!("span {run} has the offset {offset}: only the first may be negative"));
            }
            index += i64::from(*offset);
            for _ in 0..*length {
                let value = if float {
                    self.counts[at]
                } else {
                    count = count.checked_add(self.deltas[at]).ok_or("a bucket's count is beyond 2^63")?;
                    count as f64
                };
                merged.push(i32::try_from(index).map_err(|_| "a bucket's index is beyond 2^31")?, value);
                index += 1;
                at += 1;
            }
        }
        Ok(merged.out)
    }
}

/// Puts buckets in ascending order together to coarser ones.
struct Merging {
    out: Buckets,
    merge: u32,
}

impl Merging {
    fn push(&mut self, index: i32, count: f64) {
        let index = coarser(index, self.merge);
        match self.out.indexes.last() {
            Some(last) if self.merge > 0 && *last == index => {
                if let Some(sum) = self.out.counts.last_mut() {
                    *sum += count;
                }
            }
            _ => self.out.push(index, count),
        }
    }
}

/// The bucket that holds bucket `index` after its schema has been lowered by `merge`.
pub(crate) fn coarser(index: i32, merge: u32) -> i32 {
    if merge == 0 {
        return index;
    }
    // Bucket i reaches up to base^i: i − 1 shifted keeps that border on the bucket's upper side.
    (((i64::from(index) - 1) >> merge.min(62)) + 1) as i32
}

/// A histogram's fields as they were read.
#[derive(Debug, Default)]
pub(crate) struct WireHistogram {
    pub(crate) float: bool,
    pub(crate) count: f64,
    /// Exact, for the check of integer histograms.
    pub(crate) count_int: u64,
    pub(crate) sum: f64,
    pub(crate) schema: i32,
    pub(crate) zero_threshold: f64,
    pub(crate) zero_count: f64,
    pub(crate) zero_count_int: u64,
    pub(crate) positive: WireBuckets,
    pub(crate) negative: WireBuckets,
    pub(crate) reset: CounterReset,
    pub(crate) custom_bounds: Vec<f64>,
    /// Unix milliseconds.
    pub(crate) timestamp: i64,
    /// Unix milliseconds, 0 when not given.
    pub(crate) start: i64,
}

impl WireHistogram {
    /// For the next one; keeps the buffers.
    pub(crate) fn clear(&mut self) {
        let (mut positive, mut negative) = (std::mem::take(&mut self.positive), std::mem::take(&mut self.negative));
        positive.clear();
        negative.clear();
        *self = Self { positive, negative, ..Self::default() };
    }

    /// The model's histogram.
    ///
    /// # Errors
    /// With what makes it invalid.
    pub(crate) fn build(&mut self) -> Result<NativeHistogram, String> {
        if skopos_model::metric::is_stale(self.sum) {
            return Ok(NativeHistogram::stale());
        }
        let merge = match self.schema {
            schema if schema == i32::from(CUSTOM_SCHEMA) => 0,
            schema if schema > i32::from(SCHEMA_MAX) && schema <= SCHEMA_WIRE_MAX => schema.abs_diff(i32::from(SCHEMA_MAX)),
            schema if i8::try_from(schema).is_ok() => 0,
            schema => return Err(format!("schema {schema} is not known")),
        };
        let schema = if merge > 0 { SCHEMA_MAX } else { self.schema as i8 };
        let histogram = NativeHistogram {
            schema,
            counter_reset: self.reset,
            zero_threshold: self.zero_threshold,
            zero_count: if self.float { self.zero_count } else { self.zero_count_int as f64 },
            count: if self.float { self.count } else { self.count_int as f64 },
            sum: self.sum,
            positive: self.positive.buckets(self.float, merge)?,
            negative: self.negative.buckets(self.float, merge)?,
            custom_bounds: std::mem::take(&mut self.custom_bounds),
        };
        histogram.check()?;
        if !self.float {
            self.check_total()?;
        }
        Ok(histogram)
    }

    /// Integer counts have to add up. Observations of NaN are in the count and in no bucket, and make the sum NaN.
    fn check_total(&self) -> Result<(), String> {
        let mut total = i128::from(self.zero_count_int);
        for deltas in [&self.positive.deltas, &self.negative.deltas] {
            let mut count = 0i128;
            for delta in deltas {
                count += i128::from(*delta);
                total += count;
            }
        }
        let count = i128::from(self.count_int);
        if self.sum.is_nan() { total <= count } else { total == count }
            .then_some(())
            .ok_or_else(|| format!("the buckets hold {total} observations, the count says {count}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(spans: &[(i32, u32)], deltas: &[i64], schema: i32, count: u64) -> WireHistogram {
        let positive = WireBuckets { spans: spans.to_vec(), deltas: deltas.to_vec(), counts: Vec::new() };
        WireHistogram { positive, schema, count_int: count, ..WireHistogram::default() }
    }

    #[test]
    fn spans_and_deltas_become_buckets() {
        let built = wire(&[(-2, 2), (1, 3)], &[1, 2, -3, 4, -3], 3, 9).build().expect("valid");
        // Counts 1, 3 at −2, −1; a gap of one; then 0 (left out), 4, 1 at 1, 2, 3.
        assert_eq!(built.positive.iter().collect::<Vec<_>>(), [(-2, 1.0), (-1, 3.0), (2, 4.0), (3, 1.0)]);
        assert_eq!((built.schema, built.count), (3, 9.0));
    }

    #[test]
    fn fine_schemas_are_merged_down() {
        let built = wire(&[(-3, 8)], &[1, 0, 0, 0, 0, 0, 0, 0], 9, 8).build().expect("valid");
        assert_eq!(built.schema, 8);
        // −3 | −2 −1… : pairs (2k − 1, 2k) share a bucket.
        assert_eq!(built.positive.iter().collect::<Vec<_>>(), [(-1, 2.0), (0, 2.0), (1, 2.0), (2, 2.0)]);
        assert_eq!([-5, -1, 0, 1, 2, 3].map(|i| coarser(i, 1)), [-2, 0, 0, 1, 1, 2]);
        assert_eq!(coarser(i32::MIN, 44), 0, "everything below one shares the bucket below one");
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        for (mut histogram, reason) in [
            (wire(&[(0, 2)], &[1], 0, 1), "spans of 2 buckets have 1 counts"),
            (wire(&[(0, u32::MAX), (0, u32::MAX)], &[1], 0, 1), "spans of 8589934590 buckets have 1 counts"),
            (wire(&[(0, 1), (-1, 1)], &[1, 0], 0, 2), "span 1 has the offset -1: only the first may be negative"),
            (wire(&[(i32::MAX, 2)], &[1, 0], 0, 2), "a bucket's index is beyond 2^31"),
            (wire(&[(0, 2)], &[i64::MAX, 1], 0, 2), "a bucket's count is beyond 2^63"),
            (wire(&[(0, 1)], &[1], 0, 2), "the buckets hold 1 observations, the count says 2"),
            (wire(&[(0, 1)], &[-1], 0, 0), "a count is negative or no number"),
            (wire(&[(0, 1)], &[1], 53, 1), "schema 53 is not one of -4 to 8 and -53"),
            (wire(&[(0, 1)], &[1], -9, 1), "schema -9 is not one of -4 to 8 and -53"),
            (wire(&[(0, 1)], &[1], 100_000, 1), "schema 100000 is not known"),
        ] {
            assert_eq!(histogram.build().expect_err(reason), reason);
        }
        let mut nan = WireHistogram { sum: f64::NAN, ..wire(&[(0, 1)], &[1], 0, 3) };
        assert!(nan.build().is_ok(), "observations of NaN are in no bucket");
    }
}
