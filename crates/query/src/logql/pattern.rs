//! Patterns: `<method> <_> <status>`.

use memchr::memmem;

use super::labels::Text;

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// `<name>`, or nothing for `<_>`.
    Capture(Option<Text>),
}

/// A pattern, literals and captures in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Piece>);

impl Pattern {
    /// One that takes labels out of lines.
    pub(crate) fn extracting(text: &str) -> Result<Self, String> {
        let pattern = Self::parse(text)?;
        let names: Vec<&Text> = pattern.0.iter().filter_map(|p| if let Piece::Capture(Some(name)) = p { Some(name) } else { None }).collect();
        if names.is_empty() {
            return Err(format!("invalid pattern {text:?}: at least one capture is required"));
        }
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) {
                return Err(format!("invalid pattern {text:?}: duplicate capture name <{name}>"));
            }
        }
        Ok(pattern)
    }

    /// One that lines are tested with.
    pub(crate) fn testing(text: &str) -> Result<Self, String> {
        let pattern = Self::parse(text)?;
        if pattern.0.iter().any(|p| matches!(p, Piece::Capture(Some(_)))) {
            return Err(format!("invalid pattern {text:?}: named captures are not allowed, only <_>"));
        }
        Ok(pattern)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let (mut literal, mut rest) = (String::new(), text);
        while let Some(c) = rest.chars().next() {
            let name = rest.strip_prefix('<').and_then(|r| r.split_once('>')).map(|(name, _)| name);
            let name = name.filter(|n| {
                n.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            });
            let Some(name) = name else {
                literal.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            } else if !pieces.is_empty() {
                return Err(format!("invalid pattern {text:?}: consecutive captures are not allowed, found <{name}>"));
            }
            pieces.push(Piece::Capture((name != "_").then(|| name.into())));
            rest = &rest[name.len() + 2..];
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    /// The text that a line must hold, for a look before the whole pattern is tried.
    pub(crate) fn longest_literal(&self) -> Option<&str> {
        let literals = self.0.iter().filter_map(|p| if let Piece::Literal(text) = p { Some(text.as_str()) } else { None });
        literals.max_by_key(|text| text.len())
    }

    /// Whether the line has this shape from end to end. A capture takes at least one byte.
    pub(crate) fn matches(&self, line: &str) -> bool {
        let mut at = 0;
        for (i, piece) in self.0.iter().enumerate() {
            let Piece::Literal(text) = piece else { continue };
            let Some(found) = memmem::find(&line.as_bytes()[at..], text.as_bytes()) else { return false };
            if (i == 0) != (found == 0) {
                return false;
            }
            at += found + text.len();
        }
        match self.0.last() {
            Some(Piece::Capture(_)) => at < line.len(),
            Some(Piece::Literal(text)) => at == line.len() || (self.0.len() > 1 && line.len() >= at + text.len() && line.ends_with(text.as_str())),
            None => line.is_empty(),
        }
    }

    /// Calls `found` with each named capture of the line: as far as the pattern fits.
    pub(crate) fn captures<'l>(&self, line: &'l str, mut found: impl FnMut(&Text, &'l str)) {
        let (mut rest, mut pieces) = (line, self.0.iter().peekable());
        if let Some(Piece::Literal(text)) = pieces.peek() {
            let Some(behind) = rest.strip_prefix(text.as_str()) else { return };
            rest = behind;
            pieces.next();
        }
        while let Some(piece) = pieces.next() {
            let end = match pieces.next() {
                Some(Piece::Literal(text)) => memmem::find(rest.as_bytes(), text.as_bytes()).map(|at| (at, at + text.len())),
                _ => None,
            };
            let (to, next) = end.unwrap_or((rest.len(), rest.len()));
            if let Piece::Capture(Some(name)) = piece {
                found(name, &rest[..to]);
            }
            if end.is_none() {
                return;
            }
            rest = &rest[next..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let check = |pattern: &str, line: &str| Pattern::testing(pattern).map(|p| p.matches(line));
        for (pattern, line, found) in [
            ("GET <_> 200", "GET /api 200", true),
            ("GET <_> 200", "GET /api 200 x", false),
            ("GET /api", "GET /api 200", false),
            ("<_> 200", "GET 200", true),
            ("a<_>", "a", false),
            ("", "", true),
            ("<_>", "x", true),
            ("GET <_> 0", "GET  0", false),
        ] {
            assert_eq!(check(pattern, line), Ok(found), "{pattern} {line}");
        }
        assert!(Pattern::testing("<verb> x").is_err_and(|e| e.contains("named captures are not allowed")));
        assert!(Pattern::extracting("<a><b>").is_err() && Pattern::extracting("<_> x").is_err() && Pattern::extracting("<a> <a>").is_err());
    }

    #[test]
    fn extraction() {
        let check = |pattern: &str, line: &str| {
            let mut out = Vec::new();
            Pattern::extracting(pattern).unwrap().captures(line, |name, value| out.push(format!("{name}={value}")));
            out.join(" ")
        };
        assert_eq!(check("<method> <_> <status>", "GET /x 200"), "method=GET status=200");
        assert_eq!(check("[<a>] <b>", "[1] rest of it"), "a=1 b=rest of it");
        assert_eq!(check("<a>,<b>", "only"), "a=only");
        assert_eq!(check("x<a>", "y"), "");
    }
}
