//! Counts over time and by value.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampNanosecondType;
use skopos_model::{AttrType, Severity};
use skopos_query::error::QueryError;
use skopos_query::filter::{Field, Filter, Row, Test};
use skopos_query::logs::{Facet, Histogram};
use skopos_query::{QueryContext, TimeRange};

use super::LogsTable;
use super::index::{LEVEL_AT, MINUTE, level_index};
use super::open::{Block, OpenFile, dictionary};
use super::plan::{Plan, field_kinds};
use super::record::{BlockRecord, Filtered, HeadRecord, Record};
use super::schema::Kind;
use super::search::head_takes;
use super::sections::LEVELS;
use crate::error::StorageError;
use crate::table::FileMeta;
use std::sync::Arc;

/// Most buckets of a histogram.
const BUCKETS_MAX: i64 = 100_000;
/// Most values of a field that are told apart; further ones are not counted.
const VALUES_MAX: usize = 10_000;
/// Most fields chosen when none are named.
const FIELDS_MAX: usize = 12;
/// A field with more values than this says little as a choice.
const CHOICE_VALUES_MAX: u64 = 1_000;

/// What a level is called in a histogram.
fn level_name(level: Severity) -> &'static str {
    if level == Severity::Unspecified { "UNSPECIFIED" } else { level.as_str() }
}

struct Buckets {
    start: i64,
    step: i64,
    counts: [Vec<u64>; LEVELS],
}

impl Buckets {
    fn add(&mut self, time: i64, level: usize, n: u64) {
        let bucket = (time.div_euclid(self.step) - self.start.div_euclid(self.step)) as usize;
        if let Some(count) = self.counts[level].get_mut(bucket) {
            *count += n;
        }
    }
}

impl LogsTable {
    pub(super) fn count_by_level(&self, range: TimeRange, filter: &Filter, step: i64, ctx: &QueryContext) -> Result<Histogram, StorageError> {
        if step <= 0 {
            return Err(QueryError::Execution(format!("a histogram's step must be positive, not {step} ns")).into());
        }
        let snapshot = self.head.snapshot();
        // Only as wide as there is data, so that "all of time" has a finite number of buckets.
        let head_times = snapshot.batches.iter().flat_map(|b| b.batch.time.iter().copied());
        let times = head_times.chain(snapshot.files.iter().flat_map(|f| [f.file.time_min, f.file.time_max]));
        let (min, max) = times.fold((i64::MAX, i64::MIN), |(min, max), t| (min.min(t), max.max(t)));
        let unbounded = TimeRange { start: range.start.max(min), end: range.end.min(max.saturating_add(1)) };
        let range = TimeRange {
            start: if range.start == i64::MIN { unbounded.start } else { range.start },
            end: if range.end == i64::MAX { unbounded.end } else { range.end },
        };
        if range.start >= range.end {
            return Ok(Histogram { start: range.start, step, series: Vec::new() });
        }
        let start = range.start.div_euclid(step) * step;
        let buckets = (range.end - 1).div_euclid(step) - start.div_euclid(step) + 1;
        if buckets > BUCKETS_MAX {
            let message = format!("{buckets} buckets asked for, at most {BUCKETS_MAX} are given: take a longer step or a shorter range");
            return Err(QueryError::Limit { limit: "histogram_buckets_max", message }.into());
        }
        let mut found = Buckets { start, step, counts: std::array::from_fn(|_| vec![0; buckets as usize]) };
        let mut plan = Plan::new(filter, range)?;
        for batch in &snapshot.batches {
            ctx.check()?;
            ctx.stats.add_rows(batch.rows as u64);
            for row in 0..batch.rows {
                let record = HeadRecord { batch: &batch.batch, seq: batch.seq, row };
                if head_takes(&plan, &record) && plan.compiled.matches(&Filtered(&record)) {
                    found.add(record.key().time, usize::from(level_index(record.level())), 1);
                }
            }
        }
        for meta in &snapshot.files {
            self.count_file(&mut plan, meta, &mut found, ctx)?;
        }
        let series = LEVEL_AT.iter().zip(found.counts).filter(|(_, counts)| counts.iter().any(|n| *n > 0));
        Ok(Histogram { start, step, series: series.map(|(level, counts)| (level_name(*level).to_owned(), counts)).collect() })
    }

