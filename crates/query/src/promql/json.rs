//! Results in the JSON shape of Prometheus' HTTP API.

use std::fmt::Write as _;

use skopos_model::{Labels, NativeHistogram};

use super::output::Value;

/// Appends a float as Prometheus writes sample values: shortest digits that read back the same, exponents only below
/// 1e-6 and from 1e21 on, `NaN`, `+Inf`, `-Inf`.
pub fn write_float(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
        return;
    }
    if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        return;
    }
    let magnitude = value.abs();
    // Writing to a String cannot fail.
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let from = out.len();
        let _ = write!(out, "{value:e}");
        if let Some(e) = out[from..].find('e')
            && !out[from + e + 1..].starts_with('-')
        {
            out.insert(from + e + 1, '+');
        }
    } else {
        #[allow(clippy::cast_possible_truncation, reason = "compared back before it is used")]
        let whole = value as i64;
        #[allow(clippy::cast_precision_loss, reason = "below 2^53")]
        if magnitude < 9.0e15 && whole as f64 == value && !(whole == 0 && value.is_sign_negative()) {
            write_integer(out, whole);
        } else {
            let _ = write!(out, "{value}");
        }
    }
}

fn write_integer(out: &mut String, value: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push('-');
    }
    out.extend(digits[at..].iter().map(|d| char::from(*d)));
}

/// Appends a JSON string.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    for (i, b) in text.bytes().enumerate() {
        let escape = match b {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[from..i]);
        if escape.is_empty() {
            let _ = write!(out, "\\u{b:04x}");
        } else {
            out.push_str(escape);
        }
        from = i + 1;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

/// Appends Unix milliseconds as seconds, with three decimals unless they are whole.
pub fn write_time(out: &mut String, ms: i64) {
    if ms < 0 {
        out.push('-');
    }
    let ms = ms.unsigned_abs();
    write_integer(out, i64::try_from(ms / 1000).unwrap_or(i64::MAX));
    if !ms.is_multiple_of(1000) {
        let _ = write!(out, ".{:03}", ms % 1000);
    }
}

/// Appends labels as a JSON object.
pub fn write_labels(out: &mut String, labels: &Labels) {
    out.push('{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(out, name);
        out.push(':');
        write_string(out, value);
    }
    out.push('}');
}

fn write_point(out: &mut String, time: i64, value: f64) {
    out.push('[');
    write_time(out, time);
    out.push_str(",\"");
    write_float(out, value);
    out.push_str("\"]");
}

/// Appends a native histogram: `{"count":…,"sum":…,"buckets":[[bounds, lower, upper, count], …]}`. `bounds` says which
/// of the two belong to the bucket: 0 the upper, 1 the lower, 2 neither, 3 both.
pub fn write_histogram(out: &mut String, h: &NativeHistogram) {
    let number = |out: &mut String, before: &str, v: f64| {
        out.push_str(before);
        write_float(out, v);
        out.push('"');
    };
    number(out, "{\"count\":\"", h.count);
    number(out, ",\"sum\":\"", h.sum);
    let buckets = super::histogram::buckets(h);
    for (i, b) in buckets.iter().enumerate() {
        out.push_str(if i > 0 { ",[" } else { ",\"buckets\":[[" });
        out.push(match (b.lower_inclusive, b.upper_inclusive) {
            (false, true) => '0',
            (true, false) => '1',
            (false, false) => '2',
            (true, true) => '3',
        });
        number(out, ",\"", b.lower);
        number(out, ",\"", b.upper);
        number(out, ",\"", b.count);
        out.push(']');
    }
    out.push_str(if buckets.is_empty() { "}" } else { "]}" });
}

fn write_histogram_point(out: &mut String, time: i64, h: &NativeHistogram) {
    out.push('[');
    write_time(out, time);
    out.push(',');
    write_histogram(out, h);
    out.push(']');
}

