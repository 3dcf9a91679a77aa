//! The way every request body goes: limit, decompress, decode, log and store, count.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use skopos_ingest::otlp::metrics::DELTA_TEMPORALITY;
use skopos_ingest::otlp::metrics::delta::DeltaPass;
use skopos_ingest::{Context, IngestError, Protocol, decode};
use skopos_model::{Batch, IngestLimits, Labels, Rejected, SeriesId, SeriesResolver, Signal};
use skopos_storage::{AppendError, Encoding, WalPayload};

use super::labelled::Remembering;
use super::sources::{OverRate, Source};
use crate::app::{App, IngestSettings};

/// Why a request was not stored.
#[derive(Debug)]
pub enum AcceptError {
    /// The body is over `body_bytes_max`.
    BodyTooLarge {
        /// The limit.
        max: usize,
    },
    /// The client stopped sending.
    Incomplete(String),
    /// The body cannot be read.
    Malformed(IngestError),
    /// Who sends it, or all together, send too much.
    OverRate(OverRate),
    /// The store does not take it now.
    Append(AppendError),
}

impl AcceptError {
    /// Short fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::Incomplete(_) => "incomplete",
            Self::Malformed(e) if e.is_too_large() => "decompressed_too_large",
            Self::Malformed(e) if e.is_unsupported() => "unsupported",
            Self::Malformed(_) => "malformed",
            Self::OverRate(_) => "over_rate",
            Self::Append(AppendError::Overloaded { .. }) => "overloaded",
            Self::Append(_) => "read_only",
        }
    }

    /// When to try again, for errors that pass by themselves.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Append(AppendError::Overloaded { retry_after, .. } | AppendError::ReadOnly { retry_after, .. }) => Some(*retry_after),
            Self::Append(_) => Some(Duration::from_secs(1)),
            Self::OverRate(over) => Some(over.retry_after),
            _ => None,
        }
    }

    /// HTTP status: 413 and 415 where they fit, 429 and 503 to be tried again, else 400.
    pub fn status(&self) -> http::StatusCode {
        use http::StatusCode as S;
        match self {
            Self::BodyTooLarge { .. } => S::PAYLOAD_TOO_LARGE,
            Self::Malformed(e) if e.is_too_large() => S::PAYLOAD_TOO_LARGE,
            Self::Malformed(e) if e.is_unsupported() => S::UNSUPPORTED_MEDIA_TYPE,
            Self::Incomplete(_) | Self::Malformed(_) => S::BAD_REQUEST,
            Self::OverRate(_) | Self::Append(AppendError::Overloaded { .. }) => S::TOO_MANY_REQUESTS,
            Self::Append(_) => S::SERVICE_UNAVAILABLE,
        }
    }
}

impl std::fmt::Display for AcceptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BodyTooLarge { max } => write!(f, "the body is over the limit body_bytes_max of {max} bytes; send smaller batches"),
            Self::Incomplete(reason) => write!(f, "the body ended early: {reason}"),
            Self::Malformed(error) => error.fmt(f),
            Self::OverRate(over) => over.fmt(f),
            Self::Append(error) => error.fmt(f),
        }
    }
}

/// What was stored.
#[derive(Debug)]
pub struct Accepted {
    /// Samples that are floats (records and spans of the other signals).
    pub rows: usize,
    /// Native histograms.
    pub histograms: usize,
    /// Exemplars.
    pub exemplars: usize,
    /// Rows that were not taken, by reason.
    pub rejected: Vec<Rejected>,
    /// Rows that were taken with changes (cut values, dropped attributes), by reason.
    pub changed: Vec<Rejected>,
}

/// Reads a body up to the limit.
///
/// # Errors
/// When it is longer, or the client goes away.
pub async fn read_body(body: Body, max: usize) -> Result<Bytes, AcceptError> {
    let mut stream = body.into_data_stream();
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|e| AcceptError::Incomplete(e.to_string()))?;
        if first.as_ref().map_or(0, Bytes::len) + all.len() + chunk.len() > max {
            return Err(AcceptError::BodyTooLarge { max });
        }
        // A body that comes in one piece is passed on without a copy.
        match first.take() {
            None if all.is_empty() => first = Some(chunk),
            Some(head) => {
                all.reserve(head.len() + chunk.len());
                all.extend_from_slice(&head);
                all.extend_from_slice(&chunk);
            }
            None => all.extend_from_slice(&chunk),
        }
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}

/// For signals that have no series.
#[derive(Debug)]
struct NoSeries;

impl SeriesResolver for NoSeries {
    fn resolve(&mut self, _raw: &[u8], _parse: &mut dyn FnMut() -> Labels) -> Option<SeriesId> {
        None
    }
}

