//! One record, in memory or in a file, read the same way.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType, UInt8Type, UInt64Type};
use skopos_model::{AttrType, AttrValue, AttrValues, LogBatch, Resource, Severity, SpanId, TraceId};
use skopos_query::filter::{Field, FieldValue, Row};
use skopos_query::logs::{AttributeChoice, LogRow};

use super::flush::json_value;
use super::open::Block;
use super::schema::Kind;
use super::template::rebuild;
use crate::error::StorageError;

/// Place of a record in the order of all records; stays the same over flush and merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    /// Event time, Unix nanoseconds.
    pub(super) time: i64,
    /// WAL sequence of its batch.
    pub(super) seq: u64,
    /// Row in its batch.
    pub(super) row: u32,
}

impl Key {
    /// What a link holds.
    pub(super) fn to_id(self) -> String {
        format!("{:x}-{:x}-{:x}", self.time, self.seq, self.row)
    }

    pub(super) fn from_id(id: &str) -> Option<Self> {
        let mut parts = id.split('-');
        let key = Self {
            // Times before 1970 are written as two's complement.
            time: u64::from_str_radix(parts.next()?, 16).ok()? as i64,
            seq: u64::from_str_radix(parts.next()?, 16).ok()?,
            row: u32::from_str_radix(parts.next()?, 16).ok()?,
        };
        parts.next().is_none().then_some(key)
    }
}

/// An attribute's value where it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum AttrRef<'a> {
    Str(&'a str),
    Int(i64),
    Double(f64),
    Bool(bool),
    Json(&'a str),
}

impl<'a> AttrRef<'a> {
    fn of(value: &'a AttrValue) -> Self {
        match value {
            AttrValue::Str(text) => Self::Str(text),
            AttrValue::Int(number) => Self::Int(*number),
            AttrValue::Double(number) => Self::Double(*number),
            AttrValue::Bool(truth) => Self::Bool(*truth),
            AttrValue::Json(text) => Self::Json(text),
        }
    }

    fn at(values: &'a AttrValues, place: usize) -> Self {
        match values {
            AttrValues::Str(texts) => Self::Str(texts.get(place)),
            AttrValues::Int(numbers) => Self::Int(numbers[place]),
            AttrValues::Double(numbers) => Self::Double(numbers[place]),
            AttrValues::Bool(truths) => Self::Bool(truths[place]),
            AttrValues::Json(texts) => Self::Json(texts.get(place)),
        }
    }

    /// A value of the attribute map with the letter of its type.
    fn of_map(text: &'a str, letter: u8) -> Self {
        match letter {
            b'i' => text.parse().map_or(Self::Str(text), Self::Int),
            b'd' => text.parse().map_or(Self::Str(text), Self::Double),
            b'b' => text.parse().map_or(Self::Str(text), Self::Bool),
            b'j' => Self::Json(text),
            _ => Self::Str(text),
        }
    }

    pub(super) fn field(self) -> FieldValue<'a> {
        match self {
            Self::Str(text) | Self::Json(text) => FieldValue::Text(text.into()),
            Self::Int(number) => FieldValue::Int(number),
            Self::Double(number) => FieldValue::Double(number),
            Self::Bool(truth) => FieldValue::Bool(truth),
        }
    }

    /// As text: strings as they are, the rest as JSON writes it.
    pub(super) fn text(self) -> Cow<'a, str> {
        match self {
            Self::Str(text) | Self::Json(text) => text.into(),
            Self::Int(number) => number.to_string().into(),
            Self::Double(number) => number.to_string().into(),
            Self::Bool(truth) => (if truth { "true" } else { "false" }).into(),
        }
    }

    fn json(self) -> serde_json::Value {
        match self {
            Self::Str(text) => text.into(),
            Self::Int(number) => number.into(),
            Self::Double(number) => json_value(&AttrValue::Double(number)),
            Self::Bool(truth) => truth.into(),
            Self::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        }
    }
}

