//! Text to tokens. Words are not told apart here: whether `sum`, `by` or `offset` is a keyword depends on where it
//! stands, and the parser knows that.

use crate::error::{QueryError, Span};

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tok {
    /// A bare word: metric, label, function or keyword, as written.
    Word(String),
    /// A number.
    Number(f64),
    /// A duration such as `1h30m`, in seconds.
    Duration(f64),
    /// A quoted text, escapes resolved.
    Text(String),
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    Assign,
    Equal,
    NotEqual,
    EqualRegex,
    NotRegex,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    TrimUpper,
    TrimLower,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Caret,
    At,
    End,
}

impl Tok {
    /// How the token is called in an error message.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Word(w) => format!("\"{w}\""),
            Self::Number(n) => format!("number {n}"),
            Self::Duration(s) => format!("duration {}", super::duration::format_seconds(*s)),
            Self::Text(t) => format!("string {t:?}"),
            Self::End => "end of input".to_owned(),
            other => format!("\"{}\"", other.symbol()),
        }
    }

    fn symbol(&self) -> &'static str {
        match self {
            Self::LeftParen => "(",
            Self::RightParen => ")",
            Self::LeftBrace => "{",
            Self::RightBrace => "}",
            Self::LeftBracket => "[",
            Self::RightBracket => "]",
            Self::Comma => ",",
            Self::Colon => ":",
            Self::Assign => "=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::EqualRegex => "=~",
            Self::NotRegex => "!~",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Star => "*",
            Self::Slash => "/",
            Self::Percent => "%",
            Self::Caret => "^",
            Self::At => "@",
            Self::Word(_) | Self::Number(_) | Self::Duration(_) | Self::Text(_) | Self::End => "",
        }
    }
}

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) tok: Tok,
    pub(crate) span: Span,
    /// Line, from 1.
    pub(crate) line: u32,
    /// Byte column, from 1.
    pub(crate) column: u32,
}

pub(crate) fn error(message: impl Into<String>, start: usize, end: usize) -> QueryError {
    QueryError::Parse { message: message.into(), at: Span { start, end } }
}

