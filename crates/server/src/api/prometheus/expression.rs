//! `format_query` and `parse_query`: expressions as text and as a tree.

use serde_json::{Value, json};
use skopos_query::metrics::{MatchOp, Matcher};
use skopos_query::promql::{Aggregate, At, Binary, Call, Duration, DurationOp, Expr, Grouping, Kind, Sampling, Selector, Shift, Type};

use super::{Params, PromResult, success};

/// `GET|POST /api/v1/format_query`
pub(crate) async fn format_query(params: Params) -> PromResult {
    Ok(success(json!(params.expression()?.to_string())))
}

/// `GET|POST /api/v1/parse_query`
pub(crate) async fn parse_query(params: Params) -> PromResult {
    Ok(success(tree(&params.expression()?)))
}

/// A node as Prometheus' `parse_query` shows it.
fn tree(expr: &Expr) -> Value {
    match &expr.kind {
        Kind::Number(n) => {
            let mut val = String::new();
            skopos_query::promql::json::write_float(&mut val, n.value);
            json!({"type": "numberLiteral", "val": val})
        }
        Kind::Text(text) => json!({"type": "stringLiteral", "val": text}),
        Kind::Paren(inner) => json!({"type": "parenExpr", "expr": tree(inner)}),
        Kind::Unary(negative, inner) => json!({"type": "unaryExpr", "op": if *negative { "-" } else { "+" }, "expr": tree(inner)}),
        Kind::Selector(s) => selector(s, "vectorSelector"),
        Kind::Range(r) => {
            let mut node = selector(&r.selector, "matrixSelector");
            node["range"] = json!(millis(&r.range));
            node
        }
        Kind::Subquery(s) => {
            let mut node = json!({"type": "subquery", "expr": tree(&s.expr), "range": millis(&s.range), "step": s.step.as_ref().map_or(0, millis)});
            shift(&mut node, &s.shift);
            node
        }
        Kind::Binary(b) => binary(b),
        Kind::Aggregate(a) => aggregate(a),
        Kind::Call(c) => call(c),
    }
}

/// Milliseconds of a duration; parts that only a running query knows count as zero.
fn millis(duration: &Duration) -> i64 {
    (seconds(duration) * 1000.0).round() as i64
}

fn seconds(duration: &Duration) -> f64 {
    match duration {
        Duration::Literal(s) | Duration::Number(s) => *s,
        Duration::Step | Duration::Range => 0.0,
        Duration::Signed(negative, d) => {
            if *negative {
                -seconds(d)
            } else {
                seconds(d)
            }
        }
        Duration::Binary(op, a, b) => {
            let (a, b) = (seconds(a), seconds(b));
            match op {
                DurationOp::Add => a + b,
                DurationOp::Sub => a - b,
                DurationOp::Mul => a * b,
                DurationOp::Div => a / b,
                DurationOp::Mod => a % b,
                DurationOp::Pow => a.powf(b),
            }
        }
        Duration::Pick(most, a, b) => {
            if *most {
                seconds(a).max(seconds(b))
            } else {
                seconds(a).min(seconds(b))
            }
        }
        Duration::Paren(d) => seconds(d),
    }
}

fn shift(node: &mut Value, shift: &Shift) {
    node["offset"] = json!(shift.offset.as_ref().map_or(0, millis));
    let (time, word) = match &shift.at {
        Some(At::Time(time)) => (Some(*time), None),
        Some(At::Start) => (None, Some("start")),
        Some(At::End) => (None, Some("end")),
        None => (None, None),
    };
    node["timestamp"] = json!(time);
    node["startOrEnd"] = json!(word);
}

fn selector(s: &Selector, kind: &str) -> Value {
    let matchers: Vec<Value> = s.matchers.iter().map(matcher).collect();
    let mut node = json!({
        "type": kind, "name": s.name.as_deref().unwrap_or(""), "matchers": matchers,
        "anchored": s.sampling == Sampling::Anchored, "smoothed": s.sampling == Sampling::Smoothed,
    });
    shift(&mut node, &s.shift);
    node
}

