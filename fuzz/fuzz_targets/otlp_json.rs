//! OTLP in protobuf's JSON mapping, all three signals: the first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_fuzz::decode_twice;
use skopos_ingest::Protocol;

fuzz_target!(|body: &[u8]| {
    let Some((first, body)) = body.split_first() else { return };
    let protocol = match first % 3 {
        0 => Protocol::OtlpLogsJson,
        1 => Protocol::OtlpTracesJson,
        _ => Protocol::OtlpMetricsJson,
    };
    decode_twice(protocol, body, "");
});
