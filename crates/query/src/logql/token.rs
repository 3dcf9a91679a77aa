//! Text to tokens. Words are not told apart here: whether `json` or `by` is a keyword depends on where it stands, and
//! the parser knows that.

use super::units;
use crate::error::{QueryError, Span};

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tok {
    /// A bare word: label, function or keyword, as written.
    Word(String),
    /// A quoted text, escapes resolved.
    Text(String),
    /// A number.
    Number(f64),
    /// A duration such as `1h30m`, nanoseconds.
    Duration(i64),
    /// A size such as `5MB`, bytes.
    Bytes(u64),
    /// `--strict`, without the dashes.
    Flag(String),
    /// Anything else, as written: one of [`SYMBOLS`].
    Symbol(&'static str),
    /// The end of the query.
    End,
}

/// Every symbol; of two that begin alike the longer comes first.
const SYMBOLS: &[&str] = &[
    "|=", "|~", "|>", "!=", "!~", "!>", "=~", "==", ">=", "<=", "{", "}", "(", ")", "[", "]", ",", "=", "<", ">", "|", "+", "-", "*", "/", "%", "^",
];

impl Tok {
    /// How the token is called in an error message.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Word(word) => word.clone(),
            Self::Text(_) => "STRING".to_owned(),
            Self::Number(_) => "NUMBER".to_owned(),
            Self::Duration(_) => "DURATION".to_owned(),
            Self::Bytes(_) => "BYTES".to_owned(),
            Self::Flag(flag) => format!("--{flag}"),
            Self::Symbol(symbol) => (*symbol).to_owned(),
            Self::End => "$end".to_owned(),
        }
    }
}

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) tok: Tok,
    pub(crate) span: Span,
}

pub(crate) fn error(message: impl Into<String>, span: Span) -> QueryError {
    QueryError::Parse { message: message.into(), at: span }
}

/// Splits `text`; the last token is [`Tok::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut out = Vec::new();
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        let tok = lexer.token()?;
        let end = tok == Tok::End;
        out.push(Token { tok, span: Span { start, end: lexer.at } });
        if end {
            return Ok(out);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blank(&mut self) {
        loop {
            self.at += self.rest().len() - self.rest().trim_start().len();
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn token(&mut self) -> Result<Tok, QueryError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Tok::End) };
        let second = rest[first.len_utf8()..].chars().next().unwrap_or(' ');
        match first {
            '"' => return self.quoted(),
            '`' => {
                let Some(len) = rest[1..].find('`') else {
                    return Err(error("syntax error: raw string is not terminated by `", self.span(rest.len())));
                };
                self.at += len + 2;
                return Ok(Tok::Text(rest[1..=len].to_owned()));
            }
            _ if first.is_ascii_digit() || (first == '.' && second.is_ascii_digit()) => return self.number(),
            _ if first.is_ascii_alphabetic() || first == '_' => {
                let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                self.at += len;
                return Ok(Tok::Word(rest[..len].to_owned()));
            }
            '-' if second == '-' && rest[2..].starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let len = rest[2..].find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len() - 2);
                self.at += len + 2;
                return Ok(Tok::Flag(rest[2..len + 2].to_owned()));
            }
            _ => {}
        }
        if let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
            self.at += symbol.len();
            return Ok(Tok::Symbol(symbol));
        }
        Err(error(format!("syntax error: unexpected character {first:?}"), self.span(first.len_utf8())))
    }

    fn span(&self, len: usize) -> Span {
        Span { start: self.at, end: self.at + len }
    }

    fn number(&mut self) -> Result<Tok, QueryError> {
        let rest = self.rest();
        let mut end = 0;
        let mut previous = ' ';
        for c in rest.chars() {
            let exponent = matches!(c, '+' | '-') && is_exponent(&rest[..end], previous) && rest[end + 1..].starts_with(|c: char| c.is_ascii_digit());
            if !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | 'µ' | 'μ') || exponent) {
                break;
            }
            end += c.len_utf8();
            previous = c;
        }
        let (text, span) = (&rest[..end], self.span(end));
        self.at += end;
        if let Some(number) = units::parse_float(text) {
            return Ok(Tok::Number(number));
        }
        let lower = text.to_ascii_lowercase();
        if ["0x", "0b", "0o"].iter().any(|prefix| lower.starts_with(prefix)) && text.len() > 2 {
            return Err(error(format!("unable to parse literal as a float: parsing {text:?}: invalid syntax"), span));
        }
        if let Ok(nanos) = units::parse_long_duration(text) {
            return Ok(Tok::Duration(nanos));
        }
        if text.contains(|c: char| c.is_ascii_uppercase())
            && let Ok(bytes) = units::parse_bytes(text)
        {
            return Ok(Tok::Bytes(bytes));
        }
        Err(error(format!("syntax error: {text:?} is no number, duration (5m, 1h30m) or size (5MB, 2KiB)"), span))
    }

    fn quoted(&mut self) -> Result<Tok, QueryError> {
        let start = self.at;
        let mut out = Vec::new();
        self.at += 1;
        loop {
            let Some(c) = self.rest().chars().next().filter(|c| *c != '\n') else {
                return Err(error("syntax error: string is not terminated by \"", Span { start, end: self.at }));
            };
            self.at += c.len_utf8();
            match c {
                '"' => break,
                '\\' => self.escape(&mut out)?,
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        // Escapes such as \xff can make bytes that are no UTF-8; lines are text, so those become the replacement
        // character.
        Ok(Tok::Text(String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())))
    }

    /// Behind a backslash: appends what the escape stands for.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let start = self.at - 1;
        let kind = self.rest().chars().next().unwrap_or(' ');
        let simple = match kind {
            'a' => Some(0x07),
            'b' => Some(0x08),
            'f' => Some(0x0c),
            'n' => Some(b'\n'),
            'r' => Some(b'\r'),
            't' => Some(b'\t'),
            'v' => Some(0x0b),
            '\\' => Some(b'\\'),
            '"' => Some(b'"'),
            '\'' => Some(b'\''),
            _ => None,
        };
        if let Some(byte) = simple {
            out.push(byte);
            self.at += 1;
            return Ok(());
        }
        let (skip, digits, radix) = match kind {
            'x' => (1, 2, 16),
            'u' => (1, 4, 16),
            'U' => (1, 8, 16),
            '0'..='7' => (0, 3, 8),
            _ => {
                let message = format!("syntax error: unknown escape sequence \\{kind}: use \\\\ for a backslash, or a `raw string`");
                return Err(error(message, Span { start, end: self.at + kind.len_utf8().min(self.rest().len()) }));
            }
        };
        let text = self.rest().get(skip..skip + digits).filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = text.and_then(|t| u32::from_str_radix(t, radix).ok());
        let bad = error(format!("syntax error: escape sequence \\{kind} needs {digits} digits of a character"), Span { start, end: self.at });
        let Some(value) = value else { return Err(bad) };
        self.at += skip + digits;
        if matches!(kind, 'u' | 'U') {
            out.extend_from_slice(char::from_u32(value).ok_or(bad)?.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            out.push(u8::try_from(value).map_err(|_| bad)?);
        }
        Ok(())
    }
}

/// Whether a sign after `previous` belongs to the exponent of the number read so far.
fn is_exponent(text: &str, previous: char) -> bool {
    let hex = text.starts_with("0x") || text.starts_with("0X");
    match previous {
        'e' | 'E' => !hex && text[..text.len() - 1].bytes().all(|b| b.is_ascii_digit() || b == b'.'),
        'p' | 'P' => hex,
        _ => false,
    }
}
