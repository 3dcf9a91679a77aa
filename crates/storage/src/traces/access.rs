//! One way to look at spans, whether they are a batch in the head or a batch read from a file.

use std::borrow::Cow;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, FixedSizeBinaryArray, Float64Array, Int64Array, MapArray, RecordBatch, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType, UInt8Type};
use memchr::memmem;
use skopos_model::{AttrColumn, AttrType, AttrValue, AttrValues, SpanBatch, SpanId, SpanKind, StatusCode, TraceId};
use skopos_query::filter::{Field, FieldValue, Row};

use super::columns::{
    ATTRIBUTE_TYPES, ATTRIBUTES, DURATION, ENVIRONMENT, FLAGS, KIND, NAME, PARENT, RESOURCE, SCOPE, SERVICE, SPAN_ID, START, STATUS, TRACE_ID,
    type_of_letter,
};

/// Types in the order in which they win when a span has one key with several types.
pub(super) const TYPE_ORDER: [AttrType; 5] = [AttrType::Str, AttrType::Int, AttrType::Double, AttrType::Bool, AttrType::Json];

/// Name of the column an attribute is promoted to (see [`crate::table::Schema::promote`]).
pub(super) fn promoted_name(key: &str, ty: AttrType) -> String {
    let suffix = match ty {
        AttrType::Str => "",
        AttrType::Int => ":int",
        AttrType::Double => ":double",
        AttrType::Bool => ":bool",
        AttrType::Json => ":json",
    };
    format!("attr:{key}{suffix}")
}

/// The key and type of a promoted column, by its name.
pub(super) fn promoted_key(column: &str) -> Option<(&str, AttrType)> {
    let name = column.strip_prefix("attr:")?;
    let typed = [(":int", AttrType::Int), (":double", AttrType::Double), (":bool", AttrType::Bool), (":json", AttrType::Json)];
    Some(typed.iter().find_map(|(suffix, ty)| Some((name.strip_suffix(suffix)?, *ty))).unwrap_or((name, AttrType::Str)))
}

/// Spans in columns, wherever they come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Block<'a> {
    Head(&'a SpanBatch),
    File(&'a RecordBatch),
}

impl<'a> Block<'a> {
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Head(batch) => batch.len(),
            Self::File(batch) => batch.num_rows(),
        }
    }

    pub(super) fn starts(&self) -> &'a [i64] {
        match self {
            Self::Head(batch) => &batch.start,
            Self::File(batch) => match batch.column_by_name(START) {
                Some(column) => column.as_primitive::<TimestampNanosecondType>().values(),
                None => &[],
            },
        }
    }

    pub(super) fn durations(&self) -> &'a [i64] {
        match self {
            Self::Head(batch) => &batch.duration,
            Self::File(batch) => match batch.column_by_name(DURATION) {
                Some(column) => column.as_primitive::<Int64Type>().values(),
                None => &[],
            },
        }
    }

    /// Trace flags of a file's rows; the head has them in another width.
    pub(super) fn flags(&self) -> &'a [i64] {
        match self {
            Self::Head(_) => &[],
            Self::File(batch) => match batch.column_by_name(FLAGS) {
                Some(column) => column.as_primitive::<Int64Type>().values(),
                None => &[],
            },
        }
    }

    fn bytes_of(&self, name: &str) -> &'a [u8] {
        match self {
            Self::Head(batch) => match name {
                KIND => &batch.kind,
                _ => &batch.status_code,
            },
            Self::File(batch) => match batch.column_by_name(name) {
                Some(column) => column.as_primitive::<UInt8Type>().values(),
                None => &[],
            },
        }
    }

    pub(super) fn kinds(&self) -> &'a [u8] {
        self.bytes_of(KIND)
    }

    pub(super) fn statuses(&self) -> &'a [u8] {
        self.bytes_of(STATUS)
    }

    pub(super) fn trace_ids(&self) -> Ids<'a> {
        match self {
            Self::Head(batch) => Ids::Traces(&batch.trace_id),
            Self::File(batch) => Ids::of(batch, TRACE_ID),
        }
    }

    pub(super) fn span_ids(&self) -> Ids<'a> {
        match self {
            Self::Head(batch) => Ids::Spans(&batch.span_id),
            Self::File(batch) => Ids::of(batch, SPAN_ID),
        }
    }

    pub(super) fn parents(&self) -> Ids<'a> {
        match self {
            Self::Head(batch) => Ids::Spans(&batch.parent_span_id),
            Self::File(batch) => Ids::of(batch, PARENT),
        }
    }
}

