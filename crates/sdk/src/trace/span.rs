//! Spans. A span's fields are written as OTLP bytes when they are set, so that ending it is one copy into the queue
//! and the export thread has nothing left to encode.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::context::{Context, ContextGuard};
use super::id::{SpanContext, SpanId, TraceId};
use super::request::RequestScope;
use crate::clock;
use crate::limits::{MAX_ATTRIBUTES, MAX_EVENTS, MAX_LINKS, MAX_VALUE_BYTES, cut};
use crate::telemetry::Telemetry;
use crate::value::Value;
use crate::wire;

/// The role of a span in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpanKind {
    /// Work inside the service.
    #[default]
    Internal,
    /// Serves a request from outside.
    Server,
    /// Calls another service, database or cache.
    Client,
    /// Puts a message into a queue.
    Producer,
    /// Takes a message out of a queue.
    Consumer,
}

impl SpanKind {
    fn number(self) -> u64 {
        match self {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
        }
    }
}

// Field numbers of opentelemetry.proto.trace.v1.Span.
const ATTRIBUTES: u32 = 9;
const EVENTS: u32 = 11;
const LINKS: u32 = 13;

thread_local! {
    /// Buffers of ended spans, to be used again: in steady state recording allocates no buffer.
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}
const POOLED_BUFFERS: usize = 64;
const POOLED_BYTES: usize = 16 * 1024;

fn take_buffer() -> Vec<u8> {
    POOL.with(|pool| pool.borrow_mut().pop()).unwrap_or_else(|| Vec::with_capacity(512))
}

fn give_buffer(mut buffer: Vec<u8>) {
    buffer.clear();
    if buffer.capacity() <= POOLED_BYTES {
        // The pool may be gone while the thread ends.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOLED_BUFFERS {
                pool.push(buffer);
            }
        });
    }
}

/// What is recorded of a sampled span until it ends.
pub(crate) struct SpanRecord {
    telemetry: Telemetry,
    span: SpanContext,
    parent: SpanId,
    parent_remote: bool,
    kind: SpanKind,
    start_ns: u64,
    started: Instant,
    /// First span of the request in this process: it gets the breadcrumbs.
    local_root: bool,
    request: Option<Arc<RequestScope>>,
    state: Mutex<State>,
}

struct State {
    buffer: Vec<u8>,
    name: Cow<'static, str>,
    attributes: u32,
    dropped_attributes: u32,
    events: u32,
    dropped_events: u32,
    error: Option<Cow<'static, str>>,
    ok: bool,
    ended: bool,
}

impl State {
    fn set(&mut self, key: &str, value: &Value<'_>) {
        // Keys are unique in OTLP; the last value set wins.
        self.attributes -= wire::remove_key(&mut self.buffer, ATTRIBUTES, key);
        if self.attributes == MAX_ATTRIBUTES {
            self.dropped_attributes += 1;
        } else {
            self.attributes += 1;
            wire::key_value(&mut self.buffer, ATTRIBUTES, key, value);
        }
    }

