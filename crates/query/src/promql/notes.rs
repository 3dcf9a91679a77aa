//! Warnings and infos about a result, with the place in the query they are about, in Prometheus' words.

use std::cell::RefCell;
use std::rc::Rc;

use skopos_model::Labels;

use super::ast::Expr;
use super::display::number;

/// Most notes of a kind that a result carries; how many more there were is said.
const NOTES_MAX: usize = 10;

/// Most distinct notes of a kind that are counted.
const COUNTED_MAX: usize = 1000;

/// Line and column of an expression, from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    line: u32,
    column: u32,
}

impl From<&Expr> for Place {
    fn from(expr: &Expr) -> Self {
        Self { line: expr.line, column: expr.column }
    }
}

#[derive(Debug, Default)]
struct Lists {
    warnings: Vec<String>,
    infos: Vec<String>,
}

/// Warnings and infos, each once. A clone adds to the same lists: rows are computed after the node that notes belong
/// to was evaluated.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Rc<RefCell<Lists>>);

fn add(list: &mut Vec<String>, text: String) {
    if list.len() < COUNTED_MAX && !list.contains(&text) {
        list.push(text);
    }
}

fn shortened(mut list: Vec<String>, kind: &str) -> Vec<String> {
    let more = list.len().saturating_sub(NOTES_MAX);
    list.truncate(NOTES_MAX);
    if more > 0 {
        list.push(format!("{more} more {kind} annotations omitted"));
    }
    list
}

impl Notes {
    /// Says that the result is likely not what was meant.
    pub(crate) fn warn(&self, message: &str, at: impl Into<Place>) {
        let Place { line, column } = at.into();
        add(&mut self.0.borrow_mut().warnings, format!("PromQL warning: {message} ({line}:{column})"));
    }

    /// Says something worth knowing.
    pub(crate) fn info(&self, message: &str, at: impl Into<Place>) {
        let Place { line, column } = at.into();
        add(&mut self.0.borrow_mut().infos, format!("PromQL info: {message} ({line}:{column})"));
    }

    /// The warnings and the infos.
    pub(crate) fn finish(&self) -> (Vec<String>, Vec<String>) {
        let lists = std::mem::take(&mut *self.0.borrow_mut());
        (shortened(lists.warnings, "warning"), shortened(lists.infos, "info"))
    }

    /// For notes about the metric `name` at a place.
    pub(crate) fn about<'a>(&'a self, name: &'a str, at: impl Into<Place>) -> Spot<'a> {
        Spot { notes: self, place: at.into(), name: Name::Text(name) }
    }

    /// For notes about a series at a place. Its name is looked up only when there is something to say.
    pub(crate) fn about_series<'a>(&'a self, labels: &'a Labels, at: Place) -> Spot<'a> {
        Spot { notes: self, place: at, name: Name::Of(labels) }
    }
}

/// What histograms were combined for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Combining {
    Addition,
    Subtraction,
    Aggregation,
}

