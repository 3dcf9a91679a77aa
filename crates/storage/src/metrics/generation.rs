//! Samples in memory between two flushes: packed chunks and a small open buffer for each series.

use std::sync::Arc;

use skopos_model::{Exemplar, MetricMetadata, NativeHistogram, SeriesId};

use super::chunk::{CHUNK_SAMPLES, Chunk, ChunkScratch, TimeBlock};
use super::histograms::HistogramHead;
use super::registry::HashedMap;
use super::samples::Samples;
use super::small::starts;

/// Room of a series' first buffer; it doubles until a chunk is full. Two kilobytes at once for each of a million
/// series would be too much.
const BUFFER_FIRST: usize = 8;

/// Most exemplars kept between two flushes; more are dropped and counted.
const EXEMPLARS_MAX: usize = 200_000;

/// Series that share times are sealed close together: blocks remembered to find equals among.
const TIME_BLOCKS_KNOWN_MAX: usize = 4096;

/// No buffer.
const NONE: u32 = u32::MAX;

/// One series in memory.
#[derive(Debug, Clone)]
pub(super) struct Buffer {
    pub(super) series: u32,
    /// First and last time, late samples included.
    pub(super) first: i64,
    pub(super) last: i64,
    /// Newest time in chunks and tail, which ascend.
    newest: i64,
    chunks: Vec<Chunk>,
    tail: Vec<(i64, f64)>,
    /// Samples older than one before them, as they came.
    late: Vec<(i64, f64)>,
}

impl Buffer {
    /// Whether a sample may be in the closed range of milliseconds.
    pub(super) fn overlaps(&self, start: i64, end: i64) -> bool {
        self.first <= end && start <= self.last
    }

    /// The value at a time that is not newer than all, where it is at hand: in the open buffer, or the last one packed.
    /// What is further back is settled when it is read.
    fn known(&self, time: i64, scratch: &mut AppendScratch) -> Option<f64> {
        if let Ok(at) = self.tail.binary_search_by_key(&time, |s| s.0) {
            return Some(self.tail[at].1);
        }
        let last = self.chunks.last().filter(|chunk| time == self.newest && chunk.times.last == time)?;
        scratch.values.clear();
        last.extend_values(&mut scratch.chunk, &mut scratch.values);
        scratch.values.last().copied()
    }

    /// Adds the samples in the closed range, ascending, of equal times the first that came.
    pub(super) fn read(&self, start: i64, end: i64, scratch: &mut ReadScratch, out: &mut Samples) {
        let ReadScratch { chunk, times, values, late } = scratch;
        let pieces = self.chunks.iter().filter(|c| c.times.first <= end && start <= c.times.last);
        let is_whole = |c: &Chunk| start <= c.times.first && c.times.last <= end;
        if out.times.is_empty() && self.late.is_empty() && pieces.clone().all(is_whole) {
            let (from, to) = (self.tail.partition_point(|s| s.0 < start), self.tail.partition_point(|s| s.0 <= end));
            let tail = &self.tail[from..to.max(from)];
            out.set(pieces.clone().map(|c| &c.times), tail.iter().map(|s| s.0), |values| {
                pieces.for_each(|c| c.extend_values(chunk, values));
                values.extend(tail.iter().map(|s| s.1));
            });
            return;
        }
        for piece in pieces {
            times.clear();
            values.clear();
            piece.times.extend(times);
            piece.extend_values(chunk, values);
            out.add_in_range(times, values, start, end);
        }
        for part in [&self.tail, &self.late] {
            if part.is_empty() {
                continue;
            }
            late.clear();
            late.extend(part.iter().filter(|s| start <= s.0 && s.0 <= end));
            // Stable: of equal times the first that came stays in front. The tail is in order already.
            late.sort_by_key(|s| s.0);
            late.dedup_by_key(|s| s.0);
            times.clear();
            values.clear();
            times.extend(late.iter().map(|s| s.0));
            values.extend(late.iter().map(|s| s.1));
            out.add(times, values);
        }
    }
}

/// Buffers used again while reading.
#[derive(Debug, Default)]
pub(super) struct ReadScratch {
    chunk: ChunkScratch,
    times: Vec<i64>,
    values: Vec<f64>,
    late: Vec<(i64, f64)>,
}

/// Samples that were not taken for one reason: how many floats and histograms, and the first of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct NotTaken {
    pub(super) floats: usize,
    pub(super) histograms: usize,
    /// Series and time, Unix milliseconds.
    pub(super) first: Option<(u32, i64)>,
}

impl NotTaken {
    fn count(&mut self, series: u32, time: i64, histogram: bool) {
        *(if histogram { &mut self.histograms } else { &mut self.floats }) += 1;
        self.first.get_or_insert((series, time));
    }

    pub(super) fn all(&self) -> usize {
        self.floats + self.histograms
    }
}

