//! The whole table against a naive model, and figures.

mod churn;
mod histograms;
mod rollups;

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use skopos_model::labels::METRIC_NAME;
use skopos_model::metric::STALE_NAN_BITS;
use skopos_model::{Exemplar, Labels, MetricKind, MetricMetadata, SampleBatch, SeriesResolver, SpanId, TimeSeries, TraceId};
use skopos_query::metrics::{MatchOp, Matcher, Queryable, Select};
use skopos_query::{QueryContext, QueryError, QueryLimits};

use crate::blob::{Blob, BlobWriter, Blobs};
use crate::error::StorageError;
use crate::options::StoreOptions;
use crate::table::{FileMeta, FileSwap, NewFile, Table};

use super::MetricsTable;
use super::chunk::CHUNK_SAMPLES;

/// Files in memory.
#[derive(Debug, Default, Clone)]
struct MemoryBlobs(Arc<Mutex<HashMap<String, Bytes>>>);

#[derive(Debug)]
struct MemoryBlob(Bytes);

impl Blob for MemoryBlob {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
    fn read(&self, offset: u64, length: usize) -> Result<Bytes, StorageError> {
        let start = offset as usize;
        if start + length > self.0.len() {
            return Err(StorageError::Damaged { path: String::new(), reason: "read behind the end".to_owned() });
        }
        Ok(self.0.slice(start..start + length))
    }
}

struct MemoryWriter {
    path: String,
    bytes: Vec<u8>,
    blobs: MemoryBlobs,
}

impl Write for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for MemoryWriter {
    fn finish(self: Box<Self>) -> Result<u64, StorageError> {
        let length = self.bytes.len() as u64;
        self.blobs.0.lock().insert(self.path, self.bytes.into());
        Ok(length)
    }
}

fn io_error(path: &str, kind: std::io::ErrorKind) -> StorageError {
    StorageError::Io { what: "test", path: path.to_owned(), source: kind.into() }
}

impl Blobs for MemoryBlobs {
    fn create(&self, path: &str) -> Result<Box<dyn BlobWriter>, StorageError> {
        if self.0.lock().contains_key(path) {
            return Err(io_error(path, std::io::ErrorKind::AlreadyExists));
        }
        Ok(Box::new(MemoryWriter { path: path.to_owned(), bytes: Vec::new(), blobs: self.clone() }))
    }
    fn open(&self, path: &str) -> Result<Arc<dyn Blob>, StorageError> {
        match self.0.lock().get(path) {
            Some(bytes) => Ok(Arc::new(MemoryBlob(bytes.clone()))),
            None => Err(io_error(path, std::io::ErrorKind::NotFound)),
        }
    }
    fn delete(&self, path: &str) -> Result<(), StorageError> {
        self.0.lock().remove(path);
        Ok(())
    }
}

/// A table with the part of the engine it needs: catalog, log, flushes.
struct Store {
    blobs: MemoryBlobs,
    options: StoreOptions,
    table: Arc<MetricsTable>,
    /// The catalog.
    files: Vec<(i64, NewFile)>,
    next_file: i64,
    /// Records of the log: all that was appended.
    log: Vec<(u64, Vec<TimeSeries>, Vec<MetricMetadata>)>,
    applied: u64,
}

impl Store {
    fn new(options: StoreOptions) -> Self {
        let blobs = MemoryBlobs::default();
        let table = MetricsTable::new(Arc::new(blobs.clone()), &options);
        Self { blobs, options, table, files: Vec::new(), next_file: 1, log: Vec::new(), applied: 0 }
    }

    fn append(&mut self, series: Vec<TimeSeries>, metadata: Vec<MetricMetadata>, numbered: bool) {
        let seq = self.log.len() as u64 + 1;
        if numbered {
            let batch = number(&self.table, &series, metadata.clone());
            self.table.append_samples(batch, seq, seq as i64);
        } else {
            self.table.append_series(series.clone(), metadata.clone(), seq, seq as i64);
        }
        self.log.push((seq, series, metadata));
    }

