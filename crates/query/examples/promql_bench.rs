//! Times the metrics queries of the benchmark over series in memory: 200 pods of 100 series, 480 samples each, every
//! pod scraped at its own moments. `cargo run -p skopos-query --example promql_bench [rounds [name]]`.
//!
//! The store copies the samples it hands out; that time is measured apart and taken off.
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use skopos_model::{Exemplar, Labels, MetricMetadata};
use skopos_query::context::{QueryContext, QueryLimits};
use skopos_query::error::QueryError;
use skopos_query::metrics::{Matcher, Queryable, Select, Series};
use skopos_query::promql::{Engine, json, parse};

const PODS: usize = 200;
const SAMPLES: i64 = 480;
const STEP: i64 = 15_000;
const START: i64 = 1_795_125_600_000;

/// Pseudo-random numbers from a seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

struct Store {
    series: Vec<Series>,
    started: Instant,
}

/// CPU time of this thread where Linux tells it, else the wall clock: other work on the machine then does not count.
fn clock(started: Instant) -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|n| n.parse().ok());
    nanos.map_or_else(|| started.elapsed(), Duration::from_nanos)
}

fn build() -> Store {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut series = Vec::new();
    for pod in 0..PODS {
        let offset = i64::try_from(random.below(14_000)).unwrap_or(0);
        let jitter = |random: &mut Random| i64::try_from(random.below(3)).unwrap_or(0);
        let timestamps: Arc<[i64]> = (0..SAMPLES).map(|i| START + offset + i * STEP + jitter(&mut random)).collect();
        let base = [
            ("instance", format!("10.0.{}.{}:9090", pod / 50, pod % 50)),
            ("job", format!("service-{}", pod % 20)),
            ("namespace", format!("team-{}", pod % 5)),
            ("pod", format!("service-{}-7d9f8c6b5-{pod:05}", pod % 20)),
            ("region", format!("eu-west-{}", pod % 3)),
        ];
        let mut add = |random: &mut Random, name: &str, extra: &[(&str, String)], counter: bool| {
            let pairs = base.iter().chain(extra).map(|(n, v)| (*n, v.clone())).chain([("__name__", name.to_owned())]);
            let labels: Labels = pairs.collect();
            let mut value = random.below(1_000_000);
            let reset = if pod % 20 == 7 { i64::try_from(100 + random.below(300)).unwrap_or(0) } else { -1 };
            let next = |i: i64| {
                value = match (counter, i == reset) {
                    (true, true) => 0,
                    (true, false) => value + random.below(500),
                    (false, _) => random.below(1_000_000),
                };
                #[allow(clippy::cast_precision_loss, reason = "small numbers")]
                let float = value as f64;
                float
            };
            let values = (0..SAMPLES).map(next).collect();
            series.push(Series { labels: Arc::new(labels), timestamps: Arc::clone(&timestamps), values, ..Series::default() });
        };
        for route in 0..5 {
            for status in ["200", "404", "500", "503"] {
                let extra = [("method", "GET".to_owned()), ("route", format!("/r{route}")), ("status", status.to_owned())];
                add(&mut random, "http_requests_total", &extra, true);
            }
        }
        for route in 0..3 {
            let route = ("route", format!("/r{route}"));
            for le in ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"] {
                add(&mut random, "http_request_duration_seconds_bucket", &[route.clone(), ("le", le.to_owned())], true);
            }
            add(&mut random, "http_request_duration_seconds_sum", std::slice::from_ref(&route), true);
            add(&mut random, "http_request_duration_seconds_count", &[route], true);
        }
        add(&mut random, "network_receive_bytes_total", &[], true);
        for i in 0..37 {
            add(&mut random, &format!("process_figure_{i:02}"), &[], i % 2 == 0);
        }
    }
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Store { series, started: Instant::now() }
}

