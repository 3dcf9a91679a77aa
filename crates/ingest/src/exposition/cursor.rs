//! Reading the parts both formats share: names, label sets, numbers.

use std::borrow::Cow;

/// What cannot be read, and where.
#[derive(Debug)]
pub(super) struct Fault {
    /// Byte of the body.
    pub(super) at: usize,
    pub(super) reason: String,
}

/// A place in the body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    pub(super) at: usize,
}

/// A metric's name and its labels, in the order they stand.
pub(super) type Named<'a> = (&'a str, Vec<(Cow<'a, str>, String)>);

/// A label set, and the metric name where it stands quoted inside the braces.
pub(super) struct Braces<'a> {
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) labels: Vec<(Cow<'a, str>, String)>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    pub(super) fn fault<T>(&self, reason: impl Into<String>) -> Result<T, Fault> {
        Err(Fault { at: self.at, reason: reason.into() })
    }

    /// A fault that shows what was found instead.
    pub(super) fn expected<T>(&self, what: &str) -> Result<T, Fault> {
        let found: String = self.rest().chars().take_while(|c| *c != '\n').take(20).collect();
        let found = if found.is_empty() { "the end of the line".to_owned() } else { format!("{found:?}") };
        self.fault(format!("expected {what}, found {found}"))
    }

    /// A metric name, before the braces or quoted inside them, and its labels. `blanks`: whether blanks may stand
    /// between the parts.
    pub(super) fn series(&mut self, blanks: bool) -> Result<Named<'a>, Fault> {
        let name = self.metric_name();
        if blanks {
            self.blanks();
        }
        if self.peek() != Some(b'{') {
            return if name.is_empty() { self.expected("a metric name") } else { Ok((name, Vec::new())) };
        }
        let start = *self;
        let braces = self.braces(blanks)?;
        match (name, braces.name) {
            ("", Some(Cow::Borrowed(quoted))) => Ok((quoted, braces.labels)),
            ("", Some(Cow::Owned(_))) => start.fault("a metric name with escapes is not taken"),
            ("", None) => start.fault("expected a metric name before or in the braces"),
            (_, Some(_)) => start.fault("the metric has two names, one before and one in the braces"),
            (name, None) => Ok((name, braces.labels)),
        }
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Skips blanks and tabs.
    pub(super) fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// All up to the end of the line; the line feed is passed.
    pub(super) fn line(&mut self) -> &'a str {
        let rest = self.rest();
        let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
        self.at = (self.at + end + 1).min(self.text.len());
        &rest[..end]
    }

    /// The longest run of bytes that satisfy `member`.
    pub(super) fn run(&mut self, member: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.bytes().position(|b| !member(b)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// A metric's name, not quoted; empty when there is none.
    pub(super) fn metric_name(&mut self) -> &'a str {
        if self.peek().is_some_and(|b| b.is_ascii_digit()) {
            return "";
        }
        self.run(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
    }

    fn label_name(&mut self) -> &'a str {
        if self.peek().is_some_and(|b| b.is_ascii_digit()) {
            return "";
        }
        self.run(|b| b.is_ascii_alphanumeric() || b == b'_')
    }

    /// A string in double quotes with `\\`, `\"` and `\n` undone; other escapes stay as they are.
    pub(super) fn quoted(&mut self) -> Result<Cow<'a, str>, Fault> {
        let start = *self;
        if !self.eat(b'"') {
            return self.expected("a string in double quotes");
        }
        let rest = self.rest();
        let Some(end) = memchr::memchr2(b'"', b'\\', rest.as_bytes()) else {
            return start.fault("the string is not closed: expected a second '\"'");
        };
        if rest.as_bytes()[end] == b'"' {
            self.at += end + 1;
            return Ok(Cow::Borrowed(&rest[..end]));
        }
        let mut out = String::new();
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(Cow::Owned(out));
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, c @ ('\\' | '"'))) => out.push(c),
                    Some((_, other)) => out.extend(['\\', other]),
                    None => break,
                },
                c => out.push(c),
            }
        }
        start.fault("the string is not closed: expected a second '\"'")
    }

    /// `{a="b","quoted.label"="c"}` or `{"metric.name",a="b"}`, with the opening brace still to be read. Blanks
    /// between the parts are skipped when `blanks` is set.
    pub(super) fn braces(&mut self, blanks: bool) -> Result<Braces<'a>, Fault> {
        let mut braces = Braces { name: None, labels: Vec::new() };
        let skip = |cursor: &mut Self| {
            if blanks {
                cursor.blanks();
            }
        };
        if !self.eat(b'{') {
            return self.expected("'{'");
        }
        loop {
            skip(self);
            if self.eat(b'}') {
                return Ok(braces);
            }
            let name = if self.peek() == Some(b'"') {
                self.quoted()?
            } else {
                match self.label_name() {
                    "" => return self.expected("a label name or '}'"),
                    name => Cow::Borrowed(name),
                }
            };
            skip(self);
            if self.eat(b'=') {
                skip(self);
                let value = self.quoted()?.into_owned();
                braces.labels.push((name, value));
            } else if matches!(self.peek(), Some(b',' | b'}')) && braces.name.is_none() && braces.labels.is_empty() {
                braces.name = Some(name);
            } else {
                return self.expected("'=' after the label name");
            }
            skip(self);
            if !self.eat(b',') {
                if self.eat(b'}') {
                    return Ok(braces);
                }
                return self.expected("',' or '}' after the label");
            }
        }
    }

    /// Text up to the next blank or line end.
    pub(super) fn word(&mut self) -> &'a str {
        self.run(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r'))
    }

    /// A number as Go's `ParseFloat` reads it, without underscores and hexadecimal.
    pub(super) fn number(&mut self, what: &str) -> Result<f64, Fault> {
        let start = *self;
        match float(self.word()) {
            Some(value) => Ok(value),
            None => start.expected(what),
        }
    }
}

/// A number; `inf`, `infinity` and `nan` in any case, with or without sign.
fn float(text: &str) -> Option<f64> {
    // Rust reads what Go reads, but also "inf" and "nan" only: the rest is the same grammar.
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.starts_with(['+', '-']) {
        return None;
    }
    text.parse().ok()
}
