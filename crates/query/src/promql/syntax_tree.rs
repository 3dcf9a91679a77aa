//! A query's tree as Prometheus' `/api/v1/parse_query` gives it.

use serde_json::{Value, json};

use super::ast::{At, Binary, Expr, Grouping, Kind, Matching, Number, Sampling, Selector, Shift, Type};
use super::duration::{Duration, to_ms};
use crate::metrics::MatchOp;

/// Types as Prometheus' API names them.
fn type_name(t: Type) -> &'static str {
    match t {
        Type::Scalar => "scalar",
        Type::Text => "string",
        Type::Vector => "vector",
        Type::Matrix => "matrix",
    }
}

/// All digits, never an exponent.
fn digits(v: f64) -> String {
    if v.is_finite() { v.to_string() } else { super::display::number(v) }
}

/// Milliseconds; zero for what only a query's step and range decide.
fn millis(d: &Duration) -> i64 {
    d.constant().map_or(0, to_ms)
}

fn shift(out: &mut Value, s: &Shift) {
    out["offset"] = json!(s.offset.as_ref().map_or(0, millis));
    out["timestamp"] = match s.at {
        Some(At::Time(ms)) => json!(ms),
        _ => Value::Null,
    };
    out["startOrEnd"] = match s.at {
        Some(At::Start) => json!("start"),
        Some(At::End) => json!("end"),
        _ => Value::Null,
    };
}

fn selector(out: &mut Value, s: &Selector) {
    let op = |op| match op {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex => "=~",
        MatchOp::NotRegex => "!~",
    };
    let matchers = s.matchers.iter().map(|m| json!({"name": m.name, "value": m.value, "type": op(m.op)}));
    out["name"] = json!(s.name.as_deref().unwrap_or(""));
    out["matchers"] = matchers.collect();
    out["anchored"] = json!(s.sampling == Sampling::Anchored);
    out["smoothed"] = json!(s.sampling == Sampling::Smoothed);
    shift(out, &s.shift);
}

fn matching(b: &Binary) -> Value {
    if b.left.value_type() != Type::Vector || b.right.value_type() != Type::Vector {
        return Value::Null;
    }
    let Matching { on, labels, grouping, include, fill_left, fill_right, .. } = &b.matching;
    let card = match grouping {
        _ if b.op.is_set() => "many-to-many",
        Grouping::OneToOne => "one-to-one",
        Grouping::Left => "many-to-one",
        Grouping::Right => "one-to-many",
    };
    // JSON has no NaN and no infinities.
    let fill = |n: &Option<Number>| n.map_or(Value::Null, |n| json!(n.value));
    json!({"card": card, "labels": labels, "on": on, "include": include, "fillValues": {"lhs": fill(fill_left), "rhs": fill(fill_right)}})
}

