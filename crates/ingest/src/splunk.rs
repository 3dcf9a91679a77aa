//! Splunk's HTTP event collector: events in JSON objects one after another, or raw lines.
//!
//! `host` becomes `host.name`; `source`, `sourcetype` and `index` become `com.splunk.…`, as OpenTelemetry names them; an
//! event that is an object is read as JSON lines are, and `fields` are attributes beside it.

use serde_json::{Map, Value};
use skopos_model::{Decoded, LogBatch, Rejected};

use crate::context::Context;
use crate::error::IngestError;
use crate::json_lines::{Builder, Input, Parameters, from_float, parse_timestamp, query_pairs};
use crate::otlp::value::cut;

/// Why an event was not taken: the reason it is counted under, and code and text of the collector's answer.
pub const REFUSALS: [(&str, u16, &str); 3] = [
    ("malformed_event", 6, "Invalid data format"),
    ("event_required", 12, "Event field is required"),
    ("event_blank", 13, "Event field cannot be blank"),
];

/// Resource attributes of what an event says beside itself.
const META: [(&str, &str); 4] =
    [("host", "host.name"), ("source", "com.splunk.source"), ("sourcetype", "com.splunk.sourcetype"), ("index", "com.splunk.index")];

/// Decodes the body of `/services/collector/event`. `query` may state `host`, `source`, `sourcetype` and `index` for
/// events that do not.
///
/// # Errors
/// When there is no event at all.
pub fn decode_events(body: &[u8], query: &str, ctx: &Context<'_>) -> Result<Decoded<LogBatch>, IngestError> {
    let pairs = query_pairs(query);
    let mut builder = Builder::new(ctx);
    let mut number = 0usize;
    let mut rest = body.trim_ascii();
    while !rest.is_empty() {
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                rest = rest[values.byte_offset()..].trim_ascii_start();
                // Some send the events in an array.
                let events = if let Value::Array(list) = value { list } else { vec![value] };
                for event in events {
                    take(event, &pairs, number, &mut builder);
                    number += 1;
                }
            }
            other => {
                let reason = other.and_then(Result::err).map_or_else(String::new, |error| error.to_string());
                refuse(&mut builder.rejected, 0, number, &reason);
                number += 1;
                // Where each event has a line, the others are not lost with it.
                let next =
                    memchr::memmem::find_iter(rest, b"\n").map(|at| rest[at + 1..].trim_ascii_start()).find(|after| after.first() == Some(&b'{'));
                rest = next.unwrap_or(&[]);
            }
        }
    }
    if number == 0 {
        return Err(IngestError::Text { format: "HEC request", line: 1, reason: "No data".to_owned() });
    }
    Ok(builder.finish())
}

fn refuse(rejected: &mut Vec<Rejected>, which: usize, number: usize, detail: &str) {
    let (reason, _, text) = REFUSALS[which];
    Decoded::<()>::reject(rejected, reason, 1, || format!("event {number}: {text}{}{detail}", if detail.is_empty() { "" } else { ": " }));
}

fn take(event: Value, query: &[(String, String)], number: usize, builder: &mut Builder<'_>) {
    let Value::Object(mut envelope) = event else { return refuse(&mut builder.rejected, 0, number, "expected an object") };
    let line = match envelope.remove("event") {
        None | Some(Value::Null) => return refuse(&mut builder.rejected, 1, number, ""),
        Some(Value::String(text)) if text.is_empty() => return refuse(&mut builder.rejected, 2, number, ""),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    };
    let fields = match envelope.remove("fields") {
        Some(fields @ Value::Object(_)) => fields.to_string(),
        _ => String::new(),
    };
    let time = envelope.get("time").and_then(time);
    builder.set_origin(&origin(&envelope, query));
    builder.row(&Input { line: line.as_bytes(), more: fields.as_bytes(), time });
}

fn time(value: &Value) -> Option<i64> {
    match value {
        // As text it keeps all its digits.
        Value::Number(number) => parse_timestamp(&number.to_string()).or_else(|| number.as_f64().and_then(from_float)),
        Value::String(text) => parse_timestamp(text),
        _ => None,
    }
}

