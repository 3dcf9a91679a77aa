//! The public table `spans` for SQL: the same columns as the DuckDB view.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int64Array, MapArray, RecordBatch, RecordBatchOptions, StringArray, StringBuilder, StructArray, TimestampNanosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use skopos_model::{AttrType, SpanKind, StatusCode};
use skopos_query::QueryContext;

use super::access::{Block, Ids, MapAccess, Own, Texts, promoted_key};
use super::columns::{
    ATTRIBUTE_TYPES, ATTRIBUTES, DURATION, ENVIRONMENT, EVENTS, FLAGS, KIND, LINKS, NAME, PARENT, RESOURCE, SCOPE, SCOPE_VERSION, SERVICE, SPAN_ID,
    START, STATUS, STATUS_MESSAGE, TRACE_ID, TRACE_STATE, public_schema,
};
use super::file::SpanFile;
use super::filter::SpanFilter;
use super::read::{OpenFiles, read_group};
use super::write::format_error;
use crate::error::StorageError;
use crate::head::Snapshot;
use crate::scan::{BATCH_ROWS, map_type};
use skopos_model::SpanBatch;

/// Public name of the resource's attributes.
const RESOURCE_ATTRIBUTES: &str = "resource_attributes";

/// The base columns of a file that make up public columns.
fn base_columns(file: &SpanFile, columns: &[&str]) -> Vec<String> {
    // The start is there in any case: without any column a batch would not know its rows.
    let mut base = vec![START.to_owned()];
    for column in columns {
        match *column {
            RESOURCE_ATTRIBUTES => base.push(RESOURCE.to_owned()),
            ATTRIBUTES => {
                base.extend([ATTRIBUTES.to_owned(), ATTRIBUTE_TYPES.to_owned()]);
                base.extend(file.schema().fields().iter().map(|f| f.name().clone()).filter(|n| promoted_key(n).is_some()));
            }
            START => {}
            same => base.push(same.to_owned()),
        }
    }
    base
}

/// Scans head and files; see [`crate::scan::Scan::scan`].
pub(super) fn scan(
    snapshot: &Snapshot<SpanBatch>,
    files: &OpenFiles,
    columns: &[&str],
    filter: &Arc<SpanFilter>,
    ctx: &QueryContext,
    emit: &mut dyn FnMut(RecordBatch) -> Result<bool, StorageError>,
) -> Result<(), StorageError> {
    if filter.range.start >= filter.range.end {
        return Ok(());
    }
    let full = public_schema();
    let fields: Result<Vec<_>, _> = columns.iter().map(|c| full.field_with_name(c).cloned()).collect();
    let schema = Arc::new(Schema::new(fields.map_err(format_error("cannot scan spans"))?));
    let mut open = true;
    let mut send = |block: Block<'_>, rows: &[u32]| -> Result<bool, StorageError> {
        for rows in rows.chunks(BATCH_ROWS) {
            ctx.check()?;
            open = open && emit(batch(block, rows, &schema)?)?;
            if !open {
                break;
            }
        }
        Ok(open)
    };
    for meta in &snapshot.files {
        ctx.check()?;
        if !filter.range.overlaps(meta.file.time_min, meta.file.time_max) {
            ctx.stats.add_files(0, 1);
            continue;
        }
        let Some(file) = files.get(meta) else { continue };
        ctx.stats.add_files(1, 0);
        let output = base_columns(&file, columns);
        let go_on = files.guard(&file, || {
            for group in 0..file.groups() {
                let go_on = read_group(&file, group, filter, &output, ctx, &mut |batch| {
                    let rows: Vec<u32> = (0..batch.num_rows() as u32).collect();
                    send(Block::File(batch), &rows)
                })?;
                if !go_on {
                    return Ok(Some(()));
                }
            }
            Ok(None)
        })?;
        if go_on.is_some() {
            return Ok(());
        }
    }
    for head in &snapshot.batches {
        ctx.stats.add_rows(head.rows as u64);
        let block = Block::Head(&head.batch);
        let taken = filter.select(block);
        let rows: Vec<u32> = (0..head.batch.len()).filter(|row| taken.as_ref().is_none_or(|t| t[*row])).map(|r| r as u32).collect();
        if !send(block, &rows)? {
            return Ok(());
        }
    }
    Ok(())
}

