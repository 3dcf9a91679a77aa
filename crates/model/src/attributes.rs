//! Attributes as sparse typed columns: one per key and type, holding only the rows that have it.

use std::collections::HashMap;
use std::str::Utf8Error;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

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
    #[inline]
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

    /// Appends a value of the column's own type; one of another type is left out.
    fn push(&mut self, value: &AttrValue) {
        match (self, value) {
            (Self::Str(column), AttrValue::Str(text)) | (Self::Json(column), AttrValue::Json(text)) => column.push(text),
            (Self::Int(column), AttrValue::Int(number)) => column.push(*number),
            (Self::Double(column), AttrValue::Double(number)) => column.push(*number),
            (Self::Bool(column), AttrValue::Bool(truth)) => column.push(*truth),
            _ => {}
        }
    }

    /// Keeps the first `len` values only.
    pub fn truncate(&mut self, len: usize) {
        match self {
            Self::Str(c) | Self::Json(c) => c.truncate(len),
            Self::Int(v) => v.truncate(len),
            Self::Double(v) => v.truncate(len),
            Self::Bool(v) => v.truncate(len),
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
/// Decoders append record by record. Keys tend to come in the same order in each record, so the column that
/// followed the last one in an earlier record is tried first: a known key in its usual place costs one comparison
/// and no hash.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AttrColumns {
    columns: Vec<AttrColumn>,
    #[serde(skip)]
    order: Order,
}

/// What is remembered about the order of keys in records.
#[derive(Debug, Clone, Default)]
struct Order {
    /// Column that began the last record.
    first: u32,
    /// Column that last followed each column.
    next: Vec<u32>,
    /// Column of the attribute before, none at a record's start.
    previous: Option<u32>,
    /// Hash of key and type to column, kept once there are many columns.
    index: HashMap<u64, u32>,
}

/// The remembered order is no part of the value.
impl PartialEq for AttrColumns {
    fn eq(&self, other: &Self) -> bool {
        self.columns == other.columns
    }
}

/// Where the value of one attribute goes.
#[derive(Debug)]
pub enum Slot<'a> {
    /// Push exactly one value here, of the type that was asked for.
    Fill(&'a mut AttrValues),
    /// The row has a value for this key and type already: the first wins.
    Taken,
    /// The batch has [`AttrColumns::COLUMNS_MAX`] columns and this would be another.
    Full,
}

impl AttrColumns {
    /// Most columns (pairs of key and type) of one batch: keys made from data would cost a column each.
    pub const COLUMNS_MAX: usize = 8192;

    /// Up to this many columns a scan is as fast as a hash.
    const SCAN_MAX: usize = 24;

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

    #[inline]
    fn is(&self, at: u32, key: &[u8], ty: AttrType) -> bool {
        self.columns.get(at as usize).is_some_and(|c| c.key.as_bytes() == key && c.values.ty() == ty)
    }

    /// The column of a key that did not come where it was expected, made when there is none.
    #[inline(never)]
    fn find_or_add(&mut self, key: &[u8], ty: AttrType) -> Result<Option<u32>, Utf8Error> {
        let by_scan = |c: &AttrColumn| c.key.as_bytes() == key && c.values.ty() == ty;
        let hash = |key: &[u8], ty: AttrType| xxh3_64_with_seed(key, ty as u64);
        let known = if self.columns.len() <= Self::SCAN_MAX {
            self.columns.iter().position(by_scan).map(|at| at as u32)
        } else {
            if self.order.index.len() < self.columns.len() {
                let all = self.columns.iter().enumerate();
                self.order.index = all.map(|(at, c)| (hash(c.key.as_bytes(), c.values.ty()), at as u32)).collect();
            }
            match self.order.index.get(&hash(key, ty)) {
                Some(&at) if self.is(at, key, ty) => Some(at),
                // Two keys of one hash share the entry: look through all.
                Some(_) => self.columns.iter().position(by_scan).map(|at| at as u32),
                None => None,
            }
        };
        if known.is_some() || self.columns.len() >= Self::COLUMNS_MAX {
            return Ok(known);
        }
        let at = self.columns.len() as u32;
        let text = std::str::from_utf8(key)?;
        self.columns.push(AttrColumn { key: text.into(), rows: Vec::new(), values: AttrValues::new(ty) });
        if self.columns.len() > Self::SCAN_MAX {
            self.order.index.insert(hash(key, ty), at);
        }
        Ok(Some(at))
    }

    /// Where the value of `key` with type `ty` in `row` goes; rows must not go backwards. The key is given as
    /// bytes because a known key needs no check.
    ///
    /// # Errors
    /// When the key is no UTF-8.
    #[inline]
    pub fn slot(&mut self, row: u32, key: &[u8], ty: AttrType) -> Result<Slot<'_>, Utf8Error> {
        let guess = match self.order.previous {
            None => self.order.first,
            Some(previous) => self.order.next.get(previous as usize).copied().unwrap_or(u32::MAX),
        };
        let at = if self.is(guess, key, ty) {
            guess
        } else {
            let Some(at) = self.find_or_add(key, ty)? else { return Ok(Slot::Full) };
            match self.order.previous {
                None => self.order.first = at,
                Some(previous) => {
                    if self.order.next.len() < self.columns.len() {
                        self.order.next.resize(self.columns.len(), u32::MAX);
                    }
                    self.order.next[previous as usize] = at;
                }
            }
            at
        };
        self.order.previous = Some(at);
        let column = &mut self.columns[at as usize];
        if column.rows.last() == Some(&row) {
            return Ok(Slot::Taken);
        }
        column.rows.push(row);
        Ok(Slot::Fill(&mut column.values))
    }

    fn row_of(&mut self, row: u32, key: &str, ty: AttrType) -> Option<&mut AttrValues> {
        match self.slot(row, key.as_bytes(), ty) {
            Ok(Slot::Fill(values)) => Some(values),
            _ => None,
        }
    }

    /// Whether all texts are UTF-8, where they came through [`StrColumn::push_bytes`].
    pub fn is_text(&self) -> bool {
        self.columns.iter().all(|column| match &column.values {
            AttrValues::Str(texts) | AttrValues::Json(texts) => texts.is_text(),
            _ => true,
        })
    }

    /// To be called before a record's first attribute, so that the guess starts with the first column again.
    #[inline]
    pub fn begin_row(&mut self) {
        self.order.previous = None;
    }

    /// Gives the rows that have the attribute `from` and none called `to` the same value under that name too. For a whole
    /// batch, once it is filled: it costs a look at each column, and a copy where there is one to make.
    pub fn also_as(&mut self, from: &str, to: &str) {
        let Some(source) = self.columns.iter().position(|c| *c.key == *from) else { return };
        let source = self.columns[source].clone();
        let taken = |columns: &[AttrColumn], row: u32| columns.iter().any(|c| *c.key == *to && c.rows.binary_search(&row).is_ok());
        let missing: Vec<usize> = (0..source.rows.len()).filter(|at| !taken(&self.columns, source.rows[*at])).collect();
        if missing.is_empty() {
            return;
        }
        let ty = source.values.ty();
        let Some(target) = self.columns.iter().position(|c| *c.key == *to && c.values.ty() == ty) else {
            if self.columns.len() < Self::COLUMNS_MAX {
                let mut made = AttrColumn { key: to.into(), rows: Vec::with_capacity(missing.len()), values: AttrValues::new(ty) };
                for at in missing {
                    made.rows.push(source.rows[at]);
                    made.values.push(&source.values.get(at));
                }
                self.columns.push(made);
                self.order = Order::default();
            }
            return;
        };
        let before = &self.columns[target];
        let mut merged: Vec<(u32, AttrValue)> = before.rows.iter().enumerate().map(|(at, row)| (*row, before.values.get(at))).collect();
        merged.extend(missing.into_iter().map(|at| (source.rows[at], source.values.get(at))));
        merged.sort_by_key(|(row, _)| *row);
        let mut made = AttrColumn { key: to.into(), rows: Vec::with_capacity(merged.len()), values: AttrValues::new(ty) };
        for (row, value) in merged {
            made.rows.push(row);
            made.values.push(&value);
        }
        self.columns[target] = made;
    }

    /// Takes back the attributes of the last row, where the record turns out to be refused.
    pub fn discard_row(&mut self, row: u32) {
        for column in &mut self.columns {
            if column.rows.last() == Some(&row) {
                column.rows.pop();
                column.values.truncate(column.rows.len());
            }
        }
        while self.columns.last().is_some_and(|c| c.rows.is_empty()) {
            self.columns.pop();
            self.order.index.clear();
        }
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
        self.columns.iter().filter_map(|c| c.rows.binary_search(&row).ok().map(|at| (&*c.key, c.values.get(at)))).collect()
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
        assert_eq!(a.row(2), [("http.status", AttrValue::Int(500)), ("http.status", AttrValue::Str("odd".into()))]);
    }
    #[test]
    fn a_refused_row_leaves_nothing() {
        let mut a = AttrColumns::default();
        a.begin_row();
        a.push_str(0, "k", "kept");
        a.push_bool(0, "b", true);
        let before = a.clone();
        a.begin_row();
        a.push_str(1, "k", "gone");
        a.push_bool(1, "b", false);
        a.push_int(1, "only here", 1);
        a.discard_row(1);
        assert_eq!(a, before);
        a.begin_row();
        a.push_str(1, "k", "next");
        assert_eq!(a.row(1), [("k", AttrValue::Str("next".into()))]);
    }

    #[test]
    fn many_keys_in_any_order_find_their_columns() {
        let mut a = AttrColumns::default();
        let keys: Vec<String> = (0..200).map(|i| format!("key{i}")).collect();
        for row in 0..6u32 {
            a.begin_row();
            let step = [1, 7, 13, 1, 3, 11][row as usize];
            for i in 0..200 {
                a.push_int(row, &keys[i * step % 200], i64::from(row));
            }
        }
        assert_eq!(a.columns().len(), 200);
        assert!(a.columns().iter().all(|c| c.rows == [0, 1, 2, 3, 4, 5] && c.values.get(5) == AttrValue::Int(5)));
    }

    #[test]
    fn another_name_is_given_where_there_is_none() {
        let mut a = AttrColumns::default();
        a.push_str(0, "userId", "u0");
        a.push_str(2, "userId", "u2");
        a.push_str(2, "user_id", "own");
        a.push_int(4, "user_id", 4);
        a.push_str(4, "userId", "u4");
        a.push_str(5, "userId", "u5");
        a.also_as("userId", "user_id");
        a.also_as("none", "user_id");
        let of = |row: u32| a.row(row).into_iter().filter(|(key, _)| *key == "user_id").map(|(_, v)| v.to_text().into_owned()).collect::<Vec<_>>();
        assert_eq!([of(0), of(2), of(4), of(5)], [vec!["u0"], vec!["own"], vec!["4"], vec!["u5"]]);
        a.also_as("userId", "uid");
        assert_eq!(a.row(5).len(), 3);
        // Columns are found again by rows to come.
        a.begin_row();
        a.push_str(6, "uid", "u6");
        assert_eq!(a.row(6), [("uid", AttrValue::Str("u6".into()))]);
    }

    #[test]
    fn columns_are_bounded() {
        let mut a = AttrColumns::default();
        for i in 0..AttrColumns::COLUMNS_MAX + 10 {
            a.begin_row();
            a.push_int(i as u32, &format!("made.of.data.{i}"), 1);
        }
        assert_eq!(a.columns().len(), AttrColumns::COLUMNS_MAX);
        assert!(matches!(a.slot(u32::MAX, b"one.more", AttrType::Int), Ok(Slot::Full)));
        assert!(a.slot(u32::MAX, b"\xff", AttrType::Str).is_ok(), "a full batch adds nothing");
        assert!(AttrColumns::default().slot(0, b"\xff", AttrType::Str).is_err());
    }
}
