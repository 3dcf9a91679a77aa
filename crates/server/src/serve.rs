//! Starting in order, running, stopping front to back.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use axum::Router;
use parking_lot::Mutex;
use skopos_ingest::derive::span_metrics::SpanMetrics;
use skopos_ingest::otlp::metrics::delta::{DeltaLimits, Deltas};
use skopos_model::{Batch, Clock, SystemClock};
use skopos_query::QueryLimits;
use skopos_query::promql;
use skopos_storage::{Store, StoreOptions};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{Addresses, App, IngestSettings, QUERIES_MAX};
use crate::config::{ConfigHandle, Loaded};
use crate::http::auth::{Auth, load_or_create_key};
use crate::ingest::accept::store_own;
use crate::ingest::listeners::Listeners;
use crate::ingest::replay::Replay;
use crate::ingest::sources::Sources;
use crate::ingest::statsd::Statsd;
use crate::probes::Probes;
use crate::reliability::Reliability;
use crate::router;
use crate::scrape::Scrapes;
use crate::telemetry::Telemetry;

/// How a server is started.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Folder that holds everything.
    pub data: PathBuf,
    /// Main port.
    pub listen: SocketAddr,
    /// OTLP over HTTP; `None` for no port of its own. The flag says whether it was asked for: then a busy port is
    /// fatal, else a warning.
    pub otlp_http: Option<(SocketAddr, bool)>,
    /// OTLP over gRPC, as above.
    pub otlp_grpc: Option<(SocketAddr, bool)>,
    /// Configuration file.
    pub config: Option<PathBuf>,
    /// PromQL's features to switch on, by Prometheus' names.
    pub features: Vec<String>,
    /// No key is demanded for anything.
    pub insecure: bool,
    /// The key's file, `DIR/api-key` when absent.
    pub api_key_file: Option<PathBuf>,
}

/// How often counters derived from spans are written.
const SPAN_METRICS_INTERVAL: Duration = Duration::from_secs(5);
/// Longest a stop waits for requests that are under way.
const DRAIN_MAX: Duration = Duration::from_secs(10);

fn store_options(options: &ServeOptions, config: &Loaded) -> StoreOptions {
    let days = |days: u64| Duration::from_secs(days.saturating_mul(86_400));
    let retention = &config.file.retention;
    let mut out = StoreOptions::new(&options.data);
    out.head_bytes_max = config.file.limits.head_bytes_max;
    out.active_series_max = config.file.limits.active_series_max;
    out.active_series_per_metric_max = config.file.limits.active_series_per_metric_max;
    out.active_series_per_source_max = config.file.limits.active_series_per_source_max;
    out.out_of_order_window = Duration::from_secs(config.file.limits.out_of_order_window_seconds);
    out.retention_logs = days(retention.logs_days);
    out.retention_traces = days(retention.traces_days);
    out.retention_metrics = days(retention.metrics_days);
    out.rollups = config.file.rollups;
    out
}

/// PromQL with these features. As with Prometheus, a name nobody knows is a warning.
fn promql_options(features: &[String]) -> promql::EngineOptions {
    let mut engine = promql::EngineOptions::default();
    for feature in features {
        match engine.enable(feature) {
            promql::Feature::Enabled => tracing::info!(feature, "feature switched on"),
            promql::Feature::Always => tracing::info!(feature, "feature is always on"),
            promql::Feature::NoEffect => tracing::warn!(feature, "--enable-feature: this has no meaning here"),
            promql::Feature::Unserved(instead) => tracing::warn!(feature, instead, "--enable-feature: this is not served"),
            // Prometheus' words: whoever watches its log for them finds them here.
            promql::Feature::Unknown => {
                let known = promql::EngineOptions::features().collect::<Vec<_>>().join(", ");
                tracing::warn!(option = feature, known, "Unknown option for --enable-feature");
            }
        }
    }
    engine
}

