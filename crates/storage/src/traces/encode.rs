//! Batches of the head as rows of a file.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanBuilder, DictionaryArray, FixedSizeBinaryArray, Float64Builder, Int32Array, Int64Array, Int64Builder, MapArray,
    RecordBatch, StringArray, StringBuilder, StructArray, TimestampNanosecondArray, UInt8Array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, SchemaRef};
use skopos_model::{AttrColumn, AttrType, AttrValue, AttrValues, Resource, SpanBatch, SpanId, StrColumn};

use super::columns::{
    ATTRIBUTE_TYPES, ATTRIBUTES, DURATION, ENVIRONMENT, EVENTS, FLAGS, KIND, LINKS, NAME, PARENT, RESOURCE, SCOPE, SCOPE_VERSION, SERVICE, SPAN_ID,
    START, STATUS, STATUS_MESSAGE, TRACE_ID, TRACE_STATE, arrow_schema, arrow_type, type_letter,
};
use super::order::{self, Key};
use super::write::{Origin, SpanWriter, format_error};
use crate::blob::Blobs;
use crate::error::StorageError;
use crate::head::HeadBatch;
use crate::table::{Column, ColumnType, NewFile, Schema};

/// An attribute gets a column of its own when at least one row in this many has it …
const PROMOTE_SHARE: usize = 100;
/// … and at least this many rows of a flush do: a small flush says little.
const PROMOTE_ROWS: usize = 32;
/// Longest attribute key that becomes a column's name, bytes.
const PROMOTE_KEY_BYTES: usize = 200;
/// No row.
const NONE: u32 = u32::MAX;

/// Text columns written from dictionaries: their values are few and known.
pub(super) fn is_dictionary(column: &Column) -> bool {
    [SERVICE, SCOPE, SCOPE_VERSION, ENVIRONMENT, RESOURCE].contains(&&*column.name)
}

/// Whether a key may name a column. One that ends like our own suffixes would be taken for another type.
fn may_promote(key: &str) -> bool {
    key.len() <= PROMOTE_KEY_BYTES && ![":int", ":double", ":bool", ":json"].iter().any(|s| key.ends_with(s))
}

/// Gives frequent attributes their columns.
fn promote(batches: &[Arc<HeadBatch<SpanBatch>>], schema: &Schema) {
    let mut counts: HashMap<(&str, AttrType), usize> = HashMap::new();
    for column in batches.iter().flat_map(|b| b.batch.attributes.columns()) {
        *counts.entry((&column.key, column.values.ty())).or_default() += column.rows.len();
    }
    let rows: usize = batches.iter().map(|b| b.rows).sum();
    let mut frequent: Vec<_> = counts.into_iter().filter(|(_, n)| *n >= PROMOTE_ROWS && n * PROMOTE_SHARE >= rows).collect();
    // The most frequent first, for columns are limited; then by name, so that equal input gives equal columns.
    frequent.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    for ((key, ty), _) in frequent {
        if may_promote(key) {
            schema.promote(key, ty);
        }
    }
}

/// A resource's attributes as JSON text, types kept.
pub(super) fn resource_json(resource: &Resource) -> String {
    let value = |v: &AttrValue| super::rows::attr_json(v);
    let map: serde_json::Map<String, serde_json::Value> = resource.attributes.iter().map(|(k, v)| (k.to_string(), value(v))).collect();
    serde_json::Value::Object(map).to_string()
}

/// Distinct resources and scopes over all batches.
struct Shared {
    services: ArrayRef,
    environments: ArrayRef,
    jsons: ArrayRef,
    scopes: ArrayRef,
    versions: ArrayRef,
    /// By batch: the number of each of its resources, and scopes.
    resource_codes: Vec<Vec<i32>>,
    scope_codes: Vec<Vec<i32>>,
}

impl Shared {
    fn new(batches: &[Arc<HeadBatch<SpanBatch>>]) -> Self {
        let mut resources: Vec<&Resource> = Vec::new();
        let mut known: HashMap<u64, i32> = HashMap::new();
        let mut scopes: Vec<(&str, &str)> = Vec::new();
        let mut known_scopes: HashMap<(&str, &str), i32> = HashMap::new();
        let (mut resource_codes, mut scope_codes) = (Vec::new(), Vec::new());
        for batch in batches.iter().map(|b| &b.batch) {
            let code = |r: &'_ Arc<Resource>| r.id;
            resource_codes.push(
                batch
                    .resources
                    .iter()
                    .map(|r| {
                        *known.entry(code(r)).or_insert_with(|| {
                            resources.push(r);
                            resources.len() as i32 - 1
                        })
                    })
                    .collect(),
            );
            scope_codes.push(
                batch
                    .scopes
                    .iter()
                    .map(|s| {
                        *known_scopes.entry((&s.name, &s.version)).or_insert_with(|| {
                            scopes.push((&s.name, &s.version));
                            scopes.len() as i32 - 1
                        })
                    })
                    .collect(),
            );
        }
        let none_if_empty = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            services: Arc::new(StringArray::from_iter_values(resources.iter().map(|r| &*r.service_name))),
            environments: Arc::new(resources.iter().map(|r| none_if_empty(&r.environment().unwrap_or_default())).collect::<StringArray>()),
            jsons: Arc::new(StringArray::from_iter_values(resources.iter().map(|r| resource_json(r)))),
            scopes: Arc::new(scopes.iter().map(|(name, _)| none_if_empty(name)).collect::<StringArray>()),
            versions: Arc::new(scopes.iter().map(|(_, version)| none_if_empty(version)).collect::<StringArray>()),
            resource_codes,
            scope_codes,
        }
    }
}

