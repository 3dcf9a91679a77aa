//! Rows of the sealed head in table order, column by column.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array, MapBuilder, MapFieldNames, StringArray,
    StringBuilder, StringDictionaryBuilder, TimestampNanosecondArray, UInt8Array, UInt64Array,
};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::{DataType, Int32Type};
use skopos_model::{AttrColumn, AttrType, AttrValue, AttrValues, LogBatch, Resource, Severity};

use super::bodies::{Bodies, BodyColumns};
use super::encode::{GROUP_BYTES_MAX, GroupSource};
use super::schema::{FileColumn, GROUP_ROWS_MAX, Kind};
use crate::error::StorageError;
use crate::head::HeadBatch;
use crate::table::Schema;

/// An attribute present in at least one of this many rows of a flush gets a column of its own.
const PROMOTE_ONE_IN: usize = 200;
/// And in at least this many rows, so that a handful of rows does not fill the schema.
const PROMOTE_ROWS_MIN: usize = 64;
/// Values looked at to tell whether they repeat.
const SAMPLE_ROWS: usize = 2048;
/// A value has to come this often on average.
const REPEATS_MIN: usize = 8;
/// No value in this row.
const ABSENT: u32 = u32::MAX;

type Batches = [Arc<HeadBatch<LogBatch>>];

/// An attribute and where its columns are in each batch.
#[derive(Debug)]
struct Attribute {
    key: Box<str>,
    ty: AttrType,
    rows: usize,
    /// (batch, column in it).
    at: Vec<(usize, usize)>,
}

#[derive(Debug)]
struct Stream {
    resource: Arc<Resource>,
    json: String,
}

/// Rows of batches in table order.
#[derive(Debug)]
pub(super) struct Gather<'a> {
    batches: &'a Batches,
    streams: Vec<Stream>,
    /// For each batch: index of a resource in it → index of the stream.
    stream_of: Vec<Vec<u32>>,
    /// (batch, row) in table order.
    order: Vec<(u32, u32)>,
    promoted: HashMap<i32, Attribute>,
    /// Those without a column, in order of key and type.
    rest: Vec<Attribute>,
    columns: Vec<FileColumn>,
}

/// A resource's attributes as a JSON object, typed.
pub(super) fn resource_json(resource: &Resource) -> String {
    let object: serde_json::Map<String, serde_json::Value> =
        resource.attributes.iter().map(|(key, value)| (key.to_string(), json_value(value))).collect();
    serde_json::Value::Object(object).to_string()
}

/// An attribute's value as JSON; numbers JSON has no word for become text.
pub(super) fn json_value(value: &AttrValue) -> serde_json::Value {
    use serde_json::Value;
    match value {
        AttrValue::Str(text) => Value::String(text.clone()),
        AttrValue::Int(number) => Value::from(*number),
        AttrValue::Double(number) => serde_json::Number::from_f64(*number).map_or_else(|| Value::String(number.to_string()), Value::Number),
        AttrValue::Bool(truth) => Value::Bool(*truth),
        AttrValue::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())),
    }
}

fn type_order(ty: AttrType) -> u8 {
    match ty {
        AttrType::Str => 0,
        AttrType::Int => 1,
        AttrType::Double => 2,
        AttrType::Bool => 3,
        AttrType::Json => 4,
    }
}

impl<'a> Gather<'a> {
    /// Sorts the rows and decides which attributes get columns.
    pub(super) fn new(batches: &'a Batches, schema: &Schema) -> Self {
        let mut streams: Vec<Stream> = Vec::new();
        let mut known: HashMap<(u64, &str), u32> = HashMap::new();
        let mut stream_of: Vec<Vec<u32>> = Vec::with_capacity(batches.len());
        for batch in batches {
            let of = batch.batch.resources.iter().map(|resource| {
                *known.entry((resource.id, &*resource.service_name)).or_insert_with(|| {
                    streams.push(Stream { resource: Arc::clone(resource), json: resource_json(resource) });
                    streams.len() as u32 - 1
                })
            });
            stream_of.push(of.collect());
        }
        let mut by_name: Vec<u32> = (0..streams.len() as u32).collect();
        by_name.sort_by_key(|s| (&streams[*s as usize].resource.service_name, streams[*s as usize].resource.id));
        let mut rank = vec![0u32; streams.len()];
        by_name.iter().enumerate().for_each(|(place, s)| rank[*s as usize] = place as u32);
        let order = sorted(batches, &stream_of, &rank);
        let (promoted, rest) = attributes(batches, schema, order.len());
        let mut gather = Self { batches, streams, stream_of, order, promoted, rest, columns: Vec::new() };
        let columns = schema.columns().into_iter().filter_map(|column| {
            let attribute = gather.promoted.get(&column.id);
            if column.attribute.is_some() && attribute.is_none() {
                return None;
            }
            let repeats = attribute.is_some_and(|a| gather.repeats(a));
            FileColumn::new(column, repeats)
        });
        gather.columns = columns.collect();
        gather
    }

