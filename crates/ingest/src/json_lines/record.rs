//! One JSON object: known keys into fields, the rest into attribute columns.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use skopos_model::{AttrColumns, AttrType, AttrValues, IngestLimits, Severity, Slot, SpanId, TraceId};

use super::FLATTEN_DEPTH_MAX;
use super::time::{from_float, from_number, parse_timestamp};
use crate::otlp::value::{RecordState, cut, json_double, json_string};

/// What is known of a row besides its attributes; reused from row to row.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(super) time: Option<i64>,
    pub(crate) severity_number: u8,
    pub(crate) severity_text: String,
    severity_known: bool,
    pub(super) body: Option<String>,
    pub(super) service: String,
    pub(super) environment: String,
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) span_id: Option<SpanId>,
    /// Name of the value being read, with the names of the objects it is in.
    path: String,
    /// JSON text of the value being read.
    json: String,
    /// `event`, which is the message for some loggers where nothing else is.
    event: Option<String>,
}

impl Fields {
    pub(super) fn clear(&mut self) {
        let Self { severity_text, service, environment, path, .. } = self;
        for text in [severity_text, service, environment, path] {
            text.clear();
        }
        self.time = None;
        self.severity_number = 0;
        self.severity_known = false;
        self.body = None;
        self.trace_id = None;
        self.span_id = None;
        self.event = None;
    }
}

/// Smaller numbers are no time: this is March 1973 in seconds.
const EPOCH_SECONDS_MIN: u64 = 100_000_000;

/// What a key means.
#[derive(Clone, Copy, PartialEq)]
enum Meaning {
    Time,
    Level,
    SeverityNumber,
    Body,
    Event,
    Service,
    Environment,
    TraceId,
    SpanId,
    Attribute,
}

fn meaning(key: &str) -> Meaning {
    match key {
        "ts" | "time" | "timestamp" | "@timestamp" | "t" | "datetime" | "_timestamp" => Meaning::Time,
        "level" | "severity" | "lvl" | "loglevel" | "log.level" | "log_level" | "severity_text" | "severityText" | "levelname" | "@l" => {
            Meaning::Level
        }
        "severity_number" | "severityNumber" => Meaning::SeverityNumber,
        "msg" | "message" | "body" | "log" | "@m" | "_msg" => Meaning::Body,
        "event" => Meaning::Event,
        "service" | "service.name" | "service_name" | "serviceName" | "app" => Meaning::Service,
        "env" | "environment" | "deployment.environment" | "deployment.environment.name" => Meaning::Environment,
        "trace_id" | "traceId" | "trace.id" | "traceid" | "traceID" | "TraceId" | "otelTraceID" => Meaning::TraceId,
        "span_id" | "spanId" | "span.id" | "spanid" | "spanID" | "SpanId" | "otelSpanID" => Meaning::SpanId,
        _ => Meaning::Attribute,
    }
}

/// A value that is neither object nor array.
#[derive(Clone, Copy)]
enum Scalar<'v> {
    Str(&'v str),
    Bool(bool),
    Int(i64),
    /// Above what a signed integer holds.
    Big(u64),
    Double(f64),
}

impl Scalar<'_> {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Str(s) => Cow::Borrowed(s),
            Self::Bool(b) => Cow::Owned(b.to_string()),
            Self::Int(i) => Cow::Owned(i.to_string()),
            Self::Big(i) => Cow::Owned(i.to_string()),
            Self::Double(d) => Cow::Owned(d.to_string()),
        }
    }
}

/// Reads the object of one row.
pub(crate) struct Record<'r> {
    row: u32,
    fields: &'r mut Fields,
    attributes: &'r mut AttrColumns,
    state: &'r mut RecordState,
    limits: &'r IngestLimits,
    depth: usize,
}

impl<'r> Record<'r> {
    pub(crate) fn new(
        row: u32,
        fields: &'r mut Fields,
        attributes: &'r mut AttrColumns,
        state: &'r mut RecordState,
        limits: &'r IngestLimits,
    ) -> Self {
        Self { row, fields, attributes, state, limits, depth: 0 }
    }

