//! One door to all protocols that put rows into the store: for the server's routes and for recovery.

use skopos_model::{Batch, Decoded, SeriesResolver, Signal};

use crate::context::Context;
use crate::error::IngestError;
use crate::{json_lines, otlp, remote_write};

/// What a request body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// OTLP logs, protobuf.
    OtlpLogs,
    /// OTLP traces, protobuf.
    OtlpTraces,
    /// OTLP metrics, protobuf.
    OtlpMetrics,
    /// OTLP logs, JSON.
    OtlpLogsJson,
    /// OTLP traces, JSON.
    OtlpTracesJson,
    /// OTLP metrics, JSON.
    OtlpMetricsJson,
    /// Prometheus remote write 1.0, protobuf in a snappy block.
    RemoteWrite,
    /// Prometheus remote write 2.0, protobuf in a snappy block.
    RemoteWrite2,
    /// Newline-delimited JSON logs.
    JsonLines,
}

impl Protocol {
    /// Which signal it brings.
    pub fn signal(self) -> Signal {
        match self {
            Self::OtlpLogs | Self::OtlpLogsJson | Self::JsonLines => Signal::Logs,
            Self::OtlpTraces | Self::OtlpTracesJson => Signal::Traces,
            Self::OtlpMetrics | Self::OtlpMetricsJson | Self::RemoteWrite | Self::RemoteWrite2 => Signal::Metrics,
        }
    }
}

/// Decodes a body whose content encoding has been undone (the snappy block of remote write is undone here).
///
/// The same body with the same limits, time and parameters gives the same rows, so that recovery can decode what
/// was logged. `parameters` is the query string of a JSON-lines request (see [`json_lines::Parameters`]), empty
/// for the others.
///
/// # Errors
/// When the body is malformed: nothing of it is taken.
pub fn decode(
    protocol: Protocol,
    body: &[u8],
    parameters: &str,
    ctx: &Context<'_>,
    resolver: &mut dyn SeriesResolver,
) -> Result<Decoded<Batch>, IngestError> {
    Ok(match protocol {
        Protocol::OtlpLogs => otlp::logs::decode(body, ctx)?.map(Batch::Logs),
        Protocol::OtlpTraces => otlp::traces::decode(body, ctx)?.map(Batch::Spans),
        Protocol::OtlpMetrics => otlp::metrics::decode(body, ctx, resolver)?.map(Batch::Samples),
        Protocol::OtlpLogsJson => otlp::logs::decode(&otlp::logs_to_protobuf(body)?, ctx)?.map(Batch::Logs),
        Protocol::OtlpTracesJson => otlp::traces::decode(&otlp::traces_to_protobuf(body)?, ctx)?.map(Batch::Spans),
        Protocol::OtlpMetricsJson => otlp::metrics::decode(&otlp::metrics_to_protobuf(body)?, ctx, resolver)?.map(Batch::Samples),
        Protocol::RemoteWrite => remote_write::decode(body, ctx, resolver)?.map(Batch::Samples),
        Protocol::RemoteWrite2 => remote_write::v2::decode(body, ctx, resolver)?.map(Batch::Samples),
        Protocol::JsonLines => json_lines::decode(body, &json_lines::Parameters::from_query(parameters), ctx).map(Batch::Logs),
    })
}
