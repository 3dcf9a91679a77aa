//! Several files into one: which, and how.
//!
//! All files have the same order, so that the rows of one output row group are one range of rows of each input.
//! Only those ranges are read, one column after the other: memory holds a column of a row group, never a file.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, new_null_array};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampNanosecondType, UInt64Type};

use super::bodies::{Bodies, BodyColumns};
use super::encode::{FileEncoder, GROUP_BYTES_MAX, GroupSource, Origin};
use super::flush::with_type;
use super::open::{OpenFile, dictionary};
use super::schema::{FileColumn, GROUP_ROWS_MAX, Kind};
use crate::blob::Blobs;
use crate::error::StorageError;
use crate::table::{FileMeta, NewFile, Schema};

/// Files of one level that are merged together.
const FILES_PER_MERGE: usize = 8;
/// Most files of one merge.
const FILES_MAX: usize = 64;
/// Rows of one merge's output at most: beyond, a file's index would not stay small.
const ROWS_MAX: u64 = 8 << 20;
/// Files with more rows than this are left as they are.
const SETTLED_ROWS: u64 = 4 << 20;

/// The files to merge next. Neighbours in time of one level, `FILES_PER_MERGE` of them; with `full` also fewer, as
/// long as there is a file from a flush among them.
pub(super) fn plan(files: &[Arc<FileMeta>], _now: i64, full: bool) -> Option<Vec<Arc<FileMeta>>> {
    let mut by_level: BTreeMap<u8, Vec<&Arc<FileMeta>>> = BTreeMap::new();
    for file in files.iter().filter(|f| f.file.rows < SETTLED_ROWS) {
        by_level.entry(file.file.level).or_default().push(file);
    }
    let bounded = |files: &[&Arc<FileMeta>]| {
        let mut rows = 0;
        let chosen: Vec<_> = files
            .iter()
            .take(FILES_MAX)
            .take_while(|f| {
                rows += f.file.rows;
                rows <= ROWS_MAX
            })
            .map(|f| Arc::clone(f))
            .collect();
        (chosen.len() > 1).then_some(chosen)
    };
    for of_level in by_level.values().filter(|list| list.len() >= FILES_PER_MERGE) {
        // Full takes all there are in one go, so that no row is written more often than it must be.
        let some = if full { bounded(of_level) } else { bounded(&of_level[..FILES_PER_MERGE]) };
        if some.is_some() {
            return some;
        }
    }
    if full {
        let fresh = by_level.get(&0).filter(|list| list.len() > 1);
        if let Some(chosen) = fresh.and_then(|list| bounded(list)) {
            return Some(chosen);
        }
        // A single fresh file joins a small merged one rather than staying a file of its own.
        let small: Vec<_> = files.iter().filter(|f| f.file.rows < SETTLED_ROWS / 8).collect();
        if small.iter().any(|f| f.file.level == 0) && small.len() > 1 {
            return bounded(&small);
        }
    }
    None
}

/// Rows of one stream in one input.
#[derive(Debug, Clone)]
struct InputRun {
    input: usize,
    rows: Range<usize>,
}

/// Writes the rows of the inputs that are younger than `cutoff` as one file.
pub(super) fn merge(inputs: &[Arc<FileMeta>], cutoff: i64, blobs: &dyn Blobs, schema: &Schema) -> Result<Vec<NewFile>, StorageError> {
    let mut files = Vec::with_capacity(inputs.len());
    for meta in inputs {
        files.push(Arc::new(OpenFile::open(blobs, Arc::clone(meta), schema)?));
    }
    let (Some(seq_min), Some(seq_max)) = (inputs.iter().map(|f| f.file.seq_min).min(), inputs.iter().map(|f| f.file.seq_max).max()) else {
        return Ok(Vec::new());
    };
    let level = inputs.iter().map(|f| f.file.level).max().unwrap_or(0).saturating_add(1);
    let origin = Origin { seq_min, seq_max, level };
    let columns = columns(&files, schema);
    let row_bytes = files.iter().map(|f| f.row_bytes()).max().unwrap_or(1).max(1);
    let group_rows = GROUP_ROWS_MAX.min(GROUP_BYTES_MAX / row_bytes).max(1);

    // Streams in table order with their rows in each input.
    let mut streams: BTreeMap<(&str, u64), Vec<InputRun>> = BTreeMap::new();
    for (input, file) in files.iter().enumerate() {
        for run in &file.directory.runs {
            let key = (file.directory.services[run.service].as_str(), run.stream);
            streams.entry(key).or_default().push(InputRun { input, rows: run.start..run.start + run.rows });
        }
    }
    let mut encoder: Option<FileEncoder> = None;
    let mut order: Vec<(u32, u32)> = Vec::new();
    let flush = |order: &mut Vec<(u32, u32)>, encoder: &mut Option<FileEncoder>| -> Result<(), StorageError> {
        if order.is_empty() {
            return Ok(());
        }
        let mut source = MergeGroup::new(&files, std::mem::take(order));
        if encoder.is_none() {
            *encoder = Some(FileEncoder::new(blobs, origin, columns.clone())?);
        }
        match encoder {
            Some(encoder) => encoder.group(&mut source),
            None => Ok(()),
        }
    };
    for runs in streams.values() {
        let rows = sorted_rows(&files, runs, cutoff)?;
        let mut rows = rows.as_slice();
        while !rows.is_empty() {
            let (now, later) = rows.split_at(rows.len().min(group_rows - order.len()));
            order.extend_from_slice(now);
            rows = later;
            if order.len() >= group_rows {
                flush(&mut order, &mut encoder)?;
            }
        }
    }
    flush(&mut order, &mut encoder)?;
    match encoder {
        Some(encoder) => Ok(vec![encoder.finish(origin)?]),
        None => Ok(Vec::new()),
    }
}

