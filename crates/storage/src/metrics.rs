//! Metrics: series, their samples, native histograms, start timestamps, exemplars and metadata.
//!
//! Samples live in the head as packed chunks, a series each, and in files as rows whose values are decimals
//! (`value = coalesce(value, (base + d) / 10^e)`), so that a byte or two holds one and plain SQL reads it. Both know
//! series by number; the registry knows what a number means and finds numbers by labels.
//!
//! A sample's way: [`resolver::Resolver`] → [`generation::Generation`] → [`writer::SamplesWriter`] → merge. On the way
//! back [`gather`] puts the parts of a series together; of samples with one time the lowest WAL sequence wins.

// In reading order.
mod admission;
mod cardinality;
mod floods;
mod order;
mod registry;
mod release;
mod resolver;

mod chunk;
mod decimal;
mod generation;
mod pack;
mod samples;
mod staging;

mod cache;
mod columns;
mod files;
mod histograms;
mod reader;
mod run_index;
mod small;
mod starts;
mod writer;

mod flush;
mod gather;
mod merge;
mod plan;
mod rollups;
mod scan;
mod select;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use skopos_model::{Decoded, MetricMetadata, Rejected, SampleBatch, TimeSeries};

use crate::blob::Blobs;
use crate::error::StorageError;
use crate::options::StoreOptions;
use crate::report::AppendReport;
use crate::table::{ColumnType, FileMeta, FileSwap, HeadSize, NewFile, Schema, Sealed, Table, View};

use admission::{Admission, Origin, SeriesLimits};
use cache::IndexCache;
use generation::{Appended, Generation, TIME_MAX, TIME_MIN};
use order::{By, Order};
use registry::Registry;
use release::Release;
use resolver::{RawCache, Resolver, find_or_add};
use staging::{STAGED_MAX, Staging};
use starts::Starts;

pub(crate) use histograms::HistogramsScan;
pub(crate) use scan::{SamplesScan, SeriesScan};

/// Base tables.
const SAMPLES: &str = "samples_data";
const HISTOGRAMS: &str = "histograms_data";
const STARTS: &str = "starts_data";
const SERIES: &str = "series_data";
const EXEMPLARS: &str = "exemplars_data";
const METADATA: &str = "metadata_data";

/// Most metric families whose metadata is kept: a sender that makes up names must not fill the memory.
const FAMILIES_MAX: usize = 200_000;

/// What changes together: every sample is in exactly one of the places.
#[derive(Debug, Default)]
struct State {
    /// Samples that belong to the open head and are not sorted into it yet.
    staged: Staging,
    open: Generation,
    sealed: Option<Arc<Generation>>,
    /// Files of all base tables, in order of their WAL sequence.
    files: Vec<Arc<FileMeta>>,
    /// Newest time of each series since the start, Unix milliseconds.
    newest: Vec<i64>,
}

/// Samples that were not taken, since the start.
#[derive(Debug, Default)]
struct Refused {
    too_old: AtomicU64,
    out_of_range: AtomicU64,
    duplicate: AtomicU64,
    conflicting: AtomicU64,
}

/// Metadata by family, with the sequence number it came with.
type Families = BTreeMap<Box<str>, (u64, MetricMetadata)>;

/// The metrics table. See the module.
#[derive(Debug)]
pub(crate) struct MetricsTable {
    blobs: Arc<dyn Blobs>,
    /// Oldest sample taken, as milliseconds before the newest of its series.
    window: i64,
    registry: RwLock<Registry>,
    raw: Mutex<RawCache>,
    admission: Admission,
    /// Taken before all others.
    release: Mutex<Release>,
    file_order: Mutex<Order>,
    label_order: Mutex<Order>,
    /// Taken before the registry's lock where both are needed.
    state: RwLock<State>,
    families: RwLock<Families>,
    /// Taken after the state's lock where both are needed.
    starts: RwLock<Starts>,
    /// Files of the small tables this process wrote, with the series in them: no need to read them back.
    written: Mutex<HashMap<String, Vec<u32>>>,
    indexes: Mutex<IndexCache>,
    /// Files that could not be read: reported once, left out since.
    refused: Refused,
    /// Whether rollups are written and read.
    rollups: bool,
    schemas: [Arc<Schema>; 7],
}

