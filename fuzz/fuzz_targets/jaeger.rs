//! Jaeger's spans: Thrift in both protocols, datagrams, protobuf.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_fuzz::decode_twice;
use skopos_ingest::Protocol;

fuzz_target!(|body: &[u8]| {
    decode_twice(Protocol::JaegerThrift, body, "");
    decode_twice(Protocol::JaegerAgent, body, "");
    let mut framed = Vec::new();
    skopos_ingest::syslog::write_frame(body, &mut framed);
    decode_twice(Protocol::JaegerAgent, &framed, "");
    decode_twice(Protocol::JaegerGrpc, body, "");
});
