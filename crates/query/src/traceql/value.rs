//! Values of fields and what operators make of them.

use std::borrow::Cow;
use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};
use skopos_model::{SpanKind, StatusCode};

use super::ast::{Op, Static};

/// Most memory a compiled regular expression may take, bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Compiles a pattern; like all of TraceQL's it has to match the whole text.
pub(super) fn compile_regex(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(&format!("^(?s:{pattern})$")).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build().map_err(|error| {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or("").trim_start_matches("error: ").trim();
        format!("not a regular expression: {reason}")
    })
}

/// A field's value in a span.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// The span has none.
    Nil,
    /// Integer.
    Int(i64),
    /// Floating point.
    Float(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// Truth value.
    Bool(bool),
    /// Nanoseconds.
    Duration(i64),
    /// Span status.
    Status(StatusCode),
    /// Span kind.
    Kind(SpanKind),
    /// Several: an attribute that is an array, or one of several events or links.
    Many(Vec<Value<'a>>),
}

impl<'a> Value<'a> {
    /// A JSON value as it is stored.
    pub fn of_json(value: &'a serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(b) => Self::Bool(*b),
            serde_json::Value::Number(n) => match n.as_i64() {
                Some(n) => Self::Int(n),
                None => Self::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Self::Text(text.into()),
            serde_json::Value::Array(values) => Self::Many(values.iter().map(Self::of_json).collect()),
            object @ serde_json::Value::Object(_) => Self::Text(object.to_string().into()),
        }
    }

    /// From values of events or links: none, one or many.
    pub fn of_many(mut values: Vec<Self>) -> Self {
        values.retain(|v| *v != Self::Nil);
        match values.len() {
            0 => Self::Nil,
            1 => values.swap_remove(0),
            _ => Self::Many(values),
        }
    }

    /// A literal.
    pub fn of_static(value: &'a Static) -> Self {
        match value {
            Static::Nil => Self::Nil,
            Static::Int(n) => Self::Int(*n),
            Static::Float(n) => Self::Float(*n),
            Static::Text(text) => Self::Text(text.into()),
            Static::Bool(b) => Self::Bool(*b),
            Static::Duration(n) => Self::Duration(*n),
            Static::Status(status) => Self::Status(*status),
            Static::Kind(kind) => Self::Kind(*kind),
        }
    }

    /// A number's value; a duration's is nanoseconds.
    #[allow(clippy::cast_precision_loss, reason = "comparisons and arithmetic are in doubles, as Tempo's")]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(n) | Self::Duration(n) => Some(*n as f64),
            Self::Float(n) => Some(*n),
            _ => None,
        }
    }

    /// The same, borrowed.
    pub(super) fn borrowed(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Many(values) => Value::Many(values.iter().map(Value::borrowed).collect()),
            Self::Nil => Value::Nil,
            Self::Int(n) => Value::Int(*n),
            Self::Float(n) => Value::Float(*n),
            Self::Bool(b) => Value::Bool(*b),
            Self::Duration(n) => Value::Duration(*n),
            Self::Status(status) => Value::Status(*status),
            Self::Kind(kind) => Value::Kind(*kind),
        }
    }

    /// Independent of what it was read from.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Nil => Value::Nil,
            Self::Int(n) => Value::Int(n),
            Self::Float(n) => Value::Float(n),
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Bool(b) => Value::Bool(b),
            Self::Duration(n) => Value::Duration(n),
            Self::Status(status) => Value::Status(status),
            Self::Kind(kind) => Value::Kind(kind),
            Self::Many(values) => Value::Many(values.into_iter().map(Value::into_owned).collect()),
        }
    }

    /// As text: what tag values and groups show.
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Nil => "nil".into(),
            Self::Int(n) => n.to_string().into(),
            Self::Float(n) => n.to_string().into(),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Bool(b) => (if *b { "true" } else { "false" }).into(),
            Self::Duration(n) => go_duration(*n).into(),
            Self::Status(status) => status.as_str().into(),
            Self::Kind(kind) => kind.as_str().into(),
            Self::Many(values) => values.iter().map(|v| v.to_text().into_owned()).collect::<Vec<_>>().join(",").into(),
        }
    }

    /// The order of two values of fitting types.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Status(a), Self::Status(b)) => (a == b).then_some(Ordering::Equal),
            (Self::Kind(a), Self::Kind(b)) => (a == b).then_some(Ordering::Equal),
            (Self::Int(a), Self::Int(b)) | (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            _ => self.number()?.partial_cmp(&other.number()?),
        }
    }

    /// Whether the two can be compared at all.
    fn comparable(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::Text(_), Self::Text(_)) | (Self::Bool(_), Self::Bool(_)) | (Self::Status(_), Self::Status(_)) | (Self::Kind(_), Self::Kind(_))
        ) || self.number().is_some() && other.number().is_some()
    }
}