impl MetricsTable {
    /// An empty table that writes to and reads from `blobs`.
    pub(crate) fn new(blobs: Arc<dyn Blobs>, options: &StoreOptions) -> Arc<Self> {
        use ColumnType::{Blob, Double, DoubleList, Int32, Int32List, Int64, MapVarchar, TimestampMs, Varchar};
        let samples = [("series_id", Int32), ("time", TimestampMs), ("base", Int64), ("d", Int64), ("e", Int32), ("value", Double)];
        let histograms = [
            ("series_id", Int32),
            ("time", TimestampMs),
            ("schema", Int32),
            ("counter_reset", Varchar),
            ("zero_threshold", Double),
            ("zero_count", Double),
            ("count", Double),
            ("sum", Double),
            ("positive_indexes", Int32List),
            ("positive_counts", DoubleList),
            ("negative_indexes", Int32List),
            ("negative_counts", DoubleList),
            ("custom_bounds", DoubleList),
        ];
        let starts = [("series_id", Int32), ("time", TimestampMs), ("start", TimestampMs)];
        let series = [("series_id", Int32), ("metric_name", Varchar), ("labels", MapVarchar)];
        let exemplars =
            [("series_id", Int32), ("time", TimestampMs), ("value", Double), ("trace_id", Blob), ("span_id", Blob), ("labels", MapVarchar)];
        let metadata = [("family", Varchar), ("kind", Varchar), ("help", Varchar), ("unit", Varchar)];
        Arc::new(Self {
            blobs,
            window: i64::try_from(options.out_of_order_window.as_millis()).unwrap_or(i64::MAX),
            registry: RwLock::default(),
            raw: Mutex::default(),
            admission: Admission::new(SeriesLimits {
                all: options.active_series_max,
                metric: options.active_series_per_metric_max,
                source: options.active_series_per_source_max,
            }),
            release: Mutex::default(),
            file_order: Mutex::new(Order::new(By::File)),
            label_order: Mutex::new(Order::new(By::Labels)),
            state: RwLock::default(),
            families: RwLock::default(),
            starts: RwLock::default(),
            written: Mutex::default(),
            indexes: Mutex::default(),
            refused: Refused::default(),
            rollups: options.rollups,
            schemas: [
                Arc::new(Schema::new(SAMPLES, 0, &samples)),
                Arc::new(Schema::new(SERIES, 0, &series)),
                Arc::new(Schema::new(EXEMPLARS, 0, &exemplars)),
                Arc::new(Schema::new(METADATA, 0, &metadata)),
                Arc::new(Schema::new(HISTOGRAMS, 0, &histograms)),
                Arc::new(Schema::new(STARTS, 0, &starts)),
                Arc::new(rollups::schema()),
            ],
        })
    }

