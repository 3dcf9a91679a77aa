//! Quantiles of durations: exact for few, within half a percent for many, in bounded memory.

/// Durations kept as they are; with more they are counted in buckets.
const EXACT_MAX: usize = 4_096;
/// Buckets per doubling, as a power of two: the middle of a bucket is off by less than 0.4 %.
const SUB_BITS: u32 = 7;

/// Counts, errors and durations of a group of spans.
#[derive(Debug, Clone, Default)]
pub(super) struct Durations {
    pub(super) count: u64,
    pub(super) errors: u64,
    pub(super) sum: u64,
    exact: Vec<u64>,
    /// Counts by bucket from `first` on.
    buckets: Vec<u64>,
    first: usize,
}

fn bucket(value: u64) -> usize {
    let log = 63 - (value | 1).leading_zeros();
    if log <= SUB_BITS {
        return value as usize;
    }
    let shift = log - SUB_BITS;
    ((shift as usize) << SUB_BITS) + (value >> shift) as usize
}

fn middle(bucket: usize) -> u64 {
    let shift = (bucket >> SUB_BITS).saturating_sub(1);
    if shift == 0 {
        return bucket as u64;
    }
    let low = ((bucket - (shift << SUB_BITS)) as u64) << shift;
    low + (1 << shift) / 2
}

impl Durations {
    /// Counts a span. Durations are nanoseconds.
    pub(super) fn add(&mut self, duration: i64, error: bool) {
        let duration = u64::try_from(duration).unwrap_or(0);
        self.count += 1;
        self.errors += u64::from(error);
        self.sum = self.sum.saturating_add(duration);
        if self.buckets.is_empty() {
            self.exact.push(duration);
            if self.exact.len() > EXACT_MAX {
                for value in std::mem::take(&mut self.exact) {
                    self.count_in_bucket(value);
                }
            }
        } else {
            self.count_in_bucket(duration);
        }
    }

    fn count_in_bucket(&mut self, value: u64) {
        let at = bucket(value);
        if self.buckets.is_empty() {
            self.first = at;
        } else if at < self.first {
            let missing = self.first - at;
            self.buckets.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = at;
        }
        let index = at - self.first;
        if index >= self.buckets.len() {
            self.buckets.resize(index + 1, 0);
        }
        self.buckets[index] += 1;
    }

    /// The smallest durations that at least this share of the spans does not exceed; 0 where there are none.
    pub(super) fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [u64; N] {
        let mut sorted = self.exact.clone();
        sorted.sort_unstable();
        shares.map(|share| {
            let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
            if self.buckets.is_empty() {
                return sorted.get(rank as usize - 1).copied().unwrap_or(0);
            }
            let mut seen = 0;
            let at = self.buckets.iter().position(|n| {
                seen += n;
                seen >= rank
            });
            middle(self.first + at.unwrap_or(0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_narrow() {
        let mut last = 0;
        for value in (0..100_000u64).chain((20..63).flat_map(|e| (0..50).map(move |i| (1u64 << e) + (i << (e - 6))))) {
            let at = bucket(value);
            assert!(at >= last || value < 100_000, "bucket of {value}");
            last = at;
            let off = middle(at).abs_diff(value) as f64;
            assert!(off <= value as f64 * 0.004, "{value}: middle {}", middle(at));
        }
    }

    #[test]
    fn quantiles_of_few_are_exact_and_of_many_close() {
        for n in [1usize, 2, 100, 4_096, 50_000] {
            let mut random = fastrand::Rng::with_seed(n as u64);
            let mut values: Vec<u64> = (0..n).map(|_| (10f64.powf(random.f64() * 6.0) * 1e3) as u64).collect();
            let mut durations = Durations::default();
            values.iter().for_each(|v| durations.add(*v as i64, v % 10 == 0));
            values.sort_unstable();
            let shares = [0.5, 0.95, 0.99];
            for (share, found) in shares.iter().zip(durations.quantiles(shares)) {
                let exact = values[((share * n as f64).ceil() as usize).max(1) - 1];
                let off = found.abs_diff(exact) as f64 / exact as f64;
                assert!(off <= if n <= EXACT_MAX { 0.0 } else { 0.01 }, "{share} of {n}: {found}, exact {exact}");
            }
            assert_eq!((durations.count, durations.sum), (n as u64, values.iter().sum()));
        }
    }
}
