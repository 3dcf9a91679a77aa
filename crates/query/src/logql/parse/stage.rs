//! Stages of a pipeline.

use super::super::ast::{
    Conversion, Extraction, LabelChoice, LabelFilter, LabelSource, LineFilter, LineOp, MatchOp, Matcher, Needle, NumberOp, Quantity, Stage,
};
use super::super::extract::json::Path;
use super::super::extract::regexp::Regexp;
use super::super::ip::IpTest;
use super::super::pattern::Pattern;
use super::super::template::Template;
use super::super::text_test::{TextTest, line_regex};
use super::super::token::{Tok, error};
use super::{Parsed, Parser};

impl Parser {
    /// The stage that begins here, if one does.
    pub(super) fn stage(&mut self) -> Parsed<Option<Stage>> {
        if let Some((_, op, _)) = LineOp::ALL.iter().find(|(symbol, ..)| self.is(symbol)) {
            return self.line_filter(*op).map(|filter| Some(Stage::Line(filter)));
        }
        if !self.take("|") {
            return Ok(None);
        }
        // A word that is compared with something is a label, whatever it is called.
        let compared = matches!(self.peek_at(1), Tok::Symbol(s) if NumberOp::ALL.iter().any(|(symbol, _)| symbol == s) || matches!(*s, "=~" | "!~"));
        let Tok::Word(word) = self.peek().clone() else { return self.label_filter().map(|filter| Some(Stage::Label(filter))) };
        if compared {
            return self.label_filter().map(|filter| Some(Stage::Label(filter)));
        }
        let stage = match word.as_str() {
            "json" => {
                self.next();
                let at = self.span();
                let fields = self.extractions()?;
                for field in &fields {
                    Path::new(&field.expression).map_err(|e| error(e, at))?;
                }
                Stage::Json(fields)
            }
            "logfmt" => self.logfmt()?,
            "regexp" => {
                self.next();
                let at = self.span();
                let text = self.string()?;
                Regexp::new(&text).map_err(|e| error(e, at))?;
                Stage::Regexp(text)
            }
            "pattern" => {
                self.next();
                let at = self.span();
                let text = self.string()?;
                Pattern::extracting(&text).map_err(|e| error(e, at))?;
                Stage::Pattern(text)
            }
            "unpack" => {
                self.next();
                Stage::Unpack
            }
            "line_format" => {
                self.next();
                Stage::LineFormat(self.template()?)
            }
            "label_format" => self.label_format()?,
            "decolorize" => {
                self.next();
                Stage::Decolorize
            }
            "drop" => {
                self.next();
                Stage::Drop(self.choices()?)
            }
            "keep" => {
                self.next();
                Stage::Keep(self.choices()?)
            }
            "unwrap" => self.unwrap()?,
            _ => Stage::Label(self.label_filter()?),
        };
        Ok(Some(stage))
    }

    fn template(&mut self) -> Parsed<String> {
        let at = self.span();
        let text = self.string()?;
        Template::new(&text).map_err(|e| error(format!("invalid template: {e}"), at))?;
        Ok(text)
    }

    fn line_filter(&mut self, op: LineOp) -> Parsed<LineFilter> {
        self.next();
        let mut needles = Vec::new();
        loop {
            self.term()?;
            let at = self.span();
            if self.is_word("ip") {
                self.next();
                self.expect("(")?;
                let text = self.string()?;
                self.expect(")")?;
                IpTest::new(&text).map_err(|e| error(e, at))?;
                if !matches!(op, LineOp::Contains | LineOp::NotContains) {
                    return Err(error(format!("ip: invalid operation {}: expecting |= or !=", op.symbol()), at));
                }
                needles.push(Needle::Ip(text));
            } else {
                let text = self.string()?;
                match op {
                    LineOp::Contains | LineOp::NotContains => {}
                    LineOp::Regex | LineOp::NotRegex => drop(line_regex(&text).map_err(|e| error(e, at))?),
                    LineOp::Pattern | LineOp::NotPattern => drop(Pattern::testing(&text).map_err(|e| error(e, at))?),
                }
                needles.push(Needle::Text(text));
            }
            if !self.take_word("or") {
                return Ok(LineFilter { op, needles });
            }
        }
    }

    /// `a="x.y", b`: a bare label is its own expression.
    fn extractions(&mut self) -> Parsed<Vec<Extraction>> {
        let mut out = Vec::new();
        while matches!(self.peek(), Tok::Word(_)) {
            self.term()?;
            let label = self.identifier()?;
            let expression = if self.take("=") { self.string()? } else { label.clone() };
            out.push(Extraction { label, expression });
            if !self.take(",") {
                break;
            }
            if !matches!(self.peek(), Tok::Word(_)) {
                return Err(self.unexpected("IDENTIFIER"));
            }
        }
        Ok(out)
    }

    fn logfmt(&mut self) -> Parsed<Stage> {
        self.next();
        let (mut strict, mut keep_empty) = (false, false);
        while let Tok::Flag(flag) = self.peek() {
            match flag.as_str() {
                "strict" => strict = true,
                "keep-empty" => keep_empty = true,
                _ => return Err(self.unexpected("--strict or --keep-empty")),
            }
            self.next();
        }
        Ok(Stage::Logfmt { strict, keep_empty, fields: self.extractions()? })
    }

