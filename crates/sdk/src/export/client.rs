//! One OTLP/HTTP attempt, and when to make the next.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::drops::Signal;
use super::otlp;
use crate::limits::{EXPORT_TIMEOUT, MAX_RESPONSE_BYTES, MAX_RETRY_PAUSE};
use crate::telemetry::InitError;

/// What became of one attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Taken, except for so many records.
    Delivered { rejected: u64, message: String },
    /// Refused for good.
    Rejected(String),
    /// Worth another attempt, not before the pause the receiver asked for.
    Retry { after: Option<Duration>, reason: String },
}

#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    base: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    gzip: bool,
}

impl Client {
    pub(crate) fn new(endpoint: &str, headers: &[(String, String)], gzip: bool) -> Result<Self, InitError> {
        let bad = |reason: &str| InitError::Endpoint { endpoint: endpoint.to_owned(), reason: reason.to_owned() };
        let uri: Uri = endpoint.parse().map_err(|error: http::uri::InvalidUri| bad(&error.to_string()))?;
        if uri.scheme_str() != Some("http") {
            return Err(bad("expected http://host:port; for TLS put a collector or proxy on this host in between"));
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(bad("it names no host"));
        }
        let headers = headers
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad(&format!("header name {name:?} is not valid")))?;
                let mut header = HeaderValue::from_str(value).map_err(|_| bad(&format!("the value of header {name} is not valid")))?;
                header.set_sensitive(true);
                Ok((name, header))
            })
            .collect::<Result<_, InitError>>()?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(3)));
        Ok(Self {
            http: HttpClient::builder(TokioExecutor::new()).pool_max_idle_per_host(4).build(connector),
            base: endpoint.trim_end_matches('/').to_owned(),
            headers,
            gzip,
        })
    }

    /// The body as it is sent; compressed once, however often it is retried.
    pub(crate) fn body(&self, request: Vec<u8>) -> Bytes {
        if !self.gzip {
            return request.into();
        }
        let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(request.len() / 4), flate2::Compression::fast());
        // Writing to a Vec does not fail.
        let compressed = encoder.write_all(&request).and_then(|()| encoder.finish());
        compressed.map_or_else(|_| request.into(), Bytes::from)
    }

    pub(crate) async fn send(&self, signal: Signal, body: Bytes) -> Outcome {
        match tokio::time::timeout(EXPORT_TIMEOUT, self.attempt(signal, body)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Retry { after: None, reason: format!("no answer within {} s", EXPORT_TIMEOUT.as_secs()) },
        }
    }

    async fn attempt(&self, signal: Signal, body: Bytes) -> Outcome {
        let mut request = Request::post(format!("{}{}", self.base, otlp::path(signal)))
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header("user-agent", concat!("skopos-sdk/", env!("CARGO_PKG_VERSION")));
        if self.gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = match request.body(Full::new(body)) {
            Ok(request) => request,
            Err(error) => return Outcome::Rejected(error.to_string()),
        };
        let response = match self.http.request(request).await {
            Ok(response) => response,
            Err(error) => {
                return Outcome::Retry { after: None, reason: full_reason(&error) };
            }
        };
        let status = response.status();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
        let content = Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await;
        let content = content.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        classify(status, after, &content)
    }
}

/// The OTLP specification's table: 429, 502, 503 and 504 are worth a retry, other failures are final.
fn classify(status: StatusCode, after: Option<Duration>, content: &[u8]) -> Outcome {
    match status.as_u16() {
        200..300 => {
            let (rejected, message) = otlp::partial_success(content);
            Outcome::Delivered { rejected, message }
        }
        429 | 502 | 503 | 504 => Outcome::Retry { after, reason: format!("HTTP {status}") },
        _ => Outcome::Rejected(format!("HTTP {status}")),
    }
}

/// Seconds of a `Retry-After` header; its date form is not used by OTLP receivers and falls back to our own pause.
fn retry_after(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

/// The pause before attempt `attempt` (1 is the first retry): full jitter over an exponential cap, at least what the
/// receiver asked for, at most [`MAX_RETRY_PAUSE`]. `random` is uniform in 0..1.
pub(crate) fn pause(attempt: u32, after: Option<Duration>, random: f64) -> Duration {
    const BASE: Duration = Duration::from_millis(200);
    const CAP: Duration = Duration::from_secs(5);
    let ceiling = BASE.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(CAP);
    ceiling.mul_f64(random).max(after.unwrap_or_default()).min(MAX_RETRY_PAUSE)
}

fn full_reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_follow_the_specification() {
        let retry = |status, after| classify(StatusCode::from_u16(status).unwrap(), after, b"");
        for status in [429, 502, 503, 504] {
            assert!(matches!(retry(status, None), Outcome::Retry { .. }), "{status}");
        }
        for status in [400, 401, 404, 413, 415, 500] {
            assert!(matches!(retry(status, None), Outcome::Rejected(_)), "{status}");
        }
        assert_eq!(retry(200, None), Outcome::Delivered { rejected: 0, message: String::new() });
    }

    #[test]
    fn pauses_grow_and_honour_retry_after() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(1, None, 0.5), Duration::from_millis(100));
        assert_eq!(pause(3, None, 0.5), Duration::from_millis(400));
        assert_eq!(pause(40, None, 1.0), 5 * second);
        assert_eq!(pause(1, Some(2 * second), 0.5), 2 * second);
        assert_eq!(pause(1, retry_after("86400"), 0.5), MAX_RETRY_PAUSE);
        assert_eq!(retry_after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }

    #[test]
    fn endpoints_are_checked() {
        for (endpoint, good) in [
            ("http://127.0.0.1:4318", true),
            ("http://collector/otlp/", true),
            ("https://collector:4318", false),
            ("collector:4318", false),
            ("", false),
        ] {
            assert_eq!(Client::new(endpoint, &[], false).is_ok(), good, "{endpoint:?}");
        }
        assert!(Client::new("http://x", &[("bad name".to_owned(), String::new())], false).is_err());
    }
}