    fn add(&mut self, new: Vec<NewFile>) -> Vec<Arc<FileMeta>> {
        new.into_iter()
            .map(|file| {
                let id = self.next_file;
                self.next_file += 1;
                self.files.push((id, file.clone()));
                Arc::new(FileMeta::new(id, file, 0))
            })
            .collect()
    }

    fn flush(&mut self) {
        let Some(sealed) = self.table.seal() else { return };
        self.finish_flush(sealed.seq_max);
    }

    fn finish_flush(&mut self, seq_max: u64) {
        let new = self.table.encode_sealed(&self.blobs).expect("encoded");
        let add = self.add(new);
        self.applied = seq_max;
        self.table.swap(FileSwap { add, remove: vec![], drop_sealed: true });
    }

    fn merge(&mut self, full: bool, cutoff: i64) -> bool {
        let Some(inputs) = self.table.plan_merge(0, full) else { return false };
        let new = self.table.merge(&inputs, cutoff, &self.blobs).expect("merged");
        let add = self.add(new);
        let remove: Vec<i64> = inputs.iter().map(|f| f.id).collect();
        self.files.retain(|(id, _)| !remove.contains(id));
        self.table.swap(FileSwap { add, remove, drop_sealed: false });
        true
    }

    /// Everything in memory is lost.
    fn restart(&mut self) {
        self.table = MetricsTable::new(Arc::new(self.blobs.clone()), &self.options);
        let meta = |(id, file): &(i64, NewFile)| Arc::new(FileMeta::new(*id, file.clone(), 0));
        self.table.swap(FileSwap { add: self.files.iter().map(meta).collect(), remove: vec![], drop_sealed: false });
        for (seq, series, metadata) in self.log.iter().filter(|(seq, ..)| *seq > self.applied) {
            let batch = number(&self.table, series, metadata.clone());
            self.table.append_samples(batch, *seq, *seq as i64);
        }
    }

    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Vec<(Labels, Vec<(i64, u64)>)> {
        let select = Select { matchers, start, end, grouping: None };
        let found = self.table.select(&select, &ctx()).expect("selected");
        found.into_iter().map(|s| ((*s.labels).clone(), s.timestamps.iter().copied().zip(s.values.iter().map(|v| v.to_bits())).collect())).collect()
    }
}

fn ctx() -> QueryContext {
    QueryContext::new(QueryLimits::default(), Instant::now())
}

/// As a decoder does it: wire bytes (here the labels' text) to numbers.
fn number(table: &MetricsTable, series: &[TimeSeries], metadata: Vec<MetricMetadata>) -> SampleBatch {
    let mut batch = SampleBatch { metadata, ..SampleBatch::default() };
    let mut resolver = table.resolver();
    for s in series {
        let raw = s.labels.to_string();
        let Some(id) = resolver.resolve(raw.as_bytes(), &mut || s.labels.clone()) else { continue };
        s.samples.iter().for_each(|(t, v)| batch.push(id, *t, *v));
        batch.histograms.extend(s.histograms.iter().map(|(t, h)| (id, *t, h.clone())));
        batch.starts.extend(s.starts.iter().map(|(from, start)| (id, *from, *start)));
        batch.exemplars.extend(s.exemplars.iter().map(|e| (id, e.clone())));
    }
    batch
}

type Model = BTreeMap<Labels, BTreeMap<i64, u64>>;

fn random_labels(rng: &mut fastrand::Rng) -> Labels {
    let mut pairs = vec![(METRIC_NAME, format!("metric_{}", rng.u8(..4))), ("job", format!("j{}", rng.u8(..3)))];
    if rng.bool() {
        pairs.push(("instance", format!("i{}", rng.u8(..4))));
    }
    if rng.u8(..4) == 0 {
        pairs.push(("Zone", format!("z{}", rng.u8(..3))));
    }
    Labels::new(pairs)
}

