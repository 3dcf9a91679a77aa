//! What is noted about rows while their columns are written: runs, blocks, counts, tokens.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, TimestampNanosecondArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType, UInt8Type, UInt64Type};
use skopos_model::Severity;
use skopos_model::ids::write_hex;

use super::bloom::{self, FILE_BITS, PAGE_BITS, PAGE_TOKENS_MAX};
use super::schema::{BLOCK_ROWS, Kind};
use super::sections::{Directory, FilterSet, LEVELS, Run};
use super::template::{HEX, LONG_RUN};

/// Nanoseconds of a minute.
pub(super) const MINUTE: i64 = 60_000_000_000;

/// Tokens of one kind: of each page as they are cut, and of the file.
#[derive(Debug, Default)]
struct Tokens {
    /// Of the pages of the current row group; `None`: too many, or some are missing.
    pages: Vec<Option<Vec<u64>>>,
    /// Finished filters; `None`: always look.
    filters: Vec<Option<Vec<u8>>>,
    file: Vec<u64>,
    incomplete: bool,
}

impl Tokens {
    fn begin(&mut self, rows: usize) {
        self.pages.clear();
        self.pages.resize_with(rows.div_ceil(BLOCK_ROWS), || Some(Vec::new()));
    }

    fn of_row(&mut self, row: usize) -> &mut Option<Vec<u64>> {
        &mut self.pages[row / BLOCK_ROWS]
    }

    fn end(&mut self) {
        for page in self.pages.drain(..) {
            let filter = page.and_then(|mut tokens| {
                tokens.sort_unstable();
                tokens.dedup();
                (tokens.len() <= PAGE_TOKENS_MAX).then(|| {
                    self.file.extend_from_slice(&tokens);
                    bloom::build(&tokens, PAGE_BITS)
                })
            });
            self.incomplete |= filter.is_none();
            self.filters.push(filter);
        }
    }

    fn write(
        mut self,
        put: &mut impl FnMut(&[u8]) -> Result<u64, parquet::errors::ParquetError>,
    ) -> Result<FilterSet, parquet::errors::ParquetError> {
        let blocks = |bytes: &[u8]| (bytes.len() / bloom::BLOCK_BYTES) as u64;
        let mut set = FilterSet::default();
        // A file of one page needs no filter in front of it.
        if !self.incomplete && self.filters.len() > 1 {
            self.file.sort_unstable();
            self.file.dedup();
            let filter = bloom::build(&self.file, FILE_BITS);
            set.file = Some((put(&filter)?, blocks(&filter)));
        }
        for page in self.filters {
            set.pages.push(match page {
                Some(filter) => Some((put(&filter)?, blocks(&filter))),
                None => None,
            });
        }
        Ok(set)
    }
}

/// Notes on the rows of a file.
#[derive(Debug, Default)]
pub(super) struct IndexBuilder {
    directory: Directory,
    service_ids: HashMap<String, usize>,
    rows: usize,
    trace: Tokens,
    text: Tokens,
    /// The later of event and observed time over all rows.
    latest: Option<i64>,
    group: HashMap<Kind, ArrayRef>,
}

impl IndexBuilder {
    /// To be called before the columns of a row group.
    pub(super) fn begin_group(&mut self, rows: usize) {
        self.trace.begin(rows);
        self.text.begin(rows);
    }

    /// Notes one column of the row group.
    pub(super) fn column(&mut self, kind: Kind, array: &ArrayRef) {
        match kind {
            Kind::Time | Kind::Service | Kind::Stream | Kind::SeverityNumber | Kind::SeverityText | Kind::Template => {
                self.group.insert(kind, ArrayRef::clone(array));
            }
            Kind::ObservedDelta => {
                if let Some(times) = self.group.get(&Kind::Time) {
                    let times = times.as_primitive::<TimestampNanosecondType>().values();
                    let later =
                        array.as_primitive::<Int64Type>().values().iter().zip(times).map(|(delta, time)| time.saturating_add((*delta).max(0))).max();
                    self.latest = self.latest.max(later);
                }
            }
            Kind::TraceId => self.trace_ids(array),
            Kind::Vars => self.texts(array, false),
            Kind::Tail => self.texts(array, true),
            Kind::Hex => self.hex(array),
            Kind::Uuid => self.uuids(array),
            _ => {}
        }
    }

