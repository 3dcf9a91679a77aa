//! The `skopos` binary: see `skopos --help`.

use std::process::ExitCode;

use clap::Parser;

use skopos_server::cli::{Cli, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            #[allow(clippy::print_stderr, reason = "there is no log yet")]
            {
                eprintln!("skopos: cannot start its threads: {error}");
            }
            return ExitCode::from(2);
        }
    };
    runtime.block_on(run(cli))
}
