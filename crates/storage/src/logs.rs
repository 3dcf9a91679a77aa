//! Logs: records in memory and in files, searched the same way.
//!
//! Files hold rows by (service, stream, time) in pages of 8,192 rows: a page of each column is a block, the unit of
//! the index and of all reading. Messages are stored as template, variables and tail (`template`, `bodies`); what a
//! filter asks is answered from templates, dictionaries, runs of streams, minute counts and bloom filters where
//! that is enough (`plan`, `body_test`), and from rebuilt rows where it is not.

mod bloom;
mod bodies;
mod body_test;
mod counts;
mod encode;
mod flush;
mod follow;
mod index;
mod merge;
mod open;
mod plan;
mod record;
mod scan;
mod schema;
mod search;
mod sections;
mod sql;
mod template;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use skopos_model::{LogBatch, Resource};
use skopos_query::QueryContext;
use skopos_query::error::QueryError;

use crate::blob::Blobs;
use crate::error::StorageError;
use crate::head::{BatchHead, HeadBatch};
use crate::options::StoreOptions;
use crate::table::{FileMeta, FileSwap, HeadSize, NewFile, Schema, Sealed, Table, View};

use encode::{FileEncoder, Origin};
use flush::Gather;
use open::{Block, OpenFile};
use plan::Plan;
use schema::Kind;

/// Resources parsed from files that are kept in memory.
const RESOURCES_MAX: usize = 20_000;
/// Blocks of one read: bounds what a scan holds in memory.
const BLOCKS_PER_READ: usize = 32;

/// Resources of files, parsed once.
#[derive(Debug, Default)]
pub(super) struct Resources(Mutex<HashMap<u64, Arc<Resource>>>);

impl Resources {
    /// The resource a file's text stands for; a text that does not parse is a resource without attributes.
    fn get(&self, json: &str) -> Arc<Resource> {
        let hash = xxhash_rust::xxh3::xxh3_64(json.as_bytes());
        if let Some(known) = self.0.lock().get(&hash) {
            return Arc::clone(known);
        }
        let parsed = Arc::new(record::parse_resource(json).unwrap_or_default());
        let mut known = self.0.lock();
        if known.len() >= RESOURCES_MAX {
            known.clear();
        }
        known.insert(hash, Arc::clone(&parsed));
        parsed
    }
}

/// The table of log records.
#[derive(Debug)]
pub(crate) struct LogsTable {
    blobs: Arc<dyn Blobs>,
    schema: Arc<Schema>,
    head: BatchHead<LogBatch>,
    open: Mutex<HashMap<i64, Arc<OpenFile>>>,
    resources: Resources,
    /// Resources of streams in files, by id.
    streams: Mutex<HashMap<u64, Arc<Resource>>>,
    followers: follow::Followers,
}

impl LogsTable {
    /// An empty table; the engine adds the catalog's files through [`Table::swap`].
    pub(crate) fn new(blobs: Arc<dyn Blobs>, _options: &StoreOptions) -> Arc<Self> {
        Arc::new(Self {
            blobs,
            schema: Arc::new(schema::schema()),
            head: BatchHead::default(),
            open: Mutex::default(),
            resources: Resources::default(),
            streams: Mutex::default(),
            followers: follow::Followers::default(),
        })
    }

    /// Makes a batch queryable. `seq`: its WAL sequence; `now`: Unix nanoseconds.
    pub(crate) fn append(&self, batch: LogBatch, seq: u64, now: i64) {
        if !batch.is_empty() {
            let batch = self.head.append(HeadBatch { seq, rows: batch.len(), bytes: batch.memory(), batch }, now);
            self.followers.tell(&batch);
        }
    }

    /// Opens a file, or `None` when it is damaged: it was reported and is left out.
    fn open(&self, meta: &Arc<FileMeta>) -> Result<Option<Arc<OpenFile>>, StorageError> {
        if meta.is_damaged() {
            return Ok(None);
        }
        if let Some(open) = self.open.lock().get(&meta.id) {
            return Ok(Some(Arc::clone(open)));
        }
        match OpenFile::open(&*self.blobs, Arc::clone(meta), &self.schema) {
            Ok(file) => {
                let file = Arc::new(file);
                self.open.lock().insert(meta.id, Arc::clone(&file));
                Ok(Some(file))
            }
            Err(error) => meta.set_aside(error).map(|()| None),
        }
    }

