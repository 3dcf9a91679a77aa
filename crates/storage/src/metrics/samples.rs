//! A series' samples while they are put together from several places.

/// Samples of one series, times strictly ascending.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pub(super) times: Vec<i64>,
    pub(super) values: Vec<f64>,
    merged_times: Vec<i64>,
    merged_values: Vec<f64>,
}

impl Samples {
    /// Empties it; the buffers stay.
    pub(super) fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
    }

    /// Adds samples (times strictly ascending) that lose against those already there where times are equal:
    /// add in order of WAL sequence.
    pub(super) fn add(&mut self, times: &[i64], values: &[f64]) {
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
