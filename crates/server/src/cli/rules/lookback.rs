//! `skopos rules backtest` and `backfill`: a running server evaluates the rules over what it has stored.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use crate::cli::client::{Client, ServerArgs};
use crate::cli::say;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skopos rules backtest rules/orders.yml --from -30d
  skopos rules backtest new-alert.yml --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z --json

The server's own rule engine is stepped through the past, with the routes in force; nothing is sent
and nothing is stored. The answer says when each alert would have been pending, fired and paged.")]
pub(crate) struct BacktestArgs {
    #[command(flatten)]
    range: LookBackArgs,
    /// Print the server's JSON as it is.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skopos rules backfill rules/recorded.yml --from -30d --key-file data/api-key

The series of new recording rules are written for the past, at the moments at which the rules would
have been evaluated. A sample that is there already stays as it is; alerting rules are passed over.")]
pub(crate) struct BackfillArgs {
    #[command(flatten)]
    range: LookBackArgs,
    /// Print the server's JSON as it is.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct LookBackArgs {
    /// Prometheus rule file.
    file: PathBuf,
    /// Start: -30d, now-3h, RFC 3339, Unix seconds.
    #[arg(long, allow_hyphen_values = true)]
    from: String,
    /// End, as --from.
    #[arg(long, default_value = "now", allow_hyphen_values = true)]
    to: String,
    #[command(flatten)]
    server: ServerArgs,
}

impl LookBackArgs {
    async fn ask(&self, path: &str) -> anyhow::Result<Value> {
        let rules = std::fs::read_to_string(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        Client::new(&self.server)?.post(path, &json!({"rules": rules, "from": self.from, "to": self.to})).await
    }
}

pub(super) async fn backtest(args: BacktestArgs) -> anyhow::Result<ExitCode> {
    let answer = args.range.ask("/v1/rules/backtest").await?;
    if args.json {
        say(serde_json::to_string_pretty(&answer)?);
    } else {
        say(answer["text"].as_str().unwrap_or_default());
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn backfill(args: BackfillArgs) -> anyhow::Result<ExitCode> {
    let answer = args.range.ask("/v1/rules/backfill").await?;
    if args.json {
        say(serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    for rule in answer["rules"].as_array().into_iter().flatten() {
        let (group, name) = (rule["group"].as_str().unwrap_or(""), rule["name"].as_str().unwrap_or(""));
        say(format!("{group}\t{name}\t{} evaluations\t{} samples of {} series", rule["evaluations"], rule["samples"], rule["series"]));
    }
    Ok(ExitCode::SUCCESS)
}