    pub(super) fn columns(&self) -> &[FileColumn] {
        &self.columns
    }

    /// Row groups: ranges of rows in table order.
    pub(super) fn groups(&self) -> Vec<Range<usize>> {
        let mut groups = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (at, (batch, row)) in self.order.iter().enumerate() {
            let length = self.batches[*batch as usize].batch.body.get_bytes(*row as usize).len();
            if at - start >= GROUP_ROWS_MAX || (bytes + length > GROUP_BYTES_MAX && at > start) {
                groups.push(start..at);
                (start, bytes) = (at, 0);
            }
            bytes += length;
        }
        if start < self.order.len() {
            groups.push(start..self.order.len());
        }
        groups
    }

    /// The rows of one group.
    pub(super) fn group(&self, rows: Range<usize>) -> GatherGroup<'_> {
        GatherGroup { gather: self, rows, body: None, types: None }
    }

    /// Whether an attribute's values repeat in a sample.
    fn repeats(&self, attribute: &Attribute) -> bool {
        let mut seen = HashSet::new();
        let mut sampled = 0;
        for (batch, column) in &attribute.at {
            let (AttrValues::Str(texts) | AttrValues::Json(texts)) = &self.batches[*batch].batch.attributes.columns()[*column].values else {
                return true;
            };
            // A slice of each batch: neighbours repeat more than the whole does.
            for at in 0..texts.len().min(SAMPLE_ROWS / 16) {
                seen.insert(texts.get_bytes(at));
                sampled += 1;
            }
            if sampled >= SAMPLE_ROWS {
                break;
            }
        }
        seen.len() * REPEATS_MIN <= sampled.max(REPEATS_MIN)
    }
}

fn sorted(batches: &Batches, stream_of: &[Vec<u32>], rank: &[u32]) -> Vec<(u32, u32)> {
    // Counting sort by stream keeps the order of arrival, the sort by time is stable: equal times stay in WAL order.
    let mut starts = vec![0usize; rank.len() + 1];
    for (batch, of) in batches.iter().zip(stream_of) {
        for resource in &batch.batch.resource {
            starts[rank[of[*resource as usize] as usize] as usize + 1] += 1;
        }
    }
    for at in 1..starts.len() {
        starts[at] += starts[at - 1];
    }
    let mut next = starts.clone();
    let mut order = vec![(0u32, 0u32); starts.last().copied().unwrap_or(0)];
    for (number, (batch, of)) in batches.iter().zip(stream_of).enumerate() {
        for (row, resource) in batch.batch.resource.iter().enumerate() {
            let place = &mut next[rank[of[*resource as usize] as usize] as usize];
            order[*place] = (number as u32, row as u32);
            *place += 1;
        }
    }
    for run in starts.windows(2) {
        order[run[0]..run[1]].sort_by_key(|(batch, row)| batches[*batch as usize].batch.time[*row as usize]);
    }
    order
}

