//! Native histograms: one sample that holds a whole distribution.
//!
//! Counts are floats, as Prometheus computes with them; counts of integer histograms are exact up to 2^53.

use serde::{Deserialize, Serialize};

use crate::metric::is_stale;

/// Schema of histograms whose bounds are listed one by one (custom buckets).
pub const CUSTOM_SCHEMA: i8 = -53;
/// Coarsest exponential schema: bounds grow by 2^16.
pub const SCHEMA_MIN: i8 = -4;
/// Finest exponential schema: bounds grow by 2^(1/256).
pub const SCHEMA_MAX: i8 = 8;

/// What is known about a restart of the counter between this histogram and the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CounterReset {
    /// Not known: it shows in the counts.
    #[default]
    Unknown,
    /// It was restarted.
    Reset,
    /// It was not.
    NotReset,
    /// It is no counter.
    Gauge,
}

/// Buckets with a count other than zero, in ascending order of their index.
///
/// In an exponential schema `s` the bucket `i` holds (base^(i−1), base^i] with base = 2^(2^−s); negative buckets mirror
/// that. With custom bounds bucket `i` holds (bound(i−1), bound(i)], the first from −∞ and the one after the last bound
/// to +∞.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Buckets {
    /// Indexes, strictly ascending.
    pub indexes: Vec<i32>,
    /// The count of each.
    pub counts: Vec<f64>,
}

impl Buckets {
    /// Number of buckets.
    pub fn len(&self) -> usize {
        self.indexes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// Appends a bucket; `index` must be above the last one. One without a count is left out.
    pub fn push(&mut self, index: i32, count: f64) {
        if count != 0.0 {
            self.indexes.push(index);
            self.counts.push(count);
        }
    }

    /// The buckets.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, f64)> + '_ {
        self.indexes.iter().copied().zip(self.counts.iter().copied())
    }

    /// Sum of the counts.
    pub fn sum(&self) -> f64 {
        self.counts.iter().sum()
    }
}

/// A native histogram.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NativeHistogram {
    /// Resolution: [`SCHEMA_MIN`] to [`SCHEMA_MAX`], or [`CUSTOM_SCHEMA`].
    pub schema: i8,
    /// What is known about a restart before it.
    pub counter_reset: CounterReset,
    /// Values of at most this magnitude are in the zero bucket.
    pub zero_threshold: f64,
    /// Count of the zero bucket.
    pub zero_count: f64,
    /// Count of all observations.
    pub count: f64,
    /// Sum of all observations; Prometheus' staleness marker in a histogram that ends a series.
    pub sum: f64,
    /// Buckets of positive values, or those of custom bounds.
    pub positive: Buckets,
    /// Buckets of negative values; none with custom bounds.
    pub negative: Buckets,
    /// Upper bounds without +∞, strictly ascending; empty unless the schema is [`CUSTOM_SCHEMA`].
    pub custom_bounds: Vec<f64>,
}

impl NativeHistogram {
    /// The histogram that ends a series.
    pub fn stale() -> Self {
        Self { sum: f64::from_bits(crate::metric::STALE_NAN_BITS), ..Self::default() }
    }

