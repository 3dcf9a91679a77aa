//! What queries find, and what series they give.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;
use skopos_model::{SpanKind, StatusCode};

use super::store::{Memory, context, span};
use crate::time_range::TimeRange;
use crate::traceql::{Body, Pipeline, Search, Steps, Trace, metrics, parse, search, values};
use crate::traces::SpanRow;

/// ```text
/// trace 1: 1 gateway "GET /" ─┬ 2 orders "place" ─┬ 3 orders "SELECT" (error, db)
///                             │                   └ 4 pay "charge" (tags, 2 events)
///                             └ 5 stock "check" (server)
/// trace 2: 1 gateway "GET /" ── 2 orders "place"
/// trace 3: 7 worker "job", whose parent is not here; linked to trace 1, span 2
/// ```
fn store() -> Memory {
    let mut spans = vec![
        span(1, 1, 0, "gateway", "GET /", 100, 500),
        span(1, 2, 1, "orders", "place", 100, 400),
        span(1, 3, 2, "orders", "SELECT", 101, 50),
        span(1, 4, 2, "pay", "charge", 101, 200),
        span(1, 5, 1, "stock", "check", 102, 20),
        span(2, 1, 0, "gateway", "GET /", 160, 100),
        span(2, 2, 1, "orders", "place", 160, 80),
        span(3, 7, 9, "worker", "job", 220, 5),
    ];
    spans[2].status_code = StatusCode::Error;
    spans[2].attributes = [("db.system".to_owned(), json!("pg")), ("rows".to_owned(), json!(7))].into_iter().collect();
    spans[3].attributes =
        [("tags".to_owned(), json!(["a", "b"])), ("rows".to_owned(), json!(2.5)), ("ok".to_owned(), json!(true))].into_iter().collect();
    spans[3].events = vec![
        json!({"time_unix_nano": "101000000500", "name": "retry", "attributes": {"n": 1}}),
        json!({"time_unix_nano": "101100000000", "name": "retry", "attributes": {"n": 2}}),
    ];
    spans[4].kind = SpanKind::Server;
    spans[0].resource.insert("rows".to_owned(), json!(1));
    spans[7].links = vec![json!({"trace_id": "01".repeat(16), "span_id": "02".repeat(8), "attributes": {"why": "batch"}})];
    Memory(spans)
}

const ALL: TimeRange = TimeRange { start: 0, end: 1_000_000_000_000 };

