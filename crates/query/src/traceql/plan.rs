//! Which spans have to be read: the part of a query that single spans answer, as a condition over columns and as a filter
//! for the store.
//!
//! Both may take more than the query does, never less: the query itself is evaluated on what comes.

use regex_syntax::escape;
use skopos_model::{SpanKind, StatusCode};

use super::ast::{Field, FieldExpr, Op, Scope, SpansetExpr, SpansetOp, Stage, Static, Take};
use super::eval::{Slot, instrumentation_key, is_root, padded};
use super::fields::Intrinsic;
use crate::filter::{self, Compare, Filter};
use crate::traces::ScanField;

/// What is needed to know a field of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Columns of the span.
    Column,
    /// All of the span.
    Span,
    /// Its trace.
    Trace,
}

/// Where a slot is read from by a scan.
pub(super) fn scan_field(slot: &Slot) -> Option<ScanField> {
    let Slot::Field(field) = slot else { return Some(ScanField::Field(filter::Field::Root)) };
    Some(match field {
        field if field.is_service() => ScanField::Field(filter::Field::Service),
        Field::Attribute { scope: Scope::Any, name, .. } => ScanField::Field(filter::Field::Attribute(name.clone())),
        Field::Attribute { scope: Scope::Span, name, .. } => ScanField::Span(name.clone()),
        Field::Attribute { scope: Scope::Resource, name, .. } => ScanField::Resource(name.clone()),
        Field::Attribute { scope: Scope::Instrumentation, name, .. } => ScanField::Span(instrumentation_key(name)),
        Field::Intrinsic(intrinsic) => ScanField::Field(match intrinsic {
            Intrinsic::Duration => filter::Field::Duration,
            Intrinsic::Name => filter::Field::Name,
            Intrinsic::Status => filter::Field::Status,
            Intrinsic::Kind => filter::Field::Kind,
            Intrinsic::SpanId => filter::Field::SpanId,
            Intrinsic::TraceId => filter::Field::TraceId,
            Intrinsic::InstrumentationName => filter::Field::Scope,
            _ => return None,
        }),
        Field::Attribute { .. } => return None,
    })
}

/// What is needed to know a field.
pub(super) fn level(field: &Field) -> Level {
    match field {
        field if scan_field(&Slot::Field(field.clone())).is_some() => Level::Column,
        Field::Intrinsic(
            Intrinsic::ChildCount
            | Intrinsic::TraceDuration
            | Intrinsic::RootName
            | Intrinsic::RootService
            | Intrinsic::NestedSetLeft
            | Intrinsic::NestedSetRight
            | Intrinsic::NestedSetParent,
        ) => Level::Trace,
        _ => Level::Span,
    }
}

/// What is needed to know an expression.
pub(super) fn level_of(expr: &FieldExpr) -> Level {
    if is_root(expr) {
        return Level::Column;
    }
    match expr {
        FieldExpr::Static(_) => Level::Column,
        FieldExpr::Field(field) => level(field),
        FieldExpr::Unary(_, inner) => level_of(inner),
        FieldExpr::Binary(_, left, right) => level_of(left).max(level_of(right)),
    }
}

/// The condition of a pipeline that is one of single spans, and nothing else than filters one after the other.
pub(super) fn single(stages: &[Stage]) -> Option<FieldExpr> {
    let mut all = FieldExpr::TRUE;
    for stage in stages {
        match stage {
            Stage::Spansets(SpansetExpr::Filter(condition)) => all = and(all, condition.clone()),
            Stage::Select(_) => {}
            _ => return None,
        }
    }
    Some(all)
}

fn and(left: FieldExpr, right: FieldExpr) -> FieldExpr {
    match (left, right) {
        (left, right) if left == FieldExpr::TRUE => right,
        (left, right) if right == FieldExpr::TRUE => left,
        (left, right) => FieldExpr::Binary(Op::And, Box::new(left), Box::new(right)),
    }
}

fn or(left: FieldExpr, right: FieldExpr) -> FieldExpr {
    if left == FieldExpr::TRUE || right == FieldExpr::TRUE {
        return FieldExpr::TRUE;
    }
    FieldExpr::Binary(Op::Or, Box::new(left), Box::new(right))
}

/// A condition that a span of every trace the stages find fulfils, over columns.
pub(super) fn candidates(stages: &[Stage]) -> FieldExpr {
    match stages.first() {
        Some(Stage::Spansets(expr)) => candidates_of(expr),
        // Fields are shown, and groups made, of what the next stage takes.
        Some(Stage::Select(_) | Stage::By(_)) => candidates(&stages[1..]),
        _ => FieldExpr::TRUE,
    }
}

