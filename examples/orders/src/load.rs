//! The users: requests at a given rate, whatever the answers (an open model), so that a slow service does not get fewer
//! of them. Latency counts from when a request was due, not from when it could be sent.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use parking_lot::Mutex;
use reqwest::{Client, Method, Url};
use serde::Serialize;

use crate::serve::stop_signal;

/// Requests under way at a time; what is due beyond that is not sent and counts as failed.
const MAX_IN_FLIGHT: usize = 2_000;
/// Order ids remembered for look-ups.
const MAX_KNOWN_ORDERS: usize = 1_000;
/// Latencies kept for the summary, in a reservoir.
const MAX_LATENCIES: usize = 100_000;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const GOODS: [&str; 8] = ["tea-green", "tea-black", "coffee-dark", "coffee-light", "mug-blue", "mug-red", "kettle-1", "filter-100"];

/// Options of `orders load`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LoadOptions {
    /// Base URL of the API.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    target: Url,
    /// Requests per second; several, separated by commas, are run one after the other (`--rate 20,40,80`).
    #[arg(long, value_delimiter = ',', default_value = "30")]
    rate: Vec<f64>,
    /// Seconds of each rate; without it the last lasts until the process is told to stop.
    #[arg(long)]
    seconds: Option<f64>,
    /// Seed of users, goods and order of requests.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many users there are.
    #[arg(long, default_value_t = 50)]
    users: u32,
}

/// What one request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    List,
    Show,
    Create,
    Cancel,
}

impl Kind {
    /// 60 % list, 20 % show, 17 % create, 3 % cancel.
    fn pick(random: f64) -> Self {
        match random {
            r if r < 0.60 => Kind::List,
            r if r < 0.80 => Kind::Show,
            r if r < 0.97 => Kind::Create,
            _ => Kind::Cancel,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::List => "GET /orders",
            Kind::Show => "GET /orders/{id}",
            Kind::Create => "POST /orders",
            Kind::Cancel => "POST /orders/{id}/cancel",
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    unsent: u64,
    by_status: BTreeMap<String, u64>,
    by_route: BTreeMap<&'static str, u64>,
    latencies_ms: Vec<f64>,
}

/// Printed at the end, as one JSON object.
#[derive(Debug, Serialize)]
struct Summary {
    seconds: f64,
    sent: u64,
    /// Due but not sent, because too many were under way.
    unsent: u64,
    failed: u64,
    rps: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    by_status: BTreeMap<String, u64>,
    by_route: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn answer(&mut self, kind: Kind, status: String, latency: Duration) {
        *self.by_status.entry(status).or_default() += 1;
        *self.by_route.entry(kind.name()).or_default() += 1;
        let latency_ms = latency.as_secs_f64() * 1e3;
        let seen = usize::try_from(self.sent).unwrap_or(usize::MAX);
        if self.latencies_ms.len() < MAX_LATENCIES {
            self.latencies_ms.push(latency_ms);
        } else {
            let place = fastrand::usize(..seen.max(1));
            if let Some(slot) = self.latencies_ms.get_mut(place) {
                *slot = latency_ms;
            }
        }
    }

    fn summary(mut self, elapsed: Duration) -> Summary {
        self.latencies_ms.sort_by(f64::total_cmp);
        let quantile = |q: f64| {
            let rank = (q * self.latencies_ms.len() as f64).ceil() as usize;
            self.latencies_ms.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        let failed = self.by_status.iter().filter(|(status, _)| !status.starts_with(['2', '3', '4'])).map(|(_, count)| count).sum::<u64>();
        Summary {
            seconds: elapsed.as_secs_f64(),
            sent: self.sent,
            unsent: self.unsent,
            failed: failed + self.unsent,
            rps: self.sent as f64 / elapsed.as_secs_f64().max(1e-9),
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
            by_status: self.by_status,
            by_route: self.by_route,
        }
    }
}

#[derive(Debug, Clone)]
struct Users {
    client: Client,
    target: Url,
    known: Arc<Mutex<VecDeque<(String, String)>>>,
    tally: Arc<Mutex<Tally>>,
    in_flight: Arc<AtomicUsize>,
}

pub(crate) async fn run(options: LoadOptions) -> anyhow::Result<()> {
    ensure!(
        !options.rate.is_empty() && options.rate.iter().all(|rate| (0.01..=100_000.0).contains(rate)),
        "--rate: expected 0.01 to 100000 requests per second"
    );
    let last_is_endless = options.seconds.is_none();
    ensure!(!last_is_endless || options.rate.len() == 1, "--seconds is needed with more than one rate");
    ensure!(options.users > 0, "--users: expected at least 1");
    let step = Duration::try_from_secs_f64(options.seconds.unwrap_or(1e9)).map_err(|_| anyhow::anyhow!("--seconds is no duration"))?;
    let users = Users {
        client: Client::builder().timeout(REQUEST_TIMEOUT).user_agent("orders-load").build()?,
        target: options.target,
        known: Arc::default(),
        tally: Arc::default(),
        in_flight: Arc::default(),
    };
    let started = Instant::now();
    let mut random = fastrand::Rng::with_seed(options.seed);
    let arrivals = async {
        for rate in &options.rate {
            users.arrive(*rate, step, options.users, &mut random).await;
        }
    };
    tokio::select! {
        () = arrivals => {}
        () = stop_signal() => {}
    }
    let elapsed = started.elapsed();
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    while users.in_flight.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let summary = std::mem::take(&mut *users.tally.lock()).summary(elapsed);
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&summary)?)?;
    Ok(())
}

impl Users {
    /// Poisson arrivals at `rate` for `time`: the gaps are exponential, as those of independent users are.
    async fn arrive(&self, rate: f64, time: Duration, users: u32, random: &mut fastrand::Rng) {
        let start = Instant::now();
        let mut due = start;
        loop {
            due += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate);
            if due.saturating_duration_since(start) > time {
                return;
            }
            tokio::time::sleep_until(due.into()).await;
            let user = format!("user-{:03}", random.u32(..users));
            let kind = Kind::pick(random.f64());
            let order = serde_json::json!({"sku": GOODS[random.usize(..GOODS.len())], "quantity": random.u32(1..=3)});
            let pick = random.f64();
            if self.in_flight.fetch_add(1, Ordering::AcqRel) >= MAX_IN_FLIGHT {
                self.in_flight.fetch_sub(1, Ordering::AcqRel);
                self.tally.lock().unsent += 1;
                continue;
            }
            self.tally.lock().sent += 1;
            let users = self.clone();
            tokio::spawn(async move {
                users.request(kind, user, order, pick, due).await;
                users.in_flight.fetch_sub(1, Ordering::AcqRel);
            });
        }
    }

