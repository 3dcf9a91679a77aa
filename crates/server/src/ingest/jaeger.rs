//! Jaeger's spans: Thrift over HTTP, and its agent's datagrams. Its gRPC is with OTLP's in [`super::grpc`].

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap};
use axum::response::Response;
use axum::routing::post;
use skopos_ingest::Protocol;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::receive::receive;
use super::udp;
use super::zipkin::{answer, refuse};
use crate::app::App;
use crate::config::JaegerConfig;

/// Its path.
pub fn routes() -> Router<Arc<App>> {
    super::paths(Protocol::JaegerThrift).fold(Router::new(), |routes, path| routes.route(path, post(batch)))
}

/// `POST /api/traces`: a `Batch` in Thrift; 202 when all is stored, as Jaeger's collector answers.
pub async fn batch(State(app): State<Arc<App>>, extensions: Extensions, headers: HeaderMap, body: Body) -> Response {
    match receive(&app, Protocol::JaegerThrift, String::new(), &extensions, &headers, body).await {
        Ok(accepted) => answer(&accepted.rejected),
        Err(error) => refuse(&error),
    }
}

/// Listens for the agent's datagrams. Which of Thrift's protocols one is in is told by itself; two ports are what
/// clients expect.
pub(super) async fn listen(app: Arc<App>, config: JaegerConfig, stop: CancellationToken, tasks: TaskTracker) {
    for address in [config.compact, config.binary].into_iter().flatten() {
        udp::listen(&app, &address, "Jaeger's agent protocol", Protocol::JaegerAgent, &stop, &tasks).await;
    }
}
