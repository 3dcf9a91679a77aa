//! What all handlers and tasks share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::http::StatusCode;
use parking_lot::Mutex;
use serde::Serialize;
use skopos_ingest::derive::span_metrics::SpanMetrics;
use skopos_ingest::otlp::metrics::delta::Deltas;
use skopos_ingest::otlp::options::OtlpOptions;
use skopos_model::{Clock, IngestLimits};
use skopos_query::context::StatsSnapshot;
use skopos_query::{QueryContext, QueryError, QueryLimits, promql};
use skopos_storage::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::ConfigHandle;
use crate::http::auth::Auth;
use crate::http::{ApiError, ApiResult};
use crate::ingest::listeners::Listeners;
use crate::ingest::sources::Sources;
use crate::ingest::statsd::Statsd;
use crate::probes::Probes;
use crate::reliability::Reliability;
use crate::scrape::Scrapes;
use crate::telemetry::Telemetry;

/// Addresses in use, as `DIR/addresses.json` and `GET /v1/status` show them.
#[derive(Debug, Clone, Serialize, serde::Deserialize)]
pub struct Addresses {
    /// Main port: `host:port`.
    pub http: String,
    /// OTLP over HTTP, if it listens.
    pub otlp_http: Option<String>,
    /// OTLP over gRPC, if it listens.
    pub otlp_grpc: Option<String>,
}

/// What all handlers and tasks share.
pub struct App {
    /// Rows.
    pub store: Arc<Store>,
    /// Time, for tasks and handlers alone.
    pub clock: Arc<dyn Clock>,
    /// Who may do what.
    pub auth: Arc<Auth>,
    /// Configuration in force.
    pub config: ConfigHandle,
    /// Limits of decoders.
    pub ingest_limits: IngestLimits,
    /// How OTLP metrics become series, and what is remembered of earlier requests under these options.
    pub ingest: ArcSwap<IngestSettings>,
    /// Who sends metrics, and how much.
    pub sources: Sources,
    /// Sums of delta streams; held from decoding until the rows are stored.
    pub deltas: tokio::sync::Mutex<Deltas>,
    /// Number of delta streams, for the server's own figures.
    pub delta_streams: AtomicUsize,
    /// Evaluates PromQL.
    pub promql: promql::Engine,
    /// Rules, alerts, SLOs, runbooks.
    pub reliability: Reliability,
    /// Requests, errors and durations of spans, counted at the door.
    pub span_metrics: Mutex<SpanMetrics>,
    /// The server's own figures.
    pub telemetry: Telemetry,
    /// Services that are asked how they are.
    pub probes: Probes,
    /// Outgoing HTTP: scrapes, probes, webhooks, actions.
    pub http_client: reqwest::Client,
    /// Where this server can be reached, once it listens.
    pub addresses: OnceLock<Addresses>,
    /// When it started, Unix nanoseconds.
    pub started: i64,
    /// Limits of a query.
    pub query_limits: QueryLimits,
    /// Permits for queries that run at the same time.
    pub query_permits: Arc<Semaphore>,
    /// Held by the drill that runs.
    pub drill_permit: Arc<Semaphore>,
    /// Targets that are scraped.
    pub scrapes: Scrapes,
    /// StatsD over UDP.
    pub statsd: Statsd,
    /// Cancelled when the server stops: what answers without end (live tails) ends then.
    pub stopping: CancellationToken,
    /// Syslog, Fluent Forward, Jaeger's agent protocol.
    pub listeners: Listeners,
    /// What the data has, for dashboards that make themselves.
    pub dashboard_facts: crate::dashboards::store::Recent,
}

/// Options of decoders that a reload may change, with what is remembered under them.
#[derive(Debug, Default)]
pub struct IngestSettings {
    /// How OTLP metrics become series.
    pub otlp: OtlpOptions,
    /// The options as text, for the write-ahead log.
    pub otlp_text: String,
    /// Resources and starts seen in earlier requests.
    pub cache: skopos_ingest::Cache,
}

impl IngestSettings {
    /// With an empty memory.
    pub fn new(otlp: OtlpOptions) -> Self {
        Self { otlp_text: otlp.to_text(), otlp, cache: skopos_ingest::Cache::default() }
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Most queries at a time; the rest waits.
pub const QUERIES_MAX: usize = 8;
/// Longest a query waits for its turn before it is refused with 503.
const QUERY_WAIT_MAX: Duration = Duration::from_secs(10);

/// What a query has cost, as every answer states it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Cost {
    /// Wall time in milliseconds.
    pub elapsed_ms: f64,
    /// What was counted.
    #[serde(flatten)]
    pub counts: StatsSnapshot,
    /// Whether the answer was cut at a limit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

impl App {
    /// The main port's base URL.
    pub fn base_url(&self) -> String {
        let config = self.config.get();
        match (&config.file.external_url, self.addresses.get()) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(a)) => format!("http://{}", a.http),
            (None, None) => String::new(),
        }
    }

    /// Runs a query on a thread that may block. A caller that goes away stops it.
    ///
    /// # Errors
    /// The query's own, or 503 when too many run.
    pub async fn query<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>, &QueryContext) -> Result<T, QueryError> + Send + 'static,
    ) -> ApiResult<(T, Cost)> {
        let (result, cost) = self.try_query(self.query_limits, work).await?;
        Ok((result?, cost))
    }

    /// As [`App::query`], with limits of its own and the query's error apart, for APIs with error shapes of their own.
    ///
    /// # Errors
    /// 503 when too many run.
    pub async fn try_query<T: Send + 'static>(
        self: &Arc<Self>,
        limits: QueryLimits,
        work: impl FnOnce(&Arc<Self>, &QueryContext) -> Result<T, QueryError> + Send + 'static,
    ) -> ApiResult<(Result<T, QueryError>, Cost)> {
        let permit = tokio::time::timeout(QUERY_WAIT_MAX, Arc::clone(&self.query_permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            let mut error = ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "queries_max",
                format!("{QUERIES_MAX} queries are running (limit queries_max) and none ended within {} s", QUERY_WAIT_MAX.as_secs()),
            );
            error.retry_after = Some(5);
            return Err(error);
        };
        let started = Instant::now();
        let ctx = QueryContext::new(limits, started);
        let _stop_when_gone = ctx.cancel_on_drop();
        let app = Arc::clone(self);
        let inner = ctx.clone();
        let result = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let result = work(&app, &inner);
            if matches!(result, Err(QueryError::Cancelled)) {
                app.telemetry.queries_cancelled.fetch_add(1, Ordering::Relaxed);
            }
            result
        })
        .await
        .map_err(|e| ApiError::internal(format!("the query's thread failed: {e}")))?;
        let cost = Cost { elapsed_ms: started.elapsed().as_secs_f64() * 1e3, counts: ctx.stats.snapshot(), truncated: false };
        self.telemetry.queries.fetch_add(1, Ordering::Relaxed);
        Ok((result, cost))
    }
}
