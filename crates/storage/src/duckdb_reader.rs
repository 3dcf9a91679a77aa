//! Asks a real DuckDB, in a process of its own: for tests.

use std::path::Path;
use std::process::Command;

/// Runs the script with a Python that has DuckDB and its extensions; `None` when there is none.
pub(crate) fn ask(folder: &Path, queries: &[&str]) -> Option<Vec<String>> {
    let python = skopos_testkit::python()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/duckdb_reader.py");
    let output = Command::new(python).arg(script).arg(folder.join("catalog.sqlite")).args(queries).output().expect("the Python given runs");
    if output.status.code() == Some(77) {
        let reason = format!("no duckdb ({})", String::from_utf8_lossy(&output.stderr).trim());
        skopos_testkit::skipped(skopos_testkit::Need::Tools, &reason);
        return None;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}
