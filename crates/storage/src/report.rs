//! What the store says of a batch it has appended.

use skopos_model::Rejected;

/// Rows of an appended batch that were not taken: their series or their time forbid it, which only the store knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AppendReport {
    /// How many, by reason.
    pub rejected: Vec<Rejected>,
    /// How many of them were native histograms.
    pub histograms: usize,
}

impl AppendReport {
    /// Number of rows that were not taken.
    pub fn rows(&self) -> u64 {
        self.rejected.iter().map(|r| r.count).sum()
    }
}
