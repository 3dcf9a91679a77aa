//! Reading many records one by one, and which streams there are.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{TimestampNanosecondType, UInt8Type};
use skopos_model::{AttrType, LogBatch, Resource, Severity, SpanId, TraceId};
use skopos_query::logs::{AttributeChoice, LogColumns, LogRecord, LogScan, LogStream, LogTimes};
use skopos_query::{QueryContext, TimeRange};

use super::index::{LEVEL_AT, level_index};
use super::open::{Block, OpenFile};
use super::plan::{BODY_KINDS, Plan};
use super::record::{AttrRef, BlockRecord, Filtered, HeadRecord, Record};
use super::schema::Kind;
use super::search::head_takes;
use super::sections::LEVELS;
use super::{LogsTable, Resources};
use crate::error::StorageError;
use crate::head::Snapshot;
use crate::table::FileMeta;

/// Rows of the head between two looks at the clock.
const CHECK_ROWS: usize = 4096;
/// Streams whose resources are kept in memory.
const STREAMS_MAX: usize = 200_000;

/// A record with its stream, as scans show it.
struct Shown<'a, R: Record> {
    record: &'a R,
    stream: u64,
    attributes: &'a AttributeChoice,
    /// Wanted columns of the record's file.
    promoted: &'a [(Box<str>, i32, AttrType)],
}

impl<R: Record> LogRecord for Shown<'_, R> {
    fn time(&self) -> i64 {
        self.record.key().time
    }
    fn stream(&self) -> u64 {
        self.stream
    }
    fn body(&self) -> Cow<'_, str> {
        self.record.body()
    }
    fn severity_number(&self) -> u8 {
        self.record.severity_number()
    }
    fn severity_text(&self) -> &str {
        let level = self.record.level().as_str();
        if level.is_empty() { self.record.severity_text() } else { level }
    }
    fn trace_id(&self) -> TraceId {
        self.record.trace_id()
    }
    fn span_id(&self) -> SpanId {
        self.record.span_id()
    }
    fn scope_name(&self) -> &str {
        self.record.scope_name()
    }
    fn event_name(&self) -> &str {
        self.record.event_name()
    }
    fn each_attribute(&self, each: &mut dyn FnMut(&str, Cow<'_, str>)) {
        self.record.each_wanted(self.attributes, self.promoted, &mut |key, value: AttrRef<'_>| each(key, value.text()));
    }
}

/// Columns of a file that hold what is asked for.
fn kinds(file: &OpenFile, columns: &LogColumns) -> Vec<Kind> {
    let mut out = vec![Kind::Time];
    if columns.body {
        out.extend(BODY_KINDS);
    }
    if columns.severity {
        out.extend([Kind::SeverityNumber, Kind::SeverityText]);
    }
    if columns.ids {
        out.extend([Kind::TraceId, Kind::SpanId]);
    }
    if columns.names {
        out.extend([Kind::ScopeName, Kind::EventName]);
    }
    if columns.attributes != AttributeChoice::None {
        out.extend([Kind::Attributes, Kind::AttributeTypes]);
        let promoted = file.columns.iter().filter(|c| c.column.attribute.as_ref().is_some_and(|(key, _)| columns.attributes.wants(key)));
        out.extend(promoted.map(|c| c.kind));
    }
    out
}

/// Columns of attributes that are wanted, by key: in order of types, so that of one key text comes first.
fn promoted(file: &OpenFile, wanted: &AttributeChoice) -> Vec<(Box<str>, i32, AttrType)> {
    let all = file.columns.iter().filter_map(|c| {
        let (key, ty) = c.column.attribute.as_ref()?;
        wanted.wants(key).then(|| (key.as_str().into(), c.column.id, *ty))
    });
    all.collect()
}

/// The stream of each row of a block, rows ascending.
struct Runs<'a> {
    file: &'a OpenFile,
    at: usize,
}

impl<'a> Runs<'a> {
    fn new(file: &'a OpenFile, row: usize) -> Self {
        Self { file, at: file.directory.runs.partition_point(|run| run.start + run.rows <= row) }
    }

    /// Row behind the run.
    fn end(&self) -> usize {
        self.file.directory.runs.get(self.at).map_or(usize::MAX, |run| run.start + run.rows)
    }

    fn stream(&mut self, row: usize) -> u64 {
        let runs = &self.file.directory.runs;
        while runs.get(self.at).is_some_and(|run| run.start + run.rows <= row) {
            self.at += 1;
        }
        runs.get(self.at).map_or(0, |run| run.stream)
    }
}

