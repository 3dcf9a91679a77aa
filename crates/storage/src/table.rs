//! What the engine and the tables (logs, traces, metrics) agree on.
//!
//! A table owns its rows wherever they are: the open head, the sealed head that is being flushed, and its list of
//! files. The engine decides *when* to seal, encode, merge and drop, and commits to the catalog. Each change of
//! what is visible is one swap under the table's own lock, so that a query sees every row exactly once.

use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use parquet::file::metadata::ParquetMetaData;
use skopos_model::AttrType;

use crate::blob::Blobs;
use crate::error::StorageError;
use crate::stats::DamagedFile;

/// Type of a catalog column, as DuckLake spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType {
    Varchar,
    Blob,
    Boolean,
    UInt8,
    Int32,
    Int64,
    UInt64,
    Double,
    /// Unix nanoseconds.
    TimestampNs,
    /// Unix milliseconds.
    TimestampMs,
    /// `MAP(VARCHAR, VARCHAR)`.
    MapVarchar,
    /// `INTEGER[]`.
    Int32List,
    /// `DOUBLE[]`.
    DoubleList,
}

impl ColumnType {
    /// Columns inside it. They take the column ids after its own.
    pub(crate) fn children(self) -> &'static [(&'static str, ColumnType)] {
        match self {
            Self::MapVarchar => &[("key", Self::Varchar), ("value", Self::Varchar)],
            Self::Int32List => &[("element", Self::Int32)],
            Self::DoubleList => &[("element", Self::Double)],
            _ => &[],
        }
    }
}

/// A column of a base table. `id` is DuckLake's `column_id` and Parquet's `field_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) id: i32,
    pub(crate) name: String,
    pub(crate) ty: ColumnType,
    /// The attribute it holds, for promoted columns.
    pub(crate) attribute: Option<(String, AttrType)>,
}

/// Columns of a base table: fixed ones from the code, promoted ones added at run time and never removed.
#[derive(Debug)]
pub(crate) struct Schema {
    /// Base table's name (`logs_data`).
    pub(crate) table: &'static str,
    /// Most promoted columns; further attributes go to the map.
    pub(crate) promoted_max: usize,
    columns: RwLock<Vec<Column>>,
}

impl Schema {
    /// A schema of fixed columns, numbered from 1 in the order given (a map takes three numbers, a list two).
    pub(crate) fn new(table: &'static str, promoted_max: usize, fixed: &[(&str, ColumnType)]) -> Self {
        let schema = Self { table, promoted_max, columns: RwLock::new(Vec::with_capacity(fixed.len())) };
        for (name, ty) in fixed {
            schema.add((*name).to_owned(), *ty, None);
        }
        schema
    }

    fn add(&self, name: String, ty: ColumnType, attribute: Option<(String, AttrType)>) -> Column {
        let mut columns = self.columns.write();
        let id = columns.last().map_or(1, |last| last.id + 1 + last.ty.children().len() as i32);
        let column = Column { id, name, ty, attribute };
        columns.push(column.clone());
        column
    }

    /// All columns, in order of their ids.
    pub(crate) fn columns(&self) -> Vec<Column> {
        self.columns.read().clone()
    }

    /// A fixed column. A name that is not there is a programmer's error.
    #[cfg(test)]
    pub(crate) fn column(&self, name: &str) -> Column {
        self.columns.read().iter().find(|c| c.name == name).cloned().expect("a fixed column of this table")
    }

    /// The promoted column of an attribute, if there is one.
    pub(crate) fn promoted(&self, key: &str, ty: AttrType) -> Option<Column> {
        let is = |c: &&Column| c.attribute.as_ref().is_some_and(|(k, t)| k == key && *t == ty);
        self.columns.read().iter().find(is).cloned()
    }

    /// Gives an attribute a column of its own, or `None` when there are enough. The engine writes new columns to
    /// the catalog in the transaction that adds the first file with them.
    pub(crate) fn promote(&self, key: &str, ty: AttrType) -> Option<Column> {
        if let Some(known) = self.promoted(key, ty) {
            return Some(known);
        }
        let promoted = self.columns.read().iter().filter(|c| c.attribute.is_some()).count();
        if promoted >= self.promoted_max {
            return None;
        }
        let (suffix, column_type) = match ty {
            AttrType::Str => ("", ColumnType::Varchar),
            AttrType::Int => (":int", ColumnType::Int64),
            AttrType::Double => (":double", ColumnType::Double),
            AttrType::Bool => (":bool", ColumnType::Boolean),
            AttrType::Json => (":json", ColumnType::Varchar),
        };
        // The prefix keeps an attribute named like a fixed column apart from it.
        Some(self.add(format!("attr:{key}{suffix}"), column_type, Some((key.to_owned(), ty))))
    }

