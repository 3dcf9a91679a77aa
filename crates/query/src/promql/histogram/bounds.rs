//! Where buckets begin and end.

use std::sync::LazyLock;

/// Finest schema whose bounds are tabled: the one of the finest histograms there are.
const FINEST: u32 = 8;

/// 2^(k/256 − 1), correctly rounded, so that bounds are those every other implementation has in its tables.
static FRACTIONS: LazyLock<[f64; 1 << FINEST]> = LazyLock::new(|| {
    // roots[n] = 2^(1/2^(n+1)), each as a pair of floats: 106 bits are enough to round rightly.
    let mut root = (2.0, 0.0);
    let roots: Vec<(f64, f64)> = (0..FINEST)
        .map(|_| {
            root = square_root(root);
            root
        })
        .collect();
    std::array::from_fn(|k| {
        let mut power = (0.5, 0.0);
        for (n, root) in roots.iter().enumerate() {
            // Bit 7 of k stands for 2^(1/2), bit 0 for 2^(1/256).
            if k >> (FINEST as usize - 1 - n) & 1 == 1 {
                power = product(power, *root);
            }
        }
        power.0 + power.1
    })
});

/// Square root of a sum of two floats.
fn square_root((high, low): (f64, f64)) -> (f64, f64) {
    let root = high.sqrt();
    let rest = (-root).mul_add(root, high) + low;
    (root, rest / (2.0 * root))
}

/// Product of two sums of two floats.
fn product(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let high = a.0 * b.0;
    let low = a.0.mul_add(b.0, -high) + (a.0 * b.1 + a.1 * b.0);
    let sum = high + low;
    (sum, low - (sum - high))
}

/// `fraction` × 2^`exponent`.
fn scaled(fraction: f64, exponent: i64) -> f64 {
    let mut rest = exponent.clamp(-2200, 2200);
    let mut out = fraction;
    // In steps, since the power alone may be out of range where the product is not.
    while rest != 0 {
        let step = rest.clamp(-1000, 1000);
        rest -= step;
        out *= 2f64.powi(i32::try_from(step).unwrap_or(0));
    }
    out
}

/// Upper bound of a bucket of positive values in an exponential schema; its lower bound is that of the index before.
pub(super) fn upper(index: i32, schema: i8) -> f64 {
    let index = i64::from(index);
    if schema < 0 {
        let exponent = index.saturating_mul(1 << -schema.max(-16));
        // The last bucket before infinity ends at the largest float.
        return if exponent == 1024 { f64::MAX } else { scaled(1.0, exponent) };
    }
    let schema = u32::from(schema.unsigned_abs()).min(FINEST);
    let fraction = FRACTIONS[usize::try_from(index & ((1 << schema) - 1)).unwrap_or(0) << (FINEST - schema)];
    let exponent = (index >> schema) + 1;
    if fraction == 0.5 && exponent == 1025 { f64::MAX } else { scaled(fraction, exponent) }
}

/// Index in a schema coarser by `steps` of what `index` holds.
pub(super) fn coarser(index: i32, steps: u32) -> i32 {
    ((index.saturating_sub(1)) >> steps.min(31)) + 1
}

/// The bounds that both lists have.
pub(super) fn common(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().copied().filter(|bound| b.binary_search_by(|other| other.total_cmp(bound)).is_ok()).collect()
}

/// Index among `to` of what bucket `index` of `from` holds; `to` is a part of `from`.
pub(super) fn regrouped(index: i32, from: &[f64], to: &[f64]) -> i32 {
    let at = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    match usize::try_from(index).ok().and_then(|i| from.get(i)) {
        Some(bound) => at(to.partition_point(|b| b < bound)),
        None => at(to.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_bounds() {
        for (index, schema, bound) in [
            (0, 0, 1.0),
            (1, 0, 2.0),
            (-1, 0, 0.5),
            (1, 1, std::f64::consts::SQRT_2),
            (1, 2, 1.189_207_115_002_721),
            (1, -1, 4.0),
            (-3, -2, 1.0 / 4096.0),
            (1024, 0, f64::MAX),
            (1025, 0, f64::INFINITY),
            (64, -4, f64::MAX),
            (256, 8, 2.0),
            (255, 8, 1.994_592_112_170_940_2),
            (-1074, 0, f64::from_bits(1)),
            (-1100, 0, 0.0),
        ] {
            assert_eq!(upper(index, schema), bound, "{index} of {schema}");
        }
        assert!((-2000..2000).all(|i| upper(i, 8) < upper(i + 1, 8)));
    }

    #[test]
    fn coarser_buckets_hold_the_finer_ones() {
        for index in -600..600 {
            for steps in 0..5u32 {
                let (fine, coarse) = (4i8, 4 - i8::try_from(steps).unwrap_or(0));
                let held = coarser(index, steps);
                assert!(upper(held - 1, coarse) <= upper(index - 1, fine) && upper(index, fine) <= upper(held, coarse), "{index} {steps}");
            }
        }
    }

    #[test]
    fn custom_bounds_regroup() {
        let (from, to) = ([1.0, 2.0, 3.0, 4.0], [2.0, 4.0]);
        assert_eq!(common(&from, &[2.0, 4.0, 6.0]), to);
        let groups: Vec<i32> = (0..5).map(|i| regrouped(i, &from, &to)).collect();
        assert_eq!(groups, [0, 0, 1, 1, 2]);
    }
}