/// A column of ids.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ids<'a> {
    Traces(&'a [TraceId]),
    Spans(&'a [SpanId]),
    Array(&'a FixedSizeBinaryArray),
    Missing,
}

impl<'a> Ids<'a> {
    fn of(batch: &'a RecordBatch, name: &str) -> Self {
        batch.column_by_name(name).and_then(|c| c.as_fixed_size_binary_opt()).map_or(Self::Missing, Self::Array)
    }

    /// The bytes of a row's id; empty when there is none.
    pub(super) fn bytes(&self, row: usize) -> &'a [u8] {
        match self {
            Self::Traces(ids) => &ids[row].0,
            Self::Spans(ids) => &ids[row].0,
            Self::Array(array) if array.is_valid(row) => array.value(row),
            Self::Array(_) | Self::Missing => &[],
        }
    }

    /// A row's trace id.
    pub(super) fn trace(&self, row: usize) -> TraceId {
        TraceId::from_bytes(self.bytes(row)).unwrap_or(TraceId::NONE)
    }

    /// A row's span id, [`SpanId::NONE`] when there is none.
    pub(super) fn span(&self, row: usize) -> SpanId {
        SpanId::from_bytes(self.bytes(row)).unwrap_or(SpanId::NONE)
    }

    fn hex(&self, row: usize) -> Option<String> {
        let bytes = self.bytes(row);
        if bytes.iter().all(|b| *b == 0) {
            return None;
        }
        let mut text = String::new();
        skopos_model::ids::write_hex(bytes, &mut text);
        Some(text)
    }
}

/// Codes of a dictionary-encoded column.
#[derive(Debug, Clone, Copy)]
pub(super) enum Codes<'a> {
    Bytes(&'a [u8]),
    Numbers(&'a [u32]),
    Keys(&'a [i32], Option<&'a NullBuffer>),
}

impl<'a> Codes<'a> {
    fn of(array: &'a DictionaryArray<Int32Type>) -> Self {
        Self::Keys(array.keys().values(), array.keys().nulls())
    }

    /// The code of a row, `None` where the row has no value.
    pub(super) fn get(&self, row: usize) -> Option<usize> {
        match self {
            Self::Bytes(codes) => Some(usize::from(codes[row])),
            Self::Numbers(codes) => Some(codes[row] as usize),
            Self::Keys(codes, nulls) => match nulls {
                Some(nulls) if nulls.is_null(row) => None,
                _ => usize::try_from(codes[row]).ok(),
            },
        }
    }
}

/// A column of text, by row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Texts<'a> {
    Column(&'a skopos_model::StrColumn),
    Array(&'a StringArray),
    Dictionary(&'a DictionaryArray<Int32Type>, &'a StringArray),
}

impl<'a> Texts<'a> {
    pub(super) fn of(array: &'a ArrayRef) -> Option<Self> {
        if let Some(plain) = array.as_string_opt::<i32>() {
            return Some(Self::Array(plain));
        }
        let dictionary = array.as_any_dictionary_opt()?;
        let typed = dictionary.as_any().downcast_ref::<DictionaryArray<Int32Type>>()?;
        Some(Self::Dictionary(typed, typed.values().as_string_opt::<i32>()?))
    }

    /// A row's text, `None` where it is null.
    pub(super) fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Self::Column(column) => Some(column.get(row)),
            Self::Array(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Dictionary(array, values) => {
                let code = array.keys().is_valid(row).then(|| array.keys().value(row))?;
                Some(values.value(usize::try_from(code).ok()?))
            }
        }
    }
}

/// Values of one attribute key of one type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Own<'a> {
    Sparse(&'a AttrColumn),
    Text(Texts<'a>),
    Int(&'a Int64Array),
    Double(&'a Float64Array),
    Bool(&'a BooleanArray),
}

impl<'a> Own<'a> {
    pub(super) fn of(array: &'a ArrayRef, ty: AttrType) -> Option<Self> {
        Some(match ty {
            AttrType::Str | AttrType::Json => Self::Text(Texts::of(array)?),
            AttrType::Int => Self::Int(array.as_primitive_opt::<Int64Type>()?),
            AttrType::Double => Self::Double(array.as_primitive_opt()?),
            AttrType::Bool => Self::Bool(array.as_boolean_opt()?),
        })
    }

    pub(super) fn get(&self, row: usize) -> Option<FieldValue<'a>> {
        Some(match self {
            Self::Sparse(column) => {
                let at = column.rows.binary_search(&u32::try_from(row).ok()?).ok()?;
                match &column.values {
                    AttrValues::Str(texts) | AttrValues::Json(texts) => FieldValue::Text(texts.get(at).into()),
                    AttrValues::Int(values) => FieldValue::Int(values[at]),
                    AttrValues::Double(values) => FieldValue::Double(values[at]),
                    AttrValues::Bool(values) => FieldValue::Bool(values[at]),
                }
            }
            Self::Text(texts) => FieldValue::Text(texts.get(row)?.into()),
            Self::Int(array) => FieldValue::Int(array.is_valid(row).then(|| array.value(row))?),
            Self::Double(array) => FieldValue::Double(array.is_valid(row).then(|| array.value(row))?),
            Self::Bool(array) => FieldValue::Bool(array.is_valid(row).then(|| array.value(row))?),
        })
    }
}

/// A text of the attribute map as the value it was.
pub(super) fn typed<'a>(text: &'a str, ty: AttrType) -> FieldValue<'a> {
    let value = match ty {
        AttrType::Int => text.parse().ok().map(FieldValue::Int),
        AttrType::Double => text.parse().ok().map(FieldValue::Double),
        AttrType::Bool => text.parse().ok().map(FieldValue::Bool),
        AttrType::Str | AttrType::Json => None,
    };
    value.unwrap_or(FieldValue::Text(Cow::Borrowed(text)))
}

/// The attribute map of a file's rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct MapAccess<'a> {
    map: &'a MapArray,
    keys: &'a StringArray,
    values: &'a StringArray,
    types: Option<Texts<'a>>,
}

impl<'a> MapAccess<'a> {
    pub(super) fn of(batch: &'a RecordBatch) -> Option<Self> {
        let map = batch.column_by_name(ATTRIBUTES)?.as_map_opt()?;
        let (keys, values) = (map.keys().as_string_opt::<i32>()?, map.values().as_string_opt::<i32>()?);
        Some(Self { map, keys, values, types: batch.column_by_name(ATTRIBUTE_TYPES).and_then(Texts::of) })
    }

    /// The entries of a row.
    pub(super) fn entries(&self, row: usize) -> impl Iterator<Item = (&'a str, AttrType, &'a str)> + use<'a> {
        let offsets = self.map.value_offsets();
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        let types = if start == end { "" } else { self.types.and_then(|t| t.get(row)).unwrap_or("") }.as_bytes();
        let (keys, values) = (self.keys, self.values);
        (start..end).map(move |at| {
            let ty = types.get(at - start).map_or(AttrType::Str, |letter| type_of_letter(*letter));
            (keys.value(at), ty, values.value(at))
        })
    }

    fn has_key(&self, key: &str) -> bool {
        let offsets = self.map.value_offsets();
        let ends = offsets.first().zip(offsets.last());
        ends.is_some_and(|(start, end)| (*start as usize..*end as usize).any(|at| self.keys.value(at) == key))
    }
}

/// An attribute of a span, else of its resource.
#[derive(Debug)]
pub(super) struct Attribute<'a> {
    key: String,
    own: Vec<(AttrType, Own<'a>)>,
    map: Option<MapAccess<'a>>,
    resource: Option<(Codes<'a>, Vec<Option<FieldValue<'a>>>)>,
}

impl<'a> Attribute<'a> {
    fn get(&self, row: usize) -> Option<FieldValue<'a>> {
        let own = self.own.iter().find_map(|(ty, own)| Some((*ty, own.get(row)?)));
        let mapped = self.map.and_then(|map| {
            let same = map.entries(row).filter(|(key, ..)| *key == self.key);
            same.min_by_key(|(_, ty, _)| *ty).map(|(_, ty, text)| (ty, text))
        });
        match (own, mapped) {
            (Some((ty, _)), Some((map_type, text))) if map_type < ty => Some(typed(text, map_type)),
            (Some((_, value)), _) => Some(value),
            (None, Some((ty, text))) => Some(typed(text, ty)),
            (None, None) => {
                let (codes, values) = self.resource.as_ref()?;
                values[codes.get(row)?].clone()
            }
        }
    }
}