    /// Counts a file's rows: whole minutes from its directory where only services and levels decide, the rest by scan.
    fn count_file(&self, plan: &mut Plan, meta: &Arc<FileMeta>, found: &mut Buckets, ctx: &QueryContext) -> Result<(), StorageError> {
        let range = plan.range;
        if found.step % MINUTE != 0 || plan.only_levels().is_none() || !range.overlaps(meta.file.time_min, meta.file.time_max) {
            return self.count_rows(plan, meta, found, ctx);
        }
        let Some(file) = self.open(meta)? else { return Ok(()) };
        ctx.stats.add_files(1, 0);
        // A file inside the range counts as if the range had no ends.
        let first = if range.start <= meta.file.time_min { meta.file.time_min.div_euclid(MINUTE) } else { -(-range.start).div_euclid(MINUTE) };
        let last = if range.end > meta.file.time_max { meta.file.time_max.div_euclid(MINUTE) + 1 } else { range.end.div_euclid(MINUTE) };
        if first >= last {
            return self.count_rows(plan, meta, found, ctx);
        }
        {
            let tests: Vec<&Test> = plan.only_levels().unwrap_or_default();
            let levels: Vec<bool> = LEVEL_AT.iter().map(|level| tests.iter().all(|test| test.matches_level(*level))).collect();
            for (service, counts) in file.directory.services.iter().zip(&file.directory.counts) {
                if !plan.takes_service(service) {
                    continue;
                }
                for (minute, of_minute) in counts.range(first..last) {
                    for (level, n) in of_minute.iter().enumerate().filter(|(level, n)| levels[*level] && **n > 0) {
                        found.add((minute * MINUTE).max(range.start), level, u64::from(*n));
                    }
                }
            }
        }
        for edge in
            [TimeRange { start: range.start, end: first.saturating_mul(MINUTE) }, TimeRange { start: last.saturating_mul(MINUTE), end: range.end }]
        {
            if edge.start < edge.end && edge.overlaps(meta.file.time_min, meta.file.time_max) {
                plan.range = edge;
                self.count_rows(plan, meta, found, ctx)?;
                plan.range = range;
            }
        }
        Ok(())
    }

    fn count_rows(&self, plan: &mut Plan, meta: &Arc<FileMeta>, found: &mut Buckets, ctx: &QueryContext) -> Result<(), StorageError> {
        let extra = |_: &OpenFile| vec![Kind::Time, Kind::SeverityNumber, Kind::SeverityText];
        let mut visit = |block: &Block, rows: &[u32]| {
            if let Some(times) = block.get(Kind::Time).and_then(|t| t.as_primitive_opt::<TimestampNanosecondType>()) {
                for row in rows.iter().map(|r| *r as usize) {
                    let level = BlockRecord::new(block, row, &self.resources).level();
                    found.add(times.value(row), usize::from(level_index(level)), 1);
                }
            }
            Ok(true)
        };
        self.scan_file(plan, meta, &extra, ctx, &mut visit).map(|_| ())
    }

