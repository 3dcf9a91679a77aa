//! With little traffic a large burn rate may be one unlucky request: a page then has to be significant too.

use crate::alerting::EvalSample;
use crate::rules::TrafficGate;

use super::counts::EventCount;

/// Events in the long window above which no test is made.
pub const GATE_EVENTS_MIN: f64 = 1_000.0;
/// One-sided confidence of the lower bound.
pub const GATE_CONFIDENCE: f64 = 0.95;

/// Label an element carries when its severity is not the rule's.
pub(crate) const SEVERITY_OVERRIDE: &str = "__severity__";

/// One-sided Clopper–Pearson lower bound of the share of `bad` in `total` at a confidence. Counts need not be whole:
/// PromQL's `increase` extrapolates.
pub fn clopper_pearson_lower(bad: f64, total: f64, confidence: f64) -> f64 {
    let failures = bad > 0.0 && total > 0.0;
    if !failures {
        return 0.0;
    }
    let (k, n) = (bad.min(total), total);
    let alpha = 1.0 - confidence;
    // P(X ≥ k | p) = I_p(k, n−k+1) rises with p: bisect for the p at which it is alpha.
    let (mut low, mut high) = (0.0, k / n);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if incomplete_beta(middle, k, n - k + 1.0) > alpha { high = middle } else { low = middle }
    }
    f64::midpoint(low, high)
}

/// Regularised incomplete beta function by its continued fraction.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    if x < (a + 1.0) / (a + b + 2.0) { front * beta_fraction(x, a, b) / a } else { 1.0 - front * beta_fraction(1.0 - x, b, a) / b }
}

/// Lentz's method. Converges in some √max(a,b) steps.
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let guard = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..10_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        let step = d * c;
        h *= step;
        if (step - 1.0).abs() < 1e-14 {
            break;
        }
    }
    h
}

/// Lanczos' approximation, good to 15 digits for x > 0.
fn ln_gamma(x: f64) -> f64 {
    const G: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let t = x + 7.5;
    let sum = G.iter().enumerate().skip(1).fold(G[0], |s, (i, g)| s + g / (x + i as f64));
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// Applies a gate to the elements of a page rule. `counts` holds the events of each of the gate's windows, in order;
/// none where they could not be counted (then nothing is held back: an alert too many is the lesser evil).
///
/// An element whose burn is not significant becomes a ticket, unless another window's is.
pub fn apply_gate(gate: &TrafficGate, result: Vec<EvalSample>, counts: &[Option<EventCount>]) -> Vec<EvalSample> {
    let held = |sample: &EvalSample| {
        let window = sample.labels.get("long_window").unwrap_or("");
        let Some(i) = gate.windows.iter().position(|w| w.long_window == window) else { return false };
        let Some(Some(count)) = counts.get(i) else { return false };
        count.total < gate.events_min && clopper_pearson_lower(count.bad, count.total, GATE_CONFIDENCE) <= gate.windows[i].threshold
    };
    let (held, mut open): (Vec<_>, Vec<_>) = result.into_iter().partition(held);
    if open.is_empty() {
        let ticket = |s: EvalSample| EvalSample { labels: s.labels.with(SEVERITY_OVERRIDE, "ticket").with("held", "low_traffic"), ..s };
        open.extend(held.into_iter().map(ticket));
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::GateWindow;
    use skopos_model::Labels;

    #[test]
    fn test_vectors() {
        for (bad, total, bound) in
            [(1.0, 10.0, 0.005_116), (2.0, 10.0, 0.036_771), (1.0, 100.0, 0.000_513), (20.0, 1_000.0, 0.013_293), (50.0, 1_000.0, 0.039_164)]
        {
            let found = clopper_pearson_lower(bad, total, GATE_CONFIDENCE);
            assert!((found - bound).abs() < 1e-6, "{bad}/{total}: {found}, expected {bound}");
        }
        assert_eq!(clopper_pearson_lower(0.0, 10.0, 0.95), 0.0);
        assert!(clopper_pearson_lower(10.0, 10.0, 0.95) > 0.74);
        // Below 69.4 requests an hour one failure exceeds the 2 % rule.
        assert!((1.0 / 0.0144f64 - 69.44).abs() < 0.01);
    }

    #[test]
    fn held_pages_become_tickets() {
        let window = |w: &str| GateWindow { long_window: w.into(), bad: String::new(), total: String::new(), threshold: 0.0144 };
        let gate = TrafficGate { windows: vec![window("1h"), window("6h")], events_min: GATE_EVENTS_MIN };
        let sample = |w: &str| EvalSample::number(Labels::new([("long_window", w)]), 100.0);
        let count = |bad, total| Some(EventCount { bad, total });
        let check = |samples: Vec<EvalSample>, counts: &[Option<EventCount>]| {
            apply_gate(&gate, samples, counts).iter().map(|s| s.labels.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(check(vec![sample("1h")], &[count(1.0, 10.0), None]), r#"{__severity__="ticket", held="low_traffic", long_window="1h"}"#);
        assert_eq!(check(vec![sample("1h")], &[count(2.0, 10.0), None]), r#"{long_window="1h"}"#);
        assert_eq!(check(vec![sample("1h"), sample("6h")], &[count(1.0, 10.0), count(50.0, 1_000.0)]), r#"{long_window="6h"}"#);
        assert_eq!(check(vec![sample("1h")], &[None, None]), r#"{long_window="1h"}"#);
        assert_eq!(check(vec![sample("1h")], &[count(20.0, 1_000.0), None]), r#"{long_window="1h"}"#, "enough events");
    }
}
