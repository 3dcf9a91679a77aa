//! Since when counters count, where their senders say so.
//!
//! Senders repeat the start with every sample; only a change is kept. All of it is in memory: an entry a series, more
//! where it was restarted.

use std::collections::{BTreeMap, HashMap};

use skopos_model::SeriesId;

use super::small::starts::Row;

/// Most earlier starts remembered; of those beyond, the oldest series' go.
const EARLIER_MAX: usize = 1_000_000;

/// Starts of all series. Times are Unix milliseconds.
#[derive(Debug, Default)]
pub(super) struct Starts {
    /// The newest of each series: from which sample on, start.
    latest: HashMap<u32, (i64, i64)>,
    /// Those before: (series, from which sample on) to start.
    earlier: BTreeMap<(u32, i64), i64>,
}

impl Starts {
    /// Notes that `series` counts since `start` from the sample at `from` on; whether that is new.
    pub(super) fn note(&mut self, (SeriesId(series), from, start): Row) -> bool {
        let Some(latest) = self.latest.get_mut(&series) else {
            self.latest.insert(series, (from, start));
            return true;
        };
        if from >= latest.0 {
            if latest.1 == start {
                return false;
            }
            let (before, was) = std::mem::replace(latest, (from, start));
            if before != from {
                self.insert_earlier(series, before, was);
            }
            return true;
        }
        // A late sample: new unless what held at that time says the same.
        let held = self.earlier.range((series, i64::MIN)..=(series, from)).next_back();
        if held.is_some_and(|(_, known)| *known == start) {
            return false;
        }
        let next = self.earlier.range((series, from)..=(series, i64::MAX)).next().map_or(*latest, |((_, at), known)| (*at, *known));
        if next.1 == start {
            // The change was earlier than known.
            if next.0 == latest.0 {
                latest.0 = from;
            } else {
                self.earlier.remove(&(series, next.0));
                self.insert_earlier(series, from, start);
            }
        } else {
            self.insert_earlier(series, from, start);
        }
        true
    }

    fn insert_earlier(&mut self, series: u32, from: i64, start: i64) {
        self.earlier.insert((series, from), start);
        if self.earlier.len() > EARLIER_MAX {
            self.earlier.pop_first();
        }
    }

    /// What holds within the closed range of times: the entry in force at its beginning, and the changes after.
    pub(super) fn of(&self, series: u32, first: i64, last: i64) -> Vec<(i64, i64)> {
        let Some(latest) = self.latest.get(&series) else { return Vec::new() };
        let mut all: Vec<(i64, i64)> =
            self.earlier.range((series, i64::MIN)..=(series, i64::MAX)).map(|((_, from), start)| (*from, *start)).collect();
        all.push(*latest);
        all.retain(|(from, _)| *from <= last);
        let before = all.partition_point(|(from, _)| *from <= first).saturating_sub(1);
        all.drain(..before);
        all
    }

    /// Keeps those of some series.
    pub(super) fn retain(&mut self, keeps: impl Fn(u32) -> bool) {
        self.latest.retain(|series, _| keeps(*series));
        self.earlier.retain(|(series, _), _| keeps(*series));
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.latest.is_empty()
    }
}

/// Rows without repetitions, in order; what was before `cutoff` (Unix milliseconds) goes, but for what still holds then.
pub(super) fn compact(mut rows: Vec<Row>, cutoff: i64) -> Vec<Row> {
    rows.sort_unstable();
    let mut kept: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(last) = kept.last_mut().filter(|last| last.0 == row.0) else {
            kept.push(row);
            continue;
        };
        if last.2 == row.2 {
            continue;
        }
        if row.1 <= cutoff || row.1 == last.1 {
            *last = row;
        } else {
            kept.push(row);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_kept() {
        let mut starts = Starts::default();
        let mut note = |from, start| starts.note((SeriesId(1), from, start));
        assert!(note(100, 5));
        assert!(!note(110, 5));
        assert!(note(200, 150));
        assert!(!note(210, 150));
        assert!(!note(120, 5), "late, and known");
        assert!(note(190, 150), "late: it was restarted earlier than known");
        assert_eq!(starts.of(1, 0, 1_000), [(100, 5), (190, 150)]);
        assert_eq!(starts.of(1, 150, 1_000), [(100, 5), (190, 150)]);
        assert_eq!(starts.of(1, 300, 1_000), [(190, 150)]);
        assert_eq!(starts.of(1, 0, 150), [(100, 5)]);
        assert_eq!(starts.of(2, 0, 150), []);
    }

    #[test]
    fn rows_are_compacted() {
        let row = |series, from, start| (SeriesId(series), from, start);
        let rows = vec![row(1, 20, 5), row(2, 10, 7), row(1, 10, 5), row(1, 30, 25), row(1, 40, 35), row(2, 10, 7)];
        assert_eq!(compact(rows.clone(), i64::MIN), [row(1, 10, 5), row(1, 30, 25), row(1, 40, 35), row(2, 10, 7)]);
        assert_eq!(compact(rows, 35), [row(1, 30, 25), row(1, 40, 35), row(2, 10, 7)]);
    }
}
