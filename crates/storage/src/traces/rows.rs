//! Whole spans as they are shown, from the head or from a file.

use arrow::array::{Array, RecordBatch};
use serde_json::{Map, Value};
use skopos_model::{AttrType, AttrValue, SpanBatch, SpanKind, StatusCode};
use skopos_query::filter::FieldValue;
#[cfg(test)]
use skopos_query::filter::{Field, Row};
use skopos_query::traces::SpanRow;

use super::access::{Block, MapAccess, Own, Texts, promoted_key, typed};
#[cfg(test)]
use super::access::{json_value, some_text};
use super::columns::{EVENTS, LINKS, NAME, RESOURCE, SCOPE, SERVICE, STATUS_MESSAGE};

/// An attribute as JSON; numbers JSON does not know are text.
pub(super) fn attr_json(value: &AttrValue) -> Value {
    match value {
        AttrValue::Str(text) => Value::String(text.clone()),
        AttrValue::Int(i) => Value::from(*i),
        AttrValue::Double(d) => double_json(*d),
        AttrValue::Bool(b) => Value::Bool(*b),
        AttrValue::Json(json) => nested_json(json),
    }
}

fn double_json(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number)
}

fn nested_json(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| Value::String(json.to_owned()))
}

fn field_json(value: FieldValue<'_>, ty: AttrType) -> Value {
    match value {
        FieldValue::Text(text) if ty == AttrType::Json => nested_json(&text),
        FieldValue::Text(text) => Value::String(text.into_owned()),
        FieldValue::Int(i) => Value::from(i),
        FieldValue::Double(d) => double_json(d),
        FieldValue::Bool(b) => Value::Bool(b),
    }
}

/// A list in JSON text; nothing when there is none.
fn list(json: &str) -> Vec<Value> {
    if json.is_empty() { Vec::new() } else { serde_json::from_str(json).unwrap_or_default() }
}

/// Puts attributes into a map; of a key given with several types the first type (in their order) wins.
fn attributes(mut all: Vec<(&str, AttrType, Value)>) -> Map<String, Value> {
    all.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    all.dedup_by(|later, kept| later.0 == kept.0);
    all.into_iter().map(|(key, _, value)| (key.to_owned(), value)).collect()
}

/// A span of the head.
pub(super) fn head_row(batch: &SpanBatch, row: usize) -> SpanRow {
    let resource = &batch.resources[batch.resource[row] as usize];
    let own = batch.attributes.row(row as u32);
    SpanRow {
        trace_id: batch.trace_id[row],
        span_id: batch.span_id[row],
        parent_span_id: batch.parent_span_id[row],
        name: batch.name.get(row).to_owned(),
        kind: SpanKind::from_number(batch.kind[row]),
        service_name: resource.service_name.to_string(),
        start: batch.start[row],
        duration: batch.duration[row],
        status_code: StatusCode::from_number(batch.status_code[row]),
        status_message: batch.status_message.get(row).to_owned(),
        scope_name: batch.scopes[batch.scope[row] as usize].name.to_string(),
        attributes: attributes(own.iter().map(|(key, value)| (*key, value.ty(), attr_json(value))).collect()),
        resource: resource.attributes.iter().map(|(key, value)| (key.to_string(), attr_json(value))).collect(),
        events: list(batch.events.get(row)),
        links: list(batch.links.get(row)),
    }
}

/// All spans of a batch read from a file with all its columns.
pub(super) fn file_rows(batch: &RecordBatch) -> Vec<SpanRow> {
    let block = Block::File(batch);
    let text = |name: &str| batch.column_by_name(name).and_then(Texts::of);
    let (service, name, message, scope) = (text(SERVICE), text(NAME), text(STATUS_MESSAGE), text(SCOPE));
    let (resource, events, links) = (text(RESOURCE), text(EVENTS), text(LINKS));
    let get = |texts: Option<Texts<'_>>, row: usize| texts.and_then(|t| t.get(row)).unwrap_or("").to_owned();
    let (traces, spans, parents) = (block.trace_ids(), block.span_ids(), block.parents());
    let (kinds, statuses, starts, durations) = (block.kinds(), block.statuses(), block.starts(), block.durations());
    let own: Vec<(&str, AttrType, Own<'_>)> = batch
        .schema_ref()
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(_, column)| column.null_count() < column.len())
        .filter_map(|(field, column)| {
            let (key, ty) = promoted_key(field.name())?;
            Some((key, ty, Own::of(column, ty)?))
        })
        .collect();
    let map = MapAccess::of(batch);
    (0..batch.num_rows())
        .map(|row| {
            let mut all: Vec<(&str, AttrType, Value)> =
                own.iter().filter_map(|(key, ty, own)| Some((*key, *ty, field_json(own.get(row)?, *ty)))).collect();
            all.extend(map.iter().flat_map(|m| m.entries(row)).map(|(key, ty, text)| (key, ty, field_json(typed(text, ty), ty))));
            SpanRow {
                trace_id: traces.trace(row),
                span_id: spans.span(row),
                parent_span_id: parents.span(row),
                name: get(name, row),
                kind: SpanKind::from_number(kinds[row]),
                service_name: get(service, row),
                start: starts[row],
                duration: durations[row],
                status_code: StatusCode::from_number(statuses[row]),
                status_message: get(message, row),
                scope_name: get(scope, row),
                attributes: attributes(all),
                resource: resource.and_then(|r| r.get(row)).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(),
                events: list(&get(events, row)),
                links: list(&get(links, row)),
            }
        })
        .collect()
}

/// A whole span for a filter: what scans over columns must agree with.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(super) struct WholeSpan<'a>(pub(super) &'a SpanRow);

#[cfg(test)]
impl Row for WholeSpan<'_> {
    fn get(&self, field: &Field) -> Option<FieldValue<'_>> {
        let span = self.0;
        match field {
            Field::Level | Field::Body => None,
            Field::Service => some_text(&span.service_name),
            Field::TraceId => Some(FieldValue::Text(span.trace_id.to_hex().into())),
            Field::SpanId => Some(FieldValue::Text(span.span_id.to_hex().into())),
            Field::Name => some_text(&span.name),
            Field::Kind => some_text(span.kind.as_str()),
            Field::Status => some_text(span.status_code.as_str()),
            Field::Duration => Some(FieldValue::Int(span.duration)),
            Field::Environment => ["deployment.environment.name", "deployment.environment"]
                .iter()
                .find_map(|key| span.resource.get(*key))
                .map(|value| FieldValue::Text(json_value(value).to_text().into_owned().into()))
                .filter(|value| !value.to_text().is_empty()),
            Field::Scope => some_text(&span.scope_name),
            Field::Root => Some(FieldValue::Bool(span.parent_span_id.is_none())),
            Field::Attribute(key) => span.attributes.get(key).or_else(|| span.resource.get(key)).map(json_value),
        }
    }

    fn any_text(&self, found: &mut dyn FnMut(&str) -> bool) -> bool {
        if found(&self.0.name) {
            return true;
        }
        self.0.attributes.values().any(|value| matches!(value, Value::String(text) if found(text)))
    }
}
