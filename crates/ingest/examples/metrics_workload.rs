//! Writes remote-write bodies of a workload that the table layout was not chosen on: targets scraped at moments of
//! their own with jitter, pods that come and go, floats of full precision, native histograms.
//!
//! `cargo run --release -p skopos-ingest --example metrics_workload -- OUT [--series N] [--hours H] [--step SECONDS]
//! [--jitter MILLISECONDS] [--churn SHARE_AN_HOUR] [--floats SHARE] [--histograms SHARE] [--seed N]`
//!
//! Writes `OUT.frames` (each body after its length, its stream and its rows, 4 bytes each) for the replayer of the
//! side-by-side bench, and `OUT.manifest.json` with the times for its queries.
#![allow(clippy::print_stdout, clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a generator")]

use std::io::Write;

use fastrand::Rng;
use skopos_ingest::remote_write::encode_v2;
use skopos_model::{Buckets, Labels, NativeHistogram, TimeSeries};

/// Series of a pod.
const PER_POD: usize = 25;

/// Samples of a request.
const BATCH: usize = 2000;

/// The end of the data, as the side-by-side bench has it by default, Unix milliseconds.
const END_MS: i64 = 1_795_132_800_000;

struct Options {
    out: String,
    series: usize,
    hours: f64,
    step: i64,
    jitter: i64,
    churn: f64,
    floats: f64,
    histograms: f64,
    seed: u64,
}

fn options() -> Result<Options, String> {
    let mut args = std::env::args().skip(1);
    let out = args.next().ok_or("where to write: OUT")?;
    let mut o = Options { out, series: 5000, hours: 24.0, step: 15, jitter: 400, churn: 0.05, floats: 0.3, histograms: 0.04, seed: 1 };
    while let Some(key) = args.next() {
        let value = args.next().ok_or_else(|| format!("{key} needs a value"))?;
        let number = || value.parse::<f64>().map_err(|e| format!("{key} {value}: {e}"));
        match key.as_str() {
            "--series" => o.series = number()? as usize,
            "--hours" => o.hours = number()?,
            "--step" => o.step = number()? as i64,
            "--jitter" => o.jitter = number()? as i64,
            "--churn" => o.churn = number()?,
            "--floats" => o.floats = number()?,
            "--histograms" => o.histograms = number()?,
            "--seed" => o.seed = number()? as u64,
            _ => return Err(format!("unknown option {key}")),
        }
    }
    Ok(o)
}

/// What a series measures.
enum Kind {
    Counter(f64),
    Decimal(f64),
    Full(f64),
    Histogram(NativeHistogram),
}

struct Pod {
    /// When in each step it is scraped, milliseconds.
    offset: i64,
    series: Vec<(Labels, Kind)>,
}

fn pod(number: usize, o: &Options, rng: &mut Rng) -> Pod {
    let job = format!("job-{}", number % 20);
    let name = format!("pod-{:08x}", rng.u32(..));
    let floats = (o.floats * PER_POD as f64).round() as usize;
    let histograms = (o.histograms * PER_POD as f64).round() as usize;
    let offset = rng.i64(0..o.step * 1000);
    let series = (0..PER_POD).map(|i| {
        let (metric, kind) = if i < floats {
            (format!("signal_{i}_ratio"), Kind::Full(rng.f64()))
        } else if i < floats + histograms {
            (format!("latency_{i}_seconds"), Kind::Histogram(NativeHistogram { schema: 3, zero_threshold: 1e-9, ..NativeHistogram::default() }))
        } else if i % 3 == 0 {
            (format!("queue_{i}_length"), Kind::Decimal((rng.u32(..100_000) as f64) / 100.0))
        } else {
            (format!("work_{i}_total"), Kind::Counter(rng.u32(..1_000_000) as f64))
        };
        let labels = [
            ("__name__", metric.as_str()),
            ("cluster", "eu-1"),
            ("instance", &format!("10.{}.{}.{}:8080", number / 65_536, number / 256 % 256, number % 256)),
            ("job", &job),
            ("namespace", "shop"),
            ("pod", &name),
            ("region", if number.is_multiple_of(2) { "north" } else { "south" }),
        ];
        (Labels::new(labels), kind)
    });
    Pod { offset, series: series.collect() }
}

