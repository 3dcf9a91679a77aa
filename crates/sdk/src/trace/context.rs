//! The current context: which span, request and pipeline the running code belongs to.
//!
//! It is thread-local, and a future carries its own: [`InContext`] sets it for each poll and takes it away after, so
//! that it survives `.await` and never leaks to another task of the thread.

use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context as TaskContext, Poll};

use pin_project_lite::pin_project;

use super::id::{SpanContext, TraceId};
use super::propagation::{self, Baggage, Extractor};
use super::request::{RequestScope, clean_id};
use super::span::{Span, SpanRecord};
use crate::telemetry::Telemetry;
use crate::value::Value;

thread_local! {
    static CURRENT: RefCell<Context> = RefCell::new(Context::default());
}

/// An immutable snapshot of "where we are"; cheap to clone.
#[derive(Clone, Default)]
pub struct Context {
    inner: Option<Arc<Inner>>,
}

#[derive(Clone, Default)]
struct Inner {
    telemetry: Option<Telemetry>,
    span: SpanContext,
    record: Option<Arc<SpanRecord>>,
    request: Option<Arc<RequestScope>>,
    baggage: Option<Arc<Baggage>>,
}

static EMPTY: LazyLock<Inner> = LazyLock::new(Inner::default);
static NO_BAGGAGE: Baggage = Baggage::empty();

impl Context {
    /// The context of the running code; empty outside any span.
    pub fn current() -> Self {
        CURRENT.with(|current| current.borrow().clone())
    }

    /// Runs `read` on the current context without cloning it.
    pub(crate) fn with_current<R>(read: impl FnOnce(&Context) -> R) -> R {
        CURRENT.with(|current| read(&current.borrow()))
    }

    /// A context whose parent span and baggage come from `carrier`, such as the headers of a request or message.
    pub fn extract(carrier: &dyn Extractor) -> Self {
        let baggage = propagation::extract_baggage(carrier);
        Self::new(Inner {
            span: propagation::extract_span(carrier).unwrap_or_default(),
            baggage: (!baggage.is_empty()).then(|| Arc::new(baggage)),
            ..Inner::default()
        })
    }

    fn new(inner: Inner) -> Self {
        Self { inner: Some(Arc::new(inner)) }
    }

    fn get(&self) -> &Inner {
        self.inner.as_deref().unwrap_or(&EMPTY)
    }

    /// Ids and flags of the span; invalid outside any span.
    pub fn span_context(&self) -> &SpanContext {
        &self.get().span
    }

    /// The trace id, if there is a trace.
    pub fn trace_id(&self) -> Option<TraceId> {
        let id = self.span_context().trace_id;
        id.is_valid().then_some(id)
    }

    /// The baggage; empty when there is none.
    pub fn baggage(&self) -> &Baggage {
        self.get().baggage.as_deref().unwrap_or(&NO_BAGGAGE)
    }

    /// The same context with other baggage.
    pub fn with_baggage(&self, baggage: Baggage) -> Self {
        Self::new(Inner { baggage: Some(Arc::new(baggage)), ..self.get().clone() })
    }

    /// The same context whose spans, logs and metrics go to `telemetry`.
    pub fn with_telemetry(&self, telemetry: &Telemetry) -> Self {
        Self::new(Inner { telemetry: Some(telemetry.clone()), ..self.get().clone() })
    }

    /// The same context as the scope of a request; ids that are no visible ASCII are replaced or left out.
    pub fn with_request(&self, request_id: Option<&str>, user_id: Option<&str>) -> Self {
        let request_id = request_id.and_then(clean_id).map_or_else(new_request_id, str::to_owned);
        let user_id = user_id.and_then(clean_id).map(str::to_owned);
        Self::new(Inner { request: Some(Arc::new(RequestScope::new(request_id, user_id))), ..self.get().clone() })
    }

    pub(crate) fn with_span(&self, telemetry: &Telemetry, span: SpanContext, record: Option<Arc<SpanRecord>>) -> Self {
        Self::new(Inner { telemetry: Some(telemetry.clone()), span, record, ..self.get().clone() })
    }

    /// The same context outside of any span: what starts in it starts a trace.
    pub(crate) fn without_span(&self) -> Self {
        Self::new(Inner { span: SpanContext::default(), record: None, ..self.get().clone() })
    }