fn random_value(rng: &mut fastrand::Rng, kind: u8) -> f64 {
    match (kind, rng.u8(..20)) {
        (_, 0) => f64::from_bits(STALE_NAN_BITS),
        (_, 1) => f64::from_bits(rng.u64(..)),
        (0, _) => f64::from(rng.i32(..)),
        (1, _) => f64::from(rng.i32(-100_000..100_000)) / 100.0,
        _ => rng.f64() * 1e6,
    }
}

fn expected(model: &Model, matchers: &[Matcher], start: i64, end: i64) -> Vec<(Labels, Vec<(i64, u64)>)> {
    let takes = |l: &Labels| matchers.iter().all(|m| m.matches(l.get(&m.name).unwrap_or("")));
    let samples = |s: &BTreeMap<i64, u64>| s.iter().filter(|(t, _)| (start..=end).contains(*t)).map(|(t, v)| (*t, *v)).collect::<Vec<_>>();
    let found = model.iter().filter(|(l, _)| takes(l)).map(|(l, s)| (l.clone(), samples(s)));
    found.filter(|(_, s)| !s.is_empty()).collect()
}

fn random_matchers(rng: &mut fastrand::Rng) -> Vec<Matcher> {
    let m = |n: &str, op, v: &str| Matcher::new(n, op, v).expect("a matcher");
    match rng.u8(..6) {
        0 => vec![],
        1 => vec![m(METRIC_NAME, MatchOp::Equal, "metric_1")],
        2 => vec![m(METRIC_NAME, MatchOp::Regex, "metric_[12]"), m("job", MatchOp::NotEqual, "j0")],
        3 => vec![m("instance", MatchOp::Equal, ""), m("job", MatchOp::Equal, "j1")],
        4 => vec![m("Zone", MatchOp::Regex, ".+")],
        _ => vec![m("job", MatchOp::NotRegex, "j[01]"), m("instance", MatchOp::NotEqual, "i2")],
    }
}

/// Random appends (late ones, duplicates, stale markers, full-precision floats), seals, flushes, merges, restarts.
fn simulate(seed: u64, steps: usize) {
    let rng = &mut fastrand::Rng::with_seed(seed);
    let mut store = Store::new(StoreOptions::new(""));
    let mut model = Model::new();
    let mut clock = 1_795_125_600_000i64;
    let mut sealed = None;
    for step in 0..steps {
        match rng.u8(..20) {
            0..=11 => {
                // Scrapes of a few rounds at once, so that chunks fill up.
                let rounds = if rng.u8(..6) == 0 { 150 } else { rng.i64(1..5) };
                let mut batch: Vec<TimeSeries> =
                    (0..rng.usize(1..12)).map(|_| TimeSeries { labels: random_labels(rng), ..TimeSeries::default() }).collect();
                for series in &mut batch {
                    let kind = rng.u8(..3);
                    for round in 0..rounds {
                        let time = match rng.u8(..12) {
                            0 => clock - rng.i64(0..4_000_000),
                            1 => clock + round * 15_000 + rng.i64(-200..200),
                            2 if rng.u8(..20) == 0 => rng.i64(-5..5),
                            _ => clock + round * 15_000,
                        };
                        series.samples.push((time, random_value(rng, kind)));
                    }
                    let known = model.entry(series.labels.clone()).or_default();
                    for (t, v) in &series.samples {
                        known.entry(*t).or_insert(v.to_bits());
                    }
                }
                clock += rounds * 15_000;
                store.append(batch, vec![], rng.bool());
            }
            12 => sealed = sealed.or(store.table.seal()),
            13..=14 => {
                if let Some(s) = sealed.take() {
                    store.finish_flush(s.seq_max);
                }
                store.flush();
            }
            15 => {
                // A failed commit: encoded, then encoded again.
                sealed = sealed.or(store.table.seal());
                store.table.encode_sealed(&store.blobs).expect("encoded");
            }
            16..=17 => {
                store.merge(rng.bool(), i64::MIN);
            }
            18 => {
                store.restart();
                sealed = None;
            }
            _ => {
                let matchers = random_matchers(rng);
                let (start, end) = match rng.u8(..3) {
                    0 => (i64::MIN, i64::MAX),
                    1 => (clock - rng.i64(0..3_000_000), clock - rng.i64(0..500_000)),
                    _ => (clock - 300_000, clock),
                };
                assert_eq!(store.select(&matchers, start, end), expected(&model, &matchers, start, end), "seed {seed} step {step}");
            }
        }
    }
    let all = expected(&model, &[], i64::MIN, i64::MAX);
    let check = |store: &Store, what: &str| assert_eq!(store.select(&[], i64::MIN, i64::MAX), all, "seed {seed}: {what}");
    check(&store, "as it is");
    store.restart();
    check(&store, "after a restart");
    store.flush();
    while store.merge(true, i64::MIN) {}
    check(&store, "flushed and merged");
    store.restart();
    check(&store, "restarted from files alone");
    assert_eq!(store.table.head().rows, 0, "all is in files");
    let all_range = (i64::MIN, i64::MAX);
    let labels = store.table.series(&[], all_range.0, all_range.1, usize::MAX, &ctx()).expect("series");
    assert_eq!(labels.iter().map(|l| (**l).clone()).collect::<Vec<_>>(), model.keys().cloned().collect::<Vec<_>>());
    let mut jobs: Vec<String> = model.keys().filter_map(|l| l.get("job")).map(str::to_owned).collect();
    jobs.sort();
    jobs.dedup();
    assert_eq!(store.table.label_values("job", &[], all_range.0, all_range.1, &ctx()).expect("values"), jobs);
}