/// A request to be stored.
#[derive(Debug, Clone)]
pub struct Request {
    /// What the body is.
    pub protocol: Protocol,
    /// How it is compressed.
    pub encoding: skopos_ingest::Encoding,
    /// Query parameters the decoder needs (JSON lines), mostly empty.
    pub context: String,
    /// Who sends it.
    pub source: Source,
    /// The body as it came.
    pub body: Bytes,
}

/// Decodes and stores a request; on `Ok` it is durable.
///
/// # Errors
/// With what the protocol's answer needs; nothing of the request is stored then.
pub async fn accept(app: &Arc<App>, request: Request) -> Result<Accepted, AcceptError> {
    let signal = request.protocol.signal();
    let result = store(app, request).await;
    if let Err(error) = &result {
        app.telemetry.ingest.refused(signal, error.reason());
        tracing::debug!(signal = signal.as_str(), reason = error.reason(), %error, "request not stored");
    }
    result
}

/// What a body says, and what of it has to be logged in the place of the body.
struct Read {
    batch: Batch,
    rejected: Vec<Rejected>,
    changed: Vec<Rejected>,
    /// The batch with labels in the place of numbers, where the body does not stand for it.
    spelled_out: Option<Batch>,
}

/// Reads a body. Only metrics number series, and only they wait for the table of series.
fn read(
    app: &App,
    request: &Request,
    settings: &IngestSettings,
    limits: &IngestLimits,
    received: i64,
    deltas: Option<&DeltaPass<'_>>,
) -> Result<Read, IngestError> {
    let plain = request.encoding.decompress(&request.body, limits.decompressed_bytes_max)?;
    let ctx = Context { otlp: &settings.otlp, deltas, ..Context::new(limits, received, &settings.cache) };
    let run = |series: &mut dyn SeriesResolver| decode(request.protocol, &plain, &request.context, &ctx, series);
    let (decoded, spelled_out) = if request.protocol.signal() == Signal::Metrics {
        app.store.with_resolver(|series| {
            if deltas.is_none() {
                let decoded = run(series)?;
                if decoded.is_clean() {
                    return Ok((decoded, None));
                }
            }
            // What is logged then has labels and no numbers. Bodies with refused rows are read again for it: only bad
            // requests pay.
            series.again();
            let mut remembering = Remembering::new(series);
            let decoded = run(&mut remembering)?;
            let spelled_out = match &decoded.batch {
                Batch::Samples(samples) => Some(remembering.spell_out(samples)),
                _ => None,
            };
            if deltas.is_none() && wants_deltas(&decoded.rejected) {
                // It is read once more with the sums.
                series.again();
            }
            Ok((decoded, spelled_out))
        })?
    } else {
        (run(&mut NoSeries)?, None)
    };
    Ok(Read { batch: decoded.batch, rejected: decoded.rejected, changed: decoded.changed, spelled_out })
}

/// Whether points of delta streams were met without their sums.
fn wants_deltas(rejected: &[Rejected]) -> bool {
    rejected.iter().any(|r| r.reason == DELTA_TEMPORALITY)
}

async fn store(app: &Arc<App>, request: Request) -> Result<Accepted, AcceptError> {
    if request.protocol.signal() != Signal::Metrics {
        return decode_and_append(app, request, &app.ingest_limits).await;
    }
    let (config, source, bytes) = (app.config.get(), request.source.clone(), request.body.len());
    let limits = &config.file.limits;
    let rates = (&limits.rates, &limits.sources);
    let now = app.clock.now_nanos();
    app.sources.admit(&source, rates, bytes, now).map_err(AcceptError::OverRate)?;
    let own = limits.sources.get(&*source.name).and_then(|own| own.ingest_limits(&app.ingest_limits));
    let accepted = decode_and_append(app, request, own.as_ref().unwrap_or(&app.ingest_limits)).await;
    // What cannot be read costs as well; what the store could not take now is sent again.
    match &accepted {
        Ok(accepted) => {
            let refused: u64 = accepted.rejected.iter().map(|r| r.count).sum();
            app.sources.pay(&source, rates, (accepted.rows + accepted.histograms) as u64 + refused, bytes, now);
        }
        Err(AcceptError::Append(_)) => {}
        Err(_) => app.sources.pay(&source, rates, 0, bytes, now),
    }
    accepted
}

