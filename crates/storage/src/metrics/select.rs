//! What PromQL and the label endpoints read.

use std::collections::HashMap;
use std::sync::Arc;

use skopos_model::{Exemplar, Labels, MetricMetadata, SeriesId};
use skopos_query::cardinality::{Cardinality, Floods};
use skopos_query::metrics::{Matcher, Queryable, Select, Series};
use skopos_query::windows::WindowHint;
use skopos_query::{QueryContext, QueryError};

use crate::error::StorageError;

use super::files::nanos;
use super::order::By;
use super::registry::HashedMap;
use super::{EXEMPLARS, MetricsTable, small};

/// Distinct time vectors remembered while a selection runs; beyond, equal ones may get allocations of their own.
const TIMES_KNOWN_MAX: usize = 65_536;

/// Series handed out at once: as many as leave their samples of some hours in the processor's cache.
const BATCH_SERIES: usize = 64;

/// A native histogram counts as so many samples against a query's limit: it takes about as much memory.
const HISTOGRAM_SAMPLES: usize = 10;

/// Gives equal time vectors one allocation.
#[derive(Default)]
pub(super) struct Times {
    last: Option<Arc<[i64]>>,
    known: HashedMap<Arc<[i64]>>,
}

impl Times {
    pub(super) fn share(&mut self, times: &[i64]) -> Arc<[i64]> {
        if let Some(last) = self.last.as_ref().filter(|last| ***last == *times) {
            return Arc::clone(last);
        }
        let shared = match self.known.entry(mixed(times)) {
            std::collections::hash_map::Entry::Occupied(known) if **known.get() == *times => Arc::clone(known.get()),
            std::collections::hash_map::Entry::Occupied(_) => Arc::from(times),
            std::collections::hash_map::Entry::Vacant(free) => Arc::clone(free.insert(Arc::from(times))),
        };
        if self.known.len() > TIMES_KNOWN_MAX {
            self.known.clear();
        }
        self.last = Some(Arc::clone(&shared));
        shared
    }
}

