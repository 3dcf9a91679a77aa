//! Queries over rollups against the same queries over all samples, and figures.

use skopos_model::{MetricMetadata, NativeHistogram};
use skopos_query::cardinality::Cardinality;
use skopos_query::metrics::{Series, SeriesExemplars};
use skopos_query::promql::{Engine, EngineOptions, Points, QueryOutput, Value, parse};

use super::super::rollups::{ROLLUPS, with_rollups};
use super::super::{SAMPLES, SERIES};
use super::*;

const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;
/// An hour's begin.
const BEGIN: i64 = 1_795_125_600_000;

/// The table as it is without rollups: windows are not told to it.
struct Raw<'a>(&'a MetricsTable);

impl Queryable for Raw<'_> {
    fn select(&self, select: &Select<'_>, ctx: &QueryContext) -> Result<Vec<Series>, QueryError> {
        self.0.select(select, ctx)
    }
    fn series(&self, matchers: &[Vec<Matcher>], start: i64, end: i64, limit: usize, ctx: &QueryContext) -> Result<Vec<Arc<Labels>>, QueryError> {
        self.0.series(matchers, start, end, limit, ctx)
    }
    fn label_names(&self, matchers: &[Vec<Matcher>], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<String>, QueryError> {
        self.0.label_names(matchers, start, end, ctx)
    }
    fn label_values(&self, label: &str, matchers: &[Vec<Matcher>], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<String>, QueryError> {
        self.0.label_values(label, matchers, start, end, ctx)
    }
    fn exemplars(&self, matchers: &[Vec<Matcher>], start: i64, end: i64, ctx: &QueryContext) -> Result<Vec<SeriesExemplars>, QueryError> {
        self.0.exemplars(matchers, start, end, ctx)
    }
    fn metadata(&self, family: Option<&str>) -> Vec<MetricMetadata> {
        self.0.metadata(family)
    }
    fn cardinality(&self, top: usize) -> Cardinality {
        self.0.cardinality(top)
    }
}

/// Series of many kinds, each with its own misfortunes.
const KINDS: [&str; 9] = ["steady", "restarted", "gauge", "float", "odd", "huge", "sparse", "dying", "native"];

struct Source {
    kind: &'static str,
    labels: Labels,
    offset: i64,
    value: f64,
    dead_until: i64,
    /// When it was looked at.
    times: Vec<i64>,
}

impl Source {
    fn new(kind: &'static str, number: usize, rng: &mut fastrand::Rng) -> Self {
        let labels = Labels::new([(METRIC_NAME, "m_total"), ("kind", kind), ("number", &number.to_string())]);
        Self { kind, labels, offset: rng.i64(0..MINUTE), value: 0.0, dead_until: i64::MIN, times: Vec::new() }
    }

    /// The samples of `(from, to]`, about one a minute.
    fn samples(&mut self, from: i64, to: i64, rng: &mut fastrand::Rng) -> TimeSeries {
        let mut series = TimeSeries { labels: self.labels.clone(), ..TimeSeries::default() };
        let mut time = from + 1 + (self.offset - from - 1).rem_euclid(MINUTE);
        while time <= to {
            let at = if self.kind == "steady" || rng.u8(..4) > 0 { time } else { (time + rng.i64(-200..200)).clamp(from + 1, to) };
            self.times.push(at);
            self.sample(at, rng, &mut series);
            time += MINUTE;
        }
        series.samples.sort_by_key(|(t, _)| *t);
        series.samples.dedup_by_key(|(t, _)| *t);
        series
    }

    fn sample(&mut self, time: i64, rng: &mut fastrand::Rng, out: &mut TimeSeries) {
        if time < self.dead_until {
            return;
        }
        let grown = self.value + f64::from(rng.u8(..20));
        self.value = match self.kind {
            "restarted" if rng.u16(..150) == 0 => f64::from(rng.u8(..5)),
            "gauge" => f64::from(rng.i32(-5_000..5_000)),
            "float" => rng.f64() * 2e3 - 1e3,
            "odd" => match rng.u8(..30) {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => f64::NEG_INFINITY,
                3 => -0.0,
                4 => 0.0,
                _ => f64::from(rng.i8(-3..3)),
            },
            "huge" if rng.u8(..40) == 0 => f64::MAX,
            "huge" => rng.f64() * 1e299,
            _ => grown,
        };
        if self.kind == "sparse" && rng.u8(..20) > 0 {
            return;
        }
        if self.kind == "dying" && rng.u8(..60) == 0 {
            out.samples.push((time, f64::from_bits(STALE_NAN_BITS)));
            self.dead_until = time + rng.i64(0..3 * HOUR);
            self.value = 0.0;
            return;
        }
        if self.kind == "native" && (time / HOUR) % 5 == 0 {
            out.histograms.push((time, NativeHistogram { count: self.value, sum: self.value, ..NativeHistogram::default() }));
            return;
        }
        out.samples.push((time, self.value));
    }
}

impl Store {
    /// Merges some neighbours, as a plan may ask for.
    fn merge_some(&mut self, rng: &mut fastrand::Rng, cutoff: i64) {
        let files = self.table.files_of(SAMPLES);
        if files.is_empty() {
            return;
        }
        let from = rng.usize(..files.len());
        let to = rng.usize(from + 1..=files.len().min(from + 12));
        let inputs = with_rollups(&self.table, files[from..to].to_vec());
        let new = self.table.merge(&inputs, cutoff, &self.blobs).expect("merged");
        let add = self.add(new);
        let remove: Vec<i64> = inputs.iter().map(|f| f.id).collect();
        self.files.retain(|(id, _)| !remove.contains(id));
        self.table.swap(FileSwap { add, remove, drop_sealed: false });
    }
}

fn engine() -> Engine {
    Engine::new(EngineOptions { experimental: true, ..EngineOptions::default() })
}

struct Query {
    text: String,
    start: i64,
    end: i64,
    step: i64,
}

impl Query {
    fn run(&self, source: &dyn Queryable) -> (QueryOutput, u64) {
        let expr = parse(&self.text).expect("a query");
        let ctx = ctx();
        let output = if self.start == self.end {
            engine().instant(source, &expr, self.start, &ctx)
        } else {
            engine().range(source, &expr, self.start, self.end, self.step, &ctx)
        };
        (output.expect("evaluated"), ctx.stats.snapshot().rollup_rows)
    }
}

fn points(output: QueryOutput) -> Vec<Points> {
    match output.value {
        Value::Matrix(points) => points,
        Value::Vector(samples) => samples
            .into_iter()
            .map(|s| Points {
                labels: s.labels,
                times: vec![s.time],
                values: vec![s.value],
                histograms: s.histogram.map(|h| (s.time, h)).into_iter().collect(),
            })
            .collect(),
        other => panic!("neither series nor samples: {other:?}"),
    }
}

/// Sums of floats over several hours may differ in their last digits: compensated sums are added in another order, as they
/// are when the same samples are summed at another step.
fn is_same(query: &Query, labels: &Labels, a: f64, b: f64) -> bool {
    let sums = ["sum_over_time", "avg_over_time"].iter().any(|f| query.text.contains(f));
    let is_inexact = sums && ["float", "huge", ""].contains(&labels.get("kind").unwrap_or(""));
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) || (is_inexact && (a - b).abs() <= 8.0 * f64::EPSILON * a.abs())
}

