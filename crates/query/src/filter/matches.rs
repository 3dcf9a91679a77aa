//! Whether one row is taken.

use super::{CompiledFilter, Field, Filter};

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

impl FieldValue<'_> {
    /// The value as text: strings as they are, the rest as JSON writes it.
    pub fn to_text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Text(text) => (&**text).into(),
            Self::Int(i) => i.to_string().into(),
            Self::Double(d) => d.to_string().into(),
            Self::Bool(b) => (if *b { "true" } else { "false" }).into(),
        }
    }
}

/// A row a filter can look into.
pub trait Row {
    /// The field's value, `None` when the row has none.
    ///
    /// - [`Field::Attribute`]: the record's or span's own attribute, else its resource's.
    /// - [`Field::Level`]: the severity number (`Int`); where it is 0, the severity text.
    /// - [`Field::TraceId`], [`Field::SpanId`]: lower-case hexadecimal text.
    /// - [`Field::Duration`]: nanoseconds (`Int`). [`Field::Root`]: `Bool`.
    /// - [`Field::Kind`], [`Field::Status`]: the words of `SpanKind` and `StatusCode`.
    /// - Empty texts of [`Field::Name`], [`Field::Scope`], [`Field::Environment`] are `None`.
    fn get(&self, field: &Field) -> Option<FieldValue<'_>>;
    /// Calls `found` with each text that free text searches, until it returns true; returns whether it did.
    fn any_text(&self, found: &mut dyn FnMut(&str) -> bool) -> bool;
}

/// Whether the filter takes the row: the definition that scans must agree with. For many rows use
/// [`CompiledFilter`], which gives the same answers. A filter with a broken regular expression takes nothing.
pub fn matches(filter: &Filter, row: &dyn Row) -> bool {
    CompiledFilter::new(filter).is_ok_and(|compiled| compiled.matches(row))
}
