//! Columns of `logs_data`, how each is encoded, and the public view over them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use skopos_model::AttrType;

use crate::table::{Column, ColumnType, Schema, View};

/// Base table.
pub(super) const TABLE: &str = "logs_data";
/// Rows of a page, and so of a block of the index.
pub(super) const BLOCK_ROWS: usize = 8_192;
/// Most rows of a row group.
pub(super) const GROUP_ROWS_MAX: usize = 64 * BLOCK_ROWS;
/// Most promoted attributes: each costs 1.4 ns a row when encoding, present or not.
pub(super) const PROMOTED_MAX: usize = 120;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Time,
    ObservedDelta,
    Service,
    Stream,
    Resource,
    Environment,
    SeverityNumber,
    SeverityText,
    TraceId,
    SpanId,
    Flags,
    EventName,
    ScopeName,
    ScopeVersion,
    Seq,
    Row,
    Template,
    Vars,
    Hex,
    Uuid,
    Tail,
    Attributes,
    AttributeTypes,
    /// A promoted attribute, by column id.
    Promoted(i32),
}

/// Largest dictionary of a promoted text, bytes.
const DICTIONARY_BYTES_MAX: usize = 64 << 10;

/// The fixed columns in order; ids follow from it, so that new ones go to the end.
const FIXED: &[(&str, ColumnType, Kind)] = &[
    ("time", ColumnType::TimestampNs, Kind::Time),
    ("observed_delta", ColumnType::Int64, Kind::ObservedDelta),
    ("service_name", ColumnType::Varchar, Kind::Service),
    ("stream", ColumnType::UInt64, Kind::Stream),
    ("resource", ColumnType::Varchar, Kind::Resource),
    ("environment", ColumnType::Varchar, Kind::Environment),
    ("severity_number", ColumnType::UInt8, Kind::SeverityNumber),
    ("severity_text", ColumnType::Varchar, Kind::SeverityText),
    ("trace_id", ColumnType::Blob, Kind::TraceId),
    ("span_id", ColumnType::Blob, Kind::SpanId),
    ("flags", ColumnType::UInt8, Kind::Flags),
    ("event_name", ColumnType::Varchar, Kind::EventName),
    ("scope_name", ColumnType::Varchar, Kind::ScopeName),
    ("scope_version", ColumnType::Varchar, Kind::ScopeVersion),
    ("seq", ColumnType::UInt64, Kind::Seq),
    ("row", ColumnType::Int32, Kind::Row),
    ("template", ColumnType::Varchar, Kind::Template),
    ("vars", ColumnType::Varchar, Kind::Vars),
    ("hex", ColumnType::Blob, Kind::Hex),
    ("uuid", ColumnType::Blob, Kind::Uuid),
    ("tail", ColumnType::Varchar, Kind::Tail),
    ("attributes", ColumnType::MapVarchar, Kind::Attributes),
    ("attribute_types", ColumnType::Varchar, Kind::AttributeTypes),
];

/// The schema of the base table.
pub(super) fn schema() -> Schema {
    let fixed: Vec<_> = FIXED.iter().map(|(name, ty, _)| (*name, *ty)).collect();
    Schema::new(TABLE, PROMOTED_MAX, &fixed)
}

/// What a column of the base table holds.
pub(super) fn kind_of(column: &Column) -> Option<Kind> {
    match &column.attribute {
        Some(_) => Some(Kind::Promoted(column.id)),
        None => FIXED.iter().find(|(name, ..)| *name == column.name).map(|(.., kind)| *kind),
    }
}

/// A column as a file has it.
#[derive(Debug, Clone)]
pub(super) struct FileColumn {
    pub(super) column: Column,
    pub(super) kind: Kind,
    pub(super) field: FieldRef,
    /// Whether values repeat, so that a dictionary pays: of promoted text.
    pub(super) repeats: bool,
}

fn with_id(field: Field, id: i32) -> Field {
    field.with_metadata(HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]))
}

fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The Arrow type a column is written and read with.
fn data_type(kind: Kind, ty: ColumnType, repeats: bool, id: i32) -> DataType {
    match kind {
        Kind::Time => DataType::Timestamp(TimeUnit::Nanosecond, None),
        Kind::TraceId => DataType::FixedSizeBinary(16),
        Kind::SpanId => DataType::FixedSizeBinary(8),
        Kind::Hex | Kind::Uuid => DataType::Binary,
        Kind::Vars | Kind::Tail => DataType::Utf8,
        Kind::Attributes => {
            let entries = Fields::from(vec![
                with_id(Field::new("key", DataType::Utf8, false), id + 1),
                with_id(Field::new("value", DataType::Utf8, true), id + 2),
            ]);
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false)
        }
        _ => match ty {
            ColumnType::Varchar if !repeats => DataType::Utf8,
            ColumnType::Varchar => dictionary(),
            ColumnType::UInt8 => DataType::UInt8,
            ColumnType::Int32 => DataType::Int32,
            ColumnType::UInt64 => DataType::UInt64,
            ColumnType::Double => DataType::Float64,
            ColumnType::Boolean => DataType::Boolean,
            _ => DataType::Int64,
        },
    }
}

impl FileColumn {
    /// A column of a file; `repeats` matters for promoted text only.
    pub(super) fn new(column: Column, repeats: bool) -> Option<Self> {
        let kind = kind_of(&column)?;
        let repeats = repeats || !matches!(kind, Kind::Promoted(_));
        let required = matches!(
            kind,
            Kind::Time
                | Kind::ObservedDelta
                | Kind::Service
                | Kind::Stream
                | Kind::Resource
                | Kind::SeverityNumber
                | Kind::Flags
                | Kind::Seq
                | Kind::Row
        );
        let ty = data_type(kind, column.ty, repeats, column.id);
        let field = Arc::new(with_id(Field::new(&column.name, ty, !required), column.id));
        Some(Self { column, kind, field, repeats })
    }
}

fn zstd() -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(1).expect("level 1 exists"))
}

/// How the columns are encoded: what scans read is lz4 or plain, ids and variables are zstd.
pub(super) fn properties(columns: &[FileColumn]) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_max_row_group_row_count(None)
        .set_data_page_row_count_limit(BLOCK_ROWS)
        .set_write_batch_size(BLOCK_ROWS)
        .set_data_page_size_limit(64 << 20)
        .set_dictionary_page_size_limit(2 << 20)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_compression(Compression::UNCOMPRESSED)
        .set_created_by(concat!("skopos ", env!("CARGO_PKG_VERSION")).to_owned());
    for column in columns {
        let path = ColumnPath::new(vec![column.column.name.clone()]);
        builder = column_properties(builder, column, path);
    }
    builder.build()
}

fn column_properties(builder: WriterPropertiesBuilder, column: &FileColumn, path: ColumnPath) -> WriterPropertiesBuilder {
    let plain = |builder: WriterPropertiesBuilder, encoding, compression| {
        builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path.clone(), encoding)
            .set_column_compression(path.clone(), compression)
    };
    match column.kind {
        Kind::Time => {
            plain(builder, Encoding::DELTA_BINARY_PACKED, Compression::UNCOMPRESSED).set_column_statistics_enabled(path, EnabledStatistics::Page)
        }
        Kind::Row => plain(builder, Encoding::DELTA_BINARY_PACKED, Compression::UNCOMPRESSED),
        Kind::Service | Kind::SeverityNumber => builder.set_column_statistics_enabled(path, EnabledStatistics::Chunk),
        Kind::TraceId | Kind::SpanId => plain(builder, Encoding::PLAIN, zstd()),
        Kind::Vars | Kind::Tail => plain(builder, Encoding::DELTA_LENGTH_BYTE_ARRAY, zstd()),
        Kind::Hex | Kind::Uuid => plain(builder, Encoding::DELTA_LENGTH_BYTE_ARRAY, Compression::LZ4_RAW),
        Kind::Template => builder.set_column_compression(path, Compression::LZ4_RAW),
        Kind::Attributes => builder
            .set_column_compression(ColumnPath::new(vec![column.column.name.clone(), "key_value".to_owned(), "key".to_owned()]), zstd())
            .set_column_compression(ColumnPath::new(vec![column.column.name.clone(), "key_value".to_owned(), "value".to_owned()]), zstd()),
        Kind::Promoted(_) => match column.column.ty {
            ColumnType::Varchar if column.repeats => {
                // A look-up of one row decodes the whole dictionary.
                builder.set_column_compression(path.clone(), Compression::LZ4_RAW).set_column_dictionary_page_size_limit(path, DICTIONARY_BYTES_MAX)
            }
            ColumnType::Varchar => plain(builder, Encoding::DELTA_LENGTH_BYTE_ARRAY, zstd()),
            ColumnType::Double => plain(builder, Encoding::PLAIN, zstd()),
            ColumnType::Int64 => builder.set_column_compression(path, Compression::LZ4_RAW),
            _ => builder,
        },
        _ => builder,
    }
}

