//! From a series' wire bytes to its number: the hot path of metric ingest.
//!
//! Senders repeat the same series in the same order. The series that followed last time is guessed and its raw
//! bytes compared (no hash, no allocation); behind that is a table by hash of the raw bytes; behind that the
//! registry, by labels.

use std::collections::HashMap;

use parking_lot::{MutexGuard, RwLock};
use skopos_model::{Labels, SeriesId, SeriesResolver};
use xxhash_rust::xxh3::xxh3_64;

use super::admission::{Admission, Limit, Origin, Refused, source_of};
use super::registry::{HashedMap, Registry};

/// Most bytes of raw label sets kept; then all are let go and learned anew. Half a million series of 200 bytes.
const RAW_BYTES_MAX: usize = 128 << 20;

/// No entry.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Entry {
    start: u32,
    end: u32,
    series: SeriesId,
    /// The entry that followed this one last time.
    next: u32,
}

/// Raw label sets seen before.
#[derive(Debug)]
pub(super) struct RawCache {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    by_hash: HashedMap<u32>,
    bytes_max: usize,
}

impl Default for RawCache {
    fn default() -> Self {
        Self { bytes: Vec::new(), entries: Vec::new(), by_hash: HashedMap::default(), bytes_max: RAW_BYTES_MAX }
    }
}

impl RawCache {
    fn is(&self, entry: u32, raw: &[u8]) -> bool {
        self.entries.get(entry as usize).is_some_and(|e| self.bytes[e.start as usize..e.end as usize] == *raw)
    }

    fn add(&mut self, hash: u64, raw: &[u8], series: SeriesId) -> u32 {
        if self.bytes.len() + raw.len() > self.bytes_max {
            self.bytes = Vec::new();
            self.entries = Vec::new();
            self.by_hash = HashedMap::default();
        }
        let number = self.entries.len() as u32;
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(raw);
        self.entries.push(Entry { start, end: self.bytes.len() as u32, series, next: NONE });
        // Of two sets with one hash the later is found; the other goes to the registry each time.
        self.by_hash.insert(hash, number);
        number
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>() + self.by_hash.capacity() * 16
    }
}

/// Gives wire bytes their series numbers; new series are added to the registry. Holds the cache's lock.
#[derive(Debug)]
pub(crate) struct Resolver<'a> {
    pub(super) cache: MutexGuard<'a, RawCache>,
    pub(super) registry: &'a RwLock<Registry>,
    pub(super) admission: &'a Admission,
    /// Entry of the series before.
    pub(super) last: u32,
    /// The series that was refused last: why, its metric and its source.
    refused: Option<(Refused, Box<str>, Box<str>)>,
    /// Samples of refused series: counted once the request has been read for good.
    lost: HashMap<Refused, u64>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(cache: MutexGuard<'a, RawCache>, registry: &'a RwLock<Registry>, admission: &'a Admission) -> Self {
        Self { cache, registry, admission, last: NONE, refused: None, lost: HashMap::new() }
    }

    fn follow(&mut self, entry: u32) -> SeriesId {
        if let Some(last) = self.cache.entries.get_mut(self.last as usize) {
            last.next = entry;
        }
        self.last = entry;
        self.cache.entries[entry as usize].series
    }
}

impl SeriesResolver for Resolver<'_> {
    fn resolve(&mut self, raw: &[u8], parse: &mut dyn FnMut() -> Labels) -> Option<SeriesId> {
        if let Some(last) = self.cache.entries.get(self.last as usize) {
            let guess = last.next;
            if self.cache.is(guess, raw) {
                self.last = guess;
                return Some(self.cache.entries[guess as usize].series);
            }
        }
        let hash = xxh3_64(raw);
        if let Some(&entry) = self.cache.by_hash.get(&hash)
            && self.cache.is(entry, raw)
        {
            return Some(self.follow(entry));
        }
        let labels = parse();
        if labels.is_empty() {
            // The decoder found the labels invalid: nothing is remembered of them.
            return None;
        }
        let series = match find_or_add(self.registry, self.admission, &labels) {
            Ok(series) => series,
            Err(refused) => {
                self.refused = Some((refused, labels.name().into(), source_of(&labels).into()));
                return None;
            }
        };
        let entries = self.cache.entries.len();
        let entry = self.cache.add(hash, raw, series);
        if (entry as usize) < entries {
            // The cache was let go: what came before is unknown.
            self.last = NONE;
        }
        Some(self.follow(entry))
    }

    fn refusal(&self) -> String {
        let Some((refused, metric, source)) = &self.refused else { return "the store takes no more series".to_owned() };
        let (name, value) = (refused.limit.name(), self.admission.limits().of(refused.limit));
        let of = match refused.limit {
            Limit::Metric => format!("by the metric {metric:?}"),
            Limit::Source => format!("by the source {source:?}"),
            Limit::All | Limit::Numbers => format!("by all metrics together, before a series of {metric:?}"),
        };
        format!("{name} of {value} is reached {of}; known series go on")
    }

    fn lost(&mut self, samples: u64) {
        if let Some((refused, ..)) = &self.refused {
            *self.lost.entry(*refused).or_default() += samples;
        }
    }

    fn again(&mut self) {
        self.lost.clear();
    }
}

