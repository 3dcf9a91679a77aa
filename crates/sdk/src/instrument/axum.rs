//! Incoming HTTP: a tower layer for axum, and the endpoints every service offers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use ::axum::Router;
use ::axum::extract::{MatchedPath, State};
use ::axum::http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use ::axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use ::axum::response::{IntoResponse, Response as AxumResponse};
use ::axum::routing::get;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::health::{Health, Report};
use crate::metrics::{CounterFamily, DURATION_SECONDS, Exposition, GaugeFamily, HistogramFamily, MetricOptions};
use crate::telemetry::Telemetry;
use crate::trace::context::{Context, FutureExt as _, InContext};
use crate::trace::span::{Span, SpanKind};

/// Header with the id of a request; taken from the caller or made, and sent back.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Header with the user, read unless [`HttpLayer::user_id`] says otherwise.
pub const USER_ID: HeaderName = HeaderName::from_static("x-user-id");

type UserIdOf = dyn Fn(&HeaderMap, &Extensions) -> Option<String> + Send + Sync;

/// The layer with its defaults. Put it on with `Router::layer`, after the routes, so that it sees which one matched:
/// each request becomes a server span, an access log line, a measurement of `http_server_request_duration_seconds`
/// and a count in `http_requests_total{route,method,status}`; its handler runs with request id and user id in the
/// context.
pub fn layer() -> HttpLayer {
    HttpLayer { telemetry: None, user_id: Arc::new(|headers, _| headers.get(USER_ID)?.to_str().ok().map(str::to_owned)) }
}

/// Makes every request a span, a log line and a measurement.
#[derive(Clone)]
pub struct HttpLayer {
    telemetry: Option<Telemetry>,
    user_id: Arc<UserIdOf>,
}

impl HttpLayer {
    /// Uses `telemetry` instead of the process-wide pipeline.
    #[must_use]
    pub fn telemetry(mut self, telemetry: &Telemetry) -> Self {
        self.telemetry = Some(telemetry.clone());
        self
    }

    /// How to know the user of a request, from its headers or from what an authentication layer left in its extensions.
    #[must_use]
    pub fn user_id(mut self, user_id: impl Fn(&HeaderMap, &Extensions) -> Option<String> + Send + Sync + 'static) -> Self {
        self.user_id = Arc::new(user_id);
        self
    }
}

impl std::fmt::Debug for HttpLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpLayer").field("telemetry", &self.telemetry).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for HttpLayer {
    type Service = HttpService<S>;

    fn layer(&self, service: S) -> HttpService<S> {
        let telemetry = self.telemetry.clone().unwrap_or_else(Telemetry::global);
        let red = Red::new(&telemetry);
        HttpService { service, telemetry, user_id: Arc::clone(&self.user_id), red }
    }
}

/// Rate, errors, duration.
#[derive(Debug, Clone)]
struct Red {
    duration: HistogramFamily,
    requests: CounterFamily,
    active: GaugeFamily,
}

impl Red {
    fn new(telemetry: &Telemetry) -> Self {
        let metrics = telemetry.metrics();
        Self {
            duration: metrics.histogram(
                "http.server.request.duration",
                MetricOptions {
                    help: "Time from the request to the head of its response.",
                    unit: "s",
                    labels: &["http.route", "http.request.method", "http.response.status_code"],
                    ..MetricOptions::default()
                },
                DURATION_SECONDS,
            ),
            requests: metrics.counter(
                "http_requests_total",
                MetricOptions {
                    help: "Requests answered.",
                    labels: &["route", "method", "status"],
                    // Over OTLP the histogram's count says the same.
                    scrape_only: true,
                    ..MetricOptions::default()
                },
            ),
            active: metrics.gauge(
                "http.server.active_requests",
                MetricOptions { help: "Requests being served.", unit: "{request}", labels: &["http.request.method"], ..MetricOptions::default() },
            ),
        }
    }
}

/// The service [`HttpLayer`] makes.
#[derive(Clone)]
pub struct HttpService<S> {
    service: S,
    telemetry: Telemetry,
    user_id: Arc<UserIdOf>,
    red: Red,
}

impl<S: std::fmt::Debug> std::fmt::Debug for HttpService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpService").field("service", &self.service).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for HttpService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, task: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(task)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let headers = request.headers();
        let request_id = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let user_id = (self.user_id)(headers, request.extensions());
        let parent = Context::extract(headers).with_telemetry(&self.telemetry).with_request(request_id, user_id.as_deref());
        let method = method_name(request.method());
        let route = request.extensions().get::<MatchedPath>().map(|path| Arc::<str>::from(path.as_str()));
        let name = match &route {
            Some(route) => format!("{method} {route}"),
            None => method.to_owned(),
        };
        let mut span = Span::builder(name)
            .kind(SpanKind::Server)
            .parent(parent.clone())
            .attr("http.request.method", method)
            .attr("url.path", request.uri().path())
            .attr("url.scheme", "http")
            .attr("request_id", parent.request_id().unwrap_or_default());
        if let Some(route) = &route {
            span = span.attr("http.route", route.as_ref());
        }
        if let Some(user_id) = parent.user_id() {
            span = span.attr("user_id", user_id);
        }
        for (header, key) in [(USER_AGENT, "user_agent.original"), (HOST, "server.address")] {
            if let Some(value) = headers.get(header).and_then(|value| value.to_str().ok()) {
                span = span.attr(key, value);
            }
        }
        let span = span.start();
        let context = span.context().clone();
        self.red.active.with(&[method]).add(1.0);
        let exchange = Exchange {
            span,
            red: self.red.clone(),
            route: route.unwrap_or_default(),
            method,
            path: request.uri().path().to_owned(),
            started: Instant::now(),
            status: None,
        };
        ResponseFuture { future: self.service.call(request).in_context(context), exchange: Some(exchange) }
    }
}

