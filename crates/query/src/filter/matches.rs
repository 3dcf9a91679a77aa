//! Whether one row is taken.

use super::{Field, Filter};

/// A field's value in a row.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue<'a> {
    /// Text.
    Text(std::borrow::Cow<'a, str>),
    /// Integer.
    Int(i64),
    /// Floating point.
    Double(f64),
    /// Truth value.
    Bool(bool),
}

/// A row a filter can look into.
pub trait Row {
    /// The field's value, `None` when the row has none.
    fn get(&self, field: &Field) -> Option<FieldValue<'_>>;
    /// Calls `found` with each text that free text searches, until it returns true; returns whether it did.
    fn any_text(&self, found: &mut dyn FnMut(&str) -> bool) -> bool;
}

/// Whether the filter takes the row: the definition that scans must agree with.
pub fn matches(_filter: &Filter, _row: &dyn Row) -> bool {
    true
}
