//! Start: what the catalog has, then what the log has beyond it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use parquet::file::metadata::ParquetMetaDataReader;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::encoder::Encoder;
use super::{Engine, Parts, Slot, WithResolver, appliers, blocking, held_bytes};
use crate::blob::{BlobReader, Blobs, LocalBlobs};
use crate::catalog::{Commit, Database};
use crate::dedup::Dedup;
use crate::error::StorageError;
use crate::record::{WalDecoder, WalPayload};
use crate::stats::{DamagedFile, RecoveryStats};
use crate::table::{FileMeta, FileSwap, NewFile};
use crate::wal::{Replay, Wal, signal_index};

/// Whether a file is whole: its size is as recorded and its footer parses.
pub(super) fn check_file(blobs: &dyn Blobs, file: &NewFile) -> Result<(), StorageError> {
    let blob = blobs.open(&file.path)?;
    let damaged = |reason: String| StorageError::Damaged { path: file.path.clone(), reason };
    if blob.len() != file.bytes {
        return Err(damaged(format!("it has {} bytes, the catalog says {}", blob.len(), file.bytes)));
    }
    let footer = ParquetMetaDataReader::new().parse_and_finish(&BlobReader(blob)).map_err(|e| damaged(format!("footer: {e}")))?;
    let rows = footer.file_metadata().num_rows();
    if u64::try_from(rows).ok() != Some(file.rows) {
        return Err(damaged(format!("it has {rows} rows, the catalog says {}", file.rows)));
    }
    Ok(())
}

impl Engine {
    /// Opens what is there and starts the log.
    pub(crate) async fn open(parts: Parts) -> Result<Arc<Self>, StorageError> {
        let Parts { options, clock, disk, blobs, database, slots, decoder, resolver, lock } = parts;
        let (slots, blobs, clock) = (Arc::new(slots), Arc::new(blobs), Arc::clone(&clock));
        let schemas: Vec<_> = slots.iter().flat_map(|s| s.schemas.clone()).collect();
        let views = Arc::clone(&slots);
        database.sync_schemas(&schemas, move || views.iter().flat_map(|s| s.table.views()).collect(), clock.now_nanos()).await?;
        let damaged = load_files(&slots, &blobs, &database).await?;
        let positions = database.positions().await?;
        for (signal, position) in &positions {
            slots[signal_index(*signal)].position.store(*position, Ordering::SeqCst);
        }
        let dedup = Dedup::default();
        let mut recovery = RecoveryStats::default();
        let newest = positions.values().copied().max().unwrap_or(0);
        let mut replay = Replay::start(disk, newest, &mut recovery)?;
        while let Some(records) = replay.next_segment(&mut recovery)? {
            for (sequence, payload) in records {
                let slot = &slots[signal_index(payload.signal)];
                dedup.recovered(&payload, clock.now_nanos());
                if sequence <= slot.position.load(Ordering::SeqCst) {
                    recovery.skipped += 1;
                    continue;
                }
                put_back(slot, sequence, &payload, &*decoder, &resolver, clock.now_nanos(), &mut recovery);
                if held_bytes(&slots) >= options.head_bytes_max / 2 {
                    flush_during_recovery(slot, &blobs, &database, clock.now_nanos()).await?;
                }
            }
        }
        if !recovery.damaged.is_empty() || recovery.torn_bytes > 0 || recovery.rows > 0 {
            tracing::info!(
                rows = recovery.rows,
                skipped = recovery.skipped,
                torn_bytes = recovery.torn_bytes,
                damaged = recovery.damaged.len(),
                "recovered from the write-ahead log"
            );
        }
        for problem in &recovery.damaged {
            tracing::error!(problem, "a record of the write-ahead log could not be recovered");
        }
        let due = Arc::new(Notify::new());
        let log = replay.finish(options.wal_segment_bytes);
        let wal = Wal::start(log, options.group_commit_delay, appliers(&slots, &clock, &due, &options))?;
        let engine = Arc::new(Self {
            options,
            clock,
            blobs,
            database,
            slots,
            wal: Arc::new(wal),
            dedup,
            room: Notify::new(),
            due,
            encoder: Encoder::start()?,
            merges: AtomicU64::new(0),
            retired: Mutex::default(),
            damaged,
            recovery,
            background_error: Mutex::default(),
            stop: CancellationToken::new(),
            _lock: lock,
        });
        engine.free_log().await?;
        Ok(engine)
    }
}