/// Methods are a label, so that unknown ones must not make new series.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        _ => "_OTHER",
    }
}

/// A request being served. It is told the status, or dropped without: then the client went away, or the handler panicked.
#[derive(Debug)]
struct Exchange {
    span: Span,
    red: Red,
    route: Arc<str>,
    method: &'static str,
    path: String,
    started: Instant,
    status: Option<StatusCode>,
}

/// What proxies log for a client that closed the connection before the answer.
const CLIENT_CLOSED: u16 = 499;

impl Drop for Exchange {
    fn drop(&mut self) {
        let _context = self.span.enter();
        let elapsed = self.started.elapsed();
        let code = match self.status {
            Some(status) => status.as_u16(),
            None if std::thread::panicking() => 500,
            None => CLIENT_CLOSED,
        };
        self.span.set_attr("http.response.status_code", u32::from(code));
        if code >= 500 {
            let reason = if self.status.is_none() { "panic" } else { "" };
            self.span.set_attr("error.type", if reason.is_empty() { code.to_string() } else { reason.to_owned() });
            if !self.span.has_error() {
                self.span.set_error(reason);
            }
        } else if self.status.is_none() {
            self.span.set_attr("error.type", "cancelled");
        }
        let mut digits = [0; 3];
        let status = status_text(code, &mut digits);
        self.red.duration.with(&[&self.route, self.method, status]).observe_duration(elapsed);
        self.red.requests.increment(&[&self.route, self.method, status]);
        self.red.active.with(&[self.method]).add(-1.0);
        let duration_ms = (elapsed.as_secs_f64() * 1e6).round() / 1e3;
        let (method, path, route) = (self.method, self.path.as_str(), self.route.as_ref());
        if code >= 500 {
            tracing::error!(
                target: "http.access",
                method, route, path, status = code, duration_ms,
                "{method} {path} answered {code}"
            );
        } else {
            tracing::info!(
                target: "http.access",
                method, route, path, status = code, duration_ms,
                "{method} {path} answered {code}"
            );
        }
    }
}

fn status_text(code: u16, digits: &mut [u8; 3]) -> &str {
    for (place, digit) in [100, 10, 1].into_iter().zip(digits.iter_mut()) {
        *digit = b'0' + (code / place % 10) as u8;
    }
    std::str::from_utf8(digits).unwrap_or("0")
}

pin_project! {
    /// The future of [`HttpService`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        future: InContext<F>,
        exchange: Option<Exchange>,
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Poll::Ready(result) = this.future.poll(task) else {
            return Poll::Pending;
        };
        let Some(mut exchange) = this.exchange.take() else {
            return Poll::Ready(result);
        };
        Poll::Ready(match result {
            Ok(mut response) => {
                exchange.status = Some(response.status());
                let id = exchange.span.context().request_id().and_then(|id| HeaderValue::from_str(id).ok());
                if let Some(id) = id {
                    response.headers_mut().insert(REQUEST_ID, id);
                }
                Ok(response)
            }
            Err(error) => {
                exchange.status = Some(StatusCode::INTERNAL_SERVER_ERROR);
                Err(error)
            }
        })
    }
}

/// `/healthz` (alias `/livez`), `/readyz`, `/startupz` and `/metrics`. Merge it into the service's router after its
/// layers, so that probes and scrapes make no spans. `?verbose` adds the checks.
pub fn operations(telemetry: &Telemetry, health: &Health) -> Router {
    let live = |State(state): State<Operations>, uri: ::axum::http::Uri| async move { answer(&uri, state.health.liveness(Instant::now())) };
    Router::new()
        .route("/healthz", get(live))
        .route("/livez", get(live))
        .route(
            "/readyz",
            get(|State(state): State<Operations>, uri: ::axum::http::Uri| async move { answer(&uri, state.health.readiness(Instant::now())) }),
        )
        .route("/startupz", get(|State(state): State<Operations>, uri: ::axum::http::Uri| async move { answer(&uri, state.health.startup()) }))
        .route("/metrics", get(metrics))
        .with_state(Operations { telemetry: telemetry.clone(), health: health.clone() })
}

#[derive(Clone)]
struct Operations {
    telemetry: Telemetry,
    health: Health,
}

fn answer(uri: &::axum::http::Uri, mut report: Report) -> AxumResponse {
    let verbose = uri.query().is_some_and(|query| query.split('&').any(|part| part == "verbose" || part.starts_with("verbose=")));
    if !verbose {
        report.checks.clear();
    }
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, ::axum::Json(report)).into_response()
}

async fn metrics(State(state): State<Operations>, headers: HeaderMap) -> AxumResponse {
    let format = Exposition::negotiate(headers.get(ACCEPT).and_then(|value| value.to_str().ok()));
    let text = state.telemetry.metrics().expose(format, state.telemetry.resource_attributes());
    ([(CONTENT_TYPE, format.content_type())], text).into_response()
}
