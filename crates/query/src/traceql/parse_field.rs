//! What stands in braces and in the parentheses of functions.

use skopos_model::{SpanKind, StatusCode};

use super::ast::{Field, FieldExpr, Op, Scope, Static, UnaryOp};
use super::fields::{INTRINSICS, Intrinsic};
use super::parse::{POWER, Parser, op_of};
use super::token::Tok;
use crate::error::QueryError;

/// How close `!` binds: less than `*`, more than `+`.
const NOT: u8 = 4;
/// How close a sign binds: more than all operators.
const SIGN: u8 = 7;

impl Parser {
    /// The rest of `{ … }`.
    pub(super) fn braces(&mut self) -> Result<FieldExpr, QueryError> {
        if self.symbol("}") {
            return Ok(FieldExpr::TRUE);
        }
        let expr = self.field_expression()?;
        self.expect("}", "after the condition")?;
        Ok(expr)
    }

    /// An expression over fields.
    pub(super) fn field_expression(&mut self) -> Result<FieldExpr, QueryError> {
        self.deeper(|p| p.field_binary(1))
    }

    fn field_binary(&mut self, closeness: u8) -> Result<FieldExpr, QueryError> {
        let mut left = self.field_operand()?;
        loop {
            let start = self.here();
            let Some((symbol, close)) = self.operator(closeness)? else { return Ok(left) };
            let Some(op) = op_of(symbol) else {
                return Err(self.error_at(start, format!("`{symbol}` stands between spansets, not inside braces")));
            };
            let right = self.deeper(|p| p.field_binary(if close == POWER { close } else { close + 1 }))?;
            left = FieldExpr::Binary(op, Box::new(left), Box::new(right));
        }
    }

    fn field_operand(&mut self) -> Result<FieldExpr, QueryError> {
        if self.symbol("(") {
            let inner = self.field_expression()?;
            self.expect(")", "after what stands in parentheses")?;
            return Ok(inner);
        }
        if self.symbol("!") {
            let inner = self.deeper(|p| p.field_binary(NOT))?;
            return Ok(FieldExpr::Unary(UnaryOp::Not, Box::new(inner)));
        }
        if self.symbol("-") {
            let inner = self.deeper(|p| p.field_binary(SIGN))?;
            return Ok(match inner {
                // A number's sign is part of it.
                FieldExpr::Static(Static::Int(n)) => FieldExpr::Static(Static::Int(n.saturating_neg())),
                FieldExpr::Static(Static::Float(n)) => FieldExpr::Static(Static::Float(-n)),
                FieldExpr::Static(Static::Duration(n)) => FieldExpr::Static(Static::Duration(n.saturating_neg())),
                inner => FieldExpr::Unary(UnaryOp::Minus, Box::new(inner)),
            });
        }
        if let Some(value) = self.literal() {
            return Ok(FieldExpr::Static(value));
        }
        self.field().map(FieldExpr::Field)
    }

    /// A literal, if one is next. Words that are literals are no names.
    pub(super) fn literal(&mut self) -> Option<Static> {
        let value = match self.peek() {
            Tok::Int(n) => Static::Int(*n),
            Tok::Float(n) => Static::Float(*n),
            Tok::Duration(n) => Static::Duration(*n),
            Tok::Text(text) => Static::Text(text.clone()),
            Tok::Word(word) => match word.as_str() {
                "true" => Static::Bool(true),
                "false" => Static::Bool(false),
                "nil" => Static::Nil,
                "ok" => Static::Status(StatusCode::Ok),
                "error" => Static::Status(StatusCode::Error),
                "unset" => Static::Status(StatusCode::Unset),
                "unspecified" => Static::Kind(SpanKind::Unspecified),
                "internal" => Static::Kind(SpanKind::Internal),
                "server" => Static::Kind(SpanKind::Server),
                "client" => Static::Kind(SpanKind::Client),
                "producer" => Static::Kind(SpanKind::Producer),
                "consumer" => Static::Kind(SpanKind::Consumer),
                _ => return None,
            },
            _ => return None,
        };
        self.next();
        Some(value)
    }

    /// An attribute or intrinsic.
    pub(super) fn field(&mut self) -> Result<Field, QueryError> {
        let start = self.here();
        match self.next() {
            Tok::Attribute(scopes, name) => {
                let (parent, scope) = match scopes.split_first() {
                    Some((&"parent", rest)) => (true, rest.first().copied()),
                    Some((scope, _)) => (false, Some(*scope)),
                    None => (false, None),
                };
                let scope = match scope {
                    Some("span") => Scope::Span,
                    Some("resource") => Scope::Resource,
                    Some("event") => Scope::Event,
                    Some("link") => Scope::Link,
                    Some("instrumentation") => Scope::Instrumentation,
                    _ => Scope::Any,
                };
                Ok(Field::Attribute { scope, parent, name })
            }
            Tok::ScopedWord(scope) => {
                let word = match self.next() {
                    Tok::Word(word) => word,
                    other => return Err(self.error_at(start, format!("expected a name after `{scope}:`, found {}", other.describe()))),
                };
                let name = format!("{scope}:{word}");
                Intrinsic::from_name(&name).map(Field::Intrinsic).ok_or_else(|| {
                    let of_scope = |name: &&str| name.split_once(':').is_some_and(|(s, _)| s == scope);
                    let known: Vec<&str> = INTRINSICS.iter().flat_map(|row| std::iter::once(row.name).chain(row.alias)).filter(of_scope).collect();
                    self.error_at(start, format!("there is no `{name}`; expected one of {}", known.join(", ")))
                })
            }
            Tok::Word(word) => match Intrinsic::from_name(&word) {
                Some(intrinsic) => Ok(Field::Intrinsic(intrinsic)),
                None => Err(self.error_at(
                    start,
                    format!("there is no intrinsic `{word}`; an attribute is written with its scope, for example `.{word}` or `span.{word}`"),
                )),
            },
            other => {
                self.back();
                Err(self.error_here(format!(
                    "unexpected {}; expected a field, for example `status` or `span.http.route`, or a literal",
                    other.describe()
                )))
            }
        }
    }

    /// `(field, …)` with at least one.
    pub(super) fn field_list(&mut self, function: &str) -> Result<Vec<Field>, QueryError> {
        self.expect("(", &format!("after `{function}`"))?;
        let mut fields = vec![self.field()?];
        while self.symbol(",") {
            fields.push(self.field()?);
        }
        self.expect(")", "after the fields")?;
        Ok(fields)
    }

    /// A number with its sign, if one is next.
    pub(super) fn signed_number(&mut self) -> Option<Static> {
        let minus = self.symbol("-");
        let value = match self.peek() {
            Tok::Int(n) => Static::Int(if minus { n.saturating_neg() } else { *n }),
            Tok::Float(n) => Static::Float(if minus { -n } else { *n }),
            Tok::Duration(n) => Static::Duration(if minus { n.saturating_neg() } else { *n }),
            _ => {
                if minus {
                    self.back();
                }
                return None;
            }
        };
        self.next();
        Some(value)
    }
}

/// Operators that compare series with a number.
pub(super) fn filter_op(token: &Tok) -> Option<Op> {
    match token {
        Tok::Symbol(symbol) => op_of(symbol).filter(|op| op.is_comparison()),
        _ => None,
    }
}