    async fn request(&self, mut kind: Kind, mut user: String, order: serde_json::Value, pick: f64, due: Instant) {
        let mut known = None;
        if matches!(kind, Kind::Show | Kind::Cancel) {
            let orders = self.known.lock();
            // People change their minds about what they have just ordered, and look at anything.
            known = if kind == Kind::Cancel { orders.back().cloned() } else { orders.get((pick * orders.len() as f64) as usize).cloned() };
        }
        let path = match (kind, &known) {
            (Kind::Show, Some((id, owner))) => {
                user.clone_from(owner);
                format!("/orders/{id}")
            }
            (Kind::Cancel, Some((id, owner))) => {
                user.clone_from(owner);
                format!("/orders/{id}/cancel")
            }
            (Kind::Create, _) => "/orders".to_owned(),
            // Before the first order is known, there is nothing to look at but the list.
            _ => {
                kind = Kind::List;
                "/orders".to_owned()
            }
        };
        let method = if matches!(kind, Kind::Create | Kind::Cancel) { Method::POST } else { Method::GET };
        let Ok(url) = self.target.join(&path) else { return };
        let mut request = self.client.request(method, url).header("x-user-id", &user);
        if kind == Kind::Create {
            request = request.json(&order);
        }
        let status = match request.send().await {
            Ok(response) => {
                let status = response.status();
                let body = response.bytes().await.unwrap_or_default();
                if kind == Kind::Create && status.is_success() {
                    self.remember(&body, user);
                }
                status.as_u16().to_string()
            }
            Err(error) if error.is_timeout() => "timeout".to_owned(),
            Err(error) if error.is_connect() => "connect".to_owned(),
            Err(_) => "error".to_owned(),
        };
        self.tally.lock().answer(kind, status, due.elapsed());
    }

    fn remember(&self, body: &[u8], user: String) {
        let Ok(order) = serde_json::from_slice::<serde_json::Value>(body) else { return };
        let Some(id) = order["id"].as_str() else { return };
        let mut known = self.known.lock();
        if known.len() == MAX_KNOWN_ORDERS {
            known.pop_front();
        }
        known.push_back((id.to_owned(), user));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_as_stated() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut counts = BTreeMap::<Kind, u32>::new();
        for _ in 0..10_000 {
            *counts.entry(Kind::pick(random.f64())).or_default() += 1;
        }
        for (kind, share) in [(Kind::List, 6_000), (Kind::Show, 2_000), (Kind::Create, 1_700), (Kind::Cancel, 300)] {
            assert!(counts[&kind].abs_diff(share) < 200, "{kind:?}: {}", counts[&kind]);
        }
    }

    #[test]
    fn the_summary_counts_what_failed() {
        let mut tally = Tally { sent: 4, unsent: 1, ..Tally::default() };
        for (status, ms) in [("200", 1), ("404", 2), ("500", 3), ("timeout", 100)] {
            tally.answer(Kind::List, status.to_owned(), Duration::from_millis(ms));
        }
        let summary = tally.summary(Duration::from_secs(2));
        assert_eq!((summary.failed, summary.rps, summary.p50_ms, summary.p99_ms), (3, 2.0, 2.0, 100.0));
    }
}
