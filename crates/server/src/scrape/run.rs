//! The loop of one target: ask, read, relabel, store, and say how it went.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use skopos_ingest::exposition::{EXEMPLAR_TOO_LONG, Format, ScrapeOptions, parse};
use skopos_ingest::relabel::relabel;
use skopos_model::metric::STALE_NAN_BITS;
use skopos_model::{Batch, Labels, MetricMetadata, NativeHistogram, Signal, TimeSeries};
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::config::{Job, ScrapeProtocol, accept_header};
use super::target::{Target, merged};
use crate::app::App;
use crate::ingest::accept::store_own;
use crate::ingest::sources::Source;
use crate::telemetry::LastScrape;

/// Scrapes one target.
pub(super) struct Scraper {
    app: Arc<App>,
    job: Arc<Job>,
    target: Target,
    /// Whose rate it counts against.
    source: Source,
    /// How it is asked, or why it cannot be.
    client: Result<Client, String>,
    /// Headers of each request.
    headers: Vec<(&'static str, String)>,
    /// Series of the last scrape whose end has to be told, and whether they are native histograms.
    known: HashMap<Labels, bool>,
}

/// What a scrape brought.
#[derive(Default)]
struct Scraped {
    series: Vec<TimeSeries>,
    metadata: Vec<MetricMetadata>,
    /// Samples before relabelling.
    samples: usize,
    /// Bytes after decompression.
    bytes: usize,
}

/// The series that tell about a scrape.
const OWN: [&str; 5] = ["up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"];
/// More of them, on request.
const EXTRA: [&str; 3] = ["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"];

/// Scrapes until it is stopped, and says then that its series end.
pub(super) async fn scrape_until(mut scraper: Scraper, stop: CancellationToken) {
    let interval = scraper.target.interval;
    // Targets are spread over the interval by what they are, so that they are not all asked at once.
    let spread = Labels::new([("t", scraper.target.key())]).stable_hash() % 1000;
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval.mul_f64(spread as f64 / 1000.0), interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => scraper.scrape().await,
            () = stop.cancelled() => break,
        }
    }
    scraper.end().await;
}

fn ended(labels: Labels, histogram: bool, now: i64) -> TimeSeries {
    let mut series = TimeSeries { labels, ..TimeSeries::default() };
    if histogram {
        series.histograms.push((now, NativeHistogram::stale()));
    } else {
        series.samples.push((now, f64::from_bits(STALE_NAN_BITS)));
    }
    series
}

impl Scraper {
    pub(super) fn new(app: Arc<App>, job: Arc<Job>, target: Target, client: Result<Client, String>) -> Self {
        let headers =
            vec![("accept", accept_header(&job.protocols)), ("x-prometheus-scrape-timeout-seconds", target.timeout.as_secs_f64().to_string())];
        Self { source: Source::job(&job.name), app, job, target, client, headers, known: HashMap::new() }
    }

    async fn scrape(&mut self) {
        let (now, started) = (self.app.clock.now_millis(), Instant::now());
        let config = self.app.config.get();
        let rates = (&config.file.limits.rates, &config.file.limits.sources);
        let result = match self.app.sources.admit(&self.source, rates, 0, now.saturating_mul(1_000_000)) {
            Ok(()) => self.ask(now).await,
            Err(over) => Err(over.to_string()),
        };
        let duration = started.elapsed();
        let mut error = result.as_ref().err().cloned().unwrap_or_default();
        if let Ok(scraped) = &result {
            self.app.sources.pay(&self.source, rates, scraped.samples as u64, scraped.bytes, now.saturating_mul(1_000_000));
        }
        let scraped = result.unwrap_or_default();
        let Scraped { mut series, metadata, samples, bytes } = scraped;
        let kept = series.len();
        let tracked = |one: &TimeSeries| {
            // Series with a time of their own are the target's affair, unless told otherwise.
            let own_time = one.samples.first().map(|s| s.0).or(one.histograms.first().map(|h| h.0)) != Some(now);
            !own_time || self.job.track_timestamps_staleness
        };
        let seen: HashMap<Labels, bool> =
            series.iter().filter(|one| tracked(one)).map(|one| (one.labels.clone(), !one.histograms.is_empty())).collect();
        let added = seen.keys().filter(|labels| !self.known.contains_key(*labels)).count();
        let gone = self.known.iter().filter(|(labels, _)| !seen.contains_key(*labels));
        series.extend(gone.map(|(labels, histogram)| ended(labels.clone(), *histogram, now)));
        self.known = seen;
        let figures = [f64::from(u8::from(error.is_empty())), duration.as_secs_f64(), samples as f64, kept as f64, added as f64];
        let limits = &self.job.limits;
        let extra = [self.target.timeout.as_secs_f64(), limits.samples.unwrap_or(0) as f64, bytes as f64];
        let extra = EXTRA.into_iter().zip(extra).filter(|_| self.job.extra_metrics);
        for (name, value) in OWN.into_iter().zip(figures).chain(extra) {
            series.push(TimeSeries { labels: self.target.own(name), samples: vec![(now, value)], ..TimeSeries::default() });
        }
        match store_own(&self.app, Batch::Series(series, metadata)).await {
            Ok(rejected) => {
                if let Some(first) = rejected.first() {
                    tracing::debug!(target = self.target.url, reason = first.reason, example = first.example, "samples of a scrape not taken");
                }
            }
            Err(reason) => {
                error = format!("scraped but not stored: {reason}");
                // What was not stored has to be told anew next time.
                self.known.clear();
            }
        }
        let last = LastScrape { error, at: now.saturating_mul(1_000_000), duration: duration.as_secs_f64() };
        self.app.telemetry.targets.scraped(&self.job.name, &self.target.key(), last);
    }

