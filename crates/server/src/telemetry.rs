//! The server's own figures, shown on `/metrics` and in `GET /v1/status`.

mod floods;
mod targets;
mod upkeep;

pub use targets::{LastScrape, TargetState, Targets};

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use skopos_model::{Rejected, Signal};
use skopos_storage::{SignalStats, StoreStats};

use crate::app::App;

/// Counters of one signal's ingest.
#[derive(Debug, Default)]
pub struct SignalCounters {
    /// Rows stored.
    pub accepted: AtomicU64,
    /// Rows refused.
    pub rejected: AtomicU64,
    /// Request bytes as they came.
    pub bytes: AtomicU64,
    /// Requests answered with success.
    pub requests: AtomicU64,
    /// Unix nanoseconds, 0 when nothing came yet.
    pub last_received: AtomicI64,
    window: Mutex<Window>,
}

/// Rows of the last seconds, for a rate that is live without a query.
#[derive(Debug, Default)]
struct Window {
    seconds: [(i64, u64); WINDOW_SECONDS],
}

const WINDOW_SECONDS: usize = 10;

impl SignalCounters {
    fn add(&self, rows: u64, bytes: u64, now: i64) {
        self.accepted.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.last_received.store(now, Ordering::Relaxed);
        let second = now.div_euclid(1_000_000_000);
        let slot = &mut self.window.lock().seconds[second.rem_euclid(WINDOW_SECONDS as i64) as usize];
        if slot.0 == second { slot.1 += rows } else { *slot = (second, rows) }
    }

    /// Rows per second over the last whole seconds. `now`: Unix nanoseconds.
    pub fn rate(&self, now: i64) -> f64 {
        let second = now.div_euclid(1_000_000_000);
        let window = self.window.lock();
        let recent = window.seconds.iter().filter(|(s, _)| *s < second && *s >= second - (WINDOW_SECONDS as i64 - 1));
        recent.map(|(_, n)| *n).sum::<u64>() as f64 / (WINDOW_SECONDS - 1) as f64
    }
}

/// Rows that were not taken for one reason, since the start.
#[derive(Debug, Clone, Default)]
pub struct Rejections {
    /// How many.
    pub count: u64,
    /// The latest of them: what was wrong and where.
    pub example: String,
    /// First and last time, Unix nanoseconds.
    pub since: i64,
    /// See `since`.
    pub last: i64,
}

