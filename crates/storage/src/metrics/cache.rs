//! Run indexes of files that were read lately.

use std::collections::HashMap;
use std::sync::Arc;

use super::run_index::RunIndex;

/// Most bytes of run indexes kept: those of a file of a million series and of the flushes after it. A query reads all
/// files of its range one after the other, so one file too many is as bad as none kept.
const BYTES_MAX: usize = 128 << 20;

/// Keeps run indexes by file, the least recently used leave first.
#[derive(Debug, Default)]
pub(super) struct IndexCache {
    entries: HashMap<i64, (Arc<RunIndex>, u64)>,
    bytes: usize,
    clock: u64,
}

impl IndexCache {
    pub(super) fn get(&mut self, file: i64) -> Option<Arc<RunIndex>> {
        self.clock += 1;
        let (index, used) = self.entries.get_mut(&file)?;
        *used = self.clock;
        Some(Arc::clone(index))
    }

    pub(super) fn put(&mut self, file: i64, index: Arc<RunIndex>) {
        self.remove(file);
        self.clock += 1;
        self.bytes += index.memory();
        self.entries.insert(file, (index, self.clock));
        while self.bytes > BYTES_MAX && self.entries.len() > 1 {
            let Some(oldest) = self.entries.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id) else { break };
            self.remove(oldest);
        }
    }

    pub(super) fn remove(&mut self, file: i64) {
        if let Some((index, _)) = self.entries.remove(&file) {
            self.bytes -= index.memory();
        }
    }
}