/// Sorts and writes the batches as one file. `None` when there are no rows.
pub(super) fn encode(batches: &[Arc<HeadBatch<SpanBatch>>], schema: &Schema, blobs: &dyn Blobs) -> Result<Option<NewFile>, StorageError> {
    promote(batches, schema);
    let mut keys = Vec::with_capacity(batches.iter().map(|b| b.rows).sum());
    for (at, batch) in batches.iter().enumerate() {
        let spans = &batch.batch;
        keys.extend((0..spans.len()).map(|row| Key {
            trace: u128::from_be_bytes(spans.trace_id[row].0),
            start: spans.start[row],
            span: u64::from_be_bytes(spans.span_id[row].0),
            batch: at as u32,
            row: row as u32,
        }));
    }
    let traces = order::traces(&mut keys);
    if traces.is_empty() {
        return Ok(None);
    }
    let used = |c: &Column| match &c.attribute {
        None => true,
        Some((key, ty)) => batches.iter().any(|b| b.batch.attributes.column(key, *ty).is_some()),
    };
    let columns: Vec<Column> = schema.columns().into_iter().filter(used).collect();
    let arrow = arrow_schema(&columns, is_dictionary);
    let origin =
        Origin { seq_min: batches.iter().map(|b| b.seq).min().unwrap_or(0), seq_max: batches.iter().map(|b| b.seq).max().unwrap_or(0), level: 0 };
    let mut writer: Option<SpanWriter> = None;
    let mut gather = Gather::new(batches, &columns);
    for group in order::cut(&traces) {
        let rows = order::group(&keys, group);
        let batch = gather.group(&rows, &columns, &arrow)?;
        let mut started = match writer.take() {
            Some(writer) => writer,
            None => SpanWriter::new(blobs, origin, columns.clone(), &batch)?,
        };
        started.write_group(&batch)?;
        writer = Some(started);
    }
    writer.map(|writer| writer.finish(origin)).transpose()
}

/// Turns chosen rows of the batches into Arrow columns.
struct Gather<'b> {
    batches: &'b [Arc<HeadBatch<SpanBatch>>],
    shared: Shared,
    /// Position of each batch's first row among all rows.
    offsets: Vec<usize>,
    /// Attribute columns without a column of their own, by batch.
    rest: Vec<Vec<&'b AttrColumn>>,
    /// Where a row goes in the group at hand; [`NONE`] when it is in another.
    place: Vec<u32>,
    /// For the attribute at hand and each row of the group: batch and position, or [`NONE`].
    slots: Vec<(u32, u32)>,
}

impl<'b> Gather<'b> {
    fn new(batches: &'b [Arc<HeadBatch<SpanBatch>>], columns: &[Column]) -> Self {
        let mut offsets = Vec::with_capacity(batches.len());
        let mut rows = 0;
        for batch in batches {
            offsets.push(rows);
            rows += batch.batch.len();
        }
        let own: std::collections::HashSet<(&str, AttrType)> =
            columns.iter().filter_map(|c| c.attribute.as_ref()).map(|(k, t)| (k.as_str(), *t)).collect();
        let rest =
            batches.iter().map(|b| b.batch.attributes.columns().iter().filter(|c| !own.contains(&(&*c.key, c.values.ty()))).collect()).collect();
        Self { batches, shared: Shared::new(batches), offsets, rest, place: vec![NONE; rows], slots: Vec::new() }
    }

