//! OTLP log records in protobuf.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_fuzz::decode_twice;
use skopos_ingest::Protocol;

fuzz_target!(|body: &[u8]| decode_twice(Protocol::OtlpLogs, body, ""));
