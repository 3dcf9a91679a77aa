//! Records as they arrive, for whoever watches.
//!
//! Each watcher has a queue of the batches that came since it last looked. The batches are the head's own, so a queue
//! costs nothing until a flush takes them out of the head; what does not fit is left out and counted, and never does a
//! watcher hold up a writer.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use skopos_model::LogBatch;
use skopos_query::QueryError;
use skopos_query::filter::{CompiledFilter, Filter};
use skopos_query::logs::{Followed, LogFollower};

use super::record::{Filtered, HeadRecord, Record};
use crate::head::HeadBatch;

/// Most watchers at a time.
pub(super) const FOLLOWERS_MAX: usize = 64;
/// Most bytes of batches that wait for a watcher.
const QUEUE_BYTES_MAX: usize = 16 << 20;

type Arrived = Arc<HeadBatch<LogBatch>>;

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Arrived>,
    /// Rows of the first batch that have been looked at.
    done: usize,
    bytes: usize,
    skipped: u64,
}

/// One watcher.
#[derive(Debug)]
pub(super) struct Follower {
    filter: CompiledFilter,
    queue: Mutex<Queue>,
}

impl Follower {
    fn push(&self, batch: &Arrived) {
        let mut queue = self.queue.lock();
        while queue.bytes + batch.bytes > QUEUE_BYTES_MAX
            && let Some(oldest) = queue.batches.pop_front()
        {
            queue.bytes -= oldest.bytes;
            queue.skipped += (oldest.rows - queue.done) as u64;
            queue.done = 0;
        }
        if batch.bytes > QUEUE_BYTES_MAX {
            queue.skipped += batch.rows as u64;
            return;
        }
        queue.bytes += batch.bytes;
        queue.batches.push_back(Arc::clone(batch));
    }
}

impl LogFollower for Follower {
    fn drain(&self, rows_max: usize) -> Followed {
        let mut rows = Vec::new();
        while rows.len() < rows_max {
            // The lock is not held while rows are tested: writers pass here.
            let (batch, from) = {
                let queue = self.queue.lock();
                let Some(batch) = queue.batches.front() else { break };
                (Arc::clone(batch), queue.done)
            };
            let mut next = from;
            while next < batch.rows && rows.len() < rows_max {
                let record = HeadRecord { batch: &batch.batch, seq: batch.seq, row: next };
                next += 1;
                if self.filter.matches(&Filtered(&record)) {
                    rows.push(record.to_row());
                }
            }
            let mut queue = self.queue.lock();
            // Meanwhile it may have been thrown out.
            if queue.batches.front().is_some_and(|front| Arc::ptr_eq(front, &batch)) {
                queue.done = next;
                if next == batch.rows {
                    queue.batches.pop_front();
                    queue.bytes -= batch.bytes;
                    queue.done = 0;
                }
            }
        }
        let skipped = std::mem::take(&mut self.queue.lock().skipped);
        Followed { rows, skipped }
    }
}

/// All watchers.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<Vec<Weak<Follower>>>);

impl Followers {
    pub(super) fn add(&self, filter: &Filter) -> Result<Arc<Follower>, QueryError> {
        let follower = Arc::new(Follower { filter: CompiledFilter::new(filter)?, queue: Mutex::default() });
        let mut all = self.0.lock();
        all.retain(|known| known.strong_count() > 0);
        if all.len() >= FOLLOWERS_MAX {
            let message = format!("{FOLLOWERS_MAX} live tails are open: close one");
            return Err(QueryError::Limit { limit: "log_followers_max", message });
        }
        all.push(Arc::downgrade(&follower));
        Ok(follower)
    }

    pub(super) fn tell(&self, batch: &Arrived) {
        let all = self.0.lock();
        all.iter().filter_map(Weak::upgrade).for_each(|follower| follower.push(batch));
    }
}
