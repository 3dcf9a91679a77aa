//! Good and total events by five minutes. Ratios over any window are sums over sums: averaging ratios would weigh a
//! quiet minute like a busy one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Length of a bucket, milliseconds.
pub const BUCKET_MS: i64 = 300_000;

/// Events of one bucket, or of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct EventCount {
    /// Bad events.
    pub bad: f64,
    /// All events.
    pub total: f64,
}

impl EventCount {
    /// Share of bad events; none without events.
    pub fn ratio(&self) -> Option<f64> {
        (self.total > 0.0).then(|| self.bad / self.total)
    }
}

/// Event counts of one SLO.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SloCounts {
    buckets: BTreeMap<i64, EventCount>,
}

impl SloCounts {
    /// Start of the bucket that `at` lies in.
    pub fn bucket(at: i64) -> i64 {
        at.div_euclid(BUCKET_MS) * BUCKET_MS
    }

    /// Sets a bucket's counts; a later count of the same bucket replaces the earlier one.
    pub fn set(&mut self, bucket: i64, count: EventCount) {
        if count.bad.is_finite() && count.total.is_finite() && count.total >= 0.0 {
            self.buckets.insert(Self::bucket(bucket), EventCount { bad: count.bad.clamp(0.0, count.total), total: count.total });
        }
    }

    /// Sum over the buckets that start in `[start, end)`.
    pub fn window(&self, start: i64, end: i64) -> EventCount {
        if start >= end {
            return EventCount::default();
        }
        self.buckets.range(start..end).fold(EventCount::default(), |sum, (_, c)| EventCount { bad: sum.bad + c.bad, total: sum.total + c.total })
    }

    /// Sum from `start` up to the moment `at`. Of the bucket that `at` lies in the part before it counts, as if its events
    /// had come evenly; `now` says how far the last bucket has been counted.
    pub fn until(&self, start: i64, at: i64, now: i64) -> EventCount {
        let bucket = Self::bucket(at);
        let sum = self.window(start, bucket);
        let Some(part) = self.buckets.get(&bucket).filter(|_| bucket >= start) else { return sum };
        let counted = (now.min(bucket + BUCKET_MS) - bucket).max(1);
        let share = ((at - bucket) as f64 / counted as f64).clamp(0.0, 1.0);
        EventCount { bad: sum.bad + share * part.bad, total: sum.total + share * part.total }
    }

    /// The same without buckets that overlap any of these ranges `[from, to]`.
    pub fn without(&self, ranges: &[(i64, i64)]) -> Self {
        let hit = |at: i64| ranges.iter().any(|(from, to)| *from < at + BUCKET_MS && *to >= at);
        Self { buckets: self.buckets.iter().filter(|(at, _)| !hit(**at)).map(|(at, c)| (*at, *c)).collect() }
    }

    /// Drops buckets that start before `start`; returns them.
    pub fn forget_before(&mut self, start: i64) -> Vec<i64> {
        let kept = self.buckets.split_off(&start);
        std::mem::replace(&mut self.buckets, kept).into_keys().collect()
    }

    /// First bucket there is.
    pub fn first(&self) -> Option<i64> {
        self.buckets.keys().next().copied()
    }

    /// Buckets in order of time.
    pub fn iter(&self) -> impl Iterator<Item = (i64, EventCount)> + '_ {
        self.buckets.iter().map(|(at, c)| (*at, *c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_sums() {
        let mut counts = SloCounts::default();
        counts.set(0, EventCount { bad: 10.0, total: 100.0 });
        counts.set(BUCKET_MS, EventCount { bad: 0.0, total: 900.0 });
        assert_eq!(counts.window(0, 2 * BUCKET_MS).ratio(), Some(0.01));
        assert_eq!(counts.window(2 * BUCKET_MS, 9 * BUCKET_MS).ratio(), None);
        counts.set(BUCKET_MS + 1, EventCount { bad: 90.0, total: 900.0 });
        assert_eq!(counts.window(0, 2 * BUCKET_MS).ratio(), Some(0.1));
        // Half of the second bucket; all of it when nothing later has been counted.
        let half = BUCKET_MS + BUCKET_MS / 2;
        assert_eq!(counts.until(0, half, 9 * BUCKET_MS), EventCount { bad: 55.0, total: 550.0 });
        assert_eq!(counts.until(0, half, half), EventCount { bad: 100.0, total: 1_000.0 });
        assert_eq!(counts.until(BUCKET_MS, BUCKET_MS, half).total, 0.0);
        // A range takes every bucket it touches.
        assert_eq!(counts.without(&[(BUCKET_MS - 1, BUCKET_MS - 1)]).first(), Some(BUCKET_MS));
        assert_eq!(counts.without(&[(0, BUCKET_MS)]).first(), None);
        assert_eq!(counts.without(&[(-9, -1), (2 * BUCKET_MS, i64::MAX)]), counts);
        assert_eq!(counts.forget_before(BUCKET_MS), [0]);
        assert_eq!(counts.first(), Some(BUCKET_MS));
        counts.set(0, EventCount { bad: f64::NAN, total: 1.0 });
        assert_eq!(counts.first(), Some(BUCKET_MS));
    }
}
