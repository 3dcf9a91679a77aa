//! Results as JSON text, written straight: large matrices are not built as trees first.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::json;
use skopos_query::logql::{LabelSet, Line, Series, Steps};

/// A JSON string.
fn string(out: &mut String, text: &str) {
    out.push_str(&json!(text).to_string());
}

pub(super) fn labels(out: &mut String, labels: &LabelSet) {
    out.push('{');
    for (i, (name, value)) in labels.iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        string(out, name);
        out.push(':');
        string(out, value);
    }
    out.push('}');
}

/// A number as Go writes it.
fn number(out: &mut String, n: f64) {
    let _ = match n {
        n if n.is_nan() => write!(out, "\"NaN\""),
        n if n.is_infinite() => write!(out, "\"{}Inf\"", if n > 0.0 { '+' } else { '-' }),
        n => write!(out, "\"{n}\""),
    };
}

/// A moment in seconds with milliseconds, and a value.
fn point(out: &mut String, nanos: i64, value: f64) {
    let millis = nanos.div_euclid(1_000_000);
    let (seconds, part) = (millis.div_euclid(1_000), millis.rem_euclid(1_000));
    let _ = if part == 0 { write!(out, "[{seconds},") } else { write!(out, "[{seconds}.{part:03},") };
    number(out, value);
    out.push(']');
}

/// Lines by stream: those with the same labels together, in order of appearance. `categorized`: structured metadata and
/// extracted labels stand with each line instead of making streams of their own.
pub(super) fn streams(out: &mut String, lines: &[Line], categorized: bool) {
    let mut order: Vec<(LabelSet, Vec<&Line>)> = Vec::new();
    let mut by_labels: HashMap<LabelSet, usize> = HashMap::new();
    for line in lines {
        let key = if categorized { line.stream.clone() } else { line.labels() };
        let at = *by_labels.entry(key).or_insert_with_key(|key| {
            order.push((key.clone(), Vec::new()));
            order.len() - 1
        });
        order[at].1.push(line);
    }
    out.push('[');
    for (i, (stream, lines)) in order.iter().enumerate() {
        out.push_str(if i > 0 { ",{\"stream\":" } else { "{\"stream\":" });
        labels(out, stream);
        out.push_str(",\"values\":[");
        for (j, line) in lines.iter().enumerate() {
            let _ = write!(out, "{}[\"{}\",", if j > 0 { "," } else { "" }, line.time);
            string(out, &line.text);
            if categorized {
                out.push_str(",{");
                for (name, set) in [("structuredMetadata", &line.metadata), ("parsed", &line.parsed)] {
                    if !set.is_empty() {
                        out.push_str(if out.ends_with('{') { "" } else { "," });
                        let _ = write!(out, "\"{name}\":");
                        labels(out, set);
                    }
                }
                out.push('}');
            }
            out.push(']');
        }
        out.push_str("]}");
    }
    out.push(']');
}

/// A value for each series, at one moment.
pub(super) fn vector(out: &mut String, series: &[Series], time: i64) {
    out.push('[');
    for (i, one) in series.iter().enumerate() {
        out.push_str(if i > 0 { ",{\"metric\":" } else { "{\"metric\":" });
        labels(out, &one.labels);
        out.push_str(",\"value\":");
        point(out, time, one.values[0]);
        out.push('}');
    }
    out.push(']');
}

pub(super) fn matrix(out: &mut String, series: &[Series], steps: Steps) {
    out.push('[');
    for (i, one) in series.iter().enumerate() {
        out.push_str(if i > 0 { ",{\"metric\":" } else { "{\"metric\":" });
        labels(out, &one.labels);
        out.push_str(",\"values\":[");
        let mut first = true;
        for (k, value) in one.values.iter().enumerate().filter(|(_, v)| !Series::is_absent(**v)) {
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            point(out, steps.time(k), *value);
        }
        out.push_str("]}");
    }
    out.push(']');
}

pub(super) fn scalar(out: &mut String, value: f64, time: i64) {
    point(out, time, value);
}
