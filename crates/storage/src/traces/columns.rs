//! Columns of `spans_data` and of the public view `spans`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use skopos_model::AttrType;

use crate::scan::map_type;
use crate::table::{Column, ColumnType, Schema, View};

/// Base table.
pub(crate) const TABLE: &str = "spans_data";
/// Most attributes with a column of their own: a sparse column costs about a nanosecond a row.
pub(super) const PROMOTED_MAX: usize = 120;

pub(super) const TRACE_ID: &str = "trace_id";
pub(super) const SPAN_ID: &str = "span_id";
pub(super) const PARENT: &str = "parent_span_id";
pub(super) const SERVICE: &str = "service_name";
pub(super) const NAME: &str = "name";
pub(super) const KIND: &str = "kind";
pub(super) const START: &str = "start_time";
pub(super) const DURATION: &str = "duration_ns";
pub(super) const STATUS: &str = "status_code";
pub(super) const STATUS_MESSAGE: &str = "status_message";
pub(super) const TRACE_STATE: &str = "trace_state";
pub(super) const FLAGS: &str = "flags";
pub(super) const SCOPE: &str = "scope_name";
pub(super) const SCOPE_VERSION: &str = "scope_version";
pub(super) const ENVIRONMENT: &str = "environment";
/// Resource attributes as JSON text, types kept.
pub(super) const RESOURCE: &str = "resource";
pub(super) const EVENTS: &str = "events";
pub(super) const LINKS: &str = "links";
/// One letter for each entry of the map, null when all are text: a map of text alone would lose the types.
pub(super) const ATTRIBUTE_TYPES: &str = "attribute_types";
pub(super) const ATTRIBUTES: &str = "attributes";

/// Fixed columns, in order. Add-only: the position is the `column_id` and the Parquet `field_id`.
const FIXED: &[(&str, ColumnType)] = &[
    (TRACE_ID, ColumnType::Blob),
    (SPAN_ID, ColumnType::Blob),
    (PARENT, ColumnType::Blob),
    (SERVICE, ColumnType::Varchar),
    (NAME, ColumnType::Varchar),
    (KIND, ColumnType::UInt8),
    (START, ColumnType::TimestampNs),
    (DURATION, ColumnType::Int64),
    (STATUS, ColumnType::UInt8),
    (STATUS_MESSAGE, ColumnType::Varchar),
    (TRACE_STATE, ColumnType::Varchar),
    (FLAGS, ColumnType::Int64),
    (SCOPE, ColumnType::Varchar),
    (SCOPE_VERSION, ColumnType::Varchar),
    (ENVIRONMENT, ColumnType::Varchar),
    (RESOURCE, ColumnType::Varchar),
    (EVENTS, ColumnType::Varchar),
    (LINKS, ColumnType::Varchar),
    (ATTRIBUTE_TYPES, ColumnType::Varchar),
    (ATTRIBUTES, ColumnType::MapVarchar),
];

/// Columns that have a value in every row.
const REQUIRED: &[&str] = &[TRACE_ID, SPAN_ID, SERVICE, NAME, KIND, START, DURATION, STATUS, FLAGS, RESOURCE, ATTRIBUTES];

/// The schema of `spans_data` without any promoted column.
pub(super) fn schema() -> Schema {
    Schema::new(TABLE, PROMOTED_MAX, FIXED)
}

/// Text with few distinct values, held as dictionary in memory: `Int32` codes.
pub(super) fn dictionary_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn field(name: &str, ty: DataType, nullable: bool, id: i32) -> Field {
    Field::new(name, ty, nullable).with_metadata(HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]))
}

/// The Arrow type a column is written with; `dictionary` says whether text comes as dictionary.
pub(super) fn arrow_type(column: &Column, dictionary: bool) -> DataType {
    match column.ty {
        ColumnType::Varchar if dictionary => dictionary_type(),
        ColumnType::Varchar => DataType::Utf8,
        ColumnType::Blob => DataType::FixedSizeBinary(if column.name == TRACE_ID { 16 } else { 8 }),
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::UInt8 => DataType::UInt8,
        ColumnType::Int32 => DataType::Int32,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::UInt64 => DataType::UInt64,
        ColumnType::Double => DataType::Float64,
        ColumnType::TimestampNs => DataType::Timestamp(TimeUnit::Nanosecond, None),
        ColumnType::TimestampMs => DataType::Timestamp(TimeUnit::Millisecond, None),
        ColumnType::MapVarchar => {
            let entries = Fields::from(vec![field("key", DataType::Utf8, false, column.id + 1), field("value", DataType::Utf8, true, column.id + 2)]);
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
        }
        ColumnType::Int32List => DataType::List(Arc::new(field("element", DataType::Int32, false, column.id + 1))),
        ColumnType::DoubleList => DataType::List(Arc::new(field("element", DataType::Float64, false, column.id + 1))),
    }
}

