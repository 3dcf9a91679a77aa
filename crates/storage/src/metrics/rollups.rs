//! Rollups: what there is to know of each series' samples in each hour, for queries over weeks.
//!
//! A merge that writes a long samples file writes a rollup file beside it, in the same transaction; it names that file and
//! leaves with it: at the next merge, at the end of the retention, with whatever takes rows away. So a rollup never
//! tells of samples that are gone, and an hour that two files share has rows of both.
//!
//! A row has the first and last sample and the one before it, count, sum, least and greatest value, how often the value
//! changed and went down; where a counter was restarted the hour has a row for each stretch. `rate` over a window of whole
//! hours is computed from these samples by what computes it from all: the result is the same, bit for bit. Functions for
//! which that holds are those of [`skopos_query::windows::Need`].
//!
//! [`read`] takes rows in place of samples where windows begin and end at full hours; the samples themselves elsewhere,
//! where no rollup is, and in hours in which the samples of different files are not one after the other ([`untangle`]).

mod entries;
mod file;
mod read;
mod row;
mod untangle;
mod writer;

use std::sync::Arc;

use crate::blob::Blobs;
use crate::error::StorageError;
use crate::table::{FileMeta, Schema, View};

use super::files::Origin;
use super::{MetricsTable, SAMPLES};

use row::BUCKET;
pub(super) use writer::RollupWriter;

/// Base table.
pub(super) const ROLLUPS: &str = "rollups_data";

/// Key in a file's facts: the path of the samples file it is derived from.
const OF: &str = "of";

/// A rollup has to be smaller by this factor than the samples, in rows, to be worth its bytes.
const FACTOR: u64 = 8;

/// Hours a file has to span to have a rollup: shorter ones are merged again soon.
const HOURS_MIN: i64 = 2;

/// The base table's columns.
pub(super) fn schema() -> Schema {
    let columns = writer::COLUMNS.map(|(name, ty, _)| (name, ty));
    Schema::new(ROLLUPS, 0, &columns)
}

/// The public view: times as times, values where a column leaves them out.
pub(super) fn view() -> View {
    let sql = "SELECT series_id, time, count, nans, resets, changes, \
               time - to_milliseconds(first_ms) AS first_time, first_value, \
               time - to_milliseconds(last_ms) AS last_time, last_value, \
               time - to_milliseconds(before_ms) AS before_time, before_value, \
               time - to_milliseconds(stale_ms) AS stale_time, \
               coalesce(min_value, first_value) AS min_value, coalesce(max_value, last_value) AS max_value, \
               sum + coalesce(compensation, 0) AS sum \
               FROM {DUCKLAKE_CATALOG}.rollups_data";
    let columns = [
        "series_id",
        "time",
        "count",
        "nans",
        "resets",
        "changes",
        "first_time",
        "first_value",
        "last_time",
        "last_value",
        "before_time",
        "before_value",
        "stale_time",
        "min_value",
        "max_value",
        "sum",
    ];
    View { name: "rollups", sql: sql.to_owned(), columns: columns.map(str::to_owned).to_vec() }
}

/// Oldest and newest time of most rows of a samples file, Unix milliseconds.
fn bulk(file: &FileMeta) -> (i64, i64) {
    let end = |i: usize| file.file.extra.get("bulk").and_then(|b| b.get(i)).and_then(serde_json::Value::as_i64);
    (end(0).unwrap_or(file.file.time_min / 1_000_000), end(1).unwrap_or(file.file.time_max / 1_000_000))
}

/// Whether a file of so many rows and series over these times should have a rollup.
fn is_worth(rows: u64, series: u64, (first, last): (i64, i64)) -> bool {
    let hours = last.saturating_sub(first) / BUCKET;
    hours >= HOURS_MIN && rows >= series.saturating_mul(hours.unsigned_abs() + 1).saturating_mul(FACTOR)
}

/// A rollup for a merge of these files to `series` series, if it should have one. A file that is written anew alone is so
/// for its rollup.
pub(super) fn begin(
    table: &MetricsTable,
    inputs: &[Arc<FileMeta>],
    series: usize,
    blobs: &dyn Blobs,
    origin: Origin,
) -> Result<Option<RollupWriter>, StorageError> {
    let rows = inputs.iter().map(|f| f.file.rows).sum();
    let times = inputs.iter().map(|f| bulk(f)).fold((i64::MAX, i64::MIN), |a, b| (a.0.min(b.0), a.1.max(b.1)));
    if !table.rollups || (inputs.len() > 1 && !is_worth(rows, series as u64, times)) {
        return Ok(None);
    }
    RollupWriter::create(blobs, Origin { table: ROLLUPS, ..origin }).map(Some)
}

/// What a rollup is derived from.
fn origin_of(rollup: &FileMeta) -> Option<&str> {
    rollup.file.extra.get(OF).and_then(serde_json::Value::as_str)
}

/// Adds the rollups of samples files to them: they leave together.
pub(super) fn with_rollups(table: &MetricsTable, mut files: Vec<Arc<FileMeta>>) -> Vec<Arc<FileMeta>> {
    let leave = table.files_of(ROLLUPS).into_iter().filter(|r| origin_of(r).is_some_and(|of| files.iter().any(|f| f.file.path == of)));
    let leave: Vec<_> = leave.collect();
    files.extend(leave);
    files
}

/// A file that should have a rollup and has none, as those from before there were rollups: it is written anew.
/// `full`: also one that will be merged yet.
pub(super) fn missing(table: &MetricsTable, full: bool) -> Option<Vec<Arc<FileMeta>>> {
    if !table.rollups {
        return None;
    }
    let rollups = table.files_of(ROLLUPS);
    let lacks = |f: &Arc<FileMeta>| {
        let series = f.file.extra.get("series").and_then(serde_json::Value::as_u64).unwrap_or(u64::MAX);
        (full || f.file.level > 0) && is_worth(f.file.rows, series, bulk(f)) && !rollups.iter().any(|r| origin_of(r) == Some(&f.file.path))
    };
    table.files_of(SAMPLES).into_iter().find(lacks).map(|file| vec![file])
}
