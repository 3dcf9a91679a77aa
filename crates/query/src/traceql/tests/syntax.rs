//! Syntax and types. Tempo's own examples where they are at hand; our tables always.

use std::fmt::Write as _;

use expect_test::expect;
use proptest::prelude::*;

use super::super::*;
use crate::error::QueryError;

/// Queries that are taken, and how they are printed where that differs.
#[test]
fn printed_queries_read_back() {
    for (text, printed) in [
        ("{}", "{ }"),
        ("{ .a || true && span.b = 1 }", "{ (.a || true) && (span.b = 1) }"),
        ("{ !.a = true }", "{ (!.a) = true }"),
        ("{ -2 ^ 2 = 4 && .a - -1 > 0 }", "{ ((-2 ^ 2) = 4) && ((.a - -1) > 0) }"),
        ("{ .a ^ .b ^ .c = 1 }", "{ (.a ^ (.b ^ .c)) = 1 }"),
        ("{ span:duration > 1h30m1ms }", "{ duration > 5400001ms }"),
        ("{ .\"a b\".c = `x\"y` }", "{ .\"a b.c\" = \"x\\\"y\" }"),
        ("{ event.exception.type = \"E\" } >> { link:spanID != nil }", "{ event.exception.type = \"E\" } >> { link:spanID != nil }"),
        ("{ .a } && { .b } || { .c } > { .d }", "({ .a } && { .b }) || ({ .c } > { .d })"),
        ("({ .a } | count() > 1) !>> ({ .b } | by(name))", "({ .a } | count() > 1) !>> ({ .b } | by(name))"),
        ("{ } | avg(.a + 1) > 1 - 3 | select(name, .b) // why", "{ } | avg(.a + 1) > -2 | select(name, .b)"),
        (
            "{ } | rate() by (span:name, resource.x) > 5 | topk(3) with (a = true, b = \"c\")",
            "({ } | rate() by (name, resource.x)) > 5 | topk(3) with(a=true, b=\"c\")",
        ),
        ("5 + ({ } | rate()) * 10", "5 + (({ } | rate()) * 10)"),
        ("{ } | quantile_over_time(duration, 0, .9, 1)", "{ } | quantile_over_time(duration, 0.0, 0.9, 1.0)"),
        ("{ } | compare({ status = error }, 5, 1, 2)", "{ } | compare({ status = error }, 5, 1, 2)"),
    ] {
        let query = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(query.to_string(), printed, "{text}");
        assert_eq!(parse(printed).as_ref(), Ok(&query), "{printed}");
    }
}

