//! Text to filter.

use skopos_model::Severity;

use super::compile::{compile_regex, status_class};
use super::fields::{FIELDS, likely_typo, nearest};
use super::{Compare, Field, Filter, Value};
use crate::error::{QueryError, Span};

/// Longest filter text, bytes.
pub const FILTER_BYTES_MAX: usize = 64 << 10;
/// Deepest nesting of parentheses and negations.
pub const FILTER_DEPTH_MAX: usize = 64;
/// Most terms of a filter.
pub const FILTER_TERMS_MAX: usize = 1024;

/// Parses a filter. Empty text takes every row.
///
/// # Errors
/// [`QueryError::Parse`] with what was wrong, what was expected, and the bytes it is about.
pub fn parse(text: &str) -> Result<Filter, QueryError> {
    if text.len() > FILTER_BYTES_MAX {
        return fail(0, text.len(), format!("the filter has {} bytes; at most {FILTER_BYTES_MAX} are accepted", text.len()));
    }
    let mut parser = Parser { text, at: 0, depth: 0, terms: 0 };
    parser.skip_space();
    if parser.peek().is_none() {
        return Ok(Filter::all());
    }
    let filter = parser.alternatives()?;
    match parser.peek() {
        None => Ok(filter),
        Some(_) => fail(parser.at, parser.at + 1, "this `)` closes nothing; quote it to search for it".to_owned()),
    }
}

/// Reads a duration as the grammar writes it (`500ms`, `1.5s`, `1h30m`), in nanoseconds.
pub fn parse_duration(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "d" => 86400e9,
            "w" => 7.0 * 86400e9,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[end..];
    }
    (total < i64::MAX as f64).then(|| total.round() as i64)
}

/// The number a text is, when printing the number gives the same text again: `007`, `1.10` and integers beyond
/// 2^53 stay text, so that comparing them loses nothing.
pub(super) fn number_of(text: &str) -> Option<f64> {
    if !text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    (number.is_finite() && number.to_string() == text).then_some(number)
}

/// Whether a bare word before a colon is a key.
pub(super) fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '@')
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | '@' | '$'))
}

pub(super) fn is_keyword(text: &str) -> bool {
    matches!(text, "AND" | "OR" | "NOT")
}

fn fail<T>(start: usize, end: usize, message: String) -> Result<T, QueryError> {
    Err(QueryError::Parse { message, at: Span { start, end } })
}

/// A value as it was written.
struct Raw {
    text: String,
    quoted: bool,
    /// A `*` followed it.
    prefix: bool,
    start: usize,
    end: usize,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    terms: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// Whether the keyword stands here, followed by something that ends a word.
    fn at_keyword(&self, keyword: &str) -> bool {
        self.rest()
            .strip_prefix(keyword)
            .is_some_and(|after| after.starts_with(|c: char| c.is_whitespace() || c == '(' || c == ')' || c == '"') || after.is_empty())
    }

    fn alternatives(&mut self) -> Result<Filter, QueryError> {
        let mut any = vec![self.conjunction()?];
        while self.at_keyword("OR") {
            self.at += 2;
            any.push(self.conjunction()?);
        }
        Ok(if any.len() == 1 {
            any.remove(0)
        } else {
            Filter::Or(any.into_iter().flat_map(|part| if let Filter::Or(inner) = part { inner } else { vec![part] }).collect())
        })
    }

