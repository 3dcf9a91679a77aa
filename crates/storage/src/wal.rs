//! The write-ahead log: what was acknowledged is on disk.
//!
//! One thread writes. Whatever waits is written together and synced once (group commit); then one thread a signal
//! puts the rows into the table's head in the order of their sequence numbers and acknowledges. So a head, cut
//! anywhere, is a prefix of its signal's part of the log.

mod log;
mod record;
mod replay;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use skopos_model::Batch;
use tokio::sync::oneshot;

pub(crate) use log::WalLog;
pub(crate) use record::{SIGNALS, signal_index};
pub(crate) use replay::Replay;

use crate::dedup::DedupClaim;
use crate::error::{AppendError, StorageError};
use crate::record::WalPayload;
use crate::report::AppendReport;
use crate::stats::WalStats;

/// A group this large does not wait for company.
const GROUP_BYTES: usize = 1 << 20;

/// Most bytes that wait to be written or to be put into a head; then appends are refused.
pub(crate) const QUEUE_BYTES_MAX: usize = 96 << 20;

/// How often a log that could not be written is tried again.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);

/// Puts a logged batch into its table's head: batch, sequence number. Tells what was not taken.
pub(crate) type Apply = Box<dyn Fn(Batch, u64) -> AppendReport + Send>;

struct Pending {
    payload: WalPayload,
    batch: Batch,
    /// Memory of body and rows.
    bytes: usize,
    claim: Option<DedupClaim>,
    done: oneshot::Sender<Result<AppendReport, AppendError>>,
}

struct Logged {
    sequence: u64,
    pending: Pending,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Pending>,
    waiting_bytes: usize,
    closing: bool,
    /// Why nothing can be written, `None` when all is well.
    failure: Option<String>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    log: Mutex<WalLog>,
    /// Bytes accepted and not yet in a head.
    in_flight: AtomicUsize,
    /// As of the last change: the log itself is locked while it syncs.
    figures: Mutex<WalStats>,
    /// A table failed to take what was logged: only a restart brings the rows back.
    broken: AtomicBool,
}

fn figures(log: &WalLog) -> WalStats {
    WalStats { bytes: log.bytes(), segments: log.segments() as u64, sequence: log.sequence(), ..WalStats::default() }
}

impl Shared {
    /// Notes the log's figures after a change, and how long it took if it was a commit.
    fn measure(&self, log: &WalLog, commit: Option<Duration>) {
        let mut noted = self.figures.lock();
        let nanos = commit.map_or(0, |took| u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        let (commits, commit_nanos) = (noted.commits + u64::from(commit.is_some()), noted.commit_nanos.saturating_add(nanos));
        *noted = WalStats { commits, commit_nanos, ..figures(log) };
    }
}

/// The running log.
pub(crate) struct Wal {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Wal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wal").field("log", &self.shared.log).finish_non_exhaustive()
    }
}

impl Wal {
    /// Starts the threads. `apply` has one entry a signal.
    pub(crate) fn start(log: WalLog, delay: Duration, apply: [Apply; 3]) -> Result<Self, StorageError> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            figures: Mutex::new(figures(&log)),
            log: Mutex::new(log),
            in_flight: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        });
        let mut threads = Vec::new();
        let mut spawn = |name: String, run: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name).spawn(run);
            threads.push(thread.map_err(|source| StorageError::Io { what: "cannot start a thread for", path: "wal".to_owned(), source })?);
            Ok::<(), StorageError>(())
        };
        let mut sinks = Vec::new();
        for (signal, apply) in SIGNALS.into_iter().zip(apply) {
            let (sender, receiver) = mpsc::channel::<Vec<Logged>>();
            sinks.push(sender);
            let shared = Arc::clone(&shared);
            spawn(format!("head-{}", signal.as_str()), Box::new(move || apply_logged(&shared, &receiver, &apply)))?;
        }
        let writer = Arc::clone(&shared);
        spawn("wal".to_owned(), Box::new(move || write_groups(&writer, &sinks, delay)))?;
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// Hands over a batch. The receiver tells when it is durable and in the head.
    pub(crate) fn submit(
        &self,
        payload: WalPayload,
        batch: Batch,
        claim: Option<DedupClaim>,
    ) -> Result<oneshot::Receiver<Result<AppendReport, AppendError>>, AppendError> {
        let bytes = payload.body.len() + memory(&batch);
        let (done, receiver) = oneshot::channel();
        let size = record::size(&payload);
        let mut queue = self.shared.queue.lock();
        if let Some(reason) = &queue.failure {
            return Err(read_only(reason.clone()));
        }
        if queue.closing {
            return Err(read_only("it is being shut down".to_owned()));
        }
        queue.waiting.push_back(Pending { payload, batch, bytes, claim, done });
        queue.waiting_bytes += size;
        self.shared.in_flight.fetch_add(bytes, Ordering::Relaxed);
        // The writer waits for the first of a group, then for a full one.
        let wake = queue.waiting.len() == 1 || queue.waiting_bytes >= GROUP_BYTES;
        drop(queue);
        if wake {
            self.shared.wake.notify_one();
        }
        Ok(receiver)
    }

    /// Bytes accepted and not yet in a head.
    pub(crate) fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// Removes segments that all signals have passed.
    pub(crate) fn free(&self, positions: [u64; 3]) -> std::io::Result<()> {
        let mut log = self.shared.log.lock();
        let freed = log.free(positions);
        self.shared.measure(&log, None);
        freed
    }

    /// Closes the open segment, so that it can be freed.
    pub(crate) fn rotate(&self) {
        self.shared.log.lock().rotate();
    }

    /// Figures.
    pub(crate) fn stats(&self) -> WalStats {
        let failure = self.shared.queue.lock().failure.clone();
        let figures = self.shared.figures.lock().clone();
        WalStats { writable: failure.is_none(), error: failure.unwrap_or_default(), ..figures }
    }

    /// Writes what waits, refuses what comes, and ends the threads. Blocks.
    pub(crate) fn close(&self) {
        self.shared.queue.lock().closing = true;
        self.shared.wake.notify_all();
        for thread in self.threads.lock().drain(..) {
            // A panic in there was reported by its thread.
            let _ = thread.join();
        }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.close();
    }
}

