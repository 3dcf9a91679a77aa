//! Pages of records: newest or oldest first, and the lines around one.

use std::collections::{BTreeMap, BinaryHeap};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, TimestampNanosecondType, UInt64Type};
use skopos_model::LogBatch;
use skopos_query::error::QueryError;
use skopos_query::filter::Filter;
use skopos_query::logs::{Direction, Facet, Histogram, LogFollower, LogPage, LogRecord, LogRow, LogScan, LogSearch, LogStore, LogStream, LogTimes};
use skopos_query::{QueryContext, TimeRange};

use super::open::{Block, OpenFile};
use super::plan::Plan;
use super::record::{BlockRecord, Filtered, HeadRecord, Key, Record};
use super::schema::Kind;
use super::{LogsTable, query_error};
use crate::error::StorageError;
use crate::head::Snapshot;
use crate::table::FileMeta;

/// Blocks looked at in the first round of a search; each round takes twice as many.
const ROUND_BLOCKS: usize = 4;
/// Most blocks of a round.
const ROUND_BLOCKS_MAX: usize = 256;
/// Rows of the head between two looks at the clock.
const CHECK_ROWS: usize = 4096;

/// Where a found record is.
#[derive(Debug, Clone)]
enum Place {
    /// Batch of the snapshot, row in it.
    Head(usize, usize),
    /// File, row in it.
    File(Arc<OpenFile>, usize),
}

#[derive(Debug, Clone)]
struct Found {
    key: Key,
    place: Place,
}

/// The first `limit` records in an order.
#[derive(Debug)]
struct Best {
    limit: usize,
    direction: Direction,
    /// Only records behind this one.
    after: Option<Key>,
    found: Vec<Found>,
    /// There are `limit` records up to here already.
    bound: Option<Key>,
}

impl Best {
    fn comes_before(&self, a: Key, b: Key) -> bool {
        match self.direction {
            Direction::Backward => a > b,
            Direction::Forward => a < b,
        }
    }

    fn wants(&self, key: Key) -> bool {
        self.after.is_none_or(|after| self.comes_before(after, key)) && self.bound.is_none_or(|bound| self.comes_before(key, bound))
    }

    fn push(&mut self, key: Key, place: impl FnOnce() -> Place) {
        if self.wants(key) {
            self.found.push(Found { key, place: place() });
            if self.found.len() >= self.limit * 2 + 64 {
                self.settle();
            }
        }
    }

    fn settle(&mut self) {
        match self.direction {
            Direction::Backward => self.found.sort_unstable_by_key(|f| std::cmp::Reverse(f.key)),
            Direction::Forward => self.found.sort_unstable_by_key(|f| f.key),
        }
        self.found.truncate(self.limit);
        if self.found.len() == self.limit {
            self.bound = self.found.last().map(|f| f.key);
        }
    }

    /// Whether rows whose best time is `time` are worth looking at.
    fn wants_time(&self, time: i64) -> bool {
        self.bound.is_none_or(|bound| match self.direction {
            Direction::Backward => time >= bound.time,
            Direction::Forward => time <= bound.time,
        })
    }
}

/// Something to look at, the best time first.
enum Item {
    File(Arc<FileMeta>),
    Block(Arc<OpenFile>, usize, Vec<u32>),
}

struct Queued {
    score: i64,
    item: Item,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.score == other.score
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.score.cmp(&other.score)
    }
}

/// Order of a time as a score: higher is looked at first.
fn score(direction: Direction, min: i64, max: i64) -> i64 {
    match direction {
        Direction::Backward => max,
        // Bitwise: i64::MIN has no negative.
        Direction::Forward => !min,
    }
}

fn time_of(direction: Direction, score: i64) -> i64 {
    match direction {
        Direction::Backward => score,
        Direction::Forward => !score,
    }
}

