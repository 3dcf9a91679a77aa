//! Reading the write-ahead log again after a crash: the same decoders, the same rows.

use skopos_ingest::{Cache, Context, Protocol, decode};
use skopos_model::{Batch, IngestLimits, SeriesResolver};
use skopos_storage::{Encoding, WalDecoder, WalPayload};

/// The log's number of a protocol.
pub fn wal_protocol(protocol: Protocol) -> skopos_storage::Protocol {
    use skopos_storage::Protocol as W;
    match protocol {
        Protocol::OtlpLogs => W::OtlpLogs,
        Protocol::OtlpTraces => W::OtlpTraces,
        Protocol::OtlpMetrics => W::OtlpMetrics,
        Protocol::OtlpLogsJson => W::OtlpLogsJson,
        Protocol::OtlpTracesJson => W::OtlpTracesJson,
        Protocol::OtlpMetricsJson => W::OtlpMetricsJson,
        Protocol::RemoteWrite => W::RemoteWrite,
        Protocol::JsonLines => W::JsonLines,
    }
}

/// Decodes logged bodies with the limits they were accepted under.
#[derive(Debug)]
pub struct Replay {
    limits: IngestLimits,
    cache: Cache,
}

impl Replay {
    /// For bodies accepted under `limits`.
    pub fn new(limits: IngestLimits) -> Self {
        Self { limits, cache: Cache::default() }
    }
}

impl WalDecoder for Replay {
    fn decode(&self, payload: &WalPayload, series: &mut dyn SeriesResolver) -> Result<Batch, String> {
        use skopos_storage::Protocol as W;
        let protocol = match payload.protocol {
            W::Batch => return Batch::from_bytes(&payload.body).map_err(|e| e.to_string()),
            W::OtlpLogs => Protocol::OtlpLogs,
            W::OtlpTraces => Protocol::OtlpTraces,
            W::OtlpMetrics => Protocol::OtlpMetrics,
            W::OtlpLogsJson => Protocol::OtlpLogsJson,
            W::OtlpTracesJson => Protocol::OtlpTracesJson,
            W::OtlpMetricsJson => Protocol::OtlpMetricsJson,
            W::RemoteWrite => Protocol::RemoteWrite,
            W::JsonLines => Protocol::JsonLines,
        };
        let encoding = match payload.encoding {
            Encoding::Identity => skopos_ingest::Encoding::Identity,
            Encoding::Gzip => skopos_ingest::Encoding::Gzip,
            Encoding::Zstd => skopos_ingest::Encoding::Zstd,
        };
        let plain = encoding.decompress(&payload.body, self.limits.decompressed_bytes_max).map_err(|e| e.to_string())?;
        let ctx = Context::new(&self.limits, payload.received, &self.cache);
        Ok(decode(protocol, &plain, &payload.context, &ctx, series).map_err(|e| e.to_string())?.batch)
    }
}