#[test]
fn every_sample_is_found_once_bit_for_bit() {
    for seed in 0..60 {
        simulate(seed, 80);
    }
}

fn up(instance: &str, samples: &[(i64, f64)]) -> TimeSeries {
    TimeSeries { labels: Labels::new([(METRIC_NAME, "up"), ("instance", instance)]), samples: samples.to_vec(), ..TimeSeries::default() }
}

#[test]
fn samples_older_than_the_window_are_refused() {
    let mut options = StoreOptions::new("");
    options.out_of_order_window = Duration::from_secs(60);
    let mut store = Store::new(options);
    store.append(vec![up("a", &[(100_000, 1.0), (40_000, 2.0), (39_999, 3.0)]), up("b", &[(1, 4.0)])], vec![], true);
    store.flush();
    store.append(vec![up("a", &[(30_000, 5.0), (41_000, 6.0), (i64::MAX, 7.0)])], vec![], true);
    let times: Vec<Vec<i64>> = store.select(&[], i64::MIN, i64::MAX).into_iter().map(|(_, s)| s.into_iter().map(|x| x.0).collect()).collect();
    assert_eq!(times, [vec![40_000, 41_000, 100_000], vec![1]], "each series has its own newest");
    let stats = store.table.stats();
    assert_eq!((stats.samples_too_old, stats.samples_out_of_range, stats.series), (2, 1, 2));
}

#[test]
fn the_first_of_two_values_at_one_time_stays() {
    let store = Store::new(StoreOptions::new(""));
    let append = |seq: u64, samples: &[(i64, f64)]| store.table.append_series(vec![up("a", samples)], vec![], seq, 1);
    let stale = f64::from_bits(STALE_NAN_BITS);
    assert_eq!(append(1, &[(1_000, 1.0), (2_000, stale)]).rejected, []);
    assert_eq!(append(2, &[(1_000, 1.0), (2_000, stale)]).rejected, [], "the same again is no error");
    let report = append(3, &[(1_000, 7.0), (2_000, f64::NAN), (3_000, 3.0)]);
    assert_eq!(report.rejected.len(), 1);
    assert_eq!((report.rejected[0].reason, report.rejected[0].count, report.histograms), ("duplicate_timestamp", 2, 0));
    assert!(report.rejected[0].example.contains("up{instance=\"a\"}") && report.rejected[0].example.contains("1000 ms"), "{report:?}");
    // The newest is known even after its buffer has been packed.
    let last = CHUNK_SAMPLES as i64;
    let full: Vec<(i64, f64)> = (4..=last).map(|i| (i * 1_000, i as f64)).collect();
    assert_eq!(append(4, &full).rejected, []);
    assert_eq!(append(5, &[(last * 1_000, last as f64)]).rejected, []);
    assert_eq!(append(6, &[(last * 1_000, 0.0)]).rejected.len(), 1);
    let stats = store.table.stats();
    assert_eq!((stats.samples_conflicting, stats.samples_duplicate), (3, 3));
    let read = store.select(&[], i64::MIN, i64::MAX);
    let values: Vec<u64> = read[0].1.iter().take(3).map(|(_, bits)| *bits).collect();
    assert_eq!(values, [1.0f64.to_bits(), stale.to_bits(), 3.0f64.to_bits()]);
}

