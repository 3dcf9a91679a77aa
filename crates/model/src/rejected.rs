//! What a decoder did not take, and why.

use serde::Serialize;

/// Rows of a request that were not accepted, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// Short fixed word for metrics (`invalid_trace_id`, `too_many_labels`, …).
    pub reason: &'static str,
    /// How many rows.
    pub count: u64,
    /// The first of them: what was wrong, where, what was expected.
    pub example: String,
}

/// The good part of an input and a report on the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded<T> {
    /// Rows that were accepted.
    pub batch: T,
    /// Rows that were not, by reason; empty when all was good.
    pub rejected: Vec<Rejected>,
}

impl<T> Decoded<T> {
    /// All was good.
    pub fn all(batch: T) -> Self {
        Self { batch, rejected: Vec::new() }
    }

    /// Number of rows not accepted.
    pub fn rejected_count(&self) -> u64 {
        self.rejected.iter().map(|r| r.count).sum()
    }

    /// Counts one rejected row; `example` is only called for the first of a reason.
    pub fn reject(rejected: &mut Vec<Rejected>, reason: &'static str, count: u64, example: impl FnOnce() -> String) {
        match rejected.iter_mut().find(|r| r.reason == reason) {
            Some(known) => known.count += count,
            None => rejected.push(Rejected { reason, count, example: example() }),
        }
    }
}
