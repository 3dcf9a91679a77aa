//! Newline-delimited JSON logs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_fuzz::decode_twice;
use skopos_ingest::Protocol;

fuzz_target!(|body: &[u8]| {
    decode_twice(Protocol::JsonLines, body, "");
    decode_twice(Protocol::JsonLines, body, "service=orders&env=prod");
});