    fn again(&mut self, depth: usize) -> Record<'_> {
        Record { row: self.row, fields: self.fields, attributes: self.attributes, state: self.state, limits: self.limits, depth }
    }

    /// Takes the value of the key in `fields.path`.
    fn take(&mut self, value: Scalar<'_>) {
        let max = self.limits.attribute_value_bytes_max;
        let key = std::mem::take(&mut self.fields.path);
        let taken = match (meaning(&key), value) {
            (Meaning::Time, _) if self.fields.time.is_none() => {
                self.fields.time = match value {
                    Scalar::Str(text) => parse_timestamp(text),
                    // A small number under `t` or `time` is a duration or a counter.
                    Scalar::Int(number) if number.unsigned_abs() >= EPOCH_SECONDS_MIN => from_number(number, 0),
                    Scalar::Double(number) if number.abs() >= EPOCH_SECONDS_MIN as f64 => from_float(number),
                    _ => None,
                };
                self.fields.time.is_some()
            }
            (Meaning::Level, value) if !self.fields.severity_known => self.level(&key, value),
            (Meaning::SeverityNumber, Scalar::Int(number @ 0..=24)) => {
                self.fields.severity_number = number as u8;
                true
            }
            (Meaning::Body, value) if self.fields.body.is_none() => {
                self.fields.body = Some(value.text().into_owned());
                true
            }
            (Meaning::Event, Scalar::Str(text)) if self.fields.event.is_none() => {
                self.fields.event = Some(text.to_owned());
                true
            }
            (Meaning::Service, Scalar::Str(text)) if self.fields.service.is_empty() => {
                self.fields.service.push_str(cut(text, max));
                true
            }
            (Meaning::Environment, Scalar::Str(text)) if self.fields.environment.is_empty() => {
                self.fields.environment.push_str(cut(text, max));
                true
            }
            (Meaning::TraceId, Scalar::Str(text)) if self.fields.trace_id.is_none() => {
                self.fields.trace_id = TraceId::from_hex(text.as_bytes());
                self.fields.trace_id.is_some() || text.is_empty()
            }
            (Meaning::SpanId, Scalar::Str(text)) if self.fields.span_id.is_none() => {
                self.fields.span_id = SpanId::from_hex(text.as_bytes());
                self.fields.span_id.is_some() || text.is_empty()
            }
            _ => false,
        };
        if !taken {
            // Ids of other kinds are found under one name, however the logger spells it.
            let name = match meaning(&key) {
                Meaning::TraceId => "trace_id",
                Meaning::SpanId => "span_id",
                _ => &key,
            };
            self.attribute(name, value);
        }
        self.fields.path = key;
    }

    fn level(&mut self, key: &str, value: Scalar<'_>) -> bool {
        let known = match value {
            Scalar::Str(text) => {
                self.fields.severity_text.push_str(cut(text, 64));
                Severity::from_text(text)
            }
            // pino and bunyan write numbers; nobody else writes these under this name.
            Scalar::Int(number @ (10 | 20 | 30 | 40 | 50 | 60)) if key == "level" => {
                let severity = match number {
                    10 => Severity::Trace,
                    20 => Severity::Debug,
                    30 => Severity::Info,
                    40 => Severity::Warn,
                    50 => Severity::Error,
                    _ => Severity::Fatal,
                };
                self.fields.severity_text.push_str(severity.as_str());
                Some(severity)
            }
            _ => return false,
        };
        self.fields.severity_known = true;
        if let Some(severity) = known
            && self.fields.severity_number == 0
        {
            self.fields.severity_number = severity.number();
        }
        true
    }

    fn attribute(&mut self, key: &str, value: Scalar<'_>) {
        let (row, max) = (self.row, self.limits.attribute_value_bytes_max);
        let ty = match value {
            Scalar::Str(_) | Scalar::Big(_) => AttrType::Str,
            Scalar::Bool(_) => AttrType::Bool,
            Scalar::Int(_) => AttrType::Int,
            Scalar::Double(_) => AttrType::Double,
        };
        let text = if ty == AttrType::Str { value.text() } else { Cow::Borrowed("") };
        let kept = cut(&text, max);
        self.state.truncated |= kept.len() < text.len();
        if !self.state.count(self.limits) {
            return;
        }
        match self.attributes.slot(row, key.as_bytes(), ty) {
            Ok(Slot::Fill(values)) => match (values, value) {
                (AttrValues::Str(column), _) => column.push(kept),
                (AttrValues::Int(column), Scalar::Int(i)) => column.push(i),
                (AttrValues::Double(column), Scalar::Double(d)) => column.push(d),
                (AttrValues::Bool(column), Scalar::Bool(b)) => column.push(b),
                _ => unreachable!("the slot has the type that was asked for"),
            },
            Ok(Slot::Full) => self.state.drop_one(),
            Ok(Slot::Taken) | Err(_) => {}
        }
    }

    /// Takes JSON text as the value of the key in `fields.path`.
    fn take_json(&mut self) {
        if !self.state.count(self.limits) {
            return;
        }
        let kept = cut(&self.fields.json, self.limits.attribute_value_bytes_max);
        self.state.truncated |= kept.len() < self.fields.json.len();
        match self.attributes.slot(self.row, self.fields.path.as_bytes(), AttrType::Json) {
            Ok(Slot::Fill(AttrValues::Json(column))) => column.push(kept),
            Ok(Slot::Full) => self.state.drop_one(),
            _ => {}
        }
    }
}

