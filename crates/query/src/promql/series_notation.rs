//! The notation in which tests write down series: `up{job="a"}` and `1 2+3x4 _ _x2 stale {{schema:0 buckets:[1 2]}}x3`.
//!
//! A point is a number, `_` for none, `stale` for the marker that ends a series, or a native histogram between double
//! braces. `axn` stands for n+1 times a, `a+bxn` and `a-bxn` for n+1 points that grow or shrink by b, `_xn` for n points
//! that are not there.

use skopos_model::{Buckets, CounterReset, Labels, NativeHistogram};

use super::ast::Kind;
use super::parse::parse;
use crate::metrics::MatchOp;

/// Most points one series may be written down as: a test of a year at a second's step has 31 million.
const POINTS_MAX: usize = 40_000_000;

/// One point of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum Point {
    /// None at this step.
    Absent,
    /// The marker that ends a series.
    Stale,
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Box<NativeHistogram>),
}

/// Reads a series' name and labels.
///
/// # Errors
/// With what was wrong.
pub fn parse_series(text: &str) -> Result<Labels, String> {
    let text = text.trim();
    if matches!(text, "" | "{}") {
        return Ok(Labels::default());
    }
    let expr = parse(text).map_err(|e| format!("{text}: {e}"))?;
    let Kind::Selector(selector) = expr.kind else { return Err(format!("{text} is no series: expected a name and labels in braces")) };
    if let Some(other) = selector.matchers.iter().find(|m| m.op != MatchOp::Equal) {
        return Err(format!("{text} is no series: label {} needs `=`", other.name));
    }
    Ok(selector.matchers.iter().map(|m| (m.name.as_str(), m.value.as_str())).collect())
}

/// Reads a series' points.
///
/// # Errors
/// With the point that is none, and why.
pub fn parse_points(text: &str) -> Result<Vec<Point>, String> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = word_end(rest);
        let (word, more) = rest.split_at(end);
        points_of(word, &mut out).map_err(|e| format!("`{word}` is no point of a series: {e}"))?;
        rest = more.trim_start();
    }
    Ok(out)
}

/// Where a point ends: at white space outside of double braces.
fn word_end(text: &str) -> usize {
    let mut open = false;
    for (i, c) in text.char_indices() {
        match c {
            '{' => open = true,
            '}' => open = false,
            c if c.is_whitespace() && !open => return i,
            _ => {}
        }
    }
    text.len()
}

fn times(text: &str) -> Result<usize, String> {
    text.parse::<usize>().ok().filter(|n| *n < POINTS_MAX).ok_or_else(|| format!("{text:?} is no number of repetitions below {POINTS_MAX}"))
}

fn room(out: &[Point], more: usize) -> Result<(), String> {
    if out.len() + more > POINTS_MAX { Err(format!("a series may have {POINTS_MAX} points")) } else { Ok(()) }
}

fn points_of(word: &str, out: &mut Vec<Point>) -> Result<(), String> {
    if word.starts_with("{{") {
        return histograms_of(word, out);
    }
    let (head, repeated) = match word.rsplit_once('x') {
        Some((head, n)) => (head, Some(times(n)?)),
        None => (word, None),
    };
    let many = repeated.unwrap_or(0) + 1;
    room(out, many)?;
    match head {
        "_" => out.extend(std::iter::repeat_n(Point::Absent, repeated.unwrap_or(1))),
        "stale" => out.extend(std::iter::repeat_n(Point::Stale, many)),
        _ => {
            // A sign that is neither first nor of an exponent separates start and increment.
            let cut = head.char_indices().skip(1).find(|(i, c)| matches!(c, '+' | '-') && !head[..*i].ends_with(['e', 'E']));
            let (start, step) = match cut {
                Some((i, _)) if repeated.is_some() => head.split_at(i),
                Some(_) => return Err("an increment needs a number of repetitions, as 1+2x3".to_owned()),
                None => (head, "0"),
            };
            let mut value = number(start)?;
            let step = number(step)?;
            for _ in 0..many {
                out.push(Point::Float(value));
                // Not for zero: an infinity stays one.
                if step != 0.0 {
                    value += step;
                }
            }
        }
    }
    Ok(())
}

fn number(text: &str) -> Result<f64, String> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let value = match digits.to_ascii_lowercase().as_str() {
        "inf" => f64::INFINITY,
        "nan" => f64::NAN,
        _ => super::token::parse_number(digits).ok_or_else(|| format!("{text:?} is no number"))?,
    };
    Ok(if negative { -value } else { value })
}

fn histograms_of(word: &str, out: &mut Vec<Point>) -> Result<(), String> {
    let (first, mut rest) = literal(word)?;
    let mut step = None;
    let sign = rest.chars().next().filter(|c| matches!(c, '+' | '-'));
    if let Some(sign) = sign {
        let (by, more) = literal(&rest[1..])?;
        step = Some(if sign == '-' { scaled(&by, -1.0) } else { by });
        rest = more;
    }
    let repeated = match rest.strip_prefix('x') {
        Some(n) => Some(times(n)?),
        None if !rest.is_empty() => return Err(format!("{rest:?} is left over after the histogram")),
        None if step.is_some() => return Err("an increment needs a number of repetitions, as {{…}}+{{…}}x3".to_owned()),
        None => None,
    };
    let many = repeated.unwrap_or(0) + 1;
    room(out, many)?;
    let mut value = first;
    for i in 0..many {
        out.push(Point::Histogram(Box::new(value.clone())));
        if let Some(step) = step.as_ref().filter(|_| i + 1 < many) {
            value = added(&value, step)?;
        }
    }
    Ok(())
}

