//! The store over its real tables.

mod crash;
mod duckdb;
mod simulation;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use skopos_model::{Labels, LogBatch, Resource, Scope, SpanBatch, SpanId, TimeSeries, TraceId};
use skopos_query::filter::Filter;
use skopos_query::metrics::{Matcher, Select};
use skopos_query::{QueryContext, QueryLimits, TimeRange};

use super::*;
use crate::record::{Encoding, Protocol};
use crate::scan::Scan;

/// 2026-11-21 12:00 UTC.
const NOON: i64 = 1_795_262_400_000_000_000;

const SECOND: i64 = 1_000_000_000;

const SIGNALS: [Signal; 3] = [Signal::Logs, Signal::Traces, Signal::Metrics];

/// Reads logged batches.
#[derive(Debug)]
struct BatchDecoder;

impl WalDecoder for BatchDecoder {
    fn decode(&self, payload: &WalPayload, _series: &mut dyn SeriesResolver) -> Result<Batch, String> {
        Batch::from_bytes(&payload.body).map_err(|e| e.to_string())
    }
}

fn context() -> QueryContext {
    QueryContext::new(QueryLimits { rows_max: u64::MAX, ..QueryLimits::default() }, Instant::now())
}

/// Row `number` of a signal: its time follows from its number.
fn batch(signal: Signal, numbers: &[u64]) -> Batch {
    let time = |n: u64| NOON + n as i64 * SECOND / 10;
    let resource = Arc::new(Resource::new(Vec::new()));
    match signal {
        Signal::Logs => {
            let mut batch = LogBatch { resources: vec![resource], scopes: vec![Arc::new(Scope::default())], ..LogBatch::default() };
            for (row, n) in numbers.iter().enumerate() {
                batch.time.push(time(*n));
                batch.observed.push(time(*n));
                batch.severity_number.push(9);
                batch.severity_text.push("INFO");
                batch.body.push(&format!("row {n}"));
                batch.trace_id.push(TraceId(u128::from(*n + 1).to_be_bytes()));
                batch.span_id.push(SpanId((*n + 1).to_be_bytes()));
                batch.flags.push(1);
                batch.event_name.push("");
                batch.resource.push(0);
                batch.scope.push(0);
                batch.attributes.push_str(row as u32, "kind", if n % 3 == 0 { "fizz" } else { "plain" });
            }
            Batch::Logs(batch)
        }
        Signal::Traces => {
            let mut batch = SpanBatch { resources: vec![resource], scopes: vec![Arc::new(Scope::default())], ..SpanBatch::default() };
            for (row, n) in numbers.iter().enumerate() {
                batch.trace_id.push(TraceId(u128::from(*n / 3 + 1).to_be_bytes()));
                batch.span_id.push(SpanId((*n + 1).to_be_bytes()));
                batch.parent_span_id.push(SpanId::NONE);
                batch.trace_state.push("");
                batch.flags.push(1);
                batch.name.push(&format!("row {n}"));
                batch.kind.push(2);
                batch.start.push(time(*n));
                batch.duration.push(1_000_000);
                batch.status_code.push(1);
                batch.status_message.push("");
                batch.events.push("");
                batch.links.push("");
                batch.resource.push(0);
                batch.scope.push(0);
                batch.attributes.push_int(row as u32, "n", *n as i64);
            }
            Batch::Spans(batch)
        }
        Signal::Metrics => {
            let one = |n: &u64| TimeSeries {
                labels: Labels::new([("__name__", "rows"), ("rest", &(n % 50).to_string())]),
                samples: vec![(time(*n) / 1_000_000, *n as f64)],
                ..TimeSeries::default()
            };
            Batch::Series(numbers.iter().map(one).collect(), Vec::new())
        }
    }
}

async fn append(store: &Store, signal: Signal, numbers: &[u64]) -> Result<(), AppendError> {
    append_batch(store, batch(signal, numbers)).await
}

async fn append_batch(store: &Store, batch: Batch) -> Result<(), AppendError> {
    let payload = WalPayload {
        protocol: Protocol::Batch,
        encoding: Encoding::Identity,
        signal: batch.signal(),
        received: NOON,
        tenant: 0,
        config_version: 0,
        context: String::new(),
        body: batch.to_bytes().expect("these batches can be logged").into(),
    };
    store.append(payload, batch).await.map(drop)
}

/// The numbers of all rows of a signal, wherever they are, sorted.
fn numbers(store: &Store, signal: Signal) -> Vec<u64> {
    let mut found = Vec::new();
    let mut texts = |scan: &dyn Scan, column: &str| {
        scan.scan(&[column], &Filter::all(), TimeRange::ALL, &context(), &mut |batch| {
            let text = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).expect("text");
            found.extend(text.as_string::<i32>().iter().flatten().map(|t| t["row ".len()..].parse::<u64>().expect("a number")));
            Ok(true)
        })
        .expect("scanned");
    };
    match signal {
        Signal::Logs => texts(&*store.logs, "body"),
        Signal::Traces => texts(&*store.spans, "name"),
        Signal::Metrics => {
            let matchers = [Matcher::equal("__name__", "rows")];
            let select = Select { matchers: &matchers, start: i64::MIN / 2, end: i64::MAX / 2, grouping: None };
            for series in store.metrics().select(&select, &context()).expect("selected") {
                found.extend(series.values.iter().map(|v| *v as u64));
            }
        }
    }
    found.sort_unstable();
    found
}

fn small(folder: &Path) -> StoreOptions {
    StoreOptions {
        flush_rows: 60,
        flush_age: Duration::from_millis(100),
        flush_age_metrics: Duration::from_millis(100),
        group_commit_delay: Duration::ZERO,
        wal_segment_bytes: 64 << 10,
        ..StoreOptions::new(folder)
    }
}

async fn open(folder: &Path) -> Arc<Store> {
    Store::open(small(folder), Arc::new(BatchDecoder), Arc::new(skopos_model::SystemClock)).await.expect("the store opens")
}

#[tokio::test]
async fn rows_are_found_in_the_log_in_files_and_merged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(folder.path()).await;
    let check = |store: &Store, count: u64| {
        for signal in SIGNALS {
            assert_eq!(numbers(store, signal), (0..count).collect::<Vec<_>>(), "{signal:?}");
        }
    };
    for round in 0..6 {
        for signal in SIGNALS {
            append(&store, signal, &(round * 10..round * 10 + 10).collect::<Vec<_>>()).await.expect("appended");
        }
        check(&store, round * 10 + 10);
        if round % 2 == 1 {
            store.flush().await.expect("flushed");
            check(&store, round * 10 + 10);
        }
    }
    append(&store, Signal::Logs, &[60]).await.expect("appended");
    append(&store, Signal::Traces, &[60]).await.expect("appended");
    append(&store, Signal::Metrics, &[60]).await.expect("appended");
    let locked = Store::open(small(folder.path()), Arc::new(BatchDecoder), Arc::new(skopos_model::SystemClock)).await;
    assert!(matches!(locked, Err(StorageError::Locked { .. })), "a second store on the same folder is refused");
    drop(store);
    let store = open(folder.path()).await;
    check(&store, 61);
    assert_eq!(store.stats().recovery.rows, 3);
    let background = store.run_background();
    store.close().await.expect("closed");
    background.await.expect("the background ends");
    let refused = append(&store, Signal::Logs, &[61]).await;
    assert!(matches!(refused, Err(AppendError::ReadOnly { .. })), "{refused:?}");
    drop(store);
    let store = open(folder.path()).await;
    assert_eq!(store.stats().recovery.records, 0);
    check(&store, 61);
}
