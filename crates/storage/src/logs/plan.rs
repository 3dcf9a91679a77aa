//! A filter over blocks of rows: what to read, what to skip, which rows stay.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType, UInt8Type};
use skopos_model::{AttrType, Severity, TraceId};
use skopos_query::filter::{CompiledFilter, Field, FieldValue, Filter, Node, Test, Value, attribute_keys};
use skopos_query::{QueryError, TimeRange};

use super::Resources;
use super::bloom::id_token;
use super::body_test::BodyTest;
use super::open::{Block, OpenFile, dictionary};
use super::record::{BlockRecord, Filtered, resource_attribute};
use super::schema::Kind;
use crate::error::StorageError;

/// Columns of a message.
pub(super) const BODY_KINDS: [Kind; 5] = [Kind::Template, Kind::Vars, Kind::Hex, Kind::Uuid, Kind::Tail];

/// Answers by dictionary value: 0 not asked yet, 1 no, 2 yes, 3 absent.
#[derive(Debug, Default)]
struct ByValue {
    values: Option<ArrayRef>,
    answers: Vec<u8>,
}

impl ByValue {
    /// Makes the answers those of this dictionary. The array is kept, so that its address stays its own.
    fn of(&mut self, values: &ArrayRef) -> &mut Vec<u8> {
        if !self.values.as_ref().is_some_and(|known| known.to_data().ptr_eq(&values.to_data())) {
            self.values = Some(ArrayRef::clone(values));
            self.answers = vec![0; values.len()];
        }
        &mut self.answers
    }
}

#[derive(Debug)]
enum Part {
    And(Vec<Part>),
    Or(Vec<Part>),
    Not(Box<Part>),
    Body(Box<BodyTest>),
    /// A text column that repeats.
    Repeating(Field, Test, Kind, ByValue),
    Level(Test, Box<[u8; 256]>),
    TraceIs(Vec<TraceId>),
    /// Record's attribute, else the resource's.
    Attribute(Field, Test, Vec<ByValue>),
    /// Anything else, row by row.
    Other(Node),
}

/// A filter ready to run over files. Holds answers found so far: one for each running query.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) compiled: CompiledFilter,
    /// Conjuncts that read small columns.
    cheap: Vec<Part>,
    /// Conjuncts that read messages.
    costly: Vec<Part>,
    services: Vec<Test>,
    /// For each conjunct about trace ids: a block holds one of these.
    trace_tokens: Vec<Vec<u64>>,
    /// A block holds all of these.
    text_tokens: Vec<u64>,
    pub(super) range: TimeRange,
    /// Only this stream.
    pub(super) stream: Option<u64>,
    /// Only these streams.
    pub(super) streams: Option<Arc<HashSet<u64>>>,
}

impl Plan {
    pub(super) fn new(filter: &Filter, range: TimeRange) -> Result<Self, QueryError> {
        let compiled = CompiledFilter::new(filter)?;
        let mut plan = Self {
            compiled,
            cheap: Vec::new(),
            costly: Vec::new(),
            services: Vec::new(),
            trace_tokens: Vec::new(),
            text_tokens: Vec::new(),
            range,
            stream: None,
            streams: None,
        };
        let conjuncts = match plan.compiled.node() {
            Node::And(all) => all.clone(),
            one => vec![one.clone()],
        };
        for node in &conjuncts {
            if let Node::Field(Field::Service, test) = node {
                // Runs of rows say their service.
                plan.services.push(test.clone());
                continue;
            }
            let part = Part::new(node);
            match &part {
                Part::Body(test) => plan.text_tokens.extend_from_slice(&test.probe.page),
                Part::TraceIs(ids) => plan.trace_tokens.push(ids.iter().map(|id| id_token(&id.0)).collect()),
                _ => {}
            }
            if part.reads_body() { plan.costly.push(part) } else { plan.cheap.push(part) }
        }
        Ok(plan)
    }

