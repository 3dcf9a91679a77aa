//! Files of a table become fewer and larger.

use std::collections::BTreeMap;
use std::sync::Arc;

use skopos_model::{Exemplar, SeriesId};

use crate::blob::Blobs;
use crate::error::StorageError;
use crate::table::{FileMeta, NewFile};

use super::files::{Origin, nanos};
use super::order::{By, sort_by_rank};
use super::plan::{Size, plan};
use super::reader::{RunCursor, SamplesFile};
use super::samples::Samples;
use super::writer::SamplesWriter;
use super::{EXEMPLARS, HISTOGRAMS, METADATA, MetricsTable, SAMPLES, SERIES, STARTS, histograms, rollups, small};

/// The files of one base table to merge next.
pub(super) fn plan_table(table: &MetricsTable, name: &str, full: bool) -> Option<Vec<Arc<FileMeta>>> {
    let files = table.files_of(name);
    let size = |f: &Arc<FileMeta>| match name {
        SAMPLES => {
            let bulk = |i: usize| f.file.extra.get("bulk").and_then(|b| b.get(i)).and_then(serde_json::Value::as_i64).map(nanos);
            let (time_min, time_max) = (bulk(0).unwrap_or(f.file.time_min), bulk(1).unwrap_or(f.file.time_max));
            Size { rows: f.file.rows, time_min, time_max }
        }
        EXEMPLARS | HISTOGRAMS => Size { rows: f.file.rows, time_min: f.file.time_min, time_max: f.file.time_max },
        // These hold for all times.
        _ => Size { rows: f.file.rows, time_min: 0, time_max: 0 },
    };
    let sizes: Vec<Size> = files.iter().map(size).collect();
    plan(&sizes, full).map(|range| files[range].to_vec())
}

/// First millisecond that is not older than `cutoff` (Unix nanoseconds).
fn first_kept(cutoff: i64) -> i64 {
    if cutoff == i64::MIN {
        return i64::MIN;
    }
    cutoff.div_euclid(1_000_000) + i64::from(cutoff.rem_euclid(1_000_000) > 0)
}

/// See [`crate::table::Table::merge`]: `inputs` are of one base table, and the rollups of samples among them.
pub(super) fn run(table: &MetricsTable, inputs: &[Arc<FileMeta>], cutoff: i64, blobs: &dyn Blobs) -> Result<Vec<NewFile>, StorageError> {
    // What is derived from samples is derived from the merged ones anew.
    let mut inputs: Vec<_> = inputs.iter().filter(|f| f.file.table != rollups::ROLLUPS).map(Arc::clone).collect();
    inputs.sort_by_key(|f| (f.file.seq_min, f.id));
    let Some(first) = inputs.first() else { return Ok(Vec::new()) };
    let origin = Origin {
        table: first.file.table,
        level: inputs.iter().map(|f| f.file.level).max().unwrap_or(0).saturating_add(1),
        seq_min: first.file.seq_min,
        seq_max: inputs.iter().map(|f| f.file.seq_max).max().unwrap_or(0),
    };
    let file = match origin.table {
        SAMPLES => return samples(table, &inputs, cutoff, blobs, origin),
        SERIES => series(table, &inputs, blobs, origin)?,
        EXEMPLARS => exemplars(&inputs, cutoff, blobs, origin)?,
        METADATA => metadata(table, &inputs, blobs, origin)?,
        HISTOGRAMS => histograms::merge(table, &inputs, first_kept(cutoff), blobs, origin)?,
        STARTS => starts(table, &inputs, cutoff, blobs, origin)?,
        other => {
            return Err(StorageError::Format { what: "cannot merge", reason: format!("{other} is no table of metrics") });
        }
    };
    Ok(file.into_iter().collect())
}

/// A damaged input is remembered, so that the next plan goes without it.
fn checked<T>(file: &FileMeta, result: Result<T, StorageError>) -> Result<T, StorageError> {
    result.inspect_err(|error| {
        if let StorageError::Damaged { path, reason } = error {
            let copy = StorageError::Damaged { path: path.clone(), reason: reason.clone() };
            // Only other kinds of errors come back from it.
            let _ = file.set_aside(copy);
        }
    })
}

