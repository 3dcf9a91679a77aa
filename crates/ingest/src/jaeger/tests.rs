use serde_json::Value as Json;
use skopos_model::IngestLimits;

use super::*;
use crate::proto::Writer;
use crate::syslog::write_frame;
use crate::test_util::shared;

/// Writes Thrift, so that what is read is known; in both protocols.
struct Thrift {
    out: Vec<u8>,
    compact: bool,
    last: Vec<i16>,
}

impl Thrift {
    fn new(compact: bool) -> Self {
        Self { out: Vec::new(), compact, last: vec![0] }
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    /// `code`: types of the binary protocol and of the compact one.
    fn field(&mut self, id: i16, code: (u8, u8)) {
        if self.compact {
            let last = self.last.last_mut().expect("inside a structure");
            self.out.push(((id - *last) as u8) << 4 | code.1);
            *last = id;
        } else {
            self.out.push(code.0);
            self.out.extend_from_slice(&id.to_be_bytes());
        }
    }

    fn i64(&mut self, id: i16, value: i64) {
        self.field(id, (10, 6));
        if self.compact { self.varint(crate::proto::to_zigzag(value)) } else { self.out.extend_from_slice(&value.to_be_bytes()) }
    }

    fn i32(&mut self, id: i16, value: i32) {
        self.field(id, (8, 5));
        if self.compact { self.varint(crate::proto::to_zigzag(i64::from(value))) } else { self.out.extend_from_slice(&value.to_be_bytes()) }
    }

    fn raw(&mut self, bytes: &[u8]) {
        if self.compact {
            self.varint(bytes.len() as u64)
        } else {
            self.out.extend_from_slice(&(bytes.len() as u32).to_be_bytes())
        }
        self.out.extend_from_slice(bytes);
    }

    fn string(&mut self, id: i16, text: &str) {
        self.field(id, (11, 8));
        self.raw(text.as_bytes());
    }

    fn structure(&mut self, id: i16, fields: impl FnOnce(&mut Self)) {
        self.field(id, (12, 12));
        self.element(fields);
    }

    fn element(&mut self, fields: impl FnOnce(&mut Self)) {
        self.last.push(0);
        fields(self);
        self.last.pop();
        self.out.push(0);
    }

    fn list<T>(&mut self, id: i16, all: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.field(id, (15, 9));
        if self.compact {
            self.out.push((all.len().min(15) as u8) << 4 | 12);
            if all.len() >= 15 {
                self.varint(all.len() as u64);
            }
        } else {
            self.out.push(12);
            self.out.extend_from_slice(&(all.len() as u32).to_be_bytes());
        }
        for one in all {
            self.element(|out| each(out, one));
        }
    }

    fn tags(&mut self, id: i16, tags: &[Json]) {
        self.list(id, tags, |out, tag| {
            out.string(1, tag["key"].as_str().expect("a key"));
            let kinds = ["STRING", "DOUBLE", "BOOL", "LONG", "BINARY"];
            out.i32(2, kinds.iter().position(|kind| tag["vType"] == **kind).expect("a type") as i32);
            if let Some(text) = tag["vStr"].as_str() {
                out.string(3, text);
            }
            if let Some(number) = tag["vDouble"].as_f64() {
                out.field(4, (4, 7));
                let bytes = if out.compact { number.to_le_bytes() } else { number.to_be_bytes() };
                out.out.extend_from_slice(&bytes);
            }
            if let Some(truth) = tag["vBool"].as_bool() {
                out.field(5, (2, if truth { 1 } else { 2 }));
                if !out.compact {
                    out.out.push(u8::from(truth));
                }
            }
            if let Some(number) = tag["vLong"].as_i64() {
                out.i64(6, number);
            }
        });
    }

    fn batch(&mut self, batch: &Json) {
        let none = Vec::new();
        let list = |value: &Json| value.as_array().unwrap_or(&none).clone();
        self.structure(1, |out| {
            out.string(1, batch["process"]["serviceName"].as_str().expect("a name"));
            out.tags(2, &list(&batch["process"]["tags"]));
        });
        self.list(2, &list(&batch["spans"]), |out, span| {
            let number = |key: &str| span[key].as_i64().unwrap_or(0);
            out.i64(1, number("traceIdLow"));
            out.i64(2, number("traceIdHigh"));
            out.i64(3, number("spanId"));
            out.i64(4, number("parentSpanId"));
            out.string(5, span["operationName"].as_str().unwrap_or(""));
            out.list(6, &list(&span["references"]), |out, reference| {
                out.i32(1, i32::from(reference["refType"] == "FOLLOWS_FROM"));
                out.i64(2, reference["traceIdLow"].as_i64().unwrap_or(0));
                out.i64(3, reference["traceIdHigh"].as_i64().unwrap_or(0));
                out.i64(4, reference["spanId"].as_i64().unwrap_or(0));
            });
            out.i32(7, number("flags") as i32);
            out.i64(8, number("startTime"));
            out.i64(9, number("duration"));
            out.tags(10, &list(&span["tags"]));
            out.list(11, &list(&span["logs"]), |out, log| {
                out.i64(1, log["timestamp"].as_i64().unwrap_or(0));
                out.tags(2, &list(&log["fields"]));
            });
        });
    }
}

fn with_context<T>(run: impl FnOnce(&Context<'_>) -> T) -> T {
    run(&Context::new(&IngestLimits::default(), 5, &crate::context::Cache::default()))
}

fn datagram(batch: &Json, compact: bool) -> Vec<u8> {
    let mut thrift = Thrift::new(compact);
    if compact {
        thrift.out.extend_from_slice(&[0x82, 0x81, 0x00]);
        thrift.raw(b"emitBatch");
    } else {
        thrift.out.extend_from_slice(&[0x80, 0x01, 0, 4]);
        thrift.raw(b"emitBatch");
        thrift.out.extend_from_slice(&[0; 4]);
    }
    thrift.structure(1, |out| out.batch(batch));
    thrift.out.push(0);
    let mut framed = Vec::new();
    write_frame(&thrift.out, &mut framed);
    framed
}

fn http(batch: &Json, compact: bool) -> Vec<u8> {
    let mut thrift = Thrift::new(compact);
    thrift.batch(batch);
    thrift.out.push(0);
    thrift.out
}

fn example() -> Json {
    serde_json::json!({
        "process": {"serviceName": "api", "tags": [{"key": "hostname", "vType": "STRING", "vStr": "h1"}]},
        "spans": [{
            "traceIdLow": 0x0102_0304_0506_0708_i64, "traceIdHigh": -1, "spanId": -2, "operationName": "get", "startTime": 1_485_467_191_639_875_i64, "duration": 22938, "flags": 2,
            "references": [
                {"refType": "CHILD_OF", "traceIdLow": 0x0102_0304_0506_0708_i64, "traceIdHigh": -1, "spanId": 9},
                {"refType": "FOLLOWS_FROM", "traceIdLow": 1, "traceIdHigh": 0, "spanId": 7}
            ],
            "tags": [
                {"key": "span.kind", "vType": "STRING", "vStr": "server"},
                {"key": "error", "vType": "BOOL", "vBool": true},
                {"key": "ok", "vType": "BOOL", "vBool": false},
                {"key": "n", "vType": "LONG", "vLong": -5},
                {"key": "d", "vType": "DOUBLE", "vDouble": 129.8}
            ],
            "logs": [{"timestamp": 1_485_467_191_639_876_i64, "fields": [{"key": "event", "vType": "STRING", "vStr": "retry"}, {"key": "n", "vType": "LONG", "vLong": 2}]}]
        }, {"operationName": "none"}]
    })
}

#[test]
fn both_protocols_of_thrift_say_the_same() {
    let mut all = Vec::new();
    for compact in [true, false] {
        let body = http(&example(), compact);
        all.push(with_context(|ctx| decode_batch(&body, ctx)).expect("a batch"));
        let body = datagram(&example(), compact);
        all.push(with_context(|ctx| decode_agent(&body, ctx)).expect("a datagram"));
        for short in 0..body.len() {
            let _ = with_context(|ctx| decode_batch(&body[..short], ctx));
        }
    }
    let batch = &all[0].batch;
    assert!(all.iter().all(|other| other.batch == *batch && other.rejected == all[0].rejected));
    assert_eq!((batch.len(), all[0].rejected[0].reason), (1, "invalid_trace_id"));
    assert_eq!(
        (batch.trace_id[0].to_hex(), batch.span_id[0].to_hex()),
        ("ffffffffffffffff0102030405060708".to_owned(), "fffffffffffffffe".to_owned())
    );
    assert_eq!((batch.parent_span_id[0].to_hex(), batch.kind[0], batch.status_code[0]), ("0000000000000009".to_owned(), 2, 2));
    assert_eq!((batch.start[0], batch.duration[0]), (1_485_467_191_639_875_000, 22_938_000));
    assert_eq!(batch.events.get(0), r#"[{"time_unix_nano":1485467191639876000,"name":"retry","attributes":{"n":2}}]"#);
    assert_eq!(
        batch.links.get(0),
        r#"[{"trace_id":"00000000000000000000000000000001","span_id":"0000000000000007","attributes":{"opentracing.ref_type":"follows_from"}}]"#
    );
    let attributes: Vec<String> = batch.attributes.row(0).iter().map(|(k, v)| format!("{k}={}", v.to_text())).collect();
    assert_eq!(attributes, ["error=true", "ok=false", "n=-5", "d=129.8", "jaeger.debug=true"]);
    assert_eq!(batch.resources[0].get("host.name").as_deref(), Some("h1"));
}

#[test]
fn what_is_no_batch_is_refused() {
    for bad in [&b""[..], b"\x0c", b"{\"spans\":[]}", &[0x1c, 0xff], &[0x0f, 0, 2, 12, 0xff, 0xff, 0xff, 0xff]] {
        assert!(with_context(|ctx| decode_batch(bad, ctx)).is_err(), "{bad:x?}");
    }
    let mut body = datagram(&example(), true);
    write_frame(b"\x82\x81\x00\x0cemitZipkinBatch", &mut body);
    let decoded = with_context(|ctx| decode_agent(&body, ctx)).expect("frames");
    assert_eq!((decoded.batch.len(), decoded.rejected[1].reason), (1, "malformed_datagram"));
    assert!(with_context(|ctx| decode_agent(b"9 x", ctx)).is_err());
}

#[test]
fn batches_of_others_are_taken_whole() {
    for name in ["thrift_batch_01.json", "thrift_batch_02.json"] {
        let Some(path) = shared(&format!("conformance/jaeger-api/fixtures/{name}")) else { return };
        let json: Json = serde_json::from_slice(&std::fs::read(path).expect("conformance data is readable")).expect("JSON");
        for compact in [true, false] {
            let body = http(&json, compact);
            let decoded = with_context(|ctx| decode_batch(&body, ctx)).expect("a batch");
            assert_eq!((decoded.batch.len(), decoded.rejected.len()), (json["spans"].as_array().map_or(0, Vec::len), 0), "{name}");
            assert_eq!(&*decoded.batch.resources[0].service_name, json["process"]["serviceName"].as_str().expect("a name"));
        }
    }
}

#[test]
fn grpc_requests() {
    let mut writer = Writer::default();
    writer.message(1, |batch| {
        batch.message(1, |span| {
            span.bytes(1, &[1; 16]);
            span.bytes(2, &[2; 8]);
            span.bytes(3, b"get");
            span.message(4, |reference| {
                reference.bytes(1, &[1; 16]);
                reference.bytes(2, &[3; 8]);
            });
            span.message(6, |time| {
                time.varint(1, 1_485_467_191);
                time.varint(2, 639_875_000);
            });
            span.message(7, |time| time.varint(2, 22_938_000));
            for (key, value) in [("span.kind", "client"), ("w3c.tracestate", "a=b"), ("otel.status_code", "OK")] {
                span.message(8, |tag| {
                    tag.bytes(1, key.as_bytes());
                    tag.bytes(3, value.as_bytes());
                });
            }
            span.message(8, |tag| {
                tag.bytes(1, b"n");
                tag.varint(2, 2);
                tag.varint(5, (-7i64) as u64);
            });
            span.message(10, |process| process.bytes(1, b"own"));
            span.bytes(12, b"clock skew");
        });
        batch.message(1, |span| span.bytes(1, &[1; 16]));
        batch.message(2, |process| process.bytes(1, b"shared"));
    });
    let body = writer.into_bytes();
    let decoded = with_context(|ctx| decode_grpc(&body, ctx)).expect("a request");
    let batch = &decoded.batch;
    assert_eq!((batch.len(), decoded.rejected[0].reason), (1, "invalid_span_id"));
    assert_eq!(&*batch.resources[batch.resource[0] as usize].service_name, "own");
    assert_eq!((batch.start[0], batch.duration[0], batch.kind[0], batch.status_code[0]), (1_485_467_191_639_875_000, 22_938_000, 3, 1));
    assert_eq!((batch.parent_span_id[0], batch.trace_state.get(0), batch.links.get(0)), (SpanId([3; 8]), "a=b", ""));
    let attributes: Vec<String> = batch.attributes.row(0).iter().map(|(k, v)| format!("{k}={}", v.to_text())).collect();
    assert_eq!(attributes, ["n=-7", "jaeger.warnings=clock skew"]);
    assert!(with_context(|ctx| decode_grpc(&[0xff], ctx)).is_err());
}
