//! The tables of the catalog: DuckLake's as its version 1.0 defines them, and ours.

use std::path::Path;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row};

use super::{DUCKLAKE_VERSION, begin, time};
use crate::error::StorageError;

/// DuckLake's tables: name and columns. Names and types are what the DuckDB extension reads.
const DUCKLAKE_TABLES: &[(&str, &str)] = &[
    ("ducklake_metadata", "\"key\" VARCHAR NOT NULL, \"value\" VARCHAR NOT NULL, \"scope\" VARCHAR, scope_id BIGINT"),
    (
        "ducklake_snapshot",
        "snapshot_id BIGINT PRIMARY KEY, snapshot_time VARCHAR, schema_version BIGINT, next_catalog_id BIGINT, next_file_id BIGINT",
    ),
    (
        "ducklake_snapshot_changes",
        "snapshot_id BIGINT PRIMARY KEY, changes_made VARCHAR, author VARCHAR, commit_message VARCHAR, commit_extra_info VARCHAR",
    ),
    (
        "ducklake_schema",
        "schema_id BIGINT PRIMARY KEY, schema_uuid VARCHAR, begin_snapshot BIGINT, end_snapshot BIGINT, schema_name VARCHAR, path VARCHAR, \
         path_is_relative BIGINT",
    ),
    (
        "ducklake_table",
        "table_id BIGINT, table_uuid VARCHAR, begin_snapshot BIGINT, end_snapshot BIGINT, schema_id BIGINT, table_name VARCHAR, path VARCHAR, \
         path_is_relative BIGINT",
    ),
    (
        "ducklake_view",
        "view_id BIGINT, view_uuid VARCHAR, begin_snapshot BIGINT, end_snapshot BIGINT, schema_id BIGINT, view_name VARCHAR, dialect VARCHAR, \
         \"sql\" VARCHAR, column_aliases VARCHAR",
    ),
    ("ducklake_tag", "object_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT, \"key\" VARCHAR, \"value\" VARCHAR"),
    ("ducklake_column_tag", "table_id BIGINT, column_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT, \"key\" VARCHAR, \"value\" VARCHAR"),
    (
        "ducklake_data_file",
        "data_file_id BIGINT PRIMARY KEY, table_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT, file_order BIGINT, path VARCHAR, \
         path_is_relative BIGINT, file_format VARCHAR, record_count BIGINT, file_size_bytes BIGINT, footer_size BIGINT, row_id_start BIGINT, \
         partition_id BIGINT, encryption_key VARCHAR, mapping_id BIGINT, partial_max BIGINT",
    ),
    (
        "ducklake_file_column_stats",
        "data_file_id BIGINT, table_id BIGINT, column_id BIGINT, column_size_bytes BIGINT, value_count BIGINT, null_count BIGINT, \
         min_value VARCHAR, max_value VARCHAR, contains_nan BIGINT, extra_stats VARCHAR",
    ),
    (
        "ducklake_file_variant_stats",
        "data_file_id BIGINT, table_id BIGINT, column_id BIGINT, variant_path VARCHAR, shredded_type VARCHAR, column_size_bytes BIGINT, \
         value_count BIGINT, null_count BIGINT, min_value VARCHAR, max_value VARCHAR, contains_nan BIGINT, extra_stats VARCHAR",
    ),
    (
        "ducklake_delete_file",
        "delete_file_id BIGINT PRIMARY KEY, table_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT, data_file_id BIGINT, path VARCHAR, \
         path_is_relative BIGINT, format VARCHAR, delete_count BIGINT, file_size_bytes BIGINT, footer_size BIGINT, encryption_key VARCHAR, \
         partial_max BIGINT",
    ),
    (
        "ducklake_column",
        "column_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT, table_id BIGINT, column_order BIGINT, column_name VARCHAR, \
         column_type VARCHAR, initial_default VARCHAR, default_value VARCHAR, nulls_allowed BIGINT, parent_column BIGINT, \
         default_value_type VARCHAR, default_value_dialect VARCHAR",
    ),
    ("ducklake_table_stats", "table_id BIGINT, record_count BIGINT, next_row_id BIGINT, file_size_bytes BIGINT"),
    (
        "ducklake_table_column_stats",
        "table_id BIGINT, column_id BIGINT, contains_null BIGINT, contains_nan BIGINT, min_value VARCHAR, max_value VARCHAR, extra_stats VARCHAR",
    ),
    ("ducklake_partition_info", "partition_id BIGINT, table_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT"),
    ("ducklake_partition_column", "partition_id BIGINT, table_id BIGINT, partition_key_index BIGINT, column_id BIGINT, \"transform\" VARCHAR"),
    ("ducklake_file_partition_value", "data_file_id BIGINT, table_id BIGINT, partition_key_index BIGINT, partition_value VARCHAR"),
    ("ducklake_files_scheduled_for_deletion", "data_file_id BIGINT, path VARCHAR, path_is_relative BIGINT, schedule_start VARCHAR"),
    ("ducklake_inlined_data_tables", "table_id BIGINT, table_name VARCHAR, schema_version BIGINT"),
    ("ducklake_column_mapping", "mapping_id BIGINT, table_id BIGINT, \"type\" VARCHAR"),
    (
        "ducklake_name_mapping",
        "mapping_id BIGINT, column_id BIGINT, source_name VARCHAR, target_field_id BIGINT, parent_column BIGINT, is_partition BIGINT",
    ),
    ("ducklake_schema_versions", "begin_snapshot BIGINT, schema_version BIGINT, table_id BIGINT"),
    ("ducklake_macro", "schema_id BIGINT, macro_id BIGINT, macro_name VARCHAR, begin_snapshot BIGINT, end_snapshot BIGINT"),
    ("ducklake_macro_impl", "macro_id BIGINT, impl_id BIGINT, dialect VARCHAR, \"sql\" VARCHAR, \"type\" VARCHAR"),
    (
        "ducklake_macro_parameters",
        "macro_id BIGINT, impl_id BIGINT, column_id BIGINT, parameter_name VARCHAR, parameter_type VARCHAR, default_value VARCHAR, \
         default_value_type VARCHAR",
    ),
    ("ducklake_sort_info", "sort_id BIGINT, table_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT"),
    (
        "ducklake_sort_expression",
        "sort_id BIGINT, table_id BIGINT, sort_key_index BIGINT, expression VARCHAR, dialect VARCHAR, sort_direction VARCHAR, null_order VARCHAR",
    ),
];