/// What became of appended samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Appended {
    pub(super) taken: usize,
    /// The series has this sample already.
    pub(super) duplicate: usize,
    /// The series has another value at that time, which stays.
    pub(super) conflicting: NotTaken,
    /// Older than the window allows.
    pub(super) too_old: NotTaken,
    /// Outside the years 0 to 9999.
    pub(super) out_of_range: NotTaken,
}

/// First and last millisecond that every reader of the files can show: years 0 to 9999.
pub(super) const TIME_MIN: i64 = -62_167_219_200_000;
/// See [`TIME_MIN`].
pub(super) const TIME_MAX: i64 = 253_402_300_799_999;

/// Samples of all series since the head was opened. Once sealed it is not changed any more.
#[derive(Debug, Default)]
pub(super) struct Generation {
    /// By series number: index into `buffers`.
    slots: Vec<u32>,
    buffers: Vec<Buffer>,
    pub(super) histograms: HistogramHead,
    /// Changes of start timestamps.
    pub(super) starts: Vec<starts::Row>,
    pub(super) exemplars: Vec<(SeriesId, Exemplar)>,
    /// Metadata that was new or another than before.
    pub(super) metadata: Vec<MetricMetadata>,
    pub(super) samples: usize,
    /// Memory of buffers and chunks, bytes.
    pub(super) bytes: usize,
    /// WAL sequence numbers appended; `seq_max` is 0 before the first append.
    pub(super) seq_min: u64,
    pub(super) seq_max: u64,
    /// Time of the first append, Unix nanoseconds.
    pub(super) since: i64,
    /// Whether anything was appended, were it only metadata.
    pub(super) touched: bool,
    pub(super) exemplars_dropped: usize,
    times: HashedMap<Arc<TimeBlock>>,
    scratch: AppendScratch,
}

#[derive(Debug, Default)]
struct AppendScratch {
    chunk: ChunkScratch,
    /// Times of the block packed last: the next series of the same scrape has them too.
    last: Option<(Vec<i64>, Arc<TimeBlock>)>,
    times: Vec<i64>,
    values: Vec<f64>,
}

impl Generation {
    /// To be called before the rows of a record are appended. `now`: Unix nanoseconds.
    pub(super) fn begin(&mut self, seq: u64, now: i64) {
        if !self.touched {
            self.touched = true;
            self.since = now;
            self.seq_min = seq;
            self.seq_max = seq;
        }
        self.seq_min = self.seq_min.min(seq);
        self.seq_max = self.seq_max.max(seq);
    }

