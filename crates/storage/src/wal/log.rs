//! The segments of the log: appending with one sync a group, closing, freeing.
//!
//! A segment begins with a header that says how far its predecessor may be trusted. After a failed write or sync
//! nothing more is written to that segment: the next one states its trusted length, so that what was refused is
//! not found again.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use skopos_model::Signal;

use crate::disk::{Disk, DiskFile};
use crate::record::WalPayload;
use crate::wal::record::{self, signal_index};

/// Folder of the segments.
pub(crate) const FOLDER: &str = "wal";

/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 44;

const MAGIC: &[u8; 8] = b"SKOPWAL1";

/// What a probe writes: a disk that takes this much is thought to have room again.
const PROBE_BYTES: usize = 64 << 10;

/// Most slices of one vectored write (Linux: 1,024).
const SLICES_MAX: usize = 1020;

/// Name of a segment.
pub(crate) fn path(number: u64) -> String {
    format!("{FOLDER}/{number:016x}.wal")
}

/// Number of the segment with this name, if it is one.
pub(crate) fn number(path: &str) -> Option<u64> {
    let name = path.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(".wal")?;
    u64::from_str_radix(name, 16).ok()
}

/// The head of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) number: u64,
    /// Sequence numbers in it are at least this.
    pub(crate) first_sequence: u64,
    /// The last segment before it with trusted content, and how many bytes of it; segments between are void.
    pub(crate) previous: (u64, u64),
}

impl SegmentHeader {
    pub(crate) fn to_bytes(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut out = [0; SEGMENT_HEADER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        for (i, n) in [self.number, self.first_sequence, self.previous.0, self.previous.1].into_iter().enumerate() {
            out[8 + i * 8..16 + i * 8].copy_from_slice(&n.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&out[..40]);
        out[40..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// `None` when these bytes are no header.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..SEGMENT_HEADER_BYTES)?;
        if &bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..40]).to_le_bytes() != bytes[40..] {
            return None;
        }
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Some(Self { number: number(8), first_sequence: number(16), previous: (number(24), number(32)) })
    }
}

/// A segment with records.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    /// Trusted bytes.
    pub(crate) bytes: u64,
    /// Highest sequence number of each signal in it, 0 when there is none.
    pub(crate) last: [u64; 3],
}

impl Segment {
    /// Notes a record.
    pub(crate) fn note(&mut self, signal: Signal, sequence: u64, size: usize) {
        self.bytes += size as u64;
        let last = &mut self.last[signal_index(signal)];
        *last = (*last).max(sequence);
    }
}

/// The log as one thread writes it.
pub(crate) struct WalLog {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    /// Segments with records, oldest first; the last is the open one when `open` is there.
    segments: VecDeque<Segment>,
    open: Option<Box<dyn DiskFile>>,
    next_number: u64,
    next_sequence: u64,
    /// The newest segment with trusted content, and its length.
    trusted: (u64, u64),
}

impl std::fmt::Debug for WalLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WalLog").field("segments", &self.segments).field("next_sequence", &self.next_sequence).finish_non_exhaustive()
    }
}

impl WalLog {
    /// Continues after what replay found: its segments, the next free segment number and sequence number.
    pub(crate) fn new(disk: Arc<dyn Disk>, segment_bytes: u64, segments: VecDeque<Segment>, next_number: u64, next_sequence: u64) -> Self {
        let trusted = segments.back().map_or((0, 0), |s| (s.number, s.bytes));
        Self { disk, segment_bytes, segments, open: None, next_number, next_sequence, trusted }
    }

    /// Opens a new segment, durable with its name.
    fn open_segment(&mut self) -> io::Result<()> {
        let number = self.next_number;
        self.next_number += 1;
        let header = SegmentHeader { number, first_sequence: self.next_sequence, previous: self.trusted };
        let name = path(number);
        let created = self.disk.create(&name).and_then(|mut file| {
            file.append(&mut [IoSlice::new(&header.to_bytes())])?;
            file.sync()?;
            self.disk.sync_dir(&name)?;
            Ok(file)
        });
        match created {
            Ok(file) => {
                self.open = Some(file);
                self.segments.push_back(Segment { number, bytes: SEGMENT_HEADER_BYTES as u64, last: [0; 3] });
                self.trusted = (number, SEGMENT_HEADER_BYTES as u64);
                Ok(())
            }
            Err(e) => {
                // It holds nothing that was acknowledged; should it reappear, the next header makes it void.
                let _ = self.disk.remove(&name);
                Err(e)
            }
        }
    }

