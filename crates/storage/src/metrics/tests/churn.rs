//! Series that end and new ones that come.

use super::*;

const MINUTE: i64 = 60_000;

impl Store {
    /// Retention: files of samples that are older as a whole go.
    fn expire(&mut self, cutoff: i64) {
        let old = |file: &NewFile| file.table == "samples_data" && file.time_max < cutoff * 1_000_000;
        let remove: Vec<i64> = self.files.iter().filter(|(_, file)| old(file)).map(|(id, _)| *id).collect();
        self.files.retain(|(id, _)| !remove.contains(id));
        self.table.swap(FileSwap { add: vec![], remove, drop_sealed: false });
    }

    /// Series known, after the looks that are due up to `minute` of an hour, one every ten minutes.
    fn known_after_looks(&self, minutes: std::ops::Range<i64>) -> u64 {
        for minute in minutes.step_by(10) {
            self.table.release_ended(minute * MINUTE * 1_000_000).expect("all files are read");
        }
        self.table.stats().series
    }
}

#[test]
fn ended_series_leave_memory_and_come_back_as_new_ones() {
    let mut store = Store::new(StoreOptions::new(""));
    let one = |time: i64| vec![(time, 1.0)];
    store.append(["ended", "asked", "stays", "late"].map(|name| up(name, &one(1_000))).to_vec(), vec![], true);
    store.flush();
    store.append(vec![up("stays", &one(9_000_000))], vec![], true);
    assert_eq!(store.known_after_looks(0..60), 4, "all have samples");
    store.expire(2_000);
    assert_eq!(store.known_after_looks(120..130), 4, "they are marked at first");
    // Whoever asks for a series between the looks keeps it, as do samples that were on their way.
    let numbered = number(&store.table, &[up("asked", &one(9_000_001))], vec![]);
    store.append(vec![up("late", &one(9_000_002))], vec![], true);
    assert_eq!(store.known_after_looks(130..160), 3, "one left");
    store.table.append_samples(numbered, 99, 99);
    let found = |store: &Store| -> Vec<String> { store.select(&[], i64::MIN, i64::MAX).iter().map(|(labels, _)| labels.to_string()).collect() };
    let expected = ["asked", "late", "stays"].map(|name| format!("up{{instance=\"{name}\"}}"));
    assert_eq!(found(&store), expected);
    store.append(vec![up("ended", &one(9_000_003))], vec![], true);
    assert_eq!(found(&store).len(), 4, "it is a new series now");
    store.flush();
    while store.merge(true, i64::MIN) {}
    assert_eq!(found(&store).len(), 4);
    store.log.clear();
    store.restart();
    assert_eq!((found(&store).len(), store.table.stats().series), (4, 4), "the merged table of series has not the one that left");
}

/// Prints what churn costs. With `SKOPOS_BENCH_PODS=1000` and `SKOPOS_BENCH_HOURS=12` these are the figures of the
/// performance page.
#[test]
#[allow(clippy::print_stderr, reason = "figures for whoever runs the test with --nocapture")]
fn churn_costs_in_proportion() {
    const SERIES: usize = 28;
    const RETENTION_HOURS: i64 = 2;
    let number_of = |name: &str, default: i64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (pods, hours) = (number_of("SKOPOS_BENCH_PODS", 20), number_of("SKOPOS_BENCH_HOURS", 7));
    let mut store = Store::new(StoreOptions::new(""));
    let mut rng = fastrand::Rng::with_seed(1);
    // Each pod lives for an hour; they are replaced one after another.
    let raw = |pod: i64, kind: usize| format!("pod-{pod:x}-{kind}");
    let labels = |pod: i64, kind: usize| {
        let pod_name = format!("service-{}-{pod:x}", pod % 20);
        let instance = format!("10.{}.{}.{}:8080", pod >> 16 & 255, pod >> 8 & 255, pod & 255);
        Labels::new([
            (METRIC_NAME, ["http_requests_total", "cpu_seconds_total", "memory_bytes", "queue_length"][kind % 4]),
            ("job", ["api", "shop", "mail"][pod as usize % 3]),
            ("instance", instance.as_str()),
            ("pod", pod_name.as_str()),
            ("part", ["a", "b", "c", "d", "e", "f", "g"][kind / 4]),
        ])
    };
    let (mut seq, mut known, mut memory) = (0, Vec::new(), Vec::new());
    for hour in 0..hours {
        let (mut cost, mut samples) = (0.0, 0);
        for minute in hour * 60..(hour + 1) * 60 {
            let first = pods * minute / 60;
            let (spent, count) = timed(|| {
                let mut batch = SampleBatch::default();
                {
                    let mut resolver = store.table.resolver();
                    for (pod, kind) in (first..first + pods).flat_map(|pod| (0..SERIES).map(move |kind| (pod, kind))) {
                        let id = resolver.resolve(raw(pod, kind).as_bytes(), &mut || labels(pod, kind)).expect("room");
                        batch.push(id, minute * MINUTE, f64::from(rng.u16(..)));
                    }
                }
                seq += 1;
                let count = batch.len();
                store.table.append_samples(batch, seq, minute * MINUTE * 1_000_000);
                count
            });
            (cost, samples) = (cost + spent, samples + count);
            if minute % 10 == 9 {
                store.flush();
                store.expire((minute - RETENTION_HOURS * 60) * MINUTE);
                store.table.release_ended(minute * MINUTE * 1_000_000).expect("all files are read");
            }
        }
        let stats = store.table.stats();
        known.push(stats.series);
        memory.push(stats.index_bytes);
        eprintln!(
            "hour {hour}: {} series known, {} active, labels {:.1} MB, {:.0} B a known series, {:.0} ns CPU a sample",
            stats.series,
            stats.active_series,
            stats.index_bytes as f64 / 1e6,
            stats.index_bytes as f64 / stats.series as f64,
            cost / samples as f64
        );
    }
    // New series an hour, for as long as they are kept and looked at: two hours of retention, two looks.
    let most = (pods * SERIES as i64 * (RETENTION_HOURS + 5)) as u64;
    assert!(known.iter().all(|series| *series <= most), "{known:?}, at most {most}");
    let (early, late) = (memory[memory.len() / 2], memory[memory.len() - 1]);
    assert!(late < early * 3 / 2, "{memory:?}");
}
