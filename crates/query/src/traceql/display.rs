//! Printing: a printed query parses to the same tree.

use std::fmt::{self, Display, Formatter, Write as _};

use super::ast::{
    AggregateOp, Body, Field, FieldExpr, MetricsExpr, MetricsFunction, MetricsPipeline, Op, Query, Relation, ScalarExpr, Scope, SecondStage,
    SpansetExpr, SpansetOp, Stage, Static, Take, UnaryOp,
};
use super::token::is_name_char;

/// A text between double quotes with the escapes that are read.
fn quoted(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\U{:08x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// Nanoseconds in the largest unit that holds them exactly.
fn duration(nanos: i64, f: &mut Formatter<'_>) -> fmt::Result {
    let units: [(&str, i64); 7] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let (unit, size) = if nanos == 0 { ("s", 1) } else { units.into_iter().find(|(_, size)| nanos % size == 0).unwrap_or(("ns", 1)) };
    write!(f, "{}{unit}", nanos / size)
}

impl Display for Static {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Int(n) => write!(f, "{n}"),
            Self::Float(n) => write!(f, "{n:?}"),
            Self::Text(text) => quoted(text, f),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Duration(n) => duration(*n, f),
            Self::Status(status) => f.write_str(status.as_str()),
            Self::Kind(kind) => f.write_str(kind.as_str()),
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (scope, parent, name) = match self {
            Self::Intrinsic(intrinsic) => return f.write_str(intrinsic.name()),
            Self::Attribute { scope, parent, name } => (scope, parent, name),
        };
        f.write_str(match (scope, parent) {
            (Scope::Any, false) => ".",
            (Scope::Any, true) => "parent.",
            (Scope::Span, false) => "span.",
            (Scope::Span, true) => "parent.span.",
            (Scope::Resource, false) => "resource.",
            (Scope::Resource, true) => "parent.resource.",
            (Scope::Event, _) => "event.",
            (Scope::Link, _) => "link.",
            (Scope::Instrumentation, _) => "instrumentation.",
        })?;
        let scope_like = *parent && *scope == Scope::Any && ["span.", "resource."].iter().any(|s| name.starts_with(s));
        let digit_behind_dot = *scope == Scope::Any && !parent && name.starts_with(|c: char| c.is_ascii_digit());
        if !scope_like && !digit_behind_dot && name.chars().all(|c| is_name_char(c) && c != '"' && c != '\\') {
            return f.write_str(name);
        }
        f.write_char('"')?;
        for c in name.chars() {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::And => "&&",
            Self::Or => "||",
        })
    }
}

/// An operand, in parentheses unless it is a leaf.
struct Inner<'a>(&'a FieldExpr);

impl Display for Inner<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            FieldExpr::Static(_) | FieldExpr::Field(_) => write!(f, "{}", self.0),
            expr => write!(f, "({expr})"),
        }
    }
}

impl Display for FieldExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(value) => write!(f, "{value}"),
            Self::Field(field) => write!(f, "{field}"),
            Self::Unary(UnaryOp::Not, inner) => write!(f, "!{}", Inner(inner)),
            Self::Unary(UnaryOp::Minus, inner) => write!(f, "-{}", Inner(inner)),
            Self::Binary(op, left, right) => write!(f, "{} {op} {}", Inner(left), Inner(right)),
        }
    }
}

impl Display for SpansetOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (take, relation) = match self {
            Self::And => return f.write_str("&&"),
            Self::Or => return f.write_str("||"),
            Self::Structural(relation, take) => (take, relation),
        };
        f.write_str(match take {
            Take::Right => "",
            Take::NotRight => "!",
            Take::Both => "&",
        })?;
        f.write_str(match relation {
            Relation::Child => ">",
            Relation::Parent => "<",
            Relation::Descendant => ">>",
            Relation::Ancestor => "<<",
            Relation::Sibling => "~",
        })
    }
}