/// Compares a query with and without rollups; returns how many of their rows it read.
fn check(store: &Store, query: &Query, seed: u64) -> u64 {
    let (with, rows) = query.run(&*store.table);
    let (without, none) = query.run(&Raw(&store.table));
    assert_eq!(none, 0, "told nothing, it reads none");
    let what = format!("seed {seed}: {} from {} to {} at {}", query.text, query.start - BEGIN, query.end - BEGIN, query.step);
    assert_eq!((&with.warnings, &with.infos), (&without.warnings, &without.infos), "{what}");
    let (with, without) = (points(with), points(without));
    let labels = |all: &[Points]| all.iter().map(|p| p.labels.to_string()).collect::<Vec<_>>();
    assert_eq!(labels(&with), labels(&without), "{what}");
    for (with, without) in with.iter().zip(&without) {
        assert_eq!(with.times, without.times, "{what}: {}", with.labels);
        assert_eq!(with.histograms, without.histograms, "{what}: {}", with.labels);
        for ((time, a), b) in with.times.iter().zip(&with.values).zip(&without.values) {
            assert!(is_same(query, &with.labels, *a, *b), "{what}: {} at {}: {a:?} {b:?}", with.labels, time - BEGIN);
        }
    }
    rows
}

const OVER_WINDOWS: [&str; 19] = [
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "changes",
    "resets",
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "last_over_time",
    "first_over_time",
    "present_over_time",
    "absent_over_time",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    // Not served: from samples.
    "stddev_over_time",
];

