//! JSON in lines: flattened to labels, or picked by path.
//!
//! Read by hand rather than with `serde_json`: of a key given twice the first counts, numbers stay as they were
//! written, and nothing but what becomes a label is copied.

use std::borrow::Cow;

/// Deepest nesting that is looked into; what is deeper is skipped.
const DEPTH_MAX: usize = 64;

/// A value that is no object.
#[derive(Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Text(Cow<'a, str>),
    /// Number or truth value, as written.
    Bare(&'a str),
    Null,
    /// As written.
    Array(&'a str),
}

/// Where reading stopped because the text is no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(usize);

impl Malformed {
    pub(crate) fn message(self) -> String {
        format!("Value looks like object, but can't find closing '}}' symbol or is no JSON, at byte {}", self.0)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

type Read<T> = Result<T, Malformed>;

impl<'a> Reader<'a> {
    fn fail<T>(&self) -> Read<T> {
        Err(Malformed(self.at))
    }

    fn blank(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or(0)
    }

    fn expect(&mut self, byte: u8) -> Read<()> {
        if self.blank() != byte {
            return self.fail();
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Read<Cow<'a, str>> {
        self.expect(b'"')?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[self.at..]) else {
            self.at = bytes.len();
            return self.fail();
        };
        self.at += found;
        if bytes[self.at] == b'"' {
            self.at += 1;
            return Ok(self.text[start..self.at - 1].into());
        }
        // Something is escaped: from here on a copy is made.
        self.escaped(start)
    }

    fn escaped(&mut self, start: usize) -> Read<Cow<'a, str>> {
        let mut out = self.text[start..self.at].to_owned();
        loop {
            let Some(c) = self.text[self.at..].chars().next() else { return self.fail() };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(out.into()),
                '\\' => {
                    let Some(kind) = self.text[self.at..].chars().next() else { return self.fail() };
                    self.at += kind.len_utf8();
                    out.push(match kind {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        'b' => '\u{8}',
                        'f' => '\u{c}',
                        'u' => self.unicode()?,
                        '"' | '\\' | '/' => kind,
                        _ => return self.fail(),
                    });
                }
                c => out.push(c),
            }
        }
    }

    fn unicode(&mut self) -> Read<char> {
        let unit = |r: &mut Self| {
            let text = r.text.get(r.at..r.at + 4).filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()));
            match text.and_then(|t| u32::from_str_radix(t, 16).ok()) {
                Some(unit) => {
                    r.at += 4;
                    Ok(unit)
                }
                None => r.fail(),
            }
        };
        let first = unit(self)?;
        if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u") {
            let back = self.at;
            self.at += 2;
            let second = unit(self)?;
            if (0xdc00..0xe000).contains(&second) {
                return Ok(char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).unwrap_or('\u{fffd}'));
            }
            self.at = back;
        }
        Ok(char::from_u32(first).unwrap_or('\u{fffd}'))
    }

    /// A number, `true`, `false` or `null`.
    fn bare(&mut self) -> Read<&'a str> {
        let start = self.at;
        let rest = &self.text[start..];
        let len = rest.find([',', '}', ']', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
        let word = &rest[..len];
        let number = word.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && word.parse::<f64>().is_ok();
        if !number && !matches!(word, "true" | "false" | "null") {
            return self.fail();
        }
        self.at += len;
        Ok(word)
    }

    /// Skips a value; returns it as written.
    fn skip(&mut self) -> Read<&'a str> {
        self.blank();
        let start = self.at;
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.blank() {
                b'"' => drop(self.string()?),
                b'{' | b'[' => {
                    open.push(self.text.as_bytes()[self.at]);
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    let opened = open.pop();
                    if opened != Some(if self.text.as_bytes()[self.at] == b'}' { b'{' } else { b'[' }) {
                        return self.fail();
                    }
                    self.at += 1;
                }
                b',' | b':' if !open.is_empty() => {
                    self.at += 1;
                    continue;
                }
                _ => drop(self.bare()?),
            }
            if open.is_empty() {
                return Ok(&self.text[start..self.at]);
            }
        }
    }

    fn scalar(&mut self) -> Read<Scalar<'a>> {
        Ok(match self.blank() {
            b'"' => Scalar::Text(self.string()?),
            b'[' | b'{' => Scalar::Array(self.skip()?),
            _ => match self.bare()? {
                "null" => Scalar::Null,
                word => Scalar::Bare(word),
            },
        })
    }

    /// Calls `each` at the value of each member; it must read the value.
    fn members(&mut self, mut each: impl FnMut(&mut Self, Cow<'a, str>) -> Read<()>) -> Read<()> {
        self.expect(b'{')?;
        if self.blank() == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.blank();
            let key = self.string()?;
            self.expect(b':')?;
            each(self, key)?;
            match self.blank() {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.fail(),
            }
        }
    }

    fn flatten(&mut self, path: &mut String, depth: usize, found: &mut dyn FnMut(&str, Scalar<'a>)) -> Read<()> {
        self.members(|reader, key| {
            let length = path.len();
            if length > 0 {
                path.push('_');
            }
            path.push_str(&key);
            if reader.blank() == b'{' && depth < DEPTH_MAX {
                reader.flatten(path, depth + 1, found)?;
            } else {
                let value = reader.scalar()?;
                found(path, value);
            }
            path.truncate(length);
            Ok(())
        })
    }
}

