//! `skopos agent`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::client::http_client;
use super::{FINDINGS, say};
use crate::agent::{AgentOptions, follow_files, follow_stream};

#[derive(Debug, Args)]
#[command(after_help = "\
Lines that are JSON objects are taken apart (ts, time, level, severity, msg, message, service, env,
trace_id, …); others become plain messages. What was acknowledged is remembered in --offsets, so that
rotation and restarts lose nothing; while the server is away the agent waits and the files keep the lines.

Examples:
  skopos agent --service orders --env prod '/var/log/orders/*.log'
  my-program | skopos agent --service my-program -")]
pub(crate) struct AgentArgs {
    /// Files or globs to follow, or - for standard input.
    #[arg(required = true)]
    files: Vec<String>,
    /// Base URL of the server.
    #[arg(long, env = "SKOPOS_URL", default_value = "http://127.0.0.1:4000")]
    server: String,
    /// Service of lines that state none.
    #[arg(long)]
    service: Option<String>,
    /// Environment of lines that state none.
    #[arg(long)]
    env: Option<String>,
    /// The API key, for servers on other addresses than loopback.
    #[arg(long, env = "SKOPOS_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Where acknowledged offsets are kept.
    #[arg(long, default_value = "skopos-agent-offsets.json")]
    offsets: PathBuf,
    /// Begin at the end of files met for the first time.
    #[arg(long)]
    from_end: bool,
}

pub(crate) async fn run(args: AgentArgs) -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_from_env("SKOPOS_LOG").unwrap_or_else(|_| EnvFilter::new("info,hyper=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    let mut options = AgentOptions::new(args.server, args.offsets);
    options.service = args.service;
    options.environment = args.env;
    options.api_key = args.key;
    options.from_beginning = !args.from_end;
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.cancel();
    });
    let client = http_client()?;
    let report = if args.files == ["-"] {
        follow_stream(options, tokio::io::stdin(), client, stop).await?
    } else {
        options.patterns = args.files;
        follow_files(options, client, stop).await?
    };
    say(format!("{} lines acknowledged, {} refused", report.lines, report.refused));
    Ok(if report.refused > 0 { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
}
