//! `$name`, `${name}` and `${name:format}` in queries, titles and links.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Names every query may use without declaring them.
pub const BUILT_IN: [&str; 10] =
    ["__interval", "__interval_ms", "__rate_interval", "__range", "__range_s", "__range_ms", "__from", "__to", "__dashboard", "__all"];

/// Formats a reference may ask for.
pub const FORMATS: [&str; 11] = ["csv", "doublequote", "glob", "json", "percentencode", "pipe", "queryparam", "raw", "regex", "singlequote", "text"];

/// A reference to a variable within a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference<'t> {
    /// First byte.
    pub start: usize,
    /// After the last byte.
    pub end: usize,
    /// Name.
    pub name: &'t str,
    /// Format asked for.
    pub format: Option<&'t str>,
}

fn word(text: &str) -> usize {
    text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()
}

/// All references of a text, in order. `$1` and a lone `$` are none: regular expressions have them.
pub fn references(text: &str) -> Vec<Reference<'_>> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('$') {
        let start = at + found;
        let rest = &text[start + 1..];
        at = start + 1;
        let (name, format, length) = if let Some(inner) = rest.strip_prefix('{') {
            let Some(close) = inner.find('}') else { continue };
            let (name, format) = inner[..close].split_once(':').map_or((&inner[..close], None), |(n, f)| (n, Some(f)));
            (name, format, close + 2)
        } else {
            (&rest[..word(rest)], None, word(rest))
        };
        if name.is_empty() || word(name) != name.len() || name.as_bytes()[0].is_ascii_digit() {
            continue;
        }
        at = start + 1 + length;
        out.push(Reference { start, end: at, name, format });
    }
    out
}

/// Where a text goes, which decides how a value is written when no format is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// PromQL: several values are an alternative of a regular expression.
    PromQl,
    /// A filter for logs or traces: several values are separated by commas, all of them are `*`.
    Filter,
    /// An address.
    Url,
    /// What people read.
    Text,
}

/// Values of a variable.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bound {
    /// What stands in queries.
    pub values: Vec<String>,
    /// What people read, one a value.
    pub labels: Vec<String>,
    /// Whether several may be chosen: then even one is written as a regular expression.
    pub many: bool,
    /// Stands for all values in queries, unescaped.
    pub all: Option<String>,
}

/// Values of all variables.
pub type Scope = BTreeMap<String, Bound>;