impl LogsTable {
    /// The first `limit` records behind `after` that the plan takes, in order.
    fn best(
        &self,
        snapshot: &Snapshot<LogBatch>,
        plan: &mut Plan,
        direction: Direction,
        limit: usize,
        after: Option<Key>,
        ctx: &QueryContext,
    ) -> Result<Vec<Found>, StorageError> {
        if let Some(after) = after {
            match direction {
                Direction::Backward => plan.range.end = plan.range.end.min(after.time.saturating_add(1)),
                Direction::Forward => plan.range.start = plan.range.start.max(after.time),
            }
        }
        let mut best = Best { limit, direction, after, found: Vec::new(), bound: None };
        if limit == 0 || plan.range.start >= plan.range.end {
            return Ok(Vec::new());
        }
        let newest_first: Box<dyn Iterator<Item = _>> = match direction {
            Direction::Backward => Box::new(snapshot.batches.iter().enumerate().rev()),
            Direction::Forward => Box::new(snapshot.batches.iter().enumerate()),
        };
        let mut since_check = 0;
        for (number, batch) in newest_first {
            ctx.stats.add_rows(batch.rows as u64);
            since_check += batch.rows;
            if since_check >= CHECK_ROWS {
                ctx.check()?;
                since_check = 0;
            }
            for row in 0..batch.rows {
                let record = HeadRecord { batch: &batch.batch, seq: batch.seq, row };
                if head_takes(plan, &record) && best.wants(record.key()) && plan.compiled.matches(&Filtered(&record)) {
                    best.push(record.key(), || Place::Head(number, row));
                }
            }
        }
        best.settle();
        let mut queue: BinaryHeap<Queued> = snapshot
            .files
            .iter()
            .filter(|f| plan.range.overlaps(f.file.time_min, f.file.time_max))
            .map(|f| Queued { score: score(direction, f.file.time_min, f.file.time_max), item: Item::File(Arc::clone(f)) })
            .collect();
        let mut round = ROUND_BLOCKS;
        loop {
            // By file and row group, so that one read serves all blocks of a group.
            let mut blocks: BTreeMap<(i64, usize), (Arc<OpenFile>, Vec<(usize, Vec<u32>)>)> = BTreeMap::new();
            let mut taken = 0;
            while taken < round
                && let Some(next) = queue.peek()
            {
                if !best.wants_time(time_of(direction, next.score)) {
                    queue.clear();
                    break;
                }
                let Some(Queued { item, .. }) = queue.pop() else { break };
                match item {
                    Item::File(meta) => self.enqueue(plan, &meta, direction, &mut queue, ctx)?,
                    Item::Block(file, number, rows) => {
                        taken += 1;
                        let key = (file.meta.id, file.blocks[number].group);
                        blocks.entry(key).or_insert_with(|| (file, Vec::new())).1.push((number, rows));
                    }
                }
            }
            if blocks.is_empty() {
                break;
            }
            for (file, mut list) in blocks.into_values() {
                list.sort_unstable_by_key(|(number, _)| *number);
                let mut visit = |block: &Block, rows: &[u32]| {
                    push_rows(&mut best, &file, block, rows);
                    Ok(true)
                };
                if let Err(error) = self.scan_blocks(plan, &file, list, &[Kind::Time, Kind::Seq, Kind::Row], ctx, &mut visit) {
                    file.meta.set_aside(error)?;
                }
            }
            best.settle();
            round = (round * 2).min(ROUND_BLOCKS_MAX);
        }
        Ok(best.found)
    }

    fn enqueue(
        &self,
        plan: &Plan,
        meta: &Arc<FileMeta>,
        direction: Direction,
        queue: &mut BinaryHeap<Queued>,
        ctx: &QueryContext,
    ) -> Result<(), StorageError> {
        let Some(file) = self.open(meta)? else { return Ok(()) };
        let blocks = match plan.blocks(&file) {
            Ok(blocks) => blocks,
            Err(error) => return meta.set_aside(error),
        };
        ctx.stats.add_files(u64::from(!blocks.is_empty()), u64::from(blocks.is_empty()));
        queue.extend(blocks.into_iter().map(|(number, rows)| {
            let (min, max) = file.directory.blocks[number];
            Queued { score: score(direction, min, max), item: Item::Block(Arc::clone(&file), number, rows) }
        }));
        Ok(())
    }

