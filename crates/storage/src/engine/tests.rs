//! The engine over tables of texts.

mod duckdb;
mod faults;
mod simulation;
mod table;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use skopos_model::{Labels, ManualClock, SeriesId, SeriesResolver, Signal};
use table::{BatchDecoder, TextTable, batch};

use super::*;
use crate::catalog::Durability;
use crate::disk::LocalDisk;
use crate::record::{Encoding, Protocol};
use crate::report::AppendReport;

struct NoSeries;

impl SeriesResolver for NoSeries {
    fn resolve(&mut self, _raw: &[u8], _parse: &mut dyn FnMut() -> Labels) -> Option<SeriesId> {
        None
    }
}

/// An engine over text tables, and the tables.
struct Rig {
    engine: Arc<Engine>,
    tables: [Arc<TextTable>; 3],
    clock: Arc<ManualClock>,
}

/// 2026-11-21 12:00 UTC.
const NOON: i64 = 1_795_262_400_000_000_000;

fn options(folder: &Path) -> StoreOptions {
    StoreOptions { group_commit_delay: Duration::ZERO, wal_segment_bytes: 4096, ..StoreOptions::new(folder) }
}

impl Rig {
    async fn open(options: StoreOptions, disk: Arc<dyn Disk>, durability: Durability) -> Result<Self, StorageError> {
        let clock = Arc::new(ManualClock::at(NOON));
        let blobs = LocalBlobs::new(Arc::clone(&disk), "tables");
        let shared: Arc<dyn crate::blob::Blobs> = Arc::new(blobs.clone());
        let tables = [
            TextTable::new("logs_data", "logs", Arc::clone(&shared)),
            TextTable::new("spans_data", "spans", Arc::clone(&shared)),
            TextTable::new("samples_data", "samples", shared),
        ];
        let retention = Duration::from_secs(24 * 3600);
        let slot = |i: usize, signal| {
            let (table, appended) = (Arc::clone(&tables[i]), Arc::clone(&tables[i]));
            let append = move |batch, seq, now| {
                appended.append(&batch, seq, now);
                AppendReport::default()
            };
            Slot::new(signal, table, retention, Box::new(append))
        };
        let slots = [slot(0, Signal::Logs), slot(1, Signal::Traces), slot(2, Signal::Metrics)];
        let (catalog, folder) = (options.data.join("catalog.sqlite"), options.data.join("tables"));
        std::fs::create_dir_all(&folder).expect("a folder for tables");
        let database = Arc::new(Database::open(&catalog, &folder, durability, NOON).await?);
        let engine = Engine::open(Parts {
            options,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            disk,
            blobs,
            database,
            slots,
            decoder: Arc::new(BatchDecoder),
            resolver: Box::new(|with| with(&mut NoSeries)),
            lock: None,
        })
        .await?;
        Ok(Self { engine, tables, clock })
    }

    async fn local(folder: &Path) -> Self {
        Self::open(options(folder), Arc::new(LocalDisk::new(folder)), Durability::Full).await.expect("the engine opens")
    }

    async fn append(&self, signal: Signal, texts: &[&str]) -> Result<(), AppendError> {
        let lines: Vec<_> = texts.iter().map(|text| (self.clock.now_nanos(), (*text).to_owned())).collect();
        let batch = batch(signal, &lines);
        self.engine.append(payload(&batch, Protocol::Batch), batch).await.map(drop)
    }

    fn texts(&self, signal: Signal) -> Vec<String> {
        self.tables[signal_index(signal)].texts()
    }
}