    fn trace_ids(&mut self, array: &ArrayRef) {
        let ids = array.as_fixed_size_binary();
        let mut last = [0u8; 16];
        for row in 0..ids.len() {
            // A null slot may hold anything: validity first.
            if ids.is_valid(row)
                && let Ok(id) = <[u8; 16]>::try_from(ids.value(row))
                && (id != last || row % BLOCK_ROWS == 0)
            {
                last = id;
                if let Some(page) = self.trace.of_row(row) {
                    page.push(bloom::id_token(&id));
                }
            }
        }
    }

    fn texts(&mut self, array: &ArrayRef, words: bool) {
        let texts = array.as_string::<i32>();
        for row in 0..texts.len() {
            let text = if texts.is_valid(row) { texts.value(row).as_bytes() } else { continue };
            if !words && text.len() < LONG_RUN {
                continue;
            }
            let page = self.text.of_row(row);
            if let Some(tokens) = page {
                // Far beyond the limit after removing doubles is not worth keeping.
                if !bloom::text_tokens(text, words, |token| tokens.push(token)) || tokens.len() > PAGE_TOKENS_MAX * 16 {
                    *page = None;
                }
            }
        }
    }

    fn hex(&mut self, array: &ArrayRef) {
        let ids = array.as_binary::<i32>();
        let Some(templates) = self.group.remove(&Kind::Template) else { return };
        let templates: &DictionaryArray<Int32Type> = templates.as_dictionary();
        let texts = templates.values().as_string::<i32>();
        // Lengths, in placeholders, of the runs of each template.
        let runs: Vec<Vec<usize>> =
            (0..texts.len()).map(|at| texts.value(at).as_bytes().split(|c| *c != HEX).map(<[u8]>::len).filter(|n| *n > 0).collect()).collect();
        let mut digits = String::new();
        for row in 0..ids.len() {
            if !ids.is_valid(row) || !templates.is_valid(row) {
                continue;
            }
            let mut rest = ids.value(row);
            for run in &runs[templates.keys().value(row) as usize] {
                let (bytes, after) = rest.split_at((run * 8).min(rest.len()));
                rest = after;
                digits.clear();
                write_hex(bytes, &mut digits);
                if let Some(page) = self.text.of_row(row) {
                    page.extend(digits.as_bytes().windows(LONG_RUN).map(bloom::window_token));
                }
            }
        }
    }

    fn uuids(&mut self, array: &ArrayRef) {
        let ids = array.as_binary::<i32>();
        for row in 0..ids.len() {
            if !ids.is_valid(row) {
                continue;
            }
            if let Some(page) = self.text.of_row(row) {
                page.extend(ids.value(row).chunks_exact(16).filter_map(|id| Some(bloom::id_token(id.try_into().ok()?))));
            }
        }
    }

