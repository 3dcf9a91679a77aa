//! Points of series in Prometheus' test language: numbers, gaps, stale markers, native histograms, and runs of them.

use std::sync::Arc;

use skopos_model::{Buckets, CounterReset, NativeHistogram};

use super::super::histogram::Total;
use super::super::vector::is_absent;

/// One point.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Point {
    /// No sample.
    Gap,
    Stale,
    Float(f64),
    /// A histogram, and whether what it says of resets counts.
    Histogram(Arc<NativeHistogram>, bool),
}

impl Point {
    /// Of a sample found.
    pub(crate) fn found(h: &Arc<NativeHistogram>) -> Self {
        Self::Histogram(Arc::clone(h), true)
    }

    /// Whether a sample found is what is expected.
    pub(crate) fn is_met_by(&self, found: &Self) -> bool {
        match (self, found) {
            (Self::Float(a), Self::Float(b)) => same(*a, *b),
            (Self::Histogram(a, hinted), Self::Histogram(b, _)) => same_histogram(a, b) && (!hinted || a.counter_reset == b.counter_reset),
            _ => false,
        }
    }
}

/// Whether two floats are the same but for rounding.
pub(crate) fn same(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < 1e-6 * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < 1e-6
}

fn same_histogram(a: &NativeHistogram, b: &NativeHistogram) -> bool {
    let all = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(*a, *b));
    let buckets = |a: &Buckets, b: &Buckets| a.indexes == b.indexes && all(&a.counts, &b.counts);
    a.schema == b.schema
        && same(a.count, b.count)
        && same(a.sum, b.sum)
        && same(a.zero_threshold, b.zero_threshold)
        && same(a.zero_count, b.zero_count)
        && buckets(&a.positive, &b.positive)
        && buckets(&a.negative, &b.negative)
        && all(&a.custom_bounds, &b.custom_bounds)
}

pub(crate) fn number(text: &str) -> Option<f64> {
    match text {
        "stale" => None,
        "Inf" | "+Inf" | "inf" | "+inf" => Some(f64::INFINITY),
        "-Inf" | "-inf" => Some(f64::NEG_INFINITY),
        "NaN" | "nan" => Some(f64::NAN),
        _ => {
            let (sign, digits) = match text.as_bytes().first()? {
                b'-' => (-1.0, &text[1..]),
                b'+' => (1.0, &text[1..]),
                _ => (1.0, text),
            };
            super::super::token::parse_number(digits).map(|n| sign * n)
        }
    }
}

/// Words, with braces kept together.
fn words(text: &str) -> Vec<&str> {
    let (mut out, mut depth, mut from) = (Vec::new(), 0, None);
    for (i, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            c if c.is_whitespace() && depth == 0 => {
                out.extend(from.take().map(|f| &text[f..i]));
                continue;
            }
            _ => {}
        }
        from.get_or_insert(i);
    }
    out.extend(from.map(|f| &text[f..]));
    out
}

/// `{{schema:1 sum:2 buckets:[1 2]}}`.
fn histogram(text: &str) -> Result<(NativeHistogram, bool), String> {
    let inner = text.trim_start_matches("{{").trim_end_matches("}}");
    let mut h = NativeHistogram::default();
    let (mut positive, mut negative, mut offset, mut negative_offset, mut hinted) = (Vec::new(), Vec::new(), 0i32, 0i32, false);
    let mut rest = inner.trim();
    while !rest.is_empty() {
        let (key, more) = rest.split_once(':').ok_or_else(|| format!("{text}: no value at {rest}"))?;
        let (value, after) = match more.strip_prefix('[') {
            Some(list) => list.split_once(']').ok_or_else(|| format!("{text}: unclosed list"))?,
            None => more.split_once(char::is_whitespace).unwrap_or((more, "")),
        };
        rest = after.trim_start();
        let one = || number(value).ok_or_else(|| format!("{text}: {value} is no number"));
        let list = || value.split_whitespace().map(|v| number(v).ok_or_else(|| format!("{text}: {v} is no number"))).collect::<Result<Vec<_>, _>>();
        let whole = || value.parse::<i32>().map_err(|e| format!("{text}: {value}: {e}"));
        match key.trim() {
            "schema" => h.schema = value.parse().map_err(|e| format!("{text}: {value}: {e}"))?,
            "sum" => h.sum = one()?,
            "count" => h.count = one()?,
            "z_bucket" => h.zero_count = one()?,
            "z_bucket_w" => h.zero_threshold = one()?,
            "custom_values" => h.custom_bounds = list()?,
            "buckets" => positive = list()?,
            "n_buckets" => negative = list()?,
            "offset" => offset = whole()?,
            "n_offset" => negative_offset = whole()?,
            "counter_reset_hint" => {
                hinted = true;
                h.counter_reset = match value {
                    "unknown" => CounterReset::Unknown,
                    "reset" => CounterReset::Reset,
                    "not_reset" => CounterReset::NotReset,
                    "gauge" => CounterReset::Gauge,
                    _ => return Err(format!("{text}: unknown hint {value}")),
                };
            }
            other => return Err(format!("{text}: unknown key {other}")),
        }
    }
    (offset..).zip(positive).for_each(|(i, count)| h.positive.push(i, count));
    (negative_offset..).zip(negative).for_each(|(i, count)| h.negative.push(i, count));
    Ok((h, hinted))
}

