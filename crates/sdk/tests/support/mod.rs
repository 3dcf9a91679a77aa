//! A receiver on loopback that decodes with opentelemetry-proto, an implementation that is not ours.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use skopos_sdk::{Config, Guard, LogOutput, Telemetry};
use tracing_subscriber::layer::SubscriberExt as _;

/// What has arrived, and how to answer.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) spans: Vec<Span>,
    pub(crate) logs: Vec<LogRecord>,
    pub(crate) metrics: BTreeMap<String, Metric>,
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) requests: usize,
    /// Statuses of the next answers; 200 when empty.
    pub(crate) answers: Vec<(StatusCode, &'static str)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

impl Sink {
    /// Listens on a free port, on a thread and runtime of its own.
    pub(crate) fn start() -> Self {
        let received = Arc::<Mutex<Received>>::default();
        let app = Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/logs", post(logs))
            .route("/v1/metrics", post(metrics))
            .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
            .with_state(Arc::clone(&received));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        Self { address, received }
    }

    pub(crate) fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap()
    }

    /// A pipeline that exports here, and the lines it writes.
    pub(crate) fn pipeline(&self, service: &str, change: impl FnOnce(&mut Config)) -> (Telemetry, Guard, Lines) {
        let lines = Lines::default();
        let mut config = Config::new(service).version("1.2.3");
        config.environment = "test".to_owned();
        config.endpoint = Some(format!("http://{}", self.address));
        config.export_interval = Duration::from_millis(10);
        config.log_output = LogOutput::writer(lines.clone());
        change(&mut config);
        let (telemetry, guard) = Telemetry::start(config).unwrap();
        // Events go to the pipeline of the context they happen in; the global one only has to be there.
        let registry = tracing_subscriber::registry().with(Telemetry::global().span_layer()).with(Telemetry::global().log_layer());
        let _ = tracing::subscriber::set_global_default(registry);
        (telemetry, guard, lines)
    }
}

/// Log lines as they were written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    pub(crate) fn parsed(&self) -> Vec<serde_json::Value> {
        let bytes = self.0.lock().unwrap();
        std::str::from_utf8(&bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub(crate) fn text(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    attributes
        .iter()
        .map(|pair| {
            let value = match pair.value.clone().and_then(|value| value.value) {
                Some(any_value::Value::StringValue(text)) => text,
                Some(any_value::Value::IntValue(number)) => number.to_string(),
                Some(any_value::Value::BoolValue(flag)) => flag.to_string(),
                other => format!("{other:?}"),
            };
            (pair.key.clone(), value)
        })
        .collect()
}

/// The answer to give instead of taking the request, if any.
fn gate(received: &mut Received, headers: &HeaderMap) -> Option<Response> {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    received.requests += 1;
    let (status, retry_after) = received.answers.pop()?;
    (!status.is_success()).then(|| (status, [("retry-after", retry_after)]).into_response())
}

fn inflate(headers: &HeaderMap, body: Bytes) -> Bytes {
    if headers.get("content-encoding").is_none_or(|encoding| encoding != "gzip") {
        return body;
    }
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&body[..]), &mut out).unwrap();
    out.into()
}

async fn traces(State(received): State<Arc<Mutex<Received>>>, headers: HeaderMap, body: Bytes) -> Response {
    let mut received = received.lock().unwrap();
    if let Some(answer) = gate(&mut received, &headers) {
        return answer;
    }
    for resource in ExportTraceServiceRequest::decode(inflate(&headers, body)).unwrap().resource_spans {
        received.resource = text(&resource.resource.unwrap().attributes);
        received.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
    StatusCode::OK.into_response()
}

async fn logs(State(received): State<Arc<Mutex<Received>>>, headers: HeaderMap, body: Bytes) -> Response {
    let mut received = received.lock().unwrap();
    if let Some(answer) = gate(&mut received, &headers) {
        return answer;
    }
    for resource in ExportLogsServiceRequest::decode(inflate(&headers, body)).unwrap().resource_logs {
        received.logs.extend(resource.scope_logs.into_iter().flat_map(|scope| scope.log_records));
    }
    StatusCode::OK.into_response()
}

async fn metrics(State(received): State<Arc<Mutex<Received>>>, headers: HeaderMap, body: Bytes) -> Response {
    let mut received = received.lock().unwrap();
    if let Some(answer) = gate(&mut received, &headers) {
        return answer;
    }
    for resource in ExportMetricsServiceRequest::decode(inflate(&headers, body)).unwrap().resource_metrics {
        for metric in resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
            received.metrics.insert(metric.name.clone(), metric);
        }
    }
    StatusCode::OK.into_response()
}
