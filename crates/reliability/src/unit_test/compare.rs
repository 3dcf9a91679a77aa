//! Comparing with what is expected, and printing both as promtool does.

use std::collections::BTreeMap;

use skopos_model::Labels;
use skopos_query::promql::series_notation::print_histogram;

use crate::alerting::EvalSample;
use crate::view::exponent;

/// An alert to compare.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Alert {
    pub(super) labels: Labels,
    pub(super) annotations: BTreeMap<String, String>,
}

/// Whether two floats are the same; neighbours are when `fuzzy`. NaN never is, as in promtool.
fn same(a: f64, b: f64, fuzzy: bool) -> bool {
    a == b || (fuzzy && (a.next_down() == b || a.next_up() == b))
}

pub(super) fn samples_equal(a: &[EvalSample], b: &[EvalSample], fuzzy: bool) -> bool {
    // What they are printed as says everything about histograms, what is known of resets included.
    let print = |s: &EvalSample| s.histogram.as_deref().map(print_histogram);
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.labels == b.labels && same(a.value, b.value, fuzzy) && print(a) == print(b))
}

/// `{__name__="up", job="a"}`, as Go prints labels.
fn labels_text<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let all: Vec<String> = pairs
        .map(|(name, value)| {
            let plain =
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
            if plain { format!("{name}={value:?}") } else { format!("{name:?}={value:?}") }
        })
        .collect();
    format!("{{{}}}", all.join(", "))
}

pub(super) fn samples_text(samples: &[EvalSample]) -> String {
    if samples.is_empty() {
        return "nil".to_owned();
    }
    let one = |s: &EvalSample| {
        let value = s.histogram.as_deref().map_or_else(|| exponent(s.value, 'E'), print_histogram);
        format!("{} {value}", labels_text(s.labels.iter()))
    };
    samples.iter().map(one).collect::<Vec<_>>().join(", ")
}

pub(super) fn alerts_text(alerts: &[Alert]) -> String {
    if alerts.is_empty() {
        return "[]".to_owned();
    }
    let one = |(i, a): (usize, &Alert)| {
        let annotations = labels_text(a.annotations.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        format!("{i}:\n  Labels:{}\n  Annotations:{annotations}", labels_text(a.labels.iter()))
    };
    format!("[\n{}\n]", alerts.iter().enumerate().map(one).collect::<Vec<_>>().join(",\n"))
}

/// Puts `by` before each line but the first.
pub(super) fn indented(text: &str, by: &str) -> String {
    text.replace('\n', &format!("\n{by}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_labels_as_go_prints_them() {
        let texts = [0.0, 1.0, -2.5, 1e21, 1.5e-7, f64::INFINITY, f64::NAN].map(|v| exponent(v, 'E'));
        assert_eq!(texts, ["0E+00", "1E+00", "-2.5E+00", "1E+21", "1.5E-07", "+Inf", "NaN"]);
        let labels = Labels::new([("__name__", "up"), ("job", "a\"b"), ("http.method", "GET")]);
        assert_eq!(labels_text(labels.iter()), r#"{__name__="up", "http.method"="GET", job="a\"b"}"#);
        assert!(same(3.0, 3.0_f64.next_up(), true) && !same(3.0, 3.0_f64.next_up(), false));
        assert!(!same(3.0, 3.0_f64.next_up().next_up(), true) && !same(f64::NAN, f64::NAN, true));
    }
}