    /// Numbers series while a request is decoded. One at a time: the guard holds the cache's lock.
    pub(crate) fn resolver(&self) -> Resolver<'_> {
        Resolver::new(self.raw.lock(), &self.registry, &self.admission)
    }

    /// To be told the time, Unix nanoseconds.
    pub(crate) fn at(&self, now: i64) {
        self.admission.at(now);
    }

    /// The log is read again: what was acknowledged once is taken, whatever the limits on series are now.
    pub(crate) fn recovering(&self) {
        self.admission.recovering();
    }

    /// The log has been read. `now`: Unix nanoseconds.
    pub(crate) fn recovered(&self, now: i64) {
        let state = self.settled();
        let registry = self.registry.read();
        let open = &state.open;
        let only_histograms = open.histograms.ids().filter(|id| open.buffer(*id).is_none());
        let active = open.buffers().iter().map(|buffer| buffer.series).chain(only_histograms);
        self.admission.recovered(registry.next(), active.map(|id| Origin::of_series(id, &registry)), now);
    }

    /// Samples of refused series since the start, by the limit's name.
    pub(crate) fn lost_by_limit(&self) -> Vec<(&'static str, u64)> {
        self.admission.lost_by_limit()
    }

    /// Puts samples of numbered series into the head; tells which were not taken. `now`: Unix nanoseconds.
    pub(crate) fn append_samples(&self, batch: SampleBatch, seq: u64, now: i64) -> AppendReport {
        self.admission.at(now);
        let mut appended = Appended::default();
        {
            let mut state = self.state.write();
            let registry = self.registry.read();
            let next = registry.next();
            let appeared = |id: u32| self.admission.appeared(id, || Origin::of_series(id, &registry));
            let state = &mut *state;
            state.open.begin(seq, now);
            let entries = state.newest.len().max(next as usize);
            state.newest.resize(entries, i64::MIN);
            for (series, times, values) in batch.runs() {
                // A number this process has not given means nothing.
                let Some(newest) = state.newest.get_mut(series.0 as usize) else { continue };
                if follows(times, *newest) {
                    *newest = times.last().copied().unwrap_or(*newest);
                    state.staged.push(series, times, values);
                    continue;
                }
                // Late, there already, or of an impossible time: which of them shows beside what the series has.
                self.sort_in(state, &registry);
                let State { open, newest, .. } = &mut *state;
                open.append(series, (times, values), &mut newest[series.0 as usize], self.window, &appeared, &mut appended);
            }
            if state.staged.len() >= STAGED_MAX {
                self.sort_in(state, &registry);
            }
            let State { open, newest, .. } = state;
            for (series, time, histogram) in batch.histograms {
                if let Some(newest) = newest.get_mut(series.0 as usize) {
                    open.append_histogram((series, time, histogram), newest, self.window, &appeared, &mut appended);
                }
            }
            if !batch.starts.is_empty() {
                let mut starts = self.starts.write();
                let new = batch.starts.into_iter().filter(|row| row.0.0 < next && starts.note(*row));
                let before = open.starts.len();
                open.starts.extend(new);
                open.bytes += (open.starts.len() - before) * size_of::<small::starts::Row>();
            }
            for (series, exemplar) in batch.exemplars {
                if series.0 < next {
                    open.append_exemplar(series, exemplar);
                }
            }
            self.append_metadata(open, batch.metadata, seq);
        }
        self.count(appended)
    }

    /// Sorts what was put aside into the open head.
    fn sort_in(&self, state: &mut State, registry: &Registry) {
        // Each was newer than all before it of its series when it was put aside: there is nothing to refuse.
        let mut appended = Appended::default();
        let appeared = |id: u32| self.admission.appeared(id, || Origin::of_series(id, registry));
        let State { staged, open, newest, .. } = state;
        staged.drain(|series, times, values| {
            // There is an entry for each: it was made before the samples were put aside.
            if let Some(newest) = newest.get_mut(series.0 as usize) {
                open.append(series, (times, values), newest, i64::MAX, &appeared, &mut appended);
            }
        });
    }

    /// What is visible, with all that was acknowledged sorted in.
    fn settled(&self) -> RwLockReadGuard<'_, State> {
        let state = self.state.read();
        if state.staged.is_empty() {
            return state;
        }
        drop(state);
        let mut state = self.state.write();
        self.sort_in(&mut state, &self.registry.read());
        RwLockWriteGuard::downgrade(state)
    }

    /// Puts samples of labelled series into the head; new series over the limit on active series are left out.
    pub(crate) fn append_series(&self, batch: Vec<TimeSeries>, metadata: Vec<MetricMetadata>, seq: u64, now: i64) -> AppendReport {
        self.admission.at(now);
        let mut samples = SampleBatch { metadata, ..SampleBatch::default() };
        let mut refused = AppendReport::default();
        for series in batch {
            let id = match find_or_add(&self.registry, &self.admission, &series.labels) {
                Ok(id) => id,
                Err(why) => {
                    let rows = (series.samples.len() + series.histograms.len()) as u64;
                    self.admission.lost(why, rows);
                    refused.histograms += series.histograms.len();
                    Decoded::<()>::reject(&mut refused.rejected, "series_limit", rows, || {
                        format!("{}: {} of {} is reached", series.labels, why.limit.name(), self.admission.limits().of(why.limit))
                    });
                    continue;
                }
            };
            for (time, value) in series.samples {
                samples.push(id, time, value);
            }
            samples.histograms.extend(series.histograms.into_iter().map(|(time, histogram)| (id, time, histogram)));
            samples.starts.extend(series.starts.into_iter().map(|(from, start)| (id, from, start)));
            samples.exemplars.extend(series.exemplars.into_iter().map(|e| (id, e)));
        }
        let mut report = self.append_samples(samples, seq, now);
        report.rejected.extend(refused.rejected);
        report.histograms += refused.histograms;
        report
    }

    fn append_metadata(&self, open: &mut Generation, metadata: Vec<MetricMetadata>, seq: u64) {
        if metadata.is_empty() {
            return;
        }
        let known = |families: &Families, m: &MetricMetadata| families.get(&m.family).is_some_and(|(_, k)| k == m);
        if metadata.iter().all(|m| known(&self.families.read(), m)) {
            return;
        }
        let mut families = self.families.write();
        for m in metadata {
            let is_new = !families.contains_key(&m.family);
            if known(&families, &m) || (is_new && families.len() >= FAMILIES_MAX) {
                continue;
            }
            open.bytes += m.family.len() + m.help.len() + m.unit.len() + 64;
            open.metadata.push(m.clone());
            families.insert(m.family.clone(), (seq, m));
        }
    }

    /// Counts what was not taken, and says it in words.
    fn count(&self, appended: Appended) -> AppendReport {
        let mut report = AppendReport::default();
        if appended.duplicate > 0 {
            self.refused.duplicate.fetch_add(appended.duplicate as u64, Ordering::Relaxed);
        }
        for (not_taken, counter, reason, why) in [
            (appended.too_old, &self.refused.too_old, "too_old", "older than the series' newest by more than the out-of-order window"),
            (appended.out_of_range, &self.refused.out_of_range, "time_out_of_range", "outside of the years 0 to 9999"),
            (appended.conflicting, &self.refused.conflicting, "duplicate_timestamp", "the series has another value at that time, which stays"),
        ] {
            let Some((series, time)) = not_taken.first else { continue };
            counter.fetch_add(not_taken.all() as u64, Ordering::Relaxed);
            let labels = self.registry.read().labels(series);
            let example = format!("{labels}: sample of {time} ms: {why}");
            tracing::debug!(reason, count = not_taken.all(), example, "samples were not taken");
            report.rejected.push(Rejected { reason, count: not_taken.all() as u64, example });
            report.histograms += not_taken.histograms;
        }
        report
    }

    /// Figures for the store's own metrics.
    pub(crate) fn stats(&self) -> MetricsStats {
        drop(self.settled());
        let (series, active) = {
            let registry = self.registry.read();
            (registry.len(), self.admission.active(registry.next()))
        };
        // One after the other: a decoder takes the second lock first.
        let labels = self.registry.read().memory();
        let cache = self.raw.lock().memory();
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        MetricsStats {
            series: series as u64,
            active_series: active as u64,
            active_series_max: self.admission.limits().all as u64,
            index_bytes: (labels + cache) as u64,
            samples_too_old: load(&self.refused.too_old),
            samples_out_of_range: load(&self.refused.out_of_range),
            samples_duplicate: load(&self.refused.duplicate),
            samples_conflicting: load(&self.refused.conflicting),
        }
    }

    /// Ranks of all series in one of the orders.
    fn ranks(&self, by: By) -> Arc<Vec<u32>> {
        let order = if by == By::File { &self.file_order } else { &self.label_order };
        order.lock().ranks(&self.registry.read())
    }

    /// Files of a base table that can be read, in order of their WAL sequence.
    fn files_of(&self, table: &str) -> Vec<Arc<FileMeta>> {
        let state = self.state.read();
        state.files.iter().filter(|f| f.file.table == table && !f.is_damaged()).map(Arc::clone).collect()
    }

    /// Makes the series of files known that this process has not written itself.
    fn learn(&self, file: &FileMeta) {
        let written = self.written.lock().remove(&file.file.path);
        let mut result = Ok(());
        if file.file.table == SERIES {
            match written {
                Some(ids) => {
                    let mut registry = self.registry.write();
                    ids.into_iter().for_each(|id| registry.set_persisted(id, true));
                }
                None => {
                    result = small::series::read(file, &*self.blobs, |id, labels| {
                        let mut registry = self.registry.write();
                        if id < registry::SERIES_MAX && !registry.contains(id) {
                            registry.insert(id, &labels);
                        }
                        registry.set_persisted(id, true);
                    });
                }
            }
        } else if file.file.table == METADATA && written.is_none() {
            result = small::metadata::read(file, &*self.blobs).map(|rows| {
                let mut families = self.families.write();
                for m in rows {
                    if families.get(&m.family).is_none_or(|(seq, _)| *seq <= file.file.seq_max) {
                        families.insert(m.family.clone(), (file.file.seq_max, m));
                    }
                }
            });
        } else if file.file.table == STARTS && written.is_none() {
            result = small::starts::read(file, &*self.blobs).map(|rows| {
                let mut starts = self.starts.write();
                rows.into_iter().for_each(|row| {
                    starts.note(row);
                });
            });
        }
        if let Err(error) = result
            && let Err(error) = file.set_aside(error)
        {
            tracing::error!(path = file.file.path, %error, "a metrics file cannot be read; its series are missing until a restart");
        }
        // Whatever became of the series' labels, their numbers are not given out again.
        if let Some(max) = file.file.extra.get("series_max").and_then(serde_json::Value::as_u64) {
            let next = u32::try_from(max.saturating_add(1)).unwrap_or(u32::MAX).min(registry::SERIES_MAX);
            self.registry.write().reserve(next);
        }
    }
}

