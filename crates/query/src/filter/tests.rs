use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::super::{Compare, CompiledFilter, Field, FieldValue, Filter, Row, Value, matches};
use super::{number_of, parse, parse_duration};
use crate::error::QueryError;

fn check(text: &str, printed: &str) {
    let filter = parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"));
    assert_eq!(filter.to_string(), printed, "{text:?} as {filter:?}");
    assert_eq!(parse(printed).as_ref(), Ok(&filter), "{printed:?} reads back");
}

#[test]
fn what_is_read() {
    for (text, printed) in [
        ("", "*"),
        ("  ", "*"),
        ("*", "*"),
        ("timeout", "timeout"),
        ("connection reset", "connection reset"),
        ("a AND b", "a b"),
        ("a b OR c", "a b OR c"),
        ("(a OR b) c", "(a OR b) c"),
        ("((a OR b) OR c)", "a OR b OR c"),
        ("a (b c) (d)", "a b c d"),
        ("NOT a", "-a"),
        ("-(a b)", "-(a b)"),
        ("!level:error", "-level:error"),
        (
            "service:checkout-api level:error -path:/health dur:>500ms \"free text\"",
            "service:checkout-api level:error -path:\"/health\" duration:>500ms \"free text\"",
        ),
        ("svc:a,b,\"c d\"", "service:a,b,\"c d\""),
        ("path:/api/v1/orders", "path:\"/api/v1/orders\""),
        ("http.route:/^\\/orders/", "http.route:/^\\/orders/"),
        ("msg:/time ?out/", "body:~\"/time\" \"?out/\""),
        ("msg:=~\"time ?out\"", "body:=~\"time ?out\""),
        ("msg:/timeout/i", "body:=~\"(?i)timeout\""),
        ("(msg:/a(b|c)/)", "body:/a(b|c)/"),
        ("body:reset,refused", "body:~reset OR body:~refused"),
        ("body:=reset", "body:=reset"),
        ("user:al*", "user:al*"),
        ("user:\"a l\"*", "user:\"a l\"*"),
        ("user:*", "user:*"),
        ("n:5 n:-1.5 n:\"5\" n:007 n:1.10 n:true n:\"true\"", "n:5 n:-1.5 n:\"5\" n:007 n:1.10 n:true n:\"true\""),
        ("n:>5 n:>=5 n:<5 n:<=5s", "n:>5 n:>=5 n:<5 n:<=5s"),
        ("status:5xx,404 status:error status:>=500", "status:5xx,404 status:error status:>=500"),
        ("\"status\":7 \"a b\":c", "\"status\":7 \"a b\":c"),
        ("\"sevice\":x", "\"sevice\":x"),
        ("http://example.com/x?y=1 12:30:00 orders::db", "\"http://example.com/x?y=1\" \"12:30:00\" \"orders::db\""),
        ("foo* \"AND\" -", "foo \"AND\" \"-\""),
        ("--x", "--x"),
        ("level:>=WARN root:TRUE kind:server", "level:>=WARN root:true kind:server"),
        ("trace:4bf92f3577b34da6a3ce929d0e0e4736 span:00f0*", "trace_id:4bf92f3577b34da6a3ce929d0e0e4736 span_id:00f0*"),
        ("env:prod OR environment:stage", "environment:prod OR environment:stage"),
        ("dur:>1h30m dur:<1.5s dur:<90us", "duration:>90m duration:<1500ms duration:<90us"),
        ("\"say \\\"hi\\\"\\n\"", "\"say \\\"hi\\\"\\n\""),
        ("key:a*,b", "key:b OR key:a*"),
        ("\"\":x", "\"\":x"),
    ] {
        check(text, printed);
    }
}

fn errors(texts: &[&str], expected: Expect) {
    let mut out = String::new();
    for text in texts {
        match parse(text) {
            Err(QueryError::Parse { message, at }) => out += &format!("{text}\n  {}..{} {message}\n", at.start, at.end),
            other => panic!("{text:?} gave {other:?}"),
        }
    }
    expected.assert_eq(&out);
}