#[test]
fn new_series_over_a_limit_are_told_and_the_log_is_taken_whole() {
    let mut options = StoreOptions::new("");
    options.active_series_per_metric_max = 2;
    let store = Store::new(options);
    let append = |seq: u64, instance: &str| store.table.append_series(vec![up(instance, &[(1, 1.0), (2, 1.0)])], vec![], seq, seq as i64);
    store.table.recovering();
    for (seq, instance) in (1..).zip(["a", "b", "c"]) {
        assert_eq!(append(seq, instance).rejected, [], "it was acknowledged once");
    }
    store.table.recovered(4);
    assert_eq!(store.table.stats().active_series, 3);
    let report = append(5, "d");
    assert_eq!((report.rejected[0].reason, report.rejected[0].count, report.rows()), ("series_limit", 2, 2));
    assert_eq!(append(6, "c").rejected, [], "known series go on");
    let found = store.table.refused_series(9);
    assert_eq!(
        (found.len(), &*found[0].metric, &*found[0].label, found[0].limit, found[0].samples),
        (1, "up", "instance", "active_series_per_metric_max", 2)
    );
}

#[test]
fn only_series_in_range_are_listed() {
    let mut store = Store::new(StoreOptions::new(""));
    store.append(vec![up("old", &[(1_000, 1.0)])], vec![], true);
    store.flush();
    store.append(vec![up("new", &[(9_000_000, 1.0)])], vec![], true);
    for _ in 0..2 {
        let values = |start, end| store.table.label_values("instance", &[], start, end, &ctx()).expect("values");
        assert_eq!(values(0, 2_000), ["old"]);
        assert_eq!(values(2_000, i64::MAX), ["new"]);
        assert_eq!(values(0, i64::MAX), ["new", "old"]);
        assert_eq!(values(2_000, 3_000), Vec::<String>::new());
        assert_eq!(store.table.label_names(&[], 0, 2_000, &ctx()).expect("names"), ["__name__", "instance"]);
        let limited = store.table.series(&[vec![], vec![]], 0, i64::MAX, 1, &ctx()).expect("series");
        assert_eq!(limited.len(), 1);
        store.flush();
    }
}

#[test]
fn series_scraped_together_share_their_times() {
    let mut store = Store::new(StoreOptions::new(""));
    let samples: Vec<(i64, f64)> = (0..300).map(|i| (i * 15_000, i as f64)).collect();
    store.append((0..10).map(|i| up(&format!("i{i}"), &samples)).collect(), vec![], true);
    for _ in 0..2 {
        let found = store.table.select(&Select { matchers: &[], start: 0, end: i64::MAX, grouping: None }, &ctx()).expect("selected");
        assert_eq!(found.len(), 10);
        assert!(found.iter().all(|s| Arc::ptr_eq(&s.timestamps, &found[0].timestamps)));
        store.flush();
    }
}

