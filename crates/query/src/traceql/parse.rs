//! Tokens to a tree: pipelines and what stands in them. What stands in braces is in `parse_field.rs`, metrics are in
//! `parse_metrics.rs`.
//!
//! Operators are read by precedence, whatever they stand between, and what may be combined is decided when both sides are
//! known ([`Operand`]): a filter, a pipeline in parentheses, a number, an aggregate, series.

use super::ast::{AggregateOp, Body, MetricsExpr, Op, Query, Relation, ScalarExpr, SpansetExpr, SpansetOp, Stage, Static, Take};
use super::token::{Tok, tokens};
use crate::error::{QueryError, Span};

/// Deepest nesting of parentheses and unary operators.
pub const QUERY_DEPTH_MAX: usize = 100;
/// Most operators of one query: each is a level of the tree.
pub const QUERY_OPERATORS_MAX: usize = 500;

/// Reads a query and checks its types, as Tempo does before it runs one.
///
/// # Errors
/// [`QueryError::Parse`] with the place.
pub fn parse(text: &str) -> Result<Query, QueryError> {
    let query = parse_unchecked(text)?;
    super::check::check(&query).map_err(|message| QueryError::Parse { message, at: Span { start: 0, end: text.len() } })?;
    Ok(query)
}

/// Reads a field alone, as `by (…)` takes it.
///
/// # Errors
/// [`QueryError::Parse`] with the place.
pub fn parse_field(text: &str) -> Result<super::Field, QueryError> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, operators: 0 };
    let field = parser.field()?;
    match parser.peek() {
        Tok::End => Ok(field),
        other => Err(parser.error_here(format!("unexpected {}; expected one field", other.describe()))),
    }
}

/// Reads a query without checking its types.
pub(super) fn parse_unchecked(text: &str) -> Result<Query, QueryError> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, operators: 0 };
    let start = parser.here();
    let operand = parser.pipeline()?;
    let body = match operand {
        Operand::Spansets(expr @ SpansetExpr::Filter(_)) => Body::Search(vec![Stage::Spansets(expr)]),
        Operand::Spansets(expr) | Operand::Wrapped(expr) => Body::Search(match expr {
            // Parentheses around all of it say nothing.
            SpansetExpr::Pipeline(stages) => stages,
            expr => vec![Stage::Spansets(expr)],
        }),
        Operand::Stages(stages) => Body::Search(stages),
        Operand::ScalarFilter(op, left, right) => Body::Search(vec![Stage::Scalar(op, left, right)]),
        Operand::Metrics(expr) => Body::Metrics(expr),
        Operand::Scalar(_) | Operand::WrappedScalar(_) => {
            return Err(parser.error_at(start, "an aggregate is compared with a number, for example `count() > 2`"));
        }
        Operand::Number(_) => return Err(parser.error_at(start, "a number alone is no query; expected spans, for example `{ status = error }`")),
    };
    let mut hints = Vec::new();
    while parser.word("with") {
        parser.hints(&mut hints)?;
    }
    match parser.peek() {
        Tok::End => Ok(Query { body, hints }),
        other => {
            let message = format!("unexpected {}; expected an operator, `|` or the end of the query", other.describe());
            Err(parser.error_here(message))
        }
    }
}

/// What stands at one side of an operator.
#[derive(Debug)]
pub(super) enum Operand {
    /// Filters and operators between them.
    Spansets(SpansetExpr),
    /// Pipelines in parentheses and operators between them.
    Wrapped(SpansetExpr),
    /// A pipeline of several stages, or of one that is no operand.
    Stages(Vec<Stage>),
    /// Aggregates, and arithmetic with numbers.
    Scalar(ScalarExpr),
    /// Pipelines in parentheses that end in an aggregate, and arithmetic between them.
    WrappedScalar(ScalarExpr),
    /// Compared aggregates.
    ScalarFilter(Op, ScalarExpr, ScalarExpr),
    /// A number or duration; whether it was computed from several.
    Number(Static),
    /// Series.
    Metrics(MetricsExpr),
}

impl Operand {
    fn describe(&self) -> &'static str {
        match self {
            Self::Spansets(_) => "a spanset",
            Self::Wrapped(_) => "a pipeline in parentheses",
            Self::Stages(_) => "a pipeline",
            Self::Scalar(_) => "an aggregate",
            Self::WrappedScalar(_) => "an aggregate of a pipeline",
            Self::ScalarFilter(..) => "a compared aggregate",
            Self::Number(_) => "a number",
            Self::Metrics(_) => "series",
        }
    }
}