impl Drop for Resolver<'_> {
    fn drop(&mut self) {
        self.lost.drain().for_each(|(refused, samples)| self.admission.lost(refused, samples));
    }
}

/// The number of a label set, a new one where the limits on active series allow it.
pub(super) fn find_or_add(registry: &RwLock<Registry>, admission: &Admission, labels: &Labels) -> Result<SeriesId, Refused> {
    let admits = |registry: &Registry| admission.admits(registry.next(), Origin::of_labels(labels, registry), labels);
    {
        let registry = registry.read();
        if let Some(known) = registry.find(labels) {
            return Ok(known);
        }
        // A flood that is refused does not hold up the readers.
        if let Err(limit) = admits(&registry) {
            return Err(admission.refuse(labels, limit));
        }
    }
    let mut registry = registry.write();
    if let Some(known) = registry.find(labels) {
        return Ok(known);
    }
    let added = admits(&registry).and_then(|()| registry.add(labels).ok_or(Limit::Numbers));
    let added = added.map_err(|limit| admission.refuse(labels, limit))?;
    admission.added(Origin::of_series(added.0, &registry));
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::admission::SeriesLimits;
    use parking_lot::Mutex;

    struct Bench {
        cache: Mutex<RawCache>,
        registry: RwLock<Registry>,
        admission: Admission,
    }

    impl Bench {
        /// Resolves `raw` texts as labels `n=<lower case raw>`; returns numbers and how many were parsed.
        fn resolve(&self, raws: &[&str]) -> (Vec<Option<u32>>, usize) {
            let mut parsed = 0;
            let mut resolver = Resolver::new(self.cache.lock(), &self.registry, &self.admission);
            let ids = raws
                .iter()
                .map(|raw| {
                    let mut parse = || {
                        parsed += 1;
                        Labels::new([("n", raw.to_lowercase())])
                    };
                    resolver.resolve(raw.as_bytes(), &mut parse).map(|id| id.0)
                })
                .collect();
            (ids, parsed)
        }
    }

    fn bench(active_max: usize, raw_bytes_max: usize) -> Bench {
        Bench {
            cache: Mutex::new(RawCache { bytes_max: raw_bytes_max, ..RawCache::default() }),
            registry: RwLock::default(),
            admission: Admission::new(SeriesLimits { all: active_max, metric: active_max, source: active_max }),
        }
    }

    #[test]
    fn known_series_are_not_parsed_again() {
        let b = bench(100, 1 << 20);
        let some = |ids: &[u32]| ids.iter().map(|i| Some(*i)).collect::<Vec<_>>();
        assert_eq!(b.resolve(&["a", "b", "c"]), (some(&[0, 1, 2]), 3));
        assert_eq!(b.resolve(&["a", "b", "c"]), (some(&[0, 1, 2]), 0), "in the same order");
        assert_eq!(b.resolve(&["c", "a", "b", "b"]), (some(&[2, 0, 1, 1]), 0), "in another order");
        assert_eq!(b.resolve(&["A", "b", "d"]), (some(&[0, 1, 3]), 2), "other bytes, equal labels");
    }

    #[test]
    fn the_limit_refuses_new_series_only() {
        let b = bench(2, 1 << 20);
        assert_eq!(b.resolve(&["a", "b", "c", "a", "b"]).0, [Some(0), Some(1), None, Some(0), Some(1)]);
        b.admission.sealed(b.registry.read().next());
        assert_eq!(b.resolve(&["c"]).0, [None], "the two may come back");
        b.admission.sealed(b.registry.read().next());
        assert_eq!(b.resolve(&["c", "a"]).0, [Some(2), Some(0)], "they did not for a whole generation");
    }

    #[test]
    fn samples_of_refused_series_are_counted_once() {
        let b = bench(1, 1 << 20);
        b.resolve(&["a"]);
        let mut resolver = Resolver::new(b.cache.lock(), &b.registry, &b.admission);
        for round in 0..2 {
            for raw in ["b", "c"] {
                assert_eq!(resolver.resolve(raw.as_bytes(), &mut || Labels::new([("__name__", "m"), ("n", raw)])), None);
                resolver.lost(5);
            }
            if round == 0 {
                resolver.again();
            }
        }
        assert_eq!(resolver.refusal(), "active_series_max of 1 is reached by all metrics together, before a series of \"m\"; known series go on");
        drop(resolver);
        assert_eq!(b.admission.lost_by_limit(), [("active_series_max", 10)]);
        assert_eq!(b.admission.floods()[0].series.count(), 2);
    }

    #[test]
    fn a_full_cache_is_learned_anew() {
        let b = bench(100, 3);
        for _ in 0..3 {
            assert_eq!(b.resolve(&["a", "b", "c", "d", "e"]).0, [0, 1, 2, 3, 4].map(Some));
            assert!(b.cache.lock().bytes.len() <= 3);
        }
    }
}
