//! The command line.

mod agent;
mod check;
pub(crate) mod client;
mod dashboards;
mod drill;
mod files;
mod import;
mod query;
mod rules;
mod runbook;
mod serve;

pub(crate) use client::http_client;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit code of commands that check: findings.
pub(crate) const FINDINGS: u8 = 1;
/// Exit code of commands that check: usage or configuration.
pub(crate) const USAGE: u8 = 2;

/// Observability and production support for backend services.
///
/// Start with `skopos serve --data ./data`, point any OpenTelemetry SDK at it, and open http://127.0.0.1:4000.
#[derive(Debug, Parser)]
#[command(name = "skopos", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take in, store and watch logs, metrics and traces.
    Serve(serve::ServeArgs),
    /// Ask a running server: SQL, PromQL, logs, traces.
    Query(query::QueryArgs),
    /// Check rules, SLOs, runbooks and configuration before they are deployed.
    Check(check::CheckArgs),
    /// Rehearse: inject a failure and see whether the loop closes.
    Drill(drill::DrillArgs),
    /// Read and run runbooks.
    Runbook(runbook::RunbookArgs),
    /// Import dashboards from Grafana, list and read them.
    Dashboards(dashboards::DashboardsArgs),
    /// Tail files or standard input and send the lines as logs.
    Agent(agent::AgentArgs),
    /// Bring in samples of the past.
    Import(import::ImportArgs),
    /// Work with rule files.
    Rules(rules::RulesArgs),
}

/// Runs the command; the exit code is 0 when fine, 1 on findings, 2 on wrong usage or configuration.
pub async fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Serve(args) => serve::run(args).await,
        Command::Query(args) => query::run(args).await,
        Command::Check(args) => check::run(args),
        Command::Drill(args) => drill::run(args).await,
        Command::Runbook(args) => runbook::run(args).await,
        Command::Dashboards(args) => dashboards::run(args).await,
        Command::Agent(args) => agent::run(args).await,
        Command::Import(args) => import::run(args).await,
        Command::Rules(args) => rules::run(args).await,
    };
    result.unwrap_or_else(|error| {
        #[allow(clippy::print_stderr, reason = "the answer of a command")]
        {
            eprintln!("skopos: {error:#}");
        }
        ExitCode::from(USAGE)
    })
}

/// Prints a line of a command's answer; a reader that has gone away is no error.
pub(crate) fn say(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    let _ = std::io::Write::write_fmt(&mut out, format_args!("{text}\n"));
}