/// Splits `text`; the last token is [`Tok::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    let mut lexer = Lexer { text, at: 0, line: 1, line_start: 0, brackets: 0, braces: 0 };
    let mut out = Vec::new();
    loop {
        let token = lexer.next()?;
        let end = token.tok == Tok::End;
        out.push(token);
        if end {
            return Ok(out);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    line_start: usize,
    /// Inside `[…]` a colon separates range and resolution, elsewhere it is part of a name.
    brackets: usize,
    braces: usize,
}

fn is_word_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_'
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_blank(&mut self) {
        while self.at < self.text.len() {
            match self.peek(0) {
                b'\n' => {
                    self.at += 1;
                    self.line += 1;
                    self.line_start = self.at;
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'#' => {
                    let rest = &self.text[self.at..];
                    self.at += rest.find('\n').unwrap_or(rest.len());
                }
                _ => break,
            }
        }
    }

    fn next(&mut self) -> Result<Token, QueryError> {
        self.skip_blank();
        let (start, line) = (self.at, self.line);
        let column = u32::try_from(start - self.line_start + 1).unwrap_or(u32::MAX);
        let tok = self.token(start)?;
        Ok(Token { tok, span: Span { start, end: self.at }, line, column })
    }

    fn token(&mut self, start: usize) -> Result<Tok, QueryError> {
        if start >= self.text.len() {
            return Ok(Tok::End);
        }
        let (a, b) = (self.peek(0), self.peek(1));
        let two = match (a, b) {
            (b'=', b'=') => Some(Tok::Equal),
            (b'=', b'~') => Some(Tok::EqualRegex),
            (b'!', b'=') => Some(Tok::NotEqual),
            (b'!', b'~') => Some(Tok::NotRegex),
            (b'<', b'=') => Some(Tok::LessEqual),
            (b'>', b'=') => Some(Tok::GreaterEqual),
            (b'<', b'/') => Some(Tok::TrimUpper),
            (b'>', b'/') => Some(Tok::TrimLower),
            _ => None,
        };
        if let Some(tok) = two {
            self.at += 2;
            return Ok(tok);
        }
        let one = match a {
            b'(' => Tok::LeftParen,
            b')' => Tok::RightParen,
            b'{' => {
                self.braces += 1;
                Tok::LeftBrace
            }
            b'}' => {
                self.braces = self.braces.saturating_sub(1);
                Tok::RightBrace
            }
            b'[' => {
                self.brackets += 1;
                Tok::LeftBracket
            }
            b']' => {
                self.brackets = self.brackets.saturating_sub(1);
                Tok::RightBracket
            }
            b',' => Tok::Comma,
            b':' if self.brackets > 0 || self.braces > 0 || !(is_word_start(b) || b == b':') => Tok::Colon,
            b'=' => Tok::Assign,
            b'<' => Tok::Less,
            b'>' => Tok::Greater,
            b'+' => Tok::Plus,
            b'-' => Tok::Minus,
            b'*' => Tok::Star,
            b'/' => Tok::Slash,
            b'%' => Tok::Percent,
            b'^' => Tok::Caret,
            b'@' => Tok::At,
            b'"' | b'\'' | b'`' => return self.quoted(start, a),
            b'0'..=b'9' => return self.number(start),
            b'.' if b.is_ascii_digit() => return self.number(start),
            _ if is_word_start(a) || a == b':' => {
                let colons = self.brackets == 0 && self.braces == 0;
                while is_word(self.peek(0)) || (colons && self.peek(0) == b':') {
                    self.at += 1;
                }
                return Ok(Tok::Word(self.text[start..self.at].to_owned()));
            }
            _ => {
                let c = self.text[start..].chars().next().unwrap_or(' ');
                let hint = if c.is_alphabetic() { "; names with other than ASCII letters, digits and _ are quoted: {\"name\"}" } else { "" };
                return Err(error(format!("unexpected character {c:?}{hint}"), start, start + c.len_utf8()));
            }
        };
        self.at += 1;
        Ok(one)
    }

    fn number(&mut self, start: usize) -> Result<Tok, QueryError> {
        let hex = self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'X');
        loop {
            let c = self.peek(0);
            let sign_of_exponent = matches!(c, b'+' | b'-')
                && !hex
                && matches!(self.text.as_bytes()[self.at - 1], b'e' | b'E')
                && self.peek(1).is_ascii_digit()
                && self.text[start..self.at - 1].bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'_');
            if c == b'.' || is_word(c) || (sign_of_exponent && self.at > start) {
                self.at += 1;
            } else {
                break;
            }
        }
        let text = &self.text[start..self.at];
        if let Some(n) = parse_number(text) {
            return Ok(Tok::Number(n));
        }
        match super::duration::parse_seconds(text) {
            Ok(Some(seconds)) => Ok(Tok::Duration(seconds)),
            Ok(None) => Err(error(format!("bad number or duration syntax: {text:?}"), start, self.at)),
            Err(reason) => Err(error(reason, start, self.at)),
        }
    }

    fn quoted(&mut self, start: usize, quote: u8) -> Result<Tok, QueryError> {
        self.at += 1;
        if quote == b'`' {
            let Some(len) = self.text[self.at..].find('`') else {
                return Err(error("unterminated raw string", start, self.text.len()));
            };
            let text = self.text[self.at..self.at + len].to_owned();
            self.line += u32::try_from(text.matches('\n').count()).unwrap_or(0);
            if let Some(last) = text.rfind('\n') {
                self.line_start = self.at + last + 1;
            }
            self.at += len + 1;
            return Ok(Tok::Text(text));
        }
        let mut out = Vec::new();
        loop {
            match self.peek(0) {
                _ if self.at >= self.text.len() => {
                    return Err(error("unterminated quoted string", start, self.text.len()));
                }
                b'\n' => return Err(error("unterminated quoted string", start, self.at)),
                b'\\' => self.escape(&mut out, start)?,
                c if c == quote => {
                    self.at += 1;
                    // Escapes such as \xff can make bytes that are no UTF-8; label values are text, so those become
                    // the replacement character.
                    let text = String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
                    return Ok(Tok::Text(text));
                }
                c => {
                    out.push(c);
                    self.at += 1;
                }
            }
        }
    }

    /// At a backslash: appends what the escape stands for.
    fn escape(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), QueryError> {
        let at = self.at;
        let kind = self.peek(1);
        let (skip, digits, radix) = match kind {
            b'x' => (2, 2, 16),
            b'u' => (2, 4, 16),
            b'U' => (2, 8, 16),
            b'0'..=b'7' => (1, 3, 8),
            _ => (2, 0, 0),
        };
        if digits == 0 {
            let byte = match kind {
                b'a' => 0x07,
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 0x0b,
                b'\\' | b'"' | b'\'' => kind,
                _ => {
                    let c = self.text[at + 1..].chars().next();
                    let shown = c.map_or_else(String::new, |c| c.to_string());
                    return Err(error(
                        format!("unknown escape sequence \\{shown}; use \\\\ for a backslash, or a `raw string`"),
                        at,
                        at + 1 + shown.len(),
                    ));
                }
            };
            out.push(byte);
            self.at += 2;
            return Ok(());
        }
        let hex = self.text.get(at + skip..at + skip + digits).filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(value) = hex.and_then(|t| u32::from_str_radix(t, radix).ok()) else {
            let end = (at + skip + digits).min(self.text.len());
            return Err(error(format!("escape sequence needs {digits} digits"), start, end));
        };
        self.at = at + skip + digits;
        if matches!(kind, b'u' | b'U') {
            let Some(c) = char::from_u32(value) else {
                return Err(error("escape sequence is no valid Unicode code point", at, self.at));
            };
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            let Ok(byte) = u8::try_from(value) else {
                return Err(error("octal escape value is over 255", at, self.at));
            };
            out.push(byte);
        }
        Ok(())
    }
}

/// A number as Prometheus writes one: decimal, `0x` hexadecimal, `0…` octal, exponents, `_` between digits.
pub(crate) fn parse_number(text: &str) -> Option<f64> {
    let clean: String = if text.contains('_') {
        let b = text.as_bytes();
        let between = |i: usize| i > 0 && i + 1 < b.len() && b[i - 1].is_ascii_hexdigit() && b[i + 1].is_ascii_hexdigit();
        if b.iter().enumerate().any(|(i, c)| *c == b'_' && !between(i)) {
            return None;
        }
        text.chars().filter(|c| *c != '_').collect()
    } else {
        text.to_owned()
    };
    if let Some(hex) = clean.strip_prefix("0x").or_else(|| clean.strip_prefix("0X")) {
        #[allow(clippy::cast_precision_loss, reason = "PromQL numbers are floats")]
        return u64::from_str_radix(hex, 16).ok().map(|n| n as f64);
    }
    if clean.len() > 1 && clean.starts_with('0') && clean.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        #[allow(clippy::cast_precision_loss, reason = "PromQL numbers are floats")]
        return u64::from_str_radix(&clean, 8).ok().map(|n| n as f64);
    }
    if !clean.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    clean.parse().ok()
}
