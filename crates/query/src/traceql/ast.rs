//! A TraceQL query as a tree. [`std::fmt::Display`] prints it so that it parses to the same tree again.

use super::fields::{Intrinsic, Type};

/// Where an attribute is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// `.key`: the span's own, else its resource's.
    Any,
    /// `span.key`.
    Span,
    /// `resource.key`.
    Resource,
    /// `event.key`: of any of the span's events.
    Event,
    /// `link.key`: of any of the span's links.
    Link,
    /// `instrumentation.key`: of the instrumentation scope.
    Instrumentation,
}

/// Something a span has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// A fixed field such as `duration` or `trace:rootName`.
    Intrinsic(Intrinsic),
    /// An attribute.
    Attribute {
        /// Where it is looked for.
        scope: Scope,
        /// Whether of the parent span (`parent.`); parsed and refused, as in Tempo.
        parent: bool,
        /// Its key.
        name: String,
    },
}

impl Field {
    /// An attribute of the span itself.
    pub fn attribute(scope: Scope, name: impl Into<String>) -> Self {
        Self::Attribute { scope, parent: false, name: name.into() }
    }

    /// `resource.service.name`, which every span has.
    pub fn is_service(&self) -> bool {
        matches!(self, Self::Attribute { scope: Scope::Resource, parent: false, name } if name == "service.name")
    }
}

/// A literal.
#[derive(Debug, Clone, PartialEq)]
pub enum Static {
    /// `nil`.
    Nil,
    /// `5`.
    Int(i64),
    /// `1.5`.
    Float(f64),
    /// `"text"`.
    Text(String),
    /// `true`.
    Bool(bool),
    /// `1h30m`, nanoseconds.
    Duration(i64),
    /// `ok`, `error`, `unset`: [`skopos_model::StatusCode`].
    Status(skopos_model::StatusCode),
    /// `server`, …: [`skopos_model::SpanKind`].
    Kind(skopos_model::SpanKind),
}

impl Static {
    /// Its type.
    pub fn ty(&self) -> Type {
        match self {
            Self::Nil => Type::Nil,
            Self::Int(_) => Type::Int,
            Self::Float(_) => Type::Float,
            Self::Text(_) => Type::Text,
            Self::Bool(_) => Type::Bool,
            Self::Duration(_) => Type::Duration,
            Self::Status(_) => Type::Status,
            Self::Kind(_) => Type::Kind,
        }
    }

    /// A number's value; a duration's is nanoseconds.
    #[allow(clippy::cast_precision_loss, reason = "comparisons and arithmetic are in doubles, as Tempo's")]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(n) | Self::Duration(n) => Some(*n as f64),
            Self::Float(n) => Some(*n),
            _ => None,
        }
    }
}

/// A binary operator inside braces, and of scalars and series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `&&`
    And,
    /// `||`
    Or,
}

impl Op {
    /// Whether the result is a truth value.
    pub fn is_boolean(self) -> bool {
        !self.is_arithmetic()
    }

    /// Whether it computes a number.
    pub fn is_arithmetic(self) -> bool {
        matches!(self, Self::Add | Self::Sub | Self::Mul | Self::Div | Self::Mod | Self::Pow)
    }

    /// Whether it orders or equates, without regular expressions.
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual | Self::Greater | Self::GreaterEqual | Self::Less | Self::LessEqual)
    }
}

/// A unary operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `!`
    Not,
    /// `-`
    Minus,
}

/// What stands inside braces, and in aggregates.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldExpr {
    /// A literal.
    Static(Static),
    /// A field of the span.
    Field(Field),
    /// `!a`, `-a`.
    Unary(UnaryOp, Box<FieldExpr>),
    /// `a + b`, `a = b`, …
    Binary(Op, Box<FieldExpr>, Box<FieldExpr>),
}

impl FieldExpr {
    /// Takes every span.
    pub const TRUE: Self = Self::Static(Static::Bool(true));

    /// Calls `each` with every field in it.
    pub fn fields<'a>(&'a self, each: &mut dyn FnMut(&'a Field)) {
        match self {
            Self::Static(_) => {}
            Self::Field(field) => each(field),
            Self::Unary(_, inner) => inner.fields(each),
            Self::Binary(_, left, right) => {
                left.fields(each);
                right.fields(each);
            }
        }
    }
}

/// How spans of two sets are related.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `>`: the right one's parent is on the left.
    Child,
    /// `<`: the right one has a child on the left.
    Parent,
    /// `>>`: the right one has an ancestor on the left.
    Descendant,
    /// `<<`: the right one has a descendant on the left.
    Ancestor,
    /// `~`: another child of the right one's parent is on the left.
    Sibling,
}

