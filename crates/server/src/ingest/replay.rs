//! Reading the write-ahead log again after a crash: the same decoders, the same rows.

use std::sync::Arc;

use parking_lot::Mutex;
use skopos_ingest::otlp::options::OtlpOptions;
use skopos_ingest::{Context, Protocol, decode};
use skopos_model::{Batch, IngestLimits, SeriesResolver};
use skopos_storage::{Encoding, WalDecoder, WalPayload};

use crate::app::IngestSettings;

/// The log's number of each protocol.
const NUMBERED: &[(Protocol, skopos_storage::Protocol)] = {
    use skopos_storage::Protocol as W;
    &[
        (Protocol::OtlpLogs, W::OtlpLogs),
        (Protocol::OtlpTraces, W::OtlpTraces),
        (Protocol::OtlpMetrics, W::OtlpMetrics),
        (Protocol::OtlpLogsJson, W::OtlpLogsJson),
        (Protocol::OtlpTracesJson, W::OtlpTracesJson),
        (Protocol::OtlpMetricsJson, W::OtlpMetricsJson),
        // Which of the two versions is told by the record's context.
        (Protocol::RemoteWrite, W::RemoteWrite),
        (Protocol::RemoteWrite2, W::RemoteWrite),
        (Protocol::JsonLines, W::JsonLines),
        (Protocol::Loki, W::Loki),
        (Protocol::LokiJson, W::LokiJson),
        (Protocol::ElasticBulk, W::ElasticBulk),
        (Protocol::SplunkEvents, W::SplunkEvents),
        (Protocol::SplunkRaw, W::SplunkRaw),
        (Protocol::Syslog, W::Syslog),
        (Protocol::FluentForward, W::FluentForward),
        (Protocol::ZipkinJson, W::ZipkinJson),
        (Protocol::ZipkinProtobuf, W::ZipkinProtobuf),
        (Protocol::JaegerThrift, W::JaegerThrift),
        (Protocol::JaegerAgent, W::JaegerAgent),
        (Protocol::JaegerGrpc, W::JaegerGrpc),
    ]
};

/// The log's number of a protocol; `None` where what was decoded is logged in the place of the body.
pub fn wal_protocol(protocol: Protocol) -> Option<skopos_storage::Protocol> {
    NUMBERED.iter().find(|(known, _)| *known == protocol).map(|(_, number)| *number)
}

/// Context of logged bodies of remote write 2.0.
pub(super) const REMOTE_WRITE_2: &str = "v2";

/// Decodes logged bodies. They were taken as they came: what limits has since been lowered must not refuse them.
#[derive(Debug)]
pub struct Replay {
    limits: IngestLimits,
    /// What is remembered of bodies read with these options, of those read last.
    settings: Mutex<Arc<IngestSettings>>,
}

impl Replay {
    /// With [`IngestLimits::of_taken`].
    pub fn new(limits: IngestLimits) -> Self {
        Self { limits, settings: Mutex::default() }
    }

    /// The options a body of OTLP metrics was read with.
    fn settings(&self, text: &str) -> Result<Arc<IngestSettings>, String> {
        let mut last = self.settings.lock();
        if last.otlp_text != text {
            *last = Arc::new(IngestSettings::new(OtlpOptions::from_text(text)?));
        }
        Ok(Arc::clone(&last))
    }
}

impl WalDecoder for Replay {
    fn decode(&self, payload: &WalPayload, series: &mut dyn SeriesResolver) -> Result<Batch, String> {
        use skopos_storage::Protocol as W;
        let protocol = match payload.protocol {
            W::Batch => return Batch::from_bytes(&payload.body).map_err(|e| e.to_string()),
            W::RemoteWrite if payload.context == REMOTE_WRITE_2 => Protocol::RemoteWrite2,
            number => match NUMBERED.iter().find(|(_, known)| *known == number) {
                Some((protocol, _)) => *protocol,
                None => return Err(format!("bodies of {number:?} are not read by this version")),
            },
        };
        let encoding = match payload.encoding {
            Encoding::Identity => skopos_ingest::Encoding::Identity,
            Encoding::Gzip => skopos_ingest::Encoding::Gzip,
            Encoding::Zstd => skopos_ingest::Encoding::Zstd,
        };
        let plain = encoding.decompress(&payload.body, self.limits.decompressed_bytes_max).map_err(|e| e.to_string())?;
        let settings = match protocol {
            Protocol::OtlpMetrics | Protocol::OtlpMetricsJson => self.settings(&payload.context)?,
            _ => Arc::clone(&self.settings.lock()),
        };
        let ctx = Context { otlp: &settings.otlp, ..Context::new(&self.limits, payload.received, &settings.cache) };
        Ok(decode(protocol, &plain, &payload.context, &ctx, series).map_err(|e| e.to_string())?.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skopos_ingest::protocols::{LISTENERS, PROTOCOLS};

    #[test]
    fn every_way_in_has_a_number_in_the_log() {
        for protocol in PROTOCOLS.iter().map(|row| row.protocol).chain(LISTENERS.iter().map(|row| row.protocol)) {
            assert!(wal_protocol(protocol).is_some_and(|number| number != skopos_storage::Protocol::Batch), "{protocol:?}");
        }
    }
}
