//! All series: their labels as dictionary codes, and how matchers find them.
//!
//! A label is a column of codes (one a series) with a dictionary of its values: a regular expression is matched
//! once for each distinct value, never once for each series. Columns come in pages, so that a label few series
//! have costs little. Postings answer equality. [`Labels`] are put together when somebody wants to see them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use skopos_model::{Labels, SeriesId};
use skopos_query::QueryContext;
use skopos_query::QueryError;
use skopos_query::metrics::Matcher;

use super::release::Numbers;

/// Series of one page of codes.
const PAGE: usize = 1024;

/// Most series there can be: the table's column is a signed 32-bit integer.
pub(super) const SERIES_MAX: u32 = i32::MAX as u32;

/// Label sets kept after they were shown; then all are let go and built anew.
const LABELS_KEPT_MAX: usize = 200_000;

/// Series looked at between two checks for cancellation.
const CHECK_EVERY: usize = 16_384;

/// A pattern is tried on the values of a label first where they, and the series it takes, are this many times fewer than
/// the series that would have to be looked at.
const VALUES_FACTOR: usize = 4;

/// Keys that are hashes already.
#[derive(Default, Clone, Copy)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        // Only `u64` keys are used with it; anything else still hashes, badly.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// A map whose keys are xxh3 hashes.
pub(super) type HashedMap<V> = HashMap<u64, V, BuildHasherDefault<Hashed>>;

/// One label over all series. Code 0 stands for "the series has no such label".
#[derive(Debug)]
struct Column {
    name: Box<str>,
    pages: Vec<Option<Box<[u32; PAGE]>>>,
    /// Value of code `i + 1`.
    values: Vec<Box<str>>,
    codes: HashMap<Box<str>, u32>,
    /// Series of code `i + 1`, ascending.
    postings: Vec<Vec<u32>>,
}

impl Column {
    fn new(name: &str) -> Self {
        Self { name: name.into(), pages: Vec::new(), values: Vec::new(), codes: HashMap::new(), postings: Vec::new() }
    }

    fn code(&self, series: u32) -> u32 {
        match self.pages.get(series as usize / PAGE) {
            Some(Some(page)) => page[series as usize % PAGE],
            _ => 0,
        }
    }

    fn value(&self, code: u32) -> &str {
        if code == 0 { "" } else { &self.values[code as usize - 1] }
    }

    fn set(&mut self, series: u32, value: &str) {
        let code = match self.codes.get(value) {
            Some(code) => *code,
            None => {
                self.values.push(value.into());
                self.postings.push(Vec::new());
                let code = self.values.len() as u32;
                self.codes.insert(value.into(), code);
                code
            }
        };
        let page = series as usize / PAGE;
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        self.pages[page].get_or_insert_with(|| Box::new([0; PAGE]))[series as usize % PAGE] = code;
        let posting = &mut self.postings[code as usize - 1];
        match posting.last() {
            Some(last) if *last >= series => {
                // Only while series come back from files in another order.
                if let Err(at) = posting.binary_search(&series) {
                    posting.insert(at, series);
                }
            }
            _ => posting.push(series),
        }
    }

    fn unset(&mut self, series: u32) {
        if let Some(Some(page)) = self.pages.get_mut(series as usize / PAGE) {
            page[series as usize % PAGE] = 0;
        }
    }

    /// Lets go of what only these series had: places in postings, values, pages.
    fn release(&mut self, gone: &HashSet<u32>) {
        for (posting, value) in self.postings.iter_mut().zip(&mut self.values) {
            let before = posting.len();
            posting.retain(|id| !gone.contains(id));
            if posting.is_empty() && before > 0 {
                // The code stays taken: it says when the value came.
                *posting = Vec::new();
                self.codes.remove(value);
                *value = Box::default();
            } else if posting.len() < before / 2 {
                posting.shrink_to_fit();
            }
        }
        for page in &mut self.pages {
            if page.as_ref().is_some_and(|page| page.iter().all(|code| *code == 0)) {
                *page = None;
            }
        }
        self.codes.shrink_to_fit();
    }