/// Rows of blocks by stream and severity.
#[derive(Default)]
struct Slices {
    /// Times and counts of each level of the run that is looked at.
    levels: [(u64, Vec<i64>); LEVELS],
    /// A time that stands for those that were not read.
    anchor: i64,
}

impl Slices {
    /// Tells of the rows of a block. Times that were not read count alike: then how many there are is enough.
    fn block(
        &mut self,
        block: &Block,
        rows: &[u32],
        by_severity: bool,
        resources: &Resources,
        visit: &mut dyn FnMut(LogTimes<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let times = block.get(Kind::Time).and_then(|t| t.as_primitive_opt::<TimestampNanosecondType>()).map(|t| t.values());
        let numbers = block.get(Kind::SeverityNumber).and_then(|n| n.as_primitive_opt::<UInt8Type>());
        let mut runs = Runs::new(&block.file, block.start);
        let mut at = 0;
        while at < rows.len() {
            let stream = runs.stream(block.start + rows[at] as usize);
            let end = runs.end().saturating_sub(block.start);
            let run = &rows[at..at + rows[at..].partition_point(|row| (*row as usize) < end).max(1)];
            at += run.len();
            for row in run.iter().map(|row| *row as usize) {
                let time = times.map(|t| t[row]);
                let number = numbers.map_or(0, |n| n.value(row));
                if by_severity && number == 0 {
                    // The sender's own word: row by row.
                    let record = BlockRecord::new(block, row, resources);
                    let shown = Shown { record: &record, stream, attributes: &AttributeChoice::None, promoted: &[] };
                    visit(LogTimes { stream, severity_text: shown.severity_text(), count: 1, times: &[time.unwrap_or(self.anchor)] })?;
                    continue;
                }
                let level = &mut self.levels[usize::from(level_index(Severity::from_number(number)))];
                level.0 += 1;
                level.1.extend(time);
            }
            let inside = self.anchor;
            for (index, (count, times)) in self.levels.iter_mut().enumerate().filter(|(_, (count, _))| *count > 0) {
                let severity_text = if by_severity { LEVEL_AT[index].as_str() } else { "" };
                let times_of = if times.is_empty() { std::slice::from_ref(&inside) } else { times.as_slice() };
                visit(LogTimes { stream, severity_text, count: *count, times: times_of })?;
                *count = 0;
                times.clear();
            }
        }
        ControlFlow::Continue(())
    }
}

impl LogsTable {
    pub(super) fn each_record(
        &self,
        scan: &LogScan<'_>,
        ctx: &QueryContext,
        visit: &mut dyn FnMut(&dyn LogRecord) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let snapshot = self.head.snapshot();
        let mut plan = Plan::new(scan.filter, scan.range)?;
        plan.streams = scan.streams.map(Arc::clone);
        let mut since_check = 0;
        for batch in &snapshot.batches {
            ctx.stats.add_rows(batch.rows as u64);
            for row in 0..batch.rows {
                since_check += 1;
                if since_check >= CHECK_ROWS {
                    ctx.check()?;
                    since_check = 0;
                }
                let record = HeadRecord { batch: &batch.batch, seq: batch.seq, row };
                if !head_takes(&plan, &record) || !plan.compiled.matches(&Filtered(&record)) {
                    continue;
                }
                let shown = Shown { record: &record, stream: record.resource().id, attributes: &scan.columns.attributes, promoted: &[] };
                if visit(&shown).is_break() {
                    return Ok(());
                }
            }
        }
        for meta in &snapshot.files {
            let mut of_file: Option<Vec<(Box<str>, i32, AttrType)>> = None;
            let mut each = |block: &Block, rows: &[u32]| {
                let promoted = of_file.get_or_insert_with(|| promoted(&block.file, &scan.columns.attributes));
                let mut runs = Runs::new(&block.file, block.start);
                for row in rows.iter().map(|row| *row as usize) {
                    let record = BlockRecord::new(block, row, &self.resources);
                    let shown = Shown { record: &record, stream: runs.stream(block.start + row), attributes: &scan.columns.attributes, promoted };
                    if visit(&shown).is_break() {
                        return Ok(false);
                    }
                }
                Ok(true)
            };
            if !self.scan_file(&mut plan, meta, &|file| kinds(file, scan.columns), ctx, &mut each)? {
                return Ok(());
            }
        }
        Ok(())
    }

