//! Scraping targets that expose Prometheus text or OpenMetrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use skopos_ingest::exposition::{Format, ScrapeOptions, parse};
use skopos_model::metric::STALE_NAN_BITS;
use skopos_model::{Batch, Labels, TimeSeries, labels::METRIC_NAME};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::store_own;
use crate::app::App;
use crate::config::ScrapeConfig;
use crate::telemetry::Target;

/// What a target is told that we read, best first.
const ACCEPT: &str =
    "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.7,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// Largest body of a target.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Longest a stop waits for the ends of the series to be written.
const STOP_MAX: Duration = Duration::from_secs(3);

/// The scrapes of the configuration in force.
#[derive(Debug, Default)]
pub struct Scrapes(Mutex<Running>);

#[derive(Debug, Default)]
struct Running {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Scrapes {
    /// Ends the scrapes of the former configuration and begins those of the one in force.
    pub fn restart(&self, app: &Arc<App>) {
        let mut running = self.0.lock();
        running.stop.cancel();
        *running = Running::default();
        let config = app.config.get();
        app.telemetry.targets.retain(|job, _| config.file.scrape.iter().any(|s| s.job == job));
        for job in &config.file.scrape {
            for target in &job.targets {
                running.tasks.spawn(run(Arc::clone(app), job.clone(), target.clone(), running.stop.clone()));
            }
        }
    }

    /// Ends them all; each writes the end of its series.
    pub async fn stop(&self) {
        let tasks = {
            let running = self.0.lock();
            running.stop.cancel();
            running.tasks.close();
            running.tasks.clone()
        };
        if tokio::time::timeout(STOP_MAX, tasks.wait()).await.is_err() {
            tracing::warn!("the ends of some scraped series were not written within {} s", STOP_MAX.as_secs());
        }
    }
}

/// Scrapes one target until it is told to stop.
async fn run(app: Arc<App>, job: ScrapeConfig, address: String, stop: CancellationToken) {
    let interval = Duration::from_secs(job.interval_seconds.max(1));
    // Targets are spread over the interval by their address, so that they are not all asked at once.
    let offset = interval.mul_f64((xxh(&format!("{}/{address}", job.job)) % 1000) as f64 / 1000.0);
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + offset, interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut known: BTreeMap<Labels, ()> = BTreeMap::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => scrape(&app, &job, &address, interval, &mut known).await,
            () = stop.cancelled() => break,
        }
    }
    // The series end here: say so, or they would seem to go on for the look-back.
    let now = app.clock.now_millis();
    let batch = stale(known.into_keys().chain(own_series(&job, &address).map(|(l, _)| l)), now);
    if let Err(error) = store_own(&app, Batch::Series(batch, Vec::new())).await {
        tracing::warn!(target = address, %error, "end of the target's series not stored");
    }
}

fn xxh(text: &str) -> u64 {
    Labels::new([("t", text)]).stable_hash()
}

fn stale(series: impl Iterator<Item = Labels>, now: i64) -> Vec<TimeSeries> {
    series.map(|labels| TimeSeries { labels, samples: vec![(now, f64::from_bits(STALE_NAN_BITS))], ..TimeSeries::default() }).collect()
}

fn target_labels(job: &ScrapeConfig, address: &str) -> Vec<(String, String)> {
    let own = [("job".to_owned(), job.job.clone()), ("instance".to_owned(), address.to_owned())];
    job.labels.iter().map(|(n, v)| (n.clone(), v.clone())).chain(own).collect()
}

fn own_series<'a>(job: &'a ScrapeConfig, address: &'a str) -> impl Iterator<Item = (Labels, &'static str)> + 'a {
    ["up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"]
        .into_iter()
        .map(move |name| (Labels::new(target_labels(job, address).into_iter().chain([(METRIC_NAME.to_owned(), name.to_owned())])), name))
}

/// The target's labels win; its own of the same name are kept as `exported_…`, unless they are honoured.
fn merge_labels(scraped: &Labels, target: &[(String, String)], honor: bool) -> Labels {
    let mut all: Vec<(String, String)> = scraped.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    for (name, value) in target {
        match all.iter_mut().find(|(n, _)| n == name) {
            Some(_) if honor => continue,
            Some(own) => {
                own.0 = format!("exported_{name}");
                all.push((name.clone(), value.clone()));
            }
            None => all.push((name.clone(), value.clone())),
        }
    }
    Labels::new(all)
}