/// Changes of our own tables, in order; never edited once released, only added to.
const MIGRATIONS: &[&str] = &[
    // 1: what DuckLake has no place for. Times are Unix nanoseconds.
    "CREATE TABLE skopos_file (
        data_file_id INTEGER PRIMARY KEY, created INTEGER NOT NULL, level INTEGER NOT NULL,
        time_min INTEGER NOT NULL, time_max INTEGER NOT NULL, seq_min INTEGER NOT NULL, seq_max INTEGER NOT NULL,
        extra TEXT NOT NULL);
     CREATE TABLE skopos_column (
        table_id INTEGER NOT NULL, column_id INTEGER NOT NULL, attribute TEXT NOT NULL, type TEXT NOT NULL,
        PRIMARY KEY (table_id, column_id));
     CREATE TABLE skopos_wal_position (signal TEXT PRIMARY KEY, seq INTEGER NOT NULL);
     CREATE TABLE skopos_document (
        kind TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, updated INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (kind, key)) WITHOUT ROWID;
     CREATE TABLE skopos_journal (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, ref TEXT NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL);
     CREATE INDEX skopos_journal_by_ref ON skopos_journal (kind, ref, seq);
     CREATE INDEX skopos_journal_by_time ON skopos_journal (kind, at);
     CREATE INDEX skopos_data_file_by_table ON ducklake_data_file (table_id, end_snapshot, begin_snapshot);
     CREATE INDEX skopos_column_stats_pruning
        ON ducklake_file_column_stats (table_id, column_id, max_value, min_value, data_file_id);
     CREATE INDEX skopos_column_stats_by_file ON ducklake_file_column_stats (data_file_id);",
];

