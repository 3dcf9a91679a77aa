//! Tokens to tree: operator precedence climbing, then [`super::check`] for types.

use super::METRIC_NAME;

use super::ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Expr, Grouping, Kind, Matching, Number, RangeSelector, Sampling, Selector, Shift, Subquery,
};
use super::duration::{Duration, DurationOp, to_ms};
use super::token::{Tok, Token, error, tokens};
use crate::error::{QueryError, Span};
use crate::metrics::{MatchOp, Matcher};

/// Words that cannot stand alone as a metric name where an expression is expected.
pub(crate) const NEVER_METRIC: [&str; 5] = ["bool", "on", "ignoring", "group_left", "group_right"];

/// Deepest nesting of a query: parsing and evaluation recurse.
const DEPTH_MAX: usize = 128;

/// Most binary operators of a query: a chain of them is a tree as deep as it is long.
const OPERATORS_MAX: usize = 500;

/// Longest query in bytes.
const TEXT_MAX: usize = 1 << 20;

/// Reads a query and checks its types.
///
/// # Errors
/// [`QueryError::Parse`] with the position, what was wrong and what was expected.
pub fn parse(text: &str) -> Result<Expr, QueryError> {
    let mut parser = Parser::new(text)?;
    if parser.peek() == &Tok::End {
        return Err(error("no expression found in input", 0, text.len()));
    }
    let expr = parser.expression(0)?;
    parser.expect_end()?;
    super::check::check(&expr)?;
    Ok(expr)
}