    pub(crate) fn record(&self) -> Option<&Arc<SpanRecord>> {
        self.get().record.as_ref()
    }

    pub(crate) fn request(&self) -> Option<&Arc<RequestScope>> {
        self.get().request.as_ref()
    }

    /// The id of the request being served.
    pub fn request_id(&self) -> Option<&str> {
        self.request().map(|request| request.request_id.as_str())
    }

    /// The user on whose behalf the request is served.
    pub fn user_id(&self) -> Option<String> {
        self.request().and_then(|request| request.user_id())
    }

    /// The pipeline of this context: its own, or the process-wide one.
    pub fn telemetry(&self) -> Telemetry {
        self.own_telemetry().cloned().unwrap_or_else(Telemetry::global)
    }

    pub(crate) fn own_telemetry(&self) -> Option<&Telemetry> {
        self.get().telemetry.as_ref()
    }

    /// Makes this the current context of the thread until the guard is dropped. Not across `.await`: use
    /// [`FutureExt::in_context`] there.
    pub fn attach(self) -> ContextGuard {
        let previous = CURRENT.with(|current| current.replace(self));
        ContextGuard { previous: Some(previous), _not_send: PhantomData }
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("span", self.span_context()).field("request_id", &self.request_id()).finish_non_exhaustive()
    }
}

fn new_request_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// Puts the previous context back when dropped.
#[derive(Debug)]
pub struct ContextGuard {
    previous: Option<Context>,
    _not_send: PhantomData<*const ()>,
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        if let Some(previous) = self.previous.take() {
            // The replaced context is dropped after the borrow has ended: it may end a span, which reads CURRENT.
            let replaced = CURRENT.with(|current| current.replace(previous));
            drop(replaced);
        }
    }
}

pin_project! {
    /// A future that runs in a context of its own.
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct InContext<F> {
        #[pin]
        future: F,
        context: Context,
    }
}

impl<F: Future> Future for InContext<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _guard = this.context.clone().attach();
        this.future.poll(task)
    }
}

/// Gives any future a context.
pub trait FutureExt: Future + Sized {
    /// Runs the future in `context`.
    fn in_context(self, context: Context) -> InContext<Self> {
        InContext { future: self, context }
    }

    /// Runs the future as the work of `span`, which the caller ends.
    fn in_span(self, span: &Span) -> InContext<Self> {
        self.in_context(span.context().clone())
    }

    /// Runs the future in the context of the code that calls this: for `tokio::spawn`.
    fn in_current_context(self) -> InContext<Self> {
        self.in_context(Context::current())
    }
}

impl<F: Future> FutureExt for F {}

/// Remembers a step of the current request; if the request fails, its last steps are on its span as events.
pub fn breadcrumb(category: &'static str, message: impl AsRef<str>) {
    Context::with_current(|context| {
        if let Some(request) = context.request() {
            request.add_breadcrumb(category, message.as_ref());
        }
    });
}

/// Remembers which variant of a feature flag the current request met; it is on every span and log record that
/// reports an error afterwards, as attribute `feature_flag.<key>`.
pub fn feature_flag(key: &str, variant: &str) {
    Context::with_current(|context| {
        if let Some(request) = context.request() {
            request.set_flag(key, variant);
        }
    });
}

/// Names the user of the current request, once it is known who that is.
pub fn set_user_id(user_id: &str) {
    Context::with_current(|context| {
        let (Some(request), Some(user_id)) = (context.request(), clean_id(user_id)) else {
            return;
        };
        request.set_user_id(user_id);
        if let Some(record) = context.record() {
            record.set("user_id", Value::from(user_id));
        }
    });
}

/// Sets an attribute of the current span.
pub fn set_attribute<'a>(key: &str, value: impl Into<Value<'a>>) {
    Context::with_current(|context| {
        if let Some(record) = context.record() {
            record.set(key, value.into());
        }
    });
}

/// Marks the current span as failed and records the error as an event of it.
pub fn record_error(error: &(dyn std::error::Error + '_)) {
    // A clone, not a borrow: printing the error runs code of the application.
    if let Some(record) = Context::current().record() {
        record.record_error(error);
    }
}