/// Which spans of a related pair are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Take {
    /// The right ones.
    Right,
    /// `!`: the right ones that are not so related.
    NotRight,
    /// `&`: both.
    Both,
}

/// An operator between spansets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpansetOp {
    /// `&&`: all spans of both, where both have some.
    And,
    /// `||`: all spans of both.
    Or,
    /// A structural operator.
    Structural(Relation, Take),
}

/// Filters of spans, and operators between them.
#[derive(Debug, Clone, PartialEq)]
pub enum SpansetExpr {
    /// `{ … }`.
    Filter(FieldExpr),
    /// `( … | … )`: only beside its like.
    Pipeline(Vec<Stage>),
    /// Two of them.
    Binary(SpansetOp, Box<SpansetExpr>, Box<SpansetExpr>),
}

/// What an aggregate computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    /// `count()`
    Count,
    /// `avg(…)`
    Avg,
    /// `max(…)`
    Max,
    /// `min(…)`
    Min,
    /// `sum(…)`
    Sum,
}

/// A number of a spanset.
#[derive(Debug, Clone, PartialEq)]
pub enum ScalarExpr {
    /// A literal number or duration.
    Static(Static),
    /// An aggregate; `count` has no argument.
    Aggregate(AggregateOp, Option<Box<FieldExpr>>),
    /// `({ … } | count())`; parsed and refused, as in Tempo.
    Pipeline(Vec<Stage>, Box<ScalarExpr>),
    /// Arithmetic.
    Binary(Op, Box<ScalarExpr>, Box<ScalarExpr>),
}

/// One stage of a pipeline of spansets.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// Filters.
    Spansets(SpansetExpr),
    /// `count() > 1`.
    Scalar(Op, ScalarExpr, ScalarExpr),
    /// `by(…)`.
    By(FieldExpr),
    /// `coalesce()`.
    Coalesce,
    /// `select(…)`.
    Select(Vec<Field>),
}

/// A metrics function and its arguments.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricsFunction {
    /// `rate()`: spans a second.
    Rate,
    /// `count_over_time()`.
    Count,
    /// `min_over_time(…)`.
    Min(Field),
    /// `max_over_time(…)`.
    Max(Field),
    /// `avg_over_time(…)`.
    Avg(Field),
    /// `sum_over_time(…)`.
    Sum(Field),
    /// `quantile_over_time(…, 0.9, …)`.
    Quantile(Field, Vec<f64>),
    /// `histogram_over_time(…)`.
    Histogram(Field),
    /// `compare({ … }, top, start, end)`.
    Compare {
        /// The spans that are the selection; the others are the baseline.
        selection: Box<FieldExpr>,
        /// Most values of each attribute.
        top: Option<u32>,
        /// Unix nanoseconds inside which a span can be in the selection.
        range: Option<(i64, i64)>,
    },
}

/// Spans to series.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricsPipeline {
    /// Which spans.
    pub spans: Vec<Stage>,
    /// What of them.
    pub function: MetricsFunction,
    /// Series for each combination of values.
    pub by: Vec<Field>,
}

/// Series to series.
#[derive(Debug, Clone, PartialEq)]
pub enum SecondStage {
    /// `topk(n)`: at each step the series with the greatest values.
    TopK(u32),
    /// `bottomk(n)`.
    BottomK(u32),
    /// `> 5`: only values that compare so.
    Filter(Op, Static),
}

/// Series and arithmetic between them.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricsExpr {
    /// Of spans.
    Pipeline(MetricsPipeline),
    /// A number, beside series.
    Number(Static),
    /// `+ - * /`.
    Binary(Op, Box<MetricsExpr>, Box<MetricsExpr>),
    /// With second stages.
    Staged(Box<MetricsExpr>, Vec<SecondStage>),
}

impl MetricsExpr {
    /// Calls `each` with every pipeline in it.
    pub fn pipelines<'a>(&'a self, each: &mut dyn FnMut(&'a MetricsPipeline)) {
        match self {
            Self::Pipeline(pipeline) => each(pipeline),
            Self::Number(_) => {}
            Self::Binary(_, left, right) => {
                left.pipelines(each);
                right.pipelines(each);
            }
            Self::Staged(inner, _) => inner.pipelines(each),
        }
    }
}

/// What a query asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Spansets.
    Search(Vec<Stage>),
    /// Series.
    Metrics(MetricsExpr),
}

/// A whole query.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What it asks for.
    pub body: Body,
    /// `with(key=value, …)`.
    pub hints: Vec<(String, Static)>,
}

impl Query {
    /// The value of a hint.
    pub fn hint(&self, name: &str) -> Option<&Static> {
        self.hints.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}