/// Reads a series selector such as those of `match[]`: its matchers.
///
/// # Errors
/// [`QueryError::Parse`] when it is no selector.
pub fn parse_matchers(text: &str) -> Result<Vec<Matcher>, QueryError> {
    let expr = parse(text)?;
    match expr.kind {
        Kind::Selector(s) if s.shift == Shift::default() => Ok(s.matchers),
        _ => Err(error("expected a series selector such as name{label=\"value\"}", 0, text.len())),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    operators: usize,
}

type Parsed<T> = Result<T, QueryError>;

fn binary_op(tok: &Tok) -> Option<BinaryOp> {
    Some(match tok {
        Tok::Plus => BinaryOp::Add,
        Tok::Minus => BinaryOp::Sub,
        Tok::Star => BinaryOp::Mul,
        Tok::Slash => BinaryOp::Div,
        Tok::Percent => BinaryOp::Mod,
        Tok::Caret => BinaryOp::Pow,
        Tok::Equal => BinaryOp::Equal,
        Tok::NotEqual => BinaryOp::NotEqual,
        Tok::Less => BinaryOp::Less,
        Tok::LessEqual => BinaryOp::LessEqual,
        Tok::Greater => BinaryOp::Greater,
        Tok::GreaterEqual => BinaryOp::GreaterEqual,
        Tok::TrimUpper => BinaryOp::TrimUpper,
        Tok::TrimLower => BinaryOp::TrimLower,
        Tok::Word(w) if w.eq_ignore_ascii_case("and") => BinaryOp::And,
        Tok::Word(w) if w.eq_ignore_ascii_case("or") => BinaryOp::Or,
        Tok::Word(w) if w.eq_ignore_ascii_case("unless") => BinaryOp::Unless,
        Tok::Word(w) if w.eq_ignore_ascii_case("atan2") => BinaryOp::Atan2,
        _ => return None,
    })
}

impl Parser {
    fn new(text: &str) -> Parsed<Self> {
        if text.len() > TEXT_MAX {
            return Err(error(format!("query is longer than {TEXT_MAX} bytes"), 0, text.len()));
        }
        Ok(Self { tokens: tokens(text)?, at: 0, depth: 0, operators: 0 })
    }

    fn token(&self) -> &Token {
        &self.tokens[self.at]
    }

    fn peek(&self) -> &Tok {
        &self.tokens[self.at].tok
    }

    fn peek_after(&self) -> &Tok {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].tok
    }

    /// Moves on; stays at the end.
    fn advance(&mut self) -> Token {
        let token = self.tokens[self.at].clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    fn take(&mut self, tok: &Tok) -> bool {
        let found = self.peek() == tok;
        if found {
            self.advance();
        }
        found
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Tok::Word(w) if w.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    fn unexpected<T>(&self, context: &str, expected: &str) -> Parsed<T> {
        let token = self.token();
        Err(error(format!("unexpected {} in {context}, expected {expected}", token.tok.describe()), token.span.start, token.span.end))
    }

    fn expect(&mut self, tok: &Tok, context: &str) -> Parsed<Token> {
        if self.peek() == tok { Ok(self.advance()) } else { self.unexpected(context, &tok.describe()) }
    }

    fn expect_end(&self) -> Parsed<()> {
        if self.peek() == &Tok::End { Ok(()) } else { self.unexpected("query", "an operator or the end") }
    }

    /// End of the last token taken.
    fn previous_end(&self) -> usize {
        self.tokens[self.at.saturating_sub(1)].span.end
    }

    fn expr_from(&self, start: &Token, kind: Kind) -> Expr {
        Expr { kind, span: Span { start: start.span.start, end: self.previous_end() }, line: start.line, column: start.column }
    }

    /// Counts one level of nesting.
    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let span = self.token().span;
            return Err(error(format!("query is nested deeper than {DEPTH_MAX} levels"), span.start, span.end));
        }
        Ok(())
    }

    /// An expression whose operators all bind tighter than `floor`.
    fn expression(&mut self, floor: u8) -> Parsed<Expr> {
        self.enter()?;
        let mut left = self.unary()?;
        while let Some(op) = binary_op(self.peek()) {
            let precedence = op.precedence();
            if precedence <= floor {
                break;
            }
            self.operators += 1;
            if self.operators > OPERATORS_MAX {
                let span = self.token().span;
                return Err(error(format!("query has more than {OPERATORS_MAX} binary operators"), span.start, span.end));
            }
            self.advance();
            let (bool, matching) = self.modifiers()?;
            // `^` groups to the right, all others to the left.
            let right = self.expression(if op == BinaryOp::Pow { precedence - 1 } else { precedence })?;
            let span = Span { start: left.span.start, end: right.span.end };
            let (line, column) = (left.line, left.column);
            let kind = Kind::Binary(Box::new(Binary { op, left, right, bool, matching }));
            left = Expr { kind, span, line, column };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let negative = match self.peek() {
            Tok::Minus => true,
            Tok::Plus => false,
            _ => {
                let primary = self.primary()?;
                return self.postfix(primary);
            }
        };
        let start = self.advance();
        // As tight as `*`: -a^b is -(a^b), -a*b is (-a)*b.
        let operand = self.expression(BinaryOp::Mul.precedence())?;
        Ok(self.expr_from(&start, Kind::Unary(negative, Box::new(operand))))
    }

    fn modifiers(&mut self) -> Parsed<(bool, Matching)> {
        let bool = self.take_word("bool");
        let mut m = Matching::default();
        if self.is_word("on") || self.is_word("ignoring") {
            m.on = self.is_word("on");
            m.written = true;
            self.advance();
            m.labels = self.label_list("grouping")?;
            if self.is_word("group_left") || self.is_word("group_right") {
                m.grouping = if self.is_word("group_left") { Grouping::Left } else { Grouping::Right };
                self.advance();
                if self.peek() == &Tok::LeftParen {
                    m.include = self.label_list("grouping")?;
                }
            }
        }
        loop {
            let both = self.is_word("fill");
            let left = self.is_word("fill_left");
            let right = self.is_word("fill_right");
            if !(both || left || right) || self.peek_after() != &Tok::LeftParen {
                break;
            }
            let at = self.advance().span;
            self.advance();
            let value = self.signed_number("fill value")?;
            self.expect(&Tok::RightParen, "fill")?;
            if ((both || left) && m.fill_left.is_some()) || ((both || right) && m.fill_right.is_some()) {
                return Err(error("fill value given twice", at.start, at.end));
            }
            if both || left {
                m.fill_left = Some(value);
            }
            if both || right {
                m.fill_right = Some(value);
            }
        }
        Ok((bool, m))
    }

    /// `(a, "b c", d)`; a trailing comma is fine.
    fn label_list(&mut self, context: &str) -> Parsed<Vec<String>> {
        self.expect(&Tok::LeftParen, context)?;
        let mut out = Vec::new();
        loop {
            match self.peek() {
                Tok::RightParen => break,
                Tok::Word(w) if !w.contains(':') => out.push(w.clone()),
                Tok::Text(t) if !t.is_empty() => out.push(t.clone()),
                _ => return self.unexpected(context, "a label name"),
            }
            self.advance();
            if !self.take(&Tok::Comma) {
                break;
            }
        }
        self.expect(&Tok::RightParen, context)?;
        Ok(out)
    }

    fn signed_number(&mut self, context: &str) -> Parsed<Number> {
        let mut sign = 1.0;
        loop {
            match self.peek() {
                Tok::Minus => sign = -sign,
                Tok::Plus => {}
                _ => break,
            }
            self.advance();
        }
        let number = match self.peek() {
            Tok::Number(n) => Number { value: sign * n, duration: false },
            Tok::Duration(s) => Number { value: sign * s, duration: true },
            Tok::Word(w) if w.eq_ignore_ascii_case("inf") => Number { value: sign * f64::INFINITY, duration: false },
            Tok::Word(w) if w.eq_ignore_ascii_case("nan") => Number { value: f64::NAN, duration: false },
            _ => return self.unexpected(context, "a number"),
        };
        self.advance();
        Ok(number)
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let start = self.token().clone();
        match &start.tok {
            Tok::Number(n) => {
                self.advance();
                Ok(self.expr_from(&start, Kind::Number(Number { value: *n, duration: false })))
            }
            Tok::Duration(s) => {
                self.advance();
                Ok(self.expr_from(&start, Kind::Number(Number { value: *s, duration: true })))
            }
            Tok::Text(t) => {
                self.advance();
                Ok(self.expr_from(&start, Kind::Text(t.clone())))
            }
            Tok::LeftParen => {
                self.advance();
                let inner = self.expression(0)?;
                if self.peek() != &Tok::RightParen {
                    if self.peek() == &Tok::End {
                        return Err(error("unclosed left parenthesis", start.span.start, start.span.end));
                    }
                    return self.unexpected("parentheses", "\")\" or an operator");
                }
                self.advance();
                Ok(self.expr_from(&start, Kind::Paren(Box::new(inner))))
            }
            Tok::LeftBrace => self.selector(&start, None),
            Tok::Word(word) => self.word(&start, word),
            Tok::End => Err(error("unexpected end of input, expected an expression", start.span.start, start.span.end)),
            _ => self.unexpected("query", "an expression"),
        }
    }

    fn word(&mut self, start: &Token, word: &str) -> Parsed<Expr> {
        let next = self.peek_after().clone();
        let lower = word.to_ascii_lowercase();
        if lower == "nan" || lower == "inf" {
            self.advance();
            let value = if lower == "nan" { f64::NAN } else { f64::INFINITY };
            return Ok(self.expr_from(start, Kind::Number(Number { value, duration: false })));
        }
        if let Some(op) = AggregateOp::by_name(&lower) {
            let grouped = matches!(&next, Tok::Word(w) if w.eq_ignore_ascii_case("by") || w.eq_ignore_ascii_case("without"));
            if next == Tok::LeftParen || grouped {
                return self.aggregate(start, op);
            }
        }
        if next == Tok::LeftParen {
            return self.call(start, word);
        }
        if NEVER_METRIC.contains(&lower.as_str()) {
            return self.unexpected("query", "an expression");
        }
        self.advance();
        self.selector(start, Some(word.to_owned()))
    }

    fn aggregate(&mut self, start: &Token, op: AggregateOp) -> Parsed<Expr> {
        self.advance();
        let mut grouping = self.grouping()?;
        let open = self.expect(&Tok::LeftParen, "aggregation")?;
        let mut args = self.arguments("aggregation")?;
        if let Some(more) = self.grouping()? {
            if grouping.is_some() {
                let span = self.token().span;
                return Err(error("aggregation has two grouping clauses", start.span.start, span.start));
            }
            grouping = Some(more);
        }
        let (without, labels) = grouping.unwrap_or_default();
        let wanted = 1 + usize::from(op.has_parameter());
        if args.len() != wanted {
            return Err(error(
                format!("wrong number of arguments for aggregate expression {}, expected {wanted}, got {}", op.name(), args.len()),
                open.span.start,
                self.previous_end(),
            ));
        }
        let Some(expr) = args.pop() else { return self.unexpected("aggregation", "an argument") };
        let parameter = args.pop();
        Ok(self.expr_from(start, Kind::Aggregate(Box::new(Aggregate { op, expr, parameter, labels, without }))))
    }

    /// `by (…)` or `without (…)`: whether it was `without`, and the labels.
    fn grouping(&mut self) -> Parsed<Option<(bool, Vec<String>)>> {
        let without = self.is_word("without");
        if !without && !self.is_word("by") {
            return Ok(None);
        }
        self.advance();
        Ok(Some((without, self.label_list("grouping")?)))
    }

    /// After an opening parenthesis: arguments and the closing one.
    fn arguments(&mut self, context: &str) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if self.take(&Tok::RightParen) {
            return Ok(args);
        }
        loop {
            args.push(self.expression(0)?);
            if self.take(&Tok::RightParen) {
                return Ok(args);
            }
            if !self.take(&Tok::Comma) {
                return self.unexpected(context, "\",\" or \")\"");
            }
        }
    }

    fn call(&mut self, start: &Token, name: &str) -> Parsed<Expr> {
        let Some(function) = super::functions::by_name(name) else {
            let hint = super::functions::nearest(name).map_or_else(String::new, |n| format!("; did you mean {n}()?"));
            return Err(error(format!("unknown function with name {name:?}{hint}"), start.span.start, start.span.end));
        };
        self.advance();
        self.advance();
        let args = if function.name == "info" { self.info_arguments()? } else { self.arguments("function call")? };
        Ok(self.expr_from(start, Kind::Call(Call { function, args })))
    }

    /// After the opening parenthesis of `info(`: a vector, then label selectors, which may all match the empty value.
    fn info_arguments(&mut self) -> Parsed<Vec<Expr>> {
        if self.take(&Tok::RightParen) {
            return Ok(Vec::new());
        }
        let mut args = vec![self.expression(0)?];
        if self.take(&Tok::Comma) && self.peek() != &Tok::RightParen {
            let start = self.token().clone();
            let selector = if start.tok == Tok::LeftBrace { self.matchers(&start, None)? } else { self.expression(0)? };
            if !matches!(&selector.kind, Kind::Selector(s) if s.name.is_none() && s.shift == Shift::default() && start.tok == Tok::LeftBrace) {
                return Err(error("expected label selectors only, such as {label=~\".+\"}", selector.span.start, selector.span.end));
            }
            args.push(selector);
            self.take(&Tok::Comma);
        }
        self.expect(&Tok::RightParen, "function call")?;
        Ok(args)
    }

    fn selector(&mut self, start: &Token, name: Option<String>) -> Parsed<Expr> {
        let expr = self.matchers(start, name)?;
        if matches!(&expr.kind, Kind::Selector(s) if s.matchers.iter().all(|m| m.matches(""))) {
            return Err(error("vector selector must contain at least one non-empty matcher", expr.span.start, expr.span.end));
        }
        Ok(expr)
    }

    /// A selector, whatever it matches.
    fn matchers(&mut self, start: &Token, name: Option<String>) -> Parsed<Expr> {
        let mut selector = Selector { name, matchers: Vec::new(), shift: Shift::default(), sampling: Sampling::Plain };
        let mut named_by_matcher = None;
        if self.take(&Tok::LeftBrace) {
            loop {
                if self.peek() == &Tok::RightBrace {
                    break;
                }
                let token = self.advance();
                let (label, quoted) = match token.tok {
                    Tok::Word(w) => (w, false),
                    Tok::Text(t) => (t, true),
                    other => {
                        let message = format!("unexpected {} in label matching, expected a label name or \"}}\"", other.describe());
                        return Err(error(message, token.span.start, token.span.end));
                    }
                };
                let op = match self.peek() {
                    Tok::Assign => MatchOp::Equal,
                    Tok::NotEqual => MatchOp::NotEqual,
                    Tok::EqualRegex => MatchOp::Regex,
                    Tok::NotRegex => MatchOp::NotRegex,
                    Tok::Comma | Tok::RightBrace if quoted => {
                        if selector.name.is_some() || named_by_matcher.is_some() {
                            return Err(error(format!("metric name must not be set twice: {label:?}"), token.span.start, token.span.end));
                        }
                        selector.name = Some(label);
                        self.take(&Tok::Comma);
                        continue;
                    }
                    _ => return self.unexpected("label matching", "one of =, !=, =~, !~"),
                };
                self.advance();
                let value = match self.peek() {
                    Tok::Text(t) => t.clone(),
                    _ => return self.unexpected("label matching", "a quoted value"),
                };
                let value_span = self.advance().span;
                if label == METRIC_NAME {
                    if selector.name.is_some() {
                        return Err(error(
                            format!("metric name must not be set twice: {:?} or {value:?}", selector.name.as_deref().unwrap_or("")),
                            token.span.start,
                            value_span.end,
                        ));
                    }
                    named_by_matcher = Some(());
                }
                let matcher = Matcher::new(label, op, value).map_err(|reason| error(reason, value_span.start, value_span.end))?;
                selector.matchers.push(matcher);
                if !self.take(&Tok::Comma) {
                    break;
                }
            }
            self.expect(&Tok::RightBrace, "label matching")?;
        }
        if let Some(name) = &selector.name {
            selector.matchers.push(Matcher::equal(METRIC_NAME, name.clone()));
        }
        Ok(self.expr_from(start, Kind::Selector(selector)))
    }

    /// `[range]`, `[range:step]`, `offset`, `@`, `anchored`, `smoothed`.
    fn postfix(&mut self, mut expr: Expr) -> Parsed<Expr> {
        loop {
            let token = self.token().clone();
            match &token.tok {
                Tok::LeftBracket => expr = self.bracket(expr)?,
                Tok::At => {
                    self.advance();
                    let at = self.at_time()?;
                    let end = self.previous_end();
                    let shift = shift_of(&mut expr, "@", token.span)?;
                    if shift.at.replace(at).is_some() {
                        return Err(error("@ <timestamp> may not be set multiple times", token.span.start, end));
                    }
                }
                Tok::Word(w) if w.eq_ignore_ascii_case("offset") => {
                    self.advance();
                    let offset = self.offset_duration()?;
                    let end = self.previous_end();
                    let shift = shift_of(&mut expr, "offset", token.span)?;
                    if shift.offset.replace(offset).is_some() {
                        return Err(error("offset may not be set multiple times", token.span.start, end));
                    }
                }
                Tok::Word(w) if w.eq_ignore_ascii_case("anchored") || w.eq_ignore_ascii_case("smoothed") => {
                    self.advance();
                    let wanted = if w.eq_ignore_ascii_case("anchored") { Sampling::Anchored } else { Sampling::Smoothed };
                    let selector = match &mut expr.kind {
                        Kind::Selector(s) if wanted == Sampling::Smoothed => s,
                        Kind::Range(r) => &mut r.selector,
                        _ => {
                            return Err(error(
                                format!("{} modifier must be preceded by a range vector selector", w.to_ascii_lowercase()),
                                token.span.start,
                                token.span.end,
                            ));
                        }
                    };
                    if selector.sampling != Sampling::Plain {
                        return Err(error("anchored and smoothed cannot be combined or repeated", token.span.start, token.span.end));
                    }
                    selector.sampling = wanted;
                }
                _ => return Ok(expr),
            }
            expr.span.end = self.previous_end();
        }
    }

    fn bracket(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.advance();
        let range_at = self.token().span;
        let range = self.duration(0)?;
        let range_end = self.previous_end();
        if range.is_literal() && range.constant().is_some_and(|s| s <= 0.0) {
            return Err(error("duration must be greater than 0", range_at.start, range_end));
        }
        if self.take(&Tok::Colon) {
            let step = if self.peek() == &Tok::RightBracket { None } else { Some(self.duration(0)?) };
            if step.as_ref().is_some_and(|s| s.is_literal() && s.constant().is_some_and(|s| s <= 0.0)) {
                return Err(error("duration must be greater than 0", range_end, self.previous_end()));
            }
            self.expect(&Tok::RightBracket, "subquery selector")?;
            let (span, line, column) = (expr.span, expr.line, expr.column);
            let kind = Kind::Subquery(Box::new(Subquery { expr, range, step, shift: Shift::default() }));
            return Ok(Expr { kind, span, line, column });
        }
        self.expect(&Tok::RightBracket, "range selector")?;
        let Kind::Selector(selector) = expr.kind else {
            return Err(error(
                "ranges only allowed for vector selectors; for other expressions use a subquery: [range:step]",
                open.span.start,
                self.previous_end(),
            ));
        };
        let modifier = if selector.shift.offset.is_some() {
            Some("offset")
        } else if selector.shift.at.is_some() {
            Some("@")
        } else {
            None
        };
        if let Some(modifier) = modifier {
            return Err(error(
                format!("no {modifier} modifiers allowed before range; write it after the brackets"),
                open.span.start,
                self.previous_end(),
            ));
        }
        let kind = Kind::Range(RangeSelector { selector, range });
        Ok(Expr { kind, span: expr.span, line: expr.line, column: expr.column })
    }

    fn at_time(&mut self) -> Parsed<At> {
        for (word, at) in [("start", At::Start), ("end", At::End)] {
            if self.is_word(word) && self.peek_after() == &Tok::LeftParen {
                self.advance();
                self.advance();
                self.expect(&Tok::RightParen, "@")?;
                return Ok(at);
            }
        }
        let span = self.token().span;
        let seconds = self.signed_number("@")?.value;
        // As far as milliseconds fit 64 bits.
        if !seconds.is_finite() || seconds.abs() >= 9.2e15 {
            return Err(error(format!("timestamp out of bounds for @ modifier: {seconds}"), span.start, self.previous_end()));
        }
        Ok(At::Time(to_ms(seconds)))
    }

    /// What may follow `offset`: a signed duration, one in parentheses, or a duration function; other operators
    /// belong to the expression around.
    fn offset_duration(&mut self) -> Parsed<Duration> {
        match self.peek() {
            Tok::Minus | Tok::Plus => {
                let negative = self.advance().tok == Tok::Minus;
                Ok(Duration::Signed(negative, Box::new(self.offset_duration()?)))
            }
            _ => self.duration_primary(),
        }
    }

    fn duration(&mut self, floor: u8) -> Parsed<Duration> {
        self.enter()?;
        let mut left = match self.peek() {
            Tok::Minus | Tok::Plus => {
                let negative = self.advance().tok == Tok::Minus;
                Duration::Signed(negative, Box::new(self.duration(BinaryOp::Mul.precedence())?))
            }
            _ => self.duration_primary()?,
        };
        loop {
            let (op, precedence) = match self.peek() {
                Tok::Plus => (DurationOp::Add, 4),
                Tok::Minus => (DurationOp::Sub, 4),
                Tok::Star => (DurationOp::Mul, 5),
                Tok::Slash => (DurationOp::Div, 5),
                Tok::Percent => (DurationOp::Mod, 5),
                Tok::Caret => (DurationOp::Pow, 6),
                _ => break,
            };
            if precedence <= floor {
                break;
            }
            self.advance();
            let start = self.token().span.start;
            let right = self.duration(if op == DurationOp::Pow { precedence - 1 } else { precedence })?;
            if matches!(op, DurationOp::Div | DurationOp::Mod) && right.constant() == Some(0.0) {
                let what = if op == DurationOp::Div { "division by zero" } else { "modulo by zero" };
                return Err(error(what, start, self.previous_end()));
            }
            left = Duration::Binary(op, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn duration_primary(&mut self) -> Parsed<Duration> {
        let token = self.token().clone();
        let literal = match &token.tok {
            Tok::Duration(s) => Duration::Literal(*s),
            Tok::Number(n) => Duration::Number(*n),
            Tok::LeftParen => {
                self.advance();
                let inner = self.duration(0)?;
                self.expect(&Tok::RightParen, "duration")?;
                return Ok(Duration::Paren(Box::new(inner)));
            }
            Tok::Word(w) if self.peek_after() == &Tok::LeftParen => {
                let word = w.to_ascii_lowercase();
                self.advance();
                self.advance();
                let out = match word.as_str() {
                    "step" => Duration::Step,
                    "range" => Duration::Range,
                    "min_of" | "max_of" => {
                        let a = self.duration(0)?;
                        self.expect(&Tok::Comma, "duration")?;
                        Duration::Pick(word == "max_of", Box::new(a), Box::new(self.duration(0)?))
                    }
                    _ => {
                        return Err(error(
                            format!("unknown duration function {w:?}, expected step(), range(), min_of() or max_of()"),
                            token.span.start,
                            token.span.end,
                        ));
                    }
                };
                self.expect(&Tok::RightParen, "duration")?;
                return Ok(out);
            }
            _ => return self.unexpected("duration", "a duration such as 5m"),
        };
        self.advance();
        if literal.constant().is_some_and(|s| s.is_nan() || s.abs() > super::duration::SECONDS_MAX) {
            return Err(error("duration out of range", token.span.start, token.span.end));
        }
        Ok(literal)
    }
}

/// The modifiers of a selector, range selector or subquery.
fn shift_of<'a>(expr: &'a mut Expr, what: &str, at: Span) -> Parsed<&'a mut Shift> {
    match &mut expr.kind {
        Kind::Selector(s) => Ok(&mut s.shift),
        Kind::Range(r) => Ok(&mut r.selector.shift),
        Kind::Subquery(s) => Ok(&mut s.shift),
        _ => Err(error(
            format!("{what} modifier must be preceded by an instant vector selector or range vector selector or a subquery"),
            at.start,
            at.end,
        )),
    }
}
