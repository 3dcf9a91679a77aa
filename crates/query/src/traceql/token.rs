//! Text to tokens, by the rules of Tempo's lexer: those of Go's scanner, and attribute names that run up to a space or
//! an operator.

use crate::error::{QueryError, Span};

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tok {
    /// A bare word.
    Word(String),
    /// A word with a colon behind it: the scope of an intrinsic.
    ScopedWord(String),
    /// `.key`, `span.key`, `parent.resource.key`: scopes without their dots, and the key.
    Attribute(Vec<&'static str>, String),
    Int(i64),
    Float(f64),
    /// Nanoseconds.
    Duration(i64),
    Text(String),
    /// An operator or bracket.
    Symbol(&'static str),
    End,
}

impl Tok {
    /// How the token is called in an error message.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(word) => format!("`{word}`"),
            Self::ScopedWord(word) => format!("`{word}:`"),
            Self::Attribute(scopes, name) => format!("attribute `{}.{name}`", scopes.join(".")),
            Self::Int(n) => format!("number {n}"),
            Self::Float(n) => format!("number {n}"),
            Self::Duration(n) => format!("duration of {n} ns"),
            Self::Text(text) => format!("string {text:?}"),
            Self::Symbol(symbol) => format!("`{symbol}`"),
            Self::End => "end of the query".to_owned(),
        }
    }
}

/// Longest query, bytes.
pub const QUERY_BYTES_MAX: usize = 64 * 1024;

/// Operators and brackets, the longest of a common beginning first.
const SYMBOLS: &[&str] = &[
    "&>>", "&<<", "!>>", "!<<", "&&", "||", "!=", "!~", "!>", "!<", "=~", ">=", ">>", "<=", "<<", "&~", "&>", "&<", "{", "}", "(", ")", ",", "=",
    ">", "<", "+", "-", "*", "/", "%", "^", "!", "|", "~",
];

/// Words that, with a dot behind them, begin an attribute.
const SCOPES: &[&str] = &["span", "resource", "event", "link", "instrumentation", "parent"];
/// Words that, with a colon behind them, begin an intrinsic.
const COLON_SCOPES: &[&str] = &["trace", "span", "event", "link", "instrumentation"];

/// Whether a character may stand in an attribute's name without quotes.
pub(super) fn is_name_char(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '{' | '}' | '(' | ')' | '=' | '~' | '!' | '<' | '>' | '&' | '|' | '^' | ',')
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

fn error(at: Span, message: impl Into<String>) -> QueryError {
    QueryError::Parse { message: message.into(), at }
}

