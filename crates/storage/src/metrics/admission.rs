//! The limit on active series.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Counts series that have a sample in the open head: those that were known before it was opened and came back,
/// and those created since (each has a sample on its way).
#[derive(Debug)]
pub(super) struct Admission {
    active_max: usize,
    /// First number of a series created since the head was opened.
    first_new: AtomicU32,
    /// Older series with a sample in the open head.
    returned: AtomicUsize,
}

impl Admission {
    pub(super) fn new(active_max: usize) -> Self {
        Self { active_max, first_new: AtomicU32::new(0), returned: AtomicUsize::new(0) }
    }

    /// Whether one more new series may come, which would get the number `next`.
    pub(super) fn admits(&self, next: u32) -> bool {
        self.active(next) < self.active_max
    }

    /// Active series when the next new one gets the number `next`.
    pub(super) fn active(&self, next: u32) -> usize {
        let created = next.saturating_sub(self.first_new.load(Ordering::Relaxed)) as usize;
        created + self.returned.load(Ordering::Relaxed)
    }

    /// A series got its first sample in the open head.
    pub(super) fn appeared(&self, series: u32) {
        if series < self.first_new.load(Ordering::Relaxed) {
            self.returned.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A new head was opened; the next new series gets the number `next`.
    pub(super) fn sealed(&self, next: u32) {
        self.first_new.store(next, Ordering::Relaxed);
        self.returned.store(0, Ordering::Relaxed);
    }
}
