//! All routes, in one place.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::api::{
    admin, alerts, capacity, cardinality, correlate, dashboards, dashboards_panels, drills, events, explain, floods, health, jaeger, logs, logs_tail,
    loki, metrics, openapi, palette, prometheus, rules, runbooks, services, slos, sql, status, tempo, traces,
};
use crate::app::App;
use crate::http::{ApiError, auth, rejection, request_log, ui};
use crate::ingest::{elastic, grpc, json_lines, otlp_http, remote_write, sources, splunk, zipkin};

fn own_api() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/logs/tail", get(logs_tail::tail))
        .route("/v1/logs/histogram", get(logs::histogram))
        .route("/v1/logs/facets", get(logs::facets))
        .route("/v1/logs/{id}", get(logs::one))
        .route("/v1/traces/{id}", get(traces::one))
        .route("/v1/traces/{id}/logs", get(traces::logs))
        .route("/v1/metrics/{name}", get(metrics::one))
        .route("/v1/promql/explain", get(explain::explain))
        .route("/v1/services", get(services::list))
        .route("/v1/services/{name}", get(services::one))
        .route("/v1/services/{name}/golden", get(services::golden))
        .route("/v1/capacity/{service}", get(capacity::note))
        .route("/v1/correlate", get(correlate::correlate))
        .route("/v1/search", get(palette::search))
        .route("/v1/dashboards", get(dashboards::list))
        .route("/v1/dashboards/import", post(dashboards::import))
        .route("/v1/dashboards/{name}", get(dashboards::one).put(dashboards::put).delete(dashboards::delete))
        .route("/v1/dashboards/{name}/versions", get(dashboards::versions))
        .route("/v1/dashboards/{name}/diff", get(dashboards::difference))
        .route("/v1/dashboards/{name}/restore", post(dashboards::restore))
        .route("/v1/dashboards/{name}/view", get(dashboards_panels::view))
        .route("/v1/dashboards/{name}/panels/{panel}", get(dashboards_panels::panel))
        .route("/v1/events", get(events::list).post(events::post))
        .route("/v1/alerts", get(alerts::list))
        .route("/v1/alerts/{fingerprint}", get(alerts::one))
        .route("/v1/rules", get(alerts::rules))
        .route("/v1/rules/lint", post(rules::lint))
        .route("/v1/rules/backtest", post(rules::backtest))
        .route("/v1/rules/backfill", post(rules::backfill))
        .route("/v1/slos", get(slos::list))
        .route("/v1/slos/{id}", get(slos::one))
        .route("/v1/runbooks", get(runbooks::list))
        .route("/v1/runbooks/{id}", get(runbooks::one))
        .route("/v1/runbooks/{id}/runs", post(runbooks::start))
        .route("/v1/runs/{run}", get(runbooks::run))
        .route("/v1/runs/{run}/steps/{step}", post(runbooks::step))
        .route("/v1/drills", get(drills::list).post(drills::start))
        .route("/v1/drills/{id}", get(drills::one))
        .route("/v1/sql", post(sql::sql))
        .route("/v1/cardinality", get(cardinality::cardinality))
        .route("/v1/floods", get(floods::floods))
        .route("/v1/status", get(status::status))
        .route("/v1/admin/flush", post(admin::flush))
        .route("/v1/admin/reload", post(admin::reload))
        .route("/v1/openapi.json", get(openapi::document))
}

/// Everything, for the main port.
pub fn main(app: &Arc<App>) -> Router {
    // OTLP posts to these paths; the pages read from them.
    let shared = Router::new().route("/v1/logs", get(logs::search)).route("/v1/traces", get(traces::search)).route("/v1/metrics", get(metrics::list));
    let routes = Router::new()
        .merge(shared.merge(own_api()).layer(middleware::from_fn(rejection::own)))
        .merge(otlp_http::routes())
        .merge(json_lines::routes())
        .merge(crate::ingest::loki::routes())
        .merge(elastic::routes())
        .merge(splunk::routes())
        .merge(zipkin::routes())
        .merge(crate::ingest::jaeger::routes())
        .merge(grpc::routes())
        .merge(prometheus::routes().layer(middleware::from_fn(rejection::prometheus)))
        .merge(remote_write::routes())
        .merge(tempo::routes())
        .merge(jaeger::routes())
        .merge(loki::routes())
        .route("/healthz", get(health::healthz))
        .route("/livez", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/-/reload", post(admin::prometheus_reload).put(admin::prometheus_reload))
        .fallback(ui::fallback)
        .with_state(Arc::clone(app));
    let login = Router::new().route("/v1/login", post(auth::login)).layer(middleware::from_fn(rejection::own)).with_state(Arc::clone(&app.auth));
    finish(app, routes.merge(login))
}

/// OTLP over HTTP alone, for its own port.
pub fn otlp_http(app: &Arc<App>) -> Router {
    finish(app, otlp_http::routes().fallback(nothing_else).with_state(Arc::clone(app)))
}

/// OTLP over gRPC alone, for its own port.
pub fn otlp_grpc(app: &Arc<App>) -> Router {
    finish(app, grpc::routes().fallback(nothing_else).with_state(Arc::clone(app)))
}

async fn nothing_else() -> ApiError {
    ApiError::not_found("this port takes OTLP only; everything else is on the main port")
}

fn finish(app: &Arc<App>, routes: Router) -> Router {
    routes
        .layer(middleware::from_fn(sources::layer))
        .layer(middleware::from_fn_with_state(Arc::clone(&app.auth), auth::layer))
        .layer(middleware::from_fn(request_log::layer))
        // One broken request must not take the server down.
        .layer(CatchPanicLayer::custom(panicked))
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    tracing::error!("a handler panicked; the message is in the lines before");
    axum::response::IntoResponse::into_response(ApiError::internal("this request hit a defect in the server; its log says where"))
}