    fn group(&mut self, rows: &[Key], columns: &[Column], schema: &SchemaRef) -> Result<RecordBatch, StorageError> {
        self.place.fill(NONE);
        for (place, key) in rows.iter().enumerate() {
            self.place[self.offsets[key.batch as usize] + key.row as usize] = place as u32;
        }
        let resource: Int32Array =
            rows.iter().map(|k| self.shared.resource_codes[k.batch as usize][self.spans(k).resource[k.row as usize] as usize]).collect();
        let scope: Int32Array =
            rows.iter().map(|k| self.shared.scope_codes[k.batch as usize][self.spans(k).scope[k.row as usize] as usize]).collect();
        let (map, types) = self.map(rows, columns)?;
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
        for column in columns {
            arrays.push(match (&column.attribute, column.name.as_str()) {
                (Some((key, ty)), _) => self.attribute(key, *ty, rows.len()),
                (None, TRACE_ID) => self.ids(rows, 16, |b, row| &b.trace_id[row].0, false)?,
                (None, SPAN_ID) => self.ids(rows, 8, |b, row| &b.span_id[row].0, false)?,
                (None, PARENT) => self.ids(rows, 8, |b, row| &b.parent_span_id[row].0, true)?,
                (None, SERVICE) => dictionary(&resource, &self.shared.services)?,
                (None, ENVIRONMENT) => dictionary(&resource, &self.shared.environments)?,
                (None, RESOURCE) => dictionary(&resource, &self.shared.jsons)?,
                (None, SCOPE) => dictionary(&scope, &self.shared.scopes)?,
                (None, SCOPE_VERSION) => dictionary(&scope, &self.shared.versions)?,
                (None, NAME) => self.text(rows, |b| &b.name, false),
                (None, STATUS_MESSAGE) => self.text(rows, |b| &b.status_message, true),
                (None, TRACE_STATE) => self.text(rows, |b| &b.trace_state, true),
                (None, EVENTS) => self.text(rows, |b| &b.events, true),
                (None, LINKS) => self.text(rows, |b| &b.links, true),
                (None, KIND) => Arc::new(self.numbers(rows, |b| &b.kind).into_iter().collect::<UInt8Array>()),
                (None, STATUS) => Arc::new(self.numbers(rows, |b| &b.status_code).into_iter().collect::<UInt8Array>()),
                (None, START) => Arc::new(TimestampNanosecondArray::from(self.numbers(rows, |b| &b.start))),
                (None, DURATION) => Arc::new(Int64Array::from(self.numbers(rows, |b| &b.duration))),
                (None, FLAGS) => Arc::new(self.numbers(rows, |b| &b.flags).into_iter().map(i64::from).collect::<Int64Array>()),
                (None, ATTRIBUTE_TYPES) => Arc::clone(&types),
                (None, ATTRIBUTES) => Arc::clone(&map),
                (None, _) => arrow::array::new_null_array(&arrow_type(column, is_dictionary(column)), rows.len()),
            });
        }
        RecordBatch::try_new(SchemaRef::clone(schema), arrays).map_err(format_error("cannot lay out spans"))
    }