fn attributes(batches: &Batches, schema: &Schema, rows: usize) -> (HashMap<i32, Attribute>, Vec<Attribute>) {
    let mut all: HashMap<(&str, AttrType), Attribute> = HashMap::new();
    for (number, batch) in batches.iter().enumerate() {
        for (index, column) in batch.batch.attributes.columns().iter().enumerate() {
            let ty = column.values.ty();
            let entry = all.entry((&column.key, ty)).or_insert_with(|| Attribute { key: column.key.clone(), ty, rows: 0, at: Vec::new() });
            entry.rows += column.rows.len();
            entry.at.push((number, index));
        }
    }
    // The most frequent first, so that a full schema has the right ones; names decide ties, so that it is repeatable.
    let mut all: Vec<Attribute> = all.into_values().collect();
    all.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.key.cmp(&b.key)).then_with(|| type_order(a.ty).cmp(&type_order(b.ty))));
    let (mut promoted, mut rest) = (HashMap::new(), Vec::new());
    for attribute in all {
        let frequent = attribute.rows >= PROMOTE_ROWS_MIN && attribute.rows * PROMOTE_ONE_IN >= rows;
        let column = if frequent { schema.promote(&attribute.key, attribute.ty) } else { schema.promoted(&attribute.key, attribute.ty) };
        match column {
            Some(column) => {
                promoted.insert(column.id, attribute);
            }
            None => rest.push(attribute),
        }
    }
    rest.sort_by(|a, b| a.key.cmp(&b.key).then_with(|| type_order(a.ty).cmp(&type_order(b.ty))));
    (promoted, rest)
}

/// One row group of [`Gather`].
pub(super) struct GatherGroup<'a> {
    gather: &'a Gather<'a>,
    rows: Range<usize>,
    body: Option<BodyColumns>,
    types: Option<ArrayRef>,
}