fn read_only(reason: String) -> AppendError {
    AppendError::ReadOnly { reason, retry_after: Duration::from_secs(1) }
}

/// Memory of decoded rows, about.
fn memory(batch: &Batch) -> usize {
    match batch {
        Batch::Logs(batch) => batch.memory(),
        Batch::Spans(batch) => batch.memory(),
        Batch::Samples(batch) => batch.values.capacity() * 16 + batch.series.capacity() * 8,
        Batch::Series(series, _) => series.iter().map(|s| s.samples.len() * 16 + s.labels.len() * 64 + 64).sum(),
    }
}

/// The writer thread: gathers a group, writes it, syncs, hands it on.
fn write_groups(shared: &Shared, sinks: &[mpsc::Sender<Vec<Logged>>], delay: Duration) {
    loop {
        let group: Vec<Pending> = {
            let mut queue = shared.queue.lock();
            while queue.waiting.is_empty() {
                if queue.closing {
                    return;
                }
                if queue.failure.is_some() {
                    shared.wake.wait_for(&mut queue, PROBE_INTERVAL);
                    if queue.failure.is_some() && !queue.closing {
                        parking_lot::MutexGuard::unlocked(&mut queue, || try_again(shared));
                    }
                } else {
                    shared.wake.wait(&mut queue);
                }
            }
            let until = Instant::now() + delay;
            while queue.waiting_bytes < GROUP_BYTES && !queue.closing {
                if shared.wake.wait_until(&mut queue, until).timed_out() {
                    break;
                }
            }
            queue.waiting_bytes = 0;
            queue.waiting.drain(..).collect()
        };
        let payloads: Vec<&WalPayload> = group.iter().map(|p| &p.payload).collect();
        let result = {
            let mut log = shared.log.lock();
            let started = Instant::now();
            let result = log.append(&payloads);
            shared.measure(&log, Some(started.elapsed()));
            result
        };
        match result {
            Ok(first) => {
                let mut by_signal: [Vec<Logged>; 3] = Default::default();
                for (pending, sequence) in group.into_iter().zip(first..) {
                    by_signal[signal_index(pending.payload.signal)].push(Logged { sequence, pending });
                }
                for (logged, sink) in by_signal.into_iter().zip(sinks) {
                    if !logged.is_empty() && sink.send(logged).is_err() {
                        break_down(shared, "a table's thread has ended; restart to recover its rows from the log");
                    }
                }
            }
            Err(error) => {
                let reason = format!("the write-ahead log cannot be written: {error}");
                tracing::error!(%error, "write-ahead log cannot be written; appends are refused until it can");
                shared.queue.lock().failure.get_or_insert_with(|| reason.clone());
                for pending in group {
                    refuse(shared, pending, &reason);
                }
            }
        }
        refuse_waiting(shared);
    }
}

/// Refuses what came in while the log was failing.
fn refuse_waiting(shared: &Shared) {
    let mut queue = shared.queue.lock();
    let Some(reason) = queue.failure.clone() else { return };
    let waiting: Vec<Pending> = queue.waiting.drain(..).collect();
    queue.waiting_bytes = 0;
    drop(queue);
    for pending in waiting {
        refuse(shared, pending, &reason);
    }
}

fn refuse(shared: &Shared, pending: Pending, reason: &str) {
    shared.in_flight.fetch_sub(pending.bytes, Ordering::Relaxed);
    // Whoever waited may have gone.
    let _ = pending.done.send(Err(read_only(reason.to_owned())));
}

fn try_again(shared: &Shared) {
    if shared.broken.load(Ordering::SeqCst) {
        return;
    }
    let probed = shared.log.lock().probe();
    let mut queue = shared.queue.lock();
    match probed {
        Ok(()) => {
            tracing::info!("write-ahead log can be written again");
            queue.failure = None;
        }
        Err(error) => queue.failure = Some(format!("the write-ahead log cannot be written: {error}")),
    }
}

fn break_down(shared: &Shared, reason: &str) {
    shared.broken.store(true, Ordering::SeqCst);
    shared.queue.lock().failure = Some(reason.to_owned());
    tracing::error!(reason, "store takes no more data");
}

/// A signal's thread: puts logged batches into the head and acknowledges.
fn apply_logged(shared: &Shared, groups: &mpsc::Receiver<Vec<Logged>>, apply: &Apply) {
    for Logged { sequence, pending } in groups.iter().flatten() {
        let Pending { payload, batch, bytes, claim, done } = pending;
        // The rows are in the log now; the body is not needed any more.
        drop(payload);
        let applied = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| apply(batch, sequence)));
        shared.in_flight.fetch_sub(bytes, Ordering::Relaxed);
        let Ok(report) = applied else {
            break_down(shared, "a table failed on rows that were logged; restart to recover them");
            let _ = done.send(Err(read_only("a table failed on these rows".to_owned())));
            continue;
        };
        if let Some(claim) = claim {
            claim.stored();
        }
        let _ = done.send(Ok(report));
    }
}
