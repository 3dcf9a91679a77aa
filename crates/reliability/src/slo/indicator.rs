//! How an objective is measured, and the PromQL for it over any window.

use serde::Serialize;

use crate::duration::format_duration;
use crate::template::format_g;

/// What kind of promise it is, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IndicatorKind {
    /// Answers without failing.
    Availability,
    /// Answers fast enough.
    Latency,
    /// Anything else.
    Custom,
}

/// Whether events are counted or slices of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub enum Budgeting {
    /// Each event counts.
    Occurrences,
    /// Each slice counts as good or bad.
    Timeslices {
        /// Ratio of good events from which a slice is good.
        target: f64,
        /// Length, milliseconds.
        slice_ms: i64,
    },
    /// Each slice counts with its ratio, however busy it was.
    RatioTimeslices {
        /// Length, milliseconds.
        slice_ms: i64,
    },
}

/// A query that counts events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "form", rename_all = "lowercase")]
pub enum Query {
    /// A plain selector of counters (or of gauges that hold counts).
    Selector {
        /// `name{…}`
        selector: String,
        /// Whether it only grows.
        counter: bool,
    },
    /// An expression with `{{.window}}` where the range belongs.
    Windowed {
        /// PromQL with the placeholder.
        expr: String,
    },
}

/// How an objective is measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Indicator {
    /// Events, some of them good or bad.
    Ratio {
        /// For people.
        kind: IndicatorKind,
        /// Good events; this or `bad` is given.
        good: Option<Query>,
        /// Bad events.
        bad: Option<Query>,
        /// All events.
        total: Query,
    },
    /// A query that gives a ratio itself.
    Raw {
        /// PromQL, with or without `{{.window}}`.
        query: String,
        /// Whether it gives the share of failures (else of successes).
        failures: bool,
    },
    /// A value that has to keep to a limit.
    Threshold {
        /// PromQL.
        query: String,
        /// `<`, `<=`, `>`, `>=`: what is good.
        op: &'static str,
        /// The limit.
        value: f64,
        /// How often it is looked at, milliseconds.
        step_ms: i64,
    },
}

/// Resolution at which values that are no event counts are sampled, milliseconds.
const SAMPLE_MS: i64 = 60_000;

impl Query {
    /// Reads a query: a selector, `sum(selector)`, or an expression with `{{.window}}`.
    ///
    /// # Errors
    /// When it is none of these, with what was expected.
    pub fn parse(text: &str, counter: bool) -> Result<Self, String> {
        let text = text.trim();
        if has_window(text) {
            crate::promql::check_expr(&with_window(text, "5m")).map_err(|(m, at)| format!("not PromQL: {m} (byte {at})"))?;
            return Ok(Self::Windowed { expr: text.to_owned() });
        }
        crate::promql::check_expr(text).map_err(|(m, at)| format!("not PromQL: {m} (byte {at})"))?;
        let inner =
            text.strip_prefix("sum").map(str::trim_start).and_then(|t| t.strip_prefix('(')).and_then(|t| t.strip_suffix(')')).map_or(text, str::trim);
        match selector_end(inner) {
            Some(end) if end == inner.len() => Ok(Self::Selector { selector: inner.to_owned(), counter }),
            _ => Err(format!(
                "`{text}` cannot be taken over several windows: give a plain selector, sum(selector), or write `{{{{.window}}}}` where the range belongs"
            )),
        }
    }

    /// PromQL whose ratio over another query's is a ratio of events in the window.
    fn rate(&self, window: &str) -> String {
        match self {
            Self::Selector { selector, counter: true } => format!("sum(rate({selector}[{window}]))"),
            Self::Selector { .. } => self.count(window),
            Self::Windowed { expr } => format!("sum({})", with_window(expr, window)),
        }
    }

    /// PromQL for the number of events in the window.
    fn count(&self, window: &str) -> String {
        match self {
            Self::Selector { selector, counter: true } => format!("sum(increase({selector}[{window}]))"),
            Self::Selector { selector, .. } => format!("sum(sum_over_time({selector}[{window}]))"),
            Self::Windowed { expr } => format!("sum({})", rate_to_increase(&with_window(expr, window))),
        }
    }

