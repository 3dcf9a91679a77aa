//! What the fuzz targets share: decoding as the server does it, twice, because recovery decodes the write-ahead log
//! again and has to find the same rows.

use std::collections::HashMap;

use skopos_ingest::otlp::metrics::delta::{DeltaLimits, Deltas};
use skopos_ingest::otlp::names::NameTranslation;
use skopos_ingest::otlp::options::OtlpOptions;
use skopos_ingest::{Cache, Context, Protocol, decode};
use skopos_model::{IngestLimits, Labels, SeriesId, SeriesResolver};

/// Numbers series by their labels, as the store does.
#[derive(Debug, Default)]
struct Numbers {
    by_raw: HashMap<Vec<u8>, SeriesId>,
    by_labels: HashMap<Labels, SeriesId>,
}

/// Most series of one body, so that the limit is met as well.
const SERIES_MAX: usize = 1_000;

impl SeriesResolver for Numbers {
    fn resolve(&mut self, raw: &[u8], parse: &mut dyn FnMut() -> Labels) -> Option<SeriesId> {
        if let Some(id) = self.by_raw.get(raw) {
            return Some(*id);
        }
        let labels = parse();
        if labels.is_empty() {
            return None;
        }
        let next = SeriesId(u32::try_from(self.by_labels.len()).ok()?);
        if self.by_labels.len() >= SERIES_MAX && !self.by_labels.contains_key(&labels) {
            return None;
        }
        let id = *self.by_labels.entry(labels).or_insert(next);
        self.by_raw.insert(raw.to_vec(), id);
        Some(id)
    }
}

/// Decodes a body twice, the second time with what the first has left in the cache, and demands the same rows.
pub fn decode_twice(protocol: Protocol, body: &[u8], parameters: &str) {
    let limits = IngestLimits::default();
    let cache = Cache::default();
    let ctx = Context::new(&limits, 1_700_000_000_000_000_000, &cache);
    let once = || match decode(protocol, body, parameters, &ctx, &mut Numbers::default()) {
        Ok(decoded) => Ok((decoded.batch.rows(), decoded.batch.to_bytes().map_err(|e| e.to_string()), format!("{:?}", decoded.rejected))),
        Err(error) => Err(error.to_string()),
    };
    let first = once();
    assert_eq!(first, once(), "the same body gives the same rows");
    if let Err(error) = &first {
        assert!(!error.is_empty(), "an error says what was wrong");
    }
}

/// Decodes OTLP metrics with other options and a memory of delta streams; what comes out is valid, and the memory keeps
/// to its limit.
pub fn decode_deltas(body: &[u8]) {
    let limits = IngestLimits::default();
    let options = OtlpOptions {
        translation_strategy: NameTranslation::NoTranslation,
        promote_all_resource_attributes: true,
        convert_histograms_to_nhcb: true,
        ..OtlpOptions::default()
    };
    let mut deltas = Deltas::new(DeltaLimits { streams_max: 10, ..DeltaLimits::default() });
    for _ in 0..2 {
        let cache = Cache::default();
        let pass = deltas.pass();
        let mut ctx = Context { otlp: &options, ..Context::new(&limits, 1_700_000_000_000_000_000, &cache) };
        ctx.deltas = Some(&pass);
        let decoded = decode(Protocol::OtlpMetrics, body, "", &ctx, &mut Numbers::default());
        if let Ok(skopos_model::Batch::Samples(samples)) = decoded.map(|decoded| decoded.batch) {
            assert!(samples.histograms.iter().all(|(_, _, h)| h.check().is_ok()), "histograms are checked");
        }
        let changes = pass.into_changes();
        deltas.commit(changes, 1_700_000_000_000_000_000);
        assert!(deltas.len() <= 10, "the memory is bounded");
    }
}

/// A log record with this message.
pub fn log_row(body: &str) -> skopos_query::logs::LogRow {
    skopos_query::logs::LogRow {
        id: String::new(),
        time: 1_700_000_000_000_000_000,
        observed_time: 0,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        service_name: "orders".to_owned(),
        body: body.to_owned(),
        trace_id: skopos_model::TraceId::NONE,
        span_id: skopos_model::SpanId::NONE,
        event_name: String::new(),
        scope_name: String::new(),
        attributes: [("k".to_owned(), "v".into())].into_iter().collect(),
        resource: [("service.name".to_owned(), "orders".into())].into_iter().collect(),
    }
}
