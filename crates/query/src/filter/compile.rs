//! A filter made ready for many rows: regular expressions compiled, texts lower-cased, words looked up.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};
use skopos_model::Severity;

use super::matches::{FieldValue, Row};
use super::needle::Needle;
use super::parse::parse_duration;
use super::{Compare, Field, Filter, Value, attribute_keys};
use crate::error::{QueryError, Span};

/// Most memory a compiled regular expression may take, bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A filter ready for many rows. Cloning is cheap enough to give each thread its own.
#[derive(Debug, Clone)]
pub struct CompiledFilter {
    node: Node,
}

/// A node of a compiled filter.
#[derive(Debug, Clone)]
pub enum Node {
    /// All of them.
    And(Vec<Node>),
    /// Any of them.
    Or(Vec<Node>),
    /// Not it.
    Not(Box<Node>),
    /// A field tested.
    Field(Field, Test),
    /// Free text.
    Text(Needle),
}

/// What a field's value is tested for.
#[derive(Debug, Clone)]
pub enum Test {
    /// The value is equal to one of these.
    Equal(Vec<Value>),
    /// It contains the text.
    Contains(Needle),
    /// It begins with the text.
    Prefix(String),
    /// It matches.
    Regex(Regex),
    /// It compares so with the value: (value, accepted order, whether equal is accepted too).
    Order(Value, Ordering, bool),
    /// It is there.
    Exists,
}

/// Compiles a pattern of the grammar within its limits.
pub(super) fn compile_regex(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build().map_err(|error| {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or("").trim_start_matches("error: ").trim();
        format!("not a regular expression: {reason}")
    })
}

impl CompiledFilter {
    /// Compiles a filter.
    ///
    /// # Errors
    /// When a regular expression is broken or too large (a parsed filter has been checked already).
    pub fn new(filter: &Filter) -> Result<Self, QueryError> {
        Ok(Self { node: Node::new(filter)? })
    }

    /// The root, for stores that push parts of it down.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Whether every row is taken.
    pub fn is_all(&self) -> bool {
        matches!(&self.node, Node::And(all) if all.is_empty())
    }

    /// Whether the row is taken.
    pub fn matches(&self, row: &dyn Row) -> bool {
        self.node.matches(row)
    }
}

impl Node {
    fn new(filter: &Filter) -> Result<Self, QueryError> {
        Ok(match filter {
            Filter::And(all) => Self::And(all.iter().map(Self::new).collect::<Result<_, _>>()?),
            Filter::Or(any) => Self::Or(any.iter().map(Self::new).collect::<Result<_, _>>()?),
            Filter::Not(inner) => Self::Not(Box::new(Self::new(inner)?)),
            Filter::Text(text) => Self::Text(Needle::new(text)),
            Filter::Field(field, compare) => Self::Field(field.clone(), Test::new(compare)?),
        })
    }

    /// Whether the row is taken.
    pub fn matches(&self, row: &dyn Row) -> bool {
        match self {
            Self::And(all) => all.iter().all(|node| node.matches(row)),
            Self::Or(any) => any.iter().any(|node| node.matches(row)),
            Self::Not(inner) => !inner.matches(row),
            Self::Text(needle) => row.any_text(&mut |text| needle.is_in(text)),
            Self::Field(field, test) => test.matches_row(field, row),
        }
    }
}

impl Test {
    fn new(compare: &Compare) -> Result<Self, QueryError> {
        Ok(match compare {
            Compare::Equal(values) => Self::Equal(values.clone()),
            Compare::Contains(text) => Self::Contains(Needle::new(text)),
            Compare::Prefix(text) => Self::Prefix(text.clone()),
            Compare::Regex(pattern) => {
                Self::Regex(compile_regex(pattern).map_err(|message| QueryError::Parse { message, at: Span { start: 0, end: pattern.len() } })?)
            }
            Compare::Greater(value) => Self::Order(value.clone(), Ordering::Greater, false),
            Compare::GreaterEqual(value) => Self::Order(value.clone(), Ordering::Greater, true),
            Compare::Less(value) => Self::Order(value.clone(), Ordering::Less, false),
            Compare::LessEqual(value) => Self::Order(value.clone(), Ordering::Less, true),
            Compare::Exists => Self::Exists,
        })
    }

