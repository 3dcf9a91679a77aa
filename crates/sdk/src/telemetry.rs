//! The pipeline: configuration, queues, metrics, and the threads that empty them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::config::{Config, LogOutput};
use crate::export::client::Client;
use crate::export::drops::{Account, Counts, DropReason, Signal};
use crate::export::lines::{Lines, join_until};
use crate::export::otlp;
use crate::export::queue::Queue;
use crate::export::worker::{Control, Order};
use crate::limits::{MAX_QUEUE_BYTES, SHUTDOWN_DEADLINE};
use crate::logs::LogLayer;
use crate::metrics::Registry;
use crate::metrics::process;
use crate::trace::id::TraceId;
use crate::trace::layer::SpanLayer;

/// Why the pipeline could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// [`crate::init`] has run before, or another global `tracing` subscriber is set.
    #[error("telemetry is set up already: init may be called once per process, before any other tracing subscriber is set")]
    AlreadyInitialised,
    /// The endpoint cannot be used.
    #[error("OTLP endpoint {endpoint:?}: {reason}")]
    Endpoint {
        /// As configured.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The log filter cannot be read.
    #[error("log filter {filter:?}: {reason}; expected e.g. \"info\" or \"info,sqlx=warn\"")]
    Filter {
        /// As configured.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The export threads could not be started.
    #[error("cannot start the export threads: {0}")]
    Thread(#[from] std::io::Error),
}

/// A handle to one pipeline. Most programs have one, set up by [`crate::init`] and found by itself; programs that hold
/// several services, and tests, start their own and name it.
#[derive(Clone)]
pub struct Telemetry {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    resource_attributes: Vec<(String, String)>,
    resource: Vec<u8>,
    account: Arc<Account>,
    spans: Queue,
    logs: Queue,
    lines: Option<Arc<Lines>>,
    metrics: Registry,
    records_spans: bool,
    records_logs: bool,
}

static GLOBAL: OnceLock<Telemetry> = OnceLock::new();
/// Where instrumentation goes that runs before `init`, or without: metrics count, spans and logs are not kept.
static DETACHED: LazyLock<Telemetry> = LazyLock::new(|| {
    let mut config = Config::new("unknown_service");
    config.log_output = LogOutput::Off;
    Telemetry::new(config, None, Arc::default())
});

/// Sets up logs, traces and metrics for this process: the JSON log lines, the export, the global `tracing` subscriber.
/// Keep the guard until the end of `main`; dropping it flushes within [`SHUTDOWN_DEADLINE`].
///
/// # Errors
/// When called twice, or when the endpoint or the log filter cannot be used.
pub fn init(config: Config) -> Result<Guard, InitError> {
    if GLOBAL.get().is_some() {
        return Err(InitError::AlreadyInitialised);
    }
    let filter = config.log_filter.clone();
    let filter = EnvFilter::try_new(&filter).map_err(|error| InitError::Filter { filter, reason: error.to_string() })?;
    let (telemetry, guard) = Telemetry::start(config)?;
    let subscriber = tracing_subscriber::registry().with(filter).with(telemetry.span_layer()).with(telemetry.log_layer());
    tracing::subscriber::set_global_default(subscriber).map_err(|_| InitError::AlreadyInitialised)?;
    GLOBAL.set(telemetry).map_err(|_| InitError::AlreadyInitialised)?;
    Ok(guard)
}

impl Telemetry {
    /// Starts a pipeline that is not the process-wide one. [`Self::log_layer`] and [`Self::span_layer`] connect
    /// `tracing` to it.
    ///
    /// # Errors
    /// When the endpoint cannot be used or a thread cannot be started.
    pub fn start(mut config: Config) -> Result<(Self, Guard), InitError> {
        let client = match &config.endpoint {
            Some(endpoint) => Some(Client::new(endpoint, &config.headers, config.gzip)?),
            None => None,
        };
        let account = Arc::<Account>::default();
        let output = std::mem::replace(&mut config.log_output, LogOutput::Off);
        let (lines, lines_thread) = Lines::start(output, Arc::clone(&account))?.unzip();
        let telemetry = Self::new(config, lines, account);
        let control = client.map(|client| Control::start(&telemetry, client)).transpose()?;
        process::register(telemetry.metrics());
        telemetry.register_own_metrics();
        let guard = Guard { telemetry: telemetry.clone(), control, lines_thread };
        Ok((telemetry, guard))
    }

    fn new(config: Config, lines: Option<Arc<Lines>>, account: Arc<Account>) -> Self {
        let mut attributes = vec![("service.name".to_owned(), config.service_name.clone())];
        if !config.service_version.is_empty() {
            attributes.push(("service.version".to_owned(), config.service_version.clone()));
        }
        attributes.push(("deployment.environment.name".to_owned(), config.environment.clone()));
        attributes.push(("telemetry.sdk.name".to_owned(), "skopos".to_owned()));
        attributes.push(("telemetry.sdk.language".to_owned(), "rust".to_owned()));
        attributes.push(("telemetry.sdk.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
        attributes.push(("process.pid".to_owned(), std::process::id().to_string()));
        if let Ok(host) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
            attributes.push(("host.name".to_owned(), host.trim().to_owned()));
        }
        if !config.resource.iter().any(|(key, _)| key == "service.instance.id") {
            attributes.push(("service.instance.id".to_owned(), format!("{:032x}", fastrand::u128(..))));
        }
        for (key, value) in &config.resource {
            attributes.retain(|(known, _)| known != key);
            attributes.push((key.clone(), value.clone()));
        }
        let exports = config.endpoint.is_some();
        let queue_bytes = config.queue_bytes.min(MAX_QUEUE_BYTES);
        Self {
            inner: Arc::new(Inner {
                records_spans: exports && config.export_traces,
                records_logs: exports && config.export_logs,
                resource: otlp::resource(&attributes),
                resource_attributes: attributes,
                spans: Queue::new(Signal::Traces, Arc::clone(&account), queue_bytes),
                logs: Queue::new(Signal::Logs, Arc::clone(&account), queue_bytes),
                metrics: Registry::new(),
                account,
                lines,
                config,
            }),
        }
    }

    /// The process-wide pipeline: that of [`crate::init`], or one that only counts metrics before it.
    pub fn global() -> Self {
        GLOBAL.get().unwrap_or(&DETACHED).clone()
    }

    /// The `tracing` layer that makes log records of events; [`crate::init`] installs it by itself.
    pub fn log_layer(&self) -> LogLayer {
        LogLayer::new(self.clone())
    }

    /// The `tracing` layer that makes spans of `tracing` spans; [`crate::init`] installs it by itself.
    pub fn span_layer(&self) -> SpanLayer {
        SpanLayer::new(self.clone())
    }

    /// The metrics of this pipeline.
    pub fn metrics(&self) -> &Registry {
        &self.inner.metrics
    }

    /// What became of the records of `signal` so far.
    pub fn counts(&self, signal: Signal) -> Counts {
        self.inner.account.counts(signal)
    }

    /// Records of `signal` dropped for `reason` so far.
    pub fn dropped(&self, signal: Signal, reason: DropReason) -> u64 {
        self.inner.account.dropped(signal, reason)
    }

    /// The settings in force.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The resource attributes sent with every record.
    pub fn resource_attributes(&self) -> &[(String, String)] {
        &self.inner.resource_attributes
    }

    pub(crate) fn resource(&self) -> &[u8] {
        &self.inner.resource
    }

    pub(crate) fn account(&self) -> &Account {
        &self.inner.account
    }

    pub(crate) fn spans(&self) -> &Queue {
        &self.inner.spans
    }

    pub(crate) fn log_queue(&self) -> &Queue {
        &self.inner.logs
    }

    pub(crate) fn lines(&self) -> Option<&Lines> {
        self.inner.lines.as_deref()
    }

    pub(crate) fn records_spans(&self) -> bool {
        self.inner.records_spans
    }

    pub(crate) fn records_logs(&self) -> bool {
        self.inner.records_logs
    }

    /// Head sampling by trace id, so that all services with the same ratio agree.
    pub(crate) fn samples(&self, trace_id: TraceId) -> bool {
        let ratio = self.inner.config.sample_ratio;
        if ratio >= 1.0 {
            return true;
        }
        // The last 7 bytes are the random part in W3C Trace Context level 2.
        let bytes = trace_id.to_bytes();
        let random = bytes[9..].iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        (random as f64) < ratio * (1u64 << 56) as f64
    }

    fn register_own_metrics(&self) {
        let metrics = self.metrics();
        type Pick = fn(Counts) -> u64;
        let own: [(&str, &str, Pick); 2] = [
            ("skopos_sdk_records_total", "Records the application made.", |counts| counts.recorded),
            ("skopos_sdk_delivered_total", "Records the receiver confirmed.", |counts| counts.delivered),
        ];
        for (name, help, pick) in own {
            // Weak: the registry belongs to the pipeline and must not keep it alive.
            let weak = Arc::downgrade(&self.inner);
            metrics.observe_counter(name, help, &["signal"], move |emit| {
                let Some(inner) = weak.upgrade() else { return };
                for signal in Signal::ALL {
                    emit(&[signal.as_str()], pick(inner.account.counts(*signal)) as f64);
                }
            });
        }
        let weak = Arc::downgrade(&self.inner);
        metrics.observe_counter("skopos_sdk_dropped_total", "Records that were dropped.", &["signal", "reason"], move |emit| {
            let Some(inner) = weak.upgrade() else { return };
            for signal in Signal::ALL {
                for reason in DropReason::ALL {
                    emit(&[signal.as_str(), reason.as_str()], inner.account.dropped(*signal, *reason) as f64);
                }
            }
        });
        let weak = Arc::downgrade(&self.inner);
        metrics.observe_gauge("skopos_sdk_queue_bytes", "Bytes of encoded records that wait for export.", &["signal"], move |emit| {
            let Some(inner) = weak.upgrade() else { return };
            for queue in [&inner.spans, &inner.logs] {
                emit(&[queue.signal().as_str()], queue.bytes() as f64);
            }
        });
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").field("service", &self.inner.config.service_name).finish_non_exhaustive()
    }
}

/// Keeps the pipeline running. Dropping it sends what is left, for at most [`SHUTDOWN_DEADLINE`].
#[must_use = "dropping the guard stops the telemetry"]
#[derive(Debug)]
pub struct Guard {
    telemetry: Telemetry,
    control: Option<Arc<Control>>,
    lines_thread: Option<JoinHandle<()>>,
}

impl Guard {
    /// The pipeline.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Sends everything recorded so far; `false` if that took longer than `timeout`. Blocks the calling thread.
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        if let Some(control) = &self.control {
            let number = control.flushes.fetch_add(1, Ordering::Relaxed) + 1;
            control.orders.send_replace(Order::Flush(number));
            for done in &control.done {
                while *done.borrow() < number {
                    if Instant::now() >= deadline {
                        return false;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        if let Some(lines) = self.telemetry.lines() {
            lines.flush(deadline);
        }
        true
    }

    /// Stops the pipeline, sending what is left for at most `timeout`; what could not be sent is counted with reason
    /// `shutdown`. Returns what became of spans and log records.
    pub fn shutdown(mut self, timeout: Duration) -> [(Signal, Counts); 4] {
        self.stop(timeout);
        [Signal::Traces, Signal::Logs, Signal::Metrics, Signal::Stdout].map(|signal| (signal, self.telemetry.counts(signal)))
    }

    fn stop(&mut self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        if let Some(control) = self.control.take() {
            // The thread keeps the deadline by itself; it is given a moment more to say so.
            control.orders.send_replace(Order::Stop(deadline));
            if let Some(thread) = control.thread.lock().take() {
                join_until(thread, deadline + Duration::from_millis(200));
            }
        }
        if let (Some(lines), Some(thread)) = (self.telemetry.lines(), self.lines_thread.take()) {
            lines.close(deadline);
            join_until(thread, deadline);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop(SHUTDOWN_DEADLINE);
    }
}