    /// The tests of levels, when only services and levels decide.
    pub(super) fn only_levels(&self) -> Option<Vec<&Test>> {
        if !self.costly.is_empty() || self.stream.is_some() || self.streams.is_some() {
            return None;
        }
        self.cheap.iter().map(|part| if let Part::Level(test, _) = part { Some(test) } else { None }).collect()
    }

    /// Whether streams and times alone decide.
    pub(super) fn takes_all(&self) -> bool {
        self.cheap.is_empty() && self.costly.is_empty() && self.services.is_empty()
    }

    pub(super) fn takes_stream(&self, stream: u64) -> bool {
        self.stream.is_none_or(|s| s == stream) && self.streams.as_ref().is_none_or(|all| all.contains(&stream))
    }

    pub(super) fn takes_service(&self, service: &str) -> bool {
        let value = FieldValue::Text(service.into());
        self.services.iter().all(|test| test.matches_value(&Field::Service, &value))
    }

    /// Whether the file may hold a row that is taken.
    pub(super) fn may_take(&self, file: &OpenFile) -> Result<bool, StorageError> {
        for tokens in &self.trace_tokens {
            let mut any = false;
            for token in tokens {
                any |= file.may_hold(&file.directory.trace, std::slice::from_ref(token))?;
            }
            if !any {
                return Ok(false);
            }
        }
        file.may_hold(&file.directory.text, &self.text_tokens)
    }

    /// The blocks that may hold rows that are taken, with the rows of each by position.
    pub(super) fn blocks(&self, file: &OpenFile) -> Result<Vec<(usize, Vec<u32>)>, StorageError> {
        if !self.may_take(file)? {
            return Ok(Vec::new());
        }
        let mut found: Vec<(usize, Vec<u32>)> = Vec::new();
        let restricted = !self.services.is_empty() || self.stream.is_some() || self.streams.is_some();
        let services: Vec<bool> = file.directory.services.iter().map(|s| self.takes_service(s)).collect();
        let runs = file
            .directory
            .runs
            .iter()
            .filter(|run| services[run.service] && self.takes_stream(run.stream) && self.range.overlaps(run.time_min, run.time_max));
        let ranges: Vec<_> =
            if restricted { runs.map(|run| run.start..run.start + run.rows).collect() } else { std::iter::once(0..file.rows()).collect() };
        let mut next = 0;
        for (number, block) in file.blocks.iter().enumerate() {
            let (time_min, time_max) = file.directory.blocks[number];
            let end = block.start + block.rows;
            while next < ranges.len() && ranges[next].end <= block.start {
                next += 1;
            }
            if !self.range.overlaps(time_min, time_max) {
                continue;
            }
            let mut rows = Vec::new();
            for range in ranges[next..].iter().take_while(|r| r.start < end) {
                let (from, to) = (range.start.max(block.start), range.end.min(end));
                rows.extend((from - block.start) as u32..(to - block.start) as u32);
            }
            if !rows.is_empty() && self.block_may_take(file, number)? {
                found.push((number, rows));
            }
        }
        Ok(found)
    }

    fn block_may_take(&self, file: &OpenFile, number: usize) -> Result<bool, StorageError> {
        for tokens in &self.trace_tokens {
            let mut any = false;
            for token in tokens {
                any |= file.block_may_hold(&file.directory.trace, number, std::slice::from_ref(token))?;
            }
            if !any {
                return Ok(false);
            }
        }
        file.block_may_hold(&file.directory.text, number, &self.text_tokens)
    }

    /// Columns that the first and the second look at a block read.
    pub(super) fn kinds(&self, file: &OpenFile, blocks: &[usize]) -> (Vec<Kind>, Vec<Kind>) {
        let (mut first, mut second) = (BTreeSet::new(), BTreeSet::new());
        self.cheap.iter().for_each(|part| part.kinds(file, &mut first));
        self.costly.iter().for_each(|part| part.kinds(file, &mut second));
        let inside = |number: &usize| {
            let (min, max) = file.directory.blocks[*number];
            self.range.contains(min) && self.range.contains(max)
        };
        if !blocks.iter().all(inside) {
            if self.cheap.is_empty() {
                second.insert(Kind::Time)
            } else {
                first.insert(Kind::Time)
            };
        }
        (first.into_iter().collect(), second.into_iter().collect())
    }