/// Whether samples are in order, all newer than the newest so far, and of times that can be stored.
#[inline]
fn follows(times: &[i64], newest: i64) -> bool {
    match times {
        &[time] => newest < time && (TIME_MIN..=TIME_MAX).contains(&time),
        &[first, .., last] => newest < first && TIME_MIN <= first && last <= TIME_MAX && times.is_sorted_by(|a, b| a < b),
        [] => true,
    }
}

/// What the metrics table tells about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MetricsStats {
    /// Series known.
    pub(crate) series: u64,
    /// Series with a sample in the open head.
    pub(crate) active_series: u64,
    /// Most of them there may be.
    pub(crate) active_series_max: u64,
    /// Memory of labels and caches, bytes.
    pub(crate) index_bytes: u64,
    /// Samples older than the out-of-order window allows, since the start.
    pub(crate) samples_too_old: u64,
    /// Samples outside the years 0 to 9999, since the start.
    pub(crate) samples_out_of_range: u64,
    /// Samples that were there already (only those noticed at once), since the start.
    pub(crate) samples_duplicate: u64,
    /// Samples of a time at which their series has another value (only those noticed at once), since the start.
    pub(crate) samples_conflicting: u64,
}

impl Table for MetricsTable {
    fn schemas(&self) -> Vec<Arc<Schema>> {
        self.schemas.to_vec()
    }

