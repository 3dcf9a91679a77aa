use skopos_model::IngestLimits;

use super::*;
use crate::context::Cache;
use crate::test_util::shared;

const RECEIVED: i64 = 1_700_000_000_000_000_000;

fn decoded(body: &[u8], query: &str, limits: &IngestLimits) -> Decoded<LogBatch> {
    let cache = Cache::default();
    decode(body, &Parameters::from_query(query), &Context::new(limits, RECEIVED, &cache))
}

/// Rows as one line of text each: time, severity, service/environment, body, ids, attributes.
fn check(body: &str, query: &str, expected: &[&str]) {
    let batch = decoded(body.as_bytes(), query, &IngestLimits::default()).batch;
    let rows: Vec<String> = (0..batch.len())
        .map(|row| {
            let resource = &batch.resources[batch.resource[row] as usize];
            let time = if batch.time[row] == RECEIVED { "now".to_owned() } else { (batch.time[row] / 1_000_000).to_string() };
            let ids = match (batch.trace_id[row], batch.span_id[row]) {
                (trace, span) if trace.is_none() && span.is_none() => String::new(),
                (trace, span) => format!(" trace={trace} span={span}"),
            };
            let mut attributes: Vec<String> = batch.attributes.row(row as u32).iter().map(|(k, v)| format!(" {k}={v:?}")).collect();
            attributes.sort();
            format!(
                "{time} {}:{} {}/{} {:?}{ids}{}",
                batch.severity_number[row],
                batch.severity_text.get(row),
                resource.service_name,
                resource.environment().unwrap_or_default(),
                batch.body.get(row),
                attributes.concat()
            )
        })
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn usual_keys() {
    check(
        concat!(
            r#"{"ts":"2026-11-20T03:12:40+0000","level":"INFO","service":"orders-api","env":"prod","message":"order_placed","request_id":"req-9f1","trace_id":"tr-448","user_id":"u-123"}"#,
            "\n",
            r#"{"time":1700000000123,"level":50,"pid":7,"hostname":"h","msg":"pino","traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7"}"#,
            "\r\n\n",
            r#"{"@timestamp":"2023-11-14T22:13:20Z","log.level":"warn","message":"ecs","service":{"name":"pay"},"trace":{"id":"4bf92f3577b34da6a3ce929d0e0e4736"},"http":{"status":500}}"#,
            "\n",
            r#"{"timestamp":1700000000,"event":"started","lvl":"dbg","app":"cron","x":null}"#,
        ),
        "service=default&env=test",
        &[
            r#"1795144360000 9:INFO orders-api/prod "order_placed" request_id=Str("req-9f1") trace_id=Str("tr-448") user_id=Str("u-123")"#,
            r#"1700000000123 17:ERROR default/test "pino" trace=4bf92f3577b34da6a3ce929d0e0e4736 span=00f067aa0ba902b7 hostname=Str("h") pid=Int(7)"#,
            r#"now 13:warn pay/test "ecs" trace=4bf92f3577b34da6a3ce929d0e0e4736 span=0000000000000000 http.status=Int(500)"#,
            r#"now 5:dbg cron/test "started""#,
        ],
    );
}

#[test]
fn nothing_is_lost() {
    check(
        "plain text line\n{\"broken\": 1\n42\n{\"only\":\"attributes\"}\n\u{feff}{}\n{\"a\":1} trailing",
        "service=s",
        &[
            r#"now 0: s/ "plain text line""#,
            r#"now 0: s/ "{\"broken\": 1""#,
            r#"now 0: s/ "42""#,
            r#"now 0: s/ "{\"only\":\"attributes\"}" only=Str("attributes")"#,
            r#"now 0: s/ "\u{feff}{}""#,
            r#"now 0: s/ "{\"a\":1} trailing""#,
        ],
    );
    let batch = decoded(b"not \xff utf-8\n", "", &IngestLimits::default()).batch;
    assert_eq!(batch.body.get(0), "not \u{fffd} utf-8");
    check("", "", &[]);
}

#[test]
fn second_names_and_odd_values_stay_attributes() {
    check(
        r#"{"time":"soon","ts":1700000000.5,"message":"a","msg":"b","level":3,"severity":"loud","event":"e","log":{"level":"x"},"trace_id":17}"#,
        "",
        &[
            r#"1700000000500 0:loud unknown_service/ "a" event=Str("e") level=Int(3) log.level=Str("x") msg=Str("b") time=Str("soon") trace_id=Int(17)"#,
        ],
    );
}

#[test]
fn small_numbers_are_no_times() {
    check(r#"{"msg":"m","t":5,"time":0.25}"#, "", &[r#"now 0: unknown_service/ "m" t=Int(5) time=Double(0.25)"#]);
}

#[test]
fn nesting_and_lists() {
    check(
        r#"{"msg":"m","a":{"b":{"c":{"d":{"e":{"f":[1,"x",null,true,1.5,{}]}}}}},"l":[[],{"k":"v\n"}],"big":18446744073709551615}"#,
        "",
        &[
            r#"now 0: unknown_service/ "m" a.b.c.d=Json("{\"e\":{\"f\":[1,\"x\",null,true,1.5,{}]}}") big=Str("18446744073709551615") l=Json("[[],{\"k\":\"v\\n\"}]")"#,
        ],
    );
}

#[test]
fn arrays_and_objects_over_several_lines() {
    check("[{\"msg\":\"a\"},\n {\"msg\":\"b\"}]", "", &[r#"now 0: unknown_service/ "a""#, r#"now 0: unknown_service/ "b""#]);
    check("[{\"msg\":\"a\"},7]", "", &[r#"now 0: unknown_service/ "a""#, r#"now 0: unknown_service/ "7""#]);
    check("{\n  \"msg\": \"pretty\"\n}\n", "", &[r#"now 0: unknown_service/ "pretty""#]);
    check("[INFO] no JSON", "", &[r#"now 9:INFO unknown_service/ "[INFO] no JSON""#]);
}

#[test]
fn limits_cut_and_mark() {
    let limits = IngestLimits { log_body_bytes_max: 4, attribute_value_bytes_max: 3, attributes_max: 2, ..IngestLimits::default() };
    let got = decoded("{\"msg\":\"aäöü\",\"a\":\"12345\",\"b\":1,\"c\":2,\"d\":[3]}\nlong text".as_bytes(), "", &limits);
    assert_eq!(got.batch.body.iter().collect::<Vec<_>>(), ["aä", "long"]);
    let row = got.batch.attributes.row(0);
    let expected = [
        ("a", AttrValue::Str("123".into())),
        ("b", AttrValue::Int(1)),
        ("skopos.truncated", AttrValue::Bool(true)),
        ("skopos.dropped_attributes", AttrValue::Int(2)),
    ];
    assert_eq!(row, expected);
    assert_eq!(got.changed.iter().map(|c| (c.reason, c.count)).collect::<Vec<_>>(), [("truncated", 2), ("attributes_dropped", 1)]);
    assert_eq!(got.rejected_count(), 0);
}

/// The mission's logging example, run as it stands.
#[test]
fn the_missions_python_script() {
    let Some(script) = shared("mission-examples/structured_logging.py") else { return };
    let Ok(run) = std::process::Command::new("python3").arg(script).env("TZ", "UTC").output() else { return };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let batch = decoded(&run.stdout, "", &IngestLimits::default()).batch;
    assert_eq!(batch.len(), 1);
    assert_eq!(batch.body.get(0), "order_placed");
    assert_eq!((batch.severity_number[0], batch.severity_text.get(0)), (9, "INFO"));
    let resource = &batch.resources[0];
    assert_eq!((&*resource.service_name, resource.environment().as_deref()), ("orders-api", Some("prod")));
    assert!(batch.time[0] > RECEIVED && batch.time[0] % 1_000_000_000 == 0, "its time is the script's, to the second");
    let mut row = batch.attributes.row(0);
    row.sort_by_key(|(key, _)| *key);
    let text = |s: &str| AttrValue::Str(s.to_owned());
    assert_eq!(row, [("request_id", text("req-9f1")), ("trace_id", text("tr-448")), ("user_id", text("u-123"))]);
}

proptest::proptest! {
    #[test]
    fn never_panics_and_never_drops(lines in proptest::collection::vec("[^\n]*", 1..6)) {
        let body = lines.join("\n");
        let batch = decoded(body.as_bytes(), "", &IngestLimits::default()).batch;
        // One byte order mark at the start of a body is no text of its first line.
        let text = body.strip_prefix('\u{feff}').unwrap_or(&body);
        let expected = text.split('\n').filter(|l| !l.trim_matches(|c: char| c.is_ascii_whitespace()).is_empty()).count();
        proptest::prop_assert_eq!(batch.len(), expected);
        proptest::prop_assert_eq!(batch.body.len(), expected);
        proptest::prop_assert_eq!(batch.resource.len(), expected);
    }

    #[test]
    fn never_panics_on_bytes(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let batch = decoded(&body, "", &IngestLimits::default()).batch;
        proptest::prop_assert_eq!(batch.body.len(), batch.len());
    }
}