/// A record.
pub(super) trait Record {
    fn key(&self) -> Key;
    fn observed(&self) -> i64;
    fn severity_number(&self) -> u8;
    /// As sent; empty when not given or when it is the number's own name.
    fn severity_text(&self) -> &str;
    fn service(&self) -> &str;
    fn body(&self) -> Cow<'_, str>;
    fn trace_id(&self) -> TraceId;
    fn span_id(&self) -> SpanId;
    fn flags(&self) -> u8;
    fn event_name(&self) -> &str;
    fn scope_name(&self) -> &str;
    fn scope_version(&self) -> &str;
    fn resource(&self) -> &Resource;
    /// An attribute of the record itself. Of several types of one key, text comes first.
    fn attribute(&self, key: &str) -> Option<AttrRef<'_>>;
    fn each_attribute(&self, each: &mut dyn FnMut(&str, AttrRef<'_>));

    /// As [`Record::each_attribute`], of those that are wanted. `promoted`: the wanted columns of the record's file.
    fn each_wanted(&self, wanted: &AttributeChoice, _promoted: &[(Box<str>, i32, AttrType)], each: &mut dyn FnMut(&str, AttrRef<'_>)) {
        self.each_attribute(&mut |key, value| {
            if wanted.wants(key) {
                each(key, value);
            }
        });
    }

    fn level(&self) -> Severity {
        match self.severity_number() {
            0 => Severity::from_text(self.severity_text()).unwrap_or(Severity::Unspecified),
            number => Severity::from_number(number),
        }
    }

    /// The record as it is shown.
    fn to_row(&self) -> LogRow {
        let key = self.key();
        let level = self.level().as_str();
        let mut attributes = serde_json::Map::new();
        self.each_attribute(&mut |key, value| {
            attributes.entry(key).or_insert_with(|| value.json());
        });
        LogRow {
            id: key.to_id(),
            time: key.time,
            observed_time: self.observed(),
            severity_number: self.severity_number(),
            severity_text: if level.is_empty() { self.severity_text().to_owned() } else { level.to_owned() },
            service_name: self.service().to_owned(),
            body: self.body().into_owned(),
            trace_id: self.trace_id(),
            span_id: self.span_id(),
            event_name: self.event_name().to_owned(),
            scope_name: self.scope_name().to_owned(),
            attributes,
            resource: self.resource().attributes.iter().map(|(key, value)| (key.to_string(), json_value(value))).collect(),
        }
    }
}

/// A record as filters see it.
pub(super) struct Filtered<'a, R: Record>(pub(super) &'a R);

fn some_text(text: &str) -> Option<FieldValue<'_>> {
    (!text.is_empty()).then(|| FieldValue::Text(text.into()))
}

impl<R: Record> Row for Filtered<'_, R> {
    fn get(&self, field: &Field) -> Option<FieldValue<'_>> {
        match field {
            Field::Service => Some(FieldValue::Text(self.0.service().into())),
            Field::Level => match self.0.severity_number() {
                0 => some_text(self.0.severity_text()),
                number => Some(FieldValue::Int(i64::from(number))),
            },
            Field::Body => Some(FieldValue::Text(self.0.body())),
            Field::TraceId => Some(self.0.trace_id()).filter(|id| !id.is_none()).map(|id| FieldValue::Text(id.to_hex().into())),
            Field::SpanId => Some(self.0.span_id()).filter(|id| !id.is_none()).map(|id| FieldValue::Text(id.to_hex().into())),
            Field::Name => some_text(self.0.event_name()),
            Field::Environment => self.0.resource().environment().filter(|e| !e.is_empty()).map(FieldValue::Text),
            Field::Scope => some_text(self.0.scope_name()),
            Field::Attribute(key) => match self.0.attribute(key) {
                Some(value) => Some(value.field()),
                None => resource_attribute(self.0.resource(), key).map(AttrRef::field),
            },
            Field::Kind | Field::Status | Field::Duration | Field::Root => None,
        }
    }

    fn any_text(&self, found: &mut dyn FnMut(&str) -> bool) -> bool {
        found(&self.0.body())
    }
}

/// A resource's attribute.
pub(super) fn resource_attribute<'a>(resource: &'a Resource, key: &str) -> Option<AttrRef<'a>> {
    let at = resource.attributes.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
    Some(AttrRef::of(&resource.attributes[at].1))
}

/// A record in a batch of the head.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadRecord<'a> {
    pub(super) batch: &'a LogBatch,
    pub(super) seq: u64,
    pub(super) row: usize,
}

/// In what order the types of one key are looked at.
const TYPES: [AttrType; 5] = [AttrType::Str, AttrType::Int, AttrType::Double, AttrType::Bool, AttrType::Json];

