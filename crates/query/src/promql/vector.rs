//! What nodes evaluate to: series × steps.
//!
//! A cell without a value holds the staleness marker's bits. No computed value can have them (arithmetic turns a
//! signalling NaN into a quiet one), and a stored marker means "no value" anyway. Native histograms stand beside the
//! cells, in a list by step for each series that has any; their cell is one without a value. So what computes with
//! numbers only passes them over by itself, and costs nothing more for it.

use std::rc::Rc;
use std::sync::Arc;

use skopos_model::{Labels, NativeHistogram};

use super::METRIC_NAME;
use xxhash_rust::xxh3::xxh3_64;

use super::eval::Evaluator;
use crate::error::QueryError;
use crate::metrics::Series;

/// Bits of Prometheus' staleness marker.
pub(crate) const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The cell without a value.
pub(crate) const ABSENT: f64 = f64::from_bits(STALE_BITS);

/// Whether a cell has no value.
#[inline(always)]
pub(crate) fn is_absent(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// The times a node is evaluated at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Steps {
    /// First, Unix milliseconds.
    pub(crate) start: i64,
    /// Distance, milliseconds; anything when there is one step.
    pub(crate) step: i64,
    /// How many, at least one.
    pub(crate) count: usize,
}

impl Steps {
    pub(crate) fn one(time: i64) -> Self {
        Self { start: time, step: 1, count: 1 }
    }

    #[allow(clippy::cast_possible_wrap, reason = "step counts are far below 2^63")]
    pub(crate) fn time(&self, k: usize) -> i64 {
        self.start + self.step * k as i64
    }

    pub(crate) fn end(&self) -> i64 {
        self.time(self.count - 1)
    }

    pub(crate) fn times(&self) -> impl ExactSizeIterator<Item = i64> + '_ {
        (0..self.count).map(|k| self.time(k))
    }
}

/// Labels that say what a metric is: they go together when a value no longer is that metric.
const IDENTITY: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// What has become of a series' name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// As stored.
    Kept,
    /// Gone, though `labels` still has it.
    Dropped,
    /// To be taken off at the very end (delayed name removal).
    ToDrop,
}

/// A series' identity.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) labels: Arc<Labels>,
    pub(crate) name: Name,
}

impl Key {
    pub(crate) fn new(labels: Labels) -> Self {
        Self { labels: Arc::new(labels), name: Name::Kept }
    }

    /// Value of a label, empty when there is none.
    pub(crate) fn get(&self, label: &str) -> &str {
        if self.name == Name::Dropped && IDENTITY.contains(&label) { "" } else { self.labels.get(label).unwrap_or("") }
    }

    /// Labels in order, without a dropped name.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let hide = self.name == Name::Dropped;
        self.labels.iter().filter(move |(n, _)| !(hide && IDENTITY.contains(n)))
    }

    /// Labels as they are now.
    pub(crate) fn visible(&self) -> Arc<Labels> {
        if self.name == Name::Dropped { Arc::new(self.labels.without(&IDENTITY)) } else { Arc::clone(&self.labels) }
    }

    /// Labels in the result.
    pub(crate) fn finished(&self) -> Arc<Labels> {
        if self.name == Name::Kept { Arc::clone(&self.labels) } else { Arc::new(self.labels.without(&IDENTITY)) }
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        if (self.name == Name::Dropped) == (other.name == Name::Dropped) && Arc::ptr_eq(&self.labels, &other.labels) {
            return true;
        }
        self.pairs().eq(other.pairs())
    }

    pub(crate) fn hash(&self) -> u64 {
        self.pairs().fold(0, |h, (n, v)| mix(mix(h, n), v))
    }
}

