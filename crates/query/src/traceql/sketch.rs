//! Quantiles within 1 %: counts in buckets that grow by 2 %.

use std::collections::BTreeMap;

/// Growth of a bucket: the middle of one is within 1 % of all its values.
const GROWTH: f64 = 1.02;

/// How often values occurred, by size.
#[derive(Debug, Clone, Default)]
pub(super) struct Sketch {
    buckets: BTreeMap<i32, u64>,
    /// Values of 0 and below.
    low: u64,
    count: u64,
}

impl Sketch {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1;
        if value <= 0.0 || value.is_nan() {
            self.low += 1;
        } else {
            #[allow(clippy::cast_possible_truncation, reason = "the logarithm of a double is small")]
            let bucket = (value.ln() / GROWTH.ln()).floor() as i32;
            *self.buckets.entry(bucket).or_default() += 1;
        }
    }

    /// Number of buckets held.
    pub(super) fn size(&self) -> usize {
        self.buckets.len()
    }

    /// The value below which this share of the values lies; `None` when there are none.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank is a whole number")]
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((q * self.count as f64).ceil() as u64).clamp(1, self.count);
        let mut below = self.low;
        if rank <= below {
            return Some(0.0);
        }
        for (bucket, count) in &self.buckets {
            below += count;
            if rank <= below {
                return Some(GROWTH.powf(f64::from(*bucket) + 0.5));
            }
        }
        None
    }
}
