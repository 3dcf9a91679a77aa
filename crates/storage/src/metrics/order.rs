//! The two orders of series: how files are sorted, and how answers are.

use std::cmp::Ordering;
use std::sync::Arc;

use super::registry::Registry;

/// What series are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Name, job, instance, then all labels: neighbours in a file share their times. Never change it, files of
    /// all ages are merged by it.
    File,
    /// All labels, as [`skopos_model::Labels`] compare.
    Labels,
}

/// Labels that lead the order of files.
const LEADING: [&str; 3] = ["__name__", "job", "instance"];

fn compare(registry: &Registry, by: By, a: u32, b: u32) -> Ordering {
    if by == By::File {
        for name in LEADING {
            let ((code_a, value_a), (code_b, value_b)) = (registry.code_of(name, a), registry.code_of(name, b));
            if code_a != code_b {
                return value_a.cmp(value_b);
            }
        }
    }
    registry.pairs(a).cmp(registry.pairs(b)).then(a.cmp(&b))
}

/// Place of each series in an order, kept up to date as series come.
#[derive(Debug)]
pub(super) struct Order {
    by: By,
    sorted: Vec<u32>,
    /// By series number; [`u32::MAX`] for numbers not in use.
    rank: Arc<Vec<u32>>,
    /// Series that were there at the last update.
    count: usize,
}

impl Order {
    pub(super) fn new(by: By) -> Self {
        Self { by, sorted: Vec::new(), rank: Arc::default(), count: 0 }
    }

    /// Rank of each series at present.
    pub(super) fn ranks(&mut self, registry: &Registry) -> Arc<Vec<u32>> {
        if self.count == registry.len() {
            return Arc::clone(&self.rank);
        }
        let known = |id: u32| self.rank.get(id as usize).is_some_and(|rank| *rank != u32::MAX);
        let mut new: Vec<u32> = (0..registry.next()).filter(|id| registry.contains(*id) && !known(*id)).collect();
        new.sort_unstable_by(|a, b| compare(registry, self.by, *a, *b));
        let old = std::mem::take(&mut self.sorted);
        self.sorted = Vec::with_capacity(old.len() + new.len());
        let mut rest = old.as_slice();
        for id in new {
            // Few new series among many old ones: find their place, copy what is before it.
            let before = rest.partition_point(|o| compare(registry, self.by, *o, id) == Ordering::Less);
            self.sorted.extend_from_slice(&rest[..before]);
            self.sorted.push(id);
            rest = &rest[before..];
        }
        self.sorted.extend_from_slice(rest);
        let mut rank = vec![u32::MAX; registry.next() as usize];
        for (place, id) in self.sorted.iter().enumerate() {
            rank[*id as usize] = place as u32;
        }
        self.rank = Arc::new(rank);
        self.count = registry.len();
        Arc::clone(&self.rank)
    }
}

/// Sorts series by their ranks; numbers not in use come last, by number.
pub(super) fn sort_by_rank(series: &mut [u32], ranks: &[u32]) {
    series.sort_unstable_by_key(|id| (ranks.get(*id as usize).copied().unwrap_or(u32::MAX), *id));
}

#[cfg(test)]
mod tests {
    use super::*;
    use skopos_model::Labels;

    #[test]
    fn orders_hold_while_series_come() {
        let mut registry = Registry::default();
        let (mut file, mut labels) = (Order::new(By::File), Order::new(By::Labels));
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..6 {
            for _ in 0..40 {
                let mut pairs = vec![("__name__", format!("m{}", rng.u8(..4))), ("instance", format!("i{}", rng.u8(..5)))];
                for name in ["Zone", "job", "le", "code"] {
                    if rng.bool() {
                        pairs.push((name, format!("v{}", rng.u8(..6))));
                    }
                }
                let set = Labels::new(pairs);
                if registry.find(&set).is_none() {
                    registry.add(&set).expect("room");
                }
            }
            for (order, by) in [(&mut file, By::File), (&mut labels, By::Labels)] {
                let ranks = order.ranks(&registry);
                let mut ids: Vec<u32> = (0..registry.next()).collect();
                sort_by_rank(&mut ids, &ranks);
                let key = |id: u32| {
                    let l = registry.labels(id);
                    let lead = LEADING.map(|n| l.get(n).unwrap_or("").to_owned());
                    if by == By::File { (lead, l) } else { (Default::default(), l) }
                };
                assert!(ids.windows(2).all(|w| key(w[0]) < key(w[1])), "{by:?}");
            }
        }
    }
}
