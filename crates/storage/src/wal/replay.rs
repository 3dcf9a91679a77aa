//! Reading the log at start: which segments, how far each can be trusted, and their records.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::Disk;
use crate::error::StorageError;
use crate::record::WalPayload;
use crate::stats::RecoveryStats;
use crate::wal::log::{self, FOLDER, SEGMENT_HEADER_BYTES, Segment, SegmentHeader, WalLog};
use crate::wal::record::{Parsed, parse};

/// The log as it was found. Read all segments with [`Replay::next_segment`], then [`Replay::finish`].
#[derive(Debug)]
pub(crate) struct Replay {
    disk: Arc<dyn Disk>,
    /// Segments to read, with the trusted length where a later segment states one.
    ahead: VecDeque<(SegmentHeader, Option<u64>)>,
    read: VecDeque<Segment>,
    next_number: u64,
    last_sequence: u64,
}

fn io(what: &'static str, path: &str) -> impl FnOnce(std::io::Error) -> StorageError {
    move |source| StorageError::Io { what, path: path.to_owned(), source }
}

fn read_prefix(disk: &dyn Disk, path: &str, length: Option<usize>) -> Result<Bytes, StorageError> {
    let file = disk.open(path).map_err(io("cannot open segment", path))?;
    let there = usize::try_from(file.len()).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length.map_or(there, |l| l.min(there))];
    file.read_at(0, &mut bytes).map_err(io("cannot read segment", path))?;
    Ok(bytes.into())
}

impl Replay {
    /// Lists the segments and reads their headers. `sequence_min`: numbers up to it were used in an earlier life.
    pub(crate) fn start(disk: Arc<dyn Disk>, sequence_min: u64, stats: &mut RecoveryStats) -> Result<Self, StorageError> {
        let mut headers = BTreeMap::new();
        let mut next_number = 1;
        for (path, bytes) in disk.list(FOLDER).map_err(io("cannot list segments in", FOLDER))? {
            let Some(number) = log::number(&path) else { continue };
            next_number = next_number.max(number + 1);
            let start = read_prefix(&*disk, &path, Some(SEGMENT_HEADER_BYTES))?;
            match SegmentHeader::parse(&start) {
                Some(header) if header.number == number => {
                    headers.insert(number, (header, bytes));
                }
                // A header is synced before anything is acknowledged from its segment.
                _ if bytes <= SEGMENT_HEADER_BYTES as u64 => {
                    stats.torn_bytes += bytes;
                    disk.remove(&path).map_err(io("cannot remove segment", &path))?;
                }
                _ => {
                    stats.damaged.push(format!("{path}: its header does not hold; {bytes} bytes were set aside"));
                    let aside = format!("{path}.damaged");
                    disk.rename(&path, &aside).map_err(io("cannot set segment aside", &path))?;
                }
            }
        }
        let mut trusted: BTreeMap<u64, u64> = BTreeMap::new();
        for (header, _) in headers.values() {
            let (previous, length) = header.previous;
            trusted.insert(previous, length);
            for void in headers.range(previous + 1..header.number).map(|(n, _)| *n) {
                trusted.insert(void, 0);
            }
        }
        let mut ahead = VecDeque::new();
        for (number, (header, bytes)) in &headers {
            let limit = trusted.get(number).copied();
            if limit == Some(0) {
                stats.torn_bytes += bytes;
                let path = log::path(*number);
                disk.remove(&path).map_err(io("cannot remove segment", &path))?;
            } else {
                ahead.push_back((*header, limit));
            }
        }
        let last_sequence = headers.values().map(|(h, _)| h.first_sequence.saturating_sub(1)).max().unwrap_or(0).max(sequence_min);
        Ok(Self { disk, ahead, read: VecDeque::new(), next_number, last_sequence })
    }

    /// The records of the next segment in order of their numbers; `None` after the last. Cuts a torn tail.
    pub(crate) fn next_segment(&mut self, stats: &mut RecoveryStats) -> Result<Option<Vec<(u64, WalPayload)>>, StorageError> {
        let Some((header, limit)) = self.ahead.pop_front() else { return Ok(None) };
        let path = log::path(header.number);
        let limit = limit.map(|l| usize::try_from(l).unwrap_or(usize::MAX));
        let bytes = read_prefix(&*self.disk, &path, None)?;
        let trusted = limit.map_or(bytes.len(), |l| l.min(bytes.len()));
        if let Some(limit) = limit.filter(|l| *l > bytes.len()) {
            stats.damaged.push(format!("{path}: {limit} bytes were logged, {} are there", bytes.len()));
        }
        let mut segment = Segment { number: header.number, bytes: 0, last: [0; 3] };
        let mut records = Vec::new();
        let mut at = SEGMENT_HEADER_BYTES;
        while at < trusted {
            match parse(&bytes.slice(at..trusted)) {
                Parsed::Record { sequence, payload, size } => {
                    segment.note(payload.signal, sequence, size);
                    self.last_sequence = self.last_sequence.max(sequence);
                    stats.records += 1;
                    records.push((sequence, payload));
                    at += size;
                }
                Parsed::Padding { size } => at += size,
                Parsed::Bad { reason, size } => {
                    // In the middle of a segment it is damage, and what follows is still good; at the end of the
                    // last one it is what a crash tore off.
                    let next = size
                        .map(|s| at + s)
                        .filter(|next| limit.is_some() || !matches!(parse(&bytes.slice((*next).min(trusted)..trusted)), Parsed::Bad { .. }));
                    if limit.is_some() || next.is_some() {
                        stats.damaged.push(format!("{path} at byte {at}: {reason}"));
                    }
                    match next {
                        Some(next) => at = next,
                        None => break,
                    }
                }
            }
        }
        let end = at.min(trusted);
        if end < bytes.len() {
            stats.torn_bytes += (bytes.len() - end) as u64;
            self.disk.truncate(&path, end as u64).map_err(io("cannot cut the torn tail of", &path))?;
        }
        segment.bytes = end as u64;
        if segment.last == [0; 3] && self.ahead.is_empty() && self.read.is_empty() {
            // Nothing in it and nothing that needs its header.
            self.disk.remove(&path).map_err(io("cannot remove segment", &path))?;
        } else {
            self.read.push_back(segment);
        }
        records.sort_by_key(|(sequence, _)| *sequence);
        Ok(Some(records))
    }

    /// The log, ready to be continued in a new segment.
    pub(crate) fn finish(self, segment_bytes: u64) -> WalLog {
        WalLog::new(self.disk, segment_bytes, self.read, self.next_number, self.last_sequence + 1)
    }
}