    fn views(&self) -> Vec<View> {
        let view = |name, sql: &str, columns: &[&str]| View { name, sql: sql.to_owned(), columns: columns.iter().map(|c| (*c).to_owned()).collect() };
        let columns = self.schemas.iter().find(|s| s.table == HISTOGRAMS).map(|s| s.columns()).unwrap_or_default();
        let histogram_columns: Vec<String> = columns.into_iter().map(|c| c.name).collect();
        let histogram_names: Vec<&str> = histogram_columns.iter().map(String::as_str).collect();
        vec![
            view(
                "samples",
                "SELECT series_id, time, coalesce(value, (base + d) / pow(10, e)) AS value FROM {DUCKLAKE_CATALOG}.samples_data",
                &["series_id", "time", "value"],
            ),
            view("histograms", &format!("SELECT {} FROM {{DUCKLAKE_CATALOG}}.histograms_data", histogram_names.join(", ")), &histogram_names),
            view("series", "SELECT series_id, metric_name, labels FROM {DUCKLAKE_CATALOG}.series_data", &["series_id", "metric_name", "labels"]),
            view(
                "exemplars",
                "SELECT series_id, time, value, lower(hex(trace_id)) AS trace_id, lower(hex(span_id)) AS span_id, labels \
                 FROM {DUCKLAKE_CATALOG}.exemplars_data",
                &["series_id", "time", "value", "trace_id", "span_id", "labels"],
            ),
            rollups::view(),
        ]
    }