impl Display for SpansetExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(condition) if *condition == FieldExpr::TRUE => f.write_str("{ }"),
            Self::Filter(condition) => write!(f, "{{ {condition} }}"),
            Self::Pipeline(stages) => write!(f, "({})", Stages(stages)),
            Self::Binary(op, left, right) => {
                for (before, side) in [(None, left), (Some(op), right)] {
                    if let Some(op) = before {
                        write!(f, " {op} ")?;
                    }
                    match **side {
                        Self::Binary(..) => write!(f, "({side})")?,
                        _ => write!(f, "{side}")?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl Display for AggregateOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "count",
            Self::Avg => "avg",
            Self::Max => "max",
            Self::Min => "min",
            Self::Sum => "sum",
        })
    }
}

impl Display for ScalarExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(value) => write!(f, "{value}"),
            Self::Aggregate(op, None) => write!(f, "{op}()"),
            Self::Aggregate(op, Some(argument)) => write!(f, "{op}({argument})"),
            Self::Pipeline(stages, last) => write!(f, "({} | {last})", Stages(stages)),
            Self::Binary(op, left, right) => write!(f, "({left}) {op} ({right})"),
        }
    }
}

/// Stages with bars between them.
struct Stages<'a>(&'a [Stage]);

impl Display for Stages<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, stage) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{stage}")?;
        }
        Ok(())
    }
}

fn list(fields: &[Field], f: &mut Formatter<'_>) -> fmt::Result {
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{field}")?;
    }
    Ok(())
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spansets(expr) => write!(f, "{expr}"),
            Self::Scalar(op, left, right) => write!(f, "{left} {op} {right}"),
            Self::By(field) => write!(f, "by({field})"),
            Self::Coalesce => f.write_str("coalesce()"),
            Self::Select(fields) => {
                f.write_str("select(")?;
                list(fields, f)?;
                f.write_char(')')
            }
        }
    }
}

impl Display for MetricsFunction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate => f.write_str("rate()"),
            Self::Count => f.write_str("count_over_time()"),
            Self::Min(field) => write!(f, "min_over_time({field})"),
            Self::Max(field) => write!(f, "max_over_time({field})"),
            Self::Avg(field) => write!(f, "avg_over_time({field})"),
            Self::Sum(field) => write!(f, "sum_over_time({field})"),
            Self::Histogram(field) => write!(f, "histogram_over_time({field})"),
            Self::Quantile(field, quantiles) => {
                write!(f, "quantile_over_time({field}")?;
                for q in quantiles {
                    write!(f, ", {}", Static::Float(*q))?;
                }
                f.write_char(')')
            }
            Self::Compare { selection, top, range } => {
                write!(f, "compare({}", SpansetExpr::Filter((**selection).clone()))?;
                if let Some(top) = top {
                    write!(f, ", {top}")?;
                }
                if let Some((start, end)) = range {
                    write!(f, ", {start}, {end}")?;
                }
                f.write_char(')')
            }
        }
    }
}

impl Display for MetricsPipeline {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {}", Stages(&self.spans), self.function)?;
        if !self.by.is_empty() {
            f.write_str(" by (")?;
            list(&self.by, f)?;
            f.write_char(')')?;
        }
        Ok(())
    }
}

impl Display for MetricsExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipeline(pipeline) => write!(f, "({pipeline})"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Binary(op, left, right) => {
                for (before, side) in [(None, left), (Some(op), right)] {
                    if let Some(op) = before {
                        write!(f, " {op} ")?;
                    }
                    match **side {
                        Self::Binary(..) | Self::Staged(..) => write!(f, "({side})")?,
                        _ => write!(f, "{side}")?,
                    }
                }
                Ok(())
            }
            Self::Staged(inner, stages) => {
                write!(f, "{inner}")?;
                for stage in stages {
                    match stage {
                        SecondStage::TopK(n) => write!(f, " | topk({n})")?,
                        SecondStage::BottomK(n) => write!(f, " | bottomk({n})")?,
                        SecondStage::Filter(op, value) => write!(f, " {op} {value}")?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.body {
            Body::Search(stages) => write!(f, "{}", Stages(stages))?,
            Body::Metrics(MetricsExpr::Pipeline(pipeline)) => write!(f, "{pipeline}")?,
            Body::Metrics(expr) => write!(f, "{expr}")?,
        }
        for (at, (key, value)) in self.hints.iter().enumerate() {
            write!(f, "{}{key}={value}", if at == 0 { " with(" } else { ", " })?;
        }
        f.write_str(if self.hints.is_empty() { "" } else { ")" })
    }
}