fn random_query(rng: &mut fastrand::Rng, now: i64) -> Query {
    let function = OVER_WINDOWS[rng.usize(..OVER_WINDOWS.len())];
    let range = ["1h", "2h", "6h", "1d", "3615s", "2h60s", "90m", "5m"][rng.usize(..8)];
    let shift = ["", "", "", " offset 1h", " offset 17m", " @ 1795219200"][rng.usize(..6)];
    let text = match rng.u8(..8) {
        0 => format!("m_total{shift}"),
        1 => format!("timestamp(m_total{shift})"),
        2 => format!("sum by (kind) ({function}(m_total[{range}]{shift}))"),
        3 => format!("{function}(m_total[{range}]{shift}) + on (kind, number) m_total"),
        _ => format!("{function}(m_total[{range}]{shift})"),
    };
    let (step, unaligned) = (HOUR * rng.i64(1..4), if rng.u8(..4) == 0 { rng.i64(1..HOUR) } else { 0 });
    let end = now.div_euclid(HOUR) * HOUR + HOUR * rng.i64(-20..2) + unaligned;
    let start = if rng.u8(..4) == 0 { end } else { end - step * rng.i64(1..30) };
    Query { text, start, end, step }
}

/// Whether a query has windows of whole hours only and a function that rollups serve.
fn is_served(query: &Query) -> bool {
    let whole = ["[1h]", "[2h]", "[6h]", "[1d]"].iter().any(|r| query.text.contains(r));
    query.start % HOUR == 0
        && query.end - query.start > 24 * HOUR
        && whole
        && !query.text.contains("17m")
        && !query.text.contains("@")
        && !query.text.contains("stddev")
}

/// Days of samples with flushes, merges, late samples, restarts and an end of the retention in between.
fn compare(seed: u64) {
    let rng = &mut fastrand::Rng::with_seed(seed);
    let mut store = Store::new(StoreOptions::new(""));
    let mut sources: Vec<Source> = (0..).zip(KINDS).map(|(number, kind)| Source::new(kind, number, rng)).collect();
    let mut now = BEGIN + rng.i64(0..HOUR);
    let (mut queries, mut served) = (0, 0);
    while now < BEGIN + 54 * HOUR {
        let next = now + rng.i64(10 * MINUTE..5 * HOUR);
        let mut batch: Vec<TimeSeries> = sources.iter_mut().map(|s| s.samples(now, next, rng)).collect();
        now = next;
        if rng.u8(..6) == 0 {
            // Late ones, some of times that are taken, and a series that nobody knew.
            let at = rng.usize(..KINDS.len());
            for _ in 0..rng.usize(1..4) {
                let known = &sources[at].times;
                let time = if rng.bool() { known[rng.usize(..known.len())] } else { now - rng.i64(0..30) * HOUR - rng.i64(0..HOUR) };
                batch[at].samples.push((time, f64::from(rng.i8(..))));
            }
            sources.push(Source::new(KINDS[rng.usize(..5)], sources.len(), rng));
        }
        store.append(batch, vec![], rng.bool());
        match rng.u8(..12) {
            0..=5 => store.flush(),
            6 => store.restart(),
            _ => {}
        }
        match rng.u8(..8) {
            0..=3 => store.merge_some(rng, i64::MIN),
            4 => {
                store.merge(rng.bool(), i64::MIN);
            }
            5 => {
                let cutoff = now - 40 * HOUR + rng.i64(0..HOUR);
                store.merge_some(rng, cutoff * 1_000_000);
            }
            _ => {}
        }
        for _ in 0..2 {
            check(&store, &random_query(rng, now), seed);
        }
    }
    store.flush();
    for _ in 0..6 {
        store.merge_some(rng, i64::MIN);
    }
    for round in 0..3 {
        for _ in 0..25 {
            let query = random_query(rng, now);
            let rows = check(&store, &query, seed);
            queries += u32::from(is_served(&query));
            served += u32::from(is_served(&query) && rows > 0);
        }
        match round {
            0 => store.restart(),
            _ => while store.merge(true, i64::MIN) {},
        }
    }
    assert!(served * 3 >= queries, "seed {seed}: rollups served {served} of {queries} queries over whole hours");
}