/// Gives the tables their files; removes files no snapshot knows. Returns what was set aside.
async fn load_files(slots: &[Slot; 3], blobs: &Arc<LocalBlobs>, database: &Database) -> Result<Vec<DamagedFile>, StorageError> {
    let mut aside = Vec::new();
    for slot in slots {
        let mut files = Vec::new();
        for schema in &slot.schemas {
            files.extend(database.files(schema.table).await?);
        }
        let checker = Arc::clone(blobs);
        let (good, bad) = blocking(move || {
            let (mut good, mut bad) = (Vec::new(), Vec::new());
            for stored in files {
                let checked = check_file(&*checker, &stored.file);
                let meta = FileMeta::new(stored.id, stored.file, stored.created);
                match checked {
                    Ok(()) => good.push(Arc::new(meta)),
                    Err(error) => {
                        meta.set_aside(error.into_damaged(&meta.file.path))?;
                        bad.extend(meta.damage());
                    }
                }
            }
            Ok((good, bad))
        })
        .await?;
        slot.table.swap(FileSwap { add: good, remove: Vec::new(), drop_sealed: false });
        aside.extend(bad);
    }
    let mut known = database.all_paths().await?;
    // What a crash has kept from being deleted.
    let scheduled = database.scheduled_deletions().await?;
    let ids: Vec<i64> = scheduled.iter().map(|(id, _)| *id).collect();
    for (_, path) in &scheduled {
        known.remove(path);
    }
    let sweeper = Arc::clone(blobs);
    blocking(move || {
        for (path, _) in sweeper.sweep()? {
            if !known.contains(&path) {
                tracing::info!(path, "removing a file that is not in the catalog");
                sweeper.delete(&path)?;
            }
        }
        Ok(())
    })
    .await?;
    database.deleted(&ids).await?;
    Ok(aside)
}

/// Decodes one record and puts its rows into the head.
fn put_back(
    slot: &Slot,
    sequence: u64,
    payload: &WalPayload,
    decoder: &dyn WalDecoder,
    resolver: &WithResolver,
    now: i64,
    recovery: &mut RecoveryStats,
) {
    let mut decoded = Err("the store gave no numbering of series".to_owned());
    resolver(&mut |series| decoded = decoder.decode(payload, series));
    match decoded {
        Ok(batch) if batch.signal() == payload.signal => {
            recovery.rows += batch.rows() as u64;
            slot.apply(batch, sequence, now);
        }
        Ok(batch) => recovery.damaged.push(format!("record {sequence}: {} decoded as {}", payload.signal.as_str(), batch.signal().as_str())),
        Err(reason) => recovery.damaged.push(format!("record {sequence} ({}): {reason}", payload.signal.as_str())),
    }
}

/// A log larger than the heads may be: part of it goes to files at once.
async fn flush_during_recovery(slot: &Slot, blobs: &Arc<LocalBlobs>, database: &Database, now: i64) -> Result<(), StorageError> {
    let Some(sealed) = slot.table.seal() else { return Ok(()) };
    let (table, writer) = (Arc::clone(&slot.table), Arc::clone(blobs));
    let files = blocking(move || table.encode_sealed(&*writer)).await?;
    let views = slot.table.views();
    let commit =
        Commit { add: &files, created: now, remove: &[], positions: &[(slot.signal, sealed.seq_max)], schemas: &slot.schemas, views: &views };
    // Whether or not it has landed, the next start finds out.
    let added = database.commit(&commit, now).await.map_err(StorageError::from)?;
    slot.table.swap(FileSwap { add: added, remove: Vec::new(), drop_sealed: true });
    slot.position.fetch_max(sealed.seq_max, Ordering::SeqCst);
    slot.measure();
    Ok(())
}