/// Appends `{"resultType":…,"result":…}`.
pub fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Scalar { time, value } => {
            out.push_str(r#"{"resultType":"scalar","result":"#);
            write_point(out, *time, *value);
        }
        Value::Text { time, text } => {
            out.push_str(r#"{"resultType":"string","result":["#);
            write_time(out, *time);
            out.push(',');
            write_string(out, text);
            out.push(']');
        }
        Value::Vector(samples) => {
            out.reserve(samples.len() * 96);
            out.push_str(r#"{"resultType":"vector","result":["#);
            for (i, s) in samples.iter().enumerate() {
                out.push_str(if i > 0 { r#",{"metric":"# } else { r#"{"metric":"# });
                write_labels(out, &s.labels);
                match &s.histogram {
                    Some(h) => {
                        out.push_str(r#","histogram":"#);
                        write_histogram_point(out, s.time, h);
                    }
                    None => {
                        out.push_str(r#","value":"#);
                        write_point(out, s.time, s.value);
                    }
                }
                out.push('}');
            }
            out.push(']');
        }
        Value::Matrix(series) => {
            out.reserve(series.iter().map(|s| 96 + s.times.len() * 32).sum());
            out.push_str(r#"{"resultType":"matrix","result":["#);
            for (i, s) in series.iter().enumerate() {
                out.push_str(if i > 0 { r#",{"metric":"# } else { r#"{"metric":"# });
                write_labels(out, &s.labels);
                if s.histograms.is_empty() || !s.times.is_empty() {
                    out.push_str(r#","values":["#);
                    for (k, (time, value)) in s.times.iter().zip(&s.values).enumerate() {
                        if k > 0 {
                            out.push(',');
                        }
                        write_point(out, *time, *value);
                    }
                    out.push(']');
                }
                for (k, (time, h)) in s.histograms.iter().enumerate() {
                    out.push_str(if k > 0 { "," } else { r#","histograms":["# });
                    write_histogram_point(out, *time, h);
                }
                out.push_str(if s.histograms.is_empty() { "}" } else { "]}" });
            }
            out.push(']');
        }
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::output::Points;
    use super::*;

    #[test]
    fn floats() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-7"),
            (0.000_001, "0.000001"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            let mut out = String::new();
            write_float(&mut out, value);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn a_matrix() {
        let labels = Arc::new(Labels::new([("__name__", "up"), ("path", "C:\\a\n\u{1}")]));
        let value = Value::Matrix(vec![Points { labels, times: vec![-1500, 10, 60_000], values: vec![1.0, 0.5, f64::NAN], histograms: Vec::new() }]);
        let mut out = String::new();
        write_value(&mut out, &value);
        assert_eq!(
            out,
            r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up","path":"C:\\a\n\u0001"},"values":[[-1.500,"1"],[0.010,"0.5"],[60,"NaN"]]}]}"#
        );
    }

    #[test]
    fn histograms() {
        use skopos_model::Buckets;

        use super::super::output::Sample;
        let labels = Arc::new(Labels::new([("__name__", "h")]));
        let of = |pairs: &[(i32, f64)]| {
            let mut out = Buckets::default();
            pairs.iter().for_each(|(i, count)| out.push(*i, *count));
            out
        };
        let h = Arc::new(NativeHistogram {
            zero_threshold: 0.001,
            zero_count: 1.0,
            count: 4.5,
            sum: -0.5,
            positive: of(&[(1, 2.0)]),
            negative: of(&[(0, 1.5)]),
            ..NativeHistogram::default()
        });
        let empty = Arc::new(NativeHistogram::default());
        let written = r#"{"count":"4.5","sum":"-0.5","buckets":[[1,"-1","-0.5","1.5"],[3,"-0.001","0.001","1"],[0,"1","2","2"]]}"#;
        let write = |value: Value| {
            let mut out = String::new();
            write_value(&mut out, &value);
            out
        };
        let sample = Sample { labels: Arc::clone(&labels), time: 1500, value: 0.0, histogram: Some(Arc::clone(&h)) };
        assert_eq!(
            write(Value::Vector(vec![sample])),
            format!(r#"{{"resultType":"vector","result":[{{"metric":{{"__name__":"h"}},"histogram":[1.500,{written}]}}]}}"#)
        );
        let only = Points { labels: Arc::clone(&labels), times: vec![], values: vec![], histograms: vec![(0, empty), (1000, Arc::clone(&h))] };
        assert_eq!(
            write(Value::Matrix(vec![only])),
            format!(
                r#"{{"resultType":"matrix","result":[{{"metric":{{"__name__":"h"}},"histograms":[[0,{{"count":"0","sum":"0"}}],[1,{written}]]}}]}}"#
            )
        );
        let both = Points { labels, times: vec![0], values: vec![1.0], histograms: vec![(1000, h)] };
        assert_eq!(
            write(Value::Matrix(vec![both])),
            format!(r#"{{"resultType":"matrix","result":[{{"metric":{{"__name__":"h"}},"values":[[0,"1"]],"histograms":[[1,{written}]]}}]}}"#)
        );
        let custom = NativeHistogram {
            schema: super::super::histogram::CUSTOM_SCHEMA,
            count: 3.0,
            positive: of(&[(0, 1.0), (1, 2.0)]),
            custom_bounds: vec![0.5],
            ..NativeHistogram::default()
        };
        let mut out = String::new();
        write_histogram(&mut out, &custom);
        assert_eq!(out, r#"{"count":"3","sum":"0","buckets":[[3,"-Inf","0.5","1"],[0,"0.5","+Inf","2"]]}"#);
    }
}
