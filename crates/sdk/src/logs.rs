//! `tracing` events as log records: one JSON line with stable keys, and one OTLP record, both with the ids of the span
//! and request they belong to.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context as LayerContext;

use crate::clock;
use crate::limits::{MAX_ATTRIBUTES, MAX_VALUE_BYTES, cut};
use crate::telemetry::Telemetry;
use crate::trace::context::Context;
use crate::value::Value;
use crate::wire;

thread_local! {
    static SILENT: Cell<bool> = const { Cell::new(false) };
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// No log records from the calling thread: it is the exporter's.
pub(crate) fn silence_this_thread() {
    SILENT.with(|silent| silent.set(true));
}

/// Whether [`silence_this_thread`] was called here.
pub(crate) fn this_thread_is_silent() -> bool {
    SILENT.with(Cell::get)
}

/// Keys every log line has at its top, whatever fields the event has.
pub const STABLE_KEYS: [&str; 9] = ["timestamp", "level", "service", "environment", "trace_id", "span_id", "request_id", "user_id", "message"];

/// Buffers of one record being written, kept per thread.
struct Scratch {
    message: String,
    text: String,
    json_fields: Vec<u8>,
    attributes: Vec<u8>,
    line: Vec<u8>,
    record: Vec<u8>,
}

impl Scratch {
    const fn new() -> Self {
        Self { message: String::new(), text: String::new(), json_fields: Vec::new(), attributes: Vec::new(), line: Vec::new(), record: Vec::new() }
    }
}

/// Turns `tracing` events into log records. It stands on any `tracing` subscriber, usually the registry.
#[derive(Debug, Clone)]
pub struct LogLayer {
    telemetry: Telemetry,
}

impl LogLayer {
    pub(crate) fn new(telemetry: Telemetry) -> Self {
        Self { telemetry }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: LayerContext<'_, S>) {
        if this_thread_is_silent() {
            return;
        }
        let metadata = event.metadata();
        // A clone, not a borrow: printing the fields runs code of the application, which may change the context.
        let context = Context::current();
        let telemetry = context.own_telemetry().unwrap_or(&self.telemetry);
        write(telemetry, &context, *metadata.level(), metadata.target(), |visitor| event.record(visitor));
    }
}

/// Writes one record: the fields are visited once, then the line and the OTLP record are put together.
fn write(telemetry: &Telemetry, context: &Context, level: Level, target: &str, record: impl FnOnce(&mut Fields<'_>)) {
    let to_otlp = telemetry.records_logs();
    if !to_otlp && telemetry.lines().is_none() {
        return;
    }
    // Formatting a field runs code of the application, which may log itself: then the buffers are in use and the inner
    // record gets fresh ones.
    let mut scratch = SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => std::mem::replace(&mut *scratch, Scratch::new()),
        Err(_) => Scratch::new(),
    });
    scratch.message.clear();
    scratch.json_fields.clear();
    scratch.attributes.clear();
    let mut fields = Fields {
        message: &mut scratch.message,
        text: &mut scratch.text,
        json: &mut scratch.json_fields,
        attributes: &mut scratch.attributes,
        count: 0,
        dropped: 0,
        request_id: None,
        user_id: None,
    };
    record(&mut fields);
    let Fields { count: _, dropped, request_id, user_id, .. } = fields;
    let request = context.request();
    let request_id = request_id.or_else(|| request.map(|request| request.request_id.clone()));
    let user_id = user_id.or_else(|| request.and_then(|request| request.user_id()));
    let mut attributes = std::mem::take(&mut scratch.attributes);
    let mut json_fields = std::mem::take(&mut scratch.json_fields);
    if level == Level::ERROR
        && let Some(request) = request
    {
        request.with_flags(|key, variant| {
            let key = format!("feature_flag.{key}");
            wire::key_value(&mut attributes, 6, &key, &Value::from(variant));
            json_pair(&mut json_fields, &key, &Value::from(variant));
        });
    }
    let entry = Entry {
        time_ns: clock::now_ns(),
        level,
        target,
        message: &scratch.message,
        request_id: request_id.as_deref(),
        user_id: user_id.as_deref(),
        attributes: &attributes,
        dropped,
        json_fields: &json_fields,
    };
    if let Some(lines) = telemetry.lines() {
        scratch.line.clear();
        entry.write_line(telemetry, context, &mut scratch.line);
        lines.push(&scratch.line);
    }
    if to_otlp {
        scratch.record.clear();
        entry.write_otlp(context, &mut scratch.record);
        telemetry.log_queue().push(&scratch.record);
    }
    scratch.attributes = attributes;
    scratch.json_fields = json_fields;
    SCRATCH.with(|slot| {
        if let Ok(mut slot) = slot.try_borrow_mut() {
            *slot = scratch;
        }
    });
}

struct Entry<'a> {
    time_ns: u64,
    level: Level,
    target: &'a str,
    message: &'a str,
    request_id: Option<&'a str>,
    user_id: Option<&'a str>,
    attributes: &'a [u8],
    dropped: u32,
    json_fields: &'a [u8],
}