/// The Arrow schema files with these columns are written with.
pub(super) fn arrow_schema(columns: &[Column], dictionary: impl Fn(&Column) -> bool) -> SchemaRef {
    let fields = columns.iter().map(|c| {
        let ty = arrow_type(c, dictionary(c));
        field(&c.name, ty, !REQUIRED.contains(&&*c.name), c.id)
    });
    Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
}

/// The public table: what SQL sees, here and in DuckDB.
pub(crate) fn public_schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(ArrowSchema::new(vec![
        text(TRACE_ID, false),
        text(SPAN_ID, false),
        text(PARENT, true),
        text(SERVICE, false),
        text(NAME, false),
        text(KIND, false),
        Field::new(START, DataType::Timestamp(TimeUnit::Nanosecond, None), false),
        Field::new(DURATION, DataType::Int64, false),
        text(STATUS, false),
        text(STATUS_MESSAGE, true),
        text(TRACE_STATE, true),
        Field::new(FLAGS, DataType::Int64, false),
        text(SCOPE, true),
        text(SCOPE_VERSION, true),
        text(ENVIRONMENT, true),
        Field::new("resource_attributes", map_type(), false),
        text(EVENTS, true),
        text(LINKS, true),
        Field::new(ATTRIBUTES, map_type(), false),
    ]))
}

fn quoted(text: &str, quote: char) -> String {
    let doubled = text.replace(quote, &format!("{quote}{quote}"));
    format!("{quote}{doubled}{quote}")
}

fn number_words(column: &str, words: &[(u8, &str)], otherwise: &str) -> String {
    let mut sql = format!("CASE {column}");
    for (number, word) in words {
        let _ = write!(sql, " WHEN {number} THEN '{word}'");
    }
    let _ = write!(sql, " ELSE '{otherwise}' END");
    sql
}

/// The view `spans` in DuckDB's dialect. Older files keep a key in the map that newer ones have a column for, so
/// the public map is made of both.
pub(super) fn view(columns: &[Column]) -> View {
    // A key that came with several types has several columns; a row has one of them.
    let mut keys: Vec<(&str, Vec<String>)> = Vec::new();
    for column in columns {
        let Some((key, ty)) = &column.attribute else { continue };
        let name = quoted(&column.name, '"');
        let value = if matches!(ty, AttrType::Str | AttrType::Json) { name } else { format!("CAST({name} AS VARCHAR)") };
        match keys.iter_mut().find(|(known, _)| known == key) {
            Some((_, values)) => values.push(value),
            None => keys.push((key, vec![value])),
        }
    }
    let attributes = if keys.is_empty() {
        ATTRIBUTES.to_owned()
    } else {
        let entries: Vec<String> =
            keys.iter().map(|(key, values)| format!("{{'key': {}, 'value': COALESCE({})}}", quoted(key, '\''), values.join(", "))).collect();
        format!("map_concat({ATTRIBUTES}, map_from_entries(list_filter([{}], lambda x: x.value IS NOT NULL)))", entries.join(", "))
    };
    let kinds = [(1, "internal"), (2, "server"), (3, "client"), (4, "producer"), (5, "consumer")];
    let columns: Vec<String> = public_schema().fields().iter().map(|f| f.name().clone()).collect();
    let select: Vec<String> = columns
        .iter()
        .map(|name| match name.as_str() {
            TRACE_ID | SPAN_ID | PARENT => format!("lower(hex({name})) AS {name}"),
            KIND => format!("{} AS {name}", number_words(KIND, &kinds, "unspecified")),
            STATUS => format!("{} AS {name}", number_words(STATUS, &[(1, "ok"), (2, "error")], "unset")),
            "resource_attributes" => {
                format!("CAST(CAST({RESOURCE} AS JSON) AS MAP(VARCHAR, VARCHAR)) AS {name}")
            }
            ATTRIBUTES => format!("{attributes} AS {name}"),
            _ => name.clone(),
        })
        .collect();
    View { name: "spans", sql: format!("SELECT {} FROM {{DUCKLAKE_CATALOG}}.{TABLE}", select.join(", ")), columns }
}

/// The letter that stands for a type in [`ATTRIBUTE_TYPES`].
pub(super) fn type_letter(ty: AttrType) -> char {
    match ty {
        AttrType::Str => 's',
        AttrType::Int => 'i',
        AttrType::Double => 'd',
        AttrType::Bool => 'b',
        AttrType::Json => 'j',
    }
}

/// Reads [`type_letter`]; a letter of a later version reads as text.
pub(super) fn type_of_letter(letter: u8) -> AttrType {
    match letter {
        b'i' => AttrType::Int,
        b'd' => AttrType::Double,
        b'b' => AttrType::Bool,
        b'j' => AttrType::Json,
        _ => AttrType::Str,
    }
}