    /// The query as people read it.
    pub fn text(&self) -> &str {
        match self {
            Self::Selector { selector, .. } => selector,
            Self::Windowed { expr } => expr,
        }
    }

    /// This query with more matchers, as `status!~"5.."`.
    ///
    /// # Errors
    /// When it is no selector.
    pub fn with_matchers(&self, matchers: &str) -> Result<Self, String> {
        let Self::Selector { selector, counter } = self else {
            return Err("matchers can only be added to a plain selector".to_owned());
        };
        let selector = match selector.strip_suffix('}') {
            Some(open) if open.ends_with('{') || open.ends_with(',') => format!("{open}{matchers}}}"),
            Some(open) => format!("{open},{matchers}}}"),
            None => format!("{selector}{{{matchers}}}"),
        };
        Ok(Self::Selector { selector, counter: *counter })
    }

    /// This query with `le="0.25"` comparing numbers: `0.250` is the same boundary, `1` the same as `1.0`.
    #[must_use]
    pub fn with_numeric_le(&self) -> Self {
        let rewrite = |text: &str| {
            let Some((before, value, after)) = le_matcher(text) else { return text.to_owned() };
            match value.parse::<f64>() {
                Ok(number) if number.is_finite() => format!("{before}le=~\"{}\"{after}", le_pattern(number).replace('\\', "\\\\")),
                _ => text.to_owned(),
            }
        };
        match self {
            Self::Selector { selector, counter } => Self::Selector { selector: rewrite(selector), counter: *counter },
            Self::Windowed { expr } => Self::Windowed { expr: rewrite(expr) },
        }
    }
}