    /// Calls `visit` with the rows of the given blocks that the plan takes, until it returns false. `extra`: columns
    /// `visit` needs. False when stopped.
    fn scan_blocks(
        &self,
        plan: &mut Plan,
        file: &Arc<OpenFile>,
        blocks: Vec<(usize, Vec<u32>)>,
        extra: &[Kind],
        ctx: &QueryContext,
        visit: &mut dyn FnMut(&Block, &[u32]) -> Result<bool, StorageError>,
    ) -> Result<bool, StorageError> {
        let mut blocks = blocks.into_iter().peekable();
        while let Some((first, _)) = blocks.peek() {
            ctx.check()?;
            let group = file.blocks[*first].group;
            let mut chunk: Vec<(usize, Vec<u32>)> = Vec::new();
            while chunk.len() < BLOCKS_PER_READ
                && let Some(block) = blocks.next_if(|(number, _)| file.blocks[*number].group == group)
            {
                chunk.push(block);
            }
            let numbers: Vec<usize> = chunk.iter().map(|(number, _)| *number).collect();
            let (mut kinds, mut second) = plan.kinds(file, &numbers);
            if plan.has_cheap() {
                if !plan.has_costly() {
                    kinds.extend_from_slice(extra);
                }
                let read = file.read_blocks(&kinds, &numbers, ctx)?;
                let mut left = Vec::new();
                for (block, (number, mut rows)) in read.iter().zip(chunk) {
                    plan.retain_times(block, &mut rows);
                    plan.retain_cheap(block, &mut rows, &self.resources);
                    if rows.is_empty() {
                        continue;
                    }
                    if plan.has_costly() {
                        left.push((number, rows));
                    } else if !visit(block, &rows)? {
                        return Ok(false);
                    }
                }
                if !plan.has_costly() {
                    continue;
                }
                chunk = left;
            }
            let numbers: Vec<usize> = chunk.iter().map(|(number, _)| *number).collect();
            second.extend_from_slice(extra);
            for (block, (_, mut rows)) in file.read_blocks(&second, &numbers, ctx)?.iter().zip(chunk) {
                if !plan.has_cheap() {
                    plan.retain_times(block, &mut rows);
                }
                plan.retain_costly(block, &mut rows, &self.resources);
                if !rows.is_empty() && !visit(block, &rows)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Calls `visit` with all rows of a file that the plan takes; a damaged file is left out. False when stopped.
    fn scan_file(
        &self,
        plan: &mut Plan,
        meta: &Arc<FileMeta>,
        extra: &dyn Fn(&OpenFile) -> Vec<Kind>,
        ctx: &QueryContext,
        visit: &mut dyn FnMut(&Block, &[u32]) -> Result<bool, StorageError>,
    ) -> Result<bool, StorageError> {
        if !plan.range.overlaps(meta.file.time_min, meta.file.time_max) {
            ctx.stats.add_files(0, 1);
            return Ok(true);
        }
        let Some(file) = self.open(meta)? else { return Ok(true) };
        let result = plan.blocks(&file).and_then(|blocks| {
            ctx.stats.add_files(u64::from(!blocks.is_empty()), u64::from(blocks.is_empty()));
            self.scan_blocks(plan, &file, blocks, &extra(&file), ctx, visit)
        });
        match result {
            Ok(go_on) => Ok(go_on),
            Err(error) => meta.set_aside(error).map(|()| true),
        }
    }
}

/// A storage error as the query's.
fn query_error(error: StorageError) -> QueryError {
    match error {
        StorageError::Query(inner) => inner,
        other => QueryError::Storage(other.to_string()),
    }
}

impl Table for LogsTable {
    fn schemas(&self) -> Vec<Arc<Schema>> {
        vec![Arc::clone(&self.schema)]
    }

    fn views(&self) -> Vec<View> {
        vec![schema::view(&self.schema)]
    }

    fn head(&self) -> HeadSize {
        self.head.size()
    }

    fn seal(&self) -> Option<Sealed> {
        self.head.seal()
    }

    fn encode_sealed(&self, blobs: &dyn Blobs) -> Result<Vec<NewFile>, StorageError> {
        let batches = self.head.sealed();
        let (Some(seq_min), Some(seq_max)) = (batches.iter().map(|b| b.seq).min(), batches.iter().map(|b| b.seq).max()) else {
            return Ok(Vec::new());
        };
        let origin = Origin { seq_min, seq_max, level: 0 };
        let gather = Gather::new(&batches, &self.schema);
        let mut encoder = FileEncoder::new(blobs, origin, gather.columns().to_vec())?;
        for rows in gather.groups() {
            encoder.group(&mut gather.group(rows))?;
        }
        Ok(vec![encoder.finish(origin)?])
    }

    fn swap(&self, swap: FileSwap) {
        self.head.swap(swap);
        // Also those that a query opened again after an earlier swap: an open file is not deleted.
        let current: HashSet<i64> = self.head.files().iter().map(|f| f.id).collect();
        self.open.lock().retain(|id, _| current.contains(id));
    }

    fn plan_merge(&self, now: i64, full: bool) -> Option<Vec<Arc<FileMeta>>> {
        let files: Vec<_> = self.head.files().into_iter().filter(|f| !f.is_damaged()).collect();
        merge::plan(&files, now, full)
    }

    fn merge(&self, inputs: &[Arc<FileMeta>], cutoff: i64, blobs: &dyn Blobs) -> Result<Vec<NewFile>, StorageError> {
        merge::merge(inputs, cutoff, blobs, &self.schema)
    }

    fn files(&self) -> Vec<Arc<FileMeta>> {
        self.head.files()
    }
}