/// An operator as written, and how close it binds.
const OPERATORS: &[(&str, u8)] = &[
    ("&&", 1),
    ("||", 1),
    ("=", 2),
    ("!=", 2),
    ("<", 2),
    ("<=", 2),
    (">", 2),
    (">=", 2),
    ("=~", 2),
    ("!~", 2),
    (">>", 2),
    ("<<", 2),
    ("~", 2),
    ("!>", 2),
    ("!<", 2),
    ("!>>", 2),
    ("!<<", 2),
    ("&>", 2),
    ("&<", 2),
    ("&>>", 2),
    ("&<<", 2),
    ("&~", 2),
    ("+", 3),
    ("-", 3),
    ("*", 5),
    ("/", 5),
    ("%", 5),
    ("^", 6),
];

/// How close `^` binds, which groups from the right.
pub(super) const POWER: u8 = 6;

/// The operator a symbol is between numbers or fields.
pub(super) fn op_of(symbol: &str) -> Option<Op> {
    Some(match symbol {
        "+" => Op::Add,
        "-" => Op::Sub,
        "*" => Op::Mul,
        "/" => Op::Div,
        "%" => Op::Mod,
        "^" => Op::Pow,
        "=" => Op::Equal,
        "!=" => Op::NotEqual,
        "=~" => Op::Regex,
        "!~" => Op::NotRegex,
        ">" => Op::Greater,
        ">=" => Op::GreaterEqual,
        "<" => Op::Less,
        "<=" => Op::LessEqual,
        "&&" => Op::And,
        "||" => Op::Or,
        _ => return None,
    })
}

/// The operator a symbol is between spansets.
fn spanset_op_of(symbol: &str) -> Option<SpansetOp> {
    let (take, relation) = match symbol {
        "&&" => return Some(SpansetOp::And),
        "||" => return Some(SpansetOp::Or),
        _ if symbol.starts_with('!') => (Take::NotRight, &symbol[1..]),
        _ if symbol.starts_with('&') => (Take::Both, &symbol[1..]),
        _ => (Take::Right, symbol),
    };
    let relation = match relation {
        ">" => Relation::Child,
        "<" => Relation::Parent,
        ">>" => Relation::Descendant,
        "<<" => Relation::Ancestor,
        "~" => Relation::Sibling,
        _ => return None,
    };
    Some(SpansetOp::Structural(relation, take))
}

#[derive(Debug)]
pub(super) struct Parser {
    tokens: Vec<(Tok, Span)>,
    at: usize,
    depth: usize,
    operators: usize,
}

impl Parser {
    pub(super) fn peek(&self) -> &Tok {
        &self.tokens[self.at.min(self.tokens.len() - 1)].0
    }

    /// Where the next token begins.
    pub(super) fn here(&self) -> Span {
        self.tokens[self.at.min(self.tokens.len() - 1)].1
    }

