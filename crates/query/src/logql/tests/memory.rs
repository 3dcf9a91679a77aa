//! A store in memory.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

use skopos_model::attributes::AttrValue;
use skopos_model::{Resource, SpanId, TraceId};

use crate::context::QueryContext;
use crate::error::QueryError;
use crate::filter::{CompiledFilter, Field, FieldValue, Filter, Row};
use crate::logs::{Direction, Facet, Histogram, LogFollower, LogPage, LogRecord, LogRow, LogScan, LogSearch, LogStore, LogStream, LogTimes};
use crate::time_range::TimeRange;

/// A record.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) time: i64,
    pub(super) line: String,
    pub(super) resource: Arc<Resource>,
    pub(super) metadata: Vec<(String, String)>,
}

/// Records in the order they came.
#[derive(Debug, Default)]
pub(super) struct Memory(pub(super) Vec<Stored>);

/// The resource of a stream, as the push makes it.
pub(super) fn resource(labels: &[(String, String)]) -> Arc<Resource> {
    let mut attributes: Vec<(Box<str>, AttrValue)> = vec![("skopos.stream".into(), AttrValue::Str("loki".to_owned()))];
    attributes.extend(labels.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| (k.as_str().into(), AttrValue::Str(v.clone()))));
    Arc::new(Resource::new(attributes))
}

impl Row for Stored {
    fn get(&self, field: &Field) -> Option<FieldValue<'_>> {
        match field {
            Field::Body => Some(FieldValue::Text(self.line.as_str().into())),
            _ => None,
        }
    }
    fn any_text(&self, found: &mut dyn FnMut(&str) -> bool) -> bool {
        found(&self.line)
    }
}

impl LogRecord for Stored {
    fn time(&self) -> i64 {
        self.time
    }
    fn stream(&self) -> u64 {
        self.resource.id
    }
    fn body(&self) -> Cow<'_, str> {
        self.line.as_str().into()
    }
    fn severity_number(&self) -> u8 {
        0
    }
    fn severity_text(&self) -> &str {
        ""
    }
    fn trace_id(&self) -> TraceId {
        TraceId::NONE
    }
    fn span_id(&self) -> SpanId {
        SpanId::NONE
    }
    fn scope_name(&self) -> &str {
        ""
    }
    fn event_name(&self) -> &str {
        ""
    }
    fn each_attribute(&self, each: &mut dyn FnMut(&str, Cow<'_, str>)) {
        self.metadata.iter().for_each(|(k, v)| each(k, v.as_str().into()));
    }
}

impl Memory {
    fn to_row(&self, at: usize) -> LogRow {
        let stored = &self.0[at];
        LogRow {
            id: at.to_string(),
            time: stored.time,
            observed_time: stored.time,
            severity_number: 0,
            severity_text: String::new(),
            service_name: stored.resource.service_name.to_string(),
            body: stored.line.clone(),
            trace_id: TraceId::NONE,
            span_id: SpanId::NONE,
            event_name: String::new(),
            scope_name: String::new(),
            attributes: stored.metadata.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect(),
            resource: stored.resource.attributes.iter().map(|(k, v)| (k.to_string(), v.to_text().into())).collect(),
        }
    }
}

impl LogStore for Memory {
    fn search(&self, search: &LogSearch, _: &QueryContext) -> Result<LogPage, QueryError> {
        let filter = CompiledFilter::new(&search.filter)?;
        let wanted = |s: &Stored| search.streams.as_ref().is_none_or(|ids| ids.contains(&s.resource.id)) && search.range.contains(s.time);
        let mut found: Vec<usize> = (0..self.0.len()).filter(|at| wanted(&self.0[*at]) && filter.matches(&self.0[*at])).collect();
        found.sort_by_key(|at| (self.0[*at].time, *at));
        if search.direction == Direction::Backward {
            found.reverse();
        }
        let from = search.after.as_ref().and_then(|id| found.iter().position(|at| at.to_string() == *id)).map_or(0, |at| at + 1);
        let page: Vec<usize> = found[from..].iter().copied().take(search.limit).collect();
        let next = page.last().filter(|_| from + page.len() < found.len()).map(usize::to_string);
        Ok(LogPage { rows: page.into_iter().map(|at| self.to_row(at)).collect(), next })
    }

    fn histogram(&self, _: TimeRange, _: &Filter, _: i64, _: &QueryContext) -> Result<Histogram, QueryError> {
        Ok(Histogram::default())
    }

    fn facets(&self, _: TimeRange, _: &Filter, _: &[String], _: usize, _: &QueryContext) -> Result<Vec<Facet>, QueryError> {
        Ok(Vec::new())
    }

    fn streams(&self, range: TimeRange, _: &QueryContext) -> Result<Vec<LogStream>, QueryError> {
        let mut out: Vec<LogStream> = Vec::new();
        for stored in self.0.iter().filter(|s| range.contains(s.time)) {
            match out.iter_mut().find(|s| s.resource.id == stored.resource.id) {
                Some(known) => known.rows += 1,
                None => out.push(LogStream { resource: Arc::clone(&stored.resource), rows: 1, bytes: 0 }),
            }
        }
        Ok(out)
    }

    fn scan(&self, scan: &LogScan<'_>, _: &QueryContext, visit: &mut dyn FnMut(&dyn LogRecord) -> ControlFlow<()>) -> Result<(), QueryError> {
        let filter = CompiledFilter::new(scan.filter)?;
        for stored in &self.0 {
            let wanted = scan.range.contains(stored.time) && scan.streams.is_none_or(|ids| ids.contains(&stored.resource.id));
            if wanted && filter.matches(stored) {
                // What was not asked for is not there.
                let mut shown = stored.clone();
                if !scan.columns.body {
                    shown.line.clear();
                }
                shown.metadata.retain(|(key, _)| scan.columns.attributes.wants(key));
                if visit(&shown).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn scan_times(
        &self,
        scan: &LogScan<'_>,
        _: bool,
        _: &dyn Fn(i64, i64) -> bool,
        ctx: &QueryContext,
        visit: &mut dyn FnMut(LogTimes<'_>) -> ControlFlow<()>,
    ) -> Result<(), QueryError> {
        self.scan(scan, ctx, &mut |record| visit(LogTimes { stream: record.stream(), severity_text: "", count: 1, times: &[record.time()] }))
    }

    fn follow(&self, _: &Filter) -> Result<Arc<dyn LogFollower>, QueryError> {
        Err(QueryError::Storage("nothing arrives here".to_owned()))
    }

    fn context(&self, _: &str, _: usize, _: usize, _: &QueryContext) -> Result<Vec<LogRow>, QueryError> {
        Ok(Vec::new())
    }
}
