//! The tree a query parses to. Comparing trees ignores where in the text they stood.

use super::duration::Duration;
use super::functions::Function;
use crate::error::Span;
use crate::metrics::Matcher;

/// An expression and where it stands in the query's text.
#[derive(Debug, Clone)]
pub struct Expr {
    /// What it is.
    pub kind: Kind,
    /// Bytes of the query's text.
    pub span: Span,
    /// Line it begins on, from 1.
    pub line: u32,
    /// Byte column it begins at, from 1.
    pub column: u32,
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// Kinds of expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A number, or a duration written where a number is expected.
    Number(Number),
    /// A quoted text.
    Text(String),
    /// `name{label="value"}`
    Selector(Selector),
    /// `selector[5m]`
    Range(RangeSelector),
    /// `expr[1h:5m]`
    Subquery(Box<Subquery>),
    /// `-expr` (true) or `+expr`
    Unary(bool, Box<Expr>),
    /// `a op b`
    Binary(Box<Binary>),
    /// `sum by (x) (expr)`
    Aggregate(Box<Aggregate>),
    /// `rate(expr)`
    Call(Call),
    /// `(expr)`
    Paren(Box<Expr>),
}

/// A number literal.
#[derive(Debug, Clone, Copy)]
pub struct Number {
    /// Its value; seconds for a duration.
    pub value: f64,
    /// Whether it was written as a duration.
    pub duration: bool,
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.duration == other.duration && (self.value == other.value || (self.value.is_nan() && other.value.is_nan()))
    }
}

/// What `@` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A moment, Unix milliseconds.
    Time(i64),
    /// `start()` of the query.
    Start,
    /// `end()` of the query.
    End,
}

/// `offset` and `@`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shift {
    /// How far to look back.
    pub offset: Option<Duration>,
    /// Moment to look at instead of each step's time.
    pub at: Option<At>,
}

/// How values between samples are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sampling {
    /// Samples inside the window.
    #[default]
    Plain,
    /// `anchored`: the window includes the sample before its start.
    Anchored,
    /// `smoothed`: values at the window's edges are interpolated.
    Smoothed,
}

/// An instant vector selector.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    /// Metric name written before or inside the braces.
    pub name: Option<String>,
    /// Matchers, the name's own among them.
    pub matchers: Vec<Matcher>,
    /// `offset` and `@`.
    pub shift: Shift,
    /// `anchored` or `smoothed`.
    pub sampling: Sampling,
}

/// A range vector selector.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeSelector {
    /// Which series; its `shift` and `sampling` hold those written after the range.
    pub selector: Selector,
    /// Length of the window.
    pub range: Duration,
}

/// A subquery.
#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Expr,
    /// Length of the window.
    pub range: Duration,
    /// Resolution; the engine's default when absent.
    pub step: Option<Duration>,
    /// `offset` and `@`.
    pub shift: Shift,
}

/// Binary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
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
    /// `atan2`
    Atan2,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `</`: trims a histogram's upper buckets
    TrimUpper,
    /// `>/`: trims a histogram's lower buckets
    TrimLower,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

impl BinaryOp {
    /// As written in a query.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// How tightly it binds, from 1.
    pub(crate) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual | Self::TrimUpper | Self::TrimLower => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
        }
    }

    /// `and`, `or`, `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// `==`, `!=`, `<`, `<=`, `>`, `>=`.
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual | Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual)
    }
}

/// Which side of a binary operation may have several series for one of the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Grouping {
    /// Neither.
    #[default]
    OneToOne,
    /// `group_left`
    Left,
    /// `group_right`
    Right,
}

/// How the series of both sides are paired.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matching {
    /// `on` (true) the labels, or `ignoring` them.
    pub on: bool,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether `on` or `ignoring` was written.
    pub written: bool,
    /// `group_left`, `group_right`.
    pub grouping: Grouping,
    /// Labels to copy from the "one" side.
    pub include: Vec<String>,
    /// `fill_left`: value of an absent left sample.
    pub fill_left: Option<Number>,
    /// `fill_right`: value of an absent right sample.
    pub fill_right: Option<Number>,
}