async fn fetch(app: &Arc<App>, job: &ScrapeConfig, address: &str, timeout: Duration) -> Result<(Format, bytes::Bytes), String> {
    let url = if address.contains("://") { format!("{address}{}", job.path) } else { format!("http://{address}{}", job.path) };
    let request = app.http_client.get(&url).header("accept", ACCEPT).header("x-prometheus-scrape-timeout-seconds", timeout.as_secs_f64().to_string());
    let work = async {
        let response = request.send().await.map_err(|e| format!("cannot reach it: {}", cause(&e)))?;
        if !response.status().is_success() {
            return Err(format!("server returned HTTP status {}", response.status()));
        }
        let kind = response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
        let mut body = bytes::BytesMut::new();
        let mut response = response;
        while let Some(chunk) = response.chunk().await.map_err(|e| format!("the body ended early: {}", cause(&e)))? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(format!("the body is over the limit of {BODY_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((Format::from_content_type(Some(&kind)).unwrap_or_default(), body.freeze()))
    };
    tokio::time::timeout(timeout, work).await.map_err(|_| format!("no answer within {} s", timeout.as_secs_f64()))?
}

/// The innermost reason, which is the one that helps ("connection refused").
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

async fn scrape(app: &Arc<App>, job: &ScrapeConfig, address: &str, interval: Duration, known: &mut BTreeMap<Labels, ()>) {
    let (now, started) = (app.clock.now_millis(), Instant::now());
    let timeout = job.timeout_seconds.map_or(interval, Duration::from_secs).min(interval);
    let mut metadata = Vec::new();
    let mut series = Vec::new();
    let mut error = String::new();
    match fetch(app, job, address, timeout).await {
        Ok((format, body)) => {
            match parse(
                &body,
                format,
                &ScrapeOptions {
                    scrape_time: now,
                    honor_timestamps: job.honor_timestamps,
                    native_histograms: true,
                    classic_histograms: true,
                    limits: &app.ingest_limits,
                },
            ) {
                Ok(decoded) => {
                    metadata = decoded.batch.metadata;
                    series = decoded.batch.series;
                    if let Some(first) = decoded.rejected.first() {
                        app.telemetry.ingest.stored(skopos_model::Signal::Metrics, 0, 0, &decoded.rejected, app.clock.now_nanos());
                        tracing::debug!(target = address, reason = first.reason, example = first.example, "samples of a scrape not taken");
                    }
                }
                Err(reason) => error = reason.to_string(),
            }
        }
        Err(reason) => error = reason,
    }
    let duration = started.elapsed().as_secs_f64();
    let labels = target_labels(job, address);
    let scraped = series.len();
    for one in &mut series {
        one.labels = merge_labels(&one.labels, &labels, job.honor_labels);
    }
    let seen: BTreeMap<Labels, ()> = series.iter().map(|s| (s.labels.clone(), ())).collect();
    let added = seen.keys().filter(|l| !known.contains_key(l)).count();
    let gone: Vec<Labels> = known.keys().filter(|l| !seen.contains_key(l)).cloned().collect();
    series.extend(stale(gone.into_iter(), now));
    *known = seen;
    for (labels, name) in own_series(job, address) {
        let value = match name {
            "up" => f64::from(u8::from(error.is_empty())),
            "scrape_duration_seconds" => duration,
            "scrape_series_added" => added as f64,
            _ => scraped as f64,
        };
        series.push(TimeSeries { labels, samples: vec![(now, value)], ..TimeSeries::default() });
    }
    if let Err(reason) = store_own(app, Batch::Series(series, metadata)).await {
        error = format!("scraped but not stored: {reason}");
        // What was not stored has to be announced as ended or started anew next time.
        known.clear();
    }
    let target = Target { labels: labels.into_iter().collect(), error, last_scrape: now * 1_000_000, duration, interval: interval.as_secs_f64() };
    app.telemetry.targets.record(&job.job, &format!("http://{address}{}", job.path), target);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_target_and_series() {
        let scraped = Labels::new([(METRIC_NAME, "x"), ("job", "own"), ("a", "b")]);
        let target = [("job".to_owned(), "orders".to_owned()), ("instance".to_owned(), "h:1".to_owned())];
        assert_eq!(merge_labels(&scraped, &target, false).to_string(), r#"x{a="b", exported_job="own", instance="h:1", job="orders"}"#);
        assert_eq!(merge_labels(&scraped, &target, true).to_string(), r#"x{a="b", instance="h:1", job="own"}"#);
    }
}
