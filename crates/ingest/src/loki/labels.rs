//! A stream's labels as text: `{job="shop", level="info"}`.

/// Names and values of a label set in braces. Values are quoted as in Go: `"…"` with escapes, or raw between backticks;
/// names may be quoted too.
///
/// # Errors
/// With what was expected, and at which byte.
pub fn parse_labels(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut cursor = Cursor { text, at: 0 };
    let mut labels = Vec::new();
    cursor.blanks();
    cursor.expect('{')?;
    loop {
        cursor.blanks();
        if cursor.take('}') {
            break;
        }
        let name = if cursor.next_is(&['"', '`']) { cursor.quoted()? } else { cursor.name()? };
        cursor.blanks();
        cursor.expect('=')?;
        cursor.blanks();
        let value = cursor.quoted()?;
        labels.push((name, value));
        cursor.blanks();
        if !cursor.take(',') {
            cursor.expect('}')?;
            break;
        }
    }
    cursor.blanks();
    if cursor.at < text.len() { Err(cursor.expected("the end")) } else { Ok(labels) }
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn expected(&self, what: &str) -> String {
        match self.rest().chars().next() {
            Some(found) => format!("parse error at byte {}: unexpected {found:?}, expected {what}", self.at),
            None => format!("parse error at byte {}: unexpected end, expected {what}", self.at),
        }
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn next_is(&self, any: &[char]) -> bool {
        self.rest().starts_with(any)
    }

    fn take(&mut self, one: char) -> bool {
        let found = self.next_is(&[one]);
        self.at += if found { one.len_utf8() } else { 0 };
        found
    }

    fn expect(&mut self, one: char) -> Result<(), String> {
        if self.take(one) { Ok(()) } else { Err(self.expected(&format!("{one:?}"))) }
    }

    fn name(&mut self) -> Result<String, String> {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.' | '-');
        let name = &self.rest()[..self.rest().find(|c| !part(c)).unwrap_or(self.rest().len())];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.expected("a label name"));
        }
        self.at += name.len();
        Ok(name.to_owned())
    }

    fn quoted(&mut self) -> Result<String, String> {
        if self.take('`') {
            let end = self.rest().find('`').ok_or_else(|| self.expected("a closing backtick"))?;
            let raw = self.rest()[..end].to_owned();
            self.at += end + 1;
            return Ok(raw);
        }
        if !self.next_is(&['"', '\'']) {
            return Err(self.expected("a quoted value"));
        }
        let quote = if self.take('"') {
            '"'
        } else {
            self.at += 1;
            '\''
        };
        let mut out: Vec<u8> = Vec::new();
        loop {
            let Some(next) = self.rest().chars().next() else { return Err(self.expected("a closing quote")) };
            self.at += next.len_utf8();
            match next {
                '\\' => self.escape(&mut out)?,
                _ if next == quote => break,
                _ => out.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// What follows a backslash, as in Go.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        let Some(kind) = self.rest().chars().next() else { return Err(self.expected("an escape")) };
        let digits = |from: usize, length: usize, radix: u32| {
            let text = self.rest().get(from..from + length).filter(|t| t.chars().all(|c| c.is_digit(radix)));
            text.and_then(|t| u32::from_str_radix(t, radix).ok()).ok_or_else(|| self.expected("digits of an escape"))
        };
        let (length, byte) = match kind {
            'a' => (1, 7),
            'b' => (1, 8),
            'f' => (1, 12),
            'n' => (1, b'\n'),
            'r' => (1, b'\r'),
            't' => (1, b'\t'),
            'v' => (1, 11),
            '\\' | '"' | '\'' => (1, kind as u8),
            'x' => (3, digits(1, 2, 16)? as u8),
            '0'..='3' => (3, digits(0, 3, 8)? as u8),
            'u' | 'U' => {
                let length = if kind == 'u' { 4 } else { 8 };
                let letter = char::from_u32(digits(1, length, 16)?).ok_or_else(|| self.expected("a character's number"))?;
                self.at += 1 + length;
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.expected("an escape")),
        };
        self.at += length;
        out.push(byte);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_writes_them() {
        for (text, expected) in [
            ("{}", &[][..]),
            (r#" { job = "shop" , level="info", } "#, &[("job", "shop"), ("level", "info")]),
            (r#"{a="\"\\\n\t\x41\101\u00e4\U0001F600}"}"#, &[("a", "\"\\\n\tAAä😀}")]),
            ("{a=`raw \\n \"x\"`, \"b.c\"=\"1\"}", &[("a", "raw \\n \"x\""), ("b.c", "1")]),
            (r#"{a="x\xffy"}"#, &[("a", "x\u{fffd}y")]),
        ] {
            let got = parse_labels(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(got.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("", "parse error at byte 0: unexpected end, expected '{'"),
            ("{a}", "parse error at byte 2: unexpected '}', expected '='"),
            ("{a=b}", "parse error at byte 3: unexpected 'b', expected a quoted value"),
            (r#"{a="b"#, "parse error at byte 5: unexpected end, expected a closing quote"),
            (r#"{a="b" c="d"}"#, "parse error at byte 7: unexpected 'c', expected '}'"),
            (r#"{a="b"} x"#, "parse error at byte 8: unexpected 'x', expected the end"),
            (r#"{1="b"}"#, "parse error at byte 1: unexpected '1', expected a label name"),
            (r#"{a="\q"}"#, "parse error at byte 5: unexpected 'q', expected an escape"),
            (r#"{a="\xz0"}"#, "parse error at byte 5: unexpected 'x', expected digits of an escape"),
        ] {
            assert_eq!(parse_labels(text).expect_err(text), expected);
        }
    }
}
