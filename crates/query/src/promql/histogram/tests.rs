//! Properties of histogram arithmetic, with seeded input.

use proptest::prelude::*;
use skopos_model::{Buckets, CounterReset, NativeHistogram};

use super::bucket::Bucket;
use super::total::Incompatible;
use super::*;

/// Counts that add up exactly.
fn counts() -> impl Strategy<Value = Vec<(i32, u32)>> {
    prop::collection::btree_map(-40i32..40, 0u32..1000, 0..12).prop_map(|m| m.into_iter().collect())
}

fn of(pairs: &[(i32, u32)]) -> Buckets {
    let mut out = Buckets::default();
    pairs.iter().for_each(|(i, n)| out.push(*i, f64::from(*n)));
    out
}

fn exponential() -> impl Strategy<Value = NativeHistogram> {
    let threshold = prop::sample::select(vec![0.0, 1e-9, 0.001, 0.3, 2.0]);
    (-4i8..=8, counts(), counts(), 0u32..50, threshold, -1000i32..1000).prop_map(|(schema, positive, negative, zero, zero_threshold, sum)| {
        // A valid histogram has no bucket inside its zero bucket.
        let outside = |pairs: Vec<(i32, u32)>| {
            let all = pairs.into_iter().filter(|(i, _)| bounds::upper(*i - 1, schema) >= zero_threshold);
            of(&all.collect::<Vec<_>>())
        };
        let (positive, negative) = (outside(positive), outside(negative));
        let count = positive.sum() + negative.sum() + f64::from(zero);
        NativeHistogram {
            schema,
            zero_threshold,
            zero_count: f64::from(zero),
            count,
            sum: f64::from(sum),
            positive,
            negative,
            ..NativeHistogram::default()
        }
    })
}

fn custom() -> impl Strategy<Value = NativeHistogram> {
    let bounds = prop::sample::subsequence(vec![-2.0, 0.0, 0.5, 1.0, 2.5, 5.0, 10.0], 0..7);
    (bounds, prop::collection::vec(0u32..100, 8)).prop_map(|(custom_bounds, counts)| {
        let pairs: Vec<(i32, u32)> = (0..).zip(counts).take(custom_bounds.len() + 1).collect();
        let positive = of(&pairs);
        NativeHistogram { schema: CUSTOM_SCHEMA, count: positive.sum(), sum: 7.0, positive, custom_bounds, ..NativeHistogram::default() }
    })
}

fn observed(h: &NativeHistogram) -> f64 {
    h.zero_count + h.positive.sum() + h.negative.sum()
}

fn sum(a: &NativeHistogram, b: &NativeHistogram) -> NativeHistogram {
    let mut total = Total::of(a);
    assert!(total.add(b).is_ok());
    total.finish()
}

fn difference(a: &NativeHistogram, b: &NativeHistogram) -> NativeHistogram {
    let mut total = Total::of(a);
    assert!(total.subtract(b).is_ok());
    total.finish()
}

fn without_hint(mut h: NativeHistogram) -> NativeHistogram {
    h.counter_reset = CounterReset::Unknown;
    h
}

fn check_sums(a: &NativeHistogram, b: &NativeHistogram) -> Result<(), TestCaseError> {
    let both = sum(a, b);
    prop_assert_eq!(both.check(), Ok(()));
    prop_assert_eq!(both.count, a.count + b.count);
    prop_assert_eq!(observed(&both), both.count, "no observation is lost");
    prop_assert_eq!(&sum(b, a), &both, "the order does not matter");
    // Taking b off again leaves a, as coarse as the sum is.
    let empty = NativeHistogram { count: 0.0, sum: 0.0, zero_count: 0.0, positive: Buckets::default(), negative: Buckets::default(), ..both.clone() };
    prop_assert_eq!(without_hint(difference(&both, b)), without_hint(sum(&empty, a)));
    prop_assert_eq!(difference(&both, b).counter_reset, CounterReset::Gauge);
    prop_assert!(!is_reset(&both, a), "a counter that only grew was not restarted: {:?} {:?}", both, a);
    Ok(())
}

