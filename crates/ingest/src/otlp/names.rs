//! OpenTelemetry names as Prometheus names, in the four ways Prometheus offers.
//!
//! After "Prometheus and OpenMetrics Compatibility" of the OpenTelemetry specification: UCUM units become words,
//! monotonic sums end in `_total`, gauges of unit `1` in `_ratio`.

use std::borrow::Cow;

/// How OTLP names become Prometheus names. The names are those of Prometheus' `translation_strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub enum NameTranslation {
    /// Letters, digits, `_` and `:` only; suffixes for unit and type. Prometheus' default.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Letters, digits, `_` and `:` only; nothing added.
    UnderscoreEscapingWithoutSuffixes,
    /// Names as they are; suffixes for unit and type.
    #[serde(rename = "NoUTF8EscapingWithSuffixes")]
    NoUtf8EscapingWithSuffixes,
    /// Names as they are.
    NoTranslation,
}

/// What a name's suffix depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum NameKind {
    /// A gauge: unit `1` is a ratio.
    Gauge = 1,
    /// A monotonic sum: `_total`.
    Counter = 2,
    /// Anything else.
    Other = 3,
}

const UNITS: &[(&str, &str)] = &[
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    // Prometheus' own spelling; series names have to agree with it.
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];

const PER_UNITS: &[(&str, &str)] = &[("s", "second"), ("m", "minute"), ("h", "hour"), ("d", "day"), ("w", "week"), ("mo", "month"), ("y", "year")];

fn word<'a>(table: &[(&str, &'a str)], unit: &'a str) -> &'a str {
    table.iter().find(|(symbol, _)| *symbol == unit).map_or(unit, |(_, word)| word)
}

/// The unit's word and its `per_…` word, either of them empty.
fn unit_words(unit: &str) -> (&str, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    // Text in braces is an annotation, not a unit.
    let counts = |part: &&str| !part.is_empty() && !part.contains(['{', '}']);
    let main = Some(main.trim()).filter(counts).map_or("", |main| word(UNITS, main));
    let per = Some(per.trim()).filter(counts).map_or("", |per| word(PER_UNITS, per));
    (main, if per.is_empty() { String::new() } else { format!("per_{per}") })
}

/// Only letters, digits and `:`, with single underscores between, none in front.
fn clean_unit(unit: &str) -> String {
    let mut out = String::new();
    for c in unit.chars() {
        if c.is_ascii_alphanumeric() || c == ':' {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
    }
    out
}

fn only_underscores(name: &str) -> bool {
    name.bytes().all(|b| b == b'_')
}

fn without_suffix<'a>(name: &'a str, suffix: &str) -> &'a str {
    match name.strip_suffix(suffix) {
        // One more byte for the delimiter, whatever it is; the name must not become empty.
        Some(rest) if rest.len() > 1 => &rest[..rest.floor_char_boundary(rest.len() - 1)],
        _ => name,
    }
}

impl NameTranslation {
    fn escapes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes)
    }

    fn adds_suffixes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::NoUtf8EscapingWithSuffixes)
    }

    /// The metric's name, before `_bucket`, `_sum`, `_count`. `namespace` is put in front unless it is empty.
    ///
    /// # Errors
    /// When nothing of the name is left, with the reason.
    pub fn metric_name(self, namespace: &str, name: &str, unit: &str, kind: NameKind) -> Result<String, String> {
        let built = match (self.escapes(), self.adds_suffixes()) {
            (true, true) => escaped_with_suffixes(namespace, name, unit, kind),
            (true, false) => escaped(namespace, name),
            (false, true) => plain_with_suffixes(&plain(namespace, name), unit, kind),
            (false, false) => plain(namespace, name),
        };
        if built.is_empty() {
            return Err(format!("metric name {name:?} has no letter or digit: nothing is left of it"));
        }
        if self.escapes() && built != name && only_underscores(&built) {
            return Err(format!("metric name {name:?} becomes {built:?}, which has no letter or digit"));
        }
        Ok(built)
    }

    /// The unit in words, empty when there is none.
    pub fn unit(self, unit: &str) -> String {
        let (main, per) = unit_words(unit);
        let (main, per) = if self.escapes() { (clean_unit(main), clean_unit(&per)) } else { (main.to_owned(), per) };
        let joined = if main.is_empty() || per.is_empty() { main + &per } else { format!("{main}_{per}") };
        let trimmed = joined.strip_prefix('_').unwrap_or(&joined);
        trimmed.strip_suffix('_').unwrap_or(trimmed).to_owned()
    }

    /// A label's name for an attribute key.
    ///
    /// # Errors
    /// When nothing of the key is left, with the reason.
    pub fn label_name<'a>(self, key: &'a str) -> Result<Cow<'a, str>, String> {
        LabelNaming { escape: self.escapes(), ..LabelNaming::default() }.name(key)
    }
}