impl Record for HeadRecord<'_> {
    fn key(&self) -> Key {
        Key { time: self.batch.time[self.row], seq: self.seq, row: self.row as u32 }
    }
    fn observed(&self) -> i64 {
        self.batch.observed[self.row]
    }
    fn severity_number(&self) -> u8 {
        self.batch.severity_number[self.row]
    }
    fn severity_text(&self) -> &str {
        self.batch.severity_text.get(self.row)
    }
    fn service(&self) -> &str {
        &self.resource().service_name
    }
    fn body(&self) -> Cow<'_, str> {
        self.batch.body.get(self.row).into()
    }
    fn trace_id(&self) -> TraceId {
        self.batch.trace_id[self.row]
    }
    fn span_id(&self) -> SpanId {
        self.batch.span_id[self.row]
    }
    fn flags(&self) -> u8 {
        self.batch.flags[self.row]
    }
    fn event_name(&self) -> &str {
        self.batch.event_name.get(self.row)
    }
    fn scope_name(&self) -> &str {
        &self.batch.scopes[self.batch.scope[self.row] as usize].name
    }
    fn scope_version(&self) -> &str {
        &self.batch.scopes[self.batch.scope[self.row] as usize].version
    }
    fn resource(&self) -> &Resource {
        &self.batch.resources[self.batch.resource[self.row] as usize]
    }
    fn attribute(&self, key: &str) -> Option<AttrRef<'_>> {
        let row = self.row as u32;
        let columns = self.batch.attributes.columns();
        TYPES.iter().find_map(|ty| {
            let column = columns.iter().find(|c| &*c.key == key && c.values.ty() == *ty)?;
            Some(AttrRef::at(&column.values, column.rows.binary_search(&row).ok()?))
        })
    }
    fn each_attribute(&self, each: &mut dyn FnMut(&str, AttrRef<'_>)) {
        for column in self.batch.attributes.columns() {
            if let Ok(place) = column.rows.binary_search(&(self.row as u32)) {
                each(&column.key, AttrRef::at(&column.values, place));
            }
        }
    }
}

/// A record in a block of a file. Columns that were not read count as absent.
#[derive(Debug)]
pub(super) struct BlockRecord<'a> {
    block: &'a Block,
    row: usize,
    resource: OnceCell<Arc<Resource>>,
    resources: &'a super::Resources,
}

impl<'a> BlockRecord<'a> {
    pub(super) fn new(block: &'a Block, row: usize, resources: &'a super::Resources) -> Self {
        Self { block, row, resource: OnceCell::new(), resources }
    }

    fn number<T: arrow::datatypes::ArrowPrimitiveType>(&self, kind: Kind) -> Option<T::Native> {
        let array = self.block.get(kind)?.as_primitive_opt::<T>()?;
        array.is_valid(self.row).then(|| array.value(self.row))
    }

    fn promoted(&self, id: i32, ty: AttrType) -> Option<AttrRef<'a>> {
        let array = self.block.get(Kind::Promoted(id))?;
        if !array.is_valid(self.row) {
            return None;
        }
        Some(match ty {
            AttrType::Str => AttrRef::Str(self.block.text(Kind::Promoted(id), self.row)?),
            AttrType::Json => AttrRef::Json(self.block.text(Kind::Promoted(id), self.row)?),
            AttrType::Int => AttrRef::Int(array.as_primitive_opt::<Int64Type>()?.value(self.row)),
            AttrType::Double => AttrRef::Double(array.as_primitive_opt::<Float64Type>()?.value(self.row)),
            AttrType::Bool => AttrRef::Bool(array.as_boolean_opt()?.value(self.row)),
        })
    }

    /// Entries of the attribute map, with the letters of their types.
    fn each_in_map(&self, mut each: impl FnMut(&'a str, AttrRef<'a>) -> bool) {
        let Some(map) = self.block.get(Kind::Attributes).and_then(|a| a.as_map_opt()) else { return };
        if !map.is_valid(self.row) {
            return;
        }
        let letters = self.block.text(Kind::AttributeTypes, self.row).unwrap_or("").as_bytes();
        let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
        let offsets = map.value_offsets();
        let (start, end) = (offsets[self.row] as usize, offsets[self.row + 1] as usize);
        for at in start..end {
            let letter = letters.get(at - start).copied().unwrap_or(b's');
            if each(keys.value(at), AttrRef::of_map(values.value(at), letter)) {
                return;
            }
        }
    }
}

