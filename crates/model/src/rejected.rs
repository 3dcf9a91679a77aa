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
    /// Rows that were accepted, but not as they came (cut, attributes dropped), by reason. Where this is not
    /// empty, the batch and not the body has to be logged.
    pub changed: Vec<Rejected>,
}

impl<T> Decoded<T> {
    /// All was good.
    pub fn all(batch: T) -> Self {
        Self { batch, rejected: Vec::new(), changed: Vec::new() }
    }

    /// Whether every row was taken as it came, so that the body stands for the batch.
    pub fn is_clean(&self) -> bool {
        self.rejected.is_empty() && self.changed.is_empty()
    }

    /// The same report on another batch.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Decoded<U> {
        Decoded { batch: f(self.batch), rejected: self.rejected, changed: self.changed }
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
