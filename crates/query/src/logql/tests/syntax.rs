//! Parsing and printing.

use proptest::prelude::*;

use super::super::parse;
use crate::error::QueryError;

fn printed(text: &str) -> String {
    match parse(text) {
        Ok(query) => {
            let out = query.to_string();
            assert_eq!(parse(&out).as_ref(), Ok(&query), "{out}");
            out
        }
        Err(QueryError::Parse { message, at }) => format!("{}: {message}", at.start),
        Err(other) => other.to_string(),
    }
}

#[test]
fn queries_print_as_they_parse() {
    for (text, wanted) in [
        ("{app=\"a\", b=~\"x|y\"} |= \"z\" or ip(\"10.0.0.0/8\") != `q`", r#"{app="a", b=~"x|y"} |= "z" or ip("10.0.0.0/8") != "q""#),
        ("({a=\"b\"} | json) |> \"x <_>\"", r#"{a="b"} | json |> "x <_>""#),
        ("{a=\"b\"} | logfmt --strict --keep-empty c, d=\"e\"", r#"{a="b"} | logfmt --strict --keep-empty c="c", d="e""#),
        ("{a=\"b\"} | x=\"1\" or y>5,z<=1MB w=ip(\"::1\")", r#"{a="b"} | (x="1" or ((y > 5 and z <= 1000000B) and w = ip("::1")))"#),
        (
            "{a=\"b\"} | label_format x=y,z=\"{{.q}}\" | drop a,b=~\"c\" | keep d",
            r#"{a="b"} | label_format x=y, z="{{.q}}" | drop a, b=~"c" | keep d"#,
        ),
        ("sum by(a,b)(rate({x=\"y\"}[5m] offset 1h))", r#"sum by (a, b) (rate({x="y"} [5m] offset 1h))"#),
        ("topk(2, count_over_time({x=\"y\"}[1h30m])) without (z)", r#"topk without (z) (2, count_over_time({x="y"} [1h30m]))"#),
        (
            "quantile_over_time(.9,{x=\"y\"}|unwrap bytes(s)|__error__=\"\"[1m]) by (q)",
            r#"quantile_over_time(0.9, {x="y"} | unwrap bytes(s) | __error__="" [1m]) by (q)"#,
        ),
        ("-2^2 + 1 > bool vector(3)", "((-2 ^ 2) + 1) > bool vector(3)"),
        (
            "1 - rate({a=\"b\"}[1m]) / on(a) group_left(b) rate({a=\"c\"}[1m])",
            r#"1 - (rate({a="b"} [1m]) / on (a) group_left (b) rate({a="c"} [1m]))"#,
        ),
        ("label_replace(rate({a=\"b\"}[1m]),\"x\",\"$1\",\"a\",\"(.*)\")", r#"label_replace(rate({a="b"} [1m]), "x", "$1", "a", "(.*)")"#),
        ("{a=\"b\"} # comment\n | unpack", r#"{a="b"} | unpack"#),
    ] {
        assert_eq!(printed(text), wanted, "{text}");
    }
}

#[test]
fn faults_say_what_where_and_what_was_expected() {
    for (text, wanted) in [
        ("", "0: syntax error: unexpected $end"),
        ("{a=}", "3: syntax error: unexpected }, expecting STRING"),
        ("{a=\"b\"} | keep [1m]", "15: syntax error: unexpected [, expecting IDENTIFIER"),
        ("{a=\"b\"}[5m]", "0: syntax error: unexpected RANGE: a window belongs into an aggregation such as rate(…)"),
        ("rate({a=\"b\"})", "12: syntax error: unexpected ), expecting a window such as [5m]"),
        ("count_over_time({a=\"b\"} | unwrap c [1m])", "0: invalid aggregation count_over_time with unwrap"),
        ("sum_over_time({a=\"b\"}[1m])", "0: invalid aggregation sum_over_time without unwrap"),
        ("topk(1.5, rate({a=\"b\"}[1m]))", "0: invalid parameter topk(1.5,: expecting a whole number greater than 0"),
        ("{a=\"b\"} | line_format \"{{\"", "22: invalid template: unclosed action"),
        ("{a=\"b\"} | c == \"x\"", "15: syntax error: unexpected STRING, expecting NUMBER, DURATION or BYTES"),
        ("{a=~\"(\"}", "4: error parsing regexp: unclosed group: `(`"),
        ("rate({a=\"b\"}[1m]) bool > 1", "18: syntax error: unexpected bool"),
        ("{a=\"b\"} | x > 1mb", "14: syntax error: \"1mb\" is no number, duration (5m, 1h30m) or size (5MB, 2KiB)"),
        ("0x1A", "0: unable to parse literal as a float: parsing \"0x1A\": invalid syntax"),
    ] {
        assert_eq!(printed(text), wanted, "{text}");
    }
    assert!(parse(&"(".repeat(10_000)).is_err());
    assert!(parse(&"1+".repeat(10_000)).is_err());
}

/// Pieces of queries, put together at random.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{a=\"b\"}",
        "|",
        "json",
        "logfmt",
        "=",
        "!=",
        "|=",
        "\"x\"",
        "[5m]",
        "rate(",
        ")",
        "sum",
        "by",
        "(a)",
        "unwrap",
        "c",
        ">",
        "5",
        "1h",
        "and",
        "or",
        ",",
        "ip(",
        "-",
        "vector(1)",
        "line_format",
        "`{{.x}}`",
        "offset",
        "topk(2,",
        "{",
        "}",
        "^",
        "bool",
        "--strict",
        "drop",
        "keep",
        "5MB",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|all| all.join(" "))
}

proptest! {
    #[test]
    fn what_parses_prints_to_the_same(text in pieces()) {
        if let Ok(query) = parse(&text) {
            prop_assert_eq!(parse(&query.to_string()), Ok(query));
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = parse(&text);
    }
}

/// `docs/reference/logql-functions.md` is the tables of aggregations and functions; `UPDATE_EXPECT=1` writes it.
#[test]
fn logql_functions_are_documented() {
    use std::fmt::Write as _;

    use super::super::{RANGE_OPS, TEMPLATE_FUNCTIONS, VECTOR_OPS, Works};
    let mut text = String::from(
        "# LogQL functions\n\n<!-- Written by a test of crates/query from its tables; UPDATE_EXPECT=1 cargo test -p skopos-query writes it anew. -->\n\n\
         ## Aggregations over a window\n\n`<operator>([parameter,] <lines> [<window>] [offset <duration>]) [by|without (<labels>)]`\n\n\
         | operator | works on | `by`, `without` | gives |\n| --- | --- | --- | --- |\n",
    );
    for row in RANGE_OPS {
        let works = match row.works {
            Works::OnLines => "lines",
            Works::OnValues => "`unwrap`",
            Works::OnBoth => "lines or `unwrap`",
        };
        writeln!(text, "| `{}` | {works} | {} | {} |", row.name, if row.grouping { "yes" } else { "no" }, row.summary).unwrap();
    }
    text.push_str(
        "\n## Aggregations over series\n\n`<operator> [by|without (<labels>)] ([parameter,] <series>)`\n\n\
         | operator | parameter | `by`, `without` | gives |\n| --- | --- | --- | --- |\n",
    );
    for row in VECTOR_OPS {
        let yes = |b| if b { "yes" } else { "no" };
        writeln!(text, "| `{}` | {} | {} | {} |", row.name, yes(row.parameter), yes(row.grouping), row.summary).unwrap();
    }
    text.push_str(
        "\nBesides: `vector(<number>)`, `label_replace(<series>, \"<target>\", \"<replacement>\", \"<source>\", \"<regex>\")`.\n\n\
         ## Template functions\n\nOf `line_format` and `label_format`. Go's `if`, `with`, `range`, variables and comments are there too.\n\n\
         | function | for example | gives |\n| --- | --- | --- |\n",
    );
    for f in TEMPLATE_FUNCTIONS {
        writeln!(text, "| `{}` | `{}` | {} |", f.name, f.example.replace('|', "\\|"), f.summary).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/logql-functions.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, text).unwrap();
        return;
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == text, "{path} is not what the tables say; UPDATE_EXPECT=1 rewrites it");
}
