//! What nodes evaluate to: series × steps.
//!
//! A cell without a value holds the staleness marker's bits. No computed value can have them (arithmetic turns a
//! signalling NaN into a quiet one), and a stored marker means "no value" anyway.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use skopos_model::Labels;

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

    fn same(&self, other: &Self) -> bool {
        if (self.name == Name::Dropped) == (other.name == Name::Dropped) && Arc::ptr_eq(&self.labels, &other.labels) {
            return true;
        }
        self.pairs().eq(other.pairs())
    }

    fn hash(&self) -> u64 {
        self.pairs().fold(0, |h, (n, v)| mix(mix(h, n), v))
    }
}

/// Adds a text to a hash; order counts.
#[inline]
pub(crate) fn mix(hash: u64, text: &str) -> u64 {
    (hash.rotate_left(23) ^ xxh3_64(text.as_bytes())).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Computes rows when asked.
pub(crate) trait RowSource {
    /// Writes row `index` into `out`, one cell a step.
    fn row(&mut self, index: usize, out: &mut [f64]);
}

/// Cells, there or to be computed.
pub(crate) enum Rows {
    /// Row after row.
    Dense(Vec<f64>),
    /// Row by row on demand: aggregations then never hold them all.
    Lazy(Box<dyn RowSource>),
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
}

impl Grid {
    pub(crate) fn empty(width: usize) -> Self {
        Self { keys: Vec::new(), data: Vec::new(), width }
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
            if !self.row(i).iter().all(|v| is_absent(*v)) {
                if kept != i {
                    self.keys.swap(kept, i);
                    self.data.copy_within(i * width..(i + 1) * width, kept * width);
                }
                kept += 1;
            }
        }
        self.keys.truncate(kept);
        self.data.truncate(kept * width);
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
                let value = self.data[i * width + k];
                if is_absent(value) {
                    continue;
                }
                let cell = &mut self.data[target * width + k];
                if !is_absent(*cell) {
                    return Err(same_labelset());
                }
                *cell = value;
            }
        }
        let mut out = Self::empty(width);
        for (i, key) in self.keys.iter().enumerate() {
            if !drop_row[i] {
                out.push(key.clone(), self.row(i));
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
    let (codes, first) = group(keys, &Pick::All);
    if first.len() == keys.len() {
        return None;
    }
    Some(codes.iter().map(|c| first[*c as usize]).collect())
}

impl Vector {
    pub(crate) fn dense(grid: Grid) -> Self {
        Self { keys: grid.keys, rows: Rows::Dense(grid.data), width: grid.width, unique: true }
    }

    /// Row `i`, computed into `scratch` when it is not there yet.
    pub(crate) fn row<'a>(&'a mut self, i: usize, scratch: &'a mut [f64]) -> &'a [f64] {
        match &mut self.rows {
            Rows::Dense(data) => &data[i * self.width..(i + 1) * self.width],
            Rows::Lazy(source) => {
                source.row(i, scratch);
                scratch
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

    fn cells(self, ev: &Evaluator<'_>, width: usize) -> Result<Grid, QueryError> {
        match self.rows {
            Rows::Dense(data) => {
                let mut grid = Grid { keys: self.keys, data, width };
                grid.prune();
                Ok(grid)
            }
            Rows::Lazy(mut source) => {
                ev.check_cells(self.keys.len(), width)?;
                let mut data = Vec::with_capacity(self.keys.len() * width);
                let mut keys = Vec::with_capacity(self.keys.len());
                for (i, key) in self.keys.into_iter().enumerate() {
                    if i % 256 == 0 {
                        ev.ctx.check()?;
                    }
                    let from = data.len();
                    data.resize(from + width, ABSENT);
                    source.row(i, &mut data[from..]);
                    if data[from..].iter().all(|v| is_absent(*v)) {
                        data.truncate(from);
                    } else {
                        keys.push(key);
                    }
                }
                Ok(Grid { keys, data, width })
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
}

impl Matrix {
    pub(crate) fn keys(&self) -> Vec<Key> {
        let name = |i: usize| self.names.as_ref().map_or(Name::Kept, |n| n[i]);
        self.series.iter().enumerate().map(|(i, s)| Key { labels: Arc::clone(&s.labels), name: name(i) }).collect()
    }
}

/// Which labels identify a group.
pub(crate) enum Pick<'a> {
    /// These, in sorted order.
    By(&'a [&'a str]),
    /// All but these (sorted) and the metric's name.
    Without(&'a [&'a str]),
    /// All, the name too unless it was dropped.
    All,
}

impl Pick<'_> {
    fn hash(&self, key: &Key) -> u64 {
        match self {
            Self::By(labels) => labels.iter().fold(0, |h, l| mix(h, key.get(l))),
            Self::Without(labels) => {
                key.pairs().filter(|(n, _)| *n != METRIC_NAME && labels.binary_search(n).is_err()).fold(0, |h, (n, v)| mix(mix(h, n), v))
            }
            Self::All => key.hash(),
        }
    }

    fn same(&self, a: &Key, b: &Key) -> bool {
        match self {
            Self::By(labels) => labels.iter().all(|l| a.get(l) == b.get(l)),
            Self::Without(labels) => {
                let left = a.pairs().filter(|(n, _)| *n != METRIC_NAME && labels.binary_search(n).is_err());
                left.eq(b.pairs().filter(|(n, _)| *n != METRIC_NAME && labels.binary_search(n).is_err()))
            }
            Self::All => a.same(b),
        }
    }

    /// The group's labels.
    pub(crate) fn labels(&self, key: &Key) -> Labels {
        match self {
            Self::By(labels) => Labels::new(labels.iter().map(|l| (*l, key.get(l)))),
            Self::Without(labels) => Labels::new(key.pairs().filter(|(n, _)| *n != METRIC_NAME && labels.binary_search(n).is_err())),
            Self::All => Labels::new(key.pairs()),
        }
    }
}

/// Groups series: the group of each, and the first member of each group, in order of appearance.
pub(crate) fn group(keys: &[Key], pick: &Pick<'_>) -> (Vec<u32>, Vec<u32>) {
    let mut groups = Groups::default();
    let codes = keys.iter().map(|key| groups.code(key, pick)).collect();
    (codes, groups.first_index)
}

/// Numbers groups as they appear.
#[derive(Default)]
pub(crate) struct Groups<'a> {
    by_hash: HashMap<u64, Vec<u32>, PassThrough>,
    first: Vec<&'a Key>,
    first_index: Vec<u32>,
    seen: u32,
    last: Option<u32>,
    /// Values of the last group's labels, for [`Pick::By`].
    last_values: Vec<&'a str>,
}

impl<'a> Groups<'a> {
    /// The group of `key`, a new one when it is the first of its kind.
    pub(crate) fn code(&mut self, key: &'a Key, pick: &Pick<'_>) -> u32 {
        let index = self.seen;
        self.seen += 1;
        // Sorted series tend to stay in the group of the one before.
        if let Pick::By(labels) = pick {
            let same = self.last.is_some() && labels.iter().zip(&self.last_values).all(|(l, v)| key.get(l) == *v);
            if let (true, Some(last)) = (same, self.last) {
                return last;
            }
            self.last_values.clear();
            self.last_values.extend(labels.iter().map(|l| key.get(l)));
        } else if let Some(last) = self.last
            && pick.same(self.first[last as usize], key)
        {
            return last;
        }
        let slot = self.by_hash.entry(pick.hash(key)).or_default();
        let found = slot.iter().copied().find(|c| pick.same(self.first[*c as usize], key));
        let code = found.unwrap_or_else(|| {
            let code = u32::try_from(self.first.len()).unwrap_or(u32::MAX);
            slot.push(code);
            self.first.push(key);
            self.first_index.push(index);
            code
        });
        self.last = Some(code);
        code
    }

    /// The group of `key` when there is one.
    pub(crate) fn find(&self, key: &Key, pick: &Pick<'_>) -> Option<u32> {
        self.by_hash.get(&pick.hash(key))?.iter().copied().find(|c| pick.same(self.first[*c as usize], key))
    }

    pub(crate) fn len(&self) -> usize {
        self.first.len()
    }
}

/// Keys are hashes already.
#[derive(Default, Clone, Copy)]
pub(crate) struct PassThrough;

impl std::hash::BuildHasher for PassThrough {
    type Hasher = Identity;
    fn build_hasher(&self) -> Identity {
        Identity(0)
    }
}

/// See [`PassThrough`].
#[derive(Default)]
pub(crate) struct Identity(u64);

impl std::hash::Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes) ^ self.0.rotate_left(1);
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}
