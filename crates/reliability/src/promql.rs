//! What this crate needs to know of a PromQL text.

use skopos_query::QueryError;
use skopos_query::promql::{Type, parse};

/// Checks that a text is PromQL that gives an instant vector or a scalar, as rules and indicators need it.
///
/// # Errors
/// With what was wrong and the byte it was found at.
pub fn check_expr(text: &str) -> Result<(), (String, usize)> {
    match parse(text) {
        Ok(expr) => match expr.value_type() {
            Type::Vector | Type::Scalar => Ok(()),
            other => Err((format!("it gives a {}; an instant vector or a scalar was expected", other.name()), 0)),
        },
        Err(QueryError::Parse { message, at }) => Err((message, at.start)),
        Err(other) => Err((other.to_string(), 0)),
    }
}

/// Escapes a text for use between double quotes in PromQL.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out
}