impl Queryable for Store {
    fn select(&self, select: &Select<'_>, _: &QueryContext) -> Result<Vec<Series>, QueryError> {
        let taken = self.series.iter().filter(|s| select.matchers.iter().all(|m| m.matches(s.labels.get(&m.name).unwrap_or(""))));
        Ok(taken.cloned().collect())
    }
    fn series(&self, _: &[Vec<Matcher>], _: i64, _: i64, _: usize, _: &QueryContext) -> Result<Vec<Arc<Labels>>, QueryError> {
        Ok(Vec::new())
    }
    fn label_names(&self, _: &[Vec<Matcher>], _: i64, _: i64, _: &QueryContext) -> Result<Vec<String>, QueryError> {
        Ok(Vec::new())
    }
    fn label_values(&self, _: &str, _: &[Vec<Matcher>], _: i64, _: i64, _: &QueryContext) -> Result<Vec<String>, QueryError> {
        Ok(Vec::new())
    }
    fn exemplars(&self, _: &[Vec<Matcher>], _: i64, _: i64, _: &QueryContext) -> Result<Vec<(Arc<Labels>, Vec<Exemplar>)>, QueryError> {
        Ok(Vec::new())
    }
    fn metadata(&self, _: Option<&str>) -> Vec<MetricMetadata> {
        Vec::new()
    }
}

fn main() -> Result<(), QueryError> {
    let rounds: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(15);
    let only = std::env::args().nth(2);
    let store = build();
    let engine = Engine::default();
    let end = START + SAMPLES * STEP;
    println!("{} series x {SAMPLES} samples, mean of {rounds}, CPU ms without the store's copying", store.series.len());
    let all = "{__name__=~\".+\"}";
    for (name, text, step, known) in [
        ("a", "sum(rate(http_requests_total[5m])) by (job)".to_owned(), 0, 2.4),
        ("b", "sum(rate(http_requests_total[5m])) by (job)".to_owned(), 15, 5.5),
        ("c", "histogram_quantile(0.99, sum by (le, route)(rate(http_request_duration_seconds_bucket[5m])))".to_owned(), 30, 9.3),
        ("d2", "topk(10, sum by (pod)(rate(network_receive_bytes_total[5m])))".to_owned(), 30, f64::NAN),
        ("f", format!("sum(rate({all}[5m]))"), 60, 24.5),
        (
            "f2",
            "sum(rate({__name__=~\"http_requests_total|http_request_duration_seconds_bucket|http_request_duration_seconds_count\"}[5m]))".to_owned(),
            60,
            10.5,
        ),
        ("h", format!("sum({all})"), 60, 15.4),
    ] {
        if only.as_ref().is_some_and(|o| o != name) {
            continue;
        }
        let expr = parse(&text)?;
        let (mut total, mut copying, mut bytes) = (Duration::ZERO, Duration::ZERO, 0);
        for _ in 0..rounds {
            let ctx = QueryContext::new(QueryLimits::default(), Instant::now());
            let begun = clock(store.started);
            let out =
                if step == 0 { engine.instant(&store, &expr, end, &ctx)? } else { engine.range(&store, &expr, START, end, step * 1000, &ctx)? };
            total += clock(store.started) - begun;
            let mut text = String::new();
            json::write_value(&mut text, &out.value);
            bytes = text.len();
        }
        let selectors = expr.selectors();
        for selector in (0..rounds).flat_map(|_| &selectors) {
            let ctx = QueryContext::new(QueryLimits::default(), Instant::now());
            let select = Select { matchers: &selector.matchers, start: START, end, grouping: None };
            let begun = clock(store.started);
            drop(store.select(&select, &ctx)?);
            copying += clock(store.started) - begun;
        }
        #[allow(clippy::cast_precision_loss, reason = "few rounds")]
        let ms = |d: Duration| d.as_secs_f64() * 1000.0 / rounds as f64;
        println!("{name:3} {:7.2}   copying {:6.2}   (arrays in memory: {known})   {bytes} bytes", ms(total.saturating_sub(copying)), ms(copying));
    }
    Ok(())
}