impl Entry<'_> {
    fn write_line(&self, telemetry: &Telemetry, context: &Context, out: &mut Vec<u8>) {
        let config = telemetry.config();
        out.extend_from_slice(b"{\"timestamp\":\"");
        clock::write_rfc3339(out, self.time_ns);
        out.push(b'"');
        json_pair(out, "level", &Value::from(level_text(self.level)));
        json_pair(out, "service", &Value::from(&config.service_name));
        json_pair(out, "environment", &Value::from(&config.environment));
        let span = context.span_context();
        if span.is_valid() {
            // Ids are hexadecimal: nothing to escape, and no allocation on the way.
            let mut text = std::mem::take(out);
            let _ = std::io::Write::write_fmt(&mut text, format_args!(",\"trace_id\":\"{}\",\"span_id\":\"{}\"", span.trace_id, span.span_id));
            *out = text;
        }
        if let Some(id) = self.request_id {
            json_pair(out, "request_id", &Value::from(id));
        }
        if let Some(id) = self.user_id {
            json_pair(out, "user_id", &Value::from(id));
        }
        json_pair(out, "message", &Value::from(self.message));
        json_pair(out, "target", &Value::from(self.target));
        out.extend_from_slice(self.json_fields);
        out.extend_from_slice(b"}\n");
    }

    /// Field numbers of opentelemetry.proto.logs.v1.LogRecord.
    fn write_otlp(&self, context: &Context, out: &mut Vec<u8>) {
        wire::fixed64(out, 1, self.time_ns);
        wire::uint(out, 2, severity(self.level));
        wire::string(out, 3, level_text(self.level));
        wire::any_value(out, 5, &Value::from(self.message));
        out.extend_from_slice(self.attributes);
        for (key, value) in [("request_id", self.request_id), ("user_id", self.user_id), ("target", Some(self.target))] {
            if let Some(value) = value {
                wire::key_value(out, 6, key, &Value::from(value));
            }
        }
        if self.dropped > 0 {
            wire::uint(out, 7, u64::from(self.dropped));
        }
        let span = context.span_context();
        if span.is_valid() {
            wire::fixed32(out, 8, u32::from(span.sampled));
            wire::bytes(out, 9, &span.trace_id.to_bytes());
            wire::bytes(out, 10, &span.span_id.to_bytes());
        }
        wire::fixed64(out, 11, self.time_ns);
    }
}

fn level_text(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

fn severity(level: Level) -> u64 {
    match level {
        Level::TRACE => 1,
        Level::DEBUG => 5,
        Level::INFO => 9,
        Level::WARN => 13,
        Level::ERROR => 17,
    }
}

/// Appends `,"key":value`.
fn json_pair(out: &mut Vec<u8>, key: &str, value: &Value<'_>) {
    out.push(b',');
    json_text(out, key);
    out.push(b':');
    match value {
        Value::Str(text) => json_text(out, cut(text, MAX_VALUE_BYTES)),
        Value::Bool(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
        Value::Int(number) => {
            let _ = std::io::Write::write_fmt(out, format_args!("{number}"));
        }
        // JSON has no NaN or infinity.
        Value::Float(number) if number.is_finite() => {
            let _ = std::io::Write::write_fmt(out, format_args!("{number:?}"));
        }
        Value::Float(number) => json_text(out, &number.to_string()),
    }
}

fn json_text(out: &mut Vec<u8>, text: &str) {
    // Writing a string to a Vec does not fail.
    let _ = serde_json::to_writer(&mut *out, text);
}

/// Collects the fields of one event in both encodings.
struct Fields<'a> {
    message: &'a mut String,
    text: &'a mut String,
    json: &'a mut Vec<u8>,
    attributes: &'a mut Vec<u8>,
    count: u32,
    dropped: u32,
    request_id: Option<String>,
    user_id: Option<String>,
}

impl Fields<'_> {
    fn add(&mut self, name: &str, value: &Value<'_>) {
        match (name, value) {
            ("message", Value::Str(text)) => {
                self.message.clear();
                self.message.push_str(cut(text, MAX_VALUE_BYTES));
            }
            ("request_id", Value::Str(text)) => self.request_id = Some(cut(text, MAX_VALUE_BYTES).to_owned()),
            ("user_id", Value::Str(text)) => self.user_id = Some(cut(text, MAX_VALUE_BYTES).to_owned()),
            _ if self.count == MAX_ATTRIBUTES => self.dropped += 1,
            _ => {
                self.count += 1;
                wire::key_value(self.attributes, 6, name, value);
                // A field that bears the name of a stable key must not shadow it.
                if STABLE_KEYS.contains(&name) || name == "target" {
                    json_pair(self.json, &format!("fields.{name}"), value);
                } else {
                    json_pair(self.json, name, value);
                }
            }
        }
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), &Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), &Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), &Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), &Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), &Value::from(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = std::mem::take(self.text);
        text.clear();
        let mut bounded = Bounded { text: &mut text };
        // An error means that the text is full, or that the value cannot print itself: what there is, is kept.
        let _ = write!(bounded, "{value:?}");
        self.add(field.name(), &Value::from(text.as_str()));
        *self.text = text;
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.add(field.name(), &Value::from(text.as_str()));
    }
}

/// How a value prints itself, cut at the longest value there may be.
pub(crate) fn bounded_debug(value: &dyn fmt::Debug) -> String {
    let mut text = String::new();
    // An error means that the text is full, or that the value cannot print itself: what there is, is kept.
    let _ = write!(Bounded { text: &mut text }, "{value:?}");
    text
}

/// Stops a `Debug` that would print megabytes.
struct Bounded<'a> {
    text: &'a mut String,
}

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = MAX_VALUE_BYTES - self.text.len();
        self.text.push_str(cut(part, room));
        if part.len() > room { Err(fmt::Error) } else { Ok(()) }
    }
}

/// The warning about dropped telemetry, on the same way as any log record.
pub(crate) fn warn_dropped(telemetry: &Telemetry, dropped: u64) {
    let reason = telemetry.account().last_reason();
    write(telemetry, &Context::default(), Level::WARN, "skopos_sdk", |fields| {
        fields.add("message", &Value::from("telemetry was dropped because it could not be delivered"));
        fields.add("dropped", &Value::from(dropped));
        if !reason.is_empty() {
            fields.add("reason", &Value::from(reason));
        }
    });
}