    /// To be called after the columns of a row group.
    pub(super) fn end_group(&mut self) {
        self.trace.end();
        self.text.end();
        let group = std::mem::take(&mut self.group);
        let (Some(times), Some(services), Some(streams), Some(numbers), Some(texts)) = (
            group.get(&Kind::Time),
            group.get(&Kind::Service),
            group.get(&Kind::Stream),
            group.get(&Kind::SeverityNumber),
            group.get(&Kind::SeverityText),
        ) else {
            return;
        };
        let times: &TimestampNanosecondArray = times.as_primitive();
        let rows = times.len();
        self.directory.groups.push(rows);
        for block in times.values().chunks(BLOCK_ROWS) {
            let (min, max) = block.iter().fold((i64::MAX, i64::MIN), |(min, max), t| (min.min(*t), max.max(*t)));
            self.directory.blocks.push((min, max));
        }
        let services = services.as_dictionary::<Int32Type>();
        let names = services.values().as_string::<i32>();
        let ids: Vec<usize> = (0..names.len()).map(|at| self.service_id(names.value(at))).collect();
        let service_of = |row: usize| ids[services.keys().value(row) as usize];
        let streams = streams.as_primitive::<UInt64Type>().values();
        let levels = levels_of(numbers, texts);
        let mut start = 0;
        while start < rows {
            let (service, stream) = (service_of(start), streams[start]);
            let mut end = start;
            while end < rows && streams[end] == stream && service_of(end) == service {
                end += 1;
            }
            self.count(service, &times.values()[start..end], &levels[start..end]);
            let (time_min, time_max) = (times.value(start), times.value(end - 1));
            match self.directory.runs.last_mut() {
                // A run that goes on from the row group before.
                Some(last) if last.stream == stream && last.service == service => {
                    last.rows += end - start;
                    last.time_min = last.time_min.min(time_min);
                    last.time_max = last.time_max.max(time_max);
                }
                _ => self.directory.runs.push(Run { service, stream, start: self.rows + start, rows: end - start, time_min, time_max }),
            }
            start = end;
        }
        self.rows += rows;
    }

    fn service_id(&mut self, name: &str) -> usize {
        if let Some(&id) = self.service_ids.get(name) {
            return id;
        }
        let id = self.directory.services.len();
        self.directory.services.push(name.to_owned());
        self.directory.counts.push(Default::default());
        self.service_ids.insert(name.to_owned(), id);
        id
    }

    /// Rows of a run come by time: one look into the map a minute.
    fn count(&mut self, service: usize, times: &[i64], levels: &[u8]) {
        let counts = &mut self.directory.counts[service];
        let mut at = 0;
        while at < times.len() {
            let minute = times[at].div_euclid(MINUTE);
            let entry = counts.entry(minute).or_insert([0; LEVELS]);
            while at < times.len() && times[at].div_euclid(MINUTE) == minute {
                entry[usize::from(levels[at])] += 1;
                at += 1;
            }
        }
    }

    /// Filters and directory as they are stored; `put` writes bytes and returns where they begin.
    pub(super) fn finish(
        mut self,
        mut put: impl FnMut(&[u8]) -> Result<u64, parquet::errors::ParquetError>,
    ) -> Result<(Directory, u64, usize, i64), parquet::errors::ParquetError> {
        self.directory.trace = self.trace.write(&mut put)?;
        self.directory.text = self.text.write(&mut put)?;
        let bytes = self.directory.to_bytes();
        let offset = put(&bytes)?;
        Ok((self.directory, offset, bytes.len(), self.latest.unwrap_or(i64::MIN)))
    }
}

/// The level of each row as an index below [`LEVELS`].
fn levels_of(numbers: &ArrayRef, texts: &ArrayRef) -> Vec<u8> {
    let texts = texts.as_dictionary::<Int32Type>();
    let words: Vec<u8> = texts
        .values()
        .as_string::<i32>()
        .iter()
        .map(|text| level_index(text.and_then(Severity::from_text).unwrap_or(Severity::Unspecified)))
        .collect();
    let numbers = numbers.as_primitive::<UInt8Type>().values();
    let of_row = |(row, number): (usize, &u8)| match number {
        0 if texts.is_valid(row) => words[texts.keys().value(row) as usize],
        number => level_index(Severity::from_number(*number)),
    };
    numbers.iter().enumerate().map(of_row).collect()
}

/// Place of a level in counts.
pub(super) fn level_index(level: Severity) -> u8 {
    match level {
        Severity::Unspecified => 0,
        Severity::Trace => 1,
        Severity::Debug => 2,
        Severity::Info => 3,
        Severity::Warn => 4,
        Severity::Error => 5,
        Severity::Fatal => 6,
    }
}

/// The level at a place in counts.
pub(super) const LEVEL_AT: [Severity; LEVELS] =
    [Severity::Unspecified, Severity::Trace, Severity::Debug, Severity::Info, Severity::Warn, Severity::Error, Severity::Fatal];
