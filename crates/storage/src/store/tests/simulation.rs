//! The real tables on a disk that forgets; see the engine's own simulation for what is simulated.

use std::collections::BTreeSet;

use futures::future::join_all;
use skopos_model::ManualClock;

use super::*;
use crate::disk::sim::SimDisk;

async fn reopen(disk: &SimDisk, folder: &Path) -> Result<Arc<Store>, StorageError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let clock = Arc::new(ManualClock::at(NOON));
    Store::open_on(disk, small(folder), Arc::new(BatchDecoder), clock, Durability::Process).await
}

async fn run(seed: u64, lives: u32) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = SimDisk::new(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut stored: [BTreeSet<u64>; 3] = Default::default();
    let mut next = 0;
    for life in 0..lives {
        disk.crash_after(random.u64(0..250));
        if let Ok(store) = reopen(&disk, folder.path()).await {
            for _ in 0..random.u32(1..25) {
                if random.u8(..5) == 0 {
                    drop(store.flush().await);
                    continue;
                }
                let requests: Vec<(usize, Vec<u64>)> = (0..random.u32(1..5))
                    .map(|_| {
                        let rows = random.u64(1..30);
                        next += rows;
                        (random.usize(..3), (next - rows..next).collect())
                    })
                    .collect();
                let results = join_all(requests.iter().map(|(at, rows)| append(&store, SIGNALS[*at], rows))).await;
                for ((at, rows), result) in requests.into_iter().zip(results) {
                    if result.is_ok() {
                        stored[at].extend(rows);
                    }
                }
            }
        }
        disk.restart();
        let store = reopen(&disk, folder.path()).await.unwrap_or_else(|e| panic!("seed {seed}, life {life}: {e}"));
        let stats = store.stats();
        assert_eq!((stats.damaged, stats.recovery.damaged), (vec![], vec![]), "seed {seed}, life {life}");
        for (signal, stored) in SIGNALS.into_iter().zip(&stored) {
            let found = numbers(&store, signal);
            let distinct: BTreeSet<u64> = found.iter().copied().collect();
            assert_eq!(distinct.len(), found.len(), "doubled: seed {seed}, life {life}, {signal:?}");
            let lost: Vec<_> = stored.difference(&distinct).take(5).collect();
            assert!(lost.is_empty(), "acknowledged and lost: {lost:?}, seed {seed}, life {life}, {signal:?}");
        }
        drop(store);
        disk.restart();
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_or_doubled() {
    let seeds = std::env::var("SKOPOS_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(25);
    for seed in 0..seeds {
        run(seed, 4).await;
    }
}
