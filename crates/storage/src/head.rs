//! A head made of batches as they came: what logs and traces keep in memory until a flush.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::table::{FileMeta, FileSwap, HeadSize, Sealed};

/// A batch and its place in the write-ahead log.
#[derive(Debug)]
pub(crate) struct HeadBatch<B> {
    pub(crate) seq: u64,
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    pub(crate) batch: B,
}

#[derive(Debug)]
struct State<B> {
    open: Vec<Arc<HeadBatch<B>>>,
    sealed: Vec<Arc<HeadBatch<B>>>,
    files: Vec<Arc<FileMeta>>,
    open_since: i64,
    /// Running totals: the size is asked for at every append.
    open_rows: usize,
    open_bytes: usize,
    sealed_bytes: usize,
}

/// What a query looks at: every row is in exactly one of the two.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot<B> {
    /// Sealed, then open batches, in WAL order.
    pub(crate) batches: Vec<Arc<HeadBatch<B>>>,
    /// Files, oldest first.
    pub(crate) files: Vec<Arc<FileMeta>>,
}

/// Batches in memory and the list of files, changed together under one lock.
#[derive(Debug)]
pub(crate) struct BatchHead<B>(RwLock<State<B>>);

impl<B> Default for BatchHead<B> {
    fn default() -> Self {
        Self(RwLock::new(State {
            open: Vec::new(),
            sealed: Vec::new(),
            files: Vec::new(),
            open_since: 0,
            open_rows: 0,
            open_bytes: 0,
            sealed_bytes: 0,
        }))
    }
}

impl<B> BatchHead<B> {
    /// Appends a batch; sequence numbers must not go backwards. `now`: Unix nanoseconds. Returns it as it is kept.
    pub(crate) fn append(&self, batch: HeadBatch<B>, now: i64) -> Arc<HeadBatch<B>> {
        let batch = Arc::new(batch);
        let mut state = self.0.write();
        if state.open.is_empty() {
            state.open_since = now;
        }
        state.open_rows += batch.rows;
        state.open_bytes += batch.bytes;
        state.open.push(Arc::clone(&batch));
        batch
    }

    /// All rows at this moment.
    pub(crate) fn snapshot(&self) -> Snapshot<B> {
        let state = self.0.read();
        Snapshot { batches: state.sealed.iter().chain(&state.open).map(Arc::clone).collect(), files: state.files.clone() }
    }

    /// How full it is.
    pub(crate) fn size(&self) -> HeadSize {
        let state = self.0.read();
        HeadSize {
            rows: state.open_rows,
            bytes: state.open_bytes + state.sealed_bytes,
            since: if state.open.is_empty() { 0 } else { state.open_since },
        }
    }

    /// See [`crate::table::Table::seal`].
    pub(crate) fn seal(&self) -> Option<Sealed> {
        let mut state = self.0.write();
        if state.open.is_empty() || !state.sealed.is_empty() {
            return None;
        }
        state.sealed = std::mem::take(&mut state.open);
        state.sealed_bytes = std::mem::take(&mut state.open_bytes);
        state.open_rows = 0;
        Some(Sealed { seq_max: state.sealed.iter().map(|b| b.seq).max().unwrap_or(0), rows: state.sealed.iter().map(|b| b.rows).sum() })
    }

    /// The batches being flushed.
    pub(crate) fn sealed(&self) -> Vec<Arc<HeadBatch<B>>> {
        self.0.read().sealed.clone()
    }

    /// See [`crate::table::Table::swap`].
    pub(crate) fn swap(&self, swap: FileSwap) {
        let mut state = self.0.write();
        state.files.retain(|f| !swap.remove.contains(&f.id));
        state.files.extend(swap.add);
        state.files.sort_by_key(|f| (f.file.time_min, f.id));
        if swap.drop_sealed {
            state.sealed.clear();
            state.sealed_bytes = 0;
        }
    }

    /// The files at this moment.
    pub(crate) fn files(&self) -> Vec<Arc<FileMeta>> {
        self.0.read().files.clone()
    }
}
