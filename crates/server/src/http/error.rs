//! The one error our own API answers with.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use skopos_query::{QueryError, Span};
use skopos_storage::{StateError, StorageError};

/// Status, machine-readable code and a sentence that says what was wrong, where, and what was expected.
#[derive(Debug)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// Short fixed word.
    pub code: &'static str,
    /// For a person.
    pub message: String,
    /// Where in a query's text.
    pub at: Option<Span>,
    /// Seconds after which to try again.
    pub retry_after: Option<u64>,
}

/// What handlers return.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// An error without position.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), at: None, retry_after: None }
    }

    /// 400: the request is wrong and will stay wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 409.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// 500.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Span>,
    request_id: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let request_id = super::request_log::current_id();
        let body = Body { error: Inner { code: self.code, message: &self.message, at: self.at, request_id } };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let (status, code) = query_status(&error);
        let at = match &error {
            QueryError::Parse { at, .. } => Some(*at),
            _ => None,
        };
        Self { status, code, message: error.to_string(), at, retry_after: None }
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Query(query) => query.into(),
            full if full.is_disk_full() => Self { retry_after: Some(5), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "disk_full", full.to_string()) },
            other => Self::internal(other.to_string()),
        }
    }
}

impl From<StateError> for ApiError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Storage(storage) => storage.into(),
            conflict => Self::conflict(conflict.to_string()),
        }
    }
}

/// Status and code of a failed query, the same for every API that runs one.
pub fn query_status(error: &QueryError) -> (StatusCode, &'static str) {
    match error {
        QueryError::Parse { .. } => (StatusCode::BAD_REQUEST, "bad_query"),
        QueryError::Execution(_) => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
        QueryError::Limit { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "limit"),
        QueryError::Timeout { .. } => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
        // nginx's "client closed request": there is no standard one.
        QueryError::Cancelled => (StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST), "cancelled"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}
