//! The public table `logs` for SQL, in batches.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, MapBuilder, MapFieldNames, RecordBatch, RecordBatchOptions, StringBuilder, StringDictionaryBuilder, TimestampNanosecondArray,
    UInt8Array,
};
use arrow::datatypes::{DataType, Field as ArrowField, Int32Type, Schema as ArrowSchema, SchemaRef, TimeUnit};
use skopos_model::{AttrValue, Severity};
use skopos_query::filter::Filter;
use skopos_query::{QueryContext, TimeRange};

use super::LogsTable;
use super::open::{Block, OpenFile};
use super::plan::{BODY_KINDS, Plan};
use super::record::{BlockRecord, Filtered, HeadRecord, Record};
use super::schema::{Kind, PUBLIC};
use super::search::head_takes;
use crate::error::StorageError;
use crate::scan::{BATCH_ROWS, Scan, map_type};

fn dictionary_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn data_type(column: &str) -> DataType {
    match column {
        "time" | "observed_time" => DataType::Timestamp(TimeUnit::Nanosecond, None),
        "severity_number" | "trace_flags" => DataType::UInt8,
        "attributes" | "resource_attributes" => map_type(),
        "body" | "trace_id" | "span_id" => DataType::Utf8,
        _ => dictionary_type(),
    }
}

fn is_nullable(column: &str) -> bool {
    !matches!(
        column,
        "time"
            | "observed_time"
            | "service_name"
            | "severity_number"
            | "severity_text"
            | "body"
            | "trace_flags"
            | "attributes"
            | "resource_attributes"
    )
}

fn kinds(column: &str, file: &OpenFile, out: &mut BTreeSet<Kind>) {
    match column {
        "time" => out.extend([Kind::Time]),
        "observed_time" => out.extend([Kind::Time, Kind::ObservedDelta]),
        "service_name" => out.extend([Kind::Service]),
        "severity_number" => out.extend([Kind::SeverityNumber]),
        "severity_text" => out.extend([Kind::SeverityNumber, Kind::SeverityText]),
        "body" => out.extend(BODY_KINDS),
        "trace_id" => out.extend([Kind::TraceId]),
        "span_id" => out.extend([Kind::SpanId]),
        "trace_flags" => out.extend([Kind::Flags]),
        "event_name" => out.extend([Kind::EventName]),
        "scope_name" => out.extend([Kind::ScopeName]),
        "scope_version" => out.extend([Kind::ScopeVersion]),
        "attributes" => {
            out.extend([Kind::Attributes, Kind::AttributeTypes]);
            out.extend(file.columns.iter().filter(|c| c.column.attribute.is_some()).map(|c| c.kind));
        }
        _ => out.extend([Kind::Resource]),
    }
}

fn format_error(error: arrow::error::ArrowError) -> StorageError {
    StorageError::Format { what: "cannot build rows of logs", reason: error.to_string() }
}