    pub(super) fn has_cheap(&self) -> bool {
        !self.cheap.is_empty()
    }

    pub(super) fn has_costly(&self) -> bool {
        !self.costly.is_empty()
    }

    /// Keeps rows whose time is in range, as far as the block has times.
    pub(super) fn retain_times(&self, block: &Block, rows: &mut Vec<u32>) {
        let (min, max) = block.file.directory.blocks[block.number];
        if self.range.contains(min) && self.range.contains(max) {
            return;
        }
        if let Some(times) = block.get(Kind::Time).and_then(|t| t.as_primitive_opt::<TimestampNanosecondType>()) {
            rows.retain(|row| self.range.contains(times.value(*row as usize)));
        }
    }

    pub(super) fn retain_cheap(&mut self, block: &Block, rows: &mut Vec<u32>, resources: &Resources) {
        self.cheap.iter_mut().for_each(|part| part.retain(block, rows, resources));
    }

    pub(super) fn retain_costly(&mut self, block: &Block, rows: &mut Vec<u32>, resources: &Resources) {
        self.costly.iter_mut().for_each(|part| part.retain(block, rows, resources));
    }
}

impl Part {
    fn new(node: &Node) -> Self {
        match node {
            Node::And(all) => Self::And(all.iter().map(Self::new).collect()),
            Node::Or(any) => Self::Or(any.iter().map(Self::new).collect()),
            Node::Not(inner) => Self::Not(Box::new(Self::new(inner))),
            Node::Text(needle) => Self::Body(Box::new(BodyTest::containing(needle))),
            Node::Field(field, test) => match field {
                Field::Body if !matches!(test, Test::Exists) => Self::Body(Box::new(BodyTest::new(test))),
                Field::Service => Self::Repeating(field.clone(), test.clone(), Kind::Service, ByValue::default()),
                Field::Environment => Self::Repeating(field.clone(), test.clone(), Kind::Environment, ByValue::default()),
                Field::Scope => Self::Repeating(field.clone(), test.clone(), Kind::ScopeName, ByValue::default()),
                Field::Name => Self::Repeating(field.clone(), test.clone(), Kind::EventName, ByValue::default()),
                Field::Level => Self::Level(test.clone(), Box::new([0; 256])),
                Field::TraceId => match trace_ids(test) {
                    Some(ids) => Self::TraceIs(ids),
                    None => Self::Other(node.clone()),
                },
                Field::Attribute(_) => {
                    let caches = attribute_keys(field).iter().map(|_| ByValue::default()).collect();
                    Self::Attribute(field.clone(), test.clone(), caches)
                }
                _ => Self::Other(node.clone()),
            },
        }
    }

