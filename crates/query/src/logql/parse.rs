//! Text to query: streams, numbers made of lines, and what is computed with them. Stages are in [`stage`].

mod stage;

use super::ast::{
    Binary, BinaryOp, Expr, Grouping, LabelReplace, LogExpr, Many, MatchOp, Matcher, Matching, Query, RangeAggregation, Stage, VectorAggregation,
};
use super::table::{RANGE_OPS, RangeRow, VECTOR_OPS, VectorOp, VectorRow, Works};
use super::text_test::TextTest;
use super::token::{Tok, Token, error, tokens};
use crate::error::{QueryError, Span};

/// Longest query, bytes.
pub const QUERY_BYTES_MAX: usize = 128 << 10;
/// Deepest nesting of parentheses.
pub const QUERY_DEPTH_MAX: usize = 64;
/// Most binary operators.
pub const QUERY_OPERATORS_MAX: usize = 256;
/// Most stages, matchers, filters and operators in all.
pub const QUERY_TERMS_MAX: usize = 1_000;

type Parsed<T> = Result<T, QueryError>;

/// Parses a query.
///
/// # Errors
/// What was wrong, where, and what was expected.
pub fn parse(text: &str) -> Parsed<Query> {
    if text.len() > QUERY_BYTES_MAX {
        let message = format!("query of {} bytes is longer than the {QUERY_BYTES_MAX} allowed", text.len());
        return Err(error(message, Span { start: 0, end: 0 }));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, terms: 0, operators: 0 };
    let first = parser.tokens.iter().find(|t| t.tok != Tok::Symbol("("));
    let query = if first.is_some_and(|t| t.tok == Tok::Symbol("{")) {
        let start = parser.span();
        let (logs, window) = parser.logs()?;
        if window.is_some() {
            return Err(error("syntax error: unexpected RANGE: a window belongs into an aggregation such as rate(…)", start));
        }
        if logs.stages.iter().any(|stage| matches!(stage, Stage::Unwrap(..))) {
            return Err(error("syntax error: unexpected unwrap: values belong into an aggregation such as sum_over_time(… [5m])", start));
        }
        Query::Logs(logs)
    } else {
        Query::Metric(parser.expr(0)?)
    };
    match parser.peek() {
        Tok::End => Ok(query),
        _ => Err(parser.unexpected("")),
    }
}

/// Parses stream matchers in braces, as the calls for labels and series take them.
///
/// # Errors
/// As [`parse`].
pub fn parse_matchers(text: &str) -> Parsed<Vec<Matcher>> {
    match parse(text)? {
        Query::Logs(logs) => Ok(logs.matchers),
        Query::Metric(_) => Err(error("only label matchers are supported", Span { start: 0, end: text.len() })),
    }
}

/// A window: width and offset, nanoseconds.
type Window = (i64, i64);

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    terms: usize,
    operators: usize,
}

impl Parser {
    fn peek(&self) -> &Tok {
        &self.tokens[self.at.min(self.tokens.len() - 1)].tok
    }