    pub(super) fn next(&mut self) -> Tok {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    /// Puts the last token back.
    pub(super) fn back(&mut self) {
        self.at = self.at.saturating_sub(1);
    }

    pub(super) fn error_here(&self, message: impl Into<String>) -> QueryError {
        QueryError::Parse { message: message.into(), at: self.here() }
    }

    /// An error about everything from `start` to the last token read.
    pub(super) fn error_at(&self, start: Span, message: impl Into<String>) -> QueryError {
        let end = self.tokens[self.at.saturating_sub(1).min(self.tokens.len() - 1)].1.end;
        QueryError::Parse { message: message.into(), at: Span { start: start.start, end: end.max(start.end) } }
    }

    /// Takes the symbol if it is next.
    pub(super) fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Tok::Symbol(s) if *s == symbol);
        self.at += usize::from(found);
        found
    }

    /// Takes the word if it is next.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Tok::Word(w) if w == word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, symbol: &str, place: &str) -> Result<(), QueryError> {
        if self.symbol(symbol) {
            return Ok(());
        }
        Err(self.error_here(format!("unexpected {}; expected `{symbol}` {place}", self.peek().describe())))
    }

    /// One level deeper.
    pub(super) fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, QueryError>) -> Result<T, QueryError> {
        if self.depth >= QUERY_DEPTH_MAX {
            return Err(self.error_here(format!("nested deeper than {QUERY_DEPTH_MAX} levels")));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// The next token as a binary operator that binds at least so close.
    pub(super) fn operator(&mut self, closeness: u8) -> Result<Option<(&'static str, u8)>, QueryError> {
        let Tok::Symbol(symbol) = self.peek() else { return Ok(None) };
        let Some(found) = OPERATORS.iter().find(|(s, close)| s == symbol && *close >= closeness) else { return Ok(None) };
        if self.operators >= QUERY_OPERATORS_MAX {
            return Err(self.error_here(format!("more than {QUERY_OPERATORS_MAX} operators")));
        }
        self.operators += 1;
        self.at += 1;
        Ok(Some(*found))
    }

    /// Stages with bars between them. One stage that is an operand stays what it is.
    pub(super) fn pipeline(&mut self) -> Result<Operand, QueryError> {
        let start = self.here();
        let mut first = match self.stage_function(true)? {
            Some(stage) => Operand::Stages(vec![stage]),
            None => self.expression(1)?,
        };
        if let Operand::Metrics(expr) = first {
            return Ok(Operand::Metrics(self.second_stages(expr)?));
        }
        if !matches!(self.peek(), Tok::Symbol("|")) {
            return Ok(first);
        }
        let mut stages = match first {
            Operand::Spansets(expr) => vec![Stage::Spansets(expr)],
            Operand::ScalarFilter(op, left, right) => vec![Stage::Scalar(op, left, right)],
            Operand::Stages(stages) => stages,
            other => {
                let message = format!("{} cannot stand before `|`; expected spans, for example `{{ status = error }}`", other.describe());
                return Err(self.error_at(start, message));
            }
        };
        while self.symbol("|") {
            if let Some(function) = self.metrics_function()? {
                let expr = self.metrics(stages, function)?;
                return Ok(Operand::Metrics(self.second_stages(expr)?));
            }
            if let Some(stage) = self.stage_function(false)? {
                stages.push(stage);
                continue;
            }
            let start = self.here();
            first = self.expression(1)?;
            match first {
                Operand::Spansets(expr) => stages.push(Stage::Spansets(expr)),
                Operand::ScalarFilter(op, left, right) => stages.push(Stage::Scalar(op, left, right)),
                Operand::Scalar(scalar @ ScalarExpr::Aggregate(..)) if matches!(self.peek(), Tok::Symbol(")")) => {
                    return Ok(Operand::WrappedScalar(ScalarExpr::Pipeline(stages, Box::new(scalar))));
                }
                Operand::Scalar(_) => {
                    return Err(self.error_at(start, "an aggregate is compared with a number, for example `count() > 2`"));
                }
                other => return Err(self.error_at(start, format!("{} cannot stand behind `|`", other.describe()))),
            }
        }
        Ok(Operand::Stages(stages))
    }

    /// Operators that bind at least so close, and what stands between them.
    fn expression(&mut self, closeness: u8) -> Result<Operand, QueryError> {
        let start = self.here();
        let mut left = self.operand()?;
        // Series are compared behind all arithmetic, and again behind each stage.
        while !(matches!(left, Operand::Metrics(_)) && self.at_comparison()) {
            let Some((symbol, close)) = self.operator(closeness)? else { break };
            let right = self.deeper(|p| p.expression(if close == POWER { close } else { close + 1 }))?;
            left = self.combine(start, symbol, left, right)?;
        }
        Ok(left)
    }

    fn at_comparison(&self) -> bool {
        matches!(self.peek(), Tok::Symbol("=" | "!=" | "<" | "<=" | ">" | ">="))
    }

    fn operand(&mut self) -> Result<Operand, QueryError> {
        let start = self.here();
        if self.symbol("{") {
            return Ok(Operand::Spansets(SpansetExpr::Filter(self.braces()?)));
        }
        if self.symbol("(") {
            let inner = self.deeper(Self::pipeline)?;
            self.expect(")", "after what stands in parentheses")?;
            return Ok(match inner {
                Operand::Stages(stages) => Operand::Wrapped(SpansetExpr::Pipeline(stages)),
                Operand::ScalarFilter(op, left, right) => Operand::Wrapped(SpansetExpr::Pipeline(vec![Stage::Scalar(op, left, right)])),
                other => other,
            });
        }
        let minus = self.symbol("-");
        let sign = if minus { -1 } else { 1 };
        match self.next() {
            Tok::Int(n) => return Ok(Operand::Number(Static::Int(n.saturating_mul(sign)))),
            Tok::Float(n) => return Ok(Operand::Number(Static::Float(if minus { -n } else { n }))),
            Tok::Duration(n) => return Ok(Operand::Number(Static::Duration(n.saturating_mul(sign)))),
            Tok::Word(word) if !minus => {
                let aggregate = match word.as_str() {
                    "count" => Some(AggregateOp::Count),
                    "avg" => Some(AggregateOp::Avg),
                    "max" => Some(AggregateOp::Max),
                    "min" => Some(AggregateOp::Min),
                    "sum" => Some(AggregateOp::Sum),
                    _ => None,
                };
                if let Some(op) = aggregate {
                    self.expect("(", "after the aggregate")?;
                    let argument = if op == AggregateOp::Count { None } else { Some(Box::new(self.field_expression()?)) };
                    self.expect(")", "after the aggregate's argument")?;
                    return Ok(Operand::Scalar(ScalarExpr::Aggregate(op, argument)));
                }
            }
            _ => {}
        }
        self.at -= 1;
        let message = format!("unexpected {}; expected spans in braces, for example `{{ status = error }}`", self.peek().describe());
        Err(self.error_at(Span { start: start.start, end: self.here().end }, message))
    }

    /// `by(…)`, `coalesce()`, `select(…)`, if one is next.
    fn stage_function(&mut self, first: bool) -> Result<Option<Stage>, QueryError> {
        if self.word("by") {
            self.expect("(", "after `by`")?;
            let field = self.field_expression()?;
            self.expect(")", "after what is grouped by")?;
            return Ok(Some(Stage::By(field)));
        }
        if !first && self.word("coalesce") {
            self.expect("(", "after `coalesce`")?;
            self.expect(")", "after `coalesce(`")?;
            return Ok(Some(Stage::Coalesce));
        }
        if self.word("select") {
            return Ok(Some(Stage::Select(self.field_list("select")?)));
        }
        Ok(None)
    }

    fn combine(&self, start: Span, symbol: &'static str, left: Operand, right: Operand) -> Result<Operand, QueryError> {
        let op = op_of(symbol);
        let spanset = spanset_op_of(symbol);
        let comparison = op.filter(|op| op.is_comparison());
        let arithmetic = op.filter(|op| op.is_arithmetic());
        let wrong = |left: &Operand, right: &Operand| {
            let message = match (left, right) {
                (Operand::Spansets(_), Operand::Wrapped(_)) | (Operand::Wrapped(_), Operand::Spansets(_)) => {
                    format!(
                        "`{symbol}` between a spanset and a pipeline: expected pipelines in parentheses on both sides, such as `({{ … }} | count() > 0)`"
                    )
                }
                _ => format!("`{symbol}` cannot stand between {} and {}", left.describe(), right.describe()),
            };
            Err(self.error_at(start, message))
        };
        Ok(match (left, right, spanset, comparison, arithmetic) {
            (Operand::Spansets(l), Operand::Spansets(r), Some(op), ..) => Operand::Spansets(SpansetExpr::Binary(op, Box::new(l), Box::new(r))),
            (Operand::Wrapped(l), Operand::Wrapped(r), Some(op), ..) => Operand::Wrapped(SpansetExpr::Binary(op, Box::new(l), Box::new(r))),
            (Operand::Scalar(l), Operand::Scalar(r), _, Some(op), _) => Operand::ScalarFilter(op, l, r),
            (Operand::Scalar(l), Operand::Number(r), _, Some(op), _) => Operand::ScalarFilter(op, l, ScalarExpr::Static(r)),
            (Operand::Number(l), Operand::Scalar(r), _, Some(op), _) => Operand::ScalarFilter(op, ScalarExpr::Static(l), r),
            (Operand::WrappedScalar(l), Operand::WrappedScalar(r), _, Some(op), _) => Operand::ScalarFilter(op, l, r),
            (Operand::Scalar(l), Operand::Scalar(r), _, _, Some(op)) => Operand::Scalar(ScalarExpr::Binary(op, Box::new(l), Box::new(r))),
            (Operand::Scalar(l), Operand::Number(r), _, _, Some(op)) => {
                Operand::Scalar(ScalarExpr::Binary(op, Box::new(l), Box::new(ScalarExpr::Static(r))))
            }
            (Operand::Number(l), Operand::Scalar(r), _, _, Some(op)) => {
                Operand::Scalar(ScalarExpr::Binary(op, Box::new(ScalarExpr::Static(l)), Box::new(r)))
            }
            (Operand::WrappedScalar(l), Operand::WrappedScalar(r), _, _, Some(op)) => {
                Operand::WrappedScalar(ScalarExpr::Binary(op, Box::new(l), Box::new(r)))
            }
            (Operand::Number(l), Operand::Number(r), _, _, Some(op)) => match super::value::fold(op, &l, &r) {
                Some(value) => Operand::Number(value),
                None => return Err(self.error_at(start, format!("`{symbol}` between these numbers has no result"))),
            },
            (left @ (Operand::Metrics(_) | Operand::Number(_)), right @ (Operand::Metrics(_) | Operand::Number(_)), _, _, Some(op))
                if matches!(op, Op::Add | Op::Sub | Op::Mul | Op::Div) =>
            {
                let side = |operand: Operand| match operand {
                    Operand::Metrics(expr) => Some(expr),
                    Operand::Number(number @ (Static::Int(_) | Static::Float(_))) => Some(MetricsExpr::Number(number)),
                    _ => None,
                };
                match (side(left), side(right)) {
                    (Some(left), Some(right)) => Operand::Metrics(MetricsExpr::Binary(op, Box::new(left), Box::new(right))),
                    _ => return Err(self.error_at(start, "series are computed with numbers; expected one without a unit")),
                }
            }
            (left, right, ..) => return wrong(&left, &right),
        })
    }
}