    fn reads_body(&self) -> bool {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().any(Self::reads_body),
            Self::Not(inner) => inner.reads_body(),
            Self::Body(_) => true,
            _ => false,
        }
    }

    fn kinds(&self, file: &OpenFile, out: &mut BTreeSet<Kind>) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.kinds(file, out)),
            Self::Not(inner) => inner.kinds(file, out),
            Self::Body(_) => out.extend(BODY_KINDS),
            Self::Repeating(_, _, kind, _) => {
                out.insert(*kind);
            }
            Self::Level(..) => out.extend([Kind::SeverityNumber, Kind::SeverityText]),
            Self::TraceIs(_) => {
                out.insert(Kind::TraceId);
            }
            Self::Attribute(field, ..) => attribute_kinds(field, file, out),
            Self::Other(node) => node_kinds(node, file, out),
        }
    }

    fn retain(&mut self, block: &Block, rows: &mut Vec<u32>, resources: &Resources) {
        if rows.is_empty() {
            return;
        }
        match self {
            Self::And(parts) => parts.iter_mut().for_each(|part| part.retain(block, rows, resources)),
            Self::Or(parts) => {
                let mut left = std::mem::take(rows);
                for part in parts {
                    let mut taken = left.clone();
                    part.retain(block, &mut taken, resources);
                    subtract(&mut left, &taken);
                    rows.extend(taken);
                }
                rows.sort_unstable();
            }
            Self::Not(inner) => {
                let mut taken = rows.clone();
                inner.retain(block, &mut taken, resources);
                subtract(rows, &taken);
            }
            Self::Body(test) => test.retain(block, rows),
            Self::Repeating(field, test, kind, by_value) => {
                let Some(array) = block.get(*kind) else { return rows.clear() };
                let Some((keys, values, values_array)) = dictionary(array) else { return rows.clear() };
                let answers = by_value.of(values_array);
                rows.retain(|row| {
                    let row = *row as usize;
                    array.is_valid(row) && {
                        let answer = &mut answers[keys[row] as usize];
                        if *answer == 0 {
                            let text = values.value(keys[row] as usize);
                            *answer = 1 + u8::from(
                                (!text.is_empty() || *field == Field::Service) && test.matches_value(field, &FieldValue::Text(text.into())),
                            );
                        }
                        *answer == 2
                    }
                });
            }
            Self::Level(test, answers) => {
                let Some(numbers) = block.get(Kind::SeverityNumber).and_then(|n| n.as_primitive_opt::<UInt8Type>()) else { return rows.clear() };
                rows.retain(|row| {
                    let number = numbers.value(*row as usize);
                    if number == 0 {
                        let word = block.text(Kind::SeverityText, *row as usize).and_then(Severity::from_text);
                        return test.matches_level(word.unwrap_or(Severity::Unspecified));
                    }
                    let answer = &mut answers[usize::from(number)];
                    if *answer == 0 {
                        *answer = 1 + u8::from(test.matches_level(Severity::from_number(number)));
                    }
                    *answer == 2
                });
            }
            Self::TraceIs(ids) => {
                let Some(array) = block.get(Kind::TraceId).and_then(|t| t.as_fixed_size_binary_opt()) else { return rows.clear() };
                rows.retain(|row| array.is_valid(*row as usize) && ids.iter().any(|id| id.0 == array.value(*row as usize)));
            }
            Self::Attribute(field, test, caches) => retain_attribute(field, test, caches, block, rows, resources),
            Self::Other(node) => rows.retain(|row| node.matches(&Filtered(&BlockRecord::new(block, *row as usize, resources)))),
        }
    }
}

/// Removes the rows of `taken` (a part of `rows`, both ascending).
fn subtract(rows: &mut Vec<u32>, taken: &[u32]) {
    let mut taken = taken.iter().peekable();
    rows.retain(|row| {
        while taken.next_if(|t| *t < row).is_some() {}
        taken.next_if_eq(&row).is_none()
    });
}

/// The ids of `trace_id:a,b`.
fn trace_ids(test: &Test) -> Option<Vec<TraceId>> {
    let Test::Equal(values) = test else { return None };
    values
        .iter()
        .map(|value| if let Value::Text(text) = value { TraceId::from_hex(text.as_bytes()).filter(|id| !id.is_none()) } else { None })
        .collect()
}

fn attribute_kinds(field: &Field, file: &OpenFile, out: &mut BTreeSet<Kind>) {
    let keys = attribute_keys(field);
    let promoted = file.columns.iter().filter(|c| c.column.attribute.as_ref().is_some_and(|(key, _)| keys.contains(&key.as_str())));
    out.extend(promoted.map(|c| c.kind));
    out.extend([Kind::Attributes, Kind::AttributeTypes, Kind::Resource]);
}