/// Splits a query into tokens with their places; the last one is [`Tok::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(Tok, Span)>, QueryError> {
    if text.len() > QUERY_BYTES_MAX {
        let at = Span { start: QUERY_BYTES_MAX, end: text.len() };
        return Err(error(at, format!("the query is longer than {QUERY_BYTES_MAX} bytes")));
    }
    let mut lexer = Lexer { text, at: 0 };
    let mut out = Vec::new();
    loop {
        lexer.skip_space()?;
        let start = lexer.at;
        let token = lexer.next()?;
        let done = token == Tok::End;
        out.push((token, Span { start, end: lexer.at }));
        if done {
            return Ok(out);
        }
    }
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Spaces and Go's comments.
    fn skip_space(&mut self) -> Result<(), QueryError> {
        loop {
            self.at = self.text.len() - self.rest().trim_start().len();
            if self.rest().starts_with("//") {
                self.at += self.rest().find('\n').unwrap_or(self.rest().len());
            } else if self.rest().starts_with("/*") {
                let Some(end) = self.rest().find("*/") else {
                    return Err(error(Span { start: self.at, end: self.text.len() }, "this comment has no end; expected `*/`"));
                };
                self.at += end + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<Tok, QueryError> {
        let Some(first) = self.peek() else { return Ok(Tok::End) };
        let digit_behind = self.rest()[first.len_utf8()..].starts_with(|c: char| c.is_ascii_digit());
        if first.is_ascii_digit() || first == '.' && digit_behind {
            return self.number();
        }
        if first == '"' || first == '`' {
            return self.quoted();
        }
        if first == '.' {
            self.at += 1;
            return self.attribute(Vec::new());
        }
        if first.is_alphabetic() || first == '_' {
            let word: String = self.rest().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            self.at += word.len();
            let behind = self.peek();
            if behind == Some('.')
                && let Some(scope) = SCOPES.iter().find(|s| **s == word)
            {
                self.at += 1;
                return self.attribute(vec![scope]);
            }
            if behind == Some(':') && COLON_SCOPES.contains(&word.as_str()) {
                self.at += 1;
                return Ok(Tok::ScopedWord(word));
            }
            return Ok(Tok::Word(word));
        }
        if let Some(symbol) = SYMBOLS.iter().find(|s| self.rest().starts_with(**s)) {
            self.at += symbol.len();
            return Ok(Tok::Symbol(symbol));
        }
        let at = Span { start: self.at, end: self.at + first.len_utf8() };
        Err(error(at, format!("unexpected character {first:?}")))
    }

    /// The name behind a scope's dot.
    fn attribute(&mut self, mut scopes: Vec<&'static str>) -> Result<Tok, QueryError> {
        if scopes == ["parent"]
            && let Some(inner) = ["span", "resource"].into_iter().find(|s| self.rest().strip_prefix(s).is_some_and(|rest| rest.starts_with('.')))
        {
            self.at += inner.len() + 1;
            scopes.push(inner);
        }
        let start = self.at;
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| is_name_char(*c)) {
            self.at += c.len_utf8();
            if c != '"' {
                name.push(c);
                continue;
            }
            loop {
                let Some(c) = self.peek() else {
                    return Err(error(Span { start, end: self.at }, "this name has no end; expected `\"`"));
                };
                self.at += c.len_utf8();
                match c {
                    '"' => break,
                    '\\' => {
                        let escaped = self.peek().filter(|c| matches!(c, '"' | '\\'));
                        let Some(c) = escaped else {
                            let at = Span { start: self.at - 1, end: self.at };
                            return Err(error(at, "in a quoted name only `\\\"` and `\\\\` are escapes"));
                        };
                        self.at += 1;
                        name.push(c);
                    }
                    c => name.push(c),
                }
            }
        }
        if name.is_empty() {
            return Err(error(Span { start: start.saturating_sub(1), end: self.at }, "expected an attribute's name behind the dot"));
        }
        Ok(Tok::Attribute(scopes, name))
    }

    fn number(&mut self) -> Result<Tok, QueryError> {
        let start = self.at;
        let bytes = self.rest().as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit() || **b == b'_').count();
        let mut end = digits(0);
        let mut float = false;
        if end == 1 && bytes[0] == b'0' && matches!(bytes.get(1), Some(b'x' | b'X')) {
            let hex = bytes[2..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
            self.at += 2 + hex;
            let value = i64::from_str_radix(&self.text[start + 2..self.at], 16);
            return value.map(Tok::Int).map_err(|_| error(Span { start, end: self.at }, "not a 64-bit number"));
        }
        if bytes.get(end) == Some(&b'.') {
            float = true;
            end += 1 + digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            if exponent > 0 {
                float = true;
                end += 1 + sign + exponent;
            }
        }
        // What stands close behind may make it a duration.
        let tail = |c: &char| c.is_ascii_digit() || *c == '.' || matches!(c, 'n' | 's' | 'u' | 'm' | 'h' | 'µ' | 'μ' | 'd' | 'w' | 'y');
        let more: usize = self.rest()[end..].chars().take_while(|c| tail(c)).map(char::len_utf8).sum();
        if more > 0
            && let Some(nanos) = parse_duration(&self.rest()[..end + more])
        {
            self.at += end + more;
            return Ok(Tok::Duration(nanos));
        }
        self.at += end;
        let (text, at) = (self.text[start..self.at].replace('_', ""), Span { start, end: self.at });
        if float {
            return text.parse().ok().filter(|n: &f64| n.is_finite()).map(Tok::Float).ok_or_else(|| error(at, "not a number"));
        }
        text.parse().map(Tok::Int).map_err(|_| error(at, "not a 64-bit number"))
    }

    /// A string, with Go's escapes between double quotes and none between backticks.
    fn quoted(&mut self) -> Result<Tok, QueryError> {
        let start = self.at;
        let quote = self.peek().unwrap_or('"');
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(c) = self.peek().filter(|c| quote == '`' || *c != '\n') else {
                return Err(error(Span { start, end: self.at }, format!("this string has no end; expected `{quote}`")));
            };
            self.at += c.len_utf8();
            match c {
                c if c == quote => return Ok(Tok::Text(text)),
                '\\' if quote == '"' => text.push(self.escape()?),
                // Go drops carriage returns between backticks.
                '\r' if quote == '`' => {}
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, QueryError> {
        let start = self.at - 1;
        let letter = self.peek().unwrap_or(' ');
        self.at += letter.len_utf8().min(self.rest().len());
        let simple = match letter {
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            '\\' => Some('\\'),
            '"' => Some('"'),
            _ => None,
        };
        if let Some(simple) = simple {
            return Ok(simple);
        }
        let (from, length, radix) = match letter {
            'x' => (self.at, 2, 16),
            'u' => (self.at, 4, 16),
            'U' => (self.at, 8, 16),
            '0'..='7' => (self.at - 1, 3, 8),
            _ => return Err(error(Span { start, end: self.at }, format!("`\\{letter}` is no escape"))),
        };
        let digits = self.text.get(from..from + length).filter(|digits| digits.chars().all(|c| c.is_digit(radix)));
        let value = digits.and_then(|digits| u32::from_str_radix(digits, radix).ok()).and_then(char::from_u32);
        let Some(value) = value else {
            return Err(error(Span { start, end: self.at }, format!("expected {length} digits of a character behind `\\{letter}`")));
        };
        self.at = from + length;
        Ok(value)
    }
}

/// Units of a duration in nanoseconds, those of Prometheus and of Go.
const UNITS: &[(&str, i64)] = &[
    ("y", 365 * 86_400_000_000_000),
    ("w", 7 * 86_400_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ns", 1),
];

/// `1h30m`, `1.5s`, `300us`: any number of amounts with units, one behind the other, as nanoseconds.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0i64;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit_end = rest[number..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |end| number + end);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[number..unit_end])?;
        let amount = &rest[..number];
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "fractions of a unit are below 2^53, checked")]
        let nanos = match amount.parse::<i64>() {
            Ok(whole) => whole.checked_mul(*unit)?,
            Err(_) => {
                let nanos = amount.parse::<f64>().ok()? * *unit as f64;
                (nanos < 9e18).then_some(nanos.round() as i64)?
            }
        };
        total = total.checked_add(nanos)?;
        rest = &rest[unit_end..];
    }
    Some(total)
}