    pub(super) fn each_time(
        &self,
        scan: &LogScan<'_>,
        by_severity: bool,
        alike: &dyn Fn(i64, i64) -> bool,
        ctx: &QueryContext,
        visit: &mut dyn FnMut(LogTimes<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let snapshot = self.head.snapshot();
        let mut plan = Plan::new(scan.filter, scan.range)?;
        plan.streams = scan.streams.map(Arc::clone);
        for batch in &snapshot.batches {
            ctx.check()?;
            ctx.stats.add_rows(batch.rows as u64);
            for row in 0..batch.rows {
                let record = HeadRecord { batch: &batch.batch, seq: batch.seq, row };
                if !head_takes(&plan, &record) || !plan.compiled.matches(&Filtered(&record)) {
                    continue;
                }
                let shown = Shown { record: &record, stream: record.resource().id, attributes: &AttributeChoice::None, promoted: &[] };
                let severity_text = if by_severity { shown.severity_text() } else { "" };
                let slice = LogTimes { stream: shown.stream(), severity_text, count: 1, times: &[shown.time()] };
                if visit(slice).is_break() {
                    return Ok(());
                }
            }
        }
        for meta in &snapshot.files {
            if !plan.range.overlaps(meta.file.time_min, meta.file.time_max) {
                ctx.stats.add_files(0, 1);
                continue;
            }
            if !by_severity && plan.takes_all() && !self.count_runs(&plan, meta, alike, ctx, visit)? {
                return Ok(());
            }
            if !by_severity && plan.takes_all() {
                continue;
            }
            let all_alike = alike(meta.file.time_min.max(plan.range.start), meta.file.time_max.min(plan.range.end.saturating_sub(1)));
            let mut columns = if all_alike { Vec::new() } else { vec![Kind::Time] };
            if by_severity {
                columns.extend([Kind::SeverityNumber, Kind::SeverityText]);
            }
            let mut counts = Slices { anchor: meta.file.time_min.max(plan.range.start), ..Slices::default() };
            let mut each = |block: &Block, rows: &[u32]| Ok(counts.block(block, rows, by_severity, &self.resources, visit).is_continue());
            if !self.scan_file(&mut plan, meta, &|_| columns.clone(), ctx, &mut each)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Counts the rows of whole runs where their times count alike; reads the times of the others. False when stopped.
    fn count_runs(
        &self,
        plan: &Plan,
        meta: &Arc<FileMeta>,
        alike: &dyn Fn(i64, i64) -> bool,
        ctx: &QueryContext,
        visit: &mut dyn FnMut(LogTimes<'_>) -> ControlFlow<()>,
    ) -> Result<bool, StorageError> {
        let Some(file) = self.open(meta)? else { return Ok(true) };
        ctx.stats.add_files(1, 0);
        for run in &file.directory.runs {
            if run.rows == 0 || !plan.takes_stream(run.stream) || !plan.range.overlaps(run.time_min, run.time_max) {
                continue;
            }
            ctx.check()?;
            let inside = plan.range.contains(run.time_min) && plan.range.contains(run.time_max);
            if inside && alike(run.time_min, run.time_max) {
                let slice = LogTimes { stream: run.stream, severity_text: "", count: run.rows as u64, times: &[run.time_min] };
                if visit(slice).is_break() {
                    return Ok(false);
                }
                continue;
            }
            let pieces = match file.read_range(Kind::Time, run.start..run.start + run.rows) {
                Ok(pieces) => pieces,
                Err(error) => return meta.set_aside(error).map(|()| true),
            };
            ctx.stats.add_rows(run.rows as u64);
            for piece in pieces {
                let Some(times) = piece.as_primitive_opt::<TimestampNanosecondType>() else { continue };
                let times: &[i64] = times.values();
                let (from, to) = (times.partition_point(|t| *t < plan.range.start), times.partition_point(|t| *t < plan.range.end));
                let times = &times[from..to.max(from)];
                if !times.is_empty() && visit(LogTimes { stream: run.stream, severity_text: "", count: times.len() as u64, times }).is_break() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    pub(super) fn streams_in(&self, range: TimeRange, ctx: &QueryContext) -> Result<Vec<LogStream>, StorageError> {
        let snapshot = self.head.snapshot();
        let mut found: HashMap<u64, LogStream> = HashMap::new();
        self.streams_of_head(&snapshot, range, &mut found, ctx)?;
        for meta in snapshot.files.iter().filter(|meta| range.overlaps(meta.file.time_min, meta.file.time_max)) {
            ctx.check()?;
            self.streams_of_file(meta, range, &mut found, ctx)?;
        }
        let mut out: Vec<LogStream> = found.into_values().collect();
        out.sort_by_key(|stream| stream.resource.id);
        Ok(out)
    }

    fn streams_of_head(
        &self,
        snapshot: &Snapshot<LogBatch>,
        range: TimeRange,
        found: &mut HashMap<u64, LogStream>,
        ctx: &QueryContext,
    ) -> Result<(), StorageError> {
        for batch in &snapshot.batches {
            ctx.check()?;
            ctx.stats.add_rows(batch.rows as u64);
            let batch = &batch.batch;
            let mut counts = vec![(0u64, 0u64); batch.resources.len()];
            for (row, resource) in batch.resource.iter().enumerate() {
                if range.contains(batch.time[row]) {
                    let count = &mut counts[*resource as usize];
                    count.0 += 1;
                    count.1 += batch.body.get(row).len() as u64;
                }
            }
            for (resource, (rows, bytes)) in batch.resources.iter().zip(counts).filter(|(_, (rows, _))| *rows > 0) {
                add(found, resource, rows, bytes);
            }
        }
        Ok(())
    }

    fn streams_of_file(
        &self,
        meta: &Arc<FileMeta>,
        range: TimeRange,
        found: &mut HashMap<u64, LogStream>,
        ctx: &QueryContext,
    ) -> Result<(), StorageError> {
        let Some(file) = self.open(meta)? else { return Ok(()) };
        let row_bytes = file.row_bytes() as u64;
        let runs = file.directory.runs.iter().filter(|run| run.rows > 0 && range.overlaps(run.time_min, run.time_max));
        let runs: Vec<_> = runs.collect();
        let unknown: BTreeMap<usize, u64> = {
            let known = self.streams.lock();
            runs.iter().filter(|run| !known.contains_key(&run.stream)).map(|run| (run.start, run.stream)).collect()
        };
        if let Err(error) = self.learn_streams(&file, unknown, ctx) {
            return meta.set_aside(error);
        }
        let known = self.streams.lock();
        for run in runs {
            if let Some(resource) = known.get(&run.stream) {
                let rows = share(run.rows as u64, run.time_min, run.time_max, range);
                add(found, resource, rows, rows * row_bytes);
            }
        }
        Ok(())
    }

    /// Reads the resources of streams from the first rows of their runs.
    fn learn_streams(&self, file: &Arc<OpenFile>, unknown: BTreeMap<usize, u64>, ctx: &QueryContext) -> Result<(), StorageError> {
        let mut by_group: BTreeMap<usize, Vec<(usize, u64)>> = BTreeMap::new();
        for (row, stream) in unknown {
            let list = by_group.entry(file.group_of(row)).or_default();
            if !list.iter().any(|(_, known)| *known == stream) {
                list.push((row, stream));
            }
        }
        for list in by_group.into_values() {
            ctx.check()?;
            let rows: Vec<usize> = list.iter().map(|(row, _)| *row).collect();
            let block = file.read_rows(&[Kind::Resource], &rows, ctx)?;
            for (at, (_, stream)) in list.iter().enumerate() {
                let resource = self.resources.get(block.text(Kind::Resource, at).unwrap_or("{}"));
                let mut known = self.streams.lock();
                if known.len() >= STREAMS_MAX {
                    known.clear();
                }
                // The id is what runs and filters go by, whatever the text says.
                let resource = if resource.id == *stream { resource } else { Arc::new(Resource { id: *stream, ..Resource::clone(&resource) }) };
                known.insert(*stream, resource);
            }
        }
        Ok(())
    }
}

fn add(found: &mut HashMap<u64, LogStream>, resource: &Arc<Resource>, rows: u64, bytes: u64) {
    let stream = found.entry(resource.id).or_insert_with(|| LogStream { resource: Arc::clone(resource), rows: 0, bytes: 0 });
    stream.rows += rows;
    stream.bytes += bytes;
}

/// How many of the rows between two times are in a range, if they are spread evenly.
fn share(rows: u64, min: i64, max: i64, range: TimeRange) -> u64 {
    if range.contains(min) && range.contains(max) {
        return rows;
    }
    let inside = i128::from(max.min(range.end - 1)) - i128::from(min.max(range.start)) + 1;
    let all = (i128::from(max) - i128::from(min) + 1).max(1);
    u64::try_from(i128::from(rows) * inside / all).unwrap_or(0).clamp(1, rows.max(1))
}