impl Combining {
    fn name(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Name<'a> {
    Text(&'a str),
    Of(&'a Labels),
}

/// The metric and the place that notes are about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot<'a> {
    notes: &'a Notes,
    place: Place,
    name: Name<'a>,
}

impl Spot<'_> {
    fn name(&self) -> &str {
        match self.name {
            Name::Text(name) => name,
            Name::Of(labels) => labels.name(),
        }
    }

    fn warn(&self, message: &str) {
        self.notes.warn(message, self.place);
    }

    /// With `for metric name …` when there is one.
    fn named(&self, message: &str) -> String {
        let name = self.name();
        if name.is_empty() { message.to_owned() } else { format!("{message} for metric name {name:?}") }
    }

    pub(crate) fn floats_and_histograms(&self) {
        self.warn(&format!("encountered a mix of histograms and floats for metric name {:?}", self.name()));
    }

    pub(crate) fn floats_and_histograms_aggregated(&self) {
        self.warn("encountered a mix of histograms and floats for aggregation");
    }

    pub(crate) fn bad_bucket_label(&self, value: &str) {
        self.warn(&self.named(&format!("bucket label \"le\" is missing or has a malformed value of {value:?}")));
    }

    /// Counts of classic buckets that went down from one bound to the next were made to ascend.
    pub(crate) fn forced_to_ascend(&self, d: &Decreases) {
        let head = "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
        let (least, most) = (number(d.bounds.0), number(d.bounds.1));
        let time = |ms: i64| jiff::Timestamp::from_second(ms / 1000).map_or_else(|_| ms.to_string(), |t| t.to_string());
        let (from, to) = (time(d.times.0), time(d.times.1));
        let message = format!(
            "{}, from buckets {least} to {most}, with a max diff of {}, over {} samples from {from} to {to}",
            self.named(head),
            two_digits(d.largest),
            d.samples
        );
        self.notes.info(&message, self.place);
    }

    pub(crate) fn classic_and_native(&self) {
        self.warn(&self.named("vector contains a mix of classic and native histograms"));
    }

    pub(crate) fn no_counter(&self) {
        self.warn(&format!("this native histogram metric is not a counter: {:?}", self.name()));
    }

    pub(crate) fn no_gauge(&self) {
        self.warn(&format!("this native histogram metric is not a gauge: {:?}", self.name()));
    }

    pub(crate) fn mixed_schemas(&self) {
        self.warn(&format!("vector contains a mix of histograms with exponential and custom buckets schemas for metric name {:?}", self.name()));
    }

    pub(crate) fn incompatible_layout(&self, operator: &str) {
        self.warn(&format!("incompatible bucket layout encountered for binary operator {operator}"));
    }

    pub(crate) fn reset_collision(&self, combining: Combining) {
        self.warn(&format!("conflicting counter resets during histogram {}", combining.name()));
    }

    pub(crate) fn start_overlap(&self) {
        self.warn(&format!("sample has start time that overlaps with previous sample timestamp for metric {:?}", self.name()));
    }

    pub(crate) fn bounds_reconciled(&self, combining: Combining) {
        self.notes.info(&format!("mismatched custom buckets were reconciled during {}", combining.name()), self.place);
    }

    pub(crate) fn histograms_ignored_in_range(&self) {
        let message = format!("ignored histograms in a range containing both floats and histograms for metric name {:?}", self.name());
        self.notes.info(&message, self.place);
    }

    pub(crate) fn histograms_ignored_in(&self, aggregation: &str) {
        self.notes.info(&format!("ignored histogram in {aggregation} aggregation"), self.place);
    }

    pub(crate) fn incompatible_types(&self, left: &str, operator: &str, right: &str) {
        let message = format!("incompatible sample types encountered for binary operator {operator:?}: {left} {operator} {right}");
        self.notes.info(&message, self.place);
    }

    pub(crate) fn quantile_undefined(&self) {
        self.notes.info(&self.named("input to histogram_quantile has NaN observations, result is NaN"), self.place);
    }

    pub(crate) fn quantile_skewed(&self) {
        self.notes.info(&self.named("input to histogram_quantile has NaN observations, result is skewed higher"), self.place);
    }

    pub(crate) fn not_in_fractions(&self) {
        let message = "input to histogram_fraction has NaN observations, which are excluded from all fractions";
        self.notes.info(&self.named(message), self.place);
    }
}

/// Decreases of cumulative bucket counts, of all samples of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Decreases {
    /// Lowest and highest bound at which a count was lower than before.
    pub(crate) bounds: (f64, f64),
    /// The largest of them.
    pub(crate) largest: f64,
    /// First and last time, Unix milliseconds.
    pub(crate) times: (i64, i64),
    /// How many samples had any.
    pub(crate) samples: u64,
}

impl Decreases {
    /// Those of both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            bounds: (self.bounds.0.min(other.bounds.0), self.bounds.1.max(other.bounds.1)),
            largest: self.largest.max(other.largest),
            times: (self.times.0.min(other.times.0), self.times.1.max(other.times.1)),
            samples: self.samples + other.samples,
        }
    }
}

/// A positive number with two significant digits, as Go's `%.2g` writes it.
fn two_digits(v: f64) -> String {
    let scientific = format!("{v:.1e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if v == 0.0 || (-4..2).contains(&exponent) {
        return number(scientific.parse().unwrap_or(v));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", digits.trim_end_matches(".0"), exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_significant_digits() {
        for (v, text) in [(0.0, "0"), (1.0, "1"), (0.123, "0.12"), (12.6, "13"), (126.0, "1.3e+02"), (100.0, "1e+02"), (0.000_012_6, "1.3e-05")] {
            assert_eq!(two_digits(v), text);
        }
    }

    use super::*;

    #[test]
    fn each_once_and_not_too_many() {
        let notes = Notes::default();
        let place = Place { line: 1, column: 5 };
        for i in 0..13 {
            notes.warn(&format!("number {i}"), place);
            notes.warn("number 0", place);
        }
        notes.clone().info("once", place);
        let (warnings, infos) = notes.finish();
        assert_eq!(warnings.len(), 11);
        assert_eq!(warnings[0], "PromQL warning: number 0 (1:5)");
        assert_eq!(warnings[10], "3 more warning annotations omitted");
        assert_eq!(infos, ["PromQL info: once (1:5)"]);
    }
}
