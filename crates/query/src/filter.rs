//! The filter grammar for logs and traces, as a tree.
//!
//! `service:orders level:error -path:/health dur:>500ms "free text"` parses to a conjunction of terms. A term is a
//! field with a comparison, or free text; `-` or `NOT` negates, `OR` and parentheses group, values separated by
//! commas mean any of them. Parsing is in [`parse()`], matching one row in [`matches()`], matching many in
//! [`CompiledFilter`]; stores push the tree down into their scans. `Display` prints a filter so that it parses to
//! the same tree again.
//!
//! | written | means |
//! |---|---|
//! | `timeout`, `"connection reset"` | the text occurs, without regard to case |
//! | `a b`, `a AND b` | both |
//! | `a OR b`, `(a OR b) c` | either; `AND` binds closer |
//! | `-a`, `!a`, `NOT a` | not |
//! | `key:value`, `key:"two words"` | equal (`body:` contains) |
//! | `key:a,b` | any of them |
//! | `key:>5`, `key:>=500ms`, `key:<1`, `key:<=1` | ordered: numbers, durations, levels |
//! | `key:~text` | contains, without regard to case |
//! | `key:pre*` | begins with |
//! | `key:/re/`, `key:/re/i`, `key:=~"re with spaces"` | regular expression, unanchored |
//! | `key:*` | present |
//! | `key:=value` | equal in every case, also where it begins with `>`, `~`, `/` |
//! | `"odd key":value` | attribute of exactly this name, also where a field is called so |
//! | `*` | everything |

mod compile;
mod display;
mod fields;
mod matches;
mod needle;
mod parse;

pub use compile::{CompiledFilter, Node, Test};
pub use fields::{FIELDS, FieldName, HTTP_STATUS_KEYS, attribute_keys};
pub use matches::{FieldValue, Row, matches};
pub use needle::Needle;
pub use parse::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_TERMS_MAX, parse, parse_duration};

/// A field of a log record or span, after aliases are resolved (`svc` → `service`, `dur` → `duration`, …).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// `service`: `service.name` of the resource.
    Service,
    /// `level`: severity range (logs).
    Level,
    /// `body` or `message` (logs).
    Body,
    /// `trace` or `trace_id`.
    TraceId,
    /// `span` or `span_id`.
    SpanId,
    /// `name`, `op` or `operation`: span name, or a log record's event name.
    Name,
    /// `kind`: span kind.
    Kind,
    /// `status`: span status code (ok, error, unset); a number or `5xx` means the HTTP status attribute.
    Status,
    /// `dur` or `duration`: span duration.
    Duration,
    /// `env`: deployment environment.
    Environment,
    /// `scope`: instrumentation scope name.
    Scope,
    /// `root`: whether the span is a root (true, false).
    Root,
    /// Any other key: an attribute of the record or span, else of its resource.
    Attribute(String),
}

/// How a field is compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Compare {
    /// Equal to any of these (`key:a,b`). Levels, kinds and statuses compare by meaning, numbers by value.
    Equal(Vec<Value>),
    /// Contains the text, without regard to case (`key:~text`, and free text).
    Contains(String),
    /// Begins with the text (`key:text*`).
    Prefix(String),
    /// Matches the regular expression (`key:/re/`), unanchored.
    Regex(String),
    /// Greater than (`key:>v`).
    Greater(Value),
    /// Greater than or equal (`key:>=v`).
    GreaterEqual(Value),
    /// Less than (`key:<v`).
    Less(Value),
    /// Less than or equal (`key:<=v`).
    LessEqual(Value),
    /// Present at all (`key:*`).
    Exists,
}

/// A literal in a filter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text as written, without its quotes.
    Text(String),
    /// A number.
    Number(f64),
    /// A duration in nanoseconds (`500ms`).
    Duration(i64),
    /// `true` or `false`.
    Bool(bool),
}

/// A filter. The empty conjunction takes every row.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// All of them.
    And(Vec<Filter>),
    /// Any of them.
    Or(Vec<Filter>),
    /// Not it.
    Not(Box<Filter>),
    /// A field compared.
    Field(Field, Compare),
    /// Free text: the phrase occurs in the body (logs) or in the name or a text attribute (spans), without
    /// regard to case.
    Text(String),
}

impl Filter {
    /// Takes every row.
    pub const fn all() -> Self {
        Self::And(Vec::new())
    }
}
