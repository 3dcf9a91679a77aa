//! Errors as Loki answers them: a status and plain text.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use skopos_query::QueryError;

use crate::http::ApiError;

/// Why a request failed.
#[derive(Debug)]
pub(crate) struct LokiError {
    status: StatusCode,
    message: String,
    retry_after: Option<u64>,
}

impl LokiError {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into(), retry_after: None }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// A failed query; `text` is its text, for line and column.
    pub(super) fn of(error: QueryError, text: &str) -> Self {
        let bad = StatusCode::BAD_REQUEST;
        let (status, message) = match &error {
            QueryError::Parse { message, at } => {
                let before = text.get(..at.start).unwrap_or("");
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
                (bad, format!("parse error at line {line}, col {column}: {message}"))
            }
            QueryError::Execution(message) => (bad, message.clone()),
            QueryError::Limit { message, .. } => (bad, message.clone()),
            QueryError::Timeout { .. } => (StatusCode::GATEWAY_TIMEOUT, error.to_string()),
            other => (crate::http::error::query_status(other).0, other.to_string()),
        };
        Self { status, message, retry_after: None }
    }
}

impl From<ApiError> for LokiError {
    fn from(error: ApiError) -> Self {
        Self { status: error.status, message: error.message, retry_after: error.retry_after }
    }
}

impl From<QueryError> for LokiError {
    fn from(error: QueryError) -> Self {
        Self::of(error, "")
    }
}

impl IntoResponse for LokiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], self.message + "\n").into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
