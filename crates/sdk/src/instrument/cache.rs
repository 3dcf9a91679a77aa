//! Cache look-ups and changes as spans.

use std::fmt::Display;
use std::future::Future;

use crate::metrics::MetricOptions;
use crate::trace::context::{self, FutureExt as _};
use crate::trace::span::{Span, SpanKind};

/// Runs a look-up as a span that says whether it was a hit. `cache` names the cache (`orders`), `system` what it is
/// (`memory`, `redis`).
///
/// # Errors
/// Those of `call`; the span records them.
pub async fn get<T, E: Display>(
    system: &'static str,
    cache: &'static str,
    key: &str,
    call: impl Future<Output = Result<Option<T>, E>>,
) -> Result<Option<T>, E> {
    let hit = |value: &Option<T>| Some(value.is_some());
    run(system, cache, "get", key, hit, call).await
}

/// Runs a change (`set`, `delete`) as a span.
///
/// # Errors
/// Those of `call`; the span records them.
pub async fn change<T, E: Display>(
    system: &'static str,
    cache: &'static str,
    operation: &'static str,
    key: &str,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    run(system, cache, operation, key, |_| None, call).await
}

async fn run<T, E: Display>(
    system: &'static str,
    cache: &'static str,
    operation: &'static str,
    key: &str,
    hit: impl FnOnce(&T) -> Option<bool>,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let span = Span::builder(format!("cache.{operation} {cache}"))
        .kind(SpanKind::Client)
        .attr("cache.system", system)
        .attr("cache.name", cache)
        .attr("cache.operation", operation)
        .attr("cache.key", key)
        .start();
    let result = call.in_span(&span).await;
    let outcome = match &result {
        Ok(value) => match hit(value) {
            Some(hit) => {
                span.set_attr("cache.hit", hit);
                if hit { "hit" } else { "miss" }
            }
            None => "ok",
        },
        Err(error) => {
            span.record_error_message(&error.to_string());
            "error"
        }
    };
    context::breadcrumb("cache", format!("{operation} {cache}: {outcome}"));
    span.context()
        .telemetry()
        .metrics()
        .counter(
            "cache_requests_total",
            MetricOptions {
                help: "Cache operations by outcome: hit, miss, ok, error.",
                labels: &["cache", "operation", "outcome"],
                ..MetricOptions::default()
            },
        )
        .increment(&[cache, operation, outcome]);
    result
}