/// Splits at the first `le="…"`: text before, value, text after.
fn le_matcher(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(i) = text[from..].find("le") {
        let at = from + i;
        let boundary = text[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let rest = text[at + 2..].trim_start();
        if boundary && let Some(value) = rest.strip_prefix('=').map(str::trim_start).and_then(|r| r.strip_prefix('"')) {
            let end = value.find('"')?;
            return Some((&text[..at], &value[..end], &value[end + 1..]));
        }
        from = at + 2;
    }
    None
}

/// The boundary a query's `le="…"` names.
pub(crate) fn le_of(query: &Query) -> Option<f64> {
    le_matcher(query.text())?.1.parse().ok()
}

/// A pattern for all decimal spellings of a bucket boundary.
pub fn le_pattern(boundary: f64) -> String {
    let text = format!("{}", boundary.abs());
    let sign = if boundary < 0.0 { "-" } else { "" };
    match text.split_once('.') {
        Some((whole, fraction)) => format!("{sign}{whole}\\.{fraction}0*"),
        None => format!("{sign}{text}(\\.0*)?"),
    }
}

/// What to say when `boundary` is none of a histogram's; none when it is. Names the nearest two.
pub fn boundary_lint(boundary: f64, boundaries: &[f64]) -> Option<String> {
    if boundaries.contains(&boundary) {
        return None;
    }
    let finite = || boundaries.iter().copied().filter(|b| b.is_finite());
    let below = finite().filter(|b| *b < boundary).max_by(f64::total_cmp);
    let above = finite().filter(|b| *b > boundary).min_by(f64::total_cmp);
    let near: Vec<String> = below.into_iter().chain(above).map(|b| format_g(b, None)).collect();
    Some(format!("{} is no bucket boundary of this histogram; nearest are {}", format_g(boundary, None), near.join(" and ")))
}

impl Indicator {
    /// PromQL for the share of bad events over a window. Bad events that were never counted are 0; without any event
    /// there is no element at all, which no comparison takes for good or bad.
    pub fn error_ratio(&self, window_ms: i64, budgeting: Budgeting) -> String {
        let window = format_duration(window_ms);
        match budgeting {
            Budgeting::Timeslices { target, slice_ms } => {
                let allowed = format_g(super::round_12(1.0 - target), Some(12));
                let slice = format_duration(slice_ms);
                format!("avg_over_time(({} > bool {allowed})[{window}:{slice}])", self.events_ratio(slice_ms))
            }
            Budgeting::RatioTimeslices { slice_ms } => {
                format!("avg_over_time(({})[{window}:{}])", self.events_ratio(slice_ms), format_duration(slice_ms))
            }
            Budgeting::Occurrences => self.events_ratio(window_ms),
        }
    }

    fn events_ratio(&self, window_ms: i64) -> String {
        let window = format_duration(window_ms);
        match self {
            Self::Ratio { bad: Some(bad), total, .. } => format!("({} or vector(0)) / ({} > 0)", bad.rate(&window), total.rate(&window)),
            Self::Ratio { good, total, .. } => {
                let good = good.as_ref().map_or_else(|| "vector(0)".to_owned(), |g| format!("({} or vector(0))", g.rate(&window)));
                format!("1 - {good} / ({} > 0)", total.rate(&window))
            }
            Self::Raw { query, failures } => {
                let ratio = if has_window(query) {
                    format!("({})", with_window(query, &window))
                } else {
                    format!("avg_over_time(({query})[{window}:{}])", format_duration(SAMPLE_MS.min(window_ms)))
                };
                if *failures { ratio } else { format!("1 - {ratio}") }
            }
            Self::Threshold { query, op, value, step_ms } => {
                format!(
                    "1 - avg_over_time((({query}) {op} bool {})[{window}:{}])",
                    format_g(*value, None),
                    format_duration((*step_ms).min(window_ms))
                )
            }
        }
    }

    /// PromQL for the numbers of bad and of all events in a window. Where there are no events to count, minutes or
    /// slices stand for them.
    pub fn counts(&self, window_ms: i64, budgeting: Budgeting) -> (String, String) {
        let window = format_duration(window_ms);
        match (self, budgeting) {
            (Self::Ratio { bad: Some(bad), total, .. }, Budgeting::Occurrences) => {
                (format!("{} or vector(0)", bad.count(&window)), total.count(&window))
            }
            (Self::Ratio { good: Some(good), total, .. }, Budgeting::Occurrences) => {
                (format!("{} - ({} or vector(0))", total.count(&window), good.count(&window)), total.count(&window))
            }
            (_, Budgeting::Timeslices { slice_ms, .. } | Budgeting::RatioTimeslices { slice_ms }) => {
                let slices = (window_ms / slice_ms.max(1)).max(1);
                let ratio = self.error_ratio(window_ms, budgeting);
                (format!("({ratio}) * {slices}"), format!("({ratio}) * 0 + {slices}"))
            }
            _ => {
                let samples = (window_ms / SAMPLE_MS).max(1);
                let ratio = self.events_ratio(window_ms);
                (format!("({ratio}) * {samples}"), format!("({ratio}) * 0 + {samples}"))
            }
        }
    }

    /// What is measured, for people.
    pub fn kind(&self) -> IndicatorKind {
        match self {
            Self::Ratio { kind, .. } => *kind,
            Self::Raw { .. } | Self::Threshold { .. } => IndicatorKind::Custom,
        }
    }
}

/// Where a plain selector at the start of a text ends.
fn selector_end(text: &str) -> Option<usize> {
    let name = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let rest = &text[name..];
    if !rest.starts_with('{') {
        return (name > 0).then_some(name);
    }
    let mut quote = None;
    let mut chars = rest.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match (quote, c) {
            (Some('"' | '\''), '\\') => {
                chars.next();
            }
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '}') => return Some(name + i + 1),
            (None, '{') => return None,
            _ => {}
        }
    }
    None
}

fn has_window(text: &str) -> bool {
    window_placeholder(text).is_some()
}

/// The next `{{ .window }}`, with any white space: start and end.
fn window_placeholder(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(i) = text[from..].find("{{") {
        let start = from + i;
        let end = start + text[start..].find("}}")? + 2;
        if text[start + 2..end - 2].trim() == ".window" {
            return Some((start, end));
        }
        from = start + 2;
    }
    None
}

fn with_window(text: &str, window: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((start, end)) = window_placeholder(rest) {
        out.push_str(&rest[..start]);
        out.push_str(window);
        rest = &rest[end..];
    }
    out + rest
}

