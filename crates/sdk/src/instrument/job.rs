//! Batch jobs and other work that nobody's request asked for.

use std::fmt::Display;
use std::future::Future;

use crate::telemetry::Telemetry;
use crate::trace::context::{Context, FutureExt as _};
use crate::trace::span::Span;

/// Runs `work` as a trace of its own, with a request id that its log records share.
///
/// # Errors
/// Those of `work`; the span records them.
pub async fn job<T, E: Display>(telemetry: &Telemetry, name: &'static str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let parent = Context::default().with_telemetry(telemetry).with_request(None, None);
    let span = Span::builder(name).attr("request_id", parent.request_id().unwrap_or_default()).parent(parent).start();
    let result = work.in_span(&span).await;
    if let Err(error) = &result {
        span.record_error_message(&error.to_string());
    }
    result
}