/// Calls `found` with every value that is no object, keys of nested objects joined by `_`.
pub(crate) fn flatten<'a>(line: &'a str, path: &mut String, mut found: impl FnMut(&str, Scalar<'a>)) -> Read<()> {
    path.clear();
    Reader { text: line, at: 0 }.flatten(path, 0, &mut found)
}

/// Calls `found` with each member of the outermost object.
pub(crate) fn members<'a>(line: &'a str, mut found: impl FnMut(Cow<'a, str>, Scalar<'a>)) -> Read<()> {
    Reader { text: line, at: 0 }.members(|reader, key| {
        found(key, reader.scalar()?);
        Ok(())
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// `a.b[0]["c d"]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

impl Path {
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let fail = |at: usize| format!("cannot parse expression [{text}]: syntax error at byte {at}, expecting a field such as a.b[0][\"c\"]");
        let (mut steps, mut rest) = (Vec::new(), text.trim());
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            if let Some(inner) = rest.strip_prefix('[') {
                if let Some(quoted) = inner.strip_prefix('"') {
                    let (key, behind) = quoted.split_once("\"]").ok_or_else(|| fail(at))?;
                    steps.push(Step::Key(key.replace("\\\"", "\"")));
                    rest = behind;
                } else {
                    let (index, behind) = inner.split_once(']').ok_or_else(|| fail(at))?;
                    steps.push(Step::Index(index.parse().map_err(|_| fail(at))?));
                    rest = behind;
                }
                continue;
            }
            let rest_of_key = match rest.strip_prefix('.') {
                Some(behind) if !steps.is_empty() => behind,
                None if steps.is_empty() => rest,
                _ => return Err(fail(at)),
            };
            let len = rest_of_key.find(['.', '[']).unwrap_or(rest_of_key.len());
            let key = &rest_of_key[..len];
            if key.is_empty() || !key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '/' | '$')) {
                return Err(fail(at));
            }
            steps.push(Step::Key(key.to_owned()));
            rest = &rest_of_key[len..];
        }
        if steps.is_empty() { Err(fail(0)) } else { Ok(Self(steps)) }
    }

    /// The value there, `None` when there is none.
    pub(crate) fn find<'a>(&self, line: &'a str) -> Read<Option<Scalar<'a>>> {
        let mut text = line;
        for step in &self.0 {
            let mut reader = Reader { text, at: 0 };
            let mut found = None;
            match (step, reader.blank()) {
                (Step::Key(key), b'{') => reader.members(|reader, name| {
                    let value = reader.skip()?;
                    if found.is_none() && name == *key {
                        found = Some(value);
                    }
                    Ok(())
                })?,
                (Step::Index(index), b'[') => {
                    reader.at += 1;
                    let mut number = 0;
                    while reader.blank() != b']' {
                        let value = reader.skip()?;
                        if number == *index {
                            found = Some(value);
                            break;
                        }
                        number += 1;
                        if reader.blank() == b',' {
                            reader.at += 1;
                        }
                    }
                }
                (_, b'{' | b'[' | b'"') => {}
                _ => drop(reader.bare()?),
            }
            match found {
                Some(value) => text = value,
                None => return Ok(None),
            }
        }
        Reader { text, at: 0 }.scalar().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(line: &str) -> String {
        let mut out = Vec::new();
        let result = flatten(line, &mut String::new(), |key, value| {
            out.push(match value {
                Scalar::Text(text) => format!("{key}={text}"),
                Scalar::Bare(text) => format!("{key}:{text}"),
                Scalar::Null => format!("{key}!"),
                Scalar::Array(text) => format!("{key}{text}"),
            });
        });
        if result.is_err() {
            out.push("malformed".to_owned());
        }
        out.join(" ")
    }

    #[test]
    fn flattens() {
        for (line, wanted) in [
            (r#"{"a":1.50,"b":{"c":"x y","d":{}},"e":[1,{"f":2}],"g":null,"h":true}"#, "a:1.50 b_c=x y e[1,{\"f\":2}] g! h:true"),
            (r#"{"a":"A\n\ud83d\ude00\"","a":2}"#, "a=A\n😀\" a:2"),
            ("broken", "malformed"),
            (r#"{"a":1,"b":"#, "a:1 malformed"),
            (r#"{"a":"x"#, "malformed"),
            ("{}", ""),
            ("", "malformed"),
            (r#"{"a":tru}"#, "malformed"),
        ] {
            assert_eq!(flat(line), wanted, "{line}");
        }
    }

    #[test]
    fn paths() {
        let line = r#"{"a":{"b":[10,{"c d":"x"}]},"n":null}"#;
        let find = |path: &str| Path::new(path).map(|p| format!("{:?}", p.find(line)));
        for (path, wanted) in [
            ("a.b[0]", "Ok(Some(Bare(\"10\")))"),
            ("a.b[1][\"c d\"]", "Ok(Some(Text(\"x\")))"),
            ("a.b[7]", "Ok(None)"),
            ("n", "Ok(Some(Null))"),
            ("a[\"b\"]", "Ok(Some(Array(\"[10,{\\\"c d\\\":\\\"x\\\"}]\")))"),
        ] {
            assert_eq!(find(path).as_deref(), Ok(wanted), "{path}");
        }
        for bad in ["", ".a", "a..b", "a[x]", "a[0", "a b"] {
            assert!(Path::new(bad).is_err(), "{bad}");
        }
    }
}
