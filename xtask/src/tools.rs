//! Finding and running the tools of other trades: cargo, npm, python.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use crate::say;

/// Root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where cargo puts its output.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A built binary of the one dev profile.
pub(crate) fn binary(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// Whether a program can be started.
pub(crate) fn have(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Runs a command to its end, its output passed through to standard error.
pub(crate) fn step(what: &str, command: &mut Command) -> anyhow::Result<()> {
    let started = Instant::now();
    say(format!("· {what}"));
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("{what}: cannot start {:?}", command.get_program()))?;
    ensure!(status.success(), "{what} failed ({status})");
    say(format!("  done in {} s", started.elapsed().as_secs()));
    Ok(())
}

/// Cargo, the one that runs this.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // Cargo has described this very program to it. A build script that watches those names (ring's does) would run
    // again under each xtask, and everything above it would be compiled anew.
    for (name, _) in std::env::vars_os() {
        let own = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if name.to_str().is_some_and(|name| own.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    command
}

/// Builds binaries with the features that the whole workspace unifies to: `-p` would compile the engine again.
pub(crate) fn build_binaries(names: &[&str]) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["build", "--workspace"]);
    for name in names {
        command.args(["--bin", name]);
    }
    step(&format!("building {} (the first time takes some minutes: the engine is compiled once)", names.join(", ")), &mut command)
}

fn newest(path: &Path) -> Option<std::time::SystemTime> {
    let meta = std::fs::metadata(path).ok()?;
    if meta.is_file() {
        return meta.modified().ok();
    }
    std::fs::read_dir(path)
        .ok()?
        .flatten()
        .filter(|e| e.file_name() != "node_modules" && e.file_name() != "dist")
        .filter_map(|e| newest(&e.path()))
        .max()
}

/// Builds the pages when they are older than their sources; npm is installed with apt where that is possible.
pub(crate) fn build_ui() -> anyhow::Result<()> {
    let ui = root().join("ui");
    let built = newest(&ui.join("dist/index.html"));
    if built.is_some() && built >= newest(&ui) {
        return Ok(());
    }
    if !have("npm", "--version") {
        install("nodejs npm", &["nodejs", "npm"]).context("the pages need Node.js 20 or newer with npm")?;
    }
    let npm = |arguments: &[&str]| {
        let mut command = Command::new("npm");
        command.args(arguments).current_dir(&ui);
        command
    };
    if newest(&ui.join("node_modules/.package-lock.json")) < newest(&ui.join("package-lock.json")) {
        step("installing the pages' packages (npm ci)", &mut npm(&["ci", "--no-audit", "--no-fund"]))?;
    }
    step("building the pages (npm run build)", &mut npm(&["run", "build"]))
}

/// Installs Debian packages where this process may; otherwise says the one command to run.
pub(crate) fn install(what: &str, packages: &[&str]) -> anyhow::Result<()> {
    let command = format!("sudo apt-get install -y {}", packages.join(" "));
    if !have("apt-get", "--version") || !is_root() {
        bail!("{what} is not installed; run: {command}");
    }
    let _no_services = NoServices::while_it_lives()?;
    let mut update = Command::new("apt-get");
    step("refreshing the package list", update.args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages).env("DEBIAN_FRONTEND", "noninteractive");
    step(&format!("installing {what}"), &mut install)
}

/// While it lives, packages that bring a service do not start it: tests start what they need themselves, on ports of
/// their own.
struct NoServices {
    made: bool,
}

/// Debian's scripts ask it before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn while_it_lives() -> anyhow::Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { made: false });
        }
        std::fs::write(POLICY, "#!/bin/sh\n# Made by cargo xtask while it installs packages.\nexit 101\n")
            .with_context(|| format!("writing {POLICY}"))?;
        let policy = Self { made: true };
        std::fs::set_permissions(POLICY, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(policy)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.made {
            let _ = std::fs::remove_file(POLICY);
        }
    }
}

/// A part of the toolchain (`rustfmt`, `clippy`), installed when it is missing.
pub(crate) fn component(name: &str) -> anyhow::Result<()> {
    let subcommand = name.strip_prefix("rust").unwrap_or(name);
    if cargo().args([subcommand, "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success()) {
        return Ok(());
    }
    ensure!(have("rustup", "--version"), "{name} is not installed; install the toolchain's {name}, with rustup: rustup component add {name}");
    let mut add = Command::new("rustup");
    step(&format!("installing {name}"), add.args(["component", "add", name]).current_dir(root()))
}

/// Whether this process may install packages, mount, and make networks.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

/// Writes `docs/reference` anew: the tests that compare it with the code write it when they are told to.
pub(crate) fn write_reference() -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--lib", "--test", "server", "--", "reference", "functions_are_documented"]);
    step("writing docs/reference", command.env("UPDATE_EXPECT", "1"))
}