#[test]
fn what_is_wrong_and_where() {
    let mut got = String::new();
    for text in [
        "",
        "true",
        "{ .a = }",
        "{ foo = 1 }",
        "{ span:foo = 1 }",
        "{ .a == 1 }",
        "{ name = \"open }",
        "{ .a > 1",
        "{ .a } | count()",
        "{ .a } && ({ .b } | count() > 1)",
        "{ .a >> .b }",
        "{ name = 1 }",
        "{ status > ok }",
        "{ name =~ \"[\" }",
        "{ duration }",
        "{ parent.a = 1 }",
        "{ name = nil }",
        "{ } | avg(name) > 1",
        "{ } | avg(1) > 1",
        "count() > count()",
        "{ } | rate() | topk(0)",
        "{ } | rate() | count() > 1",
        "{ } | quantile_over_time(duration, 2)",
        "{ } | compare({ status = error }) | topk(1)",
        "({ } | rate()) * 10s",
        "{ } | rate() by (.a, .b, .c, .d, .e, .f)",
        "1 / 0",
        "#",
    ] {
        match parse(text).expect_err(text) {
            QueryError::Parse { message, at } => writeln!(got, "{text}\n  {}..{} {message}", at.start, at.end).unwrap(),
            other => panic!("{text}: {other}"),
        }
    }
    expect![[r#"

          0..0 unexpected end of the query; expected spans in braces, for example `{ status = error }`
        true
          0..4 unexpected `true`; expected spans in braces, for example `{ status = error }`
        { .a = }
          7..8 unexpected `}`; expected a field, for example `status` or `span.http.route`, or a literal
        { foo = 1 }
          2..5 there is no intrinsic `foo`; an attribute is written with its scope, for example `.foo` or `span.foo`
        { span:foo = 1 }
          2..10 there is no `span:foo`; expected one of span:duration, span:name, span:status, span:statusMessage, span:kind, span:childCount, span:id, span:parentID
        { .a == 1 }
          6..7 unexpected `=`; expected a field, for example `status` or `span.http.route`, or a literal
        { name = "open }
          9..16 this string has no end; expected `"`
        { .a > 1
          8..8 unexpected end of the query; expected `}` after the condition
        { .a } | count()
          9..16 an aggregate is compared with a number, for example `count() > 2`
        { .a } && ({ .b } | count() > 1)
          0..32 `&&` between a spanset and a pipeline: expected pipelines in parentheses on both sides, such as `({ … } | count() > 0)`
        { .a >> .b }
          5..7 `>>` stands between spansets, not inside braces
        { name = 1 }
          0..12 `name = 1` is between a text and a whole number; expected the same type on both sides
        { status > ok }
          0..15 `status > ok`: this operator is not defined for a status
        { name =~ "[" }
          0..15 `name =~ "["`: not a regular expression: unclosed character class
        { duration }
          0..12 `{ duration }` is no condition: it has to be true or false
        { parent.a = 1 }
          0..16 `parent.a` is not supported: a parent's fields are found with `{ … } > { … }`
        { name = nil }
          0..14 `name = nil` is never true: every span has `name`
        { } | avg(name) > 1
          0..19 `avg(name)` is of a text; expected a number or duration
        { } | avg(1) > 1
          0..16 `avg(1)` is of a constant; expected a field of the span
        count() > count()
          0..17 only one aggregate on the left and a number on the right are supported, for example `count() > 2`
        { } | rate() | topk(0)
          0..22 topk and bottomk give at least one series; expected a number above 0
        { } | rate() | count() > 1
          15..20 unexpected `count`; behind series stand `topk(n)` and `bottomk(n)`
        { } | quantile_over_time(duration, 2)
          0..37 2 is no quantile; expected a number from 0 to 1
        { } | compare({ status = error }) | topk(1)
          0..43 compare() cannot be combined with other series or followed by another stage
        ({ } | rate()) * 10s
          0..20 series are computed with numbers; expected one without a unit
        { } | rate() by (.a, .b, .c, .d, .e, .f)
          0..40 6 fields to group by; at most 5 are supported here
        1 / 0
          0..5 `/` between these numbers has no result
        #
          0..1 unexpected character '#'
    "#]].assert_eq(&got);
    assert!(parse(&"(".repeat(10_000)).is_err());
    assert!(parse(&format!("{{ {} .a }}", "!".repeat(10_000))).is_err());
    assert!(parse(&format!("{{ .a {} }}", "&& .a ".repeat(5_000))).is_err());
    assert!(parse(&format!("{{ .{} }}", "a".repeat(70_000))).is_err());
}

/// Tempo's examples of what is taken, what does not parse, what is of the wrong types and what is not supported.
#[test]
fn tempo_examples() {
    let Some(shared) = skopos_testkit::shared("conformance") else { return };
    let text = std::fs::read_to_string(shared.join("agpl-tempo-traceql/test_examples.yaml")).unwrap();
    let (mut kind, mut cases, mut failed) = (String::new(), 0, String::new());
    for (kind_of, query) in yaml_lists(&text) {
        kind.clone_from(&kind_of);
        cases += 1;
        let result = parse(&query);
        if result.is_ok() != (kind == "valid") {
            writeln!(failed, "{kind}: {query}: {result:?}").unwrap();
        }
        if let Ok(parsed) = result
            && parse(&parsed.to_string()) != Ok(parsed.clone())
        {
            writeln!(failed, "{query} was printed as {parsed}").unwrap();
        }
    }
    assert!(failed.is_empty(), "\n{failed}");
    assert!(cases >= 300, "only {cases} cases");
}

/// `docs/reference/traceql.md` is the tables of fields and functions; `UPDATE_EXPECT=1` writes it.
#[test]
fn fields_and_functions_are_documented() {
    let mut text = String::from(
        "# TraceQL fields and functions\n\n<!-- Written by a test of crates/query from its tables; UPDATE_EXPECT=1 cargo test -p skopos-query writes it anew. -->\n\n## Fields\n\nAttributes: `.key` (the span's own, else its resource's), `span.key`, `resource.key`, `event.key`, `link.key`; a key with other characters\nis quoted, `span.\"two words\"`.\n\n| field | also | type | is |\n| --- | --- | --- | --- |\n",
    );
    for row in INTRINSICS {
        let alias = row.alias.map_or_else(String::new, |alias| format!("`{alias}`"));
        writeln!(text, "| `{}` | {alias} | {} | {} |", row.name, row.ty.word(), row.summary).unwrap();
    }
    for (stage, title, meaning) in [
        ("spans", "Of spans", "Stages between bars, each over the spansets of one trace."),
        ("metrics", "Metrics", "One at the end of a pipeline; all but `compare` may be followed by `by (field, …)`."),
        ("series", "Of series", "Behind a metrics function; a comparison such as `> 5` may stand there as well."),
    ] {
        write!(text, "\n## {title}\n\n{meaning}\n\n| function | gives |\n| --- | --- |\n").unwrap();
        for f in FUNCTIONS.iter().filter(|f| f.stage == stage) {
            writeln!(text, "| `{}` | {} |", f.signature, f.summary).unwrap();
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/traceql.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, text).unwrap();
        return;
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == text, "{path} is not what the tables say; UPDATE_EXPECT=1 rewrites it");
}

/// The entries of `key:` lists, as far as this file's YAML goes: plain, quoted singly or doubly.
fn yaml_lists(text: &str) -> Vec<(String, String)> {
    let (mut key, mut entries) = (String::new(), Vec::<(String, String)>::new());
    for line in text.lines() {
        match line.strip_prefix("- ") {
            Some(entry) => entries.push((key.clone(), entry.to_owned())),
            None if line.ends_with(':') && !line.starts_with(' ') => key = line.trim_end_matches(':').to_owned(),
            // A folded line: an empty one is a line break, and spaces before text are one.
            None => {
                if let Some((_, last)) = entries.last_mut() {
                    last.push_str(if line.is_empty() { "\n" } else { line.trim_start() });
                }
            }
        }
    }
    for (_, entry) in &mut entries {
        if let Some(inner) = entry.strip_prefix('\'').and_then(|e| e.strip_suffix('\'')) {
            *entry = inner.replace("''", "'");
        } else if let Some(inner) = entry.strip_prefix('"').and_then(|e| e.strip_suffix('"')) {
            *entry = inner.replace("\\t", "\t").replace("\\r", "\r").replace("\\\"", "\"");
        }
    }
    entries
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z.]{1,8}", "[ -~]{1,8}", "\\PC{1,5}"]
}

fn field() -> impl Strategy<Value = Field> {
    let scope =
        prop_oneof![Just(Scope::Any), Just(Scope::Span), Just(Scope::Resource), Just(Scope::Event), Just(Scope::Link), Just(Scope::Instrumentation)];
    prop_oneof![
        (0..INTRINSICS.len() - 1).prop_map(|at| Field::Intrinsic(INTRINSICS[at].intrinsic)),
        (scope, word()).prop_map(|(scope, name)| Field::attribute(scope, name)),
    ]
}

fn literal() -> impl Strategy<Value = Static> {
    prop_oneof![
        Just(Static::Bool(true)),
        (-1000i64..1000).prop_map(Static::Int),
        (i64::MIN + 1..i64::MAX).prop_map(Static::Duration),
        (-1e6..1e6f64).prop_map(Static::Float),
        "\\PC{0,6}".prop_map(Static::Text),
        Just(Static::Status(skopos_model::StatusCode::Error)),
        Just(Static::Kind(skopos_model::SpanKind::Server)),
    ]
}

fn condition() -> impl Strategy<Value = FieldExpr> {
    let leaf = prop_oneof![literal().prop_map(FieldExpr::Static), field().prop_map(FieldExpr::Field)];
    leaf.prop_recursive(4, 16, 2, |inner| {
        let ops = [Op::Add, Op::Sub, Op::Mul, Op::Div, Op::Mod, Op::Pow, Op::Equal, Op::NotEqual, Op::Greater, Op::Less, Op::And, Op::Or];
        prop_oneof![
            (0..ops.len(), inner.clone(), inner.clone()).prop_map(move |(op, l, r)| FieldExpr::Binary(ops[op], Box::new(l), Box::new(r))),
            inner.prop_map(|e| FieldExpr::Unary(UnaryOp::Not, Box::new(e))),
        ]
    })
}

fn spansets() -> impl Strategy<Value = SpansetExpr> {
    let relations = [Relation::Child, Relation::Parent, Relation::Descendant, Relation::Ancestor, Relation::Sibling];
    let takes = [Take::Right, Take::NotRight, Take::Both];
    condition().prop_map(SpansetExpr::Filter).prop_recursive(3, 8, 2, move |inner| {
        (0..5usize, 0..3usize, 0..3u8, inner.clone(), inner).prop_map(move |(r, t, which, left, right)| {
            let op = match which {
                0 => SpansetOp::And,
                1 => SpansetOp::Or,
                _ => SpansetOp::Structural(relations[r], takes[t]),
            };
            SpansetExpr::Binary(op, Box::new(left), Box::new(right))
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printed_reads_back(spans in spansets(), by in proptest::collection::vec(field(), 0..3), metrics in any::<bool>()) {
        let stages = vec![Stage::Spansets(spans)];
        let body = if metrics {
            Body::Metrics(MetricsExpr::Pipeline(MetricsPipeline { spans: stages, function: MetricsFunction::Rate, by }))
        } else {
            Body::Search(stages)
        };
        let query = Query { body, hints: Vec::new() };
        let text = query.to_string();
        prop_assert_eq!(super::super::parse::parse_unchecked(&text), Ok(query), "{}", text);
    }

    #[test]
    fn never_panics(text in "\\PC{0,40}", like in "[a-z0-9.:{}()|&!<>=~\"` ,+*^/-]{0,40}") {
        for text in [text, like.clone(), format!("{{ {like} }}"), format!("{{ }} | {like}")] {
            if let Ok(query) = parse(&text) {
                let printed = query.to_string();
                prop_assert_eq!(parse(&printed), Ok(query), "{}", printed);
            }
        }
    }
}