fn candidates_of(expr: &SpansetExpr) -> FieldExpr {
    match expr {
        SpansetExpr::Filter(condition) => columns(condition),
        SpansetExpr::Pipeline(stages) => candidates(stages),
        SpansetExpr::Binary(SpansetOp::Or, left, right) => or(candidates_of(left), candidates_of(right)),
        SpansetExpr::Binary(SpansetOp::Structural(_, Take::NotRight), _, right) => candidates_of(right),
        SpansetExpr::Binary(_, left, right) => {
            // Both sides have to be there; the one that says more is looked for.
            let (left, right) = (candidates_of(left), candidates_of(right));
            if weight(&left) > weight(&right) { left } else { right }
        }
    }
}

/// How much a condition is likely to rule out.
fn weight(expr: &FieldExpr) -> u32 {
    match expr {
        FieldExpr::Static(_) | FieldExpr::Field(_) | FieldExpr::Unary(..) => 0,
        FieldExpr::Binary(Op::And, left, right) => weight(left) + weight(right),
        FieldExpr::Binary(Op::Or, left, right) => weight(left).min(weight(right)),
        FieldExpr::Binary(Op::Equal, ..) => 4,
        FieldExpr::Binary(Op::NotEqual | Op::NotRegex, ..) => 1,
        FieldExpr::Binary(..) => 2,
    }
}

/// The part of a condition that columns answer; the rest counts as fulfilled.
pub(super) fn columns(expr: &FieldExpr) -> FieldExpr {
    match expr {
        expr if level_of(expr) == Level::Column => expr.clone(),
        FieldExpr::Binary(Op::And, left, right) => and(columns(left), columns(right)),
        FieldExpr::Binary(Op::Or, left, right) => or(columns(left), columns(right)),
        _ => FieldExpr::TRUE,
    }
}

/// A filter for the store that takes at least what the condition takes.
pub(super) fn pushdown(expr: &FieldExpr) -> Filter {
    match filter_of(expr) {
        Some(filter @ Filter::And(_)) => filter,
        // Alone it is a term of the conjunction that prunes.
        Some(filter) => Filter::And(vec![filter]),
        None => Filter::all(),
    }
}

fn filter_of(expr: &FieldExpr) -> Option<Filter> {
    if is_root(expr) {
        return Some(Filter::Field(filter::Field::Root, Compare::Equal(vec![filter::Value::Bool(true)])));
    }
    match expr {
        FieldExpr::Binary(Op::And, left, right) => match (filter_of(left), filter_of(right)) {
            (Some(left), Some(right)) => {
                let flat = |filter| match filter {
                    Filter::And(all) => all,
                    one => vec![one],
                };
                Some(Filter::And(flat(left).into_iter().chain(flat(right)).collect()))
            }
            (one, other) => one.or(other),
        },
        FieldExpr::Binary(Op::Or, left, right) => Some(Filter::Or(vec![filter_of(left)?, filter_of(right)?])),
        FieldExpr::Binary(op, left, right) => match (&**left, &**right) {
            (FieldExpr::Field(field), FieldExpr::Static(_)) => compared(field, *op, &padded(right, left)),
            (FieldExpr::Static(_), FieldExpr::Field(field)) => compared(field, mirrored(*op)?, &padded(left, right)),
            _ => None,
        },
        // True only where it is there.
        FieldExpr::Field(field) => exists(field),
        _ => None,
    }
}

/// The operator with its sides exchanged.
fn mirrored(op: Op) -> Option<Op> {
    Some(match op {
        Op::Equal | Op::NotEqual => op,
        Op::Greater => Op::Less,
        Op::GreaterEqual => Op::LessEqual,
        Op::Less => Op::Greater,
        Op::LessEqual => Op::GreaterEqual,
        _ => return None,
    })
}

fn exists(field: &Field) -> Option<Filter> {
    match field {
        Field::Attribute { scope: Scope::Any | Scope::Span, name, .. } => {
            Some(Filter::Field(filter::Field::Attribute(name.clone()), Compare::Exists))
        }
        _ => None,
    }
}

