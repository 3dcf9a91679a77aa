//! Metrics whose new series are refused: which label makes them many, whose they are, and since when.
//!
//! What is refused is in no index. Of each such metric and source a few sketches are kept instead: how many different
//! series there were, and how many different values each label had.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;

use skopos_model::Labels;
use skopos_model::labels::METRIC_NAME;
use xxhash_rust::xxh3::xxh3_64;

use super::admission::Limit;
use super::registry::{Hashed, HashedMap};

/// Most floods known at a time; then the one that was quiet the longest is forgotten.
const FLOODS_MAX: usize = 500;
/// Most labels looked at of a flood.
const LABELS_MAX: usize = 32;
/// Newest values kept of a label.
const EXAMPLES_MAX: usize = 5;
/// Longest example, bytes.
const EXAMPLE_BYTES_MAX: usize = 200;
/// Up to so many values are counted one by one.
const EXACT_MAX: usize = 256;
/// Bits of a hash that choose a register of the sketch: 1,024 registers, an error of 3 %.
const REGISTER_BITS: u32 = 10;
const REGISTERS: usize = 1 << REGISTER_BITS;

/// How many different values there were: exactly while they are few, then by a sketch (HyperLogLog).
#[derive(Debug, Clone)]
pub(super) enum Distinct {
    Few(HashSet<u64, BuildHasherDefault<Hashed>>),
    Many(Box<[u8; REGISTERS]>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Few(HashSet::default())
    }
}

impl Distinct {
    /// Takes a value's hash in; whether it is certainly new.
    pub(super) fn insert(&mut self, hash: u64) -> bool {
        match self {
            Self::Few(seen) => {
                let new = seen.insert(hash);
                if seen.len() > EXACT_MAX {
                    let mut registers = Box::new([0; REGISTERS]);
                    seen.iter().for_each(|hash| note(&mut registers, *hash));
                    *self = Self::Many(registers);
                }
                new
            }
            Self::Many(registers) => {
                let before = registers[place(hash)];
                note(registers, hash);
                registers[place(hash)] > before
            }
        }
    }

    /// The number, about.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Few(seen) => seen.len() as u64,
            Self::Many(registers) => {
                let m = REGISTERS as f64;
                let empty = registers.iter().filter(|r| **r == 0).count();
                let sum: f64 = registers.iter().map(|r| 2f64.powi(-i32::from(*r))).sum();
                let estimate = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
                // Where registers are empty, their number says more.
                let estimate = if estimate <= 2.5 * m && empty > 0 { m * (m / empty as f64).ln() } else { estimate };
                estimate.round() as u64
            }
        }
    }
}

fn place(hash: u64) -> usize {
    (hash >> (64 - REGISTER_BITS)) as usize
}

fn note(registers: &mut [u8; REGISTERS], hash: u64) {
    // A bit below the others bounds the rank.
    let rank = ((hash << REGISTER_BITS) | (1 << (REGISTER_BITS - 1))).leading_zeros() as u8 + 1;
    let register = &mut registers[place(hash)];
    *register = (*register).max(rank);
}

/// A label of refused series.
#[derive(Debug, Clone)]
pub(super) struct FloodLabel {
    pub(super) name: Box<str>,
    pub(super) values: Distinct,
    /// The newest, the last one at the end.
    pub(super) examples: Vec<Box<str>>,
}

/// A metric of one source whose new series were refused.
#[derive(Debug, Clone)]
pub(super) struct Flood {
    pub(super) metric: Box<str>,
    pub(super) source: Box<str>,
    /// The limit that refused last.
    pub(super) limit: Limit,
    /// First and last refusal, Unix nanoseconds.
    pub(super) since: i64,
    pub(super) last: i64,
    pub(super) series: Distinct,
    pub(super) samples: u64,
    pub(super) labels: Vec<FloodLabel>,
}

impl Flood {
    /// The label with most values over the refused series, "" where they have none but their name.
    pub(super) fn label(&self) -> &str {
        // Of equal ones the first by name, so that it stays the same.
        let most = self.labels.iter().max_by(|a, b| a.values.count().cmp(&b.values.count()).then_with(|| b.name.cmp(&a.name)));
        most.map_or("", |label| &label.name)
    }
}

/// All floods since the start.
#[derive(Debug, Default)]
pub(super) struct Floods {
    all: HashedMap<Flood>,
    /// Samples of refused series since the start, by limit.
    lost: HashMap<Limit, u64>,
}

/// Tells a flood from the others.
pub(super) type FloodKey = u64;