/// The tree as JSON.
pub fn syntax_tree(expr: &Expr) -> Value {
    match &expr.kind {
        Kind::Number(n) => json!({"type": "numberLiteral", "val": digits(n.value)}),
        Kind::Text(t) => json!({"type": "stringLiteral", "val": t}),
        Kind::Paren(e) => json!({"type": "parenExpr", "expr": syntax_tree(e)}),
        Kind::Unary(negative, e) => match &e.kind {
            // A sign is a part of a number.
            Kind::Number(n) => json!({"type": "numberLiteral", "val": digits(if *negative { -n.value } else { n.value })}),
            _ => json!({"type": "unaryExpr", "op": if *negative { "-" } else { "+" }, "expr": syntax_tree(e)}),
        },
        Kind::Selector(s) => {
            let mut out = json!({"type": "vectorSelector"});
            selector(&mut out, s);
            out
        }
        Kind::Range(r) => {
            let mut out = json!({"type": "matrixSelector", "range": millis(&r.range)});
            selector(&mut out, &r.selector);
            out
        }
        Kind::Subquery(s) => {
            let step = s.step.as_ref().map_or(0, millis);
            let mut out = json!({"type": "subquery", "expr": syntax_tree(&s.expr), "range": millis(&s.range), "step": step});
            shift(&mut out, &s.shift);
            out
        }
        Kind::Binary(b) => json!({
            "type": "binaryExpr",
            "op": b.op.symbol(),
            "lhs": syntax_tree(&b.left),
            "rhs": syntax_tree(&b.right),
            "matching": matching(b),
            "bool": b.bool,
        }),
        Kind::Aggregate(a) => json!({
            "type": "aggregation",
            "op": a.op.name(),
            "expr": syntax_tree(&a.expr),
            "param": a.parameter.as_ref().map(syntax_tree),
            "grouping": a.labels,
            "without": a.without,
        }),
        Kind::Call(c) => {
            let f = c.function;
            let optional = i64::try_from(f.optional).unwrap_or(i64::MAX);
            json!({
                "type": "call",
                "func": {
                    "name": f.name,
                    "argTypes": f.args.iter().map(|t| type_name(*t)).collect::<Vec<_>>(),
                    // So many arguments may be left out; -1: the last may be repeated.
                    "variadic": if f.variadic { -1 } else { optional },
                    "returnType": type_name(f.returns),
                },
                "args": c.args.iter().map(syntax_tree).collect::<Vec<_>>(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, tree: &Value) {
        let parsed = crate::promql::parse(text);
        assert_eq!(parsed.map(|e| syntax_tree(&e)).as_ref(), Ok(tree), "{text}");
    }

    fn up(extra: &Value) -> Value {
        let mut out = json!({
            "type": "vectorSelector", "name": "up", "offset": 0, "timestamp": null, "startOrEnd": null, "anchored": false, "smoothed": false,
            "matchers": [{"name": "__name__", "value": "up", "type": "="}],
        });
        for (key, value) in extra.as_object().into_iter().flatten() {
            out[key] = value.clone();
        }
        out
    }

    #[test]
    fn trees() {
        check("up", &up(&json!({})));
        check("-1e3", &json!({"type": "numberLiteral", "val": "-1000"}));
        check("(\"a\")", &json!({"type": "parenExpr", "expr": {"type": "stringLiteral", "val": "a"}}));
        check("-up", &json!({"type": "unaryExpr", "op": "-", "expr": up(&json!({}))}));
        check("up @ 1.5 offset -5m", &up(&json!({"timestamp": 1500, "offset": -300_000})));
        check("up[5m] @ end()", &up(&json!({"type": "matrixSelector", "range": 300_000, "startOrEnd": "end"})));
        check(
            "up[1h:] offset 1m",
            &json!({
                "type": "subquery", "expr": up(&json!({})), "range": 3_600_000, "step": 0, "offset": 60_000,
                "timestamp": null, "startOrEnd": null,
            }),
        );
        check(
            "quantile without (x) (0.5, up)",
            &json!({
                "type": "aggregation", "op": "quantile", "without": true, "grouping": ["x"], "expr": up(&json!({})),
                "param": {"type": "numberLiteral", "val": "0.5"},
            }),
        );
        check(
            "up > bool on (a) group_left (b) fill_right (1) up",
            &json!({
                "type": "binaryExpr", "op": ">", "bool": true, "lhs": up(&json!({})), "rhs": up(&json!({})),
                "matching": {"card": "many-to-one", "labels": ["a"], "on": true, "include": ["b"], "fillValues": {"lhs": null, "rhs": 1.0}},
            }),
        );
        check(
            "up and up",
            &json!({
                "type": "binaryExpr", "op": "and", "bool": false, "lhs": up(&json!({})), "rhs": up(&json!({})),
                "matching": {"card": "many-to-many", "labels": [], "on": false, "include": [], "fillValues": {"lhs": null, "rhs": null}},
            }),
        );
        check(
            "round(up, 2) + Inf",
            &json!({
                "type": "binaryExpr", "op": "+", "bool": false, "matching": null, "rhs": {"type": "numberLiteral", "val": "+Inf"},
                "lhs": {
                    "type": "call", "args": [up(&json!({})), {"type": "numberLiteral", "val": "2"}],
                    "func": {"name": "round", "argTypes": ["vector", "scalar"], "variadic": 1, "returnType": "vector"},
                },
            }),
        );
    }
}