/// `{{…}}`, `{{…}}x3`, `{{…}}+{{…}}x3`.
fn histograms(word: &str, out: &mut Vec<Point>) -> Result<(), String> {
    let end = word.find("}}").ok_or_else(|| format!("{word} is not closed"))? + 2;
    let (mut h, hinted) = histogram(&word[..end])?;
    let rest = &word[end..];
    let (step, rest) = match rest.chars().next() {
        Some(sign @ ('+' | '-')) => {
            let end = rest.find("}}").ok_or_else(|| format!("{word} is not closed"))? + 2;
            (Some((sign, histogram(&rest[1..end])?.0)), &rest[end..])
        }
        _ => (None, rest),
    };
    let times = match rest.strip_prefix('x') {
        Some(n) => n.parse::<usize>().map_err(|e| format!("{word}: {e}"))?,
        None if rest.is_empty() => 0,
        None => return Err(format!("{word} is no point")),
    };
    for i in 0..=times {
        if let (true, Some((sign, step))) = (i > 0, &step) {
            let mut total = Total::of(&h);
            let done = if *sign == '+' { total.add(step) } else { total.subtract(step) };
            done.map_err(|e| format!("{word}: {e:?}"))?;
            h = total.finish();
        }
        out.push(Point::Histogram(Arc::new(h.clone()), hinted));
    }
    Ok(())
}

/// `1 2+3x4 _ _x2 stale {{count:1}}x2`.
pub(crate) fn points(text: &str) -> Result<Vec<Point>, String> {
    let mut out = Vec::new();
    for word in words(text) {
        if word.starts_with("{{") {
            histograms(word, &mut out)?;
            continue;
        }
        let (head, times) = match word.rsplit_once('x') {
            Some((head, n)) => (head, Some(n.parse::<usize>().map_err(|e| format!("{word}: {e}"))?)),
            _ => (word, None),
        };
        if head == "_" {
            out.extend(std::iter::repeat_n(Point::Gap, times.unwrap_or(1)));
            continue;
        }
        if head == "stale" {
            out.extend(std::iter::repeat_n(Point::Stale, times.map_or(1, |n| n + 1)));
            continue;
        }
        let (start, step) = start_and_step(head, times.is_some());
        let mut value = number(start).ok_or_else(|| format!("{word} is no point"))?;
        let step = number(step).ok_or_else(|| format!("{word} is no point"))?;
        for _ in 0..=times.unwrap_or(0) {
            out.push(if is_absent(value) { Point::Gap } else { Point::Float(value) });
            if step != 0.0 {
                value += step;
            }
        }
    }
    Ok(out)
}

/// A sign that is neither first nor of an exponent separates start and increment.
fn start_and_step(head: &str, run: bool) -> (&str, &str) {
    let sign = |(i, c): &(usize, char)| matches!(c, '+' | '-') && !head[..*i].ends_with(['e', 'E']);
    let cut = head.char_indices().skip(1).find(sign).map(|(i, _)| i).filter(|_| run);
    cut.map_or((head, "0"), |i| head.split_at(i))
}

/// `_ -30s-1mx2 0`: start timestamps, each relative to its sample's time, in milliseconds.
pub(crate) fn offsets(text: &str) -> Result<Vec<Option<i64>>, String> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        // `ms` and `x` do not meet: the run's length is the last thing after an x.
        let (head, times) = match word.rsplit_once('x') {
            Some((head, n)) => (head, Some(n.parse::<usize>().map_err(|e| format!("{word}: {e}"))?)),
            _ => (word, None),
        };
        if head == "_" {
            out.extend(std::iter::repeat_n(None, times.unwrap_or(1)));
            continue;
        }
        let (start, step) = start_and_step(head, times.is_some());
        let (mut value, step) = (super::script::millis(start)?, super::script::millis(step.trim_start_matches('+'))?);
        for _ in 0..=times.unwrap_or(0) {
            out.push(Some(value));
            value += step;
        }
    }
    Ok(out)
}

#[test]
fn runs() {
    assert_eq!(words("1 {{a b}}+{{c d}}x2  _"), ["1", "{{a b}}+{{c d}}x2", "_"]);
    assert_eq!(offsets("_ -30s-1mx2 0 -59999ms"), Ok(vec![None, Some(-30_000), Some(-90_000), Some(-150_000), Some(0), Some(-59_999)]));
    let all = points("{{schema:1 count:2 buckets:[1 0 1] offset:-1}}+{{schema:1 count:1 buckets:[1]}}x1 2").unwrap();
    let [Point::Histogram(first, false), Point::Histogram(second, _), Point::Float(2.0)] = &all[..] else { panic!("{all:?}") };
    assert_eq!(first.positive.indexes, [-1, 1]);
    assert_eq!((second.count, &second.positive.indexes[..]), (3.0, &[-1, 0, 1][..]));
}