    fn peek_at(&self, ahead: usize) -> &Tok {
        &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)].tok
    }

    fn span(&self) -> Span {
        self.tokens[self.at.min(self.tokens.len() - 1)].span
    }

    fn next(&mut self) -> Tok {
        let tok = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        tok
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Tok::Symbol(s) if *s == symbol)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Tok::Word(w) if w == word)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        if found {
            self.next();
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, symbol: &'static str) -> Parsed<()> {
        if self.take(symbol) { Ok(()) } else { Err(self.unexpected(symbol)) }
    }

    /// The error of what stands here; `expected` may be empty.
    fn unexpected(&self, expected: &str) -> QueryError {
        let found = self.peek().describe();
        let message = if expected.is_empty() {
            format!("syntax error: unexpected {found}")
        } else {
            format!("syntax error: unexpected {found}, expecting {expected}")
        };
        error(message, self.span())
    }

    fn identifier(&mut self) -> Parsed<String> {
        match self.peek() {
            Tok::Word(word) => {
                let word = word.clone();
                self.next();
                Ok(word)
            }
            _ => Err(self.unexpected("IDENTIFIER")),
        }
    }

    fn string(&mut self) -> Parsed<String> {
        match self.peek() {
            Tok::Text(text) => {
                let text = text.clone();
                self.next();
                Ok(text)
            }
            _ => Err(self.unexpected("STRING")),
        }
    }

    /// A number with its sign.
    fn number(&mut self) -> Parsed<f64> {
        let sign = if self.take("-") {
            -1.0
        } else {
            self.take("+");
            1.0
        };
        match *self.peek() {
            Tok::Number(n) => {
                self.next();
                Ok(sign * n)
            }
            _ => Err(self.unexpected("NUMBER")),
        }
    }

    /// Counts one more part.
    fn term(&mut self) -> Parsed<()> {
        self.terms += 1;
        if self.terms > QUERY_TERMS_MAX {
            return Err(error(format!("query has more than {QUERY_TERMS_MAX} parts"), self.span()));
        }
        Ok(())
    }

    /// Counts one more binary operator: left operands nest, and the tree is walked by recursion later.
    fn operator(&mut self) -> Parsed<()> {
        self.operators += 1;
        if self.operators > QUERY_OPERATORS_MAX {
            return Err(error(format!("query has more than {QUERY_OPERATORS_MAX} operators"), self.span()));
        }
        Ok(())
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > QUERY_DEPTH_MAX {
            return Err(error(format!("query is nested more than {QUERY_DEPTH_MAX} deep"), self.span()));
        }
        let out = inner(self);
        self.depth -= 1;
        out
    }

    /// Streams, stages, and the window where there is one: `{…} |= "a" [5m] offset 1h`, also in parentheses.
    fn logs(&mut self) -> Parsed<(LogExpr, Option<Window>)> {
        let (mut logs, mut window) = if self.take("(") {
            let inner = self.nested(Self::logs)?;
            self.expect(")")?;
            inner
        } else {
            (LogExpr { matchers: self.matchers()?, stages: Vec::new() }, None)
        };
        loop {
            if self.is("[") && window.is_none() {
                self.next();
                let range = match *self.peek() {
                    Tok::Duration(nanos) if nanos > 0 => nanos,
                    _ => return Err(self.unexpected("a duration such as 5m")),
                };
                self.next();
                self.expect("]")?;
                window = Some((range, 0));
            } else if let (Some((_, offset)), true) = (&mut window, self.is_word("offset")) {
                self.at += 1;
                let sign = if self.take("-") { -1 } else { 1 };
                match *self.peek() {
                    Tok::Duration(nanos) => *offset = sign * nanos,
                    Tok::Number(0.0) => *offset = 0,
                    _ => return Err(self.unexpected("DURATION")),
                }
                self.next();
            } else if let Some(stage) = self.stage()? {
                self.term()?;
                logs.stages.push(stage);
            } else {
                return Ok((logs, window));
            }
        }
    }

    fn matchers(&mut self) -> Parsed<Vec<Matcher>> {
        self.expect("{")?;
        let mut out = Vec::new();
        while !self.take("}") {
            self.term()?;
            let name = self.identifier()?;
            let op = self.match_op()?;
            let span = self.span();
            let value = self.string()?;
            TextTest::new(op, &value).map_err(|e| error(e, span))?;
            out.push(Matcher { name, op, value });
            if !self.take(",") && !self.is("}") {
                return Err(self.unexpected("} or ,"));
            }
        }
        Ok(out)
    }

    fn match_op(&mut self) -> Parsed<MatchOp> {
        let all = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
        match all.into_iter().find(|op| self.is(op.symbol())) {
            Some(op) => {
                self.next();
                Ok(op)
            }
            None => Err(self.unexpected("=, !=, =~ or !~")),
        }
    }

    /// A binary expression of operators that bind at least as closely as `least`.
    fn expr(&mut self, least: u8) -> Parsed<Expr> {
        let mut left = self.nested(Self::primary)?;
        loop {
            let found = BinaryOp::ALL.iter().find(|(symbol, _, _)| match self.peek() {
                Tok::Symbol(s) => s == symbol,
                Tok::Word(w) => w == symbol,
                _ => false,
            });
            let Some((_, op, precedence)) = found.filter(|(_, _, precedence)| *precedence >= least) else { return Ok(left) };
            let span = self.span();
            self.next();
            self.term()?;
            self.operator()?;
            let bool = self.take_word("bool");
            let matching = self.matching()?;
            let right = if *op == BinaryOp::Pow { self.expr(*precedence)? } else { self.expr(precedence + 1)? };
            check_legs(*op, &left, &right, span)?;
            left = Expr::Binary(Binary { op: *op, left: Box::new(left), right: Box::new(right), bool, matching });
        }
    }

    fn matching(&mut self) -> Parsed<Option<Matching>> {
        let on = self.is_word("on");
        if !on && !self.is_word("ignoring") {
            return Ok(None);
        }
        self.next();
        let labels = self.label_list()?;
        let left = self.is_word("group_left");
        let many = if left || self.is_word("group_right") {
            self.next();
            let include = if self.is("(") { self.label_list()? } else { Vec::new() };
            Some(if left { Many::Left(include) } else { Many::Right(include) })
        } else {
            None
        };
        Ok(Some(Matching { on, labels, many }))
    }

    fn label_list(&mut self) -> Parsed<Vec<String>> {
        self.expect("(")?;
        let mut out = Vec::new();
        while !self.take(")") {
            self.term()?;
            out.push(self.identifier()?);
            if !self.take(",") && !self.is(")") {
                return Err(self.unexpected(") or ,"));
            }
        }
        Ok(out)
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = self.is_word("without");
        if !without && !self.is_word("by") {
            return Ok(None);
        }
        self.next();
        Ok(Some(Grouping { without, labels: self.label_list()? }))
    }

    fn primary(&mut self) -> Parsed<Expr> {
        match self.peek().clone() {
            Tok::Symbol("(") => {
                self.next();
                let inner = self.expr(0)?;
                self.expect(")")?;
                Ok(inner)
            }
            Tok::Symbol("-" | "+") | Tok::Number(_) => Ok(Expr::Number(self.number()?)),
            Tok::Word(word) => {
                if let Some(row) = RANGE_OPS.iter().find(|row| row.name == word) {
                    return self.range_aggregation(row);
                }
                if let Some(row) = VECTOR_OPS.iter().find(|row| row.name == word) {
                    return self.vector_aggregation(row);
                }
                match word.as_str() {
                    "vector" => {
                        self.next();
                        self.expect("(")?;
                        let value = self.number()?;
                        self.expect(")")?;
                        Ok(Expr::Vector(value))
                    }
                    "label_replace" => self.label_replace(),
                    _ => Err(self.unexpected("an aggregation, a number or {")),
                }
            }
            _ => Err(self.unexpected("")),
        }
    }

    fn label_replace(&mut self) -> Parsed<Expr> {
        self.next();
        self.expect("(")?;
        let expr = Box::new(self.expr(0)?);
        let mut text = || {
            self.expect(",")?;
            let span = self.span();
            Ok((self.string()?, span))
        };
        let ((target, at), (replacement, _), (source, _), (regex, regex_at)) = (text()?, text()?, text()?, text()?);
        self.expect(")")?;
        TextTest::new(MatchOp::Regex, &regex).map_err(|e| error(e, regex_at))?;
        if super::labels::label_name(&target) != target || target.is_empty() {
            return Err(error(format!("invalid label name in label_replace: {target:?}"), at));
        }
        Ok(Expr::LabelReplace(LabelReplace { expr, target, replacement, source, regex }))
    }

    fn range_aggregation(&mut self, row: &'static RangeRow) -> Parsed<Expr> {
        let (start, name) = (self.span(), row.name);
        self.next();
        self.expect("(")?;
        let parameter = if matches!(self.peek(), Tok::Number(_) | Tok::Symbol("-" | "+")) {
            let value = self.number()?;
            self.expect(",")?;
            Some(value)
        } else {
            None
        };
        match (row.op == super::table::RangeOp::Quantile, parameter) {
            (true, None) => return Err(error(format!("parameter required for operation {name}"), start)),
            (false, Some(value)) => return Err(error(format!("parameter {value} not supported for operation {name}"), start)),
            _ => {}
        }
        let (logs, window) = self.logs()?;
        let Some((range, offset)) = window else { return Err(self.unexpected("a window such as [5m]")) };
        self.expect(")")?;
        let end = self.span().start;
        let at = Span { start: start.start, end };
        let grouping = self.grouping()?;
        if grouping.is_some() && !row.grouping {
            return Err(error(format!("grouping not allowed for {name} aggregation"), at));
        }
        let values = logs.stages.iter().filter(|stage| matches!(stage, Stage::Unwrap(..))).count();
        match (values, row.works) {
            (1, Works::OnLines) => return Err(error(format!("invalid aggregation {name} with unwrap"), at)),
            (0, Works::OnValues) => return Err(error(format!("invalid aggregation {name} without unwrap"), at)),
            (2.., _) => return Err(error("more than one unwrap", at)),
            _ => {}
        }
        let behind = logs.stages.iter().skip_while(|stage| !matches!(stage, Stage::Unwrap(..))).skip(1);
        if let Some(stage) = behind.into_iter().find(|stage| !matches!(stage, Stage::Label(_))) {
            return Err(error(format!("syntax error: only label filters may stand behind unwrap, not {stage}"), at));
        }
        Ok(Expr::Range(RangeAggregation { op: row.op, parameter, logs, range, offset, grouping }))
    }

    fn vector_aggregation(&mut self, row: &'static VectorRow) -> Parsed<Expr> {
        let (start, name) = (self.span(), row.name);
        self.next();
        let mut grouping = self.grouping()?;
        self.expect("(")?;
        let ahead = usize::from(matches!(self.peek(), Tok::Symbol("-" | "+")));
        let parameter = match (self.peek_at(ahead), self.peek_at(ahead + 1)) {
            (Tok::Number(_), Tok::Symbol(",")) => {
                let value = self.number()?;
                self.expect(",")?;
                Some(value)
            }
            _ => None,
        };
        let parameter = match (row.parameter, parameter) {
            (true, None) => return Err(error(format!("parameter required for operation {name}"), start)),
            (false, Some(value)) => return Err(error(format!("unsupported parameter for operation {name}({value},"), start)),
            (true, Some(value)) if value.fract() != 0.0 || !(1.0..=1e9).contains(&value) => {
                return Err(error(format!("invalid parameter {name}({value},: expecting a whole number greater than 0"), start));
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
            (_, value) => value.map(|v| v as u64),
        };
        let expr = Box::new(self.expr(0)?);
        self.expect(")")?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        if grouping.is_some() && !row.grouping {
            return Err(error(format!("grouping not allowed for {name} aggregation"), start));
        }
        if is_scalar(&expr) {
            return Err(error(format!("syntax error: {name} takes an aggregation over lines, not a number"), start));
        }
        Ok(Expr::Aggregate(VectorAggregation { op: row.op, parameter, expr, grouping }))
    }
}

/// Whether an expression is a number, not series.
pub(super) fn is_scalar(expr: &Expr) -> bool {
    match expr {
        Expr::Number(_) => true,
        Expr::Binary(b) => is_scalar(&b.left) && is_scalar(&b.right),
        _ => false,
    }
}

fn check_legs(op: BinaryOp, left: &Expr, right: &Expr, at: Span) -> Parsed<()> {
    for (leg, expr) in [("left", left), ("right", right)] {
        if op.is_set() && is_scalar(expr) {
            return Err(error(format!("unexpected literal for {leg} leg of logical/set binary operation ({}): {expr}", op.symbol()), at));
        }
    }
    Ok(())
}

/// Whether a query can only be asked for one moment.
pub(super) fn needs_instant(expr: &Expr) -> Option<VectorOp> {
    match expr {
        Expr::Aggregate(a) if a.op == VectorOp::ApproxTopk => Some(a.op),
        Expr::Aggregate(a) => needs_instant(&a.expr),
        Expr::Binary(b) => needs_instant(&b.left).or_else(|| needs_instant(&b.right)),
        Expr::LabelReplace(r) => needs_instant(&r.expr),
        _ => None,
    }
}