/// A binary operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// Operator.
    pub op: BinaryOp,
    /// Left operand.
    pub left: Expr,
    /// Right operand.
    pub right: Expr,
    /// `bool`: a comparison yields 0 or 1 instead of filtering.
    pub bool: bool,
    /// How series are paired.
    pub matching: Matching,
}

/// Aggregation operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `count`
    Count,
    /// `group`
    Group,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
    /// `topk`
    Topk,
    /// `bottomk`
    Bottomk,
    /// `quantile`
    Quantile,
    /// `count_values`
    CountValues,
    /// `limitk`
    Limitk,
    /// `limit_ratio`
    LimitRatio,
}

impl AggregateOp {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Sum,
        Self::Avg,
        Self::Min,
        Self::Max,
        Self::Count,
        Self::Group,
        Self::Stddev,
        Self::Stdvar,
        Self::Topk,
        Self::Bottomk,
        Self::Quantile,
        Self::CountValues,
        Self::Limitk,
        Self::LimitRatio,
    ];

    /// As written in a query.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Count => "count",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::Quantile => "quantile",
            Self::CountValues => "count_values",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// The operator of that name, in any case.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name().eq_ignore_ascii_case(name))
    }

    /// Whether it takes a parameter before the vector.
    pub fn has_parameter(self) -> bool {
        matches!(self, Self::Topk | Self::Bottomk | Self::Quantile | Self::CountValues | Self::Limitk | Self::LimitRatio)
    }

    /// Whether it is behind the experimental switch.
    pub fn experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
}

/// An aggregation.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// Operator.
    pub op: AggregateOp,
    /// What is aggregated.
    pub expr: Expr,
    /// Parameter of `topk`, `quantile`, ….
    pub parameter: Option<Expr>,
    /// Labels of `by` or `without`.
    pub labels: Vec<String>,
    /// `without` instead of `by`.
    pub without: bool,
}

/// A function call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Which function.
    pub function: &'static Function,
    /// Arguments.
    pub args: Vec<Expr>,
}

/// What an expression evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// One number a step.
    Scalar,
    /// Text.
    Text,
    /// Series with one value a step.
    Vector,
    /// Series with a window of samples a step.
    Matrix,
}

impl Type {
    /// As Prometheus names it in errors and documentation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Text => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }
}

impl Expr {
    /// What it evaluates to.
    pub fn value_type(&self) -> Type {
        match &self.kind {
            Kind::Number(_) => Type::Scalar,
            Kind::Text(_) => Type::Text,
            Kind::Selector(_) | Kind::Aggregate(_) => Type::Vector,
            Kind::Range(_) | Kind::Subquery(_) => Type::Matrix,
            Kind::Unary(_, e) | Kind::Paren(e) => e.value_type(),
            Kind::Call(c) => c.function.returns,
            Kind::Binary(b) => {
                if b.left.value_type() == Type::Scalar && b.right.value_type() == Type::Scalar {
                    Type::Scalar
                } else {
                    Type::Vector
                }
            }
        }
    }

    /// The expression inside any parentheses.
    pub fn without_parens(&self) -> &Self {
        match &self.kind {
            Kind::Paren(e) => e.without_parens(),
            _ => self,
        }
    }

    /// Calls `visit` for this expression and all below it.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        match &self.kind {
            Kind::Number(_) | Kind::Text(_) | Kind::Selector(_) | Kind::Range(_) => {}
            Kind::Subquery(s) => s.expr.walk(visit),
            Kind::Unary(_, e) | Kind::Paren(e) => e.walk(visit),
            Kind::Binary(b) => {
                b.left.walk(visit);
                b.right.walk(visit);
            }
            Kind::Aggregate(a) => {
                if let Some(p) = &a.parameter {
                    p.walk(visit);
                }
                a.expr.walk(visit);
            }
            Kind::Call(c) => c.args.iter().for_each(|a| a.walk(visit)),
        }
    }

    /// The selectors below, with and without a range.
    pub fn selectors(&self) -> Vec<&Selector> {
        let mut out = Vec::new();
        self.walk(&mut |e| match &e.kind {
            Kind::Selector(s) => out.push(s),
            Kind::Range(r) => out.push(&r.selector),
            _ => {}
        });
        out
    }
}