    fn memory(&self) -> usize {
        self.pages.iter().flatten().count() * PAGE * 4
            + self.values.len() * 40
            + self.codes.keys().map(|v| v.len() * 2 + 56).sum::<usize>()
            + self.postings.iter().map(|p| p.capacity() * 4).sum::<usize>()
    }
}

/// Whether a code's value satisfies a matcher, found out once a value.
struct Test<'a> {
    matcher: &'a Matcher,
    column: Option<&'a Column>,
    /// 0 unknown, 1 no, 2 yes; by code.
    known: Vec<u8>,
}

impl<'a> Test<'a> {
    fn new(matcher: &'a Matcher, column: Option<&'a Column>) -> Self {
        Self { matcher, column, known: vec![0; column.map_or(1, |c| c.values.len() + 1)] }
    }

    fn accepts(&mut self, series: u32) -> bool {
        let code = self.column.map_or(0, |c| c.code(series));
        let known = &mut self.known[code as usize];
        if *known == 0 {
            let value = self.column.map_or("", |c| c.value(code));
            *known = 1 + u8::from(self.matcher.matches(value));
        }
        *known == 2
    }
}

/// Which label names a series has: few combinations, many series.
type Shape = Box<[u32]>;

/// No series has this number.
const ABSENT: u32 = u32::MAX;

/// All series known to this process.
#[derive(Debug, Default)]
pub(super) struct Registry {
    columns: Vec<Column>,
    names: HashMap<Box<str>, u32>,
    shapes: Vec<Shape>,
    shape_numbers: HashMap<Shape, u32>,
    /// Shape of each series, [`ABSENT`] where a number is not in use.
    series: Vec<u32>,
    /// Series in use.
    count: usize,
    by_hash: HashedMap<u32>,
    /// Series whose labels' hash another series has.
    collisions: Vec<u32>,
    /// Series in a committed file of the series table.
    persisted: Vec<bool>,
    labels: Vec<OnceLock<Arc<Labels>>>,
    labels_kept: AtomicUsize,
    /// Series of which nothing was stored at the last look ([`super::release`]), and whether there are any.
    marked: Mutex<HashSet<u32>>,
    has_marks: AtomicBool,
}

impl Registry {
    /// The number the next new series gets.
    pub(super) fn next(&self) -> u32 {
        self.series.len() as u32
    }

    /// Number of series.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Numbers below `next` are not given to new series any more.
    pub(super) fn reserve(&mut self, next: u32) {
        if self.next() < next {
            self.series.resize(next as usize, ABSENT);
            self.persisted.resize(next as usize, false);
            self.labels.resize_with(next as usize, OnceLock::new);
        }
    }

    /// Whether a number stands for a series.
    pub(super) fn contains(&self, series: u32) -> bool {
        self.series.get(series as usize).is_some_and(|shape| *shape != ABSENT)
    }

    /// The series with these labels.
    pub(super) fn find(&self, labels: &Labels) -> Option<SeriesId> {
        let first = *self.by_hash.get(&labels.stable_hash())?;
        let found = if self.has_labels(first, labels) { first } else { *self.collisions.iter().find(|id| self.has_labels(**id, labels))? };
        if self.has_marks.load(Ordering::Relaxed) {
            // Somebody asks for it: it stays.
            self.marked.lock().remove(&found);
        }
        Some(SeriesId(found))
    }

    /// Marks the series that are not in use; how many.
    pub(super) fn mark(&mut self, used: &Numbers) -> usize {
        let unused = (0..self.next()).filter(|id| self.contains(*id) && !used.contains(*id));
        let marked: HashSet<u32> = unused.collect();
        let count = marked.len();
        *self.has_marks.get_mut() = count > 0;
        *self.marked.get_mut() = marked;
        count
    }

