//! Sums and means that do not lose small terms beside large ones.

/// Neumaier's compensated sum.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    sum: f64,
    compensation: f64,
}

impl Sum {
    /// Nothing summed yet.
    pub(crate) const ZERO: Self = Self { sum: 0.0, compensation: 0.0 };

    /// A sum in the middle of things.
    pub fn of(sum: f64, compensation: f64) -> Self {
        Self { sum, compensation }
    }

    /// The sum and its compensation.
    pub fn parts(self) -> (f64, f64) {
        (self.sum, self.compensation)
    }

    /// Both together.
    #[inline(always)]
    pub(crate) fn and(self, other: Self) -> Self {
        let t = self.sum + other.sum;
        if t.is_infinite() {
            return Self { sum: t, compensation: 0.0 };
        }
        let back = t - self.sum;
        let error = (self.sum - (t - back)) + (other.sum - back);
        Self { sum: t, compensation: self.compensation + other.compensation + error }
    }

    /// With one more value.
    pub(crate) fn plus(mut self, v: f64) -> Self {
        self.add(v);
        self
    }

    /// Adds a value.
    #[inline(always)]
    pub fn add(&mut self, v: f64) {
        let t = self.sum + v;
        if t.is_infinite() {
            self.compensation = 0.0;
        } else if self.sum.abs() >= v.abs() {
            self.compensation += (self.sum - t) + v;
        } else {
            self.compensation += (v - t) + self.sum;
        }
        self.sum = t;
    }

    #[inline(always)]
    pub(crate) fn value(&self) -> f64 {
        self.sum + self.compensation
    }
}

/// A running mean, for values whose sum overflows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mean {
    mean: f64,
    compensation: f64,
    count: f64,
}

impl Mean {
    pub(crate) fn add(&mut self, v: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.mean = v;
            return;
        }
        if self.mean.is_infinite() && (v.is_finite() || (v.is_infinite() && (v > 0.0) == (self.mean > 0.0))) {
            // An infinite mean stays as it is; computing on would make it NaN.
            return;
        }
        // The mean of n values is (n-1)/n of the mean before plus the n-th part of the new one.
        let share = (self.count - 1.0) / self.count;
        let mut sum = Sum { sum: self.mean * share, compensation: self.compensation * share };
        sum.add(v / self.count);
        self.mean = sum.sum;
        self.compensation = sum.compensation;
    }

    pub(crate) fn value(&self) -> f64 {
        self.mean + self.compensation
    }
}

/// Mean of values, also where their sum is too large for a float.
pub(crate) fn mean(values: &[f64]) -> f64 {
    let mut sum = Sum::default();
    values.iter().for_each(|v| sum.add(*v));
    #[allow(clippy::cast_precision_loss, reason = "sample counts are far below 2^53")]
    let plain = sum.value() / values.len() as f64;
    if !plain.is_infinite() {
        return plain;
    }
    let mut running = Mean::default();
    values.iter().for_each(|v| running.add(*v));
    running.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_terms_survive() {
        let mut sum = Sum::default();
        [1.0, 1e100, 1.0, -1e100].iter().for_each(|v| sum.add(*v));
        assert_eq!(sum.value(), 2.0);
        assert_eq!(mean(&[f64::MAX, f64::MAX]), f64::MAX);
        assert_eq!(mean(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(mean(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }
}
