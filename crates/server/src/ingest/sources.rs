//! Who sends metrics, how much, and who is refused for sending too much.
//!
//! Rates are token buckets that are paid afterwards: a source may send while it has tokens left, and what it sent is
//! taken off them. So a request larger than the burst passes once and is waited for; and whoever is over its rate is
//! refused before anything of the request is decoded.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::http::{Extensions, HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use parking_lot::Mutex;

use crate::config::{RatesConfig, SourcesConfig};

/// Header that names a tenant, as Mimir, Loki and their agents send it.
const TENANT: &str = "x-scope-orgid";
/// Longest name of a tenant, bytes; longer ones are told by their address.
const TENANT_BYTES_MAX: usize = 150;
/// Longest name of a client's program shown, bytes.
const AGENT_BYTES_MAX: usize = 100;
/// Most sources known; then those that have been silent the longest are forgotten, a tenth at a time.
const SOURCES_MAX: usize = 10_000;
/// Longest a client is told to wait.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Who sends a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// `tenant:NAME`, `client:ADDRESS` or `job:NAME`.
    pub name: Arc<str>,
    /// The program that sends, in its own words.
    pub agent: Arc<str>,
}

impl Source {
    /// The job of a scrape.
    pub fn job(name: &str) -> Self {
        Self { name: format!("job:{name}").into(), agent: "scrape".into() }
    }

    /// The sender of a request, as [`layer`] has noted it.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    fn of_request(headers: &HeaderMap, address: Option<SocketAddr>) -> Self {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim).filter(|text| !text.is_empty());
        let name = match (text(TENANT).filter(|tenant| tenant.len() <= TENANT_BYTES_MAX), address) {
            (Some(tenant), _) => format!("tenant:{tenant}"),
            (None, Some(address)) => format!("client:{}", address.ip().to_canonical()),
            (None, None) => "client:unknown".to_owned(),
        };
        let agent = text(header::USER_AGENT.as_str()).unwrap_or("");
        Self { name: name.into(), agent: agent[..agent.floor_char_boundary(AGENT_BYTES_MAX)].into() }
    }
}

/// Notes who sends a request.
pub async fn layer(mut request: Request, next: Next) -> Response {
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let source = Source::of_request(request.headers(), address);
    request.extensions_mut().insert(source);
    next.run(request).await
}

/// A rate that has been used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverRate {
    /// Name of the limit.
    pub limit: &'static str,
    /// Its value.
    pub per_second: u64,
    /// Who is over it; all together where it is empty.
    pub source: Arc<str>,
    /// When there is room again.
    pub retry_after: Duration,
}

impl std::fmt::Display for OverRate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who: &str = if self.source.is_empty() { "all sources together" } else { &self.source };
        write!(f, "{who}: over the limit {} of {}; retry in {} s", self.limit, self.per_second, self.retry_after.as_secs())
    }
}

/// Tokens used and not yet given back.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    used: f64,
    /// As of when, Unix nanoseconds.
    at: i64,
}

impl Bucket {
    fn refill(&mut self, rate: u64, now: i64) {
        let seconds = now.saturating_sub(self.at).max(0) as f64 / 1e9;
        self.used = (self.used - seconds * rate as f64).max(0.0);
        self.at = self.at.max(now);
    }

    /// How long to wait until tokens are left; `None` when some are.
    fn wait(&mut self, rate: u64, burst_seconds: u64, now: i64) -> Option<Duration> {
        self.refill(rate, now);
        let burst = rate.saturating_mul(burst_seconds.max(1)) as f64;
        if self.used < burst {
            return None;
        }
        if rate == 0 {
            return Some(RETRY_AFTER_MAX);
        }
        // One token at least has to be there again; whole seconds, as the header has it.
        let seconds = ((self.used - burst + 1.0) / rate as f64).ceil();
        Some(Duration::from_secs(seconds as u64).clamp(Duration::from_secs(1), RETRY_AFTER_MAX))
    }

