//! Errors in Prometheus' shape, with Prometheus' statuses.

use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use skopos_query::{QueryError, Span};

use crate::http::ApiError;

/// Header that says where in a query an error is, as `first byte-byte after the last`: the shape of the body has no
/// room for it.
const POSITION_HEADER: &str = "x-skopos-position";

/// An error in Prometheus' shape.
#[derive(Debug)]
pub(crate) struct PromError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    at: Option<Span>,
    /// Seconds after which to try again.
    retry_after: Option<u64>,
}

impl PromError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), at: None, retry_after: None }
    }

    /// 400: the request is wrong and will stay wrong.
    pub(crate) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_data", message)
    }

    /// 400 about one parameter, in Prometheus' words.
    pub(crate) fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {why}"))
    }

    /// 503: switched off, or not now.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// 404.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 500.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl From<QueryError> for PromError {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        match error {
            QueryError::Parse { at, .. } => {
                Self { at: Some(at), ..Self::bad_data(format!("invalid parameter \"query\": 1:{}: parse error: {message}", at.start + 1)) }
            }
            QueryError::Execution(_) | QueryError::Limit { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "execution", message),
            QueryError::Timeout { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", message),
            // nginx's "client closed request", as Prometheus answers.
            QueryError::Cancelled => Self::new(StatusCode::from_u16(499).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), "canceled", message),
            _ => Self::internal(message),
        }
    }
}

impl From<ApiError> for PromError {
    fn from(error: ApiError) -> Self {
        let kind = match error.status {
            StatusCode::NOT_FOUND => "not_found",
            status if status.is_client_error() => "bad_data",
            StatusCode::INTERNAL_SERVER_ERROR => "internal",
            _ => "unavailable",
        };
        Self { at: error.at, retry_after: error.retry_after, ..Self::new(error.status, kind, error.message) }
    }
}

impl IntoResponse for PromError {
    fn into_response(self) -> Response {
        let body = json!({"status": "error", "errorType": self.kind, "error": self.message});
        let mut response = (self.status, axum::Json(body)).into_response();
        if let Some(at) = self.at
            && let Ok(value) = HeaderValue::from_str(&format!("{}-{}", at.start, at.end))
        {
            response.headers_mut().insert(POSITION_HEADER, value);
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(axum::http::header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