    fn matches_row(&self, field: &Field, row: &dyn Row) -> bool {
        match field {
            Field::Attribute(_) => {
                let value = attribute_keys(field).into_iter().find_map(|key| Some((key.to_owned(), row.get(&Field::Attribute(key.to_owned()))?)));
                value.is_some_and(|(key, value)| self.matches_attribute(&key, &value))
            }
            Field::Status => {
                let status = row.get(field);
                let http = || attribute_keys(field).into_iter().find_map(|key| row.get(&Field::Attribute(key.to_owned())));
                self.matches_status(status.as_ref(), || http().and_then(|value| http_status(&value)))
            }
            _ => row.get(field).is_some_and(|value| self.matches_value(field, &value)),
        }
    }

    /// Whether a field that is neither an attribute nor the status, with this value, passes.
    pub fn matches_value(&self, field: &Field, value: &FieldValue<'_>) -> bool {
        match field {
            Field::Level => self.matches_level(level_of(value)),
            Field::TraceId | Field::SpanId => self.matches_id(&value.to_text()),
            Field::Kind => self.matches_word(&value.to_text()),
            _ => self.matches_any(value, None),
        }
    }

    /// Whether an attribute of this key and value passes. The key matters only where its ending states a unit.
    pub fn matches_attribute(&self, key: &str, value: &FieldValue<'_>) -> bool {
        self.matches_any(value, unit_of(key))
    }

    /// Whether a severity passes. Rows without one pass nothing.
    pub fn matches_level(&self, level: Severity) -> bool {
        if level == Severity::Unspecified {
            return false;
        }
        let wanted = |value: &Value| match value {
            Value::Text(text) => Severity::from_text(text),
            Value::Number(n) if (0.0..=255.0).contains(n) => Some(Severity::from_number(*n as u8)),
            _ => None,
        };
        let name = || level.as_str().to_ascii_lowercase();
        match self {
            Self::Equal(values) => values.iter().any(|v| wanted(v) == Some(level)),
            Self::Order(value, order, or_equal) => wanted(value).is_some_and(|w| {
                let found = level.cmp(&w);
                found == *order || *or_equal && found == Ordering::Equal
            }),
            Self::Contains(needle) => needle.is_in(&name()),
            Self::Prefix(prefix) => name().starts_with(&prefix.to_ascii_lowercase()),
            Self::Regex(regex) => regex.is_match(&name()),
            Self::Exists => true,
        }
    }

    /// Whether a status passes: `span` is the span's own (`ok`, `error`, `unset`), `http` gives the HTTP status.
    pub fn matches_status(&self, span: Option<&FieldValue<'_>>, http: impl Fn() -> Option<i64>) -> bool {
        let word = |test: &dyn Fn(&str) -> bool| span.is_some_and(|s| test(&s.to_text().to_ascii_lowercase()));
        match self {
            Self::Equal(values) => values.iter().any(|value| match value {
                Value::Number(n) => http().is_some_and(|code| code as f64 == *n),
                Value::Text(text) => match status_class(text) {
                    Some(class) => http().is_some_and(|code| code / 100 == class),
                    None => word(&|s| s == text.to_ascii_lowercase()),
                },
                _ => false,
            }),
            Self::Order(value, order, or_equal) => match value {
                Value::Number(n) => http().is_some_and(|code| ordered((code as f64).partial_cmp(n), *order, *or_equal)),
                _ => false,
            },
            Self::Contains(needle) => word(&|s| needle.is_in(s)),
            Self::Prefix(prefix) => word(&|s| s.starts_with(prefix.as_str())) || http().is_some_and(|c| c.to_string().starts_with(prefix.as_str())),
            Self::Regex(regex) => word(&|s| regex.is_match(s)) || http().is_some_and(|c| regex.is_match(&c.to_string())),
            Self::Exists => span.is_some() || http().is_some(),
        }
    }

    fn matches_id(&self, id: &str) -> bool {
        match self {
            Self::Equal(values) => values.iter().any(|v| matches!(v, Value::Text(text) if text.eq_ignore_ascii_case(id))),
            Self::Prefix(prefix) => id.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
            _ => self.matches_any(&FieldValue::Text(id.into()), None),
        }
    }

    fn matches_word(&self, word: &str) -> bool {
        match self {
            Self::Equal(values) => values.iter().any(|v| matches!(v, Value::Text(text) if text.eq_ignore_ascii_case(word))),
            _ => self.matches_any(&FieldValue::Text(word.into()), None),
        }
    }