#[test]
fn metadata_and_exemplars_survive_flush_merge_and_restart() {
    let meta = |help: &str| MetricMetadata { family: "up".into(), kind: MetricKind::Gauge, help: help.into(), unit: "".into() };
    let exemplar =
        |t: i64| Exemplar { timestamp: t, value: 0.25, trace_id: TraceId([7; 16]), span_id: SpanId::NONE, labels: Labels::new([("user", "u1")]) };
    let mut store = Store::new(StoreOptions::new(""));
    for (round, help) in ["old", "new"].into_iter().enumerate() {
        let t = round as i64 * 1000;
        let mut series = up("a", &[(t, 1.0)]);
        // Sent again until there is another.
        series.exemplars = vec![exemplar(5), exemplar(t)];
        store.append(vec![series], vec![meta(help)], round == 0);
        store.flush();
    }
    let check = |store: &Store| {
        assert_eq!(store.table.metadata(None), [meta("new")]);
        assert_eq!(store.table.metadata(Some("down")), []);
        let found = store.table.exemplars(&[vec![Matcher::equal(METRIC_NAME, "up")]], 1, i64::MAX, &ctx()).expect("exemplars");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1, [exemplar(5), exemplar(1000)]);
    };
    check(&store);
    while store.merge(true, i64::MIN) {}
    check(&store);
    store.restart();
    check(&store);
    assert_eq!(store.files.len(), 4, "one file a base table");
}

#[test]
fn old_samples_leave_in_a_merge() {
    let mut store = Store::new(StoreOptions::new(""));
    for i in 0..3 {
        store.append(vec![up("a", &[(i * 10, i as f64)]), up("gone", &[(i, 0.0)])], vec![], true);
        store.flush();
    }
    assert!(store.merge(true, 10_000_000));
    let found = store.select(&[], i64::MIN, i64::MAX);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1, [(10, 1f64.to_bits()), (20, 2f64.to_bits())]);
}

#[test]
fn limits_stop_a_selection() {
    let mut store = Store::new(StoreOptions::new(""));
    store.append(vec![up("a", &[(1, 1.0), (2, 1.0)]), up("b", &[(1, 1.0)])], vec![], true);
    for (limits, expected) in [
        (QueryLimits { samples_max: 2, ..QueryLimits::default() }, "samples_max"),
        (QueryLimits { series_max: 1, ..QueryLimits::default() }, "series_max"),
    ] {
        let ctx = QueryContext::new(limits, Instant::now());
        let error = store.table.select(&Select { matchers: &[], start: 0, end: 9, grouping: None }, &ctx).expect_err(expected);
        assert!(matches!(error, QueryError::Limit { limit, .. } if limit == expected), "{error}");
    }
}

#[test]
fn damaged_files_are_set_aside() {
    let build = || {
        let mut store = Store::new(StoreOptions::new(""));
        for i in 0..2 {
            let samples: Vec<(i64, f64)> = (0..400).map(|k| (i * 100_000 + k, k as f64 * 1.37)).collect();
            store.append(vec![up("a", &samples), up("b", &samples)], vec![], true);
            store.flush();
        }
        store
    };
    let length = |store: &Store| store.files[0].1.bytes as usize;
    let rng = &mut fastrand::Rng::with_seed(3);
    for _ in 0..200 {
        let mut store = build();
        let path = store.files[0].1.path.clone();
        let at = rng.usize(..length(&store));
        let mut bytes = store.blobs.0.lock()[&path].to_vec();
        bytes[at] ^= 1 << rng.u8(..8);
        store.blobs.0.lock().insert(path, bytes.into());
        store.restart();
        // Whatever became of the first file: no panic, and the second is served.
        let found = store.select(&[], 100_000, i64::MAX);
        assert_eq!(found.len(), 2, "byte {at}");
        assert!(found.iter().all(|(_, s)| s.len() == 400), "byte {at}");
        store.select(&[], i64::MIN, i64::MAX);
    }
}

/// CPU nanoseconds of this thread so far.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0)
}

/// What it cost, nanoseconds of CPU.
fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = cpu();
    let result = work();
    (cpu() - before, result)
}

