//! Two hours of the demo service that the compliance queries ask for: three instances, scraped every five seconds.
//!
//! No sample lies on a whole second, so that no border of a range or of the look-back meets one: whether borders belong
//! to a range has changed with Prometheus 3.

use crate::write_request::{Metadata, Sample, TimeSeries, WriteRequest, labels};

/// Time of the first scrape, Unix milliseconds: 14 November 2023, 22:13:20 UTC.
pub(super) const START_MS: i64 = 1_700_000_000_000;
/// Pause between scrapes.
const INTERVAL_MS: i64 = 5_000;
/// Scrapes of each instance.
const SCRAPES: i64 = 1_440;
/// Scrapes in one request, as a sender's queue would have them.
const SCRAPES_OF_REQUEST: i64 = 60;
/// What ends a series: a NaN of its own.
const STALE: u64 = 0x7ff0_0000_0000_0002;
/// Milliseconds after the first instance's round at which each is asked; never a whole second, with jitter or without.
const PHASES_MS: [i64; 3] = [337, 1_890, 3_411];
const BOUNDS: [&str; 9] = ["0.0001", "0.001", "0.005", "0.01", "0.05", "0.1", "0.5", "1", "+Inf"];

/// All of it, oldest first.
pub(super) fn requests() -> Vec<WriteRequest> {
    let mut dice = fastrand::Rng::with_seed(7);
    let mut instances: Vec<Instance> = (0..3).map(|number| Instance::new(number, &mut dice)).collect();
    let mut requests = Vec::new();
    for first in (0..SCRAPES).step_by(SCRAPES_OF_REQUEST as usize) {
        let mut request = WriteRequest::default();
        for instance in &mut instances {
            let mut series: Vec<TimeSeries> = Vec::new();
            for scrape in first..first + SCRAPES_OF_REQUEST {
                instance.live(scrape, &mut dice);
                let at = START_MS + scrape * INTERVAL_MS + PHASES_MS[instance.number] + dice.i64(0..40);
                // The same series in the same order each time; the one that comes and goes is the last.
                for (place, (labels, value)) in instance.exposed(scrape).into_iter().enumerate() {
                    if place == series.len() {
                        series.push(TimeSeries { labels: labels.clone(), ..TimeSeries::default() });
                    }
                    assert!(series[place].labels == labels, "series {place} is another one than before");
                    series[place].samples.push(Sample { value, timestamp: at });
                }
            }
            request.timeseries.extend(series);
        }
        requests.push(request);
    }
    let metadata = |kind, family: &str, help: &str| Metadata { kind, family: family.to_owned(), help: help.to_owned() };
    requests[0].metadata = vec![
        metadata(1, "demo_cpu_usage_seconds_total", "Time in each mode."),
        metadata(2, "demo_memory_usage_bytes", "Memory by its use."),
        metadata(3, "demo_api_request_duration_seconds", "Latency."),
    ];
    requests
}

/// One process of the service, at a moment.
struct Instance {
    number: usize,
    address: String,
    memory: [f64; 4],
    disk: f64,
    cpu: [f64; 3],
    batch: f64,
    /// Of each route: how many requests fell in each bucket, and their time.
    routes: [(Vec<f64>, f64); 3],
}

const ROUTES: [(&str, &str, &str); 3] = [("GET", "/api/foo", "200"), ("GET", "/api/bar", "200"), ("POST", "/api/bar", "500")];

impl Instance {
    fn new(number: usize, dice: &mut fastrand::Rng) -> Self {
        Self {
            number,
            address: format!("demo.promlabs.com:{}", 10_000 + number),
            memory: [0.5, 2.1, 3.7, 1.4].map(|share| 1e9 * (share + dice.f64())),
            disk: 3e11 * (1.0 + dice.f64()),
            cpu: [0.0; 3],
            batch: START_MS as f64 / 1e3 - 400.0,
            routes: std::array::from_fn(|_| (vec![0.0; BOUNDS.len()], 0.0)),
        }
    }

    /// Lives on to a scrape.
    fn live(&mut self, scrape: i64, dice: &mut fastrand::Rng) {
        for memory in &mut self.memory {
            *memory = (*memory * (1.0 + (dice.f64() - 0.5) / 50.0)).round();
        }
        self.disk += (dice.f64() * 1e6).round();
        // A restart each, at different times: counters begin anew.
        if scrape == 900 + 130 * self.number as i64 {
            self.cpu = [0.0; 3];
            self.routes = std::array::from_fn(|_| (vec![0.0; BOUNDS.len()], 0.0));
        }
        for (mode, share) in self.cpu.iter_mut().zip([3.1, 0.4, 1.5]) {
            *mode += share * (0.8 + 0.4 * dice.f64());
        }
        if scrape % 61 == 0 {
            self.batch = (START_MS + scrape * INTERVAL_MS) as f64 / 1e3 - dice.f64();
        }
        for (weight, (buckets, sum)) in [40, 25, 3].into_iter().zip(&mut self.routes) {
            for _ in 0..dice.i32(0..weight) {
                let bucket = ((dice.f64() + dice.f64()) / 2.0 * BOUNDS.len() as f64) as usize;
                buckets[bucket] += 1.0;
                *sum += BOUNDS[bucket].parse::<f64>().expect("a bound").min(2.0) * 0.7;
            }
        }
    }

    fn exposed(&self, scrape: i64) -> Vec<(Vec<crate::write_request::Label>, f64)> {
        let mut out = Vec::new();
        let mut add = |name: &str, own: &[(&str, &str)], value: f64| {
            let mut all = vec![("__name__", name), ("instance", &*self.address), ("job", "demo")];
            all.extend(own);
            all.sort_unstable();
            out.push((labels(&all), value));
        };
        for (kind, value) in ["buffers", "cached", "free", "used"].into_iter().zip(self.memory) {
            add("demo_memory_usage_bytes", &[("type", kind)], value);
        }
        add("demo_num_cpus", &[], [4.0, 8.0, 4.0][self.number]);
        add("demo_disk_usage_bytes", &[], self.disk);
        add("demo_disk_total_bytes", &[], 1e12);
        for (mode, value) in ["idle", "system", "user"].into_iter().zip(self.cpu) {
            add("demo_cpu_usage_seconds_total", &[("mode", mode)], value);
        }
        add("demo_batch_last_success_timestamp_seconds", &[], self.batch);
        for ((method, path, status), (buckets, sum)) in ROUTES.into_iter().zip(&self.routes) {
            let mut count = 0.0;
            for (bound, observed) in BOUNDS.into_iter().zip(buckets) {
                count += observed;
                add("demo_api_request_duration_seconds_bucket", &[("le", bound), ("method", method), ("path", path), ("status", status)], count);
            }
            add("demo_api_request_duration_seconds_count", &[("method", method), ("path", path), ("status", status)], count);
            add("demo_api_request_duration_seconds_sum", &[("method", method), ("path", path), ("status", status)], *sum);
        }
        // There for two minutes, ended as a scrape ends what it no longer finds, and away for one.
        match scrape % 36 {
            0..24 => add("demo_intermittent_metric", &[], 1.0),
            24 => add("demo_intermittent_metric", &[], f64::from_bits(STALE)),
            _ => {}
        }
        out
    }
}