    /// Whether it ends a series.
    pub fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }

    /// Whether its bounds are listed one by one.
    pub fn is_custom(&self) -> bool {
        self.schema == CUSTOM_SCHEMA
    }

    /// Memory it takes, bytes, about.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + 12 * (self.positive.indexes.capacity() + self.negative.indexes.capacity()) + 8 * self.custom_bounds.capacity()
    }

    /// What makes it invalid, if anything: the checks of the remote-write specification.
    ///
    /// # Errors
    /// With the reason, in words for the sender.
    pub fn check(&self) -> Result<(), String> {
        if self.is_stale() {
            return Ok(());
        }
        if self.is_custom() {
            if !self.negative.is_empty() {
                return Err("a histogram with custom bounds has no negative buckets".to_owned());
            }
            if self.zero_count != 0.0 || self.zero_threshold != 0.0 {
                return Err("a histogram with custom bounds has no zero bucket".to_owned());
            }
            // Not `<`: a bound that is NaN is no bound either.
            if self.custom_bounds.windows(2).any(|pair| !matches!(pair[0].partial_cmp(&pair[1]), Some(std::cmp::Ordering::Less))) {
                return Err("custom bounds have to ascend".to_owned());
            }
            if self.custom_bounds.iter().any(|bound| !bound.is_finite()) {
                return Err("custom bounds have to be finite; the last bucket reaches to infinity by itself".to_owned());
            }
            let last = i32::try_from(self.custom_bounds.len()).unwrap_or(i32::MAX);
            if self.positive.indexes.iter().any(|index| !(0..=last).contains(index)) {
                return Err(format!("a bucket lies outside of the {last} custom bounds"));
            }
        } else {
            if !(SCHEMA_MIN..=SCHEMA_MAX).contains(&self.schema) {
                return Err(format!("schema {} is not one of {SCHEMA_MIN} to {SCHEMA_MAX} and {CUSTOM_SCHEMA}", self.schema));
            }
            if !self.custom_bounds.is_empty() {
                return Err(format!("schema {} has no custom bounds", self.schema));
            }
            if self.zero_threshold.is_nan() || self.zero_threshold < 0.0 || self.zero_threshold.is_infinite() {
                return Err(format!("zero threshold {} is not a finite number from 0 on", self.zero_threshold));
            }
        }
        for buckets in [&self.positive, &self.negative] {
            if buckets.indexes.len() != buckets.counts.len() {
                return Err(format!("{} bucket indexes have {} counts", buckets.indexes.len(), buckets.counts.len()));
            }
            if buckets.indexes.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err("buckets have to be in ascending order".to_owned());
            }
        }
        let all = [self.zero_count, self.count].into_iter();
        let mut counts = all.chain(self.positive.counts.iter().copied()).chain(self.negative.counts.iter().copied());
        if self.counter_reset != CounterReset::Gauge && counts.any(|count| count.is_nan() || count < 0.0) {
            return Err("a count is negative or no number".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(i32, f64)]) -> Buckets {
        let mut out = Buckets::default();
        pairs.iter().for_each(|(index, count)| out.push(*index, *count));
        out
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let good = NativeHistogram { schema: 3, count: 3.0, sum: 4.5, positive: buckets(&[(-2, 1.0), (0, 0.0), (5, 2.0)]), ..Default::default() };
        assert_eq!(good.check(), Ok(()));
        assert_eq!(good.positive.indexes, [-2, 5]);
        assert_eq!(good.positive.sum(), 3.0);
        let custom = NativeHistogram { schema: CUSTOM_SCHEMA, positive: buckets(&[(2, 1.0)]), custom_bounds: vec![0.5, 1.0], ..Default::default() };
        assert_eq!(custom.check(), Ok(()), "the bucket after the last bound reaches to infinity");
        let bad: Vec<NativeHistogram> = vec![
            NativeHistogram { schema: 9, ..good.clone() },
            NativeHistogram { custom_bounds: vec![1.0], ..good.clone() },
            NativeHistogram { zero_threshold: -1.0, ..good.clone() },
            NativeHistogram { count: -1.0, ..good.clone() },
            NativeHistogram { positive: Buckets { indexes: vec![1, 1], counts: vec![1.0, 1.0] }, ..good.clone() },
            NativeHistogram { positive: Buckets { indexes: vec![1], counts: vec![] }, ..good },
            NativeHistogram { custom_bounds: vec![1.0, 1.0], ..custom.clone() },
            NativeHistogram { custom_bounds: vec![1.0, f64::INFINITY], ..custom.clone() },
            NativeHistogram { positive: buckets(&[(3, 1.0)]), ..custom.clone() },
            NativeHistogram { negative: buckets(&[(1, 1.0)]), ..custom.clone() },
            NativeHistogram { zero_count: 1.0, ..custom },
        ];
        for histogram in bad {
            assert!(histogram.check().is_err(), "{histogram:?}");
        }
        assert_eq!(NativeHistogram::stale().check(), Ok(()));
    }
}