fn samples(table: &MetricsTable, inputs: &[Arc<FileMeta>], cutoff: i64, blobs: &dyn Blobs, origin: Origin) -> Result<Vec<NewFile>, StorageError> {
    let start = first_kept(cutoff);
    let mut open: Vec<Arc<SamplesFile>> = Vec::with_capacity(inputs.len());
    for meta in inputs {
        open.push(checked(meta, table.open_samples(meta))?);
    }
    let mut ids: Vec<u32> = open.iter().flat_map(|f| f.index.runs.iter().map(|r| r.series)).collect();
    ids.sort_unstable();
    ids.dedup();
    let ranks = table.ranks(By::File);
    sort_by_rank(&mut ids, &ranks);
    let rank = |id: u32| (ranks.get(id as usize).copied().unwrap_or(u32::MAX), id);
    let cursor = |file: Arc<SamplesFile>| {
        let runs = &file.index.runs;
        let mut wanted: Vec<u32> = (0..runs.len() as u32).filter(|i| runs[*i as usize].last >= start).collect();
        wanted.sort_by_key(|i| rank(runs[*i as usize].series));
        RunCursor::new(file, wanted)
    };
    let mut cursors: Vec<RunCursor> = open.into_iter().map(cursor).collect();
    let mut writer = SamplesWriter::create(blobs, origin)?;
    let mut rollup = rollups::begin(table, inputs, ids.len(), blobs, origin)?;
    let mut merged = Samples::default();
    for id in ids {
        merged.clear();
        for (cursor, meta) in cursors.iter_mut().zip(inputs) {
            if cursor.peek().is_some_and(|run| run.series == id) {
                checked(meta, cursor.read(start, i64::MAX, &mut merged))?;
            }
        }
        writer.push(id, &merged.times, &merged.values)?;
        if let Some(rollup) = &mut rollup {
            rollup.push(id, &merged.times, &merged.values)?;
        }
    }
    if writer.rows() == 0 {
        return Ok(Vec::new());
    }
    let samples = writer.finish()?;
    let Some(rollup) = rollup else { return Ok(vec![samples]) };
    match rollup.finish(&samples) {
        Ok(rollup) => Ok(vec![samples, rollup]),
        Err(error) => {
            // A full disk is tried again: half of what was written must not pile up.
            blobs.delete(&samples.path)?;
            Err(error)
        }
    }
}

fn exemplars(inputs: &[Arc<FileMeta>], cutoff: i64, blobs: &dyn Blobs, origin: Origin) -> Result<Option<NewFile>, StorageError> {
    let start = first_kept(cutoff);
    let mut rows: Vec<(SeriesId, Exemplar)> = Vec::new();
    for meta in inputs {
        rows.extend(checked(meta, small::exemplars::read(meta, blobs))?.into_iter().filter(|(_, e)| e.timestamp >= start));
    }
    rows.sort_by_key(|(id, e)| (*id, e.timestamp));
    rows.dedup();
    if rows.is_empty() { Ok(None) } else { small::exemplars::write(blobs, origin, &rows).map(Some) }
}

fn metadata(table: &MetricsTable, inputs: &[Arc<FileMeta>], blobs: &dyn Blobs, origin: Origin) -> Result<Option<NewFile>, StorageError> {
    let mut newest = BTreeMap::new();
    for meta in inputs {
        for m in checked(meta, small::metadata::read(meta, blobs))? {
            newest.insert(m.family.clone(), m);
        }
    }
    let rows: Vec<_> = newest.into_values().collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let file = small::metadata::write(blobs, origin, &rows)?;
    table.written.lock().insert(file.path.clone(), Vec::new());
    Ok(Some(file))
}

/// A start holds as long as its series does: of what is older than the cutoff the last stays.
fn starts(table: &MetricsTable, inputs: &[Arc<FileMeta>], cutoff: i64, blobs: &dyn Blobs, origin: Origin) -> Result<Option<NewFile>, StorageError> {
    let mut rows = Vec::new();
    for meta in inputs {
        rows.extend(checked(meta, small::starts::read(meta, blobs))?);
    }
    let rows = super::starts::compact(rows, first_kept(cutoff));
    if rows.is_empty() {
        return Ok(None);
    }
    let file = small::starts::write(blobs, origin, &rows)?;
    table.written.lock().insert(file.path.clone(), Vec::new());
    Ok(Some(file))
}

/// Series stay as long as the table: their labels come from the registry, which has read them all.
fn series(table: &MetricsTable, inputs: &[Arc<FileMeta>], blobs: &dyn Blobs, origin: Origin) -> Result<Option<NewFile>, StorageError> {
    let mut ids = Vec::new();
    for meta in inputs {
        checked(meta, small::series::read(meta, blobs, |id, _| ids.push(id)))?;
    }
    ids.sort_unstable();
    ids.dedup();
    let rows = {
        let registry = table.registry.read();
        ids.retain(|id| registry.contains(*id));
        small::series::rows(&registry, &ids)?
    };
    if ids.is_empty() {
        return Ok(None);
    }
    let file = small::series::write(blobs, origin, &ids, &rows)?;
    table.written.lock().insert(file.path.clone(), ids);
    Ok(Some(file))
}
