//! Requests, errors and durations of groups of spans; versions of a service.

use std::collections::HashMap;
use std::sync::Arc;

use skopos_model::{SpanBatch, StatusCode};
use skopos_query::filter::{Compare, Field, Filter, Value, attribute_keys};
use skopos_query::traces::{RedRow, ServiceVersion};
use skopos_query::{QueryContext, QueryError, TimeRange};

use super::access::{Access, Block};
use super::columns::START;
use super::filter::SpanFilter;
use super::quantile::Durations;
use super::read::{OpenFiles, columns_of, read_group};
use crate::error::StorageError;
use crate::head::Snapshot;

/// Quantiles reported.
pub(super) const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];
/// Most groups of one answer.
const GROUPS_MAX: usize = 20_000;
/// Where codes of two fields are paired by a table rather than a map.
const PAIR_TABLE_MAX: usize = 1 << 18;

/// Calls `emit` with every block that has rows the filter takes: for head batches a mask (all rows when `None`),
/// for files batches of just these rows with the columns of `fields` and the start.
pub(super) fn scan(
    snapshot: &Snapshot<SpanBatch>,
    files: &OpenFiles,
    filter: &Arc<SpanFilter>,
    fields: &[Field],
    ctx: &QueryContext,
    emit: &mut dyn FnMut(Block<'_>, Option<&[bool]>) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    if filter.range.start >= filter.range.end {
        return Ok(());
    }
    for meta in &snapshot.files {
        ctx.check()?;
        if !filter.range.overlaps(meta.file.time_min, meta.file.time_max) {
            ctx.stats.add_files(0, 1);
            continue;
        }
        let Some(file) = files.get(meta) else { continue };
        ctx.stats.add_files(1, 0);
        files.guard(&file, || {
            let mut output = columns_of(&file, fields, false);
            output.push(START.to_owned());
            for group in 0..file.groups() {
                read_group(&file, group, filter, &output, ctx, &mut |batch| {
                    emit(Block::File(batch), None)?;
                    Ok(true)
                })?;
            }
            Ok(())
        })?;
    }
    for batch in &snapshot.batches {
        ctx.check()?;
        ctx.stats.add_rows(batch.rows as u64);
        let block = Block::Head(&batch.batch);
        emit(block, filter.select(block).as_deref())?;
    }
    Ok(())
}

/// A code for each row and what the codes stand for.
struct Coded {
    codes: Vec<u32>,
    values: Vec<String>,
}