/// Columns a field is read from.
pub(super) fn field_kinds(field: &Field, file: &OpenFile, out: &mut BTreeSet<Kind>) {
    match field {
        Field::Service => out.extend([Kind::Service]),
        Field::Level => out.extend([Kind::SeverityNumber, Kind::SeverityText]),
        Field::Body => out.extend(BODY_KINDS),
        Field::TraceId => out.extend([Kind::TraceId]),
        Field::SpanId => out.extend([Kind::SpanId]),
        Field::Name => out.extend([Kind::EventName]),
        Field::Environment => out.extend([Kind::Resource]),
        Field::Scope => out.extend([Kind::ScopeName]),
        Field::Status | Field::Attribute(_) => attribute_kinds(field, file, out),
        Field::Kind | Field::Duration | Field::Root => {}
    }
}

fn node_kinds(node: &Node, file: &OpenFile, out: &mut BTreeSet<Kind>) {
    match node {
        Node::And(parts) | Node::Or(parts) => parts.iter().for_each(|part| node_kinds(part, file, out)),
        Node::Not(inner) => node_kinds(inner, file, out),
        Node::Text(_) => out.extend(BODY_KINDS),
        Node::Field(field, _) => field_kinds(field, file, out),
    }
}

/// The first key that the record has, or its resource, decides; a resource is asked once for each of its rows' values.
fn retain_attribute(field: &Field, test: &Test, caches: &mut [ByValue], block: &Block, rows: &mut Vec<u32>, resources: &Resources) {
    let keys = attribute_keys(field);
    let columns: Vec<Vec<(AttrType, &ArrayRef)>> = keys.iter().map(|key| promoted(block, key)).collect();
    let map_is_empty = block.get(Kind::Attributes).is_none_or(|m| m.null_count() == m.len());
    let resource = block.get(Kind::Resource).and_then(dictionary);
    if let Some((_, _, values)) = &resource {
        caches.iter_mut().for_each(|cache| {
            cache.of(values);
        });
    }
    rows.retain(|row| {
        let row = *row as usize;
        let record = BlockRecord::new(block, row, resources);
        for (number, key) in keys.iter().enumerate() {
            let own = if map_is_empty {
                columns[number].iter().find_map(|(ty, array)| value_at(*ty, array, row))
            } else {
                use super::record::Record;
                if let Some(value) = record.attribute(key) {
                    return test.matches_attribute(key, &value.field());
                }
                None
            };
            if let Some(value) = own {
                return test.matches_attribute(key, &value);
            }
            let Some((dictionary_keys, texts, _)) = &resource else { continue };
            let place = dictionary_keys[row] as usize;
            let answer = &mut caches[number].answers[place];
            if *answer == 0 {
                let resource = resources.get(texts.value(place));
                *answer = match resource_attribute(&resource, key) {
                    Some(value) => 1 + u8::from(test.matches_attribute(key, &value.field())),
                    None => 3,
                };
            }
            if *answer != 3 {
                return *answer == 2;
            }
        }
        false
    });
}

/// The columns of an attribute that the block has, in order of their types.
fn promoted<'b>(block: &'b Block, key: &str) -> Vec<(AttrType, &'b ArrayRef)> {
    let order = [AttrType::Str, AttrType::Int, AttrType::Double, AttrType::Bool, AttrType::Json];
    let column = |ty: &AttrType| {
        let column = block.file.columns.iter().find(|c| c.column.attribute.as_ref().is_some_and(|(k, t)| k == key && t == ty))?;
        Some((*ty, block.get(column.kind)?))
    };
    order.iter().filter_map(column).collect()
}

fn value_at(ty: AttrType, array: &ArrayRef, row: usize) -> Option<FieldValue<'_>> {
    if !array.is_valid(row) {
        return None;
    }
    Some(match ty {
        AttrType::Str | AttrType::Json => {
            let text = match dictionary(array) {
                Some((keys, values, _)) => values.value(keys[row] as usize),
                None => array.as_string_opt::<i32>()?.value(row),
            };
            FieldValue::Text(text.into())
        }
        AttrType::Int => FieldValue::Int(array.as_primitive_opt::<Int64Type>()?.value(row)),
        AttrType::Double => FieldValue::Double(array.as_primitive_opt::<Float64Type>()?.value(row)),
        AttrType::Bool => FieldValue::Bool(array.as_boolean_opt()?.value(row)),
    })
}
