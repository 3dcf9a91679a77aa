//! Floats as decimals: `value = m / 10^e`, exact bit for bit or not at all.
//!
//! What programs measure was mostly written down with few digits: as scaled integers consecutive values differ by
//! little and pack into a byte or less, where their floating-point bits share nothing.

/// Powers of ten a decimal may have as denominator.
const POWERS: [f64; 14] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13];

/// Highest exponent.
pub(super) const EXPONENT_MAX: u8 = 13;

/// Below this magnitude every integer is a float: 2^53.
const MANTISSA_LIMIT: f64 = 9_007_199_254_740_992.0;

/// Values in a row that are no decimals before a run is taken to hold full-precision floats.
const PROBE: usize = 8;

/// `10^e`.
#[inline]
pub(super) fn power(e: u8) -> f64 {
    POWERS[usize::from(e.min(EXPONENT_MAX))]
}

/// The integer `m` with `m / 10^e == value` bit for bit, if there is one. NaN, infinities and -0.0 have none.
#[inline]
fn mantissa(value: f64, e: u8) -> Option<i64> {
    let p = power(e);
    let scaled = (value * p).round();
    // The cast comes first, so that -0.0 does not pass for 0; NaN fails the comparison with the limit.
    let m = scaled as i64;
    (scaled.abs() < MANTISSA_LIMIT && (m as f64 / p).to_bits() == value.to_bits()).then_some(m)
}

/// The smallest exponent of at least `from` at which `value` is a decimal.
#[inline]
fn exponent(value: f64, from: u8) -> Option<u8> {
    if value.is_nan() || value.is_infinite() {
        return None;
    }
    for e in from..=EXPONENT_MAX {
        if (value * power(e)).abs() >= MANTISSA_LIMIT {
            return None;
        }
        if mantissa(value, e).is_some() {
            return Some(e);
        }
    }
    None
}

/// A run of values as decimals of one exponent, and the positions of those that are none.
#[derive(Debug, Default)]
pub(super) struct Decimals {
    /// One for each value; where the value is no decimal, the mantissa before it (it costs nothing to pack).
    pub(super) mantissas: Vec<i64>,
    /// Exponent of all.
    pub(super) exponent: u8,
    /// Positions (ascending) of values that are no decimals of this exponent.
    pub(super) exceptions: Vec<u32>,
}

impl Decimals {
    /// Converts a run; the buffers are used again.
    pub(super) fn set(&mut self, values: &[f64]) {
        self.mantissas.clear();
        self.exceptions.clear();
        self.exponent = 0;
        if self.integers(values) {
            return;
        }
        self.exponent = Self::common_exponent(values);
        self.mantissas.clear();
        let mut last = 0;
        for (i, &value) in values.iter().enumerate() {
            match mantissa(value, self.exponent) {
                Some(m) => last = m,
                None => self.exceptions.push(i as u32),
            }
            self.mantissas.push(last);
        }
        // Leading exceptions take the first mantissa, or the run's base would be a stray zero.
        if let Some(&0) = self.exceptions.first() {
            let first = self.exceptions.iter().enumerate().find(|(i, at)| *i as u32 != **at).map_or(self.exceptions.len(), |(i, _)| i);
            if let Some(&m) = self.mantissas.get(first) {
                self.mantissas[..first].fill(m);
            }
        }
    }

    /// The usual case, without branches: all are integers.
    fn integers(&mut self, values: &[f64]) -> bool {
        let mut ok = true;
        self.mantissas.extend(values.iter().map(|&value| {
            let m = value as i64;
            ok &= (m as f64).to_bits() == value.to_bits() && m.unsigned_abs() < MANTISSA_LIMIT as u64;
            m
        }));
        ok
    }

    /// The exponent that makes most values decimals; a few full-precision floats among them do not raise it.
    fn common_exponent(values: &[f64]) -> u8 {
        let mut e = 0;
        let (mut hits, mut misses) = (0usize, 0usize);
        for &value in values {
            if value.is_nan() || mantissa(value, e).is_some() {
                hits += usize::from(!value.is_nan());
                continue;
            }
            match exponent(value, e) {
                // Exponents this high come from sums of decimals (0.30000000000000004): full precision.
                Some(higher) => {
                    e = higher;
                    hits += 1;
                }
                None => {
                    misses += 1;
                    if misses >= PROBE && hits * 4 < misses {
                        break;
                    }
                }
            }
        }
        e
    }

    /// Whether so few values are decimals that the run is better kept as floats.
    pub(super) fn is_poor(&self) -> bool {
        self.exceptions.len() * 2 > self.mantissas.len()
    }
}

/// Appends `m / 10^e` for each mantissa.
#[inline]
pub(super) fn extend_values(mantissas: &[i64], e: u8, out: &mut Vec<f64>) {
    if e == 0 {
        out.extend(mantissas.iter().map(|&m| m as f64));
    } else {
        let p = power(e);
        out.extend(mantissas.iter().map(|&m| m as f64 / p));
    }
}

/// Appends `(d + base) / 10^e` for each difference, the last one first.
#[inline]
pub(super) fn extend_reversed(differences: &[i64], base: i64, e: u8, out: &mut Vec<f64>) {
    let mantissas = differences.iter().rev().map(|d| d.wrapping_add(base) as f64);
    if e == 0 {
        out.extend(mantissas);
    } else {
        let p = power(e);
        out.extend(mantissas.map(|m| m / p));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skopos_model::metric::STALE_NAN_BITS;

    fn check(values: &[f64], exceptions: usize, exponent: u8) {
        let mut d = Decimals::default();
        d.set(values);
        let mut out = Vec::new();
        extend_values(&d.mantissas, d.exponent, &mut out);
        for &at in &d.exceptions {
            out[at as usize] = values[at as usize];
        }
        let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&out), bits(values));
        assert_eq!((d.exceptions.len(), d.exponent), (exceptions, exponent), "{values:?}");
    }

    #[test]
    fn exact_or_an_exception() {
        let stale = f64::from_bits(STALE_NAN_BITS);
        check(&[], 0, 0);
        check(&[1.0, 2.0, -3.0], 0, 0);
        check(&[1.5, 2.25, 3.0], 0, 2);
        check(&[0.1, 0.2, stale, 0.3], 1, 1);
        check(&[stale, stale, 7.5, stale], 3, 1);
        check(&[-0.0, 0.0, 1.0], 1, 0);
        check(&[f64::INFINITY, f64::NEG_INFINITY, f64::NAN], 3, 0);
        check(&[9_007_199_254_740_991.0, 9_007_199_254_740_992.0, 1e300], 2, 0);
        check(&[f64::MIN_POSITIVE, f64::from_bits(1), f64::MAX, f64::MIN], 4, 0);
        check(&[1.0 / 3.0, 0.5], 1, 1);
    }

    #[test]
    fn leading_exceptions_take_the_first_mantissa() {
        let mut d = Decimals::default();
        d.set(&[f64::NAN, f64::NAN, 1_000_000.5, 1_000_001.0]);
        assert_eq!(d.mantissas, [10_000_005, 10_000_005, 10_000_005, 10_000_010]);
    }
}
