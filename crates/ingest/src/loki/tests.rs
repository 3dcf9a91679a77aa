use skopos_model::{AttrValue, IngestLimits};

use super::*;
use crate::context::Cache;
use crate::proto::Writer;

fn check(result: &Result<Decoded<LogBatch>, IngestError>, row: usize) -> String {
    let decoded = result.as_ref().expect("a push");
    let batch = &decoded.batch;
    let labels: Vec<String> =
        stream::labels(&batch.resources[batch.resource[row] as usize]).expect("a stream").map(|(k, v)| format!("{k}={v}")).collect();
    let metadata: Vec<String> = batch.attributes.row(row as u32).iter().map(|(k, v)| format!("{k}={}", v.to_text())).collect();
    format!(
        "{{{}}} {} {} [{}] {} {:?}",
        labels.join(","),
        batch.time[row],
        batch.severity_number[row],
        metadata.join(","),
        batch.trace_id[row],
        batch.body.get(row)
    )
}

fn json(body: &str) -> Result<Decoded<LogBatch>, IngestError> {
    decode_json(body.as_bytes(), &Context::new(&IngestLimits::default(), 5, &Cache::default()))
}

#[test]
fn json_streams_come_back_as_they_were() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let body = format!(
        r#"{{"streams":[{{"stream":{{"app":"shop","level":"warn"}},"values":[["1577836800000000001","foo bar",{{"trace_id":"{trace}","user":"7"}}],["1686026123.62","level=error x",{{"traceID":"{trace}"}}]]}},{{"values":[["7","[error] \u00e4"]]}},{{"stream":{{}},"values":[]}}]}}"#
    );
    let got = json(&body);
    assert_eq!(check(&got, 0), format!("{{app=shop,level=warn}} 1577836800000000001 13 [user=7] {trace} \"foo bar\""));
    assert_eq!(check(&got, 1), format!("{{app=shop,level=warn}} 1686026123620000000 13 [traceID={trace}] {trace} \"level=error x\""));
    assert_eq!(check(&got, 2), "{} 7 17 [] 00000000000000000000000000000000 \"[error] ä\"");
    let decoded = got.expect("a push");
    assert_eq!(decoded.batch.len(), 3);
    assert_eq!(&*decoded.batch.resources[0].service_name, "shop");
    assert!(decoded.is_clean());
}

#[test]
fn json_of_another_shape_is_refused() {
    for (body, expected) in [
        ("{}", "missing field `streams`"),
        (r#"{"streams":[{}]}"#, "missing field `values`"),
        (r#"{"streams":[{"values":[["123"]]}]}"#, "invalid length 1, expected an array of a time"),
        (r#"{"streams":[{"values":[["1","2",{},"4"]]}]}"#, "invalid length 4"),
        (r#"{"streams":[{"values":[[123,"456"]]}]}"#, "expected a string"),
        (r#"{"streams":[{"values":[["soon","456"]]}]}"#, "\"soon\" is no time in Unix nanoseconds"),
        (r#"{"streams":[{"values":[["1","a",{"m":1}]]}]}"#, "expected a string"),
    ] {
        let error = json(body).expect_err(body).to_string();
        assert!(error.starts_with("malformed PushRequest JSON at line 1 column ") && error.contains(expected), "{body}: {error}");
    }
}

fn protobuf_push(labels: &[u8], line: &[u8], metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.message(1, |stream| {
        stream.bytes(1, labels);
        stream.message(2, |entry| {
            entry.message(1, |time| {
                time.varint(1, 1_577_836_800);
                time.varint(2, 1);
            });
            entry.bytes(2, line);
            for (name, value) in metadata {
                entry.message(3, |pair| {
                    pair.bytes(1, name.as_bytes());
                    pair.bytes(2, value.as_bytes());
                });
            }
        });
    });
    writer.into_bytes()
}

fn protobuf(body: &[u8]) -> Result<Decoded<LogBatch>, IngestError> {
    let body = snap::raw::Encoder::new().compress_vec(body).expect("to memory");
    decode(&body, &Context::new(&IngestLimits::default(), 5, &Cache::default()))
}

#[test]
fn protobuf_streams() {
    let got = protobuf(&protobuf_push(br#"{job="shop"}"#, b"a line", &[("detected_level", "error"), ("k", "v")]));
    assert_eq!(check(&got, 0), "{job=shop} 1577836800000000001 17 [detected_level=error,k=v] 00000000000000000000000000000000 \"a line\"");
    // Bytes that are no text are replaced and told.
    let got = protobuf(&protobuf_push(br#"{job="shop"}"#, b"a \xff", &[]));
    assert_eq!(check(&got, 0), "{job=shop} 1577836800000000001 0 [] 00000000000000000000000000000000 \"a \u{fffd}\"");
    assert_eq!(got.expect("a push").changed[0].reason, "invalid_utf8");
    // A stream that cannot be read does not take the others with it.
    let body = [protobuf_push(b"{job}", b"lost", &[]), protobuf_push(b"{a=\"b\"}", b"kept", &[])].concat();
    let decoded = protobuf(&body).expect("a push");
    assert_eq!((decoded.batch.len(), decoded.batch.body.get(0)), (1, "kept"));
    assert_eq!(
        refusal(&decoded.rejected),
        "error parsing labels `{job}`: parse error at byte 4: unexpected '}', expected '=' (1 entries: invalid_labels)"
    );
    assert!(protobuf(&[0xff]).is_err() && decode(b"no snappy", &Context::new(&IngestLimits::default(), 5, &Cache::default())).is_err());
}

#[test]
fn a_long_line_is_cut_and_marked() {
    let limits = IngestLimits { log_body_bytes_max: 10, ..IngestLimits::default() };
    let body = r#"{"streams":[{"stream":{"a":"b"},"values":[["1","0123456789abc"]]}]}"#;
    let decoded = decode_json(body.as_bytes(), &Context::new(&limits, 5, &Cache::default())).expect("a push");
    assert_eq!(decoded.batch.body.get(0), "0123456789");
    assert_eq!(decoded.batch.attributes.row(0), [("skopos.truncated", AttrValue::Bool(true))]);
}
