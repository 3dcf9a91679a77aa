//! A real process, killed at seeded moments.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

/// Tells the test below that it is the process to be killed: folder and first row number.
const FOLDER: &str = "SKOPOS_CRASH_FOLDER";
const FIRST: &str = "SKOPOS_CRASH_FIRST";

/// Row numbers one life may use.
const LIFE_ROWS: u64 = 100_000;

/// Writes until it is killed, and says on its standard output what was acknowledged.
#[test]
fn writer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let first: u64 = std::env::var(FIRST).expect("set by the parent").parse().expect("a number");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = open(Path::new(&folder)).await;
        let _background = store.run_background();
        let writers = (0..6u64).map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let signal = SIGNALS[writer as usize % 3];
                for round in 0..LIFE_ROWS / 6 / 4 {
                    let rows: Vec<u64> = (0..4).map(|i| first + (round * 4 + i) * 6 + writer).collect();
                    if append(&store, signal, &rows).await.is_ok() {
                        let text: String = rows.iter().map(|row| format!("{} {row}\n", signal.as_str())).collect();
                        std::io::stdout().lock().write_all(text.as_bytes()).expect("the parent listens");
                    }
                    if writer == 0 && round % 40 == 39 {
                        // Full merges and deletions are in the middle of something at some of the kills.
                        store.flush().await.expect("flushed");
                    }
                }
            })
        });
        futures::future::join_all(writers).await;
    });
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let kills: u64 = std::env::var("SKOPOS_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let seed: u64 = std::env::var("SKOPOS_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(7);
    let mut random = fastrand::Rng::with_seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let program = std::env::current_exe().expect("this program");
    let mut folder = tempfile::tempdir().expect("a temporary folder");
    let mut acknowledged: [BTreeSet<u64>; 3] = Default::default();
    let (mut recovered, mut from_files) = (0, 0);
    for kill in 0..kills {
        if kill % 40 == 39 {
            // A fresh folder now and then: the first seconds of a store count too.
            folder = tempfile::tempdir().expect("a temporary folder");
            acknowledged = Default::default();
        }
        let mut child = Command::new(&program)
            .args(["--exact", "store::tests::crash::writer", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path())
            .env(FIRST, (kill * LIFE_ROWS).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the writer starts");
        // Mostly in the middle of writing, sometimes while it opens.
        let mut left = if random.u8(..8) == 0 { 0 } else { random.u32(..1500) };
        let mut told = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut note = |line: &str| {
            let Some((signal, row)) = line.split_once(' ') else { return false };
            let Some(at) = SIGNALS.iter().position(|s| s.as_str() == signal) else { return false };
            acknowledged[at].insert(row.parse().expect("a row number"));
            true
        };
        while left > 0 {
            let line = told.next().expect("the writer writes until it is killed").expect("text");
            left -= u32::from(note(&line));
        }
        child.kill().expect("killed");
        // What it said before it died counts too; its last line may be cut.
        let mut rest = Vec::new();
        for line in told {
            rest.push(line.expect("text"));
        }
        let whole = rest.len().saturating_sub(1);
        for line in &rest[..whole] {
            note(line);
        }
        child.wait().expect("it has ended");

        runtime.block_on(async {
            let store = open(folder.path()).await;
            let stats = store.stats();
            assert_eq!((&stats.damaged, &stats.recovery.damaged), (&vec![], &vec![]), "seed {seed}, kill {kill}");
            recovered += stats.recovery.rows;
            from_files += stats.logs.file_rows;
            for (signal, acknowledged) in SIGNALS.into_iter().zip(&acknowledged) {
                let found = numbers(&store, signal);
                let distinct: BTreeSet<u64> = found.iter().copied().collect();
                assert_eq!(distinct.len(), found.len(), "doubled: seed {seed}, kill {kill}, {signal:?}");
                let lost: Vec<_> = acknowledged.difference(&distinct).take(5).collect();
                assert!(lost.is_empty(), "acknowledged and lost: {lost:?}, seed {seed}, kill {kill}, {signal:?}");
            }
        });
    }
    assert!(recovered > 0 && from_files > 0, "the kills came when there was something to lose: {recovered}, {from_files}");
}