    fn spans(&self, key: &Key) -> &'b SpanBatch {
        &self.batches[key.batch as usize].batch
    }

    fn numbers<T: Copy + 'b>(&self, rows: &[Key], column: impl Fn(&'b SpanBatch) -> &'b Vec<T>) -> Vec<T> {
        let columns: Vec<&'b Vec<T>> = self.batches.iter().map(|b| column(&b.batch)).collect();
        rows.iter().map(|k| columns[k.batch as usize][k.row as usize]).collect()
    }

    fn ids(&self, rows: &[Key], width: i32, id: impl Fn(&'b SpanBatch, usize) -> &'b [u8], nullable: bool) -> Result<ArrayRef, StorageError> {
        let mut bytes = Vec::with_capacity(rows.len() * width as usize);
        for key in rows {
            bytes.extend_from_slice(id(self.spans(key), key.row as usize));
        }
        let nulls = nullable.then(|| {
            NullBuffer::new(BooleanBuffer::collect_bool(rows.len(), |at| bytes[at * width as usize..][..width as usize] != SpanId::NONE.0[..]))
        });
        let array = FixedSizeBinaryArray::try_new(width, Buffer::from_vec(bytes), nulls).map_err(format_error("cannot lay out ids"))?;
        Ok(Arc::new(array))
    }

    fn text(&self, rows: &[Key], column: impl Fn(&'b SpanBatch) -> &'b StrColumn, nullable: bool) -> ArrayRef {
        let columns: Vec<&'b StrColumn> = self.batches.iter().map(|b| column(&b.batch)).collect();
        let mut out = StringBuilder::with_capacity(rows.len(), if nullable { 1 << 10 } else { rows.len() * 16 });
        for key in rows {
            match columns[key.batch as usize].get(key.row as usize) {
                "" if nullable => out.append_null(),
                text => out.append_value(text),
            }
        }
        Arc::new(out.finish())
    }

    fn attribute(&mut self, key: &str, ty: AttrType, rows: usize) -> ArrayRef {
        self.slots.clear();
        self.slots.resize(rows, (NONE, 0));
        let columns: Vec<Option<&'b AttrColumn>> = self.batches.iter().map(|b| b.batch.attributes.column(key, ty)).collect();
        for (batch, column) in columns.iter().enumerate() {
            let Some(column) = column else { continue };
            for (position, row) in column.rows.iter().enumerate() {
                let place = self.place[self.offsets[batch] + *row as usize];
                if place != NONE {
                    self.slots[place as usize] = (batch as u32, position as u32);
                }
            }
        }
        let values = |slot: &(u32, u32)| (slot.0 != NONE).then(|| columns[slot.0 as usize].map(|c| &c.values)).flatten();
        macro_rules! build {
            ($builder:expr, $($values:pat => $value:expr),+) => {{
                let mut out = $builder;
                for slot in &self.slots {
                    let at = slot.1 as usize;
                    let value = match values(slot) {
                        $(Some($values) => Some($value(at)),)+
                        _ => None,
                    };
                    out.append_option(value);
                }
                Arc::new(out.finish())
            }};
        }
        match ty {
            AttrType::Str | AttrType::Json => {
                build!(StringBuilder::with_capacity(rows, rows * 8), AttrValues::Str(c) | AttrValues::Json(c) => |at| c.get(at))
            }
            AttrType::Int => build!(Int64Builder::with_capacity(rows), AttrValues::Int(v) => |at: usize| v[at]),
            AttrType::Double => build!(Float64Builder::with_capacity(rows), AttrValues::Double(v) => |at: usize| v[at]),
            AttrType::Bool => build!(BooleanBuilder::with_capacity(rows), AttrValues::Bool(v) => |at: usize| v[at]),
        }
    }

    /// The map of attributes without a column of their own, and their types.
    fn map(&self, rows: &[Key], columns: &[Column]) -> Result<(ArrayRef, ArrayRef), StorageError> {
        let mut entries: Vec<(u32, u32, u32, u32)> = Vec::new();
        for (batch, rest) in self.rest.iter().enumerate() {
            for (nth, column) in rest.iter().enumerate() {
                for (position, row) in column.rows.iter().enumerate() {
                    let place = self.place[self.offsets[batch] + *row as usize];
                    if place != NONE {
                        entries.push((place, batch as u32, nth as u32, position as u32));
                    }
                }
            }
        }
        entries.sort_unstable();
        let mut keys = StringBuilder::with_capacity(entries.len(), entries.len() * 12);
        let mut values = StringBuilder::with_capacity(entries.len(), entries.len() * 12);
        let mut types = StringBuilder::new();
        let mut offsets: Vec<i32> = Vec::with_capacity(rows.len() + 1);
        let mut letters = String::new();
        let mut at = 0;
        for place in 0..rows.len() as u32 {
            offsets.push(at as i32);
            letters.clear();
            while let Some((_, batch, nth, position)) = entries.get(at).filter(|e| e.0 == place) {
                let column = self.rest[*batch as usize][*nth as usize];
                let position = *position as usize;
                keys.append_value(&column.key);
                match &column.values {
                    AttrValues::Str(texts) | AttrValues::Json(texts) => values.append_value(texts.get(position)),
                    other => values.append_value(other.get(position).to_text()),
                }
                letters.push(type_letter(column.values.ty()));
                at += 1;
            }
            types.append_option(letters.bytes().any(|l| l != b's').then_some(&letters));
        }
        offsets.push(at as i32);
        let column = columns.iter().find(|c| c.ty == ColumnType::MapVarchar);
        let entry = column.map(|c| arrow_type(c, false));
        let Some(DataType::Map(field, _)) = entry else {
            return Err(StorageError::Format { what: "cannot lay out spans", reason: "no attribute map".to_owned() });
        };
        let DataType::Struct(fields) = field.data_type() else {
            return Err(StorageError::Format { what: "cannot lay out spans", reason: "the map has no entries".to_owned() });
        };
        let arrays: Vec<ArrayRef> = vec![Arc::new(keys.finish()), Arc::new(values.finish())];
        let entries = StructArray::try_new(fields.clone(), arrays, None).map_err(format_error("cannot lay out attributes"))?;
        let map =
            MapArray::try_new(field, OffsetBuffer::new(offsets.into()), entries, None, false).map_err(format_error("cannot lay out attributes"))?;
        Ok((Arc::new(map), Arc::new(types.finish())))
    }
}

fn dictionary(codes: &Int32Array, values: &ArrayRef) -> Result<ArrayRef, StorageError> {
    // A missing value is a null code, not the code of a null: readers count on it.
    let codes: Int32Array =
        if values.null_count() == 0 { codes.clone() } else { codes.iter().map(|code| code.filter(|c| values.is_valid(*c as usize))).collect() };
    let array = DictionaryArray::try_new(codes, Arc::clone(values)).map_err(format_error("cannot lay out spans"))?;
    Ok(Arc::new(array))
}
