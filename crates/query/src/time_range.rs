//! A half-open range of event time.

use serde::{Deserialize, Serialize};

/// `[start, end)` in Unix nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// First nanosecond inside.
    pub start: i64,
    /// First nanosecond outside.
    pub end: i64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { start: i64::MIN, end: i64::MAX };

    /// Whether `time` (Unix nanoseconds) is inside.
    pub fn contains(&self, time: i64) -> bool {
        self.start <= time && time < self.end
    }

    /// Whether any time of the closed range `min..=max` is inside.
    pub fn overlaps(&self, min: i64, max: i64) -> bool {
        self.start <= max && min < self.end
    }
}
