//! Disks that are full, fail or lie.

use std::sync::Arc;

use skopos_model::Signal;

use super::*;
use crate::disk::sim::SimDisk;

async fn sim(disk: &SimDisk, folder: &Path) -> Rig {
    Rig::open(options(folder), Arc::new(disk.clone()), Durability::Process).await.expect("the engine opens")
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let (disk, folder) = (SimDisk::new(1), folder());
    let rig = sim(&disk, folder.path()).await;
    rig.append(Signal::Logs, &["before"]).await.expect("appended");
    disk.set_capacity(Some(disk.used() + 100));
    for _ in 0..3 {
        let refused = rig.append(Signal::Logs, &[&"x".repeat(1000)]).await;
        assert!(matches!(refused, Err(AppendError::ReadOnly { .. })), "{refused:?}");
    }
    let stats = rig.engine.stats().wal;
    assert!(!stats.writable && stats.error.contains("No space left"), "{stats:?}");
    assert_eq!(rig.texts(Signal::Logs), ["before"], "reads go on, and what was refused is not there");
    disk.set_capacity(None);
    while !rig.engine.stats().wal.writable {
        tokio::task::yield_now().await;
    }
    rig.append(Signal::Logs, &["after"]).await.expect("appended");
    drop(rig);
    disk.restart();
    assert_eq!(sim(&disk, folder.path()).await.texts(Signal::Logs), ["after", "before"]);
}

#[tokio::test]
async fn a_failed_sync_is_never_trusted() {
    for seed in 0..20 {
        let (disk, folder) = (SimDisk::new(seed), folder());
        let rig = sim(&disk, folder.path()).await;
        rig.append(Signal::Logs, &["before"]).await.expect("appended");
        disk.fail_syncs(1);
        assert!(matches!(rig.append(Signal::Logs, &["refused"]).await, Err(AppendError::ReadOnly { .. })));
        while !rig.engine.stats().wal.writable {
            tokio::task::yield_now().await;
        }
        rig.append(Signal::Logs, &["after"]).await.expect("appended");
        drop(rig);
        disk.restart();
        let rig = sim(&disk, folder.path()).await;
        assert_eq!(rig.texts(Signal::Logs), ["after", "before"], "seed {seed}");
        assert_eq!(rig.engine.stats().recovery.damaged, [""; 0]);
    }
}

#[tokio::test]
async fn a_flush_that_fails_is_repeated() {
    let (disk, folder) = (SimDisk::new(3), folder());
    let rig = sim(&disk, folder.path()).await;
    rig.append(Signal::Logs, &["a"]).await.expect("appended");
    disk.fail_syncs(1);
    let failed = rig.engine.flush_all().await;
    assert!(matches!(failed, Err(StorageError::Io { .. })), "{failed:?}");
    rig.append(Signal::Logs, &["b"]).await.expect("appended");
    assert_eq!(rig.texts(Signal::Logs), ["a", "b"]);
    rig.engine.flush_all().await.expect("flushed");
    assert_eq!(rig.texts(Signal::Logs), ["a", "b"]);
    assert_eq!(rig.engine.stats().logs.head_rows, 0);
    assert_eq!(disk.list("tables").expect("listed").len(), 2, "the failed try leaves nothing");
}

#[tokio::test]
async fn full_heads_push_back() {
    let folder = folder();
    let small = StoreOptions { head_bytes_max: 4096, ..options(folder.path()) };
    let rig = Rig::open(small, Arc::new(SimDisk::new(4)), Durability::Process).await.expect("opens");
    let long = "x".repeat(4096);
    rig.append(Signal::Logs, &[&long]).await.expect("the first one fits");
    let refused = rig.append(Signal::Logs, &["more"]).await;
    assert!(matches!(refused, Err(AppendError::Overloaded { limit: "head_bytes_max", .. })), "{refused:?}");
    let (appended, flushed) = tokio::join!(rig.append(Signal::Logs, &["more"]), rig.engine.flush_due());
    flushed.expect("flushed");
    appended.expect("room was made while it waited");
}

#[tokio::test]
async fn damaged_and_missing_files_are_set_aside() {
    let (disk, folder) = (SimDisk::new(5), folder());
    let rig = sim(&disk, folder.path()).await;
    for text in ["a", "b", "c"] {
        rig.append(Signal::Logs, &[text]).await.expect("appended");
        rig.engine.flush_all().await.expect("flushed");
    }
    let files = rig.tables[0].files();
    drop(rig);
    disk.remove(&format!("tables/{}", files[0].file.path)).expect("removed");
    disk.damage(&format!("tables/{}", files[1].file.path), files[1].file.bytes as usize - 20);
    let rig = sim(&disk, folder.path()).await;
    assert_eq!(rig.texts(Signal::Logs), ["c"]);
    let damaged = rig.engine.stats().damaged;
    let paths: Vec<_> = damaged.iter().map(|d| d.path.clone()).collect();
    assert_eq!(paths, [format!("tables/{}", files[0].file.path), format!("tables/{}", files[1].file.path)], "{damaged:?}");
    for text in ["d", "e"] {
        rig.append(Signal::Logs, &[text]).await.expect("appended");
        rig.engine.flush_all().await.expect("flushed");
    }
    // Damaged while it runs: merging goes on without it.
    let newest = rig.tables[0].files().pop().expect("a file");
    disk.damage(&format!("tables/{}", newest.file.path), newest.file.bytes as usize - 20);
    rig.engine.settle().await.expect("settled");
    assert_eq!(rig.texts(Signal::Logs).len(), 2);
    assert_eq!(rig.engine.stats().damaged.len(), 3);
}

#[tokio::test]
async fn a_damaged_record_costs_only_itself() {
    let (disk, folder) = (SimDisk::new(6), folder());
    let rig = sim(&disk, folder.path()).await;
    let size = |disk: &SimDisk| disk.list("wal").expect("listed")[0].1 as usize;
    rig.append(Signal::Logs, &["a"]).await.expect("appended");
    let first = size(&disk);
    for text in ["b", "c"] {
        rig.append(Signal::Logs, &[text]).await.expect("appended");
    }
    drop(rig);
    let path = disk.list("wal").expect("listed")[0].0.clone();
    disk.damage(&path, first + 50);
    let rig = sim(&disk, folder.path()).await;
    assert_eq!(rig.texts(Signal::Logs), ["a", "c"]);
    let reported = rig.engine.stats().recovery.damaged;
    assert!(reported.len() == 1 && reported[0].contains("checksum"), "{reported:?}");
}

#[tokio::test]
async fn a_catalog_of_another_version_is_refused() {
    let folder = folder();
    drop(Rig::local(folder.path()).await);
    let change = |sql: &'static str| {
        let path = folder.path().join("catalog.sqlite");
        async move {
            use sqlx::Connection;
            let url = format!("sqlite:{}", path.display());
            let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("connected");
            sqlx::query(sql).execute(&mut connection).await.expect("changed");
            connection.close().await.expect("closed");
        }
    };
    let reason = || async {
        let disk = Arc::new(LocalDisk::new(folder.path()));
        match Rig::open(options(folder.path()), disk, Durability::Full).await {
            Err(StorageError::Catalog { reason, .. }) => reason,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it opened"),
        }
    };
    change("UPDATE ducklake_metadata SET value = '1.1' WHERE \"key\" = 'version'").await;
    assert!(reason().await.contains("version 1.1"));
    change("UPDATE ducklake_metadata SET value = '1.0' WHERE \"key\" = 'version'").await;
    change("INSERT INTO skopos_migration (version, applied) VALUES (99, '')").await;
    assert!(reason().await.contains("version 99"));
}