/// A value as part of a regular expression inside a PromQL string.
fn regex_in_string(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\\\\\"),
            '"' => out.push_str("\\\""),
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => {
                out.push_str("\\\\");
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

fn in_string(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn percent(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn alternative(values: &[String]) -> String {
    match values {
        [one] => regex_in_string(one),
        many => format!("({})", many.iter().map(|v| regex_in_string(v)).collect::<Vec<_>>().join("|")),
    }
}

fn quoted(values: &[String], quote: char) -> String {
    values.iter().map(|v| format!("{quote}{}{quote}", v.replace('\\', "\\\\").replace(quote, &format!("\\{quote}")))).collect::<Vec<_>>().join(",")
}

fn written(bound: &Bound, name: &str, format: Option<&str>, place: Place) -> String {
    if let Some(all) = bound.all.as_ref().filter(|_| !matches!(format, Some("text" | "csv" | "json")) && !matches!(place, Place::Text | Place::Url)) {
        return if place == Place::Filter { "*".to_owned() } else { all.clone() };
    }
    let values = &bound.values;
    match format {
        Some("raw") => values.join(","),
        Some("csv") => values.join(","),
        Some("pipe") => values.join("|"),
        Some("regex") => alternative(values),
        Some("glob") if values.len() == 1 => values[0].clone(),
        Some("glob") => format!("{{{}}}", values.join(",")),
        Some("json") => serde_json::to_string(values).unwrap_or_default(),
        Some("doublequote") => quoted(values, '"'),
        Some("singlequote") => quoted(values, '\''),
        Some("percentencode") => values.iter().map(|v| percent(v)).collect::<Vec<_>>().join(","),
        Some("queryparam") => values.iter().map(|v| format!("var.{name}={}", percent(v))).collect::<Vec<_>>().join("&"),
        Some("text") => bound.labels.join(" + "),
        _ => match place {
            Place::PromQl if bound.many || values.len() > 1 => alternative(values),
            Place::PromQl => values.first().map(|v| in_string(v)).unwrap_or_default(),
            // Nothing is chosen: nothing may match.
            Place::Filter if values.is_empty() => "\"\"".to_owned(),
            // Values separated by commas mean any of them.
            Place::Filter => values.iter().map(|v| format!("\"{}\"", in_string(v))).collect::<Vec<_>>().join(","),
            Place::Url => values.iter().map(|v| percent(v)).collect::<Vec<_>>().join(","),
            Place::Text => bound.labels.join(" + "),
        },
    }
}

/// The text with all known references replaced; unknown ones stay as they are.
pub fn interpolate(text: &str, scope: &Scope, place: Place) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for reference in references(text) {
        let Some(bound) = scope.get(reference.name) else { continue };
        out.push_str(&text[at..reference.start]);
        // In a filter written inside quotes the value must not bring its own.
        let inside = place == Place::Filter && text[..reference.start].ends_with('"');
        match bound.values.first() {
            Some(value) if inside && bound.values.len() == 1 => out.push_str(&in_string(value)),
            _ => out.push_str(&written(bound, reference.name, reference.format, place)),
        }
        at = reference.end;
    }
    out.push_str(&text[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        let one = |v: &str, many: bool| Bound { values: vec![v.to_owned()], labels: vec![v.to_owned()], many, all: None };
        BTreeMap::from([
            ("job".to_owned(), one("a.b", false)),
            ("pod".to_owned(), Bound { values: vec!["x.1".into(), "y".into()], labels: vec!["X".into(), "Y".into()], many: true, all: None }),
            ("one".to_owned(), one("p.q", true)),
            ("every".to_owned(), Bound { values: vec!["1".into(), "2".into()], labels: vec!["All".into()], many: true, all: Some(".+".into()) }),
            ("__rate_interval".to_owned(), one("1m", false)),
        ])
    }

    #[test]
    fn references_are_found() {
        let names = |text: &str| references(text).iter().map(|r| format!("{}:{}", r.name, r.format.unwrap_or(""))).collect::<Vec<_>>();
        assert_eq!(names("a $job ${pod:regex} $__rate_interval"), ["job:", "pod:regex", "__rate_interval:"]);
        // Back references of label_replace and ends of regular expressions are none.
        assert!(names("label_replace(x, \"a\", \"$1\", \"b\", \"(.*)$\") ${1} ${").is_empty());
    }

    #[test]
    fn values_are_written_as_their_place_needs_them() {
        let check = |text: &str, place, expected: &str| assert_eq!(interpolate(text, &scope(), place), expected, "{text}");
        check("x{job=\"$job\"}[$__rate_interval]", Place::PromQl, "x{job=\"a.b\"}[1m]");
        check("x{pod=~\"$pod\"}", Place::PromQl, "x{pod=~\"(x\\\\.1|y)\"}");
        check("x{pod=~\"$one\"}", Place::PromQl, "x{pod=~\"p\\\\.q\"}");
        check("x{pod=~\"$every\"}", Place::PromQl, "x{pod=~\".+\"}");
        check("${pod:csv} ${pod:json} ${pod:pipe}", Place::PromQl, "x.1,y [\"x.1\",\"y\"] x.1|y");
        check("service:$job", Place::Filter, "service:\"a.b\"");
        check("service:\"$job\"", Place::Filter, "service:\"a.b\"");
        check("service:$pod", Place::Filter, "service:\"x.1\",\"y\"");
        check("service:$every", Place::Filter, "service:*");
        let nothing = Scope::from([("none".to_owned(), Bound::default())]);
        let text = interpolate("service:$none", &nothing, Place::Filter);
        assert!(skopos_query::filter::parse(&text).is_ok(), "{text}");
        check("/x?${pod:queryparam}", Place::Url, "/x?var.pod=x.1&var.pod=y");
        check("Pods $pod, $unknown", Place::Text, "Pods X + Y, $unknown");
    }
}
