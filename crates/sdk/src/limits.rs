//! Every bound of the SDK, in one place. Nothing here grows with load: what does not fit is dropped and counted.

use std::time::Duration;

/// Bytes of encoded records one signal may hold while it waits for export (all shards together).
pub const MAX_QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// Independent parts of a queue, so that threads rarely meet at one lock.
pub(crate) const QUEUE_SHARDS: usize = 8;
/// Bytes of encoded records in one export request, unless a single shard is larger.
pub const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of JSON lines waiting for standard output.
pub const MAX_STDOUT_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of one encoded span or log record; a larger one is dropped with reason `oversize`.
pub const MAX_RECORD_BYTES: usize = 256 * 1024;
/// Attributes of one span or log record; further ones are counted in `dropped_attributes_count`.
pub const MAX_ATTRIBUTES: u32 = 128;
/// Events of one span; further ones are counted in `dropped_events_count`.
pub const MAX_EVENTS: u32 = 128;
/// Links of one span; further ones are counted in `dropped_links_count`.
pub const MAX_LINKS: u32 = 128;
/// Bytes of one attribute value, log body or span name; longer text is cut at a character border.
pub const MAX_VALUE_BYTES: usize = 8 * 1024;
/// Breadcrumbs remembered per request; the oldest goes first.
pub const MAX_BREADCRUMBS: usize = 16;
/// Feature flags remembered per request.
pub const MAX_FLAGS: usize = 32;
/// Label sets of one metric; further ones are counted under `otel_metric_overflow="true"`.
pub const MAX_SERIES_PER_METRIC: usize = 2_000;
/// Metrics of one registry.
pub const MAX_METRICS: usize = 1_000;
/// Bytes of a request id or user id taken from a header.
pub const MAX_ID_BYTES: usize = 128;
/// Entries of W3C baggage (the recommendation asks for at least 64).
pub const MAX_BAGGAGE_ENTRIES: usize = 64;
/// Bytes of W3C baggage (the recommendation asks for at least 8192).
pub const MAX_BAGGAGE_BYTES: usize = 8 * 1024;
/// Members of W3C tracestate.
pub const MAX_TRACESTATE_MEMBERS: usize = 32;
/// Bytes of W3C tracestate that are carried on.
pub const MAX_TRACESTATE_BYTES: usize = 512;
/// Bytes of an export response that are read.
pub const MAX_RESPONSE_BYTES: usize = 64 * 1024;
/// How long one export attempt may take.
pub const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one batch is retried before it is dropped with reason `retry_exhausted`.
pub const EXPORT_RETRY_FOR: Duration = Duration::from_secs(60);
/// Longest pause between two attempts, whatever `Retry-After` says.
pub const MAX_RETRY_PAUSE: Duration = Duration::from_secs(30);
/// How long [`crate::Guard`] waits for the final flush when it is dropped.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(3);
/// Shortest time between two warnings about dropped telemetry.
pub const DROP_WARNING_EVERY: Duration = Duration::from_secs(60);

/// Cuts `text` to at most `max` bytes at a character border.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
