//! The table of spans: in the head as they came, in files by trace.
//!
//! A span that is sent again soon after (a client that missed its acknowledgement) is dropped at the door; one
//! that comes again later is one span in every trace shown, and one row after the next merge.

mod access;
mod columns;
mod edges;
mod encode;
mod file;
mod filter;
mod merge;
mod order;
mod public;
mod quantile;
mod read;
mod recent;
mod red;
mod rows;
mod search;
mod stream;
mod write;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use skopos_model::{SpanBatch, TraceId};
use skopos_query::filter::Filter;
use skopos_query::traces::{EdgeRow, RedRow, ServiceVersion, SpanBlock, SpanRow, SpanScan, TraceSearch, TraceStore, TraceSummary};
use skopos_query::{QueryContext, QueryError, TimeRange};

use crate::blob::Blobs;
use crate::error::StorageError;
use crate::head::{BatchHead, HeadBatch};
use crate::options::StoreOptions;
use crate::scan::Scan;
use crate::table::{FileMeta, FileSwap, HeadSize, NewFile, Schema, Sealed, Table, View};
use filter::SpanFilter;
use read::OpenFiles;
use recent::RecentSpans;

/// All spans, wherever they are.
pub(crate) struct SpansTable {
    schema: Arc<Schema>,
    head: BatchHead<SpanBatch>,
    files: OpenFiles,
    recent: Mutex<RecentSpans>,
}

impl std::fmt::Debug for SpansTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpansTable").field("head", &self.head.size()).field("files", &self.head.files().len()).finish()
    }
}

impl SpansTable {
    /// An empty table with its files under `blobs`.
    pub(crate) fn new(blobs: Arc<dyn Blobs>, _options: &StoreOptions) -> Arc<Self> {
        Arc::new(Self { schema: Arc::new(columns::schema()), head: BatchHead::default(), files: OpenFiles::new(blobs), recent: Mutex::default() })
    }

    /// Takes a batch in; it can be queried when this returns. Sequence numbers must not go backwards; `now` is
    /// the time of arrival, Unix nanoseconds.
    pub(crate) fn append(&self, batch: SpanBatch, seq: u64, now: i64) {
        let batch = self.recent.lock().only_new(batch);
        self.head.append(HeadBatch { seq, rows: batch.len(), bytes: batch.memory(), batch }, now);
    }
}

impl Table for SpansTable {
    fn schemas(&self) -> Vec<Arc<Schema>> {
        vec![Arc::clone(&self.schema)]
    }

    fn views(&self) -> Vec<View> {
        vec![columns::view(&self.schema.columns())]
    }

    fn head(&self) -> HeadSize {
        self.head.size()
    }

    fn seal(&self) -> Option<Sealed> {
        self.head.seal()
    }

    fn encode_sealed(&self, blobs: &dyn Blobs) -> Result<Vec<NewFile>, StorageError> {
        Ok(encode::encode(&self.head.sealed(), &self.schema, blobs)?.into_iter().collect())
    }

    fn swap(&self, swap: FileSwap) {
        let removed = swap.remove.clone();
        self.head.swap(swap);
        self.files.forget(&removed);
    }

    fn plan_merge(&self, now: i64, full: bool) -> Option<Vec<Arc<FileMeta>>> {
        merge::plan(&self.head.files(), now, full)
    }

    fn merge(&self, inputs: &[Arc<FileMeta>], cutoff: i64, blobs: &dyn Blobs) -> Result<Vec<NewFile>, StorageError> {
        let open: Result<Vec<_>, StorageError> = inputs
            .iter()
            .map(|meta| {
                let reason = "it cannot be read and was set aside".to_owned();
                self.files.get(meta).ok_or_else(|| StorageError::Damaged { path: meta.file.path.clone(), reason })
            })
            .collect();
        merge::merge(&open?, cutoff, &self.schema, blobs)
    }

    fn files(&self) -> Vec<Arc<FileMeta>> {
        self.head.files()
    }
}

fn query_error(error: StorageError) -> QueryError {
    match error {
        StorageError::Query(error) => error,
        other => QueryError::Storage(other.to_string()),
    }
}

impl TraceStore for SpansTable {
    fn trace(&self, id: TraceId, ctx: &QueryContext) -> Result<Vec<SpanRow>, QueryError> {
        search::trace(&self.head.snapshot(), &self.files, id, ctx).map_err(query_error)
    }

    fn search(&self, search: &TraceSearch, ctx: &QueryContext) -> Result<Vec<TraceSummary>, QueryError> {
        search::search(&self.head.snapshot(), &self.files, search, ctx).map_err(query_error)
    }

    fn red(&self, range: TimeRange, filter: &Filter, group_by: &[String], ctx: &QueryContext) -> Result<Vec<RedRow>, QueryError> {
        red::red(&self.head.snapshot(), &self.files, range, filter, group_by, ctx).map_err(query_error)
    }

    fn edges(&self, range: TimeRange, service: Option<&str>, ctx: &QueryContext) -> Result<Vec<EdgeRow>, QueryError> {
        edges::edges(&self.head.snapshot(), &self.files, range, service, ctx).map_err(query_error)
    }

    fn versions(&self, range: TimeRange, service: Option<&str>, ctx: &QueryContext) -> Result<Vec<ServiceVersion>, QueryError> {
        red::versions(&self.head.snapshot(), &self.files, range, service, ctx).map_err(query_error)
    }

    fn scan(&self, scan: &SpanScan, ctx: &QueryContext, emit: &mut dyn FnMut(&dyn SpanBlock) -> Result<i64, QueryError>) -> Result<(), QueryError> {
        stream::scan(&self.head.snapshot(), &self.files, scan, ctx, emit).map_err(query_error)
    }

    fn rows(
        &self,
        range: TimeRange,
        filter: &Filter,
        ctx: &QueryContext,
        emit: &mut dyn FnMut(Vec<SpanRow>) -> Result<bool, QueryError>,
    ) -> Result<(), QueryError> {
        stream::rows(&self.head.snapshot(), &self.files, range, filter, ctx, emit).map_err(query_error)
    }

    fn traces(&self, ids: &HashSet<TraceId>, ctx: &QueryContext) -> Result<Vec<SpanRow>, QueryError> {
        search::traces(&self.head.snapshot(), &self.files, ids, ctx).map_err(query_error)
    }
}

impl Scan for SpansTable {
    fn public_schema(&self) -> SchemaRef {
        columns::public_schema()
    }

    fn scan(
        &self,
        columns: &[&str],
        filter: &Filter,
        range: TimeRange,
        ctx: &QueryContext,
        emit: &mut dyn FnMut(RecordBatch) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        let filter = Arc::new(SpanFilter::new(filter, range)?);
        public::scan(&self.head.snapshot(), &self.files, columns, &filter, ctx, emit)
    }
}
