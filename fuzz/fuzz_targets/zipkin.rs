//! Zipkin v2 spans.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_fuzz::decode_twice;
use skopos_ingest::Protocol;

fuzz_target!(|body: &[u8]| {
    decode_twice(Protocol::ZipkinJson, body, "");
    decode_twice(Protocol::ZipkinProtobuf, body, "");
});