impl GatherGroup<'_> {
    fn order(&self) -> &[(u32, u32)] {
        &self.gather.order[self.rows.clone()]
    }

    fn each<'s, T>(&'s self, value: impl Fn(&'s LogBatch, usize) -> T + 's) -> impl ExactSizeIterator<Item = T> + 's {
        self.order().iter().map(move |(batch, row)| value(&self.gather.batches[*batch as usize].batch, *row as usize))
    }

    fn stream_keys(&self) -> Int32Array {
        Int32Array::from_iter_values(self.order().iter().map(|(batch, row)| {
            let resource = self.gather.batches[*batch as usize].batch.resource[*row as usize];
            self.gather.stream_of[*batch as usize][resource as usize] as i32
        }))
    }

    fn by_stream<'s>(&'s self, text: impl Fn(&'s Stream) -> Option<String>) -> ArrayRef {
        let values: StringArray = self.gather.streams.iter().map(text).collect();
        Arc::new(DictionaryArray::<Int32Type>::new(self.stream_keys(), Arc::new(values)))
    }

    /// Repeating text; empty is null.
    fn texts<'s>(&'s self, text: impl Fn(&'s LogBatch, usize) -> &'s str + 's) -> ArrayRef {
        let mut builder = StringDictionaryBuilder::<Int32Type>::new();
        for text in self.each(text) {
            if text.is_empty() { builder.append_null() } else { builder.append_value(text) }
        }
        Arc::new(builder.finish())
    }

    fn ids<'s, const N: usize>(&'s self, id: impl Fn(&'s LogBatch, usize) -> [u8; N] + 's) -> ArrayRef {
        let mut bytes = Vec::with_capacity(self.rows.len() * N);
        let mut valid = Vec::with_capacity(self.rows.len());
        for id in self.each(id) {
            bytes.extend_from_slice(&id);
            valid.push(id != [0; N]);
        }
        Arc::new(FixedSizeBinaryArray::new(N as i32, Buffer::from_vec(bytes), Some(NullBuffer::from(valid))))
    }

    fn body(&mut self) -> &mut BodyColumns {
        if self.body.is_none() {
            let mut bodies = Bodies::new(self.rows.len());
            self.each(|batch, row| batch.body.get_bytes(row)).for_each(|body| bodies.push_body(body));
            self.body = Some(bodies.finish());
        }
        self.body.as_mut().expect("just made")
    }

    fn promoted(&self, attribute: &Attribute, column: &FileColumn) -> ArrayRef {
        // Row → place of its value, for each batch that has the attribute at all.
        let mut places: Vec<Option<(&AttrColumn, Vec<u32>)>> = Vec::new();
        places.resize_with(self.gather.batches.len(), || None);
        for (batch, index) in &attribute.at {
            let data = &self.gather.batches[*batch].batch;
            let source = &data.attributes.columns()[*index];
            let mut dense = vec![ABSENT; data.len()];
            source.rows.iter().enumerate().for_each(|(place, row)| dense[*row as usize] = place as u32);
            places[*batch] = Some((source, dense));
        }
        let values = self.order().iter().map(|(batch, row)| {
            let (source, dense) = places[*batch as usize].as_ref()?;
            let place = dense[*row as usize];
            (place != ABSENT).then_some((&source.values, place as usize))
        });
        match attribute.ty {
            AttrType::Str | AttrType::Json => {
                let texts = values.map(|found| match found {
                    Some((AttrValues::Str(texts) | AttrValues::Json(texts), place)) => Some(texts.get(place)),
                    _ => None,
                });
                if column.repeats {
                    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
                    texts.for_each(|text| builder.append_option(text));
                    Arc::new(builder.finish())
                } else {
                    Arc::new(texts.collect::<StringArray>())
                }
            }
            AttrType::Int => Arc::new(
                values.map(|found| if let Some((AttrValues::Int(v), place)) = found { Some(v[place]) } else { None }).collect::<Int64Array>(),
            ),
            AttrType::Double => Arc::new(
                values.map(|found| if let Some((AttrValues::Double(v), place)) = found { Some(v[place]) } else { None }).collect::<Float64Array>(),
            ),
            AttrType::Bool => Arc::new(
                values.map(|found| if let Some((AttrValues::Bool(v), place)) = found { Some(v[place]) } else { None }).collect::<BooleanArray>(),
            ),
        }
    }

    /// Attributes without a column: the map, and their types where they are not all text.
    fn rest(&self) -> Result<(ArrayRef, ArrayRef), StorageError> {
        // For each batch the entries of each row, in order of key and type.
        let mut entries: Vec<Vec<(u32, u32, u32)>> = vec![Vec::new(); self.gather.batches.len()];
        for (number, attribute) in self.gather.rest.iter().enumerate() {
            for (batch, index) in &attribute.at {
                let column = &self.gather.batches[*batch].batch.attributes.columns()[*index];
                entries[*batch].extend(column.rows.iter().enumerate().map(|(place, row)| (*row, number as u32, place as u32)));
            }
        }
        entries.iter_mut().for_each(|of_batch| of_batch.sort_unstable());
        let columns: Vec<HashMap<usize, usize>> = self.gather.rest.iter().map(|a| a.at.iter().copied().collect()).collect();
        let mut map = map_builder();
        let mut types = StringDictionaryBuilder::<Int32Type>::new();
        let mut letters = String::new();
        for (batch, row) in self.order() {
            let of_batch = &entries[*batch as usize];
            let first = of_batch.partition_point(|e| e.0 < *row);
            letters.clear();
            for (_, number, place) in of_batch[first..].iter().take_while(|e| e.0 == *row) {
                let attribute = &self.gather.rest[*number as usize];
                let index = columns[*number as usize][&(*batch as usize)];
                let values = &self.gather.batches[*batch as usize].batch.attributes.columns()[index].values;
                map.keys().append_value(&attribute.key);
                map.values().append_value(values.get(*place as usize).to_text());
                letters.push(type_letter(attribute.ty));
            }
            append_map_row(&mut map, &mut types, &letters)?;
        }
        Ok((Arc::new(map.finish()), Arc::new(types.finish())))
    }
}

/// A builder of the type the attribute column has.
pub(super) fn map_builder() -> MapBuilder<StringBuilder, StringBuilder> {
    let names = MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
}

/// Ends a row of the map: null when it has no entry; types are null when all are text.
fn append_map_row(
    map: &mut MapBuilder<StringBuilder, StringBuilder>,
    types: &mut StringDictionaryBuilder<Int32Type>,
    letters: &str,
) -> Result<(), StorageError> {
    map.append(!letters.is_empty()).map_err(|e| StorageError::Format { what: "cannot build attribute map", reason: e.to_string() })?;
    if letters.bytes().all(|c| c == b's') {
        types.append_null()
    } else {
        types.append_value(letters)
    }
    Ok(())
}

