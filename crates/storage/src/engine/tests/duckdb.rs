//! A real DuckDB, in a process of its own, reads what the engine wrote.

use std::process::Command;

use super::*;

/// Runs the script with a Python that has DuckDB and its extensions; `None` when there is none.
fn ask(folder: &Path, queries: &[&str]) -> Option<Vec<String>> {
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

#[tokio::test]
async fn duckdb_reads_the_same_rows_while_the_engine_runs() {
    let folder = folder();
    let rig = Rig::local(folder.path()).await;
    for text in ["a", "b", "c"] {
        rig.append(Signal::Logs, &[text, "it's"]).await.expect("appended");
        rig.append(Signal::Traces, &[text]).await.expect("appended");
        rig.engine.flush_all().await.expect("flushed");
        // From the second file on, files differ in their columns.
        *rig.tables[0].promotes.lock().expect("not poisoned") = true;
    }
    rig.append(Signal::Logs, &["in the head"]).await.expect("appended");
    let queries = [
        "SELECT count(*), min(\"text\"), max(\"text\") FROM lake.logs",
        "SELECT count(*) FROM lake.logs WHERE \"text\" = 'b'",
        "SELECT count(*) FROM lake.logs WHERE \"attr:key1\" = 'promoted'",
        "SELECT min(\"time\")::VARCHAR FROM lake.logs_data",
        "SELECT count(*) FROM lake.spans_data",
        "SELECT count(*) FROM lake.samples",
    ];
    let expected = ["6|a|it's", "1", "4", "2026-11-21 12:00:00", "3", "0"];
    let Some(read) = ask(folder.path(), &queries) else { return };
    assert_eq!(read, expected);
    rig.engine.settle().await.expect("settled");
    let read = ask(folder.path(), &queries).expect("it was there before");
    assert_eq!(read, ["7|a|it's", "1", "7", "2026-11-21 12:00:00", "3", "0"]);
    rig.engine.close().await.expect("closed");
    let mut read_only = std::fs::metadata(folder.path()).expect("facts").permissions();
    read_only.set_readonly(true);
    std::fs::set_permissions(folder.path(), read_only.clone()).expect("made read-only");
    let read = ask(folder.path(), &queries[..1]).expect("it was there before");
    std::os::unix::fs::PermissionsExt::set_mode(&mut read_only, 0o755);
    std::fs::set_permissions(folder.path(), read_only).expect("made writable");
    assert_eq!(read, ["7|a|it's"], "a stopped store is readable from a read-only folder");
}
