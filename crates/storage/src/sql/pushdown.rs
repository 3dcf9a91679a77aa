//! What of a SQL condition a scan can use: a range of time, and terms of the filter grammar.
//!
//! Whatever is pushed down takes at least the rows the condition takes; DataFusion tests them again.

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use skopos_query::TimeRange;
use skopos_query::filter::{Compare, Field, Filter, Value};

/// Names that a table's event time has.
const TIME_COLUMNS: &[&str] = &["start_time", "time", "timestamp"];
/// Text columns whose equality means the same as in the filter grammar.
const TEXT_COLUMNS: &[(&str, Field)] = &[
    ("service_name", Field::Service),
    ("trace_id", Field::TraceId),
    ("span_id", Field::SpanId),
    ("environment", Field::Environment),
    ("scope_name", Field::Scope),
    ("name", Field::Name),
];
/// Text columns with few words, which alone are pushed down: other texts mean something else in the grammar.
const WORD_COLUMNS: &[(&str, Field, &[&str])] = &[
    ("kind", Field::Kind, &["unspecified", "internal", "server", "client", "producer", "consumer"]),
    ("status_code", Field::Status, &["unset", "ok", "error"]),
    ("severity_text", Field::Level, &["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]),
];
/// Columns of the metrics tables, which their scans know by these names.
const KEY_COLUMNS: &[&str] = &["metric_name", "series_id"];
/// The map whose entries are the attributes of the grammar. Labels are not: one may be called like a column.
const MAP_COLUMN: &str = "attributes";

/// What a scan is told.
#[derive(Debug, Clone)]
pub(super) struct Pushed {
    pub(super) range: TimeRange,
    pub(super) filter: Filter,
}

/// Collects what can be pushed down of conditions that all have to hold.
pub(super) fn push_down(conditions: &[Expr]) -> Pushed {
    let mut pushed = Pushed { range: TimeRange::ALL, filter: Filter::all() };
    let mut terms = Vec::new();
    for condition in conditions {
        take(condition, &mut pushed.range, &mut terms);
    }
    pushed.filter = Filter::And(terms);
    pushed
}

/// Whether anything of a condition can be pushed down.
pub(super) fn can_push_down(condition: &Expr) -> bool {
    let mut range = TimeRange::ALL;
    let mut terms = Vec::new();
    take(condition, &mut range, &mut terms);
    range != TimeRange::ALL || !terms.is_empty()
}

fn take(condition: &Expr, range: &mut TimeRange, terms: &mut Vec<Filter>) {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            take(left, range, terms);
            take(right, range, terms);
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if let Some(value) = literal(right) {
                compare(left, *op, value, range, terms);
            } else if let (Some(value), Some(op)) = (literal(left), op.swap()) {
                compare(right, op, value, range, terms);
            }
        }
        Expr::Between(between) if !between.negated => {
            if let (Some(low), Some(high)) = (literal(&between.low), literal(&between.high)) {
                compare(&between.expr, Operator::GtEq, low, range, terms);
                compare(&between.expr, Operator::LtEq, high, range, terms);
            }
        }
        Expr::InList(list) if !list.negated => {
            let numbers: Option<Vec<i64>> = list.list.iter().map(|e| literal(e).and_then(integer)).collect();
            if let (Some(numbers), Some(name)) = (numbers, column(&list.expr)) {
                equal_numbers(name, &numbers, terms);
            }
            let texts: Option<Vec<&str>> = list.list.iter().map(|e| literal(e).and_then(text)).collect();
            if let Some(texts) = texts {
                equal(&list.expr, &texts, terms);
            }
        }
        _ => {}
    }
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

fn text(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Utf8(Some(t)) | ScalarValue::LargeUtf8(Some(t)) | ScalarValue::Utf8View(Some(t)) => Some(t),
        ScalarValue::Dictionary(_, value) => text(value),
        _ => None,
    }
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int64(Some(n)) => Some(*n),
        ScalarValue::Int32(Some(n)) => Some(i64::from(*n)),
        _ => None,
    }
}

/// Unix nanoseconds.
fn instant(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampNanosecond(Some(t), _) => Some(*t),
        ScalarValue::TimestampMicrosecond(Some(t), _) => t.checked_mul(1_000),
        ScalarValue::TimestampMillisecond(Some(t), _) => t.checked_mul(1_000_000),
        ScalarValue::TimestampSecond(Some(t), _) => t.checked_mul(1_000_000_000),
        _ => None,
    }
}

fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(Column { name, .. }) => Some(name),
        // Text and times are cast to a like type for a comparison; the value stays.
        Expr::Cast(cast) => match (&*cast.expr, cast.field.data_type()) {
            (Expr::Column(column), ty) if ty.is_string() => Some(&column.name),
            (Expr::Column(column), arrow::datatypes::DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, zone)) => {
                zone.as_ref().is_none_or(|z| ["UTC", "+00:00", "Z"].contains(&&**z)).then_some(column.name.as_str())
            }
            _ => None,
        },
        _ => None,
    }
}

/// The key of `attributes['key']`.
fn map_key(expr: &Expr) -> Option<&str> {
    let Expr::ScalarFunction(call) = expr else { return None };
    if !matches!(call.func.name(), "get_field") {
        return None;
    }
    match call.args.as_slice() {
        [map, key] if column(map) == Some(MAP_COLUMN) => text(literal(key)?),
        _ => None,
    }
}

fn equal(expr: &Expr, texts: &[&str], terms: &mut Vec<Filter>) {
    let values = || texts.iter().map(|t| Value::Text((*t).to_owned())).collect();
    if let Some(key) = map_key(expr) {
        // An absent key is null and equals nothing, not even the empty text.
        terms.push(Filter::Field(Field::Attribute(key.to_owned()), Compare::Equal(values())));
        return;
    }
    let Some(name) = column(expr) else { return };
    if texts.iter().any(|t| t.is_empty()) {
        // Where the grammar sees no value, a column may hold the empty text.
        return;
    }
    if KEY_COLUMNS.contains(&name) {
        terms.push(Filter::Field(Field::Attribute(name.to_owned()), Compare::Equal(values())));
    } else if let Some((_, field)) = TEXT_COLUMNS.iter().find(|(known, _)| *known == name) {
        terms.push(Filter::Field(field.clone(), Compare::Equal(values())));
    } else if let Some((_, field, words)) = WORD_COLUMNS.iter().find(|(known, ..)| *known == name)
        && texts.iter().all(|t| words.contains(t))
    {
        terms.push(Filter::Field(field.clone(), Compare::Equal(values())));
    }
}

fn equal_numbers(name: &str, numbers: &[i64], terms: &mut Vec<Filter>) {
    if KEY_COLUMNS.contains(&name) {
        let values = numbers.iter().map(|n| Value::Number(*n as f64)).collect();
        terms.push(Filter::Field(Field::Attribute(name.to_owned()), Compare::Equal(values)));
    }
}

fn compare(expr: &Expr, op: Operator, value: &ScalarValue, range: &mut TimeRange, terms: &mut Vec<Filter>) {
    if op == Operator::Eq
        && let Some(text) = text(value)
    {
        equal(expr, &[text], terms);
        return;
    }
    let Some(name) = column(expr) else { return };
    if TIME_COLUMNS.contains(&name)
        && let Some(at) = instant(value)
    {
        // A coarser column (milliseconds) compares after rounding; its bounds are whole anyway.
        let after = at.saturating_add(1);
        match op {
            Operator::Eq => *range = TimeRange { start: range.start.max(at), end: range.end.min(after) },
            Operator::Gt | Operator::GtEq => range.start = range.start.max(if op == Operator::Gt { after } else { at }),
            Operator::Lt | Operator::LtEq => range.end = range.end.min(if op == Operator::Lt { at } else { after }),
            _ => {}
        }
    } else if op == Operator::Eq
        && let Some(number) = integer(value).filter(|_| KEY_COLUMNS.contains(&name))
    {
        equal_numbers(name, &[number], terms);
    } else if name == "duration_ns"
        && let Some(nanos) = integer(value)
    {
        let value = Value::Duration(nanos);
        let compare = match op {
            Operator::Eq => Compare::Equal(vec![value]),
            Operator::Gt => Compare::Greater(value),
            Operator::GtEq => Compare::GreaterEqual(value),
            Operator::Lt => Compare::Less(value),
            Operator::LtEq => Compare::LessEqual(value),
            _ => return,
        };
        terms.push(Filter::Field(Field::Duration, compare));
    }
}