    fn matches_any(&self, value: &FieldValue<'_>, unit: Option<f64>) -> bool {
        match self {
            Self::Exists => true,
            Self::Equal(values) => values.iter().any(|wanted| equal(value, wanted, unit)),
            Self::Order(wanted, order, or_equal) => ordered(compare(value, wanted, unit), *order, *or_equal),
            Self::Contains(needle) => needle.is_in(&value.to_text()),
            Self::Prefix(prefix) => value.to_text().starts_with(prefix.as_str()),
            Self::Regex(regex) => regex.is_match(&value.to_text()),
        }
    }
}

fn ordered(found: Option<Ordering>, wanted: Ordering, or_equal: bool) -> bool {
    found.is_some_and(|found| found == wanted || or_equal && found == Ordering::Equal)
}

fn level_of(value: &FieldValue<'_>) -> Severity {
    match value {
        FieldValue::Int(number) => Severity::from_number(u8::try_from(*number).unwrap_or(0)),
        other => Severity::from_text(&other.to_text()).unwrap_or(Severity::Unspecified),
    }
}

/// `5xx` → 5.
pub(super) fn status_class(text: &str) -> Option<i64> {
    match text.as_bytes() {
        [digit @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => Some(i64::from(digit - b'0')),
        _ => None,
    }
}

fn http_status(value: &FieldValue<'_>) -> Option<i64> {
    match value {
        FieldValue::Int(code) => Some(*code),
        FieldValue::Double(code) if code.fract() == 0.0 => Some(*code as i64),
        FieldValue::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// Nanoseconds in the unit a key's ending states (`duration_ms`), for comparison with a duration.
fn unit_of(key: &str) -> Option<f64> {
    let (_, ending) = key.rsplit_once(['_', '.'])?;
    Some(match ending {
        "ns" | "nanos" | "nanoseconds" => 1.0,
        "us" | "micros" | "microseconds" => 1e3,
        "ms" | "millis" | "milliseconds" => 1e6,
        "s" | "sec" | "secs" | "seconds" | "duration" => 1e9,
        _ => return None,
    })
}

/// A value as nanoseconds: text with a unit, or a number whose key states one (none: the field itself is in
/// nanoseconds, which only [`Field::Duration`] is).
fn nanoseconds(value: &FieldValue<'_>, unit: Option<f64>) -> Option<f64> {
    match value {
        FieldValue::Int(i) => Some(*i as f64 * unit.unwrap_or(1.0)),
        FieldValue::Double(d) => Some(d * unit.unwrap_or(1.0)),
        FieldValue::Text(text) => parse_duration(text).map(|nanos| nanos as f64),
        FieldValue::Bool(_) => None,
    }
}

fn equal(value: &FieldValue<'_>, wanted: &Value, unit: Option<f64>) -> bool {
    match (value, wanted) {
        (FieldValue::Text(text), Value::Text(w)) => **text == **w,
        (FieldValue::Text(text), Value::Number(n)) => **text == *n.to_string(),
        (FieldValue::Text(text), Value::Bool(b)) => text.eq_ignore_ascii_case(if *b { "true" } else { "false" }),
        (FieldValue::Int(i), Value::Number(n)) => *i as f64 == *n,
        (FieldValue::Int(i), Value::Text(w)) => *w == i.to_string(),
        (FieldValue::Double(d), Value::Number(n)) => d == n,
        (FieldValue::Double(d), Value::Text(w)) => w.parse() == Ok(*d),
        (FieldValue::Bool(b), Value::Bool(w)) => b == w,
        (FieldValue::Bool(b), Value::Text(w)) => *w == b.to_string(),
        (_, Value::Duration(w)) => nanoseconds(value, unit) == Some(*w as f64),
        _ => false,
    }
}

fn compare(value: &FieldValue<'_>, wanted: &Value, unit: Option<f64>) -> Option<Ordering> {
    match (value, wanted) {
        (FieldValue::Text(text), Value::Text(w)) => Some((**text).cmp(w)),
        (FieldValue::Text(text), Value::Number(n)) => text.trim().parse::<f64>().ok()?.partial_cmp(n),
        (FieldValue::Int(i), Value::Number(n)) => (*i as f64).partial_cmp(n),
        (FieldValue::Double(d), Value::Number(n)) => d.partial_cmp(n),
        (_, Value::Duration(w)) => nanoseconds(value, unit)?.partial_cmp(&(*w as f64)),
        _ => None,
    }
}