    /// Lets go of the series that are still marked and still not in use; how many. Their numbers stay taken.
    pub(super) fn release(&mut self, used: &Numbers) -> usize {
        *self.has_marks.get_mut() = false;
        let mut gone = std::mem::take(self.marked.get_mut());
        gone.retain(|id| !used.contains(*id));
        if gone.is_empty() {
            return 0;
        }
        for id in &gone {
            let shape = std::mem::replace(&mut self.series[*id as usize], ABSENT);
            for number in self.shapes.get(shape as usize).map_or(&[][..], |shape| shape) {
                self.columns[*number as usize].unset(*id);
            }
            if self.labels[*id as usize].take().is_some() {
                let kept = self.labels_kept.get_mut();
                *kept = kept.saturating_sub(1);
            }
            self.persisted[*id as usize] = false;
        }
        self.columns.iter_mut().for_each(|column| column.release(&gone));
        self.count -= gone.len();
        self.by_hash.retain(|_, id| !gone.contains(id));
        // Of two series with one hash, the other takes the place of one that left.
        for id in std::mem::take(&mut self.collisions) {
            if gone.contains(&id) {
                continue;
            }
            let hash = self.labels(id).stable_hash();
            if *self.by_hash.entry(hash).or_insert(id) != id {
                self.collisions.push(id);
            }
        }
        gone.len()
    }

    fn has_labels(&self, series: u32, labels: &Labels) -> bool {
        self.pairs(series).eq(labels.iter())
    }

    /// Adds a series that is not there yet and gives it the next number, `None` when all are in use.
    pub(super) fn add(&mut self, labels: &Labels) -> Option<SeriesId> {
        let series = self.next();
        if series >= SERIES_MAX {
            return None;
        }
        self.insert(series, labels);
        Some(SeriesId(series))
    }

    /// Sets the labels of a number that is not in use: a series as it came from a file.
    pub(super) fn insert(&mut self, series: u32, labels: &Labels) {
        self.reserve(series.saturating_add(1));
        let mut shape = Vec::with_capacity(labels.len());
        for (name, value) in labels.iter() {
            let number = match self.names.get(name) {
                Some(number) => *number,
                None => {
                    self.columns.push(Column::new(name));
                    let number = self.columns.len() as u32 - 1;
                    self.names.insert(name.into(), number);
                    number
                }
            };
            self.columns[number as usize].set(series, value);
            shape.push(number);
        }
        let shape: Shape = shape.into();
        let number = match self.shape_numbers.get(&shape) {
            Some(number) => *number,
            None => {
                let number = self.shapes.len() as u32;
                self.shapes.push(shape.clone());
                self.shape_numbers.insert(shape, number);
                number
            }
        };
        self.series[series as usize] = number;
        self.count += 1;
        if *self.by_hash.entry(labels.stable_hash()).or_insert(series) != series {
            self.collisions.push(series);
        }
        if self.labels_kept.load(Ordering::Relaxed) > LABELS_KEPT_MAX {
            self.labels.iter_mut().for_each(|l| drop(l.take()));
            self.labels_kept.store(0, Ordering::Relaxed);
        }
    }

    /// Whether the series is in a committed file of the series table.
    pub(super) fn is_persisted(&self, series: u32) -> bool {
        self.persisted.get(series as usize).copied().unwrap_or(false)
    }

    /// States whether the series is in a committed file of the series table.
    pub(super) fn set_persisted(&mut self, series: u32, persisted: bool) {
        if let Some(slot) = self.persisted.get_mut(series as usize) {
            *slot = persisted;
        }
    }

