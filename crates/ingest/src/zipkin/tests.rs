use skopos_model::IngestLimits;

use super::*;
use crate::proto::Writer;
use crate::test_util::shared;

fn with_context<T>(run: impl FnOnce(&Context<'_>) -> T) -> T {
    run(&Context::new(&IngestLimits::default(), 5, &crate::context::Cache::default()))
}

fn row(batch: &SpanBatch, row: usize) -> String {
    let attributes: Vec<String> = batch.attributes.row(row as u32).iter().map(|(k, v)| format!("{k}={}", v.to_text())).collect();
    format!(
        "{} {} {} {} {} {} {}+{} {}{:?} [{}] {}",
        batch.trace_id[row],
        batch.span_id[row],
        batch.parent_span_id[row],
        batch.resources[batch.resource[row] as usize].service_name,
        batch.name.get(row),
        SpanKind::from_number(batch.kind[row]).as_str(),
        batch.start[row],
        batch.duration[row],
        batch.status_code[row],
        batch.status_message.get(row),
        attributes.join(","),
        batch.events.get(row),
    )
}

#[test]
fn json_spans() {
    let body = r#"[{"traceId":"463ac35c9f6413ad","id":"a2fb4a1d1a96d312","parentId":"463ac35c9f6413ad","kind":"CLIENT","name":"get /","timestamp":1472470996199000,"duration":207000,"localEndpoint":{"serviceName":"frontend","ipv4":"127.0.0.1"},"remoteEndpoint":{"serviceName":"backend","ipv4":"192.168.99.101","port":9000},"annotations":[{"timestamp":1472470996238000,"value":"foo"}],"tags":{"http.path":"/api","error":"broken","otel.scope.name":"lib"}},
{"traceId":"463ac35c9f6413ad","id":"a2fb4a1d1a96d312","kind":"SERVER","shared":true,"localEndpoint":{"serviceName":"backend"}},
{"traceId":"xyz","id":"1"},{"traceId":"1","id":"0"}]"#;
    let decoded = with_context(|ctx| decode_json(body.as_bytes(), ctx)).expect("spans");
    let batch = &decoded.batch;
    assert_eq!(batch.len(), 2);
    assert_eq!(
        row(batch, 0),
        "0000000000000000463ac35c9f6413ad a2fb4a1d1a96d312 463ac35c9f6413ad frontend get / client 1472470996199000000+207000000 2\"broken\" [http.path=/api,error=broken,peer.service=backend,network.peer.address=192.168.99.101,network.peer.port=9000] [{\"time_unix_nano\":1472470996238000000,\"name\":\"foo\",\"attributes\":{}}]"
    );
    assert_eq!(&*batch.scopes[batch.scope[0] as usize].name, "lib");
    // The server's half of a shared span is a span of its own below the client's.
    assert_ne!(batch.span_id[1], batch.span_id[0]);
    assert_eq!((batch.parent_span_id[1], batch.kind[1]), (batch.span_id[0], SpanKind::Server as u8));
    let reasons: Vec<&str> = decoded.rejected.iter().map(|r| r.reason).collect();
    assert_eq!(reasons, ["invalid_trace_id", "invalid_span_id"]);
    for bad in ["7", "[1]", "", "nothing"] {
        assert!(with_context(|ctx| decode_json(bad.as_bytes(), ctx)).is_err(), "{bad}");
    }
}

#[test]
fn protobuf_says_the_same() {
    let mut writer = Writer::default();
    writer.message(1, |span| {
        span.bytes(1, &[0x46, 0x3a, 0xc3, 0x5c, 0x9f, 0x64, 0x13, 0xad]);
        span.bytes(3, &[1; 8]);
        span.varint(4, 2);
        span.bytes(5, b"post");
        span.fixed64(6, 1_472_470_996_199_000);
        span.varint(7, 10);
        span.message(8, |endpoint| {
            endpoint.bytes(1, b"backend");
            endpoint.bytes(2, &[127, 0, 0, 1]);
        });
        span.message(10, |annotation| {
            annotation.fixed64(1, 1);
            annotation.bytes(2, b"x");
        });
        span.message(11, |tag| {
            tag.bytes(1, b"otel.status_code");
            tag.bytes(2, b"ERROR");
        });
    });
    writer.message(1, |span| span.bytes(1, &[1; 3]));
    let body = writer.into_bytes();
    let decoded = with_context(|ctx| decode_protobuf(&body, ctx)).expect("spans");
    assert_eq!(
        row(&decoded.batch, 0),
        "0000000000000000463ac35c9f6413ad 0101010101010101 0000000000000000 backend post server 1472470996199000000+10000 2\"\" [] [{\"time_unix_nano\":1000,\"name\":\"x\",\"attributes\":{}}]"
    );
    assert_eq!(decoded.rejected[0].reason, "invalid_trace_id");
    assert!(with_context(|ctx| decode_protobuf(&[0xff], ctx)).is_err());
}

#[test]
fn span_lists_of_others_are_taken_whole() {
    let Some(folder) = shared("conformance/zipkin") else { return };
    let mut lists = 0;
    for file in std::fs::read_dir(folder).expect("conformance data is readable") {
        let path = file.expect("conformance data is readable").path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let body = std::fs::read(&path).expect("conformance data is readable");
        let sent: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let sent = sent.as_array().map_or(1, Vec::len);
        let decoded = with_context(|ctx| decode_json(&body, ctx)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!((decoded.batch.len(), decoded.rejected.len()), (sent, 0), "{}", path.display());
        let ids: HashSet<(TraceId, SpanId)> = decoded.batch.trace_id.iter().copied().zip(decoded.batch.span_id.iter().copied()).collect();
        assert_eq!(ids.len(), sent, "{}: each span has an id of its own", path.display());
        lists += 1;
    }
    assert!(lists >= 10, "{lists}");
}