impl Record for BlockRecord<'_> {
    fn key(&self) -> Key {
        Key {
            time: self.number::<TimestampNanosecondType>(Kind::Time).unwrap_or(0),
            seq: self.number::<UInt64Type>(Kind::Seq).unwrap_or(0),
            row: self.number::<Int32Type>(Kind::Row).unwrap_or(0) as u32,
        }
    }
    fn observed(&self) -> i64 {
        self.key().time.wrapping_add(self.number::<Int64Type>(Kind::ObservedDelta).unwrap_or(0))
    }
    fn severity_number(&self) -> u8 {
        self.number::<UInt8Type>(Kind::SeverityNumber).unwrap_or(0)
    }
    fn severity_text(&self) -> &str {
        self.block.text(Kind::SeverityText, self.row).unwrap_or("")
    }
    fn service(&self) -> &str {
        self.block.text(Kind::Service, self.row).unwrap_or("")
    }
    fn body(&self) -> Cow<'_, str> {
        let tail = self.block.text(Kind::Tail, self.row).unwrap_or("");
        let Some(template) = self.block.text(Kind::Template, self.row) else { return tail.into() };
        let mut out = Vec::with_capacity(template.len() + 32 + tail.len());
        let text = |kind| self.block.text(kind, self.row).unwrap_or("").as_bytes();
        let bytes = |kind| self.block.bytes(kind, self.row).unwrap_or(b"");
        rebuild(template.as_bytes(), text(Kind::Vars), bytes(Kind::Hex), bytes(Kind::Uuid), tail.as_bytes(), &mut out);
        String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()).into()
    }
    fn trace_id(&self) -> TraceId {
        self.block.bytes(Kind::TraceId, self.row).and_then(TraceId::from_bytes).unwrap_or(TraceId::NONE)
    }
    fn span_id(&self) -> SpanId {
        self.block.bytes(Kind::SpanId, self.row).and_then(SpanId::from_bytes).unwrap_or(SpanId::NONE)
    }
    fn flags(&self) -> u8 {
        self.number::<UInt8Type>(Kind::Flags).unwrap_or(0)
    }
    fn event_name(&self) -> &str {
        self.block.text(Kind::EventName, self.row).unwrap_or("")
    }
    fn scope_name(&self) -> &str {
        self.block.text(Kind::ScopeName, self.row).unwrap_or("")
    }
    fn scope_version(&self) -> &str {
        self.block.text(Kind::ScopeVersion, self.row).unwrap_or("")
    }
    fn resource(&self) -> &Resource {
        self.resource.get_or_init(|| self.resources.get(self.block.text(Kind::Resource, self.row).unwrap_or("{}")))
    }
    fn attribute(&self, key: &str) -> Option<AttrRef<'_>> {
        TYPES.iter().find_map(|ty| {
            let column = self.block.file.columns.iter().find(|c| c.column.attribute.as_ref().is_some_and(|(k, t)| k == key && t == ty));
            if let Some(value) = column.and_then(|c| self.promoted(c.column.id, *ty)) {
                return Some(value);
            }
            let mut found = None;
            self.each_in_map(|k, value| {
                let of_type = match value {
                    AttrRef::Str(_) => AttrType::Str,
                    AttrRef::Int(_) => AttrType::Int,
                    AttrRef::Double(_) => AttrType::Double,
                    AttrRef::Bool(_) => AttrType::Bool,
                    AttrRef::Json(_) => AttrType::Json,
                };
                if k == key && of_type == *ty {
                    found = Some(value);
                }
                found.is_some()
            });
            found
        })
    }
    fn each_wanted(&self, wanted: &AttributeChoice, promoted: &[(Box<str>, i32, AttrType)], each: &mut dyn FnMut(&str, AttrRef<'_>)) {
        for (key, id, ty) in promoted {
            if let Some(value) = self.promoted(*id, *ty) {
                each(key, value);
            }
        }
        self.each_in_map(|key, value| {
            if wanted.wants(key) {
                each(key, value);
            }
            false
        });
    }
    fn each_attribute(&self, each: &mut dyn FnMut(&str, AttrRef<'_>)) {
        for column in &self.block.file.columns {
            if let Some((key, ty)) = &column.column.attribute
                && let Some(value) = self.promoted(column.column.id, *ty)
            {
                each(key, value);
            }
        }
        self.each_in_map(|key, value| {
            each(key, value);
            false
        });
    }
}

/// A resource as [`super::flush::resource_json`] wrote it.
pub(super) fn parse_resource(json: &str) -> Result<Resource, StorageError> {
    use serde_json::Value;
    let object: serde_json::Map<String, Value> =
        serde_json::from_str(json).map_err(|e| StorageError::Format { what: "cannot read resource", reason: e.to_string() })?;
    let typed = |value: Value| match value {
        Value::String(text) => AttrValue::Str(text),
        Value::Bool(truth) => AttrValue::Bool(truth),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => AttrValue::Int(integer),
            None => AttrValue::Double(number.as_f64().unwrap_or(0.0)),
        },
        other => AttrValue::Json(other.to_string()),
    };
    Ok(Resource::new(object.into_iter().map(|(key, value)| (key.into(), typed(value))).collect()))
}