#[test]
fn results_are_those_of_all_samples() {
    for seed in 0..16 {
        compare(seed);
    }
}

/// Series of a minute's step over whole hours, in files of `hours` each, merged so that each has a rollup.
fn regular(series: usize, hours: i64, files: i64, options: StoreOptions) -> Store {
    let mut store = Store::new(options);
    for file in 0..files {
        for part in 0..2 {
            let from = BEGIN + (file * 2 + part) * hours * HOUR / 2;
            let one = |n: usize| TimeSeries {
                labels: Labels::new([(METRIC_NAME, "m_total"), ("number", &n.to_string())]),
                samples: (1..=hours * 30).map(|i| (from + i * MINUTE, ((from - BEGIN) / MINUTE + i) as f64 * n as f64)).collect(),
                ..TimeSeries::default()
            };
            store.append((0..series).map(one).collect(), vec![], false);
            store.flush();
        }
        let files = store.table.files_of(SAMPLES);
        let inputs = with_rollups(&store.table, files[files.len() - 2..].to_vec());
        let new = store.table.merge(&inputs, i64::MIN, &store.blobs).expect("merged");
        let add = store.add(new);
        let remove: Vec<i64> = inputs.iter().map(|f| f.id).collect();
        store.files.retain(|(id, _)| !remove.contains(id));
        store.table.swap(FileSwap { add, remove, drop_sealed: false });
    }
    store
}

fn tables(store: &Store) -> (usize, usize) {
    (store.table.files_of(SAMPLES).len(), store.table.files_of(ROLLUPS).len())
}

#[test]
fn a_rollup_comes_and_goes_with_its_samples() {
    let mut store = regular(5, 4, 3, StoreOptions::new(""));
    assert_eq!(tables(&store), (3, 3));
    let query = Query { text: "sum(rate(m_total[1h]))".to_owned(), start: BEGIN + HOUR, end: BEGIN + 12 * HOUR, step: HOUR };
    assert_eq!(check(&store, &query, 0), 5 * 12, "a row for each series and hour");
    while store.merge(true, i64::MIN) {}
    assert_eq!(tables(&store), (1, 1), "one file of both");
    assert_eq!(check(&store, &query, 0), 5 * 12);
    store.restart();
    assert_eq!(check(&store, &query, 0), 5 * 12);
    // The end of the retention: half of it goes, in both.
    let files = with_rollups(&store.table, store.table.files_of(SAMPLES));
    assert_eq!(files.len(), 2);
    let (samples, rollup) = (&files[0].file, &files[1].file);
    assert_eq!((samples.time_min, samples.time_max), (rollup.time_min, rollup.time_max), "both expire at once");
    let new = store.table.merge(&files, (BEGIN + 6 * HOUR) * 1_000_000, &store.blobs).expect("merged");
    let add = store.add(new);
    store.table.swap(FileSwap { add, remove: files.iter().map(|f| f.id).collect(), drop_sealed: false });
    assert_eq!(check(&store, &query, 0), 5 * 6 + 5, "the sample at the border is of the hour before");
}

#[test]
fn a_late_sample_sends_its_series_to_the_samples() {
    let mut store = regular(5, 4, 3, StoreOptions::new(""));
    let late = |n: usize| TimeSeries {
        labels: Labels::new([(METRIC_NAME, "m_total"), ("number", &n.to_string())]),
        samples: vec![(BEGIN + 5 * HOUR + 1, 1e9)],
        ..TimeSeries::default()
    };
    store.append(vec![late(1)], vec![], false);
    for text in ["rate(m_total[1h])", "max_over_time(m_total[2h])", "count_over_time(m_total[1h])", "m_total"] {
        let query = Query { text: text.to_owned(), start: BEGIN + HOUR, end: BEGIN + 12 * HOUR, step: HOUR };
        assert!(check(&store, &query, 0) >= 5 * 12 - 5, "{text}");
    }
    let query = Query { text: "max(m_total offset 4m)".to_owned(), start: BEGIN + 5 * HOUR, end: BEGIN + 6 * HOUR, step: 4 * MINUTE };
    assert_eq!(check(&store, &query, 0), 0, "a fine step reads samples");
}

