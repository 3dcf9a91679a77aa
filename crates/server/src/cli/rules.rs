//! `skopos rules`

mod generate;
mod lint;
mod lookback;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skopos rules lint rules/*.yml
  skopos rules test tests/*.yml
  skopos rules backtest rules/orders.yml --from -30d
  skopos rules generate slos/orders-api.yaml > rules/orders-api-burn.yml
  skopos rules list rules/*.yml

`skopos check` checks rules together with the SLOs and runbooks they belong to.")]
pub(crate) struct RulesArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check rule files as promtool does: syntax, PromQL, templates. Exit code 1 on findings.
    #[command(alias = "check")]
    Lint(lint::LintArgs),
    /// Run promtool's unit tests of rules. Exit code 1 when one fails.
    Test(test::TestArgs),
    /// Say when rules would have been pending, fired and paged over what a server has stored.
    Backtest(lookback::BacktestArgs),
    /// Write the series of recording rules for the past.
    Backfill(lookback::BackfillArgs),
    /// Print the burn-rate rules an SLO file stands for, as a Prometheus rule file.
    Generate {
        /// OpenSLO file.
        slo: PathBuf,
    },
    /// List the rules of files, one a line.
    List {
        /// Prometheus rule files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

pub(crate) async fn run(args: RulesArgs) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Lint(args) => lint::run(args),
        What::Test(args) => test::run(args),
        What::Backtest(args) => lookback::backtest(args).await,
        What::Backfill(args) => lookback::backfill(args).await,
        What::List { files } => Ok(generate::list(&files)),
        What::Generate { slo } => generate::generate(&slo),
    }
}
