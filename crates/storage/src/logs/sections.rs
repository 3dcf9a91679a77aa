//! What stands in a file between its last row group and its footer: filters, and a directory of the rows.
//!
//! Parquet readers do not look there; the footer's key-value metadata says where the directory is.

use std::collections::BTreeMap;

use crate::error::StorageError;

/// Key of the footer's metadata: `offset,length` of the directory.
pub(super) const DIRECTORY_KEY: &str = "skopos.logs.directory";
const VERSION: u64 = 1;
/// Levels counted: unspecified, trace, debug, info, warn, error, fatal.
pub(super) const LEVELS: usize = 7;

/// Rows of one stream, next to each other and by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// Index into [`Directory::services`].
    pub(super) service: usize,
    /// Resource id.
    pub(super) stream: u64,
    /// First row in the file.
    pub(super) start: usize,
    pub(super) rows: usize,
    pub(super) time_min: i64,
    pub(super) time_max: i64,
}

/// Where a filter is: offset in the file and number of 32-byte blocks; none: always look.
pub(super) type FilterAt = Option<(u64, u64)>;

/// Filters of one kind of token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FilterSet {
    pub(super) file: FilterAt,
    /// One for each block of rows.
    pub(super) pages: Vec<FilterAt>,
}

/// Counts of one service: minute (Unix time / 60 s) → rows by level.
pub(super) type MinuteCounts = BTreeMap<i64, [u32; LEVELS]>;

/// What is known about a file's rows without reading them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) services: Vec<String>,
    pub(super) runs: Vec<Run>,
    /// Rows of each row group.
    pub(super) groups: Vec<usize>,
    /// Earliest and latest time of each block; blocks begin anew with each row group.
    pub(super) blocks: Vec<(i64, i64)>,
    /// Trace ids.
    pub(super) trace: FilterSet,
    /// Tokens of messages.
    pub(super) text: FilterSet,
    /// By index of service.
    pub(super) counts: Vec<MinuteCounts>,
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, (value << 1 ^ value >> 63) as u64);
}

fn put_filter(out: &mut Vec<u8>, filter: &FilterAt) {
    let (offset, blocks) = filter.unwrap_or((0, 0));
    put(out, blocks);
    if blocks > 0 {
        put(out, offset);
    }
}

impl Directory {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, VERSION);
        put(&mut out, self.services.len() as u64);
        for service in &self.services {
            put(&mut out, service.len() as u64);
            out.extend_from_slice(service.as_bytes());
        }
        put(&mut out, self.runs.len() as u64);
        for run in &self.runs {
            put(&mut out, run.service as u64);
            out.extend_from_slice(&run.stream.to_le_bytes());
            put(&mut out, run.rows as u64);
            put_signed(&mut out, run.time_min);
            put_signed(&mut out, run.time_max);
        }
        put(&mut out, self.groups.len() as u64);
        for rows in &self.groups {
            put(&mut out, *rows as u64);
        }
        put(&mut out, self.blocks.len() as u64);
        for (min, max) in &self.blocks {
            put_signed(&mut out, *min);
            put_signed(&mut out, *max);
        }
        for set in [&self.trace, &self.text] {
            put_filter(&mut out, &set.file);
            set.pages.iter().for_each(|page| put_filter(&mut out, page));
        }
        for counts in &self.counts {
            put(&mut out, counts.len() as u64);
            let mut last = 0;
            for (minute, levels) in counts {
                put_signed(&mut out, minute - last);
                last = *minute;
                levels.iter().for_each(|n| put(&mut out, u64::from(*n)));
            }
        }
        out
    }

    pub(super) fn from_bytes(bytes: &[u8], path: &str) -> Result<Self, StorageError> {
        let damaged = || StorageError::Damaged { path: path.to_owned(), reason: "the directory of its rows is cut or garbled".to_owned() };
        let mut reader = Reader(bytes);
        read(&mut reader).ok_or_else(damaged)
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn get(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A number of entries that each take at least one byte.
    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.get()?).ok().filter(|n| *n <= self.0.len())
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.get()?).ok()
    }

    fn signed(&mut self) -> Option<i64> {
        let value = self.get()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn filter(&mut self) -> Option<FilterAt> {
        let blocks = self.get()?;
        Some(if blocks == 0 { None } else { Some((self.get()?, blocks)) })
    }

    fn filters(&mut self, pages: usize) -> Option<FilterSet> {
        let file = self.filter()?;
        let pages = (0..pages).map(|_| self.filter()).collect::<Option<Vec<_>>>()?;
        Some(FilterSet { file, pages })
    }
}

fn read(r: &mut Reader<'_>) -> Option<Directory> {
    if r.get()? != VERSION {
        return None;
    }
    let mut directory = Directory::default();
    for _ in 0..r.count()? {
        let length = r.count()?;
        directory.services.push(std::str::from_utf8(r.take(length)?).ok()?.to_owned());
    }
    let mut start = 0;
    for _ in 0..r.count()? {
        let service = r.size()?;
        let stream = u64::from_le_bytes(r.take(8)?.try_into().ok()?);
        let rows = r.size()?;
        let (time_min, time_max) = (r.signed()?, r.signed()?);
        if service >= directory.services.len() {
            return None;
        }
        directory.runs.push(Run { service, stream, start, rows, time_min, time_max });
        start += rows;
    }
    for _ in 0..r.count()? {
        directory.groups.push(r.size()?);
    }
    for _ in 0..r.count()? {
        directory.blocks.push((r.signed()?, r.signed()?));
    }
    directory.trace = r.filters(directory.blocks.len())?;
    directory.text = r.filters(directory.blocks.len())?;
    for _ in 0..directory.services.len() {
        let mut counts = MinuteCounts::new();
        let mut minute = 0i64;
        for _ in 0..r.count()? {
            minute = minute.checked_add(r.signed()?)?;
            let mut levels = [0u32; LEVELS];
            for n in &mut levels {
                *n = u32::try_from(r.get()?).ok()?;
            }
            counts.insert(minute, levels);
        }
        directory.counts.push(counts);
    }
    Some(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_back() {
        let directory = Directory {
            services: vec!["a".to_owned(), "b".to_owned()],
            runs: vec![
                Run { service: 0, stream: u64::MAX, start: 0, rows: 3, time_min: -5, time_max: i64::MAX },
                Run { service: 1, stream: 0, start: 3, rows: 9000, time_min: 7, time_max: 8 },
            ],
            groups: vec![9003],
            blocks: vec![(i64::MIN, 3), (7, 8)],
            trace: FilterSet { file: Some((4, 2)), pages: vec![None, Some((100, 7))] },
            text: FilterSet { file: None, pages: vec![None, None] },
            counts: vec![BTreeMap::from([(-1, [1; LEVELS]), (30_000_000, [0, 0, 0, 7, 0, u32::MAX, 0])]), BTreeMap::new()],
        };
        let bytes = directory.to_bytes();
        assert_eq!(Directory::from_bytes(&bytes, "x").expect("reads back"), directory);
        for cut in 0..bytes.len() {
            assert!(Directory::from_bytes(&bytes[..cut], "x").is_err(), "cut at {cut}");
        }
    }
}
