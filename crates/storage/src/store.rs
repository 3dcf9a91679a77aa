//! The store as its users see it.

use std::sync::Arc;

use skopos_model::{Batch, Clock, SeriesResolver, Signal};
use skopos_query::logs::LogStore;
use skopos_query::metrics::Queryable;
use skopos_query::traces::TraceStore;
use skopos_query::{QueryContext, QueryError};
use tokio::task::JoinHandle;

use crate::BoxFuture;
use crate::blob::{Blobs, LocalBlobs};
use crate::catalog::{Database, Durability};
use crate::disk::{Disk, FolderLock, LocalDisk};
use crate::engine::{Engine, Parts, Slot};
use crate::error::{AppendError, StorageError};
use crate::logs::LogsTable;
use crate::metrics::{HistogramsScan, MetricsTable, SamplesScan, SeriesScan};
use crate::options::StoreOptions;
use crate::record::{WalDecoder, WalPayload};
use crate::report::AppendReport;
use crate::scan::Scan;
use crate::sql::{Sql, SqlResult};
use crate::state::StateStore;
use crate::stats::{RefusedSeries, SeriesStats, StoreStats};
use crate::traces::SpansTable;

/// Folder of the data files.
const TABLES: &str = "tables";

/// Logs, spans and samples in one data folder. One process has it open at a time.
///
/// Cheap to share: clone the `Arc`. Reads block and belong on a thread that may.
#[derive(Debug)]
pub struct Store {
    pub(crate) engine: Arc<Engine>,
    pub(crate) logs: Arc<LogsTable>,
    pub(crate) spans: Arc<SpansTable>,
    pub(crate) metrics: Arc<MetricsTable>,
    state: StateStore,
    sql: Sql,
}