/// Some observations more.
fn observe(h: &mut NativeHistogram, rng: &mut Rng) {
    for _ in 0..rng.u32(1..20) {
        // About log-normal: most of the buckets are in the middle.
        let index = (0..6).map(|_| rng.i32(0..8)).sum::<i32>() - 40;
        let at = h.positive.indexes.partition_point(|i| *i < index);
        let Buckets { indexes, counts } = &mut h.positive;
        if indexes.get(at) == Some(&index) {
            counts[at] += 1.0;
        } else {
            indexes.insert(at, index);
            counts.insert(at, 1.0);
        }
        h.count += 1.0;
        h.sum += (f64::from(index) / 8.0).exp2();
    }
}

fn scrape(pod: &mut Pod, time: i64, rng: &mut Rng, out: &mut Vec<TimeSeries>) {
    for (labels, kind) in &mut pod.series {
        let mut one = TimeSeries { labels: labels.clone(), ..TimeSeries::default() };
        match kind {
            Kind::Counter(v) => *v += f64::from(rng.u32(..300)),
            Kind::Decimal(v) => *v = ((*v * 100.0).round() + f64::from(rng.i32(-400..=400))) / 100.0,
            Kind::Full(v) => *v = (*v + rng.f64() * 0.01).fract(),
            Kind::Histogram(h) => observe(h, rng),
        }
        match kind {
            Kind::Counter(v) | Kind::Decimal(v) | Kind::Full(v) => one.samples.push((time, *v)),
            Kind::Histogram(h) => one.histograms.push((time, h.clone())),
        }
        out.push(one);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let o = options()?;
    let mut rng = Rng::with_seed(o.seed);
    let mut made = o.series.div_ceil(PER_POD);
    let mut pods: Vec<Pod> = (0..made).map(|i| pod(i, &o, &mut rng)).collect();
    let steps = (o.hours * 3600.0) as i64 / o.step;
    let start = END_MS - steps * o.step * 1000;
    let mut file = std::io::BufWriter::new(std::fs::File::create(format!("{}.frames", o.out))?);
    let (mut pending, mut rows, mut bytes, mut replaced) = (Vec::new(), 0u64, 0u64, 0.0);
    let mut write = |pending: &mut Vec<TimeSeries>| -> std::io::Result<()> {
        let body = encode_v2(pending, &[]);
        for number in [body.len(), 0, pending.len()] {
            file.write_all(&(number as u32).to_le_bytes())?;
        }
        file.write_all(&body)?;
        rows += pending.len() as u64;
        bytes += body.len() as u64;
        pending.clear();
        Ok(())
    };
    for step in 0..steps {
        // In the order of their moments, as targets are scraped.
        pods.sort_by_key(|p| p.offset);
        for pod in &mut pods {
            let time = start + step * o.step * 1000 + pod.offset + rng.i64(-o.jitter..=o.jitter);
            scrape(pod, time, &mut rng, &mut pending);
            if pending.len() >= BATCH {
                write(&mut pending)?;
            }
        }
        replaced += o.churn * pods.len() as f64 * o.step as f64 / 3600.0;
        while replaced >= 1.0 {
            replaced -= 1.0;
            let at = rng.usize(..pods.len());
            pods[at] = pod(made, &o, &mut rng);
            made += 1;
        }
    }
    if !pending.is_empty() {
        write(&mut pending)?;
    }
    file.flush()?;
    let manifest = serde_json::json!({
        "kind": "metrics", "seed": o.seed, "rows": rows, "series": made * PER_POD, "sent_bytes": bytes,
        "start_s": (END_MS - 7_200_000) / 1000, "end_s": END_MS / 1000, "step_s": o.step,
        "start_ns": (END_MS - 7_200_000) * 1_000_000, "end_ns": END_MS * 1_000_000,
        "job": "job-1", "pod": pods[0].series[0].0.get("pod"),
    });
    std::fs::write(format!("{}.manifest.json", o.out), manifest.to_string())?;
    println!("{manifest}");
    Ok(())
}