    fn head(&self) -> HeadSize {
        let state = self.state.read();
        let open = &state.open;
        HeadSize {
            rows: open.rows() + state.staged.len(),
            bytes: open.bytes + state.staged.memory() + state.sealed.as_ref().map_or(0, |s| s.bytes),
            since: if open.touched { open.since } else { 0 },
        }
    }

    fn seal(&self) -> Option<Sealed> {
        let mut state = self.state.write();
        // Records that brought nothing new count too: the log is freed up to them.
        if !state.open.touched || state.sealed.is_some() {
            return None;
        }
        self.sort_in(&mut state, &self.registry.read());
        let open = std::mem::take(&mut state.open);
        let sealed = Sealed { seq_max: open.seq_max, rows: open.rows() };
        state.sealed = Some(Arc::new(open));
        self.admission.sealed(self.registry.read().next());
        Some(sealed)
    }

    fn encode_sealed(&self, blobs: &dyn Blobs) -> Result<Vec<NewFile>, StorageError> {
        let sealed = self.state.read().sealed.clone();
        sealed.map_or(Ok(Vec::new()), |sealed| flush::encode(self, &sealed, blobs))
    }

    fn swap(&self, swap: FileSwap) {
        let mut add = swap.add;
        add.sort_by_key(|f| (f.file.seq_min, f.id));
        // Labels first: whoever sees a sample can tell its series.
        add.iter().for_each(|file| self.learn(file));
        {
            let mut indexes = self.indexes.lock();
            swap.remove.iter().for_each(|id| indexes.remove(*id));
        }
        let mut state = self.state.write();
        state.files.retain(|f| !swap.remove.contains(&f.id));
        state.files.extend(add);
        state.files.sort_by_key(|f| (f.file.seq_min, f.id));
        if swap.drop_sealed {
            state.sealed = None;
        }
    }

    fn plan_merge(&self, _now: i64, full: bool) -> Option<Vec<Arc<FileMeta>>> {
        let tables = [SAMPLES, HISTOGRAMS, SERIES, EXEMPLARS, METADATA, STARTS];
        let planned = tables.into_iter().find_map(|table| merge::plan_table(self, table, full));
        planned.or_else(|| rollups::missing(self, full)).map(|files| rollups::with_rollups(self, files))
    }

    fn merge(&self, inputs: &[Arc<FileMeta>], cutoff: i64, blobs: &dyn Blobs) -> Result<Vec<NewFile>, StorageError> {
        merge::run(self, inputs, cutoff, blobs)
    }

    fn files(&self) -> Vec<Arc<FileMeta>> {
        self.state.read().files.clone()
    }

    fn release(&self, now: i64) -> Result<(), StorageError> {
        self.release_ended(now).map(drop)
    }

    fn expires(&self, file: &FileMeta) -> bool {
        // Labels and metadata are what samples of any age are read by.
        ![SERIES, METADATA, STARTS].contains(&file.file.table)
    }
}