    /// Label pairs of a series in order of their names; none for a number not in use.
    pub(super) fn pairs(&self, series: u32) -> impl ExactSizeIterator<Item = (&str, &str)> + '_ {
        let shape = self.series.get(series as usize).and_then(|shape| self.shapes.get(*shape as usize));
        let columns = shape.map_or(&[][..], |s| s);
        columns.iter().map(move |number| {
            let column = &self.columns[*number as usize];
            (&*column.name, column.value(column.code(series)))
        })
    }

    /// The labels of a series.
    pub(super) fn labels(&self, series: u32) -> Arc<Labels> {
        let build = || Arc::new(self.pairs(series).collect::<Labels>());
        match self.labels.get(series as usize) {
            // Over the limit nothing more is kept; the next new series lets all go.
            Some(slot) if slot.get().is_some() || self.labels_kept.load(Ordering::Relaxed) <= LABELS_KEPT_MAX => Arc::clone(slot.get_or_init(|| {
                self.labels_kept.fetch_add(1, Ordering::Relaxed);
                build()
            })),
            _ => build(),
        }
    }

    fn column(&self, name: &str) -> Option<&Column> {
        self.names.get(name).map(|number| &self.columns[*number as usize])
    }

    /// The code of a label's value and the value itself, (0, "") when it is absent: equal codes, equal values.
    pub(super) fn code_of(&self, name: &str, series: u32) -> (u32, &str) {
        self.column(name).map_or((0, ""), |c| {
            let code = c.code(series);
            (code, c.value(code))
        })
    }

    /// The code of a value of a label, 0 when no series has it.
    pub(super) fn value_code(&self, name: &str, value: &str) -> u32 {
        self.column(name).and_then(|c| c.codes.get(value)).copied().unwrap_or(0)
    }

    /// Series with a value of a label, ascending.
    pub(super) fn series_of(&self, name: &str, value: &str) -> &[u32] {
        let posting = self.column(name).and_then(|c| c.postings.get(*c.codes.get(value)? as usize - 1));
        posting.map_or(&[], Vec::as_slice)
    }

    /// Labels with their values and the series of each value; the values' order is that of their codes, from 1.
    pub(super) fn label_postings(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = (&str, &[u32])>)> {
        self.columns.iter().map(|c| (&*c.name, c.values.iter().map(|v| &**v).zip(c.postings.iter().map(Vec::as_slice))))
    }

    /// Bytes of memory of each label.
    pub(super) fn label_memory(&self) -> impl Iterator<Item = (&str, usize)> {
        self.columns.iter().map(|c| (&*c.name, c.memory()))
    }

    /// Series of the values of a label that a pattern takes, in order of their numbers; `None` where looking at values
    /// is no shorter way than looking at `among` series.
    fn series_matching(&self, matcher: &Matcher, among: usize) -> Option<Vec<u32>> {
        let Some(column) = self.column(&matcher.name) else { return Some(Vec::new()) };
        if column.values.len().saturating_mul(VALUES_FACTOR) > among {
            return None;
        }
        let taken = column.values.iter().zip(&column.postings).filter(|(value, _)| matcher.matches(value));
        let (mut found, mut values) = (Vec::new(), 0);
        for (_, posting) in taken {
            found.extend_from_slice(posting);
            values += 1;
            if found.len().saturating_mul(VALUES_FACTOR) > among {
                return None;
            }
        }
        if values > 1 {
            found.sort_unstable();
        }
        Some(found)
    }

    /// Series that satisfy all matchers, in order of their numbers.
    pub(super) fn matching(&self, matchers: &[Matcher], ctx: &QueryContext) -> Result<Vec<u32>, QueryError> {
        use skopos_query::metrics::MatchOp;
        let mut smallest: Option<(usize, Cow<'_, [u32]>)> = None;
        for (i, matcher) in matchers.iter().enumerate() {
            if matcher.op != MatchOp::Equal || matcher.value.is_empty() {
                continue;
            }
            let posting = self.column(&matcher.name).and_then(|column| {
                let code = *column.codes.get(matcher.value.as_str())?;
                Some(column.postings[code as usize - 1].as_slice())
            });
            let Some(posting) = posting else { return Ok(Vec::new()) };
            if smallest.as_ref().is_none_or(|(_, known)| posting.len() < known.len()) {
                smallest = Some((i, Cow::Borrowed(posting)));
            }
        }
        for (i, matcher) in matchers.iter().enumerate().filter(|(_, m)| m.op == MatchOp::Regex && !m.matches("")) {
            ctx.check()?;
            let among = smallest.as_ref().map_or(self.count, |(_, known)| known.len());
            if let Some(found) = self.series_matching(matcher, among) {
                smallest = Some((i, Cow::Owned(found)));
            }
        }
        let answered = smallest.as_ref().map(|(i, _)| *i);
        let mut tests: Vec<Test<'_>> = matchers
            .iter()
            .enumerate()
            .filter(|(i, _)| Some(*i) != answered)
            .map(|(_, matcher)| Test::new(matcher, self.column(&matcher.name)))
            .collect();
        let mut found = Vec::new();
        let mut take = |i: usize, series: u32| -> Result<(), QueryError> {
            if i.is_multiple_of(CHECK_EVERY) {
                ctx.check()?;
            }
            if tests.iter_mut().all(|test| test.accepts(series)) {
                found.push(series);
            }
            Ok(())
        };
        match smallest {
            Some((_, posting)) => posting.iter().enumerate().try_for_each(|(i, series)| take(i, *series))?,
            None => {
                for series in 0..self.next() {
                    if self.series[series as usize] != ABSENT {
                        take(series as usize, series)?;
                    }
                }
            }
        }
        Ok(found)
    }

    /// Names of the labels the given series have, sorted.
    pub(super) fn names_of(&self, series: &[u32]) -> Vec<String> {
        let mut shapes = vec![false; self.shapes.len()];
        for id in series {
            if let Some(seen) = self.series.get(*id as usize).and_then(|shape| shapes.get_mut(*shape as usize)) {
                *seen = true;
            }
        }
        let mut columns = vec![false; self.columns.len()];
        for (shape, _) in self.shapes.iter().zip(&shapes).filter(|(_, seen)| **seen) {
            shape.iter().for_each(|number| columns[*number as usize] = true);
        }
        let seen = self.columns.iter().zip(&columns).filter(|(_, seen)| **seen);
        let mut names: Vec<String> = seen.map(|(column, _)| column.name.to_string()).collect();
        names.sort_unstable();
        names
    }

    /// Values of a label over the given series, sorted.
    pub(super) fn values_of(&self, name: &str, series: &[u32]) -> Vec<String> {
        let Some(column) = self.column(name) else { return Vec::new() };
        let mut seen = vec![false; column.values.len() + 1];
        series.iter().for_each(|id| seen[column.code(*id) as usize] = true);
        let found = column.values.iter().zip(&seen[1..]).filter(|(_, seen)| **seen);
        let mut values: Vec<String> = found.map(|(value, _)| value.to_string()).collect();
        values.sort_unstable();
        values
    }

    /// Estimate of the memory held, bytes.
    pub(super) fn memory(&self) -> usize {
        self.columns.iter().map(Column::memory).sum::<usize>()
            + self.series.len() * (4 + 1 + size_of::<OnceLock<Arc<Labels>>>())
            + self.count * 24
            + self.labels_kept.load(Ordering::Relaxed) * 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skopos_query::QueryLimits;
    use skopos_query::metrics::MatchOp;
    use std::time::Instant;

    fn registry() -> Registry {
        let mut r = Registry::default();
        for job in ["api", "web"] {
            for pod in ["a", "b", "c"] {
                let labels = Labels::new([("__name__", "up"), ("job", job), ("pod", pod)]);
                r.add(&labels).expect("room");
            }
        }
        r.reserve(10);
        r.add(&Labels::new([("__name__", "down"), ("job", "api")])).expect("room");
        r
    }

    fn check(matchers: &[(&str, MatchOp, &str)], expected: &[u32]) {
        let r = registry();
        let ctx = QueryContext::new(QueryLimits::default(), Instant::now());
        let matchers: Vec<Matcher> = matchers.iter().map(|(n, op, v)| Matcher::new(*n, *op, *v).expect("a matcher")).collect();
        assert_eq!(r.matching(&matchers, &ctx).expect("in time"), expected, "{matchers:?}");
    }

    #[test]
    fn patterns_find_the_same_by_values_and_by_series() {
        let mut r = Registry::default();
        let sets: Vec<Labels> = (0..2000u32)
            .map(|i| [("__name__", format!("m{}", i % 7)), ("pod", format!("pod-{}", i / 40)), ("id", i.to_string())].into_iter().collect())
            .collect();
        for labels in &sets {
            r.add(labels).expect("room");
        }
        let ctx = QueryContext::new(QueryLimits::default(), Instant::now());
        // A few values, none, all of them, a label with as many values as series, one that does not exist.
        for (name, pattern) in
            [("pod", "pod-1[0-3]"), ("pod", "zzz.*"), ("pod", ".+"), ("pod", ".*"), ("id", "1.*7"), ("zone", "a.*"), ("zone", ".*")]
        {
            for also in [None, Some(Matcher::equal("__name__", "m3")), Some(Matcher::new("id", MatchOp::NotRegex, "1.*").expect("a pattern"))] {
                let matchers: Vec<Matcher> = [Matcher::new(name, MatchOp::Regex, pattern).expect("a pattern")].into_iter().chain(also).collect();
                let takes = |labels: &Labels| matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")));
                let expected: Vec<u32> = (0..2000).filter(|i| takes(&sets[*i as usize])).collect();
                assert_eq!(r.matching(&matchers, &ctx).expect("in time"), expected, "{matchers:?}");
            }
        }
    }

    #[test]
    fn matchers_find_series() {
        use MatchOp::{Equal, NotEqual, NotRegex, Regex};
        check(&[], &[0, 1, 2, 3, 4, 5, 10]);
        check(&[("job", Equal, "api")], &[0, 1, 2, 10]);
        check(&[("job", Equal, "api"), ("pod", Equal, "b")], &[1]);
        check(&[("job", Equal, "nobody")], &[]);
        check(&[("pod", Equal, "")], &[10]);
        check(&[("pod", NotEqual, "")], &[0, 1, 2, 3, 4, 5]);
        check(&[("pod", Regex, "a|b"), ("job", NotEqual, "api")], &[3, 4]);
        check(&[("pod", NotRegex, "a|b"), ("job", Equal, "api")], &[2, 10]);
        check(&[("nothing", Regex, ".*"), ("__name__", Equal, "down")], &[10]);
        check(&[("nothing", Regex, ".+")], &[]);
    }

    #[test]
    fn ended_series_leave() {
        let mut r = registry();
        let mut used = Numbers::default();
        for id in [0, 4] {
            used.insert(id);
        }
        assert_eq!(r.mark(&used), 5);
        // Asked for in between: it stays.
        let asked = r.labels(10);
        assert_eq!(r.find(&asked), Some(SeriesId(10)));
        used.insert(1);
        let before = r.memory();
        assert_eq!(r.release(&used), 3);
        assert_eq!((r.len(), r.next(), [2, 3, 5].map(|id| r.contains(id)), [0, 1, 4, 10].map(|id| r.contains(id))), (4, 11, [false; 3], [true; 4]));
        let ctx = QueryContext::new(QueryLimits::default(), Instant::now());
        let found = |name: &str, op, value: &str| r.matching(&[Matcher::new(name, op, value).expect("a matcher")], &ctx).expect("in time");
        assert_eq!(
            (found("pod", MatchOp::Regex, ".*"), found("pod", MatchOp::Equal, "c"), found("pod", MatchOp::Regex, "b|c")),
            (vec![0, 1, 4, 10], vec![], vec![1, 4])
        );
        assert_eq!((r.values_of("pod", &[0, 1, 4]), r.pairs(2).len()), (vec!["a".to_owned(), "b".to_owned()], 0));
        assert!(r.memory() < before);
        // What comes back is a new series; a value that comes back has a new code.
        let again = Labels::new([("__name__", "up"), ("job", "api"), ("pod", "c")]);
        assert_eq!(r.find(&again), None);
        assert_eq!(r.add(&again), Some(SeriesId(11)));
        assert_eq!((r.labels(11).to_string(), r.find(&again)), (again.to_string(), Some(SeriesId(11))));
        assert_eq!(r.release(&Numbers::default()), 0, "without a mark nothing leaves");
    }

    #[test]
    fn labels_and_back() {
        let r = registry();
        for id in [0, 5, 10] {
            assert_eq!(r.find(&r.labels(id)), Some(SeriesId(id)));
        }
        assert_eq!(r.find(&Labels::new([("__name__", "up")])), None);
        assert_eq!((r.next(), r.len()), (11, 7));
        assert!(!r.contains(7));
        assert_eq!(r.names_of(&[10]), ["__name__", "job"]);
        assert_eq!(r.values_of("pod", &[0, 4, 10]), ["a", "b"]);
    }
}
