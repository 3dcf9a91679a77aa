//! Reading files of spans: the open ones are kept, damaged ones are set aside, rows pass a filter on the way.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::error::ArrowError;
use parking_lot::RwLock;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, RowFilter, RowSelection};
use skopos_model::AttrType;
use skopos_query::QueryContext;
use skopos_query::filter::Field;

use super::access::{Block, TYPE_ORDER, promoted_key, promoted_name};
use super::columns::{
    ATTRIBUTE_TYPES, ATTRIBUTES, DURATION, ENVIRONMENT, KIND, NAME, PARENT, RESOURCE, SCOPE, SERVICE, SPAN_ID, START, STATUS, TRACE_ID,
};
use super::file::SpanFile;
use super::filter::SpanFilter;
use crate::blob::Blobs;
use crate::error::StorageError;
use crate::table::FileMeta;

/// Open files by id. Footers, page indexes and bloom filters stay in memory as long as a file is in the table:
/// without them a look-up by id costs seven times as much.
#[derive(Debug)]
pub(super) struct OpenFiles {
    blobs: Arc<dyn Blobs>,
    open: RwLock<HashMap<i64, Arc<SpanFile>>>,
}

impl OpenFiles {
    pub(super) fn new(blobs: Arc<dyn Blobs>) -> Self {
        Self { blobs, open: RwLock::default() }
    }

    /// The open file, or `None` when it is damaged.
    pub(super) fn get(&self, meta: &Arc<FileMeta>) -> Option<Arc<SpanFile>> {
        if let Some(known) = self.open.read().get(&meta.id) {
            return Some(Arc::clone(known));
        }
        if meta.is_damaged() {
            return None;
        }
        match SpanFile::open(&*self.blobs, Arc::clone(meta)) {
            Ok(file) => {
                let file = Arc::new(file);
                self.open.write().insert(meta.id, Arc::clone(&file));
                Some(file)
            }
            Err(error) => {
                self.set_aside(meta, error);
                None
            }
        }
    }

    /// Takes a damaged file out of all further reading.
    fn set_aside(&self, meta: &FileMeta, error: StorageError) {
        if matches!(error, StorageError::Io { .. }) {
            // The system may have a passing reason: the file is tried again next time.
            tracing::warn!(file = %meta.file.path, %error, "a file of spans could not be read");
            return;
        }
        // Only other kinds of errors come back.
        let _ = meta.set_aside(error.into_damaged(&meta.file.path));
        self.open.write().remove(&meta.id);
    }

    /// Runs `read`; when the file turns out to be damaged it is set aside and counts as having no rows.
    pub(super) fn guard<T: Default>(&self, file: &SpanFile, read: impl FnOnce() -> Result<T, StorageError>) -> Result<T, StorageError> {
        match read() {
            Err(error @ (StorageError::Damaged { .. } | StorageError::Io { .. } | StorageError::Format { .. })) => {
                self.set_aside(&file.meta, error);
                Ok(T::default())
            }
            other => other,
        }
    }

    /// Forgets files that left the table.
    pub(super) fn forget(&self, ids: &[i64]) {
        let mut open = self.open.write();
        for id in ids {
            open.remove(id);
        }
    }
}

/// The columns of a file that hold these fields.
pub(super) fn columns_of(file: &SpanFile, fields: &[Field], text: bool) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    let mut add = |name: String| {
        if !columns.contains(&name) {
            columns.push(name);
        }
    };
    for field in fields {
        match field {
            Field::Level | Field::Body => {}
            Field::Service => add(SERVICE.to_owned()),
            Field::TraceId => add(TRACE_ID.to_owned()),
            Field::SpanId => add(SPAN_ID.to_owned()),
            Field::Name => add(NAME.to_owned()),
            Field::Kind => add(KIND.to_owned()),
            Field::Status => add(STATUS.to_owned()),
            Field::Duration => add(DURATION.to_owned()),
            Field::Environment => add(ENVIRONMENT.to_owned()),
            Field::Scope => add(SCOPE.to_owned()),
            Field::Root => add(PARENT.to_owned()),
            Field::Attribute(key) => {
                add(RESOURCE.to_owned());
                for name in TYPE_ORDER.iter().map(|ty| promoted_name(key, *ty)) {
                    if file.schema().index_of(&name).is_ok() {
                        add(name);
                    }
                }
                if file.map_may_have(key) {
                    add(ATTRIBUTES.to_owned());
                    add(ATTRIBUTE_TYPES.to_owned());
                }
            }
        }
    }
    if text {
        add(NAME.to_owned());
        add(ATTRIBUTES.to_owned());
        add(ATTRIBUTE_TYPES.to_owned());
        for field in file.schema().fields() {
            if promoted_key(field.name()).is_some_and(|(_, ty)| ty == AttrType::Str) {
                add(field.name().clone());
            }
        }
    }
    columns
}

/// The rows of a row group that pass the filter, with the `output` columns, in batches; until `emit` returns
/// false. Returns whether it never did.
pub(super) fn read_group(
    file: &SpanFile,
    group: usize,
    filter: &Arc<SpanFilter>,
    output: &[String],
    ctx: &QueryContext,
    emit: &mut dyn FnMut(&RecordBatch) -> Result<bool, StorageError>,
) -> Result<bool, StorageError> {
    if !file.group_may_match(group, &filter.prune) {
        return Ok(true);
    }
    if let Some(traces) = &filter.prune.traces {
        let mut any = false;
        for id in traces {
            any |= file.group_may_have(group, id)?;
        }
        if !any {
            return Ok(true);
        }
    }
    let selection = file.select_pages(group, &filter.prune);
    if selection.as_ref().is_some_and(|s| !s.selects_any()) {
        return Ok(true);
    }
    let (first, last) = file.starts(group);
    let inside = filter.range.contains(first) && filter.range.contains(last);
    let rows = if filter.is_all() && inside {
        None
    } else {
        let (fields, text) = filter.needs();
        let mut columns = columns_of(file, &fields, text);
        if !inside {
            columns.push(START.to_owned());
        }
        let (filter, ctx) = (Arc::clone(filter), ctx.clone());
        let predicate = ArrowPredicateFn::new(file.mask(&columns), move |batch: RecordBatch| {
            ctx.check().map_err(|e| ArrowError::ExternalError(Box::new(e)))?;
            Ok(BooleanArray::from(filter.select(Block::File(&batch)).unwrap_or_else(|| vec![true; batch.num_rows()])))
        });
        Some(RowFilter::new(vec![Box::new(predicate)]))
    };
    stream(file, group, selection, output, rows, ctx, emit)
}

/// Streams the columns of the selected rows of a row group.
pub(super) fn stream(
    file: &SpanFile,
    group: usize,
    selection: Option<RowSelection>,
    output: &[String],
    rows: Option<RowFilter>,
    ctx: &QueryContext,
    emit: &mut dyn FnMut(&RecordBatch) -> Result<bool, StorageError>,
) -> Result<bool, StorageError> {
    ctx.check()?;
    let mask = file.mask(output);
    ctx.stats.add_bytes(file.bytes(group, &mask));
    ctx.stats.add_rows(selection.as_ref().map_or(file.rows(group), RowSelection::row_count) as u64);
    for batch in file.read(group, selection, mask, rows)? {
        // A cancelled predicate ends the reader with an error that is not the file's.
        ctx.check()?;
        if !emit(&file.batch(batch)?)? {
            return Ok(false);
        }
    }
    Ok(true)
}