/// `rate(` as `increase(`: what gives events a second then gives events.
fn rate_to_increase(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(i) = rest.find("rate") {
        let whole_word = rest[..i].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':');
        let call = rest[i + 4..].trim_start().starts_with('(');
        out.push_str(&rest[..i]);
        out.push_str(if whole_word && call { "increase" } else { "rate" });
        rest = &rest[i + 4..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text, true).unwrap()
    }

    #[test]
    fn ratios_over_any_window() {
        let bad = Indicator::Ratio { kind: IndicatorKind::Availability, good: None, bad: Some(query(r#"x{status=~"5.."}"#)), total: query("sum(x)") };
        assert_eq!(bad.error_ratio(300_000, Budgeting::Occurrences), r#"(sum(rate(x{status=~"5.."}[5m])) or vector(0)) / (sum(rate(x[5m])) > 0)"#);
        assert_eq!(bad.counts(300_000, Budgeting::Occurrences).0, r#"sum(increase(x{status=~"5.."}[5m])) or vector(0)"#);
        let good = Indicator::Ratio { kind: IndicatorKind::Latency, good: Some(query("sum(rate(g[{{ .window }}]))")), bad: None, total: query("t") };
        assert_eq!(good.error_ratio(3_600_000, Budgeting::Occurrences), "1 - (sum(sum(rate(g[1h]))) or vector(0)) / (sum(rate(t[1h])) > 0)");
        assert_eq!(good.counts(3_600_000, Budgeting::Occurrences).0, "sum(increase(t[1h])) - (sum(sum(increase(g[1h]))) or vector(0))");
        let slices = Budgeting::Timeslices { target: 0.95, slice_ms: 60_000 };
        assert_eq!(
            bad.error_ratio(3_600_000, slices),
            r#"avg_over_time(((sum(rate(x{status=~"5.."}[1m])) or vector(0)) / (sum(rate(x[1m])) > 0) > bool 0.05)[1h:1m])"#
        );
        let threshold = Indicator::Threshold { query: "p99".into(), op: "<", value: 0.5, step_ms: 60_000 };
        assert_eq!(threshold.error_ratio(300_000, Budgeting::Occurrences), "1 - avg_over_time(((p99) < bool 0.5)[5m:1m])");
    }

    #[test]
    fn selectors_are_told_from_expressions() {
        assert_eq!(query(r#"x{route="/orders/{id}",a='}'}"#).text(), r#"x{route="/orders/{id}",a='}'}"#);
        for bad in ["a + b", "sum(a) by (x)", "rate(x[5m])", "sum(a", "1"] {
            assert!(Query::parse(bad, true).is_err(), "{bad}");
        }
        assert_eq!(query("x{a=\"1\"}").with_matchers("b=\"2\"").unwrap().text(), r#"x{a="1",b="2"}"#);
        assert_eq!(query("x").with_matchers("b=\"2\"").unwrap().text(), r#"x{b="2"}"#);
    }

    #[test]
    fn le_compares_numbers() {
        let numeric = |text: &str| query(text).with_numeric_le().text().to_owned();
        assert_eq!(numeric(r#"h_bucket{le="0.250",job="x"}"#), r#"h_bucket{le=~"0\\.250*",job="x"}"#);
        assert_eq!(numeric(r#"h_bucket{role="1"}"#), r#"h_bucket{role="1"}"#);
        assert_eq!(numeric(r#"h_bucket{le="+Inf"}"#), r#"h_bucket{le="+Inf"}"#);
        for (boundary, spelling, same) in
            [(0.25, "0.25", true), (0.25, "0.250", true), (0.25, "0.2500001", false), (1.0, "1.0", true), (1.0, "1", true), (1.0, "10", false)]
        {
            let regex = regex::Regex::new(&format!("^(?:{})$", le_pattern(boundary))).unwrap();
            assert_eq!(regex.is_match(spelling), same, "{boundary} {spelling}");
        }
        assert_eq!(
            boundary_lint(0.3, &[0.1, 0.25, 0.5, f64::INFINITY]).as_deref(),
            Some("0.3 is no bucket boundary of this histogram; nearest are 0.25 and 0.5")
        );
        assert_eq!(boundary_lint(0.25, &[0.25]), None);
    }
}
