//! Asks a real DuckDB, in a process of its own: for tests.

use std::path::Path;
use std::process::Command;

/// Runs the script with a Python that has DuckDB and its extensions; `None` when there is none.
pub(crate) fn ask(folder: &Path, queries: &[&str]) -> Option<Vec<String>> {
    let python = std::env::var("SKOPOS_DUCKDB_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/duckdb_reader.py");
    let output = match Command::new(&python).arg(script).arg(folder.join("catalog.sqlite")).args(queries).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: no duckdb ({python}: {error})");
            return None;
        }
    };
    if output.status.code() == Some(77) {
        eprintln!("skipped: no duckdb ({})", String::from_utf8_lossy(&output.stderr).trim());
        return None;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}
