//! Samples as they came, for the moment before they are sorted into their series.
//!
//! Senders give each series one sample at a time. Put into its series at once, every sample touches memory of its own
//! that has left the processor's caches since the last round; put aside here and sorted some hundred thousand at a
//! time, a series is touched once for all of its samples. Whoever reads the head sorts first.

use skopos_model::SeriesId;

/// Samples kept before they have to be sorted in: five megabytes.
pub(super) const STAGED_MAX: usize = 262_144;

/// With fewer samples a series than this, sorting does not pay.
const SORT_FROM: usize = 3;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Staging {
    series: Vec<u32>,
    times: Vec<i64>,
    values: Vec<f64>,
    /// By series number: where its samples begin among the sorted ones.
    starts: Vec<u32>,
    sorted_times: Vec<i64>,
    sorted_values: Vec<f64>,
}

impl Staging {
    /// Puts a run of one series aside.
    #[inline]
    pub(super) fn push(&mut self, series: SeriesId, times: &[i64], values: &[f64]) {
        if let (&[time], &[value]) = (times, values) {
            self.series.push(series.0);
            self.times.push(time);
            self.values.push(value);
            return;
        }
        self.series.resize(self.series.len() + times.len(), series.0);
        self.times.extend_from_slice(times);
        self.values.extend_from_slice(values);
    }

    /// Number of samples put aside.
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        (self.series.capacity() + self.starts.capacity()) * 4
            + (self.times.capacity() + self.values.capacity() + self.sorted_times.capacity() + self.sorted_values.capacity()) * 8
    }

    /// Hands everything out, each series' samples in the order they came, and is empty then.
    pub(super) fn drain(&mut self, mut each: impl FnMut(SeriesId, &[i64], &[f64])) {
        let count = self.series.len();
        let ids = self.series.iter().copied().max().map_or(0, |max| max as usize + 1);
        self.starts.clear();
        // Room for a number more: once sorted, an entry is where the next series begins.
        self.starts.resize(ids + 1, 0);
        for id in &self.series {
            self.starts[*id as usize + 1] += 1;
        }
        let distinct = self.starts.iter().filter(|n| **n > 0).count();
        if count < distinct * SORT_FROM {
            let mut from = 0;
            for run in self.series.chunk_by(|a, b| a == b) {
                let range = from..from + run.len();
                from = range.end;
                each(SeriesId(run[0]), &self.times[range.clone()], &self.values[range]);
            }
        } else {
            let mut sum = 0;
            for start in &mut self.starts {
                sum += *start;
                *start = sum;
            }
            self.sorted_times.resize(count, 0);
            self.sorted_values.resize(count, 0.0);
            for ((id, time), value) in self.series.iter().zip(&self.times).zip(&self.values) {
                let place = &mut self.starts[*id as usize];
                self.sorted_times[*place as usize] = *time;
                self.sorted_values[*place as usize] = *value;
                *place += 1;
            }
            // Each entry has moved on to where its series ends.
            let mut from = 0;
            for (id, end) in (0u32..).zip(&self.starts[..ids]) {
                let range = from..*end as usize;
                from = range.end;
                if !range.is_empty() {
                    each(SeriesId(id), &self.sorted_times[range.clone()], &self.sorted_values[range]);
                }
            }
        }
        self.series.clear();
        self.times.clear();
        self.values.clear();
        if self.series.capacity() > 2 * STAGED_MAX {
            // One large request must not hold its memory for ever.
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn each_series_in_the_order_it_came(runs in prop::collection::vec((0u32..40, prop::collection::vec((0i64..9, -5i32..5), 1..4)), 0..80), twice: bool) {
            let mut staging = Staging::default();
            let (mut model, mut got): (BTreeMap<u32, Vec<(i64, f64)>>, BTreeMap<u32, Vec<(i64, f64)>>) = Default::default();
            for _ in 0..if twice { 2 } else { 1 } {
                for (id, run) in &runs {
                    let (times, values): (Vec<i64>, Vec<f64>) = run.iter().map(|(t, v)| (*t, f64::from(*v))).unzip();
                    staging.push(SeriesId(*id), &times, &values);
                    model.entry(*id).or_default().extend(times.into_iter().zip(values));
                }
                prop_assert_eq!(staging.len(), runs.iter().map(|(_, run)| run.len()).sum::<usize>());
                staging.drain(|id, times, values| got.entry(id.0).or_default().extend(times.iter().copied().zip(values.iter().copied())));
                prop_assert!(staging.is_empty());
            }
            prop_assert_eq!(got, model);
        }
    }
}