    /// The records at these places, in the same order.
    fn fetch(&self, snapshot: &Snapshot<LogBatch>, found: &[Found], ctx: &QueryContext) -> Result<Vec<LogRow>, StorageError> {
        let mut rows: Vec<Option<LogRow>> = vec![None; found.len()];
        let mut in_files: BTreeMap<(i64, usize), (Arc<OpenFile>, Vec<(usize, usize)>)> = BTreeMap::new();
        for (at, one) in found.iter().enumerate() {
            match &one.place {
                Place::Head(number, row) => {
                    let batch = &snapshot.batches[*number];
                    rows[at] = Some(HeadRecord { batch: &batch.batch, seq: batch.seq, row: *row }.to_row());
                }
                Place::File(file, row) => {
                    let entry = in_files.entry((file.meta.id, file.group_of(*row))).or_insert_with(|| (Arc::clone(file), Vec::new()));
                    entry.1.push((*row, at));
                }
            }
        }
        for (file, mut wanted) in in_files.into_values() {
            ctx.check()?;
            wanted.sort_unstable();
            let kinds: Vec<Kind> = file.columns.iter().map(|c| c.kind).collect();
            let numbers: Vec<usize> = wanted.iter().map(|(row, _)| *row).collect();
            match file.read_rows(&kinds, &numbers, ctx) {
                Ok(block) => {
                    for (at_block, (_, at)) in wanted.iter().enumerate() {
                        rows[*at] = Some(BlockRecord::new(&block, at_block, &self.resources).to_row());
                    }
                }
                Err(error) => file.meta.set_aside(error)?,
            }
        }
        Ok(rows.into_iter().flatten().collect())
    }

    fn stream_of(&self, snapshot: &Snapshot<LogBatch>, found: &Found) -> u64 {
        match &found.place {
            Place::Head(number, row) => {
                let batch = &snapshot.batches[*number].batch;
                batch.resources[batch.resource[*row] as usize].id
            }
            Place::File(file, row) => {
                let at = file.directory.runs.partition_point(|run| run.start + run.rows <= *row);
                file.directory.runs.get(at).map_or(0, |run| run.stream)
            }
        }
    }

    fn page(&self, search: &LogSearch, ctx: &QueryContext) -> Result<LogPage, StorageError> {
        let after = match &search.after {
            Some(text) => Some(Key::from_id(text).ok_or_else(|| not_an_id(text))?),
            None => None,
        };
        let limit = search.limit.min(usize::try_from(ctx.limits.rows_max).unwrap_or(usize::MAX));
        let snapshot = self.head.snapshot();
        let mut plan = Plan::new(&search.filter, search.range)?;
        plan.streams = search.streams.clone();
        let mut found = self.best(&snapshot, &mut plan, search.direction, limit.saturating_add(1), after, ctx)?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| last.key.to_id());
        Ok(LogPage { rows: self.fetch(&snapshot, &found, ctx)?, next })
    }

    fn around(&self, id: &str, before: usize, after: usize, ctx: &QueryContext) -> Result<Vec<LogRow>, StorageError> {
        let key = Key::from_id(id).ok_or_else(|| not_an_id(id))?;
        let rows_max = usize::try_from(ctx.limits.rows_max).unwrap_or(usize::MAX);
        let snapshot = self.head.snapshot();
        let everything = Filter::all();
        let moment = TimeRange { start: key.time, end: key.time.saturating_add(1) };
        // The record just behind the one before it.
        let mut plan = Plan::new(&everything, moment)?;
        let previous = if key.row > 0 { Key { row: key.row - 1, ..key } } else { Key { seq: key.seq.wrapping_sub(1), row: u32::MAX, ..key } };
        let cursor = (key.row > 0 || key.seq > 0).then_some(previous);
        let found = self.best(&snapshot, &mut plan, Direction::Forward, 1, cursor, ctx)?;
        let Some(own) = found.first().filter(|f| f.key == key).cloned() else {
            return Err(QueryError::Execution(format!("no record with id {id:?}: it may be older than the retention")).into());
        };
        let stream = self.stream_of(&snapshot, &own);
        let side = |direction, limit: usize| {
            let mut plan = Plan::new(&everything, TimeRange::ALL)?;
            plan.stream = Some(stream);
            self.best(&snapshot, &mut plan, direction, limit.min(rows_max), Some(key), ctx)
        };
        let mut all = side(Direction::Backward, before)?;
        all.reverse();
        all.push(own);
        all.extend(side(Direction::Forward, after)?);
        self.fetch(&snapshot, &all, ctx)
    }
}