    fn label_format(&mut self) -> Parsed<Stage> {
        self.next();
        let mut out: Vec<(String, LabelSource)> = Vec::new();
        loop {
            self.term()?;
            let at = self.span();
            let target = self.identifier()?;
            self.expect("=")?;
            let source = match self.peek() {
                Tok::Word(label) => {
                    let label = label.clone();
                    self.next();
                    LabelSource::Rename(label)
                }
                Tok::Text(_) => LabelSource::Template(self.template()?),
                _ => return Err(self.unexpected("IDENTIFIER or STRING")),
            };
            if out.iter().any(|(other, _)| *other == target) {
                return Err(error(format!("multiple label name '{target}' not allowed in a single format operation"), at));
            }
            if target.starts_with("__error") {
                return Err(error(format!("{target} cannot be formatted"), at));
            }
            out.push((target, source));
            if !self.take(",") {
                return Ok(Stage::LabelFormat(out));
            }
        }
    }

    fn choices(&mut self) -> Parsed<Vec<LabelChoice>> {
        let mut out = Vec::new();
        loop {
            self.term()?;
            let name = self.identifier()?;
            let test = match self.peek() {
                Tok::Symbol("=" | "!=" | "=~" | "!~") if matches!(self.peek_at(1), Tok::Text(_)) => {
                    let op = self.match_op()?;
                    let at = self.span();
                    let value = self.string()?;
                    TextTest::new(op, &value).map_err(|e| error(e, at))?;
                    Some((op, value))
                }
                _ => None,
            };
            out.push(LabelChoice { name, test });
            if !self.take(",") {
                return Ok(out);
            }
        }
    }

    fn unwrap(&mut self) -> Parsed<Stage> {
        self.next();
        let word = self.identifier()?;
        if !self.take("(") {
            return Ok(Stage::Unwrap(word, Conversion::Number));
        }
        let conversion = match word.as_str() {
            "duration" => Conversion::Duration("duration"),
            "duration_seconds" => Conversion::Duration("duration_seconds"),
            "bytes" => Conversion::Bytes,
            _ => {
                self.at -= 2;
                return Err(self.unexpected("bytes, duration or duration_seconds"));
            }
        };
        let label = self.identifier()?;
        self.expect(")")?;
        Ok(Stage::Unwrap(label, conversion))
    }

    /// `a="x" and b > 5 or c != 3s`: `or` binds least; a comma or nothing at all is `and`.
    fn label_filter(&mut self) -> Parsed<LabelFilter> {
        let mut left = self.label_conjunction()?;
        while self.take_word("or") {
            self.operator()?;
            let right = self.label_conjunction()?;
            left = LabelFilter::Or(Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn label_conjunction(&mut self) -> Parsed<LabelFilter> {
        let mut left = self.label_comparison()?;
        loop {
            let follows = if self.take_word("and") || self.take(",") {
                true
            } else {
                self.is("(") || (matches!(self.peek(), Tok::Word(w) if w != "or" && w != "offset") && matches!(self.peek_at(1), Tok::Symbol(_)))
            };
            if !follows {
                return Ok(left);
            }
            self.operator()?;
            let right = self.label_comparison()?;
            left = LabelFilter::And(Box::new(left), Box::new(right));
        }
    }

    fn label_comparison(&mut self) -> Parsed<LabelFilter> {
        self.term()?;
        if self.take("(") {
            let inner = self.nested(Self::label_filter)?;
            self.expect(")")?;
            return Ok(inner);
        }
        let label = self.identifier()?;
        let Tok::Symbol(symbol) = *self.peek() else { return Err(self.unexpected("a comparison")) };
        let number = NumberOp::ALL.iter().find(|(s, _)| *s == symbol).map(|(_, op)| *op);
        let text = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex].into_iter().find(|op| op.symbol() == symbol);
        if number.is_none() && text.is_none() {
            return Err(self.unexpected("a comparison"));
        }
        self.next();
        let at = self.span();
        match (self.peek().clone(), text, number) {
            (Tok::Text(value), Some(op), _) => {
                self.next();
                TextTest::new(op, &value).map_err(|e| error(e, at))?;
                Ok(LabelFilter::Text(Matcher { name: label, op, value }))
            }
            (Tok::Word(word), Some(op @ (MatchOp::Equal | MatchOp::NotEqual)), _) if word == "ip" => {
                self.next();
                self.expect("(")?;
                let value = self.string()?;
                self.expect(")")?;
                IpTest::new(&value).map_err(|e| error(e, at))?;
                Ok(LabelFilter::Ip(label, op == MatchOp::NotEqual, value))
            }
            (Tok::Duration(nanos), _, Some(op)) => {
                self.next();
                Ok(LabelFilter::Quantity(label, op, Quantity::Duration(nanos)))
            }
            (Tok::Bytes(bytes), _, Some(op)) => {
                self.next();
                Ok(LabelFilter::Quantity(label, op, Quantity::Bytes(bytes)))
            }
            (Tok::Number(_) | Tok::Symbol("-" | "+"), _, Some(op)) => {
                if let (Tok::Symbol(sign), Tok::Duration(nanos)) = (self.peek().clone(), self.peek_at(1).clone()) {
                    self.next();
                    self.next();
                    return Ok(LabelFilter::Quantity(label, op, Quantity::Duration(if sign == "-" { -nanos } else { nanos })));
                }
                Ok(LabelFilter::Quantity(label, op, Quantity::Number(self.number()?)))
            }
            (_, Some(_), None) => Err(self.unexpected("STRING")),
            (_, None, Some(_)) => Err(self.unexpected("NUMBER, DURATION or BYTES")),
            _ => Err(self.unexpected("STRING, NUMBER, DURATION or BYTES")),
        }
    }
}