#[test]
fn files_without_a_rollup_get_one() {
    let mut store = regular(3, 4, 2, StoreOptions { rollups: false, ..StoreOptions::new("") });
    assert_eq!(tables(&store), (2, 0));
    let query = Query { text: "increase(m_total[2h])".to_owned(), start: BEGIN + 2 * HOUR, end: BEGIN + 8 * HOUR, step: HOUR };
    assert_eq!(check(&store, &query, 0), 0);
    store.options.rollups = true;
    store.restart();
    let mut merges = 0;
    while store.merge(false, i64::MIN) {
        merges += 1;
    }
    assert_eq!((tables(&store), merges), ((2, 2), 2));
    assert_eq!(check(&store, &query, 0), 3 * 8);
    // Switched off they stay, unread, until their samples are merged.
    store.options.rollups = false;
    store.restart();
    assert_eq!(check(&store, &query, 0), 0);
    while store.merge(true, i64::MIN) {}
    assert_eq!(tables(&store), (1, 0));
}

#[test]
fn a_damaged_rollup_is_set_aside_and_made_again() {
    let mut store = regular(3, 4, 2, StoreOptions::new(""));
    let query = Query { text: "sum_over_time(m_total[1h])".to_owned(), start: BEGIN + HOUR, end: BEGIN + 8 * HOUR, step: HOUR };
    assert_eq!(check(&store, &query, 0), 3 * 8);
    let path = store.table.files_of(ROLLUPS)[0].file.path.clone();
    // The first pages, which nobody has looked at before a query does.
    let mut bytes = store.blobs.0.lock()[&path].to_vec();
    bytes[4..300].fill(0xff);
    store.blobs.0.lock().insert(path, bytes.into());
    store.restart();
    assert_eq!(check(&store, &query, 0), 3 * 4, "the other file's");
    assert_eq!(tables(&store), (2, 1));
    while store.merge(false, i64::MIN) {}
    assert_eq!(tables(&store), (2, 2));
    assert_eq!(check(&store, &query, 0), 3 * 8);
}

/// CPU time of this thread where Linux tells it, milliseconds.
fn cpu(started: Instant) -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos: Option<f64> = stat.split(' ').next().and_then(|n| n.parse().ok());
    nanos.map_or_else(|| started.elapsed().as_secs_f64() * 1e3, |n| n / 1e6)
}