/// Series like those of a fleet: counters, histogram buckets and gauges of pods that are scraped together.
struct Fleet {
    raw: Vec<(Vec<u8>, Labels)>,
    values: Vec<f64>,
    rng: fastrand::Rng,
}

const FLEET_STEP: i64 = 15_000;
const POD_SERIES: usize = 28;

impl Fleet {
    fn new(series: usize) -> Self {
        let label_sets = (0..series).map(|i| {
            let (pod, kind) = (i / POD_SERIES, i % POD_SERIES);
            let mut pairs = vec![
                ("job", format!("service-{}", pod % 20)),
                ("instance", format!("10.0.{}.{}:8080", pod / 250, pod % 250)),
                ("pod", format!("service-{}-{:x}", pod % 20, pod * 7919)),
                ("namespace", "production".to_owned()),
                ("cluster", "eu-1".to_owned()),
            ];
            match kind {
                0..12 => pairs
                    .extend([(METRIC_NAME, "http_request_duration_seconds_bucket".to_owned()), ("le", format!("{}", 0.005 * f64::from(1 << kind)))]),
                12..20 => pairs.extend([(METRIC_NAME, "http_requests_total".to_owned()), ("code", format!("{}", 200 + kind))]),
                20..24 => pairs.extend([(METRIC_NAME, "cpu_seconds_total".to_owned()), ("mode", format!("m{kind}"))]),
                _ => pairs.extend([(METRIC_NAME, "memory_bytes".to_owned()), ("area", format!("a{kind}"))]),
            }
            let labels = Labels::new(pairs);
            (labels.to_string().into_bytes(), labels)
        });
        Self { raw: label_sets.collect(), values: vec![0.0; series], rng: fastrand::Rng::with_seed(1) }
    }

    /// The next scrape; pods are scraped at offsets of their own.
    fn scrape(&mut self, round: i64, out: &mut Vec<(i64, f64)>) {
        out.clear();
        for (i, value) in self.values.iter_mut().enumerate() {
            let (pod, kind) = (i / POD_SERIES, i % POD_SERIES);
            *value = match kind {
                0..12 => *value + f64::from(self.rng.u8(..20)),
                12..20 => *value + f64::from(self.rng.u8(..60)),
                20..24 => ((*value + self.rng.f64()) * 100.0).round() / 100.0,
                _ => f64::from(self.rng.u32(1 << 28..(1 << 28) + 100_000)) * 4096.0,
            };
            out.push((1_795_125_600_000 + round * FLEET_STEP + (pod as i64 * 37) % FLEET_STEP, *value));
        }
    }
}

