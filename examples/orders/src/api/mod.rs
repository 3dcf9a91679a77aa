//! The Orders API.

mod admin;
mod faults;
mod routes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use reqwest::Url;
use skopos_sdk::health::{CheckFailure, CheckOptions, Health};
use skopos_sdk::metrics::{CounterFamily, MetricOptions};
use skopos_sdk::{Telemetry, http::Client};

use crate::cache::{Cache, MemoryCache};
use crate::downstream::Dependency;
use crate::serve::{ServeOptions, finish, serve, telemetry};
use crate::store::Store;
use faults::Faults;

/// Options of `orders api`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ApiOptions {
    #[command(flatten)]
    serve: ServeOptions,
    /// The database file.
    #[arg(long, default_value = "orders.db")]
    database: PathBuf,
    /// Base URL of the stock keeper.
    #[arg(long, default_value = "http://127.0.0.1:8082")]
    inventory: Url,
    /// Base URL of the payment provider.
    #[arg(long, default_value = "http://127.0.0.1:8083")]
    payments: Url,
    /// Key of the admin endpoint, for flags and faults. Without one the endpoint refuses everything.
    #[arg(long, env = "ORDERS_ADMIN_KEY", hide_env_values = true)]
    admin_key: Option<String>,
    /// How long a list of orders may be served from the cache, in seconds.
    #[arg(long, default_value_t = 1.0)]
    cache_seconds: f64,
}

/// What the handlers share.
#[derive(Debug, Clone)]
struct Api {
    store: Store,
    cache: Arc<dyn Cache>,
    cache_ttl: Duration,
    inventory: Dependency,
    payments: Dependency,
    faults: Arc<Faults>,
    admin_key: Option<Arc<str>>,
    outcomes: CounterFamily,
}

pub(crate) async fn run(options: ApiOptions) -> anyhow::Result<()> {
    let guard = telemetry("orders-api")?;
    let store = Store::open(&options.database).await.with_context(|| format!("cannot open {}", options.database.display()))?;
    let client = Client::new(reqwest::Client::builder().pool_max_idle_per_host(32).build()?);
    let api = Api {
        cache: Arc::new(MemoryCache::default()),
        cache_ttl: Duration::try_from_secs_f64(options.cache_seconds).context("--cache-seconds is no duration")?,
        inventory: Dependency::new("inventory", options.inventory.clone(), &client),
        payments: Dependency::new("payments", options.payments.clone(), &client),
        faults: Arc::new(Faults::with_built_in()),
        admin_key: options.admin_key.as_deref().map(Arc::from),
        outcomes: outcomes(guard.telemetry()),
        store: store.clone(),
    };
    observe_pool(guard.telemetry(), &store);
    let health = Health::start(guard.telemetry());
    health.check("database", CheckOptions::critical(), move || {
        let store = store.clone();
        async move { store.ping().await }
    });
    // Orders that exist can be listed and shown without the two: they only degrade the service.
    let plain = reqwest::Client::new();
    for (name, base) in [("inventory", options.inventory), ("payments", options.payments)] {
        let (plain, url) = (plain.clone(), base.join("/healthz")?);
        health.check(name, CheckOptions::optional(), move || {
            let (plain, url) = (plain.clone(), url.clone());
            async move {
                let response = plain.get(url).send().await?;
                if response.status().is_success() { Ok(()) } else { Err(CheckFailure::new("status", response.status().to_string())) }
            }
        });
    }
    serve(&options.serve, guard.telemetry(), &health, router(api)).await?;
    finish(guard).await;
    Ok(())
}

fn router(api: Api) -> Router {
    routes::with_faults(routes::router(), &api).merge(admin::router()).layer(axum::extract::DefaultBodyLimit::max(64 * 1024)).with_state(api)
}

/// The business beside the technical signals.
fn outcomes(telemetry: &Telemetry) -> CounterFamily {
    let options = MetricOptions {
        help: "Orders by what became of the request: created, refused, failed, cancelled.",
        labels: &["outcome"],
        ..MetricOptions::default()
    };
    telemetry.metrics().counter("orders_total", options)
}

/// Saturation of the connection pool.
fn observe_pool(telemetry: &Telemetry, store: &Store) {
    let pool = store.pool.clone();
    telemetry.metrics().observe_gauge("db_client_connection_count", "Connections of the pool by state.", &["state"], move |emit| {
        let idle = pool.num_idle() as f64;
        emit(&["idle"], idle);
        emit(&["used"], (f64::from(pool.size()) - idle).max(0.0));
    });
}