impl Floods {
    /// Notes that a series is refused; the second value says whether its flood begins.
    pub(super) fn refuse(&mut self, labels: &Labels, source: &str, limit: Limit, now: i64) -> (FloodKey, bool) {
        let metric = labels.get(METRIC_NAME).unwrap_or("");
        let key = xxh3_64(metric.as_bytes()) ^ xxh3_64(source.as_bytes()).rotate_left(32);
        let begins = !self.all.contains_key(&key);
        if begins && self.all.len() >= FLOODS_MAX {
            let quiet = self.all.iter().min_by_key(|(_, flood)| flood.last).map(|(key, _)| *key);
            quiet.and_then(|key| self.all.remove(&key));
        }
        let flood = self.all.entry(key).or_insert_with(|| Flood {
            metric: metric.into(),
            source: source.into(),
            limit,
            since: now,
            last: now,
            series: Distinct::default(),
            samples: 0,
            labels: Vec::new(),
        });
        (flood.limit, flood.last) = (limit, now);
        flood.series.insert(labels.stable_hash());
        for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
            let at = match flood.labels.iter().position(|label| *label.name == *name) {
                Some(at) => at,
                None if flood.labels.len() >= LABELS_MAX => continue,
                None => {
                    flood.labels.push(FloodLabel { name: name.into(), values: Distinct::default(), examples: Vec::new() });
                    flood.labels.len() - 1
                }
            };
            let label = &mut flood.labels[at];
            if label.values.insert(xxh3_64(value.as_bytes())) {
                if label.examples.len() >= EXAMPLES_MAX {
                    label.examples.remove(0);
                }
                label.examples.push(value[..value.floor_char_boundary(EXAMPLE_BYTES_MAX)].into());
            }
        }
        (key, begins)
    }

    /// Counts samples of refused series.
    pub(super) fn lost(&mut self, key: FloodKey, limit: Limit, samples: u64) {
        *self.lost.entry(limit).or_default() += samples;
        if let Some(flood) = self.all.get_mut(&key) {
            flood.samples += samples;
        }
    }

    /// All of them, those that lost most first.
    pub(super) fn list(&self) -> Vec<Flood> {
        let mut all: Vec<Flood> = self.all.values().cloned().collect();
        all.sort_by(|a, b| b.samples.cmp(&a.samples).then_with(|| (&a.metric, &a.source).cmp(&(&b.metric, &b.source))));
        all
    }

    /// Samples of refused series since the start, by limit.
    pub(super) fn lost_by_limit(&self) -> impl Iterator<Item = (Limit, u64)> + '_ {
        self.lost.iter().map(|(limit, samples)| (*limit, *samples))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_values_are_counted() {
        for n in [0u64, 1, 200, 256, 257, 1_000, 30_000, 1_000_000] {
            let mut distinct = Distinct::default();
            for _ in 0..2 {
                (0..n).for_each(|i| {
                    distinct.insert(xxh3_64(&i.to_le_bytes()));
                });
            }
            let error = (distinct.count() as f64 - n as f64).abs() / (n.max(1) as f64);
            assert!(if n <= EXACT_MAX as u64 { error == 0.0 } else { error < 0.08 }, "{n} counted as {}", distinct.count());
        }
    }

    #[test]
    fn the_label_that_explodes_has_the_values() {
        let mut floods = Floods::default();
        for i in 0..1_000 {
            let user = format!("u{i}");
            let labels = Labels::new([("__name__", "carts"), ("job", "shop"), ("user", user.as_str()), ("zone", ["a", "b"][i % 2])]);
            let (key, begins) = floods.refuse(&labels, "shop", Limit::Metric, 100 + i as i64);
            assert_eq!(begins, i == 0);
            floods.lost(key, Limit::Metric, 2);
        }
        let found = &floods.list()[0];
        assert_eq!((&*found.metric, &*found.source, found.since, found.last, found.samples), ("carts", "shop", 100, 1_099, 2_000));
        let values = |name: &str| found.labels.iter().find(|l| *l.name == *name).map_or(0, |l| l.values.count());
        assert_eq!((values("job"), values("zone"), found.label()), (1, 2, "user"));
        assert!((920..1_080).contains(&values("user")), "{}", values("user"));
        assert!((920..1_080).contains(&found.series.count()), "{}", found.series.count());
        assert_eq!(floods.lost_by_limit().collect::<Vec<_>>(), [(Limit::Metric, 2_000)]);
    }

    #[test]
    fn the_quietest_is_forgotten() {
        let mut floods = Floods::default();
        for i in 0..=FLOODS_MAX {
            floods.refuse(&Labels::new([("__name__", format!("m{i}").as_str())]), "", Limit::All, i as i64);
        }
        let found = floods.list();
        assert_eq!(found.len(), FLOODS_MAX);
        assert!(found.iter().all(|flood| &*flood.metric != "m0"));
    }
}