fn payload(batch: &Batch, protocol: Protocol) -> WalPayload {
    WalPayload {
        protocol,
        encoding: Encoding::Identity,
        signal: batch.signal(),
        received: NOON,
        tenant: 0,
        config_version: 0,
        context: String::new(),
        body: batch.to_bytes().expect("these batches can be logged").into(),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[tokio::test]
async fn rows_stay_through_flush_merge_and_reopening() {
    let folder = folder();
    let rig = Rig::local(folder.path()).await;
    for round in 0..3 {
        for signal in wal::SIGNALS {
            rig.append(signal, &[&format!("{round}a"), &format!("{round}b")]).await.expect("appended");
        }
        assert_eq!(rig.engine.stats().logs.head_rows, 2);
        rig.engine.flush_all().await.expect("flushed");
    }
    let expected = ["0a", "0b", "1a", "1b", "2a", "2b"];
    let stats = rig.engine.stats();
    assert_eq!((stats.logs.files, stats.logs.file_rows, stats.logs.head_rows, stats.logs.rows_appended), (3, 6, 0, 6));
    assert_eq!(stats.wal.bytes, 0, "what is in files has left the log");
    rig.engine.settle().await.expect("settled");
    assert_eq!(rig.engine.stats().logs.files, 1);
    let on_disk = LocalDisk::new(folder.path()).list("tables").expect("listed");
    assert_eq!(on_disk.len(), 3, "replaced files are gone: {on_disk:?}");
    rig.append(Signal::Traces, &["in the log only"]).await.expect("appended");
    drop(rig);
    let rig = Rig::local(folder.path()).await;
    assert_eq!(rig.engine.stats().recovery.rows, 1);
    assert_eq!(rig.texts(Signal::Logs), expected);
    assert_eq!(rig.texts(Signal::Metrics), expected);
    assert_eq!(rig.texts(Signal::Traces), [&expected[..], &["in the log only"]].concat());
    let file = &rig.tables[0].files()[0];
    assert_eq!((file.file.level, file.file.extra["kept"].as_str()), (1, Some("as is")));
    rig.engine.close().await.expect("closed");
    assert!(!folder.path().join("catalog.sqlite-wal").exists(), "a clean stop leaves WAL mode");
    let rig = Rig::local(folder.path()).await;
    let recovery = &rig.engine.stats().recovery;
    assert_eq!((recovery.records, recovery.torn_bytes), (0, 0), "a clean stop leaves nothing in the log");
    assert_eq!(rig.texts(Signal::Traces).len(), 7);
}

#[tokio::test]
async fn promoted_columns_and_views_come_back() {
    let folder = folder();
    let rig = Rig::local(folder.path()).await;
    *rig.tables[0].promotes.lock().expect("not poisoned") = true;
    for text in ["a", "b"] {
        rig.append(Signal::Logs, &[text]).await.expect("appended");
        rig.engine.flush_all().await.expect("flushed");
    }
    let columns = rig.tables[0].schemas()[0].columns();
    assert_eq!(columns.len(), 5);
    assert_eq!(columns.iter().map(|c| c.id).collect::<Vec<_>>(), [1, 2, 5, 6, 7], "a map takes three numbers");
    let view = rig.tables[0].views();
    drop(rig);
    let rig = Rig::local(folder.path()).await;
    assert_eq!(rig.tables[0].schemas()[0].columns(), columns);
    assert_eq!(rig.tables[0].views(), view);
}

#[tokio::test]
async fn the_same_otlp_body_is_stored_once() {
    let folder = folder();
    let rig = Rig::local(folder.path()).await;
    let logs = batch(Signal::Logs, &[(1, "once".to_owned())]);
    let send = |protocol| rig.engine.append(payload(&logs, protocol), logs.clone());
    let (first, second, third) = tokio::join!(send(Protocol::OtlpLogs), send(Protocol::OtlpLogs), send(Protocol::OtlpLogs));
    for result in [first, second, third, send(Protocol::OtlpLogs).await] {
        result.expect("acknowledged");
    }
    assert_eq!(rig.texts(Signal::Logs), ["once"]);
    assert_eq!(rig.engine.stats().logs.duplicates, 3);
    drop(rig);
    let rig = Rig::local(folder.path()).await;
    rig.engine.append(payload(&logs, Protocol::OtlpLogs), logs.clone()).await.expect("acknowledged");
    assert_eq!(rig.texts(Signal::Logs), ["once"], "a restart does not forget what is in the log");
    for _ in 0..2 {
        rig.engine.append(payload(&logs, Protocol::JsonLines), logs.clone()).await.expect("acknowledged");
    }
    assert_eq!(rig.texts(Signal::Logs).len(), 3, "plain lines may well be the same");
}

#[tokio::test]
async fn old_files_go_but_not_before_their_arrival_is_old() {
    let folder = folder();
    let rig = Rig::local(folder.path()).await;
    let hour = 3600 * 1_000_000_000;
    let old = batch(Signal::Logs, &[(NOON - 1000 * hour, "of long ago, sent today".to_owned())]);
    rig.engine.append(payload(&old, Protocol::Batch), old).await.expect("appended");
    rig.engine.settle().await.expect("settled");
    assert_eq!(rig.texts(Signal::Logs).len(), 1);
    rig.clock.advance(23 * hour);
    rig.append(Signal::Logs, &["new"]).await.expect("appended");
    rig.engine.flush_all().await.expect("flushed");
    rig.clock.advance(2 * hour);
    rig.engine.settle().await.expect("settled");
    assert_eq!(rig.texts(Signal::Logs).len(), 2, "merged with newer rows it stays as long as they do");
    rig.clock.advance(25 * hour);
    rig.engine.settle().await.expect("settled");
    assert_eq!(rig.texts(Signal::Logs), [""; 0]);
    assert_eq!(LocalDisk::new(folder.path()).list("tables").expect("listed"), []);
}

#[tokio::test]
async fn files_a_query_reads_outlive_their_snapshots() {
    let folder = folder();
    let rig = Rig::local(folder.path()).await;
    for text in ["a", "b"] {
        rig.append(Signal::Logs, &[text]).await.expect("appended");
        rig.engine.flush_all().await.expect("flushed");
    }
    let held = rig.tables[0].files();
    rig.engine.settle().await.expect("settled");
    let files = || LocalDisk::new(folder.path()).list("tables").expect("listed").len();
    assert_eq!(files(), 3);
    drop(held);
    rig.engine.settle().await.expect("settled");
    assert_eq!(files(), 1);
}

#[tokio::test]
async fn background_flushes_by_age_and_size() {
    let folder = folder();
    let rig = Rig::open(StoreOptions { flush_rows: 3, ..options(folder.path()) }, Arc::new(LocalDisk::new(folder.path())), Durability::Full)
        .await
        .expect("opens");
    rig.append(Signal::Logs, &["a", "b"]).await.expect("appended");
    rig.engine.flush_due().await.expect("looked");
    assert_eq!(rig.engine.stats().logs.files, 0);
    rig.append(Signal::Logs, &["c"]).await.expect("appended");
    rig.engine.flush_due().await.expect("looked");
    assert_eq!(rig.engine.stats().logs.files, 1, "large enough");
    rig.append(Signal::Metrics, &["a", "b", "c", "d"]).await.expect("appended");
    rig.engine.flush_due().await.expect("looked");
    assert_eq!(rig.engine.stats().metrics.files, 0, "samples wait for their age");
    rig.append(Signal::Traces, &["a"]).await.expect("appended");
    rig.clock.advance(nanos(Duration::from_secs(60)));
    rig.engine.flush_due().await.expect("looked");
    assert_eq!((rig.engine.stats().metrics.files, rig.engine.stats().traces.files), (0, 1), "samples wait longer");
    rig.clock.advance(nanos(Duration::from_secs(540)));
    rig.engine.flush_due().await.expect("looked");
    assert_eq!(rig.engine.stats().metrics.files, 1);
    let background = tokio::spawn(Arc::clone(&rig.engine).run_background());
    rig.engine.close().await.expect("closed");
    background.await.expect("the background ends with the engine");
}