fn matcher(m: &Matcher) -> Value {
    let op = match m.op {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex => "=~",
        MatchOp::NotRegex => "!~",
    };
    json!({"type": op, "name": m.name, "value": m.value})
}

fn binary(b: &Binary) -> Value {
    // Only vectors are matched with each other.
    let vectors = [&b.left, &b.right].into_iter().all(|e| e.value_type() != Type::Scalar);
    let matching = vectors.then(|| {
        let card = match b.matching.grouping {
            _ if b.op.is_set() => "many-to-many",
            Grouping::OneToOne => "one-to-one",
            Grouping::Left => "many-to-one",
            Grouping::Right => "one-to-many",
        };
        json!({
            "card": card, "labels": b.matching.labels, "on": b.matching.on, "include": b.matching.include,
            "fillValues": {"lhs": b.matching.fill_left.map(|n| n.value), "rhs": b.matching.fill_right.map(|n| n.value)},
        })
    });
    json!({"type": "binaryExpr", "op": b.op.symbol(), "lhs": tree(&b.left), "rhs": tree(&b.right), "matching": matching, "bool": b.bool})
}

fn aggregate(a: &Aggregate) -> Value {
    json!({
        "type": "aggregation", "op": a.op.name(), "expr": tree(&a.expr), "param": a.parameter.as_ref().map(tree),
        "grouping": a.labels, "without": a.without,
    })
}

fn call(c: &Call) -> Value {
    let kind = |t: Type| match t {
        Type::Scalar => "scalar",
        Type::Text => "string",
        Type::Vector => "vector",
        Type::Matrix => "matrix",
    };
    let f = c.function;
    let types: Vec<&str> = f.args.iter().map(|t| kind(*t)).collect();
    // As Prometheus counts: how many may follow, -1 for any number.
    let variadic = if f.variadic { -1 } else { i64::try_from(f.optional).unwrap_or(0) };
    let args: Vec<Value> = c.args.iter().map(tree).collect();
    json!({"type": "call", "func": {"name": f.name, "argTypes": types, "variadic": variadic, "returnType": kind(f.returns)}, "args": args})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str) -> Value {
        tree(&skopos_query::promql::parse(query).unwrap())
    }

    #[test]
    fn trees_as_prometheus_shows_them() {
        assert_eq!(of("1.5"), json!({"type": "numberLiteral", "val": "1.5"}));
        assert_eq!(
            of(r#"rate(up{job!="a"}[5m] offset 1m)"#),
            json!({
                "type": "call", "func": {"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"},
                "args": [{
                    "type": "matrixSelector", "name": "up", "range": 300_000, "offset": 60_000, "timestamp": null, "startOrEnd": null,
                    "anchored": false, "smoothed": false,
                    "matchers": [{"type": "!=", "name": "job", "value": "a"}, {"type": "=", "name": "__name__", "value": "up"}],
                }],
            })
        );
        let join = of("sum by (x) (a) / on (x) group_left (y) b @ end()");
        assert_eq!((&join["type"], &join["op"], &join["bool"]), (&json!("binaryExpr"), &json!("/"), &json!(false)));
        assert_eq!((&join["matching"]["card"], &join["matching"]["include"]), (&json!("many-to-one"), &json!(["y"])));
        assert_eq!((&join["lhs"]["grouping"], &join["rhs"]["startOrEnd"]), (&json!(["x"]), &json!("end")));
        assert_eq!(of("a and b")["matching"]["card"], "many-to-many");
        assert_eq!(of("-a * 2")["matching"], Value::Null);
        assert_eq!(of("topk(3, a)")["param"]["val"], "3");
        let sub = of("max_over_time(a[1h:5m])");
        assert_eq!((&sub["args"][0]["type"], &sub["args"][0]["step"]), (&json!("subquery"), &json!(300_000)));
    }
}
