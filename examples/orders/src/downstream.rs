//! Calls to the services Orders depends on: with a time limit, a few retries, and a span for every attempt.

use std::time::Duration;

use reqwest::{Method, Request, Url};
use skopos_sdk::http::Client;
use thiserror::Error;

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(800);
/// Attempts in all.
const MAX_ATTEMPTS: u32 = 3;
/// Base of the pauses between attempts, full jitter over powers of two.
const RETRY_BASE: Duration = Duration::from_millis(25);

/// Why a dependency did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    #[error("{service} is unavailable after {MAX_ATTEMPTS} attempts: {reason}")]
    Unavailable { service: &'static str, reason: String },
    #[error("{service} refused: HTTP {status}")]
    Refused { service: &'static str, status: u16 },
}

/// One dependency.
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    service: &'static str,
    base: Url,
    client: Client,
}

impl Dependency {
    pub(crate) fn new(service: &'static str, base: Url, client: &Client) -> Self {
        Self { service, base, client: client.for_service(service) }
    }

    /// Calls `path`; only calls that may be repeated are made through here: reads, and writes with an idempotency key.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        idempotency_key: Option<&str>,
        body: Option<&serde_json::Value>,
    ) -> Result<serde_json::Value, CallError> {
        let unavailable = |reason: String| CallError::Unavailable { service: self.service, reason };
        let url = self.base.join(path).map_err(|error| unavailable(error.to_string()))?;
        let mut reason = String::new();
        for attempt in 0..MAX_ATTEMPTS {
            if attempt > 0 {
                let ceiling = RETRY_BASE * 2u32.pow(attempt);
                tokio::time::sleep(ceiling.mul_f64(fastrand::f64())).await;
            }
            let mut request = Request::new(method.clone(), url.clone());
            *request.timeout_mut() = Some(ATTEMPT_TIMEOUT);
            if let Some(key) = idempotency_key.and_then(|key| key.parse().ok()) {
                request.headers_mut().insert("idempotency-key", key);
            }
            if let Some(body) = body {
                request.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
                *request.body_mut() = Some(body.to_string().into());
            }
            match self.client.execute_attempt(request, attempt).await {
                Ok(response) if response.status().is_success() => match response.json().await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => reason = error.to_string(),
                },
                Ok(response) if response.status().is_server_error() || response.status().as_u16() == 429 => {
                    reason = format!("HTTP {}", response.status().as_u16());
                }
                Ok(response) => return Err(CallError::Refused { service: self.service, status: response.status().as_u16() }),
                Err(error) => reason = error.to_string(),
            }
            tracing::warn!(dependency = self.service, attempt = attempt + 1, reason, "call to {} failed", self.service);
        }
        Err(unavailable(reason))
    }
}