    /// Takes over the columns the catalog has, at start: the fixed ones must agree, promoted ones are added.
    pub(crate) fn restore(&self, stored: Vec<Column>) -> Result<(), StorageError> {
        let mut columns = self.columns.write();
        for (index, column) in stored.into_iter().enumerate() {
            match columns.get(index) {
                Some(known) if *known == column => {}
                None => columns.push(column),
                Some(known) => {
                    return Err(StorageError::Catalog {
                        path: self.table.to_owned(),
                        reason: format!("column {} is {column:?}, this version expects {known:?}", index + 1),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Statistics of one column in one file, as DuckLake's `ducklake_file_column_stats` wants them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ColumnStats {
    pub(crate) column_id: i32,
    pub(crate) size_bytes: u64,
    pub(crate) value_count: u64,
    pub(crate) null_count: u64,
    /// Text that compares as the column does (ISO times, hex), or `None` when not kept.
    pub(crate) min: Option<String>,
    pub(crate) max: Option<String>,
    pub(crate) contains_nan: Option<bool>,
}

/// A file that has been written and synced but is not in the catalog yet.
#[derive(Debug, Clone)]
pub(crate) struct NewFile {
    /// Base table it belongs to.
    pub(crate) table: &'static str,
    /// Relative to the table's folder root (`Blobs`).
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) footer_bytes: u64,
    pub(crate) rows: u64,
    /// Event time of the rows, Unix nanoseconds (milliseconds times a million for samples), inclusive.
    pub(crate) time_min: i64,
    pub(crate) time_max: i64,
    /// WAL sequence numbers of the rows, inclusive; kept through merges.
    pub(crate) seq_min: u64,
    pub(crate) seq_max: u64,
    /// 0: from a flush; one more for each merge.
    pub(crate) level: u8,
    pub(crate) columns: Vec<ColumnStats>,
    /// Small table-specific facts kept in the catalog beside the file (counts per service and minute, …), JSON.
    pub(crate) extra: serde_json::Value,
}

/// A file in the catalog.
#[derive(Debug)]
pub(crate) struct FileMeta {
    /// DuckLake's `data_file_id`.
    pub(crate) id: i64,
    pub(crate) file: NewFile,
    /// When it was written, Unix nanoseconds.
    pub(crate) created: i64,
    /// Footer and page index, loaded at first use.
    pub(crate) footer: OnceLock<Arc<ParquetMetaData>>,
    /// Why it was set aside.
    damage: OnceLock<String>,
}

impl FileMeta {
    pub(crate) fn new(id: i64, file: NewFile, created: i64) -> Self {
        Self { id, file, created, footer: OnceLock::new(), damage: OnceLock::new() }
    }

    /// Takes a damaged file out of all further reading and merging, and says so once; the rest is served. Errors of
    /// another kind are given back.
    pub(crate) fn set_aside(&self, error: StorageError) -> Result<(), StorageError> {
        let StorageError::Damaged { reason, .. } = error else { return Err(error) };
        if self.damage.set(reason).is_ok() {
            let NewFile { path, rows, .. } = &self.file;
            let reason = self.damage.get();
            tracing::error!(path, rows, reason, "a file is damaged and set aside; the rest is served");
        }
        Ok(())
    }

    /// Whether it was set aside.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damage.get().is_some()
    }

    /// How it is reported when it was set aside.
    pub(crate) fn damage(&self) -> Option<DamagedFile> {
        self.damage.get().map(|reason| DamagedFile { path: format!("tables/{}", self.file.path), reason: reason.clone() })
    }
}

/// A view over base tables in DuckDB's dialect; `{DUCKLAKE_CATALOG}.` stands before each table's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) name: &'static str,
    pub(crate) sql: String,
    pub(crate) columns: Vec<String>,
}

/// What a seal cut off the open head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// Highest WAL sequence among the rows: all of this table up to it is sealed or in files.
    pub(crate) seq_max: u64,
    pub(crate) rows: usize,
}

/// How full an open head is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HeadSize {
    pub(crate) rows: usize,
    /// Memory of open and sealed head together.
    pub(crate) bytes: usize,
    /// When its first row was appended, Unix nanoseconds; 0 when empty.
    pub(crate) since: i64,
}

/// One change of a table's list of files, to be made visible in one swap.
#[derive(Debug, Default)]
pub(crate) struct FileSwap {
    /// Files that join.
    pub(crate) add: Vec<Arc<FileMeta>>,
    /// Files (by id) that leave.
    pub(crate) remove: Vec<i64>,
    /// The sealed head is in `add` now and goes.
    pub(crate) drop_sealed: bool,
}

/// A kind of telemetry with its head and files. The metrics table has several base tables.
pub(crate) trait Table: Send + Sync {
    /// Base tables and their columns.
    fn schemas(&self) -> Vec<Arc<Schema>>;
    /// Public views, rebuilt whenever a column was promoted.
    fn views(&self) -> Vec<View>;
    /// How full the head is.
    fn head(&self) -> HeadSize;
    /// Makes the open head the sealed one. `None` when it is empty or when there is a sealed one already.
    fn seal(&self) -> Option<Sealed>;
    /// Sorts and encodes the sealed head into files under `blobs`. Blocks and computes; the rows stay queryable
    /// in the sealed head. Called again after a failure, it writes new files.
    fn encode_sealed(&self, blobs: &dyn Blobs) -> Result<Vec<NewFile>, StorageError>;
    /// Makes a committed change visible.
    fn swap(&self, swap: FileSwap);
    /// Which files should be merged together next, if any, none that was set aside: `full` asks for the final form
    /// (`/v1/admin/flush`).
    fn plan_merge(&self, now: i64, full: bool) -> Option<Vec<Arc<FileMeta>>>;
    /// Writes the rows of `inputs` anew as one or more larger files, leaving out rows older than `cutoff`
    /// (Unix nanoseconds). Streams: memory stays bounded by row groups.
    fn merge(&self, inputs: &[Arc<FileMeta>], cutoff: i64, blobs: &dyn Blobs) -> Result<Vec<NewFile>, StorageError>;
    /// All files at present.
    fn files(&self) -> Vec<Arc<FileMeta>>;
    /// Lets go of what memory keeps about rows that are gone; called after retention. `now`: Unix nanoseconds. Blocks.
    fn release(&self, _now: i64) -> Result<(), StorageError> {
        Ok(())
    }
    /// Whether a file goes when it is past the retention. A table that keeps facts other files need says no.
    fn expires(&self, _file: &FileMeta) -> bool {
        true
    }
}
