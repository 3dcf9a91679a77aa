//! `cargo xtask demo` and `cargo xtask test`: the two commands of the README, and what they need.
//!
//! It builds in seconds: no dependency of the product is imported here.

mod children;
mod demo;
mod links;
mod sink;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Demo, tests and checks of Skopos", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build everything, start Skopos with the Orders system and a steady load, and print where to look.
    Demo(demo::Args),
    /// Run every test; installs or starts what they need and says what it does.
    Test(test::Args),
    /// Check the source tree: crate borders, file sizes, banned words, documents that name vanished paths.
    Tidy,
    /// Build the pages into ui/dist.
    Ui,
    /// Write docs/reference anew from the code.
    Docs,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Tidy => tidy::run(),
        Command::Ui => tools::build_ui(),
        Command::Docs => tools::write_reference(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Progress goes to standard error, so that `--json` on standard output stays JSON.
#[allow(clippy::print_stderr, reason = "a command's progress")]
fn say(text: impl std::fmt::Display) {
    eprintln!("{text}");
}