/// Reads `{{…}}`; returns what follows it.
fn literal(text: &str) -> Result<(NativeHistogram, &str), String> {
    let body = text.strip_prefix("{{").ok_or("a histogram begins with `{{`")?;
    let end = body.find("}}").ok_or("a histogram ends with `}}`")?;
    Ok((histogram(&body[..end])?, &body[end + 2..]))
}

/// Reads what stands between the braces of a histogram.
fn histogram(body: &str) -> Result<NativeHistogram, String> {
    let mut h = NativeHistogram::default();
    let (mut positive, mut negative) = ((0, Vec::new()), (0, Vec::new()));
    let mut seen: Vec<&str> = Vec::new();
    let mut rest = body.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once(':').ok_or_else(|| format!("{rest:?}: expected key:value"))?;
        let key = key.trim();
        if seen.contains(&key) {
            return Err(format!("{key} stands twice"));
        }
        seen.push(key);
        let after = after.trim_start();
        let end = match after.strip_prefix('[') {
            Some(list) => list.find(']').ok_or_else(|| format!("{key}: the list has no end"))? + 2,
            None => after.find(char::is_whitespace).unwrap_or(after.len()),
        };
        let (value, more) = after.split_at(end);
        let float = || number(value).map_err(|e| format!("{key}: {e}"));
        let whole = || value.parse::<i32>().map_err(|_| format!("{key}: {value:?} is no whole number"));
        let list = || -> Result<Vec<f64>, String> {
            let inner = value.strip_prefix('[').and_then(|v| v.strip_suffix(']')).ok_or_else(|| format!("{key}: expected a list in brackets"))?;
            inner.split_whitespace().map(|n| number(n).map_err(|e| format!("{key}: {e}"))).collect()
        };
        match key {
            "schema" => h.schema = value.parse().map_err(|_| format!("schema: {value:?} is no schema"))?,
            "sum" => h.sum = float()?,
            "count" => h.count = float()?,
            "z_bucket" => h.zero_count = float()?,
            "z_bucket_w" => h.zero_threshold = float()?,
            "custom_values" => h.custom_bounds = list()?,
            "buckets" => positive.1 = list()?,
            "offset" => positive.0 = whole()?,
            "n_buckets" => negative.1 = list()?,
            "n_offset" => negative.0 = whole()?,
            "counter_reset_hint" => {
                h.counter_reset = match value {
                    "unknown" => CounterReset::Unknown,
                    "reset" => CounterReset::Reset,
                    "not_reset" => CounterReset::NotReset,
                    "gauge" => CounterReset::Gauge,
                    _ => return Err(format!("counter_reset_hint: {value:?} is not one of unknown, reset, not_reset, gauge")),
                }
            }
            _ => {
                return Err(format!(
                    "{key:?} is no part of a histogram: expected schema, sum, count, z_bucket, z_bucket_w, custom_values, buckets, offset, n_buckets, n_offset, counter_reset_hint"
                ));
            }
        }
        rest = more.trim_start();
    }
    for ((offset, counts), into) in [(positive, &mut h.positive), (negative, &mut h.negative)] {
        for (index, count) in (offset..).zip(counts) {
            into.push(index, count);
        }
    }
    Ok(h)
}

fn scaled(h: &NativeHistogram, factor: f64) -> NativeHistogram {
    let each = |b: &Buckets| Buckets { indexes: b.indexes.clone(), counts: b.counts.iter().map(|c| c * factor).collect() };
    NativeHistogram {
        zero_count: h.zero_count * factor,
        count: h.count * factor,
        sum: h.sum * factor,
        positive: each(&h.positive),
        negative: each(&h.negative),
        ..h.clone()
    }
}

/// Adds an increment of the same layout: a series that changes its layout is written point by point.
fn added(a: &NativeHistogram, b: &NativeHistogram) -> Result<NativeHistogram, String> {
    if a.schema != b.schema || a.custom_bounds != b.custom_bounds || a.zero_threshold != b.zero_threshold {
        return Err("an increment has the schema, custom_values and z_bucket_w of what it is added to".to_owned());
    }
    let each = |a: &Buckets, b: &Buckets| {
        let mut all: std::collections::BTreeMap<i32, f64> = a.iter().collect();
        for (index, count) in b.iter() {
            *all.entry(index).or_insert(0.0) += count;
        }
        let mut out = Buckets::default();
        all.into_iter().for_each(|(index, count)| out.push(index, count));
        out
    };
    Ok(NativeHistogram {
        zero_count: a.zero_count + b.zero_count,
        count: a.count + b.count,
        sum: a.sum + b.sum,
        positive: each(&a.positive, &b.positive),
        negative: each(&a.negative, &b.negative),
        ..a.clone()
    })
}

