//! What a scrape target says, in all formats, and files that are imported piece by piece.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_ingest::exposition::backfill::Backfill;
use skopos_ingest::exposition::{Format, ScrapeOptions, parse};
use skopos_model::IngestLimits;

fuzz_target!(|body: &[u8]| {
    let limits = IngestLimits::default();
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        for honor_timestamps in [true, false] {
            let options = ScrapeOptions { scrape_time: 1_700_000_000_000, honor_timestamps, native_histograms: true, classic_histograms: honor_timestamps, limits: &limits };
            if let Ok(found) = parse(body, format, &options) {
                assert!(found.batch.series.iter().all(|s| !s.labels.is_empty()), "each series has a name");
                assert!(found.batch.series.iter().all(|s| s.histograms.iter().all(|(_, h)| h.check().is_ok())), "histograms are checked");
            }
        }
    }
    let mut backfill = Backfill::default();
    for piece in body.split_inclusive(|byte| *byte == b'\n') {
        if backfill.piece(piece, &limits).is_err() {
            break;
        }
    }
});
