//! `tracing` spans as OTLP spans: what libraries and `#[tracing::instrument]` open lies in the same trace, in the same
//! context, as the spans of this SDK.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context as LayerContext;
use tracing_subscriber::registry::LookupSpan;

use super::context::{Context, ContextGuard};
use super::span::{Span, SpanKind};
use crate::logs::{bounded_debug, this_thread_is_silent};
use crate::telemetry::Telemetry;
use crate::value::Value;

/// A span that has been entered on this thread.
struct Entered {
    id: Id,
    /// Puts the context of before back when it is dropped.
    _guard: ContextGuard,
    left: bool,
}

thread_local! {
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
}

/// Makes `tracing` spans spans of the trace. It needs a registry below it; which spans it sees is up to the filter
/// (`SKOPOS_LOG`), as with events.
///
/// The fields `otel.name`, `otel.kind` (`server`, `client`, `producer`, `consumer`, `internal`) and
/// `otel.status_message` mean what they mean elsewhere; all others are attributes. An event of level `ERROR` marks the
/// span it happens in as failed.
#[derive(Debug, Clone)]
pub struct SpanLayer {
    telemetry: Telemetry,
}

impl SpanLayer {
    pub(crate) fn new(telemetry: Telemetry) -> Self {
        Self { telemetry }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, registry: LayerContext<'_, S>) {
        if this_thread_is_silent() {
            return;
        }
        let Some(data) = registry.span(id) else { return };
        let parent = match attributes.parent() {
            Some(parent) => {
                let named = registry.span(parent).and_then(|p| p.extensions().get::<Span>().map(|span| span.context().clone()));
                named.unwrap_or_else(Context::current)
            }
            None if attributes.is_root() => Context::current().without_span(),
            None => Context::current(),
        };
        let telemetry = parent.own_telemetry().unwrap_or(&self.telemetry).clone();
        let mut builder = Span::builder(attributes.metadata().name()).parent(parent).telemetry(&telemetry);
        if attributes.metadata().fields().field("otel.kind").is_some() {
            let mut kind = Kind::default();
            attributes.record(&mut kind);
            builder = builder.kind(kind.0);
        }
        let span = builder.start();
        attributes.record(&mut Setter(&span));
        data.extensions_mut().replace(span);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, registry: LayerContext<'_, S>) {
        if let Some(data) = registry.span(id)
            && let Some(span) = data.extensions().get::<Span>()
        {
            values.record(&mut Setter(span));
        }
    }

    fn on_event(&self, event: &Event<'_>, registry: LayerContext<'_, S>) {
        if *event.metadata().level() != Level::ERROR {
            return;
        }
        if let Some(data) = registry.event_span(event)
            && let Some(span) = data.extensions().get::<Span>()
            && !span.has_error()
        {
            let mut reason = Reason::default();
            event.record(&mut reason);
            span.set_error(reason.0);
        }
    }

    fn on_enter(&self, id: &Id, registry: LayerContext<'_, S>) {
        let context = registry.span(id).and_then(|data| data.extensions().get::<Span>().map(|span| span.context().clone()));
        if let Some(context) = context {
            let entered = Entered { id: id.clone(), _guard: context.attach(), left: false };
            // The thread may be ending: then nothing runs in it any more.
            let _ = ENTERED.try_with(|stack| stack.borrow_mut().push(entered));
        }
    }

    fn on_exit(&self, id: &Id, _: LayerContext<'_, S>) {
        let mut done = Vec::new();
        let _ = ENTERED.try_with(|stack| {
            let mut stack = stack.borrow_mut();
            if let Some(entered) = stack.iter_mut().rev().find(|e| e.id == *id && !e.left) {
                entered.left = true;
            }
            // Guards may be dropped in any order; each one puts back what was before it, so they go from the top.
            while stack.last().is_some_and(|e| e.left) {
                done.extend(stack.pop());
            }
        });
        // In this order, and outside of the borrow: dropping a context may end a span.
        for entered in done {
            drop(entered);
        }
    }

    fn on_close(&self, id: Id, registry: LayerContext<'_, S>) {
        // Taken out first: ending a span is no work for under a lock of the registry.
        let span = registry.span(&id).and_then(|data| data.extensions_mut().remove::<Span>());
        drop(span);
    }
}

/// The kind that a field names.
#[derive(Default)]
struct Kind(SpanKind);

impl Kind {
    fn read(&mut self, field: &Field, text: &str) {
        if field.name() == "otel.kind" {
            self.0 = match text.trim_matches('"').to_ascii_lowercase().as_str() {
                "server" => SpanKind::Server,
                "client" => SpanKind::Client,
                "producer" => SpanKind::Producer,
                "consumer" => SpanKind::Consumer,
                _ => SpanKind::Internal,
            };
        }
    }
}

impl Visit for Kind {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.read(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "otel.kind" {
            self.read(field, &bounded_debug(value));
        }
    }
}

/// Sets fields on a span.
struct Setter<'s>(&'s Span);

impl Setter<'_> {
    fn set(&self, field: &Field, value: Value<'_>) {
        match (field.name(), &value) {
            ("otel.kind", _) => {}
            ("otel.name", Value::Str(name)) => self.0.set_name(name.to_string()),
            ("otel.status_message", Value::Str(message)) => self.0.set_error(message.to_string()),
            (name, _) => self.0.set_attr(name, value),
        }
    }
}

impl Visit for Setter<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Value::from(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.0.is_recording() {
            self.set(field, Value::from(bounded_debug(value).as_str()));
        }
    }
}

/// Why an event says that its span has failed: its error, else its message.
#[derive(Default)]
struct Reason(Cow<'static, str>);

impl Visit for Reason {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "error" || (field.name() == "message" && self.0.is_empty()) {
            self.0 = Cow::Owned(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if matches!(field.name(), "error" | "message") {
            self.record_str(field, &bounded_debug(value));
        }
    }
}
