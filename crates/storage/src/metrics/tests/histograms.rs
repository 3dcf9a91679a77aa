//! Native histograms and start timestamps against a naive model.

use skopos_model::{Buckets, CounterReset, NativeHistogram};

use super::*;

type HistogramModel = BTreeMap<u8, BTreeMap<i64, NativeHistogram>>;

fn labels(series: u8) -> Labels {
    Labels::new([(METRIC_NAME, "latency"), ("pod", &format!("p{series}"))])
}

fn random_buckets(rng: &mut fastrand::Rng) -> Buckets {
    let mut buckets = Buckets::default();
    let mut index = rng.i32(-50..50);
    for _ in 0..rng.usize(..6) {
        buckets.push(index, f64::from(rng.u16(1..)));
        index += rng.i32(1..9);
    }
    buckets
}

fn random_histogram(rng: &mut fastrand::Rng) -> NativeHistogram {
    let counter_reset = rng.choice([CounterReset::Unknown, CounterReset::Reset, CounterReset::NotReset, CounterReset::Gauge]).expect("four");
    let count = f64::from(rng.u32(..));
    let sum = rng.f64() * 1e3;
    match rng.u8(..10) {
        0 => NativeHistogram::stale(),
        1..4 => NativeHistogram {
            schema: skopos_model::histogram::CUSTOM_SCHEMA,
            counter_reset,
            count,
            sum,
            positive: Buckets { indexes: vec![0, 3], counts: vec![1.0, count] },
            custom_bounds: vec![0.1, 0.5, 1.0, 2.5],
            ..NativeHistogram::default()
        },
        _ => NativeHistogram {
            schema: rng.i8(-4..9),
            counter_reset,
            zero_threshold: 0.001,
            zero_count: f64::from(rng.u8(..)),
            count,
            sum,
            positive: random_buckets(rng),
            negative: random_buckets(rng),
            ..NativeHistogram::default()
        },
    }
}

/// Staleness markers are NaN and not equal to themselves.
fn text(histogram: &NativeHistogram) -> String {
    format!("{histogram:?} {:x}", histogram.sum.to_bits())
}

fn check(store: &Store, model: &HistogramModel, start: i64, end: i64, seed: u64) {
    let matchers = [Matcher::equal(METRIC_NAME, "latency")];
    let found = store.table.select(&Select { matchers: &matchers, start, end, grouping: None }, &ctx()).expect("selected");
    let found: Vec<(Labels, Vec<(i64, String)>)> =
        found.iter().map(|s| ((*s.labels).clone(), s.histograms.iter().map(|(t, h)| (*t, text(h))).collect())).collect();
    let in_range = |rows: &BTreeMap<i64, NativeHistogram>| rows.range(start..=end).map(|(t, h)| (*t, text(h))).collect::<Vec<_>>();
    let expected: Vec<_> = model.iter().map(|(id, rows)| (labels(*id), in_range(rows))).filter(|(_, rows)| !rows.is_empty()).collect();
    assert_eq!(found, expected, "seed {seed}, {start}..={end}");
    let names = store.table.series(&[matchers.to_vec()], start, end, 100, &ctx()).expect("series");
    // Told by first and last times alone, so a gap counts; what has rows is always there.
    assert!(expected.iter().all(|(labels, _)| names.iter().any(|n| **n == *labels)), "seed {seed}");
}

fn simulate(seed: u64) {
    let rng = &mut fastrand::Rng::with_seed(seed);
    let mut store = Store::new(StoreOptions::new(""));
    let mut model = HistogramModel::new();
    let mut clock = 1_795_125_600_000i64;
    for _ in 0..60 {
        match rng.u8(..12) {
            0..6 => {
                clock += 15_000;
                let batch: Vec<TimeSeries> = (0..rng.u8(1..4))
                    .map(|_| {
                        let series = rng.u8(..6);
                        let rows: Vec<(i64, NativeHistogram)> =
                            (0..rng.usize(1..4)).map(|_| (clock - 15_000 * rng.i64(0..4), random_histogram(rng))).collect();
                        for (time, histogram) in &rows {
                            model.entry(series).or_default().entry(*time).or_insert_with(|| histogram.clone());
                        }
                        TimeSeries { labels: labels(series), histograms: rows, ..TimeSeries::default() }
                    })
                    .collect();
                store.append(batch, vec![], rng.bool());
            }
            6..8 => store.flush(),
            8 => while store.merge(false, i64::MIN) {},
            9 => while store.merge(true, i64::MIN) {},
            10 => store.restart(),
            _ => {
                let end = clock - rng.i64(0..60_000);
                check(&store, &model, end - rng.i64(0..300_000), end, seed);
            }
        }
    }
    check(&store, &model, i64::MIN, i64::MAX, seed);
}