fn map_builder() -> MapBuilder<StringBuilder, StringBuilder> {
    let names = MapFieldNames { entry: "entries".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
}

fn texts<'r, R: Record>(records: &'r [R], text: impl Fn(&'r R) -> &'r str) -> ArrayRef {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    for text in records.iter().map(text) {
        if text.is_empty() { builder.append_null() } else { builder.append_value(text) }
    }
    Arc::new(builder.finish())
}

fn always<'r, R: Record>(records: &'r [R], text: impl Fn(&'r R) -> &'r str) -> ArrayRef {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    records.iter().map(text).for_each(|text| builder.append_value(text));
    Arc::new(builder.finish())
}

/// The severity as the view shows it: the sender's word, else the number's name.
fn severity_text<R: Record>(record: &R) -> &str {
    match record.severity_text() {
        "" => Severity::from_number(record.severity_number()).as_str(),
        text => text,
    }
}

fn ids<'r, R: Record>(records: &'r [R], id: impl Fn(&'r R) -> Option<String>) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(records.len(), records.len() * 32);
    records.iter().for_each(|record| builder.append_option(id(record)));
    Arc::new(builder.finish())
}

fn array<R: Record>(column: &str, records: &[R]) -> Result<ArrayRef, StorageError> {
    Ok(match column {
        "time" => Arc::new(TimestampNanosecondArray::from_iter_values(records.iter().map(|r| r.key().time))),
        "observed_time" => Arc::new(TimestampNanosecondArray::from_iter_values(records.iter().map(Record::observed))),
        "service_name" => always(records, R::service),
        "severity_number" => Arc::new(UInt8Array::from_iter_values(records.iter().map(Record::severity_number))),
        "severity_text" => always(records, severity_text),
        "body" => {
            let mut builder = StringBuilder::with_capacity(records.len(), records.len() * 128);
            records.iter().for_each(|record| builder.append_value(record.body()));
            Arc::new(builder.finish())
        }
        "trace_id" => ids(records, |r| Some(r.trace_id()).filter(|id| !id.is_none()).map(|id| id.to_hex())),
        "span_id" => ids(records, |r| Some(r.span_id()).filter(|id| !id.is_none()).map(|id| id.to_hex())),
        "trace_flags" => Arc::new(UInt8Array::from_iter_values(records.iter().map(Record::flags))),
        "event_name" => texts(records, R::event_name),
        "scope_name" => texts(records, R::scope_name),
        "scope_version" => texts(records, R::scope_version),
        "environment" => {
            let mut builder = StringDictionaryBuilder::<Int32Type>::new();
            records.iter().for_each(|record| builder.append_option(record.resource().environment()));
            Arc::new(builder.finish())
        }
        "attributes" => {
            let mut map = map_builder();
            let mut seen: Vec<String> = Vec::new();
            for record in records {
                seen.clear();
                record.each_attribute(&mut |key, value| {
                    // A map's keys are unique; of several types of one key the first is shown.
                    if !seen.iter().any(|known| known == key) {
                        map.keys().append_value(key);
                        map.values().append_value(value.text());
                        seen.push(key.to_owned());
                    }
                });
                map.append(true).map_err(format_error)?;
            }
            Arc::new(map.finish())
        }
        "resource_attributes" => {
            let mut map = map_builder();
            for record in records {
                for (key, value) in &record.resource().attributes {
                    map.keys().append_value(key);
                    map.values().append_value(AttrValue::to_text(value));
                }
                map.append(true).map_err(format_error)?;
            }
            Arc::new(map.finish())
        }
        other => return Err(StorageError::Format { what: "cannot build rows of logs", reason: format!("no column {other:?}") }),
    })
}

fn batch<R: Record>(columns: &[&str], schema: &SchemaRef, records: &[R]) -> Result<RecordBatch, StorageError> {
    let arrays = columns.iter().map(|column| array(column, records)).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options).map_err(format_error)
}

impl Scan for LogsTable {
    fn public_schema(&self) -> SchemaRef {
        let fields: Vec<_> = PUBLIC.iter().map(|name| ArrowField::new(*name, data_type(name), is_nullable(name))).collect();
        Arc::new(ArrowSchema::new(fields))
    }

    fn scan(
        &self,
        columns: &[&str],
        filter: &Filter,
        range: TimeRange,
        ctx: &QueryContext,
        emit: &mut dyn FnMut(RecordBatch) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        let fields: Vec<_> = columns.iter().map(|name| ArrowField::new(*name, data_type(name), is_nullable(name))).collect();
        let schema: SchemaRef = Arc::new(ArrowSchema::new(fields));
        let snapshot = self.head.snapshot();
        let mut plan = Plan::new(filter, range)?;
        for head in &snapshot.batches {
            ctx.check()?;
            ctx.stats.add_rows(head.rows as u64);
            let records = (0..head.rows).map(|row| HeadRecord { batch: &head.batch, seq: head.seq, row });
            let records: Vec<_> =
                records.filter(|r| head_takes(&plan, r) && (plan.compiled.is_all() || plan.compiled.matches(&Filtered(r)))).collect();
            for part in records.chunks(BATCH_ROWS) {
                if !emit(batch(columns, &schema, part)?)? {
                    return Ok(());
                }
            }
        }
        let extra = |file: &OpenFile| {
            let mut wanted = BTreeSet::new();
            columns.iter().for_each(|column| kinds(column, file, &mut wanted));
            wanted.into_iter().collect()
        };
        for meta in &snapshot.files {
            let mut visit = |block: &Block, rows: &[u32]| {
                let records: Vec<_> = rows.iter().map(|row| BlockRecord::new(block, *row as usize, &self.resources)).collect();
                emit(batch(columns, &schema, &records)?)
            };
            if !self.scan_file(&mut plan, meta, &extra, ctx, &mut visit)? {
                return Ok(());
            }
        }
        Ok(())
    }
}