/// The columns of the output: fixed ones, and promoted ones that some input has.
fn columns(files: &[Arc<OpenFile>], schema: &Schema) -> Vec<FileColumn> {
    let columns = schema.columns().into_iter().filter_map(|column| {
        let id = column.id;
        let has: Vec<&FileColumn> = files.iter().filter_map(|f| f.columns.iter().find(|c| c.column.id == id)).collect();
        if column.attribute.is_some() && has.is_empty() {
            return None;
        }
        FileColumn::new(column, has.iter().all(|c| c.repeats))
    });
    columns.collect()
}

/// (input, row) of one stream by time, then WAL order; expired rows are left out.
fn sorted_rows(files: &[Arc<OpenFile>], runs: &[InputRun], cutoff: i64) -> Result<Vec<(u32, u32)>, StorageError> {
    struct Row {
        key: (i64, u64, i32),
        at: (u32, u32),
    }
    let alone = runs.len() == 1;
    let mut rows = Vec::with_capacity(runs.iter().map(|r| r.rows.len()).sum());
    for run in runs {
        let file = &files[run.input];
        if alone && !may_expire(file, cutoff) {
            return Ok(run.rows.clone().map(|row| (run.input as u32, row as u32)).collect());
        }
        let mut at = run.rows.start;
        let times = file.read_range(Kind::Time, run.rows.clone())?;
        let deltas = file.read_range(Kind::ObservedDelta, run.rows.clone())?;
        let seqs = file.read_range(Kind::Seq, run.rows.clone())?;
        let numbers = file.read_range(Kind::Row, run.rows.clone())?;
        for (((times, deltas), seqs), numbers) in times.iter().zip(&deltas).zip(&seqs).zip(&numbers) {
            let times = times.as_primitive::<TimestampNanosecondType>().values();
            let deltas = deltas.as_primitive::<Int64Type>().values();
            let seqs = seqs.as_primitive::<UInt64Type>().values();
            let numbers = numbers.as_primitive::<Int32Type>().values();
            for row in 0..times.len() {
                if times[row].saturating_add(deltas[row].max(0)) >= cutoff {
                    rows.push(Row { key: (times[row], seqs[row], numbers[row]), at: (run.input as u32, at as u32) });
                }
                at += 1;
            }
        }
    }
    // Made of sorted runs: the stable sort merges them.
    rows.sort_by_key(|row| row.key);
    Ok(rows.into_iter().map(|row| row.at).collect())
}

/// Whether the file may have rows older than the cut-off, by event time (observed times are mostly later).
fn may_expire(file: &OpenFile, cutoff: i64) -> bool {
    file.meta.file.time_min < cutoff
}

/// One output row group.
struct MergeGroup<'a> {
    files: &'a [Arc<OpenFile>],
    /// Range of rows of each input.
    ranges: Vec<Range<usize>>,
    /// Output row → place in the ranges laid end to end.
    places: UInt32Array,
    body: Option<BodyColumns>,
}

impl<'a> MergeGroup<'a> {
    fn new(files: &'a [Arc<OpenFile>], order: Vec<(u32, u32)>) -> Self {
        let mut ranges: Vec<Range<usize>> = vec![0..0; files.len()];
        for (input, row) in &order {
            let range = &mut ranges[*input as usize];
            let row = *row as usize;
            *range = if range.start >= range.end { row..row + 1 } else { range.start.min(row)..range.end.max(row + 1) };
        }
        let mut bases = Vec::with_capacity(ranges.len());
        let mut base = 0;
        for range in &ranges {
            bases.push(base);
            base += range.len();
        }
        let place = |(input, row): &(u32, u32)| (bases[*input as usize] + *row as usize - ranges[*input as usize].start) as u32;
        let places = UInt32Array::from_iter_values(order.iter().map(place));
        Self { files, ranges, places, body: None }
    }

    /// A column of all ranges, end to end, in pieces.
    fn pieces(&self, kind: Kind, data_type: &DataType) -> Result<Vec<ArrayRef>, StorageError> {
        let mut pieces = Vec::new();
        for (file, range) in self.files.iter().zip(&self.ranges).filter(|(_, range)| !range.is_empty()) {
            match file.column(kind) {
                Some(_) => {
                    for piece in file.read_range(kind, range.clone())? {
                        pieces.push(conform(piece, data_type)?);
                    }
                }
                None => pieces.push(new_null_array(data_type, range.len())),
            }
        }
        Ok(pieces)
    }

