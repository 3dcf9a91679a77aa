//! What a query has cost, in Loki's shape.

use serde_json::{Value, json};

use crate::app::Cost;

/// The object `stats` of an answer.
pub(super) fn stats(cost: &Cost, returned: usize) -> Value {
    let (rows, bytes) = (cost.counts.rows_scanned, cost.counts.bytes_scanned);
    let seconds = (cost.elapsed_ms / 1e3).max(1e-6);
    let per_second = |n: u64| (n as f64 / seconds) as u64;
    let cache = || json!({"entriesFound": 0, "entriesRequested": 0, "entriesStored": 0, "bytesReceived": 0, "bytesSent": 0, "requests": 0, "downloadTime": 0, "queryLengthServed": 0});
    let store = |rows: u64, bytes: u64, files: u64| {
        json!({
            "totalChunksRef": files, "totalChunksDownloaded": files, "chunksDownloadTime": 0, "queryReferencedStructuredMetadata": false,
            "chunk": {
                "headChunkBytes": 0, "headChunkLines": 0, "headChunkStructuredMetadataBytes": 0, "decompressedBytes": bytes, "decompressedLines": rows,
                "decompressedStructuredMetadataBytes": 0, "compressedBytes": bytes, "totalDuplicates": 0, "postFilterLines": returned,
            },
            "chunkRefsFetchTime": 0, "congestionControlLatency": 0, "pipelineWrapperFilteredLines": 0,
        })
    };
    json!({
        "summary": {
            "bytesProcessedPerSecond": per_second(bytes), "linesProcessedPerSecond": per_second(rows), "totalBytesProcessed": bytes,
            "totalLinesProcessed": rows, "execTime": seconds, "queueTime": 0, "subqueries": 0, "totalEntriesReturned": returned, "splits": 0,
            "shards": 0, "totalPostFilterLines": returned, "totalStructuredMetadataBytesProcessed": 0,
        },
        "querier": {"store": store(rows, bytes, cost.counts.files)},
        "ingester": {
            "totalReached": 0, "totalChunksMatched": 0, "totalBatches": 0, "totalLinesSent": 0, "store": store(0, 0, 0),
        },
        "cache": {
            "chunk": cache(), "index": cache(), "result": cache(), "statsResult": cache(), "volumeResult": cache(), "seriesResult": cache(),
            "labelResult": cache(), "instantMetricResult": cache(),
        },
        "index": {"totalChunks": cost.counts.files + cost.counts.files_pruned, "postFilterChunks": cost.counts.files, "shardsDuration": 0},
        "skopos": cost,
    })
}
