use skopos_model::IngestLimits;

use super::*;
use crate::context::Cache;
use crate::syslog::write_frame;
use crate::test_util::TableResolver;

/// A body of each of the protocols that are no OTLP, to be damaged.
fn bodies() -> Vec<(Protocol, Vec<u8>)> {
    let loki = br#"{"streams":[{"stream":{"job":"shop","level":"warn"},"values":[["1700000000000000000","a line",{"trace_id":"5b8efff798038103d269b633813fc60c"}]]}]}"#;
    let zipkin = br#"[{"traceId":"463ac35c9f6413ad","id":"a2fb4a1d1a96d312","kind":"SERVER","shared":true,"timestamp":1472470996199000,"localEndpoint":{"serviceName":"f"},"annotations":[{"timestamp":1,"value":"foo"}],"tags":{"error":"x"}}]"#;
    let thrift = b"\x1c\x18\x03api\x19\x1c\x18\x01h\x15\x00\x18\x01v\x00\x00\x19\x1c\x16\x02\x16\x00\x16\x04\x16\x00\x18\x03get\x19\x1c\x15\x02\x16\x02\x16\x00\x16\x06\x00\x15\x02\x16\x10\x16\x0a\x19\x1c\x18\x01k\x15\x00\x18\x01v\x00\x19\x1c\x16\x02\x19\x0c\x00\x00\x00";
    let binary = b"\x0c\x00\x01\x0b\x00\x01\x00\x00\x00\x03api\x00\x0f\x00\x02\x0c\x00\x00\x00\x01\x0a\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x0a\x00\x03\x00\x00\x00\x00\x00\x00\x00\x02\x0b\x00\x05\x00\x00\x00\x03get\x00\x00";
    let (mut syslog, mut agent) = (Vec::new(), Vec::new());
    for message in [&b"<165>1 2023-06-03T17:42:00.000Z h a 1 ID [e@3 iut=\"3\" x=\"a\\\"]\"] Said."[..], b"<13>Jun  3 12:08:33.5 h a[9]: x", b"foo"] {
        write_frame(message, &mut syslog);
    }
    write_frame(&[&b"\x82\x81\x00\x09emitBatch\x1c"[..], thrift, b"\x00"].concat(), &mut agent);
    let grpc = b"\x0a\x2d\x0a\x23\x0a\x10AAAAAAAAAAAAAAAA\x12\x08BBBBBBBB\x1a\x01n\x32\x02\x08\x01\x12\x06\x0a\x04shop";
    let proto3 = b"\x0a\x1d\x0a\x08AAAAAAAA\x1a\x08BBBBBBBB\x2a\x01n\x42\x04\x0a\x02ab";
    vec![
        (Protocol::LokiJson, loki.to_vec()),
        (Protocol::Loki, snap::raw::Encoder::new().compress_vec(b"\x0a\x16\x0a\x0a{job=\"a\"}\x0a\x12\x08\x0a\x02\x08\x01\x12\x02hi").expect("to memory")),
        (Protocol::ElasticBulk, b"{\"create\":{\"_index\":\"logs-a-b\"}}\n{\"message\":\"x\",\"n\":{\"a\":[1]}}\n{\"delete\":{}}\n".to_vec()),
        (Protocol::SplunkEvents, b"{\"time\":1.5,\"event\":{\"message\":\"x\"},\"fields\":{\"a\":1}}{\"event\":\"y\"}".to_vec()),
        (Protocol::SplunkRaw, b"one\ntwo\n".to_vec()),
        (Protocol::Syslog, syslog),
        (Protocol::FluentForward, b"\x93\xa1t\x91\x92\xd7\x00\x00\x00\x00\x06\x00\x00\x00\x01\x82\xa3log\xa2hi\xa1n\x91\xc0\x81\xa5chunk\xa1c\x93\xa1t\x05\x81\xa1a\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00".to_vec()),
        (Protocol::ZipkinJson, zipkin.to_vec()),
        (Protocol::ZipkinProtobuf, proto3.to_vec()),
        (Protocol::JaegerThrift, thrift.to_vec()),
        (Protocol::JaegerThrift, binary.to_vec()),
        (Protocol::JaegerAgent, agent),
        (Protocol::JaegerGrpc, grpc.to_vec()),
    ]
}