    fn gathered(&self, kind: Kind, data_type: &DataType) -> Result<ArrayRef, StorageError> {
        let pieces = self.pieces(kind, data_type)?;
        let parts: Vec<&dyn Array> = pieces.iter().map(|a| &**a).collect();
        let all = concat(&parts).map_err(format_error)?;
        drop(pieces);
        take(&all, &self.places, None).map_err(format_error)
    }

    /// Messages keep their templates; raw ones are split again, with more company than before.
    fn bodies(&self) -> Result<BodyColumns, StorageError> {
        let dictionary_type = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let templates = self.pieces(Kind::Template, &dictionary_type)?;
        let vars = self.pieces(Kind::Vars, &DataType::Utf8)?;
        let hex = self.pieces(Kind::Hex, &DataType::Binary)?;
        let uuid = self.pieces(Kind::Uuid, &DataType::Binary)?;
        let tails = self.pieces(Kind::Tail, &DataType::Utf8)?;
        let mut piece_of: Vec<usize> = Vec::with_capacity(templates.len());
        let mut base = 0;
        for piece in &templates {
            piece_of.push(base);
            base += piece.len();
        }
        let mut bodies = Bodies::new(self.places.len());
        // Dictionary value → template of the output, for each piece.
        let mut known: Vec<HashMap<i32, u32>> = vec![HashMap::new(); templates.len()];
        let mut text = Vec::new();
        for place in self.places.values() {
            let place = *place as usize;
            let piece = piece_of.partition_point(|start| *start <= place) - 1;
            let row = place - piece_of[piece];
            let string = |array: &ArrayRef| -> Range<usize> {
                let offsets = array.as_string::<i32>().value_offsets();
                if array.is_valid(row) { offsets[row] as usize..offsets[row + 1] as usize } else { 0..0 }
            };
            let binary = |array: &ArrayRef| -> Range<usize> {
                let offsets = array.as_binary::<i32>().value_offsets();
                if array.is_valid(row) { offsets[row] as usize..offsets[row + 1] as usize } else { 0..0 }
            };
            let tail = &tails[piece].as_string::<i32>().value_data()[string(&tails[piece])];
            if !templates[piece].is_valid(row) {
                bodies.push_body(tail);
                continue;
            }
            let Some((keys, values, _)) = dictionary(&templates[piece]) else { continue };
            let vars = &vars[piece].as_string::<i32>().value_data()[string(&vars[piece])];
            let hex = &hex[piece].as_binary::<i32>().value_data()[binary(&hex[piece])];
            let uuid = &uuid[piece].as_binary::<i32>().value_data()[binary(&uuid[piece])];
            let id = *known[piece].entry(keys[row]).or_insert_with(|| bodies.intern(values.value(keys[row] as usize).as_bytes()));
            if Bodies::is_raw(id) {
                text.clear();
                super::template::rebuild(values.value(keys[row] as usize).as_bytes(), vars, hex, uuid, tail, &mut text);
                bodies.push_body(&text);
            } else {
                bodies.push_parts(id, vars, hex, uuid, tail);
            }
        }
        Ok(bodies.finish())
    }

    fn body(&mut self) -> Result<&BodyColumns, StorageError> {
        if self.body.is_none() {
            self.body = Some(self.bodies()?);
        }
        self.body.as_ref().ok_or_else(|| StorageError::Format { what: "cannot merge log files", reason: "no messages".to_owned() })
    }
}

fn format_error(error: arrow::error::ArrowError) -> StorageError {
    StorageError::Format { what: "cannot merge log files", reason: error.to_string() }
}

/// A piece as the output's type: inputs may differ in whether a promoted text repeats.
fn conform(piece: ArrayRef, data_type: &DataType) -> Result<ArrayRef, StorageError> {
    match (piece.data_type(), data_type) {
        (from, to) if from == to => Ok(piece),
        (DataType::Map(..), DataType::Map(..)) => with_type(piece, data_type),
        _ => arrow::compute::cast(&piece, data_type).map_err(format_error),
    }
}

impl GroupSource for MergeGroup<'_> {
    fn rows(&self) -> usize {
        self.places.len()
    }

    fn array(&mut self, column: &FileColumn) -> Result<ArrayRef, StorageError> {
        match column.kind {
            Kind::Template => Ok(Arc::clone(&self.body()?.template)),
            Kind::Vars => Ok(Arc::clone(&self.body()?.vars)),
            Kind::Hex => Ok(Arc::clone(&self.body()?.hex)),
            Kind::Uuid => Ok(Arc::clone(&self.body()?.uuid)),
            Kind::Tail => Ok(Arc::clone(&self.body()?.tail)),
            kind => {
                if kind == Kind::Attributes {
                    self.body = None;
                }
                self.gathered(kind, column.field.data_type())
            }
        }
    }
}
