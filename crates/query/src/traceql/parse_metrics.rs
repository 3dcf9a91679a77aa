//! Metrics functions, what follows them, and hints.

use super::ast::{Field, FieldExpr, MetricsExpr, MetricsFunction, MetricsPipeline, Op, SecondStage, Stage, Static};
use super::parse::{Parser, op_of};
use super::parse_field::filter_op;
use super::token::Tok;
use crate::error::QueryError;

impl Parser {
    /// A metrics function with its arguments, if one is next.
    pub(super) fn metrics_function(&mut self) -> Result<Option<MetricsFunction>, QueryError> {
        let Tok::Word(word) = self.peek().clone() else { return Ok(None) };
        let of_field: Option<fn(Field) -> MetricsFunction> = match word.as_str() {
            "min_over_time" => Some(MetricsFunction::Min),
            "max_over_time" => Some(MetricsFunction::Max),
            "avg_over_time" => Some(MetricsFunction::Avg),
            "sum_over_time" => Some(MetricsFunction::Sum),
            "histogram_over_time" => Some(MetricsFunction::Histogram),
            "rate" | "count_over_time" | "quantile_over_time" | "compare" => None,
            _ => return Ok(None),
        };
        self.next();
        self.expect("(", &format!("after `{word}`"))?;
        let function = match (word.as_str(), of_field) {
            (_, Some(function)) => function(self.field()?),
            ("rate", _) => MetricsFunction::Rate,
            ("count_over_time", _) => MetricsFunction::Count,
            ("quantile_over_time", _) => {
                let field = self.field()?;
                let mut quantiles = Vec::new();
                while self.symbol(",") {
                    let number = self.signed_number().filter(|n| !matches!(n, Static::Duration(_))).and_then(|n| n.number());
                    quantiles.push(number.ok_or_else(|| self.error_here("expected a quantile, a number from 0 to 1"))?);
                }
                if quantiles.is_empty() {
                    return Err(self.error_here("expected at least one quantile, for example `quantile_over_time(duration, 0.9)`"));
                }
                MetricsFunction::Quantile(field, quantiles)
            }
            _ => self.compare()?,
        };
        self.expect(")", &format!("after the arguments of `{word}`"))?;
        Ok(Some(function))
    }

    fn compare(&mut self) -> Result<MetricsFunction, QueryError> {
        self.expect("{", "that begins the selection")?;
        let selection: Box<FieldExpr> = Box::new(self.braces()?);
        let mut numbers = Vec::new();
        while self.symbol(",") {
            match self.next() {
                Tok::Int(n) => numbers.push(n),
                _ => {
                    self.back();
                    return Err(self.error_here("expected a whole number"));
                }
            }
        }
        let top = match numbers.first() {
            Some(n) => Some(u32::try_from(*n).map_err(|_| self.error_here("the number of values is out of range"))?),
            None => None,
        };
        match numbers[..] {
            [] | [_] => Ok(MetricsFunction::Compare { selection, top, range: None }),
            [_, start, end] => Ok(MetricsFunction::Compare { selection, top, range: Some((start, end)) }),
            _ => Err(self.error_here("expected `compare({…})`, `compare({…}, top)` or `compare({…}, top, start, end)`")),
        }
    }

    /// `by (…)` behind a metrics function.
    pub(super) fn metrics(&mut self, spans: Vec<Stage>, function: MetricsFunction) -> Result<MetricsExpr, QueryError> {
        let by = if !matches!(function, MetricsFunction::Compare { .. }) && self.word("by") { self.field_list("by")? } else { Vec::new() };
        Ok(MetricsExpr::Pipeline(MetricsPipeline { spans, function, by }))
    }

    /// What follows series: `| topk(5)`, `> 10`, in any order and number.
    pub(super) fn second_stages(&mut self, expr: MetricsExpr) -> Result<MetricsExpr, QueryError> {
        let mut stages = Vec::new();
        loop {
            if self.symbol("|") {
                let top = self.word("topk");
                if !top && !self.word("bottomk") {
                    return Err(self.error_here(format!("unexpected {}; behind series stand `topk(n)` and `bottomk(n)`", self.peek().describe())));
                }
                self.expect("(", "after the function")?;
                let Tok::Int(n) = self.next() else {
                    self.back();
                    return Err(self.error_here(format!("unexpected {}; expected a number of series", self.peek().describe())));
                };
                let n = u32::try_from(n).map_err(|_| self.error_here("the number of series is out of range"))?;
                self.expect(")", "after the number of series")?;
                stages.push(if top { SecondStage::TopK(n) } else { SecondStage::BottomK(n) });
            } else if let Some(op) = filter_op(self.peek()) {
                self.next();
                stages.push(SecondStage::Filter(op, self.threshold()?));
            } else {
                break;
            }
        }
        if stages.is_empty() {
            return Ok(expr);
        }
        Ok(match expr {
            MetricsExpr::Staged(inner, mut known) => {
                known.extend(stages);
                MetricsExpr::Staged(inner, known)
            }
            expr => MetricsExpr::Staged(Box::new(expr), stages),
        })
    }

    /// A number or duration, or arithmetic of numbers without units.
    fn threshold(&mut self) -> Result<Static, QueryError> {
        let start = self.here();
        let (value, computed) = self.threshold_part(3)?;
        if computed && matches!(value, Static::Duration(_)) {
            return Err(self.error_at(start, "durations are compared with as they are; expected one duration, or numbers without units"));
        }
        Ok(value)
    }

    fn threshold_part(&mut self, closeness: u8) -> Result<(Static, bool), QueryError> {
        let start = self.here();
        let (mut left, mut computed) = if self.symbol("(") {
            let inner = self.deeper(|p| p.threshold_part(3))?;
            self.expect(")", "after the number")?;
            inner
        } else {
            let message = || format!("unexpected {}; expected a number to compare with", self.peek().describe());
            let message = message();
            (self.signed_number().ok_or_else(|| self.error_here(message))?, false)
        };
        while let Some((symbol, close)) = self.operator(closeness)? {
            let (right, _) = self.deeper(|p| p.threshold_part(close + 1))?;
            let op = op_of(symbol).filter(|op| op.is_arithmetic() && !matches!(op, Op::Mod | Op::Pow));
            let folded = op.and_then(|op| super::value::fold(op, &left, &right));
            left = folded.ok_or_else(|| self.error_at(start, format!("`{symbol}` between these numbers has no result")))?;
            if matches!(right, Static::Duration(_)) || matches!(left, Static::Duration(_)) {
                left = Static::Duration(0);
            }
            computed = true;
        }
        Ok((left, computed))
    }

    /// The rest of `with(key=value, …)`.
    pub(super) fn hints(&mut self, hints: &mut Vec<(String, Static)>) -> Result<(), QueryError> {
        self.expect("(", "after `with`")?;
        loop {
            let Tok::Word(key) = self.next() else {
                self.back();
                return Err(self.error_here(format!("unexpected {}; expected a hint, for example `most_recent=true`", self.peek().describe())));
            };
            self.expect("=", "after the hint's name")?;
            let value = match self.signed_number() {
                Some(number) => Some(number),
                None => self.literal(),
            };
            hints.push((key, value.ok_or_else(|| self.error_here("expected the hint's value"))?));
            if !self.symbol(",") {
                break;
            }
        }
        self.expect(")", "after the hints")
    }
}
