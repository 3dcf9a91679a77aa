//! Types of a parsed query: every operand and argument is what its operator or function takes.

use super::ast::{Aggregate, AggregateOp, Binary, Call, Expr, Grouping, Kind, Type};
use super::display::quote;
use super::token::error;
use crate::error::QueryError;

fn fail(expr: &Expr, message: String) -> Result<(), QueryError> {
    Err(error(message, expr.span.start, expr.span.end))
}

fn expect_type(expr: &Expr, wanted: Type, context: &str) -> Result<(), QueryError> {
    let got = expr.value_type();
    if got == wanted {
        return Ok(());
    }
    let hint = match (wanted, got) {
        (Type::Matrix, Type::Vector) if matches!(expr.without_parens().kind, Kind::Selector(_)) => "; add a range such as [5m]",
        (Type::Matrix, Type::Vector) => "; use a subquery such as (…)[30m:1m]",
        (Type::Vector, Type::Scalar) => "; wrap it in vector(…)",
        (Type::Vector, Type::Matrix) => "; remove the range or use a function such as rate()",
        _ => "",
    };
    fail(expr, format!("expected type {} in {context}, got {}{hint}", wanted.name(), got.name()))
}

/// Checks the whole tree.
pub(crate) fn check(expr: &Expr) -> Result<(), QueryError> {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) | Kind::Selector(_) | Kind::Range(_) => Ok(()),
        Kind::Paren(e) => check(e),
        Kind::Subquery(s) => {
            check(&s.expr)?;
            let got = s.expr.value_type();
            if got == Type::Vector {
                return Ok(());
            }
            fail(expr, format!("subquery is only allowed on instant vector, got {} instead", got.name()))
        }
        Kind::Unary(_, e) => {
            check(e)?;
            let got = e.value_type();
            if matches!(got, Type::Scalar | Type::Vector) {
                return Ok(());
            }
            fail(expr, format!("unary expression only allowed on expressions of type scalar or instant vector, got {:?}", got.name()))
        }
        Kind::Binary(b) => binary(expr, b),
        Kind::Aggregate(a) => aggregate(a),
        Kind::Call(c) => call(expr, c),
    }
}

fn binary(expr: &Expr, b: &Binary) -> Result<(), QueryError> {
    check(&b.left)?;
    check(&b.right)?;
    let op = b.op.symbol();
    let (left, right) = (b.left.value_type(), b.right.value_type());
    for (side, t) in [(&b.left, left), (&b.right, right)] {
        if !matches!(t, Type::Scalar | Type::Vector) {
            return fail(side, format!("binary expression must contain only scalar and instant vector types, got {}", t.name()));
        }
    }
    if b.bool && !b.op.is_comparison() {
        return fail(expr, "bool modifier can only be used on comparison operators".to_owned());
    }
    if b.op.is_comparison() && !b.bool && left == Type::Scalar && right == Type::Scalar {
        return fail(expr, "comparisons between scalars must use BOOL modifier".to_owned());
    }
    let m = &b.matching;
    let vectors = left == Type::Vector && right == Type::Vector;
    if b.op.is_set() {
        if !vectors {
            return fail(expr, format!("set operator {op:?} not allowed in binary scalar expression"));
        }
        if m.grouping != Grouping::OneToOne {
            return fail(expr, format!("no grouping allowed for {op:?} operation"));
        }
        if m.fill_left.is_some() || m.fill_right.is_some() {
            return fail(expr, format!("filling in missing series not allowed for set operators, got {op:?}"));
        }
    }
    if !vectors {
        if m.written {
            return fail(expr, "vector matching only allowed between instant vectors".to_owned());
        }
        if m.fill_left.is_some() || m.fill_right.is_some() {
            return fail(expr, "filling in missing series only allowed between instant vectors".to_owned());
        }
    }
    if m.on
        && let Some(label) = m.labels.iter().find(|l| m.include.contains(l))
    {
        return fail(expr, format!("label {label:?} must not occur in ON and GROUP clause at once"));
    }
    Ok(())
}

fn aggregate(a: &Aggregate) -> Result<(), QueryError> {
    check(&a.expr)?;
    expect_type(&a.expr, Type::Vector, &format!("aggregation {}", a.op.name()))?;
    if let Some(p) = &a.parameter {
        check(p)?;
        let wanted = if a.op == AggregateOp::CountValues { Type::Text } else { Type::Scalar };
        expect_type(p, wanted, &format!("aggregation parameter of {}", a.op.name()))?;
    }
    Ok(())
}

fn call(expr: &Expr, c: &Call) -> Result<(), QueryError> {
    let f = c.function;
    let (least, most) = f.arity();
    let n = c.args.len();
    if n < least || most.is_some_and(|m| n > m) {
        let wanted = match most {
            Some(m) if m == least => format!("expected {least} argument(s)"),
            Some(m) => format!("expected {least} to {m} arguments"),
            None => format!("expected at least {least} argument(s)"),
        };
        return fail(expr, format!("{wanted} in call to {}, got {n}; usage: {}", quote(f.name), f.usage()));
    }
    for (i, arg) in c.args.iter().enumerate() {
        check(arg)?;
        expect_type(arg, f.argument_type(i), &format!("call to function {}", quote(f.name)))?;
    }
    Ok(())
}
