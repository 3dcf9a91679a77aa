//! StatsD lines: read or refused, and what they add up to is a valid series.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_ingest::statsd::{Aggregate, parse_line};

fuzz_target!(|body: &[u8]| {
    let mut all = Aggregate::new(100, 1_000, 0);
    for line in body.split(|byte| *byte == b'\n') {
        if let Ok(events) = parse_line(line) {
            for event in &events {
                let _ = all.add(event, 1);
            }
        }
    }
    for series in all.flush(2) {
        assert!(!series.labels.name().is_empty(), "each series has a name");
        assert!(series.histograms.iter().all(|(_, h)| h.is_stale() || h.check().is_ok()), "histograms are checked");
    }
});