/// One field over the rows of a block.
#[derive(Debug)]
pub(super) enum Access<'a> {
    /// No row has it.
    Missing,
    /// Few distinct values.
    Codes(Codes<'a>, Vec<Option<FieldValue<'a>>>),
    Texts(Texts<'a>),
    Ints(&'a [i64]),
    Ids(Ids<'a>),
    /// Whether there is no parent.
    Root(Ids<'a>),
    Own(Own<'a>),
    Attribute(Box<Attribute<'a>>),
}

pub(super) fn some_text(text: &str) -> Option<FieldValue<'_>> {
    (!text.is_empty()).then_some(FieldValue::Text(Cow::Borrowed(text)))
}

fn value_of(value: &AttrValue) -> FieldValue<'_> {
    match value {
        AttrValue::Str(text) | AttrValue::Json(text) => FieldValue::Text(text.as_str().into()),
        AttrValue::Int(i) => FieldValue::Int(*i),
        AttrValue::Double(d) => FieldValue::Double(*d),
        AttrValue::Bool(b) => FieldValue::Bool(*b),
    }
}

/// A JSON value as a filter sees it.
pub(super) fn json_value(value: &serde_json::Value) -> FieldValue<'static> {
    match value {
        serde_json::Value::Bool(b) => FieldValue::Bool(*b),
        serde_json::Value::Number(n) => match n.as_i64() {
            Some(i) => FieldValue::Int(i),
            None => FieldValue::Double(n.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => FieldValue::Text(text.clone().into()),
        other => FieldValue::Text(other.to_string().into()),
    }
}

/// One attribute out of a resource's JSON text. Most resources do not have the key: look before parsing.
fn resource_value(json: &str, key: &str) -> Option<FieldValue<'static>> {
    let escaped = key.bytes().any(|b| b == b'"' || b == b'\\' || b < 0x20);
    if !escaped {
        memmem::find(json.as_bytes(), key.as_bytes())?;
    }
    let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).ok()?;
    parsed.get(key).map(json_value)
}

fn dictionary<'a>(column: &'a ArrayRef, value: impl Fn(&'a str) -> Option<FieldValue<'a>>) -> Option<Access<'a>> {
    match Texts::of(column)? {
        Texts::Dictionary(array, values) => {
            let values = (0..values.len()).map(|at| value(values.value(at))).collect();
            Some(Access::Codes(Codes::of(array), values))
        }
        texts => Some(Access::Texts(texts)),
    }
}

impl<'a> Access<'a> {
    /// The way to a field. [`Field::Attribute`] means exactly this key.
    pub(super) fn new(block: Block<'a>, field: &Field) -> Self {
        match field {
            Field::Level | Field::Body => Self::Missing,
            Field::TraceId => Self::Ids(block.trace_ids()),
            Field::SpanId => Self::Ids(block.span_ids()),
            Field::Root => Self::Root(block.parents()),
            Field::Duration => Self::Ints(block.durations()),
            Field::Kind => {
                let words = (0..=u8::MAX).map(|k| Some(FieldValue::Text(SpanKind::from_number(k).as_str().into())));
                Self::Codes(Codes::Bytes(block.kinds()), words.collect())
            }
            Field::Status => {
                let words = (0..=u8::MAX).map(|s| Some(FieldValue::Text(StatusCode::from_number(s).as_str().into())));
                Self::Codes(Codes::Bytes(block.statuses()), words.collect())
            }
            Field::Attribute(key) => Self::attribute(block, key),
            Field::Service | Field::Name | Field::Environment | Field::Scope => match block {
                Block::Head(batch) => Self::head_text(batch, field),
                Block::File(batch) => {
                    let name = match field {
                        Field::Service => SERVICE,
                        Field::Name => NAME,
                        Field::Environment => ENVIRONMENT,
                        _ => SCOPE,
                    };
                    batch.column_by_name(name).and_then(|c| dictionary(c, some_text)).unwrap_or(Self::Missing)
                }
            },
        }
    }

    fn head_text(batch: &'a SpanBatch, field: &Field) -> Self {
        let resources = |value: fn(&skopos_model::Resource) -> Option<FieldValue<'_>>| {
            Self::Codes(Codes::Numbers(&batch.resource), batch.resources.iter().map(|r| value(r)).collect())
        };
        match field {
            Field::Service => resources(|r| some_text(&r.service_name)),
            Field::Environment => resources(|r| r.environment().filter(|e| !e.is_empty()).map(FieldValue::Text)),
            Field::Scope => Self::Codes(Codes::Numbers(&batch.scope), batch.scopes.iter().map(|s| some_text(&s.name)).collect()),
            _ => Self::Texts(Texts::Column(&batch.name)),
        }
    }

    fn attribute(block: Block<'a>, key: &str) -> Self {
        Self::scoped(block, key, true, true)
    }

    /// The way to an attribute of exactly this key, of the span itself, of its resource, or of the first of both that
    /// has it.
    pub(super) fn scoped(block: Block<'a>, key: &str, of_span: bool, of_resource: bool) -> Self {
        let (mut own, mut map, resource) = match block {
            Block::Head(batch) => {
                let own = TYPE_ORDER.iter().filter_map(|ty| Some((*ty, Own::Sparse(batch.attributes.column(key, *ty)?))));
                let values: Vec<_> =
                    batch.resources.iter().map(|r| r.attributes.iter().find(|(k, _)| &**k == key).map(|(_, v)| value_of(v))).collect();
                (own.collect::<Vec<_>>(), None, Some((Codes::Numbers(&batch.resource), values)))
            }
            Block::File(batch) => {
                let own = TYPE_ORDER.iter().filter_map(|ty| Some((*ty, Own::of(batch.column_by_name(&promoted_name(key, *ty))?, *ty)?)));
                let resource = match batch.column_by_name(RESOURCE).and_then(Texts::of) {
                    Some(Texts::Dictionary(array, values)) => {
                        let values: Vec<_> = (0..values.len()).map(|at| resource_value(values.value(at), key)).collect();
                        Some((Codes::of(array), values))
                    }
                    _ => None,
                };
                (own.collect(), MapAccess::of(batch).filter(|map| map.has_key(key)), resource)
            }
        };
        if !of_span {
            own.clear();
            map = None;
        }
        let resource = resource.filter(|(_, values)| of_resource && values.iter().any(Option::is_some));
        match (own.as_slice(), &map, resource) {
            ([], None, None) => Self::Missing,
            ([], None, Some((codes, values))) => Self::Codes(codes, values),
            ([(_, Own::Text(Texts::Dictionary(array, values)))], None, None) => {
                let values = (0..values.len()).map(|at| Some(FieldValue::Text(values.value(at).into())));
                Self::Codes(Codes::of(array), values.collect())
            }
            ([(_, one)], None, None) => Self::Own(*one),
            (_, _, resource) => Self::Attribute(Box::new(Attribute { key: key.to_owned(), own, map, resource })),
        }
    }

    /// The value of a row.
    pub(super) fn get(&self, row: usize) -> Option<FieldValue<'a>> {
        match self {
            Self::Missing => None,
            Self::Codes(codes, values) => values[codes.get(row)?].clone(),
            Self::Texts(texts) => some_text(texts.get(row)?),
            Self::Ints(values) => Some(FieldValue::Int(values[row])),
            Self::Ids(ids) => ids.hex(row).map(|hex| FieldValue::Text(hex.into())),
            Self::Root(parents) => Some(FieldValue::Bool(parents.bytes(row).iter().all(|b| *b == 0))),
            Self::Own(own) => own.get(row),
            Self::Attribute(attribute) => attribute.get(row),
        }
    }
}