fn texts(rows: &[u32], get: impl Fn(usize) -> Option<String>) -> ArrayRef {
    let mut out = StringBuilder::with_capacity(rows.len(), rows.len() * 16);
    for row in rows {
        out.append_option(get(*row as usize));
    }
    Arc::new(out.finish())
}

fn borrowed<'a>(rows: &[u32], get: impl Fn(usize) -> Option<&'a str>) -> ArrayRef {
    let mut out = StringBuilder::with_capacity(rows.len(), rows.len() * 16);
    for row in rows {
        out.append_option(get(*row as usize));
    }
    Arc::new(out.finish())
}

fn hex(rows: &[u32], ids: Ids<'_>) -> ArrayRef {
    texts(rows, |row| {
        let bytes = ids.bytes(row);
        if bytes.iter().all(|b| *b == 0) {
            return None;
        }
        let mut text = String::with_capacity(bytes.len() * 2);
        skopos_model::ids::write_hex(bytes, &mut text);
        Some(text)
    })
}

fn file_text(batch: &RecordBatch, name: &str, rows: &[u32]) -> ArrayRef {
    let column = batch.column_by_name(name).and_then(Texts::of);
    borrowed(rows, |row| column.and_then(|c| c.get(row)))
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A public column that is text as it is stored.
fn text(block: Block<'_>, name: &str, rows: &[u32]) -> ArrayRef {
    let batch = match block {
        Block::File(batch) => return file_text(batch, name, rows),
        Block::Head(batch) => batch,
    };
    let resource = |row: usize| &batch.resources[batch.resource[row] as usize];
    let scope = |row: usize| &batch.scopes[batch.scope[row] as usize];
    match name {
        SERVICE => borrowed(rows, |row| Some(&resource(row).service_name)),
        NAME => borrowed(rows, |row| Some(batch.name.get(row))),
        STATUS_MESSAGE => borrowed(rows, |row| some(batch.status_message.get(row))),
        TRACE_STATE => borrowed(rows, |row| some(batch.trace_state.get(row))),
        SCOPE => borrowed(rows, |row| some(&scope(row).name)),
        SCOPE_VERSION => borrowed(rows, |row| some(&scope(row).version)),
        EVENTS => borrowed(rows, |row| some(batch.events.get(row))),
        LINKS => borrowed(rows, |row| some(batch.links.get(row))),
        ENVIRONMENT => texts(rows, |row| resource(row).environment().filter(|e| !e.is_empty()).map(|e| e.into_owned())),
        _ => borrowed(rows, |_| None),
    }
}

/// Builds maps of text.
struct Maps {
    keys: StringBuilder,
    values: StringBuilder,
    offsets: Vec<i32>,
    entries: i32,
}

impl Maps {
    fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { keys: StringBuilder::new(), values: StringBuilder::new(), offsets, entries: 0 }
    }

    fn entry(&mut self, key: &str, value: &str) {
        self.keys.append_value(key);
        self.values.append_value(value);
        self.entries += 1;
    }

    fn end_row(&mut self) {
        self.offsets.push(self.entries);
    }

    fn finish(mut self) -> Result<ArrayRef, StorageError> {
        let DataType::Map(field, _) = map_type() else {
            return Err(StorageError::Format { what: "cannot build a map", reason: "its type is no map".to_owned() });
        };
        let DataType::Struct(fields) = field.data_type() else {
            return Err(StorageError::Format { what: "cannot build a map", reason: "it has no entries".to_owned() });
        };
        let arrays: Vec<ArrayRef> = vec![Arc::new(self.keys.finish()), Arc::new(self.values.finish())];
        let entries = StructArray::try_new(fields.clone(), arrays, None).map_err(format_error("cannot build a map"))?;
        let map = MapArray::try_new(Arc::clone(&field), OffsetBuffer::new(self.offsets.into()), entries, None, false);
        Ok(Arc::new(map.map_err(format_error("cannot build a map"))?))
    }
}

