//! Values while a template runs.

use std::cmp::Ordering;
use std::sync::Arc;

use super::go_time;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// A moment, Unix nanoseconds.
    Time(i64),
    List(Arc<Vec<Value>>),
    Map(Arc<Vec<(String, Value)>>),
    /// The labels: `.` at the top.
    Root,
}

impl Value {
    pub(super) fn from_json(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(b) => Self::Bool(b),
            // Go reads every number of JSON as a float.
            serde_json::Value::Number(n) => Self::Float(n.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Self::Text(text),
            serde_json::Value::Array(items) => Self::List(Arc::new(items.into_iter().map(Self::from_json).collect())),
            serde_json::Value::Object(map) => Self::Map(Arc::new(map.into_iter().map(|(k, v)| (k, Self::from_json(v))).collect())),
        }
    }

    pub(super) fn truthy(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(b) => *b,
            Self::Int(n) => *n != 0,
            Self::Float(n) => *n != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Time(_) | Self::Root => true,
        }
    }

    /// What `range` goes over: keys and values.
    pub(super) fn items(&self) -> Result<Vec<(Self, Self)>, String> {
        match self {
            Self::List(items) => Ok((0i64..).map(Self::Int).zip(items.iter().cloned()).collect()),
            Self::Map(map) => {
                let mut all: Vec<_> = map.iter().map(|(key, value)| (Self::Text(key.clone()), value.clone())).collect();
                all.sort_by_key(|(key, _)| key.text());
                Ok(all)
            }
            Self::Int(n) => Ok((0..(*n).min(100_000)).map(|i| (Self::Int(i), Self::Int(i))).collect()),
            Self::Nil => Ok(Vec::new()),
            _ => Err("range can't iterate over this value".to_owned()),
        }
    }

    /// As Go prints it.
    pub(super) fn print(&self, out: &mut String) {
        match self {
            Self::Nil => out.push_str("<no value>"),
            Self::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Self::Int(n) => out.push_str(&n.to_string()),
            Self::Float(n) => out.push_str(&super::print::float(*n)),
            Self::Text(text) => out.push_str(text),
            Self::Time(nanos) => out.push_str(&go_time::format(*nanos, "2006-01-02 15:04:05.999999999 -0700 MST")),
            Self::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { " " } else { "" });
                    item.print(out);
                }
                out.push(']');
            }
            Self::Map(map) => {
                let mut sorted: Vec<_> = map.iter().collect();
                sorted.sort_by(|a, b| a.0.cmp(&b.0));
                out.push_str("map[");
                for (i, (key, value)) in sorted.into_iter().enumerate() {
                    out.push_str(if i > 0 { " " } else { "" });
                    out.push_str(key);
                    out.push(':');
                    value.print(out);
                }
                out.push(']');
            }
            Self::Root => out.push_str("map[]"),
        }
    }

    pub(super) fn text(&self) -> String {
        if let Self::Text(text) = self {
            return text.clone();
        }
        let mut out = String::new();
        self.print(&mut out);
        out
    }

    /// As a whole number; what is none is 0.
    pub(super) fn int(&self) -> i64 {
        match self {
            Self::Int(n) => *n,
            #[allow(clippy::cast_possible_truncation, reason = "saturates")]
            Self::Float(n) => *n as i64,
            Self::Bool(b) => i64::from(*b),
            Self::Text(text) => {
                let text = text.trim();
                text.parse().unwrap_or_else(|_| {
                    #[allow(clippy::cast_possible_truncation, reason = "saturates")]
                    let whole = text.parse::<f64>().unwrap_or(0.0) as i64;
                    whole
                })
            }
            Self::Time(nanos) => *nanos,
            _ => 0,
        }
    }

    /// As a number; what is none is 0.
    pub(super) fn float(&self) -> f64 {
        match self {
            Self::Float(n) => *n,
            Self::Text(text) => text.trim().parse().unwrap_or(0.0),
            #[allow(clippy::cast_precision_loss, reason = "as Go's conversion")]
            other => other.int() as f64,
        }
    }

    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) | (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            (Self::Int(_) | Self::Float(_), Self::Int(_) | Self::Float(_)) => self.float().partial_cmp(&other.float()),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}
