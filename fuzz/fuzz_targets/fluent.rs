//! Fluent Forward: messages, and MessagePack below them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_fuzz::decode_twice;
use skopos_ingest::Protocol;

fuzz_target!(|body: &[u8]| {
    if let Ok(Some((length, _))) = skopos_ingest::fluent::frame(body) {
        assert!(length > 0 && length <= body.len(), "a message is within the bytes");
    }
    decode_twice(Protocol::FluentForward, body, "");
    let mut text = String::new();
    if skopos_ingest::msgpack::Reader::new(body).json(skopos_ingest::msgpack::DEPTH_MAX, &mut text).is_ok() && !text.contains("\"Infinity\"") {
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "what is written is JSON: {text}");
    }
});