/// Thirty days of samples in files of eight hours. `SKOPOS_BENCH_ROLLUPS="5000 60"` (series, seconds between samples)
/// makes it large; `--nocapture` shows the figures.
#[test]
fn figures() {
    let asked = std::env::var("SKOPOS_BENCH_ROLLUPS").unwrap_or_default();
    let mut numbers = asked.split(' ').filter_map(|n| n.parse::<i64>().ok());
    let (series, interval) = (numbers.next().unwrap_or(20) as usize, numbers.next().unwrap_or(300) * 1_000);
    let started = Instant::now();
    let mut store = Store::new(StoreOptions::new(""));
    let labels = |n: usize| {
        let (pod, metric) = (n / 100, n % 100);
        Labels::new([
            (METRIC_NAME, format!("metric_{metric}_total")),
            ("instance", format!("10.0.{}.{}:9090", pod / 50, pod % 50)),
            ("job", format!("service-{}", pod % 20)),
        ])
    };
    // The same series, for merges without rollups.
    let plain = MetricsTable::new(Arc::new(store.blobs.clone()), &StoreOptions { rollups: false, ..StoreOptions::new("") });
    let number = |table: &MetricsTable, n: usize| {
        let labels = labels(n);
        table.resolver().resolve(labels.to_string().as_bytes(), &mut || labels.clone()).expect("a number")
    };
    let ids: Vec<_> = (0..series).map(|n| number(&store.table, n)).collect();
    assert_eq!(ids, (0..series).map(|n| number(&plain, n)).collect::<Vec<_>>());
    let rng = &mut fastrand::Rng::with_seed(7);
    let mut values: Vec<f64> = vec![0.0; series];
    let rounds = 8 * HOUR / interval;
    let (mut seq, mut writing, mut merging) = (0, 0.0, [0.0; 2]);
    for file in 0..90 {
        let mut batch = SampleBatch::default();
        for (n, (id, value)) in ids.iter().zip(&mut values).enumerate() {
            let offset = (n / 100) as i64 * 997 % interval;
            // A tenth are gauges, a tenth counters of seconds with many digits, the rest counts.
            for i in 0..rounds {
                *value = match n % 10 {
                    0 => f64::from(rng.u16(..10_000)) / 100.0,
                    1 => *value + rng.f64(),
                    _ => *value + f64::from(rng.u8(..40)),
                };
                batch.push(*id, BEGIN + file * 8 * HOUR + offset + i * interval + rng.i64(0..3), *value);
            }
        }
        seq += 1;
        let begun = cpu(started);
        store.table.append_samples(batch, seq, seq as i64);
        store.flush();
        writing += cpu(started) - begun;
        let files = store.table.files_of(SAMPLES);
        let inputs = files[files.len() - 1..].to_vec();
        // Written anew without and with a rollup: the difference is what it costs.
        let begun = cpu(started);
        let new = plain.merge(&inputs, i64::MIN, &store.blobs).expect("merged");
        merging[0] += cpu(started) - begun;
        new.iter().for_each(|f| store.blobs.delete(&f.path).expect("deleted"));
        let begun = cpu(started);
        let new = store.table.merge(&inputs, i64::MIN, &store.blobs).expect("merged");
        merging[1] += cpu(started) - begun;
        let add = store.add(new);
        store.files.retain(|(id, _)| *id != inputs[0].id);
        store.table.swap(FileSwap { add, remove: vec![inputs[0].id], drop_sealed: false });
        store.blobs.delete(&inputs[0].file.path).expect("deleted");
    }
    let total = (series as i64 * rounds * 90) as f64;
    let of =
        |table: &str| store.files.iter().filter(|(_, f)| f.table == table).fold((0, 0), |(rows, bytes), (_, f)| (rows + f.rows, bytes + f.bytes));
    let ((samples, bytes), (rows, rollup_bytes), (_, series_bytes)) = (of(SAMPLES), of(ROLLUPS), of(SERIES));
    assert_eq!(samples as f64, total);
    eprintln!("{series} series, {total} samples; {series_bytes} bytes of labels");
    eprintln!(
        "samples {:.3} B each; rollups {rows} rows of {:.1} B, {:.1} % more",
        bytes as f64 / total,
        rollup_bytes as f64 / rows as f64,
        rollup_bytes as f64 / bytes as f64 * 100.0
    );
    let ns = |ms: f64| ms * 1e6 / total;
    eprintln!("ns a sample: append and flush {:.1}, merge {:.1}, with a rollup {:.1}", ns(writing), ns(merging[0]), ns(merging[1]));
    let end = BEGIN + 30 * 24 * HOUR;
    let queries = [
        "sum by (job) (rate({__name__=~\"metric_.*\"}[1h]))",
        "sum by (job) (rate({__name__=~\"metric_.*\"}[3615s]))",
        "sum by (job) ({__name__=~\"metric_.*\"})",
        "max by (job) (max_over_time({__name__=~\"metric_.*\"}[1h]))",
        "sum by (job) (avg_over_time({__name__=~\"metric_.*\"}[1h]))",
        "sum by (job) (rate({__name__=~\"metric_.*\"}[1d]))",
        "rate(metric_3_total{instance=\"10.0.0.0:9090\"}[1h])",
    ];
    for text in queries {
        let expr = parse(text).expect("a query");
        let time = |source: &dyn Queryable| {
            let ctx = QueryContext::new(QueryLimits { samples_max: u64::MAX, timeout: Duration::from_secs(3600), ..QueryLimits::default() }, started);
            let begun = cpu(started);
            engine().range(source, &expr, BEGIN + 24 * HOUR, end, HOUR, &ctx).expect("evaluated");
            (cpu(started) - begun, ctx.stats.snapshot())
        };
        time(&*store.table);
        let ((with, stats), (without, raw)) = (time(&*store.table), time(&Raw(&store.table)));
        eprintln!(
            "{text}: {with:.1} ms ({} rows, {} B) instead of {without:.0} ms ({} rows, {} B)",
            stats.rollup_rows, stats.bytes_scanned, raw.rows_scanned, raw.bytes_scanned
        );
        assert!(stats.rollup_rows > 0, "{text}");
    }
}
