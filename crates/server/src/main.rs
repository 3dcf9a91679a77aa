//! The `skopos` binary: see `skopos --help`.

use std::process::ExitCode;

use clap::Parser;

use skopos_server::cli::{Cli, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's option `purge_delay`: how long freed memory is kept before it goes back to the system, milliseconds.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Long enough for a head that fills again after a flush: memory fresh from the system costs a fifth of all time.
const KEEP_FREED_MILLIS: std::ffi::c_long = 10_000;

#[allow(unsafe_code, reason = "the allocator is a C library; setting an option touches nothing of ours")]
fn keep_freed_memory() {
    // The environment (`MIMALLOC_PURGE_DELAY`) wins over a default.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, KEEP_FREED_MILLIS) }
}

fn main() -> ExitCode {
    keep_freed_memory();
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