/// Finds as `trace:span,span|span` (a bar between spansets), in the order of the traces.
fn found(store: &Memory, query: &str) -> String {
    let Body::Search(stages) = parse(query).unwrap_or_else(|e| panic!("{query}: {e}")).body else { panic!("{query}") };
    let search = Search { range: ALL, stages: &stages, limit: 20, spans_per_set: 100 };
    let found = super::super::search(store, &search, &context()).unwrap();
    let sets = |t: &crate::traceql::FoundTrace| {
        let ids = |set: &crate::traceql::FoundSpanset| set.spans.iter().map(|s| s.span_id.0[0].to_string()).collect::<Vec<_>>().join(",");
        t.spansets.iter().map(ids).collect::<Vec<_>>().join("|")
    };
    found.traces.iter().map(|t| format!("{}:{}", t.trace_id.0[0], sets(t))).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_found() {
    let store = store();
    for (query, expected) in [
        ("{}", "3:7 2:1,2 1:1,2,3,4,5"),
        ("{ false }", ""),
        ("{ status = error }", "1:3"),
        ("{ kind = server || name =~ \"SEL.*\" }", "1:3,5"),
        ("{ name =~ \"SEL\" }", ""),
        ("{ name !~ \"[GSpc].*\" }", "3:7"),
        ("{ resource.service.name = \"orders\" && duration >= 80ms }", "2:2 1:2"),
        ("{ duration > 1 && span:duration < 0.5 * 100ms }", "3:7 1:5"),
        ("{ .rows = 7 }", "1:3"),
        ("{ .rows > 1 }", "1:3,4"),
        ("{ span.rows = 1 }", ""),
        ("{ resource.rows = 1 }", "1:1"),
        ("{ .rows = 1 }", "1:1"),
        ("{ .rows != 7 }", "1:1,4"),
        ("{ .rows != nil }", "1:1,3,4"),
        ("{ span.rows = nil && status != error }", "3:7 2:1,2 1:1,2,5"),
        ("{ .rows * 2 + 1 = 15 }", "1:3"),
        ("{ .tags = \"a\" }", "1:4"),
        ("{ .tags = \"c\" }", ""),
        ("{ .tags != \"a\" }", ""),
        ("{ .tags != \"c\" }", "1:4"),
        ("{ .tags =~ \"[bc]\" && .tags !~ \"[cd]\" }", "1:4"),
        ("{ .ok }", "1:4"),
        ("{ !.ok }", ""),
        ("{ .missing = \"x\" || !(.missing = \"x\") }", "3:7 2:1,2 1:1,2,3,4,5"),
        ("{ event:name = \"retry\" && event.n = 2 }", "1:4"),
        ("{ event:timeSinceStart > 1us }", "1:4"),
        ("{ link:spanID = \"202020202020202\" && link.why = \"batch\" }", "3:7"),
        ("{ trace:id = \"1010101010101010101010101010101\" && span:id = \"0505050505050505\" }", "1:5"),
        ("{ nestedSetParent < 0 }", "2:1 1:1"),
        ("{ nestedSetParent = 0 }", "3:7"),
        ("{ span:childCount = 2 }", "1:1,2"),
        ("{ span:parentID = \"0101010101010101\" }", "2:2 1:2,5"),
        ("{ traceDuration > 1s }", "1:1,2,3,4,5"),
        ("{ rootName = \"GET /\" && trace:rootService = \"gateway\" && name = \"place\" }", "2:2 1:2"),
        ("{ nestedSetLeft > 2 && nestedSetRight < 9 && rootName != nil }", "1:3,4"),
        ("{ .service.name = \"pay\" } && { status = error }", "1:3,4"),
        ("{ name = \"place\" } || { name = \"job\" }", "3:7 2:2 1:2"),
        ("{ name = \"GET /\" } > { }", "2:2 1:2,5"),
        ("{ name = \"GET /\" } >> { status = error }", "1:3"),
        ("{ status = error } < { }", "1:2"),
        ("{ status = error } << { }", "1:1,2"),
        ("{ status = error } ~ { }", "1:4"),
        ("{ } ~ { }", "1:2,3,4,5"),
        ("{ name = \"GET /\" } !> { }", "3:7 2:1 1:1,3,4"),
        ("{ name = \"GET /\" } !>> { }", "3:7 2:1 1:1"),
        ("{ status = error } !< { name = \"place\" }", "2:2"),
        ("{ status = error } !<< { }", "3:7 2:1,2 1:3,4,5"),
        ("{ status = error } !~ { name = \"charge\" }", ""),
        ("{ name = \"place\" } &> { name = \"charge\" }", "1:2,4"),
        ("{ name = \"GET /\" } &>> { status = error }", "1:1,3"),
        ("{ status = error } &<< { nestedSetParent < 0 }", "1:1,3"),
        ("{ status = error } &~ { }", "1:3,4"),
        ("{ } | count() > 2", "1:1,2,3,4,5"),
        ("count() = 2", "2:1,2"),
        ("{ resource.service.name = \"orders\" } | count() > 1", "1:2,3"),
        ("{ } | max(duration) > 200ms | { name = \"place\" }", "1:2"),
        ("{ } | avg(duration) < 95ms", "3:7 2:1,2"),
        ("{ } | sum(.rows) = 10.5", "1:1,2,3,4,5"),
        ("{ } | min(.rows) <= 1", "1:1,2,3,4,5"),
        ("{ } | by(resource.service.name) | count() > 1", "1:2,3"),
        ("{ } | by(status)", "3:7 2:1,2 1:1,2,4,5|3"),
        ("{ } | by(status) | coalesce()", "3:7 2:1,2 1:1,2,3,4,5"),
        ("({ name = \"charge\" } | count() > 0) << ({ } | count() > 3)", "1:1,2"),
    ] {
        assert_eq!(found(&store, query), expected, "{query}");
    }
}

#[test]
fn what_is_shown_of_a_trace() {
    let store = store();
    let Body::Search(stages) = parse("{ .rows > 1 } | avg(.rows) > 1 | select(name, resource.service.name)").unwrap().body else { panic!() };
    let found = search(&store, &Search { range: ALL, stages: &stages, limit: 1, spans_per_set: 1 }, &context()).unwrap();
    expect![[r#"
        Found {
            traces: [
                FoundTrace {
                    trace_id: 01010101010101010101010101010101,
                    root_service: "gateway",
                    root_name: "GET /",
                    start: 100000000000,
                    duration: 2020000000,
                    services: {
                        "gateway": (
                            1,
                            0,
                        ),
                        "orders": (
                            2,
                            1,
                        ),
                        "pay": (
                            1,
                            0,
                        ),
                        "stock": (
                            1,
                            0,
                        ),
                    },
                    spansets: [
                        FoundSpanset {
                            spans: [
                                FoundSpan {
                                    span_id: 0303030303030303,
                                    name: "SELECT",
                                    start: 101000000000,
                                    duration: 50000000,
                                    attributes: [
                                        (
                                            "rows",
                                            Int(
                                                7,
                                            ),
                                        ),
                                        (
                                            "service.name",
                                            Text(
                                                "orders",
                                            ),
                                        ),
                                    ],
                                },
                            ],
                            matched: 2,
                            attributes: [
                                (
                                    "avg(.rows)",
                                    Float(
                                        4.75,
                                    ),
                                ),
                            ],
                        },
                    ],
                },
            ],
            inspected: 1,
            gave_up: false,
        }"#]]
    .assert_eq(&format!("{found:#?}"));
}

/// Series as `labels: value value …`, a line each.
#[track_caller]
fn series(query: &str, expected: Expect) {
    let Body::Metrics(expr) = parse(query).unwrap().body else { panic!("{query}") };
    let range = TimeRange { start: 90_000_000_000, end: 240_000_000_000 };
    let steps = Steps::covering(range, 60_000_000_000, 100).unwrap();
    let mut out = String::new();
    for one in metrics(&store(), &expr, range, steps, &context()).unwrap() {
        let labels: Vec<String> = one.labels.iter().map(|(name, value)| format!("{name}={}", value.to_text())).collect();
        let values: Vec<String> =
            one.values.iter().map(|v| if v.is_nan() { "-".to_owned() } else { format!("{}", (v * 1e4).round() / 1e4) }).collect();
        out += &format!("{}: {}\n", labels.join(","), values.join(" "));
    }
    expected.assert_eq(&out);
}

#[test]
fn series_of_spans() {
    series(
        "{ } | count_over_time()",
        expect![[r#"
        __name__=count_over_time: 5 2 1
    "#]],
    );
    series(
        "{ } | rate() by (resource.service.name)",
        expect![[r#"
        resource.service.name=gateway: 0.0167 0.0167 0
        resource.service.name=orders: 0.0333 0.0167 0
        resource.service.name=pay: 0.0167 0 0
        resource.service.name=stock: 0.0167 0 0
        resource.service.name=worker: 0 0 0.0167
    "#]],
    );
    series(
        "{ } | count_over_time() by (.rows, status)",
        expect![[r#"
        .rows=2.5,status=unset: 1 0 0
        .rows=1,status=unset: 1 0 0
        .rows=7,status=error: 1 0 0
        .rows=nil,status=unset: 2 2 1
    "#]],
    );
    series(
        "{ } | max_over_time(duration) > 10ms",
        expect![[r#"
        __name__=max_over_time: 0.5 0.1 -
    "#]],
    );
    series(
        "{ } | min_over_time(.rows)",
        expect![[r#"
        __name__=min_over_time: 1 - -
    "#]],
    );
    series(
        "{ } | avg_over_time(.rows) by (rootServiceName)",
        expect![[r#"
        rootServiceName=gateway: 3.5 - -
    "#]],
    );
    series(
        "{ } | sum_over_time(event.n)",
        expect![[r#"
        __name__=sum_over_time: 3 - -
    "#]],
    );
    series(
        "{ } | quantile_over_time(duration, 0.5, 1)",
        expect![[r#"
        p=0.5: 0.1991 0.0801 0.005
        p=1: 0.4951 0.0996 0.005
    "#]],
    );
    series(
        "{ } | histogram_over_time(duration)",
        expect![[r#"
        __bucket=0.008388608: 0 0 1
        __bucket=0.033554432: 1 0 0
        __bucket=0.067108864: 1 0 0
        __bucket=0.134217728: 0 2 0
        __bucket=0.268435456: 1 0 0
        __bucket=0.536870912: 2 0 0
    "#]],
    );
    series(
        "{ nestedSetParent < 0 } >> { } | count_over_time() by (name) | topk(1)",
        expect![[r#"
        name=SELECT: 1 - 0
        name=place: - 1 -
    "#]],
    );
    series(
        "({ status = error } | count_over_time()) / ({ } | count_over_time()) * 100",
        expect![[r#"
        __name__=(count_over_time / count_over_time): 20 0 0
    "#]],
    );
    series(
        "({ } | count_over_time() by (name)) - ({ } | count_over_time())",
        expect![[r#"
        name=GET /: -4 -1 -1
        name=SELECT: -4 -2 -1
        name=charge: -4 -2 -1
        name=check: -4 -2 -1
        name=job: -5 -2 0
        name=place: -4 -1 -1
    "#]],
    );
    series(
        "1 / ({ } | rate())",
        expect![[r#"
        __name__=rate: 12 30 60
    "#]],
    );
    series(
        "{ name = \"place\" || status = error } | compare({ status = error }, 1)",
        expect![[r#"
        __meta_type=baseline,kind=internal: 1 1 0
        __meta_type=baseline,name=place: 1 1 0
        __meta_type=baseline,resource.service.name=orders: 1 1 0
        __meta_type=baseline,status=unset: 1 1 0
        __meta_type=baseline_total,kind=nil: 1 1 0
        __meta_type=baseline_total,name=nil: 1 1 0
        __meta_type=baseline_total,resource.service.name=nil: 1 1 0
        __meta_type=baseline_total,status=nil: 1 1 0
        __meta_type=selection,kind=internal: 1 0 0
        __meta_type=selection,name=SELECT: 1 0 0
        __meta_type=selection,resource.service.name=orders: 1 0 0
        __meta_type=selection,span.db.system=pg: 1 0 0
        __meta_type=selection,span.rows=7: 1 0 0
        __meta_type=selection,status=error: 1 0 0
        __meta_type=selection_total,kind=nil: 1 0 0
        __meta_type=selection_total,name=nil: 1 0 0
        __meta_type=selection_total,resource.service.name=nil: 1 0 0
        __meta_type=selection_total,span.db.system=nil: 1 0 0
        __meta_type=selection_total,span.rows=nil: 1 0 0
        __meta_type=selection_total,status=nil: 1 0 0
    "#]],
    );
}

#[test]
fn values_of_fields() {
    let store = store();
    let of = |field: &str, query: &str| {
        let Body::Search(stages) = parse(query).unwrap().body else { panic!() };
        let found = values(&store, &super::super::parse_field(field).unwrap(), &stages, ALL, 10, &context()).unwrap();
        found.iter().map(|(value, count)| format!("{}={count}", value.to_text())).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of("resource.service.name", "{}"), "orders=3 gateway=2 pay=1 stock=1 worker=1");
    assert_eq!(of("name", "{ status = error }"), "SELECT=1");
    assert_eq!(of(".tags", "{}"), "a=1 b=1");
    assert_eq!(of("event.n", "{}"), "1=1 2=1");
    assert_eq!(of("span.rows", "{ resource.service.name = \"pay\" }"), "2.5=1");
}

#[test]
fn traces_of_any_shape() {
    let circle = [span(1, 1, 2, "a", "a", 1, 1), span(1, 2, 1, "a", "b", 1, 1), span(1, 3, 3, "a", "c", 1, 1)];
    let trace = Trace::new(&circle);
    assert_eq!((trace.order.len(), trace.root), (3, None));
    assert!(trace.nested.iter().all(|[left, right, parent]| 0 < *left && left < right && *parent >= 0));
    let deep: Vec<SpanRow> = (0..100_000u32)
        .map(|n| {
            let mut one = span(1, 0, 0, "a", "a", 1, 1);
            one.span_id.0[4..].copy_from_slice(&(n + 1).to_be_bytes());
            one.parent_span_id.0[4..].copy_from_slice(&n.to_be_bytes());
            one
        })
        .collect();
    let trace = Trace::new(&deep);
    let Body::Search(stages) = parse("{ nestedSetParent < 0 } >> { } | count() = 99999").unwrap().body else { panic!() };
    assert_eq!(Pipeline::new(&stages).run(&trace).len(), 1);
    assert_eq!(Pipeline::new(&stages).run(&Trace::new(&[])), []);
}

fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("status = error"),
        Just("status != ok"),
        Just("kind = server"),
        Just("kind != server"),
        Just("name = \"place\""),
        Just("name =~ \"[GS].*\""),
        Just("name != \"place\""),
        Just(".rows > 1"),
        Just(".rows = 7"),
        Just("span.rows != 7"),
        Just("resource.rows = 1"),
        Just(".tags = \"b\""),
        Just(".ok"),
        Just("duration < 100ms"),
        Just("1 < duration"),
        Just("nestedSetParent < 0"),
        Just("span:childCount > 0"),
        Just("event.n = 1"),
        Just("resource.service.name =~ \"o.*|p.*\""),
        Just(".rows = nil"),
        Just(".service.name >= \"orders\""),
    ]
    .prop_map(str::to_owned);
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// What the store is asked for never rules out what the query takes.
    #[test]
    fn search_equals_brute_force(left in condition(), right in condition(), op in 0usize..9) {
        let op = ["&&", "||", ">", ">>", "<", "~", "!>>", "&>", "!<"][op];
        let query = format!("{{ {left} }} {op} {{ {right} }}");
        let Body::Search(stages) = parse(&query).unwrap().body else { panic!() };
        let pipeline = Pipeline::new(&stages);
        let store = store();
        let mut expected = Vec::new();
        for trace in [3u8, 2, 1] {
            let spans: Vec<SpanRow> = store.0.iter().filter(|s| s.trace_id.0[0] == trace).cloned().collect();
            for set in pipeline.run(&Trace::new(&spans)) {
                expected.push(format!("{trace}:{}", set.spans.iter().map(|at| spans[*at as usize].span_id.0[0].to_string()).collect::<Vec<_>>().join(",")));
            }
        }
        prop_assert_eq!(found(&store, &query), expected.join(" "), "{}", query);
        // One pass over columns counts what evaluation of whole traces finds.
        let single = format!("{{ {left} }}");
        let Body::Search(stages) = parse(&single).unwrap().body else { panic!() };
        let count: usize = [1u8, 2, 3].iter().map(|trace| {
            let spans: Vec<SpanRow> = store.0.iter().filter(|s| s.trace_id.0[0] == *trace).cloned().collect();
            Pipeline::new(&stages).run(&Trace::new(&spans)).iter().map(|set| set.spans.len()).sum::<usize>()
        }).sum();
        let Body::Metrics(expr) = parse(&format!("{single} | count_over_time()")).unwrap().body else { panic!() };
        let steps = Steps { start: ALL.start, step: ALL.end, count: 1 };
        let total = metrics(&store, &expr, ALL, steps, &context()).unwrap().first().map_or(0.0, |s| s.values[0]);
        prop_assert_eq!(total, count as f64, "{}", single);
    }
}