/// Decodes as recovery does: twice, with the same rows.
fn rows(protocol: Protocol, body: &[u8]) -> Option<usize> {
    let (limits, cache) = (IngestLimits::default(), Cache::default());
    let ctx = Context::new(&limits, 1_700_000_000_000_000_000, &cache);
    let once = || decode(protocol, body, "", &ctx, &mut TableResolver::default());
    let first = once();
    assert_eq!(first, once(), "{protocol:?}: the same body gives the same rows");
    let batch = first.ok()?.batch;
    assert_eq!(batch.signal(), protocol.signal());
    // Each column has as many rows: what does not cannot be logged and read back.
    let bytes = batch.to_bytes().expect("rows can be logged");
    assert_eq!(Batch::from_bytes(&bytes).expect("rows read back"), batch);
    Some(batch.rows())
}

#[test]
fn damaged_bodies_are_refused_or_read_and_never_more() {
    let mut random = fastrand::Rng::with_seed(0x5eed_d00f);
    for (protocol, body) in bodies() {
        assert!(rows(protocol, &body).is_some_and(|rows| rows > 0), "{protocol:?}: the body is whole");
        for _ in 0..3_000 {
            let mut damaged = body.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(0..damaged.len());
                match random.u8(0..4) {
                    0 => damaged[at] = random.u8(..),
                    1 => damaged[at] ^= 1 << random.u8(0..8),
                    2 => damaged.truncate(at.max(1)),
                    _ => damaged.insert(at, random.u8(..)),
                }
            }
            rows(protocol, &damaged);
        }
    }
}

#[test]
fn stable_keys_and_fields_of_messages() {
    let (limits, cache) = (IngestLimits::default(), Cache::default());
    let ctx = Context::new(&limits, 5, &cache);
    let trace = "5b8efff798038103d269b633813fc60c";
    let message =
        format!(r#"{{\\"level\\":\\"warn\\",\\"userId\\":\\"u1\\",\\"o\\":{{\\"n\\":7}},\\"trace_id\\":\\"{trace}\\"}}"#).replace("\\\\", "\\");
    let otlp = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{{"stringValue":"{message}"}},"attributes":[{{"key":"o.n","value":{{"intValue":"1"}}}}]}},{{"body":{{"stringValue":"{{no json}}"}}}}]}}]}}]}}"#
    );
    let plain = message.replace('\\', "");
    let mut syslog = Vec::new();
    write_frame(format!("<14>1 - - - - - - @cee:{plain}").as_bytes(), &mut syslog);
    for (protocol, body) in
        [(Protocol::OtlpLogsJson, otlp.into_bytes()), (Protocol::Syslog, syslog), (Protocol::JsonLines, plain.clone().into_bytes())]
    {
        let Batch::Logs(batch) = decode(protocol, &body, "", &ctx, &mut TableResolver::default()).expect("a body").batch else { panic!("logs") };
        let texts: Vec<String> = batch.attributes.row(0).iter().map(|(k, v)| format!("{k}={}", v.to_text())).collect();
        let has = |text: &str| texts.iter().any(|t| t == text);
        assert!(has("userId=u1") && has("user_id=u1"), "{protocol:?}: {texts:?}");
        assert_eq!((batch.severity_number[0], batch.trace_id[0].to_hex()), (13, trace.to_owned()), "{protocol:?}");
        // What the record says itself comes first.
        assert!(has(if protocol == Protocol::OtlpLogsJson { "o.n=1" } else { "o.n=7" }), "{protocol:?}: {texts:?}");
        assert!(batch.body.get(0).contains(&plain), "{protocol:?}: the message stays");
    }
}