fn code_rows(accesses: &[Access<'_>], rows: usize, taken: Option<&[bool]>) -> Coded {
    let mut values: Vec<String> = vec![String::new()];
    let mut known: HashMap<String, u32> = HashMap::from([(String::new(), 0)]);
    let mut intern = |text: String| {
        *known.entry(text).or_insert_with_key(|text| {
            values.push(text.clone());
            values.len() as u32 - 1
        })
    };
    let wanted = |row: usize| taken.is_none_or(|t| t[row]);
    let codes = match accesses {
        [Access::Codes(codes, texts)] => {
            let mut by_code: Vec<Option<u32>> = vec![None; texts.len()];
            (0..rows)
                .map(|row| match codes.get(row) {
                    Some(code) if wanted(row) => {
                        *by_code[code].get_or_insert_with(|| intern(texts[code].as_ref().map_or_else(String::new, |v| v.to_text().into_owned())))
                    }
                    _ => 0,
                })
                .collect()
        }
        _ => (0..rows)
            .map(|row| {
                let value = if wanted(row) { accesses.iter().find_map(|a| a.get(row)) } else { None };
                value.map_or(0, |v| intern(v.to_text().into_owned()))
            })
            .collect(),
    };
    Coded { codes, values }
}

/// Numbers pairs of codes: returns the pair's number for each row, and for each number its first row.
fn pair(left: &[u32], lefts: usize, right: &Coded, taken: Option<&[bool]>) -> (Vec<u32>, Vec<usize>) {
    let width = right.values.len();
    let mut firsts: Vec<usize> = Vec::new();
    let mut table = vec![u32::MAX; if lefts * width <= PAIR_TABLE_MAX { lefts * width } else { 0 }];
    let mut map: HashMap<(u32, u32), u32> = HashMap::new();
    let numbers = left
        .iter()
        .zip(&right.codes)
        .enumerate()
        .map(|(row, (l, r))| {
            if taken.is_some_and(|t| !t[row]) {
                return u32::MAX;
            }
            let number = if table.is_empty() { map.entry((*l, *r)).or_insert(u32::MAX) } else { &mut table[*l as usize * width + *r as usize] };
            if *number == u32::MAX {
                *number = firsts.len() as u32;
                firsts.push(row);
            }
            *number
        })
        .collect();
    (numbers, firsts)
}

/// See [`skopos_query::traces::TraceStore::red`]; the largest groups first.
pub(super) fn red(
    snapshot: &Snapshot<SpanBatch>,
    files: &OpenFiles,
    range: TimeRange,
    filter: &Filter,
    group_by: &[String],
    ctx: &QueryContext,
) -> Result<Vec<RedRow>, StorageError> {
    let filter = Arc::new(SpanFilter::new(filter, range)?);
    let grouping: Vec<Vec<Field>> = group_by
        .iter()
        .map(|name| match Field::from_name(name) {
            field @ Field::Attribute(_) => attribute_keys(&field).into_iter().map(|key| Field::Attribute(key.to_owned())).collect(),
            field => vec![field],
        })
        .collect();
    let mut fields = vec![Field::Duration, Field::Status];
    fields.extend(grouping.iter().flatten().filter(|f| !matches!(f, Field::Duration | Field::Status)).cloned());
    let mut groups: HashMap<Vec<String>, Durations> = HashMap::new();
    scan(snapshot, files, &filter, &fields, ctx, &mut |block, taken| {
        let rows = block.rows();
        let coded: Vec<Coded> = grouping
            .iter()
            .map(|fields| {
                let accesses: Vec<Access<'_>> = fields.iter().map(|f| Access::new(block, f)).collect();
                code_rows(&accesses, rows, taken)
            })
            .collect();
        let mut numbers = vec![0; rows];
        let mut firsts = vec![0];
        for right in &coded {
            let lefts = firsts.len().max(1);
            (numbers, firsts) = pair(&numbers, lefts, right, taken);
        }
        let mut local: Vec<Durations> = vec![Durations::default(); firsts.len()];
        let (durations, statuses) = (block.durations(), block.statuses());
        // Durations go straight to the group; the key is looked up once a group and block.
        for (number, first) in firsts.iter().enumerate() {
            let key: Vec<String> = coded.iter().map(|c| c.values[c.codes[*first] as usize].clone()).collect();
            if let Some(known) = groups.remove(&key) {
                local[number] = known;
            }
        }
        for row in (0..rows).filter(|row| taken.is_none_or(|t| t[*row])) {
            local[numbers[row] as usize].add(durations[row], statuses[row] == StatusCode::Error as u8);
        }
        for (first, found) in firsts.iter().zip(local).filter(|(_, found)| found.count > 0) {
            groups.insert(coded.iter().map(|c| c.values[c.codes[*first] as usize].clone()).collect(), found);
        }
        if groups.len() > GROUPS_MAX {
            let message = format!("more than {GROUPS_MAX} groups of {}: filter more or group by less", group_by.join(", "));
            return Err(QueryError::Limit { limit: "groups_max", message }.into());
        }
        Ok(())
    })?;
    let mut rows: Vec<RedRow> = groups
        .into_iter()
        .map(|(group, d)| RedRow { group, count: d.count, errors: d.errors, duration_sum: d.sum, quantiles: d.quantiles(QUANTILES) })
        .collect();
    rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.group.cmp(&b.group)));
    Ok(rows)
}

/// See [`skopos_query::traces::TraceStore::versions`].
pub(super) fn versions(
    snapshot: &Snapshot<SpanBatch>,
    files: &OpenFiles,
    range: TimeRange,
    service: Option<&str>,
    ctx: &QueryContext,
) -> Result<Vec<ServiceVersion>, StorageError> {
    let of_service = |name: &str| Filter::Field(Field::Service, Compare::Equal(vec![Value::Text(name.to_owned())]));
    let filter = Arc::new(SpanFilter::new(&service.map_or_else(Filter::all, of_service), range)?);
    let fields = [Field::Service, Field::Attribute("service.version".to_owned())];
    let mut seen: HashMap<[String; 2], (i64, i64)> = HashMap::new();
    scan(snapshot, files, &filter, &fields, ctx, &mut |block, taken| {
        let [services, versions] = [0, 1].map(|i| code_rows(&[Access::new(block, &fields[i])], block.rows(), taken));
        let (numbers, firsts) = pair(&services.codes, services.values.len(), &versions, taken);
        let mut ranges = vec![(i64::MAX, i64::MIN); firsts.len()];
        for (row, start) in block.starts().iter().enumerate().filter(|(row, _)| taken.is_none_or(|t| t[*row])) {
            let range = &mut ranges[numbers[row] as usize];
            *range = (range.0.min(*start), range.1.max(*start));
        }
        for (row, (first, last)) in firsts.into_iter().zip(ranges) {
            let key = [&services, &versions].map(|c| c.values[c.codes[row] as usize].clone());
            if !key[1].is_empty() {
                let known = seen.entry(key).or_insert((first, last));
                *known = (known.0.min(first), known.1.max(last));
            }
        }
        if seen.len() > GROUPS_MAX {
            let message = format!("more than {GROUPS_MAX} versions of services: ask for one service or a shorter range");
            return Err(QueryError::Limit { limit: "groups_max", message }.into());
        }
        Ok(())
    })?;
    let mut versions: Vec<ServiceVersion> =
        seen.into_iter().map(|([service, version], (first, last))| ServiceVersion { service, version, first, last }).collect();
    versions.sort_by(|a, b| (a.first, &a.service, &a.version).cmp(&(b.first, &b.service, &b.version)));
    Ok(versions)
}
