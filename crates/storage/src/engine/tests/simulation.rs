//! A machine that loses power at any moment, and a disk that then forgets what was not synced.
//!
//! The log and the files are on the simulated disk. The catalog is real SQLite, whose durability is modelled: a
//! commit is atomic and final, and none comes after the crash that the disk has not been ready for, since files
//! are synced before it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use skopos_model::Signal;

use super::*;
use crate::disk::sim::SimDisk;

/// What was told to clients.
#[derive(Default)]
struct Told {
    stored: BTreeSet<String>,
    refused: BTreeSet<String>,
}

/// Lives of one machine; each ends in a crash.
async fn run(seed: u64, lives: u32) {
    let folder = folder();
    let disk = SimDisk::new(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut told: [Told; 3] = Default::default();
    let mut next = 0;
    for life in 0..lives {
        disk.crash_after(random.u64(0..120));
        // The crash may come while the machine starts.
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        if let Ok(rig) = Rig::open(options(folder.path()), shared, Durability::Process).await {
            for _ in 0..random.u32(1..40) {
                match random.u8(..10) {
                    0 => drop(rig.engine.flush_all().await),
                    1 => drop(rig.engine.merge_all(false).await),
                    2 => drop(rig.engine.settle().await),
                    3 => {
                        let slot = &rig.engine.slots[random.usize(..3)];
                        drop(rig.engine.flush_slot(slot).await);
                    }
                    _ => append_some(&rig, &mut random, &mut next, &mut told).await,
                }
            }
        }
        disk.restart();
        let rig = Rig::open(options(folder.path()), Arc::new(disk.clone()), Durability::Process).await;
        let rig = rig.unwrap_or_else(|e| panic!("seed {seed}, life {life}: {e}"));
        let stats = rig.engine.stats();
        assert_eq!((stats.damaged, stats.recovery.damaged), (vec![], vec![]), "seed {seed}, life {life}");
        for signal in wal::SIGNALS {
            let told = &told[signal_index(signal)];
            let texts = rig.texts(signal);
            let found: BTreeSet<String> = texts.iter().cloned().collect();
            assert_eq!(found.len(), texts.len(), "doubled: seed {seed}, life {life}, {signal:?}");
            let lost: Vec<_> = told.stored.difference(&found).collect();
            assert!(lost.is_empty(), "acknowledged and lost: {lost:?}, seed {seed}, life {life}, {signal:?}");
            let invented = found.iter().find(|text| !told.stored.contains(*text) && !told.refused.contains(*text));
            assert_eq!(invented, None, "never sent: seed {seed}, life {life}, {signal:?}");
        }
        drop(rig);
        disk.restart();
    }
}

async fn append_some(rig: &Rig, random: &mut fastrand::Rng, next: &mut u64, told: &mut [Told; 3]) {
    let requests: Vec<(Signal, Vec<String>)> = (0..random.u32(1..6))
        .map(|_| {
            let texts = (0..random.u64(1..5)).map(|i| format!("{:06}-{}", *next + i, "x".repeat(random.usize(..300))));
            let texts: Vec<String> = texts.collect();
            *next += 5;
            (wal::SIGNALS[random.usize(..3)], texts)
        })
        .collect();
    let results = join_all(requests.iter().map(|(signal, texts)| {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        async move { rig.append(*signal, &texts).await }
    }))
    .await;
    for ((signal, texts), result) in requests.into_iter().zip(results) {
        let told = &mut told[signal_index(signal)];
        if result.is_ok() {
            told.stored.extend(texts);
        } else {
            told.refused.extend(texts);
        }
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_or_doubled() {
    let seeds = std::env::var("SKOPOS_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    for seed in 0..seeds {
        run(seed, 5).await;
    }
}
