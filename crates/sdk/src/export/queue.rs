//! A bounded queue of encoded records: shards of bytes that producers append to and the export thread swaps out.
//!
//! Records are appended with their protobuf tag and length, so that a shard's bytes are a piece of an export request
//! as they stand. A producer holds its shard's lock for one copy; it never waits for the network.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::drops::{Account, DropReason, Signal};
use crate::limits::{MAX_RECORD_BYTES, QUEUE_SHARDS};
use crate::wire;

/// `spans` of ScopeSpans, `log_records` of ScopeLogs: both are field 2.
const RECORD_FIELD: u32 = 2;

thread_local! {
    static SHARD: usize = NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % QUEUE_SHARDS;
}
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
pub(crate) struct Queue {
    signal: Signal,
    account: Arc<Account>,
    shard_bytes: usize,
    shards: [Mutex<Shard>; QUEUE_SHARDS],
    wake: Notify,
}

#[derive(Debug, Default)]
struct Shard {
    bytes: Vec<u8>,
    records: u64,
    closed: bool,
}

/// Records on their way out.
#[derive(Debug, Default, Clone)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: u64,
}

impl Queue {
    pub(crate) fn new(signal: Signal, account: Arc<Account>, queue_bytes: usize) -> Self {
        Self { signal, account, shard_bytes: (queue_bytes / QUEUE_SHARDS).max(1), shards: Default::default(), wake: Notify::new() }
    }

    /// Takes one encoded record, or counts it as dropped. Never blocks on I/O.
    pub(crate) fn push(&self, record: &[u8]) {
        self.account.take(self.signal, 1);
        if record.len() > MAX_RECORD_BYTES {
            self.account.lose(self.signal, DropReason::Oversize, 1);
            return;
        }
        // While a thread ends its own shard number may be gone; any shard will do.
        let shard = SHARD.try_with(|shard| *shard).unwrap_or(0);
        let mut shard = self.shards[shard].lock();
        let before = shard.bytes.len();
        let reason = if shard.closed {
            Some(DropReason::Shutdown)
        } else if before + record.len() + wire::header_len(RECORD_FIELD, record.len()) > self.shard_bytes {
            Some(DropReason::QueueFull)
        } else {
            None
        };
        if let Some(reason) = reason {
            drop(shard);
            self.account.lose(self.signal, reason, 1);
            return;
        }
        wire::header(&mut shard.bytes, RECORD_FIELD, record.len());
        shard.bytes.extend_from_slice(record);
        shard.records += 1;
        let half = self.shard_bytes / 2;
        let wake = before < half && shard.bytes.len() >= half;
        drop(shard);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Resolves when a shard is half full.
    pub(crate) async fn pressed(&self) {
        self.wake.notified().await;
    }

    /// Takes whole shards until `max_bytes` are reached; at least one if any has records.
    pub(crate) fn take(&self, max_bytes: usize) -> Batch {
        let mut batch = Batch::default();
        for shard in &self.shards {
            let mut shard = shard.lock();
            if shard.records == 0 || (batch.records > 0 && batch.bytes.len() + shard.bytes.len() > max_bytes) {
                continue;
            }
            batch.records += std::mem::take(&mut shard.records);
            if batch.bytes.is_empty() {
                // The shard grows to its working size again by itself; an idle process gives the memory back.
                batch.bytes = std::mem::take(&mut shard.bytes);
            } else {
                batch.bytes.append(&mut shard.bytes);
            }
        }
        batch
    }

    /// Refuses further records: they count as dropped by the shutdown.
    pub(crate) fn close(&self) {
        for shard in &self.shards {
            shard.lock().closed = true;
        }
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    /// Bytes waiting.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let account = Arc::new(Account::default());
        let queue = Queue::new(Signal::Traces, Arc::clone(&account), 8 * 100);
        for _ in 0..30 {
            queue.push(&[7; 8]);
        }
        queue.push(&vec![0; MAX_RECORD_BYTES + 1]);
        let batch = queue.take(usize::MAX);
        assert_eq!(batch.records, 10, "10 records of 8 + 2 bytes fill a shard of 100");
        assert_eq!(batch.bytes.len(), 100);
        assert_eq!(account.dropped(Signal::Traces, DropReason::QueueFull), 20);
        assert_eq!(account.dropped(Signal::Traces, DropReason::Oversize), 1);
        queue.close();
        queue.push(&[7; 8]);
        assert_eq!(account.dropped(Signal::Traces, DropReason::Shutdown), 1);
        let counts = account.counts(Signal::Traces);
        assert_eq!(counts.recorded, batch.records + counts.dropped);
    }

    #[test]
    fn many_threads_lose_nothing_uncounted() {
        let account = Arc::new(Account::default());
        let queue = Queue::new(Signal::Logs, Arc::clone(&account), 64 * 1024);
        let taken = AtomicUsize::new(0);
        let running = AtomicUsize::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        queue.push(&[1; 40]);
                    }
                    running.fetch_sub(1, Ordering::Release);
                });
            }
            scope.spawn(|| {
                while running.load(Ordering::Acquire) > 0 {
                    taken.fetch_add(queue.take(16 * 1024).records as usize, Ordering::Relaxed);
                }
            });
        });
        let mut arrived = taken.load(Ordering::Relaxed) as u64;
        loop {
            let batch = queue.take(16 * 1024);
            if batch.records == 0 {
                break;
            }
            assert_eq!(batch.bytes.len() as u64, batch.records * 42);
            arrived += batch.records;
        }
        assert_eq!(arrived + account.counts(Signal::Logs).dropped, 40_000);
    }
}