/// What free text searches in a block: the name and all text attributes.
#[derive(Debug)]
struct FreeText<'a> {
    name: Option<Texts<'a>>,
    columns: Vec<Own<'a>>,
    map: Option<MapAccess<'a>>,
}

impl<'a> FreeText<'a> {
    fn new(block: Block<'a>) -> Self {
        match block {
            Block::Head(batch) => {
                let text = batch.attributes.columns().iter().filter(|c| c.values.ty() == AttrType::Str);
                Self { name: Some(Texts::Column(&batch.name)), columns: text.map(Own::Sparse).collect(), map: None }
            }
            Block::File(batch) => {
                let schema = batch.schema_ref();
                let text = schema.fields().iter().zip(batch.columns()).filter_map(|(field, column)| {
                    promoted_key(field.name()).filter(|(_, ty)| *ty == AttrType::Str)?;
                    Own::of(column, AttrType::Str)
                });
                Self { name: batch.column_by_name(NAME).and_then(Texts::of), columns: text.collect(), map: MapAccess::of(batch) }
            }
        }
    }
}

/// The fields a filter asks for, over one block.
#[derive(Debug)]
pub(super) struct View<'a> {
    fields: Vec<(Field, Access<'a>)>,
    text: Option<FreeText<'a>>,
}

