//! Base tables, their columns, and views, as DuckLake keeps them.

use std::collections::BTreeMap;
use std::sync::Arc;

use skopos_model::AttrType;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::{Database, SnapshotState, begin, insert_snapshot, latest_snapshot};
use crate::error::StorageError;
use crate::table::{Column, ColumnType, Schema, View};

/// What has been written of our schemas; changes only after the transaction that wrote it.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// By name of the base table.
    pub(super) tables: BTreeMap<String, KnownTable>,
    /// SQL by name of the view, with the view's id.
    views: BTreeMap<String, (i64, String)>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct KnownTable {
    pub(super) id: i64,
    /// Number of top-level columns that are written.
    columns: usize,
}

/// A unique text of the form of a UUID (version 8: of our own making) for an object of the catalog.
pub(super) fn uuid(name: &str, now: i64) -> String {
    let hash = xxhash_rust::xxh3::xxh3_128_with_seed(name.as_bytes(), now as u64 ^ u64::from(std::process::id()) << 32);
    let hex = format!("{hash:032x}");
    format!("{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

fn type_name(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Varchar => "varchar",
        ColumnType::Blob => "blob",
        ColumnType::Boolean => "boolean",
        ColumnType::UInt8 => "uint8",
        ColumnType::Int32 => "int32",
        ColumnType::Int64 => "int64",
        ColumnType::UInt64 => "uint64",
        ColumnType::Double => "float64",
        ColumnType::TimestampNs => "timestamp_ns",
        ColumnType::TimestampMs => "timestamp_ms",
        ColumnType::MapVarchar => "map",
        ColumnType::Int32List | ColumnType::DoubleList => "list",
    }
}

const TYPES: [ColumnType; 13] = [
    ColumnType::Varchar,
    ColumnType::Blob,
    ColumnType::Boolean,
    ColumnType::UInt8,
    ColumnType::Int32,
    ColumnType::Int64,
    ColumnType::UInt64,
    ColumnType::Double,
    ColumnType::TimestampNs,
    ColumnType::TimestampMs,
    ColumnType::MapVarchar,
    ColumnType::Int32List,
    ColumnType::DoubleList,
];

fn attribute_type_name(ty: AttrType) -> &'static str {
    match ty {
        AttrType::Str => "str",
        AttrType::Int => "int",
        AttrType::Double => "double",
        AttrType::Bool => "bool",
        AttrType::Json => "json",
    }
}

fn attribute_type(name: &str) -> Option<AttrType> {
    [AttrType::Str, AttrType::Int, AttrType::Double, AttrType::Bool, AttrType::Json].into_iter().find(|t| attribute_type_name(*t) == name)
}

/// A name between double quotes, as DuckLake's list of changes wants it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Database {
    /// Reads the columns each table has, gives them to the schemas, and writes tables, columns and views that are
    /// new. To be called once, at start.
    pub(crate) async fn sync_schemas(&self, schemas: &[Arc<Schema>], views: impl FnOnce() -> Vec<View>, now: i64) -> Result<(), StorageError> {
        let mut connected = self.writer().await;
        let connection = connected.get()?;
        let mut known = Known::default();
        for row in sqlx::query("SELECT table_name, table_id FROM ducklake_table WHERE end_snapshot IS NULL").fetch_all(&mut *connection).await? {
            known.tables.insert(row.get(0), KnownTable { id: row.get(1), columns: 0 });
        }
        for row in sqlx::query("SELECT view_name, view_id, \"sql\" FROM ducklake_view WHERE end_snapshot IS NULL").fetch_all(&mut *connection).await?
        {
            known.views.insert(row.get(0), (row.get(1), row.get(2)));
        }
        for schema in schemas {
            if let Some(table) = known.tables.get_mut(schema.table) {
                let stored = stored_columns(connection, table.id, schema.table).await?;
                table.columns = stored.len();
                schema.restore(stored)?;
            }
        }
        let mut tx = begin(connection).await?;
        let mut state = latest_snapshot(&mut tx).await?;
        state.id += 1;
        let mut changes = Vec::new();
        write_schemas(&mut tx, &mut known, schemas, &views(), &mut state, &mut changes, now).await?;
        if !changes.is_empty() {
            insert_snapshot(&mut tx, state, &changes, now).await?;
        }
        tx.commit().await?;
        *self.known.lock() = known;
        Ok(())
    }
}

async fn stored_columns(connection: &mut SqliteConnection, table_id: i64, table: &str) -> Result<Vec<Column>, StorageError> {
    let rows = sqlx::query(
        "SELECT c.column_id, c.column_name, c.column_type, s.attribute, s.type, \
         (SELECT e.column_type FROM ducklake_column e WHERE e.table_id = c.table_id AND e.parent_column = c.column_id \
          AND e.end_snapshot IS NULL ORDER BY e.column_id LIMIT 1) FROM ducklake_column c \
         LEFT JOIN skopos_column s ON s.table_id = c.table_id AND s.column_id = c.column_id \
         WHERE c.table_id = ? AND c.end_snapshot IS NULL AND c.parent_column IS NULL ORDER BY c.column_id",
    )
    .bind(table_id)
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let (name, type_text): (String, String) = (row.get(1), row.get(2));
            let inner: Option<String> = row.get(5);
            let fits = |t: &ColumnType| type_name(*t) == type_text && t.children().first().map(|(_, ty)| type_name(*ty)) == inner.as_deref();
            let ty = TYPES.into_iter().find(fits).ok_or_else(|| StorageError::Catalog {
                path: table.to_owned(),
                reason: format!("column {name} is of type {type_text}, which this version does not know"),
            })?;
            let attribute: Option<(String, String)> = row.get::<Option<String>, _>(3).zip(row.get(4));
            let attribute = attribute.and_then(|(key, ty)| Some((key, attribute_type(&ty)?)));
            Ok(Column { id: row.get::<i64, _>(0) as i32, name, ty, attribute })
        })
        .collect()
}

