//! Samples and series as SQL reads them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, RecordBatchOptions, StringBuilder, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use skopos_model::labels::METRIC_NAME;
use skopos_query::filter::{Compare, Field, Filter, Value};
use skopos_query::metrics::Matcher;
use skopos_query::{QueryContext, TimeRange};

use crate::error::StorageError;
use crate::scan::{BATCH_ROWS, Scan, map_type};

use super::MetricsTable;
use super::files::arrow_error;
use super::small::MapRows;

const WHAT: &str = "cannot build a batch of samples";

/// The public table `samples`: series, time, value.
#[derive(Debug)]
pub(crate) struct SamplesScan(pub(crate) Arc<MetricsTable>);

/// The public table `series`: number, name, other labels.
#[derive(Debug)]
pub(crate) struct SeriesScan(pub(crate) Arc<MetricsTable>);

/// What a filter says about series, as far as it is a conjunction of equalities.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    ids: Option<Vec<u32>>,
    names: Option<Vec<String>>,
}

impl Wanted {
    fn of(filter: &Filter) -> Self {
        let mut wanted = Self::default();
        wanted.read(filter);
        wanted
    }

    fn read(&mut self, filter: &Filter) {
        match filter {
            Filter::And(all) => all.iter().for_each(|f| self.read(f)),
            Filter::Field(Field::Attribute(key), Compare::Equal(values)) if key == "series_id" => {
                let ids: Option<Vec<u32>> = values.iter().map(series_number).collect();
                // A value that is no number of a series is left to SQL.
                self.ids = self.ids.take().or(ids);
            }
            Filter::Field(Field::Attribute(key), Compare::Equal(values)) if key == "metric_name" => {
                let names = values.iter().map(|v| if let Value::Text(t) = v { Some(t.clone()) } else { None });
                self.names = self.names.take().or(names.collect());
            }
            _ => {}
        }
    }
}

fn series_number(value: &Value) -> Option<u32> {
    match value {
        Value::Number(n) if n.fract() == 0.0 && (0.0..f64::from(u32::MAX)).contains(n) => Some(*n as u32),
        Value::Text(t) => t.parse().ok(),
        _ => None,
    }
}

impl MetricsTable {
    pub(super) fn series_for(&self, filter: &Filter, ctx: &QueryContext) -> Result<Vec<u32>, StorageError> {
        let registry = self.registry.read();
        let Wanted { ids, names } = Wanted::of(filter);
        let mut found = match names {
            Some(names) => {
                let mut found = Vec::new();
                for name in names {
                    found.extend(registry.matching(&[Matcher::equal(METRIC_NAME, name)], ctx)?);
                }
                found.sort_unstable();
                found.dedup();
                found
            }
            None => registry.matching(&[], ctx)?,
        };
        if let Some(ids) = ids {
            found.retain(|id| ids.contains(id));
        }
        Ok(found)
    }
}

/// Milliseconds inside a range of nanoseconds, as a closed range; `None` when there is none.
pub(super) fn millis(range: TimeRange) -> Option<(i64, i64)> {
    let up = |n: i64| n.div_euclid(1_000_000) + i64::from(n.rem_euclid(1_000_000) > 0);
    let start = if range.start == i64::MIN { i64::MIN } else { up(range.start) };
    // The end is outside; all of time has no end.
    let end = if range.end == i64::MAX { i64::MAX } else { up(range.end).saturating_sub(1) };
    (start <= end).then_some((start, end))
}

