//! A histogram in one line, as Prometheus prints it.

use std::fmt::Write as _;

use skopos_model::NativeHistogram;

use super::bucket::buckets;

/// A float as Go's `%g` writes it: the shortest digits, with an exponent of two digits or more below 1e-4 and from 1e6
/// on.
fn general(out: &mut String, v: f64) {
    if !v.is_finite() {
        let _ = write!(out, "{}", crate::promql::display::number(v));
        return;
    }
    // Writing to a String cannot fail.
    let scientific = format!("{v:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if v != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{digits}e{sign}{:02}", exponent.unsigned_abs());
    } else {
        let _ = write!(out, "{v}");
    }
}

/// `{count:4, sum:5, [-2,-1):1, (1,2]:3}`.
pub(crate) fn text(h: &NativeHistogram) -> String {
    let mut out = "{count:".to_owned();
    general(&mut out, h.count);
    out.push_str(", sum:");
    general(&mut out, h.sum);
    for b in buckets(h) {
        out.push_str(if b.lower_inclusive { ", [" } else { ", (" });
        general(&mut out, b.lower);
        out.push(',');
        general(&mut out, b.upper);
        out.push_str(if b.upper_inclusive { "]:" } else { "):" });
        general(&mut out, b.count);
    }
    out.push('}');
    out
}
