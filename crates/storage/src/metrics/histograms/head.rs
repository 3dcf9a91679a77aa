//! Histograms between two flushes.

use std::collections::BTreeMap;
use std::sync::Arc;

use skopos_model::NativeHistogram;

use super::{Rows, settle};

/// Histograms of all series since the head was opened, in the order they came.
#[derive(Debug, Default)]
pub(in crate::metrics) struct HistogramHead {
    series: BTreeMap<u32, Rows>,
    rows: usize,
}

impl HistogramHead {
    /// Whether there is none.
    pub(in crate::metrics) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether the series has one.
    pub(in crate::metrics) fn contains(&self, series: u32) -> bool {
        self.series.contains_key(&series)
    }

    /// Number of histograms.
    pub(in crate::metrics) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds one; returns the memory it takes.
    pub(in crate::metrics) fn push(&mut self, series: u32, time: i64, histogram: NativeHistogram) -> usize {
        let memory = histogram.memory() + size_of::<(i64, Arc<NativeHistogram>)>() + 16;
        self.series.entry(series).or_default().push((time, Arc::new(histogram)));
        self.rows += 1;
        memory
    }

    /// Calls `each` with a series' histograms in the closed range of milliseconds, in the order they came.
    pub(in crate::metrics) fn read(&self, series: u32, start: i64, end: i64, mut each: impl FnMut((i64, Arc<NativeHistogram>))) {
        let rows = self.series.get(&series).into_iter().flatten();
        rows.filter(|(time, _)| start <= *time && *time <= end).for_each(|(time, histogram)| each((*time, Arc::clone(histogram))));
    }

    /// Numbers of the series.
    pub(in crate::metrics) fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.series.keys().copied()
    }

    /// All histograms in order of series and time; of equal times the first that came.
    pub(super) fn sorted(&self) -> impl Iterator<Item = (u32, i64, Arc<NativeHistogram>)> + '_ {
        self.series.iter().flat_map(|(id, rows)| {
            let mut rows = rows.clone();
            settle(&mut rows);
            rows.into_iter().map(|(time, histogram)| (*id, time, histogram))
        })
    }
}