fn batch(
    schema: &Schema,
    columns: &[&str],
    rows: usize,
    array: impl Fn(&str) -> Result<ArrayRef, StorageError>,
) -> Result<RecordBatch, StorageError> {
    let mut fields = Vec::with_capacity(columns.len());
    let mut arrays = Vec::with_capacity(columns.len());
    for name in columns {
        fields.push(schema.field_with_name(name).map_err(arrow_error(WHAT))?.clone());
        arrays.push(array(name)?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(arrow_error(WHAT))
}

fn unknown(name: &str) -> StorageError {
    StorageError::Format { what: WHAT, reason: format!("there is no column {name:?}") }
}

/// Rows of one batch being filled.
#[derive(Default)]
struct Rows {
    series: Vec<i32>,
    times: Vec<i64>,
    values: Vec<f64>,
}

impl Rows {
    fn take(&mut self, schema: &Schema, columns: &[&str]) -> Result<RecordBatch, StorageError> {
        let Self { series, times, values } = std::mem::take(self);
        batch(schema, columns, times.len(), |name| {
            Ok(match name {
                "series_id" => Arc::new(Int32Array::from(series.clone())),
                "time" => Arc::new(TimestampMillisecondArray::from(times.clone())),
                "value" => Arc::new(Float64Array::from(values.clone())),
                other => return Err(unknown(other)),
            })
        })
    }
}

impl Scan for SamplesScan {
    fn public_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![
            ArrowField::new("series_id", DataType::Int32, false),
            ArrowField::new("time", DataType::Timestamp(TimeUnit::Millisecond, None), false),
            ArrowField::new("value", DataType::Float64, false),
        ]))
    }

    fn scan(
        &self,
        columns: &[&str],
        filter: &Filter,
        range: TimeRange,
        ctx: &QueryContext,
        emit: &mut dyn FnMut(RecordBatch) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        let Some(range) = millis(range) else { return Ok(()) };
        let schema = self.public_schema();
        let ids = self.0.series_for(filter, ctx)?;
        let mut rows = Rows::default();
        let mut more = true;
        self.0.gather(ids, range, ctx, |id, samples| {
            super::select::count(samples.times.len(), ctx)?;
            let mut at = 0;
            while more && at < samples.times.len() {
                let end = samples.times.len().min(at + BATCH_ROWS - rows.times.len());
                rows.series.resize(rows.series.len() + end - at, id as i32);
                rows.times.extend_from_slice(&samples.times[at..end]);
                rows.values.extend_from_slice(&samples.values[at..end]);
                at = end;
                if rows.times.len() == BATCH_ROWS {
                    more = emit(rows.take(&schema, columns)?)?;
                }
            }
            Ok(more)
        })?;
        if more && !rows.times.is_empty() {
            emit(rows.take(&schema, columns)?)?;
        }
        Ok(())
    }
}

impl Scan for SeriesScan {
    fn public_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![
            ArrowField::new("series_id", DataType::Int32, false),
            ArrowField::new("metric_name", DataType::Utf8, false),
            ArrowField::new("labels", map_type(), false),
        ]))
    }

    /// Series have no time of their own: the range is not looked at.
    fn scan(
        &self,
        columns: &[&str],
        filter: &Filter,
        _range: TimeRange,
        ctx: &QueryContext,
        emit: &mut dyn FnMut(RecordBatch) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        let schema = self.public_schema();
        for part in self.0.series_for(filter, ctx)?.chunks(BATCH_ROWS) {
            ctx.check()?;
            ctx.stats.add_series(part.len() as u64);
            let made = {
                let registry = self.0.registry.read();
                batch(&schema, columns, part.len(), |name| {
                    Ok(match name {
                        "series_id" => Arc::new(Int32Array::from_iter_values(part.iter().map(|id| *id as i32))),
                        "metric_name" => {
                            let mut names = StringBuilder::new();
                            part.iter().for_each(|id| names.append_value(registry.code_of(METRIC_NAME, *id).1));
                            Arc::new(names.finish())
                        }
                        "labels" => {
                            let mut labels = MapRows::default();
                            part.iter().for_each(|id| labels.push(registry.pairs(*id).filter(|(name, _)| *name != METRIC_NAME)));
                            Arc::new(labels.finish(&map_type())?)
                        }
                        other => return Err(unknown(other)),
                    })
                })?
            };
            if !emit(made)? {
                return Ok(());
            }
        }
        Ok(())
    }
}