    pub(super) fn count_values(
        &self,
        range: TimeRange,
        filter: &Filter,
        fields: &[String],
        values_max: usize,
        ctx: &QueryContext,
    ) -> Result<Vec<Facet>, StorageError> {
        let snapshot = self.head.snapshot();
        let chosen: Vec<Field> = if fields.is_empty() { self.choice() } else { fields.iter().map(|name| Field::from_name(name)).collect() };
        let mut counts: Vec<Values> = chosen.iter().map(|_| Values::default()).collect();
        let mut plan = Plan::new(filter, range)?;
        for batch in &snapshot.batches {
            ctx.check()?;
            ctx.stats.add_rows(batch.rows as u64);
            for row in 0..batch.rows {
                let record = HeadRecord { batch: &batch.batch, seq: batch.seq, row };
                if head_takes(&plan, &record) && plan.compiled.matches(&Filtered(&record)) {
                    for (field, values) in chosen.iter().zip(&mut counts) {
                        count_value(field, &record, values);
                    }
                }
            }
        }
        let extra = |file: &OpenFile| {
            let mut kinds = BTreeSet::new();
            chosen.iter().for_each(|field| field_kinds(field, file, &mut kinds));
            kinds.into_iter().collect()
        };
        for meta in &snapshot.files {
            let mut visit = |block: &Block, rows: &[u32]| {
                for (field, values) in chosen.iter().zip(&mut counts) {
                    self.count_block(field, block, rows, values);
                }
                Ok(true)
            };
            self.scan_file(&mut plan, meta, &extra, ctx, &mut visit)?;
        }
        let named = !fields.is_empty();
        let facets = chosen.iter().zip(counts).filter(|(_, values)| named || (!values.0.is_empty() && values.0.len() as u64 <= CHOICE_VALUES_MAX));
        let facets = facets.map(|(field, values)| {
            let distinct = values.0.len() as u64;
            let mut all: Vec<(String, u64)> = values.0.into_iter().collect();
            all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            all.truncate(values_max);
            Facet { field: field.to_string(), values: all, distinct }
        });
        Ok(facets.take(if named { usize::MAX } else { FIELDS_MAX }).collect())
    }

    /// The fields that tell most: who, how bad, where, then attributes in order of their promotion.
    fn choice(&self) -> Vec<Field> {
        let fixed = [Field::Service, Field::Level, Field::Environment, Field::Scope, Field::Name];
        let attributes = self
            .schema
            .columns()
            .into_iter()
            .filter_map(|c| c.attribute)
            .filter(|(_, ty)| matches!(ty, AttrType::Str | AttrType::Int | AttrType::Bool));
        let mut seen = BTreeSet::new();
        let attributes = attributes.map(|(key, _)| Field::Attribute(key)).filter(|field| seen.insert(field.clone()));
        fixed.into_iter().chain(attributes).take(FIELDS_MAX * 3).collect()
    }

    fn count_block(&self, field: &Field, block: &Block, rows: &[u32], values: &mut Values) {
        let repeating = match field {
            Field::Service => block.get(Kind::Service),
            Field::Scope => block.get(Kind::ScopeName),
            Field::Name => block.get(Kind::EventName),
            Field::Attribute(key) => {
                let column = block.file.columns.iter().find(|c| c.column.attribute.as_ref().is_some_and(|(k, ty)| k == key && *ty == AttrType::Str));
                column.and_then(|c| block.get(c.kind))
            }
            _ => None,
        };
        let mut slow: Vec<u32> = Vec::new();
        match repeating.and_then(|array| Some((array, dictionary(array)?))) {
            Some((array, (keys, texts, _))) => {
                let mut by_key = vec![0u64; texts.len()];
                for row in rows {
                    if array.is_valid(*row as usize) { by_key[keys[*row as usize] as usize] += 1 } else { slow.push(*row) }
                }
                for (key, n) in by_key.iter().enumerate().filter(|(_, n)| **n > 0) {
                    values.add(texts.value(key), *n);
                }
            }
            None => slow.extend_from_slice(rows),
        }
        for row in slow {
            count_value(field, &BlockRecord::new(block, row as usize, &self.resources), values);
        }
    }
}

/// Counts by value.
#[derive(Debug, Default)]
struct Values(HashMap<String, u64>);

impl Values {
    fn add(&mut self, value: &str, n: u64) {
        if let Some(count) = self.0.get_mut(value) {
            *count += n;
        } else if self.0.len() < VALUES_MAX {
            self.0.insert(value.to_owned(), n);
        }
    }
}

fn count_value<R: Record>(field: &Field, record: &R, values: &mut Values) {
    if *field == Field::Level {
        values.add(level_name(record.level()), 1);
    } else if let Some(value) = Filtered(record).get(field) {
        values.add(&value.to_text(), 1);
    }
}