/// Rules for label names; the defaults are Prometheus'.
#[derive(Debug, Clone, Copy)]
pub struct LabelNaming {
    /// Replace what is no letter, digit or underscore.
    pub escape: bool,
    /// Put `key` in front of names with one leading underscore.
    pub key_before_underscore: bool,
    /// Keep underscores that follow each other, instead of one for many.
    pub keep_multiple_underscores: bool,
}

impl Default for LabelNaming {
    fn default() -> Self {
        Self { escape: true, key_before_underscore: true, keep_multiple_underscores: true }
    }
}

impl LabelNaming {
    /// A label's name for an attribute key.
    ///
    /// # Errors
    /// When nothing of the key is left, with the reason.
    pub fn name<'a>(&self, key: &'a str) -> Result<Cow<'a, str>, String> {
        if key.is_empty() {
            return Err("attribute key is empty: no label can be named after it".to_owned());
        }
        if !self.escape {
            return if only_underscores(key) { Err(no_letter(key)) } else { Ok(Cow::Borrowed(key)) };
        }
        let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let mut name =
            if plain && (self.keep_multiple_underscores || !key.contains("__")) { Cow::Borrowed(key) } else { Cow::Owned(self.escaped(key)) };
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            name = Cow::Owned(format!("key_{name}"));
        } else if self.key_before_underscore && name.starts_with('_') && !name.starts_with("__") {
            name = Cow::Owned(format!("key{name}"));
        }
        if only_underscores(&name) || (name != key && only_underscores(name.trim_start_matches("key"))) {
            return Err(no_letter(key));
        }
        Ok(name)
    }

    fn escaped(&self, key: &str) -> String {
        // Names between double underscores are reserved ones: they keep them.
        let reserved = key.len() > 4 && key.starts_with("__") && key.ends_with("__");
        let inner = if reserved { &key[2..key.len() - 2] } else { key };
        let mut out = String::with_capacity(key.len());
        for c in inner.chars() {
            if c.is_ascii_alphanumeric() {
                out.push(c);
            } else if self.keep_multiple_underscores || !out.ends_with('_') {
                out.push('_');
            }
        }
        if reserved { format!("__{out}__") } else { out }
    }
}

fn no_letter(key: &str) -> String {
    format!("attribute key {key:?} has no letter or digit: no label can be named after it")
}

fn plain(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}_{name}") }
}

/// Invalid characters split the name; the parts are joined with one underscore.
fn joined(name: &str, valid: impl Fn(char) -> bool) -> String {
    name.split(|c| !valid(c)).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
}