fn compared(field: &Field, op: Op, literal: &FieldExpr) -> Option<Filter> {
    let FieldExpr::Static(literal) = literal else { return None };
    if *literal == Static::Nil {
        return if op == Op::NotEqual { exists(field) } else { None };
    }
    if let Field::Attribute { scope: Scope::Any | Scope::Span, name, .. } = field
        && !field.is_service()
    {
        let compare = compare_attribute(op, literal);
        let attribute = filter::Field::Attribute(name.clone());
        return Some(match compare {
            // An array is text that begins so.
            Some(compare) => Filter::Or(vec![Filter::Field(attribute.clone(), compare), Filter::Field(attribute, Compare::Prefix("[".to_owned()))]),
            None => Filter::Field(attribute, Compare::Exists),
        });
    }
    let ScanField::Field(target) = scan_field(&Slot::Field(field.clone()))? else { return None };
    let compare = match (op, literal) {
        (Op::Equal, Static::Text(text)) => Compare::Equal(vec![filter::Value::Text(text.clone())]),
        (Op::Regex, Static::Text(pattern)) => Compare::Regex(anchored(pattern)),
        (Op::Equal, Static::Status(status)) => words([*status].iter().map(|s| s.as_str())),
        (Op::Equal, Static::Kind(kind)) => words([*kind].iter().map(|k| k.as_str())),
        (Op::NotEqual, Static::Status(status)) => {
            words([StatusCode::Unset, StatusCode::Ok, StatusCode::Error].iter().filter(|s| *s != status).map(|s| s.as_str()))
        }
        (Op::NotEqual, Static::Kind(kind)) => words((0..=5).map(SpanKind::from_number).filter(|k| k != kind).map(SpanKind::as_str)),
        (op, number) if target == filter::Field::Duration => {
            let nanos = number.number().filter(|n| n.fract() == 0.0 && n.abs() < 9e15)?;
            #[allow(clippy::cast_possible_truncation, reason = "whole and small, checked")]
            ordered(op, filter::Value::Duration(nanos as i64))?
        }
        _ => return None,
    };
    Some(Filter::Field(target, compare))
}

fn words<'w>(words: impl Iterator<Item = &'w str>) -> Compare {
    Compare::Equal(words.map(|w| filter::Value::Text(w.to_owned())).collect())
}

fn anchored(pattern: &str) -> String {
    if escape(pattern) == pattern { format!("^{pattern}$") } else { format!("^(?s:{pattern})$") }
}

fn ordered(op: Op, value: filter::Value) -> Option<Compare> {
    Some(match op {
        Op::Equal => Compare::Equal(vec![value]),
        Op::Greater => Compare::Greater(value),
        Op::GreaterEqual => Compare::GreaterEqual(value),
        Op::Less => Compare::Less(value),
        Op::LessEqual => Compare::LessEqual(value),
        _ => return None,
    })
}

/// How an attribute is compared; `None` where only its presence can be told.
fn compare_attribute(op: Op, literal: &Static) -> Option<Compare> {
    match literal {
        Static::Text(text) if op == Op::Equal => Some(Compare::Equal(vec![filter::Value::Text(text.clone())])),
        Static::Text(pattern) if op == Op::Regex => Some(Compare::Regex(anchored(pattern))),
        Static::Bool(b) if op == Op::Equal => Some(Compare::Equal(vec![filter::Value::Bool(*b)])),
        number => ordered(op, filter::Value::Number(number.number().filter(|n| n.is_finite())?)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Body, parse};
    use super::{candidates, pushdown};

    #[track_caller]
    fn check(query: &str, expected: &str) {
        let Body::Search(stages) = parse(query).unwrap().body else { panic!("a search") };
        assert_eq!(pushdown(&candidates(&stages)).to_string(), expected, "{query}");
    }

    #[test]
    fn what_the_store_is_asked_for() {
        check("{}", "*");
        check("{ status = error && resource.service.name = \"a\" && 1s < duration }", "status:error service:a duration:>1s");
        check("{ span.a = 5 && traceDuration > 1s }", "(a:5 OR a:\"[\"*)");
        check("{ nestedSetParent < 0 && true }", "root:true");
        check("{ .a != \"x\" || kind != server }", "(a:* OR kind:unspecified,internal,client,producer,consumer)");
        check("{ .a || event.b = 1 }", "*");
        check("{ status = error } >> { .a = \"x\" }", "(a:x OR a:\"[\"*)");
        check("{ status = error } >> { .a != \"x\" }", "status:error");
        check("{ } !>> { name = \"b\" }", "name:b");
        check("{ name = \"a\" } || { name = \"b\" }", "(name:a OR name:b)");
        check("count() > 2", "*");
        check("{ resource.x = 1 && name =~ \"a.*\" }", "name:/^(?s:a.*)$/");
    }
}
