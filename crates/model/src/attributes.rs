//! Attributes as sparse typed columns: one per key and type, holding only the rows that have it.

use serde::{Deserialize, Serialize};

use crate::column::StrColumn;

/// Type of an attribute's value. Arrays and key-value lists are JSON text; bytes are base64 text of type `Str`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttrType {
    /// UTF-8 text.
    Str,
    /// 64-bit signed integer.
    Int,
    /// 64-bit floating point.
    Double,
    /// Truth value.
    Bool,
    /// JSON text of an array or a key-value list.
    Json,
}

/// One attribute value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AttrValue {
    /// UTF-8 text.
    Str(String),
    /// 64-bit signed integer.
    Int(i64),
    /// 64-bit floating point.
    Double(f64),
    /// Truth value.
    Bool(bool),
    /// JSON text of an array or a key-value list.
    Json(String),
}

impl AttrValue {
    /// The type of this value.
    pub fn ty(&self) -> AttrType {
        match self {
            Self::Str(_) => AttrType::Str,
            Self::Int(_) => AttrType::Int,
            Self::Double(_) => AttrType::Double,
            Self::Bool(_) => AttrType::Bool,
            Self::Json(_) => AttrType::Json,
        }
    }

    /// The value as text: strings as they are, the rest as JSON writes it.
    pub fn to_text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Str(s) | Self::Json(s) => s.as_str().into(),
            Self::Int(i) => i.to_string().into(),
            Self::Double(d) => d.to_string().into(),
            Self::Bool(b) => b.to_string().into(),
        }
    }
}

/// Values of one attribute column, in order of [`AttrColumn::rows`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AttrValues {
    /// Text.
    Str(StrColumn),
    /// Integers.
    Int(Vec<i64>),
    /// Floating point numbers.
    Double(Vec<f64>),
    /// Truth values.
    Bool(Vec<bool>),
    /// JSON text.
    Json(StrColumn),
}

impl AttrValues {
    /// An empty column of a type.
    pub fn new(ty: AttrType) -> Self {
        match ty {
            AttrType::Str => Self::Str(StrColumn::default()),
            AttrType::Int => Self::Int(Vec::new()),
            AttrType::Double => Self::Double(Vec::new()),
            AttrType::Bool => Self::Bool(Vec::new()),
            AttrType::Json => Self::Json(StrColumn::default()),
        }
    }

    /// The type all values here have.
    pub fn ty(&self) -> AttrType {
        match self {
            Self::Str(_) => AttrType::Str,
            Self::Int(_) => AttrType::Int,
            Self::Double(_) => AttrType::Double,
            Self::Bool(_) => AttrType::Bool,
            Self::Json(_) => AttrType::Json,
        }
    }

    /// The value at a position (not a row: see [`AttrColumn::rows`]).
    pub fn get(&self, position: usize) -> AttrValue {
        match self {
            Self::Str(c) => AttrValue::Str(c.get(position).to_owned()),
            Self::Int(v) => AttrValue::Int(v[position]),
            Self::Double(v) => AttrValue::Double(v[position]),
            Self::Bool(v) => AttrValue::Bool(v[position]),
            Self::Json(c) => AttrValue::Json(c.get(position).to_owned()),
        }
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        match self {
            Self::Str(c) | Self::Json(c) => c.memory(),
            Self::Int(v) => v.capacity() * 8,
            Self::Double(v) => v.capacity() * 8,
            Self::Bool(v) => v.capacity(),
        }
    }
}

/// One key of one type over the rows of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttrColumn {
    /// Attribute key.
    pub key: Box<str>,
    /// Rows that have it, ascending, each once (of a key given twice in one record the first wins).
    pub rows: Vec<u32>,
    /// Their values, one for each entry of `rows`.
    pub values: AttrValues,
}

/// All attributes of a batch's rows.
///
/// Decoders append record by record. Keys tend to come in the same order in each record, so `column_for` looks
/// at the column after the last hit first: a known key in its usual place costs one comparison and no hash.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AttrColumns {
    columns: Vec<AttrColumn>,
    #[serde(skip)]
    guess: usize,
}

/// The guess is no part of the value.
impl PartialEq for AttrColumns {
    fn eq(&self, other: &Self) -> bool {
        self.columns == other.columns
    }
}

impl AttrColumns {
    /// The columns, in order of first appearance.
    pub fn columns(&self) -> &[AttrColumn] {
        &self.columns
    }