/// What came in and what did not.
#[derive(Debug, Default)]
pub struct IngestTelemetry {
    logs: SignalCounters,
    traces: SignalCounters,
    metrics: SignalCounters,
    rejected: Mutex<BTreeMap<(Signal, &'static str), Rejections>>,
    refused: Mutex<BTreeMap<(Signal, &'static str), u64>>,
}

impl IngestTelemetry {
    /// Counters of a signal.
    pub fn signal(&self, signal: Signal) -> &SignalCounters {
        match signal {
            Signal::Logs => &self.logs,
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
        }
    }

    /// Counts a stored request and the rows of it that were not taken.
    pub fn stored(&self, signal: Signal, rows: usize, bytes: usize, rejected: &[Rejected], now: i64) {
        self.signal(signal).add(rows as u64, bytes as u64, now);
        if rejected.is_empty() {
            return;
        }
        let mut by_reason = self.rejected.lock();
        for r in rejected {
            self.signal(signal).rejected.fetch_add(r.count, Ordering::Relaxed);
            let known = by_reason.entry((signal, r.reason)).or_insert_with(|| Rejections { since: now, ..Rejections::default() });
            known.count += r.count;
            known.last = now;
            known.example.clone_from(&r.example);
        }
    }

    /// Counts a request that was answered with an error.
    pub fn refused(&self, signal: Signal, reason: &'static str) {
        *self.refused.lock().entry((signal, reason)).or_default() += 1;
    }

    /// Rows that were not taken, by signal and reason.
    pub fn rejections(&self) -> Vec<(Signal, &'static str, Rejections)> {
        self.rejected.lock().iter().map(|((signal, reason), found)| (*signal, *reason, found.clone())).collect()
    }
}

/// All of the server's own figures.
#[derive(Debug, Default)]
pub struct Telemetry {
    /// Ingest by signal.
    pub ingest: IngestTelemetry,
    /// Scrape targets.
    pub targets: Targets,
    /// The data folder, once it is known.
    pub data: OnceLock<PathBuf>,
    /// Queries run.
    pub queries: AtomicU64,
    /// Queries stopped because their client went away.
    pub queries_cancelled: AtomicU64,
    /// Log records that live tails left out because their readers were slow.
    pub tail_skipped: AtomicU64,
    /// Rule evaluations that failed.
    pub evaluation_failures: AtomicU64,
    /// Rule evaluations left out because the one before took too long.
    pub evaluations_missed: AtomicU64,
    /// Notifications delivered.
    pub notifications_delivered: AtomicU64,
    /// Notification attempts that failed.
    pub notifications_failed: AtomicU64,
}

fn line(out: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    out.push_str(name);
    for (i, (n, v)) in labels.iter().enumerate() {
        let _ = write!(out, "{}{n}=\"{}\"", if i == 0 { '{' } else { ',' }, v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
    }
    if !labels.is_empty() {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

impl Telemetry {
    /// Prometheus text format.
    pub fn exposition(&self, app: &App) -> String {
        let mut out = String::with_capacity(4096);
        let load = |c: &AtomicU64| c.load(Ordering::Relaxed);
        let signals = [Signal::Logs, Signal::Traces, Signal::Metrics];
        family(&mut out, "skopos_ingest_rows_total", "counter", "Records, spans and samples stored.");
        for s in signals {
            line(&mut out, "skopos_ingest_rows_total", &[("signal", s.as_str())], load(&self.ingest.signal(s).accepted));
        }
        family(&mut out, "skopos_ingest_bytes_total", "counter", "Request bytes as they came.");
        for s in signals {
            line(&mut out, "skopos_ingest_bytes_total", &[("signal", s.as_str())], load(&self.ingest.signal(s).bytes));
        }
        family(&mut out, "skopos_ingest_requests_total", "counter", "Requests stored.");
        for s in signals {
            line(&mut out, "skopos_ingest_requests_total", &[("signal", s.as_str())], load(&self.ingest.signal(s).requests));
        }
        family(&mut out, "skopos_ingest_rejected_rows_total", "counter", "Rows of accepted requests that were not taken, by reason.");
        for (signal, reason, found) in self.ingest.rejections() {
            line(&mut out, "skopos_ingest_rejected_rows_total", &[("signal", signal.as_str()), ("reason", reason)], found.count);
        }
        family(&mut out, "skopos_ingest_refused_requests_total", "counter", "Requests answered with an error, by reason.");
        for ((signal, reason), count) in self.ingest.refused.lock().iter() {
            line(&mut out, "skopos_ingest_refused_requests_total", &[("signal", signal.as_str()), ("reason", reason)], count);
        }
        family(&mut out, "skopos_delta_streams", "gauge", "OTLP delta streams whose sums are remembered.");
        line(&mut out, "skopos_delta_streams", &[], app.delta_streams.load(Ordering::Relaxed));
        let stats = app.store.stats();
        floods::exposition(&mut out, app, &stats);
        self.upkeep(&mut out, app, &stats);
        family(&mut out, "skopos_store_head_bytes", "gauge", "Memory of rows that are not in files yet.");
        for s in signals {
            line(&mut out, "skopos_store_head_bytes", &[("signal", s.as_str())], signal_stats(&stats, s).head_bytes);
        }
        family(&mut out, "skopos_store_files", "gauge", "Parquet files.");
        for s in signals {
            line(&mut out, "skopos_store_files", &[("signal", s.as_str())], signal_stats(&stats, s).files);
        }
        family(&mut out, "skopos_store_file_bytes", "gauge", "Bytes in Parquet files.");
        for s in signals {
            line(&mut out, "skopos_store_file_bytes", &[("signal", s.as_str())], signal_stats(&stats, s).file_bytes);
        }
        family(&mut out, "skopos_wal_bytes", "gauge", "Bytes in the write-ahead log.");
        line(&mut out, "skopos_wal_bytes", &[], stats.wal.bytes);
        family(&mut out, "skopos_wal_writable", "gauge", "Whether the write-ahead log can be written.");
        line(&mut out, "skopos_wal_writable", &[], u8::from(stats.wal.writable));
        family(&mut out, "skopos_store_damaged_files", "gauge", "Files that were set aside because their content does not hold; the rest is served.");
        line(&mut out, "skopos_store_damaged_files", &[], stats.damaged.len());
        family(&mut out, "skopos_wal_recovered_rows", "gauge", "Rows that the last start put back from the write-ahead log.");
        line(&mut out, "skopos_wal_recovered_rows", &[], stats.recovery.rows);
        family(&mut out, "skopos_wal_torn_bytes", "gauge", "Bytes the last start cut from the log's end: written, but never acknowledged.");
        line(&mut out, "skopos_wal_torn_bytes", &[], stats.recovery.torn_bytes);
        family(&mut out, "skopos_wal_damaged_records", "gauge", "Records the last start could not read back.");
        line(&mut out, "skopos_wal_damaged_records", &[], stats.recovery.damaged.len());
        family(&mut out, "skopos_queries_running", "gauge", "Queries that run now.");
        line(&mut out, "skopos_queries_running", &[], crate::app::QUERIES_MAX.saturating_sub(app.query_permits.available_permits()));
        for (name, help, value) in [
            ("skopos_queries_total", "Queries run.", &self.queries),
            ("skopos_queries_cancelled_total", "Queries stopped because their client went away.", &self.queries_cancelled),
            ("skopos_log_tail_skipped_total", "Log records that live tails left out because their readers were slow.", &self.tail_skipped),
            ("skopos_rule_evaluation_failures_total", "Rule evaluations that failed.", &self.evaluation_failures),
            ("skopos_rule_evaluations_missed_total", "Rule evaluations left out because the one before took too long.", &self.evaluations_missed),
            ("skopos_notifications_delivered_total", "Notifications delivered.", &self.notifications_delivered),
            ("skopos_notifications_failed_total", "Notification attempts that failed.", &self.notifications_failed),
        ] {
            family(&mut out, name, "counter", help);
            line(&mut out, name, &[], load(value));
        }
        if let Some((cpu, rss)) = process_usage() {
            family(&mut out, "process_cpu_seconds_total", "counter", "User and system CPU time.");
            line(&mut out, "process_cpu_seconds_total", &[], cpu);
            family(&mut out, "process_resident_memory_bytes", "gauge", "Resident memory.");
            line(&mut out, "process_resident_memory_bytes", &[], rss);
        }
        out
    }
}

/// The store's figures of one signal.
pub fn signal_stats(stats: &StoreStats, signal: Signal) -> &SignalStats {
    match signal {
        Signal::Logs => &stats.logs,
        Signal::Traces => &stats.traces,
        Signal::Metrics => &stats.metrics,
    }
}

/// CPU seconds and resident bytes of this process, from `/proc`; `None` on systems without it.
fn process_usage() -> Option<(f64, u64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The command's name may hold spaces; fields are counted after its closing parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let pages: u64 = fields.get(21)?.parse().ok()?;
    Some((ticks as f64 / rustix::param::clock_ticks_per_second() as f64, pages * rustix::param::page_size() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_over_whole_seconds() {
        let counters = SignalCounters::default();
        let second = 1_000_000_000;
        for s in 100..120 {
            counters.add(18, 0, s * second);
        }
        assert_eq!(counters.rate(119 * second + 1), 18.0);
        assert_eq!(counters.rate(200 * second), 0.0);
    }
}
