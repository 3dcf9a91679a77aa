//! The engine: what happens to rows, whatever table they belong to.
//!
//! It knows tables only through [`Table`]. A batch is logged, applied to its table's head, sealed, encoded, committed
//! and made visible as files in one swap; files are merged, and dropped when their time has come.

mod encoder;
mod flush;
mod merge;
mod recovery;
mod retention;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use skopos_model::{Batch, Clock, SeriesResolver, Signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use encoder::Encoder;

use crate::blob::LocalBlobs;
use crate::catalog::Database;
use crate::dedup::{Dedup, Seen};
use crate::disk::{Disk, FolderLock};
use crate::error::{AppendError, StorageError};
use crate::options::StoreOptions;
use crate::record::{WalDecoder, WalPayload};
use crate::report::AppendReport;
use crate::stats::{DamagedFile, RecoveryStats, SeriesStats, SignalStats, StoreStats};
use crate::table::{FileMeta, Schema, Table};
use crate::wal::{self, Apply, Wal, signal_index};

/// Longest an append waits for room in the heads before it is refused.
const ROOM_WAIT_MAX: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(2) };

/// How often the heads are looked at.
const FLUSH_TICK: Duration = Duration::from_millis(250);

/// Pause after upkeep has failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How often merges are looked for.
const MERGE_TICK: Duration = Duration::from_secs(5);

/// How often rows, snapshots and files are looked at for their age.
const RETENTION_TICK: Duration = Duration::from_secs(60);

/// Gives the numbering of series to a function.
pub(crate) type WithResolver = Box<dyn Fn(&mut dyn FnMut(&mut dyn SeriesResolver)) + Send + Sync>;

/// Puts a batch into a head: batch, sequence number, now (Unix nanoseconds).
pub(crate) type AppendBatch = Box<dyn Fn(Batch, u64, i64) -> AppendReport + Send + Sync>;

/// A signal's table and what the engine keeps about it.
pub(crate) struct Slot {
    pub(crate) signal: Signal,
    pub(crate) table: Arc<dyn Table>,
    append: AppendBatch,
    retention: Duration,
    schemas: Vec<Arc<Schema>>,
    flushing: tokio::sync::Mutex<flush::FlushState>,
    merging: tokio::sync::Mutex<()>,
    head_bytes: AtomicUsize,
    /// Of this signal, what is in files: all up to this sequence number.
    position: AtomicU64,
    rows_appended: AtomicU64,
    duplicates: AtomicU64,
    flushes: AtomicU64,
    /// A commit whose outcome is unknown: flushing again could store rows twice.
    stopped: AtomicBool,
}

impl Slot {
    pub(crate) fn new(signal: Signal, table: Arc<dyn Table>, retention: Duration, append: AppendBatch) -> Self {
        Self {
            signal,
            schemas: table.schemas(),
            table,
            append,
            retention,
            flushing: tokio::sync::Mutex::default(),
            merging: tokio::sync::Mutex::default(),
            head_bytes: AtomicUsize::new(0),
            position: AtomicU64::new(0),
            rows_appended: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// Puts a logged batch into the head. Sequence numbers come in ascending order.
    fn apply(&self, batch: Batch, sequence: u64, now: i64) -> AppendReport {
        let report = (self.append)(batch, sequence, now);
        self.measure();
        report
    }

    /// Looks again how much memory the head takes.
    fn measure(&self) {
        self.head_bytes.store(self.table.head().bytes, Ordering::Relaxed);
    }

    fn stats(&self) -> SignalStats {
        let head = self.table.head();
        let files = self.table.files();
        SignalStats {
            rows_appended: self.rows_appended.load(Ordering::Relaxed),
            duplicates: self.duplicates.load(Ordering::Relaxed),
            head_rows: head.rows as u64,
            head_bytes: head.bytes as u64,
            files: files.len() as u64,
            file_rows: files.iter().map(|f| f.file.rows).sum(),
            file_bytes: files.iter().map(|f| f.file.bytes).sum(),
            flushes: self.flushes.load(Ordering::Relaxed),
        }
    }
}

/// What an engine is made of.
pub(crate) struct Parts {
    pub(crate) options: StoreOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) blobs: LocalBlobs,
    pub(crate) database: Arc<Database>,
    /// One a signal, in the signals' order.
    pub(crate) slots: [Slot; 3],
    pub(crate) decoder: Arc<dyn WalDecoder>,
    pub(crate) resolver: WithResolver,
    /// Held as long as anything writes.
    pub(crate) lock: Option<FolderLock>,
}

/// See the module.
pub(crate) struct Engine {
    options: StoreOptions,
    clock: Arc<dyn Clock>,
    blobs: Arc<LocalBlobs>,
    database: Arc<Database>,
    slots: Arc<[Slot; 3]>,
    wal: Arc<Wal>,
    dedup: Dedup,
    /// Told when a head has been flushed.
    room: Notify,
    /// Told when a head should be flushed.
    due: Arc<Notify>,
    encoder: Encoder,
    merges: AtomicU64,
    /// Files that left; whoever still reads one holds it.
    retired: Mutex<HashMap<i64, Weak<FileMeta>>>,
    damaged: Vec<DamagedFile>,
    recovery: RecoveryStats,
    background_error: Mutex<String>,
    stop: CancellationToken,
    _lock: Option<FolderLock>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("wal", &self.wal).finish_non_exhaustive()
    }
}

