//! A real DuckDB, in a process of its own, reads what the engine wrote.

use super::*;
use crate::duckdb_reader::ask;

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
