//! Spans in memory, read as a store reads them.

use std::collections::HashSet;

use serde_json::{Map, Value as Json, json};
use skopos_model::{SpanId, SpanKind, StatusCode, TraceId};

use crate::context::{QueryContext, QueryLimits};
use crate::error::QueryError;
use crate::filter::{Field, FieldValue, Filter, Row, matches};
use crate::time_range::TimeRange;
use crate::traces::{EdgeRow, RedRow, ScanField, ServiceVersion, SpanBlock, SpanRow, SpanScan, TraceSearch, TraceStore, TraceSummary};

/// Spans, in the order a scan gives them.
pub(super) struct Memory(pub(super) Vec<SpanRow>);

pub(super) fn context() -> QueryContext {
    QueryContext::new(QueryLimits::default(), std::time::Instant::now())
}

/// A span `trace.id` under a parent (0: a root), in a service, from a second for so many milliseconds.
pub(super) fn span(trace: u8, id: u8, parent: u8, service: &str, name: &str, start_s: i64, ms: i64) -> SpanRow {
    SpanRow {
        trace_id: TraceId([trace; 16]),
        span_id: SpanId([id; 8]),
        parent_span_id: SpanId([parent; 8]),
        name: name.to_owned(),
        kind: SpanKind::Internal,
        service_name: service.to_owned(),
        start: start_s * 1_000_000_000,
        duration: ms * 1_000_000,
        status_code: StatusCode::Unset,
        status_message: String::new(),
        scope_name: String::new(),
        attributes: Map::new(),
        resource: [("service.name".to_owned(), json!(service))].into_iter().collect(),
        events: Vec::new(),
        links: Vec::new(),
    }
}

fn json_value(value: &Json) -> FieldValue<'_> {
    match value {
        Json::Bool(b) => FieldValue::Bool(*b),
        Json::Number(n) => n.as_i64().map_or_else(|| FieldValue::Double(n.as_f64().unwrap()), FieldValue::Int),
        Json::String(text) => FieldValue::Text(text.into()),
        other => FieldValue::Text(other.to_string().into()),
    }
}

struct Whole<'a>(&'a SpanRow);

impl Row for Whole<'_> {
    fn get(&self, field: &Field) -> Option<FieldValue<'_>> {
        let span = self.0;
        let text = |text: String| (!text.is_empty()).then_some(FieldValue::Text(text.into()));
        match field {
            Field::Level | Field::Body | Field::Environment => None,
            Field::Service => text(span.service_name.clone()),
            Field::TraceId => text(span.trace_id.to_hex()),
            Field::SpanId => text(span.span_id.to_hex()),
            Field::Name => text(span.name.clone()),
            Field::Kind => text(span.kind.as_str().to_owned()),
            Field::Status => text(span.status_code.as_str().to_owned()),
            Field::Duration => Some(FieldValue::Int(span.duration)),
            Field::Scope => text(span.scope_name.clone()),
            Field::Root => Some(FieldValue::Bool(span.parent_span_id.is_none())),
            Field::Attribute(key) => span.attributes.get(key).or_else(|| span.resource.get(key)).map(json_value),
        }
    }

    fn any_text(&self, _found: &mut dyn FnMut(&str) -> bool) -> bool {
        false
    }
}

struct Block<'a>(&'a [SpanRow], &'a [ScanField], Vec<u32>);

impl SpanBlock for Block<'_> {
    fn rows(&self) -> &[u32] {
        &self.2
    }
    fn start(&self, row: u32) -> i64 {
        self.0[row as usize].start
    }
    fn trace_id(&self, row: u32) -> TraceId {
        assert!(self.1.contains(&ScanField::Field(Field::TraceId)), "asked for");
        self.0[row as usize].trace_id
    }
    fn get(&self, field: usize, row: u32) -> Option<FieldValue<'_>> {
        let span = &self.0[row as usize];
        match &self.1[field] {
            ScanField::Field(field) => {
                let whole = Whole(span);
                let value = whole.get(field)?;
                Some(match value {
                    FieldValue::Text(text) => FieldValue::Text(text.into_owned().into()),
                    FieldValue::Int(n) => FieldValue::Int(n),
                    FieldValue::Double(n) => FieldValue::Double(n),
                    FieldValue::Bool(b) => FieldValue::Bool(b),
                })
            }
            ScanField::Span(key) => span.attributes.get(key).map(json_value),
            ScanField::Resource(key) => span.resource.get(key).map(json_value),
        }
    }
}

impl TraceStore for Memory {
    fn trace(&self, id: TraceId, _ctx: &QueryContext) -> Result<Vec<SpanRow>, QueryError> {
        Ok(self.0.iter().filter(|s| s.trace_id == id).cloned().collect())
    }
    fn search(&self, _: &TraceSearch, _: &QueryContext) -> Result<Vec<TraceSummary>, QueryError> {
        unreachable!("not of TraceQL")
    }
    fn red(&self, _: TimeRange, _: &Filter, _: &[String], _: &QueryContext) -> Result<Vec<RedRow>, QueryError> {
        unreachable!("not of TraceQL")
    }
    fn edges(&self, _: TimeRange, _: Option<&str>, _: &QueryContext) -> Result<Vec<EdgeRow>, QueryError> {
        unreachable!("not of TraceQL")
    }
    fn versions(&self, _: TimeRange, _: Option<&str>, _: &QueryContext) -> Result<Vec<ServiceVersion>, QueryError> {
        unreachable!("not of TraceQL")
    }
    fn scan(&self, scan: &SpanScan, _: &QueryContext, emit: &mut dyn FnMut(&dyn SpanBlock) -> Result<i64, QueryError>) -> Result<(), QueryError> {
        let mut floor = i64::MIN;
        for spans in self.0.chunks(3) {
            let taken = |s: &SpanRow| s.start >= floor && scan.range.contains(s.start) && matches(&scan.filter, &Whole(s));
            let rows = spans.iter().zip(0u32..).filter(|(s, _)| taken(s)).map(|(_, at)| at).collect();
            floor = emit(&Block(spans, &scan.fields, rows))?;
        }
        Ok(())
    }
    fn rows(
        &self,
        range: TimeRange,
        filter: &Filter,
        _: &QueryContext,
        emit: &mut dyn FnMut(Vec<SpanRow>) -> Result<bool, QueryError>,
    ) -> Result<(), QueryError> {
        emit(self.0.iter().filter(|s| range.contains(s.start) && matches(filter, &Whole(s))).cloned().collect())?;
        Ok(())
    }
    fn traces(&self, ids: &HashSet<TraceId>, ctx: &QueryContext) -> Result<Vec<SpanRow>, QueryError> {
        let spans: Vec<SpanRow> = self.0.iter().filter(|s| ids.contains(&s.trace_id)).cloned().collect();
        if spans.len() as u64 > ctx.limits.rows_max {
            return Err(QueryError::Limit { limit: "rows_max", message: "too many".to_owned() });
        }
        Ok(spans)
    }
}