async fn decode_and_append(app: &Arc<App>, mut request: Request, limits: &IngestLimits) -> Result<Accepted, AcceptError> {
    let received = app.clock.now_nanos();
    let bytes = request.body.len();
    let settings = app.ingest.load_full();
    if matches!(request.protocol, Protocol::OtlpMetrics | Protocol::OtlpMetricsJson) {
        request.context.clone_from(&settings.otlp_text);
    }
    let first = read(app, &request, &settings, limits, received, None).map_err(AcceptError::Malformed)?;
    if !wants_deltas(&first.rejected) {
        return append(app, request, first, &settings, received, bytes).await;
    }
    // Sums of delta streams depend on what came before: one such request after another, and what it adds is kept once
    // its rows are stored. The order of decoding is then also that of the rows.
    let mut deltas = app.deltas.lock().await;
    let (second, changes) = {
        let pass = deltas.pass();
        let second = read(app, &request, &settings, limits, received, Some(&pass)).map_err(AcceptError::Malformed)?;
        (second, pass.into_changes())
    };
    let accepted = append(app, request, second, &settings, received, bytes).await?;
    deltas.commit(changes, received);
    app.delta_streams.store(deltas.len(), std::sync::atomic::Ordering::Relaxed);
    Ok(accepted)
}

async fn append(
    app: &Arc<App>,
    request: Request,
    read: Read,
    settings: &IngestSettings,
    received: i64,
    bytes: usize,
) -> Result<Accepted, AcceptError> {
    let signal = request.protocol.signal();
    let Read { batch, mut rejected, changed, spelled_out } = read;
    let mut rows = batch.rows();
    let (mut histograms, exemplars) = match &batch {
        Batch::Samples(samples) => (samples.histograms.len(), samples.exemplars.len()),
        _ => (0, 0),
    };
    if let Batch::Spans(spans) = &batch {
        app.span_metrics.lock().observe(spans);
    }
    let empty = match &batch {
        Batch::Samples(samples) => samples.is_empty(),
        other => other.rows() == 0,
    };
    if !empty {
        let numbered = super::replay::wal_protocol(request.protocol);
        let payload = WalPayload {
            protocol: numbered.unwrap_or(skopos_storage::Protocol::Batch),
            encoding: match request.encoding {
                skopos_ingest::Encoding::Identity => Encoding::Identity,
                skopos_ingest::Encoding::Gzip => Encoding::Gzip,
                skopos_ingest::Encoding::Zstd => Encoding::Zstd,
            },
            signal,
            received,
            tenant: 0,
            config_version: 0,
            context: request.context,
            body: request.body,
        };
        // What was refused or cut in part may be taken by a later version or another limit, and sums of delta streams
        // are not in the body: log what was accepted.
        let payload = match (&spelled_out, numbered.is_some() && rejected.is_empty() && changed.is_empty()) {
            (None, true) => payload,
            (spelled_out, _) => batch_payload(spelled_out.as_ref().unwrap_or(&batch), received).unwrap_or(payload),
        };
        let starts = match &batch {
            Batch::Samples(samples) => samples.starts.clone(),
            _ => Vec::new(),
        };
        let report = app.store.append(payload, batch).await.map_err(AcceptError::Append)?;
        settings.cache.stored(&starts);
        rows = rows.saturating_sub(usize::try_from(report.rows()).unwrap_or(usize::MAX));
        histograms = histograms.saturating_sub(report.histograms);
        rejected.extend(report.rejected);
    }
    app.telemetry.ingest.stored(signal, rows, bytes, &rejected, received);
    Ok(Accepted { rows: rows.saturating_sub(histograms), histograms, exemplars, rejected, changed })
}

/// The log record of rows that no request body stands for.
pub fn batch_payload(batch: &Batch, received: i64) -> Option<WalPayload> {
    let body = batch.to_bytes().ok()?;
    Some(WalPayload {
        protocol: skopos_storage::Protocol::Batch,
        encoding: Encoding::Identity,
        signal: batch.signal(),
        received,
        tenant: 0,
        config_version: 0,
        context: String::new(),
        body: body.into(),
    })
}

/// Stores rows made here: scrapes, rule results, figures derived from spans. Tells which were not taken, which is
/// counted as well.
///
/// # Errors
/// When the store does not take them now.
pub async fn store_own(app: &Arc<App>, batch: Batch) -> Result<Vec<Rejected>, AppendError> {
    if batch.rows() == 0 && !matches!(&batch, Batch::Series(_, metadata) if !metadata.is_empty()) {
        return Ok(Vec::new());
    }
    let now = app.clock.now_nanos();
    let (signal, rows) = (batch.signal(), batch.rows());
    let Some(payload) = batch_payload(&batch, now) else { return Ok(Vec::new()) };
    let report = app.store.append(payload, batch).await?;
    if signal != Signal::Metrics || rows > 0 {
        let taken = rows.saturating_sub(usize::try_from(report.rows()).unwrap_or(usize::MAX));
        app.telemetry.ingest.stored(signal, taken, 0, &report.rejected, now);
    }
    Ok(report.rejected)
}