/// Adds a text to a hash; order counts.
#[inline]
pub(crate) fn mix(hash: u64, text: &str) -> u64 {
    (hash.rotate_left(23) ^ xxh3_64(text.as_bytes())).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A native histogram and the step it is the value of.
pub(crate) type HistogramCell = (u32, Arc<NativeHistogram>);

/// Histograms of one series, by step.
pub(crate) type HistogramRow = Vec<HistogramCell>;

/// A step as histogram rows count it.
pub(crate) fn step_index(k: usize) -> u32 {
    u32::try_from(k).unwrap_or(u32::MAX)
}

/// The histogram at a step.
pub(crate) fn histogram_at(row: &[HistogramCell], k: usize) -> Option<&Arc<NativeHistogram>> {
    row.binary_search_by_key(&step_index(k), |(step, _)| *step).ok().map(|i| &row[i].1)
}

/// Computes rows when asked.
pub(crate) trait RowSource {
    /// Writes row `index` into `out`, one cell a step, and appends its histograms to `histograms`, which comes empty.
    fn row(&mut self, index: usize, out: &mut [f64], histograms: &mut HistogramRow);
}

/// Cells, there or to be computed.
pub(crate) enum Rows {
    /// Row after row, and the histograms of each of the first of them.
    Dense(Vec<f64>, Vec<HistogramRow>),
    /// Row by row on demand: aggregations then never hold them all.
    Lazy(Box<dyn RowSource>),
}

/// Where rows are computed to.
pub(crate) struct Scratch {
    cells: Vec<f64>,
    histograms: HistogramRow,
}

impl Scratch {
    pub(crate) fn new(width: usize) -> Self {
        Self { cells: vec![ABSENT; width], histograms: Vec::new() }
    }
}

/// Series with one cell a step.
pub(crate) struct Vector {
    pub(crate) keys: Vec<Key>,
    pub(crate) rows: Rows,
    pub(crate) width: usize,
    /// Whether no two series have the same labels. Where names were taken off this is found out when the vector is
    /// made whole; aggregations do not need to know.
    pub(crate) unique: bool,
}

/// A [`Vector`] with all its cells.
#[derive(Debug)]
pub(crate) struct Grid {
    pub(crate) keys: Vec<Key>,
    pub(crate) data: Vec<f64>,
    pub(crate) width: usize,
    /// Histograms of the first series; those after them have none.
    histograms: Vec<HistogramRow>,
}

impl Grid {
    pub(crate) fn empty(width: usize) -> Self {
        Self::new(Vec::new(), Vec::new(), width)
    }

    /// Of numbers only.
    pub(crate) fn new(keys: Vec<Key>, data: Vec<f64>, width: usize) -> Self {
        Self { keys, data, width, histograms: Vec::new() }
    }

    /// Whether any series may have histograms.
    pub(crate) fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// The histograms of series `i`.
    pub(crate) fn histograms(&self, i: usize) -> &[HistogramCell] {
        self.histograms.get(i).map_or(&[], Vec::as_slice)
    }

    /// The histogram of series `i` at step `k`.
    pub(crate) fn histogram(&self, i: usize, k: usize) -> Option<&Arc<NativeHistogram>> {
        histogram_at(self.histograms(i), k)
    }

    /// Sets the histograms of series `i`.
    pub(crate) fn set_histograms(&mut self, i: usize, row: HistogramRow) {
        if i < self.histograms.len() {
            self.histograms[i] = row;
        } else if !row.is_empty() {
            self.histograms.resize(i, Vec::new());
            self.histograms.push(row);
        }
    }

    /// Adds a histogram to series `i`, at a later step than those it has.
    pub(crate) fn push_histogram(&mut self, i: usize, step: u32, h: Arc<NativeHistogram>) {
        if self.histograms.len() <= i {
            self.histograms.resize(i + 1, Vec::new());
        }
        self.histograms[i].push((step, h));
    }

    /// Takes the histograms off: of each of the first series.
    pub(crate) fn take_histograms(&mut self) -> Vec<HistogramRow> {
        std::mem::take(&mut self.histograms)
    }

    /// Leaves the histograms for which `keep` holds, given their series and step.
    pub(crate) fn retain_histograms(&mut self, keep: impl Fn(usize, usize) -> bool) {
        for (i, row) in self.histograms.iter_mut().enumerate() {
            row.retain(|(k, _)| keep(i, *k as usize));
        }
    }

    /// Replaces each histogram.
    pub(crate) fn map_histograms(&mut self, f: impl Fn(&NativeHistogram) -> NativeHistogram) {
        self.histograms.iter_mut().flatten().for_each(|(_, h)| *h = Arc::new(f(h)));
    }

    /// Whether series `i` has a value at step `k`.
    pub(crate) fn is_present(&self, i: usize, k: usize) -> bool {
        !is_absent(self.data[i * self.width + k]) || (self.has_histograms() && self.histogram(i, k).is_some())
    }

    /// Adds a series, numbers and histograms.
    pub(crate) fn push_row(&mut self, key: Key, row: &[f64], histograms: HistogramRow) {
        self.push(key, row);
        self.set_histograms(self.keys.len() - 1, histograms);
    }

    /// Adds the series of another grid of the same width.
    pub(crate) fn append(&mut self, mut other: Self) {
        let from = self.keys.len();
        self.keys.append(&mut other.keys);
        self.data.append(&mut other.data);
        for (i, row) in other.histograms.into_iter().enumerate() {
            self.set_histograms(from + i, row);
        }
    }

    pub(crate) fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.width..(i + 1) * self.width]
    }

    pub(crate) fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.data[i * self.width..(i + 1) * self.width]
    }

    pub(crate) fn push(&mut self, key: Key, row: &[f64]) {
        self.keys.push(key);
        self.data.extend_from_slice(row);
    }

    /// Adds a series without values and returns its row.
    pub(crate) fn push_absent(&mut self, key: Key) -> &mut [f64] {
        self.keys.push(key);
        let from = self.data.len();
        self.data.resize(from + self.width, ABSENT);
        &mut self.data[from..]
    }

    /// Removes series that have no value at any step.
    pub(crate) fn prune(&mut self) {
        let width = self.width;
        let mut kept = 0;
        for i in 0..self.keys.len() {
            if !self.row(i).iter().all(|v| is_absent(*v)) || !self.histograms(i).is_empty() {
                if kept != i {
                    self.keys.swap(kept, i);
                    self.data.copy_within(i * width..(i + 1) * width, kept * width);
                    if kept < self.histograms.len() {
                        let row = self.histograms.get_mut(i).map(std::mem::take).unwrap_or_default();
                        self.histograms[kept] = row;
                    }
                }
                kept += 1;
            }
        }
        self.keys.truncate(kept);
        self.data.truncate(kept * width);
        self.histograms.truncate(kept);
    }

    /// Joins series whose labels are the same.
    ///
    /// # Errors
    /// When two of them have a value at the same step.
    pub(crate) fn merge_same(mut self) -> Result<Self, QueryError> {
        let Some(first) = duplicates(&self.keys) else { return Ok(self) };
        let width = self.width;
        let mut drop_row = vec![false; self.keys.len()];
        for (i, first) in first.iter().enumerate() {
            let target = *first as usize;
            if target == i {
                continue;
            }
            drop_row[i] = true;
            if self.keys[i].name == Name::ToDrop {
                self.keys[target].name = Name::ToDrop;
            }
            for k in 0..width {
                if !self.is_present(i, k) {
                    continue;
                }
                if self.is_present(target, k) {
                    return Err(same_labelset());
                }
                self.data[target * width + k] = self.data[i * width + k];
            }
            if let Some(more) = self.histograms.get_mut(i).map(std::mem::take).filter(|row| !row.is_empty()) {
                let mut row = self.histograms.get_mut(target).map(std::mem::take).unwrap_or_default();
                row.extend(more);
                row.sort_by_key(|(k, _)| *k);
                self.set_histograms(target, row);
            }
        }
        let mut out = Self::empty(width);
        for (i, key) in self.keys.iter().enumerate() {
            if !drop_row[i] {
                out.push_row(key.clone(), self.row(i), self.histograms(i).to_vec());
            }
        }
        Ok(out)
    }
}