impl Engine {
    /// Appends a batch; `Ok` when it is durable and in the head.
    pub(crate) async fn append(&self, payload: WalPayload, batch: Batch) -> Result<AppendReport, AppendError> {
        let slot = self.slot(batch.signal());
        let rows = batch.rows() as u64;
        if is_nothing(&batch) {
            return Ok(AppendReport::default());
        }
        let claim = loop {
            match self.dedup.look(&payload, self.clock.now_nanos()) {
                None => break None,
                Some(Seen::New(claim)) => break Some(claim),
                Some(Seen::Stored) => {
                    slot.duplicates.fetch_add(1, Ordering::Relaxed);
                    return Ok(AppendReport::default());
                }
                Some(Seen::Pending(mut stored)) => {
                    // An error: the other request failed, so this one takes its place.
                    if stored.wait_for(|stored| *stored).await.is_ok() {
                        slot.duplicates.fetch_add(1, Ordering::Relaxed);
                        return Ok(AppendReport::default());
                    }
                }
            }
        };
        self.wait_for_room().await?;
        let done = self.wal.submit(payload, batch, claim)?;
        let report = match done.await {
            Ok(result) => result?,
            Err(_) => {
                return Err(AppendError::ReadOnly { reason: "the write-ahead log has stopped".to_owned(), retry_after: Duration::from_secs(1) });
            }
        };
        slot.rows_appended.fetch_add(rows.saturating_sub(report.rows()), Ordering::Relaxed);
        Ok(report)
    }

    /// Unix nanoseconds.
    pub(crate) fn now(&self) -> i64 {
        self.clock.now_nanos()
    }

    fn slot(&self, signal: Signal) -> &Slot {
        &self.slots[signal_index(signal)]
    }

    /// Bytes in heads and on their way there.
    fn held_bytes(&self) -> usize {
        held_bytes(&self.slots) + self.wal.in_flight()
    }

    async fn wait_for_room(&self) -> Result<(), AppendError> {
        let limit = || {
            if self.wal.in_flight() >= wal::QUEUE_BYTES_MAX {
                Some("wal_queue_bytes_max")
            } else if self.held_bytes() >= self.options.head_bytes_max {
                Some("head_bytes_max")
            } else {
                None
            }
        };
        if limit().is_none() {
            return Ok(());
        }
        let deadline = tokio::time::Instant::now() + ROOM_WAIT_MAX;
        loop {
            let room = self.room.notified();
            let Some(limit) = limit() else { return Ok(()) };
            self.due.notify_one();
            if tokio::time::timeout_at(deadline, room).await.is_err() {
                return Err(AppendError::Overloaded { limit, retry_after: Duration::from_secs(1) });
            }
        }
    }

    /// Runs upkeep until [`Engine::close`]: flushes, merges, retention, expiry.
    pub(crate) async fn run_background(self: Arc<Self>) {
        let flushes = self.every(FLUSH_TICK, |engine| async move { engine.flush_due().await });
        let merges = self.every(MERGE_TICK, |engine| async move { engine.merge_all(false).await });
        let retention = self.every(RETENTION_TICK, |engine| async move {
            engine.drop_old().await?;
            let now = engine.clock.now_nanos();
            engine.expire(now.saturating_sub(nanos(engine.options.snapshot_age))).await
        });
        tokio::join!(flushes, merges, retention);
    }

