//! What Tempo refuses of a query that parses: types that do not fit, and what it does not support.

use super::ast::{
    Body, Field, FieldExpr, MetricsExpr, MetricsFunction, MetricsPipeline, Op, Query, ScalarExpr, SecondStage, SpansetExpr, Stage, Static, UnaryOp,
};
use super::fields::{Intrinsic, Type};
use super::value::compile_regex;

/// Most fields of `by (…)` behind a metrics function; one less where the function adds a label of its own.
pub const GROUP_BY_MAX: usize = 5;

type Checked = Result<(), String>;

pub(super) fn check(query: &Query) -> Checked {
    match &query.body {
        Body::Search(stages) => check_stages(stages),
        Body::Metrics(expr) => check_metrics(expr, true),
    }
}

fn check_stages(stages: &[Stage]) -> Checked {
    stages.iter().try_for_each(|stage| match stage {
        Stage::Spansets(expr) => check_spansets(expr),
        Stage::Scalar(op, left, right) => check_scalar_filter(*op, left, right),
        Stage::By(expr) => {
            check_field(expr)?;
            if !references_span(expr) {
                return Err(format!("`by({expr})` groups by a constant; expected a field of the span"));
            }
            Ok(())
        }
        Stage::Coalesce => Ok(()),
        Stage::Select(fields) => fields.iter().try_for_each(check_supported),
    })
}

fn check_spansets(expr: &SpansetExpr) -> Checked {
    match expr {
        SpansetExpr::Filter(condition) => check_condition(condition),
        SpansetExpr::Pipeline(stages) => check_stages(stages),
        SpansetExpr::Binary(_, left, right) => {
            check_spansets(left)?;
            check_spansets(right)
        }
    }
}

fn check_condition(condition: &FieldExpr) -> Checked {
    check_field(condition)?;
    match type_of(condition) {
        Type::Attribute | Type::Bool => Ok(()),
        _ => Err(format!("`{{ {condition} }}` is no condition: it has to be true or false")),
    }
}

/// The type a field expression has, as far as it is known.
fn type_of(expr: &FieldExpr) -> Type {
    match expr {
        FieldExpr::Static(value) => value.ty(),
        FieldExpr::Field(Field::Intrinsic(intrinsic)) => intrinsic.row().ty,
        FieldExpr::Field(Field::Attribute { .. }) => Type::Attribute,
        FieldExpr::Unary(_, inner) => type_of(inner),
        FieldExpr::Binary(op, ..) if op.is_boolean() => Type::Bool,
        FieldExpr::Binary(_, left, right) => match type_of(left) {
            Type::Attribute => type_of(right),
            known => known,
        },
    }
}

/// Whether an operator is defined for a type.
fn allows(op: Op, ty: Type) -> bool {
    match ty {
        Type::Attribute => true,
        Type::Bool => matches!(op, Op::And | Op::Or | Op::Equal | Op::NotEqual),
        Type::Int | Type::Float | Type::Duration => op.is_arithmetic() || op.is_comparison(),
        Type::Text => op.is_comparison() || matches!(op, Op::Regex | Op::NotRegex),
        Type::Nil | Type::Status | Type::Kind => matches!(op, Op::Equal | Op::NotEqual),
    }
}

fn matching(left: Type, right: Type) -> bool {
    left == right || left == Type::Attribute || right == Type::Attribute || left.is_number() && right.is_number()
}

fn check_supported(field: &Field) -> Checked {
    match field {
        Field::Intrinsic(Intrinsic::Parent) | Field::Attribute { parent: true, .. } => {
            Err(format!("`{field}` is not supported: a parent's fields are found with `{{ … }} > {{ … }}`"))
        }
        _ => Ok(()),
    }
}

fn check_field(expr: &FieldExpr) -> Checked {
    match expr {
        FieldExpr::Static(_) => Ok(()),
        FieldExpr::Field(field) => check_supported(field),
        FieldExpr::Unary(op, inner) => {
            check_field(inner)?;
            let ty = type_of(inner);
            let fits = match op {
                UnaryOp::Minus => ty.is_number(),
                UnaryOp::Not => ty == Type::Bool,
            };
            if fits || ty == Type::Attribute { Ok(()) } else { Err(format!("`{expr}`: this operator is not defined for a {}", ty.word())) }
        }
        FieldExpr::Binary(op, left, right) => {
            check_field(left)?;
            check_field(right)?;
            check_binary(expr, *op, left, right)
        }
    }
}

fn check_binary(expr: &FieldExpr, op: Op, left: &FieldExpr, right: &FieldExpr) -> Checked {
    let nil = |e: &FieldExpr| matches!(e, FieldExpr::Static(Static::Nil));
    if nil(left) || nil(right) {
        if !matches!(op, Op::Equal | Op::NotEqual) {
            return Err(format!("`{expr}`: nil is compared with `=` and `!=` only"));
        }
        for side in [left, right] {
            if let FieldExpr::Field(field) = side
                && op == Op::Equal
                && (matches!(field, Field::Intrinsic(_)) || field.is_service())
            {
                return Err(format!("`{expr}` is never true: every span has `{field}`"));
            }
        }
        return Ok(());
    }
    let (l, r) = (type_of(left), type_of(right));
    if !matching(l, r) {
        return Err(format!("`{expr}` is between a {} and a {}; expected the same type on both sides", l.word(), r.word()));
    }
    if !allows(op, l) || !allows(op, r) {
        let ty = if allows(op, l) { r } else { l };
        return Err(format!("`{expr}`: this operator is not defined for a {}", ty.word()));
    }
    if matches!(op, Op::Regex | Op::NotRegex) {
        match right {
            FieldExpr::Static(Static::Text(pattern)) => {
                compile_regex(pattern).map_err(|error| format!("`{expr}`: {error}"))?;
            }
            _ => return Err(format!("`{expr}`: expected the regular expression as a string in quotes")),
        }
    }
    Ok(())
}