fn not_an_id(text: &str) -> QueryError {
    QueryError::Execution(format!(
        "{:?} is not the id of a record: expected the id or cursor of an earlier answer",
        text.chars().take(80).collect::<String>()
    ))
}

/// Whether time and stream let a row of the head through.
pub(super) fn head_takes(plan: &Plan, record: &HeadRecord<'_>) -> bool {
    plan.range.contains(record.batch.time[record.row]) && plan.takes_stream(record.resource().id)
}

fn push_rows(best: &mut Best, file: &Arc<OpenFile>, block: &Block, rows: &[u32]) {
    let (Some(times), Some(seqs), Some(numbers)) = (
        block.get(Kind::Time).and_then(|a| a.as_primitive_opt::<TimestampNanosecondType>()),
        block.get(Kind::Seq).and_then(|a| a.as_primitive_opt::<UInt64Type>()),
        block.get(Kind::Row).and_then(|a| a.as_primitive_opt::<Int32Type>()),
    ) else {
        return;
    };
    for row in rows.iter().map(|r| *r as usize) {
        let key = Key { time: times.value(row), seq: seqs.value(row), row: numbers.value(row) as u32 };
        best.push(key, || Place::File(Arc::clone(file), block.start + row));
    }
}

impl LogStore for LogsTable {
    fn search(&self, search: &LogSearch, ctx: &QueryContext) -> Result<LogPage, QueryError> {
        self.page(search, ctx).map_err(query_error)
    }

    fn histogram(&self, range: TimeRange, filter: &Filter, step: i64, ctx: &QueryContext) -> Result<Histogram, QueryError> {
        self.count_by_level(range, filter, step, ctx).map_err(query_error)
    }

    fn facets(&self, range: TimeRange, filter: &Filter, fields: &[String], values_max: usize, ctx: &QueryContext) -> Result<Vec<Facet>, QueryError> {
        self.count_values(range, filter, fields, values_max, ctx).map_err(query_error)
    }

    fn streams(&self, range: TimeRange, ctx: &QueryContext) -> Result<Vec<LogStream>, QueryError> {
        self.streams_in(range, ctx).map_err(query_error)
    }

    fn scan(&self, scan: &LogScan<'_>, ctx: &QueryContext, visit: &mut dyn FnMut(&dyn LogRecord) -> ControlFlow<()>) -> Result<(), QueryError> {
        self.each_record(scan, ctx, visit).map_err(query_error)
    }

    fn scan_times(
        &self,
        scan: &LogScan<'_>,
        by_severity: bool,
        alike: &dyn Fn(i64, i64) -> bool,
        ctx: &QueryContext,
        visit: &mut dyn FnMut(LogTimes<'_>) -> ControlFlow<()>,
    ) -> Result<(), QueryError> {
        self.each_time(scan, by_severity, alike, ctx, visit).map_err(query_error)
    }

    fn follow(&self, filter: &Filter) -> Result<Arc<dyn LogFollower>, QueryError> {
        Ok(self.followers.add(filter)?)
    }

    fn context(&self, id: &str, before: usize, after: usize, ctx: &QueryContext) -> Result<Vec<LogRow>, QueryError> {
        self.around(id, before, after, ctx).map_err(query_error)
    }
}
