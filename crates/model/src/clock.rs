//! Time as an argument: only tasks ask a [`Clock`], everything else is told.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where tasks get the time from.
pub trait Clock: Send + Sync + Debug {
    /// Unix nanoseconds.
    fn now_nanos(&self) -> i64;

    /// Unix milliseconds.
    fn now_millis(&self) -> i64 {
        self.now_nanos().div_euclid(1_000_000)
    }
}

/// The machine's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now_nanos(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at `nanos` (Unix nanoseconds).
    pub fn at(nanos: i64) -> Self {
        Self(AtomicI64::new(nanos))
    }

    /// Moves the clock to `nanos`.
    pub fn set(&self, nanos: i64) {
        self.0.store(nanos, Ordering::SeqCst);
    }

    /// Moves the clock forward.
    pub fn advance(&self, nanos: i64) {
        self.0.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_nanos(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}