    async fn every<F, Fut>(self: &Arc<Self>, period: Duration, work: F)
    where
        F: Fn(Arc<Self>) -> Fut,
        Fut: Future<Output = Result<(), StorageError>>,
    {
        let mut tick = tokio::time::interval(period);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = tick.tick() => {}
                () = self.due.notified(), if period == FLUSH_TICK => {}
            }
            let result = work(Arc::clone(self)).await;
            let failed = result.is_err();
            self.note_background(result);
            if failed {
                // A full disk does not get better by trying at each append.
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY_PAUSE) => {}
                }
            }
        }
    }

    fn note_background(&self, result: Result<(), StorageError>) {
        let error = result.err().map(|e| e.to_string()).unwrap_or_default();
        let mut last = self.background_error.lock();
        if !error.is_empty() && *last != error {
            tracing::error!(error, "store upkeep failed; it is tried again");
        }
        *last = error;
    }

    /// Everything acknowledged is in files, merged to their final form, and what they replaced is gone.
    pub(crate) async fn settle(&self) -> Result<(), StorageError> {
        self.flush_all().await?;
        self.merge_all(true).await?;
        self.drop_old().await?;
        self.expire(self.clock.now_nanos()).await?;
        self.database.checkpoint().await
    }

    /// Refuses new data, writes all to files and closes the catalog.
    pub(crate) async fn close(&self) -> Result<(), StorageError> {
        self.stop.cancel();
        let wal = Arc::clone(&self.wal);
        blocking(move || {
            wal.close();
            Ok(())
        })
        .await?;
        let flushed = self.flush_all().await;
        let closed = self.database.close().await;
        flushed.and(closed)
    }

    /// Figures.
    pub(crate) fn stats(&self) -> StoreStats {
        let signal = |signal| self.slot(signal).stats();
        let found_since = self.slots.iter().flat_map(|slot| slot.table.files()).filter_map(|file| file.damage());
        StoreStats {
            logs: signal(Signal::Logs),
            traces: signal(Signal::Traces),
            metrics: signal(Signal::Metrics),
            series: SeriesStats::default(),
            refused_by_limit: Vec::new(),
            wal: self.wal.stats(),
            merges: self.merges.load(Ordering::Relaxed),
            damaged: self.damaged.iter().cloned().chain(found_since).collect(),
            recovery: self.recovery.clone(),
            background_error: self.background_error.lock().clone(),
        }
    }

    /// Frees segments of the log that are in files as a whole.
    async fn free_log(&self) -> Result<(), StorageError> {
        let positions = std::array::from_fn(|i| self.slots[i].position.load(Ordering::SeqCst));
        let wal = Arc::clone(&self.wal);
        let io = |source| StorageError::Io { what: "cannot remove segment of", path: "wal".to_owned(), source };
        blocking(move || wal.free(positions).map_err(io)).await
    }
}

/// Whether there is nothing to store: a record that reaches no head would keep its segment for ever.
fn is_nothing(batch: &Batch) -> bool {
    match batch {
        Batch::Logs(batch) => batch.is_empty(),
        Batch::Spans(batch) => batch.is_empty(),
        Batch::Samples(batch) => batch.is_empty(),
        Batch::Series(series, metadata) => series.is_empty() && metadata.is_empty(),
    }
}

fn held_bytes(slots: &[Slot; 3]) -> usize {
    slots.iter().map(|s| s.head_bytes.load(Ordering::Relaxed)).sum()
}

/// A duration in nanoseconds.
fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Runs work that computes or waits for the disk on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StorageError> + Send + 'static) -> Result<T, StorageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StorageError::Format { what: "background work failed", reason: error.to_string() }),
    }
}

/// What the log's threads do with a batch.
fn appliers(slots: &Arc<[Slot; 3]>, clock: &Arc<dyn Clock>, due: &Arc<Notify>, options: &StoreOptions) -> [Apply; 3] {
    std::array::from_fn(|i| -> Apply {
        let (slots, clock, due) = (Arc::clone(slots), Arc::clone(clock), Arc::clone(due));
        let (rows_max, bytes_max) = (options.flush_rows, options.head_bytes_max / 2);
        Box::new(move |batch, sequence| {
            let slot = &slots[i];
            let report = slot.apply(batch, sequence, clock.now_nanos());
            if flush::is_large(slot, rows_max) || held_bytes(&slots) >= bytes_max {
                due.notify_one();
            }
            report
        })
    })
}

#[cfg(test)]
mod tests;
