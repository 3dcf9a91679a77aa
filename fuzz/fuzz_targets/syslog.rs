//! Syslog: streams are cut into messages without end, and each message becomes a record.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skopos_fuzz::decode_twice;
use skopos_ingest::Protocol;
use skopos_ingest::syslog::{Framed, next_frame, write_frame};

fuzz_target!(|body: &[u8]| {
    let (mut rest, mut framed) = (body, Vec::new());
    loop {
        match next_frame(rest, 1_000, true) {
            Framed::Message { message, length } => {
                assert!(length > 0 && message.len() <= length, "each frame takes something");
                write_frame(message, &mut framed);
                rest = &rest[length..];
            }
            Framed::Skip { length } => rest = &rest[length..],
            Framed::Incomplete | Framed::TooLong => break,
        }
    }
    decode_twice(Protocol::Syslog, &framed, "10.0.0.1");
    decode_twice(Protocol::Syslog, body, "");
});