    /// The series end here: say so, or they would seem to go on for the look-back.
    async fn end(mut self) {
        let now = self.app.clock.now_millis();
        let own = OWN.into_iter().chain(EXTRA.into_iter().filter(|_| self.job.extra_metrics)).map(|name| (self.target.own(name), false));
        let batch: Vec<TimeSeries> =
            std::mem::take(&mut self.known).into_iter().chain(own).map(|(labels, histogram)| ended(labels, histogram, now)).collect();
        if let Err(error) = store_own(&self.app, Batch::Series(batch, Vec::new())).await {
            tracing::warn!(target = self.target.url, %error, "end of the target's series not stored");
        }
    }

    async fn ask(&self, now: i64) -> Result<Scraped, String> {
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let answer = client.get(&self.target.url, &self.headers, self.job.compression, self.target.timeout, self.job.limits.body_size).await?;
        let format = match (Format::from_content_type(Some(&answer.content_type)), self.job.fallback) {
            (Some(format), _) => format,
            (None, Some(fallback)) => format_of(fallback),
            (None, None) => {
                return Err(format!(
                    "the content type {:?} is not one that is read, and no fallback_scrape_protocol is configured",
                    answer.content_type
                ));
            }
        };
        let options = ScrapeOptions {
            scrape_time: now,
            honor_timestamps: self.job.honor_timestamps,
            native_histograms: self.job.native_histograms,
            classic_histograms: self.job.classic_histograms,
            limits: &self.app.ingest_limits,
        };
        let decoded = parse(&answer.body, format, &options).map_err(|e| e.to_string())?;
        if let Some(first) = decoded.rejected.first() {
            self.app.telemetry.ingest.stored(Signal::Metrics, 0, 0, &decoded.rejected, self.app.clock.now_nanos());
            tracing::debug!(target = self.target.url, reason = first.reason, example = first.example, "samples of a scrape not taken");
        }
        // Classic buckets beside native ones are not taken above; here they may be all there is.
        let scrape = if self.job.custom_buckets { decoded.batch.with_custom_buckets(self.job.classic_histograms) } else { decoded.batch };
        // What the target exposed, whether it could be taken or not.
        let refused: u64 = decoded.rejected.iter().filter(|r| r.reason != EXEMPLAR_TOO_LONG).map(|r| r.count).sum();
        let samples = scrape.series.len() + usize::try_from(refused).unwrap_or(usize::MAX);
        let mut series = Vec::with_capacity(scrape.series.len());
        for mut one in scrape.series {
            let mut labels = merged(&one.labels, &self.target.labels, self.job.honor_labels);
            if !relabel(&self.job.metric_relabel, &mut labels) {
                continue;
            }
            one.labels = Labels::new(labels);
            self.check(&one)?;
            series.push(one);
        }
        if let Some(limit) = self.job.limits.samples.filter(|limit| series.len() > *limit) {
            return Err(format!("sample_limit exceeded: {} samples, the limit is {limit}", series.len()));
        }
        Ok(Scraped { series, metadata: scrape.metadata, samples, bytes: answer.body.len() })
    }

    /// Limits on one series; over one of them the scrape fails.
    fn check(&self, series: &TimeSeries) -> Result<(), String> {
        let (limits, labels) = (&self.job.limits, &series.labels);
        if labels.name().is_empty() {
            return Err(format!("a series has no name after metric_relabel_configs: {labels}"));
        }
        if let Some(limit) = limits.labels.filter(|limit| labels.len() > *limit) {
            return Err(format!("label_limit exceeded: {labels} has {} labels, the limit is {limit}", labels.len()));
        }
        if let Some(limit) = limits.label_name_length
            && let Some((name, _)) = labels.iter().find(|(name, _)| name.len() > limit)
        {
            return Err(format!("label_name_length_limit exceeded: the name {name:?} has {} bytes, the limit is {limit}", name.len()));
        }
        if let Some(limit) = limits.label_value_length
            && let Some((name, value)) = labels.iter().find(|(_, value)| value.len() > limit)
        {
            return Err(format!("label_value_length_limit exceeded: the value of {name:?} has {} bytes, the limit is {limit}", value.len()));
        }
        if let Some(limit) = limits.histogram_buckets
            && let Some(buckets) = series.histograms.iter().map(|(_, h)| h.positive.len() + h.negative.len()).find(|buckets| *buckets > limit)
        {
            return Err(format!("native_histogram_bucket_limit exceeded: {labels} has {buckets} buckets, the limit is {limit}"));
        }
        Ok(())
    }
}

fn format_of(protocol: ScrapeProtocol) -> Format {
    match protocol {
        ScrapeProtocol::PrometheusProto => Format::Protobuf,
        ScrapeProtocol::OpenMetricsText0 | ScrapeProtocol::OpenMetricsText1 => Format::OpenMetrics,
        ScrapeProtocol::PrometheusText0 | ScrapeProtocol::PrometheusText1 => Format::Text,
    }
}
