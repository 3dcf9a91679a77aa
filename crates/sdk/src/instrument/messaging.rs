//! Queues: a producer span whose context travels in the message, and a consumer span that continues it.

use std::fmt::Display;
use std::future::Future;
use std::time::Instant;

use crate::metrics::{DURATION_SECONDS, MetricOptions};
use crate::telemetry::Telemetry;
use crate::trace::context::{self, Context, FutureExt as _};
use crate::trace::propagation;

use crate::trace::span::{Span, SpanKind};

pub use crate::trace::propagation::MessageHeaders;

const REQUEST_ID: &str = "x-request-id";
const USER_ID: &str = "x-user-id";

/// Publishes a message as a producer span; `send` gets the headers to store with it. `system` is what the queue is
/// (`sqlite`, `kafka`), `destination` its name.
///
/// # Errors
/// Those of `send`; the span records them.
pub async fn publish<T, E, Fut>(system: &'static str, destination: &str, send: impl FnOnce(MessageHeaders) -> Fut) -> Result<T, E>
where
    E: Display,
    Fut: Future<Output = Result<T, E>>,
{
    let span = Span::builder(format!("send {destination}"))
        .kind(SpanKind::Producer)
        .attr("messaging.system", system)
        .attr("messaging.destination.name", destination)
        .attr("messaging.operation.type", "send")
        .start();
    let mut headers = MessageHeaders::new();
    propagation::inject(span.context(), &mut headers);
    if let Some(id) = span.context().request_id() {
        headers.insert(REQUEST_ID.to_owned(), id.to_owned());
    }
    if let Some(id) = span.context().user_id() {
        headers.insert(USER_ID.to_owned(), id);
    }
    let result = send(headers).in_span(&span).await;
    if let Err(error) = &result {
        span.record_error_message(&error.to_string());
    }
    context::breadcrumb("queue", format!("send {destination}{}", if result.is_ok() { "" } else { " failed" }));
    count(&span.context().telemetry(), "messaging.client.sent.messages", system, destination, result.is_ok());
    result
}

/// A message to be processed.
#[derive(Debug, Clone)]
pub struct Delivery<'a> {
    /// What the queue is.
    pub system: &'static str,
    /// Its name.
    pub destination: &'a str,
    /// Id of the message.
    pub message_id: &'a str,
    /// 1 for the first delivery.
    pub attempt: u32,
    /// The headers stored with the message.
    pub headers: &'a MessageHeaders,
}

/// Processes a message as a consumer span: a child of the span that sent it, so that one trace crosses the queue, in the
/// scope of the request that sent it.
///
/// # Errors
/// Those of `work`; the span records them.
pub async fn process<T, E: Display>(telemetry: &Telemetry, delivery: Delivery<'_>, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let Delivery { system, destination, message_id, attempt, headers } = delivery;
    let own = |key: &str| headers.get(key).map(String::as_str);
    let parent = Context::extract(headers).with_telemetry(telemetry).with_request(own(REQUEST_ID), own(USER_ID));
    let mut span = Span::builder(format!("process {destination}"))
        .kind(SpanKind::Consumer)
        .attr("messaging.system", system)
        .attr("messaging.destination.name", destination)
        .attr("messaging.operation.type", "process")
        .attr("messaging.message.id", message_id)
        .attr("messaging.delivery_attempt", attempt)
        .attr("request_id", parent.request_id().unwrap_or_default());
    if let Some(user_id) = parent.user_id() {
        span = span.attr("user_id", user_id);
    }
    let span = span.parent(parent).start();
    let started = Instant::now();
    let result = work.in_span(&span).await;
    if let Err(error) = &result {
        span.record_error_message(&error.to_string());
    }
    let _context = span.enter();
    telemetry
        .metrics()
        .histogram(
            "messaging.process.duration",
            MetricOptions {
                help: "Time to process one message.",
                unit: "s",
                labels: &["messaging.system", "messaging.destination.name", "error.type"],
                ..MetricOptions::default()
            },
            DURATION_SECONDS,
        )
        .with(&[system, destination, if result.is_ok() { "" } else { "error" }])
        .observe_duration(started.elapsed());
    count(telemetry, "messaging.client.consumed.messages", system, destination, result.is_ok());
    result
}

fn count(telemetry: &Telemetry, name: &str, system: &str, destination: &str, ok: bool) {
    telemetry
        .metrics()
        .counter(
            name,
            MetricOptions {
                help: "Messages sent or consumed.",
                unit: "{message}",
                labels: &["messaging.system", "messaging.destination.name", "error.type"],
                ..MetricOptions::default()
            },
        )
        .increment(&[system, destination, if ok { "" } else { "error" }]);
}
