//! `key=value key="quoted value"` in lines.

use std::borrow::Cow;

/// A fault in a line: byte and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    at: usize,
    what: &'static str,
}

impl Fault {
    pub(crate) fn message(&self) -> String {
        format!("logfmt syntax error at pos {} : {}", self.at + 1, self.what)
    }
}

/// Calls `found` with each pair; a key alone has an empty value. What is broken is left out and the first fault
/// returned; `strict` stops there.
pub(crate) fn pairs<'a>(line: &'a str, strict: bool, mut found: impl FnMut(&'a str, Cow<'a, str>)) -> Option<Fault> {
    let bytes = line.as_bytes();
    let (mut at, mut fault) = (0, None);
    while at < bytes.len() {
        if bytes[at] <= b' ' {
            at += 1;
            continue;
        }
        let start = at;
        while at < bytes.len() && bytes[at] > b' ' && bytes[at] != b'=' && bytes[at] != b'"' {
            at += 1;
        }
        let key = &line[start..at];
        let problem = match bytes.get(at) {
            Some(b'"') => Some("unexpected '\"'"),
            Some(b'=') if key.is_empty() => Some("unexpected '='"),
            _ => None,
        };
        if let Some(what) = problem {
            fault.get_or_insert(Fault { at, what });
            if strict {
                return fault;
            }
            while at < bytes.len() && bytes[at] > b' ' {
                at += 1;
            }
            continue;
        }
        if bytes.get(at) != Some(&b'=') {
            found(key, "".into());
            continue;
        }
        at += 1;
        if bytes.get(at) == Some(&b'"') {
            match quoted(line, at) {
                Some((value, end)) => {
                    found(key, value);
                    at = end;
                }
                None => {
                    fault.get_or_insert(Fault { at, what: "unterminated quoted value" });
                    return fault;
                }
            }
            continue;
        }
        let start = at;
        let mut clean = true;
        while at < bytes.len() && bytes[at] > b' ' {
            clean &= bytes[at] != b'"' && (bytes[at] != b'=' || !strict);
            at += 1;
        }
        if clean {
            found(key, line[start..at].into());
        } else {
            fault.get_or_insert(Fault { at: start, what: "unexpected '\"' or '=' in value" });
            if strict {
                return fault;
            }
        }
    }
    fault
}

/// A quoted value that begins at `start`, and where it ends.
fn quoted(line: &str, start: usize) -> Option<(Cow<'_, str>, usize)> {
    let bytes = line.as_bytes();
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', &bytes[at.min(bytes.len())..])?;
        if bytes[at] == b'"' {
            break;
        }
        at += 2;
    }
    let inner = &line[start + 1..at];
    if !inner.contains('\\') {
        return Some((inner.into(), at + 1));
    }
    // The escapes are those of JSON; what is none stays as it is.
    let unescaped = serde_json::from_str::<String>(&line[start..=at]).unwrap_or_else(|_| inner.to_owned());
    Some((unescaped.into(), at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let check = |line: &str, strict: bool| {
            let mut out = Vec::new();
            let fault = pairs(line, strict, |k, v| out.push(format!("{k}={v}")));
            if let Some(fault) = fault {
                out.push(format!("! {}", fault.message()));
            }
            out.join("|")
        };
        for (line, strict, wanted) in [
            ("a=1 b=\"x \\\"y\\\"\" c d=", false, "a=1|b=x \"y\"|c=|d="),
            ("good=1 bad=\"unterminated", false, "good=1|! logfmt syntax error at pos 12 : unterminated quoted value"),
            ("=x a=1", false, "a=1|! logfmt syntax error at pos 1 : unexpected '='"),
            ("=x a=1", true, "! logfmt syntax error at pos 1 : unexpected '='"),
            ("url=/a?b=c", false, "url=/a?b=c"),
            ("", true, ""),
            ("é=ü", true, "é=ü"),
        ] {
            assert_eq!(check(line, strict), wanted, "{line}");
        }
    }
}
