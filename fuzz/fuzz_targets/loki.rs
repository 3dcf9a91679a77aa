//! Loki's push, JSON and protobuf.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_fuzz::decode_twice;
use skopos_ingest::Protocol;

fuzz_target!(|body: &[u8]| {
    decode_twice(Protocol::LokiJson, body, "");
    decode_twice(Protocol::Loki, body, "");
    // Behind the snappy block as well.
    if let Ok(block) = snap::raw::Encoder::new().compress_vec(body) {
        decode_twice(Protocol::Loki, &block, "");
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let _ = skopos_ingest::loki::parse_labels(text);
    }
});