/// A hash good enough to tell time vectors apart, of a few of the times; those it does not are compared.
fn mixed(times: &[i64]) -> u64 {
    let mix = |h: u64, t: &i64| (h.rotate_left(26) ^ *t as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let looked_at = times.iter().step_by(times.len() / 16 + 1).chain(times.last());
    looked_at.fold(times.len() as u64, mix)
}

pub(super) fn storage_error(error: StorageError) -> QueryError {
    match error {
        StorageError::Query(error) => error,
        other => QueryError::Storage(other.to_string()),
    }
}

/// Counts a series with its samples against the limits.
pub(super) fn count(samples: usize, ctx: &QueryContext) -> Result<(), QueryError> {
    let series = ctx.stats.add_series(1);
    if series > ctx.limits.series_max {
        return Err(QueryError::Limit {
            limit: "series_max",
            message: format!("the query touches more than {} series; select fewer with matchers", ctx.limits.series_max),
        });
    }
    count_samples(samples, ctx)
}

/// Counts samples against the limit.
pub(super) fn count_samples(samples: usize, ctx: &QueryContext) -> Result<(), QueryError> {
    let total = ctx.stats.add_samples(samples as u64);
    if total > ctx.limits.samples_max {
        return Err(QueryError::Limit {
            limit: "samples_max",
            message: format!("the query loads more than {} samples; select fewer series or a shorter time", ctx.limits.samples_max),
        });
    }
    Ok(())
}

impl MetricsTable {
    /// Series that match any of the lists (all when there is none).
    fn matching_any(&self, matchers: &[Vec<Matcher>], ctx: &QueryContext) -> Result<Vec<u32>, QueryError> {
        let registry = self.registry.read();
        if matchers.is_empty() {
            return registry.matching(&[], ctx);
        }
        let mut ids = Vec::new();
        for list in matchers {
            ids.extend(registry.matching(list, ctx)?);
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Such series with a sample in the closed range of milliseconds.
    fn matching_present(&self, matchers: &[Vec<Matcher>], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<u32>, QueryError> {
        let ids = self.matching_any(matchers, ctx)?;
        let with_histograms = self.present_histograms(&ids, start, end, ctx).map_err(storage_error)?;
        let mut found = self.present(ids, start, end, ctx).map_err(storage_error)?;
        if !with_histograms.is_empty() {
            found.extend(with_histograms);
            found.sort_unstable();
            found.dedup();
        }
        Ok(found)
    }
}

/// Series by their place in the order of labels.
pub(super) type Ranked = Vec<(u32, Series)>;

fn in_order(mut found: Ranked) -> Vec<Series> {
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, series)| series).collect()
}

impl MetricsTable {
    /// All samples of these series in the range.
    pub(super) fn select_ids(&self, ids: Vec<u32>, select: &Select<'_>, ctx: &QueryContext) -> Result<Ranked, QueryError> {
        let ranks = self.ranks(By::Labels);
        let mut times = Times::default();
        let mut found = Ranked::new();
        let (start, end) = (select.start, select.end);
        let mut histograms = self.gather_histograms(&ids, start, end, ctx).map_err(storage_error)?;
        // Locked for each series anew: whoever appends takes this lock while it holds the head's, which is asked for below.
        let none = self.starts.read().is_empty();
        let starts_of = |id: u32| if none { Vec::new() } else { self.starts.read().of(id, start, end) };
        self.gather(ids, (select.start, select.end), ctx, |id, samples| {
            let labels = self.registry.read().labels(id);
            let rank = ranks.get(id as usize).copied().unwrap_or(u32::MAX);
            let mut histograms = histograms.remove(&id).unwrap_or_default();
            // A time has one sample: the float, which came first wherever both were told apart.
            histograms.retain(|(time, _)| samples.times.binary_search(time).is_err());
            count(samples.times.len() + histograms.len() * HISTOGRAM_SAMPLES, ctx)?;
            let (timestamps, values) = (samples.shared_times(&mut times), samples.take_values());
            found.push((rank, Series { labels, timestamps, values, histograms, starts: starts_of(id), digest: None }));
            Ok(true)
        })
        .map_err(storage_error)?;
        for (id, histograms) in histograms {
            count(histograms.len() * HISTOGRAM_SAMPLES, ctx)?;
            let labels = self.registry.read().labels(id);
            let rank = ranks.get(id as usize).copied().unwrap_or(u32::MAX);
            found.push((rank, Series { labels, histograms, starts: starts_of(id), ..Series::default() }));
        }
        Ok(found)
    }
}

impl Queryable for MetricsTable {
    fn select(&self, select: &Select<'_>, ctx: &QueryContext) -> Result<Vec<Series>, QueryError> {
        let ids = self.registry.read().matching(select.matchers, ctx)?;
        self.select_ids(ids, select, ctx).map(in_order)
    }

    fn select_windows(&self, select: &Select<'_>, windows: &WindowHint<'_>, ctx: &QueryContext) -> Result<Vec<Series>, QueryError> {
        let ids = self.registry.read().matching(select.matchers, ctx)?;
        self.select_rollups(ids, select, windows, ctx).map(in_order)
    }

    fn has_rollups(&self, select: &Select<'_>, windows: &WindowHint<'_>) -> bool {
        self.rollups_serve(select, windows)
    }

    fn select_batches(
        &self,
        select: &Select<'_>,
        ctx: &QueryContext,
        each: &mut dyn FnMut(Vec<Series>) -> Result<(), QueryError>,
    ) -> Result<Option<Vec<Series>>, QueryError> {
        let (start, end) = (select.start, select.end);
        let ids = self.registry.read().matching(select.matchers, ctx)?;
        if !self.present_histograms(&ids, start, end, ctx).map_err(storage_error)?.is_empty() {
            // Aggregating histograms takes a second look at them, and they are few.
            return self.select(select, ctx).map(Some);
        }
        let none = self.starts.read().is_empty();
        let starts_of = |id: u32| if none { Vec::new() } else { self.starts.read().of(id, start, end) };
        let mut times = Times::default();
        let mut batch = Vec::with_capacity(BATCH_SERIES);
        self.gather(ids, (start, end), ctx, |id, samples| {
            let labels = self.registry.read().labels(id);
            count(samples.times.len(), ctx)?;
            let (timestamps, values) = (samples.shared_times(&mut times), samples.take_values());
            batch.push(Series { labels, timestamps, values, starts: starts_of(id), ..Series::default() });
            if batch.len() == BATCH_SERIES {
                each(std::mem::replace(&mut batch, Vec::with_capacity(BATCH_SERIES)))?;
            }
            Ok(true)
        })
        .map_err(storage_error)?;
        if !batch.is_empty() {
            each(batch)?;
        }
        Ok(None)
    }

    fn series(&self, matchers: &[Vec<Matcher>], start: i64, end: i64, limit: usize, ctx: &QueryContext) -> Result<Vec<Arc<Labels>>, QueryError> {
        let mut ids = self.matching_present(matchers, start, end, ctx)?;
        super::order::sort_by_rank(&mut ids, &self.ranks(By::Labels));
        ids.truncate(limit);
        let registry = self.registry.read();
        Ok(ids.into_iter().map(|id| registry.labels(id)).collect())
    }

    fn label_names(&self, matchers: &[Vec<Matcher>], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<String>, QueryError> {
        let ids = self.matching_present(matchers, start, end, ctx)?;
        Ok(self.registry.read().names_of(&ids))
    }

    fn label_values(&self, label: &str, matchers: &[Vec<Matcher>], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<String>, QueryError> {
        let ids = self.matching_present(matchers, start, end, ctx)?;
        Ok(self.registry.read().values_of(label, &ids))
    }

    fn exemplars(
        &self,
        matchers: &[Vec<Matcher>],
        start: i64,
        end: i64,
        ctx: &QueryContext,
    ) -> Result<Vec<(Arc<Labels>, Vec<Exemplar>)>, QueryError> {
        let ids = self.matching_any(matchers, ctx)?;
        let is_wanted = |(id, e): &&(SeriesId, Exemplar)| start <= e.timestamp && e.timestamp <= end && ids.binary_search(&id.0).is_ok();
        let (files, mut rows) = {
            let state = self.state.read();
            let heads = state.sealed.iter().flat_map(|s| &s.exemplars).chain(&state.open.exemplars);
            let rows: Vec<(SeriesId, Exemplar)> = heads.filter(is_wanted).cloned().collect();
            (state.files.clone(), rows)
        };
        let in_range = |time_min: i64, time_max: i64| time_min <= nanos(end) && nanos(start) <= time_max;
        let files = files.iter().filter(|f| f.file.table == EXEMPLARS && in_range(f.file.time_min, f.file.time_max));
        for file in files.filter(|f| !f.is_damaged()).collect::<Vec<_>>() {
            ctx.check()?;
            match small::exemplars::read(file, &*self.blobs) {
                Ok(read) => rows.extend(read.iter().filter(is_wanted).cloned()),
                Err(error) => file.set_aside(error).map_err(storage_error)?,
            }
        }
        let mut by_series: HashMap<u32, Vec<Exemplar>> = HashMap::new();
        for (id, exemplar) in rows {
            by_series.entry(id.0).or_default().push(exemplar);
        }
        let mut ids: Vec<u32> = by_series.keys().copied().collect();
        super::order::sort_by_rank(&mut ids, &self.ranks(By::Labels));
        let registry = self.registry.read();
        let known = ids.into_iter().filter(|id| registry.contains(*id));
        Ok(known
            .map(|id| {
                let mut exemplars = by_series.remove(&id).unwrap_or_default();
                exemplars.sort_by_key(|e| e.timestamp);
                // Senders repeat an exemplar until they have a new one.
                exemplars.dedup();
                (registry.labels(id), exemplars)
            })
            .collect())
    }

    fn cardinality(&self, top: usize) -> Cardinality {
        self.count_series(top)
    }

    fn floods(&self, top: usize) -> Floods {
        self.list_floods(top)
    }

    fn metadata(&self, family: Option<&str>) -> Vec<MetricMetadata> {
        let families = self.families.read();
        match family {
            Some(name) => families.get(name).map(|(_, m)| m.clone()).into_iter().collect(),
            None => families.values().map(|(_, m)| m.clone()).collect(),
        }
    }
}
