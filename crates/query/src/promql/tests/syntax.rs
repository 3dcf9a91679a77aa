//! Syntax: canonical form, and what errors say and where.

use super::super::parse;
use crate::error::QueryError;

#[test]
fn canonical_form() {
    for (text, canonical) in [
        ("SUM(a)BY(b,c)", "sum by (b, c) (a)"),
        ("sum without(x)(rate(a[300s]))", "sum without (x) (rate(a[5m]))"),
        ("a{b='c',d=~`e\\d`}", r#"a{b="c",d=~"e\\d"}"#),
        ("{\"weird name\",\"label name\"=\"v\"}", r#"{"weird name","label name"="v"}"#),
        ("a+on(x)group_left(y)b", "a + on (x) group_left (y) b"),
        ("a and ignoring(x) b or c", "a and ignoring (x) b or c"),
        ("-a^2", "-a ^ 2"),
        ("a[5m:]offset 1h@end()", "a[5m:] @ end() offset 1h"),
        ("a @ 1.5", "a @ 1.500"),
        ("a > bool 1", "a > bool 1"),
        ("1e3 + 0x1F + .5 + 1_000", "1000 + 31 + 0.5 + 1000"),
        ("(a) # comment\n", "(a)"),
        ("topk(3, a)", "topk(3, a)"),
        ("a[step()+2*1m]", "a[step() + 2 * 1m]"),
        ("a + fill(0) b", "a + fill (0) b"),
        ("by + offset + sum", "by + offset + sum"),
        ("\"tab\\t\\u263a\\x41\"", "\"tab\\t☺A\""),
        ("a anchored", ""),
        ("a[1m] anchored offset 5m", "a[1m] anchored offset 5m"),
    ] {
        match parse(text) {
            Ok(expr) => assert_eq!(expr.to_string(), canonical, "{text}"),
            Err(e) => assert!(canonical.is_empty(), "{text}: {e}"),
        }
    }
}

#[test]
fn errors_say_what_and_where() {
    for (text, at, message) in [
        ("", 0..0, "no expression found in input"),
        ("sum(rate(a[5m])", 15..15, "unexpected end of input in aggregation, expected \",\" or \")\""),
        ("(a + b", 0..1, "unclosed left parenthesis"),
        ("rat(a[5m])", 0..3, "unknown function with name \"rat\"; did you mean rate()?"),
        ("rate(a)", 5..6, "expected type range vector in call to function \"rate\", got instant vector; add a range such as [5m]"),
        ("rate(sum(a))", 5..11, "expected type range vector in call to function \"rate\", got instant vector; use a subquery such as (…)[30m:1m]"),
        ("sum(a) b", 7..8, "unexpected \"b\" in query, expected an operator or the end"),
        ("a{b=c}", 4..5, "unexpected \"c\" in label matching, expected a quoted value"),
        ("a{b=~\"(\"}", 5..8, ""),
        ("{x=\"\"}", 0..6, "vector selector must contain at least one non-empty matcher"),
        ("a[5mm]", 2..5, "bad number or duration syntax: \"5mm\""),
        ("a[0s]", 2..4, "duration must be greater than 0"),
        ("1 == 1", 0..6, "comparisons between scalars must use BOOL modifier"),
        ("\"abc", 0..4, "unterminated quoted string"),
        ("naïve", 2..4, "unexpected character 'ï'; names with other than ASCII letters, digits and _ are quoted: {\"name\"}"),
        ("clamp(a, 1)", 0..11, "expected 3 argument(s) in call to \"clamp\", got 2; usage: clamp(v instant vector, min scalar, max scalar)"),
    ] {
        let Err(QueryError::Parse { message: got, at: span }) = parse(text) else { panic!("{text} parsed") };
        if !message.is_empty() {
            assert_eq!(got, message, "{text}");
        }
        assert_eq!(span.start..span.end, at, "{text}: {got}");
    }
    assert!(parse(&"(".repeat(100_000)).is_err());
    assert!(parse(&"-".repeat(100_000)).is_err());
    assert!(parse(&vec!["a"; 10_000].join("+")).is_err());
    assert!(parse(&vec!["a"; 400].join("+")).is_ok());
}
