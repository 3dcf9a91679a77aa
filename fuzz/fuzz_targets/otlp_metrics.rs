//! OTLP metrics in protobuf, with each set of options, and delta points with a memory of their streams.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_fuzz::{decode_deltas, decode_twice};
use skopos_ingest::Protocol;

fuzz_target!(|body: &[u8]| {
    decode_twice(Protocol::OtlpMetrics, body, "");
    decode_deltas(body);
});
