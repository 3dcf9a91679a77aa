//! Comparing a label's value with a text, and regular expressions.

use regex::{Regex, RegexBuilder};

use super::ast::MatchOp;

/// Most memory a compiled regular expression may take, bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// `=`, `!=`, `=~`, `!~` made ready.
#[derive(Debug, Clone)]
pub(crate) struct TextTest {
    negated: bool,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Equal(String),
    /// One of these: what most regular expressions of dashboards are.
    OneOf(Vec<String>),
    Regex(Regex),
}

impl TextTest {
    pub(crate) fn new(op: MatchOp, value: &str) -> Result<Self, String> {
        let negated = matches!(op, MatchOp::NotEqual | MatchOp::NotRegex);
        let kind = if matches!(op, MatchOp::Equal | MatchOp::NotEqual) {
            Kind::Equal(value.to_owned())
        } else if value.split('|').all(|part| part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/' | b' '))) {
            Kind::OneOf(value.split('|').map(str::to_owned).collect())
        } else {
            Kind::Regex(compile(&format!("^(?s:{value})$"), value)?)
        };
        Ok(Self { negated, kind })
    }

    /// Whether a value passes; a label that is not there has the empty one.
    pub(crate) fn takes(&self, value: &str) -> bool {
        let found = match &self.kind {
            Kind::Equal(text) => value == text,
            Kind::OneOf(texts) => texts.iter().any(|text| text == value),
            Kind::Regex(regex) => regex.is_match(value),
        };
        found != self.negated
    }
}

/// A regular expression that looks for its match anywhere in a line.
pub(crate) fn line_regex(text: &str) -> Result<Regex, String> {
    compile(text, text)
}

fn compile(pattern: &str, shown: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build().map_err(|error| {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or("").trim_start_matches("error: ").trim();
        format!("error parsing regexp: {reason}: `{shown}`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests() {
        let check = |op, text: &str, value: &str| TextTest::new(op, text).is_ok_and(|t| t.takes(value));
        assert!(check(MatchOp::Regex, "a|b", "b") && !check(MatchOp::Regex, "a|b", "ab"));
        assert!(check(MatchOp::Regex, ".*", "") && !check(MatchOp::Regex, ".+", ""));
        assert!(check(MatchOp::Regex, "x.y", "x\ny") && check(MatchOp::NotRegex, "x.+", "x"));
        assert!(check(MatchOp::NotEqual, "a", "") && check(MatchOp::Equal, "", ""));
        assert!(TextTest::new(MatchOp::Regex, "(").is_err());
    }
}