    /// Appends a run of one series. `newest` is the series' newest time in earlier generations; samples older
    /// than the newest of all by more than `window` milliseconds are left out. `appeared` is called when it is the
    /// series' first sample here.
    pub(super) fn append(
        &mut self,
        series: SeriesId,
        run: (&[i64], &[f64]),
        newest: &mut i64,
        window: i64,
        appeared: &dyn Fn(u32),
        appended: &mut Appended,
    ) {
        let slot = series.0 as usize;
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, NONE);
        }
        for (&time, &value) in run.0.iter().zip(run.1) {
            if !takes((series.0, time, false), newest, window, appended) {
                continue;
            }
            if self.slots[slot] == NONE {
                self.slots[slot] = self.buffers.len() as u32;
                self.buffers.push(Buffer {
                    series: series.0,
                    first: time,
                    last: time,
                    newest: i64::MIN,
                    chunks: Vec::new(),
                    tail: Vec::new(),
                    late: Vec::new(),
                });
                self.bytes += size_of::<Buffer>() + 4;
                if !self.histograms.contains(series.0) {
                    appeared(series.0);
                }
            }
            let buffer = &mut self.buffers[self.slots[slot] as usize];
            if time > buffer.newest {
                buffer.newest = time;
                buffer.last = buffer.last.max(time);
                if buffer.tail.len() == buffer.tail.capacity() {
                    let before = buffer.tail.capacity();
                    buffer.tail.reserve_exact((before * 2).clamp(BUFFER_FIRST, CHUNK_SAMPLES) - before);
                    self.bytes += (buffer.tail.capacity() - before) * 16;
                }
                buffer.tail.push((time, value));
                if buffer.tail.len() >= CHUNK_SAMPLES {
                    self.bytes -= buffer.tail.capacity() * 16;
                    self.bytes += seal_tail(buffer, &mut self.times, &mut self.scratch);
                }
            } else if let Some(known) = buffer.known(time, &mut self.scratch) {
                // As Prometheus: the same again is no error, another value is one, and the first one stays.
                if known.to_bits() == value.to_bits() {
                    appended.duplicate += 1;
                } else {
                    appended.conflicting.count(series.0, time, false);
                }
                continue;
            } else {
                let before = buffer.late.capacity();
                buffer.late.push((time, value));
                buffer.first = buffer.first.min(time);
                self.bytes += (buffer.late.capacity() - before) * 16;
            }
            self.samples += 1;
            appended.taken += 1;
        }
    }

    /// Appends a native histogram, by the rules of [`Self::append`]. One of a time the series has is settled when it is read.
    pub(super) fn append_histogram(
        &mut self,
        (series, time, histogram): (SeriesId, i64, NativeHistogram),
        newest: &mut i64,
        window: i64,
        appeared: &dyn Fn(u32),
        appended: &mut Appended,
    ) {
        if takes((series.0, time, true), newest, window, appended) {
            if !self.histograms.contains(series.0) && self.buffer(series.0).is_none() {
                appeared(series.0);
            }
            self.bytes += self.histograms.push(series.0, time, histogram);
            appended.taken += 1;
        }
    }

    /// Rows it holds, over all tables.
    pub(super) fn rows(&self) -> usize {
        self.samples + self.histograms.rows() + self.starts.len() + self.exemplars.len() + self.metadata.len()
    }

    /// Appends an exemplar, unless there are too many or its time cannot be shown.
    pub(super) fn append_exemplar(&mut self, series: SeriesId, exemplar: Exemplar) {
        if !(TIME_MIN..=TIME_MAX).contains(&exemplar.timestamp) || self.exemplars.len() >= EXEMPLARS_MAX {
            self.exemplars_dropped += 1;
            return;
        }
        self.bytes += size_of::<Exemplar>() + exemplar.labels.iter().map(|(n, v)| n.len() + v.len() + 64).sum::<usize>();
        self.exemplars.push((series, exemplar));
    }

    /// The buffer of a series.
    pub(super) fn buffer(&self, series: u32) -> Option<&Buffer> {
        let slot = *self.slots.get(series as usize)?;
        self.buffers.get(slot as usize)
    }

    /// All series' buffers, in order of their first samples.
    pub(super) fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// What the given series hold in the closed range, as a generation of its own: pointers to chunks and copies
    /// of the small buffers, so that the open head is locked no longer than that takes.
    pub(super) fn extract(&self, series: &[u32], start: i64, end: i64) -> Self {
        let mut out = Self { seq_min: self.seq_min, seq_max: self.seq_max, ..Self::default() };
        for id in series {
            let Some(buffer) = self.buffer(*id).filter(|b| b.overlaps(start, end)) else { continue };
            if out.slots.len() <= *id as usize {
                out.slots.resize(*id as usize + 1, NONE);
            }
            out.slots[*id as usize] = out.buffers.len() as u32;
            out.buffers.push(buffer.clone());
        }
        out
    }
}

/// Whether a sample's time is one that is stored; the series' newest time moves on.
fn takes((series, time, histogram): (u32, i64, bool), newest: &mut i64, window: i64, appended: &mut Appended) -> bool {
    if !(TIME_MIN..=TIME_MAX).contains(&time) {
        appended.out_of_range.count(series, time, histogram);
        return false;
    }
    if time < *newest && newest.saturating_sub(time) > window {
        appended.too_old.count(series, time, histogram);
        return false;
    }
    *newest = time.max(*newest);
    true
}

/// Packs a full tail and returns the memory that came on top.
fn seal_tail(buffer: &mut Buffer, known: &mut HashedMap<Arc<TimeBlock>>, scratch: &mut AppendScratch) -> usize {
    scratch.times.clear();
    scratch.values.clear();
    scratch.times.extend(buffer.tail.iter().map(|s| s.0));
    scratch.values.extend(buffer.tail.iter().map(|s| s.1));
    // Most series do not need a full buffer again at once: it grows anew.
    buffer.tail = Vec::new();
    let mut memory = 0;
    let block = match &scratch.last {
        Some((times, block)) if *times == scratch.times => Arc::clone(block),
        _ => {
            let block = shared_block(&scratch.times, known, &mut memory);
            scratch.last = Some((scratch.times.clone(), Arc::clone(&block)));
            block
        }
    };
    let chunk = Chunk::new(block, &scratch.values, &mut scratch.chunk);
    memory += chunk.memory();
    buffer.chunks.push(chunk);
    memory
}

/// Packs times, or finds the block that has them already; adds what a new one takes to `memory`.
fn shared_block(times: &[i64], known: &mut HashedMap<Arc<TimeBlock>>, memory: &mut usize) -> Arc<TimeBlock> {
    let block = TimeBlock::new(times);
    let hash = xxhash_rust::xxh3::xxh3_64(block.bytes());
    if let Some(equal) = known.get(&hash).filter(|equal| equal.same(&block)) {
        return Arc::clone(equal);
    }
    if known.len() >= TIME_BLOCKS_KNOWN_MAX {
        known.clear();
    }
    *memory += block.memory();
    let block = Arc::new(block);
    known.insert(hash, Arc::clone(&block));
    block
}
