//! Stable keys: what loggers spell in many ways is found under one name. What was sent stays as it was.
//!
//! Level, ids of traces, service and environment have places of their own in a record; these are the others.

use skopos_model::AttrColumns;

/// Spellings, and the name they are found under as well.
pub const STABLE_KEYS: [(&str, &str); 12] = [
    ("requestId", "request_id"),
    ("requestID", "request_id"),
    ("request-id", "request_id"),
    ("req_id", "request_id"),
    ("reqId", "request_id"),
    ("x-request-id", "request_id"),
    ("x_request_id", "request_id"),
    ("userId", "user_id"),
    ("userID", "user_id"),
    ("user-id", "user_id"),
    ("correlationId", "correlation_id"),
    ("sessionId", "session_id"),
];

/// Gives the rows of a batch the stable names beside their own.
pub fn normalise(attributes: &mut AttrColumns) {
    for (from, to) in STABLE_KEYS {
        attributes.also_as(from, to);
    }
}
