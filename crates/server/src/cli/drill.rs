//! `skopos drill`

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, ServerArgs};
use super::query::print_table;
use super::{FINDINGS, say};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skopos drill run orders-error-10pct --key-file data/api-key
  skopos drill list

A drill injects a failure through a registered action and times every hop: clean baseline, injection,
alert pending, firing, webhook delivered with its runbook, verify step true, mitigation, errors stop,
resolved, delivered.

Exit code: 0 the loop closed, 1 it did not, 2 the drill could not be run.")]
pub(crate) struct DrillArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Run a drill and print its report.
    #[command(after_help = "\
Examples:
  skopos drill run orders-error-10pct --key-file data/api-key
  skopos drill run orders-slow-db --key-file data/api-key --json > report.json

It changes the target system, so it needs the key. What it has injected is taken back at the end, also
when the loop did not close.")]
    Run {
        /// `orders-error-10pct` or `orders-slow-db`.
        scenario: String,
        #[command(flatten)]
        server: ServerArgs,
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List past drills.
    List {
        #[command(flatten)]
        server: ServerArgs,
    },
}

const POLL: Duration = Duration::from_millis(500);

pub(crate) async fn run(args: DrillArgs) -> anyhow::Result<ExitCode> {
    match args.what {
        What::List { server } => {
            let answer = Client::new(&server)?.get("/v1/drills", &[]).await?;
            let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
            let columns = [
                "id",
                "scenario",
                "outcome",
                "time_to_detect_seconds",
                "time_to_page_seconds",
                "time_to_mitigate_seconds",
                "time_to_resolve_seconds",
            ];
            let rows: Vec<Vec<String>> =
                answer["drills"].as_array().into_iter().flatten().map(|d| columns.iter().map(|c| text(&d[*c])).collect()).collect();
            print_table(&columns.map(str::to_owned), &rows);
            Ok(ExitCode::SUCCESS)
        }
        What::Run { scenario, server, json } => drill(&Client::new(&server)?, &scenario, json).await,
    }
}

async fn drill(client: &Client, scenario: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let started = client.post("/v1/drills", &json!({"scenario": scenario})).await?;
    let id = started["id"].as_str().unwrap_or_default().to_owned();
    progress(&format!("drill {scenario} ({id})"));
    let mut shown = 0;
    loop {
        tokio::time::sleep(POLL).await;
        let report = client.get(&format!("/v1/drills/{id}"), &[]).await?;
        let hops = report["hops"].as_array().cloned().unwrap_or_default();
        while let Some(hop) = hops.get(shown).filter(|h| !h["at"].is_null()) {
            let mark = if hop["ok"] == true { "✓" } else { "✕" };
            let title = hop["title"].as_str().unwrap_or("");
            progress(&format!("{mark} {:>7.1} s  {title}: {}", hop["seconds"].as_f64().unwrap_or(0.0), hop["evidence"].as_str().unwrap_or("")));
            shown += 1;
        }
        if report["outcome"] == "running" {
            continue;
        }
        if as_json {
            say(serde_json::to_string_pretty(&report)?);
        } else {
            say(report["text"].as_str().map_or_else(|| report.to_string(), str::to_owned));
        }
        return Ok(if report["outcome"] == "passed" { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) });
    }
}

#[allow(clippy::print_stderr, reason = "progress beside the report on standard output")]
fn progress(line: &str) {
    eprintln!("{line}");
}