fn attributes(block: Block<'_>, rows: &[u32]) -> Result<ArrayRef, StorageError> {
    let mut maps = Maps::new(rows.len());
    let (own, map): (Vec<(&str, AttrType, Own<'_>)>, Option<MapAccess<'_>>) = match block {
        Block::Head(batch) => (batch.attributes.columns().iter().map(|c| (&*c.key, c.values.ty(), Own::Sparse(c))).collect(), None),
        Block::File(batch) => {
            let columns = batch.schema_ref().fields().iter().zip(batch.columns()).filter_map(|(field, column)| {
                let (key, ty) = promoted_key(field.name())?;
                Some((key, ty, Own::of(column, ty)?))
            });
            (columns.collect(), MapAccess::of(batch))
        }
    };
    let mut all: Vec<(&str, AttrType, String)> = Vec::new();
    for row in rows.iter().map(|row| *row as usize) {
        all.clear();
        all.extend(own.iter().filter_map(|(key, ty, own)| Some((*key, *ty, own.get(row)?.to_text().into_owned()))));
        all.extend(map.iter().flat_map(|m| m.entries(row)).map(|(key, ty, text)| (key, ty, text.to_owned())));
        // Keys of a map are unique: of one with several types the first type wins, as elsewhere.
        all.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        all.dedup_by(|later, kept| later.0 == kept.0);
        for (key, _, value) in &all {
            maps.entry(key, value);
        }
        maps.end_row();
    }
    maps.finish()
}

fn resource_attributes(block: Block<'_>, rows: &[u32]) -> Result<ArrayRef, StorageError> {
    // Each resource is taken apart once.
    let (flat, code): (Vec<Vec<(String, String)>>, Box<dyn Fn(usize) -> Option<usize> + '_>) = match block {
        Block::Head(batch) => {
            let flat = batch.resources.iter().map(|r| r.attributes.iter().map(|(k, v)| (k.to_string(), v.to_text().into_owned())).collect());
            (flat.collect(), Box::new(|row| Some(batch.resource[row] as usize)))
        }
        Block::File(batch) => match batch.column_by_name(RESOURCE).and_then(Texts::of) {
            Some(Texts::Dictionary(array, values)) => {
                let flat = (0..values.len()).map(|at| flatten(values.value(at)));
                (flat.collect(), Box::new(|row| usize::try_from(array.keys().value(row)).ok()))
            }
            _ => (Vec::new(), Box::new(|_| None)),
        },
    };
    let mut maps = Maps::new(rows.len());
    for row in rows {
        for (key, value) in code(*row as usize).and_then(|c| flat.get(c)).into_iter().flatten() {
            maps.entry(key, value);
        }
        maps.end_row();
    }
    maps.finish()
}

fn flatten(json: &str) -> Vec<(String, String)> {
    let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    parsed.into_iter().map(|(key, value)| (key, text(value))).collect()
}

fn batch(block: Block<'_>, rows: &[u32], schema: &SchemaRef) -> Result<RecordBatch, StorageError> {
    let numbers = |values: &[i64]| -> Vec<i64> { rows.iter().map(|row| values[*row as usize]).collect() };
    let words = |codes: &[u8], word: fn(u8) -> &'static str| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(word(codes[*row as usize]))).collect::<StringArray>())
    };
    let columns: Result<Vec<ArrayRef>, StorageError> = schema
        .fields()
        .iter()
        .map(|field| {
            Ok(match field.name().as_str() {
                TRACE_ID => hex(rows, block.trace_ids()),
                SPAN_ID => hex(rows, block.span_ids()),
                PARENT => hex(rows, block.parents()),
                KIND => words(block.kinds(), |k| SpanKind::from_number(k).as_str()),
                STATUS => words(block.statuses(), |s| StatusCode::from_number(s).as_str()),
                START => Arc::new(TimestampNanosecondArray::from(numbers(block.starts()))),
                DURATION => Arc::new(Int64Array::from(numbers(block.durations()))),
                FLAGS => Arc::new(Int64Array::from(match block {
                    Block::Head(batch) => rows.iter().map(|row| i64::from(batch.flags[*row as usize])).collect::<Vec<_>>(),
                    Block::File(_) => numbers(block.flags()),
                })),
                ATTRIBUTES => attributes(block, rows)?,
                RESOURCE_ATTRIBUTES => resource_attributes(block, rows)?,
                name => text(block, name, rows),
            })
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns?, &options).map_err(format_error("cannot build rows of spans"))
}