    /// Appends records and syncs once. Returns the first one's sequence number; the others follow it.
    ///
    /// # Errors
    /// When writing or syncing failed: nothing of it counts as logged, and the segment is closed for good.
    pub(crate) fn append(&mut self, payloads: &[&WalPayload]) -> io::Result<u64> {
        if self.open.is_some() && self.trusted.1 >= self.segment_bytes {
            self.open = None;
        }
        if self.open.is_none() {
            self.open_segment()?;
        }
        let first = self.next_sequence;
        // Never used again, even if this fails: a record on disk is known by its number.
        self.next_sequence += payloads.len() as u64;
        let headers: Vec<_> = payloads.iter().zip(first..).map(|(p, sequence)| record::header(p, sequence)).collect();
        let mut slices = Vec::with_capacity(payloads.len() * 3);
        for (payload, header) in payloads.iter().zip(&headers) {
            slices.push(IoSlice::new(header));
            if !payload.context.is_empty() {
                slices.push(IoSlice::new(payload.context.as_bytes()));
            }
            slices.push(IoSlice::new(&payload.body));
        }
        self.write(&mut slices)?;
        if let Some(segment) = self.segments.back_mut() {
            for (payload, sequence) in payloads.iter().zip(first..) {
                segment.note(payload.signal, sequence, record::size(payload));
            }
            self.trusted = (segment.number, segment.bytes);
        }
        Ok(first)
    }

    fn write(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let Some(file) = self.open.as_mut() else { return Err(io::Error::other("no segment is open")) };
        let done = slices.chunks_mut(SLICES_MAX).try_for_each(|some| file.append(some)).and_then(|()| file.sync());
        if done.is_err() {
            self.open = None;
            // Frees what a full disk took; the trusted length holds whether or not this succeeds.
            let (number, length) = self.trusted;
            let _ = self.disk.truncate(&path(number), length);
        }
        done
    }

    /// Finds out whether writing works again, after an append has failed.
    pub(crate) fn probe(&mut self) -> io::Result<()> {
        if self.open.is_none() {
            self.open_segment()?;
        }
        let padding = record::padding(PROBE_BYTES);
        let written = self.write(&mut [IoSlice::new(&padding)]);
        if let Some(segment) = self.segments.back_mut() {
            if written.is_ok() {
                segment.bytes += padding.len() as u64;
                self.trusted = (segment.number, segment.bytes);
            } else if segment.last == [0; 3] {
                // A probe's segment holds nothing: it must not pile up while the disk is full.
                let number = segment.number;
                if self.disk.remove(&path(number)).is_ok() {
                    self.segments.pop_back();
                    self.trusted = self.segments.back().map_or((0, 0), |s| (s.number, s.bytes));
                }
            }
        }
        written
    }

    /// Closes the open segment, so that it can be freed.
    pub(crate) fn rotate(&mut self) {
        self.open = None;
    }

    /// Removes segments whose records are all in files: those at the front that every signal has passed.
    pub(crate) fn free(&mut self, positions: [u64; 3]) -> io::Result<()> {
        while let Some(first) = self.segments.front() {
            let is_open = self.segments.len() == 1 && self.open.is_some();
            if is_open || first.last.iter().zip(&positions).any(|(last, position)| last > position) {
                break;
            }
            let name = path(first.number);
            self.disk.remove(&name)?;
            // One after another: the next header says how far this one may be trusted, should it reappear.
            self.disk.sync_dir(&name)?;
            self.segments.pop_front();
        }
        Ok(())
    }

    /// Bytes in segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.bytes).sum()
    }

    /// Number of segments.
    pub(crate) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// The last sequence number given.
    pub(crate) fn sequence(&self) -> u64 {
        self.next_sequence - 1
    }
}