#[test]
fn what_is_refused() {
    errors(
        &[
            "a OR",
            "OR a",
            "a AND",
            "AND",
            "()",
            "(a",
            "a)",
            "NOT",
            "\"abc",
            "service:",
            "x: y",
            "sevice:api",
            "levle:error",
            "level:eror",
            "level:99",
            "dur:>500",
            "dur:fast",
            "status:bad",
            "status:>5xx",
            "kind:servr",
            "root:yes",
            "trace_id:abc",
            "path:/a[/",
            "path:/a(/",
            "n:foo(bar)",
            "n:a\"b\"",
            "n:>5*",
        ],
        expect![[r#"
            a OR
              4..4 expected a word, "a phrase", key:value or ( here
            OR a
              0..1 expected a word, "a phrase", key:value or ( here
            a AND
              5..5 expected a word, "a phrase", key:value or ( after AND
            AND
              0..1 expected a word, "a phrase", key:value or ( here
            ()
              1..2 expected a word, "a phrase", key:value or ( here
            (a
              0..1 this `(` is not closed; expected `)`
            a)
              1..2 this `)` closes nothing; quote it to search for it
            NOT
              0..3 expected what to exclude after NOT
            "abc
              0..1 this quote is not closed; expected `"`
            service:
              8..8 expected a value after `service:`, for example service:checkout; quote the text to search for it as it is
            x: y
              2..2 expected a value after `x:`, for example key:value; quote the text to search for it as it is
            sevice:api
              0..6 unknown field `sevice`: did you mean `service`? An attribute of this name is written "sevice":…
            levle:error
              0..5 unknown field `levle`: did you mean `level`? An attribute of this name is written "levle":…
            level:eror
              6..10 `eror` is no level: expected trace, debug, info, warn, error, fatal or a number from 1 to 24; did you mean `error`?
            level:99
              6..8 `99` is no level: expected trace, debug, info, warn, error, fatal or a number from 1 to 24
            dur:>500
              5..8 `500` is no duration: expected a number with a unit (ns, us, ms, s, m, h, d), for example 500ms
            dur:fast
              4..8 `fast` is no duration: expected a number with a unit (ns, us, ms, s, m, h, d), for example 500ms
            status:bad
              7..10 `bad` is no status: expected ok, error, unset, a number such as 500 or a class such as 5xx
            status:>5xx
              8..11 `5xx` is no status: expected a number such as 500
            kind:servr
              5..10 `servr` is no kind: expected internal, server, client, producer or consumer; did you mean `server`?
            root:yes
              5..8 `yes` is no root: expected true or false
            trace_id:abc
              9..12 `abc` is no trace_id: expected 32 hexadecimal digits (or the first of them and `*`)
            path:/a[/
              5..9 not a regular expression: unclosed character class
            path:/a(/
              5..9 not a regular expression: unclosed group
            n:foo(bar)
              0..6 expected a space before `(`; quote values that hold it: key:"…"
            n:a"b"
              0..4 expected a space before `"`; quote values that hold it: key:"…"
            n:>5*
              3..5 a value to compare with has no `*`
        "#]],
    );
    assert!(parse(&"(".repeat(10_000)).is_err());
    assert!(parse(&"-".repeat(10_000)).is_err());
    assert!(parse(&"a ".repeat(5_000)).is_err());
    assert!(parse(&"a".repeat(70_000)).is_err());
}

#[test]
fn durations_and_numbers() {
    for (text, nanos) in [
        ("1ns", Some(1)),
        ("1.5us", Some(1500)),
        ("2µs", Some(2000)),
        ("500ms", Some(500_000_000)),
        ("1h30m", Some(5_400_000_000_000)),
        ("1d", Some(86_400_000_000_000)),
        ("5", None),
        ("", None),
        ("ms", None),
        ("5x", None),
        ("999999999d", None),
    ] {
        assert_eq!(parse_duration(text), nanos, "{text}");
    }
    for (text, number) in [
        ("5", Some(5.0)),
        ("-0.5", Some(-0.5)),
        ("1.10", None),
        ("007", None),
        ("9007199254740993", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
    ] {
        assert_eq!(number_of(text), number, "{text}");
    }
}

/// A row from `key=value` pairs: fields by name, attributes by key.
#[derive(Default)]
struct TestRow(BTreeMap<Field, FieldValue<'static>>, String);

impl Row for TestRow {
    fn get(&self, field: &Field) -> Option<FieldValue<'_>> {
        self.0.get(field).cloned()
    }
    fn any_text(&self, found: &mut dyn FnMut(&str) -> bool) -> bool {
        found(&self.1)
    }
}

fn row() -> TestRow {
    let text = |t: &str| FieldValue::Text(t.to_owned().into());
    TestRow(
        BTreeMap::from([
            (Field::Service, text("checkout")),
            (Field::Level, FieldValue::Int(18)),
            (Field::Body, text("Connection reset by peer, code=104")),
            (Field::TraceId, text("4bf92f3577b34da6a3ce929d0e0e4736")),
            (Field::Duration, FieldValue::Int(750_000_000)),
            (Field::Root, FieldValue::Bool(true)),
            (Field::Kind, text("server")),
            (Field::Attribute("http.response.status_code".into()), FieldValue::Int(503)),
            (Field::Attribute("url.path".into()), text("/api/orders")),
            (Field::Attribute("retries".into()), FieldValue::Int(3)),
            (Field::Attribute("ratio".into()), FieldValue::Double(0.5)),
            (Field::Attribute("zip".into()), text("00712")),
            (Field::Attribute("duration_ms".into()), FieldValue::Double(812.5)),
            (Field::Attribute("cached".into()), FieldValue::Bool(false)),
        ]),
        "Connection reset by peer, code=104".to_owned(),
    )
}

#[test]
fn what_is_taken() {
    let row = row();
    let yes = [
        "",
        "reset",
        "RESET BY",
        "\"code=104\"",
        "body:peer",
        "body:/code=\\d+/",
        "service:checkout",
        "service:a,checkout",
        "service:check*",
        "service:~ECK",
        "level:error",
        "level:ERR",
        "level:18",
        "level:>=warn",
        "level:>warn",
        "level:<fatal",
        "level:*",
        "level:er*",
        "trace_id:4BF92F3577B34DA6A3CE929D0E0E4736",
        "trace_id:4bf9*",
        "status:5xx",
        "status:503",
        "status:>=500",
        "status:*",
        "status:50*",
        "path:/api/orders",
        "path:/orders$/",
        "retries:3",
        "retries:>2",
        "retries:<=3",
        "ratio:0.5",
        "ratio:0.50",
        "ratio:<1",
        "zip:00712",
        "zip:>700",
        "duration:>500ms",
        "duration:750ms",
        "duration_ms:>500ms",
        "duration_ms:<1s",
        "cached:false",
        "root:true",
        "kind:SERVER",
        "-missing:*",
        "NOT level:info",
        "(service:a OR reset) retries:3",
        "-(a b)",
    ];
    let no = [
        "resets",
        "-reset",
        "service:Checkout",
        "level:warn",
        "level:>error",
        "level:info,debug",
        "status:4xx",
        "status:500",
        "status:error",
        "retries:\"4\"",
        "retries:>3",
        "zip:712",
        "zip:>713",
        "missing:*",
        "missing:x",
        "duration:<500ms",
        "duration_ms:>1s",
        "cached:true",
        "root:false",
        "env:prod",
        "body:/^reset/",
        "reset absent",
    ];
    for (texts, expected) in [(&yes[..], true), (&no[..], false)] {
        for text in texts {
            let filter = parse(text).expect(text);
            assert_eq!(matches(&filter, &row), expected, "{text}");
            assert_eq!(CompiledFilter::new(&filter).expect(text).matches(&row), expected, "{text} compiled");
        }
    }
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[ -~]{0,12}",
        "\\PC{0,6}",
        Just("AND".to_owned()),
        Just("5".to_owned()),
        Just("true".to_owned()),
        Just("5ms".to_owned())
    ]
}

fn comparison() -> impl Strategy<Value = Filter> {
    let field = prop_oneof![
        Just(Field::Service),
        Just(Field::Name),
        Just(Field::Environment),
        Just(Field::Scope),
        prop_oneof!["[a-z._]{1,10}", "[ -~]{0,8}", Just("status".to_owned()), Just("sevice".to_owned())].prop_map(Field::Attribute),
    ];
    let number = prop_oneof![any::<i32>().prop_map(f64::from), (-1000i32..1000).prop_map(|n| f64::from(n) / 8.0)];
    let order = |v: Value, which: u8| match which {
        0 => Compare::Greater(v),
        1 => Compare::GreaterEqual(v),
        2 => Compare::Less(v),
        _ => Compare::LessEqual(v),
    };
    let any_field = prop_oneof![
        proptest::collection::vec(word().prop_map(Value::Text), 1..4).prop_map(Compare::Equal),
        word().prop_map(Compare::Contains),
        word().prop_map(Compare::Prefix),
        word().prop_map(|w| Compare::Regex(regex_syntax::escape(&w))),
        (word(), 0u8..4).prop_map(move |(w, which)| order(Value::Text(w), which)),
        Just(Compare::Exists),
    ];
    prop_oneof![
        (field, any_field).prop_map(|(f, c)| Filter::Field(f, c)),
        ("[a-z]{6}", number, 0u8..5).prop_map(move |(key, n, which)| {
            let value = Value::Number(n);
            Filter::Field(Field::from_name(&key), if which == 4 { Compare::Equal(vec![value]) } else { order(value, which) })
        }),
        (0i64..10_000_000_000_000, 0u8..4).prop_map(move |(n, which)| Filter::Field(Field::Duration, order(Value::Duration(n), which))),
        word().prop_map(|w| Filter::Field(Field::Body, Compare::Equal(vec![Value::Text(w)]))),
        word().prop_map(Filter::Text),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    comparison().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4)
                .prop_map(|parts| Filter::And(parts.into_iter().flat_map(|p| if let Filter::And(inner) = p { inner } else { vec![p] }).collect())),
            proptest::collection::vec(inner.clone(), 2..4)
                .prop_map(|parts| Filter::Or(parts.into_iter().flat_map(|p| if let Filter::Or(inner) = p { inner } else { vec![p] }).collect())),
            inner.prop_map(|p| Filter::Not(Box::new(p))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printed_reads_back(filter in filter()) {
        let text = filter.to_string();
        prop_assert_eq!(parse(&text), Ok(filter), "{}", text);
    }

    #[test]
    fn never_panics(text in "\\PC{0,40}", like in "[a-z:*/\"()<>=~,! -]{0,30}") {
        for text in [text, like] {
            if let Ok(filter) = parse(&text) {
                let printed = filter.to_string();
                prop_assert_eq!(parse(&printed), Ok(filter), "{}", printed);
            }
        }
    }
}

#[test]
fn ids_of_somebodys_own_making_are_looked_for_as_attributes() {
    let equal = |text: &str| Compare::Equal(vec![Value::Text(text.to_owned())]);
    assert_eq!(parse("trace_id:tr-448"), Ok(Filter::Field(Field::Attribute("trace_id".to_owned()), equal("tr-448"))));
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    assert_eq!(parse(&format!("trace_id:{id}")), Ok(Filter::Field(Field::TraceId, equal(id))));
    assert!(parse("trace_id:4bf9").is_err(), "a cut id is a slip of the pen");
}
