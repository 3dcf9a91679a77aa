//! A real DuckDB reads the public views while the store runs.

use skopos_model::{Buckets, NativeHistogram};

use super::*;
use crate::duckdb_reader::ask;

/// One native histogram of seven observations.
fn latency(round: u64) -> TimeSeries {
    let positive = Buckets { indexes: vec![-3, 5], counts: vec![2.0, 4.0] };
    let negative = Buckets { indexes: vec![0], counts: vec![1.0] };
    let histogram = NativeHistogram { schema: 3, count: 7.0, sum: 2.5, positive, negative, ..NativeHistogram::default() };
    TimeSeries {
        labels: Labels::new([("__name__", "latency")]),
        histograms: vec![(NOON / 1_000_000 + round as i64 * 1_000, histogram)],
        ..TimeSeries::default()
    }
}

#[tokio::test]
async fn duckdb_reads_the_same_rows_through_the_views() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(folder.path()).await;
    let queries = [
        "SELECT count(*), min(body), max(body) FROM lake.logs",
        "SELECT trace_id FROM lake.logs WHERE body = 'row 7'",
        "SELECT count(*) FROM lake.logs WHERE attributes['kind'] = 'fizz'",
        "SELECT count(*), count(DISTINCT trace_id) FROM lake.spans",
        "SELECT span_id FROM lake.spans WHERE name = 'row 7'",
        "SELECT count(*), sum(value)::BIGINT FROM lake.samples",
        "SELECT count(*) FROM lake.samples JOIN lake.series USING (series_id) WHERE metric_name = 'rows' AND labels['rest'] = '7'",
        "SELECT count(*), sum(count)::BIGINT, sum(list_sum(positive_counts))::BIGINT, min(positive_indexes[2]), max(len(negative_counts)) FROM lake.histograms",
    ];
    let expected = ["90|row 0|row 9", "00000000000000000000000000000008", "30", "90|30", "0000000000000008", "90|4005", "2", "3|21|18|5|1"];
    for round in 0..3 {
        for signal in SIGNALS {
            append(&store, signal, &(round * 30..round * 30 + 30).collect::<Vec<_>>()).await.expect("appended");
        }
        append_batch(&store, Batch::Series(vec![latency(round)], Vec::new())).await.expect("appended");
        // Three files of the first level, each of a flush of its own.
        store.engine.flush_all().await.expect("flushed");
    }
    let Some(read) = ask(folder.path(), &queries) else { return };
    assert_eq!(read, expected);
    store.flush().await.expect("flushed");
    assert_eq!(ask(folder.path(), &queries).expect("it was there before"), expected, "merged");
}

#[tokio::test]
async fn duckdb_reads_rollups() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(folder.path()).await;
    let series = TimeSeries {
        labels: Labels::new([("__name__", "minutes")]),
        samples: (0..240).map(|i| (NOON / 1_000_000 + i * 60_000, i as f64)).collect(),
        ..TimeSeries::default()
    };
    append_batch(&store, Batch::Series(vec![series], Vec::new())).await.expect("appended");
    store.flush().await.expect("flushed");
    let queries = [
        "SELECT count(*), sum(count)::BIGINT, min(first_time)::VARCHAR, max(last_time)::VARCHAR FROM lake.rollups",
        "SELECT max(max_value)::BIGINT, min(min_value)::BIGINT, sum(sum)::BIGINT, max(time - before_time)::VARCHAR FROM lake.rollups",
        "SELECT sum(value)::BIGINT FROM lake.samples",
    ];
    let Some(read) = ask(folder.path(), &queries) else { return };
    // The sample at noon is of the hour before.
    assert_eq!(read, ["5|240|2026-11-21 12:00:00|2026-11-21 15:59:00", "239|0|28680|00:02:00", "28680"]);
}
