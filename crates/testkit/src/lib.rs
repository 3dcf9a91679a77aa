//! What the tests of several crates share: where data and programs from outside are, and what happens without them.
//!
//! A test that needs something a machine may not have says so and ends well, so that a checkout alone can be tested.
//! Where the thing has to be there, leaving a test out in silence would be a hole: `cargo xtask test` names in
//! `SKOPOS_REQUIRED` what it has provided, and a test that misses it then fails.

#![allow(clippy::print_stderr, reason = "a skipped test has to say so")]

use std::path::PathBuf;

/// What a test may need from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The conformance data and worked examples beside the checkout.
    Shared,
    /// Programs and libraries of other trades: Python with its packages, Go, curl.
    Tools,
    /// What only root may do: network namespaces, mounts.
    Root,
}

impl Need {
    /// Its name in `SKOPOS_REQUIRED`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Tools => "tools",
            Self::Root => "root",
        }
    }
}

/// Says that the calling test is left out, and why.
///
/// # Panics
/// When the need is one of those named in `SKOPOS_REQUIRED` (comma-separated).
#[track_caller]
pub fn skipped(need: Need, reason: &str) {
    let required = std::env::var("SKOPOS_REQUIRED").unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name.trim() == need.as_str()),
        "would be skipped ({reason}), but SKOPOS_REQUIRED={required} says that {} has to be there",
        need.as_str()
    );
    eprintln!("skipped: {reason}");
}

/// A file or folder of the data beside the checkout: `SKOPOS_SHARED`, else `../shared`. Says so when it is not there.
///
/// # Panics
/// As [`skipped`].
#[track_caller]
pub fn shared(path: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let path = std::env::var_os("SKOPOS_SHARED").map_or_else(beside, PathBuf::from).join(path);
    if path.exists() {
        return Some(path);
    }
    skipped(Need::Shared, "no conformance data");
    None
}

/// The Python that has DuckDB, the gRPC exporters and the libraries of the worked examples: `SKOPOS_DUCKDB_PYTHON`,
/// which `cargo xtask test` sets. Says so when it is not given.
///
/// # Panics
/// As [`skipped`].
#[track_caller]
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("SKOPOS_DUCKDB_PYTHON").map(PathBuf::from);
    if python.is_none() {
        skipped(Need::Tools, "no Python with the tests' packages (SKOPOS_DUCKDB_PYTHON is not set; cargo xtask test sets it)");
    }
    python
}

/// A program that a package of the distribution brings. Says so when it is not installed.
///
/// # Panics
/// As [`skipped`].
#[track_caller]
pub fn installed(program: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    if found.is_none() {
        skipped(Need::Tools, &format!("no {program} on this machine; cargo xtask test installs the package {package}"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found() {
        assert!(shared(env!("CARGO_MANIFEST_DIR")).is_some_and(|p| p.is_absolute()), "an absolute path stands for itself");
        assert!(installed("sh", "dash").is_some_and(|p| p.is_absolute()), "a shell is everywhere");
    }
}
