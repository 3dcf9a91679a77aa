//! Errors as Tempo answers them: a sentence in plain text, which Grafana shows as it is.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use skopos_query::QueryError;

use crate::http::ApiError;

/// An error with its status.
#[derive(Debug)]
pub(super) struct TempoError(pub(super) ApiError);

pub(super) type TempoResult<T> = Result<T, TempoError>;

impl From<ApiError> for TempoError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<QueryError> for TempoError {
    fn from(error: QueryError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for TempoError {
    fn into_response(self) -> Response {
        let ApiError { status, message, at, retry_after, .. } = self.0;
        let message = match at {
            Some(at) => format!("invalid TraceQL query, at {}..{}: {message}", at.start, at.end),
            None => message,
        };
        let mut response = (status, message).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