/// Writes a histogram down; [`parse_points`] reads it back.
pub fn print_histogram(h: &NativeHistogram) -> String {
    let mut parts: Vec<String> = Vec::new();
    if h.schema != 0 {
        parts.push(format!("schema:{}", h.schema));
    }
    for (key, value) in [("count", h.count), ("sum", h.sum), ("z_bucket", h.zero_count), ("z_bucket_w", h.zero_threshold)] {
        if value != 0.0 {
            parts.push(format!("{key}:{value}"));
        }
    }
    if h.is_custom() {
        parts.push(format!("custom_values:{}", list(h.custom_bounds.iter().copied())));
    }
    let hint = match h.counter_reset {
        CounterReset::Unknown => None,
        CounterReset::Reset => Some("reset"),
        CounterReset::NotReset => Some("not_reset"),
        CounterReset::Gauge => Some("gauge"),
    };
    parts.extend(hint.map(|hint| format!("counter_reset_hint:{hint}")));
    for (offset, name, buckets) in [("offset", "buckets", &h.positive), ("n_offset", "n_buckets", &h.negative)] {
        let Some(first) = buckets.indexes.first() else { continue };
        if *first != 0 {
            parts.push(format!("{offset}:{first}"));
        }
        // Buckets that are not there are written as empty ones.
        let mut next = *first;
        let mut counts = Vec::new();
        for (index, count) in buckets.iter() {
            counts.extend((next..index).map(|_| 0.0));
            counts.push(count);
            next = index + 1;
        }
        parts.push(format!("{name}:{}", list(counts)));
    }
    format!("{{{{{}}}}}", parts.join(" "))
}

fn list(values: impl IntoIterator<Item = f64>) -> String {
    let texts: Vec<String> = values.into_iter().map(|v| v.to_string()).collect();
    format!("[{}]", texts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match parse_points(text) {
            Err(error) => error,
            Ok(points) => {
                let one = |p: &Point| match p {
                    Point::Absent => "_".to_owned(),
                    Point::Stale => "stale".to_owned(),
                    Point::Float(v) => v.to_string(),
                    Point::Histogram(h) => print_histogram(h),
                };
                points.iter().map(one).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn points() {
        check("", "");
        check("1 2 -3.5 1e3 -Inf NaN", "1 2 -3.5 1000 -inf NaN");
        check("0+1x3 5-2x1 7x2", "0 1 2 3 5 3 7 7 7");
        check("-2+4x1 1e-1+1e-1x1", "-2 2 0.1 0.2");
        check("_ _x2 stale stalex1", "_ _ _ stale stale stale");
        check("{{}}", "{{}}");
        check("{{sum:3 count:2 buckets:[2]}}x1", "{{count:2 sum:3 buckets:[2]}} {{count:2 sum:3 buckets:[2]}}");
        check("{{count:2 buckets:[2]}}+{{count:1 buckets:[0 1]}}x2", "{{count:2 buckets:[2]}} {{count:3 buckets:[2 1]}} {{count:4 buckets:[2 2]}}");
        check("{{count:2 buckets:[2]}}-{{count:1 buckets:[1]}}x1", "{{count:2 buckets:[2]}} {{count:1 buckets:[1]}}");
        check("{{schema:-53 custom_values:[1 2.5] buckets:[1 0 3]}}", "{{schema:-53 custom_values:[1 2.5] buckets:[1 0 3]}}");
        let all = "{{schema:1 count:32.1 sum:-0.3 z_bucket:7.1 z_bucket_w:0.05 counter_reset_hint:gauge offset:-3 buckets:[5.1 10 7] n_offset:-5 n_buckets:[4.1 5]}}";
        check(all, all);
        check("1+2", "`1+2` is no point of a series: an increment needs a number of repetitions, as 1+2x3");
        check("{{buckets:[1}}", "`{{buckets:[1}}` is no point of a series: buckets: the list has no end");
        check("{{count:1 count:2}}", "`{{count:1 count:2}}` is no point of a series: count stands twice");
        check("1x-1", "`1x-1` is no point of a series: \"-1\" is no number of repetitions below 40000000");
        check("1x99999999999", "`1x99999999999` is no point of a series: \"99999999999\" is no number of repetitions below 40000000");
        check("up", "`up` is no point of a series: \"up\" is no number");
        for bad in ["{{", "{{}}y", "{{a:1}}", "{{schema:1}}+{{schema:2}}x1", "{{offset:1.5}}", "{{counter_reset_hint:maybe}}"] {
            assert!(parse_points(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn series() {
        assert_eq!(parse_series(r#"up{job="a", instance="b:1"}"#).map(|l| l.to_string()), Ok(r#"up{instance="b:1", job="a"}"#.to_owned()));
        assert_eq!(parse_series("{}"), Ok(Labels::default()));
        for bad in [r#"up{job="a""#, r#"up{job=~"a"}"#, "sum(up)", "up[5m]"] {
            assert!(parse_series(bad).is_err(), "{bad}");
        }
    }
}