    /// The columns, owned.
    pub fn into_columns(self) -> Vec<AttrColumn> {
        self.columns
    }

    /// The column of `key` with type `ty`, if any row has it.
    pub fn column(&self, key: &str, ty: AttrType) -> Option<&AttrColumn> {
        self.columns.iter().find(|c| &*c.key == key && c.values.ty() == ty)
    }

    fn column_for(&mut self, key: &str, ty: AttrType) -> usize {
        let matches = |c: &AttrColumn| &*c.key == key && c.values.ty() == ty;
        let guess = self.guess;
        let at = if self.columns.get(guess).is_some_and(matches) {
            guess
        } else if let Some(at) = self.columns.iter().position(matches) {
            at
        } else {
            self.columns.push(AttrColumn { key: key.into(), rows: Vec::new(), values: AttrValues::new(ty) });
            self.columns.len() - 1
        };
        self.guess = at + 1;
        at
    }

    fn row_of(&mut self, row: u32, key: &str, ty: AttrType) -> Option<&mut AttrValues> {
        let at = self.column_for(key, ty);
        let column = &mut self.columns[at];
        if column.rows.last() == Some(&row) {
            return None;
        }
        column.rows.push(row);
        Some(&mut column.values)
    }

    /// To be called before a record's first attribute, so that the guess starts with the first column again.
    pub fn begin_row(&mut self) {
        self.guess = 0;
    }

    /// Sets a text attribute of `row`; rows must not go backwards.
    pub fn push_str(&mut self, row: u32, key: &str, value: &str) {
        if let Some(AttrValues::Str(column)) = self.row_of(row, key, AttrType::Str) {
            column.push(value);
        }
    }

    /// Sets an integer attribute of `row`.
    pub fn push_int(&mut self, row: u32, key: &str, value: i64) {
        if let Some(AttrValues::Int(column)) = self.row_of(row, key, AttrType::Int) {
            column.push(value);
        }
    }

    /// Sets a floating-point attribute of `row`.
    pub fn push_double(&mut self, row: u32, key: &str, value: f64) {
        if let Some(AttrValues::Double(column)) = self.row_of(row, key, AttrType::Double) {
            column.push(value);
        }
    }

    /// Sets a truth value of `row`.
    pub fn push_bool(&mut self, row: u32, key: &str, value: bool) {
        if let Some(AttrValues::Bool(column)) = self.row_of(row, key, AttrType::Bool) {
            column.push(value);
        }
    }

    /// Sets an attribute of `row` that is an array or a key-value list, given as JSON text.
    pub fn push_json(&mut self, row: u32, key: &str, json: &str) {
        if let Some(AttrValues::Json(column)) = self.row_of(row, key, AttrType::Json) {
            column.push(json);
        }
    }

    /// Sets an attribute of any type.
    pub fn push(&mut self, row: u32, key: &str, value: &AttrValue) {
        match value {
            AttrValue::Str(s) => self.push_str(row, key, s),
            AttrValue::Int(i) => self.push_int(row, key, *i),
            AttrValue::Double(d) => self.push_double(row, key, *d),
            AttrValue::Bool(b) => self.push_bool(row, key, *b),
            AttrValue::Json(s) => self.push_json(row, key, s),
        }
    }

    /// All attributes of one row, in column order. For single rows (a page of results), not for scans.
    pub fn row(&self, row: u32) -> Vec<(&str, AttrValue)> {
        self.columns
            .iter()
            .filter_map(|c| c.rows.binary_search(&row).ok().map(|at| (&*c.key, c.values.get(at))))
            .collect()
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.columns.iter().map(|c| c.key.len() + 64 + c.rows.capacity() * 4 + c.values.memory()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparse_rows_by_key_and_type() {
        let mut a = AttrColumns::default();
        a.begin_row();
        a.push_str(0, "http.route", "/orders");
        a.push_int(0, "http.status", 200);
        a.begin_row();
        a.push_int(2, "http.status", 500);
        a.push_str(2, "http.status", "odd");
        a.push_str(2, "http.status", "twice");
        assert_eq!(a.columns().len(), 3);
        assert_eq!(a.row(1), []);
        assert_eq!(
            a.row(2),
            [("http.status", AttrValue::Int(500)), ("http.status", AttrValue::Str("odd".into()))]
        );
    }
}
