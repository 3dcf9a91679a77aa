//! Properties.

use proptest::prelude::*;

use super::super::parse;

/// Texts of expressions of vector type.
fn vector() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b_total", "x:y", "{\"utf 8\"}", "sum", "offset", "{__name__=~\"a.*\"}"]);
    let matcher = prop::sample::select(vec!["", "{x=\"1\"}", "{x!=\"\\\"\\\\\",y=~\"a|b\"}", "{\"ü\"=\"\\n\"}"]);
    let shift = prop::sample::select(vec!["", " offset 5m", " @ 12.345", " offset -1h @ start()", " @ end()", " offset (2*step())"]);
    let leaf = (name, matcher, shift).prop_map(|(n, m, s)| if n.starts_with('{') { format!("{n}{s}") } else { format!("{n}{m}{s}") });
    leaf.prop_recursive(4, 24, 3, |inner| {
        let op = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "^", "atan2", "==", "!=", "<", ">=", "> bool", "and", "or", "unless", "+ on (x)", "* ignoring (x, y)",
            "/ on (x) group_left (z)", "- ignoring () group_right ()", "+ fill (1)", "* on (x) fill_left (-1) fill_right (NaN)",
        ]);
        let aggregation = prop::sample::select(vec!["sum by (x) (", "avg without (x, \"ü\") (", "topk(3, ", "count_values(\"v\", ", "quantile(0.5, ", "max("]);
        let number = prop::sample::select(vec!["1", "0.1", "1e300", "Inf", "5m", "time()", "-3", "1e-9"]);
        prop_oneof![
            (inner.clone(), op.clone(), inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (inner.clone(), prop::sample::select(vec!["+", "*", "^", "<= bool"]), number).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("-{a}")),
            (aggregation, inner.clone()).prop_map(|(f, a)| format!("{f}{a})")),
            inner.clone().prop_map(|a| format!("rate(({a})[1h:5m] offset 3s)")),
            inner.prop_map(|a| format!("label_replace({a}, \"d\", \"$1\", \"s\", \"(.*)\\\\.\")")),
        ]
    })
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "[a-z0-9{}()\\[\\]:,=~!<>+*/%^@\"'`# .-]{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn printing_parses_back(text in vector()) {
        // Grown texts are syntax, not always sense: what parses has to come back.
        if let Ok(expr) = parse(&text) {
            let printed = expr.to_string();
            let again = parse(&printed);
            prop_assert_eq!(again.as_ref(), Ok(&expr), "{} printed as {}", text, printed);
            prop_assert_eq!(again.map(|e| e.to_string()), Ok(printed));
        }
    }
}