impl Store {
    /// Opens the data folder, creating it when it is not there, and recovers what the log has beyond the files.
    /// What it found is in [`StoreStats::recovery`] and [`StoreStats::damaged`].
    ///
    /// # Errors
    /// [`StorageError::Locked`] when another process has it open, [`StorageError::Catalog`] when its catalog is of
    /// another version.
    pub fn open(options: StoreOptions, decoder: Arc<dyn WalDecoder>, clock: Arc<dyn Clock>) -> BoxFuture<'static, Result<Arc<Self>, StorageError>> {
        Box::pin(async move {
            let disk: Arc<dyn Disk> = Arc::new(LocalDisk::new(&options.data));
            Self::open_on(disk, options, decoder, clock, Durability::Full).await
        })
    }

    /// Opens a store whose log and files are on `disk`; lock and catalog are in the data folder.
    pub(crate) async fn open_on(
        disk: Arc<dyn Disk>,
        options: StoreOptions,
        decoder: Arc<dyn WalDecoder>,
        clock: Arc<dyn Clock>,
        durability: Durability,
    ) -> Result<Arc<Self>, StorageError> {
        let lock = FolderLock::take(&options.data)?;
        let absolute = std::path::absolute(&options.data).map_err(|source| StorageError::Io {
            what: "cannot resolve",
            path: options.data.display().to_string(),
            source,
        })?;
        let database = Database::open(&absolute.join("catalog.sqlite"), &absolute.join(TABLES), durability, clock.now_nanos()).await?;
        let database = Arc::new(database);
        let blobs = LocalBlobs::new(Arc::clone(&disk), TABLES);
        let shared: Arc<dyn Blobs> = Arc::new(blobs.clone());
        let logs = LogsTable::new(Arc::clone(&shared), &options);
        let spans = SpansTable::new(Arc::clone(&shared), &options);
        let metrics = MetricsTable::new(shared, &options);
        let slots = [
            {
                let table = Arc::clone(&logs);
                let append = move |batch, seq, now| {
                    if let Batch::Logs(batch) = batch {
                        table.append(batch, seq, now);
                    }
                    AppendReport::default()
                };
                Slot::new(Signal::Logs, Arc::clone(&logs) as _, options.retention_logs, Box::new(append))
            },
            {
                let table = Arc::clone(&spans);
                let append = move |batch, seq, now| {
                    if let Batch::Spans(batch) = batch {
                        table.append(batch, seq, now);
                    }
                    AppendReport::default()
                };
                Slot::new(Signal::Traces, Arc::clone(&spans) as _, options.retention_traces, Box::new(append))
            },
            {
                let table = Arc::clone(&metrics);
                let append = move |batch, seq, now| match batch {
                    Batch::Samples(batch) => table.append_samples(batch, seq, now),
                    Batch::Series(series, metadata) => table.append_series(series, metadata, seq, now),
                    Batch::Logs(_) | Batch::Spans(_) => AppendReport::default(),
                };
                Slot::new(Signal::Metrics, Arc::clone(&metrics) as _, options.retention_metrics, Box::new(append))
            },
        ];
        let numbering = Arc::clone(&metrics);
        metrics.recovering();
        let time = Arc::clone(&clock);
        let engine = Engine::open(Parts {
            options,
            clock,
            disk,
            blobs,
            database: Arc::clone(&database),
            slots,
            decoder,
            resolver: Box::new(move |with| with(&mut numbering.resolver())),
            lock: Some(lock),
        })
        .await?;
        metrics.recovered(time.now_nanos());
        let tables: [(&'static str, Arc<dyn Scan>); 5] = [
            ("logs", Arc::clone(&logs) as _),
            ("spans", Arc::clone(&spans) as _),
            ("samples", Arc::new(SamplesScan(Arc::clone(&metrics)))),
            ("histograms", Arc::new(HistogramsScan(Arc::clone(&metrics)))),
            ("series", Arc::new(SeriesScan(Arc::clone(&metrics)))),
        ];
        let sql = Sql::new(tables)?;
        Ok(Arc::new(Self { engine, logs, spans, metrics, state: StateStore::new(database), sql }))
    }

    /// Appends a batch. On `Ok` it is durable and can be queried, but for the rows the report names: those whose series
    /// or time forbid it.
    ///
    /// `payload` is what is logged: the request's body as it came, from which the decoder given at start makes the
    /// same rows again, or [`Batch::to_bytes`] where rows were changed or refused.
    ///
    /// # Errors
    /// Nothing of the batch is acknowledged then; the error says when to try again.
    pub fn append(&self, payload: WalPayload, batch: Batch) -> BoxFuture<'_, Result<AppendReport, AppendError>> {
        Box::pin(self.engine.append(payload, batch))
    }

    /// Gives the numbering of series to a decoder. One at a time: keep only decoding inside.
    pub fn with_resolver<R>(&self, decode: impl FnOnce(&mut dyn SeriesResolver) -> R) -> R {
        self.metrics.at(self.engine.now());
        decode(&mut self.metrics.resolver())
    }

    /// Log records.
    pub fn logs(&self) -> Arc<dyn LogStore> {
        Arc::clone(&self.logs) as _
    }

    /// Spans.
    pub fn traces(&self) -> Arc<dyn TraceStore> {
        Arc::clone(&self.spans) as _
    }

    /// Runs one SQL statement over `logs`, `spans`, `samples` and `series`. It only reads; dropping the future stops it.
    ///
    /// # Errors
    /// [`QueryError::Parse`] with the place for text that is no query or no reading one, else as for any query.
    pub fn sql(&self, query: impl Into<String>, ctx: &QueryContext) -> BoxFuture<'static, Result<SqlResult, QueryError>> {
        self.sql.query(query.into(), ctx.clone())
    }

    /// Samples.
    pub fn metrics(&self) -> Arc<dyn Queryable> {
        Arc::clone(&self.metrics) as _
    }

    /// Operational documents and the journal.
    pub fn state(&self) -> &StateStore {
        &self.state
    }

    /// Returns when all that was acknowledged is in files of their final form and what these replaced is deleted:
    /// the catalog then has one snapshot. (An external reader in the middle of a query on an older one fails.)
    ///
    /// # Errors
    /// The first problem; all signals are tried.
    pub fn flush(&self) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(self.engine.settle())
    }

    /// Figures.
    pub fn stats(&self) -> StoreStats {
        let metrics = self.metrics.stats();
        let series = SeriesStats {
            series: metrics.series,
            active_series: metrics.active_series,
            active_series_max: metrics.active_series_max,
            index_bytes: metrics.index_bytes,
            samples_too_old: metrics.samples_too_old,
            samples_out_of_range: metrics.samples_out_of_range,
            samples_duplicate: metrics.samples_duplicate,
            samples_conflicting: metrics.samples_conflicting,
        };
        StoreStats { series, refused_by_limit: self.metrics.lost_by_limit(), ..self.engine.stats() }
    }

    /// Metrics whose new series are refused, in short: at most `top`, those that lost most first.
    pub fn refused_series(&self, top: usize) -> Vec<RefusedSeries> {
        self.metrics.refused_series(top)
    }

    /// Starts flushing by size and age, merging, retention and expiry; ends with [`Store::close`].
    pub fn run_background(self: &Arc<Self>) -> JoinHandle<()> {
        tokio::spawn(Arc::clone(&self.engine).run_background())
    }

    /// Refuses new data, writes all to files, and leaves the catalog so that a read-only folder can be attached.
    ///
    /// # Errors
    /// What could not be written; it is in the log and comes back at the next start.
    pub fn close(&self) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(self.engine.close())
    }
}

#[cfg(test)]
mod tests;