    fn event(&mut self, time_ns: u64, name: &str, attributes: &[(&str, Value<'_>)]) {
        if self.events == MAX_EVENTS {
            self.dropped_events += 1;
            return;
        }
        self.events += 1;
        wire::message(&mut self.buffer, EVENTS, |out| {
            wire::fixed64(out, 1, time_ns);
            wire::string(out, 2, cut(name, MAX_VALUE_BYTES));
            for (key, value) in attributes {
                wire::key_value(out, 3, key, value);
            }
        });
    }
}

impl SpanRecord {
    fn edit(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        if !state.ended {
            change(&mut state);
        }
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn now_ns(&self) -> u64 {
        self.start_ns + clock::as_ns(self.elapsed())
    }

    pub(crate) fn set(&self, key: &str, value: Value<'_>) {
        self.edit(|state| state.set(key, &value));
    }

    pub(crate) fn event(&self, name: &str, attributes: &[(&str, Value<'_>)]) {
        let now = self.now_ns();
        self.edit(|state| state.event(now, name, attributes));
    }

    pub(crate) fn fail(&self, message: Cow<'static, str>) {
        self.edit(|state| state.error = Some(message));
    }

    pub(crate) fn record_error(&self, error: &(dyn std::error::Error + '_)) {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Many errors already print their source; do not say it twice.
            if !chain.contains(&text) {
                chain.push_str(": ");
                chain.push_str(&text);
            }
            source = cause.source();
        }
        self.record_exception(&chain);
    }

    pub(crate) fn record_exception(&self, message: &str) {
        let now = self.now_ns();
        self.edit(|state| {
            state.event(now, "exception", &[("exception.message", Value::from(message))]);
            state.error = Some(Cow::Owned(cut(message, MAX_VALUE_BYTES).to_owned()));
        });
    }

    /// Ends the span once; later calls and changes do nothing.
    fn end(&self) {
        let mut state = self.state.lock();
        if state.ended {
            return;
        }
        state.ended = true;
        let end_ns = self.now_ns();
        if state.error.is_some()
            && let Some(request) = &self.request
        {
            request.with_flags(|key, variant| state.set(&format!("feature_flag.{key}"), &Value::from(variant)));
            if self.local_root {
                for crumb in request.breadcrumbs() {
                    state.event(
                        crumb.time_ns,
                        "breadcrumb",
                        &[("breadcrumb.category", Value::from(crumb.category)), ("breadcrumb.message", Value::from(crumb.message))],
                    );
                }
            }
        }
        let mut out = std::mem::take(&mut state.buffer);
        wire::bytes(&mut out, 1, &self.span.trace_id.to_bytes());
        wire::bytes(&mut out, 2, &self.span.span_id.to_bytes());
        if let Some(trace_state) = &self.span.trace_state {
            wire::string(&mut out, 3, trace_state);
        }
        if self.parent.is_valid() {
            wire::bytes(&mut out, 4, &self.parent.to_bytes());
        }
        wire::string(&mut out, 5, cut(&state.name, MAX_VALUE_BYTES));
        wire::uint(&mut out, 6, self.kind.number());
        wire::fixed64(&mut out, 7, self.start_ns);
        wire::fixed64(&mut out, 8, end_ns);
        if state.dropped_attributes > 0 {
            wire::uint(&mut out, 10, u64::from(state.dropped_attributes));
        }
        if state.dropped_events > 0 {
            wire::uint(&mut out, 12, u64::from(state.dropped_events));
        }
        if let Some(message) = &state.error {
            wire::message(&mut out, 15, |out| {
                wire::string(out, 2, cut(message, MAX_VALUE_BYTES));
                wire::uint(out, 3, 2);
            });
        } else if state.ok {
            wire::message(&mut out, 15, |out| wire::uint(out, 3, 1));
        }
        let parent_flags = SpanContext { remote: self.parent_remote, ..self.span.clone() };
        wire::fixed32(&mut out, 16, parent_flags.flags());
        drop(state);
        self.telemetry.spans().push(&out);
        give_buffer(out);
    }
}

impl Drop for SpanRecord {
    fn drop(&mut self) {
        self.end();
    }
}

/// A running operation. It ends when [`Span::end`] is called or the value is dropped.
pub struct Span {
    context: Context,
}

impl Span {
    /// Starts describing a span called `name`.
    pub fn builder(name: impl Into<Cow<'static, str>>) -> SpanBuilder {
        SpanBuilder {
            name: name.into(),
            kind: SpanKind::Internal,
            parent: None,
            telemetry: None,
            buffer: take_buffer(),
            attributes: 0,
            dropped_attributes: 0,
            links: 0,
        }
    }

    /// Starts an internal span below the current one.
    pub fn start(name: impl Into<Cow<'static, str>>) -> Self {
        Self::builder(name).start()
    }

    /// The context for work done under this span.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Ids and flags.
    pub fn span_context(&self) -> &SpanContext {
        self.context.span_context()
    }

    /// Makes this the current span of the thread until the guard is dropped; not across `.await`, where
    /// [`super::context::FutureExt::in_span`] does it.
    pub fn enter(&self) -> ContextGuard {
        self.context.clone().attach()
    }

    /// Whether the span will be exported; if not, everything that only feeds it can be left out.
    pub fn is_recording(&self) -> bool {
        self.context.record().is_some()
    }

    /// Sets attribute `key`; a key set before is replaced.
    pub fn set_attr<'a>(&self, key: &str, value: impl Into<Value<'a>>) {
        if let Some(record) = self.context.record() {
            record.set(key, value.into());
        }
    }

    /// Replaces the name.
    pub fn set_name(&self, name: impl Into<Cow<'static, str>>) {
        if let Some(record) = self.context.record() {
            let name = name.into();
            record.edit(|state| state.name = name);
        }
    }

    /// Adds an event that happens now.
    pub fn add_event(&self, name: &str, attributes: &[(&str, Value<'_>)]) {
        if let Some(record) = self.context.record() {
            record.event(name, attributes);
        }
    }

    /// Marks the span as failed and records `error` with its sources as an event.
    pub fn record_error(&self, error: &(dyn std::error::Error + '_)) {
        if let Some(record) = self.context.record() {
            record.record_error(error);
        }
    }

    /// Marks the span as failed for the reason `message`, which is recorded as an event.
    pub fn record_error_message(&self, message: &str) {
        if let Some(record) = self.context.record() {
            record.record_exception(message);
        }
    }

    /// Sets status error without an event.
    pub fn set_error(&self, message: impl Into<Cow<'static, str>>) {
        if let Some(record) = self.context.record() {
            record.fail(message.into());
        }
    }

    /// Whether the span is marked as failed.
    pub fn has_error(&self) -> bool {
        self.context.record().is_some_and(|record| record.state.lock().error.is_some())
    }

    /// Sets status ok: the operation is known to have succeeded. An error set before or after wins.
    pub fn set_ok(&self) {
        if let Some(record) = self.context.record() {
            record.edit(|state| state.ok = true);
        }
    }

    /// Time since the start; zero for a span that is not recorded.
    pub fn elapsed(&self) -> Duration {
        self.context.record().map_or(Duration::ZERO, |record| record.elapsed())
    }

    /// Ends the span and hands it to the exporter.
    pub fn end(self) {}
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(record) = self.context.record() {
            if std::thread::panicking() {
                record.fail(Cow::Borrowed("panic"));
            }
            record.end();
        }
    }
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Span").field(self.span_context()).finish()
    }
}

/// Describes a span before it starts.
pub struct SpanBuilder {
    name: Cow<'static, str>,
    kind: SpanKind,
    parent: Option<Context>,
    telemetry: Option<Telemetry>,
    buffer: Vec<u8>,
    attributes: u32,
    dropped_attributes: u32,
    links: u32,
}

impl SpanBuilder {
    /// The role of the span; internal if not said.
    #[must_use]
    pub fn kind(mut self, kind: SpanKind) -> Self {
        self.kind = kind;
        self
    }

    /// An attribute; a key given before is replaced.
    #[must_use]
    pub fn attr<'a>(mut self, key: &str, value: impl Into<Value<'a>>) -> Self {
        self.attributes -= wire::remove_key(&mut self.buffer, ATTRIBUTES, key);
        if self.attributes == MAX_ATTRIBUTES {
            self.dropped_attributes += 1;
        } else {
            self.attributes += 1;
            wire::key_value(&mut self.buffer, ATTRIBUTES, key, &value.into());
        }
        self
    }

    /// The parent; the current context if not said. `Context::default()` starts a new trace.
    #[must_use]
    pub fn parent(mut self, parent: Context) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Names another span that led to this one without being its parent.
    #[must_use]
    pub fn link(mut self, other: &SpanContext) -> Self {
        if other.is_valid() && self.links < MAX_LINKS {
            self.links += 1;
            wire::message(&mut self.buffer, LINKS, |out| {
                wire::bytes(out, 1, &other.trace_id.to_bytes());
                wire::bytes(out, 2, &other.span_id.to_bytes());
                if let Some(trace_state) = &other.trace_state {
                    wire::string(out, 3, trace_state);
                }
                wire::fixed32(out, 6, other.flags());
            });
        }
        self
    }

    /// The pipeline; that of the parent if not said.
    #[must_use]
    pub fn telemetry(mut self, telemetry: &Telemetry) -> Self {
        self.telemetry = Some(telemetry.clone());
        self
    }

    /// Starts the span now.
    pub fn start(self) -> Span {
        let parent = self.parent.unwrap_or_else(Context::current);
        let telemetry = self.telemetry.unwrap_or_else(|| parent.telemetry());
        let from = parent.span_context();
        let has_parent = from.is_valid();
        let trace_id = if has_parent { from.trace_id } else { TraceId::random() };
        let span = SpanContext {
            trace_id,
            span_id: SpanId::random(),
            sampled: if has_parent { from.sampled } else { telemetry.samples(trace_id) },
            remote: false,
            trace_state: if has_parent { from.trace_state.clone() } else { None },
        };
        if !span.sampled || !telemetry.records_spans() {
            give_buffer(self.buffer);
            let context = parent.with_span(&telemetry, span, None);
            return Span { context };
        }
        let record = SpanRecord {
            telemetry: telemetry.clone(),
            span: span.clone(),
            parent: if has_parent { from.span_id } else { SpanId::default() },
            parent_remote: has_parent && from.remote,
            kind: self.kind,
            start_ns: clock::now_ns(),
            started: Instant::now(),
            local_root: !has_parent || from.remote,
            request: parent.request().cloned(),
            state: Mutex::new(State {
                buffer: self.buffer,
                name: self.name,
                attributes: self.attributes,
                dropped_attributes: self.dropped_attributes,
                events: 0,
                dropped_events: 0,
                error: None,
                ok: false,
                ended: false,
            }),
        };
        Span { context: parent.with_span(&telemetry, span, Some(Arc::new(record))) }
    }
}

impl std::fmt::Debug for SpanBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpanBuilder").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}