#[test]
fn histograms_are_those_of_the_model() {
    (0..40).for_each(simulate);
}

#[test]
fn a_time_has_one_sample_and_starts_survive() {
    let mut store = Store::new(StoreOptions::new(""));
    let histogram = NativeHistogram { count: 1.0, ..NativeHistogram::default() };
    let series = |t: i64, start: i64| TimeSeries {
        samples: vec![(t, 1.0)],
        histograms: vec![(t, histogram.clone()), (t + 1, histogram.clone())],
        starts: vec![(t, start)],
        labels: labels(1),
        ..TimeSeries::default()
    };
    for (t, start) in [(1_000, 500), (2_000, 500), (3_000, 2_500)] {
        store.append(vec![series(t, start)], vec![], true);
        store.flush();
    }
    let check = |store: &Store| {
        let matchers = [Matcher::equal("pod", "p1")];
        let found = store.table.select(&Select { matchers: &matchers, start: 1_500, end: 9_000, grouping: None }, &ctx()).expect("selected");
        assert_eq!(found[0].timestamps[..], [2_000, 3_000]);
        assert_eq!(found[0].histograms.iter().map(|(t, _)| *t).collect::<Vec<_>>(), [2_001, 3_001]);
        assert_eq!(found[0].starts, [(1_000, 500), (3_000, 2_500)], "what held before, and the change");
    };
    check(&store);
    while store.merge(true, i64::MIN) {}
    check(&store);
    store.restart();
    check(&store);
}

#[test]
fn a_damaged_file_is_set_aside() {
    let mut store = Store::new(StoreOptions::new(""));
    let rows = (0..50).map(|t| (t * 1_000, NativeHistogram { count: t as f64, ..NativeHistogram::default() })).collect();
    store.append(vec![TimeSeries { labels: labels(1), histograms: rows, ..TimeSeries::default() }], vec![], true);
    store.flush();
    let path = store.files.iter().find(|(_, f)| f.table == super::super::HISTOGRAMS).expect("a file").1.path.clone();
    let good = store.blobs.0.lock()[&path].clone();
    for at in (4..good.len()).step_by(37) {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0x55;
        store.blobs.0.lock().insert(path.clone(), bytes.into());
        store.restart();
        let select = Select { matchers: &[], start: 0, end: i64::MAX, grouping: None };
        let found = store.table.select(&select, &ctx()).expect("the rest is served");
        assert!(found.iter().map(|s| s.histograms.len()).sum::<usize>() <= 50, "byte {at}");
    }
}

#[test]
fn appends_and_reads_do_not_wait_for_each_other_for_ever() {
    let store = Store::new(StoreOptions::new(""));
    let (done, ended) = std::sync::mpsc::channel();
    let series = |round: i64| TimeSeries {
        labels: labels((round % 50) as u8),
        samples: vec![(round * 1_000, 1.0)],
        starts: vec![(round * 1_000, round)],
        ..TimeSeries::default()
    };
    let spawn = |work: Box<dyn Fn(&MetricsTable, i64) + Send>| {
        let (table, done) = (Arc::clone(&store.table), done.clone());
        std::thread::spawn(move || {
            (1..3_000).for_each(|round| work(&table, round));
            // Whoever waits has given up only when the test has failed already.
            let _ = done.send(());
        });
    };
    spawn(Box::new(move |table, round| drop(table.append_series(vec![series(round)], vec![], round as u64, round))));
    spawn(Box::new(move |table, round| {
        let batch = number(table, &[series(round)], vec![]);
        table.append_samples(batch, round as u64, round);
    }));
    for _ in 0..2 {
        spawn(Box::new(|table, _| {
            let found = table.select(&Select { matchers: &[], start: 0, end: i64::MAX, grouping: None }, &ctx()).expect("selected");
            assert!(found.len() <= 50);
            assert!(table.stats().series <= 50 && table.count_series(3).series <= 50);
        }));
    }
    for _ in 0..4 {
        ended.recv_timeout(Duration::from_secs(120)).expect("each thread comes to its end: nobody waits for somebody who waits");
    }
}