/// Nanoseconds as Go prints a duration: `1.5s`, `2m3s`, `300ms`.
pub fn go_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    let fraction = |unit: u64| {
        let (whole, rest) = (n / unit, n % unit);
        let digits = unit.ilog10() as usize;
        let text = format!("{whole}.{rest:0digits$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match n {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{n}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(1_000_000)),
        _ => {
            let (minutes, rest) = (n / 60_000_000_000, n % 60_000_000_000);
            let seconds = format!("{}.{:09}", rest / 1_000_000_000, rest % 1_000_000_000);
            let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, m) => format!("{sign}{m}m{seconds}s"),
                (h, m) => format!("{sign}{h}h{m}m{seconds}s"),
            }
        }
    }
}

/// Whether two values compare so. Of many values any counts, save for `!=`, which all have to fulfil. A value that is not
/// there, or of another type, compares with nothing.
pub(super) fn compare(op: Op, left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Many(values), other) | (other, Value::Many(values)) => {
            let swapped = !matches!(left, Value::Many(_));
            let one = |value: &Value<'_>| if swapped { compare(op, other, value) } else { compare(op, value, other) };
            if op == Op::NotEqual { !values.is_empty() && values.iter().all(one) } else { values.iter().any(one) }
        }
        _ if !left.comparable(right) => false,
        _ => {
            let order = left.order(right);
            match op {
                Op::Equal => order == Some(Ordering::Equal),
                Op::NotEqual => order != Some(Ordering::Equal),
                Op::Greater => order == Some(Ordering::Greater),
                Op::GreaterEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
                Op::Less => order == Some(Ordering::Less),
                Op::LessEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                _ => false,
            }
        }
    }
}

/// Arithmetic. Whole numbers stay whole save under division; durations stay durations.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "numbers are doubles; durations come back from them")]
pub(super) fn arithmetic(op: Op, left: &Value<'_>, right: &Value<'_>) -> Value<'static> {
    if let (Value::Int(a), Value::Int(b)) = (left, right) {
        let whole = match op {
            Op::Add => a.checked_add(*b),
            Op::Sub => a.checked_sub(*b),
            Op::Mul => a.checked_mul(*b),
            Op::Mod => a.checked_rem(*b),
            Op::Div => (*b != 0 && a % b == 0).then(|| a / b),
            _ => None,
        };
        if let Some(whole) = whole {
            return Value::Int(whole);
        }
    }
    let (Some(a), Some(b)) = (left.number(), right.number()) else { return Value::Nil };
    let result = match op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        Op::Mod => a % b,
        Op::Pow => a.powf(b),
        _ => return Value::Nil,
    };
    let duration = matches!(left, Value::Duration(_)) || matches!(right, Value::Duration(_));
    if duration && result.is_finite() { Value::Duration(result as i64) } else { Value::Float(result) }
}

/// Arithmetic of literals; `None` when there is no finite result.
pub(super) fn fold(op: Op, left: &Static, right: &Static) -> Option<Static> {
    match arithmetic(op, &Value::of_static(left), &Value::of_static(right)) {
        // The least number cannot be written: its amount has no positive counterpart.
        Value::Int(n) if n > i64::MIN => Some(Static::Int(n)),
        Value::Duration(n) if n > i64::MIN => Some(Static::Duration(n)),
        Value::Float(n) if n.is_finite() => Some(Static::Float(n)),
        _ => None,
    }
}
