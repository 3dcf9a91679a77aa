//! Outgoing HTTP with reqwest: a client span for every attempt, and the trace carried to the other side.

use std::time::Instant;

use crate::metrics::{DURATION_SECONDS, HistogramFamily, MetricOptions};
use crate::telemetry::Telemetry;
use crate::trace::context::{self, Context, FutureExt as _};
use crate::trace::propagation;
use crate::trace::span::{Span, SpanKind};

/// Sends `request` as one attempt: a client span below the current one, `traceparent` and `x-request-id` on the way.
///
/// # Errors
/// Those of reqwest; the span records them.
pub async fn traced(client: &reqwest::Client, request: reqwest::Request) -> Result<reqwest::Response, reqwest::Error> {
    Client::new(client.clone()).execute(request).await
}

/// A reqwest client whose requests are traced and measured.
#[derive(Debug, Clone)]
pub struct Client {
    client: reqwest::Client,
    peer: Option<String>,
}

impl Client {
    /// Traces the requests of `client`.
    pub fn new(client: reqwest::Client) -> Self {
        Self { client, peer: None }
    }

    /// Names the service at the other end (`peer.service`), for a service map that knows it before it sends spans.
    #[must_use]
    pub fn for_service(&self, peer: impl Into<String>) -> Self {
        Self { client: self.client.clone(), peer: Some(peer.into()) }
    }

    /// Sends `request`.
    ///
    /// # Errors
    /// Those of reqwest; the span records them.
    pub async fn execute(&self, request: reqwest::Request) -> Result<reqwest::Response, reqwest::Error> {
        self.execute_attempt(request, 0).await
    }

    /// Sends `request` as attempt number `resend_count` (0 is the first): every attempt is a span of its own below the
    /// caller's, and carries its own `traceparent`.
    ///
    /// # Errors
    /// Those of reqwest; the span records them.
    pub async fn execute_attempt(&self, mut request: reqwest::Request, resend_count: u32) -> Result<reqwest::Response, reqwest::Error> {
        let context = Context::current();
        let telemetry = context.telemetry();
        let method = request.method().as_str().to_owned();
        let address = request.url().host_str().unwrap_or_default().to_owned();
        let port = request.url().port_or_known_default().unwrap_or_default();
        let path = request.url().path().to_owned();
        let mut span = Span::builder(method.clone())
            .kind(SpanKind::Client)
            .attr("http.request.method", &method)
            .attr("server.address", &address)
            .attr("server.port", u32::from(port))
            // Without user, password and query, which hold secrets.
            .attr("url.full", format!("{}://{address}:{port}{path}", request.url().scheme()));
        if let Some(peer) = &self.peer {
            span = span.attr("peer.service", peer);
        }
        if resend_count > 0 {
            span = span.attr("http.request.resend_count", resend_count);
        }
        let span = span.start();
        propagation::inject(span.context(), request.headers_mut());
        if let Some(id) = context.request_id().and_then(|id| http::HeaderValue::from_str(id).ok()) {
            request.headers_mut().insert("x-request-id", id);
        }
        let started = Instant::now();
        let result = self.client.execute(request).in_span(&span).await;
        let (status, error) = match &result {
            Ok(response) => (response.status().as_str().to_owned(), None),
            Err(error) => (String::new(), Some(error_type(error))),
        };
        match &result {
            Ok(response) => {
                let code = response.status().as_u16();
                span.set_attr("http.response.status_code", u32::from(code));
                // To a client, 4xx is an error as well.
                if code >= 400 {
                    span.set_attr("error.type", &status);
                    span.set_error("");
                }
            }
            Err(error) => {
                span.set_attr("error.type", error_type(error));
                span.record_error(error);
            }
        }
        let peer = self.peer.as_deref().unwrap_or(&address);
        context::breadcrumb("http", format!("{method} {peer}{path}: {}", error.unwrap_or(&status)));
        let _context = span.enter();
        duration(&telemetry).with(&[&method, peer, &status, error.unwrap_or_default()]).observe_duration(started.elapsed());
        result
    }
}

fn error_type(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else {
        "request"
    }
}

fn duration(telemetry: &Telemetry) -> HistogramFamily {
    telemetry.metrics().histogram(
        "http.client.request.duration",
        MetricOptions {
            help: "Time from the request to the head of its response, per attempt.",
            unit: "s",
            labels: &["http.request.method", "server.address", "http.response.status_code", "error.type"],
            ..MetricOptions::default()
        },
        DURATION_SECONDS,
    )
}
