//! What the framework itself refuses (a body that is no JSON, a parameter of another type, a method a path does not
//! have) in the error shape of the API it happened in.
//!
//! A layer and not extractors of our own: it holds for every handler, those to come included. It goes around routes
//! whose handlers answer in JSON only, so that text in an error can only be the framework's.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::ApiError;
use crate::api::prometheus::PromError;

/// Longest message that is passed on, bytes.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// For our own API.
pub async fn own(request: Request, next: Next) -> Response {
    shaped(request, next, IntoResponse::into_response).await
}

/// For Prometheus' API.
pub async fn prometheus(request: Request, next: Next) -> Response {
    shaped(request, next, |error| PromError::from(error).into_response()).await
}

async fn shaped(request: Request, next: Next, shape: impl FnOnce(ApiError) -> Response) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let plain = kind.is_none_or(|k| k.starts_with(b"text/plain"));
    if !response.status().is_client_error() || !plain {
        return response;
    }
    let (parts, body) = response.into_parts();
    let error = match parts.status {
        // What it takes is in the header `Allow`, which the framework adds to the answer.
        StatusCode::METHOD_NOT_ALLOWED => ApiError::new(parts.status, "method_not_allowed", format!("{path} does not take {method}")),
        // The framework tells a body that is no JSON (400) from one of another shape (422); both are bad requests.
        StatusCode::UNPROCESSABLE_ENTITY => ApiError::bad_request(text(body).await),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ApiError::new(parts.status, "unsupported_media_type", text(body).await),
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(parts.status, "body_too_large", text(body).await),
        status => ApiError::new(status, "bad_request", text(body).await),
    };
    shape(error)
}

async fn text(body: Body) -> String {
    match axum::body::to_bytes(body, MESSAGE_BYTES_MAX).await {
        Ok(bytes) if !bytes.is_empty() => String::from_utf8_lossy(&bytes).into_owned(),
        _ => "the request is not understood".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::{Path, Query};
    use axum::routing::{get, post};
    use axum::{Json, Router, middleware};
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Wanted {
        #[allow(dead_code, reason = "only its type matters")]
        limit: u32,
    }

    fn routes() -> Router {
        Router::new()
            .route("/body", post(async |_: Json<Wanted>| "fine"))
            .route("/query", get(async |_: Query<Wanted>| "fine"))
            .route("/path/{n}", get(async |_: Path<u32>| "fine"))
    }

    async fn ask(routes: &Router, method: &str, uri: &str, kind: &str, body: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(uri).header("content-type", kind).body(Body::from(body.to_owned())).unwrap();
        let response = routes.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        assert_eq!(response.headers().contains_key(header::ALLOW), status == 405);
        let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    #[tokio::test]
    async fn refusals_have_the_apis_shape() {
        let own = routes().layer(middleware::from_fn(own));
        let prometheus = routes().layer(middleware::from_fn(prometheus));
        let json = "application/json";
        for (method, uri, kind, body, status, word) in [
            ("POST", "/body", json, "{", 400, "EOF"),
            ("POST", "/body", json, r#"{"limit": "many"}"#, 400, "limit"),
            ("POST", "/body", "text/plain", "{}", 415, "application/json"),
            ("GET", "/query?limit=many", json, "", 400, "limit"),
            ("GET", "/path/many", json, "", 400, "many"),
            ("PUT", "/body", json, "{}", 405, "/body does not take PUT"),
        ] {
            let (got, answer) = ask(&own, method, uri, kind, body).await;
            let message = answer["error"]["message"].as_str().unwrap_or_default();
            assert!(got == status && message.contains(word), "{method} {uri}: {got} {answer}");
            let (got, answer) = ask(&prometheus, method, uri, kind, body).await;
            let message = answer["error"].as_str().unwrap_or_default();
            assert!(got == status && answer["status"] == "error" && message.contains(word), "{method} {uri}: {got} {answer}");
        }
        assert_eq!(ask(&own, "POST", "/body", json, r#"{"limit": 1}"#).await.0, 200);
    }
}