/// The flags of this service.
#[cfg(test)]
pub(crate) fn flags_known() -> Vec<String> {
    Faults::with_built_in().state().flags.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use http_body_util::BodyExt as _;
    use serde_json::{Value, json};
    use tower::ServiceExt as _;

    use super::*;

    /// The API on a database of its own, with dependencies that answer at once.
    async fn app(folder: &tempfile::TempDir) -> Router {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dependency = Router::new()
            .route("/stock/{sku}", axum::routing::get(|| async { axum::Json(json!({"available": 5, "price_cents": 250})) }))
            .route("/charges", axum::routing::post(|| async { axum::Json(json!({"charge_id": "ch_1"})) }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, dependency).await.unwrap() });
        let client = Client::new(reqwest::Client::new());
        router(Api {
            store: Store::open(&folder.path().join("orders.db")).await.unwrap(),
            cache: Arc::new(MemoryCache::default()),
            cache_ttl: Duration::from_secs(60),
            inventory: Dependency::new("inventory", base.clone(), &client),
            payments: Dependency::new("payments", base, &client),
            faults: Arc::new(Faults::with_built_in()),
            admin_key: Some("secret".into()),
            outcomes: outcomes(&Telemetry::global()),
        })
    }

    async fn ask(app: &Router, method: &str, path: &str, key: Option<&str>, body: Value) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path).header("x-user-id", "ada").header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let response = app.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    #[tokio::test]
    async fn an_order_is_created_listed_shown_and_cancelled() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(&folder).await;
        assert_eq!(ask(&app, "GET", "/orders", None, Value::Null).await, (StatusCode::OK, json!([])));
        let (status, order) = ask(&app, "POST", "/orders", None, json!({"sku": "tea-1", "quantity": 2})).await;
        assert_eq!(
            (status, &order["amount_cents"], &order["status"], &order["user_id"]),
            (StatusCode::CREATED, &json!(500), &json!("paid"), &json!("ada"))
        );
        let id = order["id"].as_str().unwrap();
        let (_, listed) = ask(&app, "GET", "/orders", None, Value::Null).await;
        assert_eq!(listed[0]["id"], id, "creating made the cached list invalid");
        assert_eq!(ask(&app, "GET", &format!("/orders/{id}"), None, Value::Null).await.1, order);
        let (status, cancelled) = ask(&app, "POST", &format!("/orders/{id}/cancel"), None, Value::Null).await;
        assert_eq!((status, &cancelled["status"]), (StatusCode::OK, &json!("cancelled")));
        assert_eq!(ask(&app, "DELETE", &format!("/orders/{id}"), None, Value::Null).await.0, StatusCode::CONFLICT);
        assert_eq!(ask(&app, "GET", "/orders/none", None, Value::Null).await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask(&app, "POST", "/orders", None, json!({"sku": "", "quantity": 2})).await.0, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(ask(&app, "POST", "/orders", None, json!({"sku": "tea", "quantity": 1000})).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    }

    #[tokio::test]
    async fn the_admin_endpoint_wants_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(&folder).await;
        for key in [None, Some("wrong"), Some("secret ")] {
            assert_eq!(ask(&app, "POST", "/admin/flags/new-pricing", key, json!({"enabled": true})).await.0, StatusCode::UNAUTHORIZED, "{key:?}");
        }
        assert_eq!(ask(&app, "GET", "/admin/state", Some("secret"), Value::Null).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_flag_switches_its_fault_on_and_off() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(&folder).await;
        let failures = async || {
            let mut failures = 0;
            for _ in 0..300 {
                failures += u32::from(ask(&app, "GET", "/orders/none", None, Value::Null).await.0 == StatusCode::INTERNAL_SERVER_ERROR);
            }
            failures
        };
        assert_eq!(failures().await, 0);
        let (status, state) = ask(&app, "POST", "/admin/flags/new-pricing", Some("secret"), json!({"enabled": true})).await;
        assert_eq!((status, &state["variant"]), (StatusCode::OK, &json!("on")));
        let failed = failures().await;
        // 300 draws at 10 %: 30 expected, standard deviation 5.2; seven of them either way.
        assert!((1..=67).contains(&failed), "{failed} of 300");
        ask(&app, "POST", "/admin/flags/new-pricing", Some("secret"), json!({"enabled": false})).await;
        assert_eq!(failures().await, 0);
        assert_eq!(ask(&app, "POST", "/admin/flags/new-prices", Some("secret"), json!({"enabled": true})).await.0, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn faults_are_injected_by_route_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(&folder).await;
        let fault = json!({"route": "GET /orders/{id}", "kind": "error", "percent": 100});
        let (status, made) = ask(&app, "POST", "/admin/faults", Some("secret"), fault).await;
        assert_eq!(status, StatusCode::CREATED);
        assert_eq!(ask(&app, "GET", "/orders/none", None, Value::Null).await.0, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(ask(&app, "GET", "/orders", None, Value::Null).await.0, StatusCode::OK);
        let path = format!("/admin/faults/{}", made["id"].as_str().unwrap());
        assert_eq!(ask(&app, "DELETE", &path, Some("secret"), Value::Null).await.0, StatusCode::NO_CONTENT);
        assert_eq!(ask(&app, "DELETE", &path, Some("secret"), Value::Null).await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask(&app, "GET", "/orders/none", None, Value::Null).await.0, StatusCode::NOT_FOUND);
        for bad in [
            json!({"route": "GET /order", "kind": "error", "percent": 10}),
            json!({"route": "*", "kind": "error", "percent": 101}),
            json!({"route": "*", "kind": "latency", "percent": 10}),
            json!({"route": "*", "kind": "error", "percent": 1, "flag": "none"}),
            json!({"route": "*", "kind": "error", "percent": 1, "colour": "red"}),
        ] {
            assert_eq!(ask(&app, "POST", "/admin/faults", Some("secret"), bad.clone()).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_slow_database_delays_what_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(&folder).await;
        ask(&app, "POST", "/admin/faults", Some("secret"), json!({"route": "GET /orders", "kind": "slow_db", "percent": 100, "latency_ms": 60}))
            .await;
        let started = std::time::Instant::now();
        ask(&app, "GET", "/orders", None, Value::Null).await;
        assert!(started.elapsed() >= Duration::from_millis(60));
    }
}
