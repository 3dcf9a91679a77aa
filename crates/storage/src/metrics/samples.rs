//! A series' samples while they are put together from several places.

use std::sync::Arc;

use super::chunk::TimeBlock;
use super::select::Times;

/// Samples of one series, times strictly ascending.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pub(super) times: Vec<i64>,
    pub(super) values: Vec<f64>,
    merged_times: Vec<i64>,
    merged_values: Vec<f64>,
    /// The times as a selection shares them, once asked for.
    shared: Option<Arc<[i64]>>,
    /// The blocks that the times begin with, where they are made of blocks in memory alone.
    blocks: Option<Vec<Arc<TimeBlock>>>,
    /// Times of the series before, where they were made so: those scraped together have the same blocks.
    before: Before,
}

/// See [`Samples::before`].
#[derive(Debug, Default)]
struct Before {
    times: Vec<i64>,
    shared: Option<Arc<[i64]>>,
    blocks: Vec<Arc<TimeBlock>>,
}

impl Before {
    /// Whether they are made of these blocks and the single ones after them.
    fn are<'a>(&self, mut blocks: impl Iterator<Item = &'a Arc<TimeBlock>>, tail: impl Iterator<Item = i64>) -> bool {
        let in_blocks: usize = self.blocks.iter().map(|b| b.count as usize).sum();
        let same = |mine: &Arc<TimeBlock>| blocks.next().is_some_and(|b| Arc::ptr_eq(mine, b));
        self.blocks.iter().all(same) && blocks.next().is_none() && self.times.get(in_blocks..).is_some_and(|rest| rest.iter().copied().eq(tail))
    }
}

impl Samples {
    /// Empties it; the buffers stay.
    pub(super) fn clear(&mut self) {
        self.values.clear();
        if let Some(blocks) = self.blocks.take() {
            std::mem::swap(&mut self.times, &mut self.before.times);
            (self.before.shared, self.before.blocks) = (self.shared.take(), blocks);
        }
        self.shared = None;
        self.times.clear();
    }

    /// Fills it, which is empty, with values that come with these blocks of times and the single ones after them.
    pub(super) fn set<'a>(
        &mut self,
        blocks: impl Iterator<Item = &'a Arc<TimeBlock>> + Clone,
        tail: impl Iterator<Item = i64> + Clone,
        fill: impl FnOnce(&mut Vec<f64>),
    ) {
        if self.before.are(blocks.clone(), tail.clone()) {
            std::mem::swap(&mut self.times, &mut self.before.times);
            self.shared = self.before.shared.take();
            self.blocks = Some(std::mem::take(&mut self.before.blocks));
        } else {
            blocks.clone().for_each(|b| b.extend(&mut self.times));
            self.times.extend(tail);
            self.blocks = Some(blocks.cloned().collect());
        }
        self.values.reserve(self.times.len());
        fill(&mut self.values);
    }

    /// The times in an allocation that equal ones share.
    pub(super) fn shared_times(&mut self, times: &mut Times) -> Arc<[i64]> {
        Arc::clone(self.shared.get_or_insert_with(|| times.share(&self.times)))
    }

    /// The values, which leave it.
    pub(super) fn take_values(&mut self) -> Vec<f64> {
        std::mem::take(&mut self.values)
    }

    /// Adds samples that `fill` appends to times and values, in the closed range and behind those already there unless the
    /// source is damaged; what it appended before an error is taken back.
    pub(super) fn append<E>(&mut self, fill: impl FnOnce(&mut Vec<i64>, &mut Vec<f64>) -> Result<(), E>) -> Result<(), E> {
        let from = self.times.len();
        self.shared = None;
        self.blocks = None;
        let filled = fill(&mut self.times, &mut self.values);
        let is_behind = from == 0 || self.times.get(from).is_none_or(|first| *first > self.times[from - 1]);
        if filled.is_err() || !is_behind {
            let (times, values) = (self.times.split_off(from), self.values.split_off(from));
            if filled.is_ok() {
                self.add(&times, &values);
            }
        }
        filled
    }

    /// Adds samples (times strictly ascending) that lose against those already there where times are equal:
    /// add in order of WAL sequence.
    pub(super) fn add(&mut self, times: &[i64], values: &[f64]) {
        self.shared = None;
        self.blocks = None;
        let (Some(&first), Some(&last)) = (times.first(), self.times.last()) else {
            self.times.extend_from_slice(times);
            self.values.extend_from_slice(values);
            return;
        };
        if first > last {
            self.times.extend_from_slice(times);
            self.values.extend_from_slice(values);
            return;
        }
        // Only what is not before `first` has to be woven in.
        let keep = self.times.partition_point(|t| *t < first);
        let (old_times, old_values) = (&self.times[keep..], &self.values[keep..]);
        self.merged_times.clear();
        self.merged_values.clear();
        let (mut i, mut j) = (0, 0);
        while i < old_times.len() || j < times.len() {
            let old = i < old_times.len() && (j == times.len() || old_times[i] <= times[j]);
            if old {
                if times.get(j) == Some(&old_times[i]) {
                    j += 1;
                }
                self.merged_times.push(old_times[i]);
                self.merged_values.push(old_values[i]);
                i += 1;
            } else {
                self.merged_times.push(times[j]);
                self.merged_values.push(values[j]);
                j += 1;
            }
        }
        self.times.truncate(keep);
        self.values.truncate(keep);
        self.times.extend_from_slice(&self.merged_times);
        self.values.extend_from_slice(&self.merged_values);
    }

    /// Adds the part of the samples that is in the closed range.
    pub(super) fn add_in_range(&mut self, times: &[i64], values: &[f64], start: i64, end: i64) {
        let from = times.partition_point(|t| *t < start);
        let to = times.partition_point(|t| *t <= end).max(from);
        self.add(&times[from..to], &values[from..to]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_first_of_equal_times_stays(parts in prop::collection::vec(prop::collection::btree_map(-20i64..20, any::<i32>(), 0..15), 0..5)) {
            let mut samples = Samples::default();
            let mut model = BTreeMap::new();
            for part in &parts {
                let times: Vec<i64> = part.keys().copied().collect();
                let values: Vec<f64> = part.values().map(|v| f64::from(*v)).collect();
                samples.add(&times, &values);
                for (t, v) in part {
                    model.entry(*t).or_insert(f64::from(*v));
                }
            }
            prop_assert_eq!(samples.times, model.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(samples.values, model.values().copied().collect::<Vec<_>>());
        }
    }
}