/// Columns of the public view, in order.
pub(super) const PUBLIC: &[&str] = &[
    "time",
    "observed_time",
    "service_name",
    "severity_number",
    "severity_text",
    "body",
    "trace_id",
    "span_id",
    "trace_flags",
    "event_name",
    "scope_name",
    "scope_version",
    "environment",
    "attributes",
    "resource_attributes",
];

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// The view `logs` in DuckDB's dialect.
pub(super) fn view(schema: &Schema) -> View {
    // Numbers and words are one list, hexadecimal digits a second, UUIDs a third: each split of the text at its
    // placeholder is put together again with the list in between.
    let between = |text: &str, placeholder: u8, list: &str| {
        format!("array_to_string([concat(p[1], p[2]) FOR p IN list_zip(string_split({text}, chr({placeholder})), {list})], '')")
    };
    let words = between("replace(template, chr(4), chr(1))", 1, "string_split(coalesce(vars, ''), ' ')");
    let hex = between(&words, 2, "[lower(hex(hex))[i * 16 + 1 : i * 16 + 16] FOR i IN range(coalesce(octet_length(hex) // 8, 0))]");
    let digits = |from: u8, to: u8| format!("lower(hex(uuid))[i * 32 + {from} : i * 32 + {to}]");
    let uuid_text = [digits(1, 8), digits(9, 12), digits(13, 16), digits(17, 20), digits(21, 32)].join(" || '-' || ");
    let uuids = between(&hex, 3, &format!("[{uuid_text} FOR i IN range(coalesce(octet_length(uuid) // 16, 0))]"));
    let body = format!(
        "CASE WHEN template IS NULL THEN coalesce(tail, '') ELSE CASE WHEN uuid IS NOT NULL THEN {uuids} WHEN hex IS NOT NULL THEN {hex} WHEN vars IS NOT NULL THEN {words} ELSE template END || coalesce(tail, '') END"
    );
    let mut promoted = String::new();
    for column in schema.columns() {
        if let Some((key, ty)) = &column.attribute {
            let value = match ty {
                AttrType::Str | AttrType::Json => name(&column.name),
                AttrType::Int | AttrType::Double | AttrType::Bool => format!("CAST({} AS VARCHAR)", name(&column.name)),
            };
            let separator = if promoted.is_empty() { "" } else { ", " };
            let _ = write!(promoted, "{separator}{{'k': {}, 'v': {value}}}", literal(key));
        }
    }
    let rest = "coalesce(attributes, MAP([]::VARCHAR[], []::VARCHAR[]))";
    let attributes = if promoted.is_empty() {
        rest.to_owned()
    } else {
        format!("map_concat({rest}, map_from_entries([e FOR e IN [{promoted}] IF e.v IS NOT NULL]))")
    };
    let level = "CASE WHEN severity_number = 0 THEN '' WHEN severity_number < 5 THEN 'TRACE' WHEN severity_number < 9 THEN 'DEBUG' WHEN severity_number < 13 THEN 'INFO' WHEN severity_number < 17 THEN 'WARN' WHEN severity_number < 21 THEN 'ERROR' ELSE 'FATAL' END";
    let expressions = [
        "time".to_owned(),
        "make_timestamp_ns(epoch_ns(time) + observed_delta)".to_owned(),
        "service_name".to_owned(),
        "severity_number".to_owned(),
        format!("coalesce(severity_text, {level})"),
        body,
        "lower(hex(trace_id))".to_owned(),
        "lower(hex(span_id))".to_owned(),
        "flags".to_owned(),
        "event_name".to_owned(),
        "scope_name".to_owned(),
        "scope_version".to_owned(),
        "environment".to_owned(),
        attributes,
        "CAST(CAST(resource AS JSON) AS MAP(VARCHAR, VARCHAR))".to_owned(),
    ];
    let select: Vec<_> = expressions.iter().zip(PUBLIC).map(|(expression, name)| format!("{expression} AS {name}")).collect();
    View {
        name: "logs",
        sql: format!("SELECT {} FROM {{DUCKLAKE_CATALOG}}.{TABLE}", select.join(", ")),
        columns: PUBLIC.iter().map(|name| (*name).to_owned()).collect(),
    }
}