/// Creates what is missing; refuses a catalog of another version.
pub(super) async fn create(connection: &mut SqliteConnection, path: &Path, tables: &Path, now: i64) -> Result<(), StorageError> {
    let refuse = |reason: String| StorageError::Catalog { path: path.display().to_string(), reason };
    let mut tx = begin(connection).await?;
    for (name, columns) in DUCKLAKE_TABLES {
        let sql = format!("CREATE TABLE IF NOT EXISTS {name} ({columns})");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    }
    let version: Option<String> = sqlx::query("SELECT \"value\" FROM ducklake_metadata WHERE \"key\" = 'version' AND \"scope\" IS NULL")
        .fetch_optional(&mut *tx)
        .await?
        .map(|row| row.get(0));
    let mut data_path = tables.display().to_string();
    if !data_path.ends_with('/') {
        data_path.push('/');
    }
    match version.as_deref() {
        None => {
            for (key, value) in [
                ("version", DUCKLAKE_VERSION),
                ("created_by", concat!("Skopos ", env!("CARGO_PKG_VERSION"))),
                ("data_path", &data_path),
                ("encrypted", "false"),
            ] {
                let sql = "INSERT INTO ducklake_metadata (\"key\", \"value\") VALUES (?, ?)";
                sqlx::query(sql).bind(key).bind(value).execute(&mut *tx).await?;
            }
            let first = super::SnapshotState { id: 0, schema_version: 0, next_catalog_id: 1, next_file_id: 0 };
            super::insert_snapshot(&mut tx, first, &["created_schema:\"main\"".to_owned()], now).await?;
            // Empty paths: a data file's path is relative to the folder of all tables.
            sqlx::query(
                "INSERT INTO ducklake_schema (schema_id, schema_uuid, begin_snapshot, schema_name, path, path_is_relative) \
                 VALUES (0, ?, 0, 'main', '', 1)",
            )
            .bind(super::schema::uuid("main", now))
            .execute(&mut *tx)
            .await?;
        }
        Some(DUCKLAKE_VERSION) => {
            // The folder may have been moved since.
            let sql = "UPDATE ducklake_metadata SET \"value\" = ? WHERE \"key\" = 'data_path' AND \"scope\" IS NULL AND \"value\" <> ?";
            sqlx::query(sql).bind(&data_path).bind(&data_path).execute(&mut *tx).await?;
        }
        Some(other) => {
            return Err(refuse(format!(
                "it is of DuckLake version {other}, this program reads and writes {DUCKLAKE_VERSION}; another tool has migrated it: \
                 restore a copy from before, or use a release of Skopos that knows {other}"
            )));
        }
    }
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS skopos_migration (version INTEGER PRIMARY KEY, applied TEXT NOT NULL)").execute(&mut *tx).await?;
    let applied: i64 = sqlx::query("SELECT coalesce(max(version), 0) FROM skopos_migration").fetch_one(&mut *tx).await?.get(0);
    let newest = MIGRATIONS.len() as i64;
    if applied > newest {
        return Err(refuse(format!(
            "its tables are of version {applied}, this program knows up to {newest}: a newer Skopos has used it; start that one"
        )));
    }
    for (migration, version) in MIGRATIONS.iter().zip(1i64..).skip(applied as usize) {
        sqlx::raw_sql(*migration).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO skopos_migration (version, applied) VALUES (?, ?)")
            .bind(version)
            .bind(time::snapshot_time(now))
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(())
}
