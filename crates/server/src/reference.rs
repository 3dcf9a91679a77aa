//! `docs/reference`, written from the code: these tests fail when the files are not what the code says, and write
//! them anew with `cargo xtask docs`.

mod api;
mod cli;
mod configuration;

use std::path::{Path, PathBuf};

/// The workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares a file of `docs/reference` with what the code says; `UPDATE_EXPECT=1` writes it.
#[track_caller]
fn golden(name: &str, text: &str) {
    let path = root().join("docs/reference").join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "docs/reference/{name} is not what the code says: `cargo xtask docs` writes it anew");
}

/// Text inside a table's cell.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