impl<'a> View<'a> {
    pub(super) fn new(block: Block<'a>, fields: &[Field], text: bool) -> Self {
        Self { fields: fields.iter().map(|f| (f.clone(), Access::new(block, f))).collect(), text: text.then(|| FreeText::new(block)) }
    }

    pub(super) fn access(&self, field: &Field) -> &Access<'a> {
        self.fields.iter().find(|(known, _)| known == field).map_or(&Access::Missing, |(_, access)| access)
    }
}

/// One row of a [`View`].
#[derive(Debug, Clone, Copy)]
pub(super) struct ViewRow<'v, 'a> {
    pub(super) view: &'v View<'a>,
    pub(super) row: usize,
}

impl Row for ViewRow<'_, '_> {
    fn get(&self, field: &Field) -> Option<FieldValue<'_>> {
        self.view.access(field).get(self.row)
    }

    fn any_text(&self, found: &mut dyn FnMut(&str) -> bool) -> bool {
        let Some(text) = &self.view.text else { return false };
        if text.name.and_then(|n| n.get(self.row)).is_some_and(&mut *found) {
            return true;
        }
        for column in &text.columns {
            if let Some(FieldValue::Text(value)) = column.get(self.row)
                && found(&value)
            {
                return true;
            }
        }
        let mut mapped = text.map.iter().flat_map(|map| map.entries(self.row));
        mapped.any(|(_, ty, value)| ty == AttrType::Str && found(value))
    }
}

/// A row that has one field only: to test each distinct value of a column once.
#[derive(Debug)]
pub(super) struct OneField<'a> {
    pub(super) field: &'a Field,
    pub(super) value: Option<FieldValue<'a>>,
}

impl Row for OneField<'_> {
    fn get(&self, field: &Field) -> Option<FieldValue<'_>> {
        if field == self.field { self.value.clone() } else { None }
    }

    fn any_text(&self, _found: &mut dyn FnMut(&str) -> bool) -> bool {
        false
    }
}
