//! `cargo xtask test`: everything, in the order that fails soonest.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{bail, ensure};

use crate::children::get;
use crate::demo::System;
use crate::say;
use crate::tools::{binary, build_binaries, build_ui, cargo, component, have, install, is_root, root, step, target};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these steps (see --list).
    #[arg(value_name = "STEP")]
    steps: Vec<String>,
    /// List the steps.
    #[arg(long)]
    list: bool,
}

/// Name, what it is, how it is done.
type Step = (&'static str, &'static str, fn() -> anyhow::Result<()>);

/// What is run, in order.
const STEPS: &[Step] = &[
    ("tidy", "the source tree: crate borders, sizes, bans", crate::tidy::run),
    ("ui", "the pages: types, unit tests, build, budgets", ui),
    ("tools", "what the tests of other languages need", tools),
    ("clippy", "lints, as errors", clippy),
    ("rust", "all Rust tests (unit, property, simulation, crash, server)", rust),
    ("journey", "the demo with its drills, and the pages in a browser", journey),
];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.list {
        for (name, what, _) in STEPS {
            say(format!("{name:10} {what}"));
        }
        return Ok(());
    }
    for step in &args.steps {
        ensure!(STEPS.iter().any(|s| s.0 == step), "there is no step {step:?}; --list shows them");
    }
    let started = Instant::now();
    let mut passed = 0;
    for (name, what, work) in STEPS.iter().filter(|s| args.steps.is_empty() || args.steps.iter().any(|a| a == s.0)) {
        let step_started = Instant::now();
        say(format!("\n== {name}: {what}"));
        if let Err(error) = work() {
            say(format!("== {name} FAILED after {} s: {error:#}", step_started.elapsed().as_secs()));
            bail!("{passed} steps passed, {name} failed");
        }
        passed += 1;
        say(format!("== {name} passed in {} s", step_started.elapsed().as_secs()));
    }
    say(format!("\nall {passed} steps passed in {} min", started.elapsed().as_secs().div_ceil(60)));
    Ok(())
}

fn ui() -> anyhow::Result<()> {
    build_ui()?;
    let mut command = Command::new("npm");
    step("unit tests and budgets of the pages", command.args(["run", "test"]).current_dir(root().join("ui")))
}

/// Programs that metrics and logs come from, each with what asks for its version and the package that brings it: the tests start them themselves.
const PEERS: [(&str, &str, &str); 6] = [
    ("prometheus", "--version", "prometheus"),
    ("prometheus-node-exporter", "--version", "prometheus-node-exporter"),
    ("prometheus-postgres-exporter", "--version", "prometheus-postgres-exporter"),
    ("prometheus-redis-exporter", "--version", "prometheus-redis-exporter"),
    ("redis-server", "--version", "redis-server"),
    ("rsyslogd", "-v", "rsyslog"),
];

/// Installs what of [`PEERS`] is missing, and PostgreSQL, whose programs are not on the path.
fn peers() -> anyhow::Result<()> {
    let mut missing: Vec<&str> = PEERS.iter().filter(|(program, version, _)| !have(program, version)).map(|(_, _, package)| *package).collect();
    let clusters = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    if !have("initdb", "--version") && !clusters.map(|version| version.path().join("bin/initdb")).any(|initdb| initdb.exists()) {
        missing.push("postgresql");
    }
    if missing.is_empty() {
        return Ok(());
    }
    install("Prometheus, exporters and what they watch, for tests against the real ones", &missing)
}

/// A Python with DuckDB and the libraries of the worked examples, Go with its Prometheus client, curl, iproute2, and the
/// programs of [`PEERS`].
fn tools() -> anyhow::Result<()> {
    let client = Path::new(GO_PACKAGES).join("src/github.com/prometheus/client_golang");
    if !have("go", "version") || !client.exists() {
        install("Go with its Prometheus client, for a worked example", &["golang-go", "golang-github-prometheus-client-golang-dev"])?;
    }
    if !have("curl", "--version") || !have("ip", "-V") {
        install("curl and iproute2", &["curl", "iproute2"])?;
    }
    peers()?;
    let venv = target().join("python");
    let python = venv.join("bin/python");
    if !have("python3", "--version") {
        install("python3", &["python3", "python3-venv"])?;
    }
    if !python.exists() {
        let mut create = Command::new("python3");
        if step("a Python environment for the tests", create.args(["-m", "venv"]).arg(&venv)).is_err() {
            install("python3-venv", &["python3-venv"])?;
            let mut again = Command::new("python3");
            step("a Python environment for the tests", again.args(["-m", "venv"]).arg(&venv))?;
        }
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(root().join("xtask/requirements.txt"));
    step("installing DuckDB and the libraries of the worked examples (pip)", &mut pip)?;
    Ok(())
}

/// Where the distribution keeps Go packages.
const GO_PACKAGES: &str = "/usr/share/gocode";

/// Environment that tells tests where the tools are, and which of their needs are met: a test that would be left out
/// for one of these fails instead.
fn with_tools(command: &mut Command) -> &mut Command {
    command.env("SKOPOS_DUCKDB_PYTHON", target().join("python/bin/python"));
    let mut required = vec!["tools"];
    match root().join("../shared").canonicalize() {
        Ok(shared) if shared.is_dir() => {
            command.env("SKOPOS_SHARED", shared);
            required.push("shared");
        }
        _ => say("  tests of the conformance data and the worked examples are left out: ../shared is not there"),
    }
    if is_root() {
        required.push("root");
    } else {
        say("  tests that need a small disk or a network of their own are left out: they need root");
    }
    command.env("SKOPOS_REQUIRED", required.join(","))
}

fn rust() -> anyhow::Result<()> {
    if !target().join("python/bin/python").exists() {
        tools()?;
    }
    peers()?;
    build_binaries(&["skopos", "orders"])?;
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    step("cargo test --workspace", with_tools(&mut command))
}

fn journey() -> anyhow::Result<()> {
    if !have("chromium", "--version") {
        install("Chromium", &["chromium", "fonts-liberation"])?;
    }
    build_ui()?;
    build_binaries(&["skopos", "orders"])?;
    let folder = std::env::temp_dir().join(format!("skopos-journey-{}", std::process::id()));
    let mut system = System::start(folder.clone(), 30, false)?;
    for scenario in ["orders-error-10pct", "orders-slow-db"] {
        ensure!(system.drill(scenario, false)?, "the drill {scenario} did not close the loop; logs are in {}", folder.display());
    }
    let (status, _) = get(&system.skopos, "/v1/drills")?;
    ensure!(status == 200, "GET /v1/drills answered {status}");
    let mut browser = Command::new("node");
    browser.arg("e2e/run.mjs").current_dir(root().join("ui"));
    browser
        .env("SKOPOS_URL", format!("http://{}", system.skopos))
        .env("ORDERS_URL", format!("http://{}", system.orders))
        .env("SKOPOS_KEY_FILE", &system.key_file);
    browser.env("SKOPOS_BIN", binary("skopos"));
    step("the pages in a browser", &mut browser)?;
    system.stop();
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

fn clippy() -> anyhow::Result<()> {
    component("clippy")?;
    let mut command = cargo();
    command.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    step("cargo clippy", &mut command)
}