fn authentication(options: &ServeOptions) -> anyhow::Result<Auth> {
    let loopback =
        options.listen.ip().is_loopback() && [options.otlp_http, options.otlp_grpc].iter().flatten().all(|(address, _)| address.ip().is_loopback());
    if options.insecure {
        if !loopback {
            tracing::warn!("--insecure on an address that others can reach: everybody may read, write and change everything");
        }
        return Ok(Auth::insecure());
    }
    if !loopback && options.api_key_file.is_none() {
        bail!("listening on an address other than loopback needs --api-key-file FILE (it is made when it is not there), or --insecure");
    }
    let file = options.api_key_file.clone().unwrap_or_else(|| options.data.join("api-key"));
    let (key, new) = load_or_create_key(&file)?;
    if new {
        #[allow(clippy::print_stderr, reason = "shown once, to the person who starts it, and kept out of the log")]
        {
            eprintln!("API key (shown this once, kept in {}): {key}", file.display());
        }
    }
    Ok(Auth::with_key(key, loopback))
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Starts a server; returns once it listens on every port.
///
/// # Errors
/// When the folder is in use, the catalog cannot be opened, the configuration has errors, or a port is busy.
pub async fn start(options: ServeOptions, config: Loaded) -> anyhow::Result<Server> {
    for problem in &config.problems {
        if problem.is_error() {
            tracing::error!("{problem}");
        } else {
            tracing::warn!("{problem}");
        }
    }
    std::fs::create_dir_all(&options.data).with_context(|| format!("cannot create the data folder {}", options.data.display()))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ingest_limits = config.file.limits.ingest.clone();
    let store = Store::open(store_options(&options, &config), Arc::new(Replay::new(ingest_limits.of_taken())), Arc::clone(&clock)).await?;
    let auth = Arc::new(authentication(&options)?);
    let reliability = Reliability::restore(store.state(), &config, Arc::clone(&clock)).await?;
    let query_limits = QueryLimits {
        samples_max: config.file.limits.query_samples_max,
        timeout: Duration::from_secs(config.file.limits.query_timeout_seconds.max(1)),
        ..QueryLimits::default()
    };
    let stop = CancellationToken::new();
    let app = Arc::new(App {
        started: clock.now_nanos(),
        store,
        clock,
        auth,
        ingest_limits,
        ingest: ArcSwap::from_pointee(IngestSettings::new(config.otlp.clone())),
        sources: Sources::default(),
        deltas: tokio::sync::Mutex::new(Deltas::new(DeltaLimits {
            streams_max: config.file.limits.delta_streams_max,
            idle_nanos: i64::try_from(config.file.limits.delta_idle_seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000_000),
        })),
        delta_streams: AtomicUsize::new(0),
        promql: promql::Engine::new(promql_options(&options.features)),
        reliability,
        span_metrics: Mutex::new(SpanMetrics::default()),
        probes: Probes::default(),
        telemetry: Telemetry { data: options.data.clone().into(), ..Telemetry::default() },
        http_client: crate::cli::http_client()?,
        addresses: OnceLock::new(),
        query_limits,
        query_permits: Arc::new(Semaphore::new(QUERIES_MAX)),
        drill_permit: Arc::new(Semaphore::new(1)),
        scrapes: Scrapes::default(),
        statsd: Statsd::default(),
        listeners: Listeners::default(),
        dashboard_facts: crate::dashboards::store::Recent::default(),
        config: ConfigHandle::new(config),
        stopping: stop.clone(),
    });
    let tasks = TaskTracker::new();

    let main = bind(options.listen).await.with_context(|| format!("cannot listen on {}", options.listen))?;
    let otlp_http = bind_otlp("OTLP/HTTP", options.otlp_http).await?;
    let otlp_grpc = bind_otlp("OTLP/gRPC", options.otlp_grpc).await?;
    let shown = |listener: &TcpListener| listener.local_addr().map(|a| a.to_string());
    let addresses = Addresses {
        http: shown(&main)?,
        otlp_http: otlp_http.as_ref().map(shown).transpose()?,
        otlp_grpc: otlp_grpc.as_ref().map(shown).transpose()?,
    };
    write_addresses(&options.data, &addresses)?;
    tracing::info!(http = addresses.http, otlp_http = addresses.otlp_http, otlp_grpc = addresses.otlp_grpc, data = %options.data.display(), "listening");
    let _ = app.addresses.set(addresses);

    app.store.run_background();
    // Whoever reaches a port finds the rules in force.
    tasks.spawn(Reliability::run(Arc::clone(&app), stop.clone()));
    app.reliability.configure(&app).await;
    tasks.spawn(listen(main, router::main(&app), stop.clone()));
    if let Some(listener) = otlp_http {
        tasks.spawn(listen(listener, router::otlp_http(&app), stop.clone()));
    }
    if let Some(listener) = otlp_grpc {
        tasks.spawn(listen(listener, router::otlp_grpc(&app), stop.clone()));
    }
    tokio::spawn(crate::drill::resume(Arc::clone(&app)));
    tasks.spawn(write_span_metrics(Arc::clone(&app), stop.clone()));
    app.scrapes.restart(&app);
    app.statsd.restart(&app);
    app.listeners.restart(&app);
    Probes::restart(&app);
    Ok(Server { app, stop, tasks })
}

impl Server {
    /// What it serves with.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Stops front to back: no new requests, the running ones finish, background tasks end, everything is flushed.
    ///
    /// # Errors
    /// When the last flush fails; the write-ahead log then still holds the rows.
    pub async fn stop(self) -> anyhow::Result<()> {
        tracing::info!("stopping: draining requests");
        tokio::join!(self.app.scrapes.stop(), self.app.statsd.stop(), self.app.listeners.stop(), self.app.probes.stop());
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(DRAIN_MAX, self.tasks.wait()).await.is_err() {
            tracing::warn!("requests were still running after {} s and were cut off", DRAIN_MAX.as_secs());
        }
        let last = self.app.span_metrics.lock().drain(self.app.clock.now_millis());
        if let Err(error) = store_own(&self.app, Batch::Series(last, Vec::new())).await {
            tracing::warn!(%error, "last counters derived from spans not stored");
        }
        self.app.store.close().await.context("the last flush failed; the write-ahead log holds what was acknowledged")?;
        tracing::info!("stopped");
        Ok(())
    }
}

async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

async fn bind_otlp(name: &str, wanted: Option<(SocketAddr, bool)>) -> anyhow::Result<Option<TcpListener>> {
    let Some((address, asked_for)) = wanted else { return Ok(None) };
    match bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if asked_for => Err(error).with_context(|| format!("cannot listen on {address} for {name}")),
        Err(error) => {
            tracing::warn!(%address, %error, protocol = name, "the default port is taken; this protocol is served on the main port only");
            Ok(None)
        }
    }
}

fn write_addresses(data: &Path, addresses: &Addresses) -> anyhow::Result<()> {
    let temporary = data.join("addresses.json.tmp");
    std::fs::write(&temporary, serde_json::to_vec_pretty(addresses)?).with_context(|| format!("cannot write {}", temporary.display()))?;
    std::fs::rename(&temporary, data.join("addresses.json"))?;
    Ok(())
}

async fn listen(listener: TcpListener, router: Router, stop: CancellationToken) {
    // HTTP/1.1 and HTTP/2 with prior knowledge (gRPC) on the same port.
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(async move { stop.cancelled().await }).await {
        tracing::error!(%error, "a listener failed");
    }
}

async fn write_span_metrics(app: Arc<App>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SPAN_METRICS_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let series = app.span_metrics.lock().drain(app.clock.now_millis());
        if let Err(error) = store_own(&app, Batch::Series(series, Vec::new())).await {
            tracing::warn!(%error, "counters derived from spans not stored; the next ones hold them too");
        }
    }
}
