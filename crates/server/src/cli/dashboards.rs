//! `skopos dashboards`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::client::{Client, ServerArgs};
use super::{FINDINGS, say};
use crate::dashboards::grafana::{self, Imported, Outcome};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skopos dashboards import node-exporter.json              (what becomes of each panel; nothing is stored)
  skopos dashboards import *.json --out dashboards/        (one file each, for `dashboard_files`)
  skopos dashboards import node.json --save --key-file data/api-key
  skopos dashboards list
  skopos dashboards get golden-signals > mine.json

`skopos check` checks dashboards in files.")]
pub(crate) struct DashboardsArgs {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Translate dashboards of Grafana, with a report panel by panel. Exit code 1 when a panel is unsupported.
    Import {
        /// Files as Grafana exports them (JSON).
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Write the documents into this folder.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Store them on the server.
        #[arg(long)]
        save: bool,
        /// Print the reports as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the server's dashboards.
    List,
    /// Print a dashboard's document.
    Get {
        /// Its name.
        name: String,
    },
}

pub(crate) async fn run(args: DashboardsArgs) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Import { files, out, save, json } => import(&files, out.as_deref(), save.then_some(&args.server), json).await,
        What::List => {
            let answer = Client::new(&args.server)?.get("/v1/dashboards", &[]).await?;
            for d in answer["dashboards"].as_array().into_iter().flatten() {
                let text = |key: &str| d[key].as_str().unwrap_or_default().to_owned();
                say(format!("{}\t{}\t{} panels\t{}", text("name"), text("source"), d["panels"], text("title")));
            }
            Ok(ExitCode::SUCCESS)
        }
        What::Get { name } => {
            let answer = Client::new(&args.server)?.get(&format!("/v1/dashboards/{name}"), &[]).await?;
            say(serde_json::to_string_pretty(&answer["document"])?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn import(files: &[PathBuf], out: Option<&std::path::Path>, server: Option<&ServerArgs>, json: bool) -> anyhow::Result<ExitCode> {
    let client = server.map(Client::new).transpose()?;
    let (mut faults, mut reports) = (false, Vec::new());
    for file in files {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
        let imported = match grafana::import(&text) {
            Ok(imported) => imported,
            Err(why) => {
                faults = true;
                say(format!("{name}: error: {why}"));
                continue;
            }
        };
        faults |= imported.report.unsupported > 0;
        if json {
            reports.push(serde_json::json!({"file": name, "name": imported.dashboard.metadata.name, "report": imported.report}));
        } else {
            print(&name, &imported);
        }
        if let Some(folder) = out {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
            let path = folder.join(format!("{}.json", imported.dashboard.metadata.name));
            std::fs::write(&path, serde_json::to_string_pretty(&imported.dashboard)? + "\n")
                .with_context(|| format!("cannot write {}", path.display()))?;
            if !json {
                say(format!("written to {}", path.display()));
            }
        }
        if let Some(client) = &client {
            let body: Value = serde_json::to_value(&imported.dashboard)?;
            let target = format!("/v1/dashboards/{}", imported.dashboard.metadata.name);
            let stored = client.json(Method::PUT, &target, &[("message", "imported from Grafana".to_owned())], Some(&body)).await?;
            if !json {
                say(format!("stored as {}, version {}", imported.dashboard.metadata.name, stored["version"]));
            }
        }
    }
    if json {
        say(serde_json::to_string_pretty(&reports)?);
    }
    Ok(if faults { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
}

fn print(file: &str, imported: &Imported) {
    let report = &imported.report;
    for entry in &report.entries {
        let word = match entry.outcome {
            Outcome::Converted => "converted",
            Outcome::Approximated => "approximated",
            Outcome::Unsupported => "unsupported",
        };
        say(format!("{word:<12} {} {:?} ({})", entry.part, entry.name, entry.kind));
        for note in &entry.notes {
            say(format!("             {note}"));
        }
    }
    for note in &report.notes {
        say(format!("note         {note}"));
    }
    let (converted, approximated, unsupported) = (report.converted, report.approximated, report.unsupported);
    say(format!(
        "{file}: {} panels: {converted} converted, {approximated} approximated, {unsupported} unsupported",
        converted + approximated + unsupported
    ));
}