/// Two series of one vector would have the same labels.
pub(crate) fn same_labelset() -> QueryError {
    QueryError::Execution("vector cannot contain metrics with the same labelset".to_owned())
}

/// For each series the first with the same labels; `None` when all differ.
pub(crate) fn duplicates(keys: &[Key]) -> Option<Vec<u32>> {
    if keys.len() < 2 {
        return None;
    }
    // Series of one name differ in the other labels, so taking off the name makes no two the same.
    let (state, name) = (keys[0].name, keys[0].labels.name());
    if keys.iter().all(|k| k.name == state && k.labels.name() == name) && keys.windows(2).all(|w| w[0].labels < w[1].labels) {
        return None;
    }
    let (codes, first) = super::group::group(keys, &super::group::Pick::All);
    if first.len() == keys.len() {
        return None;
    }
    Some(codes.iter().map(|c| first[*c as usize]).collect())
}

impl Vector {
    pub(crate) fn dense(grid: Grid) -> Self {
        Self { keys: grid.keys, rows: Rows::Dense(grid.data, grid.histograms), width: grid.width, unique: true }
    }

    /// Row `i` and its histograms, computed into `scratch` when it is not there yet.
    pub(crate) fn row<'a>(&'a mut self, i: usize, scratch: &'a mut Scratch) -> (&'a [f64], &'a [HistogramCell]) {
        match &mut self.rows {
            Rows::Dense(data, histograms) => (&data[i * self.width..(i + 1) * self.width], histograms.get(i).map_or(&[], Vec::as_slice)),
            Rows::Lazy(source) => {
                scratch.histograms.clear();
                source.row(i, &mut scratch.cells, &mut scratch.histograms);
                (&scratch.cells, &scratch.histograms)
            }
        }
    }

    /// All cells, without the series that have no value.
    ///
    /// # Errors
    /// When cancelled, when there are more cells than a query may hold, or when series that lost their names are the
    /// same now.
    pub(crate) fn into_grid(self, ev: &Evaluator<'_>) -> Result<Grid, QueryError> {
        let (width, unique) = (self.width, self.unique);
        let grid = self.cells(ev, width)?;
        if unique { Ok(grid) } else { grid.merge_same() }
    }

    /// With all its rows computed, still not looked through for equal labels.
    pub(crate) fn computed(self, ev: &Evaluator<'_>) -> Result<Self, QueryError> {
        let (width, unique) = (self.width, self.unique);
        let grid = self.cells(ev, width)?;
        Ok(Self { unique, ..Self::dense(grid) })
    }

    fn cells(self, ev: &Evaluator<'_>, width: usize) -> Result<Grid, QueryError> {
        match self.rows {
            Rows::Dense(data, histograms) => {
                let mut grid = Grid { keys: self.keys, data, width, histograms };
                grid.prune();
                Ok(grid)
            }
            Rows::Lazy(mut source) => {
                ev.check_cells(self.keys.len(), width)?;
                let mut data = Vec::with_capacity(self.keys.len() * width);
                let mut grid = Grid::new(Vec::with_capacity(self.keys.len()), Vec::new(), width);
                let mut histograms = HistogramRow::new();
                for (i, key) in self.keys.into_iter().enumerate() {
                    if i % 256 == 0 {
                        ev.ctx.check()?;
                    }
                    let from = data.len();
                    data.resize(from + width, ABSENT);
                    source.row(i, &mut data[from..], &mut histograms);
                    if !histograms.is_empty() {
                        grid.set_histograms(grid.keys.len(), std::mem::take(&mut histograms));
                        grid.keys.push(key);
                    } else if data[from..].iter().all(|v| is_absent(*v)) {
                        data.truncate(from);
                    } else {
                        grid.keys.push(key);
                    }
                }
                grid.data = data;
                Ok(grid)
            }
        }
    }
}

/// Series with a window of samples a step.
pub(crate) struct Matrix {
    pub(crate) series: Rc<Vec<Series>>,
    pub(crate) names: Option<Vec<Name>>,
    /// Length of the windows, milliseconds.
    pub(crate) range: i64,
    /// End of each step's window, Unix milliseconds.
    pub(crate) ends: Vec<i64>,
    /// What may be taken from outside the windows.
    pub(crate) sampling: super::ast::Sampling,
    /// How far outside that may be, milliseconds.
    pub(crate) lookback: i64,
    /// Whether start timestamps count.
    pub(crate) starts: bool,
}

impl Matrix {
    pub(crate) fn keys(&self) -> Vec<Key> {
        let name = |i: usize| self.names.as_ref().map_or(Name::Kept, |n| n[i]);
        self.series.iter().enumerate().map(|(i, s)| Key { labels: Arc::clone(&s.labels), name: name(i) }).collect()
    }

    /// Whether series `i` still has its name.
    pub(crate) fn is_named(&self, i: usize) -> bool {
        self.names.as_ref().is_none_or(|n| n[i] != Name::Dropped)
    }
}
