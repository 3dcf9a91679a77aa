//! `skopos serve`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::USAGE;
use crate::config;
use crate::serve::{ServeOptions, start};
use skopos_model::Clock;

const OTLP_HTTP: &str = "127.0.0.1:4318";
const OTLP_GRPC: &str = "127.0.0.1:4317";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skopos serve --data ./data
  skopos serve --data /var/lib/skopos --config /etc/skopos/skopos.yaml
  skopos serve --data ./data --prometheus-config /etc/prometheus/prometheus.yml
  skopos serve --data /tmp/try --listen 127.0.0.1:0      (a free port; see /tmp/try/addresses.json)

Telemetry: OTLP/HTTP on 4318 and OTLP/gRPC on 4317, and everything HTTP on the main port as well.
SIGHUP reads the configuration again; SIGTERM and Ctrl-C drain, flush and stop.")]
pub(crate) struct ServeArgs {
    /// Folder that holds everything: catalog, tables, write-ahead log, API key.
    #[arg(long, env = "SKOPOS_DATA")]
    data: PathBuf,
    /// Main address: pages, API, and every protocol. Other than loopback needs --api-key-file.
    #[arg(long, default_value = "127.0.0.1:4000")]
    listen: SocketAddr,
    /// Address of OTLP over HTTP [default: 127.0.0.1:4318; a warning when that is taken]
    #[arg(long)]
    otlp_http: Option<SocketAddr>,
    /// Address of OTLP over gRPC [default: 127.0.0.1:4317; a warning when that is taken]
    #[arg(long)]
    otlp_grpc: Option<SocketAddr>,
    /// Configuration: rules, SLOs, runbooks, receivers, scrapes, limits (YAML).
    #[arg(long, env = "SKOPOS_CONFIG")]
    config: Option<PathBuf>,
    /// A prometheus.yml, unchanged: its jobs are scraped and its rules evaluated; what is not served of it is named.
    #[arg(long)]
    prometheus_config: Option<PathBuf>,
    /// File with the API key; made when it is not there. [default: api-key in the data folder]
    #[arg(long)]
    api_key_file: Option<PathBuf>,
    /// Switch on experimental PromQL, by Prometheus' names: promql-experimental-functions, promql-binop-fill-modifiers,
    /// promql-delayed-name-removal, use-start-timestamps. A name that is not served, or that nobody knows, is a warning.
    #[arg(long, value_name = "FEATURE,…", value_delimiter = ',')]
    enable_feature: Vec<String>,
    /// Demand no key for anything: for tests and benchmarks on loopback.
    #[arg(long)]
    insecure: bool,
    /// Log as JSON lines instead of text.
    #[arg(long)]
    log_json: bool,
}

pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_from_env("SKOPOS_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,hyper=warn,datafusion=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A log that cannot be written (its disk is full) is no reason to stop: telling standard error so would panic.
    let builder = builder.log_internal_errors(false);
    if args.log_json {
        builder.json().init();
    } else {
        builder.init();
    }
    let defaults = |given: Option<SocketAddr>, default: &str| match given {
        Some(address) => Some((address, true)),
        None => default.parse().ok().map(|address| (address, false)),
    };
    let loaded = match config::load_with(args.config.as_deref(), args.prometheus_config.as_deref(), skopos_model::SystemClock.now_nanos(), 1) {
        Ok(loaded) => loaded,
        Err(problems) => {
            for problem in problems {
                tracing::error!("{problem}");
            }
            return Ok(ExitCode::from(USAGE));
        }
    };
    let options = ServeOptions {
        data: args.data,
        listen: args.listen,
        otlp_http: defaults(args.otlp_http, OTLP_HTTP),
        otlp_grpc: defaults(args.otlp_grpc, OTLP_GRPC),
        config: args.config,
        features: args.enable_feature,
        insecure: args.insecure,
        api_key_file: args.api_key_file,
    };
    // Signals are watched before anything listens, so that none is missed.
    let (mut terminate, mut interrupt, mut hangup) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
    let server = start(options, loaded).await?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                if let Err(problems) = config::reload(server.app()).await {
                    for problem in problems {
                        tracing::error!("{problem}");
                    }
                    tracing::error!("the configuration was not loaded, the previous one stays in force");
                }
            }
        }
    }
    server.stop().await?;
    Ok(ExitCode::SUCCESS)
}
