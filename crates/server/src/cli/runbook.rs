//! `skopos runbook`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, ServerArgs};
use super::query::{print_table, time};
use super::{FINDINGS, say};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skopos runbook list burn                            (search)
  skopos runbook show orders-error-rate               (its steps)
  skopos runbook start orders-error-rate              (prints the run's id)
  skopos runbook step RUN err-ratio                   (verify steps run as they are)
  skopos runbook step RUN disable-flag --confirm disable-flag --key-file data/api-key
  skopos runbook run RUN                              (what has been done, by whom, with which result)")]
pub(crate) struct RunbookArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List runbooks; words search title, alerts, headings, text.
    List {
        /// Search words.
        words: Vec<String>,
    },
    /// Show a runbook's steps.
    Show {
        /// Runbook.
        id: String,
    },
    /// Begin a run, for an alert if there is one. Prints the run's id.
    Start {
        /// Runbook.
        id: String,
        /// Fingerprint of the alert.
        #[arg(long)]
        alert: Option<String>,
    },
    /// Run one step. Mitigations and rollbacks need --confirm with the step's id, and the key.
    Step {
        /// Run.
        run: String,
        /// Step.
        step: String,
        /// The step's id once more.
        #[arg(long)]
        confirm: Option<String>,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show the results of a run.
    Run {
        /// Run.
        run: String,
    },
}

fn text(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn rows<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn table(value: &Value, key: &str, columns: &[&str]) {
    let rows: Vec<Vec<String>> =
        rows(value, key).map(|r| columns.iter().map(|c| if *c == "at" { time(&r[*c]) } else { text(&r[*c]) }).collect()).collect();
    print_table(&columns.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>(), &rows);
}

pub(crate) async fn run(args: RunbookArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.server)?;
    match args.what {
        What::List { words } => {
            let answer = client.get("/v1/runbooks", &[("q", words.join(" "))]).await?;
            table(&answer, "runbooks", &["id", "title", "service", "owner", "reviewed"]);
            for missing in rows(&answer, "missing") {
                say(format!("no runbook: {} ({})", text(&missing["alert"]), text(&missing["severity"])));
            }
        }
        What::Show { id } => {
            let answer = client.get(&format!("/v1/runbooks/{id}"), &[]).await?;
            say(format!("{} — owner {}, reviewed {}\n", text(&answer["title"]), text(&answer["owner"]), text(&answer["reviewed"])));
            table(&answer, "steps", &["id", "phase", "kind", "query", "expect", "action"]);
        }
        What::Start { id, alert } => {
            let body = alert.map_or_else(|| json!({}), |a| json!({"alert": a}));
            say(text(&client.post(&format!("/v1/runbooks/{id}/runs"), &body).await?["id"]));
        }
        What::Step { run, step, confirm, dry_run } => {
            let answer = client.post(&format!("/v1/runs/{run}/steps/{step}"), &json!({"confirm": confirm, "dry_run": dry_run})).await?;
            say(format!("{}: {} {}", text(&answer["verdict"]), text(&answer["value"]), text(&answer["message"])));
            if matches!(answer["verdict"].as_str(), Some("failed" | "false" | "unknown")) {
                return Ok(ExitCode::from(FINDINGS));
            }
        }
        What::Run { run } => {
            let answer = client.get(&format!("/v1/runs/{run}"), &[]).await?;
            table(&answer, "results", &["at", "step", "phase", "verdict", "value", "actor", "message"]);
            say(format!("suggested next: {}", text(&answer["suggested"])));
        }
    }
    Ok(ExitCode::SUCCESS)
}