fn references_span(expr: &FieldExpr) -> bool {
    let mut any = false;
    expr.fields(&mut |_| any = true);
    any
}

fn scalar_type(expr: &ScalarExpr) -> Type {
    match expr {
        ScalarExpr::Static(value) => value.ty(),
        ScalarExpr::Aggregate(_, None) => Type::Int,
        ScalarExpr::Aggregate(_, Some(argument)) => type_of(argument),
        ScalarExpr::Pipeline(_, last) => scalar_type(last),
        ScalarExpr::Binary(_, left, right) => match scalar_type(left) {
            Type::Attribute => scalar_type(right),
            known => known,
        },
    }
}

fn check_scalar(expr: &ScalarExpr) -> Checked {
    match expr {
        ScalarExpr::Static(_) | ScalarExpr::Aggregate(_, None) => Ok(()),
        ScalarExpr::Aggregate(_, Some(argument)) => {
            check_field(argument)?;
            let ty = type_of(argument);
            if ty != Type::Attribute && !ty.is_number() {
                return Err(format!("`{expr}` is of a {}; expected a number or duration", ty.word()));
            }
            if !references_span(argument) {
                return Err(format!("`{expr}` is of a constant; expected a field of the span"));
            }
            Ok(())
        }
        ScalarExpr::Pipeline(stages, last) => {
            check_stages(stages)?;
            check_scalar(last)
        }
        ScalarExpr::Binary(_, left, right) => {
            check_scalar(left)?;
            check_scalar(right)
        }
    }
}

fn check_scalar_filter(op: Op, left: &ScalarExpr, right: &ScalarExpr) -> Checked {
    check_scalar(left)?;
    check_scalar(right)?;
    let (l, r) = (scalar_type(left), scalar_type(right));
    if !matching(l, r) || !allows(op, l) || !allows(op, r) {
        return Err(format!("an aggregate of a {} cannot be compared so with a {}", l.word(), r.word()));
    }
    match (left, right) {
        (ScalarExpr::Aggregate(..), ScalarExpr::Static(_)) => Ok(()),
        _ => Err("only one aggregate on the left and a number on the right are supported, for example `count() > 2`".to_owned()),
    }
}

fn check_metrics(expr: &MetricsExpr, alone: bool) -> Checked {
    match expr {
        MetricsExpr::Number(_) => Ok(()),
        MetricsExpr::Pipeline(pipeline) => check_pipeline(pipeline, alone),
        MetricsExpr::Binary(_, left, right) => {
            check_metrics(left, false)?;
            check_metrics(right, false)
        }
        MetricsExpr::Staged(inner, stages) => {
            check_metrics(inner, false)?;
            stages.iter().try_for_each(|stage| match stage {
                SecondStage::TopK(0) | SecondStage::BottomK(0) => {
                    Err("topk and bottomk give at least one series; expected a number above 0".to_owned())
                }
                _ => Ok(()),
            })
        }
    }
}

fn check_pipeline(pipeline: &MetricsPipeline, alone: bool) -> Checked {
    check_stages(&pipeline.spans)?;
    pipeline.by.iter().try_for_each(check_supported)?;
    let mut groups_max = GROUP_BY_MAX;
    match &pipeline.function {
        MetricsFunction::Rate | MetricsFunction::Count => {}
        MetricsFunction::Min(field) | MetricsFunction::Max(field) | MetricsFunction::Avg(field) | MetricsFunction::Sum(field) => {
            check_supported(field)?;
        }
        MetricsFunction::Histogram(field) => {
            check_supported(field)?;
            groups_max -= 1;
        }
        MetricsFunction::Quantile(field, quantiles) => {
            check_supported(field)?;
            groups_max -= 1;
            if let Some(q) = quantiles.iter().find(|q| !(0.0..=1.0).contains(*q)) {
                return Err(format!("{q} is no quantile; expected a number from 0 to 1"));
            }
        }
        MetricsFunction::Compare { selection, top, range } => {
            check_condition(selection)?;
            if !alone {
                return Err("compare() cannot be combined with other series or followed by another stage".to_owned());
            }
            if *top == Some(0) {
                return Err("compare() shows at least one value; expected a number above 0".to_owned());
            }
            if let Some((start, end)) = range
                && (*start <= 0 || end <= start)
            {
                return Err("compare() takes its range as two Unix times in nanoseconds, the end after the start".to_owned());
            }
        }
    }
    if pipeline.by.len() > groups_max {
        return Err(format!("{} fields to group by; at most {groups_max} are supported here", pipeline.by.len()));
    }
    Ok(())
}
