//! Prints CPU nanoseconds a row for each decoder, over request bodies of the side-by-side bench.
//!
//! `cargo run -p skopos-ingest --example decode_bench -- <folder with *.frames> [one of them]`
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use skopos_ingest::derive::SpanMetrics;
use skopos_ingest::{Cache, Context, Protocol, decode};
use skopos_model::{Batch, IngestLimits, Labels, SeriesId, SeriesResolver};
use xxhash_rust::xxh3::xxh3_64;

const ROUNDS: usize = 7;

/// Request bodies with their numbers of rows: length, stream, rows (each 4 bytes), body.
fn frames(path: &Path) -> Option<Vec<(Vec<u8>, usize)>> {
    let data = std::fs::read(path).ok()?;
    let mut rest = &data[..];
    let mut frames = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<12>() {
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        frames.push((tail.get(..number(0))?.to_vec(), number(8)));
        rest = &tail[number(0)..];
    }
    Some(frames)
}

/// Numbers series as the store does: the successor of the last series is compared first, a table stands behind.
#[derive(Default)]
struct Predicting {
    table: HashMap<u64, u32>,
    raw: Vec<Box<[u8]>>,
    next: Vec<u32>,
    last: u32,
}

impl SeriesResolver for Predicting {
    fn resolve(&mut self, raw: &[u8], parse: &mut dyn FnMut() -> Labels) -> Option<SeriesId> {
        if let Some(&next) = self.next.get(self.last as usize)
            && let Some(known) = self.raw.get(next as usize)
            && **known == *raw
        {
            self.last = next;
            return Some(SeriesId(next));
        }
        let id = match self.table.get(&xxh3_64(raw)) {
            Some(id) => *id,
            None => {
                if parse().is_empty() {
                    return None;
                }
                let id = self.raw.len() as u32;
                self.raw.push(raw.into());
                self.next.push(u32::MAX);
                self.table.insert(xxh3_64(raw), id);
                id
            }
        };
        self.next[self.last as usize] = id;
        self.last = id;
        Some(SeriesId(id))
    }
}

/// CPU time of this process, nanoseconds; the wall clock where the system does not tell.
fn cpu_nanos(start: Instant) -> u64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").ok();
    stat.and_then(|s| s.split_whitespace().next()?.parse().ok()).unwrap_or_else(|| start.elapsed().as_nanos() as u64)
}

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "data".to_owned());
    let limits = IngestLimits::default();
    let cache = Cache::default();
    let ctx = Context::new(&limits, 0, &cache);
    for (file, protocol) in
        [("logs", Protocol::OtlpLogs), ("traces", Protocol::OtlpTraces), ("metrics", Protocol::RemoteWrite), ("otlp-metrics", Protocol::OtlpMetrics)]
    {
        if std::env::args().nth(2).is_some_and(|only| only != file) {
            continue;
        }
        let Some(frames) = frames(&Path::new(&folder).join(format!("{file}.frames"))) else {
            println!("{file:14} no file");
            continue;
        };
        let mut resolver = Predicting::default();
        let start = Instant::now();
        let mut spans = Vec::new();
        let (mut best, mut rows, mut refused) = (f64::INFINITY, 0, 0);
        for _ in 0..ROUNDS {
            (rows, refused) = (0, 0);
            let before = cpu_nanos(start);
            spans.clear();
            for (body, _) in &frames {
                match decode(protocol, body, "", &ctx, &mut resolver) {
                    Ok(decoded) => {
                        rows += decoded.batch.rows();
                        refused += decoded.rejected_count();
                        if let Batch::Spans(batch) = decoded.batch {
                            spans.push(batch);
                        }
                    }
                    Err(error) => println!("{file}: {error}"),
                }
            }
            best = f64::min(best, (cpu_nanos(start) - before) as f64 / rows.max(1) as f64);
        }
        let stated: usize = frames.iter().map(|(_, rows)| rows).sum();
        println!("{file:14} {best:7.1} ns/row   {rows} rows ({stated} stated, {refused} refused) in {} bodies", frames.len());
        if !spans.is_empty() {
            let mut span_metrics = SpanMetrics::default();
            let before = cpu_nanos(start);
            for _ in 0..ROUNDS {
                spans.iter().for_each(|batch| span_metrics.observe(batch));
            }
            let each = (cpu_nanos(start) - before) as f64 / (rows * ROUNDS) as f64;
            println!("{:14} {each:7.1} ns/row   span metrics, {} keys", "", span_metrics.keys());
        }
    }
}