    /// Without a rate nothing is counted: a limit that is set later begins with a full bucket.
    fn pay(&mut self, rate: Option<u64>, tokens: f64, now: i64) {
        match rate {
            Some(rate) => {
                self.refill(rate, now);
                self.used += tokens;
            }
            None => *self = Self::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Buckets {
    samples: Bucket,
    bytes: Bucket,
}

/// What a source has sent since the start.
#[derive(Debug, Clone, Default)]
pub struct SourceFigures {
    /// Its name.
    pub name: Arc<str>,
    /// The program that sent last.
    pub agent: Arc<str>,
    /// Samples sent, those that were refused by themselves among them.
    pub samples: u64,
    /// Bytes as they came, of the requests that were decoded.
    pub bytes: u64,
    /// Requests and scrapes that were decoded.
    pub requests: u64,
    /// Last one, Unix nanoseconds.
    pub last: i64,
    /// Requests and scrapes refused for a rate.
    pub refused_requests: u64,
    /// Bytes of them.
    pub refused_bytes: u64,
    /// The limit that refused last, and its value.
    pub limit: Option<(&'static str, u64)>,
    /// First and last refusal, Unix nanoseconds.
    pub refused_between: Option<(i64, i64)>,
}

#[derive(Debug, Default)]
struct Table {
    all: Buckets,
    sources: HashMap<Arc<str>, (Buckets, SourceFigures)>,
}

/// All sources.
#[derive(Debug, Default)]
pub struct Sources(Mutex<Table>);

/// The rates in force for a source.
struct Rates {
    samples: Option<u64>,
    bytes: Option<u64>,
}

impl Rates {
    fn of(rates: &RatesConfig, sources: &SourcesConfig, name: &str) -> Self {
        let own = sources.get(name);
        Self {
            samples: own.and_then(|own| own.samples_per_second).or(rates.samples_per_second),
            bytes: own.and_then(|own| own.bytes_per_second).or(rates.bytes_per_second),
        }
    }
}

impl Table {
    fn source(&mut self, source: &Source, now: i64) -> &mut (Buckets, SourceFigures) {
        if !self.sources.contains_key(&source.name) && self.sources.len() >= SOURCES_MAX {
            let mut ages: Vec<i64> = self.sources.values().map(|(_, figures)| figures.last).collect();
            ages.sort_unstable();
            let oldest = ages[ages.len() / 10];
            self.sources.retain(|_, (_, figures)| figures.last > oldest);
        }
        let (_, figures) = self.sources.entry(Arc::clone(&source.name)).or_default();
        if figures.name.is_empty() {
            figures.name = Arc::clone(&source.name);
        }
        if figures.agent != source.agent {
            figures.agent = Arc::clone(&source.agent);
        }
        figures.last = now;
        self.sources.entry(Arc::clone(&source.name)).or_default()
    }
}

impl Sources {
    /// Whether a source may send now; a refusal is counted. `bytes` is the request's size, `now` Unix nanoseconds.
    ///
    /// # Errors
    /// With the rate that is used up, its own before that of all.
    pub fn admit(&self, source: &Source, (rates, sources): (&RatesConfig, &SourcesConfig), bytes: usize, now: i64) -> Result<(), OverRate> {
        let own = Rates::of(rates, sources, &source.name);
        let mut table = self.0.lock();
        let Table { all, .. } = &mut *table;
        let mut of_all = *all;
        let (buckets, figures) = table.source(source, now);
        let found = [
            (&mut buckets.samples, own.samples, "samples_per_second", true),
            (&mut buckets.bytes, own.bytes, "bytes_per_second", true),
            (&mut of_all.samples, rates.all_samples_per_second, "all_samples_per_second", false),
            (&mut of_all.bytes, rates.all_bytes_per_second, "all_bytes_per_second", false),
        ]
        .into_iter()
        .find_map(|(bucket, rate, limit, is_own)| {
            let per_second = rate?;
            let retry_after = bucket.wait(per_second, rates.burst_seconds, now)?;
            Some(OverRate { limit, per_second, source: if is_own { Arc::clone(&source.name) } else { "".into() }, retry_after })
        });
        let Some(over) = found else { return Ok(()) };
        if figures.refused_between.is_none() {
            tracing::warn!(
                source = &*source.name,
                limit = over.limit,
                per_second = over.per_second,
                "a source of metrics is over its rate and refused"
            );
        }
        figures.refused_requests += 1;
        figures.refused_bytes += bytes as u64;
        figures.limit = Some((over.limit, over.per_second));
        figures.refused_between = Some((figures.refused_between.map_or(now, |(first, _)| first), now));
        Err(over)
    }

    /// Takes what a request brought off the rates: samples, those that were refused among them, and bytes.
    pub fn pay(&self, source: &Source, (rates, sources): (&RatesConfig, &SourcesConfig), samples: u64, bytes: usize, now: i64) {
        let own = Rates::of(rates, sources, &source.name);
        let mut table = self.0.lock();
        table.all.samples.pay(rates.all_samples_per_second, samples as f64, now);
        table.all.bytes.pay(rates.all_bytes_per_second, bytes as f64, now);
        let (buckets, figures) = table.source(source, now);
        buckets.samples.pay(own.samples, samples as f64, now);
        buckets.bytes.pay(own.bytes, bytes as f64, now);
        figures.samples += samples;
        figures.bytes += bytes as u64;
        figures.requests += 1;
    }

    /// At most `top` sources: those that were refused most, then those that sent most.
    pub fn list(&self, top: usize) -> Vec<SourceFigures> {
        let mut all: Vec<SourceFigures> = self.0.lock().sources.values().map(|(_, figures)| figures.clone()).collect();
        all.sort_by(|a, b| (b.refused_requests, b.samples).cmp(&(a.refused_requests, a.samples)).then_with(|| a.name.cmp(&b.name)));
        all.truncate(top);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SourceConfig;

    const SECOND: i64 = 1_000_000_000;

    fn source(name: &str) -> Source {
        Source { name: name.into(), agent: "test".into() }
    }

    #[test]
    fn a_source_over_its_rate_waits_and_the_others_go_on() {
        let rates = RatesConfig { samples_per_second: Some(100), burst_seconds: 2, ..RatesConfig::default() };
        let sources = SourcesConfig::from([
            ("client:a".to_owned(), SourceConfig { samples_per_second: Some(1_000), ..SourceConfig::default() }),
            ("client:off".to_owned(), SourceConfig { bytes_per_second: Some(0), ..SourceConfig::default() }),
        ]);
        let config = (&rates, &sources);
        let all = Sources::default();
        let noisy = source("client:noisy");
        assert_eq!(all.admit(&noisy, config, 10, SECOND), Ok(()));
        // Larger than the burst of 200: it passes once.
        all.pay(&noisy, config, 700, 10, SECOND);
        let over = all.admit(&noisy, config, 10, SECOND).unwrap_err();
        assert_eq!((over.limit, over.per_second, over.retry_after), ("samples_per_second", 100, Duration::from_secs(6)));
        assert_eq!(over.to_string(), "client:noisy: over the limit samples_per_second of 100; retry in 6 s");
        assert!(all.admit(&noisy, config, 10, 5 * SECOND).is_err());
        assert_eq!(all.admit(&noisy, config, 10, 7 * SECOND), Ok(()), "as it was told");
        all.pay(&source("client:a"), config, 700, 10, SECOND);
        assert_eq!(all.admit(&source("client:a"), config, 10, SECOND), Ok(()), "an exception of its own");
        assert_eq!(all.admit(&source("client:off"), config, 10, SECOND).unwrap_err().retry_after, RETRY_AFTER_MAX);
        let shown = all.list(1);
        assert_eq!((&*shown[0].name, shown[0].refused_requests, shown[0].refused_bytes), ("client:noisy", 2, 20));
        assert_eq!((shown[0].refused_between, shown[0].limit), (Some((SECOND, 5 * SECOND)), Some(("samples_per_second", 100))));
        assert_eq!((shown[0].samples, shown[0].requests), (700, 1));
    }

    #[test]
    fn all_together_have_a_rate_too() {
        let rates = RatesConfig { all_bytes_per_second: Some(10), burst_seconds: 1, ..RatesConfig::default() };
        let sources = SourcesConfig::new();
        let (config, all) = ((&rates, &sources), Sources::default());
        all.pay(&source("client:a"), config, 1, 30, SECOND);
        let over = all.admit(&source("client:b"), config, 1, SECOND).unwrap_err();
        assert_eq!(over.to_string(), "all sources together: over the limit all_bytes_per_second of 10; retry in 3 s");
        assert_eq!(all.admit(&source("client:b"), config, 1, 4 * SECOND), Ok(()));
        // A limit that is taken away and set again begins anew.
        all.pay(&source("client:a"), (&RatesConfig::default(), &sources), 1, 30, 4 * SECOND);
        all.pay(&source("client:a"), config, 1, 9, 4 * SECOND);
        assert_eq!(all.admit(&source("client:b"), config, 1, 4 * SECOND), Ok(()));
    }

    #[test]
    fn sources_are_named() {
        let address = Some("10.1.2.3:999".parse().unwrap());
        let mut headers = HeaderMap::new();
        assert_eq!(&*Source::of_request(&headers, None).name, "client:unknown");
        assert_eq!(&*Source::of_request(&headers, address).name, "client:10.1.2.3");
        headers.insert(TENANT, "shop".parse().unwrap());
        headers.insert(header::USER_AGENT, "Prometheus/3.1.0".parse().unwrap());
        let named = Source::of_request(&headers, address);
        assert_eq!((&*named.name, &*named.agent), ("tenant:shop", "Prometheus/3.1.0"));
        headers.insert(TENANT, "x".repeat(151).parse().unwrap());
        assert_eq!(&*Source::of_request(&headers, address).name, "client:10.1.2.3");
    }

    #[test]
    fn the_silent_are_forgotten() {
        let (rates, sources) = (RatesConfig::default(), SourcesConfig::new());
        let all = Sources::default();
        for i in 0..=SOURCES_MAX {
            all.pay(&source(&format!("client:{i}")), (&rates, &sources), 1, 1, i as i64);
        }
        let known = all.0.lock();
        assert!(known.sources.len() < SOURCES_MAX && !known.sources.contains_key("client:0"), "{}", known.sources.len());
    }
}