fn escaped(namespace: &str, name: &str) -> String {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == ':' || c == '_';
    let mut out = joined(name, valid);
    if !namespace.is_empty() {
        return format!("{}_{out}", joined(namespace, valid));
    }
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

fn escaped_with_suffixes(namespace: &str, name: &str, unit: &str, kind: NameKind) -> String {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == ':';
    let mut tokens: Vec<&str> = name.split(|c| !valid(c)).filter(|token| !token.is_empty()).collect();
    let (main, per) = unit_words(unit);
    let (main, per) = (clean_unit(main), clean_unit(&per));
    let main = main.trim_end_matches('_');
    let per = if per == "per_" { "" } else { per.trim_end_matches('_') };
    for word in [main, per] {
        if !word.is_empty() && !tokens.contains(&word) {
            tokens.push(word);
        }
    }
    let last = match kind {
        NameKind::Counter => Some("total"),
        NameKind::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    };
    if let Some(last) = last {
        tokens.retain(|token| *token != last);
        tokens.push(last);
    }
    let mut out = joined(namespace, |c| c.is_ascii_alphanumeric() || c == ':' || c == '_');
    for token in tokens {
        if !out.is_empty() {
            out.push('_');
        }
        out.push_str(token);
    }
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

fn plain_with_suffixes(name: &str, unit: &str, kind: NameKind) -> String {
    let (main, per) = unit_words(unit);
    let last = match kind {
        NameKind::Counter => "total",
        NameKind::Gauge if unit == "1" => "ratio",
        _ => "",
    };
    let mut stem = name;
    for suffix in [last, &per] {
        if !suffix.is_empty() {
            stem = without_suffix(stem, suffix);
        }
    }
    let mut out = stem.to_owned();
    let main = if out.ends_with(main) { "" } else { main };
    for suffix in [main, &per, last] {
        if !suffix.is_empty() {
            out.push('_');
            out.push_str(suffix);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::shared_lines;

    /// `MetricNamer{ Namespace: "x", UTF8Allowed: false, WithMetricSuffixes: true }`, or `NewMetricNamer("x", Strategy)`.
    fn namer(text: &str) -> (String, NameTranslation) {
        let namespace = text.split_once('"').and_then(|(_, rest)| rest.split_once('"')).map_or("", |(n, _)| n);
        let strategy = match text {
            t if t.contains("UnderscoreEscapingWithSuffixes") => NameTranslation::UnderscoreEscapingWithSuffixes,
            t if t.contains("UnderscoreEscapingWithoutSuffixes") => NameTranslation::UnderscoreEscapingWithoutSuffixes,
            t if t.contains("NoUTF8EscapingWithSuffixes") => NameTranslation::NoUtf8EscapingWithSuffixes,
            t if t.contains("NoTranslation") => NameTranslation::NoTranslation,
            t => match (t.contains("UTF8Allowed: true"), t.contains("WithMetricSuffixes: true")) {
                (false, true) => NameTranslation::UnderscoreEscapingWithSuffixes,
                (false, false) => NameTranslation::UnderscoreEscapingWithoutSuffixes,
                (true, true) => NameTranslation::NoUtf8EscapingWithSuffixes,
                (true, false) => NameTranslation::NoTranslation,
            },
        };
        (namespace.to_owned(), strategy)
    }

    #[test]
    fn metric_names_of_the_conformance_table() {
        let Some(cases) = shared_lines("conformance/otlp-prometheus-names/metric_names.jsonl") else { return };
        let mut wrong = Vec::new();
        for case in &cases {
            let metric = &case["metric"];
            let (namespace, strategy) = namer(case["namer"].as_str().expect("a namer"));
            let unit = metric["unit"].as_str().unwrap_or("");
            let kind = match metric["type"].as_str() {
                Some("MetricTypeGauge") => NameKind::Gauge,
                Some("MetricTypeMonotonicCounter") => NameKind::Counter,
                _ => NameKind::Other,
            };
            let name = metric["name"].as_str().expect("a name");
            let got = strategy.metric_name(&namespace, name, unit, kind);
            let want = case["want_metric"].as_str().filter(|_| case["want_error"].is_null());
            if got.as_deref().ok() != want {
                wrong.push(format!("line {}: {name:?} {unit:?} {strategy:?}: got {got:?}, want {want:?}", case["line"]));
            }
            if let Some(want) = case["want_unit"].as_str()
                && strategy.unit(unit) != want
            {
                wrong.push(format!("line {}: unit {unit:?}: got {:?}, want {want:?}", case["line"], strategy.unit(unit)));
            }
        }
        assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    }

    #[test]
    fn label_names_of_the_conformance_table() {
        let Some(cases) = shared_lines("conformance/otlp-prometheus-names/label_names.jsonl") else { return };
        let mut wrong = Vec::new();
        for case in &cases {
            let label = case["label"].as_str().expect("a label");
            for (column, key_before_underscore, keep_multiple_underscores) in [
                ("sanitized", false, false),
                ("keep_multiple_underscores", false, true),
                ("underscore_label_sanitization", true, false),
                ("both", true, true),
            ] {
                let naming = LabelNaming { escape: true, key_before_underscore, keep_multiple_underscores };
                let got = naming.name(label);
                let error = case["error"].as_bool() == Some(true);
                let Some(want) = case[column].as_str().filter(|_| !error) else {
                    if error && got.is_ok() {
                        wrong.push(format!("{label:?} {column}: got {got:?}, want an error"));
                    }
                    continue;
                };
                if got.as_deref() != Ok(want) {
                    wrong.push(format!("{label:?} {column}: got {got:?}, want {want:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn usual_names() {
        for (name, unit, kind, want) in [
            ("http.server.request.duration", "s", NameKind::Other, "http_server_request_duration_seconds"),
            ("http.server.active_requests", "{request}", NameKind::Other, "http_server_active_requests"),
            ("process.cpu.time", "s", NameKind::Counter, "process_cpu_time_seconds_total"),
            ("system.memory.utilization", "1", NameKind::Gauge, "system_memory_utilization_ratio"),
            ("queue.size", "By", NameKind::Gauge, "queue_size_bytes"),
            ("requests_total", "1", NameKind::Counter, "requests_total"),
        ] {
            assert_eq!(NameTranslation::default().metric_name("", name, unit, kind).as_deref(), Ok(want));
        }
        let naming = NameTranslation::default();
        assert_eq!(naming.label_name("http.request.method").as_deref(), Ok("http_request_method"));
        assert_eq!(naming.label_name("_private").as_deref(), Ok("key_private"));
    }
}
