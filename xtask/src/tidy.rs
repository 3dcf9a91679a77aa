//! Checks of the source tree itself; each ban says why.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};

use crate::say;
use crate::tools::{cargo, component, root};

/// (package, what must not be below it, why)
const BORDERS: &[(&str, &str, &str)] = &[
    ("skopos-query", "datafusion", "query languages are tested without the engine; only storage knows it"),
    ("skopos-query", "arrow", "traits speak plain vectors; only storage knows Arrow"),
    ("skopos-ingest", "arrow", "decoders fill plain vectors; only storage knows Arrow"),
    ("skopos-ingest", "skopos-storage", "decoders are pure: bytes to batches"),
    ("skopos-reliability", "tokio", "reliability is a pure step: no IO, no clock, no task"),
    ("skopos-reliability", "skopos-storage", "reliability is a pure step: the server persists"),
    ("skopos-sdk", "skopos-model", "the SDK is published and stands on public crates alone"),
    ("orders", "skopos-model", "the reference system imports the SDK only"),
    ("xtask", "skopos-model", "xtask builds in seconds"),
];

/// Files above this many lines hold a second noun.
const LINES_MAX: usize = 800;

pub(crate) fn run() -> anyhow::Result<()> {
    let mut findings = Vec::new();
    borders(&mut findings)?;
    format(&mut findings)?;
    let mut files = Vec::new();
    collect(&root(), &mut files);
    for file in &files {
        check_file(file, &mut findings);
    }
    check_paths("ARCHITECTURE.md", &mut findings);
    crate::links::check(&files, &mut findings);
    if findings.is_empty() {
        say(format!("tidy: {} files, no findings", files.len()));
        return Ok(());
    }
    for finding in &findings {
        say(format!("tidy: {finding}"));
    }
    bail!("{} findings", findings.len())
}

fn borders(findings: &mut Vec<String>) -> anyhow::Result<()> {
    for (package, forbidden, why) in BORDERS {
        // Edges of the product, not of its tests.
        let tree = cargo().args(["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}", "--locked"]).output()?;
        ensure!(tree.status.success(), "cargo tree -p {package}: {}", String::from_utf8_lossy(&tree.stderr));
        let has = String::from_utf8_lossy(&tree.stdout).lines().any(|l| l.split(' ').next() == Some(forbidden));
        if has {
            findings.push(format!("{package} must not depend on {forbidden}: {why}"));
        }
    }
    Ok(())
}

/// One form for all code, so that changes show what changed.
fn format(findings: &mut Vec<String>) -> anyhow::Result<()> {
    component("rustfmt")?;
    let check = cargo().args(["fmt", "--all", "--", "--check", "--files-with-diff"]).output()?;
    if !check.status.success() {
        let files = String::from_utf8_lossy(&check.stdout);
        findings.extend(files.lines().map(|file| format!("{file}: not in the common form; run cargo fmt --all")));
        if files.trim().is_empty() {
            findings.push(format!("cargo fmt: {}", String::from_utf8_lossy(&check.stderr).trim()));
        }
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | "node_modules" | "dist" | ".git" | "demo-data") {
                collect(&path, files);
            }
        } else if ["rs", "ts", "tsx", "md", "toml", "yml", "yaml", "sql"].iter().any(|e| path.extension().is_some_and(|x| x == *e)) {
            files.push(path);
        }
    }
}

fn check_file(path: &Path, findings: &mut Vec<String>) {
    let Ok(text) = fs::read_to_string(path) else { return };
    let name = path.strip_prefix(root()).unwrap_or(path).display().to_string();
    if name == "xtask/src/tidy.rs" {
        return;
    }
    let code = name.ends_with(".rs") || name.ends_with(".ts") || name.ends_with(".tsx");
    let lines = text.lines().count();
    if code && lines > LINES_MAX {
        findings.push(format!("{name}: {lines} lines, {LINES_MAX} are the most: look for the second noun"));
    }
    for (number, line) in text.lines().enumerate() {
        for (banned, instead) in [
            ("#[ignore", "a test that does not run protects nothing: make it run or delete it"),
            ("todo!(", "finish it"),
            ("unimplemented!(", "finish it"),
            ("SystemTime::now", "ask a Clock: time is an argument"),
            (".only(", "a focused test hides the others"),
        ] {
            let clock = banned == "SystemTime::now"
                && (name.starts_with("crates/sdk/") || name.starts_with("examples/") || name.ends_with("model/src/clock.rs"));
            if code && !clock && line.contains(banned) && !line.trim_start().starts_with("//") {
                findings.push(format!("{name}:{}: {banned}: {instead}", number + 1));
            }
        }
        if line.ends_with(' ') && code {
            findings.push(format!("{name}:{}: trailing space", number + 1));
        }
    }
}

/// A document that names vanished paths misleads: each `path/like/this` in backquotes has to exist.
fn check_paths(document: &str, findings: &mut Vec<String>) {
    let Ok(text) = fs::read_to_string(root().join(document)) else {
        findings.push(format!("{document} is missing"));
        return;
    };
    for quoted in text.split('`').skip(1).step_by(2) {
        let is_path =
            quoted.contains('/') && !quoted.contains([' ', '<', '{', '*', ':', '(']) && !quoted.starts_with('/') && !quoted.starts_with("http");
        if is_path && !root().join(quoted).exists() {
            findings.push(format!("{document} names {quoted}, which is not there"));
        }
    }
}