impl<'de> DeserializeSeed<'de> for Record<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self.again(0))?;
        if let Some(event) = self.fields.event.take() {
            if self.fields.body.is_none() {
                self.fields.body = Some(event);
            } else {
                self.attribute("event", Scalar::Str(&event));
            }
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Record<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let length = self.fields.path.len();
        let depth = self.depth + 1;
        while map.next_key_seed(PathKey(&mut self.fields.path))?.is_some() {
            map.next_value_seed(Member(self.again(depth)))?;
            self.fields.path.truncate(length);
        }
        Ok(())
    }
}

/// Appends a key to the path.
struct PathKey<'p>(&'p mut String);

impl<'de> DeserializeSeed<'de> for PathKey<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for PathKey<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        if !self.0.is_empty() {
            self.0.push('.');
        }
        self.0.push_str(key);
        Ok(())
    }
}

/// The value of a key.
struct Member<'r>(Record<'r>);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E: Error>(mut self, value: bool) -> Result<(), E> {
        self.0.take(Scalar::Bool(value));
        Ok(())
    }
    fn visit_i64<E: Error>(mut self, value: i64) -> Result<(), E> {
        self.0.take(Scalar::Int(value));
        Ok(())
    }
    fn visit_u64<E: Error>(mut self, value: u64) -> Result<(), E> {
        self.0.take(i64::try_from(value).map_or(Scalar::Big(value), Scalar::Int));
        Ok(())
    }
    fn visit_f64<E: Error>(mut self, value: f64) -> Result<(), E> {
        self.0.take(Scalar::Double(value));
        Ok(())
    }
    fn visit_str<E: Error>(mut self, value: &str) -> Result<(), E> {
        self.0.take(Scalar::Str(value));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        if self.0.depth < FLATTEN_DEPTH_MAX {
            let depth = self.0.depth;
            return self.0.again(depth).visit_map(map);
        }
        self.0.fields.json.clear();
        JsonText(&mut self.0.fields.json).visit_map(map)?;
        self.0.take_json();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, list: A) -> Result<(), A::Error> {
        self.0.fields.json.clear();
        JsonText(&mut self.0.fields.json).visit_seq(list)?;
        self.0.take_json();
        Ok(())
    }
}

/// Writes a value as JSON text again.
struct JsonText<'o>(&'o mut String);

impl<'de> DeserializeSeed<'de> for JsonText<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonText<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.push_str("null");
        Ok(())
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.0.push_str(if value { "true" } else { "false" });
        Ok(())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        write!(self.0, "{value}").map_err(E::custom)
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        write!(self.0, "{value}").map_err(E::custom)
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        json_double(value, self.0);
        Ok(())
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        json_string(value, self.0);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.push('[');
        let start = self.0.len();
        loop {
            let before = self.0.len();
            if before > start {
                self.0.push(',');
            }
            if list.next_element_seed(JsonText(self.0))?.is_none() {
                self.0.truncate(before);
                break;
            }
        }
        self.0.push(']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.push('{');
        let start = self.0.len();
        loop {
            let before = self.0.len();
            if before > start {
                self.0.push(',');
            }
            if map.next_key_seed(JsonText(self.0))?.is_none() {
                self.0.truncate(before);
                break;
            }
            self.0.push(':');
            map.next_value_seed(JsonText(self.0))?;
        }
        self.0.push('}');
        Ok(())
    }
}
