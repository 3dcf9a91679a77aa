//! The account of every record: taken, delivered, or dropped and why.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The label value in metrics.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

table!(
    /// What kind of record.
    Signal {
        /// Spans.
        Traces => "traces",
        /// Log records on their way to the OTLP receiver.
        Logs => "logs",
        /// Metric data points.
        Metrics => "metrics",
        /// JSON lines on their way to standard output.
        Stdout => "stdout",
    }
);

table!(
    /// Why a record was not delivered.
    DropReason {
        /// The queue had no room: records came faster than they could be sent.
        QueueFull => "queue_full",
        /// The record alone was larger than a record may be.
        Oversize => "oversize",
        /// The receiver refused the request, or this record of it, for good.
        Rejected => "rejected",
        /// The receiver could not be reached, or did not answer, for as long as a batch is retried.
        RetryExhausted => "retry_exhausted",
        /// The process stopped before the record was confirmed. Those in a request that was being answered at that
        /// moment may have arrived nevertheless.
        Shutdown => "shutdown",
    }
);

/// Counters by signal and reason.
#[derive(Debug, Default)]
pub(crate) struct Account {
    dropped: [[AtomicU64; DropReason::ALL.len()]; Signal::ALL.len()],
    taken: [AtomicU64; Signal::ALL.len()],
    delivered: [AtomicU64; Signal::ALL.len()],
    last_reason: parking_lot::Mutex<String>,
}

impl Account {
    pub(crate) fn lose(&self, signal: Signal, reason: DropReason, records: u64) {
        self.dropped[signal as usize][reason as usize].fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn take(&self, signal: Signal, records: u64) {
        self.taken[signal as usize].fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn deliver(&self, signal: Signal, records: u64) {
        self.delivered[signal as usize].fetch_add(records, Ordering::Relaxed);
    }

    /// Remembers what the receiver, or the way to it, said last; the warning about drops quotes it.
    pub(crate) fn explain(&self, reason: &str) {
        crate::limits::cut(reason, 512).clone_into(&mut self.last_reason.lock());
    }

    pub(crate) fn last_reason(&self) -> String {
        self.last_reason.lock().clone()
    }

    pub(crate) fn dropped(&self, signal: Signal, reason: DropReason) -> u64 {
        self.dropped[signal as usize][reason as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn counts(&self, signal: Signal) -> Counts {
        Counts {
            recorded: self.taken[signal as usize].load(Ordering::Relaxed),
            delivered: self.delivered[signal as usize].load(Ordering::Relaxed),
            dropped: DropReason::ALL.iter().map(|reason| self.dropped(signal, *reason)).sum(),
        }
    }

    /// Everything dropped so far.
    pub(crate) fn total_dropped(&self) -> u64 {
        Signal::ALL.iter().map(|signal| self.counts(*signal).dropped).sum()
    }
}

/// What became of the records of one signal. After shutdown `recorded = delivered + dropped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Records the application made.
    pub recorded: u64,
    /// Records the receiver confirmed.
    pub delivered: u64,
    /// Records that were dropped, for whatever reason.
    pub dropped: u64,
}