/// Type of an attribute in the map, as `attribute_types` writes it.
pub(super) fn type_letter(ty: AttrType) -> char {
    match ty {
        AttrType::Str => 's',
        AttrType::Int => 'i',
        AttrType::Double => 'd',
        AttrType::Bool => 'b',
        AttrType::Json => 'j',
    }
}

/// A map array with the field ids of the file's column.
pub(super) fn with_type(array: ArrayRef, data_type: &DataType) -> Result<ArrayRef, StorageError> {
    if array.data_type() == data_type {
        return Ok(array);
    }
    let data = array.to_data().into_builder().data_type(data_type.clone());
    let child = array.to_data().child_data()[0].clone();
    let DataType::Map(entries, _) = data_type else { return Ok(array) };
    let child = child.into_builder().data_type(entries.data_type().clone()).build();
    let format = |e: arrow::error::ArrowError| StorageError::Format { what: "cannot build attribute map", reason: e.to_string() };
    let data = data.child_data(vec![child.map_err(format)?]).build().map_err(format)?;
    Ok(arrow::array::make_array(data))
}

/// The severity text worth keeping: none when it is what the number says.
fn kept_severity(batch: &LogBatch, row: usize) -> &str {
    let text = batch.severity_text.get(row);
    if text == Severity::from_number(batch.severity_number[row]).as_str() { "" } else { text }
}

impl GroupSource for GatherGroup<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn array(&mut self, column: &FileColumn) -> Result<ArrayRef, StorageError> {
        Ok(match column.kind {
            Kind::Time => Arc::new(TimestampNanosecondArray::from_iter_values(self.each(|b, row| b.time[row]))),
            Kind::ObservedDelta => Arc::new(Int64Array::from_iter_values(self.each(|b, row| b.observed[row].wrapping_sub(b.time[row])))),
            Kind::Service => self.by_stream(|s| Some(s.resource.service_name.to_string())),
            Kind::Stream => Arc::new(UInt64Array::from_iter_values(self.each(|b, row| b.resources[b.resource[row] as usize].id))),
            Kind::Resource => self.by_stream(|s| Some(s.json.clone())),
            Kind::Environment => self.by_stream(|s| s.resource.environment().map(|e| e.into_owned())),
            Kind::SeverityNumber => Arc::new(UInt8Array::from_iter_values(self.each(|b, row| b.severity_number[row]))),
            Kind::SeverityText => self.texts(kept_severity),
            Kind::TraceId => self.ids(|b, row| b.trace_id[row].0),
            Kind::SpanId => self.ids(|b, row| b.span_id[row].0),
            Kind::Flags => Arc::new(UInt8Array::from_iter_values(self.each(|b, row| b.flags[row]))),
            Kind::EventName => self.texts(|b, row| b.event_name.get(row)),
            Kind::ScopeName => self.texts(|b, row| &b.scopes[b.scope[row] as usize].name),
            Kind::ScopeVersion => self.texts(|b, row| &b.scopes[b.scope[row] as usize].version),
            Kind::Seq => Arc::new(UInt64Array::from_iter_values(self.order().iter().map(|(batch, _)| self.gather.batches[*batch as usize].seq))),
            Kind::Row => Arc::new(Int32Array::from_iter_values(self.order().iter().map(|(_, row)| *row as i32))),
            Kind::Template => Arc::clone(&self.body().template),
            Kind::Vars => Arc::clone(&self.body().vars),
            Kind::Hex => Arc::clone(&self.body().hex),
            Kind::Uuid => Arc::clone(&self.body().uuid),
            Kind::Tail => Arc::clone(&self.body().tail),
            Kind::Attributes => {
                // Asked for in order: the messages have been written.
                self.body = None;
                let (map, types) = self.rest()?;
                self.types = Some(types);
                with_type(map, column.field.data_type())?
            }
            Kind::AttributeTypes => match self.types.take() {
                Some(types) => types,
                None => self.rest()?.1,
            },
            Kind::Promoted(id) => match self.gather.promoted.get(&id) {
                Some(attribute) => self.promoted(attribute, column),
                None => arrow::array::new_null_array(column.field.data_type(), self.rows.len()),
            },
        })
    }
}