/// Prints what the parts cost. With `SKOPOS_BENCH_SERIES=20000` these are the figures of the performance page. With
/// `SKOPOS_BENCH_FILES=<folder>` the files are left there for other readers to try.
#[test]
#[allow(clippy::print_stderr, reason = "figures for whoever runs the test with --nocapture")]
fn figures() {
    let series: usize = std::env::var("SKOPOS_BENCH_SERIES").ok().and_then(|n| n.parse().ok()).unwrap_or(560);
    let rounds = 480i64;
    let mut store = Store::new(StoreOptions::new(""));
    let mut fleet = Fleet::new(series);
    let mut scrape = Vec::new();
    let (mut resolving, mut appending, mut encoding) = (0.0, 0.0, 0.0);
    let total = series as f64 * rounds as f64;
    for round in 0..rounds {
        fleet.scrape(round, &mut scrape);
        for part in (0..series).collect::<Vec<_>>().chunks(2_000) {
            let (cost, batch) = timed(|| {
                let mut batch = SampleBatch::default();
                let mut resolver = store.table.resolver();
                for i in part {
                    let (raw, labels) = &fleet.raw[*i];
                    let id = resolver.resolve(raw, &mut || labels.clone()).expect("room");
                    batch.push(id, scrape[*i].0, scrape[*i].1);
                }
                batch
            });
            resolving += cost;
            appending += timed(|| store.table.append_samples(batch, round as u64 + 1, 1)).0;
        }
        if round == 7 {
            // One of each of what else the files hold.
            let mut odd = up("odd", &[(1_000, f64::from_bits(STALE_NAN_BITS)), (2_000, 1.0 / 3.0), (3_000, -0.0), (4_000, 12.5)]);
            odd.exemplars =
                vec![Exemplar { timestamp: 5, value: 2.5, trace_id: TraceId([0xab; 16]), span_id: SpanId([1; 8]), labels: Labels::default() }];
            let meta = MetricMetadata { family: "up".into(), kind: MetricKind::Gauge, help: "whether it is up".into(), unit: "".into() };
            store.table.append_series(vec![odd], vec![meta], round as u64 + 1, 1);
        }
        if round == rounds / 2 - 1 {
            let bytes = store.table.head().bytes as f64;
            eprintln!("head: {:.2} B a sample", bytes / (total / 2.0));
            encoding += timed(|| store.flush()).0;
        }
    }
    let ranges = [("all", 0, i64::MAX), ("last 5 min", 1_795_125_600_000 + (rounds - 20) * FLEET_STEP, i64::MAX)];
    let selections = [
        ("all series", vec![]),
        ("one name", vec![Matcher::equal(METRIC_NAME, "http_requests_total")]),
        ("one service", vec![Matcher::equal(METRIC_NAME, "http_requests_total"), Matcher::equal("job", "service-3")]),
        ("one series", vec![Matcher::equal("instance", "10.0.0.7:8080"), Matcher::equal("code", "213")]),
    ];
    let queries = |store: &Store, place: &str| {
        for (what, matchers) in &selections {
            for (range, start, end) in ranges {
                let select = Select { matchers, start, end, grouping: None };
                let run = || timed(|| store.table.select(&select, &ctx()).expect("selected"));
                let (first, found) = run();
                let best = (0..3).map(|_| run().0).fold(first, f64::min);
                let samples: usize = found.iter().map(|s| s.values.len()).sum();
                eprintln!("{place}: {what}, {range}: {:.2} ms (first {:.2}), {} series, {samples} samples", best / 1e6, first / 1e6, found.len());
            }
        }
    };
    queries(&store, "file of 1 h and head");
    encoding += timed(|| store.flush()).0;
    let size = |store: &Store, table: &str| store.files.iter().filter(|(_, f)| f.table == table).map(|(_, f)| f.bytes).sum::<u64>() as f64;
    eprintln!("flushed: {:.3} B a sample, series {:.1} B each", size(&store, "samples_data") / total, size(&store, "series_data") / series as f64);
    queries(&store, "two files of 1 h");
    let (merging, ()) = timed(|| while store.merge(true, i64::MIN) {});
    let merged = size(&store, "samples_data") / total;
    eprintln!("merged: {merged:.3} B a sample");
    queries(&store, "one file of 2 h");
    eprintln!(
        "ns a sample: resolve {:.1}, append {:.1}, flush {:.1}, merge {:.1}; registry {:.0} B a series",
        resolving / total,
        appending / total,
        encoding / total,
        merging / total,
        store.table.stats().index_bytes as f64 / series as f64
    );
    if let Ok(folder) = std::env::var("SKOPOS_BENCH_FILES") {
        for (path, bytes) in store.blobs.0.lock().iter() {
            std::fs::write(format!("{folder}/{}", path.replace('/', "-")), bytes).expect("a folder that can be written");
        }
    }
    let found = store.table.select(&Select { matchers: &[], start: 0, end: i64::MAX, grouping: None }, &ctx()).expect("selected");
    assert_eq!(found.iter().map(|s| s.values.len()).sum::<usize>(), series * rounds as usize + 4);
    let sum: f64 = found.iter().flat_map(|s| &s.values).filter(|v| !v.is_nan()).sum();
    eprintln!("sum of all values: {sum}");
    assert!(merged <= 2.0, "{merged} bytes a sample");
    assert_eq!(store.files.iter().filter(|(_, f)| f.table == "samples_data").count(), 1, "a late sample does not keep files apart");
}