    fn conjunction(&mut self) -> Result<Filter, QueryError> {
        let mut all = Vec::new();
        let mut after_and = false;
        let mut found = false;
        loop {
            self.skip_space();
            let end = self.peek().is_none_or(|c| c == ')') || self.at_keyword("OR");
            if end || self.at_keyword("AND") {
                if !found || after_and {
                    let what = if after_and { "after AND" } else { "here" };
                    return fail(
                        self.at,
                        (self.at + 1).min(self.text.len()).max(self.at),
                        format!("expected a word, \"a phrase\", key:value or ( {what}"),
                    );
                }
                if end {
                    break;
                }
                self.at += 3;
                after_and = true;
                continue;
            }
            match self.unary()? {
                Filter::And(parts) => all.extend(parts),
                part => all.push(part),
            }
            after_and = false;
            found = true;
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::And(all) })
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, QueryError>) -> Result<T, QueryError> {
        if self.depth == FILTER_DEPTH_MAX {
            return fail(self.at, self.at, format!("nested deeper than {FILTER_DEPTH_MAX} levels"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn unary(&mut self) -> Result<Filter, QueryError> {
        let start = self.at;
        if self.at_keyword("NOT") {
            self.at += 3;
            self.skip_space();
            if self.peek().is_none_or(|c| c == ')') || ["OR", "AND"].iter().any(|k| self.at_keyword(k)) {
                return fail(start, self.at, "expected what to exclude after NOT".to_owned());
            }
            return Ok(Filter::Not(Box::new(self.deeper(Self::unary)?)));
        }
        // A lone dash, as in pasted log lines, is text.
        if self.rest().starts_with(['-', '!']) && self.rest()[1..].starts_with(|c: char| !c.is_whitespace() && c != ')') {
            self.at += 1;
            return Ok(Filter::Not(Box::new(self.deeper(Self::unary)?)));
        }
        if self.eat("(") {
            let inner = self.deeper(Self::alternatives)?;
            if !self.eat(")") {
                return fail(start, start + 1, "this `(` is not closed; expected `)`".to_owned());
            }
            return Ok(inner);
        }
        self.terms += 1;
        if self.terms > FILTER_TERMS_MAX {
            return fail(start, self.text.len(), format!("more than {FILTER_TERMS_MAX} terms"));
        }
        if self.peek() == Some('"') {
            let phrase = self.quoted()?;
            if self.rest().starts_with(':') && !self.rest().starts_with("::") {
                self.at += 1;
                return self.comparison(Field::Attribute(phrase), start);
            }
            return Ok(Filter::Text(phrase));
        }
        self.word()
    }

    fn quoted(&mut self) -> Result<String, QueryError> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += offset + 1;
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, c @ ('"' | '\\'))) => text.push(c),
                    // Patterns are written in quotes too: their escapes stay what they are.
                    Some((_, c)) => text.extend(['\\', c]),
                    None => break,
                },
                c => text.push(c),
            }
        }
        fail(start, start + 1, "this quote is not closed; expected `\"`".to_owned())
    }

    /// A bare word: free text, or the key of a comparison.
    fn word(&mut self) -> Result<Filter, QueryError> {
        let start = self.at;
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"')).unwrap_or(rest.len());
        if let Some(colon) = rest[..end].find(':') {
            let (key, after) = (&rest[..colon], &rest[colon + 1..]);
            if is_key(key) && !after.starts_with("//") && !after.starts_with(':') {
                self.at += colon + 1;
                let field = Field::from_name(key);
                if let (Field::Attribute(_), Some(meant)) = (&field, likely_typo(key)) {
                    return fail(
                        start,
                        start + colon,
                        format!("unknown field `{key}`: did you mean `{meant}`? An attribute of this name is written \"{key}\":…"),
                    );
                }
                return self.comparison(field, start);
            }
        }
        self.at += end;
        let word = &rest[..end];
        if word == "*" {
            return Ok(Filter::all());
        }
        Ok(Filter::Text(word.trim_matches('*').to_owned()))
    }

    /// What stands after `key:`.
    fn comparison(&mut self, field: Field, start: usize) -> Result<Filter, QueryError> {
        let at = self.at;
        if self.rest().strip_prefix('*').is_some_and(|after| after.is_empty() || after.starts_with(|c: char| c.is_whitespace() || c == ')')) {
            self.at += 1;
            return Ok(Filter::Field(field, Compare::Exists));
        }
        let compare = if self.eat("=~") {
            let raw = self.value(&field)?;
            check_regex(&raw.text, at, self.at)?;
            Compare::Regex(raw.text)
        } else if self.eat(">=") {
            Compare::GreaterEqual(self.ordered(&field)?)
        } else if self.eat("<=") {
            Compare::LessEqual(self.ordered(&field)?)
        } else if self.eat(">") {
            Compare::Greater(self.ordered(&field)?)
        } else if self.eat("<") {
            Compare::Less(self.ordered(&field)?)
        } else if self.eat("~") {
            Compare::Contains(self.value(&field)?.text)
        } else if let Some((pattern, length)) = slashed(self.rest()) {
            self.at += length;
            check_regex(&pattern, at, self.at)?;
            Compare::Regex(pattern)
        } else {
            let exact = self.eat("=");
            let mut raws = vec![self.value(&field)?];
            while self.eat(",") {
                raws.push(self.value(&field)?);
            }
            self.end_of_term(start)?;
            return any_of(field, raws, exact);
        };
        self.end_of_term(start)?;
        Ok(Filter::Field(field, compare))
    }

    fn end_of_term(&self, start: usize) -> Result<(), QueryError> {
        match self.peek() {
            None | Some(')') => Ok(()),
            Some(c) if c.is_whitespace() => Ok(()),
            Some(c) => fail(start, self.at + c.len_utf8(), format!("expected a space before `{c}`; quote values that hold it: key:\"…\"")),
        }
    }

    fn ordered(&mut self, field: &Field) -> Result<Value, QueryError> {
        let raw = self.value(field)?;
        if raw.prefix {
            return fail(raw.start, raw.end, "a value to compare with has no `*`".to_owned());
        }
        typed(field, &raw, true)
    }

    fn value(&mut self, field: &Field) -> Result<Raw, QueryError> {
        let start = self.at;
        let quoted = self.peek() == Some('"');
        let text = if quoted {
            self.quoted()?
        } else {
            let rest = self.rest();
            let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"' | ',')).unwrap_or(rest.len());
            self.at += end;
            rest[..end].to_owned()
        };
        if !quoted && text.is_empty() {
            let example = FIELDS.iter().find(|f| f.field == *field).map_or("key:value", |f| f.example);
            return fail(start, start, format!("expected a value after `{field}:`, for example {example}; quote the text to search for it as it is"));
        }
        let (text, prefix) = if quoted {
            (text, self.eat("*"))
        } else {
            match text.strip_suffix('*') {
                Some(stem) if !stem.is_empty() => (stem.to_owned(), true),
                _ => (text, false),
            }
        };
        Ok(Raw { text, quoted, prefix, start, end: self.at })
    }
}

