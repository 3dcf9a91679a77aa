//! Prometheus remote write: the bytes as they are (a snappy block), and as what such a block holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_fuzz::decode_twice;
use skopos_ingest::Protocol;

fuzz_target!(|body: &[u8]| {
    decode_twice(Protocol::RemoteWrite, body, "");
    // Mutations of a compressed block hardly ever get past the decompressor.
    if let Ok(block) = snap::raw::Encoder::new().compress_vec(body) {
        decode_twice(Protocol::RemoteWrite, &block, "");
    }
});