fn origin(envelope: &Map<String, Value>, query: &[(String, String)]) -> Parameters {
    let stated = META.iter().filter_map(|(key, attribute)| {
        let own = envelope.get(*key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let value = own.or_else(|| query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()))?;
        Some((*attribute, cut(value, 1024)))
    });
    Parameters::of(stated)
}

/// Decodes the body of `/services/collector/raw`: each line is an event.
///
/// # Errors
/// When there is no line at all.
pub fn decode_raw(body: &[u8], query: &str, ctx: &Context<'_>) -> Result<Decoded<LogBatch>, IngestError> {
    let mut builder = Builder::new(ctx);
    builder.set_origin(&origin(&Map::new(), &query_pairs(query)));
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii_end();
        if !line.is_empty() {
            builder.row(&Input { line, ..Input::default() });
        }
    }
    if builder.batch.is_empty() {
        return Err(IngestError::Text { format: "HEC request", line: 1, reason: "No data".to_owned() });
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Cache;
    use skopos_model::IngestLimits;

    fn events(body: &str) -> Decoded<LogBatch> {
        decode_events(body.as_bytes(), "host=h0&source=http%3Ax", &Context::new(&IngestLimits::default(), 5, &Cache::default())).expect("events")
    }

    #[test]
    fn events_one_after_another() {
        let decoded = events(
            r#"{"time":1433188255.253,"host":"web-1","sourcetype":"access","event":"ERROR gone"}{"event":{"message":"placed","level":"info","service":"orders","n":7},"fields":{"region":"eu","n":8},"time":"1433188255"}
{"event":{"a":{"b":1}}}"#,
        );
        let batch = &decoded.batch;
        assert_eq!(batch.len(), 3);
        assert_eq!((batch.time[0], batch.body.get(0), batch.severity_number[0]), (1_433_188_255_253_000_000, "ERROR gone", 17));
        let resource = |row: usize| &batch.resources[batch.resource[row] as usize];
        assert_eq!((resource(0).get("host.name").as_deref(), resource(0).get("com.splunk.source").as_deref()), (Some("web-1"), Some("http:x")));
        assert_eq!((resource(1).get("host.name").as_deref(), &*resource(1).service_name), (Some("h0"), "orders"));
        assert_eq!((batch.time[1], batch.body.get(1)), (1_433_188_255_000_000_000, "placed"));
        let attributes: Vec<String> = batch.attributes.row(1).iter().map(|(k, v)| format!("{k}={}", v.to_text())).collect();
        assert_eq!(attributes, ["n=7", "region=eu"]);
        assert_eq!((batch.time[2], batch.body.get(2)), (5, r#"{"a":{"b":1}}"#));
        assert!(decoded.is_clean());
    }

    #[test]
    fn the_good_ones_are_taken_and_the_others_told() {
        let decoded = events("{\"event\":\"a\"}\n{\"event\":\"b\"\n{\"host\":\"x\"}\n{\"event\":\"\"}\n7\n[{\"event\":\"c\"}]");
        let bodies: Vec<&str> = decoded.batch.body.iter().collect();
        let reasons: Vec<(&str, u64)> = decoded.rejected.iter().map(|r| (r.reason, r.count)).collect();
        assert_eq!(bodies, ["a", "c"]);
        assert_eq!(reasons, [("malformed_event", 2), ("event_required", 1), ("event_blank", 1)]);
        assert!(decoded.rejected[0].example.starts_with("event 1: Invalid data format: "), "{}", decoded.rejected[0].example);
        let limits = IngestLimits::default();
        let cache = Cache::default();
        let ctx = Context::new(&limits, 5, &cache);
        assert!(decode_events(b" \n", "", &ctx).is_err() && decode_raw(b"\n", "", &ctx).is_err());
        let raw = decode_raw(b"one\r\n\ntwo {x}\n", "sourcetype=s", &ctx).expect("lines");
        assert_eq!(raw.batch.body.iter().collect::<Vec<_>>(), ["one", "two {x}"]);
        assert_eq!(raw.batch.resources[0].get("com.splunk.sourcetype").as_deref(), Some("s"));
    }
}