/// A pattern between slashes that ends where the word ends, and its length with slashes and flag.
fn slashed(rest: &str) -> Option<(String, usize)> {
    let mut chars = rest.char_indices();
    if chars.next()?.1 != '/' {
        return None;
    }
    let mut pattern = String::new();
    while let Some((offset, c)) = chars.next() {
        match c {
            '\\' => match chars.next()?.1 {
                '/' => pattern.push('/'),
                c => pattern.extend(['\\', c]),
            },
            '/' => {
                let after = &rest[offset + 1..];
                let (ignore_case, after) = match after.strip_prefix('i') {
                    Some(rest) => (true, rest),
                    None => (false, after),
                };
                let ends = after.is_empty() || after.starts_with(|c: char| c.is_whitespace() || c == ')');
                if pattern.is_empty() || !ends {
                    return None;
                }
                return Some((if ignore_case { format!("(?i){pattern}") } else { pattern }, rest.len() - after.len()));
            }
            c if c.is_whitespace() => return None,
            c => pattern.push(c),
        }
    }
    None
}

fn check_regex(pattern: &str, start: usize, end: usize) -> Result<(), QueryError> {
    compile_regex(pattern).map(|_| ()).or_else(|message| fail(start, end, message))
}

/// `key:a,b*,c`: equal to any of the plain ones, or one of the others.
fn any_of(field: Field, raws: Vec<Raw>, exact: bool) -> Result<Filter, QueryError> {
    let mut equal = Vec::new();
    let mut any = Vec::new();
    for raw in raws {
        if raw.prefix {
            any.push(Filter::Field(field.clone(), Compare::Prefix(raw.text)));
        } else if field == Field::Body && !exact {
            any.push(Filter::Field(field.clone(), Compare::Contains(raw.text)));
        } else {
            equal.push(typed(&field, &raw, false)?);
        }
    }
    if !equal.is_empty() {
        let own = |v: &Value| matches!(v, Value::Text(t) if !t.bytes().all(|b| b.is_ascii_hexdigit()));
        let key = match field {
            Field::TraceId => Some("trace_id"),
            Field::SpanId => Some("span_id"),
            _ => None,
        };
        // Ids that are none by W3C's rules are kept as attributes, and found by the same words.
        if let Some(key) = key {
            let (foreign, proper): (Vec<Value>, Vec<Value>) = equal.into_iter().partition(own);
            equal = proper;
            if !foreign.is_empty() {
                any.insert(0, Filter::Field(Field::Attribute(key.to_owned()), Compare::Equal(foreign)));
            }
        }
        if !equal.is_empty() {
            any.insert(0, Filter::Field(field, Compare::Equal(equal)));
        }
    }
    Ok(if any.len() == 1 { any.remove(0) } else { Filter::Or(any) })
}

