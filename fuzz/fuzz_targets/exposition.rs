//! What a scrape target says, in both formats.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_ingest::exposition::{Format, ScrapeOptions, parse};
use skopos_model::IngestLimits;

fuzz_target!(|body: &[u8]| {
    let limits = IngestLimits::default();
    for format in [Format::Text, Format::OpenMetrics] {
        for honor_timestamps in [true, false] {
            let options = ScrapeOptions { scrape_time: 1_700_000_000_000, honor_timestamps, limits: &limits };
            if let Ok(found) = parse(body, format, &options) {
                assert!(found.batch.series.iter().all(|s| !s.labels.is_empty()), "each series has a name");
            }
        }
    }
});
