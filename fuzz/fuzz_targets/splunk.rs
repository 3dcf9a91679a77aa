//! Splunk's HTTP event collector.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_fuzz::decode_twice;
use skopos_ingest::Protocol;

fuzz_target!(|body: &[u8]| {
    decode_twice(Protocol::SplunkEvents, body, "host=a");
    decode_twice(Protocol::SplunkRaw, body, "");
});
