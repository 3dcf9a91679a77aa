//! Prometheus remote write, both versions: the bytes as they are (a snappy block), and as what such a block holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_fuzz::decode_twice;
use skopos_ingest::Protocol;

fuzz_target!(|body: &[u8]| {
    // Mutations of a compressed block hardly ever get past the decompressor.
    let block = snap::raw::Encoder::new().compress_vec(body).unwrap_or_default();
    for protocol in [Protocol::RemoteWrite, Protocol::RemoteWrite2] {
        decode_twice(protocol, body, "");
        decode_twice(protocol, &block, "");
    }
});