proptest! {
    #[test]
    fn exponential_sums(a in exponential(), b in exponential()) {
        check_sums(&a, &b)?;
    }

    #[test]
    fn custom_sums(a in custom(), b in custom()) {
        check_sums(&a, &b)?;
    }

    #[test]
    fn reducing_keeps_counts(a in exponential(), schema in -4i8..=8) {
        let mut total = Total::of(&a);
        total.reduce(schema);
        let reduced = total.finish();
        prop_assert_eq!(reduced.schema, schema.min(a.schema));
        prop_assert_eq!(observed(&reduced), observed(&a));
        prop_assert_eq!(reduced.positive.sum(), a.positive.sum());
        // A resolution that went down is no restart.
        prop_assert!(!is_reset(&reduced, &a));
    }

    #[test]
    fn quantiles_and_fractions_are_inverse(a in prop_oneof![exponential(), custom()], q in 0.01f64..0.99) {
        prop_assume!(a.count > 0.0);
        let (value, doubt) = quantile(q, &a);
        prop_assert_eq!(doubt, Doubt::None);
        let all = buckets(&a);
        // For shares, custom buckets around zero are taken to begin there.
        let whole = |b: &Bucket| !a.is_custom() || b.lower >= 0.0 || b.upper < 0.0;
        let inside = |b: &Bucket| whole(b) && b.lower < value && value < b.upper && b.lower.is_finite() && b.upper.is_finite();
        if all.iter().any(inside) {
            let share = fraction(f64::NEG_INFINITY, value, &a);
            prop_assert!((share - q).abs() < 1e-6, "{} of {:?} is {}, below which are {}", q, a, value, share);
        }
    }

    #[test]
    fn trimmed_parts_make_the_whole(a in exponential(), at in -50f64..50.0) {
        let (below, above) = (trim(&a, at, true), trim(&a, at, false));
        prop_assert!((below.count + above.count - a.count).abs() <= 1e-9 * a.count.max(1.0));
        if a.count > 0.0 {
            prop_assert!((fraction(f64::NEG_INFINITY, at, &a) * a.count - below.count).abs() <= 1e-9 * a.count);
        }
    }
}

#[test]
fn hints() {
    use CounterReset::{Gauge, NotReset, Reset, Unknown};
    for (a, b, wanted, collision) in [
        (NotReset, NotReset, NotReset, false),
        (Reset, NotReset, Unknown, true),
        (Unknown, Reset, Unknown, false),
        (Gauge, Reset, Gauge, false),
        (NotReset, Gauge, Gauge, false),
    ] {
        let with = |counter_reset| NativeHistogram { counter_reset, ..NativeHistogram::default() };
        let mut total = Total::of(&with(a));
        assert_eq!(total.add(&with(b)), Ok(Remarks { collision, reconciled: false }), "{a:?} {b:?}");
        assert_eq!(total.finish().counter_reset, wanted, "{a:?} {b:?}");
    }
    let custom = NativeHistogram { schema: CUSTOM_SCHEMA, ..NativeHistogram::default() };
    assert!(custom.is_custom());
    assert_eq!(Total::of(&custom).add(&NativeHistogram::default()), Err(Incompatible));
}

#[test]
fn scaling() {
    let h = NativeHistogram {
        count: 3.0,
        sum: 6.0,
        positive: of(&[(0, 1), (2, 2)]),
        counter_reset: CounterReset::NotReset,
        ..NativeHistogram::default()
    };
    assert_eq!(multiplied(&h, 2.0).positive.counts, [2.0, 4.0]);
    assert_eq!(multiplied(&h, -1.0).counter_reset, CounterReset::Gauge);
    assert_eq!(multiplied(&h, 0.0).positive, Buckets::default());
    let nothing = divided(&h, 0.0);
    assert_eq!((nothing.count, nothing.positive.len()), (f64::INFINITY, 0));
    assert!(same(&h, &NativeHistogram { counter_reset: CounterReset::Reset, ..h.clone() }));
    assert!(!same(&h, &multiplied(&h, 2.0)));
}

#[test]
fn one_line() {
    let h = NativeHistogram {
        count: 1_234_567.0,
        sum: 0.5,
        zero_threshold: 0.001,
        zero_count: 1.0,
        positive: of(&[(1, 3)]),
        negative: of(&[(1, 2)]),
        ..NativeHistogram::default()
    };
    assert_eq!(text(&h), "{count:1.234567e+06, sum:0.5, [-2,-1):2, [-0.001,0.001]:1, (1,2]:3}");
}