/// Writes what the catalog does not have yet, within a snapshot; notes it in `known`, `state` and `changes`.
pub(super) async fn write_schemas(
    connection: &mut SqliteConnection,
    known: &mut Known,
    schemas: &[Arc<Schema>],
    views: &[View],
    state: &mut SnapshotState,
    changes: &mut Vec<String>,
    now: i64,
) -> Result<(), StorageError> {
    let before = changes.len();
    for schema in schemas {
        let columns = schema.columns();
        let is_new = !known.tables.contains_key(schema.table);
        if is_new {
            let id = state.next_catalog_id;
            state.next_catalog_id += 1;
            sqlx::query(
                "INSERT INTO ducklake_table (table_id, table_uuid, begin_snapshot, schema_id, table_name, path, path_is_relative) \
                 VALUES (?, ?, ?, 0, ?, '', 1)",
            )
            .bind(id)
            .bind(uuid(schema.table, now))
            .bind(state.id)
            .bind(schema.table)
            .execute(&mut *connection)
            .await?;
            sqlx::query("INSERT INTO ducklake_table_stats (table_id, record_count, next_row_id, file_size_bytes) VALUES (?, 0, 0, 0)")
                .bind(id)
                .execute(&mut *connection)
                .await?;
            known.tables.insert(schema.table.to_owned(), KnownTable { id, columns: 0 });
            changes.push(format!("created_table:\"main\".{}", quoted(schema.table)));
        }
        let Some(table) = known.tables.get_mut(schema.table) else { continue };
        if columns.len() <= table.columns {
            continue;
        }
        for column in &columns[table.columns..] {
            write_column(connection, table.id, column, state.id).await?;
        }
        table.columns = columns.len();
        if !is_new {
            changes.push(format!("altered_table:{}", table.id));
        }
        sqlx::query("INSERT INTO ducklake_schema_versions (begin_snapshot, schema_version, table_id) VALUES (?, ?, ?)")
            .bind(state.id)
            .bind(state.schema_version + 1)
            .bind(table.id)
            .execute(&mut *connection)
            .await?;
    }
    for view in views {
        if let Some((id, sql)) = known.views.get(view.name) {
            if *sql == view.sql {
                continue;
            }
            sqlx::query("UPDATE ducklake_view SET end_snapshot = ? WHERE view_id = ? AND end_snapshot IS NULL")
                .bind(state.id)
                .bind(id)
                .execute(&mut *connection)
                .await?;
            changes.push(format!("dropped_view:{id}"));
        }
        let id = state.next_catalog_id;
        state.next_catalog_id += 1;
        sqlx::query(
            "INSERT INTO ducklake_view (view_id, view_uuid, begin_snapshot, schema_id, view_name, dialect, \"sql\", column_aliases) \
             VALUES (?, ?, ?, 0, ?, 'duckdb', ?, '')",
        )
        .bind(id)
        .bind(uuid(view.name, now))
        .bind(state.id)
        .bind(view.name)
        .bind(&view.sql)
        .execute(&mut *connection)
        .await?;
        changes.push(format!("created_view:\"main\".{}", quoted(view.name)));
        known.views.insert(view.name.to_owned(), (id, view.sql.clone()));
    }
    if changes.len() > before {
        state.schema_version += 1;
    }
    Ok(())
}

async fn write_column(connection: &mut SqliteConnection, table_id: i64, column: &Column, snapshot: i64) -> Result<(), StorageError> {
    let own = (column.id, column.name.as_str(), type_name(column.ty), None);
    let children = (column.id + 1..).zip(column.ty.children()).map(|(id, (name, ty))| (id, *name, type_name(*ty), Some(column.id)));
    for (id, name, ty, parent) in std::iter::once(own).chain(children) {
        sqlx::query(
            "INSERT INTO ducklake_column (column_id, begin_snapshot, table_id, column_order, column_name, column_type, default_value, \
             nulls_allowed, parent_column, default_value_type, default_value_dialect) VALUES (?, ?, ?, ?, ?, ?, 'NULL', 1, ?, 'literal', 'duckdb')",
        )
        .bind(id)
        .bind(snapshot)
        .bind(table_id)
        .bind(id)
        .bind(name)
        .bind(ty)
        .bind(parent)
        .execute(&mut *connection)
        .await?;
    }
    if let Some((key, ty)) = &column.attribute {
        sqlx::query("INSERT INTO skopos_column (table_id, column_id, attribute, type) VALUES (?, ?, ?, ?)")
            .bind(table_id)
            .bind(column.id)
            .bind(key)
            .bind(attribute_type_name(*ty))
            .execute(connection)
            .await?;
    }
    Ok(())
}
