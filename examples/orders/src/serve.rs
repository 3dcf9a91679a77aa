//! What all the services share: telemetry, a listener, the operations endpoints, and an orderly stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use skopos_sdk::health::Health;
use skopos_sdk::{Guard, Telemetry};
use tokio::net::TcpListener;

/// Where a service listens and how it stops.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServeOptions {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// File that gets the address in use once the service listens.
    #[arg(long)]
    pub(crate) address_file: Option<PathBuf>,
    /// Seconds to keep serving, not ready any more, after being told to stop.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) drain_seconds: f64,
}

/// Sets up telemetry for `service` from the environment.
pub(crate) fn telemetry(service: &str) -> anyhow::Result<Guard> {
    let mut config = skopos_sdk::Config::from_env(service).version(env!("CARGO_PKG_VERSION"));
    config.resource.push(("service.namespace".to_owned(), "orders".to_owned()));
    Ok(skopos_sdk::init(config)?)
}

/// Serves `routes` with their telemetry layer, and the operations endpoints, until the process is told to stop.
pub(crate) async fn serve(options: &ServeOptions, telemetry: &Telemetry, health: &Health, routes: Router) -> anyhow::Result<()> {
    let app = routes.layer(skopos_sdk::axum::layer()).merge(skopos_sdk::axum::operations(telemetry, health));
    let listener = TcpListener::bind(options.listen).await.with_context(|| format!("cannot listen on {}", options.listen))?;
    let address = listener.local_addr()?;
    if let Some(file) = &options.address_file {
        // Written beside and renamed, so that whoever waits for the file never reads half of it.
        let partial = file.with_extension("partial");
        std::fs::write(&partial, address.to_string())
            .and_then(|()| std::fs::rename(&partial, file))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    tracing::info!(address = %address, "listening");
    health.set_started();
    let drain = Duration::try_from_secs_f64(options.drain_seconds).context("--drain-seconds is no duration")?;
    let health = health.clone();
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            stop_signal().await;
            health.set_draining();
            tracing::info!(drain_seconds = drain.as_secs_f64(), "told to stop, draining");
            tokio::time::sleep(drain).await;
        })
        .await?;
    Ok(())
}

/// Resolves when the process is told to stop: SIGINT or SIGTERM.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Without a handler the signal ends the process by itself.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Stops the telemetry off the runtime's threads: the final flush waits.
pub(crate) async fn finish(guard: Guard) {
    let _ = tokio::task::spawn_blocking(move || drop(guard)).await;
}