/// The value as the field takes it.
fn typed(field: &Field, raw: &Raw, ordered: bool) -> Result<Value, QueryError> {
    let text = || Value::Text(raw.text.clone());
    let words = |known: &[&str], expected: &str| {
        let hint = nearest(&raw.text, known.iter().copied()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        fail(raw.start, raw.end, format!("`{}` is no {}: expected {expected}{hint}", raw.text, field.name()))
    };
    let lower = raw.text.to_lowercase();
    match field {
        Field::Level => match number_of(&raw.text) {
            Some(number) if (1.0..=24.0).contains(&number) && number.fract() == 0.0 => Ok(Value::Number(number)),
            None if Severity::from_text(&raw.text).is_some() => Ok(text()),
            _ => words(
                &["trace", "debug", "info", "warn", "warning", "error", "fatal", "critical"],
                "trace, debug, info, warn, error, fatal or a number from 1 to 24",
            ),
        },
        Field::Kind => {
            let known = ["unspecified", "internal", "server", "client", "producer", "consumer"];
            if known.contains(&&*lower) { Ok(text()) } else { words(&known, "internal, server, client, producer or consumer") }
        }
        Field::Status => {
            let known = ["ok", "error", "unset"];
            match number_of(&raw.text) {
                Some(number) => Ok(Value::Number(number)),
                None if !ordered && (known.contains(&&*lower) || status_class(&raw.text).is_some()) => Ok(text()),
                None if ordered => words(&[], "a number such as 500"),
                None => words(&known, "ok, error, unset, a number such as 500 or a class such as 5xx"),
            }
        }
        Field::Root => match &*lower {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => words(&["true", "false"], "true or false"),
        },
        Field::Duration => match parse_duration(&raw.text) {
            Some(nanos) => Ok(Value::Duration(nanos)),
            None => words(&[], "a number with a unit (ns, us, ms, s, m, h, d), for example 500ms"),
        },
        Field::TraceId | Field::SpanId if !ordered => {
            let digits = if *field == Field::TraceId { 32 } else { 16 };
            if raw.text.len() == digits && raw.text.bytes().all(|b| b.is_ascii_hexdigit()) {
                Ok(text())
            } else if raw.text.bytes().all(|b| b.is_ascii_hexdigit()) {
                words(&[], &format!("{digits} hexadecimal digits (or the first of them and `*`)"))
            } else {
                // An id of somebody's own making (`tr-448`): it was kept as an attribute, see `any_of`.
                Ok(text())
            }
        }
        Field::Attribute(_) if !raw.quoted => Ok(match (number_of(&raw.text), &*raw.text) {
            (Some(number), _) => Value::Number(number),
            (None, "true") => Value::Bool(true),
            (None, "false") => Value::Bool(false),
            (None, other) => match parse_duration(other).filter(|_| ordered) {
                Some(nanos) => Value::Duration(nanos),
                None => text(),
            },
        }),
        _ => Ok(text()),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
